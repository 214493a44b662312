//! Edges between units, and figures of any size.

use super::*;

#[test]
fn thousands_are_apart() {
    assert_eq!(count(0), "0");
    assert_eq!(count(999), "999");
    assert_eq!(count(1_000), "1,000");
    assert_eq!(count(12_345_678), "12,345,678");
    assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
}

#[test]
fn three_digits_are_shown() {
    for (value, text) in [
        (0.0, "0"),
        (0.001_234, "0.00123"),
        (0.412_3, "0.412"),
        (0.999_9, "1.00"),
        (1.0, "1.00"),
        (9.96, "10.0"),
        (99.96, "100"),
        (1234.5, "1,235"),
        (-12.3, "-12.3"),
        (-1e6, "-1,000,000"),
        (f64::NAN, "unknown"),
        (f64::INFINITY, "unknown"),
    ] {
        assert_eq!(number(value), text, "{value}");
    }
    assert_eq!(number(1e300), "1.00e300");
    assert_eq!(number(1e-9), "1.00e-9");
}

#[test]
fn latencies_take_the_unit_that_suits_them() {
    let nanos = |nanos| latency(Duration::from_nanos(nanos));
    assert_eq!(nanos(0), "0 ns");
    assert_eq!(nanos(212_300), "212 µs");
    assert_eq!(nanos(999_499), "999 µs");
    assert_eq!(nanos(999_999), "1.00 ms", "not 1000 µs");
    assert_eq!(nanos(2_500_000_000), "2.50 s");
    assert_eq!(nanos(600_000_000_000), "600 s");
}

#[test]
fn long_times_have_minutes_and_hours() {
    assert_eq!(span(Duration::from_millis(12)), "12.0 ms");
    assert_eq!(span(Duration::from_millis(30_040)), "30.0 s");
    assert_eq!(span(Duration::from_millis(119_960)), "2 min 0 s", "not 120.0 s");
    assert_eq!(span(Duration::from_secs(3_600)), "60 min 0 s");
    assert_eq!(span(Duration::from_secs(7_260)), "2 h 1 min");
    assert_eq!(clock(Duration::from_secs(3_723)), "1:02:03");
    assert_eq!(clock(Duration::from_millis(7_900)), "0:07");
}

#[test]
fn bytes_are_binary() {
    assert_eq!(bytes(0), "0 B");
    assert_eq!(bytes(1_023), "1,023 B");
    assert_eq!(bytes(1_536), "1.50 KiB");
    assert_eq!(bytes(14 << 20), "14.0 MiB");
    assert_eq!(bytes(u64::MAX), "16,777,216 TiB");
}

#[test]
fn shares_are_of_one_core() {
    assert_eq!(share(0.0), "0.0 %");
    assert_eq!(share(0.0421), "4.2 %");
    assert_eq!(share(0.0999), "10 %");
    assert_eq!(share(1.96), "196 %");
}

#[test]
fn dates_know_leap_years() {
    let date = |seconds| super::date(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(date(0), "1970-01-01 00:00 UTC");
    assert_eq!(date(951_782_399), "2000-02-28 23:59 UTC");
    assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
    assert_eq!(date(1_798_761_599), "2026-12-31 23:59 UTC");
}
