//! Packets as checks say them: what they don't care about has a plain value.

use bytes::Bytes;
use dunlin_codec::{
    Auth, ConnAck, Connect, Delivery, Disconnect, MessageProperties, Packet, PacketIdentifier,
    ProtocolVersion, Publish, PublishTopic, QoS, SubAck, Subscribe, SubscribeProperties,
    Subscription, SubscriptionOptions, TopicFilter, TopicName, TransmitBuf, UnsubAck, Unsubscribe,
    Will, WillProperties,
};
use std::sync::Arc;

/// What can be sent as a packet.
pub trait ToPacket {
    /// The packet.
    fn to_packet(self) -> Packet;
}

impl ToPacket for Packet {
    fn to_packet(self) -> Packet {
        self
    }
}

impl ToPacket for Publish {
    fn to_packet(self) -> Packet {
        Packet::Publish(self)
    }
}

macro_rules! boxed {
    ($($type:ident)*) => {
        $(impl ToPacket for $type {
            fn to_packet(self) -> Packet {
                Packet::$type(Box::new(self))
            }
        })*
    };
}

boxed!(Connect ConnAck Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth);

/// A message with QoS 0, not retained.
pub fn message(topic_name: &TopicName, payload: impl Into<Bytes>) -> Publish {
    Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: PublishTopic::Name(topic_name.clone()),
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: payload.into(),
    }
}

/// The same with properties.
pub fn message_of(
    topic_name: &TopicName,
    payload: impl Into<Bytes>,
    properties: MessageProperties,
) -> Publish {
    Publish { properties: Some(Arc::new(properties)), ..message(topic_name, payload) }
}

/// The delivery with this QoS and, where the QoS has one, this Packet Identifier.
pub(crate) const fn delivery(qos: QoS, packet_identifier: PacketIdentifier) -> Delivery {
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_identifier, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_identifier, dup: false },
    }
}

/// A Will without properties.
pub fn will(topic_name: &TopicName, qos: QoS, payload: impl Into<Bytes>) -> Will {
    Will {
        topic_name: topic_name.clone(),
        payload: payload.into(),
        qos,
        retain: false,
        properties: WillProperties::default(),
    }
}

/// A subscription with no other option than its QoS.
pub fn subscription(topic_filter: &TopicFilter, maximum_qos: QoS) -> Subscription {
    let options = SubscriptionOptions { maximum_qos, ..SubscriptionOptions::default() };
    Subscription { topic_filter: topic_filter.clone(), options }
}

/// A SUBSCRIBE without properties.
pub fn subscribe(
    packet_identifier: PacketIdentifier,
    subscriptions: impl Into<Vec<Subscription>>,
) -> Subscribe {
    Subscribe {
        packet_identifier,
        properties: SubscribeProperties::default(),
        subscriptions: subscriptions.into(),
    }
}

/// The bytes of the packet, to be changed before they are sent.
///
/// # Panics
/// When this version can't say the packet: a fault of the check.
pub fn encoded(packet: impl ToPacket, version: ProtocolVersion) -> Vec<u8> {
    let mut out = TransmitBuf::new();
    let packet = packet.to_packet();
    packet.encode(version, u32::MAX, &mut out).expect("a packet that this version can say");
    let mut bytes = Vec::with_capacity(out.len());
    while !out.is_empty() {
        let mut pieces = [&[][..]; 16];
        let count = out.pieces(&mut pieces);
        let written = pieces[..count].concat();
        out.advance(written.len());
        bytes.extend(written);
    }
    bytes
}
