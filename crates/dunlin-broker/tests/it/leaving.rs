//! A Client that says goodbye and resets its connection at once, over every transport: what it has said
//! counts, and its Will is not published.

use crate::peer::{PATIENCE, Peer, Stream, connect, publish, subscribe};
use crate::secure::TlsStream;
use crate::web_client::Site;
use dunlin_broker::Limits;
use dunlin_protocol::codec::{
    Disconnect, Packet, QoS, ReasonCode, Subscription, Will, WillProperties,
};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tungstenite::{Message, WebSocket};

/// How often each of them leaves: the reset comes before, while and after the rest is read.
const TIMES: usize = 40;

/// How many leave at the same time: more than a turn of a worker takes up.
const CROWD: usize = 300;

/// A WebSocket as a stream of bytes.
struct Framed(WebSocket<Box<dyn Stream>>);

impl Read for Framed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read().map_err(io::Error::other)? {
            Message::Binary(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            _ => Ok(0),
        }
    }
}

impl Write for Framed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(Message::binary(bytes.to_vec())).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A Client whose connection is reset when it is dropped.
fn open(site: &Site) -> Peer {
    let socket = TcpStream::connect(site.broker.addresses()[0]).expect("a broker");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    socket.set_nodelay(true).expect("an option");
    SockRef::from(&socket).set_linger(Some(Duration::ZERO)).expect("an option");
    let stream: Box<dyn Stream> = match &site.tls {
        Some(tls) => Box::new(TlsStream::new(socket, tls)),
        None => Box::new(socket),
    };
    match site.is_web_socket {
        true => {
            let opened = tungstenite::client(site.request("/mqtt", &[]), stream);
            Peer::over(Framed(opened.expect("a WebSocket").0))
        }
        false => Peer::over(stream),
    }
}

fn join(site: &Site, client_identifier: &str, will: bool) -> Peer {
    let mut peer = ask(site, client_identifier, will);
    assert!(matches!(peer.receive(), Some(Packet::ConnAck(_))));
    peer
}

/// A Client that has sent its CONNECT.
fn ask(site: &Site, client_identifier: &str, will: bool) -> Peer {
    let mut peer = open(site);
    let Packet::Connect(mut packet) = connect(client_identifier) else { panic!("a CONNECT") };
    packet.will = will.then(|| Will {
        topic_name: "status/mortal".parse().expect("a Topic Name"),
        payload: "gone".into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties::default(),
    });
    peer.send(&Packet::Connect(packet));
    peer
}

#[test]
fn a_goodbye_counts_though_a_reset_follows_it() {
    for (is_secure, is_web_socket) in [(false, false), (true, false), (false, true), (true, true)] {
        let site = Site::of(is_secure, is_web_socket, Limits::default());
        let mut watcher = join(&site, "watcher", false);
        watcher.send(&subscribe("status/#", QoS::AtMostOnce));
        assert!(matches!(watcher.receive(), Some(Packet::SubAck(_))));
        for _ in 0..TIMES {
            let mut mortal = join(&site, "mortal", true);
            mortal.queue(&publish("status/last", b"words", QoS::AtMostOnce));
            mortal.queue(&Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))));
            mortal.flush();
            drop(mortal);
            assert_eq!(watcher.take_message().payload, "words");
        }
        let mut mortal = join(&site, "mortal", false);
        mortal.send(&publish("status/sentinel", b"end", QoS::AtMostOnce));
        let last = watcher.take_message().payload;
        assert_eq!(last, "end", "TLS: {is_secure}, WebSocket: {is_web_socket}");
    }
}

/// A SUBSCRIBE that keeps a worker busy for a while.
fn many_subscriptions() -> Packet {
    let Packet::Subscribe(mut packet) = subscribe("busy/0", QoS::AtMostOnce) else {
        panic!("a SUBSCRIBE")
    };
    let first = packet.subscriptions[0].clone();
    packet.subscriptions.extend((1..5_000).map(|at| {
        let topic_filter = format!("busy/{at}").parse().expect("a Topic Filter");
        Subscription { topic_filter, ..first.clone() }
    }));
    Packet::Subscribe(packet)
}

#[test]
fn a_goodbye_counts_though_a_crowd_leaves_and_comes_again_at_once() {
    let site = Site::of(false, false, Limits::default());
    let mut watcher = join(&site, "watcher", false);
    watcher.send(&subscribe("status/#", QoS::AtMostOnce));
    assert!(matches!(watcher.receive(), Some(Packet::SubAck(_))));
    let name = |at: usize| format!("mortal-{at}");
    let mut busy = join(&site, "busy", false);
    let many = many_subscriptions();
    let mut crowd: Vec<_> = (0..CROWD).map(|at| join(&site, &name(at), true)).collect();
    for _ in 0..10 {
        // So that all of them have left when the next turn of the worker begins.
        busy.send(&many);
        for mut mortal in crowd.drain(..) {
            // What it says before takes its time.
            for _ in 0..40 {
                mortal.queue(&publish("last/words", b"words", QoS::AtMostOnce));
            }
            mortal.queue(&Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))));
            mortal.flush();
        }
        // Who left last may not have been heard yet.
        crowd.extend((0..CROWD).rev().map(|at| ask(&site, &name(at), true)));
        crowd.reverse();
        for mortal in &mut crowd {
            assert!(matches!(mortal.receive(), Some(Packet::ConnAck(_))));
        }
        assert!(matches!(busy.receive(), Some(Packet::SubAck(_))));
    }
    crowd[0].send(&publish("status/sentinel", b"end", QoS::AtMostOnce));
    assert_eq!(watcher.take_message().payload, "end");
}
