//! Everything at once: publishers and subscribers of both versions, over a proxy that cuts their
//! connections after any byte, stalls and delays. In the end everything has arrived: at QoS 1 at
//! least once, at QoS 2 exactly once, each publisher's messages in their order.
//!
//! `SIM_SEED` chooses the faults. Threads and the network have their own part in a run, so a seed
//! makes a failure likely again, not certain.

use crate::bed::{Bed, Case, next, soon, within_deadline};
use crate::proxy::Proxy;
use dunlin_broker::Limits;
use dunlin_client::{
    Client, ClientBuilder, Delivery, Event, Events, ProtocolVersion, QoS, Received, Reconnect,
    Subscription,
};
use dunlin_testkit::{Random, for_each_seed};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::yield_now;

const PUBLISHERS: usize = 3;
const SUBSCRIBERS: usize = 3;
const MESSAGES: usize = 400;

/// The messages of one publisher and Quality of Service: what the standard keeps in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    publisher: usize,
    qos: u8,
}

#[test]
fn subscribers_with_one_worker() {
    run(1, &async |run| run.subscribers().await);
}

#[test]
fn subscribers_with_three_workers() {
    run(3, &async |run| run.subscribers().await);
}

#[test]
fn shared_subscription_with_one_worker() {
    run(1, &async |run| run.shared_subscription().await);
}

#[test]
fn shared_subscription_with_three_workers() {
    run(3, &async |run| run.shared_subscription().await);
}

/// One run: its broker, the proxy in front of it, and its chance.
struct Run {
    bed: Bed,
    proxy: Proxy,
    random: Random,
}

fn run(workers: usize, scenario: &impl AsyncFn(&mut Run)) {
    for_each_seed(6, |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(within_deadline(async {
            let mut random = Random::new(seed);
            let case = Case { version: ProtocolVersion::V5, qos: QoS::ExactlyOnce, workers };
            let receive_maximum = *random.pick(&[1, 7, 200]);
            let bed = Bed::start(case, Limits { receive_maximum, ..Limits::default() });
            let faults = Random::new(random.next_u64());
            let proxy = Proxy::start_faulty(bed.address, faults).await;
            let mut run = Run { bed, proxy, random };
            scenario(&mut run).await;
            run.bed.stop().await;
            assert!(run.proxy.broken() > 10, "hardly a connection broke");
        }));
    });
}

impl Run {
    /// A client of the proxy with a Session that stays, its version and windows drawn by chance.
    fn client(&mut self, client_identifier: &str) -> ClientBuilder {
        let version = *self.random.pick(&[ProtocolVersion::V5, ProtocolVersion::V3_1_1]);
        self.bed.case.version = version;
        let builder = self.bed.client_through(&self.proxy, client_identifier);
        self.bed
            .persistent(builder)
            .seed(self.random.next_u64())
            .reconnect(Reconnect { stable_after: Duration::ZERO, ..soon() })
            .retry_first_connect(true)
            .receive_maximum(*self.random.pick(&[1, 5, 1000]))
            // All that is sent again must fit through a connection, or nothing gets anywhere.
            .in_flight_max(*self.random.pick(&[1, 4, 40]))
    }

    async fn connect(&mut self, client_identifier: &str) -> Client {
        let (client, events) = self.client(client_identifier).connect().await.expect("connected");
        tokio::spawn(watch(client_identifier.to_owned(), events));
        client
    }

    /// Publishes everything; each future resolves well. Then the faults cease.
    async fn publish(&mut self) {
        let mut publishing = tokio::task::JoinSet::new();
        for publisher in 0..PUBLISHERS {
            let client = self.connect(&format!("publisher-{publisher}")).await;
            let random = Random::new(self.random.next_u64());
            publishing.spawn(publish(client, publisher, random));
        }
        while let Some(outcome) = publishing.join_next().await {
            outcome.expect("no panic");
        }
        self.proxy.calm();
    }

    /// Tells all readers that nothing more is to come.
    async fn publish_end(&self) {
        let client = self.bed.connect("end").await;
        client.publish("chaos/end/2", "").qos(QoS::ExactlyOnce).await.expect("published");
    }

    async fn subscribers(&mut self) {
        let mut reading = tokio::task::JoinSet::new();
        for subscriber in 0..SUBSCRIBERS {
            let client = self.connect(&format!("subscriber-{subscriber}")).await;
            let subscribe = client.subscribe("chaos/#", QoS::ExactlyOnce);
            let stream = subscribe.await.expect("subscribed");
            reading.spawn(read_in_order(client, stream));
        }
        self.publish().await;
        self.publish_end().await;
        while let Some(outcome) = reading.join_next().await {
            let next_numbers = outcome.expect("no violation");
            assert_eq!(next_numbers.values().sum::<usize>(), PUBLISHERS * MESSAGES);
        }
    }

    async fn shared_subscription(&mut self) {
        let (to, mut received) = mpsc::unbounded_channel();
        for member in 0..SUBSCRIBERS {
            let client = self.connect(&format!("member-{member}")).await;
            let subscribe = client.subscribe("$share/group/chaos/#", QoS::ExactlyOnce);
            let mut stream = subscribe.await.expect("subscribed");
            let to = to.clone();
            tokio::spawn(async move {
                while let Some(message) = stream.next().await {
                    let _ = to.send(parse(&message));
                }
                drop(client);
            });
        }
        self.publish().await;
        let mut times: BTreeMap<(Lane, usize), usize> = BTreeMap::new();
        let mut has_ended = false;
        while times.len() < PUBLISHERS * MESSAGES || !has_ended {
            match received.recv().await.expect("the members go on") {
                Some((lane, number)) => *times.entry((lane, number)).or_default() += 1,
                None => has_ended = true,
            }
            if times.len() == PUBLISHERS * MESSAGES && !has_ended {
                self.publish_end().await;
            }
        }
        for ((lane, number), times) in times {
            assert!(lane.qos == 1 || times == 1, "{lane:?} {number} came {times} times");
        }
    }
}

/// A Session that gets lost would excuse anything, so it must not.
async fn watch(client_identifier: String, mut events: Events) {
    while let Some(event) = events.next().await {
        match event {
            Event::SessionLost { .. } | Event::Message(_) | Event::Dropped { .. } => {
                eprintln!("{client_identifier}: {event:?}");
                // Ends the test: the runtime has one thread, and it is this one's panic that shows.
                std::process::abort();
            }
            _ => {}
        }
    }
}

async fn publish(client: Client, publisher: usize, mut random: Random) {
    let mut deliveries: Vec<Delivery> = Vec::new();
    let mut numbers = [0; 3];
    for _ in 0..MESSAGES {
        let qos = if random.chance(50) { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let number = &mut numbers[usize::from(qos.value())];
        let padding = "x".repeat(random.index(100));
        let topic_name = format!("chaos/{publisher}/{}", qos.value());
        let publish = client.publish(topic_name, format!("{number} {padding}")).qos(qos);
        *number += 1;
        deliveries.push(publish.send().await.expect("queued"));
        for _ in 0..random.index(4) {
            yield_now().await;
        }
    }
    for delivery in deliveries {
        delivery.await.expect("published");
    }
}

/// Lane and number of a message; `None` for the end.
fn parse(message: &Received) -> Option<(Lane, usize)> {
    let topic_name = message.topic_name().as_str();
    let mut levels = topic_name.split('/').skip(1);
    let publisher = levels.next()?.parse().ok()?;
    let qos = levels.next()?.parse().ok()?;
    assert_eq!(message.qos().value(), qos, "{message:?}");
    let text = std::str::from_utf8(message.payload()).expect("text");
    let number = text.split(' ').next()?.parse().expect("a number");
    Some((Lane { publisher, qos }, number))
}

/// Reads up to the end; gives how many numbers came in each lane.
async fn read_in_order(client: Client, mut stream: Subscription) -> BTreeMap<Lane, usize> {
    let mut next_numbers: BTreeMap<Lane, usize> = BTreeMap::new();
    let mut has_ended = false;
    let total = |numbers: &BTreeMap<Lane, usize>| numbers.values().sum::<usize>();
    while !has_ended || total(&next_numbers) < PUBLISHERS * MESSAGES {
        let message = next(&mut stream).await;
        let Some((lane, number)) = parse(&message) else {
            has_ended = true;
            continue;
        };
        let next_number = next_numbers.entry(lane).or_default();
        if lane.qos == 1 && number < *next_number {
            continue;
        }
        assert_eq!(number, *next_number, "{lane:?}: lost, twice, or out of order: {message:?}");
        *next_number += 1;
    }
    assert_eq!(stream.dropped(), 0);
    drop(client);
    next_numbers
}
