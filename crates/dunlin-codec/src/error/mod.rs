//! What can be wrong with bytes from a peer: one variant for each cause.

mod blame;

use crate::types::{InvalidText, InvalidTopicFilter, InvalidTopicName};
use crate::{PacketType, Property};

/// Why bytes are not a legal Control Packet.
///
/// Every variant tells the Reason Code to end the connection with
/// ([`DecodeError::reason_code`]), and the statement of the standard that the peer broke
/// ([`DecodeError::statement`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    // The frame.
    /// The packet type 0 is forbidden, and AUTH exists only in MQTT 5.0.
    #[error("packet type {0} is not allowed")]
    PacketType(u8),
    /// The flags of the fixed header are not those that the packet type asks for.
    #[error("{packet} with flags {1:#06b} in its fixed header", packet = .0.name())]
    FixedHeaderFlags(PacketType, u8),
    /// A variable byte integer goes on after its fourth byte.
    #[error("a variable byte integer has more than four bytes")]
    VariableByteIntegerTooLong,
    /// A variable byte integer would fit in fewer bytes.
    #[error("a variable byte integer is longer than it has to be")]
    VariableByteIntegerNotMinimal,
    /// The packet is larger than this side accepts.
    #[error("the packet has {len} bytes, more than the {max} that are accepted")]
    PacketTooLarge {
        /// Bytes that the packet claims to have, fixed header included.
        len: u32,
        /// Bytes that are accepted.
        max: u32,
    },
    /// A field goes on after the end of its packet.
    #[error("a field goes on after the end of its packet")]
    Truncated,
    /// The packet goes on after its last field.
    #[error("{0} bytes after the last field of the packet")]
    TrailingBytes(u32),

    // Fields of several packets.
    /// A string is not legal.
    #[error("a string is not legal")]
    Text(#[from] InvalidText),
    /// A Topic Name is not legal.
    #[error("a Topic Name is not legal")]
    TopicName(#[from] InvalidTopicName),
    /// A Topic Filter is not legal.
    #[error("a Topic Filter is not legal")]
    TopicFilter(#[from] InvalidTopicFilter),
    /// A Topic Name is longer than this side accepts.
    #[error("a Topic Name has {len} bytes, more than the {max} that are accepted")]
    TopicNameTooLong {
        /// Bytes that it has.
        len: u16,
        /// Bytes that are accepted.
        max: u16,
    },
    /// The Packet Identifier is zero.
    #[error("the Packet Identifier is zero")]
    PacketIdentifierZero,
    /// The Reason Code or return code is not one of those that the packet may carry.
    #[error("{packet} with Reason Code {1:#04x}", packet = .0.name())]
    ReasonCode(PacketType, u8),
    /// A SUBSCRIBE or UNSUBSCRIBE without Topic Filters, or an answer without Reason Codes.
    #[error("{packet} without an entry", packet = .0.name())]
    NoEntries(PacketType),

    // Properties.
    /// The standard has no property with this identifier.
    #[error("there is no property {0:#04x}")]
    PropertyUnknown(u32),
    /// The packet may not carry this property.
    #[error("{0} is not a property of {1}")]
    PropertyMisplaced(Property, &'static str),
    /// The property is there twice.
    #[error("{0} is there twice")]
    PropertyDuplicate(Property),
    /// The properties claim more bytes than the packet has.
    #[error("the properties go on after the end of their packet")]
    PropertyLength,
    /// A property that is 0 or 1 has another value.
    #[error("{0} is {1}, neither 0 nor 1")]
    PropertyNotBoolean(Property, u8),
    /// A property that must not be zero is zero: Receive Maximum, Maximum Packet Size or
    /// Subscription Identifier.
    #[error("{0} is zero")]
    PropertyZero(Property),
    /// There are more User Properties than this side accepts.
    #[error("more than the {max} User Properties that are accepted")]
    TooManyUserProperties {
        /// How many are accepted.
        max: u32,
    },
    /// The User Properties have more bytes than this side accepts.
    #[error("more than the {max} bytes of User Properties that are accepted")]
    UserPropertiesTooLong {
        /// Bytes that are accepted.
        max: u32,
    },
    /// The Topic Alias is zero.
    #[error("the Topic Alias is zero")]
    TopicAliasZero,
    /// Maximum QoS is neither 0 nor 1.
    #[error("Maximum QoS is {0}, neither 0 nor 1")]
    MaximumQoS(u8),
    /// The Response Topic is not a legal Topic Name.
    #[error("the Response Topic is not a legal Topic Name")]
    ResponseTopic(#[source] InvalidTopicName),
    /// Authentication Data without Authentication Method.
    #[error("Authentication Data without Authentication Method")]
    AuthenticationDataWithoutMethod,
    /// An AUTH that has content, without Authentication Method.
    #[error("AUTH without Authentication Method")]
    AuthenticationMethodMissing,

    // CONNECT and CONNACK.
    /// The Protocol Name is neither `MQTT` nor `MQIsdp`.
    #[error("the Protocol Name is not one of MQTT")]
    ProtocolName,
    /// The Protocol Name does not have this version.
    #[error("protocol version {0} is not supported")]
    ProtocolVersion(u8),
    /// The reserved Connect Flag is set.
    #[error("the reserved Connect Flag is set")]
    ConnectFlagReserved,
    /// Will QoS without Will.
    #[error("Will QoS without Will")]
    WillQoSWithoutWill,
    /// Will Retain without Will.
    #[error("Will Retain without Will")]
    WillRetainWithoutWill,
    /// Will QoS is 3.
    #[error("Will QoS is 3")]
    WillQoS,
    /// A Password without User Name, which MQTT 3.x doesn't allow.
    #[error("a Password without User Name")]
    PasswordWithoutUserName,
    /// Reserved bits of the Connect Acknowledge Flags are set.
    #[error("the Connect Acknowledge Flags are {0:#010b}")]
    ConnectAcknowledgeFlags(u8),
    /// Session Present in a CONNACK that rejects the connection.
    #[error("Session Present in a CONNACK that rejects the connection")]
    SessionPresentWithError,

    // PUBLISH.
    /// QoS is 3.
    #[error("QoS is 3")]
    QoS,
    /// The DUP flag is set at QoS 0.
    #[error("DUP is set at QoS 0")]
    DupAtMostOnce,
    /// Neither Topic Name nor Topic Alias.
    #[error("a PUBLISH with neither Topic Name nor Topic Alias")]
    TopicNameMissing,

    // SUBSCRIBE.
    /// Reserved bits of the Subscription Options are set.
    #[error("the Subscription Options are {0:#010b}")]
    SubscriptionOptionsReserved(u8),
    /// The QoS of a subscription is 3.
    #[error("a subscription asks for QoS 3")]
    SubscriptionQoS,
    /// Retain Handling is 3.
    #[error("Retain Handling is 3")]
    RetainHandling,
    /// No Local on a Shared Subscription.
    #[error("No Local on a Shared Subscription")]
    NoLocalOnSharedSubscription,
}
