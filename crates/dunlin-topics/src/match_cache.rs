//! Recipients by Topic Name, for names that come again: a hit is one hash and one comparison.

use crate::filter_index::FilterIndex;
use crate::recipients::{Recipients, Subscription};
use crate::seed::{Handle, Seed, position};
use alloc::vec::Vec;
use hashbrown::HashTable;

/// The most credit that hits can earn, and the credit of a new cache.
const CREDIT_MAX: u32 = 64;
/// What a hit earns; a miss costs one. With fewer hits than one in five the credit runs out.
const CREDIT_PER_HIT: u32 = 4;
/// Without credit only one request in so many goes through the cache, to see whether it pays again.
const TRIAL_EVERY: u32 = 32;

/// Remembers the [`Recipients`] of the Topic Names that were asked for last.
///
/// What it remembers holds for one version of the index: after a change of the index each name is
/// matched anew when it is asked for, in the buffers that it already has. A cache belongs to one
/// index. Names that were not asked for again since their turn came last make room for new ones
/// (second chance), so that names which come once do not displace those that come often.
///
/// While nearly nothing hits, because the index changes before each request or because no name
/// comes twice, most requests pass the cache by, so that it costs little where it can't help.
#[derive(Clone, Debug)]
pub struct MatchCache<K, V> {
    table: HashTable<Handle>,
    entries: Vec<Entry<K, V>>,
    /// Entries in use whose name was dropped; their place is taken first.
    vacant: Vec<u32>,
    /// Where the search for an entry to evict goes on.
    hand: usize,
    bytes: usize,
    entries_max: usize,
    bytes_max: usize,
    /// What was computed last without being kept.
    unkept: Recipients<K, V>,
    /// Where the recipients are that were asked for last.
    last: Place,
    lookups: u64,
    credit: u32,
    requests_without_credit: u32,
    seed: Seed,
}

/// Names one request of a cache; see [`MatchCache::is_last`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    number: u64,
    version: u64,
}

/// Where recipients are.
#[derive(Clone, Copy, Debug)]
enum Place {
    Entry(u32),
    Unkept,
}

#[derive(Clone, Debug)]
struct Entry<K, V> {
    topic_name: Vec<u8>,
    recipients: Recipients<K, V>,
    version: u64,
    is_live: bool,
    was_used: bool,
}

impl<K, V> Entry<K, V> {
    fn new() -> Self {
        Self {
            topic_name: Vec::new(),
            recipients: Recipients::default(),
            version: 0,
            is_live: false,
            was_used: false,
        }
    }

    fn bytes(&self) -> usize {
        let handle = size_of::<Handle>() + 1;
        size_of::<Self>() + handle + self.topic_name.capacity() + self.recipients.bytes()
    }
}

impl<K: Copy + Ord, V: Subscription> MatchCache<K, V> {
    /// A cache of at most `entries_max` Topic Names that takes at most about `bytes_max` bytes,
    /// not counting what the values of subscriptions allocate. With either at zero nothing is kept.
    #[must_use]
    pub fn new(seed: u64, entries_max: usize, bytes_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            entries: Vec::new(),
            vacant: Vec::new(),
            hand: 0,
            bytes: 0,
            entries_max: entries_max.min(u32::MAX as usize),
            bytes_max,
            unkept: Recipients::default(),
            last: Place::Unkept,
            lookups: 0,
            credit: CREDIT_MAX,
            requests_without_credit: 0,
            seed: Seed::new(seed),
        }
    }

    /// The recipients of `topic_name` by the present state of `index`.
    #[inline]
    pub fn recipients(&mut self, index: &FilterIndex<K, V>, topic_name: &str) -> &Recipients<K, V> {
        self.look_up(index, topic_name);
        self.found()
    }

    /// Looks up the recipients of `topic_name`, for [`MatchCache::found`].
    #[inline]
    pub fn look_up(&mut self, index: &FilterIndex<K, V>, topic_name: &str) -> Lookup {
        let version = index.version();
        self.lookups += 1;
        if self.is_that_again(version, topic_name) {
            self.credit = (self.credit + CREDIT_PER_HIT).min(CREDIT_MAX);
        } else {
            self.last = self.find(index, topic_name);
        }
        Lookup { number: self.lookups, version }
    }

    /// Whether what was looked up so is still what [`MatchCache::found`] gives, and still true: for
    /// those who want the recipients of one message several times.
    #[inline]
    #[must_use]
    pub fn is_last(&self, lookup: Lookup, index: &FilterIndex<K, V>) -> bool {
        lookup == Lookup { number: self.lookups, version: index.version() }
    }

    /// What was looked up last.
    #[inline]
    #[must_use]
    pub fn found(&self) -> &Recipients<K, V> {
        match self.last {
            Place::Entry(id) => &self.entries[id as usize].recipients,
            Place::Unkept => &self.unkept,
        }
    }

    /// Whether the entry that was asked for last is asked for again: many publishers stay with their
    /// Topic Name.
    #[inline]
    fn is_that_again(&mut self, version: u64, topic_name: &str) -> bool {
        let Place::Entry(id) = self.last else { return false };
        let entry = &mut self.entries[id as usize];
        let is_it = entry.version == version && entry.topic_name == topic_name.as_bytes();
        entry.was_used |= is_it;
        is_it
    }

    /// The recipients of any `topic_name`.
    fn find(&mut self, index: &FilterIndex<K, V>, topic_name: &str) -> Place {
        if self.credit == 0 {
            self.requests_without_credit = self.requests_without_credit.wrapping_add(1);
            if !self.requests_without_credit.is_multiple_of(TRIAL_EVERY) {
                return self.compute(index, topic_name);
            }
        }
        let hash = self.seed.hash(topic_name.as_bytes());
        let found = self.table.find(position(hash), |handle| {
            handle.may_be(hash)
                && self.entries[handle.id as usize].topic_name == topic_name.as_bytes()
        });
        let id = match found {
            Some(handle) => {
                let id = handle.id;
                let entry = &mut self.entries[id as usize];
                entry.was_used = true;
                if entry.version == index.version() {
                    self.credit = (self.credit + CREDIT_PER_HIT).min(CREDIT_MAX);
                    return Place::Entry(id);
                }
                id
            }
            None => match self.admit(hash, topic_name) {
                Some(id) => id,
                None => return self.compute(index, topic_name),
            },
        };
        self.credit = self.credit.saturating_sub(1);
        self.refresh(index, topic_name, id)
    }

    /// How many Topic Names are remembered, also for a past version of the index.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no Topic Name is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The bytes that the remembered names and recipients take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        self.table = HashTable::new();
        self.entries = Vec::new();
        self.vacant = Vec::new();
        self.hand = 0;
        self.bytes = 0;
        self.unkept = Recipients::default();
        self.last = Place::Unkept;
        self.lookups += 1;
        self.credit = CREDIT_MAX;
    }

    /// The recipients without the cache.
    fn compute(&mut self, index: &FilterIndex<K, V>, topic_name: &str) -> Place {
        self.unkept.collect(index, topic_name);
        self.unkept.trim();
        Place::Unkept
    }

    /// Computes an entry's recipients anew, and keeps the cache within its bytes.
    fn refresh(&mut self, index: &FilterIndex<K, V>, topic_name: &str, id: u32) -> Place {
        let entry = &mut self.entries[id as usize];
        let before = entry.bytes();
        entry.recipients.collect(index, topic_name);
        entry.recipients.trim();
        entry.version = index.version();
        let after = entry.bytes();
        self.bytes = self.bytes - before + after;
        if self.bytes <= self.bytes_max {
            return Place::Entry(id);
        }
        if after > self.bytes_max {
            self.unkept = core::mem::take(&mut self.entries[id as usize].recipients);
            self.bytes -= self.unkept.bytes();
            self.forget(id);
            return Place::Unkept;
        }
        while self.bytes > self.bytes_max {
            let Some(victim) = self.next_victim(id) else { break };
            self.forget(victim);
        }
        Place::Entry(id)
    }

    /// A place for a new Topic Name, not filled yet: a vacant one, a new one, or the buffers of
    /// one that goes.
    fn admit(&mut self, hash: u64, topic_name: &str) -> Option<u32> {
        if self.entries_max == 0 || self.bytes_max < topic_name.len() {
            return None;
        }
        let id = match self.vacant.pop() {
            Some(id) => {
                self.bytes += self.entries[id as usize].bytes();
                id
            }
            None if self.entries.len() < self.entries_max => {
                self.entries.push(Entry::new());
                let id = self.entries.len() - 1;
                self.bytes += self.entries[id].bytes();
                id as u32
            }
            None => {
                let id = self.next_victim(u32::MAX)?;
                self.unlist(id);
                id
            }
        };
        let entry = &mut self.entries[id as usize];
        let before = entry.topic_name.capacity();
        entry.topic_name.clear();
        entry.topic_name.extend_from_slice(topic_name.as_bytes());
        entry.is_live = true;
        entry.was_used = false;
        self.bytes = self.bytes - before + entry.topic_name.capacity();
        self.table.insert_unique(position(hash), Handle::new(hash, id), |handle| handle.position());
        Some(id)
    }

    /// Turns the clock's hand to an entry that was not used since it was here last.
    fn next_victim(&mut self, except: u32) -> Option<u32> {
        // Two rounds: the first may only find used ones.
        for _ in 0..self.entries.len() * 2 {
            self.hand = if self.hand + 1 < self.entries.len() { self.hand + 1 } else { 0 };
            let entry = &mut self.entries[self.hand];
            if !entry.is_live || self.hand == except as usize {
                continue;
            }
            if !core::mem::replace(&mut entry.was_used, false) {
                return Some(self.hand as u32);
            }
        }
        None
    }

    /// Takes an entry out of the table; its buffers stay.
    fn unlist(&mut self, id: u32) {
        let hash = self.seed.hash(&self.entries[id as usize].topic_name);
        if let Ok(entry) = self.table.find_entry(position(hash), |handle| handle.id == id) {
            entry.remove();
        }
    }

    /// Drops an entry and its buffers.
    fn forget(&mut self, id: u32) {
        self.unlist(id);
        let entry = &mut self.entries[id as usize];
        self.bytes -= entry.bytes();
        *entry = Entry::new();
        self.vacant.push(id);
    }
}
