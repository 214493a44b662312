//! What is not owed to subscribers any more: messages of QoS 0 that a lost connection may have taken with
//! it, and those that the broker has refused.

use super::Engine;
use crate::layout::Role;

impl Engine<'_> {
    /// What a subscriber has missed of QoS 0 while it was away is not owed to it.
    pub(super) fn forgive_subscriber(&mut self, subscriber: usize) {
        if self.receivers[subscriber].role == Role::Member {
            for publisher in 0..self.senders.len() {
                self.forgive_group(publisher);
            }
            return;
        }
        let layout = &self.common.layout;
        let receiver = &mut self.receivers[subscriber];
        for publisher in receiver.arrivals.publishers() {
            let sent = self.senders[publisher as usize].sent;
            let may_lose = |lane| layout.qos(lane) == 0;
            let forgiven = receiver.arrivals.forgive(publisher, sent, may_lose);
            self.tally.settled += if receiver.is_loose { 0 } else { forgiven };
        }
    }

    /// What a publisher has sent at QoS 0 may have been lost with its connection.
    pub(super) fn forgive_publisher(&mut self, index: usize) {
        self.forgive_group(index);
        let layout = &self.common.layout;
        let sent = self.senders[index].sent;
        for subscriber in layout.subscribers_of(index as u32) {
            let receiver = &mut self.receivers[subscriber as usize];
            let may_lose = |lane| layout.qos(lane) == 0;
            let forgiven = receiver.arrivals.forgive(index as u32, sent, may_lose);
            self.tally.settled += if receiver.is_loose { 0 } else { forgiven };
            if receiver.counts_from != u64::MAX {
                let sender = &mut self.senders[index];
                sender.in_flight = sender.in_flight.saturating_sub(forgiven);
            }
        }
    }

    fn forgive_group(&mut self, publisher: usize) {
        let Some(group) = self.tally.groups.get_mut(publisher) else { return };
        let sender = &mut self.senders[publisher];
        let forgiven = group.forgive(sender.sent);
        self.tally.settled += forgiven;
        if forgiven > 0 && self.common.layout.is_shared() {
            sender.in_flight = 0;
        }
    }

    /// Messages that the broker has refused are not owed to anyone.
    pub(super) fn spread_refusals(&mut self) {
        for (publisher, sequence) in std::mem::take(&mut self.tally.refusals) {
            let sender = &mut self.senders[publisher as usize];
            if let Some(group) = self.tally.groups.get_mut(publisher as usize) {
                let was_due = u64::from(group.refuse(sequence));
                self.tally.settled += was_due;
                sender.in_flight = sender.in_flight.saturating_sub(was_due);
            }
            for subscriber in self.common.layout.subscribers_of(publisher) {
                let receiver = &mut self.receivers[subscriber as usize];
                let was_due = u64::from(receiver.arrivals.refuse(publisher, sequence));
                self.tally.settled += if receiver.is_loose { 0 } else { was_due };
                if receiver.counts_from != u64::MAX {
                    sender.in_flight = sender.in_flight.saturating_sub(was_due);
                }
            }
        }
    }
}
