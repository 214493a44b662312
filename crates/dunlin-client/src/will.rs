//! The Will: what the Server publishes should the client vanish.

use crate::ConfigError;
use bytes::Bytes;
use dunlin_protocol::codec::{self, QoS, Text, TopicName, WillProperties};
use std::time::Duration;

/// A Will in the making, for [`crate::ClientBuilder::will`]. Spec: §3.1.2.5.
///
/// ```
/// use dunlin_client::{QoS, Will};
///
/// let will = Will::new("lamps/7/state", "gone").qos(QoS::AtLeastOnce).retain(true);
/// # let _ = will;
/// ```
#[derive(Clone, Debug)]
#[must_use = "give it to ClientBuilder::will"]
pub struct Will {
    topic_name: Result<TopicName, ConfigError>,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    properties: WillProperties,
}

impl Will {
    /// A Will of QoS 0, not retained.
    pub fn new(
        topic_name: impl TryInto<TopicName, Error: Into<ConfigError>>,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            topic_name: topic_name.try_into().map_err(Into::into),
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: WillProperties::default(),
        }
    }

    /// Its QoS.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Whether it is retained.
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// How long the Server waits for a reconnect before it publishes, in whole seconds. MQTT 5.0.
    pub fn delay_interval(mut self, interval: Duration) -> Self {
        self.properties.will_delay_interval = Some(secs(interval));
        self
    }

    /// How long the message is worth delivering once published, in whole seconds. MQTT 5.0.
    pub fn message_expiry_interval(mut self, interval: Duration) -> Self {
        self.properties.message_expiry_interval = Some(secs(interval));
        self
    }

    /// What the payload is. MQTT 5.0.
    pub fn content_type(
        mut self,
        content_type: impl TryInto<Text, Error: Into<ConfigError>>,
    ) -> Self {
        match content_type.try_into() {
            Ok(text) => self.properties.message.content_type = Some(text),
            Err(error) => self.topic_name = Err(error.into()),
        }
        self
    }

    /// Adds a User Property. MQTT 5.0.
    pub fn user_property(
        mut self,
        name: impl TryInto<Text, Error: Into<ConfigError>>,
        value: impl TryInto<Text, Error: Into<ConfigError>>,
    ) -> Self {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => self.properties.message.user_properties.push((name, value)),
            (Err(error), _) => self.topic_name = Err(error.into()),
            (_, Err(error)) => self.topic_name = Err(error.into()),
        }
        self
    }

    pub(crate) fn build(self) -> Result<codec::Will, ConfigError> {
        Ok(codec::Will {
            topic_name: self.topic_name?,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties,
        })
    }
}

fn secs(interval: Duration) -> u32 {
    u32::try_from(interval.as_secs()).unwrap_or(u32::MAX)
}
