//! What goes from one worker to another, in batches: one for each worker and turn. What goes to
//! another node one day is the same.

use super::ConnectionKey;
use super::GroupName;
use super::counters::Counters;
use super::durability::Durability;
use super::given::{Given, GivenTo};
use super::granted::{SessionKey, WorkerNumber};
use dunlin_protocol::Message;
use dunlin_protocol::codec::Text;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;

/// All that one worker has for another at the end of a turn, in its order.
#[derive(Debug, Default)]
pub struct Batch {
    pub(super) items: VecDeque<Forward>,
}

impl Batch {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many things are in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }
}

/// One thing that a worker has for another.
#[derive(Debug)]
pub(super) enum Forward {
    /// A message for sessions of the other worker.
    Publish(Forwarded),
    /// The connection of an MQTT 3.x Client is over: its messages wait for room no longer.
    PublisherGone { connection: ConnectionKey },
    /// What became of a message that the other worker forwarded.
    Outcome { publish: PublishNumber, outcome: Outcome, receivers: Vec<Receiver> },
    /// What was owed tentatively by sessions of the other worker is owed.
    Confirmed { owed: Vec<OwedTo> },
    /// What was owed tentatively by sessions of the other worker is not owed: it was refused.
    Withdrawn { owed: Vec<OwedTo> },
    /// The sender has sessions for this Topic Filter, or no longer.
    Interest { topic_filter: Box<str>, wanted: bool },
    /// So many members of the Shared Subscription are with the sender, connected and in sum.
    GroupInterest { group: Arc<GroupName>, connected: u32, members: u32 },
    /// The sender wants to know that all interests before this are taken up.
    InterestMark { number: u64 },
    /// All interests up to this mark are taken up.
    InterestTaken { number: u64 },
    /// The sender has told all interests of the sessions that it recovered.
    Recovered,
    /// The counters of the sender.
    Counters(Box<Counters>),
}

/// A message for sessions of another worker: all that match, or one member of a Shared
/// Subscription, whom that worker chooses.
#[derive(Clone, Debug)]
pub(super) struct Forwarded {
    pub(super) message: Arc<Message>,
    pub(super) group: Option<Arc<GroupName>>,
    /// The worker that took the message. It gets the answer, however many passed the message on.
    pub(super) taken_by: WorkerNumber,
    pub(super) answer: Option<PublishNumber>,
    pub(super) is_tentative: bool,
    pub(super) when_full: WhenFull,
    pub(super) durability: Durability,
    /// Those who have it since it came the last time.
    pub(super) given: Option<Arc<Given>>,
    /// The workers whose members of the group may not have it, by the rules.
    pub(super) denied_at: Vec<WorkerNumber>,
}

/// What becomes of a message when the queue of a session that is to have it is full, and its
/// policy is to refuse.
///
/// Where somebody can be told or can wait, a worker asks all of its sessions before it gives the
/// message to any. What they were asked for they take, even if one that has several ways to get it
/// is then beyond its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// This session does not get it: nobody would send it again.
    Drop,
    /// No session of the worker gets it, and its MQTT 5.0 publisher is told so.
    Refuse,
    /// It waits for room, and so do those after it: the publisher, an MQTT 3.x Client by this
    /// connection to the worker that took the message, can't be told. Up to twice the limit it waits
    /// for none that came after it and is not decided.
    Hold(ConnectionKey),
    /// It is queued up to twice the limit: that publisher's connection is over, or the message has
    /// waited for long behind one that may itself wait for it. Beyond that it is refused at QoS 1, and
    /// while it is tentative, since it is new then when it comes again, and else dropped. It is
    /// refused as well where it would have to be stored and the store takes nothing.
    Exceed,
    /// As `Exceed`, and it waits no longer for that much room behind one that is not decided. It is
    /// tentative, or one behind it is, and others may wait for that: refused, it ends its publisher's
    /// connection and comes again.
    GiveUp,
}

impl WhenFull {
    /// How many times its limit a queue may hold with such a message.
    pub(super) const fn times_limit(self) -> usize {
        match self {
            Self::Drop => 1,
            Self::Exceed | Self::GiveUp => 2,
            Self::Refuse | Self::Hold(_) => usize::MAX,
        }
    }

    /// Whether nobody can be told that a message is refused: its publisher is an MQTT 3.x Client.
    pub(super) const fn tells_nobody(self) -> bool {
        matches!(self, Self::Hold(_) | Self::Exceed | Self::GiveUp)
    }
}

/// Names a publish that waits for other workers or the store, within the worker that took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PublishNumber(pub(super) u64);

/// The place of a message in an order that all workers agree on: what a worker takes comes after all
/// that it took before, and after all that others had sent it by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn(NonZeroU64);

impl Turn {
    pub(super) fn new(publish: PublishNumber, taken_by: WorkerNumber) -> Option<Self> {
        NonZeroU64::new(((publish.0 + 1) << u8::BITS) | u64::from(taken_by.0)).map(Self)
    }
}

/// A receiver of a message of which it is not yet decided whether it is taken.
#[derive(Clone, Debug)]
pub(super) enum Receiver {
    /// It is stored, and owes the message tentatively.
    Owed(OwedTo),
    /// It is not, and has the message for good, which may be refused and come again.
    Given(GivenTo),
}

/// A message that is owed to a session tentatively.
#[derive(Clone, Debug)]
pub(super) struct OwedTo {
    /// The worker of the session, its place there and the count of that place.
    pub(super) worker: WorkerNumber,
    pub(super) session: SessionKey,
    pub(super) generation: u32,
    pub(super) client_identifier: Text,
    /// The number of the message within the session.
    pub(super) number: u64,
}

/// What became of a message at one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// A session was there to take it.
    pub(super) matched: bool,
    /// A session could not take it.
    pub(super) refused: bool,
}

impl Outcome {
    pub(super) fn join(&mut self, other: Self) {
        self.matched |= other.matched;
        self.refused |= other.refused;
    }
}

/// The batches of this turn, one for each other worker.
#[derive(Debug)]
pub(super) struct Outbox {
    batches: Vec<Batch>,
}

impl Outbox {
    pub(super) fn new(workers: usize) -> Self {
        Self { batches: (0..workers).map(|_| Batch::default()).collect() }
    }

    pub(super) fn workers(&self) -> usize {
        self.batches.len()
    }

    pub(super) fn push(&mut self, to: WorkerNumber, forward: Forward) {
        self.batches[usize::from(to.0)].items.push_back(forward);
    }

    /// Whether all batches are empty.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.iter().all(Batch::is_empty)
    }

    /// Takes out a batch that has something in it.
    pub(super) fn take(&mut self) -> Option<(WorkerNumber, Batch)> {
        let at = self.batches.iter().position(|batch| !batch.is_empty())?;
        let number = WorkerNumber(u8::try_from(at).unwrap_or(u8::MAX));
        Some((number, std::mem::take(&mut self.batches[at])))
    }
}
