//! The async client and the broker by QUIC.

use crate::bed::within_deadline;
use bytes::Bytes;
use dunlin_broker::Broker;
use dunlin_broker::config::{Config, Listener, ServerFiles};
use dunlin_client::{
    Client, ConfigError, ConnectError, DisconnectCause, Event, QoS, Tls, TlsConfigError,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

/// A broker with a listener for QUIC, and the authority of its certificate.
struct Bed {
    broker: Option<Broker>,
    address: SocketAddr,
    ca: String,
    folder: TempDir,
}

impl Bed {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &ca).expect("a certificate");
        fs::write(folder.path().join("server.pem"), certificate.pem()).expect("a file");
        fs::write(folder.path().join("server.key"), key.serialize_pem()).expect("a file");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut bed = Self { broker: None, address, ca: ca.pem(), folder };
        bed.start();
        bed
    }

    /// At the address that it had.
    fn start(&mut self) {
        let files = ServerFiles {
            certificate: self.folder.path().join("server.pem"),
            key: self.folder.path().join("server.key"),
            ..ServerFiles::default()
        };
        let listeners = vec![Listener::quic(self.address, files)];
        let config = Config { listeners, workers: 2, ..Config::default() };
        let broker = Broker::builder().config(config).start().expect("it can listen");
        self.address = broker.addresses()[0];
        self.broker = Some(broker);
    }

    async fn stop(&mut self) {
        if let Some(broker) = self.broker.take() {
            tokio::task::spawn_blocking(|| broker.stop()).await.expect("the broker stops");
        }
    }

    fn url(&self) -> String {
        format!("quic://localhost:{}", self.address.port())
    }

    fn tls(&self) -> Tls {
        Tls::new().ca_pem(self.ca.clone())
    }
}

fn play(scenario: impl AsyncFnOnce(&mut Bed)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(within_deadline(async {
        let mut bed = Bed::new();
        scenario(&mut bed).await;
        bed.stop().await;
    }));
}

#[test]
fn messages_of_every_qos_and_length_cross() {
    play(async |bed| {
        let client = async || {
            let builder = Client::builder(&bed.url()).expect("a URL").tls(bed.tls());
            builder.connect().await.expect("a connection").0
        };
        let (publisher, subscriber) = (client().await, client().await);
        let mut messages = subscriber.subscribe("a/#", QoS::ExactlyOnce).await.expect("granted");
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for len in [0, 5, 70_000, 3_000_000] {
                let payload: Bytes = (0..len).map(|at: u32| (at % 251) as u8).collect();
                publisher.publish("a/b", payload.clone()).qos(qos).await.expect("taken");
                let message = messages.next().await.expect("a message");
                assert!(payload == message.payload(), "{len} bytes at {qos:?}");
            }
        }
        publisher.disconnect().await.expect("nothing is left");
        subscriber.disconnect().await.expect("nothing is left");
    });
}

#[test]
fn a_client_comes_back_when_the_broker_does() {
    play(async |bed| {
        let builder = Client::builder(&bed.url()).expect("a URL").tls(bed.tls());
        let builder = builder.client_identifier("c").connect_timeout(Duration::from_secs(1));
        let (client, mut events) = builder.connect().await.expect("a connection");
        let mut messages = client.subscribe("a", QoS::AtLeastOnce).await.expect("granted");
        bed.stop().await;
        loop {
            match events.next().await.expect("an event") {
                Event::Disconnected { cause, .. } => {
                    // It was told so: nothing was cut off.
                    assert!(matches!(cause, DisconnectCause::Ended(_)), "{cause:?}");
                    break;
                }
                event => eprintln!("{event:?}"),
            }
        }
        bed.start();
        client.publish("a", "again").qos(QoS::AtLeastOnce).await.expect("taken");
        assert_eq!(messages.next().await.expect("a message").payload(), "again");
    });
}

#[test]
fn what_is_wrong_is_told_by_its_kind() {
    play(async |bed| {
        let fault = async |tls: Tls| {
            let builder = Client::builder(&bed.url()).expect("a URL").tls(tls);
            builder.connect().await.expect_err("it is refused")
        };
        let stranger = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let stranger = stranger.expect("a certificate").cert.pem();
        for tls in [
            Tls::new().ca_pem(stranger),
            bed.tls().server_name("example.org"),
            // What the server doesn't speak.
            bed.tls().alpn(["h3"]),
        ] {
            let error = fault(tls).await;
            assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
        }
        let error = fault(Tls::new().ca_pem("nothing")).await;
        let expected = |error: &ConnectError| {
            matches!(error, ConnectError::Config(ConfigError::Tls(TlsConfigError::Ca(_))))
        };
        assert!(expected(&error), "{error:?}");
        let builder = Client::builder(&bed.url()).expect("a URL").tls(bed.tls());
        let error = builder.proxy("http://127.0.0.1:1").connect().await.expect_err("no way");
        assert!(matches!(error, ConnectError::Config(ConfigError::ProxyForQuic)), "{error:?}");
    });
}
