//! What a device, the network or the machine is made to do at a moment.

use core::fmt;
use dunlin_codec::{QoS, ReasonCode, RetainHandling};
use dunlin_protocol::Instant;

/// An action, when it comes and who is concerned.
#[derive(Clone, Debug)]
pub struct Planned {
    /// When.
    pub at: Instant,
    /// Names the action within the plan; also when others were left out.
    pub number: u64,
    /// Who acts, or whom it happens to.
    pub device: u32,
    /// What happens.
    pub action: Action,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Action {
    /// Opens a Network Connection and sends CONNECT; one that is there is left without a word.
    Connect(ConnectPlan),
    /// Publishes.
    Publish(PublishPlan),
    /// Publishes the same again and again, under different numbers.
    Burst(PublishPlan, u64),
    /// Subscribes.
    Subscribe(SubscribePlan),
    /// Unsubscribes.
    Unsubscribe(Vec<String>),
    /// Says goodbye.
    Disconnect {
        /// Why.
        reason_code: ReasonCode,
        /// A Session Expiry Interval that differs from CONNECT's.
        session_expiry_interval: Option<u32>,
    },
    /// The connection breaks; both ends are told so soon.
    Cut,
    /// The connection breaks once so many more bytes have gone through.
    CutAfter {
        /// Towards the broker or away from it.
        up: bool,
        /// So many bytes.
        bytes: u64,
    },
    /// The Client is gone, and the broker isn't told.
    HalfOpen,
    /// Nothing goes through any more, and nobody is told.
    SilentDrop,
    /// Nothing goes through for a while; then all does. This device and some that follow.
    Partition {
        /// How many devices.
        devices: u32,
        /// How long.
        micros: u64,
    },
    /// The connection becomes slow for a while.
    Throttle {
        /// So slow.
        bytes_per_second: u64,
        /// How long.
        micros: u64,
    },
    /// The Client doesn't read for a while.
    StopReading {
        /// How long.
        micros: u64,
    },
    /// The device loses its Session, and connects anew.
    Reset,
    /// Bytes that no Client may send.
    Raw(Vec<u8>),
    /// The store takes its time.
    StallStore {
        /// How long.
        micros: u64,
    },
    /// The store fails until the next restart.
    FailStore,
    /// The broker's process ends, and comes back.
    Crash {
        /// How long it is away.
        micros: u64,
    },
    /// The broker stops as it should, and comes back.
    Stop {
        /// How long it is away.
        micros: u64,
    },
    /// Proves anew who it is.
    Reauthenticate,
    /// The file of rules has this text from now on. A broker that is away reads it at its start.
    Rules(String),
}

/// How a device connects.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the fields of CONNECT
pub struct ConnectPlan {
    pub clean_start: bool,
    pub session_expiry_interval: Option<u32>,
    pub keep_alive: u16,
    pub receive_maximum: Option<u16>,
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: Option<u16>,
    pub topic_alias_outbound_max: u16,
    pub request_problem_information: Option<bool>,
    pub in_flight_max: u16,
    pub will: Option<WillPlan>,
}

/// The Will of a connection.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the fields of the Will
pub struct WillPlan {
    pub topic_name: String,
    pub qos: QoS,
    pub retain: bool,
    pub delay_secs: u32,
    pub expiry_secs: Option<u32>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct PublishPlan {
    /// Where to.
    pub topic_name: String,
    /// Its QoS.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Its Message Expiry Interval.
    pub expiry_secs: Option<u32>,
    /// How long its payload is; 0 for a payload without a number, which removes what is retained.
    pub len: usize,
    /// Whether it has further properties.
    pub properties: bool,
}

/// A SUBSCRIBE.
#[derive(Clone, Debug)]
pub struct SubscribePlan {
    /// Its Subscription Identifier.
    pub identifier: Option<u32>,
    /// Its Topic Filters.
    pub filters: Vec<FilterPlan>,
}

/// A Topic Filter with its options.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // the Subscription Options
pub struct FilterPlan {
    pub topic_filter: String,
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub retain_handling: RetainHandling,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} #{} device {}: {:?}", self.at, self.number, self.device, self.action)
    }
}
