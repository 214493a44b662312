//! The folder of a store: who uses it, in which format it is, and how far it surely goes.
//!
//! ```text
//! lock          held while a process uses the folder; names the process
//! format        the version of all that is stored
//! progress      the number of a group that was surely stored
//! database      the engine's files
//! control.sock  where a running broker is asked for a copy
//! damaged       what of journals was damaged, and notes of what it cost
//! partial       there while an import goes on
//! probe         written to see whether a disk that failed has room again
//! ```

use rustix::fs::Access;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file that is there while an import goes on.
const PARTIAL: &str = "partial";

/// The version of the format that this program writes.
pub const FORMAT: u32 = 1;

/// Why a store can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process uses the folder.
    #[error("{} is in use by {user}; stop it, or use another folder", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, as far as it has said.
        user: String,
    },
    /// A later version has written the store.
    #[error(
        "{} has format {found}, and this version knows formats up to {FORMAT}; \
         use the version that wrote it, or its export",
        folder.display()
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The format that it has.
        found: u32,
    },
    /// The file that tells the format is damaged.
    #[error(
        "{} doesn't say which format the store has; if it is intact otherwise, \
         write `dunlin-store {FORMAT}` into it", path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The folder had a store, whose database is not there any more.
    #[error(
        "{} had a store, and its database is gone: mount it if it is elsewhere, or import a \
         backup into a new folder (not into this one), or delete this one to begin anew",
        folder.display()
    )]
    Gone {
        /// The folder.
        folder: PathBuf,
    },
    /// An import has not come to its end.
    #[error(
        "{} has a part of an import that did not come to its end: delete the folder and import \
         again, or, if there is no better copy, delete {} to go on with that part",
        folder.display(), folder.join(PARTIAL).display()
    )]
    Partial {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder can't be used.
    #[error("{} can't be used{}", path.display(), hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database can't be opened.
    #[error("the database in {} can't be opened: {reason}", folder.display())]
    Database {
        /// Its folder.
        folder: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What may help.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            " (a folder is needed, and a file is in its place)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            " (the file system is read-only, and whoever opens a store writes to it: use a copy)"
        }
        io::ErrorKind::PermissionDenied => " (this user needs to read and write there)",
        _ => "",
    }
}

/// A folder that this process alone uses.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    is_new: bool,
    /// Locked until the last clone is gone.
    _lock: Arc<File>,
}

impl Folder {
    /// Takes the folder for this process; makes it if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| OpenError::Io { path, source }
        };
        make(path).map_err(at(path))?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut lock = options.open(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { folder: path.into(), user: user(&mut lock) });
            }
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::Io { path: lock_path, source });
            }
        }
        let named = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        named.map_err(at(&lock_path))?;
        let mut folder = Self { path: path.into(), is_new: false, _lock: Arc::new(lock) };
        folder.is_new = folder.check_format()?;
        check_whole(&folder.path)?;
        Ok(folder)
    }

    /// Whether it had no store.
    pub(crate) const fn is_new(&self) -> bool {
        self.is_new
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("database")
    }

    pub(crate) fn damaged(&self) -> PathBuf {
        self.path.join("damaged")
    }

    /// Whether there was none yet.
    fn check_format(&self) -> Result<bool, OpenError> {
        let is_new = lacks_format(&self.path)?;
        if is_new {
            let path = self.path.join("format");
            let written = write_synced(&path, &format!("dunlin-store {FORMAT}\n"));
            written.map_err(|source| OpenError::Io { path, source })?;
        }
        Ok(is_new)
    }

    /// Makes the folders of files that have messages in them for this user alone, so that nobody else
    /// reads them, whatever the rights of the folder are in which they lie.
    pub(crate) fn make_private(&self) -> Result<(), OpenError> {
        let path = self.database();
        make(&path).map_err(|source| OpenError::Io { path, source })
    }

    /// Refuses a folder whose database is not there, though something was stored in it: the folder
    /// of another volume that is not mounted looks so.
    pub(crate) fn check_database(&self) -> Result<(), OpenError> {
        check_database(&self.path)
    }

    /// Says that an import begins, or has come to its end.
    pub(crate) fn set_partial(&self, is_partial: bool) -> Result<(), OpenError> {
        let path = self.path.join(PARTIAL);
        let done = match is_partial {
            true => write_synced(&path, "an import has not come to its end\n"),
            false => std::fs::remove_file(&path).and_then(|()| File::open(&self.path)?.sync_all()),
        };
        done.map_err(|source| OpenError::Io { path, source })
    }

    /// Notes that a group is stored for sure. Not being able to costs no more than the check.
    pub(crate) fn mark(&self, commit: u64) {
        let text = format!("{commit} {}\n", !commit);
        let path = self.path.join("progress");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(text.as_bytes())) {
            tracing::debug!(%error, "the mark of what is stored can't be moved");
        }
    }

    /// The group that was last noted, if the note is intact.
    pub(crate) fn marked(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.path.join("progress")).ok()?;
        let (commit, check) = text.trim().split_once(' ')?;
        let (commit, check): (u64, u64) = (commit.parse().ok()?, check.parse().ok()?);
        (check == !commit).then_some(commit)
    }
}

/// Looks whether [`FileStorage::open`](crate::FileStorage::open) could take a folder, or make it, and
/// changes nothing. What is in the database is not looked at.
///
/// # Errors
/// Why it could not; [`OpenError::InUse`] while another process uses it.
pub fn look(path: impl AsRef<Path>) -> Result<(), OpenError> {
    let path = path.as_ref();
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            let source = io::ErrorKind::NotADirectory.into();
            return Err(OpenError::Io { path: path.into(), source });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return look_above(path),
        Err(source) => return Err(OpenError::Io { path: path.into(), source }),
    }
    look_for(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?;
    let lock_path = path.join("lock");
    match File::open(&lock_path) {
        // Shared, so that two that look do not take each other for a broker.
        Ok(mut lock) => match lock.try_lock_shared() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { folder: path.into(), user: user(&mut lock) });
            }
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::Io { path: lock_path, source });
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(OpenError::Io { path: lock_path, source }),
    }
    lacks_format(path)?;
    check_whole(path)?;
    check_database(path)
}

/// Looks whether a folder could be made where there is none.
fn look_above(path: &Path) -> Result<(), OpenError> {
    let above = path.ancestors().skip(1);
    let mut above =
        above.map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let nearest = above.find(|path| path.exists());
    nearest.map_or(Ok(()), |path| look_for(path, Access::WRITE_OK | Access::EXEC_OK))
}

fn look_for(path: &Path, access: Access) -> Result<(), OpenError> {
    let granted = rustix::fs::access(path, access);
    granted.map_err(|error| OpenError::Io { path: path.into(), source: error.into() })
}

/// Whether a folder has no store, so that one can begin there.
fn lacks_format(folder: &Path) -> Result<bool, OpenError> {
    let path = folder.join("format");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(source) => return Err(OpenError::Io { path, source }),
    };
    let found = text.trim().strip_prefix("dunlin-store ").and_then(|found| found.parse().ok());
    match found {
        Some(FORMAT) => Ok(false),
        Some(found) if found > FORMAT => Err(OpenError::Newer { folder: folder.into(), found }),
        // Formats before the first don't exist; those before a later one are migrated here.
        _ => Err(OpenError::Format { path }),
    }
}

/// Refuses a part of an import that did not come to its end.
fn check_whole(folder: &Path) -> Result<(), OpenError> {
    match folder.join(PARTIAL).exists() {
        true => Err(OpenError::Partial { folder: folder.into() }),
        false => Ok(()),
    }
}

/// As [`Folder::check_database`].
fn check_database(folder: &Path) -> Result<(), OpenError> {
    match had_store(folder) {
        Ok(false) => Ok(()),
        Ok(true) => Err(OpenError::Gone { folder: folder.into() }),
        Err(source) => Err(OpenError::Io { path: folder.join("database"), source }),
    }
}

/// Whether a folder has the mark of what was stored, and no database with it.
pub(crate) fn had_store(folder: &Path) -> io::Result<bool> {
    let has_database = match std::fs::read_dir(folder.join("database")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        entries => entries?.next().transpose()?.is_some(),
    };
    Ok(!has_database && folder.join("progress").try_exists()?)
}

/// Makes the folder if there is none, for this user alone: every message lies in it in the clear.
/// One that is there keeps its rights.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(_) if path.is_dir() => Ok(()),
        made => made,
    }
}

fn user(lock: &mut File) -> String {
    let mut text = String::new();
    let _ = lock.rewind().and_then(|()| lock.take(32).read_to_string(&mut text));
    match text.trim().parse::<u32>() {
        Ok(process) => format!("process {process}"),
        Err(_) => "another process".to_owned(),
    }
}

/// A new file, which a power cut leaves whole or not at all.
fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}
