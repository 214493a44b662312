//! Client Identifiers and their sessions.

use super::SessionKey;
use super::pressure::SPARSE;
use super::session::Session;
use super::slab::Slab;
use dunlin_protocol::codec::Text;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// Finds the session of a Client Identifier; the identifier itself lies in the session alone.
#[derive(Debug)]
pub(super) struct Registry {
    table: HashTable<u32>,
    hasher: FixedState,
}

impl Registry {
    pub(super) fn new(seed: u64) -> Self {
        Self { table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    fn hash(&self, client_identifier: &Text) -> u64 {
        self.hasher.hash_one(client_identifier.as_bytes())
    }

    pub(super) fn find(
        &self,
        sessions: &Slab<Session>,
        client_identifier: &Text,
    ) -> Option<SessionKey> {
        let hash = self.hash(client_identifier);
        self.table
            .find(hash, |index| sessions[*index].client_identifier == *client_identifier)
            .map(|index| SessionKey(*index))
    }

    /// Adds a session that is in the slab and whose identifier is not yet known.
    pub(super) fn insert(&mut self, sessions: &Slab<Session>, key: SessionKey) {
        let hash = self.hash(&sessions[key.0].client_identifier);
        let hasher = &self.hasher;
        self.table.insert_unique(hash, key.0, |index| {
            hasher.hash_one(sessions[*index].client_identifier.as_bytes())
        });
    }

    /// Forgets a session that is still in the slab.
    pub(super) fn remove(&mut self, sessions: &Slab<Session>, key: SessionKey) {
        let hash = self.hash(&sessions[key.0].client_identifier);
        if let Ok(entry) = self.table.find_entry(hash, |index| *index == key.0) {
            entry.remove();
        }
    }
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// Gives back room that few of the sessions need which were here once.
    pub(super) fn shrink(&mut self, sessions: &Slab<Session>) {
        let len = self.table.len();
        if len < self.table.capacity() / SPARSE {
            let hasher = &self.hasher;
            self.table.shrink_to(2 * len, |index| {
                hasher.hash_one(sessions[*index].client_identifier.as_bytes())
            });
        }
    }
}
