//! Retained messages: after a crash the last that was acknowledged is there, or a later one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use dunlin_client::{Client, QoS};
use dunlin_testkit::Random;
use tokio::sync::watch;

use super::link::{Link, Session};
use super::{Stage, until};
use crate::ledger::{Kind, Ledger};

/// How many Topic Names have retained messages.
const TOPIC_NAMES: usize = 6;

/// How long a subscriber waits for them.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where one Topic Name stands.
#[derive(Debug, Default)]
struct Topic {
    begun: AtomicU64,
    acknowledged: AtomicU64,
}

/// Those who publish retained messages, and the eye on them.
pub(super) struct RetainedState {
    topics: Vec<Topic>,
}

/// Those who publish retained messages, and the eye on them.
pub(crate) struct Retained {
    stage: Stage,
    link: Link,
    state: Arc<RetainedState>,
    going: Arc<watch::Sender<bool>>,
    /// What was acknowledged when the broker was about to be killed.
    noted: Vec<u64>,
}

impl Retained {
    pub(super) async fn start(stage: &Stage, seed: u64) -> Result<Self> {
        let session = Session { name: "retaining", is_v5: true };
        let link = Link::connect(stage, session, None).await?;
        let topics = (0..TOPIC_NAMES).map(|_| Topic::default()).collect();
        let state = Arc::new(RetainedState { topics });
        let going = Arc::new(watch::channel(false).0);
        for number in 0..TOPIC_NAMES {
            let publishing = publish(
                link.client.clone(),
                Arc::clone(&stage.ledger),
                Arc::clone(&state),
                going.subscribe(),
                number,
                Random::new(seed ^ number as u64),
            );
            tokio::spawn(publishing);
        }
        let stage = stage.clone();
        Ok(Self { stage, link, state, going, noted: vec![0; TOPIC_NAMES] })
    }

    pub(super) const fn len(&self) -> usize {
        1
    }

    pub(super) fn go(&self) {
        self.going.send_replace(true);
    }

    pub(super) fn stop(&self) {
        self.going.send_replace(false);
    }

    /// How many messages have no outcome yet.
    pub(super) fn pending(&self) -> usize {
        let open = |topic: &&Topic| {
            topic.begun.load(Ordering::SeqCst) != topic.acknowledged.load(Ordering::SeqCst)
        };
        self.state.topics.iter().filter(open).count() + usize::from(!self.link.is_connected())
    }

    /// Notes what must be there after the kill; nobody begins to set another until it was looked at.
    pub(super) fn note(&mut self) {
        self.stop();
        let acknowledged = |topic: &Topic| topic.acknowledged.load(Ordering::SeqCst);
        self.noted = self.state.topics.iter().map(acknowledged).collect();
    }

    /// Compares what is retained with what was noted.
    pub(super) async fn check(&self) {
        self.compare(&self.noted).await;
    }

    /// Nothing is under way: compares with the last.
    pub(super) async fn check_last(&mut self) {
        self.note();
        self.check().await;
    }

    async fn compare(&self, expected: &[u64]) {
        match tokio::time::timeout(PATIENCE, self.look(expected)).await {
            Ok(Ok(found)) => {
                for (number, expected) in expected.iter().enumerate().filter(|(_, at)| **at > 0) {
                    let value = found.get(&number).copied();
                    let begun = self.state.topics[number].begun.load(Ordering::SeqCst);
                    if value.is_none_or(|value| value < *expected || value > begun) {
                        let what = format!("r/{number} has {value:?}, acknowledged was {expected}");
                        self.stage.ledger.finding(Kind::RetainedOlder, &what);
                    }
                }
            }
            Ok(Err(error)) => self.stage.ledger.finding(Kind::Stuck, &format!("{error:#}")),
            Err(_) => {
                self.stage.ledger.finding(Kind::Stuck, "retained messages can't be read");
            }
        }
    }

    /// What is retained now, as a new client gets it.
    async fn look(&self, expected: &[u64]) -> Result<BTreeMap<usize, u64>> {
        let builder = Client::builder(&format!("mqtt://{}", self.stage.address))?;
        let (client, _events) =
            builder.client_identifier("looking").connect().await.context("looking connects")?;
        let wanted = expected.iter().filter(|expected| **expected > 0).count();
        let mut subscription = client.subscribe("r/#", QoS::AtLeastOnce).await?;
        let mut found = BTreeMap::new();
        while found.len() < wanted {
            // What is not there is missing: they come at once or not at all.
            let next = tokio::time::timeout(Duration::from_secs(5), subscription.next()).await;
            let Ok(Some(received)) = next else { break };
            let number = received.topic_name().as_str().rsplit('/').next().map(str::parse);
            let value = std::str::from_utf8(received.payload()).map(str::parse);
            if let (Some(Ok(number)), Ok(Ok(value))) = (number, value) {
                found.insert(number, value);
            }
        }
        client.disconnect().await?;
        Ok(found)
    }
}

async fn publish(
    client: Client,
    ledger: Arc<Ledger>,
    state: Arc<RetainedState>,
    mut going: watch::Receiver<bool>,
    number: usize,
    mut random: Random,
) {
    let topic = &state.topics[number];
    let qos = if number.is_multiple_of(2) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
    loop {
        until(&mut going, true).await;
        let value = topic.begun.fetch_add(1, Ordering::SeqCst) + 1;
        loop {
            let message = client.publish(format!("r/{number}"), value.to_string());
            if message.qos(qos).retain(true).await.is_ok() {
                break;
            }
            // Refused while the disk fails: tried again.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        topic.acknowledged.store(value, Ordering::SeqCst);
        ledger.retained_acknowledged();
        tokio::time::sleep(Duration::from_millis(random.below(60))).await;
    }
}
