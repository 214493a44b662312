//! Wills: exactly when they are due, and never when they are not.

use super::*;
use crate::Limits;
use crate::core::DropCause;
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};

/// A broker with a Client that watches all topics.
fn watched() -> (Broker, Link) {
    let mut broker = Broker::new();
    let watcher = broker.client("watcher");
    broker.send(watcher, subscribe(&["#"], QoS::AtLeastOnce));
    broker.receive(watcher);
    (broker, watcher)
}

/// What a Client with this Will Delay Interval and Session Expiry Interval leaves behind when it
/// ends in a certain way: after how many seconds its Will comes.
fn check(delay: u32, expiry: u32, end: impl Fn(&mut Broker, Link), expected: Option<u64>) {
    let (mut broker, watcher) = watched();
    let (link, _) = broker.join(connect("one").expiry(expiry).will(will("w", "gone", delay)));
    end(&mut broker, link);
    let mut came = None;
    for secs in 0..=40 {
        if !broker.drain(watcher).is_empty() {
            assert_eq!(came.replace(secs), None, "a Will comes once");
        }
        broker.advance_secs(1);
    }
    assert_eq!(came, expected, "delay {delay}, expiry {expiry}");
}

#[test]
fn a_cut_connection_publishes_after_the_shorter_of_delay_and_session() {
    let cut = |broker: &mut Broker, link| broker.cut(link);
    check(0, 0, cut, Some(0));
    check(0, 20, cut, Some(0));
    check(10, 0, cut, Some(0));
    check(10, 20, cut, Some(10));
    check(20, 10, cut, Some(10));
    check(10, u32::MAX, cut, Some(10));
}

#[test]
fn only_a_normal_disconnect_discards_the_will() {
    check(0, 20, |broker, link| broker.send(link, disconnect(ReasonCode::Success)), None);
    for reason_code in [
        ReasonCode::DisconnectWithWillMessage,
        ReasonCode::UnspecifiedError,
        ReasonCode::PacketTooLarge,
    ] {
        check(0, 20, |broker, link| broker.send(link, disconnect(reason_code)), Some(0));
        check(5, 20, |broker, link| broker.send(link, disconnect(reason_code)), Some(5));
    }
}

#[test]
fn disconnect_in_mqtt_3_discards_the_will_and_a_cut_does_not() {
    for polite in [true, false] {
        let (mut broker, watcher) = watched();
        let (link, _) = broker.join(connect_v311("old", true).will(will("w", "gone", 0)));
        if polite {
            broker.send(link, disconnect(ReasonCode::Success));
        }
        broker.cut(link);
        assert_eq!(broker.drain(watcher).len(), usize::from(!polite));
    }
}

#[test]
fn faults_and_silence_publish_the_will() {
    check(0, 0, |broker, link| broker.send_bytes(link, &[0xF7, 0xFF]), Some(0));
    let (mut broker, watcher) = watched();
    broker.join(connect("one").keep_alive(10).will(will("w", "gone", 0)));
    broker.advance_secs(16);
    assert_eq!(broker.drain(watcher), ["gone"]);
}

#[test]
fn a_shorter_session_in_disconnect_brings_the_will_forward() {
    let end = |broker: &mut Broker, link| {
        let Packet::Disconnect(mut packet) = disconnect_with_expiry(3) else { return };
        packet.reason_code = ReasonCode::DisconnectWithWillMessage;
        broker.send(link, Packet::Disconnect(packet));
    };
    check(10, 20, end, Some(3));
}

#[test]
fn takeover_publishes_the_will_unless_it_is_delayed_and_the_session_goes_on() {
    for (delay, clean_start, published) in
        [(0, false, true), (0, true, true), (10, true, true), (10, false, false)]
    {
        let (mut broker, watcher) = watched();
        broker.join(connect("one").expiry(60).will(will("w", "first", delay)));
        let mut packet = connect("one").expiry(60).will(will("w", "second", 0));
        packet.clean_start = clean_start;
        let (second, _) = broker.join(packet);
        let expected: &[&str] = if published { &["first"] } else { &[] };
        assert_eq!(broker.drain(watcher), expected, "delay {delay}, Clean Start {clean_start}");
        broker.advance_secs(20);
        assert!(broker.drain(watcher).is_empty());
        broker.cut(second);
        assert_eq!(broker.drain(watcher), ["second"]);
    }
}

#[test]
fn a_client_that_comes_back_in_time_keeps_its_will_to_itself() {
    let (mut broker, watcher) = watched();
    let (link, _) = broker.join(connect("one").expiry(60).will(will("w", "first", 10)));
    broker.cut(link);
    broker.advance_secs(9);
    let (link, _) = broker.join(connect("one").resume().expiry(60).will(will("w", "next", 10)));
    broker.advance_secs(60);
    assert!(broker.drain(watcher).is_empty());
    broker.cut(link);
    broker.advance_secs(9);
    assert!(broker.drain(watcher).is_empty(), "an older deadline is not this one's");
    broker.advance_secs(2);
    assert_eq!(broker.drain(watcher), ["next"]);
}

#[test]
fn a_will_is_retained_expires_and_carries_its_properties() {
    let mut broker = Broker::new();
    let mut packet = will("w", "gone", 0);
    packet.retain = true;
    packet.properties.message_expiry_interval = Some(10);
    packet.properties.message.content_type = Some("text/plain".parse().expect("text"));
    let (link, _) = broker.join(connect("one").will(packet));
    broker.cut(link);
    broker.advance_secs(4);
    let early = broker.client("early");
    broker.send(early, subscribe(&["w"], QoS::AtLeastOnce));
    let packets = broker.receive(early);
    let Some(Packet::Publish(message)) = packets.last() else { panic!("no message: {packets:?}") };
    assert!(message.retain);
    assert_eq!(message.message_expiry_interval, Some(6));
    let properties = message.properties.as_deref().expect("properties");
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    broker.advance_secs(10);
    let late = broker.client("late");
    broker.send(late, subscribe(&["w"], QoS::AtLeastOnce));
    assert_eq!(broker.receive(late).len(), 1, "SUBACK alone");
}

#[test]
fn a_will_for_a_forbidden_topic_is_refused_at_connect() {
    let limits = Limits { topic_levels_max: 2, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    for (topic_name, expected) in
        [("$SYS/x", ReasonCode::NotAuthorized), ("a/b/c", ReasonCode::TopicNameInvalid)]
    {
        let link = broker.connect(connect("one").will(will(topic_name, "x", 0)));
        let Packet::ConnAck(connack) = broker.receive_one(link) else { panic!("no CONNACK") };
        assert_eq!(connack.reason_code, expected);
    }
    assert_eq!(broker.counters().dropped_for(DropCause::NotAllowed), 0);
}

#[test]
fn wills_reach_the_clients_of_other_workers() {
    let limits = Limits { sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(3, limits);
    let watchers: Vec<_> = (0..6)
        .map(|at| {
            let link = broker.client(&format!("watcher-{at}"));
            broker.send(link, subscribe(&["w"], QoS::AtLeastOnce));
            broker.receive(link);
            link
        })
        .collect();
    let (link, _) = broker.join(connect("one").expiry(60).will(will("w", "gone", 5)));
    broker.cut(link);
    broker.advance_secs(6);
    for watcher in watchers {
        assert_eq!(broker.drain(watcher), ["gone"]);
    }
}
