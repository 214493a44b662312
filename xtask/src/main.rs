//! Automation of the project: `cargo xtask test` is what CI runs, the other subcommands are its
//! parts and the longer jobs (fuzzing, measuring) that do not belong in every run.
#![forbid(unsafe_code)]

mod bench;
mod command;
mod conformance;
mod crash;
mod differential;
mod fuzz;
mod peers;
mod planted;
mod release;
mod setup;
mod siege;
mod sim;
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
    /// Which tests prove which normative statement; or how other brokers do
    Conformance(conformance::Arguments),
    /// Plant faults in the broker, each of which the simulator must find
    Planted(planted::Arguments),
    /// Run the whole system in simulation, seed by seed
    Sim(sim::Arguments),
    /// End the real broker under load, cut its power, and compare with what was acknowledged
    Crash(crash::Arguments),
    /// Let hostile clients loose on the real broker, and tell what a quiet pair beside them notices
    Siege(siege::Arguments),
    /// Run the fuzz targets in turn, or shrink their corpora
    Fuzz(fuzz::Arguments),
    /// Install other brokers below the build directory, or run one
    Peers(peers::Arguments),
    /// Send the same random scripts to our broker and another, and compare
    Differential(differential::Arguments),
    /// Build in release mode and measure
    Bench(bench::Arguments),
    /// Build the executable for users, optimised by a profile of its own loads
    Release,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let workspace = Workspace::find();
    let outcome = match &arguments.task {
        Task::Test(arguments) => test::run(&workspace, arguments),
        Task::Tidy => tidy::run(&workspace),
        Task::Conformance(arguments) => conformance::run(&workspace, arguments),
        Task::Planted(arguments) => planted::run(&workspace, arguments),
        Task::Sim(arguments) => sim::run(&workspace, arguments),
        Task::Crash(arguments) => crash::run(&workspace, arguments),
        Task::Siege(arguments) => siege::run(&workspace, arguments),
        Task::Fuzz(arguments) => fuzz::run(&workspace, arguments),
        Task::Peers(arguments) => peers::run(&workspace, arguments),
        Task::Differential(arguments) => differential::run(&workspace, arguments),
        Task::Bench(arguments) => bench::run(&workspace, arguments),
        Task::Release => release::run(&workspace),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
