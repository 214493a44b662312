//! What a back end of logins that hangs, drips, lies or leaves costs those who don't need it: the latency
//! of a pair at another listener, beside quiet runs in turn.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use dunlin_benches::back_ends::{Asking, BackEnd, Logins, Mood, Outcomes, Pair, wait_until_well};
use dunlin_benches::process;
use dunlin_benches::statistics::median;

/// Measure what a broken back end of logins costs those who are logged in.
#[derive(Debug, Parser)]
struct Options {
    /// The Dunlin executable.
    #[arg(long, value_name = "PATH")]
    dunlin: PathBuf,
    /// How the back end is, in turn; a quiet run without logins goes before them.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_values = ["well", "hangs", "drips", "lies", "leaves"]
    )]
    moods: Vec<Mood>,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each run lasts.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Messages of the pair in a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Logins in a second, every other one by a token.
    #[arg(long, default_value_t = 200)]
    logins: u32,
}

/// The runs of one kind.
#[derive(Debug, Default)]
struct Row {
    p50: Vec<f64>,
    p99: Vec<f64>,
    max: Vec<f64>,
    p99_to_quiet: Vec<f64>,
    /// The most that the broker had.
    threads: usize,
    outcomes: Outcomes,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0 && options.rate > 0, "at least one round and one message");
    ensure!(options.seconds > 0.0 && options.seconds <= 600.0, "runs of up to 600 seconds");
    let dunlin = options.dunlin.canonicalize();
    let dunlin = dunlin.with_context(|| format!("no executable {}", options.dunlin.display()))?;
    let back_end = BackEnd::start()?;
    let broker = Asking::start(&dunlin, back_end.address())?;
    let mut pair = Pair::connect(broker.quiet_address())?;
    wait_until_well(broker.busy_address())?;
    let length = Duration::from_secs_f64(options.seconds);
    pair.measure(options.rate, length.min(Duration::from_secs(1)))?;
    let kinds: Vec<Option<Mood>> =
        [None].into_iter().chain(options.moods.iter().copied().map(Some)).collect();
    let mut rows: Vec<Row> = kinds.iter().map(|_| Row::default()).collect();
    for round in 1..=options.rounds {
        let mut quiet = f64::NAN;
        for (kind, row) in kinds.iter().zip(&mut rows) {
            back_end.set(kind.unwrap_or(Mood::Well));
            let logins = kind.map(|_| Logins::start(broker.busy_address(), options.logins));
            let latencies = pair.measure(options.rate, length)?;
            row.threads = row.threads.max(process::thread_times(broker.pid())?.len());
            back_end.set(Mood::Well);
            if let Some(logins) = logins {
                row.outcomes.add(logins.end());
            }
            wait_until_well(broker.busy_address())?;
            let micros = |permille| latencies.permille(permille).as_secs_f64() * 1e6;
            if kind.is_none() {
                quiet = micros(990);
            }
            row.p50.push(micros(500));
            row.p99.push(micros(990));
            row.max.push(micros(1_000));
            row.p99_to_quiet.push(micros(990) / quiet);
            eprintln!("round {round}: {}: p99 {:.0} µs", name(*kind), micros(990));
        }
    }
    show(&options, &kinds, &rows);
    Ok(())
}

fn name(kind: Option<Mood>) -> String {
    kind.map_or_else(|| "quiet".to_owned(), |mood| mood.to_string())
}

fn show(options: &Options, kinds: &[Option<Mood>], rows: &[Row]) {
    let Options { rounds, seconds, rate, logins, .. } = options;
    println!(
        "\nA pair at {rate} messages/s beside {logins} logins/s at another listener; medians of \
         {rounds} rounds of {seconds} s\n"
    );
    println!(
        "| back end | p50 µs | p99 µs | max µs | p99 : quiet | logins allowed | refused | missed \
         | threads |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for (kind, row) in kinds.iter().zip(rows) {
        let median = |samples: &[f64]| median(samples).unwrap_or(f64::NAN);
        let Outcomes { allowed, refused, missed } = row.outcomes;
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.2} | {allowed} | {refused} | {missed} | {} |",
            name(*kind),
            median(&row.p50),
            median(&row.p99),
            median(&row.max),
            median(&row.p99_to_quiet),
            row.threads,
        );
    }
}
