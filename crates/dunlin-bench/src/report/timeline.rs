//! The intervals of a run, brought to so few that a page can show each of them.

use std::time::Duration;

use super::words;
use crate::outcome::{BrokerUse, Interval, Percentiles};

/// The shortest time of which a share of the CPU is shown: the kernel brings its counts up to date now
/// and then only, and one point of 300 % would flatten all others.
const CPU_LENGTH_MIN: Duration = Duration::from_millis(100);

/// One interval, or several that were joined.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Sums of the intervals, except for what a sum says nothing about: of latencies and memory it
    /// is the highest.
    pub(super) sum: Interval,
    /// Connections that were open at the end of the interval: of several, at the lowest.
    pub(super) open: u64,
}

impl Row {
    /// When it began, in seconds of the run.
    pub(super) fn start(&self) -> f64 {
        self.sum.end.saturating_sub(self.sum.length).as_secs_f64()
    }

    /// When it ended, in seconds of the run.
    pub(super) fn end(&self) -> f64 {
        self.sum.end.as_secs_f64()
    }

    pub(super) fn published(&self) -> Option<f64> {
        words::per_second(self.sum.published, self.sum.length)
    }

    pub(super) fn delivered(&self) -> Option<f64> {
        words::per_second(self.sum.delivered, self.sum.length)
    }

    pub(super) fn latencies(&self) -> Option<&Percentiles> {
        Some(&self.sum.latencies).filter(|latencies| latencies.count > 0)
    }

    pub(super) fn broker_cpu(&self) -> Option<f64> {
        self.share(self.sum.broker?.cpu)
    }

    pub(super) fn load_cpu(&self) -> Option<f64> {
        self.share(self.sum.load_cpu)
    }

    /// How much of one core this is; `None` of a moment too short to tell.
    fn share(&self, cpu: Duration) -> Option<f64> {
        (self.sum.length >= CPU_LENGTH_MIN).then(|| words::share(cpu, self.sum.length)).flatten()
    }

    pub(super) fn resident(&self) -> Option<u64> {
        self.sum.broker.map(|used| used.resident)
    }
}

/// All of a run in order.
#[derive(Debug)]
pub(super) struct Timeline {
    pub(super) rows: Vec<Row>,
    /// Intervals that went into each row, at most.
    pub(super) joined: usize,
}

impl Timeline {
    /// Joins neighbours until there are about `most` rows. No row spans two phases or a gap.
    pub(super) fn new(intervals: &[Interval], most: usize) -> Self {
        let joined = intervals.len().div_ceil(most).max(1);
        let mut rows: Vec<Row> = Vec::new();
        let (mut open, mut in_last) = (0_u64, 0);
        for interval in intervals {
            open = open.saturating_add(interval.connected).saturating_sub(interval.disconnected);
            match rows.last_mut() {
                Some(last) if in_last < joined && continues(&last.sum, interval) => {
                    join(&mut last.sum, interval);
                    last.open = last.open.min(open);
                    in_last += 1;
                }
                _ => {
                    rows.push(Row { sum: interval.clone(), open });
                    in_last = 1;
                }
            }
        }
        Self { rows, joined }
    }

    /// When the last row ended, in seconds of the run.
    pub(super) fn end(&self) -> f64 {
        self.rows.last().map_or(0.0, Row::end)
    }

    /// The phases with their beginnings and ends, in seconds of the run.
    pub(super) fn phases(&self) -> Vec<(&'static str, f64, f64)> {
        let mut phases: Vec<(&'static str, f64, f64)> = Vec::new();
        for row in &self.rows {
            match phases.last_mut() {
                Some((name, _, end)) if *name == row.sum.phase => *end = row.end(),
                _ => phases.push((row.sum.phase, row.start(), row.end())),
            }
        }
        phases
    }
}

/// True if one interval begins where the other ends, but for what a late timer makes of it.
pub(super) fn is_adjacent(end: f64, start: f64) -> bool {
    start - end < 0.05
}

fn continues(last: &Interval, next: &Interval) -> bool {
    let start = next.end.saturating_sub(next.length);
    last.phase == next.phase && is_adjacent(last.end.as_secs_f64(), start.as_secs_f64())
}

fn join(into: &mut Interval, next: &Interval) {
    into.end = next.end;
    into.length = into.length.saturating_add(next.length);
    for (sum, part) in [
        (&mut into.published, next.published),
        (&mut into.delivered, next.delivered),
        (&mut into.connected, next.connected),
        (&mut into.disconnected, next.disconnected),
        (&mut into.faults, next.faults),
        (&mut into.latencies.count, next.latencies.count),
    ] {
        *sum = sum.saturating_add(part);
    }
    let (latencies, others) = (&mut into.latencies, &next.latencies);
    for (highest, other) in [
        (&mut latencies.p50, others.p50),
        (&mut latencies.p90, others.p90),
        (&mut latencies.p99, others.p99),
        (&mut latencies.p999, others.p999),
        (&mut latencies.p9999, others.p9999),
        (&mut latencies.max, others.max),
    ] {
        *highest = (*highest).max(other);
    }
    into.load_cpu = into.load_cpu.saturating_add(next.load_cpu);
    into.broker = match (into.broker, next.broker) {
        (Some(one), Some(other)) => Some(BrokerUse {
            cpu: Duration::saturating_add(one.cpu, other.cpu),
            resident: one.resident.max(other.resident),
        }),
        // A share of the CPU is known only if all of its time is.
        _ => None,
    };
}

#[cfg(test)]
mod tests;
