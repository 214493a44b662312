//! The faults, one at a time, and the checks that each has to be noticed by.

use super::{Fault, From};
use dunlin_codec::{
    Ack, AckProperties, Delivery, MessageProperties, Packet, PacketIdentifier, Publish,
    PublishTopic, QoS, ReasonCode, RetainHandling, SubscriptionIdentifier, Text, TopicAlias,
};
use std::sync::Arc;

/// Changes PUBLISHes from the server.
fn delivered(from: From, packet: Packet, change: impl FnOnce(&mut Publish)) -> Vec<Packet> {
    published(From::Server, from, packet, change)
}

/// Changes PUBLISHes to the server.
fn sent(from: From, packet: Packet, change: impl FnOnce(&mut Publish)) -> Vec<Packet> {
    published(From::Client, from, packet, change)
}

fn published(
    side: From,
    from: From,
    mut packet: Packet,
    change: impl FnOnce(&mut Publish),
) -> Vec<Packet> {
    if let (true, Packet::Publish(publish)) = (from == side, &mut packet) {
        change(publish);
    }
    vec![packet]
}

/// Takes away the packets from the server that `is_meant` names.
fn without(from: From, packet: Packet, is_meant: fn(&Packet) -> bool) -> Vec<Packet> {
    if from == From::Server && is_meant(&packet) { Vec::new() } else { vec![packet] }
}

fn with_dup(delivery: Delivery, dup: bool) -> Delivery {
    match delivery {
        Delivery::AtMostOnce => Delivery::AtMostOnce,
        Delivery::AtLeastOnce { packet_identifier, .. } => {
            Delivery::AtLeastOnce { packet_identifier, dup }
        }
        Delivery::ExactlyOnce { packet_identifier, .. } => {
            Delivery::ExactlyOnce { packet_identifier, dup }
        }
    }
}

pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "nothing ends a connection",
        spoil: |from, packet, _| {
            without(from, packet, |packet| matches!(packet, Packet::Disconnect(_)))
        },
        noticed_by: &[
            "malformed-publish/",
            "v311/publish/not-authorised",
            "acknowledgements/pub*-flags",
            "acknowledgements/pubrel-with*",
            "acknowledgements/*-empty",
            "acknowledgements/*-of-one-byte",
            "acknowledgements/*-too-long",
            "acknowledgements/*-reason-code-unknown",
            "acknowledgements/reason-string",
            "acknowledgements/property-of-publish",
            "acknowledgements/properties-beyond-the-packet",
            "topic-alias/zero",
            "topic-alias/above-the-maximum",
            "topic-alias/never-set",
            "v*/topic-alias/not-of-the-last-connection",
            "flow-control/to-the-server-beyond-its-maximum",
            "packet-size/beyond-the-server",
            "packet-size/announced-beyond-the-server",
        ],
    },
    Fault {
        name: "DUP is forgotten",
        spoil: |from, packet, _| {
            delivered(from, packet, |publish| publish.delivery = with_dup(publish.delivery, false))
        },
        noticed_by: &[
            "redelivery/qos-*",
            "redelivery/after-*",
            "redelivery/each-time",
            "redelivery/order",
            "redelivery/not-what-was-acknowledged",
            "redelivery/pubrec-that-was-not-answered",
            "redelivery/all-stages-at-once",
            "redelivery/before-what-waited",
            "redelivery/within-a-smaller-receive-maximum",
            "properties/sent-again",
            "message-expiry/not-of-a-message-that-was-sent",
        ],
    },
    Fault {
        name: "DUP is always set",
        spoil: |from, packet, _| {
            delivered(from, packet, |publish| publish.delivery = with_dup(publish.delivery, true))
        },
        noticed_by: &[
            "publish/qos-1",
            "publish/qos-2",
            "publish/dup-is-not-passed-on",
            "retained/qos",
            "offline/qos-1",
            "offline/qos-2",
            "qos-flows/to-the-client",
        ],
    },
    Fault {
        name: "RETAIN is never set",
        spoil: |from, packet, _| delivered(from, packet, |publish| publish.retain = false),
        noticed_by: &[
            "retained/sent-to-a-new-subscription",
            "retained/replaced",
            "retained/removed-by-an-empty-message",
            "retained/not-replaced-without-the-flag",
            "retained/outlives-the-publisher",
            "retained/of-all-topics-that-match",
            "retained/again-with-the-same-subscription",
            "retained/only-when-released",
            "retain-handling/0-again",
            "retain-handling/1-when-new",
            "retain-as-published/1",
            "retain-as-published/stored-message",
            "retain-as-published/removal",
            "retain-as-published/through-a-queue",
        ],
    },
    Fault {
        name: "RETAIN is always set",
        spoil: |from, packet, _| delivered(from, packet, |publish| publish.retain = true),
        noticed_by: &[
            "publish/qos-0",
            "retained/live-without-the-flag",
            "retained/empty-message-is-delivered",
            "retained/live-while-away",
            "retain-handling/2-hears-the-next",
            "retain-as-published/0",
        ],
    },
    Fault {
        name: "every message is retained",
        spoil: |from, packet, _| sent(from, packet, |publish| publish.retain = true),
        noticed_by: &["retained/not-stored-without-the-flag"],
    },
    Fault {
        name: "nothing is retained",
        spoil: |from, packet, _| sent(from, packet, |publish| publish.retain = false),
        noticed_by: &[
            "retained/two-hundred",
            "retained/to-two-filters",
            "properties/through-a-retained-message",
            "message-expiry/retained-reduced",
            "retain-handling/1-after-unsubscribe",
            "retain-handling/1-with-another-qos",
            "retain-handling/with-a-subscription-identifier",
        ],
    },
    Fault {
        name: "an empty retained message is kept as one",
        spoil: |from, packet, _| {
            sent(from, packet, |publish| {
                if publish.retain && publish.payload.is_empty() {
                    publish.payload = "empty".into();
                }
            })
        },
        noticed_by: &["retained/empty-message-where-there-is-none"],
    },
    Fault {
        name: "Retain Handling is 0 for all, also with the session",
        spoil: |from, mut packet, memory| {
            if let (From::Client, Packet::Subscribe(subscribe)) = (from, &mut packet) {
                for subscription in &mut subscribe.subscriptions {
                    subscription.options.retain_handling = RetainHandling::Send;
                }
            }
            memory.has_session |= has_session(from, &packet);
            let is_marker =
                matches!(&packet, Packet::Publish(publish) if publish.payload == "marker");
            if from == From::Server && memory.has_session && is_marker {
                return vec![stray("stale", true), packet];
            }
            vec![packet]
        },
        noticed_by: &[
            "retain-handling/1-when-new",
            "retain-handling/2-never",
            "retain-handling/1-of-a-session",
        ],
    },
    Fault {
        name: "what is sent on with a session is not the session's",
        spoil: |from, packet, memory| {
            memory.has_session |= has_session(from, &packet);
            let is_marker =
                matches!(&packet, Packet::Publish(publish) if publish.payload == "marker");
            if from == From::Server && memory.has_session && is_marker {
                return vec![stray("stale", false), stray("stale", false), packet];
            }
            vec![packet]
        },
        noticed_by: &[
            "retained/not-again-with-the-session",
            "offline/qos-0",
            "acknowledgements/puback-with-an-error",
        ],
    },
    Fault {
        name: "a message of QoS 0 in the retained one's place is lost",
        spoil: |from, packet, _| {
            let is_new = matches!(&packet, Packet::Publish(publish) if publish.payload == "new");
            if from == From::Client && is_new { Vec::new() } else { vec![packet] }
        },
        noticed_by: &["retained/replaced-by-qos-0"],
    },
    Fault {
        name: "every message comes twice",
        spoil: |from, packet, _| match (from, packet) {
            (From::Server, Packet::Publish(publish)) => {
                let copy = Publish { delivery: Delivery::AtMostOnce, ..publish.clone() };
                vec![Packet::Publish(copy), Packet::Publish(publish)]
            }
            (_, packet) => vec![packet],
        },
        noticed_by: &[
            "publish/qos-0",
            "publish/to-all-sessions",
            "publish/back-to-the-publisher",
            "publish/overlapping-subscription-identifiers",
            "publish/same-identifier-of-two-clients",
            "qos-flows/qos-1-same",
            "qos-flows/qos-2-re",
            "qos-flows/qos-2-pubrel-repeated",
            "qos-flows/qos-2-identifier",
            "qos-flows/qos-2-forgotten",
            "qos-flows/qos-2-many",
            "qos-flows/qos-2-when-passed-on",
            "ordering/",
        ],
    },
    Fault {
        name: "messages are lost",
        spoil: |from, packet, _| {
            without(from, packet, |packet| matches!(packet, Packet::Publish(_)))
        },
        noticed_by: &[
            "publish/empty-payload",
            "publish/any-bytes",
            "publish/lengths",
            "publish/large-payload",
            "publish/in-single-bytes",
            "publish/topic-name-unaltered",
            "publish/one-subscription-identifier-for-two",
            "topic-alias/set",
            "topic-alias/maximum",
            "topic-alias/all-at-once",
            "topic-alias/with-qos",
            "topic-alias/of-one-client",
            "packet-size/of-the-server",
            "message-expiry/passed-on",
            "flow-control/to-the-server-qos-1-gives-back",
            "flow-control/other-packets-go-on",
            "flow-control/qos-0-is-not-counted",
            "flow-control/qos-1-and-2-together",
            "flow-control/refusal-gives-back",
            "flow-control/of-this-connection",
        ],
    },
    Fault {
        name: "messages that nobody asked for come",
        spoil: |from, packet, _| match (from, packet) {
            (From::Server, Packet::Publish(publish)) if publish.payload == "marker" => {
                vec![stray("unasked", false), Packet::Publish(publish)]
            }
            (_, packet) => vec![packet],
        },
        noticed_by: &[
            "publish/no-other-topic",
            "offline/qos",
            "offline/then-live",
            "offline/after-an-abort",
            "redelivery/not-after-a-clean-start",
            "acknowledgements/pubrec-with-an-error",
            "packet-size/too-large",
            "message-expiry/over",
            "message-expiry/retained-over",
            "message-expiry/zero",
        ],
    },
    Fault {
        name: "payloads are cut after 100 bytes, and Topic Names changed",
        spoil: |from, packet, _| {
            delivered(from, packet, |publish| {
                publish.payload.truncate(100);
                publish.topic = PublishTopic::Name("elsewhere".parse().expect("a Topic Name"));
            })
        },
        noticed_by: &[
            "publish/any-bytes",
            "publish/large-payload",
            "publish/topic-name-unaltered",
            "topic-alias/to-a-client-within-its-maximum",
        ],
    },
    Fault {
        name: "everything is delivered with QoS 0",
        spoil: |from, mut packet, _| {
            if let (From::Client, Packet::Subscribe(subscribe)) = (from, &mut packet) {
                for subscription in &mut subscribe.subscriptions {
                    subscription.options.maximum_qos = QoS::AtMostOnce;
                }
            }
            vec![packet]
        },
        noticed_by: &[
            "publish/qos-1",
            "publish/qos-of-the-delivery",
            "publish/overlapping-subscriptions",
            "retained/qos",
            "offline/granted-qos",
            "flow-control/receive-maximum",
        ],
    },
    Fault {
        name: "properties are lost, and Subscription Identifiers and the interval made up",
        spoil: |from, packet, _| {
            delivered(from, packet, |publish| {
                let made_up = MessageProperties {
                    payload_format_indicator: Some(true),
                    ..MessageProperties::default()
                };
                publish.properties = match publish.properties.take() {
                    Some(own) if own.payload_format_indicator != Some(false) => None,
                    _ => Some(Arc::new(made_up)),
                };
                publish.subscription_identifiers =
                    SubscriptionIdentifier::new(9).into_iter().collect();
                publish.message_expiry_interval = Some(100);
            })
        },
        noticed_by: &[
            "properties/",
            "publish/no-subscription-identifier-unasked",
            "publish/one-subscription-identifier-for-two",
            "publish/overlapping-subscription-identifiers",
            "retain-handling/with-a-subscription-identifier",
            "message-expiry/passed-on",
            "message-expiry/absent",
            "message-expiry/largest",
            "message-expiry/reduced-by-waiting",
        ],
    },
    Fault {
        name: "User Properties are sorted",
        spoil: |from, packet, _| {
            delivered(from, packet, |publish| {
                if let Some(properties) = publish.properties.as_mut().map(Arc::make_mut) {
                    properties.user_properties.sort_by(|one, other| one.0.as_str().cmp(&other.0));
                }
            })
        },
        noticed_by: &["properties/user-properties", "properties/many-user-properties"],
    },
    Fault {
        name: "nothing expires",
        spoil: |from, packet, _| {
            sent(from, packet, |publish| publish.message_expiry_interval = None)
        },
        noticed_by: &["message-expiry/over", "message-expiry/retained-", "message-expiry/largest"],
    },
    Fault {
        name: "aliases come unasked, above the maximum, and without a name",
        spoil: |from, packet, memory| {
            delivered(from, packet, |publish| {
                memory.seen += 1;
                let alias = TopicAlias::new(9).expect("not 0");
                publish.topic = match publish.topic.name() {
                    Some(name) if memory.seen > 1 => {
                        PublishTopic::NameAndAlias(name.clone(), alias)
                    }
                    _ => PublishTopic::Alias(alias),
                };
            })
        },
        noticed_by: &[
            "v5/topic-alias/none",
            "v5/topic-alias/to-a-client",
            "v5/topic-alias/not-of-the-last-connection-of",
        ],
    },
    Fault {
        name: "acknowledgements have the identifier of another",
        spoil: |from, mut packet, _| {
            if let (
                From::Server,
                Packet::PubAck(ack)
                | Packet::PubRec(ack)
                | Packet::PubRel(ack)
                | Packet::PubComp(ack),
            ) = (from, &mut packet)
            {
                ack.packet_identifier = ack.packet_identifier.next();
            }
            vec![packet]
        },
        noticed_by: &[
            "acknowledgements/identifiers",
            "acknowledgements/codes-of-the-flow",
            "acknowledgements/pubrel-unknown",
            "acknowledgements/short",
            "acknowledgements/refused-identifier-is-new",
            "publish/many-in-one-write",
            "publish/nobody-subscribed",
            "v5/publish/not-authorised",
            "acknowledgements/pubrec-unknown",
            "qos-flows/qos-1-and-2-side-by-side",
            "flow-control/to-the-server-up-to-its-maximum",
            "message-expiry/flow-goes-on",
        ],
    },
    Fault {
        name: "PUBREL is never sent",
        spoil: |from, packet, _| {
            without(from, packet, |packet| matches!(packet, Packet::PubRel(_)))
        },
        noticed_by: &[
            "publish/qos-2",
            "redelivery/pubrel",
            "redelivery/several-pubrel-in-order",
            "qos-flows/pubrel-waits-for-pubrec",
            "qos-flows/acknowledgements-in-another-order",
            "qos-flows/identifier-in-use-until-pubcomp",
            "flow-control/pubrec-gives-nothing-back",
            "acknowledgements/short-and-long-forms",
            "acknowledgements/with-properties",
        ],
    },
    Fault {
        name: "stray acknowledgements come before PINGRESP",
        spoil: |from, packet, _| {
            if from == From::Server && packet == Packet::PingResp {
                let id = PacketIdentifier::new(99).expect("not 0");
                return vec![Packet::PubAck(Ack::new(id, ReasonCode::Success)), packet];
            }
            vec![packet]
        },
        noticed_by: &[
            "acknowledgements/puback-unknown",
            "acknowledgements/pubcomp-unknown",
            "qos-flows/pubrec-repeated",
            "qos-flows/not-sent-again-on-the-same-connection",
        ],
    },
    Fault {
        name: "acknowledgements are long",
        spoil: |from, mut packet, _| {
            if let (From::Server, Packet::PubComp(ack)) = (from, &mut packet) {
                let reason_string = Some(Text::from_static("this is a very long reason indeed"));
                let properties = AckProperties { reason_string, ..AckProperties::default() };
                ack.properties = Some(Box::new(properties));
            }
            vec![packet]
        },
        noticed_by: &[
            "v5/acknowledgements/no-problem-information-unasked",
            "v5/acknowledgements/within-maximum-packet-size",
        ],
    },
    Fault {
        name: "the client's limits are not heard",
        spoil: |from, mut packet, _| {
            if let (From::Client, Packet::Connect(connect)) = (from, &mut packet) {
                connect.properties.receive_maximum = None;
                connect.properties.maximum_packet_size = None;
            }
            vec![packet]
        },
        noticed_by: &[
            "flow-control/receive-maximum",
            "flow-control/qos-1-and-2-together",
            "flow-control/pubrec-gives-nothing-back",
            "flow-control/of-this-connection",
            "redelivery/within-a-smaller-receive-maximum",
            "packet-size/to",
        ],
    },
];

/// CONNACK says that there is a session.
fn has_session(from: From, packet: &Packet) -> bool {
    from == From::Server && matches!(packet, Packet::ConnAck(connack) if connack.session_present)
}

/// A message that nobody sent.
fn stray(payload: &'static str, retain: bool) -> Packet {
    Packet::Publish(Publish {
        delivery: Delivery::AtMostOnce,
        retain,
        topic: PublishTopic::Name("stray".parse().expect("a Topic Name")),
        message_expiry_interval: None,
        subscription_identifiers: Vec::new(),
        properties: None,
        payload: payload.into(),
    })
}
