//! `cargo xtask sim`: builds the simulator and runs it; `cargo xtask test` gives it fixed
//! seeds.

use anyhow::Result;

use crate::command::{cargo, run as run_command};
use crate::workspace::Workspace;

/// Seeds that every run of the tests has.
const FIXED_SEEDS: &str = "0..1300";

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

/// Fixed seeds, which find again what was found before.
///
/// # Errors
/// When a promise was broken; the seed is printed.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    simulate(workspace, ["--seeds", FIXED_SEEDS, "--jobs", "2"])
}

fn simulate<'a>(workspace: &Workspace, arguments: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut command = cargo(workspace, &["run", "-q", "-p", "dunlin-sim", "--profile", "sim"]);
    run_command(command.arg("--").args(arguments))
}
