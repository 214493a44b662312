//! `cargo xtask planted`: the simulator is given a broker with a fault planted in it, and must find
//! it. One fault after the other, all of them in one build.
//!
//! A fault is data (`crates/dunlin-sim/planted/*.toml`): edits of source text, in which
//! `planted!("name")` stands for "this fault is active". The sources are copied below the build
//! directory and edited there; which fault is active is told to the program by an environment
//! variable. So the real sources know nothing of faults, and fifty of them cost one build.
//!
//! The seeds are the same each time, from 0 on. A seed counts only when it goes well without the
//! fault: whoever finds a breach in a sound broker has not found what was planted.

mod search;
mod tree;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, run as run_command};
use crate::text_files::text_files;
use crate::workspace::Workspace;

/// Which faults to plant, and how hard to look.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only this fault; repeat for more
    #[arg(long, value_name = "NAME")]
    fault: Vec<String>,
    /// In how many seeds each fault must show itself
    #[arg(long, default_value_t = SEEDS)]
    seeds: u64,
    /// Faults that are looked for at the same time
    #[arg(long, default_value_t = JOBS)]
    jobs: usize,
    /// Print the faults and what they break, and plant nothing
    #[arg(long)]
    list: bool,
}

/// In so many seeds each fault must show itself.
const SEEDS: u64 = 2000;
/// So many faults are looked for at the same time.
const JOBS: usize = 2;

/// Where the faults are written down.
const FOLDER: &str = "crates/dunlin-sim/planted";

/// Tells the edited program which fault is active.
pub(crate) const VARIABLE: &str = "DUNLIN_PLANTED";

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    name: String,
    /// What it does wrong.
    says: String,
    edits: Vec<Edit>,
}

/// One place of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edit {
    file: String,
    find: String,
    replace: String,
}

/// Plants the chosen faults.
///
/// # Errors
/// When one of them is not found, with their names.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let faults = read_faults(workspace)?;
    if arguments.list {
        for fault in &faults {
            println!("{:<36} {}", fault.name, fault.says);
        }
        return Ok(());
    }
    for name in &arguments.fault {
        if !faults.iter().any(|fault| fault.name == *name) {
            bail!("no fault is named `{name}`; `cargo xtask planted --list` has the names");
        }
    }
    let is_chosen = |name: &String| arguments.fault.is_empty() || arguments.fault.contains(name);
    let root = workspace.target.join("planted");
    tree::plant(&workspace.root, &root.join("tree"), &faults)?;
    let built = root.join("build");
    let mut build = cargo(workspace, &["build", "-p", "dunlin-sim", "--profile", "sim"]);
    build.current_dir(root.join("tree")).arg("--target-dir").arg(&built);
    run_command(&mut build)?;
    let chosen: Vec<&Fault> = faults.iter().filter(|fault| is_chosen(&fault.name)).collect();
    let program = built.join("sim/dunlin-sim");
    let missed = search::search(&program, &chosen, arguments.seeds, arguments.jobs)?;
    if !missed.is_empty() {
        bail!("planted and not found: {}", missed.join(", "));
    }
    Ok(())
}

/// Plants all faults, as `cargo xtask test` does.
///
/// # Errors
/// As [`run`].
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    run(workspace, &Arguments { fault: Vec::new(), seeds: SEEDS, jobs: JOBS, list: false })
}

fn read_faults(workspace: &Workspace) -> Result<Vec<Fault>> {
    let mut faults = BTreeMap::new();
    for file in text_files(&workspace.root.join(FOLDER))? {
        let path = format!("{FOLDER}/{}", file.path.display());
        for fault in parse(&file.text).with_context(|| path.clone())? {
            if let Some(twin) = faults.insert(fault.name.clone(), fault) {
                bail!("{path}: two faults are named `{}`", twin.name);
            }
        }
    }
    Ok(faults.into_values().collect())
}

fn parse(text: &str) -> Result<Vec<Fault>> {
    let table: toml::Table = text.parse()?;
    let list = table.get("fault").and_then(toml::Value::as_array).context("no [[fault]]")?;
    let field = |value: &toml::Value, name: &str| -> Result<String> {
        let text = value.get(name).and_then(toml::Value::as_str);
        Ok(text.with_context(|| format!("`{name}` is missing"))?.to_owned())
    };
    let mut faults = Vec::new();
    for entry in list {
        let name = field(entry, "name")?;
        let edits = entry.get("edit").and_then(toml::Value::as_array);
        let edits = edits.with_context(|| format!("{name}: no [[fault.edit]]"))?;
        let edits = edits.iter().map(|edit| {
            Ok(Edit {
                file: field(edit, "file")?,
                find: field(edit, "find")?,
                replace: field(edit, "replace")?,
            })
        });
        let edits = edits.collect::<Result<_>>().with_context(|| name.clone())?;
        faults.push(Fault { says: field(entry, "says")?, edits, name });
    }
    Ok(faults)
}

#[cfg(test)]
mod tests;
