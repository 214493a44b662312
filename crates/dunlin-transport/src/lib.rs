//! What MQTT runs over besides plain TCP, without IO: bytes of the network in, bytes of MQTT out, and
//! back. Whoever has the socket moves the bytes, be it a broker, a client or a tool.
#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
pub mod tls;
