//! What is printed of a run: its options, its trace, and how it failed.

use crate::Arguments;
use crate::seeds::Results;
use dunlin_sim::plan::Plan;
use dunlin_sim::{minimize, run};
use std::process::ExitCode;

/// Lines of a trace that are shown of a failure.
const LINES: usize = 60;

/// Runs a plan again, and prints what it was and what became of it.
pub(crate) fn print(arguments: &Arguments, plan: &Plan) {
    let shortened = if arguments.minimize { minimize(plan) } else { None };
    let shown = shortened.as_ref().unwrap_or(plan);
    let outcome = run(shown, true);
    println!("\nseed {}", plan.seed);
    if arguments.options || shortened.is_some() {
        println!("{:#?}", shown.options);
    }
    if shortened.is_some() {
        println!("what is left of the plan:");
        shown.actions.iter().for_each(|planned| println!("  {planned}"));
    }
    let trace = outcome.trace.unwrap_or_default();
    let Some(failure) = outcome.failure else {
        trace.lines().for_each(|line| println!("{line}"));
        return;
    };
    let count = if arguments.trace { usize::MAX } else { LINES };
    let devices = if arguments.trace { &[][..] } else { &failure.devices };
    let lines = trace.last_about(devices, count);
    let names: Vec<String> = devices.iter().map(|device| format!("d{device}")).collect();
    match names.is_empty() {
        true => println!("the last {} lines:", lines.len()),
        false => println!("the last {} lines about {}:", lines.len(), names.join(", ")),
    }
    lines.iter().for_each(|line| println!("{line}"));
    println!("\nat {} {}", failure.at, failure.kind);
    println!("{}", failure.what);
    let (seed, steps) = (plan.seed, arguments.steps);
    println!("to see it again:  cargo xtask sim --seed {seed} --steps {steps}");
    if shortened.is_none() {
        println!("to make it short: cargo xtask sim --seed {seed} --steps {steps} --minimize");
    }
}

/// Prints whether a breach was found, at which seed and of what.
pub(crate) fn print_found(results: &Results) -> ExitCode {
    match results.kinds.first_key_value() {
        Some((kind, (_, seed))) => {
            println!("found: seed {seed} {kind}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// Prints what all runs came to.
pub(crate) fn print_sum(results: &Results) {
    for (kind, (count, seed)) in &results.kinds {
        println!("{count} seeds failed, the first of them {seed}: {kind}");
    }
    let secs = results.elapsed.as_secs_f64();
    println!(
        "{} seeds, {} operations in {secs:.1} s: {:.0} a second on {} threads",
        results.seeds,
        results.operations,
        results.operations as f64 / secs,
        results.jobs
    );
}
