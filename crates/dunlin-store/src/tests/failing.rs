//! A disk that takes no more: nothing is reported stored, and it goes on when the disk does.
//!
//! The disk is a limit on the size of files, which the process sets for itself: writes fail as
//! they do on a full disk.

use super::*;
use rustix::process::{Resource, Rlimit, setrlimit};

fn limit_files(bytes: Option<u64>) {
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("a limit");
}

/// Meets the limit, waits, and goes on.
#[test]
fn the_process_whose_disk_is_full() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    // The signal that comes with the error would end the process.
    let noticed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, noticed).expect("a signal");
    let (mut storage, _) = recover(Path::new(&folder));
    let mut worker = Worker::new(&mut storage);
    drop(storage);
    worker.store(vec![session("a")]);
    let message = message("t", &[7; 300]);
    for round in 0..3 {
        let first = round * 100;
        for number in 1..=50 {
            worker.store(vec![owed("a", first + number, &message)]);
        }
        // Enough for nothing that is not there yet.
        limit_files(Some(4096));
        let before = worker.last;
        for number in 51..=100 {
            let durability = if number % 2 == 0 { Durability::Fsync } else { Durability::Written };
            worker.append(vec![owed("a", first + number, &message)], durability);
        }
        while worker.store.is_ready() {
            worker.woken.recv().expect("a living store");
        }
        assert_eq!(worker.store.stored_upto(Durability::Fsync).0, before);
        assert!(worker.store.stored_upto(Durability::Written).0 < worker.last);
        limit_files(None);
        worker.wait(Durability::Fsync, worker.last);
        while !worker.store.is_ready() {
            worker.woken.recv().expect("a living store");
        }
        let page = worker.fetch("a", first, 1000, usize::MAX);
        assert_eq!(numbers(&page), (first + 1..=first + 100).collect::<Vec<_>>());
    }
    println!("\nit went on");
    // Without closing: what was reported is there all the same.
    std::process::abort();
}

#[test]
fn a_full_disk_acknowledges_nothing_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = process("tests::failing::the_process_whose_disk_is_full", folder.path())
        .output()
        .expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("it went on"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let (mut storage, records) = recover(folder.path());
    let waits = |record: &Record| matches!(record, Record::Waiting { len: 300, last: 300, .. });
    assert!(records.iter().any(waits), "{records:?}");
    assert_eq!(storage.found().damaged_journals, 0);
    let mut worker = Worker::new(&mut storage);
    let page = worker.fetch("a", 0, 1000, usize::MAX);
    assert_eq!(numbers(&page), (1..=300).collect::<Vec<_>>());
}

/// Ends while the disk takes nothing.
#[test]
fn the_process_that_stops_while_its_disk_is_full() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let noticed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, noticed).expect("a signal");
    let (mut storage, _) = recover(Path::new(&folder));
    let ending = storage.ending();
    let mut worker = Worker::new(&mut storage);
    drop(storage);
    worker.store(vec![session("a")]);
    // Less than the disk must take to count as mended.
    limit_files(Some(512 * 1024));
    let message = message("t", &[7; 300_000]);
    for number in 1..=4 {
        worker.append(vec![owed("a", number, &message)], Durability::Fsync);
    }
    while worker.store.is_ready() {
        worker.woken.recv().expect("a living store");
    }
    let probe = crate::health::probe(Path::new(&folder));
    assert!(probe.is_err(), "there is no room");
    assert_eq!(ending.lost(), 0, "it has not ended");
    drop(worker);
    assert!(ending.lost() > 0);
    limit_files(None);
    crate::health::probe(Path::new(&folder)).expect("there is room");
    assert!(!Path::new(&folder).join("probe").exists());
    println!("\nit ended");
}

#[test]
fn who_stops_a_store_while_its_disk_is_full_is_told_that_something_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let output =
        process("tests::failing::the_process_that_stops_while_its_disk_is_full", folder.path())
            .output()
            .expect("this program runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("it ended"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
