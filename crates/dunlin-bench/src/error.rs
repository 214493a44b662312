//! Why a run can't begin or go on.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use crate::plan::PlanError;

/// A run without an outcome.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The plan can't be run.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nobody takes connections there.
    #[error("{address} takes no connection")]
    Connect {
        /// Where the broker was expected.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// TLS, QUIC or WebSocket came to nothing.
    #[error("the handshake of TLS, QUIC or WebSocket has failed")]
    Handshake(#[source] io::Error),
    /// The system has no more sockets for this program.
    #[error("{clients} clients are more open files than `ulimit -n` allows, which is {limit}")]
    Files {
        /// The clients of the plan.
        clients: u32,
        /// The limit, as far as it could be raised.
        limit: u64,
    },
    /// The system has no more ports.
    #[error("no port is left to connect from: give more addresses of this machine with --source")]
    Ports,
    /// A source that is no address of this machine.
    #[error("--source {0} is no address of this machine")]
    Source(std::net::IpAddr),
    /// The broker does not want the clients.
    #[error("the broker refuses to be connected to: {0}")]
    Refused(String),
    /// The broker offers less than the scenario needs.
    #[error("the broker says that it has {0}")]
    Unable(String),
    /// The broker does not want the subscriptions.
    #[error("the broker refuses the subscription to {topic_filter}: code {code:#04x}")]
    Subscription {
        /// The Topic Filter.
        topic_filter: String,
        /// Its Reason Code or return code.
        code: u8,
    },
    /// The broker closed a connection before anything was measured.
    #[error("the broker closed the connection of {client} while clients were connecting: {reason}")]
    Closed {
        /// The Client Identifier.
        client: String,
        /// What is known of the reason.
        reason: String,
    },
    /// The broker does not answer.
    #[error(
        "the broker has been silent for {secs} s while clients were connecting; {online} were connected"
    )]
    Silent {
        /// How long.
        secs: f64,
        /// Clients that had been accepted and subscribed.
        online: u32,
    },
    /// The process whose use of the machine is to be read.
    #[error("--pid {pid}")]
    Process {
        /// Its number.
        pid: u32,
        /// What the system says.
        source: io::Error,
    },
    /// The system refuses what any program may do.
    #[error(transparent)]
    System(#[from] io::Error),
}
