//! Where the broker listens: a URL whose scheme names the transport.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The port of `mqtt://` when none is given, as registered for MQTT.
const MQTT_PORT: u16 = 1883;

/// One address that clients connect to; prints as its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listener {
    /// The address to bind; port 0 lets the system choose one.
    pub address: SocketAddr,
}

impl Listener {
    /// A listener for MQTT over TCP.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self { address }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT)))
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}", self.address)
    }
}

/// Why a listener's URL is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// There is no `scheme://` in front.
    #[error("{0:?} has no scheme; write it as mqtt://{0}")]
    NoScheme(String),
    /// The transport exists, but not in this version.
    #[error("{0}:// listeners are not in this version; use mqtt://")]
    NotYet(String),
    /// No transport has this name.
    #[error("{0}:// is no transport; use mqtt://ADDRESS:PORT")]
    UnknownScheme(String),
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

impl FromStr for Listener {
    type Err = ListenerError;

    /// Parses `mqtt://ADDRESS[:PORT]`. A host name is resolved; of its addresses the first
    /// IPv4 one is taken, or the first when it has none.
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(ListenerError::NoScheme(url.to_owned()));
        };
        match scheme {
            "mqtt" => {}
            "mqtts" | "ws" | "wss" | "quic" | "unix" => {
                return Err(ListenerError::NotYet(scheme.to_owned()));
            }
            _ => return Err(ListenerError::UnknownScheme(scheme.to_owned())),
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        resolve(authority).map(Self::tcp)
    }
}

fn resolve(authority: &str) -> Result<SocketAddr, ListenerError> {
    if let Ok(address) = authority.parse() {
        return Ok(address);
    }
    let invalid = || ListenerError::Address(authority.to_owned());
    let (host, port) = match authority.rsplit_once(':') {
        // A bracket after the last colon belongs to an IPv6 address without a port.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| invalid())?),
        _ => (authority, MQTT_PORT),
    };
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.strip_suffix(']').and_then(|address| address.parse().ok());
        return address.map(|ip| SocketAddr::new(ip, port)).ok_or_else(invalid);
    }
    if host.is_empty() || host.contains([':', '/', '@', '?', '#', ' ']) {
        return Err(invalid());
    }
    let unresolved = |reason: String| ListenerError::Unresolved { host: host.to_owned(), reason };
    let addresses: Vec<_> =
        (host, port).to_socket_addrs().map_err(|error| unresolved(error.to_string()))?.collect();
    let preferred = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    preferred.copied().ok_or_else(|| unresolved("it has no address".to_owned()))
}
