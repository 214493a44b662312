//! Publishes whose acknowledgement waits: for the store, for other workers, or for room.

use super::GroupName;
use super::durability::{Durability, StoredUpto};
use super::forward::{Forwarded, Outcome, OwedTo, PublishNumber, Receiver};
use super::granted::SessionKey;
use super::in_turn::InTurn;
use super::login::Admitted;
use super::unrecorded::Unrecorded;
use super::workers::AwaitedSubAck;
use super::{ConnectionKey, RecordNumber, WorkerNumber};
use dunlin_protocol::codec::{ConnAckProperties, PacketIdentifier, Text, UnsubAck};
use dunlin_protocol::{AckToken, Instant, Message};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A message that was routed, and of which it is not known yet that all who are to have it do.
#[derive(Debug)]
pub(super) struct PendingPublish {
    pub(super) source: Source,
    /// Other workers whose outcome is awaited.
    pub(super) workers: u32,
    /// The record that must be stored.
    pub(super) stored: Option<RecordNumber>,
    /// How safe it must be.
    pub(super) durability: Durability,
    pub(super) outcome: Outcome,
    /// The sessions of all workers that owe it tentatively, or have it though it may be refused.
    pub(super) receivers: Vec<Receiver>,
    /// Whether nothing but the store is awaited.
    pub(super) is_decided: bool,
}

impl PendingPublish {
    /// Whether nobody is to have it whom it can be kept from: its Client is told, or sends it again.
    pub(super) fn is_refused(&self) -> bool {
        self.outcome.refused && matches!(self.source, Source::Client { .. })
    }
}

/// Where a message came from.
#[derive(Debug)]
pub(super) enum Source {
    /// A Client, which gets an acknowledgement.
    Client {
        connection: ConnectionKey,
        ack: AckToken,
        /// At QoS 2 the publisher's session, with its generation: it remembers the message though
        /// nobody may have taken it yet.
        undecided: Option<(SessionKey, u32)>,
    },
    /// The broker: a Will, or a message that was handed on; under way by this number.
    Own { client_identifier: Text, underway: Option<u64> },
}

/// A publish of an MQTT 3.x Client that has to wait for room in a queue.
#[derive(Clone, Debug)]
pub(super) struct HeldPublish {
    pub(super) message: Arc<Message>,
    pub(super) ack: AckToken,
}

/// The publishes of an MQTT 3.x Client from the first one on that no queue had room for, in their
/// order. They are tried again.
///
/// The Client is read on meanwhile, since its acknowledgements may be what makes the room; only
/// too many bytes end that, or as many messages as Receive Maximum says.
#[derive(Debug, Default)]
pub(super) struct HeldPublishes {
    waiting: VecDeque<HeldPublish>,
    bytes: usize,
}

impl HeldPublishes {
    pub(super) fn push(&mut self, publish: HeldPublish) {
        self.bytes += publish.message.size();
        self.waiting.push_back(publish);
    }

    pub(super) fn front(&self) -> Option<&HeldPublish> {
        self.waiting.front()
    }

    pub(super) fn pop(&mut self) {
        if let Some(publish) = self.waiting.pop_front() {
            self.bytes -= publish.message.size();
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HeldPublish> {
        self.waiting.iter()
    }
}

/// Messages that another worker took by one connection and that wait for room here, in their order.
#[derive(Debug)]
pub(super) struct HeldForwards {
    pub(super) waiting: VecDeque<Forwarded>,
    /// Since when the first of them has been the first.
    pub(super) since: Instant,
}

/// What the end of the waiting is for.
#[derive(Debug)]
pub(super) enum AfterStored {
    /// A publish may be acknowledged.
    Publish(PublishNumber),
    /// A release may be acknowledged.
    Release(ConnectionKey, AckToken),
    /// The worker that forwarded a publish may be told what became of it.
    Answer(WorkerNumber, PublishNumber, Outcome, Vec<Receiver>),
    /// A Client may be told that its CONNECT was accepted: Session Present, and the rest.
    ConnAck(ConnectionKey, bool, Box<ConnAckProperties>),
    /// A Client may be told that its subscriptions are made.
    SubAck(Box<AwaitedSubAck>),
    /// A Client may be told that its subscriptions are removed.
    UnsubAck(ConnectionKey, Box<UnsubAck>),
    /// A Client that has received a QoS 2 message may forget that it has.
    PubRel(ConnectionKey, PacketIdentifier),
}

/// A message of a Shared Subscription whose member has ended its session before it was decided
/// whether the message is owed. If it is, another member gets it.
#[derive(Debug)]
pub(super) struct LeftToGroup {
    pub(super) client_identifier: Text,
    pub(super) group: Arc<GroupName>,
    pub(super) message: Arc<Message>,
}

#[derive(Debug, Default)]
pub(super) struct PendingPublishes {
    next: u64,
    publishes: InTurn<PendingPublish>,
    /// The QoS 2 messages of each publisher's session, with its generation, that are not decided, in
    /// their order.
    undecided: HashMap<(SessionKey, u32), VecDeque<PublishNumber>>,
    after_written: VecDeque<(RecordNumber, AfterStored)>,
    after_synced: VecDeque<(RecordNumber, AfterStored)>,
    pub(super) held: HashMap<ConnectionKey, HeldPublishes>,
    /// What sessions that have ended owed tentatively: by the session, its generation and the number
    /// of the message within it. Their decisions are on the way.
    pub(super) left_to_groups: HashMap<(SessionKey, u32, u64), LeftToGroup>,
    /// Messages that another worker took by a connection of an MQTT 3.x Client, from the first one
    /// on that has no room here. As many as the Receive Maximum says: their Client has no
    /// acknowledgement yet.
    pub(super) held_forwards: HashMap<(WorkerNumber, ConnectionKey), HeldForwards>,
    /// Clients that came back while it is not known what became of their QoS 2 messages.
    pub(super) parked: Vec<(ConnectionKey, Admitted)>,
    pub(super) stored: StoredUpto,
    /// Clients whose Session or Will is gone, and the record that says so: a crash may bring back
    /// what the store does not know to be gone.
    gone: HashMap<Text, RecordNumber>,
    gone_in_order: VecDeque<(RecordNumber, Text)>,
    pub(super) unrecorded: Unrecorded,
}

impl PendingPublishes {
    /// This record says that a Session or a Will of a Client is gone.
    pub(super) fn remember_gone(&mut self, client_identifier: Text, record: RecordNumber) {
        self.gone.insert(client_identifier.clone(), record);
        self.gone_in_order.push_back((record, client_identifier));
    }

    /// The record that must be stored before this Client can rely on what is gone.
    pub(super) fn gone(&self, client_identifier: &Text) -> Option<RecordNumber> {
        self.gone.get(client_identifier).copied()
    }

    /// The store has gone on: forgets what no crash brings back.
    pub(super) fn forget_gone(&mut self) {
        let is_safe = |record| self.stored.is_stored(Durability::Fsync, record);
        while let Some((_, client)) =
            self.gone_in_order.pop_front_if(|(record, _)| is_safe(*record))
        {
            if self.gone.get(&client).is_some_and(|record| is_safe(*record)) {
                self.gone.remove(&client);
            }
        }
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        let waiting = self.after_written.len() + self.after_synced.len();
        let publishes = self.publishes.len() + waiting + self.held.len();
        let forwards: usize = self.held_forwards.values().map(|held| held.waiting.len()).sum();
        let left = self.left_to_groups.len() + self.gone_in_order.len();
        publishes + forwards + self.parked.len() + left
    }

    /// Takes out what a session that has ended left to a group.
    pub(super) fn take_left(&mut self, owed: &OwedTo) -> Option<LeftToGroup> {
        if self.left_to_groups.is_empty() {
            return None;
        }
        self.left_to_groups.remove(&(owed.session, owed.generation, owed.number))
    }

    /// The number that the next publish gets, should it have to wait.
    pub(super) const fn next_number(&self) -> PublishNumber {
        PublishNumber(self.next)
    }

    /// Another worker has taken a message by this number: what is taken here from now on comes after
    /// it, however many more that worker has taken.
    pub(super) fn follow(&mut self, number: PublishNumber) {
        self.next = self.next.max(number.0 + 1);
    }

    pub(super) fn insert(&mut self, publish: PendingPublish) -> PublishNumber {
        let number = self.next_number();
        self.next += 1;
        if let Source::Client { undecided: Some(publisher), .. } = publish.source {
            self.undecided.entry(publisher).or_default().push_back(number);
        }
        self.publishes.push(number.0, publish);
        number
    }

    /// Whether a QoS 2 message of this publisher's session is not decided.
    pub(super) fn has_undecided(&self, publisher: (SessionKey, u32)) -> bool {
        !self.undecided.is_empty() && self.undecided.contains_key(&publisher)
    }

    /// Takes out the first of the undecided messages of this publisher's session, if no outcome of
    /// it is awaited any more.
    pub(super) fn next_in_turn(&mut self, publisher: (SessionKey, u32)) -> Option<PublishNumber> {
        let waiting = self.undecided.get_mut(&publisher)?;
        let first = *waiting.front()?;
        if self.publishes.get(first.0).is_some_and(|publish| publish.workers > 0) {
            return None;
        }
        waiting.pop_front();
        if waiting.is_empty() {
            self.undecided.remove(&publisher);
        }
        Some(first)
    }

    /// Lets something wait until a record is so safe; gives it back if it need not.
    pub(super) fn wait_for_store(
        &mut self,
        record: RecordNumber,
        durability: Durability,
        after: AfterStored,
    ) -> Option<AfterStored> {
        if self.stored.is_stored(durability, record) {
            return Some(after);
        }
        match durability {
            Durability::Fsync => self.after_synced.push_back((record, after)),
            _ => self.after_written.push_back((record, after)),
        }
        None
    }

    /// What no longer waits for the store.
    pub(super) fn pop_stored(&mut self) -> Option<AfterStored> {
        let stored = self.stored;
        let is_stored =
            |durability, waiting: &mut (RecordNumber, _)| stored.is_stored(durability, waiting.0);
        self.after_written
            .pop_front_if(|waiting| is_stored(Durability::Written, waiting))
            .or_else(|| {
                self.after_synced.pop_front_if(|waiting| is_stored(Durability::Fsync, waiting))
            })
            .map(|(_, after)| after)
    }

    pub(super) fn get_mut(&mut self, number: PublishNumber) -> Option<&mut PendingPublish> {
        self.publishes.get_mut(number.0)
    }

    /// Takes out a publish that waits for nothing any more.
    pub(super) fn take_ready(&mut self, number: PublishNumber) -> Option<PendingPublish> {
        let publish = self.publishes.get(number.0)?;
        let stored =
            publish.stored.is_none_or(|record| self.stored.is_stored(publish.durability, record));
        if !publish.is_decided || !stored {
            return None;
        }
        self.publishes.remove(number.0)
    }
}
