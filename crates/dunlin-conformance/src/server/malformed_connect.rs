//! CONNECTs that no server may accept. Spec: §3.1, §1.5, §2.2.2.

use super::connect::connect_body;
use super::{Bench, Check};
use crate::{BOTH, End, V3, V5, Verdict, bytes, failed, frame};

/// An entry of the table for a CONNECT of MQTT 5.0 with these properties.
macro_rules! bad_properties {
    ($name:literal, $properties:literal, $statements:expr, $looks_for:literal) => {
        Check {
            name: concat!("malformed-connect/", $name),
            versions: V5,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| with_properties(bench, $properties),
        }
    };
}

/// An entry of the table for a CONNECT with these Connect Flags, and what follows the Client
/// Identifier.
macro_rules! bad_flags {
    ($name:literal, $flags:literal, $rest:literal, $versions:expr, $statements:expr, $looks_for:literal) => {
        Check {
            name: concat!("malformed-connect/", $name),
            versions: $versions,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| refuses(bench, &frame(0x10, &connect_body(bench, $flags, $rest))),
        }
    };
}

const CLOSE: &[&str] = &["MQTT-3.1.4-1", "MQTT-4.13.1-1", "MQTT3-3.1.4-1"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "malformed-connect/fixed-header-flags",
        versions: BOTH,
        statements: &["MQTT-2.1.3-1", "MQTT-3.1.4-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2"],
        looks_for: "flags in the fixed header of CONNECT are refused",
        run: |bench| refuses(bench, &frame(0x11, &connect_body(bench, "02", ""))),
    },
    Check {
        name: "malformed-connect/remaining-length-of-five-bytes",
        versions: BOTH,
        statements: CLOSE,
        looks_for: "a Remaining Length of more than four bytes is refused",
        run: |bench| {
            let mut packet = bytes("10 80 80 80 80 01");
            packet.extend(bytes(&connect_body(bench, "02", "")));
            refuses(bench, &packet)
        },
    },
    bad_flags!(
        "reserved-flag",
        "03",
        "",
        BOTH,
        &["MQTT-3.1.2-3", "MQTT3-3.1.2-3", "MQTT3-3.1.4-1"],
        "the reserved Connect Flag is refused"
    ),
    bad_flags!(
        "will-qos-3",
        "1E",
        "'w' 'm'",
        V3,
        &["MQTT3-3.1.2-14", "MQTT3-3.1.4-1"],
        "Will QoS 3 is refused"
    ),
    bad_flags!(
        "will-qos-3",
        "1E",
        "00 'w' 'm'",
        V5,
        &["MQTT-3.1.2-12", "MQTT-3.1.4-1"],
        "Will QoS 3 is refused"
    ),
    bad_flags!(
        "will-qos-without-will",
        "0A",
        "",
        BOTH,
        &["MQTT-3.1.2-11", "MQTT-3.1.4-1", "MQTT3-3.1.2-13", "MQTT3-3.1.2-11"],
        "a Will QoS without a Will is refused"
    ),
    bad_flags!(
        "will-retain-without-will",
        "22",
        "",
        BOTH,
        &["MQTT-3.1.2-13", "MQTT-3.1.4-1", "MQTT3-3.1.2-15", "MQTT3-3.1.2-11"],
        "Will Retain without a Will is refused"
    ),
    bad_flags!(
        "will-missing",
        "06",
        "",
        BOTH,
        &["MQTT-3.1.2-9", "MQTT-3.1.4-1", "MQTT3-3.1.2-9", "MQTT3-3.1.4-1"],
        "a Will Flag without a Will is refused"
    ),
    bad_flags!(
        "user-name-missing",
        "82",
        "",
        BOTH,
        &["MQTT-3.1.2-17", "MQTT-3.1.4-1", "MQTT3-3.1.2-19", "MQTT3-3.1.4-1"],
        "a User Name Flag without a User Name is refused"
    ),
    bad_flags!(
        "password-missing",
        "C2",
        "'user'",
        BOTH,
        &["MQTT-3.1.2-19", "MQTT-3.1.4-1", "MQTT3-3.1.2-21", "MQTT3-3.1.4-1"],
        "a Password Flag without a Password is refused"
    ),
    bad_flags!(
        "password-without-user-name",
        "42",
        "'secret'",
        V3,
        &["MQTT3-3.1.2-22", "MQTT3-3.1.4-1"],
        "a Password without a User Name is refused"
    ),
    bad_flags!(
        "user-name-without-its-flag",
        "02",
        "'user'",
        BOTH,
        &["MQTT-3.1.2-16", "MQTT-3.1.4-1", "MQTT3-3.1.2-18", "MQTT3-3.1.4-1"],
        "bytes behind the last field are refused"
    ),
    bad_flags!(
        "user-name-not-utf-8",
        "82",
        "0003 61FF62",
        BOTH,
        &["MQTT-1.5.4-1", "MQTT-3.1.3-12", "MQTT3-1.5.3-1", "MQTT3-3.1.3-11"],
        "a User Name that is not UTF-8 is refused"
    ),
    bad_flags!(
        "will-topic-not-utf-8",
        "06",
        "0003 61FF62 'm'",
        V3,
        &["MQTT3-1.5.3-1", "MQTT3-3.1.3-10"],
        "a Will Topic that is not UTF-8 is refused"
    ),
    bad_flags!(
        "will-topic-not-utf-8",
        "06",
        "00 0003 61FF62 'm'",
        V5,
        &["MQTT-1.5.4-1", "MQTT-3.1.3-11"],
        "a Will Topic that is not UTF-8 is refused"
    ),
    Check {
        name: "malformed-connect/identifier-not-utf-8",
        versions: BOTH,
        statements: &["MQTT-1.5.4-1", "MQTT-3.1.3-4", "MQTT3-1.5.3-1", "MQTT3-3.1.3-4"],
        looks_for: "a Client Identifier that is not UTF-8 is refused",
        run: |bench| with_identifier(bench, "0003 61FF62"),
    },
    Check {
        name: "malformed-connect/identifier-with-surrogate",
        versions: BOTH,
        statements: &["MQTT-1.5.4-1", "MQTT-3.1.3-4", "MQTT3-1.5.3-1", "MQTT3-3.1.3-4"],
        looks_for: "a Client Identifier with an encoded surrogate is refused",
        run: |bench| with_identifier(bench, "0004 61EDA080"),
    },
    Check {
        name: "malformed-connect/identifier-overlong",
        versions: BOTH,
        statements: &["MQTT-1.5.4-1", "MQTT-3.1.3-4", "MQTT3-1.5.3-1", "MQTT3-3.1.3-4"],
        looks_for: "a Client Identifier with a letter in two bytes instead of one is refused",
        run: |bench| with_identifier(bench, "0003 61C1A1"),
    },
    Check {
        name: "malformed-connect/identifier-with-null",
        versions: BOTH,
        statements: &["MQTT-1.5.4-2", "MQTT3-1.5.3-2"],
        looks_for: "a Client Identifier with U+0000 is refused",
        run: |bench| with_identifier(bench, "0003 610062"),
    },
    Check {
        name: "malformed-connect/identifier-longer-than-the-packet",
        versions: BOTH,
        statements: CLOSE,
        looks_for: "a Client Identifier that goes on behind its packet is refused",
        run: |bench| with_identifier(bench, "0009 616263"),
    },
    bad_properties!(
        "property-length-not-minimal",
        "8000",
        &["MQTT-1.5.5-1", "MQTT-4.13.1-1"],
        "a Property Length in more bytes than needed is refused"
    ),
    bad_properties!(
        "property-length-beyond-the-packet",
        "7F",
        CLOSE,
        "properties longer than their packet are refused"
    ),
    bad_properties!("unknown-property", "02 7F00", CLOSE, "an unknown property is refused"),
    bad_properties!(
        "property-of-publish",
        "03 23 0001",
        CLOSE,
        "a property that only PUBLISH has is refused"
    ),
    bad_properties!(
        "session-expiry-interval-twice",
        "0A 11 00000000 11 00000000",
        CLOSE,
        "a second Session Expiry Interval is refused"
    ),
    bad_properties!(
        "receive-maximum-twice",
        "06 21 0010 21 0010",
        CLOSE,
        "a second Receive Maximum is refused"
    ),
    bad_properties!("receive-maximum-zero", "03 21 0000", CLOSE, "Receive Maximum 0 is refused"),
    bad_properties!(
        "maximum-packet-size-twice",
        "0A 27 00001000 27 00001000",
        CLOSE,
        "a second Maximum Packet Size is refused"
    ),
    bad_properties!(
        "maximum-packet-size-zero",
        "05 27 00000000",
        CLOSE,
        "Maximum Packet Size 0 is refused"
    ),
    bad_properties!(
        "topic-alias-maximum-twice",
        "06 22 0001 22 0001",
        CLOSE,
        "a second Topic Alias Maximum is refused"
    ),
    bad_properties!(
        "request-response-information-2",
        "02 19 02",
        CLOSE,
        "Request Response Information 2 is refused"
    ),
    bad_properties!(
        "request-response-information-twice",
        "04 19 00 19 00",
        CLOSE,
        "a second Request Response Information is refused"
    ),
    bad_properties!(
        "request-problem-information-2",
        "02 17 02",
        CLOSE,
        "Request Problem Information 2 is refused"
    ),
    bad_properties!(
        "request-problem-information-twice",
        "04 17 01 17 01",
        CLOSE,
        "a second Request Problem Information is refused"
    ),
    bad_properties!(
        "authentication-method-twice",
        "08 15 'a' 15 'a'",
        CLOSE,
        "a second Authentication Method is refused"
    ),
    bad_properties!(
        "authentication-data-without-method",
        "04 16 'a'",
        CLOSE,
        "Authentication Data without Authentication Method is refused"
    ),
    bad_properties!(
        "user-property-not-utf-8",
        "08 26 'k' 0002 C328",
        &["MQTT-1.5.7-1", "MQTT-1.5.4-1"],
        "a User Property that is not UTF-8 is refused"
    ),
];

/// The CONNECT is answered by the end of the connection; in MQTT 3.1.1 without CONNACK
/// [MQTT3-3.1.4-1].
fn refuses(bench: &Bench, packet: &[u8]) -> Verdict {
    let mut peer = bench.open("client")?;
    peer.send_bytes(packet);
    match peer.expect_closed()? {
        End::Refused(reason_code) if !bench.is_v5() => {
            failed(format!("the end without CONNACK expected; CONNACK says {reason_code}"))
        }
        end => end.passed(),
    }
}

fn with_properties(bench: &Bench, properties: &str) -> Verdict {
    let client_identifier = bench.client_identifier("client");
    refuses(bench, &frame(0x10, &format!("'MQTT' 05 02 0000 {properties} '{client_identifier}'")))
}

/// A server may see the fault as one of the Client Identifier, and then answers with a CONNACK.
fn with_identifier(bench: &Bench, client_identifier: &str) -> Verdict {
    let before = if bench.is_v5() { "05 02 0000 00" } else { "04 02 0000" };
    let mut peer = bench.open("client")?;
    peer.send_bytes(&frame(0x10, &format!("'MQTT' {before} {client_identifier}")));
    peer.expect_closed()?.passed()
}
