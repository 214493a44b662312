//! Overlapping subscriptions, and the identifiers of subscriptions. Spec: §3.3.4, §3.3.2.3.8.

use super::message_steps::{EACH_QOS, same, subscriber};
use super::{Bench, Check};
use crate::{BOTH, Peer, Stop, V5, Verdict, ensure, passed, seen, subscribe, subscription};
use dunlin_codec::{Publish, QoS, SubscribeProperties, SubscriptionIdentifier, TopicName};
use std::collections::BTreeSet;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "publish/overlapping-subscriptions",
        versions: BOTH,
        statements: &["MQTT-3.3.4-2", "MQTT3-3.3.5-1"],
        looks_for: "of overlapping subscriptions the highest QoS counts",
        run: overlapping,
    },
    Check {
        name: "publish/overlapping-subscription-identifiers",
        versions: V5,
        statements: &["MQTT-3.3.4-3", "MQTT-3.3.4-4", "MQTT-3.3.4-5"],
        looks_for: "a message carries the identifiers of all its subscriptions, or comes with each",
        run: overlapping_identifiers,
    },
    Check {
        name: "publish/one-subscription-identifier-for-two",
        versions: V5,
        statements: &["MQTT-3.3.4-3"],
        looks_for: "an identifier of two overlapping subscriptions comes with the message",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            bench.can().need_wildcards()?;
            let mut subscriber = bench.connect("sub")?;
            identified(bench, &mut subscriber, "t/a", QoS::AtMostOnce, 5)?;
            identified(bench, &mut subscriber, "t/#", QoS::AtMostOnce, 5)?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("t/a"), QoS::AtMostOnce, "x")?;
            publisher.publish(&bench.topic_name("t/a"), QoS::AtMostOnce, "marker")?;
            let came = subscriber.publishes_before(b"marker")?;
            ensure(!came.is_empty(), "a message expected before the marker; none comes")?;
            for publish in came {
                let mut ids = ids(&publish).into_iter();
                ensure(
                    ids.len() > 0 && ids.all(|id| id == 5),
                    "Subscription Identifier 5 expected",
                )?;
            }
            passed()
        },
    },
    Check {
        name: "publish/no-subscription-identifier-unasked",
        versions: V5,
        statements: &["MQTT-3.3.4-3"],
        looks_for: "a subscription without identifier gives messages without one",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            let mut with = bench.connect("with")?;
            identified(bench, &mut with, "t", QoS::AtMostOnce, 268_435_455)?;
            let mut without = subscriber(bench, "without", "t", QoS::AtMostOnce)?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            same("what comes", &ids(&with.expect_message("x")?), &vec![268_435_455])?;
            same("what comes", &ids(&without.expect_message("x")?), &Vec::new())?;
            passed()
        },
    },
];

/// One copy or several, but one with the highest QoS, whatever the order of subscribing.
fn overlapping(bench: &mut Bench) -> Verdict {
    bench.can().need_wildcards()?;
    let highest = bench.can().maximum_qos;
    let mut copies = BTreeSet::new();
    for (label, filters) in [("up", ["t/a", "t/+", "t/#"]), ("down", ["t/#", "t/a", "t/+"])] {
        let granted = if label == "up" { EACH_QOS } else { [2, 0, 1].map(qos_of) };
        let mut subscriber = bench.connect(label)?;
        for (filter, qos) in filters.into_iter().zip(granted) {
            subscriber.subscribe(&bench.topic_filter(filter), qos)?;
        }
        let mut publisher = bench.connect("pub")?;
        publisher.publish(&bench.topic_name("t/a"), highest, "x")?;
        // A marker for each QoS: messages of another QoS may overtake.
        subscriber.subscribe(&bench.topic_filter("end"), highest)?;
        let markers = EACH_QOS.into_iter().filter(|qos| *qos <= highest);
        for qos in markers.clone() {
            publisher.publish(&bench.topic_name("end"), qos, "marker")?;
        }
        let mut came = Vec::new();
        for _ in markers {
            came.extend(subscriber.publishes_before(b"marker")?);
        }
        let best = came.iter().map(|publish| publish.delivery.qos()).max();
        same("the highest QoS of the copies", &best, &Some(highest))?;
        copies.insert(came.len());
    }
    match copies.into_iter().max() {
        Some(1) => seen("one copy for overlapping subscriptions"),
        _ => seen("a copy for each of overlapping subscriptions"),
    }
}

fn qos_of(value: u8) -> QoS {
    QoS::new(value).expect("0, 1 or 2")
}

fn overlapping_identifiers(bench: &mut Bench) -> Verdict {
    bench.can().need_subscription_identifiers()?;
    bench.can().need_wildcards()?;
    let mut subscriber = bench.connect("sub")?;
    for (filter, id) in [("t/a", 1), ("t/+", 128), ("t/#", 20_000), ("t/b", 4)] {
        identified(bench, &mut subscriber, filter, QoS::AtMostOnce, id)?;
    }
    let mut publisher = bench.connect("pub")?;
    let topic_name: TopicName = bench.topic_name("t/a");
    publisher.publish(&topic_name, QoS::AtMostOnce, "x")?;
    publisher.publish(&bench.topic_name("t/b"), QoS::AtMostOnce, "marker")?;
    let came = subscriber.publishes_before(b"marker")?;
    let mut all: Vec<u32> = came.iter().flat_map(ids).collect();
    all.sort_unstable();
    same("the Subscription Identifiers", &all, &vec![1, 128, 20_000])?;
    match came.len() {
        1 => seen("one copy with all Subscription Identifiers"),
        _ => seen("a copy for each Subscription Identifier"),
    }
}

fn identified(
    bench: &Bench,
    peer: &mut Peer,
    filter: &str,
    maximum_qos: QoS,
    id: u32,
) -> Result<(), Stop> {
    let packet_identifier = peer.new_packet_identifier();
    let filter = bench.topic_filter(filter);
    let mut packet = subscribe(packet_identifier, [subscription(&filter, maximum_qos)]);
    packet.properties = SubscribeProperties {
        subscription_identifier: SubscriptionIdentifier::new(id),
        ..SubscribeProperties::default()
    };
    peer.send(packet);
    let suback = peer.expect_suback(packet_identifier)?;
    ensure(!suback.reason_codes[0].is_error(), "the subscription is refused")
}

fn ids(publish: &Publish) -> Vec<u32> {
    publish.subscription_identifiers.iter().map(|id| id.value()).collect()
}
