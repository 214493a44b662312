//! CONNECT: a Client asks for a connection. Spec: §3.1.

use super::{MessageProperties, UserProperties};
use crate::decode::Reader;
use crate::encode::{Target, check_binary, put_prefixed};
use crate::properties::{Section, read_properties_of};
use crate::{DecodeError, EncodeError, PacketType, ProtocolVersion, QoS, Text, TopicName};
use alloc::boxed::Box;
use bytes::Bytes;

/// A Client asks for a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The version that the whole connection speaks.
    pub protocol_version: ProtocolVersion,
    /// Whether this is a bridge of another server: bit 7 of the version byte, a convention that
    /// Mosquitto's bridges use with MQTT 3.x.
    pub bridge: bool,
    /// Start with a new Session (Clean Session in MQTT 3.x).
    pub clean_start: bool,
    /// Seconds within which the Client promises to send something; 0 turns it off.
    pub keep_alive: u16,
    /// Names the Session; empty asks the Server to choose.
    pub client_identifier: Text,
    /// What to publish should the connection end without DISCONNECT.
    pub will: Option<Will>,
    /// The user's name.
    pub user_name: Option<Text>,
    /// The password, any bytes. MQTT 3.x has it only beside a User Name [MQTT3-3.1.2-22].
    pub password: Option<Bytes>,
    /// The properties.
    pub properties: ConnectProperties,
}

/// Never shows the password.
impl core::fmt::Debug for Connect {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connect")
            .field("protocol_version", &self.protocol_version)
            .field("bridge", &self.bridge)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("client_identifier", &self.client_identifier)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("properties", &self.properties)
            .finish()
    }
}

/// The properties of a CONNECT. Spec: §3.1.2.11. `None` means absent, with the default that the
/// standard gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectProperties {
    /// Seconds that the Session outlives the connection; 0 when absent, 0xFFFFFFFF is for ever.
    pub session_expiry_interval: Option<u32>,
    /// How many QoS 1 and 2 messages the Client takes at once; 65,535 when absent, never zero.
    pub receive_maximum: Option<u16>,
    /// Bytes of the largest packet that the Client takes; unlimited when absent, never zero.
    pub maximum_packet_size: Option<u32>,
    /// The highest Topic Alias that the Client takes; 0 when absent.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the Client asks for Response Information.
    pub request_response_information: Option<bool>,
    /// Whether Reason String and User Properties may come with any packet; yes when absent.
    pub request_problem_information: Option<bool>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// The name of the authentication method; its presence asks for enhanced authentication.
    pub authentication_method: Option<Text>,
    /// What the authentication method exchanges.
    pub authentication_data: Option<Bytes>,
}

/// The Will Message. Spec: §3.1.2.5, §3.1.3.2 to §3.1.3.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published.
    pub topic_name: TopicName,
    /// Its payload.
    pub payload: Bytes,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is retained.
    pub retain: bool,
    /// The properties.
    pub properties: WillProperties,
}

/// The properties of a Will. Spec: §3.1.3.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WillProperties {
    /// Seconds between the end of the connection and the Will; 0 when absent.
    pub will_delay_interval: Option<u32>,
    /// Seconds that the message is worth delivering once published.
    pub message_expiry_interval: Option<u32>,
    /// What receivers get unaltered.
    pub message: MessageProperties,
}

/// The Connect Flags. Spec: §3.1.2.3.
mod flag {
    pub(super) const RESERVED: u8 = 1;
    pub(super) const CLEAN_START: u8 = 1 << 1;
    pub(super) const WILL: u8 = 1 << 2;
    pub(super) const WILL_QOS_SHIFT: u8 = 3;
    pub(super) const WILL_RETAIN: u8 = 1 << 5;
    pub(super) const PASSWORD: u8 = 1 << 6;
    pub(super) const USER_NAME: u8 = 1 << 7;
}

/// The bit of the version byte by which a bridge tells what it is.
const BRIDGE: u8 = 1 << 7;

impl Connect {
    /// Reads a CONNECT of whatever version it says it is.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Box<Self>, DecodeError> {
        let (protocol_version, bridge) = read_version(reader)?;
        let flags = reader.u8()?;
        check_flags(flags, protocol_version)?;
        // What is large is made where it stays.
        let mut connect = Box::new(Self {
            protocol_version,
            bridge,
            clean_start: flags & flag::CLEAN_START != 0,
            keep_alive: reader.u16()?,
            client_identifier: Text::default(),
            will: None,
            user_name: None,
            password: None,
            properties: ConnectProperties::default(),
        });
        read_properties_of(reader, protocol_version, &mut connect.properties)?;
        connect.client_identifier = reader.text()?;
        if flags & flag::WILL != 0 {
            connect.will = Some(Will::read(flags, reader, protocol_version)?);
        }
        // MQTT 3.1 lets a packet end before the User Name and the Password that its flags
        // announce: its ancestors did not have them.
        let may_end = protocol_version == ProtocolVersion::V3_1;
        let announces =
            |bit: u8, reader: &Reader<'_>| flags & bit != 0 && !(may_end && reader.is_empty());
        if announces(flag::USER_NAME, reader) {
            connect.user_name = Some(reader.text()?);
        }
        if announces(flag::PASSWORD, reader) {
            connect.password = Some(reader.binary()?);
        }
        Ok(connect)
    }

    /// Writes the CONNECT in its own version.
    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        let version = self.protocol_version;
        let will = self.will.as_ref();
        // A Password needs a User Name in MQTT 3.x [MQTT3-3.1.2-22].
        let password =
            self.password.as_ref().filter(|_| version.is_v5() || self.user_name.is_some());
        if let Some(will) = will {
            check_binary(Some(&will.payload))?;
            check_binary(will.properties.message.correlation_data.as_ref())?;
        }
        check_binary(password)?;
        check_binary(self.properties.authentication_data.as_ref())?;
        let properties = Section::new(&self.properties, version);
        let will_properties = will.map(|will| Section::new(&will.properties, version));

        let mut flags = 0;
        let mut len = 2 + version.name().len() + 1 + 1 + 2;
        len += properties.encoded_len() + 2 + self.client_identifier.as_bytes().len();
        if self.clean_start {
            flags |= flag::CLEAN_START;
        }
        if let (Some(will), Some(will_properties)) = (will, &will_properties) {
            flags |= flag::WILL | will.qos.value() << flag::WILL_QOS_SHIFT;
            if will.retain {
                flags |= flag::WILL_RETAIN;
            }
            len += will_properties.encoded_len();
            len += 2 + will.topic_name.as_text().as_bytes().len() + 2 + will.payload.len();
        }
        if let Some(user_name) = &self.user_name {
            flags |= flag::USER_NAME;
            len += 2 + user_name.as_bytes().len();
        }
        if let Some(password) = password {
            flags |= flag::PASSWORD;
            len += 2 + password.len();
        }

        target.begin(PacketType::Connect, len)?;
        let out = &mut *target.out;
        put_prefixed(out, version.name().as_bytes());
        let bridge = if self.bridge && !version.is_v5() { BRIDGE } else { 0 };
        out.put_u8(version.level() | bridge);
        out.put_u8(flags);
        out.put_u16(self.keep_alive);
        properties.write(out);
        put_prefixed(out, self.client_identifier.as_bytes());
        if let (Some(will), Some(will_properties)) = (will, will_properties) {
            will_properties.write(out);
            put_prefixed(out, will.topic_name.as_text().as_bytes());
            put_prefixed(out, &will.payload);
        }
        if let Some(user_name) = &self.user_name {
            put_prefixed(out, user_name.as_bytes());
        }
        if let Some(password) = password {
            put_prefixed(out, password);
        }
        Ok(())
    }
}

/// Protocol Name and version byte, which have to fit each other.
fn read_version(reader: &mut Reader<'_>) -> Result<(ProtocolVersion, bool), DecodeError> {
    let name = reader.prefixed()?;
    if name != b"MQTT" && name != b"MQIsdp" {
        return Err(DecodeError::ProtocolName);
    }
    let byte = reader.u8()?;
    let level = byte & !BRIDGE;
    let version = match (name, level) {
        (b"MQIsdp", 3) => ProtocolVersion::V3_1,
        (b"MQTT", 4) => ProtocolVersion::V3_1_1,
        // MQTT 5.0 has subscription options for what bridges need.
        (b"MQTT", 5) if byte == level => ProtocolVersion::V5,
        _ => return Err(DecodeError::ProtocolVersion(byte)),
    };
    Ok((version, byte != level))
}

/// Checks that the Connect Flags fit each other and the version. Spec: §3.1.2.3 to §3.1.2.9.
const fn check_flags(flags: u8, version: ProtocolVersion) -> Result<(), DecodeError> {
    let will_qos = flags >> flag::WILL_QOS_SHIFT & 3;
    if flags & flag::RESERVED != 0 {
        return Err(DecodeError::ConnectFlagReserved);
    }
    if flags & flag::WILL == 0 {
        if will_qos != 0 {
            return Err(DecodeError::WillQoSWithoutWill);
        }
        if flags & flag::WILL_RETAIN != 0 {
            return Err(DecodeError::WillRetainWithoutWill);
        }
    }
    if will_qos == 3 {
        return Err(DecodeError::WillQoS);
    }
    if flags & flag::PASSWORD != 0 && flags & flag::USER_NAME == 0 && !version.is_v5() {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    Ok(())
}

impl Will {
    fn read(
        flags: u8,
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let mut properties = WillProperties::default();
        read_properties_of(reader, version, &mut properties)?;
        let topic_name = reader.topic_name(DecodeError::TopicName)?;
        let payload = reader.binary()?;
        Ok(Self {
            topic_name,
            payload,
            qos: QoS::new(flags >> flag::WILL_QOS_SHIFT & 3).ok_or(DecodeError::WillQoS)?,
            retain: flags & flag::WILL_RETAIN != 0,
            properties,
        })
    }
}
