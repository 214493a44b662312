//! The quiet pair: a publisher and a subscriber that do nothing wrong, and what they notice of others.

use std::net::SocketAddr;
use std::time::Duration;

use dunlin_bench::BenchError;
use dunlin_bench::outcome::{Latencies, Outcome, Percentiles};
use dunlin_bench::plan::{Length, Plan, Quality, Scenario, Version};

/// Messages a second. Each has its appointed time, from which its latency counts.
pub(crate) const RATE: f64 = 400.0;

/// How long it runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(300);

/// How long the broker may be silent before what is missing is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages that the publisher may have under way: two seconds of them, so that it never waits.
const WINDOW: u32 = 800;

/// What the pair has seen.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) latencies: Latencies,
    /// What went wrong, a sentence each.
    pub(crate) wrong: Vec<String>,
}

impl Pair {
    pub(crate) fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.latencies)
    }

    fn of(outcome: Outcome) -> Self {
        let mut wrong = outcome.complaints;
        for (qos, faults) in outcome.faults.iter().enumerate() {
            if faults.sum() > 0 {
                wrong.push(format!("at QoS {qos}: {faults:?}"));
            }
        }
        if outcome.delivered < outcome.owed {
            wrong.push(format!("{} of {} messages came", outcome.delivered, outcome.owed));
        }
        Self {
            published: outcome.published,
            delivered: outcome.delivered,
            latencies: outcome.latencies,
            wrong,
        }
    }
}

/// Lets the pair talk at QoS 1 for some time; `run` tells one time from another.
///
/// # Errors
/// When the broker does not let it begin.
pub(crate) fn run(address: SocketAddr, time: Duration, run: u32) -> Result<Pair, BenchError> {
    let plan = Plan {
        version: Version::V5,
        prefix: "quiet".to_owned(),
        run,
        publishers: 1,
        subscribers: 1,
        quality: Quality::All(1),
        window: WINDOW,
        rate: Some(RATE),
        length: Length::Time(time),
        warm_up: WARM_UP,
        patience: PATIENCE,
        ..Plan::new(Scenario::Pairs, address)
    };
    dunlin_bench::run(&plan, &mut ()).map(Pair::of)
}
