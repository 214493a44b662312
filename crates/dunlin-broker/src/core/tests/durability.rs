//! What an acknowledgement means: in memory, written, or on the disk.

use super::*;
use crate::core::{DropCause, Durability, DurabilityRules, Record};
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{Packet, PacketType, QoS, ReasonCode};

/// A broker whose store is behind until told otherwise, with a persistent subscriber of everything
/// that is away, and rules for Topic Names.
fn behind(workers: u8, limits: &Limits, rules: &[(&str, Durability)]) -> Broker {
    let topics = rules.iter().map(|(filter, level)| (filter.parse().expect("a filter"), *level));
    let rules = DurabilityRules { default: Durability::Fsync, topics: topics.collect() };
    let limits = Limits { sys_interval_secs: 0, ..limits.clone() };
    let mut broker = Broker::build(workers, limits, true).with_rules(rules);
    let (subscriber, _) = broker.join(connect("sub").expiry(60));
    broker.send(subscriber, subscribe(&["#"], QoS::ExactlyOnce));
    broker.receive(subscriber);
    broker.cut(subscriber);
    broker.stores_at_once = false;
    broker.asked.clear();
    broker
}

/// What a Client gets at once, when the store has written, and when it has synced.
fn step(broker: &mut Broker, link: Link) -> [Vec<PacketType>; 3] {
    let at_once = broker.types(link);
    broker.write_store(0);
    let written = broker.types(link);
    broker.store_all();
    [at_once, written, broker.types(link)]
}

/// One packet, at the step that makes things so safe.
fn at(level: Durability, packet_type: PacketType) -> [Vec<PacketType>; 3] {
    let mut expected: [Vec<PacketType>; 3] = Default::default();
    expected[level as usize].push(packet_type);
    expected
}

#[test]
fn an_acknowledgement_waits_for_the_level_of_its_listener() {
    for level in Durability::ALL {
        let mut broker = behind(1, &Limits::default(), &[]);
        broker.durability = level;
        let publisher = broker.client("pub");
        broker.asked.clear();
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
        assert_eq!(broker.asked, [level], "the store knows what is waited for");
        assert_eq!(step(&mut broker, publisher), at(level, PacketType::PubAck));
    }
}

#[test]
fn that_there_is_no_subscription_waits_for_the_unsubscribe_that_made_it_true() {
    for level in Durability::ALL {
        let mut broker = behind(1, &Limits::default(), &[]);
        broker.durability = level;
        let link = broker.connect(connect("client").expiry(60));
        broker.store_all();
        broker.send(link, subscribe(&["$x"], QoS::ExactlyOnce));
        broker.store_all();
        broker.receive(link);
        broker.send(link, unsubscribe(&["$x"]));
        broker.send(link, unsubscribe(&["$x"]));
        let mut expected: [Vec<PacketType>; 3] = Default::default();
        expected[level as usize] = vec![PacketType::UnsubAck; 2];
        assert_eq!(step(&mut broker, link), expected);
        broker.send(link, unsubscribe(&["$x"]));
        assert_eq!(broker.types(link), [PacketType::UnsubAck], "all of it is stored");
    }
}

#[test]
fn sessions_subscriptions_and_releases_wait_for_the_level_of_their_listener() {
    for level in Durability::ALL {
        let mut broker = behind(1, &Limits::default(), &[]);
        broker.durability = level;
        let link = broker.connect(connect("client").expiry(60));
        assert_eq!(step(&mut broker, link), at(level, PacketType::ConnAck));
        broker.send(link, subscribe(&["$x"], QoS::ExactlyOnce));
        assert_eq!(step(&mut broker, link), at(level, PacketType::SubAck));
        broker.send(link, Packet::Publish(publish("$x", "1", QoS::ExactlyOnce, 1)));
        // PUBREC, and the message to itself.
        let steps = step(&mut broker, link);
        assert_eq!(
            steps.each_ref().map(Vec::len),
            at(level, PacketType::PubRec).map(|s| 2 * s.len())
        );
        broker.send(link, Packet::PubRel(ack(identifier(1))));
        assert_eq!(step(&mut broker, link), at(level, PacketType::PubComp));
        broker.send(link, Packet::PubRec(ack(identifier(1))));
        assert_eq!(step(&mut broker, link), at(level, PacketType::PubRel));
    }
}

#[test]
fn a_rule_for_a_topic_name_outranks_the_listener_and_the_order_of_answers_stays() {
    let rules = [("fast/#", Durability::Memory), ("fast/but/safe", Durability::Fsync)];
    let mut broker = behind(1, &Limits::default(), &rules);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("fast/but/safe", "x", QoS::AtLeastOnce, 1)));
    assert_eq!(broker.types(publisher), [PacketType::PubAck], "the first rule decides");
    broker.send(publisher, Packet::Publish(publish("slow", "x", QoS::AtLeastOnce, 2)));
    broker.send(publisher, Packet::Publish(publish("fast/a", "x", QoS::AtLeastOnce, 3)));
    assert!(broker.types(publisher).is_empty(), "PUBACKs keep their order [MQTT-4.6.0-2]");
    broker.store_all();
    assert_eq!(broker.types(publisher), [PacketType::PubAck; 2]);
}

#[test]
fn another_worker_waits_for_the_level_of_the_message() {
    for (level, answers) in [(Durability::Memory, [1, 0]), (Durability::Fsync, [0, 1])] {
        let mut broker = behind(2, &Limits::default(), &[]);
        broker.durability = level;
        let owner = |name: &str| crate::core::owner(&name.parse().expect("text"), 2, broker::SEED);
        let elsewhere =
            (0..).map(|at| format!("pub-{at}")).find(|name| owner(name) != owner("sub"));
        let publisher = broker.client(&elsewhere.expect("one of them"));
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
        let at_once = broker.types(publisher).len();
        broker.store_all();
        assert_eq!([at_once, broker.types(publisher).len()], answers, "{level:?}");
    }
}

#[test]
fn what_a_store_can_not_take_is_refused_and_the_rest_goes_on() {
    for policy in QueuePolicy::ALL {
        let limits = Limits { queue_policy: policy, ..Limits::default() };
        let mut broker = behind(1, &limits, &[]);
        let (listener, _) = broker.join(connect("listener"));
        broker.send(listener, subscribe(&["$free"], QoS::AtLeastOnce));
        broker.receive(listener);
        let publisher = broker.client("pub");
        broker.core(0).handle_store_ready(false);
        for (topic_name, qos, reason_code) in [
            ("a", QoS::AtLeastOnce, ReasonCode::QuotaExceeded),
            ("a", QoS::ExactlyOnce, ReasonCode::QuotaExceeded),
            ("$free", QoS::AtLeastOnce, ReasonCode::Success),
        ] {
            broker.send(publisher, Packet::Publish(publish(topic_name, "x", qos, 1)));
            match broker.receive_one(publisher) {
                Packet::PubAck(ack) | Packet::PubRec(ack) => {
                    assert_eq!(ack.reason_code, reason_code, "{topic_name} {qos:?} {policy:?}");
                }
                packet => panic!("{packet:?}"),
            }
        }
        assert_eq!(broker.drain(listener), ["x"]);
        broker.core(0).handle_store_ready(true);
        broker.stores_at_once = true;
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 2)));
        assert_eq!(broker.types(publisher), [PacketType::PubAck]);
    }
}

#[test]
fn an_mqtt_3_publisher_waits_until_the_store_goes_on() {
    for policy in QueuePolicy::ALL {
        let limits = Limits { queue_policy: policy, ..Limits::default() };
        let mut broker = behind(1, &limits, &[]);
        let (publisher, _) = broker.join(connect_v311("pub", true));
        broker.core(0).handle_store_ready(false);
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
        broker.advance_secs(20);
        assert!(broker.types(publisher).is_empty());
        broker.send(publisher, Packet::PingReq);
        assert_eq!(broker.types(publisher), [PacketType::PingResp], "it is not held up itself");
        broker.core(0).handle_store_ready(true);
        broker.stores_at_once = true;
        broker.advance_secs(1);
        assert_eq!(broker.types(publisher), [PacketType::PubAck]);
    }
}

#[test]
fn what_comes_after_the_store_goes_on_does_not_overtake_what_waited_for_it_at_another_worker() {
    // Where the last message alone is kept there is no order to be seen.
    for policy in [QueuePolicy::Refuse, QueuePolicy::DropOldest, QueuePolicy::DropNewest] {
        for (qos, goes) in [
            (QoS::AtLeastOnce, None),
            (QoS::ExactlyOnce, None),
            (QoS::AtLeastOnce, Some(Broker::cut as fn(&mut Broker, Link))),
            (QoS::AtLeastOnce, Some(Broker::close_half)),
        ] {
            let limits = Limits { queue_policy: policy, ..Limits::default() };
            let mut broker = behind(2, &limits, &[]);
            let text = "sub".parse().expect("text");
            let there = usize::from(crate::core::owner(&text, 2, broker::SEED).0);
            let name = workers::name_at(&broker, 1 - there, "pub");
            let (mut publisher, _) = broker.join(connect_v311(&name, true));
            for worker in 0..2 {
                broker.core(worker).handle_store_ready(false);
            }
            for at in 1..=3 {
                let packet = publish("a", &at.to_string(), qos, at);
                broker.send(publisher, Packet::Publish(packet));
            }
            assert_eq!(broker.core(there).census().pending, 3, "{policy:?} {qos:?}");
            if let Some(goes) = goes {
                goes(&mut broker, publisher);
                broker.cut(publisher);
                publisher = broker.join(connect_v311(&name, true)).0;
                assert_eq!(broker.core(there).census().pending, 0, "nobody waits with them");
                for at in 1..=3 {
                    let packet = publish("a", &at.to_string(), qos, at);
                    broker.send(publisher, Packet::Publish(packet));
                }
            }
            broker.stores_at_once = true;
            for worker in 0..2 {
                broker.core(worker).handle_store_ready(true);
            }
            broker.send(publisher, Packet::Publish(publish("a", "4", qos, 4)));
            broker.advance_secs(1);
            let (subscriber, _) = broker.join(connect("sub").resume().expiry(60));
            let payloads = broker.drain(subscriber);
            assert_eq!(payloads, ["1", "2", "3", "4"], "{policy:?} {qos:?}");
        }
    }
}

/// What becomes of the messages of an MQTT 3.1.1 Client of worker 1 that goes again and again while
/// the store takes nothing, for a session of worker 0 that is connected and survives.
fn check_nothing_piles_up(policy: QueuePolicy, topic_filter: &str, goes: fn(&mut Broker, Link)) {
    let limits = Limits { queue_policy: policy, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::build(2, limits, true);
    let subscriber = workers::client_at(&mut broker, 0, 0, "sub");
    broker.send(subscriber, subscribe(&[topic_filter], QoS::ExactlyOnce));
    broker.receive(subscriber);
    let name = workers::name_at(&broker, 1, "pub");
    for worker in 0..2 {
        broker.core(worker).handle_store_ready(false);
    }
    let recorded = broker.log().count();
    let qos = [QoS::AtLeastOnce, QoS::ExactlyOnce];
    let send = |broker: &mut Broker| {
        let (publisher, _) = broker.join(connect_v311(&name, true));
        for at in 1..=6 {
            let packet = publish("a", &at.to_string(), qos[usize::from(at % 2)], at);
            broker.send(publisher, Packet::Publish(packet));
        }
        publisher
    };
    for round in 1..=3 {
        let publisher = send(&mut broker);
        assert_eq!(broker.core(0).census().pending, 6, "they wait for the store");
        goes(&mut broker, publisher);
        assert!(broker.types(publisher).is_empty(), "nothing was acknowledged");
        broker.cut(publisher);
        let (of_subscriber, of_publisher) =
            (broker.core(0).census().pending, broker.core(1).census().pending);
        assert_eq!((of_subscriber, of_publisher), (0, 0), "round {round}, {policy:?}");
        assert_eq!(broker.log().count(), recorded, "round {round}, {policy:?}");
        assert_eq!(broker.counters().dropped_for(DropCause::Refused), 6 * round);
    }
    assert!(broker.drain(subscriber).is_empty());
    for worker in 0..2 {
        broker.core(worker).handle_store_ready(true);
    }
    let publisher = send(&mut broker);
    assert_eq!(broker.types(publisher).len(), 6);
    assert_eq!(broker.drain(subscriber), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_publisher_that_goes_again_and_again_leaves_no_records_before_a_store_that_takes_nothing() {
    for policy in QueuePolicy::ALL {
        for topic_filter in ["a", "$share/g/a"] {
            check_nothing_piles_up(policy, topic_filter, Broker::cut);
            check_nothing_piles_up(policy, topic_filter, Broker::close_half);
        }
    }
}

#[test]
fn a_message_that_follows_its_member_to_another_worker_makes_no_record_there_without_a_store() {
    let limits = Limits { sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::build(3, limits, true);
    let members = [0, 2].map(|worker| {
        let member = workers::client_at(&mut broker, worker, worker, "member");
        broker.send(member, subscribe(&["$share/g/a"], QoS::AtLeastOnce));
        broker.receive(member);
        member
    });
    let name = workers::name_at(&broker, 1, "pub");
    let (publisher, _) = broker.join(connect_v311(&name, true));
    for worker in 0..3 {
        broker.core(worker).handle_store_ready(false);
    }
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    let at = (0..3).find(|worker| broker.core(*worker).census().pending > 0 && *worker != 1);
    let waits_for = usize::from(at == Some(2));
    broker.send(members[waits_for], unsubscribe(&["$share/g/a"]));
    let recorded = broker.log().count();
    broker.advance_secs(1);
    assert_eq!(broker.log().count(), recorded);
    assert!(broker.is_closed(publisher), "it was to wait at a worker that does not know it");
    let (publisher, _) = broker.join(connect_v311(&name, true));
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    for worker in 0..3 {
        broker.core(worker).handle_store_ready(true);
    }
    broker.advance_secs(1);
    assert_eq!(broker.types(publisher), [PacketType::PubAck]);
    assert_eq!(broker.drain(members[1 - waits_for]), ["x"]);
}

#[test]
fn a_session_that_must_survive_does_not_begin_while_the_store_takes_nothing() {
    let mut broker = behind(1, &Limits::default(), &[]);
    broker.core(0).handle_store_ready(false);
    let refused = [
        connect("new").expiry(60),
        connect("sub").resume(),
        connect("will").will(will("w", "x", 0)),
    ];
    for refused in refused {
        let link = broker.connect(refused);
        match broker.receive_one(link) {
            Packet::ConnAck(connack) => {
                assert_eq!(connack.reason_code, ReasonCode::ServerUnavailable);
            }
            packet => panic!("{packet:?}"),
        }
        assert!(broker.is_closed(link));
    }
    let (link, _) = broker.join(connect("passing"));
    assert!(!broker.is_closed(link));
    broker.core(0).handle_store_ready(true);
    broker.stores_at_once = true;
    let (_, session_present) = broker.join(connect("sub").resume().expiry(60));
    assert!(session_present, "it was not touched");
}

#[test]
fn qos_0_that_is_retained_does_not_pile_up_before_a_store_that_takes_nothing() {
    let mut broker = behind(1, &Limits::default(), &[]);
    let publisher = broker.client("pub");
    broker.core(0).handle_store_ready(false);
    let before = broker.log().count();
    for at in 0..100 {
        let packet = publish("r", &at.to_string(), QoS::AtMostOnce, 0).retained();
        broker.send(publisher, Packet::Publish(packet));
    }
    let packet = publish("s", &"x".repeat(15 << 20), QoS::AtMostOnce, 0).retained();
    broker.send(publisher, Packet::Publish(packet));
    let packet = publish("t", &"x".repeat(2 << 20), QoS::AtMostOnce, 0).retained();
    broker.send(publisher, Packet::Publish(packet));
    assert_eq!(broker.log().count(), before, "nothing was given to the store");
    assert_eq!(broker.counters().dropped_for(DropCause::RetainedFull), 1);
    broker.core(0).handle_store_ready(true);
    broker.stores_at_once = true;
    broker.send(publisher, Packet::PingReq);
    broker.receive(publisher);
    assert_eq!(broker.log().count(), before + 2, "the last of each Topic Name");
    broker.restart();
    let reader = broker.client("reader");
    broker.send(reader, subscribe(&["r"], QoS::AtMostOnce));
    assert_eq!(broker.drain(reader), ["99"]);
}

/// A Client at this worker retains a message of QoS 0 that expires after a second.
fn retain_for_a_second(broker: &mut Broker, publisher: Link, topic_name: &str) {
    let packet = publish(topic_name, "x", QoS::AtMostOnce, 0).retained().expires(1);
    broker.send(publisher, Packet::Publish(packet));
}

/// What was recorded of a Topic Name: whether it has a message, change by change.
fn retained_records(broker: &Broker, name: &str) -> Vec<bool> {
    let of_name = broker.log().filter_map(|record| match record {
        Record::Retained { topic_name, message, .. } if topic_name.as_str() == name => {
            Some(message.is_some())
        }
        _ => None,
    });
    of_name.collect()
}

#[test]
fn what_expires_before_a_store_that_takes_nothing_does_not_come_back_in_it() {
    // Another worker may be the one that learns of it.
    for learns in 0..2 {
        let mut broker = Broker::with_store(2);
        let publishers = [0, 1].map(|worker| {
            let name = workers::name_at(&broker, worker, "pub");
            broker.client(&name)
        });
        for worker in 0..2 {
            broker.core(worker).handle_store_ready(false);
        }
        retain_for_a_second(&mut broker, publishers[0], "brief");
        broker.advance_secs(2);
        let packet = publish("lasting", "x", QoS::AtMostOnce, 0).retained();
        broker.send(publishers[learns], Packet::Publish(packet));
        assert_eq!(broker.retained.len(), 1);
        for worker in 0..2 {
            broker.core(worker).handle_store_ready(true);
        }
        broker.run();
        assert_eq!(retained_records(&broker, "brief"), [false], "worker {learns}");
        assert_eq!(retained_records(&broker, "lasting"), [true]);
    }
}

#[test]
fn what_a_later_change_of_another_worker_has_overtaken_is_not_recorded() {
    let mut broker = Broker::with_store(2);
    let publishers = [0, 1].map(|worker| {
        let name = workers::name_at(&broker, worker, "pub");
        broker.client(&name)
    });
    broker.core(0).handle_store_ready(false);
    for payload in ["1", "2"] {
        let packet = publish("r", payload, QoS::AtMostOnce, 0).retained();
        broker.send(publishers[0], Packet::Publish(packet));
    }
    let packet = publish("r", "", QoS::AtMostOnce, 0).retained();
    broker.send(publishers[1], Packet::Publish(packet));
    assert_eq!(retained_records(&broker, "r"), [false]);
    broker.core(0).handle_store_ready(true);
    broker.run();
    assert_eq!(retained_records(&broker, "r"), [false]);
}

#[test]
fn what_expires_again_and_again_does_not_pile_up_before_a_store_that_takes_nothing() {
    let mut broker = Broker::with_store(1);
    let publisher = broker.client("pub");
    broker.core(0).handle_store_ready(false);
    for _ in 0..10 {
        retain_for_a_second(&mut broker, publisher, "a");
        retain_for_a_second(&mut broker, publisher, "b");
        broker.advance_secs(2);
    }
    assert_eq!(broker.log().count(), 0);
    broker.core(0).handle_store_ready(true);
    broker.run();
    assert_eq!(broker.log().count(), 2, "the last of each Topic Name");
}
