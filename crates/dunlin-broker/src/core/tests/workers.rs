//! Several workers: interests, batches, acknowledgements and moves in every order.

use super::*;
use crate::core::DropCause;
use crate::{Limits, QueuePolicy};
use dunlin_protocol::codec::{Packet, PacketType, QoS, ReasonCode};

fn quiet() -> Limits {
    Limits { sys_interval_secs: 0, ..Limits::default() }
}

/// A Client Identifier that belongs to this worker.
pub(super) fn name_at(broker: &Broker, worker: usize, prefix: &str) -> String {
    let workers = u8::try_from(broker.workers()).expect("few workers");
    (0..)
        .map(|at| format!("{prefix}-{at}"))
        .find(|name| {
            let text = name.parse().expect("a legal Client Identifier");
            usize::from(crate::core::owner(&text, workers, broker::SEED).0) == worker
        })
        .expect("each worker owns some")
}

/// A Client at this worker, accepted by that one.
pub(super) fn client_at(
    broker: &mut Broker,
    worker: usize,
    accepting: usize,
    prefix: &str,
) -> Link {
    let name = name_at(broker, worker, prefix);
    broker.accepting = accepting;
    broker.join(connect(&name).expiry(60)).0
}

#[test]
fn a_connection_moves_to_the_owner_of_its_session_with_all_that_it_sent() {
    for worker in 0..3 {
        for accepting in 0..3 {
            let mut broker = Broker::with(3, quiet());
            let name = name_at(&broker, worker, "client");
            broker.accepting = accepting;
            broker.prompt = false;
            let link = broker.open();
            let connect = Packet::Connect(Box::new(connect(&name)));
            broker.send(link, connect);
            broker.send(link, subscribe(&["a"], QoS::AtMostOnce));
            broker.send(link, Packet::Publish(publish("a", "x", QoS::AtMostOnce, 1)));
            broker.run();
            assert_eq!(broker.worker_of(link), worker);
            let types = broker.types(link);
            assert_eq!(types.len(), 3, "worker {worker}, accepted by {accepting}: {types:?}");
            assert_eq!(types[0], PacketType::ConnAck);
            let counters = broker.counters();
            assert_eq!((counters.connections, counters.connections_opened), (1, 1));
        }
    }
}

#[test]
fn a_client_that_goes_while_its_connection_moves_leaves_nothing() {
    let mut broker = Broker::with(2, quiet());
    let name = name_at(&broker, 1, "client");
    broker.prompt = false;
    let link = broker.open();
    broker.send(link, Packet::Connect(Box::new(connect(&name))));
    broker.read(link.0);
    broker.cut(link);
    broker.run();
    broker.cut(link);
    broker.run();
    let counters = broker.counters();
    assert_eq!((counters.connections, counters.sessions, counters.clients_connected), (0, 0, 0));
}

#[test]
fn messages_cross_workers_at_every_qos_and_are_acknowledged() {
    for qos in QOS {
        let mut broker = Broker::with(3, quiet());
        let subscribers: Vec<_> =
            (0..3).map(|worker| client_at(&mut broker, worker, 0, "sub")).collect();
        for link in &subscribers {
            broker.send(*link, subscribe(&["a/#"], qos));
            broker.receive(*link);
        }
        for worker in 0..3 {
            let publisher = client_at(&mut broker, worker, worker, "pub");
            let packet = publish("a/b", &worker.to_string(), qos, 5);
            broker.send(publisher, Packet::Publish(packet));
            assert_eq!(broker.types(publisher).len(), usize::from(qos != QoS::AtMostOnce));
        }
        for link in subscribers {
            assert_eq!(broker.drain(link), ["0", "1", "2"]);
        }
        for worker in 0..3 {
            assert_eq!(broker.core(worker).census().pending, 0);
        }
    }
}

#[test]
fn suback_comes_when_every_worker_knows_and_not_before() {
    let mut broker = Broker::with(3, quiet());
    let link = client_at(&mut broker, 0, 0, "sub");
    let publisher = client_at(&mut broker, 1, 1, "pub");
    broker.prompt = false;
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.read(link.0);
    broker.step(1);
    broker.step(0);
    assert!(broker.receive(link).is_empty(), "worker 2 has not heard of it");
    broker.step(2);
    broker.step(0);
    assert_eq!(broker.types(link), [PacketType::SubAck]);
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    broker.run();
    assert_eq!(broker.drain(link), ["x"]);
}

#[test]
fn a_second_subscribe_does_not_overtake_the_announcement_of_the_first() {
    for same_session in [true, false] {
        let mut broker = Broker::with(2, quiet());
        let first = client_at(&mut broker, 0, 0, "sub");
        let second = if same_session { first } else { client_at(&mut broker, 0, 0, "another") };
        broker.prompt = false;
        broker.send(first, subscribe(&["a"], QoS::AtLeastOnce));
        broker.read(first.0);
        broker.send(second, subscribe(&["a"], QoS::AtLeastOnce));
        broker.read(second.0);
        assert!(broker.receive(second).is_empty());
        broker.run();
        assert!(!broker.receive(second).is_empty());
    }
}

#[test]
fn a_retained_message_set_during_subscribe_is_not_lost() {
    let mut broker = Broker::with(2, quiet());
    let link = client_at(&mut broker, 0, 0, "sub");
    let publisher = client_at(&mut broker, 1, 1, "pub");
    broker.prompt = false;
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.read(link.0);
    // The publisher's worker does not know of the subscription yet.
    let packet = publish("a", "x", QoS::AtLeastOnce, 1).retained();
    broker.send(publisher, Packet::Publish(packet));
    broker.read(publisher.0);
    broker.prompt = true;
    broker.run();
    assert_eq!(broker.drain(link), ["x"]);
}

#[test]
fn unsubscribe_before_suback_takes_the_retained_messages_with_it() {
    let mut broker = Broker::with(2, quiet());
    let link = client_at(&mut broker, 0, 0, "sub");
    let publisher = client_at(&mut broker, 1, 1, "pub");
    let packet = publish("a", "x", QoS::AtMostOnce, 1).retained();
    broker.send(publisher, Packet::Publish(packet));
    broker.prompt = false;
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.send(link, unsubscribe(&["a"]));
    broker.prompt = true;
    broker.run();
    let mut types = broker.types(link);
    types.sort_unstable_by_key(|packet_type| *packet_type as u8);
    assert_eq!(types, [PacketType::SubAck, PacketType::UnsubAck]);
}

#[test]
fn takeover_while_a_suback_waits_is_survived() {
    let mut broker = Broker::with(2, quiet());
    let name = name_at(&broker, 0, "sub");
    let (first, _) = broker.join(connect(&name).expiry(60));
    let publisher = client_at(&mut broker, 1, 1, "pub");
    broker.prompt = false;
    broker.send(first, subscribe(&["a"], QoS::AtLeastOnce));
    broker.read(first.0);
    broker.accepting = 0;
    let second = broker.connect(connect(&name).resume().expiry(60));
    broker.read(second.0);
    broker.prompt = true;
    broker.run();
    assert_eq!(broker.types(first), [PacketType::Disconnect]);
    assert_eq!(broker.types(second), [PacketType::ConnAck]);
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    assert_eq!(broker.drain(second), ["x"], "the Session has the subscription");
}

#[test]
fn a_full_queue_at_another_worker_refuses_the_publisher() {
    let limits = Limits { queue_len_max: 1, queue_policy: QueuePolicy::Refuse, ..quiet() };
    let mut broker = Broker::with(2, limits);
    let link = client_at(&mut broker, 0, 0, "sub");
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.cut(link);
    let publisher = client_at(&mut broker, 1, 1, "pub");
    for (at, expected) in [(1, ReasonCode::Success), (2, ReasonCode::QuotaExceeded)] {
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, at)));
        let Packet::PubAck(puback) = broker.receive_one(publisher) else { panic!("no PUBACK") };
        assert_eq!(puback.reason_code, expected);
    }
    assert_eq!(broker.counters().dropped_for(DropCause::Refused), 1);
}

#[test]
fn the_interest_of_a_worker_goes_with_its_last_subscription() {
    let mut broker = Broker::with(2, quiet());
    let one = client_at(&mut broker, 0, 0, "one");
    let two = client_at(&mut broker, 0, 0, "two");
    for link in [one, two] {
        broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
        broker.receive(link);
    }
    let publisher = client_at(&mut broker, 1, 1, "pub");
    let code = |broker: &mut Broker| {
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
        match broker.receive_one(publisher) {
            Packet::PubAck(puback) => puback.reason_code,
            packet => panic!("{packet:?}"),
        }
    };
    broker.send(one, unsubscribe(&["a"]));
    assert_eq!(code(&mut broker), ReasonCode::Success);
    broker.send(two, disconnect_with_expiry(0));
    assert_eq!(code(&mut broker), ReasonCode::NoMatchingSubscribers);
}

#[test]
fn order_is_kept_across_workers() {
    let mut broker = Broker::with(2, quiet());
    let link = client_at(&mut broker, 0, 0, "sub");
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.receive(link);
    let publisher = client_at(&mut broker, 1, 1, "pub");
    broker.prompt = false;
    let mut expected = Vec::new();
    for at in 1..=50 {
        broker
            .send(publisher, Packet::Publish(publish("a", &at.to_string(), QoS::AtLeastOnce, at)));
        expected.push(at.to_string());
        if at % 7 == 0 {
            broker.read(publisher.0);
        }
        if at % 13 == 0 {
            broker.take_mail(0);
        }
    }
    broker.prompt = true;
    broker.run();
    assert_eq!(broker.drain(link), expected);
}

#[test]
fn a_message_for_a_member_that_has_just_left_goes_to_another_worker() {
    // The last row: the other member is with the worker that took the message.
    for (leaving, staying, publishing) in [(0, 1, 2), (1, 0, 2), (0, 1, 1)] {
        let mut broker = Broker::with(3, quiet());
        let [gone, member] = [leaving, staying].map(|worker| {
            let link = client_at(&mut broker, worker, worker, "member");
            broker.send(link, subscribe(&["$share/g/a"], QoS::AtLeastOnce));
            broker.receive(link);
            link
        });
        let publisher = client_at(&mut broker, publishing, publishing, "pub");
        broker.prompt = false;
        let mut expected = Vec::new();
        for at in 1..=4 {
            let payload = at.to_string();
            broker.send(publisher, Packet::Publish(publish("a", &payload, QoS::AtLeastOnce, at)));
            expected.push(payload);
        }
        while broker.read(publisher.0) {}
        broker.settle(publishing);
        // The messages are on their way when the member goes.
        broker.send(gone, unsubscribe(&["$share/g/a"]));
        broker.read(gone.0);
        broker.prompt = true;
        broker.run();
        assert_eq!(broker.types(gone), [PacketType::UnsubAck]);
        let mut payloads = broker.drain(member);
        payloads.sort_unstable();
        assert_eq!(payloads, expected, "{leaving} {staying} {publishing}");
        assert_eq!(broker.types(publisher), [PacketType::PubAck; 4]);
        assert_eq!(broker.counters().dropped_for(DropCause::NoMember), 0);
    }
}
