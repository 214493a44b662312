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
    /// A pair of sockets within the machine: connections from the same process.
    Local(UnixStream),
}

impl Stream {
    /// Who is at the other end, for the log; asks the system.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream
                .peer_addr()
                .map_or_else(|_| "an address that is gone".to_owned(), |peer| peer.to_string()),
            Self::Local(_) => "this process".to_owned(),
        }
    }

    /// The address of the other end; `None` if that is in this process, or gone.
    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Local(_) => None,
        }
    }

    pub(super) fn shut_down_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Local(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    fn as_source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Local(stream) => stream,
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
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Local(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Local(stream) => stream.write_vectored(slices),
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
