//! Receive Maximum, in both directions. Spec: §4.9, §3.3.4.

use super::message_steps::{
    ack, answers_only_ping, expect_unacknowledged, identifier, identifier_of, numbers, only,
    publish, resumed_with, same, sleeping_subscriber, subscriber, subscriber_with, text,
};
use super::{Bench, Check};
use crate::{Peer, Stop, V5, Verdict, ensure, failed, passed, seen, skipped};
use dunlin_codec::{Ack, ConnectProperties, Packet, Publish, QoS, ReasonCode};

const QUOTA: &[&str] = &["MQTT-3.3.4-9", "MQTT-4.9.0-1", "MQTT-4.9.0-2"];

/// More than this many messages at once are no fair demand on a server.
const FAIR: u16 = 2000;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "flow-control/receive-maximum-1",
        versions: V5,
        statements: QUOTA,
        looks_for: "with Receive Maximum 1 a message of QoS 1 waits for the PUBACK before it",
        run: |bench| window(bench, 1, QoS::AtLeastOnce),
    },
    Check {
        name: "flow-control/receive-maximum-2",
        versions: V5,
        statements: QUOTA,
        looks_for: "with Receive Maximum 2 no more than two messages of QoS 1 are under way",
        run: |bench| window(bench, 2, QoS::AtLeastOnce),
    },
    Check {
        name: "flow-control/receive-maximum-7",
        versions: V5,
        statements: QUOTA,
        looks_for: "with Receive Maximum 7 no more than seven messages of QoS 1 are under way",
        run: |bench| window(bench, 7, QoS::AtLeastOnce),
    },
    Check {
        name: "flow-control/receive-maximum-1-qos-2",
        versions: V5,
        statements: QUOTA,
        looks_for: "with Receive Maximum 1 a message of QoS 2 waits for the PUBCOMP before it",
        run: |bench| window(bench, 1, QoS::ExactlyOnce),
    },
    Check {
        name: "flow-control/receive-maximum-3-qos-2",
        versions: V5,
        statements: QUOTA,
        looks_for: "with Receive Maximum 3 no more than three messages of QoS 2 are under way",
        run: |bench| window(bench, 3, QoS::ExactlyOnce),
    },
    Check {
        name: "flow-control/qos-1-and-2-together",
        versions: V5,
        statements: QUOTA,
        looks_for: "messages of QoS 1 and 2 are counted together",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = limited(bench, 2)?;
            let mut publisher = bench.connect("pub")?;
            let levels = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
            for (payload, qos) in numbers(4).into_iter().zip(levels) {
                publisher.publish(&bench.topic_name("t"), qos, payload)?;
            }
            let first = under_way(&mut subscriber, 2)?;
            for publish in &first {
                subscriber.acknowledge(publish)?;
            }
            let rest = under_way(&mut subscriber, 2)?;
            for publish in &rest {
                subscriber.acknowledge(publish)?;
            }
            same("the number of messages", &(first.len() + rest.len()), &4)?;
            passed()
        },
    },
    Check {
        name: "flow-control/pubrec-gives-nothing-back",
        versions: V5,
        statements: &["MQTT-4.9.0-1", "MQTT-4.9.0-2", "MQTT-3.3.4-9"],
        looks_for: "a message of QoS 2 counts until PUBCOMP, not until PUBREC",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = limited(bench, 1)?;
            let mut publisher = bench.connect("pub")?;
            for payload in ["1", "2"] {
                publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, payload)?;
            }
            let id = identifier_of(&expect_unacknowledged(&mut subscriber, "1")?)?;
            subscriber.send(Packet::PubRec(ack(id)));
            subscriber.expect_pubrel(id)?;
            answers_only_ping(&mut subscriber)?;
            subscriber.send(Packet::PubComp(ack(id)));
            subscriber.expect_message("2")?;
            passed()
        },
    },
    Check {
        name: "flow-control/refusal-gives-back",
        versions: V5,
        statements: &["MQTT-4.9.0-1", "MQTT-4.3.3-9", "MQTT-4.4.0-2"],
        looks_for: "PUBACK and PUBREC with 0x80 or more make room for the next message",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = limited(bench, 1)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "1")?;
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "2")?;
            publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "3")?;
            let id = identifier_of(&expect_unacknowledged(&mut subscriber, "1")?)?;
            // There is no room before.
            answers_only_ping(&mut subscriber)?;
            subscriber.send(Packet::PubRec(Ack::new(id, ReasonCode::UnspecifiedError)));
            let id = identifier_of(&expect_unacknowledged(&mut subscriber, "2")?)?;
            answers_only_ping(&mut subscriber)?;
            subscriber.send(Packet::PubAck(Ack::new(id, ReasonCode::QuotaExceeded)));
            subscriber.expect_message("3")?;
            passed()
        },
    },
    Check {
        name: "flow-control/qos-0-is-not-counted",
        versions: V5,
        statements: &["MQTT-4.9.0-2", "MQTT-3.3.4-9"],
        looks_for: "messages of QoS 0 take no part of Receive Maximum: they come, or wait",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut subscriber = limited(bench, 1)?;
            let mut publisher = bench.connect("pub")?;
            let topic_name = bench.topic_name("t");
            for payload in numbers(3) {
                publisher.publish(&topic_name, QoS::AtMostOnce, payload.clone())?;
                subscriber.expect_message(payload)?;
            }
            publisher.publish(&topic_name, QoS::AtLeastOnce, "counted")?;
            let counted = expect_unacknowledged(&mut subscriber, "counted")?;
            publisher.publish(&topic_name, QoS::AtMostOnce, "free")?;
            publisher.ping()?;
            // Another round trip, so that a server that is busy elsewhere gets to it.
            bench.connect("other")?.ping()?;
            subscriber.send(Packet::PingReq);
            match subscriber.next_packet()? {
                Some(Packet::Publish(publish)) => {
                    same("what comes", &publish.payload.as_ref(), &b"free".as_slice())?;
                    seen("QoS 0 overtakes a full window")
                }
                Some(Packet::PingResp) => {
                    subscriber.acknowledge(&counted)?;
                    subscriber.expect_message("free")?;
                    seen("QoS 0 waits behind a full window")
                }
                other => failed(format!(
                    "PUBLISH or PINGRESP expected; comes {}",
                    crate::exchange::came(other)
                )),
            }
        },
    },
    Check {
        name: "flow-control/other-packets-go-on",
        versions: V5,
        statements: &["MQTT-3.3.4-10", "MQTT-4.9.0-3"],
        looks_for: "with a full window everything but PUBLISH is answered",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = limited(bench, 1)?;
            let mut publisher = bench.connect("pub")?;
            for payload in ["1", "2"] {
                publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload)?;
            }
            let first = expect_unacknowledged(&mut subscriber, "1")?;
            answers_only_ping(&mut subscriber)?;
            subscriber.subscribe(&bench.topic_filter("u"), QoS::AtLeastOnce)?;
            subscriber.publish(&bench.topic_name("v"), QoS::AtLeastOnce, "x")?;
            subscriber.publish(&bench.topic_name("v"), QoS::ExactlyOnce, "x")?;
            subscriber.send(Packet::PubRel(ack(identifier(900))));
            subscriber.expect_pubcomp(identifier(900))?;
            answers_only_ping(&mut subscriber)?;
            subscriber.acknowledge(&first)?;
            subscriber.expect_message("2")?;
            passed()
        },
    },
    Check {
        name: "flow-control/of-this-connection",
        versions: V5,
        statements: &["MQTT-3.3.4-9", "MQTT-4.9.0-1", "MQTT-3.1.2-23"],
        looks_for: "Receive Maximum is that of the connection: a queue comes by the new one",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            for payload in numbers(6) {
                publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload)?;
            }
            let mut came = 0;
            for receive_maximum in [1, 2, 3] {
                let mut subscriber = resumed_with(bench, "sub", |properties| {
                    properties.receive_maximum = Some(receive_maximum);
                })?;
                for publish in under_way(&mut subscriber, receive_maximum)? {
                    came += 1;
                    same("what comes", &text(&publish), &came.to_string())?;
                    subscriber.acknowledge(&publish)?;
                    // The next one has taken its place: this end leaves it to the next connection.
                    if came % usize::from(receive_maximum) == 0 {
                        break;
                    }
                }
                subscriber.ping()?;
                subscriber.disconnect()?;
            }
            passed()
        },
    },
    Check {
        name: "flow-control/to-the-server-up-to-its-maximum",
        versions: V5,
        statements: &["MQTT-3.3.4-7", "MQTT-4.9.0-1"],
        looks_for: "the server takes as many messages at once as its Receive Maximum says",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let maximum = fair_maximum(bench)?;
            let mut publisher = bench.connect("pub")?;
            fill(bench, &mut publisher, maximum)?;
            publisher.ping()?;
            for id in 1..=maximum {
                publisher.send(Packet::PubRel(ack(identifier(id))));
                publisher.expect_pubcomp(identifier(id))?;
            }
            // All of it is given back.
            fill(bench, &mut publisher, maximum)?;
            publisher.ping()?;
            passed()
        },
    },
    Check {
        name: "flow-control/to-the-server-beyond-its-maximum",
        versions: V5,
        statements: &["MQTT-3.3.4-7", "MQTT-4.13.1-1"],
        looks_for: "one message more than the server's Receive Maximum ends the connection with \
                    0x93",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let maximum = fair_maximum(bench)?;
            let mut publisher = bench.connect("pub")?;
            fill(bench, &mut publisher, maximum)?;
            let one_more = publish(&bench.topic_name("t"), QoS::ExactlyOnce, maximum + 1, "x");
            publisher.send(one_more);
            publisher.expect_closed()?.with_code_of(&[ReasonCode::ReceiveMaximumExceeded])?.passed()
        },
    },
    Check {
        name: "flow-control/to-the-server-qos-1-gives-back",
        versions: V5,
        statements: &["MQTT-4.9.0-1", "MQTT-3.3.4-7"],
        looks_for: "messages of QoS 1 beyond the server's Receive Maximum pass one after another",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let count = usize::from(fair_maximum(bench)?) + 5;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            for payload in numbers(count) {
                publisher.publish(&topic_name, QoS::AtLeastOnce, payload)?;
            }
            publisher.publish(&topic_name, QoS::AtLeastOnce, "marker")?;
            only(&mut subscriber, "marker", &numbers(count))?;
            passed()
        },
    },
];

/// A subscriber with this Receive Maximum.
fn limited(bench: &Bench, receive_maximum: u16) -> Result<Peer, Stop> {
    let receive_maximum = Some(receive_maximum);
    let properties = ConnectProperties { receive_maximum, ..ConnectProperties::default() };
    subscriber_with(bench, "sub", properties)
}

/// The messages that come without an acknowledgement: at least one, at most so many.
fn under_way(subscriber: &mut Peer, maximum: u16) -> Result<Vec<Publish>, Stop> {
    let mut publishes = vec![subscriber.expect_publish()?];
    // Two round trips: the first may overtake what the server is just about to send.
    for _ in 0..2 {
        subscriber.send(Packet::PingReq);
        loop {
            match subscriber.next_packet()? {
                Some(Packet::Publish(publish)) => publishes.push(publish),
                Some(Packet::PingResp) => break,
                other => {
                    return failed(format!(
                        "PUBLISH or PINGRESP expected; comes {}",
                        crate::exchange::came(other)
                    ));
                }
            }
        }
    }
    let counted = publishes.iter().filter(|publish| publish.delivery.qos() > QoS::AtMostOnce);
    let (count, maximum) = (counted.count(), usize::from(maximum));
    ensure(count <= maximum, format!("{maximum} messages at most expected; {count} come"))?;
    Ok(publishes)
}

/// Three times as many messages as the client takes at once.
fn window(bench: &Bench, receive_maximum: u16, qos: QoS) -> Verdict {
    bench.can().need_qos(qos)?;
    let mut subscriber = limited(bench, receive_maximum)?;
    let mut publisher = bench.connect("pub")?;
    let payloads = numbers(3 * usize::from(receive_maximum));
    for payload in &payloads {
        publisher.publish(&bench.topic_name("t"), qos, payload.clone())?;
    }
    let mut came = Vec::new();
    let mut largest = 0;
    while came.len() < payloads.len() {
        let publishes = under_way(&mut subscriber, receive_maximum)?;
        largest = largest.max(publishes.len());
        for publish in &publishes {
            let qos_of = publish.delivery.qos();
            same("the QoS", &qos_of, &qos)?;
            came.push(text(publish));
        }
        acknowledge_all(&mut subscriber, &publishes)?;
    }
    same("the messages", &came, &payloads)?;
    seen(if largest == usize::from(receive_maximum) {
        "the server uses the whole Receive Maximum".to_owned()
    } else {
        format!("the server sends {largest} of {receive_maximum} at once")
    })
}

/// Acknowledges what came, and nothing of what the server sends in between.
fn acknowledge_all(subscriber: &mut Peer, publishes: &[Publish]) -> Result<(), Stop> {
    publishes.iter().try_for_each(|publish| subscriber.acknowledge(publish))
}

/// The server's Receive Maximum, when it can be reached.
fn fair_maximum(bench: &Bench) -> Result<u16, Stop> {
    match bench.can().receive_maximum {
        maximum if maximum <= FAIR => Ok(maximum),
        maximum => skipped(format!("the server's Receive Maximum is {maximum}")),
    }
}

/// Leaves so many messages of QoS 2 unreleased.
fn fill(bench: &Bench, publisher: &mut Peer, count: u16) -> Result<(), Stop> {
    let topic_name = bench.topic_name("t");
    for id in 1..=count {
        publisher.send(publish(&topic_name, QoS::ExactlyOnce, id, "x"));
        let code = publisher.expect_pubrec(identifier(id))?.reason_code;
        ensure(!code.is_error(), format!("message {id} of {count} is refused: {code}"))?;
    }
    Ok(())
}
