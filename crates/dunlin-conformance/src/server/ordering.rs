//! Messages keep their order. Spec: §4.6.

use super::message_steps::{
    lasting_subscriber, numbers, only, publish, resumed, same, sleeping_subscriber, subscriber,
    subscriber_with, text,
};
use super::{Bench, Check};
use crate::{BOTH, Stop, V5, Verdict, encoded, failed, passed, seen};
use dunlin_codec::{ConnectProperties, Publish, QoS};
use std::collections::BTreeMap;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "ordering/qos-0",
        versions: BOTH,
        statements: ORDER,
        looks_for: "a hundred messages of QoS 0 keep their order",
        run: |bench| in_order(bench, QoS::AtMostOnce),
    },
    Check {
        name: "ordering/qos-1",
        versions: BOTH,
        statements: ORDER,
        looks_for: "a hundred messages of QoS 1 keep their order",
        run: |bench| in_order(bench, QoS::AtLeastOnce),
    },
    Check {
        name: "ordering/qos-2",
        versions: BOTH,
        statements: ORDER,
        looks_for: "a hundred messages of QoS 2 keep their order",
        run: |bench| in_order(bench, QoS::ExactlyOnce),
    },
    Check {
        name: "ordering/several-topics",
        versions: BOTH,
        statements: ORDER,
        looks_for: "messages of several topics keep the order within each",
        run: |bench| {
            bench.can().need_wildcards()?;
            let qos = bench.can().maximum_qos.min(QoS::AtLeastOnce);
            let mut subscriber = subscriber(bench, "sub", "t/+", qos)?;
            let mut publisher = bench.connect("pub")?;
            let labels = ["t/a", "t/b", "t/c"];
            for number in 0..60 {
                let topic_name = bench.topic_name(labels[number % 3]);
                publisher.publish(&topic_name, qos, number.to_string())?;
            }
            let mut last: BTreeMap<String, usize> = BTreeMap::new();
            for _ in 0..60 {
                let publish = subscriber.expect_publish()?;
                subscriber.acknowledge(&publish)?;
                let topic_name = publish.topic.name().map(ToString::to_string).unwrap_or_default();
                let number = text(&publish).parse::<usize>().unwrap_or(usize::MAX);
                let expected = last.get(&topic_name).map_or(number % 3, |last| last + 3);
                same(&format!("the next of {topic_name}"), &number, &expected)?;
                last.insert(topic_name, number);
            }
            same("the number of topics", &last.len(), &labels.len())?;
            passed()
        },
    },
    Check {
        name: "ordering/two-publishers",
        versions: BOTH,
        statements: ORDER,
        looks_for: "messages of two clients to one topic keep the order of each",
        run: |bench| {
            let qos = bench.can().maximum_qos.min(QoS::AtLeastOnce);
            let mut subscriber = subscriber(bench, "sub", "t", qos)?;
            let mut publishers = [bench.connect("one")?, bench.connect("two")?];
            for number in 0..30 {
                for (name, publisher) in ["one", "two"].iter().zip(&mut publishers) {
                    publisher.publish(&bench.topic_name("t"), qos, format!("{name} {number}"))?;
                }
            }
            let mut came: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for _ in 0..60 {
                let publish = subscriber.expect_publish()?;
                subscriber.acknowledge(&publish)?;
                let payload = text(&publish);
                let (name, number) = payload.split_once(' ').unwrap_or_default();
                came.entry(name.to_owned()).or_default().push(number.to_owned());
            }
            let expected: Vec<String> = (0..30).map(|number| number.to_string()).collect();
            for name in ["one", "two"] {
                same(name, &came.remove(name).unwrap_or_default(), &expected)?;
            }
            passed()
        },
    },
    Check {
        name: "ordering/one-at-a-time",
        versions: V5,
        statements: &["MQTT-4.6.0-5", "MQTT-4.6.0-6", "MQTT-4.9.0-2"],
        looks_for: "messages keep their order through a Receive Maximum of 1",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let receive_maximum = Some(1);
            let properties = ConnectProperties { receive_maximum, ..ConnectProperties::default() };
            let mut subscriber = subscriber_with(bench, "sub", properties)?;
            let mut publisher = bench.connect("pub")?;
            for payload in numbers(20) {
                publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload)?;
            }
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            only(&mut subscriber, "marker", &numbers(20))?;
            passed()
        },
    },
    Check {
        name: "offline/qos-1",
        versions: BOTH,
        statements: OFFLINE,
        looks_for: "messages of QoS 1 wait for a session without connection, in their order",
        run: |bench| waits(bench, QoS::AtLeastOnce),
    },
    Check {
        name: "offline/qos-2",
        versions: BOTH,
        statements: OFFLINE,
        looks_for: "messages of QoS 2 wait for a session without connection, in their order",
        run: |bench| waits(bench, QoS::ExactlyOnce),
    },
    Check {
        name: "offline/qos-0",
        versions: BOTH,
        statements: &["MQTT-4.5.0-1", "MQTT-4.3.1-1", "MQTT3-4.5.0-1", "MQTT3-4.3.1-1"],
        looks_for: "a message of QoS 0 for a session without connection is kept or dropped",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t"), QoS::AtMostOnce, "qos 0")?;
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            let mut subscriber = resumed(bench, "sub")?;
            let came = subscriber.publishes_before(b"marker")?;
            match came.as_slice() {
                [] => seen("QoS 0 does not wait for a session without connection"),
                [publish] => {
                    same("what waited", &text(publish), &"qos 0".to_owned())?;
                    same("its QoS", &publish.delivery.qos(), &QoS::AtMostOnce)?;
                    seen("QoS 0 waits for a session without connection")
                }
                _ => failed("one message of QoS 0 at most expected; more come"),
            }
        },
    },
    Check {
        name: "offline/granted-qos",
        versions: BOTH,
        statements: &["MQTT-3.8.4-8", "MQTT-4.5.0-1", "MQTT3-3.8.4-6", "MQTT3-4.5.0-1"],
        looks_for: "a message that waited has the lower of its own QoS and the granted one",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "x")?;
            let publish = resumed(bench, "sub")?.expect_message("x")?;
            same("its QoS", &publish.delivery.qos(), &QoS::AtLeastOnce)?;
            passed()
        },
    },
    Check {
        name: "offline/then-live",
        versions: BOTH,
        statements: OFFLINE,
        looks_for: "messages that waited come before those that are published afterwards",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            let payloads = numbers(40);
            for payload in &payloads[..20] {
                publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload.clone())?;
            }
            let mut subscriber = resumed(bench, "sub")?;
            for payload in &payloads[20..] {
                publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload.clone())?;
            }
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            only(&mut subscriber, "marker", &payloads)?;
            passed()
        },
    },
    Check {
        name: "offline/after-an-abort",
        versions: BOTH,
        statements: OFFLINE,
        looks_for: "messages wait also for a session whose connection broke",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            subscriber.abort();
            let mut publisher = bench.connect("pub")?;
            for payload in numbers(5) {
                publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload)?;
            }
            let mut subscriber = resumed(bench, "sub")?;
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            only(&mut subscriber, "marker", &numbers(5))?;
            passed()
        },
    },
];

const ORDER: &[&str] = &["MQTT-4.6.0-5", "MQTT-4.6.0-6", "MQTT3-4.6.0-5", "MQTT3-4.6.0-6"];

const OFFLINE: &[&str] = &[
    "MQTT-4.5.0-1",
    "MQTT-4.1.0-1",
    "MQTT-4.6.0-5",
    "MQTT3-4.5.0-1",
    "MQTT3-3.1.2-5",
    "MQTT3-4.6.0-6",
];

/// A hundred messages, in few writes, to a subscriber that is there.
fn in_order(bench: &Bench, qos: QoS) -> Verdict {
    bench.can().need_qos(qos)?;
    let topic_name = bench.topic_name("t");
    let mut subscriber = subscriber(bench, "sub", "t", qos)?;
    let mut publisher = bench.connect("pub")?;
    let count = 100.min(bench.can().receive_maximum);
    let payloads = numbers(usize::from(count));
    match qos {
        QoS::ExactlyOnce => {
            for payload in &payloads {
                publisher.publish(&topic_name, qos, payload.clone())?;
            }
        }
        _ => {
            let packet = |(id, payload): (u16, &String)| -> Publish {
                publish(&topic_name, qos, id, payload.clone())
            };
            let packets = (1..).zip(&payloads).map(packet);
            let bytes: Vec<u8> =
                packets.flat_map(|packet| encoded(packet, bench.version())).collect();
            publisher.send_bytes(&bytes);
        }
    }
    // Taken one by one, so that the server has messages under way the whole time.
    for payload in &payloads {
        let publish = subscriber.expect_message(payload)?;
        same("the QoS", &publish.delivery.qos(), &qos)?;
    }
    passed()
}

/// Thirty messages for a session that has no connection.
fn waits(bench: &Bench, qos: QoS) -> Verdict {
    bench.can().need_qos(qos)?;
    sleeping_subscriber(bench, "sub", "t", qos)?;
    publish_all(bench, qos)?;
    let came = only(&mut resumed(bench, "sub")?, "marker", &numbers(30))?;
    for publish in came {
        same("the QoS", &publish.delivery.qos(), &qos)?;
        same("DUP", &publish.delivery.dup(), &false)?;
    }
    passed()
}

fn publish_all(bench: &Bench, qos: QoS) -> Result<(), Stop> {
    let mut publisher = bench.connect("pub")?;
    for payload in numbers(30) {
        publisher.publish(&bench.topic_name("t"), qos, payload)?;
    }
    publisher.publish(&bench.topic_name("t"), qos, "marker")
}
