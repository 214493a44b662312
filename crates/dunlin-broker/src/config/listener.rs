//! Where the broker listens: a URL whose scheme names the transport.

use crate::core::Durability;
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
    /// What an acknowledgement means to those who come by it; the broker's default if unset.
    pub durability: Option<Durability>,
}

impl Listener {
    /// A listener for MQTT over TCP.
    pub const fn tcp(address: SocketAddr) -> Self {
        Self { address, durability: None }
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT)))
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mqtt://{}", self.address)?;
        match self.durability {
            Some(durability) => write!(f, "?durability={}", durability.name()),
            None => Ok(()),
        }
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
    /// What follows the `?` isn't known.
    #[error("{0:?} is no option of a listener; there is durability=memory, written or fsync")]
    Option(String),
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

impl FromStr for Listener {
    type Err = ListenerError;

    /// Parses `mqtt://ADDRESS[:PORT][?durability=LEVEL]`. A host name is resolved; of its addresses the first
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
        let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut durability = None;
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let Some(("durability", level)) = option.split_once('=') else {
                return Err(ListenerError::Option(option.to_owned()));
            };
            let named = Durability::from_name(level);
            durability = Some(named.ok_or_else(|| ListenerError::Durability(level.to_owned()))?);
        }
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        resolve(authority).map(|address| Self { address, durability })
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
