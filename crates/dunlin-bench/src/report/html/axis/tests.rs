//! Axes begin at zero, reach over all values and have few, round labels.

use super::*;

fn labels(axis: &Axis) -> Vec<&str> {
    axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
}

#[test]
fn counts_begin_at_zero_and_reach_over_the_highest() {
    assert_eq!(labels(&Axis::counts(123_733.0)), ["0", "50k", "100k", "150k"]);
    assert_eq!(labels(&Axis::counts(100.0)), ["0", "50", "100"]);
    assert_eq!(labels(&Axis::counts(7.0)), ["0", "2", "4", "6", "8"]);
    assert_eq!(labels(&Axis::counts(1.6)), ["0", "0.5", "1", "1.5", "2"]);
    assert_eq!(labels(&Axis::counts(4.1e6)), ["0", "2M", "4M", "6M"]);
}

#[test]
fn nothing_and_too_much_still_make_an_axis() {
    for max in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MAX, f64::MIN_POSITIVE, 1.8e28] {
        for axis in [Axis::counts(max), Axis::shares(max), Axis::bytes(max), Axis::time(max)] {
            assert!((2..=10).contains(&axis.ticks.len()), "{max}: {axis:?}");
            assert!(axis.ticks.iter().all(|(value, _)| axis.at(*value).is_finite()), "{axis:?}");
        }
    }
}

#[test]
fn shares_reach_to_a_whole_core_at_least() {
    assert_eq!(labels(&Axis::shares(0.12)), ["0 %", "50 %", "100 %"]);
    assert_eq!(labels(&Axis::shares(1.9)), ["0 %", "50 %", "100 %", "150 %", "200 %"]);
}

#[test]
fn bytes_are_round_in_their_unit() {
    let axis = Axis::bytes(14.2 * 1_048_576.0);
    assert_eq!(labels(&axis), ["0 MiB", "5 MiB", "10 MiB", "15 MiB"]);
    assert!((axis.at(15.0 * 1_048_576.0) - 1.0).abs() < 1e-9);
}

#[test]
fn latencies_are_linear_if_they_are_alike() {
    let axis = Axis::latencies(200e-6, 1.3e-3);
    assert!(!axis.is_log);
    assert_eq!(labels(&axis), ["0 ms", "0.5 ms", "1 ms", "1.5 ms"]);
    assert_eq!(axis.at(0.0), 0.0);
}

#[test]
fn latencies_take_decades_if_they_differ_much() {
    let axis = Axis::latencies(80e-6, 0.9);
    assert!(axis.is_log);
    assert_eq!(labels(&axis), ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
    assert!((axis.at(1e-3) - 0.4).abs() < 1e-9);
    assert_eq!((axis.at(0.0), axis.at(99.0)), (0.0, 1.0));
}

#[test]
fn time_is_told_in_seconds_minutes_or_hours() {
    assert_eq!(labels(&Axis::time(30.0)), ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]);
    assert_eq!(labels(&Axis::time(0.45)), ["0 s", "0.1 s", "0.2 s", "0.3 s", "0.4 s"]);
    assert_eq!(labels(&Axis::time(600.0))[..3], ["0:00", "2:00", "4:00"]);
    assert_eq!(labels(&Axis::time(14_400.0))[..3], ["0 h", "0.5 h", "1 h"]);
    assert_eq!(labels(&Axis::time(864_000.0))[..2], ["0 h", "50 h"]);
}
