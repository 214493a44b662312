//! The store: acknowledgements that wait for it, and the records that it gets.

use super::*;
use crate::Limits;
use crate::core::{DropCause, Record};
use dunlin_protocol::codec::{Packet, PacketType, QoS};

/// A broker whose store is behind until told otherwise, with a persistent subscriber of `a`.
fn slow_store(workers: u8) -> (Broker, Link) {
    let mut broker = Broker::with_store(workers);
    broker.stores_at_once = false;
    let (subscriber, _) = broker.join(connect("sub").expiry(60));
    broker.send(subscriber, subscribe(&["a"], QoS::ExactlyOnce));
    broker.store_all();
    broker.receive(subscriber);
    (broker, subscriber)
}

#[test]
fn puback_pubrec_and_pubcomp_wait_for_the_store() {
    let (mut broker, _) = slow_store(1);
    let (publisher, _) = broker.join(connect("pub").expiry(60));
    broker.store_all();
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    assert!(broker.receive(publisher).is_empty());
    broker.store_all();
    assert_eq!(broker.types(publisher), [PacketType::PubAck]);
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 2)));
    assert!(broker.receive(publisher).is_empty());
    broker.store_all();
    assert_eq!(broker.types(publisher), [PacketType::PubRec]);
    broker.send(publisher, Packet::PubRel(ack(identifier(2))));
    assert!(broker.receive(publisher).is_empty());
    broker.store_all();
    assert_eq!(broker.types(publisher), [PacketType::PubComp]);
}

#[test]
fn what_needs_no_store_does_not_wait_but_keeps_its_place() {
    let (mut broker, _) = slow_store(1);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("nobody", "x", QoS::AtLeastOnce, 1)));
    assert_eq!(broker.types(publisher), [PacketType::PubAck]);
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 2)));
    broker.send(publisher, Packet::Publish(publish("nobody", "x", QoS::AtLeastOnce, 3)));
    broker.send(publisher, Packet::PingReq);
    assert_eq!(
        broker.types(publisher),
        [PacketType::PingResp],
        "acknowledgements keep their order"
    );
    broker.store_all();
    let order: Vec<_> = broker
        .receive(publisher)
        .into_iter()
        .map(|packet| match packet {
            Packet::PubAck(ack) => ack.packet_identifier.value(),
            packet => panic!("{packet:?}"),
        })
        .collect();
    assert_eq!(order, [2, 3]);
}

#[test]
fn a_connection_that_goes_while_the_store_works_leaves_nothing_behind() {
    let (mut broker, subscriber) = slow_store(1);
    let publisher = broker.client("pub");
    for at in 1..=3 {
        broker
            .send(publisher, Packet::Publish(publish("a", &at.to_string(), QoS::AtLeastOnce, at)));
    }
    broker.cut(publisher);
    let another = broker.client("another");
    broker.store_all();
    assert!(broker.receive(another).is_empty(), "the answers were for its predecessor");
    assert_eq!(broker.drain(subscriber), ["1", "2", "3"]);
    broker.store_all();
    assert_eq!(broker.core(0).census().pending, 0);
}

#[test]
fn a_publish_is_answered_when_the_stores_of_all_its_sessions_have_it() {
    let (mut broker, subscriber) = slow_store(2);
    let elsewhere = (0..)
        .map(|at| format!("pub-{at}"))
        .find(|name| {
            let owner = crate::core::owner(&name.parse().expect("text"), 2, broker::SEED);
            usize::from(owner.0) != broker.worker_of(subscriber)
        })
        .expect("one of them");
    let publisher = broker.client(&elsewhere);
    for (at, qos, answer) in
        [(1, QoS::AtLeastOnce, PacketType::PubAck), (2, QoS::ExactlyOnce, PacketType::PubRec)]
    {
        broker.send(publisher, Packet::Publish(publish("a", "x", qos, at)));
        assert!(broker.receive(publisher).is_empty(), "the other worker's store is behind");
        broker.store_all();
        assert_eq!(broker.types(publisher), [answer]);
    }
}

#[test]
fn a_qos_2_message_sent_again_is_not_acknowledged_before_it_is_stored() {
    let (mut broker, subscriber) = slow_store(1);
    let (publisher, _) = broker.join(connect("pub").expiry(60));
    broker.store_all();
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    broker.cut(publisher);
    let link = broker.connect(connect("pub").resume().expiry(60));
    broker.send(link, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    assert!(!broker.types(link).contains(&PacketType::PubRec), "the store is still behind");
    broker.store_all();
    assert!(broker.types(link).contains(&PacketType::PubRec));
    assert_eq!(broker.drain(subscriber), ["x"]);
}

#[test]
fn the_records_of_a_session_tell_its_life() {
    let mut broker = Broker::with_store(1);
    let (link, _) = broker.join(connect("sub").expiry(60));
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    broker.drain(link);
    broker.send(link, unsubscribe(&["a"]));
    broker.send(link, disconnect_with_expiry(0));
    let kinds: Vec<_> = broker
        .records(0)
        .iter()
        .map(|record| match record {
            Record::Session { .. } => "session",
            Record::Subscribed { .. } => "subscribed",
            Record::Owed { .. } => "owed",
            Record::Settled { .. } => "settled",
            Record::Unsubscribed { .. } => "unsubscribed",
            Record::SessionEnded { .. } => "ended",
            record => panic!("{record:?}"),
        })
        .collect();
    assert_eq!(kinds, ["session", "subscribed", "owed", "settled", "unsubscribed", "ended"]);
}

#[test]
fn a_changed_session_expiry_interval_is_recorded_and_so_is_the_end_of_every_recorded_session() {
    let mut broker = Broker::with_store(1);
    let (link, _) = broker.join(connect("one").expiry(60));
    broker.send(link, disconnect_with_expiry(30));
    let (link, _) = broker.join(connect("one").resume().expiry(0));
    broker.cut(link);
    let intervals: Vec<_> = broker
        .records(0)
        .iter()
        .map(|record| match record {
            Record::Session { session_expiry_interval, .. } => Some(*session_expiry_interval),
            Record::SessionEnded { .. } => None,
            record => panic!("{record:?}"),
        })
        .collect();
    assert_eq!(intervals, [Some(60), Some(30), Some(0), None]);
}

#[test]
fn sessions_that_end_with_their_connection_make_no_records() {
    let mut broker = Broker::with_store(1);
    let link = broker.client("one");
    broker.send(link, subscribe(&["a"], QoS::ExactlyOnce));
    broker.send(link, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    broker.drain(link);
    broker.cut(link);
    assert!(broker.records(0).is_empty());
}

#[test]
fn each_message_that_is_owed_is_settled_once_however_it_ends() {
    let limits = Limits {
        sys_interval_secs: 0,
        queue_len_max: 3,
        queue_policy: crate::QueuePolicy::DropOldest,
        ..Limits::default()
    };
    let mut broker = Broker::build(1, limits, true);
    for name in ["m-0", "m-1"] {
        let (link, _) = broker.join(connect(name).expiry(60).receive_maximum(2));
        broker.send(link, subscribe(&["$share/g/a", "b"], QoS::AtLeastOnce));
        broker.receive(link);
    }
    let publisher = broker.client("pub");
    for at in 1..=20 {
        let topic_name = if at % 2 == 0 { "a" } else { "b" };
        let packet = publish(topic_name, "x", QoS::AtLeastOnce, at).expires(30);
        broker.send(publisher, Packet::Publish(packet));
    }
    let (link, _) = broker.join(connect("m-0").resume().expiry(60));
    broker.drain(link);
    broker.advance_secs(31);
    let (link, _) = broker.join(connect("m-1").resume().expiry(60));
    broker.drain(link);
    let mut open = std::collections::BTreeSet::new();
    for record in broker.records(0) {
        match record {
            Record::Owed { client_identifier, number, .. } => {
                assert!(open.insert((client_identifier.to_string(), *number)));
            }
            Record::Settled { client_identifier, number } => {
                assert!(open.remove(&(client_identifier.to_string(), *number)));
            }
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_client_that_waits_for_its_session_gets_an_answer_when_the_session_ends_meanwhile() {
    let (mut broker, _) = slow_store(1);
    let (publisher, _) = broker.join(connect("pub").expiry(60));
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    broker.cut(publisher);
    let link = broker.connect(connect("pub").resume().expiry(60));
    let gone = broker.connect(connect("pub").resume().expiry(60));
    broker.cut(gone);
    broker.advance_secs(61);
    assert!(broker.receive(link).is_empty());
    broker.store_all();
    let Packet::ConnAck(connack) = broker.receive_one(link) else { panic!("no CONNACK") };
    assert!(!connack.session_present);
    broker.send(link, Packet::PingReq);
    assert_eq!(broker.types(link), [PacketType::PingResp]);
}

#[test]
fn a_client_that_is_gone_waits_for_the_store_without_work_and_then_goes_on() {
    use crate::core::{Core, CoreConfig, InputState, RetainedStore, WorkerNumber};
    use dunlin_protocol::Instant;
    use dunlin_protocol::codec::{Packet, ProtocolVersion, QoS};
    let now = Instant::ZERO;
    let limits = crate::Limits { receive_maximum: 1, sys_interval_secs: 0, ..Default::default() };
    let mut core = Core::new(
        now,
        CoreConfig {
            worker: WorkerNumber(0),
            workers: 1,
            limits: std::sync::Arc::new(limits),
            seed: 1,
            retained: RetainedStore::new(),
            stores: true,
            queue_head: crate::core::QueueHead::default(),
            durability: std::sync::Arc::default(),
            login_timeout: None,
            anonymous_may_claim: true,
            rights: None,
            version: "test",
        },
    );
    let key = core.open(now, crate::core::Durability::Fsync);
    let mut input = bytes::BytesMut::new();
    for packet in [
        Packet::Connect(Box::new(connect_v311("old", false))),
        Packet::Publish(publish("a", "1", QoS::ExactlyOnce, 1)),
        Packet::Publish(publish("a", "2", QoS::ExactlyOnce, 2)),
    ] {
        input.extend_from_slice(&bytes_of(&packet, ProtocolVersion::V3_1_1));
    }
    let settle = |core: &mut Core| {
        let mut keys = Vec::new();
        while core.poll_output().is_some() {}
        core.take_touched(&mut keys);
        core.take_urgent(&mut keys);
        core.resumed(&mut keys);
    };
    assert_eq!(core.handle_input(now, key, &mut input), InputState::Paused);
    settle(&mut core);
    core.handle_stored(now, crate::core::Durability::Fsync, crate::core::RecordNumber(1));
    settle(&mut core);
    assert_eq!(core.handle_input(now, key, &mut input), InputState::Paused);
    settle(&mut core);
    core.handle_peer_gone(now, key);
    assert_eq!(core.handle_input(now, key, &mut input), InputState::Paused);
    assert!(!core.has_work(), "nothing happens until the store answers");
    core.handle_stored(now, crate::core::Durability::Fsync, crate::core::RecordNumber(u64::MAX));
    let mut resumed = Vec::new();
    core.resumed(&mut resumed);
    assert_eq!(resumed, [key]);
    core.handle_input(now, key, &mut input);
    assert!(input.is_empty(), "the rest of its input is taken");
}

#[test]
fn a_queue_behind_messages_that_wait_for_the_store_waits_without_work() {
    let limits = Limits { output_bytes_max: 1024, ..Limits::default() };
    let mut broker = Broker::build(1, limits, true);
    let (subscriber, _) = broker.join(connect("sub").expiry(60));
    broker.send(subscriber, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(subscriber);
    let publisher = broker.client("pub");
    broker.block(subscriber, true);
    let long = "x".repeat(600);
    for at in 1..=6 {
        broker.send(publisher, Packet::Publish(publish("a", &long, QoS::ExactlyOnce, at)));
        broker.send(publisher, Packet::PubRel(ack(identifier(at))));
    }
    broker.stores_at_once = false;
    // Its first messages are prepared, the others have no room until the store has gone on.
    broker.block(subscriber, false);
    assert!(!broker.core(0).has_work(), "only the store can change anything");
    broker.stores_at_once = true;
    broker.store_all();
    assert_eq!(broker.drain(subscriber).len(), 6);
}

#[test]
fn a_message_that_expires_while_it_waits_for_the_store_is_not_sent() {
    let (mut broker, subscriber) = slow_store(1);
    let publisher = broker.client("pub");
    let mut short_lived = publish("a", "x", QoS::ExactlyOnce, 1);
    short_lived.message_expiry_interval = Some(1);
    broker.send(publisher, Packet::Publish(short_lived));
    broker.send(publisher, Packet::Publish(publish("a", "y", QoS::ExactlyOnce, 2)));
    broker.advance_secs(2);
    broker.store_all();
    assert_eq!(broker.drain(subscriber), ["y"]);
    assert_eq!(broker.counters().dropped_for(DropCause::Expired), 1);
    broker.store_all();
    assert_eq!(broker.core(0).census().pending, 0);
}

#[test]
fn a_client_of_mqtt_3_whose_acknowledgements_waited_is_watched_again() {
    let (mut broker, _) = slow_store(1);
    let limit = Limits::default().receive_maximum;
    let mut hello = connect("pub");
    hello.protocol_version = dunlin_protocol::codec::ProtocolVersion::V3_1_1;
    hello.keep_alive = 2;
    let (publisher, _) = broker.join(hello);
    for at in 1..=limit {
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, at)));
    }
    // The timer comes up while nothing is taken from the Client.
    broker.advance_secs(4);
    assert!(!broker.is_closed(publisher), "its silence is the broker's");
    broker.store_all();
    broker.send(publisher, Packet::PingReq);
    broker.advance_secs(2);
    assert!(!broker.is_closed(publisher));
    broker.advance_secs(2);
    assert!(broker.is_closed(publisher), "it is silent again");
}

#[test]
fn a_client_of_mqtt_3_that_gets_messages_while_it_waits_is_watched_again() {
    let limits = Limits { receive_maximum: 1, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::build(1, limits, true);
    broker.stores_at_once = false;
    let (subscriber, _) = broker.join(connect("sub").expiry(60));
    broker.send(subscriber, subscribe(&["a"], QoS::AtLeastOnce));
    let (old, _) = broker.join(connect_v311("old", true).keep_alive(2));
    broker.send(old, subscribe(&["b"], QoS::AtMostOnce));
    broker.store_all();
    let other = broker.client("other");
    broker.send(old, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    broker.send(other, Packet::Publish(publish("b", "y", QoS::AtMostOnce, 1)));
    // Its timer comes up before the store is done, after what was written to it.
    broker.advance_secs(4);
    broker.store_all();
    assert_eq!(broker.types(old), [PacketType::SubAck, PacketType::Publish, PacketType::PubAck]);
    broker.advance(std::time::Duration::from_millis(2900));
    assert!(!broker.is_closed(old), "it is read again only now");
    broker.advance(std::time::Duration::from_millis(200));
    assert!(broker.is_closed(old), "it is looked at in time");
}

#[test]
fn a_session_that_now_ends_with_its_connection_gets_its_messages_in_order_and_one_pubrel_each() {
    let (mut broker, subscriber) = slow_store(1);
    broker.cut(subscriber);
    let publisher = broker.client("pub");
    for at in 1..=2 {
        broker.send(publisher, Packet::Publish(publish("a", "stored", QoS::ExactlyOnce, at)));
    }
    broker.store_all();
    let (subscriber, session_present) = broker.join(connect("sub").resume());
    assert!(session_present);
    broker.send(publisher, Packet::Publish(publish("a", "live", QoS::ExactlyOnce, 3)));
    broker.store_all();
    let messages = broker.messages(subscriber);
    let payloads: Vec<_> = messages.iter().map(|publish| &publish.payload[..]).collect();
    assert_eq!(payloads, [&b"stored"[..], b"stored", b"live"]);
    for message in messages {
        broker.send(subscriber, Packet::PubRec(ack(message.packet_identifier())));
        broker.store_all();
        assert_eq!(broker.types(subscriber), [PacketType::PubRel]);
    }
}
