//! Messages that wait in the store alone, and how a core gets them back.

use super::{Record, SessionKey};
use dunlin_protocol::codec::Text;

/// The core wants to have the next messages of a session's queue in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Whose queue, for the answer: its place, and the count that tells it from earlier ones.
    pub session: (SessionKey, u32),
    /// Whose queue, for the store.
    pub client_identifier: Text,
    /// Messages with higher numbers are wanted.
    pub after: u64,
    /// At most so many.
    pub messages_max: usize,
    /// No further one once they have so many bytes, by [`Message::size`].
    ///
    /// [`Message::size`]: dunlin_protocol::Message::size
    pub bytes_max: usize,
}

/// What a store has to a [`Fetch`].
///
/// It is what all records add up to that this worker's core gave out before the Fetch: what it
/// gave out later may be in it or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// As in the Fetch.
    pub session: (SessionKey, u32),
    /// The messages, each as its [`Record::Owed`], lowest number first. Those that came by a Shared
    /// Subscription, and those whose exchange has begun, are left out: the core has them.
    pub messages: Vec<Record>,
    /// Whether the session has more of them; not without a message in this answer.
    pub more: bool,
    /// How many messages were passed over because what is stored of them is damaged.
    pub damaged: u64,
}
