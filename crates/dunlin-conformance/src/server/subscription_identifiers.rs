//! Subscription Identifiers: they come back with the messages. Spec: §3.8.2.1.2, §3.3.4.

use super::Check;
use super::steps::refuses_each;
use crate::{Peer, Stop, V5, ensure, frame, passed, subscribe, subscription};
use dunlin_codec::{Publish, QoS, SubscriptionIdentifier, TopicFilter};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "subscription-identifiers/comes-back",
        versions: V5,
        statements: &["MQTT-3.3.4-3"],
        looks_for: "a message has the Subscription Identifier of its subscription: 1 to 268,435,455",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            let mut peer = bench.connect("client")?;
            for value in [1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455] {
                let label = value.to_string();
                identified(&mut peer, &bench.topic_filter(&label), value)?;
                peer.publish(&bench.topic_name(&label), QoS::AtMostOnce, label.clone())?;
                expect_identifiers(&peer.expect_message(&label)?, &[value])?;
            }
            passed()
        },
    },
    Check {
        name: "subscription-identifiers/of-all-filters-of-the-packet",
        versions: V5,
        statements: &["MQTT-3.3.4-3", "MQTT-3.8.4-5"],
        looks_for: "the Subscription Identifier holds for every filter of its SUBSCRIBE",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            let mut peer = bench.connect("client")?;
            let packet_identifier = peer.new_packet_identifier();
            let filters =
                ["a", "b"].map(|label| subscription(&bench.topic_filter(label), QoS::AtMostOnce));
            let mut packet = subscribe(packet_identifier, filters);
            packet.properties.subscription_identifier = SubscriptionIdentifier::new(9);
            peer.send(packet);
            peer.expect_suback(packet_identifier)?;
            for label in ["a", "b"] {
                peer.publish(&bench.topic_name(label), QoS::AtMostOnce, label)?;
                expect_identifiers(&peer.expect_message(label)?, &[9])?;
            }
            passed()
        },
    },
    Check {
        name: "subscription-identifiers/replaced",
        versions: V5,
        statements: &["MQTT-3.8.4-3", "MQTT-3.3.4-3"],
        looks_for: "a subscription that replaces another replaces its Subscription Identifier",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
            let mut peer = bench.connect("client")?;
            identified(&mut peer, &filter, 1)?;
            identified(&mut peer, &filter, 2)?;
            peer.publish(&topic_name, QoS::AtMostOnce, "second")?;
            expect_identifiers(&peer.expect_message("second")?, &[2])?;
            peer.subscribe(&filter, QoS::AtMostOnce)?;
            peer.publish(&topic_name, QoS::AtMostOnce, "third")?;
            expect_identifiers(&peer.expect_message("third")?, &[])?;
            passed()
        },
    },
    Check {
        name: "subscription-identifiers/survive-with-the-session",
        versions: V5,
        statements: &["MQTT-3.1.2-5", "MQTT-3.1.2-23", "MQTT-3.3.4-3"],
        looks_for: "a session that is gone on with keeps its Subscription Identifiers",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            identified(&mut peer, &bench.topic_filter("t"), 77)?;
            peer.disconnect()?;
            let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            peer.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            expect_identifiers(&peer.expect_message("x")?, &[77])?;
            passed()
        },
    },
    Check {
        name: "subscription-identifiers/zero",
        versions: V5,
        statements: &["MQTT-4.13.1-1"],
        looks_for: "Subscription Identifier 0 ends the connection",
        run: |bench| refuses_each(bench, [frame(0x82, "0001 02 0B 00 't' 00")]),
    },
    Check {
        name: "subscription-identifiers/twice",
        versions: V5,
        statements: &["MQTT-4.13.1-1"],
        looks_for: "a second Subscription Identifier in a SUBSCRIBE ends the connection",
        run: |bench| refuses_each(bench, [frame(0x82, "0001 04 0B 01 0B 02 't' 00")]),
    },
    Check {
        name: "subscription-identifiers/of-five-bytes",
        versions: V5,
        statements: &["MQTT-1.5.5-1", "MQTT-4.13.1-1"],
        looks_for: "a Subscription Identifier of five bytes, or in more than needed, ends the connection",
        run: |bench| {
            let faults = ["0001 06 0B 80808080 01 't' 00", "0001 03 0B 8100 't' 00"];
            refuses_each(bench, faults.map(|body| frame(0x82, body)))
        },
    },
];

/// Subscribes with this Subscription Identifier.
pub(super) fn identified(
    peer: &mut Peer,
    topic_filter: &TopicFilter,
    identifier: u32,
) -> Result<(), Stop> {
    let packet_identifier = peer.new_packet_identifier();
    let mut packet = subscribe(packet_identifier, [subscription(topic_filter, QoS::AtMostOnce)]);
    packet.properties.subscription_identifier = SubscriptionIdentifier::new(identifier);
    peer.send(packet);
    let suback = peer.expect_suback(packet_identifier)?;
    ensure(
        suback.reason_codes.iter().all(|code| !code.is_error()),
        format!("a subscription with an identifier is refused: {:?}", suback.reason_codes),
    )
}

fn identifiers(publish: &Publish) -> Vec<u32> {
    let mut values: Vec<u32> =
        publish.subscription_identifiers.iter().map(|identifier| identifier.value()).collect();
    values.sort_unstable();
    values
}

fn expect_identifiers(publish: &Publish, expected: &[u32]) -> Result<(), Stop> {
    let came = identifiers(publish);
    ensure(
        came == expected,
        format!("Subscription Identifiers {expected:?} expected; the message has {came:?}"),
    )
}
