//! Gaps that come together and close.

use super::{Gathered, Missing, Verdict};

const FRESH: Verdict = Verdict::Fresh { skipped: 0 };

/// One lane of QoS 0.
fn gathered(reach: usize) -> Gathered {
    Gathered::new(reach, [0].into())
}

/// What is missing of it.
fn missing(gathered: &Gathered, sent: u64) -> Missing {
    let [missing, ..] = gathered.missing(sent);
    missing
}

#[test]
fn each_comes_once_in_any_order() {
    let mut gathered = gathered(4);
    for sequence in [2, 0, 1, 3, 5] {
        assert_eq!(gathered.book(sequence), FRESH, "{sequence}");
    }
    for sequence in [0, 3, 5] {
        assert_eq!(gathered.book(sequence), Verdict::Doubled, "{sequence}");
    }
    assert_eq!(missing(&gathered, 6), Missing { lost: 1, forgiven: 0 });
    assert_eq!(missing(&gathered, 8), Missing { lost: 3, forgiven: 0 });
}

#[test]
fn what_lies_too_far_behind_is_skipped() {
    let mut gathered = gathered(4);
    assert_eq!(gathered.book(1), FRESH);
    assert_eq!(gathered.book(4), Verdict::Fresh { skipped: 1 });
    assert_eq!(gathered.book(0), Verdict::Doubled);
    assert_eq!(missing(&gathered, 5), Missing { lost: 3, forgiven: 0 });
}

#[test]
fn what_was_cut_is_forgiven() {
    let mut gathered = gathered(8);
    gathered.book(1);
    assert_eq!(gathered.forgive(4), 3);
    assert_eq!(gathered.book(4), FRESH);
    assert_eq!(gathered.book(2), Verdict::Forgiven);
    assert_eq!(gathered.book(2), Verdict::Doubled);
    assert_eq!(missing(&gathered, 6), Missing { lost: 1, forgiven: 2 });
    assert_eq!(gathered.forgive(6), 1);
    assert_eq!(missing(&gathered, 7), Missing { lost: 1, forgiven: 3 });
}

#[test]
fn only_qos_0_is_forgiven() {
    let mut gathered = Gathered::new(8, [0, 1].into());
    assert_eq!(gathered.book(1), FRESH);
    assert_eq!(gathered.forgive(4), 2);
    assert_eq!((gathered.book(3), gathered.book(2)), (FRESH, Verdict::Forgiven));
    let expected = [Missing { lost: 1, forgiven: 1 }, Missing { lost: 1, forgiven: 0 }];
    assert_eq!(gathered.missing(6)[..2], expected);
}
