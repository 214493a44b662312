//! Which seeds run, on how many threads, and for how long.

use crate::Arguments;
use dunlin_sim::plan::Plan;
use dunlin_sim::run;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(10);
/// Failures that get a report of their own.
const REPORTED_MAX: usize = 3;

/// What all runs came to.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) seeds: u64,
    pub(crate) operations: u64,
    pub(crate) elapsed: Duration,
    pub(crate) jobs: usize,
    /// Seeds to report, the first of each kind.
    pub(crate) failed: Vec<u64>,
    /// How many seeds failed, by what was broken.
    pub(crate) kinds: BTreeMap<String, (u64, u64)>,
}

/// Reads `A..B`.
pub(crate) fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let parsed = text
        .split_once("..")
        .and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    parsed.ok_or_else(|| "two numbers with two dots between them, e.g. 0..1000".to_owned())
}

fn chosen(arguments: &Arguments) -> Range<u64> {
    let from = match (&arguments.seeds, arguments.seed) {
        (Some(seeds), _) => return seeds.clone(),
        (None, Some(seed)) => seed,
        // Found faults are to be found again.
        (None, None) if arguments.until_breach => 0,
        (None, None) => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            // Room for the seeds that follow, and short enough to be copied by hand.
            since.map_or(0, |since| since.as_secs() % 1_000_000_000) * 1_000
        }
    };
    let count = arguments.count.unwrap_or(match (arguments.seed, arguments.minutes) {
        (Some(_), None) => 1,
        _ => u64::MAX - from,
    });
    from..from.saturating_add(count)
}

/// Runs all seeds that are asked for.
pub(crate) fn run_all(arguments: &Arguments) -> Results {
    let seeds = chosen(arguments);
    println!("seeds from {}, {} actions each", seeds.start, arguments.steps);
    let started = Instant::now();
    let minutes = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let is_over = |started: Instant| minutes.is_some_and(|minutes| started.elapsed() >= minutes);
    let next = AtomicU64::new(seeds.start);
    let stopped = AtomicBool::new(false);
    let results = Mutex::new(Results { jobs: arguments.jobs.max(1), ..Results::default() });
    let shown = Mutex::new(Instant::now());
    let worker = || {
        while !stopped.load(Ordering::Relaxed) && !is_over(started) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let plan = Plan::draw(seed, arguments.steps);
            let outcome = run(&plan, false);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.seeds += 1;
            results.operations += outcome.operations;
            if let Some(failure) = outcome.failure {
                if arguments.keep_going {
                    println!("seed {seed}: {} at {}: {}", failure.kind, failure.at, failure.what);
                }
                let kind = results.kinds.entry(failure.kind).or_insert((0, seed));
                kind.0 += 1;
                let is_first = kind.0 == 1;
                if is_first && results.failed.len() < REPORTED_MAX {
                    results.failed.push(seed);
                }
                if !arguments.keep_going {
                    stopped.store(true, Ordering::Relaxed);
                }
            }
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            if shown.elapsed() >= PROGRESS {
                *shown = Instant::now();
                let rate = results.operations as f64 / started.elapsed().as_secs_f64();
                println!(
                    "{} seeds, {} operations, {rate:.0} a second",
                    results.seeds, results.operations
                );
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..arguments.jobs {
            scope.spawn(worker);
        }
        worker();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.elapsed = started.elapsed();
    results
}
