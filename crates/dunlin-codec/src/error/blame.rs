//! What a peer's fault means: the Reason Code to answer with, and the statement that was broken.

use super::DecodeError;
use crate::types::{InvalidText, InvalidTopicFilter, InvalidTopicName};
use crate::{PacketType, ReasonCode};

/// Breaches that have no statement of their own fall under the one that tells what to do with them:
/// close the Network Connection.
const MALFORMED_PACKET_OR_PROTOCOL_ERROR: &str = "MQTT-4.13.1-1";

impl DecodeError {
    /// The Reason Code to end the connection with, in CONNACK or DISCONNECT. Spec: §4.13.
    ///
    /// What cannot be parsed is a Malformed Packet; what can be, and says what the protocol does
    /// not allow, is a Protocol Error, unless the standard names a more telling code.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::PacketType(_)
            | Self::FixedHeaderFlags(..)
            | Self::VariableByteIntegerTooLong
            | Self::VariableByteIntegerNotMinimal
            | Self::Truncated
            | Self::TrailingBytes(_)
            | Self::Text(_)
            | Self::TopicName(_)
            | Self::TopicFilter(_)
            | Self::ResponseTopic(_)
            | Self::PropertyUnknown(_)
            | Self::PropertyMisplaced(..)
            | Self::PropertyLength
            | Self::ConnectFlagReserved
            | Self::WillQoSWithoutWill
            | Self::WillRetainWithoutWill
            | Self::WillQoS
            | Self::PasswordWithoutUserName
            | Self::ConnectAcknowledgeFlags(_)
            | Self::QoS
            | Self::DupAtMostOnce
            | Self::SubscriptionOptionsReserved(_) => ReasonCode::MalformedPacket,

            Self::PacketIdentifierZero
            | Self::ReasonCode(..)
            | Self::NoEntries(_)
            | Self::PropertyDuplicate(_)
            | Self::PropertyNotBoolean(..)
            | Self::PropertyZero(_)
            | Self::MaximumQoS(_)
            | Self::AuthenticationDataWithoutMethod
            | Self::AuthenticationMethodMissing
            | Self::SessionPresentWithError
            | Self::TopicNameMissing
            | Self::SubscriptionQoS
            | Self::RetainHandling
            | Self::NoLocalOnSharedSubscription => ReasonCode::ProtocolError,

            Self::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            Self::TopicNameTooLong { .. } => ReasonCode::TopicNameInvalid,
            Self::TooManyUserProperties { .. } | Self::UserPropertiesTooLong { .. } => {
                ReasonCode::QuotaExceeded
            }
            Self::TopicAliasZero => ReasonCode::TopicAliasInvalid,
            Self::ProtocolName | Self::ProtocolVersion(_) => ReasonCode::UnsupportedProtocolVersion,
        }
    }

    /// The normative statement that the peer broke: its number in MQTT 5.0 (`MQTT-…`), or in
    /// 3.1.1 (`MQTT3-…`) where only that version has one.
    pub const fn statement(&self) -> &'static str {
        match self {
            Self::FixedHeaderFlags(packet_type, _) => match packet_type {
                PacketType::PubRel => "MQTT-3.6.1-1",
                PacketType::Subscribe => "MQTT-3.8.1-1",
                PacketType::Unsubscribe => "MQTT-3.10.1-1",
                PacketType::Disconnect => "MQTT-3.14.1-1",
                PacketType::Auth => "MQTT-3.15.1-1",
                _ => "MQTT-2.1.3-1",
            },
            Self::VariableByteIntegerNotMinimal => "MQTT-1.5.5-1",
            // The decoder does not know whether it serves a Client or a Server; the Server's
            // [MQTT-3.1.2-24] says the same.
            Self::PacketTooLarge { .. } => "MQTT-3.2.2-15",
            Self::Text(cause) => text(*cause),
            Self::TopicName(cause) => topic_name(*cause, "MQTT-3.3.2-2"),
            Self::ResponseTopic(cause) => topic_name(*cause, "MQTT-3.3.2-14"),
            Self::TopicFilter(cause) => match cause {
                InvalidTopicFilter::Empty => "MQTT-4.7.3-1",
                InvalidTopicFilter::MultiLevelWildcard => "MQTT-4.7.1-1",
                InvalidTopicFilter::SingleLevelWildcard => "MQTT-4.7.1-2",
                InvalidTopicFilter::ShareName => "MQTT-4.8.2-2",
                InvalidTopicFilter::Text(cause) => text(*cause),
            },
            Self::PacketIdentifierZero => "MQTT-2.2.1-3",
            Self::ReasonCode(packet_type, _) => match packet_type {
                PacketType::ConnAck => "MQTT-3.2.2-8",
                PacketType::PubAck => "MQTT-3.4.2-1",
                PacketType::PubRec => "MQTT-3.5.2-1",
                PacketType::PubRel => "MQTT-3.6.2-1",
                PacketType::PubComp => "MQTT-3.7.2-1",
                PacketType::SubAck => "MQTT-3.9.3-2",
                PacketType::UnsubAck => "MQTT-3.11.3-2",
                PacketType::Disconnect => "MQTT-3.14.2-1",
                PacketType::Auth => "MQTT-3.15.2-1",
                _ => MALFORMED_PACKET_OR_PROTOCOL_ERROR,
            },
            Self::NoEntries(packet_type) => match packet_type {
                PacketType::Subscribe => "MQTT-3.8.3-2",
                PacketType::SubAck => "MQTT-3.8.4-6",
                PacketType::Unsubscribe => "MQTT-3.10.3-2",
                PacketType::UnsubAck => "MQTT-3.11.3-1",
                _ => MALFORMED_PACKET_OR_PROTOCOL_ERROR,
            },
            Self::TopicAliasZero => "MQTT-3.3.2-8",
            Self::AuthenticationMethodMissing => "MQTT-4.12.0-5",
            Self::ProtocolName => "MQTT-3.1.2-1",
            Self::ProtocolVersion(_) => "MQTT-3.1.2-2",
            Self::ConnectFlagReserved => "MQTT-3.1.2-3",
            Self::WillQoSWithoutWill => "MQTT-3.1.2-11",
            Self::WillQoS => "MQTT-3.1.2-12",
            Self::WillRetainWithoutWill => "MQTT-3.1.2-13",
            Self::PasswordWithoutUserName => "MQTT3-3.1.2-22",
            Self::ConnectAcknowledgeFlags(_) => "MQTT-3.2.2-1",
            Self::SessionPresentWithError => "MQTT-3.2.2-6",
            Self::QoS => "MQTT-3.3.1-4",
            Self::DupAtMostOnce => "MQTT-3.3.1-2",
            Self::TopicNameMissing => "MQTT-4.7.3-1",
            Self::SubscriptionOptionsReserved(_) => "MQTT-3.8.3-5",
            Self::SubscriptionQoS => "MQTT3-3.8.3-4",
            Self::NoLocalOnSharedSubscription => "MQTT-3.8.3-4",
            Self::PacketType(_)
            | Self::VariableByteIntegerTooLong
            | Self::Truncated
            | Self::TrailingBytes(_)
            | Self::PropertyUnknown(_)
            | Self::PropertyMisplaced(..)
            | Self::PropertyDuplicate(_)
            | Self::PropertyLength
            | Self::PropertyNotBoolean(..)
            | Self::PropertyZero(_)
            | Self::MaximumQoS(_)
            | Self::AuthenticationDataWithoutMethod
            | Self::RetainHandling
            // No breach, but more than this side has room for.
            | Self::TopicNameTooLong { .. }
            | Self::TooManyUserProperties { .. }
            | Self::UserPropertiesTooLong { .. } => MALFORMED_PACKET_OR_PROTOCOL_ERROR,
        }
    }
}

const fn text(cause: InvalidText) -> &'static str {
    match cause {
        InvalidText::IllFormed => "MQTT-1.5.4-1",
        InvalidText::NullCharacter => "MQTT-1.5.4-2",
        InvalidText::TooLong => "MQTT-4.7.3-3",
    }
}

const fn topic_name(cause: InvalidTopicName, wildcard: &'static str) -> &'static str {
    match cause {
        InvalidTopicName::Empty => "MQTT-4.7.3-1",
        InvalidTopicName::Wildcard => wildcard,
        InvalidTopicName::Text(cause) => text(cause),
    }
}
