//! A server's side of TLS as its files gave it at one time: what it shows, and whom it lets in.

use super::files::{Contents, all_of, key_of};
use super::named::Named;
use super::session::{TlsSession, check_client};
use super::{ClientCertificate, ServerFiles, TlsError, TlsFileError, Validity};
use aws_lc_rs::digest::Digest;
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::{
    NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// The name of MQTT in the handshake (ALPN), as registered.
pub const ALPN_MQTT: &[u8] = b"mqtt";
/// The name of HTTP, which a WebSocket begins with.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// A server's certificate with its key, and who may come in by one: all of it from one reading of
/// the files, and never changed. [`ServerTls::reload`] makes another one.
pub struct ServerTls {
    files: ServerFiles,
    protocol: &'static [u8],
    config: Arc<ServerConfig>,
    /// Who looks at clients' certificates.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// What tells the files' contents from others.
    contents: Digest,
    /// The same for those that say who is let in.
    trust: Digest,
    /// What other keys are derived from.
    derivation: Prk,
    validities: Vec<Validity>,
    /// The same of the certificates that it shows, without those that lead to them.
    shown: Vec<Validity>,
}

impl ServerTls {
    pub(super) fn new(
        files: &ServerFiles,
        protocol: &'static [u8],
        before: Option<&Self>,
    ) -> Result<Self, TlsFileError> {
        Self::of(files, protocol, &Contents::read(files)?, before)
    }

    /// Reads the files again; nothing if they are what they were.
    ///
    /// # Errors
    /// As [`ServerFiles::load`]; this one stays of use.
    pub fn reload(&self) -> Result<Option<Self>, TlsFileError> {
        let contents = Contents::read(&self.files)?;
        if contents.digests()[0].as_ref() == self.contents.as_ref() {
            return Ok(None);
        }
        Self::of(&self.files, self.protocol, &contents, Some(self)).map(Some)
    }

    fn of(
        files: &ServerFiles,
        protocol: &'static [u8],
        read: &Contents,
        before: Option<&Self>,
    ) -> Result<Self, TlsFileError> {
        let provider = Arc::new(default_provider());
        let path = &files.certificate;
        let (mut validities, mut shown) = (Vec::new(), Vec::new());
        let mut named = vec![certified_key(
            (path, &read.certificate),
            (&files.key, &read.key),
            &provider,
            [&mut validities, &mut shown],
        )?];
        for (files, [certificate, key]) in files.further.iter().zip(&read.further) {
            named.push(certified_key(
                (&files.certificate, certificate),
                (&files.key, key),
                &provider,
                [&mut validities, &mut shown],
            )?);
        }
        let verifier = client_verifier(files, read, &provider, &mut validities)?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsFileError::new(path, error.to_string()))?;
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Named::new(named)));
        let [contents, trust] = read.digests();
        config.alpn_protocols = vec![protocol.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        // Whoever was let in by other certificates or lists has to show its own again.
        config.ticketer = match before.filter(|before| before.trust.as_ref() == trust.as_ref()) {
            Some(before) => before.config.ticketer.clone(),
            None => Ticketer::new().map_err(|error| {
                TlsFileError::new(&files.key, format!("no key for tickets can be made: {error}"))
            })?,
        };
        let secret = key_of(&files.key, &read.key)?;
        let derivation = Salt::new(HKDF_SHA256, b"dunlin").extract(secret.secret_der());
        let (files, config) = (files.clone(), Arc::new(config));
        Ok(Self {
            files,
            protocol,
            config,
            verifier,
            contents,
            trust,
            derivation,
            validities,
            shown,
        })
    }

    /// The server's side of a connection.
    ///
    /// # Errors
    /// When the configuration is of no use.
    pub fn session(&self) -> Result<TlsSession, TlsError> {
        TlsSession::server(self.config.clone(), self.verifier.clone())
    }

    /// The same for QUIC, which has records of its own. What it lets in has to be looked at by
    /// [`ServerTls::check_client`].
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Looks at the certificates of a client once its handshake is over, its own first: one that has
    /// come back with a ticket has shown them before, and they may have ended or been revoked since.
    ///
    /// # Errors
    /// Why it is not let in.
    pub fn check_client(&self, certificates: &[CertificateDer<'_>]) -> Result<(), TlsError> {
        match &self.verifier {
            Some(verifier) => check_client(&**verifier, certificates),
            None => Ok(()),
        }
    }

    /// A key for something else than TLS, by HKDF (RFC 5869) from the private key of the first
    /// certificate: the same as long as that is, and no way back to it. `purpose` names what it is
    /// for, in parts that are taken one after the other.
    pub fn derive_key(&self, purpose: &[&[u8]]) -> [u8; 32] {
        let mut key = [0; 32];
        let derived = self.derivation.expand(purpose, HKDF_SHA256);
        let filled = derived.and_then(|derived| derived.fill(&mut key));
        filled.expect("the length is that of the hash");
        key
    }

    /// This one's key for tickets with whom another one lets in.
    #[cfg(test)]
    pub(super) fn with_verifier_of(mut self, other: &Self) -> Self {
        self.verifier = other.verifier.clone();
        self
    }

    /// The files that it was read from.
    pub const fn files(&self) -> &ServerFiles {
        &self.files
    }

    /// Until when what is in each file is of use, where it says so.
    pub fn validities(&self) -> &[Validity] {
        &self.validities
    }

    /// The same of each certificate that it shows, without those that lead to it.
    pub fn shown(&self) -> &[Validity] {
        &self.shown
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// A certificate and its key, as their files hold them.
fn certified_key(
    (certificate_path, certificate): (&Path, &[u8]),
    (key_path, key): (&Path, &[u8]),
    provider: &CryptoProvider,
    [validities, shown]: [&mut Vec<Validity>; 2],
) -> Result<Arc<CertifiedKey>, TlsFileError> {
    let chain: Vec<CertificateDer<'static>> = all_of(certificate_path, certificate, "certificate")?;
    validities.extend(Validity::of_certificates(certificate_path, chain.iter().map(|der| &**der)));
    let own = chain.first().map(|der| &**der);
    shown.extend(Validity::of_certificates(certificate_path, own));
    let key = key_of(key_path, key)?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InvalidCertificate(error) => {
            let reason = format!("it is no certificate that a server can show: {error}");
            TlsFileError::new(certificate_path, reason)
        }
        error => {
            let reason = format!("it is not the key of {}: {error}", certificate_path.display());
            TlsFileError::new(key_path, reason)
        }
    })?;
    Ok(Arc::new(certified))
}

/// Who looks at clients' certificates, if they are asked for.
fn client_verifier(
    files: &ServerFiles,
    read: &Contents,
    provider: &Arc<CryptoProvider>,
    validities: &mut Vec<Validity>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsFileError> {
    let is_asked = files.client_certificate != ClientCertificate::None;
    let ca = files.client_ca.as_deref().zip(read.client_ca.as_deref());
    let crl = files.client_crl.as_deref().zip(read.client_crl.as_deref());
    let (path, ca) = match ca {
        Some(ca) if is_asked => ca,
        None if !is_asked && crl.is_none() => return Ok(None),
        Some((path, _)) => {
            let reason =
                "client_certificate is none, and nobody is looked for in it; leave one out";
            return Err(TlsFileError::new(path, reason));
        }
        None => {
            let reason = "client certificates are asked for, and no client_ca says whose";
            return Err(TlsFileError::new(&files.certificate, reason));
        }
    };
    let mut roots = RootCertStore::empty();
    let certificates = all_of::<CertificateDer<'static>>(path, ca, "certificate")?;
    validities.extend(Validity::of_certificates(path, certificates.iter().map(|der| &**der)));
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| TlsFileError::new(path, error.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    if let Some((path, crl)) = crl {
        let lists: Vec<CertificateRevocationListDer<'static>> =
            all_of(path, crl, "revocation list")?;
        validities.extend(Validity::of_lists(path, lists.iter().map(|der| &**der)));
        builder = builder.with_crls(lists);
        if !files.accepts_old_crl {
            builder = builder.enforce_revocation_expiration();
        }
    }
    if files.client_certificate == ClientCertificate::Optional {
        builder = builder.allow_unauthenticated();
    }
    let built = builder.build().map_err(|error| match (&error, crl) {
        (VerifierBuilderError::InvalidCrl(_), Some((path, _))) => {
            TlsFileError::new(path, format!("there is no revocation list of use in it: {error}"))
        }
        _ => TlsFileError::new(path, error.to_string()),
    })?;
    Ok(Some(built))
}
