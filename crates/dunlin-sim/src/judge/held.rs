//! What Clients hold for messages of QoS 2 whose Session they do not know to be over.
//!
//! A Session may end, and the next one begin, on a connection whose CONNACK never comes; the one
//! after that tells its Client that there is a Session, and the Client takes it for its own. When it
//! is sent a message again whose first PUBLISH it never saw, under a Packet Identifier that it holds,
//! it can't know that it has another one.

use super::Judge;
use super::sessions::LifeId;
use crate::history::{ConnectionId, DeviceId};
use dunlin_codec::{Packet, QoS, ReasonCode};
use std::collections::BTreeMap;

/// The Packet Identifiers that devices hold, each since a PUBLISH of this Session.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<(DeviceId, u16), LifeId>);

impl Held {
    /// The device has no Session any more, or a new one.
    pub(super) fn forget(&mut self, device: DeviceId) {
        self.0.retain(|(holder, _), _| *holder != device);
    }
}

impl Judge {
    /// A packet has arrived at its Client.
    pub(super) fn on_arrived(&mut self, id: ConnectionId, packet: &Packet) {
        let Some(connection) = self.connections.get(&id) else { return };
        let device = connection.device;
        match packet {
            // MQTT 3.1 can't tell.
            Packet::ConnAck(connack)
                if connack.reason_code == ReasonCode::Success
                    && !connack.session_present
                    && connection.tells_session_present() =>
            {
                self.held.forget(device);
            }
            Packet::PubRel(ack) => {
                self.held.0.remove(&(device, ack.packet_identifier.value()));
            }
            Packet::Publish(publish) if publish.delivery.qos() == QoS::ExactlyOnce => {
                let Some(packet_identifier) = publish.delivery.packet_identifier() else { return };
                let Some(life) = connection.life else { return };
                let holder = (device, packet_identifier.value());
                let known = *self.held.0.entry(holder).or_insert(life);
                if known == life {
                    return;
                }
                self.held.0.insert(holder, life);
                if publish.delivery.dup()
                    && let Some(number) = crate::history::message_number(&publish.payload)
                {
                    let life = self.sessions.life_mut(life);
                    life.receipts.entry(number).or_default().is_kept_back = true;
                    life.owed.remove(&number);
                    life.owed_retained.retain(|owed| owed.number != number);
                }
            }
            _ => {}
        }
    }
}
