//! What records add up to: the durable state of a broker, in memory.

use super::GroupName;
use super::deadline::Deadline;
use super::fetch::{Fetch, Fetched};
use super::granted::Granted;
use super::record::Record;
use super::session::Will;
use dunlin_protocol::codec::{
    PacketIdentifier, QoS, SubscriptionIdentifier, Text, TopicFilter, TopicName,
};
use dunlin_protocol::{Instant, Message};
use dunlin_rights::Subject;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What records add up to, for stores that keep it whole and for tests of those that don't.
///
/// It has no limits: whoever feeds it bounds it.
#[derive(Debug, Default)]
pub struct Image {
    clients: BTreeMap<Text, ClientImage>,
    retained: BTreeMap<TopicName, Retained>,
}

/// The last change of a Topic Name; a removal is remembered, since earlier changes may come later.
#[derive(Debug)]
struct Retained {
    message: Option<Arc<Message>>,
    change: u64,
    publisher: Option<Arc<Subject>>,
}

/// What is stored about a Client.
#[derive(Debug, Default)]
pub(super) struct ClientImage {
    pub(super) session: Option<StoredSession>,
    pub(super) subscriptions: BTreeMap<TopicFilter, Granted>,
    pub(super) owed: BTreeMap<u64, Owed>,
    /// What else is owed, in the store alone.
    pub(super) waiting: Option<Waiting>,
    pub(super) last_number: u64,
    pub(super) received: BTreeSet<PacketIdentifier>,
    pub(super) will: Option<Box<Will>>,
    /// Who has left the Will.
    pub(super) will_of: Option<Arc<Subject>>,
    pub(super) underway: BTreeMap<u64, Underway>,
}

#[derive(Clone, Debug)]
pub(super) struct StoredSession {
    pub(super) expiry_interval: u32,
    pub(super) away_since: Option<Instant>,
    /// See [`Record::Session`].
    pub(super) owner: Option<Text>,
    pub(super) subject: Option<Arc<Subject>>,
}

/// What is told of messages that are in the store alone. See [`Record::Waiting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) len: u64,
    pub(super) bytes: u64,
}

/// A message that is owed, as the records about it say.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) subscription_identifiers: Vec<SubscriptionIdentifier>,
    pub(super) group: Option<Arc<GroupName>>,
    pub(super) packet_identifier: Option<PacketIdentifier>,
    pub(super) tentative: bool,
    pub(super) taken: bool,
}

/// A message on its way to sessions of other workers.
#[derive(Debug)]
pub(super) struct Underway {
    pub(super) message: Arc<Message>,
    pub(super) group: Option<Arc<GroupName>>,
}

impl Image {
    /// Nothing is stored.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a change. Records come in the order of the log; [`Record::Waiting`] is none of it
    /// and is ignored.
    pub fn apply(&mut self, record: Record) {
        if let Record::Retained { topic_name, message, change, publisher } = record {
            let known = self.retained.get(&topic_name);
            if known.is_none_or(|known| known.change <= change) {
                let retained = Retained { message, change, publisher };
                self.retained.insert(topic_name.detached(), retained);
            }
            return;
        }
        if matches!(record, Record::Waiting { .. }) {
            return;
        }
        let Some(client_identifier) = record.client_identifier().cloned() else { return };
        if let Some(client) = self.clients.get_mut(&client_identifier) {
            client.apply(record);
            if client.is_empty() {
                self.clients.remove(&client_identifier);
            }
            return;
        }
        let mut client = ClientImage::default();
        client.apply(record);
        if !client.is_empty() {
            self.clients.insert(client_identifier.detached(), client);
        }
    }

    /// The fewest records that add up to this, in an order that does. What is owed is told of
    /// message by message.
    pub fn records(&self) -> Vec<Record> {
        self.recover_records(usize::MAX)
    }

    /// The records that a store gives back when it is recovered: a queue with more messages than
    /// `tail_from` is told of by one [`Record::Waiting`]. Messages whose exchange has begun, and
    /// those that came by a Shared Subscription, are not counted, and told of one by one.
    ///
    /// What is still tentative must be settled before: see [`Image::settle_tentative`].
    pub fn recover_records(&self, tail_from: usize) -> Vec<Record> {
        let mut records = Vec::new();
        for (client_identifier, client) in &self.clients {
            client.give_back(client_identifier, tail_from, &mut records);
        }
        for (topic_name, Retained { message, change, publisher }) in &self.retained {
            if let Some(message) = message {
                records.push(Record::Retained {
                    topic_name: topic_name.clone(),
                    message: Some(message.clone()),
                    change: *change,
                    publisher: publisher.clone(),
                });
            }
        }
        records
    }

    /// Forgets what is owed tentatively: after a crash, what was not confirmed before is not owed.
    pub fn settle_tentative(&mut self) {
        self.clients.retain(|_, client| {
            client.owed.retain(|_, owed| !owed.tentative);
            !client.is_empty()
        });
    }

    /// Answers a [`Fetch`].
    pub fn fetch(&self, fetch: &Fetch) -> Fetched {
        let mut fetched =
            Fetched { session: fetch.session, messages: Vec::new(), more: false, damaged: 0 };
        let Some(client) = self.clients.get(&fetch.client_identifier) else { return fetched };
        let mut bytes = 0;
        let after = fetch.after.saturating_add(1);
        for (number, owed) in client.owed.range(after..).filter(|(_, owed)| owed.waits()) {
            if fetched.messages.len() >= fetch.messages_max || bytes >= fetch.bytes_max {
                fetched.more = true;
                break;
            }
            bytes += owed.message.size();
            fetched.messages.push(owed.record(&fetch.client_identifier, *number));
        }
        fetched
    }
}

impl Owed {
    /// Whether it can be left to the store until its turn comes.
    pub(super) const fn waits(&self) -> bool {
        self.packet_identifier.is_none() && self.group.is_none() && !self.taken
    }

    fn record(&self, client_identifier: &Text, number: u64) -> Record {
        Record::Owed {
            client_identifier: client_identifier.clone(),
            number,
            message: self.message.clone(),
            qos: self.qos,
            retain: self.retain,
            subscription_identifiers: self.subscription_identifiers.clone(),
            group: self.group.clone(),
            packet_identifier: self.packet_identifier,
            tentative: self.tentative,
        }
    }
}

impl ClientImage {
    /// Applies a change that is about this Client.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Session { session_expiry_interval, away_since, owner, subject, .. } => {
                let expiry_interval = session_expiry_interval;
                let session = StoredSession { expiry_interval, away_since, owner, subject };
                self.session = Some(session);
            }
            Record::SessionEnded { .. } => {
                // What it has handed on is no longer its own.
                let underway = std::mem::take(&mut self.underway);
                *self = Self { underway, ..Self::default() };
            }
            Record::Subscribed {
                topic_filter,
                maximum_qos,
                no_local,
                retain_as_published,
                subscription_identifier,
                ..
            } => {
                let granted = Granted {
                    maximum_qos,
                    no_local,
                    some_no_local: no_local,
                    retain_as_published,
                    connected: 0,
                    identifiers: subscription_identifier.into(),
                };
                self.subscriptions.insert(topic_filter.detached(), granted);
            }
            Record::Unsubscribed { topic_filter, .. } => {
                self.subscriptions.remove(&topic_filter);
            }
            Record::Owed {
                number,
                message,
                qos,
                retain,
                subscription_identifiers,
                group,
                packet_identifier,
                tentative,
                ..
            } => {
                self.last_number = self.last_number.max(number);
                let owed = Owed {
                    message,
                    qos,
                    retain,
                    subscription_identifiers,
                    group,
                    packet_identifier,
                    tentative,
                    taken: false,
                };
                self.owed.insert(number, owed);
            }
            Record::Confirmed { number, .. } => {
                self.change_owed(number, |owed| owed.tentative = false);
            }
            Record::Waiting { first, last, len, bytes, .. } => {
                self.last_number = self.last_number.max(last);
                self.waiting = (len > 0).then_some(Waiting { first, last, len, bytes });
            }
            Record::Sent { number, packet_identifier, .. } => {
                self.change_owed(number, |owed| owed.packet_identifier = Some(packet_identifier));
            }
            Record::Taken { number, .. } => self.change_owed(number, |owed| owed.taken = true),
            Record::Settled { number, .. } => {
                self.owed.remove(&number);
            }
            Record::Received { packet_identifier, .. } => {
                self.received.insert(packet_identifier);
            }
            Record::Released { packet_identifier, .. } => {
                self.received.remove(&packet_identifier);
            }
            Record::Will { message, message_expiry_interval, delay_secs, subject, .. } => {
                self.will_of = subject;
                self.will = Some(Box::new(Will {
                    message: Message::clone(&message),
                    message_expiry_interval,
                    delay_secs,
                    due_at: Deadline::NEVER,
                    is_recorded: true,
                }));
            }
            Record::WillRemoved { .. } => (self.will, self.will_of) = (None, None),
            Record::Underway { number, message, group, .. } => {
                self.underway.insert(number, Underway { message, group });
            }
            Record::Arrived { number, .. } => {
                self.underway.remove(&number);
            }
            Record::Retained { .. } => {}
        }
    }

    fn change_owed(&mut self, number: u64, change: impl FnOnce(&mut Owed)) {
        if let Some(owed) = self.owed.get_mut(&number) {
            change(owed);
        }
    }

    /// Whether nothing is left to be given back.
    fn is_empty(&self) -> bool {
        self.session.is_none()
            && self.will.is_none()
            && self.underway.is_empty()
            && self.owed.is_empty()
            && self.received.is_empty()
            && self.subscriptions.is_empty()
    }

    fn give_back(&self, client_identifier: &Text, tail_from: usize, records: &mut Vec<Record>) {
        let of = || client_identifier.clone();
        if let Some(session) = &self.session {
            records.push(Record::Session {
                client_identifier: of(),
                session_expiry_interval: session.expiry_interval,
                away_since: session.away_since,
                owner: session.owner.clone(),
                subject: session.subject.clone(),
            });
        }
        for (topic_filter, granted) in &self.subscriptions {
            records.push(Record::subscribed(client_identifier, topic_filter, granted));
        }
        for packet_identifier in &self.received {
            let packet_identifier = *packet_identifier;
            records.push(Record::Received { client_identifier: of(), packet_identifier });
        }
        let waiting = self.summary().filter(|waiting| waiting.len > tail_from as u64);
        if let Some(Waiting { first, last, len, bytes }) = waiting {
            records.push(Record::Waiting { client_identifier: of(), first, last, len, bytes });
        }
        for (number, owed) in &self.owed {
            if waiting.is_some() && owed.waits() {
                continue;
            }
            records.push(owed.record(client_identifier, *number));
            if owed.taken {
                records.push(Record::Taken { client_identifier: of(), number: *number });
            }
        }
        if let Some(will) = &self.will {
            records.push(Record::Will {
                client_identifier: of(),
                message: Arc::new(will.message.clone()),
                message_expiry_interval: will.message_expiry_interval,
                delay_secs: will.delay_secs,
                subject: self.will_of.clone(),
            });
        }
        for (number, underway) in &self.underway {
            records.push(Record::Underway {
                client_identifier: of(),
                number: *number,
                message: underway.message.clone(),
                group: underway.group.clone(),
            });
        }
    }

    /// All messages that can be left to the store.
    fn summary(&self) -> Option<Waiting> {
        let mut waiting: Option<Waiting> = None;
        for (number, owed) in self.owed.iter().filter(|(_, owed)| owed.waits()) {
            let number = *number;
            let waiting =
                waiting.get_or_insert(Waiting { first: number, last: number, len: 0, bytes: 0 });
            waiting.last = number;
            waiting.len += 1;
            waiting.bytes += owed.message.size() as u64;
        }
        waiting
    }
}
