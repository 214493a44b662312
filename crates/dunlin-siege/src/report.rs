//! The figures: a table for the terminal, another for the documentation, and JSON.

use std::fmt::Write as _;
use std::time::Duration;

use dunlin_bench::outcome::{Latencies, Percentiles, latencies};
use serde_json::{Value, json};

use crate::pair::{Pair, RATE};
use crate::run::Record;
use crate::scene::storm::Handshakes;
use crate::verdict::mib;

/// Everything that was played.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) records: Vec<Record>,
    pub(crate) handshakes: Vec<Handshakes>,
}

impl Report {
    /// Whether no rule was broken.
    pub(crate) fn is_clean(&self) -> bool {
        self.records.iter().all(|record| record.broken.is_empty())
    }

    /// The pair alone, all times together.
    fn baseline(&self) -> Option<Latencies> {
        let mut all = latencies();
        for pair in self.records.iter().filter_map(|record| record.baseline.as_ref()) {
            // They have the same bounds.
            let _ = all.add(&pair.latencies);
        }
        (!all.is_empty()).then_some(all)
    }

    /// The tables for the documentation.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line("| scene | opened | served | refused | closed | memory MiB: before, peak, after (growth at most) | pair p50, p99, p99.9 ms | alone | broker's CPU | verdict |".to_owned());
        line("|---|--:|--:|--:|--:|--:|--:|--:|--:|---|".to_owned());
        for record in &self.records {
            let (tally, memory) = (&record.tally, &record.memory);
            line(format!(
                "| {} | {} | {} | {} | {} | {:.0}, {:.0}, {:.0} ({}) | {} | {} | {:.0} % | {} |",
                record.scene.name,
                grouped(tally.opened),
                grouped(tally.served),
                grouped(tally.refused),
                grouped(tally.closed),
                mib(memory.before),
                mib(memory.peak),
                mib(memory.after),
                record.scene.growth_max,
                record.pair.as_ref().map_or_else(|_| "–".to_owned(), latency),
                record.baseline.as_ref().map_or_else(|| "–".to_owned(), latency),
                record.load * 100.0,
                verdict(record),
            ));
        }
        if let Some(baseline) = self.baseline() {
            let all = Percentiles::of(&baseline);
            line(format!(
                "\nThe pair alone, {} messages: {}.",
                grouped(all.count),
                milliseconds(&all)
            ));
        }
        line(
            "\n| scene | further figures | counters that moved (`$SYS/broker/`) |\n|---|---|---|"
                .to_owned(),
        );
        for record in &self.records {
            let (notes, counters) = (notes(record), counters(record));
            line(format!("| {} | {notes} | {counters} |", record.scene.name));
        }
        if !self.handshakes.is_empty() {
            line("\n| 10,000 TLS clients, 100 at a time | handshake | broker's CPU µs for each | all after s | resumed |\n|---|---|--:|--:|--:|".to_owned());
        }
        for row in &self.handshakes {
            line(format!(
                "| {} | {} | {:.0} | {:.2} | {} |",
                row.broker,
                row.kind,
                row.cpu_each.as_secs_f64() * 1e6,
                row.elapsed.as_secs_f64(),
                grouped(row.resumed as u64),
            ));
        }
        text
    }

    /// All figures for other programs.
    pub(crate) fn json(&self) -> String {
        let scenes: Vec<Value> = self.records.iter().map(scene_json).collect();
        let handshakes: Vec<Value> = self
            .handshakes
            .iter()
            .map(|row| {
                json!({
                    "broker": row.broker,
                    "handshake": row.kind,
                    "clients": row.clients,
                    "resumed": row.resumed,
                    "seconds": row.elapsed.as_secs_f64(),
                    "broker_cpu_micros_each": row.cpu_each.as_secs_f64() * 1e6,
                })
            })
            .collect();
        let alone = self.baseline().map(|latencies| percentiles_json(&Percentiles::of(&latencies)));
        let value = json!({
            "pair_messages_per_second": RATE,
            "pair_alone": alone,
            "scenes": scenes,
            "handshakes": handshakes,
        });
        format!("{value:#}\n")
    }
}

/// What is told of a scene when it is over.
pub(crate) fn text(record: &Record) -> String {
    let (tally, memory) = (&record.tally, &record.memory);
    let mut text = String::new();
    let mut line = |name: &str, rest: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<10} {rest}");
    };
    line(
        "hostile",
        &format!(
            "{} connections, {} served, {} refused, {} closed, {} unreachable, {} there at the end",
            grouped(tally.opened),
            grouped(tally.served),
            grouped(tally.refused),
            grouped(tally.closed),
            grouped(tally.unreachable),
            grouped(tally.held)
        ),
    );
    line(
        "memory",
        &format!(
            "{:.1} MiB, at most {:.1}, then {:.1}; it may grow by {} ({})",
            mib(memory.before),
            mib(memory.peak),
            mib(memory.after),
            record.scene.growth_max,
            record.scene.growth_reason
        ),
    );
    match &record.pair {
        Ok(pair) => {
            line(
                "pair",
                &format!(
                    "{} of {} came; p50, p99, p99.9: {}",
                    grouped(pair.delivered),
                    grouped(pair.published),
                    latency(pair)
                ),
            );
        }
        Err(error) => line("pair", error),
    }
    if let Some(alone) = &record.baseline {
        line("alone", &latency(alone));
    }
    let load = |load: f64| format!("{:.0} % of a core", load * 100.0);
    let before = record.load_before.map(|before| format!(", before {}", load(before)));
    line("CPU", &format!("{}{}", load(record.load), before.unwrap_or_default()));
    line("counters", &counters(record));
    line("besides", &notes(record));
    line("verdict", &verdict(record));
    text
}

fn verdict(record: &Record) -> String {
    match record.broken.is_empty() {
        true => "held".to_owned(),
        false => format!("BROKEN: {}", record.broken.join("; ")),
    }
}

fn counters(record: &Record) -> String {
    let each = record.counters.iter().map(|(name, value)| format!("`{name}` {}", grouped(*value)));
    joined(&each.collect::<Vec<_>>())
}

fn notes(record: &Record) -> String {
    let figure = |value: f64| match value.fract() == 0.0 && value < 1e15 {
        true => grouped(value as u64),
        false => format!("{value:.1}"),
    };
    let each = record.tally.notes.iter().map(|(what, value)| format!("{what}: {}", figure(*value)));
    joined(&each.collect::<Vec<_>>())
}

fn joined(parts: &[String]) -> String {
    if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
}

fn latency(pair: &Pair) -> String {
    milliseconds(&pair.percentiles())
}

fn milliseconds(percentiles: &Percentiles) -> String {
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1e3);
    [percentiles.p50, percentiles.p99, percentiles.p999].map(ms).join(", ")
}

fn scene_json(record: &Record) -> Value {
    let (tally, memory) = (&record.tally, &record.memory);
    let pair_json = |pair: &Pair| {
        json!({
            "published": pair.published,
            "delivered": pair.delivered,
            "latency": percentiles_json(&pair.percentiles()),
            "wrong": pair.wrong,
        })
    };
    json!({
        "scene": record.scene.name,
        "what": record.scene.what,
        "settings": record.scene.settings,
        "seconds": record.time.as_secs_f64(),
        "hostile": {
            "opened": tally.opened,
            "served": tally.served,
            "refused": tally.refused,
            "closed": tally.closed,
            "unreachable": tally.unreachable,
            "held": tally.held,
        },
        "figures": tally.notes,
        "memory_bytes": {
            "before": memory.before,
            "peak": memory.peak,
            "after": memory.after,
            "growth_max": record.scene.growth_max << 20,
            "kept_max": record.scene.kept_max << 20,
        },
        "alone": record.baseline.as_ref().map(pair_json),
        "pair": record.pair.as_ref().ok().map(pair_json),
        "pair_error": record.pair.as_ref().err(),
        "broker_cores_alone": record.load_before,
        "broker_cores": record.load,
        "counters": record.counters,
        "is_alive": record.is_alive,
        "broken": record.broken,
    })
}

fn percentiles_json(percentiles: &Percentiles) -> Value {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "count": percentiles.count,
        "p50_ms": ms(percentiles.p50),
        "p99_ms": ms(percentiles.p99),
        "p999_ms": ms(percentiles.p999),
        "max_ms": ms(percentiles.max),
    })
}

/// A number with a comma before each three digits.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 65_535].map(grouped), ["0", "999", "1,000", "65,535"]);
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
