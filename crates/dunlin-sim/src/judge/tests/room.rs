//! Histories of messages that found no room, and of those that had to make room.

use super::retained::keep;
use super::*;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

/// A publisher at a broker that refuses what finds no room.
fn refusing(stores: bool) -> Story {
    let mut story = Story::with(|rules| {
        rules.limits.queue_policy = QueuePolicy::Refuse;
        rules.stores = stores;
    });
    story.join(1, 1, connect("publisher"), false);
    story
}

/// A message of QoS 2 came to a subscriber, while another session may have had no room for it.
fn delivered_but_refused(stores: bool) -> Story {
    let mut story = refusing(stores);
    story.join(2, 2, connect("subscriber"), false);
    story.subscribe(2, "a", Q2);
    story.take_publish(1, publish(7, Q2, 5));
    story.deliver_written(2, 2, publish(7, Q2, 1));
    story
}

/// A session of another worker had no room, and PUBREC said so.
#[test]
fn a_refusal_that_was_lost_makes_a_qos_2_message_new_where_nothing_takes_it_back() {
    for (stores, is_lost, broken) in [
        (false, true, &[][..]),
        (false, false, &[Promise::ExactlyOnce]),
        (true, true, &[Promise::ExactlyOnce]),
    ] {
        let mut story = delivered_but_refused(stores);
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
        let mut story = delivered_but_refused(false);
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
            let mut story = refusing(stores);
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

/// The first message made room for the second one.
#[test]
fn what_never_came_is_counted() {
    for (count, broken) in [(1, &[][..]), (0, &[Promise::DropsAreCounted])] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::DropOldest;
            rules.limits.queue_len_max = 1;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.publish(1, 7);
        story.publish(1, 8);
        story.pass_on(2, 2, publish(8, Q1, 1));
        for (client_identifier, count) in [("publisher", 0), ("subscriber", count)] {
            story.tell(Event::DropsCounted { client_identifier, count });
        }
        story.ends(broken);
    }
}

/// A QoS 2 message is dropped and counted, the broker crashes, and what it counted is gone; the
/// repetition is acknowledged and goes to nobody.
#[test]
fn what_was_routed_before_a_crash_is_not_counted_after_it() {
    for (is_before, broken) in [(true, &[][..]), (false, &[Promise::DropsAreCounted])] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::DropNewest;
            rules.limits.queue_len_max = 0;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        if is_before {
            story.take_publish(1, publish(7, Q2, 5));
        }
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 1, connect("publisher"), true);
        story.join(4, 2, connect("subscriber"), true);
        let sent = publish(7, Q2, 5);
        story.take_publish(3, if is_before { again(sent) } else { sent });
        story.write(3, &Packet::PubRec(ack(5)));
        story.tell(Event::DropsCounted { client_identifier: "subscriber", count: 0 });
        story.ends(broken);
    }
}

/// What was sent waits again after a crash, unless the store certainly has that it was answered.
#[test]
fn what_was_answered_before_a_crash_may_take_room_after_it() {
    for (is_answered, is_safe, broken) in
        [(true, false, &[][..]), (false, false, &[]), (true, true, &[Promise::AcknowledgedIsKept])]
    {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::DropNewest;
            rules.limits.queue_len_max = 1;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.publish(1, 7);
        story.deliver_written(2, 2, publish(7, Q1, 1));
        if is_answered {
            story.take(2, &Packet::PubAck(ack(1)));
        }
        if is_safe {
            story.join(3, 3, connect("third"), false);
        }
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(4, 1, connect("publisher"), true);
        story.publish(4, 8);
        story.join(5, 2, connect("subscriber"), true);
        if !is_safe {
            story.pass_on(5, 2, publish(7, Q1, 1));
        }
        story.ends(broken);
    }
}

/// It comes again, and then waits no longer.
#[test]
fn what_waits_again_after_a_crash_takes_room_until_it_is_sent() {
    for dup in [false, true] {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::DropNewest;
            rules.limits.queue_len_max = 1;
        });
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.publish(1, 7);
        story.deliver_written(2, 2, publish(7, Q1, 1));
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 2, connect("subscriber"), true);
        let seven = publish(7, Q1, 1);
        story.pass_on(3, 2, if dup { again(seven) } else { seven });
        story.join(4, 1, connect("publisher"), true);
        story.publish(4, 8);
        story.ends(&[Promise::AcknowledgedIsKept]);
    }
}
