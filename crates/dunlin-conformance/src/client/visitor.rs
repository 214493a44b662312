//! A client that is connected, as a check sees it: answered as by a plain broker, unless the check
//! wants it otherwise.

use crate::packets::delivery;
use crate::peer::Incoming;
use crate::{Passed, Peer, Stop, ToPacket, Verdict, failed, message, seen, skipped};
use bytes::Bytes;
use dunlin_codec::{
    Ack, ConnAck, ConnAckProperties, Connect, Delivery, Disconnect, Packet, PacketIdentifier,
    PacketType, ProtocolVersion, Publish, QoS, ReasonCode, SubAck, SubAckProperties, Subscribe,
    Subscription, TopicFilter, TopicName, UnsubAck, Unsubscribe,
};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

/// A client on its connection.
#[derive(Debug)]
pub struct Visitor {
    peer: Peer,
    patience: Duration,
    connect: Connect,
    subscriptions: Vec<Subscription>,
    /// What came and was not looked for yet.
    aside: VecDeque<Packet>,
    /// Whether PINGREQ is answered.
    pub answers_pings: bool,
    /// Whether messages with QoS 1 and 2 are acknowledged as they come.
    pub answers_publishes: bool,
}

/// What a client did next.
#[derive(Debug)]
pub enum Next {
    /// It sent this.
    Packet(Packet),
    /// It closed the connection.
    Closed,
    /// Nothing until the deadline.
    Nothing,
}

/// How a client left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Without a word.
    Silently,
    /// After a DISCONNECT with this code; Success is also the one of MQTT 3.1.1.
    Disconnect(ReasonCode),
}

impl Left {
    /// The check passes, and this is the behaviour that was seen.
    ///
    /// # Errors
    /// Never: it is a [`Verdict`] to end a check with.
    pub fn passed(self) -> Verdict {
        Ok(Passed { seen: Some(self.to_string()) })
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silently => f.write_str("closes without a word"),
            Self::Disconnect(ReasonCode::Success) => f.write_str("plain DISCONNECT, closes"),
            Self::Disconnect(reason_code) => write!(f, "DISCONNECT with {reason_code}, closes"),
        }
    }
}

impl Visitor {
    pub(super) const fn new(peer: Peer, patience: Duration, connect: Connect) -> Self {
        Self {
            peer,
            patience,
            connect,
            subscriptions: Vec::new(),
            aside: VecDeque::new(),
            answers_pings: true,
            answers_publishes: true,
        }
    }

    /// The CONNECT that it began with.
    pub const fn connect(&self) -> &Connect {
        &self.connect
    }

    /// What it subscribed to on this connection so far.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// How long to wait for what has to come.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Sends a packet.
    pub fn send(&mut self, packet: impl ToPacket) {
        self.peer.send(packet);
    }

    /// Sends any bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.peer.send_bytes(bytes);
    }

    /// Sends a CONNACK that accepts.
    pub fn accept(&mut self, session_present: bool, properties: ConnAckProperties) {
        self.send(ConnAck { session_present, reason_code: ReasonCode::Success, properties });
    }

    /// Sends an acknowledgement.
    pub fn acknowledge(
        &mut self,
        packet: fn(Ack) -> Packet,
        packet_identifier: PacketIdentifier,
        reason_code: ReasonCode,
    ) {
        self.send(packet(Ack::new(packet_identifier, reason_code)));
    }

    /// Publishes to the client with a new Packet Identifier, and gives that.
    pub fn deliver(
        &mut self,
        topic_name: &TopicName,
        qos: QoS,
        payload: impl Into<Bytes>,
    ) -> PacketIdentifier {
        let packet_identifier = self.peer.new_packet_identifier();
        self.deliver_as(topic_name, delivery(qos, packet_identifier), payload);
        packet_identifier
    }

    /// Publishes to the client with this Packet Identifier and DUP.
    pub fn deliver_as(
        &mut self,
        topic_name: &TopicName,
        delivery: Delivery,
        payload: impl Into<Bytes>,
    ) {
        self.send(Publish { delivery, ..message(topic_name, payload) });
    }

    /// A Packet Identifier that was not used before.
    pub const fn new_packet_identifier(&mut self) -> PacketIdentifier {
        self.peer.new_packet_identifier()
    }

    /// Closes the connection as a network does that fails.
    pub fn abort(self) {
        self.peer.abort();
    }

    /// The client closes after it was told to go: at once, or when this end does, which a Server has
    /// to do then.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it stays.
    pub fn expect_gone(&mut self) -> Verdict {
        let (_, closed) = self.observe(self.patience / 5)?;
        if closed {
            return seen("closes by itself");
        }
        self.peer.finish_sending();
        self.expect_left()?;
        seen("waits until the server closes")
    }

    /// Puts a remark into the record.
    pub fn note(&self, text: impl Into<String>) {
        self.peer.note(text);
    }

    /// What comes next, answered where that is not for the check to do.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it is no legal packet.
    pub fn next(&mut self, deadline: Instant) -> Result<Next, Stop> {
        if let Some(packet) = self.aside.pop_front() {
            return Ok(Next::Packet(packet));
        }
        self.receive(deadline)
    }

    fn receive(&mut self, deadline: Instant) -> Result<Next, Stop> {
        let packet = match self.peer.receive_until(deadline)? {
            Incoming::Packet(packet) => packet,
            Incoming::Closed => return Ok(Next::Closed),
            Incoming::Nothing => return Ok(Next::Nothing),
        };
        match &packet {
            Packet::PingReq if self.answers_pings => self.send(Packet::PingResp),
            Packet::Subscribe(subscribe) => self.grant(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.take_away(unsubscribe),
            Packet::Publish(publish) if self.answers_publishes => match publish.delivery {
                Delivery::AtMostOnce => {}
                Delivery::AtLeastOnce { packet_identifier, .. } => {
                    self.acknowledge(Packet::PubAck, packet_identifier, ReasonCode::Success);
                }
                Delivery::ExactlyOnce { packet_identifier, .. } => {
                    self.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::Success);
                }
            },
            Packet::PubRel(ack) if self.answers_publishes => {
                self.acknowledge(Packet::PubComp, ack.packet_identifier, ReasonCode::Success);
            }
            _ => {}
        }
        Ok(Next::Packet(packet))
    }

    fn grant(&mut self, subscribe: &Subscribe) {
        let granted = subscribe.subscriptions.iter().map(|subscription| {
            let qos = subscription.options.maximum_qos.value();
            ReasonCode::new(qos).expect("a granted QoS is a Reason Code")
        });
        let suback = SubAck {
            packet_identifier: subscribe.packet_identifier,
            properties: SubAckProperties::default(),
            reason_codes: granted.collect(),
        };
        self.subscriptions.extend(subscribe.subscriptions.iter().cloned());
        self.send(Packet::SubAck(Box::new(suback)));
    }

    fn take_away(&mut self, unsubscribe: &Unsubscribe) {
        let ended: BTreeSet<&str> =
            unsubscribe.topic_filters.iter().map(TopicFilter::as_str).collect();
        self.subscriptions.retain(|held| !ended.contains(held.topic_filter.as_str()));
        let unsuback = UnsubAck {
            packet_identifier: unsubscribe.packet_identifier,
            properties: SubAckProperties::default(),
            reason_codes: vec![ReasonCode::Success; unsubscribe.topic_filters.len()],
        };
        self.send(Packet::UnsubAck(Box::new(unsuback)));
    }

    /// The next packet of this type within the patience; others are set aside. `None` when none
    /// comes, or the client leaves.
    ///
    /// # Errors
    /// [`Stop::Failed`] when something comes that is no legal packet.
    pub fn wait_for(&mut self, packet_type: PacketType) -> Result<Option<Packet>, Stop> {
        self.wait_for_until(packet_type, Instant::now() + self.patience)
    }

    /// The same until a deadline.
    ///
    /// # Errors
    /// As [`Visitor::wait_for`].
    pub fn wait_for_until(
        &mut self,
        packet_type: PacketType,
        deadline: Instant,
    ) -> Result<Option<Packet>, Stop> {
        if let Some(at) = self.aside.iter().position(|packet| packet.packet_type() == packet_type) {
            return Ok(self.aside.remove(at));
        }
        loop {
            match self.receive(deadline)? {
                Next::Packet(packet) if packet.packet_type() == packet_type => {
                    return Ok(Some(packet));
                }
                Next::Packet(packet) => self.aside.push_back(packet),
                Next::Closed | Next::Nothing => return Ok(None),
            }
        }
    }

    /// The next acknowledgement of this type; it has to carry this Packet Identifier.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it does not come, or has another.
    pub fn expect_ack(
        &mut self,
        packet_type: PacketType,
        packet_identifier: PacketIdentifier,
    ) -> Result<Ack, Stop> {
        let name = packet_type.name();
        match self.wait_for(packet_type)? {
            Some(
                Packet::PubAck(ack)
                | Packet::PubRec(ack)
                | Packet::PubRel(ack)
                | Packet::PubComp(ack),
            ) if ack.packet_identifier == packet_identifier => Ok(ack),
            Some(other) => {
                failed(format!("{name} for {packet_identifier} expected; what comes is {other}"))
            }
            None => failed(format!(
                "{name} for {packet_identifier} expected; none comes for {:?}",
                self.patience
            )),
        }
    }

    /// Delivers a message and takes the acknowledgements that its QoS asks for, which must not
    /// refuse it.
    ///
    /// # Errors
    /// [`Stop::Failed`] when they do not come.
    pub fn deliver_fully(
        &mut self,
        topic_name: &TopicName,
        qos: QoS,
        payload: impl Into<Bytes>,
    ) -> Result<(), Stop> {
        let packet_identifier = self.deliver(topic_name, qos, payload);
        self.expect_flow(qos, packet_identifier)
    }

    /// The acknowledgements of a message that was delivered.
    ///
    /// # Errors
    /// [`Stop::Failed`] when they do not come, or refuse it.
    pub fn expect_flow(
        &mut self,
        qos: QoS,
        packet_identifier: PacketIdentifier,
    ) -> Result<(), Stop> {
        let taken = |ack: Ack| match ack.reason_code {
            code if code.is_error() => failed(format!("the message is refused: {code}")),
            _ => Ok(()),
        };
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => taken(self.expect_ack(PacketType::PubAck, packet_identifier)?),
            QoS::ExactlyOnce => {
                taken(self.expect_ack(PacketType::PubRec, packet_identifier)?)?;
                self.acknowledge(Packet::PubRel, packet_identifier, ReasonCode::Success);
                taken(self.expect_ack(PacketType::PubComp, packet_identifier)?)
            }
        }
    }

    /// The next message with this QoS that the client publishes, not acknowledged here; those with
    /// another QoS are.
    ///
    /// # Errors
    /// [`Stop::Skipped`] when it publishes none.
    pub fn await_publish(&mut self, qos: QoS) -> Result<Publish, Stop> {
        self.answers_publishes = false;
        let deadline = Instant::now() + self.patience;
        loop {
            match self.wait_for_until(PacketType::Publish, deadline)? {
                Some(Packet::Publish(publish)) if publish.delivery.qos() == qos => {
                    return Ok(publish);
                }
                Some(Packet::Publish(publish)) => self.acknowledge_publish(&publish)?,
                _ => {
                    return skipped(format!(
                        "the client publishes nothing with QoS {}",
                        qos.value()
                    ));
                }
            }
        }
    }

    /// Acknowledges a message of the client up to the end.
    ///
    /// # Errors
    /// [`Stop::Failed`] when PUBREL does not come.
    pub fn acknowledge_publish(&mut self, publish: &Publish) -> Result<(), Stop> {
        match publish.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { packet_identifier, .. } => {
                self.acknowledge(Packet::PubAck, packet_identifier, ReasonCode::Success);
            }
            Delivery::ExactlyOnce { packet_identifier, .. } => {
                self.acknowledge(Packet::PubRec, packet_identifier, ReasonCode::Success);
                self.expect_ack(PacketType::PubRel, packet_identifier)?;
                self.acknowledge(Packet::PubComp, packet_identifier, ReasonCode::Success);
            }
        }
        Ok(())
    }

    /// Reads on for this long, or until the client leaves; gives what came.
    ///
    /// # Errors
    /// [`Stop::Failed`] when something comes that is no legal packet.
    pub fn observe(&mut self, time: Duration) -> Result<(Vec<Packet>, bool), Stop> {
        let deadline = Instant::now() + time;
        let mut packets = Vec::new();
        loop {
            match self.next(deadline)? {
                Next::Packet(packet) => packets.push(packet),
                Next::Closed => return Ok((packets, true)),
                Next::Nothing => return Ok((packets, false)),
            }
        }
    }

    /// How the client left, within the patience; `None` when it stays. What it sends before the end
    /// is passed over, but for DISCONNECT.
    ///
    /// # Errors
    /// [`Stop::Failed`] when something comes that is no legal packet.
    pub fn left(&mut self) -> Result<Option<Left>, Stop> {
        let deadline = Instant::now() + self.patience;
        let mut left = Left::Silently;
        loop {
            match self.next(deadline)? {
                Next::Packet(Packet::Disconnect(disconnect)) => {
                    left = Left::Disconnect(disconnect.reason_code);
                }
                Next::Packet(_) => {}
                Next::Closed => return Ok(Some(left)),
                Next::Nothing => return Ok(None),
            }
        }
    }

    /// The client closes the connection.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it stays.
    pub fn expect_left(&mut self) -> Result<Left, Stop> {
        match self.left()? {
            Some(left) => Ok(left),
            None => failed(format!(
                "the client is to close the connection, and has it open after {:?}",
                self.patience
            )),
        }
    }

    /// The version that both speak.
    pub const fn version(&self) -> ProtocolVersion {
        self.connect.protocol_version
    }

    /// A plain DISCONNECT of the Server. Spec: §3.14, MQTT 5.0 alone.
    pub fn send_disconnect(&mut self, reason_code: ReasonCode) {
        self.send(Disconnect::new(reason_code));
    }
}

/// A Topic Name that the Topic Filter matches.
pub(super) fn matching(topic_filter: &TopicFilter) -> TopicName {
    let name = topic_filter.matching_part().replace(['+', '#'], "x");
    name.parse().expect("a Topic Filter without its wildcards")
}
