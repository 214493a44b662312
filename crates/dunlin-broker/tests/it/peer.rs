//! A Client of scripted packets on a blocking pipe. Whoever waits in vain fails after a generous
//! while.

use bytes::{Bytes, BytesMut};
use dunlin_protocol::codec::{
    Ack, Connect, ConnectProperties, Decoder, Delivery, Packet, PacketIdentifier, ProtocolVersion,
    Publish, PublishTopic, QoS, ReasonCode, Subscribe, SubscribeProperties, Subscription,
    SubscriptionOptions, TransmitBuf,
};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a Client speaks MQTT over.
pub(crate) trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    version: ProtocolVersion,
    input: BytesMut,
    output: Vec<u8>,
}

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self::over(stream)
    }

    /// A Client on a stream with a timeout of its own.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        let version = ProtocolVersion::V5;
        Self { stream: Box::new(stream), version, input: BytesMut::new(), output: Vec::new() }
    }

    pub(crate) fn speak(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// Adds a packet to what [`Peer::flush`] sends.
    pub(crate) fn queue(&mut self, packet: &Packet) {
        self.output.extend_from_slice(&encode(self.version, packet));
    }

    pub(crate) fn flush(&mut self) {
        let output = std::mem::take(&mut self.output);
        self.send_bytes(&output);
    }

    pub(crate) fn send(&mut self, packet: &Packet) {
        self.queue(packet);
        self.flush();
    }

    /// As [`Peer::send`], on a connection that may be closed already; whether it was not.
    pub(crate) fn try_send(&mut self, packet: &Packet) -> bool {
        self.queue(packet);
        let output = std::mem::take(&mut self.output);
        self.stream.write_all(&output).is_ok()
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the broker reads");
    }

    /// The next packet; `None` when the broker has closed.
    pub(crate) fn receive(&mut self) -> Option<Packet> {
        let decoder = Decoder::new(self.version, u32::MAX);
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(packet) = decoder.decode(&mut self.input).expect("a legal packet") {
                return Some(packet);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// The last answer to a publish of this QoS, with PUBREL in between.
    pub(crate) fn answer(&mut self, qos: QoS) -> Option<Packet> {
        match qos {
            QoS::AtMostOnce => None,
            QoS::AtLeastOnce => self.receive(),
            QoS::ExactlyOnce => {
                let Some(Packet::PubRec(received)) = self.receive() else { return None };
                let released = Ack::new(received.packet_identifier, ReasonCode::Success);
                self.send(&Packet::PubRel(released));
                self.receive()
            }
        }
    }

    /// The next packet, which is a message; it is acknowledged to its end.
    pub(crate) fn take_message(&mut self) -> Publish {
        let Some(Packet::Publish(message)) = self.receive() else { panic!("no message") };
        match message.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { packet_identifier, .. } => {
                self.send(&Packet::PubAck(Ack::new(packet_identifier, ReasonCode::Success)));
            }
            Delivery::ExactlyOnce { packet_identifier, .. } => {
                self.send(&Packet::PubRec(Ack::new(packet_identifier, ReasonCode::Success)));
                assert!(matches!(self.receive(), Some(Packet::PubRel(_))));
                self.send(&Packet::PubComp(Ack::new(packet_identifier, ReasonCode::Success)));
            }
        }
        message
    }
}

/// A packet as bytes.
pub(crate) fn encode(version: ProtocolVersion, packet: &Packet) -> Vec<u8> {
    let mut out = TransmitBuf::new();
    packet.encode(version, u32::MAX, &mut out).expect("a packet that can be written");
    let mut bytes = Vec::new();
    while !out.is_empty() {
        let mut pieces = [&[][..]; 8];
        let filled = out.pieces(&mut pieces);
        pieces[..filled].iter().for_each(|piece| bytes.extend_from_slice(piece));
        let count = pieces[..filled].iter().map(|piece| piece.len()).sum();
        out.advance(count);
    }
    bytes
}

pub(crate) fn connect(client_identifier: &str) -> Packet {
    Packet::Connect(Box::new(Connect {
        protocol_version: ProtocolVersion::V5,
        bridge: false,
        clean_start: true,
        keep_alive: 0,
        client_identifier: client_identifier.parse().expect("a legal Client Identifier"),
        will: None,
        user_name: None,
        password: None,
        properties: ConnectProperties::default(),
    }))
}

pub(crate) fn subscribe(topic_filter: &str, maximum_qos: QoS) -> Packet {
    Packet::Subscribe(Box::new(Subscribe {
        packet_identifier: PacketIdentifier::FIRST,
        properties: SubscribeProperties::default(),
        subscriptions: vec![Subscription {
            topic_filter: topic_filter.parse().expect("a legal Topic Filter"),
            options: SubscriptionOptions { maximum_qos, ..SubscriptionOptions::default() },
        }],
    }))
}

pub(crate) fn publish(topic_name: &str, payload: &[u8], qos: QoS) -> Packet {
    let packet_identifier = PacketIdentifier::FIRST;
    Packet::Publish(Publish {
        delivery: match qos {
            QoS::AtMostOnce => Delivery::AtMostOnce,
            QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_identifier, dup: false },
            QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_identifier, dup: false },
        },
        retain: false,
        topic: PublishTopic::Name(topic_name.parse().expect("a legal Topic Name")),
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: Bytes::copy_from_slice(payload),
    })
}
