//! TLS 1.2 and 1.3: a session without IO, and the files that a server's is made of.

mod client;
mod fault;
#[cfg(feature = "tls-server")]
mod files;
#[cfg(feature = "tls-server")]
mod named;
mod refusal;
#[cfg(feature = "tls-server")]
mod server;
mod session;
#[cfg(all(test, feature = "tls-server"))]
mod tests;
#[cfg(feature = "tls-server")]
mod validity;

pub use client::{ClientTls, ClientTlsError, TlsConnector};
pub use fault::{CertificateFault, TlsAlert, TlsError, TlsFault};
#[cfg(feature = "tls-server")]
pub use files::{CertificateFiles, ClientCertificate, ServerFiles, TlsFileError};
#[cfg(feature = "tls-server")]
pub use server::{ALPN_HTTP, ALPN_MQTT, ServerTls};
pub use session::{Decrypted, HEADROOM, TlsSession};
#[cfg(feature = "tls-server")]
pub use validity::{Dated, Validity};
