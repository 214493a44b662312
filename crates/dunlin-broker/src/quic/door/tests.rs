//! A socket that fails while the broker runs.

use super::*;
use crate::admission::Admission;
use crate::config::{Limits, ServerFiles};
use crate::quic::QuicParts;
use dunlin_transport::tls::ALPN_MQTT;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::{RootCertStore, pki_types::pem::PemObject as _};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{ClientConfig, UdpPoller};
use std::fs;
use std::io::IoSliceMut;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// How often a socket still fails when something is read of it.
static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// A socket that fails.
#[derive(Debug)]
struct Failing(Arc<dyn AsyncUdpSocket>);

impl AsyncUdpSocket for Failing {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.0.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let take = |left: usize| left.checked_sub(1);
        match FAILURES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Poll::Ready(Err(io::Error::other("a failure"))),
            Err(_) => self.0.poll_recv(cx, buffers, meta),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

fn gate(stopped: watch::Receiver<Phase>) -> Arc<Gate> {
    let parts = QuicParts {
        doors: Vec::new(),
        peers: Vec::new(),
        admission: Admission::new(&Limits::default()),
        half_open_max: 100,
        half_open_per_address_max: 100,
        timeout: PATIENCE,
    };
    Gate::new(&parts, stopped)
}

/// A socket at some port, and a certificate for it.
fn parts(folder: &TempDir) -> DoorParts {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let files = ServerFiles {
        certificate: folder.path().join("server.pem"),
        key: folder.path().join("server.key"),
        ..ServerFiles::default()
    };
    fs::write(&files.certificate, made.cert.pem()).expect("a file");
    fs::write(&files.key, made.signing_key.serialize_pem()).expect("a file");
    let certificates = Certificates::load("quic://here".to_owned(), &files, ALPN_MQTT);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_nonblocking(true).expect("an option");
    DoorParts {
        socket,
        certificates: Arc::new(certificates.expect("of use")),
        durability: Durability::Memory,
        listener: 0,
    }
}

fn client_config(folder: &TempDir) -> ClientConfig {
    let pem = fs::read(folder.path().join("server.pem")).expect("a file");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("of use");
    let mut config =
        quinn::rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![ALPN_MQTT.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("TLS 1.3")))
}

#[test]
fn a_socket_that_fails_is_taken_into_use_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let folder = TempDir::new().expect("a folder");
        let parts = parts(&folder);
        let address = parts.socket.local_addr().expect("an address");
        let (phase, stopped) = watch::channel(Phase::Runs);
        let failing: Driven = |socket| Ok(Arc::new(Failing(TokioRuntime.wrap_udp_socket(socket)?)));
        let door = Door::open_driven(parts, gate(stopped), failing).expect("of use");
        let door = tokio::spawn(door.run());
        let client = Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("one");
        let connect = async || {
            let connecting = client.connect_with(client_config(&folder), address, "localhost");
            let connecting = connecting.expect("an attempt");
            timeout(PATIENCE, connecting).await.expect("an answer").expect("a connection")
        };
        let first = connect().await;
        for failures in [1, 3] {
            // The next datagrams are the first that find it so.
            FAILURES.store(failures, Ordering::Relaxed);
            connect().await;
            assert_eq!(FAILURES.load(Ordering::Relaxed), 0, "it has failed");
        }
        // What it goes on with reaches an endpoint that tells it how things are.
        if let Ok((mut send, _recv)) = first.open_bi().await {
            let _ = send.write_all(b"x").await;
        }
        let lost = timeout(PATIENCE, first.closed()).await.expect("it is told");
        assert_eq!(lost, quinn::ConnectionError::Reset);
        phase.send_replace(Phase::Ends);
        timeout(PATIENCE, door).await.expect("it ends").expect("no panic");
    });
}
