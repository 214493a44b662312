//! `cargo xtask test`: the steps that CI runs, each with its name and time, and a summary at the
//! end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::bench;
use crate::command::{cargo, run as run_command};
use crate::crash;
use crate::planted;
use crate::setup;
use crate::siege;
use crate::sim;
use crate::statements;
use crate::tidy;
use crate::workspace::Workspace;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave out what is slow and seldom fails: clippy and the documentation
    #[arg(long)]
    quick: bool,
    /// Run only this step; repeat for more
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
}

/// The steps, in the order in which they run: what fails fastest comes first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Install what the tests need and print the versions of all that takes part
    SetUp,
    /// `cargo fmt`
    Format,
    /// The house rules
    Tidy,
    /// Every normative statement of the standard has a test that names it
    Statements,
    /// The lower crates without the standard library
    NoStd,
    /// Each feature of each crate alone
    Features,
    /// Lints, with warnings as errors
    Clippy,
    /// Unit, integration and interoperability tests, and the replay of the fuzz corpora
    Tests,
    /// The whole system in simulation, with fixed and with fresh seeds
    Sim,
    /// Faults planted in the broker, which the simulation must find
    Planted,
    /// The real broker killed, and its power cut, under load
    Crash,
    /// Hostile clients beside a quiet pair, for a short time
    Siege,
    /// The hot paths execute no more instructions than is committed
    Instructions,
    /// The examples in the documentation
    DocTests,
    /// The documentation builds without a warning
    Docs,
}

/// The crates that must build without the standard library.
const NO_STD_CRATES: [&str; 3] = ["dunlin-codec", "dunlin-topics", "dunlin-protocol"];

/// Runs the chosen steps up to the first failure.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let mut done = Vec::new();
    let mut outcome = Ok(());
    for &step in Step::value_variants() {
        if !chosen(step, arguments) {
            continue;
        }
        println!("==> {}", name(step));
        let started = Instant::now();
        let result = perform(step, workspace).with_context(|| format!("step `{}`", name(step)));
        done.push((step, started.elapsed(), result.is_ok()));
        if result.is_err() {
            outcome = result;
            break;
        }
    }
    summarize(&done);
    outcome
}

fn chosen(step: Step, arguments: &Arguments) -> bool {
    if !arguments.only.is_empty() {
        return arguments.only.contains(&step);
    }
    !(arguments.quick && matches!(step, Step::Clippy | Step::Docs))
}

fn perform(step: Step, workspace: &Workspace) -> Result<()> {
    let cargo = |words: &[&str]| run_command(&mut cargo(workspace, words));
    match step {
        Step::SetUp => setup::run(workspace),
        Step::Format => cargo(&["fmt", "--all", "--check"]),
        Step::Tidy => tidy::run(workspace),
        Step::Statements => statements::run(workspace),
        Step::NoStd => {
            let mut words = vec!["build"];
            for name in NO_STD_CRATES {
                words.extend(["-p", name]);
            }
            words.push("--no-default-features");
            cargo(&words)
        }
        Step::Features => check_features(workspace),
        Step::Clippy => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Step::Tests => cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--examples"]),
        Step::Sim => sim::test(workspace),
        Step::Planted => planted::test(workspace),
        Step::Crash => crash::test(workspace),
        Step::Siege => siege::test(workspace),
        Step::Instructions => bench::test_instructions(workspace),
        Step::DocTests => cargo(&["test", "--workspace", "--doc"]),
        Step::Docs => {
            let mut command = crate::command::cargo(workspace, &["doc", "--workspace"]);
            run_command(command.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))
        }
    }
}

/// A feature may add, never change: so each must build without its neighbours, and so must its tests.
fn check_features(workspace: &Workspace) -> Result<()> {
    for package in workspace.crates()? {
        let name = package.name();
        let features = package.features();
        if !features.is_empty() {
            check_alone(workspace, &name, None)?;
        }
        for feature in &features {
            check_alone(workspace, &name, Some(feature))?;
        }
    }
    Ok(())
}

/// Checks a crate with one feature or none. First without its tests, whose dependencies may bring what
/// the crate itself lacks.
fn check_alone(workspace: &Workspace, name: &str, feature: Option<&str>) -> Result<()> {
    for targets in [None, Some("--tests")] {
        let mut command = cargo(workspace, &["check", "-p", name, "--no-default-features"]);
        if let Some(feature) = feature {
            command.args(["--features", feature]);
        }
        run_command(command.args(targets))?;
    }
    Ok(())
}

fn summarize(done: &[(Step, Duration, bool)]) {
    println!("\nsummary");
    for (step, time, passed) in done {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("  {:<12} {:>7.1} s  {verdict}", name(*step), time.as_secs_f64());
    }
    let total: Duration = done.iter().map(|(_, time, _)| *time).sum();
    println!("  {:<12} {:>7.1} s", "total", total.as_secs_f64());
}

fn name(step: Step) -> String {
    step.to_possible_value().expect("no step is hidden").get_name().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(quick: bool, only: &[Step]) -> Vec<String> {
        let arguments = Arguments { quick, only: only.to_vec() };
        let all = Step::value_variants().iter().copied();
        all.filter(|step| chosen(*step, &arguments)).map(name).collect()
    }

    #[test]
    fn everything_runs_unless_told_otherwise() {
        assert_eq!(steps(false, &[]).len(), Step::value_variants().len());
    }

    #[test]
    fn quick_leaves_out_lints_and_documentation() {
        let steps = steps(true, &[]);
        assert!(!steps.contains(&"clippy".to_owned()) && !steps.contains(&"docs".to_owned()));
        assert!(steps.contains(&"tests".to_owned()) && steps.contains(&"tidy".to_owned()));
    }

    #[test]
    fn only_runs_what_it_names_even_when_quick() {
        assert_eq!(steps(true, &[Step::Docs, Step::Format]), ["format", "docs"]);
    }
}
