//! The `dunlin` program: an MQTT broker, and the tools to talk to any broker.

mod broker;
mod cli;
mod client;
mod decode;
mod failure;
mod format;

use clap::Parser as _;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse_from(client::join_properties(std::env::args_os()));
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
