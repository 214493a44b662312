//! Whether a worker keeps up: turns that take long make everybody wait.

use dunlin_protocol::Instant;
use std::time::Duration;

/// A worker is behind when its turns have been slow for so long.
const SLOW_FOR: Duration = Duration::from_secs(1);

/// How long turns take.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// When the first of the slow turns began, if the last one was slow.
    slow_since: Option<Instant>,
}

impl Lag {
    /// A turn is over that may have taken so long; whether the worker is behind.
    pub(super) fn note(&mut self, began: Instant, ended: Instant, max: Duration) -> bool {
        if max.is_zero() || ended.saturating_since(began) <= max {
            self.slow_since = None;
            return false;
        }
        let since = *self.slow_since.get_or_insert(began);
        ended.saturating_since(since) >= SLOW_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_behind_when_turns_are_slow_for_a_second() {
        let mut lag = Lag::default();
        let mut turn = |began: u64, millis: u64| {
            let at = |millis: u64| Instant::from_micros(millis * 1000);
            lag.note(at(began), at(began + millis), Duration::from_millis(200))
        };
        assert!(!turn(0, 200));
        assert!(!turn(1000, 201));
        assert!(!turn(1201, 700));
        assert!(turn(1901, 300));
        assert!(turn(3000, 201));
        assert!(!turn(4000, 10), "it has caught up");
        assert!(!turn(5000, 300));
        assert!(turn(6000, 1000), "one turn of a second is enough");
    }
}
