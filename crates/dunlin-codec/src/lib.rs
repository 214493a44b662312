//! MQTT 3.1, 3.1.1 and 5.0 Control Packets: bytes to packets and back.
//!
//! One model, the 5.0 superset, serves all three versions; what an older version cannot say is
//! left out when a packet is encoded for it. Decoding is incremental, strict, copies neither Topic
//! Names nor payloads, and never sets memory aside because a peer claimed a length.
//!
//! This crate knows bytes only: no sessions, sockets, clocks or files. It builds without `std`.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod decode;
mod encode;
mod error;
mod packet;
mod properties;
mod reason;
#[cfg(test)]
mod tests;
mod transmit;
mod types;

pub use decode::Decoder;
pub use encode::{EncodeError, PacketTooLarge};
pub use error::DecodeError;
pub use packet::*;
pub use properties::Property;
pub use reason::ReasonCode;
pub use transmit::TransmitBuf;
pub use types::{
    Delivery, InvalidText, InvalidTopicFilter, InvalidTopicName, PacketIdentifier, ProtocolVersion,
    QoS, SubscriptionIdentifier, Text, TopicAlias, TopicFilter, TopicName,
};
