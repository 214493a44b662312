//! What a run came to: what arrived, what did not, how long it took, and what it cost.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies in nanoseconds, to three significant figures, from 1 µs to 10 minutes.
pub type Latencies = Histogram<u64>;

/// An empty histogram of [`Latencies`].
pub fn latencies() -> Latencies {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("the bounds are in order")
}

/// What is kept of [`Latencies`] when there are too many of them to keep whole.
///
/// A histogram takes some hundred kilobytes, and an hour's run has thousands of intervals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Percentiles {
    /// Messages that were measured. While this is 0 the rest says nothing.
    pub count: u64,
    /// Half of the messages took no longer.
    pub p50: Duration,
    /// 90 % of the messages took no longer.
    pub p90: Duration,
    /// 99 % of the messages took no longer.
    pub p99: Duration,
    /// 99.9 % of the messages took no longer.
    pub p999: Duration,
    /// 99.99 % of the messages took no longer.
    pub p9999: Duration,
    /// The slowest message.
    pub max: Duration,
}

impl Percentiles {
    /// Reads them from a histogram.
    pub fn of(latencies: &Latencies) -> Self {
        let at = |quantile| Duration::from_nanos(latencies.value_at_quantile(quantile));
        match latencies.len() {
            0 => Self::default(),
            count => Self {
                count,
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                p9999: at(0.9999),
                max: Duration::from_nanos(latencies.max()),
            },
        }
    }
}

/// What has gone wrong, in messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Owed to a subscriber, and not there at the end.
    pub lost: u64,
    /// Came to a subscriber again. At QoS 1 this is allowed after a cut connection.
    pub doubled: u64,
    /// Came after a later message of its publisher, Topic Name and QoS.
    pub out_of_order: u64,
    /// Came with another payload, QoS or Topic Name than it was published with, or was never
    /// published.
    pub corrupted: u64,
    /// Came to a subscriber that had no subscription for it.
    pub stray: u64,
    /// Published with QoS 1 or 2, and refused by the broker with a Reason Code of 0x80 or more.
    pub refused: u64,
}

impl Faults {
    /// All of them together.
    pub const fn sum(&self) -> u64 {
        self.lost + self.doubled + self.out_of_order + self.corrupted + self.stray + self.refused
    }
}

/// What the broker's process has used, if it runs on this machine and its number was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BrokerUse {
    /// User and system time.
    #[serde(serialize_with = "seconds", rename = "cpu_secs")]
    pub cpu: Duration,
    /// Resident bytes at the end of the time in question.
    #[serde(rename = "resident_bytes")]
    pub resident: u64,
}

/// A part of a run: one line of the progress, one point of the plots.
#[derive(Debug, Clone)]
pub struct Interval {
    /// When it ended, counted from the beginning of the run.
    pub end: Duration,
    /// How long it was.
    pub length: Duration,
    /// What the run was doing, e.g. `connecting`, `warming up`, `measuring`, `draining`.
    pub phase: &'static str,
    /// Messages that were published.
    pub published: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// Connections that were accepted.
    pub connected: u64,
    /// Connections that were lost or cut.
    pub disconnected: u64,
    /// Faults that were found. What is lost is known at the end of the run only.
    pub faults: u64,
    /// From the moment when a message was due to its arrival.
    pub latencies: Percentiles,
    /// User and system time of the load itself.
    pub load_cpu: Duration,
    /// What the broker used during this time.
    pub broker: Option<BrokerUse>,
}

/// A moment of the run that explains what comes after it, e.g. a disturbance on demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When, counted from the beginning of the run.
    pub at: Duration,
    /// What happened, in a few words, e.g. `cut 10 % of the connections`.
    pub what: String,
}

/// A run of one scenario.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The scenario's name, as it is typed.
    pub scenario: &'static str,
    /// When it began.
    pub started: SystemTime,
    /// Its parameters, each with its name, as they are to be shown.
    pub parameters: Vec<(&'static str, String)>,
    /// Length of the measured part, from the first message to the last acknowledgement.
    pub elapsed: Duration,
    /// Messages published in the measured part.
    pub published: u64,
    /// Messages that subscribers were owed for them.
    pub owed: u64,
    /// Messages that arrived of these.
    pub delivered: u64,
    /// Faults by QoS 0, 1 and 2, in the whole run.
    pub faults: [Faults; 3],
    /// By QoS, what the standard allows once a connection has been cut: messages of QoS 0 lost, those
    /// of QoS 1 doubled. They are none of `faults`.
    pub allowed: [Faults; 3],
    /// What else was wrong, a sentence each: a broker that went silent, connections that it closed,
    /// Sessions that were gone.
    pub complaints: Vec<String>,
    /// From the moment when a message was due to its arrival, of the measured part. In a paced run
    /// that is the moment of the schedule, be the sender late or not.
    pub latencies: Latencies,
    /// From the PUBLISH to the PUBACK or PUBCOMP.
    pub acknowledged_after: Latencies,
    /// From the first byte of the TCP handshake to CONNACK.
    pub connected_after: Latencies,
    /// Further figures of the scenario, each with its unit, e.g. `bytes per connection`.
    pub figures: BTreeMap<&'static str, f64>,
    /// User and system time of the load itself, during the measured part.
    pub load_cpu: Duration,
    /// What the broker used for the measured part.
    pub broker: Option<BrokerUse>,
    /// The run, interval by interval, from its beginning.
    pub timeline: Vec<Interval>,
    /// Disturbances and other moments of note, in their order.
    pub marks: Vec<Mark>,
}

impl Outcome {
    /// Deliveries per second of the measured part.
    pub fn rate(&self) -> f64 {
        self.delivered as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// All faults of all QoS together.
    pub fn faults(&self) -> u64 {
        self.faults.iter().map(Faults::sum).sum()
    }

    /// Whether nothing was seen that the standard forbids. A lost message of QoS 0 is a fault, but
    /// "at most once" allows it.
    pub fn is_clean(&self) -> bool {
        self.complaints.is_empty() && self.faults() == self.faults[0].lost
    }
}

/// Is told of a run while it lasts.
pub trait Observer {
    /// An interval has ended; about one second after the one before.
    fn interval(&mut self, interval: &Interval);
}

/// Watches nothing.
impl Observer for () {
    fn interval(&mut self, _interval: &Interval) {}
}

fn seconds<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(value.as_secs_f64())
}
