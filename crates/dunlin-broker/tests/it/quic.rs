//! Listeners with QUIC, over real UDP sockets: who is served, what crosses, and who gives up. The
//! client is quinn itself, so that it can do what no client should.

use crate::authority::Authority;
use crate::limits::Watcher;
use crate::peer::{PATIENCE, Peer, connect, encode, publish, subscribe};
use dunlin_broker::config::{Config, Listener};
use dunlin_broker::{Broker, Limits, StartError};
use dunlin_protocol::codec::{
    Ack, Delivery, Disconnect, Packet, ProtocolVersion, QoS, ReasonCode, Will, WillProperties,
};
use dunlin_transport::tls::{ClientTls, TlsConnector};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::rustls::pki_types::CertificateDer;
use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream, TransportConfig,
    VarInt,
};
use rcgen::CertificateParams;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A broker with one listener, and what its clients need.
struct Bed {
    address: SocketAddr,
    authority: Authority,
    broker: Broker,
    folder: TempDir,
    runtime: Runtime,
}

impl Bed {
    fn new(workers: usize, limits: Limits) -> Self {
        Self::with(workers, limits, false)
    }

    /// One whose clients have to show certificates.
    fn demanding(workers: usize) -> Self {
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

    fn tls(&self) -> ClientTls {
        ClientTls::new().ca_pem(self.authority.pem()).alpn(["mqtt"])
    }

    fn endpoint(&self) -> Endpoint {
        let _entered = self.runtime.enter();
        Endpoint::client("127.0.0.1:0".parse().expect("an address")).expect("a socket")
    }

    /// A connection, or why there is none.
    fn try_connect(&self, endpoint: &Endpoint, tls: &ClientTls) -> io::Result<Connection> {
        self.connect_by(endpoint, &tls.connector().expect("settings of use"))
    }

    fn connect_by(&self, endpoint: &Endpoint, connector: &TlsConnector) -> io::Result<Connection> {
        self.connect_with(endpoint, connector, TransportConfig::default())
    }

    fn connect_with(
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
    fn crowd(&self, len: usize, awaited: usize) -> Vec<Connection> {
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

    fn connection(&self) -> Connection {
        self.try_connect(&self.endpoint(), &self.tls()).expect("a connection")
    }

    /// The broker learns of each end in a turn of its own: until then it turns us away.
    fn until_let_in(&self) {
        let came_in = (0..10_000).any(|_| {
            let mut peer = Peer::over(self.stream());
            let is_open = peer.try_send(&connect("later"));
            let answer = peer.receive().filter(|_| is_open);
            matches!(answer, Some(Packet::ConnAck(connack)) if !connack.reason_code.is_error())
        });
        assert!(came_in);
    }

    fn stream(&self) -> QuicStream {
        QuicStream::open(self.runtime.handle(), self.connection())
    }

    fn join(&self, client_identifier: &str) -> Peer {
        let mut peer = Peer::over(self.stream());
        peer.send(&connect(client_identifier));
        expect_success(&mut peer);
        peer
    }
}

fn expect_success(peer: &mut Peer) {
    match peer.receive() {
        Some(Packet::ConnAck(connack)) => assert_eq!(connack.reason_code, ReasonCode::Success),
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

/// The first stream of a connection, blocking.
struct QuicStream {
    runtime: Handle,
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
}

impl QuicStream {
    fn open(runtime: &Handle, connection: Connection) -> Self {
        Self::try_open(runtime, connection).expect("a stream")
    }

    /// Fails if the broker has closed the connection by now.
    fn try_open(runtime: &Handle, connection: Connection) -> Result<Self, ConnectionError> {
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
fn one_stream_is_granted_and_nothing_beside_it() {
    let bed = Bed::new(1, Limits::default());
    let connection = bed.connection();
    let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), connection.clone()));
    peer.send(&connect("one"));
    expect_success(&mut peer);
    assert_eq!(connection.max_datagram_size(), None, "no datagrams are taken");
    bed.runtime.block_on(async {
        tokio::select! {
            biased;
            opened = connection.open_uni() => panic!("{opened:?}"),
            opened = connection.open_bi() => panic!("{opened:?}"),
            () = std::future::ready(()) => {}
        }
    });
    peer.send(&subscribe("a", QoS::AtMostOnce));
    assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
}

#[test]
fn who_opens_no_stream_or_says_nothing_makes_room_in_time() {
    let limits = Limits {
        half_open_max: 2,
        // Time enough for the one that is let in.
        handshake_timeout_secs: 5,
        connect_timeout_secs: 5,
        sys_interval_secs: 1,
        ..Limits::default()
    };
    let bed = Bed::new(1, limits);
    let mut late = Watcher::new(&bed.broker, "handshake_timeout_secs");
    let silent = [bed.connection(), bed.connection()];
    // Nobody else is taken until these are given up; then this one is.
    bed.join("patient");
    for connection in silent {
        let ended = bed.runtime.block_on(async { timeout(PATIENCE, connection.closed()).await });
        assert!(matches!(ended, Ok(ConnectionError::ApplicationClosed(_))), "{ended:?}");
    }
    late.wait_for(2);
    // A stream alone is a connection without CONNECT.
    let mut half = bed.stream();
    half.write_all(&[0x10]).expect("it is read");
    assert_eq!(half.read(&mut [0]).expect("an end"), 0);
}

#[test]
fn who_takes_no_answer_is_not_waited_for_without_end() {
    let bed = Bed::new(1, Limits { half_open_max: 1, ..Limits::default() });
    // Two whose connections the worker ends, with an answer that they grant no room for: one of them
    // has its time, and for the other there is no place meanwhile.
    let deaf = [(); 2].map(|()| {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(0));
        let connector = bed.tls().connector().expect("settings of use");
        let connection = bed.connect_with(&bed.endpoint(), &connector, transport);
        let connection = connection.expect("a connection");
        let mut stream = QuicStream::open(bed.runtime.handle(), connection.clone());
        let Packet::Connect(mut refused) = connect("deaf") else { panic!("no CONNECT") };
        refused.keep_alive = 60;
        let mut bytes = encode(ProtocolVersion::V5, &Packet::Connect(refused));
        // No version of MQTT is the ninth; the answer says so.
        let version = bytes.windows(5).position(|bytes| bytes == b"MQTT\x05").expect("a version");
        bytes[version + 4] = 9;
        stream.write_all(&bytes).expect("it is read");
        (connection, stream)
    });
    for (connection, _stream) in deaf {
        let ended = bed.runtime.block_on(async { timeout(PATIENCE, connection.closed()).await });
        assert!(matches!(ended, Ok(ConnectionError::ApplicationClosed(_))), "{ended:?}");
    }
    bed.join("polite");
}

#[test]
fn who_opens_no_stream_makes_room_for_one_that_waits() {
    // Nobody is given up for the time that it takes.
    let limits = Limits {
        half_open_max: 2,
        handshake_timeout_secs: 3600,
        sys_interval_secs: 1,
        ..Limits::default()
    };
    let bed = Bed::new(1, limits);
    let mut full = Watcher::new(&bed.broker, "half_open_max");
    let silent = [bed.connection(), bed.connection()];
    bed.join("waits");
    full.wait_for(1);
    let is_open = |connection: &Connection| {
        let stream = QuicStream::try_open(bed.runtime.handle(), connection.clone());
        let Ok(mut stream) = stream else { return false };
        let asked = encode(ProtocolVersion::V5, &connect(""));
        stream.write_all(&asked).is_ok() && stream.read(&mut [0; 100]).is_ok_and(|len| len > 0)
    };
    // One of them was enough.
    assert_eq!(silent.iter().filter(|connection| is_open(connection)).count(), 1);
}

#[test]
fn one_address_has_so_many_handshakes_under_way_and_gets_them_back() {
    let limits = Limits { half_open_per_address_max: 3, sys_interval_secs: 1, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let mut turned_away = Watcher::new(&bed.broker, "half_open_per_address_max");
    let endpoint = bed.endpoint();
    let try_connect = || bed.try_connect(&endpoint, &bed.tls());
    let silent: Vec<_> = (0..3).map(|_| try_connect().expect("there is room")).collect();
    for _ in 0..30 {
        let refused = try_connect().expect_err("there is no room");
        // CONNECTION_REFUSED.
        assert!(refused.to_string().contains("refused"), "{refused}");
    }
    turned_away.wait_for(30);
    // Whoever has a stream is not half open.
    for connection in silent {
        let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), connection));
        peer.send(&connect(""));
        expect_success(&mut peer);
        drop(peer);
    }
    try_connect().expect("there is room again");
}

#[test]
fn who_comes_faster_than_allowed_waits_and_is_let_in() {
    let limits = Limits { connects_per_second_max: 1, sys_interval_secs: 1, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let mut waited = Watcher::new(&bed.broker, "connects_per_second_max");
    // They are there at once: however slow a machine is, it does not look at one of them in a second.
    let [_, second]: [_; 2] = bed.crowd(32, 2).try_into().expect("two of them");
    waited.wait_for_more();
    let mut peer = Peer::over(QuicStream::open(bed.runtime.handle(), second));
    peer.send(&connect("second"));
    expect_success(&mut peer);
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

/// The first datagrams of a handshake with somebody who does not answer.
fn first_datagrams(bed: &Bed) -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    nobody.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let endpoint = bed.endpoint();
    let connector = bed.tls().connector().expect("settings of use");
    let crypto = QuicClientConfig::try_from(connector.config()).expect("TLS 1.3");
    let config = ClientConfig::new(Arc::new(crypto));
    let address = nobody.local_addr().expect("an address");
    let _entered = bed.runtime.enter();
    let connecting = endpoint.connect_with(config, address, "localhost").expect("an attempt");
    let mut buffer = [0; 2000];
    // A key that quantum computers don't find makes it two.
    let datagrams = (0..2).map(|_| {
        let len = nobody.recv(&mut buffer).expect("a datagram");
        buffer[..len].to_vec()
    });
    let datagrams = datagrams.collect();
    drop(connecting);
    datagrams
}

#[test]
fn addresses_that_are_not_those_of_who_sends_take_few_places() {
    // Whoever has a place would keep it for an hour.
    let limits = Limits { half_open_max: 8, handshake_timeout_secs: 3600, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let mut retries = 0;
    for _ in 0..20 {
        // Nobody is there who would go on: as if the address were another's.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        for datagram in first_datagrams(&bed) {
            socket.send_to(&datagram, bed.address).expect("it can be sent");
        }
        let mut answer = [0; 2000];
        let len = socket.recv(&mut answer).expect("an answer");
        // A long header of the type Retry (RFC 9000 §17.2.5), far shorter than what asked for it.
        if answer[0] & 0xf0 == 0xf0 {
            assert!(len < 200, "{len} bytes");
            retries += 1;
        }
    }
    assert_eq!(retries, 18, "a quarter of the places is for those who have proven nothing");
    // Those who prove where they are come in at once.
    let _peers: Vec<_> = (0..10).map(|at| bed.join(&format!("c-{at}"))).collect();
}

#[test]
fn connections_are_limited_and_room_is_given_back() {
    let bed = Bed::new(2, Limits { connections_max: 3, ..Limits::default() });
    let peers: Vec<_> = (0..3).map(|at| bed.join(&format!("c-{at}"))).collect();
    for _ in 0..10 {
        let mut more = Peer::over(bed.stream());
        more.try_send(&connect("more"));
        let Some(Packet::ConnAck(connack)) = more.receive() else { panic!("no CONNACK") };
        assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
        assert_eq!(more.receive(), None);
    }
    drop(peers);
    bed.until_let_in();
}

#[test]
fn connections_of_an_address_are_limited_by_where_they_come_from() {
    let limits = Limits { connections_per_address_max: 2, ..Limits::default() };
    let bed = Bed::new(2, limits);
    let peers = [bed.join("first"), bed.join("second")];
    let mut more = Peer::over(bed.stream());
    more.try_send(&connect("more"));
    let Some(Packet::ConnAck(connack)) = more.receive() else { panic!("no CONNACK") };
    assert_eq!(connack.reason_code, ReasonCode::QuotaExceeded);
    drop(peers);
    bed.until_let_in();
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

#[test]
fn garbage_is_not_answered_with_more_than_it_is_and_disturbs_nobody() {
    let bed = Bed::new(1, Limits::default());
    let mut peer = bed.join("undisturbed");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    for len in [0, 1, 20, 21, 600, 1199, 1200, 1472, 9000] {
        for first in [0x00, 0x40, 0x7f, 0x80, 0xc0, 0xcf, 0xff] {
            for version in [[0; 4], [0, 0, 0, 1], [0x0a; 4], [0xff; 4]] {
                let mut datagram = vec![first; len];
                for (at, byte) in datagram.iter_mut().enumerate().skip(1) {
                    *byte = if at < 5 { version[at - 1] } else { (at % 256) as u8 };
                }
                socket.send_to(&datagram, bed.address).expect("it can be sent");
            }
        }
    }
    // All of them come before this.
    peer.send(&subscribe("a", QoS::AtMostOnce));
    assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
    bed.join("after them");
    socket.set_nonblocking(true).expect("an option");
    let mut answer = [0; 2000];
    while let Ok(len) = socket.recv(&mut answer) {
        assert!(len <= 1200, "{len} bytes");
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
