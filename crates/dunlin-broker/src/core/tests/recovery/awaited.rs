//! What nobody is told before a crash could no longer make it false.

use super::*;

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
