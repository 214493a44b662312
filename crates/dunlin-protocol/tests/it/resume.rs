//! A Session that goes on: what is sent again, how, and within which limits.

use crate::helpers::{ack, brief, id, message, publish};
use dunlin_protocol::codec::{
    Ack, ConnAck, ConnAckProperties, Connect, Disconnect, Packet, ProtocolVersion, QoS, ReasonCode,
};
use dunlin_protocol::{
    ClientConfig, ClientEvent, InFlight, InFlightState, PublishError, ServerConfig,
    ServerConnection, ServerEvent, Session,
};
use dunlin_testkit::{Pair, Scripted, connect};
use std::time::Duration;

/// A Session with a QoS 1 message, one of QoS 2, and one of QoS 2 that was received already.
fn in_flight() -> Session {
    let mut session = Session::new();
    for (value, state) in [
        (5, InFlightState::AwaitingPubAck),
        (6, InFlightState::AwaitingPubRec),
        (7, InFlightState::AwaitingPubComp),
        (8, InFlightState::AwaitingPubAck),
    ] {
        let qos = match state {
            InFlightState::AwaitingPubAck => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        };
        let kept = (state != InFlightState::AwaitingPubComp).then(|| message("t", qos));
        session.restore_in_flight(InFlight::new(id(value), state, kept, false, Vec::new()));
    }
    session
}

fn with_receive_maximum(receive_maximum: u16) -> Connect {
    let mut connect = connect(ProtocolVersion::V5);
    connect.properties.receive_maximum = Some(receive_maximum);
    connect
}

fn resumed(connect: Connect) -> Scripted<ServerConnection> {
    Scripted::accepted(connect, ServerConfig::default(), in_flight())
}

#[track_caller]
fn expect(server: &mut Scripted<ServerConnection>, expected: &str) {
    assert_eq!(brief(&server.packets()), expected);
}

#[track_caller]
fn publish_one(server: &mut Scripted<ServerConnection>) -> Result<(), PublishError> {
    let (now, end) = (server.clock.now(), &mut server.end);
    let message = message("t", QoS::AtLeastOnce);
    end.connection.publish(now, &message, QoS::AtLeastOnce, false, &[], &mut end.out).map(|_| ())
}

#[test]
fn what_is_in_flight_is_sent_again_in_its_order() {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        let mut server = resumed(connect(version));
        expect(&mut server, "PUBREL7 PUBLISH5! PUBLISH6! PUBLISH8!");
        server.run();
        expect(&mut server, "");
        publish_one(&mut server).unwrap();
        expect(&mut server, "PUBLISH9");
    }
}

#[test]
fn a_smaller_receive_maximum_delays_messages_alone() {
    let mut server = resumed(with_receive_maximum(1));
    expect(&mut server, "PUBREL7 PUBLISH5!");
    assert_eq!(publish_one(&mut server), Err(PublishError::QuotaExhausted));
    // The PUBCOMP ends what never counted.
    server.send(&Packet::PubComp(ack(7)));
    expect(&mut server, "");
    server.send(&Packet::PubAck(ack(5)));
    expect(&mut server, "PUBLISH6!");
    server.send(&Packet::PubRec(ack(6)));
    expect(&mut server, "PUBREL6");
    server.send(&Packet::PubComp(ack(6)));
    expect(&mut server, "PUBLISH8!");
    assert_eq!(publish_one(&mut server), Err(PublishError::QuotaExhausted));
    server.send(&Packet::PubAck(ack(8)));
    publish_one(&mut server).unwrap();
    expect(&mut server, "PUBLISH9");
}

#[test]
fn the_quota_is_full_again_on_a_new_connection() {
    let mut server = resumed(with_receive_maximum(4));
    assert_eq!(server.end.connection.send_quota(), 1);
    expect(&mut server, "PUBREL7 PUBLISH5! PUBLISH6! PUBLISH8!");
}

/// An answer to what the last connection carried may come before we have sent it again.
#[test]
fn an_early_answer_spares_the_repetition() {
    let mut server = resumed(with_receive_maximum(1));
    expect(&mut server, "PUBREL7 PUBLISH5!");
    server.send(&Packet::PubRec(ack(6)));
    expect(&mut server, "PUBREL6");
    server.send(&Packet::PubAck(ack(8)));
    server.send(&Packet::PubAck(ack(5)));
    expect(&mut server, "");
    server.send(&Packet::PubComp(ack(6)));
    publish_one(&mut server).unwrap();
    expect(&mut server, "PUBLISH9");
}

/// The PUBCOMP was lost with the last connection, and the peer has forgotten the exchange.
#[test]
fn a_release_that_is_no_longer_known_has_done_its_work() {
    let mut server = resumed(connect(ProtocolVersion::V5));
    expect(&mut server, "PUBREL7 PUBLISH5! PUBLISH6! PUBLISH8!");
    server.end.events.clear();
    let pubcomp = Ack::new(id(7), ReasonCode::PacketIdentifierNotFound);
    server.send(&Packet::PubComp(pubcomp));
    let Some(ServerEvent::Acknowledged(acknowledged)) = server.end.events.pop_front() else {
        panic!("the exchange is over")
    };
    assert_eq!(acknowledged.packet_identifier, id(7));
    assert_eq!(acknowledged.reason_code, ReasonCode::Success);
}

#[test]
fn what_has_become_too_large_is_given_back() {
    let mut wanted = connect(ProtocolVersion::V5);
    wanted.properties.maximum_packet_size = Some(13);
    let mut server = Scripted::server(ProtocolVersion::V5, ServerConfig::default());
    server.end.dropped.clear();
    server.send(&Packet::Connect(Box::new(wanted)));
    server.accept(in_flight());
    // CONNACK has more than 13 bytes with this Server's limits.
    assert!(server.end.connection.end().is_some());
    assert_eq!(server.packets(), []);

    let mut wanted = connect(ProtocolVersion::V5);
    wanted.properties.maximum_packet_size = Some(30);
    let mut session = Session::new();
    for (value, len) in [(1, 5), (2, 50), (3, 5), (4, 60)] {
        let mut large = (*message("t", QoS::AtLeastOnce)).clone();
        large.payload = vec![0; len].into();
        let state = InFlightState::AwaitingPubAck;
        let entry = InFlight::new(id(value), state, Some(large.into()), false, Vec::new());
        session.restore_in_flight(entry);
    }
    let mut server = Scripted::accepted(wanted, ServerConfig::default(), session);
    expect(&mut server, "PUBLISH1! PUBLISH3!");
    let dropped: Vec<u16> =
        server.end.dropped.iter().map(|entry| entry.packet_identifier.value()).collect();
    assert_eq!(dropped, [2, 4]);
    server.send(&Packet::PubAck(ack(1)));
    server.send(&Packet::PubAck(ack(3)));
    assert!(server.end.connection.session().is_empty());
}

#[test]
fn releases_of_the_last_connection_do_not_count_on_this_one() {
    let mut session = Session::new();
    session.restore_received(id(1));
    session.restore_received(id(2));
    let config = ServerConfig { receive_maximum: 2, ..Default::default() };
    let mut server = Scripted::accepted(connect(ProtocolVersion::V5), config, session);
    server.send(&publish(1, 10, false));
    server.send(&Packet::PubRel(ack(1)));
    server.send(&Packet::PubRel(ack(2)));
    server.end.acknowledge_all(server.clock.now());
    expect(&mut server, "PUBACK10 PUBCOMP1 PUBCOMP2");

    server.send(&publish(1, 11, false));
    server.send(&publish(1, 12, false));
    assert_eq!(server.end.connection.end(), None);
    server.send(&publish(1, 13, false));
    assert!(server.end.connection.end().is_some(), "two, not four, are allowed");
}

#[test]
fn a_release_of_the_last_connection_frees_nothing_on_this_one() {
    let mut session = Session::new();
    session.restore_received(id(1));
    let config = ServerConfig { receive_maximum: 2, ..Default::default() };
    let mut server = Scripted::accepted(connect(ProtocolVersion::V5), config, session);
    server.send(&Packet::PubRel(ack(1)));
    server.send(&publish(2, 2, false));
    server.send(&publish(2, 3, false));
    server.end.acknowledge_all(server.clock.now());
    expect(&mut server, "PUBCOMP1 PUBREC2 PUBREC3");
    server.send(&publish(2, 4, false));
    assert!(server.end.connection.end().is_some(), "two are under way");
}

/// What the owner is given of a PUBLISH, and what is answered.
fn taken_and_answered(server: &mut Scripted<ServerConnection>, packet: &Packet) -> (bool, String) {
    server.end.events.clear();
    server.send(packet);
    (!server.end.events.is_empty(), brief(&server.packets()))
}

#[test]
fn who_could_not_be_told_of_a_refusal_is_told_when_the_message_comes_again() {
    let mut session = Session::new();
    session.refuse_received(id(1), ReasonCode::QuotaExceeded);
    session.refuse_received(id(2), ReasonCode::QuotaExceeded);
    session.refuse_received(id(3), ReasonCode::QuotaExceeded);
    assert_eq!(session.received().count(), 0, "it wasn't taken");
    let old = connect(ProtocolVersion::V3_1_1);
    let mut server = Scripted::accepted(old, ServerConfig::default(), session.clone());
    let answer = taken_and_answered(&mut server, &publish(2, 1, true));
    assert_eq!(answer, (true, String::new()), "nothing can tell it");

    let new = connect(ProtocolVersion::V5);
    let mut server = Scripted::accepted(new, ServerConfig::default(), session);
    let answer = taken_and_answered(&mut server, &publish(2, 1, true));
    assert_eq!(answer, (false, "PUBREC1?".into()));
    for (packet, reason) in [
        (publish(2, 1, true), "the exchange is over"),
        (publish(2, 2, false), "another exchange with the same Packet Identifier"),
    ] {
        let answer = taken_and_answered(&mut server, &packet);
        assert_eq!(answer, (true, String::new()), "{reason}");
    }
    server.send(&Packet::PubRel(ack(3)));
    expect(&mut server, "PUBCOMP3?");
    let answer = taken_and_answered(&mut server, &publish(2, 3, true));
    assert_eq!(answer, (true, String::new()), "released, whatever it was");
}

#[test]
fn a_refusal_behind_an_earlier_acknowledgement_outlives_the_connection() {
    let config = ServerConfig::default;
    let mut server = Scripted::accepted(connect(ProtocolVersion::V5), config(), Session::new());
    server.send(&publish(2, 1, false));
    server.send(&publish(2, 2, false));
    server.end.acknowledge(server.clock.now(), 1, ReasonCode::QuotaExceeded);
    expect(&mut server, "");
    let session = server.end.connection.take_session();
    let mut server = Scripted::accepted(connect(ProtocolVersion::V5), config(), session);
    server.send(&publish(2, 1, true));
    server.send(&publish(2, 2, true));
    expect(&mut server, "PUBREC1 PUBREC2?");
}

#[test]
fn nothing_new_overtakes_what_is_sent_again() {
    let mut session = Session::new();
    for value in 1..=3 {
        let mut large = (*message("t", QoS::AtLeastOnce)).clone();
        large.payload = vec![0; 40_000].into();
        let state = InFlightState::AwaitingPubAck;
        let entry = InFlight::new(id(value), state, Some(large.into()), false, Vec::new());
        session.restore_in_flight(entry);
    }
    let mut server = Scripted::server(ProtocolVersion::V5, ServerConfig::default());
    server.send(&Packet::Connect(Box::new(connect(ProtocolVersion::V5))));
    let (now, end) = (server.clock.now(), &mut server.end);
    end.connection.accept(now, session, true, Default::default(), &mut end.out).unwrap();
    assert_eq!(publish_one(&mut server), Err(PublishError::QuotaExhausted));
    // The output has no room for all three.
    server.run();
    assert_eq!(publish_one(&mut server), Err(PublishError::QuotaExhausted));
    expect(&mut server, "CONNACK PUBLISH1! PUBLISH2!");
    server.run();
    publish_one(&mut server).unwrap();
    expect(&mut server, "PUBLISH3! PUBLISH4");
}

#[test]
fn a_server_without_the_session_gives_the_messages_back() {
    let mut pair = Pair::connected(ProtocolVersion::V5);
    pair.up.cut_after(1);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (now, client) = (pair.now(), pair.client());
        client.connection.publish(now, &message("t", qos), &mut client.out).unwrap();
    }
    pair.settle();
    assert!(pair.client.is_none());
    pair.server = None;
    pair.logic.sessions.clear();
    pair.logic.client_identifier = None;
    pair.connect();
    pair.settle();
    match &pair.take_client_events()[..] {
        [ClientEvent::Connected { connack, lost }] => {
            assert!(!connack.session_present);
            assert_eq!(lost.len(), 2);
        }
        events => panic!("{events:?}"),
    }
    assert!(pair.client().connection.session().is_empty());
}

#[test]
fn a_refused_client_keeps_its_session() {
    let config = ClientConfig {
        connect: connect(ProtocolVersion::V5),
        connect_timeout: Duration::from_secs(5),
        in_flight_max: 10,
        topic_alias_outbound_max: 0,
    };
    let mut client = Scripted::client(config, in_flight());
    let reason_code = ReasonCode::ServerBusy;
    let properties = Default::default();
    let connack = ConnAck { session_present: false, reason_code, properties };
    client.send(&Packet::ConnAck(Box::new(connack)));
    assert_eq!(client.end.connection.take_session(), in_flight());
}

/// Its CONNECT may have begun a new Session, for which the Server uses the Packet Identifier anew.
#[test]
fn what_comes_after_a_connect_without_an_answer_is_a_repetition_only_with_dup() {
    let config = |version| {
        let mut connect = connect(version);
        connect.clean_start = false;
        connect.properties.session_expiry_interval = version.is_v5().then_some(60);
        ClientConfig {
            connect,
            connect_timeout: Duration::from_secs(5),
            in_flight_max: 10,
            topic_alias_outbound_max: 0,
        }
    };
    let connack = |reason_code| {
        let session_present = reason_code == ReasonCode::Success;
        let properties = ConnAckProperties::default();
        Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
    };
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        for (answer, dup, is_new) in [
            (None, false, true),
            (None, true, false),
            (Some(ReasonCode::ServerUnavailable), false, false),
            (Some(ReasonCode::Success), false, false),
        ] {
            let mut session = Session::new();
            session.restore_received(id(9));
            let mut client = Scripted::client(config(version), session);
            if let Some(reason_code) = answer {
                client.send(&connack(reason_code));
            }
            let session = client.end.connection.take_session();
            assert_eq!(session.received().collect::<Vec<_>>(), [id(9)]);

            let mut client = Scripted::client(config(version), session);
            client.send(&connack(ReasonCode::Success));
            client.send(&publish(2, 9, dup));
            let mut events = client.end.events.iter();
            let is_given = events.any(|event| matches!(event, ClientEvent::Publish(_)));
            assert_eq!(is_given, is_new, "{version:?} {answer:?} {dup}");
        }
    }
}

#[test]
fn a_session_that_ends_with_its_connection_knows_no_message_afterwards() {
    for (version, clean_start, asked, granted, is_over) in [
        (ProtocolVersion::V5, false, Some(60), None, false),
        (ProtocolVersion::V5, false, None, None, true),
        (ProtocolVersion::V5, false, Some(60), Some(0), true),
        (ProtocolVersion::V5, false, None, Some(60), false),
        (ProtocolVersion::V3_1_1, false, None, None, false),
        (ProtocolVersion::V3_1_1, true, None, None, true),
    ] {
        let mut connect = connect(version);
        connect.clean_start = clean_start;
        connect.properties.session_expiry_interval = asked;
        let config = ClientConfig {
            connect,
            connect_timeout: Duration::from_secs(5),
            in_flight_max: 10,
            topic_alias_outbound_max: 0,
        };
        let mut client = Scripted::client(config, Session::new());
        let properties =
            ConnAckProperties { session_expiry_interval: granted, ..ConnAckProperties::default() };
        let reason_code = ReasonCode::Success;
        let connack = ConnAck { session_present: false, reason_code, properties };
        client.send(&Packet::ConnAck(Box::new(connack)));
        client.send(&publish(2, 9, false));
        let session = client.end.connection.take_session();
        assert_eq!(session.is_empty(), is_over, "{version:?} {clean_start} {asked:?} {granted:?}");
    }
}

/// Nobody answers a DISCONNECT: a Server that never reads it goes on with the Session as CONNECT
/// and CONNACK had it.
#[test]
fn a_disconnect_ends_no_session_for_its_client() {
    let mut connect = connect(ProtocolVersion::V5);
    connect.clean_start = false;
    connect.properties.session_expiry_interval = Some(60);
    let config = ClientConfig {
        connect,
        connect_timeout: Duration::from_secs(5),
        in_flight_max: 10,
        topic_alias_outbound_max: 0,
    };
    let mut client = Scripted::client(config, Session::new());
    let properties = ConnAckProperties::default();
    let connack = ConnAck { session_present: false, reason_code: ReasonCode::Success, properties };
    client.send(&Packet::ConnAck(Box::new(connack)));
    client.send(&publish(2, 9, false));
    let mut disconnect = Disconnect::new(ReasonCode::Success);
    disconnect.properties.session_expiry_interval = Some(0);
    let (now, end) = (client.clock.now(), &mut client.end);
    end.connection.disconnect(now, &disconnect, &mut end.out).unwrap();
    let mut session = end.connection.take_session();
    assert_eq!(session.received().collect::<Vec<_>>(), [id(9)]);
    // An owner that did not acknowledge it may ask for it again.
    session.forget_received(id(9));
    assert!(session.is_empty());
}
