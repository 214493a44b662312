//! A server that says exactly what a test tells it to, at the other end of a pipe in memory.

use bytes::BytesMut;
use dunlin_client::{
    Client, ClientBuilder, ConnectError, Events, ProtocolVersion, QoS, ReasonCode, TopicName,
    Transport,
};
use dunlin_protocol::codec::{
    Ack, ConnAck, ConnAckProperties, Connect, Decoder, Delivery, Packet, PacketIdentifier, Publish,
    PublishTopic, SubAck, SubAckProperties, Subscribe, SubscriptionIdentifier, TransmitBuf,
    UnsubAck,
};
use std::panic::Location;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;

/// With paused time: longer than anything takes that a test waits for.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is bound to come. A client goes on and on to connect, so that what never comes would be waited for
/// without end.
#[track_caller]
pub(crate) fn soon<T>(coming: impl Future<Output = T>) -> impl Future<Output = T> {
    let asked = Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, coming).await {
            Ok(come) => come,
            Err(_) => panic!("what {asked} waits for does not come"),
        }
    }
}

/// Gives the client a new pipe for every attempt, and the test its other end.
pub(crate) struct Pipes {
    peers: mpsc::UnboundedSender<Peer>,
    capacity: usize,
}

/// The server's ends of the pipes, in the order of the attempts.
pub(crate) struct Listener(mpsc::UnboundedReceiver<Peer>);

pub(crate) fn pipes() -> (Pipes, Listener) {
    pipes_of(256 * 1024)
}

pub(crate) fn pipes_of(capacity: usize) -> (Pipes, Listener) {
    let (peers, listener) = mpsc::unbounded_channel();
    (Pipes { peers, capacity }, Listener(listener))
}

impl Transport for Pipes {
    type Io = DuplexStream;

    async fn connect(&mut self) -> Result<DuplexStream, ConnectError> {
        let (ours, theirs) = tokio::io::duplex(self.capacity);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        self.peers.send(Peer::new(theirs)).map_err(|_| ConnectError::Transport {
            peer: "the test".to_owned(),
            source: std::sync::Arc::new(refused),
        })?;
        Ok(ours)
    }
}

impl Listener {
    pub(crate) async fn next(&mut self) -> Peer {
        soon(self.0.recv()).await.expect("the client connects")
    }
}

pub(crate) struct Peer {
    io: DuplexStream,
    input: BytesMut,
    decoder: Decoder,
    version: ProtocolVersion,
}

impl Peer {
    pub(crate) fn new(io: DuplexStream) -> Self {
        let version = ProtocolVersion::V5;
        Self { io, input: BytesMut::new(), decoder: Decoder::new(version, u32::MAX), version }
    }

    /// The next packet; `None` when the client has closed.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = self.decoder.decode(&mut self.input).expect("legal packets") {
                return Some(packet);
            }
            if soon(self.io.read_buf(&mut self.input)).await.expect("readable") == 0 {
                return None;
            }
        }
    }

    pub(crate) async fn expect(&mut self) -> Packet {
        self.next().await.expect("a packet, not the end")
    }

    /// With paused time: every task is idle and no packet came.
    pub(crate) async fn expect_nothing(&mut self) {
        let silence = tokio::time::timeout(Duration::from_millis(1), self.next()).await;
        assert!(silence.is_err(), "unexpected: {silence:?}");
    }

    pub(crate) async fn expect_closed(&mut self) {
        assert_eq!(self.next().await, None);
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut out = TransmitBuf::new();
        packet.encode(self.version, u32::MAX, &mut out).expect("a packet that can be written");
        while !out.is_empty() {
            let mut pieces = [&[][..]; 1];
            out.pieces(&mut pieces);
            let written = self.io.write(pieces[0]).await.expect("writable");
            out.advance(written);
        }
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("writable");
    }

    // ---- whole steps

    pub(crate) async fn expect_connect(&mut self) -> Connect {
        let Packet::Connect(connect) = self.expect().await else { panic!("CONNECT expected") };
        self.version = connect.protocol_version;
        self.decoder.set_version(self.version);
        *connect
    }

    pub(crate) async fn accept(&mut self, session_present: bool) -> Connect {
        self.answer(session_present, ReasonCode::Success, ConnAckProperties::default()).await
    }

    pub(crate) async fn refuse(&mut self, reason_code: ReasonCode) -> Connect {
        self.answer(false, reason_code, ConnAckProperties::default()).await
    }

    pub(crate) async fn answer(
        &mut self,
        session_present: bool,
        reason_code: ReasonCode,
        properties: ConnAckProperties,
    ) -> Connect {
        let connect = self.expect_connect().await;
        let connack = ConnAck { session_present, reason_code, properties };
        self.send(Packet::ConnAck(Box::new(connack))).await;
        connect
    }

    pub(crate) async fn expect_publish(&mut self) -> Publish {
        match self.expect().await {
            Packet::Publish(publish) => publish,
            packet => panic!("PUBLISH expected, got {packet:?}"),
        }
    }

    pub(crate) async fn puback(&mut self, publish: &Publish) {
        let packet_identifier = publish.delivery.packet_identifier().expect("QoS above 0");
        self.send(Packet::PubAck(Ack::new(packet_identifier, ReasonCode::Success))).await;
    }

    pub(crate) async fn expect_subscribe(&mut self) -> Subscribe {
        match self.expect().await {
            Packet::Subscribe(subscribe) => *subscribe,
            packet => panic!("SUBSCRIBE expected, got {packet:?}"),
        }
    }

    pub(crate) async fn suback(&mut self, subscribe: &Subscribe, reason_codes: Vec<ReasonCode>) {
        let suback = SubAck {
            packet_identifier: subscribe.packet_identifier,
            properties: SubAckProperties::default(),
            reason_codes,
        };
        self.send(Packet::SubAck(Box::new(suback))).await;
    }

    /// Takes a SUBSCRIBE of one Topic Filter and grants it; gives its Subscription Identifier.
    pub(crate) async fn grant(&mut self) -> Option<SubscriptionIdentifier> {
        let subscribe = self.expect_subscribe().await;
        self.suback(&subscribe, vec![ReasonCode::GrantedQoS2]).await;
        subscribe.properties.subscription_identifier
    }

    /// Takes an UNSUBSCRIBE and confirms it; gives its Topic Filters.
    pub(crate) async fn expect_unsubscribe(&mut self) -> Vec<String> {
        let packet = self.expect().await;
        let Packet::Unsubscribe(unsubscribe) = packet else {
            panic!("UNSUBSCRIBE expected, got {packet:?}")
        };
        let unsuback = UnsubAck {
            packet_identifier: unsubscribe.packet_identifier,
            properties: SubAckProperties::default(),
            reason_codes: vec![ReasonCode::Success; unsubscribe.topic_filters.len()],
        };
        self.send(Packet::UnsubAck(Box::new(unsuback))).await;
        unsubscribe.topic_filters.iter().map(ToString::to_string).collect()
    }

    pub(crate) async fn expect_disconnect(&mut self) -> ReasonCode {
        match self.expect().await {
            Packet::Disconnect(disconnect) => disconnect.reason_code,
            packet => panic!("DISCONNECT expected, got {packet:?}"),
        }
    }
}

/// A PUBLISH as a server sends it.
pub(crate) fn publish(
    topic_name: &str,
    payload: &str,
    delivery: Delivery,
    identifiers: &[Option<SubscriptionIdentifier>],
) -> Packet {
    Packet::Publish(Publish {
        delivery,
        retain: false,
        topic: PublishTopic::Name(topic_name.parse::<TopicName>().unwrap()),
        message_expiry_interval: None,
        subscription_identifiers: identifiers.iter().copied().flatten().collect(),
        properties: None,
        payload: payload.to_owned().into(),
    })
}

pub(crate) fn at(qos: QoS, packet_identifier: u16) -> Delivery {
    let packet_identifier = PacketIdentifier::new(packet_identifier).unwrap();
    match qos {
        QoS::AtMostOnce => Delivery::AtMostOnce,
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_identifier, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_identifier, dup: false },
    }
}

pub(crate) fn ack(packet_identifier: u16) -> Ack {
    Ack::new(PacketIdentifier::new(packet_identifier).unwrap(), ReasonCode::Success)
}

pub(crate) fn builder() -> ClientBuilder {
    Client::builder("mqtt://unused").unwrap().client_identifier("it").seed(1)
}

/// A client that is connected, and the server's end.
pub(crate) async fn connected(builder: ClientBuilder) -> (Client, Events, Peer, Listener) {
    let (pipes, mut listener) = pipes();
    let accept = async {
        let mut peer = listener.next().await;
        peer.accept(false).await;
        peer
    };
    let (connected, peer) = tokio::join!(builder.connect_over(pipes), accept);
    let (client, events) = connected.expect("the peer accepts");
    (client, events, peer, listener)
}
