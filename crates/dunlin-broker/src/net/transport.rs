//! The byte streams that connections run over.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

/// A byte stream that never blocks. Further transports are further variants.
#[derive(Debug)]
pub(crate) enum Transport {
    /// TCP.
    Tcp(TcpStream),
    /// A pair of sockets within the machine: connections from the same process.
    Local(UnixStream),
}

impl Transport {
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Local(stream) => stream.read(buffer),
        }
    }

    pub(crate) fn write(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        let stream: &mut dyn Write = match self {
            Self::Tcp(stream) => stream,
            Self::Local(stream) => stream,
        };
        match pieces {
            [one] => stream.write(one),
            pieces => {
                let mut slices = [IoSlice::new(&[]); super::socket::PIECES_MAX];
                for (slice, piece) in slices.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                }
                stream.write_vectored(&slices[..pieces.len().min(super::socket::PIECES_MAX)])
            }
        }
    }

    /// Who is at the other end, for the log; asks the system.
    pub(crate) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream
                .peer_addr()
                .map_or_else(|_| "an address that is gone".to_owned(), |peer| peer.to_string()),
            Self::Local(_) => "this process".to_owned(),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn shut_down_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Local(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Source for Transport {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.register(registry, token, interests),
            Self::Local(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.reregister(registry, token, interests),
            Self::Local(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.deregister(registry),
            Self::Local(stream) => stream.deregister(registry),
        }
    }
}
