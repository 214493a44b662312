//! The journal: changes in the order in which they happened, in frames that say whether they are
//! whole.
//!
//! ```text
//! header   "dunlin session\n\0"   version u32   salt u64   CRC-32 u32
//! frame    mark u32   length u32   CRC-32 u32   changes, each behind its length as u32
//! ```
//!
//! A frame is what one sync made durable, and the next one is written only after that. So of
//! frames that are not whole, the last one is what a crash interrupted, on which nobody relied;
//! one that others follow was damaged later.
//!
//! A frame's checksum covers its place and the file's salt: bytes that look like a frame, in a
//! payload or left by an earlier file, are none.

use super::disk::Disk;
use super::{InvalidChange, SessionChange, StoreError, StoredSession};
use bytes::{Buf, BufMut};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{debug, warn};

const MAGIC: &[u8; 16] = b"dunlin session\n\0";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_LEN: usize = 32;
const MARK: u32 = 0x9c3f_61d7;
const FRAME_HEADER_LEN: usize = 12;

/// Shorter journals are not worth compacting.
pub(super) const COMPACT_LEN_MIN: u64 = 64 * 1024;

/// A journal is compacted when it is this many times as long as it was after the last time.
const COMPACT_RATIO: u64 = 4;

/// Changes of more bytes are synced before further ones are taken, so that a frame stays small.
const FRAME_LEN: usize = 64 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Journal<D> {
    disk: D,
    path: PathBuf,
    session: StoredSession,
    salt: u64,
    /// Where the next frame goes.
    len: u64,
    compacted_len: u64,
    /// Changes that were appended and not synced.
    pending: Vec<u8>,
    failed: bool,
}

/// What to do about a damaged journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDamage {
    Fail,
    /// Set the journal aside and go on with what precedes the damage.
    SetAside,
}

impl<D: Disk> Journal<D> {
    /// Opens the journal, or begins one. `salt` is any number that differs from file to file.
    pub(crate) fn open(
        disk: D,
        path: &Path,
        salt: u64,
        on_damage: OnDamage,
    ) -> Result<Self, StoreError> {
        let mut journal = Self {
            disk,
            path: path.to_owned(),
            session: StoredSession::new(),
            salt,
            len: 0,
            compacted_len: 0,
            pending: Vec::new(),
            failed: false,
        };
        let bytes = journal.disk.read();
        let bytes = bytes.map_err(|error| journal.io_error("be read", error))?;
        let Some(bytes) = bytes else {
            journal.replace()?;
            return Ok(journal);
        };
        journal.salt = read_header(path, &bytes)?;
        let recovered = recover(&bytes, journal.salt);
        journal.session = recovered.session;
        journal.len = u64::try_from(recovered.len).unwrap_or(u64::MAX);
        journal.compacted_len = journal.len;
        if recovered.is_damaged {
            let offset = journal.len;
            if on_damage == OnDamage::Fail {
                return Err(StoreError::Damaged { path: path.to_owned(), offset });
            }
            warn!(path = %path.display(), offset, "the session store is damaged; set aside");
            let aside = journal.disk.set_aside();
            aside.map_err(|error| journal.io_error("be set aside", error))?;
            journal.salt = journal.salt.wrapping_add(1);
            journal.replace()?;
            return Ok(journal);
        }
        if recovered.len < bytes.len() {
            let dropped = bytes.len() - recovered.len;
            debug!(path = %path.display(), dropped, "the session store ended in the middle");
            let cut = journal.disk.truncate(journal.len);
            cut.map_err(|error| journal.io_error("be cut", error))?;
        }
        // What a killed process wrote may not have reached the disk, and is relied on from now on.
        let synced = journal.disk.sync().and_then(|()| journal.disk.sync_folder());
        synced.map_err(|error| journal.io_error("be synced", error))?;
        Ok(journal)
    }

    pub(crate) const fn session(&self) -> &StoredSession {
        &self.session
    }

    pub(crate) fn append(&mut self, change: &SessionChange) -> Result<(), StoreError> {
        self.check()?;
        if self.pending.len() >= FRAME_LEN {
            self.sync()?;
        }
        let mut encoded = Vec::new();
        let applied = change.encode(&mut encoded).and_then(|()| self.session.apply(change));
        if let Err(error) = applied {
            self.failed = true;
            return Err(StoreError::Other(Arc::new(error)));
        }
        put_change(&mut self.pending, &encoded);
        Ok(())
    }

    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.check()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        let frame = frame(self.salt, self.len, &self.pending);
        // Whatever comes of it: the same changes are not written twice.
        self.pending = Vec::new();
        self.failed = true;
        let written = self.disk.write_at(self.len, &frame).map_err(|error| ("be written", error));
        let stored = written.and_then(|()| self.disk.sync().map_err(|error| ("be synced", error)));
        if let Err((action, error)) = stored {
            // What was not told to be stored should not come back either.
            let _ = self.disk.truncate(self.len);
            return Err(self.io_error(action, error));
        }
        self.failed = false;
        self.len += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        if self.len > COMPACT_LEN_MIN && self.len / COMPACT_RATIO > self.compacted_len {
            self.compact()?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.failed { Err(StoreError::Failed) } else { Ok(()) }
    }

    /// Begins a new file with what is left of the Session. Without room for one, the old file
    /// goes on.
    fn compact(&mut self) -> Result<(), StoreError> {
        let (salt, len) = (self.salt, self.len);
        self.salt = self.salt.wrapping_add(1);
        let bytes = self.image()?;
        let prepared = self.disk.write_successor(&bytes).and_then(|()| self.disk.sync_successor());
        if let Err(error) = prepared {
            debug!(path = %self.path.display(), %error, "the session store is not compacted");
            (self.salt, self.len, self.compacted_len) = (salt, len, len);
            return Ok(());
        }
        self.promote(bytes.len())
    }

    /// Writes the Session to a new file, which takes the place of the one there may be.
    fn replace(&mut self) -> Result<(), StoreError> {
        let bytes = self.image()?;
        let prepared = self.disk.write_successor(&bytes).and_then(|()| self.disk.sync_successor());
        prepared.map_err(|error| self.io_error("be written", error))?;
        self.promote(bytes.len())
    }

    fn promote(&mut self, len: usize) -> Result<(), StoreError> {
        self.failed = true;
        let promoted = self.disk.promote_successor().and_then(|()| self.disk.sync_folder());
        promoted.map_err(|error| self.io_error("be replaced", error))?;
        self.failed = false;
        self.len = u64::try_from(len).unwrap_or(u64::MAX);
        self.compacted_len = self.len;
        Ok(())
    }

    /// The file that holds the Session and nothing else.
    fn image(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = header(self.salt);
        let mut changes = Vec::new();
        let mut encoded = Vec::new();
        for change in self.session.changes() {
            encoded.clear();
            let invalid = |error: InvalidChange| StoreError::Other(Arc::new(error));
            change.encode(&mut encoded).map_err(invalid)?;
            put_change(&mut changes, &encoded);
            if changes.len() >= FRAME_LEN {
                self.put_frame(&mut bytes, &changes);
                changes.clear();
            }
        }
        if !changes.is_empty() {
            self.put_frame(&mut bytes, &changes);
        }
        Ok(bytes)
    }

    fn put_frame(&self, bytes: &mut Vec<u8>, changes: &[u8]) {
        let offset = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        bytes.extend_from_slice(&frame(self.salt, offset, changes));
    }

    fn io_error(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), action, source: Arc::new(source) }
    }
}

fn put_change(changes: &mut Vec<u8>, encoded: &[u8]) {
    changes.put_u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
    changes.put_slice(encoded);
}

fn header(salt: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.put_slice(MAGIC);
    bytes.put_u32(VERSION);
    bytes.put_u64(salt);
    let checksum = crc32fast::hash(&bytes);
    bytes.put_u32(checksum);
    bytes
}

/// Gives the salt. A header is never torn: a file gets its name when all of it is synced.
fn read_header(path: &Path, bytes: &[u8]) -> Result<u64, StoreError> {
    let not_a_store = || StoreError::NotAStore(path.to_owned());
    let mut header = bytes.get(..HEADER_LEN).ok_or_else(not_a_store)?;
    if !header.starts_with(MAGIC) {
        return Err(not_a_store());
    }
    let checksum = crc32fast::hash(&header[..HEADER_LEN - 4]);
    header.advance(MAGIC.len());
    let (version, salt, found) = (header.get_u32(), header.get_u64(), header.get_u32());
    if checksum != found {
        return Err(StoreError::Damaged { path: path.to_owned(), offset: 0 });
    }
    if version != VERSION {
        let path = path.to_owned();
        return Err(StoreError::Version { path, found: version, known: VERSION });
    }
    Ok(salt)
}

fn frame(salt: u64, offset: u64, changes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_LEN + changes.len());
    frame.put_u32(MARK);
    frame.put_u32(u32::try_from(changes.len()).unwrap_or(u32::MAX));
    frame.put_u32(checksum(salt, offset, changes));
    frame.put_slice(changes);
    frame
}

fn checksum(salt: u64, offset: u64, changes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_be_bytes());
    hasher.update(&offset.to_be_bytes());
    hasher.update(changes);
    hasher.finalize()
}

/// The changes of the frame at this place, if a whole one is there.
fn frame_at(bytes: &[u8], at: usize, salt: u64) -> Option<&[u8]> {
    let mut header = bytes.get(at..at.checked_add(FRAME_HEADER_LEN)?)?;
    if header.get_u32() != MARK {
        return None;
    }
    let len = usize::try_from(header.get_u32()).ok()?;
    let found = header.get_u32();
    let from = at + FRAME_HEADER_LEN;
    let changes = bytes.get(from..from.checked_add(len)?)?;
    let offset = u64::try_from(at).ok()?;
    (checksum(salt, offset, changes) == found).then_some(changes)
}

struct Recovered {
    session: StoredSession,
    /// How much of the file is whole.
    len: usize,
    /// What follows was stored, and can't be read.
    is_damaged: bool,
}

fn recover(bytes: &[u8], salt: u64) -> Recovered {
    let mut session = StoredSession::new();
    let mut at = HEADER_LEN;
    while let Some(changes) = frame_at(bytes, at, salt) {
        if apply(&mut session, changes).is_err() {
            return Recovered { session, len: at, is_damaged: true };
        }
        at += FRAME_HEADER_LEN + changes.len();
    }
    let is_damaged = (at + 1..bytes.len()).any(|later| frame_at(bytes, later, salt).is_some());
    Recovered { session, len: at, is_damaged }
}

fn apply(session: &mut StoredSession, mut changes: &[u8]) -> Result<(), InvalidChange> {
    while !changes.is_empty() {
        let len = changes.try_get_u32().map_err(|_| InvalidChange)?;
        let len = usize::try_from(len).map_err(|_| InvalidChange)?;
        let (change, rest) = changes.split_at_checked(len).ok_or(InvalidChange)?;
        session.apply(&SessionChange::decode(change)?)?;
        changes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
