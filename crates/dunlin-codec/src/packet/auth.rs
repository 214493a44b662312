//! AUTH: a step of enhanced authentication, MQTT 5.0 only. Spec: §3.15, §4.12.

use super::{UserProperties, read_reason_code};
use crate::decode::Reader;
use crate::encode::{Target, check_binary};
use crate::properties::{Section, read_properties};
use crate::{DecodeError, EncodeError, PacketType, ReasonCode, Text};
use alloc::boxed::Box;
use bytes::Bytes;

/// A step of enhanced authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Success, Continue authentication or Re-authenticate [MQTT-3.15.2-1].
    pub reason_code: ReasonCode,
    /// The properties.
    pub properties: AuthProperties,
}

/// The properties of an AUTH. Spec: §3.15.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthProperties {
    /// The name of the method; a Protocol Error when missing, unless the packet is empty.
    pub authentication_method: Option<Text>,
    /// What the method exchanges.
    pub authentication_data: Option<Bytes>,
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Auth {
    /// Reads the AUTH; an empty one means Success. Spec: §3.15.2.1.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Box<Self>, DecodeError> {
        let properties = AuthProperties::default();
        let mut auth = Box::new(Self { reason_code: ReasonCode::Success, properties });
        if !reader.is_empty() {
            auth.reason_code = read_reason_code(PacketType::Auth, reader)?;
            read_properties(reader, &mut auth.properties)?;
        }
        Ok(auth)
    }

    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        if !target.version.is_v5() {
            return Err(EncodeError::NotInVersion(PacketType::Auth, target.version));
        }
        check_binary(self.properties.authentication_data.as_ref())?;
        let properties = Section::new(&self.properties, target.version);
        if self.reason_code == ReasonCode::Success && properties.is_empty() {
            return target.begin(PacketType::Auth, 0);
        }
        target.begin(PacketType::Auth, 1 + properties.encoded_len())?;
        target.out.put_u8(self.reason_code.value());
        properties.write(target.out);
        Ok(())
    }
}
