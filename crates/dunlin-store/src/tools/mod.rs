//! What can be done with a store besides running a broker on it: looking at it, checking it,
//! carrying it elsewhere.
//!
//! All but [`backup`] work on the folder of a stopped broker, and refuse one that is in use. They
//! open it as a broker does: a damaged journal is mended, which is told and noted, and the file kept
//! as it was. Whatever else is damaged stays as it is, and is told of each time.
//!
//! # The export
//!
//! One JSON object on each line, which any program can read.
//!
//! The first line is `{"header":{"format":"dunlin-export","version":1}}`, the last one
//! `{"end":{"records":N}}` with the number of lines between them; a file without it is not whole.
//! `"lost":N` is added if something is damaged: what this very opening mends, and what is damaged
//! still. It says how much is missing at least. What was mended earlier is not counted: the notes
//! tell of it, where the store is.
//! Each line between is one thing that is stored, by its kind:
//!
//! | kind | what it is |
//! |---|---|
//! | `session` | a session that outlives its connections |
//! | `subscribed` | a subscription; the Topic Filter is whole, `$share/…` included |
//! | `received` | a QoS 2 exchange of the Client that awaits its PUBREL |
//! | `owed` | a message that the session is to get; `message` is what was published |
//! | `taken` | the Client has sent PUBREC for the message of this number |
//! | `will` | a Will |
//! | `underway` | a message that has not reached all sessions that it is for |
//! | `retained` | a retained message |
//!
//! Lines about a session come after its `session`. Payloads and correlation data are base64 (the
//! standard alphabet, padded); times are microseconds since 1970 in UTC; intervals are seconds.

mod backup;
mod import;
mod line;

pub use backup::backup;
pub(crate) use backup::{Control, write_export};
pub use import::import;

use crate::engine::Engine;
use crate::group::Group;
use crate::health::Cause;
use crate::journal::journals;
use crate::keys::Table;
use crate::loss::{self, Loss, Note};
use crate::open::{Folder, OpenError, had_store};
use crate::recovery::{Found, Problem, Recovery};
use crate::scan::scan;
use crate::storage::{Opened, Options, of_journals, open_engine};
use fjall::PersistMode;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a tool could not do what it is for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is no store in the folder.
    #[error("{} holds no store", .0.display())]
    NoStore(PathBuf),
    /// This is no export at all; nothing was made of it.
    #[error("this is not an export of dunlin: {reason}")]
    NotAnExport {
        /// What is wrong with its first line.
        reason: String,
    },
    /// The folder that is to be imported into holds a store already.
    #[error("{} holds a store already; import into an empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// A line of an export means nothing; what came before it was imported.
    #[error("line {line} of the export: {reason}")]
    Line {
        /// Which one, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The export has no end: it was cut off. What there is was imported.
    #[error("the export is not whole: its last line is missing")]
    CutOff,
    /// The broker gave up a backup before its end.
    #[error(
        "the broker ended the backup before it was whole: it stops, or its disk fails (a full one \
         does; look for `the disk fails` in its log)"
    )]
    GivenUp,
    /// The export, the store or the connection to the broker failed.
    #[error("reading or writing failed")]
    Io(#[from] io::Error),
    /// A table can't be written anew.
    #[error(
        "the table {table}, in the files of {}, can't be written anew: {reason}", files.display()
    )]
    Table {
        /// The table.
        table: &'static str,
        /// The folder of its files.
        files: PathBuf,
        /// What the engine said.
        reason: String,
    },
    /// The engine failed.
    #[error("the database fails: {0}")]
    Database(String),
}

/// What a tool has done, and what it found damaged on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome<T> {
    /// What was asked for.
    pub value: T,
    /// What is damaged.
    pub losses: Vec<Loss>,
    /// What was lost earlier, and was not [forgotten](forget).
    pub notes: Vec<Note>,
}

/// How much was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Things that are stored.
    pub records: u64,
    /// How much is missing because it is damaged, at least. The end of the copy says so, for who
    /// imports it; the [notes](Outcome::notes) of earlier losses are not counted and stay behind.
    pub lost: u64,
}

/// What [`check`] has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// How much there is, and how much of it is damaged.
    pub found: Found,
    /// What is wrong with which row, for the first thousand.
    pub problems: Vec<Problem>,
    /// Rows of sessions that have ended, which the next start removes.
    pub leftover_sessions: u64,
    /// Messages that nobody is owed any more, which the next start removes.
    pub leftover_messages: u64,
    /// Rows that were set aside earlier.
    pub set_aside: u64,
    /// What is damaged, or was until now.
    pub losses: Vec<Loss>,
    /// What was lost earlier, and was not [forgotten](forget).
    pub notes: Vec<Note>,
}

impl Checked {
    /// Whether nothing is damaged or missing.
    pub fn is_sound(&self) -> bool {
        self.losses.is_empty() && self.notes.is_empty() && self.set_aside == 0
    }
}

/// Reads every row: whether it can be understood, and what it refers to is there.
///
/// # Errors
/// When the store can't be opened at all.
pub fn check(folder: impl AsRef<Path>) -> Result<Checked, ToolError> {
    let Open { engine, mut losses, notes, .. } = Open::new(folder.as_ref())?;
    let mut ignore = |_| {};
    let recovered = Recovery::new(&engine, &mut ignore).thorough().run();
    let Found { damaged_journals, lost_groups, .. } = of_journals(&losses);
    losses.extend(recovered.losses);
    let set_aside = size(&engine, Table::Damaged, &mut losses).rows;
    Ok(Checked {
        found: Found { damaged_journals, lost_groups, ..recovered.found },
        problems: recovered.problems,
        leftover_sessions: recovered.index.garbage.len() as u64,
        leftover_messages: recovered.index.orphans.len() as u64,
        set_aside,
        losses,
        notes,
    })
}

/// Removes what was set aside because it was damaged, with the notes of it: files and rows; gives
/// whether it did. What is damaged still is found again.
///
/// Nothing is removed when damage turns up that is mended by this very opening: nobody has seen it
/// yet. It is told, and the next time it is forgotten with the rest.
///
/// # Errors
/// When the store can't be opened, or the disk fails.
pub fn forget(folder: impl AsRef<Path>) -> Result<Outcome<bool>, ToolError> {
    let Open { folder, engine, mut losses, notes } = Open::new(folder.as_ref())?;
    if !losses.is_empty() {
        return Ok(Outcome { value: false, losses, notes });
    }
    let mut group = Group::default();
    losses = scan(&engine, &engine.snapshot(), Table::Damaged, (&[], None), |key, _| {
        group.remove(Table::Damaged, &key);
        ControlFlow::Continue(())
    });
    let ops = group.take();
    if !ops.is_empty() {
        engine.commit(&ops, PersistMode::SyncData).map_err(|error| database(&error))?;
    }
    match std::fs::remove_dir_all(folder.damaged()) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(OpenError::Io { path: folder.damaged(), source }.into())
        }
        _ => Ok(Outcome { value: true, losses, notes: Vec::new() }),
    }
}

/// How large a part of a store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Size {
    /// Rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Bytes on the disk, without journals.
    pub disk_bytes: u64,
}

/// What [`stat`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// Sessions.
    pub sessions: u64,
    /// Messages that sessions are owed.
    pub messages: u64,
    /// Each table by its name.
    pub tables: Vec<(&'static str, Size)>,
    /// What journals take of the disk. They have what was stored last, whatever table it is for.
    pub journal_bytes: u64,
    /// All of the database on the disk, journals included.
    pub disk_bytes: u64,
}

/// Counts what a store has.
///
/// # Errors
/// When the store can't be opened or read.
pub fn stat(folder: impl AsRef<Path>) -> Result<Outcome<Stat>, ToolError> {
    let Open { folder, engine, mut losses, notes } = Open::new(folder.as_ref())?;
    let journal_bytes = journal_bytes(&folder.database())
        .map_err(|source| OpenError::Io { path: folder.database(), source })?;
    let tables = Table::ALL.map(|table| (table.name(), size(&engine, table, &mut losses)));
    let stat = Stat {
        sessions: tables[Table::Session as usize].1.rows,
        messages: tables[Table::Queue as usize].1.rows,
        tables: tables.to_vec(),
        journal_bytes,
        disk_bytes: journal_bytes + tables.iter().map(|(_, table)| table.disk_bytes).sum::<u64>(),
    };
    Ok(Outcome { value: stat, losses, notes })
}

/// Room is set aside for a journal that it does not take yet, so its length says little.
fn journal_bytes(database: &Path) -> io::Result<u64> {
    const BLOCK: u64 = 512;
    let blocks = |(_, path): &(u64, PathBuf)| Ok(std::fs::metadata(path)?.blocks() * BLOCK);
    journals(database)?.iter().map(blocks).sum()
}

fn size(engine: &Engine, table: Table, losses: &mut Vec<Loss>) -> Size {
    let disk_bytes = engine.table(table).disk_space();
    let mut size = Size { rows: 0, bytes: 0, disk_bytes };
    losses.extend(scan(engine, &engine.snapshot(), table, (&[], None), |key, value| {
        size.rows += 1;
        size.bytes += (key.len() + value.len()) as u64;
        ControlFlow::Continue(())
    }));
    size
}

/// Writes all that is stored as lines of JSON. The format is described [above](self). What is
/// damaged is left out, and told of.
///
/// # Errors
/// When the store can't be opened, or the output can't be written.
pub fn export(folder: impl AsRef<Path>, out: &mut dyn Write) -> Result<Outcome<Copied>, ToolError> {
    let Open { engine, mut losses, notes, .. } = Open::new(folder.as_ref())?;
    let copied = write_export(&engine, &mut losses, out, &|| false)?;
    Ok(Outcome { value: copied, losses, notes })
}

/// Rewrites the database without what was removed from it, which gives its room back to the disk.
///
/// # Errors
/// When the store can't be opened, a table is damaged, or the disk fails; the store is as it was
/// then.
pub fn compact(folder: impl AsRef<Path>) -> Result<Outcome<()>, ToolError> {
    let Open { folder, engine, losses, notes } = Open::new(folder.as_ref())?;
    for table in Table::ALL {
        engine.compact(table).map_err(|error| ToolError::Table {
            table: table.name(),
            files: engine.table(table).path().to_path_buf(),
            reason: Cause(&error).to_string(),
        })?;
    }
    // There is no committing thread; but a start deletes what nothing refers to.
    drop(engine);
    let database = folder.database();
    let opened = Engine::open(&database, &Options::default());
    opened.map_err(|error| OpenError::Database {
        folder: database,
        reason: Cause(&error).to_string(),
    })?;
    Ok(Outcome { value: (), losses, notes })
}

/// Whether there is a store; a folder that can't be looked into is not one without.
fn holds_store(folder: &Path) -> Result<bool, ToolError> {
    match folder.join("database").try_exists() {
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(OpenError::Io { path: folder.into(), source }.into())
        }
        exists => Ok(exists.unwrap_or(false)),
    }
}

/// A store that was opened for a tool.
struct Open {
    folder: Folder,
    engine: Engine,
    losses: Vec<Loss>,
    notes: Vec<Note>,
}

impl Open {
    fn new(path: &Path) -> Result<Self, ToolError> {
        if !holds_store(path)? && !had_store(path)? {
            return Err(ToolError::NoStore(path.into()));
        }
        let folder = Folder::open(path)?;
        let aside = folder.damaged();
        // Before those of what is found now.
        let notes = loss::notes(&aside).map_err(|source| OpenError::Io { path: aside, source })?;
        let Opened { engine, losses } = open_engine(&folder, &Options::default())?;
        Ok(Self { folder, engine, losses, notes })
    }
}

fn database(error: &fjall::Error) -> ToolError {
    ToolError::Database(Cause(error).to_string())
}
