//! The store on the real file system.

use super::*;
use dunlin_protocol::codec::Text;
use std::fs;

fn named(name: &'static str) -> SessionChange {
    SessionChange::Named(Text::from_static(name))
}

#[test]
fn a_store_is_opened_again_but_not_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let mut store = FileStore::open(&path).unwrap();
    store.append(&named("a")).unwrap();
    store.sync().unwrap();
    assert!(matches!(FileStore::open(&path), Err(StoreError::InUse(in_use)) if in_use == path));
    drop(store);
    let mut store = FileStore::open(&path).unwrap();
    assert_eq!(store.load().unwrap().client_identifier().unwrap(), "a");
}

#[test]
fn a_store_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let mut store = FileStore::open(&path).unwrap();
    for at in 0..20_000u16 {
        store.append(&SessionChange::Lost).unwrap();
        if at % 1000 == 0 {
            store.append(&named("b")).unwrap();
            store.sync().unwrap();
        }
    }
    store.sync().unwrap();
    drop(store);
    assert!(fs::metadata(&path).unwrap().len() < 70 * 1024);
    assert!(!folder.path().join("session.new").exists());
    assert_eq!(FileStore::open(&path).unwrap().session().client_identifier().unwrap(), "b");
}

#[test]
fn a_damaged_store_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session");
    let mut store = FileStore::open(&path).unwrap();
    for name in ["a", "b", "c"] {
        store.append(&named(name)).unwrap();
        store.sync().unwrap();
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.len() - 18 - 1;
    bytes[second] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(FileStore::open(&path), Err(StoreError::Damaged { .. })));
    let store = FileStore::open_damaged(&path).unwrap();
    assert_eq!(store.session().client_identifier().unwrap(), "a");
    drop(store);
    assert_eq!(FileStore::open(&path).unwrap().session().client_identifier().unwrap(), "a");
    assert_eq!(fs::read(folder.path().join("session.damaged")).unwrap(), bytes);
}

#[test]
fn another_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    fs::write(&path, "these are not the bytes that a session store begins with").unwrap();
    assert!(matches!(FileStore::open(&path), Err(StoreError::NotAStore(_))));
    assert!(matches!(FileStore::open_damaged(&path), Err(StoreError::NotAStore(_))));
    let missing = folder.path().join("missing").join("session");
    assert!(matches!(FileStore::open(missing), Err(StoreError::Io { .. })));
}
