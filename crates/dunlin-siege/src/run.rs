//! A scene from its broker's start to its verdict.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use dunlin_bench::process;

use crate::broker::Broker;
use crate::counters::{self, Counters};
use crate::pair::{self, Pair};
use crate::scene::{Scene, Stage};
use crate::swarm::Tally;
use crate::{Options, verdict};

/// How long the pair runs alone before.
const BASELINE: Duration = Duration::from_secs(5);

/// The pair has begun by then, and its first messages are not counted.
const LEAD: Duration = Duration::from_millis(300);

/// The longest time until memory has to be back.
const RETURN: Duration = Duration::from_secs(30);

/// How often it is looked at.
const RETURN_STEP: Duration = Duration::from_millis(500);

/// Counters are told every second, by the other workers first.
const COUNTERS_SETTLE: Duration = Duration::from_millis(2_200);

/// The broker's memory, in bytes that are resident.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) before: u64,
    pub(crate) peak: u64,
    pub(crate) after: u64,
}

impl Memory {
    /// By how much it grew.
    pub(crate) const fn growth(&self) -> u64 {
        self.peak.saturating_sub(self.before)
    }
}

/// What a scene came to.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) scene: Scene,
    pub(crate) time: Duration,
    pub(crate) baseline: Option<Pair>,
    /// The pair beside the hostile, or why it could not begin.
    pub(crate) pair: Result<Pair, String>,
    pub(crate) tally: Tally,
    pub(crate) memory: Memory,
    /// Seconds of CPU time in each second, of the broker: alone with the pair, and under siege.
    pub(crate) load_before: Option<f64>,
    pub(crate) load: f64,
    pub(crate) counters: Counters,
    /// Whether it still takes clients.
    pub(crate) is_alive: bool,
    /// The rules that were broken.
    pub(crate) broken: Vec<String>,
}

/// Plays a scene against a broker of its own.
///
/// # Errors
/// When the broker can't be started, or this machine can't play it. What the broker does wrong is
/// part of the record.
pub(crate) fn run(scene: &Scene, options: &Options) -> Result<Record> {
    let certificates = options.certificates.path();
    let mut broker = Broker::dunlin(&options.dunlin, certificates, scene.settings, scene.stores)?;
    let (doors, pid) = (broker.doors(), broker.pid());
    let mut load_before = None;
    let mut baseline = None;
    if !options.is_short {
        let (cpu, began) = (process::cpu_time(pid)?, Instant::now());
        baseline = Some(pair::run(doors.mqtt, BASELINE, 1).context("the pair alone")?);
        load_before = Some(load(pid, cpu, began));
    }
    let counters = counters::read(doors.mqtt)?;
    let before = process::resident(pid)?;

    let (cpu, began) = (process::cpu_time(pid)?, Instant::now());
    let until = began + LEAD + options.time;
    let stage = Stage { doors, pid, certificates, until, is_short: options.is_short };
    let (tally, pair) = thread::scope(|scope| {
        let hostile = scope.spawn(|| {
            thread::sleep(LEAD);
            (scene.play)(&stage)
        });
        let pair = pair::run(doors.mqtt, options.time, 2);
        (hostile.join().map_err(|_| anyhow!("the hostile clients panicked")), pair)
    });
    let tally = tally?.unwrap_or_else(|error| {
        let mut tally = Tally::default();
        tally.blame(format!("the scene could not be played to its end: {error:#}"));
        tally
    });
    let load = load(pid, cpu, began);

    let mut memory = Memory { before, ..Memory::default() };
    // Of a process that has ended there is none.
    memory.peak = process::resident_peak(pid).unwrap_or_default();
    memory.after = settle(scene, &broker, before);
    let is_alive = broker.ended()?.is_none() && broker.try_client().is_ok();
    let after = counters::read(doors.mqtt).unwrap_or_default();
    let mut record = Record {
        scene: *scene,
        time: options.time,
        baseline,
        pair: pair.map_err(|error| error.to_string()),
        tally,
        memory,
        load_before,
        load,
        counters: counters::moved(&counters, &after),
        is_alive,
        broken: Vec::new(),
    };
    record.broken = verdict::broken(&record);
    if !record.broken.is_empty() {
        eprintln!("the broker's log ends:\n{}", broker.log_tail());
    }
    Ok(record)
}

/// The part of a core that the broker has used since some moment.
fn load(pid: u32, cpu: Duration, began: Instant) -> f64 {
    let used = process::cpu_time(pid).unwrap_or_default().saturating_sub(cpu);
    used.as_secs_f64() / began.elapsed().as_secs_f64().max(1e-9)
}

/// Lets the pair go on until memory is back, and the counters are told; gives what memory is then.
fn settle(scene: &Scene, broker: &Broker, before: u64) -> u64 {
    let began = Instant::now();
    let mut run = 2;
    loop {
        run += 1;
        // A broker with nothing to do gives nothing back. What it does to the pair has been told.
        if pair::run(broker.doors().mqtt, RETURN_STEP, run).is_err() {
            thread::sleep(RETURN_STEP);
        }
        let now = process::resident(broker.pid()).unwrap_or_default();
        let is_back = now <= verdict::kept_max(scene, before);
        let elapsed = began.elapsed();
        if elapsed >= RETURN || (is_back && elapsed >= COUNTERS_SETTLE) {
            return now;
        }
    }
}
