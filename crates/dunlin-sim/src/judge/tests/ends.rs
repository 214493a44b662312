//! Sessions, Wills, takeovers, crashes.

use super::*;
use dunlin_codec::SubscriptionIdentifier;

const Q1: QoS = QoS::AtLeastOnce;

#[test]
fn session_present_tells_the_truth() {
    let again = |clean_start: bool, pause_millis: u64, present: bool| {
        let mut story = Story::new();
        story.join(1, 1, connect("device"), false);
        story.close(1);
        story.pass(pause_millis);
        let connect = Connect { clean_start, ..connect("device") };
        story.join(2, 1, connect, present);
        story
    };
    again(false, 59_000, true).ends(&[]);
    again(false, 59_000, false).ends(&[Promise::SessionPresent]);
    // Just when it expires, both are right.
    again(false, 60_100, true).ends(&[]);
    again(false, 60_100, false).ends(&[]);
    again(false, 61_000, true).ends(&[Promise::SessionPresent]);
    again(true, 0, true).ends(&[Promise::SessionPresent]);
    again(true, 0, false).ends(&[]);
}

#[test]
fn a_clean_start_without_an_answer_leaves_a_doubt() {
    for present in [true, false] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.publish(1, 7);
        story.close(2);
        story.ask(3, 2, Connect { clean_start: true, ..connect("subscriber") });
        story.close(3);
        story.join(4, 2, connect("subscriber"), present);
        story.ends(&[]);
    }
}

#[test]
fn a_suback_to_a_connection_that_is_over_tells_nothing_of_a_session_that_may_have_begun_since() {
    for (clean_start, broken) in [(true, &[][..]), (false, &[Promise::AcknowledgedIsKept])] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.take(2, &Packet::Subscribe(Box::new(subscribe("a", Q1))));
        story.ask(3, 2, Connect { clean_start, ..connect("subscriber") });
        story.tell(Event::Ended { connection: ConnectionId(2) });
        story.close(3);
        // It lay in an output that nobody read.
        story.suback(2, id(1), vec![ReasonCode::GrantedQoS1]);
        story.close(2);
        story.publish(1, 7);
        story.join(4, 2, connect("subscriber"), true);
        story.ends(broken);
    }
}

#[test]
fn a_connect_without_an_answer_may_have_found_the_session_expired() {
    for (away_millis, broken) in [(59_000, &[Promise::AcknowledgedIsKept][..]), (60_100, &[])] {
        let mut story = Story::new();
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.publish(1, 7);
        story.close(2);
        story.pass(away_millis);
        story.ask(3, 2, connect("subscriber"));
        story.close(3);
        // Of the session that the last CONNECT resumed, or of the one that it began.
        story.join(4, 2, connect("subscriber"), true);
        story.ends(broken);
    }
}

#[test]
fn connects_at_once_prove_nothing() {
    let mut story = Story::new();
    story.join(1, 1, connect("device"), false);
    story.ask(2, 1, Connect { clean_start: true, ..connect("device") });
    story.ask(3, 1, connect("device"));
    story.accept(3, true);
    story.accept(2, false);
    story.tell(Event::Ended { connection: ConnectionId(1) });
    let taken_over = Disconnect::new(ReasonCode::SessionTakenOver);
    story.write(3, &Packet::Disconnect(Box::new(taken_over)));
    story.close(3);
    story.close(1);
    story.ends(&[]);
}

#[test]
fn of_connects_at_once_the_one_that_was_decided_first_may_be_answered_last() {
    for (present, broken) in [(true, &[][..]), (false, &[Promise::SessionPresent])] {
        let mut story = Story::new();
        story.join(1, 1, connect("device"), false);
        story.close(1);
        story.ask(2, 1, connect("device"));
        let mut short = Connect { clean_start: true, ..connect("device") };
        short.properties.session_expiry_interval = None;
        story.ask(3, 1, short);
        story.accept(3, false);
        story.close(3);
        story.accept(2, true);
        let taken_over = Disconnect::new(ReasonCode::SessionTakenOver);
        story.write(2, &Packet::Disconnect(Box::new(taken_over)));
        story.close(2);
        // That is over by then.
        story.join(4, 1, connect("device"), false);
        story.close(4);
        story.join(5, 1, connect("device"), present);
        story.ends(broken);
    }
}

#[test]
fn of_connects_at_once_each_may_have_said_how_long_the_session_lasts() {
    for (away_millis, broken) in [(59_000, &[][..]), (61_000, &[Promise::SessionPresent])] {
        let mut story = Story::new();
        let mut short = connect("device");
        short.properties.session_expiry_interval = None;
        story.ask(1, 1, short);
        story.ask(2, 1, connect("device"));
        story.close(2);
        // It was decided first, and has no say any more.
        story.accept(1, false);
        story.close(1);
        story.pass(away_millis);
        story.join(3, 1, connect("device"), true);
        story.ends(broken);
    }
}

#[test]
fn a_connection_that_was_passed_before_its_connack_repeats_what_was_said_before() {
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.join(2, 2, connect("subscriber"), false);
    story.subscribe(2, "a", Q1);
    story.close(2);
    story.publish(1, 7);
    story.ask(3, 2, connect("subscriber"));
    story.tell(Event::Ended { connection: ConnectionId(3) });
    story.join(4, 2, connect("subscriber"), true);
    story.deliver_written(4, 2, again(publish(7, Q1, 1)));
    story.close(4);
    // What connection 3 was to be sent before it was taken over comes now.
    story.accept(3, true);
    story.write_publish(3, publish(7, Q1, 1));
    story.close(3);
    story.ends(&[]);
}

#[test]
fn a_crash_may_undo_the_end_of_a_session() {
    for present in [true, false] {
        let mut story = Story::new();
        story.join(1, 1, connect("device"), false);
        let mut bye = Disconnect::new(ReasonCode::Success);
        bye.properties.session_expiry_interval = Some(0);
        story.take(1, &Packet::Disconnect(Box::new(bye)));
        story.close(1);
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(2, 1, connect("device"), present);
        story.ends(&[]);
    }
    let mut story = Story::new();
    story.join(1, 1, connect("device"), false);
    story.tell(Event::Crashed);
    story.tell(Event::Restarted);
    story.join(2, 1, connect("device"), false);
    story.ends(&[Promise::SessionPresent]);
}

/// DISCONNECT makes a session shorter, and a crash comes before anybody was told anything more.
#[test]
fn a_crash_may_undo_that_a_disconnect_made_a_session_shorter() {
    // What the next CONNECT asks for, if there is one, and whether it was answered.
    for (asked_secs, is_answered, broken) in [
        (None, false, &[][..]),
        (Some(0), false, &[]),
        (Some(5), false, &[]),
        (Some(5), true, &[Promise::SessionPresent]),
    ] {
        for away_millis in [0, 20_000] {
            let mut story = Story::new();
            story.join(1, 1, connect("device"), false);
            let mut bye = Disconnect::new(ReasonCode::Success);
            bye.properties.session_expiry_interval = Some(10);
            story.take(1, &Packet::Disconnect(Box::new(bye)));
            story.close(1);
            story.pass(away_millis);
            if let Some(asked_secs) = asked_secs {
                let mut again = connect("device");
                again.properties.session_expiry_interval = Some(asked_secs);
                story.ask(2, 1, again);
                if is_answered {
                    story.accept(2, away_millis == 0);
                }
                story.close(2);
            }
            story.tell(Event::Crashed);
            story.tell(Event::Restarted);
            story.pass(30_000);
            story.join(3, 1, connect("device"), true);
            story.ends(broken);
        }
    }
}

#[test]
fn nothing_is_owed_to_a_session_that_had_expired_before_a_crash_brought_it_back() {
    for (away_millis, broken) in [(59_000, &[Promise::AcknowledgedIsKept][..]), (60_100, &[])] {
        let mut story = Story::with(|rules| rules.stores = true);
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.subscribe(2, "a", Q1);
        story.tell(Event::StoreFailed);
        story.close(2);
        story.pass(away_millis);
        story.publish(1, 7);
        // That the session has ended was never stored.
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(3, 2, connect("subscriber"), true);
        story.ends(broken);
    }
}

/// A watcher (connection 2) of Wills, and a device (connection 1) with one.
fn mourners(delay_secs: u32) -> Story {
    let mut story = Story::new();
    story.join(2, 2, connect("watcher"), false);
    story.subscribe(2, "will", Q1);
    story.join(1, 1, Connect { will: Some(will(7, delay_secs)), ..connect("device") }, false);
    story
}

fn last_words() -> Publish {
    Publish { topic: PublishTopic::Name(TopicName::from_static("will")), ..publish(7, Q1, 1) }
}

#[test]
fn a_will_is_published_when_it_is_due() {
    // Told before the end of its connection is.
    let mut story = mourners(0);
    story.pass_on(2, 2, last_words());
    story.close(1);
    story.ends(&[]);

    let mut story = mourners(0);
    story.close(1);
    story.pass(1000);
    story.ends(&[Promise::Will]);

    let mut story = mourners(5);
    story.close(1);
    story.pass(3000);
    story.pass_on(2, 2, last_words());
    story.ends(&[Promise::Will]);

    let mut story = mourners(5);
    story.close(1);
    story.pass(5050);
    story.pass_on(2, 2, last_words());
    story.ends(&[]);

    let mut story = mourners(0);
    story.pass_on(2, 2, last_words());
    story.ends(&[Promise::Will]);
}

#[test]
fn a_will_is_taken_back() {
    let mut story = mourners(0);
    story.bye(1, ReasonCode::Success);
    story.pass_on(2, 2, last_words());
    story.ends(&[Promise::Will]);

    let mut story = mourners(0);
    story.bye(1, ReasonCode::DisconnectWithWillMessage);
    story.pass_on(2, 2, last_words());
    story.ends(&[]);

    let mut story = mourners(5);
    story.close(1);
    story.join(3, 1, connect("device"), true);
    story.pass(6000);
    story.pass_on(2, 2, last_words());
    story.ends(&[Promise::Will]);

    // Clean Start ends the Session, and with it the delay.
    let mut story = mourners(5);
    story.close(1);
    story.ask(3, 1, Connect { clean_start: true, ..connect("device") });
    story.pass_on(2, 2, last_words());
    story.accept(3, false);
    story.ends(&[]);
}

#[test]
fn a_takeover_that_ends_the_session_brings_its_will_before_the_end_is_told() {
    // How it is answered: with a new Session, with the old one, or not.
    let cases = [(Some(false), vec![]), (Some(true), vec![Promise::Will]), (None, vec![])];
    for (session_present, expected) in cases {
        let mut story = mourners(5);
        story.ask(
            3,
            1,
            Connect { clean_start: session_present != Some(true), ..connect("device") },
        );
        story.pass_on(2, 2, last_words());
        let bye = Disconnect::new(ReasonCode::SessionTakenOver);
        story.write(1, &Packet::Disconnect(Box::new(bye)));
        story.close(1);
        match session_present {
            Some(session_present) => story.accept(3, session_present),
            None => story.close(3),
        }
        story.pass(6000);
        story.ends(&expected);
    }
}

#[test]
fn a_retained_will_comes_to_each_new_subscription_before_anything_tells_that_it_is_due() {
    for (subscribed_before, expected) in
        [(false, &[][..]), (true, &[Promise::RetainFlag, Promise::GrantedQos])]
    {
        let mut story = Story::new();
        story.join(2, 2, connect("watcher"), false);
        let last = Will { retain: true, ..will(7, 5) };
        story.join(1, 1, Connect { will: Some(last), ..connect("device") }, false);
        let take_over = |story: &mut Story| {
            story.ask(3, 1, Connect { clean_start: true, ..connect("device") });
        };
        if !subscribed_before {
            take_over(&mut story);
        }
        let mut both = subscribe("will", Q1);
        both.subscriptions.extend(subscribe("+", QoS::AtMostOnce).subscriptions);
        story.subscribe_as(2, both);
        if subscribed_before {
            story.pass(1000);
            take_over(&mut story);
        }
        story.pass_on(2, 2, retained(last_words()));
        let delivery = Delivery::AtMostOnce;
        story.pass_on(2, 2, retained(Publish { delivery, ..last_words() }));
        story.close(1);
        story.accept(3, false);
        story.ends(expected);
    }
}

#[test]
fn a_will_may_be_retained_for_who_subscribes_before_the_answer_to_the_connect_that_ended_its_session()
 {
    for (subscribed_before, expected) in [(false, &[][..]), (true, &[Promise::RetainFlag])] {
        let mut story = Story::new();
        story.join(2, 2, connect("watcher"), false);
        let last = Will { retain: true, ..will(7, 5) };
        story.join(1, 1, Connect { will: Some(last), ..connect("device") }, false);
        story.close(1);
        if subscribed_before {
            story.subscribe(2, "will", Q1);
        }
        story.ask(3, 1, Connect { clean_start: true, ..connect("device") });
        if !subscribed_before {
            story.subscribe(2, "will", Q1);
        }
        // The store takes its time before the new Session is told of, and before its Will is.
        story.pass(1000);
        story.accept(3, false);
        story.pass_on(2, 2, retained(last_words()));
        story.ends(expected);
    }
}

#[test]
fn a_will_that_is_due_before_a_suback_may_be_retained_for_it() {
    for (waits_millis, expected) in [(6000, &[][..]), (10, &[Promise::RetainFlag])] {
        let mut story = Story::new();
        story.join(2, 2, connect("watcher"), false);
        let last = Will { retain: true, ..will(7, 5) };
        story.join(1, 1, Connect { will: Some(last), ..connect("device") }, false);
        story.take(2, &Packet::Subscribe(Box::new(subscribe("will", Q1))));
        story.close(1);
        // Nothing else happens until the store answers.
        story.pass(waits_millis);
        story.suback(2, id(1), vec![ReasonCode::GrantedQoS1]);
        story.pass(6000 - waits_millis);
        story.pass_on(2, 2, retained(last_words()));
        story.ends(expected);
    }
}

#[test]
fn a_will_is_owed_to_those_who_subscribed_before_the_connect_that_ended_its_session() {
    let bye = || Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::SessionTakenOver)));
    for (subscribed_before, expected) in [(false, &[][..]), (true, &[Promise::Will])] {
        for is_told in [false, true] {
            let mut story = mourners(5);
            story.join(4, 4, connect("another"), false);
            if subscribed_before {
                story.subscribe(4, "will", Q1);
            }
            story.ask(3, 1, Connect { clean_start: true, ..connect("device") });
            story.write(1, &bye());
            story.close(1);
            if !subscribed_before {
                story.subscribe(4, "will", Q1);
            }
            // The store takes its time before the new Session is told of, and before its Will is.
            story.pass(3000);
            if is_told {
                story.pass_on(2, 2, last_words());
            }
            story.accept(3, false);
            if !is_told {
                story.pass_on(2, 2, last_words());
            }
            story.pass(1000);
            story.ends(expected);
        }
    }
}

#[test]
fn a_will_whose_connect_had_no_answer_may_wait_for_its_receivers_when_its_connection_ends() {
    for is_ended in [true, false] {
        let mut story = Story::new();
        story.join(2, 2, connect("watcher"), false);
        story.subscribe(2, "will", Q1);
        story.ask(1, 1, Connect { will: Some(will(7, 0)), ..connect("device") });
        if is_ended {
            story.ask(3, 1, connect("device"));
            story.tell(Event::Ended { connection: ConnectionId(1) });
        }
        let mut another = subscribe("+", Q1);
        another.properties.subscription_identifier = SubscriptionIdentifier::new(9);
        story.subscribe_as(2, another);
        // It was matched before there was a Subscription Identifier.
        story.pass_on(2, 2, last_words());
        story.close(1);
        story.ends(if is_ended { &[] } else { &[Promise::SubscriptionIdentifiers] });
    }
}

#[test]
fn a_connect_that_is_refused_ends_no_session() {
    for is_published in [true, false] {
        let mut story = mourners(5);
        story.close(1);
        story.ask(3, 1, Connect { clean_start: true, ..connect("device") });
        let refusal = ConnAck {
            session_present: false,
            reason_code: ReasonCode::QuotaExceeded,
            properties: ConnAckProperties::default(),
        };
        story.write(3, &Packet::ConnAck(Box::new(refusal)));
        story.close(3);
        if is_published {
            story.pass_on(2, 2, last_words());
        }
        story.join(4, 1, connect("device"), !is_published);
        let broken = [Promise::Will, Promise::SessionPresent];
        story.ends(if is_published { &broken } else { &[] });
    }
}

#[test]
fn a_crash_may_undo_that_a_will_was_published() {
    // For the Will Delay Interval, and what is said between the Will and the crash.
    type Case = (u64, fn(&mut Story), bool);
    let cases: [Case; 4] = [
        (0, |_| (), true),
        (5, |_| (), true),
        // What it was is stored, and not yet that it came everywhere.
        (0, |story| story.join(5, 5, connect("somebody"), false), true),
        (
            0,
            |story| {
                story.join(5, 5, connect("somebody"), false);
                story.pass(1000);
                story.join(6, 6, connect("another one"), false);
            },
            false,
        ),
    ];
    for (delay_secs, between, may_come_again) in cases {
        for comes_again in [true, false] {
            let mut story = mourners(u32::try_from(delay_secs).expect("few seconds"));
            story.close(1);
            story.pass(delay_secs * 1000);
            story.pass_on(2, 2, last_words());
            story.pass(1000);
            between(&mut story);
            // Whoever comes when the Will was published gets none of it.
            story.join(3, 3, connect("late"), false);
            story.subscribe(3, "will", Q1);
            story.pass(1000);
            story.tell(Event::Crashed);
            story.tell(Event::Restarted);
            story.join(4, 3, connect("late"), true);
            if comes_again {
                story.pass_on(4, 3, last_words());
            }
            let is_broken = comes_again && !may_come_again;
            story.ends(if is_broken { &[Promise::OnlyWhatIsWanted] } else { &[] });
        }
    }
}

#[test]
fn a_will_that_a_crash_undoes_is_owed_unless_its_client_may_come_back() {
    for (delay_secs, is_stored, is_owed) in
        [(0, false, true), (0, true, true), (5, false, false), (5, true, true)]
    {
        let mut story = mourners(delay_secs);
        story.tell(Event::PeerGone { connection: ConnectionId(2) });
        story.close(2);
        story.close(1);
        story.pass(6000);
        if is_stored {
            story.join(3, 3, connect("somebody"), false);
        }
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(4, 1, connect("device"), true);
        story.join(5, 2, connect("watcher"), true);
        story.ends(if is_owed { &[Promise::Will] } else { &[] });
    }
}

#[test]
fn a_will_comes_once() {
    let mut story = mourners(0);
    story.close(1);
    story.pass_on(2, 2, last_words());
    story.pass_on(2, 2, Publish { delivery: publish(7, Q1, 2).delivery, ..last_words() });
    story.ends(&[Promise::NoNeedlessCopy]);
}

#[test]
fn a_takeover_needs_somebody_who_takes_over() {
    for taken_over in [true, false] {
        let mut story = Story::new();
        story.join(1, 1, connect("device"), false);
        if taken_over {
            story.ask(2, 1, connect("device"));
        }
        let bye = Disconnect::new(ReasonCode::SessionTakenOver);
        story.write(1, &Packet::Disconnect(Box::new(bye)));
        story.close(1);
        if taken_over {
            story.accept(2, true);
        }
        story.ends(if taken_over { &[] } else { &[Promise::Takeover] });
    }
    let mut story = Story::new();
    story.join(1, 1, connect("device"), false);
    story.join(2, 1, connect("device"), true);
    story.ends(&[Promise::Takeover, Promise::Takeover]);
}

#[test]
fn a_crash_may_undo_a_goodbye_that_nobody_has_answered() {
    let goodbye = || {
        let mut story = mourners(0);
        story.take(1, &Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::Success))));
        story.close(1);
        story
    };
    let crash = |story: &mut Story| {
        story.tell(Event::Crashed);
        story.tell(Event::Restarted);
        story.join(4, 2, connect("watcher"), true);
    };
    for is_published in [true, false] {
        let mut story = goodbye();
        crash(&mut story);
        if is_published {
            story.pass_on(4, 2, last_words());
        }
        story.ends(&[]);
    }
    // CONNACK says how things are, and must stay true.
    let mut story = goodbye();
    story.join(3, 1, connect("device"), true);
    crash(&mut story);
    story.pass_on(4, 2, last_words());
    story.ends(&[Promise::Will]);
}

/// A publisher, and a subscriber by this Topic Filter that goes away after this; its next CONNECT
/// is taken, and has a Maximum Packet Size.
fn back_with_size(topic_filter: &str, packet_size_max: u32, before: fn(&mut Story)) -> Story {
    let mut story = Story::new();
    story.join(1, 1, connect("publisher"), false);
    story.join(2, 2, connect("subscriber"), false);
    story.subscribe(2, topic_filter, Q1);
    before(&mut story);
    story.close(2);
    let mut again = connect("subscriber");
    again.properties.maximum_packet_size = Some(packet_size_max);
    story.ask(3, 2, again);
    story
}

#[test]
fn a_connect_without_an_answer_may_have_met_what_is_too_large_for_it() {
    let before: fn(&mut Story) = |story| story.publish(1, 7);
    let end = |mut story: Story, broken: &[Promise]| {
        story.close(3);
        story.join(4, 2, connect("subscriber"), true);
        story.ends(broken);
    };
    let kept = [Promise::AcknowledgedIsKept];
    end(back_with_size("a", 40, before), &[]);
    end(back_with_size("a", 100_000, before), &kept);
    end(back_with_size("$share/g/a", 40, before), &[]);

    // It was under way when the connection ended.
    let mut story = back_with_size("a", 40, |_| ());
    story.take_publish(1, publish(7, Q1, 1));
    story.close(3);
    story.write(1, &Packet::PubAck(ack(1)));
    story.join(4, 2, connect("subscriber"), true);
    story.ends(&[]);

    // What is published after that end is for connections without a limit.
    for (topic_filter, broken) in [("a", kept), ("$share/g/a", [Promise::SomeMember])] {
        let mut story = back_with_size(topic_filter, 40, |_| ());
        story.close(3);
        story.publish(1, 7);
        story.join(4, 2, connect("subscriber"), true);
        story.ends(&broken);
    }

    // Who is refused is sent nothing, and so nothing is too large.
    let mut story = back_with_size("a", 40, before);
    let refusal = ConnAck {
        session_present: false,
        reason_code: ReasonCode::QuotaExceeded,
        properties: ConnAckProperties::default(),
    };
    story.write(3, &Packet::ConnAck(Box::new(refusal)));
    end(story, &kept);
}

#[test]
fn a_connect_without_an_answer_takes_no_retained_message_from_a_later_subscription() {
    for (is_later, broken) in [(false, &[][..]), (true, &[Promise::Retained])] {
        let mut story = back_with_size("b", 40, |story| {
            story.take_publish(1, retained(publish(7, Q1, 1)));
            story.write(1, &Packet::PubAck(ack(1)));
            story.subscribe(2, "a", Q1);
        });
        story.close(3);
        story.join(4, 2, connect("subscriber"), true);
        if is_later {
            story.subscribe(4, "a", Q1);
        }
        story.ends(broken);
    }
}
