//! Until when the certificates and lists of a server are of use.

use std::fmt;
use std::path::{Path, PathBuf};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

/// What has a date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dated {
    /// A certificate: it is of no use after its `notAfter`.
    Certificate,
    /// A list of revoked certificates: there should be a newer one after its `nextUpdate`.
    RevocationList,
}

/// Until when the contents of a file are of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub dated: Dated,
    /// The earliest end of all that are in it, in seconds since 1970 (UTC).
    pub until: i64,
}

impl Validity {
    /// That of certificates in DER. Nothing if none has a date that can be read.
    pub(super) fn of_certificates<'a>(
        path: &Path,
        certificates: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let ends = certificates.into_iter().filter_map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            Some(certificate.validity().not_after.timestamp())
        });
        Self::of(path, Dated::Certificate, ends)
    }

    /// That of revocation lists in DER; not every one has a date.
    pub(super) fn of_lists<'a>(
        path: &Path,
        lists: impl IntoIterator<Item = &'a [u8]>,
    ) -> Option<Self> {
        let ends = lists.into_iter().filter_map(|der| {
            let (_, list) = CertificateRevocationList::from_der(der).ok()?;
            Some(list.next_update()?.timestamp())
        });
        Self::of(path, Dated::RevocationList, ends)
    }

    fn of(path: &Path, dated: Dated, ends: impl Iterator<Item = i64>) -> Option<Self> {
        Some(Self { path: path.to_owned(), dated, until: ends.min()? })
    }
}

/// Prints its end: "Nov 23 05:00:00 2026 +00:00".
impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ASN1Time::from_timestamp(self.until) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} s after 1970", self.until),
        }
    }
}
