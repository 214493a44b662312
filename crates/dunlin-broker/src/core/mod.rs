//! The brain of the broker, without IO: one `Core` for each worker, owner of everything about its
//! sessions and connections.
//!
//! The shell brings bytes, time and batches from other workers, and carries out what the core
//! asks for:
//!
//! ```text
//! recover ─► … ─► finish_recovery, if there is a store, then
//! open ─► handle_input ─► … ─► handle_network_closed ─► release
//!            │ each call may leave work:
//!            ├─ take_urgent / take_touched   connections whose output is to be written
//!            └─ poll_output                  Authenticate, Close, Move, Store, Fetch, Forward, in
//!                                           their order
//! ```
//!
//! The core owns the protocol state of its connections as well: the Quality of Service state of a
//! session has one owner, connected or not, and every change of it can be stored. It reads no
//! clock, draws no random numbers and knows no threads; the same calls give the same effects.

mod away;
mod connect;
mod counters;
mod deadline;
mod decision;
mod drops;
mod durability;
mod endpoints;
mod fetch;
mod forward;
mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
mod given;
mod granted;
mod image;
mod in_turn;
mod inspect;
mod limits;
mod login;
mod names;
mod newcomers;
mod notes;
mod outgoing;
mod pending;
mod pressure;
mod publish;
mod publishers;
mod queue;
mod rates;
mod record;
mod recovery;
mod registry;
mod retained;
mod rights;
mod routing;
mod session;
mod shared;
mod slab;
mod spares;
mod subscribe;
mod supersede;
mod sys;
mod timers;
mod topic_filters;
mod unrecorded;
mod users;
mod workers;

pub use connect::ConnectingClient;
pub use counters::{Counters, DropCause};
pub use durability::{Durability, DurabilityRules};
pub use endpoints::ConnectionKey;
pub use fetch::{Fetch, Fetched};
pub use forward::Batch;
pub use granted::{SessionKey, WorkerNumber};
pub use image::Image;
pub use limits::LimitCause;
pub use login::{Decision, Enhanced, Grant, LateLogin, Login, Stranger};
pub use newcomers::Door;
pub use pressure::{Pressure, PressureLevel};
pub use queue::{QueueHead, QueuePart};
pub use record::{Record, RecordNumber};
pub use retained::RetainedStore;
pub use routing::owner;
pub use users::UserConnections;

pub use dunlin_rights::{Identity, Rules, Subject};
pub use dunlin_topics::GroupName;

use crate::Limits;
use bytes::BytesMut;
use dunlin_protocol::codec::{Disconnect, Limits as PacketLimits, ReasonCode, TransmitBuf};
use dunlin_protocol::{
    ConnectionEnd, Instant, Progress, ServerConfig, ServerConnection, ServerEvent,
};
use endpoints::{ANSWERS_DUE_MAX, Endpoints};
use forward::Outbox;
use hashbrown::HashMap;
use names::TopicNames;
use pending::PendingPublishes;
use recovery::Recovery;
use registry::Registry;
use rights::Rights;
use routing::Routing;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use timers::{Timer, Timers};

/// A connection that received nothing for so long gives back what a burst has left.
const QUIET: Duration = Duration::from_secs(30);

/// What a core must be told when it is made.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Which worker this is.
    pub worker: WorkerNumber,
    /// How many workers there are, 1 to 255.
    pub workers: u8,
    /// The limits of clients, sessions and the whole.
    pub limits: Arc<Limits>,
    /// Seeds hashing and Assigned Client Identifiers; the same for all workers of a broker.
    pub seed: u64,
    /// The retained messages, shared by all workers of a broker.
    pub retained: RetainedStore,
    /// Whether records are made: a store is there that takes them.
    pub stores: bool,
    /// How much of the queue of a session that survives is kept in memory, if there is a store.
    pub queue_head: QueueHead,
    /// How safe what must be, before it is acknowledged.
    pub durability: Arc<DurabilityRules>,
    /// How long the shell may take to say who a Client is ([`Output::Authenticate`]); `None` if
    /// it is not asked, and everybody is let in.
    pub login_timeout: Option<Duration>,
    /// Whether a session that was made while nobody was asked goes to an anonymous Client, too. A
    /// user may otherwise find its session in the hands of a stranger on the day that users begin.
    pub anonymous_may_claim: bool,
    /// What Clients may do; without rules they may do everything. With rules they should be asked
    /// who they are: else all of them are anonymous.
    pub rights: Option<Arc<Rules>>,
    /// What `$SYS/broker/version` says.
    pub version: &'static str,
}

/// What the core asks the shell to do.
#[derive(Debug)]
pub enum Output {
    /// Write what the connection still has to say, then close its socket and release it.
    Close(ConnectionKey),
    /// Find out who a Client is, and tell by [`Core::handle_decision`]; nothing of it is taken
    /// meanwhile.
    Authenticate {
        /// Its connection.
        connection: ConnectionKey,
        /// The number of the question, for the answer.
        exchange: u32,
        /// What the Client says about itself.
        login: Box<Login>,
    },
    /// The connection belongs to a session of another worker: hand its socket, what was read of
    /// it, and this to that worker, and release it here.
    Move {
        /// The connection here.
        connection: ConnectionKey,
        /// Where it belongs.
        worker: WorkerNumber,
        /// What the other worker's [`Core::adopt`] takes.
        client: Box<ConnectingClient>,
    },
    /// Store these records, the last of which has this number, and tell by
    /// [`Core::handle_stored`] how safe they are.
    Store {
        /// The number of the last record.
        last: RecordNumber,
        /// The records, in their order.
        records: Vec<Record>,
        /// How safe they must become before something goes on that waits for them. They are handed
        /// to the operating system in any case.
        durability: Durability,
    },
    /// Read what a queue goes on with from the store, and give it to [`Core::handle_fetched`].
    Fetch(Fetch),
    /// Hand this batch to another worker's [`Core::handle_batch`].
    Forward {
        /// Which worker.
        worker: WorkerNumber,
        /// What it gets.
        batch: Batch,
    },
}

/// Where the taking of input stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputState {
    /// All whole packets were taken.
    NeedInput,
    /// Outputs have grown: write [`Core::take_urgent`], look at memory if [`Core::wants_look`], then
    /// call again with the same input.
    Urgent,
    /// Nothing is taken from this connection for now: keep the input, read no more, and call
    /// again when [`Core::resumed`] names the connection.
    Paused,
    /// The connection is over; the rest of the input is void.
    Closed,
}

/// The brain of one worker.
#[derive(Debug)]
pub struct Core {
    worker: WorkerNumber,
    seed: u64,
    version: &'static str,
    started_at: Instant,
    server_config: Arc<ServerConfig>,
    endpoints: Endpoints,
    registry: Registry,
    routing: Routing,
    names: TopicNames,
    timers: Timers,
    pending: PendingPublishes,
    outbox: Outbox,
    outputs: VecDeque<Output>,
    resumed: Vec<ConnectionKey>,
    interest: workers::InterestState,
    sys: sys::Sys,
    recovery: Recovery,
    assigned: u64,
    /// How many messages were under way to other workers. See `Record::Underway`.
    underway: u64,
    durability: Arc<DurabilityRules>,
    login_timeout: Option<Duration>,
    anonymous_may_claim: bool,
    /// The number that the last question for a Client's identity had.
    last_exchange: u32,
    rates: rates::Rates,
    pressure: pressure::UnderPressure,
    users: UserConnections,
    /// Connections that are refused when their CONNECT comes, and why.
    refusals: HashMap<ConnectionKey, ReasonCode>,
    stopping: bool,
}

impl Core {
    /// A core without sessions.
    pub fn new(now: Instant, config: CoreConfig) -> Self {
        let limits = config.limits;
        let server_config = ServerConfig {
            connect_timeout: Duration::from_secs(u64::from(limits.connect_timeout_secs)),
            packet_size_max: limits.packet_size_max,
            connect_packet_size_max: limits.connect_packet_size_max.min(limits.packet_size_max),
            partial_rate_min: limits.partial_rate_min,
            packet_limits: PacketLimits {
                topic_name_len_max: limits.topic_len_max,
                user_properties_max: limits.user_properties_max,
                user_property_bytes_max: limits.user_property_bytes_max,
            },
            receive_maximum: limits.receive_maximum,
            send_in_flight_max: limits.send_in_flight_max,
            topic_alias_maximum: limits.topic_alias_maximum,
            topic_alias_outbound_max: limits.topic_alias_outbound_max,
            keep_alive_max_secs: limits.keep_alive_max_secs,
        };
        let mut core = Self {
            worker: config.worker,
            seed: config.seed,
            version: config.version,
            started_at: now,
            server_config: Arc::new(server_config),
            endpoints: Endpoints::new(
                limits,
                config.queue_head,
                config.retained,
                config.rights.map(|rules| Box::new(Rights::new(rules))),
                config.stores,
            ),
            durability: config.durability,
            login_timeout: config.login_timeout,
            anonymous_may_claim: config.anonymous_may_claim,
            last_exchange: 0,
            registry: Registry::new(config.seed),
            routing: Routing::new(config.seed),
            names: TopicNames::new(config.seed),
            timers: Timers::default(),
            pending: PendingPublishes::default(),
            outbox: Outbox::new(usize::from(config.workers.max(1))),
            outputs: VecDeque::new(),
            resumed: Vec::new(),
            interest: workers::InterestState::new(usize::from(config.workers.max(1))),
            sys: sys::Sys::new(usize::from(config.workers.max(1))),
            recovery: Recovery::default(),
            assigned: 0,
            underway: 0,
            rates: rates::Rates::new(config.seed),
            pressure: pressure::UnderPressure::default(),
            users: UserConnections::default(),
            refusals: HashMap::new(),
            stopping: false,
        };
        core.start_sys(now);
        core
    }

    /// A Network Connection was accepted, by a listener whose Clients are to rely on so much.
    pub fn open(&mut self, now: Instant, durability: Durability) -> ConnectionKey {
        self.endpoints.counters.connections_opened += 1;
        self.endpoints.grown += pressure::CONNECTION_LEN;
        let protocol = ServerConnection::new(now, self.server_config.clone());
        let key = self.endpoints.open(now, protocol, durability);
        self.watch(now, key);
        key
    }

    /// As [`Core::open`], for a connection that is one too many: its CONNECT is refused with this
    /// Reason Code.
    pub fn open_refused(
        &mut self,
        now: Instant,
        durability: Durability,
        reason_code: ReasonCode,
    ) -> ConnectionKey {
        let key = self.open(now, durability);
        self.refusals.insert(key, reason_code);
        key
    }

    /// Takes packets off the input until there is no whole one, or something must happen first.
    pub fn handle_input(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        input: &mut BytesMut,
    ) -> InputState {
        let output_bytes_max = self.endpoints.limits.output_bytes_max;
        loop {
            let Some(connection) = self.endpoints.connection(key) else {
                return InputState::Closed;
            };
            if connection.held || connection.rests {
                return InputState::Paused;
            }
            let out_len = connection.out.len();
            if out_len >= output_bytes_max && !connection.is_gone {
                // A Client that sends and doesn't read its answers waits for itself.
                self.count_limit(LimitCause::OutputBytes, 1);
                self.endpoints.stall(key);
                return InputState::Paused;
            }
            if connection.answers_due >= ANSWERS_DUE_MAX {
                self.endpoints.stall(key);
                return InputState::Paused;
            }
            let progress = connection.protocol.handle_input(now, input, &mut connection.out);
            let waits_for_us = connection.protocol.waits_for_owner();
            if connection.out.len() != out_len {
                self.endpoints.touch(key.index);
            }
            match progress {
                Progress::NeedInput if waits_for_us => {
                    // So many acknowledgements are owed that nothing more is taken.
                    if self.stall_owing(key) {
                        return InputState::Paused;
                    }
                    continue;
                }
                Progress::NeedInput => {
                    self.count_unfinished(key, input.len());
                    return InputState::NeedInput;
                }
                Progress::Packet => {
                    self.endpoints.counters.packets_received += 1;
                    self.forget_unfinished(key);
                }
                Progress::Event(event) => {
                    self.endpoints.counters.packets_received += 1;
                    // It may have been whole with the last bytes alone, and what follows may wait.
                    self.forget_unfinished(key);
                    self.handle_event(now, key, event);
                }
                Progress::Closed => {
                    self.count_end(key);
                    self.detach(now, key);
                    self.close(key);
                    return InputState::Closed;
                }
            }
            if self.endpoints.has_urgent() || self.wants_look() {
                return InputState::Urgent;
            }
        }
    }

    fn handle_event(&mut self, now: Instant, key: ConnectionKey, event: ServerEvent) {
        if let ServerEvent::Connect(connect) = event {
            self.handle_connect(now, key, *connect);
            return;
        }
        if let ServerEvent::Auth(auth) = event {
            self.handle_auth(now, key, *auth);
            return;
        }
        let Some(session) = self.endpoints.connection(key).and_then(|found| found.session) else {
            return;
        };
        // By reference: an event is large, and moving it would take longer than looking at it.
        match &event {
            ServerEvent::Publish(publish) => self.handle_publish(now, key, session, publish),
            ServerEvent::Acknowledged(acknowledged) => {
                self.endpoints.acknowledged(now, session, acknowledged);
            }
            ServerEvent::Received(packet_identifier) => {
                self.handle_received(now, key, session, *packet_identifier);
            }
            ServerEvent::Connect(_) | ServerEvent::Auth(_) => {}
            ServerEvent::Released(ack) => self.handle_released(now, key, session, *ack),
            ServerEvent::Subscribe(subscribe) => {
                self.handle_subscribe(now, key, session, subscribe);
            }
            ServerEvent::Unsubscribe(unsubscribe) => {
                self.handle_unsubscribe(now, key, session, unsubscribe);
            }
            ServerEvent::Disconnect(disconnect) => {
                self.handle_disconnect(session, disconnect);
            }
        }
    }

    /// The Network Connection is gone, without or after a DISCONNECT; the connection is released.
    pub fn handle_network_closed(&mut self, now: Instant, key: ConnectionKey) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.protocol.handle_network_closed();
            self.detach(now, key);
            self.release(key);
        }
    }

    /// The socket of a connection is closed, or was handed over: its place is free again.
    pub fn release(&mut self, key: ConnectionKey) {
        self.rates.forget(key);
        self.take_refusal(key);
        self.pressure.forget(key);
        self.endpoints.release(key);
    }

    /// Whether the Client of a connection was accepted, and the connection is not over.
    pub fn has_session(&mut self, key: ConnectionKey) -> bool {
        let is_accepted = |connection: &mut endpoints::Connection| {
            connection.session.is_some() && !connection.waits
        };
        self.endpoints.connection(key).is_some_and(is_accepted)
    }

    /// Why a connection is over; `None` while it is not.
    pub fn end(&mut self, key: ConnectionKey) -> Option<&ConnectionEnd> {
        self.endpoints.connection(key)?.protocol.end()
    }

    /// What the connection has to write.
    pub fn transmit(&mut self, key: ConnectionKey) -> Option<&mut TransmitBuf> {
        self.endpoints.connection(key).map(|connection| &mut connection.out)
    }

    /// So many bytes of a connection's output were written.
    pub fn handle_written(&mut self, now: Instant, key: ConnectionKey, bytes: usize) {
        if self.endpoints.written(now, key, bytes) {
            self.resume(now, key);
        }
        self.endpoints.reclaim(key);
    }

    /// A connection is read again: its Client may be silent for so long from now on.
    fn resume(&mut self, now: Instant, key: ConnectionKey) {
        self.resumed.push(key);
        self.watch(now, key);
    }

    /// So many bytes were read; for the counters.
    pub fn count_received(&mut self, bytes: usize) {
        self.endpoints.counters.bytes_received += bytes as u64;
    }

    /// Moves the connections whose output must be written at once to `keys`.
    pub fn take_urgent(&mut self, keys: &mut Vec<ConnectionKey>) {
        self.endpoints.take_urgent(keys);
    }

    /// Moves the connections whose output is to be written at the end of the turn to `keys`.
    pub fn take_touched(&mut self, keys: &mut Vec<ConnectionKey>) {
        self.endpoints.take_touched(keys);
    }

    /// Moves the connections that were paused, and go on, to `keys`.
    pub fn resumed(&mut self, keys: &mut Vec<ConnectionKey>) {
        keys.append(&mut self.resumed);
    }

    /// Whether anything is left to be written, carried out or resumed: a turn that ends with it
    /// must be followed by another at once.
    pub fn has_work(&self) -> bool {
        self.endpoints.has_work()
            || !self.outputs.is_empty()
            || !self.resumed.is_empty()
            || !self.outbox.is_empty()
    }

    /// The peer has closed its side while nothing was taken of its input: the rest of it, which may
    /// end with a DISCONNECT, is taken now, or as soon as what is on its way to other workers or
    /// the store is known. Publishes that wait for room, and those after them, count as never
    /// received: their Client has no acknowledgement and sends them again.
    pub fn handle_peer_gone(&mut self, now: Instant, key: ConnectionKey) {
        let held = self.pending.held.remove(&key);
        self.tell_publisher_gone(key);
        self.leave_unread(now, key);
        let Some(connection) = self.endpoints.connection(key) else { return };
        connection.is_gone = true;
        connection.held = false;
        connection.stalled = false;
        // Without held publishes nothing has changed, and nothing is to be written: what the input
        // waits for will name the connection in `resumed`.
        let Some(held) = held else { return };
        connection.forgoes = true;
        for held in held.iter() {
            connection.protocol.forgo(now, held.ack, &mut connection.out);
        }
        self.endpoints.touch(key.index);
    }

    /// The next thing to do, in its order; to be drained before the turn ends.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if !self.endpoints.records.is_empty() {
            let records = std::mem::take(&mut self.endpoints.records);
            let last = self.endpoints.last_record;
            let durability = std::mem::replace(&mut self.endpoints.wanted, Durability::Memory);
            return Some(Output::Store { last, records, durability });
        }
        if let Some(fetch) = self.endpoints.fetches.pop_front() {
            return Some(Output::Fetch(fetch));
        }
        let (worker, batch) = self.outbox.take()?;
        Some(Output::Forward { worker, batch })
    }

    /// All records up to this one are so safe now.
    pub fn handle_stored(&mut self, now: Instant, durability: Durability, upto: RecordNumber) {
        self.finish_stored(now, durability, upto);
    }

    /// The store has what [`Output::Fetch`] asked for; each is answered once.
    pub fn handle_fetched(&mut self, now: Instant, fetched: Fetched) {
        self.endpoints.take_fetched(now, fetched);
    }

    /// Whether the store takes more, as [`Core::new`] assumes at first. While it does not, what
    /// would have to be stored is not taken: a message is refused, or waits if its MQTT 3.x
    /// publisher can't be told, and a Client whose session is to survive is turned away.
    pub fn handle_store_ready(&mut self, is_ready: bool) {
        self.endpoints.store_is_ready = is_ready;
        if is_ready {
            self.record_unrecorded();
        }
    }

    /// The earliest moment at which [`Core::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Acts on all deadlines that have passed; early and spurious calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        for timer in self.timers.due(now) {
            match timer {
                Timer::Connection(key) => self.check_connection(now, key),
                Timer::Session { session, generation } => {
                    self.check_session(now, session, generation);
                }
                Timer::Held(key) => self.retry_held(now, key),
                Timer::HeldForward(from, key) => self.retry_forwarded(now, from, key),
                Timer::Rest(key, until) => self.end_rest(now, key, until),
                Timer::Login(key) => self.check_login(now, key),
                Timer::Pressure => self.check_pressure(now),
                Timer::Sys => self.publish_sys(now),
            }
        }
    }

    /// Sets the timer of a connection: for its next deadline, or to see whether it is quiet.
    fn watch(&mut self, now: Instant, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        let quiet_check = now + QUIET;
        // While its input waits for acknowledgements it has no deadline. The one that comes after
        // that is no earlier than this.
        let without = || connection.protocol.silence_max().map(|silence_max| now + silence_max);
        let deadline = connection.deadline().or_else(without).unwrap_or(quiet_check);
        // A deadline that has passed is one of a connection that is held: it is seen to again when
        // that goes on.
        let at = if deadline > now { deadline.min(quiet_check) } else { quiet_check };
        self.timers.watch(now, at, &mut connection.timer_at, Timer::Connection(key));
    }

    fn check_connection(&mut self, now: Instant, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        if !Timers::fires(now, &mut connection.timer_at) {
            return;
        }
        // A connection that is not read can't be blamed for its silence.
        let is_due = connection.deadline().is_some_and(|deadline| deadline <= now);
        if is_due && !connection.held && !connection.stalled && !connection.rests {
            connection.protocol.handle_timeout(now, &mut connection.out);
            if connection.protocol.end().is_some() {
                self.endpoints.touch(key.index);
                self.count_end(key);
                self.detach(now, key);
                self.close(key);
                return;
            }
        }
        if now.saturating_since(connection.protocol.last_received()) >= QUIET {
            connection.protocol.shrink();
            self.rates.shrink(now, key);
        }
        self.watch(now, key);
    }

    /// A packet that the Client's Maximum Packet Size has no room for ends a connection from
    /// within: its session is away then, and the shell closes it.
    fn close_if_over(&mut self, now: Instant, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        if connection.protocol.end().is_some() && connection.session.is_some() {
            self.detach(now, key);
            self.close(key);
        }
    }

    /// A connection is over: its last packets are written, and its socket is closed.
    #[cold]
    fn close(&mut self, key: ConnectionKey) {
        self.endpoints.newcomer_leaves(key);
        self.outputs.push_back(Output::Close(key));
    }

    /// Ends a connection from this side.
    fn disconnect(&mut self, now: Instant, key: ConnectionKey, reason_code: ReasonCode) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        if connection.protocol.end().is_none() {
            self.endpoints.touch(key.index);
            let Some(connection) = self.endpoints.connection(key) else { return };
            connection.protocol.disconnect(now, &Disconnect::new(reason_code), &mut connection.out);
            self.detach(now, key);
            self.close(key);
        }
    }

    /// The broker stops: all Clients are told so (0x8B, Server shutting down), Wills are kept.
    pub fn stop(&mut self, now: Instant) {
        self.stopping = true;
        let indices: Vec<u32> = self.endpoints.connections.indices().collect();
        for index in indices {
            let key = self.endpoints.key_of(index);
            self.disconnect(now, key, ReasonCode::ServerShuttingDown);
        }
    }

    /// Counts what a start has found to be lost of what was stored, whoever it was for.
    pub fn count_damaged(&mut self, count: u64) {
        self.endpoints.counters.drop_many(DropCause::Damaged, count);
    }

    /// The counters of this worker.
    pub fn counters(&self) -> Counters {
        let mut counters = self.endpoints.counters.clone();
        counters.sessions = self.endpoints.sessions.len() as u64;
        counters
    }
}

#[cfg(test)]
mod tests;
