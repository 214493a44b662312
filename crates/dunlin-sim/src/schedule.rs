//! What comes next: everything that will happen, by its moment; the seed decides ties.

use crate::chance::mix;
use core::cmp::Ordering;
use dunlin_protocol::Instant;
use std::collections::BinaryHeap;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A worker has its turn.
    Turn(u8),
    /// The broker hears of a new Network Connection.
    Accept(u32),
    /// Bytes of this connection arrive at the broker.
    ArriveUp(u32),
    /// Bytes of this connection arrive at the Client.
    ArriveDown(u32),
    /// The broker's end of this connection can be written again.
    RoomDown(u32),
    /// The Client's end of this connection can be written again.
    RoomUp(u32),
    /// The Client's connection has a deadline.
    Deadline(u32),
    /// The application acknowledges.
    Acknowledge(u32),
    /// A device connects again, if this was its last attempt.
    Reconnect { device: u32, attempt: u32 },
    /// An action of the plan.
    Act(u32),
    /// The store has made something safe; void for a store of an earlier start of the broker.
    Synced { start: u32 },
    /// The store has what was wanted of it; void as well for one of an earlier start.
    Fetched { start: u32 },
    /// The store works again; void as well.
    Mended { start: u32 },
    /// A login is answered; void for a question of an earlier start.
    Answered(u32),
    /// The broker is started again.
    Restart,
}

impl Happening {
    /// Whether it keeps a system from being at rest; deadlines don't, a turn may be one, and
    /// devices know whether they come again.
    pub(crate) const fn is_busy(self) -> bool {
        !matches!(self, Self::Deadline(_) | Self::Turn(_) | Self::Reconnect { .. })
    }

    fn identity(self) -> u64 {
        let (kind, number) = match self {
            Self::Turn(worker) => (1, u64::from(worker)),
            Self::Accept(at) => (2, u64::from(at)),
            Self::ArriveUp(at) => (3, u64::from(at)),
            Self::ArriveDown(at) => (4, u64::from(at)),
            Self::RoomDown(at) => (5, u64::from(at)),
            Self::RoomUp(at) => (6, u64::from(at)),
            Self::Deadline(at) => (7, u64::from(at)),
            Self::Acknowledge(at) => (8, u64::from(at)),
            Self::Reconnect { device, .. } => (9, u64::from(device)),
            Self::Act(number) => (10, u64::from(number)),
            Self::Synced { .. } => (11, 0),
            Self::Restart => (12, 0),
            Self::Fetched { .. } => (13, 0),
            Self::Mended { .. } => (14, 0),
            Self::Answered(number) => (15, u64::from(number)),
        };
        kind << 56 | number
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    at: Instant,
    tie: u64,
    count: u64,
    happening: Happening,
}

impl Ord for Entry {
    /// The heap gives the greatest first, and that is the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| (entry.at, entry.tie, entry.count);
        key(other).cmp(&key(self))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
pub(crate) struct Schedule {
    seed: u64,
    heap: BinaryHeap<Entry>,
    count: u64,
    busy: usize,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, heap: BinaryHeap::new(), count: 0, busy: 0 }
    }

    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        self.count += 1;
        self.busy += usize::from(happening.is_busy());
        let tie = mix(self.seed ^ at.as_micros() ^ happening.identity());
        self.heap.push(Entry { at, tie, count: self.count, happening });
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    pub(crate) fn take(&mut self) -> Option<(Instant, Happening)> {
        let entry = self.heap.pop()?;
        self.busy -= usize::from(entry.happening.is_busy());
        Some((entry.at, entry.happening))
    }

    /// Forgets all arrivals: whoever asks knows when they come now.
    pub(crate) fn forget_arrivals(&mut self) {
        let is_arrival = |entry: &Entry| {
            matches!(entry.happening, Happening::ArriveUp(_) | Happening::ArriveDown(_))
        };
        self.heap.retain(|entry| !is_arrival(entry));
        self.busy = self.heap.iter().filter(|entry| entry.happening.is_busy()).count();
    }

    /// One of the things that keep the system from being at rest, and when it happens.
    pub(crate) fn example(&self) -> Option<(Instant, Happening)> {
        let busy = self.heap.iter().filter(|entry| entry.happening.is_busy());
        busy.map(|entry| (entry.at, entry.happening)).next()
    }

    /// Things that will happen, deadlines and turns aside.
    pub(crate) const fn busy(&self) -> usize {
        self.busy
    }
}
