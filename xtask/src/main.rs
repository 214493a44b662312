//! Automation of the project: `cargo xtask test` is what CI runs, the other subcommands are its
//! parts and the longer jobs (fuzzing, measuring) that do not belong in every run.
#![forbid(unsafe_code)]

mod bench;
mod command;
mod fuzz;
mod planted;
mod setup;
mod statements;
mod test;
mod text_files;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Automation of the Dunlin project.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything that CI checks, in order, up to the first failure
    Test(test::Arguments),
    /// The house rules, as findings with file and line
    Tidy,
    /// Which tests prove which normative statement, and what is missing
    Conformance,
    /// Plant faults in the broker, each of which the simulator must find
    Planted(planted::Arguments),
    /// Run the fuzz targets in turn, or shrink their corpora
    Fuzz(fuzz::Arguments),
    /// Build in release mode and measure
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let workspace = Workspace::find();
    let outcome = match &arguments.task {
        Task::Test(arguments) => test::run(&workspace, arguments),
        Task::Tidy => tidy::run(&workspace),
        Task::Conformance => statements::run(&workspace),
        Task::Planted(arguments) => planted::run(&workspace, arguments),
        Task::Fuzz(arguments) => fuzz::run(&workspace, arguments),
        Task::Bench(arguments) => bench::run(&workspace, arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
