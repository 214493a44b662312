//! Topic Filter to subscribers and groups. Filters without wildcards stand in one hash table
//! keyed by the whole filter, the others in a trie: a publish costs one probe and a walk over the
//! wildcards that can touch it.

use crate::levels::effective;
use crate::list::List;
use crate::seed::Seed;
use crate::shared::{Group, GroupId, Groups};
use crate::text::Text;
use crate::trie::Trie;
use hashbrown::HashTable;

/// The index from Topic Filters to those who subscribed with them, the inverse of
/// [`NameIndex`](crate::NameIndex).
///
/// `K` names a subscriber and should be small; `V` is what it asked for with this filter. All
/// Topic Filters passed in are valid ones, as `dunlin_codec::TopicFilter` guarantees, and without
/// `$share/{ShareName}/`; Topic Names are as `dunlin_codec::TopicName` guarantees. Others never
/// panic, and behave like [`reference::matches`](crate::reference::matches).
///
/// Matching takes `&self` and writes nothing, so readers on many threads can share an index.
#[derive(Clone)]
pub struct FilterIndex<K, V> {
    exact: HashTable<Exact<K, V>>,
    trie: Trie<K, V>,
    groups: Groups<K, V>,
    seed: Seed,
    version: u64,
    len: usize,
}

#[derive(Clone)]
struct Exact<K, V> {
    topic_filter: Text,
    list: List<K, V>,
}

/// What a Topic Name found; see [`FilterIndex::for_each_match`].
pub enum Match<'a, K, V> {
    /// A subscription of this subscriber. One with overlapping subscriptions comes once for each.
    Subscriber(&'a K, &'a V),
    /// A Shared Subscription, of whose members one is to get the message.
    Group(&'a Group<K, V>),
}

/// How large an index is; see [`FilterIndex::statistics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Different Topic Filters, those of groups included.
    pub topic_filters: usize,
    /// Subscriptions, those of members of groups included.
    pub subscriptions: usize,
    /// Shared Subscription groups.
    pub groups: usize,
    /// Nodes of the trie that holds the filters with wildcards, the root included.
    pub nodes: usize,
    /// Bytes allocated. Of values only their own size counts, not what they allocate.
    pub bytes: usize,
}

impl<K: Copy + Ord, V> FilterIndex<K, V> {
    /// An empty index whose tables hash with `seed`: a random one where peers choose the filters,
    /// a fixed one where runs must repeat.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            exact: HashTable::new(),
            trie: Trie::new(),
            groups: Groups::new(),
            seed: Seed::new(seed),
            version: 0,
            len: 0,
        }
    }

    /// The number of subscriptions, those of members of groups included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nobody subscribed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Grows with every change, so that what was computed from the index can be known as outdated.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Adds a subscription, or replaces the subscriber's earlier one with the same filter, whose
    /// value it gives back [MQTT-3.8.4-3].
    pub fn insert(&mut self, topic_filter: &str, key: K, value: V) -> Option<V> {
        self.version += 1;
        let old = self.list_or_insert(topic_filter).insert(key, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes a subscription, and gives its value back if there was one.
    pub fn remove(&mut self, topic_filter: &str, key: K) -> Option<V> {
        let value = self.change(topic_filter, |list| list.remove(key))??;
        self.version += 1;
        self.len -= 1;
        Some(value)
    }

    /// The value of one subscription.
    #[must_use]
    pub fn get(&self, topic_filter: &str, key: K) -> Option<&V> {
        self.list(topic_filter)?.get(key)
    }

    /// Makes a subscriber a member of the group that Share Name and Topic Filter name, or replaces
    /// its earlier subscription there, whose value it gives back.
    pub fn insert_shared(
        &mut self,
        share_name: &str,
        topic_filter: &str,
        key: K,
        value: V,
    ) -> Option<V> {
        self.version += 1;
        let topic_filter = effective(topic_filter).0;
        let group = self.groups.find(&self.seed, share_name, topic_filter).unwrap_or_else(|| {
            let group = self.groups.add(&self.seed, share_name, topic_filter);
            self.list_or_insert(topic_filter).insert_group(group);
            group
        });
        let old = self.groups.insert_member(group, key, value);
        self.len += usize::from(old.is_none());
        old
    }

    /// Takes a member out of a group, and gives back the value of its subscription if it was one.
    /// The group goes with its last member.
    pub fn remove_shared(&mut self, share_name: &str, topic_filter: &str, key: K) -> Option<V> {
        let topic_filter = effective(topic_filter).0;
        let group = self.groups.find(&self.seed, share_name, topic_filter)?;
        let value = self.groups.remove_member(group, key)?;
        self.version += 1;
        self.len -= 1;
        if self.groups.prune(&self.seed, group) {
            self.change(topic_filter, |list| list.remove_group(group));
        }
        Some(value)
    }

    /// The group of this Share Name and Topic Filter.
    #[must_use]
    pub fn shared(&self, share_name: &str, topic_filter: &str) -> Option<&Group<K, V>> {
        let topic_filter = effective(topic_filter).0;
        self.group(self.groups.find(&self.seed, share_name, topic_filter)?)
    }

    /// The group that a handle of this version of the index stands for.
    #[must_use]
    #[inline]
    pub fn group(&self, id: GroupId) -> Option<&Group<K, V>> {
        self.groups.get(id)
    }

    /// Calls `f` with each subscription and each group whose filter matches `topic_name`, by all
    /// rules of §4.7. Filters come in an order that depends on them alone; a filter's subscribers
    /// in key order, then its groups.
    ///
    /// Allocates nothing, except that more than 16 branches of the trie waiting at once (filters
    /// that agree with the name on 16 levels and differ in their use of `+` on each) take a buffer
    /// for the call.
    #[inline]
    pub fn for_each_match<'a>(&'a self, topic_name: &str, mut f: impl FnMut(Match<'a, K, V>)) {
        let name = topic_name.as_bytes();
        // Places in the name are 32 bits wide; the standard's limit is 65,535 bytes.
        if u32::try_from(name.len()).is_err() {
            return;
        }
        let mut visit = |list: &'a List<K, V>| match list {
            List::Empty => {}
            List::One(key, value) => f(Match::Subscriber(key, value)),
            List::Many(many) => {
                for (key, value) in many.subscribers.iter() {
                    f(Match::Subscriber(key, value));
                }
                for group in many.groups.iter().filter_map(|id| self.groups.get(*id)) {
                    f(Match::Group(group));
                }
            }
        };
        if !self.exact.is_empty() {
            let hash = self.seed.hash(name);
            let is_it = |exact: &Exact<K, V>| exact.topic_filter.as_bytes() == name;
            if let Some(exact) = self.exact.find(hash, is_it) {
                visit(&exact.list);
            }
        }
        self.trie.for_each_match(&self.seed, name, visit);
    }

    /// Counts what the index holds. Walks over all of it: for tests and reports.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let of_exact =
            |exact: &Exact<K, V>| exact.topic_filter.heap_bytes() + exact.list.heap_bytes();
        let exact_bytes: usize = self.exact.iter().map(of_exact).sum();
        Statistics {
            topic_filters: self.exact.len() + self.trie.lists().count(),
            subscriptions: self.len,
            groups: self.groups.len(),
            nodes: self.trie.nodes_len(),
            bytes: self.exact.allocation_size()
                + exact_bytes
                + self.trie.bytes()
                + self.groups.bytes(),
        }
    }

    fn list(&self, topic_filter: &str) -> Option<&List<K, V>> {
        let (topic_filter, wildcard) = effective(topic_filter);
        if wildcard {
            return self.trie.get(&self.seed, topic_filter);
        }
        let hash = self.seed.hash(topic_filter.as_bytes());
        let is_it = |exact: &Exact<K, V>| exact.topic_filter.as_bytes() == topic_filter.as_bytes();
        Some(&self.exact.find(hash, is_it)?.list)
    }

    fn list_or_insert(&mut self, topic_filter: &str) -> &mut List<K, V> {
        let (topic_filter, wildcard) = effective(topic_filter);
        if wildcard {
            return self.trie.get_or_insert(&self.seed, topic_filter);
        }
        let hash = self.seed.hash(topic_filter.as_bytes());
        let entry = self.exact.entry(
            hash,
            |exact| exact.topic_filter.as_bytes() == topic_filter.as_bytes(),
            |exact| self.seed.hash(exact.topic_filter.as_bytes()),
        );
        let new = || Exact { topic_filter: Text::new(topic_filter), list: List::Empty };
        &mut entry.or_insert_with(new).into_mut().list
    }

    /// Changes the list of `topic_filter`, if there is one, and drops it if nothing is left in it.
    fn change<R>(
        &mut self,
        topic_filter: &str,
        change: impl FnOnce(&mut List<K, V>) -> R,
    ) -> Option<R> {
        let (topic_filter, wildcard) = effective(topic_filter);
        if wildcard {
            return self.trie.change(&self.seed, topic_filter, change);
        }
        let hash = self.seed.hash(topic_filter.as_bytes());
        let is_it = |exact: &Exact<K, V>| exact.topic_filter.as_bytes() == topic_filter.as_bytes();
        let mut entry = self.exact.find_entry(hash, is_it).ok()?;
        let result = change(&mut entry.get_mut().list);
        if entry.get().list.is_empty() {
            entry.remove();
            let seed = &self.seed;
            crate::shrink_table(&mut self.exact, |exact| seed.hash(exact.topic_filter.as_bytes()));
        }
        Some(result)
    }
}

impl<K: Copy + Ord, V> core::fmt::Debug for FilterIndex<K, V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FilterIndex")
            .field("len", &self.len)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
