//! A non-blocking connection with the few bytes that must wait: a frame read in part, output not yet
//! taken by what carries it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::carrier::Carrier;
use crate::layers::Layers;
use crate::transport::Transport;

/// One end of a Network Connection, registered edge-triggered.
#[derive(Debug)]
pub struct Connection {
    carrier: Carrier,
    /// Start of a frame whose end has not arrived.
    partial: Vec<u8>,
    /// Bytes to write with the next flush.
    pub output: Vec<u8>,
    /// Bytes at the start of `output` that the kernel has taken already.
    written: usize,
    /// Set while the connection is on its owner's list of those to flush.
    pub touched: bool,
}

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    /// Bytes at the start of the scratch buffer, beginning with a frame.
    pub len: usize,
    /// The buffer was filled, so that the socket may hold more.
    pub more: bool,
}

impl Connection {
    /// Takes over a connected socket and registers it for reading and writing.
    ///
    /// # Errors
    /// Those of `fcntl`, `setsockopt` and `epoll_ctl`.
    pub fn new(stream: std::net::TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Self::from_mio(TcpStream::from_std(stream), registry, token)
    }

    /// Begins a handshake of TCP or QUIC, from an address of this machine if one is named, without
    /// waiting for its end: [`Connection::peer_addr`] is an error until that of TCP is over. Those of
    /// TLS and WebSocket follow by themselves with [`Connection::flush`] and [`Connection::fill`], as
    /// that of QUIC does; output waits for their end.
    ///
    /// # Errors
    /// Those of the socket calls, and of a transport that can't be begun.
    pub fn open(
        address: SocketAddr,
        transport: &Transport,
        source: Option<IpAddr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        #[cfg(feature = "quic")]
        if let Some(target) = &transport.quic {
            let line = crate::quic::Line::open(target, address, source)?;
            return Self::over(Carrier::Quic(Box::new(line)), registry, token);
        }
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if let Some(source) = source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Err(error)
                if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            result => result?,
        }
        let stream = TcpStream::from_std(socket.into());
        stream.set_nodelay(true)?;
        let carrier = match Layers::new(transport)? {
            Some(layers) => Carrier::Layered(stream, layers),
            None => Carrier::Plain(stream),
        };
        Self::over(carrier, registry, token)
    }

    /// Like [`Connection::new`] for a socket that is non-blocking already.
    ///
    /// # Errors
    /// Those of `setsockopt` and `epoll_ctl`.
    pub fn from_mio(stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Self::over(Carrier::Plain(stream), registry, token)
    }

    fn over(mut carrier: Carrier, registry: &Registry, token: Token) -> io::Result<Self> {
        registry.register(carrier.source(), token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { carrier, partial: Vec::new(), output: Vec::new(), written: 0, touched: false })
    }

    /// The peer's address.
    ///
    /// # Errors
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.carrier.peer_addr()
    }

    /// Takes the error that ended a handshake of TCP, if one did.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.carrier.take_error()
    }

    /// Whether the handshakes of TLS, WebSocket and QUIC, if there are any, are over.
    pub fn is_open(&self) -> bool {
        self.carrier.is_open()
    }

    /// Whether all output was taken: by the kernel, or by QUIC, which sends it in its time.
    pub fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.carrier.is_flushed()
    }

    /// Lets events come under another token.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.reregister(self.carrier.source(), token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads once into `scratch`, behind the partial frame of the read before.
    ///
    /// A read that leaves room has emptied the socket: with edge-triggered readiness no second read
    /// is needed to see `WouldBlock`. `None`: nothing was there.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer has closed; `InvalidData` when a frame does not fit `scratch`;
    /// what TLS, WebSocket or QUIC find wrong.
    pub fn fill(&mut self, scratch: &mut [u8]) -> io::Result<Option<Filled>> {
        let kept = self.partial.len();
        if kept >= scratch.len() {
            return Err(io::Error::new(ErrorKind::InvalidData, "frame exceeds the read buffer"));
        }
        let room = &mut scratch[kept..];
        match self.carrier.read(room) {
            Ok((read, more)) => {
                scratch[..kept].copy_from_slice(&self.partial);
                self.partial.clear();
                Ok(Some(Filled { len: kept + read, more }))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the start of a frame until [`Connection::fill`] brings the rest.
    pub fn keep(&mut self, partial: &[u8]) {
        self.partial.extend_from_slice(partial);
    }

    /// Writes the output with one call; what the kernel refuses waits for the next writable event.
    ///
    /// # Errors
    /// Those of `write`, except `WouldBlock`.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.is_flushed() {
            return Ok(());
        }
        let rest = &self.output[self.written..];
        self.written += self.carrier.write(rest)?;
        if self.written == self.output.len() {
            self.output.clear();
            self.written = 0;
        } else if self.written > self.output.len() / 2 {
            // Only now, so that a long backlog is not moved with every short write.
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Writes `shared` behind the output without copying it, unless the kernel refuses a part.
    ///
    /// # Errors
    /// Those of `write`, except `WouldBlock`.
    pub fn flush_with(&mut self, shared: &[u8]) -> io::Result<()> {
        if !self.output.is_empty() {
            self.output.extend_from_slice(shared);
            return self.flush();
        }
        let written = self.carrier.write(shared)?;
        self.output.extend_from_slice(&shared[written..]);
        Ok(())
    }

    /// When [`Connection::elapse`] wants to be called, though the socket may not have become ready.
    pub fn due(&mut self) -> Option<Instant> {
        self.carrier.due()
    }

    /// Does what is due: QUIC sends again what was lost.
    pub fn elapse(&mut self, now: Instant) {
        self.carrier.elapse(now);
    }

    /// Lets the connection live while nobody reads from it: QUIC acknowledges what comes, and holds it.
    pub fn attend(&mut self, scratch: &mut [u8]) {
        self.carrier.attend(scratch);
    }
}
