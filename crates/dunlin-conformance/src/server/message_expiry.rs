//! Message Expiry Interval: counted down while a message waits, and its end. Spec: §3.3.2.3.3.

use super::message_steps::{
    ack, expect_unacknowledged, lasting_subscriber, only, publish, resumed, resumed_with, same,
    sleeping_subscriber, subscriber, subscriber_with,
};
use super::retained::stored;
use super::{Bench, Check};
use crate::{Stop, V5, ensure, failed, message, passed, seen};
use dunlin_codec::{ConnectProperties, Packet, Publish, QoS, ReasonCode};
use std::time::Duration;

/// Longer than an interval of one second, also where the server counts in whole seconds.
const A_WHILE: Duration = Duration::from_millis(2500);

/// Seconds in which a message that is to be sent at once is sent, also on a busy machine.
const SOON: u32 = 3;

/// Longer than that.
const AFTER_SOON: Duration = Duration::from_millis(4500);

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "message-expiry/passed-on",
        versions: V5,
        statements: &["MQTT-3.3.2-6"],
        looks_for: "the interval passes on, less the time in the server",
        run: |bench| {
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            expiring(bench, 1000, "x", QoS::AtMostOnce, false)?;
            within(&subscriber.expect_message("x")?, 990..=1000)?;
            passed()
        },
    },
    Check {
        name: "message-expiry/absent",
        versions: V5,
        statements: &["MQTT-3.3.2-6"],
        looks_for: "a message without interval gets none",
        run: |bench| {
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            let interval = subscriber.expect_message("x")?.message_expiry_interval;
            same("the Message Expiry Interval", &interval, &None)?;
            passed()
        },
    },
    Check {
        name: "message-expiry/largest",
        versions: V5,
        statements: &["MQTT-3.3.2-6"],
        looks_for: "an interval of 0xFFFFFFFF seconds is a long time",
        run: |bench| {
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            expiring(bench, u32::MAX, "x", QoS::AtMostOnce, false)?;
            within(&subscriber.expect_message("x")?, u32::MAX - 10..=u32::MAX)?;
            passed()
        },
    },
    Check {
        name: "message-expiry/zero",
        versions: V5,
        statements: &["MQTT-3.3.2-5", "MQTT-3.3.2-6"],
        looks_for: "an interval of 0 is over at once, or just good enough",
        run: |bench| {
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            expiring(bench, 0, "x", QoS::AtMostOnce, false)?;
            expiring(bench, 1000, "marker", QoS::AtMostOnce, false)?;
            match subscriber.publishes_before(b"marker")?.as_slice() {
                [] => seen("a Message Expiry Interval of 0 is over at once"),
                [publish] => {
                    within(publish, 0..=0)?;
                    seen("a Message Expiry Interval of 0 is delivered at once")
                }
                _ => failed("one message at most expected; more come"),
            }
        },
    },
    Check {
        name: "message-expiry/reduced-by-waiting",
        versions: V5,
        statements: &["MQTT-3.3.2-6"],
        looks_for: "the time in a queue is taken off the interval",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            expiring(bench, 1000, "x", QoS::AtLeastOnce, false)?;
            bench.wait(A_WHILE);
            within(&resumed(bench, "sub")?.expect_message("x")?, 980..=998)?;
            passed()
        },
    },
    Check {
        name: "message-expiry/over-in-the-queue",
        versions: V5,
        statements: &["MQTT-3.3.2-5"],
        looks_for: "a message whose interval is over before it could be sent is not sent",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            expiring(bench, 1, "short", QoS::AtLeastOnce, false)?;
            expiring(bench, 1000, "long", QoS::AtLeastOnce, false)?;
            expiring(bench, 1, "short", QoS::AtLeastOnce, false)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            bench.wait(A_WHILE);
            only(&mut resumed(bench, "sub")?, "marker", &["long"])?;
            passed()
        },
    },
    Check {
        name: "message-expiry/over-for-one-of-two",
        versions: V5,
        statements: &["MQTT-3.3.2-5"],
        looks_for: "the end of the interval takes the waiting copy, not the one that was sent",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "away", "t", QoS::AtLeastOnce)?;
            let mut here = subscriber(bench, "here", "t", QoS::AtLeastOnce)?;
            expiring(bench, SOON, "short", QoS::AtLeastOnce, false)?;
            here.expect_message("short")?;
            bench.wait(AFTER_SOON);
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            only::<&str>(&mut resumed(bench, "away")?, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "message-expiry/over-behind-a-full-window",
        versions: V5,
        statements: &["MQTT-3.3.2-5", "MQTT-4.9.0-2"],
        looks_for: "a message whose interval is over while Receive Maximum holds it back is not \
                    sent",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let properties =
                ConnectProperties { receive_maximum: Some(1), ..ConnectProperties::default() };
            let mut subscriber = subscriber_with(bench, "sub", properties)?;
            expiring(bench, 1000, "first", QoS::AtLeastOnce, false)?;
            let first = expect_unacknowledged(&mut subscriber, "first")?;
            expiring(bench, 1, "short", QoS::AtLeastOnce, false)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            bench.wait(A_WHILE);
            subscriber.acknowledge(&first)?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "message-expiry/retained-reduced",
        versions: V5,
        statements: &["MQTT-3.3.2-6"],
        looks_for: "the time for which a message is retained is taken off the interval",
        run: |bench| {
            expiring(bench, 1000, "kept", QoS::AtMostOnce, true)?;
            bench.wait(A_WHILE);
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            within(&subscriber.expect_message("kept")?, 980..=998)?;
            passed()
        },
    },
    Check {
        name: "message-expiry/retained-over",
        versions: V5,
        statements: &["MQTT-3.3.2-5"],
        looks_for: "a retained message whose interval is over is not sent",
        run: |bench| {
            expiring(bench, 1, "short", QoS::AtMostOnce, true)?;
            bench.wait(A_WHILE);
            same("what is retained", &stored(bench, "t")?, &Vec::new())?;
            passed()
        },
    },
    Check {
        name: "message-expiry/not-of-a-message-that-was-sent",
        versions: V5,
        statements: &["MQTT-4.3.3-7", "MQTT-4.4.0-1"],
        looks_for: "a message of QoS 2 that was sent is sent again, though its interval is over",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            expiring(bench, SOON, "short", QoS::ExactlyOnce, false)?;
            expect_unacknowledged(&mut subscriber, "short")?;
            subscriber.abort();
            bench.wait(AFTER_SOON);
            let mut subscriber = resumed_with(bench, "sub", |_| ())?;
            let publish = subscriber.expect_message("short")?;
            ensure(publish.delivery.dup(), "DUP 1 expected; it is 0")?;
            passed()
        },
    },
    Check {
        name: "message-expiry/flow-goes-on",
        versions: V5,
        statements: &["MQTT-4.3.3-13"],
        looks_for: "a message of QoS 2 to the server is finished though its interval is over",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            let packet_identifier = publisher.new_packet_identifier();
            let topic_name = bench.topic_name("t");
            let packet = publish(&topic_name, QoS::ExactlyOnce, packet_identifier.value(), "short");
            publisher.send(Publish { message_expiry_interval: Some(1), ..packet });
            publisher.expect_pubrec(packet_identifier)?;
            bench.wait(A_WHILE);
            publisher.send(Packet::PubRel(ack(packet_identifier)));
            let pubcomp = publisher.expect_pubcomp(packet_identifier)?;
            same("the Reason Code", &pubcomp.reason_code, &ReasonCode::Success)?;
            passed()
        },
    },
];

/// Publishes a message with this interval.
fn expiring(
    bench: &Bench,
    seconds: u32,
    payload: &str,
    qos: QoS,
    retain: bool,
) -> Result<(), Stop> {
    if retain {
        bench.can().need_retain()?;
    }
    let publish = message(&bench.topic_name("t"), payload.to_owned());
    let publish = Publish { message_expiry_interval: Some(seconds), retain, ..publish };
    let mut publisher = bench.connect("expiring")?;
    publisher.publish_message(publish, qos)?;
    publisher.ping()
}

fn within(publish: &Publish, allowed: std::ops::RangeInclusive<u32>) -> Result<(), Stop> {
    let interval = publish.message_expiry_interval;
    let (low, high) = (allowed.start(), allowed.end());
    ensure(
        interval.is_some_and(|interval| allowed.contains(&interval)),
        format!("a Message Expiry Interval from {low} to {high} expected; it is {interval:?}"),
    )
}
