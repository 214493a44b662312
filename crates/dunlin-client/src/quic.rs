//! QUIC, as `quic://` asks for it: MQTT on the one stream of a connection that has a UDP socket of its
//! own. The connection survives a change of our address.

use crate::transport::Tcp;
use crate::{ConfigError, ConnectError};
use dunlin_transport::tls::{TlsConnector, TlsError};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, ConnectError as Unconnected, Connection, Endpoint, EndpointConfig, RecvStream,
    SendStream, TokioRuntime, TransportConfig, VarInt,
};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The name of MQTT in the handshake (ALPN), as registered.
const ALPN_MQTT: &[u8] = b"mqtt";

/// How often a connection without traffic shows that it is there: often enough for what lies on the
/// way not to forget it. Whether the Server is there is the Keep Alive's to find out.
const PROBE_AFTER: Duration = Duration::from_secs(25);

/// Bytes that the Server has not acknowledged: what was taken and is not sent when the connection is
/// dropped is lost, so that it should not be much.
const SEND_WINDOW: u64 = 256 * 1024;

/// How long the end of a connection may take once all was delivered.
const GOODBYE: Duration = Duration::from_millis(100);

/// How long an address is tried alone.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Makes QUIC connections.
#[derive(Clone)]
pub(crate) struct QuicConnector {
    tls: TlsConnector,
    config: ClientConfig,
}

impl QuicConnector {
    /// With these settings of TLS; MQTT is asked for unless they name protocols.
    pub(crate) fn new(tls: TlsConnector) -> Result<Self, ConfigError> {
        let mut config = (*tls.config()).clone();
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = vec![ALPN_MQTT.to_vec()];
        }
        let crypto = QuicClientConfig::try_from(config);
        let crypto = crypto.map_err(|error| ConfigError::Quic(error.to_string()))?;
        let mut transport = TransportConfig::default();
        transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
        transport.max_concurrent_uni_streams(VarInt::from_u32(0));
        transport.datagram_receive_buffer_size(None);
        transport.send_window(SEND_WINDOW);
        transport.keep_alive_interval(Some(PROBE_AFTER));
        // The Server's is enough.
        transport.max_idle_timeout(None);
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Ok(Self { tls, config })
    }

    /// Connects to whichever address of the server answers: where nobody listens nobody says so, so
    /// each further one is tried soon.
    pub(crate) async fn connect(&self, server: &Tcp) -> Result<QuicStream, ConnectError> {
        let mut addresses = server.addresses().await?;
        let mut attempts = JoinSet::new();
        let mut last_error = None;
        let mut next = addresses.next();
        while next.is_some() || !attempts.is_empty() {
            if let Some(address) = next.take() {
                let (connector, host) = (self.clone(), server.host.clone());
                attempts.spawn(async move { connector.connect_to(address, &host).await });
                next = addresses.next();
            }
            let attempt = match next {
                Some(_) => timeout(NEXT_ADDRESS_AFTER, attempts.join_next()).await,
                None => Ok(attempts.join_next().await),
            };
            match attempt {
                Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
                // The server is there: its other addresses may never say anything.
                Ok(Some(Ok(Err(Failure::Tls(source))))) => {
                    return Err(ConnectError::Tls { peer: server.peer(), source: source.into() });
                }
                Ok(Some(Ok(Err(Failure::Network(error))))) => last_error = Some(error),
                Ok(Some(Err(error))) => last_error = Some(error.into()),
                Ok(None) | Err(_) => {}
            }
        }
        Err(match last_error {
            Some(source) => {
                ConnectError::Transport { peer: server.peer(), source: Arc::new(source) }
            }
            None => server.unresolved(ErrorKind::NotFound.into()),
        })
    }

    async fn connect_to(&self, address: SocketAddr, host: &str) -> Result<QuicStream, Failure> {
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local).map_err(Failure::Network)?;
        let endpoint =
            Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime));
        let endpoint = endpoint.map_err(Failure::Network)?;
        let name = self.tls.server_name(host);
        let connecting = endpoint.connect_with(self.config.clone(), address, name);
        let connecting = connecting.map_err(Failure::unconnected)?;
        let connection = connecting.await.map_err(|error| self.failure(error, host))?;
        let opened = connection.open_bi().await;
        let (send, recv) = opened.map_err(|error| self.failure(error, host))?;
        Ok(QuicStream { send, recv, connection, endpoint, delivered: None })
    }
}

impl QuicConnector {
    /// Why there is no connection with a host.
    fn failure(&self, error: quinn::ConnectionError, host: &str) -> Failure {
        // What is wrong with TLS has codes of its own, on whichever side it was seen.
        match &error {
            quinn::ConnectionError::TransportError(ours) if alert(ours.code.into()).is_some() => {
                Failure::Tls(match self.tls.take_refused(host) {
                    Some(fault) => io::Error::other(TlsError::of_certificate(fault, &error)),
                    None => io::Error::other(error),
                })
            }
            quinn::ConnectionError::ConnectionClosed(close)
                if alert(close.error_code.into()).is_some() =>
            {
                Failure::Tls(lost(error))
            }
            _ => Failure::Network(error.into()),
        }
    }
}

/// Why there is no connection.
enum Failure {
    Network(io::Error),
    Tls(io::Error),
}

impl Failure {
    fn unconnected(error: Unconnected) -> Self {
        match error {
            Unconnected::InvalidServerName(_) => Self::Tls(io::Error::other(error)),
            error => Self::Network(io::Error::other(error)),
        }
    }
}

/// The alert of TLS that a code of an error stands for (RFC 9001 §4.8).
fn alert(code: u64) -> Option<u8> {
    u8::try_from(code.checked_sub(0x100)?).ok()
}

/// An error of a connection for whoever reads or writes. The Server finds fault with our certificate
/// after the handshake.
fn lost(error: quinn::ConnectionError) -> io::Error {
    let alert = match &error {
        quinn::ConnectionError::ConnectionClosed(close) => alert(close.error_code.into()),
        _ => None,
    };
    match alert {
        Some(number) => {
            io::Error::new(ErrorKind::ConnectionAborted, TlsError::of_alert(number, &error))
        }
        None => error.into(),
    }
}

type Delivered = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The stream of a connection. The connection is closed when this is dropped.
pub(crate) struct QuicStream {
    send: SendStream,
    recv: RecvStream,
    connection: Connection,
    endpoint: Endpoint,
    /// Ready when the Server has all that was written, and was told of the end.
    delivered: Option<Delivered>,
}

impl AsyncRead for QuicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match ready!(self.recv.poll_read_buf(cx, out)) {
            Err(quinn::ReadError::ConnectionLost(error)) if is_over(&error) => Poll::Ready(Ok(())),
            // Why it is lost: silence is one thing, a Server that knows nothing of it another.
            Err(quinn::ReadError::ConnectionLost(error)) => Poll::Ready(Err(lost(error))),
            read => Poll::Ready(read.map_err(io::Error::from)),
        }
    }
}

/// Whether the Server has closed the connection as it does when all was said.
fn is_over(error: &quinn::ConnectionError) -> bool {
    matches!(error, quinn::ConnectionError::ApplicationClosed(close)
        if close.error_code == VarInt::from_u32(0))
}

impl AsyncWrite for QuicStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.send).poll_write(cx, bytes).map_err(|error| match error {
            quinn::WriteError::ConnectionLost(error) => lost(error),
            error => error.into(),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was taken leaves by itself.
        Poll::Ready(Ok(()))
    }

    /// Ready when the Server has all of it: what is dropped before may be lost.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.delivered.is_none() {
            // It fails on a stream that is over.
            let _ = self.send.finish();
            let stopped = self.send.stopped();
            let (connection, endpoint) = (self.connection.clone(), self.endpoint.clone());
            self.delivered = Some(Box::pin(async move {
                let _ = stopped.await;
                connection.close(VarInt::from_u32(0), b"");
                // The program may end right after this, and nobody would send it then.
                let _ = timeout(GOODBYE, endpoint.wait_idle()).await;
            }));
        }
        match &mut self.delivered {
            Some(delivered) => delivered.as_mut().poll(cx).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for QuicStream {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}
