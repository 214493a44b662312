//! The sessions and connections of a worker, and the delivery of messages to them.

use super::counters::{Counters, DropCause};
use super::granted::{Granted, SessionKey};
use super::names::TopicNames;
use super::record::{Record, RecordNumber};
use super::retained::RetainedStore;
use super::session::{GroupName, Note, Queued, Session};
use super::slab::Slab;
use super::spares::Spares;
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{PacketIdentifier, QoS, TopicName, TransmitBuf};
use dunlin_protocol::{InFlight, Instant, Message, PublishError, ServerConnection};
use std::cell::OnceCell;
use std::sync::Arc;

/// A connection of a worker: its place there, and the count that tells it from earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnectionKey {
    /// The place; free for another connection once this one was released.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// What a worker holds for a connection beside its socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) protocol: ServerConnection,
    pub(super) out: TransmitBuf,
    pub(super) session: Option<SessionKey>,
    /// Whether it is in the list of those to be written at the end of the turn.
    touched: bool,
    /// Whether something waits for room in the output.
    wants_room: bool,
    /// Whether its input waits for room in its output.
    stalled: bool,
    /// Whether nothing is read: a publish of an MQTT 3.x Client waits for room in a queue.
    pub(super) held: bool,
    /// When it was last read again after it was held: until then its silence says nothing.
    pub(super) read_again_at: Instant,
    /// When the earliest timer that counts for it comes up.
    pub(super) timer_at: Option<Instant>,
}

impl Connection {
    /// When its Client will have been silent for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadline = self.protocol.poll_timeout()?;
        let spared = self.read_again_at.saturating_since(self.protocol.last_received());
        Some(deadline + spared)
    }
}

/// Outputs of at least this many bytes are written before the turn ends.
const OUTPUT_FLUSH_LEN: usize = 128 * 1024;
/// A queue is moved to the output while fewer bytes than this wait there.
const OUTPUT_FILL_LEN: usize = 64 * 1024;

/// A message on its way to sessions: borrowed from the input while it is only passed on, copied
/// once when the first receiver has to keep it.
pub(super) struct Outgoing<'a> {
    pub(super) message: &'a Message,
    /// The Topic Name in memory of its own, when it was found before.
    topic_name: Option<TopicName>,
    kept: OnceCell<Arc<Message>>,
}

impl<'a> Outgoing<'a> {
    pub(super) const fn borrowed(message: &'a Message) -> Self {
        Self { message, topic_name: None, kept: OnceCell::new() }
    }

    /// A message that somebody will probably have to keep.
    pub(super) fn to_be_kept(message: &'a Message, names: &mut TopicNames) -> Self {
        let topic_name = Some(names.keep(&message.topic_name));
        Self { message, topic_name, kept: OnceCell::new() }
    }

    pub(super) fn shared(message: &'a Arc<Message>) -> Self {
        Self { message, topic_name: None, kept: OnceCell::from(message.clone()) }
    }

    pub(super) fn keep(&self) -> &Arc<Message> {
        self.kept.get_or_init(|| {
            Arc::new(match &self.topic_name {
                Some(topic_name) => self.message.detached_as(topic_name.clone()),
                None => self.message.detached(),
            })
        })
    }
}

/// What became of a message for one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delivered {
    /// The record that must be stored before the publisher is acknowledged.
    pub(super) stored: Option<RecordNumber>,
    /// The queue was full, and its policy is to refuse.
    pub(super) refused: bool,
}

#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) limits: Arc<Limits>,
    pub(super) connections: Slab<Connection>,
    pub(super) sessions: Slab<Session>,
    pub(super) counters: Counters,
    pub(super) retained: RetainedStore,
    touched: Vec<ConnectionKey>,
    urgent: Vec<ConnectionKey>,
    spares: Spares,
    /// Whether a store is there to take records.
    pub(super) stores: bool,
    pub(super) records: Vec<Record>,
    pub(super) last_record: RecordNumber,
}

impl Endpoints {
    pub(super) fn new(limits: Arc<Limits>, retained: RetainedStore, stores: bool) -> Self {
        Self {
            limits,
            connections: Slab::new(),
            sessions: Slab::new(),
            counters: Counters::default(),
            retained,
            touched: Vec::new(),
            urgent: Vec::new(),
            spares: Spares::default(),
            stores,
            records: Vec::new(),
            last_record: RecordNumber(0),
        }
    }

    // ---- connections

    pub(super) fn open(&mut self, protocol: ServerConnection) -> ConnectionKey {
        let (index, generation) = self.connections.insert(Connection {
            protocol,
            out: TransmitBuf::new(),
            session: None,
            touched: false,
            wants_room: false,
            stalled: false,
            held: false,
            read_again_at: Instant::ZERO,
            timer_at: None,
        });
        self.counters.connections += 1;
        ConnectionKey { index, generation }
    }

    pub(super) fn release(&mut self, key: ConnectionKey) -> Option<Box<Connection>> {
        if !self.connections.is_current(key.index, key.generation) {
            return None;
        }
        self.counters.connections -= 1;
        self.connections.remove(key.index)
    }

    pub(super) fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        if !self.connections.is_current(key.index, key.generation) {
            return None;
        }
        self.connections.get_mut(key.index)
    }

    pub(super) fn key_of(&self, index: u32) -> ConnectionKey {
        ConnectionKey { index, generation: self.connections.generation(index) }
    }

    /// Notes that the connection has, or is about to have, something to write.
    #[inline]
    pub(super) fn touch(&mut self, index: u32) {
        let generation = self.connections.generation(index);
        let connection = &mut self.connections[index];
        if !connection.touched {
            connection.touched = true;
            connection.out.give_storage(self.spares.take_small());
            self.touched.push(ConnectionKey { index, generation });
        } else if self.spares.is_outgrown(&connection.out) {
            let small = connection.out.exchange_storage(self.spares.take_large());
            self.spares.give(small);
        } else if connection.out.len() >= OUTPUT_FLUSH_LEN {
            let key = ConnectionKey { index, generation };
            if !self.urgent.contains(&key) {
                self.urgent.push(key);
            }
        }
    }

    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub(super) fn take_urgent(&mut self, keys: &mut Vec<ConnectionKey>) {
        keys.append(&mut self.urgent);
    }

    pub(super) fn take_touched(&mut self, keys: &mut Vec<ConnectionKey>) {
        for key in &self.touched {
            if self.connections.is_current(key.index, key.generation) {
                self.connections[key.index].touched = false;
            }
        }
        keys.append(&mut self.touched);
    }

    /// An idle connection holds no buffer: what was drained goes back for the next one.
    pub(super) fn reclaim(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if let Some(storage) = connection.out.take_storage() {
            self.spares.give(storage);
        }
    }

    // ---- records

    pub(super) fn record(&mut self, record: Record) -> RecordNumber {
        self.last_record.0 += 1;
        self.records.push(record);
        self.last_record
    }

    fn settle(&mut self, session: SessionKey, note: &Note) {
        if let (Some(number), true) = (note.number, self.stores) {
            let client_identifier = self.sessions[session.0].client_identifier.clone();
            self.record(Record::Settled { client_identifier, number });
        }
    }

    // ---- delivery

    /// Whether a message of this QoS would be refused by the queue of a session.
    #[inline]
    pub(super) fn would_refuse(
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
    fn drop_expired(&mut self, now: Instant, key: SessionKey) {
        let is_expired = |queued: &Queued| queued.message.is_expired(now);
        while self.sessions[key.0].queue.front().is_some_and(is_expired) {
            self.drop_front(key, DropCause::Expired);
        }
    }

    fn has_room(&self, session: &Session, message: &Message) -> bool {
        session.queue.is_empty()
            || (session.queue.len() < self.limits.queue_len_max
                && session.queue.bytes() + message.size() <= self.limits.queue_bytes_max)
    }

    /// Delivers a message to a session: to its connection now, or to its queue.
    #[inline]
    pub(super) fn deliver(
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
    fn deliver_at_most_once(
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
        let sent = connection.protocol.publish_at_most_once(
            now,
            outgoing.message,
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

    fn deliver_acknowledged(
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
    fn make_room(&mut self, now: Instant, key: SessionKey, message: &Message) -> bool {
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

    fn enqueue(&mut self, key: SessionKey, queued: Queued) {
        self.counters.queued += 1;
        self.counters.queued_bytes += queued.message.size() as u64;
        self.sessions[key.0].queue.push(queued);
    }

    fn dequeue(&mut self, key: SessionKey) -> Option<Queued> {
        let queued = self.sessions[key.0].queue.pop()?;
        self.counters.queued -= 1;
        self.counters.queued_bytes -= queued.message.size() as u64;
        Some(queued)
    }

    fn drop_front(&mut self, key: SessionKey, cause: DropCause) {
        if let Some(queued) = self.dequeue(key) {
            self.counters.drop_one(cause);
            if let Some(note) = &queued.note {
                self.settle(key, note);
            }
        }
    }

    /// Sends a message on the connection of its session; gives it back when the connection can't
    /// take it now. A message that never fits is dropped and counted.
    fn send_queued(&mut self, now: Instant, key: SessionKey, queued: Queued) -> Option<Queued> {
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

    /// An exchange with the Client of this session is over.
    pub(super) fn acknowledged(
        &mut self,
        now: Instant,
        key: SessionKey,
        acknowledged: &dunlin_protocol::Acknowledged,
    ) {
        // A PUBCOMP that knows no such exchange refuses nothing: its Client finished it before.
        if acknowledged.reason_code.is_error() && acknowledged.message.is_some() {
            self.counters.drop_one(DropCause::RefusedByReceiver);
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
    fn fill_len(&self) -> usize {
        OUTPUT_FILL_LEN.min(self.limits.output_bytes_max)
    }

    /// Moves what waits for a session to its connection, as far as quota and output allow: first
    /// what was in flight before, then the queue, then retained messages.
    pub(super) fn pump(&mut self, now: Instant, key: SessionKey) {
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
            } else if let Some(queued) = self.dequeue(key) {
                if let Some(queued) = self.send_queued(now, key, queued) {
                    self.counters.queued += 1;
                    self.counters.queued_bytes += queued.message.size() as u64;
                    self.sessions[key.0].queue.push_front(queued);
                    return;
                }
            } else if !self.send_retained(now, key) {
                return;
            }
        }
    }

    fn resend(&mut self, now: Instant, key: SessionKey, index: u32) {
        let mut dropped: Vec<InFlight> = Vec::new();
        let connection = &mut self.connections[index];
        connection.protocol.poll_transmit(now, &mut connection.out, &mut dropped);
        for in_flight in dropped {
            self.counters.drop_one(DropCause::PacketTooLarge);
            let note = self.sessions[key.0].take_note(in_flight.packet_identifier);
            self.settle(key, &note);
        }
    }

    /// Sends a page of retained messages for the oldest new subscription; whether there was one.
    fn send_retained(&mut self, now: Instant, key: SessionKey) -> bool {
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
        let (messages, more) = self.retained.page(&mut cursor, matches_max);
        for (at, message) in messages.iter().enumerate() {
            if message.is_expired(now) {
                self.counters.drop_one(DropCause::Expired);
                continue;
            }
            let connection = &mut self.connections[index];
            let needs_quota = message.qos.min(cursor.granted.maximum_qos) > QoS::AtMostOnce;
            let has_quota = !needs_quota || connection.protocol.send_quota() > 0;
            let has_room = connection.out.len() < fill_len;
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
    pub(super) fn stall(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connection(key) {
            connection.stalled = true;
        }
    }

    /// The shell has written: what waited for room goes on. Whether input goes on, too.
    pub(super) fn written(&mut self, now: Instant, key: ConnectionKey, bytes: usize) -> bool {
        self.counters.bytes_sent += bytes as u64;
        let fill_len = self.fill_len();
        let Some(connection) = self.connection(key) else { return false };
        if connection.out.len() >= fill_len {
            return false;
        }
        let stalled = std::mem::take(&mut connection.stalled);
        if std::mem::take(&mut connection.wants_room)
            && let Some(session) = connection.session
        {
            self.pump(now, session);
        }
        stalled
    }

    /// Whether a session is away, and how much it has to do: for the choice among members.
    pub(super) fn load(&self, key: SessionKey) -> (bool, usize) {
        let Some(session) = self.sessions.get(key.0) else { return (true, usize::MAX) };
        let Some(index) = session.connection else { return (true, session.queue.len()) };
        let connection = &self.connections[index];
        // A slow reader counts as busy at QoS 0 too, a step for each output that fills up.
        let output = connection.out.len() / OUTPUT_FILL_LEN;
        let in_flight = usize::from(connection.protocol.in_flight());
        (false, in_flight + session.queue.len() + output)
    }

    /// Gives up an exchange of a session that is away: somebody else gets its message.
    pub(super) fn give_up(&mut self, key: SessionKey, packet_identifier: PacketIdentifier) {
        let session = &mut self.sessions[key.0];
        session.exchanges.remove_in_flight(packet_identifier);
        let note = session.take_note(packet_identifier);
        self.settle(key, &note);
    }

    /// The Shared Subscriptions that a session's queued messages came by.
    pub(super) fn queued_groups(&self, key: SessionKey) -> Vec<Arc<GroupName>> {
        let mut groups: Vec<Arc<GroupName>> = self.sessions[key.0].queue.groups().collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Drops all that waits for a session which ends.
    pub(super) fn drop_waiting(&mut self, key: SessionKey) {
        while self.dequeue(key).is_some() {
            self.counters.drop_one(DropCause::SessionEnded);
        }
    }

    /// Takes messages out of a session's queue to give them to somebody else.
    pub(super) fn extract_queued(
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

fn cause(error: PublishError) -> DropCause {
    match error {
        PublishError::Expired => DropCause::Expired,
        PublishError::NotConnected => DropCause::Offline,
        _ => DropCause::PacketTooLarge,
    }
}
