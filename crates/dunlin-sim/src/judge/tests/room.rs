//! Histories of messages that found no room, and of those that had to make room.

use super::*;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// A session of another worker had no room, and PUBREC said so.
#[test]
fn a_refusal_that_was_lost_makes_a_qos_2_message_new_where_nothing_takes_it_back() {
    for (stores, is_lost, broken) in [
        (false, true, &[][..]),
        (false, false, &[Promise::ExactlyOnce]),
        (true, true, &[Promise::ExactlyOnce]),
    ] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::Refuse;
            rules.stores = stores;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q2);
        story.take_publish(1, publish(7, Q2, 5));
        story.deliver_written(2, 2, publish(7, Q2, 1));
        if is_lost {
            story.tell(Event::OutputLost { connection: ConnectionId(1) });
        }
        story.close(1);
        story.join(3, 1, connect("publisher"), true);
        story.take_publish(3, again(publish(7, Q2, 5)));
        story.write(3, &Packet::PubRec(ack(5)));
        story.deliver_written(2, 2, publish(7, Q2, 2));
        story.ends(broken);
    }
}

#[test]
fn a_refusal_may_be_lost_on_each_connection() {
    for (lost_on, broken) in [(3, &[][..]), (0, &[Promise::ExactlyOnce])] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::Refuse;
            rules.stores = false;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q2);
        story.take_publish(1, publish(7, Q2, 5));
        story.deliver_written(2, 2, publish(7, Q2, 1));
        for connection in [1, 3] {
            if connection == lost_on {
                story.tell(Event::OutputLost { connection: ConnectionId(connection) });
            }
            story.close(connection);
            story.join(connection + 2, 1, connect("publisher"), true);
            story.take_publish(connection + 2, again(publish(7, Q2, 5)));
        }
        story.write(5, &Packet::PubRec(ack(5)));
        story.deliver_written(2, 2, publish(7, Q2, 2));
        story.ends(broken);
    }
}

#[test]
fn a_refusal_that_was_lost_may_bring_a_message_to_another_member() {
    for (stores, is_lost, broken) in [
        (false, true, &[][..]),
        (false, false, &[Promise::OneMember]),
        (true, true, &[Promise::OneMember]),
    ] {
        for qos in [Q1, Q2] {
            let mut story = Story::with(|rules| {
                rules.limits.queue_policy = QueuePolicy::Refuse;
                rules.stores = stores;
            });
            story.join(1, 1, connect("publisher"), false);
            for member in [2, 3] {
                story.join(member, member, connect(&format!("member-{member}")), false);
                story.subscribe(member, "$share/g/a", qos);
            }
            story.take_publish(1, publish(7, Q2, 5));
            story.pass_on(2, 2, publish(7, qos, 1));
            if is_lost {
                story.tell(Event::OutputLost { connection: ConnectionId(1) });
            }
            story.close(1);
            story.join(4, 1, connect("publisher"), true);
            story.take_publish(4, again(publish(7, Q2, 5)));
            story.write(4, &Packet::PubRec(ack(5)));
            story.pass_on(3, 3, publish(7, qos, 1));
            story.ends(broken);
        }
    }
}

#[test]
fn what_has_no_number_replaces_an_earlier_message_where_the_last_one_is_kept() {
    use QueuePolicy::{DropNewest, KeepLast};
    let kept: &[Promise] = &[Promise::AcknowledgedIsKept];
    for (policy, qos, is_taken_later, is_answered_later, broken) in [
        (KeepLast, Q1, true, true, &[][..]),
        (KeepLast, Q1, false, true, &[]),
        (KeepLast, Q1, false, false, kept),
        (KeepLast, Q0, true, true, kept),
        (DropNewest, Q1, true, true, kept),
    ] {
        let mut story = Story::with(|rules| rules.limits.queue_policy = policy);
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.join(3, 3, connect("another publisher"), false);
        story.subscribe(2, "a", Q1);
        let removal = retained(publish(0, qos, if qos == Q0 { 0 } else { 5 }));
        let removal = Publish { payload: Bytes::new(), ..removal };
        for is_later in [false, true] {
            if is_later {
                story.publish(1, 7);
            }
            if is_later == is_taken_later {
                story.take_publish(3, removal.clone());
            }
            if is_later == is_answered_later && qos > Q0 {
                story.write(3, &Packet::PubAck(ack(5)));
            }
        }
        story.ends(broken);
    }
}

#[test]
fn what_has_no_number_may_be_queued_a_little_later_than_its_publisher_goes() {
    for (millis, broken) in [(100, &[][..]), (300, &[Promise::AcknowledgedIsKept])] {
        let mut story = Story::with(|rules| rules.limits.queue_policy = QueuePolicy::KeepLast);
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.join(3, 3, connect("another publisher"), false);
        story.subscribe(2, "a", Q1);
        let removal = retained(publish(0, Q1, 5));
        story.take_publish(3, Publish { payload: Bytes::new(), ..removal });
        story.close(3);
        story.pass(millis);
        story.publish(1, 7);
        story.ends(broken);
    }
}
