//! A broker inside a program: it listens for others and is there for the program itself.
//!
//! Run it, then `dunlin sub -t '#' -v` or `mosquitto_sub -t '#' -v` against the printed address.

use dunlin_broker::Broker;
use dunlin_broker::config::{Config, Listener};
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(error.as_ref()),
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    // The address to listen on; port 0 lets the system choose one.
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:1883".to_owned());

    // Everything that an operator could set in a file is a field of `Config`.
    let listeners = vec![Listener::tcp(address.parse()?)];
    let config = Config { listeners, workers: 1, ..Config::default() };

    // Starting binds the addresses and spawns the workers; it fails if an address is taken.
    let broker = Broker::builder().config(config).start()?;
    println!("listening on mqtt://{}", broker.addresses()[0]);

    // The end of standard input is as good as Enter.
    println!("stop with Enter");
    std::io::stdin().read_line(&mut String::new())?;

    // Clients are told that the server is shutting down.
    broker.stop();
    Ok(())
}

/// Says what went wrong, with what caused it.
fn report(error: &dyn Error) -> ExitCode {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}
