//! `dunlin pub` and `dunlin sub` against the broker of the same program, and Mosquitto's.

use crate::broker::Broker;
use crate::broker_under_test::BrokerUnderTest;
use crate::program::{Running, command, run};
use std::io::Write as _;
use std::process::Stdio;

/// Runs a scenario against each broker, given its port.
fn with_each_broker(scenario: impl Fn(&str)) {
    scenario(&Broker::start(&[]).port);
    scenario(&BrokerUnderTest::start_mosquitto().port.to_string());
}

/// A subscriber that has its SUBACK.
fn subscribe(port: &str, args: &[&str]) -> Running {
    let running = Running::start(&[&["sub", "-d", "-p", port], args].concat());
    running.wait_for("< SUBACK");
    running
}

#[track_caller]
fn publish(port: &str, args: &[&str]) {
    run(&[&["pub", "-p", port], args].concat()).check(0, "", "");
}

#[test]
fn messages_arrive_in_every_version_and_qos() {
    with_each_broker(|port| {
        for version in ["31", "mqttv311", "5"] {
            for qos in ["0", "1", "2"] {
                let args = ["-V", version, "-q", qos];
                let subscribe_args =
                    [&args[..], &["-t", "a/#", "-C", "2", "-F", "%t %p %q"]].concat();
                let subscriber = subscribe(port, &subscribe_args);
                publish(port, &[&args[..], &["-h", "127.0.0.1", "-t", "a/b", "-m", "-5"]].concat());
                publish(port, &[&args[..], &["-t", "a", "-n"]].concat());
                let ended = subscriber.end();
                assert_eq!(ended.code, Some(0));
                assert_eq!(ended.stdout, format!("a/b -5 {qos}\na  {qos}"), "{version} {qos}");
            }
        }
    });
}

#[test]
fn each_line_of_standard_input_is_a_message() {
    with_each_broker(|port| {
        let subscriber = subscribe(port, &["-t", "l", "-q", "1", "-C", "900"]);
        // For a subscriber that gets no processor time, Mosquitto queues 1000 and drops the rest.
        let lines: Vec<String> = (0..900).map(|number| number.to_string()).collect();
        let mut command = command(&["pub", "-p", port, "-t", "l", "-q", "1", "-l"]);
        let mut publisher = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = publisher.stdin.take().unwrap();
        input.write_all(lines.join("\n").as_bytes()).unwrap();
        drop(input);
        assert!(publisher.wait().unwrap().success());
        assert_eq!(subscriber.end().stdout, lines.join("\n"));
    });
}

#[test]
fn retained_messages_are_printed_left_out_and_removed() {
    with_each_broker(|port| {
        publish(port, &["-t", "r/1", "-m", "one", "-r"]);
        publish(port, &["-t", "r/2", "-m", "two", "-r", "-q", "1"]);
        let sub = |args: &[&str]| run(&[&["sub", "-p", port, "-t", "r/#"], args].concat());
        sub(&["-T", "r/1", "-C", "1", "-F", "%t %r"]).check(0, "r/2 1\n", "");
        sub(&["-R", "-W", "1"]).check(27, "", "");
        let removed = sub(&["--remove-retained", "-C", "2", "-v"]);
        let mut lines: Vec<&str> = removed.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["r/1 one", "r/2 two"]);
        sub(&["-W", "1"]).check(27, "", "");
    });
}

#[test]
fn a_kept_session_brings_what_was_missed() {
    with_each_broker(|port| {
        let me = ["sub", "-p", port, "-c", "-i", "me", "-q", "2"];
        run(&[&me[..], &["-t", "p/#", "-E"]].concat()).check(0, "", "");
        for number in ["1", "2", "3"] {
            publish(port, &["-t", "p/x", "-m", number, "-q", "2"]);
        }
        let missed = run(&[&me[..], &["-t", "p/#", "-C", "3"]].concat());
        missed.check(0, "1\n2\n3\n", "");
        run(&[&me[..], &["-U", "p/#", "-E"]].concat()).check(0, "", "");
        publish(port, &["-t", "p/x", "-m", "4", "-q", "1"]);
        run(&[&me[..], &["-t", "other", "-W", "1"]].concat()).check(27, "", "");
    });
}

#[test]
fn a_message_without_content_is_shown_by_its_topic_alone() {
    with_each_broker(|port| {
        for (args, printed) in [
            (&["-C", "2"][..], "x"),
            (&["-v", "-C", "2"], "e (null)\ne x"),
            (&["-F", "%p", "-C", "2"], "\nx"),
        ] {
            let subscriber = subscribe(port, &[&["-t", "e"], args].concat());
            publish(port, &["-t", "e", "-n"]);
            publish(port, &["-t", "e", "-m", "x"]);
            assert_eq!(subscriber.end().stdout, printed, "{args:?}");
        }
    });
}

#[test]
fn properties_and_a_will_go_along() {
    with_each_broker(|port| {
        let format = ["-F", "%t %p %C %P %E %R %D %F", "-C", "1"];
        let subscriber = subscribe(port, &[&["-t", "w"][..], &format].concat());
        let dying = subscribe(
            port,
            &[
                "-t",
                "none",
                "--will-topic",
                "w",
                "--will-payload",
                "gone",
                "--will-qos",
                "1",
                "-D",
                "will",
                "content-type",
                "text/plain",
                "-D",
                "will",
                "user-property",
                "k",
                "v",
            ],
        );
        drop(dying);
        assert_eq!(subscriber.end().stdout, "w gone text/plain k:v    ");

        let subscriber = subscribe(port, &[&["-t", "p"][..], &format].concat());
        let properties = "-D publish message-expiry-interval 60 -D publish response-topic r/t -D \
                      publish correlation-data zz -D publish payload-format-indicator 1";
        let properties: Vec<&str> = properties.split_whitespace().collect();
        publish(port, &[&["-t", "p", "-m", "x"][..], &properties].concat());
        let line = subscriber.end().stdout;
        let expiry: u32 = line.split(' ').nth(4).unwrap().parse().unwrap();
        assert!((1..=60).contains(&expiry), "{line}");
        assert!(line.ends_with(" r/t zz 1"), "{line}");
    });
}

#[test]
fn a_signal_ends_a_subscriber_with_a_farewell() {
    with_each_broker(|port| {
        let subscriber = subscribe(port, &["-t", "a"]);
        subscriber.signal("INT");
        subscriber.wait_for("> DISCONNECT");
        assert_eq!(subscriber.end().code, Some(0));
    });
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    for (args, message) in [
        (&["pub", "-t", "a/#", "-m", "x"][..], "-t \"a/#\": a Topic Name holds no wildcard"),
        (&["pub", "-t", "a"], "no message; add -m TEXT, -f FILE, -l, -s or -n"),
        (&["pub", "-m", "x"], "no topic; add -t TOPIC"),
        (&["sub"], "no topic; add -t FILTER"),
        (&["sub", "-t", "a", "-c"], "-c keeps a session, which needs a name; add -i ID"),
        (&["sub", "-t", "a", "-F", "%z"], "-F: %z is no sequence of a format; %% is a %"),
        (
            &["pub", "-t", "a", "-n", "-V", "311", "-x", "3"],
            "-D and -x need MQTT 5, not 3.1.1; leave out -V",
        ),
        (
            &["sub", "-h", "127.0.0.1", "lamps/#"],
            "\"lamps/#\" is no URL like mqtt://HOST/TOPIC; if it is a topic, write -t 'lamps/#'",
        ),
        (
            &["sub", "-p", "1", "mqtt://host/a"],
            "\"mqtt://host/a\" names host and port; leave out -h and -p",
        ),
        (&["sub", "-t", "a", "--capath", "/etc"], "--capath (TLS) is not in this version"),
        (&["sub", "-t", "a", "--tls-version", "x"], "--tls-version (TLS) is not in this version"),
        (&["pub", "-t", "a", "--psk-identity", "x"], "--psk-identity (TLS) is not in this version"),
        (&["pub", "-t", "a", "-A", "::1"], "-A (a local address) is not in this version"),
        (
            &["sub", "-t", "a", "quic://host", "--proxy", "http://proxy"],
            "no proxy carries quic://; leave the proxy out, or use mqtts://",
        ),
        (
            &["bench", "pairs", "unix:///run/dunlin"],
            "dunlin bench speaks MQTT over TCP, TLS, WebSocket and QUIC; use mqtt://, mqtts://, ws://, \
             wss:// or quic://",
        ),
        (
            &["conformance", "mqtts://host"],
            "dunlin conformance speaks MQTT over plain TCP alone; use mqtt://",
        ),
        (
            &["sub", "mqtt://host/a", "--insecure"],
            "the flags of TLS go with mqtts://, wss:// and quic://",
        ),
    ] {
        run(args).check(2, "", &format!("error: {message}\n"));
    }
    for (args, words) in [
        (&["sub", "-t", "a", "-C", "x"][..], "a number is expected"),
        (&["sub", "-t", "a", "-W", "0"], "a number from 1 is expected"),
        (&["sub", "-t", "a", "-p", "65536"], "the number is too large"),
        (&["sub", "-t", "a", "--topics", "b"], "'--topic'"),
        (&["sub", "-t", "a", "--bogus"], "'--bogus'"),
    ] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
        assert!(!ended.stderr.contains("as a value"), "{ended:?}");
    }
    assert_eq!(run(&["pub", "-t", "a", "-n", "-q", "3"]).code, Some(2));
}
