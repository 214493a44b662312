//! What must survive the process: the changes of durable state, in the order they were decided.

use super::GroupName;
use super::granted::Granted;
use dunlin_protocol::codec::{
    PacketIdentifier, QoS, SubscriptionIdentifier, Text, TopicFilter, TopicName,
};
use dunlin_protocol::{Instant, Message};
use dunlin_rights::Subject;
use std::sync::Arc;

/// The place of a record in the sequence of its worker's records, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordNumber(pub u64);

/// A change of durable state.
///
/// The live path decides, stores, then applies; a store that gives the records back in their order
/// lets [`Core::recover`] apply the same. Sessions that end with their connection make no records,
/// except for their Wills; QoS 0 to connected Clients makes none.
///
/// A store may keep the state that the records add up to instead of the records: it gives back, for
/// each thing that still is, the record that made it and those that changed it.
///
/// [`Core::recover`]: super::Core::recover
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// A session began, goes on with another Session Expiry Interval, got a connection or lost it.
    Session {
        /// Whose session.
        client_identifier: Text,
        /// Seconds that it outlives its connection.
        session_expiry_interval: u32,
        /// Since when it has no connection; `None` while it has one.
        away_since: Option<Instant>,
        /// The user whose session it is, empty for anonymous Clients; `None` while nobody knows.
        owner: Option<Text>,
        /// Who uses it or did last, for rules; `None` if there were none.
        subject: Option<Arc<Subject>>,
    },
    /// A session ended; all that it had goes with it, its Will included.
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
        /// Names the message within the session; later ones have higher numbers.
        number: u64,
        /// The message.
        message: Arc<Message>,
        /// The QoS that it is delivered with.
        qos: QoS,
        /// The RETAIN flag that it is delivered with.
        retain: bool,
        /// The Subscription Identifiers that it is delivered with.
        subscription_identifiers: Vec<SubscriptionIdentifier>,
        /// The Shared Subscription that it came by.
        group: Option<Arc<GroupName>>,
        /// The exchange that it is delivered by, when that has begun already.
        packet_identifier: Option<PacketIdentifier>,
        /// Whether it counts only once it is [`Record::Confirmed`].
        tentative: bool,
    },
    /// A message that was owed tentatively is owed.
    Confirmed {
        /// Whose session.
        client_identifier: Text,
        /// The message's number within the session.
        number: u64,
    },
    /// Messages are owed to a session that the store keeps to itself until they are wanted
    /// ([`Output::Fetch`]): how a store gives back a long queue. No core makes this record.
    ///
    /// [`Output::Fetch`]: super::Output::Fetch
    Waiting {
        /// Whose session.
        client_identifier: Text,
        /// The lowest of their numbers.
        first: u64,
        /// The highest of their numbers.
        last: u64,
        /// How many there are.
        len: u64,
        /// Their bytes, by [`Message::size`].
        bytes: u64,
    },
    /// The exchange that delivers a message has begun.
    Sent {
        /// Whose session.
        client_identifier: Text,
        /// The message's number within the session.
        number: u64,
        /// The exchange.
        packet_identifier: PacketIdentifier,
    },
    /// The Client has received a QoS 2 message: its PUBLISH is not sent again, its PUBREL is.
    Taken {
        /// Whose session.
        client_identifier: Text,
        /// The message's number within the session.
        number: u64,
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
    /// A Client is connected, or its session goes on, with this Will.
    Will {
        /// Whose Will; it may have no session that outlives its connection.
        client_identifier: Text,
        /// What is published.
        message: Arc<Message>,
        /// Seconds that the message is worth delivering from when it is published.
        message_expiry_interval: Option<u32>,
        /// The Will Delay Interval, in seconds.
        delay_secs: u32,
        /// Who has left it, for rules; `None` if there were none.
        subject: Option<Arc<Subject>>,
    },
    /// The Will of a Client was published or discarded.
    WillRemoved {
        /// Whose Will.
        client_identifier: Text,
    },
    /// A message that no publisher will send again is on its way to sessions of other workers: a
    /// Will, or a message that a member of a Shared Subscription hands on.
    Underway {
        /// Whose Will it was, or who handed it on.
        client_identifier: Text,
        /// Names the message among those under way from this Client.
        number: u64,
        /// The message.
        message: Arc<Message>,
        /// The Shared Subscription whose members it is for; everybody if there is none.
        group: Option<Arc<GroupName>>,
    },
    /// A message that was under way is owed to those that it is for.
    Arrived {
        /// Whose Will it was, or who handed it on.
        client_identifier: Text,
        /// The number of its [`Record::Underway`].
        number: u64,
    },
    /// The retained message of a Topic Name was set, or removed.
    Retained {
        /// The Topic Name.
        topic_name: TopicName,
        /// The message; `None` removes it.
        message: Option<Arc<Message>>,
        /// The number of the change among those of all workers: where the records of several
        /// workers meet in another order, the highest one of a Topic Name counts.
        change: u64,
        /// Who has published it, for rules; `None` if there were none.
        publisher: Option<Arc<Subject>>,
    },
}

impl Record {
    /// Whom the record is about: it is recovered by the worker that owns this Client Identifier.
    /// `None` for a retained message, which any worker recovers.
    pub const fn client_identifier(&self) -> Option<&Text> {
        match self {
            Self::Session { client_identifier, .. }
            | Self::SessionEnded { client_identifier }
            | Self::Subscribed { client_identifier, .. }
            | Self::Unsubscribed { client_identifier, .. }
            | Self::Owed { client_identifier, .. }
            | Self::Confirmed { client_identifier, .. }
            | Self::Waiting { client_identifier, .. }
            | Self::Sent { client_identifier, .. }
            | Self::Taken { client_identifier, .. }
            | Self::Settled { client_identifier, .. }
            | Self::Received { client_identifier, .. }
            | Self::Released { client_identifier, .. }
            | Self::Will { client_identifier, .. }
            | Self::WillRemoved { client_identifier }
            | Self::Underway { client_identifier, .. }
            | Self::Arrived { client_identifier, .. } => Some(client_identifier),
            Self::Retained { .. } => None,
        }
    }

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
