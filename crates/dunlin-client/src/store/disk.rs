//! The few things that a journal asks of a file system, and the real one.

use super::StoreError;
use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder with one journal in it, and its successor while that is made.
pub(crate) trait Disk: Send + 'static {
    /// The whole journal; `None` when there is none.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Writes at this place, which is the end of the journal as its owner knows it.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the journal off.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Returns once the journal's bytes outlive a loss of power.
    fn sync(&mut self) -> io::Result<()>;
    /// Writes the successor, in place of what is left of another.
    fn write_successor(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once the successor's bytes outlive a loss of power.
    fn sync_successor(&mut self) -> io::Result<()>;
    /// The successor becomes the journal, in one step.
    fn promote_successor(&mut self) -> io::Result<()>;
    /// Returns once the last promotion outlives a loss of power.
    fn sync_folder(&mut self) -> io::Result<()>;
    /// Keeps the journal as it is under another name beside it.
    fn set_aside(&mut self) -> io::Result<()>;
}

/// A journal at `PATH`, its successor at `PATH.new`, and a lock on `PATH.lock`.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    journal: Option<File>,
    successor: Option<File>,
    /// Held for as long as it is open; the system lets go of it when the process dies.
    _lock: File,
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |action| {
            move |source: io::Error| StoreError::Io {
                path: path.to_owned(),
                action,
                source: Arc::new(source),
            }
        };
        let options = OpenOptions::new().read(true).write(true).to_owned();
        let lock = options.clone().create(true).truncate(false).open(beside(path, ".lock"));
        let lock = lock.map_err(failed("be locked"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed("be locked")(error)),
        }
        let journal = match options.open(path) {
            Ok(journal) => Some(journal),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("be opened")(error)),
        };
        Ok(Self { path: path.to_owned(), journal, successor: None, _lock: lock })
    }

    fn journal(&mut self) -> io::Result<&mut File> {
        self.journal.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn successor(&self) -> PathBuf {
        beside(&self.path, ".new")
    }
}

impl Disk for Folder {
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(journal) = &mut self.journal else { return Ok(None) };
        let mut bytes = Vec::new();
        journal.seek(SeekFrom::Start(0))?;
        journal.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let journal = self.journal()?;
        journal.seek(SeekFrom::Start(offset))?;
        journal.write_all(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.journal()?.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.journal()?.sync_data()
    }

    fn write_successor(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.successor();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.write_all(bytes)?;
        self.successor = Some(file);
        Ok(())
    }

    fn sync_successor(&mut self) -> io::Result<()> {
        match &self.successor {
            Some(file) => file.sync_all(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn promote_successor(&mut self) -> io::Result<()> {
        std::fs::rename(self.successor(), &self.path)?;
        self.journal = self.successor.take();
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        // Elsewhere a folder can't be opened, and a rename is as durable as the system makes it.
        #[cfg(unix)]
        {
            let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        std::fs::copy(&self.path, beside(&self.path, ".damaged")).map(drop)
    }
}
