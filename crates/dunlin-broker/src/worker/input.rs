//! Bytes in: who is read when, and what becomes of the input.

use super::peer::Adopted;
use super::{Worker, socket_of};
use crate::core::{ConnectionKey, InputState};
use crate::net::{Foreign, Reading, Socket};
use bytes::BytesMut;
use dunlin_protocol::Instant;
use mio::Events;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant as Clock};

/// Bytes read from one connection before others have their turn.
const READ_LEN_MAX: usize = 64 * 1024;
/// The least that is read of a connection with layers, which need room for themselves.
const READ_LEN_LAYERS: usize = 32 * 1024;
/// The buffer that all connections of a worker are read into.
const READ_BUFFER_LEN: usize = 512 * 1024;
/// Bytes read after which outputs are written before the turn ends: what was read and what comes of
/// it is then still in the cache of the processor.
const WRITE_AFTER_LEN: usize = 256 * 1024;
/// How often established connections are read before a new one is taken up.
const READS_BEFORE_FRESH: usize = 16;
/// Input takes long if it takes longer than this, which is more than two steps of the coarse clock.
const DEAR_INPUT: Duration = Duration::from_millis(10);
/// How long a turn goes on with connections whose input takes long.
pub(super) const DEAR_TIME: Duration = Duration::from_millis(1);
/// How long a turn goes on with connections whose peers have closed them: thousands may go at once.
const LEAVING_TIME: Duration = Duration::from_millis(1);
/// For how long new connections wait for these at most.
const HOLD_MAX: Duration = Duration::from_secs(1);
/// For how many reads a connection whose input has once taken long is held to be one of those.
const DEAR_READS: u8 = 16;

/// Connections that may have something to read.
///
/// A CONNECT may take over a session whose old connection has sent DISCONNECT just before: all
/// that arrived earlier is handled first, so that no Will fires for a Client that said goodbye.
#[derive(Debug, Default)]
pub(super) struct ToRead {
    /// Those that have a session.
    established: VecDeque<ConnectionKey>,
    /// Those of them whose input takes long: thousands of subscriptions, or Topic Names that match
    /// thousands of Topic Filters. They wait for the others, and nobody with a session for them.
    dear: VecDeque<ConnectionKey>,
    /// Those whose peers have closed them, at least their side, with what they have sent before. To end
    /// one takes as long as dozens of messages, and who is there does not wait for all of them.
    leaving: VecDeque<ConnectionKey>,
    /// Those that have not sent CONNECT, or not with success.
    fresh: VecDeque<ConnectionKey>,
    /// Since when new connections wait for those that leave.
    held_since: Option<Instant>,
}

impl ToRead {
    pub(super) fn is_empty(&self) -> bool {
        !self.has_established() && !self.has_leaving() && self.fresh.is_empty()
    }

    fn has_established(&self) -> bool {
        !self.established.is_empty() || !self.dear.is_empty()
    }

    /// Whether a connection that its peer has closed is not at its end yet.
    fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Whether a new connection may have something to read.
    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Those that have to wait for others though something of them is there.
    pub(super) fn held_back(&self) -> impl Iterator<Item = ConnectionKey> {
        let fresh = self.held_since.map(|_| &self.fresh);
        self.dear.iter().chain(&self.leaving).chain(fresh.into_iter().flatten()).copied()
    }

    /// Whether new connections have to wait, since those that leave are too many for this turn.
    fn holds_fresh(&mut self, now: Instant) -> bool {
        if !self.has_leaving() {
            self.held_since = None;
            return false;
        }
        now.saturating_since(*self.held_since.get_or_insert(now)) < HOLD_MAX
    }

    /// Lists a connection, once.
    pub(super) fn list(&mut self, socket: &mut Socket) {
        if !socket.is_listed {
            socket.is_listed = true;
            let list = match socket {
                Socket { is_fresh: true, is_closing: false, .. } => &mut self.fresh,
                Socket { dear_reads: 1.., .. } => &mut self.dear,
                Socket { is_read_closed: true, .. } => &mut self.leaving,
                _ => &mut self.established,
            };
            list.push_back(socket.key);
        }
    }
}

/// Where input lies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// In the buffer that all connections are read into.
    Buffer,
    /// In memory of the connection's own.
    Rest,
}

impl Worker {
    /// Reads each connection with a session once, but for those whose input takes long.
    pub(super) fn read_established(&mut self, now: Instant) {
        if self.is_backlogged() {
            return;
        }
        for _ in 0..self.to_read.established.len() {
            let Some(key) = self.to_read.established.pop_front() else { break };
            self.read_in_turn(now, key);
        }
    }

    /// Reads those whose input takes long, each at most once, until so much time has passed.
    pub(super) fn read_dear(&mut self, now: Instant, time: Duration) {
        if self.to_read.dear.is_empty() || self.is_backlogged() {
            return;
        }
        let began = Clock::now();
        for _ in 0..self.to_read.dear.len() {
            let Some(key) = self.to_read.dear.pop_front() else { break };
            self.read_in_turn(now, key);
            if began.elapsed() >= time {
                return;
            }
        }
    }

    /// Goes on with connections that their peers have closed, each to its end, until the time for that is
    /// up.
    pub(super) fn read_leaving(&mut self, now: Instant) {
        if !self.to_read.has_leaving() || self.is_backlogged() {
            return;
        }
        let began = Clock::now();
        while let Some(key) = self.to_read.leaving.pop_front() {
            self.read_in_turn(now, key);
            if began.elapsed() >= LEAVING_TIME {
                return;
            }
        }
    }

    /// Takes up new connections, after all that has arrived on the others by now: in a later turn, if
    /// that takes longer than others should wait.
    pub(super) fn read_fresh(
        &mut self,
        now: Instant,
        events: &mut Events,
        writable: &mut Vec<ConnectionKey>,
    ) {
        if self.to_read.holds_fresh(now) {
            return;
        }
        if let Err(error) = self.parts.poll.poll(events, Some(Duration::ZERO))
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, "waiting for events failed");
            events.clear();
        }
        let mut fresh = std::mem::take(&mut self.to_read.fresh);
        self.note(events, writable);
        self.read_leaving(now);
        for _ in 0..READS_BEFORE_FRESH {
            if !self.to_read.has_established() || self.is_backlogged() {
                break;
            }
            self.read_established(now);
            self.read_dear(now, Duration::MAX);
            self.read_leaving(now);
        }
        if self.to_read.holds_fresh(now) {
            // They come before those that have come since.
            fresh.append(&mut self.to_read.fresh);
            self.to_read.fresh = fresh;
            return;
        }
        for key in fresh {
            self.read_connection(now, key);
        }
        for Adopted { transport, permit, rest, listener, client } in
            std::mem::take(&mut self.adopted)
        {
            let key = self.parts.core.adopt(now, client);
            let mut socket = Socket::new(transport, permit, key, rest, listener);
            socket.is_fresh = !self.parts.core.has_session(key);
            self.watch(socket);
        }
    }

    /// Reads a connection with a session once, and writes what came of all by now if that is much.
    fn read_in_turn(&mut self, now: Instant, key: ConnectionKey) {
        self.read_connection(now, key);
        if self.unwritten_input >= WRITE_AFTER_LEN {
            self.write_early(now);
        }
    }

    /// Reads a connection once, and notes whether what came of it took long.
    fn read_connection(&mut self, now: Instant, key: ConnectionKey) {
        let began = coarse_clock();
        self.read_once(now, key);
        let was_dear = coarse_clock().saturating_sub(began) > DEAR_INPUT;
        if let Some(socket) = socket_of(&mut self.sockets, key) {
            socket.dear_reads =
                if was_dear { DEAR_READS } else { socket.dear_reads.saturating_sub(1) };
        }
    }

    fn read_once(&mut self, now: Instant, key: ConnectionKey) {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        socket.is_listed = false;
        if socket.is_closing {
            self.read_closing(now, key);
            return;
        }
        if socket.is_paused {
            return;
        }
        if !socket.rest.is_empty() && !self.handle_rest(now, key) {
            return;
        }
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        if !socket.is_readable {
            return;
        }
        let unfinished = socket.rest.len();
        let len_max = match self.parts.core.read_len_max(now, key, unfinished) {
            None => READ_LEN_MAX,
            Some(0) => {
                socket.is_paused = true;
                return;
            }
            Some(len) if socket.transport.has_layers() => len.clamp(READ_LEN_LAYERS, READ_LEN_MAX),
            Some(len) => len.min(READ_LEN_MAX),
        };
        prepare(&mut self.buffer);
        match socket.read(&mut self.buffer, len_max) {
            Reading::WouldBlock if socket.is_broken => self.drop_socket(now, key),
            Reading::WouldBlock => {}
            Reading::Closed => {
                // A peer may have closed its side alone, and read its last answers.
                self.write(now, key);
                self.drop_socket(now, key);
            }
            Reading::Bytes(bytes) => {
                self.parts.core.count_received(bytes.len());
                self.unwritten_input += bytes.len();
                if socket.rest.is_empty() {
                    self.handle_input(now, key, bytes, Source::Buffer);
                } else {
                    socket.rest.extend_from_slice(&bytes);
                    self.handle_rest(now, key);
                }
                let Some(socket) = socket_of(&mut self.sockets, key) else { return };
                if socket.is_readable && !socket.is_paused {
                    self.to_read.list(socket);
                }
            }
        }
    }

    /// Handles what is left from before; whether the connection goes on.
    pub(super) fn handle_rest(&mut self, now: Instant, key: ConnectionKey) -> bool {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return false };
        let rest = std::mem::take(&mut socket.rest);
        self.handle_input(now, key, rest, Source::Rest)
    }

    /// Hands input to the core; whether the connection goes on.
    pub(super) fn handle_input(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        mut input: BytesMut,
        source: Source,
    ) -> bool {
        if let Some(socket) = socket_of(&mut self.sockets, key)
            && socket.is_fresh
            && socket.login.is_none()
        {
            socket.foreign = Foreign::to_mqtt(&input, socket.transport.is_proxied());
            if let Some(foreign) = socket.foreign.filter(|foreign| foreign.is_proxy_header()) {
                self.tell_foreign(key, foreign);
                self.drop_socket(now, key);
                return false;
            }
        }
        let mut was_told = false;
        let state = loop {
            match self.parts.core.handle_input(now, key, &mut input) {
                InputState::Urgent => {
                    self.look_at_memory(now);
                    self.write_urgent(now);
                }
                InputState::Paused if !was_told && self.is_gone(key) => {
                    self.parts.core.handle_peer_gone(now, key);
                    was_told = true;
                }
                state => break state,
            }
        };
        let Some(socket) = socket_of(&mut self.sockets, key) else { return false };
        socket.is_fresh = socket.is_fresh && !self.parts.core.has_session(key);
        match state {
            InputState::NeedInput | InputState::Urgent => {
                socket.rest = kept(input, source);
                true
            }
            InputState::Paused => {
                socket.rest = kept(input, source);
                socket.is_paused = true;
                false
            }
            InputState::Closed => false,
        }
    }

    /// Looks at memory if much was taken up since the last time.
    pub(super) fn look_at_memory(&mut self, now: Instant) {
        if !self.parts.core.wants_look() {
            return;
        }
        let before = self.parts.core.pressure_level();
        match self.parts.gauge.as_mut().and_then(|gauge| gauge.look(before)) {
            Some(pressure) => self.parts.core.handle_pressure(now, pressure),
            // Who looks by the clock says so.
            None => self.parts.core.forget_growth(),
        }
    }

    /// Whether the peer has closed its side of a connection with a session. Without one, a paused
    /// connection waits for its worker or for the past of its session, and its turn comes.
    pub(super) fn is_gone(&mut self, key: ConnectionKey) -> bool {
        socket_of(&mut self.sockets, key).is_some_and(|socket| socket.is_read_closed)
            && self.parts.core.has_session(key)
    }

    pub(super) fn read_closing(&mut self, now: Instant, key: ConnectionKey) {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        prepare(&mut self.buffer);
        if socket.discard(&mut self.buffer) {
            self.drop_socket(now, key);
        } else if socket.is_readable {
            self.to_read.list(socket);
        }
    }
}

/// A clock that costs next to nothing, and goes on every few milliseconds.
fn coarse_clock() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(secs)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Makes the worker's buffer ready for a read. It is used again and again, since nothing that was
/// read outlives its turn without being copied.
pub(super) fn prepare(buffer: &mut BytesMut) {
    if buffer.len() < READ_LEN_MAX {
        buffer.clear();
        buffer.reserve(READ_BUFFER_LEN);
        buffer.resize(READ_BUFFER_LEN, 0);
    }
}

/// Input that waits for more, in memory of its own, so that it doesn't pin the worker's buffer.
fn kept(input: BytesMut, source: Source) -> BytesMut {
    match source {
        _ if input.is_empty() => BytesMut::new(),
        Source::Buffer => BytesMut::from(&input[..]),
        Source::Rest => input,
    }
}
