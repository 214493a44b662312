//! Shared Subscription groups (§4.8.2): one per Share Name and Topic Filter, each with its
//! members in key order.

use crate::arena::Arena;
use crate::members::{Members, MembersIter};
use crate::seed::{Handle, Seed, position};
use alloc::boxed::Box;
use alloc::sync::Arc;
use hashbrown::HashTable;

/// A handle to a [`Group`], good while the index keeps its [`version`](crate::FilterIndex::version).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub(crate) u32);

/// A Shared Subscription: Share Name and Topic Filter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName {
    /// The Share Name.
    pub share_name: Box<str>,
    /// The Topic Filter that follows it.
    pub topic_filter: Box<str>,
}

/// The sessions that share one subscription: a Share Name, a Topic Filter, and the members of
/// which each Application Message goes to one, whom the caller chooses [MQTT-4.8.2-4].
#[derive(Clone)]
pub struct Group<K, V> {
    id: GroupId,
    name: Arc<GroupName>,
    members: Members<K, V>,
}

impl<K: Copy + Ord, V> Group<K, V> {
    /// The handle under which [`FilterIndex::group`](crate::FilterIndex::group) finds this group.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// Its name, for whoever has to remember where a message came from.
    #[must_use]
    pub fn name(&self) -> &Arc<GroupName> {
        &self.name
    }

    /// The Share Name, without `$share/`.
    #[must_use]
    pub fn share_name(&self) -> &str {
        &self.name.share_name
    }

    /// The Topic Filter that follows the Share Name.
    #[must_use]
    pub fn topic_filter(&self) -> &str {
        &self.name.topic_filter
    }

    /// The members and the values of their subscriptions, in key order; there is at least one.
    #[must_use]
    pub fn members(&self) -> MembersIter<'_, K, V> {
        self.members.iter()
    }

    /// How many members there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a group without members does not exist")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// The value of one member's subscription.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&V> {
        self.members.get(key)
    }

    /// All members, once round: those that follow `key` in key order, then the others from the
    /// first one on. A caller that remembers whom it chose last takes turns with it. `key` need not
    /// be a member (any more).
    pub fn members_after(&self, key: K) -> impl Iterator<Item = (&K, &V)> {
        self.members.iter_after(key)
    }

    /// The member with the highest key.
    #[must_use]
    pub fn last_member(&self) -> Option<(&K, &V)> {
        self.members.last()
    }
}

impl<K: Copy + Ord + core::fmt::Debug, V: core::fmt::Debug> core::fmt::Debug for Group<K, V> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "$share/{}/{} ", self.share_name(), self.topic_filter())?;
        f.debug_map().entries(self.members()).finish()
    }
}

/// All groups of an index, found by Share Name and Topic Filter or by handle.
#[derive(Clone)]
pub(crate) struct Groups<K, V> {
    arena: Arena<Group<K, V>>,
    table: HashTable<Handle>,
}

impl<K: Copy + Ord, V> Groups<K, V> {
    pub(crate) const fn new() -> Self {
        Self { arena: Arena::new(), table: HashTable::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.arena.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: GroupId) -> Option<&Group<K, V>> {
        self.arena.get(id.0)
    }

    pub(crate) fn find(
        &self,
        seed: &Seed,
        share_name: &str,
        topic_filter: &str,
    ) -> Option<GroupId> {
        let hash = seed.hash_pair(share_name.as_bytes(), topic_filter.as_bytes());
        let found = self.table.find(position(hash), |handle| {
            let same = |group: &Group<K, V>| {
                group.share_name() == share_name && group.topic_filter() == topic_filter
            };
            handle.may_be(hash) && self.arena.get(handle.id).is_some_and(same)
        });
        found.map(|handle| GroupId(handle.id))
    }

    /// Adds a group without members; the caller adds the first at once.
    pub(crate) fn add(&mut self, seed: &Seed, share_name: &str, topic_filter: &str) -> GroupId {
        let hash = seed.hash_pair(share_name.as_bytes(), topic_filter.as_bytes());
        let id = self.arena.insert(Group {
            id: GroupId(0),
            name: Arc::new(GroupName {
                share_name: share_name.into(),
                topic_filter: topic_filter.into(),
            }),
            members: Members::new(),
        });
        self.arena[id].id = GroupId(id);
        self.table.insert_unique(position(hash), Handle::new(hash, id), |handle| handle.position());
        GroupId(id)
    }

    pub(crate) fn insert_member(&mut self, id: GroupId, key: K, value: V) -> Option<V> {
        self.arena[id.0].members.insert(key, value)
    }

    pub(crate) fn remove_member(&mut self, id: GroupId, key: K) -> Option<V> {
        self.arena[id.0].members.remove(key)
    }

    /// Drops the group if nobody is left in it, and says whether it did.
    pub(crate) fn prune(&mut self, seed: &Seed, id: GroupId) -> bool {
        if self.arena[id.0].members.len() > 0 {
            return false;
        }
        let group = self.arena.remove(id.0);
        let hash = seed.hash_pair(group.share_name().as_bytes(), group.topic_filter().as_bytes());
        if let Ok(entry) = self.table.find_entry(position(hash), |handle| handle.id == id.0) {
            entry.remove();
        }
        crate::shrink_table(&mut self.table, |handle| handle.position());
        true
    }

    pub(crate) fn bytes(&self) -> usize {
        let of_groups = self.arena.iter().map(|group| {
            let name = group.share_name().len() + group.topic_filter().len();
            NAME_BYTES + name + group.members.bytes()
        });
        self.arena.bytes() + self.table.allocation_size() + of_groups.sum::<usize>()
    }
}

/// What the shared name of a group takes beside its text, with its two counts.
const NAME_BYTES: usize = size_of::<GroupName>() + 2 * size_of::<usize>();
