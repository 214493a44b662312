//! Properties that no server may accept: lengths, wrong packets, twice, values. Spec: §2.2.2.

use super::Check;
use super::steps::{accepts, refuses};
use crate::{V5, encoded, frame, passed, subscribe, subscription};
use dunlin_codec::{PacketIdentifier, QoS, Text};

/// An entry of the table for a packet that ends a connection of MQTT 5.0.
macro_rules! refused {
    ($name:literal, $first:literal, $body:literal, $looks_for:literal) => {
        Check {
            name: concat!("malformed-properties/", $name),
            versions: V5,
            statements: &["MQTT-4.13.1-1"],
            looks_for: concat!($looks_for, " ends the connection"),
            run: |bench| refuses(bench, &frame($first, $body)),
        }
    };
}

pub(super) const CHECKS: &[Check] = &[
    refused!(
        "beyond-the-subscribe",
        0x82,
        "0001 7F 't' 00",
        "a SUBSCRIBE shorter than its properties"
    ),
    refused!(
        "beyond-the-unsubscribe",
        0xA2,
        "0001 7F 't'",
        "an UNSUBSCRIBE shorter than its properties"
    ),
    refused!("beyond-the-disconnect", 0xE0, "00 05", "a DISCONNECT shorter than its properties"),
    refused!(
        "cut-within-a-property",
        0x82,
        "0001 03 26 0001 't' 00",
        "a Property Length that ends within a property"
    ),
    refused!("unknown-in-subscribe", 0x82, "0001 02 7F 00 't' 00", "an unknown property"),
    refused!(
        "content-type-in-subscribe",
        0x82,
        "0001 04 03 'a' 't' 00",
        "a SUBSCRIBE with a Content Type"
    ),
    refused!(
        "subscription-identifier-in-unsubscribe",
        0xA2,
        "0001 02 0B 01 't'",
        "an UNSUBSCRIBE with a Subscription Identifier"
    ),
    refused!(
        "receive-maximum-in-disconnect",
        0xE0,
        "80 03 21 0001",
        "a DISCONNECT with a Receive Maximum"
    ),
    Check {
        name: "malformed-properties/user-property-repeats",
        versions: V5,
        statements: &["MQTT-3.8.4-1", "MQTT-3.10.4-4"],
        looks_for: "User Properties may come several times, in any packet, and mean nothing",
        run: |bench| {
            let pair = || (Text::from_static("key"), Text::from_static("value"));
            let mut peer = bench.connect("client")?;
            let filter = bench.topic_filter("t");
            let mut packet =
                subscribe(PacketIdentifier::FIRST, [subscription(&filter, QoS::AtMostOnce)]);
            packet.properties.user_properties = vec![pair(), pair(), pair()];
            peer.send_bytes(&encoded(packet, bench.version()));
            peer.expect_suback(PacketIdentifier::FIRST)?;
            let pairs = "26 'k' 'v' 26 'k' 'v' 26 '' ''";
            peer.send_bytes(&frame(0xA2, &format!("0002 13 {pairs} '{filter}'")));
            peer.expect_unsuback(PacketIdentifier::new(2).expect("not zero"))?;
            passed()
        },
    },
    Check {
        name: "malformed-properties/in-any-order",
        versions: V5,
        statements: &["MQTT-3.3.4-1"],
        looks_for: "the properties of a PUBLISH may come in any order",
        run: |bench| {
            let properties = "26 'k' 'v' 03 'text' 02 0000003C 01 01 26 'l' 'w'";
            accepts(bench, &frame(0x30, &format!("'t' 1C {properties}")))?;
            let topic_name = bench.topic_name("t");
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            peer.send_bytes(&frame(0x30, &format!("'{topic_name}' 1C {properties} \"x\"")));
            peer.expect_message("x")?;
            passed()
        },
    },
    Check {
        name: "malformed-properties/none-is-written-as-zero",
        versions: V5,
        statements: &["MQTT-2.2.2-1"],
        looks_for: "CONNACK, SUBACK, UNSUBACK and PUBLISH have a Property Length, also of 0",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            let filter = bench.topic_filter("t");
            peer.subscribe(&filter, QoS::AtMostOnce)?;
            peer.publish(&bench.topic_name("t"), QoS::AtMostOnce, "\u{1}payload")?;
            peer.expect_message("\u{1}payload")?;
            let packet_identifier = peer.new_packet_identifier();
            peer.send_bytes(&frame(
                0xA2,
                &format!("{:04X} 00 '{filter}'", packet_identifier.value()),
            ));
            peer.expect_unsuback(packet_identifier)?;
            passed()
        },
    },
];
