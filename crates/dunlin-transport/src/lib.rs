//! What lies between a socket and MQTT, without IO: bytes come in as they arrived, bytes to be
//! sent are appended to a buffer of the caller's, and nothing blocks, reads a clock or draws a
//! random number.
//!
//! | | |
//! |---|---|
//! | [`websocket`] | frames of RFC 6455 for both roles, unmasked in place, and the HTTP upgrade before them |
//! | [`proxy_header`] | the PROXY protocol, versions 1 and 2: who a proxy speaks for |
//! | [`connect_proxy`], [`socks5`] | a client's way out through a proxy |
//!
//! None of it buffers what a peer claims to send: the longest thing that is held back is the head
//! of an HTTP message, in the caller's buffer and bounded by [`HEAD_LEN_MAX`].

#![forbid(unsafe_code)]

pub mod connect_proxy;
#[doc(hidden)]
pub mod fuzzing;
mod http;
pub mod proxy_header;
pub mod socks5;
pub mod websocket;

pub use http::{HEAD_LEN_MAX, HEADERS_MAX, HeadError};
