//! The broker as a whole, workers and all, over local pipes.

mod authority;
mod back_end;
mod back_ends;
mod fetching;
mod hook;
mod leaving;
mod limits;
mod login;
mod peer;
mod proxied;
#[cfg(feature = "quic")]
mod quic;
mod reload;
mod rights;
mod secure;
mod silent;
mod socket_file;
mod storage;
mod tokens;
mod web_client;
mod websocket;

use dunlin_broker::config::{Config, Listener};
use dunlin_broker::{Broker, Limits, StartError};
use dunlin_protocol::codec::{
    ConnectProperties, Delivery, Disconnect, Packet, PacketIdentifier, ProtocolVersion, QoS,
    ReasonCode, Will, WillProperties,
};
use peer::{Peer, connect, publish, subscribe};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn start(workers: usize, limits: Limits) -> Broker {
    let config = Config { listeners: Vec::new(), workers, limits, ..Config::default() };
    Broker::builder().config(config).start().expect("nothing to bind")
}

fn join(broker: &Broker, client_identifier: &str) -> Peer {
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    peer.send(&connect(client_identifier));
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
        packet => panic!("no CONNACK but {packet:?}"),
    }
    peer
}

#[test]
fn messages_go_from_client_to_client_at_every_qos() {
    for workers in [1, 3] {
        let broker = start(workers, Limits::default());
        for qos in QOS {
            for at in 0..4 {
                let mut subscriber = join(&broker, &format!("sub-{at}"));
                subscriber.send(&subscribe("a/#", qos));
                assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
                let mut publisher = join(&broker, &format!("pub-{at}"));
                publisher.send(&publish("a/b", b"hello", qos));
                match (qos, publisher.answer(qos)) {
                    (QoS::AtMostOnce, None)
                    | (QoS::AtLeastOnce, Some(Packet::PubAck(_)))
                    | (QoS::ExactlyOnce, Some(Packet::PubComp(_))) => {}
                    (_, packet) => panic!("{qos:?} was answered with {packet:?}"),
                }
                let message = subscriber.take_message();
                assert_eq!(&message.payload[..], b"hello");
                assert_eq!(message.delivery.qos(), qos);
            }
        }
        broker.stop();
    }
}

#[test]
fn stopping_tells_every_client() {
    for workers in [1, 3] {
        let broker = start(workers, Limits::default());
        let mut peers: Vec<_> = (0..6).map(|at| join(&broker, &format!("c-{at}"))).collect();
        let silent = Peer::new(broker.connect_local().expect("a pipe"));
        let told = std::thread::spawn(move || {
            for peer in &mut peers {
                match peer.receive() {
                    Some(Packet::Disconnect(packet)) => {
                        assert_eq!(packet.reason_code, ReasonCode::ServerShuttingDown);
                    }
                    packet => panic!("no DISCONNECT but {packet:?}"),
                }
                assert_eq!(peer.receive(), None);
            }
            let mut silent = silent;
            assert_eq!(silent.receive(), None);
        });
        broker.stop();
        told.join().expect("all were told");
    }
}

#[test]
fn a_port_in_use_and_an_exposed_listener_are_named() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address");
    let start = |listener| {
        let config = Config { listeners: vec![listener], ..Config::default() };
        Broker::builder().config(config).start()
    };
    assert!(matches!(start(Listener::tcp(address)), Err(StartError::Listen { .. })));
    let exposed = Listener::tcp("0.0.0.0:0".parse().expect("an address"));
    assert!(matches!(start(exposed), Err(StartError::Exposed { .. })));
}

#[test]
fn connections_are_limited_and_room_is_given_back() {
    let broker = start(2, Limits { connections_max: 3, ..Limits::default() });
    let peers: Vec<_> = (0..3).map(|at| join(&broker, &format!("c-{at}"))).collect();
    for _ in 0..20 {
        let mut more = Peer::new(broker.connect_local().expect("a pipe"));
        more.try_send(&connect("more"));
        let Some(Packet::ConnAck(connack)) = more.receive() else { panic!("no CONNACK") };
        assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
        assert_eq!(more.receive(), None);
    }
    drop(peers);
    // The broker learns of each closed pipe in a turn of its own: until then it turns us away.
    let came_in = (0..100_000).any(|_| {
        let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
        let is_open = peer.try_send(&connect("later"));
        let answer = peer.receive().filter(|_| is_open);
        matches!(answer, Some(Packet::ConnAck(connack)) if !connack.reason_code.is_error())
    });
    assert!(came_in);
}

#[test]
fn half_a_connect_is_not_waited_for_long() {
    let broker = start(1, Limits { connect_timeout_secs: 1, ..Limits::default() });
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    peer.send_bytes(&[0x10, 0x20, 0x00, 0x04, b'M', b'Q']);
    assert_eq!(peer.receive(), None, "closed without a word");
}

#[test]
fn a_reader_that_never_reads_stops_nobody() {
    let limits = Limits { output_bytes_max: 64 * 1024, ..Limits::default() };
    let broker = start(1, limits);
    let mut deaf = join(&broker, "deaf");
    deaf.send(&subscribe("a", QoS::AtLeastOnce));
    let mut reader = join(&broker, "reader");
    reader.send(&subscribe("a", QoS::AtLeastOnce));
    assert!(matches!(reader.receive(), Some(Packet::SubAck(_))));
    let mut publisher = join(&broker, "publisher");
    let payload = vec![7; 16 * 1024];
    for _ in 0..500 {
        publisher.send(&publish("a", &payload, QoS::AtLeastOnce));
        assert!(matches!(publisher.receive(), Some(Packet::PubAck(_))));
        assert_eq!(reader.take_message().payload.len(), payload.len());
    }
}

#[test]
fn a_mebibyte_arrives_whole() {
    for workers in [1, 3] {
        let broker = start(workers, Limits::default());
        let payload: Vec<u8> = (0..1 << 20_u32).map(|at: u32| (at % 251) as u8).collect();
        for qos in QOS {
            let mut subscriber = join(&broker, "sub");
            subscriber.send(&subscribe("big", qos));
            assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
            let mut publisher = join(&broker, "pub");
            let packet = publish("big", &payload, qos);
            let sending = std::thread::spawn(move || {
                publisher.send(&packet);
                publisher.answer(qos);
                publisher
            });
            assert!(subscriber.take_message().payload == payload, "another payload");
            drop(sending.join().expect("sent"));
        }
    }
}

#[test]
fn payloads_that_many_share_arrive_whole_and_in_order() {
    for workers in [1, 3] {
        let broker = start(workers, Limits::default());
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let mut subscribers: Vec<_> = (0..30)
                .map(|at| {
                    let mut subscriber = join(&broker, &format!("sub-{at}"));
                    subscriber.send(&subscribe("a", qos));
                    assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
                    subscriber
                })
                .collect();
            let mut publisher = join(&broker, "pub");
            let payloads: Vec<_> = (0..40u8).map(|at| vec![at; 400 + 100 * at as usize]).collect();
            for payload in &payloads {
                publisher.send(&publish("a", payload, qos));
                publisher.answer(qos);
            }
            for subscriber in &mut subscribers {
                for payload in &payloads {
                    assert!(subscriber.take_message().payload == *payload, "{qos:?}");
                }
            }
        }
        broker.stop();
    }
}

#[test]
fn a_refused_client_learns_why_before_the_connection_closes() {
    for workers in [1, 3] {
        let broker = start(workers, Limits::default());
        for at in 0..20 {
            let Packet::Connect(mut packet) = connect(&format!("c-{at}")) else { unreachable!() };
            packet.properties = ConnectProperties {
                authentication_method: Some("unknown".parse().expect("text")),
                ..ConnectProperties::default()
            };
            let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
            peer.send(&Packet::Connect(packet));
            // More than the broker will read: the answer must not be lost to a reset.
            peer.try_send(&publish("a", &[0; 1000], QoS::AtMostOnce));
            match peer.receive() {
                Some(Packet::ConnAck(connack)) => {
                    assert_eq!(connack.reason_code, ReasonCode::BadAuthenticationMethod);
                }
                packet => panic!("no CONNACK but {packet:?}"),
            }
            assert_eq!(peer.receive(), None);
        }
    }
}

#[test]
fn a_thousand_publishes_at_once_of_an_mqtt_3_client_are_all_answered() {
    for workers in [1, 3] {
        let broker = start(workers, Limits { receive_maximum: 10, ..Limits::default() });
        let mut subscriber = join(&broker, "sub");
        subscriber.send(&subscribe("a/b", QoS::AtLeastOnce));
        assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
        let mut old = Peer::new(broker.connect_local().expect("a pipe"));
        old.speak(ProtocolVersion::V3_1_1);
        let Packet::Connect(mut packet) = connect("old") else { unreachable!() };
        packet.protocol_version = ProtocolVersion::V3_1_1;
        old.send(&Packet::Connect(packet));
        assert!(matches!(old.receive(), Some(Packet::ConnAck(_))));
        for at in 1..=1000 {
            let Packet::Publish(mut packet) = publish("a/b", b"x", QoS::AtLeastOnce) else {
                unreachable!()
            };
            let packet_identifier = PacketIdentifier::new(at).expect("not zero");
            packet.delivery = Delivery::AtLeastOnce { packet_identifier, dup: false };
            old.queue(&Packet::Publish(packet));
        }
        old.flush();
        for at in 1..=1000 {
            match old.receive() {
                Some(Packet::PubAck(ack)) => assert_eq!(ack.packet_identifier.value(), at),
                packet => panic!("no PUBACK but {packet:?}"),
            }
            subscriber.take_message();
        }
    }
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

/// A Client with a Will, connected; other than [`join`] for its CONNECT.
fn join_with_will(broker: &Broker, client_identifier: &str) -> Peer {
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    let Packet::Connect(mut packet) = connect(client_identifier) else {
        unreachable!("made as a CONNECT")
    };
    packet.will = Some(will());
    peer.send(&Packet::Connect(packet));
    assert!(matches!(peer.receive(), Some(Packet::ConnAck(_))));
    peer
}

#[test]
fn a_takeover_never_overtakes_the_goodbye_of_the_same_client() {
    for workers in [1, 3] {
        let broker = start(workers, Limits::default());
        let mut watcher = join(&broker, "watcher");
        watcher.send(&subscribe("status/#", QoS::AtMostOnce));
        assert!(matches!(watcher.receive(), Some(Packet::SubAck(_))));
        let mut mortal = join_with_will(&broker, "mortal");
        for _ in 0..300 {
            mortal.send(&Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))));
            mortal = join_with_will(&broker, "mortal");
        }
        mortal.send(&publish("status/sentinel", b"", QoS::AtMostOnce));
        assert_eq!(watcher.take_message().payload, "", "a Will was published before");
        broker.stop();
    }
}

#[test]
fn a_connection_that_closes_with_its_last_bytes_is_seen_to_close() {
    let broker = start(1, Limits::default());
    let mut watcher = join(&broker, "watcher");
    watcher.send(&subscribe("status/#", QoS::AtMostOnce));
    assert!(matches!(watcher.receive(), Some(Packet::SubAck(_))));
    for _ in 0..100 {
        let mut mortal = join_with_will(&broker, "mortal");
        // Nothing is answered, so no write fails that would tell.
        mortal.send(&publish("elsewhere", b"", QoS::AtMostOnce));
        drop(mortal);
        assert_eq!(watcher.take_message().payload, "gone");
    }
    broker.stop();
}

#[test]
fn an_mqtt_3_client_that_says_all_and_leaves_is_heard_to_its_end() {
    for workers in [1, 3] {
        let broker = start(workers, Limits { receive_maximum: 10, ..Limits::default() });
        let mut subscriber = join(&broker, "sub");
        subscriber.send(&subscribe("#", QoS::AtLeastOnce));
        assert!(matches!(subscriber.receive(), Some(Packet::SubAck(_))));
        for round in 0..8 {
            let mut old = Peer::new(broker.connect_local().expect("a pipe"));
            old.speak(ProtocolVersion::V3_1_1);
            let Packet::Connect(mut packet) = connect(&format!("old-{round}")) else {
                unreachable!("made as a CONNECT")
            };
            packet.protocol_version = ProtocolVersion::V3_1_1;
            packet.will = Some(will());
            old.queue(&Packet::Connect(packet));
            for at in 1..=300 {
                let Packet::Publish(mut packet) = publish("a/b", b"x", QoS::AtLeastOnce) else {
                    unreachable!("made as a PUBLISH")
                };
                let packet_identifier = PacketIdentifier::new(at).expect("not zero");
                packet.delivery = Delivery::AtLeastOnce { packet_identifier, dup: false };
                old.queue(&Packet::Publish(packet));
            }
            old.queue(&Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))));
            old.flush();
            drop(old);
            for at in 1..=300 {
                let message = subscriber.take_message();
                assert_eq!(message.payload, "x", "message {at} of round {round}");
            }
        }
        let mut last = join(&broker, "last");
        last.send(&publish("sentinel", b"end", QoS::AtMostOnce));
        assert_eq!(subscriber.take_message().payload, "end", "a Will was published before");
        broker.stop();
    }
}

#[test]
fn clients_that_come_all_at_once_are_all_let_in() {
    for workers in [1, 3] {
        let listeners = vec![Listener::tcp("127.0.0.1:0".parse().expect("an address"))];
        let config = Config { listeners, workers, ..Config::default() };
        let broker = Broker::builder().config(config).start().expect("a free port");
        let address = broker.addresses()[0];
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    let clients = (0..100).map(|_| TcpStream::connect(address));
                    let clients: Vec<_> = clients.collect::<Result<_, _>>().expect("clients");
                    for mut client in clients {
                        // MQTT 3.1.1, a clean session, and the Server finds the identifier.
                        client
                            .write_all(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0")
                            .expect("a broker that reads");
                        client.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket");
                        let mut connack = [0; 4];
                        client.read_exact(&mut connack).expect("CONNACK");
                        assert_eq!(connack, [0x20, 2, 0, 0]);
                    }
                })
            })
            .collect();
        for client in crowd {
            client.join().expect("all are let in");
        }
        broker.stop();
    }
}
