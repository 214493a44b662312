//! Settings from all sides, and what a mistake is answered with.

use crate::broker::Broker;
use crate::passwd::passwd;
use crate::program::{Ended, command, run};
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};
use std::fs;
use std::path::Path;

/// A listener that nobody is in the way of.
const FREE: &str = "mqtt://127.0.0.1:0";

#[test]
fn check_shows_each_value_with_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.toml");
    fs::write(&file, "workers = 3\nlog = 'warn'\n[limits]\nreceive_maximum = 7\n").unwrap();
    let file = file.to_str().unwrap();
    let output = command(&["broker", "--check", "--config", file, "--log", "error"])
        .env("DUNLIN_LISTEN", "mqtt://127.0.0.1:0")
        .env("DUNLIN_LIMITS_QUEUE_BYTES_MAX", "3MiB")
        .output();
    let shown = Ended::of(output.unwrap());
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let values: Vec<(String, &str)> = shown
        .stdout
        .lines()
        .filter_map(|line| line.split_once("  # "))
        .map(|(value, origin)| (value.trim().to_owned(), origin))
        .collect();
    for (value, origin) in [
        ("listeners = [{ url = \"mqtt://127.0.0.1:0\" }]", "DUNLIN_LISTEN"),
        ("workers = 3", &format!("{file}:1")),
        ("log = \"error\"", "--log"),
        ("receive_maximum = 7", &format!("{file}:4")),
        ("queue_bytes_max = \"3MiB\"", "DUNLIN_LIMITS_QUEUE_BYTES_MAX"),
        ("connections_max = 100000", "default"),
    ] {
        assert!(values.contains(&(value.to_owned(), origin)), "{value} # {origin}\n{values:#?}");
    }
}

#[test]
fn what_is_printed_is_a_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.toml");
    fs::write(&file, run(&["--print-config"]).stdout).unwrap();
    let ended = run(&["--check", "--config", file.to_str().unwrap(), "--listen", FREE]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn the_page_in_the_repository_is_what_is_printed() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let there = fs::read_to_string(page).unwrap_or_default();
    assert!(
        run(&["--print-config=page"]).stdout == there,
        "docs/configuration.md is not up to date; write it anew with:\n\
         cargo run -p dunlin -- --print-config=page > docs/configuration.md"
    );
}

#[test]
fn the_configuration_to_copy_is_one() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
    let page = fs::read_to_string(page).unwrap();
    let mut blocks = page.split("```toml\n").skip(1).filter_map(|from| from.split("```").next());
    let (configuration, rules) = (blocks.next().unwrap(), blocks.next().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = configuration.replace("/etc/dunlin", folder.path().to_str().unwrap());
    let text = text.replace("/var/lib/dunlin", path("data").to_str().unwrap());
    let text = ["8883", "8884", "8443"].iter().fold(text, |text, port| text.replace(port, "0"));
    fs::write(path("d.toml"), text).unwrap();
    let check = || run(&["--check", "--config", path("d.toml").to_str().unwrap()]);
    // All files are told of that are not there; of a listener the first.
    let is_told_of = |names: &[&str]| {
        let ended = check();
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        let told: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(told.len(), names.len(), "{ended:?}");
        for (told, name) in told.into_iter().zip(names) {
            let named = format!("{}: ", path(name).display());
            assert!(told.starts_with("error: ") && told.contains(&named), "{name}: {ended:?}");
        }
    };
    is_told_of(&["passwords", "rules.toml", "server.pem", "server.pem", "server.pem"]);
    passwd(&path("passwords"), "gauge", "open sesame").check(
        0,
        &format!("gauge added to {}\n", path("passwords").display()),
        "",
    );
    is_told_of(&["rules.toml", "server.pem", "server.pem", "server.pem"]);
    fs::write(path("rules.toml"), rules).unwrap();
    is_told_of(&["server.pem"; 3]);
    run(&["cert", "--out", folder.path().to_str().unwrap()]);
    is_told_of(&["devices-ca.pem"]);
    fs::copy(path("ca.pem"), path("devices-ca.pem")).unwrap();
    is_told_of(&["devices.crl"]);
    fs::write(path("devices.crl"), empty_list(folder.path())).unwrap();
    let ended = check();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

/// A revocation list of the authority in a folder.
fn empty_list(folder: &Path) -> String {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let key = KeyPair::from_pem(&read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2200, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    let refused = |args: &[&str], message: &str| {
        run(args).check(2, "", &format!("error: {message}\n"));
    };
    refused(
        &["--listen", "mqtt://0.0.0.0:0"],
        "--listen: listener mqtt://0.0.0.0:0 can be reached from other machines, and anyone could \
         connect; say who may by an auth.password_file or a client_ca, either with mqtts://, listen \
         on 127.0.0.1, or set allow_anonymous = true (or --allow-anonymous) if that is meant",
    );
    refused(
        &["--listen", "mqtts://127.0.0.1"],
        "--listen: mqtts:// needs certificate=FILE and key=FILE; `dunlin cert` makes both for a trial",
    );
    refused(
        &["--set", "limits.recieve_maximum=1"],
        "--set: unknown setting `limits.recieve_maximum`; did you mean `limits.receive_maximum`?",
    );
    refused(
        &["--set", "workers=many"],
        "--set: workers: expected a number from 0 to 255, found \"many\"",
    );
    refused(&["--workers", "many"], "--workers: expected a number from 0 to 255, found \"many\"");
    refused(&["--set", "workers"], "--set workers: write it as KEY=VALUE");
    let ended = run(&["--log", "a=b=c"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.starts_with("error: --log: \"a=b=c\" is no filter"), "{ended:?}");
    for (filter, word) in [("debg", "debg"), ("info,dunlin_broker=warning", "warning")] {
        refused(
            &["--log", filter],
            &format!(
                "--log: {filter:?} is no filter like \"info\" or \"warn,dunlin_broker=debug\": \
                 {word:?} is no level; the levels are off, error, warn, info, debug, trace"
            ),
        );
    }
    for filter in ["", "INFO", "3", "warn,,dunlin_broker=debug", "info,[login{a=b}]=trace"] {
        assert_eq!(run(&["--check", "--log", filter]).code, Some(0), "{filter:?}");
    }
    assert_eq!(run(&["--no-such-flag"]).code, Some(2));
}

#[test]
fn check_names_all_mistakes_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.toml");
    let text = "listeners = ['mqtt://127.0.0.1', 'http://a', { url = 'mqtt://127.0.0.1:2', od = '' }]\n\
                wrkers = 1\n[limts]\nreceive_maximum = 7\n[limits]\nreceive_maximum = 'x'\n";
    fs::write(&file, text).unwrap();
    let name = file.to_str().unwrap();
    let output = command(&["--check", "--config", name, "--set", "receive_maximum=1"])
        .env("DUNLIN_LIMITS_QUEUE", "1")
        .env("DUNLIN_LOG", "debg")
        .output();
    let ended = Ended::of(output.unwrap());
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    let told: Vec<&str> = ended.stderr.lines().collect();
    let expected = [
        (format!("{name}:1: listeners: "), ""),
        (format!("{name}:1: unknown setting `od`"), ""),
        (format!("{name}:2: unknown setting `wrkers`"), "did you mean `workers`?"),
        (format!("{name}:3: unknown setting `limts`"), "did you mean `limits`?"),
        (format!("{name}:6: limits.receive_maximum: "), "string"),
        ("DUNLIN_LIMITS_QUEUE: unknown setting".to_owned(), ""),
        (
            "--set: unknown setting `receive_maximum`".to_owned(),
            "did you mean `limits.receive_maximum`?",
        ),
        ("DUNLIN_LOG: \"debg\" is no filter".to_owned(), ""),
    ];
    assert_eq!(told.len(), expected.len(), "{ended:?}");
    for (told, (start, end)) in told.into_iter().zip(expected) {
        assert!(told.starts_with(&format!("error: {start}")) && told.ends_with(end), "{told}");
    }
}

#[test]
fn check_looks_at_the_data_folder_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("file"), "").unwrap();
    let ended = run(&["--check", "--data", &path("file")]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    let start =
        format!("error: --data: {} can't be used (a folder is needed, and a file", path("file"));
    assert!(ended.stderr.starts_with(&start) && ended.stderr.lines().count() == 1, "{ended:?}");
    let ended = run(&["--check", "--data", &path("above/data"), "--listen", FREE]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(!folder.path().join("above").exists());
    let broker = Broker::start(&["--data", &path("data")]);
    let ended = run(&["--check", "--data", &path("data")]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let start = format!("warning: --data: {} is in use by process ", path("data"));
    assert!(ended.stderr.starts_with(&start) && ended.stderr.lines().count() == 1, "{ended:?}");
    broker.running.signal("TERM");
    assert_eq!(broker.running.end().code, Some(0));
    let ended = run(&["--check", "--data", &path("data"), "--listen", FREE]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn check_warns_of_addresses_that_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").to_str().unwrap().to_owned();
    let broker = Broker::start(&["--data", &data]);
    let url = format!("mqtt://127.0.0.1:{}", broker.port);
    let check = |more: &[&str]| run(&[&["--check", "--listen", &url][..], more].concat());
    let warning = format!(
        "warning: --listen: {url} is taken; no broker can start there until who has it has ended\n"
    );
    let other = folder.path().join("other").to_str().unwrap().to_owned();
    for more in [&[][..], &["--data", &other]] {
        let ended = check(more);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), &*warning), "{ended:?}");
    }
    // The broker that is to take up this configuration has its addresses.
    let ended = check(&["--data", &data]);
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(0), 1), "{ended:?}");
    assert!(ended.stderr.contains("is in use by process "), "{ended:?}");
    // The same port of an address that nobody else takes ports of.
    let ended = run(&["--check", "--listen", &url.replace("127.0.0.1", "127.18.8.3")]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn check_warns_of_rules_that_may_be_half_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    fs::write(&file, "[[rule]]\nallow = \"publish\"\ntopics = \"#\"").unwrap();
    let rights = format!("rights.file={}", file.display());
    let ended = run(&["--check", "--listen", FREE, "--set", &rights]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let warning = format!(
        "warning: --set: rights.file: {}: its last line has no end, so that it may be half-written; \
         put a line feed behind it\n",
        file.display()
    );
    assert_eq!(ended.stderr, warning);
}

#[test]
fn help_is_complete() {
    for (args, parts) in [
        (&["--help"][..], &["broker", "pub", "sub", "decode", "Examples:", "Exit codes:"][..]),
        (&["broker", "--help"], &["limits.queue_len_max", "--check", "Exit codes:"]),
        (&["pub", "--help"], &["-h, --host", "-t, --topic", "Examples:", "Exit codes:"]),
        (&["sub", "--help"], &["-h, --host", "-C <COUNT>", "Formats (-F)", "Exit codes:"]),
        (&["decode", "--help"], &["--file", "--version", "Examples:", "Exit codes:"]),
        (&["help"], &["broker", "pub", "sub", "decode", "Examples:", "Exit codes:"]),
        (&["help", "sub"], &["-h, --host", "-C <COUNT>", "Formats (-F)", "Exit codes:"]),
    ] {
        let ended = run(args);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args:?}");
        for part in parts {
            assert!(ended.stdout.contains(part), "{args:?} lacks {part}:\n{}", ended.stdout);
        }
    }
}

#[test]
fn a_durability_without_a_folder_is_warned_of() {
    let ended = run(&["broker", "--check", "--listen", FREE, "--durability", "written"]);
    assert_eq!(ended.code, Some(0));
    let warning = "warning: --durability: durability has no effect without a data folder \
                   (--data FOLDER)\n";
    assert_eq!(ended.stderr, warning);
}
