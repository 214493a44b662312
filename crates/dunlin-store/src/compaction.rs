//! Giving room back to the disk when queues have drained.
//!
//! What is removed stays on the disk behind a mark until tables are merged, and the engine merges
//! by what is written, not by what is left. A queue of a million messages that was fetched would
//! take its room until others push it out, and each start would walk over it.

use crate::engine::Engine;
use crate::health::Cause;
use crate::index::Index;
use crate::keys::Table;
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

/// Tables with fewer rows are left alone.
const ROWS_MIN: u64 = if cfg!(test) { 500 } else { 100_000 };
/// A table is rewritten when one of so many of its rows still counts: what is rewritten is then
/// always less than what was drained.
const DRAINED: u64 = 4;
/// How many looks are spent on deleting what was replaced: a snapshot that is in use for longer,
/// such as that of a backup, leaves it to the next memtable that becomes full.
const DELETE_TRIES: u32 = 10;
/// How often the rest after a rewrite is doubled at most while the next one finds no less to do.
const REST_DOUBLINGS: u32 = 8;
/// How often to look.
const LOOK_AFTER: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 2 });

/// Looks after drained tables.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    looked: Option<Clock>,
    /// Something was written since.
    is_due: bool,
    thread: Option<JoinHandle<()>>,
    /// When the last rewrite began, and how many there were, one after the other, that left a table
    /// with too many rows: more has drained since, or a snapshot still needs what has.
    rewritten: Option<(Clock, u32)>,
    /// Of which table files were replaced, and how often to try to delete them.
    replaced: Option<(Table, u32)>,
    /// How often memory was to be given back since something was written.
    released: u32,
}

impl Compaction {
    /// Something was written.
    pub(crate) const fn written(&mut self) {
        self.is_due = true;
        self.released = 0;
    }

    /// How long to wait at most before looking again; `None` when there is no reason to.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let looked = self.looked.map_or(LOOK_AFTER, |looked| looked.elapsed());
        self.is_due.then(|| LOOK_AFTER.saturating_sub(looked))
    }

    /// Whether something should be committed before the next look: files that were replaced are
    /// deleted only when there is a newer state than the one that replaced them.
    pub(crate) fn wants_commit(&self, now: Clock) -> bool {
        self.replaced.is_some() && self.is_idle() && self.is_time(now)
    }

    /// Starts to rewrite a table that has drained, or to delete what the last rewrite has replaced,
    /// if there is such a thing and nothing of the kind is under way.
    pub(crate) fn look(&mut self, now: Clock, engine: &Engine, index: &Index) {
        if !self.is_time(now) {
            return;
        }
        self.looked = Some(now);
        if !self.is_idle() {
            return;
        }
        self.is_due = false;
        if let Some((table, tries)) = &mut self.replaced {
            if *tries > 0 && engine.has_replaced(*table) {
                *tries -= 1;
                self.start(engine, |engine| {
                    if let Err(error) = engine.delete_replaced() {
                        tracing::warn!(error = %Cause(&error), "replaced files are not deleted yet");
                    }
                });
                return;
            }
            self.replaced = None;
        }
        let Some((table, rows)) = drained(engine, index) else {
            self.rewritten = None;
            if engine.holds_memtables() && self.released < DELETE_TRIES {
                self.released += 1;
                self.start(engine, |engine| {
                    if let Err(error) = engine.delete_replaced() {
                        tracing::warn!(error = %Cause(&error), "memory of the store is not free yet");
                    }
                });
            }
            return;
        };
        let (rewritten, count) = self.rewritten.unzip();
        let count = count.unwrap_or(0);
        if rewritten.is_some_and(|at| now.duration_since(at) < LOOK_AFTER * (1 << count)) {
            self.is_due = true;
            return;
        }
        self.rewritten = Some((now, (count + 1).min(REST_DOUBLINGS)));
        self.replaced = Some((table, DELETE_TRIES));
        self.start(engine, move |engine| match engine.compact(table) {
            Ok(()) => tracing::debug!(table = table.name(), rows, "a drained table was rewritten"),
            Err(error) => tracing::warn!(
                table = table.name(), error = %Cause(&error),
                "a drained table could not be rewritten; it takes its room until it can be"
            ),
        });
    }

    fn is_time(&self, now: Clock) -> bool {
        self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_AFTER)
    }

    fn is_idle(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets a thread do it, to be looked after later.
    pub(crate) fn start(&mut self, engine: &Engine, act: impl FnOnce(&Engine) + Send + 'static) {
        let engine = engine.clone();
        let thread = std::thread::Builder::new().name("dunlin-compact".to_owned());
        self.thread = thread.spawn(move || act(&engine)).ok();
        self.is_due = true;
    }

    /// Waits for what is being rewritten: it has the database open.
    pub(crate) fn finish(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that rewrites tables has panicked");
        }
    }
}

/// A table with far more rows than still count, and how many do.
fn drained(engine: &Engine, index: &Index) -> Option<(Table, u64)> {
    let shared = index.references.len() as u64;
    [(Table::Queue, index.queued), (Table::Message, shared)].into_iter().find(|(table, live)| {
        let rows = engine.table(*table).approximate_len() as u64;
        rows > ROWS_MIN && live.saturating_mul(DRAINED) < rows
    })
}
