//! Legal packets from bytes, of all types, with few enough identifiers and names that they meet.

use super::world::Choices;
use crate::Message;
use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use dunlin_codec::{
    Ack, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, ConnectProperties, Delivery,
    Disconnect, DisconnectProperties, Packet, PacketIdentifier, ProtocolVersion, Publish,
    PublishTopic, QoS, ReasonCode, SubAck, Subscribe, Subscription, SubscriptionIdentifier,
    SubscriptionOptions, Text, TopicAlias, TopicFilter, TopicName, UnsubAck, Unsubscribe,
};

/// Any packet at all: a hostile peer keeps to no role.
pub(super) fn any(choices: &mut Choices<'_>, version: ProtocolVersion) -> Packet {
    match choices.below(20) {
        0 => Packet::Connect(Box::new(connect(choices, version))),
        1 => Packet::ConnAck(Box::new(connack(choices, version))),
        2..=6 => Packet::Publish(publish(choices, version)),
        7 => Packet::PubAck(ack(choices, version)),
        8 => Packet::PubRec(ack(choices, version)),
        9 | 10 => Packet::PubRel(handshake_ack(choices, version)),
        11 => Packet::PubComp(handshake_ack(choices, version)),
        12 => Packet::Subscribe(Box::new(subscribe(choices))),
        13 => Packet::SubAck(Box::new(SubAck {
            packet_identifier: packet_identifier(choices),
            properties: Default::default(),
            reason_codes: vec![ReasonCode::Success; 1 + usize::from(choices.below(3))],
        })),
        14 => Packet::Unsubscribe(Box::new(unsubscribe(choices))),
        15 => Packet::UnsubAck(Box::new(UnsubAck {
            packet_identifier: packet_identifier(choices),
            properties: Default::default(),
            reason_codes: vec![ReasonCode::Success; 1 + usize::from(choices.below(3))],
        })),
        16 => Packet::PingReq,
        17 => Packet::PingResp,
        18 => Packet::Disconnect(Box::new(disconnect(choices))),
        _ => Packet::Auth(Box::new(auth(choices))),
    }
}

pub(super) fn connect(choices: &mut Choices<'_>, version: ProtocolVersion) -> Connect {
    let mut properties = ConnectProperties::default();
    if version.is_v5() {
        properties = ConnectProperties {
            session_expiry_interval: optional(choices, |choices| u32::from(choices.byte())),
            receive_maximum: optional(choices, |choices| 1 + u16::from(choices.below(4))),
            maximum_packet_size: optional(choices, |choices| 1 + u32::from(choices.byte())),
            topic_alias_maximum: optional(choices, |choices| u16::from(choices.below(4))),
            request_problem_information: optional(choices, Choices::flag),
            authentication_method: optional(choices, method),
            ..Default::default()
        };
    }
    Connect {
        protocol_version: version,
        bridge: false,
        clean_start: choices.flag(),
        keep_alive: u16::from(choices.byte()),
        client_identifier: Text::from_static(choices.pick(&["c", "d", ""])),
        will: None,
        user_name: None,
        password: None,
        properties,
    }
}

pub(super) fn connack(choices: &mut Choices<'_>, version: ProtocolVersion) -> ConnAck {
    let mut properties = ConnAckProperties::default();
    if version.is_v5() {
        properties = ConnAckProperties {
            receive_maximum: optional(choices, |choices| 1 + u16::from(choices.below(4))),
            maximum_qos: optional(choices, |choices| {
                choices.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce])
            }),
            retain_available: optional(choices, Choices::flag),
            maximum_packet_size: optional(choices, |choices| 1 + u32::from(choices.byte())),
            topic_alias_maximum: optional(choices, |choices| u16::from(choices.below(4))),
            server_keep_alive: optional(choices, |choices| u16::from(choices.byte())),
            authentication_method: optional(choices, method),
            ..Default::default()
        };
    }
    let reason_code = choices.pick(&[
        ReasonCode::Success,
        ReasonCode::Success,
        ReasonCode::Success,
        ReasonCode::NotAuthorized,
    ]);
    let session_present = reason_code == ReasonCode::Success && choices.flag();
    ConnAck { session_present, reason_code, properties }
}

fn publish(choices: &mut Choices<'_>, version: ProtocolVersion) -> Publish {
    let packet_identifier = packet_identifier(choices);
    let dup = choices.flag();
    let delivery = match choices.below(3) {
        0 => Delivery::AtMostOnce,
        1 => Delivery::AtLeastOnce { packet_identifier, dup },
        _ => Delivery::ExactlyOnce { packet_identifier, dup },
    };
    let alias = TopicAlias::new(u16::from(choices.below(5)));
    let topic = match alias {
        Some(alias) if version.is_v5() && choices.flag() => PublishTopic::Alias(alias),
        Some(alias) if version.is_v5() => PublishTopic::NameAndAlias(topic_name(choices), alias),
        _ => PublishTopic::Name(topic_name(choices)),
    };
    let subscription_identifiers = match choices.below(8) {
        0 if version.is_v5() => SubscriptionIdentifier::new(1).into_iter().collect(),
        _ => Vec::new(),
    };
    Publish {
        delivery,
        retain: choices.flag(),
        topic,
        message_expiry_interval: version.is_v5().then(|| u32::from(choices.byte())),
        subscription_identifiers,
        properties: None,
        payload: payload(choices),
    }
}

/// A message to publish from this end.
pub(super) fn message(choices: &mut Choices<'_>, now: crate::Instant) -> Message {
    let mut message = Message::new(topic_name(choices), payload(choices));
    message.qos = qos(choices);
    message.retain = choices.flag();
    if choices.flag() {
        message.expire_after(now, u32::from(choices.byte()));
    }
    message
}

pub(super) fn qos(choices: &mut Choices<'_>) -> QoS {
    choices.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce])
}

fn payload(choices: &mut Choices<'_>) -> Bytes {
    static ZEROS: [u8; 5_000] = [0; 5_000];
    let len = match choices.byte() {
        255 => ZEROS.len(),
        len => usize::from(len) / 4,
    };
    Bytes::from_static(&ZEROS[..len])
}

fn ack(choices: &mut Choices<'_>, version: ProtocolVersion) -> Ack {
    let refused = version.is_v5() && choices.below(4) == 0;
    let reason_code = if refused { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
    Ack::new(packet_identifier(choices), reason_code)
}

fn handshake_ack(choices: &mut Choices<'_>, version: ProtocolVersion) -> Ack {
    let unknown = version.is_v5() && choices.below(4) == 0;
    let reason_code =
        if unknown { ReasonCode::PacketIdentifierNotFound } else { ReasonCode::Success };
    Ack::new(packet_identifier(choices), reason_code)
}

pub(super) fn subscribe(choices: &mut Choices<'_>) -> Subscribe {
    Subscribe {
        packet_identifier: packet_identifier(choices),
        properties: Default::default(),
        subscriptions: vec![
            Subscription {
                topic_filter: topic_filter(choices),
                options: SubscriptionOptions { maximum_qos: qos(choices), ..Default::default() },
            };
            1 + usize::from(choices.below(3))
        ],
    }
}

pub(super) fn unsubscribe(choices: &mut Choices<'_>) -> Unsubscribe {
    Unsubscribe {
        packet_identifier: packet_identifier(choices),
        properties: Default::default(),
        topic_filters: vec![topic_filter(choices); 1 + usize::from(choices.below(3))],
    }
}

pub(super) fn disconnect(choices: &mut Choices<'_>) -> Disconnect {
    let reason_code = choices.pick(&[
        ReasonCode::Success,
        ReasonCode::DisconnectWithWillMessage,
        ReasonCode::UnspecifiedError,
        ReasonCode::ServerShuttingDown,
    ]);
    let session_expiry_interval = optional(choices, |choices| u32::from(choices.byte()));
    let properties = DisconnectProperties { session_expiry_interval, ..Default::default() };
    Disconnect { reason_code, properties }
}

pub(super) fn auth(choices: &mut Choices<'_>) -> Auth {
    let reason_code = choices.pick(&[
        ReasonCode::ContinueAuthentication,
        ReasonCode::Success,
        ReasonCode::ReAuthenticate,
    ]);
    let properties =
        AuthProperties { authentication_method: Some(method(choices)), ..Default::default() };
    Auth { reason_code, properties }
}

fn method(choices: &mut Choices<'_>) -> Text {
    Text::from_static(choices.pick(&["m", "m", "m", "other"]))
}

fn packet_identifier(choices: &mut Choices<'_>) -> PacketIdentifier {
    let value = u16::from(choices.below(8)) + 1;
    PacketIdentifier::new(value).unwrap_or(PacketIdentifier::FIRST)
}

fn topic_name(choices: &mut Choices<'_>) -> TopicName {
    TopicName::from_static(choices.pick(&["t", "first/name", "second/name", "third/name", "a/b/c"]))
}

fn topic_filter(choices: &mut Choices<'_>) -> TopicFilter {
    TopicFilter::from_static(choices.pick(&["t", "first/+", "#", "$share/s/t"]))
}

fn optional<'a, T>(
    choices: &mut Choices<'a>,
    some: impl FnOnce(&mut Choices<'a>) -> T,
) -> Option<T> {
    if choices.flag() { Some(some(choices)) } else { None }
}
