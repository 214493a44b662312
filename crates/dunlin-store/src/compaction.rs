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
/// How often to look.
const LOOK_AFTER: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 2 });

/// Looks after drained tables.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    looked: Option<Clock>,
    /// Something was written since.
    is_due: bool,
    thread: Option<JoinHandle<()>>,
}

impl Compaction {
    /// While a table is being rewritten.
    #[cfg(test)]
    pub(crate) fn rewriting(thread: JoinHandle<()>) -> Self {
        Self { thread: Some(thread), ..Self::default() }
    }

    /// Something was written.
    pub(crate) const fn written(&mut self) {
        self.is_due = true;
    }

    /// How long to wait at most before looking again; `None` when there is no reason to.
    pub(crate) fn due_in(&self) -> Option<Duration> {
        let looked = self.looked.map_or(LOOK_AFTER, |looked| looked.elapsed());
        self.is_due.then(|| LOOK_AFTER.saturating_sub(looked))
    }

    /// Starts to rewrite a table that has drained, if there is one and none is being rewritten.
    pub(crate) fn look(&mut self, now: Clock, engine: &Engine, index: &Index) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_AFTER) {
            return;
        }
        self.looked = Some(now);
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        self.is_due = false;
        let shared = index.references.len() as u64;
        let drained = [(Table::Queue, index.queued), (Table::Message, shared)];
        let drained = drained.into_iter().find(|(table, live)| {
            let rows = engine.table(*table).approximate_len() as u64;
            rows > ROWS_MIN && live.saturating_mul(DRAINED) < rows
        });
        let Some((table, rows)) = drained else { return };
        let engine = engine.clone();
        let thread = std::thread::Builder::new().name("dunlin-compact".to_owned());
        let thread = thread.spawn(move || match engine.compact(table) {
            Ok(()) => tracing::debug!(table = table.name(), rows, "a drained table was rewritten"),
            Err(error) => tracing::warn!(
                table = table.name(), error = %Cause(&error),
                "a drained table could not be rewritten; it takes its room until it can be"
            ),
        });
        self.thread = thread.ok();
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
