//! The `dunlin` program: an MQTT broker, and the tools to talk to any broker.

mod acl;
mod allocator;
mod arguments;
mod bench;
mod broker;
mod cert;
mod cli;
mod client;
mod conformance;
mod decode;
mod failure;
mod format;
mod output;
mod passwd;
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os()).and_then(cli::Cli::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
