//! Places in a history.

use dunlin_protocol::Instant;

/// A place in the history: which event it was, and when. Places are compared by the event: many
/// happen at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Counts the events.
    pub(super) event: u64,
    /// When it was.
    pub(super) at: Instant,
}

/// What can be said of something that nobody has answered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Presence {
    /// It is certainly not there.
    Absent,
    /// It may be there.
    Possible,
    /// It is certainly there.
    Certain,
}
