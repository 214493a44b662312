//! A broker's core with Clients and without sockets: what would be read and written is in memory.

use std::time::Duration;

use bytes::BytesMut;
use dunlin_broker::Limits;
use dunlin_broker::core::{
    Batch, ConnectionKey, Core, CoreConfig, Durability, DurabilityRules, InputState, Output,
    QueueHead, RetainedStore, WorkerNumber, owner,
};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{Packet, ProtocolVersion};

use super::packets::append;

/// Bytes that are taken from one Client at once, as a worker reads them.
const READ_LEN_MAX: usize = 64 * 1024;
/// The buffer that all Clients are read into.
const READ_BUFFER_LEN: usize = 512 * 1024;
/// Seeds hashing, and so the worker that owns a Session.
const SEED: u64 = 7;
/// How far the clock moves with each turn.
const TURN: Duration = Duration::from_millis(1);

/// One core and its Clients. The same calls always cost the same: the seed is fixed, and the clock
/// moves with the turns alone.
#[derive(Debug)]
pub struct Bed {
    core: Core,
    worker: WorkerNumber,
    workers: u8,
    now: Instant,
    clients: Vec<Client>,
    /// The Client of each connection, by its index in the core.
    by_connection: Vec<ClientNumber>,
    /// Clients with something to be read.
    to_read: Vec<ClientNumber>,
    /// Clients that were written to.
    to_answer: Vec<ClientNumber>,
    buffer: BytesMut,
    keys: Vec<ConnectionKey>,
    /// On its way to other workers.
    forwarded: Vec<(WorkerNumber, Batch)>,
}

/// A Client of a [`Bed`], in the order of their connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNumber(usize);

impl ClientNumber {
    /// How many of its [`Bed`] connected before it.
    pub const fn index(self) -> usize {
        self.0
    }
}

#[derive(Debug)]
struct Client {
    key: ConnectionKey,
    version: ProtocolVersion,
    /// On its way to the broker.
    sent: Vec<u8>,
    /// Written by the broker, and not looked at.
    received: Vec<u8>,
}

impl Bed {
    /// A core without Clients, whose limits nothing here reaches.
    pub fn new() -> Self {
        Self::with(WorkerNumber(0), 1, RetainedStore::new())
    }

    /// The cores of a broker with so many workers. What each has for another is taken with
    /// [`Bed::take_forwarded`] and brought by [`Bed::handle_batch`].
    pub fn linked(workers: u8) -> Vec<Self> {
        let retained = RetainedStore::new();
        (0..workers)
            .map(|worker| Self::with(WorkerNumber(worker), workers, retained.clone()))
            .collect()
    }

    fn with(worker: WorkerNumber, workers: u8, retained: RetainedStore) -> Self {
        let limits = Limits {
            sys_interval_secs: 0,
            receive_maximum: u16::MAX,
            queue_len_max: 1 << 24,
            queue_bytes_max: 1 << 36,
            sessions_max: 100_000_000,
            connections_max: 100_000_000,
            ..Limits::default()
        };
        let config = CoreConfig {
            worker,
            workers,
            limits: limits.into(),
            seed: SEED,
            retained,
            stores: false,
            login_timeout: None,
            anonymous_may_claim: true,
            rights: None,
            queue_head: QueueHead::default(),
            durability: DurabilityRules::default().into(),
            version: "0.0.0",
        };
        Self {
            core: Core::new(Instant::ZERO, config),
            worker,
            workers,
            now: Instant::ZERO,
            clients: Vec::new(),
            by_connection: Vec::new(),
            to_read: Vec::new(),
            to_answer: Vec::new(),
            buffer: BytesMut::new(),
            keys: Vec::new(),
            forwarded: Vec::new(),
        }
    }

    /// A Client Identifier that begins so, and whose Session this worker owns.
    ///
    /// # Panics
    /// When it would be none.
    pub fn own_identifier(&self, beginning: &str) -> String {
        let candidates = (0..).map(|number: u32| format!("{beginning}-{number}"));
        let is_own = |candidate: &String| {
            let client_identifier = candidate.parse().expect("a Client Identifier");
            owner(&client_identifier, self.workers, SEED) == self.worker
        };
        candidates.into_iter().find(is_own).expect("every worker owns some")
    }

    /// Whether a turn would have something to do.
    pub fn has_work(&self) -> bool {
        !self.to_read.is_empty() || self.core.has_work()
    }

    /// What has come up for other workers since this was last asked.
    pub fn take_forwarded(&mut self) -> Option<(WorkerNumber, Batch)> {
        self.forwarded.pop()
    }

    /// Another worker has something for this one, which handles it now.
    pub fn handle_batch(&mut self, from: WorkerNumber, mut batch: Batch) {
        while !self.core.handle_batch(self.now, from, &mut batch) {
            self.write_urgent();
        }
    }

    /// A Client has connected its socket, and sends packets as `version` writes them.
    pub fn open(&mut self, version: ProtocolVersion) -> ClientNumber {
        let key = self.core.open(self.now, Durability::Memory);
        let client = ClientNumber(self.clients.len());
        self.clients.push(Client { key, version, sent: Vec::new(), received: Vec::new() });
        if self.by_connection.len() <= key.index() {
            self.by_connection.resize(key.index() + 1, client);
        }
        self.by_connection[key.index()] = client;
        client
    }

    /// The connection of the last Client breaks, and is forgotten; its Session stays if it may.
    ///
    /// # Panics
    /// When there is none.
    pub fn close_last(&mut self) {
        let client = self.clients.pop().expect("a Client to be closed");
        self.core.handle_network_closed(self.now, client.key);
        self.carry_out();
    }

    /// A Client sends a packet, which is taken in the next turn.
    pub fn send(&mut self, client: ClientNumber, packet: &Packet) {
        let version = self.clients[client.0].version;
        append(packet, version, self.to_send(client));
    }

    /// Where to put the bytes that a Client sends, which are taken in the next turn.
    pub fn to_send(&mut self, client: ClientNumber) -> &mut Vec<u8> {
        let sent = &mut self.clients[client.0].sent;
        if sent.is_empty() {
            self.to_read.push(client);
        }
        sent
    }

    /// Takes what was written to a Client that is to look at it: whose it is, the version that it
    /// speaks, and the bytes. Give the memory back with [`Bed::give_back`].
    pub fn take_received(&mut self) -> Option<(ClientNumber, ProtocolVersion, Vec<u8>)> {
        let client = self.to_answer.pop()?;
        let of = &mut self.clients[client.0];
        Some((client, of.version, std::mem::take(&mut of.received)))
    }

    /// Memory that was taken, to be used again.
    pub fn give_back(&mut self, client: ClientNumber, mut received: Vec<u8>) {
        received.clear();
        self.clients[client.0].received = received;
    }

    /// Forgets what was written to all Clients, and gives the memory of it back.
    pub fn forget_received(&mut self) {
        while self.take_received().is_some() {}
        for client in &mut self.clients {
            client.sent = Vec::new();
        }
    }

    /// One turn of a worker: reads all that the Clients have sent, handles it, and writes each
    /// connection that has output.
    ///
    /// # Panics
    /// When the core does anything but take whole packets: no load here gives it a reason.
    pub fn turn(&mut self) {
        self.now = self.now + TURN;
        let mut to_read = std::mem::take(&mut self.to_read);
        for client in to_read.drain(..) {
            self.read(client);
        }
        self.to_read = to_read;
        if self.core.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
            self.core.handle_timeout(self.now);
        }
        self.carry_out();
        self.write_urgent();
        loop {
            let mut keys = std::mem::take(&mut self.keys);
            self.core.take_touched(&mut keys);
            if keys.is_empty() {
                self.keys = keys;
                return;
            }
            for key in keys.drain(..) {
                self.write(key);
            }
            self.keys = keys;
            self.carry_out();
        }
    }

    fn read(&mut self, client: ClientNumber) {
        let mut sent = std::mem::take(&mut self.clients[client.0].sent);
        let key = self.clients[client.0].key;
        // As after a read that was cut: what is left of a packet lies in memory of its own.
        let mut rest = BytesMut::new();
        for piece in sent.chunks(READ_LEN_MAX) {
            let mut input = if rest.is_empty() {
                self.fill(piece)
            } else {
                rest.extend_from_slice(piece);
                std::mem::take(&mut rest)
            };
            self.handle(key, &mut input);
            if !input.is_empty() {
                rest = BytesMut::from(&input[..]);
            }
        }
        assert!(rest.is_empty(), "only whole packets are sent");
        sent.clear();
        self.clients[client.0].sent = sent;
    }

    /// What a read of the socket would give.
    fn fill(&mut self, piece: &[u8]) -> BytesMut {
        if self.buffer.len() < READ_LEN_MAX {
            self.buffer.clear();
            self.buffer.reserve(READ_BUFFER_LEN);
            self.buffer.resize(READ_BUFFER_LEN, 0);
        }
        self.buffer[..piece.len()].copy_from_slice(piece);
        self.buffer.split_to(piece.len())
    }

    fn handle(&mut self, key: ConnectionKey, input: &mut BytesMut) {
        loop {
            match self.core.handle_input(self.now, key, input) {
                InputState::Urgent => self.write_urgent(),
                InputState::NeedInput => return,
                state => panic!("input is not taken: {state:?}, {:?}", self.core.end(key)),
            }
        }
    }

    fn write_urgent(&mut self) {
        let mut keys = std::mem::take(&mut self.keys);
        self.core.take_urgent(&mut keys);
        for key in keys.drain(..) {
            self.write(key);
        }
        self.keys = keys;
    }

    /// What a write to the socket would take.
    fn write(&mut self, key: ConnectionKey) {
        let Some(out) = self.core.transmit(key) else { return };
        let client = self.by_connection[key.index()];
        let received = &mut self.clients[client.0].received;
        if received.is_empty() && !out.is_empty() {
            self.to_answer.push(client);
        }
        let mut written = 0;
        while !out.is_empty() {
            let mut pieces = [&[][..]; 16];
            let filled = out.pieces(&mut pieces);
            let before = received.len();
            pieces[..filled].iter().for_each(|piece| received.extend_from_slice(piece));
            let count = received.len() - before;
            out.advance(count);
            written += count;
        }
        self.core.handle_written(self.now, key, written);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Close(_) => {}
                Output::Forward { worker, batch } => self.forwarded.push((worker, batch)),
                output => panic!("not asked without a store and logins: {output:?}"),
            }
        }
    }
}

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}
