//! QUIC, as `quic://` asks for it: MQTT on the first stream of a connection that has a UDP socket of its
//! own, as each device has one. What arrives and the clock drive it, no thread of its own.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use dunlin_transport::tls::{TlsConnector, TlsError};
use mio::net::UdpSocket;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint,
    Endpoint, EndpointConfig, Event, ReadError, StreamEvent, StreamId, Transmit, TransportConfig,
    VarInt, WriteError,
};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

use crate::transport::TransportError;

/// The name of MQTT in the handshake (ALPN), as registered.
const ALPN_MQTT: &[u8] = b"mqtt";

/// Bytes that the broker has not acknowledged at most, about what a socket of TCP takes.
const SEND_WINDOW: u64 = 1 << 20;

/// How often a connection without traffic shows that it is there; idle ones are to stay.
const PROBE_AFTER: Duration = Duration::from_secs(25);

/// Room for what the kernel hands over as one: many datagrams of one length, one behind the other.
const RECEIVED_LEN: usize = 64 * 1024;

/// How many of these are asked for at once.
const RECEIVED_AT_ONCE: usize = 4;

/// How often that is asked, before what has come is read.
const RECEIVES_MAX: usize = 4;

/// Datagrams that the kernel is given as one.
const SEGMENTS_MAX: usize = 16;

/// Whom a client expects at the other end, and how it talks to it.
#[derive(Debug)]
pub(crate) struct Target {
    connector: TlsConnector,
    host: String,
    config: ClientConfig,
    endpoint: Arc<EndpointConfig>,
}

impl Target {
    /// This host, whose certificate has to be of this name.
    ///
    /// # Errors
    /// When QUIC can't do with the settings of TLS, or no certificate could have the name.
    pub(crate) fn new(connector: TlsConnector, host: String) -> Result<Self, TransportError> {
        // It tells of a name that is none.
        connector.session(&host)?;
        let mut tls = (*connector.config()).clone();
        if tls.alpn_protocols.is_empty() {
            tls.alpn_protocols = vec![ALPN_MQTT.to_vec()];
        }
        let crypto = QuicClientConfig::try_from(tls)?;
        let mut transport = TransportConfig::default();
        transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
        transport.max_concurrent_uni_streams(VarInt::from_u32(0));
        transport.datagram_receive_buffer_size(None);
        transport.send_window(SEND_WINDOW);
        transport.keep_alive_interval(Some(PROBE_AFTER));
        transport.max_idle_timeout(None);
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Ok(Self { connector, host, config, endpoint: Arc::new(EndpointConfig::default()) })
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    target: Arc<Target>,
    pub(crate) socket: UdpSocket,
    state: UdpSocketState,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    /// There once the handshake is over.
    stream: Option<StreamId>,
    /// Datagrams that the kernel has not taken yet.
    pending: Option<(Transmit, Vec<u8>)>,
    /// Nothing more comes on the stream.
    has_ended: bool,
    lost: Option<ConnectionError>,
    /// The kernel has said that nobody listens there.
    is_refused: bool,
}

impl Line {
    /// Begins a connection, from an address of this machine if one is named; nothing is sent yet.
    ///
    /// # Errors
    /// Those of the socket calls; that a connection can't be begun.
    pub(crate) fn open(
        target: &Arc<Target>,
        address: SocketAddr,
        source: Option<IpAddr>,
    ) -> io::Result<Self> {
        let source = source.unwrap_or(match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
        let socket = UdpSocket::bind(SocketAddr::new(source, 0))?;
        // So the kernel says when nobody listens there.
        socket.connect(address)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let mut endpoint =
            Endpoint::new(target.endpoint.clone(), None, !state.may_fragment(), None);
        let name = target.connector.server_name(&target.host);
        let begun = endpoint.connect(Instant::now(), target.config.clone(), address, name);
        let (handle, connection) = begun.map_err(io::Error::other)?;
        Ok(Self {
            target: target.clone(),
            socket,
            state,
            endpoint,
            handle,
            connection,
            stream: None,
            pending: None,
            has_ended: false,
            lost: None,
            is_refused: false,
        })
    }

    /// Whether MQTT can be sent.
    pub(crate) const fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the kernel has taken all that was due.
    pub(crate) const fn is_flushed(&self) -> bool {
        self.pending.is_none()
    }

    /// When it has something to do though nothing has come.
    pub(crate) fn due(&mut self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    /// Does what is due.
    pub(crate) fn elapse(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
        self.settle();
        self.transmit();
    }

    /// Takes and answers datagrams, and leaves what they say on the stream for later.
    pub(crate) fn attend(&mut self, buffer: &mut [u8]) {
        while buffer.len() >= RECEIVED_LEN && !self.receive(buffer) {}
        self.transmit();
    }

    /// Reads what has come. Gives how many bytes of MQTT are at the front of the buffer, and whether
    /// another read may give more.
    ///
    /// # Errors
    /// `WouldBlock` when nothing was there; `UnexpectedEof` when the broker has closed; why the connection
    /// is lost, once all that came before was read; `InvalidData` when the buffer is shorter than
    /// datagrams may be.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        if buffer.len() < RECEIVED_LEN {
            return Err(io::Error::new(ErrorKind::InvalidData, "frame exceeds the read buffer"));
        }
        let is_drained = self.receive(buffer);
        let len = self.take(buffer);
        self.transmit();
        let is_over = self.has_ended || self.lost.is_some() || self.is_refused;
        match &self.lost {
            _ if len > 0 => Ok((len, !is_drained || is_over || len == buffer.len())),
            _ if !is_drained => Ok((0, true)),
            Some(reason) => Err(self.why(reason)),
            None if self.has_ended => Err(ErrorKind::UnexpectedEof.into()),
            None if self.is_refused => Err(ErrorKind::ConnectionRefused.into()),
            None => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Takes bytes of MQTT as far as there is room for them; how many it were.
    ///
    /// # Errors
    /// `BrokenPipe` when the broker takes no more, `ConnectionRefused` when there is none.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        if let Some(stream) = self.stream
            && !bytes.is_empty()
        {
            taken = match self.connection.send_stream(stream).write(bytes) {
                Ok(taken) => taken,
                Err(WriteError::Blocked) => 0,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                    return Err(ErrorKind::BrokenPipe.into());
                }
            };
        }
        self.transmit();
        if self.is_refused { Err(ErrorKind::ConnectionRefused.into()) } else { Ok(taken) }
    }

    /// Takes datagrams, which pass through the buffer; whether there are no more of them.
    fn receive(&mut self, buffer: &mut [u8]) -> bool {
        let mut has_failed = true;
        for _ in 0..RECEIVES_MAX {
            let mut metas = [RecvMeta::default(); RECEIVED_AT_ONCE];
            let count = (buffer.len() / RECEIVED_LEN).min(RECEIVED_AT_ONCE);
            let mut pieces = buffer.chunks_exact_mut(RECEIVED_LEN);
            let mut slices: [_; RECEIVED_AT_ONCE] =
                std::array::from_fn(|_| IoSliceMut::new(pieces.next().unwrap_or_default()));
            let (slices, metas) = (&mut slices[..count], &mut metas[..count]);
            match self.state.recv(UdpSockRef::from(&self.socket), slices, metas) {
                Ok(received) => {
                    has_failed = false;
                    let now = Instant::now();
                    for (meta, slice) in metas.iter().zip(&*slices).take(received) {
                        self.handle(now, meta, &slice[..meta.len]);
                    }
                    self.settle();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) => self.note_error(&error),
            }
        }
        // Errors without an end are no datagrams.
        has_failed
    }

    /// Takes a note of what the kernel says of a datagram that was sent at some time. But for one thing it
    /// is no worse than a lost datagram, which is sent again: that one may have been too long for the way,
    /// that the device can't cut a batch (the next one is none), that buffers are full.
    fn note_error(&mut self, error: &io::Error) {
        self.is_refused |= error.kind() == ErrorKind::ConnectionRefused;
    }

    /// Takes what the kernel has put together.
    fn handle(&mut self, now: Instant, meta: &RecvMeta, bytes: &[u8]) {
        let mut datagrams = BytesMut::from(bytes);
        let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
        // What nobody knows here deserves no answer.
        let mut answer = Vec::new();
        while !datagrams.is_empty() {
            let datagram = datagrams.split_to(meta.stride.clamp(1, datagrams.len()));
            let event = self.endpoint.handle(now, meta.addr, None, ecn, datagram, &mut answer);
            if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                self.connection.handle_event(event);
            }
        }
    }

    /// Brings events where they belong.
    fn settle(&mut self) {
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected | Event::Stream(StreamEvent::Available { .. })
                    if self.stream.is_none() =>
                {
                    self.stream = self.connection.streams().open(Dir::Bi);
                }
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                _ => {}
            }
        }
    }

    /// Takes what the stream has.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let Some(stream) = self.stream else { return 0 };
        let mut len = 0;
        let mut stream = self.connection.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else {
            self.has_ended = true;
            return 0;
        };
        while len < buffer.len() {
            match chunks.next(buffer.len() - len) {
                Ok(Some(chunk)) => {
                    buffer[len..len + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                    len += chunk.bytes.len();
                }
                Err(ReadError::Blocked) => break,
                Ok(None) | Err(ReadError::Reset(_)) => {
                    self.has_ended = true;
                    break;
                }
            }
        }
        // What follows from it leaves with the next datagrams.
        let _ = chunks.finalize();
        len
    }

    /// Sends what is due, as far as the kernel takes it.
    fn transmit(&mut self) {
        let now = Instant::now();
        let segments = self.state.max_gso_segments().min(SEGMENTS_MAX);
        let mut buffer = Vec::new();
        loop {
            let transmit = match self.pending.take() {
                Some((transmit, bytes)) => {
                    buffer = bytes;
                    transmit
                }
                None => {
                    buffer.clear();
                    match self.connection.poll_transmit(now, segments, &mut buffer) {
                        Some(transmit) => transmit,
                        None => break,
                    }
                }
            };
            let datagrams = quinn_udp::Transmit {
                destination: transmit.destination,
                ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
                contents: &buffer[..transmit.size],
                segment_size: transmit.segment_size,
                src_ip: transmit.src_ip,
            };
            match self.state.try_send(UdpSockRef::from(&self.socket), &datagrams) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.pending = Some((transmit, buffer));
                    break;
                }
                Err(error) => self.note_error(&error),
                Ok(()) => {}
            }
        }
        self.settle();
    }

    /// Why a connection is lost, in the words of TLS where its handshake failed.
    fn why(&self, reason: &ConnectionError) -> io::Error {
        // An alert of TLS has codes of its own (RFC 9001, section 4.8).
        let alert = |code: u64| u8::try_from(code.checked_sub(0x100)?).ok();
        let fault = match reason {
            ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == 0 => {
                return ErrorKind::UnexpectedEof.into();
            }
            ConnectionError::TransportError(ours) if alert(ours.code.into()).is_some() => {
                let refused = self.target.connector.take_refused(&self.target.host);
                refused.map(|fault| TlsError::of_certificate(fault, reason))
            }
            ConnectionError::ConnectionClosed(close) => {
                alert(close.error_code.into()).map(|number| TlsError::of_alert(number, reason))
            }
            _ => None,
        };
        match fault {
            Some(fault) => io::Error::other(fault),
            None => io::Error::other(reason.clone()),
        }
    }
}

/// A connection that is dropped is closed, as a socket of TCP is.
impl Drop for Line {
    fn drop(&mut self) {
        self.connection.close(Instant::now(), VarInt::from_u32(0), Bytes::new());
        // A broker that is not told finds out by itself.
        self.transmit();
    }
}
