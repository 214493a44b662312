//! Connections that have no session yet. While memory is scarce only so many are let in, and those that
//! say nothing make room for those that might.

use super::endpoints::Endpoints;
use super::pressure::PressureLevel;
use super::{ConnectionKey, Core};
use dunlin_protocol::Instant;
use std::collections::VecDeque;

/// While nobody is let in without a session, so many connections of a worker may be without one: those
/// who have one come by these.
const NEWCOMERS_MAX: usize = 256;

/// Whether a further connection may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// It may.
    Open,
    /// It may in place of this one, which has sent no CONNECT for longer than any other: that is to be
    /// closed first.
    InPlaceOf(ConnectionKey),
    /// It is closed at once: all that have no session have come with it, or have sent CONNECT.
    Shut,
}

/// The connections of a worker that have no session, and are not over.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    len: usize,
    /// As they came, and when. Those that have sent CONNECT since, or are gone, are taken out later.
    queue: VecDeque<(Instant, ConnectionKey)>,
}

/// So many entries of the queue are there before it is looked through for those that are of no use.
const QUEUE_MIN: usize = 64;

impl Endpoints {
    /// A connection has come.
    pub(super) fn newcomer_comes(&mut self, now: Instant, key: ConnectionKey) {
        self.first_silent();
        let newcomers = &mut self.newcomers;
        newcomers.len += 1;
        newcomers.queue.push_back((now, key));
        if newcomers.queue.len() > 2 * newcomers.len + QUEUE_MIN {
            let mut queue = std::mem::take(&mut newcomers.queue);
            queue.retain(|(_, key)| self.is_silent(*key));
            self.newcomers.queue = queue;
        }
    }

    /// A connection has a session, or is over, or moves to another worker.
    pub(super) fn newcomer_leaves(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if std::mem::take(&mut connection.is_newcomer) {
            self.newcomers.len -= 1;
        }
    }

    /// Whether no CONNECT has come by a connection.
    fn is_silent(&mut self, key: ConnectionKey) -> bool {
        self.connection(key)
            .is_some_and(|found| found.is_newcomer && found.protocol.awaits_connect())
    }

    /// The connection that has sent no CONNECT for longest, and since when.
    fn first_silent(&mut self) -> Option<(Instant, ConnectionKey)> {
        while let Some((_, key)) = self.newcomers.queue.front().copied() {
            if self.is_silent(key) {
                break;
            }
            self.newcomers.queue.pop_front();
        }
        self.newcomers.queue.front().copied()
    }

    /// # Panics
    /// When those that are counted are not those that are there.
    pub(super) fn check_newcomers(&self) {
        let connections = &self.connections;
        let is_new = |index: &u32| connections[*index].is_newcomer;
        let newcomers: Vec<_> = connections.indices().filter(is_new).collect();
        assert_eq!(self.newcomers.len, newcomers.len(), "connections without a session");
        for index in newcomers {
            let connection = &connections[index];
            assert!(connection.session.is_none() && connection.protocol.end().is_none());
            let key = self.key_of(index);
            let is_listed = self.newcomers.queue.iter().any(|(_, listed)| *listed == key);
            assert!(is_listed || !connection.protocol.awaits_connect());
        }
    }
}

impl Core {
    /// Whether a further connection may come in: not any number while memory is scarce.
    pub fn door(&mut self, now: Instant) -> Door {
        let is_open = self.endpoints.newcomers.len < NEWCOMERS_MAX;
        if is_open || self.pressure_level() < PressureLevel::Closed {
            return Door::Open;
        }
        match self.endpoints.first_silent() {
            // Nothing was read yet of those that came just now. Of others something may have come that
            // waits for its turn: the worker knows, and spares them.
            Some((since, key)) if since < now => Door::InPlaceOf(key),
            _ => Door::Shut,
        }
    }
}
