//! `cargo xtask crash`: builds the broker and the program that ends it under load, and runs that;
//! `cargo xtask test` runs it for a short time.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{cargo, find_program, run as run_command};
use crate::workspace::Workspace;

/// What each part of a short run is told.
const SHORT: [&[&str]; 4] = [
    &["--cycles", "5", "--fault", "kill"],
    &["--cycles", "5", "--fault", "power"],
    &["--cycles", "3", "--fault", "kill", "--durability", "written"],
    &["--disk", "full", "--disk", "fail", "--disk", "read-only", "--disk", "hang"],
];

/// What the program is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A few cycles with each fault, and each trouble of a disk, as in `cargo xtask test`
    #[arg(long, conflicts_with = "arguments")]
    short: bool,
    /// Arguments of the program; `cargo xtask crash -- --help` has them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs it with these arguments.
///
/// # Errors
/// When it can't be built, or when a promise was broken.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    if arguments.short {
        return test(workspace);
    }
    crash(workspace, "release", &[arguments.arguments.iter().map(String::as_str).collect()])
}

/// A few cycles with each fault, and each trouble of a disk, in the build of the tests, which has all
/// checks.
///
/// # Errors
/// When it can't be built, or when a promise was broken; the seed is printed.
pub(crate) fn test(workspace: &Workspace) -> Result<()> {
    crash(workspace, "dev", &SHORT.map(<[&str]>::to_vec))
}

/// Builds the broker, and what it is ended and besieged by; gives the folder with the programs. They
/// are built together, as each alone would have some libraries built once more, for other features.
///
/// # Errors
/// When they can't be built.
pub(crate) fn build(workspace: &Workspace, profile: &str) -> Result<PathBuf> {
    let mut command = cargo(workspace, &["build", "--profile", profile]);
    for package in ["dunlin", "dunlin-bad-disk", "dunlin-crash", "dunlin-siege"] {
        command.args(["-p", package]);
    }
    run_command(&mut command)?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(workspace.target.join(folder))
}

fn crash(workspace: &Workspace, profile: &str, runs: &[Vec<&str>]) -> Result<()> {
    let folder = build(workspace, profile)?;
    for arguments in runs {
        let mut command = std::process::Command::new(folder.join("dunlin-crash"));
        command.arg("--dunlin").arg(folder.join("dunlin"));
        command.arg("--bad-disk").arg(folder.join("libdunlin_bad_disk.so"));
        if let Some(mosquitto) = find_program("mosquitto") {
            command.arg("--mosquitto").arg(mosquitto);
        }
        run_command(command.args(arguments))?;
    }
    Ok(())
}
