//! A worker: one thread, one event loop, its share of the connections, and its core.
//!
//! A turn reads what is ready from every ready socket, handles all of it, then writes each touched
//! connection once. How many messages go into one system call decides the throughput.

use crate::core::{Batch, ConnectingClient, ConnectionKey, Core, InputState, Output, WorkerNumber};
use crate::net::{Acceptor, Reading, Socket, Transport, Writing};
use crate::store::Store;
use bytes::BytesMut;
use dunlin_protocol::codec::ReasonCode;
use dunlin_protocol::{ConnectionEnd, Instant};
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token, Waker};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant as Clock};

/// Bytes read from one connection before others have their turn.
const READ_LEN_MAX: usize = 64 * 1024;
/// The buffer that all connections of a worker are read into.
const READ_BUFFER_LEN: usize = 512 * 1024;
/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long a closed connection waits for its peer to close too, so that the last packet is not
/// lost to a reset.
const LINGER: Duration = Duration::from_secs(1);
/// How long accepting rests after the system had no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Items that may wait for another worker before this one reads no more.
const BACKLOG_MAX: usize = 64 * 1024;
/// How soon a worker that waits for another one looks again.
const BACKLOG_REST: Duration = Duration::from_millis(1);
/// How often established connections are read before a new one is taken up.
const READS_BEFORE_FRESH: usize = 16;
/// How often a connection may be written in one turn while its queue refills the output.
const WRITES_PER_TURN: usize = 8;

const WAKE: Token = Token(usize::MAX);
/// Tokens from here on, down from the top, are listeners.
const LISTENERS: usize = usize::MAX - 1024;

/// What a worker is told by others.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// A batch from another worker's core.
    Batch(WorkerNumber, Batch),
    /// A connection whose session belongs here.
    Adopt(Box<Adopted>),
    /// A connection from within the process.
    Open(std::os::unix::net::UnixStream),
    /// Tell all Clients that the broker stops, then end.
    Stop,
}

#[derive(Debug)]
pub(crate) struct Adopted {
    transport: Transport,
    rest: BytesMut,
    client: ConnectingClient,
}

/// How others reach a worker.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) sender: Sender<WorkerMessage>,
    pub(crate) waker: Arc<Waker>,
    /// Whether the worker was woken and has not looked yet.
    pub(crate) is_woken: Arc<AtomicBool>,
    /// Items on their way to the worker.
    pub(crate) backlog: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) fn send(&self, message: WorkerMessage) {
        if let WorkerMessage::Batch(_, batch) = &message {
            self.backlog.fetch_add(batch.len(), Ordering::Relaxed);
        }
        // Without a receiver the worker has ended, and the broker is about to.
        if self.sender.send(message).is_ok()
            && !self.is_woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a worker can't be woken");
        }
    }
}

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) number: WorkerNumber,
    pub(crate) core: Core,
    pub(crate) store: Box<dyn Store>,
    pub(crate) poll: Poll,
    pub(crate) acceptors: Vec<Acceptor>,
    pub(crate) inbox: Receiver<WorkerMessage>,
    pub(crate) peers: Vec<Peer>,
    /// The moment that the core's time counts from.
    pub(crate) started_at: Clock,
    /// Connections of the whole broker.
    pub(crate) connections: Arc<AtomicUsize>,
    pub(crate) connections_max: usize,
}

pub(crate) struct Worker {
    parts: WorkerParts,
    sockets: Vec<Option<Box<Socket>>>,
    buffer: BytesMut,
    to_read: ToRead,
    /// Connections from other workers that wait for their place in the turn.
    adopted: Vec<Adopted>,
    /// Connections that were closed, and until when they linger.
    lingering: VecDeque<(Instant, ConnectionKey)>,
    accept_again_at: Option<Instant>,
    keys: Vec<ConnectionKey>,
    stopping: bool,
}

/// Connections that may have something to read.
///
/// A CONNECT may take over a session whose old connection has sent DISCONNECT just before: all
/// that arrived earlier is handled first, so that no Will fires for a Client that said goodbye.
#[derive(Debug, Default)]
struct ToRead {
    /// Those that have a session.
    established: VecDeque<ConnectionKey>,
    /// Those that have not sent CONNECT, or not with success.
    fresh: VecDeque<ConnectionKey>,
}

impl ToRead {
    fn is_empty(&self) -> bool {
        self.established.is_empty() && self.fresh.is_empty()
    }

    /// Lists a connection, once.
    fn list(&mut self, socket: &mut Socket) {
        if !socket.is_listed {
            socket.is_listed = true;
            let list = if socket.is_fresh { &mut self.fresh } else { &mut self.established };
            list.push_back(socket.key);
        }
    }
}

/// Where input lies.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// In the buffer that all connections are read into.
    Buffer,
    /// In memory of the connection's own.
    Rest,
}

/// Names the socket of a connection, and tells it from others that had its place.
fn token(key: ConnectionKey) -> Token {
    Token(key.index())
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> Self {
        Self {
            parts,
            sockets: Vec::new(),
            buffer: BytesMut::new(),
            to_read: ToRead::default(),
            adopted: Vec::new(),
            lingering: VecDeque::new(),
            accept_again_at: None,
            keys: Vec::new(),
            stopping: false,
        }
    }

    fn now(&self) -> Instant {
        let micros = self.parts.started_at.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Runs until the broker stops.
    pub(crate) fn run(mut self) {
        for (at, acceptor) in self.parts.acceptors.iter_mut().enumerate() {
            acceptor.is_ready = true;
            let token = Token(LISTENERS + at);
            let registry = self.parts.poll.registry();
            if let Err(error) = registry.register(&mut acceptor.listener, token, Interest::READABLE)
            {
                tracing::error!(%error, "a listener can't be watched");
            }
        }
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = self.timeout();
            if let Err(error) = self.parts.poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "waiting for events failed");
                return;
            }
            self.turn(&mut events);
            if self.stopping && self.sockets.iter().all(Option::is_none) {
                return;
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.to_read.is_empty() {
            let rest = if self.is_backlogged() { BACKLOG_REST } else { Duration::ZERO };
            return Some(rest);
        }
        let linger = self.lingering.front().map(|(until, _)| *until);
        let deadlines = [self.parts.core.poll_timeout(), linger, self.accept_again_at];
        let next = deadlines.into_iter().flatten().min()?;
        // Rounded up by the poll's own millisecond, a wait never ends just before its deadline.
        Some(next.saturating_since(self.now()))
    }

    /// Whether another worker has so much to take up that this one waits for it.
    fn is_backlogged(&self) -> bool {
        self.parts.peers.iter().any(|peer| peer.backlog.load(Ordering::Relaxed) > BACKLOG_MAX)
    }

    fn turn(&mut self, events: &mut Events) {
        let now = self.now();
        let mut writable = Vec::new();
        self.note(events, &mut writable);
        self.accept(now);
        self.take_messages(now);
        if self.parts.core.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.parts.core.handle_timeout(now);
        }
        self.read_established(now);
        if !self.to_read.fresh.is_empty() || !self.adopted.is_empty() {
            self.read_fresh(now, events, &mut writable);
        }
        self.carry_out(now);
        for key in writable {
            self.write(now, key);
        }
        self.write_touched(now);
        self.end_lingering(now);
    }

    /// Takes note of what has become readable or writable.
    fn note(&mut self, events: &Events, writable: &mut Vec<ConnectionKey>) {
        for event in events {
            match event.token() {
                WAKE => {}
                Token(at) if at >= LISTENERS => {
                    if let Some(acceptor) = self.parts.acceptors.get_mut(at - LISTENERS) {
                        acceptor.is_ready = true;
                    }
                }
                Token(at) => {
                    let Some(Some(socket)) = self.sockets.get_mut(at) else { continue };
                    let is_closed = event.is_read_closed() || event.is_error();
                    if event.is_readable() || is_closed {
                        socket.is_readable = true;
                        socket.is_read_closed |= is_closed;
                        self.to_read.list(socket);
                    }
                    if event.is_writable() && !socket.is_writable {
                        socket.is_writable = true;
                        writable.push(socket.key);
                    }
                }
            }
        }
    }

    // ---- connections in

    fn accept(&mut self, now: Instant) {
        if let Some(again_at) = self.accept_again_at {
            if now < again_at {
                return;
            }
            self.accept_again_at = None;
            self.parts.acceptors.iter_mut().for_each(|acceptor| acceptor.is_ready = true);
        }
        for at in 0..self.parts.acceptors.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.parts.acceptors[at].is_ready || self.stopping {
                    break;
                }
                match self.parts.acceptors[at].listener.accept() {
                    Ok((stream, address)) => {
                        tracing::debug!(%address, "connection accepted");
                        self.open(now, Transport::Tcp(stream));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.parts.acceptors[at].is_ready = false;
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                        ) => {}
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be accepted for a moment");
                        self.accept_again_at = Some(now + ACCEPT_REST);
                        self.parts.acceptors[at].is_ready = false;
                    }
                }
            }
            if self.parts.acceptors[at].is_ready && !self.stopping {
                // The rest comes in the next turn.
                self.accept_again_at = Some(now);
            }
        }
    }

    fn open(&mut self, now: Instant, transport: Transport) {
        if self.parts.connections.fetch_add(1, Ordering::Relaxed) >= self.parts.connections_max {
            self.parts.connections.fetch_sub(1, Ordering::Relaxed);
            tracing::warn!("a connection is closed at once: limits.connections_max is reached");
            return;
        }
        let key = self.parts.core.open(now);
        self.watch(Socket::new(transport, key, BytesMut::new()));
    }

    /// Takes a socket into the loop.
    fn watch(&mut self, mut socket: Socket) {
        let interests = Interest::READABLE | Interest::WRITABLE;
        let key = socket.key;
        let registry = self.parts.poll.registry();
        if let Err(error) = registry.register(&mut socket.transport, token(key), interests) {
            tracing::warn!(%error, "a connection can't be watched");
            self.forget(self.now(), key);
            return;
        }
        if self.sockets.len() <= key.index() {
            self.sockets.resize_with(key.index() + 1, || None);
        }
        self.to_read.list(&mut socket);
        self.sockets[key.index()] = Some(Box::new(socket));
    }

    /// A connection is gone from the loop: the core forgets it, too.
    fn forget(&mut self, now: Instant, key: ConnectionKey) {
        self.parts.core.handle_network_closed(now, key);
        self.parts.core.release(key);
        self.parts.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn take_messages(&mut self, now: Instant) {
        let own = &self.parts.peers[usize::from(self.parts.number.0)];
        // Before the inbox is looked at, so that what comes after wakes again.
        own.is_woken.store(false, Ordering::Release);
        while let Ok(message) = self.parts.inbox.try_recv() {
            match message {
                WorkerMessage::Batch(from, batch) => {
                    let own = &self.parts.peers[usize::from(self.parts.number.0)];
                    own.backlog.fetch_sub(batch.len(), Ordering::Relaxed);
                    self.parts.core.handle_batch(now, from, batch);
                }
                WorkerMessage::Adopt(adopted) => self.adopted.push(*adopted),
                WorkerMessage::Open(stream) => {
                    self.open(now, Transport::Local(UnixStream::from_std(stream)));
                }
                WorkerMessage::Stop => {
                    self.stopping = true;
                    self.parts.core.stop(now);
                }
            }
        }
    }

    // ---- bytes in

    /// Reads each connection with a session once.
    fn read_established(&mut self, now: Instant) {
        if self.is_backlogged() {
            return;
        }
        for _ in 0..self.to_read.established.len() {
            let Some(key) = self.to_read.established.pop_front() else { break };
            self.read_connection(now, key);
        }
    }

    /// Takes up new connections, after all that has arrived on the others by now.
    fn read_fresh(&mut self, now: Instant, events: &mut Events, writable: &mut Vec<ConnectionKey>) {
        if let Err(error) = self.parts.poll.poll(events, Some(Duration::ZERO))
            && error.kind() != ErrorKind::Interrupted
        {
            tracing::error!(%error, "waiting for events failed");
            events.clear();
        }
        let fresh = std::mem::take(&mut self.to_read.fresh);
        self.note(events, writable);
        for _ in 0..READS_BEFORE_FRESH {
            if self.to_read.established.is_empty() || self.is_backlogged() {
                break;
            }
            self.read_established(now);
        }
        for key in fresh {
            self.read_connection(now, key);
        }
        for Adopted { transport, rest, client } in std::mem::take(&mut self.adopted) {
            let key = self.parts.core.adopt(now, client);
            let mut socket = Socket::new(transport, key, rest);
            socket.is_fresh = !self.parts.core.has_session(key);
            self.watch(socket);
        }
    }

    fn read_connection(&mut self, now: Instant, key: ConnectionKey) {
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
        prepare(&mut self.buffer);
        match socket.read(&mut self.buffer, READ_LEN_MAX) {
            Reading::WouldBlock if socket.is_broken => self.drop_socket(now, key),
            Reading::WouldBlock => {}
            Reading::Closed => self.drop_socket(now, key),
            Reading::Bytes(bytes) => {
                self.parts.core.count_received(bytes.len());
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
    fn handle_rest(&mut self, now: Instant, key: ConnectionKey) -> bool {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return false };
        let rest = std::mem::take(&mut socket.rest);
        self.handle_input(now, key, rest, Source::Rest)
    }

    /// Hands input to the core; whether the connection goes on.
    fn handle_input(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        mut input: BytesMut,
        source: Source,
    ) -> bool {
        let state = loop {
            match self.parts.core.handle_input(now, key, &mut input) {
                InputState::Urgent => self.write_urgent(now),
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

    fn read_closing(&mut self, now: Instant, key: ConnectionKey) {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        prepare(&mut self.buffer);
        if socket.discard(&mut self.buffer) {
            self.drop_socket(now, key);
        }
    }

    // ---- effects

    fn carry_out(&mut self, now: Instant) {
        loop {
            self.parts.core.resumed(&mut self.keys);
            while let Some(key) = self.keys.pop() {
                if let Some(socket) = socket_of(&mut self.sockets, key) {
                    socket.is_paused = false;
                    self.to_read.list(socket);
                }
            }
            let Some(output) = self.parts.core.poll_output() else { return };
            match output {
                Output::Close(key) => self.close(now, key),
                Output::Move { connection, worker, client } => {
                    self.move_connection(connection, worker, *client);
                }
                Output::Store { last, records } => {
                    self.parts.store.append(last, records);
                    let upto = self.parts.store.stored_upto();
                    self.parts.core.handle_stored(now, upto);
                }
                Output::Forward { worker, batch } => {
                    let message = WorkerMessage::Batch(self.parts.number, batch);
                    self.parts.peers[usize::from(worker.0)].send(message);
                }
            }
        }
    }

    fn move_connection(
        &mut self,
        key: ConnectionKey,
        worker: WorkerNumber,
        client: ConnectingClient,
    ) {
        self.parts.core.release(key);
        let Some(mut socket) = self.sockets.get_mut(key.index()).and_then(Option::take) else {
            return;
        };
        if let Err(error) = self.parts.poll.registry().deregister(&mut socket.transport) {
            tracing::warn!(%error, "a connection can't be moved to its worker");
            self.parts.connections.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let Socket { transport, rest, .. } = *socket;
        let adopted = Adopted { transport, rest, client };
        self.parts.peers[usize::from(worker.0)].send(WorkerMessage::Adopt(Box::new(adopted)));
    }

    /// The core has ended a connection: its last bytes are written, then its peer may close.
    fn close(&mut self, now: Instant, key: ConnectionKey) {
        if socket_of(&mut self.sockets, key).is_none_or(|socket| socket.is_closing) {
            return;
        }
        self.log_end(key);
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        socket.is_closing = true;
        socket.rest = BytesMut::new();
        self.lingering.push_back((now + LINGER, key));
        self.write(now, key);
    }

    /// Says why a connection ended; loudly when its Client broke the protocol, since an MQTT 3.x
    /// Client can't be told.
    fn log_end(&mut self, key: ConnectionKey) {
        let peer = socket_of(&mut self.sockets, key).map(|socket| socket.transport.peer());
        let peer = peer.unwrap_or_default();
        match self.parts.core.end(key) {
            Some(ConnectionEnd::Violation(violation)) => {
                let statement = violation.statement();
                let cause = causes(violation);
                tracing::warn!(peer, statement, "a client broke the protocol: {cause}");
            }
            Some(end @ ConnectionEnd::Local(reason_code)) if is_refusal(*reason_code) => {
                tracing::warn!(peer, "a client was {end}");
            }
            Some(end) => tracing::debug!(peer, "connection ended: {end}"),
            None => {}
        }
    }

    // ---- bytes out

    fn write_urgent(&mut self, now: Instant) {
        let mut keys = std::mem::take(&mut self.keys);
        self.parts.core.take_urgent(&mut keys);
        for key in keys.drain(..) {
            self.write(now, key);
        }
        self.keys = keys;
    }

    fn write_touched(&mut self, now: Instant) {
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

    fn write(&mut self, now: Instant, key: ConnectionKey) {
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
            Writing::Failed if socket.is_closing || socket.is_paused => {
                self.drop_socket(now, key);
            }
            Writing::Failed => {
                // The peer is gone, and the end of what it sent tells how it went: its Will must
                // not fire if it said DISCONNECT.
                out.advance(out.len());
                socket.is_broken = true;
                socket.is_readable = true;
                self.to_read.list(socket);
                self.parts.core.handle_written(now, key, 0);
            }
        }
    }

    /// All was said: tells the peer so, and waits for it to close.
    fn shut(&mut self, now: Instant, key: ConnectionKey) {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        if socket.is_shut {
            return;
        }
        socket.is_shut = true;
        prepare(&mut self.buffer);
        if socket.transport.shut_down_writing().is_err() || socket.discard(&mut self.buffer) {
            self.drop_socket(now, key);
        }
    }

    fn end_lingering(&mut self, now: Instant) {
        while let Some((until, key)) = self.lingering.front()
            && *until <= now
        {
            let key = *key;
            self.lingering.pop_front();
            self.drop_socket(now, key);
        }
    }

    fn drop_socket(&mut self, now: Instant, key: ConnectionKey) {
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

fn socket_of(sockets: &mut [Option<Box<Socket>>], key: ConnectionKey) -> Option<&mut Socket> {
    sockets.get_mut(key.index())?.as_deref_mut().filter(|socket| socket.key == key)
}

/// Whether a connection was ended for what its Client did or asked for.
const fn is_refusal(reason_code: ReasonCode) -> bool {
    reason_code.is_error()
        && !matches!(reason_code, ReasonCode::SessionTakenOver | ReasonCode::ServerShuttingDown)
}

/// An error with all its causes, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Makes the worker's buffer ready for a read. It is used again and again, since nothing that was
/// read outlives its turn without being copied.
fn prepare(buffer: &mut BytesMut) {
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
