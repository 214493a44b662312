//! `cargo xtask bench NAME`: builds the broker and the load in release mode and runs a
//! measurement.

use std::process::Command;

use anyhow::Result;

use crate::command::{cargo, run as run_command};
use crate::workspace::Workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The program of `benches/` to run: `first` measures fan-in, fan-out and pairs, `durable` what
    /// storing costs
    name: String,
    /// Handed on to that program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Builds and runs one measurement with the path of the freshly built broker.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let build = ["build", "--release", "-p", "dunlin", "-p", "dunlin-benches", "--bins"];
    run_command(&mut cargo(workspace, &build))?;
    let built = workspace.target.join("release");
    let mut program = Command::new(built.join(&arguments.name));
    program.arg("--dunlin").arg(built.join("dunlin")).args(&arguments.rest);
    run_command(program.current_dir(&workspace.root))
}
