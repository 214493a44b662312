//! Each rule is broken once in a small repository, and must be found at its line.

use std::fs;
use std::path::Path;

use super::code::blanked;
use super::findings;

/// Writes the files, checks the whole, and compares the findings as they are printed.
#[track_caller]
fn check(files: &[(&str, &str)], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found: Vec<String> =
        findings(folder.path()).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

/// A manifest that breaks no rule unless its dependencies do.
fn manifest(name: &str, dependencies: &str) -> String {
    format!("[package]\nname = \"{name}\"\n\n[lints]\nworkspace = true\n\n{dependencies}")
}

#[test]
fn a_tidy_repository_has_no_findings() {
    check(
        &[
            (
                "README.md",
                "# Read\n\nSee [the map](ARCHITECTURE.md#the-map) and [the web](https://x).\n",
            ),
            ("ARCHITECTURE.md", "## The map\n\n`dunlin-codec` is the lowest.\n"),
            ("crates/dunlin-codec/Cargo.toml", &manifest("dunlin-codec", "")),
            (
                "crates/dunlin-codec/src/lib.rs",
                "//! Packets.\n#![cfg_attr(not(feature = \"std\"), no_std)]\n#![forbid(unsafe_code)]\n",
            ),
        ],
        &[],
    );
}

#[test]
fn no_merge_is_left_half_done() {
    let text =
        "# Read\n\n<<<<<<< HEAD\none\n||||||| before\nnone\n=======\ntwo\n>>>>>>> 1a2b3c4 (Two)\n";
    check(
        &[("README.md", text)],
        &[
            "README.md:3: a mark of an unfinished merge",
            "README.md:5: a mark of an unfinished merge",
            "README.md:9: a mark of an unfinished merge",
        ],
    );
}

#[test]
fn crates_depend_only_downward() {
    check(
        &[(
            "crates/dunlin-codec/Cargo.toml",
            &manifest("dunlin-codec", "[dependencies]\ndunlin-broker = \"1\"\n"),
        )],
        &["crates/dunlin-codec/Cargo.toml:8: `dunlin-codec` may not depend on `dunlin-broker`: \
           crates depend only downward"],
    );
}

#[test]
fn a_renamed_dependency_of_one_platform_counts() {
    let text = "[target.'cfg(unix)'.build-dependencies]\nwire = { package = \"dunlin-client\" }\n";
    check(
        &[("crates/dunlin-broker/Cargo.toml", &manifest("dunlin-broker", text))],
        &["crates/dunlin-broker/Cargo.toml:8: `dunlin-broker` may not depend on `dunlin-client`: \
           crates depend only downward"],
    );
}

#[test]
fn test_equipment_serves_tests_only() {
    let text = "[dev-dependencies]\ndunlin-testkit = \"1\"\n";
    check(&[("crates/dunlin-client/Cargo.toml", &manifest("dunlin-client", text))], &[]);
    let text = "[dependencies]\ndunlin-testkit = \"1\"\n";
    check(
        &[("crates/dunlin-client/Cargo.toml", &manifest("dunlin-client", text))],
        &["crates/dunlin-client/Cargo.toml:8: `dunlin-testkit` serves tests only: make it a \
           dev-dependency"],
    );
}

#[test]
fn a_crate_has_a_layer_a_folder_of_its_name_and_the_common_lints() {
    check(
        &[("crates/dunlin-x/Cargo.toml", "[package]\nname = \"dunlin-y\"\n")],
        &[
            "crates/dunlin-x/Cargo.toml:1: the crate does not take the lints of the workspace",
            "crates/dunlin-x/Cargo.toml:2: `dunlin-y` has no layer: enter it in \
             xtask/src/tidy/layers.rs",
            "crates/dunlin-x/Cargo.toml:2: the crate `dunlin-y` lies in a folder named `dunlin-x`",
        ],
    );
}

#[test]
fn libraries_forbid_unsafe_code_and_the_lower_ones_the_standard_library() {
    check(
        &[
            ("crates/dunlin-client/src/lib.rs", "//! Client.\n"),
            ("crates/dunlin-topics/src/lib.rs", "//! Topics.\n#![forbid(unsafe_code)]\n"),
        ],
        &[
            "crates/dunlin-client/src/lib.rs:1: the library lacks `#![forbid(unsafe_code)]`",
            "crates/dunlin-topics/src/lib.rs:1: the library lacks `#![no_std]`",
        ],
    );
}

#[test]
fn pure_code_reads_no_clock_and_opens_nothing() {
    let code = "//! Wills.\n// std::fs is spoken of here\nlet now = Instant::now();\n\
                let x = std::net::TcpStream::connect;\nlet operand::y = 1;\n";
    check(
        &[
            ("crates/dunlin-broker/src/core/will.rs", code),
            ("crates/dunlin-broker/src/net/listener.rs", code),
            ("crates/dunlin-broker/src/core/will/tests.rs", code),
        ],
        &[
            "crates/dunlin-broker/src/core/will.rs:3: `Instant::now`: `now` is a parameter",
            "crates/dunlin-broker/src/core/will.rs:4: `std::net`: addresses are in `core::net`, \
             sockets belong to the shell",
        ],
    );
}

#[test]
fn unfinished_code_is_found_in_code_alone() {
    let code = "//! todo!() in a comment\nfn f() {\n    let s = \"dbg!(x)\";\n    todo!()\n}\n";
    check(&[("src/a.rs", code)], &["src/a.rs:4: `todo!`: finish it or leave it out"]);
    let code = "//! Test.\n#[ignore = \"slow\"]\nfn f() { dbg!(1); unimplemented!() }\n";
    check(
        &[("src/b.rs", code)],
        &[
            "src/b.rs:2: `#[ignore`: a test that does not run proves nothing",
            "src/b.rs:3: `dbg!`: use `tracing`",
            "src/b.rs:3: `unimplemented!`: finish it or leave it out",
        ],
    );
}

#[test]
fn tests_do_not_sleep_and_shells_may() {
    let code = "//! Waits.\nfn f() { std::thread::sleep(d); }\n";
    check(
        &[("a/src/tests.rs", code), ("a/tests/it/main.rs", code), ("a/src/retry.rs", code)],
        &[
            "a/src/tests.rs:2: `thread::sleep`: wait for an event with a deadline",
            "a/tests/it/main.rs:2: `thread::sleep`: wait for an event with a deadline",
        ],
    );
}

#[test]
fn files_open_with_their_role_and_stay_short() {
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(900));
    check(
        &[("src/a.rs", "fn f() {}\n"), ("src/b.rs", &long)],
        &[
            "src/a.rs:1: the file does not open with `//!` and its role",
            "src/b.rs:901: 901 lines, more than 900: give each job its own file",
        ],
    );
}

#[test]
fn white_space_is_clean() {
    check(
        &[("a.toml", "x = 1 \ny = 2"), ("b.rs", "//! Tab.\n\tfn f() {}\n")],
        &[
            "a.toml:1: white space at the end of the line",
            "a.toml:2: no line feed at the end of the file",
            "b.rs:2: a tab",
        ],
    );
}

#[test]
fn relative_links_lead_somewhere() {
    let text = "# Top\n[a](b.md) [c](../c.md)\n`[code](no.md)`\n```\n[fenced](no.md)\n```\n\
                [here](#top) [not](#bottom) [dir](../docs)\n\n[ref]: gone.md \"title\"\n";
    check(
        &[("docs/a.md", text), ("docs/b.md", "# B\n")],
        &[
            "docs/a.md:2: `../c.md` leads nowhere",
            "docs/a.md:7: `#bottom` names a heading that is not there",
            "docs/a.md:9: `gone.md` leads nowhere",
        ],
    );
}

#[test]
fn the_map_names_the_crates_that_exist() {
    check(
        &[
            ("ARCHITECTURE.md", "# Map\n`dunlin-codec`, `dunlin-store`\n`dunlin_codec::packet`\n"),
            ("crates/dunlin-codec/Cargo.toml", &manifest("dunlin-codec", "")),
            ("crates/dunlin-topics/Cargo.toml", &manifest("dunlin-topics", "")),
        ],
        &[
            "ARCHITECTURE.md:1: the map lacks the crate `dunlin-topics`",
            "ARCHITECTURE.md:2: the map names `dunlin-store`, and there is no such crate",
        ],
    );
}

#[test]
fn what_programs_wrote_is_not_read() {
    check(
        &[
            ("target/a.rs", "x \n"),
            ("fuzz/corpus/a.rs", "x \n"),
            ("build/CACHEDIR.TAG", ""),
            ("build/a.rs", "x \n"),
        ],
        &[],
    );
}

#[test]
fn comments_and_literals_are_blank() {
    for (text, expected) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("x(\"a\\\"b\") y", "x(      ) y"),
        ("r#\"a\"b\"# c", "         c"),
        ("br\"a\" c", "b     c"),
        ("'a' 'b: &'c str", "    'b: &'c str"),
        ("'\\'' x", "     x"),
        ("\"open", "     "),
        ("r#type", "r#type"),
        ("for\"a\"", "for   "),
    ] {
        assert_eq!(blanked(text), expected, "{text}");
    }
}

#[test]
fn this_repository_is_where_the_check_looks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    assert!(root.join("Cargo.lock").is_file() && root.join("crates").is_dir());
}
