//! Who gets a place, and whose turn it is: in paused time.

use super::super::gate::tests::run;
use super::*;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// Somebody who waits, and is asked for by now.
async fn waits(places: &Arc<Places>, last: u8) -> JoinHandle<Option<Place>> {
    let before = places.state().waiting;
    let taking = places.clone();
    let waiting = tokio::spawn(async move { taking.take(address(last), HOUR, || {}).await });
    while places.state().waiting == before {
        yield_now().await;
    }
    waiting
}

#[test]
fn a_crowd_that_came_first_lets_others_have_their_turn() {
    run(async {
        let places = Places::new(1);
        let place = places.take(address(1), HOUR, || panic!("nobody waits")).await;
        let (mut turns, mut waiting) = (Vec::new(), JoinSet::new());
        for (who, last) in [(0, 1), (1, 1), (2, 1), (3, 2), (4, 3)] {
            let waits = waits(&places, last).await;
            waiting.spawn(async move { (who, waits.await.expect("no panic").expect("a place")) });
        }
        drop(place);
        while let Some(next) = waiting.join_next().await {
            let (who, _place) = next.expect("no panic");
            turns.push(who);
        }
        assert_eq!(turns, [0, 3, 4, 1, 2]);
        assert_eq!((places.taken(), places.state().waiting), (0, 0));
    });
}

#[test]
fn so_many_wait_and_of_more_the_largest_crowd_loses_its_first() {
    run(async {
        let places = Places::new(1);
        let _place = places.take(address(1), HOUR, || {}).await;
        let first = waits(&places, 1).await;
        let mut waiting = Vec::new();
        for _ in 1..WAITING_MAX {
            waiting.push(waits(&places, 1).await);
        }
        assert_eq!(places.wanted.available_permits(), WAITING_MAX);
        let began = Instant::now();
        let other = tokio::spawn({
            let places = places.clone();
            async move { places.take(address(2), HOUR, || panic!("it is not the first")).await }
        });
        assert!(first.await.expect("no panic").is_none());
        assert_eq!(began.elapsed(), Duration::ZERO, "it is told at once");
        assert_eq!(places.state().waiting, WAITING_MAX);
        assert_eq!(places.wanted.available_permits(), WAITING_MAX);
        // Who waits for too long gets none.
        for waiting in waiting.into_iter().chain([other]) {
            assert!(waiting.await.expect("no panic").is_none());
        }
        assert_eq!(began.elapsed().as_secs(), HOUR.as_secs());
        assert_eq!((places.state().waiting, places.wanted.available_permits()), (0, 0));
    });
}

#[test]
fn who_has_given_up_is_passed_over() {
    run(async {
        let places = Places::new(1);
        let place = places.take(address(1), HOUR, || {}).await;
        let gone = waits(&places, 2).await;
        let stays = waits(&places, 3).await;
        gone.abort();
        assert!(gone.await.is_err());
        assert_eq!(places.wanted.available_permits(), 1);
        drop(place);
        let place = stays.await.expect("no panic");
        assert!(place.is_some());
        drop(place);
        assert_eq!(places.taken(), 0);
    });
}

#[test]
fn who_gets_a_place_that_was_free_again_wants_none_any_more() {
    run(async {
        let places = Places::new(2);
        let first = places.take(address(1), HOUR, || {}).await;
        let second = places.take(address(1), HOUR, || {}).await;
        let waiting = [waits(&places, 2).await, waits(&places, 2).await];
        assert_eq!(places.wanted.available_permits(), 2);
        let [third, fourth] = waiting;
        drop(first);
        let _third = third.await.expect("no panic");
        assert_eq!(places.wanted.available_permits(), 1);
        drop(second);
        let _fourth = fourth.await.expect("no panic");
        assert_eq!(places.wanted.available_permits(), 0);
    });
}
