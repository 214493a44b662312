//! Sessions, Wills, takeovers, crashes.

use super::*;

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
