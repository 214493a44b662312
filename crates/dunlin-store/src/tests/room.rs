//! The disk gets its room back while the store is open.

use super::{Worker, message, owed, recover, session, settled};
use crate::commit::counters;
use crate::compaction::Compaction;
use crate::engine::{Engine, Op};
use crate::index::Index;
use crate::keys::Table;
use crate::storage::Options;
use fjall::{AbstractTree as _, PersistMode, UserKey, UserValue};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const ROWS: u32 = 2000;

/// Writes or removes all rows.
fn change(engine: &Engine, value: Option<&[u8]>) {
    let ops: Vec<_> = (0..ROWS)
        .map(|row| Op {
            table: Table::Queue,
            key: UserKey::new(&row.to_be_bytes()),
            value: value.map(UserValue::new),
        })
        .collect();
    engine.commit(&ops, PersistMode::Buffer).expect("a working disk");
}

fn bytes(folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("it is there");
        sum += if metadata.is_dir() { bytes(&entry.path()) } else { metadata.len() };
    }
    sum
}

/// Bytes of the files of all tables, those included that the engine no longer reads.
fn keyspaces_bytes(folder: &Path) -> u64 {
    bytes(&folder.join("keyspaces"))
}

#[test]
fn replaced_files_are_deleted_once_nobody_reads_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(folder.path(), &Options::default()).expect("a new database");
    change(&engine, Some(&[1; 500]));
    let (mut compaction, index) = (Compaction::default(), Index::default());
    let look = |compaction: &mut Compaction| {
        if compaction.wants_commit(Instant::now()) {
            let counters = counters(&index.counters);
            engine.commit(&[counters], PersistMode::Buffer).expect("a working disk");
        }
        compaction.look(Instant::now(), &engine, &index);
        let is_due = compaction.due_in().is_some();
        compaction.finish();
        is_due
    };
    compaction.written();
    assert!(look(&mut compaction), "a table with nothing that counts is rewritten");
    change(&engine, None);
    let reader = engine.snapshot();
    assert!(look(&mut compaction), "its old files are deleted");
    assert!(look(&mut compaction));
    assert!(keyspaces_bytes(folder.path()) > 1_000_000, "somebody reads what has drained");
    drop(reader);
    let looks = (0..10).take_while(|_| look(&mut compaction)).count();
    assert!((1..10).contains(&looks), "{looks}");
    assert!(keyspaces_bytes(folder.path()) < 100_000, "{}", keyspaces_bytes(folder.path()));
}

#[test]
fn a_store_that_rests_deletes_what_was_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut worker = Worker::new(&mut recover(folder.path()).0);
    let payload = [1; 500];
    worker.store(vec![session("a")]);
    worker.store((1..=ROWS.into()).map(|at| owed("a", at, &message("t", &payload))).collect());
    worker.store((1..=ROWS.into()).map(|at| settled("a", at)).collect());
    let database = folder.path().join("database");
    let end = Instant::now() + Duration::from_secs(60);
    while keyspaces_bytes(&database) > 100_000 {
        assert!(Instant::now() < end, "{} bytes", keyspaces_bytes(&database));
        std::thread::yield_now();
    }
}

#[test]
fn what_drains_while_a_table_is_rewritten_is_looked_at_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(folder.path(), &Options::default()).expect("a new database");
    let (mut compaction, index) = (Compaction::default(), Index::default());
    let (go, gone) = channel::<()>();
    compaction.start(&engine, move |_| {
        let _ = gone.recv();
    });
    compaction.written();
    compaction.look(Instant::now(), &engine, &index);
    assert_eq!(compaction.due_in(), Some(Duration::ZERO), "forgotten");
    drop(go);
    compaction.finish();
    compaction.look(Instant::now(), &engine, &index);
    assert_eq!(compaction.due_in(), None);
}

#[test]
fn memtables_keep_to_what_a_small_process_has_for_them() {
    let folder = tempfile::tempdir().expect("a folder");
    // A database keeps the sizes that it was made with, so this has to hold for one that is there.
    drop(Engine::open(folder.path(), &Options::default()).expect("a new database"));
    let options = Options { memtable_bytes: 1 << 20, ..Options::default() };
    let engine = Engine::open(folder.path(), &options).expect("a database");
    let (value, bytes_max) = ([7; 500], 1 << 20);
    for _ in 0..4 {
        // About as much as all memtables may have.
        change(&engine, Some(&value));
        // What stays open behind memtables that are being written is closed by the next commit.
        engine.commit(&[], PersistMode::Buffer).expect("a working disk");
        let active = Table::ALL.map(|table| engine.table(table).tree.active_memtable().size());
        assert!(active.iter().sum::<u64>() <= bytes_max, "{active:?}");
    }
    for row in 0..ROWS {
        let row = engine.get(Table::Queue, &row.to_be_bytes()).expect("a working disk");
        assert_eq!(row.as_deref(), Some(&value[..]));
    }
}

#[test]
fn the_counters_alone_are_not_written_to_a_table_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { memtable_bytes: 1 << 20, ..Options::default() };
    let engine = Engine::open(folder.path(), &options).expect("a new database");
    for _ in 0..3 {
        let counters = counters(&Index::default().counters);
        engine.commit(&[counters], PersistMode::Buffer).expect("a working disk");
        // Waits for what the one before has closed.
        engine.delete_replaced().expect("a working disk");
    }
    assert!(!engine.holds_memtables(), "with each commit there would be something to do");
    change(&engine, Some(&[1; 500]));
    engine.compact(Table::Queue).expect("a working disk");
    assert!(engine.holds_memtables());
}

#[test]
fn a_small_process_leaves_most_of_its_memory_to_others() {
    assert_eq!(Options::within(8 << 30), Options::default());
    let Options { cache_bytes, memtable_bytes, backlog_bytes_max } = Options::within(64 << 20);
    assert_eq!([cache_bytes, memtable_bytes, backlog_bytes_max], [4 << 20, 8 << 20, 8 << 20]);
}
