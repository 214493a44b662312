//! What carries the bytes of one connection: a socket of TCP, the same with layers upon it, or QUIC.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::event::Source;
use mio::net::TcpStream;

use crate::layers::Layers;
#[cfg(feature = "quic")]
use crate::quic::Line;

#[derive(Debug)]
pub(crate) enum Carrier {
    Plain(TcpStream),
    Layered(TcpStream, Box<Layers>),
    #[cfg(feature = "quic")]
    Quic(Box<Line>),
}

impl Carrier {
    /// What readiness comes from.
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        match self {
            Self::Plain(stream) | Self::Layered(stream, _) => stream,
            #[cfg(feature = "quic")]
            Self::Quic(line) => &mut line.socket,
        }
    }

    /// The peer's address; an error as long as TCP has not shaken hands.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(stream) | Self::Layered(stream, _) => stream.peer_addr(),
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.socket.peer_addr(),
        }
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Self::Plain(stream) | Self::Layered(stream, _) => stream.take_error(),
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.socket.take_error(),
        }
    }

    /// Whether all handshakes above TCP or UDP are over.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Layered(_, layers) => layers.is_open(),
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.is_open(),
        }
    }

    /// Whether the kernel has taken all that it was given.
    pub(crate) fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Layered(_, layers) => layers.is_flushed(),
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.is_flushed(),
        }
    }

    /// Reads once. Gives how many bytes of MQTT are at the front of the buffer, and whether another read
    /// may give more.
    ///
    /// # Errors
    /// `WouldBlock`; `UnexpectedEof` when the peer has closed; `InvalidData` when the buffer is too short
    /// for what carries it; what a layer finds wrong.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        match self {
            Self::Plain(stream) => match stream.read(buffer)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                read => Ok((read, read == buffer.len())),
            },
            Self::Layered(stream, layers) => layers.read(stream, buffer),
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.read(buffer),
        }
    }

    /// Takes bytes of MQTT as far as there is room for them; how many it were.
    ///
    /// # Errors
    /// Those of the socket and the layers, except `WouldBlock`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Layered(stream, layers) => layers.write(stream, bytes),
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.write(bytes),
        };
        match written {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// When it has something to do though the socket is not ready: QUIC has a clock of its own.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        match self {
            Self::Plain(_) | Self::Layered(..) => None,
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.due(),
        }
    }

    /// Does what is due.
    #[cfg_attr(not(feature = "quic"), expect(unused_variables))]
    pub(crate) fn elapse(&mut self, now: Instant) {
        match self {
            Self::Plain(_) | Self::Layered(..) => {}
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.elapse(now),
        }
    }

    /// Lets the connection live while nobody reads from it: TCP does by itself.
    #[cfg_attr(not(feature = "quic"), expect(unused_variables))]
    pub(crate) fn attend(&mut self, buffer: &mut [u8]) {
        match self {
            Self::Plain(_) | Self::Layered(..) => {}
            #[cfg(feature = "quic")]
            Self::Quic(line) => line.attend(buffer),
        }
    }
}
