//! Who gets an Application Message: everything that matches one Topic Name, with the overlapping
//! subscriptions of each subscriber merged.

use crate::filter_index::{FilterIndex, Match};
use crate::shared::GroupId;
use alloc::vec::Vec;

/// The value of a subscription, which knows how overlapping ones become one.
pub trait Subscription: Clone {
    /// Takes up what `other` asks for too. Where a client's subscriptions overlap, the message
    /// goes out once, with the highest of their QoS [MQTT-3.3.4-2] and with all their Subscription
    /// Identifiers [MQTT-3.3.4-4]. The order in which subscriptions merge should not matter.
    fn merge(&mut self, other: &Self);
}

/// The subscribers, each once and in key order, and the groups that one Topic Name reaches.
#[derive(Clone, Debug)]
pub struct Recipients<K, V> {
    subscribers: Vec<(K, V)>,
    groups: Vec<GroupId>,
}

impl<K, V> Default for Recipients<K, V> {
    fn default() -> Self {
        Self { subscribers: Vec::new(), groups: Vec::new() }
    }
}

impl<K: Copy + Ord, V: Subscription> Recipients<K, V> {
    /// Replaces what this value holds by the recipients of `topic_name`, in the same buffers.
    pub fn collect(&mut self, index: &FilterIndex<K, V>, topic_name: &str) {
        self.subscribers.clear();
        self.groups.clear();
        index.for_each_match(topic_name, |found| match found {
            Match::Subscriber(key, value) => self.subscribers.push((*key, value.clone())),
            Match::Group(group) => self.groups.push(group.id()),
        });
        // One filter's subscribers come in order; only overlapping filters make work.
        if !self.subscribers.is_sorted_by(|(one, _), (next, _)| one < next) {
            self.subscribers.sort_unstable_by_key(|(key, _)| *key);
            self.subscribers.dedup_by(|(next, value), (kept, merged)| {
                let same = next == kept;
                if same {
                    merged.merge(value);
                }
                same
            });
        }
        if self.groups.len() > 1 {
            self.groups.sort_unstable();
        }
    }
}

impl<K, V> Recipients<K, V> {
    /// The subscribers with their merged subscriptions, in key order.
    #[must_use]
    pub fn subscribers(&self) -> &[(K, V)] {
        &self.subscribers
    }

    /// The groups of whose members one is to be chosen each; [`FilterIndex::group`] opens the
    /// handles, while the index has the version that these recipients were collected from.
    #[must_use]
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// Whether nobody gets the message (MQTT 5: Reason Code 0x10, No matching subscribers).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscribers.is_empty() && self.groups.is_empty()
    }

    /// Bytes allocated; of values only their own size counts.
    pub(crate) fn bytes(&self) -> usize {
        self.subscribers.capacity() * size_of::<(K, V)>()
            + self.groups.capacity() * size_of::<GroupId>()
    }

    /// Gives back buffers that are far larger than what they hold.
    pub(crate) fn trim(&mut self) {
        trim(&mut self.subscribers);
        trim(&mut self.groups);
    }
}

fn trim<T>(buffer: &mut Vec<T>) {
    if buffer.capacity() > 16 && buffer.capacity() / 4 > buffer.len() {
        buffer.shrink_to(buffer.len() * 2);
    }
}
