//! Each check can fail: servers that do wrong, and checks that have to notice.

use super::almost_right::is_noticed_here;
use bytes::BytesMut;
use dunlin_codec::{
    Ack, ConnAck, ConnAckProperties, Decoder, Delivery, Packet, PacketIdentifier, ProtocolVersion,
    Publish, ReasonCode, SubAck, SubAckProperties, Text, UnsubAck,
};
use dunlin_conformance::server::{Case, TABLES, Target, judge};
use dunlin_conformance::{BOTH, Finding, ToPacket, cases, encoded, run};
use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// What a bad server does with what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manners {
    /// Says yes to everything; checks nothing, delivers nothing, closes nothing.
    Agreeable,
    /// Agreeable; has a session and the same name for everybody, and sends each message back to whoever published
    /// it, twice, as retained and with flags of its own.
    Parrot,
    /// Agreeable; its acknowledgements are of the message after the one that came, its PUBREC
    /// refuse, and it acknowledges acknowledgements.
    Mistaken,
    /// Refuses every client, and stays connected.
    Refuser,
    /// Closes at once.
    Closer,
    /// Never says a word.
    Mute,
}

/// Those let clients in, so that a check gets to what it looks at.
const POLITE: [Manners; 3] = [Manners::Agreeable, Manners::Parrot, Manners::Mistaken];

/// At those a check fails that gets no further than CONNACK, whatever it looks at.
const RUDE: [Manners; 3] = [Manners::Refuser, Manners::Closer, Manners::Mute];

/// Checks that ask for no more than to be let in and answered: only rude servers fail them.
const LET_IN: &[&str] = &[
    "connect/accepted",
    "connect/in-single-bytes",
    "connect/packets-before-connack",
    "connect/identifier-of-23-letters-and-digits",
    "connect/identifier-of-one-letter",
    "connect/empty-identifier",
];

/// A server with these manners, for as long as the test program runs.
fn start(manners: Manners, patience: Duration) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let mut target = Target::new(listener.local_addr().expect("it is bound"));
    target.patience = patience;
    // Limits that none of them keeps to.
    target.capabilities.receive_maximum = 10;
    target.capabilities.topic_alias_maximum = 5;
    target.capabilities.maximum_packet_size = Some(300_000);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(manners, stream));
        }
    });
    target
}

fn serve(manners: Manners, mut stream: TcpStream) {
    if manners == Manners::Closer {
        return;
    }
    let mut decoder = Decoder::new(ProtocolVersion::V3_1_1, u32::MAX);
    let mut input = BytesMut::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        input.extend_from_slice(&chunk[..count]);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(packet)) => {
                    if let Packet::Connect(connect) = &packet {
                        decoder.set_version(connect.protocol_version);
                    }
                    let answers = answers(manners, &packet);
                    for answer in answers {
                        if stream.write_all(&encoded(answer, decoder.version())).is_err() {
                            return;
                        }
                    }
                }
                Ok(None) => break,
                // It does not mind: whatever it was, it may have been a CONNECT.
                Err(_) => {
                    input.clear();
                    let version = decoder.version();
                    let bytes = encoded(connack(manners), version);
                    if manners != Manners::Mute && stream.write_all(&bytes).is_err() {
                        return;
                    }
                    break;
                }
            }
        }
    }
}

fn connack(manners: Manners) -> Packet {
    let refuses = manners == Manners::Refuser;
    let reason_code = if refuses { ReasonCode::NotAuthorized } else { ReasonCode::Success };
    let session_present = manners == Manners::Parrot;
    let mut properties = ConnAckProperties::default();
    if manners == Manners::Parrot {
        properties.response_information = Some(Text::from_static("unasked"));
        properties.assigned_client_identifier = Some(Text::from_static("parrot"));
    }
    ConnAck { session_present, reason_code, properties }.to_packet()
}

fn answers(manners: Manners, packet: &Packet) -> Vec<Packet> {
    let is_mistaken = manners == Manners::Mistaken;
    let ack = |packet_identifier: PacketIdentifier| {
        let mistaken = packet_identifier.next();
        let packet_identifier = if is_mistaken { mistaken } else { packet_identifier };
        Ack::new(packet_identifier, ReasonCode::Success)
    };
    if manners == Manners::Mute {
        return Vec::new();
    }
    match packet {
        Packet::Connect(_) => vec![connack(manners)],
        Packet::Publish(publish) => {
            let mut answers = match publish.delivery {
                Delivery::AtMostOnce => Vec::new(),
                Delivery::AtLeastOnce { packet_identifier, .. } => {
                    vec![Packet::PubAck(ack(packet_identifier))]
                }
                Delivery::ExactlyOnce { packet_identifier, .. } => {
                    let mut pubrec = ack(packet_identifier);
                    if is_mistaken {
                        pubrec.reason_code = ReasonCode::QuotaExceeded;
                    }
                    vec![Packet::PubRec(pubrec)]
                }
            };
            if manners == Manners::Parrot {
                answers.extend([parroted(publish), parroted(publish)]);
            }
            answers
        }
        Packet::PubRec(received) => vec![Packet::PubRel(ack(received.packet_identifier))],
        Packet::PubRel(released) => vec![Packet::PubComp(ack(released.packet_identifier))],
        Packet::PubAck(done) | Packet::PubComp(done) if is_mistaken => {
            vec![Packet::PubAck(ack(done.packet_identifier))]
        }
        Packet::Subscribe(subscribe) => {
            let granted = subscribe.subscriptions.iter().map(|wanted| {
                let qos = wanted.options.maximum_qos.value();
                ReasonCode::new(qos).expect("a granted QoS is a Reason Code")
            });
            let suback = SubAck {
                packet_identifier: subscribe.packet_identifier,
                properties: SubAckProperties::default(),
                reason_codes: granted.collect(),
            };
            vec![suback.to_packet()]
        }
        Packet::Unsubscribe(unsubscribe) => {
            let unsuback = UnsubAck {
                packet_identifier: unsubscribe.packet_identifier,
                properties: SubAckProperties::default(),
                reason_codes: vec![ReasonCode::Success; unsubscribe.topic_filters.len()],
            };
            vec![unsuback.to_packet()]
        }
        Packet::PingReq => vec![Packet::PingResp],
        _ => Vec::new(),
    }
}

/// Always QoS 1, always the same Packet Identifier, always a retained duplicate.
fn parroted(publish: &Publish) -> Packet {
    let packet_identifier = PacketIdentifier::FIRST;
    let delivery = Delivery::AtLeastOnce { packet_identifier, dup: true };
    Publish { delivery, retain: true, ..publish.clone() }.to_packet()
}

fn findings(manners: Manners, patience: Duration, cases: &[Case]) -> Vec<Finding> {
    let target = start(manners, patience);
    run(cases, 48, |case, number| judge(&target, case, number), |_| {})
}

/// The names of the cases that no server with these manners fails.
fn unnoticed(servers: &[Manners], mut cases: Vec<Case>) -> Vec<String> {
    for manners in servers {
        // Too little on a slow machine, where a check then fails for another reason: what is asked
        // here is that it can fail at all.
        let findings = findings(*manners, Duration::from_millis(250), &cases);
        let noticed: BTreeSet<String> =
            findings.into_iter().filter(Finding::is_failed).map(|finding| finding.name).collect();
        cases.retain(|case| !noticed.contains(&case.name()));
    }
    cases.iter().map(Case::name).collect()
}

/// A new check that is named here wants a polite server that does what the check looks for; give
/// one of them that bad habit.
#[test]
fn every_check_fails_against_a_bad_server_that_lets_it_in() {
    let (let_in, rest): (Vec<Case>, Vec<Case>) =
        cases(TABLES, BOTH).into_iter().partition(|case| LET_IN.contains(&case.check.name));
    let rest = rest.into_iter().filter(|case| !is_noticed_here(case)).collect();
    assert_eq!(unnoticed(&POLITE, rest), [""; 0]);
    assert_eq!(unnoticed(&RUDE, let_in), [""; 0]);
}

/// What a user of a bad server reads has to say what happened.
#[test]
fn a_failure_tells_what_was_expected_and_what_was_said() {
    let cases: Vec<Case> = cases(TABLES, BOTH)
        .into_iter()
        .filter(|case| case.matches("v5/connect/second-connect-closes"))
        .collect();
    let patience = Duration::from_secs(60);
    let findings = findings(Manners::Agreeable, patience, &cases);
    let [finding] = findings.try_into().expect("one finding");
    let outcome = format!("{:?}", finding.outcome);
    assert!(outcome.contains("is to be closed; what comes is CONNACK"), "{outcome}");
    let exchange = finding.exchange.join("\n");
    assert_eq!(exchange.matches("client → CONNECT v5.0").count(), 2, "{exchange}");
    assert_eq!(exchange.matches("client ← CONNACK").count(), 2, "{exchange}");
}
