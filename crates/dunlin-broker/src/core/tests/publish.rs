//! Messages from Client to Client: every QoS and version, acknowledgements, order, repetitions.

use super::*;
use crate::Limits;
use crate::core::DropCause;
use bytes::Bytes;
use dunlin_protocol::codec::{
    Ack, Delivery, MessageProperties, Packet, PacketType, ProtocolVersion, QoS, ReasonCode,
};
use std::sync::Arc;

#[test]
fn a_message_reaches_a_subscriber_at_the_lower_qos_of_both() {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        for published in QOS {
            for granted in QOS {
                let mut broker = Broker::new();
                let mut packet = connect("sub");
                packet.protocol_version = version;
                let (subscriber, _) = broker.join(packet);
                broker.send(subscriber, subscribe(&["a/+"], granted));
                broker.receive(subscriber);
                let publisher = broker.client("pub");
                broker.send(publisher, Packet::Publish(publish("a/b", "x", published, 9)));
                let messages = broker.messages(subscriber);
                assert_eq!(messages.len(), 1);
                assert_eq!(messages[0].delivery.qos(), published.min(granted));
                assert_eq!(
                    (messages[0].topic_name(), &messages[0].payload[..]),
                    ("a/b", &b"x"[..])
                );
                assert!(!messages[0].retain && !messages[0].delivery.dup());
            }
        }
    }
}

#[test]
fn a_publisher_is_answered_by_its_qos_and_told_whether_anybody_listens() {
    let mut broker = Broker::new();
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtMostOnce, 1)));
    assert!(broker.receive(publisher).is_empty());
    for reason_code in [ReasonCode::NoMatchingSubscribers, ReasonCode::Success] {
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
        assert_eq!(
            broker.receive_one(publisher),
            Packet::PubAck(Ack::new(identifier(1), reason_code))
        );
        broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 2)));
        assert_eq!(
            broker.receive_one(publisher),
            Packet::PubRec(Ack::new(identifier(2), reason_code))
        );
        broker.send(publisher, Packet::PubRel(ack(identifier(2))));
        assert_eq!(broker.receive_one(publisher), Packet::PubComp(ack(identifier(2))));
        let subscriber = broker.client("sub");
        broker.send(subscriber, subscribe(&["a"], QoS::AtMostOnce));
    }
}

#[test]
fn a_qos_2_message_that_is_sent_again_is_delivered_once() {
    let mut broker = Broker::new();
    let subscriber = broker.client("sub");
    broker.send(subscriber, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(subscriber);
    let (first, _) = broker.join(connect("pub").expiry(60));
    let packet = publish("a", "x", QoS::ExactlyOnce, 7);
    broker.send(first, Packet::Publish(packet.clone()));
    broker.cut(first);
    let (second, _) = broker.join(connect("pub").resume().expiry(60));
    let mut again = packet.clone();
    again.delivery = Delivery::ExactlyOnce { packet_identifier: identifier(7), dup: true };
    broker.send(second, Packet::Publish(again));
    assert_eq!(broker.types(second), [PacketType::PubRec]);
    broker.send(second, Packet::PubRel(ack(identifier(7))));
    assert_eq!(broker.types(second), [PacketType::PubComp]);
    assert_eq!(broker.drain(subscriber), ["x"]);
    broker.send(second, Packet::Publish(packet));
    assert_eq!(broker.drain(subscriber), ["x"], "the identifier is free for another message");
}

#[test]
fn messages_keep_their_order_through_flight_queue_and_absence() {
    let mut broker = Broker::new();
    let (subscriber, _) = broker.join(connect("sub").expiry(60).receive_maximum(3));
    broker.send(subscriber, subscribe(&["#"], QoS::AtLeastOnce));
    broker.receive(subscriber);
    let publisher = broker.client("pub");
    let mut expected = Vec::new();
    for at in 1..=30_u16 {
        let packet = publish("a", &at.to_string(), QoS::AtLeastOnce, at);
        broker.send(publisher, Packet::Publish(packet));
        expected.push(at.to_string());
        if at == 10 {
            broker.cut(subscriber);
        }
    }
    let (subscriber, _) = broker.join(connect("sub").resume().expiry(60).receive_maximum(3));
    assert_eq!(broker.drain(subscriber), expected);
}

#[test]
fn properties_arrive_unaltered_in_mqtt_5_and_are_left_out_in_3() {
    let mut broker = Broker::new();
    let five = broker.client("five");
    let (three, _) = broker.join(connect_v311("three", true));
    for link in [five, three] {
        broker.send(link, subscribe(&["a"], QoS::AtMostOnce));
        broker.receive(link);
    }
    let publisher = broker.client("pub");
    let properties = MessageProperties {
        payload_format_indicator: Some(true),
        content_type: Some("text/plain".parse().expect("text")),
        response_topic: Some("answers".parse().expect("a Topic Name")),
        correlation_data: Some(Bytes::from_static(b"\0\x01")),
        user_properties: vec![("k".parse().expect("text"), "v".parse().expect("text"))],
    };
    let mut packet = publish("a", "x", QoS::AtMostOnce, 1);
    packet.properties = Some(Arc::new(properties.clone()));
    broker.send(publisher, Packet::Publish(packet));
    assert_eq!(broker.messages(five)[0].properties.as_deref(), Some(&properties));
    assert_eq!(broker.messages(three)[0].properties, None);
}

#[test]
fn the_brokers_own_topics_and_too_many_levels_are_refused() {
    let limits = Limits { topic_levels_max: 3, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let publisher = broker.client("pub");
    let cases = [
        ("$SYS/broker/uptime", ReasonCode::NotAuthorized),
        ("a/b/c/d", ReasonCode::TopicNameInvalid),
        ("a/b/c", ReasonCode::NoMatchingSubscribers),
        ("///", ReasonCode::TopicNameInvalid),
        ("//", ReasonCode::NoMatchingSubscribers),
    ];
    for (topic_name, reason_code) in cases {
        broker.send(publisher, Packet::Publish(publish(topic_name, "x", QoS::AtLeastOnce, 1)));
        assert_eq!(
            broker.receive_one(publisher),
            Packet::PubAck(Ack::new(identifier(1), reason_code)),
            "{topic_name}"
        );
    }
    broker.send(publisher, Packet::Publish(publish("$SYS/x", "x", QoS::AtMostOnce, 1)));
    assert!(broker.receive(publisher).is_empty());
    assert_eq!(broker.counters().dropped_for(DropCause::NotAllowed), 4);
    let (old, _) = broker.join(connect_v311("old", true));
    broker.send(old, Packet::Publish(publish("$SYS/x", "x", QoS::AtLeastOnce, 1)));
    assert!(broker.receive(old).is_empty() && broker.is_closed(old));
}

#[test]
fn a_refused_qos_2_message_of_mqtt_3_is_not_acknowledged_when_it_comes_again() {
    let mut broker = Broker::new();
    for _ in 0..3 {
        let (link, _) = broker.join(connect_v311("old", false));
        broker.send(link, Packet::Publish(publish("$SYS/x", "x", QoS::ExactlyOnce, 1)));
        assert!(broker.receive(link).is_empty() && broker.is_closed(link));
    }
    assert_eq!(broker.counters().dropped_for(DropCause::NotAllowed), 3);
}

#[test]
fn a_receiver_that_refuses_a_message_is_counted() {
    let mut broker = Broker::new();
    let subscriber = broker.client("sub");
    broker.send(subscriber, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(subscriber);
    let publisher = broker.client("pub");
    for (at, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        broker.send(publisher, Packet::Publish(publish("a", "x", qos, at)));
        let message = &broker.messages(subscriber)[0];
        let refusal =
            Ack::new(message.packet_identifier(), ReasonCode::ImplementationSpecificError);
        broker.send(
            subscriber,
            match qos {
                QoS::AtLeastOnce => Packet::PubAck(refusal),
                _ => Packet::PubRec(refusal),
            },
        );
    }
    assert_eq!(broker.counters().dropped_for(DropCause::RefusedByReceiver), 2);
    assert_eq!(broker.core(0).census().notes, 0);
}

#[test]
fn a_message_larger_than_the_receiver_takes_is_dropped_and_counted() {
    let mut broker = Broker::new();
    let mut packet = connect("sub");
    packet.properties.maximum_packet_size = Some(60);
    let (subscriber, _) = broker.join(packet);
    broker.send(subscriber, subscribe(&["a"], QoS::AtLeastOnce));
    broker.receive(subscriber);
    let publisher = broker.client("pub");
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        broker.send(publisher, Packet::Publish(publish("a", &"x".repeat(60), qos, 1)));
        broker.send(publisher, Packet::Publish(publish("a", "small", qos, 2)));
    }
    assert_eq!(broker.payloads(subscriber), ["small", "small"]);
    assert_eq!(broker.counters().dropped_for(DropCause::PacketTooLarge), 2);
}

#[test]
fn what_is_resent_and_has_become_too_large_is_dropped_and_forgotten() {
    let mut broker = Broker::with_store(1);
    let (subscriber, _) = broker.join(connect("sub").expiry(60));
    broker.send(subscriber, subscribe(&["a"], QoS::AtLeastOnce));
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", &"x".repeat(100), QoS::AtLeastOnce, 1)));
    broker.cut(subscriber);
    let mut packet = connect("sub").resume().expiry(60);
    packet.properties.maximum_packet_size = Some(60);
    let (subscriber, _) = broker.join(packet);
    assert!(broker.receive(subscriber).is_empty());
    assert_eq!(broker.counters().dropped_for(DropCause::PacketTooLarge), 1);
    assert_eq!(broker.core(0).census().notes, 0);
}

#[test]
fn expired_messages_are_dropped_from_the_queue_and_others_count_down() {
    let mut broker = Broker::new();
    let (subscriber, _) = broker.join(connect("sub").expiry(600));
    broker.send(subscriber, subscribe(&["a"], QoS::AtLeastOnce));
    broker.cut(subscriber);
    let publisher = broker.client("pub");
    for (at, payload, secs) in [(1, "short", 5), (2, "long", 100)] {
        let packet = publish("a", payload, QoS::AtLeastOnce, at).expires(secs);
        broker.send(publisher, Packet::Publish(packet));
    }
    broker.advance_secs(30);
    let (subscriber, _) = broker.join(connect("sub").resume().expiry(600));
    let messages = broker.messages(subscriber);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].message_expiry_interval, Some(70));
    assert_eq!(broker.counters().dropped_for(DropCause::Expired), 1);
    assert_eq!((broker.counters().queued, broker.counters().queued_bytes), (0, 0));
}

#[test]
fn more_publishes_than_the_receive_maximum_wait_in_mqtt_3_and_all_are_answered() {
    let limits = Limits { receive_maximum: 3, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::build(1, limits, true);
    broker.stores_at_once = false;
    let (subscriber, _) = broker.join(connect("sub").expiry(60));
    broker.send(subscriber, subscribe(&["a"], QoS::AtLeastOnce));
    broker.receive(subscriber);
    let (old, _) = broker.join(connect_v311("old", true).keep_alive(10));
    broker.prompt = false;
    for at in 1..=10 {
        let packet = publish("a", &at.to_string(), QoS::AtLeastOnce, at);
        broker.send(old, Packet::Publish(packet));
    }
    broker.prompt = true;
    broker.run();
    assert!(broker.is_paused(old), "nothing more is read from it");
    let mut answered = 0;
    for _ in 0..10 {
        broker.store_all();
        answered += broker.types(old).len();
    }
    assert_eq!(answered, 10);
    assert_eq!(broker.drain(subscriber).len(), 10);
    broker.advance_secs(16);
    assert!(broker.is_closed(old), "Keep Alive goes on after the wait");
}

#[test]
fn more_publishes_than_the_receive_maximum_end_a_client_of_mqtt_5() {
    let limits = Limits { receive_maximum: 3, sys_interval_secs: 0, ..Limits::default() };
    let mut broker = Broker::with(1, limits);
    let link = broker.client("pub");
    for at in 1..=4 {
        broker.send(link, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, at)));
    }
    let packets = broker.receive(link);
    assert!(matches!(
        packets.last(),
        Some(Packet::Disconnect(packet)) if packet.reason_code == ReasonCode::ReceiveMaximumExceeded
    ));
}

#[test]
fn receive_maximum_paces_and_qos_0_passes() {
    let mut broker = Broker::new();
    let (subscriber, _) = broker.join(connect("sub").receive_maximum(2));
    broker.send(subscriber, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(subscriber);
    let publisher = broker.client("pub");
    for at in 1..=6 {
        let packet = publish("a", &at.to_string(), QoS::ExactlyOnce, at);
        broker.send(publisher, Packet::Publish(packet));
    }
    broker.send(publisher, Packet::Publish(publish("a", "zero", QoS::AtMostOnce, 1)));
    let messages = broker.messages(subscriber);
    assert_eq!(messages.len(), 3);
    broker.send(subscriber, Packet::PubRec(ack(messages[0].packet_identifier())));
    assert_eq!(broker.types(subscriber), [PacketType::PubRel], "PUBREC frees no quota");
    broker.send(subscriber, Packet::PubComp(ack(messages[0].packet_identifier())));
    assert_eq!(broker.payloads(subscriber), ["3"]);
}

#[test]
fn a_release_that_the_receiver_has_forgotten_is_no_refusal() {
    let mut broker = Broker::new();
    let subscriber = broker.client("sub");
    broker.send(subscriber, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(subscriber);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    let packet_identifier = broker.messages(subscriber)[0].packet_identifier();
    broker.send(subscriber, Packet::PubRec(ack(packet_identifier)));
    let unknown = Ack::new(packet_identifier, ReasonCode::PacketIdentifierNotFound);
    broker.send(subscriber, Packet::PubComp(unknown));
    assert_eq!(broker.counters().dropped_total(), 0);
}

#[test]
fn all_that_was_in_flight_is_resent_to_a_client_that_now_takes_less_at_once() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut broker = Broker::new();
        let (subscriber, _) = broker.join(connect("sub").expiry(60));
        broker.send(subscriber, subscribe(&["a"], qos));
        let publisher = broker.client("pub");
        for at in 1..=9 {
            broker.send(publisher, Packet::Publish(publish("a", &at.to_string(), qos, at)));
        }
        broker.cut(subscriber);
        let packet = connect("sub").resume().expiry(60).receive_maximum(2);
        let (subscriber, _) = broker.join(packet);
        let expected: Vec<_> = (1..=9).map(|at| at.to_string()).collect();
        assert_eq!(broker.drain(subscriber), expected);
    }
}
