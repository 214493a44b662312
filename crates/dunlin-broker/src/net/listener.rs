//! Listening sockets.

use crate::core::Durability;
use mio::net::{TcpListener, TcpStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use std::io::{self, ErrorKind};
use std::net::{self, SocketAddr};
use std::time::Duration;

/// Connections that the system holds until a worker takes them.
const BACKLOG: i32 = 4096;
/// How long a silent peer may be before the system asks whether it is there, and how often it
/// asks: a connection behind a NAT that forgot it ends, even without Keep Alive.
const PROBE_AFTER: Duration = Duration::from_secs(120);
const PROBE_EVERY: Duration = Duration::from_secs(30);

/// A listening socket as one worker sees it: all workers accept from the same one.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listener: TcpListener,
    /// Whether there may be connections that were not taken yet.
    pub(crate) is_ready: bool,
    /// How safe what must be before the Clients that come by it rely on it.
    pub(crate) durability: Durability,
    /// Its number among the listeners of the configuration.
    pub(crate) number: u16,
}

/// What accepting came to.
#[derive(Debug)]
pub(crate) enum Acceptance {
    /// A connection; there may be more.
    Connection(TcpStream),
    /// Nobody is there until the next event.
    Nobody,
    /// The system has no descriptor left, or some such: it may have one in a moment.
    Exhausted(io::Error),
}

/// Binds an address.
///
/// # Errors
/// What the system says: the address is in use, not this machine's, or not permitted.
pub(crate) fn bind(address: SocketAddr) -> io::Result<net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A broker that restarts must not wait for connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Linux hands these down to accepted sockets, which saves calls for each of them.
    socket.set_tcp_nodelay(true)?;
    let keep_alive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    socket.set_tcp_keepalive(&keep_alive)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Acceptor {
    /// The same listening socket, for another worker.
    pub(crate) fn new(
        listener: &net::TcpListener,
        durability: Durability,
        number: u16,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener.try_clone()?);
        Ok(Self { listener, is_ready: false, durability, number })
    }

    /// Takes a connection, if there is one.
    pub(crate) fn accept(&mut self) -> Acceptance {
        while self.is_ready {
            match self.listener.accept() {
                Ok((stream, address)) => {
                    tracing::debug!(%address, "connection accepted");
                    self.is_ready = self.has_connection();
                    return Acceptance::Connection(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_ready = false,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    self.is_ready = false;
                    return Acceptance::Exhausted(error);
                }
            }
        }
        Acceptance::Nobody
    }

    /// Whether there is a connection to take. Asking costs a fraction of an `accept` that finds
    /// none, which makes a socket before it looks.
    fn has_connection(&self) -> bool {
        let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
        // An `accept` tells what is wrong.
        poll(&mut listener, Some(&Timespec::default())).map_or(true, |ready| ready > 0)
    }
}
