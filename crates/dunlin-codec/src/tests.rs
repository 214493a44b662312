//! Packets to bytes and back.

use crate::*;
use alloc::boxed::Box;
use alloc::vec;
use bytes::{Bytes, BytesMut};

/// The bytes of a packet, and that reading them gives the packet again.
fn check_round_trip(packet: &Packet, version: ProtocolVersion, expected: &[u8]) {
    let mut out = TransmitBuf::new();
    packet.encode(version, u32::MAX, &mut out).expect("the packet can be said");
    let mut pieces = [&[][..]; 8];
    let count = out.pieces(&mut pieces);
    let bytes = pieces[..count].concat();
    assert_eq!(bytes, expected);
    let mut input = BytesMut::from(&bytes[..]);
    let decoded = Decoder::new(version, u32::MAX).decode(&mut input).expect("legal");
    assert_eq!(decoded.as_ref(), Some(packet));
    assert!(input.is_empty());
}

fn identifier(value: u16) -> PacketIdentifier {
    PacketIdentifier::new(value).expect("not zero")
}

#[test]
fn publish_has_the_bytes_of_the_standard() {
    let mut publish = Publish {
        delivery: Delivery::AtLeastOnce { packet_identifier: identifier(7), dup: true },
        retain: true,
        topic: PublishTopic::Name(TopicName::from_static("a/b")),
        message_expiry_interval: None,
        subscription_identifiers: vec![],
        properties: None,
        payload: Bytes::from_static(b"on"),
    };
    let packet = Packet::Publish(publish.clone());
    check_round_trip(&packet, ProtocolVersion::V3_1_1, b"\x3B\x09\0\x03a/b\0\x07on");
    check_round_trip(&packet, ProtocolVersion::V5, b"\x3B\x0A\0\x03a/b\0\x07\0on");
    publish.message_expiry_interval = Some(60);
    publish.topic = PublishTopic::Alias(TopicAlias::new(2).expect("not zero"));
    check_round_trip(
        &Packet::Publish(publish),
        ProtocolVersion::V5,
        b"\x3B\x0F\0\0\0\x07\x08\x23\0\x02\x02\0\0\0\x3Con",
    );
}

#[test]
fn subscribe_has_the_bytes_of_the_standard() {
    let packet = Packet::Subscribe(Box::new(Subscribe {
        packet_identifier: identifier(1),
        properties: SubscribeProperties::default(),
        subscriptions: vec![Subscription {
            topic_filter: TopicFilter::from_static("a/#"),
            options: SubscriptionOptions {
                maximum_qos: QoS::ExactlyOnce,
                ..SubscriptionOptions::default()
            },
        }],
    }));
    check_round_trip(&packet, ProtocolVersion::V3_1_1, b"\x82\x08\0\x01\0\x03a/#\x02");
    check_round_trip(&packet, ProtocolVersion::V5, b"\x82\x09\0\x01\0\0\x03a/#\x02");
}

#[test]
fn what_a_packet_may_use_is_checked_while_it_is_read() {
    let limits =
        Limits { topic_name_len_max: 3, user_properties_max: 2, user_property_bytes_max: 6 };
    let read = |bytes: &[u8]| {
        Decoder::new(ProtocolVersion::V5, u32::MAX).decode_within(&mut bytes.into(), &limits)
    };
    assert!(read(b"\x30\x06\0\x03a/b\0").is_ok_and(|packet| packet.is_some()));
    let too_long = DecodeError::TopicNameTooLong { len: 4, max: 3 };
    assert_eq!(read(b"\x30\x07\0\x04a/bc\0"), Err(too_long));
    let response_topic = b"\x30\x0B\0\x01a\x07\x08\0\x04a/bc";
    assert_eq!(read(response_topic), Err(too_long));
    // User Properties of a name and a value of so many bytes each.
    let with = |lens: &[u8]| {
        let pair = |len: &u8| {
            let text = [&[0, *len][..], &vec![b'u'; usize::from(*len)]].concat();
            [&[0x26][..], &text, &text].concat()
        };
        let properties = lens.iter().flat_map(pair).collect::<alloc::vec::Vec<_>>();
        let len = u8::try_from(properties.len()).expect("few bytes");
        read(&[&[0x30, 4 + len, 0, 1, b'a', len][..], &properties].concat())
    };
    assert!(with(&[3]).is_ok());
    assert!(with(&[1, 2]).is_ok());
    assert_eq!(with(&[4]), Err(DecodeError::UserPropertiesTooLong { max: 6 }));
    assert_eq!(with(&[2, 2]), Err(DecodeError::UserPropertiesTooLong { max: 6 }));
    assert_eq!(with(&[0, 0, 0]), Err(DecodeError::TooManyUserProperties { max: 2 }));
    assert_eq!(too_long.reason_code(), ReasonCode::TopicNameInvalid);
    let reason_code = DecodeError::TooManyUserProperties { max: 2 }.reason_code();
    assert_eq!(reason_code, ReasonCode::QuotaExceeded);
}

#[test]
fn a_publish_shares_its_payload_and_long_names_and_the_rest_is_copied() {
    for len in 1..2 * Text::LEN_MAX_IN_PLACE {
        let name = vec![b'n'; len];
        for (version, properties) in [
            (ProtocolVersion::V3_1_1, &b""[..]),
            (ProtocolVersion::V5, b"\0"),
            (ProtocolVersion::V5, b"\x02\x01\x01"),
        ] {
            let rest_len = 2 + len + properties.len() + 2;
            let head = [0x30, rest_len as u8, 0, len as u8];
            let mut input = BytesMut::from(&[&head, &name[..], properties, b"on"].concat()[..]);
            let bytes = input.as_ptr() as usize..input.as_ptr() as usize + input.len();
            let decoded = Decoder::new(version, u32::MAX).decode(&mut input).expect("legal");
            let Some(Packet::Publish(publish)) = decoded else { panic!("{decoded:?}") };
            assert_eq!(publish.payload, "on");
            assert!(bytes.contains(&(publish.payload.as_ptr() as usize)));
            let topic_name = publish.topic.name().expect("a Topic Name");
            assert_eq!(topic_name.as_text().as_bytes(), name);
            let is_shared = bytes.contains(&(topic_name.as_ptr() as usize));
            assert_eq!(is_shared, len > Text::LEN_MAX_IN_PLACE);
        }
    }
    let mut input =
        BytesMut::from(&b"\x10\x1C\0\x04MQTT\x04\xC0\0\0\0\x06lamp-7\0\x04user\0\x02pw"[..]);
    let decoded = Decoder::new(ProtocolVersion::V3_1_1, u32::MAX).decode(&mut input);
    assert!(matches!(decoded, Ok(Some(Packet::Connect(_)))), "{decoded:?}");
    assert!(input.try_reclaim(20), "nothing keeps the memory of the packet");
}
