//! An Application Message apart from any connection.

use crate::Instant;
use alloc::sync::Arc;
use bytes::Bytes;
use core::time::Duration;
use dunlin_codec::{MessageProperties, QoS, TopicName};

/// An Application Message: what a publisher handed over, with the moment it stops being worth
/// delivering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is published.
    pub topic_name: TopicName,
    /// The content.
    pub payload: Bytes,
    /// The QoS that the publisher chose.
    pub qos: QoS,
    /// The RETAIN flag that the publisher chose.
    pub retain: bool,
    /// When the Message Expiry Interval is over; never when `None`.
    pub expires_at: Option<Instant>,
    /// What receivers get unaltered.
    pub properties: Option<Arc<MessageProperties>>,
}

impl Message {
    /// A QoS 0 message, not retained, that never expires.
    pub fn new(topic_name: TopicName, payload: impl Into<Bytes>) -> Self {
        Self {
            topic_name,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            expires_at: None,
            properties: None,
        }
    }

    /// Sets the Message Expiry Interval, in seconds from now.
    pub fn expire_after(&mut self, now: Instant, message_expiry_interval_secs: u32) {
        self.expires_at = Some(now + Duration::from_secs(u64::from(message_expiry_interval_secs)));
    }

    /// Whether the Message Expiry Interval is over; such a message is not delivered to anybody
    /// else [MQTT-3.3.2-5].
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }

    /// The Message Expiry Interval to send now, in seconds: what was received less the time that
    /// the message has waited [MQTT-3.3.2-6], but not zero before it is over. `None` when the
    /// message never expires.
    ///
    /// It is rounded to the nearest second. Rounded up, it would grow where `now` is a little
    /// older than the moment at which another thread took the message.
    pub fn message_expiry_interval(&self, now: Instant) -> Option<u32> {
        let left = self.expires_at?.saturating_since(now);
        let nearest = left.saturating_add(Duration::from_millis(500)).as_secs();
        let secs = nearest.max(u64::from(!left.is_zero()));
        Some(u32::try_from(secs).unwrap_or(u32::MAX))
    }

    /// The same message in allocations of its own, so that it can wait without pinning the buffer
    /// that it was read from.
    pub fn detached(&self) -> Self {
        self.detached_as(self.topic_name.detached())
    }

    /// As [`Message::detached`], with the Topic Name in memory that the caller has for it.
    pub fn detached_as(&self, topic_name: TopicName) -> Self {
        debug_assert_eq!(topic_name, self.topic_name);
        Self {
            topic_name,
            payload: Bytes::copy_from_slice(&self.payload),
            qos: self.qos,
            retain: self.retain,
            expires_at: self.expires_at,
            properties: self.properties.as_ref().map(|properties| Arc::new(detach(properties))),
        }
    }

    /// Bytes of topic, payload and properties, with what each User Property costs beside its
    /// text: what the message costs whoever keeps it.
    pub fn size(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| {
            properties.content_type.as_ref().map_or(0, |text| text.len())
                + properties.response_topic.as_ref().map_or(0, |name| name.len())
                + properties.correlation_data.as_ref().map_or(0, Bytes::len)
                + properties
                    .user_properties
                    .iter()
                    .map(|(name, value)| USER_PROPERTY_COST + name.len() + value.len())
                    .sum::<usize>()
        });
        self.topic_name.len() + self.payload.len() + properties
    }
}

/// Memory of a User Property beside its text, which may be empty.
const USER_PROPERTY_COST: usize = 2 * size_of::<dunlin_codec::Text>();

fn detach(properties: &MessageProperties) -> MessageProperties {
    MessageProperties {
        payload_format_indicator: properties.payload_format_indicator,
        content_type: properties.content_type.as_ref().map(dunlin_codec::Text::detached),
        response_topic: properties.response_topic.as_ref().map(TopicName::detached),
        correlation_data: properties.correlation_data.as_deref().map(Bytes::copy_from_slice),
        user_properties: properties
            .user_properties
            .iter()
            .map(|(name, value)| (name.detached(), value.detached()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_shrinks_and_never_grows() {
        let at = |millis: u64| Instant::from_micros(7_000_000 + millis * 1000);
        let mut message = Message::new(TopicName::from_static("t"), "");
        assert_eq!(message.message_expiry_interval(at(0)), None);
        message.expire_after(at(1000), 90);
        // The clock of one who gets it from another thread may be a little behind.
        for (millis, expected) in [
            (990, 90),
            (1000, 90),
            (1400, 90),
            (1600, 89),
            (90_400, 1),
            (90_900, 1),
            (91_000, 0),
            (99_000, 0),
        ] {
            assert_eq!(message.message_expiry_interval(at(millis)), Some(expected), "{millis}");
            assert_eq!(message.is_expired(at(millis)), expected == 0);
        }
    }
}
