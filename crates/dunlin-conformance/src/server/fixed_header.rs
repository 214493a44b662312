//! Fixed headers that no server may accept: flags, packet types, lengths. Spec: §2.1.

use super::steps::{packet, refuses, refuses_each};
use super::{Bench, Check};
use crate::{BOTH, V3, V5, Verdict, bytes, passed};

/// An entry of the table for a packet type with all flags but the ones that it has.
macro_rules! reserved_flags {
    ($name:literal, $versions:expr, $first:literal, $body:literal, $statements:expr) => {
        Check {
            name: concat!("fixed-header/flags-of-", $name),
            versions: $versions,
            statements: $statements,
            looks_for: concat!("no other flags than the standard's, in ", $name),
            run: |bench| wrong_flags(bench, $first, $body),
        }
    };
}

/// An entry of the table for a packet that ends a connection.
macro_rules! refused {
    ($name:literal, $versions:expr, $first:literal, $body:literal, $statements:expr, $looks_for:literal) => {
        Check {
            name: concat!("fixed-header/", $name),
            versions: $versions,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| refuses(bench, &packet(bench, $first, $body)),
        }
    };
}

/// A packet that does not fit the format, or is not for servers.
const CLOSE: &[&str] = &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"];

pub(super) const CHECKS: &[Check] = &[
    reserved_flags!(
        "subscribe",
        BOTH,
        0x82,
        "0001 {} 't' 00",
        &["MQTT-2.1.3-1", "MQTT-3.8.1-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2", "MQTT3-3.8.1-1"]
    ),
    reserved_flags!(
        "unsubscribe",
        BOTH,
        0xA2,
        "0001 {} 't'",
        &["MQTT-2.1.3-1", "MQTT-3.10.1-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2", "MQTT3-3.10.1-1"]
    ),
    reserved_flags!(
        "pingreq",
        BOTH,
        0xC0,
        "",
        &["MQTT-2.1.3-1", "MQTT-4.13.1-1", "MQTT3-2.2.2-1", "MQTT3-2.2.2-2"]
    ),
    reserved_flags!(
        "auth",
        V5,
        0xF0,
        "18 06 15 'abc'",
        &["MQTT-2.1.3-1", "MQTT-3.15.1-1", "MQTT-4.13.1-1"]
    ),
    refused!(
        "packet-type-0",
        BOTH,
        0x00,
        "",
        CLOSE,
        "a packet of the reserved type 0 ends the connection"
    ),
    refused!(
        "packet-type-15",
        V3,
        0xF0,
        "",
        CLOSE,
        "a packet of type 15, which MQTT 3.1.1 reserves, ends the connection"
    ),
    refused!(
        "connack-of-a-client",
        BOTH,
        0x20,
        "00 00 {}",
        CLOSE,
        "a CONNACK from a client ends the connection"
    ),
    refused!(
        "suback-of-a-client",
        BOTH,
        0x90,
        "0001 {} 00",
        CLOSE,
        "a SUBACK from a client ends the connection"
    ),
    refused!(
        "unsuback-of-a-client",
        V5,
        0xB0,
        "0001 00 00",
        CLOSE,
        "an UNSUBACK from a client ends the connection"
    ),
    refused!(
        "unsuback-of-a-client",
        V3,
        0xB0,
        "0001",
        CLOSE,
        "an UNSUBACK from a client ends the connection"
    ),
    refused!(
        "pingresp-of-a-client",
        BOTH,
        0xD0,
        "",
        CLOSE,
        "a PINGRESP from a client ends the connection"
    ),
    refused!(
        "pingreq-with-a-body",
        BOTH,
        0xC0,
        "00",
        CLOSE,
        "a PINGREQ whose Remaining Length is not 0 ends the connection"
    ),
    Check {
        name: "fixed-header/remaining-length-of-five-bytes",
        versions: BOTH,
        statements: CLOSE,
        looks_for: "a Remaining Length of more than four bytes ends the connection",
        run: |bench| refuses(bench, &bytes("C0 80 80 80 80 00")),
    },
    Check {
        name: "fixed-header/remaining-length-not-minimal",
        versions: V5,
        statements: &["MQTT-1.5.5-1", "MQTT-4.13.1-1"],
        looks_for: "a Remaining Length in more bytes than needed ends the connection",
        run: |bench| refuses_each(bench, [bytes("C0 8000"), bytes("30 8480 00 0001 74 00")]),
    },
    Check {
        name: "fixed-header/packets-in-pieces",
        versions: BOTH,
        statements: &["MQTT-4.2-1", "MQTT3-4.2.0-1"],
        looks_for: "packets mean the same whatever the pieces are in which they arrive",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            let filter = bench.topic_filter("t");
            let mut both = packet(bench, 0x82, &format!("0007 {{}} '{filter}' 00"));
            both.extend(bytes("C0 00"));
            for byte in &both {
                peer.send_bytes(&[*byte]);
            }
            let packet_identifier = dunlin_codec::PacketIdentifier::new(7).expect("not zero");
            peer.expect_suback(packet_identifier)?;
            peer.expect_pingresp()?;
            // And two packets in one piece.
            peer.send_bytes(&both);
            peer.expect_suback(packet_identifier)?;
            peer.expect_pingresp()?;
            passed()
        },
    },
];

/// Every nibble of flags but the legal one.
fn wrong_flags(bench: &Bench, first_byte: u8, body: &str) -> Verdict {
    let legal = first_byte & 0x0F;
    let faults = (0..=0x0F).filter(|flags| *flags != legal);
    refuses_each(bench, faults.map(|flags| packet(bench, first_byte & 0xF0 | flags, body)))
}
