//! What is known of a Network Connection.

use super::login::Login;
use super::moment::{Moment, Presence};
use super::names::TopicId;
use super::rights::{SubjectId, Subscribable};
use super::sessions::{ClientKey, LifeId};
use super::wills::Will;
use super::wire::Wire;
use crate::history::{ConnectionId, DeviceId};
use dunlin_codec::{Connect, ProtocolVersion};
use dunlin_protocol::Instant;
use hashbrown::HashMap;
use std::collections::VecDeque;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was taken from it.
    Open,
    /// Its CONNECT was taken.
    Connecting,
    /// Its CONNECT was refused.
    Refused,
    /// CONNACK was written.
    Accepted,
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) device: DeviceId,
    pub(super) stage: Stage,
    pub(super) asked: Option<Asked>,
    pub(super) client: Option<ClientKey>,
    /// What is known of its login.
    pub(super) login: Login,
    /// Who uses it, if there are rules.
    pub(super) subject: Option<SubjectId>,
    /// The session that it uses, once CONNACK says so.
    pub(super) life: Option<LifeId>,
    /// It is over: nothing is taken from it any more, and it has lost its session.
    pub(super) over: Option<Moment>,
    /// The broker knows that nobody is there, and waits for nothing on its account.
    pub(super) is_gone: bool,
    /// Nothing is written to it any more.
    pub(super) is_closed: bool,
    /// Something was written on it after its session had moved on.
    pub(super) is_left: bool,
    /// A CONNECT of the same Client Identifier was taken while this one was open.
    pub(super) rivalled: bool,
    /// When a packet was taken from it the last time, and when bytes were.
    pub(super) last_taken: Instant,
    pub(super) last_heard: Instant,
    /// Whether a packet was begun, or bytes of it wait to be taken.
    pub(super) has_rest: bool,
    /// Since when the broker may have said things that are not written.
    pub(super) blocked: Option<Instant>,
    /// What the broker had said was thrown away, unwritten: the socket had failed.
    pub(super) has_lost_output: bool,
    pub(super) malformed: Option<Moment>,
    pub(super) will: Option<Will>,
    pub(super) wire: Wire,
    /// What each Topic Alias stands for, as the client set it.
    pub(super) aliases: HashMap<u16, TopicId>,
    /// As the broker set it.
    pub(super) outbound_aliases: HashMap<u16, TopicId>,
    /// Publishes of the client that are not acknowledged.
    pub(super) publishes: HashMap<u16, Publishing>,
    pub(super) subscribes: VecDeque<Subscribing>,
    pub(super) unsubscribes: VecDeque<Unsubscribing>,
}

/// What CONNECT asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) taken: Moment,
    pub(super) version: ProtocolVersion,
    pub(super) clean_start: bool,
    /// The Session Expiry Interval that the broker may grant.
    pub(super) expiry_secs: u32,
    pub(super) keep_alive_secs: u16,
    pub(super) receive_maximum: u16,
    pub(super) packet_size_max: Option<u32>,
    pub(super) topic_alias_maximum: u16,
}

/// A PUBLISH that waits for its PUBACK or PUBREC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publishing {
    pub(super) number: Option<u64>,
    pub(super) topic: TopicId,
    /// When the exchange began: at QoS 2 perhaps on an earlier connection.
    pub(super) taken: Moment,
    /// Where it stands among the changes of its retained message.
    pub(super) retained: Option<(TopicId, usize)>,
    /// Whether its publisher had a right to it.
    pub(super) right: Presence,
}

/// A SUBSCRIBE that waits for its SUBACK.
#[derive(Debug)]
pub(super) struct Subscribing {
    pub(super) packet_identifier: u16,
    /// Its subscriptions, by their place in the session's list.
    pub(super) versions: Vec<usize>,
    /// Whether each may be made.
    pub(super) rights: Vec<Subscribable>,
}

/// An UNSUBSCRIBE that waits for its UNSUBACK.
#[derive(Debug)]
pub(super) struct Unsubscribing {
    pub(super) packet_identifier: u16,
    pub(super) taken: Moment,
    pub(super) filters: Vec<super::names::FilterId>,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, device: DeviceId, now: Instant) -> Self {
        Self {
            id,
            device,
            stage: Stage::Open,
            asked: None,
            client: None,
            login: Login::default(),
            subject: None,
            life: None,
            over: None,
            is_gone: false,
            is_closed: false,
            is_left: false,
            rivalled: false,
            last_taken: now,
            last_heard: now,
            has_rest: false,
            blocked: None,
            has_lost_output: false,
            malformed: None,
            will: None,
            wire: Wire::default(),
            aliases: HashMap::new(),
            outbound_aliases: HashMap::new(),
            publishes: HashMap::new(),
            subscribes: VecDeque::new(),
            unsubscribes: VecDeque::new(),
        }
    }

    pub(super) fn is_v5(&self) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.version.is_v5())
    }

    /// Whether its CONNACK says whether there is a Session.
    pub(super) fn tells_session_present(&self) -> bool {
        self.asked.as_ref().is_none_or(|asked| asked.version != ProtocolVersion::V3_1)
    }

    /// Whether the broker may have said things that were never written.
    pub(super) const fn may_be_unheard(&self) -> bool {
        self.blocked.is_some() || self.has_lost_output
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Accepted) && self.over.is_none()
    }
}

impl Asked {
    pub(super) fn new(taken: Moment, connect: &Connect, expiry_secs: u32) -> Self {
        let properties = &connect.properties;
        Self {
            taken,
            version: connect.protocol_version,
            clean_start: connect.clean_start,
            expiry_secs,
            keep_alive_secs: connect.keep_alive,
            receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
            packet_size_max: properties.maximum_packet_size,
            topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
        }
    }
}
