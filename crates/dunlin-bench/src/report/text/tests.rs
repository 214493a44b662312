//! The summary of whole, empty, faulty and immoderate runs.

use std::time::Duration;

use super::*;
use crate::outcome::Faults;
use crate::report::sample;

fn plain(outcome: &Outcome) -> String {
    to_text(outcome, Style::PLAIN)
}

/// The line that begins with this name, without the name.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let found = text.lines().find_map(|line| line.trim_start().strip_prefix(name));
    found.unwrap_or_else(|| panic!("no line {name} in\n{text}")).trim()
}

#[test]
fn a_run_without_faults_is_told_in_full() {
    let text = plain(&sample::outcome());
    assert!(text.starts_with("fan-in  2026-12-31 23:59 UTC\n"), "{text}");
    assert_eq!(line(&text, "broker "), "127.0.0.1:1883");
    assert_eq!(line(&text, "measured for"), "8.0 s");
    assert!(line(&text, "published").ends_with("8,000         1,000/s"), "{text}");
    assert!(line(&text, "delivered").ends_with("1,000/s  all that were due"), "{text}");
    let cells: Vec<_> =
        line(&text, "delivery").split("  ").filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        cells.iter().map(|cell| cell.trim()).collect::<Vec<_>>(),
        ["4.10 ms", "7.30 ms", "8.02 ms", "8.09 ms", "–", "8.10 ms"]
    );
    assert!(line(&text, "acknowledgement").starts_with("2.05 ms"), "{text}");
    let connect: Vec<_> = line(&text, "connect").split_ascii_whitespace().collect();
    let of_twenty = ["500", "µs", "500", "µs", "–", "–", "–", "500", "µs"];
    assert_eq!(connect, of_twenty, "no percentile of too few");
    assert_eq!(line(&text, "broker's CPU"), "500 µs for each delivered message, 50 % of a core");
    assert_eq!(line(&text, "load's CPU"), "250 µs for each delivered message, 25 % of a core");
    assert_eq!(line(&text, "broker's memory"), "8.00 MiB");
    assert_eq!(line(&text, "bytes per connection"), "312");
    assert!(text.ends_with("nothing lost, nothing doubled, in order\n"), "{text}");
}

#[test]
fn faults_are_named_by_qos() {
    let mut outcome = sample::outcome();
    outcome.faults[0].lost = 1_200;
    outcome.faults[2] =
        Faults { doubled: 1, out_of_order: 2, corrupted: 3, refused: 4, ..Faults::default() };
    outcome.delivered = 6_800;
    let text = plain(&outcome);
    assert!(line(&text, "delivered").ends_with("of 8,000 that were due"), "{text}");
    assert_eq!(line(&text, "QoS 0:"), "1,200 lost");
    assert_eq!(line(&text, "QoS 2:"), "1 doubled, 2 out of order, 3 corrupted, 4 refused");
    assert!(!text.contains("QoS 1:") && !text.contains("nothing lost"), "{text}");
    assert!(text.contains("At QoS 0 a broker may drop"), "{text}");
}

#[test]
fn what_a_cut_allows_is_told_but_is_no_fault() {
    let mut outcome = sample::outcome();
    outcome.allowed[1].doubled = 12;
    let text = plain(&outcome);
    assert!(text.contains("nothing lost or doubled but what lost connections allow"), "{text}");
    assert!(
        text.contains(
            "No fault, as a connection had been lost or a subscription given up: QoS 1: 12 doubled"
        ),
        "{text}"
    );
}

#[test]
fn a_complaint_takes_the_good_word_away() {
    let mut outcome = sample::outcome();
    outcome.complaints.push("the broker closed 3 connections".to_owned());
    let text = plain(&outcome);
    assert!(text.contains("the broker closed 3 connections"), "{text}");
    assert!(!text.contains("nothing lost"), "{text}");
}

#[test]
fn an_empty_run_claims_nothing() {
    let text = plain(&sample::empty());
    assert!(text.contains("no message was due to anyone"), "{text}");
    for claim in ["nothing lost", "latency", "for each", "memory", "/s"] {
        assert!(!text.contains(claim), "{claim} in\n{text}");
    }
}

#[test]
fn a_load_at_its_limit_is_confessed() {
    let mut outcome = sample::outcome();
    assert!(!plain(&outcome).contains("its one core"));
    outcome.load_cpu = Duration::from_millis(7_800);
    assert!(plain(&outcome).contains("The load itself used 98 % of its one core"));
    outcome.parameters.push(("rate", "2000/s".to_owned()));
    assert!(!plain(&outcome).contains("its one core"));
    assert!(plain(&outcome).contains("A paced load never sleeps"));
    outcome.load_cpu = Duration::from_millis(3_200);
    assert!(plain(&outcome).contains("The load got only 40 % of a core"));
    // So few that it sleeps between them.
    outcome.published = 800;
    assert!(plain(&outcome).contains("A paced load never sleeps"));
}

#[test]
fn immoderate_figures_are_readable() {
    let text = plain(&sample::huge());
    assert!(text.lines().all(|line| line.chars().count() < 120), "{text}");
    assert!(line(&text, "unknown").ends_with("unknown"), "{text}");
}

#[test]
fn only_colour_adds_control_sequences() {
    let mut outcome = sample::outcome();
    outcome.parameters.push(("user", "\x1b[2Jx\u{9b}\r".to_owned()));
    let text = plain(&outcome);
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    let colored = to_text(&outcome, Style { live: true, color: true });
    assert!(colored.contains("\x1b[32mnothing lost"), "{colored:?}");
}
