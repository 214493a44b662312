//! The byte streams that connections run over: a socket, and what lies between it and MQTT.

use dunlin_transport::tls::{HEADROOM, TlsSession};
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;

/// A byte stream that never blocks, with its layers; made of a socket whose handshakes are over.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: Stream,
    tls: Option<Box<TlsSession>>,
}

/// The socket itself.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A pair of sockets within the machine: connections from the same process.
    Local(UnixStream),
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes of MQTT, at the front of the buffer.
    pub(crate) len: usize,
    /// Whether a further read may give more without a further event.
    pub(crate) may_have_more: bool,
    /// Whether the peer has closed its side, and nothing is left.
    pub(crate) is_end: bool,
}

/// What a write came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes of MQTT that were taken.
    pub(crate) len: usize,
    /// Whether the socket takes no more until it says so.
    pub(crate) is_blocked: bool,
}

impl Transport {
    /// Bytes of MQTT directly on the socket.
    pub(crate) const fn plain(stream: Stream) -> Self {
        Self { stream, tls: None }
    }

    /// Bytes of MQTT within TLS, whose handshake is over.
    pub(crate) const fn secure(stream: Stream, tls: Box<TlsSession>) -> Self {
        Self { stream, tls: Some(tls) }
    }

    /// Reads once from the socket.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        let Some(tls) = &mut self.tls else {
            let len = self.stream.read(buffer)?;
            // A short read has emptied the socket; what comes later is a new event.
            return Ok(Taken { len, may_have_more: len == buffer.len(), is_end: len == 0 });
        };
        if tls.is_closed() {
            return Ok(Taken { len: 0, may_have_more: false, is_end: true });
        }
        let count = self.stream.read(&mut buffer[HEADROOM..])?;
        let is_end = count == 0;
        let may_have_more = count == buffer.len() - HEADROOM;
        let decrypted = tls.decrypt_in_place(buffer, HEADROOM..HEADROOM + count);
        // An answer of TLS, or the alert that tells the peer what is wrong.
        let flushed = self.flush();
        let decrypted = decrypted.map_err(io::Error::other)?;
        match flushed {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        let may_have_more = may_have_more || decrypted.is_closed;
        Ok(Taken { len: decrypted.len, may_have_more, is_end })
    }

    /// Writes as much of the pieces as the socket, or the layer above it, takes at once.
    pub(crate) fn write(&mut self, pieces: &[&[u8]]) -> io::Result<Written> {
        let offered = pieces.iter().map(|piece| piece.len()).sum();
        let Some(tls) = &mut self.tls else {
            let len = self.stream.write_pieces(pieces)?;
            if len == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            return Ok(Written { len, is_blocked: len < offered });
        };
        let mut slices = [IoSlice::new(&[]); super::socket::PIECES_MAX];
        let len = tls.encrypt(slices_of(pieces, &mut slices))?;
        let is_blocked = match self.flush() {
            Ok(()) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        Ok(Written { len, is_blocked })
    }

    /// Whether a layer holds bytes that the socket did not take.
    pub(crate) fn has_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_pending())
    }

    /// Writes what the layers hold.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the socket did not take all of it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) if tls.has_pending() => tls.write_to(&mut self.stream),
            _ => Ok(()),
        }
    }

    /// Who is at the other end, for the log; asks the system.
    pub(crate) fn peer(&self) -> String {
        self.stream.peer()
    }

    /// The certificate that the peer has shown and TLS has verified, in DER.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.peer_certificates().next()
    }

    /// Says that nothing more will be written. All that was written before has gone out.
    pub(crate) fn shut_down_writing(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            tls.close();
            self.flush()?;
        }
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Local(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// The pieces as the system wants them, as many as there is room for.
fn slices_of<'a, 'b>(pieces: &[&'a [u8]], slices: &'b mut [IoSlice<'a>]) -> &'b [IoSlice<'a>] {
    let len = pieces.len().min(slices.len());
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(piece);
    }
    &slices[..len]
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

    fn as_source(&mut self) -> &mut dyn Source {
        match self {
            Self::Tcp(stream) => stream,
            Self::Local(stream) => stream,
        }
    }

    fn write_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        match pieces {
            [one] => self.write(one),
            pieces => {
                let mut slices = [IoSlice::new(&[]); super::socket::PIECES_MAX];
                self.write_vectored(slices_of(pieces, &mut slices))
            }
        }
    }
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

impl Source for Transport {
    fn register(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.stream.register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &Registry,
        token: Token,
        interests: Interest,
    ) -> io::Result<()> {
        self.stream.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.stream.deregister(registry)
    }
}
