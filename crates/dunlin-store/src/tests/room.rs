//! The disk gets its room back while the store is open.

use crate::compaction::Compaction;
use crate::engine::{Engine, Op};
use crate::index::Index;
use crate::keys::Table;
use fjall::{PersistMode, UserKey, UserValue};
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

/// Bytes of the files of all tables, those included that the engine no longer reads.
fn tables_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let metadata = entry.metadata().expect("it is there");
        bytes += if metadata.is_dir() { tables_bytes(&entry.path()) } else { metadata.len() };
    }
    bytes
}

#[test]
fn replaced_files_are_deleted_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(folder.path(), 1024 * 1024).expect("a new database");
    change(&engine, Some(&[1; 500]));
    engine.compact(Table::Queue).expect("a working disk");
    let keyspaces = folder.path().join("keyspaces");
    assert!(tables_bytes(&keyspaces) > 1_000_000);
    // Somebody reads from before the removal, as fetches do that come one after the other.
    let reader = engine.snapshot();
    change(&engine, None);
    drop(reader);
    engine.compact(Table::Queue).expect("a working disk");
    assert!(tables_bytes(&keyspaces) < 100_000, "{}", tables_bytes(&keyspaces));
}

#[test]
fn what_drains_while_a_table_is_rewritten_is_looked_at_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::open(folder.path(), 1024 * 1024).expect("a new database");
    change(&engine, Some(&[1; 500]));
    let (go, gone) = channel::<()>();
    let mut compaction = Compaction::rewriting(std::thread::spawn(move || {
        let _ = gone.recv();
    }));
    compaction.written();
    let index = Index::default();
    compaction.look(Instant::now(), &engine, &index);
    assert_eq!(compaction.due_in(), Some(Duration::ZERO), "forgotten");
    drop(go);
    compaction.finish();
    compaction.look(Instant::now(), &engine, &index);
    assert_eq!(compaction.due_in(), None);
    compaction.finish();
    assert_eq!(engine.table(Table::Queue).approximate_len(), ROWS as usize);
}
