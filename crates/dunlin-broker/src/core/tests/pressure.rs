//! Memory that is scarce: what is still taken, and what goes on when it no longer is.

use super::*;
use crate::Limits;
use crate::core::{Door, DropCause, LimitCause, Pressure, PressureLevel};
use dunlin_protocol::Message;
use dunlin_protocol::codec::{Packet, ProtocolVersion, QoS, ReasonCode};
use std::collections::VecDeque;
use std::time::Duration;

fn broker() -> Broker {
    Broker::with(1, Limits { sys_interval_secs: 0, ..Limits::default() })
}

fn press(broker: &mut Broker, level: PressureLevel, spare: u64) {
    let now = broker.now;
    broker.core(0).handle_pressure(now, Pressure { level, spare });
}

fn connack_code(broker: &mut Broker, link: Link) -> ReasonCode {
    match broker.receive(link).first() {
        Some(Packet::ConnAck(connack)) => connack.reason_code,
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

#[test]
fn messages_are_refused_or_wait_and_acknowledgements_are_taken() {
    let mut broker = broker();
    let reader = broker.join(connect("reader").receive_maximum(1)).0;
    broker.send(reader, subscribe(&["a"], QoS::AtLeastOnce));
    assert!(matches!(broker.receive_one(reader), Packet::SubAck(_)));
    let new = broker.client("new");
    let old = broker.join(connect_v311("old", true)).0;
    for at in 1..=3 {
        let payload = at.to_string();
        broker.send(new, Packet::Publish(publish("a", &payload, QoS::AtLeastOnce, at)));
        assert!(matches!(broker.receive_one(new), Packet::PubAck(_)));
    }
    press(&mut broker, PressureLevel::Refuse, 0);
    broker.send(new, Packet::Publish(publish("a", "refused", QoS::AtLeastOnce, 4)));
    let Packet::PubAck(ack) = broker.receive_one(new) else { panic!("no PUBACK") };
    assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
    broker.send(new, Packet::Publish(publish("a", "dropped", QoS::AtMostOnce, 1)));
    assert_eq!(broker.counters().dropped_for(DropCause::MemoryFull), 1);
    broker.send(old, Packet::Publish(publish("a", "4", QoS::AtLeastOnce, 1)));
    broker.send(old, Packet::Publish(publish("a", "5", QoS::AtLeastOnce, 2)));
    assert!(broker.receive(old).is_empty());
    assert!(!broker.is_paused(old), "what makes room may come behind");
    broker.send(old, Packet::PingReq);
    assert!(matches!(broker.receive_one(old), Packet::PingResp));
    broker.send(old, Packet::Publish(publish("b", &"x".repeat(16 << 10), QoS::AtLeastOnce, 3)));
    broker.send(old, Packet::PingReq);
    assert!(broker.receive(old).is_empty());
    assert!(broker.is_paused(old), "no more of it waits");
    broker.send(new, Packet::PingReq);
    assert!(matches!(broker.receive_one(new), Packet::PingResp));
    // Who takes what waits makes room.
    assert_eq!(broker.drain(reader), ["1", "2", "3"]);
    broker.advance(Duration::from_millis(500));
    assert!(broker.receive(old).is_empty());
    assert!(broker.counters().limited_by(LimitCause::MemoryRefused) >= 2);

    press(&mut broker, PressureLevel::Closed, 1 << 20);
    broker.advance_secs(1);
    assert_eq!(broker.receive(old).len(), 4, "all are acknowledged, and the ping is answered");
    broker.send(new, Packet::Publish(publish("a", "6", QoS::AtLeastOnce, 5)));
    assert!(matches!(broker.receive_one(new), Packet::PubAck(ack) if !ack.reason_code.is_error()));
    assert_eq!(broker.drain(reader), ["4", "5", "6"]);
}

#[test]
fn what_takes_a_retained_message_away_is_taken() {
    let mut broker = broker();
    let links = [broker.client("new"), broker.join(connect_v311("old", true)).0];
    let retained = |name: &str, payload: &str, qos, at| {
        Packet::Publish(publish(name, payload, qos, at).retained())
    };
    for name in ["a", "b", "c"] {
        broker.send(links[0], retained(name, "one", QoS::AtMostOnce, 1));
    }
    press(&mut broker, PressureLevel::Refuse, 0);
    broker.send(links[0], retained("a", "", QoS::AtMostOnce, 1));
    assert_eq!(broker.core(0).endpoints.retained.len(), 2);
    for (link, name) in links.into_iter().zip(["b", "c"]) {
        broker.send(link, retained(name, "", QoS::AtLeastOnce, 1));
        assert!(
            matches!(broker.receive_one(link), Packet::PubAck(ack) if !ack.reason_code.is_error())
        );
    }
    assert!(broker.core(0).endpoints.retained.is_empty());
    // Where there is nothing it makes no room.
    broker.send(links[0], retained("c", "", QoS::AtMostOnce, 1));
    assert_eq!(broker.counters().dropped_for(DropCause::MemoryFull), 1);
    broker.send(links[0], retained("c", "", QoS::AtLeastOnce, 2));
    let Packet::PubAck(ack) = broker.receive_one(links[0]) else { panic!("no PUBACK") };
    assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
}

#[test]
fn a_level_that_is_not_renewed_is_over() {
    let mut broker = broker();
    let publisher = broker.client("publisher");
    press(&mut broker, PressureLevel::Refuse, 0);
    for at in 1..=12 {
        broker.advance(Duration::from_millis(900));
        broker.send(publisher, Packet::Publish(publish("a", "refused", QoS::AtLeastOnce, at)));
        let Packet::PubAck(ack) = broker.receive_one(publisher) else { panic!("no PUBACK") };
        assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
        press(&mut broker, PressureLevel::Refuse, 0);
    }
    broker.advance_secs(2);
    broker.send(publisher, Packet::Publish(publish("a", "taken", QoS::AtLeastOnce, 20)));
    let Packet::PubAck(ack) = broker.receive_one(publisher) else { panic!("no PUBACK") };
    assert!(!ack.reason_code.is_error());
    broker.client("new");
    // What was over before begins anew.
    press(&mut broker, PressureLevel::Refuse, 0);
    press(&mut broker, PressureLevel::None, 0);
    press(&mut broker, PressureLevel::Closed, 0);
    broker.advance_secs(2);
    broker.client("another");
}

#[test]
fn nobody_new_is_let_in() {
    for level in [PressureLevel::Closed, PressureLevel::Refuse] {
        let mut broker = broker();
        let known = broker.join(connect("known").resume().expiry(100)).0;
        broker.cut(known);
        press(&mut broker, level, 0);
        for at in 1..=10 {
            let link = broker.connect(connect(&format!("new-{at}")));
            assert_eq!(connack_code(&mut broker, link), ReasonCode::QuotaExceeded);
            assert_eq!(broker.counters().limited_by(LimitCause::MemoryClosed), at);
        }
        let link = broker.connect(connect("known").resume().expiry(100));
        assert_eq!(connack_code(&mut broker, link), ReasonCode::Success);
        assert_eq!(broker.counters().sessions, 1);
        press(&mut broker, PressureLevel::Slow, 0);
        broker.client("new");
    }
}

#[test]
fn a_worker_that_is_behind_lets_nobody_new_in() {
    let mut broker = broker();
    let known = broker.client("known");
    broker.core(0).handle_lag(true);
    for at in 1..=10 {
        let link = broker.connect(connect(&format!("new-{at}")));
        assert_eq!(connack_code(&mut broker, link), ReasonCode::ServerBusy);
        assert_eq!(broker.counters().limited_by(LimitCause::Lag), at);
    }
    broker.send(known, Packet::PingReq);
    assert!(matches!(broker.receive_one(known), Packet::PingResp));
    broker.core(0).handle_lag(false);
    broker.client("new");
}

#[test]
fn who_has_brought_its_share_rests() {
    let mut broker = broker();
    let links = ["one", "two"].map(|name| broker.client(name));
    let keys = links.map(|link| broker.key(link).expect("open"));
    let now = broker.now;
    let may_read = |broker: &mut Broker, at: usize, unfinished| {
        let now = broker.now;
        broker.core(0).read_len_max(now, keys[at], unfinished)
    };
    assert_eq!(may_read(&mut broker, 0, 0), None);
    press(&mut broker, PressureLevel::Slow, 20_000);
    assert_eq!([0, 1].map(|at| may_read(&mut broker, at, 0)), [Some(10_000); 2]);
    let message = |len| Packet::Publish(publish("a", &"x".repeat(len), QoS::AtMostOnce, 1));
    broker.send(links[0], message(4_000));
    assert_eq!(may_read(&mut broker, 0, 0), Some(6_000));
    broker.send(links[0], message(6_000));
    assert_eq!([0, 1].map(|at| may_read(&mut broker, at, 0)), [Some(0), Some(10_000)]);
    // It may have a DISCONNECT behind, which waits for its turn as well.
    broker.send(links[0], disconnect(ReasonCode::Success));
    assert!(!broker.is_closed(links[0]));
    assert_eq!(broker.counters().limited_by(LimitCause::MemorySlowed), 1);
    press(&mut broker, PressureLevel::Slow, 20_000);
    broker.advance(Duration::from_millis(200));
    assert!(broker.is_closed(links[0]));

    // So does who brings an unfinished packet; acknowledgements and such bring nothing.
    broker.core(0).look_after(1 << 20);
    broker.core(0).count_unfinished(keys[1], 4_000);
    broker.send_bytes(links[1], &bytes_of(&Packet::PingReq, ProtocolVersion::V5).repeat(9_000));
    broker.receive(links[1]);
    assert_eq!(may_read(&mut broker, 1, 4_000), Some(10_000));
    broker.core(0).count_unfinished(keys[1], 4_000);
    broker.core(0).count_unfinished(keys[1], 8_000);
    assert_eq!(may_read(&mut broker, 1, 8_000), Some(6_000));
    // At last it is ended, unless what it has begun may be an acknowledgement.
    press(&mut broker, PressureLevel::Last, 4_100);
    assert_eq!(may_read(&mut broker, 1, 4_000), Some(4_100));
    assert_eq!(broker.counters().limited_by(LimitCause::MemoryEnded), 0);
    assert_eq!(may_read(&mut broker, 1, 8_000), Some(0));
    assert_eq!(broker.counters().limited_by(LimitCause::MemoryEnded), 1);
    broker.advance(Duration::from_millis(1));
    broker.run();
    assert!(broker.is_closed(links[1]));
    press(&mut broker, PressureLevel::None, 0);
    let other = broker.client("other");
    let key = broker.key(other).expect("open");
    assert_eq!(broker.core(0).read_len_max(now, key, 8_000), None);
}

#[test]
fn what_a_client_takes_is_acknowledged_behind_what_it_publishes() {
    let mut broker = broker();
    let new = broker.client("new");
    let old = broker.join(connect_v311("old", false)).0;
    broker.send(old, subscribe(&["a"], QoS::AtLeastOnce));
    assert!(matches!(broker.receive_one(old), Packet::SubAck(_)));
    broker.send(new, Packet::Publish(publish("a", "taken", QoS::AtLeastOnce, 1)));
    assert!(matches!(broker.receive_one(new), Packet::PubAck(_)));
    let taken = broker.messages(old);
    assert_eq!(taken.len(), 1);

    press(&mut broker, PressureLevel::Refuse, 0);
    let large = "x".repeat(10 << 10);
    for (at, qos) in
        [(1, QoS::AtLeastOnce), (2, QoS::AtLeastOnce), (3, QoS::AtLeastOnce), (4, QoS::ExactlyOnce)]
    {
        broker.send(old, Packet::Publish(publish(&format!("b/{at}"), &large, qos, at)));
    }
    broker.send(old, Packet::PingReq);
    assert!(matches!(broker.receive_one(old), Packet::PingResp), "it is read on");
    let in_flight = |broker: &mut Broker| {
        let key = broker.key(old).expect("open");
        broker.core(0).endpoints.connection(key).expect("open").protocol.in_flight()
    };
    assert_eq!(in_flight(&mut broker), 1);
    broker.send(old, Packet::PubAck(ack(taken[0].packet_identifier())));
    assert_eq!(in_flight(&mut broker), 0);
    // What it published last is not kept.
    let key = broker.key(old).expect("open");
    assert_eq!(broker.core(0).pending.held[&key].iter().count(), 2);

    // Those that waited are taken, in their order; then it has to begin anew with the others.
    press(&mut broker, PressureLevel::None, 0);
    broker.send(new, subscribe(&["b/#"], QoS::AtLeastOnce));
    broker.advance(Duration::from_millis(200));
    let acks: Vec<_> = broker.receive(old);
    assert_eq!(acks, [1, 2].map(|at| Packet::PubAck(ack(identifier(at)))));
    assert!(broker.is_closed(old));
    let old = broker.join(connect_v311("old", false)).0;
    broker.send(old, Packet::Publish(publish("b/3", &large, QoS::AtLeastOnce, 3)));
    assert!(matches!(broker.receive_one(old), Packet::PubAck(_)));
    broker.send(old, Packet::Publish(publish("b/4", &large, QoS::ExactlyOnce, 4)));
    assert!(matches!(broker.receive_one(old), Packet::PubRec(_)));
    let came = broker.receive(new);
    let names: Vec<_> = came
        .iter()
        .filter_map(|packet| match packet {
            Packet::Publish(publish) => Some(publish.topic_name()),
            _ => None,
        })
        .collect();
    assert_eq!(names, ["b/1", "b/2", "b/3", "b/4"]);
}

#[test]
fn acknowledgements_are_read_behind_as_many_publishes_as_may_wait() {
    let limits = Limits { sys_interval_secs: 0, receive_maximum: 4, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let new = broker.client("new");
    let in_flight = |broker: &mut Broker, link| {
        let key = broker.key(link).expect("open");
        broker.core(0).endpoints.connection(key).expect("open").protocol.in_flight()
    };
    let held = |broker: &mut Broker, link| {
        let key = broker.key(link).expect("open");
        broker.core(0).pending.held[&key].iter().count()
    };
    let small = |at| Packet::Publish(publish(&format!("b/{at}"), "", QoS::AtLeastOnce, at));
    // Those who have something to acknowledge before memory is scarce, and while it is.
    for is_late in [false, true] {
        let old = broker.join(connect_v311("old", true)).0;
        broker.send(old, subscribe(&["a"], QoS::AtLeastOnce));
        assert!(matches!(broker.receive_one(old), Packet::SubAck(_)));
        let give = |broker: &mut Broker| {
            // Of a Will, say.
            let now = broker.now;
            let mut message = Message::new("a".parse().expect("legal"), "taken");
            message.qos = QoS::AtLeastOnce;
            broker.core(0).publish_own(now, None, message);
            broker.run();
        };
        if !is_late {
            give(&mut broker);
        }
        press(&mut broker, PressureLevel::Refuse, 0);
        (1..=6).for_each(|at| broker.send(old, small(at)));
        if is_late {
            assert!(broker.is_paused(old));
            give(&mut broker);
        }
        let taken = broker.messages(old);
        assert_eq!((taken.len(), in_flight(&mut broker, old)), (1, 1));
        broker.send(old, Packet::PubAck(ack(taken[0].packet_identifier())));
        press(&mut broker, PressureLevel::Refuse, 0);
        broker.advance(Duration::from_millis(200));
        assert_eq!(in_flight(&mut broker, old), 0, "it is read on");
        assert_eq!(held(&mut broker, old), 4);
        // What waited is taken, and of the rest nothing.
        broker.send(new, subscribe(&["b/#"], QoS::AtMostOnce));
        press(&mut broker, PressureLevel::None, 0);
        broker.advance(Duration::from_millis(200));
        let acks: Vec<_> = broker.receive(old);
        assert_eq!(acks, [1, 2, 3, 4].map(|at| Packet::PubAck(ack(identifier(at)))));
        assert!(broker.is_closed(old));
    }
}

#[test]
fn who_begins_to_take_something_while_its_publishes_wait_is_read_again() {
    let mut broker = broker();
    let old = broker.join(connect_v311("old", true)).0;
    broker.send(old, subscribe(&["a"], QoS::AtLeastOnce));
    broker.receive(old);
    press(&mut broker, PressureLevel::Refuse, 0);
    broker.send(old, Packet::Publish(publish("b", &"x".repeat(16 << 10), QoS::AtLeastOnce, 1)));
    broker.send(old, Packet::PingReq);
    assert!(broker.is_paused(old));
    // Of a Will, say.
    let now = broker.now;
    let mut message = Message::new("a".parse().expect("legal"), "taken");
    message.qos = QoS::AtLeastOnce;
    broker.core(0).publish_own(now, None, message);
    press(&mut broker, PressureLevel::Refuse, 0);
    broker.advance(Duration::from_millis(200));
    let packets = broker.receive(old);
    assert!(packets.iter().any(|packet| matches!(packet, Packet::PingResp)), "{packets:?}");
}

#[test]
fn unfinished_packets_hold_no_level_for_ever() {
    let mut broker = broker();
    let links = ["small", "middle", "large"].map(|name| broker.client(name));
    let keys = links.map(|link| broker.key(link).expect("open"));
    broker.core(0).look_after(1 << 20);
    let unfinished = |broker: &mut Broker, lens: [usize; 3]| {
        for (key, len) in keys.into_iter().zip(lens) {
            broker.core(0).count_unfinished(key, len);
        }
    };
    let closed = |broker: &mut Broker| {
        broker.run();
        links.map(|link| broker.is_closed(link))
    };
    unfinished(&mut broker, [200, 9_000, 5_000]);
    unfinished(&mut broker, [200, 9_000, 200_000]);
    press(&mut broker, PressureLevel::Slow, 0);
    assert_eq!(closed(&mut broker), [false; 3]);
    for (level, spare) in [(PressureLevel::Closed, 53_000), (PressureLevel::Refuse, 105_000)] {
        press(&mut broker, level, spare);
        assert_eq!(closed(&mut broker), [false; 3], "{level:?}");
    }
    press(&mut broker, PressureLevel::Refuse, 50_000);
    assert_eq!(closed(&mut broker), [false, false, true]);
    assert_eq!(broker.counters().limited_by(LimitCause::MemoryEnded), 1);
    // Who is gone no longer counts, nor does what has come to its end.
    press(&mut broker, PressureLevel::Refuse, 5_000);
    assert_eq!(closed(&mut broker), [false, false, true]);
    unfinished(&mut broker, [200, 0, 0]);
    press(&mut broker, PressureLevel::Refuse, 0);
    assert_eq!(closed(&mut broker), [false, false, true]);
    // Only what may be an acknowledgement stays at last.
    unfinished(&mut broker, [200, 256, 0]);
    press(&mut broker, PressureLevel::Refuse, 0);
    assert_eq!(closed(&mut broker), [false, true, true]);
}

#[test]
fn a_message_that_is_larger_than_the_bound_gets_through_while_messages_are_taken() {
    let mut broker = broker();
    let link = broker.client("large");
    broker.core(0).look_after(1 << 20);
    let message = Packet::Publish(publish("a", &"x".repeat(100_000), QoS::AtLeastOnce, 1));
    let bytes = bytes_of(&message, ProtocolVersion::V5);
    for level in [PressureLevel::Closed, PressureLevel::Refuse] {
        press(&mut broker, PressureLevel::Closed, 10_000);
        broker.send_bytes(link, &bytes[..50_000]);
        press(&mut broker, level, 10_000);
        broker.run();
        if !broker.is_closed(link) {
            broker.send_bytes(link, &bytes[50_000..]);
            broker.advance_secs(2);
            assert!(matches!(broker.receive_one(link), Packet::PubAck(_)), "{level:?}");
        }
    }
    assert!(broker.is_closed(link), "what is refused anyway need not come");
}

#[test]
fn many_unfinished_packets_keep_nobody_out_for_ever() {
    let mut broker = broker();
    let links: Vec<_> = (0..60).map(|at| broker.client(&format!("client-{at}"))).collect();
    broker.core(0).look_after(1 << 20);
    for link in &links {
        let key = broker.key(*link).expect("open");
        broker.core(0).count_unfinished(key, 14 << 20);
    }
    press(&mut broker, PressureLevel::Closed, 25 << 20);
    broker.run();
    let open = links.iter().filter(|link| !broker.is_closed(**link)).count();
    assert_eq!(open, 7, "as many as make up half of what is left");
    assert_eq!(broker.counters().limited_by(LimitCause::MemoryEnded), 53);
    press(&mut broker, PressureLevel::Closed, 25 << 20);
    broker.run();
    assert_eq!(broker.counters().limited_by(LimitCause::MemoryEnded), 53);
}

#[test]
fn what_is_unfinished_counts_wherever_it_was_kept() {
    let limits = Limits { sys_interval_secs: 0, publish_rate_max: 1, ..Limits::default() };
    let mut broker = Broker::with(2, limits);
    let unfinished = |broker: &mut Broker, link| {
        let worker = broker.worker_of(link);
        let key = broker.key(link).expect("open");
        broker.core(worker).pressure.unfinished.get(&key).copied()
    };
    for worker in 0..2 {
        broker.core(worker).look_after(1 << 20);
    }
    let large = Packet::Publish(publish("a", &"x".repeat(50_000), QoS::AtMostOnce, 1));
    let large = bytes_of(&large, ProtocolVersion::V5);
    let (begun, rest) = large.split_at(40_000);
    // Behind CONNECT, wherever the session lives.
    let mut workers: Vec<_> = (0..8)
        .map(|at| {
            let connect = Packet::Connect(Box::new(connect(&format!("client-{at}"))));
            let link = broker.open();
            broker.send_bytes(link, &[&bytes_of(&connect, ProtocolVersion::V5), begun].concat());
            assert_eq!(unfinished(&mut broker, link), Some(40_000), "{at}");
            broker.worker_of(link)
        })
        .collect();
    workers.sort_unstable();
    workers.dedup();
    assert_eq!(workers, [0, 1], "some were moved");
    // Behind what is too fast.
    let link = broker.client("hasty");
    let small =
        bytes_of(&Packet::Publish(publish("a", "", QoS::AtMostOnce, 1)), ProtocolVersion::V5);
    broker.send_bytes(link, &[&small.repeat(3), begun].concat());
    assert!(broker.is_paused(link));
    assert_eq!(unfinished(&mut broker, link), None, "it may be whole packets");
    broker.advance_secs(3);
    assert_eq!(unfinished(&mut broker, link), Some(40_000));
    broker.send_bytes(link, rest);
    assert_eq!(unfinished(&mut broker, link), None);
}

#[test]
fn no_subscription_is_made_but_those_that_are_there() {
    let mut broker = broker();
    let codes = |broker: &mut Broker, link, filters: &[&str]| {
        broker.send(link, subscribe(filters, QoS::AtLeastOnce));
        match broker.receive_one(link) {
            Packet::SubAck(suback) => suback.reason_codes,
            packet => panic!("no SUBACK but {packet:?}"),
        }
    };
    let link = broker.client("reader");
    let granted = ReasonCode::GrantedQoS1;
    assert_eq!(codes(&mut broker, link, &["a"]), [granted]);
    press(&mut broker, PressureLevel::Closed, 0);
    assert_eq!(codes(&mut broker, link, &["b"]), [granted]);
    press(&mut broker, PressureLevel::Refuse, 0);
    let refused = ReasonCode::QuotaExceeded;
    assert_eq!(
        codes(&mut broker, link, &["a", "c", "b", "d"]),
        [granted, refused, granted, refused]
    );
    assert_eq!(broker.counters().limited_by(LimitCause::MemoryRefused), 2);
    broker.send(link, unsubscribe(&["b"]));
    assert!(matches!(broker.receive_one(link), Packet::UnsubAck(_)));
    press(&mut broker, PressureLevel::None, 0);
    assert_eq!(codes(&mut broker, link, &["c"]), [granted]);
}

#[test]
fn who_was_read_beyond_its_share_rests_for_the_rest() {
    let mut broker = broker();
    let link = broker.client("one");
    let key = broker.key(link).expect("open");
    let may_read = |broker: &mut Broker| {
        let now = broker.now;
        broker.core(0).read_len_max(now, key, 0)
    };
    press(&mut broker, PressureLevel::Slow, 10_000);
    // TLS has no smaller pieces.
    broker.core(0).count_brought(key, 32_000);
    for _ in 0..3 {
        assert_eq!(may_read(&mut broker), Some(0));
        press(&mut broker, PressureLevel::Slow, 10_000);
    }
    assert_eq!(may_read(&mut broker), Some(8_000));
    broker.core(0).count_brought(key, 10_000);
    press(&mut broker, PressureLevel::None, 0);
    press(&mut broker, PressureLevel::Slow, 10_000);
    assert_eq!(may_read(&mut broker), Some(10_000), "what was before is forgotten");
}

#[test]
fn memory_is_looked_at_after_what_was_taken_up() {
    let mut broker = broker();
    let reader = broker.join(connect("reader").resume().expiry(100)).0;
    broker.send(reader, subscribe(&["a/#"], QoS::AtLeastOnce));
    broker.cut(reader);
    let publisher = broker.client("publisher");
    let send = |broker: &mut Broker, len| {
        let payload = "x".repeat(len);
        broker.send(publisher, Packet::Publish(publish("a", &payload, QoS::AtLeastOnce, 1)));
        broker.receive(publisher);
        std::mem::take(&mut broker.looks)
    };
    assert_eq!(send(&mut broker, 200_000), 0, "there is no limit");
    broker.core(0).forget_growth();
    broker.core(0).look_after(10_000);
    let looks = [1_000, 1_000, 8_000, 1_000, 20_000].map(|len| send(&mut broker, len));
    assert_eq!(looks, [0, 0, 1, 0, 1]);
    // Small ones count with what each of them takes.
    assert_eq!((0..100).map(|_| send(&mut broker, 1)).sum::<usize>(), 2);
    press(&mut broker, PressureLevel::None, 0);
    let key = broker.key(publisher).expect("open");
    broker.core(0).count_unfinished(key, 10_000);
    assert!(broker.core(0).wants_look());
}

#[test]
fn connections_without_a_session_are_few() {
    let mut broker = broker();
    let door = |broker: &mut Broker| {
        let now = broker.now;
        broker.core(0).door(now)
    };
    let client = broker.client("client");
    let mut fresh: VecDeque<_> = (0..256).map(|_| broker.open()).collect();
    assert_eq!(door(&mut broker), Door::Open, "there is enough memory");
    press(&mut broker, PressureLevel::Slow, 0);
    assert_eq!(door(&mut broker), Door::Open);
    press(&mut broker, PressureLevel::Closed, 0);
    assert_eq!(door(&mut broker), Door::Shut, "nothing was read of any of them");
    broker.cut(fresh.pop_front().expect("one of many"));
    assert_eq!(door(&mut broker), Door::Open, "who has a session does not count");
    broker.advance(Duration::from_millis(1));
    fresh.push_back(broker.open());

    // The one that is silent for longest makes room.
    for _ in 0..300 {
        broker.advance(Duration::from_millis(1));
        press(&mut broker, PressureLevel::Closed, 0);
        let oldest = broker.key(fresh[0]).expect("open");
        assert_eq!(door(&mut broker), Door::InPlaceOf(oldest));
        broker.cut(fresh.pop_front().expect("one of many"));
        fresh.push_back(broker.open());
    }
    // Who was refused, and is only to read that, takes no place.
    broker.block(fresh[0], true);
    broker.send(fresh[0], Packet::Connect(Box::new(connect("new"))));
    assert_eq!(door(&mut broker), Door::Open);
    fresh[0] = broker.open();
    // A part of a CONNECT is none.
    broker.advance(Duration::from_millis(1));
    let part = &bytes_of(&Packet::Connect(Box::new(connect("new"))), ProtocolVersion::V5)[..9];
    broker.send_bytes(fresh[1], part);
    let oldest = broker.key(fresh[1]).expect("open");
    assert_eq!(door(&mut broker), Door::InPlaceOf(oldest));
    broker.send(client, Packet::PingReq);
    assert!(matches!(broker.receive_one(client), Packet::PingResp));
}

#[test]
fn who_has_sent_connect_is_not_put_out() {
    let mut broker = broker().with_logins(Duration::from_secs(10));
    let asked = broker.connect(connect("asked"));
    let asked_key = broker.key(asked).expect("open");
    let fresh: Vec<_> = (0..255).map(|_| broker.open()).collect();
    broker.advance(Duration::from_millis(1));
    press(&mut broker, PressureLevel::Closed, 0);
    let now = broker.now;
    let door = broker.core(0).door(now);
    assert!(fresh.iter().any(|link| broker.key(*link).map(Door::InPlaceOf) == Some(door)));
    for link in fresh {
        broker.send(link, Packet::Connect(Box::new(connect("asks"))));
    }
    assert_eq!(broker.key(asked), Some(asked_key));
    assert_eq!(broker.core(0).door(now), Door::Shut);
}

#[test]
fn tables_give_back_what_a_crowd_has_needed() {
    let mut broker = Broker::with(2, Limits { sys_interval_secs: 0, ..Limits::default() });
    let stays = broker.join(connect("stays").expiry(100)).0;
    broker.send(stays, subscribe(&["stays", "$share/group/stays"], QoS::AtLeastOnce));
    broker.receive(stays);
    let crowd: Vec<_> = (0..200).map(|at| broker.client(&format!("crowd-{at}"))).collect();
    for (at, link) in crowd.iter().enumerate() {
        let filters = [format!("crowd/{at}"), format!("$share/{at}/crowd")];
        broker.send(*link, subscribe(&filters.each_ref().map(String::as_str), QoS::AtMostOnce));
    }
    let capacities = |broker: &mut Broker| -> Vec<usize> {
        let all = (0..2).flat_map(|worker| {
            let core = broker.core(worker);
            core.free_unused();
            let [filters, groups] = core.interest.capacities();
            [filters, groups, core.registry.capacity()]
        });
        all.collect()
    };
    assert!(capacities(&mut broker).iter().all(|capacity| *capacity > 50));
    crowd.into_iter().for_each(|link| broker.cut(link));
    broker.run();
    assert!(capacities(&mut broker).iter().all(|capacity| *capacity < 10));
    let (again, is_present) = broker.join(connect("stays").resume().expiry(100));
    assert!(is_present, "it is found");
    broker.send(again, Packet::Publish(publish("stays", "x", QoS::AtMostOnce, 1)));
    assert_eq!(broker.payloads(again), ["x", "x"]);
}
