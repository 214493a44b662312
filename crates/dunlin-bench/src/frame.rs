//! MQTT frames made and read by hand: only what the load and the relay send and receive.

use thiserror::Error;

/// First byte of CONNECT.
pub const CONNECT: u8 = 0x10;
/// First byte of CONNACK.
pub const CONNACK: u8 = 0x20;
/// Packet type of PUBLISH, in the high four bits; the low ones hold DUP, QoS and RETAIN.
pub const PUBLISH: u8 = 0x30;
/// First byte of PUBACK.
pub const PUBACK: u8 = 0x40;
/// First byte of PUBREC.
pub const PUBREC: u8 = 0x50;
/// First byte of PUBREL, whose reserved bits are 0010 [MQTT3-3.6.1-1].
pub const PUBREL: u8 = 0x62;
/// First byte of PUBCOMP.
pub const PUBCOMP: u8 = 0x70;
/// First byte of SUBSCRIBE, whose reserved bits are 0010 [MQTT3-3.8.1-1].
pub const SUBSCRIBE: u8 = 0x82;
/// First byte of SUBACK.
pub const SUBACK: u8 = 0x90;
/// First byte of UNSUBSCRIBE, whose reserved bits are 0010 [MQTT3-3.10.1-1].
pub const UNSUBSCRIBE: u8 = 0xA2;
/// First byte of UNSUBACK.
pub const UNSUBACK: u8 = 0xB0;
/// First byte of PINGREQ.
pub const PINGREQ: u8 = 0xC0;
/// First byte of PINGRESP.
pub const PINGRESP: u8 = 0xD0;
/// First byte of DISCONNECT.
pub const DISCONNECT: u8 = 0xE0;

/// Bytes that the peer sent and that are no frame, or not the frame that was due.
#[derive(Debug, Clone, Copy, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The Remaining Length has more than four bytes.
    #[error("remaining length has more than four bytes")]
    RemainingLength,
    /// The body ends before the fields that its type demands.
    #[error("packet {0:#04x} is too short")]
    TooShort(u8),
    /// QoS 3 does not exist [MQTT3-3.3.1-4].
    #[error("publish with qos 3")]
    QoS,
}

/// One control packet, still in the buffer that it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type and flags.
    pub first: u8,
    /// Everything after the fixed header.
    pub body: &'a [u8],
    /// Bytes of the whole frame, fixed header included.
    pub len: usize,
}

/// The parts of a PUBLISH that the load looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// QoS, 0 to 2.
    pub qos: u8,
    /// Packet Identifier; 0 at QoS 0, where there is none.
    pub packet_identifier: u16,
    /// The Application Message's payload.
    pub payload: &'a [u8],
}

/// Takes the first frame off `bytes`, or `None` while it is incomplete.
///
/// # Errors
/// [`FrameError::RemainingLength`] when no further byte could complete the frame.
#[inline]
pub fn split_frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(&[first, length]) = bytes.first_chunk() else { return Ok(None) };
    let (start, remaining) = if length < 0x80 {
        (2, usize::from(length))
    } else {
        match long_remaining_length(bytes)? {
            Some(found) => found,
            None => return Ok(None),
        }
    };
    let len = start + remaining;
    Ok(bytes.get(start..len).map(|body| Frame { first, body, len }))
}

/// Where the body starts and how long it is, when the length takes more than one byte.
fn long_remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    let mut remaining = 0;
    for (index, &byte) in bytes[1..].iter().take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Ok(Some((index + 2, remaining)));
        }
    }
    if bytes.len() > 4 { Err(FrameError::RemainingLength) } else { Ok(None) }
}

impl<'a> Frame<'a> {
    /// True for PUBLISH with any flags.
    #[inline]
    pub fn is_publish(&self) -> bool {
        self.first & 0xF0 == PUBLISH
    }

    /// Reads the frame as a PUBLISH; only meaningful if [`Frame::is_publish`].
    ///
    /// # Errors
    /// [`FrameError::TooShort`] or [`FrameError::QoS`] when the body is not one.
    #[inline]
    pub fn publish(&self) -> Result<Publish<'a>, FrameError> {
        let short = FrameError::TooShort(self.first);
        let Some((&topic_len, rest)) = self.body.split_first_chunk() else { return Err(short) };
        let Some(rest) = rest.get(usize::from(u16::from_be_bytes(topic_len))..) else {
            return Err(short);
        };
        match (self.first >> 1) & 3 {
            0 => Ok(Publish { qos: 0, packet_identifier: 0, payload: rest }),
            3 => Err(FrameError::QoS),
            qos => match rest.split_first_chunk() {
                Some((&identifier, payload)) => {
                    Ok(Publish { qos, packet_identifier: u16::from_be_bytes(identifier), payload })
                }
                None => Err(short),
            },
        }
    }

    /// The Packet Identifier with which the body of every acknowledgement begins.
    ///
    /// # Errors
    /// [`FrameError::TooShort`] when there is none.
    #[inline]
    pub fn packet_identifier(&self) -> Result<u16, FrameError> {
        match self.body.first_chunk() {
            Some(&identifier) => Ok(u16::from_be_bytes(identifier)),
            None => Err(FrameError::TooShort(self.first)),
        }
    }
}

/// Appends a CONNECT with a Keep Alive of 18 hours: some brokers refuse a client without one.
pub fn push_connect(out: &mut Vec<u8>, client_identifier: &str, clean_session: bool) {
    let mut body = b"\x00\x04MQTT\x04".to_vec();
    body.extend_from_slice(&[if clean_session { 2 } else { 0 }, 0xFF, 0xFF]);
    push_string(&mut body, client_identifier.as_bytes());
    push_frame(out, CONNECT, &body);
}

/// Appends a SUBSCRIBE to one Topic Filter.
pub fn push_subscribe(out: &mut Vec<u8>, packet_identifier: u16, topic_filter: &str, qos: u8) {
    let mut body = packet_identifier.to_be_bytes().to_vec();
    push_string(&mut body, topic_filter.as_bytes());
    body.push(qos);
    push_frame(out, SUBSCRIBE, &body);
}

/// Appends a PUBLISH; `packet_identifier` is left out at QoS 0.
pub fn push_publish(
    out: &mut Vec<u8>,
    qos: u8,
    topic_name: &str,
    packet_identifier: u16,
    payload: &[u8],
) {
    let mut body = Vec::with_capacity(topic_name.len() + payload.len() + 4);
    push_string(&mut body, topic_name.as_bytes());
    if qos > 0 {
        body.extend_from_slice(&packet_identifier.to_be_bytes());
    }
    body.extend_from_slice(payload);
    push_frame(out, PUBLISH | qos << 1, &body);
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP.
#[inline]
pub fn push_ack(out: &mut Vec<u8>, first: u8, packet_identifier: u16) {
    let [high, low] = packet_identifier.to_be_bytes();
    out.extend_from_slice(&[first, 2, high, low]);
}

/// Appends a frame of a given first byte and body.
pub fn push_frame(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    push_head(out, first, body.len());
    out.extend_from_slice(body);
}

/// Appends the fixed header of a frame with so many bytes behind it.
///
/// # Panics
/// If the standard can't express so many.
pub fn push_head(out: &mut Vec<u8>, first: u8, mut remaining: usize) {
    assert!(remaining < 1 << 28, "a frame of ours exceeds what the standard can express");
    out.push(first);
    loop {
        let low = (remaining & 0x7F) as u8;
        remaining >>= 7;
        if remaining == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
}

/// Appends a text or binary data with its length.
///
/// # Panics
/// If it is longer than 65,535 bytes.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    let len = u16::try_from(text.len()).expect("what is sent here is short");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests;
