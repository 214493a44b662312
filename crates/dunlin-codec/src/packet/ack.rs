//! PUBACK, PUBREC, PUBREL and PUBCOMP: one shape, four meanings. Spec: §3.4 to §3.7.

use super::UserProperties;
use crate::{PacketIdentifier, ReasonCode, Text};
use alloc::boxed::Box;

/// The content of a PUBACK, PUBREC, PUBREL or PUBCOMP.
///
/// MQTT 3.x carries the Packet Identifier alone; the rest is dropped when encoding for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The exchange that this answers.
    pub packet_identifier: PacketIdentifier,
    /// The outcome; [`ReasonCode::Success`] in MQTT 3.x.
    pub reason_code: ReasonCode,
    /// The properties; `None` when there are none, so that the usual ack allocates nothing.
    pub properties: Option<Box<AckProperties>>,
}

/// The properties of a PUBACK, PUBREC, PUBREL or PUBCOMP. Spec: §3.4.2.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckProperties {
    /// A diagnostic for humans.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl Ack {
    /// An ack without properties.
    pub const fn new(packet_identifier: PacketIdentifier, reason_code: ReasonCode) -> Self {
        Self { packet_identifier, reason_code, properties: None }
    }
}
