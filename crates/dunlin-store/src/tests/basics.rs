//! One thing at a time.

use super::*;
use crate::{OpenError, look, tools};
use dunlin_protocol::codec::PacketIdentifier;

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
fn who_looks_at_a_folder_is_told_what_opening_it_would_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("above/data");
    look(&path).expect("it can be made");
    assert!(!folder.path().join("above").exists());
    std::fs::write(folder.path().join("file"), "").expect("a file");
    for place in ["file", "file/data"] {
        let error = look(folder.path().join(place)).expect_err("no folder");
        assert!(error.to_string().contains("a folder is needed"), "{error}");
    }
    let storage = open(&path);
    let error = look(&path).expect_err("it is in use");
    let process = std::process::id().to_string();
    assert!(matches!(&error, OpenError::InUse { user, .. } if user.contains(&process)), "{error}");
    drop(storage);
    let listing = || {
        let entries = std::fs::read_dir(&path).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let lock = std::fs::read_to_string(path.join("lock")).expect("a file");
        (names.collect::<std::collections::BTreeSet<_>>(), lock)
    };
    std::fs::write(path.join("lock"), "who was here before\n").expect("a file");
    let before = listing();
    look(&path).expect("nobody uses it");
    assert_eq!(listing(), before);
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("a file");
    write("partial", "");
    let error = look(&path).expect_err("a part");
    assert!(matches!(error, OpenError::Partial { .. }), "{error}");
    std::fs::remove_file(path.join("partial")).expect("it is there");
    write("progress", "");
    std::fs::remove_dir_all(path.join("database")).expect("it is there");
    let error = look(&path).expect_err("half a store");
    assert!(matches!(error, OpenError::Gone { .. }), "{error}");
    write("format", "dunlin-store 2\n");
    let error = look(&path).expect_err("too new");
    assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error}");
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

/// Rows of a table of a store that is closed.
fn rows(folder: &Path, table: &str) -> u64 {
    let stat = tools::stat(folder).expect("it is readable").value;
    let (_, size) = stat.tables.iter().find(|(name, _)| *name == table).expect("a table");
    size.rows
}

#[test]
fn a_large_message_for_several_is_stored_once_and_goes_with_the_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = message("t", &[1; 1000]);
    let open = || Worker::new(&mut recover(folder.path()).0);
    let mut worker = open();
    worker.store(vec![session("a"), session("b"), session("c")]);
    worker.store(vec![owed("a", 1, &large), owed("b", 1, &large), owed("c", 1, &large)]);
    worker.store(vec![owed("a", 2, &message("t", &[2; 1000]))]);
    drop(worker);
    assert_eq!((rows(folder.path(), "queue"), rows(folder.path(), "message")), (4, 1));
    let mut worker = open();
    worker.store(vec![settled("a", 1), settled("b", 1)]);
    drop(worker);
    assert_eq!((rows(folder.path(), "queue"), rows(folder.path(), "message")), (2, 1));
    let mut worker = open();
    assert_eq!(worker.fetch("c", 0, 9, usize::MAX).messages, [owed("c", 1, &large)]);
    worker.store(vec![settled("c", 1)]);
    // What came and went before it was written is not written.
    worker.store(vec![
        owed("b", 2, &large),
        owed("c", 2, &large),
        settled("b", 2),
        settled("c", 2),
    ]);
    drop(worker);
    assert_eq!((rows(folder.path(), "queue"), rows(folder.path(), "message")), (1, 0));
}

#[test]
fn a_session_that_has_ended_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut worker = Worker::new(&mut recover(folder.path()).0);
    let ended = || Record::SessionEnded { client_identifier: text("a") };
    let large = message("t", &[1; 300]);
    worker.store(vec![session("a"), session("b")]);
    for number in 1..=1500 {
        worker.append(
            vec![owed("a", number, &large), owed("b", number, &large)],
            Durability::Written,
        );
    }
    worker.append(vec![ended(), session("a"), owed("a", 1, &large)], Durability::Written);
    worker.store(vec![ended(), session("a")]);
    assert_eq!(worker.fetch("a", 0, 9, usize::MAX).messages, []);
    worker.store(vec![owed("a", 1, &large)]);
    assert_eq!(worker.fetch("a", 0, 9, usize::MAX).messages, [owed("a", 1, &large)]);
    worker.store((1..=1500).map(|number| settled("b", number)).collect());
    drop(worker);
    // The rest goes bit by bit, also after a start.
    drop(Worker::new(&mut recover(folder.path()).0));
    let (_, records) = recover(folder.path());
    let waiting = Record::Waiting {
        client_identifier: text("a"),
        first: 1,
        last: 1,
        len: 1,
        bytes: large.size() as u64,
    };
    assert_eq!(records, [session("a"), session("b"), waiting]);
    while rows(folder.path(), "queue") > 1 || rows(folder.path(), "message") > 0 {
        let mut worker = Worker::new(&mut recover(folder.path()).0);
        worker.store(vec![session("b")]);
        worker.store(vec![session("b")]);
    }
}

#[test]
fn readiness_goes_with_the_bound_and_comes_back_at_its_half() {
    let shared = crate::shared::Shared::new(100);
    shared.appended(100);
    assert!(shared.is_ready());
    shared.appended(1);
    assert!(!shared.is_ready());
    shared.stored(50);
    assert!(!shared.is_ready());
    shared.stored(1);
    assert!(shared.is_ready());
    shared.set_failing(true);
    shared.stored(10);
    assert!(!shared.is_ready());
    shared.set_failing(false);
    assert!(shared.is_ready());
}

#[test]
fn the_highest_change_of_a_retained_message_counts_in_whatever_order_they_come() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut storage, _) = recover(folder.path());
    let mut workers = [Worker::new(&mut storage), Worker::new(&mut storage)];
    drop(storage);
    let retained = |topic_name: &'static str, change, payload: Option<&[u8]>| Record::Retained {
        topic_name: TopicName::from_static(topic_name),
        message: payload.map(|payload| message(topic_name, payload)),
        change,
        publisher: None,
    };
    workers[0].store(vec![retained("set", 4, Some(b"4")), retained("removed", 6, None)]);
    workers[1].store(vec![retained("set", 3, Some(b"3")), retained("removed", 5, Some(b"5"))]);
    workers[0].store(vec![retained("back", 8, Some(b"8"))]);
    workers[1].store(vec![retained("back", 7, None)]);
    drop(workers);
    let (_, records) = recover(folder.path());
    assert_eq!(records, [retained("back", 8, Some(b"8")), retained("set", 4, Some(b"4"))]);
}

#[test]
fn exchanges_go_on_and_what_was_not_confirmed_is_not_owed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut worker = Worker::new(&mut recover(folder.path()).0);
    let payload = message("t", &[1; 300]);
    let client_identifier = || text("a");
    let [one, two] = [1, 2].map(|value| PacketIdentifier::new(value).expect("not zero"));
    let with = |number, exchange, is_tentative| {
        let mut record = owed("a", number, &payload);
        if let Record::Owed { packet_identifier, tentative, .. } = &mut record {
            (*packet_identifier, *tentative) = (exchange, is_tentative);
        }
        record
    };
    worker.store(vec![
        session("a"),
        with(1, Some(one), false),
        with(2, None, false),
        with(3, None, true),
        with(4, None, true),
        with(5, None, false),
    ]);
    worker.store(vec![
        Record::Taken { client_identifier: client_identifier(), number: 1 },
        Record::Sent { client_identifier: client_identifier(), number: 2, packet_identifier: two },
        Record::Confirmed { client_identifier: client_identifier(), number: 3 },
    ]);
    // Until a restart, what is tentative waits, and says so.
    let page = worker.fetch("a", 0, 9, usize::MAX);
    assert_eq!(page.messages, [with(3, None, false), with(4, None, true), with(5, None, false)]);
    drop(worker);
    let (mut storage, records) = recover(folder.path());
    let waiting = Record::Waiting {
        client_identifier: client_identifier(),
        first: 3,
        last: 5,
        len: 2,
        bytes: 2 * payload.size() as u64,
    };
    assert_eq!(
        records,
        [
            session("a"),
            with(1, Some(one), false),
            Record::Taken { client_identifier: client_identifier(), number: 1 },
            with(2, Some(two), false),
            waiting,
        ]
    );
    let mut worker = Worker::new(&mut storage);
    drop(storage);
    worker.store(vec![settled("a", 1), settled("a", 2)]);
    let page = worker.fetch("a", 0, 9, usize::MAX);
    assert_eq!(page.messages, [with(3, None, false), with(5, None, false)]);
    drop(worker);
    assert_eq!(rows(folder.path(), "state"), 0);
}

#[test]
fn drained_queues_give_their_room_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Worker::new(&mut recover(folder.path()).0);
    let disk_bytes = || {
        let stat = tools::stat(folder.path()).expect("it is readable").value;
        let queue = stat.tables.iter().find(|(name, _)| *name == "queue");
        queue.expect("a table").1.disk_bytes
    };
    let mut worker = open();
    worker.store(vec![session("a")]);
    worker.store((1..=1000).map(|number| owed("a", number, &message("t", &[1; 100]))).collect());
    drop(worker);
    tools::compact(folder.path()).expect("it works");
    assert!(disk_bytes() > 100_000);
    let mut worker = open();
    worker.store((1..1000).map(|number| settled("a", number)).collect());
    // A look at the tables comes after a commit, and the last end waits for what it begins.
    worker.store(vec![session("a")]);
    drop(worker);
    assert!((1..10_000).contains(&disk_bytes()), "{}", disk_bytes());
    assert_eq!(numbers(&open().fetch("a", 0, 9, 9)), [1000]);
}

#[test]
fn what_came_to_nothing_is_reported_as_synced() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut storage, _) = recover(folder.path());
    let mut worker = Worker::new(&mut storage);
    worker.store(vec![session("a")]);
    let message = message("t", b"payload");
    let upto = worker.append(vec![owed("a", 1, &message), settled("a", 1)], Durability::Written);
    worker.wait(Durability::Fsync, upto);
}

#[test]
fn a_large_session_that_ends_is_removed_to_the_last_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut storage, _) = recover(folder.path());
    let mut worker = Worker::new(&mut storage);
    drop(storage);
    let message = message("t", b"payload");
    let mut records = vec![session("a"), session("b"), session("c")];
    for number in 1..=2500 {
        records.push(owed("a", number, &message));
        records.push(owed("b", number, &message));
        if number > 1300 {
            let client_identifier = text("b");
            let packet_identifier = PacketIdentifier::new(1).expect("not zero");
            records.push(Record::Sent { client_identifier, number, packet_identifier });
        }
    }
    records.push(owed("c", 1, &message));
    worker.store(records);
    worker.store(["a", "b"].map(|of| Record::SessionEnded { client_identifier: text(of) }).into());
    // Each group that is committed is followed by the removal of some of the rows.
    for _ in 0..20 {
        worker.store(vec![session("c")]);
    }
    drop(worker);
    let stat = tools::stat(folder.path()).expect("it is readable").value;
    assert_eq!((stat.sessions, stat.messages), (1, 1));
    let rows =
        |name| stat.tables.iter().find(|(table, _)| *table == name).map(|(_, size)| size.rows);
    assert_eq!((rows("queue"), rows("state")), (Some(1), Some(0)));
}
