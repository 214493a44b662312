//! Enhanced authentication: exchanges before CONNACK and on the connection that stands.

use super::*;
use crate::Limits;
use crate::core::{Decision, Grant, LateLogin};
use bytes::Bytes;
use dunlin_protocol::codec::{Auth, AuthProperties, Connect, Packet, QoS, ReasonCode, Text};
use dunlin_rights::Identity;
use std::time::Duration;

/// Shorter than what a connection may take to send CONNECT.
const TIMEOUT: Duration = Duration::from_secs(5);

fn broker(workers: u8) -> Broker {
    let limits = Limits { sys_interval_secs: 0, ..Limits::default() };
    Broker::with(workers, limits).with_logins(TIMEOUT)
}

fn asking(client_identifier: &str) -> Connect {
    let mut connect = connect(client_identifier);
    connect.properties.authentication_method = Some(Text::from_static("m"));
    connect.properties.authentication_data = Some(Bytes::from_static(b"first"));
    connect
}

fn auth(reason_code: ReasonCode, data: &'static str) -> Packet {
    let properties = AuthProperties {
        authentication_method: Some(Text::from_static("m")),
        authentication_data: Some(Bytes::from_static(data.as_bytes())),
        ..AuthProperties::default()
    };
    Packet::Auth(Box::new(Auth { reason_code, properties }))
}

fn grant(user: &str) -> Grant {
    Grant::of(Identity::new(Some(user), []).expect("a legal name"))
}

fn allow(user: &str) -> Decision {
    Decision::AllowWith(grant(user), Bytes::from_static(b"last"))
}

fn challenge(state: &str) -> Decision {
    Decision::Challenge { data: Bytes::from_static(b"prove"), state: state.as_bytes().into() }
}

/// Answers the question that is asked, which has these data and this state.
fn decide(broker: &mut Broker, expected: (&str, Option<&str>), decision: Decision) {
    let asked = broker.asked_who.pop_front().expect("a question");
    let enhanced = asked.login.enhanced.as_ref().expect("a step of an exchange");
    assert_eq!(enhanced.method.as_str(), "m");
    let text = |bytes: &Option<Box<[u8]>>| {
        bytes.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    assert_eq!(text(&enhanced.data).as_deref(), Some(expected.0));
    assert_eq!(text(&enhanced.state).as_deref(), expected.1);
    assert_eq!(asked.login.client_identifier.as_str(), "one");
    broker.decide(&asked, decision);
}

/// A Client that has come in by an exchange.
fn connected(broker: &mut Broker) -> Link {
    let link = broker.connect(asking("one"));
    decide(broker, ("first", None), allow("gauge"));
    let packets = broker.receive(link);
    assert!(matches!(&packets[..], [Packet::ConnAck(_)]), "{packets:?}");
    link
}

fn farewell(broker: &mut Broker, link: Link) -> ReasonCode {
    assert!(broker.is_closed(link));
    match &broker.receive(link)[..] {
        [.., Packet::Disconnect(packet)] => packet.reason_code,
        [.., Packet::ConnAck(packet)] => packet.reason_code,
        packets => panic!("no farewell but {packets:?}"),
    }
}

#[test]
fn a_challenge_comes_before_connack() {
    for workers in [1, 3] {
        for accepting in 0..usize::from(workers) {
            let mut broker = broker(workers);
            broker.accepting = accepting;
            let link = broker.connect(asking("one"));
            decide(&mut broker, ("first", None), challenge("kept"));
            match &broker.receive(link)[..] {
                [Packet::Auth(auth)] => {
                    assert_eq!(auth.reason_code, ReasonCode::ContinueAuthentication);
                    let properties = &auth.properties;
                    assert_eq!(properties.authentication_data.as_deref(), Some(&b"prove"[..]));
                    assert_eq!(properties.authentication_method.as_deref(), Some("m"));
                }
                packets => panic!("no AUTH but {packets:?}"),
            }
            assert_eq!(broker.counters().sessions, 0);
            broker.send(link, auth(ReasonCode::ContinueAuthentication, "proof"));
            decide(&mut broker, ("proof", Some("kept")), allow("gauge"));
            match &broker.receive(link)[..] {
                [Packet::ConnAck(connack)] => {
                    assert_eq!(connack.reason_code, ReasonCode::Success);
                    let properties = &connack.properties;
                    assert_eq!(properties.authentication_data.as_deref(), Some(&b"last"[..]));
                    assert_eq!(properties.authentication_method.as_deref(), Some("m"));
                }
                packets => panic!("no CONNACK but {packets:?}"),
            }
            // The time for it ends nothing that was decided.
            broker.advance(TIMEOUT * 2);
            assert!(!broker.is_closed(link));
        }
    }
}

#[test]
fn an_exchange_ends_after_so_many_rounds_or_so_much_time() {
    let mut broker = broker(1);
    let link = broker.connect(asking("one"));
    decide(&mut broker, ("first", None), challenge("kept"));
    for _ in 0..8 {
        broker.send(link, auth(ReasonCode::ContinueAuthentication, "more"));
        decide(&mut broker, ("more", Some("kept")), challenge("kept"));
    }
    broker.send(link, auth(ReasonCode::ContinueAuthentication, "more"));
    assert_eq!(farewell(&mut broker, link), ReasonCode::NotAuthorized);
    assert!(broker.asked_who.is_empty());

    // Each step comes in time, all of them don't.
    let link = broker.connect(asking("one"));
    decide(&mut broker, ("first", None), challenge("kept"));
    for _ in 0..2 {
        broker.advance_secs(2);
        broker.send(link, auth(ReasonCode::ContinueAuthentication, "more"));
        decide(&mut broker, ("more", Some("kept")), challenge("kept"));
    }
    assert!(!broker.is_closed(link));
    broker.advance_secs(2);
    assert_eq!(farewell(&mut broker, link), ReasonCode::NotAuthorized);
    assert_eq!(broker.counters().connections, 0);
}

#[test]
fn who_does_not_go_on_with_an_exchange_was_late() {
    for is_again in [false, true] {
        let mut broker = broker(1);
        let step = if is_again {
            let link = connected(&mut broker);
            broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
            "again"
        } else {
            broker.connect(asking("one"));
            "first"
        };
        let key = broker.asked_who.front().expect("a question").key;
        decide(&mut broker, (step, None), challenge("kept"));
        let later = broker.now + 2 * TIMEOUT;
        let core = broker.core(0);
        assert_eq!(core.late_login(key), None);
        core.handle_timeout(later);
        assert_eq!(core.late_login(key), Some(LateLogin::Unanswered));
    }
}

#[test]
fn who_is_gone_already_is_not_turned_away_for_its_silence() {
    let mut broker = broker(1);
    broker.connect(asking("one"));
    decide(&mut broker, ("first", None), challenge("kept"));
    let (now, later) = (broker.now, broker.now + 2 * TIMEOUT);
    // Its socket is not closed yet.
    let core = broker.core(0);
    core.stop(now);
    core.handle_timeout(later);
    assert_eq!(broker.counters().logins_refused, 0);
}

#[test]
fn who_fails_in_an_exchange_is_turned_away() {
    for first in [true, false] {
        let mut broker = broker(1);
        let link = broker.connect(asking("one"));
        let denied = Decision::Deny(ReasonCode::NotAuthorized);
        if first {
            decide(&mut broker, ("first", None), denied);
        } else {
            decide(&mut broker, ("first", None), challenge("kept"));
            broker.send(link, auth(ReasonCode::ContinueAuthentication, "proof"));
            decide(&mut broker, ("proof", Some("kept")), denied);
        }
        assert_eq!(farewell(&mut broker, link), ReasonCode::NotAuthorized);
    }
}

#[test]
fn a_client_authenticates_again_while_messages_flow() {
    for workers in [1, 3] {
        let mut broker = broker(workers);
        let link = connected(&mut broker);
        for _ in 0..2 {
            broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
            broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
            let packets = broker.receive(link);
            assert!(matches!(&packets[..], [Packet::SubAck(_)]), "{packets:?}");
            decide(&mut broker, ("again", None), challenge("kept"));
            broker.send(link, auth(ReasonCode::ContinueAuthentication, "proof"));
            decide(&mut broker, ("proof", Some("kept")), allow("gauge"));
            match &broker.receive(link)[..] {
                [Packet::Auth(_), Packet::Auth(last)] => {
                    assert_eq!(last.reason_code, ReasonCode::Success);
                    let data = last.properties.authentication_data.as_deref();
                    assert_eq!(data, Some(&b"last"[..]));
                }
                packets => panic!("no AUTH but {packets:?}"),
            }
            // It can't do so as fast as it likes.
            broker.send(link, Packet::PingReq);
            assert_eq!(broker.receive(link), []);
            broker.advance(Duration::from_millis(200));
            assert_eq!(broker.receive(link), [Packet::PingResp]);
        }
        broker.advance(TIMEOUT * 2);
        assert!(!broker.is_closed(link));
    }
}

#[test]
fn who_is_another_one_the_second_time_is_disconnected() {
    // Or the same one, with a login that has ended on its way.
    let over = Grant { expires_at: Some(dunlin_protocol::Instant::ZERO), ..grant("gauge") };
    for (decision, expected) in [
        (allow("pump"), ReasonCode::NotAuthorized),
        (Decision::Allow(Grant::default()), ReasonCode::NotAuthorized),
        (Decision::Allow(over), ReasonCode::NotAuthorized),
        (Decision::Deny(ReasonCode::NotAuthorized), ReasonCode::NotAuthorized),
        (Decision::Deny(ReasonCode::BadUserNameOrPassword), ReasonCode::NotAuthorized),
        (Decision::Deny(ReasonCode::ServerBusy), ReasonCode::ServerBusy),
    ] {
        let mut broker = broker(1);
        let link = connected(&mut broker);
        broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
        decide(&mut broker, ("again", None), decision);
        assert_eq!(farewell(&mut broker, link), expected);
    }
}

#[test]
fn a_re_authentication_has_its_bounds_too() {
    let mut broker = broker(1);
    let link = connected(&mut broker);
    broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
    decide(&mut broker, ("again", None), challenge("kept"));
    for _ in 0..8 {
        broker.send(link, auth(ReasonCode::ContinueAuthentication, "more"));
        decide(&mut broker, ("more", Some("kept")), challenge("kept"));
    }
    broker.send(link, auth(ReasonCode::ContinueAuthentication, "more"));
    assert_eq!(farewell(&mut broker, link), ReasonCode::NotAuthorized);

    // The Client owes an answer, or the shell does.
    for (is_challenged, expected) in
        [(true, ReasonCode::NotAuthorized), (false, ReasonCode::ServerBusy)]
    {
        let link = connected(&mut broker);
        broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
        if is_challenged {
            decide(&mut broker, ("again", None), challenge("kept"));
        }
        broker.advance(TIMEOUT + Duration::from_millis(200));
        assert_eq!(farewell(&mut broker, link), expected);
        broker.asked_who.clear();
    }

    let link = connected(&mut broker);
    broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
    broker.send(link, auth(ReasonCode::ContinueAuthentication, "early"));
    assert_eq!(farewell(&mut broker, link), ReasonCode::ProtocolError);
}

#[test]
fn a_login_that_ends_is_extended_by_the_next_one() {
    let mut broker = broker(1);
    let until = |broker: &Broker, secs| Some(broker.now + Duration::from_secs(secs));
    let link = broker.connect(asking("one"));
    let expires_at = until(&broker, 100);
    decide(&mut broker, ("first", None), Decision::Allow(Grant { expires_at, ..grant("gauge") }));
    broker.advance_secs(90);
    broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
    let expires_at = until(&broker, 100);
    decide(&mut broker, ("again", None), Decision::Allow(Grant { expires_at, ..grant("gauge") }));
    broker.advance_secs(95);
    assert!(!broker.is_closed(link));
    broker.advance_secs(4);
    broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
    decide(&mut broker, ("again", None), challenge("kept"));
    // It ends in the middle of the next one.
    broker.advance_secs(2);
    assert_eq!(farewell(&mut broker, link), ReasonCode::MaximumConnectTime);
}

#[test]
fn however_often_a_client_authenticates_again_one_timer_watches() {
    for secs in [None, Some(5_000)] {
        let mut broker = broker(1);
        let link = connected(&mut broker);
        let before = broker.core(0).timers.len();
        for _ in 0..200 {
            let expires_at = secs.map(|secs| broker.now + Duration::from_secs(secs));
            broker.send(link, auth(ReasonCode::ReAuthenticate, "again"));
            let grant = Grant { expires_at, ..grant("gauge") };
            decide(&mut broker, ("again", None), Decision::Allow(grant));
            broker.advance(Duration::from_millis(200));
        }
        assert!(!broker.is_closed(link));
        let timers = broker.core(0).timers.len();
        // And one of each exchange's time limit that has passed, until it comes up as well.
        assert!(timers <= before + 8, "{timers}, before {before}");
    }
}

#[test]
fn where_nobody_is_asked_there_is_no_method() {
    let mut broker = Broker::new();
    let link = broker.connect(asking("one"));
    assert_eq!(farewell(&mut broker, link), ReasonCode::BadAuthenticationMethod);
}
