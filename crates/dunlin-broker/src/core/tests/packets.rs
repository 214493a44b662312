//! Short ways to write the packets of tests, and to read those of the broker.

use bytes::Bytes;
use dunlin_protocol::codec::{
    Ack, Connect, ConnectProperties, Delivery, Disconnect, DisconnectProperties, Packet,
    PacketIdentifier, ProtocolVersion, Publish, PublishTopic, QoS, ReasonCode, RetainHandling,
    Subscribe, SubscribeProperties, Subscription, SubscriptionIdentifier, SubscriptionOptions,
    TopicName, TransmitBuf, Unsubscribe, Will, WillProperties,
};

pub(super) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

pub(super) fn bytes_of(packet: &Packet, version: ProtocolVersion) -> Vec<u8> {
    let mut out = TransmitBuf::new();
    packet.encode(version, u32::MAX, &mut out).expect("a packet that can be written");
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut pieces = [&[][..]; 8];
        let filled = out.pieces(&mut pieces);
        let count = pieces[..filled].iter().map(|piece| piece.len()).sum();
        pieces[..filled].iter().for_each(|piece| bytes.extend_from_slice(piece));
        out.advance(count);
    }
    bytes
}

pub(super) fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("not zero")
}

/// CONNECT with MQTT 5.0, Clean Start and a Session that ends with the connection.
pub(super) fn connect(client_identifier: &str) -> Connect {
    Connect {
        protocol_version: ProtocolVersion::V5,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        client_identifier: client_identifier.parse().expect("a legal Client Identifier"),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// CONNECT with MQTT 3.1.1.
pub(super) fn connect_v311(client_identifier: &str, clean_session: bool) -> Connect {
    Connect {
        protocol_version: ProtocolVersion::V3_1_1,
        clean_start: clean_session,
        ..connect(client_identifier)
    }
}

pub(super) trait ConnectExt {
    fn resume(self) -> Self;
    fn expiry(self, secs: u32) -> Self;
    fn receive_maximum(self, value: u16) -> Self;
    fn keep_alive(self, secs: u16) -> Self;
    fn will(self, will: Will) -> Self;
}

impl ConnectExt for Connect {
    /// Without Clean Start.
    fn resume(mut self) -> Self {
        self.clean_start = false;
        self
    }

    fn expiry(mut self, secs: u32) -> Self {
        self.properties.session_expiry_interval = Some(secs);
        self
    }

    fn receive_maximum(mut self, value: u16) -> Self {
        self.properties.receive_maximum = Some(value);
        self
    }

    fn keep_alive(mut self, secs: u16) -> Self {
        self.keep_alive = secs;
        self
    }

    fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }
}

pub(super) fn will(topic_name: &str, payload: &str, delay_secs: u32) -> Will {
    Will {
        topic_name: topic_name.parse().expect("a legal Topic Name"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: WillProperties {
            will_delay_interval: (delay_secs > 0).then_some(delay_secs),
            ..WillProperties::default()
        },
    }
}

/// PUBLISH; the Packet Identifier counts above QoS 0 only.
pub(super) fn publish(
    topic_name: &str,
    payload: &str,
    qos: QoS,
    packet_identifier: u16,
) -> Publish {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => {
            Delivery::AtLeastOnce { packet_identifier: identifier(packet_identifier), dup: false }
        }
        QoS::ExactlyOnce => {
            Delivery::ExactlyOnce { packet_identifier: identifier(packet_identifier), dup: false }
        }
    };
    Publish {
        delivery,
        retain: false,
        topic: PublishTopic::Name(topic_name.parse::<TopicName>().expect("a legal Topic Name")),
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(super) trait PublishExt {
    fn retained(self) -> Self;
    fn expires(self, secs: u32) -> Self;
    fn packet_identifier(&self) -> PacketIdentifier;
    fn topic_name(&self) -> &str;
}

impl PublishExt for Publish {
    fn retained(mut self) -> Self {
        self.retain = true;
        self
    }

    fn expires(mut self, secs: u32) -> Self {
        self.message_expiry_interval = Some(secs);
        self
    }

    fn packet_identifier(&self) -> PacketIdentifier {
        self.delivery.packet_identifier().expect("above QoS 0")
    }

    fn topic_name(&self) -> &str {
        self.topic.name().expect("no alias alone").as_str()
    }
}

pub(super) fn options(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { maximum_qos: qos, ..SubscriptionOptions::default() }
}

pub(super) fn retain_handling(qos: QoS, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions { retain_handling, ..options(qos) }
}

pub(super) fn subscribe(topic_filters: &[&str], qos: QoS) -> Packet {
    subscribe_with(topic_filters, options(qos), None)
}

pub(super) fn subscribe_with(
    topic_filters: &[&str],
    options: SubscriptionOptions,
    identifier_value: Option<u32>,
) -> Packet {
    let subscriptions = topic_filters
        .iter()
        .map(|filter| Subscription {
            topic_filter: filter.parse().expect("a legal Topic Filter"),
            options,
        })
        .collect();
    Packet::Subscribe(Box::new(Subscribe {
        packet_identifier: identifier(60_000),
        properties: SubscribeProperties {
            subscription_identifier: identifier_value
                .map(|value| SubscriptionIdentifier::new(value).expect("a legal identifier")),
            ..SubscribeProperties::default()
        },
        subscriptions,
    }))
}

pub(super) fn unsubscribe(topic_filters: &[&str]) -> Packet {
    Packet::Unsubscribe(Box::new(Unsubscribe {
        packet_identifier: identifier(60_001),
        properties: Default::default(),
        topic_filters: topic_filters
            .iter()
            .map(|filter| filter.parse().expect("a legal Topic Filter"))
            .collect(),
    }))
}

pub(super) fn disconnect(reason_code: ReasonCode) -> Packet {
    Packet::Disconnect(Box::new(Disconnect::new(reason_code)))
}

pub(super) fn disconnect_with_expiry(secs: u32) -> Packet {
    Packet::Disconnect(Box::new(Disconnect {
        reason_code: ReasonCode::Success,
        properties: DisconnectProperties {
            session_expiry_interval: Some(secs),
            ..DisconnectProperties::default()
        },
    }))
}

pub(super) fn ack(packet_identifier: PacketIdentifier) -> Ack {
    Ack::new(packet_identifier, ReasonCode::Success)
}

/// How a Client that takes everything answers a packet.
pub(super) fn answer(packet: &Packet) -> Option<Packet> {
    match packet {
        Packet::Publish(publish) => match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { packet_identifier, .. } => {
                Some(Packet::PubAck(ack(packet_identifier)))
            }
            Delivery::ExactlyOnce { packet_identifier, .. } => {
                Some(Packet::PubRec(ack(packet_identifier)))
            }
        },
        Packet::PubRec(received) if !received.reason_code.is_error() => {
            Some(Packet::PubRel(ack(received.packet_identifier)))
        }
        Packet::PubRel(released) => Some(Packet::PubComp(ack(released.packet_identifier))),
        _ => None,
    }
}

pub(super) trait Packets {
    /// The messages; panics at anything else.
    fn messages(self) -> Vec<Publish>;
}

impl Packets for Vec<Packet> {
    fn messages(self) -> Vec<Publish> {
        self.into_iter()
            .map(|packet| match packet {
                Packet::Publish(publish) => publish,
                packet => panic!("no message but {packet:?}"),
            })
            .collect()
    }
}
