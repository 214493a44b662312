//! Which limits had to hold somebody back, and how often: a counter for each, for `$SYS` and
//! metrics.

use super::{ConnectionKey, Core};
use dunlin_protocol::codec::DecodeError;
use dunlin_protocol::{ConnectionEnd, Violation};

/// Makes [`LimitCause`] from one list of `Variant = "name of the limit in the configuration";`.
macro_rules! limit_causes {
    ($($(#[doc = $doc:literal])+ $cause:ident = $name:literal;)+) => {
        /// A limit that refused something, ended a connection, or let somebody wait.
        ///
        /// What the limits of queues have cost is counted by [`DropCause`](super::DropCause).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum LimitCause {
            $($(#[doc = $doc])+ $cause,)+
        }

        impl LimitCause {
            /// All limits that are counted, in their order.
            pub const ALL: [Self; [$(Self::$cause),+].len()] = [$(Self::$cause),+];

            /// The name in metrics and `$SYS`: that of the limit in the configuration.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$cause => $name,)+
                }
            }
        }
    };
}

limit_causes! {
    /// Connections that ended with a packet larger than Maximum Packet Size.
    PacketSize = "packet_size_max";
    /// Connections that ended with a CONNECT, or what came in its place, that was too large.
    ConnectPacketSize = "connect_packet_size_max";
    /// Connections that ended with more messages at once than Receive Maximum.
    ReceiveMaximum = "receive_maximum";
    /// Connections that ended with a Topic Alias above Topic Alias Maximum.
    TopicAlias = "topic_alias_maximum";
    /// Connections that sent no CONNECT in time.
    ConnectTimeout = "connect_timeout_secs";
    /// Connections whose handshakes were not over in time.
    HandshakeTimeout = "handshake_timeout_secs";
    /// Times that further handshakes had to wait for others, and connections closed because too many did.
    HalfOpen = "half_open_max";
    /// Connections that waited for others of their address, or were closed because too many of it did.
    HalfOpenPerAddress = "half_open_per_address_max";
    /// Connections that were one too many.
    Connections = "connections_max";
    /// Connections from an address that were one too many.
    ConnectionsPerAddress = "connections_per_address_max";
    /// Clients that were refused, as their user had connections enough.
    ConnectionsPerUser = "connections_per_user_max";
    /// Times that accepting waited, as connections came too fast.
    ConnectRate = "connects_per_second_max";
    /// Clients without a session that were refused, as their worker was behind.
    Lag = "lag_max_millis";
    /// Times that a connection was not read for a while, as its messages came too fast.
    PublishRate = "publish_rate_max";
    /// Times that a connection was not read for a while, as the bytes of its messages came too fast.
    BytesRate = "bytes_rate_max";
    /// Clients that were refused, as they needed a session more.
    Sessions = "sessions_max";
    /// Times that a connection was not read, as it did not read what was sent to it.
    OutputBytes = "output_bytes_max";
    /// Subscriptions that were refused.
    Subscriptions = "subscriptions_per_session_max";
    /// Messages, Wills and subscriptions that were refused for the levels of their Topic Name or
    /// Topic Filter.
    TopicLevels = "topic_levels_max";
    /// Connections that ended with a Topic Name that was too long, and subscriptions that were
    /// refused for their Topic Filter.
    TopicLen = "topic_len_max";
    /// Connections that ended with a packet of too many User Properties.
    UserProperties = "user_properties_max";
    /// Connections that ended with a packet of too many bytes of User Properties.
    UserPropertyBytes = "user_property_bytes_max";
    /// Connections that ended in the middle of a packet that did not go on.
    PartialRate = "partial_rate_min";
    /// Messages that were not retained, as there were too many.
    RetainedLen = "retained_len_max";
    /// Messages that were not retained for their bytes.
    RetainedBytes = "retained_bytes_max";
    /// Times that a connection was not read for a while, as memory was scarce.
    MemorySlowed = "memory_max_slowed";
    /// Clients without a session that were refused, as memory was scarce.
    MemoryClosed = "memory_max_closed";
    /// Times that a message was refused or had to wait, as memory was scarce.
    MemoryRefused = "memory_max_refused";
    /// Connections that were ended for an unfinished packet, as memory was scarce.
    MemoryEnded = "memory_max_ended";
}

impl Core {
    /// Counts what a limit has refused or delayed; also for the shell, which has some of the limits
    /// to itself.
    pub fn count_limit(&mut self, cause: LimitCause, count: u64) {
        self.endpoints.counters.limit(cause, count);
    }

    /// Counts the limit that a connection has ended by, if it was one. Asked once for each, before
    /// the connection loses its session.
    pub(super) fn count_end(&mut self, key: ConnectionKey) {
        let Some(connection) = self.endpoints.connection(key) else { return };
        let is_accepted = connection.session.is_some();
        let awaits_connect = connection.protocol.awaits_connect();
        let cause = match connection.protocol.end() {
            Some(ConnectionEnd::ConnectTimeout) => Some(LimitCause::ConnectTimeout),
            Some(ConnectionEnd::PartialPacket) => Some(LimitCause::PartialRate),
            Some(ConnectionEnd::Violation(violation)) if is_accepted || awaits_connect => {
                of_violation(violation, awaits_connect)
            }
            _ => None,
        };
        if let Some(cause) = cause {
            self.count_limit(cause, 1);
        }
    }
}

/// The limit that a Client has met by what it sent, if it was one.
const fn of_violation(violation: &Violation, awaits_connect: bool) -> Option<LimitCause> {
    match violation {
        Violation::Decode(error) => match error {
            DecodeError::PacketTooLarge { .. } if awaits_connect => {
                Some(LimitCause::ConnectPacketSize)
            }
            DecodeError::PacketTooLarge { .. } => Some(LimitCause::PacketSize),
            DecodeError::TopicNameTooLong { .. } => Some(LimitCause::TopicLen),
            DecodeError::TooManyUserProperties { .. } => Some(LimitCause::UserProperties),
            DecodeError::UserPropertiesTooLong { .. } => Some(LimitCause::UserPropertyBytes),
            _ => None,
        },
        Violation::TopicAliasInvalid(_) => Some(LimitCause::TopicAlias),
        Violation::ReceiveMaximumExceeded => Some(LimitCause::ReceiveMaximum),
        _ => None,
    }
}
