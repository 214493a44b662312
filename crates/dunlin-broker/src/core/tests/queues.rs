//! Queues: their limits under each policy, held publishes, slow readers, QoS 0.

use super::*;
use crate::core::DropCause;
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{Ack, Packet, PacketType, QoS, ReasonCode};

fn limits(queue_len_max: usize, queue_policy: QueuePolicy) -> Limits {
    Limits { queue_len_max, queue_policy, sys_interval_secs: 0, ..Limits::default() }
}

/// A broker with a persistent subscriber of `a` that is away.
fn with_absent(limits: Limits) -> Broker {
    let mut broker = Broker::with(1, limits);
    let (link, _) = broker.join(connect("sub").expiry(u32::MAX));
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    broker.cut(link);
    broker
}

fn back(broker: &mut Broker) -> Vec<String> {
    let (link, _) = broker.join(connect("sub").resume().expiry(u32::MAX));
    broker.drain(link)
}

#[test]
fn a_full_queue_refuses_drops_the_oldest_or_the_newest() {
    const MAX: u16 = 5;
    for policy in [QueuePolicy::Refuse, QueuePolicy::DropOldest, QueuePolicy::DropNewest] {
        for count in [MAX, MAX + 1, 10 * MAX] {
            let mut broker = with_absent(limits(usize::from(MAX), policy));
            let publisher = broker.client("pub");
            for at in 1..=count {
                let packet = publish("a", &at.to_string(), QoS::AtLeastOnce, at);
                broker.send(publisher, Packet::Publish(packet));
                let refused = policy == QueuePolicy::Refuse && at > MAX;
                let reason_code =
                    if refused { ReasonCode::QuotaExceeded } else { ReasonCode::Success };
                let expected = Packet::PubAck(Ack::new(identifier(at), reason_code));
                assert_eq!(broker.receive_one(publisher), expected);
            }
            let counters = broker.counters();
            assert_eq!(counters.queued, u64::from(MAX));
            let over = u64::from(count - MAX);
            let cause = match policy {
                QueuePolicy::Refuse => DropCause::Refused,
                _ => DropCause::QueueFull,
            };
            assert_eq!((counters.dropped_for(cause), counters.dropped_total()), (over, over));
            let kept: Vec<_> = match policy {
                QueuePolicy::DropOldest => count - MAX + 1..=count,
                _ => 1..=MAX,
            }
            .map(|at| at.to_string())
            .collect();
            assert_eq!(back(&mut broker), kept, "{policy:?}, {count}");
            let counters = broker.counters();
            assert_eq!((counters.queued, counters.queued_bytes), (0, 0));
        }
    }
}

#[test]
fn a_queue_is_limited_in_bytes_and_one_message_always_fits() {
    let bytes = Limits { queue_bytes_max: 1000, ..limits(1000, QueuePolicy::DropNewest) };
    let mut broker = with_absent(bytes);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", &"x".repeat(5000), QoS::AtLeastOnce, 1)));
    assert_eq!(broker.counters().queued, 1);
    assert_eq!(back(&mut broker).len(), 1);
    let bytes = Limits { queue_bytes_max: 1000, ..limits(1000, QueuePolicy::DropNewest) };
    let mut broker = with_absent(bytes);
    let publisher = broker.client("pub");
    for at in 1..=50 {
        broker
            .send(publisher, Packet::Publish(publish("a", &"x".repeat(90), QoS::AtLeastOnce, at)));
    }
    let counters = broker.counters();
    assert!(counters.queued_bytes <= 1000 && counters.queued >= 8, "{counters:?}");
}

#[test]
fn a_publisher_of_mqtt_3_waits_for_room_and_loses_nothing() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut broker = with_absent(limits(2, QueuePolicy::Refuse));
        let (old, _) = broker.join(connect_v311("old", false).keep_alive(10));
        for at in 1..=4 {
            broker.send(old, Packet::Publish(publish("a", &at.to_string(), qos, at)));
        }
        assert_eq!(broker.types(old).len(), 2);
        broker.advance_secs(9);
        assert_eq!(broker.types(old).len(), 0);
        assert_eq!(broker.counters().dropped_total(), 0);
        let (link, _) = broker.join(connect("sub").resume().expiry(u32::MAX));
        let mut payloads = broker.drain(link);
        broker.advance_secs(1);
        assert_eq!(broker.types(old).len(), 2, "the rest is taken once there is room");
        payloads.extend(broker.drain(link));
        assert_eq!(payloads, ["1", "2", "3", "4"]);
    }
}

#[test]
fn a_publisher_that_waits_for_room_is_still_read() {
    let mut broker = with_absent(limits(1, QueuePolicy::Refuse));
    let (old, _) = broker.join(connect_v311("old", true));
    broker.send(old, subscribe(&["to/old"], QoS::AtLeastOnce));
    broker.receive(old);
    for at in 1..=3 {
        broker.send(old, Packet::Publish(publish("a", &at.to_string(), QoS::AtLeastOnce, at)));
    }
    assert_eq!(broker.types(old), [PacketType::PubAck], "one had room, two wait");
    broker.send(old, Packet::PingReq);
    assert_eq!(broker.types(old), [PacketType::PingResp]);
    let other = broker.client("other");
    broker.send(other, Packet::Publish(publish("to/old", "x", QoS::AtLeastOnce, 1)));
    assert_eq!(broker.drain(old), ["x"], "its own acknowledgements are seen");
    let (link, _) = broker.join(connect("sub").resume().expiry(u32::MAX));
    let mut payloads = broker.drain(link);
    broker.advance_secs(1);
    payloads.extend(broker.drain(link));
    assert_eq!(payloads, ["1", "2", "3"]);
}

#[test]
fn a_publisher_that_waits_with_many_bytes_is_read_no_more() {
    let few = Limits { output_bytes_max: 4096, ..limits(1, QueuePolicy::Refuse) };
    let mut broker = with_absent(few);
    let (old, _) = broker.join(connect_v311("old", true));
    for at in 1..=9 {
        let payload = "x".repeat(1000);
        broker.send(old, Packet::Publish(publish("a", &payload, QoS::AtLeastOnce, at)));
    }
    broker.receive(old);
    broker.send(old, Packet::PingReq);
    assert!(broker.types(old).is_empty(), "its input waits for room, too");
}

#[test]
fn a_publisher_that_was_held_is_not_blamed_for_its_silence() {
    let mut broker = with_absent(limits(1, QueuePolicy::Refuse));
    let (old, _) = broker.join(connect_v311("old", true).keep_alive(2));
    for at in 1..=2 {
        broker.send(old, Packet::Publish(publish("a", &at.to_string(), QoS::AtLeastOnce, at)));
    }
    for _ in 0..10 {
        broker.send(old, Packet::PingReq);
        broker.advance_secs(1);
        assert!(!broker.is_closed(old));
    }
    let (link, _) = broker.join(connect("sub").resume().expiry(u32::MAX));
    broker.drain(link);
    broker.prompt = false;
    for _ in 0..10 {
        broker.advance(std::time::Duration::from_millis(100));
    }
    assert!(!broker.is_closed(old), "its input has yet to be looked at");
    broker.prompt = true;
    broker.run();
    assert_eq!(broker.drain(link), ["2"]);
    broker.advance_secs(4);
    assert!(broker.is_closed(old), "Keep Alive counts again");
}

#[test]
fn a_held_publish_that_loses_its_connection_is_taken_when_it_comes_again() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for takeover in [false, true] {
            let mut broker = with_absent(limits(1, QueuePolicy::Refuse));
            let (old, _) = broker.join(connect_v311("old", false));
            broker.send(old, Packet::Publish(publish("a", "1", qos, 1)));
            broker.send(old, Packet::Publish(publish("a", "2", qos, 2)));
            if !takeover {
                broker.cut(old);
            }
            let (again, session_present) = broker.join(connect_v311("old", false));
            assert!(session_present);
            broker.send(again, Packet::Publish(publish("a", "2", qos, 2)));
            assert!(broker.types(again).is_empty(), "there is no room yet: {qos:?}");
            let (link, _) = broker.join(connect("sub").resume().expiry(u32::MAX));
            let mut payloads = broker.drain(link);
            broker.advance_secs(1);
            payloads.extend(broker.drain(link));
            assert_eq!(payloads, ["1", "2"], "{qos:?}");
            assert_eq!(broker.types(again).len(), 1);
        }
    }
}

#[test]
fn a_publisher_is_not_refused_for_a_message_that_it_would_not_get() {
    let mut broker = Broker::with(1, limits(1, QueuePolicy::Refuse));
    let (link, _) = broker.join(connect("both").receive_maximum(1));
    let no_local =
        dunlin_protocol::codec::SubscriptionOptions { no_local: true, ..options(QoS::AtLeastOnce) };
    broker.send(link, subscribe_with(&["a"], no_local, None));
    broker.receive(link);
    let other = broker.client("other");
    for at in 1..=2 {
        broker.send(other, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, at)));
    }
    broker.receive(link);
    broker.send(link, Packet::Publish(publish("a", "own", QoS::AtLeastOnce, 1)));
    let Packet::PubAck(puback) = broker.receive_one(link) else { panic!("no PUBACK") };
    assert!(!puback.reason_code.is_error());
}

#[test]
fn qos_0_for_a_client_that_is_away_is_dropped_and_counted_or_queued_if_wanted() {
    for queue_qos0_offline in [false, true] {
        let limits = Limits { queue_qos0_offline, ..limits(2, QueuePolicy::Refuse) };
        let mut broker = with_absent(limits);
        let publisher = broker.client("pub");
        for at in 1..=3 {
            let packet = publish("a", &at.to_string(), QoS::AtMostOnce, 1);
            broker.send(publisher, Packet::Publish(packet));
        }
        let (queued, dropped) = if queue_qos0_offline { (2, 1) } else { (0, 3) };
        assert_eq!(broker.counters().queued, queued);
        assert_eq!(broker.counters().dropped_for(DropCause::Offline), dropped);
        assert_eq!(back(&mut broker).len() as u64, queued);
    }
}

#[test]
fn qos_0_does_not_overtake_what_was_queued_while_its_client_was_away() {
    let limits = Limits { queue_qos0_offline: true, ..limits(10, QueuePolicy::Refuse) };
    let mut broker = with_absent(limits);
    let publisher = broker.client("pub");
    for (at, qos) in [(1, QoS::AtLeastOnce), (2, QoS::AtLeastOnce), (3, QoS::AtMostOnce)] {
        broker.send(publisher, Packet::Publish(publish("a", &at.to_string(), qos, at)));
    }
    let (link, _) = broker.join(connect("sub").resume().expiry(u32::MAX).receive_maximum(1));
    broker.send(publisher, Packet::Publish(publish("a", "4", QoS::AtMostOnce, 4)));
    assert_eq!(broker.drain(link), ["1", "2", "3", "4"]);
    broker.send(publisher, Packet::Publish(publish("a", "5", QoS::AtMostOnce, 5)));
    assert_eq!(broker.drain(link), ["5"]);
    assert_eq!(broker.counters().dropped_total(), 0);
}

#[test]
fn every_queued_message_of_a_session_that_ends_is_counted() {
    let limits = Limits { queue_qos0_offline: true, ..limits(10, QueuePolicy::Refuse) };
    let mut broker = with_absent(limits);
    let publisher = broker.client("pub");
    for qos in QOS {
        broker.send(publisher, Packet::Publish(publish("a", "x", qos, 1 + u16::from(qos.value()))));
    }
    broker.join(connect("sub"));
    assert_eq!(broker.counters().dropped_for(DropCause::SessionEnded), 3);
    assert_eq!(broker.counters().queued, 0);
}

#[test]
fn a_slow_reader_loses_qos_0_keeps_qos_1_and_harms_nobody() {
    let limits = Limits { output_bytes_max: 100_000, ..limits(1000, QueuePolicy::Refuse) };
    let mut broker = Broker::with(1, limits);
    let slow = broker.client("slow");
    let fast = broker.client("fast");
    for link in [slow, fast] {
        broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
        broker.receive(link);
    }
    broker.block(slow, true);
    let publisher = broker.client("pub");
    for at in 1..=200 {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            broker.send(publisher, Packet::Publish(publish("a", &"x".repeat(1000), qos, at)));
        }
    }
    assert_eq!(broker.drain(fast).len(), 400);
    assert!(broker.output_len(slow) < 110_000);
    let dropped = broker.counters().dropped_for(DropCause::OutputFull);
    assert!(dropped > 100);
    broker.block(slow, false);
    assert_eq!(broker.drain(slow).len() as u64, 400 - dropped);
    assert_eq!(broker.counters().queued, 0);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_not_read_either() {
    let limits = Limits { output_bytes_max: 4096, ..limits(1000, QueuePolicy::Refuse) };
    let mut broker = Broker::with(1, limits);
    let link = broker.client("one");
    broker.block(link, true);
    broker.send_bytes(link, &[0xC0, 0].repeat(10_000));
    assert!(broker.is_paused(link));
    assert!(broker.output_len(link) < 5000);
    broker.block(link, false);
    assert_eq!(broker.types(link), vec![PacketType::PingResp; 10_000]);
}

#[test]
fn a_queue_of_expired_messages_has_room() {
    let mut broker = with_absent(limits(3, QueuePolicy::Refuse));
    let publisher = broker.client("pub");
    for at in 1..=3 {
        let packet = publish("a", "old", QoS::AtLeastOnce, at).expires(10);
        broker.send(publisher, Packet::Publish(packet));
    }
    broker.advance_secs(11);
    broker.receive(publisher);
    for at in 4..=6 {
        broker.send(publisher, Packet::Publish(publish("a", "new", QoS::AtLeastOnce, at)));
        assert_eq!(broker.receive_one(publisher), Packet::PubAck(ack(identifier(at))));
    }
    assert_eq!(back(&mut broker), ["new"; 3]);
    assert_eq!(broker.counters().dropped_for(DropCause::Expired), 3);
}
