//! UNSUBSCRIBE and UNSUBACK. Spec: §3.10, §3.11.

use super::{SubAckProperties, UserProperties};
use crate::{PacketIdentifier, ReasonCode, TopicFilter};
use alloc::vec::Vec;

/// A Client wants no more messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// Names the exchange that ends with the UNSUBACK.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: UnsubscribeProperties,
    /// The Topic Filters as they were subscribed, at least one [MQTT-3.10.3-2].
    pub topic_filters: Vec<TopicFilter>,
}

/// The properties of an UNSUBSCRIBE. Spec: §3.10.2.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnsubscribeProperties {
    /// User Properties.
    pub user_properties: UserProperties,
}

/// The Server's answer to an UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// The exchange that this ends.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: SubAckProperties,
    /// One for each Topic Filter of the UNSUBSCRIBE, in its order [MQTT-3.11.3-1]; none in
    /// MQTT 3.x.
    pub reason_codes: Vec<ReasonCode>,
}
