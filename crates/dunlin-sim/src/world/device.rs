//! A device: an application with its Client Identifier, its Session and at most one connection that
//! it cares for.

use crate::plan::ConnectPlan;
use bytes::BytesMut;
use dunlin_codec::{ProtocolVersion, Text, TransmitBuf};
use dunlin_protocol::{AckToken, ClientConnection, Instant, Message, Session};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Device {
    pub(super) client_identifier: Text,
    pub(super) version: ProtocolVersion,
    pub(super) is_twin: bool,
    pub(super) is_malformed: bool,
    /// Whether it proves who it is in steps.
    pub(super) is_enhanced: bool,
    /// MQTT 3.1 can't tell whether a Session is there: such a device always has one, or never.
    pub(super) always_clean: Option<bool>,
    pub(super) session: Session,
    /// It has lost its Session and begins a new one.
    pub(super) must_start_clean: bool,
    pub(super) live: Option<Box<Live>>,
    /// Connections so far.
    pub(super) attempts: u32,
    /// Those of them since faults have ended.
    pub(super) calm_attempts: u32,
    pub(super) connected_at: Instant,
    /// Connections in a row that soon were over.
    pub(super) short_lives: u32,
    /// Faults have ended, and it will connect again soon.
    pub(super) comes_again: bool,
    pub(super) last_plan: ConnectPlan,
    /// Messages that wait for a connection or its quota.
    pub(super) outbox: VecDeque<Arc<Message>>,
    /// Numbers of messages under way by their Packet Identifiers, and whether the application was
    /// told that the broker has them.
    pub(super) under_way: BTreeMap<u16, (u64, bool)>,
    /// Nothing goes through to or from it before.
    pub(super) partitioned_until: Instant,
}

/// The connection of a device.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) wire: u32,
    pub(super) connection: ClientConnection,
    pub(super) input: BytesMut,
    pub(super) out: TransmitBuf,
    /// Acknowledgements that the application owes, and when it gives them.
    pub(super) owed: VecDeque<(Instant, AckToken)>,
    /// The deadline that is scheduled.
    pub(super) deadline: Option<Instant>,
    /// Input from the broker has ended.
    pub(super) input_ended: bool,
}
