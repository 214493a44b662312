//! Retained messages after a crash.

use super::*;

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
