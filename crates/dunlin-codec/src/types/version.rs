//! The protocol versions.

use core::fmt;

/// A version of MQTT, as CONNECT names it by Protocol Name and Protocol Version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ProtocolVersion {
    /// MQTT 3.1: Protocol Name `MQIsdp`, level 3.
    V3_1 = 3,
    /// MQTT 3.1.1: Protocol Name `MQTT`, level 4.
    V3_1_1 = 4,
    /// MQTT 5.0: Protocol Name `MQTT`, level 5.
    V5 = 5,
}

impl ProtocolVersion {
    /// The level byte of CONNECT: 3, 4 or 5.
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// The Protocol Name of CONNECT.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3_1 => "MQIsdp",
            Self::V3_1_1 | Self::V5 => "MQTT",
        }
    }

    /// Whether packets of this version carry properties and Reason Codes.
    pub const fn is_v5(self) -> bool {
        matches!(self, Self::V5)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V3_1 => "3.1",
            Self::V3_1_1 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}
