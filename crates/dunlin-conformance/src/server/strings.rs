//! Strings: what is no UTF-8 ends the connection, what is comes through unaltered. Spec: §1.5.4.

use super::steps::{only_the_marker, packet, refuses_each};
use super::{Bench, Check};
use crate::{BOTH, V5, Verdict, ensure, failed, frame, message_of, passed, seen};
use dunlin_codec::{MessageProperties, Packet, QoS, Text, TopicFilter, TopicName};

/// Bytes that are no UTF-8, each with its length in front.
const NOT_UTF_8: &[&str] = &[
    // A byte that never is one, and a continuation without its beginning.
    "0003 61FF62",
    "0003 618062",
    // A beginning without its end.
    "0003 6162C3",
    "0004 61E28261",
    // Surrogates: the first, the last, and a pair.
    "0005 61EDA08062",
    "0005 61EDBFBF62",
    "0006 EDA081EDB080",
    // More bytes than needed: `a` in two, `/` in three, U+0000 in two.
    "0002 C1A1",
    "0003 E080AF",
    "0002 C080",
    // Beyond U+10FFFF.
    "0004 F4908080",
];

const WITH_NULL: &[&str] = &["0003 610062", "0001 00"];

/// Two entries of the table for a string in a packet, where `$` stands for the string.
macro_rules! no_utf_8 {
    ($place:literal, $versions:expr, $first:literal, $body:literal, $statements:expr) => {
        Check {
            name: concat!("strings/not-utf-8-in-", $place),
            versions: $versions,
            statements: $statements,
            looks_for: concat!("what is no UTF-8 ends the connection, in ", $place),
            run: |bench| with_each(bench, $first, $body, NOT_UTF_8),
        }
    };
}

macro_rules! no_null {
    ($place:literal, $versions:expr, $first:literal, $body:literal, $statements:expr) => {
        Check {
            name: concat!("strings/null-in-", $place),
            versions: $versions,
            statements: $statements,
            looks_for: concat!("U+0000 ends the connection, in ", $place),
            run: |bench| with_each(bench, $first, $body, WITH_NULL),
        }
    };
}

const UTF_8: &[&str] = &["MQTT-1.5.4-1", "MQTT-4.13.1-1", "MQTT3-1.5.3-1"];
const NO_NULL: &[&str] = &["MQTT-1.5.4-2", "MQTT-4.13.1-1", "MQTT3-1.5.3-2"];
const PAIR: &[&str] = &["MQTT-1.5.7-1", "MQTT-1.5.4-1"];

pub(super) const CHECKS: &[Check] = &[
    no_utf_8!(
        "topic-filter-of-subscribe",
        BOTH,
        0x82,
        "0001 {} $ 00",
        &["MQTT-1.5.4-1", "MQTT-3.8.3-1", "MQTT3-1.5.3-1", "MQTT3-3.8.3-1"]
    ),
    no_utf_8!(
        "topic-filter-of-unsubscribe",
        BOTH,
        0xA2,
        "0001 {} $",
        &["MQTT-1.5.4-1", "MQTT-3.10.3-1", "MQTT3-1.5.3-1", "MQTT3-3.10.3-1"]
    ),
    no_null!(
        "topic-filter-of-subscribe",
        BOTH,
        0x82,
        "0001 {} $ 00",
        &["MQTT-1.5.4-2", "MQTT-4.7.3-2", "MQTT3-1.5.3-2", "MQTT3-4.7.3-2"]
    ),
    no_null!(
        "topic-filter-of-unsubscribe",
        BOTH,
        0xA2,
        "0001 {} $",
        &["MQTT-1.5.4-2", "MQTT-4.7.3-2", "MQTT3-1.5.3-2", "MQTT3-4.7.3-2"]
    ),
    no_utf_8!(
        "content-type",
        V5,
        0x30,
        "'t' 03 $ \"x\"",
        &["MQTT-1.5.4-1", "MQTT-3.3.2-19", "MQTT-4.13.1-1"]
    ),
    no_utf_8!(
        "response-topic",
        V5,
        0x30,
        "'t' 08 $ \"x\"",
        &["MQTT-1.5.4-1", "MQTT-3.3.2-13", "MQTT-4.13.1-1"]
    ),
    no_utf_8!("key-of-a-user-property", V5, 0x30, "'t' 26 $ 'v'", PAIR),
    no_utf_8!("value-of-a-user-property", V5, 0x82, "0001 26 'k' $ 't' 00", PAIR),
    no_utf_8!("reason-string-of-disconnect", V5, 0xE0, "80 1F $", UTF_8),
    no_null!("content-type", V5, 0x30, "'t' 03 $ \"x\"", NO_NULL),
    no_null!("key-of-a-user-property", V5, 0x30, "'t' 26 $ 'v'", PAIR),
    no_null!("value-of-a-user-property", V5, 0x82, "0001 26 'k' $ 't' 00", PAIR),
    Check {
        name: "strings/every-length-of-character",
        versions: BOTH,
        statements: &["MQTT-3.3.2-3", "MQTT3-3.3.2-3"],
        looks_for: "Topic Names with characters of one to four bytes come through unaltered",
        run: |bench| {
            for label in ["a", "é", "水", "🦆", "a/é/水/🦆", "\u{10FFFD}", "\u{D7FF}\u{E000}"]
            {
                let topic_name = bench.topic_name(label);
                let mut peer = bench.connect("client")?;
                peer.subscribe(&bench.topic_filter(label), QoS::AtMostOnce)?;
                peer.publish(&topic_name, QoS::AtMostOnce, label)?;
                let came = peer.expect_message(label)?;
                ensure(
                    came.topic.name() == Some(&topic_name),
                    format!("{topic_name} expected; the message came to {:?}", came.topic),
                )?;
                peer.disconnect()?;
            }
            passed()
        },
    },
    Check {
        name: "strings/byte-order-mark-is-kept",
        versions: BOTH,
        statements: &["MQTT-1.5.4-3", "MQTT3-1.5.3-3"],
        looks_for: "U+FEFF in a Topic Name or Topic Filter is a character as others are",
        run: byte_order_mark,
    },
    Check {
        name: "strings/byte-order-mark-in-properties",
        versions: V5,
        statements: &["MQTT-1.5.4-3", "MQTT-3.3.2-17", "MQTT-3.3.2-20"],
        looks_for: "U+FEFF in User Properties and Content Type is not dropped",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            let text = || Text::from_static("\u{FEFF}a\u{FEFF}");
            let properties = MessageProperties {
                content_type: Some(text()),
                user_properties: vec![(text(), text())],
                ..MessageProperties::default()
            };
            let publish = message_of(&bench.topic_name("t"), "x", properties.clone());
            peer.publish_message(publish, QoS::AtMostOnce)?;
            let came = peer.expect_message("x")?;
            ensure(
                came.properties.as_deref() == Some(&properties),
                format!("{properties:?} expected; came {:?}", came.properties),
            )?;
            passed()
        },
    },
    Check {
        name: "strings/control-characters-and-non-characters",
        versions: BOTH,
        statements: &["MQTT-1.5.4-1", "MQTT3-1.5.3-1"],
        looks_for: "U+0001, U+007F and U+FFFF are taken and unaltered, or end the connection",
        run: |bench| {
            let mut seen_so_far = Vec::new();
            for (character, name) in
                [('\u{1}', "U+0001"), ('\u{7F}', "U+007F"), ('\u{FFFF}', "U+FFFF")]
            {
                let label = format!("a{character}b");
                let (name_bytes, mut peer) =
                    (format!("{}", bench.topic_name(&label)), bench.connect("client")?);
                peer.ping()?;
                peer.send_bytes(&packet(bench, 0x82, &format!("0001 {{}} '{name_bytes}' 00")));
                match peer.next_packet()? {
                    Some(Packet::SubAck(ack))
                        if ack.reason_codes.iter().any(|code| code.is_error()) =>
                    {
                        seen_so_far.push(format!("refuses {name}"));
                    }
                    Some(Packet::SubAck(_)) => {
                        peer.publish(&bench.topic_name(&label), QoS::AtMostOnce, "x")?;
                        let came = peer.expect_message("x")?;
                        ensure(
                            came.topic.name() == Some(&bench.topic_name(&label)),
                            format!("{name_bytes:?} expected; came {:?}", came.topic),
                        )?;
                        seen_so_far.push(format!("takes {name}"));
                    }
                    Some(Packet::Disconnect(_)) | None => {
                        seen_so_far.push(format!("closes at {name}"));
                    }
                    Some(other) => return failed(format!("SUBACK or the end expected; {other}")),
                }
            }
            seen(seen_so_far.join(", "))
        },
    },
];

/// Sends the packet with each of these strings for `$`, and in a PUBLISH of MQTT 5.0 or wherever
/// the string is a property, the right Property Length before it.
fn with_each(bench: &Bench, first_byte: u8, body: &str, strings: &[&str]) -> Verdict {
    let faults = strings.iter().map(|string| {
        let body = body.replace('$', string);
        if body.contains("{}") {
            return packet(bench, first_byte, &body);
        }
        frame(first_byte, &with_property_length(&body))
    });
    refuses_each(bench, faults)
}

/// Puts the length before the one property of the body.
fn with_property_length(body: &str) -> String {
    const PROPERTIES: [&str; 4] = [" 03 ", " 08 ", " 26 ", " 1F "];
    let at = PROPERTIES.iter().filter_map(|property| body.find(property)).min();
    let (before, property) = body.split_at(at.expect("a property"));
    // What follows it: a payload, or the subscription of a SUBSCRIBE.
    let end = [" \"x\"", " 't' 00"].iter().find_map(|end| property.find(end));
    let (property, after) = property.split_at(end.unwrap_or(property.len()));
    let len = crate::bytes(property).len();
    format!("{before} {len:02X}{property}{after}")
}

fn byte_order_mark(bench: &mut Bench) -> Verdict {
    let plain = bench.topic_name("mark");
    let marked: TopicName = format!("\u{FEFF}{plain}").parse().expect("no wildcards");
    let filter = |name: &TopicName| -> TopicFilter { name.as_str().parse().expect("a filter") };
    let mut with = bench.connect("with")?;
    with.subscribe(&filter(&marked), QoS::AtMostOnce)?;
    let mut without = bench.connect("without")?;
    without.subscribe(&filter(&plain), QoS::AtMostOnce)?;
    let mut publisher = bench.connect("pub")?;
    publisher.publish(&marked, QoS::AtMostOnce, "with")?;
    publisher.publish(&plain, QoS::AtMostOnce, "without")?;
    let came = with.expect_message("with")?;
    ensure(
        came.topic.name() == Some(&marked),
        format!("a Topic Name that begins with U+FEFF expected; came {:?}", came.topic),
    )?;
    without.expect_message("without")?;
    let none = QoS::AtMostOnce;
    only_the_marker(&mut publisher, &mut with, &marked, none, "U+FEFF is no part of the name")?;
    only_the_marker(&mut publisher, &mut without, &plain, none, "U+FEFF is no part of the name")?;
    passed()
}
