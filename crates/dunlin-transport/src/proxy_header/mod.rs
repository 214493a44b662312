//! The PROXY protocol: the header by which a proxy or load balancer tells for whom it connects.
//!
//! A header says who somebody is, so it is worth as much as whoever sends it: read it from
//! addresses that are trusted, demand it there, and take it from nobody else.
//!
//! ```
//! use dunlin_transport::proxy_header;
//!
//! let input = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 1883\r\n\x10\x0d";
//! let (header, len) = proxy_header::parse(input).unwrap().unwrap();
//! assert_eq!(header.source(), Some("192.0.2.7:50000".parse().unwrap()));
//! assert_eq!(&input[len..], b"\x10\x0d");
//! ```

mod v1;
mod v2;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use v2::LEN_MAX as V2_LEN_MAX;

/// Who is behind a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    local: bool,
    addresses: Option<Addresses>,
    authority: Option<String>,
    tls: Option<ProxyTls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Addresses {
    source: SocketAddr,
    destination: SocketAddr,
}

impl ProxyHeader {
    /// Whether the proxy speaks for itself, as in a health check.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.local
    }

    /// Where the client's connection comes from. `None` if the proxy speaks for itself or doesn't
    /// know: then its own address counts.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.addresses.map(|addresses| addresses.source)
    }

    /// Where the client connected to, at the proxy.
    #[must_use]
    pub fn destination(&self) -> Option<SocketAddr> {
        self.addresses.map(|addresses| addresses.destination)
    }

    /// The name that the client asked for, which is the SNI if it used TLS.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The client's TLS, if it used TLS towards the proxy and the proxy tells of it.
    #[must_use]
    pub const fn tls(&self) -> Option<&ProxyTls> {
        self.tls.as_ref()
    }
}

/// What a proxy tells of a client's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyTls {
    certificate: ClientCertificate,
    version: Option<String>,
    common_name: Option<String>,
}

/// What became of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// The client has shown none, neither now nor in the session that it resumed. (The protocol's
    /// `verify` is zero also here.)
    Absent,
    /// The proxy could not verify it.
    Unverified,
    /// The proxy has verified it.
    Verified,
}

impl ProxyTls {
    /// What became of the client's certificate.
    #[must_use]
    pub const fn certificate(&self) -> ClientCertificate {
        self.certificate
    }

    /// The version, as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The Common Name of a certificate that the proxy has verified; of others it is not told.
    #[must_use]
    pub fn verified_common_name(&self) -> Option<&str> {
        match self.certificate {
            ClientCertificate::Verified => self.common_name.as_deref(),
            ClientCertificate::Absent | ClientCertificate::Unverified => None,
        }
    }
}

/// Why something isn't a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyHeaderError {
    /// It begins neither as version 1 nor as version 2.
    #[error("the connection does not begin with a PROXY header")]
    Missing,
    /// Version 1: more than 107 bytes without an end of line.
    #[error("a PROXY line of more than 107 bytes")]
    LongLine,
    /// Version 1: not the words, numbers and single spaces that belong there.
    #[error("a PROXY line that is not as the protocol writes it")]
    Line,
    /// Version 2: another version or command.
    #[error("unknown version or command {0:#04x} in a PROXY header")]
    Command(u8),
    /// Version 2: addresses of an unknown kind, or of datagrams.
    #[error("address family {0:#04x} in a PROXY header")]
    Family(u8),
    /// Version 2: more than [`V2_LEN_MAX`] bytes after the first 16.
    #[error("a PROXY header of {0} bytes")]
    Long(u16),
    /// Version 2: too short for its addresses.
    #[error("a PROXY header without room for its addresses")]
    Short,
    /// Version 2: an additional field that doesn't end where its header does, or is too short or
    /// too long for its kind.
    #[error("field {0:#04x} of a PROXY header has a wrong length")]
    FieldLength(u8),
    /// Version 2: a field that may stand once.
    #[error("field {0:#04x} stands twice in a PROXY header")]
    Repeated(u8),
    /// Version 2: a text that is empty, not UTF-8, or has control characters.
    #[error("field {0:#04x} of a PROXY header is not a text")]
    Text(u8),
    /// Version 2: the checksum is wrong.
    #[error("the checksum of a PROXY header is wrong")]
    Checksum,
}

/// Reads a header at the beginning of a connection; gives it with its length.
///
/// `None`: more input is needed, for which this is to be called again with all of it. That is never
/// more than 107 bytes in version 1 and 16 + [`V2_LEN_MAX`] in version 2.
///
/// # Errors
/// [`ProxyHeaderError`] as soon as it is sure: the connection can't be trusted and is to be closed.
pub fn parse(input: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    match input.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(input),
        Some(_) => v2::parse(input),
    }
}

/// Whether a connection begins with a header of either version, whatever that says: for whoever expects
/// none. `None` while too little has come to tell; [`BEGINNING_LEN`] bytes are enough.
#[must_use]
pub fn begins(input: &[u8]) -> Option<bool> {
    let prefix = if *input.first()? == b'P' { v1::PREFIX } else { v2::SIGNATURE };
    match agrees(input, prefix) {
        true if input.len() < prefix.len() => None,
        agrees => Some(agrees),
    }
}

/// The bytes that [`begins`] looks at.
pub const BEGINNING_LEN: usize = v2::SIGNATURE.len();

/// Whether the input is the beginning of a prefix, or begins with it.
fn agrees(input: &[u8], prefix: &[u8]) -> bool {
    input.iter().zip(prefix).all(|(byte, expected)| byte == expected)
}

/// A text that can be logged, compared and made an identity: not empty, UTF-8, and without control
/// characters.
fn text(bytes: &[u8]) -> Option<String> {
    let text = str::from_utf8(bytes).ok()?;
    let valid = !text.is_empty() && !text.chars().any(char::is_control);
    valid.then(|| text.to_owned())
}
