//! Plays the peer of one connection by hand.

use crate::{Clock, Connection, End};
use bytes::BytesMut;
use core::time::Duration;
use dunlin_codec::{
    Connect, ConnectProperties, Decoder, Packet, ProtocolVersion, Text, TransmitBuf,
};
use dunlin_protocol::{
    ClientConfig, ClientConnection, Instant, ServerConfig, ServerConnection, Session,
};
use std::sync::Arc;

/// A connection whose peer is the test: it sends packets or bytes, and expects packets.
///
/// The owner's answers are the test's as well, except where [`End::acknowledges`] gives them.
#[derive(Debug)]
pub struct Scripted<C: Connection> {
    /// The time of the connection.
    pub clock: Clock,
    /// The connection under test.
    pub end: End<C>,
    /// The version that the test speaks.
    pub version: ProtocolVersion,
    received: BytesMut,
}

impl Scripted<ServerConnection> {
    /// A Server's connection on which nothing was received.
    pub fn server(version: ProtocolVersion, config: ServerConfig) -> Self {
        let connection = ServerConnection::new(Instant::ZERO, Arc::new(config));
        Self::new(version, connection, TransmitBuf::new())
    }

    /// A Server's connection that has accepted this CONNECT; CONNACK is taken.
    ///
    /// # Panics
    /// When it doesn't accept.
    pub fn accepted(connect: Connect, config: ServerConfig, session: Session) -> Self {
        let mut scripted = Self::server(connect.protocol_version, config);
        scripted.send(&Packet::Connect(Box::new(connect)));
        scripted.accept(session);
        let connack = scripted.expect();
        assert!(matches!(connack, Packet::ConnAck(_)), "{connack:?}");
        scripted.end.events.clear();
        scripted
    }

    /// The owner accepts the CONNECT.
    ///
    /// # Panics
    /// When none awaits its answer.
    pub fn accept(&mut self, session: Session) {
        let present = !session.is_empty();
        let (now, end) = (self.clock.now(), &mut self.end);
        end.connection
            .accept(now, session, present, Default::default(), &mut end.out)
            .expect("a CONNECT awaits its answer");
        self.run();
    }
}

impl Scripted<ClientConnection> {
    /// A Client's connection that has sent its CONNECT, which is taken.
    ///
    /// # Panics
    /// When CONNECT can't be written.
    pub fn client(config: ClientConfig, session: Session) -> Self {
        let version = config.connect.protocol_version;
        let mut out = TransmitBuf::new();
        let connection = ClientConnection::new(Instant::ZERO, config, session, &mut out)
            .expect("CONNECT can be written");
        let mut scripted = Self::new(version, connection, out);
        let connect = scripted.expect();
        assert!(matches!(connect, Packet::Connect(_)), "{connect:?}");
        scripted
    }
}

impl<C: Connection> Scripted<C> {
    fn new(version: ProtocolVersion, connection: C, out: TransmitBuf) -> Self {
        let mut end = End::new(connection, out);
        end.acknowledges = false;
        Self { clock: Clock::default(), end, version, received: BytesMut::new() }
    }

    /// Sends a packet.
    ///
    /// # Panics
    /// When the packet can't be written.
    pub fn send(&mut self, packet: &Packet) {
        let mut out = TransmitBuf::new();
        packet.encode(self.version, u32::MAX, &mut out).expect("the packet can be written");
        let mut pieces = [&[][..]; 2];
        let filled = out.pieces(&mut pieces);
        for piece in &pieces[..filled] {
            self.end.input.extend_from_slice(piece);
        }
        self.run();
    }

    /// Sends bytes, whatever they mean.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.end.input.extend_from_slice(bytes);
        self.run();
    }

    /// Moves time on.
    pub fn advance(&mut self, duration: Duration) {
        self.clock.advance(duration);
        self.run();
    }

    /// Lets the connection do what it can.
    pub fn run(&mut self) {
        self.end.run(self.clock.now(), &mut |_, _, _| {});
    }

    /// The next packet that the connection sent.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn expect(&mut self) -> Packet {
        match self.next_packet() {
            Some(packet) => packet,
            None => panic!("no packet; the connection's end: {:?}", self.end.connection.end()),
        }
    }

    /// The next packet that the connection sent, if any.
    ///
    /// # Panics
    /// When the bytes can't be read.
    #[track_caller]
    pub fn next_packet(&mut self) -> Option<Packet> {
        let output = self.end.take_output();
        self.received.extend_from_slice(&output);
        let decoder = Decoder::new(self.version, u32::MAX);
        decoder.decode(&mut self.received).expect("what a connection sends can be read")
    }

    /// All packets that the connection sent.
    #[track_caller]
    pub fn packets(&mut self) -> Vec<Packet> {
        core::iter::from_fn(|| self.next_packet()).collect()
    }

    /// The next event.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn event(&mut self) -> C::Event {
        match self.end.events.pop_front() {
            Some(event) => event,
            None => panic!("no event; the connection's end: {:?}", self.end.connection.end()),
        }
    }
}

/// A CONNECT that asks for its Session to be kept and nothing else; its Keep Alive is a minute.
pub fn connect(version: ProtocolVersion) -> Connect {
    Connect {
        protocol_version: version,
        bridge: false,
        clean_start: false,
        keep_alive: 60,
        client_identifier: Text::from_static("client"),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties {
            session_expiry_interval: version.is_v5().then_some(u32::MAX),
            ..Default::default()
        },
    }
}
