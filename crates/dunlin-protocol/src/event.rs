//! What a connection tells its owner.

use crate::{InFlight, Message};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use dunlin_codec::{
    Auth, ConnAck, Connect, Disconnect, PacketIdentifier, PacketType, ReasonCode, SubAck,
    Subscribe, SubscriptionIdentifier, UnsubAck, Unsubscribe,
};

/// What one call of `handle_input` achieved.
#[derive(Debug)]
pub enum Progress<Event> {
    /// A packet was taken, and this is what it means for the owner.
    Event(Event),
    /// A packet was taken that means nothing for the owner.
    Packet,
    /// No whole packet is there, or the connection waits for its owner: for the answer to a CONNECT
    /// or AUTH, or, with MQTT 3.x, for acknowledgements. After `accept`, `auth` and `acknowledge`
    /// call again, since packets may be left in the input.
    NeedInput,
    /// The connection is over: `end()` tells why. What is in the output is still to be written.
    Closed,
}

/// Stands for an acknowledgement that the owner of the connection owes the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckToken {
    pub(crate) packet_identifier: PacketIdentifier,
    pub(crate) kind: AckKind,
}

impl AckToken {
    /// The exchange that the acknowledgement belongs to.
    pub const fn packet_identifier(self) -> PacketIdentifier {
        self.packet_identifier
    }

    /// Whether this is the acknowledgement of a QoS 1 message, PUBACK, after which nobody remembers
    /// the exchange.
    pub const fn is_receipt(self) -> bool {
        matches!(self.kind, AckKind::Receipt)
    }

    /// Whether this is the acknowledgement of a release, PUBCOMP, after which the exchange is over.
    pub const fn is_completion(self) -> bool {
        matches!(self.kind, AckKind::Completion)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AckKind {
    /// PUBACK.
    Receipt,
    /// PUBREC.
    FirstReceipt,
    /// PUBCOMP.
    Completion,
}

impl AckKind {
    pub(crate) const fn packet_type(self) -> PacketType {
        match self {
            Self::Receipt => PacketType::PubAck,
            Self::FirstReceipt => PacketType::PubRec,
            Self::Completion => PacketType::PubComp,
        }
    }
}

/// An Application Message from the peer.
#[derive(Debug)]
pub struct PublishEvent {
    /// The message; its payload and its long texts are slices of the input buffer, see
    /// [`Message::detached`].
    pub message: Message,
    /// Whether the peer says that this may be a repetition.
    pub dup: bool,
    /// For a Client: the identifiers of its subscriptions that match.
    pub subscription_identifiers: Vec<SubscriptionIdentifier>,
    /// What to acknowledge with, once the message is taken care of; `None` at QoS 0.
    ///
    /// A QoS 2 message is given once, also when the connection ends before it is acknowledged: from
    /// here on its owner has it, and the Session remembers its Packet Identifier.
    pub ack: Option<AckToken>,
}

/// What a [`crate::ServerConnection`] tells the Server.
#[derive(Debug)]
pub enum ServerEvent {
    /// A Client asks for a connection. Answer with `accept`, `reject` or `auth`.
    Connect(Box<Connect>),
    /// A message from the Client.
    Publish(PublishEvent),
    /// The Client has released a QoS 2 message: acknowledge once its identifier is forgotten.
    Released(AckToken),
    /// The Client has received a QoS 2 message and owes its completion. After
    /// [`crate::ServerConnection::hold_releases`]: answer with `release`.
    Received(PacketIdentifier),
    /// An exchange that the Server began is over.
    Acknowledged(Acknowledged),
    /// The Client subscribes. Answer with `suback`.
    Subscribe(Box<Subscribe>),
    /// The Client unsubscribes. Answer with `unsuback`.
    Unsubscribe(Box<Unsubscribe>),
    /// A step of enhanced authentication. Answer with `auth`, `accept` or `reject`, or with
    /// `disconnect` when the connection was already accepted.
    Auth(Box<Auth>),
    /// The Client is leaving; the next call gives [`Progress::Closed`].
    Disconnect(Box<Disconnect>),
}

/// What a [`crate::ClientConnection`] tells the Client.
#[derive(Debug)]
pub enum ClientEvent {
    /// The Server has accepted the connection.
    Connected {
        /// Its answer.
        connack: Box<ConnAck>,
        /// What was in flight when the Server no longer had the Session: to be published anew.
        lost: Vec<InFlight>,
    },
    /// The Server has refused the connection; the next call gives [`Progress::Closed`].
    Refused(Box<ConnAck>),
    /// A message from the Server.
    Publish(PublishEvent),
    /// The Server has released a QoS 2 message: acknowledge once its identifier is forgotten.
    Released(AckToken),
    /// The Server has received a QoS 2 message and owes its completion.
    Received {
        /// The exchange.
        packet_identifier: PacketIdentifier,
        /// What PUBREC said, below 0x80: [`ReasonCode::NoMatchingSubscribers`] is told here and
        /// not repeated by PUBCOMP.
        reason_code: ReasonCode,
    },
    /// An exchange that the Client began is over.
    Acknowledged(Acknowledged),
    /// The Server's answer to a SUBSCRIBE.
    SubAck(Box<SubAck>),
    /// The Server's answer to an UNSUBSCRIBE.
    UnsubAck(Box<UnsubAck>),
    /// A step of enhanced authentication. Answer with `auth`.
    Auth(Box<Auth>),
    /// The Server ends the connection; the next call gives [`Progress::Closed`].
    Disconnect(Box<Disconnect>),
}

/// An exchange that this end began is over: the peer has the message, or says why not.
#[derive(Debug)]
pub struct Acknowledged {
    /// The exchange.
    pub packet_identifier: PacketIdentifier,
    /// The outcome of a PUBACK, PUBREC or PUBCOMP.
    pub reason_code: ReasonCode,
    /// The Reason String that came with it.
    pub reason_string: Option<dunlin_codec::Text>,
    /// The message, when it was still kept (QoS 1, and QoS 2 that was refused).
    pub message: Option<Arc<Message>>,
}
