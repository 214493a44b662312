//! What the broker sends: deliveries and acknowledgements are booked where they lie in the buffer;
//! whatever else comes is handed back.

use super::receiver::Receiver;
use super::sender::{Common, Sender};
use super::tally::Tally;
use crate::books::{Answer, Verdict};
use crate::frame::{self, Frame, FrameError};
use crate::layout::Role;
use crate::packet::{self, Publish};
use crate::payload::{Reading, Stamp};

/// How far a buffer has been read.
#[derive(Debug)]
pub(super) struct Read<'a> {
    /// Bytes of whole frames.
    pub(super) used: usize,
    /// The last of these frames, if it is none that moves messages.
    pub(super) control: Option<Frame<'a>>,
}

/// Both ends of a client's connection, and what they change.
pub(super) struct Desk<'a> {
    pub(super) common: &'a Common,
    pub(super) senders: &'a mut [Sender],
    pub(super) tally: &'a mut Tally,
    pub(super) output: &'a mut Vec<u8>,
    pub(super) now: u64,
}

impl Desk<'_> {
    /// Books what a publisher has read.
    pub(super) fn read_acks<'b>(
        &mut self,
        bytes: &'b [u8],
        sender: usize,
    ) -> Result<Read<'b>, FrameError> {
        let mut used = 0;
        while let Some(frame) = frame::split_frame(&bytes[used..])? {
            used += frame.len;
            match frame.first {
                frame::PUBACK | frame::PUBREC | frame::PUBCOMP => self.book_ack(&frame, sender)?,
                _ => return Ok(Read { used, control: Some(frame) }),
            }
        }
        Ok(Read { used, control: None })
    }

    /// Reads what comes to a client without messages.
    pub(super) fn read_other<'b>(&mut self, bytes: &'b [u8]) -> Result<Read<'b>, FrameError> {
        match frame::split_frame(bytes)? {
            Some(frame) => Ok(Read { used: frame.len, control: Some(frame) }),
            None => Ok(Read { used: 0, control: None }),
        }
    }

    #[inline]
    fn book_ack(&mut self, frame: &Frame<'_>, sender: usize) -> Result<(), FrameError> {
        let packet_identifier = frame.packet_identifier()?;
        let is_refused = packet::reason_code(frame) >= 0x80 && frame.first != frame::PUBCOMP;
        let sender = &mut self.senders[sender];
        match sender.outgoing.acknowledge(frame.first, packet_identifier, is_refused) {
            Answer::Release => frame::push_ack(self.output, frame::PUBREL, packet_identifier),
            Answer::Complete { qos, sequence } => {
                self.tally.unacknowledged -= 1;
                self.tally.progress += 1;
                if is_refused {
                    self.tally.faults[usize::from(qos)].refused += 1;
                    self.tally.refusals.push((sender.index, sequence));
                }
                if let Some((timed, sent)) = sender.timed
                    && timed == packet_identifier
                {
                    self.tally.samples.acknowledgement(self.now - sent);
                    sender.timed = None;
                }
            }
            Answer::OutOfTurn => self.tally.out_of_turn += 1,
        }
        Ok(())
    }

    /// Books what a subscriber has read.
    pub(super) fn read_deliveries<'b>(
        &mut self,
        bytes: &'b [u8],
        receiver: &mut Receiver,
    ) -> Result<Read<'b>, FrameError> {
        let mut used = 0;
        while let Some(frame) = frame::split_frame(&bytes[used..])? {
            used += frame.len;
            if frame.is_publish() {
                let publish = packet::read_publish(self.common.version, &frame)?;
                self.take_delivery(&publish, frame.first, receiver);
            } else if frame.first == frame::PUBREL {
                let packet_identifier = frame.packet_identifier()?;
                receiver.received.remove(packet_identifier);
                receiver.carried.remove(packet_identifier);
                frame::push_ack(self.output, frame::PUBCOMP, packet_identifier);
            } else {
                return Ok(Read { used, control: Some(frame) });
            }
        }
        Ok(Read { used, control: None })
    }

    /// Answers a delivery as its QoS asks, and books it unless it is one of QoS 2 that was received
    /// before.
    #[inline]
    fn take_delivery(&mut self, publish: &Publish<'_>, first: u8, receiver: &mut Receiver) {
        let packet_identifier = publish.packet_identifier;
        match publish.qos {
            0 => {}
            1 => frame::push_ack(self.output, frame::PUBACK, packet_identifier),
            _ => {
                frame::push_ack(self.output, frame::PUBREC, packet_identifier);
                if !receiver.received.insert(packet_identifier) {
                    // Sent again: on a new connection, as it has to be; on the same, never
                    // [MQTT-4.4.0-1].
                    if !receiver.carried.remove(packet_identifier) {
                        self.tally.faults[2].doubled += 1;
                    }
                    return;
                }
            }
        }
        let qos = usize::from(publish.qos);
        match self.common.payloads.read(publish.payload) {
            Reading::Whole(stamp) => self.book(stamp, publish, first, receiver, false),
            Reading::Altered(stamp) => self.book(stamp, publish, first, receiver, true),
            Reading::Unknown => {
                self.tally.faults[qos].corrupted += 1;
                self.tally.unidentified[qos] += 1;
            }
        }
    }

    #[inline]
    fn book(
        &mut self,
        stamp: Stamp,
        publish: &Publish<'_>,
        first: u8,
        receiver: &mut Receiver,
        is_altered: bool,
    ) {
        let Stamp { publisher, sequence, due } = stamp;
        let Some(sender) = self.senders.get_mut(publisher as usize) else {
            self.tally.faults[usize::from(publish.qos)].corrupted += 1;
            return;
        };
        let (qos, topic_name) = sender.lane(self.common, sequence);
        let is_as_sent = !is_altered
            && qos == publish.qos
            && topic_name == publish.topic_name
            // DUP is for what is sent again, which only a connection of before can have missed.
            && first & 0b1001 & !(u8::from(receiver.resumed_at > 0) << 3) == self.common.publish & 1
            && sequence < sender.sent;
        self.tally.faults[usize::from(qos)].corrupted += u64::from(!is_as_sent);
        let is_member = receiver.role == Role::Member;
        let verdict = match is_member {
            true => self.tally.groups[publisher as usize].book(sequence),
            false => receiver.arrivals.book(publisher, sequence),
        };
        let resumed_at = match is_member {
            true => self.tally.group.lost_at.max(sender.resumed_at),
            false => receiver.resumed_at.max(sender.resumed_at),
        };
        if is_member && verdict != Verdict::Doubled {
            let lane = publisher as usize * self.common.lanes as usize
                + (sequence % self.common.lanes) as usize;
            let least = &mut receiver.least[lane];
            // What was meant for a member that is away comes late to another.
            let is_late = sequence < *least && due > self.tally.group.unsteady_until;
            *least = sequence.max(*least);
            self.tally.faults[usize::from(qos)].out_of_order += u64::from(is_late);
        }
        self.tally.progress += 1;
        match verdict {
            Verdict::Fresh { skipped } => {
                // What a loose one is owed shows when it comes.
                self.tally.owed += if receiver.is_loose { 1 + skipped } else { 0 };
                self.tally.settled += 1 + skipped;
                self.tally.delivered += 1;
                if due >= receiver.counts_from && due >= sender.counts_from {
                    sender.in_flight = sender.in_flight.saturating_sub(1 + skipped);
                    if !sender.is_ready {
                        sender.is_ready = true;
                        self.tally.ready.push(publisher as usize);
                    }
                }
                self.tally.samples.arrival(self.now.saturating_sub(due));
            }
            Verdict::Forgiven => {
                self.tally.owed += u64::from(receiver.is_loose);
                self.tally.settled += u64::from(receiver.is_loose);
                self.tally.delivered += 1;
            }
            Verdict::Late => {
                self.tally.delivered += 1;
                self.tally.faults[usize::from(qos)].out_of_order += 1;
            }
            Verdict::Doubled if qos == 1 && due <= resumed_at => self.tally.allowed[1].doubled += 1,
            Verdict::Doubled => self.tally.faults[usize::from(qos)].doubled += 1,
            Verdict::Stray => self.tally.faults[usize::from(qos)].stray += u64::from(is_as_sent),
        }
    }
}
