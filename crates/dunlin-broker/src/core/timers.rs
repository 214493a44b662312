//! The timers of a worker: buckets of a tenth of a second, so that a quiet connection costs one
//! entry and a packet costs none.

use super::deadline::Deadline;
use super::{ConnectionKey, SessionKey, WorkerNumber};
use dunlin_protocol::Instant;
use std::collections::BTreeMap;
use std::time::Duration;

/// What may be due. Owners check for themselves whether it still is: a deadline that moved on is
/// found when its old bucket comes up, and set again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Keep Alive, or the time to CONNECT.
    Connection(ConnectionKey),
    /// A Will Delay Interval or a Session Expiry Interval.
    Session { session: SessionKey, generation: u32 },
    /// A publish that waits for room.
    Held(ConnectionKey),
    /// A publish that another worker took by this connection, and that waits for room here.
    HeldForward(WorkerNumber, ConnectionKey),
    /// A connection that is not read until then.
    Rest(ConnectionKey, Instant),
    /// A login that is to be decided, or that was granted for a time.
    Login(ConnectionKey),
    /// Memory that is scarce as long as that is said.
    Pressure,
    /// The `$SYS` messages.
    Sys,
}

const BUCKET: Duration = Duration::from_millis(100);
/// The farthest that a timer is set: what is due later is looked at in between, so that the timers
/// of owners that are gone don't pile up for years.
const WATCH_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Timers {
    buckets: BTreeMap<u64, Vec<Timer>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Instant, timer: Timer) {
        // Rounded up: nothing is due before its time.
        let bucket = at.as_micros().div_ceil(micros(BUCKET));
        self.buckets.entry(bucket).or_default().push(timer);
    }

    /// Sets a timer for this moment, or for an earlier one at which its owner sets it again.
    pub(super) fn set_towards(&mut self, now: Instant, at: Instant, timer: Timer) {
        self.set(at.min(now + WATCH_MAX), timer);
    }

    /// Sets a timer that is due at once, whatever the time is.
    pub(super) fn set_due(&mut self, timer: Timer) {
        self.buckets.entry(0).or_default().push(timer);
    }

    /// Sets a timer for an owner whose deadline this is, unless its earliest one, at `timer_at`,
    /// comes up before. Whoever is asked too early watches again.
    pub(super) fn watch(
        &mut self,
        now: Instant,
        deadline: Instant,
        timer_at: &mut Deadline,
        timer: Timer,
    ) {
        let at = deadline.min(now + WATCH_MAX).max(now + BUCKET);
        if Deadline::at(at) < *timer_at {
            *timer_at = Deadline::at(at);
            self.set(at, timer);
        }
    }

    /// Whether a timer that came up is the one that counts for its owner, which then has none.
    pub(super) fn fires(now: Instant, timer_at: &mut Deadline) -> bool {
        let fires = timer_at.is_due(now);
        if fires {
            *timer_at = Deadline::NEVER;
        }
        fires
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let (bucket, _) = self.buckets.first_key_value()?;
        Some(Instant::from_micros(bucket.saturating_mul(micros(BUCKET))))
    }

    /// How many timers are set.
    pub(super) fn len(&self) -> usize {
        self.buckets.values().map(Vec::len).sum()
    }

    /// Takes out all that is due now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Timer> {
        let mut due = Vec::new();
        while let Some(bucket) = self.buckets.first_entry() {
            if bucket.key().saturating_mul(micros(BUCKET)) > now.as_micros() {
                break;
            }
            due.append(&mut bucket.remove());
        }
        due
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_at_its_time_and_not_before() {
        let mut timers = Timers::default();
        timers.set(Instant::from_micros(150_000), Timer::Sys);
        assert_eq!(timers.next(), Some(Instant::from_micros(200_000)));
        assert!(timers.due(Instant::from_micros(199_999)).is_empty());
        assert_eq!(timers.due(Instant::from_micros(200_000)), [Timer::Sys]);
        assert_eq!(timers.next(), None);
        // Between two buckets.
        timers.set_due(Timer::Sys);
        assert_eq!(timers.due(Instant::from_micros(210_000)), [Timer::Sys]);
    }
}
