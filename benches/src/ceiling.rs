//! A broker with a ceiling of memory under producers that are faster than their consumers: does memory
//! stay below, and does everything arrive that was acknowledged?

mod books;
mod consumer;
mod counters;
mod gauge;
mod link;
mod producer;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

pub use books::Faults;
use consumer::{Consumer, Habit};
pub use counters::Counters;
use counters::Watcher;
pub use gauge::Samples;
use producer::Producer;
pub use wire::{Answer, PAYLOAD_MIN};

use crate::dunlin::Running;
use crate::process;

/// How long the broker has nothing to do before its memory at rest is read.
const REST: Duration = Duration::from_secs(3);

/// What the broker may have, and what is done to it.
#[derive(Debug, Clone)]
pub struct Load {
    /// Bytes that the broker may have in memory.
    pub ceiling: u64,
    /// Clients that publish at QoS 1.
    pub producers: u32,
    /// Messages that each may have under way.
    pub window: u16,
    /// Bytes of each payload, at least [`PAYLOAD_MIN`].
    pub payload_len: usize,
    /// Sessions that are owed each message; the first and every other one is away.
    pub consumers: u32,
    /// Messages a second that each of the others takes.
    pub rate: f64,
    /// How long the producers publish.
    pub length: Duration,
    /// A folder below which the broker's data is kept; without one it keeps none.
    pub data: Option<PathBuf>,
    /// Further settings, as for `dunlin broker --set`.
    pub settings: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The most resident bytes that the broker ever had.
    pub peak: u64,
    /// Resident bytes a few seconds after everything was delivered.
    pub at_rest: u64,
    /// What was seen during the load and the delivery.
    pub samples: Samples,
    /// Messages that were acknowledged with success.
    pub acknowledged: u64,
    /// Messages that were refused (0x97).
    pub refused: u64,
    /// What is wrong with the deliveries, of all consumers.
    pub faults: Faults,
    /// How long the delivery of the rest took.
    pub drained_in: Duration,
    /// What the broker says of its limits and of what it has dropped.
    pub counters: Counters,
}

impl Outcome {
    /// What the broker did not keep to, if anything.
    pub fn complaint(&self, ceiling: u64) -> Option<String> {
        let mut complaints = Vec::new();
        if self.peak > ceiling {
            complaints.push("the ceiling was passed".to_owned());
        }
        if self.faults != Faults::default() {
            complaints.push(self.faults.to_string());
        }
        (!complaints.is_empty()).then(|| complaints.join("; "))
    }
}

/// Starts a broker, puts it under load, and takes everything that it owes.
///
/// # Errors
/// When the broker does not start, ends a connection, or is silent although it owes something.
pub fn run(dunlin: &Path, load: &Load) -> Result<Outcome> {
    let folder = TempDir::with_prefix("dunlin-ceiling-")?;
    let data = match &load.data {
        Some(below) => Some(TempDir::with_prefix_in("dunlin-ceiling-data-", below)?),
        None => None,
    };
    let arguments = arguments(load, data.as_ref().map(TempDir::path));
    let broker = Running::start(dunlin, &arguments, 1, folder.path())?;
    let outcome = press(&broker, load);
    outcome.with_context(|| format!("the broker said: {}", broker.said()))
}

fn arguments(load: &Load, data: Option<&Path>) -> Vec<String> {
    let mut arguments = vec!["--listen".to_owned(), "mqtt://127.0.0.1:0".to_owned()];
    // Queues without an end: it is memory that is to be short, not they.
    let fixed = [
        format!("memory.max={}", load.ceiling),
        "limits.queue_len_max=1000000000".to_owned(),
        "limits.queue_bytes_max=1024GiB".to_owned(),
        "limits.sys_interval_secs=1".to_owned(),
    ];
    for setting in fixed.iter().chain(&load.settings) {
        arguments.extend(["--set".to_owned(), setting.clone()]);
    }
    if let Some(data) = data {
        arguments.extend(["--data".to_owned(), data.display().to_string()]);
    }
    arguments
}

fn press(broker: &Running, load: &Load) -> Result<Outcome> {
    let address = *broker.addresses().first().context("no address")?;
    let watcher = Watcher::connect(address)?;
    let slow = Habit::Slow(Duration::from_secs_f64(1.0 / load.rate));
    let consumers = (0..load.consumers).map(|number| {
        let habit = if number % 2 == 0 { Habit::Away } else { slow };
        Consumer::subscribe(address, number, habit, load.producers)
    });
    let consumers = consumers.collect::<Result<Vec<_>>>()?;
    let producers = (0..load.producers)
        .map(|number| Producer::connect(address, number, load.window, load.payload_len));
    let producers = producers.collect::<Result<Vec<_>>>()?;

    let (is_ending, is_drained, is_over) =
        (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let (is_ending, is_drained, is_over) = (&is_ending, &is_drained, &is_over);
        // Whatever fails, nobody waits for what no longer comes.
        let _end = EndAll([is_ending, is_drained, is_over]);
        let gauge = scope.spawn(move || gauge::watch(broker.pid(), load.ceiling, is_over));
        let watcher = scope.spawn(move || watcher.run(is_drained));
        let consumers: Vec<_> = consumers
            .into_iter()
            .map(|consumer| scope.spawn(move || consumer.run(is_ending)))
            .collect();
        let producers: Vec<_> = producers
            .into_iter()
            .map(|producer| scope.spawn(move || producer.run(is_ending)))
            .collect();
        let began = Instant::now();
        while began.elapsed() < load.length && !producers.iter().any(ScopedJoinHandle::is_finished)
        {
            thread::sleep(Duration::from_millis(10));
        }
        is_ending.store(true, Ordering::Relaxed);
        let ended = Instant::now();
        let answers = producers.into_iter().map(join).collect::<Result<Vec<_>>>()?;
        let arrivals = consumers.into_iter().map(join).collect::<Result<Vec<_>>>()?;
        let drained_in = ended.elapsed();
        is_drained.store(true, Ordering::Relaxed);
        let counters = join(watcher)?;
        thread::sleep(REST);
        let at_rest = process::resident(broker.pid())?;
        is_over.store(true, Ordering::Relaxed);
        let samples = join(gauge)?;
        let peak = process::resident_peak(broker.pid())?;
        let mut faults = Faults::default();
        for arrived in &arrivals {
            for (answers, arrived) in answers.iter().zip(arrived) {
                faults.add(Faults::find(answers, arrived));
            }
        }
        let count = |answer| answers.iter().flatten().filter(|found| **found == answer).count();
        let acknowledged = count(Answer::Acknowledged) as u64;
        let refused = count(Answer::Refused) as u64;
        ensure!(acknowledged > 0, "nothing was acknowledged");
        Ok(Outcome { peak, at_rest, samples, acknowledged, refused, faults, drained_in, counters })
    })
}

/// Tells everybody to end when it goes.
struct EndAll<'a>([&'a AtomicBool; 3]);

impl Drop for EndAll<'_> {
    fn drop(&mut self) {
        for flag in self.0 {
            flag.store(true, Ordering::Relaxed);
        }
    }
}

fn join<T>(handle: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle.join().map_err(|_| anyhow!("a thread of the load has panicked"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_did_not_keep_to_is_said() {
        let outcome = |peak, missing| Outcome {
            peak,
            at_rest: 0,
            samples: Samples::default(),
            acknowledged: 1,
            refused: 0,
            faults: Faults { missing, ..Faults::default() },
            drained_in: Duration::ZERO,
            counters: Counters::new(),
        };
        assert_eq!(outcome(100, 0).complaint(100), None);
        let complaint = outcome(101, 0).complaint(100);
        assert_eq!(complaint.as_deref(), Some("the ceiling was passed"));
        let complaint = outcome(100, 2).complaint(100).expect("two are missing");
        assert!(complaint.starts_with("2 missing"), "{complaint}");
    }
}
