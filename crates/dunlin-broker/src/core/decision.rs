//! From the routing of a message to its acknowledgement: what other workers say of it, what is
//! stored before whom may be told what, and why QoS 2 is exactly once over a crash.

use super::GroupName;
use super::durability::Durability;
use super::endpoints::{Connection, DeniedToMember};
use super::forward::{Forward, Forwarded, Outcome, OwedTo, PublishNumber, Receiver, Turn};
use super::given::{Given, GivenTo};
use super::granted::{SessionKey, Subscriber, SubscriberKey};
use super::outgoing::Outgoing;
use super::pending::{AfterStored, PendingPublish, Source};
use super::publish::Routed;
use super::{ConnectionKey, Core, DropCause, Record, RecordNumber, WorkerNumber};
use dunlin_protocol::codec::{PacketIdentifier, QoS, ReasonCode, Text};
use dunlin_protocol::{AckToken, Instant, Message};
use dunlin_topics::Group;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Core {
    /// Whether a message may be for sessions of other workers.
    pub(super) fn may_concern_others(&mut self, outgoing: &Outgoing<'_>) -> bool {
        if self.outbox.workers() == 1 {
            return false;
        }
        self.routing.look_up(outgoing);
        let recipients = self.routing.cache.found();
        let is_worker = |key: &SubscriberKey| matches!(key.subscriber(), Subscriber::Worker(_));
        !recipients.groups().is_empty()
            || recipients.subscribers().iter().any(|(key, _)| is_worker(key))
    }

    /// Lets a message wait until it is known, and stored, what became of it everywhere.
    pub(super) fn await_outcome(
        &mut self,
        now: Instant,
        source: Source,
        durability: Durability,
        routed: Routed,
    ) {
        let Routed { outcome, workers, stored, receivers } = routed;
        if stored.is_some() {
            self.endpoints.want(durability);
        }
        if workers > 0
            && let Source::Client { connection, .. } = source
            && let Some(connection) = self.endpoints.connection(connection)
        {
            connection.awaited += 1;
        }
        let is_decided = false;
        let publish =
            PendingPublish { source, workers, stored, durability, outcome, receivers, is_decided };
        let number = self.pending.insert(publish);
        self.decide_publish(now, number);
    }

    /// Once the outcome of all workers is known: decides the message, and those of its publisher
    /// that have waited for it.
    fn decide_publish(&mut self, now: Instant, number: PublishNumber) {
        let Some(publish) = self.pending.get_mut(number) else { return };
        match publish.source {
            Source::Client { undecided: Some(publisher), .. } => {
                while let Some(next) = self.pending.next_in_turn(publisher) {
                    self.decide_in_turn(now, next);
                }
            }
            _ => self.decide_in_turn(now, number),
        }
    }

    /// Records the outcome of all workers, then waits for the store.
    ///
    /// # Exactly once over a crash
    ///
    /// A QoS 2 message from a Client whose session survives is *decided* by one batch of records
    /// of the publisher's worker, which a crash keeps as a whole or not at all: that the Packet
    /// Identifier was [`Record::Received`], and that the message is owed to every session.
    /// - Without other workers this batch has the [`Record::Owed`] themselves.
    /// - Other workers record what their sessions owe *tentatively*, store it, and say so; the
    ///   deciding batch has a [`Record::Confirmed`] for each of them. What was not confirmed
    ///   before a crash is not owed after it.
    /// - The messages of a publisher are decided in their order, and what comes behind one that is
    ///   not decided is tentative, though it be for this worker alone: a crash that takes a message
    ///   takes those after it as well, and the Client sends all of them again [MQTT-4.6.0-6].
    /// - If one of them refuses, what is tentative at the others is withdrawn. A Client that loses
    ///   its connection before PUBREC says so is told when it sends the message again: sessions
    ///   without a number for it, which can't be asked to give it back, have it already. An MQTT 3.x
    ///   Client can't be told, and its message is a new one then, but not for those sessions: they
    ///   are remembered with its Packet Identifier, as long as both sessions last.
    ///
    /// PUBREC leaves when the batch is stored. So after a crash either all of it is there, and the
    /// PUBLISH that the Client may send again is known as a repetition, or nothing is, and then the
    /// Client has no PUBREC and sends the message again as a new one. In this case no receiver may
    /// have seen it: a QoS 2 message leaves the broker only when it is confirmed and stored.
    ///
    /// Towards a receiver whose session survives, three things are stored before they are acted
    /// on. With any of them missing, a crash makes a message come twice or never:
    /// - Before PUBLISH: that the message is owed, and its Packet Identifier (`Owed` or
    ///   [`Record::Sent`]). The receiver remembers the identifier until PUBREL; if we forgot that
    ///   it is in use, the next message with it would be taken for a repetition and lost, and this
    ///   message, under another identifier, for a new one.
    /// - Before PUBREL: that PUBREC came ([`Record::Taken`]). On PUBREL the receiver forgets the
    ///   identifier; a PUBLISH sent again with it would be a new message.
    /// - PUBCOMP ([`Record::Settled`]) waits for nothing: if it is lost, PUBREL goes out again,
    ///   which a receiver that knows no such identifier answers and ignores. An identifier is used
    ///   again only by a record that follows `Settled` in the log.
    ///
    /// From a publisher, [`Record::Released`] is stored before PUBCOMP: the Client uses the
    /// identifier again once it has PUBCOMP, and a new message must not look like a repetition.
    ///
    /// A session that ends with its connection has no state that a crash could contradict: there
    /// nothing of this is recorded, and nothing waits.
    fn decide_in_turn(&mut self, now: Instant, number: PublishNumber) {
        let Some(publish) = self.pending.get_mut(number) else { return };
        if publish.workers > 0 || publish.is_decided {
            return;
        }
        publish.is_decided = true;
        let confirmed = if publish.is_refused() { &[][..] } else { &publish.receivers };
        for receiver in confirmed {
            let Receiver::Owed(owed) = receiver else { continue };
            let client_identifier = owed.client_identifier.clone();
            let record = Record::Confirmed { client_identifier, number: owed.number };
            publish.stored = Some(self.endpoints.record(record));
        }
        match &publish.source {
            // What was refused is new when it comes again.
            Source::Client { ack, undecided: Some((session, generation)), .. }
                if !publish.outcome.refused
                    && self.endpoints.stores
                    && self.endpoints.sessions.is_current(session.0, *generation)
                    && self.endpoints.sessions[session.0].is_persistent() =>
            {
                let client_identifier =
                    self.endpoints.sessions[session.0].client_identifier.clone();
                let packet_identifier = ack.packet_identifier();
                let record = Record::Received { client_identifier, packet_identifier };
                publish.stored = Some(self.endpoints.record(record));
            }
            Source::Own { client_identifier, underway: Some(number) } => {
                let client_identifier = client_identifier.clone();
                let record = Record::Arrived { client_identifier, number: *number };
                publish.stored = Some(self.endpoints.record(record));
            }
            _ => {}
        }
        let durability = publish.durability;
        match publish.stored {
            Some(record) => {
                self.when_stored(now, record, durability, AfterStored::Publish(number));
            }
            None => self.finish_publish(now, number),
        }
    }

    /// Goes on with something once a record is so safe; at once if it is.
    pub(super) fn when_stored(
        &mut self,
        now: Instant,
        record: RecordNumber,
        durability: Durability,
        after: AfterStored,
    ) {
        match self.pending.wait_for_store(record, durability, after) {
            None => self.endpoints.want(durability),
            Some(after) => self.go_on(now, after),
        }
    }

    /// How safe what a Client relies on must be, by the listener that it came by.
    pub(super) fn durability_of(&mut self, key: ConnectionKey) -> Durability {
        // Nobody waits for an answer on a connection that is over.
        self.endpoints.connection(key).map_or(Durability::Memory, |found| found.durability)
    }

    /// Brings a message that no publisher would send again to those that it is for: a Will of this
    /// Client, or a message that its session hands on to other members of a group. What must
    /// survive a crash is under way until other workers have stored it; `recovered` is the number
    /// by which it was already.
    pub(super) fn pass_on(
        &mut self,
        now: Instant,
        client_identifier: &Text,
        publisher: Option<SessionKey>,
        message: &Arc<Message>,
        group: Option<&Arc<GroupName>>,
        recovered: Option<u64>,
    ) {
        let is_stored = self.endpoints.stores && message.qos > QoS::AtMostOnce;
        let mut outgoing = Outgoing::shared(message);
        outgoing.is_tentative =
            is_stored && message.qos == QoS::ExactlyOnce && self.may_concern_others(&outgoing);
        outgoing.durability =
            self.durability.of_message(&message.topic_name, self.durability.default);
        let answer = is_stored.then(|| self.pending.next_number());
        outgoing.turn = answer.and_then(|publish| Turn::new(publish, self.worker));
        let mut routed = Routed::default();
        match group {
            None => self.route(now, publisher, &outgoing, answer, &mut routed),
            Some(name) => {
                let group = self.routing.index.shared(&name.share_name, &name.topic_filter);
                match group.map(Group::id) {
                    Some(id) => self.route_to_group(now, id, &outgoing, answer, &mut routed),
                    None => self.endpoints.counters.drop_one(DropCause::NoMember),
                }
            }
        }
        if routed.workers == 0 && routed.receivers.is_empty() && recovered.is_none() {
            return;
        }
        let client_identifier = client_identifier.clone();
        let underway = recovered.or_else(|| {
            (routed.workers > 0).then(|| {
                self.underway += 1;
                self.endpoints.record(Record::Underway {
                    client_identifier: client_identifier.clone(),
                    number: self.underway,
                    message: message.clone(),
                    group: group.cloned(),
                });
                self.underway
            })
        });
        let source = Source::Own { client_identifier, underway };
        self.await_outcome(now, source, outgoing.durability, routed);
    }

    pub(super) fn answer_forwarded(&mut self, now: Instant, forwarded: &Forwarded, routed: Routed) {
        let Some(publish) = forwarded.answer else { return };
        let (from, durability) = (forwarded.taken_by, forwarded.durability);
        let Routed { outcome, receivers, .. } = routed;
        match routed.stored {
            // The publisher is acknowledged when the store of each session's worker has it.
            Some(record) => {
                let answer = AfterStored::Answer(from, publish, outcome, receivers);
                self.when_stored(now, record, durability, answer);
            }
            None => self.tell_outcome(now, from, publish, outcome, receivers),
        }
    }

    /// Tells the worker that took a message. This may be the worker itself, when a message of a
    /// group came back because the member that was to have it had gone.
    fn tell_outcome(
        &mut self,
        now: Instant,
        to: WorkerNumber,
        publish: PublishNumber,
        outcome: Outcome,
        receivers: Vec<Receiver>,
    ) {
        if to == self.worker {
            self.handle_outcome(now, publish, outcome, receivers);
        } else {
            self.outbox.push(to, Forward::Outcome { publish, outcome, receivers });
        }
    }

    /// What became of a message at another worker.
    pub(super) fn handle_outcome(
        &mut self,
        now: Instant,
        number: PublishNumber,
        outcome: Outcome,
        receivers: Vec<Receiver>,
    ) {
        let Some(publish) = self.pending.get_mut(number) else { return };
        publish.workers -= 1;
        publish.outcome.join(outcome);
        publish.receivers.extend(receivers);
        if publish.workers == 0
            && let Source::Client { connection, .. } = publish.source
            && let Some(connection) = self.endpoints.connection(connection)
        {
            connection.awaited -= 1;
        }
        self.decide_publish(now, number);
    }

    fn finish_publish(&mut self, now: Instant, number: PublishNumber) {
        if let Some(publish) = self.pending.take_ready(number) {
            let is_refused = publish.is_refused();
            let PendingPublish { source, outcome, receivers, .. } = publish;
            let given = self.settle_tentative(now, receivers, is_refused);
            let Source::Client { connection, ack, undecided } = source else { return };
            let packet_identifier = ack.packet_identifier();
            self.acknowledge(now, connection, ack, outcome);
            let Some((session, generation)) = undecided else { return };
            if self.endpoints.sessions.is_current(session.0, generation) {
                self.decide_received(session, packet_identifier, outcome, given);
            }
            self.unpark(now);
        }
    }

    /// What was owed tentatively is owed, and it is stored that it is; or it was refused, and is
    /// owed to nobody, though it can't be taken back from those who are returned.
    fn settle_tentative(
        &mut self,
        now: Instant,
        receivers: Vec<Receiver>,
        is_refused: bool,
    ) -> Vec<GivenTo> {
        let mut given = Vec::new();
        let mut makes_room = false;
        let mut elsewhere: BTreeMap<WorkerNumber, Vec<OwedTo>> = BTreeMap::new();
        for receiver in receivers {
            match receiver {
                Receiver::Given(receiver) => given.push(receiver),
                Receiver::Owed(owed) if owed.worker != self.worker => {
                    elsewhere.entry(owed.worker).or_default().push(owed);
                }
                Receiver::Owed(owed) if is_refused => {
                    self.handle_withdrawn(now, &owed);
                    makes_room = true;
                }
                Receiver::Owed(owed) => self.handle_confirmed(now, &owed),
            }
        }
        for (worker, owed) in elsewhere {
            let forward = match is_refused {
                true => Forward::Withdrawn { owed },
                false => Forward::Confirmed { owed },
            };
            self.outbox.push(worker, forward);
        }
        if makes_room {
            self.retry_all_forwarded(now);
        }
        given
    }

    /// It is known now what became of a QoS 2 message: when its Client sends it again, it gets
    /// PUBREC, which may refuse it. An MQTT 3.x Client can't be told so: its message gets a new
    /// chance, with those who do not have it.
    fn decide_received(
        &mut self,
        key: SessionKey,
        packet_identifier: PacketIdentifier,
        outcome: Outcome,
        given: Vec<GivenTo>,
    ) {
        let session = &mut self.endpoints.sessions[key.0];
        session.rare().undecided -= 1;
        if !outcome.refused {
            return;
        }
        if !given.is_empty() && !session.version.is_v5() {
            self.endpoints.remember_given(key, packet_identifier, Given::new(given));
        }
        let session = &mut self.endpoints.sessions[key.0];
        if session.connection.is_some() {
            return;
        }
        if session.version.is_v5() {
            let exchanges = session.exchanges_mut();
            exchanges.refuse_received(packet_identifier, ReasonCode::QuotaExceeded);
        } else {
            self.forget_received(key, packet_identifier);
        }
    }

    pub(super) fn finish_stored(
        &mut self,
        now: Instant,
        durability: Durability,
        upto: RecordNumber,
    ) {
        self.pending.stored.advance(durability, upto);
        self.pending.forget_gone();
        while let Some(after) = self.pending.pop_stored() {
            self.go_on(now, after);
        }
        for denied in self.endpoints.send_prepared(now, self.pending.stored) {
            let DeniedToMember { client_identifier, group, message } = denied;
            self.pass_on(now, &client_identifier, None, &message, Some(&group), None);
        }
    }

    /// Goes on with what waited for the store.
    fn go_on(&mut self, now: Instant, after: AfterStored) {
        match after {
            AfterStored::Publish(number) => self.finish_publish(now, number),
            AfterStored::Release(key, ack) => {
                let outcome = Outcome { matched: true, refused: false };
                self.acknowledge(now, key, ack, outcome);
            }
            AfterStored::Answer(from, publish, outcome, owed) => {
                self.tell_outcome(now, from, publish, outcome, owed);
            }
            AfterStored::ConnAck(key, session_present, properties) => {
                self.accept(now, key, session_present, *properties);
            }
            AfterStored::SubAck(awaited) => self.send_suback(now, *awaited),
            AfterStored::UnsubAck(key, unsuback) => self.send_unsuback(now, key, *unsuback),
            AfterStored::PubRel(key, packet_identifier) => {
                self.send_release(now, key, packet_identifier);
            }
        }
    }

    /// The Client has received a QoS 2 message: once that is stored, PUBREL goes out.
    pub(super) fn handle_received(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session: SessionKey,
        packet_identifier: PacketIdentifier,
    ) {
        // A connection whose session ends with it has sent PUBREL by itself.
        let holds = |connection: &mut Connection| connection.protocol.holds_releases();
        if !self.endpoints.connection(key).is_some_and(holds) {
            return;
        }
        let durability = self.durability_of(key);
        let record = self.endpoints.next_record();
        let session = &mut self.endpoints.sessions[session.0];
        let rare = session.rare.as_mut();
        let note = rare.and_then(|rare| rare.notes.get_mut(packet_identifier));
        let Some((note, number)) = note.and_then(|note| note.number.map(|number| (note, number)))
        else {
            self.send_release(now, key, packet_identifier);
            return;
        };
        match note.taken {
            // The Client says so again.
            Some(record) if self.pending.stored.is_stored(durability, record) => {
                self.send_release(now, key, packet_identifier);
            }
            Some(_) => {}
            None => {
                let client_identifier = session.client_identifier.clone();
                note.taken = Some(record);
                self.endpoints.record(Record::Taken { client_identifier, number });
                let after = AfterStored::PubRel(key, packet_identifier);
                self.when_stored(now, record, durability, after);
            }
        }
    }

    fn send_release(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        packet_identifier: PacketIdentifier,
    ) {
        // An earlier connection's answer has gone out on this one, when the session was resumed.
        if self.endpoints.connection(key).is_none() {
            return;
        }
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return };
        connection.protocol.release(now, packet_identifier, &mut connection.out);
        self.close_if_over(now, key);
    }

    /// The Client has released a QoS 2 message: its identifier is forgotten, then PUBCOMP goes out.
    pub(super) fn handle_released(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session: SessionKey,
        ack: AckToken,
    ) {
        let session = &self.endpoints.sessions[session.0];
        if self.endpoints.stores && session.is_persistent() {
            let client_identifier = session.client_identifier.clone();
            let packet_identifier = ack.packet_identifier();
            let record =
                self.endpoints.record(Record::Released { client_identifier, packet_identifier });
            let durability = self.durability_of(key);
            self.when_stored(now, record, durability, AfterStored::Release(key, ack));
        } else {
            self.acknowledge(now, key, ack, Outcome { matched: true, refused: false });
        }
    }
}
