//! The flags of TLS, as those of the Mosquitto tools.

use crate::failure::Failure;
use clap::Args;
use dunlin_client::{Tls, TlsConfigError};
use std::path::{Path, PathBuf};

#[derive(Debug, Default, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsArgs {
    /// Trust the authorities whose certificates are in this file (PEM), and no others
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
    /// Use TLS, and trust whom the operating system trusts; as mqtts:// does
    #[arg(long, conflicts_with = "cafile")]
    tls_use_os_certs: bool,
    /// Show this certificate when the broker asks for one (PEM). Needs --key
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Ask for a certificate of this name (SNI) and expect it, in place of the host's: for a host that
    /// is reached by an address or through a tunnel
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Take a trusted certificate of any name: whoever has one can pretend to be the broker
    #[arg(long)]
    insecure: bool,
    /// Offer this protocol in the handshake, e.g. mqtt
    #[arg(long, value_name = "PROTOCOL")]
    tls_alpn: Option<String>,
}

impl TlsArgs {
    /// Whether one of them is given.
    pub(crate) const fn is_given(&self) -> bool {
        self.cafile.is_some()
            || self.tls_use_os_certs
            || self.cert.is_some()
            || self.server_name.is_some()
            || self.insecure
            || self.tls_alpn.is_some()
    }

    /// The file of the authorities that are trusted, unless they are the system's.
    pub(crate) fn cafile(&self) -> Option<&Path> {
        self.cafile.as_deref()
    }

    /// Whether there is a certificate to show.
    pub(crate) const fn has_certificate(&self) -> bool {
        self.cert.is_some()
    }

    pub(crate) fn tls(&self) -> Result<Tls, Failure> {
        let mut tls = Tls::new();
        if let Some(path) = &self.cafile {
            tls = tls.ca_pem(read("--cafile", path)?);
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            tls = tls.client_certificate_pem(read("--cert", certificate)?, read("--key", key)?);
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        if self.insecure {
            tls = tls.accept_any_name();
        }
        Ok(tls.alpn(self.tls_alpn.clone()))
    }
}

/// What is wrong with the flags, with the flag where the library does not know it.
pub(crate) fn tls_mistake(error: &TlsConfigError) -> Failure {
    Failure::usage(match error {
        TlsConfigError::ServerName(_) => {
            format!("--server-name: {error}; give that of a host, or an address")
        }
        error => error.to_string(),
    })
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path)
        .map_err(|error| Failure::usage(format!("{flag} {}: {error}", path.display())))
}
