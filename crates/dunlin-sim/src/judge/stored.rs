//! What the store certainly has, as far as anybody was told.

use super::moment::Moment;
use dunlin_protocol::Instant;

/// The CONNACKs that wait for the store: each says that all is safe which was in the log before the
/// CONNECT was taken.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// When the CONNECT was taken, and when its CONNACK was written.
    answers: Vec<(Instant, Instant)>,
}

impl Stored {
    pub(super) fn note(&mut self, taken: Moment, written: Moment) {
        self.answers.push((taken.at, written.at));
    }

    /// Since when all is certainly safe that was in the log by then.
    pub(super) fn since(&self, logged: Instant) -> Option<Instant> {
        let later = self.answers.iter().filter(|(taken, _)| *taken > logged);
        later.map(|(_, written)| *written).min()
    }
}
