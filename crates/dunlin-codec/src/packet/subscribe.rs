//! SUBSCRIBE and SUBACK. Spec: §3.8, §3.9.

use super::UserProperties;
use crate::{PacketIdentifier, QoS, ReasonCode, SubscriptionIdentifier, Text, TopicFilter};
use alloc::vec::Vec;

/// A Client asks for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Names the exchange that ends with the SUBACK.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: SubscribeProperties,
    /// What is asked for, at least one [MQTT-3.8.3-2].
    pub subscriptions: Vec<Subscription>,
}

/// The properties of a SUBSCRIBE. Spec: §3.8.2.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribeProperties {
    /// Comes back with each message that matches.
    pub subscription_identifier: Option<SubscriptionIdentifier>,
    /// User Properties.
    pub user_properties: UserProperties,
}

/// A Topic Filter with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which Topic Names.
    pub topic_filter: TopicFilter,
    /// How their messages are delivered.
    pub options: SubscriptionOptions,
}

/// The Subscription Options. MQTT 3.x has the QoS alone. Spec: §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS that the Client wants.
    pub maximum_qos: QoS,
    /// Don't send a Client its own messages; not allowed for a Shared Subscription
    /// [MQTT-3.8.3-4].
    pub no_local: bool,
    /// Keep the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// Which retained messages are sent at once.
    pub retain_handling: RetainHandling,
}

/// Which retained messages a new subscription gets. Spec: §3.8.3.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// All that match.
    #[default]
    Send = 0,
    /// All that match, when the subscription is new.
    SendIfNew = 1,
    /// None.
    DoNotSend = 2,
}

/// The Server's answer to a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The exchange that this ends.
    pub packet_identifier: PacketIdentifier,
    /// The properties.
    pub properties: SubAckProperties,
    /// One for each Topic Filter of the SUBSCRIBE, in its order [MQTT-3.9.3-1].
    pub reason_codes: Vec<ReasonCode>,
}

/// The properties of a SUBACK or UNSUBACK. Spec: §3.9.2.1, §3.11.2.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubAckProperties {
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}
