//! A message from the Server, and its acknowledgement.

use crate::AcknowledgeError;
use crate::shared::{PendingAck, Shared};
use bytes::Bytes;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{
    MessageProperties, QoS, ReasonCode, SubscriptionIdentifier, Text, TopicName,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A message as the driver hands it to a queue.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) message: Message,
    pub(crate) dup: bool,
    pub(crate) subscription_identifiers: Vec<SubscriptionIdentifier>,
    /// Whole seconds that the message was still worth delivering when it came.
    pub(crate) message_expiry_interval: Option<u32>,
}

/// A message in a queue, with the acknowledgement that is owed for it.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) content: Content,
    pub(crate) ack: Option<PendingAck>,
}

impl Delivered {
    pub(crate) fn size(&self) -> usize {
        self.content.message.size()
    }

    /// Whether a Server that resumes the Session sends this message again.
    pub(crate) fn is_sent_again(&self) -> bool {
        self.ack.is_some() && self.content.message.qos == QoS::AtLeastOnce
    }

    /// The message leaves its queue for the user. Unless the user acknowledges, this does.
    pub(crate) fn hand_over(self, shared: &Arc<Shared>) -> Received {
        let manual = match self.ack {
            Some(ack) if shared.manual_ack => Some((shared.clone(), ack)),
            Some(ack) => {
                if let Some(settled) = ack.settle(ReasonCode::Success) {
                    shared.push_ack(settled);
                }
                None
            }
            None => None,
        };
        Received { content: self.content, manual }
    }
}

/// An Application Message from the Server.
///
/// With manual acknowledgement ([`crate::ClientBuilder::manual_ack`]) a QoS 1 or 2 message is
/// acknowledged by [`Received::ack`] or [`Received::refuse`] alone. One that is dropped without
/// either stays unacknowledged: the Server sends it again when the Session is resumed. Until then
/// it counts against Receive Maximum, and since acknowledgements leave in the order of the
/// messages, those that came after it wait behind it.
#[derive(Debug)]
pub struct Received {
    content: Content,
    manual: Option<(Arc<Shared>, PendingAck)>,
}

impl Received {
    /// Where it was published.
    pub const fn topic_name(&self) -> &TopicName {
        &self.content.message.topic_name
    }

    /// The content.
    pub const fn payload(&self) -> &Bytes {
        &self.content.message.payload
    }

    /// Takes the content out.
    pub fn into_payload(self) -> Bytes {
        self.content.message.payload
    }

    /// The QoS that it was delivered with.
    pub const fn qos(&self) -> QoS {
        self.content.message.qos
    }

    /// Whether it was a retained message; with Retain As Published, whether it was published as
    /// one.
    pub const fn retain(&self) -> bool {
        self.content.message.retain
    }

    /// Whether the Server says that it may have sent this message before.
    pub const fn dup(&self) -> bool {
        self.content.dup
    }

    /// The properties; `None` when it has none.
    pub fn properties(&self) -> Option<&MessageProperties> {
        self.content.message.properties.as_deref()
    }

    /// What the payload is: the Content Type.
    pub fn content_type(&self) -> Option<&Text> {
        self.properties()?.content_type.as_ref()
    }

    /// Where the publisher expects an answer.
    pub fn response_topic(&self) -> Option<&TopicName> {
        self.properties()?.response_topic.as_ref()
    }

    /// What the answer must repeat.
    pub fn correlation_data(&self) -> Option<&Bytes> {
        self.properties()?.correlation_data.as_ref()
    }

    /// The User Properties, in their order.
    pub fn user_properties(&self) -> &[(Text, Text)] {
        self.properties().map_or(&[], |properties| &properties.user_properties)
    }

    /// How long the message was still worth delivering when it came, in whole seconds; `None`
    /// when it never expires.
    pub fn message_expiry_interval(&self) -> Option<Duration> {
        self.content.message_expiry_interval.map(|secs| Duration::from_secs(u64::from(secs)))
    }

    /// The identifiers of the subscriptions that matched, as far as the Server told.
    pub fn subscription_identifiers(&self) -> &[SubscriptionIdentifier] {
        &self.content.subscription_identifiers
    }

    /// Whether an acknowledgement is owed: manual acknowledgement is on, the QoS is above 0, and
    /// none was given yet.
    pub const fn needs_ack(&self) -> bool {
        self.manual.is_some()
    }

    /// Acknowledges the message; does nothing when none is owed. Does not wait.
    ///
    /// # Errors
    /// [`AcknowledgeError::ConnectionOver`] when the client has disconnected for good. After a
    /// mere reconnect the acknowledgement is left out silently: the Server sends the message again.
    pub fn ack(&mut self) -> Result<(), AcknowledgeError> {
        self.settle(ReasonCode::Success)
    }

    /// Refuses the message with a Reason Code of 0x80 and above; MQTT 3.x has no refusal, there it
    /// is acknowledged. The Server does not send it again [MQTT-4.4.0-2].
    ///
    /// # Errors
    /// As for [`Received::ack`].
    pub fn refuse(&mut self, reason_code: ReasonCode) -> Result<(), AcknowledgeError> {
        self.settle(reason_code)
    }

    /// Acknowledges the message as [`Received::ack`] does, and resolves once the Session Store has
    /// that: a QoS 2 message is not given again then, whatever happens to this process. Where
    /// several streams got the message, that holds once all of them have acknowledged.
    ///
    /// Without a [`crate::ClientBuilder::session_store`] it resolves when the acknowledgement is on
    /// its way.
    ///
    /// Cancellation safe: once polled the message is acknowledged whether or not this is awaited.
    ///
    /// # Errors
    /// As for [`Received::ack`]; and if the store fails.
    pub async fn ack_stored(&mut self) -> Result<(), AcknowledgeError> {
        let Some((shared, ack)) = self.manual.take() else { return Ok(()) };
        let Some(mut settled) = ack.settle(ReasonCode::Success) else { return Ok(()) };
        let (stored, outcome) = oneshot::channel();
        settled.stored = Some(stored);
        if !shared.push_ack(settled) {
            return Err(AcknowledgeError::ConnectionOver);
        }
        outcome.await.map_err(|_| AcknowledgeError::ConnectionOver)
    }

    fn settle(&mut self, reason_code: ReasonCode) -> Result<(), AcknowledgeError> {
        let Some((shared, ack)) = self.manual.take() else { return Ok(()) };
        let is_taken = ack.settle(reason_code).is_none_or(|settled| shared.push_ack(settled));
        if is_taken { Ok(()) } else { Err(AcknowledgeError::ConnectionOver) }
    }
}
