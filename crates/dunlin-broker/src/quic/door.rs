//! A listener's endpoint: who comes, its handshake, and its first stream.

#[cfg(test)]
mod tests;

use super::gate::{Gate, Place, Reception, Visitor};
use super::pace::{Handshake, Pace, PacedRuntime};
use super::{Phase, identity, relay};
use crate::core::{Durability, LimitCause};
use crate::front::Certificates;
use crate::net::{Relayed, Stream, Transport};
use crate::worker::Opened;
use bytes::BytesMut;
use dunlin_transport::tls::ServerTls;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, IdleTimeout, Incoming, RecvStream, Runtime as _,
    SendStream, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

/// Who comes at most before it is looked at, and what it may send by then.
const INCOMING_MAX: usize = 1024;
const INCOMING_LEN_MAX: u64 = 16 * 1024;
const INCOMING_LEN_TOTAL: u64 = 4 * 1024 * 1024;

/// Bytes of a connection that are under way in each direction: what it sends before a worker reads it,
/// and what it has not acknowledged.
const WINDOW: u32 = 256 * 1024;

/// How long a silent peer may be before it is asked whether it is there, and before it is held to be
/// gone: as with TCP, so that the Keep Alive of MQTT decides, and a connection without one ends some time.
const PROBE_AFTER: Duration = Duration::from_secs(120);
const GONE_AFTER_MILLIS: u32 = 390_000;

/// How long an endpoint that has failed is left alone.
const REST: Duration = Duration::from_millis(100);
/// How long connections may take to say their last words when the broker stops, and the endpoint to tell
/// those who did not.
const FAREWELL: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_millis(300);

/// What an endpoint is made of.
pub(crate) struct DoorParts {
    pub(crate) socket: UdpSocket,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) durability: Durability,
    /// Its number among the listeners of the configuration.
    pub(crate) listener: u16,
}

pub(super) struct Door {
    endpoint: Endpoint,
    /// For the next endpoint, if this one fails.
    socket: UdpSocket,
    driven: Driven,
    certificates: Arc<Certificates>,
    transport: Arc<TransportConfig>,
    /// What was made last, and of what.
    current: (Arc<ServerTls>, Arc<ServerConfig>),
    durability: Durability,
    listener: u16,
    gate: Arc<Gate>,
}

/// How a socket is read and written.
type Driven = fn(UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>>;

/// A connection that comes, with what its listener has said about it.
struct Guest {
    incoming: Incoming,
    peer: SocketAddr,
    tls: Arc<ServerTls>,
    config: Arc<ServerConfig>,
    durability: Durability,
    listener: u16,
    gate: Arc<Gate>,
}

impl Door {
    /// Takes a socket into use. Within the runtime that is to run it.
    ///
    /// # Errors
    /// What the system says, or that the certificate is of no use for QUIC.
    pub(super) fn open(parts: DoorParts, gate: Arc<Gate>) -> io::Result<Self> {
        Self::open_driven(parts, gate, |socket| TokioRuntime.wrap_udp_socket(socket))
    }

    fn open_driven(parts: DoorParts, gate: Arc<Gate>, driven: Driven) -> io::Result<Self> {
        let DoorParts { socket, certificates, durability, listener } = parts;
        let transport = Arc::new(transport());
        let tls = certificates.current();
        let config = Arc::new(server_config(&tls, &transport)?);
        let current = (tls, config);
        let endpoint = endpoint(&socket, driven, &gate, &current)?;
        Ok(Self {
            endpoint,
            socket,
            driven,
            certificates,
            transport,
            current,
            durability,
            listener,
            gate,
        })
    }

    /// Takes up whoever comes until the broker stops, then waits for those who are there, and has the
    /// endpoint tell those who did not leave in time.
    pub(super) async fn run(mut self) {
        let mut guests = JoinSet::new();
        let mut stopped = self.gate.stopped.clone();
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                _ = stopped.wait_for(|phase| *phase >= Phase::Closes) => break,
                Some(ended) = guests.join_next() => {
                    note_panic(&ended);
                    continue;
                }
            };
            let Some(incoming) = incoming else {
                let listener = self.certificates.listener();
                self.gate.tell_endpoint(listener, &"it has failed, and its connections are lost");
                tokio::select! {
                    () = self.begin_anew() => continue,
                    _ = stopped.wait_for(|phase| *phase >= Phase::Closes) => break,
                }
            };
            if let Some((guest, visitor)) = self.receive(incoming) {
                tokio::select! {
                    () = self.gate.keep_rate() => {}
                    _ = stopped.wait_for(|phase| *phase >= Phase::Closes) => break,
                }
                guests.spawn(guest.stay(visitor));
            }
        }
        self.endpoint.set_server_config(None);
        let all = async {
            while let Some(ended) = guests.join_next().await {
                note_panic(&ended);
            }
        };
        tokio::select! {
            () = all => {}
            () = farewell(stopped) => {
                tracing::debug!("a client of QUIC did not take its last bytes in time");
            }
        }
        self.endpoint.close(relay::NO_ERROR, b"");
        // What tells them is under way; more is not waited for.
        let _ = timeout(GOODBYE, self.endpoint.wait_idle()).await;
    }

    /// Makes another endpoint of the socket. The connections of the one before are lost, which it tells
    /// whoever goes on with them.
    async fn begin_anew(&mut self) {
        loop {
            sleep(REST).await;
            let current = self.current();
            match endpoint(&self.socket, self.driven, &self.gate, &current) {
                Ok(endpoint) => {
                    self.endpoint = endpoint;
                    return;
                }
                Err(error) => self.gate.tell_endpoint(self.certificates.listener(), &error),
            }
        }
    }

    /// Looks at somebody who comes; nothing if it was turned away.
    fn receive(&mut self, incoming: Incoming) -> Option<(Guest, Visitor)> {
        let peer = incoming.remote_address();
        match self.gate.receive(peer.ip(), incoming.remote_address_validated()) {
            Reception::Counted(visitor) => {
                let (tls, config) = self.current();
                let (durability, listener, gate) =
                    (self.durability, self.listener, self.gate.clone());
                let guest = Guest { incoming, peer, tls, config, durability, listener, gate };
                Some((guest, visitor))
            }
            Reception::Prove => {
                if let Err(error) = incoming.retry() {
                    tracing::debug!(%peer, "a connection can't be asked for a proof: {error}");
                }
                None
            }
            Reception::Refused => {
                incoming.refuse();
                None
            }
        }
    }

    /// What a new connection gets: certificates may have been read again.
    fn current(&mut self) -> (Arc<ServerTls>, Arc<ServerConfig>) {
        let tls = self.certificates.current();
        if !Arc::ptr_eq(&tls, &self.current.0) {
            match server_config(&tls, &self.transport) {
                Ok(config) => self.current = (tls, Arc::new(config)),
                Err(error) => tracing::error!("certificates are of no use for QUIC: {error}"),
            }
        }
        self.current.clone()
    }
}

/// Waits until the workers have ended, and what they said last was to be taken.
async fn farewell(mut stopped: watch::Receiver<Phase>) {
    // Without a sender the broker is gone.
    let _ = stopped.wait_for(|phase| *phase >= Phase::Ends).await;
    sleep(FAREWELL).await;
}

fn endpoint(
    socket: &UdpSocket,
    driven: Driven,
    gate: &Gate,
    (tls, config): &(Arc<ServerTls>, Arc<ServerConfig>),
) -> io::Result<Endpoint> {
    Endpoint::new_with_abstract_socket(
        identity::endpoint_config(tls, socket.local_addr()?),
        Some(config.as_ref().clone()),
        driven(socket.try_clone()?)?,
        Arc::new(PacedRuntime(gate.pace.clone())),
    )
}

fn note_panic(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a connection of QUIC has panicked: {error}");
    }
}

impl Guest {
    /// All of a connection, from its handshake to its end.
    async fn stay(self, visitor: Visitor) {
        let Self { incoming, peer, tls, config, durability, listener, gate } = self;
        let mut stopped = gate.stopped.clone();
        let begun = tokio::select! {
            begun = begin(incoming, config, &tls, visitor) => begun,
            _ = stopped.wait_for(|phase| *phase >= Phase::Closes) => return,
        };
        let (connection, streams) = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                tracing::debug!(%peer, "a connection of QUIC came to nothing: {failure}");
                if failure.is_of_certificate() {
                    gate.tell_certificate(peer, &failure);
                }
                match failure {
                    Failure::NoPlace => gate.tell_limited(LimitCause::HalfOpen),
                    Failure::Late | Failure::GivenUp => {
                        gate.tell_limited(LimitCause::HandshakeTimeout);
                    }
                    Failure::Connection(_) | Failure::Certificate(_) => {}
                }
                return;
            }
        };
        let pair = pair(peer, own_certificate(&connection));
        let (stream, ours) = match pair {
            Ok(pair) => pair,
            Err(error) => {
                gate.tell_system(&error);
                return;
            }
        };
        let (transport, rest) = (Transport::plain(stream), BytesMut::new());
        gate.hand_over(Opened { transport, rest, durability, listener });
        relay::relay(&connection, streams, ours, &gate.leaving).await;
    }
}

/// What we end a connection with whose certificate is not accepted, is for something else, was revoked,
/// has ended, is of an unknown authority, or is missing: alerts of TLS (RFC 9001, section 4.8).
const CERTIFICATE_ALERTS: [u64; 7] = [0x12a, 0x12b, 0x12c, 0x12d, 0x12e, 0x130, 0x174];

/// Why a connection never had a stream.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no place in time")]
    NoPlace,
    #[error("it took longer than limits.handshake_timeout_secs")]
    Late,
    #[error("it took long, and others waited")]
    GivenUp,
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error("{0}")]
    Certificate(#[from] dunlin_transport::tls::TlsError),
}

impl Failure {
    /// Whether we have refused the client's certificate, or that it has none.
    fn is_of_certificate(&self) -> bool {
        match self {
            Self::Certificate(error) => error.is_of_certificate(),
            Self::Connection(quinn::ConnectionError::TransportError(error)) => {
                CERTIFICATE_ALERTS.contains(&u64::from(error.code))
            }
            _ => false,
        }
    }
}

/// Shakes hands, and waits for the first stream.
async fn begin(
    incoming: Incoming,
    config: Arc<ServerConfig>,
    tls: &ServerTls,
    visitor: Visitor,
) -> Result<(Connection, (SendStream, RecvStream)), Failure> {
    let pace = visitor.pace();
    let Some(place) = visitor.place().await else {
        incoming.ignore();
        return Err(Failure::NoPlace);
    };
    let handshake = shake_hands(incoming, config, tls, &pace, &place);
    timeout_at(place.until(), handshake).await.unwrap_or(Err(Failure::Late))
}

async fn shake_hands(
    incoming: Incoming,
    config: Arc<ServerConfig>,
    tls: &ServerTls,
    pace: &Pace,
    place: &Place,
) -> Result<(Connection, (SendStream, RecvStream)), Failure> {
    let handshake = Arc::new(Handshake::default());
    let connecting = pace.accept(&handshake, || incoming.accept_with(config)).await?;
    // Before the handshake is over it only tells what has come: nothing is sent by it.
    let Ok((connection, shaken)) = connecting.into_0rtt() else {
        // A server's connection is there from its first packet on.
        return Err(Failure::Late);
    };
    let received = || connection.stats().udp_rx.datagrams;
    tokio::select! {
        _ = shaken => {}
        () = place.silence(received) => return Err(Failure::GivenUp),
    }
    if let Some(error) = connection.close_reason() {
        return Err(error.into());
    }
    handshake.end();
    if let Err(error) = tls.check_client(&certificates(&connection)) {
        connection.close(relay::NOT_LET_IN, b"the certificate is not accepted any more");
        return Err(error.into());
    }
    let streams = tokio::select! {
        streams = connection.accept_bi() => streams?,
        () = place.patience() => return Err(Failure::GivenUp),
    };
    Ok((connection, streams))
}

/// The certificates that the peer has shown, its own first.
fn certificates(connection: &Connection) -> Vec<CertificateDer<'static>> {
    let shown = connection.peer_identity().and_then(|shown| shown.downcast().ok());
    shown.map_or_else(Vec::new, |shown| *shown)
}

fn own_certificate(connection: &Connection) -> Option<Vec<u8>> {
    certificates(connection).first().map(|certificate| certificate.to_vec())
}

/// The worker's end, and ours.
fn pair(peer: SocketAddr, certificate: Option<Vec<u8>>) -> io::Result<(Stream, UnixStream)> {
    let (theirs, ours) = StdUnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    let stream = mio::net::UnixStream::from_std(theirs);
    let stream = Stream::Relayed(Box::new(Relayed { stream, peer, certificate }));
    Ok((stream, UnixStream::from_std(ours)?))
}

fn server_config(tls: &ServerTls, transport: &Arc<TransportConfig>) -> io::Result<ServerConfig> {
    // Its early data is off, as everywhere.
    let crypto = QuicServerConfig::try_from(tls.config()).map_err(io::Error::other)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(transport.clone());
    config.migration(true);
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_LEN_MAX);
    config.incoming_buffer_size_total(INCOMING_LEN_TOTAL);
    Ok(config)
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    transport.datagram_receive_buffer_size(None);
    transport.stream_receive_window(VarInt::from_u32(WINDOW));
    transport.receive_window(VarInt::from_u32(WINDOW));
    transport.send_window(u64::from(WINDOW));
    transport.keep_alive_interval(Some(PROBE_AFTER));
    transport.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(GONE_AFTER_MILLIS))));
    transport
}
