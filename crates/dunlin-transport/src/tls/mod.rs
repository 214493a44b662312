//! TLS 1.2 and 1.3: a session without IO, and the files that its configuration is made of.

mod client;
mod files;
mod session;
#[cfg(test)]
mod tests;

pub use client::{ClientTls, ClientTlsError, TlsConnector};
pub use files::{ALPN_HTTP, ALPN_MQTT, ClientCertificate, ServerFiles, TlsFileError};
pub use rustls::ServerConfig;
pub use session::{Decrypted, HEADROOM, TlsError, TlsSession};
