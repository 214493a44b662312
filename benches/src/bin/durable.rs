//! What it costs to keep messages: acknowledgements at each level of safety, and long queues.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use dunlin_benches::backlog::Backlog;
use dunlin_benches::broker::{Broker, Program, Setup};
use dunlin_benches::bulk::Bulk;
use dunlin_benches::handshake;
use dunlin_benches::load::Load;
use dunlin_benches::process;
use dunlin_benches::statistics::median;
use dunlin_benches::traffic::{Shape, Traffic};
use tempfile::TempDir;

/// Measure what storing costs.
#[derive(Debug, Parser)]
struct Options {
    /// The Dunlin executable.
    #[arg(long, value_name = "PATH")]
    dunlin: PathBuf,
    /// The Mosquitto executable.
    #[arg(long, default_value = "mosquitto")]
    mosquitto: PathBuf,
    /// Where data folders are made: on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Many publishers of QoS 1 to one persistent Session, without a folder and at each level.
    Levels(Levels),
    /// Messages for Sessions that are away, a `kill -9`, a start, and their delivery.
    Backlog(BacklogOptions),
    /// Messages for Sessions that are away and their delivery, beside Mosquitto.
    Offline(Offline),
}

#[derive(Debug, Args)]
struct Levels {
    /// Numbers of publishers.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 500])]
    publishers: Vec<u32>,
    /// Messages that each may have under way.
    #[arg(long, default_value_t = 20)]
    window: u32,
    /// Bytes of each payload.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Runs of each; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each lasts, about.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

#[derive(Debug, Args)]
struct BacklogOptions {
    /// Sessions.
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Messages for each.
    #[arg(long, default_value_t = 100)]
    messages_each: u32,
    /// Bytes of each payload.
    #[arg(long, default_value_t = 560)]
    payload: usize,
    /// What acknowledgements mean.
    #[arg(long, default_value = "fsync")]
    durability: String,
}

#[derive(Debug, Args)]
struct Offline {
    /// Sessions.
    #[arg(long, default_value_t = 50)]
    sessions: u32,
    /// Messages for each.
    #[arg(long, default_value_t = 1_000)]
    messages_each: u32,
    /// Bytes of each payload.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Runs of each; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let path = options.dunlin.canonicalize();
    let path = path.with_context(|| format!("no executable {}", options.dunlin.display()))?;
    let dunlin = Program::Dunlin { name: "Dunlin".to_owned(), path };
    match &options.command {
        Command::Levels(levels) => measure_levels(&dunlin, &options.folder, levels),
        Command::Backlog(backlog) => measure_backlog(&dunlin, &options.folder, backlog),
        Command::Offline(offline) => {
            let mosquitto = Program::Mosquitto(options.mosquitto.clone());
            measure_offline(&dunlin, &mosquitto, &options.folder, offline)
        }
    }
}

/// Nothing is pinned: a broker that writes has a thread for that.
fn setup<'a>(data: &'a Path, level: Option<&'a str>) -> Setup<'a> {
    let data = level.map(|level| (data, level));
    Setup { core: None, shape: Shape::FanIn, data, at_once: false }
}

/// What one run at one level gave.
#[derive(Debug, Default)]
struct Row {
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    micros: Vec<f64>,
    written: Vec<f64>,
}

fn measure_levels(dunlin: &Program, folder: &Path, options: &Levels) -> Result<()> {
    const LEVELS: [Option<&str>; 4] = [None, Some("memory"), Some("written"), Some("fsync")];
    for &publishers in &options.publishers {
        let mut rows: [Row; LEVELS.len()] = Default::default();
        for round in 1..=options.rounds {
            for (level, row) in LEVELS.into_iter().zip(&mut rows) {
                measure_level(dunlin, folder, options, publishers, level, row)
                    .with_context(|| format!("{level:?} with {publishers} publishers"))?;
                let name = level.unwrap_or("no folder");
                let rate = row.rate.last().copied().unwrap_or_default();
                eprintln!("round {round}: {publishers} publishers, {name}: {rate:.0}/s");
            }
        }
        println!("\n{publishers} publishers, QoS 1, {} B, to one Session\n", options.payload);
        println!(
            "| level | messages/s | : memory | PUBACK p50 ms | p99 ms | CPU µs | bytes written per payload byte |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|");
        let of_memory = rows[1].rate.clone();
        for (level, row) in LEVELS.into_iter().zip(&rows) {
            let ratios: Vec<_> = row.rate.iter().zip(&of_memory).map(|(a, b)| a / b).collect();
            let median = |samples: &[f64]| median(samples).unwrap_or(f64::NAN);
            println!(
                "| {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                level.unwrap_or("no folder"),
                median(&row.rate),
                median(&ratios),
                median(&row.p50),
                median(&row.p99),
                median(&row.micros),
                median(&row.written),
            );
        }
    }
    Ok(())
}

fn measure_level(
    dunlin: &Program,
    folder: &Path,
    options: &Levels,
    publishers: u32,
    level: Option<&str>,
    row: &mut Row,
) -> Result<()> {
    let data = TempDir::with_prefix_in("durable-", folder)?;
    let broker = dunlin.start(setup(data.path(), level))?;
    let traffic = Traffic {
        clients: publishers,
        payload_len: options.payload,
        qos: 1,
        window: options.window,
        persistent: true,
        ..Traffic::new(Shape::FanIn)
    };
    let mut load = Load::connect(broker.address(), traffic)?;
    load.run(traffic.messages_each(10_000))?;
    let clock = Instant::now();
    let warm_up = load.run(traffic.messages_each(20_000))? as f64;
    let rate = warm_up / clock.elapsed().as_secs_f64();
    load.take_acknowledged_after();
    let (cpu, written) = (process::cpu_time(broker.pid())?, process::written_bytes(broker.pid())?);
    let clock = Instant::now();
    let delivered = load.run(traffic.messages_each((rate * options.seconds) as u64))?;
    let elapsed = clock.elapsed();
    let cpu = process::cpu_time(broker.pid())?.saturating_sub(cpu);
    let written = process::written_bytes(broker.pid())? - written;
    let after = load.take_acknowledged_after();
    load.finish()?;
    row.rate.push(delivered as f64 / elapsed.as_secs_f64());
    row.p50.push(after.permille(500).as_secs_f64() * 1e3);
    row.p99.push(after.permille(990).as_secs_f64() * 1e3);
    row.micros.push(cpu.as_secs_f64() * 1e6 / delivered as f64);
    row.written.push(written as f64 / (delivered as f64 * options.payload as f64));
    Ok(())
}

fn measure_backlog(dunlin: &Program, folder: &Path, options: &BacklogOptions) -> Result<()> {
    process::raise_file_limit(8_000)?;
    let backlog = Backlog {
        sessions: options.sessions,
        messages_each: options.messages_each,
        payload_len: options.payload,
        bulk: Bulk { publishers: 50, window: 100 },
    };
    let data = TempDir::with_prefix_in("durable-", folder)?;
    let level = Some(options.durability.as_str());
    let broker = dunlin.start(setup(data.path(), level))?;
    show_memory("resident at the start", &broker)?;
    backlog.subscribe(broker.address()).with_context(|| broker.log_tail())?;
    show_memory("resident with the Sessions", &broker)?;
    let cpu = process::cpu_time(broker.pid())?;
    let elapsed = backlog.publish(broker.address()).with_context(|| broker.log_tail())?;
    let cpu = process::cpu_time(broker.pid())?.saturating_sub(cpu);
    show("messages stored", format!("{} in {elapsed:.2?}", backlog.messages()));
    show("messages stored per second", format!("{:.0}", per_second(&backlog, elapsed)));
    show("CPU for each", format!("{:.2} µs", micros(&backlog, cpu)));
    show_memory("resident with the messages", &broker)?;
    show_disk("disk with the messages", data.path(), &backlog)?;
    drop(broker);
    let clock = Instant::now();
    let broker = dunlin.start(setup(data.path(), level))?;
    // It listens before it has read its state, and answers once it has.
    handshake::connect(broker.address(), 0, "first").with_context(|| broker.log_tail())?;
    show("first CONNACK after kill -9", format!("{:.2?}", clock.elapsed()));
    show_memory("resident after the start", &broker)?;
    show_disk("disk after the start", data.path(), &backlog)?;
    let cpu = process::cpu_time(broker.pid())?;
    let elapsed = backlog.resume(broker.address()).with_context(|| broker.log_tail())?;
    let cpu = process::cpu_time(broker.pid())?.saturating_sub(cpu);
    show("messages resumed per second", format!("{:.0}", per_second(&backlog, elapsed)));
    show("CPU for each", format!("{:.2} µs", micros(&backlog, cpu)));
    show_memory("resident after the delivery", &broker)?;
    show_disk("disk after the delivery", data.path(), &backlog)?;
    let settled = settle(data.path())?;
    show("disk once it is at rest", format!("{:.1} MB", settled as f64 / 1e6));
    Ok(())
}

/// Waits until a folder has shrunk as far as it does, for a minute at most.
fn settle(folder: &Path) -> Result<u64> {
    let mut least = process::disk_bytes(folder)?;
    let mut since = Instant::now();
    let end = since + Duration::from_secs(60);
    while Instant::now() < end && since.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(500));
        let now = process::disk_bytes(folder)?;
        if now < least {
            (least, since) = (now, Instant::now());
        }
    }
    Ok(least)
}

fn measure_offline(
    dunlin: &Program,
    mosquitto: &Program,
    folder: &Path,
    options: &Offline,
) -> Result<()> {
    let backlog = Backlog {
        sessions: options.sessions,
        messages_each: options.messages_each,
        payload_len: options.payload,
        bulk: Bulk { publishers: options.sessions.min(10), window: 100 },
    };
    let runs = [
        (mosquitto, None, "Mosquitto, in memory"),
        (mosquitto, Some("autosave"), "Mosquitto, saving each second"),
        (dunlin, None, "Dunlin, no folder"),
        (dunlin, Some("memory"), "Dunlin, memory"),
        (dunlin, Some("written"), "Dunlin, written"),
        (dunlin, Some("fsync"), "Dunlin, fsync"),
    ];
    let mut rows: Vec<[Vec<f64>; 4]> = runs.iter().map(|_| Default::default()).collect();
    for round in 1..=options.rounds {
        for ((program, level, name), row) in runs.iter().zip(&mut rows) {
            let data = TempDir::with_prefix_in("durable-", folder)?;
            let broker = program.start(setup(data.path(), *level))?;
            let run = || -> Result<[f64; 4]> {
                backlog.subscribe(broker.address())?;
                let cpu = || process::cpu_time(broker.pid());
                let before = cpu()?;
                let stored = backlog.publish(broker.address())?;
                let between = cpu()?;
                let resumed = backlog.resume(broker.address())?;
                Ok([
                    micros(&backlog, between.saturating_sub(before)),
                    micros(&backlog, cpu()?.saturating_sub(between)),
                    per_second(&backlog, stored),
                    per_second(&backlog, resumed),
                ])
            };
            let figures = run().with_context(|| format!("{name}: {}", broker.log_tail()))?;
            eprintln!("round {round}: {name}: {figures:.2?}");
            for (samples, figure) in row.iter_mut().zip(figures) {
                samples.push(figure);
            }
        }
    }
    println!(
        "\n{} messages of {} B for {} Sessions, QoS 1\n",
        backlog.messages(),
        options.payload,
        options.sessions
    );
    println!("| broker | store, CPU µs | deliver, CPU µs | stored/s | delivered/s |");
    println!("|---|--:|--:|--:|--:|");
    for ((_, _, name), row) in runs.iter().zip(&rows) {
        let [store, deliver, stored, delivered] =
            row.each_ref().map(|samples| median(samples).unwrap_or(f64::NAN));
        println!("| {name} | {store:.2} | {deliver:.2} | {stored:.0} | {delivered:.0} |");
    }
    if rows.is_empty() {
        bail!("no rounds");
    }
    Ok(())
}

fn micros(backlog: &Backlog, cpu: Duration) -> f64 {
    cpu.as_secs_f64() * 1e6 / backlog.messages() as f64
}

fn per_second(backlog: &Backlog, elapsed: Duration) -> f64 {
    backlog.messages() as f64 / elapsed.as_secs_f64()
}

fn show(name: &str, value: impl std::fmt::Display) {
    println!("{name:<32} {value}");
}

/// Shows the memory of a broker once, and what is left of it when the allocator has given back what
/// it keeps for a while.
fn show_memory(name: &str, broker: &Broker) -> Result<()> {
    let at_once = process::Memory::of(broker.pid())?;
    let mut memory = at_once;
    let mut since = Instant::now();
    while since.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(100));
        let now = process::Memory::of(broker.pid())?;
        if now.rollup_rss < memory.rollup_rss {
            (memory, since) = (now, Instant::now());
        }
    }
    let at_once = at_once.rollup_rss as f64 / 1e6;
    let [resident, anonymous] =
        [memory.rollup_rss, memory.rollup_anonymous].map(|bytes| bytes as f64 / 1e6);
    let figures = format!("{resident:.1} MB, {anonymous:.1} MB of it anonymous");
    show(name, format!("{figures}; {at_once:.1} MB at first"));
    Ok(())
}

fn show_disk(name: &str, folder: &Path, backlog: &Backlog) -> Result<()> {
    let bytes = process::disk_bytes(folder)? as f64;
    let ratio = bytes / backlog.payload_bytes() as f64;
    show(name, format!("{:.1} MB, {ratio:.2} for each payload byte", bytes / 1e6));
    Ok(())
}
