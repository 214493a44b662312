//! SUBSCRIBE and SUBACK: what is granted, replaced and refused. Spec: §3.8, §3.9.

use super::steps::{
    is_refused, messages_so_far, only_the_marker, packet, payloads, refuses, refuses_each,
};
use super::{Bench, Check};
use crate::{BOTH, Peer, V3, V5, Verdict, ensure, passed, seen, subscribe, subscription};
use dunlin_codec::{PacketIdentifier, QoS, Subscription, SubscriptionOptions, TopicFilter};

pub(super) const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "subscribe/suback-has-its-packet-identifier",
        versions: BOTH,
        statements: &[
            "MQTT-3.8.4-1",
            "MQTT-3.8.4-2",
            "MQTT-2.2.1-6",
            "MQTT3-3.8.4-1",
            "MQTT3-3.8.4-2",
            "MQTT3-2.3.1-7",
        ],
        looks_for: "SUBACK repeats the Packet Identifier of its SUBSCRIBE, whatever it is",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            for value in [1, 2, 0x00FF, 0x0100, 0x1234, 0xFFFF] {
                let packet_identifier = PacketIdentifier::new(value).expect("not zero");
                let filter = bench.topic_filter(&format!("t{value}"));
                peer.send(subscribe(packet_identifier, [subscription(&filter, QoS::AtMostOnce)]));
                peer.expect_suback(packet_identifier)?;
            }
            passed()
        },
    },
    Check {
        name: "subscribe/one-code-for-each-filter",
        versions: BOTH,
        statements: &[
            "MQTT-3.8.4-5",
            "MQTT-3.8.4-6",
            "MQTT-3.8.4-7",
            "MQTT-3.9.3-1",
            "MQTT-3.9.3-2",
            "MQTT3-3.8.4-4",
            "MQTT3-3.8.4-5",
            "MQTT3-3.9.3-1",
            "MQTT3-3.9.3-2",
        ],
        looks_for: "one SUBACK with a code for each filter in their order, none above what is asked",
        run: one_code_for_each_filter,
    },
    Check {
        name: "subscribe/a-hundred-filters",
        versions: BOTH,
        statements: &["MQTT-3.8.4-5", "MQTT-3.8.4-6", "MQTT3-3.8.4-4", "MQTT3-3.8.4-5"],
        looks_for: "a SUBSCRIBE of a hundred filters subscribes to each of them",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            let filter = |at: i32| bench.topic_filter(&at.to_string());
            let filters: Vec<Subscription> =
                (0..100).map(|at| subscription(&filter(at), QoS::AtMostOnce)).collect();
            let suback = peer.subscribe_to(filters)?;
            let count = suback.reason_codes.len();
            ensure(count == 100, format!("100 codes expected; SUBACK has {count}"))?;
            for at in ["0", "50", "99"] {
                peer.publish(&bench.topic_name(at), QoS::AtMostOnce, at)?;
                peer.expect_message(at)?;
            }
            passed()
        },
    },
    Check {
        name: "subscribe/any-qos-is-accepted",
        versions: V5,
        statements: &["MQTT-3.2.2-10", "MQTT-3.2.2-9", "MQTT-3.8.4-7"],
        looks_for: "a subscription is accepted with any QoS, and granted up to the server's maximum",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            let asked = ALL_QOS
                .map(|qos| subscription(&bench.topic_filter(&format!("q{}", qos.value())), qos));
            let suback = peer.subscribe_to(asked)?;
            for (code, asked) in suback.reason_codes.iter().zip(ALL_QOS) {
                let maximum = asked.min(bench.can().maximum_qos).value();
                ensure(
                    code.value() <= maximum,
                    format!("at most QoS {maximum} can be granted; SUBACK says {code}"),
                )?;
            }
            passed()
        },
    },
    Check {
        name: "subscribe/same-filter-replaces",
        versions: BOTH,
        statements: &["MQTT-3.8.4-3", "MQTT3-3.8.4-3"],
        looks_for: "a second subscription to the same filter replaces the first",
        run: |bench| {
            let filter = bench.topic_filter("t");
            let mut peer = bench.connect("client")?;
            peer.subscribe(&filter, QoS::AtMostOnce)?;
            peer.subscribe(&filter, QoS::AtLeastOnce)?;
            once_with_qos(bench, &mut peer, QoS::AtLeastOnce)
        },
    },
    Check {
        name: "subscribe/same-filter-replaces-by-a-lower-qos",
        versions: BOTH,
        statements: &["MQTT-3.8.4-3", "MQTT3-3.8.4-3"],
        looks_for: "a second subscription with a lower QoS replaces the first",
        run: |bench| {
            let filter = bench.topic_filter("t");
            let mut peer = bench.connect("client")?;
            peer.subscribe(&filter, QoS::ExactlyOnce)?;
            peer.subscribe(&filter, QoS::AtMostOnce)?;
            once_with_qos(bench, &mut peer, QoS::AtMostOnce)
        },
    },
    Check {
        name: "subscribe/same-filter-twice-in-one-packet",
        versions: BOTH,
        statements: &["MQTT-3.8.4-5", "MQTT-3.8.4-3", "MQTT3-3.8.4-4", "MQTT3-3.8.4-3"],
        looks_for: "of a filter that is in one SUBSCRIBE twice, the second counts",
        run: |bench| {
            let filter = bench.topic_filter("t");
            let mut peer = bench.connect("client")?;
            peer.subscribe_to([
                subscription(&filter, QoS::ExactlyOnce),
                subscription(&filter, QoS::AtMostOnce),
            ])?;
            once_with_qos(bench, &mut peer, QoS::AtMostOnce)
        },
    },
    Check {
        name: "subscribe/replacement-sends-retained-again",
        versions: BOTH,
        statements: &["MQTT-3.8.4-4", "MQTT-3.3.1-9", "MQTT3-3.8.4-3"],
        looks_for: "a subscription that replaces another gets the retained messages again",
        run: |bench| {
            bench.can().need_retain()?;
            let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
            let mut publisher = bench.connect("pub")?;
            let mut retained = crate::message(&topic_name, "retained");
            retained.retain = true;
            publisher.publish_message(retained, QoS::AtMostOnce)?;
            // In step, so that the message is there before the subscription.
            publisher.ping()?;
            let mut peer = bench.connect("client")?;
            for _ in 0..3 {
                peer.subscribe(&filter, QoS::AtMostOnce)?;
                let came = peer.expect_message("retained")?;
                ensure(came.retain, "RETAIN 1 expected on a retained message; it is 0")?;
            }
            passed()
        },
    },
    Check {
        name: "subscribe/replacement-loses-nothing",
        versions: BOTH,
        statements: &["MQTT-3.8.4-4", "MQTT3-3.8.4-3"],
        looks_for: "no message is lost or doubled while a subscription is replaced",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
            let mut peer = bench.connect("client")?;
            peer.subscribe(&filter, QoS::AtLeastOnce)?;
            let mut publisher = bench.connect("pub")?;
            let sent: Vec<String> = (0..60).map(|number| format!("message {number}")).collect();
            for (at, payload) in sent.iter().enumerate() {
                publisher.publish(&topic_name, QoS::AtLeastOnce, payload.clone())?;
                if at % 3 == 0 {
                    let packet_identifier = peer.new_packet_identifier();
                    let again = [subscription(&filter, QoS::AtLeastOnce)];
                    peer.send(subscribe(packet_identifier, again));
                }
                let came = peer.expect_message(payload)?;
                ensure(came.delivery.qos() == QoS::AtLeastOnce, "QoS 1 expected; it is not")?;
            }
            passed()
        },
    },
    Check {
        name: "subscribe/empty",
        versions: BOTH,
        statements: &["MQTT-3.8.3-2", "MQTT-4.13.1-1", "MQTT3-3.8.3-3", "MQTT3-4.8.0-1"],
        looks_for: "a SUBSCRIBE without a filter ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0x82, "0001 {}")),
    },
    Check {
        name: "subscribe/packet-identifier-zero",
        versions: BOTH,
        statements: &["MQTT-2.2.1-3", "MQTT-4.13.1-1", "MQTT3-2.3.1-1", "MQTT3-4.8.0-1"],
        looks_for: "a SUBSCRIBE with Packet Identifier 0 ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0x82, "0000 {} 't' 00")),
    },
    Check {
        name: "subscribe/options-missing",
        versions: BOTH,
        statements: &["MQTT-3.8.3-2", "MQTT-4.13.1-1", "MQTT3-3.8.3-3", "MQTT3-4.8.0-1"],
        looks_for: "a SUBSCRIBE that ends before the options of a filter ends the connection",
        run: |bench| {
            let faults = ["0001 {} 't'", "0001 {} 't' 00 'u'", "0001 {} 't' 00 00"];
            refuses_each(bench, faults.map(|body| packet(bench, 0x82, body)))
        },
    },
    Check {
        name: "subscribe/qos-3",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-3.8.3-4"],
        looks_for: "a SUBSCRIBE that asks for QoS 3 ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0x82, "0001 {} 't' 03")),
    },
    Check {
        name: "subscribe/reserved-options",
        versions: V5,
        statements: &["MQTT-3.8.3-5", "MQTT-4.13.1-1"],
        looks_for: "a reserved bit in the Subscription Options ends the connection",
        run: |bench| {
            let faults = ["40", "80", "C0", "41"];
            let fault = |options| packet(bench, 0x82, &format!("0001 {{}} 't' {options}"));
            refuses_each(bench, faults.map(fault))
        },
    },
    Check {
        name: "subscribe/reserved-options",
        versions: V3,
        statements: &["MQTT3-3.8.3-4", "MQTT3-4.8.0-1"],
        looks_for: "a reserved bit beside the Requested QoS ends the connection",
        run: |bench| {
            let faults = ["04", "08", "10", "20", "40", "80", "05"];
            let fault = |options| packet(bench, 0x82, &format!("0001 't' {options}"));
            refuses_each(bench, faults.map(fault))
        },
    },
    Check {
        name: "subscribe/retain-handling-3",
        versions: V5,
        statements: &["MQTT-4.13.1-1"],
        looks_for: "Retain Handling 3 ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0x82, "0001 {} 't' 30")),
    },
    Check {
        name: "subscribe/fault-behind-a-good-filter",
        versions: BOTH,
        statements: &["MQTT-4.13.1-1", "MQTT3-3.8.3-4"],
        looks_for: "a SUBSCRIBE whose second filter asks for QoS 3 ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0x82, "0001 {} 't' 00 'u' 03")),
    },
    Check {
        name: "subscribe/no-local",
        versions: V5,
        statements: &["MQTT-3.8.3-3"],
        looks_for: "with No Local a client's own messages are not sent back, those of others are",
        run: no_local,
    },
    Check {
        name: "subscribe/options-are-of-the-subscription",
        versions: V5,
        statements: &["MQTT-3.8.4-3", "MQTT-3.8.3-3"],
        looks_for: "a subscription that replaces another has its own No Local, and no older one",
        run: |bench| {
            let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
            let mut peer = bench.connect("client")?;
            peer.subscribe_to([with_no_local(&filter)])?;
            peer.subscribe(&filter, QoS::AtMostOnce)?;
            peer.publish(&topic_name, QoS::AtMostOnce, "mine")?;
            peer.expect_message("mine")?;
            peer.subscribe_to([with_no_local(&filter)])?;
            peer.publish(&topic_name, QoS::AtMostOnce, "mine again")?;
            let mut other = bench.connect("other")?;
            // In step: what is ours was looked at before the marker is sent.
            peer.ping()?;
            only_the_marker(
                &mut other,
                &mut peer,
                &topic_name,
                QoS::AtMostOnce,
                "No Local is set",
            )?;
            passed()
        },
    },
    Check {
        name: "subscribe/without-wildcards",
        versions: BOTH,
        statements: &["MQTT3-3.8.3-2", "MQTT-4.13.1-1"],
        looks_for: "wildcards are granted, or refused by a server that announces so",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            let filter = bench.topic_filter("+/#");
            let bytes = packet(bench, 0x82, &format!("0001 {{}} '{filter}' 00"));
            if bench.can().wildcard_subscriptions {
                peer.subscribe(&filter, QoS::AtMostOnce)?;
                peer.publish(&bench.topic_name("a/b"), QoS::AtMostOnce, "x")?;
                peer.expect_message("x")?;
                return seen("has wildcard subscriptions");
            }
            seen(is_refused(&mut peer, &bytes)?)
        },
    },
];

fn one_code_for_each_filter(bench: &mut Bench) -> Verdict {
    let mut peer = bench.connect("client")?;
    let asked = [2, 0, 1, 0, 2, 1, 1].map(|value| QoS::new(value).expect("a QoS"));
    let subscriptions: Vec<Subscription> = asked
        .iter()
        .enumerate()
        .map(|(at, qos)| subscription(&bench.topic_filter(&format!("t{at}")), *qos))
        .collect();
    let suback = peer.subscribe_to(subscriptions)?;
    let codes: Vec<u8> = suback.reason_codes.iter().map(|code| code.value()).collect();
    let text = format!("codes for QoS {:?} expected; SUBACK has {codes:?}", asked.map(QoS::value));
    ensure(codes.len() == asked.len(), text.clone())?;
    ensure(codes.iter().zip(asked).all(|(code, asked)| *code <= asked.value()), text)?;
    // A code is not only said: each message comes with the QoS that its code grants.
    let mut publisher = bench.connect("pub")?;
    for (at, code) in codes.iter().enumerate() {
        let topic_name = bench.topic_name(&format!("t{at}"));
        let qos = bench.can().maximum_qos;
        publisher.publish(&topic_name, qos, format!("to {at}"))?;
        let came = peer.expect_message(format!("to {at}"))?;
        let (granted, came) = (qos.value().min(*code), came.delivery.qos().value());
        ensure(came == granted, format!("QoS {granted} was granted; the message has {came}"))?;
    }
    seen(format!("grants {codes:?} for {:?}", asked.map(QoS::value)))
}

/// One message of the highest QoS comes once, and with this one.
fn once_with_qos(bench: &Bench, peer: &mut Peer, expected: QoS) -> Verdict {
    let published = bench.can().maximum_qos;
    let topic_name = bench.topic_name("t");
    let mut publisher = bench.connect("pub")?;
    publisher.publish(&topic_name, published, "once")?;
    let came = messages_so_far(&mut publisher, peer, &topic_name, published)?;
    let texts = payloads(&came);
    ensure(texts == ["once"], format!("one message expected; came {texts:?}"))?;
    let (expected, qos) = (expected.min(published).value(), came[0].delivery.qos().value());
    ensure(qos == expected, format!("QoS {expected} expected; the message has {qos}"))?;
    passed()
}

fn with_no_local(topic_filter: &TopicFilter) -> Subscription {
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    Subscription { topic_filter: topic_filter.clone(), options }
}

fn no_local(bench: &mut Bench) -> Verdict {
    let topic_name = bench.topic_name("t");
    let mut peer = bench.connect("client")?;
    peer.subscribe_to([with_no_local(&bench.topic_filter("t"))])?;
    peer.publish(&topic_name, QoS::AtMostOnce, "mine")?;
    peer.ping()?;
    let mut other = bench.connect("other")?;
    other.publish(&topic_name, QoS::AtMostOnce, "of another")?;
    let came = payloads(&messages_so_far(&mut other, &mut peer, &topic_name, QoS::AtMostOnce)?);
    ensure(
        came == ["of another"],
        format!("only the message of the other client expected; came {came:?}"),
    )?;
    passed()
}
