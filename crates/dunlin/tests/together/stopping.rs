//! A broker that is stopped tells its clients, and they go on with the next one at its address.

use crate::bed::{Bed, connected_again, event, expect_numbers};
use dunlin_client::{ConnectionEnd, DisconnectCause, Event, ReasonCode};

pub(crate) async fn broker_stops_and_another_listens(bed: &mut Bed) {
    let (subscriber, mut events) = bed.client("subscriber").connect().await.expect("connected");
    let publisher = bed.connect("publisher").await;
    let mut stream = bed.subscribe(&subscriber, "x/#").await;
    assert!(!connected_again(&mut events).await);
    bed.publish_numbers(&publisher, "x/1", 0..5).await;
    expect_numbers(&mut stream, 0..5).await;

    bed.stop().await;
    let cause = event(&mut events, |event| match event {
        Event::Disconnected { cause, will_reconnect, .. } => {
            assert!(will_reconnect);
            Some(cause)
        }
        _ => None,
    })
    .await;
    if bed.case.version.is_v5() {
        let DisconnectCause::Ended(ConnectionEnd::Peer(disconnect)) = cause else {
            panic!("{cause:?} instead of a DISCONNECT")
        };
        assert_eq!(disconnect.reason_code, ReasonCode::ServerShuttingDown);
    }

    bed.start_again();
    assert!(!connected_again(&mut events).await, "this broker has nothing from the other");
    event(&mut events, |event| matches!(event, Event::SubscriptionsRestored { .. }).then_some(()))
        .await;
    bed.publish_numbers(&publisher, "x/1", 5..10).await;
    expect_numbers(&mut stream, 5..10).await;
}
