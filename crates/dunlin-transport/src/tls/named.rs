//! Which of a server's certificates a client is shown: by the name that it asks for.

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::sync::Arc;

/// A server's certificates. The first is for clients that ask for no name, or for one that none of
/// them has.
#[derive(Debug)]
pub(super) struct Named(pub(super) Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Named {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let [first, further @ ..] = &self.0[..] else { return None };
        let name = match further {
            [] => None,
            _ => hello.server_name().and_then(|name| ServerName::try_from(name).ok()),
        };
        let named = name.and_then(|name| self.0.iter().find(|key| is_for(key, &name)));
        Some(named.unwrap_or(first).clone())
    }
}

/// Whether a certificate is for a server of this name.
fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let Ok(certificate) = key.end_entity_cert() else { return false };
    let parsed = ParsedCertificate::try_from(certificate);
    parsed.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
