//! What a client's verifier has against a certificate, kept for whoever tells of it: TLS hands on an
//! error that does not say all, and QUIC an alert alone.

use super::fault::CertificateFault;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A verifier that notes what it refuses.
#[derive(Debug)]
pub(super) struct Noting {
    verifier: Arc<dyn ServerCertVerifier>,
    /// Whether all is checked but the name.
    any_name: bool,
    last: Arc<Last>,
}

/// The last refusal of a connector, with the name that was asked for: whoever refuses takes it at
/// once, so one is enough.
#[derive(Debug, Default)]
pub(super) struct Last(Mutex<Option<(ServerName<'static>, CertificateFault)>>);

impl Last {
    fn slot(&self) -> MutexGuard<'_, Option<(ServerName<'static>, CertificateFault)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the refusals of one session are.
#[derive(Clone, Debug)]
pub(super) struct Refusals {
    pub(super) last: Arc<Last>,
    /// The name that this session asks for.
    pub(super) name: ServerName<'static>,
}

impl Refusals {
    /// What was refused, if that was for the name of this session.
    pub(super) fn take(&self) -> Option<CertificateFault> {
        let of_ours = |(name, _): &mut (ServerName<'static>, _)| *name == self.name;
        self.last.slot().take_if(of_ours).map(|(_, fault)| fault)
    }
}

impl Noting {
    /// Notes in `last` what this verifier refuses, but for the name if that may be any.
    pub(super) const fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        any_name: bool,
        last: Arc<Last>,
    ) -> Self {
        Self { verifier, any_name, last }
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.verifier.verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        let Err(Error::InvalidCertificate(error)) = &verified else { return verified };
        let is_name = matches!(
            error,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        );
        if self.any_name && is_name {
            // The name is looked at last.
            return Ok(ServerCertVerified::assertion());
        }
        let fault = match CertificateFault::of(error, name) {
            CertificateFault::UnknownIssuer if is_self_signed(certificate, now) => {
                CertificateFault::SelfSigned
            }
            fault => fault,
        };
        *self.last.slot() = Some((name.to_owned(), fault));
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Whether a certificate that is sound but for its issuer is signed by its own key. That it names itself
/// as its issuer says too little: an authority may have the same name.
fn is_self_signed(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    let mut itself = RootCertStore::empty();
    let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
    if itself.add(certificate.clone().into_owned()).is_err() {
        return false;
    }
    let algorithms = default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &itself, &[], now, algorithms).is_ok()
}
