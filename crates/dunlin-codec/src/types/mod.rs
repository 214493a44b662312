//! The values that packets are made of; each type holds only what the standard allows.

mod number;
mod qos;
mod scan;
mod storage;
pub(crate) mod text;
mod topic;
mod unchecked;
mod version;

pub use number::{PacketIdentifier, SubscriptionIdentifier, TopicAlias};
pub use qos::{Delivery, QoS};
pub use text::{InvalidText, Text};
pub use topic::{InvalidTopicFilter, InvalidTopicName, TopicFilter, TopicName};
pub use version::ProtocolVersion;
