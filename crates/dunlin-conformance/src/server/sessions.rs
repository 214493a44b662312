//! Session State: what is kept, how long, and for whom. Spec: §4.1, §3.1.2.4, §3.1.2.11.2.

use super::steps::{messages_so_far, only_the_marker, payloads};
use super::subscription_identifiers::identified;
use super::{Bench, Check};
use crate::{BOTH, Stop, V5, Verdict, ensure, message, passed, seen};
use dunlin_codec::{
    ConnAck, Connect, ConnectProperties, Publish, QoS, Subscription, SubscriptionOptions, Text,
};
use std::time::Duration;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "sessions/kept-while-connected",
        versions: V5,
        statements: &["MQTT-4.1.0-1"],
        looks_for: "the Session Expiry Interval does not run while the client is connected",
        run: |bench| {
            let (mut peer, _) = bench.connect_with("client", expiring_in(bench, 1))?;
            peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            bench.wait(Duration::from_secs(3));
            peer.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            peer.expect_message("x")?;
            peer.disconnect()?;
            present(bench, bench.persistent("client"), true)?;
            passed()
        },
    },
    Check {
        name: "sessions/subscriptions-end-with-it",
        versions: V5,
        statements: &["MQTT-4.1.0-2", "MQTT-3.1.2-23"],
        looks_for: "a session that expired has left no subscriptions and no messages",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
            let (mut peer, _) = bench.connect_with("client", expiring_in(bench, 1))?;
            peer.subscribe(&filter, QoS::AtLeastOnce)?;
            peer.abort();
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "while away")?;
            bench.wait(Duration::from_secs(3));
            let (mut peer, connack) = bench.connect_with("client", bench.persistent("client"))?;
            ensure(!connack.session_present, "Session Present 0 expected; CONNACK says 1")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "without a subscription")?;
            peer.subscribe(&filter, QoS::AtLeastOnce)?;
            let why = "the session expired";
            only_the_marker(&mut publisher, &mut peer, &topic_name, QoS::AtLeastOnce, why)?;
            passed()
        },
    },
    Check {
        name: "sessions/for-ever",
        versions: V5,
        statements: &["MQTT-3.1.2-23"],
        looks_for: "a Session Expiry Interval of 0xFFFFFFFF keeps the session",
        run: |bench| {
            present(bench, expiring_in(bench, u32::MAX), false)?;
            present(bench, bench.persistent("client"), true)?;
            passed()
        },
    },
    Check {
        name: "sessions/interval-of-the-last-connection",
        versions: V5,
        statements: &["MQTT-3.1.2-23", "MQTT-4.1.0-2"],
        looks_for: "the Session Expiry Interval is that of the last CONNECT, not of the first",
        run: |bench| {
            present(bench, bench.persistent("client"), false)?;
            let ends_at_once = Connect { clean_start: false, ..bench.connect_packet("client") };
            present(bench, ends_at_once, true)?;
            present(bench, bench.persistent("client"), false)?;
            passed()
        },
    },
    Check {
        name: "sessions/taken-over",
        versions: BOTH,
        statements: &["MQTT-3.1.4-3", "MQTT-3.1.2-5", "MQTT3-3.1.4-2", "MQTT3-3.1.2-4"],
        looks_for: "a takeover goes on with the session: subscriptions, and messages that wait",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let (mut old, _) = bench.connect_with("client", bench.persistent("client"))?;
            old.subscribe(&bench.topic_filter("t"), QoS::AtLeastOnce)?;
            let (mut new, connack) = bench.connect_with("client", bench.persistent("client"))?;
            ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
            old.expect_closed()?;
            new.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "x")?;
            new.expect_message("x")?;
            passed()
        },
    },
    Check {
        name: "sessions/taken-over-many-times",
        versions: BOTH,
        statements: &["MQTT-3.1.4-3", "MQTT-3.1.2-5", "MQTT3-3.1.4-2", "MQTT3-3.1.2-4"],
        looks_for: "of many connections with one Client Identifier the last one has the session",
        run: |bench| {
            let connect = || bench.connect_with("client", bench.persistent("client"));
            let (mut last, _) = connect()?;
            last.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            for _ in 0..10 {
                let (new, connack) = connect()?;
                ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
                last.expect_closed()?;
                last = new;
            }
            last.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            last.publish(&bench.topic_name("t"), QoS::AtMostOnce, "end")?;
            let came = payloads(&last.publishes_before(b"end")?);
            ensure(came == ["x"], format!("one message expected; came {came:?}"))?;
            passed()
        },
    },
    Check {
        name: "sessions/one-for-each-client-identifier",
        versions: BOTH,
        statements: &["MQTT-3.1.3-2", "MQTT3-3.1.3-2", "MQTT3-4.1.0-2"],
        looks_for: "Client Identifiers that differ in their case, or at their end, are two sessions",
        run: |bench| {
            let mut peers = Vec::new();
            for name in ["abc", "ABC", "abcd"] {
                let (mut peer, connack) = bench.connect_with(name, bench.persistent(name))?;
                ensure(!connack.session_present, format!("{name} is new; Session Present is 1"))?;
                peer.subscribe(&bench.topic_filter(name), QoS::AtMostOnce)?;
                peers.push((name, peer));
            }
            for (name, peer) in &mut peers {
                peer.publish(&bench.topic_name(name), QoS::AtMostOnce, *name)?;
                peer.expect_message(*name)?;
            }
            passed()
        },
    },
    Check {
        name: "sessions/options-are-kept",
        versions: V5,
        statements: &["MQTT-3.1.2-5", "MQTT-4.1.0-1", "MQTT-3.3.1-13", "MQTT-3.8.3-3"],
        looks_for: "a session keeps No Local, Retain As Published and the QoS of its subscriptions",
        run: options_are_kept,
    },
    Check {
        name: "sessions/retained-messages-are-not-part-of-it",
        versions: BOTH,
        statements: &["MQTT-3.3.1-5", "MQTT3-3.1.2-7"],
        looks_for: "a retained message stays when the session of its publisher ends",
        run: |bench| {
            bench.can().need_retain()?;
            let mut publisher = bench.connect("pub")?;
            let retained = Publish { retain: true, ..message(&bench.topic_name("t"), "stays") };
            publisher.publish_message(retained, QoS::AtMostOnce)?;
            publisher.disconnect()?;
            // A clean start under the same name ends whatever was left.
            bench.connect("pub")?.disconnect()?;
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            peer.expect_message("stays")?;
            passed()
        },
    },
    Check {
        name: "sessions/messages-while-away",
        versions: BOTH,
        statements: &[
            "MQTT-4.5.0-1",
            "MQTT-3.1.2-23",
            "MQTT3-3.1.2-5",
            "MQTT3-4.5.0-1",
            "MQTT3-4.1.0-1",
        ],
        looks_for: "messages of QoS 1 and 2 wait for a session that is away, in their order",
        run: while_away,
    },
    Check {
        name: "sessions/qos-0-while-away",
        versions: BOTH,
        statements: &["MQTT-3.1.2-5", "MQTT3-3.1.2-5"],
        looks_for: "messages of QoS 0 may wait for a session that is away, or not",
        run: |bench| {
            let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
            let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            peer.subscribe(&filter, QoS::AtMostOnce)?;
            peer.disconnect()?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&topic_name, QoS::AtMostOnce, "while away")?;
            publisher.ping()?;
            let (mut peer, connack) = bench.connect_with("client", bench.persistent("client"))?;
            ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
            let came = messages_so_far(&mut publisher, &mut peer, &topic_name, QoS::AtMostOnce)?;
            match payloads(&came).as_slice() {
                [] => seen("QoS 0 does not wait"),
                [one] if one == "while away" => seen("QoS 0 waits"),
                other => crate::failed(format!("one message or none expected; came {other:?}")),
            }
        },
    },
    Check {
        name: "sessions/subscription-identifiers-are-its-own",
        versions: V5,
        statements: &["MQTT-3.1.3-2", "MQTT-3.1.2-5"],
        looks_for: "a Subscription Identifier belongs to one session, and others do not see it",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            identified(&mut peer, &bench.topic_filter("t"), 5)?;
            let mut other = bench.connect("other")?;
            other.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            other.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            let (own, its) = (peer.expect_message("x")?, other.expect_message("x")?);
            let count = (own.subscription_identifiers.len(), its.subscription_identifiers.len());
            ensure(
                count == (1, 0),
                format!("one Subscription Identifier and none expected; came {count:?}"),
            )?;
            passed()
        },
    },
    Check {
        name: "sessions/client-identifier-of-any-characters",
        versions: BOTH,
        statements: &["MQTT-3.1.3-2", "MQTT3-3.1.3-2"],
        looks_for: "a Client Identifier beyond letters and digits names a session, or is refused",
        run: |bench| {
            let identifier = format!("{}/é🦆+#$", bench.client_identifier("client"));
            let identifier: Text = identifier.parse().expect("a text");
            let connect = Connect { client_identifier: identifier, ..bench.persistent("client") };
            let mut peer = bench.open("client")?;
            peer.send(connect.clone());
            let connack = peer.expect_connack()?;
            if connack.reason_code.is_error() {
                return seen(format!("refuses it: {}", connack.reason_code));
            }
            peer.disconnect()?;
            let (peer, connack) = bench.connect_with("client", connect.clone())?;
            ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
            peer.disconnect()?;
            seen("takes it")
        },
    },
];

fn expiring_in(bench: &Bench, seconds: u32) -> Connect {
    let properties = ConnectProperties {
        session_expiry_interval: Some(seconds),
        ..ConnectProperties::default()
    };
    Connect { properties, ..bench.persistent("client") }
}

/// Connects, looks at Session Present, and disconnects.
fn present(bench: &Bench, connect: Connect, expected: bool) -> Result<ConnAck, Stop> {
    let (peer, connack) = bench.connect_with("client", connect)?;
    let (expected, came) = (u8::from(expected), u8::from(connack.session_present));
    ensure(came == expected, format!("Session Present {expected} expected; CONNACK says {came}"))?;
    peer.disconnect()?;
    Ok(connack)
}

fn options_are_kept(bench: &mut Bench) -> Verdict {
    let topic_name = bench.topic_name("t");
    let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
    let options = SubscriptionOptions {
        no_local: true,
        retain_as_published: true,
        ..SubscriptionOptions::default()
    };
    peer.subscribe_to([Subscription { topic_filter: bench.topic_filter("t"), options }])?;
    peer.disconnect()?;
    let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
    peer.publish(&topic_name, QoS::AtMostOnce, "mine")?;
    peer.ping()?;
    let mut publisher = bench.connect("pub")?;
    let flagged = Publish { retain: bench.can().retain, ..message(&topic_name, "of another") };
    publisher.publish_message(flagged, bench.can().maximum_qos)?;
    let came = peer.expect_message("of another")?;
    ensure(came.retain == bench.can().retain, "RETAIN as published expected; it is cleared")?;
    ensure(came.delivery.qos() == QoS::AtMostOnce, "QoS 0 was granted; the message has another")?;
    passed()
}

fn while_away(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::AtLeastOnce)?;
    let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
    let qos = bench.can().maximum_qos;
    let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
    peer.subscribe(&filter, qos)?;
    peer.abort();
    let mut publisher = bench.connect("pub")?;
    let sent: Vec<String> = (0..15).map(|number| format!("message {number}")).collect();
    for payload in &sent {
        publisher.publish(&topic_name, qos, payload.clone())?;
    }
    let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
    for payload in &sent {
        peer.expect_message(payload)?;
    }
    passed()
}
