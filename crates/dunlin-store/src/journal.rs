//! Looks through the engine's journals before the engine does.
//!
//! The engine takes a damaged batch in the middle of a journal for the end of it and drops what
//! follows without a word, or refuses to open, or believes a length. So journals are read here
//! first, with the layout that the engine gives them (numbers are little-endian):
//!
//! ```text
//! batch   01 items u32, sequence number u64   item*   03 checksum of the items u64 "FJL" 03
//! item    02 kind u8, compression u8, table u64, key length u16, value length u32 twice, key, value
//! ```
//!
//! A batch that is damaged, with whole ones behind it, is cut out if all of them were on the disk
//! before: it has rotted. That is told of and noted, and the file kept beside. At the end of the last
//! journal, it is what a power cut has left of batches that nobody was told of: from there on, all
//! is cut off, and kept if there are whole batches in it.

use crate::encoding::Counters;
use crate::keys::COUNTERS;
use crate::loss::{self, Loss};
use crate::open::make;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

const TRAILER: &[u8] = b"FJL\x03";
const BATCH: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
/// A value, a removal. The store makes no others.
const KINDS: std::ops::RangeInclusive<u8> = 0..=1;

/// Mends all journals of a database; gives what was lost in which. `marked` is the last group that
/// was surely on the disk.
pub(crate) fn mend(database: &Path, aside: &Path, marked: Option<u64>) -> io::Result<Vec<Loss>> {
    let mut journals = journals(database)?;
    // The last one may have been made by a process that got no further.
    while let Some((_, path)) = journals.last()
        && std::fs::metadata(path)?.len() == 0
    {
        journals.pop();
    }
    let mut losses = Vec::new();
    let mut last_commit = None;
    for (at, (_, path)) in journals.iter().enumerate() {
        let is_last = at + 1 == journals.len();
        let scanned = Scan::of(path, is_last.then_some(marked), &mut last_commit)?;
        losses.extend(scanned.mend(path, aside, is_last)?);
    }
    Ok(losses)
}

/// What is wrong with a journal.
#[derive(Debug, Default)]
struct Scan {
    /// The length of the file.
    len: u64,
    /// Damaged parts with whole batches behind them, from where to where.
    cuts: Vec<(u64, u64)>,
    /// How many groups were in these, at least.
    groups: u64,
    /// From where on nothing counts, and whether there are whole batches.
    end: Option<(u64, bool)>,
}

impl Scan {
    /// Reads a journal. Of the last one (`marked` is given), only groups up to the one that was
    /// surely on the disk count behind damage. `last_commit` is the last group that was seen.
    fn of(
        path: &Path,
        marked: Option<Option<u64>>,
        last_commit: &mut Option<u64>,
    ) -> io::Result<Self> {
        let mut journal = Journal::open(path)?;
        let mut scan = Self { len: journal.len, ..Self::default() };
        let counts = |commit: Option<u64>| match marked {
            None => true,
            Some(marked) => commit.is_some() && commit <= marked,
        };
        let mut position = 0;
        while position < journal.len {
            if let Some(batch) = journal.batch(position)? {
                position = batch.end;
                *last_commit = batch.commit.or(*last_commit);
                continue;
            }
            if journal.is_empty_from(position)? {
                break;
            }
            match journal.next_batch(position)? {
                Some((next, commit)) if counts(commit) => {
                    scan.cuts.push((position, next));
                    let between = last_commit.zip(commit);
                    let between = between.map_or(1, |(last, next)| next.saturating_sub(last + 1));
                    scan.groups += between.max(1);
                    position = next;
                }
                next => {
                    scan.end = Some((position, next.is_some()));
                    break;
                }
            }
        }
        Ok(scan)
    }

    /// Cuts out what is damaged; gives what that has cost.
    fn mend(mut self, path: &Path, aside: &Path, is_last: bool) -> io::Result<Option<Loss>> {
        match (self.cuts.is_empty(), self.end) {
            (true, None) => return Ok(None),
            (true, Some((end, has_batches))) if is_last => {
                tracing::warn!(
                    journal = %path.display(), from = end,
                    "the end of the journal was torn; nobody was told that it was stored"
                );
                cut_off(path, aside, end, has_batches)?;
                return Ok(None);
            }
            _ => {}
        }
        let mut places = self.cuts.len() as u64;
        let mut bytes = self.cuts.iter().map(|(from, to)| to - from).sum();
        let end = self.end.map_or(self.len, |(end, _)| end);
        if !is_last && end < self.len {
            places += 1;
            bytes += self.len - end;
            self.groups += 1;
        }
        let kept = place(path, aside, "");
        let loss = Loss::Journal { path: path.into(), places, bytes, groups: self.groups, kept };
        tracing::error!("damaged: {loss}");
        rewrite(path, aside, &self.cuts, end, &loss)?;
        Ok(Some(loss))
    }
}

/// How many torn ends are kept: crashes make them, and none should fill the disk.
const TORN_MAX: usize = 16;
/// What their names end with.
const TORN: &str = "torn";

/// Cuts a torn end off. If there are whole batches in it, it is kept elsewhere.
fn cut_off(path: &Path, aside: &Path, end: u64, has_batches: bool) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    if has_batches {
        make(aside)?;
        let is_torn = |entry: &io::Result<std::fs::DirEntry>| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension() == Some(TORN.as_ref()))
        };
        if std::fs::read_dir(aside)?.filter(is_torn).count() < TORN_MAX {
            file.seek(SeekFrom::Start(end))?;
            io::copy(&mut file, &mut private(&place(path, aside, ".torn"))?)?;
        }
    }
    file.set_len(end)?;
    file.sync_all()
}

/// A new file, for this user alone: messages are in it in the clear.
fn private(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Where a journal is kept.
fn place(path: &Path, aside: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut places = (0_u32..).map(|at| aside.join(format!("{at}-{name}{ending}")));
    places.find(|path| !path.exists()).unwrap_or_default()
}

/// The journals of a database, the oldest first.
pub(crate) fn journals(database: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(database) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut journals = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            journals.push((number, path));
        }
    }
    journals.sort();
    Ok(journals)
}

/// Leaves out parts of a journal, notes that, and keeps the file as it was elsewhere.
fn rewrite(
    path: &Path,
    aside: &Path,
    cuts: &[(u64, u64)],
    end: u64,
    loss: &Loss,
) -> io::Result<()> {
    make(aside)?;
    let draft = path.with_extension("draft");
    let mut from = File::open(path)?;
    let mut to = private(&draft)?;
    let mut position = 0;
    for (cut, next) in cuts.iter().copied().chain([(end, end)]) {
        from.seek(SeekFrom::Start(position))?;
        io::copy(&mut (&mut from).take(cut - position), &mut to)?;
        position = next;
    }
    to.flush()?;
    to.sync_all()?;
    // Not every file system has links.
    if let Loss::Journal { kept, .. } = loss {
        std::fs::hard_link(path, kept).or_else(|_| std::fs::copy(path, kept).map(drop))?;
    }
    // Before it is mended: a loss told twice is better than one that nobody hears of.
    loss::note(aside, std::slice::from_ref(loss))?;
    std::fs::rename(&draft, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

struct Journal {
    file: BufReader<File>,
    len: u64,
}

/// A whole batch.
struct Batch {
    end: u64,
    /// The number of the group that it is, if it says.
    commit: Option<u64>,
}

impl Journal {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file: BufReader::with_capacity(256 * 1024, file), len })
    }

    fn seek(&mut self, position: u64) -> io::Result<()> {
        let now = self.file.stream_position()?;
        // Keeps what is buffered.
        self.file.seek_relative(position.wrapping_sub(now).cast_signed())
    }

    /// The batch that begins here, if it is whole.
    fn batch(&mut self, position: u64) -> io::Result<Option<Batch>> {
        self.seek(position)?;
        match self.read_batch(position) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            batch => batch,
        }
    }

    fn read_batch(&mut self, start: u64) -> io::Result<Option<Batch>> {
        let [tag, a, b, c, d, ..] = self.array::<13>()?;
        if tag != BATCH {
            return Ok(None);
        }
        let mut position = start + 13;
        let mut checksum = Xxh3::new();
        let mut commit = None;
        for _ in 0..u32::from_le_bytes([a, b, c, d]) {
            let head = self.array::<21>()?;
            let [tag, kind, compression, ..] = head;
            let key_len = u16::from_le_bytes([head[11], head[12]]);
            let value_len = u32::from_le_bytes([head[13], head[14], head[15], head[16]]);
            let stored_len = u32::from_le_bytes([head[17], head[18], head[19], head[20]]);
            let body = u64::from(key_len) + u64::from(value_len);
            position += 21 + body;
            let is_plain = KINDS.contains(&kind) && compression == 0 && value_len == stored_len;
            if tag != ITEM || !is_plain || key_len == 0 || position > self.len {
                return Ok(None);
            }
            checksum.update(&head);
            let is_counters = usize::from(key_len) == COUNTERS.len() && value_len < 64;
            if is_counters {
                let mut row = vec![0; COUNTERS.len() + value_len as usize];
                self.file.read_exact(&mut row)?;
                checksum.update(&row);
                if let Some(value) = row.strip_prefix(COUNTERS) {
                    let counters = Counters::decode(Bytes::copy_from_slice(value)).ok();
                    commit = counters.map(|counters| counters.commit).or(commit);
                }
            } else {
                self.hash(body, &mut checksum)?;
            }
        }
        let [tag, sum @ .., a, b, c, d] = self.array::<13>()?;
        let is_whole =
            tag == END && u64::from_le_bytes(sum) == checksum.digest() && [a, b, c, d] == TRAILER;
        Ok(is_whole.then_some(Batch { end: position + 13, commit }))
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        self.file.read_exact(&mut array)?;
        Ok(array)
    }

    fn hash(&mut self, mut len: u64, checksum: &mut Xxh3) -> io::Result<()> {
        while len > 0 {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let part = buffer.len().min(usize::try_from(len).unwrap_or(usize::MAX));
            checksum.update(&buffer[..part]);
            self.file.consume(part);
            len -= part as u64;
        }
        Ok(())
    }

    /// Whether the rest is the room that was set aside when the journal was made.
    fn is_empty_from(&mut self, position: u64) -> io::Result<bool> {
        self.seek(position)?;
        loop {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                return Ok(true);
            }
            if buffer.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            let len = buffer.len();
            self.file.consume(len);
        }
    }

    /// Where the next whole batch begins behind damage, and the number of its group.
    fn next_batch(&mut self, position: u64) -> io::Result<Option<(u64, Option<u64>)>> {
        let mut from = position;
        while let Some(trailer) = self.find_trailer(from)? {
            if let Some(batch) = self.batch(trailer)? {
                return Ok(Some((trailer, batch.commit)));
            }
            from = trailer;
        }
        Ok(None)
    }

    /// Where the next trailer ends.
    fn find_trailer(&mut self, from: u64) -> io::Result<Option<u64>> {
        self.seek(from)?;
        let mut position = from;
        let mut matched = 0;
        loop {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                return Ok(None);
            }
            for (at, byte) in buffer.iter().enumerate() {
                // No byte occurs twice in the trailer.
                matched = match () {
                    () if *byte == TRAILER[matched] => matched + 1,
                    () => usize::from(*byte == TRAILER[0]),
                };
                if matched == TRAILER.len() {
                    return Ok(Some(position + at as u64 + 1));
                }
            }
            let len = buffer.len();
            position += len as u64;
            self.file.consume(len);
        }
    }
}
