//! Settings from all sides, and what a mistake is answered with.

use crate::program::{Ended, command, run};
use std::fs;

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
    let ended = run(&["--check", "--config", file.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
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
    let (_, from) = page.split_once("```toml\n").unwrap();
    let (text, _) = from.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("d.toml");
    fs::write(&file, text).unwrap();
    let ended = run(&["--check", "--config", file.to_str().unwrap()]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
}

#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    let refused = |args: &[&str], message: &str| {
        run(args).check(2, "", &format!("error: {message}\n"));
    };
    refused(
        &["--listen", "mqtt://0.0.0.0:0"],
        "--listen: listener mqtt://0.0.0.0:0 can be reached from other machines, and anyone could \
         connect; set allow_anonymous = true (or --allow-anonymous) if that is meant, or listen \
         on 127.0.0.1",
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
    assert_eq!(run(&["--no-such-flag"]).code, Some(2));
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
    let ended = run(&["broker", "--check", "--durability", "written"]);
    assert_eq!(ended.code, Some(0));
    let warning = "warning: --durability: durability has no effect without a data folder \
                   (--data FOLDER)\n";
    assert_eq!(ended.stderr, warning);
}
