//! A session: what the broker keeps for a Client Identifier, connected or not.

use super::GroupName;
use super::RecordNumber;
use super::deadline::Deadline;
use super::drops::Drops;
use super::forward::Turn;
use super::given::{Given, RefusedMessages};
use super::login::Owner;
use super::notes::Notes;
use super::queue::Queue;
use super::retained::RetainedCursor;
use super::topic_filters::TopicFilters;
use dunlin_protocol::codec::{PacketIdentifier, ProtocolVersion, Text};
use dunlin_protocol::{Message, Session as ProtocolSession};
use std::collections::VecDeque;
use std::sync::Arc;

/// A Session Expiry Interval that never ends.
pub(super) const NEVER: u32 = u32::MAX;

/// What the broker keeps for a Client Identifier.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client_identifier: Text,
    /// Whose it is.
    pub(super) owner: Owner,
    /// The connection that uses the session now.
    pub(super) connection: Option<u32>,
    pub(super) version: ProtocolVersion,
    /// Seconds that the session outlives its connection.
    pub(super) expiry_interval: u32,
    /// While away: when the session ends.
    pub(super) expires_at: Deadline,
    /// While away: the exchanges under way, if there are any. While connected they are with the
    /// connection.
    pub(super) exchanges: Option<Box<ProtocolSession>>,
    /// While away without exchanges: the Packet Identifier that the next one gets.
    next_identifier: PacketIdentifier,
    /// When the earliest timer that counts for it comes up.
    pub(super) timer_at: Deadline,
    /// Whether the session was recorded: its end is recorded as well.
    pub(super) is_recorded: bool,
    pub(super) queue: Queue,
    pub(super) subscriptions: TopicFilters,
    pub(super) will: Option<Box<Will>>,
    /// What was dropped for it; made on demand.
    pub(super) drops: Option<Box<Drops>>,
    /// What few sessions have; made on demand.
    pub(super) rare: Option<Box<Rare>>,
}

/// What few sessions have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// Retained messages that are still to be sent for new subscriptions.
    pub(super) cursors: VecDeque<RetainedCursor>,
    /// What must be known of messages in flight beyond their exchange.
    pub(super) notes: Notes,
    /// QoS 2 messages of the Client itself of which it is not yet known whether they are taken.
    pub(super) undecided: u32,
    /// QoS 2 messages of the Client itself that were refused and that it sends again: who has them.
    pub(super) refused: RefusedMessages,
    /// The number that the last stored message got.
    pub(super) last_number: u64,
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
    /// When it was taken, compared to others that are not decided.
    pub(super) turn: Option<Turn>,
    /// The record that the Client has received it.
    pub(super) taken: Option<RecordNumber>,
    /// Whether it came by a Shared Subscription and has its exchange, and is not sent before that
    /// is stored: nobody else has seen it.
    pub(super) unsent: bool,
}

impl Note {
    pub(super) const fn is_empty(&self) -> bool {
        self.number.is_none() && self.group.is_none() && !self.tentative
    }
}

/// A Will and what becomes of it.
#[derive(Debug)]
pub(super) struct Will {
    pub(super) message: Message,
    pub(super) message_expiry_interval: Option<u32>,
    pub(super) delay_secs: u32,
    /// While away: when it is published.
    pub(super) due_at: Deadline,
    /// Whether it was recorded: its end is recorded as well.
    pub(super) is_recorded: bool,
}

impl Session {
    pub(super) fn new(client_identifier: Text, version: ProtocolVersion) -> Self {
        Self {
            client_identifier,
            owner: Owner::default(),
            connection: None,
            version,
            expiry_interval: 0,
            expires_at: Deadline::NEVER,
            exchanges: None,
            next_identifier: PacketIdentifier::FIRST,
            timer_at: Deadline::NEVER,
            is_recorded: false,
            queue: Queue::default(),
            subscriptions: TopicFilters::default(),
            will: None,
            drops: None,
            rare: None,
        }
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// While away: when its Will is published, if it has one.
    pub(super) fn will_due_at(&self) -> Deadline {
        self.will.as_ref().map_or(Deadline::NEVER, |will| will.due_at)
    }

    /// Keeps the exchanges of a connection that is over.
    pub(super) fn keep_exchanges(&mut self, exchanges: ProtocolSession) {
        self.next_identifier = exchanges.next_packet_identifier();
        self.exchanges = (!exchanges.is_empty()).then(|| Box::new(exchanges));
    }

    /// Takes the exchanges, for a connection.
    pub(super) fn take_exchanges(&mut self) -> ProtocolSession {
        match self.exchanges.take() {
            Some(exchanges) => *exchanges,
            None => ProtocolSession::starting_at(self.next_identifier),
        }
    }

    /// While away: the exchanges, to add to them.
    pub(super) fn exchanges_mut(&mut self) -> &mut ProtocolSession {
        let none = || Box::new(ProtocolSession::starting_at(self.next_identifier));
        self.exchanges.get_or_insert_with(none)
    }

    /// Whether the session outlives its connection, and so must survive the process.
    pub(super) const fn is_persistent(&self) -> bool {
        self.expiry_interval > 0
    }

    /// Numbers the next message to be stored: higher than the last one, and than this.
    pub(super) fn take_number(&mut self, above: u64) -> u64 {
        let last = &mut self.rare().last_number;
        *last = match *last {
            0 => above + 1,
            last => last + 1,
        };
        *last
    }

    /// The number that was given last, 0 if none was.
    pub(super) fn last_number(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.last_number)
    }

    pub(super) fn take_note(&mut self, packet_identifier: PacketIdentifier) -> Note {
        self.rare.as_mut().and_then(|rare| rare.notes.remove(packet_identifier)).unwrap_or_default()
    }

    /// Whether it is not yet known what becomes of a QoS 2 message of the Client itself.
    pub(super) fn is_undecided(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.undecided > 0)
    }

    /// Who has a QoS 2 message of the Client itself that it sends again.
    pub(super) fn given(&self, packet_identifier: PacketIdentifier) -> Option<Arc<Given>> {
        self.rare.as_ref()?.refused.get(packet_identifier).cloned()
    }

    /// Gives back the rare things once there are none.
    pub(super) fn forget_rare(&mut self) {
        let Some(rare) = &mut self.rare else { return };
        if rare.cursors.is_empty() {
            rare.cursors = VecDeque::new();
        }
        let is_idle = rare.notes.is_empty() && rare.undecided == 0 && rare.last_number == 0;
        if rare.cursors.is_empty() && rare.refused.is_empty() && is_idle {
            self.rare = None;
        }
    }

    /// Whether retained messages are still to be sent.
    pub(super) fn has_cursors(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.cursors.is_empty())
    }
}
