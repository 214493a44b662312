//! The byte streams that connections run over: a socket, and what lies between it and MQTT.

use super::Stream;
use super::layers::Layers;
use bytes::BytesMut;
use dunlin_transport::tls::TlsSession;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;

/// A byte stream that never blocks, with its layers.
#[derive(Debug)]
pub(crate) struct Transport {
    stream: Stream,
    /// Nothing where MQTT lies directly on the socket.
    layers: Option<Box<Layers>>,
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
        Self { stream, layers: None }
    }

    /// Bytes within TLS, whose handshake goes on with each read.
    pub(crate) fn secure(stream: Stream, tls: TlsSession) -> Self {
        Self { stream, layers: Some(Box::new(Layers::tls(tls))) }
    }

    /// Whether a handshake of TLS is under way.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.is_handshaking())
    }

    /// Writes bytes that lie below MQTT: an answer of HTTP.
    ///
    /// # Errors
    /// Those of the socket; what it did not take at once is pending, and no error.
    pub(crate) fn write_below(&mut self, bytes: &[u8]) -> io::Result<()> {
        let layers = self.layers.get_or_insert_default();
        layers.write_below(bytes);
        ignore_blocked(layers.flush(&mut self.stream))
    }

    /// From here on bytes of MQTT are within frames of WebSocket. Takes the frames that were read
    /// already, and leaves the MQTT that is in them.
    ///
    /// # Errors
    /// As [`Transport::write_below`].
    pub(crate) fn begin_web_socket(&mut self, rest: &mut BytesMut) -> io::Result<()> {
        let layers = self.layers.get_or_insert_default();
        layers.begin_web_socket(rest);
        ignore_blocked(layers.flush(&mut self.stream))
    }

    /// Reads once from the socket.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Taken> {
        if let Some(layers) = &mut self.layers {
            return layers.read(&mut self.stream, buffer);
        }
        let len = self.stream.read(buffer)?;
        // A short read has emptied the socket; what comes later is a new event.
        Ok(Taken { len, may_have_more: len == buffer.len(), is_end: len == 0 })
    }

    /// Writes as much of the pieces as the socket, or the layer above it, takes at once. They begin
    /// `total` bytes that are there to be written and end with a packet.
    pub(crate) fn write(&mut self, pieces: &[&[u8]], total: usize) -> io::Result<Written> {
        if let Some(layers) = &mut self.layers {
            return layers.write(&mut self.stream, pieces, total);
        }
        let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
        let len = self.stream.write_pieces(pieces)?;
        if len == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        Ok(Written { len, is_blocked: len < offered })
    }

    /// Whether a layer holds bytes that the socket did not take.
    pub(crate) fn has_pending(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.has_pending())
    }

    /// Writes what the layers hold.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the socket did not take all of it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.layers {
            Some(layers) => layers.flush(&mut self.stream),
            None => Ok(()),
        }
    }

    /// Who is at the other end, for the log; asks the system.
    pub(crate) fn peer(&self) -> String {
        self.stream.peer()
    }

    /// The address of the other end; `None` if that is in this process, or gone.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        self.stream.peer_address()
    }

    /// The certificate that the peer has shown and TLS has verified, in DER.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        self.layers.as_ref()?.certificate()
    }

    /// Says that nothing more will be written, on every layer. All that was written before has gone
    /// out.
    pub(crate) fn shut_down_writing(&mut self) -> io::Result<()> {
        if let Some(layers) = &mut self.layers {
            layers.close(&mut self.stream)?;
        }
        self.stream.shut_down_writing()
    }
}

/// What the socket did not take waits for its next event.
pub(super) fn ignore_blocked(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        outcome => outcome,
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
