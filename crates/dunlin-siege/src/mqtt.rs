//! Packets of MQTT 5.0 as hostile clients write them, and the little that they read of answers.

use dunlin_bench::frame::{self, CONNECT, Frame, PUBLISH, SUBSCRIBE, push_frame, push_string};

/// Property identifier of a User Property.
const USER_PROPERTY: u8 = 0x26;

/// Property identifier of Session Expiry Interval.
const SESSION_EXPIRY_INTERVAL: u8 = 0x11;

/// Appends a Variable Byte Integer.
fn push_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

/// Appends properties with their length.
fn push_properties(out: &mut Vec<u8>, properties: &[u8]) {
    push_varint(out, properties.len());
    out.extend_from_slice(properties);
}

/// So many User Properties, short ones.
pub(crate) fn user_properties(count: usize) -> Vec<u8> {
    let mut properties = Vec::new();
    for _ in 0..count {
        properties.push(USER_PROPERTY);
        push_string(&mut properties, b"k");
        push_string(&mut properties, b"v");
    }
    properties
}

/// A Session Expiry Interval of an hour.
pub(crate) fn session_expiry() -> Vec<u8> {
    [&[SESSION_EXPIRY_INTERVAL][..], &3600_u32.to_be_bytes()].concat()
}

/// Appends a CONNECT without credentials.
pub(crate) fn push_connect(
    out: &mut Vec<u8>,
    client_identifier: &str,
    clean_start: bool,
    keep_alive_secs: u16,
    properties: &[u8],
) {
    let mut body = b"\x00\x04MQTT\x05".to_vec();
    body.push(if clean_start { 2 } else { 0 });
    body.extend_from_slice(&keep_alive_secs.to_be_bytes());
    push_properties(&mut body, properties);
    push_string(&mut body, client_identifier.as_bytes());
    push_frame(out, CONNECT, &body);
}

/// Appends a PUBLISH of QoS 1.
pub(crate) fn push_publish(
    out: &mut Vec<u8>,
    topic_name: &str,
    packet_identifier: u16,
    properties: &[u8],
    payload: &[u8],
) {
    let mut body = Vec::with_capacity(topic_name.len() + properties.len() + payload.len() + 8);
    push_string(&mut body, topic_name.as_bytes());
    body.extend_from_slice(&packet_identifier.to_be_bytes());
    push_properties(&mut body, properties);
    body.extend_from_slice(payload);
    push_frame(out, PUBLISH | 1 << 1, &body);
}

/// Appends a SUBSCRIBE to all of these Topic Filters at QoS 1.
pub(crate) fn push_subscribe(
    out: &mut Vec<u8>,
    packet_identifier: u16,
    topic_filters: impl IntoIterator<Item = String>,
) {
    let mut body = packet_identifier.to_be_bytes().to_vec();
    body.push(0);
    for topic_filter in topic_filters {
        push_string(&mut body, topic_filter.as_bytes());
        body.push(1);
    }
    push_frame(out, SUBSCRIBE, &body);
}

/// Calls `handle` with each whole frame; gives how many bytes these were, and whether what follows
/// is no MQTT.
pub(crate) fn frames(input: &[u8], mut handle: impl FnMut(&Frame<'_>)) -> (usize, bool) {
    let mut used = 0;
    loop {
        match frame::split_frame(&input[used..]) {
            Ok(Some(frame)) => {
                used += frame.len;
                handle(&frame);
            }
            Ok(None) => return (used, false),
            Err(_) => return (input.len(), true),
        }
    }
}

/// The Reason Code of a CONNACK.
pub(crate) fn connack_code(frame: &Frame<'_>) -> u8 {
    frame.body.get(1).copied().unwrap_or(0xFF)
}

/// The Reason Code of a PUBACK.
pub(crate) fn puback_code(frame: &Frame<'_>) -> u8 {
    frame.body.get(2).copied().unwrap_or(0)
}

/// The Reason Codes of a SUBACK.
pub(crate) fn suback_codes<'a>(frame: &Frame<'a>) -> &'a [u8] {
    let behind = frame.body.get(2..).unwrap_or_default();
    let Some((len, start)) = varint(behind) else { return &[] };
    behind.get(start + len..).unwrap_or_default()
}

/// The Packet Identifier, if there is one, and the payload of a PUBLISH.
pub(crate) fn publish_parts<'a>(frame: &Frame<'a>) -> Option<(Option<u16>, &'a [u8])> {
    let (len, rest) = frame.body.split_first_chunk()?;
    let mut rest = rest.get(usize::from(u16::from_be_bytes(*len))..)?;
    let mut packet_identifier = None;
    if (frame.first >> 1) & 3 > 0 {
        let (identifier, behind) = rest.split_first_chunk()?;
        packet_identifier = Some(u16::from_be_bytes(*identifier));
        rest = behind;
    }
    let (len, start) = varint(rest)?;
    Some((packet_identifier, rest.get(start + len..)?))
}

/// A Variable Byte Integer and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut bytes = Vec::new();
        push_publish(&mut bytes, "a/b", 7, &user_properties(30), b"payload");
        let whole = bytes.len();
        bytes.extend_from_slice(b"\x90\x06\x00\x01\x00\x01\x97");
        let mut seen = Vec::new();
        let (used, is_broken) = frames(&bytes, |frame| {
            let (packet_identifier, payload) = publish_parts(frame).expect("a PUBLISH");
            seen.push((packet_identifier, payload.to_vec()));
        });
        assert_eq!((used, is_broken), (whole, false));
        assert_eq!(seen, [(Some(7), b"payload".to_vec())]);
    }

    #[test]
    fn reason_codes_are_found_behind_properties() {
        let code =
            |bytes: &[u8]| suback_codes(&frame::split_frame(bytes).unwrap().unwrap()).to_vec();
        assert_eq!(code(b"\x90\x05\x00\x01\x00\x01\x97"), [1, 0x97]);
        assert_eq!(code(b"\x90\x09\x00\x01\x04\x1F\x00\x01x\x01\x97"), [1, 0x97]);
        assert_eq!(code(b"\x90\x01\x00"), [0_u8; 0]);
        let frame = |bytes| frame::split_frame(bytes).unwrap().unwrap();
        assert_eq!(puback_code(&frame(b"\x40\x02\x00\x01")), 0);
        assert_eq!(puback_code(&frame(b"\x40\x04\x00\x01\x97\x00")), 0x97);
        assert_eq!(connack_code(&frame(b"\x20\x03\x00\x86\x00")), 0x86);
    }
}
