//! The flows of QoS 1 and 2, from the server. Spec: §4.3, §2.2.1.

use super::message_steps::{
    ack, again, answers_only_ping, expect_unacknowledged, identifier_of, numbers, same, subscriber,
};
use super::{Bench, Check};
use crate::{BOTH, Stop, Verdict, ensure, failed, passed, seen};
use dunlin_codec::{Packet, QoS};
use std::collections::BTreeSet;
use std::time::Duration;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "qos-flows/to-the-client-qos-1",
        versions: BOTH,
        statements: &[
            "MQTT-4.3.2-1",
            "MQTT-4.3.2-2",
            "MQTT-2.2.1-4",
            "MQTT3-4.3.2-1",
            "MQTT3-2.3.1-4",
        ],
        looks_for: "messages of QoS 1 come with DUP 0 and identifiers that are not in use",
        run: |bench| distinct_identifiers(bench, &[QoS::AtLeastOnce]),
    },
    Check {
        name: "qos-flows/to-the-client-qos-2",
        versions: BOTH,
        statements: &[
            "MQTT-4.3.3-1",
            "MQTT-4.3.3-2",
            "MQTT-2.2.1-4",
            "MQTT3-4.3.3-1",
            "MQTT3-2.3.1-4",
        ],
        looks_for: "messages of QoS 2 come with DUP 0 and identifiers that are not in use",
        run: |bench| distinct_identifiers(bench, &[QoS::ExactlyOnce]),
    },
    Check {
        name: "qos-flows/to-the-client-qos-1-and-2",
        versions: BOTH,
        statements: &["MQTT-2.2.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1", "MQTT3-2.3.1-4"],
        looks_for: "messages of QoS 1 and 2 share their identifiers",
        run: |bench| distinct_identifiers(bench, &[QoS::AtLeastOnce, QoS::ExactlyOnce]),
    },
    Check {
        name: "qos-flows/identifier-in-use-until-pubcomp",
        versions: BOTH,
        statements: &["MQTT-2.2.1-4", "MQTT-4.3.3-5", "MQTT3-2.3.1-4", "MQTT3-4.3.3-1"],
        looks_for: "an identifier of QoS 2 is not used again before PUBCOMP",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&topic_name, QoS::ExactlyOnce, "held")?;
            let held = identifier_of(&expect_unacknowledged(&mut subscriber, "held")?)?;
            subscriber.send(Packet::PubRec(ack(held)));
            subscriber.expect_pubrel(held)?;
            for payload in numbers(10) {
                publisher.publish(&topic_name, QoS::ExactlyOnce, payload.clone())?;
                let publish = subscriber.expect_message(payload)?;
                ensure(identifier_of(&publish)? != held, format!("{held} is used again"))?;
            }
            subscriber.send(Packet::PubComp(ack(held)));
            subscriber.ping()?;
            passed()
        },
    },
    Check {
        name: "qos-flows/pubrel-waits-for-pubrec",
        versions: BOTH,
        statements: &["MQTT-4.3.3-3", "MQTT-4.3.3-4", "MQTT3-4.3.3-1"],
        looks_for: "PUBREL comes after PUBREC, and not before",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "x")?;
            let publish = expect_unacknowledged(&mut subscriber, "x")?;
            answers_only_ping(&mut subscriber)?;
            subscriber.acknowledge(&publish)?;
            answers_only_ping(&mut subscriber)?;
            passed()
        },
    },
    Check {
        name: "qos-flows/pubrec-repeated",
        versions: BOTH,
        statements: &["MQTT-4.3.3-4", "MQTT-4.3.3-6", "MQTT3-4.3.3-1"],
        looks_for: "a second PUBREC for a message brings no PUBLISH; PUBREL again, or nothing",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "x")?;
            let id = identifier_of(&expect_unacknowledged(&mut subscriber, "x")?)?;
            subscriber.send(Packet::PubRec(ack(id)));
            subscriber.expect_pubrel(id)?;
            subscriber.send(Packet::PubRec(ack(id)));
            subscriber.send(Packet::PingReq);
            let behaviour = match subscriber.next_packet()? {
                Some(Packet::PubRel(pubrel)) if pubrel.packet_identifier == id => {
                    subscriber.expect_pingresp()?;
                    "a second PUBREC is answered by PUBREL"
                }
                Some(Packet::PingResp) => "a second PUBREC is passed over",
                other => {
                    return failed(format!(
                        "PUBREL or nothing expected; comes {}",
                        crate::exchange::came(other)
                    ));
                }
            };
            subscriber.send(Packet::PubComp(ack(id)));
            answers_only_ping(&mut subscriber)?;
            seen(behaviour)
        },
    },
    Check {
        name: "qos-flows/acknowledgements-in-another-order",
        versions: BOTH,
        statements: &[
            "MQTT-2.2.1-5",
            "MQTT-4.3.2-3",
            "MQTT-4.6.0-4",
            "MQTT3-4.3.2-1",
            "MQTT3-4.6.0-4",
        ],
        looks_for: "a client that acknowledges backwards is understood; PUBREL come as PUBREC did",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            let mut ids = Vec::new();
            for payload in numbers(5) {
                publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, payload.clone())?;
                ids.push(identifier_of(&expect_unacknowledged(&mut subscriber, &payload)?)?);
            }
            ids.reverse();
            ids.iter().for_each(|id| subscriber.send(Packet::PubRec(ack(*id))));
            for id in &ids {
                subscriber.expect_pubrel(*id)?;
            }
            ids.iter().for_each(|id| subscriber.send(Packet::PubComp(ack(*id))));
            answers_only_ping(&mut subscriber)?;
            passed()
        },
    },
    Check {
        name: "qos-flows/not-sent-again-on-the-same-connection",
        versions: BOTH,
        statements: &["MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT3-3.3.1-1"],
        looks_for: "what is not acknowledged stays so for 2 s; MQTT 3.1.1 lets it be sent again, \
                    with DUP 1",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "x")?;
            let first = expect_unacknowledged(&mut subscriber, "x")?;
            bench.wait(Duration::from_secs(2));
            subscriber.send(Packet::PingReq);
            match subscriber.next_packet()? {
                Some(Packet::PingResp) => seen("not sent again while the connection is there"),
                Some(Packet::Publish(second)) if !bench.is_v5() => {
                    same("what is sent again", &second, &again(first))?;
                    seen("sent again while the connection is there")
                }
                other => failed(format!(
                    "PINGRESP alone expected; what comes is {}",
                    crate::exchange::came(other)
                )),
            }
        },
    },
];

/// Eight messages, none acknowledged, then all of them, twice.
fn distinct_identifiers(bench: &Bench, levels: &[QoS]) -> Verdict {
    bench.can().need_qos(*levels.iter().max().expect("at least one"))?;
    let topic_name = bench.topic_name("t");
    let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
    let mut publisher = bench.connect("pub")?;
    for _ in 0..2 {
        let mut publishes = Vec::new();
        for (payload, qos) in numbers(8).iter().zip(levels.iter().cycle()) {
            publisher.publish(&topic_name, *qos, payload.clone())?;
            let publish = expect_unacknowledged(&mut subscriber, payload)?;
            ensure(!publish.delivery.dup(), "DUP 0 expected; it is 1")?;
            publishes.push(publish);
        }
        let ids = publishes.iter().map(identifier_of).collect::<Result<BTreeSet<_>, Stop>>()?;
        ensure(
            ids.len() == publishes.len(),
            format!("{} identifiers expected; these are used: {ids:?}", publishes.len()),
        )?;
        for publish in &publishes {
            subscriber.acknowledge(publish)?;
        }
        subscriber.ping()?;
    }
    passed()
}
