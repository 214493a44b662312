//! One run of one case on one broker, which is started for it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::cases::Kind;
use crate::backlog::Backlog;
use crate::broker::{Broker, Program, Setup};
use crate::bulk::Bulk;
use crate::idle;
use crate::ledger::WINDOW_MAX;
use crate::load::Load;
use crate::process;
use crate::report::{Figures, Length};
use crate::retained::Retained;
use crate::statistics::Latencies;
use crate::traffic::{Shape, Traffic};

/// How large the runs are, and where the brokers run.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The core that brokers may use; without one, the system decides.
    pub broker_core: Option<usize>,
    /// How long each flow is measured, about.
    pub flow: Duration,
    /// How long messages go at a fixed rate.
    pub latency: Duration,
    /// Messages that are stored or retained; a multiple of 50.
    pub stored: u32,
    /// Clients that connect.
    pub connects: u32,
    /// Connections that do nothing.
    pub idle: u32,
}

impl Scale {
    /// The one for figures that are told to others.
    pub const FULL: Self = Self {
        broker_core: None,
        flow: Duration::from_secs(1),
        // At 2,000 messages a second p99.9 rests on the twenty slowest of a round.
        latency: Duration::from_secs(10),
        stored: 50_000,
        connects: 5_000,
        idle: 10_000,
    };

    /// One that shows within minutes whether everything works.
    pub const QUICK: Self = Self {
        broker_core: None,
        flow: Duration::from_millis(200),
        latency: Duration::from_millis(500),
        stored: 5_000,
        connects: 500,
        idle: 1_000,
    };
}

/// What Dunlin's acknowledgements mean where it has a data folder.
const DURABILITY: &str = "memory";

/// Clients that publish what is stored, and messages that each of them may have under way.
const STORING: Bulk = Bulk { publishers: 10, window: 100 };

/// Sessions that are away.
const SESSIONS: u32 = 50;

/// Clients that take all retained messages, one after the other.
const RETAINED_READERS: u32 = 4;

const PAYLOAD_LEN: usize = 64;

/// Starts the broker, puts the load of a case on it, and gives a figure for each of its lines.
pub(super) fn run(kind: Kind, program: &Program, scale: &Scale, data: &Path) -> Result<Vec<f64>> {
    let is_kept =
        matches!(kind, Kind::Offline { is_kept: true } | Kind::Retained { is_kept: true });
    let data = TempDir::with_prefix_in("compare-", data).context("no folder for data")?;
    let (shape, at_once) = match kind {
        Kind::Flow(traffic) => (traffic.shape, traffic.qos == 2),
        Kind::Latency { .. } => (Shape::Pairs, true),
        _ => (Shape::Pairs, false),
    };
    let setup = Setup {
        core: scale.broker_core,
        shape,
        data: is_kept.then_some((data.path(), DURABILITY)),
        at_once,
    };
    let broker = program.start(setup)?;
    let figures = match kind {
        Kind::Flow(traffic) => {
            let figures = Figures::measure(&broker, traffic, Length::Time(scale.flow))?;
            return Ok(vec![figures.broker_micros(), figures.rate()]);
        }
        Kind::Offline { .. } => offline(&broker, scale.stored),
        Kind::Retained { .. } => retained(&broker, scale.stored),
        Kind::Latency { rate, qos } => latency(&broker, rate, qos, scale.latency),
        Kind::Connect => connect(&broker, scale.connects),
        Kind::Idle => idle(&broker, scale.idle),
    };
    figures.with_context(|| format!("the broker's log ends:\n{}", broker.log_tail()))
}

/// Microseconds of broker CPU for delivering each message, and for storing it.
fn offline(broker: &Broker, messages: u32) -> Result<Vec<f64>> {
    let backlog = Backlog {
        sessions: SESSIONS,
        messages_each: messages / SESSIONS,
        payload_len: PAYLOAD_LEN,
        bulk: STORING,
    };
    backlog.subscribe(broker.address()).context("subscribing")?;
    let before = process::cpu_time(broker.pid())?;
    backlog.publish(broker.address()).context("storing")?;
    let between = process::cpu_time(broker.pid())?;
    backlog.resume(broker.address()).context("delivering")?;
    let after = process::cpu_time(broker.pid())?;
    let messages = backlog.messages() as f64;
    Ok(vec![micros(after - between) / messages, micros(between - before) / messages])
}

/// Microseconds of broker CPU for delivering each message, and for setting it.
fn retained(broker: &Broker, messages: u32) -> Result<Vec<f64>> {
    let retained = Retained { messages, payload_len: PAYLOAD_LEN, bulk: STORING };
    let before = process::cpu_time(broker.pid())?;
    retained.set(broker.address()).context("setting")?;
    let between = process::cpu_time(broker.pid())?;
    for _ in 0..RETAINED_READERS {
        retained.deliver(broker.address()).context("delivering")?;
    }
    let after = process::cpu_time(broker.pid())?;
    let messages = f64::from(messages);
    let delivered = messages * f64::from(RETAINED_READERS);
    Ok(vec![micros(after - between) / delivered, micros(between - before) / messages])
}

/// Microseconds at p50, p99 and p99.9.
fn latency(broker: &Broker, rate: u32, qos: u8, length: Duration) -> Result<Vec<f64>> {
    let traffic = Traffic { clients: 1, qos, window: WINDOW_MAX, ..Traffic::new(Shape::Pairs) };
    let mut load = Load::connect(broker.address(), traffic)?;
    let messages = (f64::from(rate) * length.as_secs_f64()) as u32;
    load.run_paced(rate, (messages / 5).max(1)).context("warming up")?;
    let latencies: Latencies = load.run_paced(rate, messages)?;
    load.finish()?;
    Ok([500, 990, 999].map(|permille| micros(latencies.permille(permille))).into())
}

fn connect(broker: &Broker, count: u32) -> Result<Vec<f64>> {
    let cost = idle::measure_connect(broker.address(), broker.pid(), count, 1)?;
    Ok(vec![micros(cost.broker_cpu)])
}

fn idle(broker: &Broker, count: u32) -> Result<Vec<f64>> {
    let cost = idle::measure_idle(broker.address(), broker.pid(), count)?;
    Ok(vec![cost.rollup_rss])
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
