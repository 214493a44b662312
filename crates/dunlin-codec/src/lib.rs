//! MQTT 3.1, 3.1.1 and 5.0 Control Packets: bytes to packets and back.
//!
//! One model, the 5.0 superset, serves all three versions; what an older version cannot say is
//! left out when a packet is encoded for it. Decoding is incremental, strict, copies no payloads and
//! of texts only those for which that is cheaper, and never sets memory aside because a peer claimed
//! a length.
//!
//! This crate knows bytes only: no sessions, sockets, clocks or files. It builds without `std`.
//!
//! # Reading
//!
//! The caller owns the input buffer, appends to it whatever the network gives, and takes whole
//! packets off its front:
//!
//! ```
//! use bytes::BytesMut;
//! use dunlin_codec::{Decoder, ProtocolVersion};
//!
//! let mut input = BytesMut::new();
//! let decoder = Decoder::new(ProtocolVersion::V5, 256 * 1024);
//! let mut lines = Vec::new();
//! // A PUBLISH and a PINGREQ, cut where the network likes to cut.
//! for piece in [&b"\x32\x0B\x00\x03a/"[..], b"b\x00\x07\x00on!\xC0", b"\x00"] {
//!     input.extend_from_slice(piece);
//!     while let Some(packet) = decoder.decode(&mut input)? {
//!         lines.push(packet.to_string());
//!     }
//! }
//! assert_eq!(lines, [r#"PUBLISH q1 id=7 "a/b" 3 bytes"#, "PINGREQ"]);
//! # Ok::<(), dunlin_codec::DecodeError>(())
//! ```
//!
//! A [`DecodeError`] names one cause, the Reason Code to end the connection with, and the
//! normative statement that the peer broke:
//!
//! ```
//! # use bytes::BytesMut;
//! # use dunlin_codec::{DecodeError, Decoder, ProtocolVersion, ReasonCode};
//! let mut input = BytesMut::from(&b"\x36"[..]);
//! let error = Decoder::new(ProtocolVersion::V5, 1024).decode(&mut input).unwrap_err();
//! assert_eq!(error, DecodeError::QoS);
//! assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
//! assert_eq!(error.statement(), "MQTT-3.3.1-4");
//! ```
//!
//! # Writing
//!
//! [`Packet::encode`] appends to a [`TransmitBuf`], which runs small parts together and references
//! large payloads. [`PublishParts`] writes a PUBLISH from borrowed parts, and [`EncodedPublish`]
//! one that goes to many receivers.
//!
//! ```
//! use dunlin_codec::{Ack, Packet, PacketIdentifier, ProtocolVersion, ReasonCode, TransmitBuf};
//!
//! let mut out = TransmitBuf::new();
//! let puback = Packet::PubAck(Ack::new(PacketIdentifier::FIRST, ReasonCode::Success));
//! puback.encode(ProtocolVersion::V5, 1024, &mut out)?;
//! let mut pieces = [&[][..]; 1];
//! assert_eq!(out.pieces(&mut pieces), 1);
//! assert_eq!(pieces[0], b"\x40\x02\x00\x01");
//! # Ok::<(), dunlin_codec::EncodeError>(())
//! ```

#![no_std]
// One small module may, and says why: `types::unchecked`.
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod decode;
mod display;
mod encode;
mod encoded_publish;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod packet;
mod properties;
mod reason;
#[cfg(test)]
mod tests;
mod transmit;
mod types;

pub use decode::{Decoder, Limits};
pub use encode::{EncodeError, PacketTooLarge};
pub use encoded_publish::EncodedPublish;
pub use error::DecodeError;
pub use packet::*;
pub use properties::Property;
pub use reason::ReasonCode;
pub use transmit::{REFERENCED_LEN_MIN, SHARED_LEN_MIN, TransmitBuf};
pub use types::{
    Delivery, InvalidText, InvalidTopicFilter, InvalidTopicName, PacketIdentifier, ProtocolVersion,
    QoS, SubscriptionIdentifier, Text, TopicAlias, TopicFilter, TopicName,
};
