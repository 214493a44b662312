//! `cargo xtask sim`: builds the simulator and runs it; `cargo xtask test` gives it fixed seeds, and
//! some that each state of the sources has to itself.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, output, run as run_command};
use crate::workspace::Workspace;

/// Seeds that every run of the tests has.
const FIXED_SEEDS: &str = "0..1300";

/// How many seeds a state of the sources has to itself, beyond those that are looked at by hand.
const FRESH_SEEDS: u64 = 700;
const FRESH_FROM: u64 = 1_000_000;

/// What the simulator is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Arguments of the simulator; `cargo xtask sim -- --help` has them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the simulator with these arguments.
///
/// # Errors
/// When it can't be built, or when a promise was broken.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    simulate(workspace, arguments.arguments.iter().map(String::as_str))
}

/// Fixed seeds, which find again what was found before, and fresh ones.
///
/// # Errors
/// When a promise was broken; the seed is printed.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    simulate(workspace, ["--seeds", FIXED_SEEDS, "--jobs", "2"])?;
    simulate(workspace, ["--seeds", &fresh_seeds(workspace), "--jobs", "2"])
}

/// Seeds that nobody has seen before these sources, and that whoever tests them sees again. Sources
/// without a history have some, too.
fn fresh_seeds(workspace: &Workspace) -> String {
    let mut command = Command::new("git");
    command.args(["rev-parse", "HEAD^{tree}"]).current_dir(&workspace.root);
    let tree = output(&mut command).unwrap_or_default();
    let digits = tree.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let first = FRESH_FROM + u64::from(digits.unwrap_or_default());
    format!("{first}..{}", first + FRESH_SEEDS)
}

fn simulate<'a>(workspace: &Workspace, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut command = cargo(workspace, &["run", "-q", "-p", "dunlin-sim", "--profile", "sim"]);
    run_command(command.arg("--").args(arguments))
}
