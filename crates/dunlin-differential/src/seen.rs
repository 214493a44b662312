//! What a client sees of a broker, without what brokers may choose freely: Packet Identifiers,
//! aliases, optional properties.

use crate::script::{MARK, hexadecimal, replace};
use bytes::BytesMut;
use core::fmt;
use dunlin_codec::{
    Decoder, Delivery, Packet, PacketIdentifier, ProtocolVersion, Publish, PublishTopic, ReasonCode,
};
use std::collections::BTreeMap;

/// Something that a client sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    ConnAck {
        session_present: bool,
        reason_code: ReasonCode,
    },
    Publish(Message),
    PubAck(u16, ReasonCode),
    PubRec(u16, ReasonCode),
    PubComp(u16, ReasonCode),
    /// Of an identifier that the broker chose.
    PubRel(ReasonCode),
    SubAck(u16, Vec<ReasonCode>),
    UnsubAck(u16, Vec<ReasonCode>),
    Disconnect(ReasonCode),
    /// A packet that no client expects.
    Other(String),
    /// The Network Connection ended.
    Closed,
    /// No answer came in time.
    Silent,
}

/// A message as it arrives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) topic_name: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) subscription_identifiers: Vec<u32>,
    pub(crate) expires: bool,
    /// The properties that go through unaltered, as text.
    pub(crate) properties: String,
}

/// Makes [`Seen`] of the bytes of one Network Connection.
#[derive(Debug)]
pub(crate) struct Reader {
    version: ProtocolVersion,
    input: BytesMut,
    aliases: BTreeMap<u16, String>,
}

/// A packet from a broker: as it is compared, and the identifier that an answer needs.
#[derive(Debug)]
pub(crate) enum Read {
    Seen(Seen, Option<u16>),
    PingResp,
}

impl Reader {
    pub(crate) fn new(version: ProtocolVersion) -> Self {
        Self { version, input: BytesMut::new(), aliases: BTreeMap::new() }
    }

    pub(crate) fn take(&mut self, bytes: &[u8], run: &[u8; 8]) {
        let start = self.input.len();
        self.input.extend_from_slice(bytes);
        replace(&mut self.input[start.saturating_sub(run.len())..], run, MARK);
    }

    /// The next whole packet. After one that can't be read the rest is dropped.
    pub(crate) fn next(&mut self) -> Option<Read> {
        let before = self.input.clone();
        match Decoder::new(self.version, 1 << 28).decode(&mut self.input) {
            Ok(None) => None,
            Ok(Some(packet)) => Some(self.seen(packet)),
            Err(error) => {
                self.input.clear();
                let text = format!("{} ({error})", hexadecimal(&before));
                Some(Read::Seen(Seen::Other(text), None))
            }
        }
    }

    fn seen(&mut self, packet: Packet) -> Read {
        let mut answer = None;
        let seen = match packet {
            Packet::PingResp => return Read::PingResp,
            Packet::ConnAck(connack) => {
                // MQTT 3.1 has no such flag.
                let session_present =
                    connack.session_present && self.version != ProtocolVersion::V3_1;
                Seen::ConnAck { session_present, reason_code: connack.reason_code }
            }
            Packet::Publish(publish) => {
                answer = publish.delivery.packet_identifier().map(PacketIdentifier::value);
                Seen::Publish(self.message(&publish))
            }
            Packet::PubAck(ack) => Seen::PubAck(ack.packet_identifier.value(), ack.reason_code),
            Packet::PubRec(ack) => {
                answer = Some(ack.packet_identifier.value());
                Seen::PubRec(ack.packet_identifier.value(), ack.reason_code)
            }
            Packet::PubComp(ack) => Seen::PubComp(ack.packet_identifier.value(), ack.reason_code),
            Packet::PubRel(ack) => {
                answer = Some(ack.packet_identifier.value());
                Seen::PubRel(ack.reason_code)
            }
            Packet::SubAck(ack) => Seen::SubAck(ack.packet_identifier.value(), ack.reason_codes),
            Packet::UnsubAck(ack) => {
                Seen::UnsubAck(ack.packet_identifier.value(), ack.reason_codes)
            }
            Packet::Disconnect(disconnect) => Seen::Disconnect(disconnect.reason_code),
            other => Seen::Other(other.to_string()),
        };
        Read::Seen(seen, answer)
    }

    fn message(&mut self, publish: &Publish) -> Message {
        let topic_name = match &publish.topic {
            PublishTopic::Name(name) => name.as_str().to_owned(),
            PublishTopic::NameAndAlias(name, alias) => {
                self.aliases.insert(alias.value(), name.as_str().to_owned());
                name.as_str().to_owned()
            }
            PublishTopic::Alias(alias) => {
                let known = self.aliases.get(&alias.value()).cloned();
                known.unwrap_or_else(|| format!("(alias {} of nothing)", alias.value()))
            }
        };
        let mut subscription_identifiers: Vec<u32> =
            publish.subscription_identifiers.iter().map(|found| found.value()).collect();
        subscription_identifiers.sort_unstable();
        Message {
            topic_name,
            payload: publish.payload.to_vec(),
            qos: publish.delivery.qos().value(),
            dup: !matches!(publish.delivery, Delivery::AtMostOnce) && publish.delivery.dup(),
            retain: publish.retain,
            subscription_identifiers,
            expires: publish.message_expiry_interval.is_some(),
            properties: publish.properties.as_ref().map_or(String::new(), |set| format!("{set:?}")),
        }
    }
}

impl Seen {
    /// What it is, without identifiers and names.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Publish(message) => {
                let flag = |holds: bool, name: &str| {
                    if holds { format!(" {name}") } else { String::new() }
                };
                let (dup, retain) = (flag(message.dup, "dup"), flag(message.retain, "retain"));
                format!("PUBLISH q{}{dup}{retain}", message.qos)
            }
            Self::PubAck(_, reason_code) => format!("PUBACK {}", code(*reason_code)),
            Self::PubRec(_, reason_code) => format!("PUBREC {}", code(*reason_code)),
            Self::PubComp(_, reason_code) => format!("PUBCOMP {}", code(*reason_code)),
            Self::SubAck(_, reason_codes) => format!("SUBACK {}", codes(reason_codes)),
            Self::UnsubAck(_, reason_codes) => format!("UNSUBACK {}", codes(reason_codes)),
            Self::Other(_) => "something else".to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConnAck { session_present, reason_code } => {
                let present = if *session_present { " session_present" } else { "" };
                write!(f, "CONNACK {}{present}", code(*reason_code))
            }
            Self::Publish(message) => write!(f, "{message}"),
            Self::PubAck(id, reason_code) => write!(f, "PUBACK id={id} {}", code(*reason_code)),
            Self::PubRec(id, reason_code) => write!(f, "PUBREC id={id} {}", code(*reason_code)),
            Self::PubComp(id, reason_code) => write!(f, "PUBCOMP id={id} {}", code(*reason_code)),
            Self::PubRel(reason_code) => write!(f, "PUBREL {}", code(*reason_code)),
            Self::SubAck(id, reason_codes) => write!(f, "SUBACK id={id} {}", codes(reason_codes)),
            Self::UnsubAck(id, reason_codes) => {
                write!(f, "UNSUBACK id={id} {}", codes(reason_codes))
            }
            Self::Disconnect(reason_code) => write!(f, "DISCONNECT {}", code(*reason_code)),
            Self::Other(text) => f.write_str(text),
            Self::Closed => f.write_str("closed"),
            Self::Silent => f.write_str("(no answer)"),
        }
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PUBLISH q{} {:?}", self.qos, self.topic_name)?;
        write!(f, " {:?}", String::from_utf8_lossy(&self.payload))?;
        let flags = [(self.dup, " dup"), (self.retain, " retain"), (self.expires, " expires")];
        for (holds, name) in flags {
            f.write_str(if holds { name } else { "" })?;
        }
        if !self.subscription_identifiers.is_empty() {
            write!(f, " subscriptions={:?}", self.subscription_identifiers)?;
        }
        write!(f, " {}", self.properties)
    }
}

fn code(reason_code: ReasonCode) -> String {
    format!("{:02x}", reason_code.value())
}

fn codes(reason_codes: &[ReasonCode]) -> String {
    reason_codes.iter().map(|reason_code| code(*reason_code)).collect::<Vec<_>>().join(" ")
}
