//! Application Messages as stored values.

use super::bytes::{Damage, Reader, Writer, known_flags, qos_of};
use dunlin_protocol::codec::{MessageProperties, QoS};
use dunlin_protocol::{Instant, Message};
use std::sync::Arc;

const RETAIN: u8 = 1 << 2;
const EXPIRES: u8 = 1 << 3;
const PROPERTIES: u8 = 1 << 4;

const PAYLOAD_FORMAT: u8 = 1 << 0;
const IS_UTF8: u8 = 1 << 1;
const CONTENT_TYPE: u8 = 1 << 2;
const RESPONSE_TOPIC: u8 = 1 << 3;
const CORRELATION_DATA: u8 = 1 << 4;
const USER_PROPERTIES: u8 = 1 << 5;

/// Bytes of a message beside its own, so that a value is allocated once.
pub(crate) const OVERHEAD: usize = 32;

/// Appends a message as the last part of a value: flags, when it expires, Topic Name, properties,
/// and the payload to the end.
pub(crate) fn put_message(out: &mut Writer, message: &Message) {
    let mut flags = message.qos.value();
    flags |= if message.retain { RETAIN } else { 0 };
    flags |= if message.expires_at.is_some() { EXPIRES } else { 0 };
    flags |= if message.properties.is_some() { PROPERTIES } else { 0 };
    out.u8(flags);
    if let Some(expires_at) = message.expires_at {
        out.u64(expires_at.as_micros());
    }
    out.short(message.topic_name.as_text().as_bytes());
    if let Some(properties) = &message.properties {
        put_properties(out, properties);
    }
    out.rest(&message.payload);
}

fn put_properties(out: &mut Writer, properties: &MessageProperties) {
    let mut flags = 0;
    flags |= match properties.payload_format_indicator {
        None => 0,
        Some(false) => PAYLOAD_FORMAT,
        Some(true) => PAYLOAD_FORMAT | IS_UTF8,
    };
    flags |= if properties.content_type.is_some() { CONTENT_TYPE } else { 0 };
    flags |= if properties.response_topic.is_some() { RESPONSE_TOPIC } else { 0 };
    flags |= if properties.correlation_data.is_some() { CORRELATION_DATA } else { 0 };
    flags |= if properties.user_properties.is_empty() { 0 } else { USER_PROPERTIES };
    out.u8(flags);
    if let Some(content_type) = &properties.content_type {
        out.short(content_type.as_bytes());
    }
    if let Some(response_topic) = &properties.response_topic {
        out.short(response_topic.as_text().as_bytes());
    }
    if let Some(correlation_data) = &properties.correlation_data {
        out.short(correlation_data);
    }
    if !properties.user_properties.is_empty() {
        // A packet of 256 MiB has fewer of them than this can count.
        out.u32(u32::try_from(properties.user_properties.len()).unwrap_or(u32::MAX));
        for (name, value) in &properties.user_properties {
            out.short(name.as_bytes());
            out.short(value.as_bytes());
        }
    }
}

/// Takes a message that is the rest of a value. Its parts are slices of the value.
pub(crate) fn take_message(mut reader: Reader) -> Result<Message, Damage> {
    let flags = reader.u8()?;
    let qos: QoS = qos_of(flags)?;
    known_flags(flags, 0b11 | RETAIN | EXPIRES | PROPERTIES)?;
    let expires_at = match flags & EXPIRES {
        0 => None,
        _ => Some(Instant::from_micros(reader.u64()?)),
    };
    let topic_name = reader.topic_name()?;
    let properties = match flags & PROPERTIES {
        0 => None,
        _ => Some(Arc::new(take_properties(&mut reader)?)),
    };
    let retain = flags & RETAIN != 0;
    Ok(Message { topic_name, payload: reader.rest(), qos, retain, expires_at, properties })
}

fn take_properties(reader: &mut Reader) -> Result<MessageProperties, Damage> {
    let mut properties = MessageProperties::default();
    let flags = reader.u8()?;
    let known = PAYLOAD_FORMAT | IS_UTF8 | CONTENT_TYPE | RESPONSE_TOPIC;
    known_flags(flags, known | CORRELATION_DATA | USER_PROPERTIES)?;
    properties.payload_format_indicator = match flags & (PAYLOAD_FORMAT | IS_UTF8) {
        0 => None,
        PAYLOAD_FORMAT => Some(false),
        IS_UTF8 => return Err(Damage::Impossible),
        _ => Some(true),
    };
    if flags & CONTENT_TYPE != 0 {
        properties.content_type = Some(reader.text()?);
    }
    if flags & RESPONSE_TOPIC != 0 {
        properties.response_topic = Some(reader.topic_name()?);
    }
    if flags & CORRELATION_DATA != 0 {
        properties.correlation_data = Some(reader.short()?);
    }
    if flags & USER_PROPERTIES != 0 {
        // Nothing is set aside for a number that may be damaged: each takes four bytes at least.
        let mut user_properties = Vec::new();
        for _ in 0..reader.u32()? {
            user_properties.push((reader.text()?, reader.text()?));
        }
        properties.user_properties = user_properties;
    }
    Ok(properties)
}
