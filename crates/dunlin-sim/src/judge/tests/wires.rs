//! The rules of the wire.

use super::*;

const Q1: QoS = QoS::AtLeastOnce;
const Q2: QoS = QoS::ExactlyOnce;

#[test]
fn a_packet_identifier_names_one_exchange() {
    let mut story = pair(Q1);
    story.publish(1, 7);
    story.publish(1, 8);
    story.pass_on(2, 2, publish(7, Q1, 1));
    story.pass_on(2, 2, publish(8, Q1, 1));
    story.ends(&[]);

    let mut story = pair(Q1);
    story.publish(1, 7);
    story.publish(1, 8);
    story.write_publish(2, publish(7, Q1, 1));
    story.deliver(2, 2, &publish(7, Q1, 1));
    story.pass_on(2, 2, publish(8, Q1, 1));
    story.ends(&[Promise::PacketIdentifier]);

    let mut story = pair(Q1);
    story.publish(1, 7);
    story.pass_on(2, 2, again(publish(7, Q1, 1)));
    story.ends(&[Promise::PacketIdentifier]);

    let mut story = pair(Q1);
    story.publish(1, 7);
    story.write_publish(2, publish(7, Q1, 1));
    story.close(2);
    story.join(3, 2, connect("subscriber"), true);
    story.pass_on(3, 2, publish(7, Q1, 1));
    story.ends(&[Promise::PacketIdentifier]);
}

#[test]
fn limits_of_the_client_hold() {
    let with = |change: fn(&mut ConnectProperties)| {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        let mut subscriber = connect("subscriber");
        change(&mut subscriber.properties);
        story.join(2, 2, subscriber, false);
        story.subscribe(2, "a", Q1);
        for number in [7, 8] {
            story.publish(1, number);
            story.write_publish(2, publish(number, Q1, number as u16));
            story.deliver(2, 2, &publish(number, Q1, number as u16));
        }
        story
    };
    with(|properties| properties.receive_maximum = Some(2)).ends(&[]);
    with(|properties| properties.receive_maximum = Some(1)).ends(&[Promise::ReceiveMaximum]);
    let mut story = Story::new();
    let mut small = connect("small");
    small.properties.maximum_packet_size = Some(19);
    story.join(1, 1, small, false);
    story.ends(&[Promise::MaximumPacketSize]);
}

#[test]
fn limits_of_the_broker_hold() {
    for (receive_maximum, broken) in [(2, &[][..]), (1, &[Promise::ReceiveMaximum][..])] {
        let mut story = Story::with(|rules| rules.limits.receive_maximum = receive_maximum);
        story.join(1, 1, connect("publisher"), false);
        story.take_publish(1, publish(7, Q1, 1));
        story.take_publish(1, publish(8, Q1, 2));
        story.write(1, &Packet::PubAck(ack(1)));
        story.write(1, &Packet::PubAck(ack(2)));
        story.ends(broken);
    }
}

#[test]
fn answers_come_once_and_in_order() {
    let mut story = pair(Q1);
    story.take_publish(1, publish(7, Q2, 1));
    story.take_publish(1, publish(8, Q1, 2));
    story.write(1, &Packet::PubAck(ack(2)));
    story.write(1, &Packet::PubRec(ack(1)));
    story.write_publish(2, publish(7, Q1, 1));
    story.deliver(2, 2, &publish(7, Q1, 1));
    story.pass_on(2, 2, publish(8, Q1, 2));
    story.ends(&[]);

    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.take_publish(1, publish(7, Q1, 1));
    story.take_publish(1, publish(8, Q1, 2));
    story.write(1, &Packet::PubAck(ack(2)));
    story.write(1, &Packet::PubAck(ack(1)));
    story.ends(&[Promise::Answers]);

    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.take(1, &Packet::PingReq);
    story.ends(&[Promise::Unanswered]);

    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.write(1, &Packet::PingResp);
    story.ends(&[Promise::Answers]);
}

#[test]
fn what_waits_of_a_client_that_is_gone_may_be_given_up_and_the_rest_is_answered_in_order() {
    const BROKEN: &[Promise] = &[Promise::Answers];
    for (is_gone, answered, broken) in
        [(true, &[2, 3][..], &[][..]), (true, &[3, 2], BROKEN), (false, &[1, 3], BROKEN)]
    {
        let mut story = Story::new();
        let protocol_version = ProtocolVersion::V3_1_1;
        story.join(1, 1, Connect { protocol_version, ..connect("publisher") }, false);
        for packet_identifier in 1..=3 {
            let number = u64::from(packet_identifier);
            story.take_publish(1, publish(number, Q2, packet_identifier));
        }
        if is_gone {
            story.tell(Event::PeerGone { connection: ConnectionId(1) });
        }
        story.take(1, &Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))));
        for packet_identifier in answered {
            story.write(1, &Packet::PubRec(ack(*packet_identifier)));
        }
        story.close(1);
        story.ends(broken);
    }
}

#[test]
fn an_application_is_told_the_truth() {
    for acknowledged in [true, false] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.take_publish(1, publish(7, Q1, 1));
        if acknowledged {
            story.write(1, &Packet::PubAck(ack(1)));
        }
        story.tell(Event::Acknowledged { device: DeviceId(1), number: 7 });
        story.close(1);
        story.ends(if acknowledged { &[] } else { &[Promise::AcknowledgedIsTrue] });
    }
}

#[test]
fn connack_comes_first_and_disconnect_last() {
    let mut story = Story::new();
    story.ask(1, 1, connect("device"));
    story.write(1, &Packet::PingResp);
    story.ends(&[Promise::Handshake, Promise::Answers]);

    let mut story = Story::new();
    story.join(1, 1, connect("device"), false);
    story.take(1, &Packet::PingReq);
    let bye = Disconnect::new(ReasonCode::ServerShuttingDown);
    story.write(1, &Packet::Disconnect(Box::new(bye)));
    story.write(1, &Packet::PingResp);
    story.close(1);
    story.ends(&[Promise::Handshake]);
}

#[test]
fn a_silent_peer_is_closed_in_time() {
    let silent = |heard: bool, closed_after: Option<u64>| {
        let mut story = Story::new();
        story.join(1, 1, Connect { keep_alive: 2, ..connect("device") }, false);
        story.pass(2000);
        if heard {
            story.tell(Event::Heard { connection: ConnectionId(1) });
        }
        if let Some(millis) = closed_after {
            story.pass(millis);
            let bye = Disconnect::new(ReasonCode::KeepAliveTimeout);
            story.write(1, &Packet::Disconnect(Box::new(bye)));
            story.close(1);
        } else {
            for _ in 0..4 {
                story.pass(1000);
                story.tell(Event::FaultsEnded);
            }
        }
        story
    };
    silent(false, Some(1100)).ends(&[]);
    silent(false, Some(500)).ends(&[Promise::KeepAlive]);
    silent(false, None).ends(&[Promise::KeepAlive]);
    silent(true, Some(3100)).ends(&[]);
}

#[test]
fn malformed_input_ends_its_connection_and_no_other() {
    let mut story = Story::new();
    story.join(1, 1, connect("device"), false);
    story.tell(Event::TakenMalformed { connection: ConnectionId(1) });
    let bye = Disconnect::new(ReasonCode::MalformedPacket);
    story.write(1, &Packet::Disconnect(Box::new(bye)));
    story.close(1);
    story.ends(&[]);

    let mut story = Story::new();
    story.join(1, 1, connect("device"), false);
    story.tell(Event::TakenMalformed { connection: ConnectionId(1) });
    story.ends(&[Promise::Malformed]);

    let mut story = Story::new();
    story.join(1, 1, connect("device"), false);
    let bye = Disconnect::new(ReasonCode::MalformedPacket);
    story.write(1, &Packet::Disconnect(Box::new(bye)));
    story.close(1);
    story.ends(&[Promise::Malformed]);
}

#[test]
fn a_repeated_pubrec_says_the_same() {
    let refusal = Ack::new(id(5), ReasonCode::QuotaExceeded);
    for (first, second, broken) in [
        (ack(5), ack(5), &[][..]),
        (refusal.clone(), ack(5), &[][..]),
        (ack(5), refusal, &[Promise::Answers][..]),
    ] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.take_publish(1, publish(7, QoS::ExactlyOnce, 5));
        story.write(1, &Packet::PubRec(first));
        story.close(1);
        story.join(2, 1, connect("publisher"), true);
        story.take_publish(2, again(publish(7, QoS::ExactlyOnce, 5)));
        story.write(2, &Packet::PubRec(second));
        story.ends(broken);
    }
}

#[test]
fn an_exchange_goes_on_after_a_reconnect() {
    for is_released in [true, false] {
        let mut story = pair(QoS::ExactlyOnce);
        story.take_publish(1, publish(7, QoS::ExactlyOnce, 5));
        story.write(1, &Packet::PubRec(ack(5)));
        story.deliver_written(2, 2, publish(7, QoS::ExactlyOnce, 1));
        story.take(2, &Packet::PubRec(ack(1)));
        story.close(2);
        story.join(3, 2, connect("subscriber"), true);
        if is_released {
            story.write(3, &Packet::PubRel(ack(1)));
            story.take(3, &Packet::PubComp(ack(1)));
        }
        story.ends(if is_released { &[] } else { &[Promise::Unanswered] });
    }
}

#[test]
fn too_many_messages_at_once_end_their_connection() {
    let flood = |identifiers: &[u16]| {
        let mut story = Story::with(|rules| {
            rules.limits.receive_maximum = 2;
            rules.strangers.insert(DeviceId(1));
        });
        story.join(1, 1, connect("stranger"), false);
        for packet_identifier in identifiers {
            story.take_publish(1, publish(7, QoS::ExactlyOnce, *packet_identifier));
            story.write(1, &Packet::PubRec(ack(*packet_identifier)));
        }
        story
    };
    // The same one again is no new one.
    flood(&[1, 2, 2]).ends(&[]);
    flood(&[1, 2, 3]).ends(&[Promise::ReceiveMaximum]);

    let mut story = flood(&[1, 2]);
    story.take_publish(1, publish(7, QoS::ExactlyOnce, 3));
    story.close(1);
    story.ends(&[]);

    let mut story = flood(&[1, 2]);
    story.take(1, &Packet::PubRel(ack(1)));
    story.take_publish(1, publish(7, QoS::ExactlyOnce, 3));
    story.write(1, &Packet::PubComp(ack(1)));
    story.write(1, &Packet::PubRec(ack(3)));
    story.ends(&[]);

    let mut story = flood(&[1, 2, 3]);
    story.take(1, &Packet::PingReq);
    story.write(1, &Packet::PingResp);
    story.close(1);
    story.ends(&[Promise::ReceiveMaximum]);
}

#[test]
fn a_pubrel_is_sent_once_on_each_connection() {
    let begin = || {
        let mut story = pair(QoS::ExactlyOnce);
        story.take_publish(1, publish(7, QoS::ExactlyOnce, 5));
        story.write(1, &Packet::PubRec(ack(5)));
        story.deliver_written(2, 2, publish(7, QoS::ExactlyOnce, 1));
        story.take(2, &Packet::PubRec(ack(1)));
        story.write(2, &Packet::PubRel(ack(1)));
        story
    };
    let mut story = begin();
    story.write(2, &Packet::PubRel(ack(1)));
    story.take(2, &Packet::PubComp(ack(1)));
    story.ends(&[Promise::PacketIdentifier]);

    let mut story = begin();
    story.close(2);
    story.join(3, 2, connect("subscriber"), true);
    story.write(3, &Packet::PubRel(ack(1)));
    story.take(3, &Packet::PubComp(ack(1)));
    story.ends(&[]);
}

#[test]
fn what_an_old_connection_still_writes_counts_for_nothing() {
    let mut story = pair(Q1);
    story.publish(1, 7);
    story.ask(3, 2, connect("subscriber"));
    story.tell(Event::Ended { connection: ConnectionId(2) });
    story.accept(3, true);
    story.pass_on(3, 2, again(publish(7, Q1, 1)));
    story.close(3);
    story.write_publish(2, publish(7, Q1, 1));
    story.ends(&[]);
}

#[test]
fn what_an_old_connection_brings_to_its_application_is_owed_no_more() {
    for (is_given, broken) in [(true, &[][..]), (false, &[Promise::AcknowledgedIsKept])] {
        let mut story = pair(Q2);
        for number in [7, 8] {
            story.take_publish(1, publish(number, Q2, 5));
            story.write(1, &Packet::PubRec(ack(5)));
            story.take(1, &Packet::PubRel(ack(5)));
            story.write(1, &Packet::PubComp(ack(5)));
        }
        story.ask(3, 2, connect("subscriber"));
        story.tell(Event::Ended { connection: ConnectionId(2) });
        story.accept(3, true);
        story.deliver_written(3, 2, again(publish(7, Q2, 1)));
        // Its beginning was written there before the session moved on.
        story.write_publish(2, publish(8, Q2, 2));
        if is_given {
            story.deliver(2, 2, &publish(8, Q2, 2));
        }
        story.close(2);
        // The device knows the exchange.
        story.write_publish(3, again(publish(8, Q2, 2)));
        story.ends(broken);
    }
}

#[test]
fn a_client_that_is_not_read_is_not_silent() {
    for (after, broken) in [(2500, &[][..]), (6000, &[Promise::KeepAlive][..])] {
        let mut story = Story::with(|rules| rules.limits.receive_maximum = 1);
        let old = dunlin_codec::ProtocolVersion::V3_1_1;
        let connect = Connect { keep_alive: 2, protocol_version: old, ..connect("device") };
        story.join(1, 1, connect, false);
        story.take_publish(1, publish(7, Q1, 1));
        story.pass(2900);
        story.tell(Event::FaultsEnded);
        story.write(1, &Packet::PubAck(ack(1)));
        for _ in 0..after / 500 {
            story.pass(500);
            story.tell(Event::FaultsEnded);
        }
        story.close(1);
        story.ends(broken);
    }
}

#[test]
fn a_client_whose_output_was_full_is_not_silent() {
    for (is_full, broken) in [(true, &[][..]), (false, &[Promise::KeepAlive])] {
        let mut story = Story::new();
        story.join(1, 1, Connect { keep_alive: 2, ..connect("device") }, false);
        let id = ConnectionId(1);
        if is_full {
            story.tell(Event::Blocked { connection: id });
        }
        story.pass(2900);
        if is_full {
            story.tell(Event::Drained { connection: id });
        }
        for _ in 0..5 {
            story.pass(500);
            story.tell(Event::FaultsEnded);
        }
        story.close(1);
        story.ends(broken);
    }
}

/// The broker has no room for its second message, and does not read it until there is some.
#[test]
fn a_client_whose_message_waits_for_room_is_not_silent() {
    const SILENT: &[Promise] = &[Promise::KeepAlive];
    for (queue_len_max, after, broken) in [(1, 2500, &[][..]), (1, 6000, SILENT), (2, 2500, SILENT)]
    {
        let mut story = Story::with(|rules| {
            rules.limits.queue_policy = QueuePolicy::Refuse;
            rules.limits.queue_len_max = queue_len_max;
        });
        let old = ProtocolVersion::V3_1_1;
        let connect_old = Connect { keep_alive: 2, protocol_version: old, ..connect("publisher") };
        story.join(1, 1, connect_old, false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.publish(1, 7);
        story.take_publish(1, publish(8, Q1, 2));
        story.pass(2900);
        story.pass_on(2, 2, publish(7, Q1, 1));
        story.write(1, &Packet::PubAck(ack(2)));
        story.pass_on(2, 2, publish(8, Q1, 2));
        for _ in 0..after / 500 {
            story.pass(500);
            story.tell(Event::FaultsEnded);
        }
        story.close(1);
        story.ends(broken);
    }
}
