//! Packets, byte for byte.

use super::{
    ConnAck, Hello, Publish, Will, push_connect, push_disconnect, push_subscribe, read_connack,
};
use super::{identifier_before_payload, publish_head, read_publish, suback_codes};
use crate::frame::{CONNACK, FrameError, SUBACK, push_frame, split_frame};
use crate::plan::Version::{V5, V311};

#[test]
fn a_connect_says_who_comes_and_what_it_asks_for() {
    let hello = |is_lasting, user_name| Hello {
        client_identifier: "a",
        user_name,
        password: user_name.map(|_| &b"pw"[..]),
        is_lasting,
        keeps_session: false,
        will: None,
    };
    for (version, hello, expected) in [
        (V311, hello(false, None), &b"\x10\x0d\0\x04MQTT\x04\x02\xff\xff\0\x01a"[..]),
        (V311, hello(true, Some("u")), b"\x10\x14\0\x04MQTT\x04\xC0\xff\xff\0\x01a\0\x01u\0\x02pw"),
        (V5, hello(false, None), b"\x10\x0e\0\x04MQTT\x05\x02\xff\xff\0\0\x01a"),
        (V5, hello(true, None), b"\x10\x13\0\x04MQTT\x05\0\xff\xff\x05\x11\0\0\x0e\x10\0\x01a"),
    ] {
        let mut out = Vec::new();
        push_connect(&mut out, version, &hello);
        assert_eq!(out, expected);
    }
}

#[test]
fn a_connect_says_what_to_publish_when_it_is_lost() {
    let will = Will { topic_name: "w", payload: b"gone", qos: 2 };
    let hello = Hello {
        client_identifier: "a",
        user_name: Some("u"),
        password: None,
        is_lasting: true,
        keeps_session: false,
        will: Some(will),
    };
    for (version, expected) in [
        (V311, &b"\x10\x19\0\x04MQTT\x04\x94\xff\xff\0\x01a\0\x01w\0\x04gone\0\x01u"[..]),
        (
            V5,
            b"\x10\x20\0\x04MQTT\x05\x94\xff\xff\x05\x11\0\0\x0e\x10\0\x01a\0\0\x01w\0\x04gone\0\x01u",
        ),
    ] {
        let mut out = Vec::new();
        push_connect(&mut out, version, &hello);
        assert_eq!(out, expected);
    }
}

#[test]
fn the_session_ends_with_the_disconnect_where_it_can() {
    let mut out = Vec::new();
    push_disconnect(&mut out, V311, true);
    push_disconnect(&mut out, V5, false);
    push_disconnect(&mut out, V5, true);
    assert_eq!(out, b"\xe0\0\xe0\0\xe0\x07\0\x05\x11\0\0\0\0");
}

#[test]
fn a_publish_is_read_as_it_was_written() {
    for (version, first, packet_identifier) in [(V311, 0x30, 0), (V311, 0x34, 7), (V5, 0x32, 7)] {
        let mut bytes = publish_head(version, first, "a/b", 3);
        if packet_identifier > 0 {
            let at = bytes.len() - identifier_before_payload(version);
            bytes[at..at + 2].copy_from_slice(&7_u16.to_be_bytes());
        }
        bytes.extend_from_slice(b"xyz");
        let frame = split_frame(&bytes).unwrap().expect("a whole frame");
        assert_eq!(frame.len, bytes.len());
        let qos = (first >> 1) & 3;
        let expected = Publish { topic_name: b"a/b", qos, packet_identifier, payload: b"xyz" };
        assert_eq!(read_publish(version, &frame), Ok(expected));
    }
}

#[test]
fn properties_of_a_publish_are_skipped() {
    let bytes = b"\x30\x0b\0\x01a\x05\x02\0\0\0\x01hi!";
    let frame = split_frame(&bytes[..]).unwrap().expect("a whole frame");
    assert_eq!(read_publish(V5, &frame).unwrap().payload, b"hi");
    for cut in [2, 3, 5] {
        let mut short = Vec::new();
        push_frame(&mut short, 0x32, &bytes[2..2 + cut]);
        let frame = split_frame(&short).unwrap().expect("a whole frame");
        assert_eq!(read_publish(V5, &frame), Err(FrameError::TooShort(0x32)), "{cut}");
    }
}

#[test]
fn a_connack_tells_the_limits() {
    let read = |version, body: &[u8]| {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, CONNACK, body);
        read_connack(version, &split_frame(&bytes).unwrap().expect("a whole frame"))
    };
    let plain = ConnAck {
        session_present: true,
        code: 0,
        receive_maximum: 65_535,
        qos_max: 2,
        packet_size_max: u32::MAX,
        retain: true,
        wildcards: true,
        shared: true,
        keep_alive_secs: 0,
    };
    assert_eq!(read(V311, &[1, 0]), Ok(plain));
    assert_eq!(read(V5, &[1, 0, 0]), Ok(plain));
    let properties = b"\x22\0\x0a\x1f\0\x02hi\x21\0\x14\x24\x01\x25\0\x27\0\0\x10\0\x13\0\x3c";
    let body = [&[1, 0, properties.len() as u8][..], properties].concat();
    let limited = ConnAck {
        receive_maximum: 20,
        qos_max: 1,
        packet_size_max: 4096,
        retain: false,
        keep_alive_secs: 60,
        ..plain
    };
    assert_eq!(read(V5, &body), Ok(limited));
    assert_eq!(read(V5, &[0]), Err(FrameError::TooShort(CONNACK)));
}

#[test]
fn a_subscribe_asks_for_all_filters_at_once() {
    let mut out = Vec::new();
    push_subscribe(&mut out, V5, 3, &["a".to_owned(), "#".to_owned()], 1);
    assert_eq!(out, b"\x82\x0b\0\x03\0\0\x01a\x01\0\x01#\x01");
    let mut bytes = Vec::new();
    push_frame(&mut bytes, SUBACK, &[0, 3, 0, 1, 0x87]);
    let frame = split_frame(&bytes).unwrap().expect("a whole frame");
    assert_eq!(suback_codes(V5, &frame), Ok(&[1, 0x87][..]));
    assert_eq!(suback_codes(V311, &frame), Ok(&[0, 1, 0x87][..]));
}
