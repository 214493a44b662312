//! Medians and percentiles.

use super::*;

#[test]
fn median_of_odd_even_and_none() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(3.0));
    assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
    assert_eq!(median(&[4.0, 1.0, 100.0, 2.0]), Some(3.0));
}

#[test]
fn percentiles_are_ranks() {
    let latencies = Latencies::new((1..=1000).rev().map(Duration::from_micros).collect());
    for (permille, micros) in [(0, 1), (1, 1), (500, 500), (990, 990), (999, 999), (1000, 1000)] {
        assert_eq!(latencies.permille(permille), Duration::from_micros(micros), "{permille}");
    }
    let one = Latencies::new(vec![Duration::from_micros(7)]);
    assert_eq!(one.permille(1), one.permille(999));
    assert_eq!(Latencies::new(Vec::new()).permille(500), Duration::ZERO);
}
