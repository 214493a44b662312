//! The socket itself, whatever its kind.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

/// A socket that never blocks.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A socket within the machine: of a listener, or one of a pair for connections from the same
    /// process.
    Local(UnixStream),
    /// A pair within the process, whose other end is copied to a connection that is no socket.
    #[cfg_attr(not(feature = "quic"), expect(dead_code, reason = "only QUIC needs it"))]
    Relayed(Box<Relayed>),
}

/// One end of a pair, and who is behind the other.
#[derive(Debug)]
pub(crate) struct Relayed {
    pub(crate) stream: UnixStream,
    /// Where the connection came from.
    pub(crate) peer: SocketAddr,
    /// The certificate that the peer has shown and that was verified, in DER.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Stream {
    /// Who is at the other end, for the log; asks the system.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream
                .peer_addr()
                .map_or_else(|_| "an address that is gone".to_owned(), |peer| peer.to_string()),
            Self::Local(_) => "this machine".to_owned(),
            Self::Relayed(relayed) => relayed.peer.to_string(),
        }
    }

    /// Looks at what may be read without taking it.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(buffer),
            Self::Local(_) | Self::Relayed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The address of the other end; `None` if that is in this machine, or gone.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Local(_) => None,
            Self::Relayed(relayed) => Some(relayed.peer),
        }
    }

    /// The certificate that the peer has shown below MQTT, in DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) | Self::Local(_) => None,
            Self::Relayed(relayed) => relayed.certificate.as_deref(),
        }
    }

    pub(super) fn shut_down_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Local(stream) => stream.shutdown(Shutdown::Write),
            Self::Relayed(relayed) => relayed.stream.shutdown(Shutdown::Write),
        }
    }

    fn as_source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Local(stream) => stream,
            Self::Relayed(relayed) => &mut relayed.stream,
        }
    }

    pub(super) fn write_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        match pieces {
            [one] => self.write(one),
            pieces => {
                let mut slices = [IoSlice::new(&[]); super::socket::PIECES_MAX];
                self.write_vectored(slices_of(pieces, &mut slices))
            }
        }
    }
}

/// The pieces as the system wants them, as many as there is room for.
pub(super) fn slices_of<'a, 'b>(
    pieces: &[&'a [u8]],
    slices: &'b mut [IoSlice<'a>],
) -> &'b [IoSlice<'a>] {
    let len = pieces.len().min(slices.len());
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
    &slices[..len]
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Local(stream) => stream.read(buffer),
            Self::Relayed(relayed) => relayed.stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Local(stream) => stream.write(bytes),
            Self::Relayed(relayed) => relayed.stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Local(stream) => stream.write_vectored(slices),
            Self::Relayed(relayed) => relayed.stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.as_source().register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.as_source().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.as_source().deregister(registry)
    }
}
