//! Properties of a PUBLISH: what the server has to pass on. Spec: §3.3.2.3.

use super::message_steps::{
    again, lasting_subscriber, only, publish, resumed, same, sleeping_subscriber, subscriber,
};
use super::{Bench, Check};
use crate::{Stop, V5, Verdict, ensure, failed, message_of, passed, seen};
use bytes::Bytes;
use dunlin_codec::{MessageProperties, Packet, Publish, QoS, ReasonCode, Text, TopicName};
use std::sync::Arc;

/// An entry of the table for properties that have to pass unaltered.
macro_rules! pass {
    ($name:literal, $statements:expr, $looks_for:literal, $change:expr) => {
        Check {
            name: concat!("properties/", $name),
            versions: V5,
            statements: $statements,
            looks_for: $looks_for,
            run: |bench| {
                let change: fn(&mut MessageProperties) = $change;
                pass_unaltered(bench, change)
            },
        }
    };
}

pub(super) const CHECKS: &[Check] = &[
    pass!(
        "payload-format-indicator-1",
        &["MQTT-3.3.2-4"],
        "Payload Format Indicator 1 passes unaltered",
        |properties| properties.payload_format_indicator = Some(true)
    ),
    Check {
        name: "properties/payload-format-indicator-0",
        versions: V5,
        statements: &["MQTT-3.3.2-4"],
        looks_for: "Payload Format Indicator 0 passes as 0 or, what means the same, not at all",
        run: |bench| {
            let properties = MessageProperties {
                payload_format_indicator: Some(false),
                ..MessageProperties::default()
            };
            let came = passed_on(bench, &properties)?;
            match came.payload_format_indicator {
                Some(true) => failed("Payload Format Indicator 0 expected; it is 1"),
                Some(false) => seen("Payload Format Indicator 0 is sent"),
                None => seen("Payload Format Indicator 0 is left out"),
            }
        },
    },
    pass!("content-type", &["MQTT-3.3.2-20"], "Content Type passes unaltered", |properties| {
        properties.content_type = Some(Text::from_static("text/größe; charset=utf-8"));
    }),
    pass!("content-type-empty", &["MQTT-3.3.2-20"], "an empty Content Type passes", |properties| {
        properties.content_type = Some(Text::from_static(""));
    }),
    pass!("response-topic", &["MQTT-3.3.2-15"], "Response Topic passes unaltered", |properties| {
        properties.response_topic = Some(TopicName::from_static("answers/to/größe"));
    }),
    pass!(
        "correlation-data",
        &["MQTT-3.3.2-16"],
        "Correlation Data of all 256 bytes pass unaltered",
        |properties| properties.correlation_data = Some((0..=255).collect())
    ),
    pass!(
        "correlation-data-empty",
        &["MQTT-3.3.2-16"],
        "Correlation Data of no bytes pass",
        |properties| properties.correlation_data = Some(Bytes::new())
    ),
    pass!(
        "user-properties",
        &["MQTT-3.3.2-17", "MQTT-3.3.2-18"],
        "User Properties pass unaltered and in their order, also with the same name and empty ones",
        |properties| properties.user_properties = user_properties()
    ),
    pass!(
        "many-user-properties",
        &["MQTT-3.3.2-17", "MQTT-3.3.2-18"],
        "a hundred User Properties, together of more than 128 bytes, keep their order",
        |properties| {
            let property = |number| (number, Text::from_static("value"));
            let numbers = (0..100).rev().map(|number: u32| number.to_string().parse());
            let numbers = numbers.map(|number| number.expect("digits are a text"));
            properties.user_properties = numbers.map(property).collect();
        }
    ),
    pass!(
        "all-together",
        ALL,
        "all properties of an Application Message pass together",
        |properties| *properties = full()
    ),
    Check {
        name: "properties/none",
        versions: V5,
        statements: ALL,
        looks_for: "a message without properties arrives without any",
        run: |bench| {
            let came = passed_on(bench, &MessageProperties::default())?;
            ensure(came.is_empty(), format!("no properties expected; what comes has {came:?}"))?;
            passed()
        },
    },
    Check {
        name: "properties/through-a-queue",
        versions: V5,
        statements: ALL,
        looks_for: "a message that waited for its subscriber has its properties",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            sleeping_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let publish = message_of(&bench.topic_name("t"), "x", full());
            bench.connect("pub")?.publish_message(publish, QoS::AtLeastOnce)?;
            same("what comes", &of(&resumed(bench, "sub")?.expect_message("x")?), &full())?;
            passed()
        },
    },
    Check {
        name: "properties/through-a-retained-message",
        versions: V5,
        statements: ALL,
        looks_for: "a retained message has its properties",
        run: |bench| {
            bench.can().need_retain()?;
            let mut publish = message_of(&bench.topic_name("t"), "x", full());
            publish.retain = true;
            let qos = bench.can().maximum_qos.min(QoS::AtLeastOnce);
            bench.connect("pub")?.publish_message(publish, qos)?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            same("what comes", &of(&subscriber.expect_message("x")?), &full())?;
            passed()
        },
    },
    Check {
        name: "properties/sent-again",
        versions: V5,
        statements: ALL,
        looks_for: "a message that is sent again on a new connection has its properties",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let mut subscriber = lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?;
            let publish = message_of(&bench.topic_name("t"), "x", full());
            bench.connect("pub")?.publish_message(publish, QoS::AtLeastOnce)?;
            let first = subscriber.expect_publish()?;
            subscriber.abort();
            let second = resumed(bench, "sub")?.expect_message("x")?;
            same("what comes first", &of(&first), &full())?;
            same("what comes again", &second, &again(first))?;
            passed()
        },
    },
    Check {
        name: "properties/payload-that-is-not-utf-8",
        versions: V5,
        statements: &["MQTT-3.3.2-4", "MQTT-3.4.2-1"],
        looks_for: "a payload that is not UTF-8, though it says so, is passed on or refused with \
                    0x99",
        run: not_utf_8,
    },
];

const ALL: &[&str] = &[
    "MQTT-3.3.2-4",
    "MQTT-3.3.2-15",
    "MQTT-3.3.2-16",
    "MQTT-3.3.2-17",
    "MQTT-3.3.2-18",
    "MQTT-3.3.2-20",
];

/// What the server makes of these properties.
fn passed_on(bench: &Bench, properties: &MessageProperties) -> Result<MessageProperties, Stop> {
    let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
    let publish = message_of(&bench.topic_name("t"), "x", properties.clone());
    bench.connect("pub")?.publish_message(publish, QoS::AtMostOnce)?;
    Ok(of(&subscriber.expect_message("x")?))
}

fn pass_unaltered(bench: &Bench, change: fn(&mut MessageProperties)) -> Verdict {
    let mut properties = MessageProperties::default();
    change(&mut properties);
    same("what comes", &passed_on(bench, &properties)?, &properties)?;
    passed()
}

/// The properties of a message, without any where there are none.
fn of(publish: &Publish) -> MessageProperties {
    publish.properties.as_deref().cloned().unwrap_or_default()
}

fn user_properties() -> Vec<(Text, Text)> {
    let pairs = [("z", "1"), ("a", "2"), ("z", "1"), ("", ""), ("a", "größe"), ("z", "0")];
    pairs.map(|(name, value)| (Text::from_static(name), Text::from_static(value))).into()
}

fn full() -> MessageProperties {
    MessageProperties {
        payload_format_indicator: Some(true),
        content_type: Some(Text::from_static("text/plain")),
        response_topic: Some(TopicName::from_static("answers")),
        correlation_data: Some(Bytes::from_static(b"\0question")),
        user_properties: user_properties(),
    }
}

fn not_utf_8(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::AtLeastOnce)?;
    let topic_name = bench.topic_name("t");
    let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
    let mut publisher = bench.connect("pub")?;
    let mut packet = publish(&topic_name, QoS::AtLeastOnce, 1, Bytes::from_static(b"\xFF\xFE"));
    let payload_format_indicator = Some(true);
    packet.properties = Some(Arc::new(MessageProperties {
        payload_format_indicator,
        ..MessageProperties::default()
    }));
    publisher.send(packet);
    match publisher.next_packet()? {
        Some(Packet::PubAck(ack)) if ack.reason_code == ReasonCode::PayloadFormatInvalid => {
            publisher.publish(&topic_name, QoS::AtMostOnce, "marker")?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            seen("refused by PUBACK with 0x99")
        }
        Some(Packet::PubAck(ack)) if !ack.reason_code.is_error() => {
            let publish = subscriber.expect_message(b"\xFF\xFE")?;
            same("the indicator", &of(&publish).payload_format_indicator, &Some(true))?;
            seen("passed on unseen")
        }
        Some(Packet::Disconnect(end)) if end.reason_code == ReasonCode::PayloadFormatInvalid => {
            seen("ends the connection with 0x99")
        }
        other => failed(format!(
            "PUBACK, or an end with 0x99, expected; what comes is {}",
            crate::exchange::came(other)
        )),
    }
}
