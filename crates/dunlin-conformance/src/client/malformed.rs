//! Packets that no server may send: a client closes the connection, and does not act on them.
//!
//! MQTT 3.1.1 demands the end of the connection [MQTT3-4.8.0-1]. In MQTT 5.0 a client should end it
//! (§4.13.1): one that stays connected passes as long as it neither acknowledges nor delivers what
//! it got.

use super::connecting::{ends, with_code_of};
use super::{Bench, Check};
use crate::{BOTH, Stop, V3, V5, Verdict, bytes, encoded, failed, frame, message, seen, skipped};
use dunlin_codec::{Delivery, Packet, Publish, PublishTopic, QoS, ReasonCode, TopicAlias};
use std::time::{Duration, Instant};

/// The payload of every message that is not to arrive.
const NEVER: &str = "never-to-be-delivered";

/// Makes a check of a PUBLISH with QoS 1 and Packet Identifier 7, whose bytes are those of
/// `dunlin_conformance::frame` for each version.
macro_rules! bad_publish {
    ($name:literal, $versions:ident, $statements:expr, $first:literal, $v3:literal, $v5:literal,
     $looks_for:literal) => {
        Check {
            name: concat!("malformed-publish/", $name),
            versions: $versions,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| {
                let body = if bench.is_v5() { $v5 } else { $v3 };
                rejects(bench, &frame($first, &format!("{body} \"{NEVER}\"")))
            },
        }
    };
}

/// The same for properties, in MQTT 5.0.
macro_rules! bad_properties {
    ($name:literal, $statements:expr, $properties:literal, $looks_for:literal) => {
        Check {
            name: concat!("malformed-publish/", $name),
            versions: V5,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| {
                let body = format!("'dunlin/x' 0007 {} \"{NEVER}\"", $properties);
                rejects(bench, &frame(0x32, &body))
            },
        }
    };
}

/// Makes a check of any packet, given as its bytes in each version.
macro_rules! bad_packet {
    ($name:literal, $versions:ident, $statements:expr, $v3:literal, $v5:literal,
     $looks_for:literal) => {
        Check {
            name: concat!("malformed/", $name),
            versions: $versions,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| {
                let (mut visitor, _) = bench.engaged()?;
                visitor.send_bytes(&bytes(if bench.is_v5() { $v5 } else { $v3 }));
                ends(&mut visitor, bench)
            },
        }
    };
}

/// Makes a check of a CONNACK, given as its bytes in each version.
macro_rules! bad_connack {
    ($name:literal, $v3:literal, $v5:literal, $looks_for:literal) => {
        Check {
            name: concat!("malformed/", $name),
            versions: BOTH,
            statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
            looks_for: $looks_for,
            run: |bench| refuses_connack(bench, if bench.is_v5() { $v5 } else { $v3 }),
        }
    };
}

/// Makes a check of a CONNACK with properties.
macro_rules! bad_connack_property {
    ($name:literal, $properties:literal, $looks_for:literal) => {
        Check {
            name: concat!("malformed/", $name),
            versions: V5,
            statements: &["MQTT-4.13.1-1"],
            looks_for: $looks_for,
            run: |bench| {
                let mut visitor = bench.arrival()?;
                visitor.send_bytes(&frame(0x20, concat!("00 00 ", $properties)));
                ends(&mut visitor, bench)
            },
        }
    };
}

pub(super) const PUBLISH_CHECKS: &[Check] = &[
    bad_publish!(
        "qos-3",
        BOTH,
        &["MQTT-3.3.1-4", "MQTT3-3.3.1-4"],
        0x36,
        "'dunlin/x' 0007",
        "'dunlin/x' 0007 00",
        "a message with QoS 3 ends the connection"
    ),
    bad_publish!(
        "dup-with-qos-0",
        BOTH,
        &["MQTT-3.3.1-2", "MQTT3-3.3.1-2", "MQTT3-4.8.0-1"],
        0x38,
        "'dunlin/x'",
        "'dunlin/x' 00",
        "a message with QoS 0 and DUP is not delivered, or ends the connection"
    ),
    bad_publish!(
        "packet-identifier-0",
        BOTH,
        &["MQTT-2.2.1-4", "MQTT3-2.3.1-1", "MQTT3-4.8.0-1"],
        0x32,
        "'dunlin/x' 0000",
        "'dunlin/x' 0000 00",
        "a message with the Packet Identifier 0 ends the connection"
    ),
    bad_publish!(
        "topic-name-not-utf-8",
        BOTH,
        &["MQTT-1.5.4-1", "MQTT-3.3.2-1", "MQTT3-1.5.3-1", "MQTT3-3.3.2-1"],
        0x32,
        "0003 61C328 0007",
        "0003 61C328 0007 00",
        "a Topic Name that is not UTF-8 ends the connection"
    ),
    bad_publish!(
        "topic-name-with-surrogate",
        BOTH,
        &["MQTT-1.5.4-1", "MQTT3-1.5.3-1"],
        0x32,
        "0004 61EDA080 0007",
        "0004 61EDA080 0007 00",
        "a Topic Name with a surrogate ends the connection"
    ),
    bad_publish!(
        "topic-name-with-null",
        BOTH,
        &["MQTT-1.5.4-2", "MQTT-4.7.3-2", "MQTT3-1.5.3-2", "MQTT3-4.7.3-2"],
        0x32,
        "0003 610062 0007",
        "0003 610062 0007 00",
        "a Topic Name with U+0000 ends the connection"
    ),
    bad_publish!(
        "topic-name-with-plus",
        BOTH,
        &["MQTT-3.3.2-2", "MQTT-4.7.0-1", "MQTT3-3.3.2-2", "MQTT3-4.7.1-1"],
        0x32,
        "'a/+/b' 0007",
        "'a/+/b' 0007 00",
        "a Topic Name with + ends the connection"
    ),
    bad_publish!(
        "topic-name-with-hash",
        BOTH,
        &["MQTT-3.3.2-2", "MQTT-4.7.0-1", "MQTT3-3.3.2-2", "MQTT3-4.7.1-1"],
        0x32,
        "'a/#' 0007",
        "'a/#' 0007 00",
        "a Topic Name with # ends the connection"
    ),
    bad_publish!(
        "topic-name-empty",
        BOTH,
        &["MQTT-4.7.3-1", "MQTT3-4.7.3-1"],
        0x32,
        "0000 0007",
        "0000 0007 00",
        "an empty Topic Name without Topic Alias ends the connection"
    ),
    bad_publish!(
        "topic-name-longer-than-the-packet",
        BOTH,
        &["MQTT-3.3.2-1", "MQTT3-3.3.2-1"],
        0x32,
        "0FFF 'dunlin/x' 0007",
        "0FFF 'dunlin/x' 0007 00",
        "a Topic Name that goes on behind its packet ends the connection"
    ),
    bad_properties!(
        "topic-alias-0",
        &["MQTT-3.3.2-8"],
        "03 23 0000",
        "the Topic Alias 0 ends the connection"
    ),
    bad_properties!(
        "topic-alias-twice",
        &["MQTT-4.13.1-1"],
        "06 23 0001 23 0001",
        "a second Topic Alias ends the connection"
    ),
    bad_properties!(
        "payload-format-2",
        &["MQTT-4.13.1-1"],
        "02 01 02",
        "the Payload Format Indicator 2 ends the connection"
    ),
    bad_properties!(
        "content-type-twice",
        &["MQTT-4.13.1-1"],
        "08 03 'a' 03 'b'",
        "a second Content Type ends the connection"
    ),
    bad_properties!(
        "content-type-not-utf-8",
        &["MQTT-3.3.2-19", "MQTT-1.5.4-1"],
        "05 03 0002 C328",
        "a Content Type that is not UTF-8 ends the connection"
    ),
    bad_properties!(
        "response-topic-with-wildcard",
        &["MQTT-3.3.2-14"],
        "06 08 'a/#'",
        "a Response Topic with a wildcard ends the connection"
    ),
    bad_properties!(
        "response-topic-not-utf-8",
        &["MQTT-3.3.2-13", "MQTT-1.5.4-1"],
        "05 08 0002 C328",
        "a Response Topic that is not UTF-8 ends the connection"
    ),
    bad_properties!(
        "user-property-not-utf-8",
        &["MQTT-1.5.7-1", "MQTT-1.5.4-1"],
        "08 26 'k' 0002 C328",
        "a User Property that is not UTF-8 ends the connection"
    ),
    bad_properties!(
        "subscription-identifier-0",
        &["MQTT-4.13.1-1"],
        "02 0B 00",
        "the Subscription Identifier 0 ends the connection"
    ),
    bad_properties!(
        "unknown-property",
        &["MQTT-4.13.1-1"],
        "02 7F 00",
        "an unknown property ends the connection"
    ),
    bad_properties!(
        "property-of-connack",
        &["MQTT-4.13.1-1"],
        "02 25 01",
        "a property that PUBLISH does not have ends the connection"
    ),
    bad_properties!(
        "property-length-beyond-the-packet",
        &["MQTT-4.13.1-1"],
        "7F",
        "properties longer than their packet end the connection"
    ),
    bad_properties!(
        "property-length-not-minimal",
        &["MQTT-1.5.5-1"],
        "8000",
        "a Property Length in more bytes than needed ends the connection"
    ),
    Check {
        name: "malformed-publish/unknown-topic-alias",
        versions: V5,
        statements: &["MQTT-3.3.2-7", "MQTT-4.13.1-1"],
        looks_for: "a Topic Alias that was given no name ends the connection",
        run: |bench| {
            let (mut visitor, topic_name) = bench.engaged()?;
            let most = visitor.connect().properties.topic_alias_maximum.unwrap_or(0);
            let Some(alias) = TopicAlias::new(most) else {
                return skipped("the client takes no Topic Alias");
            };
            let publish = Publish {
                topic: PublishTopic::Alias(alias),
                delivery: unanswered(),
                ..message(&topic_name, NEVER)
            };
            let bytes = encoded(publish, bench.version());
            visitor.send_bytes(&bytes);
            judged(bench, &mut visitor)
        },
    },
    Check {
        name: "malformed-publish/topic-alias-above-the-maximum",
        versions: V5,
        statements: &["MQTT-3.3.2-10", "MQTT-4.13.1-1"],
        looks_for: "a Topic Alias above the client's maximum ends the connection",
        run: |bench| {
            let (mut visitor, topic_name) = bench.engaged()?;
            let most = visitor.connect().properties.topic_alias_maximum.unwrap_or(0);
            let Some(alias) = most.checked_add(1).and_then(TopicAlias::new) else {
                return skipped("the client takes every Topic Alias");
            };
            visitor.send(Publish {
                topic: PublishTopic::NameAndAlias(topic_name.clone(), alias),
                delivery: unanswered(),
                ..message(&topic_name, NEVER)
            });
            judged(bench, &mut visitor)
        },
    },
    Check {
        name: "malformed-publish/above-maximum-packet-size",
        versions: V5,
        statements: &["MQTT-3.1.2-24", "MQTT-4.13.1-1"],
        looks_for: "a packet above the client's Maximum Packet Size ends the connection",
        run: |bench| {
            let (mut visitor, topic_name) = bench.engaged()?;
            let most = visitor.connect().properties.maximum_packet_size.unwrap_or(u32::MAX);
            if most > 64 << 20 {
                return skipped("the client takes packets of any size");
            }
            let mut payload = NEVER.as_bytes().to_vec();
            payload.resize(most as usize, b'x');
            let delivery = unanswered();
            visitor.send(Publish { delivery, ..message(&topic_name, payload) });
            judged(bench, &mut visitor)
        },
    },
    Check {
        name: "malformed-publish/above-receive-maximum",
        versions: V5,
        statements: &["MQTT-4.9.0-2", "MQTT-3.3.4-9"],
        looks_for: "more messages than the client's Receive Maximum end the connection, with a code \
                    that tells so",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(QoS::ExactlyOnce)?;
            let most = visitor.connect().properties.receive_maximum.unwrap_or(u16::MAX);
            if most > 2000 {
                return skipped("the client's Receive Maximum is too high to be exceeded");
            }
            for _ in 0..=most {
                visitor.deliver(&topic_name, QoS::ExactlyOnce, "one-too-many");
            }
            match visitor.left()? {
                Some(left) => with_code_of(left, &[ReasonCode::ReceiveMaximumExceeded]),
                None => seen("takes more than its Receive Maximum"),
            }
        },
    },
];

pub(super) const CHECKS: &[Check] = &[
    bad_packet!(
        "packet-type-0",
        BOTH,
        &["MQTT-2.1.3-1", "MQTT3-2.2.2-2"],
        "00 00",
        "00 00",
        "the packet type 0 ends the connection"
    ),
    bad_packet!(
        "packet-type-15",
        V3,
        &["MQTT3-2.2.2-2", "MQTT3-4.8.0-1"],
        "F0 00",
        "",
        "the packet type 15, which MQTT 3.1.1 does not have, ends the connection"
    ),
    bad_packet!(
        "remaining-length-of-five-bytes",
        BOTH,
        &["MQTT-1.5.5-1", "MQTT3-4.8.0-1"],
        "D0 FF FF FF FF 01",
        "D0 FF FF FF FF 01",
        "a Remaining Length of five bytes ends the connection"
    ),
    bad_packet!(
        "pingresp-with-content",
        BOTH,
        &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        "D0 01 00",
        "D0 01 00",
        "a PINGRESP with content ends the connection"
    ),
    bad_packet!(
        "pingresp-flags",
        BOTH,
        &["MQTT-2.1.3-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2"],
        "D1 00",
        "D1 00",
        "a PINGRESP with reserved flags ends the connection"
    ),
    bad_packet!(
        "puback-flags",
        BOTH,
        &["MQTT-2.1.3-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2"],
        "42 02 EA61",
        "42 02 EA61",
        "a PUBACK with reserved flags ends the connection"
    ),
    bad_packet!(
        "pubrel-flags",
        BOTH,
        &["MQTT-3.6.1-1", "MQTT3-3.6.1-1"],
        "60 02 EA61",
        "60 02 EA61",
        "a PUBREL without the flags that it has to have ends the connection"
    ),
    bad_packet!(
        "suback-flags",
        BOTH,
        &["MQTT-2.1.3-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2"],
        "92 03 EA61 00",
        "92 04 EA61 00 00",
        "a SUBACK with reserved flags ends the connection"
    ),
    bad_packet!(
        "puback-identifier-0",
        BOTH,
        &["MQTT-2.2.1-5", "MQTT3-2.3.1-6", "MQTT3-4.8.0-1"],
        "40 02 0000",
        "40 02 0000",
        "a PUBACK with the Packet Identifier 0 ends the connection"
    ),
    bad_packet!(
        "puback-too-short",
        BOTH,
        &["MQTT-2.2.1-5", "MQTT3-2.3.1-6", "MQTT3-4.8.0-1"],
        "40 01 EA",
        "40 01 EA",
        "a PUBACK without a whole Packet Identifier ends the connection"
    ),
    bad_packet!(
        "puback-unknown-code",
        V5,
        &["MQTT-3.4.2-1"],
        "",
        "40 03 EA61 42",
        "a PUBACK with a code that it does not have ends the connection"
    ),
    bad_packet!(
        "pubrec-unknown-code",
        V5,
        &["MQTT-3.5.2-1"],
        "",
        "50 03 EA61 42",
        "a PUBREC with a code that it does not have ends the connection"
    ),
    bad_packet!(
        "pubrel-unknown-code",
        V5,
        &["MQTT-3.6.2-1"],
        "",
        "62 03 EA61 80",
        "a PUBREL with a code that it does not have ends the connection"
    ),
    bad_packet!(
        "pubcomp-unknown-code",
        V5,
        &["MQTT-3.7.2-1"],
        "",
        "70 03 EA61 80",
        "a PUBCOMP with a code that it does not have ends the connection"
    ),
    bad_packet!(
        "disconnect-flags",
        V5,
        &["MQTT-3.14.1-1"],
        "",
        "E1 00",
        "a DISCONNECT with reserved flags ends the connection"
    ),
    bad_packet!(
        "disconnect-unknown-code",
        V5,
        &["MQTT-3.14.2-1"],
        "",
        "E0 01 42",
        "a DISCONNECT with a code that it does not have ends the connection"
    ),
    bad_packet!(
        "reason-string-not-utf-8",
        V5,
        &["MQTT-1.5.4-1"],
        "",
        "40 09 EA61 80 05 1F 0002 C328",
        "a Reason String that is not UTF-8 ends the connection"
    ),
    bad_connack!(
        "connack-reserved-flags",
        "20 02 02 00",
        "20 03 02 00 00",
        "a CONNACK with reserved flags ends the connection"
    ),
    bad_connack!(
        "connack-unknown-code",
        "20 02 00 06",
        "20 03 00 42 00",
        "a CONNACK with a code that it does not have ends the connection"
    ),
    bad_connack!(
        "connack-too-short",
        "20 01 00",
        "20 01 00",
        "a CONNACK without code ends the connection"
    ),
    bad_connack_property!(
        "connack-receive-maximum-0",
        "03 21 0000",
        "a CONNACK with Receive Maximum 0 ends the connection"
    ),
    bad_connack_property!(
        "connack-maximum-packet-size-0",
        "05 27 00000000",
        "a CONNACK with Maximum Packet Size 0 ends the connection"
    ),
    bad_connack_property!(
        "connack-maximum-qos-2",
        "02 24 02",
        "a CONNACK with Maximum QoS 2 ends the connection"
    ),
    bad_connack_property!(
        "connack-receive-maximum-twice",
        "06 21 0001 21 0001",
        "a CONNACK with a second Receive Maximum ends the connection"
    ),
    bad_connack_property!(
        "connack-property-of-publish",
        "03 23 0001",
        "a CONNACK with a property that it does not have ends the connection"
    ),
    bad_connack_property!(
        "connack-user-property-not-utf-8",
        "08 26 'k' 0002 C328",
        "a CONNACK with a User Property that is not UTF-8 ends the connection"
    ),
];

/// A delivery that a client would acknowledge.
fn unanswered() -> Delivery {
    let packet_identifier = dunlin_codec::PacketIdentifier::new(7).expect("is not zero");
    Delivery::AtLeastOnce { packet_identifier, dup: false }
}

fn rejects(bench: &mut Bench, packet: &[u8]) -> Verdict {
    let (mut visitor, _) = bench.engaged()?;
    visitor.send_bytes(packet);
    judged(bench, &mut visitor)
}

/// The message that came is neither acknowledged nor delivered; the client closes, or may stay.
fn judged(bench: &Bench, visitor: &mut super::Visitor) -> Verdict {
    let deadline = Instant::now() + visitor.patience();
    let verdict = loop {
        match visitor.next(deadline)? {
            super::Next::Packet(packet @ (Packet::PubAck(_) | Packet::PubRec(_))) => {
                return failed(format!("the client acknowledges it: {packet}"));
            }
            super::Next::Packet(Packet::Disconnect(disconnect)) => {
                break super::Left::Disconnect(disconnect.reason_code).passed();
            }
            super::Next::Packet(_) => {}
            super::Next::Closed => break super::Left::Silently.passed(),
            super::Next::Nothing if bench.is_v5() => {
                break seen("stays connected, though it should close");
            }
            super::Next::Nothing => {
                return failed(format!(
                    "the client is to close the connection, and has it open after {:?}",
                    visitor.patience()
                ));
            }
        }
    };
    match bench.await_printed(NEVER, 1, Duration::from_millis(20)) {
        Some(1..) => Err(Stop::Failed("the client delivers it".to_owned())),
        _ => verdict,
    }
}

/// The CONNACK is taken for none.
fn refuses_connack(bench: &mut Bench, connack: &str) -> Verdict {
    let mut visitor = bench.arrival()?;
    visitor.send_bytes(&bytes(connack));
    ends(&mut visitor, bench)
}
