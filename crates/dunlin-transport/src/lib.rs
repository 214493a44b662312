//! What lies between a socket and MQTT, without IO: bytes come in as they arrived, bytes to be
//! sent are appended to a buffer of the caller's, and nothing blocks, reads a clock or draws a
//! random number, but TLS for its keys.
//!
//! | | |
//! |---|---|
//! | `tls` | TLS 1.2 and 1.3 for both roles, decrypted in place, and the files of its certificates |
//! | `websocket` | frames of RFC 6455 for both roles, unmasked in place, and the HTTP upgrade before them |
//! | [`proxy_header`] | the PROXY protocol, versions 1 and 2: who a proxy speaks for |
//! | `connect_proxy`, [`socks5`] | a client's way out through a proxy |
//!
//! None of it buffers what a peer claims to send: the longest things that are held back are the head
//! of an HTTP message, in the caller's buffer and bounded by `HEAD_LEN_MAX`, and a record of TLS.

#![forbid(unsafe_code)]

#[cfg(feature = "websocket")]
pub mod connect_proxy;
#[cfg(feature = "websocket")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "websocket")]
mod http;
pub mod proxy_header;
pub mod socks5;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "websocket")]
pub mod websocket;

#[cfg(feature = "websocket")]
pub use http::{HEAD_LEN_MAX, HEADERS_MAX, HeadError};
