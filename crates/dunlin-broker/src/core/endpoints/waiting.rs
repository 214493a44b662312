//! What waits for a session, and how it moves on: the resend of what was in flight, the queue,
//! retained messages.

use super::{ConnectionKey, Endpoints, OUTPUT_FILL_LEN};
use crate::core::GroupName;
use crate::core::counters::DropCause;
use crate::core::granted::SessionKey;
use crate::core::outgoing::Outgoing;
use crate::core::queue::Queued;
use dunlin_protocol::codec::{PacketIdentifier, QoS};
use dunlin_protocol::{InFlight, Instant};
use std::sync::Arc;

/// Whether a session is away, and how much it has to do: the least first.
///
/// By default that of a session that is there and waits for messages: there is none less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::core) struct Load {
    pub(in crate::core) is_away: bool,
    to_do: usize,
}

impl Endpoints {
    /// An exchange with the Client of this session is over.
    pub(in crate::core) fn acknowledged(
        &mut self,
        now: Instant,
        key: SessionKey,
        acknowledged: &dunlin_protocol::Acknowledged,
    ) {
        // A PUBCOMP that knows no such exchange refuses nothing: its Client finished it before.
        if acknowledged.reason_code.is_error() && acknowledged.message.is_some() {
            self.drop_for(key, DropCause::RefusedByReceiver);
        }
        let session = &mut self.sessions[key.0];
        if session.rare.is_some() {
            let note = session.take_note(acknowledged.packet_identifier);
            self.settle(key, &note);
        }
        let session = &self.sessions[key.0];
        // After an answer there is quota, unless what was in flight before is still to be resent.
        let resends = session
            .connection
            .is_some_and(|index| self.connections[index].protocol.send_quota() == 0);
        if resends || !session.queue.is_empty() || session.has_cursors() {
            self.pump(now, key);
        }
    }

    /// What waits is moved to an output while fewer bytes than this are in it.
    pub(super) fn fill_len(&self) -> usize {
        OUTPUT_FILL_LEN.min(self.limits.output_bytes_max)
    }

    /// Moves what waits for a session to its connection, as far as quota and output allow: first
    /// what was in flight before, then the queue, then retained messages.
    pub(in crate::core) fn pump(&mut self, now: Instant, key: SessionKey) {
        let fill_len = self.fill_len();
        loop {
            let Some(session) = self.sessions.get(key.0) else { return };
            let Some(index) = session.connection else { return };
            self.touch(index);
            self.resend(now, key, index);
            let connection = &mut self.connections[index];
            if connection.out.len() >= fill_len {
                connection.wants_room = true;
                return;
            }
            if self.sessions[key.0].queue.front().is_some_and(|front| front.message.is_expired(now))
            {
                self.drop_front(key, DropCause::Expired);
            } else if self.sessions[key.0].queue.front().is_some_and(Queued::is_tentative)
                || self.rebuilds(key)
            {
                return;
            } else if self.rights.is_some() && self.is_front_denied(key) {
                self.drop_front(key, DropCause::NotAllowed);
            } else if let Some(queued) = self.dequeue(key) {
                if let Some(queued) = self.send_queued(now, key, queued) {
                    self.put_back(key, queued);
                    return;
                }
            } else if self.sessions[key.0].queue.has_tail() {
                // Nothing overtakes what is to be fetched.
                self.refill(key);
                return;
            } else if !self.send_retained(now, key) {
                return;
            }
        }
    }

    pub(super) fn resend(&mut self, now: Instant, key: SessionKey, index: u32) {
        let mut dropped: Vec<InFlight> = Vec::new();
        let connection = &mut self.connections[index];
        connection.protocol.poll_transmit(now, &mut connection.out, &mut dropped);
        for in_flight in dropped {
            self.drop_for(key, DropCause::PacketTooLarge);
            let note = self.sessions[key.0].take_note(in_flight.packet_identifier);
            self.settle(key, &note);
        }
    }

    /// Sends a page of retained messages for the oldest new subscription; whether there was one.
    pub(super) fn send_retained(&mut self, now: Instant, key: SessionKey) -> bool {
        let session = &mut self.sessions[key.0];
        let Some(rare) = &mut session.rare else { return false };
        let Some(mut cursor) = rare.cursors.pop_front() else {
            session.forget_rare();
            return false;
        };
        let Some(index) = self.sessions[key.0].connection else { return false };
        let quota = usize::from(self.connections[index].protocol.send_quota());
        let matches_max = match cursor.granted.maximum_qos {
            QoS::AtMostOnce => usize::MAX,
            _ => quota.max(1),
        };
        let fill_len = self.fill_len();
        let output_bytes_max = self.limits.output_bytes_max;
        let rules = self.rights.as_ref().map(|rights| rights.rules());
        let (messages, denied, more) = self.retained.page(&mut cursor, matches_max, rules);
        self.drop_many_for(key, DropCause::NotAllowed, denied);
        for (at, message) in messages.iter().enumerate() {
            if message.is_expired(now) {
                self.drop_for(key, DropCause::Expired);
                continue;
            }
            let connection = &mut self.connections[index];
            let needs_quota = message.qos.min(cursor.granted.maximum_qos) > QoS::AtMostOnce;
            let has_quota = !needs_quota || connection.protocol.send_quota() > 0;
            // Beyond the limit a message would be queued.
            let has_room =
                connection.out.len() < fill_len && connection.output_len() < output_bytes_max;
            if has_quota && has_room && self.sessions[key.0].queue.is_empty() {
                let outgoing = Outgoing::shared(message);
                self.deliver(now, key, &cursor.granted, &outgoing, true, None);
                continue;
            }
            // The cursor goes on from here after the next acknowledgement, or when there is room:
            // what waits takes no place in the queue.
            connection.wants_room |= !has_room;
            if let Some(last) = at.checked_sub(1).and_then(|at| messages.get(at)) {
                cursor.go_back_to(&last.topic_name);
            } else {
                cursor.go_back();
            }
            self.sessions[key.0].rare().cursors.push_front(cursor);
            return false;
        }
        if more {
            self.sessions[key.0].rare().cursors.push_front(cursor);
        }
        true
    }

    /// Takes no input of this connection until its output has drained.
    pub(in crate::core) fn stall(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connection(key) {
            connection.stalled = true;
        }
    }

    /// The shell has written: what waited for room goes on. Whether input goes on, too.
    pub(in crate::core) fn written(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        bytes: usize,
    ) -> bool {
        self.counters.bytes_sent += bytes as u64;
        let fill_len = self.fill_len();
        let output_bytes_max = self.limits.output_bytes_max;
        let Some(connection) = self.connection(key) else { return false };
        if connection.out.len() >= fill_len {
            return false;
        }
        let stalled = std::mem::take(&mut connection.stalled);
        if stalled {
            // Its silence was ours.
            connection.read_again_at = now;
        }
        // What is prepared counts as output, and only the store makes room for it: a look before
        // that would end in another one, and so on without an end.
        if connection.wants_room && connection.output_len() < output_bytes_max {
            connection.wants_room = false;
            if let Some(session) = connection.session {
                self.pump(now, session);
            }
        }
        stalled
    }

    /// How busy a session is: for the choice among members.
    pub(in crate::core) fn load(&self, key: SessionKey) -> Load {
        let away = |to_do| Load { is_away: true, to_do };
        let Some(session) = self.sessions.get(key.0) else { return away(usize::MAX) };
        let Some(index) = session.connection else { return away(session.queue.len()) };
        let connection = &self.connections[index];
        // A slow reader counts as busy at QoS 0 too, a step for each output that fills up.
        let output = connection.out.len() / OUTPUT_FILL_LEN;
        let in_flight = usize::from(connection.protocol.in_flight());
        Load { is_away: false, to_do: in_flight + session.queue.len() + output }
    }

    /// Gives up an exchange of a session that is away: somebody else gets its message.
    pub(in crate::core) fn give_up(
        &mut self,
        key: SessionKey,
        packet_identifier: PacketIdentifier,
    ) {
        let session = &mut self.sessions[key.0];
        if let Some(exchanges) = &mut session.exchanges {
            exchanges.remove_in_flight(packet_identifier);
        }
        let note = session.take_note(packet_identifier);
        self.settle(key, &note);
    }

    /// The Shared Subscriptions that a session's queued messages came by.
    pub(in crate::core) fn queued_groups(&self, key: SessionKey) -> Vec<Arc<GroupName>> {
        let mut groups: Vec<Arc<GroupName>> = self.sessions[key.0].queue.groups().collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Drops all that waits for a session which ends.
    pub(in crate::core) fn drop_waiting(&mut self, key: SessionKey) {
        let queue = &mut self.sessions[key.0].queue;
        let (len, bytes) = (queue.len() as u64, queue.bytes() as u64);
        queue.clear();
        self.counters.queued -= len;
        self.counters.queued_bytes -= bytes;
        self.drop_many_for(key, DropCause::SessionEnded, len);
    }

    /// Takes messages out of a session's queue to give them to somebody else.
    pub(in crate::core) fn extract_queued(
        &mut self,
        key: SessionKey,
        wanted: impl Fn(&Queued) -> bool,
    ) -> Vec<Queued> {
        let extracted = self.sessions[key.0].queue.extract(wanted);
        for queued in &extracted {
            self.counters.queued -= 1;
            self.counters.queued_bytes -= queued.message.size() as u64;
            if let Some(note) = &queued.note {
                self.settle(key, note);
            }
        }
        extracted
    }
}
