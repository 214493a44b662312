//! `dunlin-sim`: runs seeds.
#![forbid(unsafe_code)]

use clap::Parser;
use dunlin_sim::plan::Plan;

/// Runs the whole system in simulation, seed by seed.
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long, default_value_t = 1)]
    count: u64,
    #[arg(long, default_value_t = 300)]
    steps: u64,
    #[arg(long)]
    trace: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let mut operations = 0;
    let started = std::time::Instant::now();
    for seed in arguments.seed..arguments.seed + arguments.count {
        let plan = Plan::draw(seed, arguments.steps);
        let outcome = dunlin_sim::run(&plan, arguments.trace);
        operations += outcome.operations;
        if let Some(trace) = &outcome.trace {
            trace.lines().for_each(|line| println!("{line}"));
        }
        if let Some(failure) = outcome.failure {
            println!("seed {seed}: {failure:?}");
        }
    }
    println!("{operations} {:?}", started.elapsed());
}
