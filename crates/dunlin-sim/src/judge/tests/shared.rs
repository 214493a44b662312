//! Histories of Shared Subscriptions over a crash.

use super::super::Promise;
use super::{Story, ack, again, connect, publish, will};
use crate::history::Event;
use dunlin_codec::{Packet, PublishTopic, QoS, TopicName, Will};

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
