//! A core that begins with what an earlier process had stored.

use super::deadline::Deadline;
use super::forward::Forward;
use super::granted::SessionKey;
use super::image::{ClientImage, Owed, Underway, Waiting};
use super::login::Owner;
use super::queue::Queued;
use super::session::{NEVER, Note, Session};
use super::{Core, Record, RecordNumber};
use dunlin_protocol::codec::{PacketIdentifier, ProtocolVersion, QoS, Text};
use dunlin_protocol::{InFlight, InFlightState, Instant};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a core is with what was stored.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// What the records add up to, by Client Identifier.
    clients: BTreeMap<Text, ClientImage>,
    /// What the earlier process had not brought to all its recipients.
    underway: Vec<(Text, u64, Underway)>,
    is_finished: bool,
    /// How many other workers have told all their interests.
    others: usize,
}

impl Core {
    /// Takes a record that an earlier process has stored.
    ///
    /// The contract of recovery:
    /// 1. Records come in the order of the log, before the first connection. What a crash leaves of
    ///    a log must be a beginning of it, whole [`Output::Store`]s of all workers in the order in
    ///    which they were appended, and at least what [`Core::handle_stored`] was told of.
    /// 2. A record about a Client goes to the worker that [`owner`] names now, whatever the number
    ///    of workers was before; one without a Client (see [`Record::client_identifier`]) to any.
    /// 3. Then each core is told by [`Core::finish_recovery`], once, and outputs are carried out:
    ///    the batches between the workers must have been taken before the first connection is
    ///    opened, so that no message misses a subscription of another worker.
    /// 4. `now` continues the time of the earlier process: Instants in records mean the same.
    ///
    /// [`Output::Store`]: super::Output::Store
    /// [`owner`]: super::owner
    pub fn recover(&mut self, now: Instant, record: Record) {
        debug_assert!(!self.recovery.is_finished, "records come before the end of recovery");
        if let Record::Retained { topic_name, message, change, publisher } = record {
            let publisher = publisher.filter(|_| self.endpoints.rights.is_some());
            self.endpoints.retained.recover(now, topic_name, message, publisher, change);
            return;
        }
        let Some(client_identifier) = record.client_identifier() else { return };
        if !self.recovery.clients.contains_key(client_identifier) {
            self.recovery.clients.insert(client_identifier.detached(), ClientImage::default());
        }
        if let Record::Underway { number, .. } = &record {
            self.underway = self.underway.max(*number);
        }
        if let Some(client) = self.recovery.clients.get_mut(client_identifier) {
            client.apply(record);
        }
    }

    /// All records were taken: sessions go on from here, each without a connection. The Session
    /// Expiry Interval of one that had a connection begins now, and its Will is due now, after its
    /// Will Delay Interval. See [`Core::recover`] for what comes before and after.
    ///
    /// What has come due meanwhile is acted on as soon as the other workers have told their
    /// interests; this, and that sessions lost their connections, makes records.
    pub fn finish_recovery(&mut self, now: Instant) {
        let expired = self.endpoints.retained.finish_recovery();
        self.record_expired(expired);
        for (client_identifier, mut client) in std::mem::take(&mut self.recovery.clients) {
            for (number, underway) in std::mem::take(&mut client.underway) {
                self.recovery.underway.push((client_identifier.clone(), number, underway));
            }
            if client.session.is_some() || client.will.is_some() {
                self.restore(now, client_identifier, client);
            }
        }
        for worker in self.others() {
            self.outbox.push(worker, Forward::Recovered);
        }
        self.recovery.is_finished = true;
        self.act_on_recovered(now);
    }

    /// Another worker has told all interests of its recovered sessions.
    pub(super) fn handle_recovered(&mut self, now: Instant) {
        self.recovery.others += 1;
        self.act_on_recovered(now);
    }

    /// Once messages reach all sessions: does what came due while nothing ran.
    fn act_on_recovered(&mut self, now: Instant) {
        if !self.recovery.is_finished || self.recovery.others + 1 < self.outbox.workers() {
            return;
        }
        for (client_identifier, number, underway) in std::mem::take(&mut self.recovery.underway) {
            let Underway { message, group } = underway;
            // A Will's publisher may have asked for No Local [MQTT-3.8.3-3]. Who hands a message
            // on is not its publisher.
            let publisher = match group {
                None => self.registry.find(&self.endpoints.sessions, &client_identifier),
                Some(_) => None,
            };
            let (of, group) = (&client_identifier, group.as_ref());
            self.pass_on(now, of, publisher, &message, group, Some(number));
        }
        let sessions: Vec<u32> = self.endpoints.sessions.indices().collect();
        for index in sessions {
            self.act_when_due(now, SessionKey(index));
        }
    }

    fn restore(&mut self, now: Instant, client_identifier: Text, client: ClientImage) {
        let stored = client.session;
        let mut session = Session::new(client_identifier, ProtocolVersion::V5);
        session.is_recorded = stored.is_some();
        session.expiry_interval = stored.as_ref().map_or(0, |stored| stored.expiry_interval);
        let away_since = stored.as_ref().and_then(|stored| stored.away_since);
        let owner = stored.as_ref().and_then(|stored| stored.owner.as_ref());
        session.owner = Owner::stored(owner.map(Text::detached));
        let subject = stored.as_ref().and_then(|stored| stored.subject.clone());
        let subject = subject.or(client.will_of);
        // The clock may have been wrong then, and have gone back since.
        let gone_at = away_since.map_or(now, |away_since| away_since.min(now));
        let expiry_interval = session.expiry_interval;
        if expiry_interval != NEVER {
            let expires_at = gone_at + Duration::from_secs(u64::from(expiry_interval));
            session.expires_at = Deadline::at(expires_at);
        }
        session.will = client.will;
        if let Some(will) = &mut session.will {
            let delay_secs = will.delay_secs.min(expiry_interval);
            will.due_at = Deadline::at(gone_at + Duration::from_secs(u64::from(delay_secs)));
        }
        for packet_identifier in client.received {
            session.exchanges_mut().restore_received(packet_identifier);
        }
        if client.last_number > 0 {
            session.rare().last_number = client.last_number;
        }
        let key = SessionKey(self.endpoints.sessions.insert(session).0);
        self.registry.insert(&self.endpoints.sessions, key);
        for (topic_filter, granted) in client.subscriptions {
            self.add_to_index(key, &topic_filter, granted);
            self.announce(&topic_filter, false);
            self.endpoints.sessions[key.0].subscriptions.push(topic_filter);
            self.endpoints.counters.subscriptions += 1;
        }
        if let Some(subject) = subject {
            self.endpoints.set_subject(key, subject);
        }
        self.restore_owed(key, client.owed, client.waiting);
        if stored.is_some() && away_since.is_none() && expiry_interval > 0 {
            self.record_session(key, Some(now));
        }
    }

    /// Messages go on in their order: first those whose exchange had begun, then the queue, of
    /// which some may be in the store alone.
    fn restore_owed(
        &mut self,
        key: SessionKey,
        owed: BTreeMap<u64, Owed>,
        mut waiting: Option<Waiting>,
    ) {
        let mut order = InFlightOrder::default();
        let in_store = waiting.map_or(0..=0, |waiting| waiting.first..=waiting.last);
        for (number, owed) in owed {
            if let Some(waiting) = waiting.take_if(|waiting| waiting.first <= number) {
                self.endpoints.add_waiting(key, waiting);
            }
            if in_store.contains(&number) && owed.waits() && !owed.tentative {
                // It is one of those.
                continue;
            }
            let mut note = Note { number: Some(number), group: owed.group, ..Note::default() };
            let in_order = owed.packet_identifier.filter(|identifier| order.follows(*identifier));
            let session = &mut self.endpoints.sessions[key.0];
            match (in_order, owed.taken) {
                // Its publisher was not told that it was taken, and sends it again.
                (..) if owed.tentative => self.endpoints.settle(key, &note),
                (Some(packet_identifier), taken) => {
                    let (state, message) = match (owed.qos, taken) {
                        (QoS::ExactlyOnce, true) => (InFlightState::AwaitingPubComp, None),
                        (QoS::ExactlyOnce, false) => {
                            (InFlightState::AwaitingPubRec, Some(owed.message))
                        }
                        _ => (InFlightState::AwaitingPubAck, Some(owed.message)),
                    };
                    note.taken = taken.then_some(RecordNumber(0));
                    session.rare().notes.insert(packet_identifier, note);
                    session.exchanges_mut().restore_in_flight(InFlight::new(
                        packet_identifier,
                        state,
                        message,
                        owed.retain,
                        owed.subscription_identifiers,
                    ));
                }
                // No log says so; its Client has the message.
                (None, true) => self.endpoints.settle(key, &note),
                (None, false) => self.endpoints.enqueue(
                    key,
                    Queued {
                        message: owed.message,
                        qos: owed.qos,
                        retain: owed.retain,
                        identifiers: owed.subscription_identifiers,
                        note: Some(Box::new(note)),
                    },
                ),
            }
        }
        if let Some(waiting) = waiting {
            self.endpoints.add_waiting(key, waiting);
        }
    }
}

/// Packet Identifiers are given out in turn; a log in which they are not is not believed.
#[derive(Debug, Default)]
struct InFlightOrder {
    first: Option<u16>,
    /// How far the last one is from the first.
    distance: u16,
}

impl InFlightOrder {
    /// Whether this identifier comes after those before it, and then counts as the last one.
    fn follows(&mut self, packet_identifier: PacketIdentifier) -> bool {
        let value = packet_identifier.value();
        let Some(first) = self.first else {
            self.first = Some(value);
            return true;
        };
        // There is no identifier 0.
        let distance = if value >= first { value - first } else { u16::MAX - first + value };
        let follows = distance > self.distance;
        if follows {
            self.distance = distance;
        }
        follows
    }
}
