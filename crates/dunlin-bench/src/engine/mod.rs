//! All clients of a run on one thread and one epoll instance; nothing in it ever blocks but the wait
//! for readiness.
//!
//! A turn reads what is ready from every ready socket, books it, and writes once to each connection
//! that has something to say; publishers then fill their windows with one write each.

mod client;
mod disturb;
mod flow;
mod handshake;
mod inbound;

mod receiver;
mod sender;
mod tally;
mod timeline;
mod wait;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token};

use crate::books::Gathered;
use crate::error::BenchError;
use crate::frame::{self, FrameError};
use crate::layout::Layout;
use crate::outcome::Observer;
use crate::packet;
use crate::payload::Payloads;
use crate::plan::{Plan, Scenario};
use client::{Client, Stage};
use disturb::Disturbing;
pub(crate) use flow::Measured;
use flow::Pacing;
use inbound::Desk;
use receiver::Receiver;
use sender::{Common, Sender};
use tally::Tally;
use timeline::Timeline;
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
    opening: Opening,
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
}

/// What an event says of a connection.
#[derive(Debug, Clone, Copy)]
struct Ready {
    token: usize,
    is_readable: bool,
    is_writable: bool,
    is_closed: bool,
}

/// Clients on their way to the broker.
#[derive(Debug, Default)]
struct Opening {
    /// Those that are to be opened, and not before when, in nanoseconds since the run began.
    queue: VecDeque<(u64, usize)>,
    /// Those between the TCP handshake and their last SUBACK.
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
        let groups = if layout.is_shared() { plan.publishers } else { 0 };
        let groups = (0..groups).map(|_| Gathered::new(reach.max(1 << 14))).collect();
        // Those whose subscriptions come and go are subscribers like the others, behind them.
        let subscribers = plan.subscribers + plan.wanderers();
        let clients = plan.publishers as usize + subscribers as usize;
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
            receivers: (0..if has_traffic { subscribers } else { 0 })
                .map(|index| Receiver::new(layout, index))
                .collect(),
            tally: Tally::new(groups),
            opening: Opening::default(),
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
            common,
        })
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Waits for readiness, reads every ready socket, writes to every touched one.
    fn turn(&mut self, timeout: Duration) -> Result<(), BenchError> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        let mut ready_events = std::mem::take(&mut self.ready_events);
        ready_events.extend(self.events.iter().map(|event| Ready {
            token: event.token().0,
            is_readable: event.is_readable(),
            is_writable: event.is_writable(),
            is_closed: event.is_read_closed() || event.is_error(),
        }));
        for ready in ready_events.drain(..) {
            self.handle(ready)?;
        }
        self.ready_events = ready_events;
        let mut touched = std::mem::take(&mut self.tally.touched);
        for index in touched.drain(..) {
            if let Some(link) = &mut self.clients[index].link {
                link.touched = false;
            }
            self.flush(index)?;
        }
        self.tally.touched = touched;
        Ok(())
    }

    fn handle(&mut self, ready: Ready) -> Result<(), BenchError> {
        if ready.token >= REPLACED {
            return self.handle_replaced(ready.token - REPLACED);
        }
        let index = ready.token;
        if self.clients[index].stage == Stage::Opening {
            if !(ready.is_writable || ready.is_closed) {
                return Ok(());
            }
            if !self.greet(index)? {
                return Ok(());
            }
        }
        if ready.is_writable {
            self.flush(index)?;
            if index < self.senders.len() {
                self.mark_ready(index);
            }
        }
        if ready.is_readable && !self.clients[index].is_paused {
            self.read(index, ready.is_closed)?;
        }
        Ok(())
    }

    /// Reads all that a socket holds. A read that leaves room has emptied it, unless its end has come
    /// as well.
    fn read(&mut self, index: usize, is_closed: bool) -> Result<(), BenchError> {
        loop {
            let Some(link) = &mut self.clients[index].link else { return Ok(()) };
            let filled = match link.fill(&mut self.scratch) {
                Ok(None) => return Ok(()),
                Ok(Some(filled)) => filled,
                Err(error) => return self.handle_closed(index, &error.to_string()),
            };
            let mut scratch = std::mem::take(&mut self.scratch);
            let used = self.read_frames(index, &scratch[..filled.len]);
            if let Some(link) = &mut self.clients[index].link {
                if let Ok(used) = &used {
                    link.keep(&scratch[*used..filled.len]);
                }
                if !link.output.is_empty() && !link.touched {
                    link.touched = true;
                    self.tally.touched.push(index);
                }
            }
            std::mem::swap(&mut self.scratch, &mut scratch);
            match used {
                Ok(_) if filled.more || is_closed => {}
                Ok(_) => return Ok(()),
                Err(Trouble::Frame(error)) => {
                    return self
                        .handle_closed(index, &format!("what it sends is no MQTT: {error}"));
                }
                Err(Trouble::Bench(error)) => return Err(error),
            }
        }
    }

    /// Books what a buffer holds; returns how many bytes made whole frames.
    fn read_frames(&mut self, index: usize, bytes: &[u8]) -> Result<usize, Trouble> {
        let mut used = 0;
        let now = self.now();
        loop {
            // A frame may have ended the connection.
            let Some(link) = &mut self.clients[index].link else { return Ok(bytes.len()) };
            let mut desk = Desk {
                common: &self.common,
                senders: &mut self.senders,
                tally: &mut self.tally,
                output: &mut link.output,
                now,
            };
            let publishers = desk.senders.len();
            let read = match index.checked_sub(publishers) {
                None => {
                    let read = desk.read_acks(&bytes[used..], index)?;
                    if !self.tally.refusals.is_empty() {
                        self.spread_refusals();
                    }
                    self.mark_ready(index);
                    read
                }
                Some(subscriber) => match self.receivers.get_mut(subscriber) {
                    Some(receiver) => desk.read_deliveries(&bytes[used..], receiver)?,
                    None => desk.read_other(&bytes[used..])?,
                },
            };
            used += read.used;
            match read.control {
                Some(control) => self.handle_control(index, &control)?,
                None => return Ok(used),
            }
        }
    }

    fn flush(&mut self, index: usize) -> Result<(), BenchError> {
        let Some(link) = &mut self.clients[index].link else { return Ok(()) };
        match link.flush() {
            Ok(()) => Ok(()),
            Err(error) => {
                // What the broker has said before it closed says more than the broken pipe.
                if !self.clients[index].is_paused {
                    self.read(index, true)?;
                }
                if self.clients[index].link.is_some() {
                    return self.handle_closed(index, &error.to_string());
                }
                Ok(())
            }
        }
    }

    fn mark_ready(&mut self, index: usize) {
        let sender = &mut self.senders[index];
        if !sender.is_ready {
            sender.is_ready = true;
            self.tally.ready.push(index);
        }
    }

    /// Lets each publisher that may have room fill it, with one write.
    fn fill_windows(&mut self) -> Result<(), BenchError> {
        if self.tally.ready.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut ready = std::mem::take(&mut self.tally.ready);
        let mut again = Vec::new();
        for index in ready.drain(..) {
            let sender = &mut self.senders[index];
            sender.is_ready = false;
            let client = &mut self.clients[index];
            let Some(link) = &mut client.link else { continue };
            if client.stage != Stage::Online || link.output.len() > OUTPUT_MAX {
                continue;
            }
            let room = sender.room(&self.common, self.plan.window);
            if room == 0 {
                continue;
            }
            let before = sender.sent;
            while sender.sent - before < room && link.output.len() < OUTPUT_MAX {
                let qos = sender.push_message(&mut link.output, &self.common, now);
                self.tally.unacknowledged += u64::from(qos > 0);
            }
            let sent = sender.sent - before;
            self.tally.published += sent;
            self.tally.owed += sent * u64::from(self.common.layout.receivers(index as u32));
            sender.in_flight += sent * u64::from(sender.counting);
            if sender.room(&self.common, self.plan.window) > 0 {
                again.push(index);
            }
            self.flush(index)?;
        }
        // The emptied list keeps its allocation, unless others have become ready meanwhile.
        if self.tally.ready.is_empty() {
            self.tally.ready = ready;
        }
        for index in again {
            let is_full = |link: &crate::connection::Connection| !link.output.is_empty();
            // A socket that is full says when it has room.
            if !self.clients[index].link.as_ref().is_none_or(is_full) {
                self.mark_ready(index);
            }
        }
        Ok(())
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

/// Why a buffer can't be read to its end.
enum Trouble {
    Frame(FrameError),
    Bench(BenchError),
}

impl From<FrameError> for Trouble {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<BenchError> for Trouble {
    fn from(error: BenchError) -> Self {
        Self::Bench(error)
    }
}

fn token(index: usize) -> Token {
    Token(index)
}
