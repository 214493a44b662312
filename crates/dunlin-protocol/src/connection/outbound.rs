//! What this end began: PUBLISH packets towards the peer, within the peer's limits.

use super::Engine;
use crate::session::{InFlight, InFlightState};
use crate::{Acknowledged, ConnectionEnd, Instant, Message, PublishError, Session, Violation};
use alloc::sync::Arc;
use alloc::vec::Vec;
use dunlin_codec::{
    Ack, Delivery, EncodeError, Packet, PacketIdentifier, PacketType, PublishParts, QoS,
    ReasonCode, SubscriptionIdentifier, TransmitBuf,
};

/// A resend goes on while fewer bytes than this wait in the output.
const RESEND_OUTPUT_LEN: usize = 64 * 1024;

impl Engine {
    /// Goes on with a Session: what is in flight will be sent again, in its order
    /// [MQTT-4.4.0-1] [MQTT-4.6.0-1].
    pub(crate) fn resume(&mut self, mut session: Session) {
        let (publishes, pubrels) = session.outbound.reconnect();
        self.resend_left = u16::try_from(publishes).unwrap_or(u16::MAX);
        self.resend_hint = 0;
        self.resend_pubrels = pubrels > 0;
        for received in session.inbound.values_mut() {
            received.counted = false;
        }
        self.session = session;
    }

    /// How many more QoS 1 and 2 messages the peer takes now. Spec: §4.9.
    #[inline]
    pub(crate) const fn send_quota(&self) -> u16 {
        if self.resend_left > 0 {
            return 0;
        }
        self.peer_receive_maximum.saturating_sub(self.sending)
    }

    /// How many QoS 1 and 2 messages are under way.
    #[inline]
    pub(crate) const fn sending(&self) -> u16 {
        self.sending
    }

    /// Sends a QoS 0 message.
    #[inline]
    pub(crate) fn publish_at_most_once(
        &mut self,
        now: Instant,
        message: &Message,
        retain: bool,
        subscription_identifiers: &[SubscriptionIdentifier],
        out: &mut TransmitBuf,
    ) -> Result<(), PublishError> {
        if message.is_expired(now) {
            return Err(PublishError::Expired);
        }
        self.send_publish(
            now,
            message,
            Delivery::AtMostOnce,
            retain,
            subscription_identifiers,
            out,
        )?;
        Ok(())
    }

    /// Sends a QoS 1 or 2 message and keeps it until it is acknowledged.
    #[inline]
    pub(crate) fn publish(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        qos: QoS,
        retain: bool,
        subscription_identifiers: &[SubscriptionIdentifier],
        out: &mut TransmitBuf,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        if qos == QoS::AtMostOnce {
            self.publish_at_most_once(now, message, retain, subscription_identifiers, out)?;
            return Ok(None);
        }
        if message.is_expired(now) {
            return Err(PublishError::Expired);
        }
        if self.send_quota() == 0 {
            return Err(PublishError::QuotaExhausted);
        }
        let packet_identifier =
            self.session.outbound.next_packet_identifier().ok_or(PublishError::QuotaExhausted)?;
        let (delivery, state) = exchange(qos, packet_identifier, false);
        self.send_publish(now, message, delivery, retain, subscription_identifiers, out)?;
        self.sending += 1;
        self.session.outbound.push(InFlight {
            packet_identifier,
            state,
            retain,
            message: Some(message.clone()),
            subscription_identifiers: subscription_identifiers.to_vec(),
            counted: true,
        });
        Ok(Some(packet_identifier))
    }

    /// Begins the exchange of a QoS 2 message: it has its Packet Identifier and its place in the
    /// quota, and [`Engine::send_prepared`] sends it.
    pub(crate) fn prepare(
        &mut self,
        now: Instant,
        message: &Arc<Message>,
        retain: bool,
        subscription_identifiers: &[SubscriptionIdentifier],
    ) -> Result<PacketIdentifier, PublishError> {
        if message.is_expired(now) {
            return Err(PublishError::Expired);
        }
        if self.send_quota() == 0 {
            return Err(PublishError::QuotaExhausted);
        }
        let packet_identifier =
            self.session.outbound.next_packet_identifier().ok_or(PublishError::QuotaExhausted)?;
        self.sending += 1;
        self.session.outbound.push(InFlight {
            packet_identifier,
            state: InFlightState::AwaitingPubRec,
            retain,
            message: Some(message.clone()),
            subscription_identifiers: subscription_identifiers.to_vec(),
            counted: true,
        });
        Ok(packet_identifier)
    }

    /// Sends a message that was prepared on this connection. One that the peer's Maximum Packet
    /// Size has no room for is given back, and its exchange is over [MQTT-3.1.2-25].
    pub(crate) fn send_prepared(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        out: &mut TransmitBuf,
    ) -> Option<InFlight> {
        let at = self.session.outbound.find(packet_identifier)?;
        let entry = &self.session.outbound.entries[at];
        // A peer that has answered before it was asked gets nothing more.
        let (InFlightState::AwaitingPubRec, Some(message)) = (entry.state, entry.message.clone())
        else {
            return None;
        };
        if message.is_expired(now) {
            // Its delivery has not begun on the wire [MQTT-3.3.2-5].
            return Some(self.finish(at));
        }
        let (delivery, _) = exchange(QoS::ExactlyOnce, packet_identifier, false);
        let retain = entry.retain;
        let identifiers = entry.subscription_identifiers.clone();
        let sent = self.send_publish(now, &message, delivery, retain, &identifiers, out);
        sent.is_err().then(|| self.finish(at))
    }

    /// Takes a message back that was prepared on this connection and not sent.
    pub(crate) fn take_prepared(
        &mut self,
        packet_identifier: PacketIdentifier,
    ) -> Option<InFlight> {
        let at = self.session.outbound.find(packet_identifier)?;
        let entry = &self.session.outbound.entries[at];
        let is_unanswered = entry.state == InFlightState::AwaitingPubRec && entry.message.is_some();
        is_unanswered.then(|| self.finish(at))
    }

    /// The one place where a PUBLISH is encoded: aliases follow the order on the wire, and the
    /// Message Expiry Interval is what is left of it now [MQTT-3.3.2-6].
    #[inline]
    fn send_publish(
        &mut self,
        now: Instant,
        message: &Message,
        delivery: Delivery,
        retain: bool,
        subscription_identifiers: &[SubscriptionIdentifier],
        out: &mut TransmitBuf,
    ) -> Result<(), EncodeError> {
        let plan = self.aliases.as_ref().and_then(|aliases| aliases.plan(&message.topic_name));
        let with_name = plan.is_none_or(|plan| plan.with_name);
        let mut parts = PublishParts {
            delivery,
            retain,
            topic_name: with_name.then_some(&message.topic_name),
            topic_alias: plan.and_then(super::alias::AliasPlan::alias),
            message_expiry_interval: message.message_expiry_interval(now),
            subscription_identifiers,
            properties: message.properties.as_deref(),
            payload: &message.payload,
        };
        let encoded = parts.encode(self.version(), self.peer_packet_size_max, out);
        self.last_sent = now;
        if encoded.is_err() {
            // A new alias makes the packet longer: it may fit without.
            if !(with_name && parts.topic_alias.take().is_some()) {
                return encoded;
            }
            return parts.encode(self.version(), self.peer_packet_size_max, out);
        }
        if let (Some(plan), Some(aliases)) = (plan, &mut self.aliases) {
            aliases.commit(plan, &message.topic_name);
        }
        Ok(())
    }

    /// Sends again what a resumed Session has in flight, as far as quota and output allow; whether
    /// anything was appended.
    ///
    /// PUBREL packets go first and at once: a quota delays nothing but PUBLISH [MQTT-4.9.0-3].
    /// A message that has become too large for the peer's new limit is acted on as if it had been
    /// delivered [MQTT-3.1.2-25]; it is given back in `dropped`.
    pub(crate) fn resend(
        &mut self,
        now: Instant,
        out: &mut TransmitBuf,
        dropped: &mut Vec<InFlight>,
    ) -> bool {
        let before = out.len();
        if core::mem::take(&mut self.resend_pubrels) {
            self.resend_pubrels(now, out);
        }
        while self.resend_left > 0
            && self.sending < self.peer_receive_maximum
            && out.len() < RESEND_OUTPUT_LEN
        {
            let at = usize::from(self.resend_hint);
            let Some(entry) = self.session.outbound.entries.get(at) else {
                debug_assert!(false, "an exchange to resend is in the queue");
                self.resend_left = 0;
                break;
            };
            self.resend_hint += 1;
            if entry.counted || !entry.awaits_receipt() {
                continue;
            }
            let packet_identifier = entry.packet_identifier;
            let too_large = if let Some(message) = entry.message.clone() {
                let (delivery, _) = exchange(entry.qos(), packet_identifier, true);
                let retain = entry.retain;
                let identifiers = entry.subscription_identifiers.clone();
                self.send_publish(now, &message, delivery, retain, &identifiers, out).is_err()
            } else {
                debug_assert!(false, "an unanswered PUBLISH keeps its message");
                true
            };
            if too_large {
                dropped.push(self.finish(at));
            } else {
                self.session.outbound.entries[at].counted = true;
                self.resend_left -= 1;
                self.sending += 1;
            }
        }
        out.len() > before
    }

    fn resend_pubrels(&mut self, now: Instant, out: &mut TransmitBuf) {
        for at in 0..self.session.outbound.entries.len() {
            let entry = &self.session.outbound.entries[at];
            if entry.state == InFlightState::AwaitingPubComp {
                let pubrel = Ack::new(entry.packet_identifier, ReasonCode::Success);
                self.send_ack(now, PacketType::PubRel, &pubrel, out);
            }
        }
    }

    /// Ends the exchange at this place of the queue.
    fn finish(&mut self, at: usize) -> InFlight {
        let len_before = self.session.outbound.entries.len();
        let (finished, left_front) = self.session.outbound.finish(at);
        if finished.counted {
            self.sending = self.sending.saturating_sub(1);
        } else if finished.awaits_receipt() {
            self.resend_left = self.resend_left.saturating_sub(1);
        }
        if self.resend_left > 0 {
            let left = len_before - self.session.outbound.entries.len();
            // Entries that went from the middle shift the rest by an unknown amount: look from
            // the front again.
            self.resend_hint = if left == left_front {
                self.resend_hint.saturating_sub(u16::try_from(left_front).unwrap_or(u16::MAX))
            } else {
                0
            };
        }
        finished
    }

    /// Takes a PUBACK; gives what it ends, or nothing for an exchange that is not known: its
    /// sender may have forgotten that it answered before.
    #[inline]
    pub(crate) fn on_puback(&mut self, puback: Ack) -> Result<Option<Acknowledged>, Violation> {
        self.on_last_answer(puback, InFlightState::AwaitingPubAck, PacketType::PubAck)
    }

    /// Takes a PUBCOMP; gives what it ends.
    ///
    /// A peer that doesn't know the Packet Identifier has completed the exchange before, and its
    /// answer was lost with an earlier connection: no error during recovery, says §3.7.2.1.
    pub(crate) fn on_pubcomp(
        &mut self,
        mut pubcomp: Ack,
    ) -> Result<Option<Acknowledged>, Violation> {
        if pubcomp.reason_code == ReasonCode::PacketIdentifierNotFound {
            pubcomp.reason_code = ReasonCode::Success;
        }
        self.on_last_answer(pubcomp, InFlightState::AwaitingPubComp, PacketType::PubComp)
    }

    #[inline]
    fn on_last_answer(
        &mut self,
        ack: Ack,
        expected: InFlightState,
        packet_type: PacketType,
    ) -> Result<Option<Acknowledged>, Violation> {
        let Some(at) = self.session.outbound.find(ack.packet_identifier) else { return Ok(None) };
        if self.session.outbound.entries[at].state != expected {
            return Err(Violation::WrongAcknowledgement(packet_type));
        }
        Ok(Some(acknowledged(self.finish(at), ack)))
    }

    /// Sends the PUBREL of an exchange whose PUBREC was received.
    pub(crate) fn release(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        out: &mut TransmitBuf,
    ) {
        let Some(at) = self.session.outbound.find(packet_identifier) else { return };
        if self.session.outbound.entries[at].state == InFlightState::AwaitingPubComp {
            let pubrel = Ack::new(packet_identifier, ReasonCode::Success);
            self.send_ack(now, PacketType::PubRel, &pubrel, out);
        }
    }

    /// Takes a PUBREC: answers with PUBREL, or ends the exchange when the peer refuses it. With
    /// [`Engine::holds_releases`] the owner of the connection sends the PUBREL.
    pub(crate) fn on_pubrec(
        &mut self,
        now: Instant,
        pubrec: Ack,
        out: &mut TransmitBuf,
    ) -> Result<PubRecOutcome, Violation> {
        let packet_identifier = pubrec.packet_identifier;
        let Some(at) = self.session.outbound.find(packet_identifier) else {
            if !pubrec.reason_code.is_error() {
                let reason_code = ReasonCode::PacketIdentifierNotFound;
                self.send_ack(
                    now,
                    PacketType::PubRel,
                    &Ack::new(packet_identifier, reason_code),
                    out,
                );
            }
            return Ok(PubRecOutcome::Nothing);
        };
        let entry = &mut self.session.outbound.entries[at];
        match entry.state {
            InFlightState::AwaitingPubRec if pubrec.reason_code.is_error() => {
                Ok(PubRecOutcome::Refused(acknowledged(self.finish(at), pubrec)))
            }
            InFlightState::AwaitingPubRec => {
                entry.state = InFlightState::AwaitingPubComp;
                entry.message = None;
                if !entry.counted {
                    // The answer to a PUBLISH of the last connection, ahead of its repetition.
                    self.resend_left = self.resend_left.saturating_sub(1);
                }
                if !self.holds_releases {
                    self.release(now, packet_identifier, out);
                }
                Ok(PubRecOutcome::Received(packet_identifier, pubrec.reason_code))
            }
            InFlightState::AwaitingPubComp if self.holds_releases => {
                Ok(PubRecOutcome::Received(packet_identifier, pubrec.reason_code))
            }
            InFlightState::AwaitingPubComp => {
                let pubrel = Ack::new(packet_identifier, ReasonCode::Success);
                self.send_ack(now, PacketType::PubRel, &pubrel, out);
                Ok(PubRecOutcome::Nothing)
            }
            _ => Err(Violation::WrongAcknowledgement(PacketType::PubRec)),
        }
    }

    /// Begins an exchange that ends with SUBACK or UNSUBACK.
    pub(crate) fn begin_subscribe(&mut self, state: InFlightState) -> Option<PacketIdentifier> {
        let packet_identifier = self.session.outbound.next_packet_identifier()?;
        self.session.outbound.push(InFlight {
            packet_identifier,
            state,
            retain: false,
            message: None,
            subscription_identifiers: Vec::new(),
            counted: false,
        });
        Some(packet_identifier)
    }

    /// Takes a SUBACK or UNSUBACK with this many Reason Codes; whether it was awaited.
    pub(crate) fn on_subscribe_answer(
        &mut self,
        packet_identifier: PacketIdentifier,
        answer: InFlightState,
    ) -> Result<bool, Violation> {
        let Some(at) = self.session.outbound.find(packet_identifier) else { return Ok(false) };
        match (self.session.outbound.entries[at].state, answer) {
            (InFlightState::AwaitingSubAck(asked), InFlightState::AwaitingSubAck(got))
            | (InFlightState::AwaitingUnsubAck(asked), InFlightState::AwaitingUnsubAck(got)) => {
                let codes_expected =
                    self.version().is_v5() || matches!(answer, InFlightState::AwaitingSubAck(_));
                if codes_expected && asked != got {
                    return Err(Violation::ReasonCodeCount);
                }
                self.finish(at);
                Ok(true)
            }
            (_, InFlightState::AwaitingSubAck(_)) => {
                Err(Violation::WrongAcknowledgement(PacketType::SubAck))
            }
            _ => Err(Violation::WrongAcknowledgement(PacketType::UnsubAck)),
        }
    }

    /// Appends an acknowledgement. A peer whose Maximum Packet Size has no room for the few bytes
    /// can't be served.
    #[inline]
    pub(crate) fn send_ack(
        &mut self,
        now: Instant,
        packet_type: PacketType,
        ack: &Ack,
        out: &mut TransmitBuf,
    ) {
        if ack.encode(packet_type, self.version(), self.peer_packet_size_max, out).is_err() {
            self.close(ConnectionEnd::Local(ReasonCode::PacketTooLarge));
        }
        self.last_sent = now;
    }

    /// Appends a packet that the peer's Maximum Packet Size may forbid.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        packet: &Packet,
        out: &mut TransmitBuf,
    ) -> Result<(), EncodeError> {
        packet.encode(self.version(), self.peer_packet_size_max, out)?;
        self.last_sent = now;
        Ok(())
    }
}

/// What a PUBREC led to.
pub(crate) enum PubRecOutcome {
    Nothing,
    Received(PacketIdentifier, ReasonCode),
    Refused(Acknowledged),
}

fn exchange(qos: QoS, packet_identifier: PacketIdentifier, dup: bool) -> (Delivery, InFlightState) {
    match qos {
        QoS::ExactlyOnce => {
            (Delivery::ExactlyOnce { packet_identifier, dup }, InFlightState::AwaitingPubRec)
        }
        _ => (Delivery::AtLeastOnce { packet_identifier, dup }, InFlightState::AwaitingPubAck),
    }
}

fn acknowledged(finished: InFlight, ack: Ack) -> Acknowledged {
    Acknowledged {
        packet_identifier: ack.packet_identifier,
        reason_code: ack.reason_code,
        reason_string: ack.properties.and_then(|properties| properties.reason_string),
        message: finished.message,
    }
}
