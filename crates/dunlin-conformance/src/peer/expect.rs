//! What a check expects of the other end, and what it says when something else comes.

use super::{End, Incoming, Peer};
use crate::exchange::describe;
use crate::{Stop, failed};
use dunlin_codec::{
    Ack, Auth, ConnAck, Disconnect, Packet, PacketIdentifier, PacketType, Publish, ReasonCode,
    SubAck, UnsubAck,
};

/// Makes an expectation of one type of packet.
macro_rules! expectations {
    ($($(#[$doc:meta])* $name:ident: $type:ident($content:ty);)*) => {
        $($(#[$doc])*
        ///
        /// # Errors
        /// [`Stop::Failed`] when it does not come.
        pub fn $name(&mut self) -> Result<$content, Stop> {
            match self.expect(PacketType::$type)? {
                Packet::$type(content) => Ok(content.into()),
                _ => unreachable!("a packet of this type"),
            }
        })*
    };
}

/// Makes an expectation of an acknowledgement of one type.
macro_rules! acknowledgements {
    ($($(#[$doc:meta])* $name:ident: $type:ident($content:ty);)*) => {
        $($(#[$doc])*
        /// It has to carry this Packet Identifier.
        ///
        /// # Errors
        /// [`Stop::Failed`] when it does not come, or has another.
        pub fn $name(&mut self, packet_identifier: PacketIdentifier) -> Result<$content, Stop> {
            match self.expect(PacketType::$type)? {
                Packet::$type(ack) if ack.packet_identifier == packet_identifier => Ok(ack.into()),
                other => failed(format!(
                    "{} for {packet_identifier} expected; what came is {other}",
                    PacketType::$type.name(),
                )),
            }
        })*
    };
}

impl Peer {
    /// The next packet, of whatever type; `None` when the connection is closed instead.
    ///
    /// # Errors
    /// [`Stop::Failed`] when nothing comes.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, Stop> {
        if let Some(packet) = self.aside.pop_front() {
            return Ok(Some(packet));
        }
        match self.receive()? {
            Incoming::Packet(packet) => Ok(Some(packet)),
            Incoming::Closed => Ok(None),
            Incoming::Nothing => failed(format!("nothing comes for {:?}", self.patience)),
        }
    }

    /// The next packet of this type. Others are set aside, but for those that concern the
    /// connection itself.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it does not come.
    pub fn expect(&mut self, packet_type: PacketType) -> Result<Packet, Stop> {
        let name = packet_type.name();
        if let Some(at) = self.aside.iter().position(|packet| packet.packet_type() == packet_type) {
            return Ok(self.aside.remove(at).expect("it is there"));
        }
        let deadline = std::time::Instant::now() + self.patience;
        loop {
            match self.receive_until(deadline)? {
                Incoming::Packet(packet) if packet.packet_type() == packet_type => {
                    return Ok(packet);
                }
                Incoming::Packet(
                    packet @ (Packet::ConnAck(_) | Packet::Disconnect(_) | Packet::Auth(_)),
                ) => return failed(format!("{name} expected; what comes is {packet}")),
                // Before CONNACK there is nothing to run beside.
                Incoming::Packet(packet) if packet_type == PacketType::ConnAck => {
                    return failed(format!("{name} expected; what comes is {packet}"));
                }
                Incoming::Packet(packet) => self.aside.push_back(packet),
                Incoming::Closed => {
                    return failed(format!("{name} expected; the connection is closed"));
                }
                Incoming::Nothing => {
                    return failed(format!("{name} expected; none comes for {:?}", self.patience));
                }
            }
        }
    }

    expectations! {
        /// A CONNACK, whatever it says, before anything else.
        expect_connack: ConnAck(Box<ConnAck>);
        /// An Application Message. It is not acknowledged, see [`Peer::acknowledge`].
        expect_publish: Publish(Publish);
        /// A DISCONNECT.
        expect_disconnect: Disconnect(Box<Disconnect>);
        /// An AUTH.
        expect_auth: Auth(Box<Auth>);
    }

    acknowledgements! {
        /// A SUBACK.
        expect_suback: SubAck(Box<SubAck>);
        /// An UNSUBACK.
        expect_unsuback: UnsubAck(Box<UnsubAck>);
        /// A PUBACK.
        expect_puback: PubAck(Ack);
        /// A PUBREC.
        expect_pubrec: PubRec(Ack);
        /// A PUBREL.
        expect_pubrel: PubRel(Ack);
        /// A PUBCOMP.
        expect_pubcomp: PubComp(Ack);
    }

    /// A CONNACK that accepts the connection.
    ///
    /// # Errors
    /// [`Stop::Failed`] when something else comes.
    pub fn expect_accepted(&mut self) -> Result<ConnAck, Stop> {
        let connack = self.expect_connack()?;
        if connack.reason_code == ReasonCode::Success {
            return Ok(*connack);
        }
        failed(format!("an accepted connection expected; CONNACK says {}", connack.reason_code))
    }

    /// A PINGRESP.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it does not come.
    pub fn expect_pingresp(&mut self) -> Result<(), Stop> {
        self.expect(PacketType::PingResp).map(drop)
    }

    /// The connection is closed by the other end, in any way that the standard allows: without a
    /// word, after a CONNACK that refuses it, in MQTT 5.0 after a DISCONNECT. What else comes
    /// before the end is passed over, unless it is a CONNACK that accepts.
    ///
    /// # Errors
    /// [`Stop::Failed`] when it stays open, or something came that is not allowed.
    pub fn expect_closed(&mut self) -> Result<End, Stop> {
        let deadline = std::time::Instant::now() + self.patience;
        let mut end = End::Closed;
        loop {
            match self.receive_until(deadline)? {
                Incoming::Closed => return Ok(end),
                Incoming::Nothing => {
                    let patience = self.patience;
                    return failed(match end {
                        End::Closed => format!(
                            "the connection is to be closed, and is open after {patience:?}"
                        ),
                        said => format!("{said} expected; it is open after {patience:?}"),
                    });
                }
                Incoming::Packet(packet) if end != End::Closed => {
                    return failed(format!("nothing may follow the last packet; comes {packet}"));
                }
                Incoming::Packet(Packet::ConnAck(connack)) if connack.reason_code.is_error() => {
                    if connack.session_present {
                        return failed("Session Present in a CONNACK that refuses");
                    }
                    end = End::Refused(connack.reason_code);
                }
                Incoming::Packet(Packet::Disconnect(disconnect))
                    if self.version.is_v5() && disconnect.reason_code.is_error() =>
                {
                    end = End::Disconnect(disconnect.reason_code);
                }
                Incoming::Packet(packet @ (Packet::ConnAck(_) | Packet::Disconnect(_))) => {
                    return failed(format!(
                        "the connection is to be closed; what comes is {packet}"
                    ));
                }
                Incoming::Packet(_) => {}
            }
        }
    }

    /// No message is there or on its way: what was set aside holds none, and what comes up to the
    /// answer to a PINGREQ holds none either. Says nothing about what another connection has only
    /// just caused; for that, see [`Peer::publishes_before`].
    ///
    /// # Errors
    /// [`Stop::Failed`] when there is a message.
    pub fn expect_no_publish(&mut self) -> Result<(), Stop> {
        self.ping()?;
        match self.aside.iter().find(|packet| packet.packet_type() == PacketType::Publish) {
            Some(publish) => failed(format!("no message expected; came {}", describe(publish))),
            None => Ok(()),
        }
    }

    /// The messages that come before the one with the payload `marker`, each acknowledged, also
    /// the marker. Whoever sent the marker last, on the same Topic Name and with the same QoS, has
    /// proof that nothing else is on its way.
    ///
    /// # Errors
    /// [`Stop::Failed`] when the marker does not come.
    pub fn publishes_before(&mut self, marker: &[u8]) -> Result<Vec<Publish>, Stop> {
        let mut publishes = Vec::new();
        loop {
            let publish = self.expect_publish()?;
            self.acknowledge(&publish)?;
            if publish.payload == marker {
                return Ok(publishes);
            }
            publishes.push(publish);
        }
    }
}
