//! Who is let in, and by which certificate, on either side.

use super::bed::{Bed, QuicStream, expect_success};
use crate::authority::Authority;
use crate::peer::{PATIENCE, Peer, connect, encode, subscribe};
use dunlin_broker::Limits;
use dunlin_protocol::codec::{Packet, ProtocolVersion, QoS, ReasonCode};
use dunlin_transport::tls::ClientTls;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{ClientConfig, Connection, ConnectionError, VarInt};
use rcgen::CertificateParams;
use std::fs;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::time::timeout;

#[test]
fn a_broker_that_is_not_the_one_meant_is_not_spoken_to() {
    let bed = Bed::new(1, Limits::default());
    let other = ClientTls::new().ca_pem(Authority::new().pem()).alpn(["mqtt"]);
    let refused = bed.try_connect(&bed.endpoint(), &other).expect_err("another authority");
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    let named = bed.tls().server_name("example.org");
    let refused = bed.try_connect(&bed.endpoint(), &named).expect_err("another name");
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[test]
fn who_does_not_speak_mqtt_is_told_so_by_the_handshake() {
    let bed = Bed::new(1, Limits::default());
    for protocols in [&["h3"][..], &["http/1.1", "doq"], &[]] {
        let tls = bed.tls().alpn(protocols.to_vec());
        let refused = bed.try_connect(&bed.endpoint(), &tls).expect_err("no protocol in common");
        // Alert 120: no_application_protocol.
        let told = refused.to_string();
        assert!(told.contains("120") || told.contains("application protocol"), "{told}");
    }
    let tls = bed.tls().alpn(["h3", "mqtt"]);
    bed.try_connect(&bed.endpoint(), &tls).expect("one in common");
}

#[test]
fn nothing_is_taken_that_could_have_been_sent_twice() {
    let bed = Bed::new(1, Limits::default());
    let connector = bed.tls().connector().expect("settings of use");
    let mut config = (*connector.config()).clone();
    config.enable_early_data = true;
    let crypto = QuicClientConfig::try_from(config).expect("TLS 1.3");
    let config = ClientConfig::new(Arc::new(crypto));
    let endpoint = bed.endpoint();
    bed.runtime.block_on(async {
        for _ in 0..2 {
            let connecting = endpoint.connect_with(config.clone(), bed.address, "localhost");
            // With a ticket that allowed it, data could be sent before the handshake is over.
            let connecting = connecting.expect("an attempt").into_0rtt().err().expect("no ticket");
            let connection = connecting.await.expect("a connection");
            // An answer: the ticket came before it.
            let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
            let asked = encode(ProtocolVersion::V5, &connect(""));
            send.write_all(&asked).await.expect("it is read");
            assert!(recv.read(&mut [0; 100]).await.expect("CONNACK").is_some());
        }
    });
}

#[test]
fn a_client_certificate_is_asked_for_and_says_who_comes() {
    let bed = Bed::demanding(2);
    let refused = |tls: &ClientTls| {
        // With TLS 1.3 a client has finished before its certificate is looked at.
        let Ok(connection) = bed.try_connect(&bed.endpoint(), tls) else { return };
        let ended = bed.runtime.block_on(async { timeout(PATIENCE, connection.closed()).await });
        let ended = ended.expect("an end").to_string();
        assert!(ended.contains("certificate"), "{ended}");
    };
    refused(&bed.tls());
    let (certificate, key) = Authority::new().sign_client(Some("stranger"));
    refused(&bed.tls().client_certificate_pem(certificate, key));
    for (common_name, expected) in [
        (Some("lamp-7"), ReasonCode::Success),
        // Without a name it is nobody.
        (None, ReasonCode::NotAuthorized),
    ] {
        let (certificate, key) = bed.authority.sign_client(common_name);
        let tls = bed.tls().client_certificate_pem(certificate, key);
        let connection = bed.try_connect(&bed.endpoint(), &tls).expect("it is let in");
        let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), connection));
        peer.send(&connect("lamp"));
        let Some(Packet::ConnAck(connack)) = peer.receive() else { panic!("no CONNACK") };
        assert_eq!(connack.reason_code, expected, "{common_name:?}");
    }
}

#[test]
fn a_new_certificate_is_shown_to_new_connections_and_no_other_notices() {
    let bed = Bed::new(1, Limits::default());
    let shown = |connection: &Connection| {
        let shown = connection.peer_identity().expect("it shows one");
        let shown = shown.downcast::<Vec<CertificateDer<'static>>>().expect("certificates");
        shown[0].to_vec()
    };
    let before = bed.connection();
    let first = shown(&before);
    assert_eq!(shown(&bed.connection()), first);
    let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), before));
    peer.send(&connect("before"));
    expect_success(&mut peer);
    bed.authority.write_server(bed.folder.path());
    bed.broker.reload().expect("of use");
    assert_ne!(shown(&bed.connection()), first);
    fs::write(bed.folder.path().join("server.key"), "no key").expect("a file");
    bed.broker.reload().expect_err("of no use");
    assert_ne!(shown(&bed.connection()), first);
    peer.send(&subscribe("a", QoS::AtMostOnce));
    assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
}

#[test]
fn a_certificate_that_has_ended_lets_nobody_in_by_an_earlier_session() {
    let bed = Bed::demanding(1);
    let mut params = CertificateParams::default();
    // The first connections have to be made while it is valid.
    params.not_after = (SystemTime::now() + Duration::from_secs(10)).into();
    let (certificate, key) = bed.authority.sign(&params);
    // One connector keeps the tickets of its connections.
    let connector = bed.tls().client_certificate_pem(certificate, key).connector();
    let connector = connector.expect("settings of use");
    let endpoint = bed.endpoint();
    let asked = encode(ProtocolVersion::V5, &connect("mortal"));
    let deadline = Instant::now() + PATIENCE;
    let mut served = 0;
    let ended = loop {
        assert!(Instant::now() < deadline, "it is let in for ever");
        let connection = bed.connect_by(&endpoint, &connector).expect("a handshake");
        let answer = QuicStream::try_open(bed.runtime.handle(), connection.clone())
            .map_err(io::Error::from)
            .and_then(|mut stream| {
                stream.write_all(&asked)?;
                stream.read(&mut [0; 100])
            });
        match answer {
            Ok(len) => assert!(len > 0, "CONNACK"),
            Err(_) => break connection.close_reason(),
        }
        served += 1;
    };
    assert!(served > 0, "it was of use before");
    // Not by TLS, which has looked at it when it was shown.
    let Some(ConnectionError::ApplicationClosed(close)) = ended else { panic!("{ended:?}") };
    assert_eq!(close.error_code, VarInt::from_u32(1), "{close}");
}
