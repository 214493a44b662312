//! A broker that listens by QUIC, and clients of it.

use crate::authority::Authority;
use crate::peer::{PATIENCE, Peer, connect};
use dunlin_broker::config::{Config, Listener};
use dunlin_broker::{Broker, Limits};
use dunlin_protocol::codec::{Packet, ReasonCode};
use dunlin_transport::tls::{ClientTls, TlsConnector};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig,
};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A broker with one listener, and what its clients need.
pub(super) struct Bed {
    pub(super) address: SocketAddr,
    pub(super) authority: Authority,
    pub(super) broker: Broker,
    pub(super) folder: TempDir,
    pub(super) runtime: Runtime,
}

impl Bed {
    pub(super) fn new(workers: usize, limits: Limits) -> Self {
        Self::with(workers, limits, false)
    }

    /// One whose clients have to show certificates.
    pub(super) fn demanding(workers: usize) -> Self {
        Self::with(workers, Limits::default(), true)
    }

    fn with(workers: usize, limits: Limits, demands_certificates: bool) -> Self {
        let folder = TempDir::new().expect("a folder");
        let authority = Authority::new();
        let mut files = authority.write_server(folder.path());
        if demands_certificates {
            authority.demand(folder.path(), &mut files);
        }
        let listener = Listener::quic("127.0.0.1:0".parse().expect("an address"), files);
        let config = Config { listeners: vec![listener], workers, limits, ..Config::default() };
        let broker = Broker::builder().config(config).start().expect("it can listen");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self { address: broker.addresses()[0], authority, broker, folder, runtime }
    }

    pub(super) fn tls(&self) -> ClientTls {
        ClientTls::new().ca_pem(self.authority.pem()).alpn(["mqtt"])
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        let _entered = self.runtime.enter();
        Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket")
    }

    /// A connection, or why there is none.
    pub(super) fn try_connect(
        &self,
        endpoint: &Endpoint,
        tls: &ClientTls,
    ) -> io::Result<Connection> {
        self.connect_by(endpoint, &tls.connector().expect("settings of use"))
    }

    pub(super) fn connect_by(
        &self,
        endpoint: &Endpoint,
        connector: &TlsConnector,
    ) -> io::Result<Connection> {
        self.connect_with(endpoint, connector, TransportConfig::default())
    }

    pub(super) fn connect_with(
        &self,
        endpoint: &Endpoint,
        connector: &TlsConnector,
        transport: TransportConfig,
    ) -> io::Result<Connection> {
        let crypto = QuicClientConfig::try_from(connector.config()).expect("TLS 1.3");
        let mut config = ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        self.runtime.block_on(async {
            let connecting =
                endpoint.connect_with(config, self.address, connector.server_name("localhost"));
            let connecting = connecting.map_err(io::Error::other)?;
            Ok(timeout(PATIENCE, connecting).await.expect("an answer")?)
        })
    }

    /// As many connections at once, of which the first so many are given that come about.
    pub(super) fn crowd(&self, len: usize, awaited: usize) -> Vec<Connection> {
        let connector = self.tls().connector().expect("settings of use");
        let crypto = QuicClientConfig::try_from(connector.config()).expect("TLS 1.3");
        let config = ClientConfig::new(Arc::new(crypto));
        let endpoint = self.endpoint();
        self.runtime.block_on(async {
            let mut crowd = JoinSet::new();
            for _ in 0..len {
                let connecting = endpoint.connect_with(config.clone(), self.address, "localhost");
                crowd.spawn(connecting.expect("an attempt"));
            }
            let mut connections = Vec::new();
            while connections.len() < awaited {
                let ended = timeout(PATIENCE, crowd.join_next()).await.expect("an answer");
                let connected = ended.expect("more of them").expect("no panic");
                connections.push(connected.expect("a connection"));
            }
            connections
        })
    }

    pub(super) fn connection(&self) -> Connection {
        self.try_connect(&self.endpoint(), &self.tls()).expect("a connection")
    }

    /// The broker learns of each end in a turn of its own: until then it turns us away.
    pub(super) fn until_let_in(&self) {
        let came_in = (0..10_000).any(|_| {
            let mut peer = Peer::over(self.stream());
            let is_open = peer.try_send(&connect("later"));
            let answer = peer.receive().filter(|_| is_open);
            matches!(answer, Some(Packet::ConnAck(connack)) if !connack.reason_code.is_error())
        });
        assert!(came_in);
    }

    pub(super) fn stream(&self) -> QuicStream {
        QuicStream::open(self.runtime.handle(), self.connection())
    }

    pub(super) fn join(&self, client_identifier: &str) -> Peer {
        let mut peer = Peer::over(self.stream());
        peer.send(&connect(client_identifier));
        expect_success(&mut peer);
        peer
    }
}

pub(super) fn expect_success(peer: &mut Peer) {
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

/// The first stream of a connection, blocking.
pub(super) struct QuicStream {
    pub(super) runtime: Handle,
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
}

impl QuicStream {
    pub(super) fn open(runtime: &Handle, connection: Connection) -> Self {
        Self::try_open(runtime, connection).expect("a stream")
    }

    /// Fails if the broker has closed the connection by now.
    pub(super) fn try_open(
        runtime: &Handle,
        connection: Connection,
    ) -> Result<Self, ConnectionError> {
        let (send, recv) = runtime.block_on(connection.open_bi())?;
        Ok(Self { runtime: runtime.clone(), connection, send, recv })
    }
}

impl Read for QuicStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.runtime.block_on(async { timeout(PATIENCE, self.recv.read(buffer)).await });
        Ok(read.map_err(|_| ErrorKind::TimedOut)??.unwrap_or(0))
    }
}

impl Write for QuicStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write =
            self.runtime.block_on(async { timeout(PATIENCE, self.send.write(bytes)).await });
        Ok(write.map_err(|_| ErrorKind::TimedOut)??)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
