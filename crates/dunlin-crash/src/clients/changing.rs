//! A subscriber that changes its mind: what is published after a SUBACK must come, what is
//! published after an UNSUBACK must not.

use std::time::Duration;

use anyhow::Result;
use dunlin_client::{Client, QoS};
use dunlin_testkit::Random;

use super::link::{Link, Receiving, Session};
use super::subscriber::enter_all;
use super::{Stage, until};
use crate::ledger::{Receiver, Wanted};

/// Connects such a subscriber; it changes whenever subscribers come and go.
pub(super) async fn start(
    stage: &Stage,
    name: &str,
    is_v5: bool,
    wanted: Wanted,
    seed: u64,
) -> Result<Link> {
    // Two streams of the client take turns, so the order in which they are read says nothing.
    let receiver = stage.ledger.add_receiver(name, wanted, QoS::ExactlyOnce, false);
    let link = Link::connect(stage, Session { name, is_v5 }, Some((receiver, 0))).await?;
    let receiving = link.receiving(stage, receiver, 0);
    let changing = Changing { client: link.client.clone(), receiver, wanted, receiving };
    tokio::spawn(changing.run(stage.clone(), Random::new(seed)));
    Ok(link)
}

struct Changing {
    client: Client,
    receiver: Receiver,
    wanted: Wanted,
    receiving: Receiving,
}

impl Changing {
    async fn run(self, stage: Stage, mut random: Random) {
        let mut moving = stage.moving();
        let filter = self.wanted.topic_filter();
        loop {
            until(&mut moving, true).await;
            stage.ledger.subscribing(self.receiver);
            let subscribing = self.client.subscribe(filter.as_str(), QoS::ExactlyOnce);
            // Refused while the disk fails: tried again.
            let Ok(subscription) = subscribing.buffer(1_000_000).await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            stage.ledger.subscribed(self.receiver);
            let reading = tokio::spawn(enter_all(subscription, self.receiving.clone()));
            self.stay(&mut moving, &mut random).await;
            stage.ledger.unsubscribing(self.receiver);
            while self.client.unsubscribe(filter.as_str()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            stage.ledger.unsubscribed(self.receiver);
            // The stream ends, when all that waited in it has been read.
            let _ = reading.await;
            tokio::time::sleep(Duration::from_millis(random.below(200))).await;
        }
    }

    /// Stays subscribed for a while, and through the quiet time in which messages are counted.
    async fn stay(&self, moving: &mut tokio::sync::watch::Receiver<bool>, random: &mut Random) {
        tokio::time::sleep(Duration::from_millis(random.between(10..=700))).await;
        until(moving, true).await;
    }
}
