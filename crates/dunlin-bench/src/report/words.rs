//! What a run's figures mean, in the words that the summary and the page share.

use std::borrow::Cow;
use std::time::Duration;

use super::units;
use crate::outcome::{Faults, Outcome};

/// Share of its one core from which on the load may have been what held the rates.
const LOAD_AT_ITS_LIMIT: f64 = 0.9;

/// Messages per second from which on a paced load waits awake from one to the next.
const RATE_WITHOUT_SLEEP: f64 = 1_000.0;
/// Share of its core that such a load has if nobody else wants it.
const LOAD_UNDISTURBED: f64 = 0.8;

/// What can go wrong, with its name, in the order of the fields.
pub(super) const fn kinds(faults: &Faults) -> [(&'static str, u64); 6] {
    [
        ("lost", faults.lost),
        ("doubled", faults.doubled),
        ("out of order", faults.out_of_order),
        ("corrupted", faults.corrupted),
        ("not asked for", faults.stray),
        ("refused", faults.refused),
    ]
}

/// One line for each QoS that has faults: `QoS 1: 12 lost, 3 doubled`; then what else was wrong.
pub(super) fn fault_lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = by_qos(&outcome.faults);
    lines.extend(outcome.complaints.iter().map(|line| printable(line).into_owned()));
    lines
}

fn by_qos(faults: &[Faults; 3]) -> Vec<String> {
    let faulty = faults.iter().enumerate().filter(|(_, faults)| faults.sum() > 0);
    let line = |(qos, faults)| {
        let present = kinds(faults).into_iter().filter(|&(_, messages)| messages > 0);
        let parts: Vec<_> =
            present.map(|(kind, messages)| format!("{} {kind}", units::count(messages))).collect();
        format!("QoS {qos}: {}", parts.join(", "))
    };
    faulty.map(line).collect()
}

/// The sentence for a run without faults.
pub(super) fn faultless(outcome: &Outcome) -> &'static str {
    if outcome.owed.max(outcome.delivered) == 0 {
        "no message was due to anyone"
    } else if outcome.allowed.iter().any(|allowed| allowed.sum() > 0) {
        "nothing lost or doubled but what lost connections allow, in order"
    } else {
        "nothing lost, nothing doubled, in order"
    }
}

/// What a reader has to know to judge the figures.
pub(super) fn notes(outcome: &Outcome) -> Vec<String> {
    let mut notes = Vec::new();
    for line in by_qos(&outcome.allowed) {
        notes.push(format!(
            "No fault, as a connection had been lost or a subscription given up: {line}"
        ));
    }
    if outcome.faults[0].lost > 0 {
        notes.push(
            "At QoS 0 a broker may drop messages, for instance when a reader is slow.".to_owned(),
        );
    }
    let is_paced = outcome.parameters.iter().any(|(name, _)| *name == "rate");
    let load = share(outcome.load_cpu, outcome.elapsed).unwrap_or(0.0);
    let rate = per_second(outcome.published, outcome.elapsed).unwrap_or(0.0);
    if is_paced && rate >= RATE_WITHOUT_SLEEP && load < LOAD_UNDISTURBED {
        notes.push(format!(
            "The load got only {} of a core, although at this rate it never sleeps: other programs \
             were busy, and part of the latency is theirs.",
            units::share(load)
        ));
    } else if is_paced {
        notes.push(
            "A paced load never sleeps, so that each message goes at its moment: what CPU it used \
             says nothing."
                .to_owned(),
        );
    } else if load >= LOAD_AT_ITS_LIMIT {
        notes.push(format!(
            "The load itself used {} of its one core: the broker may be able to do more than this.",
            units::share(load)
        ));
    }
    notes
}

/// How much of one core `cpu` is in a time; `None` in no time.
pub(super) fn share(cpu: Duration, length: Duration) -> Option<f64> {
    (!length.is_zero()).then(|| cpu.as_secs_f64() / length.as_secs_f64())
}

/// So many in a time, as a rate per second; `None` in no time.
pub(super) fn per_second(messages: u64, length: Duration) -> Option<f64> {
    (!length.is_zero()).then(|| messages as f64 / length.as_secs_f64())
}

/// CPU seconds for each message; `None` without messages.
pub(super) fn per_message(cpu: Duration, messages: u64) -> Option<f64> {
    (messages > 0).then(|| cpu.as_secs_f64() / messages as f64)
}

/// `text` without control characters, which could move a terminal's cursor or break a page.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => text.replace(char::is_control, "\u{FFFD}").into(),
        false => text.into(),
    }
}
