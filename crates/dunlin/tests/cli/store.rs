//! `dunlin --data` and `dunlin store`: what a broker keeps, and who looks after it.

use crate::broker::Broker;
use crate::program::run;
use std::path::Path;

/// A broker that keeps its state in this folder, and says whether that is a new one.
fn start(folder: &Path) -> Broker {
    let is_new = if folder.join("format").exists() { "" } else { ", which begins empty" };
    let broker = Broker::start(&["--data", text(folder)]);
    let lines: Vec<_> = (0..2).filter_map(|_| broker.running.line()).collect();
    let expected = format!("state is kept in {}{is_new} (durability fsync)", folder.display());
    assert_eq!(lines[1], expected);
    broker
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A session that is away, with this many messages.
fn leave_messages(port: &str, count: usize) {
    let session = ["-p", port, "-i", "s", "-c", "-q", "2", "-t", "a/#"];
    run(&[&["sub", "-E"][..], &session].concat()).check(0, "", "");
    for number in 0..count {
        publish(port, number);
    }
}

fn publish(port: &str, number: usize) {
    let number = number.to_string();
    run(&["pub", "-p", port, "-q", "2", "-t", "a/b", "-m", &number]).check(0, "", "");
}

/// The session has its messages, in their order.
#[track_caller]
fn check_messages(port: &str, expected: &[&str]) {
    let count = expected.len().to_string();
    let args = ["sub", "-p", port, "-i", "s", "-c", "-q", "2", "-t", "a/#", "-C", &count];
    run(&args).check(0, &format!("{}\n", expected.join("\n")), "");
}

#[test]
fn what_was_acknowledged_survives_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = start(folder.path());
    leave_messages(&broker.port, 3);
    broker.running.signal("KILL");
    broker.running.end();
    let broker = start(folder.path());
    check_messages(&broker.port, &["0", "1", "2"]);
}

#[test]
fn a_folder_has_one_broker() {
    let folder = tempfile::tempdir().expect("a folder");
    let _broker = start(folder.path());
    for args in [
        &["--listen", "mqtt://127.0.0.1:0", "--data", text(folder.path())][..],
        &["store", "check", text(folder.path())],
    ] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{args:?}");
        assert!(ended.stderr.contains(" is in use by process "), "{ended:?}");
        let names_backup = ended.stderr.contains("`dunlin store backup`");
        assert_eq!(names_backup, args[0] == "store", "{ended:?}");
    }
}

#[test]
fn a_store_is_counted_checked_and_carried_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (data, other) = (at("data"), at("other"));
    let broker = start(&data);
    leave_messages(&broker.port, 2);
    let backup = at("backup.jsonl");
    let ended = run(&["store", "backup", text(&data), "--to", text(&backup)]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let ended = run(&["store", "backup", text(&data), "--to", text(&backup)]);
    ended.check(
        1,
        "",
        &format!("error: {} is there already; --force replaces it\n", text(&backup)),
    );
    let ended = run(&["store", "backup", text(&data), "--to", text(&backup), "--force"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    publish(&broker.port, 2);
    broker.running.signal("TERM");
    assert_eq!(broker.running.end().code, Some(0));

    let ended = run(&["store", "stat", text(&data)]);
    assert!(ended.stdout.contains("1 session, 3 messages owed to it"), "{ended:?}");
    let ended = run(&["store", "check", text(&data)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("nothing is damaged\n"), "{ended:?}");
    let ended = run(&["store", "compact", text(&data)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("since what was in the journal alone has tables now"));
    let export = run(&["store", "export", text(&data), "--to", "-"]);
    assert_eq!((export.code, export.stdout.lines().count()), (Some(0), 1 + 5 + 1), "{export:?}");

    let ended = run(&["store", "import", text(&data), "--from", text(&backup)]);
    assert!(ended.stderr.contains("holds a store already"), "{ended:?}");
    let ended = run(&["store", "import", text(&other), "--from", text(&backup)]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let broker = start(&other);
    check_messages(&broker.port, &["0", "1"]);
}

#[test]
fn what_is_no_store_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let name = text(folder.path());
    for task in ["stat", "check", "compact"] {
        run(&["store", task, name]).check(1, "", &format!("error: {name} holds no store\n"));
    }
    let file = folder.path().join("export");
    run(&["store", "export", name, "--to", text(&file)]).check(
        1,
        "",
        &format!("error: {name} holds no store\n"),
    );
    assert!(!file.exists());
    std::fs::write(&file, "{\"header\":{\"format\":\"dunlin-export\",\"version\":1}}\n{\"x\":1}\n")
        .expect("a file");
    let data = folder.path().join("data");
    let ended = run(&["store", "import", text(&data), "--from", text(&file)]);
    assert_eq!(ended.code, Some(1));
    let said = format!("error: {}: line 2 of the export: ", text(&file));
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
}

/// A stopped broker's folder with messages, one of which has rotted in the journal.
fn damaged(data: &Path) {
    let broker = start(data);
    leave_messages(&broker.port, 10);
    broker.running.signal("TERM");
    assert_eq!(broker.running.end().code, Some(0));
    let journal = data.join("database/0.jnl");
    let mut bytes = std::fs::read(&journal).expect("a journal");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("it is used");
    bytes[used / 2] ^= 0x10;
    std::fs::write(&journal, bytes).expect("a journal");
}

#[test]
fn what_is_damaged_is_told_by_every_tool_and_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (task, goes_on) in [
        (&["stat"][..], "\njournal "),
        (&["export", "--to", "-"], "{\"end\":{\"records\":"),
        (&["backup", "--to", "-"], "\"lost\":1}}\n"),
        (&["compact"], "on the disk"),
    ] {
        let data = at(&format!("of-{}", task[0]));
        damaged(&data);
        let command = [&["store", task[0], text(&data)][..], &task[1..]].concat();
        let ended = run(&command);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains(goes_on), "{ended:?}");
        let journal = data.join("database/0.jnl");
        let said = format!("damaged: the journal {}: ", text(&journal));
        assert!(ended.stderr.starts_with(&said), "{ended:?}");
        let kept = data.join("damaged/0-0.jnl");
        assert!(ended.stderr.contains(&format!("is kept as {}\n", text(&kept))), "{ended:?}");
        assert!(ended.stderr.contains("; import a backup into a new folder, or go on"));
        // What is left is sound, and what was lost is known still.
        let ended = run(&command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.starts_with("warning: "), "{ended:?}");
        let ended = run(&["store", "check", text(&data)]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stdout.contains("damaged earlier, 20"), "{ended:?}");
        run(&["store", "forget", text(&data)]).check(0, "", "");
        let ended = run(&["store", "check", text(&data)]);
        assert!(ended.stdout.ends_with("nothing is damaged\n"), "{ended:?}");
    }
}

#[test]
fn what_is_damaged_is_not_forgotten_before_it_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, name) = (folder.path(), text(folder.path()));
    damaged(data);
    let ended = run(&["store", "forget", name]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
    let said = format!("damaged: the journal {}: ", text(&data.join("database/0.jnl")));
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
    assert!(ended.stderr.contains("\nerror: nothing was forgotten, "), "{ended:?}");
    assert!(data.join("damaged/0-0.jnl").exists());
    run(&["store", "forget", name]).check(0, "", "");
    assert!(!data.join("damaged").exists());
}

#[test]
fn a_copy_of_what_is_left_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (data, copy) = (at("data"), at("copy.jsonl"));
    damaged(&data);
    let ended = run(&["store", "export", text(&data), "--to", text(&copy)]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.ends_with(&format!("records are in {}\n", text(&copy))), "{ended:?}");
    let said = format!("error: {} has what is left of a damaged store: ", text(&copy));
    assert!(ended.stderr.contains(&said), "{ended:?}");
    let ended = run(&["store", "import", text(&at("other")), "--from", text(&copy)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let said = "warning: the store that was copied was damaged: at least 1 change or message is \
                missing\n";
    assert_eq!(ended.stderr, said);
}

#[test]
fn a_broker_starts_with_what_is_left_counts_what_is_lost_and_refuses_what_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    damaged(folder.path());
    let broker = start(folder.path());
    let topic_name = "$SYS/broker/dropped/damaged";
    let ended = run(&["sub", "-p", &broker.port, "-t", topic_name, "-C", "1"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "1\n"), "{ended:?}");
    broker.running.signal("TERM");
    let ended = broker.running.end();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("damaged: the journal "), "{ended:?}");

    std::fs::remove_dir_all(folder.path().join("database")).expect("it was there");
    let name = text(folder.path());
    for args in [&["--listen", "mqtt://127.0.0.1:0", "--data", name][..], &["store", "check", name]]
    {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains("had a store, and its database is gone: "), "{ended:?}");
    }
}

#[test]
fn one_record_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let broker = start(&from);
    let address = ["-p", &broker.port, "-t", "a", "-q", "1"];
    run(&[&["pub", "-r", "-m", "x"], &address[..]].concat()).check(0, "", "");
    broker.running.signal("TERM");
    assert_eq!(broker.running.end().code, Some(0));
    let file = folder.path().join("export");
    let (from, to, file) = (text(&from), text(&to), text(&file));
    let exported = format!("1 record is in {file}\n");
    run(&["store", "export", from, "--to", file]).check(0, &exported, "");
    let imported = format!("1 record was imported into {to}\n");
    run(&["store", "import", to, "--from", file]).check(0, &imported, "");
}

#[test]
fn a_part_of_an_import_is_no_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, file) = (folder.path().join("data"), folder.path().join("export"));
    let name = text(&data);
    let import = || run(&["store", "import", name, "--from", text(&file)]);
    // Nothing is made of what is no export.
    std::fs::write(&file, "{\"x\":1}\n").expect("a file");
    let ended = import();
    let said = format!("error: {}: this is not an export of dunlin: ", text(&file));
    assert!(ended.stderr.starts_with(&said), "{ended:?}");
    assert!(!data.exists());
    let ended = run(&["store", "import", name, "--from", text(folder.path())]);
    assert!(ended.stderr.contains(&format!("{}: ", text(folder.path()))), "{ended:?}");
    assert!(!data.exists());

    std::fs::write(&file, "{\"header\":{\"format\":\"dunlin-export\",\"version\":1}}\n")
        .expect("a file");
    let ended = import();
    assert!(ended.stderr.contains("its last line is missing"), "{ended:?}");
    for args in [
        &["--listen", "mqtt://127.0.0.1:0", "--data", name][..],
        &["store", "check", name],
        &["store", "export", name, "--to", "-"],
    ] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains("has a part of an import"), "{ended:?}");
    }
    // There may be no better copy.
    std::fs::remove_file(data.join("partial")).expect("a mark");
    assert_eq!(run(&["store", "check", name]).code, Some(0));
}
