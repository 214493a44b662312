//! What arrives, and what the books say of it.

use super::{Arrivals, Missing, Verdict};
use crate::layout::Layout;
use crate::plan::{Plan, Quality, Scenario};

const FRESH: Verdict = Verdict::Fresh { skipped: 0 };

fn layout(scenario: Scenario, topics: u32, quality: Quality) -> Layout {
    let mut plan = Plan::new(scenario, ([127, 0, 0, 1], 1).into());
    (plan.publishers, plan.subscribers, plan.topics, plan.quality) = (4, 4, topics, quality);
    Layout::new(&plan)
}

fn one_lane() -> (Layout, Arrivals) {
    let layout = layout(Scenario::FanIn, 1, Quality::All(0));
    let arrivals = Arrivals::new(&layout, 0);
    (layout, arrivals)
}

fn lost(lost: u64) -> Missing {
    Missing { lost, forgiven: 0 }
}

#[test]
fn in_order_nothing_is_missing() {
    let (layout, mut arrivals) = one_lane();
    for sequence in 0..10 {
        for publisher in 0..4 {
            assert_eq!(arrivals.book(publisher, sequence), FRESH);
        }
    }
    assert_eq!(arrivals.missing(&layout, |_| 10), [Missing::default(); 3]);
    assert_eq!(arrivals.missing(&layout, |_| 12), [lost(8), lost(0), lost(0)]);
    assert_eq!(arrivals.book(4, 10), Verdict::Stray);
}

#[test]
fn lost_late_and_doubled_are_told_apart() {
    let (layout, mut arrivals) = one_lane();
    assert_eq!(arrivals.book(0, 0), FRESH);
    assert_eq!(arrivals.book(0, 4), Verdict::Fresh { skipped: 3 });
    assert_eq!(arrivals.book(0, 2), Verdict::Late);
    assert_eq!(arrivals.book(0, 2), Verdict::Doubled);
    assert_eq!(arrivals.book(0, 0), Verdict::Doubled);
    assert_eq!(arrivals.book(0, 5), FRESH);
    let sent = |publisher| if publisher == 0 { 6 } else { 0 };
    assert_eq!(arrivals.missing(&layout, sent)[0], lost(2));
}

#[test]
fn order_holds_within_a_lane_only() {
    let layout = layout(Scenario::Pairs, 2, Quality::Mixed);
    let mut arrivals = Arrivals::new(&layout, 3);
    for sequence in [5, 0, 4, 3, 1, 2, 9, 6] {
        assert_eq!(arrivals.book(3, sequence), FRESH, "{sequence}");
    }
    assert_eq!(arrivals.book(3, 19), Verdict::Fresh { skipped: 2 });
    assert_eq!(arrivals.book(2, 0), Verdict::Stray);
    // Before 20: 7, 12, 13, 18 at QoS 0; 8, 14, 15 at QoS 1; 10, 11, 16, 17 at QoS 2.
    assert_eq!(arrivals.missing(&layout, |_| 20), [lost(4), lost(3), lost(4)]);
}

#[test]
fn a_subscriber_to_a_part_of_the_topic_names_is_owed_no_more() {
    let layout = layout(Scenario::Offline, 1, Quality::All(1));
    assert_eq!((layout.topics, layout.receivers(0)), (1, 1));
    let mut plan = Plan::new(Scenario::Offline, ([127, 0, 0, 1], 1).into());
    (plan.publishers, plan.subscribers) = (2, 6);
    let layout = Layout::new(&plan);
    let mut arrivals = Arrivals::new(&layout, 4);
    assert_eq!(arrivals.book(1, 1), FRESH);
    assert_eq!(arrivals.book(1, 2), Verdict::Stray);
    assert_eq!(arrivals.book(0, 4), Verdict::Stray);
    assert_eq!(arrivals.book(1, 4), FRESH);
    assert_eq!(arrivals.outstanding(1, 9), 1);
    assert_eq!(arrivals.missing(&layout, |_| 9), [lost(0), lost(1), lost(0)]);
}

#[test]
fn what_a_cut_took_is_forgiven_and_welcome() {
    let (layout, mut arrivals) = one_lane();
    arrivals.book(0, 0);
    assert_eq!(arrivals.forgive(0, 5, |_| true), 4);
    assert_eq!(arrivals.book(0, 3), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 3), Verdict::Doubled);
    assert_eq!(arrivals.book(0, 5), FRESH);
    let sent = |publisher| if publisher == 0 { 6 } else { 0 };
    assert_eq!(arrivals.missing(&layout, sent)[0], Missing { lost: 0, forgiven: 3 });
    assert_eq!(arrivals.forgive(0, 9, |_| false), 0);
}

#[test]
fn a_new_subscription_begins_anywhere() {
    let (layout, mut arrivals) = one_lane();
    arrivals.begin_anywhere();
    assert_eq!(arrivals.missing(&layout, |_| 100)[0], lost(0));
    assert_eq!(arrivals.book(0, 50), FRESH);
    assert_eq!(arrivals.book(0, 52), Verdict::Fresh { skipped: 1 });
    assert_eq!(arrivals.book(0, 49), Verdict::Doubled);
}

#[test]
fn memory_is_bounded_however_much_is_lost() {
    let (layout, mut arrivals) = one_lane();
    for sequence in (0..100_000).step_by(2) {
        arrivals.book(0, sequence);
    }
    let sent = |publisher| if publisher == 0 { 100_000 } else { 0 };
    assert_eq!(arrivals.missing(&layout, sent)[0], lost(50_000));
    assert!(arrivals.gaps.len() == 1);
}

#[test]
fn what_was_refused_is_not_missed() {
    let (layout, mut arrivals) = one_lane();
    let lost_of = |arrivals: &Arrivals, sent| {
        arrivals.missing(&layout, |publisher| if publisher == 0 { sent } else { 0 })[0]
    };
    arrivals.book(0, 0);
    // The next, one further on, one that has come, and one twice.
    assert!(arrivals.refuse(0, 1));
    assert!(arrivals.refuse(0, 4));
    assert!(!arrivals.refuse(0, 4));
    assert!(!arrivals.refuse(0, 0));
    assert_eq!(lost_of(&arrivals, 5), lost(2));
    assert_eq!(arrivals.book(0, 2), FRESH);
    assert_eq!(arrivals.book(0, 5), Verdict::Fresh { skipped: 1 });
    assert_eq!(lost_of(&arrivals, 6), lost(1));
    assert!(arrivals.refused.is_empty());
    // Passed before it was refused.
    assert!(!arrivals.refuse(0, 3));
    assert_eq!(lost_of(&arrivals, 6), lost(0));
    // Refused, and delivered all the same.
    assert!(arrivals.refuse(0, 6));
    assert_eq!(arrivals.book(0, 6), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 4), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 7), FRESH);
    assert!(arrivals.refuse(0, 8));
    assert_eq!(arrivals.forgive(0, 10, |_| true), 1);
    assert_eq!(lost_of(&arrivals, 10), Missing { lost: 0, forgiven: 1 });
}
