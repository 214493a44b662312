//! Reason Codes of MQTT 5.0.

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
