//! SUBSCRIBE and SUBACK. Spec: §3.8, §3.9.

use super::{UserProperties, reason_code};
use crate::decode::Reader;
use crate::encode::{Target, put_prefixed};
use crate::properties::{Section, read_properties_of};
use crate::{
    DecodeError, EncodeError, PacketIdentifier, PacketType, ProtocolVersion, QoS, ReasonCode,
    SubscriptionIdentifier, Text, TopicFilter,
};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// A Client asks for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Names the exchange that ends with the SUBACK.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: SubscribeProperties,
    /// What is asked for, at least one [MQTT-3.8.3-2].
    pub subscriptions: Vec<Subscription>,
}

/// The properties of a SUBSCRIBE. Spec: §3.8.2.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeProperties {
    /// Comes back with each message that matches.
    pub subscription_identifier: Option<SubscriptionIdentifier>,
    /// User Properties.
    pub user_properties: UserProperties,
}

/// A Topic Filter with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which Topic Names.
    pub topic_filter: TopicFilter,
    /// How their messages are delivered.
    pub options: SubscriptionOptions,
}

/// The Subscription Options. MQTT 3.x has the QoS alone. Spec: §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS that the Client wants.
    pub maximum_qos: QoS,
    /// Don't send a Client its own messages; not allowed for a Shared Subscription
    /// [MQTT-3.8.3-4].
    pub no_local: bool,
    /// Keep the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// Which retained messages are sent at once.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a new subscription gets. Spec: §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    Send = 0,
    /// All that match, when the subscription is new.
    SendIfNew = 1,
    /// None.
    DoNotSend = 2,
}

/// The Server's answer to a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The exchange that this ends.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: SubAckProperties,
    /// One for each Topic Filter of the SUBSCRIBE, in its order [MQTT-3.9.3-1].
    pub reason_codes: Vec<ReasonCode>,
}

/// The properties of a SUBACK or UNSUBACK. Spec: §3.9.2.1, §3.11.2.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubAckProperties {
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}

/// Room for as many entries is made at once.
pub(super) const USUAL_ENTRIES: usize = 4;

impl Subscribe {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Box<Self>, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let mut properties = SubscribeProperties::default();
        read_properties_of(reader, version, &mut properties)?;
        if reader.is_empty() {
            return Err(DecodeError::NoEntries(PacketType::Subscribe));
        }
        let mut subscriptions = Vec::with_capacity(USUAL_ENTRIES);
        while !reader.is_empty() {
            let topic_filter = reader.topic_filter()?;
            let options = SubscriptionOptions::read(reader.u8()?, version)?;
            if options.no_local && topic_filter.share_name().is_some() {
                return Err(DecodeError::NoLocalOnSharedSubscription);
            }
            subscriptions.push(Subscription { topic_filter, options });
        }
        Ok(Box::new(Self { packet_identifier, properties, subscriptions }))
    }

    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        let version = target.version;
        let properties = Section::new(&self.properties, version);
        let entries_len: usize = self
            .subscriptions
            .iter()
            .map(|entry| 2 + entry.topic_filter.as_text().as_bytes().len() + 1)
            .sum();
        target.begin(PacketType::Subscribe, 2 + properties.encoded_len() + entries_len)?;
        target.out.put_u16(self.packet_identifier.value());
        properties.write(target.out);
        for Subscription { topic_filter, options } in &self.subscriptions {
            put_prefixed(target.out, topic_filter.as_text().as_bytes());
            target.out.put_u8(options.byte(version));
        }
        Ok(())
    }
}

impl SubscriptionOptions {
    fn read(byte: u8, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let reserved = if version.is_v5() { 0b1100_0000 } else { 0b1111_1100 };
        if byte & reserved != 0 {
            return Err(DecodeError::SubscriptionOptionsReserved(byte));
        }
        Ok(Self {
            maximum_qos: QoS::new(byte & 3).ok_or(DecodeError::SubscriptionQoS)?,
            no_local: byte & 1 << 2 != 0,
            retain_as_published: byte & 1 << 3 != 0,
            retain_handling: match byte >> 4 & 3 {
                0 => RetainHandling::Send,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeError::RetainHandling),
            },
        })
    }

    /// The options as `version` writes them.
    const fn byte(self, version: ProtocolVersion) -> u8 {
        let qos = self.maximum_qos.value();
        if !version.is_v5() {
            return qos;
        }
        qos | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }
}

impl SubAck {
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        version: ProtocolVersion,
    ) -> Result<Box<Self>, DecodeError> {
        let packet_identifier = reader.packet_identifier()?;
        let mut properties = SubAckProperties::default();
        read_properties_of(reader, version, &mut properties)?;
        let reason_codes = read_reason_codes(PacketType::SubAck, reader, |byte| {
            if version.is_v5() {
                reason_code(PacketType::SubAck, byte)
            } else {
                ReasonCode::from_subscribe_return_code(byte)
                    .ok_or(DecodeError::ReasonCode(PacketType::SubAck, byte))
            }
        })?;
        Ok(Box::new(Self { packet_identifier, properties, reason_codes }))
    }

    pub(crate) fn encode(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        let version = target.version;
        let properties = Section::new(&self.properties, version);
        let len = 2 + properties.encoded_len() + self.reason_codes.len();
        target.begin(PacketType::SubAck, len)?;
        target.out.put_u16(self.packet_identifier.value());
        properties.write(target.out);
        for reason_code in &self.reason_codes {
            target.out.put_u8(if version.is_v5() {
                reason_code.value()
            } else {
                reason_code.subscribe_return_code()
            });
        }
        Ok(())
    }
}

/// Reads the codes that fill the rest of a SUBACK or UNSUBACK, at least one.
pub(super) fn read_reason_codes(
    packet_type: PacketType,
    reader: &mut Reader<'_>,
    read: impl Fn(u8) -> Result<ReasonCode, DecodeError>,
) -> Result<Vec<ReasonCode>, DecodeError> {
    let bytes = reader.rest();
    if bytes.is_empty() {
        return Err(DecodeError::NoEntries(packet_type));
    }
    let mut reason_codes = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        reason_codes.push(read(byte)?);
    }
    Ok(reason_codes)
}
