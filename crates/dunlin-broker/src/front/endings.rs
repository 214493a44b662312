//! What became of the last handshakes: whether those that come are meant.

use std::time::{Duration, Instant as Clock};

/// In how much time what became of handshakes comes to count half as much.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// So many times as many handshakes as may be under way are remembered.
const RECENT_TIMES: usize = 4;

pub(super) struct Endings {
    finished: usize,
    given_up: usize,
    /// How many handshakes may be under way.
    half_open_max: usize,
    /// When they last came to count half as much.
    aged_at: Clock,
}

impl Endings {
    pub(super) const fn new(half_open_max: usize, now: Clock) -> Self {
        Self { finished: 0, given_up: 0, half_open_max, aged_at: now }
    }

    /// Counts whether a handshake came to an end: the last ones count most.
    pub(super) const fn note(&mut self, is_finished: bool) {
        *if is_finished { &mut self.finished } else { &mut self.given_up } += 1;
        if self.finished + self.given_up > RECENT_TIMES * self.half_open_max {
            self.finished /= 2;
            self.given_up /= 2;
        }
    }

    /// Lets count less what is long ago.
    pub(super) fn age(&mut self, now: Clock) {
        let half_lives =
            now.saturating_duration_since(self.aged_at).as_secs() / HALF_LIFE.as_secs();
        if half_lives > 0 {
            let halved = u32::try_from(half_lives).unwrap_or(u32::MAX);
            self.finished = self.finished.checked_shr(halved).unwrap_or(0);
            self.given_up = self.given_up.checked_shr(halved).unwrap_or(0);
            self.aged_at = now;
        }
    }

    /// Whether most of the last handshakes came to nothing, and so many that it is not just a crowd that
    /// was slow to answer when it came.
    pub(super) const fn is_siege(&self) -> bool {
        self.given_up > self.finished + self.half_open_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_siege_is_more_that_came_to_nothing_than_may_be_under_way_and_ends_with_time() {
        let base = Clock::now();
        let mut endings = Endings::new(4, base);
        (0..4).for_each(|_| endings.note(false));
        assert!(!endings.is_siege());
        (0..3).for_each(|_| endings.note(false));
        assert!(endings.is_siege());
        endings.note(true);
        endings.note(true);
        assert!(endings.is_siege());
        endings.note(true);
        assert!(!endings.is_siege());
        (0..4).for_each(|_| endings.note(false));
        assert!(endings.is_siege());
        endings.age(base + HALF_LIFE - Duration::from_nanos(1));
        assert!(endings.is_siege());
        endings.age(base + HALF_LIFE);
        assert!(!endings.is_siege());
    }

    #[test]
    fn what_is_long_ago_is_outweighed_by_what_came_since() {
        let base = Clock::now();
        let mut endings = Endings::new(4, base);
        (0..1_000).for_each(|_| endings.note(true));
        let later = (0..1_000).position(|_| {
            endings.note(false);
            endings.is_siege()
        });
        assert!(later.is_some_and(|later| later < 4 * 4));
    }
}
