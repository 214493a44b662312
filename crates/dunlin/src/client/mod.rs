//! `dunlin pub` and `dunlin sub`: what both need to reach a broker.
//!
//! They drive the protocol's [`ClientConnection`](dunlin_protocol::ClientConnection) themselves
//! rather than the async client: every packet can be shown (`-d`), and a message is acknowledged
//! only once it was printed. A session in a file (`pub --session-file`) is the async client's.

mod advice;
mod args;
mod keep;
mod link;
mod property;
mod proxy;
pub(crate) mod publish;
pub(crate) mod secure;
pub(crate) mod subscribe;
#[cfg(test)]
mod tests;
mod trace;
pub(crate) mod url;

pub(crate) use property::join_properties;

use crate::failure::Failure;
use link::Link;
use std::future::Future;

/// Runs a tool to its end.
pub(crate) fn block_on(tool: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("can't start: {error}")))?;
    let outcome = runtime.block_on(tool);
    // A thread that reads standard input can't be stopped; it ends with the process.
    runtime.shutdown_background();
    outcome
}

/// Completes when the user or the system asks the program to stop.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
