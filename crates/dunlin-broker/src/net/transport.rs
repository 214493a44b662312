//! The byte streams that connections run over: a socket, and what lies between it and MQTT.

use super::Stream;
use super::layers::Layers;
use bytes::BytesMut;
use dunlin_transport::proxy_header;
use dunlin_transport::tls::TlsSession;
use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};

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

/// How far a PROXY header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderProgress {
    /// So many bytes of it have come.
    Partial(usize),
    /// It was taken.
    Taken,
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

    /// From here on bytes are within TLS, whose handshake goes on with each read.
    pub(crate) fn begin_tls(&mut self, tls: TlsSession) {
        self.layers.get_or_insert_default().begin_tls(tls);
    }

    /// Looks for a PROXY header, and takes it once it is all there; how much of it has come until
    /// then. Nothing behind it is read.
    ///
    /// # Errors
    /// Those of the socket, [`ErrorKind::UnexpectedEof`], or that it is no header.
    pub(crate) fn take_proxy_header(&mut self, buffer: &mut [u8]) -> io::Result<HeaderProgress> {
        let len = self.peek(buffer)?;
        let parsed = proxy_header::parse(&buffer[..len]).map_err(io::Error::other)?;
        let Some((header, len)) = parsed else { return Ok(HeaderProgress::Partial(len)) };
        // It is there.
        self.stream.read_exact(&mut buffer[..len])?;
        let layers = self.layers.get_or_insert_default();
        match header.source() {
            Some(source) => layers.set_peer(source),
            None => layers.set_of_proxy(),
        }
        Ok(HeaderProgress::Taken)
    }

    /// Whether a PROXY header comes next, and takes nothing of it; nothing while too little has come to
    /// tell.
    ///
    /// # Errors
    /// Those of the socket, or [`ErrorKind::UnexpectedEof`].
    pub(crate) fn begins_with_proxy_header(&self) -> io::Result<Option<bool>> {
        let mut beginning = [0; proxy_header::BEGINNING_LEN];
        let len = self.peek(&mut beginning)?;
        Ok(proxy_header::begins(&beginning[..len]))
    }

    /// Looks at what has come to the socket and was not read.
    fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.peek(buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            peeked => peeked,
        }
    }

    /// Whether a PROXY header was taken.
    pub(crate) fn is_proxied(&self) -> bool {
        let layers = self.layers.as_ref();
        layers.is_some_and(|layers| layers.peer().is_some() || layers.is_of_proxy())
    }

    /// Whether bytes are within TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.layers.as_ref().is_some_and(|layers| layers.has_tls())
    }

    /// Whether MQTT does not lie directly on the socket.
    pub(crate) const fn has_layers(&self) -> bool {
        self.layers.is_some()
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
        write_plain(&mut self.stream, pieces)
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

    /// Who is at the other end, or behind the proxy there, for the log.
    pub(crate) fn peer(&self) -> String {
        let proxied = self.layers.as_ref().and_then(|layers| layers.peer());
        proxied.map_or_else(|| self.stream.peer(), |peer| peer.to_string())
    }

    /// The address that a proxy has connected for, if it has said so.
    pub(crate) fn announced(&self) -> Option<IpAddr> {
        let peer = self.layers.as_ref().and_then(|layers| layers.peer());
        peer.map(|peer| peer.ip())
    }

    /// The address for which a connection counts; `None` also where a proxy speaks for itself, as in a
    /// health check.
    pub(crate) fn counted_address(&self) -> Option<IpAddr> {
        let is_of_proxy = self.layers.as_ref().is_some_and(|layers| layers.is_of_proxy());
        if is_of_proxy { None } else { self.address() }
    }

    /// As [`Transport::peer_address`], without the port.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.peer_address().map(|address| address.ip())
    }

    /// The address of the client, whom a proxy may have connected for; `None` if it came
    /// without a network.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        let proxied = self.layers.as_ref().and_then(|layers| layers.peer());
        proxied.or_else(|| self.stream.peer_address())
    }

    /// The certificate that the peer has shown and TLS has verified, in DER.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        let layers = self.layers.as_ref().and_then(|layers| layers.certificate());
        layers.or_else(|| self.stream.certificate())
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

/// Writes to the socket itself.
pub(super) fn write_plain(stream: &mut Stream, pieces: &[&[u8]]) -> io::Result<Written> {
    let offered: usize = pieces.iter().map(|piece| piece.len()).sum();
    let len = stream.write_pieces(pieces)?;
    if len == 0 {
        return Err(ErrorKind::WriteZero.into());
    }
    Ok(Written { len, is_blocked: len < offered })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_client_behind_a_proxy_has_its_own_address() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        for (header, expected) in [
            (&b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n"[..], Some("192.0.2.7:50000")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 50000 1883\r\n", Some("[2001:db8::7]:50000")),
            (b"PROXY UNKNOWN\r\n", None),
        ] {
            let mut proxy = TcpStream::connect(address).expect("it listens");
            let (accepted, peer) = listener.accept().expect("a connection");
            proxy.write_all(header).expect("room");
            // Nothing follows, so that this waits for all of it.
            while accepted.peek(&mut [0; 100]).expect("open") < header.len() {}
            accepted.set_nonblocking(true).expect("an option");
            let stream = Stream::tcp(mio::net::TcpStream::from_std(accepted), peer);
            let mut transport = Transport::plain(stream);
            assert_eq!(transport.peer_address(), Some(peer));
            let taken = transport.take_proxy_header(&mut [0; 4200]).expect("a header");
            assert_eq!(taken, HeaderProgress::Taken);
            let expected = expected.map_or(peer, |expected| expected.parse().expect("an address"));
            assert_eq!(transport.peer_address(), Some(expected));
            assert_eq!(transport.peer(), expected.to_string());
            let read = transport.read(&mut [0; 10]).expect_err("nothing follows");
            assert_eq!(read.kind(), ErrorKind::WouldBlock);
        }
    }
}
