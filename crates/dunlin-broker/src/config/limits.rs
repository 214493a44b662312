//! The limits of a broker: what one client, one session and all of them together may cost.
//!
//! One table gives each limit its name, type, range, default and explanation; the struct, the
//! keys of the configuration file and their documentation are made from it.

#[cfg(feature = "server")]
use super::setting::{Kind, Limit, Setting};

/// What becomes of a QoS 1 or 2 message for a session whose queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueuePolicy {
    /// The publisher is told: Reason Code 0x97 (Quota exceeded) in MQTT 5.0; in 3.x its message
    /// stays without an acknowledgement.
    #[default]
    Refuse,
    /// The oldest message in the queue makes room, and is counted.
    DropOldest,
    /// The new message is dropped for this session, and is counted.
    DropNewest,
    /// Of each Topic Name the newest message waits: it replaces an older one, which is counted. If
    /// the queue is full nonetheless, the oldest message makes room. Such a queue is all in memory.
    KeepLast,
}

impl QueuePolicy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Refuse, Self::DropOldest, Self::DropNewest, Self::KeepLast];

    #[cfg(feature = "server")]
    const NAMES: &'static [&'static str] = &[
        Self::Refuse.name(),
        Self::DropOldest.name(),
        Self::DropNewest.name(),
        Self::KeepLast.name(),
    ];

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
            Self::KeepLast => "keep-last",
        }
    }
}

/// Makes [`Limits`] and the table of its settings from one list of
/// `key: type [values that a configuration may give] = default;`.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $key:ident: $type:ty [$($kind:tt)+] = $default:expr;)+) => {
        /// How much of everything a broker grants; see each field.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        #[cfg(feature = "server")]
        impl Limits {
            pub(super) const SETTINGS: &'static [Setting] = &[$(Setting {
                key: concat!("limits.", stringify!($key)),
                doc: &[$($doc),+],
                kind: kind!($($kind)+),
                example: None,
                automatic: None,
                read: |config| Some(config.limits.$key.to_value(kind!($($kind)+))),
                write: |config, value| {
                    if let Some(value) = Limit::from_value(&value) {
                        config.limits.$key = value;
                    }
                },
            }),+];
        }
    };
}

#[cfg(feature = "server")]
macro_rules! kind {
    (switch) => {
        Kind::Switch
    };
    (policy) => {
        Kind::Choice(QueuePolicy::NAMES)
    };
    (bytes $min:expr, $max:expr) => {
        Kind::Bytes { min: $min, max: $max }
    };
    ($min:expr, $max:expr) => {
        Kind::Number { min: $min, max: $max }
    };
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

limits! {
    /// Bytes of the largest packet a client may send, fixed header included (Maximum Packet Size).
    packet_size_max: u32 [bytes 1024, 268_435_460] = 16 * MIB;
    /// Bytes of the largest CONNECT.
    connect_packet_size_max: u32 [bytes 128, 268_435_460] = 64 * KIB;
    /// QoS 1 and 2 messages that a client may have under way to the broker (Receive Maximum).
    receive_maximum: u16 [1, 65_535] = 1024;
    /// QoS 1 and 2 messages that the broker has under way to a client at most, if its Receive Maximum
    /// allows as many (an MQTT 3 client has none); further ones wait in the queue of its session.
    send_in_flight_max: u16 [1, 65_535] = 8192;
    /// Bytes a second by which a packet must go on whose beginning has come. One that does not is no
    /// sign of life: its connection ends with the Keep Alive, or after a minute; 0 asks for nothing.
    partial_rate_min: u32 [bytes 0, 1 << 20] = 128;
    /// Topic Aliases that a client may use (Topic Alias Maximum); 0 forbids them.
    topic_alias_maximum: u16 [0, 65_535] = 64;
    /// Topic Aliases that the broker uses towards a client, if the client takes that many.
    topic_alias_outbound_max: u16 [0, 65_535] = 32;
    /// The longest Keep Alive in seconds, told to MQTT 5.0 clients that ask for more or for none
    /// (Server Keep Alive); 0 leaves it to the client.
    keep_alive_max_secs: u16 [0, 65_535] = 0;
    /// Seconds that a new connection has to send its CONNECT.
    connect_timeout_secs: u32 [1, 3600] = 10;
    /// Seconds that the handshakes of a new connection may take together: that of TLS, and the
    /// request by which it becomes a WebSocket, or the stream that it opens over QUIC.
    handshake_timeout_secs: u32 [1, 3600] = 15;
    /// Connections whose handshakes are under way at the same time; further ones wait until there is
    /// room. Who has been silent for a second, or here for five, has to make it then. Those of quic://
    /// are counted for themselves, and 256 of them wait.
    half_open_max: usize [1, 1_000_000] = 1_000;
    /// The same for one address, of IPv6 for a network of 64 bits; further ones wait likewise. Addresses
    /// take turns, so that nobody waits behind a crowd from another one. Over quic:// further ones are
    /// closed at once.
    half_open_per_address_max: usize [1, 1_000_000] = 500;
    /// Connections at the same time; further ones are refused (Quota exceeded), or closed at once if
    /// there are many.
    connections_max: usize [1, 100_000_000] = 100_000;
    /// Connections from one address at the same time, of IPv6 from one /64; further ones are refused
    /// likewise. 0 is any number.
    connections_per_address_max: usize [0, 100_000_000] = 0;
    /// Connections of one user at the same time; further ones are refused. 0 is any number.
    connections_per_user_max: usize [0, 100_000_000] = 0;
    /// Connections that are accepted in a second; further ones wait with the system. 0 is any number.
    connects_per_second_max: u32 [0, 1_000_000] = 0;
    /// Milliseconds that a turn of a worker may take: it reads, handles and writes what is ready. While
    /// turns have been longer for a second, clients without a session are refused (Server busy). 0 is
    /// any time.
    lag_max_millis: u32 [0, 60_000] = 200;
    /// Messages that a client may publish in a second; the input of one that is faster waits. 0 is
    /// any number.
    publish_rate_max: u32 [0, 1_000_000_000] = 0;
    /// Bytes of topics and payloads that a client may publish in a second; the input of one that is
    /// faster waits. 0 is any number.
    bytes_rate_max: usize [bytes 0, 1 << 40] = 0;
    /// Messages that wait for one session, connected or not, before `queue_policy` decides.
    queue_len_max: usize [1, 1_000_000_000] = 100_000;
    /// Bytes of topic and payload that wait for one session before `queue_policy` decides.
    queue_bytes_max: usize [bytes 1, 1 << 40] = 64 * MIB as usize;
    /// What becomes of a QoS 1 or 2 message for a session whose queue is full: "refuse" tells the
    /// publisher, or lets it wait if it speaks MQTT 3 (while it waits for another worker, and when it
    /// leaves, its messages may take the queue up to twice its limits; of two that could wait for each
    /// other for ever one ends its connection after ten seconds, and comes again); "drop-oldest" makes
    /// room; "drop-newest" skips the session; "keep-last" keeps the newest message of each topic alone,
    /// and of those that came by a shared subscription, full or not, and then makes room as
    /// "drop-oldest" does.
    queue_policy: QueuePolicy [policy] = QueuePolicy::Refuse;
    /// Whether QoS 0 messages are queued for a session whose client is away.
    queue_qos0_offline: bool [switch] = false;
    /// Bytes that wait in one connection's output before its QoS 0 messages are dropped and
    /// nothing more is read from it.
    output_bytes_max: usize [bytes 4096, 1 << 40] = MIB as usize;
    /// Subscriptions of one session.
    subscriptions_per_session_max: usize [1, 100_000_000] = 10_000;
    /// Levels of a Topic Name or Topic Filter: `a/b/c` has three.
    topic_levels_max: usize [1, 65_536] = 128;
    /// Bytes of a Topic Name or Topic Filter.
    topic_len_max: u16 [1, 65_535] = 1024;
    /// User Properties of one packet; a Will has as many of its own.
    user_properties_max: u32 [0, 268_435_460] = 256;
    /// Bytes of the names and values of one packet's User Properties, or a Will's.
    user_property_bytes_max: u32 [bytes 0, 268_435_460] = 16 * KIB;
    /// Retained messages of all clients; those of the broker itself, under `$SYS`, are not counted.
    retained_len_max: usize [0, 1_000_000_000] = 1_000_000;
    /// Bytes of topic and payload of all retained messages, those under `$SYS` not counted, and of
    /// those who published them where there are rules, each once. With `memory.max` no more than half of that, whatever is set here.
    retained_bytes_max: usize [bytes 0, 1 << 40] = 256 * MIB as usize;
    /// Sessions, connected or not; a client that needs a new one is refused then.
    sessions_max: usize [1, 1_000_000_000] = 200_000;
    /// The longest time in seconds that a session outlives its connection (Session Expiry
    /// Interval); 4294967295 is for ever.
    session_expiry_max_secs: u32 [0, 4_294_967_295] = u32::MAX;
    /// Seconds between two updates of the `$SYS` topics; 0 turns them off.
    sys_interval_secs: u32 [0, 86_400] = 10;
}
