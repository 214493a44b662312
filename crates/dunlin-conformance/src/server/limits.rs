//! What the two ends announce, and how the server keeps to it. Spec: §3.1.2.11, §3.2.2.3.

use super::steps::{ending, is_refused};
use super::{Bench, Check};
use crate::{Peer, Stop, V5, Verdict, encoded, ensure, frame, message, passed, seen, subscription};
use dunlin_codec::{
    Connect, ConnectProperties, Disconnect, Packet, Publish, QoS, ReasonCode, Text, Unsubscribe,
    UnsubscribeProperties,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "limits/no-problem-information-unasked",
        versions: V5,
        statements: &["MQTT-3.1.2-29"],
        looks_for: "with Request Problem Information 0 no Reason String or User Property outside of PUBLISH, CONNACK, DISCONNECT",
        run: no_problem_information,
    },
    Check {
        name: "limits/packets-fit-the-client",
        versions: V5,
        statements: &[
            "MQTT-3.1.2-24",
            "MQTT-3.2.2-19",
            "MQTT-3.2.2-20",
            "MQTT-3.9.2-1",
            "MQTT-3.9.2-2",
            "MQTT-3.11.2-1",
            "MQTT-3.11.2-2",
        ],
        looks_for: "with a small Maximum Packet Size every answer is within it",
        run: packets_fit,
    },
    Check {
        name: "limits/response-information",
        versions: V5,
        statements: &["MQTT-3.1.2-28"],
        looks_for: "Response Information comes only when it is asked for, and may be missing then",
        run: |bench| {
            let asking = |asked| {
                let properties = ConnectProperties {
                    request_response_information: asked,
                    ..ConnectProperties::default()
                };
                let connect = Connect { properties, ..bench.connect_packet("client") };
                let (peer, connack) = bench.connect_with("client", connect)?;
                peer.disconnect()?;
                Ok(connack.properties.response_information)
            };
            for asked in [None, Some(false)] {
                let came: Option<Text> = asking(asked)?;
                ensure(came.is_none(), "no Response Information expected; CONNACK has it")?;
            }
            match asking(Some(true))? {
                Some(information) => seen(format!("answers {information:?}")),
                None => seen("has none"),
            }
        },
    },
    Check {
        name: "limits/maximum-qos",
        versions: V5,
        statements: &["MQTT-3.2.2-9", "MQTT-3.2.2-11"],
        looks_for: "every QoS up to the announced maximum is taken, and none beyond",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            let maximum = bench.can().maximum_qos;
            let mut peer = bench.connect("client")?;
            for qos in super::subscribe::ALL_QOS.into_iter().filter(|qos| *qos <= maximum) {
                peer.publish(&topic_name, qos, "x")?;
            }
            peer.ping()?;
            match maximum {
                QoS::ExactlyOnce => seen("has every QoS"),
                _ => {
                    let flags = (maximum.value() + 1) << 1;
                    let bytes = frame(0x30 | flags, &format!("'{topic_name}' 0001 00"));
                    ending(bench, &bytes)?.with_code_of(&[ReasonCode::QoSNotSupported])?.passed()
                }
            }
        },
    },
    Check {
        name: "limits/retain-available",
        versions: V5,
        statements: &["MQTT-3.2.2-14", "MQTT-3.3.1-5"],
        looks_for: "retained messages are kept, or RETAIN ends the connection, as announced",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            if !bench.can().retain {
                let bytes = frame(0x31, &format!("'{topic_name}' 00 \"x\""));
                return ending(bench, &bytes)?
                    .with_code_of(&[ReasonCode::RetainNotSupported])?
                    .passed();
            }
            let mut peer = bench.connect("client")?;
            let retained = Publish { retain: true, ..message(&topic_name, "kept") };
            peer.publish_message(retained, QoS::AtMostOnce)?;
            peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            peer.expect_message("kept")?;
            seen("keeps retained messages")
        },
    },
    Check {
        name: "limits/subscription-identifiers-available",
        versions: V5,
        statements: &["MQTT-4.13.1-1", "MQTT-3.3.4-3"],
        looks_for: "Subscription Identifiers are taken or refused as announced",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            if bench.can().subscription_identifiers {
                let filter = bench.topic_filter("t");
                super::subscription_identifiers::identified(&mut peer, &filter, 3)?;
                peer.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
                peer.expect_message("x")?;
                return seen("has Subscription Identifiers");
            }
            seen(is_refused(&mut peer, &frame(0x82, "0001 02 0B 03 't' 00"))?)
        },
    },
    Check {
        name: "limits/shared-subscriptions-available",
        versions: V5,
        statements: &["MQTT-4.13.1-1", "MQTT-4.5.0-1"],
        looks_for: "Shared Subscriptions are taken or refused as announced",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            let filter = bench.shared_filter("g", "t");
            if bench.can().shared_subscriptions {
                peer.subscribe(&filter, QoS::AtMostOnce)?;
                peer.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
                peer.expect_message("x")?;
                return seen("has Shared Subscriptions");
            }
            seen(is_refused(&mut peer, &frame(0x82, &format!("0001 00 '{filter}' 00")))?)
        },
    },
    Check {
        name: "limits/session-expiry-interval-of-the-server",
        versions: V5,
        statements: &["MQTT-3.1.2-23", "MQTT-4.1.0-1"],
        looks_for: "a session is kept for the interval that was asked for or that CONNACK gives instead",
        run: |bench| {
            let (peer, connack) = bench.connect_with("client", bench.persistent("client"))?;
            let given = connack.properties.session_expiry_interval;
            peer.disconnect()?;
            let (peer, connack) = bench.connect_with("client", bench.persistent("client"))?;
            peer.disconnect()?;
            let present = connack.session_present;
            match given {
                Some(0) => {
                    ensure(!present, "CONNACK gave 0, and the session is present afterwards")?;
                    seen("keeps no sessions")
                }
                Some(seconds) => {
                    ensure(present, format!("CONNACK gave {seconds}, and the session is gone"))?;
                    seen(format!("gives {seconds} s for 300"))
                }
                None => {
                    ensure(present, "300 seconds were asked for, and the session is gone")?;
                    seen("takes what is asked for")
                }
            }
        },
    },
];

fn small(bench: &Bench, maximum_packet_size: u32) -> Connect {
    let properties = ConnectProperties {
        maximum_packet_size: Some(maximum_packet_size),
        ..ConnectProperties::default()
    };
    Connect { properties, ..bench.connect_packet("client") }
}

/// Provokes answers, good and bad, and gives each that came, up to the end.
fn provoke(bench: &Bench, peer: &mut Peer) -> Result<Vec<Packet>, Stop> {
    let filter = bench.topic_filter("t");
    let unsubscribe = |packet_identifier| Unsubscribe {
        packet_identifier,
        properties: UnsubscribeProperties::default(),
        topic_filters: vec![bench.topic_filter("t"), bench.topic_filter("none")],
    };
    let identifiers = [(); 4].map(|()| peer.new_packet_identifier());
    peer.send(crate::subscribe(identifiers[0], [subscription(&filter, QoS::ExactlyOnce)]));
    peer.send(unsubscribe(identifiers[1]));
    // A PUBACK for a message without subscribers, and a PUBREC and PUBCOMP.
    let nobody = bench.topic_name("nobody");
    let maximum = bench.can().maximum_qos;
    if maximum >= QoS::AtLeastOnce {
        peer.send_bytes(&frame(
            0x32,
            &format!("'{nobody}' {:04X} 00 \"x\"", identifiers[2].value()),
        ));
    }
    if maximum >= QoS::ExactlyOnce {
        let value = identifiers[3].value();
        peer.send_bytes(&frame(0x34, &format!("'{nobody}' {value:04X} 00 \"x\"")));
        peer.send_bytes(&frame(0x62, &format!("{value:04X}")));
    }
    peer.send(Disconnect::new(ReasonCode::Success));
    peer.finish_sending();
    let mut packets = Vec::new();
    while let Some(packet) = peer.next_packet()? {
        packets.push(packet);
    }
    ensure(packets.len() >= 2, format!("SUBACK and UNSUBACK expected; came {}", packets.len()))?;
    Ok(packets)
}

fn no_problem_information(bench: &mut Bench) -> Verdict {
    let properties = ConnectProperties {
        request_problem_information: Some(false),
        ..ConnectProperties::default()
    };
    let connect = Connect { properties, ..bench.connect_packet("client") };
    let (mut peer, _) = bench.connect_with("client", connect)?;
    for packet in provoke(bench, &mut peer)? {
        let says = match &packet {
            Packet::SubAck(ack) => {
                ack.properties.reason_string.is_some() || !ack.properties.user_properties.is_empty()
            }
            Packet::UnsubAck(ack) => {
                ack.properties.reason_string.is_some() || !ack.properties.user_properties.is_empty()
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => {
                ack.properties.is_some()
            }
            _ => false,
        };
        ensure(!says, format!("no Reason String or User Property expected; came {packet}"))?;
    }
    passed()
}

fn packets_fit(bench: &mut Bench) -> Verdict {
    const MAXIMUM: u32 = 64;
    let mut peer = bench.open("client")?;
    peer.send(small(bench, MAXIMUM));
    let Some(connack) = peer.next_packet()? else {
        return seen("does not answer within so small a maximum");
    };
    let mut packets = provoke(bench, &mut peer)?;
    packets.push(connack);
    for packet in packets {
        let text = packet.to_string();
        let len = encoded(packet, bench.version()).len();
        ensure(
            len <= MAXIMUM as usize,
            format!("at most {MAXIMUM} bytes expected; {text}: {len}"),
        )?;
    }
    passed()
}
