//! A Client behind another implementation of WebSocket, within TLS or without it, and a broker for
//! it.

use crate::peer::{PATIENCE, connect, encode, subscribe};
use bytes::BytesMut;
use dunlin_broker::config::{Config, Listener, WebSocketListener};
use dunlin_broker::{Broker, Limits};
use dunlin_protocol::codec::{Decoder, Packet, ProtocolVersion, Publish, QoS, ReasonCode};
use dunlin_transport::tls::{ClientTls, HEADROOM, ServerFiles, TlsConnector, TlsSession};
use rcgen::{CertificateParams, KeyPair};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use tempfile::TempDir;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Request;
use tungstenite::protocol::Role;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{HandshakeError, Message, WebSocket};

/// A broker with a listener for WebSocket.
pub(crate) struct Site {
    pub(crate) broker: Broker,
    /// How clients speak TLS, where they do.
    pub(crate) tls: Option<TlsConnector>,
    _folder: TempDir,
}

/// Both ends of a stream are blocking.
pub(crate) trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

pub(crate) type Socket = WebSocket<Box<dyn Stream>>;

pub(crate) struct WebClient {
    pub(crate) socket: Socket,
    input: BytesMut,
}

impl Site {
    /// Two of them: `ws://` and `wss://`.
    pub(crate) fn both() -> [Self; 2] {
        [false, true].map(|is_secure| Self::new(is_secure, Limits::default(), |_| {}))
    }

    pub(crate) fn new(
        is_secure: bool,
        limits: Limits,
        set: impl FnOnce(&mut WebSocketListener),
    ) -> Self {
        let folder = TempDir::new().expect("a folder");
        let address = "127.0.0.1:0".parse().expect("an address");
        let (listener, tls) = if is_secure {
            let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
            let key = KeyPair::generate().expect("a key");
            let certificate = params.self_signed(&key).expect("a certificate");
            let files = ServerFiles {
                certificate: folder.path().join("server.pem"),
                key: folder.path().join("server.key"),
                ..ServerFiles::default()
            };
            std::fs::write(&files.certificate, certificate.pem()).expect("a file");
            std::fs::write(&files.key, key.serialize_pem()).expect("a file");
            // As browsers offer it.
            let client = ClientTls::new().ca_pem(certificate.pem()).alpn(["http/1.1"]);
            (Listener::tls(address, files), Some(client.connector().expect("settings of use")))
        } else {
            (Listener::tcp(address), None)
        };
        let mut web_socket = WebSocketListener::default();
        set(&mut web_socket);
        let listeners = vec![listener.with_web_socket(web_socket)];
        let config = Config { listeners, workers: 2, limits, ..Config::default() };
        let broker = Broker::builder().config(config).start().expect("a free port");
        Self { broker, tls, _folder: folder }
    }

    /// A connection of which nothing is WebSocket yet.
    pub(crate) fn stream(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.broker.addresses()[0]).expect("a broker");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("a socket");
        match &self.tls {
            Some(tls) => {
                let session = tls.session("localhost").expect("a session");
                Box::new(Secure { stream, session, plaintext: Vec::new() })
            }
            None => Box::new(stream),
        }
    }

    /// A request as clients of MQTT send it.
    pub(crate) fn request(&self, path: &str, headers: &[(&'static str, &str)]) -> Request {
        let url = format!("ws://{}{path}", self.broker.addresses()[0]);
        let mut request = url.into_client_request().expect("a request");
        let headers = [("sec-websocket-protocol", "mqtt")].iter().chain(headers);
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a value"));
        }
        request
    }

    /// The status that a request is refused with; 101 if it is not.
    pub(crate) fn status(&self, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        match tungstenite::client(self.request(path, headers), self.stream()) {
            Ok((_, response)) => {
                assert_eq!(response.headers()["sec-websocket-protocol"], "mqtt");
                response.status().as_u16()
            }
            Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
                response.status().as_u16()
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A Client before its CONNECT.
    pub(crate) fn open(&self) -> WebClient {
        let opened = tungstenite::client(self.request("/mqtt", &[]), self.stream());
        let (socket, _) = opened.expect("a WebSocket");
        WebClient { socket, input: BytesMut::new() }
    }

    pub(crate) fn join(&self, client_identifier: &str) -> WebClient {
        let mut client = self.open();
        client.send(&connect(client_identifier));
        match client.receive() {
            Some(Packet::ConnAck(connack)) => {
                assert_eq!(connack.reason_code, ReasonCode::Success);
            }
            packet => panic!("no CONNACK but {packet:?}"),
        }
        client
    }

    pub(crate) fn subscriber(&self, client_identifier: &str, topic_filter: &str) -> WebClient {
        let mut client = self.join(client_identifier);
        client.send(&subscribe(topic_filter, QoS::AtMostOnce));
        assert!(matches!(client.receive(), Some(Packet::SubAck(_))));
        client
    }
}

impl WebClient {
    /// On a stream whose upgrade is over.
    pub(crate) fn after_upgrade(stream: Box<dyn Stream>) -> Self {
        let socket = WebSocket::from_raw_socket(stream, Role::Client, None);
        Self { socket, input: BytesMut::new() }
    }

    pub(crate) fn send(&mut self, packet: &Packet) {
        self.send_bytes(&encode(ProtocolVersion::V5, packet));
    }

    /// Sends a frame.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).expect("the broker reads");
    }

    /// The next packet; `None` when the broker has closed as WebSockets are closed.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        let decoder = Decoder::new(ProtocolVersion::V5, u32::MAX);
        loop {
            if let Some(packet) = decoder.decode(&mut self.input).expect("a legal packet") {
                return Some(packet);
            }
            match self.socket.read().expect("a frame") {
                Message::Binary(bytes) => self.input.extend_from_slice(&bytes),
                Message::Close(frame) => {
                    let code = frame.map(|frame| frame.code);
                    assert_eq!(code, Some(CloseCode::Normal));
                    assert!(self.input.is_empty(), "part of a packet");
                    return None;
                }
                message => panic!("{message:?}"),
            }
        }
    }

    /// The next packet, which is a message at QoS 0.
    pub(crate) fn message(&mut self) -> Publish {
        match self.receive() {
            Some(Packet::Publish(message)) => message,
            packet => panic!("no message but {packet:?}"),
        }
    }
}

/// A blocking stream within TLS.
struct Secure {
    stream: TcpStream,
    session: TlsSession,
    plaintext: Vec<u8>,
}

impl Secure {
    /// Reads what is there, perhaps nothing but TLS's own; whether the broker may send more.
    fn fill(&mut self) -> io::Result<bool> {
        self.session.write_to(&mut self.stream)?;
        let mut buffer = vec![0; HEADROOM + 16 * 1024];
        let count = self.stream.read(&mut buffer[HEADROOM..])?;
        let decrypted = self.session.decrypt_in_place(&mut buffer, HEADROOM..HEADROOM + count);
        let decrypted = decrypted.map_err(io::Error::other)?;
        self.plaintext.extend_from_slice(&buffer[..decrypted.len]);
        if count == 0 && !self.session.is_closed() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(!self.session.is_closed())
    }
}

impl Read for Secure {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.plaintext.is_empty() {
            if self.session.is_closed() || !self.fill()? {
                break;
            }
        }
        let len = room.len().min(self.plaintext.len());
        room[..len].copy_from_slice(&self.plaintext[..len]);
        self.plaintext.drain(..len);
        Ok(len)
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        while self.session.is_handshaking() {
            self.fill()?;
        }
        let len = self.session.encrypt(&[IoSlice::new(bytes)])?;
        self.session.write_to(&mut self.stream)?;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.session.write_to(&mut self.stream)
    }
}
