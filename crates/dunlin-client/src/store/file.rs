//! A Session Store in a file.

use super::disk::Folder;
use super::journal::{Journal, OnDamage};
use super::{SessionChange, SessionStore, StoreError, StoredSession};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

/// Keeps a Session in a file.
///
/// The file at the given path is a journal, to which changes are added; `PATH.new` is there while
/// it is written anew without what is over, and `PATH.lock` keeps others away. The folder must be
/// there. The memory it takes is that of the Session.
///
/// What a crash or a loss of power leaves unfinished at the end of the journal is dropped when it
/// is opened: nothing has relied on it.
///
/// ```
/// use dunlin_client::{Client, FileStore};
///
/// # fn run(folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
/// let store = FileStore::open(folder.join("session"))?;
/// assert!(store.session().is_empty(), "nothing is left from an earlier run");
///
/// // The session keeps its name from run to run.
/// let client = Client::builder("mqtt://broker.example")?
///     .client_identifier("meter-7")
///     .session_store(store);
/// # let _ = client;
/// # Ok(())
/// # }
/// # let folder = std::env::temp_dir().join(format!("dunlin-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder).unwrap();
/// # let outcome = run(&folder);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # outcome.unwrap();
/// ```
#[derive(Debug)]
pub struct FileStore {
    journal: Journal<Folder>,
}

impl FileStore {
    /// Opens the store, or begins a new one. It blocks for as long as a read and a sync take.
    ///
    /// # Errors
    /// [`StoreError`]; above all [`StoreError::InUse`] while another client has it open, and
    /// [`StoreError::Damaged`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), OnDamage::Fail)
    }

    /// Opens a store even if it is damaged: goes on with what precedes the damage, and keeps the
    /// damaged file as `PATH.damaged`.
    ///
    /// What the rest of the file said is lost: messages that were acknowledged in it are published
    /// again, and ones that came into it are not.
    ///
    /// # Errors
    /// [`StoreError`], but [`StoreError::Damaged`] only if the very beginning is.
    pub fn open_damaged(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(path.as_ref(), OnDamage::SetAside)
    }

    fn open_with(path: &Path, on_damage: OnDamage) -> Result<Self, StoreError> {
        let salt = RandomState::new().hash_one(path);
        let journal = Journal::open(Folder::open(path)?, path, salt, on_damage)?;
        Ok(Self { journal })
    }

    /// What is stored.
    pub const fn session(&self) -> &StoredSession {
        self.journal.session()
    }
}

impl SessionStore for FileStore {
    fn load(&mut self) -> Result<StoredSession, StoreError> {
        Ok(self.journal.session().clone())
    }

    fn append(&mut self, change: &SessionChange) -> Result<(), StoreError> {
        self.journal.append(change)
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.journal.sync()
    }
}

#[cfg(test)]
mod tests;
