//! The packets of MQTT 5.0 that producers and consumers write and read.

use anyhow::{Context, Result, bail, ensure};

use crate::frame::{self, CONNACK, CONNECT, Frame, PUBACK, PUBLISH, SUBSCRIBE};

/// Property identifier of Session Expiry Interval.
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;

/// Bytes of the fields of a message that its producer has written at the start of the payload.
pub const PAYLOAD_MIN: usize = 8;

/// The place of the message that each producer sends last.
pub(super) const LAST: u32 = u32::MAX;

/// Who has sent a message, and which of its messages it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) producer: u32,
    pub(super) sequence: u32,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The broker has taken the message.
    Acknowledged,
    /// It has no room for it (0x97, Quota exceeded).
    Refused,
}

/// A CONNECT without Keep Alive, for the Session that is there, which outlives its connection by an hour.
pub(super) fn push_connect(out: &mut Vec<u8>, client_identifier: &str) {
    let mut body = b"\x00\x04MQTT\x05\x00\x00\x00\x05".to_vec();
    body.push(SESSION_EXPIRY_INTERVAL);
    body.extend_from_slice(&3600_u32.to_be_bytes());
    frame::push_string(&mut body, client_identifier.as_bytes());
    frame::push_frame(out, CONNECT, &body);
}

/// A SUBSCRIBE to all of these Topic Filters.
pub(super) fn push_subscribe(out: &mut Vec<u8>, topic_filters: &[&str], qos: u8) {
    let mut body = vec![0, 1, 0];
    for topic_filter in topic_filters {
        frame::push_string(&mut body, topic_filter.as_bytes());
        body.push(qos);
    }
    frame::push_frame(out, SUBSCRIBE, &body);
}

/// A PUBLISH at QoS 1, its payload filled up to a length.
pub(super) fn push_publish(
    out: &mut Vec<u8>,
    topic_name: &str,
    packet_identifier: u16,
    stamp: Stamp,
    payload_len: usize,
) {
    let mut body = Vec::with_capacity(topic_name.len() + payload_len + 5);
    frame::push_string(&mut body, topic_name.as_bytes());
    body.extend_from_slice(&packet_identifier.to_be_bytes());
    body.push(0);
    let end = body.len() + payload_len;
    body.extend_from_slice(&stamp.producer.to_be_bytes());
    body.extend_from_slice(&stamp.sequence.to_be_bytes());
    body.resize(end, 0xA5);
    frame::push_frame(out, PUBLISH | 1 << 1, &body);
}

/// Whether the Session was there.
pub(super) fn session_present(frame: &Frame<'_>) -> Result<bool> {
    ensure!(frame.first == CONNACK, "{:#04x} in place of CONNACK", frame.first);
    match frame.body {
        [flags, 0, ..] => Ok(flags & 1 == 1),
        body => bail!("refused: CONNACK {body:02x?}"),
    }
}

/// The Packet Identifier of a PUBACK, and what it says.
pub(super) fn answer(frame: &Frame<'_>) -> Result<(u16, Answer)> {
    ensure!(frame.first == PUBACK, "the broker sends {:#04x} {:02x?}", frame.first, frame.body);
    let answer = match frame.body.get(2) {
        None | Some(0) => Answer::Acknowledged,
        Some(0x97) => Answer::Refused,
        Some(code) => bail!("PUBACK with {code:#04x}"),
    };
    Ok((frame.packet_identifier()?, answer))
}

/// The parts of a PUBLISH without properties that has come.
pub(super) struct Arrived<'a> {
    pub(super) topic_name: &'a [u8],
    /// 0 at QoS 0.
    pub(super) packet_identifier: u16,
    pub(super) payload: &'a [u8],
}

impl<'a> Arrived<'a> {
    pub(super) fn read(frame: &Frame<'a>) -> Result<Self> {
        ensure!(frame.is_publish(), "the broker sends {:#04x} {:02x?}", frame.first, frame.body);
        Self::parts(frame).context("a PUBLISH that is too short, or has properties")
    }

    fn parts(frame: &Frame<'a>) -> Option<Self> {
        let (len, rest) = frame.body.split_first_chunk()?;
        let (topic_name, mut rest) = rest.split_at_checked(u16::from_be_bytes(*len).into())?;
        let mut packet_identifier = 0;
        if frame.first >> 1 & 3 > 0 {
            let (identifier, behind) = rest.split_first_chunk()?;
            packet_identifier = u16::from_be_bytes(*identifier);
            rest = behind;
        }
        let payload = rest.strip_prefix(&[0])?;
        Some(Self { topic_name, packet_identifier, payload })
    }

    pub(super) fn stamp(&self) -> Result<Stamp> {
        let words = self.payload.split_first_chunk().and_then(|(producer, rest)| {
            let sequence = rest.first_chunk()?;
            Some((u32::from_be_bytes(*producer), u32::from_be_bytes(*sequence)))
        });
        let (producer, sequence) = words.context("a message that is none of ours")?;
        Ok(Stamp { producer, sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let stamp = Stamp { producer: 3, sequence: 70_000 };
        let mut bytes = Vec::new();
        push_publish(&mut bytes, "a/b", 9, stamp, 200);
        let frame = frame::split_frame(&bytes).unwrap().unwrap();
        assert_eq!(frame.len, bytes.len());
        let arrived = Arrived::read(&frame).unwrap();
        assert_eq!((arrived.topic_name, arrived.packet_identifier), (&b"a/b"[..], 9));
        assert_eq!((arrived.payload.len(), arrived.stamp().unwrap()), (200, stamp));
    }

    #[test]
    fn answers_are_told_apart() {
        let answer = |bytes: &[u8]| answer(&frame::split_frame(bytes).unwrap().unwrap()).ok();
        assert_eq!(answer(b"\x40\x02\x00\x07"), Some((7, Answer::Acknowledged)));
        assert_eq!(answer(b"\x40\x03\x00\x07\x97"), Some((7, Answer::Refused)));
        assert_eq!(answer(b"\x40\x03\x00\x07\x10"), None, "somebody has subscribed");
        assert_eq!(answer(b"\xE0\x01\x97"), None);
    }
}
