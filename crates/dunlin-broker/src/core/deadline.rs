//! When something is due, in as little memory as a point in time takes.

use dunlin_protocol::Instant;

/// When something is due, if it ever is. As small as an [`Instant`], whose end of time is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) const NEVER: Self = Self(Instant::from_micros(u64::MAX));

    pub(super) const fn at(at: Instant) -> Self {
        Self(at)
    }

    /// The time, unless it is never due.
    pub(super) fn instant(self) -> Option<Instant> {
        (self != Self::NEVER).then_some(self.0)
    }

    pub(super) fn is_due(self, now: Instant) -> bool {
        self.0 <= now && self != Self::NEVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_due_from_its_time_on_and_never_is_not() {
        let (before, at) = (Instant::from_micros(6), Instant::from_micros(7));
        let end = Instant::from_micros(u64::MAX);
        let deadline = Deadline::at(at);
        assert_eq!((deadline.is_due(before), deadline.is_due(at)), (false, true));
        assert_eq!((deadline.instant(), Deadline::NEVER.instant()), (Some(at), None));
        assert!(!Deadline::NEVER.is_due(end));
        assert_eq!(deadline.min(Deadline::NEVER), deadline);
        assert_eq!(size_of::<Deadline>(), size_of::<Instant>());
    }
}
