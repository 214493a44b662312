//! The HTTP/1.1 request and answer by which a connection becomes a WebSocket (RFC 6455, section 4).

mod client;
mod origin;
mod server;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use client::{ClientUpgrade, Request, RequestError, UpgradeError};
pub use origin::{InvalidOrigin, ORIGIN_LEN_MAX, Origins};
pub use server::{Policy, Refusal, ServerUpgrade, SubProtocol};

/// What RFC 6455 adds to a key before it is hashed.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that answers a key.
fn accept_value(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}
