//! A disk that fails: told once, and tried again until it works.
//!
//! After a failed write or sync nobody knows what of a file is on the disk: the kernel may drop
//! what it could not write and say that all is well the next time. So no file that has failed is
//! synced again in the hope that it counts. The database is closed and opened anew, which begins
//! a new journal, and everything since the last sync that succeeded is written there again.

use crate::engine::{Engine, Op};
use crate::journal;
use crate::open::Folder;
use crate::storage::Options;
use fjall::PersistMode;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// How long to wait before the disk is tried again, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How many changes are written again at once.
const BATCH_MAX: usize = 4096;

/// Opens the database again, and stores what a failed one may have lost. Gives up when `give_up`
/// says so.
pub(crate) fn mend(
    folder: &Folder,
    options: &Options,
    lost: &[Op],
    error: &fjall::Error,
    give_up: impl Fn() -> bool,
) -> Option<Engine> {
    tracing::error!(
        folder = %folder.path().display(),
        error = %Cause(error),
        bytes_free = bytes_free(folder.path()),
        "the disk fails: nothing is acknowledged until it works again; \
         free space or mount it writable, a restart is not needed"
    );
    let mut wait = BACK_OFF.0;
    loop {
        std::thread::sleep(wait);
        wait = (wait * 2).min(BACK_OFF.1);
        match try_again(folder, options, lost) {
            Ok(engine) => {
                tracing::info!(written_again = lost.len(), "the disk works again");
                return Some(engine);
            }
            Err(error) => tracing::debug!(error = %Cause(&error), "the disk still fails"),
        }
        if give_up() {
            tracing::error!(changes = lost.len(), "stopped while the disk fails");
            return None;
        }
    }
}

/// What the file system has left for us, if it says.
fn bytes_free(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path).ok()?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// A disk that takes less has no room to go on with: it would fail with the next message.
const PROBE_BYTES: usize = 1024 * 1024;

/// Sees whether the disk takes as much as will soon be needed.
pub(crate) fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join("probe");
    let written = File::create(&path).and_then(|mut file| {
        // Some file systems store zeroes without room for them.
        file.write_all(&vec![0xA5; PROBE_BYTES])?;
        file.sync_all()
    });
    let removed = std::fs::remove_file(&path);
    written.and(removed)
}

fn try_again(folder: &Folder, options: &Options, lost: &[Op]) -> fjall::Result<Engine> {
    probe(folder.path())?;
    // What is torn is written again.
    journal::mend(&folder.database(), &folder.damaged(), None)?;
    begin_journal(&folder.database())?;
    let engine = Engine::open(&folder.database(), options)?;
    for ops in lost.chunks(BATCH_MAX) {
        engine.commit(ops, PersistMode::Buffer)?;
    }
    engine.sync()?;
    Ok(engine)
}

/// Makes the next journal file. The engine takes the last one for its own, and those before it
/// for what has to be put into tables: they are read once more and then removed, never written.
fn begin_journal(database: &Path) -> io::Result<()> {
    // An empty one is left from a try that got no further.
    if let Some((number, path)) = journal::journals(database)?.last()
        && std::fs::metadata(path)?.len() > 0
    {
        File::create_new(database.join(format!("{}.jnl", number + 1)))?.sync_all()?;
        File::open(database)?.sync_all()?;
    }
    Ok(())
}

/// An error of the engine in words.
pub(crate) struct Cause<'a>(pub(crate) &'a fjall::Error);

impl Display for Cause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            fjall::Error::Io(error) => error.fmt(f),
            fjall::Error::Poisoned => f.write_str("writing in the background failed"),
            fjall::Error::Locked => f.write_str("another process uses the database"),
            error => write!(f, "{error:?}"),
        }
    }
}
