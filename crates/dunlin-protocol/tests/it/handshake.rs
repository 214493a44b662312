//! CONNECT, CONNACK and the ways to leave, in each version.

use dunlin_protocol::codec::{
    ConnAckProperties, Connect, Disconnect, Packet, ProtocolVersion, QoS, ReasonCode, Subscription,
    SubscriptionOptions, Text, TopicFilter,
};
use dunlin_protocol::{
    ClientConfig, ClientEvent, CommandError, ConnectionEnd, ServerConfig, ServerConnection,
    ServerEvent, Session,
};
use dunlin_testkit::{Pair, Scripted, connect};
use std::time::Duration;

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];

fn config(connect: Connect) -> ClientConfig {
    ClientConfig {
        connect,
        connect_timeout: Duration::from_secs(5),
        in_flight_max: 10,
        topic_alias_outbound_max: 0,
    }
}

#[test]
fn both_ends_connect_subscribe_and_part() {
    for version in VERSIONS {
        let mut pair = Pair::new(version);
        pair.connect();
        pair.settle();
        let events = pair.take_server_events();
        assert!(matches!(&events[..], [ServerEvent::Connect(_)]), "{events:?}");
        let events = pair.take_client_events();
        assert!(matches!(&events[..], [ClientEvent::Connected { .. }]), "{events:?}");

        let (now, client) = (pair.now(), pair.client());
        let subscription = Subscription {
            topic_filter: TopicFilter::from_static("a/+"),
            options: SubscriptionOptions { maximum_qos: QoS::AtLeastOnce, ..Default::default() },
        };
        let asked = client
            .connection
            .subscribe(now, Default::default(), vec![subscription], &mut client.out)
            .unwrap();
        let filters = vec![TopicFilter::from_static("a/+")];
        client.connection.unsubscribe(now, Default::default(), filters, &mut client.out).unwrap();
        pair.settle();
        match &pair.take_client_events()[..] {
            [ClientEvent::SubAck(suback), ClientEvent::UnsubAck(_)] => {
                assert_eq!(suback.packet_identifier, asked);
                assert_eq!(suback.reason_codes, [ReasonCode::GrantedQoS1]);
            }
            events => panic!("{events:?}"),
        }

        let (now, client) = (pair.now(), pair.client());
        let disconnect = Disconnect::new(ReasonCode::Success);
        client.connection.disconnect(now, &disconnect, &mut client.out).unwrap();
        pair.settle();
        assert_eq!(pair.ends.0, Some(ConnectionEnd::Local(ReasonCode::Success)));
        assert_eq!(pair.ends.1, Some(ConnectionEnd::Peer(Box::new(disconnect))));
    }
}

#[test]
fn a_server_says_goodbye_where_the_version_lets_it() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        let (now, server) = (pair.now(), pair.server());
        let mut disconnect = Disconnect::new(ReasonCode::ServerShuttingDown);
        disconnect.properties.session_expiry_interval = Some(5);
        server.connection.disconnect(now, &disconnect, &mut server.out);
        pair.settle();
        let expected = if version.is_v5() {
            disconnect.properties.session_expiry_interval = None;
            ConnectionEnd::Peer(Box::new(disconnect))
        } else {
            ConnectionEnd::Network
        };
        assert_eq!(pair.ends.0, Some(expected), "{version}");
    }
}

#[track_caller]
fn check_refused(connect: Connect, reason_code: ReasonCode, answer: ReasonCode) {
    let mut server = Scripted::server(connect.protocol_version, ServerConfig::default());
    server.send(&Packet::Connect(Box::new(connect)));
    let (now, end) = (server.clock.now(), &mut server.end);
    let properties = ConnAckProperties::default();
    end.connection.reject(now, reason_code, properties, &mut end.out).unwrap();
    match server.expect() {
        Packet::ConnAck(connack) => {
            assert_eq!((connack.session_present, connack.reason_code), (false, answer));
        }
        packet => panic!("{packet:?}"),
    }
    assert!(server.end.connection.end().is_some());
}

#[test]
fn refusals_carry_the_code_of_the_version() {
    use ReasonCode as R;
    for (version, reason_code, answer) in [
        (ProtocolVersion::V5, R::Banned, R::Banned),
        (ProtocolVersion::V5, R::ServerShuttingDown, R::UnspecifiedError),
        (ProtocolVersion::V3_1_1, R::Banned, R::NotAuthorized),
        (ProtocolVersion::V3_1_1, R::ServerShuttingDown, R::ServerUnavailable),
        (ProtocolVersion::V3_1, R::BadUserNameOrPassword, R::BadUserNameOrPassword),
    ] {
        check_refused(connect(version), reason_code, answer);
    }
}

#[test]
fn a_rejection_needs_a_failure() {
    let mut server = Scripted::server(ProtocolVersion::V5, ServerConfig::default());
    server.send(&Packet::Connect(Box::new(connect(ProtocolVersion::V5))));
    let (now, end) = (server.clock.now(), &mut server.end);
    let outcome = end.connection.reject(now, ReasonCode::Success, Default::default(), &mut end.out);
    assert_eq!(outcome, Err(CommandError::State));
}

/// What a Server answers to first bytes that it can't accept by itself.
#[track_caller]
fn check_first_bytes(bytes: &[u8], answer: &[u8]) {
    let mut server = Scripted::server(ProtocolVersion::V3_1_1, ServerConfig::default());
    server.send_bytes(bytes);
    assert_eq!(server.end.take_output(), answer);
    assert!(matches!(server.end.connection.end(), Some(ConnectionEnd::Violation(_))));
}

#[test]
fn first_bytes_that_cannot_be_accepted() {
    // Protocol level 9: return code 1 [MQTT3-3.1.2-2].
    check_first_bytes(b"\x10\x0d\x00\x04MQTT\x09\x02\x00\x00\x00\x01c", b"\x20\x02\x00\x01");
    // No Client Identifier for a kept Session: return code 2 [MQTT3-3.1.3-8].
    check_first_bytes(b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00", b"\x20\x02\x00\x02");
    // MQTT 3.1 has no empty Client Identifier.
    check_first_bytes(b"\x10\x0e\x00\x06MQIsdp\x03\x02\x00\x00\x00\x00", b"\x20\x02\x00\x02");
    // The reserved flag: silence [MQTT3-3.1.4-1].
    check_first_bytes(b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01c", b"");
    // Not MQTT at all.
    check_first_bytes(b"GET / HTTP/1.1\r\n\r\n", b"");
    // Another packet than CONNECT.
    check_first_bytes(b"\xc0\x00", b"");
}

#[test]
fn a_client_learns_why_it_was_refused() {
    for version in VERSIONS {
        let mut client = Scripted::client(config(connect(version)), Session::new());
        let connack = dunlin_protocol::codec::ConnAck {
            session_present: false,
            reason_code: ReasonCode::NotAuthorized,
            properties: Default::default(),
        };
        client.send(&Packet::ConnAck(Box::new(connack)));
        assert!(matches!(client.event(), ClientEvent::Refused(_)));
        let refused = ConnectionEnd::Refused(ReasonCode::NotAuthorized);
        assert_eq!(client.end.connection.end(), Some(&refused));
        assert_eq!(client.packets(), []);
    }
}

#[test]
fn a_will_is_wanted_in_every_version() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        let (now, client) = (pair.now(), pair.client());
        let disconnect = Disconnect::new(ReasonCode::DisconnectWithWillMessage);
        client.connection.disconnect(now, &disconnect, &mut client.out).unwrap();
        // A DISCONNECT of MQTT 3.x would discard the Will.
        assert_eq!(client.out.is_empty(), !version.is_v5());
        pair.settle();
        assert_eq!(pair.ends.1 == Some(ConnectionEnd::Network), !version.is_v5());
    }
}

#[test]
fn packets_that_came_behind_connect_wait_for_the_answer() {
    let mut server = Scripted::server(ProtocolVersion::V5, ServerConfig::default());
    server.send(&Packet::Connect(Box::new(connect(ProtocolVersion::V5))));
    server.send(&Packet::PingReq);
    assert_eq!(server.packets(), []);
    assert!(server.end.connection.waits_for_owner());
    server.accept(Session::new());
    assert!(!server.end.connection.waits_for_owner());
    let packets = server.packets();
    assert!(matches!(packets[..], [Packet::ConnAck(_), Packet::PingResp]), "{packets:?}");
}

#[test]
fn connack_gives_up_its_diagnostics_before_it_is_too_large() {
    let mut wanted = connect(ProtocolVersion::V5);
    wanted.properties.maximum_packet_size = Some(40);
    let mut server = Scripted::server(ProtocolVersion::V5, ServerConfig::default());
    server.send(&Packet::Connect(Box::new(wanted)));
    let properties = ConnAckProperties {
        reason_string: Some(Text::from_static("a reason of more than forty bytes, all in all")),
        ..Default::default()
    };
    let (now, end) = (server.clock.now(), &mut server.end);
    end.connection.reject(now, ReasonCode::Banned, properties, &mut end.out).unwrap();
    match server.expect() {
        Packet::ConnAck(connack) => assert_eq!(connack.properties.reason_string, None),
        packet => panic!("{packet:?}"),
    }
}

#[test]
fn an_idle_connection_is_small() {
    let size = size_of::<ServerConnection>();
    assert!(size <= 224, "{size} bytes for each connection of a Server");
}
