//! The Session Store: what waits for it, and what a client finds in it when it starts.

use crate::peer::{Listener, Peer, Pipes, ack, at, builder, pipes, publish, soon};
use dunlin_client::{
    Client, ClientBuilder, ConfigError, ConnectError, DisconnectCause, Event, Events, PublishError,
    QoS, SessionChange, SessionStore, StoreError, StoredExchange, StoredSession, WhenFull,
};
use dunlin_protocol::codec::{
    Ack, Delivery, Packet, PacketIdentifier, Publish as PublishPacket, ReasonCode,
};
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::Poll;

/// A store that syncs when the test lets it, and outlives the client.
#[derive(Clone, Default)]
struct Store(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    stored: StoredSession,
    appended: Vec<SessionChange>,
    is_held: bool,
    fails: bool,
    syncs: usize,
}

impl Store {
    /// Syncs hang from now on.
    fn hold(&self) {
        self.0.0.lock().unwrap().is_held = true;
    }

    fn release(&self) {
        self.0.0.lock().unwrap().is_held = false;
        self.0.1.notify_all();
    }

    fn fail(&self) {
        self.0.0.lock().unwrap().fails = true;
        self.release();
    }

    fn stored(&self) -> StoredSession {
        self.0.0.lock().unwrap().stored.clone()
    }

    fn syncs(&self) -> usize {
        self.0.0.lock().unwrap().syncs
    }

    /// What the device has when it is switched on again.
    fn after_power_loss(&self) -> Self {
        let store = Self::default();
        store.0.0.lock().unwrap().stored = self.stored();
        store
    }
}

impl SessionStore for Store {
    fn load(&mut self) -> Result<StoredSession, StoreError> {
        Ok(self.stored())
    }

    fn append(&mut self, change: &SessionChange) -> Result<(), StoreError> {
        self.0.0.lock().unwrap().appended.push(change.clone());
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        let state = self.0.0.lock().unwrap();
        let mut state = self.0.1.wait_while(state, |state| state.is_held).unwrap();
        if state.fails {
            return Err(StoreError::Failed);
        }
        state.syncs += 1;
        let appended = std::mem::take(&mut state.appended);
        for change in &appended {
            state.stored.apply(change).expect("a change that can be");
        }
        Ok(())
    }
}

fn stored_in(store: &Store) -> ClientBuilder {
    builder().session_store(store.clone())
}

/// Lets every task run until none of them can.
async fn idle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Every task was run and no packet came; unlike time, this passes while the store hangs.
async fn expect_nothing_yet(peer: &mut Peer) {
    idle().await;
    let mut next = pin!(peer.next());
    let polled = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
    assert!(polled.is_pending(), "unexpected: {polled:?}");
}

/// Lets the time pass after which the store is given what nothing waits for, and that be done.
async fn linger() {
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    let nothing = std::future::pending::<()>();
    let idle = tokio::time::timeout(std::time::Duration::from_millis(1), nothing).await;
    assert!(idle.is_err());
}

async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    idle().await;
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())).await
}

async fn start(builder: ClientBuilder, session_present: bool) -> (Client, Events, Peer, Listener) {
    let (pipes, mut listener): (Pipes, Listener) = pipes();
    let accept = async {
        let mut peer = listener.next().await;
        let connect = peer.accept(session_present).await;
        assert!(!connect.clean_start);
        assert_eq!(connect.properties.session_expiry_interval, Some(u32::MAX));
        peer
    };
    let (connected, peer) = tokio::join!(builder.connect_over(pipes), accept);
    let (client, events) = connected.expect("the peer accepts");
    (client, events, peer, listener)
}

async fn again(listener: &mut Listener, session_present: bool) -> Peer {
    let mut peer = listener.next().await;
    peer.accept(session_present).await;
    peer
}

fn identifier(publish: &PublishPacket) -> u16 {
    publish.delivery.packet_identifier().expect("QoS above 0").value()
}

fn repeated(value: u16) -> Delivery {
    let packet_identifier = PacketIdentifier::new(value).unwrap();
    Delivery::ExactlyOnce { packet_identifier, dup: true }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_a_message_before_it_is_stored() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let store = Store::default();
        let (client, _events, mut peer, _listener) = start(stored_in(&store), false).await;
        store.hold();
        let mut sending = client.publish("t", "1").qos(qos).send();
        assert!(is_pending(&mut sending).await);
        expect_nothing_yet(&mut peer).await;
        store.release();
        let delivery = sending.await.unwrap();
        let publish = peer.expect_publish().await;
        assert_eq!(store.stored().messages().count(), 1);
        if qos == QoS::ExactlyOnce {
            store.hold();
            peer.send(Packet::PubRec(ack(identifier(&publish)))).await;
            expect_nothing_yet(&mut peer).await;
            store.release();
            assert_eq!(peer.expect().await, Packet::PubRel(ack(identifier(&publish))));
            let stored = store.stored();
            assert!(matches!(stored.messages().next(), Some((_, StoredExchange::Taken(_)))));
            peer.send(Packet::PubComp(ack(identifier(&publish)))).await;
        } else {
            peer.puback(&publish).await;
        }
        delivery.await.unwrap();
        // That it is over waits for company, or a second.
        peer.expect_nothing().await;
        linger().await;
        assert!(store.stored().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_qos_2_is_sent_with_a_stored_identifier() {
    let store = Store::default();
    let builder = stored_in(&store).in_flight_max(1);
    let (client, _events, mut peer, _listener) = start(builder, false).await;
    let _first = client.publish("t", "1").qos(QoS::ExactlyOnce).send().await.unwrap();
    let _second = client.publish("t", "2").qos(QoS::ExactlyOnce).send().await.unwrap();
    let first = peer.expect_publish().await;
    peer.send(Packet::PubRec(ack(identifier(&first)))).await;
    assert_eq!(peer.expect().await, Packet::PubRel(ack(identifier(&first))));
    // The second message is stored, and not yet under which identifier it goes out.
    store.hold();
    peer.send(Packet::PubComp(ack(identifier(&first)))).await;
    expect_nothing_yet(&mut peer).await;
    store.release();
    assert_eq!(peer.expect_publish().await.payload, "2");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_not_waited_for_is_stored_as_well() {
    let store = Store::default();
    let (client, _events, mut peer, _listener) = start(stored_in(&store), false).await;
    store.hold();
    let delivery = client.publish("t", "1").qos(QoS::AtLeastOnce).try_send().unwrap();
    expect_nothing_yet(&mut peer).await;
    store.release();
    let publish = peer.expect_publish().await;
    assert_eq!(store.stored().messages().count(), 1);
    peer.puback(&publish).await;
    delivery.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_shares_a_sync() {
    let store = Store::default();
    let (client, _events, mut peer, _listener) = start(stored_in(&store), false).await;
    let before = store.syncs();
    store.hold();
    let mut sending: Vec<_> =
        (0..100).map(|_| client.publish("t", "x").qos(QoS::ExactlyOnce).send()).collect();
    for one in &mut sending {
        assert!(is_pending(one).await);
    }
    store.release();
    for _ in 0..100 {
        peer.expect_publish().await;
    }
    assert!(store.syncs() - before <= 3, "{} syncs", store.syncs() - before);
}

#[tokio::test(start_paused = true)]
async fn messages_of_the_server_are_answered_when_that_is_stored() {
    let store = Store::default();
    let builder = stored_in(&store).manual_ack(true);
    let (client, _events, mut peer, _listener) = start(builder, false).await;
    let subscribing = client.subscribe("t", QoS::ExactlyOnce).into_future();
    let (stream, identifier) = tokio::join!(subscribing, peer.grant());
    let mut stream = stream.unwrap();
    peer.send(publish("t", "1", at(QoS::ExactlyOnce, 7), &[identifier])).await;
    let mut received = soon(stream.next()).await.unwrap();
    expect_nothing_yet(&mut peer).await;
    store.hold();
    let mut acking = Box::pin(received.ack_stored());
    assert!(is_pending(&mut acking).await);
    expect_nothing_yet(&mut peer).await;
    store.release();
    acking.await.unwrap();
    assert_eq!(peer.expect().await, Packet::PubRec(ack(7)));
    assert_eq!(store.stored().received().count(), 1);
    store.hold();
    peer.send(Packet::PubRel(ack(7))).await;
    expect_nothing_yet(&mut peer).await;
    store.release();
    assert_eq!(peer.expect().await, Packet::PubComp(ack(7)));
    assert!(store.stored().is_empty());
    // Whether the application waits for the store or not.
    peer.send(publish("t", "2", at(QoS::ExactlyOnce, 8), &[identifier])).await;
    let mut received = soon(stream.next()).await.unwrap();
    store.hold();
    received.ack().unwrap();
    expect_nothing_yet(&mut peer).await;
    store.release();
    assert_eq!(peer.expect().await, Packet::PubRec(ack(8)));
}

#[tokio::test(start_paused = true)]
async fn a_program_goes_on_where_the_last_one_was() {
    let store = Store::default();
    let (client, _events, mut peer, mut listener) = start(stored_in(&store), false).await;
    for (payload, qos) in
        [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce), ("3", QoS::ExactlyOnce)]
    {
        client.publish("t", payload).qos(qos).send().await.unwrap();
        assert_eq!(peer.expect_publish().await.payload, payload);
    }
    peer.send(Packet::PubRec(ack(2))).await;
    assert_eq!(peer.expect().await, Packet::PubRel(ack(2)));
    drop(peer);
    let _away = listener.next().await;
    client.publish("t", "4").qos(QoS::ExactlyOnce).send().await.unwrap();

    let store = store.after_power_loss();
    let (client, mut events, mut peer, _listener) = start(stored_in(&store), true).await;
    let event = soon(events.next()).await.unwrap();
    assert!(matches!(event, Event::SessionRestored { queued: 1, in_flight: 3, .. }), "{event:?}");
    assert_eq!(peer.expect().await, Packet::PubRel(ack(2)));
    for (payload, value, dup) in [("1", 1, true), ("3", 3, true), ("4", 4, false)] {
        let publish = peer.expect_publish().await;
        assert_eq!((&publish.payload[..], publish.delivery.dup()), (payload.as_bytes(), dup));
        assert_eq!(identifier(&publish), value);
    }
    peer.send(Packet::PubAck(ack(1))).await;
    peer.send(Packet::PubComp(ack(2))).await;
    for value in [3, 4] {
        peer.send(Packet::PubRec(ack(value))).await;
        assert_eq!(peer.expect().await, Packet::PubRel(ack(value)));
        peer.send(Packet::PubComp(ack(value))).await;
    }
    // Leaving waits for messages of the earlier program, and has all of it stored.
    let (left, reason_code) = tokio::join!(client.disconnect().into_future(), async {
        let reason_code = peer.expect_disconnect().await;
        drop(peer);
        reason_code
    });
    left.unwrap();
    assert_eq!(reason_code, ReasonCode::Success);
    assert!(store.stored().is_empty());
    assert_eq!(store.stored().client_identifier().unwrap(), "it");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_server_lost_is_published_anew() {
    let store = Store::default();
    let (client, _events, mut peer, _listener) = start(stored_in(&store), false).await;
    for payload in ["1", "2", "3"] {
        client.publish("t", payload).qos(QoS::ExactlyOnce).send().await.unwrap();
        peer.expect_publish().await;
    }
    peer.send(Packet::PubRec(ack(2))).await;
    peer.expect().await;

    let store = store.after_power_loss();
    let (_client, _events, mut peer, _listener) = start(stored_in(&store), false).await;
    for (payload, value) in [("1", 1), ("3", 2)] {
        let publish = peer.expect_publish().await;
        assert_eq!((&publish.payload[..], publish.delivery.dup()), (payload.as_bytes(), false));
        assert_eq!(identifier(&publish), value);
    }
    // And once more, from what was stored of that.
    let store = store.after_power_loss();
    let (_client, _events, mut peer, _listener) = start(stored_in(&store), true).await;
    for (payload, value) in [("1", 1), ("3", 2)] {
        let publish = peer.expect_publish().await;
        assert_eq!((&publish.payload[..], publish.delivery.dup()), (payload.as_bytes(), true));
        assert_eq!(identifier(&publish), value);
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_acknowledged_is_known_after_a_restart() {
    let store = Store::default();
    let manual = |store: &Store| stored_in(store).manual_ack(true);
    let (_client, mut events, mut peer, _listener) = start(manual(&store), true).await;
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    for (value, payload) in [(5, "1"), (6, "2")] {
        peer.send(publish("t", payload, at(QoS::ExactlyOnce, value), &[])).await;
    }
    let Some(Event::Message(mut first)) = soon(events.next()).await else { panic!("a message") };
    let Some(Event::Message(_second)) = soon(events.next()).await else { panic!("a message") };
    first.ack_stored().await.unwrap();
    assert_eq!(peer.expect().await, Packet::PubRec(ack(5)));

    let store = store.after_power_loss();
    let (_client, mut events, mut peer, _listener) = start(manual(&store), true).await;
    assert!(matches!(soon(events.next()).await, Some(Event::SessionRestored { .. })));
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    peer.send(publish("t", "1", repeated(5), &[])).await;
    assert_eq!(peer.expect().await, Packet::PubRec(ack(5)), "it is not given again");
    peer.send(publish("t", "2", repeated(6), &[])).await;
    let Some(Event::Message(mut second)) = soon(events.next()).await else { panic!("a message") };
    assert_eq!(second.payload(), "2");
    second.ack_stored().await.unwrap();
    assert_eq!(peer.expect().await, Packet::PubRec(ack(6)));
}

#[tokio::test(start_paused = true)]
async fn a_repetition_waits_for_the_acknowledgement_of_the_first() {
    let store = Store::default();
    let builder = stored_in(&store).manual_ack(true);
    let (_client, mut events, mut peer, mut listener) = start(builder, true).await;
    let mut received = Vec::new();
    for (value, payload) in [(5, "1"), (6, "2"), (7, "3")] {
        peer.send(publish("t", payload, at(QoS::ExactlyOnce, value), &[])).await;
    }
    while received.len() < 3 {
        if let Event::Message(message) = soon(events.next()).await.expect("more events") {
            received.push(message);
        }
    }
    drop(peer);
    while !matches!(soon(events.next()).await.expect("more events"), Event::Disconnected { .. }) {}
    // The first is acknowledged while there is no connection.
    received[0].ack_stored().await.unwrap();
    assert_eq!(store.stored().received().count(), 1);
    let mut peer = again(&mut listener, true).await;
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    // The second before the Server repeats it, the third after that.
    received[1].ack_stored().await.unwrap();
    for (value, payload) in [(5, "1"), (6, "2"), (7, "3")] {
        peer.send(publish("t", payload, repeated(value), &[])).await;
    }
    assert_eq!(peer.expect().await, Packet::PubRec(ack(5)));
    assert_eq!(peer.expect().await, Packet::PubRec(ack(6)));
    peer.expect_nothing().await;
    received[2].ack().unwrap();
    assert_eq!(peer.expect().await, Packet::PubRec(ack(7)));
    // None was given twice: the next is a new one.
    peer.send(publish("t", "4", at(QoS::ExactlyOnce, 8), &[])).await;
    let Some(Event::Message(fourth)) = soon(events.next()).await else { panic!("a message") };
    assert_eq!(fourth.payload(), "4");
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_not_for_a_later_session() {
    let store = Store::default();
    let builder = stored_in(&store).manual_ack(true);
    let (_client, mut events, mut peer, mut listener) = start(builder, true).await;
    let next_message = async |events: &mut Events| loop {
        if let Event::Message(message) = soon(events.next()).await.expect("more events") {
            return message;
        }
    };
    peer.send(publish("t", "1", at(QoS::ExactlyOnce, 5), &[])).await;
    let mut old = next_message(&mut events).await;
    drop(peer);
    let mut peer = again(&mut listener, false).await;
    peer.send(publish("t", "new", at(QoS::ExactlyOnce, 5), &[])).await;
    let mut new = next_message(&mut events).await;
    assert_eq!(new.payload(), "new");
    old.ack().unwrap();
    peer.expect_nothing().await;
    assert_eq!(store.stored().received().count(), 0);
    new.ack().unwrap();
    assert_eq!(peer.expect().await, Packet::PubRec(ack(5)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_not_remembered() {
    let store = Store::default();
    let builder = stored_in(&store).manual_ack(true);
    let (_client, mut events, mut peer, _listener) = start(builder, true).await;
    peer.send(publish("t", "1", at(QoS::ExactlyOnce, 5), &[])).await;
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    let Some(Event::Message(mut message)) = soon(events.next()).await else { panic!("a message") };
    message.refuse(ReasonCode::QuotaExceeded).unwrap();
    let refusal = Ack::new(PacketIdentifier::new(5).unwrap(), ReasonCode::QuotaExceeded);
    assert_eq!(peer.expect().await, Packet::PubRec(refusal));
    assert_eq!(store.stored().received().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_by_its_policy_and_counts() {
    for (when_full, left, dropped) in [
        (WhenFull::DropOldest, ["3", "4"], 2),
        (WhenFull::DropNewest, ["1", "2"], 2),
        (WhenFull::Fail, ["1", "2"], 0),
    ] {
        let store = Store::default();
        let builder = stored_in(&store).queue(2, 1_000_000).when_full(when_full);
        let (client, _events, peer, mut listener) = start(builder, false).await;
        drop(peer);
        let _away = listener.next().await;
        let mut outcomes = Vec::new();
        for payload in ["1", "2", "3", "4"] {
            let sent = client.publish("t", payload).qos(QoS::AtLeastOnce).send().await;
            outcomes.push(sent.err());
        }
        let expected = match when_full {
            WhenFull::DropOldest => [None, None],
            WhenFull::DropNewest => [Some(PublishError::Dropped), Some(PublishError::Dropped)],
            _ => [Some(PublishError::QueueFull), Some(PublishError::QueueFull)],
        };
        assert_eq!(outcomes[..2], [None, None], "{when_full:?}");
        assert_eq!(outcomes[2..], expected, "{when_full:?}");
        assert_eq!(client.dropped(), dropped, "{when_full:?}");
        linger().await;
        let stored = store.stored();
        let payloads: Vec<_> = stored
            .messages()
            .map(|(_, exchange)| match exchange {
                StoredExchange::Queued(stored) => stored.message.payload.clone(),
                exchange => panic!("{exchange:?}"),
            })
            .collect();
        assert_eq!(payloads, left, "{when_full:?}");
        // The bound counts what the next program finds.
        let builder = stored_in(&store.after_power_loss()).queue(2, 1_000_000);
        let builder = builder.when_full(WhenFull::Fail).retry_first_connect(true);
        let (pipes, mut listener) = pipes();
        let connecting = tokio::spawn(builder.connect_over(pipes));
        let mut peer = listener.next().await;
        peer.accept(true).await;
        let (client, _events) = connecting.await.unwrap().unwrap();
        for payload in left {
            assert_eq!(peer.expect_publish().await.payload, payload);
        }
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_the_client() {
    let store = Store::default();
    let (client, mut events, mut peer, _listener) = start(stored_in(&store), false).await;
    store.hold();
    let mut sending = client.publish("t", "1").qos(QoS::AtLeastOnce).send();
    assert!(is_pending(&mut sending).await);
    store.fail();
    assert_eq!(sending.await.err(), Some(PublishError::Disconnected));
    peer.expect_closed().await;
    let cause = loop {
        if let Event::Disconnected { cause, will_reconnect, .. } =
            soon(events.next()).await.expect("more events")
        {
            assert!(!will_reconnect);
            break cause;
        }
    };
    assert!(matches!(cause, DisconnectCause::Store(StoreError::Failed)), "{cause:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_belongs_to_one_client() {
    let store = Store::default();
    let (client, _events, mut peer, _listener) = start(stored_in(&store), false).await;
    client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
    peer.expect_publish().await;
    let other = stored_in(&store.after_power_loss()).client_identifier("other");
    let error = other.connect_over(pipes().0).await.err().unwrap();
    assert!(matches!(error, ConnectError::Store(StoreError::OtherClient { .. })), "{error:?}");
}

#[tokio::test]
async fn a_store_needs_a_session_to_keep() {
    let fault = async |builder: ClientBuilder| match builder.connect_over(pipes().0).await {
        Err(ConnectError::Config(error)) => error,
        outcome => panic!("{outcome:?}"),
    };
    let stored = || stored_in(&Store::default());
    let no_name = stored().client_identifier("");
    assert_eq!(fault(no_name).await, ConfigError::StoreNeedsClientIdentifier);
    let at_once = stored().session_expiry_interval(std::time::Duration::ZERO);
    assert_eq!(fault(at_once).await, ConfigError::StoreNeedsSession);
    let clean = stored().protocol_version(dunlin_client::ProtocolVersion::V3_1_1).clean_start(true);
    assert_eq!(fault(clean).await, ConfigError::StoreNeedsSession);
}

/// A message of the Server's new Session could else be taken for one of the old.
#[tokio::test(start_paused = true)]
async fn nothing_follows_a_lost_session_before_that_is_stored() {
    let store = Store::default();
    let (pipes, mut listener) = pipes();
    let connecting = tokio::spawn(stored_in(&store).connect_over(pipes));
    let mut peer = listener.next().await;
    store.hold();
    peer.accept(false).await;
    let (client, _events) = connecting.await.unwrap().unwrap();
    let mut subscribing = client.subscribe("t", QoS::ExactlyOnce).into_future();
    assert!(is_pending(&mut subscribing).await);
    expect_nothing_yet(&mut peer).await;
    store.release();
    let (stream, _) = tokio::join!(subscribing, peer.grant());
    stream.unwrap();
}
