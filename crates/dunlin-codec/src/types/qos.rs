//! Quality of Service, and what a PUBLISH carries for it.

use super::PacketIdentifier;

/// How hard sender and receiver try to deliver an Application Message. Spec: §4.3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: sent once, never acknowledged.
    #[default]
    AtMostOnce = 0,
    /// QoS 1: sent until acknowledged, may arrive twice.
    AtLeastOnce = 1,
    /// QoS 2: arrives once.
    ExactlyOnce = 2,
}

impl QoS {
    /// The QoS with this number; `None` above 2.
    pub const fn new(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The number: 0, 1 or 2.
    pub const fn value(self) -> u8 {
        self as u8
    }
}

/// The delivery part of a PUBLISH: its QoS with what exists only at that QoS.
///
/// A QoS 0 PUBLISH has neither Packet Identifier nor DUP flag [MQTT-2.2.1-2] [MQTT-3.3.1-2].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce {
        /// Names the exchange that ends with the PUBACK.
        packet_identifier: PacketIdentifier,
        /// Whether this may be a repetition of an earlier PUBLISH.
        dup: bool,
    },
    /// QoS 2.
    ExactlyOnce {
        /// Names the exchange that ends with the PUBCOMP.
        packet_identifier: PacketIdentifier,
        /// Whether this may be a repetition of an earlier PUBLISH.
        dup: bool,
    },
}

impl Delivery {
    /// The QoS.
    pub const fn qos(self) -> QoS {
        match self {
            Self::AtMostOnce => QoS::AtMostOnce,
            Self::AtLeastOnce { .. } => QoS::AtLeastOnce,
            Self::ExactlyOnce { .. } => QoS::ExactlyOnce,
        }
    }

    /// The DUP flag.
    pub const fn dup(self) -> bool {
        match self {
            Self::AtMostOnce => false,
            Self::AtLeastOnce { dup, .. } | Self::ExactlyOnce { dup, .. } => dup,
        }
    }

    /// The Packet Identifier; `None` at QoS 0.
    pub const fn packet_identifier(self) -> Option<PacketIdentifier> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { packet_identifier, .. }
            | Self::ExactlyOnce { packet_identifier, .. } => Some(packet_identifier),
        }
    }
}
