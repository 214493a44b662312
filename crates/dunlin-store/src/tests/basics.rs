//! One thing at a time.

use super::*;
use crate::OpenError;

#[test]
fn a_queue_comes_back_as_what_waits_and_is_fetched_in_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut storage, records) = recover(folder.path());
    assert_eq!(records, []);
    let mut worker = Worker::new(&mut storage);
    drop(storage);
    worker.store(vec![session("a"), session("b")]);
    let small = message("t/small", b"payload");
    let large = message("t/large", &[7; 1000]);
    for number in 1..=100 {
        let message = if number % 2 == 0 { &large } else { &small };
        worker.append(
            vec![owed("a", number, message), owed("b", number, message)],
            Durability::Written,
        );
    }
    worker.store(vec![settled("a", 1), settled("a", 2), settled("b", 100)]);
    let page = worker.fetch("a", 0, 10, usize::MAX);
    assert_eq!(numbers(&page), (3..=12).collect::<Vec<_>>());
    assert!(page.more);
    assert_eq!(page.session, (SessionKey::default(), 3));
    assert_eq!(page.messages[1], owed("a", 4, &large));
    let page = worker.fetch("b", 98, 10, usize::MAX);
    assert_eq!((numbers(&page), page.more), (vec![99], false));
    let page = worker.fetch("a", 90, 100, large.size());
    assert_eq!((numbers(&page), page.more), (vec![91, 92], true));
    let page = worker.fetch("nobody", 0, 10, 10);
    assert_eq!((page.messages, page.more), (vec![], false));
    drop(worker);
    let (mut storage, records) = recover(folder.path());
    let bytes = |small_len: u64, large_len: u64| {
        small_len * small.size() as u64 + large_len * large.size() as u64
    };
    let waiting = |of, first, last, len, bytes| Record::Waiting {
        client_identifier: text(of),
        first,
        last,
        len,
        bytes,
    };
    assert_eq!(
        records,
        [
            session("a"),
            session("b"),
            waiting("a", 3, 100, 98, bytes(49, 49)),
            waiting("b", 1, 99, 99, bytes(50, 49)),
        ]
    );
    let mut worker = Worker::new(&mut storage);
    let page = worker.fetch("b", 97, 10, usize::MAX);
    assert_eq!(page.messages, [owed("b", 98, &large), owed("b", 99, &small)]);
}

#[test]
fn a_folder_is_used_by_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let storage = open(folder.path());
    let error = FileStorage::open(folder.path(), Options::default()).expect_err("it is in use");
    let process = std::process::id().to_string();
    assert!(matches!(&error, OpenError::InUse { user, .. } if user.contains(&process)), "{error}");
    drop(storage);
    open(folder.path());
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()));
    std::fs::write(folder.path().join("format"), "dunlin-store 2\n").expect("a file");
    let error = FileStorage::open(folder.path(), Options::default()).expect_err("too new");
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
    std::fs::write(folder.path().join("format"), "dunlin-st").expect("a file");
    let error = FileStorage::open(folder.path(), Options::default()).expect_err("damaged");
    assert!(matches!(error, OpenError::Format { .. }), "{error}");
}
