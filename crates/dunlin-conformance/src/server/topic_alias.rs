//! Topic Alias, in both directions. Spec: §3.3.2.3.4, §3.1.2.11.5, §3.2.2.3.8.

use super::Check;
use super::message_steps::{
    expect_unacknowledged, lasting_subscriber, numbers, refused, resumed_with, same, subscriber,
    subscriber_with, text,
};
use crate::{Stop, V5, ensure, failed, frame, message, passed, seen, skipped};
use dunlin_codec::{
    ConnectProperties, Publish, PublishTopic, QoS, ReasonCode, TopicAlias, TopicName,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "topic-alias/set-and-used",
        versions: V5,
        statements: &["MQTT-3.3.2-12"],
        looks_for: "an alias stands for the Topic Name that it was set with",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            let topic_name = bench.topic_name("t");
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.send(aliased(Some(&topic_name), 1, "set"));
            publisher.send(aliased(None, 1, "used"));
            publisher.send(aliased(Some(&topic_name), 1, "set again"));
            publisher.send(aliased(None, 1, "used again"));
            for payload in ["set", "used", "set again", "used again"] {
                let publish = subscriber.expect_message(payload)?;
                same("the Topic Name", &publish.topic.name(), &Some(&topic_name))?;
            }
            passed()
        },
    },
    Check {
        name: "topic-alias/maximum",
        versions: V5,
        statements: &["MQTT-3.3.2-12"],
        looks_for: "the highest alias that the server announced is accepted",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            let highest = bench.can().topic_alias_maximum;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.send(aliased(Some(&bench.topic_name("t")), highest, "set"));
            publisher.send(aliased(None, highest, "used"));
            subscriber.expect_message("set")?;
            subscriber.expect_message("used")?;
            passed()
        },
    },
    Check {
        name: "topic-alias/all-at-once",
        versions: V5,
        statements: &["MQTT-3.3.2-12"],
        looks_for: "as many aliases as the server announced (or 100) are kept apart",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            bench.can().need_wildcards()?;
            let count = bench.can().topic_alias_maximum.min(100);
            let mut subscriber = subscriber(bench, "sub", "t/+", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            let topic_name = |alias: u16| bench.topic_name(&format!("t/{alias}"));
            for alias in 1..=count {
                publisher.send(aliased(Some(&topic_name(alias)), alias, "set"));
                subscriber.expect_message("set")?;
            }
            for alias in (1..=count).rev() {
                publisher.send(aliased(None, alias, "used"));
                let publish = subscriber.expect_message("used")?;
                same("the Topic Name", &publish.topic.name(), &Some(&topic_name(alias)))?;
            }
            passed()
        },
    },
    Check {
        name: "topic-alias/set-to-another-topic",
        versions: V5,
        statements: &["MQTT-3.3.2-12"],
        looks_for: "an alias that is set anew stands for the new Topic Name",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            let mut old = subscriber(bench, "old", "old", QoS::AtMostOnce)?;
            let mut new = subscriber(bench, "new", "new", QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            publisher.send(aliased(Some(&bench.topic_name("old")), 1, "1"));
            publisher.send(aliased(Some(&bench.topic_name("new")), 1, "2"));
            publisher.send(aliased(None, 1, "3"));
            publisher.send(message(&bench.topic_name("old"), "4"));
            new.expect_message("2")?;
            new.expect_message("3")?;
            old.expect_message("1")?;
            old.expect_message("4")?;
            passed()
        },
    },
    Check {
        name: "topic-alias/with-qos-1-and-2",
        versions: V5,
        statements: &["MQTT-3.3.2-12", "MQTT-3.3.4-1"],
        looks_for: "a message by alias has its QoS flow",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            let highest = bench.can().maximum_qos;
            let mut subscriber = subscriber(bench, "sub", "t", highest)?;
            let mut publisher = bench.connect("pub")?;
            let topic_name = bench.topic_name("t");
            publisher.publish_message(aliased(Some(&topic_name), 1, "set"), highest)?;
            publisher.publish_message(aliased(None, 1, "used"), highest)?;
            subscriber.expect_message("set")?;
            subscriber.expect_message("used")?;
            passed()
        },
    },
    Check {
        name: "topic-alias/zero",
        versions: V5,
        statements: &["MQTT-3.3.2-8", "MQTT-4.13.1-1"],
        looks_for: "alias 0 is refused",
        run: |bench| {
            let topic_name = bench.topic_name("t");
            refused(bench, &frame(0x30, &format!("'{topic_name}' 03 23 0000 \"x\"")), INVALID)
        },
    },
    Check {
        name: "topic-alias/above-the-maximum",
        versions: V5,
        statements: &["MQTT-3.3.2-9", "MQTT-3.2.2-17", "MQTT-3.2.2-18", "MQTT-4.13.1-1"],
        looks_for: "an alias above the server's maximum is refused",
        run: |bench| {
            let Some(alias) = bench.can().topic_alias_maximum.checked_add(1) else {
                return skipped("the server's Topic Alias Maximum is 65535");
            };
            let topic_name = bench.topic_name("t");
            let body = format!("'{topic_name}' 03 23 {alias:04X} \"x\"");
            refused(bench, &frame(0x30, &body), INVALID)
        },
    },
    Check {
        name: "topic-alias/never-set",
        versions: V5,
        statements: &["MQTT-4.13.1-1"],
        looks_for: "an alias that was not set, without a Topic Name, is refused",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            refused(bench, &frame(0x30, "0000 03 23 0001 \"x\""), INVALID)
        },
    },
    Check {
        name: "topic-alias/not-of-the-last-connection",
        versions: V5,
        statements: &["MQTT-3.3.2-7"],
        looks_for: "an alias of an earlier connection of the session means nothing",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            let mut subscriber = subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            let (mut publisher, _) = bench.connect_with("pub", bench.persistent("pub"))?;
            publisher.send(aliased(Some(&bench.topic_name("t")), 1, "set"));
            subscriber.expect_message("set")?;
            publisher.disconnect()?;
            let mut publisher = resumed_with(bench, "pub", |_| ())?;
            publisher.send(aliased(None, 1, "used"));
            let end = publisher.expect_closed()?.with_code_of(INVALID)?;
            bench.connect("other")?.publish(&bench.topic_name("t"), QoS::AtMostOnce, "marker")?;
            let came = subscriber.publishes_before(b"marker")?;
            ensure(came.is_empty(), "a message by an alias of an earlier connection is delivered")?;
            end.passed()
        },
    },
    Check {
        name: "topic-alias/of-one-client-alone",
        versions: V5,
        statements: &["MQTT-3.3.2-12"],
        looks_for: "the same alias of two clients stands for two Topic Names",
        run: |bench| {
            bench.can().need_topic_alias(1)?;
            let mut subscribers = [
                subscriber(bench, "sub1", "a", QoS::AtMostOnce)?,
                subscriber(bench, "sub2", "b", QoS::AtMostOnce)?,
            ];
            let mut publishers = [bench.connect("one")?, bench.connect("two")?];
            let names = [bench.topic_name("a"), bench.topic_name("b")];
            for (at, publisher) in publishers.iter_mut().enumerate() {
                publisher.send(aliased(Some(&names[at]), 1, "set"));
                subscribers[at].expect_message("set")?;
            }
            for (publisher, subscriber) in publishers.iter_mut().zip(&mut subscribers) {
                publisher.send(aliased(None, 1, "used"));
                subscriber.expect_message("used")?;
            }
            passed()
        },
    },
    Check {
        name: "topic-alias/none-to-a-client-without-maximum",
        versions: V5,
        statements: &["MQTT-3.1.2-27"],
        looks_for: "a client that announced no Topic Alias Maximum, or 0, gets Topic Names alone",
        run: |bench| {
            for (label, topic_alias_maximum) in [("absent", None), ("zero", Some(0))] {
                let properties =
                    ConnectProperties { topic_alias_maximum, ..ConnectProperties::default() };
                let mut subscriber = subscriber_with(bench, label, properties)?;
                let mut publisher = bench.connect("pub")?;
                for payload in numbers(20) {
                    publisher.publish(&bench.topic_name("t"), QoS::AtMostOnce, payload.clone())?;
                    let publish = subscriber.expect_message(payload)?;
                    ensure(publish.topic.alias().is_none(), "a Topic Alias comes unasked")?;
                }
            }
            passed()
        },
    },
    Check {
        name: "topic-alias/to-a-client-within-its-maximum",
        versions: V5,
        statements: &["MQTT-3.1.2-26", "MQTT-3.3.2-11", "MQTT-3.3.2-8"],
        looks_for: "aliases to a client stay within its maximum, and stand for what they were set",
        run: |bench| {
            bench.can().need_wildcards()?;
            let properties =
                ConnectProperties { topic_alias_maximum: Some(2), ..ConnectProperties::default() };
            let mut connect = bench.connect_packet("sub");
            connect.properties = properties;
            let (mut subscriber, _) = bench.connect_with("sub", connect)?;
            subscriber.subscribe(&bench.topic_filter("t/+"), QoS::AtMostOnce)?;
            let mut publisher = bench.connect("pub")?;
            let mut aliases = BTreeMap::new();
            for round in 0..6 {
                for label in ["t/a", "t/b", "t/c", "t/d"] {
                    let payload = format!("{label} {round}");
                    let topic_name = bench.topic_name(label);
                    publisher.publish(&topic_name, QoS::AtMostOnce, payload.clone())?;
                    let came = resolved(&mut aliases, 2, &subscriber.expect_message(payload)?)?;
                    same("the Topic Name", &came, &topic_name)?;
                }
            }
            let used: BTreeSet<u16> = aliases.into_keys().collect();
            match used.len() {
                0 => seen("the server sets no Topic Alias"),
                count => seen(format!("the server uses {count} of 2 Topic Aliases")),
            }
        },
    },
    Check {
        name: "topic-alias/not-of-the-last-connection-of-the-subscriber",
        versions: V5,
        statements: &["MQTT-3.3.2-7"],
        looks_for: "what is sent again on a new connection does not lean on aliases of the old one",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let topic_name = bench.topic_name("t");
            drop(lasting_subscriber(bench, "sub", "t", QoS::AtLeastOnce)?);
            let resumed = || {
                resumed_with(bench, "sub", |properties| properties.topic_alias_maximum = Some(5))
            };
            let mut subscriber = resumed()?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "1")?;
            subscriber.expect_message("1")?;
            publisher.publish(&topic_name, QoS::AtLeastOnce, "2")?;
            let unacknowledged = expect_unacknowledged(&mut subscriber, "2")?;
            subscriber.abort();
            publisher.publish(&topic_name, QoS::AtLeastOnce, "3")?;
            let mut subscriber = resumed()?;
            let mut aliases = BTreeMap::new();
            for payload in ["2", "3"] {
                let publish = subscriber.expect_message(payload)?;
                let came = resolved(&mut aliases, 5, &publish)?;
                same("the Topic Name", &came, &topic_name)?;
            }
            match unacknowledged.topic {
                PublishTopic::Name(_) => seen("the server sets no Topic Alias"),
                _ => passed(),
            }
        },
    },
];

/// For an alias that can't be: what the standard names, and the general codes.
const INVALID: &[ReasonCode] =
    &[ReasonCode::TopicAliasInvalid, ReasonCode::ProtocolError, ReasonCode::MalformedPacket];

fn aliased(topic_name: Option<&TopicName>, alias: u16, payload: &str) -> Publish {
    let alias = TopicAlias::new(alias).expect("aliases begin at 1");
    let topic = match topic_name {
        Some(topic_name) => PublishTopic::NameAndAlias(topic_name.clone(), alias),
        None => PublishTopic::Alias(alias),
    };
    let none = TopicName::from_static("x");
    Publish { topic, ..message(&none, payload.to_owned()) }
}

/// The Topic Name that a message of the server means, by the aliases set so far.
fn resolved(
    aliases: &mut BTreeMap<u16, TopicName>,
    maximum: u16,
    publish: &Publish,
) -> Result<TopicName, Stop> {
    if let Some(alias) = publish.topic.alias() {
        let alias = alias.value();
        ensure(alias <= maximum, format!("alias {alias} is above the client's maximum"))?;
        if let Some(topic_name) = publish.topic.name() {
            aliases.insert(alias, topic_name.clone());
        }
        return match aliases.get(&alias) {
            Some(topic_name) => Ok(topic_name.clone()),
            None => failed(format!("{:?} comes by alias {alias}, which is not set", text(publish))),
        };
    }
    Ok(publish.topic.name().expect("a name where there is no alias").clone())
}
