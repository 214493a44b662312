//! What an earlier program left in the Session Store, taken up again.

use super::{Awaited, Driver};
use crate::shared::Queued;
use crate::{Event, SessionChange, StoreError, StoredExchange, StoredMessage};
use dunlin_protocol::codec::{PacketIdentifier, QoS, ReasonCode};
use dunlin_protocol::{InFlight, InFlightState, Message};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::oneshot;

impl Driver {
    /// Loads the Session, if there is a store for it.
    pub(super) async fn restore(&mut self) -> Result<(), StoreError> {
        let Some(keeper) = &mut self.keeper else { return Ok(()) };
        let stored = keeper.load().await?;
        let configured = &self.config.connect.client_identifier;
        match stored.client_identifier() {
            None => keeper.record(SessionChange::Named(configured.clone())),
            Some(stored) if stored != configured => {
                let (stored, configured) = (stored.clone(), configured.clone());
                return Err(StoreError::OtherClient { stored, configured });
            }
            Some(_) => {}
        }
        let mut queued = Vec::new();
        for (number, exchange) in stored.messages() {
            self.next_number = number + 1;
            match exchange {
                StoredExchange::Queued(message) => {
                    queued.push(Queued::restored(self.timed(message), number));
                }
                StoredExchange::Sent(message, packet_identifier) => {
                    let message = self.timed(message);
                    let state = match message.qos {
                        QoS::ExactlyOnce => InFlightState::AwaitingPubRec,
                        _ => InFlightState::AwaitingPubAck,
                    };
                    self.restore_in_flight(number, *packet_identifier, state, Some(message));
                }
                StoredExchange::Taken(packet_identifier) => {
                    let state = InFlightState::AwaitingPubComp;
                    self.restore_in_flight(number, *packet_identifier, state, None);
                }
            }
        }
        for packet_identifier in stored.received() {
            self.session.restore_received(packet_identifier);
        }
        if !stored.is_empty() {
            let (queued, in_flight) = (queued.len(), self.in_flight.len());
            self.shared.events.push(Event::SessionRestored { queued, in_flight });
        }
        self.shared.restore(queued);
        Ok(())
    }

    fn restore_in_flight(
        &mut self,
        number: u64,
        packet_identifier: PacketIdentifier,
        state: InFlightState,
        message: Option<Arc<Message>>,
    ) {
        let retain = message.as_ref().is_some_and(|message| message.retain);
        let in_flight = InFlight::new(packet_identifier, state, message, retain, Vec::new());
        self.session.restore_in_flight(in_flight);
        // Who awaited it is gone.
        let (reply, _) = oneshot::channel();
        let awaited = Awaited { reply, number: Some(number), receipt: ReasonCode::Success };
        self.in_flight.insert(packet_identifier, awaited);
    }

    /// The message with its expiry on this process's clock.
    fn timed(&self, stored: &StoredMessage) -> Arc<Message> {
        let Some(expires_at) = stored.expires_at else { return stored.message.clone() };
        let left = expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        let expires_at = Some(self.shared.clock.now() + left);
        Arc::new(Message { expires_at, ..Message::clone(&stored.message) })
    }
}
