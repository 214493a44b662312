//! What the committing thread knows of the store without reading it.

use crate::encoding::{Counters, State};
use crate::keys::Names;
use crate::retained::Changes;
use fjall::UserKey;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use hashbrown::hash_map::EntryRef;
use std::collections::{BTreeMap, VecDeque};

/// The part of the store that is kept in memory: next to nothing for each message.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By Client Identifier. A million of them are to be cheap.
    pub(crate) clients: HashMap<Box<[u8]>, Client, RandomState>,
    /// How many messages all queues have.
    pub(crate) queued: u64,
    /// How many queues refer to each message that is stored once for several.
    pub(crate) references: HashMap<u64, u32, RandomState>,
    pub(crate) counters: Counters,
    pub(crate) names: Names,
    pub(crate) changes: Changes,
    /// Sessions that have ended, whose rows have yet to be removed.
    pub(crate) garbage: VecDeque<u64>,
    /// Of how many tables the first of them has no rows any more, and the last row that was removed
    /// from the next one.
    pub(crate) cleaned: (usize, Option<UserKey>),
    /// Messages that nobody refers to, as a start found them.
    pub(crate) orphans: VecDeque<u64>,
}

impl Index {
    /// What is known of a Client, be it nothing.
    pub(crate) fn client(&mut self, client_identifier: &[u8]) -> &mut Client {
        match self.clients.entry_ref(client_identifier) {
            EntryRef::Occupied(client) => client.into_mut(),
            EntryRef::Vacant(place) => {
                place.insert_with_key(client_identifier.into(), Client::default())
            }
        }
    }
}

/// What is known of a Client.
#[derive(Debug, Default)]
pub(crate) struct Client {
    /// Under which number its rows are; 0 while there are none.
    pub(crate) number: u64,
    pub(crate) has_will: bool,
    /// The highest number that a message of its queue has or had.
    pub(crate) last_number: u64,
    /// How many rows of its queue refer to a message elsewhere.
    pub(crate) references: u32,
    /// Messages that are not just waiting. An exchange or a decision is under way for each, so they
    /// are few.
    pub(crate) states: BTreeMap<u64, Tracked>,
}

/// The state of a message's delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) state: State,
    /// Whether it has a row of its own: what began with the message stands in the message's.
    pub(crate) has_row: bool,
}
