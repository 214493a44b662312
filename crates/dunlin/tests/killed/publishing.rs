//! A publisher is killed: each message that was accepted arrives, at QoS 2 once and in order.

use crate::life::{Log, Random, builder, live_and_die, play, start_broker};
use dunlin_client::{FileStore, QoS, Sending, Subscription};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

pub(crate) const PART: &str = "publish";

const MESSAGES: usize = 500;

/// Handed over at once, so that a kill meets several on their way.
const GROUP: usize = 8;

fn topic_name(number: usize) -> (&'static str, QoS) {
    if number.is_multiple_of(3) { ("one", QoS::AtLeastOnce) } else { ("two", QoS::ExactlyOnce) }
}

/// Publishes what no earlier life has tried to; what one has tried and was not told of may have
/// been accepted, and is not tried again.
pub(crate) async fn child(url: &str, folder: &Path) {
    let store = FileStore::open(folder.join("session")).expect("a session");
    let tried = Log::read(folder).into_iter().map(|(_, number)| number).max();
    let mut next = tried.map_or(0, |last| last + 1);
    let mut log = Log::open(folder);
    let builder = builder(url, "publisher").session_store(store).in_flight_max(5);
    let (client, events) = builder.connect().await.expect("connected");
    drop(events);
    while next < MESSAGES {
        let group = next..(next + GROUP).min(MESSAGES);
        next = group.end;
        let sending = group.map(|number| {
            log.write("try", number);
            let (topic_name, qos) = topic_name(number);
            (number, client.publish(topic_name, number.to_string()).qos(qos).send())
        });
        accepted(sending.collect(), |number| log.write("accepted", number)).await;
    }
    client.disconnect().timeout(Duration::from_secs(60)).await.expect("all is acknowledged");
}

/// Polls all of them, in their order, until each was accepted.
async fn accepted(mut sending: Vec<(usize, Sending)>, mut tell: impl FnMut(usize)) {
    poll_fn(|cx| {
        sending.retain_mut(|(number, sending)| match Pin::new(sending).poll(cx) {
            Poll::Ready(delivery) => {
                delivery.expect("accepted");
                tell(*number);
                false
            }
            Poll::Pending => true,
        });
        if sending.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

async fn numbers_until_end(stream: &mut Subscription) -> Vec<usize> {
    let mut numbers = Vec::new();
    loop {
        let received = stream.next().await.expect("the stream goes on");
        let text = std::str::from_utf8(received.payload()).expect("text").to_owned();
        if text == "end" {
            return numbers;
        }
        numbers.push(text.parse().expect("a number"));
    }
}

async fn publisher_is_killed(seed: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let (broker, url) = start_broker();
    let (witness, _events) = builder(&url, "witness").connect().await.expect("connected");
    let [mut one, mut two] = [
        witness.subscribe("one", QoS::ExactlyOnce).buffer(10_000).await.expect("subscribed"),
        witness.subscribe("two", QoS::ExactlyOnce).buffer(10_000).await.expect("subscribed"),
    ];
    let kills = live_and_die(PART, &url, folder.path(), &mut Random(seed), |_| {}).await;
    for topic_name in ["one", "two"] {
        witness.publish(topic_name, "end").qos(QoS::ExactlyOnce).await.expect("published");
    }
    let one = numbers_until_end(&mut one).await;
    let two = numbers_until_end(&mut two).await;
    let log = Log::read(folder.path());
    let accepted = |qos: QoS| {
        let of_qos = log.iter().filter(move |(_, number)| topic_name(*number).1 == qos);
        of_qos.filter(|(step, _)| step == "accepted").map(|(_, number)| *number)
    };
    println!(
        "seed {seed}: {kills} kills; of {MESSAGES} messages {} were accepted; arrived: {} of QoS \
         1 ({} of them again), {} of QoS 2",
        accepted(QoS::AtLeastOnce).count() + accepted(QoS::ExactlyOnce).count(),
        one.len(),
        one.len() - one.iter().collect::<BTreeSet<_>>().len(),
        two.len(),
    );
    assert!(two.is_sorted_by(|a, b| a < b), "once and in order, seed {seed}: {two:?}");
    let lost = |arrived: &[usize], qos| -> Vec<usize> {
        accepted(qos).filter(|number| !arrived.contains(number)).collect()
    };
    assert!(lost(&one, QoS::AtLeastOnce).is_empty(), "{:?}", lost(&one, QoS::AtLeastOnce));
    assert!(lost(&two, QoS::ExactlyOnce).is_empty(), "{:?}", lost(&two, QoS::ExactlyOnce));
    assert!(kills > 0, "it was never killed");
    let left = FileStore::open(folder.path().join("session")).expect("a session");
    assert!(left.session().is_empty(), "{:?}", left.session());
    tokio::task::spawn_blocking(|| broker.stop()).await.expect("the broker stops");
}

#[test]
fn what_a_killed_publisher_promised_arrives_seed_1() {
    play(publisher_is_killed(1));
}

#[test]
fn what_a_killed_publisher_promised_arrives_seed_2() {
    play(publisher_is_killed(2));
}
