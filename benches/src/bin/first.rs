//! Sets brokers side by side: CPU time per delivered message for fan-in, fan-out and pairs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use dunlin_benches::broker::{Program, Setup};
use dunlin_benches::process;
use dunlin_benches::report::{self, Figures, Length, Scenario};
use dunlin_benches::traffic::{Shape, Traffic};

/// Measure Dunlin beside Mosquitto and a raw relay, each started fresh for every run, in turn.
#[derive(Debug, Parser)]
struct Options {
    /// A Dunlin executable, as PATH or NAME=PATH; repeat to compare builds.
    #[arg(long, value_name = "[NAME=]PATH")]
    dunlin: Vec<String>,
    /// The Mosquitto executable.
    #[arg(long, default_value = "mosquitto")]
    mosquitto: PathBuf,
    /// Leave out the raw relay.
    #[arg(long)]
    no_relay: bool,
    /// Runs of each broker in each scenario; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each run lasts, about.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Scenarios to run.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["fan-in", "fan-out", "pairs"])]
    shapes: Vec<Shape>,
    /// QoS levels to run each with.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1])]
    qos: Vec<u8>,
    /// Payload sizes in bytes to run each with.
    #[arg(long, value_delimiter = ',', default_values_t = [64])]
    payload: Vec<usize>,
    /// Core of the broker.
    #[arg(long, default_value_t = 0)]
    broker_core: usize,
    /// Core of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// Write the table to this file too.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0, "at least one round");
    ensure!(options.seconds > 0.0 && options.seconds <= 600.0, "runs of up to 600 seconds");
    let programs = programs(&options)?;
    let names: Vec<_> = programs.iter().map(Program::name).collect();
    process::pin_self(options.load_core)?;

    let mut scenarios = Vec::new();
    for &payload_len in &options.payload {
        for &qos in &options.qos {
            for &shape in &options.shapes {
                let traffic = Traffic { payload_len, qos, ..Traffic::new(shape) };
                traffic.validate()?;
                scenarios.push(Scenario { traffic, rounds: vec![Vec::new(); programs.len()] });
            }
        }
    }
    let length = Length::Time(Duration::from_secs_f64(options.seconds));
    for round in 1..=options.rounds {
        for scenario in &mut scenarios {
            let traffic = scenario.traffic;
            for (program, figures) in programs.iter().zip(&mut scenario.rounds) {
                let core = Some(options.broker_core);
                let broker = program.start(Setup {
                    core,
                    shape: traffic.shape,
                    data: None,
                    at_once: false,
                })?;
                let run = Figures::measure(&broker, traffic, length);
                let run = run.with_context(|| format!("{} with {traffic:?}", program.name()))?;
                eprintln!(
                    "round {round}: {} QoS {} {} B, {}: {:.3} µs",
                    traffic.shape,
                    traffic.qos,
                    traffic.payload_len,
                    program.name(),
                    run.broker_micros()
                );
                figures.push(run);
            }
        }
    }
    let table = report::render(&names, &scenarios);
    print!("{table}");
    if let Some(path) = &options.markdown {
        fs::write(path, &table).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Mosquitto first, since the table's ratios are to the first.
fn programs(options: &Options) -> Result<Vec<Program>> {
    let mut programs = vec![Program::Mosquitto(options.mosquitto.clone())];
    for dunlin in &options.dunlin {
        let named = if dunlin.contains('=') { dunlin.clone() } else { format!("Dunlin={dunlin}") };
        programs.push(named.parse()?);
    }
    if !options.no_relay {
        programs.push(Program::relay()?);
    }
    Ok(programs)
}
