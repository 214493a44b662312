//! PUBLISH: what is delivered to whom, as what. Spec: §3.3, §4.3.1, §4.5.

use super::message_steps::{
    EACH_QOS, ack, again, identifier, only, publish, resumed, same, sleeping_subscriber,
    subscriber, text,
};
use super::{Bench, Check};
use crate::{BOTH, Verdict, encoded, ensure, failed, message, passed, seen, skipped};
use dunlin_codec::{Packet, QoS, ReasonCode};
use std::collections::BTreeSet;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "publish/qos-0",
        versions: BOTH,
        statements: &[
            "MQTT-3.3.1-2",
            "MQTT-2.2.1-2",
            "MQTT-4.3.1-1",
            "MQTT3-3.3.1-2",
            "MQTT3-2.3.1-5",
            "MQTT3-4.3.1-1",
        ],
        looks_for: "a message of QoS 0 is delivered once, with QoS 0 and DUP 0",
        run: |bench| delivered(bench, QoS::AtMostOnce),
    },
    Check {
        name: "publish/qos-1",
        versions: BOTH,
        statements: &[
            "MQTT-3.3.4-1",
            "MQTT-4.3.2-2",
            "MQTT-4.3.2-4",
            "MQTT3-3.3.4-1",
            "MQTT3-4.3.2-1",
            "MQTT3-4.3.2-2",
        ],
        looks_for: "a message of QoS 1 is acknowledged by PUBACK and delivered with DUP 0",
        run: |bench| delivered(bench, QoS::AtLeastOnce),
    },
    Check {
        name: "publish/qos-2",
        versions: BOTH,
        statements: &[
            "MQTT-3.3.4-1",
            "MQTT-4.3.3-2",
            "MQTT-4.3.3-4",
            "MQTT-4.3.3-8",
            "MQTT-4.3.3-11",
            "MQTT3-3.3.4-1",
            "MQTT3-4.3.3-1",
            "MQTT3-4.3.3-2",
        ],
        looks_for: "a message of QoS 2 is taken with PUBREC and PUBCOMP, and delivered with DUP 0",
        run: |bench| delivered(bench, QoS::ExactlyOnce),
    },
    Check {
        name: "publish/empty-payload",
        versions: BOTH,
        statements: &["MQTT-4.5.0-1", "MQTT3-4.5.0-1"],
        looks_for: "a message without payload is a message",
        run: |bench| unaltered(bench, &[]),
    },
    Check {
        name: "publish/any-bytes",
        versions: BOTH,
        statements: &["MQTT-4.5.0-1", "MQTT3-4.5.0-1"],
        looks_for: "a payload of all 256 bytes arrives as it was sent",
        run: |bench| unaltered(bench, &Vec::from_iter(0..=255)),
    },
    Check {
        name: "publish/lengths-around-the-steps-of-remaining-length",
        versions: BOTH,
        statements: &["MQTT-4.5.0-1", "MQTT-1.5.5-1", "MQTT3-4.5.0-1"],
        looks_for: "messages with Remaining Lengths of 127, 128, 16,383 and 16,384 arrive whole",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let header = encoded(message(&topic_name, ""), bench.version()).len() - 2;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            for remaining_length in [127, 128, 16_383, 16_384] {
                let payload = vec![b'x'; remaining_length - header];
                publisher.publish(&topic_name, QoS::AtMostOnce, payload.clone())?;
                subscriber.expect_message(payload)?;
            }
            passed()
        },
    },
    Check {
        name: "publish/large-payload",
        versions: BOTH,
        statements: &["MQTT-4.5.0-1", "MQTT3-4.5.0-1"],
        looks_for: "a payload of 200,000 bytes arrives as it was sent",
        run: |bench| match bench.can().maximum_packet_size {
            Some(maximum) if maximum < 201_000 => {
                skipped(format!("the server's Maximum Packet Size is {maximum}"))
            }
            _ => unaltered(bench, &Vec::from_iter((0..200_000_u32).map(|at| (at % 251) as u8))),
        },
    },
    Check {
        name: "publish/in-single-bytes",
        versions: BOTH,
        statements: &["MQTT-4.2-1", "MQTT3-4.2.0-1"],
        looks_for: "a PUBLISH that arrives byte by byte is a PUBLISH",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            for byte in encoded(message(&topic_name, "in pieces"), bench.version()) {
                publisher.send_bytes(&[byte]);
            }
            subscriber.expect_message("in pieces")?;
            passed()
        },
    },
    Check {
        name: "publish/many-in-one-write",
        versions: BOTH,
        statements: &["MQTT-4.6.0-2", "MQTT-2.2.1-5", "MQTT3-4.6.0-2", "MQTT3-2.3.1-6"],
        looks_for: "fifty messages of QoS 1 in one write are acknowledged in their order",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let count = 50.min(bench.can().receive_maximum);
            let topic_name = bench.topic_name("t");
            let mut publisher = bench.connect("pub")?;
            let packet = |id| publish(&topic_name, QoS::AtLeastOnce, id, "x");
            let bytes: Vec<u8> =
                (1..=count).flat_map(|id| encoded(packet(id), bench.version())).collect();
            publisher.send_bytes(&bytes);
            for id in 1..=count {
                publisher.expect_puback(identifier(id))?;
            }
            passed()
        },
    },
    Check {
        name: "publish/topic-name-unaltered",
        versions: BOTH,
        statements: &[
            "MQTT-3.3.2-1",
            "MQTT-3.3.2-3",
            "MQTT-1.5.4-3",
            "MQTT-4.7.3-4",
            "MQTT3-3.3.2-1",
            "MQTT3-3.3.2-3",
            "MQTT3-1.5.3-3",
        ],
        looks_for: "Topic Names with spaces, other scripts and U+FEFF arrive byte for byte",
        run: |bench| {
            let labels = ["a b", "Größe/📈", "\u{FEFF}mark", "x//y", "trailing/", "UPPER", "upper"];
            for label in labels {
                let topic_name = bench.topic_name(label);
                let mut subscriber = subscriber(bench, "sub", label, QoS::AtMostOnce)?;
                bench.connect("pub")?.publish(&topic_name, QoS::AtMostOnce, label.to_owned())?;
                let publish = subscriber.expect_message(label)?;
                same("the Topic Name", &publish.topic.name(), &Some(&topic_name))?;
            }
            passed()
        },
    },
    Check {
        name: "publish/no-other-topic",
        versions: BOTH,
        statements: &["MQTT-3.3.2-3", "MQTT3-3.3.2-3"],
        looks_for: "a message to another Topic Name is not delivered",
        run: |bench| {
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            for label in ["T", "t/", "t/t", "tt", "u"] {
                publisher.publish(&bench.topic_name(label), QoS::AtMostOnce, label.to_owned())?;
            }
            publisher.publish(&bench.topic_name("t"), QoS::AtMostOnce, "marker")?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "publish/dup-is-not-passed-on",
        versions: BOTH,
        statements: &["MQTT-3.3.1-3", "MQTT3-3.3.1-3"],
        looks_for: "a message that the server gets with DUP 1 is delivered with DUP 0",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.send(again(publish(&topic_name, QoS::AtLeastOnce, 7, "again")));
            publisher.expect_puback(identifier(7))?;
            let publish = subscriber.expect_message("again")?;
            ensure(!publish.delivery.dup(), "DUP 0 expected; it is 1")?;
            passed()
        },
    },
    Check {
        name: "publish/same-identifier-of-two-clients",
        versions: BOTH,
        statements: &["MQTT-2.2.1-5", "MQTT-4.5.0-1", "MQTT3-2.3.1-6", "MQTT3-4.5.0-1"],
        looks_for: "the same Packet Identifier of two clients names two messages",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut clients = [bench.connect("one")?, bench.connect("two")?];
            for (client, payload) in clients.iter_mut().zip(["one", "two"]) {
                client.send(publish(&topic_name, QoS::ExactlyOnce, 9, payload));
                client.expect_pubrec(identifier(9))?;
            }
            for client in &mut clients {
                client.send(Packet::PubRel(ack(identifier(9))));
                client.expect_pubcomp(identifier(9))?;
            }
            let came = [subscriber.expect_publish()?, subscriber.expect_publish()?];
            let came: BTreeSet<_> = came.iter().map(text).collect();
            same("the messages", &came, &["one".to_owned(), "two".to_owned()].into())?;
            passed()
        },
    },
    Check {
        name: "publish/back-to-the-publisher",
        versions: BOTH,
        statements: &["MQTT-4.5.0-1", "MQTT-2.2.1-5", "MQTT3-4.5.0-1", "MQTT3-2.3.1-6"],
        looks_for: "a client that subscribed gets its own messages; identifiers of both directions \
                    don't meet",
        run: |bench| {
            let mut client = subscriber(bench, "client", "t", QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            for qos in EACH_QOS.into_iter().filter(|qos| *qos <= bench.can().maximum_qos) {
                for payload in ["one", "two"] {
                    client.publish(&topic_name, qos, payload)?;
                    client.expect_message(payload)?;
                }
            }
            passed()
        },
    },
    Check {
        name: "publish/nobody-subscribed",
        versions: BOTH,
        statements: &["MQTT-3.3.4-1", "MQTT-3.4.2-1", "MQTT3-3.3.4-1"],
        looks_for: "a message that nobody wants is acknowledged all the same",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            let packet_identifier = publisher.new_packet_identifier();
            let id = packet_identifier.value();
            publisher.send(publish(&bench.topic_name("t"), QoS::AtLeastOnce, id, "x"));
            match publisher.expect_puback(packet_identifier)?.reason_code {
                ReasonCode::Success if !bench.is_v5() => passed(),
                code @ (ReasonCode::Success | ReasonCode::NoMatchingSubscribers) => {
                    seen(format!("PUBACK says {code}"))
                }
                code => failed(format!("Success or 0x10 expected; PUBACK says {code}")),
            }
        },
    },
    Check {
        name: "publish/not-authorised",
        versions: BOTH,
        statements: &["MQTT-3.4.2-1", "MQTT3-3.3.5-2"],
        looks_for: "a message to $SYS, which is the server's, is acknowledged or ends the \
                    connection; MQTT 5.0 can refuse it",
        run: not_authorised,
    },
    Check {
        name: "publish/to-all-sessions",
        versions: BOTH,
        statements: &["MQTT-4.5.0-1", "MQTT3-4.5.0-1"],
        looks_for: "every session with a subscription that matches gets the message, also one \
                    without a connection",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "away", "t/#", QoS::AtLeastOnce)?;
            let mut one = subscriber(bench, "one", "t/a", QoS::AtLeastOnce)?;
            let mut two = subscriber(bench, "two", "t/+", QoS::AtLeastOnce)?;
            let mut other = subscriber(bench, "other", "t/b", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t/a"), QoS::AtLeastOnce, "for three")?;
            publisher.publish(&bench.topic_name("t/b"), QoS::AtLeastOnce, "marker")?;
            one.expect_message("for three")?;
            only(&mut two, "marker", &["for three"])?;
            only::<&str>(&mut other, "marker", &[])?;
            only(&mut resumed(bench, "away")?, "marker", &["for three"])?;
            passed()
        },
    },
    Check {
        name: "publish/qos-of-the-delivery",
        versions: BOTH,
        statements: &["MQTT-3.8.4-8", "MQTT3-3.8.4-6"],
        looks_for: "a message is delivered with the lower of its own QoS and the granted one",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let mut publisher = bench.connect("pub")?;
            for granted in EACH_QOS {
                let mut subscriber = subscriber(bench, "sub", "t", granted)?;
                for sent in EACH_QOS.into_iter().filter(|qos| *qos <= bench.can().maximum_qos) {
                    publisher.publish(&topic_name, sent, "x")?;
                    let qos = subscriber.expect_message("x")?.delivery.qos();
                    let granted_qos = granted.min(bench.can().maximum_qos);
                    let what = format!("the QoS of a message of {sent:?} by {granted:?}");
                    same(&what, &qos, &sent.min(granted_qos))?;
                }
            }
            passed()
        },
    },
];

/// Whether the server takes the message is its own affair.
fn not_authorised(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::AtLeastOnce)?;
    let topic_name = format!("$SYS/{}", bench.topic_name("t"));
    let topic_name = topic_name.parse().expect("a Topic Name");
    let mut publisher = bench.connect("pub")?;
    publisher.ping()?;
    publisher.send(publish(&topic_name, QoS::AtLeastOnce, 7, "x"));
    match publisher.next_packet()? {
        Some(Packet::PubAck(puback)) if puback.packet_identifier == identifier(7) => {
            publisher.ping()?;
            seen(format!("PUBACK for a message to $SYS says {}", puback.reason_code))
        }
        Some(Packet::Disconnect(end)) if end.reason_code.is_error() => {
            publisher.expect_closed()?;
            seen(format!("a message to $SYS ends the connection, {}", end.reason_code))
        }
        None => seen("a message to $SYS ends the connection"),
        other => failed(format!(
            "PUBACK, or the end, expected; what comes is {}",
            crate::exchange::came(other)
        )),
    }
}

/// One message from a publisher to a subscriber, and how it looks there.
fn delivered(bench: &Bench, qos: QoS) -> Verdict {
    bench.can().need_qos(qos)?;
    let topic_name = bench.topic_name("t");
    let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
    let mut publisher = bench.connect("pub")?;
    publisher.publish(&topic_name, qos, "hello")?;
    publisher.publish(&topic_name, qos, "marker")?;
    for payload in ["hello", "marker"] {
        let publish = subscriber.expect_message(payload)?;
        same("the QoS", &publish.delivery.qos(), &qos)?;
        ensure(!publish.delivery.dup(), "DUP 0 expected; it is 1")?;
        ensure(!publish.retain, "RETAIN 0 expected; it is 1")?;
        same("the Topic Name", &publish.topic.name(), &Some(&topic_name))?;
    }
    passed()
}

/// The payload arrives as it was sent.
fn unaltered(bench: &Bench, payload: &[u8]) -> Verdict {
    let topic_name = bench.topic_name("t");
    for qos in EACH_QOS.into_iter().filter(|qos| *qos <= bench.can().maximum_qos) {
        let mut subscriber = subscriber(bench, "sub", "t", qos)?;
        bench.connect("pub")?.publish(&topic_name, qos, payload.to_vec())?;
        let publish = subscriber.expect_publish()?;
        subscriber.acknowledge(&publish)?;
        same("the length of the payload", &publish.payload.len(), &payload.len())?;
        ensure(publish.payload == payload, "the payload has changed on its way")?;
    }
    passed()
}
