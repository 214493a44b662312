//! A broker that drops, doubles, reorders or alters is caught, and its lies are counted exactly.

use super::bench;
use super::liar::{self, Lie, Plot};
use crate::broker::Broker;
use serde_json::{Value, json};

const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const CONNACK: u8 = 2;

/// Of a thousand deliveries the 51st and every hundredth behind it.
const fn ten(lie: Lie) -> Plot {
    Plot { lie, packet_type: PUBLISH, holding: "", first: 50, every: 100 }
}

/// A thousand messages from one publisher to one subscriber, through a liar; gives the report.
#[track_caller]
fn report(qos: &str, plot: Plot, code: i32, options: &[&str]) -> Value {
    let broker = Broker::start(&[]);
    let port = liar::start(&broker.port, plot);
    let usual = ["--messages", "1000", "--warm-up", "0", "--publishers", "1", "--subscribers", "1"];
    let usual = [&usual[..], &["--patience", "3", "--qos", qos, "--window", "20"]].concat();
    let (ended, report) = bench(&port, "fan-in", &[&usual[..], options].concat());
    assert_eq!(ended.code, Some(code), "{plot:?} at QoS {qos}: {report:#}");
    report
}

/// Two seconds of a soak, through a liar; gives the report.
#[track_caller]
fn soak(plot: Plot, options: &[&str]) -> Value {
    let broker = Broker::start(&["--workers", "2"]);
    let port = liar::start(&broker.port, plot);
    let usual = ["--duration", "2", "--warm-up", "0", "--patience", "3", "--rate", "500"];
    let (ended, report) = bench(&port, "soak", &[&usual[..], options].concat());
    assert_eq!(ended.code, Some(1), "{plot:?}: {report:#}");
    report
}

#[track_caller]
fn complains(report: &Value, complaint: &str) {
    let complaints = report["complaints"].as_array().expect("a list");
    let is_it = |one: &Value| one.as_str().is_some_and(|one| one.starts_with(complaint));
    assert!(complaints.iter().any(is_it), "{complaint}: {report:#}");
}

/// All messages whose Topic Names hold this.
const fn all(lie: Lie, holding: &'static str) -> Plot {
    Plot { lie, packet_type: PUBLISH, holding, first: 0, every: 1 }
}

#[test]
fn a_will_that_is_dropped_doubled_or_altered_is_told() {
    for (lie, complaint) in [
        (Lie::Drop, "a Will has not come of a connection that was lost"),
        (Lie::Double, "a Will came twice"),
        (Lie::Double, "a Will of QoS 2 came twice"),
        (Lie::Alter(1), "an altered Will has come"),
    ] {
        // Each has a second chance: which clients are cut is drawn by lot.
        let reports = [(); 2].map(|()| soak(all(lie, "-wills/"), &["--churn", "30"]));
        let has = |report: &Value| report["complaints"].to_string().contains(complaint);
        assert!(reports.iter().any(has), "{complaint}: {:#}", reports[0]);
    }
}

#[test]
fn a_retained_message_that_is_dropped_doubled_or_altered_is_told() {
    for (lie, complaint) in [
        (Lie::Drop, "a retained message has not come to a new subscription"),
        (Lie::Double, "a new subscription got a retained message twice"),
        (Lie::Alter(1), "an altered retained message has come"),
    ] {
        complains(&soak(all(lie, "-retained/"), &[]), complaint);
    }
}

#[test]
fn what_comes_without_a_subscription_is_not_asked_for() {
    let plot = all(Lie::FeignUnsubscribed, "");
    let report = soak(plot, &[]);
    let stray = |qos| report["faults"][qos]["stray"].as_u64();
    for qos in ["qos0", "qos1", "qos2"] {
        assert!(stray(qos) > Some(0), "{report:#}");
    }
}

#[test]
fn what_comes_to_two_of_a_group_is_doubled() {
    for qos in ["1", "2"] {
        let broker = Broker::start(&[]);
        let port = liar::start(&broker.port, ten(Lie::Double));
        let options =
            ["--messages", "1000", "--warm-up", "0", "--publishers", "1", "--window", "20"];
        let sides = ["--subscribers", "3", "--qos", qos, "--patience", "3"];
        let (ended, report) = bench(&port, "shared", &[&options[..], &sides].concat());
        assert_eq!(ended.code, Some(1), "{report:#}");
        assert_eq!(report["faults"][format!("qos{qos}")]["doubled"], 10, "{report:#}");
    }
}

/// The faults of one QoS are these, and there are no others.
#[track_caller]
fn check(qos: &str, plot: Plot, code: i32, fault: &str, count: u64) -> Value {
    let report = report(qos, plot, code, &[]);
    let mut expected = json!({ "lost": 0, "doubled": 0, "out_of_order": 0, "corrupted": 0, "stray": 0,
                "refused": 0 });
    expected[fault] = count.into();
    assert_eq!(report["faults"][format!("qos{qos}")], expected, "{plot:?}: {report:#}");
    assert_eq!(report["faults"]["sum"], count, "{plot:?}: {report:#}");
    report
}

#[test]
fn what_is_dropped_is_lost() {
    let report = check("0", ten(Lie::Drop), 0, "lost", 10);
    assert_eq!((&report["delivered"], &report["owed"]), (&json!(990), &json!(1000)));
    check("1", ten(Lie::Drop), 1, "lost", 10);
    check("2", ten(Lie::Drop), 1, "lost", 10);
}

#[test]
fn the_last_ones_are_missed_as_well() {
    let plot = Plot { first: 995, every: 1, ..ten(Lie::Drop) };
    // The broker answers whatever else it is asked, so that it is not silent.
    for (qos, code) in [("0", 0), ("1", 1), ("2", 1)] {
        let report = check(qos, plot, code, "lost", 5);
        assert_eq!((&report["delivered"], &report["complaints"]), (&json!(995), &json!([])));
    }
}

#[test]
fn what_comes_twice_is_doubled() {
    for qos in ["0", "1", "2"] {
        let report = check(qos, ten(Lie::Double), 1, "doubled", 10);
        assert_eq!(report["delivered"], 1000);
    }
}

#[test]
fn what_comes_twice_behind_a_pingresp_is_seen_as_well() {
    for qos in ["0", "1", "2"] {
        check(qos, ten(Lie::DoubleLate), 1, "doubled", 10);
    }
}

#[test]
fn what_comes_behind_the_next_is_out_of_order() {
    for qos in ["0", "1", "2"] {
        let report = check(qos, ten(Lie::Swap), 1, "out_of_order", 10);
        assert_eq!(report["delivered"], 1000);
    }
}

#[test]
fn what_is_altered_is_corrupted_and_not_lost_as_well() {
    for qos in ["0", "1", "2"] {
        // The last byte of the filling; then those of the payload's header, from its last to its
        // first.
        check(qos, ten(Lie::Alter(1)), 1, "corrupted", 10);
        for header in [41, 49, 57, 64] {
            check(qos, ten(Lie::Alter(header)), 1, "corrupted", 10);
        }
    }
    // The last byte of the Topic Name.
    check("0", ten(Lie::Alter(65)), 1, "corrupted", 10);
}

#[test]
fn silence_ends_the_run_with_what_is_missing() {
    let plot =
        Plot { lie: Lie::FallSilent, packet_type: PUBLISH, holding: "", first: 700, every: 1 };
    let report = report("0", plot, 1, &[]);
    assert_eq!(report["delivered"], 700);
    let complaints = report["complaints"].to_string();
    assert!(complaints.contains("nothing has come for 3 s, and missing are "), "{complaints}");
    assert!(complaints.contains("1 clients have got no PINGRESP"), "{complaints}");
}

#[test]
fn a_dropped_acknowledgement_is_missed() {
    let plot = Plot { lie: Lie::Drop, packet_type: PUBACK, holding: "", first: 999, every: 1 };
    let report = check("1", plot, 1, "lost", 0);
    let complaint = report["complaints"][0].as_str().expect("a sentence");
    assert!(complaint.contains("missing are 0 deliveries, 1 acknowledgements"), "{complaint}");
}

#[test]
fn a_doubled_acknowledgement_is_out_of_turn() {
    let plot = Plot { lie: Lie::Double, packet_type: PUBACK, holding: "", first: 50, every: 100 };
    let report = check("1", plot, 1, "lost", 0);
    let expected = json!(["an acknowledgement came that no message waited for (10 times)"]);
    assert_eq!(report["complaints"], expected);
}

#[test]
fn a_refusal_is_counted_as_that() {
    let plot = Plot { lie: Lie::Refuse, packet_type: PUBACK, holding: "", first: 50, every: 100 };
    let report = report("1", plot, 1, &["--version", "5"]);
    let faults = &report["faults"];
    assert_eq!((&faults["qos1"]["refused"], &faults["sum"]), (&json!(10), &json!(10)));
    // They were delivered all the same, which nobody can hold against the broker.
    assert_eq!(report["delivered"], 1000);
}

#[test]
fn a_connection_that_the_broker_closes_is_told() {
    let plot =
        Plot { lie: Lie::Close, packet_type: PUBLISH, holding: "", first: 500, every: 10_000 };
    let report = report("0", plot, 1, &[]);
    let complaint = report["complaints"][0].as_str().expect("a sentence");
    assert!(complaint.starts_with("a connection was not closed by its client: "), "{complaint}");
    assert_eq!(report["faults"]["sum"], 0, "{report:#}");
}

#[test]
fn a_session_that_is_gone_is_told() {
    // The third and fourth CONNACK are those after the cut; their first byte says Session Present.
    let plot = Plot { lie: Lie::Alter(2), packet_type: CONNACK, holding: "", first: 2, every: 1 };
    // So long before the end that a busy machine comes to it.
    let options = ["--cut", "100@0.5", "--duration", "4", "--rate", "1000"];
    let broker = Broker::start(&[]);
    let port = liar::start(&broker.port, plot);
    let sides = ["--publishers", "1", "--subscribers", "1", "--warm-up", "0", "--patience", "3"];
    let (ended, report) = bench(&port, "fan-in", &[&options[..], &sides].concat());
    assert_eq!(ended.code, Some(1));
    let expected = json!(["a client came back, and its Session was gone (2 times)"]);
    assert_eq!(report["complaints"], expected);
}
