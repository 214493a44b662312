//! Frames beside tungstenite's: what the one writes the other reads, and what it refuses is refused.

use bytes::{Bytes, BytesMut};
use dunlin_transport::websocket::{End, Role, Violation, WebSocket};
use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::protocol::{self, Message};

use crate::cuts::{lengths, pieces};
use crate::pipe::Pipe;

/// Payload and end of a stream that comes in these pieces.
fn decode(role: Role, stream: &[u8], lengths: &[usize]) -> (Vec<u8>, Option<End>) {
    let mut web_socket = WebSocket::new(role);
    let (mut payload, mut end) = (Vec::new(), None);
    for piece in pieces(stream, lengths) {
        let mut piece = piece.to_vec();
        let decoded = web_socket.decode(&mut piece);
        payload.extend(&piece[..decoded.len]);
        end = decoded.end;
    }
    (payload, end)
}

/// What tungstenite makes of a stream: the binary messages joined, whether it was closed, and
/// whether it ended in an error.
fn read_by_tungstenite(role: protocol::Role, stream: &[u8]) -> (Vec<u8>, bool, bool) {
    let mut socket = protocol::WebSocket::from_raw_socket(Pipe::with(stream), role, None);
    let mut payload = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Binary(part)) => payload.extend(&part),
            Ok(Message::Close(_)) => return (payload, true, false),
            Ok(_) => {}
            Err(tungstenite::Error::Io(_)) => return (payload, false, false),
            Err(_) => return (payload, false, true),
        }
    }
}

/// One frame, mostly right.
#[derive(Clone, Debug)]
struct Frame {
    first: u8,
    payload: Vec<u8>,
    key: Option<[u8; 4]>,
}

impl Frame {
    fn write(&self, stream: &mut Vec<u8>) {
        let masked = if self.key.is_some() { 0x80 } else { 0 };
        stream.push(self.first);
        match self.payload.len() {
            len @ 0..=125 => stream.push(masked | len as u8),
            len @ 126..=0xffff => {
                stream.push(masked | 126);
                stream.extend((len as u16).to_be_bytes());
            }
            len => {
                stream.push(masked | 127);
                stream.extend((len as u64).to_be_bytes());
            }
        }
        let key = self.key.unwrap_or_default();
        stream.extend(self.key.iter().flatten());
        stream.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
}

fn frames() -> impl Strategy<Value = Vec<Frame>> {
    let first = prop_oneof![
        8 => Just(0x82_u8),
        4 => Just(0x02),
        4 => Just(0x00),
        4 => Just(0x80),
        4 => Just(0x89),
        2 => Just(0x8a),
        1 => Just(0x88),
        1 => any::<u8>(),
    ];
    let len = prop_oneof![8 => 0..20_usize, 2 => 120..130_usize, 1 => 65_530..65_540_usize];
    let payload = (len, any::<u8>())
        .prop_map(|(len, byte)| (0..len).map(|n| byte.wrapping_add(n as u8)).collect::<Vec<_>>());
    let key = prop_oneof![30 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
    let frame =
        (first, payload, key).prop_map(|(first, payload, key)| Frame { first, payload, key });
    vec(frame, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Ours is the stricter one: what tungstenite refuses is refused, and what is accepted here
    /// is the same payload.
    #[test]
    fn the_same_is_accepted(frames in frames(), lengths in lengths()) {
        let mut stream = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut stream));
        let (payload, end) = decode(Role::Server, &stream, &lengths);
        prop_assert_eq!(&decode(Role::Server, &stream, &[usize::MAX]), &(payload.clone(), end));
        let (messages, closed, failed) = read_by_tungstenite(protocol::Role::Server, &stream);
        match end {
            // The message that isn't complete has been handed on, too.
            None => {
                prop_assert!(!failed && !closed);
                prop_assert!(payload.starts_with(&messages));
            }
            Some(End::Closed(_)) => prop_assert!(closed),
            // Text is not MQTT; tungstenite answers an odd code by a close frame of its own.
            Some(End::Violation(Violation::TextFrame | Violation::InvalidCloseCode)) => {}
            Some(End::Violation(violation)) => prop_assert!(failed, "{violation}"),
        }
    }

    #[test]
    fn tungstenite_reads_what_is_written(
        payloads in vec(vec(any::<u8>(), 0..400), 0..20),
        large in 0..70_000_usize,
        key in any::<[u8; 4]>(),
    ) {
        let large = vec![0xa5; large];
        for (role, peer, key) in [
            (Role::Server, protocol::Role::Client, None),
            (Role::Client, protocol::Role::Server, Some(key)),
        ] {
            let mut web_socket = WebSocket::new(role);
            let mut wire = BytesMut::new();
            for payload in payloads.iter().chain([&large]) {
                prop_assert!(web_socket.encode(payload, key, &mut wire));
            }
            let all: Vec<u8> = payloads.iter().chain([&large]).flatten().copied().collect();
            let read = read_by_tungstenite(peer, &wire);
            prop_assert_eq!(&read, &(all, false, false));
        }
    }

    #[test]
    fn what_tungstenite_writes_is_read(
        payloads in vec(vec(any::<u8>(), 0..400), 0..20),
        lengths in lengths(),
    ) {
        for (role, peer) in
            [(Role::Server, protocol::Role::Client), (Role::Client, protocol::Role::Server)]
        {
            let mut socket = protocol::WebSocket::from_raw_socket(Pipe::default(), peer, None);
            for payload in &payloads {
                let ping = Message::Ping(Bytes::from_static(b"still there?"));
                prop_assert!(socket.send(ping).is_ok());
                prop_assert!(socket.send(Message::Binary(payload.clone().into())).is_ok());
            }
            let wire = std::mem::take(&mut socket.get_mut().outgoing);
            prop_assert_eq!(decode(role, &wire, &lengths), (payloads.concat(), None));
        }
    }
}

#[test]
fn both_agree_on_the_end() {
    let mut client =
        protocol::WebSocket::from_raw_socket(Pipe::default(), protocol::Role::Client, None);
    let mut server = WebSocket::new(Role::Server);
    client.send(Message::Ping(Bytes::from_static(b"one"))).expect("room");
    client.send(Message::Ping(Bytes::from_static(b"two"))).expect("room");
    let mut to_client = BytesMut::new();
    let mut wire = std::mem::take(&mut client.get_mut().outgoing);
    assert_eq!(server.decode(&mut wire).end, None);
    assert!(server.poll_control(None, &mut to_client));
    client.get_mut().incoming.extend(&to_client.split());
    assert_eq!(client.read().expect("a pong"), Message::Pong(Bytes::from_static(b"two")));

    client.close(None).expect("room");
    let mut wire = std::mem::take(&mut client.get_mut().outgoing);
    assert_eq!(server.decode(&mut wire).end, Some(End::Closed(None)));
    assert!(server.poll_control(None, &mut to_client) && server.has_sent_close());
    client.get_mut().incoming.extend(&to_client.split());
    assert_eq!(client.read().expect("the echo"), Message::Close(None));
}
