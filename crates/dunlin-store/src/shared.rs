//! What the threads of a store share: how far each worker's records are, what was fetched for it,
//! whether the disk works, and the open database.

use crate::engine::Engine;
use dunlin_broker::core::{Durability, Fetched};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// A lock whose holder panicked is taken over: what it guards is changed in single steps.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One worker's side.
pub(crate) struct End {
    written: AtomicU64,
    synced: AtomicU64,
    fetched: Mutex<VecDeque<Fetched>>,
    /// So that asking for what is not there takes no lock.
    fetched_len: AtomicUsize,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl End {
    pub(crate) fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            fetched: Mutex::default(),
            fetched_len: AtomicUsize::new(0),
            wake,
        }
    }

    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    fn level(&self, durability: Durability) -> &AtomicU64 {
        match durability {
            Durability::Memory | Durability::Written => &self.written,
            Durability::Fsync => &self.synced,
        }
    }

    pub(crate) fn stored_upto(&self, durability: Durability) -> u64 {
        self.level(durability).load(Ordering::Acquire)
    }

    pub(crate) fn advance(&self, durability: Durability, upto: u64) {
        self.level(durability).store(upto, Ordering::Release);
    }

    pub(crate) fn answer(&self, fetched: Fetched) {
        lock(&self.fetched).push_back(fetched);
        self.fetched_len.fetch_add(1, Ordering::Release);
        self.wake();
    }

    pub(crate) fn take_fetched(&self) -> Option<Fetched> {
        if self.fetched_len.load(Ordering::Acquire) == 0 {
            return None;
        }
        let fetched = lock(&self.fetched).pop_front()?;
        self.fetched_len.fetch_sub(1, Ordering::Release);
        Some(fetched)
    }
}

/// A disk that has done nothing for so long, with something to do, hangs.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// What all of them share.
pub(crate) struct Shared {
    /// For readers; gone while the disk fails. Who reads holds the lock, so that the database is
    /// closed when it has to be.
    pub(crate) engine: RwLock<Option<Engine>>,
    /// Bytes that were appended and are not stored.
    backlog: AtomicU64,
    backlog_bytes_max: u64,
    /// Since when the disk has been busy with the same, in milliseconds since `started`.
    busy_since: AtomicU64,
    started: Instant,
    is_failing: AtomicBool,
    is_ready: AtomicBool,
    is_closing: AtomicBool,
    ends: Mutex<Vec<std::sync::Arc<End>>>,
}

impl Shared {
    pub(crate) fn new(backlog_bytes_max: u64) -> Self {
        Self {
            engine: RwLock::new(None),
            backlog: AtomicU64::new(0),
            backlog_bytes_max,
            busy_since: AtomicU64::new(0),
            started: Instant::now(),
            is_failing: AtomicBool::new(false),
            is_ready: AtomicBool::new(true),
            is_closing: AtomicBool::new(false),
            ends: Mutex::default(),
        }
    }

    pub(crate) fn add_end(&self, end: std::sync::Arc<End>) {
        lock(&self.ends).push(end);
    }

    pub(crate) fn set_engine(&self, engine: Option<Engine>) {
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Acquire)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// More waits to be stored.
    pub(crate) fn appended(&self, bytes: u64) {
        self.appended_at(bytes, self.millis());
    }

    fn appended_at(&self, bytes: u64, now: u64) {
        let before = self.backlog.fetch_add(bytes, Ordering::AcqRel);
        let backlog = before + bytes;
        if before == 0 {
            self.busy_since.store(now, Ordering::Release);
        }
        let busy = now.saturating_sub(self.busy_since.load(Ordering::Acquire));
        if before > 0
            && u128::from(busy) > HANGS_AFTER.as_millis()
            && self.is_ready.swap(false, Ordering::AcqRel)
        {
            tracing::warn!(
                seconds = busy / 1000,
                "the disk hangs; nothing is taken that would have to be stored until it goes on"
            );
            self.wake_all();
        }
        if backlog > self.backlog_bytes_max && self.is_ready.swap(false, Ordering::AcqRel) {
            tracing::warn!(
                backlog_bytes = backlog,
                "the disk is behind what is to be stored; publishers are slowed down"
            );
        }
    }

    /// Less waits. Readiness comes back at half of the bound, so that it doesn't flutter.
    pub(crate) fn stored(&self, bytes: u64) {
        let backlog = self.backlog.fetch_sub(bytes, Ordering::AcqRel) - bytes;
        self.busy_since.store(self.millis(), Ordering::Release);
        self.look(backlog);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The disk fails, or works again.
    pub(crate) fn set_failing(&self, is_failing: bool) {
        self.is_failing.store(is_failing, Ordering::Release);
        if !is_failing {
            self.look(self.backlog.load(Ordering::Acquire));
        } else if self.is_ready.swap(false, Ordering::AcqRel) {
            self.wake_all();
        }
    }

    fn look(&self, backlog: u64) {
        if backlog <= self.backlog_bytes_max / 2
            && !self.is_failing.load(Ordering::Acquire)
            && !self.is_ready.load(Ordering::Acquire)
            && !self.is_ready.swap(true, Ordering::AcqRel)
        {
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        lock(&self.ends).iter().for_each(|end| end.wake());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_hangs_is_given_nothing_more_until_it_goes_on() {
        let shared = Shared::new(1000);
        let hangs = u64::try_from(HANGS_AFTER.as_millis()).expect("seconds");
        // The first append finds a disk with nothing to do.
        shared.appended_at(1, 100_000);
        shared.appended_at(1, 100_000 + hangs);
        assert!(shared.is_ready(), "not for so long yet");
        shared.appended_at(1, 100_001 + hangs);
        assert!(!shared.is_ready());
        shared.stored(3);
        assert!(shared.is_ready());
    }

    #[test]
    fn a_long_backlog_is_halved_before_more_is_taken() {
        let shared = Shared::new(1000);
        shared.appended(1001);
        assert!(!shared.is_ready());
        shared.stored(500);
        assert!(!shared.is_ready());
        shared.stored(1);
        assert!(shared.is_ready());
        shared.set_failing(true);
        assert!(!shared.is_ready());
        shared.set_failing(false);
        assert!(shared.is_ready());
    }
}
