//! Reason Codes of MQTT 5.0.

use crate::PacketType;
use core::fmt;

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// The outcome of an operation, one byte. Below 0x80 it succeeded. Spec: §2.4.
        ///
        /// 0x00 has three names in the standard (Success, Normal disconnection, Granted QoS 0);
        /// here it is [`ReasonCode::Success`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $($(#[$doc])* $name = $value,)*
        }

        impl ReasonCode {
            /// The Reason Code with this value; `None` for a value that the standard doesn't define.
            pub const fn new(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name that the standard gives it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reason_codes! {
    /// Done; for DISCONNECT a normal end without Will, for SUBACK a granted QoS 0.
    Success = 0x00, "Success";
    /// SUBACK: QoS 1 at most.
    GrantedQoS1 = 0x01, "Granted QoS 1";
    /// SUBACK: QoS 2 at most.
    GrantedQoS2 = 0x02, "Granted QoS 2";
    /// DISCONNECT from a Client that wants its Will published.
    DisconnectWithWillMessage = 0x04, "Disconnect with Will Message";
    /// The message was taken, and nobody has subscribed to it.
    NoMatchingSubscribers = 0x10, "No matching subscribers";
    /// UNSUBACK: there was no such subscription.
    NoSubscriptionExisted = 0x11, "No subscription existed";
    /// AUTH: another step is needed.
    ContinueAuthentication = 0x18, "Continue authentication";
    /// AUTH: authenticate again.
    ReAuthenticate = 0x19, "Re-authenticate";
    /// No reason is given.
    UnspecifiedError = 0x80, "Unspecified error";
    /// The bytes are not a legal packet.
    MalformedPacket = 0x81, "Malformed Packet";
    /// The packet is legal, and not allowed here.
    ProtocolError = 0x82, "Protocol Error";
    /// Legal, but this implementation does not take it.
    ImplementationSpecificError = 0x83, "Implementation specific error";
    /// CONNACK: the protocol version is not supported.
    UnsupportedProtocolVersion = 0x84, "Unsupported Protocol Version";
    /// CONNACK: the Client Identifier is not allowed.
    ClientIdentifierNotValid = 0x85, "Client Identifier not valid";
    /// CONNACK: wrong User Name or Password.
    BadUserNameOrPassword = 0x86, "Bad User Name or Password";
    /// The peer may not do this.
    NotAuthorized = 0x87, "Not authorized";
    /// CONNACK: the Server is not available.
    ServerUnavailable = 0x88, "Server unavailable";
    /// The Server is busy; try later.
    ServerBusy = 0x89, "Server busy";
    /// CONNACK: this Client is banned.
    Banned = 0x8A, "Banned";
    /// DISCONNECT: the Server is shutting down.
    ServerShuttingDown = 0x8B, "Server shutting down";
    /// The authentication method is not supported or not the current one.
    BadAuthenticationMethod = 0x8C, "Bad authentication method";
    /// DISCONNECT: nothing was received for one and a half times the Keep Alive.
    KeepAliveTimeout = 0x8D, "Keep Alive timeout";
    /// DISCONNECT: another connection uses the same Client Identifier.
    SessionTakenOver = 0x8E, "Session taken over";
    /// The Topic Filter is correct, and not accepted.
    TopicFilterInvalid = 0x8F, "Topic Filter invalid";
    /// The Topic Name is correct, and not accepted.
    TopicNameInvalid = 0x90, "Topic Name invalid";
    /// The Packet Identifier is in use.
    PacketIdentifierInUse = 0x91, "Packet Identifier in use";
    /// The Packet Identifier is not known.
    PacketIdentifierNotFound = 0x92, "Packet Identifier not found";
    /// DISCONNECT: more messages under way than Receive Maximum allows.
    ReceiveMaximumExceeded = 0x93, "Receive Maximum exceeded";
    /// DISCONNECT: the Topic Alias is zero or above the maximum.
    TopicAliasInvalid = 0x94, "Topic Alias invalid";
    /// The packet is larger than this peer accepts.
    PacketTooLarge = 0x95, "Packet too large";
    /// DISCONNECT: too much data in too little time.
    MessageRateTooHigh = 0x96, "Message rate too high";
    /// A limit that was set for this peer or message is reached.
    QuotaExceeded = 0x97, "Quota exceeded";
    /// DISCONNECT: an administrator ended the connection.
    AdministrativeAction = 0x98, "Administrative action";
    /// The payload is not what its Payload Format Indicator says.
    PayloadFormatInvalid = 0x99, "Payload format invalid";
    /// Retained messages are not supported.
    RetainNotSupported = 0x9A, "Retain not supported";
    /// The QoS is not supported.
    QoSNotSupported = 0x9B, "QoS not supported";
    /// Use another server for now.
    UseAnotherServer = 0x9C, "Use another server";
    /// Use another server from now on.
    ServerMoved = 0x9D, "Server moved";
    /// Shared Subscriptions are not supported.
    SharedSubscriptionsNotSupported = 0x9E, "Shared Subscriptions not supported";
    /// Too many connections in too little time.
    ConnectionRateExceeded = 0x9F, "Connection rate exceeded";
    /// DISCONNECT: the connection was allowed for a time that is over.
    MaximumConnectTime = 0xA0, "Maximum connect time";
    /// Subscription Identifiers are not supported.
    SubscriptionIdentifiersNotSupported = 0xA1, "Subscription Identifiers not supported";
    /// Wildcard subscriptions are not supported.
    WildcardSubscriptionsNotSupported = 0xA2, "Wildcard Subscriptions not supported";
}

impl ReasonCode {
    /// The byte on the wire.
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// Whether the code tells of a failure (0x80 and above).
    pub const fn is_error(self) -> bool {
        self.value() >= 0x80
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.value())
    }
}

impl ReasonCode {
    /// Whether a packet of this type may carry the code in MQTT 5.0. Spec: the table of each
    /// packet, such as §3.4.2.1; §2.4.
    pub const fn is_allowed_in(self, packet_type: PacketType) -> bool {
        use ReasonCode as R;
        match packet_type {
            PacketType::ConnAck => matches!(
                self.value(),
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
            ),
            PacketType::PubAck | PacketType::PubRec => {
                matches!(self.value(), 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            PacketType::PubRel | PacketType::PubComp => {
                matches!(self, R::Success | R::PacketIdentifierNotFound)
            }
            PacketType::SubAck => matches!(
                self.value(),
                0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
            ),
            PacketType::UnsubAck => {
                matches!(self.value(), 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
            }
            // 0x8C stands in the table of §2.4 only.
            PacketType::Disconnect => matches!(
                self.value(),
                0x00 | 0x04 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B..=0x90 | 0x93..=0xA2
            ),
            PacketType::Auth => {
                matches!(self, R::Success | R::ContinueAuthentication | R::ReAuthenticate)
            }
            _ => false,
        }
    }

    /// The return code of a CONNACK of MQTT 3.x that comes nearest. Spec: §3.2.2.3 of 3.1.1.
    ///
    /// | return code | for |
    /// |---|---|
    /// | 0 accepted | every code below 0x80 |
    /// | 1 unacceptable protocol version | Unsupported Protocol Version |
    /// | 2 identifier rejected | Client Identifier not valid |
    /// | 3 server unavailable | what may pass: Unspecified error, Server unavailable, Server busy, Server shutting down, Quota exceeded, Connection rate exceeded, Use another server, Server moved |
    /// | 4 bad user name or password | Bad User Name or Password, Bad authentication method |
    /// | 5 not authorized | everything else: what this Client asks for will not be granted |
    pub const fn connect_return_code(self) -> u8 {
        match self {
            _ if !self.is_error() => 0,
            Self::UnsupportedProtocolVersion => 1,
            Self::ClientIdentifierNotValid => 2,
            Self::UnspecifiedError
            | Self::ServerUnavailable
            | Self::ServerBusy
            | Self::ServerShuttingDown
            | Self::QuotaExceeded
            | Self::ConnectionRateExceeded
            | Self::UseAnotherServer
            | Self::ServerMoved => 3,
            Self::BadUserNameOrPassword | Self::BadAuthenticationMethod => 4,
            _ => 5,
        }
    }

    /// The Reason Code with the meaning of a return code of a 3.x CONNACK; `None` above 5.
    pub const fn from_connect_return_code(return_code: u8) -> Option<Self> {
        Some(match return_code {
            0 => Self::Success,
            1 => Self::UnsupportedProtocolVersion,
            2 => Self::ClientIdentifierNotValid,
            3 => Self::ServerUnavailable,
            4 => Self::BadUserNameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }

    /// The return code of a SUBACK of MQTT 3.x: the granted QoS, or 0x80 for every failure.
    /// Spec: [MQTT3-3.9.3-2].
    pub const fn subscribe_return_code(self) -> u8 {
        match self {
            Self::GrantedQoS1 => 1,
            Self::GrantedQoS2 => 2,
            _ if self.is_error() => 0x80,
            _ => 0,
        }
    }

    /// The Reason Code with the meaning of a return code of a 3.x SUBACK; `None` for others than
    /// 0, 1, 2 and 0x80.
    pub const fn from_subscribe_return_code(return_code: u8) -> Option<Self> {
        match return_code {
            0..=2 | 0x80 => Self::new(return_code),
            _ => None,
        }
    }
}
