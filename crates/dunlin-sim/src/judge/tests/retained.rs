//! What is retained, also when it isn't known what a PUBLISH or a Will did, and to whom it is sent.

use super::*;
use dunlin_codec::RetainHandling;

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
fn what_a_stranger_publishes_need_not_be_retained() {
    for (is_stranger, broken) in [(true, &[][..]), (false, &[Promise::Retained; 2])] {
        let mut story = Story::with(|rules| {
            if is_stranger {
                rules.strangers.insert(DeviceId(2));
            }
        });
        story.join(1, 1, connect("publisher"), false);
        story.take_publish(1, retained(publish(7, Q1, 1)));
        story.write(1, &Packet::PubAck(ack(1)));
        story.join(2, 2, connect("stranger"), false);
        story.take_publish(2, retained(publish(8, Q0, 0)));
        story.close(2);
        find_retained(&mut story, 7);
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

pub(super) fn keep(story: &mut Story, number: u64) {
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
