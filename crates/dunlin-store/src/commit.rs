//! The committing thread: whatever waits becomes one batch. While one is synced, the next gathers.

use crate::apply::Applier;
use crate::compaction::Compaction;
use crate::encoding::Counters;
use crate::engine::{Engine, Op};
use crate::fetch::{DamagedRow, Read};
use crate::group::Group;
use crate::health;
use crate::index::Index;
use crate::keys::{COUNTERS, Table};
use crate::open::Folder;
use crate::recovery::set_aside;
use crate::shared::{End, Shared};
use crate::storage::{Ending, Options};
use dunlin_broker::core::{Durability, Fetch, Record};
use fjall::{PersistMode, UserKey, UserValue};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant as Clock};

/// How many appends, and about how many bytes, become one batch at most.
const GROUP_APPENDS_MAX: usize = 1024;
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long what was written may wait for a sync that nobody waits for.
const SYNC_AFTER: Duration = Duration::from_millis(200);
/// How much may wait for it: it is kept in memory, in case the disk fails.
const UNSYNCED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How many rows of ended sessions are removed at once.
const CLEAN_UP_ROWS: usize = 1000;
/// How often the mark of what is stored is moved.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// What workers ask for.
pub(crate) enum Job {
    Append { end: Arc<End>, last: u64, records: Vec<Record>, durability: Durability, bytes: u64 },
    Fetch { end: Arc<End>, fetch: Fetch },
}

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) folder: Folder,
    pub(crate) options: Options,
    /// `None` only after the disk failed until the end.
    pub(crate) engine: Option<Engine>,
    pub(crate) index: Index,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) reads: Sender<Read>,
    pub(crate) damaged: Receiver<DamagedRow>,
    pub(crate) progress: Progress,
    pub(crate) compaction: Compaction,
    pub(crate) ending: Ending,
}

/// How far what was committed is safe.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// What was committed since the last sync: written again if the disk fails.
    unsynced: Vec<Op>,
    unsynced_bytes: usize,
    unsynced_since: Option<Clock>,
    /// Ends whose records are written and not synced.
    waiting: Vec<(Arc<End>, u64)>,
    /// The group that the mark names, and when it was written.
    marked: Option<(u64, Clock)>,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").finish_non_exhaustive()
    }
}

/// What was taken from the channel at once.
#[derive(Default)]
struct Gathered {
    group: Group,
    appends: Vec<(Arc<End>, u64, Durability)>,
    fetches: Vec<(Arc<End>, Fetch)>,
    bytes: u64,
}

impl Committer {
    /// Commits until nobody can append any more and all is synced.
    pub(crate) fn run(mut self) {
        let mut has_garbage = true;
        loop {
            let gathered = match self.gather(has_garbage) {
                Ok(gathered) => gathered,
                Err(TryRecvError::Empty) => Gathered::default(),
                Err(TryRecvError::Disconnected) => break,
            };
            if !self.store(gathered) {
                return;
            }
            has_garbage = self.clean_up();
        }
        if self.sync() {
            self.mark(true);
        }
        self.compaction.finish();
        self.shared.set_engine(None);
    }

    /// Waits for something to do, and takes all that is there. `Empty`: something has come due.
    fn gather(&mut self, has_garbage: bool) -> Result<Gathered, TryRecvError> {
        let sync_due = self.progress.unsynced_since;
        let sync_due = sync_due.map(|since| SYNC_AFTER.saturating_sub(since.elapsed()));
        let due_in = sync_due.into_iter().chain(self.compaction.due_in()).min();
        let first = match due_in {
            _ if has_garbage => self.jobs.try_recv()?,
            Some(due_in) => self.jobs.recv_timeout(due_in).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            })?,
            None => self.jobs.recv().map_err(|_| TryRecvError::Disconnected)?,
        };
        let mut gathered = Gathered::default();
        let now = Clock::now();
        let mut next = Some(first);
        while let Some(job) = next {
            self.take(job, now, &mut gathered);
            if gathered.appends.len() >= GROUP_APPENDS_MAX
                || gathered.group.bytes() >= GROUP_BYTES_MAX
            {
                break;
            }
            next = self.jobs.try_recv().ok();
        }
        Ok(gathered)
    }

    fn take(&mut self, job: Job, now: Clock, gathered: &mut Gathered) {
        match job {
            Job::Append { end, last, records, durability, bytes } => {
                if let Some(engine) = &self.engine {
                    let (index, group) = (&mut self.index, &mut gathered.group);
                    Applier { index, group, engine, now }.apply(records);
                }
                gathered.bytes += bytes;
                gathered.appends.push((end, last, durability));
            }
            Job::Fetch { end, fetch } => gathered.fetches.push((end, fetch)),
        }
    }

    /// Commits a group and tells everybody; whether the store goes on.
    fn store(&mut self, mut gathered: Gathered) -> bool {
        for row in self.damaged.try_iter() {
            set_aside(&mut gathered.group, Table::Queue, &row.key, &row.value, row.damage);
            gathered.group.remove(Table::State, &row.key);
        }
        if !self.commit(&mut gathered.group) {
            return false;
        }
        // What came to nothing is as safe as what was before it, and nothing else would tell.
        let mut wants_sync = self.is_sync_due() || self.progress.unsynced.is_empty();
        for (end, last, durability) in &gathered.appends {
            end.advance(Durability::Written, *last);
            if *durability == Durability::Fsync {
                wants_sync = true;
            } else {
                end.wake();
            }
        }
        self.shared.stored(gathered.bytes);
        self.progress
            .waiting
            .extend(gathered.appends.into_iter().map(|(end, last, _)| (end, last)));
        for (end, fetch) in gathered.fetches {
            self.read(end, fetch);
        }
        if wants_sync && !self.sync() {
            return false;
        }
        self.mark(false);
        let now = Clock::now();
        if self.compaction.wants_commit(now) && !self.commit_all(Vec::new()) {
            return false;
        }
        if let Some(engine) = &self.engine {
            self.compaction.look(now, engine, &self.index);
        }
        true
    }

    /// Hands what a group comes to to the operating system.
    fn commit(&mut self, group: &mut Group) -> bool {
        let ops = group.take();
        ops.is_empty() || self.commit_all(ops)
    }

    /// Hands changes, of which there may be none, to the operating system, counted as a group.
    fn commit_all(&mut self, mut ops: Vec<Op>) -> bool {
        self.index.counters.commit += 1;
        self.compaction.written();
        ops.push(counters(&self.index.counters));
        self.progress.unsynced_bytes += ops.iter().map(Op::len).sum::<usize>();
        self.progress.unsynced_since.get_or_insert_with(Clock::now);
        let start = self.progress.unsynced.len();
        self.progress.unsynced.append(&mut ops);
        let Some(engine) = &self.engine else { return false };
        match engine.commit(&self.progress.unsynced[start..], PersistMode::Buffer) {
            Ok(()) => true,
            Err(error) => self.mend(&error),
        }
    }

    fn is_sync_due(&self) -> bool {
        self.progress.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_AFTER)
            || self.progress.unsynced_bytes > UNSYNCED_BYTES_MAX
    }

    /// Puts all that was committed on the disk, and tells those who wait for it.
    fn sync(&mut self) -> bool {
        if !self.progress.unsynced.is_empty() {
            let Some(engine) = &self.engine else { return false };
            if let Err(error) = engine.sync()
                && !self.mend(&error)
            {
                return false;
            }
            self.synced();
        }
        // Several appends of one worker are told of once, by the last.
        let mut waiting = std::mem::take(&mut self.progress.waiting);
        for (end, last) in &waiting {
            end.advance(Durability::Fsync, *last);
        }
        waiting.sort_by_key(|(end, _)| Arc::as_ptr(end));
        waiting.dedup_by(|(one, _), (other, _)| Arc::ptr_eq(one, other));
        waiting.iter().for_each(|(end, _)| end.wake());
        waiting.clear();
        self.progress.waiting = waiting;
        true
    }

    fn synced(&mut self) {
        self.progress.unsynced.clear();
        self.progress.unsynced_bytes = 0;
        self.progress.unsynced_since = None;
    }

    /// The disk has failed: opens the database anew, with all that is in doubt written and synced.
    /// Whether that has succeeded, which may take for ever.
    fn mend(&mut self, error: &fjall::Error) -> bool {
        self.shared.set_failing(true);
        self.compaction.finish();
        self.engine = None;
        self.shared.set_engine(None);
        let give_up = || self.shared.is_closing();
        let lost = &self.progress.unsynced;
        self.engine = health::mend(&self.folder, &self.options, lost, error, give_up);
        if self.engine.is_none() {
            // What has failed may have been no change of its own.
            let lost = self.progress.unsynced.len().max(1) as u64;
            self.ending.lost.store(lost, Ordering::Release);
            return false;
        }
        self.shared.set_engine(self.engine.clone());
        self.synced();
        self.shared.set_failing(false);
        true
    }

    fn read(&self, end: Arc<End>, fetch: Fetch) {
        let client = self.index.clients.get(fetch.client_identifier.as_bytes());
        let states = client.map(|client| {
            let after = client.states.range(fetch.after..);
            after.map(|(number, tracked)| (*number, tracked.state)).collect()
        });
        let session = client.map(|client| client.number).filter(|number| *number != 0);
        // The reading thread ends after this one.
        let _ = self.reads.send(Read { end, fetch, session, states: states.unwrap_or_default() });
    }

    /// Removes some of what ended sessions have left; whether there is more.
    fn clean_up(&mut self) -> bool {
        if self.index.garbage.is_empty() && self.index.orphans.is_empty() {
            return false;
        }
        let Some(engine) = &self.engine else { return false };
        let mut group = Group::default();
        let now = Clock::now();
        let mut applier = Applier { index: &mut self.index, group: &mut group, engine, now };
        let more = applier.clean_up(CLEAN_UP_ROWS);
        self.commit(&mut group) && more
    }

    /// Writes down which group is stored for sure: a start that finds less has lost something.
    fn mark(&mut self, at_once: bool) {
        let commit = self.index.counters.commit;
        if !self.progress.unsynced.is_empty() {
            return;
        }
        let is_due = self
            .progress
            .marked
            .is_none_or(|(marked, at)| marked < commit && (at_once || at.elapsed() >= MARK_AFTER));
        if is_due {
            self.folder.mark(commit);
            self.progress.marked = Some((commit, Clock::now()));
        }
    }
}

/// The counters as a row.
pub(crate) fn counters(counters: &Counters) -> Op {
    let value = Some(UserValue::from(counters.encode()));
    Op { table: Table::Meta, key: UserKey::new(COUNTERS), value }
}
