//! `dunlin passwd`, and a broker that knows the users of its file.

use crate::broker::Broker;
use crate::program::{Ended, command, run};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

/// `dunlin passwd --stdin` with a password.
pub(crate) fn passwd(file: &Path, user: &str, password: &str) -> Ended {
    typed(&["passwd", "--stdin", text(file), user], password)
}

/// The same for SCRAM.
fn passwd_scram(file: &Path, user: &str, password: &str) -> Ended {
    typed(&["passwd", "--stdin", "--scram", text(file), user], password)
}

/// The program with these arguments, whose standard input is this line.
fn typed(args: &[&str], line: &str) -> Ended {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    // A program that refuses does not read.
    let _ = writeln!(child.stdin.take().expect("is piped"), "{line}");
    Ended::of(child.wait_with_output().expect("it ends"))
}

/// A broker that knows the users of this file.
fn broker(file: &Path) -> Broker {
    Broker::start(&["--set", &format!("auth.password_file={}", file.display())])
}

fn text(file: &Path) -> &str {
    file.to_str().expect("a plain name")
}

#[test]
fn users_are_added_changed_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passwords");
    let name = file.display();
    passwd(&file, "gauge", "one").check(0, &format!("gauge added to {name}\n"), "");
    let before = fs::read_to_string(&file).expect("is there");
    assert!(before.starts_with("gauge:$argon2id$"), "{before}");
    passwd(&file, "pump", "two").check(0, &format!("pump added to {name}\n"), "");
    passwd(&file, "gauge", "three").check(0, &format!("gauge changed in {name}\n"), "");
    let after = fs::read_to_string(&file).expect("is there");
    assert!(after.lines().count() == 2 && !after.starts_with(&before), "{after}");
    assert_eq!(fs::metadata(&file).expect("is there").permissions().mode() & 0o777, 0o600);

    let args = ["passwd", "--delete", text(&file), "gauge"];
    run(&args).check(0, &format!("gauge removed from {name}\n"), "");
    let message = format!("error: {name}: there is no user `gauge` in the file\n");
    run(&args).check(1, "", &message);
    passwd(&file, "pump", "").check(1, "", &format!("error: {name}: the password is empty\n"));
    let ended = passwd(&file, "a:b", "x");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let ended = run(&["passwd", text(&file), "pump"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--stdin"), "{ended:?}");
    let names: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");

    let message = format!("{name}: no user is left; a broker lets nobody in with a password\n");
    run(&["passwd", "--delete", text(&file), "pump"]).check(
        0,
        &format!("pump removed from {name}\n"),
        &message,
    );
    assert_eq!(fs::read_to_string(&file).expect("is there"), "# no users\n");
    passwd(&file, "gauge", "one").check(0, &format!("gauge added to {name}\n"), "");
    let users = fs::read_to_string(&file).expect("is there");
    assert!(users.starts_with("gauge:") && !users.contains('#'), "{users}");
}

#[test]
fn a_file_with_scram_has_one_key_for_unknown_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, other) = (folder.path().join("passwords"), folder.path().join("others"));
    let key_of = |file: &Path| {
        let text = fs::read_to_string(file).expect("is there");
        let mut keys = text.lines().filter(|line| line.starts_with(":$unknown-users$"));
        let key = keys.next().map(str::to_owned);
        assert_eq!(keys.next(), None, "{text}");
        key
    };
    passwd(&file, "gauge", "one");
    assert_eq!(key_of(&file), None);
    let scram = |file: &Path, user| {
        assert_eq!(passwd_scram(file, user, "secret").code, Some(0));
    };
    scram(&file, "pump");
    let key = key_of(&file);
    assert!(key.is_some());
    scram(&file, "valve");
    passwd(&file, "pump", "two");
    assert_eq!(key_of(&file), key, "it stays");
    scram(&other, "pump");
    assert_ne!(key_of(&other), key, "it is random");
}

#[test]
fn changes_at_the_same_time_are_all_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passwords");
    std::thread::scope(|scope| {
        for number in 0..6 {
            let file = &file;
            scope.spawn(move || passwd(file, &format!("user-{number}"), "x"));
        }
    });
    let users = fs::read_to_string(&file).expect("is there");
    assert_eq!(users.lines().count(), 6, "{users}");
}

#[test]
fn a_broker_knows_its_users_and_reads_the_file_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passwords");
    passwd(&file, "gauge", "open sesame");
    let broker = broker(&file);
    let publish = |user: &[&str]| {
        let to = ["pub", "-p", &broker.port, "-t", "a", "-m", "x", "-q", "1", "-V", "5"];
        run(&[&to[..], user].concat()).code
    };
    assert_eq!(publish(&["-u", "gauge", "-P", "open sesame"]), Some(0));
    // The Reason Code, 0x86.
    assert_eq!(publish(&["-u", "gauge", "-P", "wrong"]), Some(134));
    assert_eq!(publish(&["-u", "pump", "-P", "swordfish"]), Some(134));
    assert_eq!(publish(&[]), Some(134));

    passwd(&file, "pump", "swordfish");
    broker.running.signal("HUP");
    broker.running.wait_for_within("the password file was read again");
    assert_eq!(publish(&["-u", "pump", "-P", "swordfish"]), Some(0));

    fs::write(&file, "pump\n").expect("written");
    broker.running.signal("HUP");
    broker.running.wait_for_within("line 1");
    assert_eq!(publish(&["-u", "pump", "-P", "swordfish"]), Some(0));

    fs::write(&file, "").expect("written");
    broker.running.signal("HUP");
    broker.running.wait_for_within("users stay in force as they were");
    assert_eq!(publish(&["-u", "pump", "-P", "swordfish"]), Some(0));
    passwd(&file, "pump", "swordfish");
    run(&["passwd", "--delete", text(&file), "pump"]);
    broker.running.signal("HUP");
    broker.running.wait_for_within("no user is left");
    assert_eq!(publish(&["-u", "pump", "-P", "swordfish"]), Some(134));
    broker.running.signal("TERM");
    assert_eq!(broker.running.end().code, Some(0));
}

#[test]
fn passwords_are_proven_with_scram() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passwords");
    assert_eq!(passwd_scram(&file, "gauge", "open sesame").code, Some(0));
    let broker = broker(&file);
    let publish = |more: &[&str]| {
        let to = ["pub", "-p", &broker.port, "-t", "a", "-m", "x", "-q", "1", "-u", "gauge"];
        run(&[&to[..], more].concat())
    };
    for how in [&["--scram"][..], &["--scram=sha-512"], &[]] {
        assert_eq!(publish(&[how, &["-P", "open sesame"]].concat()).code, Some(0), "{how:?}");
    }
    // The Reason Code, 0x87.
    assert_eq!(publish(&["--scram", "-P", "wrong"]).code, Some(135));
    let line = broker.running.wait_for_within("a login was refused: the SCRAM proof is wrong");
    assert!(line.contains(r#"user_name="gauge""#), "{line}");
    let to = ["pub", "-p", &broker.port, "-t", "a", "-m", "x", "-q", "1", "-u", "pump"];
    assert_eq!(run(&[&to[..], &["--scram", "-P", "x"]].concat()).code, Some(135));
    let line = broker.running.wait_for_within("a login was refused: its user has no credentials");
    assert!(line.contains(r#"user_name="pump""#), "{line}");
    let session = folder.path().join("session");
    let kept = ["--scram", "-P", "open sesame", "-i", "one", "--session-file", text(&session)];
    assert_eq!(publish(&kept).code, Some(0));
    assert_eq!(publish(&["--scram"]).code, Some(2), "no password");
}

#[test]
fn a_password_file_of_no_use_is_one_message_and_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passwords");
    fs::write(&file, "gauge\n").expect("written");
    let setting = format!("auth.password_file={}", file.display());
    let ended = run(&["--set", &setting, "--listen", "mqtt://127.0.0.1:0"]);
    let name = file.display();
    let message = format!(
        "error: auth.password_file: {name}: line 1: no `:` between the user and its hash; write \
         a comment with `#` in front\n"
    );
    ended.check(2, "", &message);
    let ended = run(&["--set", &setting, "--listen", "mqtt://0.0.0.0:0", "--check"]);
    let plaintext = "error: --listen: passwords that come by listener mqtt://0.0.0.0:0 can be read \
                     on the way; use mqtts:// there, or set auth.allow_plaintext = true if that is \
                     meant\n";
    ended.check(2, "", &format!("{plaintext}{}", message.replace("auth.", "--set: auth.")));
}

#[test]
fn who_offers_scram_to_a_broker_without_it_is_told_how_to_get_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("passwords");
    passwd(&file, "gauge", "open sesame");
    let broker = broker(&file);
    let login = ["-u", "gauge", "-P", "open sesame", "--scram"];
    let ended = run(&[&["pub", "-p", &broker.port, "-t", "a", "-n"], &login[..]].concat());
    // The Reason Code, 0x8C.
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(140), ""), "{ended:?}");
    assert!(ended.stderr.contains("`dunlin passwd --scram`"), "{ended:?}");
    broker.running.wait_for_within("`dunlin passwd --scram` adds what users need");
}
