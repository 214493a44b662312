//! The delivery of a message to a session: to its connection now, or to its queue.

use super::Endpoints;
use crate::QueuePolicy;
use crate::core::counters::DropCause;
use crate::core::granted::{Granted, SessionKey};
use crate::core::outgoing::Outgoing;
use crate::core::record::{Record, RecordNumber};
use crate::core::session::{GroupName, Note, Queued, Session};
use dunlin_protocol::codec::{QoS, REFERENCED_LEN_MIN};
use dunlin_protocol::{Instant, Message, PublishError};
use std::sync::Arc;

/// What became of a message for one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::core) struct Delivered {
    /// The record that must be stored before the publisher is acknowledged.
    pub(in crate::core) stored: Option<RecordNumber>,
    /// The queue was full, and its policy is to refuse.
    pub(in crate::core) refused: bool,
}

impl Endpoints {
    /// Whether a message of this QoS would be refused by the queue of a session.
    #[inline]
    pub(in crate::core) fn would_refuse(
        &mut self,
        now: Instant,
        key: SessionKey,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        if self.limits.queue_policy != QueuePolicy::Refuse {
            return false;
        }
        let Some(session) = self.sessions.get(key.0) else { return false };
        if self.has_room(session, outgoing.message) {
            return false;
        }
        self.drop_expired(now, key);
        !self.has_room(&self.sessions[key.0], outgoing.message)
    }

    /// Drops what has expired at the front of a queue.
    pub(super) fn drop_expired(&mut self, now: Instant, key: SessionKey) {
        let is_expired = |queued: &Queued| queued.message.is_expired(now);
        while self.sessions[key.0].queue.front().is_some_and(is_expired) {
            self.drop_front(key, DropCause::Expired);
        }
    }

    pub(super) fn has_room(&self, session: &Session, message: &Message) -> bool {
        session.queue.is_empty()
            || (session.queue.len() < self.limits.queue_len_max
                && session.queue.bytes() + message.size() <= self.limits.queue_bytes_max)
    }

    /// Delivers a message to a session: to its connection now, or to its queue.
    #[inline]
    pub(in crate::core) fn deliver(
        &mut self,
        now: Instant,
        key: SessionKey,
        granted: &Granted,
        outgoing: &Outgoing<'_>,
        retain: bool,
        group: Option<&Arc<GroupName>>,
    ) -> Delivered {
        if outgoing.message.qos.min(granted.maximum_qos) == QoS::AtMostOnce {
            self.deliver_at_most_once(now, key, granted, outgoing, retain);
            return Delivered::default();
        }
        self.deliver_acknowledged(now, key, granted, outgoing, retain, group)
    }

    #[inline]
    pub(super) fn deliver_at_most_once(
        &mut self,
        now: Instant,
        key: SessionKey,
        granted: &Granted,
        outgoing: &Outgoing<'_>,
        retain: bool,
    ) {
        let session = &mut self.sessions[key.0];
        let Some(index) = session.connection else {
            if self.limits.queue_qos0_offline
                && self.has_room(&self.sessions[key.0], outgoing.message)
            {
                let queued = Queued::new(outgoing.keep().clone(), granted, retain, Note::default());
                self.enqueue(key, queued);
            } else {
                self.counters.drop_one(DropCause::Offline);
            }
            return;
        };
        self.touch(index);
        let connection = &mut self.connections[index];
        if connection.out.len() >= self.limits.output_bytes_max {
            self.counters.drop_one(DropCause::OutputFull);
            return;
        }
        // A large payload is referenced by the output, which may outlive the input it lies in.
        let message = match outgoing.message.payload.len() {
            0..REFERENCED_LEN_MIN => outgoing.message,
            _ => &**outgoing.keep(),
        };
        let sent = connection.protocol.publish_at_most_once(
            now,
            message,
            retain,
            granted.identifiers.as_slice(),
            &mut connection.out,
        );
        match sent {
            Ok(()) => {
                self.counters.publish_sent += 1;
                self.counters.publish_bytes_sent += outgoing.message.payload.len() as u64;
            }
            Err(error) => self.counters.drop_one(cause(error)),
        }
    }

    pub(super) fn deliver_acknowledged(
        &mut self,
        now: Instant,
        key: SessionKey,
        granted: &Granted,
        outgoing: &Outgoing<'_>,
        retain: bool,
        group: Option<&Arc<GroupName>>,
    ) -> Delivered {
        let session = &mut self.sessions[key.0];
        let is_direct = session.queue.is_empty() && session.connection.is_some();
        if !is_direct && !self.make_room(now, key, outgoing.message) {
            let refused = self.limits.queue_policy == QueuePolicy::Refuse;
            return Delivered { stored: None, refused };
        }
        let session = &mut self.sessions[key.0];
        let mut note = Note { number: None, group: group.cloned() };
        let mut stored = None;
        if self.stores && session.is_persistent() {
            let number = session.take_number();
            note.number = Some(number);
            let record = Record::Owed {
                client_identifier: session.client_identifier.clone(),
                number,
                message: outgoing.keep().clone(),
                qos: outgoing.message.qos.min(granted.maximum_qos),
            };
            stored = Some(self.record(record));
        }
        let queued = Queued::new(outgoing.keep().clone(), granted, retain, note);
        if is_direct {
            if let Some(queued) = self.send_queued(now, key, queued) {
                self.enqueue(key, queued);
            }
        } else {
            self.enqueue(key, queued);
        }
        Delivered { stored, refused: false }
    }

    /// Makes room in a full queue if its policy says how; counts what is dropped.
    pub(super) fn make_room(&mut self, now: Instant, key: SessionKey, message: &Message) -> bool {
        if self.has_room(&self.sessions[key.0], message) {
            return true;
        }
        self.drop_expired(now, key);
        loop {
            if self.has_room(&self.sessions[key.0], message) {
                return true;
            }
            match self.limits.queue_policy {
                QueuePolicy::Refuse => {
                    self.counters.drop_one(DropCause::Refused);
                    return false;
                }
                QueuePolicy::DropNewest => {
                    self.counters.drop_one(DropCause::QueueFull);
                    return false;
                }
                QueuePolicy::DropOldest => {
                    self.drop_front(key, DropCause::QueueFull);
                }
            }
        }
    }

    pub(super) fn enqueue(&mut self, key: SessionKey, queued: Queued) {
        self.counters.queued += 1;
        self.counters.queued_bytes += queued.message.size() as u64;
        self.sessions[key.0].queue.push(queued);
    }

    pub(super) fn dequeue(&mut self, key: SessionKey) -> Option<Queued> {
        let queued = self.sessions[key.0].queue.pop()?;
        self.counters.queued -= 1;
        self.counters.queued_bytes -= queued.message.size() as u64;
        Some(queued)
    }

    pub(super) fn drop_front(&mut self, key: SessionKey, cause: DropCause) {
        if let Some(queued) = self.dequeue(key) {
            self.counters.drop_one(cause);
            if let Some(note) = &queued.note {
                self.settle(key, note);
            }
        }
    }

    /// Sends a message on the connection of its session; gives it back when the connection can't
    /// take it now. A message that never fits is dropped and counted.
    pub(super) fn send_queued(
        &mut self,
        now: Instant,
        key: SessionKey,
        queued: Queued,
    ) -> Option<Queued> {
        let Some(index) = self.sessions[key.0].connection else { return Some(queued) };
        self.touch(index);
        let connection = &mut self.connections[index];
        if connection.out.len() >= self.limits.output_bytes_max {
            connection.wants_room = true;
            return Some(queued);
        }
        let sent = connection.protocol.publish(
            now,
            &queued.message,
            queued.qos,
            queued.retain,
            &queued.identifiers,
            &mut connection.out,
        );
        match sent {
            Ok(packet_identifier) => {
                self.counters.publish_sent += 1;
                self.counters.publish_bytes_sent += queued.message.payload.len() as u64;
                if let (Some(packet_identifier), Some(note)) = (packet_identifier, queued.note) {
                    self.sessions[key.0].rare().notes.insert(packet_identifier, *note);
                }
                None
            }
            Err(PublishError::QuotaExhausted | PublishError::NotConnected) => Some(queued),
            Err(error) => {
                self.counters.drop_one(cause(error));
                if let Some(note) = &queued.note {
                    self.settle(key, note);
                }
                None
            }
        }
    }
}

fn cause(error: PublishError) -> DropCause {
    match error {
        PublishError::Expired => DropCause::Expired,
        PublishError::NotConnected => DropCause::Offline,
        _ => DropCause::PacketTooLarge,
    }
}
