//! Copies what a sync has covered to the shadow.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::ranges::Dirty;
use crate::raw::{self, FileId};

/// How much is compared and copied at once.
const CHUNK: usize = 64 * 1024;

/// The name of a file's shadow: inode, and seconds and nanoseconds of its birth.
pub(crate) fn name(file: FileId) -> String {
    format!("{}-{}-{}", file.inode, file.born_secs, file.born_nanos)
}

/// Brings the shadow of a file up to what a sync has covered. `is_latest` unless a sync that began
/// later was told before: the length is its.
///
/// `None` when the shadow can't be written; it then claims too little, never too much.
pub(crate) fn commit(
    folder: &Path,
    file: FileId,
    fd: i32,
    covered: &Dirty,
    is_latest: bool,
) -> Option<()> {
    // The program's own descriptor may be for writing alone.
    let source = File::open(format!("/proc/self/fd/{fd}")).ok()?;
    let path = folder.join(name(file));
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let shadow = open.ok()?;
    let len = shadow.metadata().ok()?.len();
    if is_latest && covered.shortest() < len {
        set_len(&shadow, covered.shortest())?;
    }
    if is_latest {
        set_len(&shadow, covered.len())?;
    }
    let (mut new, mut old) = (vec![0; CHUNK], vec![0; CHUNK]);
    for (from, to) in covered.ranges() {
        let mut at = from;
        while at < to {
            let want = usize::try_from(to - at).unwrap_or(CHUNK).min(CHUNK);
            let read = source.read_at(&mut new[..want], at).ok().filter(|read| *read > 0);
            // The file was cut meanwhile: the next sync tells.
            let Some(read) = read else { break };
            let had = shadow.read_at(&mut old[..read], at).unwrap_or(0);
            // What is there already stays: files with holes keep them.
            if had < read || new[..read] != old[..read] {
                raw::write_all_at(shadow.as_raw_fd(), &new[..read], at)?;
            }
            at += read as u64;
        }
    }
    Some(())
}

fn set_len(file: &File, len: u64) -> Option<()> {
    (raw::ftruncate(file.as_raw_fd(), i64::try_from(len).ok()?) == 0).then_some(())
}
