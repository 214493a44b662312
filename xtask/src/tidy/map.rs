//! ARCHITECTURE.md must name every crate, and no crate that is not there.

use std::collections::BTreeSet;
use std::path::Path;

use super::Finding;
use crate::text_files::TextFile;

/// Compares the map with the manifests.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|file| file.path == Path::new("ARCHITECTURE.md")) else {
        return Vec::new();
    };
    let manifests = files.iter().filter(|file| file.name() == "Cargo.toml");
    let crates: BTreeSet<String> = manifests.filter_map(package_name).collect();
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for (number, line) in (1..).zip(map.text.lines()) {
        for code in line.split('`').skip(1).step_by(2) {
            // `dunlin_broker::core` and `dunlin-broker` name the same crate.
            let name = code.split("::").next().unwrap_or(code).replace('_', "-");
            if is_crate_name(&name) && !crates.contains(&name) {
                let message = format!("the map names `{code}`, and there is no such crate");
                findings.push(Finding::new(&map.path, number, message));
            }
            named.insert(name);
        }
    }
    let published = files.iter().filter(|file| file.is_under("crates"));
    for name in published.filter(|file| file.name() == "Cargo.toml").filter_map(package_name) {
        if !named.contains(&name) {
            findings.push(Finding::new(&map.path, 1, format!("the map lacks the crate `{name}`")));
        }
    }
    findings
}

fn is_crate_name(word: &str) -> bool {
    word.strip_prefix("dunlin-").is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    })
}

fn package_name(manifest: &TextFile) -> Option<String> {
    let table: toml::Table = manifest.text.parse().ok()?;
    Some(table.get("package")?.get("name")?.as_str()?.to_owned())
}
