//! What a core holds: what was dropped for a Client, and, counted anew for tests, what there is, which
//! they compare with the counters and look for what was left behind.

use super::Core;
use super::counters::DropCause;
use super::session::Session;
use dunlin_protocol::codec::Text;

/// How much of what a core holds at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Census {
    /// Timers in all buckets, those of owners that are gone included.
    pub(super) timers: usize,
    /// Notes of messages in flight.
    pub(super) notes: usize,
    /// Retained messages under way: new subscriptions that get them.
    pub(super) cursors: usize,
    /// Publishes that wait for other workers, the store, or room.
    pub(super) pending: usize,
    /// SUBACKs that wait for other workers.
    pub(super) awaited: usize,
}

impl Core {
    /// What was dropped for a Client of this worker since its session began, by cause; nothing for
    /// one without a session here.
    pub fn dropped_of(&self, client_identifier: &Text) -> Vec<(DropCause, u64)> {
        let key = self.registry.find(&self.endpoints.sessions, client_identifier);
        let session = key.and_then(|key| self.endpoints.sessions.get(key.0));
        session.and_then(|session| session.drops.as_ref()).map_or_else(Vec::new, |it| it.counts())
    }

    /// How many messages wait for a Client of this worker.
    pub fn queued_of(&self, client_identifier: &Text) -> usize {
        let key = self.registry.find(&self.endpoints.sessions, client_identifier);
        let session = key.and_then(|key| self.endpoints.sessions.get(key.0));
        session.map_or(0, |session| session.queue.len())
    }

    pub(super) fn census(&self) -> Census {
        let rare = || self.sessions().filter_map(|session| session.rare.as_deref());
        Census {
            timers: self.timers.len(),
            notes: rare().map(|rare| rare.notes.len()).sum(),
            cursors: rare().map(|rare| rare.cursors.len()).sum(),
            pending: self.pending.len() + self.endpoints.prepared_len(),
            awaited: self.interest.awaited_len(),
        }
    }

    fn sessions(&self) -> impl Iterator<Item = &Session> + '_ {
        self.endpoints.sessions.indices().map(|index| &self.endpoints.sessions[index])
    }

    /// # Panics
    /// When the counters, or things that refer to each other, don't agree.
    pub(super) fn check_invariants(&self) {
        let counters = self.counters();
        let queued: usize = self.sessions().map(|session| session.queue.len()).sum();
        assert_eq!(counters.queued, queued as u64, "messages queued");
        let bytes: usize = self.sessions().map(|session| session.queue.bytes()).sum();
        assert_eq!(counters.queued_bytes, bytes as u64, "bytes queued");
        let rare = || self.sessions().filter_map(|session| session.rare.as_deref());
        let given: usize = rare().map(|rare| rare.refused.bytes()).sum();
        assert_eq!(counters.given_bytes, given as u64, "bytes of who has refused messages");
        let subscriptions: usize = self.sessions().map(|session| session.subscriptions.len()).sum();
        assert_eq!(counters.subscriptions, subscriptions as u64, "subscriptions");
        let connections = &self.endpoints.connections;
        assert_eq!(counters.connections, connections.len() as u64, "connections");
        self.endpoints.check_newcomers();
        let mut connected = 0;
        for index in self.endpoints.sessions.indices() {
            let session = &self.endpoints.sessions[index];
            let found = self.registry.find(&self.endpoints.sessions, &session.client_identifier);
            assert_eq!(found.map(|key| key.0), Some(index), "each session can be found");
            assert!(
                session.subscriptions.len() <= self.endpoints.limits.subscriptions_per_session_max
            );
            if let Some(at) = session.connection {
                connected += 1;
                let connection = connections.get(at).expect("a session's connection is there");
                assert_eq!(connection.session.map(|key| key.0), Some(index), "of each other");
            }
            let cursors = session.rare.as_ref().map_or(0, |rare| rare.cursors.len());
            assert!(cursors <= session.subscriptions.len(), "a cursor belongs to a subscription");
        }
        assert_eq!(counters.clients_connected, connected, "clients connected");
        for index in connections.indices() {
            if let Some(session) = connections[index].session {
                let session = self.endpoints.sessions.get(session.0);
                let session = session.expect("a connection's session is there");
                assert_eq!(session.connection, Some(index), "of each other");
            }
        }
        assert!(self.pending.held_forwards.values().all(|held| !held.waiting.is_empty()));
        assert!(self.pending.held.keys().all(|key| {
            connections.is_current(key.index, key.generation)
                && connections[key.index].session.is_some()
        }));
    }
}
