//! CONNACK: the Server's answer to CONNECT. Spec: §3.2.

use super::{UserProperties, read_reason_code};
use crate::decode::Reader;
use crate::encode::{Target, check_binary};
use crate::properties::{Section, read_properties_of};
use crate::{DecodeError, EncodeError, PacketType, ProtocolVersion, QoS, ReasonCode, Text};
use alloc::boxed::Box;
use bytes::Bytes;

/// The Server's answer to a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the Server goes on with a Session that it had. Not in MQTT 3.1.
    pub session_present: bool,
    /// The outcome. MQTT 3.x has six return codes: encoding chooses the nearest, decoding gives
    /// the Reason Code of the same meaning.
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: ConnAckProperties,
}

/// The properties of a CONNACK. Spec: §3.2.2.3. `None` means absent, with the default that the
/// standard gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAckProperties {
    /// Seconds that the Session outlives the connection, when not what the Client asked for.
    pub session_expiry_interval: Option<u32>,
    /// How many QoS 1 and 2 messages the Server takes at once; 65,535 when absent, never zero.
    pub receive_maximum: Option<u16>,
    /// The highest QoS that the Server takes when not 2: QoS 0 or 1.
    pub maximum_qos: Option<QoS>,
    /// Whether retained messages are supported; yes when absent.
    pub retain_available: Option<bool>,
    /// Bytes of the largest packet that the Server takes; unlimited when absent, never zero.
    pub maximum_packet_size: Option<u32>,
    /// The Client Identifier that the Server chose for a Client that sent none.
    pub assigned_client_identifier: Option<Text>,
    /// The highest Topic Alias that the Server takes; 0 when absent.
    pub topic_alias_maximum: Option<u16>,
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Whether wildcard subscriptions are supported; yes when absent.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether Subscription Identifiers are supported; yes when absent.
    pub subscription_identifiers_available: Option<bool>,
    /// Whether Shared Subscriptions are supported; yes when absent.
    pub shared_subscription_available: Option<bool>,
    /// Seconds of Keep Alive that the Client must use instead of its own.
    pub server_keep_alive: Option<u16>,
    /// What response topics of this Client may begin with.
    pub response_information: Option<Text>,
    /// Another server to use.
    pub server_reference: Option<Text>,
    /// The name of the authentication method.
    pub authentication_method: Option<Text>,
    /// What the authentication method exchanges.
    pub authentication_data: Option<Bytes>,
}

impl ConnAck {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Box<Self>, DecodeError> {
        // MQTT 3.1 reserves the whole byte.
        let flags_max = u8::from(version != ProtocolVersion::V3_1);
        let flags = reader.u8()?;
        if flags > flags_max {
            return Err(DecodeError::ConnectAcknowledgeFlags(flags));
        }
        let session_present = flags != 0;
        let reason_code = if version.is_v5() {
            read_reason_code(PacketType::ConnAck, reader)?
        } else {
            let return_code = reader.u8()?;
            ReasonCode::from_connect_return_code(return_code)
                .ok_or(DecodeError::ReasonCode(PacketType::ConnAck, return_code))?
        };
        if session_present && reason_code != ReasonCode::Success {
            return Err(DecodeError::SessionPresentWithError);
        }
        // What is large is made where it stays.
        let properties = ConnAckProperties::default();
        let mut connack = Box::new(Self { session_present, reason_code, properties });
        read_properties_of(reader, version, &mut connack.properties)?;
        Ok(connack)
    }

    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        let version = target.version;
        check_binary(self.properties.authentication_data.as_ref())?;
        let properties = Section::new(&self.properties, version);
        // [MQTT-3.2.2-6]
        let session_present = self.session_present
            && self.reason_code == ReasonCode::Success
            && version != ProtocolVersion::V3_1;
        let code = if version.is_v5() {
            self.reason_code.value()
        } else {
            self.reason_code.connect_return_code()
        };
        target.begin(PacketType::ConnAck, 2 + properties.encoded_len())?;
        target.out.put_slice(&[u8::from(session_present), code]);
        properties.write(target.out);
        Ok(())
    }
}
