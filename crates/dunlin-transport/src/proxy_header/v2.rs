//! Version 2: binary, with additional fields of type, length and value.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, ClientCertificate, ProxyHeader, ProxyHeaderError, ProxyTls, agrees, text};

/// The most that may come after the first 16 bytes: addresses and additional fields.
pub const LEN_MAX: u16 = 4096;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_LEN: usize = 16;

const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;

/// The client used TLS.
const CLIENT_SSL: u8 = 0x01;
/// It showed a certificate, in this connection or in the session that it resumed.
const CLIENT_CERT: u8 = 0x02 | 0x04;

pub(super) fn parse(input: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    if !agrees(input, SIGNATURE) {
        return Err(ProxyHeaderError::Missing);
    }
    let rest = input.get(SIGNATURE.len()..).unwrap_or_default();
    let command = match rest.first() {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(other) => return Err(ProxyHeaderError::Command(*other)),
    };
    let [_, family, high, low, rest @ ..] = rest else { return Ok(None) };
    let len = u16::from_be_bytes([*high, *low]);
    if len > LEN_MAX {
        return Err(ProxyHeaderError::Long(len));
    }
    let Some(body) = rest.get(..usize::from(len)) else { return Ok(None) };
    let header = match command {
        // What a proxy says for itself is to be skipped, whatever it is.
        Command::Local => ProxyHeader { local: true, ..ProxyHeader::default() },
        Command::Proxy => {
            let whole = input.get(..FIXED_LEN + body.len()).unwrap_or_default();
            parse_body(*family, body, whole)?
        }
    };
    Ok(Some((header, FIXED_LEN + body.len())))
}

enum Command {
    Local,
    Proxy,
}

fn parse_body(family: u8, body: &[u8], whole: &[u8]) -> Result<ProxyHeader, ProxyHeaderError> {
    let (addresses, fields) = match family {
        0x00 => (None, body),
        0x11 => {
            let (block, fields) = split::<12>(body)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *block;
            let source = Ipv4Addr::new(a, b, c, d);
            (Some(addresses(source, Ipv4Addr::new(e, f, g, h), ports)), fields)
        }
        0x21 => {
            let (source, rest) = split::<16>(body)?;
            let (destination, rest) = split::<16>(rest)?;
            let (ports, fields) = split::<4>(rest)?;
            (Some(addresses(Ipv6Addr::from(*source), Ipv6Addr::from(*destination), *ports)), fields)
        }
        // Two paths of Unix sockets, which say nothing of where somebody is.
        0x31 => (None, split::<216>(body)?.1),
        _ => return Err(ProxyHeaderError::Family(family)),
    };
    let (mut authority, mut tls, mut checksum) = (None, None, None);
    let mut fields = Fields(fields);
    while let Some(field) = fields.next() {
        let (kind, value) = field?;
        match kind {
            AUTHORITY => set(&mut authority, kind, parse_text(kind, value)?)?,
            CRC32C => {
                let value = value.try_into().map_err(|_| ProxyHeaderError::FieldLength(kind))?;
                let place = whole.len().saturating_sub(fields.0.len() + 4);
                set(&mut checksum, kind, (u32::from_be_bytes(value), place))?;
            }
            UNIQUE_ID if value.len() > 128 => return Err(ProxyHeaderError::FieldLength(kind)),
            SSL => set(&mut tls, kind, parse_tls(value)?)?,
            _ => {}
        }
    }
    if let Some((expected, place)) = checksum
        && expected != checksum_of(whole, place)
    {
        return Err(ProxyHeaderError::Checksum);
    }
    Ok(ProxyHeader { local: false, addresses, authority, tls: tls.flatten() })
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), ProxyHeaderError> {
    bytes.split_first_chunk().ok_or(ProxyHeaderError::Short)
}

fn addresses<A: Into<std::net::IpAddr>>(source: A, destination: A, ports: [u8; 4]) -> Addresses {
    let [a, b, c, d] = ports;
    Addresses {
        source: SocketAddr::new(source.into(), u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination.into(), u16::from_be_bytes([c, d])),
    }
}

fn set<T>(place: &mut Option<T>, kind: u8, value: T) -> Result<(), ProxyHeaderError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ProxyHeaderError::Repeated(kind)),
    }
}

fn parse_text(kind: u8, value: &[u8]) -> Result<String, ProxyHeaderError> {
    text(value).ok_or(ProxyHeaderError::Text(kind))
}

/// The field that tells of TLS; `None` if the client used none.
fn parse_tls(value: &[u8]) -> Result<Option<ProxyTls>, ProxyHeaderError> {
    let Some(([client, verify @ ..], fields)) = value.split_first_chunk::<5>() else {
        return Err(ProxyHeaderError::FieldLength(SSL));
    };
    let certificate = match (client & CLIENT_CERT, verify) {
        (0, _) => ClientCertificate::Absent,
        (_, [0, 0, 0, 0]) => ClientCertificate::Verified,
        _ => ClientCertificate::Unverified,
    };
    let (mut version, mut common_name) = (None, None);
    for field in Fields(fields) {
        let (kind, value) = field?;
        match kind {
            SSL_VERSION => set(&mut version, kind, parse_text(kind, value)?)?,
            SSL_CN => set(&mut common_name, kind, parse_text(kind, value)?)?,
            _ => {}
        }
    }
    let used = client & CLIENT_SSL != 0;
    Ok(used.then_some(ProxyTls { certificate, version, common_name }))
}

/// Fields of one byte of type, two of length, and a value.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u8, &'a [u8]), ProxyHeaderError>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = *self.0.first()?;
        let field = match self.0 {
            [_, high, low, rest @ ..] => {
                rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))
            }
            _ => None,
        };
        let (value, rest) = field.unwrap_or_default();
        self.0 = rest;
        Some(field.map(|_| (kind, value)).ok_or(ProxyHeaderError::FieldLength(kind)))
    }
}

/// CRC-32C of the whole header, with zeros in place of the checksum itself.
fn checksum_of(whole: &[u8], place: usize) -> u32 {
    let bytes = (0..).zip(whole);
    let zeroed = bytes.map(|(at, byte)| if (place..place + 4).contains(&at) { 0 } else { *byte });
    !zeroed.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            // The polynomial of Castagnoli, bits reversed. Headers are short: no table.
            if sum & 1 == 0 { sum >> 1 } else { (sum >> 1) ^ 0x82f6_3b78 }
        })
    })
}
