//! UNSUBSCRIBE and UNSUBACK: what ends, what does not, and what is finished. Spec: §3.10, §3.11.

use super::steps::{messages_so_far, only_the_marker, packet, payloads, refuses, unsubscribe};
use super::{Bench, Check};
use crate::{BOTH, V3, V5, Verdict, ensure, failed, passed, seen};
use dunlin_codec::{
    Ack, Packet, PacketIdentifier, QoS, ReasonCode, Unsubscribe, UnsubscribeProperties,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "unsubscribe/unsuback-has-its-packet-identifier",
        versions: BOTH,
        statements: &[
            "MQTT-3.10.4-4",
            "MQTT-3.10.4-5",
            "MQTT-2.2.1-6",
            "MQTT3-3.10.4-4",
            "MQTT3-2.3.1-7",
        ],
        looks_for: "UNSUBACK repeats the Packet Identifier of its UNSUBSCRIBE, whatever it is",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            for value in [1, 2, 0x00FF, 0x0100, 0x1234, 0xFFFF] {
                let packet_identifier = PacketIdentifier::new(value).expect("not zero");
                peer.send(Unsubscribe {
                    packet_identifier,
                    properties: UnsubscribeProperties::default(),
                    topic_filters: vec![bench.topic_filter("t")],
                });
                peer.expect_unsuback(packet_identifier)?;
            }
            passed()
        },
    },
    Check {
        name: "unsubscribe/unknown-filter",
        versions: V5,
        statements: &["MQTT-3.10.4-5", "MQTT-3.11.3-2"],
        looks_for: "an UNSUBSCRIBE that deletes nothing is answered by code 0x11",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            let codes = unsubscribe(&mut peer, [bench.topic_filter("never")])?;
            ensure(
                codes == [ReasonCode::NoSubscriptionExisted],
                format!("code 0x11 expected; UNSUBACK has {codes:?}"),
            )?;
            passed()
        },
    },
    Check {
        name: "unsubscribe/unknown-filter",
        versions: V3,
        statements: &["MQTT3-3.10.4-5", "MQTT3-3.10.4-4"],
        looks_for: "an UNSUBSCRIBE that deletes nothing is answered by UNSUBACK",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            unsubscribe(&mut peer, [bench.topic_filter("never")])?;
            passed()
        },
    },
    Check {
        name: "unsubscribe/one-code-for-each-filter",
        versions: V5,
        statements: &["MQTT-3.10.4-6", "MQTT-3.11.3-1", "MQTT-3.11.3-2"],
        looks_for: "one UNSUBACK with a code for each filter, in their order",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.topic_filter("a"), QoS::AtMostOnce)?;
            peer.subscribe(&bench.topic_filter("b"), QoS::AtMostOnce)?;
            let filters = ["a", "none", "b", "a"].map(|label| bench.topic_filter(label));
            let codes = unsubscribe(&mut peer, filters)?;
            let (was, was_not) = (ReasonCode::Success, ReasonCode::NoSubscriptionExisted);
            ensure(
                codes == [was, was_not, was, was_not],
                format!("0x00, 0x11, 0x00, 0x11 expected; UNSUBACK has {codes:?}"),
            )?;
            passed()
        },
    },
    Check {
        name: "unsubscribe/several-filters",
        versions: BOTH,
        statements: &["MQTT-3.10.4-6", "MQTT-3.10.4-1", "MQTT3-3.10.4-6", "MQTT3-3.10.4-1"],
        looks_for: "an UNSUBSCRIBE of several filters deletes each, and no other",
        run: |bench| {
            let mut peer = bench.connect("client")?;
            for label in ["a", "b", "c"] {
                peer.subscribe(&bench.topic_filter(label), QoS::AtMostOnce)?;
            }
            unsubscribe(&mut peer, [bench.topic_filter("a"), bench.topic_filter("c")])?;
            for label in ["a", "c", "b"] {
                peer.publish(&bench.topic_name(label), QoS::AtMostOnce, label)?;
            }
            let came = payloads(&peer.publishes_before(b"b")?);
            ensure(came.is_empty(), format!("only b is subscribed to; {came:?} came"))?;
            passed()
        },
    },
    Check {
        name: "unsubscribe/stops-new-messages",
        versions: BOTH,
        statements: &["MQTT-3.10.4-2", "MQTT-3.10.4-1", "MQTT3-3.10.4-2", "MQTT3-3.10.4-1"],
        looks_for: "after UNSUBACK no message is delivered that was published later",
        run: stops_new_messages,
    },
    Check {
        name: "unsubscribe/compares-characters",
        versions: BOTH,
        statements: &["MQTT-3.10.4-1", "MQTT3-3.10.4-1"],
        looks_for: "a filter that only means the same Topic Names deletes no subscription",
        run: |bench| {
            bench.can().need_wildcards()?;
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.topic_filter("a/b"), QoS::AtMostOnce)?;
            peer.subscribe(&bench.topic_filter("w/+"), QoS::AtMostOnce)?;
            for label in ["a/+", "a/#", "#", "+/b", "A/b", "a/b/", "/a/b", "a/b ", "a/B"] {
                let codes = unsubscribe(&mut peer, [bench.topic_filter(label)])?;
                ensure(
                    codes.iter().all(|code| *code == ReasonCode::NoSubscriptionExisted),
                    format!("{label} is not a/b; UNSUBACK has {codes:?}"),
                )?;
            }
            unsubscribe(&mut peer, [bench.topic_filter("w/x"), bench.topic_filter("w/#")])?;
            for label in ["a/b", "w/x"] {
                peer.publish(&bench.topic_name(label), QoS::AtMostOnce, label)?;
                peer.expect_message(label)?;
            }
            passed()
        },
    },
    Check {
        name: "unsubscribe/leaves-overlapping-subscriptions",
        versions: BOTH,
        statements: &["MQTT-3.10.4-1", "MQTT3-3.10.4-1"],
        looks_for: "what another subscription matches is still delivered, once",
        run: |bench| {
            bench.can().need_wildcards()?;
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.topic_filter("a/b"), QoS::AtMostOnce)?;
            peer.subscribe(&bench.topic_filter("a/+"), QoS::AtMostOnce)?;
            unsubscribe(&mut peer, [bench.topic_filter("a/b")])?;
            let topic_name = bench.topic_name("a/b");
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&topic_name, QoS::AtMostOnce, "once")?;
            let came = payloads(&messages_so_far(
                &mut publisher,
                &mut peer,
                &topic_name,
                QoS::AtMostOnce,
            )?);
            ensure(came == ["once"], format!("one message expected; came {came:?}"))?;
            passed()
        },
    },
    Check {
        name: "unsubscribe/finishes-qos-1",
        versions: BOTH,
        statements: &["MQTT-3.10.4-3", "MQTT3-3.10.4-3"],
        looks_for: "a message of QoS 1 under way is sent again after UNSUBSCRIBE until it is acknowledged",
        run: finishes_qos_1,
    },
    Check {
        name: "unsubscribe/finishes-qos-2",
        versions: BOTH,
        statements: &["MQTT-3.10.4-3", "MQTT-4.3.3-4", "MQTT3-3.10.4-3", "MQTT3-4.3.3-1"],
        looks_for: "a message of QoS 2 under way is finished after UNSUBSCRIBE",
        run: finishes_qos_2,
    },
    Check {
        name: "unsubscribe/holds-for-the-session",
        versions: BOTH,
        statements: &["MQTT-3.10.4-1", "MQTT-3.1.2-5", "MQTT3-3.10.4-1", "MQTT3-3.1.2-4"],
        looks_for: "a subscription that was ended does not come back with the session",
        run: |bench| {
            bench.can().need_qos(QoS::AtLeastOnce)?;
            let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            peer.subscribe(&bench.topic_filter("ended"), QoS::AtLeastOnce)?;
            peer.subscribe(&bench.topic_filter("kept"), QoS::AtLeastOnce)?;
            unsubscribe(&mut peer, [bench.topic_filter("ended")])?;
            peer.disconnect()?;
            let mut publisher = bench.connect("pub")?;
            publisher.publish(&bench.topic_name("ended"), QoS::AtLeastOnce, "ended")?;
            publisher.publish(&bench.topic_name("kept"), QoS::AtLeastOnce, "kept")?;
            let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
            let came = payloads(&peer.publishes_before(b"kept")?);
            ensure(came.is_empty(), format!("only what is subscribed to expected; came {came:?}"))?;
            passed()
        },
    },
    Check {
        name: "unsubscribe/only-the-own-subscription",
        versions: BOTH,
        statements: &["MQTT-3.10.4-1", "MQTT3-3.10.4-1"],
        looks_for: "UNSUBSCRIBE leaves the subscriptions of other clients alone",
        run: |bench| {
            let filter = bench.topic_filter("t");
            let (mut one, mut other) = (bench.connect("one")?, bench.connect("other")?);
            one.subscribe(&filter, QoS::AtMostOnce)?;
            other.subscribe(&filter, QoS::AtMostOnce)?;
            unsubscribe(&mut one, [filter])?;
            one.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
            other.expect_message("x")?;
            one.expect_no_publish()?;
            passed()
        },
    },
    Check {
        name: "unsubscribe/empty",
        versions: BOTH,
        statements: &["MQTT-3.10.3-2", "MQTT-4.13.1-1", "MQTT3-3.10.3-2", "MQTT3-4.8.0-1"],
        looks_for: "an UNSUBSCRIBE without a filter ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0xA2, "0001 {}")),
    },
    Check {
        name: "unsubscribe/packet-identifier-zero",
        versions: BOTH,
        statements: &["MQTT-2.2.1-3", "MQTT-4.13.1-1", "MQTT3-2.3.1-1", "MQTT3-4.8.0-1"],
        looks_for: "an UNSUBSCRIBE with Packet Identifier 0 ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0xA2, "0000 {} 't'")),
    },
    Check {
        name: "unsubscribe/filter-longer-than-the-packet",
        versions: BOTH,
        statements: &["MQTT-3.10.3-1", "MQTT-4.13.1-1", "MQTT3-3.10.3-1", "MQTT3-4.8.0-1"],
        looks_for: "an UNSUBSCRIBE that ends within a filter ends the connection",
        run: |bench| refuses(bench, &packet(bench, 0xA2, "0001 {} 0009 616263")),
    },
];

fn stops_new_messages(bench: &mut Bench) -> Verdict {
    let (topic_name, filter) = (bench.topic_name("t"), bench.topic_filter("t"));
    let mut peer = bench.connect("client")?;
    peer.subscribe(&filter, QoS::AtLeastOnce)?;
    let mut publisher = bench.connect("pub")?;
    let qos = QoS::AtLeastOnce.min(bench.can().maximum_qos);
    publisher.publish(&topic_name, qos, "before")?;
    peer.expect_message("before")?;
    unsubscribe(&mut peer, [filter.clone()])?;
    for _ in 0..5 {
        publisher.publish(&topic_name, qos, "after")?;
    }
    peer.subscribe(&filter, QoS::AtLeastOnce)?;
    only_the_marker(&mut publisher, &mut peer, &topic_name, qos, "nothing was subscribed to")?;
    passed()
}

fn finishes_qos_1(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::AtLeastOnce)?;
    let filter = bench.topic_filter("t");
    let (mut peer, _) = bench.connect_with("client", bench.persistent("client"))?;
    peer.subscribe(&filter, QoS::AtLeastOnce)?;
    let mut publisher = bench.connect("pub")?;
    publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "under way")?;
    let first = peer.expect_publish()?;
    unsubscribe(&mut peer, [filter])?;
    peer.abort();
    let (mut peer, connack) = bench.connect_with("client", bench.persistent("client"))?;
    ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
    let again = peer.expect_publish()?;
    ensure(
        again.delivery.packet_identifier() == first.delivery.packet_identifier()
            && again.payload == first.payload,
        "the message under way expected again; another came",
    )?;
    peer.acknowledge(&again)?;
    peer.ping()?;
    passed()
}

fn finishes_qos_2(bench: &mut Bench) -> Verdict {
    bench.can().need_qos(QoS::ExactlyOnce)?;
    let filter = bench.topic_filter("t");
    let mut peer = bench.connect("client")?;
    let suback = peer.subscribe(&filter, QoS::ExactlyOnce)?;
    if suback.reason_codes != [ReasonCode::GrantedQoS2] {
        return seen("does not grant QoS 2");
    }
    let mut publisher = bench.connect("pub")?;
    publisher.publish(&bench.topic_name("t"), QoS::ExactlyOnce, "under way")?;
    let publish = peer.expect_publish()?;
    let Some(packet_identifier) = publish.delivery.packet_identifier() else {
        return failed("QoS 2 was granted; a message of QoS 0 came");
    };
    unsubscribe(&mut peer, [filter])?;
    peer.send(Packet::PubRec(Ack::new(packet_identifier, ReasonCode::Success)));
    let pubrel = peer.expect_pubrel(packet_identifier)?;
    ensure(
        pubrel.reason_code == ReasonCode::Success,
        format!("PUBREL 0x00 expected; it says {}", pubrel.reason_code),
    )?;
    peer.send(Packet::PubComp(Ack::new(packet_identifier, ReasonCode::Success)));
    peer.ping()?;
    passed()
}
