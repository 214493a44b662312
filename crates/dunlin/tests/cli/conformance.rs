//! `dunlin conformance`: this program's own broker passes, and the flags do what they say.

use crate::broker::Broker;
use crate::program::run;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

fn url(port: &str) -> String {
    format!("mqtt://127.0.0.1:{port}")
}

#[test]
fn our_broker_passes_every_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("a plain path");
    for args in [
        &["--workers", "1"][..],
        &["--workers", "3"],
        &["--workers", "1", "--data", data, "--durability", "memory"],
        &["--workers", "3", "--data", data, "--durability", "fsync"],
    ] {
        let broker = Broker::start(args);
        let ended = run(&["conformance", &url(&broker.port), "--jobs", "16", "--patience", "30"]);
        assert_eq!(ended.code, Some(0), "{args:?}:\n{}{}", ended.stdout, ended.stderr);
        let last = ended.stdout.lines().last().expect("a report");
        assert!(last.ends_with(" passed, 0 failed, 0 skipped"), "{last}");
    }
}

/// A server that accepts whatever it hears, again and again.
fn start_agreeable() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut heard = [0; 256];
                while let Ok(1..) = client.read(&mut heard) {
                    let is_v5 = heard[8] == 5;
                    let connack = if is_v5 { &[0x20, 3, 0, 0, 0][..] } else { &[0x20, 2, 0, 0] };
                    if client.write_all(connack).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port.to_string()
}

#[test]
fn a_failure_is_shown_with_its_packets_and_is_exit_code_1() {
    let check = "v5/connect/second-connect-closes";
    let ended = run(&["conformance", &url(&start_agreeable()), "--only", check]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{}", ended.stdout);
    for part in [
        &format!("FAILED {check}: a second CONNECT ends the connection\n"),
        "PINGRESP expected; what comes is CONNACK",
        "[MQTT-3.1.0-2] A second CONNECT is a protocol error: close",
        "client → CONNECT v5.0",
        "client ← CONNACK",
        "\n1 check: 0 passed, 1 failed, 0 skipped\n",
    ] {
        assert!(ended.stdout.contains(part), "{part:?} in\n{}", ended.stdout);
    }
}

#[test]
fn only_chooses_by_name_and_by_statement() {
    let names = |args: &[&str]| {
        let ended = run(&[&["conformance", "--list"], args].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let names = ended.stdout.lines().filter(|line| !line.starts_with(' '));
        names.filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect::<Vec<_>>()
    };
    assert!(names(&[]).len() > 100);
    let one = run(&["conformance", "--list", "--only", "v5/connect/second-connect-closes"]);
    assert!(one.stdout.ends_with("\n1 check\n"), "{one:?}");
    let both = ["v311/connect/second-connect-closes", "v5/connect/second-connect-closes"];
    assert_eq!(names(&["--only", "connect/second"]), both);
    assert_eq!(names(&["--only", "MQTT-3.1.0-2", "--only", "MQTT3-3.1.0-2"]), both);
    assert_eq!(names(&["--only", "connect/second", "--version", "5"]), both[1..]);
}

#[test]
fn json_and_junit_go_to_a_file() {
    let broker = Broker::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report");
    let path = file.to_str().unwrap();
    for (form, part) in [("json", "\"outcome\": \"passed\""), ("junit", "failures=\"0\"")] {
        let only = ["--only", "connect/accepted", "--report", form, "--output", path];
        run(&[&["conformance", &url(&broker.port)], &only[..]].concat()).check(0, "", "");
        let report = std::fs::read_to_string(&file).unwrap();
        assert!(report.contains(part), "{report}");
    }
}

#[test]
fn nobody_there_and_nothing_chosen_are_exit_code_2() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = url(&silent.local_addr().unwrap().port().to_string());
    let ended = run(&["conformance", &silent, "--patience", "0.1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("CONNACK expected; none comes"), "{ended:?}");
    run(&["conformance", "mqtt://127.0.0.1", "--only", "nonsense"]).check(
        2,
        "",
        "error: no check is meant by \"nonsense\"; see --list\n",
    );
    run(&["conformance", "127.0.0.1:1883"]).check(
        2,
        "",
        "error: \"127.0.0.1:1883\" has no scheme; write mqtt://HOST:PORT/TOPIC\n",
    );
}

#[test]
fn only_versions_with_checks_can_be_asked_for() {
    let ended = run(&["conformance", "mqtt://127.0.0.1", "--version", "3.1"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("the versions are 3.1.1 and 5"), "{}", ended.stderr);
}

#[test]
fn credentials_are_sent_and_a_broker_that_refuses_them_is_exit_code_2() {
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = broker.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        // To see whether somebody is there, then once for each version.
        broker.accept().unwrap();
        let connack = [&[0x20, 2, 0, 5][..], &[0x20, 3, 0, 0x87, 0]];
        let answer = |connack: &[u8]| {
            let (mut client, _) = broker.accept().unwrap();
            let mut connect = [0; 256];
            let count = client.read(&mut connect).unwrap();
            client.write_all(connack).unwrap();
            String::from_utf8_lossy(&connect[..count]).into_owned()
        };
        connack.map(answer)
    });
    let ended = run(&["conformance", &url(&port.to_string()), "-u", "ada", "--password", "byron"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("refuses the connection: Not authorized"), "{}", ended.stderr);
    for connect in heard.join().unwrap() {
        assert!(connect.contains("ada") && connect.contains("byron"), "{connect:?}");
    }
}
