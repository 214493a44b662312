//! What can be wrong with a listener's URL and options.

use super::Listener;
use crate::config::InvalidNetwork;

/// Why a listener's URL is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// There is no `scheme://` in front.
    #[error("{0:?} has no scheme; write it as mqtt://{0}")]
    NoScheme(String),
    /// The transport exists, but this program was built without it.
    #[error(
        "{0}:// listeners are not in this build, which lacks the feature {0}; use mqtt://, mqtts://, \
         ws://, wss:// or unix://"
    )]
    NotBuilt(String),
    /// No transport has this name.
    #[error(
        "{0}:// is no transport; use mqtt://ADDRESS:PORT, or mqtts, ws, wss or quic in its place"
    )]
    UnknownScheme(String),
    /// What follows the `?` isn't known.
    #[error("{0:?} is no option of a listener; there are {options}", options = Listener::OPTIONS.join(", "))]
    Option(String),
    /// An option of TLS where there is none.
    #[error(
        "{name} is for TLS, and {scheme}:// has none; use {secure}://",
        secure = if scheme == "ws" { "wss" } else { "mqtts" }
    )]
    NeedsTls {
        /// The option.
        name: String,
        /// The transport.
        scheme: String,
    },
    /// An option of WebSocket where there is none.
    #[error("{name} is for WebSocket, and {scheme}:// is none; use ws:// or wss://")]
    NeedsWebSocket {
        /// The option.
        name: String,
        /// The transport.
        scheme: String,
    },
    /// Not the path of a socket.
    #[error("{0:?} is no path of a socket; write it like unix:///run/dunlin.sock")]
    SocketPath(String),
    /// Not who may connect to a socket.
    #[error("{0:?} is no mode of a file, such as 0660")]
    Mode(String),
    /// A mode without a file.
    #[error("mode is for unix://, and {0}:// has no file")]
    NeedsSocket(String),
    /// A proxy that would come by a socket in the file system.
    #[error("proxy_from is for addresses, and unix:// has none")]
    NeedsNetwork,
    /// A proxy that would come over QUIC.
    #[error("proxy_from is for TCP: there is no PROXY header over quic://")]
    NeedsTcp,
    /// Not where a proxy could be.
    #[error("proxy_from: {0}")]
    ProxyFrom(InvalidNetwork),
    /// Not the path of a URL.
    #[error("{0:?} is no path, such as /mqtt")]
    Path(String),
    /// Not where a web page could come from.
    #[error("{0:?} is no origin of web pages, such as https://example.org, nor * for all")]
    Origin(String),
    /// A listener with TLS has nothing to show.
    #[error("{0}:// needs certificate=FILE and key=FILE; `dunlin cert` makes both for a trial")]
    NoCertificate(&'static str),
    /// A certificate without a key, or a key without a certificate.
    #[error(
        "certificate and key name as many files, with | between them: the first key is that of the \
         first certificate"
    )]
    KeysAndCertificates,
    /// Client certificates are asked for, and nobody says whose.
    #[error(
        "client_certificate, client_crl and certificate_user need client_ca=FILE, whose certificates \
         clients may show"
    )]
    NoClientCa,
    /// It is said whose certificates clients may show, and that none is asked for.
    #[error("client_ca is of no use with client_certificate=none; leave one of them out")]
    UnusedClientCa,
    /// No part of a certificate that a user could be.
    #[error("{0:?} is no certificate_user; there are cn, dns, uri, email and subject")]
    CertificateUser(String),
    /// There is no such way with a list that is past its date.
    #[error("{0:?} is no old_crl; there are refuse and accept")]
    OldCrl(String),
    /// There is no such demand for a certificate.
    #[error("{0:?} is no client_certificate; there are none, optional and required")]
    ClientCertificate(String),
    /// No level of safety has this name.
    #[error("{0:?} is no durability; there are memory, written and fsync")]
    Durability(String),
    /// What follows the scheme isn't an address with an optional port.
    #[error("{0:?} is no ADDRESS:PORT, such as 127.0.0.1:1883 or [::1]:1883")]
    Address(String),
    /// The host name has no address.
    #[error("host {host:?} can't be resolved: {reason}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
}
