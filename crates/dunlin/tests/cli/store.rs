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
        assert!(ended.stderr.contains("is in use by another broker (process "), "{ended:?}");
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
    publish(&broker.port, 2);
    broker.running.signal("TERM");
    assert_eq!(broker.running.end().code, Some(0));

    let ended = run(&["store", "stat", text(&data)]);
    assert!(ended.stdout.contains("1 sessions, 3 messages owed to them"), "{ended:?}");
    let ended = run(&["store", "check", text(&data)]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("nothing is damaged\n"), "{ended:?}");
    assert_eq!(run(&["store", "compact", text(&data)]).code, Some(0));
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
    assert!(ended.stderr.starts_with("error: line 2 of the export: "), "{ended:?}");
}
