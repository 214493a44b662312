//! A worker with what is around it: what its shell has, without threads and sockets.

use crate::chance::{Purpose, random};
use dunlin_broker::core::{
    Batch, ConnectingClient, ConnectionKey, Core, Decision, Fetched, RecordNumber, Rules,
    WorkerNumber,
};
use dunlin_protocol::Instant;
use dunlin_testkit::Random;
use std::collections::VecDeque;
use std::sync::Arc;

/// What comes from other workers.
#[derive(Debug)]
pub(super) enum Mail {
    Batch(WorkerNumber, Batch),
    Adopt(u32, Box<ConnectingClient>),
    Decided(ConnectionKey, u32, Decision),
    Rules(u64, Arc<Rules>),
    Stop,
}

#[derive(Debug)]
pub(super) struct Station {
    pub(super) core: Core,
    /// Each with the moment from which on it is there.
    pub(super) inbox: VecDeque<(Instant, Mail)>,
    /// Connections with a session that may have something to read.
    pub(super) established: VecDeque<u32>,
    /// Connections without one.
    pub(super) fresh: VecDeque<u32>,
    pub(super) adopted: Vec<(u32, Box<ConnectingClient>)>,
    pub(super) writable: Vec<u32>,
    pub(super) lingering: VecDeque<(Instant, u32)>,
    /// Which connection has the place in the core.
    pub(super) links: Vec<Option<u32>>,
    /// What the store has made safe and the core doesn't know.
    pub(super) stored: Option<RecordNumber>,
    /// Whether the store takes more, if the core doesn't know.
    pub(super) store_is_ready: Option<bool>,
    /// How far its records were written when it heard of it last.
    pub(super) written: Option<RecordNumber>,
    /// The number of the rules that its core goes by.
    pub(super) rules: u64,
    /// What the store has given back and the core has not taken.
    pub(super) fetched: VecDeque<Fetched>,
    /// When the next turn is.
    pub(super) turn_at: Option<Instant>,
    pub(super) random: Random,
    pub(super) keys: Vec<ConnectionKey>,
    pub(super) turns: u64,
}

impl Station {
    pub(super) fn new(seed: u64, worker: u64, start: u32, rules: u64, core: Core) -> Self {
        Self {
            core,
            inbox: VecDeque::new(),
            established: VecDeque::new(),
            fresh: VecDeque::new(),
            adopted: Vec::new(),
            writable: Vec::new(),
            lingering: VecDeque::new(),
            links: Vec::new(),
            stored: None,
            store_is_ready: None,
            written: None,
            rules,
            fetched: VecDeque::new(),
            turn_at: None,
            random: random(seed, Purpose::Turns, u64::from(start) << 8 | worker),
            keys: Vec::new(),
            turns: 0,
        }
    }

    pub(super) fn link(&mut self, key: ConnectionKey, wire: Option<u32>) {
        if self.links.len() <= key.index() {
            self.links.resize(key.index() + 1, None);
        }
        self.links[key.index()] = wire;
    }

    /// Whether a turn would have something to do that nothing else announces.
    pub(super) fn has_work(&self) -> bool {
        !self.inbox.is_empty() || self.has_work_of_its_own()
    }

    /// The same, mail aside.
    pub(super) fn has_work_of_its_own(&self) -> bool {
        !self.established.is_empty()
            || !self.fresh.is_empty()
            || !self.adopted.is_empty()
            || !self.writable.is_empty()
            || self.stored.is_some()
            || self.store_is_ready.is_some()
            || !self.fetched.is_empty()
            || self.core.has_work()
    }
}
