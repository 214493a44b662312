//! `cargo xtask differential`: our broker and another one, each on a free port, and random scripts
//! for both.

use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, run as run_command};
use crate::peers::{Name, Ours, Peer};
use crate::workspace::Workspace;

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The first script's seed; each further one has the next number
    #[arg(long)]
    seed: u64,
    /// Begin no script after this time
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Play at most so many scripts; 1 replays a seed and prints all that was seen
    #[arg(long)]
    scripts: Option<u64>,
    /// The other broker
    #[arg(long, value_enum, default_value = "mosquitto")]
    against: Name,
    /// How many threads our broker has
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// A version that clients speak, 3.1, 3.1.1 or 5; repeat for more, none for all
    #[arg(long)]
    version: Vec<String>,
}

/// Starts both brokers and compares them.
///
/// # Errors
/// When a difference is not known, or a broker can't be started or ends.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let build = ["build", "--release", "-p", "dunlin", "-p", "dunlin-differential", "--bins"];
    run_command(&mut cargo(workspace, &build))?;
    let peer = Peer::start(workspace, arguments.against)?;
    println!("{} {}", arguments.against.word(), peer.version());
    let ours = Ours::start(workspace, arguments.workers)?;
    // A broker with a port for each version has that of MQTT 5.0 last.
    let addresses = peer.addresses();
    let wants_v5 = arguments.version.is_empty() || arguments.version.iter().any(|v| v == "5");
    let theirs = if wants_v5 { addresses.last() } else { addresses.first() };
    let (theirs, _) = theirs.context("a broker listens somewhere")?;
    let mut program = Command::new(workspace.target.join("release/dunlin-differential"));
    for (name, value) in [
        ("--ours", ours.address().to_string()),
        ("--theirs", theirs.to_string()),
        ("--seed", arguments.seed.to_string()),
        ("--seconds", arguments.seconds.to_string()),
        ("--workers", arguments.workers.to_string()),
    ] {
        program.args([name, &value]);
    }
    if let Some(count) = arguments.scripts {
        program.args(["--scripts", &count.to_string()]);
    }
    for version in &arguments.version {
        program.args(["--version", version]);
    }
    run_command(&mut program)
}
