//! Makes a store of an export.

use super::line::{Line, NAME, VERSION};
use super::{Copied, ToolError, holds_store};
use crate::open::had_store;
use crate::storage::{FileStorage, FileStore, Options};
use dunlin_broker::Store;
use dunlin_broker::core::{Durability, Record, RecordNumber};
use dunlin_protocol::codec::Text;
use std::collections::HashMap;
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::mpsc::channel;

/// How many records of an import become one append, and how many may wait.
const IMPORT_BATCH: usize = 256;
const IMPORT_AHEAD: u64 = 64 * 256;

/// Makes a store of an export, in a folder that holds none.
///
/// # Errors
/// When the folder holds a store, or had one ([`Gone`](crate::OpenError::Gone)), or this is no
/// export: then nothing was made. When the export is damaged further on, what came before the fault
/// stays in the folder, marked so that neither a broker nor a tool takes it for a whole store
/// ([`Partial`](crate::OpenError::Partial)).
pub fn import(folder: impl AsRef<Path>, export: &mut dyn BufRead) -> Result<Copied, ToolError> {
    let folder = folder.as_ref();
    // One whose database is gone is refused below, with what to do about it.
    if holds_store(folder)? && !had_store(folder)? {
        return Err(ToolError::NotEmpty(folder.into()));
    }
    let mut header = Vec::new();
    // The line that is expected is short: not all of another file is to be read.
    (&mut *export).take(HEADER_MAX).read_until(b'\n', &mut header)?;
    let not_an_export = |reason| ToolError::NotAnExport { reason };
    match serde_json::from_slice(&header) {
        Ok(Line::Header { format, version }) if format == NAME => {
            if version != VERSION {
                return Err(not_an_export(format!("version {version} of it is not known")));
            }
        }
        _ => return Err(not_an_export("its first line is not the header of one".to_owned())),
    }
    let (storage, partial) = FileStorage::open_partial(folder, Options::default())?;
    let copied = import_records(storage, export)?;
    partial.set_partial(false)?;
    Ok(copied)
}

/// How long the first line of an export can be.
const HEADER_MAX: u64 = 1000;

fn import_records(mut storage: FileStorage, export: &mut dyn BufRead) -> Result<Copied, ToolError> {
    let (sender, woken) = channel();
    let end = storage.open_end(move || {
        let _ = sender.send(());
    });
    let mut end = end.map_err(|error| ToolError::Database(error.to_string()))?;
    drop(storage);
    let mut last = 0;
    let wait = |end: &FileStore, upto: u64| {
        // Woken at least once more after what it waits for.
        while end.stored_upto(Durability::Fsync).0 < upto && woken.recv().is_ok() {}
    };
    let mut records = Vec::new();
    let mut outcome = Err(ToolError::CutOff);
    let mut order = Order::default();
    let mut end_line = None;
    for (number, text) in (2..).zip(export.lines()) {
        let fault = |reason| ToolError::Line { line: number, reason };
        if let Some(end_line) = end_line {
            outcome = Err(fault(format!("the export has ended with line {end_line}")));
            break;
        }
        let parsed = text.map_err(ToolError::Io).and_then(|text| {
            serde_json::from_str::<Line>(&text).map_err(|error| fault(reason(&error)))
        });
        let record = match parsed {
            Ok(Line::End { records: count, lost }) => {
                let found = last + records.len() as u64;
                outcome = match count == found {
                    true => Ok(Copied { records: count, lost }),
                    false => Err(fault(format!("{count} records expected, {found} found"))),
                };
                end_line = Some(number);
                continue;
            }
            Ok(line) => line.into_record().map_err(fault).and_then(|record| {
                order.check(&record).map_err(fault)?;
                Ok(record)
            }),
            Err(error) => Err(error),
        };
        match record {
            Ok(record) => records.push(record),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
        if records.len() >= IMPORT_BATCH {
            last += records.len() as u64;
            end.append(RecordNumber(last), std::mem::take(&mut records), Durability::Fsync);
            wait(&end, last.saturating_sub(IMPORT_AHEAD));
        }
    }
    last += records.len() as u64;
    end.append(RecordNumber(last), records, Durability::Fsync);
    wait(&end, last);
    outcome
}

/// What is wrong with a line. That it is line 1 of itself is left out.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = text.strip_suffix(&place).unwrap_or(&text);
    format!("{reason} (column {})", error.column())
}

/// What the lines of an export must be like beyond what each is by itself.
#[derive(Default)]
struct Order {
    /// The sessions, each with the highest number of a message that it is owed.
    sessions: HashMap<Text, u64>,
}

impl Order {
    fn check(&mut self, record: &Record) -> Result<(), String> {
        let Some(client_identifier) = record.client_identifier() else { return Ok(()) };
        let known = self.sessions.get_mut(client_identifier);
        match (record, known) {
            (Record::Session { .. }, None) => {
                self.sessions.insert(client_identifier.clone(), 0);
                Ok(())
            }
            (Record::Session { .. }, Some(_)) => Err("its session is there already".to_owned()),
            // The Will of a session that ended with its connection, and what nobody has yet.
            (Record::Will { .. } | Record::Underway { .. }, _) => Ok(()),
            (_, None) => Err("its session must come before".to_owned()),
            (Record::Owed { number, .. }, Some(last)) if *number <= *last => {
                Err(format!("number {number} comes after {last}"))
            }
            (Record::Owed { number, .. }, Some(last)) => {
                *last = *number;
                Ok(())
            }
            (Record::Taken { number, .. }, Some(last)) if *number > *last => {
                Err(format!("message {number} must come before"))
            }
            _ => Ok(()),
        }
    }
}
