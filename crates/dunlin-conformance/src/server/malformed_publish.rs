//! PUBLISHes that no server may accept. Spec: §3.3, §1.5, §2.2.

use super::message_steps::{MALFORMED, refused, subscriber};
use super::{Bench, Check};
use crate::{BOTH, V5, Verdict, ensure, failed, frame, seen};
use dunlin_codec::{Packet, Publish, QoS, ReasonCode};

/// An entry of the table for a PUBLISH with this first byte and this body. In the body `{t}` is the
/// Topic Name `t` of the check, and `{p}` the empty properties of MQTT 5.0.
macro_rules! bad {
    ($name:literal, $first_byte:literal, $body:literal, $statements:expr, $looks_for:literal) => {
        Check {
            name: concat!("malformed-publish/", $name),
            versions: BOTH,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| bad_publish(bench, $first_byte, $body, MALFORMED),
        }
    };
}

/// An entry of the table for a PUBLISH of MQTT 5.0 with these properties and this payload.
macro_rules! bad_properties {
    ($name:literal, $properties:literal, $statements:expr, $looks_for:literal) => {
        Check {
            name: concat!("malformed-publish/", $name),
            versions: V5,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| {
                bad_publish(bench, 0x30, concat!("{t} ", $properties, " \"x\""), MALFORMED)
            },
        }
    };
}

const CLOSE: &[&str] = &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"];

pub(super) const CHECKS: &[Check] = &[
    bad!(
        "qos-3",
        0x36,
        "{t} 0001 {p} \"x\"",
        &["MQTT-3.3.1-4", "MQTT-4.13.1-1", "MQTT3-3.3.1-4"],
        "QoS 3 is refused"
    ),
    bad!(
        "dup-with-qos-0",
        0x38,
        "{t} {p} \"x\"",
        &["MQTT-3.3.1-2", "MQTT-4.13.1-1", "MQTT3-3.3.1-2", "MQTT3-4.8.0-1"],
        "DUP 1 with QoS 0 is refused"
    ),
    bad!("empty", 0x30, "", CLOSE, "a PUBLISH of nothing is refused"),
    bad!(
        "topic-longer-than-the-packet",
        0x30,
        "0040 \"abc\"",
        CLOSE,
        "a Topic Name that goes on behind its packet is refused"
    ),
    bad!(
        "without-packet-identifier",
        0x32,
        "{t}",
        &["MQTT-4.13.1-1", "MQTT-2.2.1-3", "MQTT3-4.8.0-1", "MQTT3-2.3.1-1"],
        "QoS 1 without Packet Identifier is refused"
    ),
    bad!(
        "packet-identifier-0-qos-1",
        0x32,
        "{t} 0000 {p} \"x\"",
        &["MQTT-2.2.1-3", "MQTT-4.13.1-1", "MQTT3-2.3.1-1", "MQTT3-4.8.0-1"],
        "Packet Identifier 0 with QoS 1 is refused"
    ),
    bad!(
        "packet-identifier-0-qos-2",
        0x34,
        "{t} 0000 {p} \"x\"",
        &["MQTT-2.2.1-3", "MQTT-4.13.1-1", "MQTT3-2.3.1-1", "MQTT3-4.8.0-1"],
        "Packet Identifier 0 with QoS 2 is refused"
    ),
    Check {
        name: "malformed-publish/topic-with-plus",
        versions: BOTH,
        statements: &["MQTT-3.3.2-2", "MQTT-4.7.1-1", "MQTT3-3.3.2-2"],
        looks_for: "a Topic Name with + is refused",
        run: |bench| bad_name(bench, "\"/\" \"+\""),
    },
    Check {
        name: "malformed-publish/topic-with-hash",
        versions: BOTH,
        statements: &["MQTT-3.3.2-2", "MQTT-4.7.1-1", "MQTT3-3.3.2-2"],
        looks_for: "a Topic Name with # is refused",
        run: |bench| bad_name(bench, "\"/\" \"#\""),
    },
    Check {
        name: "malformed-publish/topic-with-plus-inside-a-level",
        versions: BOTH,
        statements: &["MQTT-3.3.2-2", "MQTT-4.7.1-1", "MQTT3-3.3.2-2"],
        looks_for: "a Topic Name with + beside other characters is refused",
        run: |bench| bad_name(bench, "\"/a+b\""),
    },
    Check {
        name: "malformed-publish/topic-not-utf-8",
        versions: BOTH,
        statements: &["MQTT-3.3.2-1", "MQTT-1.5.4-1", "MQTT3-3.3.2-1", "MQTT3-1.5.3-1"],
        looks_for: "a Topic Name that is not UTF-8 is refused",
        run: |bench| bad_name(bench, "\"/\" FF"),
    },
    Check {
        name: "malformed-publish/topic-cut-inside-a-character",
        versions: BOTH,
        statements: &["MQTT-3.3.2-1", "MQTT-1.5.4-1", "MQTT3-3.3.2-1", "MQTT3-1.5.3-1"],
        looks_for: "a Topic Name that ends within a character is refused",
        run: |bench| bad_name(bench, "\"/\" E282"),
    },
    Check {
        name: "malformed-publish/topic-with-surrogate",
        versions: BOTH,
        statements: &["MQTT-3.3.2-1", "MQTT-1.5.4-1", "MQTT3-3.3.2-1", "MQTT3-1.5.3-1"],
        looks_for: "a Topic Name with an encoded surrogate is refused",
        run: |bench| bad_name(bench, "\"/\" EDA080"),
    },
    Check {
        name: "malformed-publish/topic-with-null",
        versions: BOTH,
        statements: &["MQTT-1.5.4-2", "MQTT-4.7.3-2", "MQTT3-1.5.3-2", "MQTT3-4.7.3-2"],
        looks_for: "a Topic Name with U+0000 is refused",
        run: |bench| bad_name(bench, "\"/a\" 00 \"b\""),
    },
    bad!(
        "empty-topic",
        0x30,
        "0000 {p} \"x\"",
        &["MQTT-4.7.3-1", "MQTT-4.13.1-1", "MQTT3-4.7.3-1"],
        "an empty Topic Name, without alias, is refused"
    ),
    Check {
        name: "malformed-publish/payload-format-indicator-2",
        versions: V5,
        statements: &["MQTT-3.3.2-4", "MQTT-4.13.1-1"],
        looks_for: "Payload Format Indicator 2 is refused, or at least not passed on",
        run: indicator_2,
    },
    bad_properties!(
        "payload-format-indicator-twice",
        "04 01 00 01 00",
        CLOSE,
        "a second Payload Format Indicator is refused"
    ),
    bad_properties!(
        "message-expiry-interval-twice",
        "0A 02 0000000A 02 0000000A",
        CLOSE,
        "a second Message Expiry Interval is refused"
    ),
    bad_properties!(
        "message-expiry-interval-cut",
        "03 02 0000",
        CLOSE,
        "a Message Expiry Interval of two bytes is refused"
    ),
    bad_properties!(
        "content-type-twice",
        "08 03 'a' 03 'b'",
        CLOSE,
        "a second Content Type is refused"
    ),
    bad_properties!(
        "content-type-not-utf-8",
        "05 03 0002 C328",
        &["MQTT-3.3.2-19", "MQTT-1.5.4-1"],
        "a Content Type that is not UTF-8 is refused"
    ),
    bad_properties!(
        "response-topic-twice",
        "08 08 'a' 08 'b'",
        CLOSE,
        "a second Response Topic is refused"
    ),
    bad_properties!(
        "response-topic-not-utf-8",
        "05 08 0002 C328",
        &["MQTT-3.3.2-13", "MQTT-1.5.4-1"],
        "a Response Topic that is not UTF-8 is refused"
    ),
    Check {
        name: "malformed-publish/response-topic-with-wildcard",
        versions: V5,
        statements: &["MQTT-3.3.2-14"],
        looks_for: "a Response Topic with a wildcard is refused",
        run: |bench| {
            let codes = [MALFORMED, &[ReasonCode::TopicNameInvalid]].concat();
            bad_publish(bench, 0x30, "{t} 06 08 'a/+' \"x\"", &codes)
        },
    },
    bad_properties!(
        "correlation-data-twice",
        "08 09 'a' 09 'b'",
        CLOSE,
        "second Correlation Data is refused"
    ),
    bad_properties!(
        "user-property-not-utf-8",
        "08 26 0002 C328 'v'",
        &["MQTT-1.5.7-1", "MQTT-1.5.4-1"],
        "a User Property that is not UTF-8 is refused"
    ),
    bad_properties!(
        "user-property-without-value",
        "04 26 'k'",
        &["MQTT-1.5.7-1", "MQTT-4.13.1-1"],
        "a User Property without value is refused"
    ),
    bad_properties!(
        "subscription-identifier-from-a-client",
        "02 0B 05",
        &["MQTT-3.3.4-6", "MQTT-4.13.1-1"],
        "a Subscription Identifier from a client is refused"
    ),
    bad_properties!(
        "topic-alias-twice",
        "06 23 0001 23 0001",
        CLOSE,
        "a second Topic Alias is refused"
    ),
    bad_properties!("unknown-property", "02 7F00", CLOSE, "an unknown property is refused"),
    bad_properties!(
        "property-of-connect",
        "05 11 0000000A",
        CLOSE,
        "a property that only CONNECT has is refused"
    ),
    bad_properties!(
        "properties-beyond-the-packet",
        "7F",
        CLOSE,
        "properties longer than their packet are refused"
    ),
    bad_properties!(
        "property-length-not-minimal",
        "8000",
        &["MQTT-1.5.5-1", "MQTT-4.13.1-1"],
        "a Property Length in more bytes than needed is refused"
    ),
];

fn bad_publish(bench: &Bench, first_byte: u8, body: &str, codes: &[ReasonCode]) -> Verdict {
    let topic_name = format!("'{}'", bench.topic_name("t"));
    let properties = if bench.is_v5() { "00" } else { "" };
    let body = body.replace("{t}", &topic_name).replace("{p}", properties);
    refused(bench, &frame(first_byte, &body), codes)
}

/// The standard defines 0 and 1, and does not call the rest an error in so many words.
fn indicator_2(bench: &mut Bench) -> Verdict {
    let topic_name = bench.topic_name("t");
    let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
    let mut peer = bench.connect("client")?;
    peer.send_bytes(&frame(0x30, &format!("'{topic_name}' 02 01 02 \"x\"")));
    peer.send(Packet::PingReq);
    let behaviour = match peer.next_packet()? {
        Some(Packet::PingResp) => "Payload Format Indicator 2 is not passed on",
        Some(Packet::Disconnect(end)) if end.reason_code.is_error() => {
            peer.expect_closed()?;
            "Payload Format Indicator 2 ends the connection"
        }
        None => "Payload Format Indicator 2 ends the connection",
        Some(other) => return failed(format!("PINGRESP, or the end, expected; comes {other}")),
    };
    bench.connect("pub")?.publish(&topic_name, QoS::AtMostOnce, "marker")?;
    let came = subscriber.publishes_before(b"marker")?;
    let indicator = |publish: &Publish| publish.properties.as_ref()?.payload_format_indicator;
    ensure(!came.iter().any(|publish| indicator(publish).is_some()), "an indicator is made up")?;
    seen(behaviour)
}

/// A Topic Name with this at its end, which makes it none.
fn bad_name(bench: &Bench, end: &str) -> Verdict {
    let mut name = crate::bytes(&format!("\"{}\" {end}", bench.topic_name("t")));
    let mut body = u16::try_from(name.len()).expect("a short name").to_be_bytes().to_vec();
    body.append(&mut name);
    if bench.is_v5() {
        body.push(0);
    }
    let digits: String = body.iter().map(|byte| format!("{byte:02X}")).collect();
    let codes = [MALFORMED, &[ReasonCode::TopicNameInvalid]].concat();
    refused(bench, &frame(0x30, &format!("{digits} \"x\"")), &codes)
}
