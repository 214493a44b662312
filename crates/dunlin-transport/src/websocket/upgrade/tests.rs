//! Requests and answers of the handshake, each cut at every byte.

use super::*;
use crate::{HEAD_LEN_MAX, HEADERS_MAX, HeadError};
use bytes::BytesMut;

const REQUEST: &str = "GET /mqtt HTTP/1.1\r\n\
    Host: broker.test\r\n\
    Upgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

fn policy() -> Policy {
    let origins = Origins::new(["https://app.example", "http://lan:8080/", "null"]).expect("valid");
    Policy { origins, ..Policy::default() }
}

type Outcome = (Result<Option<SubProtocol>, Refusal>, String);

/// The outcome, which is the same wherever the request is cut; all of it is taken off the input.
fn upgrade_with(policy: &Policy, request: &str) -> Outcome {
    let feed = |pieces: &[&[u8]]| {
        let mut upgrade = ServerUpgrade::new();
        let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
        let mut result = Ok(None);
        for piece in pieces {
            input.extend_from_slice(piece);
            if result == Ok(None) {
                result = upgrade.handle_input(&mut input, policy, &mut output);
            }
        }
        if matches!(result, Ok(Some(_))) {
            assert_eq!(input, b"frames"[..].to_owned(), "what follows the head stays");
        }
        (result, String::from_utf8(output.to_vec()).expect("text"))
    };
    let request = format!("{request}frames").into_bytes();
    let expected = feed(&[&request]);
    for cut in 0..request.len() {
        assert_eq!(feed(&[&request[..cut], &request[cut..]]), expected, "cut at {cut}");
    }
    expected
}

fn upgrade(request: &str) -> Outcome {
    upgrade_with(&policy(), request)
}

/// The request with one line replaced, or left out for an empty text, is refused.
fn check_refused(line: &str, by: &str, refusal: Refusal, status: u16) {
    let old = REQUEST.split_inclusive("\r\n").find(|old| old.starts_with(line)).expect("a line");
    let new = if by.is_empty() { String::new() } else { format!("{by}\r\n") };
    let (result, answer) = upgrade(&REQUEST.replace(old, &new));
    assert_eq!(result, Err(refusal), "{by}");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{by}: {answer}");
    assert!(answer.contains("Content-Length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

fn check_granted(line: &str, by: &str, sub_protocol: SubProtocol) {
    let old = REQUEST.split_inclusive("\r\n").find(|old| old.starts_with(line)).expect("a line");
    let (result, _) = upgrade(&REQUEST.replace(old, &format!("{by}\r\n")));
    assert_eq!(result, Ok(Some(sub_protocol)), "{by}");
}

#[test]
fn the_example_of_the_rfc_is_granted() {
    // [MQTT-6.0.0-4], [MQTT3-6.0.0-4]: the sub-protocol is echoed, an extension never.
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    assert_eq!(upgrade(REQUEST), (Ok(Some(SubProtocol::Mqtt)), answer.to_owned()));
}

#[test]
fn ways_to_say_the_same() {
    let mqtt = SubProtocol::Mqtt;
    check_granted("GET", "GET / HTTP/1.1", mqtt);
    check_granted("GET", "GET /mqtt?token=a/b HTTP/1.1", mqtt);
    check_granted("GET", "GET http://broker.test/mqtt HTTP/1.1", mqtt);
    check_granted("GET", "GET HTTPS://broker.test HTTP/1.1", mqtt);
    check_granted("Upgrade", "upgrade: h2c, WebSocket", mqtt);
    check_granted("Connection", "Connection: keep-alive\r\nconnection: UPGRADE", mqtt);
    check_granted("Sec-WebSocket-Protocol", "sec-websocket-protocol: mqtt", mqtt);
    check_granted("Sec-WebSocket-Protocol", "Sec-WebSocket-Protocol: x,mqtt ,y", mqtt);
    let both = "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: mqttv3.1";
    check_granted("Sec-WebSocket-Protocol", both, SubProtocol::MqttV3_1);
    check_granted("Host", "Host: broker.test\r\nContent-Length: 0", mqtt);
    // 16 bytes whose last bits are not zero, as some clients draw 24 letters at random.
    check_granted("Sec-WebSocket-Key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", mqtt);
}

#[test]
fn what_is_no_upgrade_is_refused() {
    let head = |error: HeadError| Refusal::Head(error);
    check_refused("GET", "POST /mqtt HTTP/1.1", Refusal::Method, 405);
    check_refused("GET", "get /mqtt HTTP/1.1", head(HeadError::Malformed), 400);
    check_refused("GET", "GET /mqtt HTTP/1.0", Refusal::HttpVersion, 400);
    check_refused("GET", "GET /mqtt HTTP/2.0", head(HeadError::Malformed), 400);
    check_refused("GET", "GET /mqtt", head(HeadError::Malformed), 400);
    for target in ["/other", "/mqtt/", "/MQTT", "/mqtt#x", "*", "//mqtt", "/%6dqtt", "mqtt"] {
        check_refused("GET", &format!("GET {target} HTTP/1.1"), Refusal::Path, 404);
    }
    check_refused("Host", "", Refusal::Host, 400);
    check_refused("Host", "Host: a\r\nHost: b", Refusal::Host, 400);
    check_refused("Host", "Host: a\r\nContent-Length: 6", Refusal::Body, 400);
    check_refused("Host", "Host: a\r\nTransfer-Encoding: chunked", Refusal::Body, 400);
    check_refused("Upgrade", "", Refusal::NoUpgrade, 426);
    check_refused("Upgrade", "Upgrade: websockets", Refusal::NoUpgrade, 426);
    check_refused("Connection", "", Refusal::NoUpgrade, 426);
    check_refused("Connection", "Connection: close", Refusal::NoUpgrade, 426);
    let version = "Sec-WebSocket-Version";
    check_refused(version, "", Refusal::WebSocketVersion, 426);
    check_refused(version, "Sec-WebSocket-Version: 8", Refusal::WebSocketVersion, 426);
    check_refused("Sec-WebSocket-Key", "", Refusal::Key, 400);
    for key in
        ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=!", "dGhlIHNhbXBsZSBub25jZTE2"]
    {
        let line = format!("Sec-WebSocket-Key: {key}");
        check_refused("Sec-WebSocket-Key", &line, Refusal::Key, 400);
    }
    let protocol = "Sec-WebSocket-Protocol";
    check_refused(protocol, "", Refusal::SubProtocol, 400);
    for offer in ["MQTT", "mqttv5", "mqtt2", "amqp"] {
        let line = format!("Sec-WebSocket-Protocol: {offer}");
        check_refused(protocol, &line, Refusal::SubProtocol, 400);
    }
    // A line that could be read in two ways.
    check_refused("Host", "Host: a\r\n folded: b", head(HeadError::Malformed), 400);
    check_refused("Host", "Host : a", head(HeadError::Malformed), 400);
    check_refused("Host", "Host: a\n\nGET", head(HeadError::Malformed), 400);
    check_refused("Host", "Host: a\x01b", head(HeadError::Malformed), 400);
}

#[test]
fn mqtt_on_the_wrong_port_is_refused_at_its_first_byte() {
    let (result, answer) = upgrade("\x10\x0c\0\x04MQTT\x05\x02\0\x3c\0\0\0");
    assert_eq!(result, Err(Refusal::Head(HeadError::Malformed)));
    assert_eq!(
        answer,
        "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn heads_are_bounded() {
    let with = |lines: &str| REQUEST.replace("\r\nUpgrade", &format!("\r\n{lines}Upgrade"));
    let fill = |len: usize| with(&format!("X: {}\r\n", "x".repeat(len - REQUEST.len() - 5)));
    let at_bound = |request: &str| {
        let (mut input, mut output) = (BytesMut::from(request), BytesMut::new());
        ServerUpgrade::new().handle_input(&mut input, &policy(), &mut output)
    };
    assert_eq!(fill(HEAD_LEN_MAX).len(), HEAD_LEN_MAX);
    assert_eq!(at_bound(&fill(HEAD_LEN_MAX)), Ok(Some(SubProtocol::Mqtt)));
    for len in [HEAD_LEN_MAX + 1, 10 * HEAD_LEN_MAX] {
        assert_eq!(at_bound(&fill(len)), Err(Refusal::Head(HeadError::TooLong)));
    }
    let endless = &fill(HEAD_LEN_MAX)[..HEAD_LEN_MAX - 1];
    assert_eq!(at_bound(endless), Ok(None));
    assert_eq!(at_bound(&format!("{endless}x")), Err(Refusal::Head(HeadError::TooLong)));
    let lines = |count: usize| at_bound(&with(&"X: y\r\n".repeat(count)));
    let own = REQUEST.lines().count() - 2;
    assert_eq!(lines(HEADERS_MAX - own), Ok(Some(SubProtocol::Mqtt)));
    for count in [HEADERS_MAX - own + 1, 10 * HEADERS_MAX] {
        assert_eq!(lines(count), Err(Refusal::Head(HeadError::TooManyHeaders)));
    }
}

#[test]
fn pages_from_elsewhere_are_refused() {
    let request =
        |origin: &str| REQUEST.replace("\r\nUpgrade", &format!("\r\n{origin}\r\nUpgrade"));
    for origin in ["https://app.example", "HTTPS://APP.example:443", "http://lan:8080", "null"] {
        let (result, _) = upgrade(&request(&format!("Origin: {origin}")));
        assert_eq!(result, Ok(Some(SubProtocol::Mqtt)), "{origin}");
    }
    for origin in [
        "https://app.example.evil.test",
        "https://app.example:8443",
        "http://app.example",
        "http://lan",
        // What `Host` says is no reason: a name can be made to resolve to any address.
        "http://broker.test",
        "http://localhost:3000",
        "*",
        "NULL",
    ] {
        let (result, answer) = upgrade(&request(&format!("Origin: {origin}")));
        assert_eq!(result, Err(Refusal::Origin(origin.to_owned())));
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    }
    let long = format!("Origin: https://{}.example", "a".repeat(ORIGIN_LEN_MAX));
    let twice = "Origin: https://app.example\r\nOrigin: https://app.example";
    let list = "Origin: https://app.example https://evil.test";
    for origin in [&long, twice, list, "Origin:", "Origin: a\tb", "Origin: https://äpp.example"] {
        assert_eq!(upgrade(&request(origin)).0, Err(Refusal::InvalidOrigin), "{origin}");
    }
}

#[test]
fn origins_of_this_machine() {
    let origins = Origins::default().with_loopback(true);
    for origin in [
        "http://localhost:3000",
        "https://localhost",
        "http://app.localhost",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://[::1]:5173",
    ] {
        assert!(origins.allows(origin), "{origin}");
        assert!(!Origins::default().allows(origin), "{origin}");
    }
    for origin in [
        "http://localhost.example",
        "http://notlocalhost",
        "http://127.0.0.1.example",
        "http://[::2]",
        "http://10.0.0.1",
        "null",
        "file://localhost",
        "localhost",
        "http://user@localhost",
        "http://localhost:x",
        "http://localhost:99999",
        "http://[::1",
        "http://",
    ] {
        assert!(!origins.allows(origin), "{origin}");
    }
    assert!(Origins::new(["*"]).is_ok_and(|any| any.allows("https://evil.test")));
    for invalid in ["app.example", "https://", "https://a b", "https://a/path", "1http://a"] {
        assert_eq!(Origins::new([invalid]), Err(InvalidOrigin(invalid.to_owned())));
    }
}

const NONCE: [u8; 16] = *b"the sample nonce";

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: WebSocket\r\n\
    Connection: upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\r\n";

fn check_answer(answer: &str, expected: &Result<bool, UpgradeError>) {
    let request = Request { host: "broker.test", path: "/mqtt", headers: &[] };
    for cut in 0..=answer.len() {
        let upgrade = ClientUpgrade::new(&request, NONCE, &mut BytesMut::new());
        let mut upgrade = upgrade.expect("a valid request");
        let mut input = BytesMut::from(&answer.as_bytes()[..cut]);
        let mut result = upgrade.handle_input(&mut input);
        input.extend_from_slice(&answer.as_bytes()[cut..]);
        input.extend_from_slice(b"\x82\x00");
        if result == Ok(false) {
            result = upgrade.handle_input(&mut input);
        }
        assert_eq!(&result, expected, "{answer} cut at {cut}");
        if result == Ok(true) {
            assert_eq!(input, b"\x82\x00"[..].to_owned(), "frames stay");
        }
    }
}

#[test]
fn the_client_takes_its_own_answer_only() {
    check_answer(ANSWER, &Ok(true));
    let without = |line: &str| {
        let old = ANSWER.split_inclusive("\r\n").find(|old| old.starts_with(line)).expect("a line");
        ANSWER.replace(old, "")
    };
    check_answer(&without("Upgrade"), &Err(UpgradeError::NoUpgrade));
    check_answer(&without("Connection"), &Err(UpgradeError::NoUpgrade));
    check_answer(&without("Sec-WebSocket-Accept"), &Err(UpgradeError::Accept));
    check_answer(&ANSWER.replace("s3pP", "S3pP"), &Err(UpgradeError::Accept));
    check_answer(&without("Sec-WebSocket-Protocol"), &Err(UpgradeError::SubProtocol));
    check_answer(&ANSWER.replace("mqtt", "mqttv3.1"), &Err(UpgradeError::SubProtocol));
    let extended = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\nConnection";
    check_answer(&ANSWER.replace("\r\nConnection", extended), &Err(UpgradeError::Extension));
    check_answer("HTTP/1.1 403 Forbidden\r\n\r\n", &Err(UpgradeError::Status(403)));
    let moved = |status, location: &str| UpgradeError::Moved { status, location: location.into() };
    check_answer("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", &Err(moved(301, "/")));
    let elsewhere = "HTTP/1.1 308 Moved\r\nlocation: https://a.test/b \r\n\r\n";
    check_answer(elsewhere, &Err(moved(308, "https://a.test/b")));
    let long = "x".repeat(513);
    for location in ["", "a b", "ä", &long] {
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n");
        check_answer(&answer, &Err(UpgradeError::Status(302)));
    }
    check_answer("HTTP/1.1 302 Found\r\n\r\n", &Err(UpgradeError::Status(302)));
    check_answer("\x15\x03\x03\0\x02\x02\x0a", &Err(UpgradeError::Tls));
    check_answer("\x20\x02\0\0\r\n\r\n", &Err(UpgradeError::Head(HeadError::Malformed)));
}

#[test]
fn the_server_grants_what_the_client_asks() {
    let headers = [("Authorization", "Bearer hunter2")];
    let request = Request { host: "broker.test:8080", path: "/mqtt?x=1", headers: &headers };
    assert!(!format!("{request:?}").contains("hunter2"));
    let (mut there, mut back) = (BytesMut::new(), BytesMut::new());
    let mut client = ClientUpgrade::new(&request, NONCE, &mut there).expect("valid");
    let text = str::from_utf8(&there).expect("text");
    assert!(text.contains("\r\nAuthorization: Bearer hunter2\r\n"), "{text}");
    // [MQTT-6.0.0-3], [MQTT3-6.0.0-3]
    assert!(text.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"), "{text}");
    let granted = ServerUpgrade::new().handle_input(&mut there, &policy(), &mut back);
    assert_eq!(granted, Ok(Some(SubProtocol::Mqtt)));
    assert_eq!(client.handle_input(&mut back), Ok(true));
    assert!(there.is_empty() && back.is_empty());
}

#[test]
fn nobody_adds_lines_to_a_request() {
    let check = |host: &str, path: &str, headers: &[(&str, &str)], expected| {
        let mut output = BytesMut::new();
        let result = ClientUpgrade::new(&Request { host, path, headers }, NONCE, &mut output);
        assert_eq!(result.err(), Some(expected), "{host:?} {path:?} {headers:?}");
        assert!(output.is_empty());
    };
    for host in ["", "a b", "a\r\nX: y", "a/b", "u@a"] {
        check(host, "/", &[], RequestError::Host);
    }
    for path in ["", "mqtt", "/a b", "/\r\nX: y", "/ä", "/#a"] {
        check("a", path, &[], RequestError::Path);
    }
    for header in [("X", "a\r\nY: b"), ("X Y", "a"), ("", "a"), ("Host", "b"), ("X:", "a")] {
        check("a", "/", &[header], RequestError::Header);
    }
    check("a", "/", &[("sec-websocket-Protocol", "x")], RequestError::Header);
}
