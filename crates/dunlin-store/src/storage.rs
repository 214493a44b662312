//! The store as the broker sees it: its `Storage`, and the `Store` of each worker.

use crate::commit::{Committer, Job, Progress};
use crate::compaction::Compaction;
use crate::engine::Engine;
use crate::fetch;
use crate::health::Cause;
use crate::index::Index;
use crate::journal;
use crate::open::{Folder, OpenError};
use crate::recovery::{Found, Recovered, Recovery};
use crate::shared::{End, Shared, lock};
use crate::tools::Control;
use dunlin_broker::core::{Durability, Fetch, Fetched, Record, RecordNumber, WorkerNumber};
use dunlin_broker::{Storage, Store, StoreWaker};
use std::error::Error;
use std::io;
use std::path::Path;
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
    /// How much may wait to be stored before [`Store::is_ready`] says no. Default: 64 MiB.
    pub backlog_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 32 * 1024 * 1024, backlog_bytes_max: 64 * 1024 * 1024 }
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
}

impl std::fmt::Debug for FileStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStorage").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

/// Opens the database of a folder, with its journals mended; gives how many were damaged.
pub(crate) fn open_engine(folder: &Folder, options: &Options) -> Result<(Engine, u64), OpenError> {
    let path = folder.database();
    let damaged_journals = journal::mend(&path, &folder.damaged(), folder.marked())
        .map_err(|source| OpenError::Io { path: path.clone(), source })?;
    match Engine::open(&path, options.cache_bytes) {
        Ok(engine) => Ok((engine, damaged_journals)),
        Err(error) => Err(OpenError::Database { folder: path, reason: Cause(&error).to_string() }),
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
        let folder = Folder::open(path.as_ref())?;
        let (engine, damaged_journals) = open_engine(&folder, &options)?;
        let found = Found { damaged_journals, ..Found::default() };
        Ok(Self { folder, options, engine: Some(engine), found, threads: None })
    }

    /// Whether there was no store in the folder, so that this one begins empty.
    pub const fn is_new(&self) -> bool {
        self.folder.is_new()
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
            cache_bytes: self.options.cache_bytes,
            engine: Some(engine),
            index,
            jobs: jobs_end,
            reads,
            damaged: damaged_end,
            progress: Progress::default(),
            compaction: Compaction::default(),
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
        let damaged_journals = self.found.damaged_journals;
        let clock = Clock::now();
        let Recovered { index, mended, found, .. } = Recovery::new(&engine, each).run();
        if let Some(marked) = self.folder.marked()
            && marked > index.counters.commit
        {
            tracing::error!(
                stored = marked,
                found = index.counters.commit,
                "the store has lost groups that were on the disk: a part of it is damaged"
            );
        }
        if found.damaged_rows > 0 || found.gaps > 0 {
            tracing::error!(
                rows = found.damaged_rows,
                places = found.gaps,
                "parts of the store are damaged; the rest goes on"
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
        self.found = Found { damaged_journals, ..found };
        Ok(())
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
