//! Who gets a place, who has to prove its address, and who makes room: in paused time.

use super::*;
use crate::config::Limits;

const STEP: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);

fn gate(half_open_max: usize, half_open_per_address_max: usize) -> Arc<Gate> {
    let parts = QuicParts {
        doors: Vec::new(),
        peers: Vec::new(),
        admission: Admission::new(&Limits::default()),
        half_open_max,
        half_open_per_address_max,
        timeout: HOUR,
    };
    Gate::new(&parts, watch::channel(Phase::Runs).1)
}

pub(in crate::quic) fn run(test: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(test);
}

/// Whether somebody from this address is counted, has to prove it, or is turned away.
fn receive(gate: &Arc<Gate>, address: &str, is_proven: bool) -> Reception {
    gate.receive(address.parse().expect("an address"), is_proven)
}

fn visitor(gate: &Arc<Gate>, address: &str) -> Visitor {
    match receive(gate, address, true) {
        Reception::Counted(visitor) => visitor,
        reception => panic!("{reception:?}"),
    }
}

async fn place(gate: &Arc<Gate>, address: &str) -> Place {
    visitor(gate, address).place().await.expect("a place")
}

#[test]
fn an_address_has_to_be_proven_when_there_are_many_or_many_of_it() {
    run(async {
        let gate = gate(8, 1000);
        let asks = |address| matches!(receive(&gate, address, false), Reception::Prove);
        let first = place(&gate, "10.0.0.1").await;
        assert!(!asks("10.0.0.9"), "one place of eight");
        let _second = place(&gate, "10.0.0.2").await;
        assert!(asks("10.0.0.9"), "a quarter");
        drop(first);
        assert!(!asks("10.0.0.9"), "it was given back");
    });
    run(async {
        let gate = gate(1000, 8);
        let _some = [place(&gate, "2001:db8::1").await, place(&gate, "2001:db8::2").await];
        assert!(matches!(receive(&gate, "2001:db8::3", false), Reception::Prove));
        let other = receive(&gate, "2001:db8:0:1::1", false);
        assert!(matches!(other, Reception::Counted(_)), "another network");
    });
}

#[test]
fn an_address_has_its_number_and_gets_it_back() {
    run(async {
        let gate = gate(1000, 3);
        let mut visitors: Vec<_> = (0..3).map(|_| visitor(&gate, "10.0.0.1")).collect();
        for _ in 0..30 {
            assert!(matches!(receive(&gate, "10.0.0.1", true), Reception::Refused));
            // What an address of IPv4 is in the way of IPv6 is the same.
            assert!(matches!(receive(&gate, "::ffff:10.0.0.1", true), Reception::Refused));
        }
        let other = visitor(&gate, "10.0.0.2");
        visitors.pop();
        visitors.push(visitor(&gate, "10.0.0.1"));
        visitors.clear();
        drop(other);
        assert!(gate.by_address().is_empty(), "nobody is remembered who is gone");
    });
}

#[test]
fn one_makes_room_for_each_that_waits_and_no_more() {
    run(async {
        let gate = gate(5, 1000);
        let began = Instant::now();
        let mut holders = tokio::task::JoinSet::new();
        for _ in 0..5 {
            let place = place(&gate, "10.0.0.1").await;
            holders.spawn(async move { place.silence(|| 1).await });
            tokio::task::yield_now().await;
            // Not all of them are silent for long enough at the same time.
            tokio::time::advance(STEP).await;
        }
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let visitor = visitor(&gate, "10.0.0.2");
            waiting.spawn(visitor.place());
        }
        let mut places = Vec::new();
        while let Some(place) = waiting.join_next().await {
            places.push(place.expect("no panic").expect("a place"));
        }
        // Timers are exact to a millisecond.
        let expected = SILENCE + 2 * STEP;
        assert_eq!(began.elapsed().as_millis() / 10, expected.as_millis() / 10);
        tokio::time::advance(HOUR).await;
        let gone = std::iter::from_fn(|| holders.try_join_next()).count();
        assert_eq!(gone, 3, "the others go on, as nobody waits");
    });
}

#[test]
fn who_goes_on_with_its_handshake_is_not_silent_and_has_its_time() {
    run(async {
        let gate = gate(1, 1000);
        let began = Instant::now();
        let place = place(&gate, "10.0.0.1").await;
        let waiting = tokio::spawn(visitor(&gate, "10.0.0.2").place());
        // Something comes of it again and again, and then nothing.
        let last = 2 * SILENCE + STEP;
        let received = || began.elapsed().min(last).as_millis() as u64 / STEP.as_millis() as u64;
        place.silence(received).await;
        let elapsed = began.elapsed();
        assert!((last + SILENCE..=last + SILENCE + LOOK).contains(&elapsed), "{elapsed:?}");
        drop(place);
        let next = waiting.await.expect("no panic").expect("a place");
        // However much comes of it.
        let waiting = tokio::spawn(visitor(&gate, "10.0.0.1").place());
        let began = Instant::now();
        next.silence(|| began.elapsed().as_millis() as u64).await;
        assert_eq!(began.elapsed().as_millis() / 10, PATIENCE.as_millis() / 10);
        drop(next);
        waiting.await.expect("no panic").expect("a place");
    });
}
