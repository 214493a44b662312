//! The limits that are met at sockets, before there is a packet: what reaches them is fine, one more
//! is refused or waits, is counted under `$SYS`, and does nothing to others.

use crate::peer::{PATIENCE, Peer, connect, publish, subscribe};
use crate::web_client::Site;
use crate::{join, start};
use dunlin_broker::config::{Config, Listener, Memory};
use dunlin_broker::{Broker, Limits};
use dunlin_protocol::codec::{Packet, QoS, ReasonCode};
use std::io::Read as _;
use std::net::TcpStream;

/// A Client that is told what one of the limits has refused.
pub(crate) struct Watcher(Peer);

impl Watcher {
    pub(crate) fn new(broker: &Broker, name: &str) -> Self {
        let mut peer = join(broker, "watcher");
        peer.send(&subscribe(&format!("$SYS/broker/limits/{name}"), QoS::AtMostOnce));
        assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
        Self(peer)
    }

    /// Waits until anything was refused or delayed.
    pub(crate) fn wait_for_more(&mut self) {
        while self.0.take_message().payload == "0" {}
    }

    /// Waits until so much was refused, which is all there will be.
    pub(crate) fn wait_for(&mut self, count: usize) {
        loop {
            let message = self.0.take_message();
            let text = String::from_utf8(message.payload.to_vec()).expect("a number");
            let told: usize = text.parse().expect("a number");
            assert!(told <= count, "{told} instead of {count}");
            if told == count {
                return;
            }
        }
    }
}

fn limits() -> Limits {
    Limits { sys_interval_secs: 1, ..Limits::default() }
}

/// Whoever met no limit is served as ever.
pub(crate) fn check_served(peer: &mut Peer) {
    peer.send(&publish("nobody/listens", b"x", QoS::AtLeastOnce));
    assert!(matches!(peer.receive(), Some(Packet::PubAck(_))));
}

fn check_refused(peer: &mut Peer) {
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => {
            assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
        }
        packet => panic!("no CONNACK but {packet:?}"),
    }
    assert_eq!(peer.receive(), None);
}

/// A broker with a listener, and how to reach it.
fn listen(workers: usize, limits: Limits) -> (Broker, impl Fn() -> Peer) {
    let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address"))];
    let config = Config { listeners, workers, limits, ..Config::default() };
    let broker = Broker::builder().config(config).start().expect("a free port");
    let address = broker.addresses()[0];
    let open = move || {
        let socket = TcpStream::connect(address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Peer::over(socket)
    };
    (broker, open)
}

#[test]
fn connections_of_one_address_beyond_their_number_are_refused_and_counted() {
    const N: usize = 3;
    for workers in [1, 3] {
        let limits = Limits { connections_per_address_max: N, ..limits() };
        let (broker, open) = listen(workers, limits);
        // By a pipe, which has no address.
        let mut watcher = Watcher::new(&broker, "connections_per_address_max");
        watcher.wait_for(0);
        let join = |at| {
            let mut peer = open();
            peer.send(&connect(&format!("c-{at}")));
            peer
        };
        let mut peers: Vec<_> = (0..N).map(join).collect();
        for peer in &mut peers {
            assert!(matches!(peer.receive(), Some(Packet::ConnAck(_))));
        }
        (0..9 * N).for_each(|at| check_refused(&mut join(at)));
        watcher.wait_for(9 * N);
        peers.iter_mut().for_each(check_served);
    }
}

#[test]
fn connections_that_come_too_fast_are_accepted_later() {
    const N: usize = 3;
    for workers in [1, 3] {
        let limits = Limits { connects_per_second_max: N as u32, ..limits() };
        let (broker, open) = listen(workers, limits);
        let mut watcher = Watcher::new(&broker, "connects_per_second_max");
        watcher.wait_for(0);
        let mut peers: Vec<_> = (0..3 * N).map(|_| open()).collect();
        for (at, peer) in peers.iter_mut().enumerate() {
            peer.send(&connect(&format!("c-{at}")));
        }
        for peer in &mut peers {
            assert!(matches!(peer.receive(), Some(Packet::ConnAck(_))), "all come in");
        }
        watcher.wait_for_more();
        peers.iter_mut().for_each(check_served);
    }
}

#[test]
fn connections_beyond_their_number_are_refused_and_counted() {
    const N: usize = 5;
    for workers in [1, 3] {
        let broker = start(workers, Limits { connections_max: N, ..limits() });
        let mut watcher = Watcher::new(&broker, "connections_max");
        watcher.wait_for(0);
        let mut peers: Vec<_> = (1..N).map(|at| join(&broker, &format!("c-{at}"))).collect();
        for refused in 1..=9 * N {
            let mut more = Peer::new(broker.connect_local().expect("a pipe"));
            more.try_send(&connect("more"));
            check_refused(&mut more);
            if refused == 1 {
                watcher.wait_for(1);
            }
        }
        watcher.wait_for(9 * N);
        peers.iter_mut().for_each(check_served);
    }
}

#[test]
fn those_who_say_nothing_shut_nobody_out_while_memory_is_scarce() {
    // Less than the process has. This is looked at after each turn in which something comes.
    let memory = Memory { max: 64 << 10 };
    let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address"))];
    let config = Config { listeners, workers: 1, limits: limits(), memory, ..Config::default() };
    let broker = Broker::builder().config(config).start().expect("a free port");
    let open = || {
        let socket = TcpStream::connect(broker.addresses()[0]).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Peer::over(socket)
    };
    let mut first = open();
    first.send(&connect("first"));
    assert!(matches!(first.receive(), Some(Packet::ConnAck(_))));
    let silent: Vec<_> = (0..256).map(|_| open()).collect();
    for at in 0..300 {
        let mut peer = open();
        peer.send(&connect(&format!("peer-{at}")));
        assert!(matches!(peer.receive(), Some(Packet::ConnAck(_))), "{at} is closed at once");
    }
    drop(silent);
}

#[test]
fn handshakes_beyond_their_number_wait_and_are_counted() {
    const N: usize = 3;
    let site = Site::new(true, Limits { half_open_max: N, ..limits() }, |_| {});
    let mut watcher = Watcher::new(&site.broker, "half_open_max");
    watcher.wait_for(0);
    let socket = || TcpStream::connect(site.broker.addresses()[0]).expect("it listens");
    let mut silent: Vec<_> = (0..N).map(|_| socket()).collect();
    silent.extend((0..4 * N).map(|_| socket()));
    watcher.wait_for(1);
    // No more than four times as many wait here.
    silent.extend((0..5 * N).map(|_| socket()));
    // As each of them goes, another one comes to its turn: that is the same wait.
    drop(silent);
    site.join("patient");
}

#[test]
fn handshakes_that_take_too_long_are_ended_and_counted() {
    const N: usize = 3;
    let site = Site::new(false, Limits { handshake_timeout_secs: 5, ..limits() }, |_| {});
    let mut watcher = Watcher::new(&site.broker, "handshake_timeout_secs");
    watcher.wait_for(0);
    let mut prompt = site.join("prompt");
    for mut stream in (0..10 * N).map(|_| site.stream()).collect::<Vec<_>>() {
        assert_eq!(stream.read(&mut [0]).expect("closed"), 0);
    }
    watcher.wait_for(10 * N);
    prompt.send(&Packet::PingReq);
    assert!(matches!(prompt.receive(), Some(Packet::PingResp)));
}
