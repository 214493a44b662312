//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Addresses, ProxyHeader, ProxyHeaderError, agrees};

/// The longest line, with its end.
const LINE_LEN_MAX: usize = 107;
pub(super) const PREFIX: &[u8] = b"PROXY ";

pub(super) fn parse(input: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    if !agrees(input, PREFIX) {
        return Err(ProxyHeaderError::Missing);
    }
    let line = input.get(..LINE_LEN_MAX).unwrap_or(input);
    let Some(end) = line.iter().position(|byte| *byte == b'\r' || *byte == b'\n') else {
        let full = line.len() == LINE_LEN_MAX;
        return if full { Err(ProxyHeaderError::LongLine) } else { Ok(None) };
    };
    match line.get(end..) {
        Some([b'\r', b'\n', ..]) => {}
        Some([b'\r']) if end + 1 < LINE_LEN_MAX => return Ok(None),
        Some([b'\r']) => return Err(ProxyHeaderError::LongLine),
        _ => return Err(ProxyHeaderError::Line),
    }
    let words = line.get(PREFIX.len()..end).and_then(|words| str::from_utf8(words).ok());
    let addresses = words.and_then(addresses).ok_or(ProxyHeaderError::Line)?;
    let header = ProxyHeader { addresses: addresses.known(), ..ProxyHeader::default() };
    Ok(Some((header, end + 2)))
}

enum Named {
    Known(Addresses),
    Unknown,
}

impl Named {
    fn known(self) -> Option<Addresses> {
        match self {
            Self::Known(addresses) => Some(addresses),
            Self::Unknown => None,
        }
    }
}

/// What stands between the prefix and the end of the line.
fn addresses(words: &str) -> Option<Named> {
    let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
    match kind {
        "TCP4" => pair::<Ipv4Addr>(rest).map(Named::Known),
        "TCP6" => pair::<Ipv6Addr>(rest).map(Named::Known),
        // What else the line says is to be ignored.
        "UNKNOWN" => Some(Named::Unknown),
        _ => None,
    }
}

fn pair<A: FromStr + Into<IpAddr>>(text: &str) -> Option<Addresses> {
    let mut words = text.split(' ');
    let mut next = || words.next();
    let (source, destination, source_port, destination_port) = (next()?, next()?, next()?, next()?);
    if next().is_some() {
        return None;
    }
    let socket_address = |address: &str, number: &str| {
        let address: A = address.parse().ok()?;
        Some(SocketAddr::new(address.into(), port(number)?))
    };
    Some(Addresses {
        source: socket_address(source, source_port)?,
        destination: socket_address(destination, destination_port)?,
    })
}

/// A decimal number without sign and leading zeros.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}
