//! The books of a run: what each publisher has under way, and what each subscriber has to see next.
//!
//! They count what goes wrong and carry on. What they remember is bounded by the windows of the
//! publishers and the number of subscriptions, never by the length of the run.

mod arrivals;
mod gaps;
mod gathered;
mod outgoing;
mod retained;
mod subscription;
mod wills;

pub(crate) use arrivals::Arrivals;
pub(crate) use gathered::Gathered;
pub(crate) use outgoing::{Answer, Outgoing, Unanswered};
pub(crate) use retained::{Retained, is_there};
pub(crate) use wills::{WillVerdict, Wills};

/// What the books say of a message that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The one that was due, or a later one: so many before it have been skipped.
    Fresh {
        /// Messages of the same lane that should have come before it.
        skipped: u64,
    },
    /// It had been skipped: it comes too late.
    Late,
    /// It need not have come, and is welcome.
    Forgiven,
    /// It had come already.
    Doubled,
    /// It was never meant for this subscriber.
    Stray,
}

/// Messages that have not come, at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Owed.
    pub(crate) lost: u64,
    /// Forgiven, since a connection was cut.
    pub(crate) forgiven: u64,
}

impl std::ops::AddAssign for Missing {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.forgiven += other.forgiven;
    }
}
