//! How many steps others wait for.

use super::*;
use std::future::poll_fn;
use std::sync::atomic::AtomicUsize;
use std::task::Poll;

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(test);
}

/// A driver that can always go on, until it has gone so many steps.
fn driver(steps: &Arc<AtomicUsize>, most: usize) -> Driver {
    let (steps, mut gone) = (steps.clone(), 0);
    Box::pin(poll_fn(move |cx| {
        steps.fetch_add(1, Ordering::Relaxed);
        gone += 1;
        if gone == most {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }))
}

#[test]
fn others_wait_for_few_steps_of_many_handshakes() {
    run(async {
        let (pace, steps) = (Pace::new(), Arc::new(AtomicUsize::new(0)));
        let runtime = PacedRuntime(pace.clone());
        for _ in 0..100 {
            let handshake = Arc::new(Handshake::default());
            pace.set_next(Some(handshake));
            runtime.spawn(driver(&steps, 50));
        }
        let mut most = 0;
        while steps.load(Ordering::Relaxed) < 100 * 50 {
            let before = steps.load(Ordering::Relaxed);
            yield_now().await;
            most = most.max(steps.load(Ordering::Relaxed) - before);
        }
        // Those of this turn after us, and of the next one before us.
        assert!((1..=2 * STEPS).contains(&most), "{most} steps");
    });
}

#[test]
fn whose_handshake_is_over_waits_for_no_others() {
    run(async {
        let (pace, steps) = (Pace::new(), Arc::new(AtomicUsize::new(0)));
        let handshake = Arc::new(Handshake::default());
        let runtime = PacedRuntime(pace.clone());
        let accepted = pace.accept(&handshake, || runtime.spawn(driver(&steps, 1000)));
        accepted.await;
        let all = pace.steps.acquire_many(STEPS as u32).await.expect("they are there");
        let before = steps.load(Ordering::Relaxed);
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(steps.load(Ordering::Relaxed), before, "it has no step");
        assert!(before < 1000);
        handshake.end();
        // It waits for its next step, after which it needs none.
        drop(all);
        let _all = pace.steps.acquire_many(STEPS as u32).await.expect("they are there");
        for _ in 0..10_000 {
            yield_now().await;
        }
        assert_eq!(steps.load(Ordering::Relaxed), 1000, "it needs none any more");
    });
}
