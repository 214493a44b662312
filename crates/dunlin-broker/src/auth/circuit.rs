//! A circuit that keeps logins from a back end that is down: after some failures in a row nobody asks
//! it for a moment, then one login tries it. If they all came from one network, only that one is kept
//! away: what its clients say may be what the back end fails at.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};

/// Failures in a row after which the circuit opens.
pub(super) const FAILURES_MAX: u32 = 5;
/// How long it stays open before somebody tries.
const PAUSE: Duration = Duration::from_secs(1);
/// How much longer it stays open for the network that has tried last, so that others can try.
const PAUSE_AGAIN: Duration = Duration::from_secs(4);

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
    /// For whom it is open, or whom the failures in a row came from.
    suspects: Suspects,
    /// Until then none of the suspects asks; `None` while closed.
    open_until: Option<Clock>,
    /// Who has tried last and failed.
    tried: Option<Network>,
    /// Times that it has opened.
    generation: u64,
    counts: Counts,
    has_news: bool,
}

/// Where a Client is; `None` on this machine.
pub(super) type Network = Option<IpAddr>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Suspects {
    #[default]
    Nobody,
    One(Network),
    Everybody,
}

impl Suspects {
    fn include(self, network: Network) -> bool {
        match self {
            Self::Nobody => false,
            Self::One(other) => other == network,
            Self::Everybody => true,
        }
    }

    fn and(self, network: Network) -> Self {
        match self {
            Self::Nobody => Self::One(network),
            one if one == Self::One(network) => one,
            _ => Self::Everybody,
        }
    }
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
    network: Network,
    generation: u64,
    is_trial: bool,
}

/// How an attempt has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The back end has decided.
    Well,
    /// It is there, and does not want to decide.
    Refused,
    /// It failed; maybe at what this Client has said.
    Failed,
    /// It could not be reached, whoever it was for.
    Unreachable,
}

/// What the end of an attempt is to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It says nothing of how the back end is.
    None,
    /// It failed.
    Failed,
    /// It failed, and so had those before it, for which the circuit is open.
    StillFails,
    /// It failed once too often.
    Opened,
    /// The back end is well again.
    Closed,
}

impl State {
    /// Until when this network may not ask.
    fn closed_to(&self, network: Network) -> Option<Clock> {
        let until = self.open_until.filter(|_| self.suspects.include(network))?;
        let others_first = self.tried == Some(network) && self.suspects == Suspects::Everybody;
        Some(if others_first { until + PAUSE_AGAIN } else { until })
    }

    fn open(&mut self, now: Clock) -> Turn {
        self.open_until = Some(now + PAUSE);
        (self.generation, self.tried) = (self.generation + 1, None);
        (self.counts.is_open, self.counts.opened) = (true, self.counts.opened + 1);
        Turn::Opened
    }

    fn close(&mut self) -> Turn {
        (self.failures, self.suspects) = (0, Suspects::Nobody);
        if self.open_until.take().is_none() {
            return Turn::None;
        }
        (self.counts.is_open, self.has_news) = (false, true);
        Turn::Closed
    }
}

impl Circuit {
    pub(super) fn new(timeout: Duration) -> Self {
        let state = State { has_news: true, ..State::default() };
        Self { timeout, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody of this network is to ask now.
    pub(super) fn is_open(&self, now: Clock, network: Network) -> bool {
        self.state().closed_to(network).is_some_and(|until| now < until)
    }

    /// Whether somebody may ask now; of those who come after a pause, one.
    pub(super) fn begin(&self, now: Clock, network: Network) -> Option<Attempt> {
        let mut state = self.state();
        let generation = state.generation;
        match state.closed_to(network) {
            None => Some(Attempt { network, generation, is_trial: false }),
            Some(until) if now < until => None,
            Some(_) => {
                // Should it never end, another one tries after its time.
                state.open_until = Some(now + self.timeout + PAUSE);
                Some(Attempt { network, generation, is_trial: true })
            }
        }
    }

    /// How an attempt has ended.
    pub(super) fn end(
        &self,
        now: Clock,
        Attempt { network, generation, is_trial }: Attempt,
        outcome: Outcome,
    ) -> Turn {
        let mut state = self.state();
        if outcome != Outcome::Well {
            (state.counts.failed, state.has_news) = (state.counts.failed + 1, true);
        }
        // What began before the circuit opened says nothing of the time since then.
        let counts = generation == state.generation;
        let is_open = state.open_until.is_some();
        match outcome {
            Outcome::Well if counts && (is_trial || !is_open) => state.close(),
            Outcome::Well => Turn::None,
            Outcome::Refused if counts && is_trial => {
                state.close();
                Turn::Failed
            }
            Outcome::Refused => Turn::Failed,
            Outcome::Failed | Outcome::Unreachable if !counts => Turn::None,
            Outcome::Failed | Outcome::Unreachable => {
                state.suspects = match outcome {
                    Outcome::Unreachable => Suspects::Everybody,
                    _ => state.suspects.and(network),
                };
                if is_open {
                    if is_trial {
                        state.open_until = Some(now + PAUSE);
                        state.tried = Some(network);
                    }
                    return Turn::StillFails;
                }
                state.failures += 1;
                if state.failures >= FAILURES_MAX {
                    return state.open(now);
                }
                Turn::Failed
            }
        }
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
    const HERE: Network = None;
    const ELSEWHERE: Network = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    /// A circuit that is open since this moment.
    fn open(now: Clock) -> Circuit {
        let circuit = Circuit::new(TIMEOUT);
        for failure in 1..=FAILURES_MAX {
            let attempt = circuit.begin(now, HERE).expect("closed");
            let expected = if failure < FAILURES_MAX { Turn::Failed } else { Turn::Opened };
            assert_eq!(circuit.end(now, attempt, Outcome::Failed), expected, "{failure}");
        }
        circuit
    }

    #[test]
    fn it_opens_after_failures_in_a_row_alone() {
        let (circuit, now) = (Circuit::new(TIMEOUT), Clock::now());
        for attempt in 0..100 {
            let is_well = attempt % FAILURES_MAX == 0;
            let outcome = if is_well { Outcome::Well } else { Outcome::Failed };
            let begun = circuit.begin(now, HERE).expect("closed");
            assert!(!matches!(circuit.end(now, begun, outcome), Turn::Opened | Turn::Closed));
        }
        assert!(!circuit.is_open(now, HERE));
        let expected = Counts { is_open: false, opened: 0, failed: 80 };
        assert_eq!((circuit.news(), circuit.news()), (Some(expected), None));
    }

    #[test]
    fn one_tries_after_a_pause_and_a_success_closes_it() {
        let now = Clock::now();
        let circuit = open(now);
        let later = now + PAUSE;
        assert!(
            circuit.is_open(now, HERE) && circuit.is_open(later - Duration::from_millis(1), HERE)
        );
        assert!(circuit.begin(now, HERE).is_none());
        let expected = Counts { is_open: true, opened: 1, failed: 5 };
        assert_eq!(circuit.news(), Some(expected));
        for round in 0..100 {
            let later = later + round * PAUSE;
            assert!(!circuit.is_open(later, HERE));
            let trial = circuit.begin(later, HERE).expect("one");
            assert!(
                circuit.is_open(later, HERE) && circuit.begin(later, HERE).is_none(),
                "another"
            );
            assert_eq!(circuit.end(later, trial, Outcome::Failed), Turn::StillFails);
            assert!(circuit.begin(later, HERE).is_none(), "it is open as before");
        }
        let later = later + 100 * PAUSE;
        let trial = circuit.begin(later, HERE).expect("one");
        assert_eq!(circuit.end(later, trial, Outcome::Well), Turn::Closed);
        let expected = Counts { is_open: false, opened: 1, failed: 105 };
        assert_eq!(circuit.news(), Some(expected));
        for _ in 0..FAILURES_MAX - 1 {
            let attempt = circuit.begin(later, HERE).expect("closed");
            assert_ne!(
                circuit.end(later, attempt, Outcome::Failed),
                Turn::Opened,
                "counted from one again"
            );
        }
    }

    #[test]
    fn a_trial_that_never_ends_is_followed_by_another() {
        let now = Clock::now();
        let circuit = open(now);
        let later = now + PAUSE;
        let lost = circuit.begin(later, HERE).expect("a trial");
        assert!(circuit.begin(later + TIMEOUT, HERE).is_none());
        let after = later + TIMEOUT + PAUSE;
        let trial = circuit.begin(after, HERE).expect("another one");
        assert_eq!(circuit.end(after, trial, Outcome::Well), Turn::Closed);
        // The lost one comes back: one failure of a circuit that is closed.
        assert_eq!(circuit.end(after, lost, Outcome::Failed), Turn::Failed);
        assert!(circuit.begin(after, HERE).is_some());
    }

    #[test]
    fn what_began_before_it_opened_changes_nothing() {
        let now = Clock::now();
        let circuit = Circuit::new(TIMEOUT);
        let early: Vec<_> = (0..4).map(|_| circuit.begin(now, HERE).expect("closed")).collect();
        for _ in 0..FAILURES_MAX {
            let attempt = circuit.begin(now, HERE).expect("closed");
            circuit.end(now, attempt, Outcome::Failed);
        }
        for (at, attempt) in early.into_iter().enumerate() {
            let outcome = if at % 2 == 0 { Outcome::Well } else { Outcome::Failed };
            assert_eq!(circuit.end(now, attempt, outcome), Turn::None);
            assert!(circuit.is_open(now, HERE));
        }
        assert!(!circuit.is_open(now + PAUSE, HERE));
    }

    #[test]
    fn what_began_before_it_opened_counts_not_even_after_it_has_closed() {
        let now = Clock::now();
        let circuit = Circuit::new(TIMEOUT);
        let early: Vec<_> = (0..8).map(|_| circuit.begin(now, HERE).expect("closed")).collect();
        for _ in 0..FAILURES_MAX {
            let attempt = circuit.begin(now, HERE).expect("closed");
            circuit.end(now, attempt, Outcome::Failed);
        }
        let later = now + PAUSE;
        let trial = circuit.begin(later, HERE).expect("a trial");
        assert_eq!(circuit.end(later, trial, Outcome::Well), Turn::Closed);
        for attempt in early {
            assert_eq!(circuit.end(later, attempt, Outcome::Failed), Turn::None);
        }
        assert!(!circuit.is_open(later, HERE));
    }

    #[test]
    fn a_network_at_which_the_back_end_fails_keeps_no_other_from_it() {
        let now = Clock::now();
        let circuit = open(now);
        assert!(circuit.is_open(now, HERE) && !circuit.is_open(now, ELSEWHERE));
        let other = circuit.begin(now, ELSEWHERE).expect("not suspected");
        assert_eq!(circuit.end(now, other, Outcome::Well), Turn::None);
        assert!(circuit.is_open(now, HERE), "that says nothing of what fails");
        // But who fails as well shows that it is not the one network's doing.
        let other = circuit.begin(now, ELSEWHERE).expect("not suspected");
        assert_eq!(circuit.end(now, other, Outcome::Failed), Turn::StillFails);
        assert!(circuit.is_open(now, ELSEWHERE) && circuit.begin(now, ELSEWHERE).is_none());
    }

    #[test]
    fn one_network_does_not_win_all_trials() {
        let now = Clock::now();
        let circuit = Circuit::new(TIMEOUT);
        for _ in 0..FAILURES_MAX {
            let attempt = circuit.begin(now, HERE).expect("closed");
            circuit.end(now, attempt, Outcome::Unreachable);
        }
        assert!(circuit.is_open(now, ELSEWHERE), "it is nobody's doing");
        let mut later = now + PAUSE;
        let trial = circuit.begin(later, HERE).expect("a trial");
        circuit.end(later, trial, Outcome::Failed);
        later += PAUSE;
        assert!(circuit.is_open(later, HERE) && circuit.begin(later, HERE).is_none());
        assert!(!circuit.is_open(later + PAUSE_AGAIN, HERE), "if nobody else comes");
        let trial = circuit.begin(later, ELSEWHERE).expect("the others' turn");
        assert_eq!(circuit.end(later, trial, Outcome::Well), Turn::Closed);
        assert!(!circuit.is_open(later, HERE));
    }

    #[test]
    fn a_back_end_that_refuses_is_there() {
        let now = Clock::now();
        let circuit = Circuit::new(TIMEOUT);
        for _ in 0..3 * FAILURES_MAX {
            let begun = circuit.begin(now, HERE).expect("closed");
            assert_eq!(circuit.end(now, begun, Outcome::Refused), Turn::Failed);
        }
        let expected = Counts { is_open: false, opened: 0, failed: u64::from(3 * FAILURES_MAX) };
        assert_eq!(circuit.news(), Some(expected));
        // It makes no failures undone, but ends a trial.
        for _ in 0..FAILURES_MAX {
            let failed = circuit.begin(now, HERE).expect("closed");
            circuit.end(now, failed, Outcome::Failed);
            if let Some(refused) = circuit.begin(now, HERE) {
                circuit.end(now, refused, Outcome::Refused);
            }
        }
        assert!(circuit.is_open(now, HERE));
        let trial = circuit.begin(now + PAUSE, HERE).expect("a trial");
        circuit.end(now + PAUSE, trial, Outcome::Refused);
        assert!(!circuit.is_open(now + PAUSE, HERE));
    }
}
