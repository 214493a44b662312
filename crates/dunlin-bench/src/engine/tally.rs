//! What a run has counted, apart from the clients, so that both can be borrowed at once.

use crate::books::Gathered;
use crate::outcome::{Faults, Latencies};

/// The counts.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) published: u64,
    /// Deliveries that subscribers are owed.
    pub(super) owed: u64,
    /// Those of them that have come, or will not.
    pub(super) settled: u64,
    pub(super) delivered: u64,
    /// Messages of QoS 1 and 2 without their last acknowledgement.
    pub(super) unacknowledged: u64,
    pub(super) faults: [Faults; 3],
    pub(super) allowed: [Faults; 3],
    /// Messages so altered that nobody knows which they were; they are not counted as lost as well.
    pub(super) unidentified: [u64; 3],
    /// Messages that the broker has refused, by publisher, whose subscribers do not know it yet.
    pub(super) refusals: Vec<(u32, u64)>,
    pub(super) group: Group,
    /// Acknowledgements that nobody waited for.
    pub(super) out_of_turn: u64,
    /// Messages that were due, and had no room until the end.
    pub(super) unsent: u64,
    pub(super) connected: u64,
    pub(super) disconnected: u64,
    pub(super) pings_due: u32,
    /// Grows with whatever the broker does.
    pub(super) progress: u64,
    /// Clients with output to flush.
    pub(super) touched: Vec<usize>,
    /// Publishers that may have room.
    pub(super) ready: Vec<usize>,
    /// What a group has seen, by publisher.
    pub(super) groups: Vec<Gathered>,
    pub(super) samples: Samples,
}

/// Who of a group is there.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Members that are there.
    pub(super) online: u32,
    /// Messages due before may have come to a member whose connection was lost before it could say so.
    pub(super) lost_at: u64,
    /// Messages due before may come late, since they were meant for a member that was away;
    /// `u64::MAX` while one is.
    pub(super) unsteady_until: u64,
}

/// Times that were taken, since somebody last asked for them.
#[derive(Debug)]
pub(super) struct Samples {
    /// From the moment when a message was due to its arrival.
    pub(super) arrivals: Latencies,
    /// Messages that came together and were due together are recorded together.
    last: (u64, u64),
    pub(super) acknowledgements: Latencies,
    pub(super) connects: Latencies,
}

/// The longest time that is told apart from longer ones.
const NANOS_MAX: u64 = 600_000_000_000;

impl Samples {
    pub(super) fn new() -> Self {
        Self { arrivals: growing(), last: (0, 0), acknowledgements: growing(), connects: growing() }
    }

    /// Records how long one message took.
    #[inline]
    pub(super) fn arrival(&mut self, nanos: u64) {
        if self.last.0 == nanos {
            self.last.1 += 1;
        } else {
            self.write();
            self.last = (nanos, 1);
        }
    }

    /// Writes down what was gathered.
    #[inline]
    pub(super) fn write(&mut self) {
        let (nanos, count) = std::mem::take(&mut self.last);
        if count > 0 {
            record(&mut self.arrivals, nanos, count);
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.arrivals.reset();
        self.acknowledgements.reset();
        self.connects.reset();
    }

    /// Records how long an acknowledgement took.
    pub(super) fn acknowledgement(&mut self, nanos: u64) {
        record(&mut self.acknowledgements, nanos, 1);
    }

    /// Records how long a client took to be accepted.
    pub(super) fn connect(&mut self, nanos: u64) {
        record(&mut self.connects, nanos, 1);
    }
}

/// Small, until something takes long.
fn growing() -> Latencies {
    let mut latencies =
        Latencies::new_with_bounds(1_000, 1_000_000, 3).expect("the bounds are in order");
    latencies.auto(true);
    latencies
}

fn record(latencies: &mut Latencies, nanos: u64, count: u64) {
    latencies.record_n(nanos.min(NANOS_MAX), count).expect("it grows as far as that");
}

impl Tally {
    pub(super) fn new(groups: Vec<Gathered>) -> Self {
        Self {
            published: 0,
            owed: 0,
            settled: 0,
            delivered: 0,
            unacknowledged: 0,
            faults: [Faults::default(); 3],
            allowed: [Faults::default(); 3],
            unidentified: [0; 3],
            refusals: Vec::new(),
            group: Group::default(),
            out_of_turn: 0,
            unsent: 0,
            connected: 0,
            disconnected: 0,
            pings_due: 0,
            progress: 0,
            touched: Vec::new(),
            ready: Vec::new(),
            groups,
            samples: Samples::new(),
        }
    }
}
