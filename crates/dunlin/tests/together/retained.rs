//! Retained messages: for later subscribers, replaced, and deleted.

use crate::bed::{Bed, expect_numbers, next, number};

pub(crate) async fn retained_message(bed: &mut Bed) {
    let publisher = bed.connect("publisher").await;
    let early = bed.connect("early").await;
    let mut to_early = bed.subscribe(&early, "r/#").await;
    for value in 0..3 {
        bed.message(&publisher, "r/x", value).retain(true).await.expect("published");
        // At QoS 0 this alone says that the broker has it.
        let received = next(&mut to_early).await;
        assert!(!received.retain(), "told as it happens, not from what was retained");
    }

    let late = bed.connect("late").await;
    let mut to_late = bed.subscribe(&late, "r/x").await;
    let received = next(&mut to_late).await;
    assert!(received.retain());
    assert_eq!((number(&received), received.qos()), (2, bed.case.qos));

    publisher.publish("r/x", "").qos(bed.case.qos).retain(true).await.expect("published");
    assert!(next(&mut to_late).await.payload().is_empty());
    let latest = bed.connect("latest").await;
    let mut to_latest = bed.subscribe(&latest, "r/+").await;
    bed.publish_numbers(&publisher, "r/y", 7..8).await;
    expect_numbers(&mut to_latest, 7..8).await;
}
