//! DISCONNECT: the last packet of a connection. Spec: §3.14.

use super::{UserProperties, read_reason_code};
use crate::decode::Reader;
use crate::encode::Target;
use crate::properties::{Section, read_properties_of};
use crate::{DecodeError, EncodeError, PacketType, ProtocolVersion, ReasonCode, Text};
use alloc::boxed::Box;

/// The last packet of a connection. MQTT 3.x: only from the Client, without content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnect {
    /// Why.
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: DisconnectProperties,
}

/// The properties of a DISCONNECT. Spec: §3.14.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisconnectProperties {
    /// From a Client: seconds that the Session outlives the connection, when not as in CONNECT.
    pub session_expiry_interval: Option<u32>,
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// From a Server: another server to use.
    pub server_reference: Option<Text>,
}

impl Disconnect {
    /// A DISCONNECT without properties.
    #[inline]
    pub fn new(reason_code: ReasonCode) -> Self {
        Self { reason_code, properties: DisconnectProperties::default() }
    }
}

impl Disconnect {
    /// Reads the DISCONNECT; the Reason Code and the properties may be missing. Spec: §3.14.2.1,
    /// §3.14.2.2.1.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Box<Self>, DecodeError> {
        let mut disconnect = Box::new(Self::new(ReasonCode::Success));
        if version.is_v5() && !reader.is_empty() {
            disconnect.reason_code = read_reason_code(PacketType::Disconnect, reader)?;
            if !reader.is_empty() {
                read_properties_of(reader, version, &mut disconnect.properties)?;
            }
        }
        Ok(disconnect)
    }

    /// Writes the shortest form that says the same.
    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        let properties = Section::new(&self.properties, target.version);
        let short = properties.is_empty();
        if short && (self.reason_code == ReasonCode::Success || !target.version.is_v5()) {
            return target.begin(PacketType::Disconnect, 0);
        }
        let properties_len = if short { 0 } else { properties.encoded_len() };
        target.begin(PacketType::Disconnect, 1 + properties_len)?;
        target.out.put_u8(self.reason_code.value());
        if !short {
            properties.write(target.out);
        }
        Ok(())
    }
}
