//! Sets Dunlin beside other brokers and a raw relay, row by row, and writes the tables.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use dunlin_benches::broker::Program;
use dunlin_benches::compare::{self, Case, Results, Scale};
use dunlin_benches::process;

/// Measure Dunlin beside other brokers and a raw relay, each started fresh for every run, in turn.
#[derive(Debug, Parser)]
struct Options {
    /// A Dunlin executable, as PATH or NAME=PATH; repeat to compare builds.
    #[arg(long, value_name = "[NAME=]PATH", required = true)]
    dunlin: Vec<String>,
    /// The Mosquitto executable.
    #[arg(long, value_name = "PATH")]
    mosquitto: Option<PathBuf>,
    /// The rumqttd executable.
    #[arg(long, value_name = "PATH")]
    rumqttd: Option<PathBuf>,
    /// The NATS server's executable.
    #[arg(long, value_name = "PATH")]
    nats: Option<PathBuf>,
    /// Brokers beside Dunlin: mosquitto, rumqttd, nats, relay [default: all that are there].
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    brokers: Vec<String>,
    /// Rows whose names begin like one of these; `--list` shows them.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    rows: Vec<String>,
    /// Show the names of the rows, and end.
    #[arg(long)]
    list: bool,
    /// Runs of each broker in each row; the tables show medians [default: 5, or 1 with --quick].
    #[arg(long)]
    rounds: Option<usize>,
    /// Short runs that show whether everything works; their figures are worth little.
    #[arg(long)]
    quick: bool,
    /// Let the system choose the cores, instead of one for the broker and another for the load.
    #[arg(long)]
    free: bool,
    /// Core of the broker.
    #[arg(long, default_value_t = 0)]
    broker_core: usize,
    /// Core of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Where data folders are made: on the disk that is to be measured [default: the system's].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// The day that the tables name [default: today].
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// Where the tables go.
    #[arg(long, value_name = "FILE", default_value = "benches/results/compare.md")]
    output: PathBuf,
    /// The command that the tables name.
    #[arg(long, hide = true, default_value = "compare")]
    command: String,
}

/// What one has to know to read the tables.
const EXPLANATION: &str = "\
[The page on benchmarks](../README.md) explains the rows, how each broker is configured, and what a
run proves. Ratios are medians of those within each round. Compare within these tables only: the
figures under `reach` were set on another machine.
";

fn main() -> Result<()> {
    let options = Options::parse();
    let cases = cases(&options.rows)?;
    if options.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return Ok(());
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { 5 });
    ensure!(rounds > 0, "at least one round");
    let programs = programs(&options)?;
    let versions = versions(&programs)?;
    let (date, machine) = (date(&options)?, machine()?);
    let folder = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    let mut scale = if options.quick { Scale::QUICK } else { Scale::FULL };
    // The broker inherits the limit.
    process::raise_file_limit(scale.idle as usize + 500)?;
    if !options.free {
        scale.broker_core = Some(options.broker_core);
        process::pin_self(options.load_core)?;
    }
    let mut results = Results::new(&programs, cases);
    for round in 1..=rounds {
        results.add_round(&scale, &folder, |case, program, figures| {
            let told = match figures {
                Ok(figures) => format!("{figures:.3?}"),
                // The log of our own broker is worth its lines.
                Err(error) if matches!(program, Program::Dunlin { .. }) => format!("{error:#}"),
                Err(error) => compare::reason(error),
            };
            eprintln!("round {round}/{rounds}: {}: {}: {told}", case.name, program.name());
        })?;
        // After each round, since a long measurement may be cut short.
        let circumstances = circumstances(&options, round);
        let text = format!(
            "# Dunlin beside other brokers\n\n{date}, {machine}, {circumstances}. Made by\n\n\
             ```sh\n{}\n```\n\n{versions}\n{EXPLANATION}\n{}",
            options.command,
            compare::render(&results)
        );
        fs::write(&options.output, text)
            .with_context(|| format!("cannot write {}", options.output.display()))?;
    }
    print!("{}", compare::render(&results));
    eprintln!("written to {}", options.output.display());
    let failures = results.failures_of_ours();
    ensure!(failures.is_empty(), "runs of Dunlin have failed: {}", failures.join(", "));
    Ok(())
}

/// The rows that were asked for.
fn cases(rows: &[String]) -> Result<Vec<Case>> {
    let all = compare::all();
    let unknown = rows.iter().find(|row| !all.iter().any(|case| case.name.starts_with(*row)));
    if let Some(row) = unknown {
        bail!("no row begins with `{row}`; `--list` shows all");
    }
    let is_wanted =
        |case: &Case| rows.is_empty() || rows.iter().any(|row| case.name.starts_with(row));
    Ok(all.into_iter().filter(is_wanted).collect())
}

/// Dunlin first, since the ratios are its own.
fn programs(options: &Options) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for dunlin in &options.dunlin {
        let named = if dunlin.contains('=') { dunlin.clone() } else { format!("Dunlin={dunlin}") };
        programs.push(named.parse()?);
    }
    let mut brokers = options.brokers.clone();
    let peers =
        [("mosquitto", &options.mosquitto), ("rumqttd", &options.rumqttd), ("nats", &options.nats)];
    if brokers.is_empty() {
        let there = peers.iter().filter(|(_, path)| path.is_some()).map(|(name, _)| *name);
        brokers = ["relay"].into_iter().chain(there).map(ToOwned::to_owned).collect();
    }
    for broker in &brokers {
        let path = peers.iter().find(|(name, _)| name == broker).map(|(_, path)| path);
        programs.push(match path {
            None if broker == "relay" => Program::relay()?,
            None if broker == "dunlin" => continue,
            None => bail!("no broker `{broker}`: mosquitto, rumqttd, nats or relay"),
            Some(None) => bail!("`--{broker} PATH` is missing"),
            Some(Some(path)) => format!("{broker}={}", path.display()).parse()?,
        });
    }
    Ok(programs)
}

/// What the brokers call their versions, one in a line.
fn versions(programs: &[Program]) -> Result<String> {
    let mut text = String::new();
    for program in programs {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "- {}: {}", program.name(), program.version()?);
    }
    Ok(text)
}

fn date(options: &Options) -> Result<String> {
    if let Some(date) = &options.date {
        return Ok(date.clone());
    }
    let output = Command::new("date").arg("+%F").output();
    let output = output.context("cannot run `date`; give one with --date")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// How it was measured, as far as it was done.
fn circumstances(options: &Options, rounds: usize) -> String {
    let cores = match options.free {
        true => "nothing pinned".to_owned(),
        false => {
            format!("broker on core {}, load on core {}", options.broker_core, options.load_core)
        }
    };
    let plural = if rounds == 1 { "" } else { "s" };
    let quick = match options.quick {
        true => "; **a quick run, which shows that everything works, with figures worth little**",
        false => "",
    };
    format!("loopback, {cores}; medians of {rounds} round{plural}{quick}")
}

/// Cores and kernel.
fn machine() -> Result<String> {
    let cores = thread::available_parallelism()?;
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown", |(_, model)| model.trim());
    let kernel = fs::read_to_string(Path::new("/proc/sys/kernel/osrelease"))?;
    Ok(format!("{cores} cores of {model}, Linux {}", kernel.trim()))
}
