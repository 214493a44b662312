//! One publisher: its frames, and how many messages it may send.

use crate::books::{Outgoing, Unanswered};
use crate::frame;
use crate::layout::Layout;
use crate::packet;
use crate::payload::{Payloads, Stamp};
use crate::plan::{Plan, Quality, Version};

/// What is the same for all clients of a run.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) version: Version,
    pub(super) layout: Layout,
    pub(super) payloads: Payloads,
    pub(super) lanes: u64,
    /// First byte of a PUBLISH without QoS and DUP.
    pub(super) publish: u8,
    pub(super) pace: Option<Pace>,
    /// Nothing but deliveries tells publishers that there is room: without subscribers they wait.
    pub(super) waits_for_subscribers: bool,
}

/// When the messages of an open loop are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// When the first is.
    pub(super) start: u64,
    /// Nanoseconds from one to the next, of all publishers together.
    pub(super) step: f64,
    pub(super) publishers: u64,
}

impl Pace {
    /// When the nth message of all is due.
    #[inline]
    pub(super) fn due(&self, nth: u64) -> u64 {
        self.start + (nth as f64 * self.step) as u64
    }
}

/// The publishing side of a client.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) index: u32,
    /// What comes before the payload, by lane.
    heads: Box<[Head]>,
    /// Messages sent in all; also the next sequence number.
    pub(super) sent: u64,
    /// Sequence number at which it has to stop.
    pub(super) limit: u64,
    /// Sequence number of the first message of the present pace.
    pub(super) paced_from: u64,
    /// Deliveries of its messages that are expected and have not come.
    pub(super) in_flight: u64,
    /// Messages due before do not count as that any more.
    pub(super) counts_from: u64,
    /// Subscribers that are there to get its messages.
    pub(super) counting: u32,
    pub(super) outgoing: Outgoing,
    /// Messages of QoS 1 and 2 that may be under way.
    pub(super) quota: u32,
    /// It is on the list of those that may have room.
    pub(super) is_ready: bool,
    /// When it came back to its Session: messages that were due before may come twice.
    pub(super) resumed_at: u64,
    /// The message whose acknowledgement is timed: its Packet Identifier, and when it was sent. One
    /// at a time, since a clock for each would cost as much as sending it.
    pub(super) timed: Option<(u16, u64)>,
}

#[derive(Debug)]
struct Head {
    bytes: Box<[u8]>,
    qos: u8,
    /// Where the Topic Name is in `bytes`.
    topic_name: std::ops::Range<u32>,
}

impl Sender {
    pub(super) fn new(plan: &Plan, common: &Common, index: u32) -> Self {
        let layout = &common.layout;
        let head = |lane| {
            let qos = layout.qos(lane);
            let topic_name = layout.topic_name(index, layout.topic(lane));
            let first = common.publish | qos << 1;
            let bytes = packet::publish_head(plan.version, first, &topic_name, plan.payload_len);
            let behind = if qos > 0 { 2 } else { 0 } + usize::from(plan.version == Version::V5);
            let end = bytes.len() - behind;
            let topic_name = (end - topic_name.len()) as u32..end as u32;
            Head { bytes: bytes.into(), qos, topic_name }
        };
        Self {
            index,
            heads: (0..common.lanes).map(head).collect(),
            sent: 0,
            limit: 0,
            paced_from: 0,
            in_flight: 0,
            counts_from: 0,
            counting: 0,
            outgoing: Outgoing::new(if layout.qos_max() > 0 { plan.window } else { 1 }),
            quota: plan.window,
            is_ready: false,
            resumed_at: 0,
            timed: None,
        }
    }

    /// The QoS and the Topic Name of a message.
    #[inline]
    pub(super) fn lane(&self, common: &Common, sequence: u64) -> (u8, &[u8]) {
        let head = &self.heads[Self::lane_of(common, sequence)];
        (head.qos, &head.bytes[head.topic_name.start as usize..head.topic_name.end as usize])
    }

    #[inline]
    fn lane_of(common: &Common, sequence: u64) -> usize {
        if common.lanes == 1 { 0 } else { (sequence % common.lanes) as usize }
    }

    /// Appends the next message, and returns its QoS.
    #[inline]
    pub(super) fn push_message(&mut self, out: &mut Vec<u8>, common: &Common, now: u64) -> u8 {
        let sequence = self.sent;
        let due = match &common.pace {
            None => now,
            Some(pace) => {
                let round = sequence - self.paced_from;
                pace.due(round * pace.publishers + u64::from(self.index))
            }
        };
        let stamp = Stamp { publisher: self.index, sequence, due };
        let head = &self.heads[Self::lane_of(common, sequence)];
        out.extend_from_slice(&head.bytes);
        if head.qos > 0 {
            let packet_identifier = self.outgoing.issue(stamp, head.qos);
            let at = out.len() - packet::identifier_before_payload(common.version);
            out[at..at + 2].copy_from_slice(&packet_identifier.to_be_bytes());
            if self.timed.is_none() {
                self.timed = Some((packet_identifier, now));
            }
        }
        common.payloads.push(out, stamp);
        self.sent += 1;
        head.qos
    }

    /// Appends what has to be sent again on a new connection.
    pub(super) fn push_unanswered(&mut self, out: &mut Vec<u8>, common: &Common) {
        for unanswered in self.outgoing.unanswered() {
            match unanswered {
                Unanswered::Release { packet_identifier } => {
                    frame::push_ack(out, frame::PUBREL, packet_identifier);
                }
                Unanswered::Publish { sequence, due, packet_identifier } => {
                    let head = &self.heads[Self::lane_of(common, sequence)];
                    let start = out.len();
                    out.extend_from_slice(&head.bytes);
                    out[start] |= 0b1000;
                    let at = out.len() - packet::identifier_before_payload(common.version);
                    out[at..at + 2].copy_from_slice(&packet_identifier.to_be_bytes());
                    let stamp = Stamp { publisher: self.index, sequence, due };
                    common.payloads.push(out, stamp);
                }
            }
        }
        self.timed = None;
    }

    /// How many messages it may send now, without leaving more than `window` under way.
    ///
    /// In a closed loop it waits until half of its window is free, so that the batches do not depend
    /// on who wakes whom first.
    #[inline]
    pub(super) fn room(&self, common: &Common, window: u32) -> u64 {
        let left = self.limit - self.sent;
        let by_quota = match common.layout.qos_max() {
            0 => u64::from(window),
            _ => u64::from(self.quota.saturating_sub(self.outgoing.under_way())),
        };
        if common.pace.is_some() {
            return match common.layout.quality {
                Quality::All(0) => left,
                _ => left.min(by_quota),
            };
        }
        if self.counting == 0 && common.waits_for_subscribers {
            return 0;
        }
        let under_way = self.in_flight.div_ceil(u64::from(self.counting.max(1)));
        let room = u64::from(window).saturating_sub(under_way).min(by_quota);
        let half = u64::from(window.min(self.quota).div_ceil(2));
        if room < left.min(half) { 0 } else { room.min(left) }
    }
}
