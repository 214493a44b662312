//! Frames as they stand on the wire.

use super::*;

#[track_caller]
fn check_split(bytes: &[u8], expected: impl Into<Option<(u8, usize, usize)>>) {
    let frame = split_frame(bytes).unwrap();
    let found = frame.map(|frame| (frame.first, frame.body.len(), frame.len));
    assert_eq!(found, expected.into(), "{bytes:02x?}");
}

#[test]
fn frames_are_split_only_when_whole() {
    check_split(&[], None);
    check_split(&[PINGREQ], None);
    check_split(&[PINGREQ, 0], (PINGREQ, 0, 2));
    check_split(&[PUBACK, 2, 0], None);
    check_split(&[PUBACK, 2, 0, 1, PUBACK], (PUBACK, 2, 4));
    check_split(&[PUBLISH, 0x80], None);
    check_split(&[PUBLISH, 0x80, 0x80, 0x80], None);
    let error = split_frame(&[PUBLISH, 0x80, 0x80, 0x80, 0x80]).unwrap_err();
    assert_eq!(error, FrameError::RemainingLength);
}

#[test]
fn lengths_round_trip_at_every_border() {
    for len in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, SUBACK, &vec![7; len]);
        let whole = bytes.len();
        bytes.push(PINGRESP);
        check_split(&bytes, (SUBACK, len, whole));
        check_split(&bytes[..whole - 1], None);
    }
}

#[test]
fn a_publish_comes_back_as_sent() {
    for qos in 0..=2 {
        for payload in [&b""[..], b"x", &[9; 300]] {
            let mut bytes = Vec::new();
            push_publish(&mut bytes, qos, "bench/7", 513, payload);
            let frame = split_frame(&bytes).unwrap().unwrap();
            assert!(frame.is_publish());
            assert_eq!(frame.len, bytes.len());
            let packet_identifier = if qos == 0 { 0 } else { 513 };
            assert_eq!(frame.publish(), Ok(Publish { qos, packet_identifier, payload }));
        }
    }
}

#[test]
fn a_truncated_publish_is_an_error() {
    let publish = |first, body| Frame { first, body, len: 0 }.publish();
    assert_eq!(publish(0x30, b"\x00"), Err(FrameError::TooShort(0x30)));
    assert_eq!(publish(0x30, b"\x00\x02a"), Err(FrameError::TooShort(0x30)));
    assert_eq!(publish(0x32, b"\x00\x01a\x00"), Err(FrameError::TooShort(0x32)));
    assert_eq!(publish(0x36, b"\x00\x01a\x00\x01"), Err(FrameError::QoS));
}

#[test]
fn connect_subscribe_and_acks_have_the_bytes_of_the_standard() {
    let mut bytes = Vec::new();
    push_connect(&mut bytes, "p1", true);
    assert_eq!(bytes, b"\x10\x0e\x00\x04MQTT\x04\x02\xff\xff\x00\x02p1");
    bytes.clear();
    push_subscribe(&mut bytes, 1, "bench/#", 2);
    assert_eq!(bytes, b"\x82\x0c\x00\x01\x00\x07bench/#\x02");
    bytes.clear();
    push_ack(&mut bytes, PUBREL, 0x0102);
    assert_eq!(bytes, b"\x62\x02\x01\x02");
    assert_eq!(split_frame(&bytes).unwrap().unwrap().packet_identifier(), Ok(0x0102));
}
