//! Shared Subscriptions: each message to one member of each group. Spec: §4.8.2.

use super::steps::{add, is_refused, payloads, refuses, unsubscribe};
use super::{Bench, Check};
use crate::{Peer, Stop, V5, Verdict, ensure, failed, frame, message, passed, seen};
use dunlin_codec::{Ack, Packet, Publish, QoS, ReasonCode};
use std::collections::BTreeMap;
use std::time::Instant;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "shared/one-member-for-each-message",
        versions: V5,
        statements: &["MQTT-4.5.0-1", "MQTT-4.8.2-3"],
        looks_for: "of the members of a group each message goes to one",
        run: |bench| {
            let mut group = members(bench, "g", 3, QoS::AtLeastOnce)?;
            let sent = publish_many(bench, 30)?;
            let counts = exactly_once(bench, &mut group, &sent)?;
            seen(format!("30 messages to three members as {counts:?}"))
        },
    },
    Check {
        name: "shared/every-group",
        versions: V5,
        statements: &["MQTT-4.5.0-1", "MQTT-4.8.2-3"],
        looks_for: "each group gets each message, whatever other groups there are",
        run: |bench| {
            let mut one = members(bench, "one", 2, QoS::AtLeastOnce)?;
            let mut other = members(bench, "other", 2, QoS::AtLeastOnce)?;
            let sent = publish_many(bench, 20)?;
            exactly_once(bench, &mut one, &sent)?;
            exactly_once(bench, &mut other, &sent)?;
            passed()
        },
    },
    Check {
        name: "shared/beside-ordinary-subscriptions",
        versions: V5,
        statements: &["MQTT-4.5.0-1"],
        looks_for: "a client with an ordinary subscription gets each message, beside the group",
        run: |bench| {
            let mut group = members(bench, "g", 2, QoS::AtLeastOnce)?;
            let mut ordinary = vec![bench.connect("ordinary")?];
            ordinary[0].subscribe(&bench.topic_filter("t"), QoS::AtLeastOnce)?;
            ordinary[0].subscribe(&bench.topic_filter("end"), QoS::AtLeastOnce)?;
            let sent = publish_many(bench, 20)?;
            exactly_once(bench, &mut group, &sent)?;
            exactly_once(bench, &mut ordinary, &sent)?;
            passed()
        },
    },
    Check {
        name: "shared/both-by-one-client",
        versions: V5,
        statements: &["MQTT-4.5.0-1", "MQTT-3.3.4-2"],
        looks_for: "a client with a shared and an ordinary subscription gets the message for each",
        run: both_by_one_client,
    },
    Check {
        name: "shared/wildcards",
        versions: V5,
        statements: &["MQTT-4.8.2-2", "MQTT-4.7.1-1", "MQTT-4.7.1-2"],
        looks_for: "the filter of a group may hold wildcards, and matches as others do",
        run: |bench| {
            need(bench)?;
            bench.can().need_wildcards()?;
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.shared_filter("g", "a/+/c/#"), QoS::AtMostOnce)?;
            peer.subscribe(&bench.topic_filter("end"), QoS::AtMostOnce)?;
            for label in ["a/c", "a/b/d", "a/b/c", "a//c/d", "a/b/b/c", "end"] {
                peer.publish(&bench.topic_name(label), QoS::AtMostOnce, label)?;
            }
            let came = payloads(&peer.publishes_before(b"end")?);
            ensure(
                came == ["a/b/c", "a//c/d"],
                format!("a/b/c and a//c/d expected; came {came:?}"),
            )?;
            passed()
        },
    },
    Check {
        name: "shared/granted-qos",
        versions: V5,
        statements: &["MQTT-4.8.2-3", "MQTT-3.8.4-8"],
        looks_for: "a member gets messages with at most the QoS that it was granted",
        run: |bench| {
            need(bench)?;
            for qos in super::subscribe::ALL_QOS {
                let label = format!("q{}", qos.value());
                let mut peer = bench.connect(&label)?;
                let suback = peer.subscribe(&bench.shared_filter("g", &label), qos)?;
                let granted = suback.reason_codes.first().map_or(0, |code| code.value());
                let published = bench.can().maximum_qos;
                peer.publish(&bench.topic_name(&label), published, "x")?;
                let came = peer.expect_message("x")?.delivery.qos().value();
                let expected = granted.min(published.value());
                ensure(
                    came == expected,
                    format!("QoS {expected} expected; the message has {came}"),
                )?;
            }
            passed()
        },
    },
    Check {
        name: "shared/no-retained-messages",
        versions: V5,
        statements: &["MQTT-3.3.1-9"],
        looks_for: "a Shared Subscription gets no retained messages when it is made",
        run: |bench| {
            need(bench)?;
            bench.can().need_retain()?;
            let topic_name = bench.topic_name("t");
            let mut publisher = bench.connect("pub")?;
            let retained = Publish { retain: true, ..message(&topic_name, "retained") };
            publisher.publish_message(retained, QoS::AtMostOnce)?;
            publisher.ping()?;
            let mut peer = bench.connect("client")?;
            peer.subscribe(&bench.shared_filter("g", "t"), QoS::AtMostOnce)?;
            publisher.publish(&topic_name, QoS::AtMostOnce, "live")?;
            let came = payloads(&peer.publishes_before(b"live")?);
            ensure(came.is_empty(), format!("no retained message expected; came {came:?}"))?;
            passed()
        },
    },
    Check {
        name: "shared/no-local",
        versions: V5,
        statements: &["MQTT-3.8.3-4", "MQTT-4.13.1-1"],
        looks_for: "No Local on a Shared Subscription ends the connection",
        run: |bench| {
            need(bench)?;
            let filter = bench.shared_filter("g", "t");
            refuses(bench, &frame(0x82, &format!("0001 00 '{filter}' 04")))
        },
    },
    Check {
        name: "shared/empty-share-name",
        versions: V5,
        statements: &["MQTT-4.8.2-1"],
        looks_for: "a Shared Subscription without a Share Name is refused",
        run: |bench| no_shared(bench, &["$share//a", "$share//", "$share//#"]),
    },
    Check {
        name: "shared/share-name-with-wildcards",
        versions: V5,
        statements: &["MQTT-4.8.2-2"],
        looks_for: "a Share Name with + or # is refused",
        run: |bench| no_shared(bench, &["$share/+/a", "$share/#/a", "$share/a+/b", "$share/a#b/c"]),
    },
    Check {
        name: "shared/without-a-filter",
        versions: V5,
        statements: &["MQTT-4.8.2-2"],
        looks_for: "a Share Name without a Topic Filter behind it is refused",
        run: |bench| no_shared(bench, &["$share/g", "$share/g/", "$share/"]),
    },
    Check {
        name: "shared/malformed-filter",
        versions: V5,
        statements: &["MQTT-4.8.2-2", "MQTT-4.7.1-1", "MQTT-4.7.1-2"],
        looks_for: "a misplaced wildcard in the filter of a group is refused",
        run: |bench| no_shared(bench, &["$share/g/a#", "$share/g/#/a", "$share/g/+a"]),
    },
    Check {
        name: "shared/unsubscribe",
        versions: V5,
        statements: &["MQTT-3.10.4-1", "MQTT-3.10.4-2"],
        looks_for: "a member that unsubscribes gets no more messages; the others get them",
        run: |bench| {
            let mut group = members(bench, "g", 2, QoS::AtLeastOnce)?;
            let codes = unsubscribe(&mut group[0], [bench.shared_filter("h", "t")])?;
            ensure(
                codes == [ReasonCode::NoSubscriptionExisted],
                format!("0x11 for a group of another name expected; UNSUBACK has {codes:?}"),
            )?;
            let codes = unsubscribe(&mut group[0], [bench.shared_filter("g", "t")])?;
            ensure(
                codes == [ReasonCode::Success],
                format!("0x00 expected; UNSUBACK has {codes:?}"),
            )?;
            let sent = publish_many(bench, 10)?;
            let counts = exactly_once(bench, &mut group, &sent)?;
            ensure(counts == [0, 10], format!("0 and 10 messages expected; came {counts:?}"))?;
            passed()
        },
    },
    Check {
        name: "shared/member-leaves",
        versions: V5,
        statements: &["MQTT-4.5.0-1"],
        looks_for: "the group goes on when a member's session ends",
        run: |bench| {
            let mut group = members(bench, "g", 2, QoS::AtLeastOnce)?;
            group.remove(0).disconnect()?;
            let sent = publish_many(bench, 10)?;
            exactly_once(bench, &mut group, &sent)?;
            passed()
        },
    },
    Check {
        name: "shared/again-replaces",
        versions: V5,
        statements: &["MQTT-3.8.4-3"],
        looks_for: "a client that joins its group twice gets each message once",
        run: |bench| {
            let mut group = members(bench, "g", 1, QoS::AtLeastOnce)?;
            group[0].subscribe(&bench.shared_filter("g", "t"), QoS::AtLeastOnce)?;
            let sent = publish_many(bench, 5)?;
            exactly_once(bench, &mut group, &sent)?;
            passed()
        },
    },
    Check {
        name: "shared/refused-by-a-member",
        versions: V5,
        statements: &["MQTT-4.8.2-6"],
        looks_for: "a message that a member refuses is discarded, and given to no other",
        run: refused_by_a_member,
    },
    Check {
        name: "shared/qos-2-is-finished-with-its-member",
        versions: V5,
        statements: &["MQTT-4.8.2-4"],
        looks_for: "a QoS 2 delivery that was begun is finished with the same member, after its return",
        run: |bench| begun(bench, true),
    },
    Check {
        name: "shared/qos-2-ends-with-its-session",
        versions: V5,
        statements: &["MQTT-4.8.2-5"],
        looks_for: "a QoS 2 message that was sent to a session that ended goes to no other member",
        run: |bench| begun(bench, false),
    },
];

fn need(bench: &Bench) -> Result<(), Stop> {
    bench.can().need_shared_subscriptions()
}

/// Clients in a group for `t`, each with an ordinary subscription to `end` as well.
fn members(bench: &Bench, share_name: &str, count: usize, qos: QoS) -> Result<Vec<Peer>, Stop> {
    need(bench)?;
    bench.can().need_qos(qos)?;
    (0..count)
        .map(|number| {
            let mut peer = bench.connect(&format!("{share_name}{number}"))?;
            peer.subscribe(&bench.shared_filter(share_name, "t"), qos)?;
            peer.subscribe(&bench.topic_filter("end"), qos)?;
            Ok(peer)
        })
        .collect()
}

fn publish_many(bench: &Bench, count: usize) -> Result<Vec<String>, Stop> {
    let sent: Vec<String> = (0..count).map(|number| format!("message {number}")).collect();
    let mut publisher = bench.connect("pub")?;
    for payload in &sent {
        publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, payload.clone())?;
    }
    publisher.publish(&bench.topic_name("end"), QoS::AtLeastOnce, "end")?;
    Ok(sent)
}

/// Reads each client up to the end; each message has come to one of them. Gives how many came to
/// each.
fn exactly_once(bench: &Bench, clients: &mut [Peer], sent: &[String]) -> Result<Vec<usize>, Stop> {
    let mut copies: BTreeMap<String, usize> = BTreeMap::new();
    let mut counts = Vec::new();
    for client in clients {
        let mut count = 0;
        for payload in payloads(&until_end(bench, client, sent.len())?) {
            *copies.entry(payload).or_default() += 1;
            count += 1;
        }
        counts.push(count);
    }
    for payload in sent {
        let came = copies.remove(payload).unwrap_or(0);
        ensure(came == 1, format!("{payload:?} is to come to one client; it came {came} times"))?;
    }
    match copies.pop_first() {
        Some((payload, _)) => failed(format!("{payload:?} was not published")),
        None => Ok(counts),
    }
}

/// The messages up to the one to `end`, whose Topic Name is another, and which therefore may come
/// earlier: then one more marker comes behind.
fn until_end(bench: &Bench, client: &mut Peer, most: usize) -> Result<Vec<Publish>, Stop> {
    let mut came = client.publishes_before(b"end")?;
    let mut publisher = bench.connect("marker")?;
    publisher.publish(&bench.topic_name("end"), QoS::AtLeastOnce, "really the end")?;
    came.extend(client.publishes_before(b"really the end")?);
    // What is for the others is theirs.
    came.retain(|publish| publish.payload != "really the end" && publish.payload != "end");
    ensure(came.len() <= most, format!("{most} messages were published; {} came", came.len()))?;
    Ok(came)
}

fn both_by_one_client(bench: &mut Bench) -> Verdict {
    need(bench)?;
    let mut peer = bench.connect("client")?;
    peer.subscribe(&bench.shared_filter("g", "t"), QoS::AtMostOnce)?;
    peer.subscribe(&bench.topic_filter("t"), QoS::AtMostOnce)?;
    peer.subscribe(&bench.topic_filter("end"), QoS::AtMostOnce)?;
    peer.publish(&bench.topic_name("t"), QoS::AtMostOnce, "x")?;
    peer.publish(&bench.topic_name("end"), QoS::AtMostOnce, "end")?;
    match peer.publishes_before(b"end")?.len() {
        1 => seen("one copy for both"),
        2 => seen("a copy for each"),
        count => failed(format!("one or two copies expected; {count} came")),
    }
}

fn no_shared(bench: &Bench, filters: &[&str]) -> Verdict {
    need(bench)?;
    let mut ways = Vec::new();
    for filter in filters {
        let mut peer = bench.connect("client")?;
        let bytes = frame(0x82, &format!("0001 00 '{filter}' 00"));
        add(&mut ways, is_refused(&mut peer, &bytes)?);
    }
    seen(ways.join(", "))
}

fn refused_by_a_member(bench: &mut Bench) -> Verdict {
    let mut group = members(bench, "g", 2, QoS::AtLeastOnce)?;
    let mut publisher = bench.connect("pub")?;
    publisher.publish(&bench.topic_name("t"), QoS::AtLeastOnce, "refused")?;
    let (at, publish) = receiver(bench, &mut group)?;
    let Some(packet_identifier) = publish.delivery.packet_identifier() else {
        return failed("QoS 1 expected; the message has 0");
    };
    let refusal = Ack::new(packet_identifier, ReasonCode::ImplementationSpecificError);
    group[at].send(Packet::PubAck(refusal));
    group[at].ping()?;
    publisher.publish(&bench.topic_name("end"), QoS::AtLeastOnce, "end")?;
    for client in &mut group {
        let came = payloads(&until_end(bench, client, 1)?);
        ensure(came.is_empty(), format!("the refused message is gone; came {came:?}"))?;
    }
    passed()
}

/// The member that got the one message that is on its way.
fn receiver(bench: &Bench, group: &mut [Peer]) -> Result<(usize, Publish), Stop> {
    let deadline = Instant::now() + bench.patience();
    while Instant::now() < deadline {
        for (at, member) in group.iter_mut().enumerate() {
            // A ping brings in what is there.
            if member.expect_no_publish().is_err() {
                return Ok((at, member.expect_publish()?));
            }
        }
    }
    failed("a member is to get the message; none does")
}

/// A member gets a QoS 2 message, says PUBREC, and is gone; then it returns, or its session ends.
fn begun(bench: &Bench, returns: bool) -> Verdict {
    need(bench)?;
    bench.can().need_qos(QoS::ExactlyOnce)?;
    let topic_name = bench.topic_name("t");
    let filter = bench.shared_filter("g", "t");
    let (mut member, _) = bench.connect_with("member", bench.persistent("member"))?;
    let suback = member.subscribe(&filter, QoS::ExactlyOnce)?;
    if suback.reason_codes != [ReasonCode::GrantedQoS2] {
        return seen("does not grant QoS 2");
    }
    let mut publisher = bench.connect("pub")?;
    publisher.publish(&topic_name, QoS::ExactlyOnce, "begun")?;
    let publish = member.expect_publish()?;
    let Some(packet_identifier) = publish.delivery.packet_identifier() else {
        return failed("QoS 2 was granted; a message of QoS 0 came");
    };
    // The other member joins only now, so there is no question whose message it is.
    let mut other = bench.connect("other")?;
    other.subscribe(&filter, QoS::ExactlyOnce)?;
    other.subscribe(&bench.topic_filter("end"), QoS::ExactlyOnce)?;
    if returns {
        member.send(Packet::PubRec(Ack::new(packet_identifier, ReasonCode::Success)));
        member.expect_pubrel(packet_identifier)?;
    }
    member.abort();
    if returns {
        let (mut member, connack) = bench.connect_with("member", bench.persistent("member"))?;
        ensure(connack.session_present, "Session Present 1 expected; CONNACK says 0")?;
        member.expect_pubrel(packet_identifier)?;
        member.send(Packet::PubComp(Ack::new(packet_identifier, ReasonCode::Success)));
        member.ping()?;
    } else {
        // A clean start ends the session.
        bench.connect("member")?.disconnect()?;
    }
    publisher.publish(&bench.topic_name("end"), QoS::ExactlyOnce, "end")?;
    let came = payloads(&other.publishes_before(b"end")?);
    ensure(
        came.is_empty(),
        format!("the message is the first member's; {came:?} came to another"),
    )?;
    passed()
}
