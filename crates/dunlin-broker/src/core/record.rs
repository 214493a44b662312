//! What must survive the process: the changes of durable state, in the order they were decided.

use super::granted::Granted;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{
    PacketIdentifier, QoS, SubscriptionIdentifier, Text, TopicFilter, TopicName,
};
use std::sync::Arc;

/// The place of a record in the sequence of its worker's records, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber(pub u64);

/// A change of durable state.
///
/// The live path decides, stores, then applies; a store that gives the records back in their order
/// lets recovery apply the same. Sessions that end with their connection make no records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A session began, or goes on with another Session Expiry Interval.
    Session {
        /// Whose session.
        client_identifier: Text,
        /// Seconds that it outlives its connection.
        session_expiry_interval: u32,
    },
    /// A session ended; all that it had goes with it.
    SessionEnded {
        /// Whose session.
        client_identifier: Text,
    },
    /// A subscription was added or replaced.
    Subscribed {
        /// Whose session.
        client_identifier: Text,
        /// The whole Topic Filter.
        topic_filter: TopicFilter,
        /// The QoS that was granted.
        maximum_qos: QoS,
        /// No Local.
        no_local: bool,
        /// Retain As Published.
        retain_as_published: bool,
        /// The Subscription Identifier.
        subscription_identifier: Option<SubscriptionIdentifier>,
    },
    /// A subscription was removed.
    Unsubscribed {
        /// Whose session.
        client_identifier: Text,
        /// The whole Topic Filter.
        topic_filter: TopicFilter,
    },
    /// A message is owed to a session.
    Owed {
        /// Whose session.
        client_identifier: Text,
        /// Names the message within the session.
        number: u64,
        /// The message.
        message: Arc<Message>,
        /// The QoS that it is delivered with.
        qos: QoS,
    },
    /// A message is no longer owed: it was acknowledged, dropped or handed on.
    Settled {
        /// Whose session.
        client_identifier: Text,
        /// The message's number within the session.
        number: u64,
    },
    /// A QoS 2 message of the session's own Client was received and awaits its release.
    Received {
        /// Whose session.
        client_identifier: Text,
        /// The exchange.
        packet_identifier: PacketIdentifier,
    },
    /// A QoS 2 message of the session's own Client was released.
    Released {
        /// Whose session.
        client_identifier: Text,
        /// The exchange.
        packet_identifier: PacketIdentifier,
    },
    /// The retained message of a Topic Name was set, or removed.
    Retained {
        /// The Topic Name.
        topic_name: TopicName,
        /// The message; `None` removes it.
        message: Option<Arc<Message>>,
    },
}

impl Record {
    pub(super) fn subscribed(
        client_identifier: &Text,
        topic_filter: &TopicFilter,
        granted: &Granted,
    ) -> Self {
        Self::Subscribed {
            client_identifier: client_identifier.clone(),
            topic_filter: topic_filter.clone(),
            maximum_qos: granted.maximum_qos,
            no_local: granted.no_local,
            retain_as_published: granted.retain_as_published,
            subscription_identifier: granted.identifiers.as_slice().first().copied(),
        }
    }
}
