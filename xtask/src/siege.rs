//! `cargo xtask siege`: builds the broker and the hostile clients, and lets these loose on it;
//! `cargo xtask test` does so for a short time.

use std::process::Command;

use anyhow::Result;

use crate::command::run as run_command;
use crate::crash;
use crate::peers::{Name, install_broker};
use crate::workspace::Workspace;

/// The scene whose figures stand beside Mosquitto's.
const COMPARED: &str = "reconnect-storm";

/// The word for all scenes.
const ALL: &str = "all";

/// What the program is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Scenes, and further arguments of the program; `cargo xtask siege -- --help` has them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs it with these arguments.
///
/// # Errors
/// When it can't be built, or when the broker did not hold.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let arguments: Vec<&str> = arguments.arguments.iter().map(String::as_str).collect();
    siege(workspace, "release", &arguments)
}

/// A few hundred clients in each scene but those that take long, in the build of the tests, which has
/// all checks.
///
/// # Errors
/// When it can't be built, or when the broker did not hold.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    siege(workspace, "dev", &["--short"])
}

fn siege(workspace: &Workspace, profile: &str, arguments: &[&str]) -> Result<()> {
    let folder = crash::build(workspace, profile)?;
    let mut command = Command::new(folder.join("dunlin-siege"));
    command.arg("--dunlin").arg(folder.join("dunlin"));
    if is_compared(arguments) {
        command.arg("--mosquitto").arg(install_broker(workspace, Name::Mosquitto)?.program);
    }
    run_command(command.args(arguments))
}

/// Whether the program will ask for another broker: not in short, and only in one scene, which is
/// played unless others are named.
fn is_compared(arguments: &[&str]) -> bool {
    let has = |word: &str| arguments.contains(&word);
    if ["--short", "--list", "--help", "-h"].into_iter().any(has) {
        return false;
    }
    let mut words = arguments.iter();
    let mut scenes = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            // Its value is the next word.
            Some(flag) if !flag.contains('=') => drop(words.next()),
            Some(_) => {}
            None => scenes.push(*word),
        }
    }
    scenes.is_empty() || scenes.contains(&ALL) || scenes.contains(&COMPARED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mosquitto_is_needed_for_the_storm_alone() {
        assert!(is_compared(&[]));
        assert!(is_compared(&["--json", "siege.json"]));
        assert!(is_compared(&["takeover", "reconnect-storm"]));
        assert!(is_compared(&["--seconds=10", "all"]));
        assert!(!is_compared(&["takeover", "--seconds", "10"]));
        assert!(!is_compared(&["--list"]));
        assert!(!is_compared(&["--short"]));
    }
}
