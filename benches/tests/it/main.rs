//! The whole load against the relay, and against brokers of a few lines, over real sockets.

mod scripted;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dunlin_benches::ledger::WINDOW_MAX;
use dunlin_benches::load::Load;
use dunlin_benches::relay::Relay;
use dunlin_benches::traffic::{Shape, Traffic};
use dunlin_benches::{handshake, idle};

/// A relay on a thread of this process.
struct Running {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(shape: Shape) -> Self {
        let mut relay = Relay::bind((Ipv4Addr::LOCALHOST, 0).into(), shape).unwrap();
        let address = relay.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                relay.turn(Some(Duration::from_millis(20))).unwrap();
            }
        });
        Self { address, stop, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[track_caller]
fn check_run(traffic: Traffic) {
    let relay = Running::start(traffic.shape);
    let mut load = Load::connect(relay.address, traffic).unwrap();
    for messages_each in [1, 700] {
        let delivered = load.run(messages_each).unwrap();
        assert_eq!(delivered, traffic.deliveries(messages_each), "{traffic:?}");
    }
    load.finish().unwrap();
}

#[test]
fn every_shape_at_every_qos_is_delivered_in_full() {
    for shape in [Shape::FanIn, Shape::FanOut, Shape::Pairs, Shape::Shared, Shape::Wildcards] {
        for qos in 0..=2 {
            check_run(Traffic { clients: 7, qos, ..Traffic::new(shape) });
        }
    }
}

#[test]
fn frames_larger_than_one_read_arrive_whole() {
    for shape in [Shape::FanIn, Shape::FanOut] {
        check_run(Traffic { clients: 3, payload_len: 70_000, qos: 1, ..Traffic::new(shape) });
    }
}

#[test]
fn several_topic_names_and_a_window_of_one() {
    let traffic = Traffic { clients: 4, topics: 3, window: 1, ..Traffic::new(Shape::Pairs) };
    check_run(traffic);
}

#[test]
fn topic_names_that_are_new_each_time() {
    for qos in [0, 1] {
        let usual = Traffic::new(Shape::Wildcards);
        check_run(Traffic { clients: 3, topics: 7, qos, is_fresh: true, ..usual });
    }
}

#[test]
fn a_relay_of_another_shape_is_found_out() {
    // It hands each message to all subscribers, where each is owed only those of its own publisher.
    let relay = Running::start(Shape::FanOut);
    let traffic = Traffic { clients: 3, ..Traffic::new(Shape::Pairs) };
    let mut load = Load::connect(relay.address, traffic).unwrap();
    let error = load.run(10).unwrap_err();
    assert!(format!("{error:#}").contains("never sent to this subscriber"), "{error:#}");
}

#[test]
fn a_shared_message_that_reaches_two_members_is_found_out() {
    let relay = Running::start(Shape::FanOut);
    let traffic = Traffic { clients: 3, ..Traffic::new(Shape::Shared) };
    let mut load = Load::connect(relay.address, traffic).unwrap();
    // The first deliveries may all be one member's: the others' are then on their way.
    let error = load.run(10).and_then(|_| load.finish()).unwrap_err();
    assert!(format!("{error:#}").contains("never sent to this subscriber"), "{error:#}");
}

#[test]
fn paced_messages_all_have_a_latency() {
    let relay = Running::start(Shape::Pairs);
    for qos in 0..=2 {
        let traffic = Traffic { clients: 1, qos, window: WINDOW_MAX, ..Traffic::new(Shape::Pairs) };
        let mut load = Load::connect(relay.address, traffic).unwrap();
        let latencies = load.run_paced(20_000, 500).unwrap();
        assert_eq!(latencies.count(), 500);
        load.finish().unwrap();
    }
}

#[test]
fn connects_are_counted_in_batches_and_singly() {
    let relay = Running::start(Shape::Pairs);
    for parallel in [1, 8, 100] {
        idle::measure_connect(relay.address, std::process::id(), 50, parallel).unwrap();
    }
}

#[test]
fn source_addresses_change_before_ports_run_out() {
    let relay = Running::start(Shape::Pairs);
    for (nth, source) in [(0, [127, 0, 0, 1]), (20_000, [127, 0, 0, 2]), (70_000, [127, 0, 0, 4])] {
        let stream = handshake::open(relay.address, nth).unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), Ipv4Addr::from(source), "connection {nth}");
    }
}
