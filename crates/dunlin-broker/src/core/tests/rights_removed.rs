//! A right is taken away: what becomes of that which it had allowed. Each thing is looked at after
//! each event, with the right and without it.

use super::rights::{ALL, all_but, enter, log_in, says, subscribes};
use super::*;
use crate::Limits;
use crate::core::DropCause;
use dunlin_protocol::codec::{Packet, PacketType, QoS, ReasonCode};
use std::time::Duration;

/// What comes between the change and the look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Whose right it was comes back.
    Reconnect,
    /// Something is published.
    Publish,
    /// What was on its way is delivered.
    Delivery,
    /// The broker dies, and begins again with the new rules.
    Restart,
}

/// Whose right it is.
const USER: &str = "user";

struct Scene {
    broker: Broker,
    rules: String,
}

impl Scene {
    /// The right goes, or stays.
    fn change(&mut self) {
        let rules = self.rules.clone();
        self.broker.change_rights(&rules);
    }

    fn restart(&mut self) {
        self.broker.restart();
        self.broker.asked_who.clear();
    }

    /// The right goes, or stays, while the broker is down: it is judged by what is stored.
    fn change_at_restart(&mut self) {
        let rules = self.rules.clone();
        self.broker.begin_rights(&rules, Duration::from_secs(10));
        self.restart();
    }

    fn user(&mut self) -> Link {
        enter(&mut self.broker, connect("user").resume().expiry(600), USER).0
    }

    /// The user, who takes one message after the other.
    fn slow_user(&mut self) -> Link {
        let packet = connect("user").resume().expiry(600).receive_maximum(1);
        enter(&mut self.broker, packet, USER).0
    }

    fn other(&mut self, name: &str) -> Link {
        enter(&mut self.broker, connect(name).resume().expiry(600), "other").0
    }

    fn other_says(&mut self, payload: &str, qos: QoS) {
        let (sayer, _) = enter(&mut self.broker, connect("sayer"), "other");
        self.broker.send(sayer, Packet::Publish(publish("t/a", payload, qos, 1)));
        let answer = self.broker.receive_one(sayer);
        assert!(matches!(answer, Packet::PubAck(_) | Packet::PubRec(_)), "{answer:?}");
        self.broker.cut(sayer);
    }

    fn has_dropped(&self) -> bool {
        self.broker.counters().dropped_for(DropCause::NotAllowed) > 0
    }
}

/// Plays a scene with the right and without it: it tells whether there was what the right is for.
fn check(scene: fn(&mut Scene, When) -> bool, when: When) {
    for workers in [1, 3] {
        for (rules, expected) in [(ALL.to_owned(), true), (all_but(USER), false)] {
            let broker = Broker::with_store(workers).with_rights(ALL);
            let mut stage = Scene { broker, rules };
            let happened = scene(&mut stage, when);
            assert_eq!(happened, expected, "{when:?}, {workers} workers");
            assert!(expected || stage.has_dropped(), "{when:?}: what is left out is counted");
            assert_eq!(stage.broker.counters().queued, 0, "{when:?}: nothing waits for ever");
        }
    }
}

macro_rules! cells {
    ($($scene:ident)+) => {$(
        mod $scene {
            use super::{When, check};

            #[test]
            fn reconnect() {
                check(super::$scene, When::Reconnect);
            }

            #[test]
            fn publish() {
                check(super::$scene, When::Publish);
            }

            #[test]
            fn delivery() {
                check(super::$scene, When::Delivery);
            }

            #[test]
            fn restart() {
                check(super::$scene, When::Restart);
            }
        }
    )+};
}

cells! { stored_subscription will retained_message offline_queue shared_group qos_2_in_flight }

/// Whether a subscription that was granted gets a message.
fn stored_subscription(scene: &mut Scene, when: When) -> bool {
    let mut user = match when {
        When::Delivery => scene.slow_user(),
        _ => scene.user(),
    };
    subscribes(&mut scene.broker, user, &["t/#"]);
    match when {
        When::Reconnect => {
            scene.broker.cut(user);
            scene.change();
            user = scene.user();
            scene.other_says("x", QoS::AtLeastOnce);
        }
        When::Publish => {
            scene.change();
            scene.other_says("x", QoS::AtLeastOnce);
        }
        When::Delivery => {
            scene.other_says("first", QoS::AtLeastOnce);
            scene.other_says("x", QoS::AtLeastOnce);
            scene.change();
        }
        When::Restart => {
            scene.change_at_restart();
            scene.other_says("x", QoS::AtLeastOnce);
            user = scene.user();
        }
    }
    scene.broker.drain(user).contains(&"x".to_owned())
}

/// Whether a Will is published.
fn will(scene: &mut Scene, when: When) -> bool {
    let reader = scene.other("reader");
    subscribes(&mut scene.broker, reader, &["t/#"]);
    let packet = |delay| connect("user").resume().expiry(600).will(super::will("t/w", "x", delay));
    let delay = match when {
        When::Publish | When::Restart => 0,
        When::Reconnect | When::Delivery => 10,
    };
    let (user, _) = enter(&mut scene.broker, packet(delay), USER);
    match when {
        When::Reconnect => {
            // It comes back with its Will: that is refused, and the first Will is still due.
            scene.broker.cut(user);
            scene.change();
            let again = log_in(&mut scene.broker, packet(0), Some(USER));
            match &scene.broker.receive(again)[..] {
                [Packet::ConnAck(connack)] if connack.reason_code == ReasonCode::Success => {
                    scene.broker.cut(again);
                }
                [Packet::ConnAck(connack)] => {
                    assert_eq!(connack.reason_code, ReasonCode::NotAuthorized);
                    assert!(scene.broker.is_closed(again));
                    scene.broker.advance_secs(11);
                }
                packets => panic!("no CONNACK but {packets:?}"),
            }
        }
        When::Publish => {
            scene.change();
            scene.broker.cut(user);
        }
        When::Delivery => {
            scene.broker.cut(user);
            scene.change();
            scene.broker.advance_secs(11);
        }
        When::Restart => {
            scene.change_at_restart();
        }
    }
    let reader = match when {
        When::Restart => scene.other("reader"),
        _ => reader,
    };
    scene.broker.drain(reader) == ["x"]
}

/// Whether what the user has retained is given to others.
fn retained_message(scene: &mut Scene, when: When) -> bool {
    let user = scene.user();
    let kept =
        |topic_name| Packet::Publish(publish(topic_name, "x", QoS::AtLeastOnce, 1).retained());
    for topic_name in ["t/a", "t/b"] {
        scene.broker.send(user, kept(topic_name));
        scene.broker.receive(user);
    }
    match when {
        When::Reconnect => {
            let reader = scene.other("reader");
            scene.broker.cut(reader);
            scene.change();
        }
        When::Publish => {
            scene.change();
            scene.broker.send(user, kept("t/a"));
            match scene.broker.receive_one(user) {
                Packet::PubAck(ack) => {
                    let is_refused = ack.reason_code == ReasonCode::NotAuthorized;
                    assert_eq!(is_refused, scene.rules != ALL);
                }
                packet => panic!("no PUBACK but {packet:?}"),
            }
        }
        When::Delivery => {
            // Of two messages one is sent when the right goes.
            let packet = connect("reader").expiry(600).receive_maximum(1);
            let (reader, _) = enter(&mut scene.broker, packet, "other");
            subscribes(&mut scene.broker, reader, &["t/#"]);
            scene.change();
            return scene.broker.drain(reader).len() == 2;
        }
        When::Restart => {
            scene.change_at_restart();
        }
    }
    let reader = scene.other("reader");
    subscribes(&mut scene.broker, reader, &["t/#"]);
    scene.broker.drain(reader) == ["x", "x"]
}

/// Whether a message reaches a session that was away when it was published.
fn offline_queue(scene: &mut Scene, when: When) -> bool {
    let user = scene.user();
    subscribes(&mut scene.broker, user, &["t/#"]);
    scene.broker.cut(user);
    scene.other_says("first", QoS::AtLeastOnce);
    match when {
        When::Reconnect => scene.change(),
        When::Publish => {
            scene.change();
            scene.other_says("x", QoS::AtLeastOnce);
            scene.broker.change_rights(ALL);
            let user = scene.user();
            let payloads = scene.broker.drain(user);
            assert_eq!(payloads[0], "first", "the right is back, and with it what it is for");
            return payloads.len() == 2;
        }
        When::Delivery => {
            for _ in 0..6 {
                // More than fits into memory.
                scene.other_says("x", QoS::AtLeastOnce);
            }
            let user = scene.slow_user();
            scene.change();
            return scene.broker.drain(user).len() == 7;
        }
        When::Restart => {
            scene.change_at_restart();
        }
    }
    let user = scene.user();
    scene.broker.drain(user) == ["first"]
}

/// Whether a member of a Shared Subscription gets a message. Without the right, the other one gets
/// all of them.
fn shared_group(scene: &mut Scene, when: When) -> bool {
    let slow = |name: &str| connect(name).resume().expiry(600).receive_maximum(1);
    let (mut user, _) = enter(&mut scene.broker, slow("user"), USER);
    subscribes(&mut scene.broker, user, &["$share/g/t/#"]);
    let is_away = matches!(when, When::Reconnect | When::Restart);
    if is_away {
        scene.broker.cut(user);
        for at in 0..6 {
            scene.other_says(&at.to_string(), QoS::AtLeastOnce);
        }
    }
    let (mut other, _) = enter(&mut scene.broker, slow("member"), "other");
    subscribes(&mut scene.broker, other, &["$share/g/t/#"]);
    match when {
        When::Reconnect => scene.change(),
        When::Restart => {
            scene.change_at_restart();
            (other, _) = enter(&mut scene.broker, slow("member"), "other");
        }
        When::Publish => {
            scene.change();
            for at in 0..6 {
                scene.other_says(&at.to_string(), QoS::AtLeastOnce);
            }
        }
        When::Delivery => {
            for at in 0..6 {
                scene.other_says(&at.to_string(), QoS::AtLeastOnce);
            }
            scene.change();
        }
    }
    if is_away {
        (user, _) = enter(&mut scene.broker, slow("user"), USER);
    }
    let (of_user, of_other) = (scene.broker.drain(user), scene.broker.drain(other));
    assert_eq!(of_user.len() + of_other.len(), 6, "each goes to one of them");
    // What was sent before the right was gone is his.
    let sent = usize::from(when == When::Delivery);
    if of_user.len() <= sent {
        let counters = scene.broker.counters();
        assert_eq!(counters.dropped_for(DropCause::NotAllowed), 0, "nothing is lost");
        // So that the common check, for what is lost elsewhere, has something to find.
        let (user, _) = enter(&mut scene.broker, connect("witness"), USER);
        assert_eq!(says(&mut scene.broker, user, "t/a", ""), ReasonCode::NotAuthorized);
    }
    of_user.len() > sent
}

/// Whether a QoS 2 message goes on whose exchange has begun.
fn qos_2_in_flight(scene: &mut Scene, when: When) -> bool {
    match when {
        When::Publish => {
            // Towards the broker: what it has taken is routed, and released whatever comes.
            let reader = scene.other("reader");
            subscribes(&mut scene.broker, reader, &["t/#"]);
            let user = scene.user();
            let message = |at| Packet::Publish(publish("t/a", "x", QoS::ExactlyOnce, at));
            scene.broker.send(user, message(1));
            assert_eq!(scene.broker.types(user), [PacketType::PubRec]);
            scene.change();
            scene.broker.send(user, Packet::PubRel(ack(identifier(1))));
            assert_eq!(scene.broker.types(user), [PacketType::PubComp]);
            assert_eq!(scene.broker.drain(reader).len(), 1);
            scene.broker.send(user, message(2));
            scene.broker.receive(user);
            scene.broker.drain(reader).len() == 1
        }
        When::Delivery => {
            // PUBREC came before the right went: the exchange is brought to its end.
            let user = scene.slow_user();
            subscribes(&mut scene.broker, user, &["t/#"]);
            scene.other_says("first", QoS::ExactlyOnce);
            scene.other_says("x", QoS::ExactlyOnce);
            let first = scene.broker.messages(user).remove(0).packet_identifier();
            scene.change();
            scene.broker.send(user, Packet::PubRec(ack(first)));
            assert_eq!(scene.broker.types(user), [PacketType::PubRel]);
            scene.broker.send(user, Packet::PubComp(ack(first)));
            scene.broker.drain(user) == ["x"]
        }
        When::Reconnect | When::Restart => {
            let user = scene.user();
            subscribes(&mut scene.broker, user, &["t/#", "u"]);
            scene.other_says("x", QoS::ExactlyOnce);
            let sent = scene.broker.messages(user).remove(0).packet_identifier();
            scene.broker.cut(user);
            match when {
                When::Restart => scene.change_at_restart(),
                _ => scene.change(),
            }
            let user = scene.user();
            let packets = scene.broker.receive(user);
            let comes_again = match &packets[..] {
                [Packet::Publish(again)] => {
                    assert_eq!(again.packet_identifier(), sent);
                    scene.broker.give_back(user, &packets);
                    assert_eq!(scene.broker.drain(user), ["x"]);
                    true
                }
                [Packet::PubRel(release)] => {
                    assert_eq!(release.packet_identifier, sent);
                    scene.broker.send(user, Packet::PubComp(ack(sent)));
                    assert!(scene.broker.receive(user).is_empty());
                    false
                }
                packets => panic!("neither PUBLISH nor PUBREL but {packets:?}"),
            };
            // What he may have comes as ever, and nothing is left of the other.
            let (sayer, _) = enter(&mut scene.broker, connect("sayer"), "other");
            says(&mut scene.broker, sayer, "u", "further");
            assert_eq!(scene.broker.drain(user), ["further"]);
            scene.restart();
            let user = scene.user();
            assert!(scene.broker.receive(user).is_empty());
            if !comes_again {
                // The restart has forgotten what was counted.
                assert_eq!(says(&mut scene.broker, user, "t/a", ""), ReasonCode::NotAuthorized);
            }
            comes_again
        }
    }
}

#[test]
fn a_retained_message_is_not_given_to_a_reader_without_the_right() {
    for workers in [1, 3] {
        let rules =
            format!("[[rule]]\ndeny = [\"subscribe\"]\ntopics = [\"t/b\"]\nuser = \"user\"\n{ALL}");
        let mut broker = Broker::with_store(workers).with_rights(&rules);
        let (other, _) = enter(&mut broker, connect("other"), "other");
        for topic_name in ["t/a", "t/b"] {
            let packet = publish(topic_name, topic_name, QoS::AtLeastOnce, 1).retained();
            broker.send(other, Packet::Publish(packet));
            broker.receive(other);
        }
        let (user, _) = enter(&mut broker, connect("user"), USER);
        subscribes(&mut broker, user, &["t/#"]);
        assert_eq!(broker.drain(user), ["t/a"]);
    }
}

/// Publishes at QoS 2 while the store takes its time, and changes the rules before it has caught up.
fn changes_before_it_is_stored(workers: u8, topic_filter: &str, rules: &str) -> [Vec<String>; 2] {
    let mut broker = Broker::with_store(workers).with_rights(ALL);
    let member = |name: &str| connect(name).resume().expiry(600);
    // Who is away is not chosen while another member is there.
    let (other, _) = enter(&mut broker, member("member"), "other");
    subscribes(&mut broker, other, &[topic_filter]);
    broker.cut(other);
    let (user, _) = enter(&mut broker, member("user"), USER);
    subscribes(&mut broker, user, &[topic_filter]);
    let (sayer, _) = enter(&mut broker, connect("sayer"), "other");
    broker.stores_at_once = false;
    broker.send(sayer, Packet::Publish(publish("t/a", "x", QoS::ExactlyOnce, 1)));
    assert!(broker.receive(user).is_empty(), "its exchange is not stored");
    broker.change_rights(rules);
    broker.store_all();
    broker.stores_at_once = true;
    let of_user = broker.drain(user);
    let (other, _) = enter(&mut broker, member("member"), "other");
    [of_user, broker.drain(other)]
}

#[test]
fn a_message_that_waits_for_the_store_is_judged_when_it_is_sent() {
    for workers in [1, 3] {
        let changes = |topic_filter: &str, rules: &str| {
            let [user, other] = changes_before_it_is_stored(workers, topic_filter, rules);
            (user.len(), other.len())
        };
        assert_eq!(changes("t/#", ALL), (1, 1));
        assert_eq!(changes("t/#", &all_but(USER)), (0, 1));
        assert_eq!(changes("$share/g/t/#", ALL), (1, 0));
        assert_eq!(changes("$share/g/t/#", &all_but(USER)), (0, 1), "another member has it");
    }
}

#[test]
fn a_message_that_its_reader_is_told_to_release_does_not_come_again_after_a_crash() {
    for keeps_right in [false, true] {
        let broker = Broker::with_store(1).with_rights(ALL);
        let mut scene = Scene { broker, rules: all_but(USER) };
        let user = scene.user();
        subscribes(&mut scene.broker, user, &["t/#"]);
        scene.other_says("x", QoS::ExactlyOnce);
        assert_eq!(scene.broker.types(user), [PacketType::Publish]);
        scene.broker.cut(user);
        if !keeps_right {
            scene.change();
        }
        scene.broker.stores_at_once = false;
        let packet = connect("user").resume().expiry(600);
        let user = log_in(&mut scene.broker, packet, Some(USER));
        let mut packets = scene.broker.types(user);
        while packets.is_empty() {
            assert!(scene.broker.store(0), "it waits for nothing");
            scene.broker.settle(0);
            packets = scene.broker.types(user);
        }
        let expected = if keeps_right { PacketType::Publish } else { PacketType::PubRel };
        assert_eq!(packets, [PacketType::ConnAck, expected]);
        // Nothing more than what is stored by now is left, and the right is there again.
        let (stored, _) = scene.broker.log_len();
        scene.rules = ALL.to_owned();
        scene.broker.begin_rights(ALL, Duration::from_secs(10));
        scene.broker.stores_at_once = true;
        scene.broker.crash(stored, 1, Duration::from_secs(1));
        scene.broker.asked_who.clear();
        let user = scene.user();
        assert_eq!(scene.broker.types(user), [expected]);
    }
}

#[test]
fn a_message_of_a_group_at_qos_0_waits_as_one_of_the_group() {
    let no_group = format!(
        "[[rule]]\ndeny = [\"subscribe\"]\ntopics = [\"$share/g/#\"]\nuser = \"{USER}\"\n{ALL}"
    );
    for (rules, expected) in [(ALL, &["x"][..]), (&no_group, &[])] {
        let limits = Limits { sys_interval_secs: 0, queue_qos0_offline: true, ..Limits::default() };
        let mut broker = Broker::with(1, limits).with_rights(ALL);
        let (user, _) = enter(&mut broker, connect("user").resume().expiry(600), USER);
        subscribes(&mut broker, user, &["$share/g/t/#"]);
        broker.cut(user);
        let (sayer, _) = enter(&mut broker, connect("sayer"), "other");
        broker.send(sayer, Packet::Publish(publish("t/a", "x", QoS::AtMostOnce, 1)));
        broker.change_rights(rules);
        let (user, _) = enter(&mut broker, connect("user").resume().expiry(600), USER);
        assert_eq!(broker.drain(user), expected);
    }
}
