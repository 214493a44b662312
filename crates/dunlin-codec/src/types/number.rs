//! Numbers that must not be zero: Packet Identifier, Topic Alias, Subscription Identifier.

use core::fmt;
use core::num::{NonZeroU16, NonZeroU32};

/// Names an exchange of packets that belong together, 1 to 65,535.
///
/// Spec: [MQTT-2.2.1-3], [MQTT-2.2.1-4].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIdentifier(NonZeroU16);

impl PacketIdentifier {
    /// The identifier with this value; `None` for zero.
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The value, 1 to 65,535.
    pub const fn value(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; 1 follows 65,535.
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(value) => Self(value),
            None => Self(NonZeroU16::MIN),
        }
    }

    /// The first identifier, 1.
    pub const FIRST: Self = Self(NonZeroU16::MIN);
}

impl fmt::Display for PacketIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A small number that stands for a Topic Name on one Network Connection, 1 to 65,535.
///
/// Spec: §3.3.2.3.4, [MQTT-3.3.2-8].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicAlias(NonZeroU16);

impl TopicAlias {
    /// The alias with this value; `None` for zero.
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The value, 1 to 65,535.
    pub const fn value(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for TopicAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that a Client gives to a subscription and gets back with each message that matches it,
/// 1 to 268,435,455.
///
/// Spec: §3.8.2.1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionIdentifier(NonZeroU32);

impl SubscriptionIdentifier {
    /// The largest value that a variable byte integer can carry.
    pub const MAX: u32 = 268_435_455;

    /// The identifier with this value; `None` for zero and above [`SubscriptionIdentifier::MAX`].
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) if value.get() <= Self::MAX => Some(Self(value)),
            _ => None,
        }
    }

    /// The value, 1 to 268,435,455.
    pub const fn value(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for SubscriptionIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
