//! What reaches subscribers: kept, once, in order.

use super::*;
use dunlin_codec::SubscriptionIdentifier;

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
fn a_crash_may_undo_that_a_message_was_dropped_for_a_later_one() {
    const BROKEN: &[Promise] = &[Promise::Order];
    for (queue_policy, queue_len_max, crashes, broken) in [
        (QueuePolicy::DropOldest, 2, true, &[][..]),
        (QueuePolicy::DropOldest, 2, false, BROKEN),
        (QueuePolicy::DropOldest, 9, true, BROKEN),
        (QueuePolicy::KeepLast, 9, true, &[]),
        (QueuePolicy::KeepLast, 9, false, BROKEN),
        (QueuePolicy::DropNewest, 2, true, BROKEN),
    ] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = queue_policy;
            rules.limits.queue_len_max = queue_len_max;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        for number in [7, 8, 9] {
            story.publish(1, number);
        }
        story.pass_on(2, 2, publish(9, Q1, 1));
        if crashes {
            story.tell(Event::Crashed);
            story.tell(Event::Restarted);
        } else {
            story.close(2);
        }
        story.join(3, 2, connect("subscriber"), true);
        for number in [7, 8] {
            story.pass_on(3, 2, publish(number, Q1, 1));
        }
        story.ends(if broken.is_empty() { &[] } else { &[Promise::Order; 2] });
    }
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

/// The subscriber's Session ends, and the next one begins, on a connection that it hears nothing of;
/// it still has the Packet Identifier of a message of the first.
#[test]
fn a_client_may_hold_a_packet_identifier_of_a_session_that_ended_unseen() {
    for (is_told, dup, broken) in [
        (false, true, &[][..]),
        (false, false, &[Promise::AcknowledgedIsKept]),
        (true, true, &[Promise::AcknowledgedIsKept]),
    ] {
        let mut story = pair(Q2);
        story.take_publish(1, publish(7, Q2, 5));
        story.write(1, &Packet::PubRec(ack(5)));
        story.deliver_written(2, 2, publish(7, Q2, 1));
        story.arrive(2, &Packet::Publish(publish(7, Q2, 1)));
        story.take(2, &Packet::PubRec(ack(1)));
        story.close(2);

        story.join(3, 2, Connect { clean_start: true, ..connect("subscriber") }, false);
        if is_told {
            story.arrive(3, &connack(false));
        }
        story.subscribe(3, "a", Q2);
        story.take_publish(1, publish(8, Q2, 6));
        story.write(1, &Packet::PubRec(ack(6)));
        if dup {
            story.write_publish(3, publish(8, Q2, 1));
        }
        story.close(3);

        story.join(4, 2, connect("subscriber"), true);
        let sent = if dup { again(publish(8, Q2, 1)) } else { publish(8, Q2, 1) };
        story.write_publish(4, sent.clone());
        story.arrive(4, &Packet::Publish(sent));
        story.take(4, &Packet::PubRec(ack(1)));
        story.write(4, &Packet::PubRel(ack(1)));
        story.take(4, &Packet::PubComp(ack(1)));
        story.ends(broken);
    }
}
