//! The requests and frames that are tried.

use crate::mqtt;

/// Something that a client of WebSocket may send, or may not.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) request: Vec<u8>,
    pub(super) frames: Vec<u8>,
    /// Whether a CONNACK has to come.
    pub(super) is_legal: bool,
    /// Whether the broker waits until its patience is at its end.
    pub(super) takes_time: bool,
}

const GOOD_REQUEST: &str = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

/// The masking key of most frames.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// All of them.
pub(super) fn shapes() -> Vec<Shape> {
    let mut shapes = requests();
    shapes.extend(legal_frames());
    shapes.extend(wrong_frames());
    shapes
}

/// Requests that are none, each with a CONNECT behind it.
fn requests() -> Vec<Shape> {
    let changed = |from: &str, to: &str| GOOD_REQUEST.replace(from, to);
    let with_headers = |headers: String| changed("\r\n\r\n", &format!("\r\n{headers}\r\n"));
    let shapes = [
        ("another method", changed("GET", "POST")),
        ("a path that is not served", changed("/mqtt", "/elsewhere")),
        ("HTTP/1.0", changed("HTTP/1.1", "HTTP/1.0")),
        ("no upgrade", changed("Upgrade: websocket\r\n", "")),
        ("another version of WebSocket", changed("Version: 13", "Version: 8")),
        ("no key", changed("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "")),
        ("a key that is too short", changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhl")),
        ("no sub-protocol", changed("Sec-WebSocket-Protocol: mqtt\r\n", "")),
        ("two hosts", changed("Host: localhost", "Host: localhost\r\nHost: other")),
        ("a page from elsewhere", with_headers("Origin: https://example.org\r\n".to_owned())),
        ("a body", with_headers("Content-Length: 4\r\n".to_owned())),
        ("a head of 9,000 bytes", with_headers(format!("X-Long: {}\r\n", "x".repeat(9_000)))),
        ("70 headers", with_headers("X-Many: 1\r\n".repeat(70))),
    ];
    let mut shapes: Vec<_> = shapes
        .into_iter()
        .map(|(name, request)| Shape {
            name,
            request: request.into_bytes(),
            frames: frame(FIN | BINARY, &connect()),
            is_legal: false,
            takes_time: false,
        })
        .collect();
    let no_request = |name, request: &[u8], takes_time| Shape {
        name,
        request: request.to_vec(),
        frames: Vec::new(),
        is_legal: false,
        takes_time,
    };
    shapes.push(no_request("no HTTP at all", &connect(), true));
    shapes.push(no_request("half of a request", &GOOD_REQUEST.as_bytes()[..60], true));
    shapes
}

/// What a server has to take.
fn legal_frames() -> Vec<Shape> {
    let connect = connect();
    let byte_by_byte: Vec<u8> =
        connect.iter().flat_map(|byte| frame(FIN | BINARY, &[*byte])).collect();
    let mut fragments = frame(BINARY, &connect[..3]);
    fragments.extend(frame(FIN | PING, b"between"));
    fragments.extend(frame(CONTINUATION, &[]));
    fragments.extend(frame(CONTINUATION, &connect[3..9]));
    fragments.extend(frame(FIN | CONTINUATION, &connect[9..]));
    let behind = |before: Vec<u8>| [before, frame(FIN | BINARY, &connect)].concat();
    // The rest of a frame that claims so much need never come.
    let mut claiming = vec![FIN | BINARY, MASKED | 127];
    claiming.extend_from_slice(&(1_u64 << 62).to_be_bytes());
    claiming.extend_from_slice(&masked(KEY, &connect));
    let shapes = [
        ("a packet in a frame", frame(FIN | BINARY, &connect)),
        ("a byte in a frame", byte_by_byte),
        ("fragments with a ping between", fragments),
        ("no masking by a key of zeros", keyed(FIN | BINARY, &connect, [0; 4])),
        ("500 empty frames before", behind(frame(FIN | BINARY, &[]).repeat(500))),
        ("2,000 pings before", behind(frame(FIN | PING, &[]).repeat(2_000))),
        ("a ping of 125 bytes before", behind(frame(FIN | PING, &[b'p'; 125]))),
        ("pongs that nobody asked for", behind(frame(FIN | PONG, b"?").repeat(100))),
        ("a frame that claims 2^62 bytes", claiming),
    ];
    shapes.into_iter().map(|(name, frames)| shape(name, frames, true)).collect()
}

/// What ends the connection.
fn wrong_frames() -> Vec<Shape> {
    let connect = connect();
    let connect_len = u8::try_from(connect.len()).expect("it is short");
    let body = masked(KEY, &connect);
    let mut unmasked = vec![FIN | BINARY, connect_len];
    unmasked.extend_from_slice(&connect);
    let mut long_form = vec![FIN | BINARY, MASKED | 126, 0, connect_len];
    long_form.extend_from_slice(&body);
    let mut longest_form = vec![FIN | BINARY, MASKED | 127, 0, 0, 0, 0, 0, 0, 0, connect_len];
    longest_form.extend_from_slice(&body);
    let mut negative = vec![FIN | BINARY, MASKED | 127];
    negative.extend_from_slice(&u64::MAX.to_be_bytes());
    negative.extend_from_slice(&body);
    let in_a_message = [frame(BINARY, &connect[..3]), frame(FIN | BINARY, &connect[3..])].concat();
    let long_ping = {
        let mut ping = vec![FIN | PING, MASKED | 126, 0, 126];
        ping.extend_from_slice(&masked(KEY, &[b'p'; 126]));
        ping
    };
    let shapes = [
        ("text", frame(FIN | TEXT, &connect)),
        ("no mask", unmasked),
        ("reserved bit 1", frame(FIN | 0x40 | BINARY, &connect)),
        ("reserved bit 2", frame(FIN | 0x20 | BINARY, &connect)),
        ("reserved bit 3", frame(FIN | 0x10 | BINARY, &connect)),
        ("opcode 3", frame(FIN | 0x3, &connect)),
        ("opcode 11", frame(FIN | 0xB, &[])),
        ("a ping in fragments", frame(PING, b"half")),
        ("a ping of 126 bytes", long_ping),
        ("a length in two bytes for less", long_form),
        ("a length in eight bytes for less", longest_form),
        ("a length below zero", negative),
        ("the end of no message", frame(FIN | CONTINUATION, &connect)),
        ("a message in a message", in_a_message),
        ("1,100 empty frames", frame(FIN | BINARY, &[]).repeat(1_100)),
        ("close at once", frame(FIN | CLOSE, &1000_u16.to_be_bytes())),
        ("close without a code", frame(FIN | CLOSE, &[])),
        ("close with a code that is none", frame(FIN | CLOSE, &1005_u16.to_be_bytes())),
        ("close with half a code", frame(FIN | CLOSE, &[3])),
        ("close with a reason that is no text", frame(FIN | CLOSE, b"\x03\xE8\xFF\xFE")),
        ("garbage in a frame", frame(FIN | BINARY, &[0xFF; 64])),
    ];
    let mut shapes: Vec<_> =
        shapes.into_iter().map(|(name, frames)| shape(name, frames, false)).collect();
    for (name, frames) in [
        ("half of a header", vec![FIN | BINARY, MASKED | 126, 0]),
        ("half of a frame", frame(FIN | BINARY, &connect)[..12].to_vec()),
        ("no frame", Vec::new()),
    ] {
        shapes.push(Shape { takes_time: true, ..shape(name, frames, false) });
    }
    shapes
}

fn shape(name: &'static str, frames: Vec<u8>, is_legal: bool) -> Shape {
    let request = GOOD_REQUEST.as_bytes().to_vec();
    Shape { name, request, frames, is_legal, takes_time: false }
}

fn connect() -> Vec<u8> {
    let mut bytes = Vec::new();
    mqtt::push_connect(&mut bytes, "", true, 60, &[]);
    bytes
}

/// A frame of up to 125 bytes.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    keyed(first, payload, KEY)
}

fn keyed(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).expect("it is short");
    assert!(len < 126, "a longer form is needed");
    [vec![first, MASKED | len], masked(key, payload)].concat()
}

/// A key, and a payload that is masked by it.
fn masked(key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let bytes = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    key.iter().copied().chain(bytes).collect()
}
