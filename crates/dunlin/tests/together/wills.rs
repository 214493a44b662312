//! Wills: published when the connection is lost, deleted when the client says goodbye.

use crate::bed::{Bed, expect_numbers, lost, next};
use crate::proxy::Proxy;
use dunlin_client::Will;

pub(crate) async fn abrupt_loss_publishes_the_will(bed: &mut Bed) {
    let watcher = bed.connect("watcher").await;
    let mut wills = bed.subscribe(&watcher, "wills/+").await;
    let proxy = Proxy::start(bed.address).await;
    let will = Will::new("wills/lamp", "gone").qos(bed.case.qos).retain(true);
    let builder = bed.client_through(&proxy, "lamp").will(will);
    let (lamp, mut events) = builder.connect().await.expect("connected");

    for _ in 0..2 {
        proxy.cut();
        let received = next(&mut wills).await;
        assert_eq!(received.topic_name().as_str(), "wills/lamp");
        assert_eq!((&received.payload()[..], received.qos()), (&b"gone"[..], bed.case.qos));
        lost(&mut events).await;
        // The next connection brings the Will with it again.
        proxy.open();
        lamp.wait_connected().await.expect("connected again");
    }

    let late = bed.connect("late").await;
    assert!(next(&mut bed.subscribe(&late, "wills/lamp").await).await.retain());
}

pub(crate) async fn disconnect_deletes_the_will(bed: &mut Bed) {
    let watcher = bed.connect("watcher").await;
    let mut wills = bed.subscribe(&watcher, "wills/+").await;
    let will = || Will::new("wills/lamp", "gone").qos(bed.case.qos);

    let (lamp, _) = bed.client("lamp").will(will()).connect().await.expect("connected");
    lamp.disconnect().await.expect("disconnected");
    if bed.case.version.is_v5() {
        // Unless the client asks for it.
        let (lamp, _) = bed.client("lamp").will(will()).connect().await.expect("connected");
        lamp.disconnect().with_will().await.expect("disconnected");
        assert_eq!(next(&mut wills).await.payload()[..], b"gone"[..]);
    }
    bed.publish_numbers(&watcher, "wills/marker", 0..1).await;
    expect_numbers(&mut wills, 0..1).await;
}
