//! A worker: one thread, one event loop, its share of the connections, and its core.
//!
//! A turn reads what is ready from every ready socket, handles all of it, then writes each touched
//! connection once. How many messages go into one system call decides the throughput.

mod input;
mod intake;
mod lag;
mod login;
mod output;
mod peer;

pub(crate) use peer::{Opened, Peer, WorkerMessage};

use crate::admission::Admission;
use crate::auth::Authentication;
use crate::core::{
    ConnectingClient, ConnectionKey, Core, Durability, Output, RecordNumber, WorkerNumber,
};
use crate::log_rate::{Cause, LogRates};
use crate::net::{Acceptor, Foreign, Socket};
use crate::pressure::Gauge;
use crate::store::Store;
use bytes::BytesMut;
use dunlin_protocol::codec::ReasonCode;
use dunlin_protocol::{ConnectionEnd, Instant};
use input::{DEAR_TIME, ToRead};
use lag::Lag;
use mio::{Events, Interest, Poll, Token};
use peer::Adopted;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant as Clock};

/// Items that may wait for another worker before this one reads no more.
const BACKLOG_MAX: usize = 64 * 1024;
/// How soon a worker that waits for another one looks again.
const BACKLOG_REST: Duration = Duration::from_millis(1);

/// How long a closed connection waits for its peer to close too, so that the last packet is not
/// lost to a reset.
const LINGER: Duration = Duration::from_secs(1);

/// How many pages of queues a turn takes: as long as it lasts, what they come to is in memory.
const FETCHED_PER_TURN: usize = 64;

/// What a store reports: what is written, and what is synced.
const STORED: [Durability; 2] = [Durability::Written, Durability::Fsync];

const WAKE: Token = Token(usize::MAX);
/// Tokens from here on, down from the top, are listeners.
const LISTENERS: usize = usize::MAX - 1024;

/// What a worker is made of.
pub(crate) struct WorkerParts {
    pub(crate) number: WorkerNumber,
    pub(crate) core: Core,
    /// Where records go; without one none are made.
    pub(crate) store: Option<Box<dyn Store>>,
    pub(crate) poll: Poll,
    pub(crate) acceptors: Vec<Acceptor>,
    pub(crate) inbox: Receiver<WorkerMessage>,
    pub(crate) peers: Vec<Peer>,
    /// The moment at which the broker started, by the clock and in the core's time.
    pub(crate) started_at: (Clock, Instant),
    /// Who finds out who Clients are, if anybody does.
    pub(crate) authentication: Option<Authentication>,
    /// The names of the listeners, if rules or a back end may ask for them.
    pub(crate) listeners: Option<Arc<[Arc<str>]>>,
    /// The URLs of all listeners, for the log.
    pub(crate) urls: Arc<[Arc<str>]>,
    /// How long a turn may take.
    pub(crate) lag_max: Duration,
    /// Who may come in, for the whole broker.
    pub(crate) admission: Arc<Admission>,
    /// Looks at memory when much was taken up, if that has a limit.
    pub(crate) gauge: Option<Gauge>,
}

pub(crate) struct Worker {
    parts: WorkerParts,
    sockets: Vec<Option<Box<Socket>>>,
    buffer: BytesMut,
    /// Bytes read since outputs were written.
    unwritten_input: usize,
    to_read: ToRead,
    /// Connections from other workers that wait for their place in the turn.
    adopted: Vec<Adopted>,
    /// Connections that were closed, and until when they linger.
    lingering: VecDeque<(Instant, ConnectionKey)>,
    accept_again_at: Option<Instant>,
    keys: Vec<ConnectionKey>,
    stopping: bool,
    lag: Lag,
    /// How far the core knows that records are written, and synced.
    stored_upto: [RecordNumber; 2],
    /// Whether the core knows the store to take more.
    store_is_ready: bool,
    /// The store may have read back more than a turn has taken.
    has_fetched: bool,
    told: LogRates,
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
            unwritten_input: 0,
            to_read: ToRead::default(),
            adopted: Vec::new(),
            lingering: VecDeque::new(),
            accept_again_at: None,
            keys: Vec::new(),
            stopping: false,
            lag: Lag::default(),
            stored_upto: [RecordNumber::default(); 2],
            store_is_ready: true,
            told: LogRates::default(),
            has_fetched: false,
        }
    }

    fn now(&self) -> Instant {
        let (clock, instant) = self.parts.started_at;
        instant + clock.elapsed()
    }

    /// Runs until the broker stops.
    pub(crate) fn run(mut self) {
        for (at, acceptor) in self.parts.acceptors.iter_mut().enumerate() {
            acceptor.is_ready = true;
            let token = Token(LISTENERS + at);
            let registry = self.parts.poll.registry();
            if let Err(error) =
                registry.register(acceptor.listener.as_source(), token, Interest::READABLE)
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
        if self.has_work() {
            return Some(Duration::ZERO);
        }
        if !self.to_read.is_empty() || !self.adopted.is_empty() {
            let rest = if self.is_backlogged() { BACKLOG_REST } else { Duration::ZERO };
            return Some(rest);
        }
        let linger = self.lingering.front().map(|(until, _)| *until);
        let deadlines = [self.parts.core.poll_timeout(), linger, self.accept_again_at];
        let next = deadlines.into_iter().flatten().min()?;
        // Rounded up by the poll's own millisecond, a wait never ends just before its deadline.
        Some(next.saturating_since(self.now()))
    }

    /// Whether a turn would have something to do that no event tells of: a worker never sleeps
    /// with it.
    fn has_work(&self) -> bool {
        let own = &self.parts.peers[usize::from(self.parts.number.0)];
        let can_accept = self.accept_again_at.is_none() && !self.stopping;
        own.waker.is_woken.load(Ordering::Acquire)
            || self.has_store_news()
            || self.has_fetched
            || self.parts.core.has_work()
            || (can_accept && self.parts.acceptors.iter().any(|acceptor| acceptor.is_ready))
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
        self.learn_stored(now);
        self.take_fetched(now);
        self.read_established(now);
        self.read_leaving(now);
        if self.to_read.has_fresh() || !self.adopted.is_empty() {
            self.read_fresh(now, events, &mut writable);
        }
        self.read_dear(now, DEAR_TIME);
        self.look_at_memory(now);
        // After reading, so that nobody is blamed for silence whose packets were there.
        if self.parts.core.poll_timeout().is_some_and(|deadline| deadline <= now)
            && !self.is_backlogged()
        {
            for key in self.to_read.held_back() {
                self.parts.core.excuse(now, key);
            }
            self.parts.core.handle_timeout(now);
        }
        for key in writable {
            self.write(now, key);
        }
        self.carry_out(now);
        self.write_touched(now);
        self.end_lingering(now);
        let is_behind = self.lag.note(now, self.now(), self.parts.lag_max);
        self.parts.core.handle_lag(is_behind);
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
                        // A peer that is gone is read to its end, whatever it waited for.
                        socket.is_paused &= !is_closed;
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
                Output::Authenticate { connection, exchange, login } => {
                    self.authenticate(now, connection, exchange, login);
                }
                Output::Move { connection, worker, client } => {
                    self.move_connection(connection, worker, *client);
                }
                Output::Store { last, records, durability } => {
                    if let Some(store) = &mut self.parts.store {
                        store.append(last, records, durability);
                    }
                    self.learn_stored(now);
                }
                Output::Fetch(fetch) => {
                    if let Some(store) = &mut self.parts.store {
                        store.fetch(fetch);
                    }
                }
                Output::Forward { worker, batch } => {
                    let message = WorkerMessage::Batch(self.parts.number, batch);
                    self.parts.peers[usize::from(worker.0)].send(message);
                }
            }
        }
    }

    /// How far the store is with records, when it is further than the core knows.
    fn newly_stored(&self, at: usize) -> Option<(Durability, RecordNumber)> {
        let durability = STORED[at];
        let upto = self.parts.store.as_ref()?.stored_upto(durability);
        (upto > self.stored_upto[at]).then_some((durability, upto))
    }

    /// Whether the store has changed in a way that the core does not know.
    fn has_store_news(&self) -> bool {
        let Some(store) = &self.parts.store else { return false };
        store.is_ready() != self.store_is_ready
            || (0..STORED.len()).any(|at| self.newly_stored(at).is_some())
    }

    /// Gives the core what the store has read back, as much of it as should be written in a turn.
    fn take_fetched(&mut self, now: Instant) {
        let Some(store) = &mut self.parts.store else { return };
        self.has_fetched = false;
        for taken in 1..=FETCHED_PER_TURN {
            let Some(fetched) = store.take_fetched() else { return };
            self.has_fetched = taken == FETCHED_PER_TURN;
            if fetched.damaged > 0 {
                tracing::error!(damaged = fetched.damaged, "the store has lost queued messages");
            }
            self.parts.core.handle_fetched(now, fetched);
        }
    }

    fn learn_stored(&mut self, now: Instant) {
        let Some(store) = &mut self.parts.store else { return };
        if store.is_ready() != self.store_is_ready {
            self.store_is_ready = !self.store_is_ready;
            self.parts.core.handle_store_ready(self.store_is_ready);
        }
        for at in 0..STORED.len() {
            if let Some((durability, upto)) = self.newly_stored(at) {
                self.stored_upto[at] = upto;
                self.parts.core.handle_stored(now, durability, upto);
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
        if socket_of(&mut self.sockets, key).is_none() {
            return;
        }
        let Some(mut socket) = self.sockets.get_mut(key.index()).and_then(Option::take) else {
            return;
        };
        if let Err(error) = self.parts.poll.registry().deregister(&mut socket.transport) {
            tracing::warn!(%error, "a connection can't be moved to its worker");
            self.parts.admission.leave();
            return;
        }
        let Socket { transport, permit, rest, listener, .. } = *socket;
        let adopted = Adopted { transport, permit, rest, listener, client };
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
        socket.login = None;
        socket.rest = BytesMut::new();
        self.lingering.push_back((now + LINGER, key));
        self.write(now, key);
    }

    /// Says who came to a listener that is not for it.
    fn tell_foreign(&mut self, key: ConnectionKey, foreign: Foreign) {
        let Some(socket) = socket_of(&mut self.sockets, key) else { return };
        let admitted = self.told.admit(Clock::now(), Cause::Foreign(foreign));
        let Some(unsaid) = admitted else { return };
        let listener = self.parts.urls.get(usize::from(socket.listener)).map(|url| &**url);
        let peer = socket.transport.peer();
        tracing::warn!(peer, listener, unsaid, "{foreign}");
    }

    /// Says why a connection ended; loudly when its Client broke the protocol, since an MQTT 3.x
    /// Client can't be told, but not any number of times.
    fn log_end(&mut self, key: ConnectionKey) {
        let socket = socket_of(&mut self.sockets, key);
        let Some(socket) = socket else { return };
        let (is_refused, foreign) = (socket.is_refused, socket.foreign);
        let peer = socket.transport.peer();
        if self.tell_turned_away(key, &peer) {
            return;
        }
        match self.parts.core.end(key) {
            Some(ConnectionEnd::Violation(_)) if let Some(foreign) = foreign => {
                self.tell_foreign(key, foreign);
            }
            Some(ConnectionEnd::Violation(violation)) => {
                let statement = violation.statement();
                let admitted = self.told.admit(Clock::now(), Cause::Statement(statement));
                let Some(unsaid) = admitted else { return };
                let cause = causes(violation);
                tracing::warn!(peer, statement, unsaid, "a client broke the protocol: {cause}");
            }
            Some(ConnectionEnd::Local(_)) if is_refused => {
                tracing::debug!(peer, "connection ended: the login was refused");
            }
            Some(end @ ConnectionEnd::Local(reason_code)) if is_refusal(*reason_code) => {
                let admitted = self.told.admit(Clock::now(), Cause::Ended(*reason_code));
                let Some(unsaid) = admitted else { return };
                tracing::warn!(peer, unsaid, "a client was {end}");
            }
            Some(end) => tracing::debug!(peer, "connection ended: {end}"),
            None => {}
        }
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
