//! What is sent again when a session is gone on with, and in which order. Spec: §4.4, §4.6.

use super::message_steps::{
    ack, again, answers_only_ping, expect_unacknowledged, identifier_of, lasting_subscriber,
    numbers, only, resumed, resumed_with, same,
};
use super::{Bench, Check};
use crate::{BOTH, Peer, Stop, V5, Verdict, ensure, failed, passed};
use dunlin_codec::{Packet, PacketIdentifier, Publish, QoS};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "redelivery/qos-1",
        versions: BOTH,
        statements: &[
            "MQTT-4.4.0-1",
            "MQTT-3.3.1-1",
            "MQTT-4.3.2-3",
            "MQTT3-4.4.0-1",
            "MQTT3-3.3.1-1",
        ],
        looks_for: "a message without PUBACK is sent again with DUP 1 and its identifier",
        run: |bench| sent_again(bench, QoS::AtLeastOnce, Peer::abort),
    },
    Check {
        name: "redelivery/qos-2",
        versions: BOTH,
        statements: &[
            "MQTT-4.4.0-1",
            "MQTT-3.3.1-1",
            "MQTT-4.3.3-3",
            "MQTT3-4.4.0-1",
            "MQTT3-3.3.1-1",
        ],
        looks_for: "a message without PUBREC is sent again with DUP 1 and its identifier",
        run: |bench| sent_again(bench, QoS::ExactlyOnce, Peer::abort),
    },
    Check {
        name: "redelivery/after-disconnect",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT3-4.4.0-1", "MQTT3-3.3.1-1"],
        looks_for: "DISCONNECT acknowledges nothing: the message is sent again",
        run: |bench| {
            sent_again(bench, QoS::AtLeastOnce, |peer| {
                // Whether the server closes in time is for other checks.
                let _ = peer.disconnect();
            })
        },
    },
    Check {
        name: "redelivery/after-a-takeover",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-3.1.4-3", "MQTT3-4.4.0-1", "MQTT3-3.1.4-2"],
        looks_for: "a connection that takes over the session gets what was not acknowledged",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut old = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "x")?;
            let first = expect_unacknowledged(&mut old, "x")?;
            let second = resumed(bench, "sub")?.expect_message("x")?;
            same("what is sent again", &second, &again(first))?;
            passed()
        },
    },
    Check {
        name: "redelivery/each-time",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT3-4.4.0-1", "MQTT3-3.3.1-1"],
        looks_for: "a message is sent again on every connection until it is acknowledged",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "x")?;
            let first = expect_unacknowledged(&mut subscriber, "x")?;
            for _ in 0..3 {
                subscriber.abort();
                subscriber = resumed(bench, "sub")?;
                let second = expect_unacknowledged(&mut subscriber, "x")?;
                same("what is sent again", &second, &again(first.clone()))?;
            }
            subscriber.acknowledge(&first)?;
            subscriber.ping()?;
            subscriber.abort();
            answers_only_ping(&mut resumed(bench, "sub")?)?;
            passed()
        },
    },
    Check {
        name: "redelivery/order",
        versions: BOTH,
        statements: &["MQTT-4.6.0-1", "MQTT-4.4.0-1", "MQTT3-4.6.0-1", "MQTT3-4.4.0-1"],
        looks_for: "messages are sent again in the order of the first time",
        run: |bench| {
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                bench.can().need_qos(qos)?;
                let (first, mut subscriber) = unacknowledged(bench, &[qos], 6)?;
                for publish in first {
                    let second = subscriber.expect_publish()?;
                    same("what is sent again", &second, &again(publish))?;
                    subscriber.acknowledge(&second)?;
                }
                subscriber.disconnect()?;
            }
            passed()
        },
    },
    Check {
        name: "redelivery/not-what-was-acknowledged",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-4.4.0-2", "MQTT3-4.4.0-1", "MQTT3-4.3.2-1"],
        looks_for: "of several messages those are sent again that were not acknowledged, in order",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let first = receive(bench, &mut subscriber, &[QoS::AtLeastOnce], 6)?;
            for at in [1, 4, 2] {
                subscriber.acknowledge(&first[at])?;
            }
            subscriber.ping()?;
            subscriber.abort();
            let mut subscriber = resumed(bench, "sub")?;
            for at in [0, 3, 5] {
                let second = subscriber.expect_publish()?;
                same("what is sent again", &second, &again(first[at].clone()))?;
                subscriber.acknowledge(&second)?;
            }
            answers_only_ping(&mut subscriber)?;
            passed()
        },
    },
    Check {
        name: "redelivery/pubrel",
        versions: BOTH,
        statements: &[
            "MQTT-4.4.0-1",
            "MQTT-4.3.3-5",
            "MQTT-4.3.3-6",
            "MQTT3-4.4.0-1",
            "MQTT3-4.3.3-1",
        ],
        looks_for: "after PUBREC the next connection gets PUBREL, and never the PUBLISH",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "x")?;
            let id = identifier_of(&expect_unacknowledged(&mut subscriber, "x")?)?;
            subscriber.send(Packet::PubRec(ack(id)));
            subscriber.expect_pubrel(id)?;
            for _ in 0..2 {
                subscriber.abort();
                subscriber = resumed(bench, "sub")?;
                expect_pubrel_first(&mut subscriber, id)?;
            }
            subscriber.send(Packet::PubComp(ack(id)));
            subscriber.ping()?;
            subscriber.abort();
            answers_only_ping(&mut resumed(bench, "sub")?)?;
            passed()
        },
    },
    Check {
        name: "redelivery/pubrec-that-was-not-answered",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-4.3.3-4", "MQTT3-4.4.0-1", "MQTT3-4.3.3-1"],
        looks_for: "PUBREC for a message that was sent again is answered by PUBREL",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "x")?;
            let first = expect_unacknowledged(&mut subscriber, "x")?;
            subscriber.abort();
            let mut subscriber = resumed(bench, "sub")?;
            // The client had it, and does not wait for it to come again.
            subscriber.acknowledge(&first)?;
            let second = expect_unacknowledged(&mut subscriber, "x")?;
            same("what is sent again", &second, &again(first))?;
            subscriber.ping()?;
            passed()
        },
    },
    Check {
        name: "redelivery/several-pubrel-in-order",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-4.6.0-4", "MQTT3-4.4.0-1", "MQTT3-4.6.0-4"],
        looks_for: "several PUBREL are sent again, in their order, each once",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let first = receive(bench, &mut subscriber, &[QoS::ExactlyOnce], 4)?;
            let ids = first.iter().map(identifier_of).collect::<Result<Vec<_>, Stop>>()?;
            for id in &ids {
                subscriber.send(Packet::PubRec(ack(*id)));
                subscriber.expect_pubrel(*id)?;
            }
            subscriber.abort();
            let mut subscriber = resumed(bench, "sub")?;
            for id in &ids {
                expect_pubrel_first(&mut subscriber, *id)?;
                subscriber.send(Packet::PubComp(ack(*id)));
            }
            answers_only_ping(&mut subscriber)?;
            passed()
        },
    },
    Check {
        name: "redelivery/all-stages-at-once",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-4.6.0-1", "MQTT3-4.4.0-1", "MQTT3-4.6.0-1"],
        looks_for: "messages of QoS 1 and 2 and a PUBREL under way are all sent again",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let levels = [QoS::ExactlyOnce, QoS::AtLeastOnce];
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let first = receive(bench, &mut subscriber, &levels, 5)?;
            let id = identifier_of(&first[2])?;
            subscriber.send(Packet::PubRec(ack(id)));
            subscriber.expect_pubrel(id)?;
            subscriber.abort();
            let mut subscriber = resumed(bench, "sub")?;
            for at in [0, 1, 3, 4] {
                let second = subscriber.expect_publish()?;
                same("what is sent again", &second, &again(first[at].clone()))?;
            }
            subscriber.expect_pubrel(id)?;
            passed()
        },
    },
    Check {
        name: "redelivery/before-what-waited",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-4.6.0-5", "MQTT3-4.4.0-1", "MQTT3-4.6.0-6"],
        looks_for: "what is sent again comes first, and what waited comes with DUP 0 and another \
                    identifier",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let first = receive(bench, &mut subscriber, &[QoS::AtLeastOnce], 2)?;
            // Until it has closed, the server may send what comes next, and say DUP later.
            subscriber.disconnect()?;
            let mut publisher = bench.connect("later")?;
            for payload in ["3", "4"] {
                publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload)?;
            }
            let mut subscriber = resumed(bench, "sub")?;
            let mut used = Vec::new();
            for publish in first {
                let second = subscriber.expect_publish()?;
                same("what is sent again", &second, &again(publish))?;
                used.push(identifier_of(&second)?);
            }
            for payload in ["3", "4"] {
                let publish = expect_unacknowledged(&mut subscriber, payload)?;
                ensure(!publish.delivery.dup(), "DUP 0 expected; it is 1")?;
                let id = identifier_of(&publish)?;
                ensure(!used.contains(&id), format!("{id} is in use"))?;
                used.push(id);
            }
            passed()
        },
    },
    Check {
        name: "redelivery/not-after-a-clean-start",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-3.1.2-4", "MQTT3-4.4.0-1", "MQTT3-3.1.2-6"],
        looks_for: "a clean start is sent nothing of the old session",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let levels = [QoS::AtLeastOnce, QoS::ExactlyOnce];
            receive(bench, &mut subscriber, &levels, 4)?;
            subscriber.abort();
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "waits")?;
            let mut subscriber = bench.connect("sub")?;
            answers_only_ping(&mut subscriber)?;
            subscriber.subscribe(&bench.topic_filter("t"), QoS::AtLeastOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "redelivery/within-a-smaller-receive-maximum",
        versions: V5,
        statements: &["MQTT-3.3.4-9", "MQTT-4.4.0-1", "MQTT-4.9.0-1", "MQTT-4.6.0-1"],
        looks_for: "the Receive Maximum of the new connection holds also for what is sent again",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let first = receive(bench, &mut subscriber, &[QoS::AtLeastOnce], 4)?;
            subscriber.abort();
            let mut subscriber =
                resumed_with(bench, "sub", |properties| properties.receive_maximum = Some(1))?;
            for publish in first {
                let second = subscriber.expect_publish()?;
                same("what is sent again", &second, &again(publish))?;
                answers_only_ping(&mut subscriber)?;
                subscriber.acknowledge(&second)?;
            }
            answers_only_ping(&mut subscriber)?;
            passed()
        },
    },
];

/// PUBREL for this message comes next: no PUBLISH before it.
fn expect_pubrel_first(subscriber: &mut Peer, id: PacketIdentifier) -> Result<(), Stop> {
    match subscriber.next_packet()? {
        Some(Packet::PubRel(pubrel)) if pubrel.packet_identifier == id => Ok(()),
        other => failed(format!(
            "PUBREL for {id} expected; what comes is {}",
            crate::exchange::came(other)
        )),
    }
}

/// Messages with the payloads 1, 2, …, received and not acknowledged.
fn receive(
    bench: &Bench,
    subscriber: &mut Peer,
    levels: &[QoS],
    count: usize,
) -> Result<Vec<Publish>, Stop> {
    let mut publisher = bench.connect("pub")?;
    let mut publishes = Vec::new();
    for (payload, qos) in numbers(count).iter().zip(levels.iter().cycle()) {
        publisher.publish(&bench.topic_name("t"), *qos, payload.clone())?;
        publishes.push(expect_unacknowledged(subscriber, payload)?);
    }
    Ok(publishes)
}

/// The same, and the next connection of the session.
fn unacknowledged(
    bench: &Bench,
    levels: &[QoS],
    count: usize,
) -> Result<(Vec<Publish>, Peer), Stop> {
    let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
    let publishes = receive(bench, &mut subscriber, levels, count)?;
    subscriber.abort();
    Ok((publishes, resumed(bench, "sub")?))
}

/// One message that the end of the connection leaves unacknowledged.
fn sent_again(bench: &Bench, qos: QoS, end: fn(Peer)) -> Verdict {
    bench.can().need_qos(qos)?;
    let mut subscriber = lasting_subscriber(bench, "sub", "t", qos)?;
    bench.connect("pub")?.publish(&bench.topic_name("t"), qos, "x")?;
    let first = expect_unacknowledged(&mut subscriber, "x")?;
    ensure(!first.delivery.dup(), "DUP 0 expected the first time; it is 1")?;
    end(subscriber);
    let mut subscriber = resumed(bench, "sub")?;
    let second = subscriber.expect_message("x")?;
    same("what is sent again", &second, &again(first))?;
    answers_only_ping(&mut subscriber)?;
    passed()
}
