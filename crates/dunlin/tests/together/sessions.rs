//! Sessions that outlive their connections: queues, takeover and expiry.

use crate::bed::{Bed, connected_again, event, expect_numbers, lost, next, number};
use crate::proxy::Proxy;
use dunlin_client::{ConnectionEnd, DisconnectCause, Event, QoS, ReasonCode, Will};
use std::time::Duration;

pub(crate) async fn queue_across_reconnect(bed: &mut Bed) {
    let proxy = Proxy::start(bed.address).await;
    let builder = bed.persistent(bed.client_through(&proxy, "subscriber"));
    let (subscriber, mut events) = builder.connect().await.expect("connected");
    let mut stream = bed.subscribe(&subscriber, "q/#").await;
    let publisher = bed.connect("publisher").await;
    assert!(!connected_again(&mut events).await, "a new Session");

    bed.publish_numbers(&publisher, "q/x", 0..10).await;
    expect_numbers(&mut stream, 0..10).await;
    for round in 1..4 {
        proxy.cut();
        lost(&mut events).await;
        bed.publish_numbers(&publisher, "q/x", round * 100..round * 100 + 50).await;
        // The other way the client's own queue waits for the connection.
        let away = bed.message(&subscriber, "q/own", round).send().await.expect("queued");
        proxy.open();
        assert!(connected_again(&mut events).await, "the Session goes on");
        away.await.expect("published");
        let mut queued = 0;
        let mut own = 0;
        while queued < 50 || own < 1 {
            let received = next(&mut stream).await;
            if received.topic_name().as_str() == "q/own" {
                own += 1;
            } else if number(&received) >= round * 100 {
                // An earlier one, whose acknowledgement the cut took, may come again at QoS 1.
                assert_eq!(number(&received), round * 100 + queued);
                queued += 1;
            } else {
                assert!(received.dup() && bed.case.qos == QoS::AtLeastOnce, "{received:?}");
            }
        }
    }
}

pub(crate) async fn takeover(bed: &mut Bed) {
    let builder = bed.persistent(bed.client("same")).manual_ack(true).no_reconnect();
    let (first, mut first_events) = builder.connect().await.expect("connected");
    let mut stream = bed.subscribe(&first, "t/x").await;
    let publisher = bed.connect("publisher").await;
    bed.publish_numbers(&publisher, "t/x", 0..5).await;
    for expected in 0..5 {
        let received = next(&mut stream).await;
        assert_eq!(number(&received), expected);
        // It is dropped without its acknowledgement.
    }

    let builder = bed.persistent(bed.client("same")).clean_start(false);
    let (second, mut second_events) = builder.connect().await.expect("connected");
    let cause = event(&mut first_events, |event| match event {
        Event::Disconnected { cause, will_reconnect, .. } => {
            assert!(!will_reconnect);
            Some(cause)
        }
        _ => None,
    })
    .await;
    if bed.case.version.is_v5() {
        let DisconnectCause::Ended(ConnectionEnd::Peer(disconnect)) = cause else {
            panic!("{cause:?} instead of a DISCONNECT")
        };
        assert_eq!(disconnect.reason_code, ReasonCode::SessionTakenOver);
    }
    assert!(stream.next().await.is_none(), "the stream of the first has ended");

    assert!(connected_again(&mut second_events).await, "the Session is taken over");
    bed.publish_numbers(&publisher, "t/x", 5..8).await;
    let first_expected = if bed.case.qos == QoS::AtMostOnce { 5 } else { 0 };
    for expected in first_expected..8 {
        let message = event(&mut second_events, |event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        })
        .await;
        assert_eq!((number(&message), message.dup()), (expected, expected < 5));
    }
    second.disconnect().await.expect("disconnected");
}

/// The Session ends, and with it comes the Will, however long its own delay would be.
pub(crate) async fn session_expires(bed: &mut Bed) {
    let watcher = bed.connect("watcher").await;
    let mut wills = bed.subscribe(&watcher, "wills").await;
    let proxy = Proxy::start(bed.address).await;
    let will = Will::new("wills", "ended").qos(bed.case.qos);
    let (client, mut events) = bed
        .client_through(&proxy, "mortal")
        .session_expiry_interval(Duration::from_secs(1))
        .will(will.delay_interval(Duration::from_secs(3600)))
        .connect()
        .await
        .expect("connected");
    let mut stream = bed.subscribe(&client, "s").await;
    assert!(!connected_again(&mut events).await);

    proxy.cut();
    lost(&mut events).await;
    assert_eq!(next(&mut wills).await.payload()[..], b"ended"[..]);
    bed.publish_numbers(&watcher, "s", 0..3).await;

    proxy.open();
    assert!(!connected_again(&mut events).await, "the Session is over");
    let restored = event(&mut events, |event| match event {
        Event::SubscriptionsRestored { subscriptions, .. } => Some(subscriptions),
        _ => None,
    });
    assert_eq!(restored.await, 1);
    bed.publish_numbers(&watcher, "s", 3..6).await;
    expect_numbers(&mut stream, 3..6).await;
}

/// Two Wills tell the time. The subscriber's own says that the broker knows it to be away, so
/// nothing that is published from then on is on its way already. That of another client, which is
/// cut once all is acknowledged, is delayed for longer than the first message is to live.
pub(crate) async fn messages_expire(bed: &mut Bed) {
    let publisher = bed.connect("publisher").await;
    let mut wills = bed.subscribe(&publisher, "wills/+").await;
    let (way, clock_way) = (Proxy::start(bed.address).await, Proxy::start(bed.address).await);
    let away = Will::new("wills/away", "").qos(bed.case.qos);
    let builder = bed.persistent(bed.client_through(&way, "subscriber")).will(away);
    let (subscriber, _) = builder.connect().await.expect("connected");
    let mut stream = bed.subscribe(&subscriber, "e").await;
    let time_is_up = Will::new("wills/time-is-up", "").qos(bed.case.qos);
    let builder = bed.persistent(bed.client_through(&clock_way, "clock"));
    let clock = builder.will(time_is_up.delay_interval(Duration::from_secs(2))).no_reconnect();
    let (_clock, _) = clock.connect().await.expect("connected");

    way.cut();
    assert_eq!(next(&mut wills).await.topic_name().as_str(), "wills/away");
    let long = Duration::from_secs(600);
    let short_lived = bed.message(&publisher, "e", 0);
    short_lived.message_expiry_interval(Duration::from_secs(1)).await.expect("published");
    let long_lived = bed.message(&publisher, "e", 1);
    long_lived.message_expiry_interval(long).await.expect("published");
    bed.publish_numbers(&publisher, "e", 2..3).await;
    clock_way.cut();
    assert_eq!(next(&mut wills).await.topic_name().as_str(), "wills/time-is-up");

    way.open();
    let received = next(&mut stream).await;
    assert_eq!(number(&received), 1, "the first has expired");
    let left = received.message_expiry_interval().expect("it still has an interval");
    assert!(left < long, "the time it waited counts [MQTT-3.3.2-6]");
    let received = next(&mut stream).await;
    assert_eq!((number(&received), received.message_expiry_interval()), (2, None));
}
