//! Wills after a crash.

use super::*;

#[test]
fn wills_come_when_they_are_due() {
    // Delay, Session Expiry Interval, seconds between cut and crash if it was cut before, seconds
    // without a process; when the Will comes after the start, if it does.
    for (delay, expiry, cut_before, pause, expected) in [
        (0, 0, None, 3, Some(0)),
        (10, 0, None, 3, Some(0)),
        (0, 60, None, 3, Some(0)),
        (10, 60, None, 3, Some(10)),
        (20, 10, None, 3, Some(10)),
        (10, 60, Some(4), 3, Some(3)),
        (10, 60, Some(4), 30, Some(0)),
        (10, 60, Some(11), 3, None),
        (0, 60, Some(0), 3, None),
    ] {
        for workers in [1, 2] {
            let mut broker = Broker::with_store(workers);
            let watcher = keeper(&mut broker, "watcher");
            broker.send(watcher, subscribe(&["w"], QoS::ExactlyOnce));
            broker.receive(watcher);
            let mut packet = will("w", "gone", delay);
            packet.qos = QoS::ExactlyOnce;
            let (link, _) = broker.join(connect("one").expiry(expiry).will(packet));
            if let Some(secs) = cut_before {
                broker.cut(link);
                broker.advance_secs(secs);
            }
            broker.drain(watcher);
            let (_, len) = broker.log_len();
            broker.crash(len, 3 - workers, Duration::from_secs(pause));
            let watcher = keeper(&mut broker, "watcher");
            broker.advance(Duration::from_millis(200));
            let mut came = None;
            for secs in 0..=30 {
                if !broker.drain(watcher).is_empty() {
                    assert_eq!(came.replace(secs), None, "a Will comes once");
                }
                broker.advance_secs(1);
            }
            assert_eq!(came, expected, "delay {delay}, expiry {expiry}, cut {cut_before:?}");
            broker.restart();
            let watcher = keeper(&mut broker, "watcher");
            broker.advance_secs(100);
            assert!(broker.drain(watcher).is_empty(), "it is stored that it came");
        }
    }
}

#[test]
fn a_will_that_was_on_its_way_when_the_broker_crashed_respects_no_local() {
    let options = |no_local| SubscriptionOptions {
        maximum_qos: QoS::AtLeastOnce,
        no_local,
        retain_as_published: false,
        retain_handling: RetainHandling::Send,
    };
    let mut broker = Broker::with_store(2);
    let names: Vec<_> = (0..6).map(|at| format!("one-{at}")).collect();
    for name in &names {
        let (link, _) = broker.join(connect(name).expiry(600));
        broker.send(link, subscribe_with(&["w"], options(true), None));
    }
    let packet = connect("one-0").resume().expiry(600).will(will("w", "gone", 0));
    let (link, _) = broker.join(packet);
    // The other worker hears nothing of it before the crash.
    broker.prompt = false;
    broker.cut(link);
    let worker = broker.worker_of(link);
    broker.settle(worker);
    broker.prompt = true;
    let (_, len) = broker.log_len();
    broker.crash(len, 2, Duration::ZERO);
    for name in &names {
        let link = keeper(&mut broker, name);
        // Whoever was owed it already gets it once more: at QoS 1 that is allowed.
        let got = broker.drain(link);
        assert_eq!(got.is_empty(), name == "one-0", "{name}: {got:?}");
    }
}

#[test]
fn a_will_that_was_discarded_or_replaced_stays_so() {
    let mut broker = Broker::with_store(1);
    let watcher = keeper(&mut broker, "watcher");
    broker.send(watcher, subscribe(&["w"], QoS::AtLeastOnce));
    let (link, _) = broker.join(connect("one").will(will("w", "polite", 0)));
    broker.send(link, disconnect(ReasonCode::Success));
    let (link, _) = broker.join(connect("two").expiry(60).will(will("w", "old", 20)));
    broker.cut(link);
    broker.join(connect("two").resume().expiry(60).will(will("w", "new", 0)));
    let (link, _) = broker.join(connect("three").expiry(60).will(will("w", "none", 20)));
    broker.cut(link);
    broker.join(connect("three").resume().expiry(60));
    broker.restart();
    let watcher = keeper(&mut broker, "watcher");
    broker.advance_secs(100);
    assert_eq!(broker.drain(watcher), ["new"]);
}
