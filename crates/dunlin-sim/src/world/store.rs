//! The simulated store: one log for all workers, which becomes safe in its order after a while, or
//! never.

use super::{About, Event, Happening, World, note};
use core::time::Duration;
use dunlin_broker::core::{Durability, Fetch, Fetched, Image, Record, RecordNumber};
use dunlin_protocol::Instant;
use dunlin_testkit::Random;
use std::collections::VecDeque;

#[derive(Debug)]
pub(super) struct Store {
    random: Random,
    fetch_random: Random,
    /// What is in the log, in its order: what was handed over at once stays together.
    log: Vec<Entry>,
    /// Entries of the log that are safe.
    safe: usize,
    /// Syncs under way: up to which entry, and when they are done.
    syncs: VecDeque<(usize, Instant)>,
    /// What the log adds up to.
    image: Image,
    fetches: Vec<Underway>,
    stalled_until: Instant,
    pub(super) has_failed: bool,
}

#[derive(Debug)]
struct Entry {
    worker: usize,
    last: RecordNumber,
    records: Vec<Record>,
}

/// What a worker wants back.
#[derive(Debug)]
struct Underway {
    worker: usize,
    fetch: Fetch,
    /// What the store had when it was asked, if that is what it gives.
    early: Option<Fetched>,
    /// How long the log was then.
    log_len: usize,
    due: Instant,
}

impl Store {
    pub(super) fn new(random: Random, fetch_random: Random) -> Self {
        Self {
            random,
            fetch_random,
            image: Image::new(),
            fetches: Vec::new(),
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
        records.iter().cloned().for_each(|record| store.image.apply(record));
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
        self.answer_fetches();
        for worker in 0..self.stations.len() {
            if self.stations[worker].stored.is_some() {
                self.wake(worker);
            }
        }
    }

    /// Plans when a store that fails is mended, if it is.
    pub(super) fn plan_mend(&mut self) {
        if let Some((least, most)) = self.options.mend {
            let micros = self.store.fetch_random.between(least..=most);
            let at = self.now + Duration::from_micros(micros);
            self.schedule.put(at, Happening::Mended { start: self.start });
        }
    }

    /// The store is opened anew under the broker that runs, and given again what is not safe.
    pub(super) fn mend_store(&mut self, start: u32) {
        if start != self.start || !self.is_up || !std::mem::take(&mut self.store.has_failed) {
            return;
        }
        let upto = self.store.log.len();
        self.store.syncs.clear();
        self.store.syncs.push_back((upto, self.now));
        self.schedule.put(self.now, Happening::Synced { start });
        note!(self, About::All, "the store works again");
        self.tell(Event::StoreMended);
        self.tell_store_is_ready(true);
    }

    /// Tells the workers whether the store takes more, if the broker is one that is told.
    pub(super) fn tell_store_is_ready(&mut self, is_ready: bool) {
        if !self.options.tells_failure {
            return;
        }
        for worker in 0..self.stations.len() {
            self.stations[worker].store_is_ready = Some(is_ready);
            self.wake(worker);
        }
    }

    /// The process is gone: what was safe is kept, and of the rest a beginning that chance decides;
    /// all of it when the process ended as it should.
    pub(super) fn settle_store(&mut self, in_order: bool) {
        // At `memory` a process ends in no other way, except that a stop may be cut short.
        let in_order = in_order || self.options.durability == Durability::Memory;
        let store = &mut self.store;
        let most = store.log.len();
        let kept = match in_order && !store.has_failed {
            true => most,
            false => store.random.between(store.safe as u64..=most as u64) as usize,
        };
        store.log.truncate(kept);
        store.safe = kept;
        store.syncs.clear();
        store.fetches.clear();
        store.has_failed = false;
        note!(self, About::All, "store: {kept} of {most} entries are left");
    }

    /// What a core begins with: the records that are left, in their order, or what they add up to.
    pub(super) fn recovered_records(&mut self) -> Vec<Record> {
        let records = |log: &[Entry]| -> Vec<Record> {
            log.iter().flat_map(|entry| entry.records.iter().cloned()).collect()
        };
        let store = &mut self.store;
        store.image = Image::new();
        records(&store.log).into_iter().for_each(|record| store.image.apply(record));
        let Some(tail_from) = self.options.tail_from else { return records(&store.log) };
        store.image.settle_tentative();
        let kept = store.image.records();
        store.log = vec![Entry { worker: 0, last: RecordNumber(0), records: kept }];
        store.safe = 1;
        store.image.recover_records(tail_from)
    }

    /// The core of this worker wants messages back.
    pub(super) fn fetch(&mut self, worker: usize, fetch: Fetch) {
        let (least, most) = if self.calm { (0, 100) } else { self.options.fetch };
        let store = &mut self.store;
        let micros = store.fetch_random.between(least..=most);
        let due = self.now.max(store.stalled_until) + Duration::from_micros(micros);
        let early = self.options.fetches_early.then(|| store.image.fetch(&fetch));
        let log_len = store.log.len();
        let is_another = |other: &Underway| other.fetch.session != fetch.session;
        if !store.fetches.iter().all(|other| other.worker != worker || is_another(other)) {
            let what = format!("{} is wanted twice at once", fetch.client_identifier);
            self.fail("a queue is fetched twice", what, Vec::new());
            return;
        }
        store.fetches.push(Underway { worker, fetch, early, log_len, due });
        self.schedule.put(due, Happening::Fetched { start: self.start });
    }

    pub(super) fn fetched(&mut self, start: u32) {
        if start == self.start && self.is_up {
            self.answer_fetches();
        }
    }

    /// Gives back what is due, and not behind what is still to become safe.
    fn answer_fetches(&mut self) {
        let (now, synced) = (self.now, self.options.fetches_synced);
        let store = &mut self.store;
        let safe = if synced { store.safe } else { usize::MAX };
        for underway in store.fetches.extract_if(.., |it| it.due <= now && it.log_len <= safe) {
            let Underway { worker, fetch, early, .. } = underway;
            let fetched = early.unwrap_or_else(|| store.image.fetch(&fetch));
            self.stations[worker].fetched.push_back(fetched);
        }
        for worker in 0..self.stations.len() {
            if !self.stations[worker].fetched.is_empty() {
                self.wake(worker);
            }
        }
    }

    pub(super) fn stall_store(&mut self, micros: u64) {
        self.store.stalled_until = self.now + Duration::from_micros(micros);
    }

    pub(super) fn heal_store(&mut self) {
        self.store.stalled_until = Instant::ZERO;
    }
}
