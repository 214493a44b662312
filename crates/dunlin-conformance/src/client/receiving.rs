//! Messages to a client that has subscribed. Spec: §3.3, §4.3.

use super::{Bench, Check, Visitor};
use crate::{
    BOTH, Stop, V5, Verdict, encoded, ensure, failed, message, message_of, passed, seen, skipped,
};
use dunlin_codec::{
    ConnAckProperties, Delivery, MessageProperties, PacketIdentifier, PacketType, Publish,
    PublishTopic, QoS, ReasonCode, Text, TopicAlias, TopicName,
};
use std::time::Duration;

use QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "receiving/qos-0",
        versions: BOTH,
        statements: &["MQTT-3.3.4-1", "MQTT3-3.3.4-1"],
        looks_for: "a message with QoS 0 is taken without an answer",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtMostOnce)?;
            visitor.deliver(&topic_name, AtMostOnce, "qos-0-message");
            arrives(bench, &mut visitor, "qos-0-message", 1)
        },
    },
    Check {
        name: "receiving/qos-1",
        versions: BOTH,
        statements: &[
            "MQTT-3.3.4-1",
            "MQTT-4.3.2-4",
            "MQTT-2.2.1-5",
            "MQTT3-3.3.4-1",
            "MQTT3-4.3.2-2",
            "MQTT3-2.3.1-6",
        ],
        looks_for: "a message with QoS 1 is answered by PUBACK",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            visitor.deliver_fully(&topic_name, AtLeastOnce, "qos-1-message")?;
            arrives(bench, &mut visitor, "qos-1-message", 1)
        },
    },
    Check {
        name: "receiving/qos-2",
        versions: BOTH,
        statements: &[
            "MQTT-3.3.4-1",
            "MQTT-4.3.3-8",
            "MQTT-4.3.3-11",
            "MQTT-2.2.1-5",
            "MQTT3-3.3.4-1",
            "MQTT3-4.3.3-2",
            "MQTT3-2.3.1-6",
        ],
        looks_for: "a message with QoS 2 is answered by PUBREC, PUBREL by PUBCOMP",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(ExactlyOnce)?;
            visitor.deliver_fully(&topic_name, ExactlyOnce, "qos-2-message")?;
            arrives(bench, &mut visitor, "qos-2-message", 1)
        },
    },
    Check {
        name: "receiving/highest-packet-identifier",
        versions: BOTH,
        statements: &["MQTT-2.2.1-5", "MQTT3-2.3.1-6"],
        looks_for: "the Packet Identifier 65535 is repeated in PUBACK",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let packet_identifier = PacketIdentifier::new(u16::MAX).expect("is not zero");
            let delivery = Delivery::AtLeastOnce { packet_identifier, dup: false };
            visitor.deliver_as(&topic_name, delivery, "highest");
            visitor.expect_flow(AtLeastOnce, packet_identifier)?;
            passed()
        },
    },
    Check {
        name: "receiving/identifier-again-after-puback",
        versions: BOTH,
        statements: &["MQTT-4.3.2-5", "MQTT3-4.3.2-2"],
        looks_for: "after PUBACK a message with the same Packet Identifier is a new one",
        run: |bench| again(bench, AtLeastOnce),
    },
    Check {
        name: "receiving/identifier-again-after-pubcomp",
        versions: BOTH,
        statements: &["MQTT-4.3.3-12", "MQTT3-4.3.3-2"],
        looks_for: "after PUBCOMP a message with the same Packet Identifier is a new one",
        run: |bench| again(bench, ExactlyOnce),
    },
    Check {
        name: "receiving/duplicate-qos-2",
        versions: BOTH,
        statements: &["MQTT-4.3.3-10", "MQTT3-4.3.3-2"],
        looks_for: "a message with QoS 2 that comes again before PUBREL is answered by PUBREC, and \
                    delivered once",
        run: duplicate,
    },
    Check {
        name: "receiving/dup-of-an-unknown-message",
        versions: BOTH,
        statements: &["MQTT-4.3.2-4", "MQTT-4.3.3-8", "MQTT3-4.3.2-2", "MQTT3-4.3.3-2"],
        looks_for: "a message with DUP that the client has not seen is delivered",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let packet_identifier = visitor.new_packet_identifier();
            let delivery = Delivery::AtLeastOnce { packet_identifier, dup: true };
            visitor.deliver_as(&topic_name, delivery, "with-dup");
            visitor.expect_flow(AtLeastOnce, packet_identifier)?;
            arrives(bench, &mut visitor, "with-dup", 1)
        },
    },
    Check {
        name: "receiving/unknown-subscription",
        versions: BOTH,
        statements: &["MQTT-4.5.0-2", "MQTT3-4.5.0-2"],
        looks_for: "a message that matches no subscription is acknowledged",
        run: |bench| {
            let (mut visitor, _) = bench.subscriber(AtLeastOnce)?;
            let topic_name = TopicName::from_static("dunlin-conformance/nobody/asked");
            visitor.deliver_fully(&topic_name, AtLeastOnce, "unasked")?;
            passed()
        },
    },
    Check {
        name: "receiving/empty-payload",
        versions: BOTH,
        statements: &["MQTT-3.3.4-1", "MQTT3-3.3.4-1"],
        looks_for: "a message without content is a message",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            visitor.deliver_fully(&topic_name, AtLeastOnce, "")?;
            passed()
        },
    },
    Check {
        name: "receiving/retained",
        versions: BOTH,
        statements: &["MQTT-3.3.4-1", "MQTT3-3.3.4-1"],
        looks_for: "a retained message is delivered as any other",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let packet_identifier = visitor.new_packet_identifier();
            let delivery = Delivery::AtLeastOnce { packet_identifier, dup: false };
            visitor.send(Publish {
                delivery,
                retain: true,
                ..message(&topic_name, "retained-message")
            });
            visitor.expect_flow(AtLeastOnce, packet_identifier)?;
            arrives(bench, &mut visitor, "retained-message", 1)
        },
    },
    Check {
        name: "receiving/large-payload",
        versions: BOTH,
        statements: &["MQTT-4.2-1", "MQTT3-4.2.0-1"],
        looks_for: "a message of 200,000 bytes arrives, unless the client allows less",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let most = visitor.connect().properties.maximum_packet_size.unwrap_or(u32::MAX);
            if most < 210_000 {
                return skipped("the client's Maximum Packet Size is too small");
            }
            visitor.deliver_fully(&topic_name, AtLeastOnce, vec![b'x'; 200_000])?;
            passed()
        },
    },
    Check {
        name: "receiving/in-single-bytes",
        versions: BOTH,
        statements: &["MQTT-4.2-1", "MQTT3-4.2.0-1"],
        looks_for: "a message that arrives byte by byte is a message",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let packet_identifier = visitor.new_packet_identifier();
            let delivery = Delivery::AtLeastOnce { packet_identifier, dup: false };
            let publish = Publish { delivery, ..message(&topic_name, "in-single-bytes") };
            for byte in encoded(publish, bench.version()) {
                visitor.send_bytes(&[byte]);
            }
            visitor.expect_flow(AtLeastOnce, packet_identifier)?;
            arrives(bench, &mut visitor, "in-single-bytes", 1)
        },
    },
    Check {
        name: "receiving/byte-order-mark",
        versions: BOTH,
        statements: &["MQTT-1.5.4-3", "MQTT3-1.5.3-3"],
        looks_for: "U+FEFF in a Topic Name is a character as any other",
        run: |bench| {
            let (mut visitor, _) = bench.subscriber(AtLeastOnce)?;
            let topic_name = TopicName::from_static("\u{FEFF}dunlin/\u{FEFF}");
            visitor.deliver_fully(&topic_name, AtLeastOnce, "marked")?;
            passed()
        },
    },
    Check {
        name: "receiving/all-properties",
        versions: V5,
        statements: &["MQTT-4.3.2-4", "MQTT-1.5.7-1"],
        looks_for: "a message with every property is a message",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let text = |text: &str| text.parse::<Text>().expect("a plain text");
            let properties = MessageProperties {
                payload_format_indicator: Some(true),
                content_type: Some(text("text/plain")),
                response_topic: Some(TopicName::from_static("answers/here")),
                correlation_data: Some(vec![0, 1, 255].into()),
                user_properties: vec![(text("k"), text("v")), (text("k"), text("w"))],
            };
            let packet_identifier = visitor.new_packet_identifier();
            visitor.send(Publish {
                delivery: Delivery::AtLeastOnce { packet_identifier, dup: false },
                message_expiry_interval: Some(60),
                ..message_of(&topic_name, "all-properties", properties)
            });
            visitor.expect_flow(AtLeastOnce, packet_identifier)?;
            arrives(bench, &mut visitor, "all-properties", 1)
        },
    },
    Check {
        name: "receiving/message-that-expires",
        versions: V5,
        statements: &["MQTT-4.3.3-13"],
        looks_for: "the exchange of a message with QoS 2 goes on when the message has expired",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(ExactlyOnce)?;
            let packet_identifier = visitor.new_packet_identifier();
            visitor.send(Publish {
                delivery: Delivery::ExactlyOnce { packet_identifier, dup: false },
                message_expiry_interval: Some(1),
                ..message(&topic_name, "soon-expired")
            });
            visitor.expect_ack(PacketType::PubRec, packet_identifier)?;
            visitor.observe(Duration::from_millis(1200))?;
            visitor.acknowledge(
                dunlin_codec::Packet::PubRel,
                packet_identifier,
                ReasonCode::Success,
            );
            visitor.expect_ack(PacketType::PubComp, packet_identifier)?;
            passed()
        },
    },
    Check {
        name: "receiving/topic-alias",
        versions: V5,
        statements: &["MQTT-3.3.2-10"],
        looks_for: "every Topic Alias up to the client's Topic Alias Maximum can be used",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let most = visitor.connect().properties.topic_alias_maximum.unwrap_or(0);
            let Some(highest) = TopicAlias::new(most) else {
                return skipped("the client takes no Topic Alias");
            };
            let first = TopicAlias::new(1).expect("is not zero");
            for (alias, payload) in [(first, "by-first-alias"), (highest, "by-highest-alias")] {
                let named = PublishTopic::NameAndAlias(topic_name.clone(), alias);
                for topic in [named, PublishTopic::Alias(alias)] {
                    let packet_identifier = visitor.new_packet_identifier();
                    let delivery = Delivery::AtLeastOnce { packet_identifier, dup: false };
                    visitor.send(Publish { delivery, topic, ..message(&topic_name, payload) });
                    visitor.expect_flow(AtLeastOnce, packet_identifier)?;
                }
                arrives(bench, &mut visitor, payload, 2)?;
            }
            seen(format!("takes {most} Topic Aliases"))
        },
    },
    Check {
        name: "receiving/before-suback",
        versions: BOTH,
        statements: &["MQTT-4.5.0-2", "MQTT3-4.5.0-2"],
        looks_for: "a message in the same breath as SUBACK is acknowledged",
        run: |bench| {
            let mut visitor = bench.arrival()?;
            let topic_name = TopicName::from_static("dunlin-conformance/early");
            visitor.accept(false, ConnAckProperties::default());
            let packet_identifier = visitor.deliver(&topic_name, AtLeastOnce, "early");
            super::bench::await_subscription(&mut visitor, AtLeastOnce)?;
            visitor.expect_flow(AtLeastOnce, packet_identifier)?;
            passed()
        },
    },
];

/// What the client prints shows that the text has arrived so often. Where nobody can know, the
/// client has at least not left.
fn arrives(bench: &Bench, visitor: &mut Visitor, text: &str, times: usize) -> Verdict {
    let wait = Duration::from_secs(1).min(bench.patience());
    let prints = bench.habits().is_some_and(|habits| habits.prints);
    match bench.await_printed(text, times, wait) {
        Some(0) if prints => failed(format!("{text:?} is acknowledged, and never delivered")),
        Some(0) => stays(visitor, "prints no messages: only its acknowledgements were judged"),
        None => stays(visitor, "acknowledges; what it delivers can't be seen"),
        Some(count) => {
            ensure(
                count == times,
                format!("{text:?} is to be delivered {times} times, and is {count}"),
            )?;
            passed()
        }
    }
}

fn stays(visitor: &mut Visitor, otherwise: &str) -> Verdict {
    let (packets, closed) = visitor.observe(Duration::from_millis(50))?;
    let disconnect = packets.iter().find(|packet| packet.packet_type() == PacketType::Disconnect);
    match disconnect {
        Some(disconnect) => failed(format!("the client leaves: {disconnect}")),
        None if closed => failed("the client closes the connection"),
        None => seen(otherwise),
    }
}

fn delivery(qos: QoS, packet_identifier: PacketIdentifier, dup: bool) -> Delivery {
    match qos {
        AtMostOnce => Delivery::AtMostOnce,
        AtLeastOnce => Delivery::AtLeastOnce { packet_identifier, dup },
        ExactlyOnce => Delivery::ExactlyOnce { packet_identifier, dup },
    }
}

fn again(bench: &mut Bench, qos: QoS) -> Verdict {
    let (mut visitor, topic_name) = bench.subscriber(qos)?;
    let packet_identifier = visitor.new_packet_identifier();
    for _ in 0..2 {
        visitor.deliver_as(&topic_name, delivery(qos, packet_identifier, false), "same-identifier");
        visitor.expect_flow(qos, packet_identifier)?;
    }
    arrives(bench, &mut visitor, "same-identifier", 2)
}

fn duplicate(bench: &mut Bench) -> Verdict {
    let (mut visitor, topic_name) = bench.subscriber(ExactlyOnce)?;
    let packet_identifier = visitor.new_packet_identifier();
    let received = |visitor: &mut Visitor| -> Result<(), Stop> {
        let pubrec = visitor.expect_ack(PacketType::PubRec, packet_identifier)?;
        ensure(!pubrec.reason_code.is_error(), format!("PUBREC says {}", pubrec.reason_code))
    };
    for dup in [false, true, true] {
        visitor.deliver_as(
            &topic_name,
            delivery(ExactlyOnce, packet_identifier, dup),
            "exactly-once",
        );
        received(&mut visitor)?;
    }
    visitor.acknowledge(dunlin_codec::Packet::PubRel, packet_identifier, ReasonCode::Success);
    visitor.expect_ack(PacketType::PubComp, packet_identifier)?;
    // What is delivered late would be there before this.
    visitor.deliver_fully(&topic_name, ExactlyOnce, "afterwards")?;
    arrives(bench, &mut visitor, "afterwards", 1)?;
    arrives(bench, &mut visitor, "exactly-once", 1)
}
