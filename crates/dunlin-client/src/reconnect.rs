//! When to try again: exponential back-off with jitter, a pure function of its seed.

use std::time::Duration;

/// How a lost connection is sought again.
///
/// The delay before attempt `n` is drawn evenly from the upper half of
/// `initial_delay` × 2ⁿ, capped at `maximum_delay`, so that many clients of a restarted server do
/// not come back at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// The longest the first delay can be. Default: 500 ms.
    pub initial_delay: Duration,
    /// The longest any delay can be. Default: 30 s.
    pub maximum_delay: Duration,
    /// How many attempts in a row may fail before the client gives up; `None`, the default, is
    /// never.
    pub attempts_max: Option<u32>,
    /// How long a connection must have lasted for the delays to start over. Default: 5 s.
    pub stable_after: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(500),
            maximum_delay: Duration::from_secs(30),
            attempts_max: None,
            stable_after: Duration::from_secs(5),
        }
    }
}

/// Counts attempts and gives the delay before each.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Reconnect,
    attempt: u32,
    random: u64,
}

impl Backoff {
    pub(crate) const fn new(policy: Reconnect, seed: u64) -> Self {
        Self { policy, attempt: 0, random: seed }
    }

    /// The number of the next attempt, from 1 on, and how long to wait before it; `None` when
    /// there is to be none.
    pub(crate) fn next(&mut self) -> Option<(u32, Duration)> {
        if self.policy.attempts_max.is_some_and(|max| self.attempt >= max) {
            return None;
        }
        let factor = 1u32.checked_shl(self.attempt).unwrap_or(u32::MAX);
        let longest =
            self.policy.initial_delay.saturating_mul(factor).min(self.policy.maximum_delay);
        self.attempt = self.attempt.saturating_add(1);
        let half = longest / 2;
        // 32 random bits as a fraction of the upper half.
        let nanos = half.as_nanos() * u128::from(self.next_random() >> 32) / (1 << 32);
        Some((self.attempt, half + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))))
    }

    /// A connection was accepted and has lasted this long before it was lost.
    pub(crate) fn connection_lasted(&mut self, duration: Duration) {
        if duration >= self.policy.stable_after {
            self.attempt = 0;
        }
    }

    /// SplitMix64: small, and even enough for jitter.
    const fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(initial_ms: u64, maximum_ms: u64) -> Reconnect {
        Reconnect {
            initial_delay: Duration::from_millis(initial_ms),
            maximum_delay: Duration::from_millis(maximum_ms),
            ..Reconnect::default()
        }
    }

    proptest! {
        #[test]
        fn each_delay_lies_in_the_upper_half_of_its_step(seed: u64) {
            let mut backoff = Backoff::new(policy(100, 3_000), seed);
            for longest in [100, 200, 400, 800, 1_600, 3_000, 3_000] {
                let (_, delay) = backoff.next().unwrap();
                prop_assert!(delay >= Duration::from_millis(longest) / 2);
                prop_assert!(delay <= Duration::from_millis(longest));
            }
        }
    }

    #[test]
    fn clients_with_different_seeds_come_back_at_different_moments() {
        let first = |seed| Backoff::new(Reconnect::default(), seed).next();
        assert_ne!(first(1), first(2));
        assert_eq!(first(7), first(7));
    }

    #[test]
    fn only_a_connection_that_lasted_starts_the_delays_over() {
        let mut backoff = Backoff::new(policy(100, 60_000), 0);
        for expected in 1..=3 {
            assert_eq!(backoff.next().unwrap().0, expected);
        }
        backoff.connection_lasted(Duration::from_secs(4));
        assert_eq!(backoff.next().unwrap().0, 4);
        backoff.connection_lasted(Duration::from_secs(5));
        assert_eq!(backoff.next().unwrap().0, 1);
    }

    #[test]
    fn attempts_end_at_their_maximum() {
        let policy = Reconnect { attempts_max: Some(2), ..Reconnect::default() };
        let mut backoff = Backoff::new(policy, 0);
        assert!(backoff.next().is_some());
        assert!(backoff.next().is_some());
        assert_eq!(backoff.next(), None);
    }

    #[test]
    fn delays_stay_at_the_maximum_for_ever() {
        let mut backoff = Backoff::new(policy(1, 60_000), 3);
        for _ in 0..100 {
            assert!(backoff.next().unwrap().1 <= Duration::from_secs(60));
        }
    }
}
