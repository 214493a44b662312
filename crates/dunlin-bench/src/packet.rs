//! The control packets of a client in both versions, made and read by hand.

use crate::frame::{
    self, CONNECT, DISCONNECT, Frame, FrameError, SUBSCRIBE, UNSUBSCRIBE, push_frame, push_string,
};
use crate::plan::Version;

/// How long a Session outlives its connection, in seconds: longer than any absence of a run.
const SESSION_EXPIRY_SECS: u32 = 3600;

/// The longest Keep Alive there is: some brokers refuse a client without one.
pub(crate) const KEEP_ALIVE_SECS: u16 = u16::MAX;

/// Property identifiers of CONNECT, DISCONNECT and CONNACK that have numbers.
mod property {
    pub(super) const SESSION_EXPIRY_INTERVAL: u8 = 0x11;
    pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
    pub(super) const MAXIMUM_QOS: u8 = 0x24;
    pub(super) const RETAIN_AVAILABLE: u8 = 0x25;
    pub(super) const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub(super) const WILDCARDS_AVAILABLE: u8 = 0x28;
    pub(super) const SHARED_AVAILABLE: u8 = 0x2A;
    pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    pub(super) const SUBSCRIPTION_IDENTIFIERS_AVAILABLE: u8 = 0x29;
    pub(super) const USER_PROPERTY: u8 = 0x26;
}

/// What a CONNECT says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello<'a> {
    pub(crate) client_identifier: &'a str,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    /// Ask for the old Session, and that this one be kept.
    pub(crate) is_lasting: bool,
    /// Ask that the Session be kept although the old one is to go, where the version can say that.
    pub(crate) keeps_session: bool,
    pub(crate) will: Option<Will<'a>>,
}

/// What the broker has to publish when the connection ends without a DISCONNECT.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Will<'a> {
    pub(crate) topic_name: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
}

/// What a CONNACK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnAck {
    pub(crate) session_present: bool,
    pub(crate) code: u8,
    pub(crate) receive_maximum: u16,
    pub(crate) qos_max: u8,
    pub(crate) packet_size_max: u32,
    pub(crate) retain: bool,
    pub(crate) wildcards: bool,
    pub(crate) shared: bool,
    pub(crate) keep_alive_secs: u16,
}

/// The parts of a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Publish<'a> {
    pub(crate) topic_name: &'a [u8],
    pub(crate) qos: u8,
    /// 0 at QoS 0, where there is none.
    pub(crate) packet_identifier: u16,
    pub(crate) payload: &'a [u8],
}

pub(crate) fn push_connect(out: &mut Vec<u8>, version: Version, hello: &Hello<'_>) {
    let mut body = b"\x00\x04MQTT".to_vec();
    body.push(if version == Version::V5 { 5 } else { 4 });
    let mut flags = if hello.is_lasting { 0 } else { 0x02 };
    flags |= hello.will.map_or(0, |will| 0x04 | will.qos << 3);
    flags |= if hello.user_name.is_some() { 0x80 } else { 0 };
    flags |= if hello.password.is_some() { 0x40 } else { 0 };
    body.push(flags);
    body.extend_from_slice(&KEEP_ALIVE_SECS.to_be_bytes());
    if version == Version::V5 {
        if hello.is_lasting || hello.keeps_session {
            body.extend_from_slice(&[5, property::SESSION_EXPIRY_INTERVAL]);
            body.extend_from_slice(&SESSION_EXPIRY_SECS.to_be_bytes());
        } else {
            body.push(0);
        }
    }
    push_string(&mut body, hello.client_identifier.as_bytes());
    if let Some(will) = hello.will {
        if version == Version::V5 {
            body.push(0);
        }
        push_string(&mut body, will.topic_name.as_bytes());
        push_string(&mut body, will.payload);
    }
    if let Some(user_name) = hello.user_name {
        push_string(&mut body, user_name.as_bytes());
    }
    if let Some(password) = hello.password {
        push_string(&mut body, password);
    }
    push_frame(out, CONNECT, &body);
}

pub(crate) fn push_subscribe(
    out: &mut Vec<u8>,
    version: Version,
    packet_identifier: u16,
    topic_filters: &[String],
    qos: u8,
) {
    let mut body = start_of_request(version, packet_identifier);
    for topic_filter in topic_filters {
        push_string(&mut body, topic_filter.as_bytes());
        body.push(qos);
    }
    push_frame(out, SUBSCRIBE, &body);
}

pub(crate) fn push_unsubscribe(
    out: &mut Vec<u8>,
    version: Version,
    packet_identifier: u16,
    topic_filters: &[String],
) {
    let mut body = start_of_request(version, packet_identifier);
    for topic_filter in topic_filters {
        push_string(&mut body, topic_filter.as_bytes());
    }
    push_frame(out, UNSUBSCRIBE, &body);
}

fn start_of_request(version: Version, packet_identifier: u16) -> Vec<u8> {
    let mut body = packet_identifier.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body
}

/// A DISCONNECT, with which the Session ends as well where the version has a word for it.
pub(crate) fn push_disconnect(out: &mut Vec<u8>, version: Version, ends_session: bool) {
    if version == Version::V5 && ends_session {
        let body = [0, 5, property::SESSION_EXPIRY_INTERVAL, 0, 0, 0, 0];
        push_frame(out, DISCONNECT, &body);
    } else {
        push_frame(out, DISCONNECT, &[]);
    }
}

/// The fixed and variable header of a PUBLISH with a payload of `payload_len` bytes. Its Packet
/// Identifier is 0; [`identifier_before_payload`] tells where it goes.
pub(crate) fn publish_head(
    version: Version,
    first: u8,
    topic_name: &str,
    payload_len: usize,
) -> Vec<u8> {
    let mut variable = Vec::with_capacity(topic_name.len() + 5);
    push_string(&mut variable, topic_name.as_bytes());
    if first & 0b110 != 0 {
        variable.extend_from_slice(&[0, 0]);
    }
    if version == Version::V5 {
        variable.push(0);
    }
    let mut head = Vec::with_capacity(variable.len() + 5);
    frame::push_head(&mut head, first, variable.len() + payload_len);
    head.extend_from_slice(&variable);
    head
}

/// How far before the payload the Packet Identifier begins.
pub(crate) const fn identifier_before_payload(version: Version) -> usize {
    match version {
        Version::V311 => 2,
        Version::V5 => 3,
    }
}

/// Reads a PUBLISH.
#[inline]
pub(crate) fn read_publish<'a>(
    version: Version,
    frame: &Frame<'a>,
) -> Result<Publish<'a>, FrameError> {
    let short = FrameError::TooShort(frame.first);
    let Some((&len, rest)) = frame.body.split_first_chunk() else { return Err(short) };
    let len = usize::from(u16::from_be_bytes(len));
    let Some((topic_name, mut rest)) = rest.split_at_checked(len) else { return Err(short) };
    let qos = (frame.first >> 1) & 3;
    let mut packet_identifier = 0;
    if qos == 3 {
        return Err(FrameError::QoS);
    }
    if qos > 0 {
        let Some((&identifier, behind)) = rest.split_first_chunk() else { return Err(short) };
        packet_identifier = u16::from_be_bytes(identifier);
        rest = behind;
    }
    if version == Version::V5 {
        // Mostly there are none.
        rest = match rest.split_first() {
            Some((0, behind)) => behind,
            _ => split_properties(rest).ok_or(short)?.1,
        };
    }
    Ok(Publish { topic_name, qos, packet_identifier, payload: rest })
}

/// The Reason Code of an acknowledgement; 0 where it has none.
#[inline]
pub(crate) fn reason_code(frame: &Frame<'_>) -> u8 {
    frame.body.get(2).copied().unwrap_or(0)
}

/// The Reason Codes or return codes of a SUBACK.
pub(crate) fn suback_codes<'a>(
    version: Version,
    frame: &Frame<'a>,
) -> Result<&'a [u8], FrameError> {
    let short = FrameError::TooShort(frame.first);
    let rest = frame.body.get(2..).ok_or(short)?;
    match version {
        Version::V311 => Ok(rest),
        Version::V5 => Ok(split_properties(rest).ok_or(short)?.1),
    }
}

/// Reads a CONNACK. Properties that it does not know end the reading of properties.
pub(crate) fn read_connack(version: Version, frame: &Frame<'_>) -> Result<ConnAck, FrameError> {
    let short = FrameError::TooShort(frame.first);
    let Some((&[flags, code], rest)) = frame.body.split_first_chunk() else { return Err(short) };
    let mut connack = ConnAck {
        session_present: flags & 1 == 1,
        code,
        receive_maximum: u16::MAX,
        qos_max: 2,
        packet_size_max: u32::MAX,
        retain: true,
        wildcards: true,
        shared: true,
        keep_alive_secs: 0,
    };
    if version == Version::V5
        && let Some((mut properties, _)) = split_properties(rest)
    {
        while let Some(behind) = take_property(properties, &mut connack) {
            properties = behind;
        }
    }
    Ok(connack)
}

fn take_property<'a>(properties: &'a [u8], connack: &mut ConnAck) -> Option<&'a [u8]> {
    let (&identifier, rest) = properties.split_first()?;
    let len = match identifier {
        property::MAXIMUM_QOS | property::RETAIN_AVAILABLE => 1,
        property::WILDCARDS_AVAILABLE | property::SHARED_AVAILABLE => 1,
        property::SUBSCRIPTION_IDENTIFIERS_AVAILABLE => 1,
        property::RECEIVE_MAXIMUM | property::SERVER_KEEP_ALIVE => 2,
        property::TOPIC_ALIAS_MAXIMUM => 2,
        property::MAXIMUM_PACKET_SIZE | property::SESSION_EXPIRY_INTERVAL => 4,
        property::USER_PROPERTY => return skip_text(skip_text(rest)?),
        // Assigned Client Identifier, Authentication Method and Data, Response Information, Server
        // Reference, Reason String.
        0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => return skip_text(rest),
        _ => return None,
    };
    let (bytes, rest) = rest.split_at_checked(len)?;
    let value = bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
    match identifier {
        property::RECEIVE_MAXIMUM => connack.receive_maximum = value as u16,
        property::SERVER_KEEP_ALIVE => connack.keep_alive_secs = value as u16,
        property::MAXIMUM_PACKET_SIZE => connack.packet_size_max = value,
        property::MAXIMUM_QOS => connack.qos_max = value as u8,
        property::RETAIN_AVAILABLE => connack.retain = value != 0,
        property::WILDCARDS_AVAILABLE => connack.wildcards = value != 0,
        property::SHARED_AVAILABLE => connack.shared = value != 0,
        _ => {}
    }
    Some(rest)
}

fn skip_text(bytes: &[u8]) -> Option<&[u8]> {
    let (&len, rest) = bytes.split_first_chunk()?;
    rest.get(usize::from(u16::from_be_bytes(len))..)
}

/// Splits properties, without their length, from what follows them.
fn split_properties(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return bytes[index + 1..].split_at_checked(len);
        }
    }
    None
}

#[cfg(test)]
mod tests;
