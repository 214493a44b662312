//! What of a store is damaged: told wherever it is met, and noted where it is mended, so that it
//! is known until somebody has the notes removed.

use crate::keys::{self, Table};
use crate::open::make;
use std::fmt::{self, Display};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Something that was stored and is lost, wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// A journal had damage in it, which was cut out.
    Journal {
        /// The journal.
        path: PathBuf,
        /// How many places were cut out.
        places: u64,
        /// How many bytes they had.
        bytes: u64,
        /// How many groups of changes were in them, at least.
        groups: u64,
        /// Where the file is kept as it was.
        kept: PathBuf,
    },
    /// The last groups of changes are gone, which were on the disk.
    Groups {
        /// The folder of the database.
        database: PathBuf,
        /// The last group that is there.
        found: u64,
        /// The last group that was on the disk, at least.
        stored: u64,
    },
    /// A table has a part that can't be read.
    Gap {
        /// The table.
        table: &'static str,
        /// The folder of its files.
        files: PathBuf,
        /// The last key before it; empty at the beginning of the table.
        after: Vec<u8>,
        /// The first key behind it; `None` at the end of the table.
        before: Option<Vec<u8>>,
    },
    /// Rows of a table can't be understood.
    Rows {
        /// The table.
        table: &'static str,
        /// How many.
        rows: u64,
    },
}

impl Loss {
    /// How many changes or messages are lost, at least.
    pub(crate) const fn count(&self) -> u64 {
        match self {
            Self::Journal { groups, .. } => *groups,
            Self::Groups { found, stored, .. } => stored.saturating_sub(*found),
            Self::Gap { .. } => 1,
            Self::Rows { rows, .. } => *rows,
        }
    }

    /// Whether the store has this damage still: what was mended is lost, but troubles no more.
    pub const fn is_there_still(&self) -> bool {
        matches!(self, Self::Gap { .. } | Self::Rows { .. })
    }

    /// How many messages can have been in a gap: they are numbered one after the other.
    fn messages_max(&self) -> Option<u64> {
        let Self::Gap { table, after, before: Some(before), .. } = self else { return None };
        let numbers = if *table == Table::Queue.name() {
            keys::split_pair(after).ok().zip(keys::split_pair(before).ok())
        } else if *table == Table::Message.name() {
            let number = |key| keys::split_number(key).ok().map(|(number, _)| (0, number));
            number(after).zip(number(before))
        } else {
            None
        };
        let ((session, after), (next_session, before)) = numbers?;
        (session == next_session).then(|| before.saturating_sub(after + 1))
    }
}

impl Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal { path, places, bytes, groups, kept } => write!(
                f,
                "the journal {}: {bytes} bytes in {places} place{} were cut out, with at least \
                 {groups} group{} of changes, each of one or more messages; the file as it was is \
                 kept as {}",
                path.display(),
                plural(*places),
                plural(*groups),
                kept.display()
            ),
            Self::Groups { database, found, stored } => write!(
                f,
                "{}: the last {} of the groups of changes that were on the disk are gone \
                 ({found} of {stored} are there), each of one or more messages",
                database.display(),
                stored.saturating_sub(*found)
            ),
            Self::Gap { table, files, after, before } => {
                let what = format!("the table {table}, in the files of {}:", files.display());
                match (self.messages_max(), &after[..], before) {
                    (Some(messages), ..) => {
                        write!(f, "{what} at most {messages} message{}", plural(messages))
                    }
                    (None, [], None) => write!(f, "{what} all that it had"),
                    (None, [], Some(before)) => {
                        write!(f, "{what} what is before the key {}", hex(before))
                    }
                    (None, _, Some(before)) => {
                        let (after, before) = (hex(after), hex(before));
                        write!(f, "{what} what is between the keys {after} and {before}")
                    }
                    (None, _, None) => {
                        write!(f, "{what} what is behind the key {}", hex(after))
                    }
                }?;
                f.write_str(" can't be read")
            }
            Self::Rows { table, rows } => {
                write!(f, "the table {table}: {rows} row{} can't be understood", plural(*rows))
            }
        }
    }
}

const fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn hex(key: &[u8]) -> String {
    key.iter().take(32).map(|byte| format!("{byte:02x}")).collect()
}

/// A loss that was mended earlier, of which only this is left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Note {
    /// When it was found, in seconds since 1970; 0 if that can't be read.
    pub at: u64,
    /// What was lost, where, and what is kept of it.
    pub text: String,
}

/// The file with the notes, in the folder of what is set aside.
const NOTES: &str = "notes";

/// Notes losses that are about to be mended, each on a line: seconds since 1970, and the words.
pub(crate) fn note(aside: &Path, losses: &[Loss]) -> io::Result<()> {
    if losses.is_empty() {
        return Ok(());
    }
    make(aside)?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut file = OpenOptions::new().append(true).create(true).open(aside.join(NOTES))?;
    for loss in losses {
        writeln!(file, "{} {}", since.as_secs(), loss.to_string().replace('\n', " "))?;
    }
    file.sync_all()?;
    File::open(aside)?.sync_all()
}

/// What was noted.
pub(crate) fn notes(aside: &Path) -> io::Result<Vec<Note>> {
    let text = match std::fs::read(aside.join(NOTES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let note = |line: &str| match line.split_once(' ').map(|(at, text)| (at.parse(), text)) {
        Some((Ok(at), text)) => Note { at, text: text.to_owned() },
        _ => Note { at: 0, text: line.to_owned() },
    };
    Ok(String::from_utf8_lossy(&text).lines().map(note).collect())
}
