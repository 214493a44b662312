//! The body of a fuzz target: bytes drive connections, time, stores and workers. It panics where
//! a core does, where counters and contents disagree, or where outputs grow without bound.

use super::{Batch, ConnectingClient, ConnectionKey, Core, CoreConfig, InputState, Output};
use super::{Decision, Grant, Identity, RetainedStore, Rules, WorkerNumber};
use super::{Durability, Fetch, Image, QueueHead, QueuePart, RecordNumber};
use crate::{Limits, QueuePolicy};
use bytes::BytesMut;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::ReasonCode;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A connection and the input that its worker has not taken.
struct Wire {
    worker: usize,
    key: ConnectionKey,
    input: BytesMut,
    paused: bool,
}

enum Mail {
    Batch(WorkerNumber, Batch),
    Adopt(Box<ConnectingClient>, BytesMut),
    Decided(ConnectionKey, u32, Decision),
}

struct World {
    now: Instant,
    cores: Vec<Core>,
    mail: Vec<VecDeque<Mail>>,
    unstored: Vec<Option<RecordNumber>>,
    /// What is stored, as soon as it is handed over.
    image: Image,
    fetches: Vec<VecDeque<Fetch>>,
    wires: Vec<Wire>,
    /// Whether nobody reads what is written.
    blocked: bool,
    /// How often the rules have changed.
    generation: u64,
}

/// Connections at the same time.
const WIRES_MAX: usize = 8;
/// How long a decision about a Client may take, when it is asked who it is.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(2);
const OUTPUT_BYTES_MAX: usize = 8 * 1024;
/// So little of a queue is in memory that each has its end in the store.
const SMALL_HEAD: QueueHead = QueueHead {
    away: QueuePart { len: 1, bytes: 1024 },
    connected: QueuePart { len: 2, bytes: 1024 },
};

/// A sequence of operations: the first byte chooses workers, store and queue policy; then each
/// begins with a byte whose low half says what and whose high half says on which connection.
pub fn operations(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let mut world = World::new(*first);
    while let Some((operation, after)) = rest.split_first() {
        rest = world.act(*operation, after);
        world.check();
    }
    world.finish();
}

/// Rules that change with their number.
fn rules(generation: u64) -> Arc<Rules> {
    let denied = if generation.is_multiple_of(2) { "+/a" } else { "a/#" };
    let text = format!(
        "[[rule]]\ndeny = [\"subscribe\", \"publish\"]\ntopics = [\"{denied}\"]\n\
         [[rule]]\nallow = [\"subscribe\", \"publish\", \"retain\", \"will\"]\n\
         topics = [\"#\", \"$share/+/#\", \"$SYS/#\"]\nqos_max = {}\n",
        generation % 3
    );
    Arc::new(Rules::parse(&text).expect("legal rules").with_generation(generation))
}

impl World {
    fn new(first: u8) -> Self {
        let workers = 1 + first % 3;
        let limits = Limits {
            packet_size_max: 4096,
            connect_packet_size_max: 1024,
            receive_maximum: 4,
            topic_alias_maximum: 2,
            topic_alias_outbound_max: 2,
            queue_len_max: 4,
            queue_bytes_max: 4096,
            queue_policy: QueuePolicy::ALL[usize::from(first >> 4) % QueuePolicy::ALL.len()],
            queue_qos0_offline: first & 8 != 0,
            output_bytes_max: OUTPUT_BYTES_MAX,
            subscriptions_per_session_max: 4,
            topic_levels_max: 8,
            retained_len_max: 8,
            retained_bytes_max: 4096,
            sessions_max: 6,
            ..Limits::default()
        };
        let limits = Arc::new(limits);
        let retained = RetainedStore::new();
        let cores = (0..workers).map(|worker| {
            let config = CoreConfig {
                worker: WorkerNumber(worker),
                workers,
                limits: limits.clone(),
                seed: 1,
                retained: retained.clone(),
                stores: first & 4 != 0,
                queue_head: SMALL_HEAD,
                durability: Arc::default(),
                login_timeout: (first & 128 != 0).then_some(LOGIN_TIMEOUT),
                anonymous_may_claim: true,
                rights: (first & 64 != 0).then(|| rules(0)),
                version: "0",
            };
            Core::new(Instant::ZERO, config)
        });
        let cores: Vec<_> = cores.collect();
        Self {
            now: Instant::ZERO,
            mail: cores.iter().map(|_| VecDeque::new()).collect(),
            unstored: vec![None; cores.len()],
            image: Image::new(),
            fetches: cores.iter().map(|_| VecDeque::new()).collect(),
            cores,
            wires: Vec::new(),
            blocked: false,
            generation: 0,
        }
    }

    fn act<'a>(&mut self, operation: u8, rest: &'a [u8]) -> &'a [u8] {
        let place = usize::from(operation >> 4);
        let worker = place % self.cores.len();
        let wire = place % self.wires.len().max(1);
        match operation & 15 {
            0 if self.wires.len() < WIRES_MAX => {
                let key = self.cores[worker].open(self.now, Durability::Fsync);
                self.wires.push(Wire { worker, key, input: BytesMut::new(), paused: false });
            }
            1..=6 => {
                // Bytes for a connection: a length, then so many.
                let Some((len, rest)) = rest.split_first() else { return rest };
                let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*len)));
                if let Some(wire) = self.wires.get_mut(wire) {
                    wire.input.extend_from_slice(bytes);
                }
                if operation & 15 > 1 {
                    self.read(wire);
                }
                return rest;
            }
            7 => self.read(wire),
            8 => self.close(wire),
            9 => {
                let Some((tenths, rest)) = rest.split_first() else { return rest };
                let tenths = u64::from(*tenths);
                self.now = self.now + Duration::from_millis(tenths * tenths * 10);
                for worker in 0..self.cores.len() {
                    self.cores[worker].handle_timeout(self.now);
                    self.settle(worker);
                }
                return rest;
            }
            10 => {
                if let Some(upto) = self.unstored[worker].take() {
                    self.cores[worker].handle_stored(self.now, Durability::Fsync, upto);
                }
                self.fetch(worker);
            }
            11 | 12 => self.take_mail(worker),
            13 => self.blocked = !self.blocked,
            14 => self.settle(worker),
            15 if place < 15 => {
                // Without rules at first, these are none of its business.
                self.generation += 1;
                let rules = rules(self.generation);
                for worker in 0..self.cores.len() {
                    self.cores[worker].handle_rules(self.now, rules.clone());
                    self.settle(worker);
                }
            }
            15 if place == 15 => self.cores.iter_mut().for_each(|core| core.stop(self.now)),
            _ => {}
        }
        self.settle(worker);
        rest
    }

    fn read(&mut self, at: usize) {
        let Some(wire) = self.wires.get_mut(at) else { return };
        let (worker, key) = (wire.worker, wire.key);
        if wire.paused {
            return;
        }
        let mut input = std::mem::take(&mut wire.input);
        loop {
            match self.cores[worker].handle_input(self.now, key, &mut input) {
                InputState::NeedInput => break,
                InputState::Closed => {
                    input.clear();
                    break;
                }
                InputState::Paused => {
                    self.wires[at].paused = true;
                    break;
                }
                InputState::Urgent => {
                    let mut keys = Vec::new();
                    self.cores[worker].take_urgent(&mut keys);
                    assert!(!keys.is_empty(), "somebody's output is urgent");
                    keys.into_iter().for_each(|key| self.write(worker, key));
                }
            }
        }
        self.wires[at].input = input;
        self.settle(worker);
    }

    fn close(&mut self, at: usize) {
        if at < self.wires.len() {
            let Wire { worker, key, .. } = self.wires.swap_remove(at);
            self.cores[worker].handle_network_closed(self.now, key);
            self.cores[worker].release(key);
            self.settle(worker);
        }
    }

    fn take_mail(&mut self, worker: usize) {
        match self.mail[worker].pop_front() {
            Some(Mail::Batch(from, batch)) => {
                let mut batch = batch;
                while !self.cores[worker].handle_batch(self.now, from, &mut batch) {
                    self.cores[worker].take_urgent(&mut Vec::new());
                }
            }
            Some(Mail::Adopt(client, input)) => {
                let key = self.cores[worker].adopt(self.now, *client);
                self.wires.push(Wire { worker, key, input, paused: false });
            }
            Some(Mail::Decided(key, exchange, decision)) => {
                self.cores[worker].handle_decision(self.now, key, exchange, decision);
            }
            None => {}
        }
        self.settle(worker);
    }

    /// The store answers what it was asked first; whether it was asked anything.
    fn fetch(&mut self, worker: usize) -> bool {
        let Some(fetch) = self.fetches[worker].pop_front() else { return false };
        let fetched = self.image.fetch(&fetch);
        self.cores[worker].handle_fetched(self.now, fetched);
        self.settle(worker);
        true
    }

    fn find(&self, worker: usize, key: ConnectionKey) -> Option<usize> {
        self.wires.iter().position(|wire| (wire.worker, wire.key) == (worker, key))
    }

    /// Carries out what a core asks for, and writes once.
    fn settle(&mut self, worker: usize) {
        let mut keys = Vec::new();
        for _ in 0..8 {
            self.cores[worker].resumed(&mut keys);
            for key in keys.drain(..) {
                if let Some(at) = self.find(worker, key) {
                    self.wires[at].paused = false;
                }
            }
            while let Some(output) = self.cores[worker].poll_output() {
                self.carry_out(worker, output);
            }
            self.cores[worker].take_urgent(&mut keys);
            self.cores[worker].take_touched(&mut keys);
            if keys.is_empty() {
                return;
            }
            keys.drain(..).for_each(|key| self.write(worker, key));
        }
    }

    fn carry_out(&mut self, worker: usize, output: Output) {
        match output {
            Output::Close(key) => {
                if let Some(at) = self.find(worker, key) {
                    self.wires.swap_remove(at);
                    self.cores[worker].handle_network_closed(self.now, key);
                    self.cores[worker].release(key);
                }
            }
            Output::Authenticate { connection, exchange, login } => {
                // Some names are turned away, others and those without one let in.
                let decision = match login.user_name {
                    Some(user) if user.len() % 4 == 3 => Decision::Deny(ReasonCode::NotAuthorized),
                    user => match Identity::new(user.as_deref(), []) {
                        Ok(identity) => Decision::Allow(Grant::of(identity)),
                        Err(_) => Decision::Deny(ReasonCode::BadUserNameOrPassword),
                    },
                };
                self.mail[worker].push_back(Mail::Decided(connection, exchange, decision));
            }
            Output::Move { connection, worker: to, client } => {
                self.cores[worker].release(connection);
                if let Some(at) = self.find(worker, connection) {
                    let wire = self.wires.swap_remove(at);
                    self.mail[usize::from(to.0)].push_back(Mail::Adopt(client, wire.input));
                }
            }
            Output::Store { last, records, .. } => {
                assert!(!records.is_empty());
                records.into_iter().for_each(|record| self.image.apply(record));
                self.unstored[worker] = Some(last);
            }
            Output::Fetch(fetch) => self.fetches[worker].push_back(fetch),
            Output::Forward { worker: to, batch } => {
                assert!(usize::from(to.0) != worker && !batch.is_empty());
                let from = WorkerNumber(u8::try_from(worker).unwrap_or(u8::MAX));
                self.mail[usize::from(to.0)].push_back(Mail::Batch(from, batch));
            }
        }
    }

    fn write(&mut self, worker: usize, key: ConnectionKey) {
        let Some(out) = self.cores[worker].transmit(key) else { return };
        let written = if self.blocked { 0 } else { out.len() };
        // One turn may add a packet beyond the limit, and the answers to what was read before.
        assert!(out.len() <= OUTPUT_BYTES_MAX + 64 * 1024 + 8192, "{} bytes wait", out.len());
        out.advance(written);
        self.cores[worker].handle_written(self.now, key, written);
    }

    fn check(&self) {
        self.cores.iter().for_each(Core::check_invariants);
    }

    /// All is delivered, stored and closed; after years nothing is left but sessions that never
    /// expire.
    fn finish(&mut self) {
        self.blocked = false;
        while !self.wires.is_empty() {
            self.close(0);
        }
        for _ in 0..1000 {
            for worker in 0..self.cores.len() {
                if let Some(upto) = self.unstored[worker].take() {
                    self.cores[worker].handle_stored(self.now, Durability::Fsync, upto);
                }
                self.take_mail(worker);
                while self.fetch(worker) {}
            }
            while !self.wires.is_empty() {
                self.close(0);
            }
            let is_quiet = self.mail.iter().all(VecDeque::is_empty)
                && self.fetches.iter().all(VecDeque::is_empty)
                && self.unstored.iter().all(Option::is_none);
            if is_quiet {
                break;
            }
        }
        self.check();
        for core in &self.cores {
            let census = core.census();
            assert_eq!((census.pending, census.awaited), (0, 0), "something waits for ever");
            assert_eq!(core.counters().connections, 0, "a connection is left");
        }
    }
}
