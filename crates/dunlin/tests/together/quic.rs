//! The async client and the broker by QUIC.

use crate::bed::within_deadline;
use bytes::Bytes;
use dunlin_broker::Broker;
use dunlin_broker::config::{Config, Listener, ServerFiles};
use dunlin_client::{
    CertificateFault, Client, ClientBuilder, ConfigError, ConnectError, ConnectionEnd,
    DisconnectCause, Event, Events, QoS, Tls, TlsAlert, TlsConfigError, TlsFault, Will,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UdpSocket;

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

    /// A client that trusts it, and comes to it.
    fn client(&self) -> ClientBuilder {
        self.client_by(&self.url())
    }

    /// The same by another way.
    fn client_by(&self, url: &str) -> ClientBuilder {
        Client::builder(url).expect("a URL").tls(self.tls())
    }
}

/// What lies on the way of datagrams, as a NAT does.
#[derive(Clone)]
struct Way {
    inner: Arc<UdpSocket>,
    is_open: Arc<AtomicBool>,
    /// For each address of a client the socket that stands for it.
    outer: Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>,
}

impl Way {
    async fn to(broker: SocketAddr) -> Self {
        let inner = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
        let is_open = Arc::new(AtomicBool::new(true));
        let way = Self { inner: Arc::new(inner), is_open, outer: Arc::default() };
        tokio::spawn(way.clone().carry_in(broker));
        way
    }

    fn url(&self) -> String {
        format!("quic://localhost:{}", self.inner.local_addr().expect("an address").port())
    }

    /// Whether datagrams get through.
    fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// From now on the broker sees other addresses.
    fn forget(&self) {
        self.outer.lock().expect("no panic").clear();
    }

    async fn carry_in(self, broker: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        while let Ok((len, client)) = self.inner.recv_from(&mut buffer).await {
            if !self.is_open.load(Ordering::Relaxed) {
                continue;
            }
            let known = self.outer.lock().expect("no panic").get(&client).cloned();
            let outer = match known {
                Some(outer) => outer,
                None => {
                    let outer = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
                    outer.connect(broker).await.expect("an address");
                    let outer = Arc::new(outer);
                    self.outer.lock().expect("no panic").insert(client, outer.clone());
                    tokio::spawn(self.clone().carry_out(outer.clone(), client));
                    outer
                }
            };
            let _ = outer.send(&buffer[..len]).await;
        }
    }

    async fn carry_out(self, outer: Arc<UdpSocket>, client: SocketAddr) {
        let mut buffer = vec![0; 65_536];
        while let Ok(len) = outer.recv(&mut buffer).await {
            let known = self.outer.lock().expect("no panic").get(&client).cloned();
            // What comes for an address that is forgotten reaches nobody.
            let is_known = known.is_some_and(|known| Arc::ptr_eq(&known, &outer));
            if self.is_open.load(Ordering::Relaxed) && is_known {
                let _ = self.inner.send_to(&buffer[..len], client).await;
            }
        }
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
        let client = async || bed.client().connect().await.expect("a connection").0;
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
        let builder = bed.client().client_identifier("c");
        let builder = builder.connect_timeout(Duration::from_secs(10));
        let (client, mut events) = builder.connect().await.expect("a connection");
        let mut messages = client.subscribe("a", QoS::AtLeastOnce).await.expect("granted");
        bed.stop().await;
        let cause = next_end(&mut events).await;
        // It was told so: nothing was cut off.
        assert!(matches!(cause, DisconnectCause::Ended(_)), "{cause:?}");
        bed.start();
        client.publish("a", "again").qos(QoS::AtLeastOnce).await.expect("taken");
        assert_eq!(messages.next().await.expect("a message").payload(), "again");
    });
}

#[test]
fn a_nat_that_forgets_costs_no_connection() {
    play(async |bed| {
        let way = Way::to(bed.address).await;
        let (client, events) = bed.client_by(&way.url()).connect().await.expect("a connection");
        let mut messages = client.subscribe("a", QoS::ExactlyOnce).await.expect("granted");
        for round in 0..5_u8 {
            way.forget();
            let payload = vec![round; 200_000];
            client.publish("a", payload.clone()).qos(QoS::ExactlyOnce).await.expect("taken");
            assert!(payload == *messages.next().await.expect("a message").payload());
        }
        client.disconnect().await.expect("nothing is left");
        let ends = ended(events).await;
        assert!(matches!(ends[..], [DisconnectCause::Local]), "{ends:?}");
    });
}

/// Why the connection is over.
async fn next_end(events: &mut Events) -> DisconnectCause {
    loop {
        if let Event::Disconnected { cause, .. } = events.next().await.expect("an event") {
            return cause;
        }
    }
}

/// Why connections were over, until the client had left.
async fn ended(mut events: Events) -> Vec<DisconnectCause> {
    let mut ends = Vec::new();
    while let Some(event) = events.next().await {
        if let Event::Disconnected { cause, .. } = event {
            ends.push(cause);
        }
    }
    ends
}

#[test]
fn the_keep_alive_of_mqtt_decides_who_is_gone() {
    play(async |bed| {
        let way = Way::to(bed.address).await;
        let (watcher, _) = bed.client().connect().await.expect("a connection");
        let mut wills = watcher.subscribe("wills", QoS::AtLeastOnce).await.expect("granted");
        let builder = bed.client_by(&way.url()).keep_alive(Duration::from_secs(3));
        let builder = builder.connect_timeout(Duration::from_secs(10));
        let builder = builder.will(Will::new("wills", "gone"));
        let (client, mut events) = builder.connect().await.expect("a connection");
        way.open(false);
        let cause = next_end(&mut events).await;
        let is_keep_alive =
            matches!(cause, DisconnectCause::Ended(ConnectionEnd::KeepAliveTimeout));
        assert!(is_keep_alive, "{cause:?}");
        assert_eq!(wills.next().await.expect("a Will").payload(), "gone");
        way.open(true);
        client.publish("wills", "back").qos(QoS::AtLeastOnce).await.expect("taken");
        assert_eq!(wills.next().await.expect("a message").payload(), "back");
    });
}

#[test]
fn a_broker_that_died_without_a_word_says_so_when_it_is_back() {
    play(async |bed| {
        let way = Way::to(bed.address).await;
        let builder = bed.client_by(&way.url());
        // Neither this nor the idle timeout of QUIC, of minutes, can end the connection in time.
        let builder = builder.client_identifier("c").keep_alive(Duration::ZERO);
        let builder = builder.connect_timeout(Duration::from_secs(1));
        let (client, mut events) = builder.connect().await.expect("a connection");
        let mut messages = client.subscribe("a", QoS::AtLeastOnce).await.expect("granted");
        // Nothing of what it says at its end gets through, as if it were killed.
        way.open(false);
        bed.stop().await;
        bed.start();
        way.open(true);
        client.publish("a", "again").qos(QoS::AtLeastOnce).await.expect("taken");
        assert_eq!(messages.next().await.expect("a message").payload(), "again");
        let cause = next_end(&mut events).await;
        let DisconnectCause::Transport(error) = &cause else { panic!("{cause:?}") };
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
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
        let misnamed = CertificateFault::Name {
            asked: "example.org".to_owned(),
            names: Some(vec!["localhost".to_owned()]),
        };
        for (tls, expected) in [
            (Tls::new().ca_pem(stranger), TlsFault::Certificate(CertificateFault::BadSignature)),
            (bed.tls().server_name("example.org"), TlsFault::Certificate(misnamed)),
            // What the server doesn't speak.
            (bed.tls().alpn(["h3"]), TlsFault::Alert(TlsAlert::NoApplicationProtocol)),
        ] {
            let error = fault(tls).await;
            assert_eq!(error.tls_fault(), Some(&expected), "{error:?}");
        }
        let error = fault(Tls::new().ca_pem("nothing")).await;
        let expected = |error: &ConnectError| {
            matches!(error, ConnectError::Config(ConfigError::Tls(TlsConfigError::Ca(_))))
        };
        assert!(expected(&error), "{error:?}");
        let builder = bed.client();
        let error = builder.proxy("http://127.0.0.1:1").connect().await.expect_err("no way");
        assert!(matches!(error, ConnectError::Config(ConfigError::ProxyForQuic)), "{error:?}");
    });
}
