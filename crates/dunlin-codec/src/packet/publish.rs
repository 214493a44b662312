//! PUBLISH: an Application Message on its way. Spec: §3.3.

use super::UserProperties;
use crate::{Delivery, SubscriptionIdentifier, Text, TopicAlias, TopicName};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

/// An Application Message on its way from one peer to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// QoS, and Packet Identifier and DUP where the QoS has them.
    pub delivery: Delivery,
    /// Towards a Server: keep as the retained message. From a Server: this is a retained message.
    pub retain: bool,
    /// Topic Name, Topic Alias or both.
    pub topic: PublishTopic,
    /// Seconds that the message is still worth delivering; for ever when absent.
    pub message_expiry_interval: Option<u32>,
    /// From a Server: the identifiers of the subscriptions that match.
    pub subscription_identifiers: Vec<SubscriptionIdentifier>,
    /// What receivers get unaltered; `None` when there is none of it.
    pub properties: Option<Arc<MessageProperties>>,
    /// The Application Message itself.
    pub payload: Bytes,
}

/// How a PUBLISH names its topic. Spec: §3.3.2.1, §3.3.2.3.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishTopic {
    /// By its Topic Name.
    Name(TopicName),
    /// By its Topic Name, which the alias stands for from now on.
    NameAndAlias(TopicName, TopicAlias),
    /// By an alias that was set before.
    Alias(TopicAlias),
}

impl PublishTopic {
    /// The Topic Name, when it is in the packet.
    pub const fn name(&self) -> Option<&TopicName> {
        match self {
            Self::Name(name) | Self::NameAndAlias(name, _) => Some(name),
            Self::Alias(_) => None,
        }
    }

    /// The Topic Alias, when it is in the packet.
    pub const fn alias(&self) -> Option<TopicAlias> {
        match self {
            Self::Name(_) => None,
            Self::NameAndAlias(_, alias) | Self::Alias(alias) => Some(*alias),
        }
    }
}

/// The properties of an Application Message that every receiver gets unaltered
/// [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-20].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageProperties {
    /// Whether the payload says of itself that it is UTF-8; `None` when it says nothing.
    pub payload_format_indicator: Option<bool>,
    /// What the payload is, for its receivers.
    pub content_type: Option<Text>,
    /// Where an answer is expected.
    pub response_topic: Option<TopicName>,
    /// What the answer repeats so that it finds its request.
    pub correlation_data: Option<Bytes>,
    /// User Properties, kept in their order [MQTT-3.3.2-18].
    pub user_properties: UserProperties,
}

impl MessageProperties {
    /// Whether there is none of it.
    pub fn is_empty(&self) -> bool {
        self.payload_format_indicator.is_none()
            && self.content_type.is_none()
            && self.response_topic.is_none()
            && self.correlation_data.is_none()
            && self.user_properties.is_empty()
    }
}

/// A PUBLISH about to be encoded, borrowed from wherever its parts live.
///
/// A sender with many receivers encodes from this and builds no [`Publish`] for each.
#[derive(Clone, Copy, Debug)]
pub struct PublishParts<'a> {
    /// QoS, Packet Identifier and DUP.
    pub delivery: Delivery,
    /// The RETAIN flag.
    pub retain: bool,
    /// The Topic Name to write; `None` when the alias alone names the topic, and then
    /// `topic_alias` is there.
    pub topic_name: Option<&'a TopicName>,
    /// The Topic Alias to write; left out for MQTT 3.x, which has none.
    pub topic_alias: Option<TopicAlias>,
    /// Seconds that the message is still worth delivering.
    pub message_expiry_interval: Option<u32>,
    /// The identifiers of the subscriptions that match.
    pub subscription_identifiers: &'a [SubscriptionIdentifier],
    /// What receivers get unaltered.
    pub properties: Option<&'a MessageProperties>,
    /// The Application Message itself; large ones are referenced, not copied.
    pub payload: &'a Bytes,
}

impl Publish {
    /// The parts to encode.
    pub fn parts(&self) -> PublishParts<'_> {
        PublishParts {
            delivery: self.delivery,
            retain: self.retain,
            topic_name: self.topic.name(),
            topic_alias: self.topic.alias(),
            message_expiry_interval: self.message_expiry_interval,
            subscription_identifiers: &self.subscription_identifiers,
            properties: self.properties.as_deref(),
            payload: &self.payload,
        }
    }
}
