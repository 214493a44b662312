//! A run in plain text: a line for each second, and the summary.

use dunlin_bench::outcome::{Faults, Interval, Latencies, Observer, Outcome};
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

/// Shows on a terminal how a run goes.
pub(super) struct Progress {
    is_shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal() }
    }
}

impl Observer for Progress {
    fn interval(&mut self, interval: &Interval) {
        if !self.is_shown {
            return;
        }
        let secs = interval.length.as_secs_f64();
        let latency = |quantile| interval.latencies.value_at_quantile(quantile) as f64 / 1e3;
        // Nobody has to watch.
        let _ = writeln!(
            io::stderr(),
            "{:7.1} s  {:<12} {:>11.0} msg/s  p50 {:>8.0} µs  p99 {:>8.0} µs",
            interval.end.as_secs_f64(),
            interval.phase,
            interval.delivered as f64 / secs,
            latency(0.5),
            latency(0.99),
        );
    }
}

/// What a run has come to.
pub(super) fn summary(outcome: &Outcome) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<22} {value}");
    };
    line("scenario", outcome.scenario.to_owned());
    for (name, value) in &outcome.parameters {
        line(name, value.clone());
    }
    line("measured", format!("{:.3} s", outcome.elapsed.as_secs_f64()));
    if outcome.owed > 0 {
        line("published", outcome.published.to_string());
        line("delivered", format!("{} of {}", outcome.delivered, outcome.owed));
        line("rate", format!("{:.0} msg/s", outcome.rate()));
    }
    for (name, latencies) in [
        ("latency", &outcome.latencies),
        ("acknowledged after", &outcome.acknowledged_after),
        ("connected after", &outcome.connected_after),
    ] {
        if !latencies.is_empty() {
            line(name, quantiles(latencies));
        }
    }
    let per_message =
        |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / (outcome.delivered.max(1)) as f64;
    if outcome.delivered > 0 {
        line("CPU of the load", format!("{:.3} µs per delivery", per_message(outcome.load_cpu)));
    }
    if let Some(broker) = outcome.broker {
        if outcome.delivered > 0 {
            line("CPU of the broker", format!("{:.3} µs per delivery", per_message(broker.cpu)));
        } else {
            line("CPU of the broker", format!("{:.3} s", broker.cpu.as_secs_f64()));
        }
        line("memory of the broker", format!("{} KiB", broker.resident / 1024));
    }
    for (name, value) in &outcome.figures {
        line(name, format!("{value:.3}"));
    }
    for (qos, (faults, allowed)) in outcome.faults.iter().zip(&outcome.allowed).enumerate() {
        if faults.sum() > 0 {
            line(&format!("FAULTS at QoS {qos}"), list(faults));
        }
        if allowed.sum() > 0 {
            line(&format!("after cuts, at QoS {qos}"), list(allowed));
        }
    }
    for complaint in &outcome.complaints {
        line("TROUBLE", complaint.clone());
    }
    if outcome.faults() == 0 && outcome.complaints.is_empty() {
        line("faults", "none".to_owned());
    }
    text
}

fn quantiles(latencies: &Latencies) -> String {
    let quantile = |quantile| latencies.value_at_quantile(quantile) as f64 / 1e3;
    format!(
        "p50 {:.0}, p99 {:.0}, p99.9 {:.0}, p99.99 {:.0}, max {:.0} µs",
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(0.9999),
        latencies.max() as f64 / 1e3
    )
}

fn list(faults: &Faults) -> String {
    let parts = [
        (faults.lost, "lost"),
        (faults.doubled, "doubled"),
        (faults.out_of_order, "out of order"),
        (faults.corrupted, "corrupted"),
        (faults.refused, "refused"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}
