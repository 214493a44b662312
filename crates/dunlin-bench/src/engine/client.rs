//! One client: where it stands between a closed socket and its subscriptions.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::{Registry, Token};

use crate::connection::Connection;
use crate::error::BenchError;
use crate::transport::Transport;

/// How far a client has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has no connection.
    Away,
    /// The handshake of TCP or QUIC has begun.
    Opening,
    /// CONNECT was sent, or will be as soon as it can.
    Greeting,
    /// It waits for SUBACKs; so many Topic Filters have theirs.
    Subscribing(u32),
    /// It is there, and does its part.
    Online,
}

/// A client and its connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stage: Stage,
    pub(super) link: Option<Connection>,
    /// A connection of before, which the broker has to close: a newer one has taken it over, or
    /// DISCONNECT was sent.
    pub(super) replaced: Option<Connection>,
    /// When the handshake began, in nanoseconds since the run began.
    pub(super) opened_at: u64,
    /// The broker keeps its Session.
    pub(super) has_session: bool,
    /// It does not read.
    pub(super) is_paused: bool,
    /// When its connections have something to do whatever comes, as far as a timer knows.
    pub(super) due: Option<Instant>,
}

impl Client {
    pub(super) const fn new() -> Self {
        Self {
            stage: Stage::Away,
            link: None,
            replaced: None,
            opened_at: 0,
            has_session: false,
            is_paused: false,
            due: None,
        }
    }
}

/// Begins a handshake of TCP or QUIC, without waiting for its end.
pub(super) fn open(
    address: SocketAddr,
    transport: &Transport,
    source: Option<IpAddr>,
    registry: &Registry,
    token: Token,
) -> Result<Connection, BenchError> {
    Connection::open(address, transport, source, registry, token).map_err(|source_error| {
        match source_error.kind() {
            io::ErrorKind::AddrNotAvailable => match source {
                Some(source) if !is_local(source) => BenchError::Source(source),
                _ => BenchError::Ports,
            },
            io::ErrorKind::AddrInUse => BenchError::Ports,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable => {
                BenchError::Connect { address, source: source_error }
            }
            _ => BenchError::System(source_error),
        }
    })
}

/// Whether sockets can be bound to the address at all.
fn is_local(source: IpAddr) -> bool {
    std::net::TcpListener::bind((source, 0)).is_ok()
}
