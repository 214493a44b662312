//! `dunlin store`: looks after the data folder of a broker.

use crate::failure::{Failure, causes};
use crate::output::print;
use clap::{Args, Subcommand};
use dunlin_store::OpenError;
use dunlin_store::tools::{self, Checked, Stat, ToolError};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many problems are shown one by one.
const PROBLEMS_SHOWN: usize = 20;

/// What to do with which folder.
#[derive(Debug, Args)]
#[command(after_help = crate::failure::EXIT_CODES, after_long_help = format!("{EXAMPLES}\n\n{}", crate::failure::EXIT_CODES))]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    task: Task,
}

const EXAMPLES: &str = "\
Examples:
  dunlin store stat /var/lib/dunlin
  dunlin store backup /var/lib/dunlin --to dunlin.jsonl
  dunlin store import /var/lib/dunlin-2 --from dunlin.jsonl";

const TABLES: &str = "\
Content is the keys and values, disk what their files take. What was stored last waits in a journal,
which no table's line counts, and the last line does. The tables:
  session       sessions that outlive their connections
  subscription  their subscriptions
  queue         messages that they are owed, with the message if it is small or owed to no other
  state         what has changed of these: sent, half acknowledged
  message       larger messages that several sessions are owed, once for all of them
  received      Packet Identifiers of QoS 2 messages that clients have yet to release
  will          Wills
  underway      messages that have not reached all sessions they are for
  retained      retained messages
  meta          counters of the store itself
  damaged       what could not be read and was set aside";

#[derive(Debug, Subcommand)]
enum Task {
    /// Say how much of what is there, of a broker that has stopped.
    #[command(after_help = TABLES)]
    Stat {
        #[command(flatten)]
        folder: Folder,
    },
    /// Read everything, of a broker that has stopped, and say what is damaged; fails if anything is.
    Check {
        #[command(flatten)]
        folder: Folder,
    },
    /// Give back to the disk what deleted messages took, of a broker that has stopped.
    ///
    /// A table is written anew before its old files go: leave as much room free as it takes.
    Compact {
        #[command(flatten)]
        folder: Folder,
    },
    /// Write all that is stored, by a broker that has stopped, as lines of JSON.
    ///
    /// Payloads are base64, times microseconds since 1970 (UTC), intervals seconds. The file is
    /// for this user alone.
    Export {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        to: To,
    },
    /// Make a store of an export or a backup, in a folder that holds none.
    ///
    /// What stands before a fault is imported all the same, for those who have no better copy. To try
    /// again take another folder, or delete this one.
    Import {
        #[command(flatten)]
        folder: Folder,
        /// The export or backup; standard input if it is `-`
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Write a consistent copy of all that is stored, as lines of JSON, also while the broker runs.
    ///
    /// The copy is an export, for `dunlin store import`: what is stored at one moment. The file is
    /// for this user alone.
    Backup {
        #[command(flatten)]
        folder: Folder,
        #[command(flatten)]
        to: To,
    },
}

#[derive(Debug, Args)]
struct Folder {
    /// The broker's data folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct To {
    /// Where it goes; standard output if it is `-`. A file appears when it is whole
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Why a copy was not made, or not read; `place` is the other end of it.
fn copy_failure(error: &ToolError, place: &Path) -> Failure {
    let why = causes(error);
    Failure::new(match error {
        ToolError::Io(cause) => {
            let place = if place == Path::new("-") { Path::new("standard stream") } else { place };
            format!("{}: {cause}", place.display())
        }
        ToolError::Open(OpenError::InUse { .. }) => {
            format!("{why}; `dunlin store backup` copies it while it is in use")
        }
        _ => why,
    })
}

/// The same of an import, which leaves something behind.
fn import_failure(error: &ToolError, folder: &Path, from: &Path) -> Failure {
    let folder = folder.display();
    match error {
        ToolError::Line { .. } | ToolError::CutOff => Failure::new(format!(
            "{error}; {folder} has what stands before that: delete it before you try again"
        )),
        _ => copy_failure(error, from),
    }
}

impl StoreArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.task {
            Task::Stat { folder: Folder { folder } } => {
                let stat = tools::stat(&folder).map_err(|error| Failure::of(&error))?;
                print(&show_stat(&stat))
            }
            Task::Check { folder: Folder { folder } } => {
                let checked = tools::check(&folder).map_err(|error| Failure::of(&error))?;
                print(&show_checked(&checked))?;
                if checked.is_sound() { Ok(()) } else { Err(Failure::silent(1)) }
            }
            Task::Compact { folder: Folder { folder } } => {
                let bytes = |stat: Stat| stat.disk_bytes;
                let failed = |error| Failure::of(&error);
                let before = bytes(tools::stat(&folder).map_err(failed)?);
                tools::compact(&folder).map_err(failed)?;
                let after = bytes(tools::stat(&folder).map_err(failed)?);
                print(&match after < before {
                    true => format!("{} on the disk became {}\n", size(before), size(after)),
                    false => format!("nothing to give back: {} on the disk\n", size(after)),
                })
            }
            Task::Export { folder: Folder { folder }, to } => {
                to.write(|out| tools::export(&folder, out))
            }
            Task::Backup { folder: Folder { folder }, to } => {
                to.write(|out| tools::backup(&folder, out))
            }
            Task::Import { folder: Folder { folder }, from } => {
                let count = tools::import(&folder, &mut *open(&from)?)
                    .map_err(|error| import_failure(&error, &folder, &from))?;
                print(&format!("{count} records were imported into {}\n", folder.display()))
            }
        }
    }
}

impl To {
    /// Writes to a file that takes its name when it is whole and on the disk, or to standard output.
    fn write(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<u64, tools::ToolError>,
    ) -> Result<(), Failure> {
        if self.to == Path::new("-") {
            let mut out = BufWriter::new(io::stdout().lock());
            write(&mut out).map_err(|error| copy_failure(&error, &self.to))?;
            return out.flush().map_err(|error| Failure::new(format!("standard output: {error}")));
        }
        let unfinished = {
            let mut name = self.to.clone().into_os_string();
            name.push(".unfinished");
            PathBuf::from(name)
        };
        let failed = |error: io::Error| Failure::new(format!("{}: {error}", self.to.display()));
        // Every message lies in it in the clear.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&unfinished).map_err(failed)?;
        let mut out = BufWriter::new(file);
        let written = write(&mut out).map_err(|error| copy_failure(&error, &self.to));
        let finished = written.and_then(|count| {
            let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().and_then(|()| fs::rename(&unfinished, &self.to)).map_err(failed)?;
            Ok(count)
        });
        match finished {
            Ok(count) => print(&format!("{count} records are in {}\n", self.to.display())),
            Err(failure) => {
                // Half of a copy helps nobody.
                let _ = fs::remove_file(&unfinished);
                Err(failure)
            }
        }
    }
}

fn open(from: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if from == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    match File::open(from) {
        Ok(file) => Ok(Box::new(BufReader::new(file))),
        Err(error) => Err(Failure::new(format!("{}: {error}", from.display()))),
    }
}

fn show_stat(stat: &Stat) -> String {
    let mut text = format!("{:<12} {:>12} {:>12} {:>12}\n", "table", "rows", "content", "disk");
    for (name, table) in &stat.tables {
        let (content, disk) = (size(table.bytes), size(table.disk_bytes));
        let _ = writeln!(text, "{name:<12} {:>12} {content:>12} {disk:>12}", table.rows);
    }
    let _ = writeln!(
        text,
        "\n{} sessions, {} messages owed to them, {} on the disk",
        stat.sessions,
        stat.messages,
        size(stat.disk_bytes)
    );
    text
}

fn show_checked(checked: &Checked) -> String {
    let found = checked.found;
    let mut text =
        format!("{} sessions, {} messages owed to them\n", found.sessions, found.messages);
    let mut count = |number: u64, what: &str| {
        if number > 0 {
            let _ = writeln!(text, "{number} {what}");
        }
    };
    count(found.damaged_rows, "rows can't be understood");
    count(found.gaps, "places can't be read");
    count(found.damaged_journals, "journals were damaged and are mended");
    count(checked.set_aside, "rows were set aside earlier");
    count(checked.lost_groups.unwrap_or(0), "groups of changes that were on the disk are gone");
    count(checked.leftover_sessions, "sessions have ended and are removed with the next start");
    count(checked.leftover_messages, "messages are owed to nobody and removed with the next start");
    for problem in checked.problems.iter().take(PROBLEMS_SHOWN) {
        let key: String = problem.key.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "  {} {key}: {}", problem.table, problem.damage);
    }
    if let Some(more) = checked.problems.len().checked_sub(PROBLEMS_SHOWN + 1) {
        let _ = writeln!(text, "  and {} more", more + 1);
    }
    text.push_str(if checked.is_sound() { "nothing is damaged\n" } else { "the rest is sound\n" });
    text
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}
