//! Control Packets to measure with: one of each kind, and short ways to make those of a load.

use bytes::Bytes;
use dunlin_protocol::codec::{
    Ack, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, ConnectProperties, Delivery,
    Disconnect, Packet, PacketIdentifier, ProtocolVersion, Publish, PublishTopic, QoS, ReasonCode,
    SubAck, Subscribe, SubscribeProperties, Subscription, SubscriptionOptions, Text, TransmitBuf,
    UnsubAck, Unsubscribe,
};

/// A Topic Name of usual length.
pub const TOPIC_NAME: &str = "sensors/hall-7/temperature";

/// A Packet Identifier that is not zero.
///
/// # Panics
/// When it is.
pub fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("not zero")
}

/// The Quality of Service with this number.
///
/// # Panics
/// Above 2.
pub fn qos_of(value: u8) -> QoS {
    QoS::new(value).expect("0, 1 or 2")
}

/// Appends a packet as `version` writes it.
///
/// # Panics
/// When it can't be said in that version.
pub fn append(packet: &Packet, version: ProtocolVersion, bytes: &mut Vec<u8>) {
    let mut out = TransmitBuf::new();
    packet.encode(version, u32::MAX, &mut out).expect("a packet that can be said");
    while !out.is_empty() {
        let mut pieces = [&[][..]; 4];
        let filled = out.pieces(&mut pieces);
        let before = bytes.len();
        pieces[..filled].iter().for_each(|piece| bytes.extend_from_slice(piece));
        let count = bytes.len() - before;
        out.advance(count);
    }
}

/// CONNECT of a Client whose Session ends with its connection.
///
/// # Panics
/// When the Client Identifier is none.
pub fn connect(client_identifier: &str, version: ProtocolVersion) -> Packet {
    Packet::Connect(Box::new(Connect {
        protocol_version: version,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        client_identifier: client_identifier.parse().expect("a Client Identifier"),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }))
}

/// CONNECT of an MQTT 5.0 Client whose Session never ends.
pub fn connect_to_stay(client_identifier: &str) -> Packet {
    let mut packet = connect(client_identifier, ProtocolVersion::V5);
    if let Packet::Connect(connect) = &mut packet {
        connect.clean_start = false;
        connect.properties.session_expiry_interval = Some(u32::MAX);
    }
    packet
}

/// SUBSCRIBE without a subscription; add some with [`push_subscription`].
pub fn subscribe() -> Box<Subscribe> {
    Box::new(Subscribe {
        packet_identifier: identifier(1),
        properties: SubscribeProperties::default(),
        subscriptions: Vec::new(),
    })
}

/// Adds a subscription.
///
/// # Panics
/// When the Topic Filter is none.
pub fn push_subscription(subscribe: &mut Subscribe, topic_filter: &str, maximum_qos: QoS) {
    let topic_filter = topic_filter.parse().expect("a Topic Filter");
    let options = SubscriptionOptions { maximum_qos, ..SubscriptionOptions::default() };
    subscribe.subscriptions.push(Subscription { topic_filter, options });
}

/// PUBLISH; the Packet Identifier counts above QoS 0 only.
///
/// # Panics
/// When the Topic Name is none.
pub fn publish(
    topic_name: &str,
    payload: &[u8],
    qos: QoS,
    packet_identifier: PacketIdentifier,
) -> Packet {
    let delivery = match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_identifier, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_identifier, dup: false },
    };
    Packet::Publish(Publish {
        delivery,
        retain: false,
        topic: PublishTopic::Name(topic_name.parse().expect("a Topic Name")),
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: Bytes::copy_from_slice(payload),
    })
}

/// What its receiver answers to a packet of an exchange; `None` where nothing is owed.
pub fn answer(packet: &Packet) -> Option<Packet> {
    let ack = |packet_identifier| Ack::new(packet_identifier, ReasonCode::Success);
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
        Packet::PubRec(of) => Some(Packet::PubRel(ack(of.packet_identifier))),
        Packet::PubRel(of) => Some(Packet::PubComp(ack(of.packet_identifier))),
        _ => None,
    }
}

/// A packet to be encoded and decoded, and its name.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What benchmarks call it.
    pub name: &'static str,
    /// The packet.
    pub packet: Packet,
    /// The bytes that encode it.
    pub bytes: Vec<u8>,
}

/// One packet of each kind that `version` has, PUBLISH in more than one size, as Clients and Servers
/// send them every day: without the properties that few use.
pub fn samples(version: ProtocolVersion) -> Vec<Sample> {
    let publish = |len, qos| publish(TOPIC_NAME, &vec![b'x'; len], qos, identifier(4711));
    let ack = || Ack::new(identifier(4711), ReasonCode::Success);
    let mut packets = vec![
        ("publish-64", publish(64, QoS::AtMostOnce)),
        ("publish-64-qos1", publish(64, QoS::AtLeastOnce)),
        ("publish-1024", publish(1024, QoS::AtMostOnce)),
        ("publish-16384", publish(16 * 1024, QoS::AtMostOnce)),
        ("puback", Packet::PubAck(ack())),
        ("pubrec", Packet::PubRec(ack())),
        ("pubrel", Packet::PubRel(ack())),
        ("pubcomp", Packet::PubComp(ack())),
        ("connect", everyday_connect(version)),
        ("connack", connack()),
        ("subscribe", everyday_subscribe()),
        ("suback", suback()),
        ("unsubscribe", unsubscribe()),
        ("unsuback", unsuback(version)),
        ("pingreq", Packet::PingReq),
        ("pingresp", Packet::PingResp),
        ("disconnect", Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success)))),
    ];
    if version.is_v5() {
        packets.push(("publish-64-properties", with_properties(publish(64, QoS::AtLeastOnce))));
        packets.push(("auth", auth()));
    }
    let sample = |(name, packet): (_, Packet)| {
        let mut bytes = Vec::new();
        append(&packet, version, &mut bytes);
        Sample { name, packet, bytes }
    };
    packets.into_iter().map(sample).collect()
}

/// The sample with this name.
///
/// # Panics
/// When there is none.
pub fn sample(version: ProtocolVersion, name: &str) -> Sample {
    let mut samples = samples(version).into_iter();
    samples.find(|sample| sample.name == name).expect("the name of a sample")
}

fn everyday_connect(version: ProtocolVersion) -> Packet {
    let mut packet = connect("lamp-7", version);
    if let Packet::Connect(connect) = &mut packet {
        connect.keep_alive = 60;
        connect.user_name = Some(Text::from_static("user"));
        connect.password = Some(Bytes::from_static(b"password"));
        if version.is_v5() {
            connect.properties.session_expiry_interval = Some(3600);
            connect.properties.receive_maximum = Some(100);
        }
    }
    packet
}

fn connack() -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason_code: ReasonCode::Success,
        properties: ConnAckProperties {
            receive_maximum: Some(1024),
            topic_alias_maximum: Some(64),
            ..ConnAckProperties::default()
        },
    }))
}

fn everyday_subscribe() -> Packet {
    let mut packet = subscribe();
    push_subscription(&mut packet, "sensors/+/temperature", QoS::AtLeastOnce);
    push_subscription(&mut packet, "lamps/7/#", QoS::AtLeastOnce);
    Packet::Subscribe(packet)
}

fn suback() -> Packet {
    let granted = ReasonCode::new(1).expect("QoS 1 is granted");
    Packet::SubAck(Box::new(SubAck {
        packet_identifier: identifier(1),
        properties: Default::default(),
        reason_codes: vec![granted, granted],
    }))
}

fn unsubscribe() -> Packet {
    Packet::Unsubscribe(Box::new(Unsubscribe {
        packet_identifier: identifier(1),
        properties: Default::default(),
        topic_filters: vec!["sensors/+/temperature".parse().expect("a Topic Filter")],
    }))
}

fn unsuback(version: ProtocolVersion) -> Packet {
    let reason_codes = if version.is_v5() { vec![ReasonCode::Success] } else { Vec::new() };
    Packet::UnsubAck(Box::new(UnsubAck {
        packet_identifier: identifier(1),
        properties: Default::default(),
        reason_codes,
    }))
}

fn with_properties(mut packet: Packet) -> Packet {
    if let Packet::Publish(publish) = &mut packet {
        publish.message_expiry_interval = Some(60);
        publish.properties = Some(std::sync::Arc::new(dunlin_protocol::codec::MessageProperties {
            content_type: Some(Text::from_static("application/json")),
            user_properties: vec![(Text::from_static("origin"), Text::from_static("hall-7"))],
            ..Default::default()
        }));
    }
    packet
}

fn auth() -> Packet {
    Packet::Auth(Box::new(Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: AuthProperties {
            authentication_method: Some(Text::from_static("SCRAM-SHA-256")),
            authentication_data: Some(Bytes::from_static(b"c=biws,r=fyko")),
            ..AuthProperties::default()
        },
    }))
}
