//! Other brokers to run beside ours, installed below the build directory and started on a free port
//! of this machine alone, with anonymous access.

mod broker;
pub(crate) mod install;
mod ours;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};

pub(crate) use self::broker::{POLL, Peer, install as install_broker};
pub(crate) use self::ours::Ours;
use crate::workspace::Workspace;

/// What to do with other brokers.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Install brokers below the build directory: those that are named, or all
    Install { names: Vec<Name> },
    /// Run one until Ctrl-C, and print where it listens
    Start { name: Name },
}

/// The brokers that can be had from the registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Name {
    /// Debian's; MQTT 3.1, 3.1.1 and 5.0
    Mosquitto,
    /// In Rust, from crates.io; MQTT 3.1.1 and 5.0, each on a port of its own
    Rumqttd,
    /// A NATS server with JetStream, from PyPI; MQTT 3.1.1
    Nats,
    /// For Node.js, from npm; MQTT 3.1 and 3.1.1
    Aedes,
    /// In Python, from PyPI; MQTT 3.1.1
    Amqtt,
}

/// Does what was asked for.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    match &arguments.action {
        Action::Install { names } => {
            let chosen = if names.is_empty() { Name::value_variants() } else { names };
            for name in chosen {
                let program = broker::install(workspace, *name)?;
                println!("{:<10} {}", name.word(), program.version);
            }
            Ok(())
        }
        Action::Start { name } => start(workspace, *name),
    }
}

fn start(workspace: &Workspace, name: Name) -> Result<()> {
    let told = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&told)).context("catching signals")?;
    }
    let mut peer = Peer::start(workspace, name)?;
    println!("{} {}", name.word(), peer.version());
    for (address, speaks) in peer.addresses() {
        println!("listening on mqtt://{address} ({speaks})");
    }
    println!("stop with Ctrl-C");
    while !told.load(Ordering::Relaxed) {
        if let Some(status) = peer.ended()? {
            bail!("{} ended by itself with {status}", name.word());
        }
        thread::sleep(POLL);
    }
    Ok(())
}

impl Name {
    /// As it is typed on the command line.
    pub(crate) fn word(self) -> String {
        self.to_possible_value().expect("no broker is hidden").get_name().to_owned()
    }
}
