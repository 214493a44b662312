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
    assert_eq!((layout.topics, layout.deliveries(0)), (1, 1));
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

/// Of publisher 0 this is so, of the others nothing.
fn of_first(number: u64) -> impl Fn(u32) -> u64 {
    move |publisher| if publisher == 0 { number } else { 0 }
}

#[test]
fn what_is_under_way_at_subscribe_may_come_and_what_is_sent_behind_suback_must() {
    for first in [20, 24, 25] {
        let (layout, mut arrivals) = one_lane();
        arrivals.ask(&layout, of_first(20));
        assert_eq!(arrivals.outstanding(0, 30), 0);
        arrivals.hold(of_first(25));
        assert_eq!(arrivals.outstanding(0, 30), 5);
        assert_eq!(arrivals.book(0, 19), Verdict::Stray);
        assert_eq!(arrivals.book(0, first), FRESH);
        // From then on all behind it are owed.
        assert_eq!(arrivals.outstanding(0, 30), 29 - first);
        assert_eq!(arrivals.book(0, first + 2), Verdict::Fresh { skipped: 1 });
        assert_eq!(arrivals.book(0, first), Verdict::Doubled);
        assert_eq!(arrivals.missing(&layout, of_first(first + 3))[0], lost(1));
    }
    let (layout, mut arrivals) = one_lane();
    arrivals.ask(&layout, of_first(20));
    arrivals.hold(of_first(25));
    assert_eq!(arrivals.book(0, 28), Verdict::Fresh { skipped: 3 });
    assert_eq!(arrivals.missing(&layout, of_first(29))[0], lost(3));
}

#[test]
fn what_comes_before_suback_shows_where_the_subscription_began() {
    let (layout, mut arrivals) = one_lane();
    arrivals.ask(&layout, of_first(0));
    assert_eq!(arrivals.book(0, 22), FRESH);
    arrivals.hold(of_first(25));
    assert_eq!(arrivals.book(0, 24), Verdict::Fresh { skipped: 1 });
}

#[test]
fn what_is_under_way_at_unsubscribe_may_come_and_what_is_sent_behind_unsuback_must_not() {
    let (layout, mut arrivals) = one_lane();
    arrivals.ask(&layout, of_first(0));
    arrivals.hold(of_first(0));
    assert_eq!(arrivals.book(0, 0), FRESH);
    arrivals.let_go();
    assert_eq!(arrivals.outstanding(0, 9), 0);
    assert_eq!(arrivals.book(0, 2), FRESH);
    arrivals.end(&layout, of_first(9));
    assert_eq!(arrivals.book(0, 4), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 4), Verdict::Doubled);
    assert_eq!(arrivals.book(0, 9), Verdict::Stray);
    // The one that was passed over on the way need not come.
    let expected = Missing { lost: 0, forgiven: 1 };
    assert_eq!(arrivals.missing(&layout, of_first(20))[0], expected);
    // The next one: what the one before has left may still come between its messages.
    arrivals.ask(&layout, of_first(15));
    arrivals.hold(of_first(20));
    assert_eq!(arrivals.book(0, 5), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 10), Verdict::Stray);
    assert_eq!(arrivals.book(0, 20), FRESH);
    assert_eq!(arrivals.book(0, 6), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 21), FRESH);
}

#[test]
fn what_a_cut_took_of_a_subscription_may_come_when_that_has_ended() {
    let (layout, mut arrivals) = one_lane();
    arrivals.ask(&layout, of_first(0));
    arrivals.hold(of_first(0));
    assert_eq!(arrivals.book(0, 0), FRESH);
    assert_eq!(arrivals.forgive(0, 6, |_| true), 5);
    arrivals.let_go();
    arrivals.end(&layout, of_first(8));
    assert_eq!(arrivals.book(0, 2), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 2), Verdict::Doubled);
    arrivals.ask(&layout, of_first(0));
    assert_eq!(arrivals.book(0, 3), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 9), FRESH);
    assert_eq!(arrivals.book(0, 4), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 0), Verdict::Doubled);
    assert_eq!(arrivals.missing(&layout, of_first(10))[0], Missing { lost: 0, forgiven: 2 });
}

#[test]
fn what_one_subscription_has_lost_is_missed_for_ever() {
    let (layout, mut arrivals) = one_lane();
    arrivals.ask(&layout, of_first(0));
    arrivals.hold(of_first(0));
    assert_eq!(arrivals.book(0, 3), Verdict::Fresh { skipped: 3 });
    arrivals.let_go();
    arrivals.end(&layout, of_first(4));
    arrivals.ask(&layout, of_first(4));
    arrivals.hold(of_first(4));
    assert_eq!(arrivals.missing(&layout, of_first(4))[0], lost(3));
}

#[test]
fn a_session_that_ends_takes_its_subscription_with_it() {
    let (layout, mut arrivals) = one_lane();
    arrivals.ask(&layout, of_first(0));
    arrivals.hold(of_first(0));
    arrivals.void(&layout);
    assert_eq!(arrivals.outstanding(0, 9), 0);
    assert_eq!(arrivals.book(0, 0), Verdict::Stray);
    assert_eq!(arrivals.book(0, 9), Verdict::Stray);
    arrivals.ask(&layout, of_first(5));
    arrivals.hold(of_first(9));
    assert_eq!(arrivals.book(0, 4), Verdict::Stray);
    assert_eq!(arrivals.book(0, 6), FRESH);
}

#[test]
fn of_mixed_lanes_each_begins_for_itself() {
    let layout = layout(Scenario::Soak, 2, Quality::Mixed);
    let mut arrivals = Arrivals::new(&layout, 0);
    assert_eq!(layout.lanes(), 6);
    arrivals.ask(&layout, |_| 7);
    arrivals.hold(|_| 13);
    // Lanes of messages 13 to 18, the first of each that is owed.
    for sequence in 13..19 {
        assert_eq!(arrivals.book(0, sequence), FRESH, "{sequence}");
    }
    assert_eq!(arrivals.outstanding(0, 19), 0);
    // A cut takes what QoS 0 had under way.
    arrivals.ask(&layout, |_| 13);
    arrivals.hold(|_| 19);
    assert_eq!(arrivals.forgive(0, 25, |lane| layout.qos(lane) == 0), 4);
    assert_eq!(arrivals.book(0, 18), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 24), Verdict::Forgiven);
    assert_eq!(arrivals.book(0, 26), Verdict::Fresh { skipped: 1 });
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
