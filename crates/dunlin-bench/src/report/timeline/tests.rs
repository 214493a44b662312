//! Joining keeps sums, phases and gaps.

use super::*;
use crate::report::sample::{micros, second};

#[test]
fn few_intervals_stay_as_they_are() {
    let timeline = Timeline::new(&[second(1, "measuring"), second(2, "measuring")], 10);
    assert_eq!((timeline.rows.len(), timeline.joined), (2, 1));
    assert_eq!(timeline.end(), 2.0);
    let none = Timeline::new(&[], 10);
    assert!(none.rows.is_empty() && none.phases().is_empty() && none.end() == 0.0);
}

#[test]
fn joined_rows_hold_sums_means_and_the_highest() {
    let mut intervals: Vec<_> = (1..=40).map(|number| second(number, "measuring")).collect();
    intervals[0].connected = 30;
    intervals[1].disconnected = 10;
    intervals[2].connected = 5;
    intervals[2].published = 5_000;
    intervals[3].latencies = Percentiles::of(&micros([9_000]));
    intervals[4].broker = None;
    let timeline = Timeline::new(&intervals, 10);
    assert_eq!((timeline.rows.len(), timeline.joined), (10, 4));
    let [first, second, ..] = timeline.rows.as_slice() else { panic!("too few rows") };
    assert_eq!((first.start(), first.end(), first.open), (0.0, 4.0, 20));
    assert_eq!(first.published(), Some(2_000.0));
    assert_eq!(first.broker_cpu(), Some(0.5));
    assert_eq!(first.latencies().expect("some").p50.as_micros(), 9_003, "the highest bucket");
    assert_eq!(first.latencies().expect("some").count, 3_001);
    assert_eq!(second.broker_cpu(), None);
    let delivered: u64 = timeline.rows.iter().map(|row| row.sum.delivered).sum();
    assert_eq!(delivered, 40_000);
}

#[test]
fn no_row_spans_two_phases_or_a_gap() {
    let numbers = (1..=10).chain(21..=30);
    let name = |number| if number <= 5 { "warming up" } else { "measuring" };
    let intervals: Vec<_> = numbers.map(|number| second(number, name(number))).collect();
    let timeline = Timeline::new(&intervals, 3);
    let spans: Vec<_> = timeline.rows.iter().map(|row| (row.start(), row.end())).collect();
    assert_eq!(spans, [(0.0, 5.0), (5.0, 10.0), (20.0, 27.0), (27.0, 30.0)]);
    assert_eq!(timeline.phases(), [("warming up", 0.0, 5.0), ("measuring", 5.0, 30.0)]);
}
