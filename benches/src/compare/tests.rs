//! Tables as people read them, and the sums behind them.

use std::path::PathBuf;

use super::*;

fn programs() -> Vec<Program> {
    vec![
        Program::Dunlin { name: "Dunlin".to_owned(), path: PathBuf::new() },
        Program::Relay(PathBuf::new()),
        Program::Mosquitto(PathBuf::new()),
        Program::Nats(PathBuf::new()),
    ]
}

fn results<'a>(programs: &'a [Program], name: &str, figures: &[&[Option<f64>]]) -> Results<'a> {
    let cases: Vec<_> = all().into_iter().filter(|case| case.name == name).collect();
    assert_eq!(cases.len(), 1, "one case is called {name}");
    let lines = cases[0].lines.len();
    let mut results = Results::new(programs, cases);
    for (cell, rounds) in results.cells[0].iter_mut().zip(figures) {
        cell.rounds = rounds.iter().map(|figure| figure.map(|one| vec![one; lines])).collect();
        results.rounds = rounds.len();
    }
    results
}

fn cells(table: &str, starts: &str) -> Vec<String> {
    let line = table.lines().find(|line| line.starts_with(starts)).expect(starts);
    line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

#[test]
fn ratios_are_taken_within_a_round_and_only_where_both_were_measured() {
    let programs = programs();
    let results = results(
        &programs,
        "pairs-qos0-64",
        &[
            &[Some(1.0), Some(2.0), Some(30.0)],
            &[Some(0.5), Some(0.5), Some(10.0)],
            &[Some(4.0), None, Some(40.0)],
            &[None, None, None],
        ],
    );
    assert_eq!(results.figure(0, 0, 0), Some(2.0));
    assert_eq!(results.ratio_to_relay(0, 0), Some(3.0));
    assert_eq!(results.ratio(0, 0, 2), Some(0.5));
    assert_eq!(results.ratio(0, 0, 3), None);
    assert_eq!(results.ratio_to_best(0, 0), Some(0.5));
}

#[test]
fn the_table_says_what_is_reached_and_why_a_figure_is_missing() {
    let programs = programs();
    let figures: &[&[Option<f64>]] = &[&[Some(0.3)], &[Some(0.1)], &[Some(3.0)], &[None]];
    let mut results = results(&programs, "shared-qos0-64", figures);
    let table = render(&results);
    let start = "| shared group, 50:10, QoS 0, 64 B";
    let expected =
        ["0.300", "0.100", "3.000", "n/a", "3.000", "0.100", "-", "0.100", "0.350", "yes"];
    assert_eq!(cells(&table, start)[1..], expected);
    assert!(table.contains("- NATS, `shared-qos0-64`: speaks MQTT 3.1.1 without"), "{table}");

    results.cells[0][0].rounds = vec![Some(vec![0.36, 1.0])];
    results.cells[0][2] = Cell { rounds: vec![None], failure: Some("lost a message".to_owned()) };
    let table = render(&results);
    assert_eq!(cells(&table, start)[10], "no");
    let note = "- Mosquitto, `shared-qos0-64`: lost a message (measured in 0 of 1 rounds).";
    assert!(table.contains(note), "{table}");
    assert!(results.failures_of_ours().is_empty());
    results.cells[0][0].failure = Some("lost a message".to_owned());
    assert_eq!(results.failures_of_ours(), ["shared-qos0-64"]);
}

#[test]
fn flashmq_is_told_by_what_it_took_beside_others_elsewhere() {
    let programs = programs();
    let figures: &[&[Option<f64>]] = &[&[Some(0.3)], &[Some(0.1)], &[Some(6.0)], &[None]];
    let table = render(&results(&programs, "fan-in-qos0-64", figures));
    let (_, by_ratios) = table.split_once("## By ratios").expect("the section");
    // 0.33 : 0.12 was to be reached; FlashMQ took 0.66, and Mosquitto 12.1.
    let expected = ["3.000", "2.750", "no", "0.545", "0.917", "0.500"];
    assert_eq!(cells(by_ratios, "| fan-in 50:1, QoS 0, 64 B")[1..], expected);
    let table = render(&results(&programs, "wildcards", figures));
    let (_, by_ratios) = table.split_once("## By ratios").expect("the section");
    assert_eq!(cells(by_ratios, "| 10,100 wildcard")[2..5], ["-", "-", "-"]);
    assert!(!render(&results(&programs, "latency-2000-qos0", figures)).contains("By ratios"));
}

#[test]
fn latency_is_held_against_the_relay_and_the_best_peer() {
    let programs = programs();
    let figures: &[&[Option<f64>]] =
        &[&[Some(109.0)], &[Some(100.0)], &[Some(120.0)], &[Some(108.0)]];
    let table = render(&results(&programs, "latency-2000-qos1", figures));
    let p50 = cells(&table, "| 2000/s, QoS 1, p50");
    assert_eq!(p50[p50.len() - 2..], ["1.1 × relay", "yes"]);
    let p99 = cells(&table, "| 2000/s, QoS 1, p99 ");
    assert_eq!(p99[p99.len() - 3..], ["1.009", "best peer", "no"]);
}

#[test]
fn the_best_peer_in_messages_per_second_is_the_fastest() {
    let programs = programs();
    let figures: &[&[Option<f64>]] = &[&[Some(60.0)], &[Some(100.0)], &[Some(20.0)], &[Some(30.0)]];
    let results = results(&programs, "fan-in-qos0-64", figures);
    assert_eq!(results.cases[0].lines[1].section, Section::Rate);
    assert_eq!(results.ratio_to_best(0, 1), Some(2.0));
}

#[test]
fn a_reason_is_one_line_without_the_log() {
    let error = anyhow::anyhow!("message 3 is lost\nand more")
        .context("subscriber 1")
        .context("the broker's log ends:\nwarning");
    assert_eq!(reason(&error), "subscriber 1: message 3 is lost");
}

#[test]
fn every_row_has_a_name_of_its_own() {
    let mut names: Vec<_> = all().into_iter().map(|case| case.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
