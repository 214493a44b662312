//! Listeners with their sockets, before there is anybody who accepts from them.

use super::StartError;
use crate::config::{Endpoint, Listener, Network};
use crate::core::Durability;
use crate::front::Certificates;
use crate::net::{Acceptor, Listening, bind, bind_datagrams, bind_file};
#[cfg(feature = "quic")]
use crate::quic::DoorParts;
use dunlin_transport::tls::{ALPN_HTTP, ALPN_MQTT};
use dunlin_transport::websocket::upgrade::Policy;
use std::io;
use std::sync::Arc;

/// A listener with its socket.
pub(super) struct Bound {
    pub(super) socket: Listening,
    pub(super) proxies: Vec<Network>,
    pub(super) tls: Option<Arc<Certificates>>,
    pub(super) web_socket: Option<Arc<Policy>>,
    durability: Durability,
    /// Its place among the listeners of the configuration.
    number: u16,
}

impl Bound {
    pub(super) fn new(
        listener: &Listener,
        durability: Durability,
        number: u16,
    ) -> Result<Self, StartError> {
        let web_socket = listener.web_socket.as_ref();
        let protocol = if web_socket.is_some() { ALPN_HTTP } else { ALPN_MQTT };
        let tls = listener.tls.as_ref();
        let tls = tls.map(|files| Certificates::load(listener.url(), files, protocol)).transpose();
        let tls = tls.map_err(|source| StartError::Tls { listener: listener.url(), source })?;
        let tls = tls.map(Arc::new);
        let socket = match &listener.endpoint {
            _ if listener.is_quic && !cfg!(feature = "quic") => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "this build lacks the feature quic"))
            }
            Endpoint::Address(address) if listener.is_quic => bind_datagrams(*address),
            Endpoint::Address(address) => bind(*address),
            Endpoint::Socket(file) => bind_file(file),
        };
        let socket = socket.map_err(|source| StartError::listen(listener, source))?;
        let web_socket =
            web_socket.map(|web_socket| Arc::new(web_socket.policy(listener.is_local())));
        let durability = listener.durability.unwrap_or(durability);
        let proxies = listener.proxy_from.clone();
        Ok(Self { socket, proxies, tls, web_socket, durability, number })
    }

    /// The listening socket, for one more thread.
    pub(super) fn acceptor(&self) -> io::Result<Acceptor> {
        Acceptor::new(&self.socket, self.durability, self.number)
    }

    /// Whether MQTT lies on QUIC.
    pub(super) const fn is_quic(&self) -> bool {
        matches!(self.socket, Listening::Udp(_))
    }

    /// What QUIC needs of it, if it is there for that.
    #[cfg(feature = "quic")]
    pub(super) fn quic_door(&self) -> io::Result<Option<DoorParts>> {
        let (Listening::Udp(socket), Some(certificates)) = (&self.socket, &self.tls) else {
            return Ok(None);
        };
        Ok(Some(DoorParts {
            socket: socket.try_clone()?,
            certificates: certificates.clone(),
            durability: self.durability,
            listener: self.number,
        }))
    }

    /// Whether something comes before MQTT.
    pub(super) const fn has_handshake(&self) -> bool {
        self.tls.is_some() || self.web_socket.is_some() || !self.proxies.is_empty()
    }
}
