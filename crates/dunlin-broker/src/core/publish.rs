//! A message from a Client: checked, kept if retained, routed, acknowledged.

use super::GroupName;
use super::counters::DropCause;
use super::endpoints::{Delivered, Endpoints};
use super::forward::{Forward, Forwarded, Outcome, PublishNumber, Receiver, Turn};
use super::given::GivenTo;
use super::granted::{Granted, SessionKey, Subscriber};
use super::limits::LimitCause;
use super::outgoing::Outgoing;
use super::pending::{HeldPublish, HeldPublishes, Source};
use super::pressure::ENTRY_LEN;
use super::retained::{Expired, RetainedFull};
use super::routing::Routing;
use super::shared::{Choice, ChosenMembers};
use super::sys::is_sys;
use super::timers::Timer;
use super::unrecorded::Change;
use super::{ConnectionKey, Core, Record, RecordNumber, WorkerNumber};
use dunlin_protocol::codec::{PacketIdentifier, QoS, ReasonCode};
use dunlin_protocol::{AckToken, Instant, Message, PublishEvent};
use std::sync::Arc;
use std::time::Duration;

/// How often a publish that waits for room is tried again.
pub(super) const HELD_RETRY: Duration = Duration::from_millis(100);

/// What came of routing a message.
#[derive(Debug, Default)]
pub(super) struct Routed {
    pub(super) outcome: Outcome,
    /// Other workers whose outcome is awaited.
    pub(super) workers: u32,
    pub(super) stored: Option<RecordNumber>,
    /// The sessions of this worker that owe it tentatively, or have it though it may be refused.
    pub(super) receivers: Vec<Receiver>,
}

impl Routed {
    /// Adds what became of a message for one session.
    #[inline]
    pub(super) fn add(
        &mut self,
        endpoints: &Endpoints,
        worker: WorkerNumber,
        session: SessionKey,
        group: Option<&Arc<GroupName>>,
        delivered: Delivered,
    ) {
        self.outcome.matched |= !delivered.is_denied;
        self.outcome.refused |= delivered.refused;
        self.stored = delivered.stored.or(self.stored);
        if let Some(number) = delivered.tentative {
            self.receivers.push(Receiver::Owed(endpoints.owed_to(worker, session, number)));
        } else if delivered.is_given {
            self.receivers.push(Receiver::Given(match group {
                Some(group) => GivenTo::Group(group.clone()),
                None => endpoints.given_to(worker, session),
            }));
        }
    }

    /// Whether a session has the message since it came the last time; if so, it still has it.
    #[inline]
    pub(super) fn has_before(
        &mut self,
        endpoints: &Endpoints,
        worker: WorkerNumber,
        session: SessionKey,
        outgoing: &Outgoing<'_>,
    ) -> bool {
        let has = outgoing.was_given(|| endpoints.given_to(worker, session));
        if has {
            self.outcome.matched = true;
            self.receivers.push(Receiver::Given(endpoints.given_to(worker, session)));
        }
        has
    }
}

impl Core {
    pub(super) fn handle_publish(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session: SessionKey,
        publish: &PublishEvent,
    ) {
        let PublishEvent { message, dup, ack, .. } = publish;
        let (dup, ack) = (*dup, *ack);
        let counters = &mut self.endpoints.counters;
        counters.publish_received += 1;
        counters.publish_bytes_received += message.payload.len() as u64;
        self.endpoints.grown += ENTRY_LEN + message.size() as u64;
        let is_taken = self.count_rate(now, key, message);
        if let Some(reason_code) = self.forbidden(session, message) {
            self.refuse_publish(now, key, ack, reason_code, DropCause::NotAllowed);
            return;
        }
        let Some(ack) = ack else {
            if !is_taken {
                self.endpoints.counters.drop_one(DropCause::NotAllowed);
                return;
            }
            if self.refuses_for_memory(message) {
                self.endpoints.counters.drop_one(DropCause::MemoryFull);
                return;
            }
            let outgoing = Outgoing::borrowed(message);
            if let Err(cause) = self.retain(now, Some(session), &outgoing) {
                // Those who are there get it all the same.
                self.endpoints.counters.drop_one(cause);
            }
            self.route(now, Some(session), &outgoing, None, &mut Routed::default());
            return;
        };
        let mut outgoing = Outgoing::to_be_kept(message, &mut self.names);
        if message.qos == QoS::ExactlyOnce {
            if !dup {
                // Of an exchange that its Client has given up.
                self.endpoints.forget_given(session, ack.packet_identifier());
            }
            outgoing.given = self.endpoints.sessions[session.0].given(ack.packet_identifier());
        }
        if self.endpoints.connection(key).is_some_and(|connection| connection.forgoes) {
            self.hold(now, key, ack, outgoing.keep().clone());
        } else if !self.pending.held.is_empty() && self.pending.held.contains_key(&key) {
            // It may not overtake those that wait [MQTT-4.6.0-6].
            self.hold(now, key, ack, outgoing.keep().clone());
        } else if !self.would_refuse(now, session, &outgoing) {
            self.take_acknowledged(now, key, session, &mut outgoing, ack);
        } else if self.endpoints.sessions[session.0].version.is_v5() {
            let reason_code = ReasonCode::QuotaExceeded;
            self.refuse_publish(now, key, Some(ack), reason_code, DropCause::Refused);
        } else {
            self.hold(now, key, ack, outgoing.keep().clone());
        }
    }

    /// Keeps and routes a QoS 1 or 2 message; its acknowledgement leaves now or when all that it
    /// means is true.
    fn take_acknowledged(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session: SessionKey,
        outgoing: &mut Outgoing<'_>,
        ack: AckToken,
    ) {
        outgoing.when_full = self.when_full(key, session);
        if self.endpoints.stores {
            let listener = self.durability_of(key);
            let topic_name = &outgoing.message.topic_name;
            outgoing.durability = self.durability.of_message(topic_name, listener);
        }
        let is_exactly_once = outgoing.message.qos == QoS::ExactlyOnce;
        if is_exactly_once && self.remembers_received(session) {
            let publisher = (session, self.endpoints.sessions.generation(session.0));
            outgoing.is_tentative =
                self.pending.has_undecided(publisher) || self.may_concern_others(outgoing);
        }
        let mut routed = Routed::default();
        match self.retain(now, Some(session), outgoing) {
            Ok(stored) => routed.stored = stored,
            Err(cause) => {
                self.refuse_publish(now, key, Some(ack), ReasonCode::QuotaExceeded, cause);
                return;
            }
        }
        if outgoing.given.is_some() {
            // If it is refused once more, those who have it by then are remembered.
            self.endpoints.forget_given(session, ack.packet_identifier());
        }
        let answer = self.pending.next_number();
        outgoing.turn = Turn::new(answer, self.worker);
        self.route(now, Some(session), outgoing, Some(answer), &mut routed);
        let is_known = routed.workers == 0 && routed.stored.is_none();
        if is_known && !(is_exactly_once && self.remembers_received(session)) {
            self.acknowledge(now, key, ack, routed.outcome);
        } else {
            let undecided = is_exactly_once.then(|| {
                self.endpoints.sessions[session.0].rare().undecided += 1;
                (session, self.endpoints.sessions.generation(session.0))
            });
            let source = Source::Client { connection: key, ack, undecided };
            self.await_outcome(now, source, outgoing.durability, routed);
        }
    }

    /// Whether it is stored which QoS 2 messages of its Client a session has received.
    pub(super) fn remembers_received(&self, session: SessionKey) -> bool {
        self.endpoints.stores && self.endpoints.sessions[session.0].is_persistent()
    }

    /// Why a message may not be published, if it may not.
    fn forbidden(&mut self, session: SessionKey, message: &Message) -> Option<ReasonCode> {
        if is_sys(&message.topic_name) {
            return Some(ReasonCode::NotAuthorized);
        }
        let topic_name = message.topic_name.as_text().as_bytes();
        let levels_max = self.endpoints.limits.topic_levels_max;
        let too_deep = topic_name.len() >= levels_max
            && topic_name.iter().filter(|byte| **byte == b'/').count() >= levels_max;
        if too_deep {
            self.count_limit(LimitCause::TopicLevels, 1);
            return Some(ReasonCode::TopicNameInvalid);
        }
        let is_denied =
            self.endpoints.rights.is_some() && !self.endpoints.may_publish(session, message);
        is_denied.then_some(ReasonCode::NotAuthorized)
    }

    /// Tells the publisher that its message was not taken: by the acknowledgement in MQTT 5.0. An
    /// MQTT 3.x Client can only be disconnected, since an acknowledgement would be a lie
    /// [MQTT3-3.3.5-2]. At QoS 0 nobody waits for an answer.
    fn refuse_publish(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        ack: Option<AckToken>,
        reason_code: ReasonCode,
        cause: DropCause,
    ) {
        self.endpoints.counters.drop_one(cause);
        let Some(ack) = ack else { return };
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return };
        if connection.protocol.version().is_v5() {
            let known = connection.protocol.acknowledge(now, ack, reason_code, &mut connection.out);
            debug_assert!(known.is_ok(), "the token of a publish that was just taken");
            self.close_if_over(now, key);
        } else {
            self.refuse_by_disconnect(now, key, ack, reason_code);
        }
    }

    /// Ends the connection of an MQTT 3.x Client whose message was not taken, so that it sends the
    /// message again; a QoS 2 message is then a new one.
    fn refuse_by_disconnect(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        ack: AckToken,
        reason_code: ReasonCode,
    ) {
        let session = self.endpoints.connection(key).and_then(|connection| connection.session);
        self.disconnect(now, key, reason_code);
        if let Some(session) = session {
            self.forget_received(session, ack.packet_identifier());
        }
    }

    /// A session without a connection has not received this QoS 2 message after all. At QoS 1
    /// there is nothing to forget: the identifier is no one's.
    pub(super) fn forget_received(&mut self, key: SessionKey, packet_identifier: PacketIdentifier) {
        let Some(session) = self.endpoints.sessions.get_mut(key.0) else { return };
        let exchanges = session.exchanges.as_mut().filter(|_| session.connection.is_none());
        if !exchanges.is_some_and(|exchanges| exchanges.forget_received(packet_identifier)) {
            return;
        }
        if self.endpoints.stores && session.is_persistent() {
            let client_identifier = session.client_identifier.clone();
            self.endpoints.record(Record::Released { client_identifier, packet_identifier });
        }
    }

    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        ack: AckToken,
        outcome: Outcome,
    ) {
        let reason_code = match outcome {
            Outcome { refused: true, .. } => ReasonCode::QuotaExceeded,
            Outcome { matched: true, .. } => ReasonCode::Success,
            Outcome { matched: false, .. } => ReasonCode::NoMatchingSubscribers,
        };
        let Some(connection) = self.endpoints.connection(key) else { return };
        let forgoes = connection.is_gone && ack.is_receipt();
        if outcome.refused && !connection.protocol.version().is_v5() && !forgoes {
            self.refuse_by_disconnect(now, key, ack, reason_code);
            return;
        }
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return };
        if outcome.refused && !connection.protocol.version().is_v5() {
            // The connection ends by itself, after the rest of its input, which may say goodbye.
            connection.forgoes = true;
            connection.protocol.forgo(now, ack, &mut connection.out);
        } else if outcome.refused && connection.is_gone {
            connection.protocol.refuse_untold(now, ack, reason_code, &mut connection.out);
        } else {
            // Unknown when the connection has ended meanwhile.
            let _ = connection.protocol.acknowledge(now, ack, reason_code, &mut connection.out);
        }
        if connection.is_gone {
            // Its input may have waited for this, and its output may never drain.
            self.resumed.push(key);
        }
        self.close_if_over(now, key);
    }

    /// Keeps a message that is to be retained.
    pub(super) fn retain(
        &mut self,
        now: Instant,
        publisher: Option<SessionKey>,
        outgoing: &Outgoing<'_>,
    ) -> Result<Option<RecordNumber>, DropCause> {
        if !outgoing.message.retain {
            return Ok(None);
        }
        let message = outgoing.keep().clone();
        // What the broker says about itself is said anew by the next process.
        let stores = self.endpoints.stores && !is_sys(&message.topic_name);
        // Nobody waits with a message of QoS 0: it must not pile up before a store that takes
        // nothing, and is stored when that goes on.
        let is_later = stores && !self.endpoints.store_is_ready && message.qos == QoS::AtMostOnce;
        if is_later && !self.pending.unrecorded.has_room(&message) {
            return Err(DropCause::RetainedFull);
        }
        let publisher = publisher.and_then(|publisher| self.endpoints.subject(publisher)).cloned();
        let limits = &self.endpoints.limits;
        let (change, expired) =
            self.endpoints.retained.set(now, message.clone(), publisher.clone(), limits);
        self.record_expired(expired);
        let change = change.map_err(|RetainedFull(limit)| {
            self.count_limit(limit, 1);
            DropCause::RetainedFull
        })?;
        if !stores {
            return Ok(None);
        }
        let topic_name = message.topic_name.clone();
        let message = (!message.payload.is_empty()).then_some(message);
        if is_later {
            self.pending.unrecorded.put(topic_name, Change { number: change, message, publisher });
            return Ok(None);
        }
        let record = Record::Retained { topic_name, message, change, publisher };
        Ok(Some(self.endpoints.record(record)))
    }

    /// Records that retained messages have expired. By the change that had set one, so that it
    /// takes away no later one.
    pub(super) fn record_expired(&mut self, expired: Expired) {
        if !self.endpoints.stores {
            return;
        }
        for (topic_name, change) in expired {
            let (message, publisher) = (None, None);
            if is_sys(&topic_name) {
                continue;
            } else if self.endpoints.store_is_ready {
                let record = Record::Retained { topic_name, message, change, publisher };
                self.endpoints.record(record);
            } else {
                // The message may wait itself, and must not follow the news that it has expired.
                let change = Change { number: change, message, publisher };
                self.pending.unrecorded.put(topic_name, change);
            }
        }
    }

    /// Records what was retained while the store took nothing, unless something has become of it
    /// since: that is recorded by the worker which knows it.
    pub(super) fn record_unrecorded(&mut self) {
        for (topic_name, changed) in self.pending.unrecorded.take() {
            let Change { number: change, message, publisher } = changed;
            if self.endpoints.retained.is_as_left_by(change, &topic_name, message.is_some()) {
                let record = Record::Retained { topic_name, message, change, publisher };
                self.endpoints.record(record);
            }
        }
    }

    /// Gives a message to everybody whom it is for: the sessions of this worker, one member of
    /// each Shared Subscription, and the other workers that have sessions for it.
    ///
    /// This is where a PUBLISH is matched.
    #[inline]
    pub(super) fn route(
        &mut self,
        now: Instant,
        publisher: Option<SessionKey>,
        outgoing: &Outgoing<'_>,
        answer: Option<PublishNumber>,
        routed: &mut Routed,
    ) {
        let message = outgoing.message;
        self.routing.look_up(outgoing);
        let Routing { index, cache, turns } = &self.routing;
        let recipients = cache.found();
        if !recipients.groups().is_empty() {
            let topic_name = &message.topic_name;
            let choice = Choice::new(index, turns, &self.interest, &self.endpoints, topic_name);
            outgoing.members.get_or_init(|| ChosenMembers::of(recipients.groups(), &choice));
        }
        for (key, granted) in recipients.subscribers() {
            match key.subscriber() {
                Subscriber::Session(session) => {
                    if granted.no_local && publisher == Some(session) {
                        routed.outcome.matched = true;
                        continue;
                    }
                    if routed.has_before(&self.endpoints, self.worker, session, outgoing) {
                        continue;
                    }
                    let own = (granted.some_no_local && publisher == Some(session))
                        .then(|| Granted::of_own_message(index, session, &message.topic_name))
                        .flatten();
                    let granted = own.as_ref().unwrap_or(granted);
                    let retain = granted.retain_as_published && message.retain;
                    let delivered =
                        self.endpoints.deliver(now, session, granted, outgoing, retain, None);
                    routed.add(&self.endpoints, self.worker, session, None, delivered);
                }
                Subscriber::Worker(worker) => {
                    // With rules it answers whether somebody there may have it.
                    routed.outcome.matched |= self.endpoints.rights.is_none();
                    routed.workers += u32::from(answer.is_some());
                    let message = outgoing.keep().clone();
                    let forwarded = Forwarded {
                        message,
                        group: None,
                        taken_by: self.worker,
                        answer,
                        is_tentative: outgoing.is_tentative,
                        when_full: outgoing.when_full,
                        durability: outgoing.durability,
                        given: outgoing.given.clone(),
                        denied_at: Vec::new(),
                    };
                    self.outbox.push(worker, Forward::Publish(forwarded));
                }
            }
        }
        for (group, chosen) in outgoing.members.get().into_iter().flat_map(ChosenMembers::iter) {
            self.route_to_member(now, group, chosen, outgoing, answer, routed);
        }
    }

    // ---- publishes that wait for room

    /// How many bytes of a Client's publishes may wait before it is not read.
    fn held_bytes_max(&self) -> usize {
        self.pressure.held_bytes_max(self.endpoints.limits.output_bytes_max)
    }

    fn hold(&mut self, now: Instant, key: ConnectionKey, ack: AckToken, message: Arc<Message>) {
        let bytes_max = self.held_bytes_max();
        let Some(connection) = self.endpoints.connection(key) else { return };
        connection.forgoes |= connection.is_gone;
        if connection.forgoes {
            connection.protocol.forgo(now, ack, &mut connection.out);
            if !connection.is_gone {
                self.count_limit(LimitCause::MemoryRefused, 1);
            }
            return;
        }
        let held = self.pending.held.entry(key).or_insert_with(|| {
            self.timers.set(now + HELD_RETRY, Timer::Held(key));
            HeldPublishes::default()
        });
        held.push(HeldPublish { message, ack });
        if held.bytes() >= bytes_max {
            self.hold_input(key);
        }
    }

    /// Reads nothing more of a Client whose publishes wait, unless memory is scarce and it has to
    /// acknowledge something, which makes room: it may do so behind publishes that there is no room for,
    /// and everybody may wait for such acknowledgements. It is read on then, and what it publishes is
    /// given up. Once those that wait are taken its connection ends, so that it sends the others again.
    ///
    /// Gives whether nothing is read.
    fn hold_input(&mut self, key: ConnectionKey) -> bool {
        let makes_room = self.pressure.refuses();
        let Some(connection) = self.endpoints.connection(key) else { return true };
        connection.forgoes |= makes_room && connection.protocol.in_flight() > 0;
        connection.held = !connection.forgoes;
        if connection.forgoes {
            connection.protocol.forgo_further();
        }
        connection.held
    }

    /// So many acknowledgements are owed that nothing more is taken of a Client: some of them perhaps
    /// since publishes wait. Gives whether nothing is read.
    #[cold]
    #[inline(never)]
    pub(super) fn stall_owing(&mut self, key: ConnectionKey) -> bool {
        let stalls = !self.pending.held.contains_key(&key) || self.hold_input(key);
        if stalls {
            self.endpoints.stall(key);
        }
        stalls
    }

    /// Takes the held publishes of a Client for which there is room by now.
    pub(super) fn retry_held(&mut self, now: Instant, key: ConnectionKey) {
        // Taking a publish may end its connection, and with it what was held.
        while let Some(held) = self.pending.held.get_mut(&key) {
            let Some(HeldPublish { message, ack }) = held.front().cloned() else {
                self.pending.held.remove(&key);
                break;
            };
            let Some(connection) = self.endpoints.connection(key) else { return };
            let Some(session) = connection.session else { return };
            let mut outgoing = Outgoing::shared(&message);
            if message.qos == QoS::ExactlyOnce {
                outgoing.given = self.endpoints.sessions[session.0].given(ack.packet_identifier());
            }
            if self.would_refuse(now, session, &outgoing) {
                self.timers.set(now + HELD_RETRY, Timer::Held(key));
                break;
            }
            if let Some(held) = self.pending.held.get_mut(&key) {
                held.pop();
            }
            self.take_acknowledged(now, key, session, &mut outgoing, ack);
        }
        let bytes = self.pending.held.get(&key).map_or(0, HeldPublishes::bytes);
        let bytes_max = self.held_bytes_max();
        let Some(connection) = self.endpoints.connection(key) else { return };
        let is_full = bytes > 0 && (bytes >= bytes_max || connection.protocol.waits_for_owner());
        if bytes == 0 && connection.forgoes && !connection.is_gone {
            self.disconnect(now, key, ReasonCode::QuotaExceeded);
            return;
        }
        if !connection.held {
            return;
        }
        if is_full {
            // By now it may have something to acknowledge.
            self.hold_input(key);
        } else {
            connection.held = false;
        }
        if let Some(connection) = self.endpoints.connection(key).filter(|found| !found.held) {
            connection.stalled = false;
            connection.read_again_at = now;
            self.resume(now, key);
        }
    }
}
