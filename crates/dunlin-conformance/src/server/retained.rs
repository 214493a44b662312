//! Retained messages: kept, replaced, removed, and sent to new subscriptions. Spec: §3.3.1.3.

use super::message_steps::{
    EACH_QOS, numbers, only, publish, resumed, same, sleeping_subscriber, subscriber, text,
};
use super::{Bench, Check};
use crate::{BOTH, Peer, Stop, V3, Verdict, ensure, message, passed, seen};
use dunlin_codec::{Packet, Publish, QoS};
use std::collections::BTreeMap;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "retained/sent-to-a-new-subscription",
        versions: BOTH,
        statements: &["MQTT-3.3.1-5", "MQTT-3.3.1-9", "MQTT3-3.3.1-6", "MQTT3-3.3.1-8"],
        looks_for: "a subscription gets the retained message, with RETAIN 1",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let publish = subscriber.expect_message("kept")?;
            ensure(publish.retain, "RETAIN 1 expected; it is 0")?;
            same("the Topic Name", &publish.topic.name(), &Some(&bench.topic_name("t")))?;
            passed()
        },
    },
    Check {
        name: "retained/live-without-the-flag",
        versions: BOTH,
        statements: &["MQTT-3.3.1-12", "MQTT3-3.3.1-9"],
        looks_for: "a subscription that is there gets the message as it is published, with RETAIN 0",
        run: |bench| {
            bench.can().need_retain()?;
            for qos in EACH_QOS.into_iter().filter(|qos| *qos <= bench.can().maximum_qos) {
                let mut subscriber = subscriber(bench, "sub", "t", qos)?;
                // What an earlier turn left here comes first.
                if qos != QoS::AtMostOnce {
                    subscriber.expect_message("live")?;
                }
                retain(bench, "t", qos, "live")?;
                let publish = subscriber.expect_message("live")?;
                ensure(!publish.retain, format!("RETAIN 0 expected with {qos:?}; it is 1"))?;
            }
            passed()
        },
    },
    Check {
        name: "retained/replaced",
        versions: BOTH,
        statements: &["MQTT-3.3.1-5", "MQTT3-3.3.1-5", "MQTT3-3.3.1-6"],
        looks_for: "of several retained messages of a topic the last one is kept, alone",
        run: |bench| {
            bench.can().need_retain()?;
            let mut publisher = bench.connect("pub")?;
            for payload in numbers(5) {
                retain_by(bench, &mut publisher, "t", QoS::AtMostOnce, &payload)?;
            }
            publisher.ping()?;
            same("what is retained", &stored(bench, "t")?, &vec!["5".to_owned()])?;
            passed()
        },
    },
    Check {
        name: "retained/replaced-by-qos-0",
        versions: BOTH,
        statements: &["MQTT-3.3.1-5", "MQTT3-3.3.1-7"],
        looks_for: "a retained message of QoS 0 discards the one of QoS 1 before it",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            retain(bench, "t", QoS::AtLeastOnce, "old")?;
            retain(bench, "t", QoS::AtMostOnce, "new")?;
            match stored(bench, "t")?.as_slice() {
                [one] if one == "new" => seen("the retained message of QoS 0 is kept"),
                [] if !bench.is_v5() => seen("the retained message of QoS 0 is not kept"),
                other => same("what is retained", &other, &["new".to_owned()].as_slice())
                    .and_then(|()| passed()),
            }
        },
    },
    Check {
        name: "retained/removed-by-an-empty-message",
        versions: BOTH,
        statements: &["MQTT-3.3.1-6", "MQTT-3.3.1-7", "MQTT3-3.3.1-10", "MQTT3-3.3.1-11"],
        looks_for: "a retained message without payload removes the one that is kept, whatever its \
                    QoS",
        run: |bench| {
            for qos in EACH_QOS.into_iter().filter(|qos| *qos <= bench.can().maximum_qos) {
                retain(bench, "t", qos, "kept")?;
                same("what is retained", &stored(bench, "t")?, &vec!["kept".to_owned()])?;
                retain(bench, "t", qos, "")?;
                same("what is retained", &stored(bench, "t")?, &Vec::new())?;
            }
            passed()
        },
    },
    Check {
        name: "retained/empty-message-where-there-is-none",
        versions: BOTH,
        statements: &["MQTT-3.3.1-7", "MQTT3-3.3.1-11"],
        looks_for: "a retained message without payload is not kept",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "")?;
            same("what is retained", &stored(bench, "t")?, &Vec::new())?;
            passed()
        },
    },
    Check {
        name: "retained/empty-message-is-delivered",
        versions: BOTH,
        statements: &["MQTT-3.3.1-6", "MQTT-3.3.1-12", "MQTT3-3.3.1-10", "MQTT3-3.3.1-9"],
        looks_for: "the message that removes a retained one reaches subscribers as any other",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            subscriber.expect_message("kept")?;
            retain(bench, "t", QoS::AtMostOnce, "")?;
            let publish = subscriber.expect_message("")?;
            ensure(!publish.retain, "RETAIN 0 expected; it is 1")?;
            passed()
        },
    },
    Check {
        name: "retained/not-stored-without-the-flag",
        versions: BOTH,
        statements: &["MQTT-3.3.1-8", "MQTT3-3.3.1-12"],
        looks_for: "a message with RETAIN 0 is not kept",
        run: |bench| {
            bench.can().need_retain()?;
            let qos = bench.can().maximum_qos;
            bench.connect("pub")?.publish(&bench.topic_name("t"), qos, "passing")?;
            same("what is retained", &stored(bench, "t")?, &Vec::new())?;
            passed()
        },
    },
    Check {
        name: "retained/not-replaced-without-the-flag",
        versions: BOTH,
        statements: &["MQTT-3.3.1-8", "MQTT3-3.3.1-12"],
        looks_for: "messages with RETAIN 0, also without payload, leave the retained one alone",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let qos = bench.can().maximum_qos;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t"), qos, "passing")?;
            publisher.publish(&bench.topic_name("t"), qos, "")?;
            publisher.ping()?;
            same("what is retained", &stored(bench, "t")?, &vec!["kept".to_owned()])?;
            passed()
        },
    },
    Check {
        name: "retained/qos",
        versions: BOTH,
        statements: &["MQTT-3.3.1-5", "MQTT-3.8.4-8", "MQTT3-3.3.1-5", "MQTT3-3.8.4-6"],
        looks_for: "a retained message comes with the lower of its own QoS and the granted one",
        run: |bench| {
            for sent in EACH_QOS.into_iter().filter(|qos| *qos <= bench.can().maximum_qos) {
                retain(bench, "t", sent, "kept")?;
                for granted in EACH_QOS {
                    let mut subscriber = subscriber(bench, "sub", "t", granted)?;
                    let publish = subscriber.expect_message("kept")?;
                    let expected = sent.min(granted).min(bench.can().maximum_qos);
                    same("the QoS", &publish.delivery.qos(), &expected)?;
                    ensure(publish.retain, "RETAIN 1 expected; it is 0")?;
                    ensure(!publish.delivery.dup(), "DUP 0 expected; it is 1")?;
                }
            }
            passed()
        },
    },
    Check {
        name: "retained/outlives-the-publisher",
        versions: BOTH,
        statements: &["MQTT-3.3.1-5", "MQTT3-3.3.1-5", "MQTT3-3.1.2-7"],
        looks_for: "a retained message is not part of a session: it outlives a clean start",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            bench.connect("pub")?.disconnect()?;
            same("what is retained", &stored(bench, "t")?, &vec!["kept".to_owned()])?;
            same("what is retained", &stored(bench, "t")?, &vec!["kept".to_owned()])?;
            passed()
        },
    },
    Check {
        name: "retained/of-all-topics-that-match",
        versions: BOTH,
        statements: &["MQTT-3.3.1-9", "MQTT-3.3.2-3", "MQTT3-3.3.1-6", "MQTT3-3.3.2-3"],
        looks_for: "a wildcard gets the retained messages of all topics that match, and no other",
        run: matching,
    },
    Check {
        name: "retained/two-hundred",
        versions: BOTH,
        statements: &["MQTT-3.3.1-9", "MQTT3-3.3.1-6"],
        looks_for: "two hundred retained messages all reach a new subscription",
        run: |bench| {
            bench.can().need_wildcards()?;
            bench.can().need_retain()?;
            let mut publisher = bench.connect("pub")?;
            let qos = bench.can().maximum_qos.min(QoS::AtLeastOnce);
            let expected: BTreeMap<String, usize> =
                (0..200).map(|number| (format!("t/{number}"), 1)).collect();
            for label in expected.keys() {
                retain_by(bench, &mut publisher, label, qos, label)?;
            }
            publisher.ping()?;
            let mut subscriber = subscriber(bench, "sub", "t/+", qos)?;
            let mut came = BTreeMap::new();
            for _ in 0..expected.len() {
                let publish = subscriber.expect_publish()?;
                subscriber.acknowledge(&publish)?;
                *came.entry(text(&publish)).or_insert(0) += 1;
            }
            ensure(came == expected, "each retained message is to come once")?;
            passed()
        },
    },
    Check {
        name: "retained/again-with-the-same-subscription",
        versions: BOTH,
        statements: &["MQTT-3.8.4-4", "MQTT-3.3.1-9", "MQTT3-3.8.4-3"],
        looks_for: "the same SUBSCRIBE again gets the retained message again",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            for _ in 0..2 {
                let publish = subscriber.expect_message("kept")?;
                ensure(publish.retain, "RETAIN 1 expected; it is 0")?;
                subscriber.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            }
            subscriber.expect_message("kept")?;
            passed()
        },
    },
    Check {
        name: "retained/not-again-with-the-session",
        versions: BOTH,
        statements: &["MQTT-3.3.1-9", "MQTT-4.4.0-1", "MQTT3-3.3.1-6"],
        looks_for: "going on with a session is no new subscription: nothing retained is sent",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut subscriber = resumed(bench, "sub")?;
            subscriber.ping()?;
            publish_marker(bench, "t")?;
            let mut came = subscriber.publishes_before(b"marker")?;
            // Sent to the first connection, which was closed before it was read.
            came.retain(|publish| !publish.retain || !bench.is_v5());
            same("the messages before the marker", &came.len(), &0)?;
            passed()
        },
    },
    Check {
        name: "retained/live-while-away",
        versions: BOTH,
        statements: &["MQTT-3.3.1-12", "MQTT-4.5.0-1", "MQTT3-3.3.1-9", "MQTT3-4.5.0-1"],
        looks_for: "a message with RETAIN 1 that waits for its subscriber comes with RETAIN 0",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            retain(bench, "t", QoS::AtLeastOnce, "while away")?;
            let publish = resumed(bench, "sub")?.expect_message("while away")?;
            ensure(!publish.retain, "RETAIN 0 expected; it is 1")?;
            passed()
        },
    },
    Check {
        name: "retained/only-when-released",
        versions: BOTH,
        statements: &["MQTT-3.3.1-5", "MQTT-4.3.3-11", "MQTT3-3.3.1-5", "MQTT3-4.3.3-2"],
        looks_for: "a retained message of QoS 2 is kept once, at PUBREC or at PUBREL",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            bench.can().need_retain()?;
            let mut publisher = bench.connect("pub")?;
            let packet_identifier = publisher.new_packet_identifier();
            let id = packet_identifier.value();
            let packet = publish(&bench.topic_name("t"), QoS::ExactlyOnce, id, "kept");
            publisher.send(Publish { retain: true, ..packet });
            publisher.expect_pubrec(packet_identifier)?;
            let early = stored(bench, "t")?;
            publisher.send(Packet::PubRel(super::message_steps::ack(packet_identifier)));
            publisher.expect_pubcomp(packet_identifier)?;
            same("what is retained", &stored(bench, "t")?, &vec!["kept".to_owned()])?;
            seen(if early.is_empty() {
                "a message of QoS 2 is passed on at PUBREL"
            } else {
                "a message of QoS 2 is passed on at PUBREC"
            })
        },
    },
    Check {
        name: "retained/to-two-filters-of-one-subscribe",
        versions: V3,
        statements: &["MQTT3-3.8.4-4", "MQTT3-3.3.1-6"],
        looks_for: "each filter of one SUBSCRIBE gets its retained messages",
        run: |bench| {
            retain(bench, "a", QoS::AtMostOnce, "a")?;
            retain(bench, "b", QoS::AtMostOnce, "b")?;
            let mut subscriber = bench.connect("sub")?;
            let filters = ["a", "b"]
                .map(|label| crate::subscription(&bench.topic_filter(label), QoS::AtMostOnce));
            subscriber.subscribe_to(filters)?;
            let mut came = [subscriber.expect_publish()?, subscriber.expect_publish()?];
            came.sort_by_key(text);
            same("what comes", &came.each_ref().map(text), &["a".to_owned(), "b".to_owned()])?;
            passed()
        },
    },
];

/// Publishes a retained message, up to the proof that it is taken.
pub(super) fn retain(bench: &Bench, label: &str, qos: QoS, payload: &str) -> Result<(), Stop> {
    let mut publisher = bench.connect("retainer")?;
    retain_by(bench, &mut publisher, label, qos, payload)?;
    publisher.ping()
}

fn retain_by(
    bench: &Bench,
    publisher: &mut Peer,
    label: &str,
    qos: QoS,
    payload: &str,
) -> Result<(), Stop> {
    bench.can().need_retain()?;
    let publish = message(&bench.topic_name(label), payload.to_owned());
    publisher.publish_message(Publish { retain: true, ..publish }, qos)
}

/// The retained messages that a new subscription gets.
pub(super) fn stored(bench: &Bench, filter: &str) -> Result<Vec<String>, Stop> {
    let mut reader = subscriber(bench, "reader", filter, QoS::AtMostOnce)?;
    // A second subscription, with a retained message of its own, shows that the first is served.
    let publish = message(&bench.topic_name("end-of-retained"), "marker");
    let mut publisher = bench.connect("retainer")?;
    publisher.publish_message(Publish { retain: true, ..publish }, QoS::AtMostOnce)?;
    publisher.ping()?;
    reader.subscribe(&bench.topic_filter("end-of-retained"), QoS::AtMostOnce)?;
    let came = reader.publishes_before(b"marker")?;
    let mut texts = Vec::new();
    for publish in came {
        ensure(publish.retain, "RETAIN 1 expected on a retained message; it is 0")?;
        texts.push(text(&publish));
    }
    Ok(texts)
}

pub(super) fn publish_marker(bench: &Bench, label: &str) -> Result<(), Stop> {
    bench.connect("marker")?.publish(&bench.topic_name(label), QoS::AtMostOnce, "marker")
}

fn matching(bench: &mut Bench) -> Verdict {
    bench.can().need_wildcards()?;
    for label in ["t", "t/a", "t/b", "t/a/x", "u/a"] {
        retain(bench, label, QoS::AtMostOnce, label)?;
    }
    let tables: [(&str, &[&str]); 5] = [
        ("t/#", &["t", "t/a", "t/a/x", "t/b"]),
        ("t/+", &["t/a", "t/b"]),
        ("+/a", &["t/a", "u/a"]),
        ("t/+/x", &["t/a/x"]),
        ("t/+/+/+", &[]),
    ];
    for (filter, expected) in tables {
        let mut came = stored(bench, filter)?;
        came.sort();
        let expected: Vec<String> = expected.iter().map(|label| (*label).to_owned()).collect();
        same(&format!("what is retained for {filter}"), &came, &expected)?;
    }
    let mut other = subscriber(bench, "other", "none", QoS::AtMostOnce)?;
    publish_marker(bench, "none")?;
    only::<&str>(&mut other, "marker", &[])?;
    passed()
}
