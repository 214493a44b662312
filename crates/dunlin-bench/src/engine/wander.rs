//! Subscriptions that come and go, and Sessions that end with their connections: what the books of
//! such a subscriber are told.

use super::{Engine, Trouble};
use crate::error::BenchError;
use crate::frame::{self, Frame};
use crate::layout::Role;
use crate::packet;

/// Packet Identifier of SUBSCRIBE and UNSUBSCRIBE, of which one is under way at most.
const PACKET_IDENTIFIER: u16 = 1;

impl Engine<'_> {
    /// Whether a client's subscription comes and goes, and is not just about to.
    pub(super) fn is_wanderer(&self, index: usize) -> bool {
        let subscriber = index.checked_sub(self.senders.len());
        let receiver = subscriber.and_then(|subscriber| self.receivers.get(subscriber));
        receiver.is_some_and(|receiver| receiver.role == Role::Wanderer && !receiver.is_asking)
    }

    /// Takes a subscription, or gives it up; false if the client has other things to do.
    pub(super) fn wander(&mut self, index: usize) -> Result<bool, BenchError> {
        if !self.is_wanderer(index) {
            return Ok(false);
        }
        let subscriber = index - self.senders.len();
        let receiver = &mut self.receivers[subscriber];
        receiver.is_subscribed = !receiver.is_subscribed;
        match receiver.is_subscribed {
            true => self.ask_arrivals(subscriber),
            false => receiver.arrivals.let_go(),
        }
        self.ask_for_subscription(index);
        self.flush(index)?;
        Ok(true)
    }

    /// Sends SUBSCRIBE or UNSUBSCRIBE, for the first time or again on a new connection.
    pub(super) fn ask_for_subscription(&mut self, index: usize) {
        let subscriber = index - self.senders.len();
        let layout = &self.common.layout;
        let topic_filters = layout.topic_filters(subscriber as u32, 0..1);
        let receiver = &mut self.receivers[subscriber];
        receiver.is_asking = true;
        let Some(link) = &mut self.clients[index].link else { return };
        let (out, version) = (&mut link.output, self.plan.version);
        match receiver.is_subscribed {
            true => packet::push_subscribe(
                out,
                version,
                PACKET_IDENTIFIER,
                &topic_filters,
                layout.qos_max(),
            ),
            false => packet::push_unsubscribe(out, version, PACKET_IDENTIFIER, &topic_filters),
        }
    }

    /// Whether a client waits for SUBACK or UNSUBACK of a subscription that comes and goes.
    pub(super) fn is_asking(&self, index: usize) -> bool {
        let subscriber = index.checked_sub(self.senders.len());
        let receiver = subscriber.and_then(|subscriber| self.receivers.get(subscriber));
        receiver.is_some_and(|receiver| receiver.is_asking)
    }

    /// Handles the answer.
    pub(super) fn handle_subscription(
        &mut self,
        index: usize,
        frame: &Frame<'_>,
    ) -> Result<(), Trouble> {
        let subscriber = index - self.senders.len();
        let receiver = &mut self.receivers[subscriber];
        receiver.is_asking = false;
        match (frame.first, receiver.is_subscribed) {
            (frame::SUBACK, true) => {
                let codes = packet::suback_codes(self.plan.version, frame)?;
                if codes != [self.common.layout.qos_max()] {
                    self.complain("a subscription was refused or has another QoS".to_owned());
                }
                self.hold_arrivals(subscriber);
            }
            (frame::UNSUBACK, false) => {
                let senders = &self.senders;
                let sent = |publisher: u32| senders[publisher as usize].sent;
                receiver.arrivals.end(&self.common.layout, sent);
            }
            _ => self.complain("SUBACK came for UNSUBSCRIBE, or the reverse".to_owned()),
        }
        Ok(())
    }

    /// A subscriber sends SUBSCRIBE.
    pub(super) fn ask_arrivals(&mut self, subscriber: usize) {
        let Some(receiver) = self.receivers.get_mut(subscriber) else { return };
        if receiver.is_loose {
            let through = |publisher: u32| self.senders[publisher as usize].outgoing.through();
            receiver.arrivals.ask(&self.common.layout, through);
        }
    }

    /// A subscriber has its SUBACK.
    pub(super) fn hold_arrivals(&mut self, subscriber: usize) {
        let Some(receiver) = self.receivers.get_mut(subscriber) else { return };
        if receiver.is_loose {
            receiver.arrivals.hold(|publisher| self.senders[publisher as usize].sent);
        }
    }
}
