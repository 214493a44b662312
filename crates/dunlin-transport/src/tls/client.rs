//! A client's side of TLS: whom it trusts, and what it shows.

use super::refusal::{Last, Noting, Refusals};
use super::{CertificateFault, TlsError, TlsSession};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// What a client's TLS is made of.
///
/// Without anything set it trusts whom the operating system trusts, asks for a certificate of the
/// host that it connects to, and shows none itself.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens until a connection is made with it"]
pub struct ClientTls {
    ca_pem: Option<Vec<u8>>,
    identity: Option<Identity>,
    server_name: Option<String>,
    alpn: Vec<Vec<u8>>,
    any_name: bool,
}

#[derive(Clone)]
struct Identity {
    certificate_pem: Vec<u8>,
    key_pem: Vec<u8>,
}

/// The key is a secret.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Settings that are of no use, each with the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientTlsError {
    /// There is no certificate in what should be those of authorities.
    #[error("no certificate of an authority: {0}")]
    Ca(String),
    /// There is no certificate in what should be the client's.
    #[error("no certificate of the client: {0}")]
    Certificate(String),
    /// There is no key in what should be the client's, or it is that of another certificate.
    #[error("no key of the client: {0}")]
    Key(String),
    /// The operating system's authorities can't be asked.
    #[error("the operating system names no authorities ({0}); name one")]
    Platform(String),
    /// The name is neither a host name nor an address.
    #[error("{0:?} is no name that a certificate could have")]
    ServerName(String),
}

impl ClientTls {
    /// As [`ClientTls::default`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these authorities, and not those of the operating system: certificates in PEM.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Shows a certificate when the server asks for one: in PEM, the client's own first; and its key.
    pub fn client_certificate_pem(
        mut self,
        certificate_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        let (certificate_pem, key_pem) = (certificate_pem.into(), key_pem.into());
        self.identity = Some(Identity { certificate_pem, key_pem });
        self
    }

    /// Asks for a certificate of this name, and not of the host that it connects to.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Offers protocols (ALPN), such as `mqtt`. Default: none.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Takes a certificate of any name, as long as a trusted authority has signed it: whoever has
    /// one can then pretend to be this server.
    pub const fn accept_any_name(mut self) -> Self {
        self.any_name = true;
        self
    }

    /// The configuration for all connections that are made with these settings.
    ///
    /// # Errors
    /// What is of no use.
    pub fn connector(&self) -> Result<TlsConnector, ClientTlsError> {
        let provider = Arc::new(default_provider());
        let platform = |error: Error| ClientTlsError::Platform(error.to_string());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(platform)?;
        let verifier: Arc<dyn ServerCertVerifier> = match &self.ca_pem {
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem).map_err(ClientTlsError::Ca)? {
                    let added = roots.add(certificate);
                    added.map_err(|error| ClientTlsError::Ca(error.to_string()))?;
                }
                WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
                    .build()
                    .map_err(|error| ClientTlsError::Ca(error.to_string()))?
            }
            None => Arc::new(Verifier::new(provider).map_err(platform)?),
        };
        let refused = Arc::new(Last::default());
        let verifier = Arc::new(Noting::new(verifier, self.any_name, refused.clone()));
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            Some(Identity { certificate_pem, key_pem }) => {
                let chain = certificates(certificate_pem).map_err(ClientTlsError::Certificate)?;
                let key = PrivateKeyDer::from_pem_slice(key_pem)
                    .map_err(|error| ClientTlsError::Key(error.to_string()))?;
                let built = builder.with_client_auth_cert(chain, key);
                built.map_err(|error| ClientTlsError::Key(error.to_string()))?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        if let Some(name) = &self.server_name {
            server_name(name)?;
        }
        let server_name = self.server_name.clone();
        Ok(TlsConnector { config: Arc::new(config), server_name, refused })
    }
}

/// Makes the client's side of connections.
#[derive(Clone, Debug)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    server_name: Option<String>,
    /// What was refused last.
    refused: Arc<Last>,
}

impl TlsConnector {
    /// A session with a host, which must show a certificate of its name.
    ///
    /// # Errors
    /// When the host has no name that a certificate could have.
    pub fn session(&self, host: &str) -> Result<TlsSession, TlsError> {
        let name = server_name(self.server_name(host));
        let name = name.map_err(|error| TlsError::new(&error))?;
        let connection = ClientConnection::new(self.config.clone(), name.clone());
        let connection = connection.map_err(|error| TlsError::new(&error))?;
        Ok(TlsSession::client(connection, Refusals { last: self.refused.clone(), name }))
    }

    /// What was wrong with the certificate of a host, where it was refused by a connection that was made
    /// with [`TlsConnector::config`]; it is told once.
    #[must_use]
    pub fn take_refused(&self, host: &str) -> Option<CertificateFault> {
        let name = server_name(self.server_name(host)).ok()?;
        Refusals { last: self.refused.clone(), name }.take()
    }

    /// The name that the certificate of a host has to have.
    pub fn server_name<'a>(&'a self, host: &'a str) -> &'a str {
        self.server_name.as_deref().unwrap_or(host)
    }

    /// The same for QUIC, which has records of its own.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, ClientTlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| ClientTlsError::ServerName(name.to_owned()))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is none in it; it has to be PEM".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}
