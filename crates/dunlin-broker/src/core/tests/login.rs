//! Logins: the question who a Client is, its answers, and whose a session is.

use super::*;
use crate::Limits;
use crate::core::{Decision, Grant, Identity, LateLogin, LimitCause, UserConnections};
use dunlin_protocol::codec::{Connect, Packet, QoS, ReasonCode, Text};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

fn broker(workers: u8) -> Broker {
    let limits = Limits { sys_interval_secs: 0, ..Limits::default() };
    Broker::with(workers, limits).with_logins(TIMEOUT)
}

fn user(name: &str) -> Decision {
    Decision::Allow(Grant::of(Identity::new(Some(name), []).expect("a legal name")))
}

fn anonymous() -> Decision {
    Decision::Allow(Grant::default())
}

/// Connects, and answers the question with a decision.
fn log_in(broker: &mut Broker, connect: Connect, decision: Decision) -> Link {
    let link = broker.connect(connect);
    let asked = broker.asked_who.pop_front().expect("a question");
    broker.decide(&asked, decision);
    link
}

fn connack_code(broker: &mut Broker, link: Link) -> (ReasonCode, bool) {
    match broker.receive(link).first() {
        Some(Packet::ConnAck(connack)) => (connack.reason_code, connack.session_present),
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

#[test]
fn nothing_of_a_client_is_taken_until_it_is_known() {
    for workers in [1, 3] {
        for accepting in 0..usize::from(workers) {
            let mut broker = broker(workers);
            broker.accepting = accepting;
            let mut packet = connect("one");
            packet.user_name = Some("gauge".parse().expect("a name"));
            packet.password = Some("secret".into());
            let link = broker.connect(packet);
            broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
            assert!(broker.receive(link).is_empty());
            assert_eq!(broker.counters().sessions, 0);

            let asked = broker.asked_who.pop_front().expect("a question");
            assert_eq!(asked.login.client_identifier.as_str(), "one");
            assert_eq!(asked.login.user_name.as_ref().map(Text::as_str), Some("gauge"));
            assert_eq!(asked.login.password.as_deref(), Some(&b"secret"[..]));
            assert!(!format!("{:?}", asked.login).contains("secret"));

            broker.decide(&asked, user("gauge"));
            let packets = broker.receive(link);
            assert!(matches!(packets[..], [Packet::ConnAck(_), Packet::SubAck(_)]), "{packets:?}");
            assert!(broker.asked_who.is_empty(), "who is known is not asked again");
        }
    }
}

#[test]
fn a_decision_against_a_client_is_told_in_its_version() {
    for (reason_code, return_code) in [
        (ReasonCode::BadUserNameOrPassword, 4),
        (ReasonCode::NotAuthorized, 5),
        (ReasonCode::ServerUnavailable, 3),
        (ReasonCode::ServerBusy, 3),
    ] {
        let mut broker = broker(1);
        let link = log_in(&mut broker, connect("one"), Decision::Deny(reason_code));
        assert_eq!(connack_code(&mut broker, link), (reason_code, false));
        assert!(broker.is_closed(link));
        let link = log_in(&mut broker, connect_v311("one", true), Decision::Deny(reason_code));
        assert_eq!(broker.take_output(link)[..], [0x20, 2, 0, return_code]);
        assert!(broker.is_closed(link));
        let counters = broker.counters();
        assert_eq!((counters.sessions, counters.connections), (0, 0));
        assert_eq!(counters.logins_refused, 2);
        let of_kind = |kind| if reason_code == kind { 2 } else { 0 };
        assert_eq!(counters.logins_busy, of_kind(ReasonCode::ServerBusy));
        assert_eq!(counters.logins_unavailable, of_kind(ReasonCode::ServerUnavailable));
    }
}

#[test]
fn who_is_not_decided_about_in_time_is_turned_away() {
    let mut broker = broker(1);
    let link = broker.connect(connect("one"));
    broker.advance(TIMEOUT.checked_sub(Duration::from_millis(200)).expect("long"));
    assert!(!broker.is_closed(link));
    broker.advance(Duration::from_millis(400));
    assert_eq!(connack_code(&mut broker, link), (ReasonCode::ServerUnavailable, false));
    assert!(broker.is_closed(link));

    // The decision comes after all, and finds another connection in the old one's place.
    let other = broker.connect(connect("two"));
    let asked = broker.asked_who.pop_front().expect("the first question");
    broker.decide(&asked, user("gauge"));
    assert!(broker.receive(other).is_empty());
    assert_eq!(broker.counters().sessions, 0);
}

#[test]
fn who_was_late_is_told_from_who_was_denied() {
    for is_late in [true, false] {
        let mut broker = broker(1);
        broker.connect(connect("one"));
        let asked = broker.asked_who.pop_front().expect("a question");
        let (now, key) = (broker.now, asked.key);
        let core = broker.core(0);
        if is_late {
            core.handle_timeout(now + 2 * TIMEOUT);
        } else {
            let denied = Decision::Deny(ReasonCode::ServerUnavailable);
            core.handle_decision(now, key, asked.exchange, denied);
        }
        assert_eq!(core.late_login(key), is_late.then_some(LateLogin::Undecided));
    }
}

#[test]
fn a_decision_counts_once_and_only_while_its_client_is_there() {
    let mut broker = broker(1);
    let gone = broker.connect(connect("one"));
    broker.cut(gone);
    let asked = broker.asked_who.pop_front().expect("a question");
    broker.decide(&asked, user("gauge"));
    assert_eq!((broker.counters().sessions, broker.counters().connections), (0, 0));

    let link = broker.connect(connect("one"));
    let asked = broker.asked_who.pop_front().expect("a question");
    broker.decide(&asked, user("gauge"));
    assert_eq!(connack_code(&mut broker, link), (ReasonCode::Success, false));
    broker.decide(&asked, Decision::Deny(ReasonCode::NotAuthorized));
    assert!(broker.receive(link).is_empty() && !broker.is_closed(link));
    // Nor does the time for it end what was decided.
    broker.advance(TIMEOUT * 2);
    assert!(!broker.is_closed(link));
}

#[test]
fn a_session_belongs_to_the_user_who_made_it() {
    let strangers = [user("pump"), anonymous()];
    for (stranger, clean_start, is_away) in [
        (0, false, false),
        (0, false, true),
        (0, true, false),
        (0, true, true),
        (1, false, false),
        (1, true, true),
    ] {
        for workers in [1, 3] {
            let mut broker = broker(workers);
            let owner = log_in(&mut broker, connect("one").expiry(100), user("gauge"));
            broker.send(owner, subscribe(&["a"], QoS::AtLeastOnce));
            broker.receive(owner);
            if is_away {
                broker.cut(owner);
            }
            broker.accepting += 1;
            let mut packet = connect("one").expiry(100);
            packet.clean_start = clean_start;
            let link = log_in(&mut broker, packet, strangers[stranger].clone());
            assert_eq!(connack_code(&mut broker, link), (ReasonCode::NotAuthorized, false));
            let link =
                log_in(&mut broker, connect_v311("one", clean_start), strangers[stranger].clone());
            assert_eq!(broker.take_output(link)[..], [0x20, 2, 0, 5]);

            // The owner is not disturbed, and finds all as it was.
            assert_eq!(broker.is_closed(owner), is_away);
            assert!(broker.receive(owner).is_empty());
            let again = log_in(&mut broker, connect("one").resume().expiry(100), user("gauge"));
            assert_eq!(connack_code(&mut broker, again), (ReasonCode::Success, true));
            assert_eq!(broker.counters().subscriptions, 1);
        }
    }
}

#[test]
fn a_client_identifier_is_free_once_its_session_has_ended() {
    let mut broker = broker(1);
    let first = log_in(&mut broker, connect("one"), user("gauge"));
    broker.cut(first);
    let second = log_in(&mut broker, connect("one"), user("pump"));
    assert_eq!(connack_code(&mut broker, second), (ReasonCode::Success, false));
}

#[test]
fn anonymous_clients_share_what_is_anonymous() {
    let mut broker = broker(1);
    let first = log_in(&mut broker, connect("one").expiry(100), anonymous());
    let second = log_in(&mut broker, connect("one").resume(), anonymous());
    assert_eq!(connack_code(&mut broker, second), (ReasonCode::Success, true));
    assert!(broker.is_closed(first));
    let third = log_in(&mut broker, connect("one"), user("gauge"));
    assert_eq!(connack_code(&mut broker, third), (ReasonCode::NotAuthorized, false));
}

#[test]
fn a_session_of_nobody_goes_to_who_may_have_it() {
    for (anonymous_may_claim, expected) in
        [(true, ReasonCode::Success), (false, ReasonCode::NotAuthorized)]
    {
        let mut broker = Broker::with_store(1);
        for name in ["one", "two"] {
            let link = broker.connect(connect(name).expiry(100));
            broker.receive(link);
        }
        // From now on somebody asks.
        broker.anonymous_may_claim = anonymous_may_claim;
        broker = broker.with_logins(TIMEOUT);
        broker.restart();
        let resume = |name| connect(name).resume().expiry(100);
        let link = log_in(&mut broker, resume("one"), anonymous());
        let is_claimed = expected == ReasonCode::Success;
        assert_eq!(connack_code(&mut broker, link), (expected, is_claimed));
        let link = log_in(&mut broker, resume("two"), user("gauge"));
        assert_eq!(connack_code(&mut broker, link), (ReasonCode::Success, true));
        let link = log_in(&mut broker, resume("two"), anonymous());
        assert_eq!(connack_code(&mut broker, link), (ReasonCode::NotAuthorized, false));
    }
}

#[test]
fn who_is_turned_away_for_another_is_told_of_with_session_and_both_names() {
    let mut broker = broker(1);
    let owner = log_in(&mut broker, connect("one").expiry(100), user("gauge"));
    broker.receive(owner);
    for (decision, name) in [(user("pump"), "pump"), (anonymous(), "")] {
        broker.connect(connect("one"));
        let asked = broker.asked_who.pop_front().expect("a question");
        let now = broker.now;
        let core = broker.core(0);
        core.handle_decision(now, asked.key, asked.exchange, decision);
        let stranger = core.stranger(asked.key).expect("told of");
        let told = (stranger.client_identifier(), stranger.owner(), stranger.user());
        assert_eq!(told, ("one", "gauge", name));
        broker.settle(0);
    }
}

#[test]
fn a_connection_ends_with_its_login() {
    for workers in [1, 3] {
        for accepting in 0..usize::from(workers) {
            let mut broker = broker(workers);
            broker.accepting = accepting;
            let expires_at = Some(broker.now + Duration::from_secs(2000));
            let identity = Identity::new(Some("gauge"), []).expect("a legal name");
            let grant = Grant { expires_at, ..Grant::of(identity) };
            let packet = connect("one").will(will("gone", "", 0));
            let link = log_in(&mut broker, packet, Decision::Allow(grant));
            broker.receive(link);
            broker.advance_secs(1999);
            assert!(!broker.is_closed(link));
            broker.advance_secs(2);
            match broker.receive_one(link) {
                Packet::Disconnect(packet) => {
                    assert_eq!(packet.reason_code, ReasonCode::MaximumConnectTime);
                }
                packet => panic!("no DISCONNECT but {packet:?}"),
            }
            assert!(broker.is_closed(link));
            assert_eq!(broker.counters().sessions, 0);
        }
    }
}

#[test]
fn a_login_that_has_ended_on_its_way_lets_nobody_in() {
    for workers in [1, 3] {
        for (early, expected) in [(0, ReasonCode::NotAuthorized), (1, ReasonCode::Success)] {
            let mut broker = broker(workers);
            broker.advance_secs(1);
            let expires_at = Some(broker.now + Duration::from_micros(early));
            let identity = Identity::new(Some("gauge"), []).expect("a legal name");
            let grant = Grant { expires_at, ..Grant::of(identity) };
            let link = log_in(&mut broker, connect("one"), Decision::Allow(grant));
            assert_eq!(connack_code(&mut broker, link).0, expected);
            assert_eq!(broker.counters().sessions, early);
        }
    }
}

#[test]
fn a_broker_that_stops_waits_for_no_decision() {
    let mut broker = broker(1);
    let link = broker.connect(connect("one"));
    let now = broker.now;
    broker.core(0).stop(now);
    broker.settle(0);
    assert!(broker.is_closed(link));
    let asked = broker.asked_who.pop_front().expect("a question");
    broker.decide(&asked, user("gauge"));
    assert_eq!(broker.counters().sessions, 0);
}

#[test]
fn a_session_is_its_users_after_a_restart_too() {
    for workers in [1, 3] {
        let mut broker = Broker::with_store(workers).with_logins(TIMEOUT);
        for (name, decision) in [("one", user("gauge")), ("two", anonymous())] {
            let link = log_in(&mut broker, connect(name).expiry(100), decision);
            assert_eq!(connack_code(&mut broker, link), (ReasonCode::Success, false));
        }
        broker.restart();
        broker.asked_who.clear();
        for (name, decision, expected) in [
            ("one", user("pump"), ReasonCode::NotAuthorized),
            ("one", anonymous(), ReasonCode::NotAuthorized),
            ("two", user("gauge"), ReasonCode::NotAuthorized),
            ("one", user("gauge"), ReasonCode::Success),
            ("two", anonymous(), ReasonCode::Success),
        ] {
            let link = log_in(&mut broker, connect(name).resume().expiry(100), decision);
            let is_known = expected == ReasonCode::Success;
            assert_eq!(connack_code(&mut broker, link), (expected, is_known), "{name}");
        }
    }
}

#[test]
fn a_user_has_so_many_connections_over_all_workers() {
    const N: usize = 3;
    for workers in [1, 3] {
        let limits =
            Limits { sys_interval_secs: 0, connections_per_user_max: N, ..Limits::default() };
        let users = UserConnections::default();
        let mut broker = Broker::with(workers, limits).with_logins(TIMEOUT);
        for worker in 0..usize::from(workers) {
            broker.core(worker).share_users(users.clone());
        }
        let enter = |broker: &mut Broker, client_identifier: &str, decision| {
            let link = log_in(broker, connect(client_identifier), decision);
            (link, connack_code(broker, link).0)
        };
        let links = (0..N).map(|at| enter(&mut broker, &format!("c-{at}"), user("gauge")));
        let links: Vec<_> = links.collect();
        assert!(links.iter().all(|(_, code)| *code == ReasonCode::Success));
        for at in N..10 * N {
            let (link, code) = enter(&mut broker, &format!("c-{at}"), user("gauge"));
            assert_eq!(code, ReasonCode::QuotaExceeded);
            assert!(broker.is_closed(link));
        }
        let limited = broker.counters().limited_by(LimitCause::ConnectionsPerUser);
        assert_eq!((limited, broker.counters().sessions), (9 * N as u64, N as u64));
        // Others have a number of their own, and who is nobody has none.
        assert_eq!(enter(&mut broker, "other", user("other")).1, ReasonCode::Success);
        for at in 0..2 * N {
            let code = enter(&mut broker, &format!("nobody-{at}"), anonymous()).1;
            assert_eq!(code, ReasonCode::Success);
        }
        // A takeover is none more; and what was left is there for others.
        for _ in 0..3 * N {
            assert_eq!(enter(&mut broker, "c-0", user("gauge")).1, ReasonCode::Success);
        }
        broker.cut(links[1].0);
        assert_eq!(enter(&mut broker, "c-next", user("gauge")).1, ReasonCode::Success);
        assert_eq!(enter(&mut broker, "c-late", user("gauge")).1, ReasonCode::QuotaExceeded);
    }
}
