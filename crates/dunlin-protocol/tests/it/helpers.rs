//! Packets and messages that many tests need.

use dunlin_protocol::Message;
use dunlin_protocol::codec::{
    Ack, Delivery, Packet, PacketIdentifier, Publish, PublishTopic, QoS, ReasonCode, TopicAlias,
    TopicName,
};
use std::sync::Arc;

pub(crate) fn id(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).unwrap()
}

pub(crate) fn ack(value: u16) -> Ack {
    Ack::new(id(value), ReasonCode::Success)
}

/// A PUBLISH with that QoS and Packet Identifier; what is sent again has DUP set.
pub(crate) fn publish(qos: u8, value: u16, dup: bool) -> Packet {
    let delivery = match qos {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce { packet_identifier: id(value), dup },
        _ => Delivery::ExactlyOnce { packet_identifier: id(value), dup },
    };
    with_topic(delivery, PublishTopic::Name(TopicName::from_static("t")))
}

pub(crate) fn with_alias(topic_name: Option<&'static str>, alias: u16) -> Packet {
    let alias = TopicAlias::new(alias).unwrap();
    let topic = match topic_name {
        Some(name) => PublishTopic::NameAndAlias(TopicName::from_static(name), alias),
        None => PublishTopic::Alias(alias),
    };
    with_topic(Delivery::AtMostOnce, topic)
}

fn with_topic(delivery: Delivery, topic: PublishTopic) -> Packet {
    Packet::Publish(Publish {
        delivery,
        retain: false,
        topic,
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: "payload".into(),
    })
}

pub(crate) fn message(topic_name: &'static str, qos: QoS) -> Arc<Message> {
    let mut message = Message::new(TopicName::from_static(topic_name), "payload");
    message.qos = qos;
    Arc::new(message)
}

/// The packets in short: type, Packet Identifier, and `!` for DUP.
pub(crate) fn brief(packets: &[Packet]) -> String {
    let brief = packets.iter().map(|packet| match packet {
        Packet::Publish(publish) => {
            let dup = if publish.delivery.dup() { "!" } else { "" };
            let value = publish.delivery.packet_identifier().map_or(0, PacketIdentifier::value);
            format!("PUBLISH{value}{dup}")
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            let error = if ack.reason_code.is_error() { "?" } else { "" };
            format!("{}{}{error}", packet.packet_type().name(), ack.packet_identifier)
        }
        packet => packet.packet_type().name().to_owned(),
    });
    brief.collect::<Vec<_>>().join(" ")
}
