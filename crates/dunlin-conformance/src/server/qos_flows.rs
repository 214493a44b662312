//! The flows of QoS 1 and 2, to the server. Spec: §4.3, §2.2.1.

use super::message_steps::{
    ack, again, identifier, lasting_subscriber, numbers, only, publish, resumed, same, subscriber,
};
use super::{Bench, Check};
use crate::{BOTH, Peer, Stop, Verdict, ensure, failed, passed, seen};
use dunlin_codec::{Packet, QoS, ReasonCode};

const RECEIVER_QOS_2: &[&str] = &["MQTT-4.3.3-10", "MQTT-4.3.3-8", "MQTT3-4.3.3-2"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "qos-flows/qos-1-same-identifier-is-new",
        versions: BOTH,
        statements: &["MQTT-4.3.2-5", "MQTT3-4.3.2-2"],
        looks_for: "after PUBACK the same Packet Identifier is a new message, also with DUP 1",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            let packet = |payload: &'static str| publish(&topic_name, QoS::AtLeastOnce, 5, payload);
            for packet in [packet("1"), packet("2"), again(packet("2")), again(packet("3"))] {
                publisher.send(packet);
                publisher.expect_puback(identifier(5))?;
            }
            publisher.publish(&topic_name, QoS::AtLeastOnce, "marker")?;
            only(&mut subscriber, "marker", &["1", "2", "2", "3"])?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-2-repeated-before-pubrel",
        versions: BOTH,
        statements: RECEIVER_QOS_2,
        looks_for: "a PUBLISH of QoS 2 that is repeated is answered each time and delivered once",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            let packet = publish(&topic_name, QoS::ExactlyOnce, 5, "once");
            for packet in [packet.clone(), again(packet.clone()), again(packet)] {
                publisher.send(packet);
                let pubrec = publisher.expect_pubrec(identifier(5))?;
                ensure(!pubrec.reason_code.is_error(), "PUBREC with Success expected")?;
            }
            release(&mut publisher, 5)?;
            publisher.publish(&topic_name, QoS::ExactlyOnce, "marker")?;
            only(&mut subscriber, "marker", &["once"])?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-2-repeated-on-a-new-connection",
        versions: BOTH,
        statements: &["MQTT-4.3.3-10", "MQTT-4.1.0-1", "MQTT3-4.3.3-2", "MQTT3-4.4.0-1"],
        looks_for: "a PUBLISH of QoS 2 that is repeated on the next connection is delivered once",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let (mut publisher, _) = bench.connect_with("pub", bench.persistent("pub"))?;
            let packet = publish(&topic_name, QoS::ExactlyOnce, 5, "once");
            publisher.send(packet.clone());
            publisher.expect_pubrec(identifier(5))?;
            publisher.abort();
            let mut publisher = resumed(bench, "pub")?;
            publisher.send(again(packet));
            publisher.expect_pubrec(identifier(5))?;
            release(&mut publisher, 5)?;
            publisher.publish(&topic_name, QoS::ExactlyOnce, "marker")?;
            only(&mut subscriber, "marker", &["once"])?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-2-released-on-a-new-connection",
        versions: BOTH,
        statements: &["MQTT-4.3.3-11", "MQTT-4.1.0-1", "MQTT3-4.3.3-2", "MQTT3-4.4.0-1"],
        looks_for: "PUBREL on the next connection is answered, and the message is delivered once",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let (mut publisher, _) = bench.connect_with("pub", bench.persistent("pub"))?;
            publisher.send(publish(&topic_name, QoS::ExactlyOnce, 5, "once"));
            publisher.expect_pubrec(identifier(5))?;
            publisher.abort();
            let mut publisher = resumed(bench, "pub")?;
            release(&mut publisher, 5)?;
            publisher.publish(&topic_name, QoS::ExactlyOnce, "marker")?;
            only(&mut subscriber, "marker", &["once"])?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-2-pubrel-repeated",
        versions: BOTH,
        statements: &["MQTT-4.3.3-11", "MQTT-3.7.2-1", "MQTT3-4.3.3-2"],
        looks_for: "PUBREL that is repeated is answered by PUBCOMP, and delivers nothing again",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let (mut publisher, _) = bench.connect_with("pub", bench.persistent("pub"))?;
            publisher.send(publish(&topic_name, QoS::ExactlyOnce, 5, "once"));
            publisher.expect_pubrec(identifier(5))?;
            release(&mut publisher, 5)?;
            publisher.abort();
            let mut publisher = resumed(bench, "pub")?;
            publisher.send(Packet::PubRel(ack(identifier(5))));
            let code = publisher.expect_pubcomp(identifier(5))?.reason_code;
            let allowed = [ReasonCode::Success, ReasonCode::PacketIdentifierNotFound];
            ensure(allowed.contains(&code), format!("PUBCOMP says {code}"))?;
            publisher.publish(&topic_name, QoS::ExactlyOnce, "marker")?;
            only(&mut subscriber, "marker", &["once"])?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-2-identifier-is-new-after-pubcomp",
        versions: BOTH,
        statements: &["MQTT-4.3.3-12", "MQTT3-4.3.3-2"],
        looks_for: "after PUBCOMP the same Packet Identifier is a new message, also with DUP 1",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            let packet = |payload: &'static str| publish(&topic_name, QoS::ExactlyOnce, 5, payload);
            for packet in [packet("1"), packet("2"), again(packet("2"))] {
                publisher.send(packet);
                publisher.expect_pubrec(identifier(5))?;
                release(&mut publisher, 5)?;
            }
            publisher.publish(&topic_name, QoS::ExactlyOnce, "marker")?;
            only(&mut subscriber, "marker", &["1", "2", "2"])?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-2-forgotten-with-the-session",
        versions: BOTH,
        statements: &["MQTT-4.3.3-12", "MQTT-3.1.2-4", "MQTT3-4.3.3-2", "MQTT3-3.1.2-6"],
        looks_for: "after a clean start an unfinished Packet Identifier is a new message",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let (mut publisher, _) = bench.connect_with("pub", bench.persistent("pub"))?;
            publisher.send(publish(&topic_name, QoS::ExactlyOnce, 5, "old"));
            publisher.expect_pubrec(identifier(5))?;
            publisher.disconnect()?;
            let mut publisher = bench.connect("pub")?;
            publisher.send(publish(&topic_name, QoS::ExactlyOnce, 5, "new"));
            publisher.expect_pubrec(identifier(5))?;
            release(&mut publisher, 5)?;
            publisher.publish(&topic_name, QoS::ExactlyOnce, "marker")?;
            let came = subscriber.publishes_before(b"marker")?;
            match super::message_steps::texts(&came).join(" ").as_str() {
                "new" => seen("a message of QoS 2 is passed on at PUBREL"),
                "old new" => seen("a message of QoS 2 is passed on at PUBREC"),
                other => failed(format!("the message \"new\" expected; what comes is {other:?}")),
            }
        },
    },
    Check {
        name: "qos-flows/qos-2-many-under-way",
        versions: BOTH,
        statements: &[
            "MQTT-4.3.3-8",
            "MQTT-4.3.3-11",
            "MQTT-4.6.0-3",
            "MQTT3-4.3.3-2",
            "MQTT3-4.6.0-3",
        ],
        looks_for: "twenty messages of QoS 2 at once are each taken once; PUBREC come in order",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let count = 20.min(bench.can().receive_maximum);
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            for id in 1..=count {
                publisher.send(publish(&topic_name, QoS::ExactlyOnce, id, id.to_string()));
            }
            for id in 1..=count {
                publisher.expect_pubrec(identifier(id))?;
            }
            for id in 1..=count {
                publisher.send(Packet::PubRel(ack(identifier(id))));
            }
            for id in 1..=count {
                publisher.expect_pubcomp(identifier(id))?;
            }
            publisher.publish(&topic_name, QoS::ExactlyOnce, "marker")?;
            only(&mut subscriber, "marker", &numbers(usize::from(count)))?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-1-and-2-side-by-side",
        versions: BOTH,
        statements: &["MQTT-3.3.4-1", "MQTT-4.3.3-8", "MQTT3-3.3.4-1", "MQTT3-4.3.3-2"],
        looks_for: "messages of QoS 1 and PINGREQ are answered within an unfinished flow of QoS 2",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut publisher = bench.connect("pub")?;
            publisher.send(publish(&topic_name, QoS::ExactlyOnce, 1, "two"));
            publisher.send(publish(&topic_name, QoS::AtLeastOnce, 2, "one"));
            publisher.ping()?;
            publisher.expect_pubrec(identifier(1))?;
            publisher.expect_puback(identifier(2))?;
            release(&mut publisher, 1)?;
            passed()
        },
    },
    Check {
        name: "qos-flows/qos-2-when-passed-on",
        versions: BOTH,
        statements: &["MQTT-4.3.3-8", "MQTT3-4.3.3-2"],
        looks_for: "a message of QoS 2 is passed on at PUBREC or at PUBREL",
        run: when_passed_on,
    },
];

/// PUBREL, up to PUBCOMP with Success.
fn release(publisher: &mut Peer, id: u16) -> Result<(), Stop> {
    publisher.send(Packet::PubRel(ack(identifier(id))));
    let code = publisher.expect_pubcomp(identifier(id))?.reason_code;
    same("the Reason Code of PUBCOMP", &code, &ReasonCode::Success)
}

fn when_passed_on(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::ExactlyOnce)?;
    let topic_name = bench.topic_name("t");
    let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
    let mut publisher = bench.connect("pub")?;
    publisher.send(publish(&topic_name, QoS::ExactlyOnce, 5, "x"));
    publisher.expect_pubrec(identifier(5))?;
    // QoS 0 has no business to wait for QoS 2.
    publisher.publish(&topic_name, QoS::AtMostOnce, "between")?;
    let before = subscriber.publishes_before(b"between")?.len();
    release(&mut publisher, 5)?;
    publisher.publish(&topic_name, QoS::AtMostOnce, "marker")?;
    let after = subscriber.publishes_before(b"marker")?.len();
    match (before, after) {
        (1, 0) => seen("a message of QoS 2 is passed on at PUBREC"),
        (0, 1) => seen("a message of QoS 2 is passed on at PUBREL"),
        _ => failed(format!("one message expected; {before} come before PUBREL, {after} after")),
    }
}
