//! Bytes out: outputs are written, and connections that are over are closed.

use super::input::prepare;
use super::{Worker, socket_of};
use crate::core::ConnectionKey;
use crate::net::Writing;
use dunlin_protocol::Instant;
use std::io::ErrorKind;

/// How often a connection may be written in one turn while its queue refills the output.
const WRITES_PER_TURN: usize = 8;

impl Worker {
    pub(super) fn write_urgent(&mut self, now: Instant) {
        let mut keys = std::mem::take(&mut self.keys);
        self.parts.core.take_urgent(&mut keys);
        for key in keys.drain(..) {
            self.write(now, key);
        }
        self.keys = keys;
    }

    /// Writes what the connections read so far have led to, before others are read.
    pub(super) fn write_early(&mut self, now: Instant) {
        self.unwritten_input = 0;
        self.write_urgent(now);
        let mut keys = std::mem::take(&mut self.keys);
        self.parts.core.take_touched(&mut keys);
        for key in keys.drain(..) {
            self.write(now, key);
        }
        self.keys = keys;
    }

    pub(super) fn write_touched(&mut self, now: Instant) {
        self.unwritten_input = 0;
        self.write_urgent(now);
        let mut keys = std::mem::take(&mut self.keys);
        for _ in 0..WRITES_PER_TURN {
            self.parts.core.take_touched(&mut keys);
            if keys.is_empty() {
                break;
            }
            for key in keys.drain(..) {
                self.write(now, key);
            }
            // Writing makes room, and room may move queues, close connections or resume some.
            self.keys = keys;
            self.carry_out(now);
            keys = std::mem::take(&mut self.keys);
        }
        self.keys = keys;
    }

    pub(super) fn write(&mut self, now: Instant, key: ConnectionKey) {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        let Some(out) = self.parts.core.transmit(key) else { return };
        let writing = match () {
            () if socket.is_broken => Writing::Failed,
            () if socket.is_writable => socket.write(out),
            () => Writing::Blocked(0),
        };
        match writing {
            Writing::Done(written) => {
                let is_closing = socket.is_closing;
                self.parts.core.handle_written(now, key, written);
                if is_closing {
                    self.shut(now, key);
                }
            }
            Writing::Blocked(written) => self.parts.core.handle_written(now, key, written),
            Writing::Failed if socket.is_closing => self.drop_socket(now, key),
            Writing::Failed => {
                // The peer is gone, and the end of what it sent tells how it went: its Will must
                // not fire if it said DISCONNECT.
                out.advance(out.len());
                socket.is_broken = true;
                socket.is_read_closed = true;
                socket.is_readable = true;
                socket.is_paused = false;
                self.to_read.list(socket);
                self.parts.core.handle_written(now, key, 0);
            }
        }
    }

    /// All was said: tells the peer so, and waits for it to close.
    pub(super) fn shut(&mut self, now: Instant, key: ConnectionKey) {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        if socket.is_shut {
            return;
        }
        let is_told = match socket.transport.shut_down_writing() {
            // The goodbye of a layer waits for room; the next write comes back here.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                socket.is_writable = false;
                return;
            }
            told => told.is_ok(),
        };
        socket.is_shut = true;
        prepare(&mut self.buffer);
        if !is_told || socket.discard(&mut self.buffer) {
            self.drop_socket(now, key);
        } else if socket.is_readable {
            self.to_read.list(socket);
        }
    }

    pub(super) fn end_lingering(&mut self, now: Instant) {
        while let Some((until, key)) = self.lingering.front()
            && *until <= now
        {
            let key = *key;
            self.lingering.pop_front();
            self.drop_socket(now, key);
        }
    }

    pub(super) fn drop_socket(&mut self, now: Instant, key: ConnectionKey) {
        if socket_of(&mut self.sockets, key).is_none() {
            return;
        }
        if let Some(mut socket) = self.sockets.get_mut(key.index()).and_then(Option::take) {
            // Closing the descriptor takes it out of the poll as well; this keeps mio's books.
            let _ = self.parts.poll.registry().deregister(&mut socket.transport);
        }
        self.forget(now, key);
    }
}
