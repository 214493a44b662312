//! The store as the broker sees it: its `Storage`, and the `Store` of each worker.

use crate::commit::{Committer, Job, Progress};
use crate::compaction::Compaction;
use crate::encoding::Counters;
use crate::engine::Engine;
use crate::fetch;
use crate::health::Cause;
use crate::index::Index;
use crate::journal;
use crate::keys::{COUNTERS, Table};
use crate::loss::{self, Loss};
use crate::open::{Folder, OpenError};
use crate::recovery::{Found, Recovered, Recovery};
use crate::shared::{End, Shared, lock};
use crate::tools::Control;
use bytes::Bytes;
use dunlin_broker::core::{Durability, Fetch, Fetched, Record, RecordNumber, WorkerNumber};
use dunlin_broker::{Storage, Store, StoreWaker};
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant as Clock;

/// What a store may use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Memory for what was read from the disk. Default: 32 MiB.
    pub cache_bytes: u64,
    /// Memory for what was stored last, before it is written to tables: about so much, for all tables
    /// together. Default: 56 MiB.
    pub memtable_bytes: u64,
    /// How much may wait to be stored before [`Store::is_ready`] says no. Default: 64 MiB.
    pub backlog_bytes_max: u64,
}

const MIB: u64 = 1024 * 1024;

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 32 * MIB, memtable_bytes: 56 * MIB, backlog_bytes_max: 64 * MIB }
    }
}

impl Options {
    /// For a process that may have so much memory in all; the default where that is much.
    ///
    /// What the store holds it holds until there is something else to do: it has to leave room for
    /// queues, or they could be empty and memory scarce all the same.
    #[must_use]
    pub fn within(memory_max: u64) -> Self {
        let Self { cache_bytes, memtable_bytes, backlog_bytes_max } = Self::default();
        Self {
            cache_bytes: cache_bytes.min(memory_max / 16),
            memtable_bytes: memtable_bytes.min(memory_max / 8),
            backlog_bytes_max: backlog_bytes_max.min(memory_max / 8),
        }
    }
}

/// A store in a folder, which this process alone uses.
pub struct FileStorage {
    folder: Folder,
    options: Options,
    /// Until it is recovered.
    engine: Option<Engine>,
    found: Found,
    threads: Option<(Sender<Job>, Arc<Threads>)>,
    ending: Ending,
}

/// Tells of the end of a store to whoever has given it away.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    pub(crate) lost: Arc<AtomicU64>,
}

impl Ending {
    /// How many changes the disk had not taken when the store ended, at least; 0 before that.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStorage").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

/// The open database of a folder, and what was lost of its journals.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) losses: Vec<Loss>,
}

/// Opens the database of a folder, with its journals mended.
pub(crate) fn open_engine(folder: &Folder, options: &Options) -> Result<Opened, OpenError> {
    let path = folder.database();
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::Io { path, source }
    };
    folder.check_database()?;
    folder.make_private()?;
    let marked = folder.marked();
    let mut losses = journal::mend(&path, &folder.damaged(), marked).map_err(at(&path))?;
    let engine = Engine::open(&path, options).map_err(|error| OpenError::Database {
        folder: path.clone(),
        reason: Cause(&error).to_string(),
    })?;
    // Counters that can't be read tell nothing; that they can't is told by whoever reads all.
    let counters = engine.get(Table::Meta, COUNTERS).ok().map(|row| match row {
        Some(row) => Counters::decode(Bytes::copy_from_slice(&row)).ok(),
        None => Some(Counters::default()),
    });
    if let (Some(stored), Some(Some(Counters { commit: found, .. }))) = (marked, counters)
        && stored > found
    {
        let loss = Loss::Groups { database: path, found, stored };
        tracing::error!("damaged: {loss}");
        loss::note(&folder.damaged(), std::slice::from_ref(&loss))
            .map_err(at(&folder.damaged()))?;
        // It is noted, and would be found again.
        folder.mark(found);
        losses.push(loss);
    }
    Ok(Opened { engine, losses })
}

/// What is found by opening a database.
pub(crate) fn of_journals(losses: &[Loss]) -> Found {
    let is_journal = |loss: &&Loss| matches!(loss, Loss::Journal { .. });
    Found {
        damaged_journals: losses.iter().filter(is_journal).count() as u64,
        lost_groups: losses.iter().map(Loss::count).sum(),
        ..Found::default()
    }
}

/// The threads of a store; they end with the last end of it, when all is stored.
struct Threads {
    shared: Arc<Shared>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    control: Mutex<Option<Control>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Nobody can append any more: what has waited until now for a disk that fails is lost, as
        // its publishers were told nothing else.
        self.shared.close();
        drop(lock(&self.control).take());
        for handle in lock(&self.handles).drain(..) {
            if handle.join().is_err() {
                tracing::error!("a thread of the store has panicked");
            }
        }
    }
}

impl FileStorage {
    /// Opens the store in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`OpenError`], above all when another process uses the folder.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        Self::open_folder(Folder::open(path.as_ref())?, options)
    }

    fn open_folder(folder: Folder, options: Options) -> Result<Self, OpenError> {
        let Opened { engine, losses } = open_engine(&folder, &options)?;
        let found = of_journals(&losses);
        Ok(Self {
            folder,
            options,
            engine: Some(engine),
            found,
            threads: None,
            ending: Ending::default(),
        })
    }

    /// Opens a new store that counts as a part of one until the folder, which is given too, is told
    /// that it is whole.
    pub(crate) fn open_partial(path: &Path, options: Options) -> Result<(Self, Folder), OpenError> {
        let folder = Folder::open(path)?;
        // Or the mark would stay beside a store that is whole, and have it deleted.
        folder.check_database()?;
        folder.set_partial(true)?;
        Ok((Self::open_folder(folder.clone(), options)?, folder))
    }

    /// Whether there was no store in the folder, so that this one begins empty.
    pub const fn is_new(&self) -> bool {
        self.folder.is_new()
    }

    /// Tells whether everything was stored, once the store has ended.
    pub fn ending(&self) -> Ending {
        self.ending.clone()
    }

    /// What the recovery found; all zero before it.
    pub const fn found(&self) -> Found {
        self.found
    }

    /// Opens an end as [`Storage::open`] does; `wake` is called where the waker would be.
    ///
    /// # Errors
    /// When the system gives no threads, or the store could not be read.
    pub fn open_end(
        &mut self,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<FileStore, Box<dyn Error + Send + Sync>> {
        if self.threads.is_none() {
            self.recover(&mut |_| {})?;
        }
        let Some((jobs, threads)) = &self.threads else { return Err("not recovered".into()) };
        let end = Arc::new(End::new(Box::new(wake)));
        threads.shared.add_end(end.clone());
        Ok(FileStore { jobs: jobs.clone(), end, appended: 0, threads: threads.clone() })
    }

    /// Damages a row.
    #[cfg(test)]
    pub(crate) fn overwrite(&self, table: crate::keys::Table, key: &[u8], value: &[u8]) {
        let op = crate::engine::Op { table, key: key.into(), value: Some(value.into()) };
        let engine = self.engine.as_ref().expect("not started");
        engine.commit(&[op], fjall::PersistMode::SyncData).expect("a disk");
    }

    fn start(&self, engine: Engine, index: Index) -> io::Result<(Sender<Job>, Arc<Threads>)> {
        let shared = Arc::new(Shared::new(self.options.backlog_bytes_max));
        shared.set_engine(Some(engine.clone()));
        let (jobs, jobs_end) = channel();
        let (reads, reads_end) = channel();
        let (damaged, damaged_end) = channel();
        let committer = Committer {
            shared: shared.clone(),
            folder: self.folder.clone(),
            options: self.options.clone(),
            engine: Some(engine),
            index,
            jobs: jobs_end,
            reads,
            damaged: damaged_end,
            progress: Progress::default(),
            compaction: Compaction::default(),
            ending: self.ending.clone(),
        };
        // A store without backups is better than none.
        let control = Control::listen(self.folder.path(), shared.clone())
            .inspect_err(|error| tracing::warn!(%error, "backups can't be made while this runs"));
        let threads = Arc::new(Threads {
            shared: shared.clone(),
            handles: Mutex::default(),
            control: Mutex::new(control.ok()),
        });
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let committing = named("dunlin-commit").spawn(move || committer.run())?;
        lock(&threads.handles).push(committing);
        let reading =
            named("dunlin-fetch").spawn(move || fetch::run(&shared, &reads_end, &damaged))?;
        lock(&threads.handles).push(reading);
        Ok((jobs, threads))
    }
}

impl Storage for FileStorage {
    fn recover(
        &mut self,
        each: &mut dyn FnMut(Record),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let engine = self.engine.take().ok_or("recovered already")?;
        let Found { damaged_journals, lost_groups, .. } = self.found;
        let clock = Clock::now();
        let Recovered { index, mended, found, losses, .. } = Recovery::new(&engine, each).run();
        losses.iter().for_each(|loss| tracing::error!("damaged: {loss}"));
        if found.damaged_rows > 0 || found.gaps > 0 {
            tracing::error!(
                rows = found.damaged_rows,
                places = found.gaps,
                "parts of the store are damaged; the rest goes on"
            );
        }
        // A note that can't be read tells nobody anything, and the store is none the worse.
        let notes = loss::notes(&self.folder.damaged()).unwrap_or_default().len();
        if notes > 0 {
            tracing::warn!(
                notes, folder = %self.folder.damaged().display(),
                "a part of what was stored has been lost: `dunlin store check` says what, and \
                 `dunlin store forget` has it forgotten"
            );
        }
        if !mended.is_empty() {
            engine
                .commit(&mended, fjall::PersistMode::SyncData)
                .map_err(|error| Cause(&error).to_string())?;
        }
        if !self.is_new() {
            tracing::info!(
                sessions = found.sessions,
                messages = found.messages,
                millis = clock.elapsed().as_millis(),
                "what was stored is taken up"
            );
        }
        self.threads = Some(self.start(engine, index)?);
        self.found = Found { damaged_journals, lost_groups, ..found };
        Ok(())
    }

    fn lost(&self) -> u64 {
        self.found.lost()
    }

    fn open(&mut self, worker: WorkerNumber, waker: StoreWaker) -> Box<dyn Store> {
        match self.open_end(move || waker.wake()) {
            Ok(end) => Box::new(end),
            // Only without a recovery before it, which tells why.
            Err(error) => panic!("the store of worker {} can't be opened: {error}", worker.0),
        }
    }
}

/// The end of a worker.
pub struct FileStore {
    // In this order: the threads end when nobody can append any more, and are waited for then.
    jobs: Sender<Job>,
    end: Arc<End>,
    appended: u64,
    threads: Arc<Threads>,
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStore").field("appended", &self.appended).finish_non_exhaustive()
    }
}

impl Store for FileStore {
    fn append(&mut self, last: RecordNumber, records: Vec<Record>, durability: Durability) {
        self.appended = last.0;
        let bytes = records.iter().map(bytes).sum();
        self.threads.shared.appended(bytes);
        let end = self.end.clone();
        // The committing thread is gone only if it has panicked: then nothing is stored any more,
        // and nothing acknowledged.
        let _ = self.jobs.send(Job::Append { end, last: last.0, records, durability, bytes });
    }

    fn stored_upto(&self, durability: Durability) -> RecordNumber {
        RecordNumber(match durability {
            Durability::Memory => self.appended,
            Durability::Written | Durability::Fsync => self.end.stored_upto(durability),
        })
    }

    fn fetch(&mut self, fetch: Fetch) {
        let _ = self.jobs.send(Job::Fetch { end: self.end.clone(), fetch });
    }

    fn take_fetched(&mut self) -> Option<Fetched> {
        self.end.take_fetched()
    }

    fn is_ready(&self) -> bool {
        self.threads.shared.is_ready()
    }
}

/// About what a record takes while it waits.
fn bytes(record: &Record) -> u64 {
    let content = match record {
        Record::Owed { message, .. }
        | Record::Will { message, .. }
        | Record::Underway { message, .. }
        | Record::Retained { message: Some(message), .. } => message.size(),
        _ => 0,
    };
    content as u64 + size_of::<Record>() as u64
}
