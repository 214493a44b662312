//! Where the broker listens: a URL whose scheme names the transport.

mod error;
mod parse;
mod show;

pub use error::ListenerError;
pub(super) use show::encode;

use super::{Endpoint, Network, SocketFile, WebSocketListener};
use crate::core::Durability;
use dunlin_identity::certificate::CertificateField;
use dunlin_transport::tls::{ClientCertificate, ServerFiles};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One address that clients connect to; prints as its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listener {
    /// What it is bound to.
    pub endpoint: Endpoint,
    /// The files of its TLS, if it has one.
    pub tls: Option<ServerFiles>,
    /// Which requests become WebSockets; without it, MQTT lies directly on TCP or TLS.
    pub web_socket: Option<WebSocketListener>,
    /// Whether MQTT lies on QUIC, with the TLS above, and not on TCP.
    pub is_quic: bool,
    /// The proxies that say by a PROXY header for whom they connect. Unless it is empty, nobody else
    /// is served, and nobody without a header.
    pub proxy_from: Vec<Network>,
    /// What an acknowledgement means to those who come by it; the broker's default if unset.
    pub durability: Option<Durability>,
    /// Which part of a client's certificate is its user, unless it is known by something else.
    pub certificate_user: CertificateField,
}

impl Listener {
    /// The options that its URL may have after the `?`, and its table in the file beside `url`.
    pub(super) const OPTIONS: [&str; 12] = [
        "durability",
        "mode",
        "certificate",
        "key",
        "client_ca",
        "client_crl",
        "client_certificate",
        "old_crl",
        "certificate_user",
        "proxy_from",
        "path",
        "origins",
    ];

    /// A listener for MQTT over TCP.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self {
            endpoint: Endpoint::Address(address),
            tls: None,
            web_socket: None,
            is_quic: false,
            proxy_from: Vec::new(),
            durability: None,
            certificate_user: CertificateField::CommonName,
        }
    }

    /// A listener for MQTT over TLS.
    pub fn tls(address: SocketAddr, files: ServerFiles) -> Self {
        Self { tls: Some(files), ..Self::tcp(address) }
    }

    /// A listener for MQTT over QUIC; the broker needs the feature `quic` for it.
    pub fn quic(address: SocketAddr, files: ServerFiles) -> Self {
        Self { is_quic: true, ..Self::tls(address, files) }
    }

    /// A listener for MQTT by a socket in the file system.
    pub fn unix(file: SocketFile) -> Self {
        Self { endpoint: Endpoint::Socket(file), ..Self::default() }
    }

    /// The address that it is bound to, unless it is a socket in the file system.
    pub const fn address(&self) -> Option<SocketAddr> {
        match &self.endpoint {
            Endpoint::Address(address) => Some(*address),
            Endpoint::Socket(_) => None,
        }
    }

    /// The same listener for MQTT within WebSocket.
    #[must_use]
    pub fn with_web_socket(mut self, web_socket: WebSocketListener) -> Self {
        self.web_socket = Some(web_socket);
        self
    }

    /// The same listener, where this part of a client's certificate is its user.
    #[must_use]
    pub const fn with_certificate_user(mut self, field: CertificateField) -> Self {
        self.certificate_user = field;
        self
    }

    /// The scheme of its URL.
    pub const fn scheme(&self) -> &'static str {
        match (self.web_socket.is_some(), self.tls.is_some()) {
            _ if matches!(self.endpoint, Endpoint::Socket(_)) => "unix",
            _ if self.is_quic => "quic",
            (false, false) => "mqtt",
            (false, true) => "mqtts",
            (true, false) => "ws",
            (true, true) => "wss",
        }
    }

    /// Its URL without options.
    pub fn url(&self) -> String {
        let path = self.web_socket.as_ref().and_then(|web_socket| web_socket.path.as_deref());
        format!("{}://{}{}", self.scheme(), self.endpoint, path.unwrap_or_default())
    }

    /// Whether nobody gets in who is not known by a certificate.
    pub fn knows_its_clients(&self) -> bool {
        let files = self.tls.as_ref();
        files.is_some_and(|files| files.client_certificate == ClientCertificate::Required)
    }

    /// Whether clients may show a certificate.
    pub(crate) fn asks_for_certificates(&self) -> bool {
        let files = self.tls.as_ref();
        files.is_some_and(|files| files.client_certificate != ClientCertificate::None)
    }

    /// Whether both can't be open at the same time.
    pub(super) fn collides_with(&self, other: &Self) -> bool {
        match (&self.endpoint, &other.endpoint) {
            (Endpoint::Address(own), Endpoint::Address(others)) => {
                // Datagrams have ports of their own, and 0 is any that is free.
                let is_same_port = own.port() == others.port() && own.port() != 0;
                let is_same_kind = self.is_quic == other.is_quic;
                let (own_ip, other_ip) = (own.ip(), others.ip());
                let overlap = own == others || covers(own_ip, other_ip) || covers(other_ip, own_ip);
                is_same_port && is_same_kind && overlap
            }
            (Endpoint::Socket(own), Endpoint::Socket(others)) => own.path == others.path,
            _ => false,
        }
    }

    /// Whether others than this machine can reach it, and what they send can be read on the way.
    pub(super) fn is_plaintext(&self) -> bool {
        !self.is_within() && self.tls.is_none()
    }

    /// Whether nobody but this machine can connect to it.
    fn is_within(&self) -> bool {
        self.address().is_none_or(|address| address.ip().is_loopback())
    }

    /// Whether others than this machine can reach it, and come in without being known.
    pub fn is_exposed(&self) -> bool {
        !self.is_local() && !self.knows_its_clients()
    }

    /// Where there is an exposed listener: what is wrong, and what the operator can do.
    pub(crate) fn exposure(&self) -> String {
        let url = self.url();
        let reach = match self.is_within() {
            true => "serves a proxy, by which other machines reach it",
            false => "can be reached from other machines",
        };
        let secure = if self.web_socket.is_some() { "wss" } else { "mqtts" };
        let known = match &self.tls {
            None if self.is_within() => {
                format!("an auth.password_file, or {secure}:// with a client_ca")
            }
            None => format!("an auth.password_file or a client_ca, either with {secure}://"),
            Some(_) if self.asks_for_certificates() => {
                "an auth.password_file, or without client_certificate = optional".to_owned()
            }
            Some(_) => "an auth.password_file or a client_ca".to_owned(),
        };
        let elsewhere = match (self.is_within(), self.proxy_from.is_empty()) {
            (true, _) => "leave its proxy_from out",
            (false, true) => "listen on 127.0.0.1",
            (false, false) => "listen on 127.0.0.1 without proxy_from",
        };
        format!(
            "listener {url} {reach}, and anyone could connect; say who may by {known}, {elsewhere}, \
             or set allow_anonymous = true (or --allow-anonymous) if that is meant"
        )
    }

    /// Whether only this machine can reach it, and no proxy stands for others.
    pub(crate) fn is_local(&self) -> bool {
        self.is_within() && self.proxy_from.is_empty()
    }
}

/// Whether what is bound to the first address gets what is sent to the second.
fn covers(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.to_canonical().is_ipv4())
}

impl Default for Listener {
    fn default() -> Self {
        Self::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, parse::MQTT_PORT)))
    }
}
