//! Acknowledgements leave in the order of what they answer, whenever the owner gives them.

use crate::helpers::{ack, brief, publish};
use dunlin_protocol::codec::{Packet, ProtocolVersion, QoS, ReasonCode};
use dunlin_protocol::{AckError, ServerConfig, ServerConnection, Session};
use dunlin_testkit::{Scripted, connect};

fn server(version: ProtocolVersion) -> Scripted<ServerConnection> {
    Scripted::accepted(connect(version), ServerConfig::default(), Session::new())
}

#[track_caller]
fn expect(server: &mut Scripted<ServerConnection>, expected: &str) {
    assert_eq!(brief(&server.packets()), expected);
}

fn acknowledge(server: &mut Scripted<ServerConnection>, index: usize, reason_code: ReasonCode) {
    server.end.acknowledge(server.clock.now(), index, reason_code);
}

/// The owner answers PUBLISH packets of these QoS in this order.
#[track_caller]
fn check(qos: &[u8], answers: &[usize], expected: &[&str]) {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        let mut server = server(version);
        for (index, qos) in qos.iter().enumerate() {
            server.send(&publish(*qos, index as u16 + 1, false));
        }
        for (answer, expected) in answers.iter().zip(expected) {
            acknowledge(&mut server, *answer, ReasonCode::Success);
            expect(&mut server, expected);
        }
    }
}

#[test]
fn an_answer_waits_for_those_before_it() {
    check(&[1, 1, 1], &[0, 0, 0], &["PUBACK1", "PUBACK2", "PUBACK3"]);
    check(&[1, 1, 1], &[2, 1, 0], &["", "", "PUBACK1 PUBACK2 PUBACK3"]);
    check(&[2, 2, 2], &[1, 0, 0], &["", "PUBREC1 PUBREC2", "PUBREC3"]);
    check(&[2, 1, 2], &[2, 1, 0], &["", "", "PUBREC1 PUBACK2 PUBREC3"]);
}

#[test]
fn a_release_is_answered_once_the_owner_has_forgotten() {
    let mut server = server(ProtocolVersion::V5);
    server.send(&publish(2, 1, false));
    acknowledge(&mut server, 0, ReasonCode::Success);
    expect(&mut server, "PUBREC1");
    server.send(&Packet::PubRel(ack(1)));
    server.send(&Packet::PubRel(ack(1)));
    expect(&mut server, "");
    assert_eq!(server.end.owed.len(), 1, "a second PUBREL asks for nothing more");
    assert!(server.end.owed[0].is_completion());
    acknowledge(&mut server, 0, ReasonCode::NotAuthorized);
    expect(&mut server, "PUBCOMP1");
    // The identifier is free again [MQTT-4.3.3-12].
    server.end.events.clear();
    server.send(&publish(2, 1, false));
    assert_eq!(server.end.events.len(), 1);
}

#[test]
fn an_unknown_release_is_answered_at_once() {
    let mut server = server(ProtocolVersion::V5);
    server.send(&publish(1, 1, false));
    server.send(&Packet::PubRel(ack(7)));
    expect(&mut server, "PUBCOMP7?");
}

/// Else a receiver that takes its time with one message would block the quota of all.
#[test]
fn a_completion_waits_for_no_other_message() {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        let mut server = server(version);
        server.send(&publish(2, 1, false));
        server.send(&publish(2, 2, false));
        server.send(&publish(1, 3, false));
        acknowledge(&mut server, 0, ReasonCode::Success);
        server.send(&Packet::PubRel(ack(1)));
        expect(&mut server, "PUBREC1");
        acknowledge(&mut server, 2, ReasonCode::Success);
        expect(&mut server, "PUBCOMP1");
        acknowledge(&mut server, 1, ReasonCode::Success);
        acknowledge(&mut server, 0, ReasonCode::Success);
        expect(&mut server, "PUBREC2 PUBACK3");
    }
}

#[test]
fn a_qos_2_message_is_given_once() {
    let mut server = server(ProtocolVersion::V3_1_1);
    server.send(&publish(2, 1, false));
    server.send(&publish(2, 1, true));
    assert_eq!(server.end.events.len(), 1);
    acknowledge(&mut server, 0, ReasonCode::Success);
    expect(&mut server, "PUBREC1");
    server.send(&publish(2, 1, true));
    expect(&mut server, "PUBREC1");
    assert_eq!(server.end.events.len(), 1);
}

/// A Client of MQTT 3.x may send again on the same connection: its release can cross the second
/// PUBREC, which waits for another answer.
#[test]
fn a_release_may_cross_a_repeated_receipt() {
    let mut server = server(ProtocolVersion::V3_1);
    server.send(&publish(2, 1, false));
    acknowledge(&mut server, 0, ReasonCode::Success);
    server.send(&publish(1, 2, false));
    server.send(&publish(2, 1, true));
    server.send(&Packet::PubRel(ack(1)));
    acknowledge(&mut server, 0, ReasonCode::Success);
    acknowledge(&mut server, 0, ReasonCode::Success);
    expect(&mut server, "PUBREC1 PUBACK2 PUBREC1 PUBCOMP1");
    assert!(server.end.connection.session().is_empty());
}

#[test]
fn a_refused_qos_2_message_is_over() {
    let mut server = server(ProtocolVersion::V5);
    server.send(&publish(2, 1, false));
    acknowledge(&mut server, 0, ReasonCode::NotAuthorized);
    expect(&mut server, "PUBREC1?");
    assert!(server.end.connection.session().is_empty());
    server.send(&publish(2, 1, false));
    assert_eq!(server.end.owed.len(), 1, "a new message [MQTT-4.3.3-9]");
}

#[test]
fn reason_codes_that_the_packet_may_not_carry_are_replaced() {
    let mut server = server(ProtocolVersion::V5);
    server.send(&publish(1, 1, false));
    acknowledge(&mut server, 0, ReasonCode::PacketTooLarge);
    match &server.packets()[..] {
        [Packet::PubAck(ack)] => assert_eq!(ack.reason_code, ReasonCode::UnspecifiedError),
        packets => panic!("{packets:?}"),
    }
}

#[test]
fn a_token_is_good_once() {
    let mut server = server(ProtocolVersion::V5);
    server.send(&publish(1, 1, false));
    let token = server.end.owed[0];
    acknowledge(&mut server, 0, ReasonCode::Success);
    let (now, end) = (server.clock.now(), &mut server.end);
    let again = end.connection.acknowledge(now, token, ReasonCode::Success, &mut end.out);
    assert_eq!(again, Err(AckError::Unknown));
    end.connection.handle_network_closed();
    let late = end.connection.acknowledge(now, token, ReasonCode::Success, &mut end.out);
    assert_eq!(late, Err(AckError::NotConnected));
}

#[test]
fn releases_follow_the_order_of_receipts() {
    let mut server = server(ProtocolVersion::V5);
    let message = crate::helpers::message("t", QoS::ExactlyOnce);
    let (now, end) = (server.clock.now(), &mut server.end);
    for _ in 0..3 {
        end.connection.publish(now, &message, QoS::ExactlyOnce, false, &[], &mut end.out).unwrap();
    }
    for value in 1..=3 {
        server.send(&Packet::PubRec(ack(value)));
    }
    expect(&mut server, "PUBLISH1 PUBLISH2 PUBLISH3 PUBREL1 PUBREL2 PUBREL3");
}

#[test]
fn a_receipt_that_is_given_up_takes_the_later_ones_with_it() {
    let mut server = server(ProtocolVersion::V3_1_1);
    for (qos, value) in [(1, 1), (1, 2), (2, 3), (1, 4)] {
        server.send(&publish(qos, value, false));
    }
    acknowledge(&mut server, 3, ReasonCode::Success);
    let given_up = server.end.owed.remove(1);
    let (now, end) = (server.clock.now(), &mut server.end);
    end.connection.forgo(now, given_up, &mut end.out);
    acknowledge(&mut server, 0, ReasonCode::Success);
    expect(&mut server, "PUBACK1");
    acknowledge(&mut server, 0, ReasonCode::Success);
    expect(&mut server, "PUBREC3");
}

#[test]
fn only_a_qos_2_message_is_refused_without_a_word() {
    let mut server = server(ProtocolVersion::V5);
    for (qos, value) in [(1, 1), (2, 2), (1, 3)] {
        server.send(&publish(qos, value, false));
    }
    for token in std::mem::take(&mut server.end.owed) {
        let (now, end) = (server.clock.now(), &mut server.end);
        end.connection.refuse_untold(now, token, ReasonCode::QuotaExceeded, &mut end.out);
    }
    expect(&mut server, "PUBACK1? PUBACK3?");
    // It is told when it sends the message again.
    server.send(&publish(2, 2, true));
    expect(&mut server, "PUBREC2?");
}
