//! What lies between the sockets and MQTT: nothing, TLS, WebSocket, both; or QUIC.

use dunlin_transport::tls::{TlsConnector, TlsError};
use thiserror::Error;

/// How all clients of a run carry MQTT.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    pub(crate) tls: Option<Tls>,
    pub(crate) web_socket: Option<WebSocketTarget>,
    #[cfg(feature = "quic")]
    pub(crate) quic: Option<std::sync::Arc<crate::quic::Target>>,
}

/// Settings that no connection could be made with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// No certificate could be of the name.
    #[error(transparent)]
    Name(#[from] TlsError),
    /// QUIC can't do with the settings of TLS.
    #[cfg(feature = "quic")]
    #[error(transparent)]
    Quic(#[from] quinn_proto::crypto::rustls::NoInitialCipherSuite),
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
    pub fn plain() -> Self {
        Self::default()
    }

    /// Over QUIC to this host, whose certificate has to be of this name; MQTT is asked for in the
    /// handshake, unless the settings name other protocols.
    ///
    /// # Errors
    /// When QUIC can't do with the settings, or no certificate could be of the name.
    #[cfg(feature = "quic")]
    pub fn quic(connector: TlsConnector, host: impl Into<String>) -> Result<Self, TransportError> {
        let target = crate::quic::Target::new(connector, host.into())?;
        Ok(Self { quic: Some(target.into()), ..Self::default() })
    }

    /// Within TLS with this host, whose certificate has to be of this name.
    ///
    /// # Errors
    /// When no certificate could be of the name.
    pub fn with_tls(
        mut self,
        connector: TlsConnector,
        host: impl Into<String>,
    ) -> Result<Self, TransportError> {
        let host = host.into();
        connector.session(&host)?;
        self.tls = Some(Tls { connector, host });
        Ok(self)
    }

    /// Within WebSocket: the host, with its port unless it is the scheme's own, and the path, which
    /// begins with `/`.
    #[must_use]
    pub fn with_web_socket(mut self, host: impl Into<String>, path: impl Into<String>) -> Self {
        self.web_socket = Some(WebSocketTarget { host: host.into(), path: path.into() });
        self
    }

    /// What it is called.
    pub(crate) fn name(&self) -> &'static str {
        match (&self.tls, &self.web_socket) {
            _ if self.has_timers() => "QUIC",
            (None, None) => "TCP",
            (Some(_), None) => "TLS",
            (None, Some(_)) => "WebSocket",
            (Some(_), Some(_)) => "WebSocket within TLS",
        }
    }

    /// Whether its connections have timers of their own.
    pub(crate) fn has_timers(&self) -> bool {
        #[cfg(feature = "quic")]
        return self.quic.is_some();
        #[cfg(not(feature = "quic"))]
        false
    }
}
