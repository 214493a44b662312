//! Each rule that is watched can be broken, and is not by those who keep it.

use super::super::rules;
use super::{Sight, judge};
use crate::exchange::Exchange;
use crate::{Direction, bytes};
use bytes::BytesMut;
use dunlin_codec::{Decoder, ProtocolVersion};
use std::collections::BTreeSet;
use std::time::Duration;

const V5: ProtocolVersion = ProtocolVersion::V5;
const V3: ProtocolVersion = ProtocolVersion::V3_1_1;

/// What `~` means.
const PAUSE: Duration = Duration::from_millis(1600);

/// CONNECT of MQTT 5.0 and a plain CONNACK.
const BEGIN: [&str; 2] = ["< 10 0D 'MQTT' 05 00 0000 00 0000", "> 20 03 00 00 00"];

/// What is shown by these packets: `<` from the client, `>` to it, `|` for the next connection,
/// `~` for a pause.
fn sight(version: ProtocolVersion, lines: &[&str]) -> Sight {
    let exchange = Exchange::default();
    let decoder = Decoder::new(version, u32::MAX);
    let mut connection = 1;
    let mut pause_at = usize::MAX;
    for line in lines {
        let (sign, text) = line.split_at(1);
        let name = connection.to_string();
        match sign {
            "|" => connection += 1,
            "~" => pause_at = exchange.lines().len(),
            ">" => exchange.bytes(&name, version, &bytes(text)),
            _ => {
                let raw = bytes(text);
                match decoder.decode(&mut BytesMut::from(&raw[..])) {
                    Ok(Some(packet)) => exchange.packet(&name, Direction::Received, &packet),
                    Ok(None) => panic!("{line} is no whole packet"),
                    Err(error) => exchange.malformed(&name, &raw, error),
                }
            }
        }
    }
    let mut lines = exchange.lines();
    for line in lines.iter_mut().skip(pause_at) {
        line.at += PAUSE;
    }
    judge(version, &lines)
}

/// The rules that are broken by what follows on the beginning of a connection.
fn broken(lines: &[&str]) -> BTreeSet<&'static str> {
    sight(V5, &[&BEGIN, lines].concat()).broken.into_keys().collect()
}

/// For each rule what breaks it, after CONNECT and CONNACK of MQTT 5.0.
const BREACHES: &[(&str, &[&str])] = &[
    ("connect-form", &["< 10 0D 'MQTT' 05 01 0000 00 0000"]),
    ("publish-form", &["< 36 07 'a' 0001 00 00"]),
    ("acknowledgement-form", &["< 40 02 0000"]),
    ("subscribe-form", &["< 80 07 0001 00 'a' 00"]),
    ("unsubscribe-form", &["< A2 03 0001 00"]),
    ("disconnect-form", &["< E1 00"]),
    ("auth-form", &["< F1 00"]),
    ("frame-form", &["< C1 00"]),
    ("connect-first", &["< 10 0D 'MQTT' 05 00 0000 00 0000"]),
    ("packets-of-clients", &["< D0 00"]),
    ("packet-identifiers", &["< 32 06 'a' 0001 00", "< 82 07 0001 00 'a' 00"]),
    ("first-without-dup", &["< 3A 06 'a' 0001 00"]),
    (
        "resends-have-dup",
        &["< 32 06 'a' 0001 00", "|", BEGIN[0], "> 20 03 01 00 00", "< 32 06 'a' 0001 00"],
    ),
    (
        "no-publish-after-pubrec",
        &[
            "< 34 06 'a' 0001 00",
            "> 50 02 0001",
            "|",
            BEGIN[0],
            "> 20 03 01 00 00",
            "< 3C 06 'a' 0001 00",
        ],
    ),
    ("no-resend-on-the-connection", &["< 32 06 'a' 0001 00", "< 3A 06 'a' 0001 00"]),
    ("puback-answers", &["> 32 06 'a' 0001 00", "< 40 02 0002"]),
    ("pubrec-answers", &["> 34 06 'a' 0001 00", "< 50 02 0002"]),
    ("pubrel-answers", &["< 34 06 'a' 0001 00", "< 62 02 0001"]),
    ("pubcomp-answers", &["< 70 02 0001"]),
    ("puback-order", &["> 32 06 'a' 0001 00", "> 32 06 'a' 0002 00", "< 40 02 0002"]),
    ("pubrec-order", &["> 34 06 'a' 0001 00", "> 34 06 'a' 0002 00", "< 50 02 0002"]),
    (
        "pubrel-order",
        &[
            "< 34 06 'a' 0001 00",
            "< 34 06 'a' 0002 00",
            "> 50 02 0001",
            "> 50 02 0002",
            "< 62 02 0002",
        ],
    ),
    (
        "receive-maximum",
        &["> 20 06 00 00 03 21 0001", "< 32 06 'a' 0001 00", "< 34 06 'a' 0002 00"],
    ),
    ("maximum-packet-size", &["> 20 08 00 00 05 27 00000007", "< 32 06 'a' 0001 00"]),
    ("maximum-qos", &["> 20 05 00 00 02 24 00", "< 32 06 'a' 0001 00"]),
    ("retain-available", &["> 20 05 00 00 02 25 00", "< 31 04 'a' 00"]),
    ("topic-alias-maximum", &["> 20 06 00 00 03 22 0002", "< 30 07 'a' 03 23 0003"]),
    ("known-topic-alias", &["> 20 06 00 00 03 22 0002", "< 30 06 0000 03 23 0001"]),
    ("no-subscription-identifier", &["< 30 06 'a' 02 0B 01"]),
    ("nothing-after-disconnect", &["< E0 00", "< C0 00"]),
    ("disconnect-code", &["< E0 01 8E"]),
    ("auth-with-method", &["< F0 06 18 04 15 'a'"]),
    ("auth-same-method", &["< F0 06 18 04 15 'a'"]),
    ("auth-code", &["|", "< 10 11 'MQTT' 05 00 0000 04 15 'a' 0000", "< F0 06 19 04 15 'a'"]),
    ("only-auth-before-connack", &["|", "< 10 11 'MQTT' 05 00 0000 04 15 'a' 0000", "< C0 00"]),
    ("keep-alive", &["> 20 06 00 00 03 13 0001", "~", "< C0 00"]),
];

#[test]
fn each_rule_can_be_broken() {
    for (rule, lines) in BREACHES {
        let broken = broken(lines);
        assert!(broken.contains(format!("watched/{rule}").as_str()), "{rule}: {broken:?}");
    }
    let broken = sight(V3, &["< 10 0C 'MQTT' 04 00 0000 0000"]).broken;
    assert!(broken.contains_key("watched/empty-identifier"), "{broken:?}");
}

#[test]
fn no_rule_is_without_a_breach() {
    let tried: BTreeSet<String> =
        BREACHES.iter().map(|(rule, _)| format!("watched/{rule}")).collect();
    for check in rules::CHECKS {
        let is_tried = tried.contains(check.name) || check.name == "watched/empty-identifier";
        assert!(is_tried, "{} has no breach here", check.name);
    }
}

#[test]
fn a_good_client_breaks_nothing() {
    let seen = sight(
        V5,
        &[
            BEGIN[0],
            "> 20 09 00 00 06 21 0002 22 0002",
            "< 82 07 0001 00 'a' 00",
            "> 90 04 0001 00 00",
            "< 32 09 'a' 0001 03 23 0001",
            "< 34 08 0000 0002 03 23 0001",
            "> 40 02 0001",
            "> 50 02 0002",
            "< 62 02 0002",
            "|",
            BEGIN[0],
            "> 20 03 01 00 00",
            "< 62 02 0002",
            "> 70 02 0002",
            "> 34 06 'a' 0001 00",
            "> 32 06 'a' 0002 00",
            "< 50 02 0001",
            "< 40 02 0002",
            "> 62 02 0001",
            "< 70 02 0001",
            "< 34 06 'a' 0002 00",
            "< E0 00",
        ],
    );
    assert!(seen.broken.is_empty(), "{:?}", seen.broken);
    assert!(seen.seen.contains("watched/known-topic-alias"), "{:?}", seen.seen);
}
