//! The first connection: what is asked for, and each way it can fail.

use crate::peer::{Peer, ack, builder, connected, pipes, soon};
use bytes::Bytes;
#[cfg(feature = "websocket")]
use dunlin_client::UpgradeError;
use dunlin_client::{
    Authenticator, Client, ClientBuilder, ConfigError, ConnectError, ConnectionEnd,
    ConnectionState, Event, Foreign, ProtocolVersion, QoS, ReasonCode, Text, Will,
};
use dunlin_protocol::codec::{Auth, AuthProperties, ConnAck, ConnAckProperties, Packet};
use std::time::Duration;
#[cfg(feature = "websocket")]
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The error of a connection that the server refuses with this Reason Code.
async fn refused(reason_code: ReasonCode) -> ConnectError {
    let (pipes, mut listener) = pipes();
    let refuse = async { listener.next().await.refuse(reason_code).await };
    tokio::join!(builder().connect_over(pipes), refuse).0.expect_err("refused")
}

#[tokio::test(start_paused = true)]
async fn settings_arrive_in_connect() {
    let (pipes, mut listener) = pipes();
    let builder = Client::builder("mqtt://ada:secret@host:9")
        .unwrap()
        .client_identifier("lamp-7")
        .clean_start(false)
        .session_expiry_interval(Duration::from_secs(77))
        .keep_alive(Duration::from_secs(9))
        .receive_maximum(5)
        .will(Will::new("gone", "lamp-7").qos(QoS::AtLeastOnce).retain(true))
        .user_property("a", "b");
    let connecting = tokio::spawn(builder.connect_over(pipes));
    let mut peer = listener.next().await;
    let connect = peer.accept(false).await;
    assert_eq!(connect.client_identifier, "lamp-7");
    assert_eq!(connect.user_name.as_deref(), Some("ada"));
    assert_eq!(connect.password.as_deref(), Some(&b"secret"[..]));
    assert!(!connect.clean_start);
    assert_eq!(connect.keep_alive, 9);
    assert_eq!(connect.properties.session_expiry_interval, Some(77));
    assert_eq!(connect.properties.receive_maximum, Some(5));
    assert_eq!(connect.properties.user_properties.len(), 1);
    let will = connect.will.unwrap();
    assert_eq!((&*will.topic_name, will.qos, will.retain), ("gone", QoS::AtLeastOnce, true));
    let _connected = connecting.await.unwrap().expect("accepted");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_its_reason() {
    let error = refused(ReasonCode::NotAuthorized).await;
    assert!(matches!(error, ConnectError::Refused { reason_code: ReasonCode::NotAuthorized, .. }));
    let error = refused(ReasonCode::UnsupportedProtocolVersion).await;
    assert!(error.to_string().contains("V3_1_1"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_version_is_negotiated_on_demand() {
    let (pipes, mut listener) = pipes();
    let connecting = tokio::spawn(builder().negotiate_version(true).connect_over(pipes));
    // As a server refuses that has never heard of 5.0.
    let mut peer = listener.next().await;
    assert_eq!(peer.expect_connect().await.protocol_version, ProtocolVersion::V5);
    peer.send_raw(&[0x20, 2, 0, 1]).await;
    let connect = listener.next().await.accept(false).await;
    assert_eq!(connect.protocol_version, ProtocolVersion::V3_1_1);
    let _connected = connecting.await.unwrap().expect("accepted");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_a_timeout() {
    let (pipes, mut listener) = pipes();
    let builder = builder().connect_timeout(Duration::from_secs(3));
    let connecting = tokio::spawn(builder.connect_over(pipes));
    let mut peer = listener.next().await;
    peer.expect_connect().await;
    let error = connecting.await.unwrap().expect_err("silence");
    assert!(matches!(error, ConnectError::Timeout(_)), "{error:?}");
}

#[tokio::test]
async fn nobody_listening_is_a_transport_error() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let builder = Client::builder(&format!("mqtt://127.0.0.1:{port}")).unwrap();
    let error = builder.connect().await.expect_err("nobody is there");
    assert!(matches!(error, ConnectError::Transport { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn what_speaks_something_else_is_named() {
    for (answer, expected) in [
        (&b"\x15\x03\x03\0\x02\x02\x0a"[..], Some(Foreign::Tls)),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Some(Foreign::Http)),
        // A PUBLISH.
        (b"\x30\x05\0\x01a\0b", None),
    ] {
        let (pipes, mut listener) = pipes();
        let connecting = tokio::spawn(builder().connect_over(pipes));
        let mut peer = listener.next().await;
        peer.expect_connect().await;
        peer.send_raw(answer).await;
        let error = connecting.await.unwrap().expect_err("no MQTT");
        match (&error, expected) {
            (ConnectError::NotMqtt(foreign), Some(expected)) => assert_eq!(*foreign, expected),
            (ConnectError::Ended(ConnectionEnd::Violation(_)), None) => {}
            _ => panic!("{error:?}"),
        }
    }
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn what_a_web_server_answers_can_be_told_apart() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", server.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut client, _) = server.accept().await.unwrap();
        assert!(client.read(&mut [0; 4096]).await.unwrap() > 0);
        client.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.unwrap();
        // Until the client has read it.
        let _ = client.read(&mut [0]).await;
    });
    let error = Client::builder(&url).unwrap().connect().await.expect_err("no WebSocket");
    assert_eq!(error.upgrade_error(), Some(&UpgradeError::Status(404)), "{error:?}");
    serving.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_connection_is_tried_again_on_demand() {
    let (pipes, mut listener) = pipes();
    let connecting = tokio::spawn(builder().retry_first_connect(true).connect_over(pipes));
    listener.next().await.refuse(ReasonCode::ServerBusy).await;
    drop(listener.next().await);
    listener.next().await.accept(false).await;
    let _connected = connecting.await.unwrap().expect("the third attempt");
}

#[tokio::test(start_paused = true)]
async fn settings_that_contradict_each_other_are_refused() {
    let check = |builder: ClientBuilder| builder.connect_with(tokio::io::duplex(1).0).err();
    let v3 = || Client::builder("mqtt://h").unwrap().protocol_version(ProtocolVersion::V3_1_1);
    assert_eq!(check(v3().clean_start(false)), Some(ConfigError::ClientIdentifierMissing));
    assert_eq!(check(v3().password("p")), Some(ConfigError::PasswordWithoutUserName));
    assert_eq!(check(v3().in_flight_max(0)), Some(ConfigError::Zero("in_flight_max")));
    let needs_v5 = Some(ConfigError::AuthenticatorNeedsV5);
    assert_eq!(check(v3().authenticator(Parrot)), needs_v5);
    assert_eq!(check(builder().authenticator(Parrot).negotiate_version(true)), needs_v5);
    assert_eq!(check(builder().receive_maximum(0)), Some(ConfigError::Zero("receive_maximum")));
    assert!(matches!(check(builder().user_name("\0")), Some(ConfigError::Text(_))));
    assert!(check(builder()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_the_users_own_needs_no_transport() {
    let (ours, theirs) = tokio::io::duplex(1024);
    let (client, mut events, driver) = builder().connect_with(ours).unwrap();
    assert!(matches!(client.state(), ConnectionState::Connecting));
    let driver = tokio::spawn(driver);
    let mut peer = Peer::new(theirs);
    peer.accept(false).await;
    client.wait_connected().await.unwrap();
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    drop(peer);
    assert!(matches!(
        soon(events.next()).await,
        Some(Event::Disconnected { will_reconnect: false, .. })
    ));
    assert!(soon(events.next()).await.is_none());
    driver.await.unwrap();
    assert!(client.wait_connected().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_silent_line_is_probed_and_then_given_up() {
    let builder = builder().keep_alive(Duration::from_secs(10)).no_reconnect();
    let (_client, mut events, mut peer, _listener) = connected(builder).await;
    assert_eq!(peer.expect().await, Packet::PingReq);
    peer.send(Packet::PingResp).await;
    assert_eq!(peer.expect().await, Packet::PingReq);
    peer.expect_disconnect().await;
    peer.expect_closed().await;
    assert!(matches!(soon(events.next()).await, Some(Event::Connected { .. })));
    assert!(matches!(soon(events.next()).await, Some(Event::Disconnected { .. })));
}

struct Parrot;

impl Authenticator for Parrot {
    fn method(&self) -> Text {
        Text::from_static("PARROT")
    }
    fn begin(&mut self) -> Option<Bytes> {
        Some(Bytes::from_static(b"begin"))
    }
    fn respond(&mut self, challenge: Option<&Bytes>) -> Result<Option<Bytes>, Text> {
        Ok(challenge.cloned())
    }
    fn finish(&mut self, data: Option<&Bytes>) -> Result<(), Text> {
        match data {
            Some(data) if data == "trust me" => Ok(()),
            _ => Err(Text::from_static("not the right server")),
        }
    }
}

fn step(reason_code: ReasonCode, data: &'static [u8]) -> Packet {
    let properties = AuthProperties {
        authentication_method: Some(Text::from_static("PARROT")),
        authentication_data: Some(Bytes::from_static(data)),
        ..AuthProperties::default()
    };
    Packet::Auth(Box::new(Auth { reason_code, properties }))
}

fn satisfied(data: &'static [u8], session_present: bool) -> Packet {
    let properties = ConnAckProperties {
        authentication_method: Some(Text::from_static("PARROT")),
        authentication_data: Some(Bytes::from_static(data)),
        ..ConnAckProperties::default()
    };
    let reason_code = ReasonCode::Success;
    Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties }))
}

#[tokio::test(start_paused = true)]
async fn authentication_goes_on_until_both_sides_are_satisfied() {
    let (pipes, mut listener) = pipes();
    let connecting = tokio::spawn(builder().authenticator(Parrot).connect_over(pipes));
    let mut peer = listener.next().await;
    let connect = peer.expect_connect().await;
    assert_eq!(connect.properties.authentication_data.as_deref(), Some(&b"begin"[..]));
    peer.send(step(ReasonCode::ContinueAuthentication, b"1 + 1")).await;
    assert_eq!(peer.expect().await, step(ReasonCode::ContinueAuthentication, b"1 + 1"));
    peer.send(satisfied(b"trust me", false)).await;
    let (client, _events) = connecting.await.unwrap().expect("authenticated");

    let again = tokio::spawn(async move { client.reauthenticate().await });
    assert_eq!(peer.expect().await, step(ReasonCode::ReAuthenticate, b"begin"));
    peer.send(step(ReasonCode::Success, b"trust me")).await;
    again.await.unwrap().expect("authenticated again");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_prove_itself_is_left() {
    let (pipes, mut listener) = pipes();
    let connecting = tokio::spawn(builder().authenticator(Parrot).connect_over(pipes));
    let mut peer = listener.next().await;
    peer.expect_connect().await;
    peer.send(satisfied(b"whatever", false)).await;
    let error = connecting.await.unwrap().expect_err("distrusted");
    assert!(matches!(error, ConnectError::Authentication(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_prove_itself_has_no_say_in_the_session() {
    for rogue_has_session in [false, true] {
        let (pipes, mut listener) = pipes();
        let builder = builder().session_expiry_interval(Duration::from_secs(3600));
        let connecting = tokio::spawn(builder.authenticator(Parrot).connect_over(pipes));
        let mut peer = listener.next().await;
        peer.expect_connect().await;
        peer.send(satisfied(b"trust me", false)).await;
        let (client, _events) = connecting.await.unwrap().expect("authenticated");
        let first = client.publish("t", "1").qos(QoS::AtLeastOnce).send().await.unwrap();
        let second = client.publish("t", "2").qos(QoS::ExactlyOnce).send().await.unwrap();
        peer.expect_publish().await;
        peer.expect_publish().await;
        drop(peer);

        let mut rogue = listener.next().await;
        rogue.expect_connect().await;
        rogue.send(satisfied(b"whatever", rogue_has_session)).await;
        assert_eq!(rogue.expect_disconnect().await, ReasonCode::NotAuthorized);
        rogue.expect_closed().await;

        let mut peer = listener.next().await;
        peer.expect_connect().await;
        peer.send(satisfied(b"trust me", true)).await;
        for payload in ["1", "2"] {
            let published = peer.expect_publish().await;
            assert_eq!(published.payload, payload);
            assert!(published.delivery.dup(), "sent again");
        }
        peer.send(Packet::PubAck(ack(1))).await;
        peer.send(Packet::PubRec(ack(2))).await;
        peer.send(Packet::PubComp(ack(2))).await;
        first.await.unwrap();
        second.await.unwrap();
    }
}
