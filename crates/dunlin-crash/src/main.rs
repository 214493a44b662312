//! `dunlin-crash`: kills a real broker under load, cuts its power, and compares what comes after
//! with what was acknowledged before.
#![forbid(unsafe_code)]

mod broker;
mod clients;
mod disk;
mod ledger;
mod power_cut;
mod report;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use crate::broker::{Durability, Kind, Launch};
use crate::disk::Trouble;
use crate::report::Report;

/// Kill a real broker at random moments under load from many real clients, start it again, and
/// compare with what was acknowledged: lost, doubled, out of order, forgotten.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask crash", disable_version_flag = true)]
pub(crate) struct Arguments {
    /// Begin no cycle after so many minutes
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Stop after so many cycles
    #[arg(long)]
    cycles: Option<u64>,
    /// The seed of all that is drawn; from the time when absent
    #[arg(long)]
    seed: Option<u64>,
    /// How the broker ends: the process is killed, or the power is cut, or the one or the other
    #[arg(long, value_enum, default_value = "both")]
    fault: Fault,
    /// What the broker's acknowledgements are to mean
    #[arg(long, value_enum, default_value = "fsync")]
    durability: Durability,
    /// How many threads our broker has
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// How many clients publish
    #[arg(long, default_value_t = 16)]
    publishers: usize,
    /// Whose broker
    #[arg(long, value_enum, default_value = "dunlin")]
    broker: Kind,
    /// Show instead what becomes of a disk that is full, hangs, fails or is read-only; repeat for
    /// more
    #[arg(long, value_enum, value_name = "TROUBLE")]
    disk: Vec<Trouble>,
    /// Let the data lie in this folder, on a small file system that can be filled
    #[arg(long, value_name = "DIR")]
    on: Option<PathBuf>,
    /// The program of our broker
    #[arg(long, value_name = "FILE")]
    dunlin: PathBuf,
    /// The program of the other broker
    #[arg(long, value_name = "FILE", default_value = "/usr/sbin/mosquitto")]
    mosquitto: PathBuf,
    /// The library that knows what a power cut leaves (dunlin-bad-disk)
    #[arg(long, value_name = "FILE")]
    bad_disk: PathBuf,
    /// Keep the data folder though nothing was found
    #[arg(long)]
    keep: bool,
    /// Go on after a finding, and count
    #[arg(long)]
    keep_going: bool,
    /// Let findings fail the run also where no promise covers the fault
    #[arg(long)]
    strict: bool,
    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How the broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// `kill -9`
    Kill,
    /// `kill -9`, and of the files only what a completed sync covers and half of the other pages
    Power,
    /// The one or the other
    Both,
}

impl Arguments {
    /// Whether the broker promises that nothing is lost by this.
    fn is_promised(&self) -> bool {
        self.strict
            || match (self.broker, self.durability, self.fault) {
                (Kind::Mosquitto, ..) | (_, Durability::Memory, _) => false,
                (_, Durability::Written, fault) => fault == Fault::Kill,
                (_, Durability::Fsync, _) => true,
            }
    }

    /// The program of the broker that is tried.
    pub(crate) fn program(&self) -> &Path {
        match self.broker {
            Kind::Dunlin => &self.dunlin,
            Kind::Mosquitto => &self.mosquitto,
        }
    }

    fn launch(&self, folder: &Path) -> Result<Launch> {
        let real = |path: &Path| {
            path.canonicalize().with_context(|| format!("there is no {}", path.display()))
        };
        // Where only processes are killed the files are the disk's own.
        let needs_library = self.fault != Fault::Kill || !self.disk.is_empty();
        Ok(Launch {
            kind: self.broker,
            program: real(self.program())?,
            durability: self.durability,
            workers: self.workers,
            bad_disk: if needs_library { Some(real(&self.bad_disk)?) } else { None },
            on: self.on.as_deref().map(real).transpose()?,
            folder: real(folder)?,
        })
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match perform(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs; gives whether all that was promised was kept.
fn perform(arguments: &Arguments) -> Result<bool> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seed = arguments.seed.unwrap_or(now.as_millis() as u64);
    let folder = std::env::temp_dir().join(format!("dunlin-crash-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("making a runtime")?;
    if !arguments.disk.is_empty() {
        let is_well = runtime.block_on(disk::run(arguments, seed, &folder));
        runtime.shutdown_background();
        leave(arguments, &folder, matches!(is_well, Ok(true)));
        return is_well;
    }
    let outcome = runtime.block_on(run::run(arguments, seed, &folder));
    // Clients that still seek the broker are of no interest any more.
    runtime.shutdown_background();
    leave(arguments, &folder, outcome.as_ref().is_ok_and(Report::is_clean));
    let report = outcome?;
    print!("{}", report.text());
    if let Some(file) = &arguments.json {
        std::fs::write(file, report.json())
            .with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(report.is_clean() || !arguments.is_promised())
}

/// Keeps the folder if something was found, or is to be kept in any case.
fn leave(arguments: &Arguments, folder: &Path, is_clean: bool) {
    if is_clean && !arguments.keep {
        // What stays behind is a folder of the system's for such.
        let _ = std::fs::remove_dir_all(folder);
    } else {
        println!("data, shadow and log of the broker are in {}", folder.display());
    }
}
