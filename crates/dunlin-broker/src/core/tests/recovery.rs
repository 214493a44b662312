//! What survives a crash, kind by kind, and what nobody is told before it would.

mod awaited;
mod retained;
mod wills;

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
