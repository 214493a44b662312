//! `cargo xtask bench NAME`: builds the broker and the load in release mode, installs the brokers that
//! it is compared with, and runs a measurement.

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{cargo, run as run_command};
use crate::peers::{Name, install_broker};
use crate::release;
use crate::workspace::Workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Measure the executable that `cargo xtask release` builds, which is made first
    #[arg(long)]
    released: bool,
    /// The program of `benches/` to run: `compare` sets the broker beside others, row by row, `first`
    /// measures fan-in, fan-out and pairs, `durable` what storing costs, `back-ends` what a broken back
    /// end of logins costs others, `ceiling` whether `memory.max` holds; without sockets `micro` runs the
    /// benchmarks of codec, topics, protocol and core, `memory` holds a million sessions, `workers` sets
    /// two workers beside one, and `instructions` counts the hot paths and compares with
    /// `benches/instructions.toml`
    name: String,
    /// Handed on to that program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// The brokers that `compare` knows beside ours.
const PEERS: [Name; 3] = [Name::Mosquitto, Name::Rumqttd, Name::Nats];

/// Builds and runs one measurement with the path of the freshly built broker.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let is_inside =
        ["micro", "instructions", "memory", "workers"].contains(&arguments.name.as_str());
    if arguments.released && is_inside {
        bail!(
            "{} measures the broker's parts, not the executable: leave --released away",
            arguments.name
        );
    }
    match arguments.name.as_str() {
        "micro" => return micro(workspace, &arguments.rest),
        name @ ("instructions" | "memory" | "workers") => {
            return inside(workspace, name, &arguments.rest);
        }
        _ => {}
    }
    let build = ["build", "--release", "-p", "dunlin", "-p", "dunlin-benches", "--bins"];
    run_command(&mut cargo(workspace, &build))?;
    let built = workspace.target.join("release");
    let mut program = Command::new(built.join(&arguments.name));
    let dunlin = match arguments.released {
        true => release::build(workspace)?,
        false => built.join("dunlin"),
    };
    program.arg("--dunlin").arg(dunlin);
    if arguments.name == "compare" {
        for peer in PEERS.into_iter().filter(|peer| is_wanted(*peer, &arguments.rest)) {
            let installed = install_broker(workspace, peer)?;
            program.arg(format!("--{}", peer.word())).arg(installed.program);
        }
        let released = arguments.released.then_some("--released");
        let words = ["cargo", "xtask", "bench"].into_iter().chain(released).chain(["compare"]);
        let words = words.chain(arguments.rest.iter().map(String::as_str));
        program.arg("--command").arg(words.collect::<Vec<_>>().join(" "));
    }
    run_command(program.args(&arguments.rest).current_dir(&workspace.root))
}

/// Counts the instructions of the hot paths, and compares with what is committed.
///
/// # Errors
/// When one takes more of them than before; the message says what to do.
pub(crate) fn test_instructions(workspace: &Workspace) -> Result<()> {
    inside(workspace, "instructions", &[])
}

/// Builds and runs a program that measures the broker's parts within itself.
fn inside(workspace: &Workspace, name: &str, rest: &[String]) -> Result<()> {
    let profile = if name == "instructions" { "counted" } else { "release" };
    let build = ["build", "--profile", profile, "-p", "dunlin-benches", "--bin", name];
    run_command(&mut cargo(workspace, &build))?;
    let mut program = Command::new(workspace.target.join(profile).join(name));
    run_command(program.args(rest).current_dir(&workspace.root))
}

/// Runs the benchmarks of criterion, all or the one that is named first, with the codecs of others
/// beside ours.
fn micro(workspace: &Workspace, rest: &[String]) -> Result<()> {
    let mut command = cargo(workspace, &["bench", "-p", "dunlin-benches", "--features", "peers"]);
    let (names, rest) = match rest.split_first() {
        Some((name, rest)) if MICRO.contains(&name.as_str()) => (vec![name.as_str()], rest),
        _ => (MICRO.to_vec(), rest),
    };
    names.iter().for_each(|name| {
        command.args(["--bench", name]);
    });
    run_command(command.arg("--").args(rest))
}

/// The benchmarks of criterion.
const MICRO: [&str; 4] = ["codec", "topics", "protocol", "core"];

/// Whether the arguments of `compare` leave this broker in: those behind `--brokers` do, or all.
fn is_wanted(peer: Name, rest: &[String]) -> bool {
    let list = rest.iter().enumerate().find_map(|(nth, argument)| {
        match argument.strip_prefix("--brokers")? {
            "" => Some(rest.get(nth + 1).map_or("", String::as_str)),
            value => value.strip_prefix('='),
        }
    });
    list.is_none_or(|list| list.split(',').any(|name| name == peer.word()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_brokers_that_are_asked_for_are_installed() {
        let wanted = |rest: &[&str]| {
            let rest: Vec<_> = rest.iter().map(|&word| word.to_owned()).collect();
            PEERS.map(|peer| is_wanted(peer, &rest))
        };
        assert_eq!(wanted(&["--quick"]), [true, true, true]);
        assert_eq!(wanted(&["--quick", "--brokers", "nats,relay"]), [false, false, true]);
        assert_eq!(wanted(&["--brokers=mosquitto", "--rounds", "3"]), [true, false, false]);
        assert_eq!(wanted(&["--brokers"]), [false, false, false]);
    }
}
