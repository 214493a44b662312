//! A circuit that keeps logins from a back end that is down: after some failures in a row nobody asks
//! it for a moment, then one login tries it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};

/// Failures in a row after which the circuit opens.
pub(super) const FAILURES_MAX: u32 = 5;
/// How long it stays open before somebody tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The log tells of failures at most so often.
const TELL_PERIOD: Duration = Duration::from_secs(1);

/// The circuit in front of one back end.
#[derive(Debug)]
pub(super) struct Circuit {
    /// How long one attempt may take.
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In a row, while closed.
    failures: u32,
    /// Until then nobody asks; `None` while closed.
    open_until: Option<Clock>,
    told_at: Option<Clock>,
    counts: Counts,
    has_news: bool,
}

/// What became of the back end since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) is_open: bool,
    /// Times that the circuit opened.
    pub(super) opened: u64,
    /// Attempts that failed.
    pub(super) failed: u64,
}

/// The right to ask the back end once.
#[derive(Debug)]
#[must_use = "how it ended decides about the circuit"]
pub(super) struct Attempt {
    is_trial: bool,
}

/// What the end of an attempt is to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing is new, or it was told a moment ago.
    None,
    /// It failed.
    Failed,
    /// It failed once too often.
    Opened,
    /// The back end is well again.
    Closed,
}

impl Circuit {
    pub(super) fn new(timeout: Duration) -> Self {
        let state = State { has_news: true, ..State::default() };
        Self { timeout, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody is to ask now.
    pub(super) fn is_open(&self, now: Clock) -> bool {
        self.state().open_until.is_some_and(|until| now < until)
    }

    /// Whether somebody may ask now; of those who come after a pause, one.
    pub(super) fn begin(&self, now: Clock) -> Option<Attempt> {
        let mut state = self.state();
        match state.open_until {
            None => Some(Attempt { is_trial: false }),
            Some(until) if now < until => None,
            Some(_) => {
                // Should it never end, another one tries after its time.
                state.open_until = Some(now + self.timeout + PAUSE);
                Some(Attempt { is_trial: true })
            }
        }
    }

    /// How an attempt has ended: whether the back end is well.
    pub(super) fn end(&self, now: Clock, Attempt { is_trial }: Attempt, is_well: bool) -> Turn {
        let mut state = self.state();
        // What began before the circuit opened says nothing of the time since then.
        let counts = state.open_until.is_none() || is_trial;
        if is_well {
            if !counts {
                return Turn::None;
            }
            state.failures = 0;
            if state.open_until.take().is_none() {
                return Turn::None;
            }
            (state.counts.is_open, state.has_news) = (false, true);
            return Turn::Closed;
        }
        (state.counts.failed, state.has_news) = (state.counts.failed + 1, true);
        if state.open_until.is_some() {
            if counts {
                state.open_until = Some(now + PAUSE);
            }
            return Turn::None;
        }
        state.failures += 1;
        if state.failures >= FAILURES_MAX {
            state.open_until = Some(now + PAUSE);
            (state.counts.is_open, state.counts.opened) = (true, state.counts.opened + 1);
            return Turn::Opened;
        }
        if state.told_at.is_some_and(|told_at| now < told_at + TELL_PERIOD) {
            return Turn::None;
        }
        state.told_at = Some(now);
        Turn::Failed
    }

    /// The counts, if they have changed since this was asked last.
    pub(super) fn news(&self) -> Option<Counts> {
        let mut state = self.state();
        std::mem::take(&mut state.has_news).then_some(state.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    /// A circuit that is open since this moment.
    fn open(now: Clock) -> Circuit {
        let circuit = Circuit::new(TIMEOUT);
        for failure in 1..=FAILURES_MAX {
            let attempt = circuit.begin(now).expect("closed");
            let expected = match failure {
                1 => Turn::Failed,
                FAILURES_MAX => Turn::Opened,
                _ => Turn::None,
            };
            assert_eq!(circuit.end(now, attempt, false), expected, "{failure}");
        }
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_alone() {
        let (circuit, now) = (Circuit::new(TIMEOUT), Clock::now());
        for attempt in 0..100 {
            let is_well = attempt % FAILURES_MAX == 0;
            let begun = circuit.begin(now).expect("closed");
            assert!(!matches!(circuit.end(now, begun, is_well), Turn::Opened | Turn::Closed));
        }
        assert!(!circuit.is_open(now));
        let expected = Counts { is_open: false, opened: 0, failed: 80 };
        assert_eq!((circuit.news(), circuit.news()), (Some(expected), None));
    }

    #[test]
    fn one_tries_after_a_pause_and_a_success_closes_it() {
        let now = Clock::now();
        let circuit = open(now);
        let later = now + PAUSE;
        assert!(circuit.is_open(now) && circuit.is_open(later - Duration::from_millis(1)));
        assert!(circuit.begin(now).is_none());
        let expected = Counts { is_open: true, opened: 1, failed: 5 };
        assert_eq!(circuit.news(), Some(expected));
        for round in 0..100 {
            let later = later + round * PAUSE;
            assert!(!circuit.is_open(later));
            let trial = circuit.begin(later).expect("one");
            assert!(circuit.is_open(later) && circuit.begin(later).is_none(), "another");
            assert_eq!(circuit.end(later, trial, false), Turn::None);
            assert!(circuit.begin(later).is_none(), "it is open as before");
        }
        let later = later + 100 * PAUSE;
        let trial = circuit.begin(later).expect("one");
        assert_eq!(circuit.end(later, trial, true), Turn::Closed);
        let expected = Counts { is_open: false, opened: 1, failed: 105 };
        assert_eq!(circuit.news(), Some(expected));
        for _ in 0..FAILURES_MAX - 1 {
            let attempt = circuit.begin(later).expect("closed");
            assert_ne!(circuit.end(later, attempt, false), Turn::Opened, "counted from one again");
        }
    }

    #[test]
    fn a_trial_that_never_ends_is_followed_by_another() {
        let now = Clock::now();
        let circuit = open(now);
        let later = now + PAUSE;
        let lost = circuit.begin(later).expect("a trial");
        assert!(circuit.begin(later + TIMEOUT).is_none());
        let after = later + TIMEOUT + PAUSE;
        let trial = circuit.begin(after).expect("another one");
        assert_eq!(circuit.end(after, trial, true), Turn::Closed);
        // The lost one comes back: one failure of a circuit that is closed.
        assert_eq!(circuit.end(after, lost, false), Turn::Failed);
        assert!(circuit.begin(after).is_some());
    }

    #[test]
    fn what_began_before_it_opened_changes_nothing() {
        let now = Clock::now();
        let circuit = Circuit::new(TIMEOUT);
        let early: Vec<_> = (0..4).map(|_| circuit.begin(now).expect("closed")).collect();
        for _ in 0..FAILURES_MAX {
            let attempt = circuit.begin(now).expect("closed");
            circuit.end(now, attempt, false);
        }
        for (at, attempt) in early.into_iter().enumerate() {
            assert_eq!(circuit.end(now, attempt, at % 2 == 0), Turn::None);
            assert!(circuit.is_open(now));
        }
        assert!(!circuit.is_open(now + PAUSE));
    }
}
