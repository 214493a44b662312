//! The log of a back end's faults: one that lasts is told once, another one in its place is told as
//! well, and both at a limited rate.

use crate::log_rate::LogRate;
use std::time::{Duration, Instant as Clock};

/// A fault that comes and goes is told again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// Says which faults are to be told.
#[derive(Debug)]
pub(super) struct FaultLog {
    rate: LogRate,
    /// What was told last, of those that have come since the back end was well.
    told: Option<(Clock, String)>,
    unsaid: u64,
}

impl FaultLog {
    pub(super) const fn new(now: Clock) -> Self {
        Self { rate: LogRate::new(now), told: None, unsaid: 0 }
    }

    /// Whether a fault is to be told, and how many were not since the last one. One that `lasts` is
    /// told of no more until it is another.
    pub(super) fn admit(&mut self, now: Clock, fault: &str, lasts: bool) -> Option<u64> {
        let is_known = self.told.as_ref().is_some_and(|(at, told)| {
            told == fault && (lasts || now.saturating_duration_since(*at) < AGAIN)
        });
        if is_known || self.rate.admit(now).is_none() {
            self.unsaid += 1;
            return None;
        }
        self.note(now, fault);
        Some(std::mem::take(&mut self.unsaid))
    }

    /// A fault is told in any case.
    pub(super) fn note(&mut self, now: Clock, fault: &str) {
        self.told = Some((now, fault.to_owned()));
    }

    /// The back end is well: whatever comes next is news.
    pub(super) fn forget(&mut self) {
        self.told = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_told_once_and_another_one_at_once() {
        let now = Clock::now();
        let mut faults = FaultLog::new(now);
        assert_eq!(faults.admit(now, "status 500", false), Some(0));
        for _ in 0..3 {
            assert_eq!(faults.admit(now, "status 500", false), None);
        }
        assert_eq!(faults.admit(now, "no JSON", false), Some(3));
        assert_eq!(faults.admit(now + AGAIN, "no JSON", false), Some(0), "it comes and goes");
        // While nobody but one now and then asks, what lasts is no news.
        faults.note(now, "status 500");
        let later = now + 100 * AGAIN;
        assert_eq!(faults.admit(later, "status 500", true), None);
        assert_eq!(faults.admit(later, "closed", true), Some(1));
        assert_eq!(faults.admit(later, "closed", true), None);
        faults.forget();
        assert_eq!(faults.admit(later, "closed", true), Some(1));
    }

    #[test]
    fn faults_that_are_never_the_same_fill_no_disk() {
        let now = Clock::now();
        let mut faults = FaultLog::new(now);
        let told = (0..1_000).filter(|at| faults.admit(now, &at.to_string(), true).is_some());
        assert_eq!(told.count(), 20);
        assert_eq!(faults.admit(now + Duration::from_secs(1), "last", true), Some(980));
    }
}
