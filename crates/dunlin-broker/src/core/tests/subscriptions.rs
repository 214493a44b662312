//! SUBSCRIBE and UNSUBSCRIBE: options, overlaps, limits, replacement.

use super::*;
use crate::Limits;
use dunlin_protocol::codec::{
    Packet, QoS, ReasonCode, SubscriptionIdentifier, SubscriptionOptions,
};

fn suback_codes(broker: &mut Broker, link: Link) -> Vec<ReasonCode> {
    match broker.receive_one(link) {
        Packet::SubAck(suback) => suback.reason_codes,
        Packet::UnsubAck(unsuback) => unsuback.reason_codes,
        packet => panic!("no SUBACK or UNSUBACK but {packet:?}"),
    }
}

#[test]
fn each_filter_is_answered_in_its_order() {
    let mut broker = Broker::new();
    let link = broker.client("one");
    for (qos, code) in
        QOS.into_iter().zip([ReasonCode::Success, ReasonCode::GrantedQoS1, ReasonCode::GrantedQoS2])
    {
        broker.send(link, subscribe(&["a", "b/#", "$share/g/c"], qos));
        assert_eq!(suback_codes(&mut broker, link), [code; 3]);
    }
    assert_eq!(broker.counters().subscriptions, 3, "the same filters replace");
    broker.send(link, unsubscribe(&["a", "never", "$share/g/c", "c"]));
    let (gone, unknown) = (ReasonCode::Success, ReasonCode::NoSubscriptionExisted);
    assert_eq!(suback_codes(&mut broker, link), [gone, unknown, gone, unknown]);
    assert_eq!(broker.counters().subscriptions, 1);
}

#[test]
fn overlapping_subscriptions_give_one_message_with_the_highest_qos_and_all_identifiers() {
    let mut broker = Broker::new();
    let link = broker.client("one");
    for (filter, qos, value) in [
        ("a/+", QoS::AtMostOnce, Some(3)),
        ("a/#", QoS::ExactlyOnce, Some(1)),
        ("a/b", QoS::AtLeastOnce, None),
        ("#", QoS::AtMostOnce, Some(3)),
        ("other", QoS::AtMostOnce, Some(9)),
    ] {
        broker.send(link, subscribe_with(&[filter], options(qos), value));
    }
    broker.receive(link);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a/b", "x", QoS::ExactlyOnce, 1)));
    let messages = broker.messages(link);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].delivery.qos(), QoS::ExactlyOnce);
    let identifiers: Vec<_> = [1, 3].into_iter().filter_map(SubscriptionIdentifier::new).collect();
    assert_eq!(messages[0].subscription_identifiers, identifiers);
}

#[test]
fn a_new_subscription_replaces_options_and_identifier() {
    let mut broker = Broker::new();
    let link = broker.client("one");
    broker.send(link, subscribe_with(&["a"], options(QoS::ExactlyOnce), Some(1)));
    broker.send(link, subscribe_with(&["a"], options(QoS::AtLeastOnce), None));
    broker.receive(link);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    let message = &broker.messages(link)[0];
    assert_eq!(message.delivery.qos(), QoS::AtLeastOnce);
    assert!(message.subscription_identifiers.is_empty());
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_it() {
    for workers in [1, 2] {
        let limits = Limits { sys_interval_secs: 0, ..Limits::default() };
        let mut broker = Broker::with(workers, limits);
        let one = broker.client("one");
        let two = broker.client("two-2");
        let options = SubscriptionOptions { no_local: true, ..options(QoS::AtLeastOnce) };
        for link in [one, two] {
            broker.send(link, subscribe_with(&["a"], options, None));
            broker.receive(link);
        }
        broker.send(one, Packet::Publish(publish("a", "x", QoS::AtMostOnce, 1)));
        assert!(broker.payloads(one).is_empty());
        assert_eq!(broker.payloads(two), ["x"]);
        broker.send(one, subscribe(&["+"], QoS::AtMostOnce));
        broker.receive(one);
        broker.send(one, Packet::Publish(publish("a", "y", QoS::AtMostOnce, 1)));
        assert_eq!(broker.payloads(one), ["y"], "another subscription wants it");
    }
}

#[test]
fn a_no_local_subscription_adds_nothing_to_an_own_message_that_another_one_wants() {
    let mut broker = Broker::new();
    let link = broker.client("one");
    let no_local = SubscriptionOptions {
        no_local: true,
        retain_as_published: true,
        ..options(QoS::ExactlyOnce)
    };
    broker.send(link, subscribe_with(&["a"], no_local, Some(1)));
    broker.send(link, subscribe_with(&["#"], options(QoS::AtLeastOnce), Some(2)));
    broker.send(link, subscribe_with(&["+"], options(QoS::AtMostOnce), Some(3)));
    broker.receive(link);
    let mut message = publish("a", "x", QoS::ExactlyOnce, 1);
    message.retain = true;
    broker.send(link, Packet::Publish(message.clone()));
    let of = |packets: Vec<Packet>| {
        let mut messages = packets.into_iter().filter_map(|packet| match packet {
            Packet::Publish(message) => Some(message),
            _ => None,
        });
        let message = messages.next().expect("a message");
        assert!(messages.next().is_none(), "one message");
        let identifiers = message.subscription_identifiers.iter();
        let identifiers: Vec<u32> = identifiers.map(|found| found.value()).collect();
        (message.delivery.qos(), message.retain, identifiers)
    };
    assert_eq!(of(broker.receive(link)), (QoS::AtLeastOnce, false, vec![2, 3]));
    let other = broker.client("two");
    broker.send(other, Packet::Publish(message));
    assert_eq!(of(broker.receive(link)), (QoS::ExactlyOnce, true, vec![1, 2, 3]));
}

#[test]
fn nothing_comes_after_unsuback_but_what_was_on_its_way() {
    let mut broker = Broker::new();
    let (link, _) = broker.join(connect("one").receive_maximum(1));
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.receive(link);
    let publisher = broker.client("pub");
    for at in 1..=2 {
        let packet = publish("a", &at.to_string(), QoS::AtLeastOnce, at);
        broker.send(publisher, Packet::Publish(packet));
    }
    broker.send(link, unsubscribe(&["a"]));
    broker.send(publisher, Packet::Publish(publish("a", "3", QoS::AtLeastOnce, 3)));
    assert_eq!(broker.drain(link), ["1", "2"]);
}

#[test]
fn subscriptions_of_a_session_are_limited_and_known_ones_may_change() {
    let limits =
        Limits { subscriptions_per_session_max: 2, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let link = broker.client("one");
    let filters: Vec<String> = (0..20).map(|at| format!("f/{at}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    broker.send(link, subscribe(&filters, QoS::AtMostOnce));
    let codes = suback_codes(&mut broker, link);
    assert_eq!(codes[..2], [ReasonCode::Success; 2]);
    assert!(codes[2..].iter().all(|code| *code == ReasonCode::QuotaExceeded));
    broker.send(link, subscribe(&["f/0"], QoS::AtLeastOnce));
    assert_eq!(suback_codes(&mut broker, link), [ReasonCode::GrantedQoS1]);
    assert_eq!(broker.counters().subscriptions, 2);
}

#[test]
fn topic_filters_have_a_limit_of_levels() {
    let limits = Limits { topic_levels_max: 3, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let link = broker.client("one");
    let deep = vec!["+"; 30].join("/");
    broker.send(link, subscribe(&["a/b/c", "a/b/c/d", "$share/g/a/b/c", &deep], QoS::AtMostOnce));
    let (granted, invalid) = (ReasonCode::Success, ReasonCode::TopicFilterInvalid);
    assert_eq!(suback_codes(&mut broker, link), [granted, invalid, granted, invalid]);
}

#[test]
fn subscriptions_of_a_kept_session_go_on() {
    let mut broker = Broker::new();
    let (link, _) = broker.join(connect_v311("old", false));
    broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
    broker.send(link, disconnect(ReasonCode::Success));
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    let (link, session_present) = broker.join(connect_v311("old", false));
    assert!(session_present);
    assert_eq!(broker.drain(link), ["x"]);
}

#[test]
fn a_suback_that_does_not_fit_ends_the_connection() {
    let mut broker = Broker::new();
    let mut packet = connect("one");
    packet.properties.maximum_packet_size = Some(40);
    let (link, _) = broker.join(packet);
    let filters: Vec<String> = (0..60).map(|at| format!("f/{at}")).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    broker.send(link, subscribe(&filters, QoS::AtMostOnce));
    assert!(broker.is_closed(link));
    assert_eq!(broker.counters().subscriptions, 0);
}
