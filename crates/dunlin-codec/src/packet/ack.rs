//! PUBACK, PUBREC, PUBREL and PUBCOMP: one shape, four meanings. Spec: §3.4 to §3.7.

use super::{UserProperties, read_reason_code};
use crate::decode::Reader;
use crate::encode::{Target, first_byte, put_fixed_header};
use crate::properties::{Section, read_properties};
use crate::{
    DecodeError, PacketIdentifier, PacketTooLarge, PacketType, ProtocolVersion, ReasonCode, Text,
};
use alloc::boxed::Box;

/// The content of a PUBACK, PUBREC, PUBREL or PUBCOMP.
///
/// MQTT 3.x carries the Packet Identifier alone; the rest is dropped when encoding for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The exchange that this answers.
    pub packet_identifier: PacketIdentifier,
    /// The outcome; [`ReasonCode::Success`] in MQTT 3.x.
    pub reason_code: ReasonCode,
    /// The properties; `None` when there are none, so that the usual ack allocates nothing.
    pub properties: Option<Box<AckProperties>>,
}

/// The properties of a PUBACK, PUBREC, PUBREL or PUBCOMP. Spec: §3.4.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckProperties {
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An ack without properties.
    pub const fn new(packet_identifier: PacketIdentifier, reason_code: ReasonCode) -> Self {
        Self { packet_identifier, reason_code, properties: None }
    }
}

impl Ack {
    /// Reads an ack that has its Packet Identifier alone: all of MQTT 3.x, and Success in 5.0.
    #[inline]
    pub(crate) fn read_short(packet_identifier: u16) -> Result<Self, DecodeError> {
        match PacketIdentifier::new(packet_identifier) {
            Some(packet_identifier) => Ok(Self::new(packet_identifier, ReasonCode::Success)),
            None => Err(DecodeError::PacketIdentifierZero),
        }
    }

    /// Reads the ack; the Reason Code and the properties may be missing in 5.0. Spec: §3.4.2.1,
    /// §3.4.2.2.1.
    pub(crate) fn read(
        packet_type: PacketType,
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Self, DecodeError> {
        let mut ack = Self::new(reader.packet_identifier()?, ReasonCode::Success);
        if version.is_v5() && !reader.is_empty() {
            ack.reason_code = read_reason_code(packet_type, reader)?;
            if !reader.is_empty() {
                let mut properties = AckProperties::default();
                read_properties(reader, &mut properties)?;
                ack.properties =
                    (properties != AckProperties::default()).then(|| Box::new(properties));
            }
        }
        Ok(ack)
    }

    /// Writes the shortest form that says the same.
    #[inline]
    pub(crate) fn encode_to(
        &self,
        packet_type: PacketType,
        target: &mut Target<'_>,
    ) -> Result<(), PacketTooLarge> {
        debug_assert!(matches!(
            packet_type,
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp
        ));
        let short = self.reason_code == ReasonCode::Success && self.properties.is_none();
        if short || !target.version.is_v5() {
            target.check_size(2)?;
            let [high, low] = self.packet_identifier.value().to_be_bytes();
            target.out.put_slice(&[first_byte(packet_type), 2, high, low]);
            return Ok(());
        }
        self.encode_long(packet_type, target)
    }

    fn encode_long(
        &self,
        packet_type: PacketType,
        target: &mut Target<'_>,
    ) -> Result<(), PacketTooLarge> {
        let properties = self.properties.as_deref().map(|set| Section::new(set, target.version));
        let properties = properties.filter(|section| !section.is_empty());
        let properties_len = properties.as_ref().map_or(0, Section::encoded_len);
        let remaining_len = 2 + 1 + properties_len;
        let len = target.check_size(remaining_len)?;
        target.out.reserve(len);
        put_fixed_header(target.out, first_byte(packet_type), remaining_len);
        target.out.put_u16(self.packet_identifier.value());
        target.out.put_u8(self.reason_code.value());
        if let Some(properties) = properties {
            properties.write(target.out);
        }
        Ok(())
    }
}
