//! Messages from client to client: both ways, large ones, to overlapping subscriptions, and to
//! subscriptions that end.

use crate::bed::{Bed, event, expect_numbers, next};
use dunlin_broker::Limits;
use dunlin_client::{Event, ReasonCode};
use dunlin_testkit::Random;

pub(crate) async fn both_ways(bed: &mut Bed) {
    let (left, right) = (bed.connect("left").await, bed.connect("right").await);
    let mut to_left = bed.subscribe(&left, "to/left").await;
    let mut to_right = bed.subscribe(&right, "to/+").await;
    assert_eq!(to_left.granted_qos(), Some(bed.case.qos));

    tokio::join!(
        bed.publish_numbers(&left, "to/right", 0..200),
        bed.publish_numbers(&right, "to/left", 0..200),
        expect_numbers(&mut to_left, 0..200),
        async {
            let mut of_right = 0;
            let mut of_left = 0;
            while of_right + of_left < 400 {
                let received = next(&mut to_right).await;
                assert_eq!(received.qos(), bed.case.qos);
                assert!(!received.retain());
                let expected = match received.topic_name().as_str() {
                    "to/right" => &mut of_right,
                    "to/left" => &mut of_left,
                    other => panic!("{other} was not published"),
                };
                assert_eq!(crate::bed::number(&received), *expected);
                *expected += 1;
            }
        },
    );
    assert_eq!((to_left.dropped(), to_right.dropped()), (0, 0));
}

pub(crate) async fn large_payload(bed: &mut Bed) {
    // Else QoS 0 messages behind a large one would be dropped, as the limit says.
    let output_bytes_max = 16 * 1024 * 1024;
    bed.set_limits(Limits { output_bytes_max, ..Limits::default() }).await;
    let (left, right) = (bed.connect("left").await, bed.connect("right").await);
    let mut to_right = bed.subscribe(&right, "large").await;
    let payload = Random::new(4).bytes(4 * 1024 * 1024);
    for _ in 0..3 {
        let publish = left.publish("large", payload.clone()).qos(bed.case.qos);
        let (outcome, received) = tokio::join!(publish.into_future(), next(&mut to_right));
        outcome.expect("published");
        assert!(received.payload()[..] == payload[..], "the payload has changed on its way");
    }
    // Small messages follow large ones in their order.
    let large = left.publish("large", payload.clone()).qos(bed.case.qos).send().await;
    bed.publish_numbers(&left, "large", 0..3).await;
    large.expect("queued").await.expect("published");
    assert_eq!(next(&mut to_right).await.payload().len(), payload.len());
    expect_numbers(&mut to_right, 0..3).await;
}

/// Each stream gets a message once, however many of the client's filters match it.
pub(crate) async fn overlapping_filters(bed: &mut Bed) {
    let (subscriber, publisher) = (bed.connect("subscriber").await, bed.connect("publisher").await);
    let mut exact = bed.subscribe(&subscriber, "o/x").await;
    let mut single = bed.subscribe(&subscriber, "o/+").await;
    let mut multi = bed.subscribe(&subscriber, "o/#").await;

    bed.publish_numbers(&publisher, "o/x", 0..50).await;
    bed.publish_numbers(&publisher, "o/y", 50..60).await;
    bed.publish_numbers(&publisher, "o/y/z", 60..70).await;
    bed.publish_numbers(&publisher, "o/x", 70..71).await;

    for expected in (0..50).chain(70..71) {
        let received = next(&mut exact).await;
        assert_eq!(crate::bed::number(&received), expected);
        let identifiers = if bed.case.version.is_v5() { 3 } else { 0 };
        assert_eq!(received.subscription_identifiers().len(), identifiers, "{received:?}");
    }
    expect_numbers(&mut single, 0..60).await;
    expect_numbers(&mut single, 70..71).await;
    expect_numbers(&mut multi, 0..71).await;
    assert_eq!((exact.waiting(), single.waiting(), multi.waiting()), (0, 0, 0));
}

pub(crate) async fn unsubscribing_ends_the_stream(bed: &mut Bed) {
    let (subscriber, mut events) = bed.client("subscriber").connect().await.expect("connected");
    let publisher = bed.connect("publisher").await;
    let mut left = bed.subscribe(&subscriber, "left").await;
    let mut by_filter = bed.subscribe(&subscriber, "by/filter").await;
    let mut stays = bed.subscribe(&subscriber, "stays").await;

    bed.publish_numbers(&publisher, "left", 0..3).await;
    bed.publish_numbers(&publisher, "stays", 0..1).await;
    expect_numbers(&mut stays, 0..1).await;
    left.unsubscribe().await.expect("unsubscribed");
    subscriber.unsubscribe("by/filter").await.expect("unsubscribed");

    // What had come before can still be read.
    expect_numbers(&mut left, 0..3).await;
    assert!(left.next().await.is_none());
    assert!(by_filter.next().await.is_none());

    for topic_name in ["left", "by/filter"] {
        let outcome = bed.message(&publisher, topic_name, 3).await.expect("published");
        let told = bed.case.version.is_v5() && bed.case.qos.value() > 0;
        let expected = if told { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
        assert_eq!(outcome.reason_code, expected);
    }
    bed.publish_numbers(&publisher, "stays", 1..2).await;
    expect_numbers(&mut stays, 1..2).await;

    // Nothing has come that belongs to no stream.
    subscriber.disconnect().await.expect("disconnected");
    event(&mut events, |event| match event {
        Event::Message(received) => panic!("{received:?} belongs to no stream"),
        Event::Disconnected { .. } => Some(()),
        _ => None,
    })
    .await;
    assert!(stays.next().await.is_none(), "the stream ends with the client");
}
