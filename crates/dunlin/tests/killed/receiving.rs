//! A receiver of QoS 2 messages is killed: each is given to it, and none again once it knows that
//! its acknowledgement is stored.

use crate::life::{Log, Random, builder, live_and_die, play, start_broker};
use dunlin_client::{Event, FileStore, QoS, Received};
use std::collections::BTreeSet;
use std::path::Path;
use tokio::sync::Notify;

pub(crate) const PART: &str = "receive";

const MESSAGES: usize = 400;

/// Notes each message that it is given, and once more when the acknowledgement of it is stored.
pub(crate) async fn child(url: &str, folder: &Path) {
    let store = FileStore::open(folder.join("session")).expect("a session");
    let mut log = Log::open(folder);
    log.write("life", 0);
    let builder = builder(url, "receiver").session_store(store).manual_ack(true);
    let (client, mut events) = builder.connect().await.expect("connected");
    let mut stream = client.subscribe("t", QoS::ExactlyOnce).await.expect("subscribed");
    log.write("subscribed", 0);
    // An earlier life may have died after its last word.
    while !Log::read(folder).iter().any(|(step, _)| step == "end") {
        // What an earlier life subscribed to comes as an event until this one has.
        let mut received: Received = tokio::select! {
            biased;
            event = events.next() => match event.expect("events go on") {
                Event::Message(received) => received,
                _ => continue,
            },
            received = stream.next() => received.expect("the stream goes on"),
        };
        let number = std::str::from_utf8(received.payload()).expect("text").parse();
        let number: usize = number.expect("a number");
        if received.qos() == QoS::AtLeastOnce {
            // It comes again until this is written.
            log.write("end", number);
            received.ack().expect("a connection");
            continue;
        }
        log.write("given", number);
        received.ack_stored().await.expect("stored");
        log.write("acknowledged", number);
    }
    client.disconnect().await.expect("nothing is under way");
}

async fn receiver_is_killed(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, url) = start_broker();
    let (source, _events) = builder(&url, "source").connect().await.expect("connected");
    let subscribed = Notify::new();
    let publishing = async {
        subscribed.notified().await;
        let mut deliveries = Vec::new();
        for number in 0..MESSAGES {
            let sending = source.publish("t", number.to_string()).qos(QoS::ExactlyOnce).send();
            deliveries.push(sending.await.expect("queued"));
        }
        let end = source.publish("t", MESSAGES.to_string()).qos(QoS::AtLeastOnce);
        deliveries.push(end.send().await.expect("queued"));
        for delivery in deliveries {
            delivery.await.expect("published");
        }
    };
    let mut random = Random(seed);
    let lives = live_and_die(PART, &url, folder.path(), &mut random, |line| {
        if line.contains("subscribed") {
            subscribed.notify_one();
        }
    });
    let (kills, ()) = tokio::join!(lives, publishing);
    let log = Log::read(folder.path());
    check(&log, seed);
    let given = log.iter().filter(|(step, _)| step == "given").count();
    println!(
        "seed {seed}: {kills} kills; {MESSAGES} messages, {} given again to one who did not know \
         that its acknowledgement was stored",
        given - MESSAGES
    );
    assert!(kills > 0, "it was never killed");
    tokio::task::spawn_blocking(|| broker.stop()).await.expect("the broker stops");
}

/// # Panics
/// When a message is missing, out of order, given again in the same life, or given again after its
/// acknowledgement was stored.
fn check(log: &[(String, usize)], seed: u64) {
    let mut given_in_this_life = BTreeSet::new();
    let mut acknowledged = BTreeSet::new();
    let mut next = 0;
    for (step, number) in log {
        match step.as_str() {
            "life" => given_in_this_life.clear(),
            "given" => {
                assert!(given_in_this_life.insert(*number), "{number} twice, seed {seed}");
                assert!(!acknowledged.contains(number), "{number} once too often, seed {seed}");
                assert!(*number <= next, "{number} instead of {next}, seed {seed}");
                next = next.max(number + 1);
            }
            "acknowledged" => drop(acknowledged.insert(*number)),
            _ => {}
        }
    }
    assert_eq!(next, MESSAGES, "seed {seed}");
}

#[test]
fn a_killed_receiver_is_given_nothing_again_seed_1() {
    play(receiver_is_killed(1));
}

#[test]
fn a_killed_receiver_is_given_nothing_again_seed_2() {
    play(receiver_is_killed(2));
}
