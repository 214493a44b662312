//! `dunlin-sim`: runs seeds until one breaks a promise, and shows how it came to it.
#![forbid(unsafe_code)]

mod report;
mod seeds;

use clap::Parser;
use dunlin_sim::plan::Plan;
use std::process::ExitCode;

/// Run the whole system in simulation: brokers, clients, networks and stores with all their faults,
/// and a judge that knows the promises.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask sim", disable_version_flag = true)]
pub(crate) struct Arguments {
    /// The seed of the run, or of the first of several; from the time when absent
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run these seeds, e.g. 0..1000
    #[arg(long, value_name = "A..B", conflicts_with = "seed", value_parser = seeds::parse_range)]
    seeds: Option<std::ops::Range<u64>>,
    /// How many seeds; one when --seed is given, and no end otherwise
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
    /// Actions of each run
    #[arg(long, value_name = "M", default_value_t = 250)]
    steps: u64,
    /// Stop after so many minutes
    #[arg(long)]
    minutes: Option<f64>,
    /// Seeds that run at the same time
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Go on after a failure, and count
    #[arg(long)]
    keep_going: bool,
    /// Say in one line which seed was the first to break a promise, and which promise
    #[arg(long)]
    until_breach: bool,
    /// Shorten the plan of a run that fails, and show it
    #[arg(long)]
    minimize: bool,
    /// Print all that happens
    #[arg(long)]
    trace: bool,
    /// Print the options that are drawn
    #[arg(long)]
    options: bool,
}

fn main() -> ExitCode {
    // A panic of the system is a failure with a report of its own.
    std::panic::set_hook(Box::new(|_| {}));
    let arguments = Arguments::parse();
    if arguments.trace || arguments.options {
        let seed = arguments.seed.unwrap_or_default();
        report::print(&arguments, &Plan::draw(seed, arguments.steps));
        return ExitCode::SUCCESS;
    }
    let results = seeds::run_all(&arguments);
    if arguments.until_breach {
        return report::print_found(&results);
    }
    for failed in &results.failed {
        report::print(&arguments, &Plan::draw(*failed, arguments.steps));
    }
    report::print_sum(&results);
    match results.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
