//! The promises, and the finding that one was broken.

use crate::history::{ConnectionId, DeviceId};
use dunlin_protocol::Instant;

/// What is promised; one for each sentence that a history can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// A QoS 1 or 2 message whose publisher was told that it is taken reaches every session that
    /// was subscribed throughout (promises 1 to 3).
    AcknowledgedIsKept,
    /// Every message that a session was to get and did not has a cause, which is counted for its
    /// Client (promise 2).
    DropsAreCounted,
    /// An application learns that its message was acknowledged only when it was.
    AcknowledgedIsTrue,
    /// A message comes at most as often as it was published: at QoS 2 once for each exchange of
    /// its publisher, at QoS 0 too (promise 4).
    ExactlyOnce,
    /// A QoS 1 message isn't sent anew, under another Packet Identifier, without a reason.
    NoNeedlessCopy,
    /// Messages of one publisher, Topic Name and QoS come in their order (promise 5).
    Order,
    /// Session Present tells whether there is a Session (promise 3).
    SessionPresent,
    /// A Will is published once, when it is due, unless it was taken back.
    Will,
    /// A new subscription gets the last retained message of each Topic Name, and no other
    /// (promise 8).
    Retained,
    /// RETAIN is set on retained messages, and else only for Retain As Published.
    RetainFlag,
    /// A message isn't delivered after its Message Expiry Interval, which shrinks while it waits.
    MessageExpiry,
    /// No Local keeps a message from its publisher.
    NoLocal,
    /// The Subscription Identifiers are those of the subscriptions that match.
    SubscriptionIdentifiers,
    /// The QoS is the lower one of the message's and the highest that was granted.
    GrantedQos,
    /// Topic Name, payload and properties reach the receiver as they were published.
    Content,
    /// A session gets only what it has subscribed to, and only what was published since.
    OnlyWhatIsWanted,
    /// One member of a Shared Subscription gets the message, another one only when the first is
    /// gone without an answer.
    OneMember,
    /// A QoS 1 or 2 message reaches some member of each Shared Subscription that has one.
    SomeMember,
    /// No more messages under way than Receive Maximum.
    ReceiveMaximum,
    /// No packet beyond Maximum Packet Size.
    MaximumPacketSize,
    /// A Packet Identifier names one exchange at a time; DUP tells of a repetition.
    PacketIdentifier,
    /// Topic Aliases are within their maximum and stand for something.
    TopicAlias,
    /// Answers come to what was asked, once and in order.
    Answers,
    /// By the end every request of a connection that is still there has its answer.
    Unanswered,
    /// CONNACK comes first, DISCONNECT last.
    Handshake,
    /// A silent peer is closed after one and a half times its Keep Alive, and not before.
    KeepAlive,
    /// Malformed input ends its connection, and no other.
    Malformed,
    /// A Client Identifier has one connection; the older one is told.
    Takeover,
    /// What the rules forbid is refused, and nobody gets it; what they allow is not (promise 9).
    Rights,
    /// Who is let in has proved who he is, stays no longer than that counts, and gets at his own
    /// sessions only (promise 9).
    Login,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub promise: Promise,
    /// When it was seen.
    pub at: Instant,
    /// The connections concerned.
    pub connections: Vec<ConnectionId>,
    /// The devices concerned.
    pub devices: Vec<DeviceId>,
    /// What happened, in words.
    pub text: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}: {}", self.at, self.promise, self.text)?;
        for connection in &self.connections {
            write!(f, ", connection {}", connection.0)?;
        }
        for device in &self.devices {
            write!(f, ", device {}", device.0)?;
        }
        Ok(())
    }
}
