//! Servers that talk without end: a check of them ends all the same, and passes none of it.

use dunlin_conformance::server::{Case, TABLES, Target, judge};
use dunlin_conformance::{BOTH, Outcome, cases, run};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A CONNACK for MQTT 5.0.
const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];

/// A server that answers CONNECT and then says this over and over, for as long as the test program
/// runs.
fn start(words: &'static [u8]) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let target = Target::new(listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || talk(stream, words));
        }
    });
    target
}

fn talk(mut stream: TcpStream, words: &[u8]) {
    let mut connect = [0; 1024];
    if !matches!(stream.read(&mut connect), Ok(1..)) || stream.write_all(CONNACK).is_err() {
        return;
    }
    let many = words.repeat(1000);
    while stream.write_all(&many).is_ok() {}
}

/// What the check finds, which waits far longer than a test may.
fn outcome(check: &str, target: &Target) -> String {
    let mut target = target.clone();
    target.patience = Duration::from_secs(600);
    let cases: Vec<Case> =
        cases(TABLES, BOTH).into_iter().filter(|case| case.name() == check).collect();
    let findings = run(&cases, 1, |case, number| judge(&target, case, number), |_| {});
    match &findings.iter().map(|finding| &finding.outcome).collect::<Vec<_>>()[..] {
        [Outcome::Failed { reason }] => reason.clone(),
        other => panic!("one failure expected: {other:?}"),
    }
}

#[test]
fn a_flood_of_messages_is_given_up() {
    let target = start(&[0x30, 4, 0, 1, b'a', 0]);
    let reason = outcome("v5/connect/accepted", &target);
    assert_eq!(reason, "given up: more than 20000 packets come");
}

#[test]
fn a_packet_without_end_is_given_up() {
    // 256 MiB are announced, and come.
    let target = start(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, b'a', 0, 0, 0]);
    let reason = outcome("v5/connect/accepted", &target);
    assert_eq!(reason, "given up: more than 8 MiB come");
}

/// A server that has closed by itself has not answered the fault.
#[test]
fn a_connection_that_ends_anyhow_shows_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let target = Target::new(listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut connect = [0; 1024];
            let _ = stream.read(&mut connect);
            let _ = stream.write_all(CONNACK);
        }
    });
    let reason = outcome("v5/subscribe/qos-3", &target);
    assert_eq!(reason, "PINGRESP expected; the connection is closed");
}

/// The smallest limits that a server can announce.
#[test]
fn a_tiny_maximum_packet_size_skips_the_check() {
    let mut target = start(&[0xD0, 0]);
    target.capabilities.maximum_packet_size = Some(1);
    let cases: Vec<Case> = cases(TABLES, BOTH)
        .into_iter()
        .filter(|case| case.name() == "v5/packet-size/of-the-server")
        .collect();
    let findings = run(&cases, 1, |case, number| judge(&target, case, number), |_| {});
    let is_skipped = |outcome: &Outcome| matches!(outcome, Outcome::Skipped { .. });
    assert!(findings.iter().all(|finding| is_skipped(&finding.outcome)), "{findings:?}");
}
