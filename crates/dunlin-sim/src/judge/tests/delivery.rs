//! What reaches subscribers: kept, once, in order, wanted, as published.

use super::*;
use dunlin_codec::{RetainHandling, SubscriptionIdentifier};

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

#[test]
fn an_acknowledged_message_is_kept() {
    let mut story = pair(Q1);
    story.publish(1, 7);
    story.ends(&[Promise::AcknowledgedIsKept]);

    // On the way when the subscriber left, resent when it came back.
    let mut story = pair(Q1);
    story.publish(1, 7);
    story.write_publish(2, publish(7, Q1, 1));
    story.close(2);
    story.join(3, 2, connect("subscriber"), true);
    story.pass_on(3, 2, again(publish(7, Q1, 1)));
    story.ends(&[]);
}

#[test]
fn nothing_is_owed_to_a_subscription_that_may_have_gone() {
    let mut story = pair(Q1);
    story.take_publish(1, publish(7, Q1, 1));
    story.take_unsubscribe(2, "a");
    story.write(1, &Packet::PubAck(ack(1)));
    story.write_unsuback(2);
    story.ends(&[]);

    let mut story = pair(Q1);
    story.publish(1, 7);
    story.take_unsubscribe(2, "a");
    story.write_unsuback(2);
    story.ends(&[Promise::AcknowledgedIsKept]);
}

#[test]
fn a_crash_takes_back_only_what_nobody_was_told() {
    for stores in [true, false] {
        let mut story = Story::with(|rules| rules.stores = stores);
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.publish(1, 7);
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 2, connect("subscriber"), stores);
        let broken: &[_] = if stores { &[Promise::AcknowledgedIsKept] } else { &[] };
        story.ends(broken);
    }
    // Not acknowledged: lost, or kept.
    for kept in [true, false] {
        let mut story = pair(Q1);
        story.take_publish(1, publish(7, Q1, 1));
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 2, connect("subscriber"), true);
        if kept {
            story.pass_on(3, 2, publish(7, Q1, 1));
        }
        story.ends(&[]);
    }
}

#[test]
fn qos_2_comes_once() {
    // Repeated by both sides after cuts: still one.
    let mut story = pair(Q2);
    story.take_publish(1, publish(7, Q2, 5));
    story.write_publish(2, publish(7, Q2, 1));
    story.deliver(2, 2, &publish(7, Q2, 1));
    story.close(1);
    story.close(2);
    story.join(3, 1, connect("publisher"), true);
    story.join(4, 2, connect("subscriber"), true);
    story.take_publish(3, again(publish(7, Q2, 5)));
    story.write(3, &Packet::PubRec(ack(5)));
    story.write_publish(4, again(publish(7, Q2, 1)));
    story.ends(&[]);

    // Another exchange for it.
    let mut story = pair(Q2);
    story.take_publish(1, publish(7, Q2, 5));
    story.write(1, &Packet::PubRec(ack(5)));
    story.write_publish(2, publish(7, Q2, 1));
    story.deliver(2, 2, &publish(7, Q2, 1));
    story.write_publish(2, publish(7, Q2, 2));
    story.ends(&[Promise::ExactlyOnce]);

    // One exchange, given twice.
    let mut story = pair(Q2);
    story.take_publish(1, publish(7, Q2, 5));
    story.write(1, &Packet::PubRec(ack(5)));
    story.write_publish(2, publish(7, Q2, 1));
    story.deliver(2, 2, &publish(7, Q2, 1));
    story.deliver(2, 2, &publish(7, Q2, 1));
    story.ends(&[Promise::ExactlyOnce]);
}

#[test]
fn qos_1_is_copied_only_for_a_reason() {
    let mut story = pair(Q1);
    story.publish(1, 7);
    story.publish(1, 7);
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.pass_on(2, 2, publish(7, Q1, 2));
    story.ends(&[]);

    let mut story = pair(Q1);
    story.publish(1, 7);
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.pass_on(2, 2, publish(7, Q1, 2));
    story.ends(&[Promise::NoNeedlessCopy]);
}

#[test]
fn messages_keep_their_order() {
    let mut story = pair(Q1);
    story.publish(1, 7);
    story.publish(1, 8);
    story.pass_on(2, 2, publish(8, Q1, 1));
    story.pass_on(2, 2, publish(7, Q1, 2));
    story.ends(&[Promise::Order]);

    // 7 was published again after 8: as late as that.
    let mut story = pair(Q1);
    story.take_publish(1, publish(7, Q1, 1));
    story.publish(1, 8);
    story.close(1);
    story.join(3, 1, connect("publisher"), true);
    story.publish(3, 7);
    story.pass_on(2, 2, publish(8, Q1, 1));
    story.pass_on(2, 2, publish(7, Q1, 2));
    story.ends(&[]);
}

#[test]
fn only_what_is_wanted_comes() {
    // Subscribed while the message was under way.
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.join(2, 2, connect("subscriber"), false);
    story.take_publish(1, publish(7, Q1, 1));
    story.take(2, &Packet::Subscribe(Box::new(subscribe("+", Q1))));
    story.write(1, &Packet::PubAck(ack(1)));
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.suback(2, id(1), vec![ReasonCode::GrantedQoS1]);
    story.ends(&[]);

    // Subscribed after it.
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.join(2, 2, connect("subscriber"), false);
    story.publish(1, 7);
    story.subscribe(2, "a", Q1);
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.ends(&[Promise::OnlyWhatIsWanted]);

    let mut story = pair(Q1);
    story.write_publish(2, publish(9, Q0, 0));
    story.ends(&[Promise::OnlyWhatIsWanted]);
}

#[test]
fn the_qos_is_the_lower_one() {
    let mut story = pair(Q1);
    story.subscribe(2, "+", Q0);
    story.take_publish(1, publish(7, Q2, 1));
    story.write(1, &Packet::PubRec(ack(1)));
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.ends(&[]);

    let mut story = pair(Q1);
    story.subscribe(2, "+", Q0);
    story.take_publish(1, publish(7, Q2, 1));
    story.write(1, &Packet::PubRec(ack(1)));
    story.pass_on(2, 2, publish(7, Q0, 0));
    story.ends(&[Promise::GrantedQos]);
}

#[test]
fn no_local_keeps_a_message_from_its_publisher() {
    for (no_local, broken) in [(false, &[][..]), (true, &[Promise::NoLocal][..])] {
        let mut story = Story::new();
        story.join(1, 1, connect("talker"), false);
        let mut asked = subscribe("a", Q1);
        asked.subscriptions[0].options.no_local = no_local;
        story.subscribe_as(1, asked);
        story.publish(1, 7);
        story.pass_on(1, 1, publish(7, Q1, 9));
        story.ends(broken);
    }
}

#[test]
fn subscription_identifiers_are_those_that_match() {
    for (told, broken) in
        [(vec![3, 4], &[][..]), (vec![3], &[Promise::SubscriptionIdentifiers][..])]
    {
        let mut story = pair(Q1);
        for (identifier, filter) in [(3, "a"), (4, "+"), (5, "b")] {
            let mut asked = subscribe(filter, Q1);
            asked.properties.subscription_identifier = SubscriptionIdentifier::new(identifier);
            story.subscribe_as(2, asked);
        }
        story.publish(1, 7);
        let mut sent = publish(7, Q1, 1);
        sent.subscription_identifiers =
            told.into_iter().filter_map(SubscriptionIdentifier::new).collect();
        story.pass_on(2, 2, sent);
        story.ends(broken);
    }
}

#[test]
fn content_is_unaltered() {
    let mut story = pair(Q1);
    story.publish(1, 7);
    let mut altered = publish(7, Q1, 1);
    altered.payload = Bytes::from_static(b"7 and more");
    story.write_publish(2, altered);
    story.deliver(2, 2, &publish(7, Q1, 1));
    story.ends(&[Promise::Content]);
}

#[test]
fn a_message_is_not_sent_after_its_expiry() {
    // Said in time, and the socket was blocked since.
    for blocked in [true, false] {
        let mut story = pair(Q1);
        let mut taken = publish(7, Q1, 1);
        taken.message_expiry_interval = Some(2);
        story.take_publish(1, taken.clone());
        story.write(1, &Packet::PubAck(ack(1)));
        if blocked {
            story.tell(Event::Blocked { connection: ConnectionId(2) });
        }
        story.pass(5000);
        story.pass_on(2, 2, taken);
        story.ends(if blocked { &[] } else { &[Promise::MessageExpiry] });
    }
    // The interval shrinks while it waits.
    for (left, broken) in [(2, &[][..]), (5, &[Promise::MessageExpiry][..])] {
        let mut story = pair(Q1);
        let mut taken = publish(7, Q1, 1);
        taken.message_expiry_interval = Some(5);
        story.take_publish(1, taken.clone());
        story.write(1, &Packet::PubAck(ack(1)));
        story.pass(3000);
        taken.message_expiry_interval = Some(left);
        story.pass_on(2, 2, taken);
        story.ends(broken);
    }
}

#[test]
fn a_repetition_of_a_message_may_have_less_time_left() {
    let again = |left: u32| {
        let mut story = pair(Q1);
        let mut taken = publish(7, Q1, 1);
        taken.message_expiry_interval = Some(60);
        story.take_publish(1, taken.clone());
        story.pass_on(2, 2, taken);
        story.close(1);
        story.join(3, 1, connect("publisher"), true);
        let mut taken = publish(7, Q1, 1);
        taken.delivery = Delivery::AtLeastOnce { packet_identifier: id(1), dup: true };
        taken.message_expiry_interval = Some(55);
        story.take_publish(3, taken);
        let mut sent = publish(7, Q1, 2);
        sent.message_expiry_interval = Some(left);
        story.pass_on(2, 2, sent);
        story.write(3, &Packet::PubAck(ack(1)));
        story
    };
    again(55).ends(&[]);
    again(60).ends(&[]);
    again(50).ends(&[Promise::MessageExpiry]);
}

#[test]
fn what_a_failing_store_made_the_broker_refuse_is_new_when_it_comes_again() {
    for (fails, broken) in [(true, &[][..]), (false, &[Promise::MessageExpiry])] {
        let mut story = Story::with(|rules| {
            rules.stores = true;
            rules.limits.queue_policy = dunlin_broker::QueuePolicy::DropNewest;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q2);
        if fails {
            story.tell(Event::StoreFailed);
        }
        let mut taken = publish(7, Q2, 5);
        taken.message_expiry_interval = Some(60);
        story.take_publish(1, taken.clone());
        // PUBREC refuses it, and is never written.
        story.close(1);
        if fails {
            story.tell(Event::StoreMended);
        }
        story.join(3, 1, connect("publisher"), true);
        taken.message_expiry_interval = Some(48);
        story.take_publish(3, again(taken));
        story.write(3, &Packet::PubRec(ack(5)));
        let mut sent = publish(7, Q2, 1);
        sent.message_expiry_interval = Some(48);
        story.pass_on(2, 2, sent);
        story.ends(broken);
    }
}

fn keep(story: &mut Story, number: u64) {
    story.take_publish(1, retained(publish(number, Q1, 1)));
    story.write(1, &Packet::PubAck(ack(1)));
}

#[test]
fn a_new_subscription_gets_the_last_retained_message() {
    let begin = || {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        keep(&mut story, 7);
        keep(&mut story, 8);
        story
    };
    let mut story = begin();
    story.subscribe(2, "#", Q1);
    story.ends(&[Promise::Retained]);

    let mut story = begin();
    story.subscribe(2, "#", Q1);
    story.pass_on(2, 2, retained(publish(8, Q1, 1)));
    story.ends(&[]);

    let mut story = begin();
    story.subscribe(2, "#", Q1);
    story.pass_on(2, 2, retained(publish(8, Q1, 1)));
    story.pass_on(2, 2, retained(publish(7, Q1, 2)));
    story.ends(&[Promise::Retained]);

    // Replaced while it was sent: the old one, the new one, or both.
    let mut story = begin();
    story.take(2, &Packet::Subscribe(Box::new(subscribe("#", Q1))));
    story.take_publish(1, retained(publish(9, Q1, 1)));
    story.suback(2, id(1), vec![ReasonCode::GrantedQoS1]);
    story.pass_on(2, 2, retained(publish(8, Q1, 1)));
    story.write(1, &Packet::PubAck(ack(1)));
    story.ends(&[]);

    // Replaced and acknowledged meanwhile: the new one comes in one way or the other.
    for comes in [None, Some(publish(9, Q1, 1)), Some(retained(publish(9, Q1, 1)))] {
        let mut story = begin();
        story.take(2, &Packet::Subscribe(Box::new(subscribe("#", Q1))));
        keep(&mut story, 9);
        story.suback(2, id(1), vec![ReasonCode::GrantedQoS1]);
        let broken: &[_] = if comes.is_none() { &[Promise::Retained] } else { &[] };
        if let Some(publish) = comes {
            story.pass_on(2, 2, publish);
        }
        story.ends(broken);
    }

    let mut story = begin();
    let mut asked = subscribe("#", Q1);
    asked.subscriptions[0].options.retain_handling = RetainHandling::DoNotSend;
    story.subscribe_as(2, asked);
    story.pass_on(2, 2, retained(publish(8, Q1, 1)));
    story.ends(&[Promise::Retained]);
}

#[test]
fn an_unacknowledged_change_of_what_is_retained_may_be_undone_by_a_crash() {
    for (number, broken) in [(7, &[][..]), (8, &[][..]), (6, &[Promise::Retained][..])] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        keep(&mut story, 6);
        keep(&mut story, 7);
        story.take_publish(1, retained(publish(8, Q0, 0)));
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 2, connect("subscriber"), false);
        story.subscribe(3, "#", Q0);
        story.pass_on(3, 2, retained(publish(number, Q0, 0)));
        story.ends(broken);
    }
}

#[test]
fn what_comes_again_after_a_crash_may_be_retained_anew() {
    // Unless it had told that it has the first message, it may have forgotten that it came.
    for (crashes, broken) in [(true, &[][..]), (false, &[Promise::Retained][..])] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("other"), false);
        story.take_publish(1, retained(publish(7, Q2, 1)));
        if crashes {
            story.tell(Event::Crashed);
            story.tell(Event::Restarted);
            story.join(1, 1, connect("publisher"), true);
            story.join(2, 2, connect("other"), true);
        } else {
            story.write(1, &Packet::PubRec(ack(1)));
        }
        story.take_publish(2, retained(publish(8, Q1, 1)));
        story.write(2, &Packet::PubAck(ack(1)));
        story.take_publish(1, again(retained(publish(7, Q2, 1))));
        story.write(1, &Packet::PubRec(ack(1)));
        story.join(3, 3, connect("subscriber"), false);
        story.subscribe(3, "#", Q0);
        story.pass_on(3, 3, retained(publish(7, Q0, 0)));
        story.ends(broken);
    }
}

#[test]
fn retain_is_not_set_on_live_messages() {
    for (retain_as_published, broken) in [(true, &[][..]), (false, &[Promise::RetainFlag][..])] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        let mut asked = subscribe("a", Q1);
        asked.subscriptions[0].options.retain_as_published = retain_as_published;
        story.subscribe_as(2, asked);
        keep(&mut story, 7);
        story.pass_on(2, 2, retained(publish(7, Q1, 1)));
        story.ends(broken);
    }
}

/// Members 2 and 3 of a group that gets `a`.
fn group(qos: QoS) -> Story {
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    for member in [2, 3] {
        story.join(member, member, connect(&format!("member-{member}")), false);
        story.subscribe(member, "$share/g/a", qos);
    }
    story
}

#[test]
fn one_member_gets_a_message() {
    let mut story = group(Q1);
    story.publish(1, 7);
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.pass_on(3, 3, publish(7, Q1, 1));
    story.ends(&[Promise::OneMember]);

    // The first one went away without an answer.
    let mut story = group(Q1);
    story.publish(1, 7);
    story.write_publish(2, publish(7, Q1, 1));
    story.pass_on(3, 3, publish(7, Q1, 1));
    story.close(2);
    story.pass(100);
    story.ends(&[]);

    let mut story = group(Q1);
    story.publish(1, 7);
    story.write_publish(2, publish(7, Q1, 1));
    story.pass_on(3, 3, publish(7, Q1, 1));
    story.pass(100);
    story.ends(&[Promise::OneMember]);

    // At QoS 2 never.
    let mut story = group(Q2);
    story.take_publish(1, publish(7, Q2, 1));
    story.write(1, &Packet::PubRec(ack(1)));
    story.write_publish(2, publish(7, Q2, 1));
    story.close(2);
    story.write_publish(3, publish(7, Q2, 1));
    story.deliver(3, 3, &publish(7, Q2, 1));
    story.ends(&[Promise::OneMember]);
}

/// What the member at this QoS was sent before a crash, and another member after it.
#[test]
fn after_a_crash_another_member_may_get_what_nobody_was_told() {
    for (qos, expiry_secs, is_told, broken) in [
        (Q0, 60, false, &[][..]),
        (Q0, 60, true, &[Promise::OneMember]),
        (Q2, 60, false, &[Promise::OneMember]),
        // Of a session that ends with its connection nothing is stored, and nothing waits.
        (Q2, 0, false, &[]),
        (Q2, 0, true, &[Promise::OneMember]),
    ] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        let mut first = connect("first");
        first.properties.session_expiry_interval = Some(expiry_secs);
        story.join(2, 2, first, false);
        story.subscribe(2, "$share/g/a", qos);
        story.join(3, 3, connect("second"), false);
        story.subscribe(3, "$share/g/a", Q0);
        story.take_publish(1, publish(7, Q2, 1));
        story.deliver_written(2, 2, publish(7, qos, 1));
        if is_told {
            story.write(1, &Packet::PubRec(ack(1)));
        }
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(4, 1, connect("publisher"), true);
        story.join(5, 3, connect("second"), true);
        story.take_publish(4, again(publish(7, Q2, 1)));
        story.deliver_written(5, 3, publish(7, Q0, 0));
        story.write(4, &Packet::PubRec(ack(1)));
        story.ends(broken);
    }
}

#[test]
fn a_will_that_is_published_anew_after_a_crash_may_find_another_member() {
    for (crashes, broken) in [(true, &[][..]), (false, &[Promise::OneMember])] {
        let mut story = Story::new();
        let mut mortal = connect("mortal");
        mortal.will = Some(will(7, 0));
        story.join(1, 1, mortal, false);
        for member in [2, 3] {
            story.join(member, member, connect(&format!("member-{member}")), false);
            story.subscribe(member, "$share/g/will", Q1);
        }
        story.close(1);
        story.pass(100);
        let mut connections = [2, 3];
        if crashes {
            story.tell(Event::Crashed);
            story.tell(Event::Restarted);
            connections = [4, 5];
            story.join(4, 2, connect("member-2"), true);
            story.join(5, 3, connect("member-3"), true);
        }
        for (connection, device) in connections.into_iter().zip([2, 3]) {
            let mut sent = publish(7, Q1, 1);
            sent.topic = PublishTopic::Name(TopicName::from_static("will"));
            story.pass_on(connection, device, sent);
        }
        story.ends(broken);
    }
}

#[test]
fn some_member_gets_a_message() {
    let mut story = group(Q1);
    story.publish(1, 7);
    story.ends(&[Promise::SomeMember]);
}

/// A publisher, and two members of a group at this QoS. The first has another way to the same
/// messages, and a Session that ends with its connection.
fn short_lived_member(qos: QoS) -> Story {
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    let mut short = connect("short");
    short.properties.session_expiry_interval = None;
    story.join(2, 2, short, false);
    story.join(3, 3, connect("member"), false);
    for member in [2, 3] {
        story.subscribe(member, "$share/g/a", qos);
    }
    story.subscribe(2, "$share/h/+", qos);
    story.take_publish(1, publish(7, Q2, 1));
    story
}

#[test]
fn a_session_that_ends_takes_a_qos_2_message_with_it_that_was_sent() {
    for (qos, broken) in [(Q2, &[][..]), (Q1, &[Promise::SomeMember])] {
        // By one of its two groups.
        let mut story = short_lived_member(qos);
        story.write_publish(2, publish(7, qos, 1));
        story.write(1, &Packet::PubRec(ack(1)));
        story.close(2);
        story.ends(broken);

        // Its connection did not take all that was said.
        let mut story = short_lived_member(qos);
        story.tell(Event::Blocked { connection: ConnectionId(2) });
        story.write(1, &Packet::PubRec(ack(1)));
        story.close(2);
        story.ends(broken);
    }
    // Nothing was left to be said.
    let mut story = short_lived_member(Q2);
    story.tell(Event::Blocked { connection: ConnectionId(2) });
    story.write(1, &Packet::PubRec(ack(1)));
    story.tell(Event::Drained { connection: ConnectionId(2) });
    story.close(2);
    story.ends(&[Promise::SomeMember]);

    // It had ended before.
    let mut story = short_lived_member(Q2);
    story.write_publish(2, publish(7, Q2, 1));
    story.write(1, &Packet::PubRec(ack(1)));
    story.tell(Event::Blocked { connection: ConnectionId(2) });
    story.close(2);
    story.take_publish(1, publish(8, Q2, 2));
    story.write(1, &Packet::PubRec(ack(2)));
    story.ends(&[Promise::SomeMember]);
}

#[test]
fn below_qos_2_a_crash_may_bring_a_message_twice() {
    for (granted, broken) in [(Q0, &[][..]), (Q1, &[]), (Q2, &[Promise::ExactlyOnce])] {
        let mut story = pair(granted);
        story.take_publish(1, publish(7, Q2, 1));
        story.write_publish(2, publish(7, granted, 1));
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 1, connect("publisher"), true);
        story.join(4, 2, connect("subscriber"), true);
        story.take_publish(3, again(publish(7, Q2, 1)));
        story.write(3, &Packet::PubRec(ack(1)));
        story.deliver_written(4, 2, publish(7, granted, 2));
        story.ends(broken);
    }
}

#[test]
fn a_refused_repetition_leaves_what_the_same_subscribe_made() {
    let mut story = pair(Q1);
    let mut packet = subscribe("a", Q0);
    packet.subscriptions.push(packet.subscriptions[0].clone());
    let packet_identifier = packet.packet_identifier;
    story.take(2, &Packet::Subscribe(Box::new(packet)));
    let reason_codes = vec![ReasonCode::Success, ReasonCode::QuotaExceeded];
    story.suback(2, packet_identifier, reason_codes);
    story.take_publish(1, publish(7, Q1, 1));
    story.pass_on(2, 2, publish(7, Q0, 1));
    story.write(1, &Packet::PubAck(ack(1)));
    story.ends(&[]);
}

#[test]
fn a_retained_message_at_qos_0_is_lost_with_a_connection_that_was_over() {
    for is_over in [true, false] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        keep(&mut story, 7);
        let packet = subscribe("a", Q0);
        let packet_identifier = packet.packet_identifier;
        story.take(2, &Packet::Subscribe(Box::new(packet)));
        if is_over {
            story.tell(Event::Ended { connection: ConnectionId(2) });
        }
        story.suback(2, packet_identifier, vec![ReasonCode::Success]);
        story.ends(if is_over { &[] } else { &[Promise::Retained] });
    }
}

#[test]
fn a_retained_message_may_come_by_a_new_connection_before_the_old_one_has_suback() {
    for (comes, broken) in [(true, &[][..]), (false, &[Promise::Retained])] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        keep(&mut story, 7);
        let packet = subscribe("a", Q1);
        let packet_identifier = packet.packet_identifier;
        story.take(2, &Packet::Subscribe(Box::new(packet)));
        story.ask(3, 2, connect("subscriber"));
        story.tell(Event::Ended { connection: ConnectionId(2) });
        story.accept(3, true);
        if comes {
            story.pass_on(3, 2, again(retained(publish(7, Q1, 1))));
        }
        story.suback(2, packet_identifier, vec![ReasonCode::GrantedQoS1]);
        story.close(2);
        story.ends(broken);
    }
}

#[test]
fn what_is_sent_at_qos_0_makes_no_room_in_a_queue() {
    for (queue_len_max, broken) in [(1, &[][..]), (2, &[Promise::AcknowledgedIsKept])] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_len_max = queue_len_max;
            rules.limits.queue_policy = QueuePolicy::DropNewest;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q2);
        // It waits for the store.
        story.take_publish(1, publish(7, Q2, 1));
        story.take_publish(1, publish(8, Q0, 0));
        story.deliver_written(2, 2, publish(8, Q0, 0));
        story.take_publish(1, publish(9, Q2, 2));
        story.write(1, &Packet::PubRec(ack(1)));
        story.write(1, &Packet::PubRec(ack(2)));
        story.deliver_written(2, 2, publish(7, Q2, 1));
        story.ends(broken);
    }
}

#[test]
fn a_retained_message_that_never_waited_makes_no_room_in_a_queue() {
    for (queue_len_max, broken) in [(1, &[][..]), (2, &[Promise::AcknowledgedIsKept])] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_len_max = queue_len_max;
            rules.limits.queue_policy = QueuePolicy::DropNewest;
        });
        story.join(1, 1, connect("publisher"), false);
        keep(&mut story, 6);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q2);
        // It waits for the store.
        story.take_publish(1, publish(7, Q2, 1));
        story.pass_on(2, 2, retained(publish(6, Q1, 1)));
        story.take_publish(1, publish(8, Q2, 2));
        story.write(1, &Packet::PubRec(ack(1)));
        story.write(1, &Packet::PubRec(ack(2)));
        story.deliver_written(2, 2, publish(7, Q2, 2));
        story.ends(broken);
    }
}

#[test]
fn what_a_stranger_publishes_fills_queues_too_until_it_is_sent() {
    for (stranger_publishes, is_sent, broken) in [
        (true, false, &[][..]),
        (true, true, &[Promise::AcknowledgedIsKept]),
        (false, false, &[Promise::AcknowledgedIsKept]),
    ] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_len_max = 1;
            rules.limits.queue_policy = QueuePolicy::DropNewest;
            rules.strangers.insert(DeviceId(3));
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.join(3, 3, connect("stranger"), false);
        story.subscribe(2, "a", Q1);
        let unnumbered = |packet_identifier| Publish {
            payload: Bytes::from_static(b"abc"),
            ..publish(0, Q1, packet_identifier)
        };
        if stranger_publishes {
            story.take_publish(3, unnumbered(5));
            story.write(3, &Packet::PubAck(ack(5)));
        }
        if is_sent {
            story.write_publish(2, unnumbered(1));
        }
        story.publish(1, 7);
        story.ends(broken);
    }
}

#[test]
fn a_qos_2_message_may_be_missing_where_it_found_no_room_when_its_publisher_went() {
    for (publisher_goes, stores, lost) in [(true, false, 0), (false, false, 2), (true, true, 2)] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_len_max = 1;
            rules.stores = stores;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", QoS::ExactlyOnce);
        for number in 1..=2 {
            let packet_identifier = u16::try_from(number).expect("few");
            story.take_publish(1, publish(number, QoS::ExactlyOnce, packet_identifier));
        }
        if publisher_goes {
            story.tell(Event::PeerGone { connection: ConnectionId(1) });
        }
        story.write(1, &Packet::PubRec(ack(1)));
        story.write(1, &Packet::PubRec(ack(2)));
        story.ends(&[Promise::AcknowledgedIsKept; 2][..lost]);
    }
}

#[test]
fn copies_at_qos_1_that_a_crash_repeats_are_none_of_qos_2() {
    for (copies, broken) in [(2, &[][..]), (3, &[Promise::ExactlyOnce][..])] {
        let mut story = pair(Q1);
        story.subscribe(2, "$share/g/a", Q2);
        story.take_publish(1, publish(7, Q2, 5));
        story.pass_on(2, 2, publish(7, Q1, 1));
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 2, connect("subscriber"), true);
        story.pass_on(3, 2, again(publish(7, Q1, 1)));
        for packet_identifier in 2..2 + copies {
            story.deliver_written(3, 2, publish(7, Q2, packet_identifier));
        }
        story.ends(broken);
    }
}

#[test]
fn below_qos_2_what_its_old_publisher_could_not_be_told_is_refused_may_come_twice() {
    use ProtocolVersion::{V3_1_1, V5};
    for (version, is_blocked, qos, broken) in [
        (V3_1_1, false, Q1, &[][..]),
        (V3_1_1, false, Q2, &[Promise::ExactlyOnce][..]),
        (V5, false, Q1, &[Promise::NoNeedlessCopy][..]),
        (V5, true, Q1, &[][..]),
    ] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = dunlin_broker::QueuePolicy::Refuse;
        });
        let publisher = || Connect { protocol_version: version, ..connect("publisher") };
        story.join(1, 1, publisher(), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", qos);
        story.take_publish(1, publish(7, Q2, 5));
        story.pass_on(2, 2, publish(7, qos, 1));
        if is_blocked {
            story.tell(Event::Blocked { connection: ConnectionId(1) });
        }
        story.close(1);
        story.join(3, 1, publisher(), true);
        story.take_publish(3, again(publish(7, Q2, 5)));
        story.write(3, &Packet::PubRec(ack(5)));
        story.pass_on(2, 2, publish(7, qos, 2));
        story.ends(broken);
    }
}

#[test]
fn a_refused_subscription_leaves_what_a_later_subscribe_replaces() {
    let mut story = pair(Q1);
    let mut first = subscribe("a", Q1);
    first.properties.subscription_identifier = SubscriptionIdentifier::new(3);
    story.subscribe_as(2, first);
    for packet_identifier in [2, 3] {
        let packet_identifier = id(packet_identifier);
        let later = Subscribe { packet_identifier, ..subscribe("a", Q1) };
        story.take(2, &Packet::Subscribe(Box::new(later)));
    }
    story.take_publish(1, publish(7, Q1, 1));
    story.suback(2, id(2), vec![ReasonCode::QuotaExceeded]);
    story.suback(2, id(3), vec![ReasonCode::GrantedQoS1]);
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.write(1, &Packet::PubAck(ack(1)));
    story.ends(&[]);
}
