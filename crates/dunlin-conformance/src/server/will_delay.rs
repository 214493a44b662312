//! The Will Delay Interval: the Will waits for the client, and for how long. Spec: §3.1.3.2.2.

use super::wills::{WILL, client_and_watch, nothing, plain};
use super::{Bench, Check};
use crate::{V5, ensure, passed};
use dunlin_codec::{Connect, ConnectProperties};
use std::time::Duration;

const DELAYED: &[&str] = &["MQTT-3.1.2-8", "MQTT-3.1.2-7"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "will-delay/after-its-interval",
        versions: V5,
        statements: DELAYED,
        looks_for: "the Will is published after the Will Delay Interval, and not before",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, delayed(bench, 2, 300))?;
            client.abort();
            nothing(bench, &mut watch, "the Will Delay Interval is not over")?;
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "will-delay/ends-by-reconnect",
        versions: V5,
        statements: &["MQTT-3.1.3-9", "MQTT-3.1.2-8"],
        looks_for: "the Will is not published when the session goes on within the Will Delay Interval",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, delayed(bench, 1, 300))?;
            client.abort();
            let (mut client, connack) = bench.connect_with("client", bench.persistent("client"))?;
            ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
            bench.wait(Duration::from_secs(3));
            client.ping()?;
            nothing(bench, &mut watch, "the client had come back in time")
        },
    },
    Check {
        name: "will-delay/ends-with-the-session",
        versions: V5,
        statements: DELAYED,
        looks_for: "the Will is published when the session expires before the Will Delay Interval",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, delayed(bench, 3600, 1))?;
            client.abort();
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "will-delay/without-a-session",
        versions: V5,
        statements: DELAYED,
        looks_for: "the Will is published at once when the session ends with its connection",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, delayed(bench, 3600, 0))?;
            client.abort();
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "will-delay/ends-by-a-clean-start",
        versions: V5,
        statements: &["MQTT-3.1.2-8", "MQTT-3.1.2-4"],
        looks_for: "the Will is published when a clean start ends the session within the delay",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, delayed(bench, 3600, 300))?;
            client.abort();
            bench.connect("client")?.ping()?;
            watch.expect_message(WILL)?;
            passed()
        },
    },
    Check {
        name: "will-delay/ends-by-takeover",
        versions: V5,
        statements: &["MQTT-3.1.3-9", "MQTT-3.1.2-8"],
        looks_for: "a takeover that goes on with the session takes a delayed Will away",
        run: |bench| {
            let (mut client, mut watch) = client_and_watch(bench, delayed(bench, 1, 300))?;
            let (mut new, _) = bench.connect_with("client", bench.persistent("client"))?;
            client.expect_closed()?;
            bench.wait(Duration::from_secs(3));
            new.ping()?;
            nothing(bench, &mut watch, "the session goes on")
        },
    },
    Check {
        name: "will-delay/ends-by-disconnect",
        versions: V5,
        statements: &["MQTT-3.14.4-3", "MQTT-3.1.2-10"],
        looks_for: "DISCONNECT 0x00 takes a delayed Will away",
        run: |bench| {
            let (client, mut watch) = client_and_watch(bench, delayed(bench, 1, 300))?;
            client.disconnect()?;
            bench.wait(Duration::from_secs(3));
            nothing(bench, &mut watch, "DISCONNECT takes the Will away")
        },
    },
];

/// Seconds of Will Delay Interval and of Session Expiry Interval.
fn delayed(bench: &Bench, delay: u32, expiry: u32) -> Connect {
    let mut connect = Connect {
        properties: ConnectProperties {
            session_expiry_interval: Some(expiry),
            ..ConnectProperties::default()
        },
        ..plain(bench)
    };
    if let Some(will) = &mut connect.will {
        will.properties.will_delay_interval = Some(delay);
    }
    connect
}
