//! What was given to some sessions before it was refused is not given to them again.

use super::refusal::{back, check_nothing_pending, limits, old, send};
use super::workers::{client_at, name_at};
use super::*;
use crate::Limits;
use crate::core::given::{Given, GivenTo};
use crate::core::{SessionKey, WorkerNumber};
use dunlin_protocol::codec::{Delivery, Packet, PacketType, QoS};

/// A Client whose session ends with its connection.
fn passing(broker: &mut Broker, worker: usize, prefix: &str, topic_filter: &str) -> Link {
    let name = name_at(broker, worker, prefix);
    let (link, _) = broker.join(connect(&name));
    broker.send(link, subscribe(&[topic_filter], QoS::ExactlyOnce));
    broker.receive(link);
    link
}

fn send_again(broker: &mut Broker, link: Link, number: u16) {
    let mut again = publish("a", &number.to_string(), QoS::ExactlyOnce, number);
    again.delivery = Delivery::ExactlyOnce { packet_identifier: identifier(number), dup: true };
    broker.send(link, Packet::Publish(again));
}

/// A Client that is away has a queue at worker 0 that is full to twice its limit. An MQTT 3.1.1
/// Client of worker 1 has lost its connection in this way, and its third message was refused; a
/// witness at this worker, whose session is not stored, has it.
fn refused_elsewhere(
    worker: usize,
    topic_filter: &str,
    end: fn(&mut Broker, Link),
) -> (Broker, Link) {
    let mut broker = Broker::build(3, limits(1), true);
    let away = client_at(&mut broker, 0, 0, "away");
    broker.send(away, subscribe(&["a"], QoS::ExactlyOnce));
    broker.cut(away);
    let witness = passing(&mut broker, worker, "witness", topic_filter);
    let old = old(&mut broker);
    send(&mut broker, old, QoS::ExactlyOnce, 1..=3);
    end(&mut broker, old);
    assert_eq!(broker.drain(witness), ["1", "2", "3"], "nothing takes it back");
    check_nothing_pending(&mut broker);
    (broker, witness)
}

#[test]
fn what_an_old_client_sends_again_is_not_given_again_to_those_who_have_it() {
    for (worker, topic_filter) in
        [(0, "a"), (1, "a"), (2, "a"), (0, "$share/g/a"), (1, "$share/g/a"), (2, "$share/g/a")]
    {
        let end = if worker == 1 { Broker::close_half } else { Broker::cut };
        let (mut broker, witness) = refused_elsewhere(worker, topic_filter, end);
        // It finds no room again and again.
        for _ in 0..2 {
            let old = old(&mut broker);
            send_again(&mut broker, old, 3);
            broker.advance_secs(1);
            assert!(broker.types(old).is_empty());
            broker.cut(old);
            assert!(broker.drain(witness).is_empty(), "worker {worker} {topic_filter}");
        }
        let late = passing(&mut broker, worker, "late", "a");
        let member = passing(&mut broker, 2, "member", "$share/g/a");
        let old = old(&mut broker);
        send_again(&mut broker, old, 3);
        let away = back(&mut broker);
        assert_eq!(broker.drain(away), ["1", "2"]);
        broker.advance_secs(1);
        assert_eq!(broker.types(old), [PacketType::PubRec]);
        assert_eq!(broker.drain(away), ["3"]);
        assert!(broker.drain(witness).is_empty(), "worker {worker} {topic_filter}");
        assert_eq!(broker.drain(late), ["3"], "for this one it is new");
        let is_new = topic_filter == "a";
        assert_eq!(broker.drain(member).len(), usize::from(is_new), "the group has it");
        check_nothing_pending(&mut broker);
    }
}

#[test]
fn those_who_have_a_refused_message_get_another_one_with_its_identifier() {
    for is_new_session in [true, false] {
        let (mut broker, witness) = refused_elsewhere(2, "a", Broker::cut);
        let away = back(&mut broker);
        broker.drain(away);
        if is_new_session {
            // The witness is another one now, though nothing else tells the two apart.
            broker.cut(witness);
            let witness = passing(&mut broker, 2, "witness", "a");
            let old = old(&mut broker);
            send_again(&mut broker, old, 3);
            assert_eq!(broker.drain(witness), ["3"]);
        } else {
            let old = old(&mut broker);
            send(&mut broker, old, QoS::ExactlyOnce, 3..=3);
            assert_eq!(broker.drain(witness), ["3"], "without DUP it is no repetition");
        }
        check_nothing_pending(&mut broker);
    }
}

#[test]
fn who_has_a_message_is_known_though_it_is_refused_again_because_the_store_takes_nothing() {
    let (mut broker, witness) = refused_elsewhere(2, "a", Broker::cut);
    // By a session of the worker that learns first that the store takes nothing.
    let stored = client_at(&mut broker, 2, 2, "stored");
    broker.send(stored, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(stored);
    let away = back(&mut broker);
    assert_eq!(broker.drain(away), ["1", "2"]);
    broker.core(2).handle_store_ready(false);
    for _ in 0..2 {
        let old = old(&mut broker);
        send_again(&mut broker, old, 3);
        broker.cut(old);
    }
    broker.core(2).handle_store_ready(true);
    let old = old(&mut broker);
    send_again(&mut broker, old, 3);
    assert_eq!(broker.types(old), [PacketType::PubRec]);
    assert_eq!(broker.drain(away), ["3"]);
    assert_eq!(broker.drain(stored), ["3"]);
    assert!(broker.drain(witness).is_empty());
    check_nothing_pending(&mut broker);
}

/// A broker with so many sessions of MQTT 3.1.1 Clients.
fn remembering(sessions: usize) -> (Broker, Vec<SessionKey>) {
    let mut broker = Broker::with_store(1);
    let keys = (0..sessions).map(|at| {
        let (link, _) = broker.join(connect_v311(&format!("old-{at}"), false));
        let key = broker.key(link).expect("open");
        broker.core(0).endpoints.connection(key).and_then(|found| found.session).expect("accepted")
    });
    let keys = keys.collect();
    (broker, keys)
}

/// So many sessions that have a message.
fn given(len: u32) -> Given {
    Given::new((0..len).map(|at| GivenTo::Session(WorkerNumber(0), SessionKey(at), 0)).collect())
}

/// The messages of a session of which it is known who has them.
fn known(broker: &mut Broker, key: SessionKey) -> Vec<u16> {
    let session = &broker.core(0).endpoints.sessions[key.0];
    (1..=u16::MAX).filter(|at| session.given(identifier(*at)).is_some()).collect()
}

#[test]
fn of_too_many_refused_messages_the_earliest_is_forgotten_whatever_its_identifier() {
    let (mut broker, keys) = remembering(1);
    let limit = Limits::default().receive_maximum;
    let endpoints = &mut broker.core(0).endpoints;
    for at in 0..limit {
        endpoints.remember_given(keys[0], identifier(1000 + at), given(1));
    }
    // This one has been refused before, and is the last now.
    endpoints.remember_given(keys[0], identifier(1000), given(1));
    endpoints.remember_given(keys[0], identifier(1), given(1));
    assert_eq!(endpoints.counters.given_forgotten, 1);
    let known = known(&mut broker, keys[0]);
    assert_eq!(known.len(), usize::from(limit));
    assert!(known.contains(&1) && known.contains(&1000) && !known.contains(&1001));
}

#[test]
fn who_has_refused_messages_takes_bounded_memory() {
    let (mut broker, keys) = remembering(30);
    let endpoints = &mut broker.core(0).endpoints;
    for at in 1..=100 {
        endpoints.remember_given(keys[0], identifier(at), given(10_000));
    }
    let of_one = endpoints.counters.given_bytes;
    assert!((512 << 10..=1 << 20).contains(&of_one), "{of_one}");
    for key in &keys[1..] {
        for at in 1..=100 {
            endpoints.remember_given(*key, identifier(at), given(10_000));
        }
    }
    let of_all = endpoints.counters.given_bytes;
    assert!((15 << 20..=16 << 20).contains(&of_all), "{of_all}");
    broker.core(0).check_invariants();
    assert_eq!(known(&mut broker, keys[0]).last(), Some(&100), "others take nothing from it");
    // One that is larger than that is known, if there is room for it.
    let (mut broker, keys) = remembering(1);
    let endpoints = &mut broker.core(0).endpoints;
    endpoints.remember_given(keys[0], identifier(1), given(1));
    endpoints.remember_given(keys[0], identifier(2), given(200_000));
    assert_eq!(known(&mut broker, keys[0]), [2]);
    let endpoints = &mut broker.core(0).endpoints;
    endpoints.remember_given(keys[0], identifier(3), given(2_000_000));
    assert_eq!(endpoints.counters.given_forgotten, 2);
    assert_eq!(known(&mut broker, keys[0]), [2], "there is none for this one");
}

#[test]
fn what_a_session_knew_of_refused_messages_goes_with_it() {
    let (mut broker, _) = refused_elsewhere(2, "a", Broker::cut);
    assert!(broker.counters().given_bytes > 0);
    let name = name_at(&broker, 1, "old");
    let (link, _) = broker.join(connect_v311(&name, true));
    broker.send(link, disconnect(dunlin_protocol::codec::ReasonCode::Success));
    assert_eq!(broker.counters().given_bytes, 0);
}
