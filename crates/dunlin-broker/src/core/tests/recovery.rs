//! What survives a crash, kind by kind.

use super::*;
use dunlin_protocol::codec::{Packet, QoS};
use std::time::Duration;

/// A Client whose session survives.
fn keeper(broker: &mut Broker, name: &str) -> Link {
    broker.join(connect(name).resume().expiry(600)).0
}

fn says(broker: &mut Broker, topic_name: &str, payload: &str, qos: QoS) {
    let publisher = broker.client("sayer");
    broker.send(publisher, Packet::Publish(publish(topic_name, payload, qos, 1)));
    let packets = broker.receive(publisher);
    assert_eq!(packets.len(), usize::from(qos > QoS::AtMostOnce), "acknowledged");
    broker.cut(publisher);
}

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
