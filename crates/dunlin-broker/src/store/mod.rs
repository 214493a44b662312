//! Where records go that must survive: the traits that a store fulfils.

use crate::core::{Durability, Fetch, Fetched, Record, RecordNumber, WorkerNumber};
use mio::Waker;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keeps the records of a broker: one log of all its workers.
///
/// A broker without a storage keeps its state in memory alone: no records are made then.
pub trait Storage: Send {
    /// Gives back what an earlier process has stored, in the order of the log; called once, before
    /// the first [`Storage::open`]. See [`Core::recover`] for what a crash may leave out.
    ///
    /// A long queue is not read: it is told of by one [`Record::Waiting`].
    ///
    /// # Errors
    /// Whatever keeps the records from being read; the broker doesn't start then.
    ///
    /// [`Core::recover`]: crate::core::Core::recover
    fn recover(&mut self, each: &mut dyn FnMut(Record))
    -> Result<(), Box<dyn Error + Send + Sync>>;

    /// How much of what was stored the recovery has found to be lost, counted as far as is known:
    /// at least one for each place that is damaged. It becomes a part of
    /// [`DropCause::Damaged`](crate::core::DropCause::Damaged).
    fn lost(&self) -> u64 {
        0
    }

    /// Opens the end of the log that a worker appends to. The waker is for what is stored after
    /// [`Store::append`] has returned.
    fn open(&mut self, worker: WorkerNumber, waker: StoreWaker) -> Box<dyn Store>;
}

/// Takes the records of one worker, tells how far they are safe, and reads messages back.
///
/// Records come in the order in which they were decided; giving them back in that order is what
/// makes recovery apply the same changes as the live path. The records of one call belong
/// together: a crash keeps all of them or none. Over all workers, it keeps nothing that was
/// appended after something that it lost.
pub trait Store: Send {
    /// Takes records, the last of which has this number; numbers begin with 1 in each process.
    /// They become [`Durability::Written`] in any case, and safer if that is asked for.
    fn append(&mut self, last: RecordNumber, records: Vec<Record>, durability: Durability);

    /// Up to where records are so safe. Asked often: an atomic read is fine, a lock is not.
    fn stored_upto(&self, durability: Durability) -> RecordNumber;

    /// Wants messages back; the worker is woken when they are there.
    fn fetch(&mut self, fetch: Fetch);

    /// Takes what was fetched, if anything was.
    fn take_fetched(&mut self) -> Option<Fetched>;

    /// Whether more may be taken that must be stored: not while the storage fails, or has so much
    /// to do that no more should wait for it. Asked often, as [`Store::stored_upto`].
    fn is_ready(&self) -> bool;
}

/// Wakes the worker of a [`Store`], to be called whenever [`Store::stored_upto`] has moved on,
/// something was fetched, or [`Store::is_ready`] has changed.
#[derive(Clone, Debug)]
pub struct StoreWaker {
    pub(crate) waker: Arc<Waker>,
    pub(crate) is_woken: Arc<AtomicBool>,
}

impl StoreWaker {
    /// Lets the worker look, from whatever thread. Calls before it does cost next to nothing.
    pub fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a worker can't be woken");
        }
    }
}
