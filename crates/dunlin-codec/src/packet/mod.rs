//! The Control Packets, one file each; the four acknowledgements share `ack`.

mod ack;
mod auth;
mod connack;
mod connect;
mod disconnect;
mod publish;
mod subscribe;
mod unsubscribe;

use alloc::boxed::Box;

pub use ack::{Ack, AckProperties};
pub use auth::{Auth, AuthProperties};
pub use connack::{ConnAck, ConnAckProperties};
pub use connect::{Connect, ConnectProperties, Will, WillProperties};
pub use disconnect::{Disconnect, DisconnectProperties};
pub use publish::{MessageProperties, Publish, PublishParts, PublishTopic};
pub use subscribe::{
    RetainHandling, SubAck, SubAckProperties, Subscribe, SubscribeProperties, Subscription,
    SubscriptionOptions,
};
pub use unsubscribe::{UnsubAck, Unsubscribe, UnsubscribeProperties};

use crate::decode::Reader;
use crate::{DecodeError, ReasonCode, Text};
use alloc::vec::Vec;

/// Name and value pairs that the standard gives no meaning, in their order on the wire.
///
/// Spec: the User Property of each packet, e.g. §3.3.2.3.7.
pub type UserProperties = Vec<(Text, Text)>;

/// A Control Packet of any version. Spec: §2.1.2, chapter 3.
///
/// The large and rare ones are boxed so that a queue of packets stays small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A Client asks for a connection.
    Connect(Box<Connect>),
    /// The Server answers a CONNECT.
    ConnAck(Box<ConnAck>),
    /// An Application Message.
    Publish(Publish),
    /// QoS 1: the message was received.
    PubAck(Ack),
    /// QoS 2, first answer: the message was received.
    PubRec(Ack),
    /// QoS 2: the sender has seen PUBREC.
    PubRel(Ack),
    /// QoS 2: done.
    PubComp(Ack),
    /// A Client asks for messages.
    Subscribe(Box<Subscribe>),
    /// The Server answers a SUBSCRIBE.
    SubAck(Box<SubAck>),
    /// A Client wants no more messages.
    Unsubscribe(Box<Unsubscribe>),
    /// The Server answers an UNSUBSCRIBE.
    UnsubAck(Box<UnsubAck>),
    /// A Client shows that it is there.
    PingReq,
    /// The Server answers a PINGREQ.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Box<Disconnect>),
    /// A step of enhanced authentication.
    Auth(Box<Auth>),
}

/// The type of a Control Packet, as the first four bits of its fixed header carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // the standard's names say all there is to say
pub enum PacketType {
    Connect = 1,
    ConnAck = 2,
    Publish = 3,
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
    Subscribe = 8,
    SubAck = 9,
    Unsubscribe = 10,
    UnsubAck = 11,
    PingReq = 12,
    PingResp = 13,
    Disconnect = 14,
    Auth = 15,
}

impl PacketType {
    /// The type with this number; `None` for 0, which is forbidden, and above 15.
    pub const fn new(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Connect,
            2 => Self::ConnAck,
            3 => Self::Publish,
            4 => Self::PubAck,
            5 => Self::PubRec,
            6 => Self::PubRel,
            7 => Self::PubComp,
            8 => Self::Subscribe,
            9 => Self::SubAck,
            10 => Self::Unsubscribe,
            11 => Self::UnsubAck,
            12 => Self::PingReq,
            13 => Self::PingResp,
            14 => Self::Disconnect,
            15 => Self::Auth,
            _ => return None,
        })
    }

    /// The name in capitals, as the standard writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::ConnAck => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::PubAck => "PUBACK",
            Self::PubRec => "PUBREC",
            Self::PubRel => "PUBREL",
            Self::PubComp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::SubAck => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::UnsubAck => "UNSUBACK",
            Self::PingReq => "PINGREQ",
            Self::PingResp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

impl Packet {
    /// The packet's type.
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

/// Reads the Reason Code of a 5.0 packet of this type.
fn read_reason_code(
    packet_type: PacketType,
    reader: &mut Reader<'_>,
) -> Result<ReasonCode, DecodeError> {
    reason_code(packet_type, reader.u8()?)
}

/// The Reason Code with this value, if a packet of this type may carry it.
fn reason_code(packet_type: PacketType, value: u8) -> Result<ReasonCode, DecodeError> {
    ReasonCode::new(value)
        .filter(|reason_code| reason_code.is_allowed_in(packet_type))
        .ok_or(DecodeError::ReasonCode(packet_type, value))
}
