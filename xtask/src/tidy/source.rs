//! The rules for Rust files: what each must say first, how long it may grow, and what it may not
//! use.

use super::Finding;
use super::code::blanked;
use crate::text_files::TextFile;

/// A file beyond this has more than one job.
const LINES_MAX: usize = 900;

/// Where the code is pure: it gets time and randomness as parameters and asks its caller for IO.
const PURE: [&str; 6] = [
    "crates/dunlin-codec/src",
    "crates/dunlin-identity/src",
    "crates/dunlin-topics/src",
    "crates/dunlin-rights/src",
    "crates/dunlin-protocol/src",
    "crates/dunlin-broker/src/core",
];

/// What pure code may not name, with what to do instead.
const IMPURE: [(&str, &str); 8] = [
    ("Instant::now", "`now` is a parameter"),
    ("SystemTime", "`now` is a parameter"),
    ("std::net", "addresses are in `core::net`, sockets belong to the shell"),
    ("std::fs", "files belong to the shell"),
    ("std::thread", "threads belong to the shell"),
    ("std::env", "configuration is a parameter"),
    ("rand::", "the seed is a parameter"),
    ("getrandom", "the seed is a parameter"),
];

/// What no file may use.
const NOWHERE: [(&str, &str); 4] = [
    ("todo!", "finish it or leave it out"),
    ("unimplemented!", "finish it or leave it out"),
    ("dbg!", "use `tracing`"),
    ("#[ignore", "a test that does not run proves nothing"),
];

/// What tests may not use.
const NOT_IN_TESTS: [(&str, &str); 3] = [
    ("thread::sleep", "wait for an event with a deadline"),
    ("time::sleep", "wait for an event with a deadline, or advance a paused clock"),
    ("sleep_ms", "wait for an event with a deadline"),
];

/// Crates that build without the standard library.
const NO_STD: [&str; 3] = ["crates/dunlin-codec", "crates/dunlin-topics", "crates/dunlin-protocol"];

/// Libraries that may say `deny` where the others say `forbid`: one has a commented module of
/// unsafe code that a measurement justifies, the other stands in for the C library.
const UNSAFE_ALLOWED: [&str; 2] = ["crates/dunlin-codec", "crates/dunlin-bad-disk"];

/// Checks one Rust file.
pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: usize, message: String| {
        findings.push(Finding::new(&file.path, line, message));
    };
    if !file.text.starts_with("//!") {
        find(1, "the file does not open with `//!` and its role".to_owned());
    }
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        find(lines, format!("{lines} lines, more than {LINES_MAX}: give each job its own file"));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        if line.contains('\t') {
            find(number, "a tab".to_owned());
        }
    }

    let test = is_test(file);
    let pure = PURE.iter().any(|folder| file.is_under(folder)) && !test;
    let code = blanked(&file.text);
    for (number, line) in (1..).zip(code.lines()) {
        let rules = NOWHERE
            .iter()
            .chain(NOT_IN_TESTS.iter().filter(|_| test))
            .chain(IMPURE.iter().filter(|_| pure));
        for (word, instead) in rules.filter(|(word, _)| uses(line, word)) {
            find(number, format!("`{word}`: {instead}"));
        }
    }
    if let Some(missing) = missing_attribute(file, &code) {
        find(1, missing);
    }
    findings
}

/// Whether a file holds nothing but tests.
fn is_test(file: &TextFile) -> bool {
    file.name() == "tests.rs" || file.path.components().any(|part| part.as_os_str() == "tests")
}

/// Whether a line of code uses a word, and not a longer one that ends in it.
fn uses(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_') || word.starts_with('#')
    })
}

/// The attribute that a library's root lacks.
fn missing_attribute(file: &TextFile, code: &str) -> Option<String> {
    if !file.path.ends_with("src/lib.rs") {
        return None;
    }
    let crate_folder = |folders: &[&str]| folders.iter().any(|folder| file.is_under(folder));
    let squeezed: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let says = |attribute: &str| squeezed.contains(attribute);
    let excepted = crate_folder(&UNSAFE_ALLOWED) && says("#![deny(unsafe_code)]");
    if !says("#![forbid(unsafe_code)]") && !excepted {
        return Some("the library lacks `#![forbid(unsafe_code)]`".to_owned());
    }
    let without_std = says("#![no_std]") || (says("#![cfg_attr(not(") && says("no_std)]"));
    if crate_folder(&NO_STD) && !without_std {
        return Some("the library lacks `#![no_std]`".to_owned());
    }
    None
}
