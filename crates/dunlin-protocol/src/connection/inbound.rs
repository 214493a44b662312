//! What the peer began: its PUBLISH packets, and the acknowledgements that this end owes.

use super::{Engine, PendingAck, allowed};
use crate::event::AckKind;
use crate::session::Received;
use crate::{
    AckError, AckToken, ConnectionEnd, Instant, Message, PublishEvent, Session, Violation,
};
use dunlin_codec::{
    Ack, Delivery, PacketIdentifier, PacketType, Publish, PublishTopic, ReasonCode, TransmitBuf,
};

impl Engine {
    /// Takes a PUBLISH; gives the message unless it is a repetition.
    #[inline(always)]
    pub(crate) fn on_publish(
        &mut self,
        now: Instant,
        publish: Publish,
        out: &mut TransmitBuf,
    ) -> Result<Option<PublishEvent>, Violation> {
        let topic_name = match (publish.topic, &mut self.aliases) {
            (PublishTopic::Name(topic_name), _) => topic_name,
            (topic, Some(aliases)) => aliases.resolve(topic)?,
            (topic, None) => {
                let alias = topic.alias().map_or(0, dunlin_codec::TopicAlias::value);
                return Err(Violation::TopicAliasInvalid(alias));
            }
        };
        let ack = match publish.delivery {
            Delivery::AtMostOnce => None,
            Delivery::AtLeastOnce { packet_identifier, .. } => {
                self.count_receiving()?;
                Some(AckToken { packet_identifier, kind: AckKind::Receipt })
            }
            Delivery::ExactlyOnce { packet_identifier, dup } => {
                let known = self.session.inbound.get(&packet_identifier).copied();
                if !known.is_some_and(|known| known.counted) {
                    self.count_receiving()?;
                    let received = Received { counted: true, ..Received::default() };
                    self.session.inbound.insert(packet_identifier, received);
                }
                match known {
                    None => {}
                    // The peer has begun a new exchange, or can't be told.
                    Some(Received { refused: Some(_), .. }) if !dup || !self.version().is_v5() => {}
                    // Of a Session that began unseen: a repetition would say so [MQTT-3.3.1-1].
                    Some(Received { is_in_doubt: true, .. }) if !dup => {}
                    Some(Received { refused, .. }) => {
                        let reason_code = refused.unwrap_or(ReasonCode::Success);
                        self.repeat_pubrec(now, packet_identifier, reason_code, out);
                        return Ok(None);
                    }
                }
                Some(AckToken { packet_identifier, kind: AckKind::FirstReceipt })
            }
        };
        if let Some(AckToken { packet_identifier, kind }) = ack {
            self.pending_acks.push_back(PendingAck { packet_identifier, kind, ready: None });
        }
        let mut message = Message {
            topic_name,
            payload: publish.payload,
            qos: publish.delivery.qos(),
            retain: publish.retain,
            expires_at: None,
            properties: publish.properties,
        };
        if let Some(secs) = publish.message_expiry_interval {
            message.expire_after(now, secs);
        }
        Ok(Some(PublishEvent {
            message,
            dup: publish.delivery.dup(),
            subscription_identifiers: publish.subscription_identifiers,
            ack,
        }))
    }

    /// MQTT 3.x has no Receive Maximum that a peer could exceed: there [`Engine::is_holding`]
    /// makes it wait.
    fn count_receiving(&mut self) -> Result<(), Violation> {
        if self.receiving >= self.receive_maximum && self.version().is_v5() {
            return Err(Violation::ReceiveMaximumExceeded);
        }
        self.receiving = self.receiving.saturating_add(1);
        Ok(())
    }

    /// Whether so many acknowledgements are owed that no more input is taken until some are given.
    #[inline]
    pub(crate) fn is_holding(&self) -> bool {
        self.pending_acks.len() >= usize::from(self.receive_maximum)
            && !self.version().is_v5()
            && !self.forgoes
    }

    /// A QoS 2 message came again: it is not delivered again [MQTT-4.3.3-10], and PUBREC goes out
    /// again unless the first one is still to come.
    fn repeat_pubrec(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
        out: &mut TransmitBuf,
    ) {
        if !self.is_pending(packet_identifier, AckKind::FirstReceipt) {
            self.pending_acks.push_back(PendingAck {
                packet_identifier,
                kind: AckKind::FirstReceipt,
                ready: Some(reason_code),
            });
            self.flush_acks(now, out);
        }
    }

    fn is_pending(&self, packet_identifier: PacketIdentifier, kind: AckKind) -> bool {
        self.pending_acks
            .iter()
            .any(|pending| pending.kind == kind && pending.packet_identifier == packet_identifier)
    }

    /// Takes a PUBREL; gives what the owner must acknowledge, or answers by itself when the
    /// exchange is not known.
    pub(crate) fn on_pubrel(
        &mut self,
        now: Instant,
        pubrel: &Ack,
        out: &mut TransmitBuf,
    ) -> Result<Option<AckToken>, Violation> {
        let packet_identifier = pubrel.packet_identifier;
        let known = self.session.inbound.get(&packet_identifier);
        if known.is_none_or(|received| received.refused.is_some()) {
            self.session.inbound.remove(&packet_identifier);
            // Nothing orders PUBCOMP packets, so this one waits for no acknowledgement.
            let pubcomp = Ack::new(packet_identifier, ReasonCode::PacketIdentifierNotFound);
            self.send_ack(now, PacketType::PubComp, &pubcomp, out);
            return Ok(None);
        }
        let mut exchange =
            self.pending_acks.iter().filter(|ack| ack.packet_identifier == packet_identifier);
        if exchange.clone().any(|ack| ack.kind == AckKind::FirstReceipt && ack.ready.is_none()) {
            return Err(Violation::UnexpectedPacket(PacketType::PubRel));
        }
        if exchange.any(|ack| ack.kind == AckKind::Completion) {
            return Ok(None);
        }
        let kind = AckKind::Completion;
        self.pending_acks.push_back(PendingAck { packet_identifier, kind, ready: None });
        Ok(Some(AckToken { packet_identifier, kind }))
    }

    /// The owner has taken care of what the token stands for, or refuses it.
    pub(crate) fn acknowledge(
        &mut self,
        now: Instant,
        token: AckToken,
        reason_code: ReasonCode,
        out: &mut TransmitBuf,
    ) -> Result<(), AckError> {
        if self.is_closed() {
            return Err(AckError::NotConnected);
        }
        let is_it = |pending: &PendingAck| {
            pending.ready.is_none()
                && pending.kind == token.kind
                && pending.packet_identifier == token.packet_identifier
        };
        let at = self.pending_acks.iter().position(is_it).ok_or(AckError::Unknown)?;
        let held = self.is_holding();
        self.pending_acks[at].ready = Some(reason_code);
        self.move_completion_up(at);
        self.flush_acks(now, out);
        if held && !self.is_holding() {
            // The input waited for us, so its age says nothing about the peer.
            self.last_received = now;
        }
        Ok(())
    }

    /// Gives an acknowledgement up: the message counts as never received, and its identifier is
    /// free again. At QoS 1 those of later messages go with it, which would be out of their order
    /// now [MQTT-4.6.0-2].
    pub(crate) fn forgo(&mut self, now: Instant, token: AckToken, out: &mut TransmitBuf) {
        let is_it = |pending: &PendingAck| {
            pending.ready.is_none()
                && pending.kind == token.kind
                && pending.packet_identifier == token.packet_identifier
        };
        let Some(at) = self.pending_acks.iter().position(is_it) else { return };
        let later = self.pending_acks.split_off(at);
        for (place, pending) in later.into_iter().enumerate() {
            let is_it = place == 0;
            if is_it || (token.kind, pending.kind) == (AckKind::Receipt, AckKind::Receipt) {
                self.count_over(pending.packet_identifier, pending.kind);
            } else {
                self.pending_acks.push_back(pending);
            }
        }
        self.flush_acks(now, out);
    }

    /// Refuses a QoS 2 message whose peer can't be told now: it is told when it sends the message
    /// again. At QoS 1 it is told all the same: nothing is remembered of such a message.
    pub(crate) fn refuse_untold(
        &mut self,
        now: Instant,
        token: AckToken,
        reason_code: ReasonCode,
        out: &mut TransmitBuf,
    ) {
        if token.kind == AckKind::FirstReceipt {
            self.forgo(now, token, out);
            self.session.refuse_received(token.packet_identifier, reason_code);
        } else {
            // Unknown when it was given up before.
            let _ = self.acknowledge(now, token, reason_code, out);
        }
    }

    /// Takes the Session out. A refusal that waited for earlier acknowledgements was told to
    /// nobody: the Session remembers it.
    pub(crate) fn take_session(&mut self) -> Session {
        self.close(ConnectionEnd::Network);
        let mut session = core::mem::take(&mut self.session);
        for pending in core::mem::take(&mut self.pending_acks) {
            if let (AckKind::FirstReceipt, Some(reason_code)) = (pending.kind, pending.ready)
                && reason_code.is_error()
            {
                session.refuse_received(pending.packet_identifier, reason_code);
            }
        }
        session
    }

    /// The exchange is over: its quota is the peer's again.
    fn count_over(&mut self, packet_identifier: PacketIdentifier, kind: AckKind) {
        let counted = match kind {
            AckKind::Receipt => true,
            _ => {
                let received = self.session.inbound.remove(&packet_identifier);
                received.is_some_and(|received| received.counted)
            }
        };
        if counted {
            self.receiving = self.receiving.saturating_sub(1);
        }
    }

    /// Nothing orders PUBCOMP packets, so one that is ready waits for no acknowledgement that is
    /// withheld, unless that is of its own exchange: the peer's quota comes back with it.
    fn move_completion_up(&mut self, at: usize) {
        let pending = self.pending_acks[at];
        let is_own = |earlier: &PendingAck| earlier.packet_identifier == pending.packet_identifier;
        if pending.kind == AckKind::Completion && !self.pending_acks.iter().take(at).any(is_own) {
            self.pending_acks.remove(at);
            self.pending_acks.push_front(pending);
        }
    }

    /// Sends the acknowledgements that no earlier one holds back.
    fn flush_acks(&mut self, now: Instant, out: &mut TransmitBuf) {
        while let Some(PendingAck { packet_identifier, kind, ready: Some(reason_code) }) =
            self.pending_acks.front().copied()
        {
            self.pending_acks.pop_front();
            let packet_type = kind.packet_type();
            let reason_code = allowed(reason_code, packet_type);
            // After a PUBREC that refuses, and after PUBCOMP, the identifier is free again.
            let is_last = kind != AckKind::FirstReceipt || reason_code.is_error();
            if is_last {
                self.count_over(packet_identifier, kind);
            }
            self.send_ack(now, packet_type, &Ack::new(packet_identifier, reason_code), out);
        }
    }
}
