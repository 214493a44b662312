//! Shared Subscriptions: each message to one member, and what a lost member had goes to others.

use crate::bed::{Bed, lost, next, number};
use crate::proxy::Proxy;
use dunlin_client::{QoS, Subscription};
use std::collections::BTreeMap;
use tokio::sync::mpsc;

const FILTER: &str = "$share/group/s/#";

/// Hands on what a stream gives, until it ends.
fn collect(mut stream: Subscription, member: usize, to: mpsc::UnboundedSender<(usize, usize)>) {
    tokio::spawn(async move {
        while let Some(received) = stream.next().await {
            if to.send((member, number(&received))).is_err() {
                return;
            }
        }
    });
}

pub(crate) async fn each_message_goes_to_one_member(bed: &mut Bed) {
    const MESSAGES: usize = 300;
    let publisher = bed.connect("publisher").await;
    let (to, mut collected) = mpsc::unbounded_channel();
    let mut members = Vec::new();
    for member in 0..4 {
        let client = bed.connect(&format!("member-{member}")).await;
        collect(bed.subscribe(&client, FILTER).await, member, to.clone());
        members.push(client);
    }
    drop(to);
    bed.publish_numbers(&publisher, "s/x", 0..MESSAGES).await;

    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    let mut shares = [0; 4];
    while times.len() < MESSAGES {
        let (member, number) = collected.recv().await.expect("the members go on");
        *times.entry(number).or_default() += 1;
        shares[member] += 1;
    }
    // Leaving waits for all that was sent, and ends the streams.
    for member in members {
        member.disconnect().await.expect("disconnected");
    }
    while let Some((_, number)) = collected.recv().await {
        *times.entry(number).or_default() += 1;
    }
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

/// QoS 1: another member gets them. QoS 2: they stay with the member [MQTT-4.8.2-4], which gets
/// them when it comes back.
pub(crate) async fn messages_of_a_lost_member_arrive(bed: &mut Bed) {
    const MESSAGES: usize = 40;
    let publisher = bed.connect("publisher").await;
    let proxy = Proxy::start(bed.address).await;
    let builder = bed.persistent(bed.client_through(&proxy, "lost"));
    let (lost_member, mut events) = builder.connect().await.expect("connected");
    let mut its_stream = bed.subscribe(&lost_member, FILTER).await;
    let other = bed.connect("other").await;
    let (to, mut collected) = mpsc::unbounded_channel();
    collect(bed.subscribe(&other, FILTER).await, 1, to.clone());

    bed.publish_numbers(&publisher, "s/x", 0..MESSAGES).await;
    // It reads one, and has not acknowledged the others.
    let mut times: BTreeMap<usize, usize> = BTreeMap::new();
    let first = next(&mut its_stream).await;
    times.insert(number(&first), 1);
    proxy.cut();
    lost(&mut events).await;

    if bed.case.qos == QoS::ExactlyOnce {
        proxy.open();
        collect(its_stream, 0, to);
    }
    while times.len() < MESSAGES {
        let (_, number) = collected.recv().await.expect("the member goes on");
        *times.entry(number).or_default() += 1;
    }
    if bed.case.qos == QoS::ExactlyOnce {
        assert!(times.values().all(|times| *times == 1), "{times:?}");
    }
}
