//! What one publisher has sent at QoS 1 and 2 and not seen acknowledged: enough to send it again.

use crate::frame;
use crate::payload::Stamp;

/// How far a message is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// PUBLISH was sent.
    Published,
    /// PUBREC has come, PUBREL was sent.
    Released,
    /// Nothing is missing.
    Complete,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    sequence: u64,
    due: u64,
    qos: u8,
    step: Step,
}

/// A ring of the messages under way. The Packet Identifier of each is its place in the ring and one.
#[derive(Debug)]
pub(crate) struct Outgoing {
    slots: Box<[Slot]>,
    /// Messages that were given a place, in all.
    issued: u64,
    /// All before are complete.
    complete: u64,
    /// The sequence number behind that of the last complete one: all before are through.
    through: u64,
}

/// What an acknowledgement comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// PUBREL has to follow.
    Release,
    /// The message is complete.
    Complete {
        /// Its QoS.
        qos: u8,
        /// Which one it is.
        sequence: u64,
    },
    /// No message of this Packet Identifier waits for it.
    OutOfTurn,
}

/// What has to be sent again on a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// PUBLISH, with DUP.
    Publish { sequence: u64, due: u64, packet_identifier: u16 },
    /// PUBREL.
    Release { packet_identifier: u16 },
}

impl Outgoing {
    /// Room for so many messages.
    pub(crate) fn new(window: u32) -> Self {
        let slot = Slot { sequence: 0, due: 0, qos: 0, step: Step::Complete };
        let len = window.next_power_of_two() as usize;
        Self { slots: vec![slot; len].into(), issued: 0, complete: 0, through: 0 }
    }

    /// Messages without their last acknowledgement, and those behind them.
    #[inline]
    pub(crate) fn under_way(&self) -> u32 {
        (self.issued - self.complete) as u32
    }

    /// Messages before, of any QoS, have been taken by the broker: one behind them is acknowledged, and
    /// so are all of QoS 1 and 2 among them.
    pub(crate) const fn through(&self) -> u64 {
        self.through
    }

    /// Gives a message its Packet Identifier. The caller sees to it that there is room.
    #[inline]
    pub(crate) fn issue(&mut self, stamp: Stamp, qos: u8) -> u16 {
        let at = self.place(self.issued);
        debug_assert_eq!(self.slots[at].step, Step::Complete, "slot still in use");
        let step = Step::Published;
        self.slots[at] = Slot { sequence: stamp.sequence, due: stamp.due, qos, step };
        self.issued += 1;
        (at + 1) as u16
    }

    /// Books a PUBACK, PUBREC or PUBCOMP; a PUBREC that refuses is the last one of its message.
    #[inline]
    pub(crate) fn acknowledge(
        &mut self,
        first: u8,
        packet_identifier: u16,
        is_refused: bool,
    ) -> Answer {
        let at = usize::from(packet_identifier.wrapping_sub(1));
        let Some(slot) = self.slots.get_mut(at) else { return Answer::OutOfTurn };
        match (first, slot.step, slot.qos) {
            (frame::PUBREC, Step::Published, 2) if !is_refused => {
                slot.step = Step::Released;
                return Answer::Release;
            }
            (frame::PUBACK, Step::Published, 1)
            | (frame::PUBREC, Step::Published, 2)
            | (frame::PUBCOMP, Step::Released, 2) => {}
            _ => return Answer::OutOfTurn,
        }
        slot.step = Step::Complete;
        let (qos, sequence) = (slot.qos, slot.sequence);
        while self.complete < self.issued
            && self.slots[self.place(self.complete)].step == Step::Complete
        {
            self.through = self.slots[self.place(self.complete)].sequence + 1;
            self.complete += 1;
        }
        Answer::Complete { qos, sequence }
    }

    /// What has to be sent again, in the order in which it was sent first [MQTT3-4.6.0-1].
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = Unanswered> {
        (self.complete..self.issued).filter_map(|nth| {
            let at = self.place(nth);
            let Slot { sequence, due, step, .. } = self.slots[at];
            let packet_identifier = (at + 1) as u16;
            match step {
                Step::Published => Some(Unanswered::Publish { sequence, due, packet_identifier }),
                Step::Released => Some(Unanswered::Release { packet_identifier }),
                Step::Complete => None,
            }
        })
    }

    #[inline]
    fn place(&self, nth: u64) -> usize {
        nth as usize & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests;
