//! Maximum Packet Size, in both directions. Spec: §3.1.2.11.4, §3.2.2.3.6.

use super::message_steps::{
    expect_unacknowledged, lasting_subscriber, only, publish, resumed_with, same, size_of,
    sleeping_subscriber, subscriber, subscriber_with,
};
use super::retained::{publish_marker, retain};
use super::{Bench, Check};
use crate::{Peer, Stop, V5, encoded, frame, message, passed, skipped};
use dunlin_codec::{ConnectProperties, MessageProperties, Packet, QoS, ReasonCode, Text};
use std::sync::Arc;

/// Of the client. A CONNACK finds room in it, whatever the server has to say.
const MAXIMUM: usize = 500;

const SIZE: &[&str] = &["MQTT-3.1.2-24", "MQTT-3.1.2-25"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "packet-size/too-large-for-the-client",
        versions: V5,
        statements: SIZE,
        looks_for: "a message too large for a client is not sent to it, and what follows is",
        run: |bench| {
            for qos in [QoS::AtMostOnce, bench.can().maximum_qos] {
                let mut small = small(bench)?;
                let mut large = subscriber(bench, "large", "t", qos)?;
                let mut publisher = bench.connect("pub")?;
                let payload = vec![b'x'; 2 * MAXIMUM];
                publisher.publish(&bench.topic_name("t"), qos, payload.clone())?;
                publisher.publish(&bench.topic_name("t"), qos, "marker")?;
                large.expect_message(payload)?;
                large.expect_message("marker")?;
                only::<&str>(&mut small, "marker", &[])?;
            }
            passed()
        },
    },
    Check {
        name: "packet-size/to-the-byte",
        versions: V5,
        statements: SIZE,
        looks_for: "a message of exactly the client's Maximum Packet Size comes, and none of more",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let empty = encoded(message(&topic_name, ""), bench.version()).len();
            // Remaining Length takes a second byte from here on.
            let payload_max = MAXIMUM - empty - 1;
            let mut subscriber = small(bench)?;
            let mut publisher = bench.connect("pub")?;
            for extra in [1, 0, 2, 0] {
                let payload = vec![b'x'; payload_max + extra];
                publisher.publish(&topic_name, QoS::AtMostOnce, payload)?;
            }
            publisher.publish(&topic_name, QoS::AtMostOnce, "marker")?;
            let came = subscriber.publishes_before(b"marker")?;
            let sizes: Vec<usize> = came
                .into_iter()
                .map(|publish| size_of(&Packet::Publish(publish), bench.version()))
                .collect();
            same("the sizes of the packets", &sizes, &vec![MAXIMUM; 2])?;
            passed()
        },
    },
    Check {
        name: "packet-size/too-large-by-its-properties",
        versions: V5,
        statements: SIZE,
        looks_for: "properties count as well, and none is left out to make a message fit",
        run: |bench| {
            let mut subscriber = small(bench)?;
            let mut publisher = bench.connect("pub")?;
            let long = "v".repeat(MAXIMUM);
            let property = (Text::from_static("k"), long.parse().expect("letters"));
            let properties =
                MessageProperties { user_properties: vec![property], ..Default::default() };
            let mut large = message(&bench.topic_name("t"), "x");
            large.properties = Some(Arc::new(properties));
            publisher.publish_message(large, QoS::AtMostOnce)?;
            publisher.publish(&bench.topic_name("t"), QoS::AtMostOnce, "marker")?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "packet-size/too-large-takes-no-quota",
        versions: V5,
        statements: &["MQTT-3.1.2-25", "MQTT-4.9.0-1"],
        looks_for: "a message that is too large counts as delivered: the next one comes",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let properties = ConnectProperties {
                receive_maximum: Some(1),
                maximum_packet_size: Some(MAXIMUM as u32),
                ..ConnectProperties::default()
            };
            let mut subscriber = subscriber_with(bench, "sub", properties)?;
            let mut publisher = bench.connect("pub")?;
            let topic_name = bench.topic_name("t");
            for _ in 0..3 {
                publisher.publish(&topic_name, QoS::AtLeastOnce, vec![b'x'; 2 * MAXIMUM])?;
            }
            publisher.publish(&topic_name, QoS::AtLeastOnce, "one")?;
            publisher.publish(&topic_name, QoS::ExactlyOnce, vec![b'x'; 2 * MAXIMUM])?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "marker")?;
            only(&mut subscriber, "marker", &["one"])?;
            passed()
        },
    },
    Check {
        name: "packet-size/too-large-in-the-queue",
        versions: V5,
        statements: SIZE,
        looks_for: "what waited and is too large for the next connection is passed over",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            let topic_name = bench.topic_name("t");
            publisher.publish(&topic_name, QoS::AtLeastOnce, "one")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, vec![b'x'; 2 * MAXIMUM])?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "marker")?;
            let mut subscriber = resumed_with(bench, "sub", |properties| {
                properties.maximum_packet_size = Some(MAXIMUM as u32);
            })?;
            only(&mut subscriber, "marker", &["one"])?;
            passed()
        },
    },
    Check {
        name: "packet-size/too-large-to-be-sent-again",
        versions: V5,
        statements: SIZE,
        looks_for: "what was sent and is too large for the next connection is not sent again",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let large = "x".repeat(2 * MAXIMUM);
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, large.clone())?;
            expect_unacknowledged(&mut subscriber, &large)?;
            subscriber.abort();
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            let mut subscriber = resumed_with(bench, "sub", |properties| {
                properties.maximum_packet_size = Some(MAXIMUM as u32);
            })?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "packet-size/too-large-to-be-retained-for-all",
        versions: V5,
        statements: SIZE,
        looks_for: "a retained message that is too large for a client is kept from it alone",
        run: |bench| {
            let large = "x".repeat(2 * MAXIMUM);
            retain(bench, "t", QoS::AtMostOnce, &large)?;
            let mut small = small(bench)?;
            subscriber(bench, "large", "t", QoS::AtMostOnce)?.expect_message(&large)?;
            publish_marker(bench, "t")?;
            only::<&str>(&mut small, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "packet-size/of-the-server",
        versions: V5,
        statements: &["MQTT-3.2.2-15", "MQTT-4.5.0-1"],
        looks_for: "a message of exactly the server's Maximum Packet Size is taken",
        run: |bench| {
            let maximum = fair_maximum(bench)?;
            let topic_name = bench.topic_name("t");
            let header = encoded(message(&topic_name, ""), bench.version()).len() - 2;
            let lengths = 1 + length_of(maximum);
            let Some(payload_max) = maximum.checked_sub(lengths + header) else {
                return skipped(format!("the server's Maximum Packet Size is {maximum}"));
            };
            bench.exchange().allow_bytes(maximum);
            let payload = vec![b'x'; payload_max];
            let packet = message(&topic_name, payload.clone());
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.send(packet);
            subscriber.expect_message(payload)?;
            publisher.ping()?;
            passed()
        },
    },
    Check {
        name: "packet-size/beyond-the-server",
        versions: V5,
        statements: &["MQTT-3.2.2-15", "MQTT-4.13.1-1"],
        looks_for: "a packet of more than the server's Maximum Packet Size ends the connection \
                    with 0x95",
        run: |bench| {
            let maximum = fair_maximum(bench)?;
            let topic_name = bench.topic_name("t");
            let mut publisher = bench.connect("pub")?;
            publisher.send(publish(&topic_name, QoS::AtMostOnce, 1, vec![b'x'; maximum]));
            publisher.expect_closed()?.with_code_of(&[ReasonCode::PacketTooLarge])?.passed()
        },
    },
    Check {
        name: "packet-size/announced-beyond-the-server",
        versions: V5,
        statements: &["MQTT-3.2.2-15", "MQTT-4.13.1-1"],
        looks_for: "a Remaining Length beyond the server's Maximum Packet Size is not waited for",
        run: |bench| {
            fair_maximum(bench)?;
            let mut publisher = bench.connect("pub")?;
            let mut bytes = frame(0x30, &format!("'{}' 00", bench.topic_name("t")));
            // The largest length that there is.
            bytes.splice(1..2, [0xFF, 0xFF, 0xFF, 0x7F]);
            publisher.send_bytes(&bytes);
            let codes = [ReasonCode::PacketTooLarge];
            publisher.expect_closed()?.with_code_of(&codes)?.passed()
        },
    },
];

/// A subscriber that takes small packets alone.
fn small(bench: &Bench) -> Result<Peer, Stop> {
    let properties = ConnectProperties {
        maximum_packet_size: Some(MAXIMUM as u32),
        ..ConnectProperties::default()
    };
    subscriber_with(bench, "small", properties)
}

/// The server's Maximum Packet Size, when a check can fill it.
fn fair_maximum(bench: &Bench) -> Result<usize, Stop> {
    match bench.can().maximum_packet_size {
        Some(maximum) if maximum <= 16 << 20 => Ok(maximum as usize),
        Some(maximum) => skipped(format!("the server's Maximum Packet Size is {maximum}")),
        None => skipped("the server announces no Maximum Packet Size"),
    }
}

/// How many bytes the Remaining Length of a packet of this size takes.
fn length_of(size: usize) -> usize {
    match size {
        0..=129 => 1,
        130..=16_386 => 2,
        16_387..=2_097_155 => 3,
        _ => 4,
    }
}
