//! Enhanced authentication with the connection and after it.

use dunlin_protocol::codec::{
    Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, Packet, ProtocolVersion, ReasonCode,
    Text,
};
use dunlin_protocol::{
    ClientConfig, ClientEvent, CommandError, ConnectionEnd, ServerConfig, ServerConnection,
    ServerEvent, Session, Violation,
};
use dunlin_testkit::{Pair, Scripted, connect};
use std::time::Duration;

fn asking() -> Connect {
    let mut connect = connect(ProtocolVersion::V5);
    connect.properties.authentication_method = Some(Text::from_static("m"));
    connect
}

fn auth(reason_code: ReasonCode, method: &'static str) -> Packet {
    let authentication_method = Some(Text::from_static(method));
    let properties = AuthProperties { authentication_method, ..Default::default() };
    Packet::Auth(Box::new(Auth { reason_code, properties }))
}

fn step(reason_code: ReasonCode) -> Auth {
    Auth { reason_code, properties: AuthProperties::default() }
}

#[test]
fn challenges_come_before_connack_and_again_later() {
    let mut pair = Pair::new(ProtocolVersion::V5);
    pair.client_config.connect = asking();
    pair.logic.challenges = 2;
    pair.connect();
    pair.settle();
    match &pair.take_client_events()[..] {
        [ClientEvent::Auth(_), ClientEvent::Auth(_), ClientEvent::Connected { connack, .. }] => {
            let method = connack.properties.authentication_method.as_deref();
            assert_eq!(method, Some("m"));
        }
        events => panic!("{events:?}"),
    }
    pair.take_server_events();

    let (now, client) = (pair.now(), pair.client());
    let out = &mut client.out;
    let twice = step(ReasonCode::ReAuthenticate);
    client.connection.auth(now, twice.clone(), out).unwrap();
    assert_eq!(client.connection.auth(now, twice, out), Err(CommandError::State));
    pair.settle();
    match &pair.take_client_events()[..] {
        [ClientEvent::Auth(first), ClientEvent::Auth(_), ClientEvent::Auth(last)] => {
            assert_eq!(first.reason_code, ReasonCode::ContinueAuthentication);
            assert_eq!(last.reason_code, ReasonCode::Success);
        }
        events => panic!("{events:?}"),
    }
    assert_eq!(pair.take_server_events().len(), 3);
}

/// What a Server does with an AUTH that is out of place.
#[track_caller]
fn check_server(connect: Connect, packet: &Packet, expected: &Violation) {
    let mut server = Scripted::accepted(connect, ServerConfig::default(), Session::new());
    server.send(packet);
    let violation = ConnectionEnd::Violation(expected.clone());
    assert_eq!(server.end.connection.end(), Some(&violation));
    match server.expect() {
        Packet::Disconnect(disconnect) => {
            assert_eq!(disconnect.reason_code, expected.reason_code());
        }
        packet => panic!("{packet:?}"),
    }
}

#[test]
fn a_server_takes_auth_only_where_it_belongs() {
    use dunlin_protocol::codec::PacketType;
    let method = Violation::AuthenticationMethod;
    let place = Violation::UnexpectedPacket(PacketType::Auth);
    let plain = connect(ProtocolVersion::V5);
    check_server(plain, &auth(ReasonCode::ReAuthenticate, "m"), &method);
    check_server(asking(), &auth(ReasonCode::ReAuthenticate, "other"), &method);
    check_server(asking(), &auth(ReasonCode::ContinueAuthentication, "m"), &place);
    check_server(asking(), &auth(ReasonCode::Success, "m"), &place);
}

#[test]
fn a_server_asks_nothing_on_its_own() {
    let mut server = Scripted::accepted(asking(), ServerConfig::default(), Session::new());
    let (now, end) = (server.clock.now(), &mut server.end);
    for reason_code in [ReasonCode::ContinueAuthentication, ReasonCode::Success] {
        let outcome = end.connection.auth(now, step(reason_code), &mut end.out);
        assert_eq!(outcome, Err(CommandError::State));
    }
}

/// What a Client does with this packet as the answer to its CONNECT.
#[track_caller]
fn check_client(connect: Connect, packet: &Packet, expected: &Violation) {
    let config = ClientConfig {
        connect,
        connect_timeout: Duration::from_secs(5),
        in_flight_max: 10,
        topic_alias_outbound_max: 0,
    };
    let mut client = Scripted::client(config, Session::new());
    client.send(packet);
    let violation = ConnectionEnd::Violation(expected.clone());
    assert_eq!(client.end.connection.end(), Some(&violation));
}

#[test]
fn a_client_takes_auth_only_where_it_belongs() {
    use dunlin_protocol::codec::PacketType;
    let method = Violation::AuthenticationMethod;
    let plain = connect(ProtocolVersion::V5);
    check_client(plain.clone(), &auth(ReasonCode::ContinueAuthentication, "m"), &method);
    check_client(asking(), &auth(ReasonCode::ContinueAuthentication, "other"), &method);
    let place = Violation::UnexpectedPacket(PacketType::Auth);
    check_client(asking(), &auth(ReasonCode::Success, "m"), &place);

    let connack = |method: Option<&'static str>| {
        let authentication_method = method.map(Text::from_static);
        let properties = ConnAckProperties { authentication_method, ..Default::default() };
        let reason_code = ReasonCode::Success;
        Packet::ConnAck(Box::new(ConnAck { session_present: false, reason_code, properties }))
    };
    check_client(asking(), &connack(None), &method);
    check_client(asking(), &connack(Some("other")), &method);
    check_client(plain, &connack(Some("m")), &method);
}

#[test]
fn who_wants_no_problem_information_gets_none() {
    let mut connect = asking();
    connect.properties.request_problem_information = Some(false);
    let mut server = Scripted::server(ProtocolVersion::V5, ServerConfig::default());
    server.send(&Packet::Connect(Box::new(connect)));
    assert!(matches!(server.event(), ServerEvent::Connect(_)));
    let mut challenge = step(ReasonCode::ContinueAuthentication);
    challenge.properties.reason_string = Some(Text::from_static("because"));
    let (now, end) = (server.clock.now(), &mut server.end);
    end.connection.auth(now, challenge, &mut end.out).unwrap();
    match server.expect() {
        Packet::Auth(auth) => assert_eq!(auth.properties.reason_string, None),
        packet => panic!("{packet:?}"),
    }
}

/// A Server that has challenged the Client.
fn challenging(config: ServerConfig) -> Scripted<ServerConnection> {
    let mut server = Scripted::server(ProtocolVersion::V5, config);
    server.send(&Packet::Connect(Box::new(asking())));
    assert!(matches!(server.event(), ServerEvent::Connect(_)));
    let (now, end) = (server.clock.now(), &mut server.end);
    let challenge = step(ReasonCode::ContinueAuthentication);
    end.connection.auth(now, challenge, &mut end.out).unwrap();
    assert!(matches!(server.expect(), Packet::Auth(_)));
    server
}

#[test]
fn until_a_client_is_accepted_its_packets_are_small() {
    let config = ServerConfig {
        connect_packet_size_max: 1_000,
        packet_size_max: 100_000,
        ..ServerConfig::default()
    };
    // AUTH of 2,000 bytes, of which only the first have come.
    let mut server = challenging(config.clone());
    server.send_bytes(&[0xF0, 0xD0, 0x0F, 0x18]);
    let end = server.end.connection.end().expect("it is refused at its length");
    assert!(matches!(end, ConnectionEnd::Violation(Violation::Decode(_))), "{end:?}");

    let mut server = Scripted::accepted(asking(), config, Session::new());
    server.send_bytes(&[0x30, 0xD0, 0x0F, 0]);
    assert_eq!(server.end.connection.end(), None);
}

#[test]
fn nothing_but_an_answer_is_waited_for_after_a_challenge() {
    use dunlin_protocol::codec::PacketType;
    // A SUBSCRIBE of which only the first byte has come, and what is no packet of a Client's.
    for (first_byte, packet_type) in
        [(0x82, PacketType::Subscribe), (0x30, PacketType::Publish), (0x10, PacketType::Connect)]
    {
        let mut server = challenging(ServerConfig::default());
        server.send_bytes(&[first_byte]);
        let violation = Violation::UnexpectedPacket(packet_type);
        let end = ConnectionEnd::Violation(violation);
        assert_eq!(server.end.connection.end(), Some(&end));
        assert!(matches!(server.expect(), Packet::ConnAck(_)));
    }
    for first_byte in [0xE0, 0xF0] {
        let mut server = challenging(ServerConfig::default());
        server.send_bytes(&[first_byte]);
        assert_eq!(server.end.connection.end(), None);
    }
}
