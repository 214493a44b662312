//! What is held for a client that acknowledges nothing.

use super::*;
use quinn::rustls::pki_types::PrivateKeyDer;
use quinn::{ClientConfig, Endpoint, ServerConfig, TransportConfig};
use std::net::SocketAddr;
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(60);

/// The client's side, which does something only while its runtime runs.
struct Theirs {
    runtime: Option<Runtime>,
    recv: RecvStream,
    _connection: (Endpoint, Connection, SendStream),
}

impl Theirs {
    /// Connects from a thread that then stands still.
    fn connect(config: ClientConfig, server: SocketAddr) -> Self {
        let runtime = runtime();
        let (endpoint, connection, send, recv) = runtime.block_on(async {
            let any = "127.0.0.1:0".parse().expect("an address");
            let endpoint = Endpoint::client(any).expect("a socket");
            let connecting = endpoint.connect_with(config, server, "localhost");
            let connection = connecting.expect("an attempt").await.expect("a connection");
            let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
            send.write_all(b"x").await.expect("room");
            recv.read_exact(&mut [0]).await.expect("an answer");
            (endpoint, connection, send, recv)
        });
        Self { runtime: Some(runtime), recv, _connection: (endpoint, connection, send) }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // A test that fails does so within a runtime, where none may be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn runtime() -> Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// Both sides of a connection whose client grants a window of this length.
async fn connect(window: u32) -> (Endpoint, (SendStream, RecvStream), Theirs) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let server = ServerConfig::with_single_cert(vec![made.cert.der().clone()], key);
    let server = server.expect("of use");
    let any = "127.0.0.1:0".parse().expect("an address");
    let endpoint = Endpoint::server(server, any).expect("a socket");
    let address = endpoint.local_addr().expect("an address");
    let mut roots = quinn::rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("of use");
    let mut config = ClientConfig::with_root_certificates(Arc::new(roots)).expect("of use");
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(window));
    config.transport_config(Arc::new(transport));
    let theirs = tokio::task::spawn_blocking(move || Theirs::connect(config, address));
    let incoming = endpoint.accept().await.expect("somebody comes");
    let connection = incoming.await.expect("a connection");
    let (mut send, mut recv) = connection.accept_bi().await.expect("a stream");
    recv.read_exact(&mut [0]).await.expect("a byte");
    send.write_all(b"x").await.expect("room");
    (endpoint, (send, recv), theirs.await.expect("no panic"))
}

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Writes so many bytes one by one, each once the one before was taken.
async fn write_singly(worker: &mut UnixStream, pieces: &Semaphore, count: usize) {
    for at in 0..count {
        worker.write_all(&[byte(at)]).await.expect("room");
        let taken = async {
            while pieces.available_permits() == PIECES_MAX - at {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, taken).await.expect("a piece is counted");
    }
}

#[test]
fn a_client_that_acknowledges_nothing_costs_so_many_pieces_and_loses_none() {
    for window in [1_000_000, 7] {
        let test = async {
            let (_endpoint, (send, _recv), mut theirs) = connect(window).await;
            let (mut worker, ours) = UnixStream::pair().expect("a pair");
            let (from_worker, _to_worker) = ours.into_split();
            let (pieces, leaving) = (Arc::new(Semaphore::new(PIECES_MAX)), Semaphore::new(1));
            let mut down = pin!(copy_down(from_worker, send, &pieces, &leaving));
            let singly = if window > 7 { PIECES_MAX } else { 5 };
            let rest: Vec<u8> = (singly..30_000).map(byte).collect();
            tokio::select! {
                _ = &mut down => panic!("it is over"),
                () = async {
                    write_singly(&mut worker, &pieces, singly).await;
                    // There is room for what is written now, but not with the client.
                    worker.write_all(&rest).await.expect("room");
                    worker.shutdown().await.expect("it is open");
                } => {}
            }
            // All that is left is done while the client reads.
            let (is_done, done) = tokio::sync::oneshot::channel::<()>();
            let theirs = tokio::task::spawn_blocking(move || {
                let runtime = theirs.runtime.take().expect("it is there");
                runtime.block_on(async {
                    let read = theirs.recv.read_to_end(1 << 20).await;
                    // It acknowledges what it has read.
                    let _ = done.await;
                    read
                })
            });
            down.await;
            drop(is_done);
            let read = theirs.await.expect("no panic");
            assert!(read.expect("all of it") == (0..30_000).map(byte).collect::<Vec<_>>());
            assert_eq!(pieces.available_permits(), PIECES_MAX, "all are acknowledged");
        };
        runtime().block_on(test);
    }
}
