//! The delivery of a message to a session: to its connection now, or to its queue.

use super::refill::keep;
use super::{ConnectionKey, DeniedToMember, Endpoints, Prepared};
use crate::core::GroupName;
use crate::core::counters::DropCause;
use crate::core::durability::{Durability, StoredUpto};
use crate::core::forward::{OwedTo, WhenFull};
use crate::core::given::GivenTo;
use crate::core::granted::{Granted, SessionKey, WorkerNumber};
use crate::core::outgoing::{MANY, Outgoing};
use crate::core::pressure::ENTRY_LEN;
use crate::core::queue::Queued;
use crate::core::record::{Record, RecordNumber};
use crate::core::session::{Note, Session};
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{
    PacketIdentifier, QoS, REFERENCED_LEN_MIN, SHARED_LEN_MIN, SubscriptionIdentifier,
};
use dunlin_protocol::{Instant, Message, PublishError};
use std::sync::Arc;

/// What became of a message for one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::core) struct Delivered {
    /// The record that must be stored before the publisher is acknowledged.
    pub(in crate::core) stored: Option<RecordNumber>,
    /// The queue was full, and its policy is to refuse.
    pub(in crate::core) refused: bool,
    /// The number of the message, when it is owed tentatively.
    pub(in crate::core) tentative: Option<u64>,
    /// The session has it for good, though it may be refused elsewhere and come again.
    pub(in crate::core) is_given: bool,
    /// The rules don't let the session have it.
    pub(in crate::core) is_denied: bool,
}

/// A message for the connection of a session, from its queue or on its way past it.
#[derive(Clone, Copy)]
struct ToSend<'a> {
    message: &'a Arc<Message>,
    qos: QoS,
    retain: bool,
    identifiers: &'a [SubscriptionIdentifier],
    note: Option<&'a Note>,
}

impl<'a> ToSend<'a> {
    #[inline]
    fn new(message: &'a Arc<Message>, granted: &'a Granted, retain: bool, note: &'a Note) -> Self {
        Self {
            message,
            qos: message.qos.min(granted.maximum_qos),
            retain,
            identifiers: granted.identifiers.as_slice(),
            note: (!note.is_empty()).then_some(note),
        }
    }

    fn of(queued: &'a Queued) -> Self {
        Self {
            message: &queued.message,
            qos: queued.qos,
            retain: queued.retain,
            identifiers: &queued.identifiers,
            note: queued.note.as_deref(),
        }
    }
}

impl Endpoints {
    /// Whether a message would be refused by the queue of a session. Not if the queue holds another
    /// copy of it that was not refused, which is not decided before this one is. One that may exceed
    /// the limit does so where the session's Client can make no room, because it is not yet decided
    /// what is first in its queue; one that may wait does so if it was taken before that.
    #[inline]
    pub(in crate::core) fn would_refuse(
        &mut self,
        now: Instant,
        key: SessionKey,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        let Some(session) = self.sessions.get(key.0) else { return false };
        if !self.store_is_ready && self.stores && session.is_persistent() {
            return true;
        }
        if self.limits.queue_policy != QueuePolicy::Refuse {
            return false;
        }
        if self.has_room(session, outgoing.message) {
            return false;
        }
        self.drop_expired(now, key);
        let session = &self.sessions[key.0];
        if self.has_room(session, outgoing.message) || session.queue.awaits_copy(outgoing) {
            return false;
        }
        let Some(front) = session.queue.front() else { return true };
        let has_twice = || {
            let times = WhenFull::Exceed.times_limit();
            self.has_room_within(times, session, outgoing.message)
        };
        !match outgoing.when_full {
            WhenFull::Drop | WhenFull::Refuse => false,
            WhenFull::Hold(_) => front.is_undecided_after(outgoing) && has_twice(),
            WhenFull::Exceed => front.is_tentative() && has_twice(),
            WhenFull::GiveUp => front.is_tentative(),
        }
    }

    /// Drops what has expired at the front of a queue.
    pub(super) fn drop_expired(&mut self, now: Instant, key: SessionKey) {
        let is_expired = |queued: &Queued| queued.message.is_expired(now);
        while self.sessions[key.0].queue.front().is_some_and(is_expired) {
            self.drop_front(key, DropCause::Expired);
        }
        let queue = &self.sessions[key.0].queue;
        if queue.front().is_none() && queue.has_tail() {
            // It is not known what is at the front.
            self.refill(key);
        }
    }

    pub(super) fn has_room(&self, session: &Session, message: &Message) -> bool {
        self.has_room_within(1, session, message)
    }

    /// Whether there is room within so many times the limits.
    fn has_room_within(&self, times: usize, session: &Session, message: &Message) -> bool {
        let Limits { queue_len_max, queue_bytes_max, .. } = *self.limits;
        session.queue.is_empty()
            || (session.queue.len() < queue_len_max.saturating_mul(times)
                && session.queue.bytes() + message.size() <= queue_bytes_max.saturating_mul(times))
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
        if self.rights.is_some() {
            return self.deliver_judged(now, key, granted, outgoing, retain, group);
        }
        self.deliver_unjudged(now, key, granted, outgoing, retain, group)
    }

    /// As [`Endpoints::deliver`], if the rules let the session have the message.
    #[inline(never)]
    fn deliver_judged(
        &mut self,
        now: Instant,
        key: SessionKey,
        granted: &Granted,
        outgoing: &Outgoing<'_>,
        retain: bool,
        group: Option<&Arc<GroupName>>,
    ) -> Delivered {
        let name = group.map(|group| &**group);
        let Some(qos_max) = self.may_have(key, &outgoing.message.topic_name, name) else {
            self.drop_for(key, DropCause::NotAllowed);
            return Delivered { is_denied: true, ..Delivered::default() };
        };
        if qos_max < granted.maximum_qos {
            let granted = Granted { maximum_qos: qos_max, ..granted.clone() };
            return self.deliver_unjudged(now, key, &granted, outgoing, retain, group);
        }
        self.deliver_unjudged(now, key, granted, outgoing, retain, group)
    }

    #[inline]
    fn deliver_unjudged(
        &mut self,
        now: Instant,
        key: SessionKey,
        granted: &Granted,
        outgoing: &Outgoing<'_>,
        retain: bool,
        group: Option<&Arc<GroupName>>,
    ) -> Delivered {
        self.grown += ENTRY_LEN;
        if outgoing.message.qos.min(granted.maximum_qos) == QoS::AtMostOnce {
            // Its receiver may not take it soon.
            self.grown += outgoing.message.payload.len() as u64;
            self.deliver_at_most_once(now, key, granted, outgoing, retain, group);
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
        group: Option<&Arc<GroupName>>,
    ) {
        let session = &self.sessions[key.0];
        // What came while the Client was away may still wait, for messages before it that need
        // quota: its order is kept [MQTT-4.6.0-6].
        let waits = session.queue.holds_at_most_once();
        let Some(index) = session.connection.filter(|_| !waits) else {
            if !waits && !self.limits.queue_qos0_offline {
                self.drop_for(key, DropCause::Offline);
                return;
            }
            self.replace_older(key, outgoing.message, group);
            let session = &self.sessions[key.0];
            if self.has_room(session, outgoing.message) {
                let note = Note { group: group.cloned(), ..Note::default() };
                let queued = Queued::new(outgoing.keep().clone(), granted, retain, note);
                self.enqueue(key, queued);
            } else {
                self.drop_for(
                    key,
                    match session.connection {
                        Some(_) => DropCause::QueueFull,
                        None => DropCause::Offline,
                    },
                );
            }
            return;
        };
        self.touch(index);
        let connection = &mut self.connections[index];
        if connection.out.len() >= self.limits.output_bytes_max {
            self.drop_for(key, DropCause::OutputFull);
            return;
        }
        // A large payload is referenced by the output, which may outlive the input it lies in.
        let is_shared = outgoing.is_shared_next();
        let referenced_len_min = if is_shared { SHARED_LEN_MIN } else { REFERENCED_LEN_MIN };
        let message = match outgoing.message.payload.len() < referenced_len_min {
            true => outgoing.message,
            false => &**outgoing.keep(),
        };
        connection.out.share(is_shared);
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
            Err(error) => self.drop_for(key, cause(error)),
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
        if !is_direct && !outgoing.is_tentative {
            self.replace_older(key, outgoing.message, group);
        }
        if !is_direct && !self.make_room(now, key, outgoing) {
            let refused = self.limits.queue_policy == QueuePolicy::Refuse && !outgoing.is_lost();
            return Delivered { refused, ..Delivered::default() };
        }
        let session = &mut self.sessions[key.0];
        let qos = outgoing.message.qos.min(granted.maximum_qos);
        // A member that gets it at QoS 1 may leave it to one that gets it at QoS 2.
        let is_once = qos == QoS::ExactlyOnce || group.is_some();
        let mut note = Note { group: group.cloned(), ..Note::default() };
        let mut stored = None;
        if self.stores && session.is_persistent() {
            let number = session.take_number(self.ended_number);
            note.number = Some(number);
            note.tentative = outgoing.is_tentative && is_once;
            note.turn = outgoing.turn.filter(|_| note.tentative);
            let record = Record::Owed {
                client_identifier: session.client_identifier.clone(),
                number,
                message: outgoing.keep().clone(),
                qos,
                retain,
                subscription_identifiers: granted.identifiers.as_slice().to_vec(),
                group: group.cloned(),
                packet_identifier: None,
                tentative: note.tentative,
            };
            stored = Some(self.record(record));
        }
        let tentative = note.number.filter(|_| note.tentative);
        let is_given = note.number.is_none() && outgoing.comes_again() && is_once;
        let message = outgoing.keep();
        let sent = match is_direct && tentative.is_none() {
            true => self.send(now, key, &ToSend::new(message, granted, retain, &note)),
            false => Err(PublishError::QuotaExhausted),
        };
        if let Err(error) = sent {
            let queued = Queued::new(message.clone(), granted, retain, note);
            if let Some(queued) = self.not_sent(key, queued, error) {
                self.enqueue(key, queued);
            }
        }
        Delivered { stored, refused: false, tentative, is_given, is_denied: false }
    }

    /// Makes room in a full queue if its policy says how; counts what is dropped.
    pub(super) fn make_room(
        &mut self,
        now: Instant,
        key: SessionKey,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        let message = outgoing.message;
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
                    let session = &self.sessions[key.0];
                    let times = outgoing.when_full.times_limit();
                    if self.has_room_within(times, session, message)
                        || session.queue.awaits_copy(outgoing)
                    {
                        return true;
                    }
                    let cause = match outgoing.is_lost() {
                        true => DropCause::QueueFull,
                        false => DropCause::Refused,
                    };
                    self.drop_for(key, cause);
                    return false;
                }
                QueuePolicy::DropNewest => {
                    self.drop_for(key, DropCause::QueueFull);
                    return false;
                }
                QueuePolicy::DropOldest | QueuePolicy::KeepLast => {
                    if self.sessions[key.0].queue.front().is_some() {
                        self.drop_front(key, DropCause::QueueFull);
                        continue;
                    }
                    // The oldest are in the store alone, and go when they come.
                    self.refill(key);
                    if self.has_room_within(2, &self.sessions[key.0], message) {
                        return true;
                    }
                    self.drop_for(key, DropCause::QueueFull);
                    return false;
                }
            }
        }
    }

    pub(in crate::core) fn enqueue(&mut self, key: SessionKey, queued: Queued) {
        self.counters.queued += 1;
        self.counters.queued_bytes += queued.message.size() as u64;
        let session = &mut self.sessions[key.0];
        let keep = keep(&self.limits, self.stores, &self.queue_head, session);
        if let Some(replaced) = session.queue.push(queued, keep) {
            self.drop_replaced(key, &replaced);
        }
    }

    /// Puts a message back to the front that was just taken from there.
    pub(super) fn put_back(&mut self, key: SessionKey, queued: Queued) {
        self.counters.queued += 1;
        self.counters.queued_bytes += queued.message.size() as u64;
        let session = &mut self.sessions[key.0];
        let keep = keep(&self.limits, self.stores, &self.queue_head, session);
        session.queue.push_front(queued, keep);
    }

    pub(super) fn dequeue(&mut self, key: SessionKey) -> Option<Queued> {
        let queue = &mut self.sessions[key.0].queue;
        let queued = queue.pop()?;
        self.counters.queued -= 1;
        self.counters.queued_bytes -= queued.message.size() as u64;
        if queue.has_tail() && self.sessions[key.0].connection.is_some() {
            self.refill(key);
        }
        Some(queued)
    }

    pub(super) fn drop_front(&mut self, key: SessionKey, cause: DropCause) {
        if let Some(queued) = self.dequeue(key) {
            self.drop_for(key, cause);
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
        let sent = self.send(now, key, &ToSend::of(&queued));
        sent.map_or_else(|error| self.not_sent(key, queued, error), |()| None)
    }

    /// Sends a message on the connection of its session. Where there is none, or no room in its
    /// output, the quota counts as used up.
    #[inline]
    fn send(
        &mut self,
        now: Instant,
        key: SessionKey,
        to_send: &ToSend<'_>,
    ) -> Result<(), PublishError> {
        let ToSend { message, qos, retain, identifiers, note } = *to_send;
        let Some(index) = self.sessions[key.0].connection else {
            return Err(PublishError::QuotaExhausted);
        };
        self.touch(index);
        let connection = &mut self.connections[index];
        if connection.output_len() >= self.limits.output_bytes_max {
            connection.wants_room = true;
            return Err(PublishError::QuotaExhausted);
        }
        // What needs no store follows in its turn, where others before it still wait for theirs.
        let waits = connection.prepared_bytes > 0
            || connection.durability > Durability::Memory
                && note.is_some_and(|note| note.number.is_some());
        if qos == QoS::ExactlyOnce && waits {
            return self.prepare(now, key, index, to_send);
        }
        connection.out.share(Arc::strong_count(message) > MANY);
        let packet_identifier = connection.protocol.publish(
            now,
            message,
            qos,
            retain,
            identifiers,
            &mut connection.out,
        )?;
        self.counters.publish_sent += 1;
        self.counters.publish_bytes_sent += message.payload.len() as u64;
        if let (Some(packet_identifier), Some(note)) = (packet_identifier, note) {
            if let Some(number) = note.number {
                self.record_sent(key, number, packet_identifier);
            }
            self.sessions[key.0].rare().notes.insert(packet_identifier, note.clone());
        }
        Ok(())
    }

    /// A message was not sent: gives it back if it can be sent later.
    fn not_sent(&mut self, key: SessionKey, queued: Queued, error: PublishError) -> Option<Queued> {
        if matches!(error, PublishError::QuotaExhausted | PublishError::NotConnected) {
            return Some(queued);
        }
        self.drop_for(key, cause(error));
        if let Some(note) = &queued.note {
            self.settle(key, note);
        }
        None
    }

    /// As [`Endpoints::send`] for a QoS 2 message of a session that survives a crash: the message is
    /// sent when it is stored by which exchange.
    fn prepare(
        &mut self,
        now: Instant,
        key: SessionKey,
        index: u32,
        to_send: &ToSend<'_>,
    ) -> Result<(), PublishError> {
        let ToSend { message, retain, identifiers, note, .. } = *to_send;
        let connection = &mut self.connections[index];
        let packet_identifier = connection.protocol.prepare(now, message, retain, identifiers)?;
        let (size, payload_len) = (message.size(), message.payload.len());
        connection.prepared_bytes += size;
        let is_shared = note.is_some_and(|note| note.group.is_some());
        if let Some(note) = note {
            if let Some(number) = note.number {
                self.record_sent(key, number, packet_identifier);
            }
            let note = Note { unsent: is_shared, ..note.clone() };
            self.sessions[key.0].rare().notes.insert(packet_identifier, note);
        }
        let durability = self.connections[index].durability;
        self.want(durability);
        let prepared = Prepared {
            record: self.last_record,
            connection: self.key_of(index),
            packet_identifier,
            is_shared,
            size,
            payload_len,
            message: self.rights.is_some().then(|| message.clone()),
        };
        self.prepared[usize::from(durability == Durability::Fsync)].push_back(prepared);
        Ok(())
    }

    /// Records by which exchange a message is delivered: with the message, if that was recorded
    /// just now.
    fn record_sent(&mut self, key: SessionKey, number: u64, exchange: PacketIdentifier) {
        let client_identifier = &self.sessions[key.0].client_identifier;
        if let Some(Record::Owed { client_identifier: of, number: last, packet_identifier, .. }) =
            self.records.last_mut()
            && *last == number
            && of == client_identifier
        {
            *packet_identifier = Some(exchange);
            return;
        }
        let client_identifier = client_identifier.clone();
        self.record(Record::Sent { client_identifier, number, packet_identifier: exchange });
    }

    /// Sends the prepared messages whose exchanges are stored.
    /// Gives what is to go to other members of groups.
    pub(in crate::core) fn send_prepared(
        &mut self,
        now: Instant,
        stored: StoredUpto,
    ) -> Vec<DeniedToMember> {
        let mut denied = Vec::new();
        for durability in [Durability::Written, Durability::Fsync] {
            let at = usize::from(durability == Durability::Fsync);
            let is_stored = |prepared: &mut Prepared| stored.is_stored(durability, prepared.record);
            while let Some(prepared) = self.prepared[at].pop_front_if(is_stored) {
                denied.extend(self.send_one_prepared(now, &prepared));
            }
        }
        denied
    }

    fn send_one_prepared(&mut self, now: Instant, prepared: &Prepared) -> Option<DeniedToMember> {
        let Prepared { connection: key, packet_identifier, size, payload_len, .. } = *prepared;
        let connection = self.connection(key)?;
        connection.prepared_bytes -= size;
        let session = connection.session?;
        if let Some(message) = &prepared.message
            && !self.may_still_send(session, packet_identifier, message)
        {
            return self.deny_prepared(now, key, session, packet_identifier);
        }
        if prepared.is_shared
            && let Some(note) = self.sessions[session.0].rare().notes.get_mut(packet_identifier)
        {
            note.unsent = false;
        }
        self.touch(key.index);
        let connection = self.connection(key)?;
        let dropped =
            connection.protocol.send_prepared(now, packet_identifier, &mut connection.out);
        match dropped {
            None => {
                self.counters.publish_sent += 1;
                self.counters.publish_bytes_sent += payload_len as u64;
            }
            Some(dropped) => {
                let has_expired =
                    dropped.message.as_ref().is_some_and(|message| message.is_expired(now));
                self.drop_for(
                    session,
                    match has_expired {
                        true => DropCause::Expired,
                        false => DropCause::PacketTooLarge,
                    },
                );
                let note = self.sessions[session.0].take_note(packet_identifier);
                self.settle(session, &note);
                self.pump(now, session);
            }
        }
        None
    }

    /// Whether a message that has its exchange may be sent.
    fn may_still_send(
        &mut self,
        key: SessionKey,
        packet_identifier: PacketIdentifier,
        message: &Message,
    ) -> bool {
        let rare = self.sessions[key.0].rare.as_deref();
        let note = rare.and_then(|rare| rare.notes.get(packet_identifier));
        let note = note.cloned().unwrap_or_default();
        self.may_still_have(key, message, &note)
    }

    /// A prepared message may not be sent any more: nobody has seen it, so its exchange is over.
    fn deny_prepared(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session: SessionKey,
        packet_identifier: PacketIdentifier,
    ) -> Option<DeniedToMember> {
        let taken = self.connection(key)?.protocol.take_prepared(packet_identifier)?;
        let note = self.sessions[session.0].take_note(packet_identifier);
        self.settle(session, &note);
        let denied = note.group.zip(taken.message).map(|(group, message)| DeniedToMember {
            client_identifier: self.sessions[session.0].client_identifier.clone(),
            group,
            message,
        });
        if denied.is_none() {
            self.drop_for(session, DropCause::NotAllowed);
        }
        self.pump(now, session);
        denied
    }

    /// Names a message that is owed to a session tentatively.
    pub(in crate::core) fn owed_to(
        &self,
        worker: WorkerNumber,
        session: SessionKey,
        number: u64,
    ) -> OwedTo {
        OwedTo {
            worker,
            session,
            generation: self.sessions.generation(session.0),
            client_identifier: self.sessions[session.0].client_identifier.clone(),
            number,
        }
    }

    /// Names a session that has a message by a subscription of its own.
    #[inline]
    pub(in crate::core) fn given_to(&self, worker: WorkerNumber, session: SessionKey) -> GivenTo {
        GivenTo::Session(worker, session, self.sessions.generation(session.0))
    }

    /// A message that was owed tentatively is owed.
    pub(in crate::core) fn confirm(&mut self, now: Instant, owed: &OwedTo) {
        if self.sessions.is_current(owed.session.0, owed.generation) {
            let replaced = self.sessions[owed.session.0].queue.confirm(owed.number);
            if let Some(replaced) = replaced {
                self.drop_replaced(owed.session, &replaced);
            }
            self.pump(now, owed.session);
        }
    }

    /// A message that was owed tentatively is not owed after all.
    pub(in crate::core) fn withdraw(&mut self, now: Instant, owed: &OwedTo) {
        if self.sessions.is_current(owed.session.0, owed.generation) {
            if let Some(size) = self.sessions[owed.session.0].queue.withdraw(owed.number) {
                self.counters.queued -= 1;
                self.counters.queued_bytes -= size as u64;
                let note = Note { number: Some(owed.number), ..Note::default() };
                self.settle(owed.session, &note);
            }
            self.extract_queued(owed.session, |queued| {
                let note = queued.note.as_deref();
                note.is_some_and(|note| note.tentative && note.number == Some(owed.number))
            });
            self.pump(now, owed.session);
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
