//! `dunlin bench`: each scenario against this program's own broker, and what its user is told.

mod liar;
mod lies;
mod lossy;
mod transports;

use crate::broker::Broker;
use crate::program::{Ended, run};
use serde_json::Value;
use std::net::TcpListener;

/// Runs a scenario against a broker, and gives its report.
#[track_caller]
fn bench(port: &str, scenario: &str, options: &[&str]) -> (Ended, Value) {
    let url = format!("mqtt://127.0.0.1:{port}");
    let args = [&["bench", scenario, &url, "--report", "json"], options].concat();
    let ended = run(&args);
    let report = serde_json::from_str(&ended.stdout);
    let report = report.unwrap_or_else(|error| panic!("{args:?}: {error}: {ended:?}"));
    (ended, report)
}

/// Runs a scenario, of which nothing may be wrong; gives its report.
#[track_caller]
fn clean(broker: &Broker, scenario: &str, options: &[&str]) -> Value {
    let (ended, report) = bench(&broker.port, scenario, options);
    assert_eq!(ended.code, Some(0), "{scenario} {options:?}: {report:#}");
    assert_eq!(report["faults"]["sum"], 0, "{scenario} {options:?}: {report:#}");
    assert_eq!(report["complaints"].as_array().map(Vec::len), Some(0), "{report:#}");
    report
}

#[test]
fn every_message_arrives_at_every_qos_in_both_versions() {
    let broker = Broker::start(&["--workers", "2"]);
    for version in ["3.1.1", "5"] {
        for qos in ["0", "1", "2", "mixed"] {
            for (scenario, sides, owed) in [
                ("fan-in", &["--publishers", "7", "--subscribers", "2", "--topics", "3"][..], 4000),
                ("fan-out", &["--publishers", "2", "--subscribers", "5"], 10_000),
                ("pairs", &["--clients", "5", "--topics", "2"], 2000),
                ("shared", &["--publishers", "5", "--subscribers", "3"], 2000),
                ("wildcards", &["--clients", "3", "--topics", "120"], 2000),
            ] {
                let options = ["--qos", qos, "--version", version, "--messages", "2000"];
                let options = [&options[..], &["--warm-up", "0", "--window", "20"], sides].concat();
                let report = clean(&broker, scenario, &options);
                assert_eq!(report["published"], 2000, "{scenario} {options:?}");
                assert_eq!(report["owed"], owed, "{scenario} {options:?}");
                assert_eq!(report["delivered"], owed, "{scenario} {options:?}");
                assert_eq!(report["delivery_us"]["count"], owed, "{scenario} {options:?}");
            }
        }
    }
}

#[test]
fn payloads_of_any_size_are_carried_and_checked() {
    let broker = Broker::start(&[]);
    for (payload, messages) in [("24", "500"), ("2000", "500"), ("200000", "20")] {
        // At QoS 0 the broker may drop what is more than it keeps for a subscriber.
        let options = ["--payload", payload, "--messages", messages, "--warm-up", "0"];
        clean(&broker, "fan-in", &[&options[..], &["--publishers", "2", "--qos", "1"]].concat());
    }
}

#[test]
fn stored_and_retained_messages_are_delivered_to_the_last() {
    let broker = Broker::start(&["--workers", "2"]);
    for version in ["3.1.1", "5"] {
        for qos in ["1", "2"] {
            let options = ["--messages", "3000", "--qos", qos, "--version", version];
            let sides = ["--publishers", "3", "--subscribers", "12"];
            let report = clean(&broker, "offline", &[&options[..], &sides].concat());
            assert_eq!(report["delivered"], 3000);
            assert!(report["figures"]["messages stored per second"].as_f64() > Some(0.0));
        }
        for qos in ["0", "1", "2"] {
            let options = ["--messages", "1001", "--qos", qos, "--version", version];
            let sides = ["--publishers", "2", "--subscribers", "3"];
            let report = clean(&broker, "retained", &[&options[..], &sides].concat());
            assert_eq!(report["delivered"], 3003);
        }
    }
}

#[test]
fn clients_come_stay_and_come_back() {
    let broker = Broker::start(&["--workers", "2"]);
    let short = ["--clients", "200", "--duration", "0.1"];
    let report = clean(&broker, "connect", &[&short[..], &["--source", "127.0.0.3"]].concat());
    assert_eq!(report["connect_us"]["count"], 200);
    let pid = std::process::id().to_string();
    for filters in ["0", "1", "120"] {
        let options = [&short[..], &["--pid", &pid, "--filters", filters]].concat();
        let report = clean(&broker, "idle", &options);
        assert!(report["figures"]["broker bytes per connection"].is_number(), "{report:#}");
        let subscriptions = filters.parse::<f64>().expect("a number") * 200.0;
        assert_eq!(report["figures"]["subscriptions"], subscriptions, "{report:#}");
    }
    for version in ["3.1.1", "5"] {
        let sides = ["--publishers", "2", "--subscribers", "50", "--version", version];
        let report = clean(&broker, "reconnect", &[&sides[..], &["--duration", "0.5"]].concat());
        let rounds = report["figures"]["rounds"].as_f64().expect("rounds");
        assert_eq!(report["delivered"].as_f64(), Some(rounds * 50.0));
    }
}

#[test]
fn what_a_cut_allows_is_no_fault() {
    let broker = Broker::start(&["--workers", "2"]);
    for (scenario, qos) in
        [("pairs", "0"), ("pairs", "1"), ("pairs", "2"), ("fan-out", "mixed"), ("shared", "1")]
    {
        // So long before the end that a busy machine comes to all of them.
        let cuts = ["--cut", "50@0.4", "--cut", "30@0.8", "--pause", "30@0.2-1"];
        let options = ["--qos", qos, "--duration", "3", "--rate", "5000", "--warm-up", "0"];
        let sides = ["--publishers", "6", "--subscribers", "6"];
        let report = clean(&broker, scenario, &[&cuts[..], &options, &sides].concat());
        assert_eq!(report["marks"].as_array().map(Vec::len), Some(4), "{report:#}");
        assert_eq!(report["allowed"]["qos2"]["lost"], 0, "{report:#}");
        assert_eq!(report["allowed"]["qos1"]["lost"], 0, "{report:#}");
    }
}

#[test]
fn a_soak_is_stirred_and_stays_whole() {
    let broker = Broker::start(&["--workers", "2"]);
    for version in ["3.1.1", "5"] {
        let options = ["--duration", "3.5", "--rate", "3000", "--version", version];
        let report = clean(&broker, "soak", &options);
        // On a busy machine some of 10,500 find no room in their time.
        assert!(report["published"].as_u64() > Some(1_000), "{report:#}");
        let times = |what: &str| report["figures"][what].as_f64().expect("a figure") as u64;
        let lost = ["connections cut", "connections taken over", "goodbyes"].map(times);
        assert!(lost.iter().all(|&times| times > 0), "{report:#}");
        // Two of each kind of subscriber beside the usual twenty, three guests; then whoever came back.
        let connects = report["connect_us"]["count"].as_u64();
        assert_eq!(connects, Some(20 + 26 + 3 + lost.iter().sum::<u64>()), "{report:#}");
        // The Wills of those that were cut or taken over, but for some of QoS 0.
        assert!(times("Wills published") >= (lost[0] + lost[1]) / 2, "{report:#}");
        assert!(times("subscriptions and unsubscriptions") > 0, "{report:#}");
        assert!(times("retained messages: set or deleted") > 0, "{report:#}");
        assert!(times("retained messages: delivered") > 0, "{report:#}");
    }
}

#[test]
fn a_paced_run_charges_a_late_message_for_its_wait() {
    let broker = Broker::start(&[]);
    let pace = ["--rate", "1000", "--messages", "300", "--warm-up", "0"];
    let report = clean(&broker, "pairs", &[&pace[..], &["--clients", "1"]].concat());
    assert_eq!(report["delivery_us"]["count"], 300);
    assert!(report["elapsed_secs"].as_f64() >= Some(0.299), "{report:#}");
    // The subscriber does not read for a quarter of a second; the schedule goes on.
    let pause = ["--pause", "100@0.02-0.27", "--clients", "1"];
    let report = clean(&broker, "pairs", &[&pace[..], &pause].concat());
    let slowest = report["delivery_us"]["max"].as_f64().expect("a figure");
    assert!(slowest >= 240_000.0, "{report:#}");
}

#[test]
fn the_report_comes_as_text_json_and_page() {
    let broker = Broker::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (json, html) = (file("run.json"), file("run.html"));
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let ended = run(&[
        "bench",
        "fan-out",
        &url,
        "--messages",
        "100",
        "--subscribers",
        "3",
        "--json",
        &json,
        "--html",
        &html,
        "--quiet",
    ]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.contains("nothing lost, nothing doubled, in order"), "{ended:?}");
    let json = std::fs::read_to_string(json).expect("the file is there");
    let report: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(report["delivered"], 300);
    let html = std::fs::read_to_string(html).expect("the file is there");
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg"), "{html}");
}

/// The program ends with this code and one line that begins like this.
#[track_caller]
fn refused(code: i32, args: &[&str], message: &str) {
    let ended = run(&[&["bench"], args].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{ended:?}");
    assert!(ended.stderr.starts_with(&format!("error: {message}")), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
}

#[test]
fn mistakes_are_one_message_that_names_the_option() {
    let url = "mqtt://127.0.0.1:1";
    for (args, message) in [
        (&["pairs", "127.0.0.1"][..], "\"127.0.0.1\" has no scheme"),
        (&["pairs", url, "--payload", "8"], "--payload 8: 24 to 16777216 will do"),
        (&["pairs", url, "--window", "40000"], "--window 40000: 1 to 32768 will do"),
        (&["fan-in", url, "--publishers", "0"], "--publishers 0: 1 to 1000000 will do"),
        (&["fan-in", url, "--rate", "0"], "--rate 0: "),
        (&["offline", url, "--qos", "0"], "--qos 0: brokers need not keep such messages"),
        (&["offline", url, "--publishers", "7"], "--publishers 7: take a number that divides"),
        (&["pairs", url, "--publishers", "7"], "--publishers 7 and --subscribers 100: "),
        (&["pairs", url, "--pause", "10@5-4"], "--pause: it has to begin before it ends"),
        (&["pairs", url, "--cut", "0@4"], "0 percent: "),
        (&["pairs", url, "--cut", "10@11"], "a disturbance at 11s comes after the end"),
        (&["pairs", url, "--source", "::1"], "--source: the broker's address is 127.0.0.1"),
        (&["pairs", url, "--json", "/nowhere/run.json"], "/nowhere/run.json: "),
    ] {
        refused(2, args, message);
    }
}

#[test]
fn trouble_before_the_run_is_one_message() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("mqtt://{}", listener.local_addr().unwrap())
    };
    let takes_none = format!("{} takes no connection: ", closed.trim_start_matches("mqtt://"));
    refused(1, &["pairs", &closed], &takes_none);
    refused(1, &["connect", &closed], &takes_none);
    refused(1, &["pairs", &closed, "--source", "192.0.2.1"], "--source 192.0.2.1 is no address");
    refused(
        1,
        &["connect", &closed, "--clients", "1000000"],
        "1000000 clients are more open files",
    );
    let broker = Broker::start(&[]);
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    refused(1, &["pairs", &url, "--pid", "999999999"], "--pid 999999999: ");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", silent.local_addr().unwrap());
    refused(
        1,
        &["pairs", &url, "--patience", "0.2", "--quiet"],
        "the broker has been silent for 0.2 s while clients were connecting; 0 were connected",
    );
}
