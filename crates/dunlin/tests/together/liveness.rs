//! Clients that publish from the loop in which they read never wait for themselves.

use crate::bed::{Bed, Case, next, number, play};
use dunlin_client::{ProtocolVersion, QoS, Subscription};

const ROUNDS: usize = 10_000;

/// Two clients answer each other, and each awaits its own acknowledgement before it reads on.
async fn ping_pong(bed: &mut Bed) {
    let (ping, pong) = (bed.connect("ping").await, bed.connect("pong").await);
    let mut to_ping = bed.subscribe(&ping, "to/ping").await;
    let mut to_pong = bed.subscribe(&pong, "to/pong").await;
    let expect = async |stream: &mut Subscription, expected| {
        assert_eq!(number(&next(stream).await), expected);
    };
    tokio::join!(
        async {
            for round in 0..ROUNDS {
                bed.message(&ping, "to/pong", round).await.expect("published");
                expect(&mut to_ping, round).await;
            }
        },
        async {
            for round in 0..ROUNDS {
                expect(&mut to_pong, round).await;
                bed.message(&pong, "to/ping", round).await.expect("published");
            }
        },
    );
}

#[test]
fn ping_pong_with_one_worker() {
    let case = Case { version: ProtocolVersion::V5, qos: QoS::AtLeastOnce, workers: 1 };
    play(case, ping_pong);
}

#[test]
fn ping_pong_with_three_workers() {
    let case = Case { version: ProtocolVersion::V3_1_1, qos: QoS::AtLeastOnce, workers: 3 };
    play(case, ping_pong);
}
