//! Arbitrary packets of each version, within what that version can say.

use bytes::Bytes;
use dunlin_codec::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

fn text() -> impl Strategy<Value = Text> {
    let short = "[a-zA-Z0-9/é€𝄞 _-]{0,12}";
    // Around the lengths where a property section needs another byte for its own length.
    let long = (prop_oneof![100_usize..140, 16_300_usize..16_400]).prop_map(|len| "x".repeat(len));
    prop_oneof![20 => short.boxed(), 1 => long.boxed()]
        .prop_map(|text| Text::try_from(text).expect("legal"))
}

fn topic_name() -> impl Strategy<Value = TopicName> {
    "[a-z0-9/é$ ]{1,40}".prop_map(|name| TopicName::try_from(name).expect("legal"))
}

fn topic_filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof!["[a-z$é]{0,5}", Just("+".to_owned())];
    (of("\\$share/[a-z]{1,5}/"), vec(level, 1..5), any::<bool>())
        .prop_map(|(share, levels, all)| {
            let share = share.unwrap_or_default();
            format!("{share}{}{}", levels.join("/"), if all { "/#" } else { "" })
        })
        .prop_filter_map("not a Topic Filter", |filter| TopicFilter::try_from(filter).ok())
}

fn binary() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => binary(),
        1 => (120_usize..140).prop_map(|len| Bytes::from(vec![7; len])),
        1 => prop_oneof![4_000_usize..4_200, 16_300_usize..16_400]
            .prop_map(|len| Bytes::from(vec![7; len])),
    ]
}

fn packet_identifier() -> impl Strategy<Value = PacketIdentifier> {
    any::<u16>().prop_filter_map("zero", PacketIdentifier::new)
}

fn subscription_identifier() -> impl Strategy<Value = SubscriptionIdentifier> {
    prop_oneof![1_u32..300, 1..=SubscriptionIdentifier::MAX]
        .prop_filter_map("zero", SubscriptionIdentifier::new)
}

fn qos() -> impl Strategy<Value = QoS> {
    select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn user_properties() -> impl Strategy<Value = UserProperties> {
    prop_oneof![2 => Just(vec![]).boxed(), 1 => vec((text(), text()), 0..4).boxed()]
}

fn reason_code(packet_type: PacketType) -> impl Strategy<Value = ReasonCode> {
    let codes: Vec<_> = (0..=u8::MAX)
        .filter_map(ReasonCode::new)
        .filter(|code| code.is_allowed_in(packet_type))
        .collect();
    select(codes)
}

/// An authentication method, and data only beside one.
fn authentication() -> impl Strategy<Value = (Option<Text>, Option<Bytes>)> {
    of((text(), of(binary())))
        .prop_map(|both| both.map_or((None, None), |(method, data)| (Some(method), data)))
}

fn message_properties() -> impl Strategy<Value = MessageProperties> {
    (of(any::<bool>()), of(text()), of(topic_name()), of(binary()), user_properties()).prop_map(
        |(payload_format_indicator, content_type, response_topic, correlation_data, user)| {
            MessageProperties {
                payload_format_indicator,
                content_type,
                response_topic,
                correlation_data,
                user_properties: user,
            }
        },
    )
}

fn will(is_v5: bool) -> impl Strategy<Value = Will> {
    let properties = (of(any::<u32>()), of(any::<u32>()), message_properties());
    (topic_name(), payload(), qos(), any::<bool>(), properties).prop_map(
        move |(topic_name, payload, qos, retain, (delay, expiry, message))| Will {
            topic_name,
            payload,
            qos,
            retain,
            properties: if is_v5 {
                WillProperties {
                    will_delay_interval: delay,
                    message_expiry_interval: expiry,
                    message,
                }
            } else {
                WillProperties::default()
            },
        },
    )
}

fn connect_properties() -> impl Strategy<Value = ConnectProperties> {
    (
        of(any::<u32>()),
        of(1_u16..),
        of(1_u32..),
        of(any::<u16>()),
        (of(any::<bool>()), of(any::<bool>())),
        user_properties(),
        authentication(),
    )
        .prop_map(
            |(expiry, receive, size, alias, (response, problem), user, (method, data))| {
                ConnectProperties {
                    session_expiry_interval: expiry,
                    receive_maximum: receive,
                    maximum_packet_size: size,
                    topic_alias_maximum: alias,
                    request_response_information: response,
                    request_problem_information: problem,
                    user_properties: user,
                    authentication_method: method,
                    authentication_data: data,
                }
            },
        )
}

fn connect(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let is_v5 = version.is_v5();
    (
        (any::<bool>(), any::<bool>(), any::<u16>(), text()),
        of(will(is_v5)),
        of(text()),
        of(binary()),
        connect_properties(),
    )
        .prop_map(
            move |((bridge, clean_start, keep_alive, name), will, user, password, set)| {
                let password = password.filter(|_| is_v5 || user.is_some());
                Packet::Connect(Box::new(Connect {
                    protocol_version: version,
                    bridge: bridge && !is_v5,
                    clean_start,
                    keep_alive,
                    client_identifier: name,
                    will,
                    user_name: user,
                    password,
                    properties: if is_v5 { set } else { ConnectProperties::default() },
                }))
            },
        )
}

fn connack_properties() -> impl Strategy<Value = ConnAckProperties> {
    let flag = || of(any::<bool>());
    (
        (of(any::<u32>()), of(1_u16..), of(select(vec![QoS::AtMostOnce, QoS::AtLeastOnce]))),
        (flag(), of(1_u32..), of(text()), of(any::<u16>()), of(text())),
        user_properties(),
        (flag(), flag(), flag()),
        (of(any::<u16>()), of(text()), of(text())),
        authentication(),
    )
        .prop_map(|(first, second, user, available, third, (method, data))| {
            ConnAckProperties {
                session_expiry_interval: first.0,
                receive_maximum: first.1,
                maximum_qos: first.2,
                retain_available: second.0,
                maximum_packet_size: second.1,
                assigned_client_identifier: second.2,
                topic_alias_maximum: second.3,
                reason_string: second.4,
                user_properties: user,
                wildcard_subscription_available: available.0,
                subscription_identifiers_available: available.1,
                shared_subscription_available: available.2,
                server_keep_alive: third.0,
                response_information: third.1,
                server_reference: third.2,
                authentication_method: method,
                authentication_data: data,
            }
        })
}

fn connack(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let codes = match version {
        ProtocolVersion::V5 => reason_code(PacketType::ConnAck).boxed(),
        _ => (0_u8..6).prop_filter_map("six", ReasonCode::from_connect_return_code).boxed(),
    };
    (any::<bool>(), codes, connack_properties()).prop_map(move |(session_present, code, set)| {
        Packet::ConnAck(Box::new(ConnAck {
            session_present: session_present
                && code == ReasonCode::Success
                && version != ProtocolVersion::V3_1,
            reason_code: code,
            properties: if version.is_v5() { set } else { ConnAckProperties::default() },
        }))
    })
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let parts = || (packet_identifier(), any::<bool>());
    prop_oneof![
        Just(Delivery::AtMostOnce),
        parts()
            .prop_map(|(packet_identifier, dup)| Delivery::AtLeastOnce { packet_identifier, dup }),
        parts()
            .prop_map(|(packet_identifier, dup)| Delivery::ExactlyOnce { packet_identifier, dup }),
    ]
}

pub(crate) fn publish(version: ProtocolVersion) -> impl Strategy<Value = Publish> {
    let is_v5 = version.is_v5();
    let alias = || any::<u16>().prop_filter_map("zero", TopicAlias::new);
    let topic = if is_v5 {
        prop_oneof![
            topic_name().prop_map(PublishTopic::Name),
            alias().prop_map(PublishTopic::Alias),
            (topic_name(), alias())
                .prop_map(|(name, alias)| PublishTopic::NameAndAlias(name, alias)),
        ]
        .boxed()
    } else {
        topic_name().prop_map(PublishTopic::Name).boxed()
    };
    (
        delivery(),
        any::<bool>(),
        topic,
        of(any::<u32>()),
        vec(subscription_identifier(), 0..4),
        of(message_properties()),
        payload(),
    )
        .prop_map(
            move |(delivery, retain, topic, expiry, identifiers, properties, payload)| Publish {
                delivery,
                retain,
                topic,
                message_expiry_interval: expiry.filter(|_| is_v5),
                subscription_identifiers: if is_v5 { identifiers } else { vec![] },
                properties: properties.filter(|set| is_v5 && !set.is_empty()).map(Arc::new),
                payload,
            },
        )
}

fn ack(version: ProtocolVersion, packet_type: PacketType) -> impl Strategy<Value = Ack> {
    let is_v5 = version.is_v5();
    (packet_identifier(), reason_code(packet_type), of(text()), user_properties()).prop_map(
        move |(packet_identifier, code, reason_string, user_properties)| {
            let set = AckProperties { reason_string, user_properties };
            if is_v5 {
                Ack {
                    packet_identifier,
                    reason_code: code,
                    properties: (set != AckProperties::default()).then(|| Box::new(set)),
                }
            } else {
                Ack::new(packet_identifier, ReasonCode::Success)
            }
        },
    )
}

fn subscription(is_v5: bool) -> impl Strategy<Value = Subscription> {
    let handling =
        select(vec![RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    (topic_filter(), qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        move |(topic_filter, maximum_qos, no_local, retain_as_published, retain_handling)| {
            let no_local = no_local && topic_filter.share_name().is_none();
            let mut options = SubscriptionOptions { maximum_qos, ..Default::default() };
            if is_v5 {
                options = SubscriptionOptions {
                    no_local,
                    retain_as_published,
                    retain_handling,
                    ..options
                };
            }
            Subscription { topic_filter, options }
        },
    )
}

fn subscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let is_v5 = version.is_v5();
    let subscriptions = vec(subscription(is_v5), 1..5);
    let set = (of(subscription_identifier()), user_properties());
    (packet_identifier(), subscriptions, set).prop_map(
        move |(packet_identifier, subscriptions, (subscription_identifier, user_properties))| {
            let set = SubscribeProperties { subscription_identifier, user_properties };
            Packet::Subscribe(Box::new(Subscribe {
                packet_identifier,
                properties: if is_v5 { set } else { SubscribeProperties::default() },
                subscriptions,
            }))
        },
    )
}

fn suback_properties(is_v5: bool) -> impl Strategy<Value = SubAckProperties> {
    (of(text()), user_properties()).prop_map(move |(reason_string, user_properties)| {
        if is_v5 {
            SubAckProperties { reason_string, user_properties }
        } else {
            SubAckProperties::default()
        }
    })
}

fn suback(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let codes = match version {
        ProtocolVersion::V5 => reason_code(PacketType::SubAck).boxed(),
        _ => any::<u8>()
            .prop_map(|byte| [0, 1, 2, 0x80][usize::from(byte % 4)])
            .prop_filter_map("four", ReasonCode::from_subscribe_return_code)
            .boxed(),
    };
    (packet_identifier(), vec(codes, 1..6), suback_properties(version.is_v5())).prop_map(
        |(packet_identifier, reason_codes, properties)| {
            Packet::SubAck(Box::new(SubAck { packet_identifier, properties, reason_codes }))
        },
    )
}

fn unsubscribe(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let is_v5 = version.is_v5();
    (packet_identifier(), vec(topic_filter(), 1..5), user_properties()).prop_map(
        move |(packet_identifier, topic_filters, user)| {
            Packet::Unsubscribe(Box::new(Unsubscribe {
                packet_identifier,
                properties: UnsubscribeProperties {
                    user_properties: if is_v5 { user } else { vec![] },
                },
                topic_filters,
            }))
        },
    )
}

fn unsuback(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let is_v5 = version.is_v5();
    let codes = vec(reason_code(PacketType::UnsubAck), 1..6);
    (packet_identifier(), codes, suback_properties(is_v5)).prop_map(
        move |(packet_identifier, codes, properties)| {
            Packet::UnsubAck(Box::new(UnsubAck {
                packet_identifier,
                properties,
                reason_codes: if is_v5 { codes } else { vec![] },
            }))
        },
    )
}

fn disconnect(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let set = (of(any::<u32>()), of(text()), user_properties(), of(text()));
    (reason_code(PacketType::Disconnect), set).prop_map(
        move |(code, (expiry, reason_string, user_properties, server_reference))| {
            Packet::Disconnect(Box::new(if version.is_v5() {
                Disconnect {
                    reason_code: code,
                    properties: DisconnectProperties {
                        session_expiry_interval: expiry,
                        reason_string,
                        user_properties,
                        server_reference,
                    },
                }
            } else {
                Disconnect::new(ReasonCode::Success)
            }))
        },
    )
}

fn auth() -> impl Strategy<Value = Packet> {
    let set = (text(), of(binary()), of(text()), user_properties());
    (reason_code(PacketType::Auth), set).prop_map(
        |(reason_code, (method, data, reason_string, user_properties))| {
            Packet::Auth(Box::new(Auth {
                reason_code,
                properties: AuthProperties {
                    authentication_method: Some(method),
                    authentication_data: data,
                    reason_string,
                    user_properties,
                },
            }))
        },
    )
}

/// Any packet that `version` can say.
pub(crate) fn packet(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let last = if version.is_v5() { auth().boxed() } else { Just(Packet::PingReq).boxed() };
    prop_oneof![
        connect(version),
        connack(version),
        publish(version).prop_map(Packet::Publish),
        ack(version, PacketType::PubAck).prop_map(Packet::PubAck),
        ack(version, PacketType::PubRec).prop_map(Packet::PubRec),
        ack(version, PacketType::PubRel).prop_map(Packet::PubRel),
        ack(version, PacketType::PubComp).prop_map(Packet::PubComp),
        subscribe(version),
        suback(version),
        unsubscribe(version),
        unsuback(version),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect(version),
        last,
    ]
}
