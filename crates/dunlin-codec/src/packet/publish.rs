//! PUBLISH: an Application Message on its way. Spec: §3.3.

use super::UserProperties;
use crate::decode::{Frame, Limits, Reader};
use crate::encode::{Target, check_binary, put_fixed_header, two_byte_integer};
use crate::properties::{
    Property, PropertyField, PropertyValue, ReadProperties, Section, WriteProperties,
    read_properties,
};
use crate::{
    DecodeError, Delivery, EncodeError, Packet, PacketType, ProtocolVersion,
    SubscriptionIdentifier, Text, TopicAlias, TopicName, TransmitBuf,
};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::{Buf, Bytes, BytesMut};
use core::ops::Range;

/// An Application Message on its way from one peer to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// QoS, and Packet Identifier and DUP where the QoS has them.
    pub delivery: Delivery,
    /// Towards a Server: keep as the retained message. From a Server: this is a retained message.
    pub retain: bool,
    /// Topic Name, Topic Alias or both.
    pub topic: PublishTopic,
    /// Seconds that the message is still worth delivering; for ever when absent.
    pub message_expiry_interval: Option<u32>,
    /// From a Server: the identifiers of the subscriptions that match.
    pub subscription_identifiers: Vec<SubscriptionIdentifier>,
    /// What receivers get unaltered; `None` when there is none of it.
    pub properties: Option<Arc<MessageProperties>>,
    /// The Application Message itself.
    pub payload: Bytes,
}

/// How a PUBLISH names its topic. Spec: §3.3.2.1, §3.3.2.3.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishTopic {
    /// By its Topic Name.
    Name(TopicName),
    /// By its Topic Name, which the alias stands for from now on.
    NameAndAlias(TopicName, TopicAlias),
    /// By an alias that was set before.
    Alias(TopicAlias),
}

impl PublishTopic {
    /// The Topic Name, when it is in the packet.
    pub const fn name(&self) -> Option<&TopicName> {
        match self {
            Self::Name(name) | Self::NameAndAlias(name, _) => Some(name),
            Self::Alias(_) => None,
        }
    }

    /// The Topic Alias, when it is in the packet.
    pub const fn alias(&self) -> Option<TopicAlias> {
        match self {
            Self::Name(_) => None,
            Self::NameAndAlias(_, alias) | Self::Alias(alias) => Some(*alias),
        }
    }
}

/// The properties of an Application Message that every receiver gets unaltered
/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Whether the payload says of itself that it is UTF-8; `None` when it says nothing.
    pub payload_format_indicator: Option<bool>,
    /// What the payload is, for its receivers.
    pub content_type: Option<Text>,
    /// Where an answer is expected.
    pub response_topic: Option<TopicName>,
    /// What the answer repeats so that it finds its request.
    pub correlation_data: Option<Bytes>,
    /// User Properties, kept in their order [MQTT-3.3.2-18].
    pub user_properties: UserProperties,
}

impl MessageProperties {
    /// Whether there is none of it.
    pub fn is_empty(&self) -> bool {
        self.payload_format_indicator.is_none()
            && self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.user_properties.is_empty()
    }
}

/// A PUBLISH about to be encoded, borrowed from wherever its parts live.
///
/// A sender with many receivers encodes from this and builds no [`Publish`] for each.
#[derive(Clone, Copy, Debug)]
pub struct PublishParts<'a> {
    /// QoS, Packet Identifier and DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name to write; `None` when the alias alone names the topic, and then
    /// `topic_alias` is there.
    pub topic_name: Option<&'a TopicName>,
    /// The Topic Alias to write; left out for MQTT 3.x, which has none.
    pub topic_alias: Option<TopicAlias>,
    /// Seconds that the message is still worth delivering.
    pub message_expiry_interval: Option<u32>,
    /// The identifiers of the subscriptions that match.
    pub subscription_identifiers: &'a [SubscriptionIdentifier],
    /// What receivers get unaltered.
    pub properties: Option<&'a MessageProperties>,
    /// The Application Message itself; large ones are referenced, not copied.
    pub payload: &'a Bytes,
}

impl Publish {
    /// The parts to encode.
    pub fn parts(&self) -> PublishParts<'_> {
        PublishParts {
            delivery: self.delivery,
            retain: self.retain,
            topic_name: self.topic.name(),
            topic_alias: self.topic.alias(),
            message_expiry_interval: self.message_expiry_interval,
            subscription_identifiers: &self.subscription_identifiers,
            properties: self.properties.as_deref(),
            payload: &self.payload,
        }
    }
}

impl Publish {
    /// Takes the PUBLISH at the front of `input`, which is there whole, and whose fixed header was
    /// checked.
    #[inline]
    pub(crate) fn read(
        frame: Frame,
        input: &mut BytesMut,
        version: ProtocolVersion,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        let mut reader = Reader::new(frame.body(input), limits);
        let topic_name = reader.prefixed()?;
        limits.check_topic_name(topic_name.len())?;
        if !topic_name.is_empty() {
            TopicName::check(topic_name)?;
        }
        let delivery = match frame.flags >> 1 & 3 {
            0 => Delivery::AtMostOnce,
            qos => {
                let packet_identifier = reader.packet_identifier()?;
                let dup = frame.flags & 8 != 0;
                if qos == 1 {
                    Delivery::AtLeastOnce { packet_identifier, dup }
                } else {
                    Delivery::ExactlyOnce { packet_identifier, dup }
                }
            }
        };
        let retain = frame.flags & 1 != 0;
        let name = frame.header_len + 2..frame.header_len + 2 + topic_name.len();
        if version.is_v5() && !reader.skip_zero() {
            let from = frame.len - reader.remaining();
            let frame = input.split_to(frame.len).freeze();
            return Self::read_with_properties(frame, from, name, delivery, retain, limits);
        }
        if name.is_empty() {
            return Err(DecodeError::TopicNameMissing);
        }
        let payload_len = reader.remaining();
        let topic_name = match Text::in_place_checked(topic_name) {
            Some(topic_name) => {
                input.advance(frame.len - payload_len);
                topic_name
            }
            None => {
                let head = input.split_to(frame.len - payload_len).freeze();
                Text::from_checked(head.slice(name))
            }
        };
        Ok(Some(Packet::Publish(Self {
            delivery,
            retain,
            topic: PublishTopic::Name(TopicName::from_checked(topic_name)),
            message_expiry_interval: None,
            subscription_identifiers: Vec::new(),
            properties: None,
            // Last, since what comes after it in program order has to wait for it.
            payload: input.split_to(payload_len).freeze(),
        })))
    }

    /// Reads the rest of a PUBLISH from its properties on; `name` is where its Topic Name is.
    #[inline(never)]
    fn read_with_properties(
        mut frame: Bytes,
        properties_from: usize,
        name: Range<usize>,
        delivery: Delivery,
        retain: bool,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        let mut reader = Reader::sharing(&frame, properties_from, limits);
        let mut properties = PublishProperties::default();
        read_properties(&mut reader, &mut properties)?;
        let payload_from = frame.len() - reader.remaining();
        let name = (!name.is_empty()).then(|| {
            let name = Text::in_place_checked(&frame[name.clone()])
                .unwrap_or_else(|| Text::from_checked(frame.slice(name)));
            TopicName::from_checked(name)
        });
        let topic = match (name, properties.topic_alias) {
            (Some(name), None) => PublishTopic::Name(name),
            (Some(name), Some(alias)) => PublishTopic::NameAndAlias(name, alias),
            (None, Some(alias)) => PublishTopic::Alias(alias),
            (None, None) => return Err(DecodeError::TopicNameMissing),
        };
        frame.advance(payload_from);
        Ok(Some(Packet::Publish(Self {
            delivery,
            retain,
            topic,
            message_expiry_interval: properties.message_expiry_interval,
            subscription_identifiers: properties.subscription_identifiers,
            properties: properties.message.map(Arc::new),
            payload: frame,
        })))
    }
}

/// The properties of a PUBLISH while they are read: those that belong to this delivery apart from
/// those that belong to the message.
#[derive(Default)]
struct PublishProperties {
    topic_alias: Option<TopicAlias>,
    message_expiry_interval: Option<u32>,
    subscription_identifiers: Vec<SubscriptionIdentifier>,
    /// Made when the first of them comes.
    message: Option<MessageProperties>,
}

impl ReadProperties for PublishProperties {
    const PLACE: &'static str = MessageProperties::PLACE;

    fn read(&mut self, property: Property, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match property {
            Property::TopicAlias => self.topic_alias.read(property, reader),
            Property::MessageExpiryInterval => self.message_expiry_interval.read(property, reader),
            Property::SubscriptionIdentifier => {
                self.subscription_identifiers.read(property, reader)
            }
            _ => self.message.get_or_insert_default().read(property, reader),
        }
    }
}

impl WriteProperties for PublishParts<'_> {
    #[inline]
    fn encoded_len(&self) -> usize {
        let mut len = 0;
        if self.topic_alias.is_some() {
            len += 1 + 2;
        }
        if self.message_expiry_interval.is_some() {
            len += 1 + 4;
        }
        for identifier in self.subscription_identifiers {
            len += 1 + identifier.encoded_len();
        }
        if let Some(properties) = self.properties {
            len += properties.encoded_len();
        }
        len
    }

    fn write(&self, out: &mut TransmitBuf) {
        self.topic_alias.write(Property::TopicAlias, out);
        self.message_expiry_interval.write(Property::MessageExpiryInterval, out);
        for identifier in self.subscription_identifiers {
            identifier.write(Property::SubscriptionIdentifier, out);
        }
        if let Some(properties) = self.properties {
            properties.write(out);
        }
    }
}

impl Publish {
    /// Writes the PUBLISH; a large payload is referenced.
    #[inline]
    pub(crate) fn encode_to(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        match &self.topic {
            PublishTopic::Name(topic_name)
                if self.message_expiry_interval.is_none()
                    && self.subscription_identifiers.is_empty()
                    && self.properties.is_none() =>
            {
                let plain = PlainHead {
                    delivery: self.delivery,
                    retain: self.retain,
                    topic_name,
                    payload: &self.payload,
                };
                plain.put(target)?;
                target.out.put_bytes(&self.payload);
                Ok(())
            }
            _ => self.encode_parts_to(target),
        }
    }

    #[inline(never)]
    fn encode_parts_to(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        self.parts().encode_to(target)
    }
}

impl PublishParts<'_> {
    /// Writes the PUBLISH; a large payload is referenced.
    #[inline]
    pub(crate) fn encode_to(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        self.put_head(target)?;
        target.out.put_bytes(self.payload);
        Ok(())
    }

    /// Writes what comes before the payload, once it is sure that the packet can be written, and
    /// makes room for a payload that will be copied. Gives how many bytes lie between the front of
    /// the packet and the end of its Topic Name, where the Packet Identifier is.
    #[inline]
    pub(crate) fn put_head(&self, target: &mut Target<'_>) -> Result<usize, EncodeError> {
        match self.topic_name {
            Some(topic_name) if !target.version.is_v5() || !self.has_properties() => PlainHead {
                delivery: self.delivery,
                retain: self.retain,
                topic_name,
                payload: self.payload,
            }
            .put(target),
            _ => self.put_head_with_properties(target),
        }
    }

    /// Whether there is a property to write.
    #[inline]
    const fn has_properties(&self) -> bool {
        self.topic_alias.is_some()
            || self.message_expiry_interval.is_some()
            || !self.subscription_identifiers.is_empty()
            || self.properties.is_some()
    }

    #[inline(never)]
    fn put_head_with_properties(&self, target: &mut Target<'_>) -> Result<usize, EncodeError> {
        let version = target.version;
        let topic_name = self.topic_name.map_or(&[][..], |name| name.as_text().as_bytes());
        if topic_name.is_empty() && !(version.is_v5() && self.topic_alias.is_some()) {
            return Err(EncodeError::NotInVersion(PacketType::Publish, version));
        }
        if let Some(properties) = self.properties {
            check_binary(properties.correlation_data.as_ref())?;
        }
        let properties = Section::new(self, version);
        let packet_identifier = self.delivery.packet_identifier();
        let packet_identifier_len = if packet_identifier.is_some() { 2 } else { 0 };
        let packet_identifier_at = put_topic_name(
            first_byte(self.delivery, self.retain),
            topic_name,
            packet_identifier_len + properties.encoded_len(),
            self.payload,
            target,
        )?;
        if let Some(packet_identifier) = packet_identifier {
            target.out.put_u16(packet_identifier.value());
        }
        properties.write(target.out);
        Ok(packet_identifier_at)
    }
}

/// What the usual PUBLISH has before its payload: a Topic Name and no properties.
struct PlainHead<'a> {
    delivery: Delivery,
    retain: bool,
    topic_name: &'a TopicName,
    payload: &'a Bytes,
}

impl PlainHead<'_> {
    /// As [`PublishParts::put_head`].
    #[inline(always)]
    fn put(self, target: &mut Target<'_>) -> Result<usize, EncodeError> {
        let first = first_byte(self.delivery, self.retain);
        let topic_name = self.topic_name.as_text().as_bytes();
        let properties_len = usize::from(target.version.is_v5());
        match self.delivery.packet_identifier() {
            None => {
                let at = put_topic_name(first, topic_name, properties_len, self.payload, target)?;
                if properties_len != 0 {
                    target.out.put_u8(0);
                }
                Ok(at)
            }
            Some(packet_identifier) => {
                let len = 2 + properties_len;
                let at = put_topic_name(first, topic_name, len, self.payload, target)?;
                let [high, low] = packet_identifier.value().to_be_bytes();
                if properties_len != 0 {
                    target.out.put_slice(&[high, low, 0]);
                } else {
                    target.out.put_slice(&[high, low]);
                }
                Ok(at)
            }
        }
    }
}

/// The first byte of a PUBLISH. Spec: §3.3.1.
#[inline]
const fn first_byte(delivery: Delivery, retain: bool) -> u8 {
    let flags = (delivery.dup() as u8) << 3 | delivery.qos().value() << 1 | retain as u8;
    (PacketType::Publish as u8) << 4 | flags
}

/// Writes fixed header and Topic Name of a PUBLISH that has `between` bytes between these and its
/// payload, and gives how many bytes those are.
#[inline(always)]
fn put_topic_name(
    first: u8,
    topic_name: &[u8],
    between: usize,
    payload: &Bytes,
    target: &mut Target<'_>,
) -> Result<usize, EncodeError> {
    let remaining_len = 2 + topic_name.len() + between + payload.len();
    let len = target.check_size(remaining_len)?;
    let out = &mut *target.out;
    out.reserve_for(len - payload.len(), payload);
    let [high, low] = (topic_name.len() as u16).to_be_bytes();
    match remaining_len {
        0..0x80 => out.put_slice(&[first, remaining_len as u8, high, low]),
        0x80..0x4000 => {
            let [more, rest] = two_byte_integer(remaining_len);
            out.put_slice(&[first, more, rest, high, low]);
        }
        _ => {
            put_fixed_header(out, first, remaining_len);
            out.put_slice(&[high, low]);
        }
    }
    out.put_slice(topic_name);
    Ok(len - (remaining_len - 2) + topic_name.len())
}
