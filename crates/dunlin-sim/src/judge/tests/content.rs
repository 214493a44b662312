//! What a delivery says and when it is wanted: filters, QoS, options, identifiers, content, expiry.

use super::*;
use dunlin_codec::SubscriptionIdentifier;

const Q0: QoS = QoS::AtMostOnce;
const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

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
