//! What flows in a run: who publishes to whom, how many, how large, at which QoS.

use std::fmt;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::ledger::WINDOW_MAX;

/// Who receives what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Many publishers, each to its own Topic Name; one subscriber to all of them by wildcard.
    FanIn,
    /// One publisher; many subscribers to its Topic Name.
    FanOut,
    /// As many publishers as subscribers, each pair with its own Topic Name.
    Pairs,
    /// Many publishers, each to its own Topic Name; a group that shares one subscription to all of
    /// them by wildcard.
    Shared,
    /// Pairs whose subscribers have a Topic Filter with a wildcard for each Topic Name, and one more
    /// that nothing matches.
    Wildcards,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FanIn => "fan-in",
            Self::FanOut => "fan-out",
            Self::Pairs => "pairs",
            Self::Shared => "shared",
            Self::Wildcards => "wildcards",
        })
    }
}

/// The parameters of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Who receives what.
    pub shape: Shape,
    /// Number of publishers (fan-in, shared), subscribers (fan-out) or pairs.
    pub clients: u32,
    /// Topic Names that each publisher uses in turn.
    pub topics: u32,
    /// Bytes of each Application Message.
    pub payload_len: usize,
    /// QoS of the messages and of the subscriptions.
    pub qos: u8,
    /// Messages that each publisher may have under way.
    pub window: u32,
    /// Whether the Sessions of the subscribers outlive their connections, so that what is owed to
    /// them has to be stored.
    pub persistent: bool,
    /// Whether each message has a Topic Name that was never used before, so that no broker remembers
    /// who receives it; with wildcards only.
    pub is_fresh: bool,
}

/// Hexadecimal digits at the end of a Topic Name that is never used again.
pub const FRESH_LEN: usize = 8;

/// Bytes at the start of each payload: publisher and sequence number, four each.
pub const PAYLOAD_MIN: usize = 8;

/// Members of the group that shares a subscription.
pub const GROUP: u32 = 10;

/// Largest payload; a frame has to fit the read buffer.
pub const PAYLOAD_MAX: usize = 128 * 1024;

impl Traffic {
    /// The usual traffic of a shape: 50:1, 1:500, 100:100 or 50:10 (shared), 64 bytes, 100 under way,
    /// QoS 0; and with wildcards 100:100, 101 filters for each subscriber.
    pub fn new(shape: Shape) -> Self {
        let (clients, topics) = match shape {
            Shape::FanIn | Shape::Shared => (50, 1),
            Shape::FanOut => (500, 1),
            Shape::Pairs => (100, 1),
            Shape::Wildcards => (100, 100),
        };
        Self {
            shape,
            clients,
            topics,
            payload_len: 64,
            qos: 0,
            window: 100,
            persistent: false,
            is_fresh: false,
        }
    }

    /// Refuses parameters that the load cannot carry.
    ///
    /// # Errors
    /// Names the parameter and its bounds.
    pub fn validate(&self) -> Result<()> {
        ensure!((1..=60_000).contains(&self.clients), "1 to 60000 clients");
        ensure!((1..=10_000).contains(&self.topics), "1 to 10000 topics for each publisher");
        ensure!(
            (PAYLOAD_MIN..=PAYLOAD_MAX).contains(&self.payload_len),
            "payload of {PAYLOAD_MIN} to {PAYLOAD_MAX} bytes"
        );
        ensure!(self.qos <= 2, "qos 0, 1 or 2");
        ensure!(!self.is_fresh || self.shape == Shape::Wildcards, "fresh names need wildcards");
        ensure!((1..=WINDOW_MAX).contains(&self.window), "window of 1 to {WINDOW_MAX}");
        Ok(())
    }

    /// Number of publishers.
    pub fn publishers(&self) -> u32 {
        if self.shape == Shape::FanOut { 1 } else { self.clients }
    }

    /// Number of subscribers.
    pub fn subscribers(&self) -> u32 {
        match self.shape {
            Shape::FanIn => 1,
            Shape::Shared => GROUP,
            Shape::FanOut | Shape::Pairs | Shape::Wildcards => self.clients,
        }
    }

    /// Subscribers to which each message is owed.
    pub fn receivers(&self) -> u32 {
        if self.shape == Shape::FanOut { self.clients } else { 1 }
    }

    /// The publishers whose messages a subscriber gets: the first, and how many.
    pub fn publishers_of(&self, subscriber: u32) -> (u32, u32) {
        match self.shape {
            Shape::FanIn | Shape::Shared => (0, self.clients),
            Shape::FanOut => (0, 1),
            Shape::Pairs | Shape::Wildcards => (subscriber, 1),
        }
    }

    /// A Topic Name of a publisher; what is fresh replaces its end.
    pub fn topic_name(&self, publisher: u32, topic: u32) -> String {
        match self.shape {
            Shape::Wildcards => format!("bench/{publisher}/{topic}/{:0FRESH_LEN$}", 0),
            _ if self.topics == 1 => format!("bench/{publisher}"),
            _ => format!("bench/{publisher}/{topic}"),
        }
    }

    /// The Topic Filters of a subscriber.
    pub fn topic_filters(&self, subscriber: u32) -> Vec<String> {
        let (publisher, _) = self.publishers_of(subscriber);
        match (self.shape, self.topics) {
            (Shape::FanIn, _) => vec!["bench/#".to_owned()],
            (Shape::Shared, _) => vec!["$share/group/bench/#".to_owned()],
            (Shape::Wildcards, topics) => {
                let matching = (0..topics).map(|topic| format!("bench/{publisher}/{topic}/+"));
                matching.chain([format!("bench/{publisher}/+/never/#")]).collect()
            }
            (_, 1) => vec![format!("bench/{publisher}")],
            _ => vec![format!("bench/{publisher}/#")],
        }
    }

    /// Messages that each publisher has to send for at least so many deliveries in sum.
    pub fn messages_each(&self, deliveries: u64) -> u32 {
        let each = deliveries.div_ceil(u64::from(self.publishers()) * u64::from(self.receivers()));
        u32::try_from(each.max(1)).unwrap_or(u32::MAX)
    }

    /// Deliveries owed when each publisher sends so many messages.
    pub fn deliveries(&self, messages_each: u32) -> u64 {
        u64::from(messages_each) * u64::from(self.publishers()) * u64::from(self.receivers())
    }

    /// How a table names the number of ends, as in `50:1`.
    pub fn ends(&self) -> String {
        format!("{}:{}", self.publishers(), self.subscribers())
    }
}

/// The Client Identifier of a publisher; the relay pairs clients by the number in it.
pub fn publisher_identifier(index: u32) -> String {
    format!("bench-pub-{index}")
}

/// The Client Identifier of a subscriber.
pub fn subscriber_identifier(index: u32) -> String {
    format!("bench-sub-{index}")
}
