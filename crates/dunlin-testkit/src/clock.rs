//! Time that moves when the test says so.

use core::time::Duration;
use dunlin_protocol::Instant;

/// A clock that starts at zero and never moves by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    now: Instant,
}

impl Clock {
    /// The present moment.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Moves on.
    pub fn advance(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    /// Moves on to this moment; never back.
    pub fn advance_to(&mut self, moment: Instant) {
        self.now = self.now.max(moment);
    }
}
