//! Listeners with QUIC, over real UDP sockets: who is served, what crosses, and who gives up. The
//! client is quinn itself, so that it can do what no client should.

mod bed;
mod handshake;
mod places;

use crate::peer::{PATIENCE, Peer, connect, encode, publish, subscribe};
use bed::{Bed, QuicStream, expect_success};
use dunlin_broker::config::{Config, Listener};
use dunlin_broker::{Broker, Limits, StartError};
use dunlin_protocol::codec::{
    Ack, Delivery, Disconnect, Packet, ProtocolVersion, QoS, ReasonCode, Will, WillProperties,
};
use quinn::{ConnectionError, VarInt};
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::time::Duration;
use tokio::time::timeout;

#[test]
fn messages_cross_between_all_workers_at_every_qos() {
    for workers in [1, 3] {
        let bed = Bed::new(workers, Limits::default());
        for qos in crate::QOS {
            let mut subscribers: Vec<_> = (0..6).map(|at| bed.join(&format!("sub-{at}"))).collect();
            for subscriber in &mut subscribers {
                subscriber.send(&subscribe("a/#", qos));
                assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
            }
            let mut publisher = bed.join("pub");
            // Within a datagram, of several ones, and more than all windows together.
            for len in [5, 70_000, 3_000_000] {
                let payload: Vec<u8> = (0..len).map(|at: u32| (at % 251) as u8).collect();
                publisher.send(&publish("a/b", &payload, qos));
                publisher.answer(qos);
                for subscriber in &mut subscribers {
                    let message = subscriber.take_message();
                    assert!(message.payload == payload, "{len} bytes at {qos:?}");
                }
            }
        }
        bed.broker.stop();
    }
}

#[test]
fn a_reader_that_comes_late_gets_all_of_it() {
    let bed = Bed::new(1, Limits::default());
    let mut late = bed.join("late");
    late.send(&subscribe("a", QoS::AtLeastOnce));
    assert!(matches!(late.receive(), Some(Packet::SubAck(_))));
    let mut publisher = bed.join("pub");
    for at in 0..100_u8 {
        publisher.send(&publish("a", &vec![at; 200_000], QoS::AtLeastOnce));
        assert!(matches!(publisher.receive(), Some(Packet::PubAck(_))));
    }
    for at in 0..100_u8 {
        let message = late.take_message();
        assert!(message.payload == vec![at; 200_000], "message {at}");
    }
}

#[test]
fn who_reads_no_answers_is_not_read_without_end() {
    // What is asked takes a busy machine long, and who comes then would be told so.
    let limits = Limits { output_bytes_max: 64 * 1024, lag_max_millis: 0, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let mut stream = bed.stream();
    stream.write_all(&encode(ProtocolVersion::V5, &connect("deaf"))).expect("it is read");
    let asked = encode(ProtocolVersion::V5, &subscribe("a", QoS::AtMostOnce)).repeat(4096);
    let mut taken = 0;
    let is_held_back = bed.runtime.block_on(async {
        // As much as all buffers on the way could hold many times.
        while taken < 32 << 20 {
            match timeout(Duration::from_secs(2), stream.send.write_all(&asked)).await {
                Ok(written) => {
                    written.expect("it is open");
                    taken += asked.len();
                }
                Err(_) => return true,
            }
        }
        false
    });
    assert!(is_held_back, "{taken} bytes were taken");
    // Nobody else is.
    bed.join("another");
}

#[test]
fn a_client_whose_address_changes_goes_on_with_its_session() {
    let bed = Bed::new(2, Limits::default());
    let endpoint = bed.endpoint();
    let connection = bed.try_connect(&endpoint, &bed.tls()).expect("a connection");
    let mut moving = Peer::over(QuicStream::open(bed.runtime.handle(), connection.clone()));
    moving.send(&connect("moving"));
    expect_success(&mut moving);
    moving.send(&subscribe("a", QoS::ExactlyOnce));
    assert!(matches!(moving.receive(), Some(Packet::SubAck(_))));
    let mut publisher = bed.join("publisher");
    let mut last = endpoint.local_addr().expect("an address");
    for round in 0..5_u8 {
        // With a message under way, and the next ones after it.
        publisher.send(&publish("a", &vec![round; 300_000], QoS::ExactlyOnce));
        publisher.answer(QoS::ExactlyOnce);
        let entered = bed.runtime.enter();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        endpoint.rebind(socket).expect("it takes another one");
        drop(entered);
        let address = endpoint.local_addr().expect("an address");
        assert_ne!(address, last);
        last = address;
        // Something has to come from there before the broker can know.
        moving.send(&publish("b", b"", QoS::AtLeastOnce));
        let mut has_ack = false;
        let mut has_message = false;
        while !(has_ack && has_message) {
            match moving.receive() {
                Some(Packet::PubAck(_)) => has_ack = true,
                Some(Packet::Publish(message)) => {
                    assert!(message.payload == vec![round; 300_000], "message {round}");
                    let Delivery::ExactlyOnce { packet_identifier, .. } = message.delivery else {
                        panic!("another QoS")
                    };
                    moving.send(&Packet::PubRec(Ack::new(packet_identifier, ReasonCode::Success)));
                }
                Some(Packet::PubRel(ack)) => {
                    let done = Ack::new(ack.packet_identifier, ReasonCode::Success);
                    moving.send(&Packet::PubComp(done));
                    has_message = true;
                }
                packet => panic!("not {packet:?}"),
            }
        }
    }
    assert_eq!(connection.close_reason(), None);
}

#[test]
fn a_port_of_udp_that_is_taken_is_named() {
    let bed = Bed::new(1, Limits::default());
    let files = bed.broker.listeners()[0].tls.clone().expect("it has TLS");
    let start = |listener| {
        let config = Config { listeners: vec![listener], ..Config::default() };
        Broker::builder().config(config).start()
    };
    match start(Listener::quic(bed.address, files.clone())) {
        Err(StartError::Listen { listener, hint, .. }) => {
            assert_eq!(listener, format!("quic://{}", bed.address));
            assert!(hint.contains("another port"), "{hint}");
        }
        started => panic!("{started:?}"),
    }
    // The ports of TCP are others; at this address nobody else has any.
    let here = "127.83.0.1:0".parse().expect("an address");
    let quic = start(Listener::quic(here, files.clone())).expect("a free port");
    start(Listener::tls(quic.addresses()[0], files)).expect("a free port");
}

fn will() -> Will {
    Will {
        topic_name: "status/mortal".parse().expect("a Topic Name"),
        payload: "gone".into(),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: WillProperties::default(),
    }
}

/// A stream whose Client has a Will, connected.
fn mortal(bed: &Bed) -> QuicStream {
    let Packet::Connect(mut packet) = connect("mortal") else { unreachable!("made as a CONNECT") };
    packet.will = Some(will());
    let mut stream = bed.stream();
    stream.write_all(&encode(ProtocolVersion::V5, &Packet::Connect(packet))).expect("it is read");
    assert!(stream.read(&mut [0; 100]).expect("CONNACK") > 0);
    stream
}

#[test]
fn a_will_fires_for_who_vanishes_and_not_for_who_says_goodbye() {
    let bed = Bed::new(2, Limits::default());
    let mut watcher = bed.join("watcher");
    watcher.send(&subscribe("status/#", QoS::AtMostOnce));
    assert!(matches!(watcher.receive(), Some(Packet::SubAck(_))));
    let goodbye = encode(
        ProtocolVersion::V5,
        &Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))),
    );
    for _ in 0..20 {
        // What was said before the end counts, however soon the end comes.
        let mut polite = mortal(&bed);
        polite.write_all(&goodbye).expect("it is read");
        polite.send.finish().expect("it is open");
        assert_eq!(polite.read(&mut [0]).expect("an end"), 0);
        drop(polite);
        let mut half = mortal(&bed);
        half.send.finish().expect("it is open");
        assert_eq!(&watcher.take_message().payload[..], b"gone");
        let mut reset = mortal(&bed);
        reset.send.reset(VarInt::from_u32(7)).expect("it is open");
        assert_eq!(&watcher.take_message().payload[..], b"gone");
        let closed = mortal(&bed);
        closed.connection.close(VarInt::from_u32(7), b"");
        assert_eq!(&watcher.take_message().payload[..], b"gone");
    }
    let mut last = bed.join("last");
    last.send(&publish("status/sentinel", b"end", QoS::AtMostOnce));
    assert_eq!(&watcher.take_message().payload[..], b"end", "a Will was published before");
}

#[test]
fn a_broker_that_stops_says_so_and_loses_no_last_byte() {
    for workers in [1, 3] {
        let bed = Bed::new(workers, Limits::default());
        let _half_open = bed.connection();
        let mut peers: Vec<_> = (0..6)
            .map(|at| {
                let connection = bed.connection();
                let stream = QuicStream::open(bed.runtime.handle(), connection.clone());
                let mut peer = Peer::over(stream);
                peer.send(&connect(&format!("c-{at}")));
                expect_success(&mut peer);
                peer.send(&subscribe("a", QoS::AtMostOnce));
                assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
                (peer, connection)
            })
            .collect();
        let mut publisher = bed.join("publisher");
        let payload: Vec<u8> = (0..150_000_u32).map(|at| (at % 251) as u8).collect();
        publisher.send(&publish("a", &payload, QoS::AtLeastOnce));
        assert!(matches!(publisher.receive(), Some(Packet::PubAck(_))));
        // Nobody has read anything of it yet.
        bed.broker.stop();
        for (peer, connection) in &mut peers {
            assert!(peer.take_message().payload == payload);
            match peer.receive() {
                Some(Packet::Disconnect(packet)) => {
                    assert_eq!(packet.reason_code, ReasonCode::ServerShuttingDown);
                }
                packet => panic!("no DISCONNECT but {packet:?}"),
            }
            assert_eq!(peer.receive(), None);
            let ended =
                bed.runtime.block_on(async { timeout(PATIENCE, connection.closed()).await });
            let Ok(ConnectionError::ApplicationClosed(close)) = ended else { panic!("{ended:?}") };
            assert_eq!(close.error_code, VarInt::from_u32(0));
        }
    }
}
