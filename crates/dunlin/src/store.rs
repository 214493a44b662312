//! `dunlin store`: looks after the data folder of a broker.

use crate::failure::{Failure, causes};
use crate::output::print;
use clap::{Args, Subcommand};
use dunlin_store::tools::{self, Checked, Copied, Outcome, Stat, ToolError};
use dunlin_store::{Loss, Note, OpenError};
use jiff::Timestamp;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// How many problems are shown one by one.
const PROBLEMS_SHOWN: usize = 20;

/// What to do with which folder.
#[derive(Debug, Args)]
#[command(
    after_help = format!("{DAMAGE}\n\n{}", crate::failure::EXIT_CODES),
    after_long_help = format!("{EXAMPLES}\n\n{DAMAGE}\n\n{}", crate::failure::EXIT_CODES)
)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    task: Task,
}

const EXAMPLES: &str = "\
Examples:
  dunlin store stat /var/lib/dunlin
  dunlin store backup /var/lib/dunlin --to dunlin.jsonl
  dunlin store import /var/lib/dunlin-2 --from dunlin.jsonl";

const DAMAGE: &str = "\
Whatever is damaged is named on standard error (by `check` on standard output), and the program
fails, though it does what it was told with the rest. A damaged journal is mended when a broker or any
of these opens the folder; the file as it was goes to the folder `damaged`, with a note that `check`
tells until `forget`. That deletes nothing if it finds such a journal itself: run it again then.";

const TABLES: &str = "\
Content is the keys and values, disk what their files take. What was stored last waits in a journal
and has no files of its own yet. A journal can have a length of 64 MiB; of the disk it takes as much as
is written. The tables:
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
    ///
    /// What was lost earlier is told as well, until `forget`. Nothing is changed but what a start of
    /// the broker would change: a damaged journal is mended, and kept as it was in `damaged`.
    Check {
        #[command(flatten)]
        folder: Folder,
    },
    /// Delete what was set aside as damaged and the notes of it, of a broker that has stopped.
    ///
    /// Damage that nothing has told of before is named, and nothing is deleted then: run it again.
    Forget {
        #[command(flatten)]
        folder: Folder,
    },
    /// Give back to the disk what deleted messages took, of a broker that has stopped.
    ///
    /// A table is written anew before its old files go: leave as much room free as it takes. What is
    /// in the journal alone is written to tables, so a small store can become larger at first.
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
    /// A folder in which an import has not come to its end is refused by broker and tools: delete it
    /// and import again. The message says how to go on with the part, for those who have no better
    /// copy.
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
    /// Replace a file that is there already, once the new one is whole
    #[arg(long)]
    force: bool,
}

/// Why a copy was not made, or not read; `place` is the other end of it.
fn copy_failure(error: &ToolError, place: &Path) -> Failure {
    Failure::new(match error {
        ToolError::Io(cause) => format!("{}: {cause}", name(place)),
        ToolError::Open(OpenError::InUse { folder, user }) => format!(
            "{} is in use by {user}; stop it (`dunlin store backup` copies a store while its broker \
             runs)",
            folder.display()
        ),
        _ => causes(error),
    })
}

/// Why a tool without a copy has failed.
fn failure(error: &ToolError) -> Failure {
    copy_failure(error, Path::new("-"))
}

/// The same of an import, which may leave something behind.
fn import_failure(error: &ToolError, folder: &Path, from: &Path) -> Failure {
    let folder = folder.display();
    match error {
        ToolError::Line { .. } | ToolError::CutOff => Failure::new(format!(
            "{}: {error}; {folder} has what stands before that, and is refused as a part: delete \
             it before you try again",
            name(from)
        )),
        ToolError::NotAnExport { .. } => Failure::new(format!("{}: {error}", name(from))),
        _ => copy_failure(error, from),
    }
}

/// A file as messages name it.
fn name(place: &Path) -> String {
    if place == Path::new("-") { "standard stream".to_owned() } else { place.display().to_string() }
}

/// What to do about damage.
fn advice(losses: &[Loss]) -> &'static str {
    if losses.iter().any(Loss::is_there_still) {
        "import a backup into a new folder, or, to go on with what is left, export this store and \
         import that into a new folder"
    } else {
        "import a backup into a new folder, or go on with what is left"
    }
}

/// Says what is damaged; fails if anything is, with what became of the task.
fn tell(folder: &Path, losses: &[Loss], notes: &[Note], task: &str) -> Result<(), Failure> {
    for loss in losses {
        eprintln!("damaged: {loss}");
    }
    if !notes.is_empty() {
        eprintln!(
            "warning: what was stored in {} has been damaged earlier: `dunlin store check` says \
             what was lost, `dunlin store forget` has it forgotten",
            folder.display()
        );
    }
    match losses {
        [] => Ok(()),
        _ => Err(Failure::new(format!("{task}; {}", advice(losses)))),
    }
}

/// Of a tool that did its task with what is left.
const WITHOUT: &str = "a part of what was stored is damaged";

/// Of one that would have removed the only trace of it.
const NOT_FORGOTTEN: &str =
    "nothing was forgotten, since this was not known before; the next `forget` does it";

impl StoreArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        match self.task {
            Task::Stat { folder: Folder { folder } } => {
                let stat = tools::stat(&folder).map_err(|error| failure(&error))?;
                print(&show_stat(&stat.value))?;
                tell(&folder, &stat.losses, &stat.notes, WITHOUT)
            }
            Task::Check { folder: Folder { folder } } => {
                let checked = tools::check(&folder).map_err(|error| failure(&error))?;
                print(&show_checked(&checked, &folder))?;
                if checked.is_sound() { Ok(()) } else { Err(Failure::silent(1)) }
            }
            Task::Forget { folder: Folder { folder } } => {
                let done = tools::forget(&folder).map_err(|error| failure(&error))?;
                let task = if done.value { WITHOUT } else { NOT_FORGOTTEN };
                tell(&folder, &done.losses, &done.notes, task)
            }
            Task::Compact { folder: Folder { folder } } => compact(&folder),
            Task::Export { folder: Folder { folder }, to } => {
                to.write(&folder, |out| tools::export(&folder, out))
            }
            Task::Backup { folder: Folder { folder }, to } => {
                to.write(&folder, |out| tools::backup(&folder, out))
            }
            Task::Import { folder: Folder { folder }, from } => {
                let copied = tools::import(&folder, &mut *open(&from)?)
                    .map_err(|error| import_failure(&error, &folder, &from))?;
                let Copied { records, lost, .. } = copied;
                if lost > 0 {
                    eprintln!("warning: the store that was copied was damaged: {}", missing(lost));
                }
                let are = if records == 1 { "record was" } else { "records were" };
                print(&format!("{records} {are} imported into {}\n", folder.display()))
            }
        }
    }
}

/// How much a copy lacks.
fn missing(lost: u64) -> String {
    let what = counted(lost, "change or message is", "changes or messages are");
    format!("at least {what} missing")
}

fn compact(folder: &Path) -> Result<(), Failure> {
    let failed = |error: ToolError| match error {
        ToolError::Table { .. } => Failure::new(format!(
            "{error}; `dunlin store check` says what is damaged, and an export that is imported \
             into a new folder has the rest"
        )),
        error => failure(&error),
    };
    // What is damaged is told even if nothing more can be done.
    let before = tools::stat(folder).map_err(failed)?;
    tell(folder, &before.losses, &before.notes, WITHOUT).or_else(|failure| {
        match before.losses.iter().any(Loss::is_there_still) {
            true => Err(failure),
            false => Ok(()),
        }
    })?;
    tools::compact(folder).map_err(failed)?;
    let after = tools::stat(folder).map_err(failed)?.value.disk_bytes;
    print(&match before.value.disk_bytes {
        before if after < before => {
            format!("{} on the disk became {}\n", size(before), size(after))
        }
        before if after > before => format!(
            "nothing to give back: {} on the disk became {}, since what was in the journal alone has \
             tables now; the journal goes when a broker has filled it\n",
            size(before),
            size(after)
        ),
        _ => format!("nothing to give back: {} on the disk\n", size(after)),
    })?;
    match before.losses[..] {
        [] => Ok(()),
        _ => Err(Failure::new(format!("{WITHOUT}; {}", advice(&before.losses)))),
    }
}

impl To {
    /// Writes to a file that takes its name when it is whole and on the disk, or to standard
    /// output. A copy of what is left of a damaged store is kept, and is a failure.
    fn write(
        &self,
        folder: &Path,
        write: impl FnOnce(&mut dyn Write) -> Result<Outcome<Copied>, ToolError>,
    ) -> Result<(), Failure> {
        let outcome = self.write_out(write)?;
        let Copied { records, lost, .. } = outcome.value;
        let place = if self.to == Path::new("-") {
            "standard output".to_owned()
        } else {
            let are = if records == 1 { "record is" } else { "records are" };
            print(&format!("{records} {are} in {}\n", self.to.display()))?;
            self.to.display().to_string()
        };
        let task = format!("{place} has what is left of a damaged store: {}", missing(lost));
        tell(folder, &outcome.losses, &outcome.notes, &task)?;
        // Of a broker that runs.
        match lost {
            0 => Ok(()),
            _ => Err(Failure::new(format!(
                "{task}; the broker's log says what; stop it and run `dunlin store check`"
            ))),
        }
    }

    fn write_out(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<Outcome<Copied>, ToolError>,
    ) -> Result<Outcome<Copied>, Failure> {
        if self.to == Path::new("-") {
            let mut out = BufWriter::new(io::stdout().lock());
            let outcome = write(&mut out).map_err(|error| copy_failure(&error, &self.to))?;
            let failed = |error| Failure::new(format!("standard output: {error}"));
            return out.flush().map(|()| outcome).map_err(failed);
        }
        if !self.force && fs::symlink_metadata(&self.to).is_ok() {
            let to = self.to.display();
            return Err(Failure::new(format!("{to} is there already; --force replaces it")));
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
        let finished = written.and_then(|outcome| {
            let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
            file.sync_all().and_then(|()| fs::rename(&unfinished, &self.to)).map_err(failed)?;
            Ok(outcome)
        });
        if finished.is_err() {
            // Half of a copy helps nobody.
            let _ = fs::remove_file(&unfinished);
        }
        finished
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
    let _ =
        writeln!(text, "{:<12} {:>12} {:>12} {:>12}", "journal", "", "", size(stat.journal_bytes));
    let _ = writeln!(
        text,
        "\n{}, {} on the disk",
        counts(stat.sessions, stat.messages),
        size(stat.disk_bytes)
    );
    text
}

fn counts(sessions: u64, messages: u64) -> String {
    let plural = |count| if count == 1 { "" } else { "s" };
    format!(
        "{sessions} session{}, {messages} message{} owed to {}",
        plural(sessions),
        plural(messages),
        if sessions == 1 { "it" } else { "them" }
    )
}

/// So many, in words of one or of several.
fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn show_checked(checked: &Checked, folder: &Path) -> String {
    let found = checked.found;
    let mut text = format!("{}\n", counts(found.sessions, found.messages));
    if checked.leftover_sessions > 0 {
        let what = counted(checked.leftover_sessions, "session has", "sessions have");
        let _ = writeln!(text, "{what} ended (removed with the next start)");
    }
    if checked.leftover_messages > 0 {
        let what = counted(checked.leftover_messages, "message is", "messages are");
        let _ = writeln!(text, "{what} owed to nobody (removed with the next start)");
    }
    for problem in checked.problems.iter().take(PROBLEMS_SHOWN) {
        let key: String = problem.key.iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = writeln!(text, "  {} {key}: {}", problem.table, problem.damage);
    }
    if let Some(more) = checked.problems.len().checked_sub(PROBLEMS_SHOWN + 1) {
        let _ = writeln!(text, "  and {} more", more + 1);
    }
    for loss in &checked.losses {
        let _ = writeln!(text, "damaged: {loss}");
    }
    for Note { at, text: note, .. } in &checked.notes {
        let at = i64::try_from(*at).ok().and_then(|at| Timestamp::from_second(at).ok());
        let at = at.map_or_else(|| "at some time".to_owned(), |at| at.to_string());
        let _ = writeln!(text, "damaged earlier, {at}: {note}");
    }
    if checked.set_aside > 0 {
        let _ = writeln!(
            text,
            "damaged earlier: {} set aside in the table `damaged`",
            counted(checked.set_aside, "row was", "rows were")
        );
    }
    if checked.is_sound() {
        text.push_str("nothing is damaged\n");
        return text;
    }
    let _ = writeln!(text, "the rest is sound; {}", advice(&checked.losses));
    if !checked.notes.is_empty() || checked.set_aside > 0 {
        let folder = folder.display();
        let _ = writeln!(text, "`dunlin store forget {folder}` removes what was set aside earlier");
    }
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
