//! What can go wrong, apart by who asked for what: connecting, publishing, subscribing, leaving;
//! and why a connection is over.

use crate::{Foreign, StoreError};
use dunlin_protocol::codec::{
    EncodeError, InvalidText, InvalidTopicFilter, InvalidTopicName, ProtocolVersion, ReasonCode,
    Text,
};
use dunlin_protocol::{CommandError, ConnectionEnd};
#[cfg(feature = "tls")]
use dunlin_transport::tls::TlsFault;
#[cfg(feature = "websocket")]
use dunlin_transport::websocket::upgrade::UpgradeError;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a builder's settings cannot become a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The URL, of which credentials and what follows a `?` are left out here, has no `scheme://`.
    #[error("the URL {0:?} has no scheme; write mqtt://host:port")]
    SchemeMissing(String),
    /// The scheme names a transport that this build does not speak.
    #[error("the scheme {0:?} is not supported; supported are {supported}", supported = crate::address::supported())]
    SchemeUnsupported(String),
    /// No host between scheme and port.
    #[error("the URL names no host")]
    HostMissing,
    /// The port is no number from 1 to 65,535.
    #[error("{0:?} is no port number")]
    Port(String),
    /// Something follows the port that this transport has no use for.
    #[error("the URL goes on after host and port with {0:?}")]
    Trailing(String),
    /// A `%` escape in User Name or Password is not followed by two hexadecimal digits.
    #[error("a percent escape in the URL is not complete")]
    PercentEscape,
    /// A text setting is not a legal UTF-8 Encoded String.
    #[error("a setting is not a legal string")]
    Text(#[from] InvalidText),
    /// The Will's Topic Name is not legal.
    #[error("the Topic Name of the Will is not legal")]
    TopicName(#[from] InvalidTopicName),
    /// Before MQTT 5.0 a Session can only be kept under a Client Identifier.
    #[error("a Session that is kept needs a client_identifier in this protocol version")]
    ClientIdentifierMissing,
    /// MQTT 3.x sends a Password only beside a User Name [MQTT3-3.1.2-22].
    #[error("MQTT 3.x has no Password without a User Name")]
    PasswordWithoutUserName,
    /// Enhanced authentication came with MQTT 5.0; with `negotiate_version` it might be left out.
    #[error("enhanced authentication needs MQTT 5.0")]
    AuthenticatorNeedsV5,
    /// A Session in a store is found again by the Client Identifier alone.
    #[error("a session_store needs a client_identifier")]
    StoreNeedsClientIdentifier,
    /// What a store keeps is of use only for a Session that the Server keeps as well: without
    /// Clean Start (`clean_start(false)`), and in MQTT 5.0 with a Session Expiry Interval.
    #[error("a session_store needs a Session that outlives its connection")]
    StoreNeedsSession,
    /// A setting of TLS is of no use.
    #[cfg(feature = "tls")]
    #[error("TLS: {0}")]
    Tls(#[from] crate::TlsConfigError),
    /// No URL of a proxy; credentials and what follows a `?` are left out.
    #[cfg(feature = "proxy")]
    #[error("{0:?} is no proxy; write http://host:port or socks5://host:port")]
    Proxy(String),
    /// A proxy carries TCP, and QUIC lies on datagrams.
    #[cfg(feature = "proxy")]
    #[error("no proxy carries quic://; leave the proxy out, or use mqtts://")]
    ProxyForQuic,
    /// The settings of TLS are of no use for QUIC.
    #[error("QUIC: {0}")]
    Quic(String),
    /// The setting must be above zero.
    #[error("{0} must be above zero")]
    Zero(&'static str),
}

/// Why an attempt to connect failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The builder's settings contradict each other.
    #[error("the settings are not usable")]
    Config(#[from] ConfigError),
    /// The host's name has no address.
    #[error("the name {host:?} was not resolved")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// The transport could not be established; for TCP usually that nobody listens there.
    #[error("no connection to {peer}")]
    Transport {
        /// Host and port.
        peer: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The proxy gives no way to the server.
    #[cfg(feature = "proxy")]
    #[error("no way through the proxy {proxy}")]
    Proxy {
        /// Host and port of the proxy.
        proxy: String,
        /// What it says, what is wrong with that, or why it can't be reached.
        source: Arc<io::Error>,
    },
    /// There is no TLS with this server: it, or its certificate, is not what was asked for, or it
    /// turned us away. [`ConnectError::tls_fault`] tells these apart.
    #[error("no TLS with {peer}")]
    Tls {
        /// Host and port.
        peer: String,
        /// What is wrong.
        source: Arc<io::Error>,
    },
    /// The server does not go on with WebSocket, or not for MQTT, or not at this path:
    /// [`ConnectError::upgrade_error`] tells these apart.
    #[error("no WebSocket with {peer}")]
    WebSocket {
        /// Host and port.
        peer: String,
        /// What is wrong.
        source: Arc<io::Error>,
    },
    /// The CONNECT is longer than a packet, or one of its fields, can be.
    #[error("the CONNECT cannot be written")]
    NotEncodable(#[source] EncodeError),
    /// The transport or the CONNACK did not come within this time.
    #[error("not connected within {0:?}")]
    Timeout(Duration),
    /// The Server does not speak this version.
    #[error(
        "the Server does not support MQTT {0}; set .protocol_version(ProtocolVersion::V3_1_1) \
         or .negotiate_version(true)"
    )]
    UnsupportedVersion(ProtocolVersion),
    /// The Server answered with a Reason Code.
    #[error("the Server refused the connection: {reason_code}")]
    Refused {
        /// The Server's reason.
        reason_code: ReasonCode,
        /// Its words for it.
        reason_string: Option<Text>,
        /// Another server to use.
        server_reference: Option<Text>,
    },
    /// The [`crate::Authenticator`] gave up.
    #[error("authentication failed: {0}")]
    Authentication(Text),
    /// What answers does not speak MQTT.
    #[error("what answers there speaks {0}, not MQTT")]
    NotMqtt(Foreign),
    /// The connection ended before the Server had accepted it.
    #[error("the connection ended before it was accepted")]
    Ended(#[source] ConnectionEnd),
    /// The Session was not loaded from its store, or not kept.
    #[error(transparent)]
    Store(StoreError),
    /// [`crate::Client::disconnect`] came first, or the last handle was dropped.
    #[error("disconnected by this end before the connection was accepted")]
    Abandoned,
}

impl ConnectError {
    /// What is wrong with the server's TLS or certificate, or with ours; nothing if it is not that, or
    /// if the server has just closed the connection in the handshake.
    #[cfg(feature = "tls")]
    pub fn tls_fault(&self) -> Option<&TlsFault> {
        match self {
            Self::Tls { source, .. } => TlsFault::of(source),
            _ => None,
        }
    }

    /// What is wrong with the answer to the request for a WebSocket; nothing if it is not that, or if
    /// the server has just closed the connection.
    #[cfg(feature = "websocket")]
    pub fn upgrade_error(&self) -> Option<&UpgradeError> {
        match self {
            Self::WebSocket { source, .. } => source.get_ref()?.downcast_ref(),
            _ => None,
        }
    }
}

/// Why a connection is over.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectCause {
    /// This end left: `disconnect`, or the last [`crate::Client`] was dropped.
    #[error("disconnected by this end")]
    Local,
    /// The protocol ended it: a DISCONNECT from the Server, Keep Alive, a violation.
    #[error(transparent)]
    Ended(ConnectionEnd),
    /// The transport failed.
    #[error("the transport failed")]
    Transport(#[source] Arc<io::Error>),
    /// The connection could not be established.
    #[error(transparent)]
    Connect(ConnectError),
    /// The Session Store failed: what may not be stored is not acted upon.
    #[error(transparent)]
    Store(StoreError),
    /// The driver was dropped, or its runtime shut down.
    #[error("the driver is gone")]
    DriverGone,
}

impl DisconnectCause {
    /// As [`ConnectError::tls_fault`]; also where it comes after the handshake.
    #[cfg(feature = "tls")]
    pub fn tls_fault(&self) -> Option<&TlsFault> {
        match self {
            Self::Transport(source) => TlsFault::of(source),
            Self::Connect(error) => error.tls_fault(),
            _ => None,
        }
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The Topic Name, or the Response Topic, is not legal.
    #[error("the Topic Name is not legal")]
    TopicName(#[from] InvalidTopicName),
    /// A text property is not a legal UTF-8 Encoded String.
    #[error("a property is not a legal string")]
    Property(#[from] InvalidText),
    /// The queue of messages that wait to be sent has no room, and waiting was not wanted.
    #[error("the queue of messages that wait to be sent is full")]
    QueueFull,
    /// Another message has the place of this one in the full queue: [`crate::WhenFull::DropOldest`],
    /// [`crate::WhenFull::DropNewest`].
    #[error("dropped because the queue of messages that wait to be sent is full")]
    Dropped,
    /// The time that was given is over. The message may still be delivered.
    #[error("not acknowledged in the time that was given")]
    Timeout,
    /// The connection was lost before a QoS 0 message was written.
    #[error("the connection was lost before the message was written")]
    ConnectionLost,
    /// The client has disconnected for good. A message that a Session Store had accepted is sent
    /// by the program that goes on with the store.
    #[error("the client has disconnected")]
    Disconnected,
    /// The Message Expiry Interval ran out while the message waited.
    #[error("the message expired before it was sent")]
    Expired,
    /// The packet would be larger than the Server accepts.
    #[error("larger than the Server accepts")]
    PacketTooLarge,
    /// A property is longer than its field can say: Correlation Data beyond 65,535 bytes.
    #[error("a property is longer than its field can say")]
    PropertyTooLong,
    /// The Server does not take this QoS.
    #[error("the Server takes no message of this QoS")]
    QoSNotSupported,
    /// The Server does not keep retained messages.
    #[error("the Server takes no retained message")]
    RetainNotSupported,
    /// The Server refused the message.
    #[error("the Server refused the message: {reason_code}")]
    Refused {
        /// The Reason Code of the PUBACK, PUBREC or PUBCOMP.
        reason_code: ReasonCode,
        /// The Server's words for it.
        reason_string: Option<Text>,
    },
}

/// Why a subscription was not made or not ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The Topic Filter is not legal.
    #[error("the Topic Filter is not legal")]
    TopicFilter(#[from] InvalidTopicFilter),
    /// A text property is not a legal UTF-8 Encoded String.
    #[error("a property is not a legal string")]
    Property(#[from] InvalidText),
    /// The Server refused every Topic Filter, for these reasons.
    #[error("the Server refused: {}", .reason_codes.first().map_or("no reason", |code| code.name()))]
    Refused {
        /// One for each Topic Filter.
        reason_codes: Vec<ReasonCode>,
    },
    /// The Server has said that it does not support this kind of subscription, or the packet is
    /// larger than it accepts.
    #[error("the subscription cannot be sent to this Server")]
    NotPossible(#[source] CommandError),
    /// The client has disconnected for good.
    #[error("the client has disconnected")]
    Disconnected,
}

/// Why leaving was not as graceful as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// The time that was given ran out first.
    #[error("disconnected with {0} messages not acknowledged")]
    Unfinished(usize),
    /// The DISCONNECT was not possible as asked for: a Session Expiry Interval where the CONNECT
    /// had none [MQTT-3.1.2-23]. The connection was closed without DISCONNECT.
    #[error("this DISCONNECT is not allowed on this connection")]
    NotAllowed,
    /// The client had already disconnected, for another reason.
    #[error("the client had disconnected already")]
    Disconnected,
}

/// Why a message cannot be acknowledged any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// The connection that the message came on is over; the Server sends it again if it keeps the
    /// Session.
    #[error("the connection that the message came on is over")]
    ConnectionOver,
}

macro_rules! from_infallible {
    ($($error:ty),*) => {
        $(impl From<Infallible> for $error {
            fn from(never: Infallible) -> Self {
                match never {}
            }
        })*
    };
}
from_infallible!(ConfigError, PublishError, SubscribeError);
