//! A broker without threads or sockets: workers that are stepped by hand or in a seeded order,
//! and links that carry bytes between them and scripted Clients.

use super::packets::{Packets, bytes_of};
use crate::Limits;
use crate::core::{
    Batch, ConnectingClient, ConnectionKey, Core, CoreConfig, Counters, Decision, Durability,
    DurabilityRules, Fetched, Image, InputState, Login, Output, QueueHead, QueuePart, Record,
    RecordNumber, RetainedStore, Rules, WorkerNumber, owner,
};
use bytes::BytesMut;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{
    Connect, Decoder, Packet, PacketType, ProtocolVersion, Publish, ReasonCode,
};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(super) const SEED: u64 = 7;
/// So little of a queue is in memory that ordinary ones have their end in the store.
const SMALL_HEAD: QueueHead = QueueHead {
    away: QueuePart { len: 2, bytes: 1024 },
    connected: QueuePart { len: 3, bytes: 64 * 1024 },
};

/// One end of a connection, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Link(pub(super) usize);

/// What waits for a worker.
enum Mail {
    Batch(WorkerNumber, Batch),
    Adopt(usize, Box<ConnectingClient>),
}

/// The state of one link.
struct Wire {
    worker: usize,
    /// The connection at its worker; `None` while it moves and once it is closed.
    key: Option<ConnectionKey>,
    version: ProtocolVersion,
    /// On its way to the broker.
    input: BytesMut,
    /// Written by the broker and not yet looked at.
    output: BytesMut,
    /// The broker takes nothing until it says so.
    paused: bool,
    /// The Client doesn't read: the broker can write nothing.
    blocked: bool,
    /// The broker has ended the connection.
    closing: bool,
}

/// A worker with what is around it.
struct Station {
    core: Core,
    inbox: VecDeque<Mail>,
    /// The last record that was handed over and is not yet stored, and how long the log is with it.
    unstored: Option<(RecordNumber, usize)>,
    links: HashMap<ConnectionKey, usize>,
    records: Vec<Record>,
}

/// A Client of which a worker wants to know who it is.
pub(super) struct Asked {
    worker: usize,
    pub(super) key: ConnectionKey,
    pub(super) exchange: u32,
    pub(super) login: Box<Login>,
}

/// Workers, links and the time that they share.
pub(super) struct Broker {
    pub(super) now: Instant,
    limits: Arc<Limits>,
    stores: bool,
    stations: Vec<Station>,
    wires: Vec<Wire>,
    /// What the workers have handed over, in the order in which they did.
    log: Vec<Vec<Record>>,
    /// What the log adds up to.
    image: Image,
    /// What was fetched, as it was when it was asked for, and by which worker.
    fetched: VecDeque<(usize, Fetched)>,
    /// Whether it is given at once.
    pub(super) fetches_at_once: bool,
    /// Longer queues are told of by one record when the process comes back, if by one at all.
    pub(super) tail_from: Option<usize>,
    pub(super) queue_head: QueueHead,
    /// How much of the log some worker knows to be stored.
    stored_len: usize,
    /// Whether what is sent is handled at once, by everybody.
    pub(super) prompt: bool,
    /// Whether records are stored as soon as they are handed over.
    pub(super) stores_at_once: bool,
    pub(super) retained: RetainedStore,
    /// What each Topic Name's acknowledgement means, if not what the listener says.
    rules: Arc<DurabilityRules>,
    /// What the listener of the next connection says.
    pub(super) durability: Durability,
    /// How safe records must become, as the workers said when they handed them over.
    pub(super) asked: Vec<Durability>,
    /// Which worker takes the next connection.
    pub(super) accepting: usize,
    /// How long it may take until it is known who a Client is, if anybody asks.
    login_timeout: Option<Duration>,
    /// Whether a session of nobody goes to anonymous Clients.
    pub(super) anonymous_may_claim: bool,
    /// What Clients may do, if somebody says so.
    rights: Option<Arc<Rules>>,
    /// Who is to be decided about.
    pub(super) asked_who: VecDeque<Asked>,
    /// How often memory was to be looked at.
    pub(super) looks: usize,
}

impl Broker {
    /// One worker without a store.
    pub(super) fn new() -> Self {
        Self::with(1, Limits { sys_interval_secs: 0, ..Limits::default() })
    }

    pub(super) fn with(workers: u8, limits: Limits) -> Self {
        Self::build(workers, limits, false)
    }

    pub(super) fn with_store(workers: u8) -> Self {
        Self::build(workers, Limits { sys_interval_secs: 0, ..Limits::default() }, true)
    }

    pub(super) fn build(workers: u8, limits: Limits, stores: bool) -> Self {
        let mut broker = Self {
            now: Instant::ZERO,
            limits: Arc::new(limits),
            stores,
            stations: Vec::new(),
            wires: Vec::new(),
            log: Vec::new(),
            image: Image::new(),
            fetched: VecDeque::new(),
            fetches_at_once: true,
            tail_from: None,
            queue_head: SMALL_HEAD,
            stored_len: 0,
            prompt: true,
            stores_at_once: true,
            retained: RetainedStore::new(),
            rules: Arc::default(),
            durability: Durability::Fsync,
            asked: Vec::new(),
            accepting: 0,
            login_timeout: None,
            anonymous_may_claim: true,
            rights: None,
            asked_who: VecDeque::new(),
            looks: 0,
        };
        broker.start(workers);
        broker
    }

    /// Begins again, with rules for Topic Names.
    pub(super) fn with_rules(mut self, rules: DurabilityRules) -> Self {
        self.rules = Arc::new(rules);
        self.start(u8::try_from(self.stations.len()).expect("few workers"));
        self
    }

    /// Begins again, and asks who Clients are.
    pub(super) fn with_logins(mut self, timeout: Duration) -> Self {
        self.login_timeout = Some(timeout);
        self.start(u8::try_from(self.stations.len()).expect("few workers"));
        self
    }

    /// Begins again, with rules of what Clients may do; asks who they are.
    pub(super) fn with_rights(mut self, text: &str) -> Self {
        self.rights = Some(Arc::new(Rules::parse(text).expect("legal rules")));
        self.with_logins(Duration::from_secs(10))
    }

    /// Processes to come have rules of what Clients may do, and ask who they are.
    pub(super) fn begin_rights(&mut self, text: &str, timeout: Duration) {
        self.rights = Some(Arc::new(Rules::parse(text).expect("legal rules")));
        self.login_timeout = Some(timeout);
    }

    /// Other rules are in force from now on, and for processes to come.
    pub(super) fn change_rights(&mut self, text: &str) {
        let generation = self.rights.as_ref().map_or(0, |rules| rules.generation()) + 1;
        let rules = Rules::parse(text).expect("legal rules").with_generation(generation);
        let rules = Arc::new(rules);
        self.rights = Some(rules.clone());
        for worker in 0..self.stations.len() {
            self.stations[worker].core.handle_rules(self.now, rules.clone());
            self.settle(worker);
        }
        self.run();
    }

    /// Answers one of the questions who a Client is.
    pub(super) fn decide(&mut self, asked: &Asked, decision: Decision) {
        let core = &mut self.stations[asked.worker].core;
        core.handle_decision(self.now, asked.key, asked.exchange, decision);
        self.settle(asked.worker);
        if self.prompt {
            self.run();
        }
    }

    /// Puts new cores in place of those that were.
    fn start(&mut self, workers: u8) {
        self.retained = RetainedStore::new();
        let station = |worker| {
            let config = CoreConfig {
                worker: WorkerNumber(worker),
                workers,
                limits: self.limits.clone(),
                seed: SEED,
                retained: self.retained.clone(),
                stores: self.stores,
                queue_head: self.queue_head,
                durability: self.rules.clone(),
                login_timeout: self.login_timeout,
                anonymous_may_claim: self.anonymous_may_claim,
                rights: self.rights.clone(),
                version: "0.0.0",
            };
            Station {
                core: Core::new(self.now, config),
                inbox: VecDeque::new(),
                unstored: None,
                links: HashMap::new(),
                records: Vec::new(),
            }
        };
        self.stations = (0..workers).map(station).collect();
    }

    /// Adds records to the log that no worker has made.
    pub(super) fn forge(&mut self, records: Vec<Record>) {
        self.log.push(records);
        self.stored_len = self.log.len();
    }

    /// Lets a connection's worker take its input, and carries out nothing.
    pub(super) fn take_input(&mut self, link: Link) {
        let wire = &mut self.wires[link.0];
        if let Some(key) = wire.key {
            let core = &mut self.stations[wire.worker].core;
            let _ = core.handle_input(self.now, key, &mut wire.input);
        }
    }

    /// How many hand-overs of the log are stored for certain, and how many there are.
    pub(super) fn log_len(&self) -> (usize, usize) {
        (self.stored_len, self.log.len())
    }

    /// The process dies with all connections, and of the log so many hand-overs remain. After a
    /// while another process, with so many workers, goes on from there.
    pub(super) fn crash(&mut self, kept: usize, workers: u8, pause: Duration) {
        assert!(self.stored_len <= kept && kept <= self.log.len());
        self.log.truncate(kept);
        self.stored_len = kept;
        self.now = self.now + pause;
        self.start(workers);
        for wire in &mut self.wires {
            wire.key = None;
            wire.input.clear();
        }
        self.fetched.clear();
        self.image = Image::new();
        self.log.iter().flatten().cloned().for_each(|record| self.image.apply(record));
        let records = match self.tail_from {
            None => self.log.iter().flatten().cloned().collect(),
            Some(tail_from) => {
                self.image.settle_tentative();
                let records = self.image.recover_records(tail_from);
                // From now on the store has these.
                self.log = vec![self.image.records()];
                self.stored_len = 1;
                records
            }
        };
        for record in records {
            let worker = match record.client_identifier() {
                Some(of) => usize::from(owner(of, workers, SEED).0),
                None => 0,
            };
            self.stations[worker].core.recover(self.now, record);
        }
        for worker in 0..self.stations.len() {
            self.stations[worker].core.finish_recovery(self.now);
        }
        while (0..self.stations.len()).any(|worker| self.step(worker)) {}
    }

    /// The clock is set back, for the next process.
    pub(super) fn set_back(&mut self, by: Duration) {
        let by = u64::try_from(by.as_micros()).expect("a short time");
        self.now = Instant::from_micros(self.now.as_micros() - by);
    }

    /// The process dies and comes back at once; all that was handed over is kept.
    pub(super) fn restart(&mut self) {
        let workers = u8::try_from(self.stations.len()).expect("few workers");
        self.crash(self.log.len(), workers, Duration::ZERO);
    }

    pub(super) fn workers(&self) -> usize {
        self.stations.len()
    }

    pub(super) fn core(&mut self, worker: usize) -> &mut Core {
        &mut self.stations[worker].core
    }

    /// The records that a worker has handed over.
    pub(super) fn records(&self, worker: usize) -> &[Record] {
        &self.stations[worker].records
    }

    /// All records that were handed over, in their order.
    pub(super) fn log(&self) -> impl Iterator<Item = &Record> {
        self.log.iter().flatten()
    }

    /// The sum over all workers.
    pub(super) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for station in &self.stations {
            sum.add(&station.core.counters());
        }
        sum
    }

    // ---- Clients

    /// A new Network Connection, at the worker whose turn it is.
    pub(super) fn open(&mut self) -> Link {
        let worker = self.accepting % self.stations.len();
        let station = &mut self.stations[worker];
        let key = station.core.open(self.now, self.durability);
        let link = self.wires.len();
        station.links.insert(key, link);
        self.wires.push(Wire {
            worker,
            key: Some(key),
            version: ProtocolVersion::V5,
            input: BytesMut::new(),
            output: BytesMut::new(),
            paused: false,
            blocked: false,
            closing: false,
        });
        Link(link)
    }

    /// A new Network Connection that sends CONNECT.
    pub(super) fn connect(&mut self, connect: Connect) -> Link {
        let link = self.open();
        self.wires[link.0].version = connect.protocol_version;
        self.send(link, Packet::Connect(Box::new(connect)));
        link
    }

    /// As [`Broker::connect`], for a CONNECT that must succeed; gives whether a Session was there.
    pub(super) fn join(&mut self, connect: Connect) -> (Link, bool) {
        let link = self.connect(connect);
        if !self.stores_at_once {
            self.store_all();
        }
        let packets = self.receive(link);
        match packets.first() {
            Some(Packet::ConnAck(connack)) if connack.reason_code == ReasonCode::Success => {
                let session_present = connack.session_present;
                self.give_back(link, &packets[1..]);
                (link, session_present)
            }
            packets => panic!("CONNECT was answered with {packets:?}"),
        }
    }

    /// A Client with this identifier, MQTT 5.0 and no Session beyond its connection.
    pub(super) fn client(&mut self, client_identifier: &str) -> Link {
        self.join(super::packets::connect(client_identifier)).0
    }

    pub(super) fn give_back(&mut self, link: Link, packets: &[Packet]) {
        let version = self.wires[link.0].version;
        let mut bytes = BytesMut::new();
        for packet in packets {
            bytes.extend_from_slice(&bytes_of(packet, version));
        }
        bytes.extend_from_slice(&self.wires[link.0].output);
        self.wires[link.0].output = bytes;
    }

    #[expect(clippy::needless_pass_by_value, reason = "packets are made where they are sent")]
    pub(super) fn send(&mut self, link: Link, packet: Packet) {
        let bytes = bytes_of(&packet, self.wires[link.0].version);
        self.send_bytes(link, &bytes);
    }

    pub(super) fn send_bytes(&mut self, link: Link, bytes: &[u8]) {
        self.wires[link.0].input.extend_from_slice(bytes);
        if self.prompt {
            self.run();
        }
    }

    /// All that the broker has written since this was last asked.
    pub(super) fn receive(&mut self, link: Link) -> Vec<Packet> {
        let wire = &mut self.wires[link.0];
        let decoder = Decoder::new(wire.version, u32::MAX);
        let mut packets = Vec::new();
        while let Some(packet) = decoder.decode(&mut wire.output).expect("a legal packet") {
            packets.push(packet);
        }
        packets
    }

    /// The bytes that the broker has written since this was last asked.
    pub(super) fn take_output(&mut self, link: Link) -> BytesMut {
        std::mem::take(&mut self.wires[link.0].output)
    }

    /// Puts bytes back that were not taken.
    pub(super) fn give_output_back(&mut self, link: Link, bytes: &[u8]) {
        self.wires[link.0].output = BytesMut::from(bytes);
    }

    /// The messages among all that the broker has written; panics at anything else.
    pub(super) fn messages(&mut self, link: Link) -> Vec<Publish> {
        self.receive(link).messages()
    }

    /// The payloads of the messages, as text; panics at anything else.
    pub(super) fn payloads(&mut self, link: Link) -> Vec<String> {
        self.messages(link)
            .iter()
            .map(|publish| String::from_utf8_lossy(&publish.payload).into_owned())
            .collect()
    }

    /// The messages, each acknowledged to its end, until no more come; their payloads.
    pub(super) fn drain(&mut self, link: Link) -> Vec<String> {
        let mut payloads = Vec::new();
        loop {
            let packets = self.receive(link);
            if packets.is_empty() {
                return payloads;
            }
            for packet in packets {
                if let Packet::Publish(publish) = &packet {
                    payloads.push(String::from_utf8_lossy(&publish.payload).into_owned());
                }
                if let Some(answer) = super::packets::answer(&packet) {
                    self.send(link, answer);
                }
            }
        }
    }

    /// The one packet that the broker has written.
    pub(super) fn receive_one(&mut self, link: Link) -> Packet {
        let mut packets = self.receive(link);
        assert_eq!(packets.len(), 1, "one packet in {packets:?}");
        packets.remove(0)
    }

    /// Whether the broker has ended the connection.
    pub(super) fn is_closed(&self, link: Link) -> bool {
        self.wires[link.0].key.is_none()
    }

    pub(super) fn is_paused(&self, link: Link) -> bool {
        self.wires[link.0].paused
    }

    /// The worker that the connection is at.
    pub(super) fn worker_of(&self, link: Link) -> usize {
        self.wires[link.0].worker
    }

    pub(super) fn key(&self, link: Link) -> Option<ConnectionKey> {
        self.wires[link.0].key
    }

    /// The Client has closed its side, and may still read.
    pub(super) fn close_half(&mut self, link: Link) {
        let wire = &self.wires[link.0];
        if let Some(key) = wire.key {
            self.stations[wire.worker].core.handle_peer_gone(self.now, key);
        }
        self.run();
    }

    /// Closes the Network Connection from the Client's side, without a word.
    pub(super) fn cut(&mut self, link: Link) {
        self.wires[link.0].input.clear();
        let worker = self.wires[link.0].worker;
        if let Some(key) = self.wires[link.0].key.take() {
            let station = &mut self.stations[worker];
            station.links.remove(&key);
            station.core.handle_network_closed(self.now, key);
            station.core.release(key);
        }
        if self.prompt {
            self.run();
        }
    }

    /// Whether the Client reads what the broker writes.
    pub(super) fn block(&mut self, link: Link, blocked: bool) {
        self.wires[link.0].blocked = blocked;
        if !blocked {
            self.write(link.0);
        }
        if self.prompt {
            self.run();
        }
    }

    // ---- steps

    /// Lets time pass, with all deadlines at their moments.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self.stations.iter().filter_map(|station| station.core.poll_timeout()).min();
            match next {
                Some(next) if next <= end => {
                    self.now = self.now.max(next);
                    self.handle_timeouts();
                }
                _ => break,
            }
        }
        self.now = end;
        self.handle_timeouts();
    }

    pub(super) fn advance_secs(&mut self, secs: u64) {
        self.advance(Duration::from_secs(secs));
    }

    fn handle_timeouts(&mut self) {
        for worker in 0..self.stations.len() {
            self.stations[worker].core.handle_timeout(self.now);
            self.settle(worker);
        }
        if self.prompt {
            self.run();
        }
    }

    /// Everything until nobody has anything to do.
    pub(super) fn run(&mut self) {
        for _ in 0..100_000 {
            let mut busy = false;
            for worker in 0..self.stations.len() {
                busy |= self.step(worker);
            }
            if !busy {
                self.stations.iter().for_each(|station| station.core.check_invariants());
                return;
            }
        }
        panic!("the workers never come to rest");
    }

    /// One turn of a worker; whether it did anything.
    pub(super) fn step(&mut self, worker: usize) -> bool {
        let mut busy = false;
        while self.take_mail(worker) {
            busy = true;
        }
        for link in 0..self.wires.len() {
            if self.wires[link].worker == worker {
                busy |= self.read(link);
            }
        }
        busy |= self.settle(worker);
        busy
    }

    /// Hands one thing from the inbox to the worker; whether there was one.
    pub(super) fn take_mail(&mut self, worker: usize) -> bool {
        let station = &mut self.stations[worker];
        let Some(mail) = station.inbox.pop_front() else { return false };
        match mail {
            Mail::Batch(from, mut batch) => {
                while !station.core.handle_batch(self.now, from, &mut batch) {
                    station.core.take_urgent(&mut Vec::new());
                }
            }
            Mail::Adopt(link, client) => {
                let key = station.core.adopt(self.now, *client);
                station.links.insert(key, link);
                self.wires[link].worker = worker;
                self.wires[link].key = Some(key);
                self.wires[link].paused = false;
            }
        }
        self.settle(worker);
        true
    }

    /// Hands the input of a link to its worker; whether anything was taken.
    pub(super) fn read(&mut self, link: usize) -> bool {
        let wire = &mut self.wires[link];
        let Some(key) = wire.key else { return false };
        if wire.paused || wire.closing || wire.input.is_empty() {
            return false;
        }
        let worker = wire.worker;
        let before = wire.input.len();
        let mut input = std::mem::take(&mut wire.input);
        loop {
            let state = self.stations[worker].core.handle_input(self.now, key, &mut input);
            match state {
                InputState::NeedInput => break,
                InputState::Paused => {
                    self.wires[link].paused = true;
                    break;
                }
                InputState::Closed => {
                    input.clear();
                    break;
                }
                InputState::Urgent => {
                    let mut keys = Vec::new();
                    let core = &mut self.stations[worker].core;
                    core.take_urgent(&mut keys);
                    let wants_look = core.wants_look();
                    assert!(wants_look || !keys.is_empty(), "somebody's output is urgent");
                    if wants_look {
                        self.looks += 1;
                        core.forget_growth();
                    }
                    for key in keys {
                        self.write_key(worker, key);
                    }
                }
            }
        }
        let progress = input.len() != before;
        self.wires[link].input = input;
        self.settle(worker) || progress
    }

    /// Carries out what the worker's core asks for; whether there was anything.
    pub(super) fn settle(&mut self, worker: usize) -> bool {
        let mut busy = false;
        let mut keys = Vec::new();
        loop {
            let mut done = true;
            self.stations[worker].core.resumed(&mut keys);
            for key in keys.drain(..) {
                if let Some(link) = self.stations[worker].links.get(&key) {
                    self.wires[*link].paused = false;
                    done = false;
                }
            }
            while let Some(output) = self.stations[worker].core.poll_output() {
                done = false;
                self.carry_out(worker, output);
            }
            if self.fetches_at_once
                && let Some((worker, fetched)) = self.fetched.pop_front()
            {
                done = false;
                self.stations[worker].core.handle_fetched(self.now, fetched);
            }
            self.stations[worker].core.take_urgent(&mut keys);
            self.stations[worker].core.take_touched(&mut keys);
            for key in keys.drain(..) {
                done = false;
                self.write_key(worker, key);
            }
            if done {
                return busy;
            }
            busy = true;
        }
    }

    fn carry_out(&mut self, worker: usize, output: Output) {
        let station = &mut self.stations[worker];
        match output {
            Output::Close(key) => {
                if let Some(link) = station.links.get(&key).copied() {
                    self.wires[link].closing = true;
                    self.write(link);
                }
            }
            Output::Authenticate { connection: key, exchange, login } => {
                self.asked_who.push_back(Asked { worker, key, exchange, login });
            }
            Output::Move { connection, worker: to, client } => {
                station.core.release(connection);
                if let Some(link) = station.links.remove(&connection) {
                    self.wires[link].key = None;
                    self.wires[link].worker = usize::from(to.0);
                    self.stations[usize::from(to.0)].inbox.push_back(Mail::Adopt(link, client));
                }
            }
            Output::Store { last, records, durability } => {
                self.asked.push(durability);
                assert!(!records.is_empty(), "records are handed over only when there are some");
                station.records.extend_from_slice(&records);
                records.iter().cloned().for_each(|record| self.image.apply(record));
                self.log.push(records);
                station.unstored = Some((last, self.log.len()));
                if self.stores_at_once {
                    self.store(worker);
                }
            }
            Output::Fetch(fetch) => {
                let is_another = |(of, fetched): &(usize, Fetched)| {
                    (*of, fetched.session) != (worker, fetch.session)
                };
                assert!(self.fetched.iter().all(is_another), "one at a time");
                self.fetched.push_back((worker, self.image.fetch(&fetch)));
            }
            Output::Forward { worker: to, batch } => {
                assert!(!batch.is_empty(), "batches are handed over only with something in them");
                let from = WorkerNumber(u8::try_from(worker).expect("few workers"));
                self.stations[usize::from(to.0)].inbox.push_back(Mail::Batch(from, batch));
            }
        }
    }

    /// Gives a worker what it asked for first; whether there was anything.
    pub(super) fn give_fetched(&mut self) -> bool {
        let Some((worker, fetched)) = self.fetched.pop_front() else { return false };
        self.stations[worker].core.handle_fetched(self.now, fetched);
        self.settle(worker);
        true
    }

    /// How many fetches are under way.
    pub(super) fn fetches(&self) -> usize {
        self.fetched.len()
    }

    /// The store of a worker has caught up; whether it was behind.
    pub(super) fn store(&mut self, worker: usize) -> bool {
        let station = &mut self.stations[worker];
        let Some((upto, len)) = station.unstored.take() else { return false };
        self.stored_len = self.stored_len.max(len);
        station.core.handle_stored(self.now, Durability::Fsync, upto);
        true
    }

    /// The store of a worker has written all, and synced nothing of it.
    pub(super) fn write_store(&mut self, worker: usize) {
        let station = &mut self.stations[worker];
        if let Some((upto, _)) = station.unstored {
            station.core.handle_stored(self.now, Durability::Written, upto);
            self.run();
        }
    }

    /// The stores of all workers have caught up, and everybody acts on it.
    pub(super) fn store_all(&mut self) {
        while (0..self.stations.len()).fold(false, |busy, worker| {
            let was_behind = self.store(worker);
            self.settle(worker);
            busy || was_behind
        }) {
            if self.prompt {
                self.run();
            }
        }
    }

    fn write_key(&mut self, worker: usize, key: ConnectionKey) {
        if let Some(link) = self.stations[worker].links.get(&key).copied() {
            self.write(link);
        }
    }

    /// Moves the output of a connection to its link; a connection that is over goes with its last
    /// byte.
    fn write(&mut self, link: usize) {
        let wire = &mut self.wires[link];
        let Some(key) = wire.key else { return };
        let core = &mut self.stations[wire.worker].core;
        let Some(out) = core.transmit(key) else { return };
        let mut written = 0;
        if !wire.blocked {
            while !out.is_empty() {
                let mut pieces = [&[][..]; 8];
                let filled = out.pieces(&mut pieces);
                let mut count = 0;
                for piece in &pieces[..filled] {
                    wire.output.extend_from_slice(piece);
                    count += piece.len();
                }
                out.advance(count);
                written += count;
            }
        }
        core.handle_written(self.now, key, written);
        let is_empty = core.transmit(key).is_none_or(|out| out.is_empty());
        if wire.closing && is_empty {
            wire.key = None;
            let station = &mut self.stations[wire.worker];
            station.links.remove(&key);
            station.core.handle_network_closed(self.now, key);
            station.core.release(key);
        }
    }

    /// Bytes that wait in the output of a connection.
    pub(super) fn output_len(&mut self, link: Link) -> usize {
        let wire = &self.wires[link.0];
        let Some(key) = wire.key else { return 0 };
        self.stations[wire.worker].core.transmit(key).map_or(0, |out| out.len())
    }

    /// The packet types that the broker has written since this was last asked.
    pub(super) fn types(&mut self, link: Link) -> Vec<PacketType> {
        self.receive(link).iter().map(Packet::packet_type).collect()
    }
}
