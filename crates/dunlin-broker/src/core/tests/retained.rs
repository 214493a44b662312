//! Retained messages: set, cleared, expired, limited, and sent at a subscriber's own pace.

use super::*;
use crate::Limits;
use crate::core::{DropCause, Identity, RetainedStore, Subject};
use dunlin_protocol::codec::{
    Ack, Packet, PacketType, QoS, ReasonCode, RetainHandling, SubscriptionOptions, TopicName,
};
use dunlin_protocol::{Instant, Message};
use std::sync::Arc;

fn retain(broker: &mut Broker, publisher: Link, topic_name: &str, payload: &str) {
    let packet = publish(topic_name, payload, QoS::AtMostOnce, 1).retained();
    broker.send(publisher, Packet::Publish(packet));
}

/// What a new Client gets that subscribes to this filter, SUBACK left out.
fn sent(broker: &mut Broker, topic_filter: &str, qos: QoS) -> Vec<String> {
    let link = broker.client("reader");
    broker.send(link, subscribe(&[topic_filter], qos));
    let payloads = broker.drain(link);
    broker.send(link, disconnect(ReasonCode::Success));
    payloads
}

#[test]
fn the_last_value_is_kept_and_an_empty_one_clears_it() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    for qos in QOS {
        let packet = publish("a/b", "old", qos, 1).retained();
        broker.send(publisher, Packet::Publish(packet));
        if qos == QoS::ExactlyOnce {
            broker.send(publisher, Packet::PubRel(ack(identifier(1))));
        }
        retain(&mut broker, publisher, "a/b", "new");
        assert_eq!(sent(&mut broker, "a/+", qos), ["new"]);
        retain(&mut broker, publisher, "a/b", "");
        assert!(sent(&mut broker, "a/+", qos).is_empty());
        assert!(broker.retained.is_empty());
        assert_eq!(broker.retained.bytes(), 0);
    }
}

#[test]
fn a_message_without_the_flag_neither_sets_nor_clears() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    retain(&mut broker, publisher, "a", "kept");
    for payload in ["other", ""] {
        broker.send(publisher, Packet::Publish(publish("a", payload, QoS::AtMostOnce, 1)));
    }
    assert_eq!(sent(&mut broker, "a", QoS::AtMostOnce), ["kept"]);
}

#[test]
fn an_empty_retained_message_reaches_present_subscribers() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    let subscriber = broker.client("sub");
    broker.send(subscriber, subscribe(&["a"], QoS::AtMostOnce));
    broker.receive(subscriber);
    retain(&mut broker, publisher, "a", "");
    let messages = broker.messages(subscriber);
    assert!(messages[0].payload.is_empty() && !messages[0].retain);
}

#[test]
fn retain_handling_decides_at_each_subscribe() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    retain(&mut broker, publisher, "a", "kept");
    for (handling, first, second) in [
        (RetainHandling::Send, 1, 1),
        (RetainHandling::SendIfNew, 1, 0),
        (RetainHandling::DoNotSend, 0, 0),
    ] {
        let link = broker.client("reader");
        for expected in [first, second] {
            let options = retain_handling(QoS::AtMostOnce, handling);
            broker.send(link, subscribe_with(&["a"], options, None));
            assert_eq!(broker.receive(link).len(), 1 + expected, "{handling:?}");
        }
    }
}

#[test]
fn retain_as_published_keeps_the_flag_of_live_messages() {
    for retain_as_published in [false, true] {
        let mut broker = Broker::new();
        let publisher = broker.client("pub");
        let link = broker.client("sub");
        let options = SubscriptionOptions { retain_as_published, ..options(QoS::AtMostOnce) };
        broker.send(link, subscribe_with(&["a"], options, None));
        broker.receive(link);
        retain(&mut broker, publisher, "a", "x");
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtMostOnce, 1)));
        let flags: Vec<_> = broker.messages(link).iter().map(|message| message.retain).collect();
        assert_eq!(flags, [retain_as_published, false]);
    }
}

#[test]
fn retained_messages_come_with_the_flag_the_lower_qos_and_the_identifier() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1).retained()));
    for granted in QOS {
        let link = broker.client("reader");
        broker.send(link, subscribe_with(&["a"], options(granted), Some(77)));
        let packets = broker.receive(link);
        let Some(Packet::Publish(message)) = packets.last() else { panic!("{packets:?}") };
        assert!(message.retain);
        assert_eq!(message.delivery.qos(), granted);
        assert_eq!(message.subscription_identifiers.len(), 1);
    }
}

#[test]
fn shared_subscriptions_and_wildcards_get_what_they_should() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    retain(&mut broker, publisher, "a", "x");
    assert!(sent(&mut broker, "$share/g/a", QoS::AtMostOnce).is_empty());
    assert_eq!(sent(&mut broker, "#", QoS::AtMostOnce), ["x"]);
}

#[test]
fn an_expired_retained_message_is_not_sent_and_others_count_down() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    let packet = publish("a", "x", QoS::AtMostOnce, 1).retained().expires(10);
    broker.send(publisher, Packet::Publish(packet));
    broker.advance_secs(4);
    assert_eq!(sent(&mut broker, "a", QoS::AtMostOnce), ["x"]);
    broker.advance_secs(6);
    assert!(sent(&mut broker, "a", QoS::AtMostOnce).is_empty());
}

#[test]
fn expired_retained_messages_make_room() {
    let limits = Limits { retained_len_max: 2, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let publisher = broker.client("pub");
    for topic_name in ["a", "b"] {
        let packet = publish(topic_name, "x", QoS::AtMostOnce, 1).retained().expires(10);
        broker.send(publisher, Packet::Publish(packet));
    }
    broker.advance_secs(11);
    for topic_name in ["c", "d"] {
        retain(&mut broker, publisher, topic_name, "y");
    }
    assert_eq!(sent(&mut broker, "#", QoS::AtMostOnce), ["y", "y"]);
    assert_eq!(broker.counters().dropped_for(DropCause::RetainedFull), 0);
}

#[test]
fn retained_messages_are_limited_in_number_and_bytes() {
    let limits = Limits { retained_len_max: 3, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let publisher = broker.client("pub");
    for at in 1..=30_u16 {
        let packet = publish(&format!("t/{at}"), "x", QoS::AtLeastOnce, at).retained();
        broker.send(publisher, Packet::Publish(packet));
        let expected =
            if at <= 3 { ReasonCode::NoMatchingSubscribers } else { ReasonCode::QuotaExceeded };
        assert_eq!(
            broker.receive_one(publisher),
            Packet::PubAck(Ack::new(identifier(at), expected))
        );
    }
    assert_eq!(broker.retained.len(), 3);
    assert_eq!(broker.counters().dropped_for(DropCause::RetainedFull), 27);
    retain(&mut broker, publisher, "t/1", "another value of a known name");
    assert_eq!(broker.counters().dropped_for(DropCause::RetainedFull), 27);

    let limits = Limits { retained_bytes_max: 500, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let publisher = broker.client("pub");
    for at in 0..50 {
        retain(&mut broker, publisher, &format!("t/{at}"), &"x".repeat(90));
    }
    assert!(broker.retained.bytes() <= 500 && broker.retained.len() >= 4);
}

#[test]
fn many_retained_messages_come_at_the_pace_of_receive_maximum_and_none_is_lost() {
    for policy in crate::QueuePolicy::ALL {
        let limits = Limits {
            queue_len_max: 1,
            queue_policy: policy,
            sys_interval_secs: 0,
            ..Limits::default()
        };
        let mut broker = Broker::with(1, limits);
        let publisher = broker.client("pub");
        for at in 1..=500_u16 {
            let packet = publish(&format!("t/{at}"), "x", QoS::AtLeastOnce, at).retained();
            broker.send(publisher, Packet::Publish(packet));
        }
        let (reader, _) = broker.join(connect("reader").receive_maximum(3));
        broker.send(reader, subscribe(&["t/#"], QoS::AtLeastOnce));
        assert_eq!(broker.counters().queued, 0, "the cursor waits, not the queue");
        assert_eq!(broker.drain(reader).len(), 500, "{policy:?}");
        assert_eq!(broker.counters().dropped_total(), 0);
    }
}

#[test]
fn large_retained_messages_wait_for_room_at_every_qos() {
    for qos in QOS {
        let limits = Limits {
            output_bytes_max: 4096,
            queue_bytes_max: 1000,
            sys_interval_secs: 0,
            ..Limits::default()
        };
        let mut broker = Broker::with(1, limits);
        let publisher = broker.client("pub");
        for at in 1..=200_u16 {
            let packet = publish(&format!("t/{at}"), &"x".repeat(900), qos, at).retained();
            broker.send(publisher, Packet::Publish(packet));
            broker.send(publisher, Packet::PubRel(ack(identifier(at))));
        }
        let reader = broker.client("reader");
        broker.block(reader, true);
        broker.send(reader, subscribe(&["t/#"], qos));
        assert!(broker.output_len(reader) < 16 * 1024);
        broker.block(reader, false);
        assert_eq!(broker.drain(reader).len(), 200, "{qos:?}");
        assert_eq!(broker.counters().dropped_total(), 0, "{qos:?}");
    }
}

#[test]
fn retained_messages_that_wait_for_the_store_take_no_place_in_the_queue() {
    for policy in crate::QueuePolicy::ALL {
        let limits = Limits {
            output_bytes_max: 1024,
            queue_bytes_max: 1000,
            queue_policy: policy,
            sys_interval_secs: 0,
            ..Limits::default()
        };
        let mut broker = Broker::build(1, limits, true);
        let publisher = broker.client("pub");
        for at in 1..=20_u16 {
            let packet = publish(&format!("t/{at}"), &"x".repeat(900), QoS::ExactlyOnce, at);
            broker.send(publisher, Packet::Publish(packet.retained()));
            broker.send(publisher, Packet::PubRel(ack(identifier(at))));
        }
        let (reader, _) = broker.join(connect("reader").expiry(60));
        broker.stores_at_once = false;
        broker.send(reader, subscribe(&["t/#"], QoS::ExactlyOnce));
        broker.store(0);
        broker.settle(0);
        assert_eq!(broker.types(reader), [PacketType::SubAck], "messages wait for the store");
        assert_eq!(broker.counters().queued, 0, "the cursor waits, not the queue");
        let live = publish("t/new", &"y".repeat(900), QoS::AtLeastOnce, 30);
        broker.send(publisher, Packet::Publish(live));
        broker.stores_at_once = true;
        broker.store_all();
        assert_eq!(broker.drain(reader).len(), 21, "{policy:?}");
        assert_eq!(broker.counters().dropped_total(), 0, "{policy:?}");
    }
}

#[test]
fn the_rest_comes_after_a_reconnect_and_not_after_unsubscribe() {
    for unsubscribed in [false, true] {
        let mut broker = Broker::new();
        let publisher = broker.client("pub");
        for at in 0..100 {
            let packet = publish(&format!("t/{at}"), "x", QoS::AtLeastOnce, 1).retained();
            broker.send(publisher, Packet::Publish(packet));
        }
        let (reader, _) = broker.join(connect("reader").expiry(60).receive_maximum(5));
        broker.send(reader, subscribe(&["t/#"], QoS::AtLeastOnce));
        assert_eq!(broker.receive(reader).len(), 6);
        if unsubscribed {
            broker.send(reader, unsubscribe(&["t/#"]));
            broker.receive(reader);
        }
        broker.cut(reader);
        let (reader, _) = broker.join(connect("reader").resume().expiry(60).receive_maximum(5));
        let expected = if unsubscribed { 5 } else { 100 };
        assert_eq!(broker.drain(reader).len(), expected);
    }
}

#[test]
fn subscribing_over_and_over_leaves_one_cursor() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    for at in 0..10 {
        let packet = publish(&format!("t/{at}"), "x", QoS::AtLeastOnce, 1).retained();
        broker.send(publisher, Packet::Publish(packet));
    }
    let (reader, _) = broker.join(connect("reader").receive_maximum(1));
    for _ in 0..100 {
        broker.send(reader, subscribe(&["t/#"], QoS::AtLeastOnce));
    }
    assert!(broker.core(0).census().cursors <= 1);
    let count = broker.drain(reader).len();
    assert!((10..=12).contains(&count), "{count} messages");
}

#[test]
fn a_message_that_is_set_while_the_cursor_runs_comes_once() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    for at in 0..20 {
        let packet = publish(&format!("t/{at:02}"), "old", QoS::AtLeastOnce, 1).retained();
        broker.send(publisher, Packet::Publish(packet));
    }
    let (reader, _) = broker.join(connect("reader").receive_maximum(1));
    broker.send(reader, subscribe(&["t/#"], QoS::AtLeastOnce));
    let packet = publish("t/19", "new", QoS::AtLeastOnce, 1).retained();
    broker.send(publisher, Packet::Publish(packet));
    let payloads = broker.drain(reader);
    assert_eq!(payloads.iter().filter(|payload| *payload == "new").count(), 1);
    assert_eq!(payloads.len(), 20);
}

#[test]
fn sys_topics_are_retained_hidden_from_wildcards_and_updated() {
    let mut broker = Broker::with(2, Limits { sys_interval_secs: 10, ..Limits::default() });
    broker.advance_secs(1);
    assert_eq!(sent(&mut broker, "$SYS/broker/version", QoS::AtMostOnce), ["dunlin version 0.0.0"]);
    assert!(sent(&mut broker, "#", QoS::AtMostOnce).is_empty());
    assert!(sent(&mut broker, "+/broker/version", QoS::AtMostOnce).is_empty());
    let reader = broker.client("reader");
    broker.send(reader, subscribe(&["$SYS/broker/clients/connected"], QoS::AtMostOnce));
    broker.drain(reader);
    broker.client("another");
    broker.advance_secs(21);
    assert_eq!(broker.drain(reader).last().map(String::as_str), Some("2"));
}

#[test]
fn sys_topics_take_no_room_from_retained_messages_and_need_none() {
    let size = 600;
    for (retained_len_max, retained_bytes_max) in [(2, usize::MAX), (usize::MAX, 2 * size)] {
        let limits = Limits {
            retained_len_max,
            retained_bytes_max,
            sys_interval_secs: 1,
            ..Limits::default()
        };
        let mut broker = Broker::with(1, limits);
        broker.advance_secs(1);
        let publisher = broker.client("pub");
        for topic_name in ["a", "b", "c", "a"] {
            retain(&mut broker, publisher, topic_name, &topic_name.repeat(size - 1));
        }
        let payloads = sent(&mut broker, "#", QoS::AtMostOnce);
        let begins: Vec<_> = payloads.iter().map(|payload| &payload[..1]).collect();
        assert_eq!(begins, ["a", "b"]);
        assert_eq!(broker.counters().dropped_for(DropCause::RetainedFull), 1, "that of c");
        broker.advance_secs(1000);
        let uptime = sent(&mut broker, "$SYS/broker/uptime", QoS::AtMostOnce);
        assert_eq!(uptime, ["1001 seconds"], "longer than its first value");
    }
}

#[test]
fn who_has_published_counts_once_and_as_long_as_a_message_is_his() {
    let store = RetainedStore::new();
    let limits = Limits { retained_bytes_max: 100_000, ..Limits::default() };
    let publisher = |name: &str| {
        let client_identifier = name.repeat(60_000).parse().expect("legal");
        Arc::new(Subject::new(Arc::new(Identity::anonymous()), client_identifier))
    };
    let set = |name: &str, payload: &'static str, publisher| {
        let message = Message::new(name.parse().expect("legal"), payload);
        let (set, _) = store.set(Instant::ZERO, Arc::new(message), Some(publisher), &limits);
        set.is_ok()
    };
    for at in 0..10 {
        assert!(set(&format!("a/{at}"), "x", publisher("a")), "each time he comes anew");
    }
    assert!(!set("b", "x", publisher("b")));
    for at in 0..9 {
        assert!(set(&format!("a/{at}"), "", publisher("a")));
    }
    assert!(!set("b", "x", publisher("b")), "one of his is left");
    assert!(set("a/9", "", publisher("a")));
    assert!(set("b", "x", publisher("b")));
    assert!(!set("a/9", "x", publisher("a")));
    // A start takes what was stored, and counts no less.
    let recovered = RetainedStore::new();
    for at in 0..10 {
        let topic_name: TopicName = format!("a/{at}").parse().expect("legal");
        let message = Arc::new(Message::new(topic_name.clone(), "x"));
        recovered.recover(Instant::ZERO, topic_name, Some(message), Some(publisher("a")), at);
    }
    assert_eq!(recovered.publishers_bytes() / 60_000, 1);
}
