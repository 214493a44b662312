//! Which web pages may connect: a browser lets any page open a WebSocket and tells which it was.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A longer origin is refused; a scheme, a DNS name and a port fit twice.
pub const ORIGIN_LEN_MAX: usize = 512;

/// The origins from which a browser may connect.
///
/// A request without `Origin` comes from no browser, and is let through. What it says in `Host` is
/// never compared: by DNS rebinding a page can have any name resolve to this listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins {
    allowed: Vec<String>,
    any: bool,
    loopback: bool,
}

/// Not an origin as browsers send it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an origin: write scheme://host or scheme://host:port, `null` or `*`")]
pub struct InvalidOrigin(pub String);

impl Origins {
    /// These origins, as `https://example.org` or `http://localhost:8080`; `null` is that of pages
    /// without one (files), `*` stands for all.
    ///
    /// # Errors
    /// [`InvalidOrigin`] with the first that is none.
    pub fn new<I>(origins: I) -> Result<Self, InvalidOrigin>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut result = Self::default();
        for origin in origins {
            let origin = origin.as_ref();
            match origin {
                "*" => result.any = true,
                "null" => result.allowed.push(origin.to_owned()),
                _ => {
                    let normal = origin.strip_suffix('/').unwrap_or(origin);
                    let normal = normalize(normal);
                    let invalid = || InvalidOrigin(origin.to_owned());
                    result.allowed.push(normal.ok_or_else(invalid)?);
                }
            }
        }
        Ok(result)
    }

    /// Whether pages of this very machine may connect too, from whatever port: for listeners that
    /// nobody else can reach.
    #[must_use]
    pub fn with_loopback(mut self, allowed: bool) -> Self {
        self.loopback = allowed;
        self
    }

    /// Whether a page of this origin may connect.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        if origin.len() > ORIGIN_LEN_MAX {
            return false;
        }
        if self.any || (origin == "null" && self.allowed.iter().any(|allowed| allowed == "null")) {
            return true;
        }
        let Some(origin) = normalize(origin) else { return false };
        self.allowed.contains(&origin) || (self.loopback && is_loopback(&origin))
    }
}

/// The origin in small letters and without the scheme's own port, as browsers send it.
fn normalize(origin: &str) -> Option<String> {
    let origin = origin.to_ascii_lowercase();
    let (scheme, authority) = origin.split_once("://")?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.bytes().all(letter) {
        return None;
    }
    let (host, port) = split_port(authority)?;
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
    let valid = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(named),
    };
    if !valid {
        return None;
    }
    match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => Some(format!("{scheme}://{host}")),
        (_, Some(port)) => Some(format!("{scheme}://{host}:{port}")),
    }
}

/// Host and port, of which the host may be an address in brackets.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let host_end = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let rest = authority.get(host_end..)?;
    let Some(colon) = rest.find(':') else { return Some((authority, None)) };
    let port = rest.get(colon + 1..)?;
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((authority.get(..host_end + colon)?, Some(port.parse().ok()?)))
}

/// Whether the host of a normal origin is this machine, whatever a name server says.
fn is_loopback(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Some((host, _)) = split_port(authority) else { return false };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    matches!(scheme, "http" | "https")
        && (host == "localhost"
            || host.ends_with(".localhost")
            || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
            || address.is_some_and(|a| a.parse().is_ok_and(|a: Ipv6Addr| a.is_loopback())))
}
