//! A Server's connection with a hostile Client and an owner that does anything at any time.

use super::packets;
use super::world::{Choices, World};
use crate::{Progress, ServerConfig, ServerConnection, ServerEvent, Session};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use dunlin_codec::{
    ConnAckProperties, Packet, PacketIdentifier, ProtocolVersion, SubAck, UnsubAck,
};

/// Drives Server's connections, one after the other on one Session, by these bytes.
///
/// # Panics
/// When an invariant is broken.
pub fn server(data: &[u8]) {
    let choices = &mut Choices::new(data);
    let mut run = Run::new(choices);
    while !choices.is_empty() {
        run.operate(choices);
        let is_over = run.connection.end().is_some();
        let packet_size_max = run.connection.engine.peer_packet_size_max();
        run.world.check_output(run.connection.version(), packet_size_max, is_over);
        run.connection.engine.check_invariants();
    }
}

struct Run {
    connection: ServerConnection,
    config: Arc<ServerConfig>,
    world: World,
    /// What the Client speaks.
    version: ProtocolVersion,
    /// The Session of the Client while it is away.
    session: Session,
    asked: Vec<(PacketIdentifier, usize, bool)>,
}

impl Run {
    fn new(choices: &mut Choices<'_>) -> Self {
        let config = Arc::new(ServerConfig {
            connect_timeout: Duration::from_secs(60),
            packet_size_max: 2_000,
            connect_packet_size_max: 1_000,
            partial_rate_min: 100,
            packet_limits: dunlin_codec::Limits {
                topic_name_len_max: 100,
                user_properties_max: 2,
                user_property_bytes_max: 100,
            },
            send_in_flight_max: 3,
            receive_maximum: 1 + u16::from(choices.below(4)),
            topic_alias_maximum: u16::from(choices.below(4)),
            topic_alias_outbound_max: u16::from(choices.below(4)),
            keep_alive_max_secs: u16::from(choices.byte()),
        });
        let mut world = World::new();
        let connection = ServerConnection::new(world.now, config.clone());
        let version = choices.version();
        if choices.flag() {
            // Most runs begin as they should.
            world.send(&Packet::Connect(packets::connect(choices, version).into()), version);
            world.arrive(usize::MAX);
        }
        Self { connection, config, world, version, session: Session::new(), asked: Vec::new() }
    }

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
            10 | 11 => self.decide(choices),
            12 | 13 => {
                if let Some(token) = world.take_owed(choices) {
                    let reason_code = choices.reason_code();
                    let _ = connection.acknowledge(now, token, reason_code, &mut world.out);
                }
            }
            14 | 15 => {
                let message = Arc::new(packets::message(choices, now));
                let (qos, retain) = (packets::qos(choices), choices.flag());
                let _ = connection.publish(now, &message, qos, retain, &[], &mut world.out);
            }
            16 => {
                let message = packets::message(choices, now);
                let out = &mut world.out;
                let _ = connection.publish_at_most_once(now, &message, false, &[], out);
            }
            17 => {
                world.wait(choices);
                connection.handle_timeout(world.now, &mut world.out);
                assert!(connection.poll_timeout().is_none_or(|at| at > world.now));
            }
            18 | 19 => {
                connection.poll_transmit(now, &mut world.out, &mut Vec::new());
            }
            20 => self.answer(choices),
            21 => {
                let auth = packets::auth(choices);
                let _ = connection.auth(now, auth, &mut world.out);
            }
            22 => match choices.below(4) {
                0 => connection.disconnect(now, &packets::disconnect(choices), &mut world.out),
                1 => connection.handle_network_closed(),
                _ => connection.shrink(),
            },
            _ => self.reconnect(choices),
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
                Progress::Event(event) => match event {
                    ServerEvent::Publish(publish) => owed.extend(publish.ack),
                    ServerEvent::Released(token) => owed.push(token),
                    ServerEvent::Subscribe(subscribe) => {
                        let count = subscribe.subscriptions.len();
                        self.asked.push((subscribe.packet_identifier, count, true));
                    }
                    ServerEvent::Unsubscribe(unsubscribe) => {
                        let count = unsubscribe.topic_filters.len();
                        self.asked.push((unsubscribe.packet_identifier, count, false));
                    }
                    _ => {}
                },
                Progress::Packet => {}
                Progress::NeedInput => break,
                Progress::Closed => {
                    assert!(self.connection.end().is_some());
                    break;
                }
            }
        }
    }

    fn decide(&mut self, choices: &mut Choices<'_>) {
        let World { now, out, .. } = &mut self.world;
        if choices.below(8) == 0 {
            let reason_code = choices.reason_code();
            let properties = ConnAckProperties::default();
            let _ = self.connection.reject(*now, reason_code, properties, out);
        } else {
            let session = self.session.clone();
            let properties = packets::connack(choices, self.version).properties;
            let _ = self.connection.accept(*now, session, choices.flag(), properties, out);
        }
        self.arrive(choices);
    }

    fn answer(&mut self, choices: &mut Choices<'_>) {
        let World { now, out, .. } = &mut self.world;
        let Some((packet_identifier, count, is_subscribe)) = self.asked.pop() else { return };
        let (properties, reason_codes) =
            (Default::default(), alloc::vec![choices.reason_code(); count]);
        if is_subscribe {
            let suback = SubAck { packet_identifier, properties, reason_codes };
            let _ = self.connection.suback(*now, suback, out);
        } else {
            let unsuback = UnsubAck { packet_identifier, properties, reason_codes };
            let _ = self.connection.unsuback(*now, unsuback, out);
        }
    }

    /// The Client comes back; `decide` hands the Session on.
    fn reconnect(&mut self, choices: &mut Choices<'_>) {
        let session = self.connection.take_session();
        if !session.is_empty() {
            self.session = session;
        }
        self.world.reconnect();
        self.asked.clear();
        self.connection = ServerConnection::new(self.world.now, self.config.clone());
        let connect = packets::connect(choices, self.version);
        self.world.send(&Packet::Connect(connect.into()), self.version);
        self.arrive(choices);
    }
}
