//! A run, second by second, for those who watch it and for the plots.

use std::time::Duration;

use super::tally::Tally;
use crate::error::BenchError;
use crate::outcome::latencies;
use crate::outcome::{BrokerUse, Faults, Interval, Latencies, Mark, Observer, Percentiles};
use crate::process;

/// Nanoseconds between two intervals.
const STEP: u64 = 1_000_000_000;

/// Intervals that are kept. When there are more, two become one, so that a run of a week takes no
/// more memory than one of hours.
const KEPT_MAX: usize = 10_000;

/// Moments that are kept: more would hide the plots.
const MARKS_MAX: usize = 100;

/// The intervals, and what the present one began with.
pub(super) struct Timeline<'a> {
    observer: &'a mut dyn Observer,
    pid: Option<u32>,
    phase: &'static str,
    began: u64,
    from: Counts,
    kept: Vec<Interval>,
    marks: Vec<Mark>,
    /// How many intervals become one.
    merged: u32,
    /// How many have become the last one.
    in_last: u32,
    /// Of the measured part.
    pub(super) arrivals: Latencies,
    pub(super) acknowledgements: Latencies,
    pub(super) connects: Latencies,
    pub(super) is_measuring: bool,
}

/// What the tally said at some time.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    published: u64,
    delivered: u64,
    connected: u64,
    disconnected: u64,
    faults: u64,
    load_cpu: Duration,
    broker_cpu: Duration,
}

impl<'a> Timeline<'a> {
    pub(super) fn new(observer: &'a mut dyn Observer, pid: Option<u32>) -> Self {
        Self {
            observer,
            pid,
            phase: "connecting",
            began: 0,
            from: Counts::default(),
            kept: Vec::new(),
            marks: Vec::new(),
            merged: 1,
            in_last: 1,
            arrivals: latencies(),
            acknowledgements: latencies(),
            connects: latencies(),
            is_measuring: false,
        }
    }

    /// When the present interval ends.
    pub(super) fn due(&self) -> u64 {
        self.began + STEP
    }

    /// What the broker has used since it began.
    pub(super) fn broker(&self) -> Result<Option<BrokerUse>, BenchError> {
        let Some(pid) = self.pid else { return Ok(None) };
        let read =
            || Ok(BrokerUse { cpu: process::cpu_time(pid)?, resident: process::resident(pid)? });
        read().map(Some).map_err(|source| BenchError::Process { pid, source })
    }

    /// Begins another phase, and an interval with it.
    pub(super) fn enter(
        &mut self,
        phase: &'static str,
        tally: &mut Tally,
        now: u64,
    ) -> Result<(), BenchError> {
        self.end_interval(tally, now)?;
        self.phase = phase;
        Ok(())
    }

    /// Ends the interval, and tells the observer.
    pub(super) fn end_interval(&mut self, tally: &mut Tally, now: u64) -> Result<(), BenchError> {
        // A broker that has ended tells nothing any more; that it has ended shows elsewhere.
        let broker = self.broker().unwrap_or_default();
        let counts = Counts {
            published: tally.published,
            delivered: tally.delivered,
            connected: tally.connected,
            disconnected: tally.disconnected,
            faults: tally.faults.iter().map(Faults::sum).sum(),
            load_cpu: process::cpu_time(std::process::id())?,
            broker_cpu: broker.map_or(Duration::ZERO, |broker| broker.cpu),
        };
        let from = std::mem::replace(&mut self.from, counts);
        tally.samples.write();
        if self.is_measuring {
            add(&mut self.arrivals, &tally.samples.arrivals);
            add(&mut self.acknowledgements, &tally.samples.acknowledgements);
        }
        add(&mut self.connects, &tally.samples.connects);
        let interval = Interval {
            end: Duration::from_nanos(now),
            length: Duration::from_nanos(now - self.began),
            phase: self.phase,
            published: counts.published - from.published,
            delivered: counts.delivered - from.delivered,
            connected: counts.connected - from.connected,
            disconnected: counts.disconnected - from.disconnected,
            faults: counts.faults - from.faults,
            latencies: Percentiles::of(&tally.samples.arrivals),
            load_cpu: counts.load_cpu.saturating_sub(from.load_cpu),
            broker: broker.map(|broker| BrokerUse {
                cpu: counts.broker_cpu.saturating_sub(from.broker_cpu),
                ..broker
            }),
        };
        tally.samples.clear();
        self.began = now;
        if interval.length > Duration::from_millis(1) {
            self.observer.interval(&interval);
            self.keep(interval);
        }
        Ok(())
    }

    fn keep(&mut self, interval: Interval) {
        match self.kept.last_mut() {
            Some(last) if self.in_last < self.merged && last.phase == interval.phase => {
                self.in_last += 1;
                merge(last, &interval);
            }
            _ => {
                self.in_last = 1;
                self.kept.push(interval);
            }
        }
        if self.kept.len() > KEPT_MAX {
            self.merged *= 2;
            let mut kept: Vec<Interval> = Vec::with_capacity(KEPT_MAX);
            let mut is_open = false;
            for interval in self.kept.drain(..) {
                match kept.last_mut() {
                    Some(last) if is_open && last.phase == interval.phase => {
                        merge(last, &interval);
                        is_open = false;
                    }
                    _ => {
                        kept.push(interval);
                        is_open = true;
                    }
                }
            }
            self.kept = kept;
            self.in_last = self.merged;
        }
    }

    /// Remembers a moment that explains what comes after it.
    pub(super) fn mark(&mut self, at: u64, what: String) {
        if self.marks.len() < MARKS_MAX {
            self.marks.push(Mark { at: Duration::from_nanos(at), what });
        }
    }

    /// The intervals that were kept, and the moments.
    pub(super) fn take(&mut self) -> (Vec<Interval>, Vec<Mark>) {
        (std::mem::take(&mut self.kept), std::mem::take(&mut self.marks))
    }
}

fn merge(last: &mut Interval, next: &Interval) {
    last.end = next.end;
    last.length += next.length;
    last.published += next.published;
    last.delivered += next.delivered;
    last.connected += next.connected;
    last.disconnected += next.disconnected;
    last.faults += next.faults;
    last.load_cpu += next.load_cpu;
    last.latencies = worse(last.latencies, next.latencies);
    if let (Some(last), Some(next)) = (&mut last.broker, next.broker) {
        last.cpu += next.cpu;
        last.resident = next.resident;
    }
}

/// Percentiles can't be joined; the larger ones promise no more than what was seen.
fn worse(one: Percentiles, other: Percentiles) -> Percentiles {
    Percentiles {
        count: one.count + other.count,
        p50: one.p50.max(other.p50),
        p90: one.p90.max(other.p90),
        p99: one.p99.max(other.p99),
        p999: one.p999.max(other.p999),
        p9999: one.p9999.max(other.p9999),
        max: one.max.max(other.max),
    }
}

fn add(to: &mut Latencies, from: &Latencies) {
    to.add(from).expect("both hold what can be recorded");
}
