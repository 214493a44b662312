//! Queues whose end is in the store alone: their order, and what may happen while a page of one is
//! fetched. (The heads of these brokers hold two messages, three while connected.)

use super::workers::name_at;
use super::*;
use crate::core::{DropCause, QueueHead, QueuePart};
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};
use std::time::Duration;

fn limits(queue_len_max: usize, queue_policy: QueuePolicy) -> Limits {
    Limits { queue_len_max, queue_policy, sys_interval_secs: 0, ..Limits::default() }
}

/// A broker with a store and a subscriber that is away.
fn with_absent(limits: Limits, topic_filters: &[&str]) -> Broker {
    let mut broker = Broker::build(1, limits, true);
    let (link, _) = broker.join(connect("sub").expiry(u32::MAX));
    broker.send(link, subscribe(topic_filters, QoS::ExactlyOnce));
    broker.cut(link);
    broker
}

fn back(broker: &mut Broker, receive_maximum: u16) -> Link {
    let connect = connect("sub").resume().expiry(u32::MAX).receive_maximum(receive_maximum);
    let (link, session_present) = broker.join(connect);
    assert!(session_present);
    link
}

/// Publishes these numbers to their topics, each acknowledged to its end.
fn say(broker: &mut Broker, topic_name: &str, qos: QoS, numbers: std::ops::RangeInclusive<u16>) {
    let publisher = broker.client("pub");
    for at in numbers {
        broker.send(publisher, Packet::Publish(publish(topic_name, &at.to_string(), qos, at)));
        broker.drain(publisher);
    }
    broker.cut(publisher);
}

fn texts(numbers: impl IntoIterator<Item = u16>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

/// How many messages wait for the subscriber, and how many of them are in memory.
fn queued(broker: &mut Broker) -> (usize, usize) {
    let sessions = &broker.core(0).endpoints.sessions;
    let mut sessions = sessions.indices().map(|index| &sessions[index]);
    let session = sessions.find(|session| session.client_identifier.as_str() == "sub");
    let queue = &session.expect("a session").queue;
    (queue.len(), queue.head_len())
}

#[test]
fn a_long_queue_comes_in_its_order_at_any_pace() {
    for receive_maximum in [1, 2, 7, 1000] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut broker = with_absent(limits(1000, QueuePolicy::Refuse), &["a"]);
            say(&mut broker, "a", qos, 1..=100);
            assert_eq!(queued(&mut broker), (100, 2));
            let link = back(&mut broker, receive_maximum);
            assert_eq!(broker.drain(link), texts(1..=100), "{receive_maximum} {qos:?}");
            assert_eq!((broker.counters().queued, broker.counters().queued_bytes), (0, 0));
            say(&mut broker, "a", qos, 101..=102);
            assert_eq!(broker.drain(link), texts(101..=102));
            assert_eq!(broker.counters().dropped_total(), 0);
        }
    }
}

#[test]
fn what_comes_while_a_page_is_fetched_waits_behind_it() {
    let mut broker = with_absent(limits(1000, QueuePolicy::Refuse), &["a"]);
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=5);
    broker.fetches_at_once = false;
    let link = back(&mut broker, 100);
    let mut payloads = broker.drain(link);
    assert_eq!((payloads.len(), broker.fetches()), (2, 1));
    say(&mut broker, "a", QoS::AtLeastOnce, 6..=7);
    payloads.extend(broker.drain(link));
    assert_eq!(payloads.len(), 2, "nothing overtakes what is in the store");
    while broker.give_fetched() {
        broker.run();
        payloads.extend(broker.drain(link));
    }
    assert_eq!(payloads, texts(1..=7));
}

#[test]
fn a_fast_client_goes_on_without_waiting_for_each_page() {
    let mut broker = Broker::build(1, limits(1000, QueuePolicy::Refuse), true);
    broker.queue_head = QueueHead {
        away: QueuePart { len: 2, bytes: 1000 },
        connected: QueuePart { len: 30, bytes: 10_000 },
    };
    broker.restart();
    let (link, _) = broker.join(connect("sub").expiry(u32::MAX));
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    broker.cut(link);
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=100);
    let link = back(&mut broker, 5);
    let packets = broker.receive(link);
    assert_eq!(packets.len(), 5);
    broker.fetches_at_once = false;
    let before = queued(&mut broker).1;
    let mut delivered = packets;
    while broker.fetches() == 0 {
        let packet = delivered.remove(0);
        broker.send(link, super::packets::answer(&packet).expect("a PUBLISH"));
        delivered.extend(broker.receive(link));
    }
    let left = queued(&mut broker).1;
    assert!(left >= 8 && left < before, "{left} of {before} are left when more is fetched");
}

#[test]
fn a_takeover_or_a_new_session_during_a_fetch_gets_what_is_its_own() {
    for clean_start in [false, true] {
        let mut broker = with_absent(limits(1000, QueuePolicy::Refuse), &["a"]);
        say(&mut broker, "a", QoS::AtLeastOnce, 1..=20);
        broker.fetches_at_once = false;
        let first = back(&mut broker, 1000);
        let mut payloads = broker.payloads(first);
        assert_eq!((payloads.len(), broker.fetches()), (2, 1));
        broker.give_fetched();
        payloads.extend(broker.payloads(first));
        assert_eq!((payloads.len(), broker.fetches()), (4, 1));
        if clean_start {
            let (second, _) = broker.join(connect("sub").expiry(u32::MAX));
            broker.send(second, subscribe(&["a"], QoS::ExactlyOnce));
            broker.receive(second);
            broker.cut(second);
            assert_eq!(broker.counters().dropped_for(DropCause::SessionEnded), 20);
            say(&mut broker, "a", QoS::AtLeastOnce, 21..=30);
            let third = back(&mut broker, 1000);
            assert_eq!(broker.fetches(), 2, "that of the old session, and one of the new");
            broker.fetches_at_once = true;
            while broker.give_fetched() {}
            broker.run();
            assert_eq!(broker.drain(third), texts(21..=30));
        } else {
            let second = back(&mut broker, 1000);
            broker.fetches_at_once = true;
            while broker.give_fetched() {}
            broker.run();
            // The first four come again: nobody has acknowledged them.
            assert_eq!(broker.drain(second), texts(1..=20));
        }
        assert_eq!(broker.counters().queued, 0);
    }
}

#[test]
fn a_connection_that_is_lost_gives_its_messages_back_to_the_store() {
    let mut broker = Broker::build(1, limits(1000, QueuePolicy::Refuse), true);
    let (link, _) = broker.join(connect("sub").expiry(u32::MAX).receive_maximum(1));
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(link);
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=20);
    assert_eq!(queued(&mut broker), (19, 3), "one is in flight");
    broker.cut(link);
    assert_eq!(queued(&mut broker), (19, 2));
    let link = back(&mut broker, 3);
    assert_eq!(broker.drain(link), texts(1..=20));
}

// ---- what is not yet decided

/// A publisher at worker 1, whose QoS 2 messages are tentative at worker 0, where a subscriber is
/// away and has the first messages of its queue from somebody else.
fn with_undecided(queue_len_max: usize) -> (Broker, Link, Link) {
    let limits = limits(queue_len_max, QueuePolicy::Refuse);
    let mut broker = Broker::build(2, limits, true);
    let name = name_at(&broker, 0, "away");
    let (away, _) = broker.join(connect(&name).expiry(u32::MAX));
    broker.send(away, subscribe(&["a"], QoS::ExactlyOnce));
    broker.cut(away);
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=4);
    let name = name_at(&broker, 1, "pub");
    let (publisher, _) = broker.join(connect(&name).expiry(600));
    broker.prompt = false;
    for at in 5..=6 {
        let packet = Packet::Publish(publish("a", &at.to_string(), QoS::ExactlyOnce, at));
        broker.send(publisher, packet);
    }
    let worker = broker.worker_of(publisher);
    broker.step(worker);
    while broker.take_mail(0) {}
    broker.settle(0);
    (broker, away, publisher)
}

fn back_at_0(broker: &mut Broker) -> Link {
    let name = name_at(broker, 0, "away");
    let link = broker.connect(connect(&name).resume().expiry(u32::MAX));
    // The connection may begin at the other worker, whose other mail waits.
    let worker = broker.worker_of(link);
    broker.read(link.0);
    if worker != 0 {
        broker.take_mail(0);
    }
    broker.settle(0);
    link
}

#[test]
fn what_is_decided_while_its_page_is_fetched_is_sent_and_nothing_else() {
    let (mut broker, _, publisher) = with_undecided(100);
    broker.fetches_at_once = false;
    broker.accepting = 0;
    let link = back_at_0(&mut broker);
    let mut packets = broker.receive(link);
    assert_eq!(packets.len(), 3, "CONNACK, and what was in memory");
    assert_eq!(broker.fetches(), 1, "with 5 undecided, as the store knows it");
    // Meanwhile it is decided.
    broker.prompt = true;
    broker.run();
    let packets_of_publisher = broker.receive(publisher);
    assert_eq!(packets_of_publisher.len(), 2, "{packets_of_publisher:?}");
    broker.fetches_at_once = true;
    broker.give_fetched();
    broker.run();
    let packets: Vec<Packet> = packets.drain(1..).collect();
    let mut payloads: Vec<String> = packets
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => String::from_utf8_lossy(&publish.payload).into_owned(),
            packet => panic!("{packet:?}"),
        })
        .collect();
    for packet in &packets {
        broker.send(link, answer(packet).expect("a PUBLISH"));
    }
    payloads.extend(broker.drain(link));
    assert_eq!(payloads, texts(1..=6));
}

#[test]
fn what_is_not_decided_waits_though_it_was_fetched() {
    let (mut broker, _, _) = with_undecided(100);
    broker.accepting = 0;
    let link = back_at_0(&mut broker);
    let packets = broker.receive(link);
    assert_eq!(packets.len(), 5, "CONNACK and four messages: {packets:?}");
}

// ---- limits

#[test]
fn the_oldest_make_room_though_they_are_in_the_store() {
    let mut broker = with_absent(limits(10, QueuePolicy::DropOldest), &["a"]);
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=50);
    let dropped = broker.counters().dropped_for(DropCause::QueueFull);
    assert_eq!((broker.counters().queued, dropped), (10, 40));
    // Nothing is given back for a while.
    broker.fetches_at_once = false;
    say(&mut broker, "a", QoS::AtLeastOnce, 51..=60);
    assert!(broker.counters().queued <= 20);
    broker.fetches_at_once = true;
    broker.give_fetched();
    broker.run();
    let counters = broker.counters();
    assert_eq!((counters.queued, counters.dropped_total()), (10, 50));
    let link = back(&mut broker, 100);
    assert_eq!(broker.drain(link), texts(51..=60));
}

#[test]
fn what_is_dropped_for_room_has_a_bound_while_the_store_is_slow() {
    let mut broker = with_absent(limits(10, QueuePolicy::DropOldest), &["a"]);
    broker.fetches_at_once = false;
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=100);
    let counters = broker.counters();
    assert_eq!((counters.queued, counters.dropped_total()), (20, 80));
}

#[test]
fn a_queue_that_has_expired_in_the_store_has_room() {
    let mut broker = with_absent(limits(10, QueuePolicy::Refuse), &["a"]);
    let publisher = broker.client("pub");
    for at in 1..=10 {
        let packet = publish("a", "old", QoS::AtLeastOnce, at).expires(10);
        broker.send(publisher, Packet::Publish(packet));
    }
    broker.receive(publisher);
    broker.advance_secs(11);
    let mut refused = 0;
    for at in 11..=30 {
        let packet = publish("a", &at.to_string(), QoS::AtLeastOnce, at);
        broker.send(publisher, Packet::Publish(packet));
        let Packet::PubAck(ack) = broker.receive_one(publisher) else { panic!("no PUBACK") };
        refused += usize::from(ack.reason_code == ReasonCode::QuotaExceeded);
    }
    assert!(refused <= 10, "{refused} refused");
    let link = back(&mut broker, 100);
    assert_eq!(broker.drain(link).len(), 20 - refused);
    assert_eq!(broker.counters().dropped_for(DropCause::Expired), 10);
}

#[test]
fn the_last_message_of_each_topic_is_kept_in_memory_over_restarts() {
    for tail_from in [None, Some(0), Some(100)] {
        let mut broker = with_absent(limits(4, QueuePolicy::KeepLast), &["#"]);
        for round in 0..20 {
            for (at, topic_name) in ["a", "b", "c"].into_iter().enumerate() {
                let number = 10 * round + u16::try_from(at).expect("few") + 1;
                say(&mut broker, topic_name, QoS::AtLeastOnce, number..=number);
            }
        }
        assert_eq!(broker.counters().dropped_for(DropCause::Replaced), 57);
        say(&mut broker, "d", QoS::AtLeastOnce, 500..=500);
        say(&mut broker, "b", QoS::AtLeastOnce, 501..=501);
        assert_eq!((broker.counters().queued, queued(&mut broker).1), (4, 4));
        broker.tail_from = tail_from;
        broker.restart();
        assert_eq!(queued(&mut broker).1, 4, "{tail_from:?}");
        say(&mut broker, "e", QoS::AtLeastOnce, 502..=502);
        let link = back(&mut broker, 10);
        assert_eq!(broker.drain(link), texts([193, 500, 501, 502]));
        let records = broker.core(0).census();
        assert_eq!(records.notes, 0);
    }
}

// ---- what stays in memory

#[test]
fn qos_0_and_groups_keep_their_place_between_what_is_in_the_store() {
    let limits = Limits { queue_qos0_offline: true, ..limits(1000, QueuePolicy::Refuse) };
    let mut broker = with_absent(limits, &["a", "$share/g/b"]);
    let mut expected = Vec::new();
    for at in 1..=60 {
        let (topic_name, qos) = match at % 5 {
            1 => ("a", QoS::AtMostOnce),
            2 => ("b", QoS::AtLeastOnce),
            3 => ("a", QoS::ExactlyOnce),
            _ => ("a", QoS::AtLeastOnce),
        };
        say(&mut broker, topic_name, qos, at..=at);
        expected.push(at);
    }
    let (all, head) = queued(&mut broker);
    assert!(all == 60 && head <= 3, "{all}, {head}");
    let link = back(&mut broker, 2);
    assert_eq!(broker.drain(link), texts(expected));
}

#[test]
fn messages_of_a_group_beside_the_store_go_to_another_member() {
    let mut broker = with_absent(limits(1000, QueuePolicy::Refuse), &["a", "$share/g/b"]);
    for at in 1..=20 {
        let topic_name = if at % 2 == 0 { "b" } else { "a" };
        say(&mut broker, topic_name, QoS::AtLeastOnce, at..=at);
    }
    let (other, _) = broker.join(connect("other"));
    broker.send(other, subscribe(&["$share/g/b"], QoS::AtLeastOnce));
    broker.receive(other);
    broker.join(connect("sub"));
    assert_eq!(broker.drain(other), texts((1..=20).filter(|at| at % 2 == 0)));
    assert_eq!(broker.counters().dropped_for(DropCause::SessionEnded), 10);
}

// ---- what survives

#[test]
fn a_queue_that_comes_back_as_one_record_goes_on_in_its_order() {
    for tail_from in [None, Some(0), Some(3), Some(100)] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut broker = with_absent(limits(1000, QueuePolicy::Refuse), &["a", "$share/g/b"]);
            broker.tail_from = tail_from;
            say(&mut broker, "a", qos, 1..=10);
            say(&mut broker, "b", qos, 11..=12);
            say(&mut broker, "a", qos, 13..=20);
            // Some are in flight.
            let link = back(&mut broker, 2);
            assert_eq!(broker.payloads(link), texts(1..=2));
            broker.restart();
            assert_eq!(broker.counters().queued, 18);
            say(&mut broker, "a", qos, 21..=25);
            broker.restart();
            let link = back(&mut broker, 3);
            assert_eq!(broker.drain(link), texts(1..=25), "{tail_from:?} {qos:?}");
            say(&mut broker, "a", qos, 26..=26);
            assert_eq!(broker.drain(link), texts(26..=26));
            assert_eq!(broker.counters().queued_bytes, 0);
            broker.restart();
            assert_eq!(broker.counters().queued, 0, "all is settled");
        }
    }
}

#[test]
fn a_session_in_the_store_that_expires_is_counted_and_gone() {
    let mut broker = Broker::build(1, limits(1000, QueuePolicy::Refuse), true);
    broker.tail_from = Some(0);
    let (link, _) = broker.join(connect("sub").expiry(5));
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    broker.cut(link);
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=30);
    broker.crash(broker.log_len().1, 1, Duration::from_secs(1));
    assert_eq!(broker.counters().queued, 30);
    broker.advance_secs(10);
    let counters = broker.counters();
    assert_eq!((counters.queued, counters.queued_bytes), (0, 0));
    assert_eq!(counters.dropped_for(DropCause::SessionEnded), 30);
}

#[test]
fn a_hundred_thousand_messages_take_no_more_memory_than_ten() {
    let mut broker = with_absent(limits(200_000, QueuePolicy::Refuse), &["a"]);
    broker.prompt = false;
    let publisher = broker.open();
    broker.send(publisher, Packet::Connect(Box::new(connect("pub"))));
    let mut places = Vec::new();
    for count in [10_u32, 100_000] {
        while broker.counters().queued < u64::from(count) {
            for at in 1..=1000.min(count) {
                let at = u16::try_from(at).expect("few");
                let packet = publish("a", "payload", QoS::AtLeastOnce, at);
                broker.send(publisher, Packet::Publish(packet));
            }
            broker.step(0);
            broker.take_output(publisher);
        }
        let sessions = &broker.core(0).endpoints.sessions;
        let mut sessions = sessions.indices().map(|index| &sessions[index]);
        let session = sessions.find(|session| session.client_identifier.as_str() == "sub");
        places.push(session.expect("a session").queue.places());
    }
    assert_eq!(places[0], places[1], "places for messages and what is known of them");
}

// ---- what is counted

#[test]
fn what_is_dropped_is_counted_for_its_client_and_told() {
    let limits = Limits { sys_interval_secs: 10, ..limits(10, QueuePolicy::DropOldest) };
    let mut broker = with_absent(limits, &["a"]);
    let watcher = broker.client("watcher");
    broker.send(watcher, subscribe(&["$SYS/broker/clients/+/dropped/#"], QoS::AtMostOnce));
    broker.receive(watcher);
    say(&mut broker, "a", QoS::AtLeastOnce, 1..=15);
    say(&mut broker, "a", QoS::AtMostOnce, 16..=18);
    let dropped = broker.core(0).dropped_of(&"sub".parse().expect("a Client Identifier"));
    assert_eq!(dropped, [(DropCause::Offline, 3), (DropCause::QueueFull, 5)]);
    broker.advance_secs(10);
    let told = |broker: &mut Broker| -> Vec<(String, String, bool)> {
        let messages = broker.messages(watcher);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let messages = messages.iter();
        messages.map(|it| (it.topic_name().to_owned(), text(&it.payload), it.retain)).collect()
    };
    let of = |cause: &str, count: &str| {
        (format!("$SYS/broker/clients/sub/dropped/{cause}"), count.to_owned(), false)
    };
    assert_eq!(told(&mut broker), [of("offline", "3"), of("queue-full", "5")]);
    broker.advance_secs(10);
    assert!(told(&mut broker).is_empty(), "nothing new");
    // The session ends.
    broker.join(connect("sub"));
    broker.advance_secs(10);
    let expected = [of("offline", "3"), of("queue-full", "5"), of("session-ended", "10")];
    assert_eq!(told(&mut broker), expected);
    // At most a hundred at a time.
    for at in 0..150 {
        let (link, _) = broker.join(connect(&format!("client-{at}")).expiry(600));
        broker.send(link, subscribe(&["b"], QoS::AtMostOnce));
        broker.cut(link);
    }
    broker.receive(watcher);
    say(&mut broker, "b", QoS::AtMostOnce, 1..=1);
    for expected in [100, 50, 0] {
        broker.advance_secs(10);
        assert_eq!(told(&mut broker).len(), expected);
    }
}
