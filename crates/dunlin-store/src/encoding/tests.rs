//! Everything comes back as it was, and no bytes do harm.

use super::bytes::{Reader, Writer};
use super::*;
use ::bytes::Bytes;
use dunlin_broker::core::GroupName;
use dunlin_protocol::codec::{
    MessageProperties, PacketIdentifier, QoS, SubscriptionIdentifier, Text, TopicName,
};
use dunlin_protocol::{Instant, Message};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::sync::Arc;

fn text() -> impl Strategy<Value = Text> {
    "[a-zà-ü/ ]{0,12}".prop_map(|text| text.parse().expect("a legal string"))
}

fn topic_name() -> impl Strategy<Value = TopicName> {
    "[a-zà-ü/]{1,12}".prop_map(|name| name.parse().expect("a Topic Name"))
}

fn binary() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = QoS> {
    (0..3_u8).prop_map(|qos| QoS::new(qos).expect("a QoS"))
}

prop_compose! {
    fn properties()(
        payload_format_indicator in any::<Option<bool>>(),
        content_type in option::of(text()),
        response_topic in option::of(topic_name()),
        correlation_data in option::of(binary()),
        user_properties in vec((text(), text()), 0..3),
    ) -> MessageProperties {
        MessageProperties {
            payload_format_indicator,
            content_type,
            response_topic,
            correlation_data,
            user_properties,
        }
    }
}

prop_compose! {
    fn message()(
        topic_name in topic_name(),
        payload in binary(),
        qos in qos(),
        retain in any::<bool>(),
        expires_at in any::<Option<u64>>(),
        properties in option::of(properties()),
    ) -> Message {
        let expires_at = expires_at.map(Instant::from_micros);
        Message { topic_name, payload, qos, retain, expires_at, properties: properties.map(Arc::new) }
    }
}

fn group() -> impl Strategy<Value = Arc<GroupName>> {
    ("[a-z]{1,5}", "[a-z+#/]{1,9}").prop_map(|(share_name, topic_filter)| {
        Arc::new(GroupName { share_name: share_name.into(), topic_filter: topic_filter.into() })
    })
}

prop_compose! {
    fn queued()(
        qos in qos(),
        retain in any::<bool>(),
        packet_identifier in any::<u16>(),
        group in option::of(group()),
        identifiers in vec(1..=SubscriptionIdentifier::MAX, 0..4),
        size in any::<u32>(),
        reference in any::<Option<u64>>(),
        message in message(),
    ) -> Queued {
        let identifiers = identifiers.into_iter().filter_map(SubscriptionIdentifier::new);
        Queued {
            qos,
            retain,
            packet_identifier: PacketIdentifier::new(packet_identifier),
            group,
            subscription_identifiers: identifiers.collect(),
            size,
            content: reference.map_or_else(|| Content::Inline(Arc::new(message)), Content::Reference),
        }
    }
}

/// Decodes as everything that there is; whether any of it succeeded.
fn decode_all(value: &Bytes) -> bool {
    let reader = || Reader::new(value.clone());
    let decoded = [
        decode_message(value.clone()).is_ok(),
        Queued::decode(value.clone()).is_ok(),
        QueuedHeader::decode(value).is_ok(),
        State::decode(value.clone()).is_ok(),
        Counters::decode(value.clone()).is_ok(),
        reader().and_then(|mut reader| SessionRow::decode(&mut reader)).is_ok(),
        reader().and_then(|mut reader| SubscriptionRow::decode(&mut reader)).is_ok(),
        reader().and_then(WillRow::decode).is_ok(),
        reader().and_then(UnderwayRow::decode).is_ok(),
        reader().and_then(RetainedRow::decode).is_ok(),
    ];
    decoded.contains(&true)
}

proptest! {
    #[test]
    fn messages_come_back(message in message()) {
        let value = Bytes::from(encode_message(&message));
        prop_assert_eq!(decode_message(value), Ok(message));
    }

    #[test]
    fn queued_messages_come_back(queued in queued()) {
        let value = Bytes::from(queued.encode());
        let header = QueuedHeader::decode(&value).expect("a header");
        prop_assert_eq!(header.size, queued.size);
        prop_assert_eq!(header.is_kept, queued.packet_identifier.is_some() || queued.group.is_some());
        let reference = match queued.content {
            Content::Inline(_) => None,
            Content::Reference(reference) => Some(reference),
        };
        prop_assert_eq!(header.reference, reference);
        prop_assert_eq!(Queued::decode(value), Ok(queued));
    }

    #[test]
    fn other_rows_come_back(
        message in message(),
        group in option::of(group()),
        number in any::<u64>(),
        (interval, delay_secs) in (any::<Option<u32>>(), any::<u32>()),
        away_since in any::<Option<u64>>(),
        flags in any::<[bool; 3]>(),
    ) {
        let message = Arc::new(message);
        let reader = |value: Vec<u8>| Reader::new(value.into()).expect("our layout");
        let subject = flags[1].then(|| crate::tests::a_subject(delay_secs as u16));
        let row = WillRow {
            message_expiry_interval: interval,
            delay_secs,
            message: message.clone(),
            subject: subject.clone(),
        };
        prop_assert_eq!(WillRow::decode(reader(row.encode())), Ok(row));
        let row = UnderwayRow { group, message: message.clone() };
        prop_assert_eq!(UnderwayRow::decode(reader(row.encode())), Ok(row));
        let row = RetainedRow { change: number >> 1, message, publisher: subject.clone() };
        prop_assert_eq!(RetainedRow::decode(reader(row.encode())), Ok(row));
        let away_since = away_since.map(Instant::from_micros);
        let session = interval.map(|expiry_interval| StoredSession {
            expiry_interval,
            away_since,
            owner: flags[0].then(|| "gauge".parse().expect("a legal name")),
            subject: subject.clone(),
        });
        let row = SessionRow { number, session };
        prop_assert_eq!(SessionRow::decode(&mut reader(row.encode())), Ok(row));
        let [tentative, taken, no_local] = flags;
        let packet_identifier = PacketIdentifier::new(delay_secs as u16);
        let state = State { tentative, taken, packet_identifier };
        prop_assert_eq!(State::decode(state.encode().into()), Ok(state));
        let row = SubscriptionRow {
            maximum_qos: QoS::ExactlyOnce,
            no_local,
            retain_as_published: taken,
            subscription_identifier: SubscriptionIdentifier::new(delay_secs),
        };
        prop_assert_eq!(SubscriptionRow::decode(&mut reader(row.encode())), Ok(row));
        let counters = Counters { commit: number, session: number / 2, message: number / 3 };
        prop_assert_eq!(Counters::decode(counters.encode().into()), Ok(counters));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(mut value in vec(any::<u8>(), 0..80)) {
        decode_all(&value.clone().into());
        // With the right layout, more is looked at.
        if let Some(layout) = value.first_mut() {
            *layout = 1;
        }
        decode_all(&value.into());
    }

    #[test]
    fn damaged_values_are_decoded_or_refused(
        queued in queued(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut value = queued.encode();
        prop_assert!(decode_all(&value.clone().into()));
        let at = at.index(value.len());
        value[at] = byte;
        value.truncate(cut.index(value.len() + 1));
        decode_all(&value.into());
    }
}

#[test]
fn a_claimed_number_of_parts_takes_no_memory() {
    let mut out = Writer::new(32);
    out.u8(1 << 6);
    out.u32(0);
    out.u32(u32::MAX);
    assert_eq!(Queued::decode(out.finish().into()), Err(Damage::TooShort));
}
