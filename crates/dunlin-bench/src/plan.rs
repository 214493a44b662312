//! What is to be run: the scenario and its parameters, and what is refused before anything is sent.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::payload::PAYLOAD_MIN;
use crate::transport::Transport;

mod error;

pub use error::PlanError;

/// Largest number of messages that a publisher may have under way: a Packet Identifier has 16 bits.
pub const WINDOW_MAX: u32 = 1 << 15;

/// Largest payload.
pub const PAYLOAD_MAX: usize = 16 << 20;

/// Largest number of clients: what a machine has sockets for, generously.
pub const CLIENTS_MAX: u32 = 1_000_000;

/// What kind of run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scenario {
    /// Many publishers, each with Topic Names of its own; every subscriber has all of them by `#`.
    FanIn,
    /// Few publishers; many subscribers that all get the same.
    FanOut,
    /// As many publishers as subscribers, each pair with Topic Names of its own.
    Pairs,
    /// The subscribers share one subscription: each message goes to one of them.
    Shared,
    /// All clients connect as fast as the broker takes them, and stay.
    Connect,
    /// All clients connect, subscribe, and are silent.
    Idle,
    /// Messages for Sessions whose clients are away, and their delivery when they come back.
    Offline,
    /// Retained messages are set, and delivered to new subscriptions.
    Retained,
    /// Pairs, with many Topic Filters with wildcards on each subscriber's connection.
    Wildcards,
    /// All subscribers lose their connections and come back to their Sessions, again and again.
    Reconnect,
    /// All QoS mixed, with connections that are cut, taken over and given up, Sessions that last and
    /// such that don't, subscriptions that come and go, a group that shares one, retained messages, and
    /// Wills.
    Soak,
}

impl Scenario {
    /// The name as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Pairs => "pairs",
            Self::Shared => "shared",
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Offline => "offline",
            Self::Retained => "retained",
            Self::Wildcards => "wildcards",
            Self::Reconnect => "reconnect",
            Self::Soak => "soak",
        }
    }
}

/// Which version of MQTT the clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// At which QoS messages are published and subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// All at this one.
    All(u8),
    /// 0, 1 and 2 in turn.
    Mixed,
}

/// When the measured part ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// After this time.
    Time(Duration),
    /// When so many messages have been published, by all publishers together.
    Messages(u64),
}

/// Something bad that is done to the broker, or to its clients, during the measured part.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Disturbance {
    /// Closes a share of the connections without a word; they come back to their Sessions.
    Cut {
        /// How many of a hundred.
        percent: f64,
        /// When, counted from the beginning of the measured part.
        at: Duration,
    },
    /// A share of the subscribers stops reading from their sockets.
    Pause {
        /// How many of a hundred.
        percent: f64,
        /// From when on, counted from the beginning of the measured part.
        from: Duration,
        /// Until when.
        to: Duration,
    },
}

/// A run, in full.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What kind of run it is.
    pub scenario: Scenario,
    /// Where the broker listens.
    pub address: SocketAddr,
    /// How MQTT is carried there.
    pub transport: Transport,
    /// Addresses that clients connect from, in turn; empty: the system's choice.
    pub sources: Vec<IpAddr>,
    /// Which version of MQTT the clients speak.
    pub version: Version,
    /// User Name of all clients.
    pub user_name: Option<String>,
    /// Password of all clients.
    pub password: Option<Vec<u8>>,
    /// How all Topic Names and Client Identifiers of the tool begin.
    pub prefix: String,
    /// Tells the names and messages of this run from those of any other.
    pub run: u32,
    /// Clients that publish.
    pub publishers: u32,
    /// Clients that subscribe, or just are there.
    pub subscribers: u32,
    /// Topic Names of each publisher, used in turn; or Topic Filters of each client that is idle.
    pub topics: u32,
    /// QoS of messages and subscriptions.
    pub quality: Quality,
    /// Bytes of each Application Message.
    pub payload_len: usize,
    /// Messages that each publisher has under way at most.
    pub window: u32,
    /// Messages per second of all publishers together, whether or not the broker keeps up; `None`:
    /// as fast as the windows allow.
    pub rate: Option<f64>,
    /// When the measured part ends.
    pub length: Length,
    /// How long traffic flows before it is measured.
    pub warm_up: Duration,
    /// Connections that are being opened at once.
    pub parallel: u32,
    /// Things that happen to the clients of a soak, in a second: connections that are cut, taken over
    /// or given up, subscriptions that come and go, retained messages that are set and asked for.
    pub churn: f64,
    /// What is done to the broker and its clients meanwhile.
    pub disturbances: Vec<Disturbance>,
    /// The broker's process, if its CPU time and memory are to be read.
    pub pid: Option<u32>,
    /// How long the broker may be silent while something is owed.
    pub patience: Duration,
}

impl Plan {
    /// The usual run of a scenario.
    pub fn new(scenario: Scenario, address: SocketAddr) -> Self {
        let (publishers, subscribers, topics, window) = match scenario {
            Scenario::FanIn => (50, 1, 1, 100),
            Scenario::FanOut => (1, 500, 1, 100),
            Scenario::Pairs => (100, 100, 1, 100),
            Scenario::Shared => (50, 10, 1, 100),
            Scenario::Connect => (0, 5_000, 1, 100),
            Scenario::Idle => (0, 1_000, 1, 100),
            Scenario::Offline => (10, 50, 1, 100),
            Scenario::Retained => (1, 1, 1, 100),
            Scenario::Wildcards => (100, 100, 101, 100),
            Scenario::Reconnect => (10, 1_000, 1, 100),
            Scenario::Soak => (20, 20, 4, 100),
        };
        Self {
            scenario,
            address,
            transport: Transport::plain(),
            sources: Vec::new(),
            version: Version::V311,
            user_name: None,
            password: None,
            prefix: "bench".to_owned(),
            run: 0,
            publishers,
            subscribers,
            topics,
            quality: match scenario {
                Scenario::Offline | Scenario::Reconnect => Quality::All(1),
                Scenario::Soak => Quality::Mixed,
                _ => Quality::All(0),
            },
            payload_len: 64,
            window,
            rate: if scenario == Scenario::Soak { Some(2_000.0) } else { None },
            length: match scenario {
                Scenario::Offline | Scenario::Retained => Length::Messages(50_000),
                Scenario::Soak => Length::Time(Duration::from_secs(60)),
                _ => Length::Time(Duration::from_secs(10)),
            },
            warm_up: match scenario {
                Scenario::FanIn | Scenario::FanOut | Scenario::Pairs => Duration::from_secs(1),
                Scenario::Shared | Scenario::Wildcards | Scenario::Soak => Duration::from_secs(1),
                _ => Duration::ZERO,
            },
            parallel: 100,
            churn: 8.0,
            disturbances: Vec::new(),
            pid: None,
            patience: Duration::from_secs(20),
        }
    }

    /// Whether connections are lost on purpose, so that the Sessions of the clients have to outlive
    /// them.
    pub fn has_lasting_sessions(&self) -> bool {
        matches!(self.scenario, Scenario::Offline | Scenario::Reconnect | Scenario::Soak)
            || self.disturbances.iter().any(|one| matches!(one, Disturbance::Cut { .. }))
    }

    /// Whether the scenario has messages.
    pub fn has_traffic(&self) -> bool {
        !matches!(self.scenario, Scenario::Connect | Scenario::Idle)
    }

    /// The parameters as they are to be shown.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("broker", self.address.to_string()),
            ("transport", self.transport.name().to_owned()),
            ("version", if self.version == Version::V5 { "5" } else { "3.1.1" }.to_owned()),
        ];
        if !self.sources.is_empty() {
            let sources: Vec<_> = self.sources.iter().map(ToString::to_string).collect();
            parameters.push(("sources", sources.join(", ")));
        }
        parameters.push(("connecting at once", self.parallel.to_string()));
        if !self.has_traffic() {
            parameters.push(("clients", self.subscribers.to_string()));
            if self.scenario == Scenario::Idle {
                parameters.push(("topic filters of each", self.topics.to_string()));
            }
            return parameters;
        }
        parameters.extend([
            ("publishers", self.publishers.to_string()),
            ("subscribers", self.subscribers.to_string()),
            (
                "qos",
                match self.quality {
                    Quality::All(qos) => qos.to_string(),
                    Quality::Mixed => "mixed".to_owned(),
                },
            ),
            ("payload", format!("{} bytes", self.payload_len)),
            ("window", self.window.to_string()),
        ]);
        if self.topics > 1 {
            parameters.push(("topics of each publisher", self.topics.to_string()));
        }
        if !self.warm_up.is_zero() {
            parameters.push(("warm-up", format!("{:?}", self.warm_up)));
        }
        if let Some(rate) = self.rate {
            parameters.push(("rate", format!("{rate}/s")));
        }
        if self.scenario == Scenario::Soak {
            parameters.push(("churn", format!("{}/s", self.churn)));
        }
        for disturbance in &self.disturbances {
            parameters.push(match *disturbance {
                Disturbance::Cut { percent, at } => ("cut", format!("{percent} % at {at:?}")),
                Disturbance::Pause { percent, from, to } => {
                    ("pause", format!("{percent} % from {from:?} to {to:?}"))
                }
            });
        }
        parameters
    }

    /// Refuses what can't be run.
    ///
    /// # Errors
    /// Names the option, and what would do.
    pub fn validate(&self) -> Result<(), PlanError> {
        let bounds = |option, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(PlanError::Bounds { option, value, least, most })
        };
        let least = u64::from(self.has_traffic());
        bounds("--publishers", self.publishers.into(), least, CLIENTS_MAX.into())?;
        bounds("--subscribers", self.subscribers.into(), 1, CLIENTS_MAX.into())?;
        match self.scenario {
            Scenario::Idle => bounds("--filters", self.topics.into(), 0, 100_000)?,
            _ => bounds("--topics", self.topics.into(), 1, 1_000_000)?,
        }
        bounds("--window", self.window.into(), 1, WINDOW_MAX.into())?;
        bounds("--parallel", self.parallel.into(), 1, CLIENTS_MAX.into())?;
        bounds("--payload", self.payload_len as u64, PAYLOAD_MIN as u64, PAYLOAD_MAX as u64)?;
        if let Length::Messages(messages) = self.length {
            bounds("--messages", messages, 1, u64::MAX)?;
        }
        if let Some(rate) = self.rate
            && !(0.001..=1e9).contains(&rate)
        {
            return Err(PlanError::Rate(rate));
        }
        if !(0.001..=1_000.0).contains(&self.churn) {
            return Err(PlanError::Churn(self.churn));
        }
        if let Quality::All(qos @ 3..) = self.quality {
            return Err(PlanError::QoS(qos));
        }
        if self.sources.iter().any(|source| source.is_ipv4() != self.address.is_ipv4()) {
            return Err(PlanError::Source(self.address.ip()));
        }
        let is_pair = matches!(self.scenario, Scenario::Pairs | Scenario::Wildcards);
        if is_pair && self.publishers != self.subscribers {
            return Err(PlanError::Pairs(self.publishers, self.subscribers));
        }
        if self.scenario == Scenario::Retained && !matches!(self.length, Length::Messages(_)) {
            return Err(PlanError::RetainedTime);
        }
        let is_scattered = matches!(self.scenario, Scenario::Offline | Scenario::Reconnect);
        if is_scattered && !self.subscribers.is_multiple_of(self.publishers) {
            return Err(PlanError::Scattered(self.publishers, self.subscribers));
        }
        if self.scenario == Scenario::Offline && self.quality == Quality::All(0) {
            return Err(PlanError::OfflineQoS0);
        }
        self.validate_disturbances()
    }

    fn validate_disturbances(&self) -> Result<(), PlanError> {
        for disturbance in &self.disturbances {
            let (percent, at) = match *disturbance {
                Disturbance::Cut { percent, at } => (percent, at),
                Disturbance::Pause { percent, from, to } if from < to => (percent, to),
                Disturbance::Pause { .. } => return Err(PlanError::PauseOrder),
            };
            if !(percent > 0.0 && percent <= 100.0) {
                return Err(PlanError::Percent(percent));
            }
            if let Length::Time(duration) = self.length
                && at > duration
            {
                return Err(PlanError::Late { at, duration });
            }
        }
        Ok(())
    }
}
