//! Leaving: what is finished first, and what the server and the handles are told.

use crate::peer::{builder, connected, soon};
use dunlin_client::{
    ConnectionState, DisconnectCause, DisconnectError, Event, ProtocolVersion, PublishError, QoS,
    ReasonCode,
};
use std::future::IntoFuture;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn what_was_handed_over_is_finished_first() {
    let (client, mut events, mut peer, _listener) = connected(builder().in_flight_max(1)).await;
    let first = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    let second = client.publish("t", "2").qos(QoS::AtLeastOnce).send().await.unwrap();
    let leaving = tokio::spawn(client.disconnect().into_future());
    for _ in 0..2 {
        let publish = peer.expect_publish().await;
        peer.puback(&publish).await;
    }
    assert_eq!(peer.expect_disconnect().await, ReasonCode::Success);
    peer.expect_closed().await;
    drop(peer);
    leaving.await.unwrap().unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(client.publish("t", "3").await, Err(PublishError::Disconnected));
    assert!(matches!(client.state(), ConnectionState::Disconnected(DisconnectCause::Local)));
    let mut last = None;
    while let Some(event) = soon(events.next()).await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Disconnected { will_reconnect: false, .. })));
    client.disconnect().await.expect("leaving twice is no fault");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_patience() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let stuck = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    let leaving = client.disconnect().timeout(Duration::from_secs(2)).into_future();
    let (outcome, ()) = tokio::join!(leaving, async {
        peer.expect_publish().await;
        peer.expect_disconnect().await;
    });
    assert_eq!(outcome, Err(DisconnectError::Unfinished(1)));
    assert_eq!(stuck.await, Err(PublishError::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn the_reason_is_the_users() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let leaving = client.disconnect().with_will().into_future();
    let (outcome, reason) = tokio::join!(leaving, peer.expect_disconnect());
    outcome.unwrap();
    assert_eq!(reason, ReasonCode::DisconnectWithWillMessage);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_not_kept_cannot_be_kept_at_the_end() {
    let (client, _events, _peer, _listener) = connected(builder()).await;
    let leave = client.disconnect().session_expiry_interval(Duration::from_secs(5));
    assert_eq!(leave.await, Err(DisconnectError::NotAllowed));
}

#[tokio::test(start_paused = true)]
async fn with_mqtt_3_a_will_is_kept_by_saying_nothing() {
    let builder = builder().protocol_version(ProtocolVersion::V3_1_1);
    let (client, _events, mut peer, _listener) = connected(builder).await;
    let leaving = client.disconnect().with_will().into_future();
    tokio::join!(leaving, peer.expect_closed()).0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_leaves() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let delivery = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    let clone = client.clone();
    drop(client);
    let publish = peer.expect_publish().await;
    peer.expect_nothing().await;
    drop(clone);
    peer.expect_nothing().await;
    peer.puback(&publish).await;
    delivery.await.unwrap();
    peer.expect_disconnect().await;
    peer.expect_closed().await;
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_the_client() {
    let (client, _events, mut peer, _listener) = connected(builder()).await;
    let subscribing = client.subscribe("a", QoS::AtMostOnce).into_future();
    let mut stream = tokio::join!(subscribing, peer.grant()).0.unwrap();
    let leaving = client.disconnect().into_future();
    tokio::join!(leaving, peer.expect_disconnect()).0.unwrap();
    assert!(soon(stream.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_leaving_waits_for_messages_alone() {
    for has_message in [false, true] {
        let (client, mut events, peer, mut listener) = connected(builder()).await;
        drop(peer);
        while !matches!(soon(events.next()).await.expect("more events"), Event::Disconnected { .. })
        {
        }
        if !has_message {
            client.disconnect().await.unwrap();
            continue;
        }
        let delivery = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
        let leaving = tokio::spawn(client.disconnect().into_future());
        let mut peer = listener.next().await;
        peer.accept(false).await;
        let publish = peer.expect_publish().await;
        peer.puback(&publish).await;
        peer.expect_disconnect().await;
        drop(peer);
        leaving.await.unwrap().unwrap();
        delivery.await.unwrap();
    }
}
