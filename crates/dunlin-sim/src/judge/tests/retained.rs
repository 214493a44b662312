//! Which value of a Topic Name may be retained when it isn't known what a PUBLISH or a Will did.

use super::*;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// A new subscriber of `a` is sent what is retained there.
fn find_retained(story: &mut Story, number: u64) {
    story.join(9, 9, connect("new"), false);
    story.subscribe(9, "a", Q0);
    story.pass_on(9, 9, retained(publish(number, Q0, 0)));
}

#[test]
fn a_repetition_that_the_broker_may_know_need_not_change_what_is_retained() {
    for (found, is_repetition, broken) in [
        (8, true, &[][..]),
        (7, true, &[][..]),
        (7, false, &[][..]),
        (8, false, &[Promise::Retained; 2][..]),
    ] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("other"), false);
        story.take_publish(1, retained(publish(7, Q2, 1)));
        story.write(1, &Packet::PubRec(ack(1)));
        story.close(1);
        // Two CONNECTs at once: the Session may be another one from here on.
        story.ask(3, 1, connect("publisher"));
        story.ask(4, 1, connect("publisher"));
        story.close(3);
        story.accept(4, true);
        story.take_publish(2, retained(publish(8, Q1, 1)));
        story.write(2, &Packet::PubAck(ack(1)));
        let publish = retained(publish(7, Q2, 1));
        story.take_publish(4, if is_repetition { again(publish) } else { publish });
        story.write(4, &Packet::PubRec(ack(1)));
        find_retained(&mut story, found);
        story.ends(broken);
    }
}

#[test]
fn a_will_may_be_retained_long_after_a_crash() {
    for (crashes, broken) in [(true, &[][..]), (false, &[Promise::Retained; 2][..])] {
        let mut story = Story::new();
        let mut dying = connect("dying");
        let topic_name = TopicName::from_static("a");
        dying.will = Some(Will { topic_name, retain: true, ..will(7, 0) });
        story.join(1, 1, dying, false);
        if crashes {
            story.tell(Event::Crashed);
            story.tell(Event::Restarted);
        } else {
            story.close(1);
        }
        story.pass(10_000);
        story.join(2, 2, connect("publisher"), false);
        story.take_publish(2, retained(publish(8, Q1, 1)));
        story.write(2, &Packet::PubAck(ack(1)));
        find_retained(&mut story, 7);
        story.ends(broken);
    }
}

#[test]
fn what_no_room_was_retained_for_may_be_retained_when_it_comes_again() {
    for (len_max, version, broken) in [
        (1, ProtocolVersion::V3_1_1, &[][..]),
        (2, ProtocolVersion::V3_1_1, &[Promise::Retained][..]),
        (1, ProtocolVersion::V5, &[Promise::Retained][..]),
    ] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::DropNewest;
            rules.limits.retained_len_max = len_max;
        });
        story.join(1, 1, Connect { protocol_version: version, ..connect("publisher") }, false);
        story.join(2, 2, connect("other"), false);
        let topic = PublishTopic::Name(TopicName::from_static("b"));
        story.take_publish(2, retained(Publish { topic, ..publish(6, Q0, 0) }));
        story.take_publish(1, retained(publish(7, Q2, 1)));
        story.close(1);
        story.take_publish(2, retained(publish(8, Q1, 1)));
        story.write(2, &Packet::PubAck(ack(1)));
        story.join(3, 1, Connect { protocol_version: version, ..connect("publisher") }, true);
        story.take_publish(3, retained(again(publish(7, Q2, 1))));
        story.write(3, &Packet::PubRec(ack(1)));
        find_retained(&mut story, 7);
        story.ends(broken);
    }
}
