//! The rows beside the queues: sessions, subscriptions, Wills, retained messages, counters.

use super::bytes::{Damage, Reader, Writer, known_flags, qos_of};
use super::queued::{put_group, take_group};
use super::{OVERHEAD, put_message, put_subject, take_message, take_subject};
use bytes::Bytes;
use dunlin_broker::core::{GroupName, Subject};
use dunlin_protocol::codec::{PacketIdentifier, QoS, SubscriptionIdentifier, Text};
use dunlin_protocol::{Instant, Message};
use std::sync::Arc;

/// What a Client Identifier stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionRow {
    /// Under which number all else of the session is stored; never given out twice.
    pub(crate) number: u64,
    /// The session, unless only things around it were recorded.
    pub(crate) session: Option<StoredSession>,
}

/// What a session has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredSession {
    pub(crate) expiry_interval: u32,
    pub(crate) away_since: Option<Instant>,
    /// The user whose it is, empty for anonymous Clients.
    pub(crate) owner: Option<Text>,
    /// Who uses it or did last, where rules have asked for that.
    pub(crate) subject: Option<Arc<Subject>>,
}

impl SessionRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(24);
        let session = self.session.as_ref();
        let away_since = session.and_then(|session| session.away_since);
        let owner = session.and_then(|session| session.owner.as_ref());
        let subject = session.and_then(|session| session.subject.as_deref());
        let flags = [session.is_some(), away_since.is_some(), owner.is_some(), subject.is_some()];
        out.u8(flags.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag)));
        out.u64(self.number);
        if let Some(session) = session {
            out.u32(session.expiry_interval);
        }
        if let Some(away_since) = away_since {
            out.u64(away_since.as_micros());
        }
        if let Some(owner) = owner {
            out.short(owner.as_bytes());
        }
        if let Some(subject) = subject {
            put_subject(&mut out, subject);
        }
        out.finish()
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, Damage> {
        let flags = reader.u8()?;
        let number = reader.u64()?;
        let session = match flags {
            0 => None,
            0..16 if flags & 1 != 0 => Some(StoredSession {
                expiry_interval: reader.u32()?,
                away_since: match flags & 2 {
                    0 => None,
                    _ => Some(Instant::from_micros(reader.u64()?)),
                },
                owner: if flags & 4 == 0 { None } else { Some(reader.text()?) },
                subject: if flags & 8 == 0 { None } else { Some(take_subject(reader)?) },
            }),
            _ => return Err(Damage::Impossible),
        };
        Ok(Self { number, session })
    }
}

/// A subscription, without its Topic Filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionRow {
    pub(crate) maximum_qos: QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) subscription_identifier: Option<SubscriptionIdentifier>,
}

impl SubscriptionRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(8);
        let flags = self.maximum_qos.value()
            | u8::from(self.no_local) << 2
            | u8::from(self.retain_as_published) << 3;
        out.u8(flags | u8::from(self.subscription_identifier.is_some()) << 4);
        if let Some(identifier) = self.subscription_identifier {
            out.u32(identifier.value());
        }
        out.finish()
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, Damage> {
        let flags = known_flags(reader.u8()?, 0x1F)?;
        let subscription_identifier = match flags & 1 << 4 {
            0 => None,
            _ => Some(SubscriptionIdentifier::new(reader.u32()?).ok_or(Damage::Impossible)?),
        };
        Ok(Self {
            maximum_qos: qos_of(flags)?,
            no_local: flags & 1 << 2 != 0,
            retain_as_published: flags & 1 << 3 != 0,
            subscription_identifier,
        })
    }
}

/// How far the delivery of a message is: what changes while the message itself doesn't.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// It counts only once it is confirmed.
    pub(crate) tentative: bool,
    /// Its Client has received it.
    pub(crate) taken: bool,
    /// The exchange that delivers it.
    pub(crate) packet_identifier: Option<PacketIdentifier>,
}

impl State {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(4);
        out.u8(u8::from(self.tentative) | u8::from(self.taken) << 1);
        out.u16(self.packet_identifier.map_or(0, PacketIdentifier::value));
        out.finish()
    }

    pub(crate) fn decode(value: Bytes) -> Result<Self, Damage> {
        let mut reader = Reader::new(value)?;
        let flags = known_flags(reader.u8()?, 0b11)?;
        let packet_identifier = PacketIdentifier::new(reader.u16()?);
        reader.end()?;
        Ok(Self { tentative: flags & 1 != 0, taken: flags & 2 != 0, packet_identifier })
    }
}

/// A Will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WillRow {
    pub(crate) message_expiry_interval: Option<u32>,
    pub(crate) delay_secs: u32,
    pub(crate) message: Arc<Message>,
    /// Who has left it, where rules have asked for that.
    pub(crate) subject: Option<Arc<Subject>>,
}

impl WillRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(self.message.size() + OVERHEAD + 16);
        let has_subject = self.subject.is_some();
        out.u8(u8::from(self.message_expiry_interval.is_some()) | u8::from(has_subject) << 1);
        if let Some(interval) = self.message_expiry_interval {
            out.u32(interval);
        }
        out.u32(self.delay_secs);
        if let Some(subject) = &self.subject {
            put_subject(&mut out, subject);
        }
        put_message(&mut out, &self.message);
        out.finish()
    }

    pub(crate) fn decode(mut reader: Reader) -> Result<Self, Damage> {
        let flags = known_flags(reader.u8()?, 0b11)?;
        let message_expiry_interval = match flags & 1 {
            0 => None,
            _ => Some(reader.u32()?),
        };
        let delay_secs = reader.u32()?;
        let subject = if flags & 2 == 0 { None } else { Some(take_subject(&mut reader)?) };
        let message = Arc::new(take_message(reader)?);
        Ok(Self { message_expiry_interval, delay_secs, message, subject })
    }
}

/// A message on its way to sessions of other workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnderwayRow {
    pub(crate) group: Option<Arc<GroupName>>,
    pub(crate) message: Arc<Message>,
}

impl UnderwayRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(self.message.size() + OVERHEAD + 16);
        out.u8(u8::from(self.group.is_some()));
        if let Some(group) = &self.group {
            put_group(&mut out, group);
        }
        put_message(&mut out, &self.message);
        out.finish()
    }

    pub(crate) fn decode(mut reader: Reader) -> Result<Self, Damage> {
        let group = match known_flags(reader.u8()?, 1)? {
            0 => None,
            _ => Some(Arc::new(take_group(&mut reader)?)),
        };
        Ok(Self { group, message: Arc::new(take_message(reader)?) })
    }
}

/// A retained message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RetainedRow {
    pub(crate) change: u64,
    pub(crate) message: Arc<Message>,
    /// Who has published it, where rules have asked for that.
    pub(crate) publisher: Option<Arc<Subject>>,
}

/// Beside the number of a change, none of which is so high: a publisher follows.
const HAS_PUBLISHER: u64 = 1 << 63;

impl RetainedRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(self.message.size() + OVERHEAD + 16);
        let change = self.change & !HAS_PUBLISHER;
        match &self.publisher {
            None => out.u64(change),
            Some(publisher) => {
                out.u64(change | HAS_PUBLISHER);
                put_subject(&mut out, publisher);
            }
        }
        put_message(&mut out, &self.message);
        out.finish()
    }

    pub(crate) fn decode(mut reader: Reader) -> Result<Self, Damage> {
        let change = reader.u64()?;
        let publisher = match change & HAS_PUBLISHER {
            0 => None,
            _ => Some(take_subject(&mut reader)?),
        };
        let message = Arc::new(take_message(reader)?);
        Ok(Self { change: change & !HAS_PUBLISHER, message, publisher })
    }
}

/// What numbers were given out, and how many groups were committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The number of the group that this was written with.
    pub(crate) commit: u64,
    /// The next session's number.
    pub(crate) session: u64,
    /// The number of the next message that is stored once for several sessions.
    pub(crate) message: u64,
}

impl Counters {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(32);
        out.u64(self.commit);
        out.u64(self.session);
        out.u64(self.message);
        out.finish()
    }

    pub(crate) fn decode(value: Bytes) -> Result<Self, Damage> {
        let mut reader = Reader::new(value)?;
        let counters =
            Self { commit: reader.u64()?, session: reader.u64()?, message: reader.u64()? };
        reader.end()?;
        Ok(counters)
    }
}

/// A message that is stored once for several sessions.
pub(crate) fn encode_message(message: &Message) -> Vec<u8> {
    let mut out = Writer::new(message.size() + OVERHEAD);
    put_message(&mut out, message);
    out.finish()
}

/// See [`encode_message`].
pub(crate) fn decode_message(value: Bytes) -> Result<Message, Damage> {
    take_message(Reader::new(value)?)
}

/// A QoS 2 exchange that awaits its release: all is in the key.
pub(crate) fn encode_received() -> Vec<u8> {
    Writer::new(1).finish()
}
