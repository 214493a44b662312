//! The limits that are met at sockets, before there is a packet: what reaches them is fine, one more
//! is refused or waits, is counted under `$SYS`, and does nothing to others.

use crate::peer::{Peer, connect, publish, subscribe};
use crate::web_client::Site;
use crate::{join, start};
use dunlin_broker::{Broker, Limits};
use dunlin_protocol::codec::{Packet, QoS};
use std::io::Read as _;

/// A Client that is told what one of the limits has refused.
pub(crate) struct Watcher(Peer);

impl Watcher {
    pub(crate) fn new(broker: &Broker, name: &str) -> Self {
        let mut peer = join(broker, "watcher");
        peer.send(&subscribe(&format!("$SYS/broker/limits/{name}"), QoS::AtMostOnce));
        assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
        Self(peer)
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

#[test]
fn connections_beyond_their_number_are_closed_and_counted() {
    const N: usize = 5;
    for workers in [1, 3] {
        let broker = start(workers, Limits { connections_max: N, ..limits() });
        let mut watcher = Watcher::new(&broker, "connections_max");
        watcher.wait_for(0);
        let mut peers: Vec<_> = (1..N).map(|at| join(&broker, &format!("c-{at}"))).collect();
        for refused in 1..=9 * N {
            let mut more = Peer::new(broker.connect_local().expect("a pipe"));
            more.try_send(&connect("more"));
            assert_eq!(more.receive(), None);
            if refused == 1 {
                watcher.wait_for(1);
            }
        }
        watcher.wait_for(9 * N);
        peers.iter_mut().for_each(check_served);
    }
}

#[test]
fn handshakes_beyond_their_number_wait_and_are_counted() {
    const N: usize = 3;
    let site = Site::new(true, Limits { half_open_max: N, ..limits() }, |_| {});
    let mut watcher = Watcher::new(&site.broker, "half_open_max");
    watcher.wait_for(0);
    let socket = || std::net::TcpStream::connect(site.broker.addresses()[0]).expect("it listens");
    let mut silent: Vec<_> = (0..N).map(|_| socket()).collect();
    silent.extend((0..9 * N).map(|_| socket()));
    watcher.wait_for(1);
    // As each of them goes, another one comes to its turn: that is the same wait.
    drop(silent);
    site.join("patient");
}

#[test]
fn handshakes_that_take_too_long_are_ended_and_counted() {
    const N: usize = 3;
    let site = Site::new(false, Limits { handshake_timeout_secs: 1, ..limits() }, |_| {});
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
