//! The layer rule: each crate depends only downward.

use super::Finding;
use crate::text_files::TextFile;

/// For each crate the other crates of this repository that it may use.
const LAYERS: [(&str, &[&str]); 18] = [
    ("dunlin-codec", &[]),
    ("dunlin-topics", &["dunlin-codec"]),
    ("dunlin-rights", &["dunlin-codec", "dunlin-topics"]),
    ("dunlin-protocol", &["dunlin-codec", "dunlin-topics"]),
    ("dunlin-transport", &[]),
    ("dunlin-identity", &["dunlin-codec"]),
    (
        "dunlin-client",
        &[
            "dunlin-codec",
            "dunlin-topics",
            "dunlin-protocol",
            "dunlin-transport",
            "dunlin-identity",
        ],
    ),
    (
        "dunlin-broker",
        &[
            "dunlin-codec",
            "dunlin-topics",
            "dunlin-rights",
            "dunlin-protocol",
            "dunlin-transport",
            "dunlin-identity",
        ],
    ),
    ("dunlin-store", &["dunlin-codec", "dunlin-rights", "dunlin-protocol", "dunlin-broker"]),
    ("dunlin-conformance", &["dunlin-codec"]),
    ("dunlin-bench", &["dunlin-transport"]),
    (
        "dunlin",
        &[
            "dunlin-codec",
            "dunlin-topics",
            "dunlin-rights",
            "dunlin-protocol",
            "dunlin-transport",
            "dunlin-client",
            "dunlin-broker",
            "dunlin-identity",
            "dunlin-store",
            "dunlin-conformance",
            "dunlin-bench",
        ],
    ),
    (
        TESTKIT,
        &["dunlin-codec", "dunlin-topics", "dunlin-protocol", "dunlin-client", "dunlin-broker"],
    ),
    ("dunlin-differential", &["dunlin-codec", "dunlin-conformance", TESTKIT]),
    (
        SIMULATOR,
        &[
            "dunlin-codec",
            "dunlin-topics",
            "dunlin-rights",
            "dunlin-protocol",
            "dunlin-broker",
            TESTKIT,
        ],
    ),
    ("dunlin-bad-disk", &[]),
    ("dunlin-crash", &["dunlin-client", TESTKIT]),
    ("dunlin-siege", &["dunlin-bench"]),
];

/// Test equipment: for tests of any crate, never for what users build.
const TESTKIT: &str = "dunlin-testkit";

/// A tool for ourselves, made of test equipment.
const SIMULATOR: &str = "dunlin-sim";

/// Checks every manifest under `crates/`; tools, examples and benches may use what they like.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let manifests = files
        .iter()
        .filter(|file| file.is_under("crates") && file.name() == "Cargo.toml")
        .filter(|file| file.path.components().count() == 3);
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &TextFile) -> Vec<Finding> {
    let manifest: toml::Table = match file.text.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new(&file.path, 0, format!("not a manifest: {error}"))],
    };
    let folder = file.path.parent().and_then(|folder| folder.file_name()).unwrap_or_default();
    let folder = folder.to_string_lossy();
    let named = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    let name = named.unwrap_or_default();
    let mut findings = Vec::new();
    let mut find = |word: &str, message: String| {
        findings.push(Finding::new(&file.path, line_of(&file.text, word), message));
    };
    if name != folder {
        find("name", format!("the crate `{name}` lies in a folder named `{folder}`"));
    }
    let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
    if inherits != Some(true) {
        find("[lints]", "the crate does not take the lints of the workspace".to_owned());
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        find("name", format!("`{name}` has no layer: enter it in xtask/src/tidy/layers.rs"));
        return findings;
    };
    for (dependency, kind) in dependencies(&manifest) {
        let ours = dependency == "dunlin" || dependency.starts_with("dunlin-");
        let test_equipment = kind == Kind::Development && dependency == TESTKIT;
        if !ours || test_equipment || allowed.contains(&dependency.as_str()) {
            continue;
        }
        let message = if dependency == TESTKIT {
            format!("`{TESTKIT}` serves tests only: make it a dev-dependency")
        } else {
            format!("`{name}` may not depend on `{dependency}`: crates depend only downward")
        };
        find(&dependency, message);
    }
    findings
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Part of what users build, or of its build script.
    Ordinary,
    /// For tests, examples and benches.
    Development,
}

/// All dependencies under their real names, those for single platforms included.
fn dependencies(manifest: &toml::Table) -> Vec<(String, Kind)> {
    let platforms = manifest.get("target").and_then(toml::Value::as_table);
    let platforms = platforms.into_iter().flat_map(toml::Table::values);
    let tables = platforms.filter_map(toml::Value::as_table).chain([manifest]);
    let mut found = Vec::new();
    for table in tables {
        for (section, kind) in [
            ("dependencies", Kind::Ordinary),
            ("build-dependencies", Kind::Ordinary),
            ("dev-dependencies", Kind::Development),
        ] {
            let entries = table.get(section).and_then(toml::Value::as_table);
            for (key, value) in entries.into_iter().flatten() {
                let renamed = value.get("package").and_then(toml::Value::as_str);
                found.push((renamed.unwrap_or(key).to_owned(), kind));
            }
        }
    }
    found
}

/// The line on which a word stands as a key or value; zero if it stands nowhere.
fn line_of(text: &str, word: &str) -> usize {
    let separate = |c: char| !(c.is_alphanumeric() || "-_[]".contains(c));
    let mut lines = (1..).zip(text.lines());
    let found = lines.find(|(_, line)| line.split(separate).any(|part| part == word));
    found.map_or(0, |(number, _)| number)
}
