//! A run for programs: a documented shape that keeps its version.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::words;
use crate::outcome::{BrokerUse, Faults, Interval, Latencies, Mark, Outcome, Percentiles};

/// Version of the shape that [`to_json`] writes.
///
/// It rises when a field changes its meaning, its unit or its name, or goes away. Readers ignore
/// fields that they do not know: new ones may come without a new version.
pub const FORMAT: u32 = 1;

/// A run as JSON, indented, with a line end after the last line.
///
/// Each field names its unit: `_us` is microseconds, `_secs` seconds, `_bytes` bytes; what has no
/// unit counts messages or connections. What is not known, or was measured on no message, is `null`.
/// Percentiles come from a histogram of three significant figures. `cpu` belongs to the measured
/// part, `faults`, `allowed` and `complaints` to the whole run: `allowed` is what the standard allows
/// once a connection has been cut, `complaints` are sentences, and `is_clean` says that nothing was
/// seen that the standard forbids. Times of `timeline` and `marks` count from the beginning of the
/// run.
///
/// ```json
/// {
///   "format": 1,
///   "scenario": "fan-in",
///   "started_unix_secs": 1798761599.25,
///   "parameters": [{ "name": "publishers", "value": "50" }],
///   "elapsed_secs": 30.0,
///   "published": 3712000,
///   "owed": 3712000,
///   "delivered": 3712000,
///   "published_per_sec": 123733.3,
///   "delivered_per_sec": 123733.3,
///   "faults": {
///     "qos0": { "lost": 0, "doubled": 0, "out_of_order": 0, "corrupted": 0, "stray": 0,
///               "refused": 0 },
///     "qos1": { "lost": 0, "doubled": 0, "out_of_order": 0, "corrupted": 0, "stray": 0,
///               "refused": 0 },
///     "qos2": { "lost": 0, "doubled": 0, "out_of_order": 0, "corrupted": 0, "stray": 0,
///               "refused": 0 },
///     "sum": 0
///   },
///   "allowed": {
///     "qos0": { "lost": 0, "doubled": 0, "out_of_order": 0, "corrupted": 0, "stray": 0,
///               "refused": 0 },
///     "qos1": { "lost": 0, "doubled": 12, "out_of_order": 0, "corrupted": 0, "stray": 0,
///               "refused": 0 },
///     "qos2": { "lost": 0, "doubled": 0, "out_of_order": 0, "corrupted": 0, "stray": 0,
///               "refused": 0 },
///     "sum": 12
///   },
///   "complaints": [],
///   "is_clean": true,
///   "delivery_us": {
///     "count": 3712000, "p50": 212.0, "p90": 401.4, "p99": 1205.2, "p99_9": 2310.1,
///     "p99_99": 4001.8, "max": 5210.1
///   },
///   "delivery_curve": [{ "quantile": 0.0, "us": 61.2 }, { "quantile": 0.5, "us": 212.0 }],
///   "acknowledgement_us": null,
///   "connect_us": null,
///   "cpu": {
///     "broker_secs": 12.5, "broker_us_per_delivery": 3.37,
///     "load_secs": 9.8, "load_us_per_delivery": 2.64
///   },
///   "broker_resident_bytes": 14880768,
///   "figures": { "bytes per connection": 312.0 },
///   "timeline": [{
///     "end_secs": 1.0, "length_secs": 1.0, "phase": "measuring",
///     "published": 123700, "delivered": 123650, "connected": 0, "disconnected": 0, "faults": 0,
///     "delivery_us": {
///       "count": 123650, "p50": 210.9, "p90": 399.4, "p99": 1190.9, "p99_9": 2200.6,
///       "p99_99": 3100.7, "max": 3300.4
///     },
///     "load_cpu_secs": 0.33,
///     "broker": { "cpu_secs": 0.41, "resident_bytes": 14880768 }
///   }],
///   "marks": [{ "at_secs": 12.0, "what": "cut 10 % of the connections" }]
/// }
/// ```
pub fn to_json(outcome: &Outcome) -> String {
    let document = Document::of(outcome);
    let mut text = serde_json::to_string_pretty(&document).expect("all keys are strings");
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    scenario: &'a str,
    started_unix_secs: f64,
    parameters: Vec<Parameter<'a>>,
    elapsed_secs: f64,
    published: u64,
    owed: u64,
    delivered: u64,
    published_per_sec: Option<f64>,
    delivered_per_sec: Option<f64>,
    faults: FaultsByQoS,
    allowed: FaultsByQoS,
    complaints: &'a [String],
    is_clean: bool,
    delivery_us: Option<Micros>,
    delivery_curve: Vec<Point>,
    acknowledgement_us: Option<Micros>,
    connect_us: Option<Micros>,
    cpu: Cpu,
    broker_resident_bytes: Option<u64>,
    figures: &'a BTreeMap<&'static str, f64>,
    timeline: Vec<Part<'a>>,
    marks: Vec<Moment<'a>>,
}

#[derive(Serialize)]
struct Parameter<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct FaultsByQoS {
    qos0: Faults,
    qos1: Faults,
    qos2: Faults,
    sum: u64,
}

#[derive(Serialize)]
struct Micros {
    count: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    p99_99: f64,
    max: f64,
}

#[derive(Serialize)]
struct Point {
    quantile: f64,
    us: f64,
}

#[derive(Serialize)]
struct Cpu {
    broker_secs: Option<f64>,
    broker_us_per_delivery: Option<f64>,
    load_secs: f64,
    load_us_per_delivery: Option<f64>,
}

#[derive(Serialize)]
struct Part<'a> {
    end_secs: f64,
    length_secs: f64,
    phase: &'a str,
    published: u64,
    delivered: u64,
    connected: u64,
    disconnected: u64,
    faults: u64,
    delivery_us: Option<Micros>,
    load_cpu_secs: f64,
    broker: Option<BrokerUse>,
}

#[derive(Serialize)]
struct Moment<'a> {
    at_secs: f64,
    what: &'a str,
}

impl<'a> Document<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        let parameters = outcome.parameters.iter();
        let started = outcome.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let broker = outcome.broker.map(|used| used.cpu);
        let each = |cpu| words::per_message(cpu, outcome.delivered).map(|seconds| seconds * 1e6);
        Self {
            format: FORMAT,
            scenario: outcome.scenario,
            started_unix_secs: started.as_secs_f64(),
            parameters: parameters.map(|(name, value)| Parameter { name, value }).collect(),
            elapsed_secs: outcome.elapsed.as_secs_f64(),
            published: outcome.published,
            owed: outcome.owed,
            delivered: outcome.delivered,
            published_per_sec: words::per_second(outcome.published, outcome.elapsed),
            delivered_per_sec: words::per_second(outcome.delivered, outcome.elapsed),
            faults: FaultsByQoS::of(outcome.faults),
            allowed: FaultsByQoS::of(outcome.allowed),
            complaints: &outcome.complaints,
            is_clean: outcome.is_clean(),
            delivery_us: Micros::of(&Percentiles::of(&outcome.latencies)),
            delivery_curve: curve(&outcome.latencies),
            acknowledgement_us: Micros::of(&Percentiles::of(&outcome.acknowledged_after)),
            connect_us: Micros::of(&Percentiles::of(&outcome.connected_after)),
            cpu: Cpu {
                broker_secs: broker.map(|cpu| cpu.as_secs_f64()),
                broker_us_per_delivery: broker.and_then(each),
                load_secs: outcome.load_cpu.as_secs_f64(),
                load_us_per_delivery: each(outcome.load_cpu),
            },
            broker_resident_bytes: outcome.broker.map(|used| used.resident),
            figures: &outcome.figures,
            timeline: outcome.timeline.iter().map(Part::of).collect(),
            marks: outcome.marks.iter().map(Moment::of).collect(),
        }
    }
}

impl FaultsByQoS {
    fn of(faults: [Faults; 3]) -> Self {
        let [qos0, qos1, qos2] = faults;
        Self { qos0, qos1, qos2, sum: faults.iter().map(Faults::sum).sum() }
    }
}

impl Micros {
    fn of(at: &Percentiles) -> Option<Self> {
        (at.count > 0).then(|| Self {
            count: at.count,
            p50: micros(at.p50),
            p90: micros(at.p90),
            p99: micros(at.p99),
            p99_9: micros(at.p999),
            p99_99: micros(at.p9999),
            max: micros(at.max),
        })
    }
}

impl<'a> Part<'a> {
    fn of(interval: &'a Interval) -> Self {
        Self {
            end_secs: interval.end.as_secs_f64(),
            length_secs: interval.length.as_secs_f64(),
            phase: interval.phase,
            published: interval.published,
            delivered: interval.delivered,
            connected: interval.connected,
            disconnected: interval.disconnected,
            faults: interval.faults,
            delivery_us: Micros::of(&interval.latencies),
            load_cpu_secs: interval.load_cpu.as_secs_f64(),
            broker: interval.broker,
        }
    }
}

impl<'a> Moment<'a> {
    fn of(mark: &'a Mark) -> Self {
        Self { at_secs: mark.at.as_secs_f64(), what: &mark.what }
    }
}

/// The distribution, finer and finer towards its slow end.
fn curve(latencies: &Latencies) -> Vec<Point> {
    let steps = latencies.iter_quantiles(10).map(|step| Point {
        quantile: step.quantile_iterated_to(),
        us: step.value_iterated_to() as f64 / 1e3,
    });
    steps.collect()
}

fn micros(value: Duration) -> f64 {
    value.as_nanos() as f64 / 1e3
}

#[cfg(test)]
mod tests;
