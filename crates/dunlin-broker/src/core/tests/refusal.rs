//! Full queues at other workers and in Shared Subscriptions: who waits and who is told.

use super::workers::{client_at, name_at};
use super::*;
use crate::core::DropCause;
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{Delivery, Packet, PacketType, QoS, ReasonCode};

const QOS_ACKNOWLEDGED: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

pub(super) fn limits(queue_len_max: usize) -> Limits {
    let queue_policy = QueuePolicy::Refuse;
    Limits { queue_len_max, queue_policy, sys_interval_secs: 0, ..Limits::default() }
}

/// Worker 0 has a session that is away and wants what this Topic Filter matches, worker 1 a
/// witness of `a` that is there.
fn with_absent(topic_filter: &str, limits: Limits) -> (Broker, Link) {
    let mut broker = Broker::with(2, limits);
    let away = client_at(&mut broker, 0, 0, "away");
    broker.send(away, subscribe(&[topic_filter], QoS::ExactlyOnce));
    broker.cut(away);
    let witness = client_at(&mut broker, 1, 1, "witness");
    broker.send(witness, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(witness);
    (broker, witness)
}

pub(super) fn back(broker: &mut Broker) -> Link {
    let name = name_at(broker, 0, "away");
    broker.join(connect(&name).resume().expiry(60)).0
}

/// An MQTT 3.1.1 Client at worker 1 whose session survives.
pub(super) fn old(broker: &mut Broker) -> Link {
    let name = name_at(broker, 1, "old");
    broker.join(connect_v311(&name, false)).0
}

pub(super) fn send(
    broker: &mut Broker,
    link: Link,
    qos: QoS,
    numbers: std::ops::RangeInclusive<u16>,
) {
    for at in numbers {
        broker.send(link, Packet::Publish(publish("a", &at.to_string(), qos, at)));
    }
}

fn code(broker: &mut Broker, link: Link) -> ReasonCode {
    match broker.receive_one(link) {
        Packet::PubAck(ack) | Packet::PubRec(ack) => ack.reason_code,
        packet => panic!("{packet:?}"),
    }
}

pub(super) fn check_nothing_pending(broker: &mut Broker) {
    for worker in 0..broker.workers() {
        assert_eq!(broker.core(worker).census().pending, 0, "worker {worker}");
    }
}

#[test]
fn an_old_client_waits_for_room_at_another_worker_in_order() {
    for topic_filter in ["a", "$share/g/a"] {
        for qos in QOS_ACKNOWLEDGED {
            let (mut broker, witness) = with_absent(topic_filter, limits(1));
            let old = old(&mut broker);
            send(&mut broker, old, qos, 1..=4);
            assert_eq!(broker.types(old).len(), 1, "the first one had room");
            assert_eq!(broker.core(0).census().pending, 3);
            broker.advance_secs(10);
            assert!(broker.types(old).is_empty() && !broker.is_closed(old));
            broker.send(old, Packet::PingReq);
            assert_eq!(broker.types(old), [PacketType::PingResp], "it is still read");
            let away = back(&mut broker);
            let mut payloads = broker.drain(away);
            broker.advance_secs(1);
            assert_eq!(broker.types(old).len(), 3, "{topic_filter} {qos:?}");
            payloads.extend(broker.drain(away));
            assert_eq!(payloads, ["1", "2", "3", "4"]);
            assert_eq!(broker.drain(witness), ["1", "2", "3", "4"]);
            assert_eq!(broker.counters().dropped_total(), 0);
            check_nothing_pending(&mut broker);
        }
    }
}

#[test]
fn a_message_with_room_elsewhere_waits_behind_one_that_has_none() {
    let (mut broker, _) = with_absent("a", limits(1));
    let there = client_at(&mut broker, 0, 0, "there");
    broker.send(there, subscribe(&["#"], QoS::AtLeastOnce));
    broker.receive(there);
    let old = old(&mut broker);
    send(&mut broker, old, QoS::AtLeastOnce, 1..=2);
    broker.send(old, Packet::Publish(publish("b", "3", QoS::AtLeastOnce, 3)));
    assert_eq!(broker.drain(there), ["1"], "nobody at this worker gets what waits");
    let away = back(&mut broker);
    broker.drain(away);
    broker.advance_secs(1);
    assert_eq!(broker.drain(there), ["2", "3"]);
    assert_eq!(broker.types(old), [PacketType::PubAck; 3]);
}

#[test]
fn what_waits_elsewhere_is_decided_when_its_publisher_goes() {
    for topic_filter in ["a", "$share/g/a"] {
        for takeover in [false, true] {
            let (mut broker, witness) = with_absent(topic_filter, limits(1));
            let first = old(&mut broker);
            send(&mut broker, first, QoS::ExactlyOnce, 1..=2);
            assert_eq!(broker.types(first), [PacketType::PubRec]);
            assert_eq!(broker.drain(witness), ["1", "2"]);
            if !takeover {
                broker.cut(first);
                check_nothing_pending(&mut broker);
            }
            let again = old(&mut broker);
            send(&mut broker, again, QoS::ExactlyOnce, 2..=2);
            assert_eq!(broker.types(again), [PacketType::PubRec], "a repetition");
            assert!(broker.drain(witness).is_empty(), "{topic_filter}, takeover: {takeover}");
            let away = back(&mut broker);
            assert_eq!(broker.drain(away), ["1", "2"]);
            broker.advance_secs(1);
            assert_eq!(broker.counters().dropped_total(), 0);
            check_nothing_pending(&mut broker);
        }
    }
}

#[test]
fn a_publisher_that_goes_leaves_at_most_twice_the_limit() {
    let (mut broker, _) = with_absent("a", limits(2));
    let old = old(&mut broker);
    send(&mut broker, old, QoS::ExactlyOnce, 1..=7);
    assert_eq!(broker.types(old).len(), 2);
    broker.cut(old);
    let counters = broker.counters();
    assert_eq!((counters.queued, counters.dropped_for(DropCause::QueueFull)), (4, 3));
    let away = back(&mut broker);
    assert_eq!(broker.drain(away), ["1", "2", "3", "4"]);
    check_nothing_pending(&mut broker);
}

#[test]
fn a_publisher_that_has_closed_its_side_is_told_of_nothing_that_found_no_room() {
    let (mut broker, _) = with_absent("a", limits(2));
    let first = old(&mut broker);
    send(&mut broker, first, QoS::AtLeastOnce, 1..=5);
    broker.send(first, Packet::Publish(publish("nobody", "", QoS::AtLeastOnce, 7)));
    assert_eq!(broker.types(first), [PacketType::PubAck; 2]);
    broker.close_half(first);
    // Two more are within twice the limit, and what follows is given up [MQTT3-4.6.0-2].
    assert_eq!(broker.types(first), [PacketType::PubAck; 2]);
    let away = back(&mut broker);
    assert_eq!(broker.drain(away), ["1", "2", "3", "4"]);
    send(&mut broker, first, QoS::AtLeastOnce, 6..=6);
    assert!(broker.types(first).is_empty(), "it may not overtake the one that was refused");
    assert!(!broker.is_closed(first), "its DISCONNECT may follow");
    broker.send(first, Packet::PingReq);
    assert_eq!(broker.types(first), [PacketType::PingResp]);
    assert_eq!(broker.counters().dropped_for(DropCause::Refused), 1);
    assert_eq!(broker.counters().dropped_total(), 1);
    broker.cut(first);
    let again = old(&mut broker);
    send(&mut broker, again, QoS::AtLeastOnce, 5..=6);
    assert_eq!(broker.types(again), [PacketType::PubAck; 2]);
    assert_eq!(broker.drain(away), ["5", "6"]);
    check_nothing_pending(&mut broker);
}

#[test]
fn a_new_client_is_refused_before_anybody_at_the_other_worker_has_the_message() {
    for topic_filter in ["a", "$share/g/a"] {
        for qos in QOS_ACKNOWLEDGED {
            let (mut broker, witness) = with_absent(topic_filter, limits(1));
            let publisher = client_at(&mut broker, 1, 1, "pub");
            let local = client_at(&mut broker, 0, 0, "pub");
            send(&mut broker, publisher, qos, 1..=1);
            assert_eq!(code(&mut broker, publisher), ReasonCode::Success);
            send(&mut broker, publisher, qos, 2..=2);
            assert_eq!(code(&mut broker, publisher), ReasonCode::QuotaExceeded);
            assert_eq!(broker.counters().dropped_for(DropCause::Refused), 1);
            broker.drain(witness);
            // From the worker of the full queue nothing is even forwarded.
            send(&mut broker, local, qos, 3..=3);
            assert_eq!(code(&mut broker, local), ReasonCode::QuotaExceeded);
            assert!(broker.drain(witness).is_empty(), "{topic_filter} {qos:?}");
            let away = back(&mut broker);
            assert_eq!(broker.drain(away), ["1"]);
        }
    }
}

#[test]
fn what_waits_for_a_member_that_leaves_goes_to_another_worker() {
    let mut broker = Broker::with(3, limits(1));
    let away = client_at(&mut broker, 0, 0, "away");
    broker.send(away, subscribe(&["$share/g/a"], QoS::ExactlyOnce));
    broker.cut(away);
    let old = old(&mut broker);
    send(&mut broker, old, QoS::ExactlyOnce, 1..=2);
    assert_eq!(broker.types(old), [PacketType::PubRec]);
    let member = client_at(&mut broker, 2, 2, "member");
    broker.send(member, subscribe(&["$share/g/a"], QoS::ExactlyOnce));
    broker.receive(member);
    let name = name_at(&broker, 0, "away");
    broker.join(connect(&name));
    broker.advance_secs(1);
    assert_eq!(broker.drain(member), ["1", "2"]);
    assert_eq!(broker.types(old), [PacketType::PubRec]);
    check_nothing_pending(&mut broker);
}

#[test]
fn a_session_with_many_ways_to_a_message_has_all_or_nothing_of_it() {
    let mut broker = Broker::with(1, limits(2));
    let name = "away";
    let (away, _) = broker.join(connect(name).expiry(60));
    broker.send(away, subscribe(&["a", "$share/g/a", "$share/h/a"], QoS::ExactlyOnce));
    broker.send(away, subscribe(&["b"], QoS::ExactlyOnce));
    broker.cut(away);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("b", "0", QoS::ExactlyOnce, 9)));
    assert_eq!(code(&mut broker, publisher), ReasonCode::Success);
    for (at, expected) in [(1, ReasonCode::Success), (2, ReasonCode::QuotaExceeded)] {
        send(&mut broker, publisher, QoS::ExactlyOnce, at..=at);
        assert_eq!(code(&mut broker, publisher), expected);
    }
    let (away, _) = broker.join(connect(name).resume().expiry(60));
    assert_eq!(broker.drain(away), ["0", "1", "1", "1"]);
}

#[test]
fn the_member_that_was_asked_for_room_gets_the_message_though_it_is_busier_by_then() {
    for topic_filter in ["a", "$share/h/a"] {
        let mut broker = Broker::with(1, limits(1));
        let both = broker.client("both");
        broker.send(both, subscribe(&[topic_filter], QoS::AtLeastOnce));
        broker.send(both, subscribe(&["$share/g/a"], QoS::AtMostOnce));
        let (slow, _) = broker.join(connect("slow").receive_maximum(1));
        broker.send(slow, subscribe(&["$share/g/a"], QoS::AtLeastOnce));
        let publisher = broker.client("pub");
        send(&mut broker, publisher, QoS::AtLeastOnce, 1..=10);
        assert!(broker.counters().queued <= 1, "{topic_filter}: {:?}", broker.counters());
    }
}

#[test]
fn copies_of_a_message_do_not_wait_for_each_other() {
    for queued in [0, 1] {
        let mut broker = Broker::build(2, limits(1 + usize::from(queued)), true);
        let name = name_at(&broker, 0, "both");
        broker.accepting = 0;
        let (both, _) = broker.join(connect(&name).expiry(60));
        broker.send(both, subscribe(&["a", "$share/g/a", "b"], QoS::ExactlyOnce));
        broker.cut(both);
        let old = old(&mut broker);
        let new = client_at(&mut broker, 1, 1, "new");
        for at in 1..=queued {
            broker.send(new, Packet::Publish(publish("b", "before", QoS::AtLeastOnce, at)));
            assert_eq!(code(&mut broker, new), ReasonCode::Success);
        }
        for (publisher, number) in [(old, "1"), (new, "2")] {
            broker.send(publisher, Packet::Publish(publish("a", number, QoS::ExactlyOnce, 9)));
            assert_eq!(code(&mut broker, publisher), ReasonCode::Success, "{number}, {queued}");
            let (both, _) = broker.join(connect(&name).resume().expiry(60));
            assert_eq!(
                broker.drain(both).len(),
                2 + usize::from(queued) * usize::from(publisher == old)
            );
            broker.cut(both);
        }
        assert_eq!(broker.counters().dropped_total(), 0);
        check_nothing_pending(&mut broker);
    }
}

#[test]
fn messages_do_not_wait_for_each_other() {
    let mut broker = Broker::build(2, limits(1), true);
    let subscribers: [Link; 2] = std::array::from_fn(|worker| {
        let link = client_at(&mut broker, worker, worker, "sub");
        broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
        broker.receive(link);
        link
    });
    let publishers: [Link; 2] = std::array::from_fn(|worker| {
        let name = name_at(&broker, worker, "old");
        broker.join(connect_v311(&name, false)).0
    });
    // Each has room at its own worker, and finds none at the other one.
    broker.prompt = false;
    for publisher in publishers {
        send(&mut broker, publisher, QoS::ExactlyOnce, 1..=3);
        broker.read(publisher.0);
    }
    broker.prompt = true;
    broker.run();
    broker.advance_secs(1);
    for (publisher, subscriber) in publishers.into_iter().zip(subscribers) {
        assert_eq!(broker.types(publisher), [PacketType::PubRec; 3]);
        let mut payloads = broker.drain(subscriber);
        payloads.sort_unstable();
        assert_eq!(payloads, ["1", "1", "2", "2", "3", "3"]);
    }
    assert_eq!(broker.counters().dropped_total(), 0);
    check_nothing_pending(&mut broker);
}

#[test]
fn what_is_taken_later_waits_though_its_worker_has_taken_less() {
    let mut broker = Broker::build(2, limits(1), true);
    let away = client_at(&mut broker, 0, 0, "away");
    broker.send(away, subscribe(&["a"], QoS::ExactlyOnce));
    broker.cut(away);
    let there = client_at(&mut broker, 1, 1, "there");
    broker.send(there, subscribe(&["a", "b"], QoS::ExactlyOnce));
    broker.receive(there);
    let busy = old(&mut broker);
    for at in 1..=10 {
        broker.send(busy, Packet::Publish(publish("b", "", QoS::ExactlyOnce, at)));
    }
    broker.drain(there);
    assert_eq!(broker.types(busy), [PacketType::PubRec; 10]);
    // The second one finds no room with who is away, and is undecided where it has room.
    send(&mut broker, busy, QoS::ExactlyOnce, 11..=12);
    assert_eq!(broker.types(busy), [PacketType::PubRec]);
    assert_eq!(broker.drain(there), ["11"]);
    let name = name_at(&broker, 0, "other");
    let other = broker.join(connect_v311(&name, false)).0;
    broker.send(other, Packet::Publish(publish("b", "13", QoS::ExactlyOnce, 1)));
    broker.advance_secs(1);
    assert!(broker.types(other).is_empty(), "what is before it was taken first");
    assert_eq!(broker.counters().queued, 2, "no queue is beyond its limit");
    let away = back(&mut broker);
    broker.advance_secs(1);
    assert_eq!(broker.drain(away), ["11", "12"]);
    assert_eq!(broker.drain(there), ["12", "13"]);
    for publisher in [busy, other] {
        assert_eq!(broker.types(publisher), [PacketType::PubRec]);
    }
    check_nothing_pending(&mut broker);
}

#[test]
fn a_session_with_many_ways_to_a_message_takes_all_copies_in_turn() {
    let mut broker = Broker::build(2, limits(1), true);
    let name = name_at(&broker, 0, "all");
    broker.accepting = 0;
    let (all, _) = broker.join(connect(&name).expiry(60));
    let filters = ["a", "$share/g/a", "$share/h/a", "$share/i/a"];
    broker.send(all, subscribe(&filters, QoS::ExactlyOnce));
    broker.receive(all);
    let old = old(&mut broker);
    send(&mut broker, old, QoS::ExactlyOnce, 1..=2);
    assert_eq!(broker.types(old), [PacketType::PubRec; 2]);
    assert_eq!(broker.drain(all), ["1", "1", "1", "1", "2", "2", "2", "2"]);
    assert_eq!(broker.counters().dropped_total(), 0);
    check_nothing_pending(&mut broker);
}

#[test]
fn what_a_member_that_ends_leaves_undecided_goes_to_another_one_once_it_is_decided() {
    for granted in QOS_ACKNOWLEDGED {
        for is_refused in [false, true] {
            let mut broker = Broker::build(3, limits(1), true);
            let member = client_at(&mut broker, 0, 0, "member");
            broker.send(member, subscribe(&["$share/g/a"], granted));
            let full = client_at(&mut broker, 2, 2, "second");
            broker.send(full, subscribe(&["a"], QoS::ExactlyOnce));
            broker.cut(full);
            let first = old(&mut broker);
            send(&mut broker, first, QoS::ExactlyOnce, 1..=2);
            assert_eq!(broker.drain(member), ["1"], "the other one waits for room elsewhere");
            let heir = client_at(&mut broker, 0, 0, "heir");
            broker.send(heir, subscribe(&["$share/g/a"], QoS::ExactlyOnce));
            broker.receive(heir);
            broker.cut(member);
            let name = name_at(&broker, 0, "member");
            broker.join(connect(&name));
            assert!(broker.drain(heir).is_empty(), "it may come again");
            if is_refused {
                broker.core(2).handle_store_ready(false);
                broker.cut(first);
                broker.core(2).handle_store_ready(true);
                assert!(broker.drain(heir).is_empty(), "it comes again");
            }
            let full = resume(&mut broker, 2, "second");
            assert_eq!(broker.drain(full), ["1"]);
            if is_refused {
                let again = old(&mut broker);
                send(&mut broker, again, QoS::ExactlyOnce, 2..=2);
            }
            broker.advance_secs(1);
            assert_eq!(broker.drain(heir), ["2"], "{granted:?}, refused: {is_refused}");
            assert_eq!(broker.drain(full), ["2"]);
            assert_eq!(broker.counters().dropped_for(DropCause::SessionEnded), 0);
            check_nothing_pending(&mut broker);
        }
    }
}

#[test]
fn what_a_worker_withdraws_of_its_own_makes_room_for_what_waits_there() {
    let mut broker = Broker::build(2, limits(1), true);
    for (worker, prefix, topic_filter) in [(0, "first", "#"), (1, "second", "a")] {
        let link = client_at(&mut broker, worker, worker, prefix);
        broker.send(link, subscribe(&[topic_filter], QoS::ExactlyOnce));
        broker.cut(link);
    }
    let name = name_at(&broker, 0, "local");
    let local = broker.join(connect_v311(&name, false)).0;
    send(&mut broker, local, QoS::ExactlyOnce, 1..=1);
    let link = resume(&mut broker, 0, "first");
    assert_eq!(broker.drain(link), ["1"]);
    broker.cut(link);
    send(&mut broker, local, QoS::ExactlyOnce, 2..=2);
    let other = waiting_client(&mut broker, 3);
    broker.send(other, Packet::Publish(publish("b", "3", QoS::ExactlyOnce, 3)));
    assert!(broker.types(other).is_empty(), "the one before it is not decided");
    broker.core(1).handle_store_ready(false);
    broker.cut(local);
    broker.core(1).handle_store_ready(true);
    assert_eq!(broker.types(other), [PacketType::PubRec], "before the other one comes again");
    let link = resume(&mut broker, 0, "first");
    assert_eq!(broker.drain(link), ["3"]);
    check_nothing_pending(&mut broker);
}

/// Worker 1 has a message in the full queue of a session of worker 0 that is away, and it is not
/// decided: it waits for room in the full queue of another one, of worker 2. Two more publishers
/// wait for it, each with a message for the first session.
fn undecided() -> (Broker, [Link; 3]) {
    let mut broker = Broker::build(3, limits(1), true);
    for (worker, prefix, topic_filters) in [(0, "first", "#"), (2, "second", "a")] {
        let link = client_at(&mut broker, worker, worker, prefix);
        broker.send(link, subscribe(&[topic_filters], QoS::ExactlyOnce));
        broker.cut(link);
    }
    let first = old(&mut broker);
    send(&mut broker, first, QoS::ExactlyOnce, 1..=1);
    assert_eq!(broker.types(first), [PacketType::PubRec]);
    let link = resume(&mut broker, 0, "first");
    assert_eq!(broker.drain(link), ["1"]);
    broker.cut(link);
    send(&mut broker, first, QoS::ExactlyOnce, 2..=2);
    let [second, third] = [3, 4].map(|number| {
        let link = waiting_client(&mut broker, number);
        let message = publish("b", &number.to_string(), QoS::ExactlyOnce, number);
        broker.send(link, Packet::Publish(message));
        link
    });
    (broker, [first, second, third])
}

fn resume(broker: &mut Broker, worker: usize, prefix: &str) -> Link {
    let name = name_at(broker, worker, prefix);
    broker.join(connect(&name).resume().expiry(60)).0
}

/// An MQTT 3.1.1 Client at worker 1.
fn waiting_client(broker: &mut Broker, number: u16) -> Link {
    let name = name_at(broker, 1, &format!("waits-{number}"));
    broker.join(connect_v311(&name, false)).0
}

#[test]
fn nobody_is_told_that_a_message_is_taken_which_has_no_room_behind_an_undecided_one() {
    let (mut broker, [first, second, third]) = undecided();
    broker.advance_secs(6);
    assert_eq!(broker.types(second), [PacketType::PubRec], "it is within twice the limit");
    for link in [first, third] {
        assert!(broker.types(link).is_empty() && !broker.is_closed(link));
    }
    broker.advance_secs(6);
    assert!(broker.is_closed(third), "it can't be told, and sends the message again");
    assert!(!broker.is_closed(first) && !broker.is_closed(second));
    assert_eq!(broker.counters().dropped_for(DropCause::QueueFull), 0);

    let link = resume(&mut broker, 2, "second");
    assert_eq!(broker.drain(link), ["1"]);
    broker.advance_secs(1);
    assert_eq!(broker.drain(link), ["2"]);
    assert_eq!(broker.types(first), [PacketType::PubRec]);
    let link = resume(&mut broker, 0, "first");
    assert_eq!(broker.drain(link), ["2", "3"]);
    let third = waiting_client(&mut broker, 4);
    broker.send(third, Packet::Publish(publish("b", "4", QoS::ExactlyOnce, 4)));
    assert_eq!(broker.types(third), [PacketType::PubRec]);
    assert_eq!(broker.drain(link), ["4"]);
    check_nothing_pending(&mut broker);
}

/// Two publishers at two workers: a message of QoS 1 of each waits for room behind the undecided one
/// of QoS 2 that the other has sent after its own.
#[test]
fn messages_do_not_wait_for_what_is_behind_them() {
    let mut broker = Broker::build(2, limits(1), true);
    let subscribers: [Link; 2] = std::array::from_fn(|worker| {
        let link = client_at(&mut broker, worker, worker, "sub");
        let own = ["at-0", "at-1"][worker];
        broker.send(link, subscribe(&[own, "both"], QoS::ExactlyOnce));
        broker.receive(link);
        link
    });
    let neighbours: [Link; 2] = std::array::from_fn(|worker| {
        let link = client_at(&mut broker, worker, worker, "neighbour");
        broker.send(link, subscribe(&[["at-0", "at-1"][worker]], QoS::AtLeastOnce));
        broker.receive(link);
        link
    });
    let join = |broker: &mut Broker, worker: usize| {
        let name = name_at(broker, worker, "old");
        broker.join(connect_v311(&name, false)).0
    };
    let send_all = |broker: &mut Broker, link: Link, worker: usize| {
        let other = ["at-1", "at-0"][worker];
        for (identifier, topic_name, qos) in [
            (1, other, QoS::AtLeastOnce),
            (2, other, QoS::AtLeastOnce),
            (3, "both", QoS::ExactlyOnce),
        ] {
            let payload = format!("{worker}-{identifier}");
            broker.send(link, Packet::Publish(publish(topic_name, &payload, qos, identifier)));
        }
    };
    let publishers: [Link; 2] = std::array::from_fn(|worker| join(&mut broker, worker));
    broker.prompt = false;
    for (worker, link) in publishers.into_iter().enumerate() {
        send_all(&mut broker, link, worker);
        broker.read(link.0);
    }
    broker.prompt = true;
    broker.run();
    for (link, worker) in subscribers.into_iter().zip(0..) {
        assert!(broker.drain(link).is_empty(), "{worker}: each waits for the other");
    }
    broker.advance_secs(11);
    for (worker, link) in publishers.into_iter().enumerate() {
        if broker.is_closed(link) {
            let again = join(&mut broker, worker);
            send_all(&mut broker, again, worker);
        }
    }
    broker.advance_secs(1);
    for (link, worker) in subscribers.into_iter().zip([1, 0]) {
        let mut payloads = broker.drain(link);
        payloads.sort_unstable();
        assert_eq!(payloads.iter().filter(|payload| payload.ends_with("-3")).count(), 2);
        payloads.dedup();
        let mut expected: Vec<_> = (1..=3).map(|number| format!("{worker}-{number}")).collect();
        expected.push(format!("{}-3", 1 - worker));
        expected.sort_unstable();
        assert_eq!(payloads, expected);
    }
    for (link, worker) in neighbours.into_iter().zip([1, 0]) {
        let payloads = broker.drain(link);
        let second = payloads.iter().filter(|payload| payload.ends_with("-2")).count();
        assert_eq!(second, 1, "what {worker} has sent was refused as a whole: {payloads:?}");
    }
    assert_eq!(broker.counters().dropped_for(DropCause::QueueFull), 0);
    check_nothing_pending(&mut broker);
}

#[test]
fn the_time_without_a_store_does_not_count_as_waiting_for_an_undecided_message() {
    let (mut broker, links) = undecided();
    broker.core(0).handle_store_ready(false);
    broker.advance_secs(20);
    broker.core(0).handle_store_ready(true);
    broker.advance_secs(4);
    for link in links {
        assert!(broker.types(link).is_empty() && !broker.is_closed(link));
    }
    broker.advance_secs(2);
    assert_eq!(broker.types(links[1]), [PacketType::PubRec], "now it has waited for long");
    assert!(!broker.is_closed(links[2]));
}

#[test]
fn a_publisher_that_goes_sends_again_what_found_no_room_at_all() {
    let (mut broker, [first, second, third]) = undecided();
    for link in [second, third] {
        broker.cut(link);
    }
    assert_eq!(broker.counters().dropped_for(DropCause::QueueFull), 0);
    for number in [3, 4] {
        let link = waiting_client(&mut broker, number);
        let message = publish("b", &number.to_string(), QoS::ExactlyOnce, number);
        broker.send(link, Packet::Publish(message));
        let types: &[_] = if number == 3 { &[PacketType::PubRec] } else { &[] };
        assert_eq!(broker.types(link), types, "{number}");
    }
    let link = resume(&mut broker, 2, "second");
    broker.drain(link);
    broker.advance_secs(1);
    assert_eq!(broker.types(first), [PacketType::PubRec]);
    let link = resume(&mut broker, 0, "first");
    let mut payloads = broker.drain(link);
    broker.advance_secs(1);
    payloads.extend(broker.drain(link));
    assert_eq!(payloads, ["2", "3", "4"]);
    check_nothing_pending(&mut broker);
}

#[test]
fn a_late_decision_counts_for_no_message_of_a_later_session_after_a_crash() {
    let mut broker = Broker::build(3, limits(1), true);
    for (worker, prefix, topic_filters) in [(0, "first", &["a"][..]), (2, "second", &["a", "b"])] {
        let link = client_at(&mut broker, worker, worker, prefix);
        broker.send(link, subscribe(topic_filters, QoS::ExactlyOnce));
        broker.cut(link);
    }
    let old = old(&mut broker);
    broker.send(old, Packet::Publish(publish("b", "0", QoS::AtLeastOnce, 9)));
    assert_eq!(broker.types(old), [PacketType::PubAck]);
    // One message each for the session of a Client that then has another one, and for the later
    // one; both wait for room elsewhere.
    send(&mut broker, old, QoS::ExactlyOnce, 1..=1);
    let name = name_at(&broker, 0, "first");
    let (first, _) = broker.join(connect(&name).expiry(60));
    broker.send(first, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(first);
    let other = waiting_client(&mut broker, 4);
    send(&mut broker, other, QoS::ExactlyOnce, 2..=2);
    let second = resume(&mut broker, 2, "second");
    assert_eq!(broker.drain(second), ["0"]);
    broker.cut(second);
    broker.advance_secs(1);
    assert_eq!(broker.types(old), [PacketType::PubRec]);
    assert!(broker.types(other).is_empty() && broker.drain(first).is_empty());

    broker.restart();
    let first = resume(&mut broker, 0, "first");
    assert!(broker.drain(first).is_empty(), "its publisher sends it again");
    let second = resume(&mut broker, 2, "second");
    assert_eq!(broker.drain(second), ["1"]);
    let other = waiting_client(&mut broker, 4);
    send(&mut broker, other, QoS::ExactlyOnce, 2..=2);
    assert_eq!(broker.types(other), [PacketType::PubRec]);
    assert_eq!(broker.drain(first), ["2"]);
    assert_eq!(broker.drain(second), ["2"]);
    check_nothing_pending(&mut broker);
}

#[test]
fn who_could_not_be_told_of_a_refusal_elsewhere_is_told_later_and_nobody_gets_the_message_twice() {
    for stores in [true, false] {
        let mut broker = Broker::build(2, limits(1), stores);
        let away = client_at(&mut broker, 0, 0, "away");
        broker.send(away, subscribe(&["a"], QoS::ExactlyOnce));
        broker.cut(away);
        let witness = client_at(&mut broker, 1, 1, "witness");
        broker.send(witness, subscribe(&["a"], QoS::ExactlyOnce));
        broker.receive(witness);
        let publisher = client_at(&mut broker, 1, 1, "pub");
        send(&mut broker, publisher, QoS::ExactlyOnce, 1..=1);
        assert_eq!(code(&mut broker, publisher), ReasonCode::Success);
        assert_eq!(broker.drain(witness), ["1"]);
        // The other worker has not answered yet when the connection ends.
        broker.prompt = false;
        send(&mut broker, publisher, QoS::ExactlyOnce, 2..=2);
        broker.read(publisher.0);
        broker.settle(1);
        broker.cut(publisher);
        broker.prompt = true;
        broker.run();
        let given = broker.drain(witness);
        assert_eq!(given.is_empty(), stores, "with a store it is given to nobody");
        let away = back(&mut broker);
        assert_eq!(broker.drain(away), ["1"]);

        let publisher = resume(&mut broker, 1, "pub");
        let mut again = publish("a", "2", QoS::ExactlyOnce, 2);
        again.delivery = Delivery::ExactlyOnce { packet_identifier: identifier(2), dup: true };
        broker.send(publisher, Packet::Publish(again));
        assert_eq!(code(&mut broker, publisher), ReasonCode::QuotaExceeded);
        assert!(broker.drain(witness).is_empty() && broker.drain(away).is_empty());
        // Its application may publish it anew.
        send(&mut broker, publisher, QoS::ExactlyOnce, 2..=2);
        assert_eq!(code(&mut broker, publisher), ReasonCode::Success);
        assert_eq!(broker.drain(witness), ["2"]);
        assert_eq!(broker.drain(away), ["2"]);
        check_nothing_pending(&mut broker);
    }
}
