//! The simulated store: one log for all workers, which becomes safe in its order after a while, or
//! never.

use super::{About, Happening, World, note};
use core::time::Duration;
use dunlin_broker::core::{Record, RecordNumber};
use dunlin_protocol::Instant;
use dunlin_testkit::Random;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Store {
    random: Random,
    /// What is in the log, in its order: what was handed over at once stays together.
    log: Vec<Entry>,
    /// Entries of the log that are safe.
    safe: usize,
    /// Syncs under way: up to which entry, and when they are done.
    syncs: VecDeque<(usize, Instant)>,
    stalled_until: Instant,
    pub(super) has_failed: bool,
}

#[derive(Debug)]
struct Entry {
    worker: usize,
    last: RecordNumber,
    records: Vec<Record>,
}

impl Store {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            log: Vec::new(),
            safe: 0,
            syncs: VecDeque::new(),
            stalled_until: Instant::ZERO,
            has_failed: false,
        }
    }
}

impl World {
    /// The core of this worker hands records over.
    pub(super) fn append(&mut self, worker: usize, last: RecordNumber, records: Vec<Record>) {
        let sync = if self.calm { (0, 100) } else { self.options.sync };
        let store = &mut self.store;
        store.log.push(Entry { worker, last, records });
        if store.has_failed {
            return;
        }
        let upto = store.log.len();
        // What comes while a sync waits to begin goes with it.
        if store.syncs.len() >= 2
            && let Some((last, _)) = store.syncs.back_mut()
        {
            *last = upto;
            return;
        }
        let begins = store.syncs.back().map_or(self.now, |(_, done)| *done);
        let micros = store.random.between(sync.0..=sync.1);
        let done = begins.max(self.now).max(store.stalled_until) + Duration::from_micros(micros);
        store.syncs.push_back((upto, done));
        self.schedule.put(done, Happening::Synced { start: self.start });
    }

    pub(super) fn synced(&mut self, start: u32) {
        if start != self.start || !self.is_up || self.store.has_failed {
            return;
        }
        let Some((upto, done)) = self.store.syncs.front().copied() else { return };
        let done = done.max(self.store.stalled_until);
        if done > self.now {
            self.schedule.put(done, Happening::Synced { start });
            return;
        }
        self.store.syncs.pop_front();
        for at in self.store.safe..upto {
            let entry = &self.store.log[at];
            self.stations[entry.worker].stored = Some(entry.last);
        }
        self.store.safe = upto;
        note!(self, About::Store, "store: {upto} entries are safe");
        for worker in 0..self.stations.len() {
            if self.stations[worker].stored.is_some() {
                self.wake(worker);
            }
        }
    }

    /// The process is gone: what was safe is kept, and of the rest a beginning that chance decides;
    /// all of it when the process ended as it should.
    pub(super) fn settle_store(&mut self, in_order: bool) {
        let store = &mut self.store;
        let most = store.log.len();
        let kept = match in_order && !store.has_failed {
            true => most,
            false => store.random.between(store.safe as u64..=most as u64) as usize,
        };
        store.log.truncate(kept);
        store.safe = kept;
        store.syncs.clear();
        store.has_failed = false;
        note!(self, About::All, "store: {kept} of {most} entries are left");
    }

    /// The records that are left, in their order.
    pub(super) fn stored_records(&self) -> Vec<Record> {
        self.store.log.iter().flat_map(|entry| entry.records.iter().cloned()).collect()
    }

    pub(super) fn stall_store(&mut self, micros: u64) {
        self.store.stalled_until = self.now + Duration::from_micros(micros);
    }

    pub(super) fn heal_store(&mut self) {
        self.store.stalled_until = Instant::ZERO;
    }
}
