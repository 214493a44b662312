//! How a byte stream to the server comes about: TCP, or whatever the user brings.

use crate::address::Address;
use crate::{ConfigError, ConnectError};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Makes byte streams to the server, a new one for every attempt to connect.
///
/// Implement it to bring a transport of your own and keep automatic reconnect.
pub trait Transport: Send + 'static {
    /// The byte stream.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Establishes a byte stream. The caller drops the future when it takes too long.
    ///
    /// # Errors
    /// [`ConnectError::Resolve`] or [`ConnectError::Transport`].
    fn connect(&mut self) -> impl Future<Output = Result<Self::Io, ConnectError>> + Send;
}

/// TCP without Nagle's delay.
#[derive(Clone, Debug)]
pub(crate) struct Tcp {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Transport for Tcp {
    type Io = TcpStream;

    async fn connect(&mut self) -> Result<TcpStream, ConnectError> {
        let transport_error = |source: io::Error| ConnectError::Transport {
            peer: self.peer(),
            source: Arc::new(source),
        };
        let mut last_error = None;
        for address in self.addresses().await? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(transport_error)?;
                    return Ok(stream);
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(match last_error {
            Some(error) => transport_error(error),
            None => self.unresolved(io::ErrorKind::NotFound.into()),
        })
    }
}

impl Tcp {
    /// All addresses of the host.
    pub(crate) async fn addresses(&self) -> Result<impl Iterator<Item = SocketAddr>, ConnectError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        found.map_err(|error| self.unresolved(error))
    }

    /// Why the host has no address.
    pub(crate) fn unresolved(&self, source: io::Error) -> ConnectError {
        ConnectError::Resolve { host: self.host.clone(), source: Arc::new(source) }
    }
}

/// The transport that a URL names: TCP, and what the URL puts between it and MQTT.
///
/// [`crate::ClientBuilder::connect`] makes its own; this one is for programs that bring a connection
/// of their own ([`crate::ClientBuilder::connect_over`]) and wrap it, or speak MQTT by themselves.
#[derive(Clone)]
pub struct UrlTransport {
    pub(crate) tcp: Tcp,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<dunlin_transport::tls::TlsConnector>,
    /// The path that is asked for.
    #[cfg(feature = "websocket")]
    pub(crate) web_socket: Option<String>,
    /// In place of TCP.
    #[cfg(feature = "quic")]
    pub(crate) quic: Option<crate::quic::QuicConnector>,
    /// A socket within this machine, in place of TCP.
    #[cfg(unix)]
    pub(crate) socket: Option<std::path::PathBuf>,
    /// On the way.
    #[cfg(feature = "proxy")]
    pub(crate) proxy: Option<crate::proxy::Proxy>,
}

/// What follows the `?` of a path may be a secret.
impl std::fmt::Debug for UrlTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("UrlTransport");
        fields.field("tcp", &self.tcp);
        #[cfg(feature = "tls")]
        fields.field("is_secure", &self.tls.is_some());
        #[cfg(feature = "websocket")]
        fields.field("path", &self.web_socket.as_deref().map(crate::address::without_query));
        #[cfg(feature = "quic")]
        fields.field("is_quic", &self.quic.is_some());
        #[cfg(unix)]
        fields.field("socket", &self.socket);
        #[cfg(feature = "proxy")]
        fields.field("proxy", &self.proxy);
        fields.finish()
    }
}

impl UrlTransport {
    /// The transport of a URL; the credentials in it go unused.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        Self::of(
            &Address::parse(url)?,
            #[cfg(feature = "tls")]
            &crate::Tls::new(),
        )
    }

    /// The same with other settings of TLS than the default, for a URL that asks for it.
    ///
    /// # Errors
    /// [`ConfigError`].
    #[cfg(feature = "tls")]
    pub fn with_tls(url: &str, tls: &crate::Tls) -> Result<Self, ConfigError> {
        Self::of(&Address::parse(url)?, tls)
    }

    pub(crate) fn of(
        address: &Address,
        #[cfg(feature = "tls")] tls: &crate::Tls,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            tcp: Tcp { host: address.host.clone(), port: address.port },
            #[cfg(feature = "tls")]
            tls: (address.is_secure && !address.is_quic).then(|| tls.connector()).transpose()?,
            #[cfg(feature = "websocket")]
            web_socket: address.web_socket.clone(),
            #[cfg(feature = "quic")]
            quic: match address.is_quic {
                true => Some(crate::quic::QuicConnector::new(tls.connector()?)?),
                false => None,
            },
            #[cfg(unix)]
            socket: address.socket.clone(),
            #[cfg(feature = "proxy")]
            proxy: None,
        })
    }

    /// The same through a proxy: `http://[user:password@]host[:port]`, which is asked by the method
    /// CONNECT, or `socks5://`. It resolves the server's name. Sockets within this machine are
    /// reached without it.
    ///
    /// # Errors
    /// [`ConfigError::Proxy`], or [`ConfigError::ProxyForQuic`].
    #[cfg(feature = "proxy")]
    pub fn with_proxy(mut self, url: &str) -> Result<Self, ConfigError> {
        self.check_proxy()?;
        self.proxy = Some(crate::proxy::Proxy::parse(url)?);
        Ok(self)
    }
}

#[cfg(feature = "proxy")]
impl UrlTransport {
    /// Whether a proxy may be on the way.
    pub(crate) fn check_proxy(&self) -> Result<(), ConfigError> {
        #[cfg(feature = "quic")]
        if self.quic.is_some() {
            return Err(ConfigError::ProxyForQuic);
        }
        Ok(())
    }
}

/// A byte stream of any kind.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<Io: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for Io {}

impl Transport for UrlTransport {
    type Io = Box<dyn ByteStream>;

    async fn connect(&mut self) -> Result<Box<dyn ByteStream>, ConnectError> {
        #[cfg(unix)]
        if let Some(path) = &self.socket {
            let opened = tokio::net::UnixStream::connect(path).await;
            let peer = path.display().to_string();
            return match opened {
                Ok(stream) => Ok(Box::new(stream)),
                Err(source) => Err(ConnectError::Transport { peer, source: Arc::new(source) }),
            };
        }
        #[cfg(feature = "quic")]
        if let Some(quic) = &self.quic {
            return Ok(Box::new(quic.connect(&self.tcp).await?));
        }
        let stream: Box<dyn ByteStream> = self.secured().await?;
        #[cfg(feature = "websocket")]
        if let Some(path) = &self.web_socket {
            let peer = self.tcp.peer();
            let upgraded = crate::websocket::WebSocketStream::connect(stream, &peer, path).await;
            return match upgraded {
                Ok(stream) => Ok(Box::new(stream)),
                // TLS has its last word after the handshake.
                #[cfg(feature = "tls")]
                Err(source) if dunlin_transport::tls::TlsFault::of(&source).is_some() => {
                    Err(ConnectError::Tls { peer, source: Arc::new(source) })
                }
                Err(source) => Err(ConnectError::WebSocket { peer, source: Arc::new(source) }),
            };
        }
        Ok(stream)
    }
}

impl UrlTransport {
    async fn secured(&mut self) -> Result<Box<dyn ByteStream>, ConnectError> {
        #[cfg(feature = "tls")]
        if let Some(connector) = &self.tls {
            let failed = |source: io::Error| ConnectError::Tls {
                peer: self.tcp.peer(),
                source: Arc::new(source),
            };
            let session = connector.session(&self.tcp.host).map_err(io::Error::other);
            let session = session.map_err(failed)?;
            let tcp = self.clone().dial().await?;
            let stream = crate::tls::TlsStream::connect(tcp, session).await.map_err(failed)?;
            return Ok(Box::new(stream));
        }
        Ok(Box::new(self.dial().await?))
    }

    async fn dial(&mut self) -> Result<TcpStream, ConnectError> {
        #[cfg(feature = "proxy")]
        if let Some(proxy) = &mut self.proxy {
            return proxy.connect(&self.tcp).await;
        }
        self.tcp.connect().await
    }
}

impl Tcp {
    /// Host and port, as a URL has them.
    pub(crate) fn peer(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// A byte stream that is there already, and cannot be made again.
pub(crate) struct Once<Io>(pub(crate) Option<Io>);

impl<Io: AsyncRead + AsyncWrite + Unpin + Send + 'static> Transport for Once<Io> {
    type Io = Io;

    async fn connect(&mut self) -> Result<Io, ConnectError> {
        self.0.take().ok_or_else(|| ConnectError::Transport {
            peer: "the given stream".to_owned(),
            source: Arc::new(io::ErrorKind::NotConnected.into()),
        })
    }
}
