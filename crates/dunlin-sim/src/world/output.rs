//! Bytes out of the broker: as much as the network takes, and telling the judge of each packet.

use super::input::head;
use super::{Event, Happening, World, connection_id, note};
use crate::pipe::Part;
use dunlin_broker::core::ConnectionKey;
use dunlin_codec::Packet;

/// Pieces of output that are looked at together.
const PIECES: usize = 16;

impl World {
    /// Announces the next arrival at the Client.
    pub(super) fn announce_down(&mut self, wire: u32) {
        let pipe = &mut self.wires[wire as usize].down;
        if let Some(at) = pipe.next_arrival()
            && pipe.announced.is_none_or(|announced| at < announced)
        {
            pipe.announced = Some(at);
            self.schedule.put(at.max(self.now), Happening::ArriveDown(wire));
        }
    }

    /// The Client has read: the broker can write again.
    pub(super) fn room_down(&mut self, wire: u32) {
        let end = &mut self.wires[wire as usize].broker;
        if end.key.is_some() && self.is_up && !end.is_writable {
            end.is_writable = true;
            let worker = end.worker;
            self.stations[worker].writable.push(wire);
            self.wake(worker);
        }
    }

    pub(super) fn write(&mut self, worker: usize, wire: u32) {
        let at = wire as usize;
        let connection = &mut self.wires[at];
        let Some(key) = connection.broker.key else { return };
        if connection.broker.worker != worker {
            return;
        }
        let Some(out) = self.stations[worker].core.transmit(key) else { return };
        let bound = self.limits.output_bytes_max + self.limits.packet_size_max as usize + 4096;
        if out.len() > bound + 100_000 {
            let what = format!("{} bytes wait in an output, limit {bound}", out.len());
            let device = connection.device;
            self.fail("an output grows beyond its limit", what, vec![device]);
            return;
        }
        let mut written = 0;
        let mut blocked = !connection.broker.is_writable;
        let mut failed = connection.broker.is_broken;
        while !failed && !blocked && !out.is_empty() {
            let mut pieces = [&[][..]; PIECES];
            let filled = out.pieces(&mut pieces);
            self.scratch.clear();
            let room = connection.down.room();
            for piece in &pieces[..filled] {
                self.scratch.extend_from_slice(piece);
                if self.scratch.len() > room {
                    break;
                }
            }
            match connection.down.write(self.now, &self.scratch) {
                Ok(count) => {
                    connection.broker.written.extend_from_slice(&self.scratch[..count]);
                    out.advance(count);
                    written += count;
                    blocked = count < self.scratch.len();
                }
                Err(_) => failed = true,
            }
        }
        let is_lost = failed && !out.is_empty();
        if is_lost {
            out.advance(out.len());
        }
        if written > 0 {
            self.announce_down(wire);
            self.tell_written(wire);
        }
        if is_lost {
            note!(self, self.about(wire), "what was to be written is lost");
            self.tell(Event::OutputLost { connection: connection_id(wire) });
        }
        self.after_write(worker, wire, key, written, blocked, failed);
    }

    fn after_write(
        &mut self,
        worker: usize,
        wire: u32,
        key: ConnectionKey,
        written: usize,
        blocked: bool,
        failed: bool,
    ) {
        let end = &mut self.wires[wire as usize].broker;
        let is_closing = end.is_closing;
        if failed {
            if is_closing {
                self.drop_socket(worker, wire);
                return;
            }
            // The end of what the peer sent tells how it went.
            end.is_broken = true;
            end.is_read_closed = true;
            end.is_readable = true;
            end.is_paused = false;
            self.list(worker, wire);
            self.stations[worker].core.handle_written(self.now, key, 0);
            return;
        }
        end.is_writable = !blocked;
        let was_blocked = std::mem::replace(&mut end.is_blocked, blocked);
        let connection = connection_id(wire);
        match (was_blocked, blocked) {
            (false, true) => self.tell(Event::Blocked { connection }),
            (true, false) => self.tell(Event::Drained { connection }),
            _ => {}
        }
        self.stations[worker].core.handle_written(self.now, key, written);
        if is_closing && !blocked {
            self.shut(worker, wire);
        }
    }

    /// All was said: tells the peer so, and waits for it to close.
    fn shut(&mut self, worker: usize, wire: u32) {
        let connection = &mut self.wires[wire as usize];
        if std::mem::replace(&mut connection.broker.is_shut, true) {
            return;
        }
        connection.down.end(self.now, Part::End);
        self.announce_down(wire);
        self.discard(worker, wire);
    }

    fn tell_written(&mut self, wire: u32) {
        loop {
            let end = &mut self.wires[wire as usize].broker;
            let before = end.written.len();
            let packet = match end.written_decoder.decode(&mut end.written) {
                Ok(None) => return,
                Ok(Some(packet)) => packet,
                // The answer to what was no CONNECT may be in any version.
                Err(_) if !end.has_connect => return,
                Err(error) => {
                    let what = format!("the broker wrote what can't be read: {error}");
                    let device = self.wires[wire as usize].device;
                    self.fail("the broker wrote what can't be read", what, vec![device]);
                    return;
                }
            };
            let len = before - end.written.len();
            end.written_len += len as u64;
            let place = end.written_len;
            // Turned away before anybody has said who it is, or when that took too long.
            if matches!(packet, Packet::ConnAck(_)) {
                self.tell_connect(wire);
            }
            self.operations += 1;
            note!(self, self.about(wire), "written  {packet}{}", head(&packet));
            let connection = connection_id(wire);
            self.tell(Event::Written { connection, packet: &packet, len });
            let client = &mut self.wires[wire as usize].client;
            if !client.is_gone {
                client.packets.push_back((place, packet));
            }
        }
    }

    /// Breaks a connection; both ends are told.
    pub(super) fn cut(&mut self, wire: u32) {
        let now = self.now;
        let connection = &mut self.wires[wire as usize];
        connection.up.cut(now);
        connection.down.cut(now);
        note!(self, self.about(wire), "the connection breaks");
        self.announce_up(wire);
        self.announce_down(wire);
        self.schedule.put(now, Happening::RoomUp(wire));
    }
}
