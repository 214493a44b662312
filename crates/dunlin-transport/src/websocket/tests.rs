//! Frames by the examples and rules of RFC 6455, each stream cut at every byte.

use super::*;
use crate::websocket::close::Violation;
use bytes::BytesMut;

/// The key of the examples in RFC 6455, section 5.7.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a stream becomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outcome {
    payload: Vec<u8>,
    end: Option<End>,
    /// What is owed to the peer when all has been read.
    owed: Vec<u8>,
}

fn decode(role: Role, pieces: &[&[u8]]) -> Outcome {
    let mut web_socket = WebSocket::new(role);
    let mut outcome = Outcome::default();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let decoded = web_socket.decode(&mut piece);
        outcome.payload.extend(&piece[..decoded.len]);
        outcome.end = decoded.end;
    }
    let mut owed = BytesMut::new();
    let key = (role == Role::Client).then_some(KEY);
    let owes = web_socket.owes_control();
    assert_eq!(web_socket.poll_control(key, &mut owed), owes);
    outcome.owed = owed.to_vec();
    outcome
}

/// The stream becomes this: whole, cut in two at every byte, and byte by byte.
fn check(role: Role, stream: &[u8], payload: &[u8], end: Option<End>, owed: &[u8]) {
    let expected = Outcome { payload: payload.to_vec(), end, owed: owed.to_vec() };
    for cut in 0..=stream.len() {
        let (first, second) = stream.split_at(cut);
        assert_eq!(decode(role, &[first, second]), expected, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(decode(role, &bytes), expected, "byte by byte");
}

/// The stream ends with this violation, and the close frame says so.
fn check_violation(role: Role, stream: &[u8], payload: &[u8], violation: Violation, code: u16) {
    assert_eq!(violation.close_code().number(), code);
    let mut owed = BytesMut::new();
    let key = (role == Role::Client).then_some(KEY);
    encoder::encode_control(frame::Opcode::Close, &code.to_be_bytes(), key, &mut owed);
    let mut more = stream.to_vec();
    more.extend([0x82, 0x81, 0, 0, 0, 0, b'x']);
    for stream in [stream, &more] {
        check(role, stream, payload, Some(End::Violation(violation)), &owed);
    }
}

/// A masked frame with these two bits of its first byte set or not.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, 0x80 | payload.len() as u8];
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[test]
fn the_examples_of_the_rfc() {
    let hello = [0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check(Role::Server, &hello, b"Hello", None, b"");
    check(Role::Client, b"\x82\x05Hello", b"Hello", None, b"");
    check(Role::Client, b"\x02\x03Hel\x80\x02lo", b"Hello", None, b"");
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check(Role::Client, b"\x89\x05Hello", b"", None, &pong);
    check(Role::Server, &pong, b"", None, b"");
    let mut long = b"\x82\x7e\x01\x00".to_vec();
    long.extend([7; 256]);
    check(Role::Client, &long, &[7; 256], None, b"");
    let mut longer = b"\x82\x7f\0\0\0\0\0\x01\0\0".to_vec();
    longer.extend(vec![7; 0x1_0000]);
    assert_eq!(decode(Role::Client, &[&longer]).payload, vec![7; 0x1_0000]);

    let mut output = BytesMut::new();
    assert!(WebSocket::new(Role::Client).encode(b"Hello", Some(KEY), &mut output));
    assert_eq!(output, &hello[..]);
}

#[test]
fn packets_are_cut_and_joined_over_frames_as_one_likes() {
    // [MQTT-6.0.0-2], [MQTT3-6.0.0-2]
    let stream = [
        masked(0x02, b"\xc0"),
        masked(0x89, b"!"),
        masked(0x00, b""),
        masked(0x8a, b"unasked"),
        masked(0x80, b"\x00\xc0\x00"),
        masked(0x82, b"\xe0\x00"),
    ]
    .concat();
    check(Role::Server, &stream, b"\xc0\x00\xc0\x00\xe0\x00", None, b"\x8a\x01!");
}

#[test]
fn headers_have_the_shortest_form_of_each_length() {
    for len in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 0x1_0001] {
        let payload = vec![0x5a; len];
        let header_len = if len <= 125 {
            2
        } else if len <= 0xffff {
            4
        } else {
            10
        };
        for (sender, receiver, key) in
            [(Role::Server, Role::Client, None), (Role::Client, Role::Server, Some(KEY))]
        {
            let mut wire = BytesMut::new();
            assert!(WebSocket::new(sender).encode(&payload, key, &mut wire));
            let key_len = if key.is_some() { 4 } else { 0 };
            assert_eq!(wire.len(), header_len + key_len + len, "{len} bytes");
            let (first, second) = wire.split_at(wire.len().min(5));
            assert_eq!(decode(receiver, &[first, second]).payload, payload, "{len} bytes");
        }
    }
}

#[test]
fn only_binary_frames_carry_mqtt() {
    // [MQTT-6.0.0-1], [MQTT3-6.0.0-1]
    let stream = [masked(0x82, b"before"), masked(0x81, b"text")].concat();
    check_violation(Role::Server, &stream, b"before", Violation::TextFrame, 1003);
    check_violation(Role::Client, b"\x01\x00", b"", Violation::TextFrame, 1003);
}

#[test]
fn each_rule_that_is_broken_ends_the_connection() {
    let server = |stream: &[u8], violation| {
        check_violation(Role::Server, stream, b"", violation, 1002);
    };
    for reserved in [0x40, 0x20, 0x10] {
        server(&masked(0x82 | reserved, b"x"), Violation::ReservedBits);
        server(&masked(0x89 | reserved, b"x"), Violation::ReservedBits);
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        server(&masked(0x80 | opcode, b"x"), Violation::UnknownOpcode(opcode));
    }
    server(b"\x82\x01x", Violation::NotMasked);
    server(b"\x82\x00", Violation::NotMasked);
    check_violation(Role::Client, &masked(0x82, b"x"), b"", Violation::Masked, 1002);
    for opcode in [8, 9, 10] {
        server(&masked(opcode, b"x"), Violation::FragmentedControl);
        server(&[0x80 | opcode, 0x80 | 126, 0, 126], Violation::LongControl);
        server(&[0x80 | opcode, 0x80 | 127], Violation::LongControl);
    }
    server(b"\x82\xfe\x00\x7d\0\0\0\0", Violation::LengthNotMinimal);
    server(b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", Violation::LengthNotMinimal);
    server(b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", Violation::LengthTooLarge);
    server(&masked(0x80, b"x"), Violation::OrphanContinuation);
    server(&masked(0x00, b"x"), Violation::OrphanContinuation);
    let stream = [masked(0x02, b"a"), masked(0x80, b"b"), masked(0x80, b"c")].concat();
    check_violation(Role::Server, &stream, b"ab", Violation::OrphanContinuation, 1002);
    let stream = [masked(0x02, b"a"), masked(0x82, b"b")].concat();
    check_violation(Role::Server, &stream, b"a", Violation::InterruptedMessage, 1002);
}

#[test]
fn a_close_frame_is_echoed_and_ends_the_stream() {
    let closed = |code| Some(End::Closed(code));
    let stream = [masked(0x82, b"\xe0\x00"), masked(0x88, b""), masked(0x82, b"late")].concat();
    check(Role::Server, &stream, b"\xe0\x00", closed(None), b"\x88\x00");
    for number in [1000, 1003, 1007, 1014, 3000, 4999] {
        let code = CloseCode::new(number);
        assert_eq!(code.map(CloseCode::number), Some(number));
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend("adiós".as_bytes());
        let mut owed = b"\x88\x02".to_vec();
        owed.extend(number.to_be_bytes());
        // A pong that is owed beside it is left out.
        let stream = [masked(0x89, b"ping"), masked(0x88, &payload)].concat();
        check(Role::Server, &stream, b"", closed(code), &owed);
    }
    for number in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65535] {
        assert_eq!(CloseCode::new(number), None);
        let stream = masked(0x88, &number.to_be_bytes());
        check_violation(Role::Server, &stream, b"", Violation::InvalidCloseCode, 1002);
    }
    let one = masked(0x88, b"\x03");
    check_violation(Role::Server, &one, b"", Violation::InvalidCloseCode, 1002);
    let reason = masked(0x88, b"\x03\xe8\xc3\x28");
    check_violation(Role::Server, &reason, b"", Violation::InvalidCloseReason, 1007);
}

#[test]
fn of_many_pings_the_last_is_answered() {
    let pings: Vec<u8> = (0..10_000_u32).flat_map(|n| masked(0x89, &n.to_be_bytes())).collect();
    let outcome = decode(Role::Server, &[&pings]);
    assert_eq!(outcome.end, None, "pings alone are no offence");
    assert_eq!(outcome.owed, [&b"\x8a\x04"[..], &9_999_u32.to_be_bytes()].concat());
    let largest = masked(0x89, &[7; 125]);
    check(Role::Server, &largest, b"", None, &[&[0x8a, 125][..], &[7; 125]].concat());
    let after_half = [masked(0x89, b"a"), masked(0x89, b"b")].concat();
    check(Role::Server, &after_half[..after_half.len() - 1], b"", None, b"\x8a\x01a");
}

#[test]
fn frames_without_payload_are_counted_until_one_has_some() {
    let empty = |count: usize| masked(0x82, b"").repeat(count);
    let most = usize::from(EMPTY_FRAMES_MAX);
    let stream = [empty(most), masked(0x82, b"x"), empty(most)].concat();
    assert_eq!(decode(Role::Server, &[&stream]).end, None);
    let fragments = [masked(0x02, b"x"), masked(0x00, b"").repeat(most)].concat();
    assert_eq!(decode(Role::Server, &[&fragments]).end, None);
    let one_more = [fragments, masked(0x00, b"")].concat();
    for stream in [one_more, empty(most + 1), empty(10 * most)] {
        let outcome = decode(Role::Server, &[&stream]);
        assert_eq!(outcome.end, Some(End::Violation(Violation::EmptyFrames)));
        assert_eq!(outcome.owed, [0x88, 2, 0x03, 0xf0], "1008");
    }
}

#[test]
fn a_claimed_length_is_only_counted_down() {
    let mut decoder = Decoder::new(Role::Server);
    let mut header = *b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    assert_eq!(decoder.decode(&mut header, &mut None), Decoded { len: 0, end: None });
    for len in [1, 7, 4096] {
        let mut part = vec![b'x'; len];
        assert_eq!(decoder.decode(&mut part, &mut None), Decoded { len, end: None });
        assert_eq!(part, vec![b'x'; len]);
    }
    assert!(size_of::<Decoder>() <= 96, "{} bytes for each connection", size_of::<Decoder>());
    assert!(size_of::<WebSocket>() <= 152, "{} bytes for each", size_of::<WebSocket>());
}

#[test]
fn a_frame_is_sent_over_as_many_writes_as_it_takes() {
    for key in [None, Some(KEY)] {
        let (role, peer) = match key {
            None => (Role::Server, Role::Client),
            Some(_) => (Role::Client, Role::Server),
        };
        let mut web_socket = WebSocket::new(role);
        let _ = web_socket.decode(&mut match role {
            Role::Server => masked(0x89, b"?"),
            Role::Client => b"\x89\x01?".to_vec(),
        });
        let mut wire = BytesMut::new();
        let header = web_socket.begin_frame(10, key).expect("between frames");
        wire.extend_from_slice(header.as_bytes());
        assert_eq!(web_socket.begin_frame(1, key), None, "inside a frame");
        assert!(!web_socket.poll_control(key, &mut wire), "inside a frame");
        let mut payload = *b"0123456789and more";
        for (at, len, taken) in [(0, 3, 3), (3, 6, 6), (9, 9, 1), (10, 8, 0)] {
            assert_eq!(web_socket.encode_payload(&mut payload[at..at + len]), taken);
            wire.extend_from_slice(&payload[at..at + taken]);
            assert_eq!(web_socket.frame_remaining(), 10 - at - taken);
        }
        assert_eq!(&payload[10..], b"and more", "what is not of the frame stays as it is");
        assert!(web_socket.poll_control(key, &mut wire), "the pong comes between frames");
        assert!(!web_socket.owes_control());
        assert_eq!(decode(peer, &[&wire]).payload, b"0123456789");
    }
}

#[test]
fn closing_sends_what_comes_before_and_nothing_after() {
    let mut web_socket = WebSocket::new(Role::Server);
    let mut wire = BytesMut::new();
    web_socket.begin_close(CloseCode::GOING_AWAY);
    web_socket.begin_close(CloseCode::NORMAL);
    assert!(web_socket.encode(b"\xe0\x00", None, &mut wire));
    assert!(web_socket.owes_control() && !web_socket.has_sent_close());
    assert!(web_socket.poll_control(None, &mut wire));
    assert!(web_socket.has_sent_close());
    assert!(!web_socket.encode(b"more", None, &mut wire));
    assert_eq!(wire, &b"\x82\x02\xe0\x00\x88\x02\x03\xe9"[..]);
    let mut answer =
        [masked(0x82, b"late"), masked(0x89, b"?"), masked(0x88, b"\x03\xe9")].concat();
    let decoded = web_socket.decode(&mut answer);
    assert_eq!(&answer[..decoded.len], b"late", "still on its way when this end closed");
    assert_eq!(decoded.end, Some(End::Closed(Some(CloseCode::GOING_AWAY))));
    assert!(!web_socket.owes_control(), "nothing follows a close frame");
}
