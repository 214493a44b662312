//! What lies between TCP and MQTT: TLS, WebSocket, both, or nothing.

use dunlin_transport::tls::TlsConnector;

/// How all clients of a run carry MQTT over TCP.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    pub(crate) tls: Option<Tls>,
    pub(crate) web_socket: Option<WebSocketTarget>,
}

/// Whom a client expects at the other end of TLS.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) connector: TlsConnector,
    pub(crate) host: String,
}

/// What a client asks the server of a WebSocket for.
#[derive(Debug, Clone)]
pub(crate) struct WebSocketTarget {
    pub(crate) host: String,
    pub(crate) path: String,
}

impl Transport {
    /// MQTT directly on TCP.
    pub const fn plain() -> Self {
        Self { tls: None, web_socket: None }
    }

    /// Within TLS with this host, whose certificate has to be of this name.
    #[must_use]
    pub fn with_tls(mut self, connector: TlsConnector, host: impl Into<String>) -> Self {
        self.tls = Some(Tls { connector, host: host.into() });
        self
    }

    /// Within WebSocket: the host, with its port unless it is the scheme's own, and the path, which
    /// begins with `/`.
    #[must_use]
    pub fn with_web_socket(mut self, host: impl Into<String>, path: impl Into<String>) -> Self {
        self.web_socket = Some(WebSocketTarget { host: host.into(), path: path.into() });
        self
    }
}
