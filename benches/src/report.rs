//! Figures of runs, and the table that sets brokers side by side.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::broker::Broker;
use crate::load::Load;
use crate::process;
use crate::statistics::median;
use crate::traffic::Traffic;

/// What one run cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Deliveries to all subscribers together.
    pub delivered: u64,
    /// Wall time from the first publish to the last delivery and acknowledgement.
    pub elapsed: Duration,
    /// User and system time of the broker.
    pub broker_cpu: Duration,
    /// User and system time of this process.
    pub load_cpu: Duration,
}

/// How long a measured run shall be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// About so many deliveries in sum.
    Deliveries(u64),
    /// About so long, by the speed of the warm-up.
    Time(Duration),
}

/// Deliveries of the first warm-up at least; each Topic Name has its turn in it.
const WARM_UP: u64 = 2_000;

/// Deliveries of the second, by which the speed is judged, at most; fewer where the first was slow.
const JUDGED: u64 = 20_000;
const JUDGED_FOR: Duration = Duration::from_millis(500);

impl Figures {
    /// Runs `traffic` through a broker: a warm-up, the measured run, and the proof that no message
    /// was lost or doubled.
    ///
    /// # Errors
    /// When the run must not be believed; with the end of the broker's log.
    pub fn measure(broker: &Broker, traffic: Traffic, length: Length) -> Result<Self> {
        Self::measure_unexplained(broker, traffic, length)
            .with_context(|| format!("the broker's log ends:\n{}", broker.log_tail()))
    }

    fn measure_unexplained(broker: &Broker, traffic: Traffic, length: Length) -> Result<Self> {
        let mut load = Load::connect(broker.address(), traffic)?;
        let per_second =
            |delivered: u64, clock: Instant| delivered as f64 / clock.elapsed().as_secs_f64();
        // In steps, since a broker may be slow with a Topic Name that it sees for the first time.
        let step = traffic.messages_each(WARM_UP);
        let steps = if traffic.is_fresh { 1 } else { traffic.topics.div_ceil(step) };
        let mut warm_up = 0.0;
        for _ in 0..steps {
            let clock = Instant::now();
            warm_up = per_second(load.run(step)?, clock);
        }
        let judged = warm_up * JUDGED_FOR.as_secs_f64();
        let clock = Instant::now();
        let judged = load.run(traffic.messages_each(JUDGED.min(judged as u64)))?;
        let rate = per_second(judged, clock);
        let deliveries = match length {
            Length::Deliveries(deliveries) => deliveries,
            Length::Time(time) => (rate * time.as_secs_f64()) as u64,
        };
        let own = std::process::id();
        let (broker_before, load_before) =
            (process::cpu_time(broker.pid())?, process::cpu_time(own)?);
        let clock = Instant::now();
        let delivered = load.run(traffic.messages_each(deliveries))?;
        let elapsed = clock.elapsed();
        let figures = Self {
            delivered,
            elapsed,
            broker_cpu: process::cpu_time(broker.pid())?.saturating_sub(broker_before),
            load_cpu: process::cpu_time(own)?.saturating_sub(load_before),
        };
        load.finish()?;
        Ok(figures)
    }

    /// Microseconds of broker CPU per delivered message.
    pub fn broker_micros(&self) -> f64 {
        self.broker_cpu.as_secs_f64() * 1e6 / self.delivered as f64
    }

    /// Microseconds of load CPU per delivered message.
    pub fn load_micros(&self) -> f64 {
        self.load_cpu.as_secs_f64() * 1e6 / self.delivered as f64
    }

    /// Deliveries per second.
    pub fn rate(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64()
    }
}

/// The rounds of one scenario: for each broker the figures of each round.
#[derive(Debug)]
pub struct Scenario {
    /// What flowed.
    pub traffic: Traffic,
    /// By broker, in the order of the table's columns.
    pub rounds: Vec<Vec<Figures>>,
}

impl Scenario {
    fn medians(&self, figure: fn(&Figures) -> f64) -> impl Iterator<Item = f64> + '_ {
        self.rounds.iter().map(move |rounds| {
            median(&rounds.iter().map(figure).collect::<Vec<_>>()).unwrap_or(f64::NAN)
        })
    }

    /// Each further broker's cost as a part of the first's: the median of the rounds' ratios, since
    /// what disturbs a machine for a minute disturbs all runs of a round.
    fn ratios(&self) -> impl Iterator<Item = f64> + '_ {
        let (first, others) = self.rounds.split_first().unwrap_or((const { &Vec::new() }, &[]));
        others.iter().map(move |rounds| {
            let pairs = rounds.iter().zip(first);
            let ratios = pairs.map(|(own, first)| own.broker_micros() / first.broker_micros());
            median(&ratios.collect::<Vec<_>>()).unwrap_or(f64::NAN)
        })
    }
}

/// Renders the medians as an aligned Markdown table, with each broker's ratio to the first; `µs` is
/// CPU time per delivered message.
pub fn render(brokers: &[&str], scenarios: &[Scenario]) -> String {
    let mut header = vec!["scenario".to_owned()];
    for name in brokers {
        header.push(format!("{name} µs"));
    }
    for name in brokers.iter().skip(1) {
        header.push(format!("{name} : {}", brokers[0]));
    }
    for name in brokers {
        header.push(format!("{name} msg/s"));
    }
    for name in brokers {
        header.push(format!("load on {name} µs"));
    }
    let rows = scenarios.iter().map(|scenario| {
        let traffic = &scenario.traffic;
        let (shape, ends, qos) = (traffic.shape, traffic.ends(), traffic.qos);
        let mut row = vec![format!("{shape} {ends}, QoS {qos}, {} B", traffic.payload_len)];
        let costs: Vec<_> = scenario.medians(Figures::broker_micros).collect();
        row.extend(costs.iter().map(|cost| format!("{cost:.3}")));
        row.extend(scenario.ratios().map(|ratio| format!("{ratio:.3}")));
        row.extend(scenario.medians(Figures::rate).map(|rate| format!("{rate:.0}")));
        row.extend(scenario.medians(Figures::load_micros).map(|cost| format!("{cost:.3}")));
        row
    });
    align(&header, &rows.collect::<Vec<_>>())
}

/// A Markdown table, first column left-aligned, the others right-aligned.
pub(crate) fn align(header: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| &row[column]).chain([&header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    for (nth, row) in [header].into_iter().chain(rows.iter().map(Vec::as_slice)).enumerate() {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Writing to a string cannot fail.
            let _ = match column {
                0 => write!(out, "| {cell:<width$} |"),
                _ => write!(out, " {cell:>width$} |"),
            };
        }
        out.push('\n');
        if nth == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width);
                let _ = match column {
                    0 => write!(out, "|-{dashes}-|"),
                    _ => write!(out, "-{dashes}:|"),
                };
            }
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests;
