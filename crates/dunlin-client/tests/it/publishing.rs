//! Publishing: when futures resolve and with what, and the bound on what waits.

use crate::peer::{Listener, ack, builder, connected, soon};
use dunlin_client::{Client, Event, PublishError, QoS, ReasonCode, WhenFull};
use dunlin_protocol::codec::{Ack, Packet};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

/// Looks at a future without waiting for it.
fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test(start_paused = true)]
async fn qos_0_resolves_when_written() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    client.publish("lamp", "on").await.expect("written");
    let publish = peer.expect_publish().await;
    assert_eq!((&publish.payload[..], publish.delivery.qos()), (&b"on"[..], QoS::AtMostOnce));
}

#[tokio::test(start_paused = true)]
async fn qos_1_resolves_at_puback() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let publish = client.publish("lamp", "on").qos(QoS::AtLeastOnce).retain(true);
    let mut delivery = publish.send().await.unwrap();
    assert!(peer.expect_publish().await.retain);
    assert!(is_pending(&mut delivery));
    let reason_code = ReasonCode::NoMatchingSubscribers;
    peer.send(Packet::PubAck(Ack { reason_code, ..ack(1) })).await;
    assert_eq!(delivery.await.unwrap().reason_code, reason_code);
}

#[tokio::test(start_paused = true)]
async fn qos_2_resolves_at_pubcomp() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let mut delivery = client.publish("lamp", "on").qos(QoS::ExactlyOnce).send().await.unwrap();
    peer.expect_publish().await;
    peer.send(Packet::PubRec(ack(1))).await;
    assert_eq!(peer.expect().await, Packet::PubRel(ack(1)));
    assert!(is_pending(&mut delivery));
    peer.send(Packet::PubComp(ack(1))).await;
    assert_eq!(delivery.await.unwrap().reason_code, ReasonCode::Success);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_error_with_its_reason_code() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let refusal = |number| Ack { reason_code: ReasonCode::QuotaExceeded, ..ack(number) };
    let first = client.publish("lamp", "on").qos(QoS::AtLeastOnce).send().await.unwrap();
    let second = client.publish("lamp", "on").qos(QoS::ExactlyOnce).send().await.unwrap();
    peer.expect_publish().await;
    peer.expect_publish().await;
    peer.send(Packet::PubAck(refusal(1))).await;
    peer.send(Packet::PubRec(refusal(2))).await;
    for delivery in [first, second] {
        let reason_code = ReasonCode::QuotaExceeded;
        let expected = PublishError::Refused { reason_code, reason_string: None };
        assert_eq!(delivery.await, Err(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn properties_arrive() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let publish = client
        .publish("question", "?")
        .content_type("text/plain")
        .response_topic("answer")
        .correlation_data("42")
        .payload_format_indicator(true)
        .user_property("k", "v1")
        .user_property("k", "v2")
        .message_expiry_interval(Duration::from_secs(30));
    publish.await.unwrap();
    let publish = peer.expect_publish().await;
    assert_eq!(publish.message_expiry_interval, Some(30));
    let properties = publish.properties.unwrap();
    assert_eq!(properties.content_type.as_deref(), Some("text/plain"));
    assert_eq!(properties.response_topic.as_deref(), Some("answer"));
    assert_eq!(properties.correlation_data.as_deref(), Some(&b"42"[..]));
    assert_eq!(properties.payload_format_indicator, Some(true));
    let values: Vec<&str> = properties.user_properties.iter().map(|(_, value)| &**value).collect();
    assert_eq!(values, ["v1", "v2"]);
}

#[tokio::test(start_paused = true)]
async fn illegal_settings_are_told_when_sent() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    assert!(matches!(client.publish("a/+", "").await, Err(PublishError::TopicName(_))));
    assert!(matches!(client.publish("", "").try_send(), Err(PublishError::TopicName(_))));
    let publish = client.publish("a", "").content_type("\0");
    assert!(matches!(publish.await, Err(PublishError::Property(_))));
    let publish = client.publish("a", "").correlation_data(vec![0; 65_536]);
    assert_eq!(publish.await, Err(PublishError::PropertyTooLong));
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_not_the_message() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let publish = client.publish("lamp", "on").qos(QoS::AtLeastOnce);
    assert_eq!(publish.timeout(Duration::from_secs(1)).await, Err(PublishError::Timeout));
    peer.expect_publish().await;
}

#[tokio::test(start_paused = true)]
async fn the_window_is_kept() {
    let (client, _events, mut peer, _listener) = connected(builder().in_flight_max(2)).await;
    for payload in ["1", "2", "3"] {
        let _delivery = client.publish("t", payload).qos(QoS::AtLeastOnce).send().await.unwrap();
    }
    let first = peer.expect_publish().await;
    peer.expect_publish().await;
    peer.expect_nothing().await;
    peer.puback(&first).await;
    assert_eq!(peer.expect_publish().await.payload, "3");
}

#[tokio::test(start_paused = true)]
async fn a_large_payload_arrives_whole() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let payload: Vec<u8> = (0..3_000_000u32).map(|at| at.to_le_bytes()[0]).collect();
    let sending = client.publish("big", payload.clone()).into_future();
    let (sent, publish) = tokio::join!(sending, peer.expect_publish());
    sent.unwrap();
    assert_eq!(publish.payload, payload);
}

/// A client whose connection was lost, with room for two messages.
async fn offline(when_full: WhenFull) -> (Client, Listener) {
    let builder = builder().queue(2, 1_000_000).when_full(when_full);
    let (client, mut events, peer, listener) = connected(builder).await;
    drop(peer);
    while !matches!(soon(events.next()).await.expect("more events"), Event::Disconnected { .. }) {}
    (client, listener)
}

async fn check_published(listener: &mut Listener, payloads: &[&str]) {
    let mut peer = listener.next().await;
    peer.accept(false).await;
    for payload in payloads {
        assert_eq!(peer.expect_publish().await.payload, *payload);
    }
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_makes_publishers_wait() {
    let (client, mut listener) = offline(WhenFull::Wait).await;
    let _first = client.publish("t", "1").try_send().unwrap();
    let _second = client.publish("t", "2").try_send().unwrap();
    assert_eq!(client.publish("t", "x").try_send().unwrap_err(), PublishError::QueueFull);
    let waiting = tokio::spawn(client.publish("t", "3").send());
    let impatient = client.publish("t", "4").timeout(Duration::from_millis(1));
    assert_eq!(impatient.await, Err(PublishError::Timeout));
    check_published(&mut listener, &["1", "2", "3"]).await;
    let _third = waiting.await.unwrap().expect("room");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_fails_on_demand() {
    let (client, mut listener) = offline(WhenFull::Fail).await;
    let _first = client.publish("t", "1").send().await.unwrap();
    let _second = client.publish("t", "2").send().await.unwrap();
    assert_eq!(client.publish("t", "3").await, Err(PublishError::QueueFull));
    check_published(&mut listener, &["1", "2"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_on_demand() {
    let (client, mut listener) = offline(WhenFull::DropOldest).await;
    let first = client.publish("t", "1").send().await.unwrap();
    let _second = client.publish("t", "2").send().await.unwrap();
    let _third = client.publish("t", "3").send().await.unwrap();
    assert_eq!(first.await, Err(PublishError::Dropped));
    check_published(&mut listener, &["2", "3"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_expires_while_it_waits_is_not_sent() {
    let (client, mut listener) = offline(WhenFull::Wait).await;
    let publish = client.publish("t", "old").message_expiry_interval(Duration::ZERO);
    let expiring = publish.send().await.unwrap();
    check_published(&mut listener, &[]).await;
    assert_eq!(expiring.await, Err(PublishError::Expired));
}
