//! `dunlin pub` and `dunlin sub` against a broker that says what the test wants it to.

use crate::program::Running;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// CONNACK of MQTT 5: accepted, nothing else.
const ACCEPTED: &[u8] = &[0x20, 3, 0, 0, 0];

/// Waits at the port for the program.
struct Script {
    listener: TcpListener,
    port: String,
}

impl Script {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        Self { listener, port }
    }

    /// Takes a connection, and answers each of its packets with the next of these.
    fn answer(&self, answers: &[&[u8]]) -> TcpStream {
        let (mut stream, _) = self.listener.accept().unwrap();
        for answer in answers {
            read_packet(&mut stream);
            stream.write_all(answer).unwrap();
        }
        stream
    }
}

/// Reads one packet of fewer than 128 bytes; gives its first byte.
fn read_packet(stream: &mut TcpStream) -> u8 {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    assert!(header[1] < 0x80, "the test sends small packets");
    stream.read_exact(&mut vec![0; usize::from(header[1])]).unwrap();
    header[0]
}

#[track_caller]
fn check(tool: &[&str], answers: &[&[u8]], code: i32, message: &str) {
    let script = Script::new();
    let running = Running::start(&[tool, &["-h", "127.0.0.1", "-p", &script.port]].concat());
    let _connection = script.answer(answers);
    let ended = running.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), message), "{ended:?}");
}

const PUBLISH: &[&str] = &["pub", "-t", "a", "-m", "x", "-q", "1"];
const SUBSCRIBE: &[&str] = &["sub", "-t", "a", "-t", "b"];

#[test]
fn a_refusal_is_told_and_its_reason_code_is_the_exit_code() {
    check(
        PUBLISH,
        &[&[0x20, 3, 0, 0x87, 0]],
        0x87,
        "error: the broker refused the connection: Not authorized (0x87)",
    );
    check(
        PUBLISH,
        &[&[0x20, 3, 0, 0x84, 0]],
        0x84,
        "error: the broker refused the connection: Unsupported Protocol Version (0x84); try -V 311",
    );
    check(
        PUBLISH,
        &[ACCEPTED, &[0x40, 4, 0, 1, 0x97, 0]],
        0x97,
        "error: the broker refused the message: Quota exceeded (0x97)",
    );
    check(
        SUBSCRIBE,
        &[ACCEPTED, &[0x90, 5, 0, 1, 0, 0x87, 0x80]],
        0x87,
        "error: the broker refused the subscription to a: Not authorized (0x87), \
         b: Unspecified error (0x80)",
    );
    check(
        SUBSCRIBE,
        &[ACCEPTED, &[0xE0, 2, 0x8E, 0]],
        0x8E,
        "error: the broker ended the connection: Session taken over (0x8E)",
    );
    check(&[PUBLISH, &["--quiet"]].concat(), &[&[0x20, 3, 0, 0x87, 0]], 0x87, "");
}

#[test]
fn a_refused_part_of_a_subscription_is_only_warned_of() {
    let script = Script::new();
    let running = Running::start(&[SUBSCRIBE, &["-C", "1", "-p", &script.port]].concat());
    let message: &[u8] = &[0x30, 5, 0, 1, b'b', 0, b'x'];
    let granted = [&[0x90, 5, 0, 1, 0, 0x87, 0], message].concat();
    let _connection = script.answer(&[ACCEPTED, &granted]);
    let warning = "warning: the broker refused the subscription to a: Not authorized (0x87)";
    assert_eq!(running.wait_for("warning"), warning);
    assert_eq!(running.end().stdout, "x");
}

#[test]
fn a_broker_that_breaks_the_protocol_is_exit_code_1() {
    check(
        SUBSCRIBE,
        &[ACCEPTED, &[0xC0, 0]],
        1,
        "error: the broker broke the protocol: PingReq is not allowed here \
         (MQTT-4.13.1-1)",
    );
}

#[test]
fn a_subscriber_connects_again() {
    let script = Script::new();
    let running = Running::start(&[SUBSCRIBE, &["-C", "1", "-p", &script.port]].concat());
    let suback: &[u8] = &[0x90, 5, 0, 1, 0, 0, 0];
    drop(script.answer(&[ACCEPTED, suback]));
    running.wait_for("the network connection was closed; connecting again");
    let message: &[u8] = &[0x30, 5, 0, 1, b'b', 0, b'x'];
    let _connection = script.answer(&[ACCEPTED, &[suback, message].concat()]);
    let ended = running.end();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("x", "connected again"));
}

#[test]
fn a_subscriber_waits_for_a_broker_that_is_away_for_a_while() {
    let script = Script::new();
    let running = Running::start(&[SUBSCRIBE, &["-C", "1", "-p", &script.port]].concat());
    let suback: &[u8] = &[0x90, 5, 0, 1, 0, 0, 0];
    let shutting_down: &[u8] = &[0xE0, 2, 0x8B, 0];
    drop(script.answer(&[ACCEPTED, &[suback, shutting_down].concat()]));
    running
        .wait_for("the broker ended the connection: Server shutting down (0x8B); connecting again");
    drop(script.answer(&[&[0x20, 3, 0, 0x88, 0]]));
    running.wait_for("the broker refused the connection: Server unavailable (0x88); trying again");
    let message: &[u8] = &[0x30, 5, 0, 1, b'b', 0, b'x'];
    let _connection = script.answer(&[ACCEPTED, &[suback, message].concat()]);
    let ended = running.end();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "x"));
    assert_eq!(ended.stderr, "connected again");
}

#[test]
fn what_the_broker_has_against_a_subscriber_is_final() {
    for code in [0x87, 0x8E, 0x98] {
        let script = Script::new();
        let running = Running::start(&[SUBSCRIBE, &["-p", &script.port]].concat());
        let _connection = script.answer(&[ACCEPTED, &[0xE0, 2, code, 0]]);
        assert_eq!(running.end().code, Some(i32::from(code)));
    }
}

#[test]
fn the_exchange_of_the_last_message_is_completed() {
    let script = Script::new();
    let running = Running::start(&[SUBSCRIBE, &["-C", "1", "-p", &script.port]].concat());
    let suback: &[u8] = &[0x90, 5, 0, 1, 0, 2, 2];
    let message: &[u8] = &[0x34, 7, 0, 1, b'b', 0, 9, 0, b'x'];
    let mut connection = script.answer(&[ACCEPTED, &[suback, message].concat()]);
    assert_eq!(read_packet(&mut connection) >> 4, 5, "PUBREC");
    assert_eq!(running.line().as_deref(), Some("x"));
    connection.write_all(&[0x62, 2, 0, 9]).unwrap();
    assert_eq!(read_packet(&mut connection) >> 4, 7, "PUBCOMP, although it was the last");
    assert_eq!(read_packet(&mut connection) >> 4, 14, "DISCONNECT");
    assert_eq!(running.end().code, Some(0));
}
