//! A message in a session's queue: how it is delivered, and the message itself or where it is.

use super::bytes::{Damage, Reader, Writer, known_flags, qos_of};
use super::{OVERHEAD, put_message, take_message};
use bytes::Bytes;
use dunlin_broker::core::GroupName;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{PacketIdentifier, QoS, SubscriptionIdentifier};
use std::sync::Arc;

const RETAIN: u8 = 1 << 2;
const REFERENCE: u8 = 1 << 3;
const PACKET_IDENTIFIER: u8 = 1 << 4;
const GROUP: u8 = 1 << 5;
const IDENTIFIERS: u8 = 1 << 6;

/// What is stored of a message that is owed, to be encoded or as it was decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) packet_identifier: Option<PacketIdentifier>,
    pub(crate) group: Option<Arc<GroupName>>,
    pub(crate) subscription_identifiers: Vec<SubscriptionIdentifier>,
    /// By [`Message::size`].
    pub(crate) size: u32,
    pub(crate) content: Content,
}

/// The message, or the number under which it is stored once for several sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Inline(Arc<Message>),
    Reference(u64),
}

/// What can be told of a row without reading its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueuedHeader {
    /// By [`Message::size`].
    pub(crate) size: u32,
    /// Whether an exchange delivers it, or it came by a Shared Subscription: the core keeps those.
    pub(crate) is_kept: bool,
    /// Where the message is, when it is not in the row.
    pub(crate) reference: Option<u64>,
}

impl Queued {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let len = match &self.content {
            Content::Inline(message) => message.size() + OVERHEAD,
            Content::Reference(_) => 8,
        };
        let mut out = Writer::new(len + 16 + 4 * self.subscription_identifiers.len());
        let mut flags = self.qos.value();
        flags |= if self.retain { RETAIN } else { 0 };
        flags |= if matches!(self.content, Content::Reference(_)) { REFERENCE } else { 0 };
        flags |= if self.packet_identifier.is_some() { PACKET_IDENTIFIER } else { 0 };
        flags |= if self.group.is_some() { GROUP } else { 0 };
        flags |= if self.subscription_identifiers.is_empty() { 0 } else { IDENTIFIERS };
        out.u8(flags);
        out.u32(self.size);
        // At a fixed place, so that a header tells it without the rest.
        if let Content::Reference(message) = self.content {
            out.u64(message);
        }
        if let Some(packet_identifier) = self.packet_identifier {
            out.u16(packet_identifier.value());
        }
        if let Some(group) = &self.group {
            put_group(&mut out, group);
        }
        if !self.subscription_identifiers.is_empty() {
            out.u32(u32::try_from(self.subscription_identifiers.len()).unwrap_or(u32::MAX));
            for identifier in &self.subscription_identifiers {
                out.u32(identifier.value());
            }
        }
        if let Content::Inline(message) = &self.content {
            put_message(&mut out, message);
        }
        out.finish()
    }

    pub(crate) fn decode(value: Bytes) -> Result<Self, Damage> {
        let mut reader = Reader::new(value)?;
        let flags = reader.u8()?;
        let qos = qos_of(flags)?;
        known_flags(flags, 0x7F)?;
        let size = reader.u32()?;
        let reference = if flags & REFERENCE == 0 { None } else { Some(reader.u64()?) };
        let packet_identifier = match flags & PACKET_IDENTIFIER {
            0 => None,
            _ => Some(PacketIdentifier::new(reader.u16()?).ok_or(Damage::Impossible)?),
        };
        let group = match flags & GROUP {
            0 => None,
            _ => Some(Arc::new(take_group(&mut reader)?)),
        };
        let mut subscription_identifiers = Vec::new();
        if flags & IDENTIFIERS != 0 {
            for _ in 0..reader.u32()? {
                let identifier = SubscriptionIdentifier::new(reader.u32()?);
                subscription_identifiers.push(identifier.ok_or(Damage::Impossible)?);
            }
        }
        let content = match reference {
            Some(reference) => {
                reader.end()?;
                Content::Reference(reference)
            }
            None => Content::Inline(Arc::new(take_message(reader)?)),
        };
        let retain = flags & RETAIN != 0;
        Ok(Self { qos, retain, packet_identifier, group, subscription_identifiers, size, content })
    }
}

impl QueuedHeader {
    /// Reads the beginning of a row, without memory of its own.
    pub(crate) fn decode(value: &[u8]) -> Result<Self, Damage> {
        let (head, rest) = value.split_first_chunk::<6>().ok_or(Damage::TooShort)?;
        let [layout, flags, size @ ..] = *head;
        if layout != super::bytes::LAYOUT {
            return Err(Damage::UnknownLayout);
        }
        qos_of(flags)?;
        known_flags(flags, 0x7F)?;
        let reference = match flags & REFERENCE {
            0 => None,
            _ => {
                let (number, _) = rest.split_first_chunk::<8>().ok_or(Damage::TooShort)?;
                Some(u64::from_be_bytes(*number))
            }
        };
        let is_kept = flags & (PACKET_IDENTIFIER | GROUP) != 0;
        Ok(Self { size: u32::from_be_bytes(size), is_kept, reference })
    }
}

pub(super) fn put_group(out: &mut Writer, group: &GroupName) {
    out.short(group.share_name.as_bytes());
    out.short(group.topic_filter.as_bytes());
}

pub(super) fn take_group(reader: &mut Reader) -> Result<GroupName, Damage> {
    let mut part = || -> Result<Box<str>, Damage> {
        let bytes = reader.short()?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Damage::IllegalString)?;
        Ok(text.into())
    };
    Ok(GroupName { share_name: part()?, topic_filter: part()? })
}
