//! A Client's connection with a hostile Server and an owner that does anything at any time.

use super::packets;
use super::world::{Choices, World};
use crate::{ClientConfig, ClientConnection, ClientEvent, Progress, Session};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use dunlin_codec::{Packet, ProtocolVersion};

/// Drives Client's connections, one after the other on one Session, by these bytes.
///
/// # Panics
/// When an invariant is broken.
pub fn client(data: &[u8]) {
    let choices = &mut Choices::new(data);
    let version = choices.version();
    let mut world = World::new();
    let connection = connect(choices, version, &mut world, Session::new());
    let mut run = Run { connection, world, version };
    if choices.flag() {
        // Most runs begin as they should.
        run.world.send(&Packet::ConnAck(packets::connack(choices, version).into()), version);
        run.arrive(choices);
    }
    while !choices.is_empty() {
        let packet_size_max = run.connection.engine.peer_packet_size_max();
        run.operate(choices);
        let is_over = run.connection.end().is_some();
        // Before CONNACK, and so before the limit is known, more may have been sent.
        let packet_size_max = packet_size_max.max(run.connection.engine.peer_packet_size_max());
        run.world.check_output(version, packet_size_max, is_over);
        run.connection.engine.check_invariants();
    }
}

fn connect(
    choices: &mut Choices<'_>,
    version: ProtocolVersion,
    world: &mut World,
    session: Session,
) -> ClientConnection {
    let config = ClientConfig {
        connect: packets::connect(choices, version),
        connect_timeout: Duration::from_secs(60),
        in_flight_max: u16::from(choices.below(6)),
        topic_alias_outbound_max: u16::from(choices.below(4)),
    };
    let connection = ClientConnection::new(world.now, config, session, &mut world.out);
    world.check_output(version, u32::MAX, false);
    connection.expect("CONNECT is short")
}

struct Run {
    connection: ClientConnection,
    world: World,
    version: ProtocolVersion,
}

impl Run {
    fn operate(&mut self, choices: &mut Choices<'_>) {
        let Self { connection, world, .. } = self;
        let now = world.now;
        match choices.below(24) {
            0..=7 => {
                let packet = packets::any(choices, self.version);
                world.send(&packet, self.version);
                self.arrive(choices);
            }
            8 => {
                let len = usize::from(choices.below(16));
                world.send_bytes(choices.take(len));
                self.arrive(choices);
            }
            9 => self.arrive(choices),
            10 | 11 => {
                let connack = packets::connack(choices, self.version);
                world.send(&Packet::ConnAck(connack.into()), self.version);
                self.arrive(choices);
            }
            12 | 13 => {
                if let Some(token) = world.take_owed(choices) {
                    let reason_code = choices.reason_code();
                    let _ = connection.acknowledge(now, token, reason_code, &mut world.out);
                }
            }
            14..=16 => {
                let message = Arc::new(packets::message(choices, now));
                let _ = connection.publish(now, &message, &mut world.out);
            }
            17 => {
                world.wait(choices);
                connection.handle_timeout(world.now, &mut world.out);
                assert!(connection.poll_timeout().is_none_or(|at| at >= world.now));
            }
            18 | 19 => {
                connection.poll_transmit(now, &mut world.out, &mut Vec::new());
            }
            20 => {
                let subscribe = packets::subscribe(choices);
                let (properties, subscriptions) = (subscribe.properties, subscribe.subscriptions);
                let _ = connection.subscribe(now, properties, subscriptions, &mut world.out);
            }
            21 => {
                let unsubscribe = packets::unsubscribe(choices);
                let (properties, filters) = (unsubscribe.properties, unsubscribe.topic_filters);
                let _ = connection.unsubscribe(now, properties, filters, &mut world.out);
            }
            22 => match choices.below(5) {
                0 => {
                    let disconnect = packets::disconnect(choices);
                    let _ = connection.disconnect(now, &disconnect, &mut world.out);
                }
                1 => connection.handle_network_closed(),
                _ => {
                    let _ = connection.auth(now, packets::auth(choices), &mut world.out);
                }
            },
            _ => {
                let session = connection.take_session();
                world.reconnect();
                *connection = connect(choices, self.version, world, session);
            }
        }
    }

    fn arrive(&mut self, choices: &mut Choices<'_>) {
        let len = match choices.below(8) {
            0 => usize::from(choices.byte()),
            _ => usize::MAX,
        };
        self.world.arrive(len);
        let World { now, input, out, owed, .. } = &mut self.world;
        loop {
            match self.connection.handle_input(*now, input, out) {
                Progress::Event(ClientEvent::Publish(publish)) => owed.extend(publish.ack),
                Progress::Event(ClientEvent::Released(token)) => owed.push(token),
                Progress::Event(_) | Progress::Packet => {}
                Progress::NeedInput => break,
                Progress::Closed => {
                    assert!(self.connection.end().is_some());
                    break;
                }
            }
        }
    }
}
