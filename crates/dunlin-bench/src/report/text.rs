//! The summary at the end of a run: one table for a terminal or a file.

use std::fmt::{self, Write as _};

use super::style::{BOLD, FAINT, GREEN, RED, Style, YELLOW};
use super::{units, words};
use crate::outcome::{Latencies, Outcome, Percentiles};

/// Width of the column of names, at least.
const NAMES: usize = 16;

/// The summary of a run, with a line end after the last line.
pub fn to_text(outcome: &Outcome, style: Style) -> String {
    let mut out = String::new();
    Summary { outcome, style }.write(&mut out).expect("a string takes all");
    out
}

struct Summary<'a> {
    outcome: &'a Outcome,
    style: Style,
}

impl Summary<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let title = words::printable(self.outcome.scenario);
        let began = units::date(self.outcome.started);
        writeln!(out, "{}  {}", self.style.paint(BOLD, &title), self.style.paint(FAINT, &began))?;
        for (name, value) in &self.outcome.parameters {
            self.line(out, name, &words::printable(value))?;
        }
        writeln!(out)?;
        self.messages(out)?;
        self.latencies(out)?;
        self.cost(out)?;
        self.figures(out)?;
        self.faults(out)
    }

    /// A name and what belongs to it.
    fn line(&self, out: &mut String, name: &str, value: &str) -> fmt::Result {
        // Padded before it is painted: control sequences have no width.
        let name = format!("{:NAMES$}", words::printable(name));
        writeln!(out, "  {}  {value}", self.style.paint(FAINT, &name))
    }

    fn messages(&self, out: &mut String) -> fmt::Result {
        let outcome = self.outcome;
        let line = |messages| match words::per_second(messages, outcome.elapsed) {
            Some(rate) => format!("{:>14}  {:>14}", units::count(messages), units::rate(rate)),
            None => format!("{:>14}", units::count(messages)),
        };
        self.line(out, "measured for", &format!("{:>14}", units::span(outcome.elapsed)))?;
        self.line(out, "published", &line(outcome.published))?;
        let delivered = line(outcome.delivered);
        let of = match outcome.delivered == outcome.owed {
            true => "all that were due".to_owned(),
            false => format!("of {} that were due", units::count(outcome.owed)),
        };
        self.line(out, "delivered", &format!("{delivered}  {of}"))?;
        writeln!(out)
    }

    fn latencies(&self, out: &mut String) -> fmt::Result {
        let kinds = named_latencies(self.outcome);
        if kinds.is_empty() {
            return Ok(());
        }
        let heads: String = HEADS.iter().map(|head| format!("{head:>10}")).collect();
        self.line(out, "latency", &self.style.paint(FAINT, &heads))?;
        for (name, latencies) in kinds {
            let cells = cells(&Percentiles::of(latencies)).map(|cell| format!("{cell:>10}"));
            self.line(out, name, &cells.concat())?;
        }
        writeln!(out)
    }

    fn cost(&self, out: &mut String) -> fmt::Result {
        let outcome = self.outcome;
        let broker = outcome.broker.map(|used| used.cpu);
        for (name, cpu) in [("broker's CPU", broker), ("load's CPU", Some(outcome.load_cpu))] {
            let Some(cpu) = cpu else { continue };
            let mut parts = Vec::new();
            if let Some(each) = words::per_message(cpu, outcome.delivered) {
                parts.push(format!("{} for each delivered message", units::micros(each)));
            }
            if let Some(share) = words::share(cpu, outcome.elapsed) {
                parts.push(format!("{} of a core", units::share(share)));
            }
            self.line(out, name, &parts.join(", "))?;
        }
        if let Some(used) = outcome.broker {
            self.line(out, "broker's memory", &units::bytes(used.resident))?;
        }
        Ok(())
    }

    fn figures(&self, out: &mut String) -> fmt::Result {
        for (&name, &value) in &self.outcome.figures {
            self.line(out, name, &units::number(value))?;
        }
        writeln!(out)
    }

    fn faults(&self, out: &mut String) -> fmt::Result {
        let lines = words::fault_lines(self.outcome);
        if lines.is_empty() {
            let sentence = words::faultless(self.outcome);
            writeln!(out, "  {}", self.style.paint(GREEN, sentence))?;
        }
        let color = if self.outcome.is_clean() { YELLOW } else { RED };
        for line in lines {
            writeln!(out, "  {}", self.style.paint(color, &line))?;
        }
        for note in words::notes(self.outcome) {
            writeln!(out, "  {note}")?;
        }
        Ok(())
    }
}

/// Heads of the columns that [`cells`] fills.
pub(super) const HEADS: [&str; 6] = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];

/// The latencies as they are shown, one for each of [`HEADS`].
///
/// A percentile that too few messages were measured for would be the slowest of them under another
/// name, and is left out.
pub(super) fn cells(at: &Percentiles) -> [String; 6] {
    let from = |count, value| match at.count >= count {
        true => units::latency(value),
        false => "–".to_owned(),
    };
    [
        from(1, at.p50),
        from(10, at.p90),
        from(100, at.p99),
        from(1_000, at.p999),
        from(10_000, at.p9999),
        from(1, at.max),
    ]
}

/// The kinds of latencies that a run has any of, with their names.
pub(super) fn named_latencies(outcome: &Outcome) -> Vec<(&'static str, &Latencies)> {
    let all = [
        ("delivery", &outcome.latencies),
        ("acknowledgement", &outcome.acknowledged_after),
        ("connect", &outcome.connected_after),
    ];
    all.into_iter().filter(|(_, latencies)| !latencies.is_empty()).collect()
}

#[cfg(test)]
mod tests;
