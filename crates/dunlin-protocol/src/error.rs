//! Whose fault it is: the peer's ([`Violation`]), the caller's ([`PublishError`], …), or nobody's;
//! and how a connection ended.

use alloc::boxed::Box;
use dunlin_codec::{DecodeError, Disconnect, EncodeError, PacketTooLarge, PacketType, ReasonCode};

/// What a peer did that the standard forbids. It costs the peer its connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The bytes are not a legal packet.
    #[error("the bytes are not a legal packet")]
    Decode(#[from] DecodeError),
    /// The first packet from a Client is CONNECT.
    #[error("{0:?} as the first packet of the connection")]
    FirstPacket(PacketType),
    /// A Server answers CONNECT with CONNACK, or with AUTH, before anything else.
    #[error("{0:?} before CONNACK")]
    BeforeConnAck(PacketType),
    /// A Client sends CONNECT once.
    #[error("a second CONNECT")]
    SecondConnect,
    /// The packet is not allowed from this side, in this version, or at this moment.
    #[error("{0:?} is not allowed here")]
    UnexpectedPacket(PacketType),
    /// More QoS 1 and 2 messages at once than Receive Maximum allows.
    #[error("more unacknowledged messages than Receive Maximum allows")]
    ReceiveMaximumExceeded,
    /// The Topic Alias is above Topic Alias Maximum.
    #[error("Topic Alias {0} is above Topic Alias Maximum")]
    TopicAliasInvalid(u16),
    /// The Topic Alias stands for no Topic Name yet.
    #[error("Topic Alias {0} stands for no Topic Name")]
    TopicAliasUnknown(u16),
    /// A Client sends no Subscription Identifier in PUBLISH.
    #[error("a Subscription Identifier in a PUBLISH from a Client")]
    SubscriptionIdentifierFromClient,
    /// The answer is of another kind than the exchange that it names.
    #[error("{0:?} for an exchange of another kind")]
    WrongAcknowledgement(PacketType),
    /// A SUBACK or UNSUBACK has one Reason Code for each Topic Filter.
    #[error("an answer with another number of Reason Codes than Topic Filters were sent")]
    ReasonCodeCount,
    /// The method of enhanced authentication changed, or was not there.
    #[error("an AUTH with another method than CONNECT's")]
    AuthenticationMethod,
    /// DISCONNECT may not set a Session Expiry Interval when CONNECT's was zero.
    #[error("a Session Expiry Interval in DISCONNECT where CONNECT had none")]
    SessionExpiryInterval,
    /// A Server doesn't send a Session Expiry Interval in DISCONNECT.
    #[error("a Session Expiry Interval in a DISCONNECT from the Server")]
    SessionExpiryIntervalFromServer,
    /// Session Present is 1 though the Client has no Session.
    #[error("Session Present for a Session that the Client doesn't have")]
    SessionPresent,
    /// A Client without Client Identifier asks for a Clean Session in MQTT 3.1.1, and has one in
    /// MQTT 3.1.
    #[error("a CONNECT without Client Identifier for a Session that is kept")]
    ClientIdentifierMissing,
    /// The message has a higher QoS than the Maximum QoS that the Server gave.
    #[error("a message above the Maximum QoS")]
    QoSNotSupported,
    /// The message is to be retained though the Server said that it retains none.
    #[error("a message to retain for a Server that retains none")]
    RetainNotSupported,
}

impl Violation {
    /// The Reason Code to end the connection with.
    pub const fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::ReceiveMaximumExceeded => ReasonCode::ReceiveMaximumExceeded,
            Self::TopicAliasInvalid(_) => ReasonCode::TopicAliasInvalid,
            Self::ClientIdentifierMissing => ReasonCode::ClientIdentifierNotValid,
            Self::AuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Self::QoSNotSupported => ReasonCode::QoSNotSupported,
            Self::RetainNotSupported => ReasonCode::RetainNotSupported,
            _ => ReasonCode::ProtocolError,
        }
    }

    /// The statement of the standard that the peer broke, e.g. `MQTT-3.1.0-1`.
    ///
    /// Where Client and Server have a statement each, it is the Client's; what has no statement
    /// falls under the one that tells to close the Network Connection.
    pub const fn statement(&self) -> &'static str {
        match self {
            Self::Decode(error) => error.statement(),
            Self::FirstPacket(_) => "MQTT-3.1.0-1",
            Self::BeforeConnAck(_) => "MQTT-3.2.0-1",
            Self::SecondConnect => "MQTT-3.1.0-2",
            Self::ReceiveMaximumExceeded => "MQTT-4.9.0-2",
            Self::TopicAliasInvalid(_) => "MQTT-3.3.2-9",
            Self::SubscriptionIdentifierFromClient => "MQTT-3.3.4-6",
            Self::WrongAcknowledgement(PacketType::SubAck | PacketType::UnsubAck) => "MQTT-2.2.1-6",
            Self::WrongAcknowledgement(_) => "MQTT-3.3.4-1",
            Self::ReasonCodeCount => "MQTT-3.8.4-6",
            Self::AuthenticationMethod => "MQTT-4.12.0-5",
            Self::SessionExpiryIntervalFromServer => "MQTT-3.14.2-2",
            Self::SessionPresent => "MQTT-3.2.2-2",
            Self::ClientIdentifierMissing => "MQTT3-3.1.3-7",
            Self::QoSNotSupported => "MQTT-3.2.2-11",
            Self::RetainNotSupported => "MQTT-3.2.2-14",
            Self::UnexpectedPacket(_)
            | Self::TopicAliasUnknown(_)
            | Self::SessionExpiryInterval => "MQTT-4.13.1-1",
        }
    }
}

/// Why and by whom a connection was ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionEnd {
    /// This end disconnected, with this Reason Code.
    #[error("disconnected by this end: {0}")]
    Local(ReasonCode),
    /// The peer sent DISCONNECT.
    #[error("disconnected by the peer: {}", .0.reason_code)]
    Peer(Box<Disconnect>),
    /// The Server refused the CONNECT, with this Reason Code.
    #[error("refused: {0}")]
    Refused(ReasonCode),
    /// The peer broke the standard.
    #[error("the peer broke the protocol")]
    Violation(#[from] Violation),
    /// The Network Connection was closed without DISCONNECT.
    #[error("the network connection was closed")]
    Network,
    /// Nothing was received for too long, with the connection up.
    #[error("nothing was received within the Keep Alive")]
    KeepAliveTimeout,
    /// The peer began a packet and did not go on with it, or too slowly.
    #[error("a packet was begun and did not go on")]
    PartialPacket,
    /// The CONNECT, or its answer, did not come in time.
    #[error("the connection was not established in time")]
    ConnectTimeout,
}

/// Why a message was not taken for sending. The message stays the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The connection is not established, or over.
    #[error("not connected")]
    NotConnected,
    /// As many messages as the peer's Receive Maximum await their acknowledgement, or the resend
    /// of a resumed Session is not finished. Try again after the next acknowledgement.
    #[error("the peer's Receive Maximum is reached")]
    QuotaExhausted,
    /// The packet would be larger than the peer's Maximum Packet Size [MQTT-3.1.2-24].
    #[error("larger than the peer accepts")]
    PacketTooLarge(#[from] PacketTooLarge),
    /// A field of the message is longer than a packet can say.
    #[error("the message can't be written as a packet")]
    NotEncodable(#[source] EncodeError),
    /// The Message Expiry Interval is over.
    #[error("the message has expired")]
    Expired,
    /// The Server doesn't take this QoS [MQTT-3.2.2-11].
    #[error("the Server takes no message of this QoS")]
    QoSNotSupported,
    /// The Server doesn't keep retained messages [MQTT-3.2.2-14].
    #[error("the Server takes no retained message")]
    RetainNotSupported,
}

/// Why a token can't be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The connection that the token belongs to is over.
    #[error("not connected")]
    NotConnected,
    /// The token was used before.
    #[error("nothing awaits this acknowledgement")]
    Unknown,
}

/// Why a command can't be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The connection is not in the state that this command is for.
    #[error("not possible in this state of the connection")]
    State,
    /// The version of this connection has no such packet.
    #[error("not possible in this protocol version")]
    Version,
    /// The Server has said that it doesn't support this.
    #[error("the Server doesn't support this")]
    NotSupported,
    /// All Packet Identifiers are in use.
    #[error("all Packet Identifiers are in use")]
    PacketIdentifiersExhausted,
    /// The packet would be larger than the peer's Maximum Packet Size.
    #[error("larger than the peer accepts")]
    PacketTooLarge(#[from] PacketTooLarge),
    /// A field of the packet is longer than it can say.
    #[error("can't be written as a packet")]
    NotEncodable(#[source] EncodeError),
}

impl From<EncodeError> for PublishError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::PacketTooLarge(error) => Self::PacketTooLarge(error),
            error => Self::NotEncodable(error),
        }
    }
}

impl From<EncodeError> for CommandError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::PacketTooLarge(error) => Self::PacketTooLarge(error),
            error => Self::NotEncodable(error),
        }
    }
}
