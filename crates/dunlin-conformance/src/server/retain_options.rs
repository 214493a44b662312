//! Retain Handling and Retain As Published of a subscription. Spec: §3.8.3.1, §3.3.1.3.

use super::message_steps::{numbers, only, resumed, same, sleeping_subscriber};
use super::retained::{publish_marker, retain};
use super::{Bench, Check};
use crate::{Peer, Stop, V5, Verdict, ensure, message, passed, subscribe, subscription};
use dunlin_codec::{
    Publish, QoS, RetainHandling, SubscribeProperties, SubscriptionIdentifier, SubscriptionOptions,
    Unsubscribe, UnsubscribeProperties,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "retain-handling/0-again",
        versions: V5,
        statements: &["MQTT-3.3.1-9", "MQTT-3.8.4-4"],
        looks_for: "Retain Handling 0 gets the retained message with each SUBSCRIBE",
        run: |bench| handling(bench, RetainHandling::Send, [true, true]),
    },
    Check {
        name: "retain-handling/1-when-new",
        versions: V5,
        statements: &["MQTT-3.3.1-10"],
        looks_for: "Retain Handling 1 gets the retained message with the first SUBSCRIBE alone",
        run: |bench| handling(bench, RetainHandling::SendIfNew, [true, false]),
    },
    Check {
        name: "retain-handling/2-never",
        versions: V5,
        statements: &["MQTT-3.3.1-11"],
        looks_for: "Retain Handling 2 gets no retained message",
        run: |bench| handling(bench, RetainHandling::DoNotSend, [false, false]),
    },
    Check {
        name: "retain-handling/1-after-unsubscribe",
        versions: V5,
        statements: &["MQTT-3.3.1-10"],
        looks_for: "with Retain Handling 1 a subscription is new again after UNSUBSCRIBE",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let mut subscriber = bench.connect("sub")?;
            with(bench, &mut subscriber, "t", RetainHandling::SendIfNew, false)?;
            subscriber.expect_message("kept")?;
            let packet_identifier = subscriber.new_packet_identifier();
            subscriber.send(Unsubscribe {
                packet_identifier,
                properties: UnsubscribeProperties::default(),
                topic_filters: vec![bench.topic_filter("t")],
            });
            subscriber.expect_unsuback(packet_identifier)?;
            with(bench, &mut subscriber, "t", RetainHandling::SendIfNew, false)?;
            subscriber.expect_message("kept")?;
            passed()
        },
    },
    Check {
        name: "retain-handling/1-with-another-qos",
        versions: V5,
        statements: &["MQTT-3.3.1-10", "MQTT-3.8.4-3"],
        looks_for: "with Retain Handling 1 a subscription that is replaced is not new",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let mut subscriber = bench.connect("sub")?;
            subscriber.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
            subscriber.expect_message("kept")?;
            let mut changed = subscription(&bench.topic_filter("t"), QoS::AtLeastOnce);
            changed.options.retain_handling = RetainHandling::SendIfNew;
            subscriber.subscribe_to([changed])?;
            publish_marker(bench, "t")?;
            only::<&str>(&mut subscriber, "marker", &[])?;
            passed()
        },
    },
    Check {
        name: "retain-handling/1-of-a-session",
        versions: V5,
        statements: &["MQTT-3.3.1-10", "MQTT-4.1.0-1"],
        looks_for: "with Retain Handling 1 a subscription of the session that is gone on with is \
                    not new",
        run: |bench| {
            sleeping_subscriber(bench, "sub", "t", QoS::AtMostOnce)?;
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let mut subscriber = resumed(bench, "sub")?;
            // Of QoS 0, and published while away: a server may have kept it.
            with(bench, &mut subscriber, "t", RetainHandling::SendIfNew, false)?;
            publish_marker(bench, "t")?;
            let came = subscriber.publishes_before(b"marker")?;
            ensure(!came.iter().any(|publish| publish.retain), "a retained message is sent")?;
            passed()
        },
    },
    Check {
        name: "retain-handling/2-hears-the-next",
        versions: V5,
        statements: &["MQTT-3.3.1-11", "MQTT-4.5.0-1"],
        looks_for: "Retain Handling 2 is about stored messages alone",
        run: |bench| {
            let mut subscriber = bench.connect("sub")?;
            with(bench, &mut subscriber, "t", RetainHandling::DoNotSend, false)?;
            for payload in numbers(3) {
                retain(bench, "t", QoS::AtMostOnce, &payload)?;
                let publish = subscriber.expect_message(payload)?;
                ensure(!publish.retain, "RETAIN 0 expected; it is 1")?;
            }
            passed()
        },
    },
    Check {
        name: "retain-as-published/1",
        versions: V5,
        statements: &["MQTT-3.3.1-13"],
        looks_for: "with Retain As Published 1 the RETAIN flag stays as it was published",
        run: |bench| as_published(bench, true),
    },
    Check {
        name: "retain-as-published/0",
        versions: V5,
        statements: &["MQTT-3.3.1-12"],
        looks_for: "with Retain As Published 0 the RETAIN flag is 0",
        run: |bench| as_published(bench, false),
    },
    Check {
        name: "retain-as-published/stored-message",
        versions: V5,
        statements: &["MQTT-3.3.1-9", "MQTT-3.3.1-13"],
        looks_for: "a stored message has RETAIN 1 with either Retain As Published",
        run: |bench| {
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            for retain_as_published in [false, true] {
                let mut subscriber = bench.connect("sub")?;
                with(bench, &mut subscriber, "t", RetainHandling::Send, retain_as_published)?;
                let publish = subscriber.expect_message("kept")?;
                ensure(publish.retain, "RETAIN 1 expected; it is 0")?;
            }
            passed()
        },
    },
    Check {
        name: "retain-as-published/removal",
        versions: V5,
        statements: &["MQTT-3.3.1-13", "MQTT-3.3.1-6"],
        looks_for: "with Retain As Published 1 the message that removes a retained one has RETAIN 1",
        run: |bench| {
            let mut subscriber = bench.connect("sub")?;
            with(bench, &mut subscriber, "t", RetainHandling::Send, true)?;
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            retain(bench, "t", QoS::AtMostOnce, "")?;
            for payload in ["kept", ""] {
                let publish = subscriber.expect_message(payload)?;
                ensure(publish.retain, "RETAIN 1 expected; it is 0")?;
            }
            passed()
        },
    },
    Check {
        name: "retain-as-published/through-a-queue",
        versions: V5,
        statements: &["MQTT-3.3.1-13", "MQTT-4.5.0-1"],
        looks_for: "with Retain As Published 1 a message that waited has the RETAIN flag it had",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let (mut subscriber, _) = bench.connect_with("sub", bench.persistent("sub"))?;
            let mut wanted = subscription(&bench.topic_filter("t"), QoS::AtLeastOnce);
            wanted.options.retain_as_published = true;
            subscriber.subscribe_to([wanted])?;
            subscriber.disconnect()?;
            retain(bench, "t", QoS::AtLeastOnce, "flagged")?;
            bench.connect("pub")?.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "plain")?;
            let mut subscriber = resumed(bench, "sub")?;
            for (payload, expected) in [("flagged", true), ("plain", false)] {
                let publish = subscriber.expect_message(payload)?;
                same(&format!("RETAIN of {payload:?}"), &publish.retain, &expected)?;
            }
            passed()
        },
    },
    Check {
        name: "retain-handling/with-a-subscription-identifier",
        versions: V5,
        statements: &["MQTT-3.3.4-3", "MQTT-3.3.1-9"],
        looks_for: "a stored message carries the identifier of the subscription that it is sent for",
        run: |bench| {
            bench.can().need_subscription_identifiers()?;
            retain(bench, "t", QoS::AtMostOnce, "kept")?;
            let mut subscriber = bench.connect("sub")?;
            let packet_identifier = subscriber.new_packet_identifier();
            let wanted = subscription(&bench.topic_filter("t"), QoS::AtMostOnce);
            let id = SubscriptionIdentifier::new(77);
            let mut packet = subscribe(packet_identifier, [wanted]);
            packet.properties =
                SubscribeProperties { subscription_identifier: id, ..Default::default() };
            subscriber.send(packet);
            subscriber.expect_suback(packet_identifier)?;
            let publish = subscriber.expect_message("kept")?;
            let came = publish.subscription_identifiers;
            same("the Subscription Identifiers", &came, &id.into_iter().collect())?;
            passed()
        },
    },
];

/// Subscribes with these options.
fn with(
    bench: &Bench,
    peer: &mut Peer,
    filter: &str,
    retain_handling: RetainHandling,
    retain_as_published: bool,
) -> Result<(), Stop> {
    let mut wanted = subscription(&bench.topic_filter(filter), QoS::AtMostOnce);
    wanted.options = SubscriptionOptions { retain_handling, retain_as_published, ..wanted.options };
    peer.subscribe_to([wanted]).map(drop)
}

/// Whether each of two SUBSCRIBEs gets the retained message.
fn handling(bench: &Bench, retain_handling: RetainHandling, expected: [bool; 2]) -> Verdict {
    retain(bench, "t", QoS::AtMostOnce, "kept")?;
    let mut subscriber = bench.connect("sub")?;
    for (turn, is_sent) in ["the first", "the second"].into_iter().zip(expected) {
        with(bench, &mut subscriber, "t", retain_handling, false)?;
        if is_sent {
            let publish = subscriber.expect_message("kept")?;
            ensure(publish.retain, "RETAIN 1 expected; it is 0")?;
        }
        publish_marker(bench, "t")?;
        let came = subscriber.publishes_before(b"marker")?;
        ensure(came.is_empty(), format!("a retained message too many with {turn} SUBSCRIBE"))?;
    }
    passed()
}

/// Live messages of both kinds to a subscription of each kind.
fn as_published(bench: &Bench, retain_as_published: bool) -> Verdict {
    bench.can().need_retain()?;
    let mut subscriber = bench.connect("sub")?;
    with(bench, &mut subscriber, "t", RetainHandling::DoNotSend, retain_as_published)?;
    let mut publisher = bench.connect("pub")?;
    for retain in [true, false] {
        let publish = Publish { retain, ..message(&bench.topic_name("t"), "x") };
        publisher.publish_message(publish, QoS::AtMostOnce)?;
        let came = subscriber.expect_message("x")?.retain;
        same("RETAIN", &came, &(retain && retain_as_published))?;
    }
    passed()
}
