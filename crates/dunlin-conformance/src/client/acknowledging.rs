//! Acknowledgements of a client that receives: their order, and those that nothing asked for.
//! Spec: §3.4 to §3.7, §4.6.

use super::connecting::ends;
use super::{Bench, Check};
use crate::{BOTH, V5, Verdict, ensure, failed, frame, passed, seen};
use dunlin_codec::{Packet, PacketIdentifier, PacketType, QoS, ReasonCode};

use QoS::{AtLeastOnce, ExactlyOnce};

/// Messages of a burst.
const BURST: usize = 10;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "acknowledging/pubacks-in-order",
        versions: BOTH,
        statements: &["MQTT-4.6.0-2", "MQTT3-4.6.0-2"],
        looks_for: "PUBACKs come in the order of the messages",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(AtLeastOnce)?;
            let burst = burst_of(visitor.connect().properties.receive_maximum);
            let sent = (0..burst).map(|_| visitor.deliver(&topic_name, AtLeastOnce, "ordered"));
            for packet_identifier in sent.collect::<Vec<_>>() {
                visitor.expect_ack(PacketType::PubAck, packet_identifier)?;
            }
            passed()
        },
    },
    Check {
        name: "acknowledging/pubrecs-in-order",
        versions: BOTH,
        statements: &["MQTT-4.6.0-3", "MQTT3-4.6.0-3"],
        looks_for: "PUBRECs come in the order of the messages, whatever the order of PUBREL",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(ExactlyOnce)?;
            let burst = burst_of(visitor.connect().properties.receive_maximum);
            let sent = (0..burst).map(|_| visitor.deliver(&topic_name, ExactlyOnce, "ordered"));
            let sent: Vec<_> = sent.collect();
            for packet_identifier in &sent {
                visitor.expect_ack(PacketType::PubRec, *packet_identifier)?;
            }
            for packet_identifier in &sent {
                visitor.acknowledge(Packet::PubRel, *packet_identifier, ReasonCode::Success);
            }
            for packet_identifier in sent {
                visitor.expect_ack(PacketType::PubComp, packet_identifier)?;
            }
            passed()
        },
    },
    Check {
        name: "acknowledging/receive-maximum-is-usable",
        versions: V5,
        statements: &["MQTT-4.9.0-3", "MQTT-4.3.3-8"],
        looks_for: "as many messages as the client's Receive Maximum, at most 100, can be under way",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(ExactlyOnce)?;
            let most = visitor.connect().properties.receive_maximum.unwrap_or(u16::MAX).min(100);
            let sent = (0..most).map(|_| visitor.deliver(&topic_name, ExactlyOnce, "under-way"));
            for packet_identifier in sent.collect::<Vec<_>>() {
                visitor.expect_ack(PacketType::PubRec, packet_identifier)?;
            }
            passed()
        },
    },
    Check {
        name: "acknowledging/unknown-pubrel",
        versions: BOTH,
        statements: &["MQTT-4.3.3-11", "MQTT3-4.3.3-2"],
        looks_for: "a PUBREL that the client can't place is answered by PUBCOMP",
        run: unknown_pubrel,
    },
    Check {
        name: "acknowledging/pubrel-twice",
        versions: BOTH,
        statements: &["MQTT-4.3.3-11", "MQTT3-4.3.3-2"],
        looks_for: "PUBREL for a message that is done is answered by PUBCOMP",
        run: |bench| {
            let (mut visitor, topic_name) = bench.subscriber(ExactlyOnce)?;
            let packet_identifier = visitor.deliver(&topic_name, ExactlyOnce, "released-twice");
            visitor.expect_flow(ExactlyOnce, packet_identifier)?;
            visitor.acknowledge(Packet::PubRel, packet_identifier, ReasonCode::Success);
            let pubcomp = visitor.expect_ack(PacketType::PubComp, packet_identifier)?;
            seen(format!("PUBCOMP with {}", pubcomp.reason_code))
        },
    },
    Check {
        name: "acknowledging/unasked-puback",
        versions: BOTH,
        statements: &["MQTT-4.3.2-3", "MQTT3-4.8.0-1"],
        looks_for: "a PUBACK that answers nothing does no harm",
        run: |bench| unasked(bench, Packet::PubAck, "PUBACK"),
    },
    Check {
        name: "acknowledging/unasked-pubcomp",
        versions: BOTH,
        statements: &["MQTT-4.3.3-5", "MQTT3-4.8.0-1"],
        looks_for: "a PUBCOMP that answers nothing does no harm",
        run: |bench| unasked(bench, Packet::PubComp, "PUBCOMP"),
    },
    Check {
        name: "acknowledging/unasked-pubrec",
        versions: BOTH,
        statements: &["MQTT-4.3.3-4", "MQTT3-4.3.3-1"],
        looks_for: "a PUBREC that answers nothing is answered by PUBREL, or ignored, or ends it",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            let packet_identifier = PacketIdentifier::new(60_001).expect("is not zero");
            visitor.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::Success);
            let (packets, closed) = visitor.observe(bench.patience() / 5)?;
            let pubrel = packets.iter().find_map(|packet| match packet {
                Packet::PubRel(ack) => Some(ack),
                _ => None,
            });
            match pubrel {
                Some(ack) if ack.packet_identifier != packet_identifier => {
                    failed(format!("PUBREL for {}", ack.packet_identifier))
                }
                Some(ack) => seen(format!("PUBREL with {}", ack.reason_code)),
                None if closed => seen("closes the connection"),
                None => seen("ignores it"),
            }
        },
    },
    Check {
        name: "acknowledging/unasked-suback",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a SUBACK that answers nothing is ignored or ends the connection",
        run: |bench| answers_nothing(bench, 0x90),
    },
    Check {
        name: "acknowledging/unasked-unsuback",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "an UNSUBACK that answers nothing is ignored or ends the connection",
        run: |bench| answers_nothing(bench, 0xB0),
    },
    Check {
        name: "acknowledging/unasked-pingresp",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a PINGRESP that answers nothing is ignored or ends the connection",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            visitor.send(Packet::PingResp);
            ignores_or_ends(&mut visitor, bench)
        },
    },
    Check {
        name: "acknowledging/packets-of-clients",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a SUBSCRIBE from the server ends the connection, and is never answered",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            let body = if bench.is_v5() { "0007 00 'x' 00" } else { "0007 'x' 00" };
            visitor.send_bytes(&frame(0x82, body));
            ends(&mut visitor, bench)
        },
    },
    Check {
        name: "acknowledging/pingreq-of-the-server",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a PINGREQ from the server ends the connection",
        run: |bench| {
            let (mut visitor, _) = bench.engaged()?;
            visitor.send(Packet::PingReq);
            ends(&mut visitor, bench)
        },
    },
];

/// Never more than the client allows.
fn burst_of(receive_maximum: Option<u16>) -> usize {
    BURST.min(receive_maximum.map_or(BURST, usize::from))
}

fn unknown_pubrel(bench: &mut Bench) -> Verdict {
    let (mut visitor, _) = bench.subscriber(QoS::AtMostOnce)?;
    let packet_identifier = PacketIdentifier::new(60_000).expect("is not zero");
    visitor.acknowledge(Packet::PubRel, packet_identifier, ReasonCode::Success);
    let pubcomp = visitor.expect_ack(PacketType::PubComp, packet_identifier)?;
    if bench.is_v5() {
        return seen(format!("PUBCOMP with {}", pubcomp.reason_code));
    }
    passed()
}

/// An acknowledgement out of nowhere: the client ignores it or closes, and the message that it
/// waits with stays unacknowledged.
fn unasked(bench: &mut Bench, packet: fn(dunlin_codec::Ack) -> Packet, name: &str) -> Verdict {
    let (mut visitor, _) = bench.engaged()?;
    let packet_identifier = PacketIdentifier::new(60_002).expect("is not zero");
    visitor.acknowledge(packet, packet_identifier, ReasonCode::Success);
    let (packets, closed) = visitor.observe(bench.patience() / 5)?;
    let answer = packets.iter().find(|packet| match packet {
        Packet::PubRel(ack) | Packet::PubComp(ack) => ack.packet_identifier == packet_identifier,
        _ => false,
    });
    ensure(answer.is_none(), format!("{name} that answers nothing is answered: {answer:?}"))?;
    seen(if closed { "closes the connection" } else { "ignores it" })
}

fn answers_nothing(bench: &mut Bench, first_byte: u8) -> Verdict {
    let (mut visitor, _) = bench.engaged()?;
    let body = match (bench.is_v5(), first_byte) {
        (true, _) => "EA61 00 00",
        (false, 0x90) => "EA61 00",
        (false, _) => "EA61",
    };
    visitor.send_bytes(&frame(first_byte, body));
    ignores_or_ends(&mut visitor, bench)
}

fn ignores_or_ends(visitor: &mut super::Visitor, bench: &Bench) -> Verdict {
    let (packets, closed) = visitor.observe(bench.patience() / 5)?;
    let acknowledged = packets.iter().find(|packet| {
        matches!(
            packet.packet_type(),
            PacketType::PubAck | PacketType::PubRec | PacketType::PubRel | PacketType::PubComp
        )
    });
    if let Some(packet) = acknowledged {
        return failed(format!("what answers nothing is answered: {packet}"));
    }
    seen(if closed { "closes the connection" } else { "ignores it" })
}
