//! The books of a run: what each publisher has under way, what each subscriber has to see next.

use thiserror::Error;

use crate::frame;

/// A run whose figures must not be believed.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A later message came before this one, or instead of it.
    #[error("message {expected} of publisher {publisher} is lost or late: {found} came first")]
    Lost {
        /// Index of the publisher.
        publisher: u32,
        /// Sequence number that was due.
        expected: u32,
        /// Sequence number that came.
        found: u32,
    },
    /// A message that this subscriber had already came again.
    #[error("message {found} of publisher {publisher} came again or late: {expected} was due")]
    Doubled {
        /// Index of the publisher.
        publisher: u32,
        /// Sequence number that was due.
        expected: u32,
        /// Sequence number that came.
        found: u32,
    },
    /// A message that nobody sent to this subscriber.
    #[error("message {found} of publisher {publisher} was never sent to this subscriber")]
    Unknown {
        /// Publisher that the payload names.
        publisher: u32,
        /// Sequence number that the payload names.
        found: u32,
    },
    /// An acknowledgement of a packet that does not wait for it.
    #[error(
        "publisher {publisher}: packet {first:#04x} for identifier {packet_identifier} is out of turn"
    )]
    OutOfTurn {
        /// Index of the publisher.
        publisher: u32,
        /// First byte of the acknowledgement.
        first: u8,
        /// Packet Identifier that it names.
        packet_identifier: u16,
    },
    /// A payload of another length or a delivery with other flags than those published.
    #[error("delivery has been altered: {0}")]
    Altered(&'static str),
}

/// Where a published message stands with its acknowledgements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Published,
    Released,
    Complete,
}

/// What one publisher has sent, and how far it is acknowledged and delivered.
///
/// Messages are numbered from 0. Two prefixes grow towards [`PublisherLedger::sent`]: all before
/// `acknowledged` are complete, all before `delivered` have reached every receiver. Between the
/// prefixes and `sent` a ring of slots holds the state of each message.
#[derive(Debug)]
pub struct PublisherLedger {
    index: u32,
    qos: u8,
    receivers: u32,
    sent: u32,
    acknowledged: u32,
    delivered: u32,
    mask: u32,
    /// How many receivers have the message, by slot.
    reached: Box<[u32]>,
    steps: Box<[Step]>,
}

/// Largest number of messages that a publisher may have under way.
pub const WINDOW_MAX: u32 = 1 << 15;

impl PublisherLedger {
    /// The ledger of publisher `index` whose every message is owed to `receivers` subscribers.
    ///
    /// # Panics
    /// If `window` is 0 or more than [`WINDOW_MAX`].
    pub fn new(index: u32, qos: u8, receivers: u32, window: u32) -> Self {
        assert!((1..=WINDOW_MAX).contains(&window), "window of 1 to {WINDOW_MAX}");
        let slots = window.next_power_of_two();
        Self {
            index,
            qos,
            receivers,
            sent: 0,
            acknowledged: 0,
            delivered: 0,
            mask: slots - 1,
            reached: vec![0; slots as usize].into(),
            steps: vec![Step::Complete; slots as usize].into(),
        }
    }

    /// Messages sent so far; also the next sequence number.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Messages that lack a delivery or, above QoS 0, their acknowledgement.
    #[inline]
    pub fn under_way(&self) -> u32 {
        let settled =
            if self.qos == 0 { self.delivered } else { self.delivered.min(self.acknowledged) };
        self.sent - settled
    }

    /// Books the next message; returns its sequence number and Packet Identifier.
    ///
    /// The caller keeps [`PublisherLedger::under_way`] below the window, so that the slot is free.
    #[inline]
    pub fn send(&mut self) -> (u32, u16) {
        let sequence = self.sent;
        let slot = sequence & self.mask;
        debug_assert!(self.under_way() <= self.mask, "slot still in use");
        self.reached[slot as usize] = 0;
        if self.qos > 0 {
            self.steps[slot as usize] = Step::Published;
        }
        self.sent += 1;
        (sequence, (slot + 1) as u16)
    }

    /// Books that one receiver has got message `sequence`.
    ///
    /// # Errors
    /// [`Fault::Unknown`] if it was not sent, or all receivers have it already.
    #[inline]
    pub fn handle_delivery(&mut self, sequence: u32) -> Result<(), Fault> {
        if sequence >= self.sent || sequence < self.delivered {
            return Err(Fault::Unknown { publisher: self.index, found: sequence });
        }
        let reached = &mut self.reached[(sequence & self.mask) as usize];
        if *reached == self.receivers {
            return Err(Fault::Unknown { publisher: self.index, found: sequence });
        }
        *reached += 1;
        while self.delivered < self.sent
            && self.reached[(self.delivered & self.mask) as usize] == self.receivers
        {
            self.delivered += 1;
        }
        Ok(())
    }

    /// Books a PUBACK, PUBREC or PUBCOMP; true if a PUBREL has to follow.
    ///
    /// # Errors
    /// [`Fault::OutOfTurn`] if no message of that Packet Identifier waits for this packet.
    #[inline]
    pub fn handle_ack(&mut self, first: u8, packet_identifier: u16) -> Result<bool, Fault> {
        let out_of_turn = Fault::OutOfTurn { publisher: self.index, first, packet_identifier };
        let slot = usize::from(packet_identifier.wrapping_sub(1));
        let Some(step) = self.steps.get_mut(slot) else { return Err(out_of_turn) };
        *step = match (first, *step, self.qos) {
            (frame::PUBREC, Step::Published, 2) => {
                *step = Step::Released;
                return Ok(true);
            }
            (frame::PUBACK, Step::Published, 1) | (frame::PUBCOMP, Step::Released, 2) => {
                Step::Complete
            }
            _ => return Err(out_of_turn),
        };
        while self.acknowledged < self.sent
            && self.steps[(self.acknowledged & self.mask) as usize] == Step::Complete
        {
            self.acknowledged += 1;
        }
        Ok(false)
    }
}

/// The messages that one subscriber has to see next, by publisher and Topic Name.
///
/// A publisher's message `n` goes to its Topic Name `n % topics`, and order holds per Topic Name
/// [MQTT3-4.6.0-6].
#[derive(Debug)]
pub struct ReceiverLedger {
    first_publisher: u32,
    topics: u32,
    next: Box<[u32]>,
    /// Messages may be missing here, since others of the group have them.
    is_sharing: bool,
}

impl ReceiverLedger {
    /// A subscriber to all `topics` of each of `publishers` from `first_publisher` on.
    pub fn new(first_publisher: u32, publishers: u32, topics: u32) -> Self {
        let next = (0..publishers).flat_map(|_| 0..topics).collect();
        Self { first_publisher, topics, next, is_sharing: false }
    }

    /// One member of the only group that shares a subscription. It sees a part of the messages, these
    /// in order; that each goes to one member and no more is for [`PublisherLedger`] to book.
    pub fn sharing(first_publisher: u32, publishers: u32, topics: u32) -> Self {
        Self { is_sharing: true, ..Self::new(first_publisher, publishers, topics) }
    }

    /// Books a delivery.
    ///
    /// # Errors
    /// [`Fault::Lost`], [`Fault::Doubled`] or [`Fault::Unknown`] if it is not the message due.
    #[inline]
    pub fn handle_delivery(&mut self, publisher: u32, found: u32) -> Result<(), Fault> {
        let topic = if self.topics == 1 { 0 } else { found % self.topics };
        let place = publisher
            .checked_sub(self.first_publisher)
            .and_then(|nth| nth.checked_mul(self.topics))
            .and_then(|start| self.next.get_mut((start + topic) as usize));
        let Some(next) = place else { return Err(Fault::Unknown { publisher, found }) };
        let expected = *next;
        if found == expected || (self.is_sharing && found > expected) {
            *next = found + self.topics;
            return Ok(());
        }
        Err(if found > expected {
            Fault::Lost { publisher, expected, found }
        } else {
            Fault::Doubled { publisher, expected, found }
        })
    }
}

#[cfg(test)]
mod tests;
