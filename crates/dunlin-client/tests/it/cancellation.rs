//! Futures that are dropped half-way: what they promised still holds.

use crate::peer::{Peer, at, builder, connected, publish, soon};
use dunlin_client::{PublishError, QoS};
use dunlin_protocol::codec::{Delivery, Packet};
use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::task::{Context, Waker};

/// Polls a future once and drops it.
fn poll_and_drop(future: impl IntoFuture) {
    let future = pin!(future.into_future());
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_was_never_polled_is_not_published() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    drop(client.publish("t", "1").into_future());
    drop(client.publish("t", "2").send());
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_publish_dropped_before_its_ack_is_delivered() {
    let (client, _events, mut peer, _listener) = connected(builder().in_flight_max(1)).await;
    poll_and_drop(client.publish("t", "1").qos(QoS::AtLeastOnce));
    let first = peer.expect_publish().await;
    peer.puback(&first).await;
    // Nothing leaked: the window of one is free again.
    let second = client.publish("t", "2").qos(QoS::AtLeastOnce).into_future();
    let (second, ()) = tokio::join!(second, async {
        let second = peer.expect_publish().await;
        peer.puback(&second).await;
    });
    second.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_dropped_while_it_waits_for_room_is_not_published() {
    let builder = builder().queue(1, 1_000_000).in_flight_max(1);
    let (client, _events, mut peer, _listener) = connected(builder).await;
    let _first = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    let first = peer.expect_publish().await;
    let _second = client.publish("t", "2").qos(QoS::AtLeastOnce).send().await.unwrap();
    poll_and_drop(client.publish("t", "3").qos(QoS::AtLeastOnce));
    peer.puback(&first).await;
    let second = peer.expect_publish().await;
    assert_eq!(second.payload, "2");
    peer.puback(&second).await;
    peer.expect_nothing().await;
    // And its room is free.
    let _fourth = client.publish("t", "4").try_send().unwrap();
    assert_eq!(peer.expect_publish().await.payload, "4");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_subscribe_is_undone() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    poll_and_drop(client.subscribe("a", QoS::AtMostOnce));
    // The driver saw both commands at once and asked nothing of the server.
    peer.expect_nothing().await;
    let subscribing = tokio::spawn(client.subscribe("b", QoS::AtMostOnce).into_future());
    let subscribe = peer.expect_subscribe().await;
    subscribing.abort();
    assert_eq!(peer.expect_unsubscribe().await, ["b"]);
    peer.suback(&subscribe, vec![dunlin_client::ReasonCode::Success]).await;
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_next_loses_no_message() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let (stream, identifier) = tokio::join!(subscribing, peer.grant());
    let mut stream = stream.unwrap();
    poll_and_drop(stream.next());
    peer.send(publish("a", "1", at(QoS::AtLeastOnce, 1), &[identifier])).await;
    // Not acknowledged, since it was not given out.
    peer.expect_nothing().await;
    assert_eq!(soon(stream.next()).await.unwrap().payload(), "1");
    assert!(matches!(peer.expect().await, Packet::PubAck(_)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_next_of_events_loses_no_event() {
    let (_client, mut events, mut peer, _listener) = connected(builder()).await;
    soon(events.next()).await.expect("connected");
    poll_and_drop(events.next());
    peer.send(publish("stray", "1", Delivery::AtMostOnce, &[])).await;
    assert!(matches!(soon(events.next()).await, Some(dunlin_client::Event::Message(_))));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_unsubscribe_still_unsubscribes() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let mut stream = tokio::join!(subscribing, peer.grant()).0.unwrap();
    poll_and_drop(client.unsubscribe("a"));
    assert_eq!(peer.expect_unsubscribe().await, ["a"]);
    assert!(soon(stream.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_disconnect_still_leaves() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    poll_and_drop(client.disconnect());
    peer.expect_disconnect().await;
    peer.expect_closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connect_gives_the_attempt_up() {
    let (pipes, mut listener) = crate::peer::pipes();
    let connecting = tokio::spawn(builder().connect_over(pipes));
    let mut peer = listener.next().await;
    peer.expect_connect().await;
    connecting.abort();
    peer.expect_closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_ends_everything() {
    let (ours, theirs) = tokio::io::duplex(1024);
    let (client, mut events, driver) = builder().connect_with(ours).unwrap();
    let driver = tokio::spawn(driver);
    let mut peer = Peer::new(theirs);
    peer.accept(false).await;
    client.wait_connected().await.unwrap();
    let delivery = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    peer.expect_publish().await;
    driver.abort();
    assert_eq!(delivery.await, Err(PublishError::Disconnected));
    while soon(events.next()).await.is_some() {}
    peer.expect_closed().await;
    assert!(client.disconnect().await.is_err());
}
