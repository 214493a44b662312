//! Who must be heard from, and how long silence is borne.

use dunlin_protocol::codec::{Connect, Delivery, PacketIdentifier};
use dunlin_protocol::codec::{
    Packet, ProtocolVersion, Publish, PublishTopic, ReasonCode, TopicName,
};
use dunlin_protocol::{ConnectionEnd, Instant, ServerConfig, ServerConnection, Session};
use dunlin_testkit::{Pair, Scripted, connect};
use std::time::Duration;

const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];

#[test]
fn idle_ends_keep_their_connection() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        pair.advance(Duration::from_secs(3_600));
        assert!(pair.client().connection.is_connected());
        assert!(pair.server().connection.is_connected());
    }
}

#[test]
fn the_server_closes_after_one_and_a_half_keep_alives() {
    for version in VERSIONS {
        let config = ServerConfig::default();
        let mut server = Scripted::accepted(connect(version), config, Session::new());
        server.advance(Duration::from_millis(89_999));
        assert_eq!(server.end.connection.end(), None);
        server.advance(Duration::from_millis(1));
        assert_eq!(server.end.connection.end(), Some(&ConnectionEnd::KeepAliveTimeout));
        let farewell = server.packets();
        match &farewell[..] {
            [] => assert!(!version.is_v5()),
            [Packet::Disconnect(disconnect)] => {
                assert_eq!(disconnect.reason_code, ReasonCode::KeepAliveTimeout);
            }
            packets => panic!("{packets:?}"),
        }
    }
}

#[test]
fn without_keep_alive_silence_is_borne() {
    let mut wanted = connect(ProtocolVersion::V5);
    wanted.keep_alive = 0;
    let mut server = Scripted::accepted(wanted, ServerConfig::default(), Session::new());
    assert_eq!(server.end.connection.poll_timeout(), None);
    server.advance(Duration::from_secs(1_000_000));
    assert_eq!(server.end.connection.end(), None);
}

#[test]
fn the_client_gives_an_unanswered_ping_half_a_keep_alive() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version);
        // The Server is gone, and the link with it, unnoticed.
        pair.up.cut();
        let mut client = pair.client.take().unwrap();
        let sent = client.connection.poll_timeout().unwrap();
        client.run(sent, &mut |_, _, _| {});
        assert_eq!(client.take_output(), [0xC0, 0]);
        assert_eq!(client.connection.poll_timeout(), Some(sent + Duration::from_secs(30)));
        client.run(sent + Duration::from_secs(30), &mut |_, _, _| {});
        assert_eq!(client.connection.end(), Some(&ConnectionEnd::KeepAliveTimeout));
        let farewell: &[u8] = if version.is_v5() { &[0xE0, 1, 0x80] } else { &[] };
        assert_eq!(client.take_output(), farewell);
    }
}

#[test]
fn a_server_keep_alive_binds_both_ends() {
    for (limit, announced, expected) in [(20, None, 20), (0, Some(15), 15), (20, Some(100), 100)] {
        let mut pair = Pair::new(ProtocolVersion::V5);
        pair.server_config.keep_alive_max_secs = limit;
        pair.logic.connack.server_keep_alive = announced;
        pair.connect_and_settle();
        assert_eq!(pair.server().connection.keep_alive_secs(), expected);
        let due = pair.client().connection.poll_timeout().unwrap();
        assert!(due <= pair.now() + Duration::from_secs(u64::from(expected)), "{due}");
        assert!(due > pair.now() + Duration::from_secs(u64::from(expected) - 1), "{due}");
        pair.advance(Duration::from_secs(1_000));
        assert!(pair.client().connection.is_connected());
    }
}

#[test]
fn a_large_packet_on_its_way_is_no_silence() {
    let mut server =
        Scripted::accepted(connect(ProtocolVersion::V5), ServerConfig::default(), Session::new());
    // A PUBLISH of 100,003 bytes, a part each minute.
    server.send_bytes(&[0x30, 0xA0, 0x8D, 0x06]);
    for _ in 0..20 {
        server.advance(Duration::from_secs(60));
        server.send_bytes(&[b'a'; 1_000]);
        assert_eq!(server.end.connection.end(), None);
    }
    server.advance(Duration::from_secs(90));
    assert_eq!(server.end.connection.end(), Some(&ConnectionEnd::KeepAliveTimeout));
}

#[test]
fn a_packet_that_hardly_goes_on_is_silence() {
    // A PUBLISH of 100,003 bytes, so many of them each second.
    let ends_after = |bytes_per_second: usize, keep_alive| {
        let config = ServerConfig { partial_rate_min: 100, ..ServerConfig::default() };
        let connect = Connect { keep_alive, ..connect(ProtocolVersion::V5) };
        let mut server = Scripted::accepted(connect, config, Session::new());
        server.advance(Duration::from_secs(1));
        server.send_bytes(&[0x30, 0xA0, 0x8D, 0x06]);
        (1..=500).find(|_| {
            server.advance(Duration::from_secs(1));
            server.send_bytes(&vec![b'a'; bytes_per_second]);
            let end = server.end.connection.end();
            assert!(matches!(end, None | Some(ConnectionEnd::PartialPacket)), "{end:?}");
            end.is_some()
        })
    };
    assert_eq!([0, 60, 1_000].map(|keep_alive| ends_after(100, keep_alive)), [None; 3]);
    for bytes_per_second in [0, 1, 99] {
        assert_eq!(ends_after(bytes_per_second, 0), Some(60));
        assert_eq!(ends_after(bytes_per_second, 1_000), Some(60));
        assert_eq!(ends_after(bytes_per_second, 20), Some(30));
    }
}

#[test]
fn before_connack_every_second_counts() {
    let mut server = Scripted::server(ProtocolVersion::V5, ServerConfig::default());
    server.advance(Duration::from_secs(9));
    server.send_bytes(&[0x10]);
    server.advance(Duration::from_secs(1));
    assert_eq!(server.end.connection.end(), Some(&ConnectionEnd::ConnectTimeout));
    assert_eq!(server.packets(), []);

    let mut pair = Pair::new(ProtocolVersion::V5);
    pair.connect();
    pair.up.cut_after(1);
    let mut client = pair.client.take().unwrap();
    client.take_output();
    client.run(Instant::ZERO + Duration::from_secs(10), &mut |_, _, _| {});
    assert_eq!(client.connection.end(), Some(&ConnectionEnd::ConnectTimeout));
    assert!(client.out.is_empty());
}

/// A server whose owner has one message and can take no other: what follows waits. MQTT 3.x has no
/// Receive Maximum that a Client could keep to.
fn held_back() -> Scripted<ServerConnection> {
    let config = ServerConfig { receive_maximum: 1, ..Default::default() };
    let mut server = Scripted::accepted(connect(ProtocolVersion::V3_1_1), config, Session::new());
    server.send(&Packet::Publish(Publish {
        delivery: Delivery::AtLeastOnce { packet_identifier: PacketIdentifier::FIRST, dup: false },
        retain: false,
        topic: PublishTopic::Name(TopicName::from_static("t")),
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: "first".into(),
    }));
    server.send(&Packet::PingReq);
    assert_eq!(server.packets(), []);
    assert!(server.end.connection.waits_for_owner());
    server
}

#[test]
fn an_owner_that_holds_the_input_back_blames_nobody() {
    let mut server = held_back();
    server.advance(Duration::from_secs(1_000));
    assert_eq!(server.end.connection.end(), None);
    server.end.acknowledge_all(server.clock.now());
    assert!(!server.end.connection.waits_for_owner());
    server.run();
    assert!(matches!(server.packets()[..], [Packet::PubAck(_), Packet::PingResp]));
    server.advance(Duration::from_secs(90));
    assert_eq!(server.end.connection.end(), Some(&ConnectionEnd::KeepAliveTimeout));
}

#[test]
fn an_owner_that_gives_up_what_comes_holds_no_input_back() {
    let mut server = held_back();
    server.end.connection.forgo_further();
    assert!(!server.end.connection.waits_for_owner());
    server.run();
    assert!(matches!(server.packets()[..], [Packet::PingResp]));
    server.end.acknowledge_all(server.clock.now());
    server.run();
    assert!(matches!(server.packets()[..], [Packet::PubAck(_)]));
}
