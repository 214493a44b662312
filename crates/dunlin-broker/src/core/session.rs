//! A session: what the broker keeps for a Client Identifier, connected or not.

use super::RecordNumber;
use super::granted::Granted;
use super::retained::RetainedCursor;
use dunlin_protocol::codec::{
    PacketIdentifier, ProtocolVersion, QoS, SubscriptionIdentifier, Text, TopicFilter,
};
use dunlin_protocol::{Instant, Message, Session as ProtocolSession};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A Session Expiry Interval that never ends.
pub(super) const NEVER: u32 = u32::MAX;

/// What the broker keeps for a Client Identifier.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_identifier: Text,
    /// The connection that uses the session now.
    pub(super) connection: Option<u32>,
    pub(super) version: ProtocolVersion,
    /// Seconds that the session outlives its connection.
    pub(super) expiry_interval: u32,
    /// While away: when the session ends, unless it never does.
    pub(super) expires_at: Option<Instant>,
    /// While away: the exchanges under way. While connected they are with the connection.
    pub(super) exchanges: ProtocolSession,
    /// When the earliest timer that counts for it comes up.
    pub(super) timer_at: Option<Instant>,
    /// Whether the session was recorded: its end is recorded as well.
    pub(super) is_recorded: bool,
    pub(super) queue: Queue,
    pub(super) subscriptions: Vec<TopicFilter>,
    pub(super) will: Option<Box<Will>>,
    /// What few sessions have; made on demand.
    pub(super) rare: Option<Box<Rare>>,
}

/// What few sessions have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Retained messages that are still to be sent for new subscriptions.
    pub(super) cursors: VecDeque<RetainedCursor>,
    /// What must be known of messages in flight beyond their exchange.
    pub(super) notes: HashMap<PacketIdentifier, Note>,
    /// QoS 2 messages of the Client itself of which it is not yet known whether they are taken.
    pub(super) undecided: u32,
    /// The number that the next stored message gets.
    pub(super) next_number: u64,
}

/// What must be known of a message in flight, or in a queue, beyond the message.
#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    /// Its number among the stored messages of the session.
    pub(super) number: Option<u64>,
    /// The Shared Subscription that it came by, so that another member can have it.
    pub(super) group: Option<Arc<GroupName>>,
    /// Whether it waits until the publisher's exchange is decided. See `Record::Confirmed`.
    pub(super) tentative: bool,
    /// The record that the Client has received it.
    pub(super) taken: Option<RecordNumber>,
}

impl Note {
    pub(super) const fn is_empty(&self) -> bool {
        self.number.is_none() && self.group.is_none() && !self.tentative
    }
}

/// A Shared Subscription: Share Name and Topic Filter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName {
    /// The Share Name.
    pub share_name: Box<str>,
    /// The Topic Filter that follows it.
    pub topic_filter: Box<str>,
}

/// A Will and what becomes of it.
#[derive(Debug)]
pub(super) struct Will {
    pub(super) message: Message,
    pub(super) message_expiry_interval: Option<u32>,
    pub(super) delay_secs: u32,
    /// While away: when it is published.
    pub(super) due_at: Option<Instant>,
    /// Whether it was recorded: its end is recorded as well.
    pub(super) is_recorded: bool,
}

impl Session {
    pub(super) fn new(client_identifier: Text, version: ProtocolVersion) -> Self {
        Self {
            client_identifier,
            connection: None,
            version,
            expiry_interval: 0,
            expires_at: None,
            exchanges: ProtocolSession::new(),
            timer_at: None,
            is_recorded: false,
            queue: Queue::default(),
            subscriptions: Vec::new(),
            will: None,
            rare: None,
        }
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Whether the session outlives its connection, and so must survive the process.
    pub(super) const fn is_persistent(&self) -> bool {
        self.expiry_interval > 0
    }

    pub(super) fn take_number(&mut self) -> u64 {
        let next = &mut self.rare().next_number;
        *next += 1;
        *next
    }

    pub(super) fn take_note(&mut self, packet_identifier: PacketIdentifier) -> Note {
        self.rare
            .as_mut()
            .and_then(|rare| rare.notes.remove(&packet_identifier))
            .unwrap_or_default()
    }

    /// Whether it is not yet known what becomes of a QoS 2 message of the Client itself.
    pub(super) fn is_undecided(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.undecided > 0)
    }

    /// Gives back the rare things once there are none.
    pub(super) fn forget_rare(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        if rare.cursors.is_empty() {
            rare.cursors = VecDeque::new();
        }
        let is_idle = rare.notes.is_empty() && rare.undecided == 0 && rare.next_number == 0;
        if rare.cursors.is_empty() && is_idle {
            self.rare = None;
        }
    }

    /// Adds a subscription; most sessions have one, and take no more memory than it needs.
    pub(super) fn add_subscription(&mut self, topic_filter: TopicFilter) {
        if self.subscriptions.is_empty() {
            self.subscriptions.reserve_exact(1);
        }
        self.subscriptions.push(topic_filter);
    }

    /// Whether retained messages are still to be sent.
    pub(super) fn has_cursors(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.cursors.is_empty())
    }
}

/// Messages that wait for a session: it is away, its quota is used up, or its connection is slow.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Queued>,
    bytes: usize,
    /// How many of them are of QoS 0.
    at_most_once: usize,
}

/// A message that waits for a session.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) identifiers: Vec<SubscriptionIdentifier>,
    pub(super) note: Option<Box<Note>>,
}

impl Queued {
    pub(super) fn new(message: Arc<Message>, granted: &Granted, retain: bool, note: Note) -> Self {
        Self {
            qos: message.qos.min(granted.maximum_qos),
            message,
            retain,
            identifiers: granted.identifiers.as_slice().to_vec(),
            note: (!note.is_empty()).then(|| Box::new(note)),
        }
    }

    fn cost(&self) -> usize {
        self.message.size()
    }

    /// Whether it waits until the publisher's exchange is decided.
    pub(super) fn is_tentative(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.tentative)
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether a message of QoS 0 waits, which another one may not overtake.
    pub(super) const fn holds_at_most_once(&self) -> bool {
        self.at_most_once > 0
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.bytes += queued.cost();
        self.at_most_once += usize::from(queued.qos == QoS::AtMostOnce);
        self.messages.push_back(queued);
    }

    pub(super) fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub(super) fn last(&self) -> Option<&Queued> {
        self.messages.back()
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.messages.pop_front()?;
        self.bytes -= queued.cost();
        self.at_most_once -= usize::from(queued.qos == QoS::AtMostOnce);
        if self.messages.is_empty() {
            // A drained queue keeps no buffer.
            self.messages = VecDeque::new();
        }
        Some(queued)
    }

    pub(super) fn push_front(&mut self, queued: Queued) {
        self.bytes += queued.cost();
        self.at_most_once += usize::from(queued.qos == QoS::AtMostOnce);
        self.messages.push_front(queued);
    }

    /// A message that was tentative is owed.
    pub(super) fn confirm(&mut self, number: u64) {
        let mut notes =
            self.messages.iter_mut().rev().filter_map(|queued| queued.note.as_deref_mut());
        if let Some(note) = notes.find(|note| note.number == Some(number)) {
            note.tentative = false;
        }
    }

    /// The Shared Subscriptions that messages came by, as often as they did.
    pub(super) fn groups(&self) -> impl Iterator<Item = Arc<GroupName>> + '_ {
        self.messages.iter().filter_map(|queued| queued.note.as_ref()?.group.clone())
    }

    /// Takes out the messages that `wanted` picks, in their order.
    pub(super) fn extract(&mut self, wanted: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        if !self.messages.iter().any(&wanted) {
            return Vec::new();
        }
        let (picked, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.messages).into_iter().partition(wanted);
        self.messages = kept.into();
        self.bytes -= picked.iter().map(Queued::cost).sum::<usize>();
        self.at_most_once -= picked.iter().filter(|queued| queued.qos == QoS::AtMostOnce).count();
        picked
    }
}
