//! Who has a place, for how long, and who has none.

use super::bed::{Bed, QuicStream, expect_success};
use crate::limits::Watcher;
use crate::peer::{PATIENCE, Peer, connect, encode, subscribe};
use dunlin_broker::Limits;
use dunlin_protocol::codec::{Packet, ProtocolVersion, QoS, ReasonCode};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, TransportConfig, VarInt};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::sync::Arc;
use tokio::time::timeout;

#[test]
fn one_stream_is_granted_and_nothing_beside_it() {
    let bed = Bed::new(1, Limits::default());
    let connection = bed.connection();
    let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), connection.clone()));
    peer.send(&connect("one"));
    expect_success(&mut peer);
    assert_eq!(connection.max_datagram_size(), None, "no datagrams are taken");
    bed.runtime.block_on(async {
        tokio::select! {
            biased;
            opened = connection.open_uni() => panic!("{opened:?}"),
            opened = connection.open_bi() => panic!("{opened:?}"),
            () = std::future::ready(()) => {}
        }
    });
    peer.send(&subscribe("a", QoS::AtMostOnce));
    assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
}

#[test]
fn who_opens_no_stream_or_says_nothing_makes_room_in_time() {
    let limits = Limits {
        half_open_max: 2,
        // Time enough for the one that is let in.
        handshake_timeout_secs: 5,
        connect_timeout_secs: 5,
        sys_interval_secs: 1,
        ..Limits::default()
    };
    let bed = Bed::new(1, limits);
    let mut late = Watcher::new(&bed.broker, "handshake_timeout_secs");
    let silent = [bed.connection(), bed.connection()];
    // Nobody else is taken until these are given up; then this one is.
    bed.join("patient");
    for connection in silent {
        let ended = bed.runtime.block_on(async { timeout(PATIENCE, connection.closed()).await });
        assert!(matches!(ended, Ok(ConnectionError::ApplicationClosed(_))), "{ended:?}");
    }
    late.wait_for(2);
    // A stream alone is a connection without CONNECT.
    let mut half = bed.stream();
    half.write_all(&[0x10]).expect("it is read");
    assert_eq!(half.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn who_takes_no_answer_is_not_waited_for_without_end() {
    let bed = Bed::new(1, Limits { half_open_max: 1, ..Limits::default() });
    // Two whose connections the worker ends, with an answer that they grant no room for: one of them
    // has its time, and for the other there is no place meanwhile.
    let deaf = [(); 2].map(|()| {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(0));
        let connector = bed.tls().connector().expect("settings of use");
        let connection = bed.connect_with(&bed.endpoint(), &connector, transport);
        let connection = connection.expect("a connection");
        let mut stream = QuicStream::open(bed.runtime.handle(), connection.clone());
        let Packet::Connect(mut refused) = connect("deaf") else { panic!("no CONNECT") };
        refused.keep_alive = 60;
        let mut bytes = encode(ProtocolVersion::V5, &Packet::Connect(refused));
        // No version of MQTT is the ninth; the answer says so.
        let version = bytes.windows(5).position(|bytes| bytes == b"MQTT\x05").expect("a version");
        bytes[version + 4] = 9;
        stream.write_all(&bytes).expect("it is read");
        (connection, stream)
    });
    for (connection, _stream) in deaf {
        let ended = bed.runtime.block_on(async { timeout(PATIENCE, connection.closed()).await });
        assert!(matches!(ended, Ok(ConnectionError::ApplicationClosed(_))), "{ended:?}");
    }
    bed.join("polite");
}

#[test]
fn who_opens_no_stream_makes_room_for_one_that_waits() {
    // Nobody is given up for the time that it takes.
    let limits = Limits {
        half_open_max: 2,
        handshake_timeout_secs: 3600,
        sys_interval_secs: 1,
        ..Limits::default()
    };
    let bed = Bed::new(1, limits);
    let mut full = Watcher::new(&bed.broker, "half_open_max");
    let silent = [bed.connection(), bed.connection()];
    bed.join("waits");
    full.wait_for(1);
    let is_open = |connection: &Connection| {
        let stream = QuicStream::try_open(bed.runtime.handle(), connection.clone());
        let Ok(mut stream) = stream else { return false };
        let asked = encode(ProtocolVersion::V5, &connect(""));
        stream.write_all(&asked).is_ok() && stream.read(&mut [0; 100]).is_ok_and(|len| len > 0)
    };
    // One of them was enough.
    assert_eq!(silent.iter().filter(|connection| is_open(connection)).count(), 1);
}

#[test]
fn one_address_has_so_many_handshakes_under_way_and_gets_them_back() {
    let limits = Limits { half_open_per_address_max: 3, sys_interval_secs: 1, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let mut turned_away = Watcher::new(&bed.broker, "half_open_per_address_max");
    let endpoint = bed.endpoint();
    let try_connect = || bed.try_connect(&endpoint, &bed.tls());
    let silent: Vec<_> = (0..3).map(|_| try_connect().expect("there is room")).collect();
    for _ in 0..30 {
        let refused = try_connect().expect_err("there is no room");
        // CONNECTION_REFUSED.
        assert!(refused.to_string().contains("refused"), "{refused}");
    }
    turned_away.wait_for(30);
    // Whoever has a stream is not half open.
    for connection in silent {
        let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), connection));
        peer.send(&connect(""));
        expect_success(&mut peer);
        drop(peer);
    }
    try_connect().expect("there is room again");
}

#[test]
fn who_comes_faster_than_allowed_waits_and_is_let_in() {
    let limits = Limits { connects_per_second_max: 1, sys_interval_secs: 1, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let mut waited = Watcher::new(&bed.broker, "connects_per_second_max");
    // They are there at once: however slow a machine is, it does not look at one of them in a second.
    let [_, second]: [_; 2] = bed.crowd(32, 2).try_into().expect("two of them");
    waited.wait_for_more();
    let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), second));
    peer.send(&connect("second"));
    expect_success(&mut peer);
}

/// The first datagrams of a handshake with somebody who does not answer.
fn first_datagrams(bed: &Bed) -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    nobody.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let endpoint = bed.endpoint();
    let connector = bed.tls().connector().expect("settings of use");
    let crypto = QuicClientConfig::try_from(connector.config()).expect("TLS 1.3");
    let config = ClientConfig::new(Arc::new(crypto));
    let address = nobody.local_addr().expect("an address");
    let _entered = bed.runtime.enter();
    let connecting = endpoint.connect_with(config, address, "localhost").expect("an attempt");
    let mut buffer = [0; 2000];
    // A key that quantum computers don't find makes it two.
    let datagrams = (0..2).map(|_| {
        let len = nobody.recv(&mut buffer).expect("a datagram");
        buffer[..len].to_vec()
    });
    let datagrams = datagrams.collect();
    drop(connecting);
    datagrams
}

#[test]
fn addresses_that_are_not_those_of_who_sends_take_few_places() {
    // Whoever has a place would keep it for an hour.
    let limits = Limits { half_open_max: 8, handshake_timeout_secs: 3600, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let mut retries = 0;
    for _ in 0..20 {
        // Nobody is there who would go on: as if the address were another's.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        for datagram in first_datagrams(&bed) {
            socket.send_to(&datagram, bed.address).expect("it can be sent");
        }
        let mut answer = [0; 2000];
        let len = socket.recv(&mut answer).expect("an answer");
        // A long header of the type Retry (RFC 9000 §17.2.5), far shorter than what asked for it.
        if answer[0] & 0xf0 == 0xf0 {
            assert!(len < 200, "{len} bytes");
            retries += 1;
        }
    }
    assert_eq!(retries, 18, "a quarter of the places is for those who have proven nothing");
    // Those who prove where they are come in at once.
    let _peers: Vec<_> = (0..10).map(|at| bed.join(&format!("c-{at}"))).collect();
}

#[test]
fn connections_are_limited_and_room_is_given_back() {
    let bed = Bed::new(2, Limits { connections_max: 3, ..Limits::default() });
    let peers: Vec<_> = (0..3).map(|at| bed.join(&format!("c-{at}"))).collect();
    for _ in 0..10 {
        let mut more = Peer::over(bed.stream());
        more.try_send(&connect("more"));
        let Some(Packet::ConnAck(connack)) = more.receive() else { panic!("no CONNACK") };
        assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
        assert_eq!(more.receive(), None);
    }
    drop(peers);
    bed.until_let_in();
}

#[test]
fn connections_of_an_address_are_limited_by_where_they_come_from() {
    let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
    let bed = Bed::new(2, limits);
    let peers = [bed.join("first"), bed.join("second")];
    let mut more = Peer::over(bed.stream());
    more.try_send(&connect("more"));
    let Some(Packet::ConnAck(connack)) = more.receive() else { panic!("no CONNACK") };
    assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
    drop(peers);
    bed.until_let_in();
}

#[test]
fn garbage_is_not_answered_with_more_than_it_is_and_disturbs_nobody() {
    let bed = Bed::new(1, Limits::default());
    let mut peer = bed.join("undisturbed");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for len in [0, 1, 20, 21, 600, 1199, 1200, 1472, 9000] {
        for first in [0x00, 0x40, 0x7f, 0x80, 0xc0, 0xcf, 0xff] {
            for version in [[0; 4], [0, 0, 0, 1], [0x0a; 4], [0xff; 4]] {
                let mut datagram = vec![first; len];
                for (at, byte) in datagram.iter_mut().enumerate().skip(1) {
                    *byte = if at < 5 { version[at - 1] } else { (at % 256) as u8 };
                }
                socket.send_to(&datagram, bed.address).expect("it can be sent");
            }
        }
    }
    // All of them come before this.
    peer.send(&subscribe("a", QoS::AtMostOnce));
    assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
    bed.join("after them");
    socket.set_nonblocking(true).expect("an option");
    let mut answer = [0; 2000];
    while let Ok(len) = socket.recv(&mut answer) {
        assert!(len <= 1200, "{len} bytes");
    }
}
