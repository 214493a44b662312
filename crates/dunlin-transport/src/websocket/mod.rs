//! WebSocket (RFC 6455) as a byte stream: MQTT Control Packets may be cut and joined over frames
//! as one likes [MQTT-6.0.0-2], so frames are taken off and put on without ever being whole.
//!
//! ```
//! use bytes::BytesMut;
//! use dunlin_transport::websocket::{Role, WebSocket};
//!
//! let mut client = WebSocket::new(Role::Client);
//! let mut server = WebSocket::new(Role::Server);
//! let mut wire = BytesMut::new();
//! let key = [0x37, 0xfa, 0x21, 0x3d]; // a fresh random one in the field
//! client.encode(b"\xc0\x00", Some(key), &mut wire);
//!
//! let decoded = server.decode(&mut wire);
//! assert_eq!((decoded.len, decoded.end), (2, None));
//! assert_eq!(&wire[..2], b"\xc0\x00");
//! ```

mod close;
mod connection;
mod decoder;
mod encoder;
mod frame;
mod mask;
pub mod upgrade;

#[cfg(test)]
mod tests;

pub use close::{CloseCode, Violation};
pub use connection::WebSocket;
pub use decoder::{Decoded, Decoder, EMPTY_FRAMES_MAX, End};
pub use encoder::Encoder;
pub use frame::{FrameHeader, Role};
