//! What can be wrong with bytes from a peer: one variant for each cause.

use crate::types::{InvalidText, InvalidTopicFilter, InvalidTopicName};
use crate::{PacketType, ReasonCode};

/// Why bytes are not a legal Control Packet.
///
/// Every variant tells the Reason Code to end the connection with, and the statement of the
/// standard that the peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The packet type 0 is forbidden, and AUTH exists only in MQTT 5.0.
    #[error("packet type {0} is not allowed")]
    PacketType(u8),
    /// The flags of the fixed header are not those that the packet type asks for.
    #[error("{0:?} with flags {1:#06b} in its fixed header")]
    FixedHeaderFlags(PacketType, u8),
    /// A string is not legal.
    #[error("a string is not legal")]
    Text(#[from] InvalidText),
    /// A Topic Name is not legal.
    #[error("a Topic Name is not legal")]
    TopicName(#[from] InvalidTopicName),
    /// A Topic Filter is not legal.
    #[error("a Topic Filter is not legal")]
    TopicFilter(#[from] InvalidTopicFilter),
}

impl DecodeError {
    /// The Reason Code to end the connection with. Spec: §4.13.
    pub const fn reason_code(&self) -> ReasonCode {
        ReasonCode::MalformedPacket
    }
}
