//! Shared Subscriptions: one member for each message, and another when a member goes away.

use super::*;
use crate::core::DropCause;
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};

fn broker(workers: u8) -> Broker {
    Broker::with(workers, Limits { sys_interval_secs: 0, ..Limits::default() })
}

/// Members of `$share/g/a`, each with this Receive Maximum, and a publisher.
fn group(workers: u8, members: usize, qos: QoS, receive_maximum: u16) -> (Broker, Vec<Link>, Link) {
    group_of(broker(workers), members, qos, receive_maximum)
}

fn group_of(
    mut broker: Broker,
    members: usize,
    qos: QoS,
    receive_maximum: u16,
) -> (Broker, Vec<Link>, Link) {
    let members = (0..members)
        .map(|at| {
            let packet = connect(&format!("m-{at}")).expiry(60).receive_maximum(receive_maximum);
            let (link, _) = broker.join(packet);
            broker.send(link, subscribe(&["$share/g/a"], qos));
            broker.receive(link);
            link
        })
        .collect();
    let publisher = broker.client("pub");
    (broker, members, publisher)
}

fn send(broker: &mut Broker, publisher: Link, qos: QoS, numbers: std::ops::RangeInclusive<u16>) {
    for at in numbers {
        broker.send(publisher, Packet::Publish(publish("a", &at.to_string(), qos, at)));
        if qos == QoS::ExactlyOnce {
            broker.send(publisher, Packet::PubRel(ack(identifier(at))));
        }
    }
    broker.receive(publisher);
}

fn sorted(mut payloads: Vec<String>) -> Vec<String> {
    payloads.sort_by_key(|payload| payload.parse::<u32>().expect("a number"));
    payloads
}

fn numbers(range: std::ops::RangeInclusive<u16>) -> Vec<String> {
    range.map(|at| at.to_string()).collect()
}

#[test]
fn each_message_goes_to_one_member_and_everybody_has_a_share() {
    for workers in [1, 2, 3] {
        for qos in QOS {
            let (mut broker, members, publisher) = group(workers, 6, qos, 100);
            send(&mut broker, publisher, qos, 1..=120);
            let mut all = Vec::new();
            for member in members {
                let payloads = broker.drain(member);
                assert!(payloads.len() >= 5, "{} of 120, {workers} workers", payloads.len());
                all.extend(payloads);
            }
            assert_eq!(sorted(all), numbers(1..=120));
        }
    }
}

#[test]
fn a_group_and_a_plain_subscription_of_one_client_both_count() {
    let mut broker = broker(1);
    let link = broker.client("one");
    broker.send(link, subscribe(&["$share/g/a", "$share/h/a", "a"], QoS::AtMostOnce));
    broker.receive(link);
    broker.send(link, Packet::Publish(publish("a", "x", QoS::AtMostOnce, 1)));
    assert_eq!(broker.payloads(link).len(), 3);
}

#[test]
fn the_least_busy_member_gets_the_next_message() {
    let (mut broker, members, publisher) = group(1, 2, QoS::AtLeastOnce, 100);
    send(&mut broker, publisher, QoS::AtLeastOnce, 1..=10);
    let idle = broker.drain(members[1]).len();
    assert_eq!(idle, 5);
    send(&mut broker, publisher, QoS::AtLeastOnce, 11..=15);
    assert_eq!(broker.drain(members[1]).len(), 5, "the other one has not acknowledged anything");
}

#[test]
fn a_message_that_goes_to_another_member_leaves_the_last_one_of_a_plain_subscription() {
    let limits = Limits { queue_policy: QueuePolicy::KeepLast, ..Limits::default() };
    let (mut broker, members, publisher) =
        group_of(Broker::with(1, limits), 1, QoS::AtLeastOnce, 1);
    broker.send(members[0], subscribe(&["a"], QoS::AtLeastOnce));
    broker.receive(members[0]);
    send(&mut broker, publisher, QoS::AtLeastOnce, 1..=3);
    let other = broker.client("other");
    broker.send(other, subscribe(&["$share/g/a"], QoS::AtLeastOnce));
    broker.receive(other);
    broker.cut(members[0]);
    assert_eq!(broker.drain(other), ["3"]);
    let (link, _) = broker.join(connect("m-0").resume().expiry(60));
    assert_eq!(broker.drain(link), ["1", "3"]);
}

#[test]
fn unacknowledged_qos_1_messages_go_to_others_when_a_member_goes_away() {
    for workers in [1, 2, 3] {
        let (mut broker, members, publisher) = group(workers, 4, QoS::AtLeastOnce, 2);
        send(&mut broker, publisher, QoS::AtLeastOnce, 1..=40);
        broker.cut(members[0]);
        broker.send(members[1], disconnect(ReasonCode::Success));
        let mut all = broker.drain(members[2]);
        all.extend(broker.drain(members[3]));
        all.extend(broker.drain(members[2]));
        assert_eq!(sorted(all), numbers(1..=40), "{workers} workers");
        for name in ["m-0", "m-1"] {
            let (link, _) = broker.join(connect(name).resume().expiry(60));
            assert!(broker.drain(link).is_empty(), "it was handed on");
        }
        assert_eq!(broker.counters().dropped_total(), 0);
        assert_eq!((broker.counters().queued, broker.counters().queued_bytes), (0, 0));
    }
}

#[test]
fn a_qos_2_message_that_was_sent_stays_with_its_member() {
    for session_ends in [false, true] {
        let (mut broker, members, publisher) = group(1, 2, QoS::ExactlyOnce, 100);
        send(&mut broker, publisher, QoS::ExactlyOnce, 1..=2);
        broker.cut(members[0]);
        if session_ends {
            broker.join(connect("m-0"));
        }
        assert_eq!(broker.drain(members[1]).len(), 1);
        if !session_ends {
            let (link, _) = broker.join(connect("m-0").resume().expiry(60));
            assert_eq!(broker.drain(link).len(), 1);
        }
        let dropped = broker.counters().dropped_for(DropCause::SessionEnded);
        assert_eq!(dropped, u64::from(session_ends));
    }
}

#[test]
fn a_qos_2_message_that_waited_for_the_store_goes_to_another_member_when_its_session_ends() {
    type Step = fn(&mut Broker, Link);
    let cases: [(Step, bool); 4] = [
        (|broker, member| broker.cut(member), false),
        (
            |broker, member| {
                broker.cut(member);
                broker.store_all();
            },
            false,
        ),
        (
            |broker, member| {
                broker.store_all();
                broker.cut(member);
            },
            true,
        ),
        (
            |broker, member| {
                broker.cut(member);
                // It comes to its member after all, as a repetition.
                let (link, _) = broker.join(connect("m-0").resume().expiry(60));
                assert_eq!(broker.payloads(link).len(), 1);
                broker.cut(link);
            },
            true,
        ),
    ];
    for (step, is_sent) in cases {
        let limits = Limits { sys_interval_secs: 0, ..Limits::default() };
        let broker = Broker::build(1, limits, true);
        let (mut broker, members, publisher) = group_of(broker, 2, QoS::ExactlyOnce, 100);
        broker.stores_at_once = false;
        for (at, payload) in [(1, "1"), (2, "2")] {
            let packet = publish("a", payload, QoS::ExactlyOnce, at);
            broker.send(publisher, Packet::Publish(packet));
        }
        step(&mut broker, members[0]);
        broker.stores_at_once = true;
        broker.join(connect("m-0"));
        assert_eq!(broker.drain(members[1]).len(), if is_sent { 1 } else { 2 });
        let dropped = broker.counters().dropped_for(DropCause::SessionEnded);
        assert_eq!(dropped, u64::from(is_sent));
    }
}

#[test]
fn with_nobody_connected_the_messages_wait_and_an_ending_session_hands_them_on() {
    let (mut broker, members, publisher) = group(1, 2, QoS::AtLeastOnce, 100);
    for member in &members {
        broker.cut(*member);
    }
    send(&mut broker, publisher, QoS::AtLeastOnce, 1..=10);
    assert_eq!(broker.counters().queued, 10);
    broker.join(connect("m-0"));
    assert_eq!(broker.counters().queued, 10, "the session that ended left them to the other");
    let (link, _) = broker.join(connect("m-1").resume().expiry(60));
    assert_eq!(sorted(broker.drain(link)), numbers(1..=10));
}

#[test]
fn the_last_member_that_leaves_drops_and_counts_what_is_left() {
    let (mut broker, members, publisher) = group(1, 1, QoS::AtLeastOnce, 100);
    broker.cut(members[0]);
    send(&mut broker, publisher, QoS::AtLeastOnce, 1..=10);
    broker.join(connect("m-0"));
    assert_eq!(broker.counters().dropped_for(DropCause::NoMember), 10);
    assert_eq!((broker.counters().queued, broker.counters().subscriptions), (0, 0));
    send(&mut broker, publisher, QoS::AtLeastOnce, 11..=11);
    assert_eq!(broker.counters().dropped_for(DropCause::NoMember), 10);
}

#[test]
fn a_member_that_unsubscribes_gets_no_more() {
    for workers in [1, 2] {
        let (mut broker, members, publisher) = group(workers, 2, QoS::AtLeastOnce, 100);
        broker.send(members[0], unsubscribe(&["$share/g/a"]));
        broker.receive(members[0]);
        send(&mut broker, publisher, QoS::AtLeastOnce, 1..=10);
        assert_eq!(broker.drain(members[1]).len(), 10);
        assert!(broker.receive(members[0]).is_empty());
    }
}

#[test]
fn members_that_come_and_go_are_counted_by_every_worker() {
    let (mut broker, members, publisher) = group(3, 6, QoS::AtLeastOnce, 100);
    for member in &members[..5] {
        broker.cut(*member);
    }
    send(&mut broker, publisher, QoS::AtLeastOnce, 1..=30);
    assert_eq!(sorted(broker.drain(members[5])), numbers(1..=30), "the one that is there gets all");
    let (again, _) = broker.join(connect("m-0").resume().expiry(60));
    send(&mut broker, publisher, QoS::AtLeastOnce, 31..=60);
    let (one, other) = (broker.drain(members[5]), broker.drain(again));
    assert_eq!(one.len() + other.len(), 30);
    assert!(one.len() >= 5 && other.len() >= 5);
}

#[test]
fn the_messages_of_a_group_keep_no_notes_behind() {
    let (mut broker, members, publisher) = group(1, 3, QoS::AtLeastOnce, 2);
    send(&mut broker, publisher, QoS::AtLeastOnce, 1..=50);
    for member in &members {
        broker.drain(*member);
    }
    send(&mut broker, publisher, QoS::AtLeastOnce, 51..=60);
    broker.cut(members[0]);
    for member in &members[1..] {
        broker.drain(*member);
    }
    assert_eq!(broker.core(0).census().notes, 0);
}
