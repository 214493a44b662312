//! What is counted: traffic, every message that was dropped, by its cause, and what limits have
//! refused.

use super::limits::LimitCause;

/// Why a message, of any QoS, did not reach a session that it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum DropCause {
    /// QoS 0 for a session without a connection.
    Offline,
    /// QoS 0 for a connection that takes its bytes too slowly.
    OutputFull,
    /// The queue of the session is full, and its policy drops the message or an older one.
    QueueFull,
    /// The queue of a session is full, and the publisher was told so or waits.
    Refused,
    /// The Message Expiry Interval was over.
    Expired,
    /// Larger than the Maximum Packet Size of the receiver.
    PacketTooLarge,
    /// The session ended with messages waiting.
    SessionEnded,
    /// The Topic Name, the rights or a limit forbid it to its publisher, or the rights to its
    /// receiver.
    NotAllowed,
    /// The limit of retained messages is reached.
    RetainedFull,
    /// No member of the Shared Subscription was left to take it.
    NoMember,
    /// The receiver answered with a Reason Code that refuses it.
    RefusedByReceiver,
    /// A newer message of its Topic Name has come, and the queue keeps the last one alone.
    Replaced,
    /// Of QoS 0, and memory was scarce.
    MemoryFull,
    /// What the store had of it is damaged. A start counts at least one for each damaged place,
    /// as nobody can know how many messages it had.
    Damaged,
}

impl DropCause {
    /// All causes, in their order.
    pub const ALL: [Self; 14] = [
        Self::Offline,
        Self::OutputFull,
        Self::QueueFull,
        Self::Refused,
        Self::Expired,
        Self::PacketTooLarge,
        Self::SessionEnded,
        Self::NotAllowed,
        Self::RetainedFull,
        Self::NoMember,
        Self::RefusedByReceiver,
        Self::Replaced,
        Self::MemoryFull,
        Self::Damaged,
    ];

    /// The name in metrics and `$SYS`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::OutputFull => "output-full",
            Self::QueueFull => "queue-full",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::PacketTooLarge => "packet-too-large",
            Self::SessionEnded => "session-ended",
            Self::NotAllowed => "not-allowed",
            Self::RetainedFull => "retained-full",
            Self::NoMember => "no-member",
            Self::RefusedByReceiver => "refused-by-receiver",
            Self::Replaced => "replaced",
            Self::MemoryFull => "memory-full",
            Self::Damaged => "damaged",
        }
    }
}

/// The counters of one worker; sums over workers make those of the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes read from Network Connections.
    pub bytes_received: u64,
    /// Bytes written to Network Connections.
    pub bytes_sent: u64,
    /// Control Packets received.
    pub packets_received: u64,
    /// Application Messages received.
    pub publish_received: u64,
    /// Bytes of payload received.
    pub publish_bytes_received: u64,
    /// Application Messages sent, each receiver counted.
    pub publish_sent: u64,
    /// Bytes of payload sent.
    pub publish_bytes_sent: u64,
    /// Connections accepted, refused ones included.
    pub connections_opened: u64,
    /// Logins that were right.
    pub logins_allowed: u64,
    /// Logins that were refused, for whatever reason.
    pub logins_refused: u64,
    /// Of these: since too many from their address had failed.
    pub logins_banned: u64,
    /// Of these: since too many waited before them.
    pub logins_busy: u64,
    /// Of these: since nobody could decide about them in time.
    pub logins_unavailable: u64,
    /// Connections open now.
    pub connections: u64,
    /// Clients connected now.
    pub clients_connected: u64,
    /// Sessions, connected or not.
    pub sessions: u64,
    /// Sessions that ended by their Session Expiry Interval.
    pub sessions_expired: u64,
    /// Subscriptions, those of groups included.
    pub subscriptions: u64,
    /// Messages queued for sessions.
    pub queued: u64,
    /// Bytes queued for sessions.
    pub queued_bytes: u64,
    /// Bytes that say who has QoS 2 messages which were refused elsewhere and come again.
    pub given_bytes: u64,
    /// Such messages of which that was forgotten, as it took too much memory: who has them gets
    /// them twice.
    pub given_forgotten: u64,
    /// Messages not delivered, by [`DropCause`] in the order of [`DropCause::ALL`].
    pub dropped: [u64; DropCause::ALL.len()],
    /// What limits have refused or delayed, by [`LimitCause`] in the order of [`LimitCause::ALL`].
    pub limited: [u64; LimitCause::ALL.len()],
}

impl Counters {
    pub(super) fn drop_one(&mut self, cause: DropCause) {
        self.drop_many(cause, 1);
    }

    pub(super) fn drop_many(&mut self, cause: DropCause, count: u64) {
        self.dropped[cause as usize] += count;
    }

    pub(super) fn limit(&mut self, cause: LimitCause, count: u64) {
        self.limited[cause as usize] += count;
    }

    /// How often this limit has refused or delayed something.
    pub fn limited_by(&self, cause: LimitCause) -> u64 {
        self.limited[cause as usize]
    }

    /// How many messages were dropped for this cause.
    pub fn dropped_for(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }

    /// How many messages were dropped for any cause.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Adds the counters of another worker.
    pub fn add(&mut self, other: &Self) {
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.packets_received += other.packets_received;
        self.publish_received += other.publish_received;
        self.publish_bytes_received += other.publish_bytes_received;
        self.publish_sent += other.publish_sent;
        self.publish_bytes_sent += other.publish_bytes_sent;
        self.connections_opened += other.connections_opened;
        self.logins_allowed += other.logins_allowed;
        self.logins_refused += other.logins_refused;
        self.logins_banned += other.logins_banned;
        self.logins_busy += other.logins_busy;
        self.logins_unavailable += other.logins_unavailable;
        self.connections += other.connections;
        self.clients_connected += other.clients_connected;
        self.sessions += other.sessions;
        self.sessions_expired += other.sessions_expired;
        self.subscriptions += other.subscriptions;
        self.queued += other.queued;
        self.queued_bytes += other.queued_bytes;
        self.given_bytes += other.given_bytes;
        self.given_forgotten += other.given_forgotten;
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine += theirs;
        }
        for (mine, theirs) in self.limited.iter_mut().zip(other.limited) {
            *mine += theirs;
        }
    }
}
