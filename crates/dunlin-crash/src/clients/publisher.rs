//! A publisher: as many messages under way as its window allows, each with an outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use dunlin_client::{Client, PublishError, QoS};
use dunlin_testkit::Random;
use tokio::sync::Semaphore;

use super::link::{Link, Session};
use super::{Stage, payload, until};
use crate::ledger::{Outcome, Stream};

/// The most messages that a publisher has under way.
const WINDOW_MAX: u64 = 20;

/// The most bytes of filler.
const FILLER_MAX: u64 = 2048;

/// How many refusals of a window are told in the history.
const REFUSALS_TOLD: u32 = 2;

/// One of the Topic Names of a publisher.
#[derive(Clone, Debug)]
struct Topic {
    stream: Stream,
    topic_name: String,
    qos: QoS,
}

/// Connects a publisher; it publishes whenever publishers do.
pub(crate) async fn start(stage: &Stage, number: usize, streams: usize, seed: u64) -> Result<Link> {
    let name = format!("publisher-{number}");
    let session = Session { name: &name, is_v5: number % 3 != 2 };
    let link = Link::connect(stage, session, None).await?;
    let topic = |nth: usize| {
        let is_even = (number + nth).is_multiple_of(2);
        let qos = if is_even { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let stream = stage.ledger.add_stream(number, nth, qos);
        Topic { stream, topic_name: format!("c/{number}/{nth}"), qos }
    };
    let topics = (0..streams).map(topic).collect();
    tokio::spawn(publish(stage.clone(), link.client.clone(), name, topics, Random::new(seed)));
    Ok(link)
}

async fn publish(
    stage: Stage,
    client: Client,
    name: String,
    topics: Vec<Topic>,
    mut random: Random,
) {
    let mut publishing = stage.publishing();
    loop {
        let told = Arc::new(AtomicU32::new(0));
        until(&mut publishing, true).await;
        // A window for a while, then another.
        let window = random.between(1..=WINDOW_MAX) as usize;
        let permits = Arc::new(Semaphore::new(window));
        for _ in 0..random.between(1..=500) {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            if !*publishing.borrow() {
                break;
            }
            let topic = random.pick(&topics).clone();
            let sequence = stage.ledger.begin(topic.stream);
            let filler = random.below(FILLER_MAX) as usize;
            let payload = payload(topic.stream, sequence, filler);
            let sent =
                client.publish(topic.topic_name.as_str(), payload).qos(topic.qos).send().await;
            let ledger = Arc::clone(&stage.ledger);
            let (name, told) = (name.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                let outcome = match sent {
                    Ok(delivery) => delivery.await.map(drop),
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(()) => ledger.end(topic.stream, sequence, Outcome::Acknowledged),
                    Err(error) => {
                        let refused = matches!(error, PublishError::Refused { .. });
                        let what = if refused { "was refused" } else { "has lost" };
                        // The first tell why; thousands would hide what else happened.
                        if told.fetch_add(1, Ordering::Relaxed) < REFUSALS_TOLD {
                            let topic_name = &topic.topic_name;
                            let text = format!("{name} {what} {sequence} of {topic_name}: {error}");
                            ledger.happened(text);
                        }
                        ledger.end(topic.stream, sequence, Outcome::Refused);
                        // Who is refused does not insist.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                drop(permit);
            });
        }
        if random.chance(10) {
            tokio::time::sleep(Duration::from_millis(random.below(50))).await;
        }
        // All of a window is over before the next begins.
        let all = u32::try_from(window).unwrap_or(u32::MAX);
        let Ok(_) = permits.acquire_many(all).await else { return };
    }
}
