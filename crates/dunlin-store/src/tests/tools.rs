//! Copies, checks and counts of a store.

use super::*;
use crate::open::Folder;
use crate::recovery::Recovery;
use crate::storage::open_engine;
use crate::tools::{self, ToolError};
use dunlin_broker::core::GroupName;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{
    MessageProperties, PacketIdentifier, SubscriptionIdentifier, TopicFilter,
};
use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;

/// One of everything.
fn everything() -> Vec<Record> {
    let packet_identifier = PacketIdentifier::new(7).expect("not zero");
    let subscription_identifier = SubscriptionIdentifier::new(9);
    let group =
        Some(Arc::new(GroupName { share_name: "group".into(), topic_filter: "t/+".into() }));
    let mut special = Message::new("t/ü".parse().expect("a Topic Name"), vec![0, 255, 10]);
    special.expires_at = Some(Instant::from_micros(u64::MAX));
    special.properties = Some(Arc::new(MessageProperties {
        payload_format_indicator: Some(false),
        content_type: Some(text("a/b")),
        response_topic: Some("answer".parse().expect("a Topic Name")),
        correlation_data: Some(vec![1, 2].into()),
        user_properties: vec![(text("\"a\""), text("")), (text("\n"), text("b"))],
    }));
    let special = Arc::new(special);
    let large = message("t/large", &[3; 2000]);
    vec![
        session("a"),
        session("b"),
        Record::Subscribed {
            client_identifier: text("a"),
            topic_filter: TopicFilter::from_static("$share/group/t/+"),
            maximum_qos: QoS::ExactlyOnce,
            no_local: false,
            retain_as_published: true,
            subscription_identifier,
        },
        Record::Received { client_identifier: text("b"), packet_identifier },
        owed("a", 1, &special),
        owed("a", 2, &large),
        Record::Owed {
            client_identifier: text("b"),
            number: 1,
            message: special.clone(),
            qos: QoS::ExactlyOnce,
            retain: true,
            subscription_identifiers: subscription_identifier.into_iter().collect(),
            group: group.clone(),
            packet_identifier: Some(packet_identifier),
            tentative: false,
        },
        Record::Taken { client_identifier: text("b"), number: 1 },
        owed("b", 2, &large),
        Record::Will {
            client_identifier: text("c"),
            message: special.clone(),
            message_expiry_interval: Some(5),
            delay_secs: 6,
            subject: Some(a_subject(6)),
        },
        Record::Underway {
            client_identifier: text("d"),
            number: 1,
            message: special.clone(),
            group,
        },
        Record::Retained {
            topic_name: special.topic_name.clone(),
            message: Some(special),
            change: 3,
            publisher: Some(a_subject(3)),
        },
    ]
}

fn filled(folder: &Path) -> Worker {
    let (mut storage, _) = recover(folder);
    let mut worker = Worker::new(&mut storage);
    worker.store(everything());
    worker
}

/// Everything as records, also what only waits.
fn contents(folder: &Path) -> Vec<Record> {
    let (mut storage, mut records) = recover(folder);
    let mut worker = Worker::new(&mut storage);
    for of in ["a", "b"] {
        records.extend(worker.fetch(of, 0, 100, usize::MAX).messages);
    }
    records.sort_by_cached_key(|record| format!("{record:?}"));
    records
}

#[test]
fn an_export_is_imported_as_it_was() {
    let (from, to) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    drop(filled(from.path()));
    let mut lines = Vec::new();
    assert_eq!(tools::export(from.path(), &mut lines).expect("it is readable").value.records, 12);
    let count = tools::import(to.path(), &mut &lines[..]).expect("it is whole");
    assert_eq!(count.records, 12);
    assert_eq!(contents(to.path()), contents(from.path()));
    let error = tools::import(to.path(), &mut &lines[..]).expect_err("there is something");
    assert!(matches!(error, ToolError::NotEmpty(_)), "{error}");
}

#[test]
fn an_export_that_is_not_whole_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(filled(folder.path()));
    let mut export = Vec::new();
    tools::export(folder.path(), &mut export).expect("it is readable");
    let text = String::from_utf8(export).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let import = |lines: &[&str]| {
        let folder = tempfile::tempdir().expect("a folder");
        tools::import(folder.path(), &mut lines.join("\n").as_bytes())
    };
    assert!(matches!(import(&lines[..9]), Err(ToolError::CutOff)));
    assert!(matches!(import(&[]), Err(ToolError::NotAnExport { .. })));
    let without = [&lines[..4], &lines[5..]].concat();
    assert!(matches!(import(&without), Err(ToolError::Line { line: 13, .. })));
    let headless = &lines[1..];
    assert!(matches!(import(headless), Err(ToolError::NotAnExport { .. })));
    let newer = lines[0].replace("1}", "2}");
    assert!(matches!(
        import(&[&[&newer[..]], &lines[1..]].concat()),
        Err(ToolError::NotAnExport { .. })
    ));
    let odd = lines[3].replace("\"topic_filter\":\"", "\"topic_filter\":\"#");
    let odd = [&lines[..3], &[&odd[..]], &lines[4..]].concat();
    assert!(matches!(import(&odd), Err(ToolError::Line { line: 4, .. })));
    // What nobody could be given, or would hide something else.
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).expect("such a line");
    let (session, owed) = (at("\"session\""), at("\"owed\""));
    let orphaned = [&lines[..session], &lines[session + 1..]].concat();
    assert!(matches!(import(&orphaned), Err(ToolError::Line { .. })));
    let twice = [&lines[..=owed], &lines[owed..]].concat();
    let line = owed as u64 + 2;
    assert!(matches!(import(&twice), Err(ToolError::Line { line: at, .. }) if at == line));
    let two = [&lines[..], &lines[..]].concat();
    let line = lines.len() as u64 + 1;
    assert!(matches!(import(&two), Err(ToolError::Line { line: at, .. }) if at == line));
}

#[test]
fn a_running_store_is_copied_as_it_is() {
    let (from, to) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut worker = filled(from.path());
    let rights =
        std::fs::metadata(from.path().join("control.sock")).expect("a socket").permissions();
    assert_eq!(rights.mode() & 0o777, 0o600);
    let mut copy = Vec::new();
    assert_eq!(tools::backup(from.path(), &mut copy).expect("it runs").value.records, 12);
    worker.store(vec![settled("a", 1)]);
    drop(worker);
    tools::import(to.path(), &mut &copy[..]).expect("it is whole");
    let (mut before, after) = (contents(to.path()), contents(from.path()));
    assert_eq!(before.len(), after.len() + 1);
    before.retain(|record| after.contains(record) || matches!(record, Record::Waiting { .. }));
    // A stopped one is copied as well.
    let mut copy = Vec::new();
    assert_eq!(tools::backup(from.path(), &mut copy).expect("it has stopped").value.records, 11);
}

#[test]
fn a_check_tells_what_is_damaged_and_stat_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(filled(folder.path()));
    let checked = tools::check(folder.path()).expect("it is readable");
    assert!(checked.is_sound(), "{checked:?}");
    assert_eq!((checked.found.sessions, checked.found.messages), (2, 4));
    let stat = tools::stat(folder.path()).expect("it is readable").value;
    assert_eq!((stat.sessions, stat.messages), (2, 4));
    assert!(stat.disk_bytes > 0);
    tools::compact(folder.path()).expect("it works");
    let compacted = tools::stat(folder.path()).expect("it is readable").value;
    for ((name, before), (_, after)) in stat.tables.iter().zip(&compacted.tables) {
        assert_eq!((before.rows, before.bytes), (after.rows, after.bytes), "{name}");
    }
    let error = tools::check(folder.path().join("other")).expect_err("nothing there");
    assert!(matches!(error, ToolError::NoStore(_)), "{error}");
    let _running = filled(folder.path());
    let error = tools::check(folder.path()).expect_err("in use");
    assert!(matches!(error, ToolError::Open(crate::OpenError::InUse { .. })), "{error}");
}

#[test]
fn a_copy_that_is_given_up_reads_no_further() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(filled(folder.path()));
    let mut full = [0; 500];
    let error = tools::export(folder.path(), &mut &mut full[..]);
    assert!(matches!(error, Err(ToolError::Io(_))), "{error:?}");

    let opened = Folder::open(folder.path()).expect("a folder of our own");
    let engine = open_engine(&opened, &Options::default()).expect("a store").engine;
    let (read, asked) = (Cell::new(0), Cell::new(0));
    let mut each = |_| read.set(read.get() + 1);
    let stop = || {
        asked.set(asked.get() + 1);
        read.get() == 3
    };
    let recovered = Recovery::new(&engine, &mut each).thorough().until(&stop).run();
    assert_eq!((read.get(), recovered.is_whole), (3, false));
    // The row of the counters, three that were read, and the one before which it ended.
    assert_eq!(asked.get(), 5);
    let error = tools::write_export(&engine, &mut Vec::new(), &mut Vec::new(), &|| true);
    assert!(error.is_err(), "{error:?}");
    let recovered = Recovery::new(&engine, &mut |_| {}).thorough().run();
    assert!(recovered.is_whole);
}

#[test]
fn who_asks_for_a_backup_and_then_nothing_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let worker = filled(folder.path());
    let silent = std::os::unix::net::UnixStream::connect(folder.path().join("control.sock"));
    let silent = silent.expect("it listens");
    let (sender, ended) = channel();
    let ending = std::thread::spawn(move || {
        drop(worker);
        sender.send(()).expect("the test waits");
    });
    ended.recv_timeout(std::time::Duration::from_secs(60)).expect("it ends by itself");
    ending.join().expect("it has ended");
    drop(silent);
}

#[test]
fn numbers_that_leave_no_room_for_the_next_one_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(filled(folder.path()));
    let mut export = Vec::new();
    tools::export(folder.path(), &mut export).expect("it is readable");
    let export = String::from_utf8(export).expect("text");
    for (kind, field, value) in [
        ("owed", "\"number\":1", "\"number\":18446744073709551615"),
        ("owed", "\"number\":1", "\"number\":0"),
        ("underway", "\"number\":1", "\"number\":18446744073709551615"),
        ("retained", "\"change\":3", "\"change\":18446744073709551615"),
    ] {
        let line = |line: &str| match line.starts_with(&format!("{{\"{kind}\"")) {
            true => line.replace(field, value) + "\n",
            false => line.to_owned() + "\n",
        };
        let changed: String = export.lines().map(line).collect();
        assert_ne!(changed, export);
        let folder = tempfile::tempdir().expect("a folder");
        let error = tools::import(folder.path(), &mut changed.as_bytes()).expect_err("impossible");
        assert!(matches!(error, ToolError::Line { .. }), "{error}");
    }
}
