//! Sessions that go on after a lost connection: what is sent again, and what is not. Spec: §4.1,
//! §4.4, §4.6.

use super::{Bench, Check, Visitor};
use crate::{BOTH, Stop, V5, Verdict, ensure, failed, passed, seen, skipped};
use dunlin_codec::{
    ConnAckProperties, Delivery, Packet, PacketIdentifier, PacketType, Publish, QoS, ReasonCode,
};
use std::time::Duration;

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "resuming/qos-1-again",
        versions: BOTH,
        statements: &[
            "MQTT-4.4.0-1",
            "MQTT-3.3.1-1",
            "MQTT-4.3.2-3",
            "MQTT-4.1.0-1",
            "MQTT-3.1.2-23",
            "MQTT3-4.4.0-1",
            "MQTT3-3.3.1-1",
            "MQTT3-2.3.1-3",
            "MQTT3-4.1.0-1",
            "MQTT3-3.1.2-4",
        ],
        looks_for: "a message with QoS 1 without PUBACK comes again, with DUP and its Packet \
                    Identifier",
        run: |bench| message_again(bench, AtLeastOnce),
    },
    Check {
        name: "resuming/qos-2-again",
        versions: BOTH,
        statements: &[
            "MQTT-4.4.0-1",
            "MQTT-3.3.1-1",
            "MQTT-4.3.3-3",
            "MQTT-4.1.0-1",
            "MQTT-3.1.2-23",
            "MQTT3-4.4.0-1",
            "MQTT3-3.3.1-1",
            "MQTT3-2.3.1-3",
            "MQTT3-4.1.0-1",
        ],
        looks_for: "a message with QoS 2 without PUBREC comes again, with DUP and its Packet \
                    Identifier",
        run: |bench| message_again(bench, ExactlyOnce),
    },
    Check {
        name: "resuming/pubrel-again",
        versions: BOTH,
        statements: &[
            "MQTT-4.4.0-1",
            "MQTT-4.3.3-5",
            "MQTT-4.3.3-6",
            "MQTT3-4.4.0-1",
            "MQTT3-4.3.3-1",
        ],
        looks_for: "PUBREL without PUBCOMP comes again, and the message does not",
        run: pubrel_again,
    },
    Check {
        name: "resuming/acknowledged-not-again",
        versions: BOTH,
        statements: &["MQTT-4.3.2-3", "MQTT-4.4.0-1", "MQTT3-4.3.2-1"],
        looks_for: "a message that was acknowledged does not come again",
        run: |bench| not_again(bench, ReasonCode::Success),
    },
    Check {
        name: "resuming/refused-not-again",
        versions: V5,
        statements: &["MQTT-4.4.0-2"],
        looks_for: "a message that was refused does not come again",
        run: |bench| not_again(bench, ReasonCode::QuotaExceeded),
    },
    Check {
        name: "resuming/order",
        versions: BOTH,
        statements: &["MQTT-4.6.0-1", "MQTT3-4.6.0-1"],
        looks_for: "messages that come again keep their order",
        run: order,
    },
    Check {
        name: "resuming/session-lost",
        versions: V5,
        statements: &["MQTT-3.2.2-5"],
        looks_for: "without Session Present nothing of the old session comes: no PUBREL, no DUP",
        run: session_lost,
    },
    Check {
        name: "resuming/session-lost-during-release",
        versions: V5,
        statements: &["MQTT-3.2.2-5"],
        looks_for: "without Session Present a PUBREL of the old session does not come",
        run: |bench| {
            let (visitor, packet_identifier) = released(bench)?;
            visitor.abort();
            let mut visitor = bench.resumed()?;
            visitor.answers_publishes = false;
            visitor.accept(false, ConnAckProperties::default());
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let old = packets.iter().find(|packet| {
                matches!(packet, Packet::PubRel(ack) if ack.packet_identifier == packet_identifier)
            });
            match old {
                Some(packet) => failed(format!("{packet} of the session that is lost")),
                None => passed(),
            }
        },
    },
    Check {
        name: "resuming/new-session",
        versions: BOTH,
        statements: &["MQTT-3.1.2-4", "MQTT3-3.1.2-6"],
        looks_for: "a client that begins a new session sends nothing of the old: no PUBREL, no DUP",
        run: |bench| {
            if bench.habits().is_some_and(|habits| !habits.reconnects || habits.resumes) {
                return skipped("the client begins no new session when the connection is lost");
            }
            let (visitor, _) = some_publisher(bench, ConnAckProperties::default())?;
            visitor.abort();
            let mut visitor = bench.arrival()?;
            if !visitor.connect().clean_start {
                return skipped("the client begins no new session when the connection is lost");
            }
            visitor.answers_publishes = false;
            visitor.accept(false, ConnAckProperties::default());
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let old = packets.iter().find(|packet| match packet {
                Packet::Publish(publish) => publish.delivery.dup(),
                Packet::PubRel(_) => true,
                _ => false,
            });
            match old {
                Some(packet) => failed(format!("{packet} of the old session")),
                None => passed(),
            }
        },
    },
    Check {
        name: "resuming/expired-comes-again",
        versions: V5,
        statements: &["MQTT-4.3.3-7"],
        looks_for: "a message with QoS 2 that was sent comes again although it has expired since",
        run: expired,
    },
    Check {
        name: "resuming/duplicate-qos-2",
        versions: BOTH,
        statements: &["MQTT-4.3.3-10", "MQTT-4.1.0-1", "MQTT3-4.3.3-2", "MQTT3-4.1.0-1"],
        looks_for: "a message with QoS 2 that comes again on the next connection is delivered once",
        run: duplicate,
    },
    Check {
        name: "resuming/released-on-the-next-connection",
        versions: BOTH,
        statements: &["MQTT-4.3.3-11", "MQTT3-4.3.3-2"],
        looks_for: "PUBREL on the next connection is answered by PUBCOMP",
        run: |bench| {
            let (mut visitor, packet_identifier, _) = received(bench)?;
            visitor.acknowledge(Packet::PubRel, packet_identifier, ReasonCode::Success);
            visitor.expect_ack(PacketType::PubComp, packet_identifier)?;
            passed()
        },
    },
    Check {
        name: "resuming/message-of-an-old-session",
        versions: V5,
        statements: &["MQTT-3.2.2-5", "MQTT-4.3.3-8"],
        looks_for: "after Session Present 0 an old Packet Identifier is a new message",
        run: |bench| {
            let (mut visitor, topic_name, packet_identifier) = unreleased(bench)?;
            visitor.note("the session is lost");
            visitor.abort();
            visitor = bench.resumed()?;
            visitor.accept(false, ConnAckProperties::default());
            let delivery = Delivery::ExactlyOnce { packet_identifier, dup: false };
            visitor.deliver_as(&topic_name, delivery, "of-a-new-session");
            visitor.expect_flow(ExactlyOnce, packet_identifier)?;
            match bench.await_printed("of-a-new-session", 1, Duration::from_secs(1)) {
                Some(0) if bench.printed("of-the-old-session") == Some(1) => {
                    failed("the message of the new session is taken for one of the old")
                }
                Some(1) => passed(),
                _ => seen("acknowledges; what it delivers can't be seen"),
            }
        },
    },
    Check {
        name: "resuming/aliases-forgotten",
        versions: V5,
        statements: &["MQTT-3.3.2-7"],
        looks_for: "Topic Aliases of a lost connection are not used on the next",
        run: |bench| {
            bench.known_to_resume()?;
            let properties = || ConnAckProperties {
                topic_alias_maximum: Some(5),
                ..ConnAckProperties::default()
            };
            let (visitor, first) = some_publisher(bench, properties())?;
            let had_alias = first.topic.alias().is_some();
            visitor.abort();
            let mut visitor = bench.resumed()?;
            visitor.accept(true, properties());
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let first = packets.iter().find_map(|packet| match packet {
                Packet::Publish(publish) => Some(publish),
                _ => None,
            });
            match first {
                Some(publish) if publish.topic.name().is_none() => {
                    failed("the first message of a connection has an alias and no name")
                }
                _ if had_alias => passed(),
                _ => seen("uses no Topic Alias"),
            }
        },
    },
    Check {
        name: "resuming/without-aliases",
        versions: V5,
        statements: &["MQTT-3.3.2-7", "MQTT-3.2.2-18"],
        looks_for: "a server that allows Topic Aliases no more gets none in what is sent again",
        run: |bench| {
            bench.known_to_resume()?;
            let properties =
                ConnAckProperties { topic_alias_maximum: Some(5), ..ConnAckProperties::default() };
            let (visitor, _) = some_publisher(bench, properties)?;
            visitor.abort();
            let mut visitor = bench.resumed()?;
            visitor.accept(true, ConnAckProperties::default());
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let aliased = packets.iter().find(|packet| {
                matches!(packet, Packet::Publish(publish) if publish.topic.alias().is_some())
            });
            match aliased {
                Some(packet) => failed(format!("{packet} has a Topic Alias")),
                None => passed(),
            }
        },
    },
    Check {
        name: "resuming/within-receive-maximum",
        versions: V5,
        statements: &["MQTT-3.3.4-7", "MQTT-4.9.0-1", "MQTT-4.9.0-2"],
        looks_for: "what is sent again keeps to a smaller Receive Maximum",
        run: |bench| {
            let sent = several(bench)?;
            let mut visitor = bench.resumed()?;
            visitor.answers_publishes = false;
            let properties =
                ConnAckProperties { receive_maximum: Some(1), ..ConnAckProperties::default() };
            visitor.accept(true, properties);
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let count = packets.iter().filter(|packet| {
                matches!(packet, Packet::Publish(publish) if publish.delivery.qos() > AtMostOnce)
            });
            let count = count.count();
            ensure(count <= 1, format!("{count} of {} messages come at once", sent.len()))?;
            passed()
        },
    },
];

/// A client whose message with QoS 1 or 2 waits for its acknowledgement.
fn some_publisher(
    bench: &mut Bench,
    properties: ConnAckProperties,
) -> Result<(Visitor, Publish), Stop> {
    let qos = if bench.known_publisher(AtLeastOnce).is_ok() { AtLeastOnce } else { ExactlyOnce };
    bench.publisher_with(qos, properties)
}

fn message_again(bench: &mut Bench, qos: QoS) -> Verdict {
    bench.known_to_resume()?;
    let (visitor, publish) = bench.publisher(qos)?;
    visitor.abort();
    let mut visitor = bench.resumed()?;
    visitor.answers_publishes = false;
    visitor.accept(true, ConnAckProperties::default());
    while let Some(packet) = visitor.wait_for(PacketType::Publish)? {
        let Packet::Publish(again) = packet else { continue };
        if again.payload != publish.payload || again.delivery.qos() != qos {
            continue;
        }
        let (before, after) =
            (publish.delivery.packet_identifier(), again.delivery.packet_identifier());
        ensure(before == after, format!("the message has {after:?} now, and had {before:?}"))?;
        ensure(again.delivery.dup(), "the message comes again without DUP")?;
        visitor.acknowledge_publish(&again)?;
        return passed();
    }
    failed("the message does not come again")
}

fn expired(bench: &mut Bench) -> Verdict {
    bench.known_to_resume()?;
    bench.known_publisher(ExactlyOnce)?;
    let mut visitor = bench.connected()?;
    visitor.answers_publishes = false;
    let (packets, _) = visitor.observe(bench.patience() / 5)?;
    let expiring = packets.into_iter().find_map(|packet| match packet {
        Packet::Publish(publish) if publish.delivery.qos() == ExactlyOnce => {
            let secs = publish.message_expiry_interval.filter(|secs| *secs <= 2)?;
            Some((publish, Duration::from_secs(secs.into())))
        }
        _ => None,
    });
    let Some((publish, interval)) = expiring else {
        return skipped("the client publishes nothing with QoS 2 that expires within two seconds");
    };
    visitor.observe(interval + Duration::from_millis(200))?;
    visitor.abort();
    let mut visitor = bench.resumed()?;
    visitor.answers_publishes = false;
    visitor.accept(true, ConnAckProperties::default());
    while let Some(packet) = visitor.wait_for(PacketType::Publish)? {
        if let Packet::Publish(again) = packet
            && again.delivery.packet_identifier() == publish.delivery.packet_identifier()
            && again.delivery.qos() == ExactlyOnce
        {
            return passed();
        }
    }
    failed("the message that expired after it was sent does not come again")
}

/// A client that has sent PUBREL and waits for PUBCOMP.
fn released(bench: &mut Bench) -> Result<(Visitor, PacketIdentifier), Stop> {
    bench.known_to_resume()?;
    let (mut visitor, publish) = bench.publisher(ExactlyOnce)?;
    let packet_identifier = publish.delivery.packet_identifier().expect("QoS 2 has one");
    visitor.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::Success);
    visitor.expect_ack(PacketType::PubRel, packet_identifier)?;
    Ok((visitor, packet_identifier))
}

fn pubrel_again(bench: &mut Bench) -> Verdict {
    let (visitor, packet_identifier) = released(bench)?;
    visitor.abort();
    let mut visitor = bench.resumed()?;
    visitor.answers_publishes = false;
    visitor.accept(true, ConnAckProperties::default());
    visitor.expect_ack(PacketType::PubRel, packet_identifier)?;
    visitor.acknowledge(Packet::PubComp, packet_identifier, ReasonCode::Success);
    let (packets, _) = visitor.observe(bench.patience() / 10)?;
    let again = packets.iter().find(|packet| {
        matches!(packet, Packet::Publish(publish)
            if publish.delivery.packet_identifier() == Some(packet_identifier)
                && publish.delivery.dup())
    });
    match again {
        Some(packet) => failed(format!("after PUBREL comes {packet}")),
        None => passed(),
    }
}

fn not_again(bench: &mut Bench, reason_code: ReasonCode) -> Verdict {
    bench.known_to_resume()?;
    let (mut visitor, publish) = some_publisher(bench, ConnAckProperties::default())?;
    let packet_identifier = publish.delivery.packet_identifier().expect("QoS 1 and 2 have one");
    match publish.delivery {
        _ if reason_code.is_error() => {
            let packet = match publish.delivery.qos() {
                ExactlyOnce => Packet::PubRec,
                _ => Packet::PubAck,
            };
            visitor.acknowledge(packet, packet_identifier, reason_code);
        }
        _ => visitor.acknowledge_publish(&publish)?,
    }
    let (_, closed) = visitor.observe(bench.patience() / 10)?;
    if closed {
        return skipped("the client leaves when its message is acknowledged");
    }
    visitor.abort();
    let mut visitor = bench.resumed()?;
    visitor.accept(true, ConnAckProperties::default());
    let (packets, _) = visitor.observe(bench.patience() / 5)?;
    let again = packets.iter().find(|packet| match packet {
        Packet::Publish(again) => {
            again.delivery.packet_identifier() == Some(packet_identifier)
                && again.delivery.dup()
                && again.payload == publish.payload
        }
        Packet::PubRel(ack) => ack.packet_identifier == packet_identifier,
        _ => false,
    });
    match again {
        Some(packet) => failed(format!("what was done comes again: {packet}")),
        None => passed(),
    }
}

/// Several messages of a client that are not acknowledged when its connection is lost.
fn several(bench: &mut Bench) -> Result<Vec<Publish>, Stop> {
    bench.known_to_resume()?;
    let (mut visitor, first) = some_publisher(bench, ConnAckProperties::default())?;
    let (packets, _) = visitor.observe(bench.patience() / 5)?;
    let mut sent = vec![first];
    sent.extend(packets.into_iter().filter_map(|packet| match packet {
        Packet::Publish(publish) if publish.delivery.qos() > AtMostOnce => Some(publish),
        _ => None,
    }));
    if sent.len() < 2 {
        return skipped("the client has one message under way at a time");
    }
    visitor.abort();
    Ok(sent)
}

fn order(bench: &mut Bench) -> Verdict {
    let sent = several(bench)?;
    let mut visitor = bench.resumed()?;
    visitor.answers_publishes = false;
    visitor.accept(true, ConnAckProperties::default());
    let (packets, _) = visitor.observe(bench.patience() / 5)?;
    let again: Vec<PacketIdentifier> = packets
        .iter()
        .filter_map(|packet| match packet {
            Packet::Publish(publish) if publish.delivery.dup() => {
                publish.delivery.packet_identifier()
            }
            _ => None,
        })
        .collect();
    let before: Vec<PacketIdentifier> =
        sent.iter().filter_map(|publish| publish.delivery.packet_identifier()).collect();
    let shown = |ids: &[PacketIdentifier]| {
        ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    // The connection was lost while more may have been on their way.
    let came = again.get(..before.len().min(again.len())).unwrap_or_default();
    ensure(came == before, format!("sent {}, and again {}", shown(&before), shown(&again)))?;
    passed()
}

fn session_lost(bench: &mut Bench) -> Verdict {
    bench.known_to_resume()?;
    let (visitor, publish) = some_publisher(bench, ConnAckProperties::default())?;
    visitor.abort();
    let mut visitor = bench.resumed()?;
    visitor.answers_publishes = false;
    visitor.accept(false, ConnAckProperties::default());
    let (packets, _) = visitor.observe(bench.patience() / 5)?;
    for packet in &packets {
        match packet {
            Packet::Publish(again) if again.delivery.dup() => {
                return failed(format!("{packet} of the session that is lost"));
            }
            Packet::Publish(again) if again.payload == publish.payload => {
                return seen("publishes the message as a new one");
            }
            _ => {}
        }
    }
    seen("forgets the message")
}

/// A client that has answered a message with QoS 2 by PUBREC.
fn unreleased(
    bench: &mut Bench,
) -> Result<(Visitor, dunlin_codec::TopicName, PacketIdentifier), Stop> {
    bench.known_to_resume()?;
    let (mut visitor, topic_name) = bench.subscriber(ExactlyOnce)?;
    let packet_identifier = visitor.deliver(&topic_name, ExactlyOnce, "of-the-old-session");
    visitor.expect_ack(PacketType::PubRec, packet_identifier)?;
    Ok((visitor, topic_name, packet_identifier))
}

/// The same on the next connection of the session.
fn received(
    bench: &mut Bench,
) -> Result<(Visitor, PacketIdentifier, dunlin_codec::TopicName), Stop> {
    let (visitor, topic_name, packet_identifier) = unreleased(bench)?;
    visitor.abort();
    let mut visitor = bench.resumed()?;
    visitor.accept(true, ConnAckProperties::default());
    Ok((visitor, packet_identifier, topic_name))
}

fn duplicate(bench: &mut Bench) -> Verdict {
    let (mut visitor, packet_identifier, topic_name) = received(bench)?;
    let delivery = Delivery::ExactlyOnce { packet_identifier, dup: true };
    visitor.deliver_as(&topic_name, delivery, "of-the-old-session");
    visitor.expect_flow(ExactlyOnce, packet_identifier)?;
    visitor.new_packet_identifier();
    visitor.deliver_fully(&topic_name, ExactlyOnce, "afterwards")?;
    match bench.await_printed("afterwards", 1, Duration::from_secs(1)) {
        Some(1..) => {
            let count = bench.printed("of-the-old-session").unwrap_or(0);
            ensure(count == 1, format!("the message is delivered {count} times"))?;
            passed()
        }
        _ => seen("acknowledges; what it delivers can't be seen"),
    }
}
