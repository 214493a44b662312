//! Rights: what is refused, what is cut, who judges, and what new rules change.

use super::*;
use crate::Limits;
use crate::core::{Decision, DropCause, Grant, Identity};
use dunlin_protocol::codec::{Connect, Packet, PacketType, ProtocolVersion, QoS, ReasonCode};
use std::time::Duration;

pub(super) const ALL: &str = r##"
    [[rule]]
    allow  = ["publish", "subscribe", "retain", "will"]
    topics = ["#", "$share/+/#"]
"##;

/// As [`ALL`], but this user has no part in `t`.
pub(super) fn all_but(user: &str) -> String {
    format!(
        "[[rule]]\ndeny = [\"publish\", \"subscribe\", \"retain\", \"will\"]\n\
         topics = [\"t/#\"]\nuser = \"{user}\"\n{ALL}"
    )
}

/// Sends CONNECT, and lets in whoever it is as this user.
pub(super) fn log_in(broker: &mut Broker, packet: Connect, user: Option<&str>) -> Link {
    let identity = Identity::new(user, []).expect("a legal name");
    log_in_with(broker, packet, Grant::of(identity))
}

fn log_in_with(broker: &mut Broker, packet: Connect, grant: Grant) -> Link {
    let link = broker.connect(packet);
    let asked = broker.asked_who.pop_front().expect("a question");
    broker.decide(&asked, Decision::Allow(grant));
    link
}

/// As [`log_in`], for a CONNECT that must succeed; whether a session was there.
pub(super) fn enter(broker: &mut Broker, packet: Connect, user: &str) -> (Link, bool) {
    let link = log_in(broker, packet, Some(user));
    let version = broker.receive(link);
    match version.first() {
        Some(Packet::ConnAck(connack)) => {
            assert_eq!(connack.reason_code, ReasonCode::Success);
            let session_present = connack.session_present;
            broker.give_back(link, &version[1..]);
            (link, session_present)
        }
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

/// Publishes at QoS 1; what PUBACK says.
pub(super) fn says(broker: &mut Broker, link: Link, topic_name: &str, payload: &str) -> ReasonCode {
    broker.send(link, Packet::Publish(publish(topic_name, payload, QoS::AtLeastOnce, 1)));
    match broker.receive_one(link) {
        Packet::PubAck(ack) => ack.reason_code,
        packet => panic!("no PUBACK but {packet:?}"),
    }
}

/// Subscribes; what SUBACK says.
pub(super) fn subscribes(broker: &mut Broker, link: Link, filters: &[&str]) -> Vec<ReasonCode> {
    broker.send(link, subscribe(filters, QoS::ExactlyOnce));
    let mut packets = broker.receive(link);
    let suback = packets.remove(0);
    broker.give_back(link, &packets);
    match suback {
        Packet::SubAck(suback) => suback.reason_codes,
        packet => panic!("no SUBACK but {packet:?}"),
    }
}

pub(super) fn broker(workers: u8, rules: &str) -> Broker {
    let limits = Limits { sys_interval_secs: 0, ..Limits::default() };
    Broker::with(workers, limits).with_rights(rules)
}

fn not_allowed(broker: &Broker) -> u64 {
    broker.counters().dropped_for(DropCause::NotAllowed)
}

const OWN: &str = r##"
    [[rule]]
    allow   = ["publish", "will"]
    topics  = ["devices/%c/#"]
    user    = "gauge-*"
    qos_max = 1
    size_max = 8
    [[rule]]
    deny   = ["subscribe"]
    topics = ["devices/+/secret"]
    unless_user = "boss"
    [[rule]]
    allow  = ["subscribe"]
    topics = ["devices/+/+", "$share/pumps/devices/+/state"]
    qos_max = 1
    [[rule]]
    allow  = ["publish", "retain"]
    topics = ["devices/#"]
    user = "boss"
"##;

#[test]
fn what_no_rule_allows_is_not_published() {
    for workers in [1, 3] {
        let mut broker = broker(workers, OWN);
        let (reader, _) = enter(&mut broker, connect("reader"), "reader");
        let granted = subscribes(&mut broker, reader, &["devices/+/+"]);
        assert_eq!(granted, [ReasonCode::GrantedQoS1]);
        let (gauge, _) = enter(&mut broker, connect("g1"), "gauge-1");
        for (topic_name, payload, qos, is_retained, is_allowed) in [
            ("devices/g1/state", "fine", QoS::AtLeastOnce, false, true),
            ("devices/g2/state", "fine", QoS::AtLeastOnce, false, false),
            ("devices/g1/state", "fine", QoS::ExactlyOnce, false, false),
            ("devices/g1/state", "much too long", QoS::AtLeastOnce, false, false),
            ("devices/g1/state", "fine", QoS::AtLeastOnce, true, false),
            ("devices/g2/state", "fine", QoS::AtMostOnce, false, false),
            ("devices/g1/state", "fine", QoS::AtMostOnce, false, true),
        ] {
            let mut packet = publish(topic_name, payload, qos, 1);
            packet.retain = is_retained;
            let dropped = not_allowed(&broker);
            broker.send(gauge, Packet::Publish(packet));
            let answered: Vec<ReasonCode> = broker
                .receive(gauge)
                .iter()
                .map(|packet| match packet {
                    Packet::PubAck(ack) | Packet::PubRec(ack) => ack.reason_code,
                    packet => panic!("no acknowledgement but {packet:?}"),
                })
                .collect();
            let code = if is_allowed { ReasonCode::Success } else { ReasonCode::NotAuthorized };
            let expected = if qos > QoS::AtMostOnce { vec![code] } else { Vec::new() };
            assert_eq!(answered, expected, "{topic_name} {payload} {qos:?}");
            assert_eq!(not_allowed(&broker) - dropped, u64::from(!is_allowed));
            assert_eq!(broker.drain(reader).len(), usize::from(is_allowed));
        }
        assert!(!broker.is_closed(gauge));
        assert_eq!(broker.retained.len(), 0);
    }
}

#[test]
fn a_client_of_mqtt_3_is_disconnected_as_it_cannot_be_told() {
    let mut broker = broker(1, OWN);
    let link = log_in(&mut broker, connect_v311("g1", true), Some("gauge-1"));
    broker.receive(link);
    broker.send(link, Packet::Publish(publish("devices/g2/x", "", QoS::AtMostOnce, 0)));
    assert!(!broker.is_closed(link), "QoS 0 is dropped and counted");
    broker.send(link, Packet::Publish(publish("devices/g1/x", "", QoS::AtLeastOnce, 1)));
    assert_eq!(broker.types(link), [PacketType::PubAck]);
    broker.send(link, Packet::Publish(publish("devices/g2/x", "", QoS::AtLeastOnce, 1)));
    assert!(broker.receive(link).is_empty() && broker.is_closed(link));
    assert_eq!(not_allowed(&broker), 2);
}

#[test]
fn a_wider_subscription_is_refused_alone_and_qos_is_cut() {
    let mut broker = broker(1, OWN);
    let (link, _) = enter(&mut broker, connect("one"), "reader");
    let filters = [
        "devices/#",
        "devices/+/+",
        "#",
        "devices/1/secret",
        "$share/pumps/devices/+/state",
        "$share/others/devices/+/state",
        "devices/1/state",
    ];
    let (no, yes) = (ReasonCode::NotAuthorized, ReasonCode::GrantedQoS1);
    assert_eq!(subscribes(&mut broker, link, &filters), [no, yes, no, no, yes, no, yes]);
    assert_eq!(broker.counters().subscriptions, 3);

    let link = log_in(&mut broker, connect_v311("two", true), Some("reader"));
    broker.take_output(link);
    broker.send(link, subscribe(&["#", "devices/1/state"], QoS::ExactlyOnce));
    assert_eq!(broker.take_output(link)[4..], [0x80, 1]);
}

#[test]
fn holes_in_a_subscription_are_cut_at_delivery() {
    for workers in [1, 3] {
        let mut broker = broker(workers, OWN);
        let (reader, _) = enter(&mut broker, connect("reader").expiry(100), "reader");
        subscribes(&mut broker, reader, &["devices/+/+"]);
        let (other, _) = enter(&mut broker, connect("other"), "boss");
        let secret = says(&mut broker, other, "devices/1/secret", "key");
        assert_eq!(secret, ReasonCode::NoMatchingSubscribers);
        let (boss, _) = enter(&mut broker, connect("boss"), "boss");
        subscribes(&mut broker, boss, &["devices/+/+"]);
        for (topic_name, payload) in [("devices/1/secret", "key"), ("devices/1/state", "on")] {
            let code = says(&mut broker, other, topic_name, payload);
            assert_eq!(code, ReasonCode::Success);
        }
        assert_eq!(broker.drain(boss), ["key", "on"]);
        assert_eq!(broker.drain(reader), ["on"]);
        assert_eq!(not_allowed(&broker), 2);
        broker.cut(reader);
        says(&mut broker, other, "devices/1/secret", "key");
        says(&mut broker, other, "devices/1/state", "off");
        let (reader, _) = enter(&mut broker, connect("reader").resume().expiry(100), "reader");
        assert_eq!(broker.drain(reader), ["off"]);
    }
}

#[test]
fn a_part_of_a_subscription_that_a_rule_before_caps_is_cut_at_delivery() {
    let capped = "[[rule]]\nallow = ['subscribe']\ntopics = ['t/capped']\nqos_max = 0\n";
    let mut broker = broker(1, &format!("{capped}{ALL}"));
    let (reader, _) = enter(&mut broker, connect("reader"), "reader");
    assert_eq!(subscribes(&mut broker, reader, &["t/#"]), [ReasonCode::GrantedQoS2]);
    let (boss, _) = enter(&mut broker, connect("boss"), "boss");
    for (topic_name, expected) in [("t/capped", QoS::AtMostOnce), ("t/free", QoS::AtLeastOnce)] {
        says(&mut broker, boss, topic_name, "x");
        assert_eq!(broker.messages(reader)[0].delivery.qos(), expected, "{topic_name}");
    }
}

#[test]
fn a_message_of_qos_0_that_waits_is_judged_by_the_group_that_it_came_by() {
    let limits = Limits { sys_interval_secs: 0, queue_qos0_offline: true, ..Limits::default() };
    let rules = "[[rule]]\nallow = ['subscribe']\ntopics = ['$share/+/t/#']\n\
                 [[rule]]\nallow = ['publish']\ntopics = ['t/#']\n";
    let mut broker = Broker::with(1, limits).with_rights(rules);
    let member = || connect("member").resume().expiry(100);
    let (link, _) = enter(&mut broker, member(), "member");
    subscribes(&mut broker, link, &["$share/g/t/#"]);
    broker.cut(link);
    let (sayer, _) = enter(&mut broker, connect("sayer"), "sayer");
    let message = |payload| Packet::Publish(publish("t/a", payload, QoS::AtMostOnce, 0));
    broker.send(sayer, message("first"));
    let (link, _) = enter(&mut broker, member(), "member");
    assert_eq!(broker.drain(link), ["first"]);

    // Another member gets what the first may no longer have.
    broker.cut(link);
    broker.send(sayer, message("second"));
    let (other, _) = enter(&mut broker, connect("other"), "other");
    subscribes(&mut broker, other, &["$share/g/t/#"]);
    let denied = "[[rule]]\ndeny = ['subscribe']\ntopics = ['$share/+/#']\nuser = 'member'\n";
    broker.change_rights(&format!("{denied}{rules}"));
    assert_eq!(broker.drain(other), ["second"]);
    assert_eq!(not_allowed(&broker), 0);
}

#[test]
fn who_is_told_that_nobody_has_a_message_that_none_may_have() {
    for workers in [1, 3] {
        let mut broker = broker(workers, ALL);
        let (reader, _) = enter(&mut broker, connect("reader"), "reader");
        subscribes(&mut broker, reader, &["t/#"]);
        broker.accepting += 1;
        let (sayer, _) = enter(&mut broker, connect("sayer"), "sayer");
        assert_eq!(says(&mut broker, sayer, "t/a", ""), ReasonCode::Success);
        broker.change_rights(&all_but("reader"));
        assert_eq!(says(&mut broker, sayer, "t/a", ""), ReasonCode::NoMatchingSubscribers);
        broker.change_rights(ALL);
        assert_eq!(says(&mut broker, sayer, "t/a", ""), ReasonCode::Success);
        assert_eq!(broker.drain(reader).len(), 2);
    }
}

#[test]
fn a_will_that_is_not_allowed_is_refused_and_disturbs_nobody() {
    let mut broker = broker(1, OWN);
    let (old, _) = enter(&mut broker, connect("g1").expiry(100), "gauge-1");
    for topic_name in ["devices/g2/gone", "elsewhere"] {
        let packet = connect("g1").will(will(topic_name, "", 0));
        let link = log_in(&mut broker, packet, Some("gauge-1"));
        match broker.receive_one(link) {
            Packet::ConnAck(connack) => assert_eq!(connack.reason_code, ReasonCode::NotAuthorized),
            packet => panic!("no CONNACK but {packet:?}"),
        }
        assert!(broker.is_closed(link) && !broker.is_closed(old));
    }
    let packet = Connect { protocol_version: ProtocolVersion::V3_1_1, ..connect("g1") };
    let packet = packet.will(will("elsewhere", "", 0));
    let link = log_in(&mut broker, packet, Some("gauge-1"));
    assert_eq!(broker.take_output(link)[..], [0x20, 2, 0, 5]);
    enter(&mut broker, connect("g1").will(will("devices/g1/gone", "", 0)), "gauge-1");
    assert!(broker.is_closed(old));
}

#[test]
fn rules_may_ask_where_a_client_is_from() {
    let rules = r##"
        [[rule]]
        allow  = ["publish"]
        topics = ["#"]
        address = "10.0.0.0/8"
        listener = "mqtts://*"
    "##;
    let mut broker = broker(1, rules);
    for (address, listener, is_allowed) in [
        (Some("10.1.2.3"), Some("mqtts://0.0.0.0:8883"), true),
        (Some("10.1.2.3"), Some("mqtt://0.0.0.0:1883"), false),
        (Some("11.1.2.3"), Some("mqtts://0.0.0.0:8883"), false),
        (None, Some("mqtts://0.0.0.0:8883"), false),
        (Some("10.1.2.3"), None, false),
    ] {
        let address = address.map(|address| address.parse().expect("an address"));
        let grant = Grant { address, listener: listener.map(Into::into), ..Grant::default() };
        let link = log_in_with(&mut broker, connect("one"), grant);
        broker.receive(link);
        let code = says(&mut broker, link, "a", "");
        assert_eq!(code != ReasonCode::NotAuthorized, is_allowed, "{address:?} {listener:?}");
    }
}

#[test]
fn an_identity_may_bring_rules_of_its_own() {
    let own = "[[rule]]\nallow = [\"publish\"]\ntopics = [\"own/%u\", \"devices/1/secret\"]";
    let own = std::sync::Arc::new(crate::core::Rules::parse(own).expect("a rule"));
    let mut broker = broker(1, OWN);
    let identity = Identity::new(Some("one"), []).expect("a name").with_rules(own);
    let link = log_in_with(&mut broker, connect("one"), Grant::of(identity));
    broker.receive(link);
    assert_eq!(says(&mut broker, link, "own/one", ""), ReasonCode::NoMatchingSubscribers);
    assert_eq!(says(&mut broker, link, "own/two", ""), ReasonCode::NotAuthorized);
}

#[test]
fn the_last_topic_name_is_asked_about_anew_after_a_change() {
    let mut broker = broker(1, ALL);
    let (link, _) = enter(&mut broker, connect("one"), "one");
    for _ in 0..2 {
        assert_eq!(says(&mut broker, link, "t/a", ""), ReasonCode::NoMatchingSubscribers);
        broker.change_rights(&all_but("one"));
        assert_eq!(says(&mut broker, link, "t/a", ""), ReasonCode::NotAuthorized);
        assert_eq!(says(&mut broker, link, "u/a", ""), ReasonCode::NoMatchingSubscribers);
        broker.change_rights(ALL);
    }
}

#[test]
fn a_granted_qos_is_no_more_than_new_rules_allow() {
    let capped = ALL.replace("topics", "qos_max = 0\n topics");
    let mut broker = broker(1, ALL);
    let (reader, _) = enter(&mut broker, connect("reader"), "reader");
    let (boss, _) = enter(&mut broker, connect("boss"), "boss");
    assert_eq!(subscribes(&mut broker, reader, &["t"]), [ReasonCode::GrantedQoS2]);
    let rules = format!("{}\n{ALL}", capped.replace("qos_max", "user = \"reader\"\nqos_max"));
    broker.change_rights(&rules);
    says(&mut broker, boss, "t", "x");
    let received = broker.messages(reader);
    assert_eq!(received[0].delivery.qos(), QoS::AtMostOnce);
}

#[test]
fn a_group_message_that_no_member_may_have_comes_to_rest() {
    for workers in [1, 2, 4] {
        let mut broker = broker(workers, ALL);
        let mut members = Vec::new();
        for at in 0..6 {
            broker.accepting += 1;
            let (link, _) = enter(&mut broker, connect(&format!("m-{at}")), "member");
            subscribes(&mut broker, link, &["$share/g/t/#"]);
            members.push(link);
        }
        let (sayer, _) = enter(&mut broker, connect("sayer"), "sayer");
        broker.change_rights(&all_but("member"));
        for _ in 0..8 {
            assert_eq!(says(&mut broker, sayer, "t/a", ""), ReasonCode::NoMatchingSubscribers);
        }
        assert_eq!(broker.counters().dropped_for(DropCause::NoMember), 8);
        assert!(members.iter().all(|link| broker.receive(*link).is_empty()));

        // One that may is found wherever it is.
        for at in 0..4 {
            broker.accepting += 1;
            let (link, _) = enter(&mut broker, connect(&format!("other-{at}")), "other");
            subscribes(&mut broker, link, &["$share/g/t/#"]);
            for _ in 0..8 {
                assert_eq!(says(&mut broker, sayer, "t/a", "x"), ReasonCode::Success);
            }
            assert_eq!(broker.drain(link).len(), 8);
            broker.cut(link);
        }
        assert!(members.iter().all(|link| broker.receive(*link).is_empty()));
    }
}

#[test]
fn a_full_queue_of_one_that_may_not_have_a_message_refuses_it_to_nobody() {
    let limits = Limits { sys_interval_secs: 0, queue_len_max: 1, ..Limits::default() };
    let mut broker = Broker::with(1, limits).with_rights(ALL);
    let (reader, _) = enter(&mut broker, connect("reader").expiry(100), "reader");
    subscribes(&mut broker, reader, &["t/#", "u"]);
    broker.cut(reader);
    let (sayer, _) = enter(&mut broker, connect("sayer"), "sayer");
    assert_eq!(says(&mut broker, sayer, "u", ""), ReasonCode::Success);
    assert_eq!(says(&mut broker, sayer, "t/a", ""), ReasonCode::QuotaExceeded);
    broker.change_rights(&all_but("reader"));
    assert_eq!(says(&mut broker, sayer, "t/a", ""), ReasonCode::NoMatchingSubscribers);
}

#[test]
fn what_was_stored_before_there_were_rules_is_not_lost_on_the_day_they_begin() {
    for workers in [1, 3] {
        let mut broker = Broker::with_store(workers);
        let (reader, _) = broker.join(connect("reader").expiry(600));
        broker.send(reader, subscribe(&["t/#"], QoS::AtLeastOnce));
        broker.receive(reader);
        let (sayer, _) = broker.join(connect("sayer"));
        let retained = publish("t/kept", "kept", QoS::AtLeastOnce, 1).retained();
        broker.send(sayer, Packet::Publish(retained));
        broker.receive(sayer);
        broker.drain(reader);
        broker.cut(reader);
        broker.send(sayer, Packet::Publish(publish("t/a", "waits", QoS::AtLeastOnce, 1)));
        broker.receive(sayer);

        broker.begin_rights(&all_but("nobody"), Duration::from_secs(10));
        broker.restart();
        let (sayer, _) = enter(&mut broker, connect("sayer"), "sayer");
        says(&mut broker, sayer, "t/b", "waits, too");
        let (reader, is_there) = enter(&mut broker, connect("reader").resume(), "reader");
        assert!(is_there);
        assert_eq!(broker.drain(reader), ["waits", "waits, too"]);
        subscribes(&mut broker, reader, &["t/kept"]);
        assert_eq!(broker.drain(reader), ["kept"]);
    }
}
