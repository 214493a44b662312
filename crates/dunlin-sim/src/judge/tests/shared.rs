//! Histories of Shared Subscriptions, also over a crash.

use super::*;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// A QoS 2 message came to member 2 of a group at this QoS, which has answered. Then the broker
/// crashed, and all three are there again, by connections 5 to 8.
fn after_a_crash(qos: QoS) -> Story {
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    for member in [2, 3, 4] {
        story.join(member, member, connect(&format!("member-{member}")), false);
        story.subscribe(member, "$share/g/a", qos);
    }
    story.take_publish(1, publish(7, QoS::ExactlyOnce, 1));
    story.deliver_written(2, 2, publish(7, qos, 1));
    if qos == QoS::AtLeastOnce {
        story.take(2, &Packet::PubAck(ack(1)));
    }
    story.tell(Event::Crashed);
    story.tell(Event::Restarted);
    story.join(5, 1, connect("publisher"), true);
    for member in [2, 3, 4] {
        story.join(member + 4, member, connect(&format!("member-{member}")), true);
    }
    story
}

#[test]
fn what_a_crash_left_to_a_member_is_not_what_another_one_gets_of_its_repetition() {
    let q1 = QoS::AtLeastOnce;
    // Members in the order in which they are sent it; whether it is published again before.
    for (qos, is_again, members, broken) in [
        (q1, true, &[2, 3][..], &[][..]),
        (q1, true, &[3, 2], &[]),
        (q1, false, &[2, 3], &[Promise::OneMember]),
        // One copy was left, and one is new.
        (q1, true, &[2, 3, 4], &[Promise::OneMember]),
        (q1, true, &[3, 2, 4], &[Promise::OneMember]),
        (q1, true, &[3, 4], &[Promise::OneMember]),
        (QoS::ExactlyOnce, true, &[3], &[Promise::OneMember]),
    ] {
        let mut story = after_a_crash(qos);
        if is_again {
            story.take_publish(5, again(publish(7, QoS::ExactlyOnce, 1)));
        }
        for member in members.iter().copied() {
            let sent = publish(7, qos, 1);
            story.deliver_written(member + 4, member, if member == 2 { again(sent) } else { sent });
        }
        if is_again {
            story.write(5, &Packet::PubRec(ack(1)));
        }
        story.pass(100);
        story.ends(broken);
    }
}

#[test]
fn a_will_that_is_published_anew_after_a_crash_may_find_another_member() {
    for (qos, crashes, broken) in [
        (QoS::AtLeastOnce, true, &[][..]),
        (QoS::AtLeastOnce, false, &[Promise::OneMember]),
        // Its group has it at QoS 1.
        (QoS::ExactlyOnce, true, &[]),
        (QoS::ExactlyOnce, false, &[Promise::OneMember]),
    ] {
        let mut story = Story::new();
        let mut mortal = connect("mortal");
        mortal.will = Some(Will { qos, ..will(7, 0) });
        story.join(1, 1, mortal, false);
        for member in [2, 3] {
            story.join(member, member, connect(&format!("member-{member}")), false);
            story.subscribe(member, "$share/g/will", QoS::AtLeastOnce);
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
            let mut sent = publish(7, QoS::AtLeastOnce, 1);
            sent.topic = PublishTopic::Name(TopicName::from_static("will"));
            story.pass_on(connection, device, sent);
        }
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

    // It was handed on when the first connection ended, whose output was written later.
    for (qos, is_later, broken) in
        [(Q1, true, &[][..]), (Q1, false, &[Promise::OneMember]), (Q2, true, &[Promise::OneMember])]
    {
        let mut story = group(qos);
        story.take_publish(1, publish(7, Q2, 1));
        story.write(1, &Packet::PubRec(ack(1)));
        if is_later {
            story.tell(Event::Ended { connection: ConnectionId(2) });
        }
        story.pass_on(3, 3, publish(7, qos, 1));
        story.pass(100);
        story.tell(Event::Ended { connection: ConnectionId(2) });
        story.write_publish(2, publish(7, qos, 1));
        story.ends(broken);
    }

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
fn a_crash_may_leave_a_message_to_a_member_that_had_left_it_to_another_one() {
    for (was_sent, leaves, order, broken) in [
        (true, true, [2, 3], &[][..]),
        (true, true, [3, 2], &[]),
        (true, false, [2, 3], &[Promise::OneMember]),
        (false, true, [2, 3], &[]),
        (false, false, [2, 3], &[Promise::OneMember]),
    ] {
        let mut story = group(Q1);
        story.publish(1, 7);
        if was_sent {
            story.deliver_written(2, 2, publish(7, Q1, 1));
        }
        if leaves {
            story.close(2);
        }
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        for member in [2, 3] {
            story.join(member + 4, member, connect(&format!("member-{member}")), true);
        }
        for member in order {
            story.pass_on(member + 4, member, publish(7, Q1, 1));
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

    // Not even its CONNACK was heard of the connection that it was sent on.
    for (qos, is_back, broken) in [
        (Q2, true, &[][..]),
        (Q1, true, &[Promise::SomeMember]),
        (Q2, false, &[Promise::SomeMember]),
    ] {
        let mut story = group(qos);
        story.close(2);
        story.take_publish(1, publish(7, Q2, 1));
        story.write(1, &Packet::PubRec(ack(1)));
        if is_back {
            story.ask(4, 2, connect("member-2"));
            story.close(4);
        }
        story.join(5, 2, Connect { clean_start: true, ..connect("member-2") }, false);
        story.ends(broken);
    }

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
