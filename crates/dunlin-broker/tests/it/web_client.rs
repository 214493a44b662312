//! A Client behind another implementation of WebSocket, within TLS or without it, and a broker for
//! it.

use crate::peer::{PATIENCE, Stream, connect, encode, subscribe};
use crate::secure::TlsStream;
use bytes::BytesMut;
use dunlin_broker::config::{Config, Listener, ServerFiles, WebSocketListener};
use dunlin_broker::{Broker, Limits};
use dunlin_protocol::codec::{Decoder, Packet, ProtocolVersion, Publish, QoS, ReasonCode};
use dunlin_transport::tls::{ClientTls, TlsConnector};
use rcgen::{CertificateParams, KeyPair};
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
    /// Whether its listener is one for WebSocket after all.
    pub(crate) is_web_socket: bool,
    _folder: TempDir,
}

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
        let mut web_socket = WebSocketListener::default();
        set(&mut web_socket);
        Self::with(is_secure, Some(web_socket), limits)
    }

    /// A broker with a listener of any kind.
    pub(crate) fn of(is_secure: bool, is_web_socket: bool, limits: Limits) -> Self {
        Self::with(is_secure, is_web_socket.then(WebSocketListener::default), limits)
    }

    fn with(is_secure: bool, web_socket: Option<WebSocketListener>, limits: Limits) -> Self {
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
            let mut client = ClientTls::new().ca_pem(certificate.pem());
            if web_socket.is_some() {
                // As browsers offer it.
                client = client.alpn(["http/1.1"]);
            }
            (Listener::tls(address, files), Some(client.connector().expect("settings of use")))
        } else {
            (Listener::tcp(address), None)
        };
        let is_web_socket = web_socket.is_some();
        let listeners = vec![match web_socket {
            Some(web_socket) => listener.with_web_socket(web_socket),
            None => listener,
        }];
        let config = Config { listeners, workers: 2, limits, ..Config::default() };
        let broker = Broker::builder().config(config).start().expect("a free port");
        Self { broker, tls, is_web_socket, _folder: folder }
    }

    /// A connection of which nothing is WebSocket yet.
    pub(crate) fn stream(&self) -> Box<dyn Stream> {
        let socket = TcpStream::connect(self.broker.addresses()[0]).expect("a broker");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_nodelay(true).expect("a socket");
        match &self.tls {
            Some(tls) => Box::new(TlsStream::new(socket, tls)),
            None => Box::new(socket),
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
