//! The ceiling on memory, with a broker that has a process of its own but for the Clients, which
//! hold nothing: producers are faster than consumers, and yet it stays below.

#![allow(unsafe_code, reason = "the allocator offers giving back to C alone")]

#[path = "../it/peer.rs"]
#[expect(dead_code, reason = "the other tests need all of it")]
mod peer;

use dunlin_broker::config::{Config, Memory};
use dunlin_broker::{Broker, Limits};
use dunlin_protocol::codec::{
    Connect, Delivery, Packet, PacketIdentifier, ProtocolVersion, QoS, ReasonCode,
};
use peer::{Peer, connect, publish, subscribe};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often freed memory was given back.
static GIVEN_BACK: AtomicUsize = AtomicUsize::new(0);

fn give_back() {
    GIVEN_BACK.fetch_add(1, Ordering::Relaxed);
    // SAFETY: it asks nothing of its caller.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

const CEILING: usize = 256 << 20;
const PAYLOAD_LEN: usize = 64 * 1024;
/// Messages that a publisher has under way.
const WINDOW: u32 = 50;
/// Messages that a publisher offers: half as much again as fits.
const OFFERED: u32 = (3 * CEILING / 2 / PAYLOAD_LEN) as u32;

/// Bytes that this process has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).expect("a second word").parse().expect("a number");
    pages * 4096
}

/// The most that this process has in memory while something is done.
fn peak<T>(task: impl FnOnce() -> T) -> (usize, T) {
    let (done, end) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let mut peak = 0;
        while end.recv_timeout(Duration::from_millis(5)) == Err(RecvTimeoutError::Timeout) {
            peak = peak.max(resident());
        }
        peak.max(resident())
    });
    let came = task();
    drop(done);
    (watch.join().expect("no panic"), came)
}

fn start() -> Broker {
    let limits = Limits {
        queue_bytes_max: 1 << 40,
        queue_len_max: 1 << 30,
        sys_interval_secs: 0,
        ..Limits::default()
    };
    let memory = Memory { max: CEILING };
    let config = Config { listeners: Vec::new(), workers: 2, limits, memory, ..Config::default() };
    let builder = Broker::builder().config(config).give_back(give_back);
    builder.start().expect("nothing to bind")
}

/// A Client whose session stays when it goes.
fn join(broker: &Broker, client_identifier: &str) -> Peer {
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    peer.send(&lasting(client_identifier));
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
        packet => panic!("no CONNACK but {packet:?}"),
    }
    peer
}

fn lasting(client_identifier: &str) -> Packet {
    let Packet::Connect(packet) = connect(client_identifier) else { unreachable!() };
    let mut packet = Connect { clean_start: false, ..*packet };
    packet.properties.session_expiry_interval = Some(u32::MAX);
    Packet::Connect(Box::new(packet))
}

/// The message of this number.
fn message(topic_name: &str, number: u32) -> Packet {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(PAYLOAD_LEN, b'x');
    let Packet::Publish(mut packet) = publish(topic_name, &payload, QoS::AtLeastOnce) else {
        unreachable!()
    };
    let packet_identifier = PacketIdentifier::new((number % WINDOW + 1) as u16).expect("not zero");
    packet.delivery = Delivery::AtLeastOnce { packet_identifier, dup: false };
    Packet::Publish(packet)
}

/// Publishes so many messages; the numbers of those that were taken.
fn offer(publisher: &mut Peer, topic_name: &str, numbers: std::ops::Range<u32>) -> HashSet<u32> {
    let mut taken = HashSet::new();
    let mut acked = numbers.start;
    for number in numbers.clone() {
        publisher.send(&message(topic_name, number));
        while acked + WINDOW <= number + 1 || (number + 1 == numbers.end && acked < numbers.end) {
            match publisher.receive() {
                Some(Packet::PubAck(ack)) if !ack.reason_code.is_error() => {
                    taken.insert(acked);
                }
                Some(Packet::PubAck(ack)) => {
                    assert_eq!(ack.reason_code, ReasonCode::QuotaExceeded);
                }
                packet => panic!("no PUBACK but {packet:?}"),
            }
            acked += 1;
        }
    }
    taken
}

#[test]
fn memory_has_a_ceiling_and_what_was_acknowledged_arrives() {
    let broker = start();
    let mut consumer = join(&broker, "consumer");
    consumer.send(&subscribe("a", QoS::AtLeastOnce));
    assert!(matches!(consumer.receive(), Some(Packet::SubAck(_))));
    drop(consumer);
    let mut publisher = join(&broker, "publisher");
    let (most, taken) = peak(|| offer(&mut publisher, "a", 0..OFFERED));
    assert!(most < CEILING, "{most} bytes");
    assert!(taken.len() < OFFERED as usize, "all was taken");
    assert!(taken.len() * PAYLOAD_LEN > CEILING / 2, "only {} were taken", taken.len());

    // Nobody new is let in, and no message of MQTT 3 gets an acknowledgement.
    let mut stranger = Peer::new(broker.connect_local().expect("a pipe"));
    stranger.send(&connect("stranger"));
    match stranger.receive() {
        Some(Packet::ConnAck(connack)) => {
            assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
        }
        packet => panic!("no CONNACK but {packet:?}"),
    }

    // Who has a session is, and makes room.
    let mut consumer = join(&broker, "consumer");
    let (most, came) = peak(|| {
        let mut came = HashSet::new();
        while came.len() < taken.len() {
            let payload = consumer.take_message().payload;
            came.insert(u32::from_be_bytes(payload[..4].try_into().expect("four bytes")));
        }
        came
    });
    assert!(came == taken, "others than those that were acknowledged");
    assert!(most < CEILING, "{most} bytes");

    // Nobody asks for memory now, and yet what was freed goes back to the system.
    while resident() > CEILING / 2 {
        std::thread::yield_now();
    }
    assert!(GIVEN_BACK.load(Ordering::Relaxed) > 0, "that came by itself, and late");

    // There is room again, for messages and for everybody.
    let mut number = OFFERED;
    while offer(&mut publisher, "a", number..number + 1).is_empty() {
        number += 1;
    }
    let mut stranger = Peer::new(broker.connect_local().expect("a pipe"));
    stranger.speak(ProtocolVersion::V5);
    while {
        stranger.try_send(&connect("stranger"));
        !matches!(stranger.receive(), Some(Packet::ConnAck(ack)) if !ack.reason_code.is_error())
    } {
        stranger = Peer::new(broker.connect_local().expect("a pipe"));
    }
    broker.stop();
}
