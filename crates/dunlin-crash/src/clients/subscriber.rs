//! Subscribers that stay, those that come and go, and the members of a group.

use std::time::Duration;

use anyhow::{Context as _, Result};
use dunlin_client::{QoS, Subscription};
use dunlin_testkit::Random;

use super::gate::Gate;
use super::link::{Link, Receiving, Session};
use super::{Stage, until};
use crate::ledger::{Receiver, Wanted};

/// How many messages wait in a stream; more than a run can have under way.
const BUFFER: usize = 1_000_000;

/// A subscriber that is there whenever the broker is.
pub(crate) async fn staying(
    stage: &Stage,
    name: &str,
    is_v5: bool,
    wanted: Wanted,
    qos: QoS,
) -> Result<Link> {
    let receiver = stage.ledger.add_receiver(name, wanted, qos, true);
    let link = Link::connect(stage, Session { name, is_v5 }, Some((receiver, 0))).await?;
    stage.ledger.subscribing(receiver);
    listen(stage, &link, &wanted.topic_filter(), qos, receiver, 0).await?;
    stage.ledger.subscribed(receiver);
    Ok(link)
}

/// A subscriber whose connection is cut again and again, so that messages wait for it.
pub(super) async fn coming_and_going(
    stage: &Stage,
    name: &str,
    is_v5: bool,
    wanted: Wanted,
    seed: u64,
) -> Result<Link> {
    let link = staying(stage, name, is_v5, wanted, QoS::ExactlyOnce).await?;
    tokio::spawn(come_and_go(stage.clone(), link.gate.clone(), Random::new(seed)));
    Ok(link)
}

async fn come_and_go(stage: Stage, gate: Gate, mut random: Random) {
    let mut moving = stage.moving();
    loop {
        until(&mut moving, true).await;
        let there = Duration::from_millis(random.between(20..=600));
        let away = Duration::from_millis(random.between(20..=900));
        for (is_open, time) in [(false, away), (true, there)] {
            gate.set_open(is_open);
            tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = until(&mut moving, false) => gate.set_open(true),
            }
        }
    }
}

/// The members of a group, which share what one of them gets.
pub(super) async fn group(stage: &Stage, members: usize, random: &mut Random) -> Result<Vec<Link>> {
    let wanted = Wanted::default();
    let receiver = stage.ledger.add_receiver("group", wanted, QoS::ExactlyOnce, false);
    stage.ledger.subscribing(receiver);
    let mut links = Vec::new();
    for member in 0..members {
        let name = format!("group-{member}");
        let session = Session { name: &name, is_v5: true };
        let link = Link::connect(stage, session, Some((receiver, member))).await?;
        let filter = format!("$share/group/{}", wanted.topic_filter());
        listen(stage, &link, &filter, QoS::ExactlyOnce, receiver, member).await?;
        if member + 1 == members {
            let random = Random::new(random.next_u64());
            tokio::spawn(come_and_go(stage.clone(), link.gate.clone(), random));
        }
        links.push(link);
    }
    stage.ledger.subscribed(receiver);
    Ok(links)
}

/// Subscribes, and enters all that comes.
async fn listen(
    stage: &Stage,
    link: &Link,
    topic_filter: &str,
    qos: QoS,
    receiver: Receiver,
    member: usize,
) -> Result<()> {
    let subscribing = link.client.subscribe(topic_filter, qos).buffer(BUFFER);
    let subscription = subscribing.await.with_context(|| format!("{} subscribes", link.name))?;
    tokio::spawn(enter_all(subscription, link.receiving(stage, receiver, member)));
    Ok(())
}

/// Enters what comes until the stream ends.
pub(super) async fn enter_all(mut subscription: Subscription, receiving: Receiving) {
    while let Some(received) = subscription.next().await {
        receiving.enter(&received);
    }
}
