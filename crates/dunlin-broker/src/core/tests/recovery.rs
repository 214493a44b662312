//! What survives a crash, kind by kind, and what nobody is told before it would.

use super::*;
use dunlin_protocol::codec::{
    Delivery, Packet, PacketType, QoS, ReasonCode, RetainHandling, SubscriptionOptions,
};
use std::time::Duration;

/// A Client whose session survives.
fn keeper(broker: &mut Broker, name: &str) -> Link {
    broker.join(connect(name).resume().expiry(600)).0
}

/// Somebody without a session that survives publishes this and is acknowledged.
fn says(broker: &mut Broker, topic_name: &str, payload: &str, qos: QoS) {
    let publisher = broker.client("sayer");
    broker.send(publisher, Packet::Publish(publish(topic_name, payload, qos, 1)));
    let packets = broker.receive(publisher);
    assert_eq!(packets.len(), usize::from(qos > QoS::AtMostOnce), "acknowledged");
    broker.cut(publisher);
}

/// The process dies and comes back at once with what is stored for certain, and no more.
fn lose_the_rest(broker: &mut Broker) {
    let workers = u8::try_from(broker.workers()).expect("few workers");
    let (stored, _) = broker.log_len();
    broker.crash(stored, workers, Duration::ZERO);
}

fn pids(packets: &[Packet]) -> Vec<(PacketType, u16, bool)> {
    let of = |packet: &Packet| match packet {
        Packet::Publish(publish) => {
            let (identifier, dup) = match publish.delivery {
                Delivery::AtMostOnce => (0, false),
                Delivery::AtLeastOnce { packet_identifier, dup }
                | Delivery::ExactlyOnce { packet_identifier, dup } => {
                    (packet_identifier.value(), dup)
                }
            };
            (PacketType::Publish, identifier, dup)
        }
        Packet::PubRel(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) | Packet::PubAck(ack) => {
            (packet.packet_type(), ack.packet_identifier.value(), false)
        }
        packet => (packet.packet_type(), 0, false),
    };
    packets.iter().map(of).collect()
}

// ---- what survives

#[test]
fn a_session_with_subscription_queue_and_retained_message_goes_on() {
    for workers in 1..=3 {
        let mut broker = Broker::with_store(workers);
        let link = keeper(&mut broker, "sub");
        broker.send(link, subscribe(&["a/+"], QoS::ExactlyOnce));
        broker.receive(link);
        broker.cut(link);
        for at in 0..10 {
            says(&mut broker, "a/b", &at.to_string(), QoS::ExactlyOnce);
        }
        let publisher = broker.client("setter");
        let packet = publish("r", "kept", QoS::AtLeastOnce, 1).retained();
        broker.send(publisher, Packet::Publish(packet));
        let (_, len) = broker.log_len();
        broker.crash(len, 4 - workers, Duration::from_secs(5));
        says(&mut broker, "a/c", "after", QoS::ExactlyOnce);
        let (link, session_present) = broker.join(connect("sub").resume().expiry(600));
        assert!(session_present);
        let expected: Vec<_> = (0..10).map(|at| at.to_string()).chain(["after".into()]).collect();
        assert_eq!(broker.drain(link), expected);
        says(&mut broker, "a/d", "still", QoS::AtLeastOnce);
        assert_eq!(broker.drain(link), ["still"]);
        broker.send(link, subscribe(&["r"], QoS::AtLeastOnce));
        assert_eq!(broker.drain(link), ["kept"]);
        assert_eq!(broker.counters().queued, 0);
    }
}

#[test]
fn sessions_that_end_with_their_connection_are_gone() {
    let mut broker = Broker::with_store(1);
    broker.client("one");
    keeper(&mut broker, "two");
    broker.restart();
    assert_eq!(broker.counters().sessions, 1);
    assert!(broker.join(connect("two").resume().expiry(600)).1);
    assert!(!broker.join(connect("one").resume()).1);
}

#[test]
fn a_session_expires_when_it_would_have_and_one_that_was_connected_begins_to() {
    // When it is cut, when the broker crashes, and for how many seconds it lasts from the start.
    for (cut_after, crash_after, lasts) in
        [(Some(0), 50, 100), (Some(30), 50, 130), (None, 50, 150), (Some(10), 300, 0)]
    {
        let mut broker = Broker::with_store(1);
        let (link, _) = broker.join(connect("one").expiry(100));
        if let Some(secs) = cut_after {
            broker.advance_secs(secs);
            broker.cut(link);
        }
        let (_, len) = broker.log_len();
        let pause = crash_after - cut_after.unwrap_or(0);
        broker.crash(len, 1, Duration::from_secs(pause));
        if lasts > 0 {
            broker.advance_secs(lasts - crash_after - 1);
            assert_eq!(broker.counters().sessions, 1, "cut after {cut_after:?}");
            broker.advance_secs(2);
        }
        assert_eq!(broker.counters().sessions, 0, "cut after {cut_after:?}");
        broker.restart();
        assert_eq!(broker.counters().sessions, 0, "its end is stored");
    }
}

#[test]
fn crash_after_crash_does_not_prolong_a_session() {
    let mut broker = Broker::with_store(1);
    broker.join(connect("one").expiry(100));
    for _ in 0..9 {
        broker.advance_secs(11);
        broker.restart();
    }
    assert_eq!(broker.counters().sessions, 1);
    broker.advance_secs(13);
    assert_eq!(broker.counters().sessions, 0);
}

#[test]
fn subscriptions_keep_their_options() {
    let mut broker = Broker::with_store(1);
    let link = keeper(&mut broker, "sub");
    let all = SubscriptionOptions {
        maximum_qos: QoS::AtLeastOnce,
        no_local: true,
        retain_as_published: true,
        retain_handling: RetainHandling::Send,
    };
    broker.send(link, subscribe(&["gone", "replaced"], QoS::AtLeastOnce));
    broker.send(link, subscribe_with(&["a", "replaced"], all, Some(77)));
    broker.send(link, unsubscribe(&["gone"]));
    broker.restart();
    assert_eq!(broker.counters().subscriptions, 2);
    let link = keeper(&mut broker, "sub");
    for topic_name in ["a", "replaced", "gone"] {
        let own = publish(topic_name, "own", QoS::AtLeastOnce, 1);
        broker.send(link, Packet::Publish(own));
        assert_eq!(broker.types(link), [PacketType::PubAck], "No Local");
        let publisher = broker.client("pub");
        let packet = publish(topic_name, "x", QoS::ExactlyOnce, 1).retained();
        broker.send(publisher, Packet::Publish(packet));
        let messages = broker.messages(link);
        assert_eq!(messages.len(), usize::from(topic_name != "gone"));
        for message in messages {
            assert!(message.retain, "Retain As Published");
            assert!(matches!(message.delivery, Delivery::AtLeastOnce { .. }));
            assert_eq!(message.subscription_identifiers.len(), 1);
            assert_eq!(message.subscription_identifiers[0].value(), 77);
        }
    }
}

#[test]
fn queued_messages_keep_what_they_carry_and_when_they_expire() {
    let mut broker = Broker::with_store(1);
    let link = keeper(&mut broker, "sub");
    let keep = SubscriptionOptions { retain_as_published: true, ..options(QoS::AtLeastOnce) };
    broker.send(link, subscribe_with(&["a"], keep, Some(5)));
    broker.cut(link);
    let publisher = broker.client("pub");
    for (payload, secs) in [("short", 20), ("long", 100)] {
        let packet = publish("a", payload, QoS::ExactlyOnce, secs).expires(secs.into()).retained();
        broker.send(publisher, Packet::Publish(packet));
    }
    let (_, len) = broker.log_len();
    broker.crash(len, 1, Duration::from_secs(30));
    assert_eq!(broker.counters().queued, 2);
    let link = keeper(&mut broker, "sub");
    let packets = broker.receive(link);
    let [Packet::Publish(message)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(&message.payload[..], b"long");
    assert_eq!(message.message_expiry_interval, Some(70));
    assert!(message.retain);
    assert_eq!(message.subscription_identifiers[0].value(), 5);
}

#[test]
fn exchanges_go_on_where_they_stood() {
    // For each QoS and how far the Client answered: what it gets from the next process.
    for (qos, answers, expected) in [
        (QoS::AtLeastOnce, 0, Some((PacketType::Publish, 2, true))),
        (QoS::AtLeastOnce, 1, None),
        (QoS::ExactlyOnce, 0, Some((PacketType::Publish, 2, true))),
        (QoS::ExactlyOnce, 1, Some((PacketType::PubRel, 2, false))),
        (QoS::ExactlyOnce, 2, None),
    ] {
        let mut broker = Broker::with_store(1);
        let link = keeper(&mut broker, "sub");
        broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
        broker.receive(link);
        // So that the next Packet Identifier is not the first one.
        says(&mut broker, "a", "before", QoS::AtLeastOnce);
        broker.drain(link);
        says(&mut broker, "a", "x", qos);
        for _ in 0..answers {
            let packet = broker.receive_one(link);
            broker.send(link, answer(&packet).expect("to be answered"));
        }
        for _ in 0..2 {
            broker.restart();
            let link = keeper(&mut broker, "sub");
            let packets = broker.receive(link);
            assert_eq!(pids(&packets), expected.into_iter().collect::<Vec<_>>(), "{qos:?}");
        }
        let link = keeper(&mut broker, "sub");
        broker.drain(link);
        says(&mut broker, "a", "next", QoS::AtLeastOnce);
        assert_eq!(broker.drain(link), ["next"]);
        assert_eq!(broker.core(0).census().notes, 0);
    }
}

#[test]
fn what_waits_behind_a_small_receive_maximum_follows_after_the_resend() {
    let mut broker = Broker::with_store(1);
    let (link, _) = broker.join(connect("sub").expiry(600).receive_maximum(2));
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    for at in 0..6 {
        says(&mut broker, "a", &at.to_string(), QoS::ExactlyOnce);
    }
    broker.restart();
    assert_eq!(broker.counters().queued, 4);
    let (link, _) = broker.join(connect("sub").resume().expiry(600).receive_maximum(3));
    let packets = broker.receive(link);
    let publish = PacketType::Publish;
    assert_eq!(pids(&packets), [(publish, 1, true), (publish, 2, true), (publish, 3, false)]);
    for packet in packets {
        broker.send(link, answer(&packet).expect("to be answered"));
    }
    assert_eq!(broker.drain(link), ["3", "4", "5"]);
}

#[test]
fn a_message_that_was_received_and_not_released_is_known_again() {
    for workers in [1, 2] {
        let mut broker = Broker::with_store(workers);
        for name in ["sub-0", "sub-1", "sub-2"] {
            let link = keeper(&mut broker, name);
            broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
        }
        let publisher = keeper(&mut broker, "pub");
        let packet = || Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 9));
        broker.send(publisher, packet());
        assert_eq!(broker.types(publisher), [PacketType::PubRec]);
        broker.restart();
        let publisher = keeper(&mut broker, "pub");
        broker.send(publisher, packet());
        assert_eq!(broker.types(publisher), [PacketType::PubRec]);
        broker.send(publisher, Packet::PubRel(ack(identifier(9))));
        assert_eq!(broker.types(publisher), [PacketType::PubComp]);
        broker.restart();
        let publisher = keeper(&mut broker, "pub");
        broker.send(publisher, packet());
        for name in ["sub-0", "sub-1", "sub-2"] {
            let link = keeper(&mut broker, name);
            assert_eq!(broker.drain(link), ["x", "x"], "one by one exchange");
        }
    }
}

#[test]
fn wills_come_when_they_are_due() {
    // Delay, Session Expiry Interval, seconds between cut and crash if it was cut before, seconds
    // without a process; when the Will comes after the start, if it does.
    for (delay, expiry, cut_before, pause, expected) in [
        (0, 0, None, 3, Some(0)),
        (10, 0, None, 3, Some(0)),
        (0, 60, None, 3, Some(0)),
        (10, 60, None, 3, Some(10)),
        (20, 10, None, 3, Some(10)),
        (10, 60, Some(4), 3, Some(3)),
        (10, 60, Some(4), 30, Some(0)),
        (10, 60, Some(11), 3, None),
        (0, 60, Some(0), 3, None),
    ] {
        for workers in [1, 2] {
            let mut broker = Broker::with_store(workers);
            let watcher = keeper(&mut broker, "watcher");
            broker.send(watcher, subscribe(&["w"], QoS::ExactlyOnce));
            broker.receive(watcher);
            let mut packet = will("w", "gone", delay);
            packet.qos = QoS::ExactlyOnce;
            let (link, _) = broker.join(connect("one").expiry(expiry).will(packet));
            if let Some(secs) = cut_before {
                broker.cut(link);
                broker.advance_secs(secs);
            }
            broker.drain(watcher);
            let (_, len) = broker.log_len();
            broker.crash(len, 3 - workers, Duration::from_secs(pause));
            let watcher = keeper(&mut broker, "watcher");
            broker.advance(Duration::from_millis(200));
            let mut came = None;
            for secs in 0..=30 {
                if !broker.drain(watcher).is_empty() {
                    assert_eq!(came.replace(secs), None, "a Will comes once");
                }
                broker.advance_secs(1);
            }
            assert_eq!(came, expected, "delay {delay}, expiry {expiry}, cut {cut_before:?}");
            broker.restart();
            let watcher = keeper(&mut broker, "watcher");
            broker.advance_secs(100);
            assert!(broker.drain(watcher).is_empty(), "it is stored that it came");
        }
    }
}

#[test]
fn a_will_that_was_on_its_way_when_the_broker_crashed_respects_no_local() {
    let options = |no_local| SubscriptionOptions {
        maximum_qos: QoS::AtLeastOnce,
        no_local,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    let mut broker = Broker::with_store(2);
    let names: Vec<_> = (0..6).map(|at| format!("one-{at}")).collect();
    for name in &names {
        let (link, _) = broker.join(connect(name).expiry(600));
        broker.send(link, subscribe_with(&["w"], options(true), None));
    }
    let packet = connect("one-0").resume().expiry(600).will(will("w", "gone", 0));
    let (link, _) = broker.join(packet);
    // The other worker hears nothing of it before the crash.
    broker.prompt = false;
    broker.cut(link);
    let worker = broker.worker_of(link);
    broker.settle(worker);
    broker.prompt = true;
    let (_, len) = broker.log_len();
    broker.crash(len, 2, Duration::ZERO);
    for name in &names {
        let link = keeper(&mut broker, name);
        // Whoever was owed it already gets it once more: at QoS 1 that is allowed.
        let got = broker.drain(link);
        assert_eq!(got.is_empty(), name == "one-0", "{name}: {got:?}");
    }
}

#[test]
fn a_will_that_was_discarded_or_replaced_stays_so() {
    let mut broker = Broker::with_store(1);
    let watcher = keeper(&mut broker, "watcher");
    broker.send(watcher, subscribe(&["w"], QoS::AtLeastOnce));
    let (link, _) = broker.join(connect("one").will(will("w", "polite", 0)));
    broker.send(link, disconnect(ReasonCode::Success));
    let (link, _) = broker.join(connect("two").expiry(60).will(will("w", "old", 20)));
    broker.cut(link);
    broker.join(connect("two").resume().expiry(60).will(will("w", "new", 0)));
    let (link, _) = broker.join(connect("three").expiry(60).will(will("w", "none", 20)));
    broker.cut(link);
    broker.join(connect("three").resume().expiry(60));
    broker.restart();
    let watcher = keeper(&mut broker, "watcher");
    broker.advance_secs(100);
    assert_eq!(broker.drain(watcher), ["new"]);
}

#[test]
fn the_last_retained_message_counts_whatever_the_order_of_the_records() {
    let mut broker = Broker::with_store(2);
    let names: Vec<_> = (0..20).map(|at| format!("pub-{at}")).collect();
    let on = |worker| {
        let owner_of = |name: &&String| {
            crate::core::owner(&name.parse().expect("text"), 2, broker::SEED).0 == worker
        };
        names.iter().find(owner_of).expect("one of them")
    };
    let publishers: Vec<_> = [0, 1].map(|worker| broker.client(on(worker))).into();
    broker.prompt = false;
    // Worker 0 sets, then worker 1; worker 1 hands its record over first.
    for (topic_name, first, second) in [("a", "old", "new"), ("b", "old", "")] {
        for (at, payload) in [first, second].iter().enumerate() {
            let packet = publish(topic_name, payload, QoS::AtLeastOnce, 1).retained();
            broker.send(publishers[at], Packet::Publish(packet));
            broker.take_input(publishers[at]);
        }
        broker.settle(1);
        broker.settle(0);
    }
    broker.prompt = true;
    broker.run();
    let (_, len) = broker.log_len();
    broker.crash(len, 2, Duration::ZERO);
    assert_eq!(broker.retained.len(), 1);
    let link = broker.client("reader");
    broker.send(link, subscribe(&["a", "b"], QoS::AtMostOnce));
    assert_eq!(broker.drain(link), ["new"]);
}

#[test]
fn retained_messages_that_have_expired_are_removed_from_the_store() {
    let mut broker = Broker::with_store(1);
    let publisher = broker.client("pub");
    for (topic_name, secs) in [("a", 10), ("b", 100), ("c", 10)] {
        let mut packet = publish(topic_name, "x", QoS::AtLeastOnce, 1).retained();
        packet.message_expiry_interval = Some(secs);
        broker.send(publisher, Packet::Publish(packet));
        broker.receive(publisher);
    }
    // Its record is there; that it was set anew is as well.
    let packet = publish("c", "y", QoS::AtLeastOnce, 1).retained();
    broker.send(publisher, Packet::Publish(packet));
    let len = broker.log().count();
    broker.advance_secs(20);
    let packet = publish("d", "x", QoS::AtLeastOnce, 2).retained();
    broker.send(publisher, Packet::Publish(packet));
    assert_eq!(broker.log().count(), len + 2, "that `a` is gone, and that `d` is there");
    broker.crash(broker.log_len().1, 1, Duration::from_secs(100));
    assert_eq!(broker.log().count(), len + 3, "`b` has expired while nothing ran");
    broker.restart();
    assert_eq!(broker.log().count(), len + 3);
    let reader = broker.client("reader");
    broker.send(reader, subscribe(&["+"], QoS::AtMostOnce));
    assert_eq!(broker.drain(reader), ["y", "x"]);
}

#[test]
fn a_clock_that_has_gone_back_does_not_prolong_a_session() {
    let mut broker = Broker::with_store(1);
    // The clock of the first process is far ahead.
    broker.advance_secs(1_000_000);
    let link = keeper(&mut broker, "sub");
    broker.cut(link);
    let (_, len) = broker.log_len();
    broker.set_back(Duration::from_secs(900_000));
    broker.crash(len, 1, Duration::ZERO);
    broker.advance_secs(599);
    assert_eq!(broker.counters().sessions, 1);
    broker.advance_secs(2);
    assert_eq!(broker.counters().sessions, 0);
}

#[test]
fn what_a_member_of_a_group_was_owed_goes_to_another_one() {
    for workers in [1, 2, 3] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut broker = Broker::with_store(workers);
            for at in 0..4 {
                let link = keeper(&mut broker, &format!("member-{at}"));
                broker.send(link, subscribe(&["$share/g/a"], QoS::ExactlyOnce));
                broker.receive(link);
                broker.cut(link);
            }
            for at in 0..20 {
                says(&mut broker, "a", &format!("{at:02}"), qos);
            }
            broker.restart();
            assert_eq!(broker.counters().queued, 20);
            // One member comes for what it is owed; the others end, and it gets theirs.
            let link = keeper(&mut broker, "member-0");
            let mut got = broker.drain(link);
            for at in 1..4 {
                let (other, _) = broker.join(connect(&format!("member-{at}")));
                broker.cut(other);
                got.extend(broker.drain(link));
            }
            got.sort_unstable();
            let all: Vec<_> = (0..20).map(|at| format!("{at:02}")).collect();
            assert_eq!(got, all, "{workers} workers, {qos:?}");
            broker.restart();
            assert_eq!(broker.counters().queued, 0);
        }
    }
}

#[test]
fn records_that_make_no_sense_harm_nobody() {
    use crate::core::Record;
    let mut broker = Broker::with_store(1);
    let link = keeper(&mut broker, "one");
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    for at in 0..5 {
        says(&mut broker, "a", &at.to_string(), QoS::ExactlyOnce);
    }
    let client_identifier: dunlin_protocol::codec::Text = "one".parse().expect("text");
    let (of, number) = (|| client_identifier.clone(), 3);
    for packet_identifier in [2, 2, 1, 60_000].map(identifier) {
        broker.forge(vec![Record::Sent { client_identifier: of(), number, packet_identifier }]);
    }
    broker.forge(vec![
        Record::Settled { client_identifier: of(), number: 99 },
        Record::Taken { client_identifier: of(), number: 98 },
        Record::Confirmed { client_identifier: of(), number: 97 },
        Record::Arrived { client_identifier: of(), number: 96 },
        Record::Released { client_identifier: of(), packet_identifier: identifier(95) },
        Record::WillRemoved { client_identifier: of() },
    ]);
    broker.restart();
    let link = keeper(&mut broker, "one");
    let mut got = broker.drain(link);
    got.sort_unstable();
    assert_eq!(got, ["0", "1", "2", "3", "4"]);
}

// ---- what is not said too early

/// A broker whose store is behind until told otherwise.
fn behind(workers: u8) -> Broker {
    let mut broker = Broker::with_store(workers);
    broker.stores_at_once = false;
    broker
}

#[test]
fn connack_waits_when_a_crash_could_make_it_false() {
    type Case = (&'static str, fn(&mut Broker), dunlin_protocol::codec::Connect, bool);
    let cases: [Case; 5] = [
        ("nothing to keep", |_| {}, connect("one"), false),
        ("a session that begins", |_| {}, connect("one").expiry(60), true),
        ("a Will", |_| {}, connect("one").will(will("w", "x", 0)), true),
        (
            "a session that goes on",
            |broker| {
                broker.join(connect("one").expiry(60));
            },
            connect("one").resume().expiry(60),
            true,
        ),
        (
            "a session that Clean Start ends",
            |broker| {
                broker.join(connect("one").expiry(60));
            },
            connect("one"),
            true,
        ),
    ];
    for (name, before, packet, waits) in cases {
        let mut broker = behind(1);
        before(&mut broker);
        broker.store_all();
        let link = broker.connect(packet);
        broker.send(link, Packet::PingReq);
        if waits {
            assert!(broker.receive(link).is_empty(), "{name}");
            broker.store_all();
        }
        assert_eq!(broker.types(link), [PacketType::ConnAck, PacketType::PingResp], "{name}");
    }
}

#[test]
fn connack_waits_for_the_end_of_an_earlier_session_and_its_will() {
    type Case = (&'static str, dunlin_protocol::codec::Connect, Option<u32>);
    let cases: [Case; 2] = [
        ("a session", connect("one").expiry(60), Some(0)),
        ("a Will alone", connect("one").will(will("w", "x", 0)), None),
    ];
    for (name, first, expiry) in cases {
        let mut broker = behind(1);
        let first = broker.connect(first);
        broker.store_all();
        broker.receive(first);
        broker.send(first, goodbye(expiry));
        let second = broker.connect(connect("one").resume());
        assert!(broker.receive(second).is_empty(), "{name}: a crash would bring it back");
        broker.store_all();
        assert_eq!(broker.types(second), [PacketType::ConnAck], "{name}");
        lose_the_rest(&mut broker);
        let (_, session_present) = broker.join(connect("one").resume());
        assert!(!session_present, "{name}");
        assert_eq!(broker.core(0).census().pending, 0, "{name}");
    }
}

/// A DISCONNECT with Reason Code 0, which may change the Session Expiry Interval.
fn goodbye(session_expiry_interval: Option<u32>) -> Packet {
    let mut disconnect = dunlin_protocol::codec::Disconnect::new(ReasonCode::Success);
    disconnect.properties.session_expiry_interval = session_expiry_interval;
    Packet::Disconnect(Box::new(disconnect))
}

#[test]
fn connack_of_a_new_session_waits_for_the_end_of_the_one_before() {
    let mut broker = Broker::with_store(1);
    let link = keeper(&mut broker, "one");
    broker.cut(link);
    broker.stores_at_once = false;
    // The first of them ends the session and goes; the second one has nothing to store itself.
    let first = broker.connect(connect("one"));
    assert!(broker.receive(first).is_empty());
    broker.cut(first);
    let second = broker.connect(connect("one"));
    assert!(broker.receive(second).is_empty(), "a crash would bring the old session back");
    broker.store_all();
    assert_eq!(broker.types(second), [PacketType::ConnAck]);
    lose_the_rest(&mut broker);
    broker.stores_at_once = true;
    assert!(!broker.join(connect("one").resume()).1);
}

#[test]
fn a_client_that_waits_for_its_connack_can_leave_and_be_taken_over() {
    let mut broker = behind(1);
    let first = broker.connect(connect("one").expiry(60).will(will("w", "x", 5)));
    let second = broker.connect(connect("one").resume().expiry(60));
    broker.cut(first);
    let third = broker.connect(connect("one").resume().expiry(60));
    broker.cut(third);
    broker.store_all();
    assert!(broker.receive(first).is_empty() && broker.receive(third).is_empty());
    assert!(broker.is_closed(second));
    let (link, session_present) = broker.join(connect("one").resume().expiry(60));
    assert!(session_present);
    broker.send(link, Packet::PingReq);
    assert_eq!(broker.types(link), [PacketType::PingResp]);
    assert_eq!(broker.core(0).census().pending, 0);
}

#[test]
fn a_client_that_waits_long_for_its_connack_is_not_blamed_for_its_silence() {
    let mut broker = behind(1);
    let link = broker.connect(connect("one").expiry(60).keep_alive(5));
    broker.advance_secs(60);
    assert!(!broker.is_closed(link));
    broker.store_all();
    assert_eq!(broker.types(link), [PacketType::ConnAck]);
    broker.advance_secs(7);
    assert!(!broker.is_closed(link));
    broker.advance_secs(2);
    assert!(broker.is_closed(link));
}

#[test]
fn exchanges_are_not_lost_with_a_connection_that_waits_for_its_connack() {
    let mut broker = behind(1);
    let link = keeper(&mut broker, "sub");
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.store_all();
    broker.receive(link);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    assert_eq!(broker.payloads(link), ["x"]);
    let link = broker.connect(connect("sub").resume().expiry(600));
    broker.cut(link);
    broker.store_all();
    let link = keeper(&mut broker, "sub");
    assert_eq!(pids(&broker.receive(link)), [(PacketType::Publish, 1, true)]);
}

#[test]
fn suback_and_unsuback_wait_for_sessions_that_survive_alone() {
    for workers in [1, 2] {
        for survives in [true, false] {
            let mut broker = behind(workers);
            let expiry = if survives { 60 } else { 0 };
            let (link, _) = broker.join(connect("one").expiry(expiry));
            for (packet, expected) in [
                (subscribe(&["a"], QoS::AtLeastOnce), PacketType::SubAck),
                (unsubscribe(&["a"]), PacketType::UnsubAck),
            ] {
                broker.send(link, packet);
                if survives {
                    assert!(broker.receive(link).is_empty());
                    broker.store_all();
                }
                assert_eq!(broker.types(link), [expected]);
            }
        }
    }
}

#[test]
fn qos_2_towards_a_session_that_survives_waits_at_each_step() {
    let mut broker = behind(1);
    let link = keeper(&mut broker, "sub");
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    broker.store_all();
    broker.receive(link);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    assert!(broker.receive(link).is_empty(), "neither message nor exchange are stored");
    broker.store_all();
    assert_eq!(pids(&broker.receive(link)), [(PacketType::Publish, 1, false)]);
    for _ in 0..2 {
        broker.send(link, Packet::PubRec(ack(identifier(1))));
        assert!(broker.receive(link).is_empty(), "that it has it is not stored");
    }
    broker.store_all();
    assert_eq!(pids(&broker.receive(link)), [(PacketType::PubRel, 1, false)]);
    broker.send(link, Packet::PubRec(ack(identifier(1))));
    assert_eq!(broker.types(link), [PacketType::PubRel], "said again, told again");
    broker.send(link, Packet::PubComp(ack(identifier(1))));
    broker.store_all();
    assert_eq!(broker.core(0).census().notes, 0);
}

#[test]
fn a_message_of_several_workers_is_owed_to_all_or_to_none() {
    let mut broker = Broker::with_store(3);
    let names: Vec<_> = (0..6).map(|at| format!("sub-{at}")).collect();
    let mut links = Vec::new();
    for name in &names {
        let link = keeper(&mut broker, name);
        broker.send(link, subscribe(&["a", "b"], QoS::ExactlyOnce));
        broker.receive(link);
        links.push(link);
    }
    says(&mut broker, "b", "an exchange to finish", QoS::AtLeastOnce);
    let publisher = keeper(&mut broker, "pub");
    broker.stores_at_once = false;
    let packet = || Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 9));
    broker.send(publisher, packet());
    for link in &links {
        let messages = broker.messages(*link);
        assert_eq!(messages.len(), 1);
        broker.send(*link, Packet::PubAck(ack(messages[0].packet_identifier())));
    }
    let at = broker.worker_of(publisher);
    // The others have stored what their sessions would owe, and the publisher's worker has not.
    for worker in (0..3).filter(|worker| *worker != at) {
        broker.store(worker);
        broker.settle(worker);
    }
    broker.run();
    assert!(broker.receive(publisher).is_empty());
    for link in links {
        assert!(broker.receive(link).is_empty(), "an answer does not let out what waits behind it");
    }
    lose_the_rest(&mut broker);
    assert_eq!(broker.counters().queued, 0);
    broker.stores_at_once = true;
    let publisher = keeper(&mut broker, "pub");
    broker.send(publisher, packet());
    assert_eq!(broker.types(publisher), [PacketType::PubRec]);
    for name in &names {
        let link = keeper(&mut broker, name);
        let got = broker.drain(link);
        assert_eq!(got.iter().filter(|payload| *payload == "x").count(), 1, "{name}");
    }
}

#[test]
fn a_message_that_was_refused_is_new_when_it_comes_again_after_a_crash() {
    let limits = crate::Limits { sys_interval_secs: 0, queue_len_max: 1, ..Default::default() };
    // With several workers some publisher is not where the full queue is.
    let mut broker = Broker::build(3, limits, true);
    let link = keeper(&mut broker, "sub");
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    broker.cut(link);
    says(&mut broker, "a", "x", QoS::ExactlyOnce);
    let names: Vec<_> = (0..6).map(|at| format!("pub-{at}")).collect();
    for name in &names {
        let publisher = keeper(&mut broker, name);
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 2)));
        let Packet::PubRec(answer) = broker.receive_one(publisher) else { panic!("no PUBREC") };
        assert_eq!(answer.reason_code, ReasonCode::QuotaExceeded);
    }
    broker.restart();
    let link = keeper(&mut broker, "sub");
    assert_eq!(broker.drain(link), ["x"]);
    for name in &names {
        let publisher = keeper(&mut broker, name);
        broker.send(publisher, Packet::Publish(publish("a", "y", QoS::ExactlyOnce, 2)));
        assert_eq!(broker.drain(link), ["y"], "{name}");
    }
}

#[test]
fn answers_that_wait_for_the_store_are_not_piled_up() {
    let mut broker = behind(1);
    let (link, _) = broker.join(connect("one").expiry(60));
    for _ in 0..200 {
        broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
        broker.send(link, unsubscribe(&["a"]));
    }
    assert_eq!(broker.core(0).census().pending, 64);
    assert!(broker.is_paused(link));
    broker.store_all();
    assert_eq!(broker.types(link).len(), 400);
    assert!(!broker.is_paused(link));
}

#[test]
fn messages_of_a_publisher_are_kept_in_their_order_whoever_they_are_for() {
    let mut broker = Broker::with_store(2);
    let name_at = |worker: u8, name: &str| {
        let mut names = (0..).map(|at| format!("{name}-{at}"));
        let owner = |name: &str| crate::core::owner(&name.parse().expect("text"), 2, broker::SEED);
        names.find(|name| owner(name).0 == worker).expect("one of them")
    };
    let here = name_at(0, "here");
    for name in [&here, &name_at(1, "there")] {
        let link = keeper(&mut broker, name);
        broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
        broker.receive(link);
    }
    let publisher = name_at(0, "pub");
    let first = keeper(&mut broker, &publisher);
    let leaver = keeper(&mut broker, &name_at(1, "there"));
    // The first message is on its way to another worker, where nobody wants the second one.
    broker.prompt = false;
    broker.send(first, Packet::Publish(publish("a", "1", QoS::ExactlyOnce, 1)));
    broker.read(first.0);
    broker.settle(0);
    broker.send(leaver, unsubscribe(&["a"]));
    broker.read(leaver.0);
    broker.settle(1);
    broker.take_mail(0);
    broker.send(first, Packet::Publish(publish("a", "2", QoS::ExactlyOnce, 2)));
    broker.read(first.0);
    broker.settle(0);
    assert!(broker.types(first).is_empty(), "neither is decided");
    // Of the other worker nothing remains, of this one all.
    let (_, len) = broker.log_len();
    broker.crash(len, 2, Duration::ZERO);
    broker.prompt = true;
    broker.run();
    let again = keeper(&mut broker, &publisher);
    for (number, payload) in [(1, "1"), (2, "2")] {
        let mut packet = publish("a", payload, QoS::ExactlyOnce, number);
        packet.delivery =
            Delivery::ExactlyOnce { packet_identifier: identifier(number), dup: true };
        broker.send(again, Packet::Publish(packet));
    }
    let link = keeper(&mut broker, &here);
    assert_eq!(broker.drain(link), ["1", "2"]);
}
