//! The loss of a connection: what is sent again, made again, and told.

use crate::peer::{Listener, Peer, ack, at, builder, connected, publish, soon};
use dunlin_client::{
    Client, ClientBuilder, ConnectionState, Event, Events, PublishError, QoS, ReasonCode,
    Reconnect, Subscription,
};
use dunlin_protocol::codec::{
    ConnAckProperties, Delivery, Disconnect, Packet, PacketIdentifier, RetainHandling,
    SubscriptionIdentifier,
};
use std::future::IntoFuture;
use std::time::Duration;

fn persistent() -> ClientBuilder {
    builder().session_expiry_interval(Duration::from_secs(3600))
}

async fn again(listener: &mut Listener, session_present: bool) -> Peer {
    let mut peer = listener.next().await;
    let connect = peer.accept(session_present).await;
    assert!(!connect.clean_start);
    peer
}

/// The names of the events up to the first that the test waits for.
async fn events_until(events: &mut Events, last: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    while names.last().is_none_or(|name| name != last) {
        let event = format!("{:?}", soon(events.next()).await.expect("more events"));
        names.push(event.split([' ', '(', '{']).next().unwrap_or_default().to_owned());
    }
    names
}

#[tokio::test(start_paused = true)]
async fn a_resumed_session_sends_again_with_dup() {
    let (client, mut events, mut peer, mut listener) = connected(persistent()).await;
    let first = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    let second = client.publish("t", "2").qos(QoS::ExactlyOnce).send().await.unwrap();
    peer.expect_publish().await;
    peer.expect_publish().await;
    peer.send(Packet::PubRec(ack(2))).await;
    peer.expect().await;
    drop(peer);

    let mut peer = again(&mut listener, true).await;
    let owed = [peer.expect().await, peer.expect().await];
    let resent = owed.iter().find_map(|packet| match packet {
        Packet::Publish(publish) => Some(publish),
        _ => None,
    });
    let resent = resent.expect("the message of QoS 1");
    assert!(resent.delivery.dup());
    assert_eq!(resent.payload, "1");
    assert!(owed.contains(&Packet::PubRel(ack(2))), "{owed:?}");
    peer.send(Packet::PubAck(ack(1))).await;
    peer.send(Packet::PubComp(ack(2))).await;
    soon(first).await.unwrap();
    soon(second).await.unwrap();
    assert_eq!(events_until(&mut events, "Disconnected").await, ["Connected", "Disconnected"]);
    let event = soon(events.next()).await.unwrap();
    assert!(matches!(event, Event::Connected { session_present: true, .. }), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_is_made_again() {
    let (client, mut events, mut peer, mut listener) = connected(persistent()).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let (stream, _) = tokio::join!(subscribing, peer.grant());
    let mut stream = stream.unwrap();
    let first = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    let second = client.publish("t", "2").qos(QoS::ExactlyOnce).send().await.unwrap();
    peer.expect_publish().await;
    peer.expect_publish().await;
    drop(peer);
    let third = client.publish("t", "3").qos(QoS::AtLeastOnce).send().await.unwrap();

    let mut peer = again(&mut listener, false).await;
    let identifier = peer.grant().await;
    for payload in ["1", "2", "3"] {
        let published = peer.expect_publish().await;
        assert_eq!(published.payload, payload, "in their order");
        assert!(!published.delivery.dup(), "published anew, not sent again");
        let packet_identifier = published.delivery.packet_identifier().unwrap().value();
        if payload == "2" {
            peer.send(Packet::PubRec(ack(packet_identifier))).await;
            peer.send(Packet::PubComp(ack(packet_identifier))).await;
        } else {
            peer.puback(&published).await;
        }
    }
    for delivery in [first, second, third] {
        soon(delivery).await.unwrap();
    }
    let names = events_until(&mut events, "SubscriptionsRestored").await;
    let expected =
        ["Connected", "Disconnected", "Connected", "SessionLost", "SubscriptionsRestored"];
    assert_eq!(names, expected);
    peer.send(publish("a", "goes on", Delivery::AtMostOnce, &[identifier])).await;
    assert_eq!(soon(stream.next()).await.unwrap().payload(), "goes on");
}

#[tokio::test(start_paused = true)]
async fn without_a_kept_session_messages_are_published_anew() {
    // Clean Start on every connection: nothing outlives one at the server.
    let (client, mut events, mut peer, mut listener) = connected(builder()).await;
    let delivery = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    peer.expect_publish().await;
    drop(peer);
    let mut peer = listener.next().await;
    assert!(peer.accept(false).await.clean_start);
    let published = peer.expect_publish().await;
    peer.puback(&published).await;
    soon(delivery).await.unwrap();
    events_until(&mut events, "Disconnected").await;
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    assert!(matches!(soon(events.next()).await, Some(Event::SessionLost { republished: 1, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_receipt_was_told_is_not_published_anew() {
    let (client, _events, mut peer, mut listener) = connected(persistent()).await;
    let delivery = client.publish("t", "1").qos(QoS::ExactlyOnce).send().await.unwrap();
    peer.expect_publish().await;
    peer.send(Packet::PubRec(ack(1))).await;
    peer.expect().await;
    drop(peer);
    let mut peer = again(&mut listener, false).await;
    soon(delivery).await.expect("the server had it");
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_not_restored_on_demand() {
    let builder = persistent().restore_subscriptions(false);
    let (client, _events, mut peer, mut listener) = connected(builder).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let mut stream = tokio::join!(subscribing, peer.grant()).0.unwrap();
    drop(peer);
    let mut peer = again(&mut listener, false).await;
    assert!(soon(stream.next()).await.is_none());
    drop(stream);
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_anew_ends() {
    let (client, mut events, mut peer, mut listener) = connected(persistent()).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let mut stream = tokio::join!(subscribing, peer.grant()).0.unwrap();
    drop(peer);
    let mut peer = again(&mut listener, false).await;
    let subscribe = peer.expect_subscribe().await;
    peer.suback(&subscribe, vec![ReasonCode::NotAuthorized]).await;
    assert!(soon(stream.next()).await.is_none());
    events_until(&mut events, "SubscriptionRefused").await;
}

#[tokio::test(start_paused = true)]
async fn subscriptions_of_a_resumed_session_stand() {
    let (client, _events, mut peer, mut listener) = connected(persistent()).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let (stream, identifier) = tokio::join!(subscribing, peer.grant());
    let mut stream = stream.unwrap();
    drop(peer);
    let mut peer = again(&mut listener, true).await;
    peer.expect_nothing().await;
    peer.send(publish("a", "still", Delivery::AtMostOnce, &[identifier])).await;
    assert_eq!(soon(stream.next()).await.unwrap().payload(), "still");
}

/// A subscription in whose stream a message of QoS 1 waits, and one of QoS 2.
async fn with_two_waiting(
    client: &Client,
    peer: &mut Peer,
) -> (Subscription, Option<SubscriptionIdentifier>) {
    let subscribing = client.subscribe("a", QoS::ExactlyOnce).into_future();
    let (stream, identifier) = tokio::join!(subscribing, peer.grant());
    peer.send(publish("a", "q1", at(QoS::AtLeastOnce, 1), &[identifier])).await;
    peer.send(publish("a", "q2", at(QoS::ExactlyOnce, 2), &[identifier])).await;
    peer.expect_nothing().await;
    (stream.unwrap(), identifier)
}

/// The answer that would have said that the Session is lost came to nobody, and the next one says that
/// there is one: the new one.
#[tokio::test(start_paused = true)]
async fn subscriptions_are_made_again_after_a_connect_without_an_answer() {
    let (client, _events, mut peer, mut listener) = connected(persistent()).await;
    let (mut stream, identifier) = with_two_waiting(&client, &mut peer).await;
    let subscribing = client.subscribe("b", QoS::AtLeastOnce).into_future();
    let mut leaving = tokio::join!(subscribing, peer.grant()).0.unwrap();
    let left = tokio::spawn(async move { leaving.unsubscribe().await });
    assert!(matches!(peer.expect().await, Packet::Unsubscribe(_)));
    drop(peer);
    let mut peer = listener.next().await;
    peer.expect_connect().await;
    drop(peer);

    let mut peer = again(&mut listener, true).await;
    let mut filters = Vec::new();
    for _ in 0..2 {
        let subscribe = peer.expect_subscribe().await;
        assert_eq!(subscribe.subscriptions[0].options.retain_handling, RetainHandling::SendIfNew);
        filters.push(subscribe.subscriptions[0].topic_filter.to_string());
        peer.suback(&subscribe, vec![ReasonCode::GrantedQoS2]).await;
    }
    assert_eq!(filters, ["a", "b"]);
    // What was to go goes after it came again.
    assert_eq!(peer.expect_unsubscribe().await, ["b"]);
    soon(left).await.unwrap().unwrap();
    // The messages that wait were the old Session's, and what has their identifiers is new.
    peer.send(publish("a", "new 1", at(QoS::AtLeastOnce, 1), &[identifier])).await;
    peer.send(publish("a", "new 2", at(QoS::ExactlyOnce, 2), &[identifier])).await;
    for payload in ["q1", "q2", "new 1", "new 2"] {
        assert_eq!(soon(stream.next()).await.unwrap().payload(), payload);
    }
    drop(peer);

    // That was answered, and settles it.
    let mut peer = again(&mut listener, true).await;
    peer.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_no_doubt_about_the_session() {
    let (client, _events, mut peer, mut listener) = connected(persistent()).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let _stream = tokio::join!(subscribing, peer.grant()).0.unwrap();
    drop(peer);
    listener.next().await.refuse(ReasonCode::ServerBusy).await;
    again(&mut listener, true).await.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_answer_is_asked_for_again() {
    let (client, _events, mut peer, mut listener) = connected(persistent()).await;
    let subscribing = tokio::spawn(client.subscribe("a", QoS::AtLeastOnce).into_future());
    peer.expect_subscribe().await;
    drop(peer);
    again(&mut listener, true).await.grant().await;
    soon(subscribing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_is_not_doubled_by_a_resumed_session() {
    let (client, _events, mut peer, mut listener) = connected(persistent()).await;
    let (mut stream, identifier) = with_two_waiting(&client, &mut peer).await;
    assert_eq!(stream.waiting(), 2);
    drop(peer);
    let mut peer = again(&mut listener, true).await;
    peer.expect_nothing().await;
    let packet_identifier = PacketIdentifier::FIRST;
    let dup = Delivery::AtLeastOnce { packet_identifier, dup: true };
    peer.send(publish("a", "q1", dup, &[identifier])).await;
    // The one of QoS 2 waits in the stream still; it is only acknowledged.
    let packet_identifier = packet_identifier.next();
    let dup = Delivery::ExactlyOnce { packet_identifier, dup: true };
    peer.send(publish("a", "q2", dup, &[identifier])).await;
    let mut payloads = Vec::new();
    for _ in 0..2 {
        payloads.push(soon(stream.next()).await.unwrap().into_payload());
    }
    payloads.sort();
    assert_eq!(payloads, ["q1", "q2"]);
    let acks = [peer.expect().await, peer.expect().await];
    assert!(acks.contains(&Packet::PubAck(ack(1))), "{acks:?}");
    assert!(acks.contains(&Packet::PubRec(ack(2))), "{acks:?}");
    assert_eq!(stream.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stale_acknowledgement_is_not_sent_on_the_next_connection() {
    let (client, _events, mut peer, mut listener) = connected(persistent().manual_ack(true)).await;
    let subscribing = client.subscribe("a", QoS::AtLeastOnce).into_future();
    let (stream, identifier) = tokio::join!(subscribing, peer.grant());
    let mut stream = stream.unwrap();
    peer.send(publish("a", "old", at(QoS::AtLeastOnce, 1), &[identifier])).await;
    let mut old = soon(stream.next()).await.unwrap();
    drop(peer);
    let mut peer = again(&mut listener, true).await;
    peer.send(publish("a", "other", at(QoS::AtLeastOnce, 1), &[identifier])).await;
    let mut other = soon(stream.next()).await.unwrap();
    old.ack().unwrap();
    peer.expect_nothing().await;
    other.ack().unwrap();
    assert_eq!(peer.expect().await, Packet::PubAck(ack(1)));
}

#[tokio::test(start_paused = true)]
async fn an_assigned_client_identifier_is_kept() {
    let (pipes, mut listener) = crate::peer::pipes();
    let builder = dunlin_client::Client::builder("mqtt://h").unwrap();
    let connecting = tokio::spawn(builder.connect_over(pipes));
    let assigned_client_identifier = Some("chosen".parse().unwrap());
    let properties = ConnAckProperties { assigned_client_identifier, ..Default::default() };
    let mut peer = listener.next().await;
    peer.answer(false, ReasonCode::Success, properties).await;
    let _client = soon(connecting).await.unwrap().unwrap();
    drop(peer);
    assert_eq!(listener.next().await.expect_connect().await.client_identifier, "chosen");
}

#[tokio::test(start_paused = true)]
async fn the_state_tells_attempts_and_their_time() {
    let (client, _events, peer, mut listener) = connected(builder()).await;
    let mut watch = client.watch_state();
    assert!(watch.state().is_connected());
    drop(peer);
    let state = soon(watch.changed()).await.unwrap();
    assert!(matches!(state, ConnectionState::Reconnecting { attempt: 1, .. }), "{state:?}");
    drop(listener.next().await);
    let state = soon(watch.changed()).await.unwrap();
    let ConnectionState::Reconnecting { attempt: 2, retry_at } = state else { panic!("{state:?}") };
    let mut peer = listener.next().await;
    assert!(tokio::time::Instant::now() >= retry_at);
    peer.accept(false).await;
    soon(client.wait_connected()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn attempts_end_where_the_user_says() {
    let reconnect = Reconnect { attempts_max: Some(2), ..Reconnect::default() };
    let (client, mut events, peer, mut listener) = connected(builder().reconnect(reconnect)).await;
    drop(peer);
    let waiting = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    drop(listener.next().await);
    drop(listener.next().await);
    assert_eq!(soon(waiting).await, Err(PublishError::Disconnected));
    while soon(events.next()).await.is_some() {}
    assert!(matches!(client.state(), ConnectionState::Disconnected(_)));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_taken_over_is_not_fought_for() {
    let (client, mut events, mut peer, _listener) = connected(persistent()).await;
    let disconnect = Disconnect::new(ReasonCode::SessionTakenOver);
    peer.send(Packet::Disconnect(Box::new(disconnect))).await;
    assert_eq!(events_until(&mut events, "Disconnected").await, ["Connected", "Disconnected"]);
    assert!(soon(events.next()).await.is_none());
    assert!(matches!(client.state(), ConnectionState::Disconnected(_)));
}

#[tokio::test(start_paused = true)]
async fn qos_0_that_was_not_written_is_told_lost() {
    let (pipes, mut listener) = crate::peer::pipes_of(1024);
    let connecting = tokio::spawn(builder().connect_over(pipes));
    let mut peer = listener.next().await;
    peer.accept(false).await;
    let (client, _events) = soon(connecting).await.unwrap().unwrap();
    let stuck = client.publish("t", vec![0; 100_000]).send().await.unwrap();
    peer.send_raw(&[0xD0, 0]).await;
    drop(peer);
    assert_eq!(soon(stuck).await, Err(PublishError::ConnectionLost));
}
