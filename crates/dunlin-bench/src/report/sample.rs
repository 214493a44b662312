//! Outcomes made by hand, for the tests of all reports.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use crate::outcome::{
    BrokerUse, Faults, Interval, Latencies, Mark, Outcome, Percentiles, latencies,
};

/// A histogram of these microseconds.
pub(super) fn micros(values: impl IntoIterator<Item = u64>) -> Latencies {
    let mut latencies = latencies();
    for value in values {
        latencies.record(value * 1_000).expect("in bounds");
    }
    latencies
}

/// One second of a run in which 1,000 messages arrived.
pub(super) fn second(number: u64, phase: &'static str) -> Interval {
    Interval {
        end: Duration::from_secs(number),
        length: Duration::from_secs(1),
        phase,
        published: 1_000,
        delivered: 1_000,
        connected: 0,
        disconnected: 0,
        faults: 0,
        latencies: Percentiles::of(&micros(100..1_100)),
        load_cpu: Duration::from_millis(250),
        broker: Some(BrokerUse { cpu: Duration::from_millis(500), resident: 8 << 20 }),
    }
}

/// A run of ten seconds with all that a report can show, and no fault.
pub(super) fn outcome() -> Outcome {
    let mut timeline = vec![second(1, "connecting"), second(2, "warming up")];
    timeline[0].connected = 20;
    timeline.extend((3..=10).map(|number| second(number, "measuring")));
    Outcome {
        scenario: "fan-in",
        started: UNIX_EPOCH + Duration::from_secs(1_798_761_599),
        parameters: vec![("broker", "127.0.0.1:1883".to_owned()), ("QoS", "1".to_owned())],
        elapsed: Duration::from_secs(8),
        published: 8_000,
        owed: 8_000,
        delivered: 8_000,
        faults: [Faults::default(); 3],
        allowed: [Faults::default(); 3],
        complaints: Vec::new(),
        latencies: micros(100..8_100),
        acknowledged_after: micros(50..4_050),
        connected_after: micros([500; 20]),
        figures: BTreeMap::from([("bytes per connection", 312.0)]),
        load_cpu: Duration::from_secs(2),
        broker: Some(BrokerUse { cpu: Duration::from_secs(4), resident: 8 << 20 }),
        timeline,
        marks: vec![Mark { at: Duration::from_secs(5), what: "cut 10 % of 20".to_owned() }],
    }
}

/// A run that ended before anything happened.
pub(super) fn empty() -> Outcome {
    Outcome {
        scenario: "idle",
        started: UNIX_EPOCH,
        parameters: Vec::new(),
        elapsed: Duration::ZERO,
        published: 0,
        owed: 0,
        delivered: 0,
        faults: [Faults::default(); 3],
        allowed: [Faults::default(); 3],
        complaints: Vec::new(),
        latencies: latencies(),
        acknowledged_after: latencies(),
        connected_after: latencies(),
        figures: BTreeMap::new(),
        load_cpu: Duration::ZERO,
        broker: None,
        timeline: Vec::new(),
        marks: Vec::new(),
    }
}

/// A run whose every figure is as large as its type allows.
pub(super) fn huge() -> Outcome {
    let mut outcome = outcome();
    let long = Duration::from_secs(u64::from(u32::MAX));
    outcome.published = u64::MAX;
    outcome.owed = u64::MAX;
    outcome.delivered = u64::MAX;
    outcome.elapsed = Duration::from_nanos(1);
    outcome.latencies = micros([1, 600_000_000]);
    outcome.figures.insert("unknown", f64::NAN);
    outcome.figures.insert("vast", f64::MAX);
    outcome.broker = Some(BrokerUse { cpu: long, resident: u64::MAX });
    outcome.timeline[4].published = u64::MAX;
    outcome.timeline[4].delivered = u64::MAX;
    outcome.timeline[5].broker = outcome.broker;
    outcome.timeline[9].end = long;
    outcome
}
