//! PUBACK, PUBREC, PUBREL and PUBCOMP: their codes, and unknown identifiers.
//! Spec: §3.4 to §3.7.

use super::message_steps::{
    ack, again, expect_unacknowledged, identifier, identifier_of, lasting_subscriber, only,
    publish, resumed, same, size_of, subscriber,
};
use super::{Bench, Check};
use crate::{BOTH, Peer, Stop, V5, Verdict, ensure, failed, frame, passed, seen, skipped};
use dunlin_codec::{Ack, AckProperties, ConnectProperties, Packet, QoS, ReasonCode, TopicName};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "acknowledgements/identifiers",
        versions: BOTH,
        statements: &[
            "MQTT-2.2.1-5",
            "MQTT-4.3.2-4",
            "MQTT-4.3.3-8",
            "MQTT-4.3.3-11",
            "MQTT3-2.3.1-6",
            "MQTT3-4.3.2-2",
            "MQTT3-4.3.3-2",
        ],
        looks_for: "each answer has the Packet Identifier of its PUBLISH, from 1 to 65,535",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let topic_name = bench.topic_name("t");
            let mut publisher = bench.connect("pub")?;
            for id in [1, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 2] {
                publisher.send(publish(&topic_name, QoS::AtLeastOnce, id, "x"));
                publisher.expect_puback(identifier(id))?;
                publisher.send(publish(&topic_name, QoS::ExactlyOnce, id, "x"));
                publisher.expect_pubrec(identifier(id))?;
                publisher.send(Packet::PubRel(ack(identifier(id))));
                publisher.expect_pubcomp(identifier(id))?;
            }
            passed()
        },
    },
    Check {
        name: "acknowledgements/codes-of-the-flow",
        versions: V5,
        statements: &["MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.7.2-1"],
        looks_for: "PUBACK and PUBREC say Success (or 0x10), PUBCOMP says Success",
        run: codes_of_the_flow,
    },
    Check {
        name: "acknowledgements/pubrel-unknown",
        versions: BOTH,
        statements: &["MQTT-4.3.3-11", "MQTT-3.7.2-1", "MQTT3-4.3.3-2"],
        looks_for: "PUBREL for an unknown identifier is answered by PUBCOMP",
        run: |bench| {
            let mut client = bench.connect("client")?;
            client.send(Packet::PubRel(ack(identifier(4711))));
            match client.expect_pubcomp(identifier(4711))?.reason_code {
                _ if !bench.is_v5() => passed(),
                code @ (ReasonCode::Success | ReasonCode::PacketIdentifierNotFound) => {
                    seen(format!("PUBCOMP for an unknown identifier says {code}"))
                }
                code => failed(format!("0x92 or Success expected; PUBCOMP says {code}")),
            }
        },
    },
    Check {
        name: "acknowledgements/pubrec-unknown",
        versions: BOTH,
        statements: &["MQTT-4.3.3-4", "MQTT-3.6.2-1", "MQTT3-4.3.3-1"],
        looks_for: "PUBREC for an unknown identifier is answered by PUBREL (0x92), passed over, or \
                    ends the connection",
        run: |bench| {
            unknown(bench, Packet::PubRec(ack(identifier(4711))), |answer| match answer {
                Packet::PubRel(ack) if ack.packet_identifier == identifier(4711) => {
                    Some(format!("PUBREL for an unknown identifier says {}", ack.reason_code))
                }
                _ => None,
            })
        },
    },
    Check {
        name: "acknowledgements/puback-unknown",
        versions: BOTH,
        statements: &["MQTT-4.3.2-3", "MQTT3-4.3.2-1"],
        looks_for: "PUBACK for an unknown identifier is passed over, or ends the connection",
        run: |bench| unknown(bench, Packet::PubAck(ack(identifier(4711))), |_| None),
    },
    Check {
        name: "acknowledgements/pubcomp-unknown",
        versions: BOTH,
        statements: &["MQTT-4.3.3-5", "MQTT3-4.3.3-1"],
        looks_for: "PUBCOMP for an unknown identifier is passed over, or ends the connection",
        run: |bench| unknown(bench, Packet::PubComp(ack(identifier(4711))), |_| None),
    },
    Check {
        name: "acknowledgements/short-and-long-forms",
        versions: V5,
        statements: &["MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.7.2-1", "MQTT-4.3.3-4"],
        looks_for: "acknowledgements with and without Reason Code and Property Length are the same",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            for end in ["", "00", "00 00"] {
                with_acks(bench, end)?;
            }
            passed()
        },
    },
    Check {
        name: "acknowledgements/with-properties",
        versions: V5,
        statements: &["MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.7.2-1", "MQTT-4.3.3-4"],
        looks_for: "Reason String and User Properties of an acknowledgement don't disturb it",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            with_acks(bench, "00 13 1F 'fine' 26 'k' 'v' 26 '' ''")?;
            passed()
        },
    },
    Check {
        name: "acknowledgements/puback-with-an-error",
        versions: V5,
        statements: &["MQTT-4.4.0-2", "MQTT-4.3.2-3", "MQTT-4.5.0-2"],
        looks_for: "a message that the client refuses by PUBACK is not sent again",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "refused")?;
            let id = identifier_of(&expect_unacknowledged(&mut subscriber, "refused")?)?;
            subscriber.send(Packet::PubAck(Ack::new(id, ReasonCode::UnspecifiedError)));
            subscriber.ping()?;
            subscriber.disconnect()?;
            publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "marker")?;
            only::<&str>(&mut resumed(bench, "sub")?, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "acknowledgements/pubrec-with-an-error",
        versions: V5,
        statements: &["MQTT-4.4.0-2", "MQTT-4.3.3-3", "MQTT-4.3.3-4"],
        looks_for: "a message that the client refuses by PUBREC gets no PUBREL and is not sent \
                    again",
        run: |bench| {
            bench.can().need_qos(QoS::ExactlyOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "refused")?;
            let id = identifier_of(&expect_unacknowledged(&mut subscriber, "refused")?)?;
            subscriber.send(Packet::PubRec(Ack::new(id, ReasonCode::QuotaExceeded)));
            subscriber.send(Packet::PingReq);
            match subscriber.next_packet()? {
                Some(Packet::PingResp) => {}
                other => {
                    return failed(format!(
                        "PINGRESP alone expected; comes {}",
                        crate::exchange::came(other)
                    ));
                }
            }
            subscriber.disconnect()?;
            let mut subscriber = resumed(bench, "sub")?;
            subscriber.send(Packet::PingReq);
            match subscriber.next_packet()? {
                Some(Packet::PingResp) => {}
                other => {
                    return failed(format!(
                        "PINGRESP alone expected; comes {}",
                        crate::exchange::came(other)
                    ));
                }
            }
            publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "marker")?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "acknowledgements/refused-identifier-is-new",
        versions: V5,
        statements: &["MQTT-4.3.3-9"],
        looks_for: "after PUBREC with 0x80 or more its identifier is free for a new message",
        run: refused_identifier,
    },
    Check {
        name: "acknowledgements/no-problem-information-unasked",
        versions: V5,
        statements: &["MQTT-3.1.2-29"],
        looks_for: "with Request Problem Information 0 acknowledgements have no Reason String",
        run: |bench| {
            let properties = ConnectProperties {
                request_problem_information: Some(false),
                ..ConnectProperties::default()
            };
            let mut connect = bench.connect_packet("client");
            connect.properties = properties;
            let (mut client, _) = bench.connect_with("client", connect)?;
            for packet in every_answer(bench, &mut client)? {
                if let Some(AckProperties { reason_string, user_properties }) =
                    properties_of(&packet)
                {
                    ensure(
                        reason_string.is_none() && user_properties.is_empty(),
                        format!("no Reason String and User Properties expected; comes {packet}"),
                    )?;
                }
            }
            passed()
        },
    },
    Check {
        name: "acknowledgements/within-maximum-packet-size",
        versions: V5,
        statements: &[
            "MQTT-3.1.2-24",
            "MQTT-3.4.2-2",
            "MQTT-3.4.2-3",
            "MQTT-3.5.2-2",
            "MQTT-3.5.2-3",
            "MQTT-3.6.2-2",
            "MQTT-3.6.2-3",
            "MQTT-3.7.2-2",
            "MQTT-3.7.2-3",
        ],
        looks_for: "acknowledgements keep to a small Maximum Packet Size of the client",
        run: within_maximum_packet_size,
    },
];

/// Every acknowledgement that a server can be brought to send, also those of what is unknown.
fn every_answer(bench: &Bench, client: &mut Peer) -> Result<Vec<Packet>, Stop> {
    bench.can().need_qos(QoS::ExactlyOnce)?;
    // A short name, because this client may take short packets only.
    let topic_name = TopicName::from_static("dunlin-none");
    client.send(publish(&topic_name, QoS::AtLeastOnce, 1, ""));
    let mut answers = vec![Packet::PubAck(client.expect_puback(identifier(1))?)];
    client.send(publish(&topic_name, QoS::ExactlyOnce, 2, ""));
    answers.push(Packet::PubRec(client.expect_pubrec(identifier(2))?));
    client.send(Packet::PubRel(ack(identifier(2))));
    answers.push(Packet::PubComp(client.expect_pubcomp(identifier(2))?));
    client.send(Packet::PubRel(ack(identifier(3))));
    answers.push(Packet::PubComp(client.expect_pubcomp(identifier(3))?));
    client.send(Packet::PubRec(ack(identifier(4))));
    client.send(Packet::PingReq);
    while let Some(packet) = client.next_packet()? {
        if packet == Packet::PingResp {
            break;
        }
        answers.push(packet);
    }
    Ok(answers)
}

fn properties_of(packet: &Packet) -> Option<&AckProperties> {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            ack.properties.as_deref()
        }
        _ => None,
    }
}

fn within_maximum_packet_size(bench: &mut Bench) -> Verdict {
    const MAXIMUM: u32 = 20;
    let properties =
        ConnectProperties { maximum_packet_size: Some(MAXIMUM), ..ConnectProperties::default() };
    let mut connect = bench.connect_packet("client");
    connect.properties = properties;
    let mut client = bench.open("client")?;
    client.send(connect);
    let connack = match client.next_packet()? {
        Some(Packet::ConnAck(connack)) if connack.reason_code == ReasonCode::Success => connack,
        None => return skipped("CONNACK has no room in a Maximum Packet Size of 20"),
        Some(other) => return failed(format!("CONNACK, or the end, expected; comes {other}")),
    };
    let mut answers = vec![Packet::ConnAck(connack)];
    answers.extend(every_answer(bench, &mut client)?);
    for packet in answers {
        let size = size_of(&packet, bench.version());
        ensure(
            size <= MAXIMUM as usize,
            format!("{MAXIMUM} bytes at most expected; {packet} has {size}"),
        )?;
    }
    passed()
}

/// Tries what servers are known to refuse: names that are theirs, names of very many levels, and a
/// payload that is not the UTF-8 that it says it is.
fn refused_identifier(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::ExactlyOnce)?;
    let reserved = format!("'$SYS/{}' 0007 00", bench.topic_name("t"));
    let deep = format!("'{}' 0007 00", bench.topic_name(&"/".repeat(2000)));
    let not_utf_8 = format!("'{}' 0007 02 01 01 FF", bench.topic_name("t"));
    for body in [reserved, deep, not_utf_8] {
        let mut publisher = bench.connect("pub")?;
        publisher.send_bytes(&frame(0x34, &body));
        match publisher.next_packet()? {
            Some(Packet::PubRec(ack)) if ack.reason_code.is_error() => {}
            _ => continue,
        }
        let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
        let topic_name = bench.topic_name("t");
        publisher.send(again(publish(&topic_name, QoS::ExactlyOnce, 7, "new")));
        let code = publisher.expect_pubrec(identifier(7))?.reason_code;
        ensure(!code.is_error(), format!("PUBREC with Success expected; it says {code}"))?;
        publisher.send(Packet::PubRel(ack(identifier(7))));
        publisher.expect_pubcomp(identifier(7))?;
        subscriber.expect_message("new")?;
        return passed();
    }
    skipped("the server refuses no message by PUBREC that we know of")
}

fn codes_of_the_flow(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::ExactlyOnce)?;
    let _subscriber = subscriber(bench, "sub", "heard", QoS::AtMostOnce)?;
    let mut publisher = bench.connect("pub")?;
    for label in ["heard", "unheard"] {
        let topic_name = bench.topic_name(label);
        publisher.send(publish(&topic_name, QoS::AtLeastOnce, 1, "x"));
        let puback = publisher.expect_puback(identifier(1))?.reason_code;
        publisher.send(publish(&topic_name, QoS::ExactlyOnce, 1, "x"));
        let pubrec = publisher.expect_pubrec(identifier(1))?.reason_code;
        publisher.send(Packet::PubRel(ack(identifier(1))));
        let pubcomp = publisher.expect_pubcomp(identifier(1))?.reason_code;
        same("the code of PUBCOMP", &pubcomp, &ReasonCode::Success)?;
        for code in [puback, pubrec] {
            let is_nobody = label == "unheard" && code == ReasonCode::NoMatchingSubscribers;
            ensure(
                code == ReasonCode::Success || is_nobody,
                format!("Success expected for what is {label}; what comes is {code}"),
            )?;
        }
    }
    passed()
}

/// Sends an acknowledgement of nothing. What the server may answer, other than nothing, is told by
/// `answer`. Afterwards another client finds the server as ever.
fn unknown(bench: &Bench, packet: Packet, answer: fn(&Packet) -> Option<String>) -> Verdict {
    let name = packet.packet_type().name();
    let mut client = bench.connect("client")?;
    client.send(packet);
    client.send(Packet::PingReq);
    let behaviour = match client.next_packet()? {
        Some(Packet::PingResp) => format!("{name} for an unknown identifier is passed over"),
        Some(Packet::Disconnect(end)) if end.reason_code.is_error() => {
            client.expect_closed()?;
            format!("{name} for an unknown identifier ends the connection, {}", end.reason_code)
        }
        None => format!("{name} for an unknown identifier ends the connection"),
        Some(other) => match answer(&other) {
            Some(behaviour) => {
                client.expect_pingresp()?;
                behaviour
            }
            None => return failed(format!("{other} is no answer to {name}")),
        },
    };
    bench.connect("other")?.ping()?;
    seen(behaviour)
}

/// A message of QoS 1 and one of QoS 2 in both directions, in which everything that we acknowledge
/// ends with these bytes behind the Packet Identifier.
fn with_acks(bench: &Bench, end: &str) -> Result<(), Stop> {
    let topic_name = bench.topic_name("t");
    let mut subscriber = subscriber(bench, "sub", "t", QoS::ExactlyOnce)?;
    let mut publisher = bench.connect("pub")?;
    let say = |peer: &mut Peer, first_byte: u8, id: u16| {
        peer.send_bytes(&frame(first_byte, &format!("{id:04X} {end}")));
    };
    for round in 0..2 {
        publisher.publish(&topic_name, QoS::AtLeastOnce, "one")?;
        let id = identifier_of(&expect_unacknowledged(&mut subscriber, "one")?)?;
        say(&mut subscriber, 0x40, id.value());

        let id = publisher.new_packet_identifier();
        publisher.send(publish(&topic_name, QoS::ExactlyOnce, id.value(), "two"));
        publisher.expect_pubrec(id)?;
        say(&mut publisher, 0x62, id.value());
        publisher.expect_pubcomp(id)?;
        let id = identifier_of(&expect_unacknowledged(&mut subscriber, "two")?)?;
        say(&mut subscriber, 0x50, id.value());
        subscriber.expect_pubrel(id)?;
        say(&mut subscriber, 0x70, id.value());
        subscriber.ping()?;
        subscriber.note(format!("round {round} is over"));
    }
    Ok(())
}
