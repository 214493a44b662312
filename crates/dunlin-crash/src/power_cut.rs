//! What a power cut leaves of a folder: what completed syncs cover, and of the rest what chance
//! brought to the disk in time.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use dunlin_testkit::Random;

/// What reaches the disk as a whole or not at all.
const PAGE: usize = 4096;

/// How much of the unsynced pages was there, and how much of it is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) unsynced: u64,
    pub(crate) kept: u64,
}

/// Brings the folder of a process that was killed into the state that a power cut at that moment
/// could have left. `shadow` is what the preloaded library kept; afterwards it says that what is
/// left is durable.
///
/// Every file is as long and holds what its shadow has, and is empty without one. Each page that
/// differs from the file's is then the file's with this probability, in percent.
pub(crate) fn cut(
    data: &Path,
    shadow: &Path,
    kept_percent: u64,
    random: &mut Random,
) -> io::Result<Cut> {
    let mut result = Cut::default();
    let mut shadows = BTreeSet::new();
    for path in files(data)? {
        let name = shadow_name(&path)?;
        let shadow = shadow.join(&name);
        let durable = fs::read(&shadow).unwrap_or_default();
        let real = fs::read(&path)?;
        let left = remains(&real, durable, kept_percent, random, &mut result);
        write_in_place(&path, &real, &left)?;
        fs::write(&shadow, &left)?;
        shadows.insert(name);
    }
    // Shadows of files that are gone: an inode may be used again.
    for entry in fs::read_dir(shadow)? {
        let entry = entry?;
        if !shadows.contains(&entry.file_name().to_string_lossy().into_owned()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(result)
}

/// What is left of a file.
fn remains(
    real: &[u8],
    durable: Vec<u8>,
    kept_percent: u64,
    random: &mut Random,
    cut: &mut Cut,
) -> Vec<u8> {
    let mut left = durable;
    if real.len() < left.len() && random.chance(kept_percent) {
        left.truncate(real.len());
    }
    for (page, written) in (0..).zip(real.chunks(PAGE)) {
        let from = page * PAGE;
        let to = from + written.len();
        if left.get(from..to) == Some(written) {
            continue;
        }
        cut.unsynced += 1;
        if random.chance(kept_percent) {
            cut.kept += 1;
            left.resize(left.len().max(to), 0);
            left[from..to].copy_from_slice(written);
        }
    }
    left
}

/// The file keeps its inode, which its shadow is named by.
fn write_in_place(path: &Path, real: &[u8], left: &[u8]) -> io::Result<()> {
    if real == left {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(left.len() as u64)?;
    for (page, bytes) in (0..).zip(left.chunks(PAGE)) {
        let from = page * PAGE;
        if real.get(from..from + bytes.len()) != Some(bytes) {
            file.write_all_at(bytes, from as u64)?;
        }
    }
    Ok(())
}

/// As the preloaded library names it: inode and birth.
fn shadow_name(path: &Path) -> io::Result<String> {
    let metadata = fs::metadata(path)?;
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let (secs, nanos) = born.map_or((0, 0), |born| (born.as_secs(), born.subsec_nanos()));
    Ok(format!("{}-{secs}-{nanos}", metadata.ino()))
}

/// All regular files below a folder, in the order of their paths.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(real: &[u8], durable: &[u8], percent: u64, expected: &[u8]) {
        let mut cut = Cut::default();
        let left = remains(real, durable.to_vec(), percent, &mut Random::new(1), &mut cut);
        assert!(left == expected, "{} bytes, expected {}", left.len(), expected.len());
    }

    #[test]
    fn only_what_is_covered_is_left() {
        check(b"covered and not", b"covered", 0, b"covered");
        check(b"never synced", b"", 0, b"");
        check(b"cut", b"cut off", 0, b"cut off");
    }

    #[test]
    fn with_luck_all_of_it_is_left() {
        check(b"covered and not", b"covered", 100, b"covered and not");
        check(b"cut", b"cut off", 100, b"cut");
    }

    #[test]
    fn a_page_is_there_or_not() {
        let real: Vec<u8> = (0..100 * PAGE).map(|at| 1 + (at / PAGE) as u8).collect();
        let mut cut = Cut::default();
        let left = remains(&real, Vec::new(), 50, &mut Random::new(7), &mut cut);
        assert_eq!(cut.unsynced, 100);
        assert!((30..70).contains(&cut.kept), "{cut:?}");
        for (page, bytes) in left.chunks(PAGE).enumerate() {
            assert!(bytes.iter().all(|byte| *byte == bytes[0]), "page {page} is torn");
            assert!(bytes[0] == 0 || bytes[0] == 1 + page as u8);
        }
    }

    #[test]
    fn a_folder_becomes_what_its_shadow_says() {
        let root = tempfile::tempdir().expect("a folder");
        let (data, shadow) = (root.path().join("data"), root.path().join("shadow"));
        fs::create_dir_all(data.join("below")).expect("folders");
        fs::create_dir_all(&shadow).expect("a folder");
        let file = data.join("below/file");
        fs::write(&file, "covered and not").expect("a file");
        fs::write(data.join("new"), "never synced").expect("a file");
        let name = shadow_name(&file).expect("a name");
        fs::write(shadow.join(&name), "covered").expect("its shadow");
        fs::write(shadow.join("1-2-3"), "of a file that is gone").expect("a shadow");

        cut(&data, &shadow, 0, &mut Random::new(1)).expect("cut");

        assert_eq!(fs::read_to_string(&file).expect("the file"), "covered");
        assert_eq!(fs::read_to_string(data.join("new")).expect("the file"), "");
        assert_eq!(shadow_name(&file).expect("a name"), name);
        assert_eq!(fs::read_dir(&shadow).expect("a folder").count(), 2);
    }
}
