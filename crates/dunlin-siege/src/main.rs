//! `dunlin-siege`: hostile clients by the thousand against a real broker, scene by scene, and what a
//! quiet pair of clients beside them notices.
#![forbid(unsafe_code)]

mod broker;
mod counters;
mod mqtt;
mod pair;
mod quic;
mod report;
mod run;
mod scene;
mod swarm;
mod tls;
mod verdict;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use dunlin_bench::process;
use tempfile::TempDir;

use crate::report::Report;
use crate::scene::{SCENES, Scene};

/// Let hostile clients loose on a real broker, and tell what a quiet pair beside them notices: what it
/// lost, how long its messages took, and what the broker needed.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo xtask siege", disable_version_flag = true)]
struct Arguments {
    /// Scenes to play, or `all`, which is also what none means
    #[arg(value_name = "SCENE", value_parser = scene_names())]
    scenes: Vec<String>,
    /// Say what the scenes are, and play none
    #[arg(long)]
    list: bool,
    /// A few hundred clients and two seconds a scene, without the pair alone; for each test run
    #[arg(long)]
    short: bool,
    /// Seconds that a scene lasts
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=20))]
    seconds: u64,
    /// The program of our broker
    #[arg(long, value_name = "FILE")]
    dunlin: PathBuf,
    /// Mosquitto's program, to compare what handshakes cost
    #[arg(long, value_name = "FILE")]
    mosquitto: Option<PathBuf>,
    /// Write the figures to this file as well
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write tables for the documentation to this file as well
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// The word for all scenes.
const ALL: &str = "all";

/// How long a scene of a short run lasts.
const SHORT: Duration = Duration::from_secs(2);

/// Files that the largest scene has open, in this process and in the broker's.
const FILES: u64 = 10_500;

/// What holds for all scenes of a run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) dunlin: PathBuf,
    /// Certificates that were made for this run.
    pub(crate) certificates: TempDir,
    pub(crate) time: Duration,
    pub(crate) is_short: bool,
}

fn scene_names() -> Vec<&'static str> {
    SCENES.iter().map(|scene| scene.name).chain([ALL]).collect()
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

/// Plays what was asked for; gives whether the broker held.
fn perform(arguments: &Arguments) -> Result<bool> {
    if arguments.list {
        for scene in &SCENES {
            println!("{}\n    {}", scene.name, scene.what);
        }
        return Ok(true);
    }
    let limit = process::file_limit();
    ensure!(
        arguments.short || limit >= FILES,
        "{FILES} open files are needed, and `ulimit -Hn` allows {limit}"
    );
    let real = |path: &Path| {
        path.canonicalize().with_context(|| format!("there is no {}", path.display()))
    };
    let options = Options {
        dunlin: real(&arguments.dunlin)?,
        certificates: TempDir::with_prefix("dunlin-siege-certificates-")?,
        time: if arguments.short { SHORT } else { Duration::from_secs(arguments.seconds) },
        is_short: arguments.short,
    };
    broker::make_certificates(&options.dunlin, options.certificates.path())?;
    let chosen: Vec<&Scene> = SCENES.iter().filter(|scene| is_chosen(scene, arguments)).collect();
    if arguments.short {
        println!("in short: a few hundred clients, and {} s a scene", SHORT.as_secs());
    }
    let mut report = Report::default();
    for (nth, scene) in (1..).zip(&chosen) {
        println!("{nth}/{} {}: {}", chosen.len(), scene.name, scene.what);
        if !scene.settings.is_empty() {
            println!("  {:<10} {}", "settings", scene.settings.join(", "));
        }
        let record = run::run(scene, &options)?;
        println!("{}", report::text(&record));
        report.records.push(record);
    }
    if !arguments.short && chosen.iter().any(|scene| scene.name == scene::storm::SCENE.name) {
        println!("handshakes, without the pair");
        let mosquitto = arguments.mosquitto.as_deref();
        report.handshakes =
            scene::storm::compare(&options.dunlin, mosquitto, options.certificates.path())?;
    }
    println!("{}", report.markdown());
    for (file, text) in [(&arguments.json, report.json()), (&arguments.markdown, report.markdown())]
    {
        if let Some(file) = file {
            fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    println!("{}", if report.is_clean() { "the broker held" } else { "THE BROKER DID NOT HOLD" });
    Ok(report.is_clean())
}

/// Whether a scene was asked for.
fn is_chosen(scene: &Scene, arguments: &Arguments) -> bool {
    let names = &arguments.scenes;
    let is_any = names.is_empty() || names.iter().any(|name| name == ALL);
    (is_any || names.iter().any(|name| name == scene.name)) && (scene.is_short || !arguments.short)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(arguments: &[&str]) -> usize {
        let words = ["siege", "--dunlin", "dunlin"].iter().chain(arguments);
        let arguments = Arguments::try_parse_from(words).expect("they are good");
        SCENES.iter().filter(|scene| is_chosen(scene, &arguments)).count()
    }

    #[test]
    fn scenes_are_chosen_by_name() {
        assert_eq!(chosen(&[]), SCENES.len());
        assert_eq!(chosen(&["all"]), SCENES.len());
        assert_eq!(chosen(&["takeover", "slow-loris"]), 2);
        assert!(chosen(&["--short"]) < SCENES.len());
        assert_eq!(chosen(&["--short", "deaf-reader-stored"]), 0);
    }
}
