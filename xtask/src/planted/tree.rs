//! The copy of the sources that the faults are planted in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Fault, VARIABLE};
use crate::workspace::sorted_entries;

/// The crates that the simulator is made of.
const CRATES: [&str; 9] = [
    "dunlin-codec",
    "dunlin-topics",
    "dunlin-rights",
    "dunlin-protocol",
    "dunlin-transport",
    "dunlin-identity",
    "dunlin-broker",
    "dunlin-testkit",
    "dunlin-sim",
];

/// Copies the sources to `tree`, with all faults in them; what has not changed keeps its time, so
/// that Cargo does not build it again.
pub(super) fn plant(root: &Path, tree: &Path, faults: &[Fault]) -> Result<()> {
    let mut edits = edits_by_file(faults);
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    write(&tree.join("Cargo.toml"), manifest_of_tree(&manifest)?.as_bytes())?;
    if !tree.join("Cargo.lock").exists() {
        fs::copy(root.join("Cargo.lock"), tree.join("Cargo.lock"))?;
    }
    for name in CRATES {
        let mut folders = vec![Path::new("crates").join(name)];
        while let Some(folder) = folders.pop() {
            for path in sorted_entries(&root.join(&folder))? {
                let relative = path.strip_prefix(root).expect("it was found below the root");
                if path.is_dir() {
                    folders.push(relative.to_path_buf());
                    continue;
                }
                let key = relative.to_string_lossy().into_owned();
                let mut bytes = fs::read(&path)?;
                if let Some(edits) = edits.remove(&key) {
                    let text = String::from_utf8(bytes).with_context(|| key.clone())?;
                    bytes = edited(&text, &edits).with_context(|| key.clone())?.into_bytes();
                }
                if key == format!("crates/{name}/src/lib.rs") {
                    bytes.extend_from_slice(switch(faults).as_bytes());
                }
                write(&tree.join(relative), &bytes)?;
            }
        }
    }
    if let Some((file, edits)) = edits.into_iter().next() {
        bail!("{}: there is no file {file} in the crates of the simulator", edits[0].fault);
    }
    Ok(())
}

/// One edit of a file, and the fault that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedEdit<'a> {
    pub(super) fault: &'a str,
    pub(super) find: &'a str,
    pub(super) replace: &'a str,
}

fn edits_by_file(faults: &[Fault]) -> BTreeMap<String, Vec<NamedEdit<'_>>> {
    let mut files: BTreeMap<String, Vec<NamedEdit<'_>>> = BTreeMap::new();
    for fault in faults {
        for edit in &fault.edits {
            files.entry(edit.file.clone()).or_default().push(NamedEdit {
                fault: &fault.name,
                find: &edit.find,
                replace: &edit.replace,
            });
        }
    }
    files
}

/// The text with all edits; each must fit exactly once, and none may touch another.
pub(super) fn edited(text: &str, edits: &[NamedEdit<'_>]) -> Result<String> {
    let mut places = Vec::new();
    for edit in edits {
        let mut found = text.match_indices(edit.find);
        let Some((start, _)) = found.next() else {
            bail!("{}: the text to replace is not there any more:\n{}", edit.fault, edit.find);
        };
        if found.next().is_some() {
            bail!("{}: the text to replace is there more than once:\n{}", edit.fault, edit.find);
        }
        places.push((start, start + edit.find.len(), *edit));
    }
    places.sort_by_key(|(start, ..)| *start);
    let mut result = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end, edit) in places {
        if start < at {
            bail!("{}: it touches the text of another fault", edit.fault);
        }
        result.push_str(&text[at..start]);
        let call = format!("crate::planted::is(\"{}\")", edit.fault);
        let macro_call = format!("planted!(\"{}\")", edit.fault);
        if !edit.replace.contains(&macro_call) {
            bail!("{}: the new text does not ask `{macro_call}`", edit.fault);
        }
        result.push_str(&edit.replace.replace(&macro_call, &call));
        at = end;
    }
    result.push_str(&text[at..]);
    Ok(result)
}

/// The module that knows which fault is active; each crate gets one of its own.
fn switch(faults: &[Fault]) -> String {
    let names: Vec<String> = faults.iter().map(|fault| format!("{:?}", fault.name)).collect();
    format!(
        r#"
/// Which of the planted faults is active.
#[allow(dead_code, missing_docs, unreachable_pub, unused_extern_crates)]
mod planted {{
    extern crate std;
    use self::std::sync::LazyLock;
    static NAMES: &[&str] = &[{names}];
    static ACTIVE: LazyLock<&str> = LazyLock::new(|| {{
        let name = std::env::var("{VARIABLE}").unwrap_or_default();
        NAMES.iter().find(|known| **known == name).copied().unwrap_or("")
    }});
    #[inline]
    pub fn is(name: &str) -> bool {{
        *ACTIVE == name
    }}
}}
"#,
        names = names.join(", ")
    )
}

/// The manifest without the members that are not copied.
fn manifest_of_tree(text: &str) -> Result<String> {
    let mut manifest: toml::Table = text.parse().context("Cargo.toml")?;
    let workspace = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut);
    let workspace = workspace.context("Cargo.toml has no [workspace]")?;
    workspace.insert("members".to_owned(), toml::Value::Array(vec!["crates/*".into()]));
    workspace.remove("default-members");
    workspace.remove("exclude");
    Ok(toml::to_string(&manifest)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder)?;
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
