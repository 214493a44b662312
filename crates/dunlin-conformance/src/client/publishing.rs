//! Messages of a client, what it is allowed to send, and what acknowledgements mean to it.
//! Spec: §3.2.2.3, §3.3, §4.3, §4.9.

use super::{Bench, Check, Left, Visitor};
use crate::{BOTH, Stop, V5, Verdict, encoded, ensure, failed, passed, seen, skipped};
use dunlin_codec::{ConnAckProperties, Packet, PacketType, Publish, QoS, ReasonCode};
use std::time::{Duration, Instant};

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "publishing/qos-0",
        versions: BOTH,
        statements: &["MQTT-4.3.1-1", "MQTT-2.2.1-2", "MQTT3-4.3.1-1", "MQTT3-2.3.1-5"],
        looks_for: "a message with QoS 0 has no DUP and no Packet Identifier",
        run: |bench| {
            let (_visitor, publish) = bench.publisher(AtMostOnce)?;
            ensure(!publish.delivery.dup(), "QoS 0 with DUP")?;
            passed()
        },
    },
    Check {
        name: "publishing/qos-1",
        versions: BOTH,
        statements: &["MQTT-4.3.2-2", "MQTT-2.2.1-3", "MQTT3-4.3.2-1", "MQTT3-2.3.1-1"],
        looks_for: "a message with QoS 1 comes without DUP, and once when it is acknowledged",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(AtLeastOnce)?;
            ensure(!publish.delivery.dup(), "DUP on the first sending")?;
            visitor.acknowledge_publish(&publish)?;
            not_again(&mut visitor, &publish)
        },
    },
    Check {
        name: "publishing/qos-2",
        versions: BOTH,
        statements: &[
            "MQTT-4.3.3-2",
            "MQTT-4.3.3-4",
            "MQTT-2.2.1-5",
            "MQTT3-4.3.3-1",
            "MQTT3-2.3.1-6",
        ],
        looks_for: "a message with QoS 2 comes without DUP; PUBREC is answered by PUBREL",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(ExactlyOnce)?;
            ensure(!publish.delivery.dup(), "DUP on the first sending")?;
            visitor.acknowledge_publish(&publish)?;
            not_again(&mut visitor, &publish)
        },
    },
    Check {
        name: "publishing/waits-for-puback",
        versions: BOTH,
        statements: &["MQTT-4.3.2-3", "MQTT-4.4.0-1", "MQTT3-4.3.2-1"],
        looks_for: "without PUBACK the client waits, and in MQTT 5.0 sends the message no second \
                    time on the connection",
        run: |bench| waits(bench, AtLeastOnce),
    },
    Check {
        name: "publishing/waits-for-pubrec",
        versions: BOTH,
        statements: &["MQTT-4.3.3-3", "MQTT-4.4.0-1", "MQTT3-4.3.3-1"],
        looks_for: "without PUBREC the client waits, and in MQTT 5.0 sends the message no second \
                    time on the connection",
        run: |bench| waits(bench, ExactlyOnce),
    },
    Check {
        name: "publishing/waits-for-pubcomp",
        versions: BOTH,
        statements: &["MQTT-4.3.3-5", "MQTT-4.3.3-6", "MQTT3-4.3.3-1"],
        looks_for: "without PUBCOMP the client waits, and does not send the message again",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(ExactlyOnce)?;
            let packet_identifier = publish.delivery.packet_identifier().expect("QoS 2 has one");
            visitor.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::Success);
            visitor.expect_ack(PacketType::PubRel, packet_identifier)?;
            not_again(&mut visitor, &publish)
        },
    },
    Check {
        name: "publishing/pubrec-twice",
        versions: BOTH,
        statements: &["MQTT-4.3.3-6", "MQTT3-4.3.3-1"],
        looks_for: "a second PUBREC is answered by PUBREL or not at all, never by the message",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(ExactlyOnce)?;
            let packet_identifier = publish.delivery.packet_identifier().expect("QoS 2 has one");
            for _ in 0..2 {
                visitor.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::Success);
            }
            visitor.expect_ack(PacketType::PubRel, packet_identifier)?;
            let (packets, closed) = visitor.observe(bench.patience() / 5)?;
            ensure(!packets.iter().any(|packet| is_of(packet, &publish)), "the message again")?;
            let again = packets.iter().any(|packet| packet.packet_type() == PacketType::PubRel);
            match (again, closed) {
                (true, _) => seen("PUBREL again"),
                (false, true) => seen("closes the connection"),
                (false, false) => seen("one PUBREL"),
            }
        },
    },
    Check {
        name: "publishing/puback-for-qos-2",
        versions: BOTH,
        statements: &["MQTT-4.3.3-3", "MQTT3-4.3.3-1"],
        looks_for: "a PUBACK does not acknowledge a message with QoS 2",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(ExactlyOnce)?;
            let packet_identifier = publish.delivery.packet_identifier().expect("QoS 2 has one");
            visitor.acknowledge(Packet::PubAck, packet_identifier, ReasonCode::Success);
            let (packets, closed) = visitor.observe(bench.patience() / 5)?;
            let disconnect = packets.iter().find_map(|packet| match packet {
                Packet::Disconnect(disconnect) => Some(disconnect.reason_code),
                _ => None,
            });
            match (disconnect, closed) {
                (Some(ReasonCode::Success), _) => {
                    failed("the client takes the message for delivered, and leaves")
                }
                (Some(code), _) => Left::Disconnect(code).passed(),
                (None, true) => Left::Silently.passed(),
                (None, false) => {
                    visitor.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::Success);
                    visitor.expect_ack(PacketType::PubRel, packet_identifier)?;
                    seen("ignores it")
                }
            }
        },
    },
    Check {
        name: "publishing/pubrec-refuses",
        versions: V5,
        statements: &["MQTT-4.3.3-4"],
        looks_for: "a PUBREC with an error is not answered by PUBREL",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(ExactlyOnce)?;
            let packet_identifier = publish.delivery.packet_identifier().expect("QoS 2 has one");
            visitor.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::NotAuthorized);
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let wrong = packets.iter().find(|packet| {
                matches!(packet, Packet::PubRel(ack) if ack.packet_identifier == packet_identifier)
                    || is_of(packet, &publish)
            });
            match wrong {
                Some(packet) => failed(format!("after the refusal comes {packet}")),
                None => passed(),
            }
        },
    },
    Check {
        name: "publishing/puback-refuses",
        versions: V5,
        statements: &["MQTT-4.4.0-2", "MQTT-4.3.2-3"],
        looks_for: "a message that PUBACK refuses is not sent again",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(AtLeastOnce)?;
            let packet_identifier = publish.delivery.packet_identifier().expect("QoS 1 has one");
            visitor.acknowledge(Packet::PubAck, packet_identifier, ReasonCode::NotAuthorized);
            not_again(&mut visitor, &publish)
        },
    },
    Check {
        name: "publishing/no-matching-subscribers",
        versions: V5,
        statements: &["MQTT-4.3.3-4"],
        looks_for: "PUBREC that says that nobody has subscribed is no refusal",
        run: |bench| {
            let (mut visitor, publish) = bench.publisher(ExactlyOnce)?;
            let packet_identifier = publish.delivery.packet_identifier().expect("QoS 2 has one");
            let code = ReasonCode::NoMatchingSubscribers;
            visitor.acknowledge(Packet::PubRec, packet_identifier, code);
            visitor.expect_ack(PacketType::PubRel, packet_identifier)?;
            passed()
        },
    },
    Check {
        name: "publishing/maximum-qos-0",
        versions: V5,
        statements: &["MQTT-3.2.2-11"],
        looks_for: "with Maximum QoS 0 nothing is published with QoS 1 or 2",
        run: |bench| maximum_qos(bench, AtMostOnce),
    },
    Check {
        name: "publishing/maximum-qos-1",
        versions: V5,
        statements: &["MQTT-3.2.2-11"],
        looks_for: "with Maximum QoS 1 nothing is published with QoS 2",
        run: |bench| maximum_qos(bench, AtLeastOnce),
    },
    Check {
        name: "publishing/no-retained-messages",
        versions: V5,
        statements: &["MQTT-3.2.2-14"],
        looks_for: "where the server has no retained messages none is published",
        run: |bench| {
            if bench.habits().is_some_and(|habits| !habits.retains) {
                return skipped("the client publishes nothing retained");
            }
            let properties =
                ConnAckProperties { retain_available: Some(false), ..ConnAckProperties::default() };
            let published = published(bench, properties)?;
            ensure(!published.iter().any(|publish| publish.retain), "a retained message comes")?;
            of_count(&published)
        },
    },
    Check {
        name: "publishing/maximum-packet-size",
        versions: V5,
        statements: &["MQTT-3.2.2-15"],
        looks_for: "a message larger than the Maximum Packet Size of the server is not sent",
        run: |bench| {
            let Some(habits) = bench.habits() else {
                return skipped("how large the client's messages are is not known");
            };
            let Some(len) = habits.publish_len else {
                return skipped("the client publishes nothing");
            };
            // Large enough for all else that a client sends.
            let most = (len - 1).max(30);
            if most >= len {
                return skipped("the client's messages are too small");
            }
            let version = bench.version();
            let properties = ConnAckProperties {
                maximum_packet_size: u32::try_from(most).ok(),
                ..ConnAckProperties::default()
            };
            let published = published(bench, properties)?;
            for publish in &published {
                let len = encoded(publish.clone(), version).len();
                ensure(len <= most, format!("{len} bytes come where {most} are allowed"))?;
            }
            of_count(&published)
        },
    },
    Check {
        name: "publishing/receive-maximum",
        versions: V5,
        statements: &["MQTT-3.3.4-7", "MQTT-4.9.0-1", "MQTT-4.9.0-2"],
        looks_for: "with Receive Maximum 1 the next message comes after the acknowledgement",
        run: |bench| {
            let properties =
                ConnAckProperties { receive_maximum: Some(1), ..ConnAckProperties::default() };
            let (mut visitor, first) = one_under_way(bench, properties)?;
            let (packets, _) = visitor.observe(bench.patience() / 5)?;
            let early = packets.iter().find(|packet| {
                matches!(packet, Packet::Publish(publish) if publish.delivery.qos() > AtMostOnce)
            });
            if let Some(packet) = early {
                return failed(format!("a second message before the acknowledgement: {packet}"));
            }
            visitor.acknowledge_publish(&first)?;
            match visitor.wait_for(PacketType::Publish)? {
                Some(_) => passed(),
                None => seen("the client has one message alone"),
            }
        },
    },
    Check {
        name: "publishing/quota-holds-nothing-else-back",
        versions: V5,
        statements: &["MQTT-3.3.4-8", "MQTT-4.9.0-3"],
        looks_for: "PINGREQ comes in time while Receive Maximum holds messages back",
        run: |bench| {
            let properties = ConnAckProperties {
                receive_maximum: Some(1),
                server_keep_alive: Some(1),
                ..ConnAckProperties::default()
            };
            let (mut visitor, _) = one_under_way(bench, properties)?;
            let deadline = Instant::now() + Duration::from_secs(2);
            match visitor.wait_for_until(PacketType::PingReq, deadline)? {
                Some(_) => passed(),
                None => failed("PINGREQ expected within two seconds; none comes"),
            }
        },
    },
    Check {
        name: "publishing/topic-aliases",
        versions: V5,
        statements: &["MQTT-3.2.2-17", "MQTT-3.2.2-18", "MQTT-3.3.2-9", "MQTT-3.3.2-8"],
        looks_for: "Topic Aliases stay within the Topic Alias Maximum of the server",
        run: |bench| {
            let properties =
                ConnAckProperties { topic_alias_maximum: Some(2), ..ConnAckProperties::default() };
            let published = published(bench, properties)?;
            if published.is_empty() {
                return skipped("the client publishes nothing");
            }
            let aliases = published.iter().filter_map(|publish| publish.topic.alias());
            let highest = aliases.map(dunlin_codec::TopicAlias::value).max();
            match highest {
                None => seen("uses no Topic Alias"),
                Some(1 | 2) => seen("uses Topic Aliases"),
                Some(alias) => failed(format!("the Topic Alias {alias} where 2 is the highest")),
            }
        },
    },
];

/// Whether it is this message.
fn is_of(packet: &Packet, publish: &Publish) -> bool {
    matches!(packet, Packet::Publish(other)
        if other.delivery.packet_identifier() == publish.delivery.packet_identifier()
            && other.payload == publish.payload)
}

/// The message does not come again within a moment. Others may, also with its Packet Identifier if
/// that is free.
fn not_again(visitor: &mut Visitor, publish: &Publish) -> Verdict {
    let (packets, _) = visitor.observe(visitor.patience() / 5)?;
    let again = packets.iter().find(|packet| {
        matches!(packet, Packet::Publish(other) if other.delivery.dup()) && is_of(packet, publish)
    });
    match again {
        Some(packet) => failed(format!("the message comes again: {packet}")),
        None => passed(),
    }
}

fn waits(bench: &mut Bench, qos: QoS) -> Verdict {
    let (mut visitor, publish) = bench.publisher(qos)?;
    let (packets, _) = visitor.observe(bench.patience() / 5)?;
    for packet in &packets {
        if is_of(packet, &publish) {
            let Packet::Publish(again) = packet else { continue };
            if bench.is_v5() {
                return failed("the message comes again on the same connection");
            }
            ensure(again.delivery.dup(), "the message comes again without DUP")?;
            return seen("sends it again on the same connection");
        }
        let released = matches!(packet, Packet::PubRel(ack)
            if Some(ack.packet_identifier) == publish.delivery.packet_identifier());
        ensure(!released, "PUBREL without PUBREC")?;
    }
    passed()
}

/// All that the client publishes, acknowledged, after a CONNACK with these properties.
fn published(bench: &mut Bench, properties: ConnAckProperties) -> Result<Vec<Publish>, Stop> {
    if bench.habits().is_some_and(|habits| habits.publishes == [false; 3]) {
        return skipped("the client publishes nothing");
    }
    let mut visitor = bench.connected_with(properties)?;
    let (packets, _) = visitor.observe(bench.patience() * 2 / 5)?;
    let publishes = packets.into_iter().filter_map(|packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    });
    Ok(publishes.collect())
}

fn of_count(published: &[Publish]) -> Verdict {
    seen(if published.is_empty() { "publishes nothing" } else { "publishes what is allowed" })
}

fn maximum_qos(bench: &mut Bench, most: QoS) -> Verdict {
    if let Some(habits) = bench.habits() {
        let above = usize::from(most.value()) + 1;
        if !habits.publishes[above..].contains(&true) {
            return skipped(format!("the client publishes nothing above QoS {}", most.value()));
        }
    }
    let properties = ConnAckProperties { maximum_qos: Some(most), ..ConnAckProperties::default() };
    let published = published(bench, properties)?;
    match published.iter().find(|publish| publish.delivery.qos() > most) {
        Some(publish) => failed(format!("QoS {} comes", publish.delivery.qos().value())),
        None => of_count(&published),
    }
}

/// A client with a message of QoS 1 or 2 that is not acknowledged.
fn one_under_way(
    bench: &mut Bench,
    properties: ConnAckProperties,
) -> Result<(Visitor, Publish), Stop> {
    if bench.known_publisher(AtLeastOnce).is_err() && bench.known_publisher(ExactlyOnce).is_err() {
        return skipped("the client publishes nothing with QoS 1 or 2");
    }
    let mut visitor = bench.connected_with(properties)?;
    visitor.answers_publishes = false;
    let deadline = Instant::now() + visitor.patience();
    while let Some(Packet::Publish(publish)) =
        visitor.wait_for_until(PacketType::Publish, deadline)?
    {
        if publish.delivery.qos() > AtMostOnce {
            return Ok((visitor, publish));
        }
    }
    skipped("the client publishes nothing with QoS 1 or 2")
}
