//! Producers that are faster than their consumers, and a broker that may have so much memory: how much
//! it had, what it refused, and whether all that it acknowledged has arrived.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, ValueEnum};
use dunlin_benches::ceiling::{self, Load, Outcome, PAYLOAD_MIN};

/// Put a broker with a ceiling of memory under load. Ends with failure when the ceiling was passed, or
/// when anything acknowledged has not arrived exactly once and in order.
#[derive(Debug, Parser)]
struct Options {
    /// The Dunlin executable.
    #[arg(long, value_name = "PATH")]
    dunlin: PathBuf,
    /// `memory.max` of the broker, in MiB.
    #[arg(long, default_value_t = 256)]
    mebibytes: u64,
    /// Clients that publish.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    producers: u32,
    /// Messages that each has under way.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    window: u16,
    /// Sessions that are owed every message: the first and every other one is away, the others read
    /// slowly.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    consumers: u32,
    /// Messages a second that a slow one takes.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Bytes of each payload, a run for each.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1024, 16_384])]
    payloads: Vec<usize>,
    /// Whether the broker has a data folder, a run for each.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["memory", "data"])]
    runs: Vec<Run>,
    /// Seconds that the producers publish.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Where data folders are made.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    /// A further setting of the broker.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Run {
    /// Without a data folder: all that waits is in memory.
    Memory,
    /// With one.
    Data,
}

const MIB: u64 = 1 << 20;

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.seconds > 0.0 && options.seconds <= 3600.0, "runs of up to an hour");
    ensure!(options.rate > 0.0 && options.rate <= 1e6, "a rate above 0, up to 1,000,000");
    ensure!(
        options.payloads.iter().all(|len| (PAYLOAD_MIN..=128 * 1024).contains(len)),
        "payloads of {PAYLOAD_MIN} to 131,072 bytes"
    );
    let dunlin = options.dunlin.canonicalize();
    let dunlin = dunlin.with_context(|| format!("no executable {}", options.dunlin.display()))?;
    let ceiling = options.mebibytes * MIB;
    let mut complaints = Vec::new();
    println!("{HEAD}");
    for &run in &options.runs {
        for &payload_len in &options.payloads {
            let load = Load {
                ceiling,
                producers: options.producers,
                window: options.window,
                payload_len,
                consumers: options.consumers,
                rate: options.rate,
                length: Duration::from_secs_f64(options.seconds),
                data: (run == Run::Data).then(|| options.folder.clone()),
                settings: options.settings.clone(),
            };
            let name = if run == Run::Data { "data folder" } else { "memory" };
            let complaint = match ceiling::run(&dunlin, &load) {
                Ok(outcome) => {
                    println!("{}", row(name, payload_len, &options, &outcome));
                    outcome.complaint(ceiling)
                }
                Err(error) => {
                    println!("| {name} | {payload_len} | failed |");
                    Some(format!("{error:#}"))
                }
            };
            complaints.extend(complaint.map(|text| format!("{name}, {payload_len} bytes: {text}")));
        }
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    println!("\nthe ceiling held, and everything acknowledged has arrived exactly once");
    Ok(())
}

const HEAD: &str = "| run | payload | peak MiB | of MiB | at rest MiB | acknowledged | refused \
    | delivered | drained in s | slowed | closed | refused, told | ended |\n\
    |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|";

fn row(name: &str, payload_len: usize, options: &Options, outcome: &Outcome) -> String {
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    let told = |what: &str| {
        let name = format!("limits/memory_max_{what}");
        outcome.counters.get(&name).copied().unwrap_or(0)
    };
    let owed = outcome.acknowledged * u64::from(options.consumers);
    format!(
        "| {name} | {payload_len} | {:.1} | {} | {:.1} | {} | {} | {} | {:.1} | {} | {} | {} | {} |",
        mib(outcome.peak),
        options.mebibytes,
        mib(outcome.at_rest),
        outcome.acknowledged,
        outcome.refused,
        owed - outcome.faults.missing,
        outcome.drained_in.as_secs_f64(),
        told("slowed"),
        told("closed"),
        told("refused"),
        told("ended"),
    )
}
