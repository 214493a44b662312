//! Laws that hold for every packet and for every sequence of bytes.

use crate::arbitrary;
use crate::support::{VERSIONS, bytes_of, decode, encode};
use bytes::{Bytes, BytesMut};
use dunlin_codec::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(VERSIONS.to_vec())
}

fn packets() -> impl Strategy<Value = (ProtocolVersion, Vec<Packet>)> {
    version().prop_flat_map(|version| (Just(version), vec(arbitrary::packet(version), 1..6)))
}

fn one_packet() -> impl Strategy<Value = (ProtocolVersion, Packet)> {
    version().prop_flat_map(|version| (Just(version), arbitrary::packet(version)))
}

fn one_publish() -> impl Strategy<Value = (ProtocolVersion, Publish)> {
    version().prop_flat_map(|version| (Just(version), arbitrary::publish(version)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded((version, packet) in one_packet()) {
        let bytes = encode(&packet, version);
        let (decoded, rest) = decode(&bytes, version, bytes.len() as u32).expect("legal");
        prop_assert_eq!(decoded.as_ref(), Some(&packet));
        prop_assert!(rest.is_empty());
        prop_assert!(packet.to_string().starts_with(packet.packet_type().name()));
    }

    #[test]
    fn a_packet_beyond_the_limit_is_not_written((version, packet) in one_packet()) {
        let len = encode(&packet, version).len();
        let mut out = TransmitBuf::new();
        let max = len as u32 - 1;
        let error = packet.encode(version, max, &mut out).expect_err("too large");
        prop_assert_eq!(error, EncodeError::PacketTooLarge(PacketTooLarge { len, max }));
        prop_assert!(out.is_empty());
        let bytes = encode(&packet, version);
        let error = decode(&bytes, version, max).expect_err("too large");
        prop_assert_eq!(error, DecodeError::PacketTooLarge { len: len as u32, max });
    }

    #[test]
    fn every_proper_prefix_waits((version, packet) in one_packet(), at in any::<prop::sample::Index>()) {
        let bytes = encode(&packet, version);
        let cut = at.index(bytes.len());
        let (decoded, rest) = decode(&bytes[..cut], version, u32::MAX).expect("the start is legal");
        prop_assert_eq!(decoded, None);
        prop_assert_eq!(&rest[..], &bytes[..cut]);
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_packets(
        (version, packets) in packets(),
        steps in vec(1_usize..40, 1..40),
    ) {
        let stream: Vec<u8> = packets.iter().flat_map(|packet| encode(packet, version)).collect();
        let decoder = Decoder::new(version, u32::MAX);
        let mut input = BytesMut::new();
        let mut decoded = Vec::new();
        let mut left = &stream[..];
        let mut steps = steps.iter().cycle();
        while !left.is_empty() {
            let step = (*steps.next().expect("endless")).min(left.len());
            input.extend_from_slice(&left[..step]);
            left = &left[step..];
            while let Some(packet) = decoder.decode(&mut input).expect("legal") {
                decoded.push(packet);
            }
        }
        prop_assert_eq!(decoded, packets);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(version in version(), bytes in vec(any::<u8>(), 0..64)) {
        if let Ok((packet, rest)) = decode(&bytes, version, 1000) {
            prop_assert_eq!(packet.is_none(), rest.len() == bytes.len());
            prop_assert!(bytes.ends_with(&rest));
        }
    }

    #[test]
    fn a_changed_byte_does_no_harm(
        (version, packet) in one_packet(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encode(&packet, version);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok((Some(decoded), _)) = decode(&bytes, version, u32::MAX) {
            let again = encode(&decoded, version);
            let (twice, _) = decode(&again, version, u32::MAX).expect("legal");
            prop_assert_eq!(twice, Some(decoded));
        }
    }

    #[test]
    fn a_copy_of_an_encoded_publish_is_the_publish(
        (version, publish) in one_publish(),
        other in 1_u16..,
    ) {
        let mut encoded = EncodedPublish::new();
        encoded.set(&publish.parts(), version).expect("the packet can be said");
        let expected = encode(&Packet::Publish(publish.clone()), version);
        let mut out = TransmitBuf::new();
        encoded.append(None, u32::MAX, &mut out).expect("small enough");
        prop_assert_eq!(bytes_of(&out), expected);

        let other = PacketIdentifier::new(other).expect("not zero");
        let mut patched = publish;
        match &mut patched.delivery {
            Delivery::AtMostOnce => {}
            Delivery::AtLeastOnce { packet_identifier, .. }
            | Delivery::ExactlyOnce { packet_identifier, .. } => *packet_identifier = other,
        }
        let expected = encode(&Packet::Publish(patched), version);
        let mut out = TransmitBuf::new();
        out.put_u8(0);
        encoded.append(Some(other), encoded.len() as u32, &mut out).expect("small enough");
        prop_assert_eq!(&bytes_of(&out)[1..], &expected[..]);
        let max = encoded.len() as u32 - 1;
        let error = encoded.append(Some(other), max, &mut out);
        prop_assert_eq!(error, Err(PacketTooLarge { len: encoded.len(), max }));
    }

    #[test]
    fn a_topic_name_is_what_the_rules_say(bytes in vec(any::<u8>(), 0..24)) {
        let legal = std::str::from_utf8(&bytes).is_ok_and(|text| {
            !text.is_empty() && !text.contains(['\0', '+', '#'])
        });
        prop_assert_eq!(TopicName::from_bytes(Bytes::from(bytes)).is_ok(), legal);
    }

    #[test]
    fn a_printable_topic_name_is_what_the_rules_say(text in "[ -~\0é]{0,40}") {
        let legal = !text.is_empty() && !text.contains(['\0', '+', '#']);
        prop_assert_eq!(TopicName::try_from(text).is_ok(), legal);
    }
}

/// A PUBLISH whose properties have exactly this many bytes.
fn publish_with_properties(len: usize) -> Packet {
    let mut user_properties = Vec::new();
    let mut left = len;
    while left > 0 {
        // 1 identifier, 2 and 2 lengths; never leaves a rest too small for another.
        let take = if left < 40_000 { left } else { 20_000 };
        let value = "v".repeat(take - 5);
        user_properties.push((Text::default(), Text::try_from(value).expect("legal")));
        left -= take;
    }
    Packet::Publish(Publish {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic: PublishTopic::Name(TopicName::from_static("a")),
        message_expiry_interval: None,
        subscription_identifiers: vec![],
        properties: Some(MessageProperties { user_properties, ..Default::default() }.into()),
        payload: Bytes::from_static(b"payload"),
    })
}

#[test]
fn the_length_of_properties_grows_at_its_boundaries() {
    for (len, prefix) in [
        (127, &[0x7F][..]),
        (128, &[0x80, 0x01]),
        (16_383, &[0xFF, 0x7F]),
        (16_384, &[0x80, 0x80, 0x01]),
        (2_097_151, &[0xFF, 0xFF, 0x7F]),
        (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
    ] {
        let packet = publish_with_properties(len);
        let bytes = encode(&packet, ProtocolVersion::V5);
        let remaining = 3 + prefix.len() + len + 7;
        let header = bytes.len() - remaining;
        assert_eq!(&bytes[header + 3..header + 3 + prefix.len()], prefix);
        let (decoded, rest) = decode(&bytes, ProtocolVersion::V5, u32::MAX).expect("legal");
        assert_eq!(decoded, Some(packet));
        assert!(rest.is_empty());
    }
}

#[test]
fn a_claimed_length_sets_no_memory_aside() {
    let mut input = BytesMut::from(&b"\x30\xFF\xFF\xFF\x7F\x00\x01a"[..]);
    let capacity = input.capacity();
    let packet = Decoder::new(ProtocolVersion::V5, u32::MAX).decode(&mut input);
    assert_eq!(packet, Ok(None));
    assert_eq!(input.capacity(), capacity);
}

#[test]
fn what_cannot_be_said_is_an_error_and_writes_nothing() {
    let mut out = TransmitBuf::new();
    let auth = Packet::Auth(Box::new(Auth {
        reason_code: ReasonCode::ReAuthenticate,
        properties: AuthProperties::default(),
    }));
    let v3 = ProtocolVersion::V3_1_1;
    let error = auth.encode(v3, u32::MAX, &mut out);
    assert_eq!(error, Err(EncodeError::NotInVersion(PacketType::Auth, v3)));

    let payload = Bytes::new();
    let mut parts = PublishParts {
        delivery: Delivery::AtMostOnce,
        retain: false,
        topic_name: None,
        topic_alias: TopicAlias::new(1),
        message_expiry_interval: None,
        subscription_identifiers: &[],
        properties: None,
        payload: &payload,
    };
    let error = parts.encode(v3, u32::MAX, &mut out);
    assert_eq!(error, Err(EncodeError::NotInVersion(PacketType::Publish, v3)));

    let properties = MessageProperties {
        correlation_data: Some(Bytes::from(vec![0; 65_536])),
        ..Default::default()
    };
    parts.properties = Some(&properties);
    let error = parts.encode(ProtocolVersion::V5, u32::MAX, &mut out);
    assert_eq!(error, Err(EncodeError::BinaryDataTooLong(65_536)));
    assert!(out.is_empty());
}

#[test]
fn mqtt_3_drops_what_it_cannot_say() {
    let reason = |reason_string: &str| Some(reason_string.parse().expect("legal"));
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1] {
        let connack = Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason_code: ReasonCode::Banned,
            properties: ConnAckProperties { reason_string: reason("go"), ..Default::default() },
        }));
        assert_eq!(encode(&connack, version), b"\x20\x02\0\x05");
        let id = PacketIdentifier::FIRST;
        let puback = Packet::PubAck(Ack::new(id, ReasonCode::QuotaExceeded));
        assert_eq!(encode(&puback, version), b"\x40\x02\0\x01");
        let suback = Packet::SubAck(Box::new(SubAck {
            packet_identifier: id,
            properties: SubAckProperties { reason_string: reason("no"), ..Default::default() },
            reason_codes: vec![ReasonCode::GrantedQoS2, ReasonCode::NotAuthorized],
        }));
        assert_eq!(encode(&suback, version), b"\x90\x04\0\x01\x02\x80");
        let unsuback = Packet::UnsubAck(Box::new(UnsubAck {
            packet_identifier: id,
            properties: SubAckProperties::default(),
            reason_codes: vec![ReasonCode::NoSubscriptionExisted],
        }));
        assert_eq!(encode(&unsuback, version), b"\xB0\x02\0\x01");
        let disconnect =
            Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::ServerShuttingDown)));
        assert_eq!(encode(&disconnect, version), b"\xE0\0");
    }
}

#[test]
fn dumps_tell_no_secrets() {
    let connect = Packet::Connect(Box::new(Connect {
        protocol_version: ProtocolVersion::V5,
        bridge: false,
        clean_start: true,
        keep_alive: 60,
        client_identifier: Text::from_static("lamp-7"),
        will: None,
        user_name: Some(Text::from_static("user")),
        password: Some(Bytes::from_static(b"secret")),
        properties: ConnectProperties {
            authentication_method: Some(Text::from_static("PLAIN")),
            authentication_data: Some(Bytes::from_static(b"secret")),
            ..Default::default()
        },
    }));
    assert!(!connect.to_string().contains("secret"));
}
