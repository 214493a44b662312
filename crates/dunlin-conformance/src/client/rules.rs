//! The rules that are watched on every connection of a run, each as a check: it passes when there was
//! occasion to break the rule, and nobody did.

use super::{Bench, Check};
use crate::{BOTH, V3, V5, Verdict, failed, passed, skipped};
use std::sync::PoisonError;

/// Makes the check of a rule that [`watch`](super::watch) knows by the same name.
macro_rules! rule {
    ($name:literal, $versions:ident, [$($id:literal),+ $(,)?], $looks_for:literal $(,)?) => {
        Check {
            name: $name,
            versions: $versions,
            statements: &[$($id),+],
            looks_for: $looks_for,
            run: |bench| kept(bench, $name),
        }
    };
}

pub(super) const CHECKS: &[Check] = &[
    rule!(
        "watched/connect-form",
        BOTH,
        [
            "MQTT-3.1.2-9",
            "MQTT-3.1.2-11",
            "MQTT-3.1.2-12",
            "MQTT-3.1.2-13",
            "MQTT-3.1.2-16",
            "MQTT-3.1.2-17",
            "MQTT-3.1.2-18",
            "MQTT-3.1.2-19",
            "MQTT-3.1.3-1",
            "MQTT-3.1.3-3",
            "MQTT-3.1.3-4",
            "MQTT-3.1.3-11",
            "MQTT-3.1.3-12",
            "MQTT-2.2.2-1",
            "MQTT3-3.1.2-9",
            "MQTT3-3.1.2-11",
            "MQTT3-3.1.2-13",
            "MQTT3-3.1.2-14",
            "MQTT3-3.1.2-15",
            "MQTT3-3.1.2-18",
            "MQTT3-3.1.2-19",
            "MQTT3-3.1.2-20",
            "MQTT3-3.1.2-21",
            "MQTT3-3.1.2-22",
            "MQTT3-3.1.3-1",
            "MQTT3-3.1.3-3",
            "MQTT3-3.1.3-4",
            "MQTT3-3.1.3-10",
            "MQTT3-3.1.3-11"
        ],
        "every CONNECT is well-formed: flags, order of the fields, strings"
    ),
    rule!(
        "watched/publish-form",
        BOTH,
        [
            "MQTT-2.2.1-2",
            "MQTT-1.5.4-1",
            "MQTT-1.5.4-2",
            "MQTT-1.5.7-1",
            "MQTT-3.3.1-2",
            "MQTT-3.3.1-4",
            "MQTT-3.3.2-1",
            "MQTT-3.3.2-2",
            "MQTT-3.3.2-8",
            "MQTT-3.3.2-13",
            "MQTT-3.3.2-14",
            "MQTT-3.3.2-19",
            "MQTT-4.3.1-1",
            "MQTT-4.7.0-1",
            "MQTT-4.7.3-1",
            "MQTT-4.7.3-2",
            "MQTT-4.7.3-3",
            "MQTT3-2.3.1-5",
            "MQTT3-1.5.3-1",
            "MQTT3-1.5.3-2",
            "MQTT3-3.3.1-2",
            "MQTT3-3.3.1-4",
            "MQTT3-3.3.2-1",
            "MQTT3-3.3.2-2",
            "MQTT3-4.3.1-1",
            "MQTT3-4.7.1-1",
            "MQTT3-4.7.3-1",
            "MQTT3-4.7.3-2",
            "MQTT3-4.7.3-3"
        ],
        "every PUBLISH is well-formed: QoS, DUP, Topic Name, properties"
    ),
    rule!(
        "watched/acknowledgement-form",
        BOTH,
        [
            "MQTT-3.4.2-1",
            "MQTT-3.5.2-1",
            "MQTT-3.6.1-1",
            "MQTT-3.6.2-1",
            "MQTT-3.7.2-1",
            "MQTT3-2.2.2-1",
            "MQTT3-3.6.1-1"
        ],
        "every PUBACK, PUBREC, PUBREL and PUBCOMP is well-formed"
    ),
    rule!(
        "watched/subscribe-form",
        BOTH,
        [
            "MQTT-3.8.1-1",
            "MQTT-3.8.3-1",
            "MQTT-3.8.3-2",
            "MQTT-3.8.3-4",
            "MQTT-4.7.1-1",
            "MQTT-4.7.1-2",
            "MQTT-4.8.2-1",
            "MQTT-4.8.2-2",
            "MQTT3-3.8.3-1",
            "MQTT3-3.8.3-3",
            "MQTT3-2.3.1-1",
            "MQTT3-4.7.1-2",
            "MQTT3-4.7.1-3"
        ],
        "every SUBSCRIBE is well-formed: flags, Topic Filters, options"
    ),
    rule!(
        "watched/unsubscribe-form",
        BOTH,
        ["MQTT-3.10.1-1", "MQTT-3.10.3-1", "MQTT-3.10.3-2", "MQTT3-3.10.3-1", "MQTT3-3.10.3-2"],
        "every UNSUBSCRIBE is well-formed"
    ),
    rule!(
        "watched/disconnect-form",
        BOTH,
        ["MQTT-3.14.1-1", "MQTT-3.14.2-1", "MQTT3-2.2.2-1"],
        "every DISCONNECT is well-formed"
    ),
    rule!("watched/auth-form", V5, ["MQTT-3.15.1-1", "MQTT-3.15.2-1"], "every AUTH is well-formed"),
    rule!(
        "watched/frame-form",
        BOTH,
        ["MQTT-2.1.3-1", "MQTT-1.5.5-1", "MQTT3-2.2.2-1"],
        "every other packet is well-formed, and of a type that there is"
    ),
    rule!(
        "watched/connect-first",
        BOTH,
        ["MQTT-3.1.0-1", "MQTT3-3.1.0-1"],
        "CONNECT is the first packet of a connection, and only the first"
    ),
    rule!(
        "watched/packets-of-clients",
        BOTH,
        ["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        "the client sends no packet that only servers send"
    ),
    rule!(
        "watched/empty-identifier",
        V3,
        ["MQTT3-3.1.3-7"],
        "an empty Client Identifier comes with Clean Session 1"
    ),
    rule!(
        "watched/packet-identifiers",
        BOTH,
        ["MQTT-2.2.1-3", "MQTT-4.3.2-1", "MQTT-4.3.3-1", "MQTT3-2.3.1-1", "MQTT3-2.3.1-2"],
        "new packets have a Packet Identifier that is not in use"
    ),
    rule!(
        "watched/first-without-dup",
        BOTH,
        ["MQTT-4.3.2-2", "MQTT-4.3.3-2", "MQTT3-4.3.2-1", "MQTT3-4.3.3-1"],
        "a message that is sent for the first time has no DUP"
    ),
    rule!(
        "watched/resends-have-dup",
        BOTH,
        ["MQTT-3.3.1-1", "MQTT3-3.3.1-1", "MQTT3-2.3.1-3"],
        "a message that is sent again has DUP"
    ),
    rule!(
        "watched/no-publish-after-pubrec",
        BOTH,
        ["MQTT-4.3.3-6", "MQTT3-4.3.3-1"],
        "a message is not sent again after PUBREC"
    ),
    rule!(
        "watched/no-resend-on-the-connection",
        V5,
        ["MQTT-4.4.0-1"],
        "a message is sent again on a new connection only"
    ),
    rule!(
        "watched/puback-answers",
        BOTH,
        [
            "MQTT-2.2.1-5",
            "MQTT-4.3.2-4",
            "MQTT-3.3.4-1",
            "MQTT3-2.3.1-6",
            "MQTT3-3.3.4-1",
            "MQTT3-4.3.2-2"
        ],
        "each PUBACK answers a message with its Packet Identifier"
    ),
    rule!(
        "watched/pubrec-answers",
        BOTH,
        ["MQTT-2.2.1-5", "MQTT-4.3.3-8", "MQTT3-2.3.1-6", "MQTT3-4.3.3-2"],
        "each PUBREC answers a message with its Packet Identifier"
    ),
    rule!(
        "watched/pubrel-answers",
        BOTH,
        ["MQTT-2.2.1-5", "MQTT-4.3.3-4", "MQTT3-2.3.1-6", "MQTT3-4.3.3-1"],
        "each PUBREL answers a PUBREC with its Packet Identifier"
    ),
    rule!(
        "watched/pubcomp-answers",
        BOTH,
        ["MQTT-2.2.1-5", "MQTT-4.3.3-11", "MQTT3-4.3.3-2"],
        "each PUBCOMP answers a PUBREL with its Packet Identifier"
    ),
    rule!(
        "watched/puback-order",
        BOTH,
        ["MQTT-4.6.0-2", "MQTT3-4.6.0-2"],
        "PUBACK comes in the order of the messages"
    ),
    rule!(
        "watched/pubrec-order",
        BOTH,
        ["MQTT-4.6.0-3", "MQTT3-4.6.0-3"],
        "PUBREC comes in the order of the messages"
    ),
    rule!(
        "watched/pubrel-order",
        BOTH,
        ["MQTT-4.6.0-4", "MQTT3-4.6.0-4"],
        "PUBREL comes in the order of PUBREC"
    ),
    rule!(
        "watched/receive-maximum",
        V5,
        ["MQTT-3.3.4-7", "MQTT-4.9.0-1", "MQTT-4.9.0-2"],
        "no more messages are under way than the Receive Maximum of CONNACK"
    ),
    rule!(
        "watched/maximum-packet-size",
        V5,
        [
            "MQTT-3.2.2-15",
            "MQTT-3.4.2-2",
            "MQTT-3.4.2-3",
            "MQTT-3.5.2-2",
            "MQTT-3.5.2-3",
            "MQTT-3.6.2-2",
            "MQTT-3.6.2-3",
            "MQTT-3.7.2-2",
            "MQTT-3.7.2-3",
            "MQTT-3.14.2-3",
            "MQTT-3.15.2-2",
            "MQTT-3.15.2-3",
            "MQTT-3.14.2-4"
        ],
        "no packet is larger than the Maximum Packet Size of CONNACK"
    ),
    rule!(
        "watched/maximum-qos",
        V5,
        ["MQTT-3.2.2-11"],
        "no message has a QoS above the Maximum QoS of CONNACK"
    ),
    rule!(
        "watched/retain-available",
        V5,
        ["MQTT-3.2.2-14"],
        "no message is retained where CONNACK says that none can be"
    ),
    rule!(
        "watched/topic-alias-maximum",
        V5,
        ["MQTT-3.2.2-17", "MQTT-3.2.2-18", "MQTT-3.3.2-9"],
        "no Topic Alias is above the Topic Alias Maximum of CONNACK"
    ),
    rule!(
        "watched/known-topic-alias",
        V5,
        ["MQTT-3.3.2-7"],
        "a Topic Alias without name was given one on the same connection"
    ),
    rule!(
        "watched/no-subscription-identifier",
        V5,
        ["MQTT-3.3.4-6"],
        "no message of the client has a Subscription Identifier"
    ),
    rule!(
        "watched/keep-alive",
        BOTH,
        ["MQTT-3.1.2-20", "MQTT-3.1.2-21", "MQTT3-3.1.2-23"],
        "something comes within the Keep Alive, where a connection lasts that long"
    ),
    rule!(
        "watched/nothing-after-disconnect",
        BOTH,
        ["MQTT-3.14.4-1", "MQTT3-3.14.4-2"],
        "nothing follows DISCONNECT"
    ),
    rule!(
        "watched/disconnect-code",
        V5,
        ["MQTT-3.14.2-1"],
        "DISCONNECT has a code that clients may send"
    ),
    rule!(
        "watched/auth-with-method",
        V5,
        ["MQTT-4.12.0-7"],
        "AUTH is sent only where CONNECT has a method"
    ),
    rule!(
        "watched/auth-same-method",
        V5,
        ["MQTT-4.12.0-5", "MQTT-4.12.1-1"],
        "AUTH has the method of CONNECT"
    ),
    rule!(
        "watched/auth-code",
        V5,
        ["MQTT-4.12.0-3", "MQTT-4.12.1-1"],
        "AUTH before CONNACK goes on with authentication"
    ),
    rule!(
        "watched/only-auth-before-connack",
        V5,
        ["MQTT-3.1.2-30"],
        "with a method only AUTH and DISCONNECT come before CONNACK"
    ),
];

fn kept(bench: &Bench, rule: &'static str) -> Verdict {
    let watched = bench.target().watched.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(breach) = watched.breach(bench.version(), rule) {
        return failed(breach.text.clone());
    }
    if watched.was_seen(bench.version(), rule) {
        return passed();
    }
    skipped("no connection gave occasion to break the rule")
}
