//! What can happen to a Session, and how that is written as bytes.

use bytes::{Buf, BufMut, BytesMut};
use dunlin_protocol::Message;
use dunlin_protocol::codec::{
    Decoder, Delivery, Packet, PacketIdentifier, ProtocolVersion, PublishParts, PublishTopic, QoS,
    Text, TransmitBuf,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The largest PUBLISH that the standard can write.
const PACKET_SIZE_MAX: u32 = 268_435_460;

/// Stands for a message that never expires.
const NEVER: u64 = u64::MAX;

/// Something that happened to a client's Session.
///
/// A message of this client has a number, which orders the messages as they were handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionChange {
    /// The Session is that of the client with this Client Identifier.
    Named(Text),
    /// A QoS 1 or 2 message was handed over, and waits to be sent.
    Queued {
        /// Names the message.
        number: u64,
        /// The message.
        message: StoredMessage,
    },
    /// The message is on its way with this Packet Identifier.
    Sent {
        /// The message.
        number: u64,
        /// Its exchange.
        packet_identifier: PacketIdentifier,
    },
    /// QoS 2: the Server has the message, and the exchange waits for its completion. Its content
    /// is of no more use.
    Taken {
        /// The message.
        number: u64,
        /// Its exchange.
        packet_identifier: PacketIdentifier,
    },
    /// The exchange is over: acknowledged, completed, refused, or too large for the Server.
    Settled {
        /// The exchange.
        packet_identifier: PacketIdentifier,
    },
    /// A message that waited is not sent any more: it expired, a full queue dropped it, or the
    /// Server has no use for it.
    Dropped {
        /// The message.
        number: u64,
    },
    /// A QoS 2 message of the Server was received, and the application has acknowledged it.
    Received {
        /// The exchange.
        packet_identifier: PacketIdentifier,
    },
    /// The Server has released a QoS 2 message; a further one with this Packet Identifier is new.
    Released {
        /// The exchange.
        packet_identifier: PacketIdentifier,
    },
    /// The Server has lost the Session, or was asked to: messages that it was not known to have
    /// wait again, and nothing is received any more.
    Lost,
}

/// A message in a Session Store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// The message; its `expires_at` speaks of the clock of one process and is not stored.
    pub message: Arc<Message>,
    /// When the Message Expiry Interval is over, in whole milliseconds.
    pub expires_at: Option<SystemTime>,
}

/// Bytes that are no change, or a change that cannot have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a change of this session")]
pub struct InvalidChange;

const NAMED: u8 = 1;
const QUEUED: u8 = 2;
const SENT: u8 = 3;
const TAKEN: u8 = 4;
const SETTLED: u8 = 5;
const DROPPED: u8 = 6;
const RECEIVED: u8 = 7;
const RELEASED: u8 = 8;
const LOST: u8 = 9;

impl SessionChange {
    /// Appends the change as bytes: what [`FileStore`](crate::FileStore) writes, for other stores
    /// to use as well. A message is written as a PUBLISH of MQTT 5.0.
    ///
    /// # Errors
    /// [`InvalidChange`] for a message that is larger than a packet can be; the client appends
    /// none.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), InvalidChange> {
        match self {
            Self::Named(client_identifier) => {
                out.put_u8(NAMED);
                out.put_slice(client_identifier.as_bytes());
            }
            Self::Queued { number, message } => {
                out.put_u8(QUEUED);
                out.put_u64(*number);
                out.put_u64(message.expires_at.map_or(NEVER, unix_millis));
                encode_message(&message.message, out)?;
            }
            Self::Sent { number, packet_identifier } => {
                put(out, SENT, *packet_identifier);
                out.put_u64(*number);
            }
            Self::Taken { number, packet_identifier } => {
                put(out, TAKEN, *packet_identifier);
                out.put_u64(*number);
            }
            Self::Settled { packet_identifier } => put(out, SETTLED, *packet_identifier),
            Self::Dropped { number } => {
                out.put_u8(DROPPED);
                out.put_u64(*number);
            }
            Self::Received { packet_identifier } => put(out, RECEIVED, *packet_identifier),
            Self::Released { packet_identifier } => put(out, RELEASED, *packet_identifier),
            Self::Lost => out.put_u8(LOST),
        }
        Ok(())
    }

    /// Reads what [`SessionChange::encode`] wrote, all of it.
    ///
    /// # Errors
    /// [`InvalidChange`].
    pub fn decode(mut bytes: &[u8]) -> Result<Self, InvalidChange> {
        let input = &mut bytes;
        let change = match input.try_get_u8().map_err(|_| InvalidChange)? {
            NAMED => {
                let text = Text::from_bytes(input.to_vec().into()).map_err(|_| InvalidChange)?;
                input.advance(input.len());
                Self::Named(text)
            }
            QUEUED => {
                let number = number(input)?;
                let expires_at = input.try_get_u64().map_err(|_| InvalidChange)?;
                let after_epoch = Duration::from_millis(expires_at);
                let expires_at = match expires_at {
                    NEVER => None,
                    _ => {
                        Some(SystemTime::UNIX_EPOCH.checked_add(after_epoch).ok_or(InvalidChange)?)
                    }
                };
                let message = Arc::new(decode_message(input)?);
                Self::Queued { number, message: StoredMessage { message, expires_at } }
            }
            SENT => {
                let packet_identifier = packet_identifier(input)?;
                Self::Sent { packet_identifier, number: number(input)? }
            }
            TAKEN => {
                let packet_identifier = packet_identifier(input)?;
                Self::Taken { packet_identifier, number: number(input)? }
            }
            SETTLED => Self::Settled { packet_identifier: packet_identifier(input)? },
            DROPPED => Self::Dropped { number: number(input)? },
            RECEIVED => Self::Received { packet_identifier: packet_identifier(input)? },
            RELEASED => Self::Released { packet_identifier: packet_identifier(input)? },
            LOST => Self::Lost,
            _ => return Err(InvalidChange),
        };
        if input.is_empty() { Ok(change) } else { Err(InvalidChange) }
    }
}

fn put(out: &mut Vec<u8>, tag: u8, packet_identifier: PacketIdentifier) {
    out.put_u8(tag);
    out.put_u16(packet_identifier.value());
}

fn number(input: &mut &[u8]) -> Result<u64, InvalidChange> {
    input.try_get_u64().map_err(|_| InvalidChange)
}

fn packet_identifier(input: &mut &[u8]) -> Result<PacketIdentifier, InvalidChange> {
    let value = input.try_get_u16().map_err(|_| InvalidChange)?;
    PacketIdentifier::new(value).ok_or(InvalidChange)
}

fn unix_millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(NEVER - 1)
}

fn encode_message(message: &Message, out: &mut Vec<u8>) -> Result<(), InvalidChange> {
    let packet_identifier = PacketIdentifier::FIRST;
    let delivery = match message.qos {
        QoS::AtMostOnce => return Err(InvalidChange),
        QoS::AtLeastOnce => Delivery::AtLeastOnce { packet_identifier, dup: false },
        QoS::ExactlyOnce => Delivery::ExactlyOnce { packet_identifier, dup: false },
    };
    let parts = PublishParts {
        delivery,
        retain: message.retain,
        topic_name: Some(&message.topic_name),
        topic_alias: None,
        message_expiry_interval: None,
        subscription_identifiers: &[],
        properties: message.properties.as_deref(),
        payload: &message.payload,
    };
    let mut encoded = TransmitBuf::new();
    parts.encode(ProtocolVersion::V5, PACKET_SIZE_MAX, &mut encoded).map_err(|_| InvalidChange)?;
    while !encoded.is_empty() {
        let mut pieces = [&[][..]; 8];
        let filled = encoded.pieces(&mut pieces);
        let before = out.len();
        pieces[..filled].iter().for_each(|piece| out.extend_from_slice(piece));
        encoded.advance(out.len() - before);
    }
    Ok(())
}

fn decode_message(input: &mut &[u8]) -> Result<Message, InvalidChange> {
    let mut bytes = BytesMut::from(*input);
    let decoder = Decoder::new(ProtocolVersion::V5, PACKET_SIZE_MAX);
    let Ok(Some(Packet::Publish(publish))) = decoder.decode(&mut bytes) else {
        return Err(InvalidChange);
    };
    let PublishTopic::Name(topic_name) = publish.topic else { return Err(InvalidChange) };
    if publish.delivery.qos() == QoS::AtMostOnce {
        return Err(InvalidChange);
    }
    input.advance(input.len() - bytes.len());
    Ok(Message {
        topic_name,
        payload: publish.payload,
        qos: publish.delivery.qos(),
        retain: publish.retain,
        expires_at: None,
        properties: publish.properties,
    })
}
