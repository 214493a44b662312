//! Reads the wire between two ends and judges what it sees by the standard, without asking either.

mod flow;

use bytes::BytesMut;
use dunlin_codec::{Decoder, Packet, PacketType, ProtocolVersion};
use flow::Flow;

/// One end of a Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The Client.
    Client,
    /// The Server.
    Server,
}

impl Side {
    /// The other one.
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Judges the Network Connections of one Client with one Server, one after the other.
///
/// It is told of bytes twice: when an end sends them, and when the other end takes them. From
/// that it knows what each end can know, and panics as soon as one breaks a rule: a Packet
/// Identifier used while it is in use, DUP on a first PUBLISH or none on a repetition, repetitions
/// out of order or at another time than after a reconnect, more messages than Receive Maximum,
/// acknowledgements out of order, a packet larger than Maximum Packet Size, a Topic Alias that
/// stands for nothing, a packet after DISCONNECT.
#[derive(Debug)]
pub struct Observer {
    version: ProtocolVersion,
    clean_start: bool,
    accepted: bool,
    client: Watched,
    server: Watched,
}

/// What one side sends: its bytes, and the messages that it begins.
#[derive(Debug)]
struct Watched {
    sent: BytesMut,
    delivered: BytesMut,
    disconnected: bool,
    flow: Flow,
}

impl Watched {
    fn new() -> Self {
        Self {
            sent: BytesMut::new(),
            delivered: BytesMut::new(),
            disconnected: false,
            flow: Flow::default(),
        }
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self {
            version: ProtocolVersion::V5,
            clean_start: false,
            accepted: false,
            client: Watched::new(),
            server: Watched::new(),
        }
    }
}

impl Observer {
    /// A new Network Connection begins; what was under way on the old one is lost.
    pub fn new_connection(&mut self, version: ProtocolVersion) {
        self.version = version;
        self.accepted = false;
        for watched in [&mut self.client, &mut self.server] {
            watched.sent.clear();
            watched.delivered.clear();
            watched.disconnected = false;
            watched.flow.new_connection();
        }
    }

    /// How many messages of this side were ever under way at once on one connection.
    pub const fn most_under_way(&self, side: Side) -> usize {
        match side {
            Side::Client => self.client.flow.most_under_way,
            Side::Server => self.server.flow.most_under_way,
        }
    }

    /// How many times this side has sent a PUBLISH again.
    pub const fn resent(&self, side: Side) -> usize {
        match side {
            Side::Client => self.client.flow.resent,
            Side::Server => self.server.flow.resent,
        }
    }

    /// An end sends these bytes.
    pub fn sent(&mut self, from: Side, bytes: &[u8]) {
        let version = self.version;
        self.watched(from).sent.extend_from_slice(bytes);
        loop {
            let before = self.watched(from).sent.len();
            let Some(packet) = decode(&mut self.watched(from).sent, version) else { return };
            let size = before - self.watched(from).sent.len();
            self.on_sent(from, &packet, size);
        }
    }

    /// These bytes, sent by that end, were taken by the other.
    pub fn delivered(&mut self, from: Side, bytes: &[u8]) {
        let version = self.version;
        self.watched(from).delivered.extend_from_slice(bytes);
        while let Some(packet) = decode(&mut self.watched(from).delivered, version) {
            self.on_delivered(from, &packet);
        }
    }

    fn watched(&mut self, side: Side) -> &mut Watched {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn on_sent(&mut self, from: Side, packet: &Packet, size: usize) {
        let watched = self.watched(from);
        assert!(!watched.disconnected, "{packet:?} after DISCONNECT [MQTT-3.14.4-1]");
        assert!(
            size <= watched.flow.packet_size_max,
            "{from:?} sends {size} bytes, its peer takes {} [MQTT-3.1.2-24] [MQTT-3.2.2-15]: \
             {packet:?}",
            watched.flow.packet_size_max
        );
        match packet {
            Packet::Connect(connect) => {
                self.clean_start = connect.clean_start;
                let properties = &connect.properties;
                self.server.flow.set_limits(
                    properties.receive_maximum,
                    properties.maximum_packet_size,
                    properties.topic_alias_maximum,
                );
            }
            Packet::ConnAck(connack) if !connack.reason_code.is_error() => {
                assert!(!self.accepted, "a second CONNACK [MQTT-3.2.0-2]");
                self.accepted = true;
                let resumed = match self.version {
                    ProtocolVersion::V3_1 => !self.clean_start,
                    _ => connack.session_present,
                };
                assert!(!(resumed && self.clean_start), "Session Present [MQTT-3.2.2-2]");
                if !resumed {
                    self.client.flow.forget();
                    self.server.flow.forget();
                }
                let properties = &connack.properties;
                self.client.flow.set_limits(
                    properties.receive_maximum,
                    properties.maximum_packet_size,
                    properties.topic_alias_maximum,
                );
            }
            Packet::ConnAck(_) | Packet::Auth(_) => {}
            Packet::Disconnect(_) => self.watched(from).disconnected = true,
            packet => {
                assert!(self.accepted, "{packet:?} before CONNACK [MQTT-3.2.0-1]");
                let version = self.version;
                self.watched(from).flow.on_sent(packet, version);
                self.watched(from.peer()).flow.on_answer_sent(packet);
            }
        }
    }

    fn on_delivered(&mut self, from: Side, packet: &Packet) {
        self.watched(from).flow.on_delivered(packet);
        self.watched(from.peer()).flow.on_answer_delivered(packet);
        if packet.packet_type() == PacketType::Connect {
            assert_eq!(from, Side::Client);
        }
    }
}

fn decode(bytes: &mut BytesMut, version: ProtocolVersion) -> Option<Packet> {
    Decoder::new(version, 268_435_460).decode(bytes).expect("what an end sends can be read")
}
