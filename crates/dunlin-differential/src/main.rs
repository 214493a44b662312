//! Differential fuzzing: the same random scripts, of several clients at once, for our broker and
//! for another one, and every difference sorted into known ones and findings.
#![forbid(unsafe_code)]

mod compare;
mod draft;
mod fault;
mod generate;
mod known;
mod report;
mod script;
mod seen;
mod side;

use crate::compare::Stage;
use crate::report::Report;
use crate::side::Side;
use anyhow::Result;
use clap::Parser;
use dunlin_codec::ProtocolVersion;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Compare two running brokers.
#[derive(Parser)]
#[command(disable_version_flag = true)]
struct Arguments {
    /// Where our broker listens
    #[arg(long)]
    ours: SocketAddr,
    /// Where the other one listens
    #[arg(long)]
    theirs: SocketAddr,
    /// The first script's seed; each further one has the next number
    #[arg(long)]
    seed: u64,
    /// Begin no script after this time
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Play at most so many scripts; 1 replays a seed and prints it whole
    #[arg(long)]
    scripts: Option<u64>,
    /// How many threads our broker has
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// The versions that clients speak
    #[arg(long, value_parser = version, default_values = ["3.1", "3.1.1", "5"])]
    version: Vec<ProtocolVersion>,
}

fn version(text: &str) -> Result<ProtocolVersion, String> {
    match text {
        "3.1" => Ok(ProtocolVersion::V3_1),
        "3.1.1" => Ok(ProtocolVersion::V3_1_1),
        "5" | "5.0" => Ok(ProtocolVersion::V5),
        _ => Err("there are 3.1, 3.1.1 and 5".to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether all differences are known.
fn run(arguments: &Arguments) -> Result<bool> {
    let newest = arguments.version.iter().max_by_key(|version| version.level());
    let version = newest.copied().unwrap_or(ProtocolVersion::V5);
    let mut stage = Stage {
        ours: Side::new(arguments.ours, version, arguments.workers)?,
        theirs: Side::new(arguments.theirs, version, 1)?,
        runs: 0,
    };
    let began = Instant::now();
    let mut report = Report::default();
    let last = arguments.scripts.map_or(u64::MAX, |count| arguments.seed.saturating_add(count));
    for seed in arguments.seed..last {
        if began.elapsed() > Duration::from_secs(arguments.seconds) {
            break;
        }
        let script = generate::script(seed, &arguments.version);
        let played = stage.play(&script);
        let outcome = match played {
            Ok(outcome) => outcome,
            Err(error) => {
                report.print_script(&script);
                return Err(error.context(format!("in the script of seed {seed}")));
            }
        };
        report.count(&outcome);
        if arguments.scripts == Some(1) {
            report.print_history(&script, &outcome.history);
        }
        let Some(finding) = outcome.finding else { continue };
        if report.is_new(&finding) {
            let shortened = stage.shorten(&script, &finding)?;
            let outcome = stage.play(&shortened)?;
            report.print_finding(&finding, &shortened, &outcome.history);
        }
    }
    report.print_summary(began.elapsed());
    Ok(report.is_clean())
}
