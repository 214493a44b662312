//! Files that have rotted: the store opens, says so, and has the rest.

use super::*;
use crate::tools::{self, ToolError};
use crate::{Loss, OpenError};
use std::path::PathBuf;

const MESSAGES: u64 = 400;

/// A store with messages for two sessions, each in a commit of its own.
fn filled(folder: &Path) {
    let (mut storage, _) = recover(folder);
    let mut worker = Worker::new(&mut storage);
    worker.store(vec![session("a"), session("b")]);
    for number in 1..=MESSAGES {
        let message = message("t", &[number as u8; 500]);
        worker.store(vec![owed("a", number, &message), owed("b", number, &message)]);
    }
}

fn journal(folder: &Path) -> PathBuf {
    folder.join("database/0.jnl")
}

/// Changes a byte of a file, by its place as a part of what is used of it.
fn flip(path: &Path, part: f64) {
    let mut bytes = std::fs::read(path).expect("a file");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("it is used");
    let at = (used as f64 * part) as usize;
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).expect("a file");
}

fn all(worker: &mut Worker, of: &str) -> Vec<u64> {
    let page = worker.fetch(of, 0, usize::MAX, usize::MAX);
    assert!(!page.more);
    numbers(&page)
}

#[test]
fn a_batch_that_has_rotted_in_the_journal_is_cut_out() {
    for part in [0.3, 0.5, 0.77] {
        let folder = tempfile::tempdir().expect("a folder");
        filled(folder.path());
        flip(&journal(folder.path()), part);
        let (mut storage, _) = recover(folder.path());
        assert_eq!((storage.found().damaged_journals, storage.lost()), (1, 1));
        let mut worker = Worker::new(&mut storage);
        let left = all(&mut worker, "a");
        assert_eq!(left.len() as u64, MESSAGES - 1, "one commit is lost");
        assert_eq!(all(&mut worker, "b"), left);
        assert!(folder.path().join("damaged/0-0.jnl").exists(), "it is kept");
        drop((storage, worker));
        // It is mended for good, and noted.
        assert_eq!(recover(folder.path()).0.found().damaged_journals, 0);
        let checked = tools::check(folder.path()).expect("it opens");
        assert_eq!((checked.losses.len(), checked.notes.len()), (0, 1), "{checked:?}");
        assert!(checked.notes[0].text.contains("damaged/0-0.jnl"), "{checked:?}");
        assert!(!checked.is_sound());
        assert!(tools::forget(folder.path()).expect("a disk").value);
        assert!(tools::check(folder.path()).expect("it opens").is_sound());
        assert!(!folder.path().join("damaged").exists());
    }
}

#[test]
fn a_torn_end_is_cut_off() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    // Nothing says that the last commits were on the disk: they are what a power cut has left.
    std::fs::remove_file(folder.path().join("progress")).expect("a mark");
    flip(&journal(folder.path()), 0.5);
    let (mut storage, _) = recover(folder.path());
    assert_eq!(storage.found().damaged_journals, 0);
    let mut worker = Worker::new(&mut storage);
    let left = all(&mut worker, "a");
    assert_eq!(left, (1..=left.len() as u64).collect::<Vec<_>>());
    assert!((100..300).contains(&left.len()), "{}", left.len());
    // And it goes on from there.
    let next = left.len() as u64 + 1;
    worker.store(vec![owed("a", next, &message("t", b"next"))]);
    assert_eq!(all(&mut worker, "a").last(), Some(&next));
}

#[test]
fn a_journal_without_its_end_keeps_its_beginning() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    std::fs::remove_file(folder.path().join("progress")).expect("a mark");
    let file = std::fs::OpenOptions::new().write(true).open(journal(folder.path())).expect("it");
    file.set_len(50_000).expect("a file");
    let (mut storage, _) = recover(folder.path());
    let mut worker = Worker::new(&mut storage);
    let left = all(&mut worker, "a");
    assert_eq!(left, (1..=left.len() as u64).collect::<Vec<_>>());
    assert!(!left.is_empty());
}

/// The files that hold tables of the engine.
fn tables(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("database/keyspaces")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.components().any(|part| part.as_os_str() == "tables") {
                found.push(path);
            }
        }
    }
    found.sort_by_key(|path| std::fs::metadata(path).expect("a file").len());
    found
}

#[test]
fn a_block_that_has_rotted_in_a_table_is_passed_over() {
    for part in [0.1, 0.4, 0.7] {
        let folder = tempfile::tempdir().expect("a folder");
        filled(folder.path());
        tools::compact(folder.path()).expect("it works");
        // The largest is that of the queues: its end is not data.
        flip(tables(folder.path()).last().expect("a table"), part);
        let (mut storage, records) = recover(folder.path());
        assert!(storage.found().gaps > 0, "{:?}", storage.found());
        assert_eq!(storage.found().sessions, 2);
        let of = |record: &Record| matches!(record, Record::Waiting { .. });
        assert_eq!(records.iter().filter(|record| of(record)).count(), 2, "both queues go on");
        let mut worker = Worker::new(&mut storage);
        let mut damaged = 0;
        let mut left = 0;
        for of in ["a", "b"] {
            let page = worker.fetch(of, 0, usize::MAX, usize::MAX);
            damaged += page.damaged;
            left += page.messages.len() as u64;
        }
        assert!(damaged > 0, "it is told");
        assert!((2 * MESSAGES - 64..2 * MESSAGES).contains(&left), "{left} are left");
        let checked = {
            drop((storage, worker));
            tools::check(folder.path()).expect("it opens")
        };
        assert!(!checked.is_sound());
        let is_told = |loss: &Loss| {
            matches!(loss, Loss::Gap { .. }) && loss.to_string().contains(": at most ")
        };
        assert!(checked.losses.iter().any(is_told), "{checked:?}");
        let exported = tools::export(folder.path(), &mut Vec::new()).expect("it opens");
        assert_eq!(exported.value.lost, checked.found.lost());
        assert_eq!(exported.losses, checked.losses);
    }
}

#[test]
fn a_part_that_can_not_be_read_is_told_by_what_is_around_it() {
    let gap = |table, after: &[u8], before: Option<&[u8]>| Loss::Gap {
        table,
        files: "files".into(),
        after: after.to_vec(),
        before: before.map(<[u8]>::to_vec),
    };
    let (first, third) = (crate::keys::pair(1, 1), crate::keys::pair(1, 3));
    for (gap, said) in [
        (gap("queue", &first, Some(&third)), "at most 1 message"),
        (gap("queue", &[], Some(&[1, 2])), "what is before the key 0102"),
        (gap("will", &[7], Some(&[8])), "what is between the keys 07 and 08"),
        (gap("will", &[7], None), "what is behind the key 07"),
        (gap("will", &[], None), "all that it had"),
    ] {
        let Loss::Gap { table, .. } = &gap else { unreachable!("made so") };
        let expected = format!("the table {table}, in the files of files: {said} can't be read");
        assert_eq!(gap.to_string(), expected);
    }
}

#[test]
fn a_row_that_means_nothing_is_set_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    {
        let storage = open(folder.path());
        storage.overwrite(
            crate::keys::Table::Queue,
            &crate::keys::pair(1, 7),
            b"\x01\x00\x00\x00\x00\x00\x00",
        );
        storage.overwrite(crate::keys::Table::Queue, &crate::keys::pair(1, 8), b"?");
    }
    let checked = tools::check(folder.path()).expect("it opens");
    assert_eq!(checked.problems.len(), 2, "{checked:?}");
    // One is seen at the start, the other when its turn comes.
    let (mut storage, _) = recover(folder.path());
    assert_eq!(storage.found().damaged_rows, 1);
    let mut worker = Worker::new(&mut storage);
    drop(storage);
    let page = worker.fetch("a", 0, usize::MAX, usize::MAX);
    assert_eq!((page.messages.len() as u64, page.damaged), (MESSAGES - 2, 1));
    worker.store(vec![settled("b", 1)]);
    let page = worker.fetch("a", 0, usize::MAX, usize::MAX);
    assert_eq!((page.messages.len() as u64, page.damaged), (MESSAGES - 2, 0));
    drop(worker);
    let checked = tools::check(folder.path()).expect("it opens");
    assert_eq!((checked.found.damaged_rows, checked.set_aside), (0, 2));
    assert!(!checked.is_sound());
    tools::forget(folder.path()).expect("a disk");
    assert!(tools::check(folder.path()).expect("it opens").is_sound());
}

#[test]
fn every_tool_tells_of_a_journal_that_it_mends_and_of_what_was_noted() {
    // What it names, how many notes it knows, and how much its copy lacks if it makes one.
    type Tool = fn(&Path) -> (Vec<Loss>, usize, Option<u64>);
    let tools: [Tool; 5] = [
        |folder| {
            let stat = tools::stat(folder).expect("it opens");
            (stat.losses, stat.notes.len(), None)
        },
        |folder| {
            let checked = tools::check(folder).expect("it opens");
            (checked.losses, checked.notes.len(), None)
        },
        |folder| {
            let done = tools::compact(folder).expect("it opens");
            (done.losses, done.notes.len(), None)
        },
        |folder| {
            let exported = tools::export(folder, &mut Vec::new()).expect("it opens");
            (exported.losses, exported.notes.len(), Some(exported.value.lost))
        },
        |folder| {
            let copied = tools::backup(folder, &mut Vec::new()).expect("it opens");
            (copied.losses, copied.notes.len(), Some(copied.value.lost))
        },
    ];
    for tool in tools {
        let folder = tempfile::tempdir().expect("a folder");
        filled(folder.path());
        flip(&journal(folder.path()), 0.5);
        let (losses, notes, lost) = tool(folder.path());
        assert!(matches!(losses[..], [Loss::Journal { places: 1, groups: 1, .. }]), "{losses:?}");
        assert_eq!((notes, lost.unwrap_or(1)), (0, 1));
        // A copy counts what was lost earlier no more.
        assert_eq!(tool(folder.path()), (Vec::new(), 1, lost.map(|_| 0)));
    }
}

#[test]
fn what_nobody_has_seen_yet_is_not_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    flip(&journal(folder.path()), 0.3);
    drop(recover(folder.path()));
    flip(&journal(folder.path()), 0.5);
    let done = tools::forget(folder.path()).expect("it opens");
    assert!(matches!(done.losses[..], [Loss::Journal { groups: 1, .. }]), "{done:?}");
    assert_eq!((done.value, done.notes.len()), (false, 1), "{done:?}");
    for kept in ["damaged/0-0.jnl", "damaged/1-0.jnl"] {
        assert!(folder.path().join(kept).exists(), "{kept}");
    }
    assert_eq!(tools::check(folder.path()).expect("it opens").notes.len(), 2);
    // It was told.
    let done = tools::forget(folder.path()).expect("it opens");
    assert_eq!((done.value, done.losses.len(), done.notes.len()), (true, 0, 0), "{done:?}");
    assert!(tools::check(folder.path()).expect("it opens").is_sound());
}

#[test]
fn rows_set_aside_that_can_not_be_read_are_told_by_who_forgets_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let rows: u64 = 200;
    {
        let storage = open(folder.path());
        for number in 1..=rows {
            let key = crate::keys::pair(1, number);
            storage.overwrite(crate::keys::Table::Damaged, &key, &[7; 500]);
        }
    }
    tools::compact(folder.path()).expect("it works");
    // What was set aside is one of the two largest. Of the other, this is not the place to tell.
    let tables = tables(folder.path());
    tables[tables.len() - 2..].iter().for_each(|table| flip(table, 0.4));
    let done = tools::forget(folder.path()).expect("it opens");
    assert!(matches!(done.losses[..], [Loss::Gap { table: "damaged", .. }]), "{done:?}");
    assert!(done.value);
    let left = tools::check(folder.path()).expect("it opens").set_aside;
    assert!(left < rows, "{left} of them are left");
}

#[test]
fn groups_that_are_gone_from_the_end_are_told_of_once_and_noted() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let file = std::fs::OpenOptions::new().write(true).open(journal(folder.path())).expect("it");
    file.set_len(50_000).expect("a file");
    let (mut storage, _) = recover(folder.path());
    let lost = storage.lost();
    let left = all(&mut Worker::new(&mut storage), "a").len() as u64;
    assert_eq!(lost, MESSAGES - left, "each was a group of its own");
    drop(storage);
    let checked = tools::check(folder.path()).expect("it opens");
    assert_eq!((checked.losses.len(), checked.notes.len()), (0, 1), "{checked:?}");
}

#[test]
fn a_store_whose_database_is_gone_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let database = folder.path().join("database");
    for is_mount_point in [false, true] {
        std::fs::remove_dir_all(&database).expect("it was there");
        if is_mount_point {
            std::fs::create_dir(&database).expect("a folder");
        }
        let error = FileStorage::open(folder.path(), Options::default()).expect_err("gone");
        assert!(matches!(error, OpenError::Gone { .. }), "{error}");
        let error = tools::check(folder.path()).expect_err("gone");
        assert!(matches!(error, ToolError::Open(OpenError::Gone { .. })), "{error}");
        std::fs::create_dir_all(&database).expect("a folder");
    }
    // One in which nothing was ever stored begins again.
    std::fs::remove_file(folder.path().join("progress")).expect("a mark");
    drop(open(folder.path()));
}

#[test]
fn an_import_beside_a_store_that_is_not_mounted_leaves_it_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    filled(folder.path());
    let mut export = Vec::new();
    tools::export(folder.path(), &mut export).expect("it opens");
    let (database, elsewhere) = (folder.path().join("database"), folder.path().join("elsewhere"));
    std::fs::rename(&database, &elsewhere).expect("it was there");
    for is_mount_point in [false, true] {
        if is_mount_point {
            std::fs::create_dir(&database).expect("a folder");
        }
        let error = tools::import(folder.path(), &mut &export[..]).expect_err("a store was here");
        assert!(matches!(error, ToolError::Open(OpenError::Gone { .. })), "{error}");
    }
    // It is mounted again.
    std::fs::remove_dir(&database).expect("nothing was made in it");
    std::fs::rename(&elsewhere, &database).expect("a folder");
    assert!(tools::check(folder.path()).expect("nothing marks it").is_sound());
}

#[test]
fn messages_are_for_this_user_alone_in_whatever_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let open_to_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open_to_all).expect("a folder of our own");
    filled(folder.path());
    flip(&journal(folder.path()), 0.5);
    drop(recover(folder.path()));
    for name in ["database", "damaged"] {
        let rights = std::fs::metadata(folder.path().join(name)).expect("it is there");
        assert_eq!(rights.permissions().mode() & 0o777, 0o700, "{name}");
    }
}

#[test]
fn a_path_that_is_too_long_for_a_socket_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = folder.path().join("x".repeat(120));
    let (mut storage, _) = recover(&long);
    let worker = Worker::new(&mut storage);
    assert!(!long.join("control.new").exists());
    drop((storage, worker));
}
