//! Flow control: the smallest windows at both ends, acknowledgements that are withheld, and
//! streams that nobody reads.

use crate::bed::{Bed, expect_numbers, next, number};
use dunlin_broker::Limits;
use std::collections::VecDeque;

pub(crate) async fn windows_of_one(bed: &mut Bed) {
    bed.set_limits(Limits { receive_maximum: 1, ..Limits::default() }).await;
    let builder = bed.client("subscriber").receive_maximum(1);
    let (subscriber, _) = builder.connect().await.expect("connected");
    let mut stream = bed.subscribe(&subscriber, "w").await;
    let publishers = [
        bed.client("one").in_flight_max(1).connect().await.expect("connected").0,
        // In MQTT 5.0 the broker's window holds this one back.
        bed.client("many").connect().await.expect("connected").0,
    ];
    for publisher in publishers {
        tokio::join!(
            bed.publish_numbers(&publisher, "w", 0..300),
            expect_numbers(&mut stream, 0..300),
        );
    }
}

pub(crate) async fn withheld_acknowledgement_holds_the_server_back(bed: &mut Bed) {
    let builder = bed.client("subscriber").receive_maximum(2).manual_ack(true);
    let (subscriber, _) = builder.connect().await.expect("connected");
    let mut stream = bed.subscribe(&subscriber, "m").await;
    let publisher = bed.connect("publisher").await;
    bed.publish_numbers(&publisher, "m", 0..6).await;

    let mut held = VecDeque::new();
    for expected in 0..6 {
        let received = next(&mut stream).await;
        assert_eq!((number(&received), received.dup()), (expected, false));
        assert!(received.needs_ack());
        held.push_back(received);
        if held.len() == 2 {
            // The broker owes the rest, has taken it, and answers: it would have sent it by now.
            bed.subscribe(&subscriber, "fence").await;
            assert!(stream.try_next().is_none(), "more than Receive Maximum");
            held.pop_front().expect("two are held").ack().expect("the connection stands");
        }
    }
}

/// A client that gets far more than it reads, and publishes all the while.
pub(crate) async fn unread_stream_does_not_stop_publishing(bed: &mut Bed) {
    const FLOOD: usize = 3000;
    let client = bed.connect("client").await;
    let mut unread = client.subscribe("flood", bed.case.qos).buffer(10).await.expect("subscribed");
    let flooder = bed.connect("flooder").await;
    let other = bed.connect("other").await;
    let mut to_other = bed.subscribe(&other, "out").await;

    tokio::join!(
        bed.publish_numbers(&flooder, "flood", 0..FLOOD),
        async {
            for number in 0..500 {
                bed.message(&client, "out", number).await.expect("published");
            }
        },
        expect_numbers(&mut to_other, 0..500),
    );
    expect_numbers(&mut unread, 0..FLOOD).await;
    assert_eq!(unread.dropped(), 0);
}
