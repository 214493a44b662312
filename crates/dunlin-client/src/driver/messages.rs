//! Messages in both directions, and their acknowledgements.

use super::held::{Answer, Arrival};
use super::link::Link;
use super::{Awaited, Driver};
use crate::received::Content;
use crate::shared::{PendingAck, Settled};
use crate::stream::Pushed;
use crate::{PublishAck, PublishError, SessionChange, StoredMessage};
use dunlin_protocol::codec::{PacketIdentifier, QoS, ReasonCode};
use dunlin_protocol::{AckToken, Acknowledged, PublishEvent};
use std::mem::take;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite};

/// Smaller payloads are copied out of the read buffer when they are queued, so that a message of
/// a few bytes doesn't pin all of it.
const SHARED_PAYLOAD_LEN_MIN: usize = 16 * 1024;

impl Driver {
    // ---- from the Server

    pub(super) fn deliver<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        publish: PublishEvent,
        link: &mut Link<Io>,
    ) {
        let PublishEvent { message, dup, subscription_identifiers, ack } = publish;
        if let Some(token) = ack
            && self.keeper.is_some()
            && message.qos == QoS::ExactlyOnce
            && !self.is_new(now, token, dup, link)
        {
            return;
        }
        let message_expiry_interval = message.message_expiry_interval(now);
        let is_small = message.payload.len() < SHARED_PAYLOAD_LEN_MIN;
        let message = if is_small { message.detached() } else { message };
        let content = Content { message, dup, subscription_identifiers, message_expiry_interval };
        let connection = self.connection;
        let ack = ack.map(|token| PendingAck { connection, token, joint: None });
        if let Err(stray) = self.routes.deliver(content, ack, &mut self.dropped) {
            self.dropped.extend(self.shared.events.push_message(*stray).map(Pushed::Dropped));
        }
        for pushed in take(&mut self.dropped) {
            let (delivered, reason_code) = match pushed {
                Pushed::Dropped(delivered) => (delivered, ReasonCode::Success),
                Pushed::Refused(delivered) => (delivered, ReasonCode::QuotaExceeded),
            };
            if let Some(settled) = delivered.ack.and_then(|ack| ack.settle(reason_code)) {
                self.acknowledge(now, settled, link);
            }
        }
    }

    /// Whether the application does not have this QoS 2 message yet.
    fn is_new<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        token: AckToken,
        dup: bool,
        link: &mut Link<Io>,
    ) -> bool {
        match self.held.on_publish(token, self.connection, dup) {
            Arrival::New => return true,
            Arrival::Repeated => {}
            // It was recorded when it was given.
            Arrival::Answered(reason_code) => {
                let _ = link.connection.acknowledge(now, token, reason_code, &mut link.out);
            }
        }
        false
    }

    pub(super) fn acknowledge<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        settled: Settled,
        link: &mut Link<Io>,
    ) {
        let is_v5 = link.connection.version().is_v5();
        let reason_code = if is_v5 { settled.reason_code } else { ReasonCode::Success };
        let answer = self.settle(&settled, reason_code, Some(self.connection));
        let is_present = settled.connection == self.connection;
        if answer == Answer::Now || (answer == Answer::NotHeld && is_present) {
            // A connection that has just ended takes no acknowledgement; the Server sends again.
            let _ = link.connection.acknowledge(now, settled.token, reason_code, &mut link.out);
        }
        self.tell_settled(settled);
    }

    /// There is no connection to acknowledge on: the Server sends QoS 1 messages again.
    pub(super) fn acknowledge_offline(&mut self, settled: Settled) {
        let is_v5 = self.config.connect.protocol_version.is_v5();
        let reason_code = if is_v5 { settled.reason_code } else { ReasonCode::Success };
        self.settle(&settled, reason_code, None);
        self.tell_settled(settled);
    }

    /// Records the acknowledgement of a message that is held. What is refused is over with the
    /// refusal, or comes again.
    fn settle(
        &mut self,
        settled: &Settled,
        reason_code: ReasonCode,
        connection: Option<u64>,
    ) -> Answer {
        let answer = self.held.on_settled(settled, reason_code, connection);
        if let Some(keeper) = &mut self.keeper
            && answer != Answer::NotHeld
            && !reason_code.is_error()
        {
            let packet_identifier = settled.token.packet_identifier();
            keeper.record_first(SessionChange::Received { packet_identifier });
        }
        answer
    }

    fn tell_settled(&mut self, settled: Settled) {
        match (settled.stored, &mut self.keeper) {
            (Some(waiter), Some(keeper)) => keeper.tell_when_stored(waiter),
            (Some(waiter), None) => drop(waiter.send(())),
            (None, _) => {}
        }
    }

    // ---- to the Server

    /// Has the Session Store keep what was handed over, and forget what a full queue dropped.
    pub(super) fn record_queued(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let now = self.shared.clock.now();
        let dropped = self.shared.record_queued(|queued| {
            if queued.message.qos == QoS::AtMostOnce {
                return;
            }
            let number = self.next_number;
            self.next_number += 1;
            queued.number = Some(number);
            let expires_at = queued.message.expires_at.and_then(|expires_at| {
                SystemTime::now().checked_add(expires_at.saturating_since(now))
            });
            let message = StoredMessage { message: queued.message.clone(), expires_at };
            keeper.record_first(SessionChange::Queued { number, message });
            if let Some(accepted) = queued.accepted.take() {
                keeper.tell_when_stored(accepted);
            }
        });
        for number in dropped {
            keeper.record(SessionChange::Dropped { number });
        }
    }

    pub(super) fn record_settled(&mut self, packet_identifier: PacketIdentifier) {
        if let Some(keeper) = &mut self.keeper {
            keeper.record(SessionChange::Settled { packet_identifier });
        }
    }

    pub(super) fn on_acknowledged(&mut self, acknowledged: Acknowledged) {
        let Some(Awaited { reply, receipt, .. }) =
            self.in_flight.remove(&acknowledged.packet_identifier)
        else {
            return;
        };
        self.record_settled(acknowledged.packet_identifier);
        let Acknowledged { mut reason_code, reason_string, .. } = acknowledged;
        if reason_code == ReasonCode::Success {
            reason_code = receipt;
        }
        let _ = reply.send(if reason_code.is_error() {
            Err(PublishError::Refused { reason_code, reason_string })
        } else {
            Ok(PublishAck { reason_code, reason_string })
        });
    }

    pub(super) fn send_publishes<Io: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        now: dunlin_protocol::Instant,
        link: &mut Link<Io>,
    ) {
        if !link.connection.is_connected() {
            return;
        }
        loop {
            if self.staged.is_empty() {
                self.shared.take_publishes(&link.appetite(), &mut self.staged);
            }
            let Some(queued) = self.staged.pop_front() else { return };
            if link.appetite().bytes == 0 {
                self.staged.push_front(queued);
                return;
            }
            let error = match link.connection.publish(now, &queued.message, &mut link.out) {
                Ok(Some(packet_identifier)) => {
                    let receipt = ReasonCode::Success;
                    let number = queued.number;
                    let awaited = Awaited { reply: queued.reply, number, receipt };
                    self.in_flight.insert(packet_identifier, awaited);
                    self.record_sent(number, packet_identifier, queued.message.qos);
                    continue;
                }
                Ok(None) => {
                    link.await_written(queued.reply);
                    continue;
                }
                Err(error) => error,
            };
            let error = match error {
                dunlin_protocol::PublishError::PacketTooLarge(_) => PublishError::PacketTooLarge,
                dunlin_protocol::PublishError::NotEncodable(_) => PublishError::PropertyTooLong,
                dunlin_protocol::PublishError::Expired => PublishError::Expired,
                dunlin_protocol::PublishError::QoSNotSupported => PublishError::QoSNotSupported,
                dunlin_protocol::PublishError::RetainNotSupported => {
                    PublishError::RetainNotSupported
                }
                _ => {
                    // No quota now, or no connection: it stays the next to be sent.
                    self.staged.push_front(queued);
                    return;
                }
            };
            if let (Some(keeper), Some(number)) = (&mut self.keeper, queued.number) {
                keeper.record(SessionChange::Dropped { number });
            }
            let _ = queued.reply.send(Err(error));
        }
    }

    fn record_sent(&mut self, number: Option<u64>, packet_identifier: PacketIdentifier, qos: QoS) {
        let (Some(keeper), Some(number)) = (&mut self.keeper, number) else { return };
        let sent = SessionChange::Sent { number, packet_identifier };
        if qos == QoS::ExactlyOnce {
            keeper.record_first(sent);
        } else {
            // The Server remembers no identifier of QoS 1: forgotten, it is sent with another.
            keeper.record(sent);
        }
    }
}
