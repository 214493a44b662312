//! Listeners with TLS: who is served, what crosses, and who gives up.

use crate::authority::Authority;
use crate::peer::{PATIENCE, Peer, connect, publish, subscribe};
use dunlin_broker::config::{CertificateField, Config, Listener};
use dunlin_broker::{Broker, Limits};
use dunlin_protocol::codec::{Packet, PacketType, QoS, ReasonCode};
use dunlin_transport::tls::{ClientTls, HEADROOM, TlsConnector, TlsSession};
use rcgen::{CertificateParams, DistinguishedName, SanType};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use tempfile::TempDir;

/// A broker with one listener, and what its clients need.
struct Bed {
    address: SocketAddr,
    connector: TlsConnector,
    broker: Broker,
    _folder: TempDir,
}

impl Bed {
    fn new(workers: usize, limits: Limits) -> Self {
        let folder = TempDir::new().expect("a folder");
        let authority = Authority::new();
        let files = authority.write_server(folder.path());
        let listener = Listener::tls("127.0.0.1:0".parse().expect("an address"), files);
        let config = Config { listeners: vec![listener], workers, limits, ..Config::default() };
        let broker = Broker::builder().config(config).start().expect("it can listen");
        let connector = ClientTls::new().ca_pem(authority.pem()).connector();
        let connector = connector.expect("settings of use");
        Self { address: broker.addresses()[0], connector, broker, _folder: folder }
    }

    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("it listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_nodelay(true).expect("an option");
        socket
    }

    /// A stream whose handshake is over, and that writes so many bytes at once.
    fn stream(&self, write_len: usize) -> TlsStream {
        let mut stream = TlsStream::new(self.socket(), &self.connector);
        stream.write_len = write_len;
        stream.shake_hands().expect("a handshake");
        stream
    }

    fn join(&self, client_identifier: &str) -> Peer {
        let mut peer = Peer::over(self.stream(usize::MAX));
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

/// A client's TLS on a blocking socket.
pub(crate) struct TlsStream {
    socket: TcpStream,
    session: TlsSession,
    write_len: usize,
    plaintext: Vec<u8>,
}

impl TlsStream {
    /// Waits until the broker has closed the connection.
    pub(crate) fn expect_end(&self) {
        std::io::copy(&mut &self.socket, &mut std::io::sink()).expect("an end");
    }

    /// A handshake is made by what is written and read first.
    pub(crate) fn new(socket: TcpStream, connector: &TlsConnector) -> Self {
        let session = connector.session("localhost").expect("a session");
        Self { socket, session, write_len: usize::MAX, plaintext: Vec::new() }
    }

    pub(crate) fn shake_hands(&mut self) -> io::Result<()> {
        while self.session.is_handshaking() {
            self.send()?;
            self.receive()?;
        }
        self.send()
    }

    /// The certificate that the broker has shown.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.session.peer_certificates().next().expect("it shows one").to_vec()
    }

    fn send(&mut self) -> io::Result<()> {
        let mut ciphertext = Vec::new();
        self.session.write_to(&mut ciphertext)?;
        ciphertext.chunks(self.write_len).try_for_each(|part| self.socket.write_all(part))
    }

    /// Whether something came.
    fn receive(&mut self) -> io::Result<bool> {
        let mut buffer = vec![0; HEADROOM + 64 * 1024];
        let count = self.socket.read(&mut buffer[HEADROOM..])?;
        let decrypted = self.session.decrypt_in_place(&mut buffer, HEADROOM..HEADROOM + count);
        let decrypted = decrypted.map_err(io::Error::other)?;
        self.plaintext.extend_from_slice(&buffer[..decrypted.len]);
        if count == 0 && !decrypted.is_closed {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        // Of a handshake there may be something to be said.
        self.send()?;
        Ok(!decrypted.is_closed)
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.plaintext.is_empty() && !self.session.is_closed() && self.receive()? {}
        let len = self.plaintext.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.plaintext[..len]);
        self.plaintext.drain(..len);
        Ok(len)
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shake_hands()?;
        let taken = self.session.encrypt(&[IoSlice::new(bytes)])?;
        self.send()?;
        Ok(taken)
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
            // Within a record, of several ones, and more than an output holds.
            for len in [5, 70_000, 3_000_000] {
                let payload = vec![len as u8; len];
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
fn all_that_came_together_is_answered_without_a_further_byte() {
    let bed = Bed::new(2, Limits::default());
    for write_len in [1, 7, 100, usize::MAX] {
        let mut peer = Peer::over(bed.stream(write_len));
        peer.queue(&connect("eager"));
        peer.queue(&subscribe("a", QoS::AtMostOnce));
        for _ in 0..5 {
            peer.queue(&publish("a", &[7; 2_000], QoS::AtMostOnce));
        }
        peer.flush();
        expect_success(&mut peer);
        // SUBACK waits for the other worker, the messages do not.
        let mut types: Vec<_> =
            (0..6).map(|_| peer.receive().map(|packet| packet.packet_type())).collect();
        types.sort_unstable();
        let publish = Some(PacketType::Publish);
        assert_eq!(types, [publish, publish, publish, publish, publish, Some(PacketType::SubAck)]);
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
fn who_never_ends_a_handshake_makes_room_in_time() {
    let limits = Limits { half_open_max: 2, handshake_timeout_secs: 5, ..Limits::default() };
    let bed = Bed::new(1, limits);
    let silent = [bed.socket(), bed.socket()];
    // Nobody else is taken until these are given up; then this one is.
    bed.join("patient");
    for mut socket in silent {
        assert_eq!(socket.read(&mut [0]).expect("an end"), 0);
    }
    for noise in [&b"\x10\x0c\x00\x04MQTT\x05"[..], b"GET / HTTP/1.1\r\n\r\n", &[0x16; 70_000]] {
        let mut socket = bed.socket();
        // It may be closed before all of it is written.
        let _ = socket.write_all(noise);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer[0] == 0x15, "nothing or an alert: {answer:?}");
    }
    bed.join("after them");
    bed.broker.stop();
}

#[test]
fn a_broker_that_stops_says_so_through_tls() {
    let bed = Bed::new(2, Limits::default());
    let mut peer = bed.join("told");
    let _half_open = bed.socket();
    bed.broker.stop();
    match peer.receive() {
        Some(Packet::Disconnect(packet)) => {
            assert_eq!(packet.reason_code, ReasonCode::ServerShuttingDown);
        }
        packet => panic!("no DISCONNECT but {packet:?}"),
    }
    assert_eq!(peer.receive(), None);
}

#[test]
fn each_listener_says_which_part_of_a_certificate_is_the_user() {
    let folder = TempDir::new().expect("a folder");
    let authority = Authority::new();
    let mut files = authority.write_server(folder.path());
    authority.demand(folder.path(), &mut files);
    let listener = |certificate_user| {
        let address = "127.0.0.1:0".parse().expect("an address");
        Listener::tls(address, files.clone()).with_certificate_user(certificate_user)
    };
    let listeners = [CertificateField::CommonName, CertificateField::Uri].map(listener);
    let config = Config { listeners: listeners.into(), workers: 1, ..Config::default() };
    let broker = Broker::builder().config(config).start().expect("it can listen");
    let mut by_uri = CertificateParams::default();
    by_uri.distinguished_name = DistinguishedName::new();
    let uri = "spiffe://works/lamp-7".try_into().expect("a URI");
    by_uri.subject_alt_names.push(SanType::URI(uri));
    for ((certificate, key), expected) in [
        (authority.sign_client(Some("lamp-7")), [ReasonCode::Success, ReasonCode::NotAuthorized]),
        (authority.sign(&by_uri), [ReasonCode::NotAuthorized, ReasonCode::Success]),
    ] {
        let tls = ClientTls::new().ca_pem(authority.pem()).client_certificate_pem(certificate, key);
        let connector = tls.connector().expect("settings of use");
        let reason_codes = [0, 1].map(|at| {
            let socket = TcpStream::connect(broker.addresses()[at]).expect("it listens");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            let mut peer = Peer::over(TlsStream::new(socket, &connector));
            peer.send(&connect("lamp"));
            let Some(Packet::ConnAck(connack)) = peer.receive() else { panic!("no CONNACK") };
            connack.reason_code
        });
        assert_eq!(reason_codes, expected);
    }
}
