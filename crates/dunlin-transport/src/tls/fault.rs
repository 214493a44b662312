//! Why there is no session, or none any more: in shapes that a program can tell apart.

use rustls::pki_types::ServerName;
use rustls::{CertificateError, Error, InvalidMessage};
use std::fmt;
use std::io;
use std::net::IpAddr;

/// Names of a certificate that are told, at most: how many there are is up to whoever made it.
const NAMES_MAX: usize = 16;

/// How plain HTTP begins, where TLS was expected.
pub(super) const HTTP: &[u8] = b"HTTP/";

/// Why a session is over: the peer broke the protocol, or is not whom it has to be, or says that we are
/// not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct TlsError {
    text: String,
    fault: TlsFault,
}

/// What is wrong, as far as somebody could mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsFault {
    /// The peer speaks something else.
    NoTls,
    /// The peer speaks HTTP, without TLS.
    Http,
    /// The peer's certificate is not accepted.
    Certificate(CertificateFault),
    /// The peer has shown no certificate, and has to.
    NoCertificate,
    /// The peer has ended the session. Where it finds fault with a client's certificate, or that it has
    /// none, TLS 1.3 has this come after the handshake, in place of its first bytes.
    Alert(TlsAlert),
    /// Anything else.
    Other,
}

/// Why a certificate is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateFault {
    /// No authority has signed it that is trusted here.
    UnknownIssuer,
    /// It is signed by its own key, and not trusted here.
    SelfSigned,
    /// It has another signature than the authority's that it names: one of the same name and of
    /// another key has signed it.
    BadSignature,
    /// It is that of an authority (`CA:TRUE`), which none of a server or client can be.
    Authority,
    /// It is another's than the one that was asked for.
    Name {
        /// The host name or address that was asked for.
        asked: String,
        /// The host names and addresses that it has, the first 16 of them if there are more (a Common
        /// Name does not count); `None` if the system does not tell.
        names: Option<Vec<String>>,
    },
    /// It has ended.
    Expired {
        /// When, in seconds since 1970 (UTC), if the system tells.
        not_after: Option<u64>,
    },
    /// It has not begun.
    NotYetValid {
        /// When it does, in seconds since 1970 (UTC), if the system tells.
        not_before: Option<u64>,
    },
    /// It is for another purpose: that of a client in place of a server's, or the other way round.
    Purpose,
    /// It was called back.
    Revoked,
    /// Anything else.
    Other,
}

/// Why the peer has ended a session, by the names of RFC 8446, section 6.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsAlert {
    /// Nothing of what we offer is good enough; before TLS 1.3 also that it wants a certificate.
    HandshakeFailure,
    /// Something is wrong with our certificate.
    BadCertificate,
    /// Our certificate is of a kind that it does not take.
    UnsupportedCertificate,
    /// Our certificate was called back.
    CertificateRevoked,
    /// Our certificate has ended, or not begun.
    CertificateExpired,
    /// Our certificate is not accepted, for some other reason.
    CertificateUnknown,
    /// It does not trust the authority of our certificate.
    UnknownCa,
    /// Our certificate is sound, and does not let us in.
    AccessDenied,
    /// It can't verify a signature, such as that of our certificate.
    DecryptError,
    /// It speaks other versions of TLS.
    ProtocolVersion,
    /// It wants stronger ciphers.
    InsufficientSecurity,
    /// It knows no host of the name that was asked for.
    UnrecognizedName,
    /// It wants a certificate, and we have shown none.
    CertificateRequired,
    /// It speaks none of the protocols that we offer (ALPN).
    NoApplicationProtocol,
    /// Anything else, by its number.
    Other(u8),
}

impl From<u8> for TlsAlert {
    fn from(number: u8) -> Self {
        match number {
            40 => Self::HandshakeFailure,
            42 => Self::BadCertificate,
            43 => Self::UnsupportedCertificate,
            44 => Self::CertificateRevoked,
            45 => Self::CertificateExpired,
            46 => Self::CertificateUnknown,
            48 => Self::UnknownCa,
            49 => Self::AccessDenied,
            51 => Self::DecryptError,
            70 => Self::ProtocolVersion,
            71 => Self::InsufficientSecurity,
            112 => Self::UnrecognizedName,
            116 => Self::CertificateRequired,
            120 => Self::NoApplicationProtocol,
            number => Self::Other(number),
        }
    }
}

impl TlsFault {
    /// The fault that an error of IO stands for, as the streams of a client have them; nothing if TLS
    /// has no part in it.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        Some(error.get_ref()?.downcast_ref::<TlsError>()?.fault())
    }
}

impl CertificateFault {
    /// What a verifier has against a certificate that has to have this name.
    pub(super) fn of(error: &CertificateError, name: &ServerName<'_>) -> Self {
        match Self::told_by(error) {
            Self::Name { names, .. } => Self::Name { asked: name.to_str().into_owned(), names },
            fault => fault,
        }
    }

    /// The same where no name was asked for.
    fn told_by(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Expired => Self::Expired { not_after: None },
            CertificateError::ExpiredContext { not_after, .. } => {
                Self::Expired { not_after: Some(not_after.as_secs()) }
            }
            CertificateError::NotValidYet => Self::NotYetValid { not_before: None },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid { not_before: Some(not_before.as_secs()) }
            }
            CertificateError::NotValidForName => Self::Name { asked: String::new(), names: None },
            CertificateError::NotValidForNameContext { expected, presented } => Self::Name {
                asked: expected.to_str().into_owned(),
                names: Some(
                    presented.iter().filter_map(|name| plain(name)).take(NAMES_MAX).collect(),
                ),
            },
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::Purpose
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::BadSignature => Self::BadSignature,
            CertificateError::Other(other) => match other.0.downcast_ref() {
                Some(webpki::Error::CaUsedAsEndEntity) => Self::Authority,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// A name out of `DnsName("a.b")` or `IpAddress(1.2.3.4)`, as the verifier has it; of what else a
/// certificate may name nothing is connected to. It may hold anything, and is shown to people.
fn plain(name: &str) -> Option<String> {
    if let Some(address) = name.strip_prefix("IpAddress(") {
        let address: IpAddr = address.strip_suffix(')')?.parse().ok()?;
        return Some(address.to_string());
    }
    let name = name.strip_prefix("DnsName(\"")?.strip_suffix("\")")?;
    name.bytes().all(|byte| byte.is_ascii_graphic()).then(|| name.to_owned())
}

impl TlsError {
    pub(super) fn new(error: &impl fmt::Display) -> Self {
        Self { text: error.to_string(), fault: TlsFault::Other }
    }

    /// What a session that was resumed is refused for.
    #[cfg(feature = "tls-server")]
    pub(super) fn no_certificate(text: &str) -> Self {
        Self { text: text.to_owned(), fault: TlsFault::NoCertificate }
    }

    /// An alert that the peer has sent, by its number, where it does not come through a
    /// [`super::TlsSession`]; and what is said of it.
    #[must_use]
    pub fn of_alert(number: u8, error: &impl fmt::Display) -> Self {
        Self { text: error.to_string(), fault: TlsFault::Alert(number.into()) }
    }

    /// A certificate of the peer's that was refused where there is no [`super::TlsSession`].
    #[must_use]
    pub fn of_certificate(fault: CertificateFault, error: &impl fmt::Display) -> Self {
        Self { text: error.to_string(), fault: TlsFault::Certificate(fault) }
    }

    pub(super) fn of(error: &Error) -> Self {
        let fault = match error {
            Error::InvalidCertificate(error) => {
                TlsFault::Certificate(CertificateFault::told_by(error))
            }
            Error::InvalidCertRevocationList(_) => TlsFault::Certificate(CertificateFault::Other),
            Error::NoCertificatesPresented => TlsFault::NoCertificate,
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFault::NoTls,
            Error::AlertReceived(alert) => TlsFault::Alert(u8::from(*alert).into()),
            _ => TlsFault::Other,
        };
        match fault {
            TlsFault::NoTls => Self { text: "the peer does not speak TLS".to_owned(), fault },
            fault => Self { text: error.to_string(), fault },
        }
    }

    /// The same, of whose fault more is known.
    pub(super) fn with(self, fault: TlsFault) -> Self {
        Self { fault, ..self }
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> &TlsFault {
        &self.fault
    }

    /// Whether the peer was turned away for its certificate, or for showing none.
    #[must_use]
    pub const fn is_of_certificate(&self) -> bool {
        matches!(self.fault, TlsFault::Certificate(_) | TlsFault::NoCertificate)
    }

    /// Whether what came is no TLS.
    #[must_use]
    pub const fn is_no_tls(&self) -> bool {
        matches!(self.fault, TlsFault::NoTls | TlsFault::Http)
    }
}
