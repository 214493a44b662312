//! The files that a server's TLS is made of: its certificate and key, and who signs its clients'.

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{RootCertStore, ServerConfig};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of MQTT in the handshake (ALPN), as registered.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// The name of HTTP, which a WebSocket begins with.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

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

/// The files of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// PEM: the server's certificate, then those that lead to the one that clients trust.
    pub certificate: PathBuf,
    /// PEM: the key of that certificate.
    pub key: PathBuf,
    /// PEM: whose certificates clients may show.
    pub client_ca: Option<PathBuf>,
    /// PEM: lists of certificates of clients that were revoked.
    pub client_crl: Option<PathBuf>,
    /// Whether a client has to show a certificate.
    pub client_certificate: ClientCertificate,
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
    fn new(path: &Path, reason: impl Into<String>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}

impl ServerFiles {
    /// Reads all files and checks that they belong together; for connections that speak this
    /// protocol, or that don't say what they speak.
    ///
    /// # Errors
    /// The first file that is missing, unreadable, not what it should be, or does not fit.
    pub fn load(&self, protocol: &[u8]) -> Result<Arc<ServerConfig>, TlsFileError> {
        let provider = Arc::new(default_provider());
        let chain: Vec<CertificateDer<'static>> = all_of(&self.certificate, "certificate")?;
        let key = key_of(&self.key)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFileError::new(&self.certificate, error.to_string()))?;
        let builder = match self.client_verifier(&provider)? {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| {
            let certificate = self.certificate.display();
            TlsFileError::new(&self.key, format!("it is not the key of {certificate}: {error}"))
        })?;
        config.alpn_protocols = vec![protocol.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if self.client_certificate == ClientCertificate::None {
            // Who comes back with a ticket shows no certificate again: one that was revoked since
            // would be let in.
            config.send_tls13_tickets = 1;
            config.ticketer =
                Ticketer::new().map_err(|error| TlsFileError::new(&self.key, error.to_string()))?;
        }
        Ok(Arc::new(config))
    }

    fn client_verifier(
        &self,
        provider: &Arc<rustls::crypto::CryptoProvider>,
    ) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsFileError> {
        if self.client_certificate == ClientCertificate::None {
            return Ok(None);
        }
        let Some(path) = &self.client_ca else {
            let reason = "client certificates are asked for, and no client_ca says whose";
            return Err(TlsFileError::new(&self.certificate, reason));
        };
        let mut roots = RootCertStore::empty();
        for certificate in all_of::<CertificateDer<'static>>(path, "certificate")? {
            let added = roots.add(certificate);
            added.map_err(|error| TlsFileError::new(path, error.to_string()))?;
        }
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        if let Some(path) = &self.client_crl {
            let lists: Vec<CertificateRevocationListDer<'static>> =
                all_of(path, "revocation list")?;
            builder = builder.with_crls(lists).enforce_revocation_expiration();
        }
        if self.client_certificate == ClientCertificate::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build();
        Ok(Some(verifier.map_err(|error| TlsFileError::new(path, error.to_string()))?))
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
fn all_of<T: PemObject>(path: &Path, kind: &str) -> Result<Vec<T>, TlsFileError> {
    let text = read(path)?;
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(TlsFileError::new(path, format!("there is no {kind} in it; it has to be PEM")))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(TlsFileError::new(path, format!("it is no PEM with a {kind}: {error}"))),
    }
}

fn key_of(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| {
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
