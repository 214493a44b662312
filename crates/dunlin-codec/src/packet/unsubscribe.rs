//! UNSUBSCRIBE and UNSUBACK. Spec: §3.10, §3.11.

use super::subscribe::{USUAL_ENTRIES, read_reason_codes};
use super::{SubAckProperties, UserProperties, reason_code};
use crate::decode::Reader;
use crate::encode::{Target, put_prefixed};
use crate::properties::{Section, read_properties_of};
use crate::{
    DecodeError, EncodeError, PacketIdentifier, PacketType, ProtocolVersion, ReasonCode,
    TopicFilter,
};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A Client wants no more messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Names the exchange that ends with the UNSUBACK.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: UnsubscribeProperties,
    /// The Topic Filters as they were subscribed, at least one [MQTT-3.10.3-2].
    pub topic_filters: Vec<TopicFilter>,
}

/// The properties of an UNSUBSCRIBE. Spec: §3.10.2.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsubscribeProperties {
    /// User Properties.
    pub user_properties: UserProperties,
}

/// The Server's answer to an UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// The exchange that this ends.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: SubAckProperties,
    /// One for each Topic Filter of the UNSUBSCRIBE, in its order [MQTT-3.11.3-1]; none in
    /// MQTT 3.x.
    pub reason_codes: Vec<ReasonCode>,
}

impl Unsubscribe {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Box<Self>, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let mut properties = UnsubscribeProperties::default();
        read_properties_of(reader, version, &mut properties)?;
        if reader.is_empty() {
            return Err(DecodeError::NoEntries(PacketType::Unsubscribe));
        }
        let mut topic_filters = Vec::with_capacity(USUAL_ENTRIES);
        while !reader.is_empty() {
            topic_filters.push(reader.topic_filter()?);
        }
        Ok(Box::new(Self { packet_identifier, properties, topic_filters }))
    }

    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        let properties = Section::new(&self.properties, target.version);
        let entries_len: usize =
            self.topic_filters.iter().map(|filter| 2 + filter.as_text().as_bytes().len()).sum();
        target.begin(PacketType::Unsubscribe, 2 + properties.encoded_len() + entries_len)?;
        target.out.put_u16(self.packet_identifier.value());
        properties.write(target.out);
        for topic_filter in &self.topic_filters {
            put_prefixed(target.out, topic_filter.as_text().as_bytes());
        }
        Ok(())
    }
}

impl UnsubAck {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Box<Self>, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let mut properties = SubAckProperties::default();
        read_properties_of(reader, version, &mut properties)?;
        let reason_codes = if version.is_v5() {
            read_reason_codes(PacketType::UnsubAck, reader, |byte| {
                reason_code(PacketType::UnsubAck, byte)
            })?
        } else {
            Vec::new()
        };
        Ok(Box::new(Self { packet_identifier, properties, reason_codes }))
    }

    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        let version = target.version;
        let properties = Section::new(&self.properties, version);
        let codes: &[ReasonCode] = if version.is_v5() { &self.reason_codes } else { &[] };
        target.begin(PacketType::UnsubAck, 2 + properties.encoded_len() + codes.len())?;
        target.out.put_u16(self.packet_identifier.value());
        properties.write(target.out);
        for reason_code in codes {
            target.out.put_u8(reason_code.value());
        }
        Ok(())
    }
}
