//! Listeners behind proxies that say for whom they connect.

use crate::peer::{PATIENCE, Peer, Stream, connect, encode};
use crate::secure::TlsStream;
use crate::web_client::Site;
use dunlin_broker::Limits;
use dunlin_protocol::codec::{Packet, ProtocolVersion, ReasonCode};
use std::io::{Read, Write};
use std::net::TcpStream;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n";

/// The same in version 2, with a field that nobody knows.
fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11".to_vec();
    header.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 1, 0xc3, 0x50, 0x07, 0x5b]);
    header.extend_from_slice(&[0xe0, 0, 2, 1, 2]);
    header
}

/// As a health check says it.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0";

fn site(is_secure: bool, is_web_socket: bool, from: &str) -> Site {
    Site::behind(is_secure, is_web_socket, Limits::default(), &[from])
}

fn socket(site: &Site) -> TcpStream {
    let socket = TcpStream::connect(site.broker.addresses()[0]).expect("a broker");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    socket.set_nodelay(true).expect("an option");
    socket
}

fn expect_success(peer: &mut Peer) {
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

#[test]
fn the_header_comes_before_everything_else() {
    for (is_secure, is_web_socket) in [(false, false), (true, false), (false, true), (true, true)] {
        let site = site(is_secure, is_web_socket, "127.0.0.0/8");
        for header in [V1, &v2(), LOCAL] {
            let mut socket = socket(&site);
            socket.write_all(header).expect("the broker reads");
            let stream: Box<dyn Stream> = match &site.tls {
                Some(tls) => Box::new(TlsStream::new(socket, tls)),
                None => Box::new(socket),
            };
            if is_web_socket {
                let opened = tungstenite::client(site.request("/mqtt", &[]), stream);
                opened.expect("a WebSocket");
            } else {
                let mut peer = Peer::over(stream);
                peer.send(&connect("c"));
                expect_success(&mut peer);
            }
        }
    }
}

#[test]
fn the_header_may_come_in_pieces_and_with_what_follows_it() {
    let site = site(false, false, "127.0.0.1");
    for header in [V1, &v2()] {
        let mut bytes = header.to_vec();
        bytes.extend(encode(ProtocolVersion::V5, &connect("c")));
        for cut in 0..=bytes.len() {
            let mut socket = socket(&site);
            for part in [&bytes[..cut], &bytes[cut..]] {
                socket.write_all(part).expect("the broker reads");
            }
            expect_success(&mut Peer::over(socket));
        }
    }
}

#[test]
fn nobody_is_served_without_a_header_or_from_elsewhere() {
    let packet = encode(ProtocolVersion::V5, &connect("c"));
    let with = |header: &[u8]| [header, &packet].concat();
    let cases = [
        ("127.0.0.1", packet.clone()),
        ("127.0.0.1", with(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883 \r\n")),
        ("127.0.0.1", with(b"PROXY TCP4 192.0.2.700 198.51.100.1 50000 1883\r\n")),
        ("127.0.0.1", vec![b'P'; 200]),
        ("10.0.0.0/8", with(V1)),
    ];
    for (from, bytes) in cases {
        let mut socket = socket(&site(false, false, from));
        // It may be closed before all of it is written.
        let _ = socket.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert_eq!(answer, b"");
    }
}

#[test]
fn a_client_has_so_many_handshakes_under_way_behind_a_proxy_too() {
    let limits = Limits { half_open_per_address_max: 1, ..Limits::default() };
    let site = Site::behind(true, true, limits, &["127.0.0.1"]);
    let tls = site.tls.as_ref().expect("settings");
    let announced = |header: &[u8]| {
        let mut socket = socket(&site);
        socket.write_all(header).expect("the broker reads");
        TlsStream::new(socket, tls)
    };
    // It never asks for the WebSocket.
    let mut first = announced(V1);
    first.shake_hands().expect("the first of this client");
    // This one waits until the first has been silent for long enough.
    announced(&v2()).shake_hands().expect("the second of this client");
    first.expect_end();
    let other = b"PROXY TCP4 192.0.2.8 198.51.100.1 50000 1883\r\n";
    announced(other).shake_hands().expect("another client");
    for _ in 0..2 {
        let proxy = announced(LOCAL).shake_hands();
        proxy.expect("the proxy itself");
    }
}

#[test]
fn what_a_proxy_says_for_itself_counts_for_no_address() {
    let limits = Limits { connections_per_address_max: 1, ..Limits::default() };
    let site = Site::behind(false, false, limits, &["127.0.0.1"]);
    let connected = |header: &[u8], name| {
        let mut socket = socket(&site);
        socket.write_all(header).expect("the broker reads");
        let mut peer = Peer::over(socket);
        peer.send(&connect(name));
        peer
    };
    // As health checks of several proxies say it, and of version 1.
    let itself: Vec<Peer> = [LOCAL, LOCAL, b"PROXY UNKNOWN\r\n"]
        .into_iter()
        .zip(["one", "two", "three"])
        .map(|(header, name)| {
            let mut peer = connected(header, name);
            expect_success(&mut peer);
            peer
        })
        .collect();
    // Clients of one address do count, each way that it is told.
    let mut first = connected(V1, "first");
    expect_success(&mut first);
    match connected(&v2(), "second").receive() {
        Some(Packet::ConnAck(connack)) => {
            assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
        }
        packet => panic!("no CONNACK but {packet:?}"),
    }
    drop(itself);
}
