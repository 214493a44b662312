//! `dunlin conformance --client`: this program's own clients pass, and so does the client library.

use crate::program::{Ended, run};
use dunlin_client::{Client, ProtocolVersion, QoS, Reconnect};
use dunlin_conformance::client::{self, Seat, TABLES, Target, probe};
use dunlin_conformance::{BOTH, Report, cases};
use std::net::TcpListener;
use std::time::Duration;

/// Judges `dunlin` with these arguments.
fn judged(arguments: &[&str]) -> Ended {
    let program = env!("CARGO_BIN_EXE_dunlin");
    let judge = ["conformance", "--client", "--jobs", "32", "--patience", "10", "--", program];
    let connection = ["-V", "{version}", "-h", "{host}", "-p", "{port}", "-i", "{client_id}"];
    run(&[&judge[..], arguments, &connection, &["-t", "{topic}", "-k", "3"]].concat())
}

#[track_caller]
fn check_passes(arguments: &[&str], passed_min: usize) {
    let ended = judged(arguments);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let last = ended.stdout.lines().last().expect("a report");
    let passed = last.split(": ").nth(1).and_then(|counts| counts.split(' ').next());
    let passed: usize = passed.and_then(|count| count.parse().ok()).expect("a count");
    assert!(passed >= passed_min, "{last}\n{}", ended.stdout);
}

#[test]
fn our_subscriber_passes_every_check() {
    check_passes(&["sub", "-c", "-q", "2"], 190);
}

#[test]
fn our_subscriber_passes_without_a_session_of_its_own() {
    check_passes(&["sub", "-q", "2"], 180);
}

#[test]
fn our_publisher_passes_every_check() {
    check_passes(&["pub", "-c", "-q", "2", "-m", "hello"], 160);
    check_passes(&["pub", "-q", "1", "-r", "-m", "hello"], 140);
}

#[test]
fn the_client_library_passes_every_check() {
    check_library(|seat| play(seat, true), 230);
}

#[test]
fn the_client_library_passes_with_a_new_session_each_time() {
    check_library(|seat| play(seat, false), 210);
}

#[track_caller]
fn check_library(play: fn(Seat), passed_min: usize) {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut target = Target::new(client::Client::Function(play), listen);
    target.patience = Duration::from_secs(10);
    target.arrival = target.patience;
    target.habits = BOTH.iter().map(|version| probe(&target, *version).expect("plays")).collect();
    for habits in &target.habits {
        assert!(habits.reconnects && habits.publishes == [true; 3], "{habits:?}");
    }
    let findings = client::run(&target, &cases(TABLES, BOTH), 32, |_| {});
    let report = Report::new("dunlin-client", Vec::new(), findings);
    assert!(report.is_passed() && report.tally.passed >= passed_min, "{}", report.to_text());
}

/// Subscribes and publishes with each QoS, until nobody listens any more. Goes on with its session
/// when the connection is lost, or begins a new one.
fn play(seat: Seat, keeps_session: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let version =
            if seat.version == "5" { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
        let keeps_session = keeps_session && !seat.client_identifier.is_empty();
        let reconnect = Reconnect {
            initial_delay: Duration::from_millis(20),
            maximum_delay: Duration::from_millis(20),
            attempts_max: Some(5),
            ..Reconnect::default()
        };
        let builder = Client::builder(&format!("mqtt://{}", seat.address)).expect("an address");
        let builder = builder
            .client_identifier(seat.client_identifier)
            .protocol_version(version)
            .clean_start(!keeps_session)
            .session_expiry_interval(Duration::from_secs(if keeps_session { 300 } else { 0 }))
            .receive_maximum(20)
            .maximum_packet_size(1_000_000)
            .topic_alias_maximum(10)
            .keep_alive(Duration::from_secs(3))
            .reconnect(reconnect)
            .retry_first_connect(true);
        let Ok((client, mut events)) = builder.connect().await else { return };
        let subscriber = client.clone();
        let topic_filter = seat.topic_name.clone();
        tokio::spawn(async move {
            if let Ok(mut messages) = subscriber.subscribe(topic_filter, QoS::ExactlyOnce).await {
                while messages.next().await.is_some() {}
            }
        });
        for number in 0..2 {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let publisher = client.clone();
                let topic_name = format!("{}/own", seat.topic_name);
                tokio::spawn(async move {
                    let payload = format!("number {number} with {qos:?}");
                    // What came of it, the check tells.
                    let publish = publisher.publish(topic_name, payload).qos(qos).retain(true);
                    let _ = publish.message_expiry_interval(Duration::from_secs(2)).await;
                });
            }
        }
        while events.next().await.is_some() {}
    });
}

#[test]
fn a_command_that_does_not_connect_is_a_wrong_argument() {
    let ended = run(&["conformance", "--client", "--patience", "1", "--", "true"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains("the client ends and does not connect"), "{ended:?}");
    let ended = run(&["conformance", "--client", "--", "/no/such/program"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("the client can't be started"), "{ended:?}");
}

#[test]
fn a_client_can_be_connected_by_hand() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let only = "v5/receiving/qos-2";
    let arguments = ["conformance", "--client", "--listen", &address, "--only", only];
    let judge = crate::program::Running::start(&arguments);
    let wanted = judge.wait_for(only);
    assert!(wanted.contains("connect a client that subscribes with QoS 2"), "{wanted}");
    let (host, port) = address.split_once(':').unwrap();
    let _client =
        crate::program::Running::start(&["sub", "-h", host, "-p", port, "-q", "2", "-t", "a/+/b"]);
    while let Some(line) = judge.line() {
        if line.contains("1 passed, 0 failed, 0 not seen") {
            return;
        }
    }
    panic!("the check did not pass");
}
