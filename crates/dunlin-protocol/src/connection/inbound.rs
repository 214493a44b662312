//! What the peer began: its PUBLISH packets, and the acknowledgements that this end owes.

use super::{Engine, PendingAck};
use crate::event::AckKind;
use crate::{AckError, AckToken, Instant, Message, PublishEvent, Violation};
use dunlin_codec::{
    Ack, Delivery, PacketIdentifier, PacketType, Publish, PublishTopic, ReasonCode, TransmitBuf,
};

impl Engine {
    /// Takes a PUBLISH; gives the message unless it is a repetition.
    #[inline]
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
            Delivery::ExactlyOnce { packet_identifier, .. } => {
                if self.session.inbound.contains(&packet_identifier) {
                    self.repeat_pubrec(now, packet_identifier, out);
                    return Ok(None);
                }
                self.count_receiving()?;
                self.session.inbound.insert(packet_identifier);
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
        self.pending_acks.len() >= usize::from(self.receive_maximum) && !self.version().is_v5()
    }

    /// A QoS 2 message came again: it is not delivered again [MQTT-4.3.3-10], and PUBREC goes out
    /// again unless the first one is still to come.
    fn repeat_pubrec(
        &mut self,
        now: Instant,
        packet_identifier: PacketIdentifier,
        out: &mut TransmitBuf,
    ) {
        if !self.is_pending(packet_identifier, AckKind::FirstReceipt) {
            self.pending_acks.push_back(PendingAck {
                packet_identifier,
                kind: AckKind::FirstReceipt,
                ready: Some(ReasonCode::Success),
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
        if self.is_pending(packet_identifier, AckKind::FirstReceipt) {
            return Err(Violation::UnexpectedPacket(PacketType::PubRel));
        }
        if self.is_pending(packet_identifier, AckKind::Completion) {
            return Ok(None);
        }
        let known = self.session.inbound.contains(&packet_identifier);
        let ready = (!known).then_some(ReasonCode::PacketIdentifierNotFound);
        self.pending_acks.push_back(PendingAck {
            packet_identifier,
            kind: AckKind::Completion,
            ready,
        });
        if known {
            return Ok(Some(AckToken { packet_identifier, kind: AckKind::Completion }));
        }
        self.flush_acks(now, out);
        Ok(None)
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
        let pending = self.pending_acks.iter_mut().find(|pending| {
            pending.ready.is_none()
                && pending.kind == token.kind
                && pending.packet_identifier == token.packet_identifier
        });
        pending.ok_or(AckError::Unknown)?.ready = Some(reason_code);
        self.flush_acks(now, out);
        Ok(())
    }

    /// Sends the acknowledgements that no earlier one holds back.
    fn flush_acks(&mut self, now: Instant, out: &mut TransmitBuf) {
        while let Some(PendingAck { packet_identifier, kind, ready: Some(reason_code) }) =
            self.pending_acks.front().copied()
        {
            self.pending_acks.pop_front();
            let packet_type = match kind {
                AckKind::Receipt => PacketType::PubAck,
                AckKind::FirstReceipt => PacketType::PubRec,
                AckKind::Completion => PacketType::PubComp,
            };
            // After a PUBREC that refuses, and after PUBCOMP, the identifier is free again.
            let is_last = kind != AckKind::FirstReceipt || reason_code.is_error();
            if is_last {
                self.receiving = self.receiving.saturating_sub(1);
                if kind != AckKind::Receipt {
                    self.session.inbound.remove(&packet_identifier);
                }
            }
            self.send_ack(now, packet_type, &Ack::new(packet_identifier, reason_code), out);
        }
        if self.pending_acks.is_empty() && self.pending_acks.capacity() > 64 {
            self.pending_acks = alloc::collections::VecDeque::new();
        }
    }
}
