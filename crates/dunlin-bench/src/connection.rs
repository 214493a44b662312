//! A non-blocking socket with the few bytes that must wait: a frame read in part, output not yet
//! taken by the kernel.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::layers::Layers;
use crate::transport::Transport;

/// One end of a Network Connection, registered edge-triggered.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Nothing where MQTT lies directly on the socket.
    layers: Option<Box<Layers>>,
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

    /// Begins a TCP handshake, from an address of this machine if one is named, without waiting for
    /// its end: [`Connection::peer_addr`] is an error until then. Those of TLS and WebSocket follow by
    /// themselves with [`Connection::flush`] and [`Connection::fill`]; output waits for their end.
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
        let layers = Layers::new(transport)?;
        let connection = Self::from_mio(TcpStream::from_std(socket.into()), registry, token)?;
        Ok(Self { layers, ..connection })
    }

    /// Like [`Connection::new`] for a socket that is non-blocking already.
    ///
    /// # Errors
    /// Those of `setsockopt` and `epoll_ctl`.
    pub fn from_mio(mut stream: TcpStream, registry: &Registry, token: Token) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            layers: None,
            partial: Vec::new(),
            output: Vec::new(),
            written: 0,
            touched: false,
        })
    }

    /// The peer's address.
    ///
    /// # Errors
    /// Those of `getpeername`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Takes the error that ended a TCP handshake, if one did.
    ///
    /// # Errors
    /// Those of `getsockopt`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.stream.take_error()
    }

    /// Whether the handshakes of TLS and WebSocket, if there are any, are over.
    pub fn is_open(&self) -> bool {
        self.layers.as_ref().is_none_or(|layers| layers.is_open())
    }

    /// Whether the kernel has taken all output.
    pub fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.layers.as_ref().is_none_or(|layers| layers.is_flushed())
    }

    /// Lets events come under another token.
    ///
    /// # Errors
    /// Those of `epoll_ctl`.
    pub fn reregister(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.reregister(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Reads once into `scratch`, behind the partial frame of the read before.
    ///
    /// A read that leaves room has emptied the socket: with edge-triggered readiness no second read
    /// is needed to see `WouldBlock`. `None`: nothing was there.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer has closed; `InvalidData` when a frame does not fit `scratch`;
    /// what TLS or WebSocket find wrong.
    pub fn fill(&mut self, scratch: &mut [u8]) -> io::Result<Option<Filled>> {
        let kept = self.partial.len();
        if kept >= scratch.len() {
            return Err(io::Error::new(ErrorKind::InvalidData, "frame exceeds the read buffer"));
        }
        let room = &mut scratch[kept..];
        let read = match &mut self.layers {
            Some(layers) => layers.read(&mut self.stream, room),
            None => self.stream.read(room).and_then(|read| match read {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                read => Ok((read, read == room.len())),
            }),
        };
        match read {
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
        self.written += write_some(&mut self.stream, self.layers.as_deref_mut(), rest)?;
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
        let written = write_some(&mut self.stream, self.layers.as_deref_mut(), shared)?;
        self.output.extend_from_slice(&shared[written..]);
        Ok(())
    }
}

fn write_some(
    stream: &mut TcpStream,
    layers: Option<&mut Layers>,
    bytes: &[u8],
) -> io::Result<usize> {
    let written = match layers {
        Some(layers) => layers.write(stream, bytes),
        None => stream.write(bytes),
    };
    match written {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}
