//! Listeners for WebSocket, within TLS and without it.

use crate::peer::{connect, encode, publish, subscribe};
use crate::web_client::{Site, WebClient};
use bytes::BytesMut;
use dunlin_broker::Limits;
use dunlin_protocol::codec::{
    Decoder, Disconnect, Packet, ProtocolVersion, QoS, ReasonCode, Will, WillProperties,
};
use std::io::{Read, Write};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

fn bytes_of(packets: &[Packet]) -> Vec<u8> {
    packets.iter().flat_map(|packet| encode(ProtocolVersion::V5, packet)).collect()
}

/// A Client that says all at once, and what it says.
fn script() -> Vec<u8> {
    bytes_of(&[
        connect("script"),
        subscribe("a", QoS::AtMostOnce),
        publish("a", b"hello", QoS::AtLeastOnce),
        Packet::PingReq,
    ])
}

/// The same in a length that takes two bytes of a frame's header.
fn long_script() -> Vec<u8> {
    let mut script = script();
    script.extend(bytes_of(&[publish("nobody/listens", &[0; 100], QoS::AtMostOnce)]));
    script
}

/// All answers to [`script`] come without a further byte.
fn check_answers(client: &mut WebClient) {
    assert!(matches!(client.receive(), Some(Packet::ConnAck(_))));
    let answers: Vec<_> = (0..4).map(|_| client.receive().expect("an answer")).collect();
    let count = |is: fn(&Packet) -> bool| answers.iter().filter(|answer| is(answer)).count();
    assert_eq!(count(|answer| matches!(answer, Packet::SubAck(_))), 1);
    assert_eq!(count(|answer| matches!(answer, Packet::PubAck(_))), 1);
    assert_eq!(count(|answer| matches!(answer, Packet::PingResp)), 1);
    let is_message = |answer: &Packet| matches!(answer, Packet::Publish(m) if m.payload == "hello");
    assert_eq!(count(is_message), 1);
}

/// The stream ends behind the close frame, within TLS with its own goodbye.
#[track_caller]
fn check_end(client: &mut WebClient) {
    let end = client.socket.read();
    assert!(matches!(end, Err(Error::ConnectionClosed)), "{end:?}");
}

#[test]
fn packets_may_be_cut_into_frames_anywhere() {
    for site in Site::both() {
        let script = script();
        for cut in 0..script.len() {
            let mut client = site.open();
            let (first, second) = script.split_at(cut);
            client.send_bytes(first);
            client.send_bytes(second);
            check_answers(&mut client);
        }
        let mut client = site.open();
        script.chunks(1).for_each(|byte| client.send_bytes(byte));
        check_answers(&mut client);
    }
}

/// A frame with these bytes in it, as a client sends it.
fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let len = u16::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = vec![0x82, 0x80 | 126, len[0], len[1]];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[test]
fn a_frame_may_come_in_pieces() {
    for site in Site::both() {
        let frame = frame_of(&long_script());
        for cut in 0..frame.len() {
            let mut client = site.open();
            let stream = client.socket.get_mut();
            for part in [&frame[..cut], &frame[cut..]] {
                stream.write_all(part).expect("the broker reads");
                stream.flush().expect("the broker reads");
            }
            check_answers(&mut client);
        }
    }
}

#[test]
fn what_comes_with_the_request_is_not_lost() {
    for site in Site::both() {
        // As a client does that foresees the answer: all in one write, and nothing after it.
        let mut stream = site.stream();
        let mut bytes = b"GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n"
            .to_vec();
        bytes.extend(frame_of(&long_script()));
        stream.write_all(&bytes).expect("the broker reads");
        stream.flush().expect("the broker reads");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "));
        check_answers(&mut WebClient::after_upgrade(stream));
    }
}

#[test]
fn a_ping_has_its_pong_between_packets_and_inside_them() {
    for site in Site::both() {
        let mut client = site.join("c");
        let packet = bytes_of(&[publish("a", b"x", QoS::AtLeastOnce)]);
        let (first, second) = packet.split_at(3);
        client.send_bytes(first);
        client.socket.send(Message::Ping("there?".into())).expect("the broker reads");
        assert_eq!(client.socket.read().expect("a frame"), Message::Pong("there?".into()));
        client.send_bytes(second);
        assert!(matches!(client.receive(), Some(Packet::PubAck(_))));
    }
}

#[test]
fn text_ends_the_connection_and_what_came_before_counts() {
    for site in Site::both() {
        let mut watcher = site.subscriber("watcher", "#");
        let mut client = site.join("c");
        let message = bytes_of(&[publish("a", b"before", QoS::AtMostOnce)]);
        client.socket.write(Message::binary(message)).expect("room");
        client.socket.write(Message::text("hello")).expect("room");
        client.socket.flush().expect("the broker reads");
        match client.socket.read().expect("a frame") {
            Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Unsupported),
            message => panic!("{message:?}"),
        }
        check_end(&mut client);
        assert_eq!(watcher.message().payload, "before");
    }
}

#[test]
fn a_request_is_refused_for_its_path_and_its_origin() {
    for is_secure in [false, true] {
        let site = Site::new(is_secure, Limits::default(), |_| {});
        assert_eq!(site.status("/mqtt", &[]), 101);
        assert_eq!(site.status("/?token=1", &[]), 101);
        assert_eq!(site.status("/elsewhere", &[]), 404);
        assert_eq!(site.status("/mqtt", &[("origin", "https://evil.example")]), 403);
        // The listener can be reached from this machine alone.
        assert_eq!(site.status("/mqtt", &[("origin", "http://localhost:3000")]), 101);
        let site = Site::new(is_secure, Limits::default(), |web_socket| {
            web_socket.path = Some("/here".to_owned());
            web_socket.origins = vec!["https://good.example".to_owned()];
        });
        assert_eq!(site.status("/here", &[("origin", "https://good.example")]), 101);
        assert_eq!(site.status("/here", &[("origin", "https://evil.example")]), 403);
        assert_eq!(site.status("/mqtt", &[]), 404);
    }
}

#[test]
fn half_a_request_is_not_waited_for_long() {
    for is_secure in [false, true] {
        let limits = Limits { handshake_timeout_secs: 5, ..Limits::default() };
        let site = Site::new(is_secure, limits, |_| {});
        let mut stream = site.stream();
        stream.write_all(b"GET /mqtt HTTP/1.1\r\nHost: h\r\n").expect("the broker reads");
        let mut rest = Vec::new();
        // Within TLS a socket that is closed without a word is an error.
        let ended = stream.read_to_end(&mut rest);
        assert_eq!(ended.is_err(), is_secure, "{ended:?}");
        assert!(rest.is_empty());
        // Others have not waited for it.
        site.join("c");
    }
}

#[test]
fn large_messages_pass_in_both_directions() {
    for site in Site::both() {
        let mut subscriber = site.subscriber("sub", "big");
        let mut publisher = site.join("pub");
        let payload: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        let packet = bytes_of(&[publish("big", &payload, QoS::AtLeastOnce)]);
        for frame_len in [packet.len(), 4096, 70_000] {
            packet.chunks(frame_len).for_each(|part| publisher.send_bytes(part));
            assert!(matches!(publisher.receive(), Some(Packet::PubAck(_))));
            // One frame, and the whole packet in it.
            let frame = subscriber.socket.read().expect("a frame").into_data();
            let mut bytes = BytesMut::from(&frame[..]);
            let decoder = Decoder::new(ProtocolVersion::V5, u32::MAX);
            match decoder.decode(&mut bytes).expect("a legal packet") {
                Some(Packet::Publish(message)) => assert!(message.payload == payload, "another"),
                packet => panic!("no message but {packet:?}"),
            }
            assert!(bytes.is_empty());
        }
    }
}

#[test]
fn a_reader_that_pauses_gets_all_and_its_pong() {
    for is_secure in [false, true] {
        let limits = Limits { output_bytes_max: 64 << 20, ..Limits::default() };
        let site = Site::new(is_secure, limits, |_| {});
        let mut subscriber = site.subscriber("sub", "big");
        let mut publisher = site.join("pub");
        let payload = vec![7; 300_000];
        // More than the sockets between them hold, and than a frame.
        for _ in 0..60 {
            publisher.send(&publish("big", &payload, QoS::AtLeastOnce));
            assert!(matches!(publisher.receive(), Some(Packet::PubAck(_))));
        }
        for number in 0..10 {
            let ping = Message::Ping(vec![number].into());
            subscriber.socket.send(ping).expect("the broker reads");
        }
        let decoder = Decoder::new(ProtocolVersion::V5, u32::MAX);
        let mut input = BytesMut::new();
        let mut received = 0;
        let mut last_pong = None;
        while received < 60 || last_pong != Some(9) {
            match subscriber.socket.read().expect("a frame") {
                Message::Binary(bytes) => input.extend_from_slice(&bytes),
                Message::Pong(payload) => last_pong = payload.last().copied(),
                message => panic!("{message:?}"),
            }
            while let Some(packet) = decoder.decode(&mut input).expect("a legal packet") {
                let Packet::Publish(message) = packet else { panic!("{packet:?}") };
                assert!(message.payload == payload, "another payload");
                received += 1;
            }
        }
        assert_eq!((received, input.len()), (60, 0));
    }
}

#[test]
fn a_client_that_is_refused_reads_why_and_then_the_close() {
    for site in Site::both() {
        let mut client = site.open();
        let Packet::Connect(mut packet) = connect("c") else { unreachable!("made as a CONNECT") };
        packet.properties.authentication_method = Some("unknown".parse().expect("text"));
        client.send(&Packet::Connect(packet));
        match client.receive() {
            Some(Packet::ConnAck(connack)) => {
                assert_eq!(connack.reason_code, ReasonCode::BadAuthenticationMethod);
            }
            packet => panic!("no CONNACK but {packet:?}"),
        }
        assert_eq!(client.receive(), None);
        check_end(&mut client);
    }
}

#[test]
fn a_close_is_the_end_after_what_came_before_it() {
    for site in Site::both() {
        let mut watcher = site.subscriber("watcher", "#");
        let join_with_will = |client_identifier: &str| {
            let Packet::Connect(mut packet) = connect(client_identifier) else {
                unreachable!("made as a CONNECT")
            };
            packet.will = Some(Will {
                topic_name: "will".parse().expect("a Topic Name"),
                payload: "gone".into(),
                qos: QoS::AtMostOnce,
                retain: false,
                properties: WillProperties::default(),
            });
            let mut client = site.open();
            client.send(&Packet::Connect(packet));
            assert!(matches!(client.receive(), Some(Packet::ConnAck(_))));
            client
        };
        for goodbye in [true, false] {
            let mut client = join_with_will("mortal");
            let mut bytes = bytes_of(&[publish("a", b"last words", QoS::AtMostOnce)]);
            if goodbye {
                let disconnect = Disconnect::new(ReasonCode::Success);
                bytes.extend(bytes_of(&[Packet::Disconnect(Box::new(disconnect))]));
            }
            client.socket.write(Message::binary(bytes)).expect("room");
            let frame = CloseFrame { code: CloseCode::Away, reason: "".into() };
            client.socket.close(Some(frame)).expect("the broker reads");
            // The broker's own close frame, whatever it says, and the end of the stream.
            assert!(matches!(client.socket.read(), Ok(Message::Close(_))));
            check_end(&mut client);
            assert_eq!(watcher.message().payload, "last words");
        }
        assert_eq!(watcher.message().payload, "gone");
        site.join("last").send(&publish("b", b"end", QoS::AtMostOnce));
        assert_eq!(watcher.message().payload, "end", "a Will of who has said goodbye");
    }
}

#[test]
fn a_broker_that_stops_closes_with_all_layers() {
    for site in Site::both() {
        let mut client = site.join("c");
        let told = std::thread::spawn(move || site.broker.stop());
        match client.receive() {
            Some(Packet::Disconnect(packet)) => {
                assert_eq!(packet.reason_code, ReasonCode::ServerShuttingDown);
            }
            packet => panic!("no DISCONNECT but {packet:?}"),
        }
        assert_eq!(client.receive(), None);
        drop(client);
        told.join().expect("stopped");
    }
}
