//! CONNACK: Session Present tells the truth. Spec: §3.2, §3.1.2.4.

use super::{Bench, Check};
use crate::{BOTH, Stop, V3, V5, ensure, passed};
use dunlin_codec::{Connect, ConnectProperties, QoS};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "connack/no-session-at-first",
        versions: BOTH,
        statements: &["MQTT-3.2.2-3", "MQTT-3.1.2-6", "MQTT3-3.2.2-3"],
        looks_for: "Session Present is 0 where there was no session",
        run: |bench| {
            session_present(bench, bench.persistent("client"), false)?;
            passed()
        },
    },
    Check {
        name: "connack/session-present",
        versions: BOTH,
        statements: &["MQTT-3.1.2-5", "MQTT-3.2.2-3", "MQTT-3.1.2-23", "MQTT3-3.2.2-2"],
        looks_for: "Session Present is 1 where the session was kept",
        run: |bench| {
            session_present(bench, bench.persistent("client"), false)?;
            session_present(bench, bench.persistent("client"), true)?;
            passed()
        },
    },
    Check {
        name: "connack/session-present-after-abort",
        versions: BOTH,
        statements: &["MQTT-3.1.2-5", "MQTT-3.2.2-3", "MQTT-3.1.2-23", "MQTT3-3.2.2-2"],
        looks_for: "Session Present is 1 after a connection that broke",
        run: |bench| {
            let (peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            peer.abort();
            session_present(bench, bench.persistent("client"), true)?;
            passed()
        },
    },
    Check {
        name: "connack/clean-start-discards",
        versions: BOTH,
        statements: &[
            "MQTT-3.1.2-4",
            "MQTT-3.1.4-4",
            "MQTT-3.2.2-2",
            "MQTT3-3.1.2-6",
            "MQTT3-3.1.4-3",
            "MQTT3-3.2.2-1",
        ],
        looks_for: "a clean start finds no session, and leaves nothing of the old one",
        run: |bench| {
            let (mut old, _) = bench.connect_with("client", bench.persistent("client"))?;
            old.subscribe(&bench.topic_filter("t"), QoS::AtLeastOnce)?;
            old.disconnect()?;
            let connect = Connect { clean_start: true, ..bench.persistent("client") };
            let (mut peer, connack) = bench.connect_with("client", connect)?;
            ensure(!connack.session_present, "Session Present 0 expected; CONNACK says 1")?;
            // The subscription is gone: of two messages only the one after a new one comes.
            let topic_name = bench.topic_name("t");
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "lost")?;
            peer.subscribe(&bench.topic_filter("t"), QoS::AtLeastOnce)?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "marker")?;
            let before = peer.publishes_before(b"marker")?;
            ensure(before.is_empty(), "a subscription of the discarded session still delivers")?;
            passed()
        },
    },
    Check {
        name: "connack/subscription-resumed",
        versions: BOTH,
        statements: &["MQTT-3.1.2-5", "MQTT-4.1.0-1", "MQTT3-3.1.2-4", "MQTT3-3.1.2-5"],
        looks_for: "a session that is gone on with has its subscriptions and its messages",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let topic_name = bench.topic_name("t");
            let (mut old, _) = bench.connect_with("client", bench.persistent("client"))?;
            old.subscribe(&bench.topic_filter("t"), QoS::AtLeastOnce)?;
            old.disconnect()?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "while away")?;
            let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            peer.expect_message("while away")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "while here")?;
            peer.expect_message("while here")?;
            passed()
        },
    },
    Check {
        name: "connack/session-ends-with-its-connection",
        versions: V5,
        statements: &["MQTT-3.2.2-3", "MQTT-3.1.2-23"],
        looks_for: "without Session Expiry Interval no session outlives its connection",
        run: |bench| {
            session_present(bench, bench.connect_packet("client"), false)?;
            session_present(bench, bench.persistent("client"), false)?;
            passed()
        },
    },
    Check {
        name: "connack/clean-session-is-not-kept",
        versions: V3,
        statements: &["MQTT3-3.1.2-6", "MQTT3-3.2.2-3"],
        looks_for: "a session that began with Clean Session is not gone on with",
        run: |bench| {
            session_present(bench, bench.connect_packet("client"), false)?;
            session_present(bench, bench.persistent("client"), false)?;
            passed()
        },
    },
    Check {
        name: "connack/session-expires",
        versions: V5,
        statements: &["MQTT-3.1.2-23", "MQTT-3.2.2-3"],
        looks_for: "a Session Expiry Interval of one second is over after a while",
        run: |bench| {
            let properties = ConnectProperties {
                session_expiry_interval: Some(1),
                ..ConnectProperties::default()
            };
            let connect = Connect { properties, ..bench.persistent("client") };
            session_present(bench, connect, false)?;
            bench.wait(std::time::Duration::from_secs(3));
            session_present(bench, bench.persistent("client"), false)?;
            passed()
        },
    },
];

/// Connects, looks at Session Present, and disconnects.
fn session_present(bench: &Bench, connect: Connect, expected: bool) -> Result<(), Stop> {
    let (peer, connack) = bench.connect_with("client", connect)?;
    let (expected, came) = (u8::from(expected), u8::from(connack.session_present));
    ensure(came == expected, format!("Session Present {expected} expected; CONNACK says {came}"))?;
    peer.disconnect()
}
