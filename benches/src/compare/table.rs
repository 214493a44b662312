//! The tables as Markdown.

use std::fmt::Write as _;

use super::Results;
use super::cases::{Reach, Section};
use crate::broker::Program;
use crate::report::align;

/// Tables, in their order, and what they say above themselves.
const SECTIONS: [(Section, &str, &str); 4] = [
    (
        Section::Cpu,
        "CPU for each message",
        "User and system time of the broker in µs, for each message delivered, or stored.",
    ),
    (Section::Latency, "Latency", "µs from the appointed time of sending to arrival."),
    (Section::Connection, "Connections", "CPU in µs; resident bytes."),
    (
        Section::Rate,
        "Messages per second",
        "All subscribers together; more is better. Broker and load wait for one another.",
    ),
];

/// Renders all tables, and why figures are missing.
pub fn render(results: &Results<'_>) -> String {
    let mut out = String::new();
    for (section, heading, explanation) in SECTIONS {
        let mut rows = Vec::new();
        for (nth, case) in results.cases.iter().enumerate() {
            let lines = case.lines.iter().enumerate();
            for (place, _) in lines.filter(|(_, line)| line.section == section) {
                rows.push(row(results, nth, place));
            }
        }
        if !rows.is_empty() {
            // Writing to a string cannot fail.
            let _ = write!(out, "## {heading}\n\n{explanation}\n\n");
            out.push_str(&align(&header(results, section), &rows));
            out.push('\n');
        }
    }
    out.push_str(&elsewhere(results));
    let notes = notes(results);
    if !notes.is_empty() {
        out.push_str("## What could not be measured\n\n");
        out.push_str(&notes);
    }
    out
}

fn header(results: &Results<'_>, section: Section) -> Vec<String> {
    let names = results.programs.iter().map(Program::name);
    let mut header = vec!["row".to_owned()];
    header.extend(names.clone().map(ToOwned::to_owned));
    let first = results.programs.first().map_or("", Program::name);
    header.extend(names.skip(1).map(|name| format!("{first} : {name}")));
    header.push(format!("{first} : best peer"));
    if section != Section::Rate {
        header.extend(["reach", "reached"].map(ToOwned::to_owned));
    }
    header
}

fn row(results: &Results<'_>, case: usize, place: usize) -> Vec<String> {
    let line = &results.cases[case].lines[place];
    let others = 1..results.programs.len();
    let mut row = vec![line.title.clone()];
    row.extend((0..results.programs.len()).map(|program| {
        let figure = results.figure(case, place, program);
        figure.map_or_else(|| "n/a".to_owned(), number)
    }));
    let ratio = |ratio: Option<f64>| match ratio {
        None => "-".to_owned(),
        Some(ratio) if ratio < 0.01 => format!("{ratio:.5}"),
        Some(ratio) => format!("{ratio:.3}"),
    };
    row.extend(others.map(|other| ratio(results.ratio(case, place, other))));
    row.push(ratio(results.ratio_to_best(case, place)));
    if line.section != Section::Rate {
        let (text, is_reached) = match line.reach {
            None => ("-".to_owned(), None),
            Some(Reach::AtMost(most)) => {
                (number(most), results.figure(case, place, 0).map(|figure| figure <= most))
            }
            Some(Reach::OfRelay(times)) => (
                format!("{times} × relay"),
                results.ratio_to_relay(case, place).map(|ratio| ratio <= times),
            ),
            Some(Reach::BestPeer) => (
                "best peer".to_owned(),
                results.ratio_to_best(case, place).map(|ratio| ratio <= 1.0),
            ),
        };
        row.push(text);
        row.push(is_reached.map_or("-", |is_reached| if is_reached { "yes" } else { "no" }).into());
    }
    row
}

/// What was to be reached, and FlashMQ, by the ratios of another machine.
fn elsewhere(results: &Results<'_>) -> String {
    let mut rows = Vec::new();
    for (nth, case) in results.cases.iter().enumerate() {
        for (place, line) in case.lines.iter().enumerate() {
            let (Some(there), Some(Reach::AtMost(most))) = (line.there, line.reach) else {
                continue;
            };
            let by_relay = results.ratio_to_relay(nth, place);
            let by_mosquitto = results.ratio_to_mosquitto(nth, place);
            let reach = there.relay.map(|relay| most / relay);
            let flashmq = there.relay.map(|relay| there.flashmq / relay);
            let is_reached = by_relay.zip(reach).map(|(ratio, reach)| ratio <= reach);
            let ratio = |of: Option<f64>| of.map_or_else(|| "-".to_owned(), number);
            rows.push(vec![
                line.title.clone(),
                ratio(by_relay),
                ratio(reach),
                is_reached.map_or("-", |is| if is { "yes" } else { "no" }).to_owned(),
                ratio(by_relay.zip(flashmq).map(|(ratio, flashmq)| ratio / flashmq)),
                ratio(by_mosquitto.map(|ratio| ratio * there.mosquitto / there.flashmq)),
                number(most / there.flashmq),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let first = results.programs.first().map_or("", Program::name);
    let header = [
        "row".to_owned(),
        format!("{first} : relay"),
        "reach : relay".to_owned(),
        "reached".to_owned(),
        format!("{first} : FlashMQ, by the relay"),
        "by Mosquitto".to_owned(),
        "reach : FlashMQ".to_owned(),
    ];
    format!("## By ratios\n\n{ELSEWHERE}\n\n{}\n", align(&header, &rows))
}

/// What stands above that table.
const ELSEWHERE: &str = "\
The figures to be reached were set beside the relay, FlashMQ 1.26 and Mosquitto 2.0.11 on another
machine, where absolute times differ. `reach : relay` is what was to be reached there as a part of what
the relay took there. FlashMQ is in no registry: what it would take here follows from what it took there
beside the relay, and beside Mosquitto; the truth lies somewhere between the two.";

/// Three significant digits, as many as the runs are worth.
fn number(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.3}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A line for each broker and reason, with the rows that it is about.
fn notes(results: &Results<'_>) -> String {
    let mut notes: Vec<(&str, String, Vec<&str>)> = Vec::new();
    for (program, broker) in results.programs.iter().enumerate() {
        for (nth, case) in results.cases.iter().enumerate() {
            let Some(reason) = results.excuse(nth, program) else { continue };
            match notes.iter_mut().find(|(name, told, _)| *name == broker.name() && *told == reason)
            {
                Some((_, _, rows)) => rows.push(&case.name),
                None => notes.push((broker.name(), reason, vec![&case.name])),
            }
        }
    }
    let lines = notes
        .iter()
        .map(|(name, reason, rows)| format!("- {name}, `{}`: {reason}.\n", rows.join("`, `")));
    lines.collect()
}
