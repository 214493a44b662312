//! Which of a server's certificates a client is shown: by the name that it asks for, and by what it
//! can verify.

use rustls::SignatureScheme;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A server's certificates. The first is for clients that ask for no name, or for one that none of
/// them has.
#[derive(Debug)]
pub(super) struct Named(Vec<NamedKey>);

#[derive(Debug)]
struct NamedKey {
    key: Arc<CertifiedKey>,
    /// The names that the certificate has without a wildcard.
    exact: Vec<String>,
}

/// How a certificate fits the name that a client asks for: the better way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Exact,
    Wildcard,
}

impl Named {
    pub(super) fn new(keys: impl IntoIterator<Item = Arc<CertifiedKey>>) -> Self {
        let named = |key: Arc<CertifiedKey>| NamedKey { exact: exact_names(&key), key };
        Self(keys.into_iter().map(named).collect())
    }

    /// Of the certificates for the name, or of all if there is none, one whose signature the client
    /// can verify: with that very name before one with a wildcard, then in their order. If the client
    /// can verify none, the one that it would get otherwise, so that it is told why it fails.
    fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let [first, further @ ..] = &self.0[..] else { return None };
        if further.is_empty() {
            return Some(&first.key);
        }
        let is_usable = |named: &&NamedKey| named.key.key.choose_scheme(schemes).is_some();
        let mut fitting: Vec<(Fit, &NamedKey)> = match name {
            Some(name) => {
                self.0.iter().filter_map(|named| Some((named.fit(name)?, named))).collect()
            }
            None => Vec::new(),
        };
        // In their order among those that fit equally well.
        fitting.sort_by_key(|(fit, _)| *fit);
        let fitting: Vec<&NamedKey> = match fitting.is_empty() {
            true => self.0.iter().collect(),
            false => fitting.into_iter().map(|(_, named)| named).collect(),
        };
        let usable = fitting.iter().copied().find(is_usable);
        usable.or(fitting.first().copied()).map(|named| &named.key)
    }
}

impl ResolvesServerCert for Named {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

impl NamedKey {
    /// How the certificate is for a server of this name, if it is.
    fn fit(&self, name: &str) -> Option<Fit> {
        let certificate = self.key.end_entity_cert().ok()?;
        let certificate = ParsedCertificate::try_from(certificate).ok()?;
        verify_server_name(&certificate, &ServerName::try_from(name).ok()?).ok()?;
        let is_exact = self.exact.iter().any(|exact| exact.eq_ignore_ascii_case(name));
        Some(if is_exact { Fit::Exact } else { Fit::Wildcard })
    }
}

fn exact_names(key: &CertifiedKey) -> Vec<String> {
    let names = || {
        let (_, certificate) = X509Certificate::from_der(key.end_entity_cert().ok()?).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let names = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) if !name.starts_with('*') => Some((*name).to_owned()),
            _ => None,
        });
        Some(names.collect())
    };
    names().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::pki_types::PrivatePkcs8KeyDer;

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const ED25519: SignatureScheme = SignatureScheme::ED25519;

    fn certified(names: &[&str], scheme: SignatureScheme) -> Arc<CertifiedKey> {
        let algorithm = if scheme == ECDSA { &PKCS_ECDSA_P256_SHA256 } else { &PKCS_ED25519 };
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.self_signed(&key).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let chain = vec![certificate.der().clone()];
        Arc::new(CertifiedKey::from_der(chain, key, &default_provider()).expect("they fit"))
    }

    #[test]
    fn the_very_name_goes_before_a_wildcard_and_a_wildcard_before_the_first() {
        let keys = [
            certified(&["*.a.example", "first.example"], ECDSA),
            certified(&["*.b.example"], ECDSA),
            certified(&["lamp.a.example"], ECDSA),
            certified(&["*.a.example", "LAMP.B.example"], ECDSA),
            certified(&["lamp.b.example"], ECDSA),
        ];
        let named = Named::new(keys.clone());
        for (name, expected) in [
            (Some("lamp.a.example"), 2),
            (Some("pump.a.example"), 0),
            (Some("Lamp.b.Example"), 3),
            (Some("pump.b.example"), 1),
            (Some("first.example"), 0),
            (Some("b.example"), 0),
            (Some("elsewhere.example"), 0),
            (Some("not a name"), 0),
            (None, 0),
        ] {
            let chosen = named.choose(name, &[ED25519, ECDSA]).expect("one");
            assert!(Arc::ptr_eq(chosen, &keys[expected]), "{name:?}");
        }
    }

    #[test]
    fn who_can_verify_one_alone_of_several_is_shown_that() {
        let keys = [
            certified(&["default.example"], ED25519),
            certified(&["default.example"], ECDSA),
            certified(&["lamp.a.example"], ED25519),
            certified(&["*.a.example"], ECDSA),
            certified(&["pump.example.org"], ED25519),
        ];
        let named = Named::new(keys.clone());
        for (name, schemes, expected) in [
            (Some("lamp.a.example"), &[ECDSA, ED25519][..], 2),
            (Some("lamp.a.example"), &[ECDSA], 3),
            (Some("default.example"), &[ECDSA], 1),
            (None, &[ECDSA], 1),
            (None, &[ED25519], 0),
            (Some("elsewhere.org"), &[ECDSA], 1),
            // There is one for the name, and it can't be verified: another name would not do.
            (Some("pump.example.org"), &[ECDSA], 4),
            (Some("lamp.a.example"), &[], 2),
        ] {
            let chosen = named.choose(name, schemes).expect("one");
            assert!(Arc::ptr_eq(chosen, &keys[expected]), "{name:?} {schemes:?}");
        }
    }
}
