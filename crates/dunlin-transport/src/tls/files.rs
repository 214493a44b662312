//! The files that a server's TLS is made of: its certificate and key, and who signs its clients'.

use super::ServerTls;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use std::fs;
use std::path::{Path, PathBuf};

/// How often files that change while they are read are read again.
const READINGS_MAX: usize = 3;

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientCertificate {
    /// None is asked for.
    #[default]
    None,
    /// One is asked for, and checked if it comes.
    Optional,
    /// Nobody gets in without one.
    Required,
}

impl ClientCertificate {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Optional, Self::Required];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

/// A certificate that a server shows, and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the certificate, then those that lead to the one that clients trust.
    pub certificate: PathBuf,
    /// PEM: the key of that certificate.
    pub key: PathBuf,
}

/// The files of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// PEM: the server's certificate, then those that lead to the one that clients trust.
    pub certificate: PathBuf,
    /// PEM: the key of that certificate.
    pub key: PathBuf,
    /// Further certificates: of those for the name that a client asks for (SNI), or of all if none is,
    /// it is shown one that it can verify; one with that very name before one with a wildcard, then in
    /// their order, of which the one above is the first.
    pub further: Vec<CertificateFiles>,
    /// PEM: whose certificates clients may show.
    pub client_ca: Option<PathBuf>,
    /// PEM: lists of certificates of clients that were revoked.
    pub client_crl: Option<PathBuf>,
    /// Whether a client has to show a certificate.
    pub client_certificate: ClientCertificate,
    /// Whether a list goes on to count when there should be a newer one. Otherwise nobody gets in by
    /// a certificate then.
    pub accepts_old_crl: bool,
}

/// A file that is of no use, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct TlsFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and the mend.
    pub reason: String,
}

impl TlsFileError {
    pub(super) fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}

impl ServerFiles {
    /// The files, in the order in which they are read.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let always = [&self.certificate, &self.key].into_iter();
        let further = self.further.iter().flat_map(|files| [&files.certificate, &files.key]);
        always.chain(further).chain(&self.client_ca).chain(&self.client_crl).map(PathBuf::as_path)
    }

    /// Reads all files and checks that they belong together; for connections that speak this
    /// protocol, or that don't say what they speak.
    ///
    /// # Errors
    /// The first file that is missing, unreadable, not what it should be, or does not fit.
    pub fn load(&self, protocol: &'static [u8]) -> Result<ServerTls, TlsFileError> {
        ServerTls::new(self, protocol, None)
    }
}

/// What all files have held at one time.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    /// Further certificates, each with its key.
    pub(super) further: Vec<[Vec<u8>; 2]>,
    pub(super) client_ca: Option<Vec<u8>>,
    pub(super) client_crl: Option<Vec<u8>>,
}

impl Contents {
    /// Reads all files until they are twice the same: somebody may be about to replace them.
    pub(super) fn read(files: &ServerFiles) -> Result<Self, TlsFileError> {
        let mut before = Self::read_once(files)?;
        for _ in 0..READINGS_MAX {
            let after = Self::read_once(files)?;
            if after == before {
                return Ok(after);
            }
            before = after;
        }
        Err(TlsFileError::new(&files.certificate, "it, or a file beside it, changes all the time"))
    }

    fn read_once(files: &ServerFiles) -> Result<Self, TlsFileError> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(read).transpose();
        let further =
            files.further.iter().map(|files| Ok([read(&files.certificate)?, read(&files.key)?]));
        Ok(Self {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            further: further.collect::<Result<_, TlsFileError>>()?,
            client_ca: optional(&files.client_ca)?,
            client_crl: optional(&files.client_crl)?,
        })
    }

    /// What tells the contents from others, and what tells those that say who is let in.
    pub(super) fn digests(&self) -> [Digest; 2] {
        let of = |parts: &[Option<&[u8]>]| {
            let mut bytes = Vec::new();
            for part in parts {
                let digest = part.map(|part| digest(&SHA256, part));
                bytes.extend_from_slice(digest.as_ref().map_or(&[], AsRef::as_ref));
                bytes.push(u8::from(part.is_some()));
            }
            digest(&SHA256, &bytes)
        };
        let (ca, crl) = (self.client_ca.as_deref(), self.client_crl.as_deref());
        let mut all = vec![Some(&self.certificate[..]), Some(&self.key), ca, crl];
        all.extend(self.further.iter().flatten().map(|part| Some(&part[..])));
        [of(&all), of(&[ca, crl])]
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    fs::read(path).map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "; let the broker's user read it",
            _ => "",
        };
        TlsFileError::new(path, format!("it can't be read: {error}{mend}"))
    })
}

/// Everything of one kind that is in a PEM file; at least one.
pub(super) fn all_of<T: PemObject>(
    path: &Path,
    text: &[u8],
    kind: &str,
) -> Result<Vec<T>, TlsFileError> {
    let found: Result<Vec<T>, _> = T::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(TlsFileError::new(path, format!("there is no {kind} in it; it has to be PEM")))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(TlsFileError::new(path, format!("it is no PEM with a {kind}: {error}"))),
    }
}

pub(super) fn key_of(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let reason = match error {
            pem::Error::NoItemsFound => {
                "there is no key in it that can be read; a key with a password is not supported, \
                 `openssl pkey` writes one without"
                    .to_owned()
            }
            error => format!("it is no PEM with a key: {error}"),
        };
        TlsFileError::new(path, reason)
    })
}
