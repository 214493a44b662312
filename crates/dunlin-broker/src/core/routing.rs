//! Who gets what: the index of this worker's subscriptions and of the other workers' interests.

use super::WorkerNumber;
use super::endpoints::Load;
use super::granted::{Granted, SessionKey, SubscriberKey};
use super::outgoing::Outgoing;
use dunlin_protocol::codec::Text;
use dunlin_topics::{FilterIndex, GroupId, MatchCache};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::hash::BuildHasher;

/// Topic Names whose recipients are remembered, and the memory for it.
const CACHE_ENTRIES_MAX: usize = 16 * 1024;
const CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The routing index of a worker with the cache before it, and the Client Identifiers.
pub(super) struct Routing {
    pub(super) index: FilterIndex<SubscriberKey, Granted>,
    pub(super) cache: MatchCache<SubscriberKey, Granted>,
    pub(super) turns: Turns,
}

/// Where the turn of each Shared Subscription is.
pub(super) type Turns = HashMap<GroupId, Turn>;

/// Who had the last messages of a Shared Subscription.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// The member of this worker that had the last one.
    pub(super) last: SubscriberKey,
    /// How much that member had to do before.
    pub(super) load: Load,
    /// Messages so far.
    pub(super) count: u32,
}

impl Turn {
    /// A session of this worker, which had so much to do before, is given a message.
    pub(super) fn had(&mut self, session: SessionKey, load: Load) {
        self.last = SubscriberKey::session(session);
        self.load = load;
    }
}

impl std::fmt::Debug for Routing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routing").field("subscriptions", &self.index.len()).finish()
    }
}

impl Routing {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            index: FilterIndex::new(seed),
            cache: MatchCache::new(seed, CACHE_ENTRIES_MAX, CACHE_BYTES_MAX),
            turns: HashMap::new(),
        }
    }

    /// Lets the cache find who is to have a message: once, however often it is asked for.
    #[inline]
    pub(super) fn look_up(&mut self, outgoing: &Outgoing<'_>) {
        let Self { index, cache, .. } = self;
        let is_found = outgoing.lookup.get().is_some_and(|lookup| cache.is_last(lookup, index));
        if !is_found {
            let lookup = cache.look_up(index, &outgoing.message.topic_name);
            outgoing.lookup.set(Some(lookup));
        }
    }
}

/// The worker that owns the session of a Client Identifier.
pub fn owner(client_identifier: &Text, workers: u8, seed: u64) -> WorkerNumber {
    let hash = FixedState::with_seed(seed).hash_one(client_identifier.as_bytes());
    // The upper half: the lower one places the identifier within the worker's table.
    let number = (hash >> 32) % u64::from(workers.max(1));
    WorkerNumber(u8::try_from(number).unwrap_or(0))
}
