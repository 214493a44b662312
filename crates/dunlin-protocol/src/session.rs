//! Session State: what outlives a Network Connection. Spec: §4.1.

use crate::Message;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use dunlin_codec::{PacketIdentifier, QoS, ReasonCode, SubscriptionIdentifier};

/// The QoS 1 and QoS 2 exchanges under way in both directions, and the Packet Identifiers that
/// they use: a plain value that moves from one connection to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    pub(crate) outbound: InFlightQueue,
    /// The QoS 2 messages that were received and not yet released.
    pub(crate) inbound: BTreeMap<PacketIdentifier, Received>,
}

/// A QoS 2 message that was received and not yet released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Received {
    /// Whether it counts against our Receive Maximum on the present connection.
    pub(crate) counted: bool,
    /// With what it was refused, when its publisher could not be told.
    pub(crate) refused: Option<ReasonCode>,
    /// Whether its Session may be over: the peer may have begun a new one, and its answer got lost.
    pub(crate) is_in_doubt: bool,
}

impl Session {
    /// An empty Session.
    pub const fn new() -> Self {
        Self::starting_at(PacketIdentifier::FIRST)
    }

    /// An empty Session whose first exchange gets this Packet Identifier.
    ///
    /// For a Session of which no more was kept while nothing was under way: an answer that the
    /// peer gives twice does not meet a new exchange with the old identifier.
    pub const fn starting_at(packet_identifier: PacketIdentifier) -> Self {
        Self { outbound: InFlightQueue::starting_at(packet_identifier), inbound: BTreeMap::new() }
    }

    /// The Packet Identifier whose turn it is: see [`Self::starting_at`].
    pub const fn next_packet_identifier(&self) -> PacketIdentifier {
        self.outbound.next
    }

    /// The exchanges that this end began and that are not finished, in the order they were begun.
    pub fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.outbound.entries.iter().filter(|entry| entry.is_message())
    }

    /// Takes out the exchanges that this end began, in their order.
    pub fn take_in_flight(&mut self) -> Vec<InFlight> {
        let entries = core::mem::take(&mut self.outbound).entries;
        entries.into_iter().filter(InFlight::is_message).collect()
    }

    /// Restores an exchange, after those that were restored before it.
    ///
    /// For a Session that comes back from a store.
    pub fn restore_in_flight(&mut self, in_flight: InFlight) {
        self.outbound.next = in_flight.packet_identifier.next();
        self.outbound.live += 1;
        self.outbound.entries.push_back(in_flight);
    }

    /// Takes out one exchange that this end began, whoever must act next.
    ///
    /// For a Session without a connection whose message somebody else is to have.
    pub fn remove_in_flight(&mut self, packet_identifier: PacketIdentifier) -> Option<InFlight> {
        let at = self.outbound.find(packet_identifier)?;
        Some(self.outbound.finish(at).0)
    }

    /// The message of a QoS 2 exchange that this end began is not sent again; PUBREL is, as if the
    /// receiver had answered the PUBLISH: it may have done so, and then holds the Packet Identifier.
    ///
    /// For a Session without a connection whose message its receiver is no longer to have.
    pub fn forgo_message(&mut self, packet_identifier: PacketIdentifier) {
        let Some(at) = self.outbound.find(packet_identifier) else { return };
        let exchange = &mut self.outbound.entries[at];
        if exchange.state == InFlightState::AwaitingPubRec {
            exchange.state = InFlightState::AwaitingPubComp;
            exchange.message = None;
            exchange.subscription_identifiers = Vec::new();
        }
    }

    /// The Packet Identifiers of QoS 2 messages that were received and not yet released.
    pub fn received(&self) -> impl Iterator<Item = PacketIdentifier> + '_ {
        let taken = self.inbound.iter().filter(|(_, received)| received.refused.is_none());
        taken.map(|(packet_identifier, _)| *packet_identifier)
    }

    /// A received QoS 2 message counts as never received: nobody has taken it, so when it comes
    /// again it is new. Gives whether it was known.
    ///
    /// For a Session without a connection, whose owner tells repetitions apart or has nothing to.
    pub fn forget_received(&mut self, packet_identifier: PacketIdentifier) -> bool {
        self.inbound.remove(&packet_identifier).is_some()
    }

    /// A received QoS 2 message was refused, by a Reason Code of 0x80 or above, when its publisher
    /// could no longer be told: it is told when it sends the message again, which is not delivered
    /// again then [MQTT-4.3.3-10]. An MQTT 3.x peer can't be told, its message is new.
    ///
    /// For a Session without a connection.
    pub fn refuse_received(
        &mut self,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
    ) {
        let refused = Some(reason_code);
        let received = Received { refused, ..Received::default() };
        self.inbound.insert(packet_identifier, received);
    }

    /// Restores a received and not yet released QoS 2 message.
    pub fn restore_received(&mut self, packet_identifier: PacketIdentifier) {
        self.inbound.insert(packet_identifier, Received::default());
    }

    /// The peer may have begun a new Session, and uses the Packet Identifiers of received messages
    /// for others then.
    pub(crate) fn doubt_received(&mut self) {
        self.inbound.values_mut().for_each(|received| received.is_in_doubt = true);
    }

    /// Whether nothing is under way in either direction.
    pub fn is_empty(&self) -> bool {
        self.outbound.live == 0 && self.inbound.is_empty()
    }
}

/// An exchange that this end began: a QoS 1 or QoS 2 PUBLISH on its way to its acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Names the exchange.
    pub packet_identifier: PacketIdentifier,
    /// Who must act next.
    pub state: InFlightState,
    /// The RETAIN flag that the PUBLISH carries.
    pub retain: bool,
    /// The message; gone once the receiver has answered with PUBREC, which must not be followed
    /// by another PUBLISH [MQTT-4.3.3-6].
    pub message: Option<Arc<Message>>,
    /// The Subscription Identifiers that the PUBLISH carries.
    pub subscription_identifiers: Vec<SubscriptionIdentifier>,
    /// Whether the PUBLISH was sent on the present connection, and so counts against the peer's
    /// Receive Maximum.
    pub(crate) counted: bool,
}

/// Where an exchange stands, and what a reconnect changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InFlightState {
    /// QoS 1: the receiver owes a PUBACK. A reconnect sends the PUBLISH again, with DUP.
    AwaitingPubAck,
    /// QoS 2: the receiver owes a PUBREC. A reconnect sends the PUBLISH again, with DUP.
    AwaitingPubRec,
    /// QoS 2: the receiver owes a PUBCOMP. A reconnect sends the PUBREL again.
    AwaitingPubComp,
    /// The Server owes a SUBACK with this many Reason Codes. A reconnect forgets it.
    AwaitingSubAck(u16),
    /// The Server owes an UNSUBACK with this many Reason Codes. A reconnect forgets it.
    AwaitingUnsubAck(u16),
    /// Over; the entry waits for those before it.
    Done,
}

impl InFlight {
    /// An exchange to restore from a store.
    pub fn new(
        packet_identifier: PacketIdentifier,
        state: InFlightState,
        message: Option<Arc<Message>>,
        retain: bool,
        subscription_identifiers: Vec<SubscriptionIdentifier>,
    ) -> Self {
        Self { packet_identifier, state, retain, message, subscription_identifiers, counted: false }
    }

    /// The QoS of the exchange.
    pub fn qos(&self) -> QoS {
        match self.state {
            InFlightState::AwaitingPubAck => QoS::AtLeastOnce,
            InFlightState::AwaitingPubRec | InFlightState::AwaitingPubComp => QoS::ExactlyOnce,
            _ => QoS::AtMostOnce,
        }
    }

    /// Whether the receiver has not answered the PUBLISH.
    pub(crate) fn awaits_receipt(&self) -> bool {
        matches!(self.state, InFlightState::AwaitingPubAck | InFlightState::AwaitingPubRec)
    }

    pub(crate) fn is_message(&self) -> bool {
        matches!(
            self.state,
            InFlightState::AwaitingPubAck
                | InFlightState::AwaitingPubRec
                | InFlightState::AwaitingPubComp
        )
    }
}

/// The exchanges under way, oldest first.
///
/// Packet Identifiers are given out in turn and never overtake the oldest one in use, so the
/// distance from the front orders the queue: an answer finds its entry by one guess or a binary
/// search, and an identifier in use can't be given out again [MQTT-2.2.1-3].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InFlightQueue {
    pub(crate) entries: VecDeque<InFlight>,
    next: PacketIdentifier,
    live: usize,
}

impl Default for InFlightQueue {
    fn default() -> Self {
        Self::starting_at(PacketIdentifier::FIRST)
    }
}

impl InFlightQueue {
    const fn starting_at(next: PacketIdentifier) -> Self {
        Self { entries: VecDeque::new(), next, live: 0 }
    }

    /// The identifier that the next exchange gets; `None` while the oldest exchange still holds
    /// the one whose turn it is.
    pub(crate) fn next_packet_identifier(&self) -> Option<PacketIdentifier> {
        let in_use =
            self.entries.front().is_some_and(|oldest| oldest.packet_identifier == self.next);
        (!in_use).then_some(self.next)
    }

    /// Adds an exchange under the identifier that [`Self::next_packet_identifier`] gave.
    pub(crate) fn push(&mut self, in_flight: InFlight) {
        debug_assert_eq!(in_flight.packet_identifier, self.next, "identifiers are given in turn");
        self.next = self.next.next();
        self.live += 1;
        self.entries.push_back(in_flight);
    }

    /// The place of the exchange with this identifier, when it is under way.
    pub(crate) fn find(&self, packet_identifier: PacketIdentifier) -> Option<usize> {
        let front = self.entries.front()?.packet_identifier;
        let distance = |identifier: PacketIdentifier| {
            let from_front = i32::from(identifier.value()) - i32::from(front.value());
            if from_front < 0 { from_front + 65_535 } else { from_front }
        };
        let wanted = distance(packet_identifier);
        let guess = usize::try_from(wanted).ok()?;
        let at = if self
            .entries
            .get(guess)
            .is_some_and(|entry| entry.packet_identifier == packet_identifier)
        {
            guess
        } else {
            self.entries
                .binary_search_by(|entry| distance(entry.packet_identifier).cmp(&wanted))
                .ok()?
        };
        (self.entries[at].state != InFlightState::Done).then_some(at)
    }

    /// Ends the exchange at this place and gives it back; gives as well how many entries left the
    /// front of the queue.
    pub(crate) fn finish(&mut self, at: usize) -> (InFlight, usize) {
        self.live -= 1;
        let mut left_front = 0;
        let finished = if at == 0 {
            left_front += 1;
            self.entries.pop_front()
        } else {
            let entry = &mut self.entries[at];
            let state = core::mem::replace(&mut entry.state, InFlightState::Done);
            Some(InFlight {
                packet_identifier: entry.packet_identifier,
                state,
                retain: entry.retain,
                message: entry.message.take(),
                subscription_identifiers: core::mem::take(&mut entry.subscription_identifiers),
                counted: entry.counted,
            })
        };
        while self.entries.front().is_some_and(|entry| entry.state == InFlightState::Done) {
            self.entries.pop_front();
            left_front += 1;
        }
        let finished = finished.unwrap_or_else(|| unreachable!("the entry was found before"));
        if left_front == 0 && self.entries.len() > 2 * self.live + 64 {
            // A peer that leaves its oldest exchange open can't make us keep all that followed.
            self.entries.retain(|entry| entry.state != InFlightState::Done);
        }
        (finished, left_front)
    }

    /// Gives back memory that is far more than what is under way.
    pub(crate) fn shrink(&mut self) {
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// # Panics
    /// When the queue is not ordered by Packet Identifier, or miscounts.
    pub(crate) fn check_invariants(&self) {
        let live = self.entries.iter().filter(|entry| entry.state != InFlightState::Done).count();
        assert_eq!(self.live, live, "exchanges under way");
        assert!(self.entries.len() <= 2 * self.live + 65, "exchanges that are over are kept");
        for entry in &self.entries {
            let found = self.find(entry.packet_identifier);
            assert_eq!(found.is_some(), entry.state != InFlightState::Done, "{entry:?}");
        }
    }

    /// Prepares for a new connection: nothing counts against its quota yet, and what is not
    /// Session State is forgotten. Gives how many PUBLISH and how many PUBREL packets are owed.
    pub(crate) fn reconnect(&mut self) -> (usize, usize) {
        self.entries.retain(InFlight::is_message);
        self.live = self.entries.len();
        let mut pubrels = 0;
        for entry in &mut self.entries {
            entry.counted = false;
            pubrels += usize::from(entry.state == InFlightState::AwaitingPubComp);
        }
        (self.live - pubrels, pubrels)
    }
}

#[cfg(test)]
mod tests;
