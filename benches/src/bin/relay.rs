//! The relay on its own: the floor that the operating system sets under every broker.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Parser;
use dunlin_benches::relay::Relay;
use dunlin_benches::traffic::Shape;

/// Forward PUBLISH frames without matching and without protocol.
#[derive(Debug, Parser)]
struct Options {
    /// Address to listen on.
    #[arg(long)]
    listen: SocketAddr,
    /// Who receives what: all to one subscriber, all to all, or by the number in the Client
    /// Identifier.
    #[arg(long, value_enum)]
    shape: Shape,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut relay = Relay::bind(options.listen, options.shape)
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    loop {
        relay.turn(None)?;
    }
}
