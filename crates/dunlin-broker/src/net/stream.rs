//! The socket itself, whatever its kind.

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A socket that never blocks.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP of IPv4, and where it came from: of a connection that was reset the system does not know it.
    Tcp(TcpStream, SocketAddrV4),
    /// The same of IPv6, whose addresses are too long for what most connections take up.
    TcpV6(TcpStream, Box<SocketAddrV6>),
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
    /// A connection that was accepted from an address.
    pub(crate) fn tcp(stream: TcpStream, peer: SocketAddr) -> Self {
        match peer {
            SocketAddr::V4(peer) => Self::Tcp(stream, peer),
            SocketAddr::V6(peer) => Self::TcpV6(stream, Box::new(peer)),
        }
    }

    /// Who is at the other end, for the log.
    pub(crate) fn peer(&self) -> String {
        self.peer_address().map_or_else(|| "this machine".to_owned(), |peer| peer.to_string())
    }

    /// Looks at what may be read without taking it.
    pub(super) fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream, _) | Self::TcpV6(stream, _) => stream.peek(buffer),
            Self::Local(_) | Self::Relayed(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The address of the other end; `None` if that is in this machine.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some((*peer).into()),
            Self::TcpV6(_, peer) => Some((**peer).into()),
            Self::Local(_) => None,
            Self::Relayed(relayed) => Some(relayed.peer),
        }
    }

    /// The certificate that the peer has shown below MQTT, in DER.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(..) | Self::TcpV6(..) | Self::Local(_) => None,
            Self::Relayed(relayed) => relayed.certificate.as_deref(),
        }
    }

    pub(super) fn shut_down_writing(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream, _) | Self::TcpV6(stream, _) => stream.shutdown(Shutdown::Write),
            Self::Local(stream) => stream.shutdown(Shutdown::Write),
            Self::Relayed(relayed) => relayed.stream.shutdown(Shutdown::Write),
        }
    }

    fn as_source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream, _) | Self::TcpV6(stream, _) => stream,
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
            Self::Tcp(stream, _) | Self::TcpV6(stream, _) => stream.read(buffer),
            Self::Local(stream) => stream.read(buffer),
            Self::Relayed(relayed) => relayed.stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream, _) | Self::TcpV6(stream, _) => stream.write(bytes),
            Self::Local(stream) => stream.write(bytes),
            Self::Relayed(relayed) => relayed.stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream, _) | Self::TcpV6(stream, _) => stream.write_vectored(slices),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Durability;
    use crate::net::{Acceptance, Acceptor, bind};
    use std::net;
    use std::time::Duration;

    #[test]
    fn who_has_reset_its_connection_has_an_address_still() {
        let listening = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let mut acceptor = Acceptor::new(&listening, Durability::Memory, 0).expect("a listener");
        acceptor.is_ready = true;
        let at = listening.address().expect("its address").expect("one of TCP");
        let client = net::TcpStream::connect(at).expect("it listens");
        let expected = client.local_addr().expect("an address");
        let Acceptance::Connection(mut stream) = acceptor.accept() else { panic!("nobody") };
        // Closing is a reset then.
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(client);
        let error = loop {
            match stream.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                other => break other.expect_err("nothing was sent"),
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(stream.peer_address(), Some(expected));
        assert_eq!(stream.peer(), expected.to_string());
    }

    #[test]
    fn an_address_of_a_peer_is_kept_whole() {
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        for text in ["192.0.2.7:50000", "[2001:db8::7]:50000", "[fe80::7%3]:50000"] {
            let socket = net::TcpStream::connect(at).expect("it listens");
            let address: SocketAddr = text.parse().expect("an address");
            let stream = Stream::tcp(TcpStream::from_std(socket), address);
            assert_eq!(stream.peer_address(), Some(address), "{text}");
            assert_eq!(stream.peer(), text);
        }
    }
}
