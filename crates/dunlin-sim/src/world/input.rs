//! Bytes into the broker: accepting, reading, and telling the judge of each packet that is taken.

use super::login::moves;
use super::{Event, Happening, World, connection_id, note};
use crate::pipe::Part;
use bytes::BytesMut;
use dunlin_broker::core::{ConnectingClient, InputState};
use dunlin_codec::Packet;
use dunlin_protocol::ConnectionEnd;
use dunlin_protocol::Violation;

/// Bytes read from one connection before others have their turn.
const READ_LEN_MAX: usize = 64 * 1024;

impl World {
    /// The broker hears of a new Network Connection.
    pub(super) fn accept(&mut self, wire: u32) {
        let at = wire as usize;
        if !self.is_up || self.is_stopping {
            self.wires[at].up.broken = true;
            self.wires[at].down.cut(self.now);
            self.announce_down(wire);
            return;
        }
        if self.wires[at].down.ended {
            return;
        }
        let worker = self.wires[at].broker.worker % self.stations.len();
        self.wires[at].broker.worker = worker;
        let key = self.stations[worker].core.open(self.now, self.options.durability);
        self.stations[worker].link(key, Some(wire));
        self.wires[at].broker.key = Some(key);
        note!(self, self.about(wire), "accepted by worker {worker}");
        self.tell(Event::Opened { connection: connection_id(wire), device: self.device_id(wire) });
        self.list(worker, wire);
        self.wake(worker);
    }

    pub(super) fn adopt(&mut self, worker: usize, wire: u32, client: ConnectingClient) {
        let at = wire as usize;
        self.tell_connect(wire);
        let core = &mut self.stations[worker].core;
        let key = core.adopt(self.now, client);
        let is_fresh = !core.has_session(key);
        self.stations[worker].link(key, Some(wire));
        let end = &mut self.wires[at].broker;
        end.key = Some(key);
        end.is_fresh = is_fresh;
        end.is_listed = false;
        end.is_paused = false;
        end.is_readable = true;
        self.list(worker, wire);
    }

    /// Lists a connection to be read, once.
    pub(super) fn list(&mut self, worker: usize, wire: u32) {
        let end = &mut self.wires[wire as usize].broker;
        if !std::mem::replace(&mut end.is_listed, true) {
            let station = &mut self.stations[worker];
            let list = if end.is_fresh { &mut station.fresh } else { &mut station.established };
            list.push_back(wire);
        }
    }

    /// Announces the next arrival at the broker.
    pub(super) fn announce_up(&mut self, wire: u32) {
        let pipe = &mut self.wires[wire as usize].up;
        if let Some(at) = pipe.next_arrival()
            && pipe.announced.is_none_or(|announced| at < announced)
        {
            pipe.announced = Some(at);
            self.schedule.put(at.max(self.now), Happening::ArriveUp(wire));
        }
    }

    pub(super) fn arrive_up(&mut self, wire: u32) {
        let connection = &mut self.wires[wire as usize];
        connection.up.announced = None;
        let mut has_news = false;
        while let Some(part) = connection.up.receive(self.now) {
            has_news = true;
            match part {
                Part::Bytes(bytes) => {
                    if let Some(left) = &mut connection.up.cut_after {
                        let arrives = bytes.len().min(*left as usize);
                        *left -= arrives as u64;
                        connection.broker.arrived.extend_from_slice(&bytes[..arrives]);
                        if *left == 0 {
                            self.cut(wire);
                            break;
                        }
                    } else {
                        connection.broker.arrived.extend_from_slice(&bytes);
                    }
                }
                Part::End => connection.broker.end_arrived = true,
                Part::Reset => {
                    connection.broker.end_arrived = true;
                    connection.broker.is_broken = true;
                }
            }
        }
        self.announce_up(wire);
        let connection = &mut self.wires[wire as usize];
        if !has_news || !self.is_up {
            return;
        }
        let end = &mut connection.broker;
        end.is_readable = true;
        if end.end_arrived {
            end.is_read_closed = true;
            // A peer that is gone is read to its end, whatever it waited for.
            end.is_paused = false;
        }
        if end.key.is_some() {
            let worker = end.worker;
            self.list(worker, wire);
            self.wake(worker);
        }
    }

    pub(super) fn read_connection(&mut self, worker: usize, wire: u32) {
        let at = wire as usize;
        let end = &mut self.wires[at].broker;
        if end.key.is_none() || end.worker != worker {
            return;
        }
        end.is_listed = false;
        if end.is_closing {
            self.discard(worker, wire);
            return;
        }
        if end.is_paused {
            return;
        }
        if !end.rest.is_empty() && !self.handle_rest(worker, wire) {
            return;
        }
        let end = &mut self.wires[at].broker;
        if end.key.is_none() || end.is_closing || !end.is_readable {
            return;
        }
        if end.arrived.is_empty() {
            if end.end_arrived {
                // A peer may have closed its side alone, and read its last answers.
                self.write(worker, wire);
                self.drop_socket(worker, wire);
            } else {
                end.is_readable = false;
                if end.is_broken {
                    self.drop_socket(worker, wire);
                }
            }
            return;
        }
        let mut count = end.arrived.len().min(READ_LEN_MAX);
        if self.options.partial_turns && !self.calm {
            count = self.stations[worker].random.between(1..=count as u64) as usize;
        }
        let end = &mut self.wires[at].broker;
        let bytes = end.arrived.split_to(count);
        end.is_readable = !end.arrived.is_empty() || end.is_read_closed;
        end.rest.extend_from_slice(&bytes);
        end.untold.extend_from_slice(&bytes);
        self.free_up(wire, count);
        self.stations[worker].core.count_received(count);
        self.handle_rest(worker, wire);
        if !self.wires[at].broker.rest.is_empty() {
            self.tell(Event::Heard { connection: connection_id(wire) });
        }
        let end = &mut self.wires[at].broker;
        if end.key.is_some() && end.is_readable && !end.is_paused {
            self.list(worker, wire);
        }
    }

    fn free_up(&mut self, wire: u32, bytes: usize) {
        if self.wires[wire as usize].up.free(bytes) {
            self.schedule.put(self.now, Happening::RoomUp(wire));
        }
    }

    /// Hands what was read to the core; whether the connection goes on.
    fn handle_rest(&mut self, worker: usize, wire: u32) -> bool {
        let at = wire as usize;
        let Some(key) = self.wires[at].broker.key else { return false };
        let mut input = std::mem::take(&mut self.wires[at].broker.rest);
        let mut was_told = false;
        let state = loop {
            let state = self.stations[worker].core.handle_input(self.now, key, &mut input);
            self.tell_taken(worker, wire, &input);
            match state {
                InputState::Urgent => self.write_urgent(worker),
                InputState::Paused
                    if !was_told
                        && self.wires[at].broker.is_read_closed
                        && self.stations[worker].core.has_session(key) =>
                {
                    self.stations[worker].core.handle_peer_gone(self.now, key);
                    self.tell(Event::PeerGone { connection: connection_id(wire) });
                    was_told = true;
                }
                state => break state,
            }
        };
        if self.wires[at].broker.key != Some(key) {
            return false;
        }
        let has_session = self.stations[worker].core.has_session(key);
        let end = &mut self.wires[at].broker;
        end.is_fresh = end.is_fresh && !has_session;
        match state {
            InputState::NeedInput | InputState::Urgent => {
                end.rest = input;
                true
            }
            InputState::Paused => {
                end.rest = input;
                end.is_paused = true;
                false
            }
            InputState::Closed => false,
        }
    }

    /// Tells of the packets that the core has taken off the input.
    fn tell_taken(&mut self, worker: usize, wire: u32, input: &BytesMut) {
        let at = wire as usize;
        loop {
            let end = &mut self.wires[at].broker;
            if end.untold.len() <= input.len() {
                break;
            }
            let before = end.untold.len();
            let decoded = end.decoder.decode(&mut end.untold);
            let Ok(Some(packet)) = decoded else {
                self.tell_malformed(wire);
                break;
            };
            let len = before - self.wires[at].broker.untold.len();
            if let Packet::Connect(connect) = &packet
                && !std::mem::replace(&mut self.wires[at].broker.has_connect, true)
            {
                let end = &mut self.wires[at].broker;
                let version = connect.protocol_version;
                end.decoder.set_version(version);
                end.decoder.set_packet_size_max(self.limits.packet_size_max);
                end.written_decoder.set_version(version);
                let identifier = &connect.client_identifier;
                end.moves = moves(identifier, self.stations.len(), self.seed, worker);
                if end.moves || self.options.authenticates {
                    end.moving = Some((packet, len));
                    continue;
                }
            }
            self.tell_packet(wire, &packet, len);
        }
        let Some(key) = self.wires[at].broker.key else { return };
        let end = self.stations[worker].core.end(key);
        if matches!(end, Some(ConnectionEnd::Violation(Violation::Decode(_)))) {
            self.tell_malformed(wire);
        }
    }

    /// Tells of a CONNECT that is decided about now.
    pub(super) fn tell_connect(&mut self, wire: u32) {
        if let Some((packet, len)) = self.wires[wire as usize].broker.moving.take() {
            self.tell_packet(wire, &packet, len);
        }
    }

    pub(super) fn tell_packet(&mut self, wire: u32, packet: &Packet, len: usize) {
        self.operations += 1;
        note!(self, self.about(wire), "taken    {packet}{}", head(packet));
        self.tell(Event::Taken { connection: connection_id(wire), packet, len });
    }

    fn tell_malformed(&mut self, wire: u32) {
        if !std::mem::replace(&mut self.wires[wire as usize].broker.malformed, true) {
            note!(self, self.about(wire), "taken    what is no packet");
            self.tell(Event::TakenMalformed { connection: connection_id(wire) });
        }
    }

    /// Reads and forgets, after the connection is over.
    pub(super) fn discard(&mut self, worker: usize, wire: u32) {
        let end = &mut self.wires[wire as usize].broker;
        let count = end.arrived.len();
        end.arrived.clear();
        end.is_readable = false;
        let has_ended = end.end_arrived;
        self.free_up(wire, count);
        if has_ended {
            self.drop_socket(worker, wire);
        }
    }
}

/// The first characters of a PUBLISH's payload, which name it.
pub(super) fn head(packet: &Packet) -> String {
    let Packet::Publish(publish) = packet else { return String::new() };
    let head = &publish.payload[..publish.payload.len().min(24)];
    format!(" \"{}\"", head.escape_ascii())
}
