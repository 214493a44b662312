//! All clients of a run on one thread and one epoll instance; nothing in it ever blocks but the wait
//! for readiness.
//!
//! A turn reads what is ready from every ready socket, books it, and writes once to each connection
//! that has something to say; publishers then fill their windows with one write each.

mod client;
mod disturb;
mod ending;
mod flow;
mod forgiveness;
mod guests;
mod handshake;
mod inbound;
mod presence;
mod receiver;
mod sender;
mod soak;
mod tally;
mod timeline;
mod timers;
mod turn;
mod wait;
mod wander;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token};

use crate::books::Gathered;
use crate::error::BenchError;
use crate::frame;
use crate::layout::Layout;
use crate::outcome::Observer;
use crate::packet;
use crate::payload::Payloads;
use crate::plan::{Plan, Scenario};
use client::Client;
use disturb::Disturbing;
pub(crate) use flow::Measured;
use flow::Pacing;
use receiver::Receiver;
use sender::{Common, Sender};
use soak::Soak;
use tally::Tally;
use timeline::Timeline;
use timers::Timers;
use turn::{Ready, Trouble};
pub(crate) use wait::Waited;

/// The least size of the buffer that all sockets are read into.
const SCRATCH_MIN: usize = 256 * 1024;

/// Bytes that may wait for a publisher's socket before it makes no more messages.
const OUTPUT_MAX: usize = 1 << 20;

/// The token of a connection that was taken over is that of its client and this.
const REPLACED: usize = 1 << 40;

/// A run under way.
pub(crate) struct Engine<'a> {
    pub(crate) plan: &'a Plan,
    common: Common,
    start: Instant,
    started: SystemTime,
    poll: Poll,
    events: Events,
    ready_events: Vec<Ready>,
    scratch: Vec<u8>,
    /// Publishers first, then subscribers.
    clients: Vec<Client>,
    senders: Vec<Sender>,
    receivers: Vec<Receiver>,
    tally: Tally,
    /// What only a soak has.
    soak: Option<Soak>,
    opening: Opening,
    timers: Timers,
    /// Clients are lost on purpose, or by accident, and come back; until then any trouble ends the
    /// run.
    is_lenient: bool,
    pacing: Pacing,
    disturbing: Disturbing,
    /// When the broker last did something.
    progressed_at: u64,
    /// What was missing when nothing more came.
    silence: Option<String>,
    /// The run is over, and only what it has left is still to be taken away.
    is_leaving: bool,
    /// Half of the shortest Keep Alive that the broker has asked for, in nanoseconds.
    ping_nanos: u64,
    pinged_at: u64,
    complaints: BTreeMap<String, u64>,
    figures: BTreeMap<&'static str, f64>,
    timeline: Timeline<'a>,
    /// Deliveries, and CPU time of the broker's threads, when the measured part began.
    threads_began: (u64, BTreeMap<OsString, Duration>),
}

/// Clients on their way to the broker.
#[derive(Debug, Default)]
struct Opening {
    /// Those that are to be opened, and not before when, in nanoseconds since the run began.
    queue: VecDeque<(u64, usize)>,
    /// Those between their first packet and their last SUBACK.
    active: u32,
    /// Those that are there.
    online: u32,
}

/// More kinds of trouble than this are not told apart.
const COMPLAINTS_MAX: usize = 20;

impl<'a> Engine<'a> {
    pub(crate) fn new(plan: &'a Plan, observer: &'a mut dyn Observer) -> Result<Self, BenchError> {
        let layout = Layout::new(plan);
        let lanes = layout.lanes();
        let is_retained = plan.scenario == Scenario::Retained;
        let common = Common {
            version: plan.version,
            payloads: Payloads::new(plan.run, plan.payload_len),
            lanes,
            publish: frame::PUBLISH | u8::from(is_retained),
            pace: None,
            waits_for_subscribers: layout.qos_max() == 0 && !is_retained,
            layout,
        };
        let layout = &common.layout;
        let reach = 8 * plan.window as usize;
        let groups = if layout.has_group() { plan.publishers } else { 0 };
        let qos: Box<[u8]> = (0..lanes).map(|lane| layout.qos(lane)).collect();
        let groups = (0..groups).map(|_| Gathered::new(reach.max(1 << 14), qos.clone())).collect();
        let clients = layout.clients() as usize;
        let soak = (plan.scenario == Scenario::Soak).then(|| Soak::new(plan.run, clients));
        let has_traffic = plan.has_traffic();
        let frame_len = plan.payload_len + 2 * usize::from(u16::MAX);
        Ok(Self {
            plan,
            start: Instant::now(),
            started: SystemTime::now(),
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            ready_events: Vec::new(),
            scratch: vec![0; SCRATCH_MIN.max(2 * frame_len)],
            clients: (0..clients).map(|_| Client::new()).collect(),
            senders: (0..plan.publishers).map(|index| Sender::new(plan, &common, index)).collect(),
            receivers: (0..if has_traffic { layout.receivers() } else { 0 })
                .map(|index| Receiver::new(layout, index))
                .collect(),
            tally: Tally::new(groups),
            soak,
            opening: Opening::default(),
            timers: Timers::default(),
            is_lenient: false,
            pacing: Pacing::default(),
            disturbing: Disturbing::new(plan.run),
            progressed_at: 0,
            silence: None,
            is_leaving: false,
            ping_nanos: u64::from(packet::KEEP_ALIVE_SECS) * 500_000_000,
            pinged_at: 0,
            complaints: BTreeMap::new(),
            figures: BTreeMap::new(),
            timeline: Timeline::new(observer, plan.pid),
            threads_began: Default::default(),
            common,
        })
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Takes a note of what was wrong, once for each kind.
    fn complain(&mut self, complaint: String) {
        let is_known = self.complaints.contains_key(&complaint);
        let kind = match is_known || self.complaints.len() < COMPLAINTS_MAX {
            true => complaint,
            false => "more trouble of other kinds".to_owned(),
        };
        *self.complaints.entry(kind).or_default() += 1;
    }

    /// How a client is called.
    fn client_identifier(&self, index: usize) -> String {
        let Plan { prefix, run, .. } = self.plan;
        match index.checked_sub(self.senders.len()) {
            None => format!("{prefix}-{run:x}-pub-{index}"),
            Some(subscriber) => format!("{prefix}-{run:x}-sub-{subscriber}"),
        }
    }
}

fn token(index: usize) -> Token {
    Token(index)
}
