//! Subscribing: which stream gets what, acknowledgement, bounds, and the end of streams.

use crate::peer::{Peer, ack, at, builder, connected, publish, soon};
use dunlin_client::{
    Client, Event, Overflow, ProtocolVersion, QoS, ReasonCode, RetainHandling, Subscribe,
    SubscribeError, Subscription, SubscriptionIdentifier,
};
use dunlin_protocol::codec::{Ack, Delivery, Packet};
use std::future::IntoFuture;

async fn granted(
    subscribe: Subscribe,
    peer: &mut Peer,
) -> (Subscription, Option<SubscriptionIdentifier>) {
    let (subscription, identifier) = tokio::join!(subscribe.into_future(), peer.grant());
    (subscription.unwrap(), identifier)
}

async fn subscribe(
    client: &Client,
    peer: &mut Peer,
    topic_filter: &str,
) -> (Subscription, Option<SubscriptionIdentifier>) {
    granted(client.subscribe(topic_filter, QoS::ExactlyOnce), peer).await
}

async fn payload(subscription: &mut Subscription) -> String {
    let received = soon(subscription.next()).await.expect("a message");
    String::from_utf8_lossy(received.payload()).into_owned()
}

#[tokio::test(start_paused = true)]
async fn options_and_answers_are_told() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let subscribing = client
        .subscribe("a/+", QoS::ExactlyOnce)
        .no_local(true)
        .retain_as_published(true)
        .retain_handling(RetainHandling::DoNotSend)
        .and("b", QoS::AtLeastOnce)
        .user_property("k", "v");
    let server = async {
        let subscribe = peer.expect_subscribe().await;
        let codes = vec![ReasonCode::GrantedQoS1, ReasonCode::NotAuthorized];
        peer.suback(&subscribe, codes).await;
        subscribe
    };
    let (subscription, subscribe) = tokio::join!(subscribing.into_future(), server);
    let subscription = subscription.unwrap();
    let [first, second] = &subscribe.subscriptions[..] else { panic!("two filters") };
    assert!(first.options.no_local && first.options.retain_as_published);
    assert_eq!(first.options.retain_handling, RetainHandling::DoNotSend);
    assert!(!second.options.no_local);
    assert_eq!(subscribe.properties.user_properties.len(), 1);
    assert_eq!(subscription.granted_qos(), Some(QoS::AtLeastOnce));
    assert_eq!(subscription.reason_codes()[1], ReasonCode::NotAuthorized);
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_an_error() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let subscribing = client.subscribe("a", QoS::AtMostOnce).into_future();
    let server = async {
        let subscribe = peer.expect_subscribe().await;
        peer.suback(&subscribe, vec![ReasonCode::NotAuthorized]).await;
    };
    let (outcome, ()) = tokio::join!(subscribing, server);
    let reason_codes = vec![ReasonCode::NotAuthorized];
    assert_eq!(outcome.unwrap_err(), SubscribeError::Refused { reason_codes });
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn overlapping_streams_are_told_apart_by_identifier() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let (mut wide, wide_id) = subscribe(&client, &mut peer, "a/#").await;
    let (mut narrow, narrow_id) = subscribe(&client, &mut peer, "$share/g/a/b").await;
    peer.send(publish("a/b", "for wide", Delivery::AtMostOnce, &[wide_id])).await;
    peer.send(publish("a/b", "for narrow", Delivery::AtMostOnce, &[narrow_id])).await;
    peer.send(publish("a/b", "for both", Delivery::AtMostOnce, &[wide_id, narrow_id])).await;
    assert_eq!(payload(&mut wide).await, "for wide");
    assert_eq!(payload(&mut wide).await, "for both");
    assert_eq!(payload(&mut narrow).await, "for narrow");
    assert_eq!(payload(&mut narrow).await, "for both");
}

#[tokio::test(start_paused = true)]
async fn without_identifiers_topic_filters_decide() {
    let builder = builder().protocol_version(ProtocolVersion::V3_1_1);
    let (client, mut events, mut peer, _listener) = connected(builder).await;
    let (mut a, identifier) = subscribe(&client, &mut peer, "a/+").await;
    let (mut b, _) = subscribe(&client, &mut peer, "b").await;
    assert_eq!(identifier, None);
    peer.send(publish("b", "for b", Delivery::AtMostOnce, &[])).await;
    peer.send(publish("a/1", "for a", Delivery::AtMostOnce, &[])).await;
    peer.send(publish("c", "for nobody", Delivery::AtMostOnce, &[])).await;
    assert_eq!(payload(&mut a).await, "for a");
    assert_eq!(payload(&mut b).await, "for b");
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    let Some(Event::Message(stray)) = soon(events.next()).await else { panic!("a message") };
    assert_eq!(stray.payload(), "for nobody");
}

#[tokio::test(start_paused = true)]
async fn an_identifier_of_an_earlier_program_is_not_mistaken() {
    let (client, mut events, mut peer, _listener) = connected(builder()).await;
    let (mut mine, identifier) = subscribe(&client, &mut peer, "mine").await;
    peer.send(publish("not/mine", "stray", Delivery::AtMostOnce, &[identifier])).await;
    peer.send(publish("mine", "ok", Delivery::AtMostOnce, &[identifier])).await;
    assert_eq!(payload(&mut mine).await, "ok");
    while !matches!(soon(events.next()).await.unwrap(), Event::Message(_)) {}
}

#[tokio::test(start_paused = true)]
async fn two_streams_of_one_topic_filter_share_it() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let (mut first, _) = subscribe(&client, &mut peer, "a").await;
    let (mut second, identifier) = subscribe(&client, &mut peer, "a").await;
    peer.send(publish("a", "1", Delivery::AtMostOnce, &[identifier])).await;
    assert_eq!(payload(&mut first).await, "1");
    assert_eq!(payload(&mut second).await, "1");
    drop(second);
    peer.expect_nothing().await;
    peer.send(publish("a", "2", Delivery::AtMostOnce, &[identifier])).await;
    assert_eq!(payload(&mut first).await, "2");
    drop(first);
    assert_eq!(peer.expect_unsubscribe().await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_its_stream_gives_it_out() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let (mut stream, identifier) = subscribe(&client, &mut peer, "a").await;
    peer.send(publish("a", "1", at(QoS::AtLeastOnce, 7), &[identifier])).await;
    peer.expect_nothing().await;
    payload(&mut stream).await;
    assert_eq!(peer.expect().await, Packet::PubAck(ack(7)));
}

#[tokio::test(start_paused = true)]
async fn a_message_for_two_streams_is_acknowledged_by_the_last() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let (mut first, first_id) = subscribe(&client, &mut peer, "a").await;
    let (mut second, second_id) = subscribe(&client, &mut peer, "+").await;
    peer.send(publish("a", "1", at(QoS::AtLeastOnce, 7), &[first_id, second_id])).await;
    payload(&mut first).await;
    peer.expect_nothing().await;
    payload(&mut second).await;
    assert_eq!(peer.expect().await, Packet::PubAck(ack(7)));
}

#[tokio::test(start_paused = true)]
async fn qos_2_is_received_once() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let (mut stream, identifier) = subscribe(&client, &mut peer, "a").await;
    peer.send(publish("a", "1", at(QoS::ExactlyOnce, 7), &[identifier])).await;
    assert_eq!(payload(&mut stream).await, "1");
    assert_eq!(peer.expect().await, Packet::PubRec(ack(7)));
    peer.send(Packet::PubRel(ack(7))).await;
    assert_eq!(peer.expect().await, Packet::PubComp(ack(7)));
    assert_eq!(stream.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn manual_acknowledgement_is_the_users() {
    let (client, _events, mut peer, _listener) = connected(builder().manual_ack(true)).await;
    let (mut stream, identifier) = subscribe(&client, &mut peer, "a").await;
    for number in [1, 2, 3] {
        peer.send(publish("a", "x", at(QoS::AtLeastOnce, number), &[identifier])).await;
    }
    let mut first = soon(stream.next()).await.unwrap();
    let mut second = soon(stream.next()).await.unwrap();
    let third = soon(stream.next()).await.unwrap();
    assert!(first.needs_ack());
    second.refuse(ReasonCode::NotAuthorized).unwrap();
    // They leave in the order of the messages, whatever the order of the calls.
    peer.expect_nothing().await;
    first.ack().unwrap();
    assert!(!first.needs_ack());
    assert_eq!(peer.expect().await, Packet::PubAck(ack(1)));
    let refusal = Ack { reason_code: ReasonCode::NotAuthorized, ..ack(2) };
    assert_eq!(peer.expect().await, Packet::PubAck(refusal));
    drop(third);
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn back_pressure_drops_qos_0_and_withholds_acknowledgements() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let subscribe = client.subscribe("a", QoS::AtLeastOnce).buffer(2);
    let (mut stream, identifier) = granted(subscribe, &mut peer).await;
    for number in 1..=5 {
        peer.send(publish("a", "q1", at(QoS::AtLeastOnce, number), &[identifier])).await;
        peer.send(publish("a", "q0", Delivery::AtMostOnce, &[identifier])).await;
    }
    peer.expect_nothing().await;
    assert_eq!((stream.waiting(), stream.dropped()), (6, 4));
    for number in 1..=5 {
        while soon(stream.next()).await.unwrap().qos() == QoS::AtMostOnce {}
        assert_eq!(peer.expect().await, Packet::PubAck(ack(number)));
    }
}

#[tokio::test(start_paused = true)]
async fn drop_policies_keep_their_end_of_the_queue() {
    for (overflow, kept, acks) in
        [(Overflow::DropOldest, ["3", "4"], [1, 2]), (Overflow::DropNewest, ["1", "2"], [1, 2])]
    {
        let (client, _events, mut peer, _listener) = connected(builder()).await;
        let subscribe = client.subscribe("a", QoS::AtLeastOnce).buffer(2).overflow(overflow);
        let (mut stream, identifier) = granted(subscribe, &mut peer).await;
        for number in 1..=4 {
            let delivery = at(QoS::AtLeastOnce, number);
            peer.send(publish("a", &number.to_string(), delivery, &[identifier])).await;
        }
        if overflow == Overflow::DropOldest {
            // What was dropped is acknowledged as well.
            for number in acks {
                assert_eq!(peer.expect().await, Packet::PubAck(ack(number)));
            }
        }
        peer.expect_nothing().await;
        assert_eq!(stream.dropped(), 2);
        assert_eq!([payload(&mut stream).await, payload(&mut stream).await], kept);
        let rest = if overflow == Overflow::DropOldest { 3..=4 } else { 1..=4 };
        for number in rest {
            assert_eq!(peer.expect().await, Packet::PubAck(ack(number)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_bounded_in_bytes_too() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let subscribe = client.subscribe("a", QoS::AtMostOnce).buffer_bytes(10);
    let (mut stream, identifier) = granted(subscribe, &mut peer).await;
    for text in ["larger than ten bytes", "more", "still more"] {
        peer.send(publish("a", text, Delivery::AtMostOnce, &[identifier])).await;
    }
    peer.expect_nothing().await;
    assert_eq!((stream.waiting(), stream.dropped()), (1, 2));
    assert_eq!(payload(&mut stream).await, "larger than ten bytes");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_it_is_unsubscribed() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let (mut stream, identifier) = subscribe(&client, &mut peer, "a").await;
    peer.send(publish("a", "last", Delivery::AtMostOnce, &[identifier])).await;
    let (outcome, filters) = tokio::join!(client.unsubscribe("a"), peer.expect_unsubscribe());
    outcome.unwrap();
    assert_eq!(filters, ["a"]);
    assert_eq!(payload(&mut stream).await, "last");
    assert!(soon(stream.next()).await.is_none());

    let (mut stream, _) = subscribe(&client, &mut peer, "b").await;
    let (outcome, filters) = tokio::join!(stream.unsubscribe(), peer.expect_unsubscribe());
    outcome.unwrap();
    assert_eq!(filters, ["b"]);
    assert!(soon(stream.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stream_unsubscribes_and_acknowledges() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let (stream, identifier) = subscribe(&client, &mut peer, "a").await;
    peer.send(publish("a", "unread", at(QoS::AtLeastOnce, 9), &[identifier])).await;
    peer.expect_nothing().await;
    drop(stream);
    assert_eq!(peer.expect().await, Packet::PubAck(ack(9)));
    // A message that crosses the UNSUBSCRIBE is acknowledged and goes nowhere.
    peer.send(publish("a", "crossing", at(QoS::AtLeastOnce, 10), &[identifier])).await;
    assert_eq!(peer.expect_unsubscribe().await, ["a"]);
    assert_eq!(peer.expect().await, Packet::PubAck(ack(10)));
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_reads_stop_nothing() {
    let (client, mut events, mut peer, _listener) = connected(builder().events_buffer(2)).await;
    for number in 1..=5 {
        peer.send(publish("stray", "x", at(QoS::AtLeastOnce, number), &[])).await;
    }
    for number in 1..=3 {
        assert_eq!(peer.expect().await, Packet::PubAck(ack(number)));
    }
    client.publish("t", "still works").await.unwrap();
    peer.expect_publish().await;
    assert!(matches!(soon(events.next()).await, Some(Event::Dropped { messages: 3, .. })));
    drop(events);
    for number in 4..=5 {
        assert_eq!(peer.expect().await, Packet::PubAck(ack(number)));
    }
    peer.send(publish("stray", "x", at(QoS::AtLeastOnce, 6), &[])).await;
    assert_eq!(peer.expect().await, Packet::PubAck(ack(6)));
}
