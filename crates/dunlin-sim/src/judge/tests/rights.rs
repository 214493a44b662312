//! Rules that change, and logins that end.

use super::*;
use crate::history::LoginAnswer;
use dunlin_broker::core::Rules as RightsRules;
use dunlin_codec::{Auth, AuthProperties};
use std::sync::Arc;
use std::time::Duration;

const ALL: &str = "[[rule]]\nallow = [\"publish\", \"subscribe\", \"will\"]\ntopics = [\"#\"]\n";

fn rights(text: &str) -> Arc<RightsRules> {
    Arc::new(RightsRules::parse(text).expect("rules"))
}

/// Rules that deny this to a client, before [`ALL`].
fn all_but(action: &str, client: &str) -> String {
    format!("[[rule]]\ndeny = [\"{action}\"]\ntopics = [\"#\"]\nclient = \"{client}\"\n{ALL}")
}

/// A publisher (connection 1) and a subscriber (connection 2) of `a`, who may do all.
fn pair_with_rights() -> Story {
    let mut story = Story::with(|rules| rules.rights = Some(rights(ALL)));
    story.join(1, 1, connect("publisher"), false);
    story.join(2, 2, connect("subscriber"), false);
    story.subscribe(2, "a", QoS::AtLeastOnce);
    story
}

impl Story {
    /// New rules are told, and nobody may go by them yet.
    fn change(&mut self, text: &str) {
        self.pass(1);
        self.tell(Event::RulesChanged { number: 1, rules: &rights(text) });
    }

    /// All go by them.
    fn changed(&mut self) {
        self.tell(Event::RulesInForce { number: 1 });
        self.pass(1);
    }
}

#[test]
fn what_is_forbidden_is_not_taken_and_what_is_allowed_is_not_refused() {
    let refused = Ack::new(id(1), ReasonCode::NotAuthorized);
    for (rules, answer, expected) in [
        // What was taken must arrive, too.
        (
            all_but("publish", "publisher"),
            ack(1),
            &[Promise::Rights, Promise::AcknowledgedIsKept][..],
        ),
        (all_but("publish", "publisher"), refused.clone(), &[]),
        (all_but("publish", "another"), refused, &[Promise::Rights]),
    ] {
        let mut story = pair_with_rights();
        story.change(&rules);
        story.changed();
        story.take_publish(1, publish(7, QoS::AtLeastOnce, 1));
        story.write(1, &Packet::PubAck(answer));
        story.ends(expected);
    }
}

/// Its publisher was gone when it was refused; it is told when the message comes again.
#[test]
fn a_refusal_that_nobody_was_told_stands_when_the_rules_have_changed() {
    let refused = || Packet::PubRec(Ack::new(id(5), ReasonCode::NotAuthorized));
    for (is_told, expected) in [(false, &[][..]), (true, &[Promise::Rights])] {
        let mut story = pair_with_rights();
        story.change(&all_but("publish", "publisher"));
        story.changed();
        story.take_publish(1, publish(7, QoS::ExactlyOnce, 5));
        if is_told {
            story.write(1, &refused());
        }
        story.close(1);
        story.tell(Event::RulesChanged { number: 2, rules: &rights(ALL) });
        story.tell(Event::RulesInForce { number: 2 });
        story.pass(1);
        story.join(3, 1, connect("publisher"), true);
        story.take_publish(3, again(publish(7, QoS::ExactlyOnce, 5)));
        story.write(3, &refused());
        story.ends(expected);
    }
}

/// What waits for the store before it is sent, at QoS 2, was looked at before.
#[test]
fn a_retained_message_is_given_out_as_the_rules_of_that_moment_say() {
    const MAY_RETAIN: &str =
        "[[rule]]\nallow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n";
    let capped = || {
        let cap = "[[rule]]\nallow = [\"subscribe\"]\ntopics = [\"#\"]\nclient = \"subscriber\"\n";
        format!("{cap}qos_max = 0\n{MAY_RETAIN}")
    };
    for (qos, change, expected) in [
        (QoS::AtLeastOnce, None, &[][..]),
        (QoS::AtLeastOnce, Some(all_but("retain", "publisher")), &[Promise::Rights]),
        (QoS::ExactlyOnce, Some(all_but("retain", "publisher")), &[]),
        (QoS::AtLeastOnce, Some(capped()), &[Promise::GrantedQos]),
        (QoS::ExactlyOnce, Some(capped()), &[]),
    ] {
        let mut story = Story::with(|rules| rules.rights = Some(rights(MAY_RETAIN)));
        story.join(1, 1, connect("publisher"), false);
        story.join(2, 2, connect("subscriber"), false);
        story.take_publish(1, retained(publish(7, QoS::ExactlyOnce, 5)));
        story.write(1, &Packet::PubRec(ack(5)));
        story.subscribe(2, "a", qos);
        story.pass(1);
        if let Some(change) = change {
            story.change(&change);
            story.changed();
        }
        story.deliver_written(2, 2, retained(publish(7, qos, 1)));
        story.ends(expected);
    }
}

#[test]
fn nobody_gets_what_he_may_not_have_any_more_but_while_rules_are_on_their_way() {
    for (is_changed, expected) in [(false, &[][..]), (true, &[Promise::Rights])] {
        let mut story = pair_with_rights();
        story.publish(1, 7);
        story.change(&all_but("subscribe", "subscriber"));
        if is_changed {
            story.changed();
        }
        story.pass_on(2, 2, publish(7, QoS::AtLeastOnce, 1));
        story.ends(expected);
    }
}

#[test]
fn what_all_rules_allow_must_arrive() {
    for (client, expected) in [("subscriber", &[][..]), ("another", &[Promise::AcknowledgedIsKept])]
    {
        let mut story = pair_with_rights();
        story.change(&all_but("subscribe", client));
        story.changed();
        story.publish(1, 7);
        story.ends(expected);
    }
}

#[test]
fn a_subscription_is_granted_as_the_rules_say() {
    for (code, expected) in
        [(ReasonCode::NotAuthorized, &[][..]), (ReasonCode::Success, &[Promise::Rights])]
    {
        let mut story = pair_with_rights();
        story.change(&all_but("subscribe", "subscriber"));
        story.changed();
        let packet = subscribe("b", QoS::AtMostOnce);
        let packet_identifier = packet.packet_identifier;
        story.take(2, &Packet::Subscribe(Box::new(packet)));
        story.suback(2, packet_identifier, vec![code]);
        story.ends(expected);
    }
}

#[test]
fn who_is_let_in_was_let_in() {
    let allowed = LoginAnswer::Allowed { user: Some("alice"), until: None };
    let denied = LoginAnswer::Denied(ReasonCode::Banned);
    for (answer, expected) in
        [(Some(allowed), &[][..]), (Some(denied), &[Promise::Login]), (None, &[Promise::Login])]
    {
        let mut story = Story::with(|rules| rules.login_limit = Some(Duration::from_secs(10)));
        story.tell(Event::Opened { connection: ConnectionId(1), device: DeviceId(1) });
        if let Some(answer) = answer {
            story.tell(Event::LoginAnswered { connection: ConnectionId(1), answer });
        }
        story.take(1, &Packet::Connect(Box::new(connect("one"))));
        story.accept(1, false);
        story.ends(expected);
    }
}

#[test]
fn a_session_is_its_users() {
    for (user, expected) in [("alice", &[][..]), ("bob", &[Promise::Login])] {
        let mut story = Story::with(|rules| rules.login_limit = Some(Duration::from_secs(10)));
        for (connection, user) in [(1, "alice"), (2, user)] {
            let (id, device) = (ConnectionId(connection), DeviceId(1));
            story.tell(Event::Opened { connection: id, device });
            let answer = LoginAnswer::Allowed { user: Some(user), until: None };
            story.tell(Event::LoginAnswered { connection: id, answer });
            story.take(connection, &Packet::Connect(Box::new(connect("one"))));
            story.accept(connection, connection > 1);
            if connection == 1 {
                story.close(1);
            }
        }
        story.ends(expected);
    }
}

#[test]
fn whose_session_it_is_decides_whether_a_new_login_is_refused() {
    for (is_doubtful, user, expected) in [
        (false, "alice", &[Promise::Login][..]),
        (false, "bob", &[]),
        (true, "alice", &[]),
        (true, "bob", &[]),
    ] {
        let mut story = Story::with(|rules| rules.login_limit = Some(Duration::from_secs(10)));
        let answer = |story: &mut Story, connection, user| {
            let answer = LoginAnswer::Allowed { user: Some(user), until: None };
            story.tell(Event::LoginAnswered { connection: ConnectionId(connection), answer });
        };
        story.tell(Event::Opened { connection: ConnectionId(1), device: DeviceId(1) });
        answer(&mut story, 1, "alice");
        story.take(1, &Packet::Connect(Box::new(connect("one"))));
        story.accept(1, false);
        if is_doubtful {
            // Turned away, and it was gone before it could be told.
            story.tell(Event::Opened { connection: ConnectionId(2), device: DeviceId(2) });
            answer(&mut story, 2, "bob");
            story.take(2, &Packet::Connect(Box::new(connect("one"))));
            story.close(2);
        }
        let (reason_code, properties) = (ReasonCode::ReAuthenticate, AuthProperties::default());
        story.take(1, &Packet::Auth(Box::new(Auth { reason_code, properties })));
        answer(&mut story, 1, user);
        story.write(1, &Packet::Disconnect(Box::new(Disconnect::new(ReasonCode::NotAuthorized))));
        story.close(1);
        story.ends(expected);
    }
}

#[test]
fn nobody_stays_longer_than_his_login_counts() {
    for (ends, expected) in [(true, &[][..]), (false, &[Promise::Login, Promise::Login])] {
        let mut story = Story::with(|rules| rules.login_limit = Some(Duration::from_secs(10)));
        let id = ConnectionId(1);
        story.tell(Event::Opened { connection: id, device: DeviceId(1) });
        let until = Some(Instant::from_micros(2_000_000));
        let answer = LoginAnswer::Allowed { user: None, until };
        story.tell(Event::LoginAnswered { connection: id, answer });
        story.take(1, &Packet::Connect(Box::new(connect("one"))));
        story.accept(1, false);
        story.pass(1_100);
        if ends {
            story.tell(Event::Ended { connection: id });
        }
        story.pass(1_000);
        if !ends {
            story.take(1, &Packet::PingReq);
            story.write(1, &Packet::PingResp);
        }
        story.ends(expected);
    }
}
