//! How safe something is before anybody may rely on it.

use super::RecordNumber;
use dunlin_protocol::codec::{TopicFilter, TopicName};

/// What an acknowledgement means: how safe that which it is for has become. Each includes those
/// before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// It was routed: every session that it is owed to has it in memory. A crash of the process
    /// may lose it.
    Memory,
    /// It was handed to the operating system: a crash of the process loses nothing, a power cut
    /// may.
    Written,
    /// It is on the disk: a power cut loses nothing.
    #[default]
    Fsync,
}

impl Durability {
    /// Every level, the weakest first.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Written, Self::Fsync];

    /// The level with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Fsync => "fsync",
        }
    }
}

/// Which level is asked for what: by the listener that a Client came by, and by Topic Filters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DurabilityRules {
    /// For listeners that say nothing of their own, and for what the broker publishes itself.
    pub default: Durability,
    /// For messages whose Topic Name matches, whatever the listener says; the first one decides.
    pub topics: Vec<(TopicFilter, Durability)>,
}

impl DurabilityRules {
    /// What the acknowledgement of a message means that came by a listener of this level.
    #[inline]
    pub fn of_message(&self, topic_name: &TopicName, listener: Durability) -> Durability {
        let topic_name = topic_name.as_str();
        let rule = self.topics.iter().find(|(topic_filter, _)| {
            dunlin_topics::topic_matches(topic_filter.matching_part(), topic_name)
        });
        rule.map_or(listener, |(_, durability)| *durability)
    }
}

/// How far the records of a worker are stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StoredUpto {
    written: RecordNumber,
    synced: RecordNumber,
}

impl StoredUpto {
    pub(super) fn advance(&mut self, durability: Durability, upto: RecordNumber) {
        if durability == Durability::Fsync {
            self.synced = self.synced.max(upto);
        }
        self.written = self.written.max(upto);
    }

    /// Whether a record is so safe.
    #[inline]
    pub(super) fn is_stored(&self, durability: Durability, record: RecordNumber) -> bool {
        match durability {
            Durability::Memory => true,
            Durability::Written => record <= self.written,
            Durability::Fsync => record <= self.synced,
        }
    }
}
