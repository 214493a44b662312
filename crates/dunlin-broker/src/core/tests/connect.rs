//! CONNECT, takeover, Clean Start, Session Expiry Interval, Keep Alive, and how connections end.

use super::*;
use crate::Limits;
use crate::core::{DropCause, InputState};
use bytes::BytesMut;
use dunlin_protocol::codec::{Packet, ProtocolVersion, QoS, ReasonCode};
use std::time::Duration;

fn quiet() -> Limits {
    Limits { sys_interval_secs: 0, ..Limits::default() }
}

fn connack_code(broker: &mut Broker, link: Link) -> ReasonCode {
    match broker.receive_one(link) {
        Packet::ConnAck(connack) => connack.reason_code,
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

#[test]
fn each_version_gets_its_connack() {
    for version in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        let mut broker = Broker::new();
        let mut packet = connect("one");
        packet.protocol_version = version;
        assert!(!broker.join(packet).1);
        assert_eq!(broker.counters().clients_connected, 1);
    }
}

#[test]
fn a_missing_client_identifier_is_assigned_where_the_connection_is() {
    for workers in [1, 3] {
        let mut broker = Broker::with(workers, quiet());
        for accepting in 0..usize::from(workers) {
            broker.accepting = accepting;
            let link = broker.connect(connect(""));
            let Packet::ConnAck(connack) = broker.receive_one(link) else { panic!("no CONNACK") };
            let assigned = connack.properties.assigned_client_identifier.expect("an identifier");
            assert_eq!(broker.worker_of(link), accepting, "{assigned:?} belongs elsewhere");
        }
        assert_eq!(broker.counters().sessions, u64::from(workers));
    }
}

#[test]
fn the_second_connection_takes_over_and_the_first_is_told() {
    let mut broker = Broker::new();
    let (first, _) = broker.join(connect("one").expiry(100));
    let (second, session_present) = broker.join(connect("one").resume().expiry(100));
    assert!(session_present);
    let Packet::Disconnect(packet) = broker.receive_one(first) else { panic!("no DISCONNECT") };
    assert_eq!(packet.reason_code, ReasonCode::SessionTakenOver);
    assert!(broker.is_closed(first) && !broker.is_closed(second));
    let counters = broker.counters();
    assert_eq!((counters.clients_connected, counters.connections, counters.sessions), (1, 1, 1));
}

#[test]
fn takeover_of_a_session_that_ends_with_its_connection_begins_a_new_one() {
    let mut broker = Broker::new();
    let first = broker.client("one");
    broker.send(first, subscribe(&["a"], QoS::AtLeastOnce));
    let (_, session_present) = broker.join(connect("one").resume());
    assert!(!session_present);
    assert_eq!(broker.counters().subscriptions, 0);
}

#[test]
fn takeover_hands_over_queue_and_in_flight_messages_in_their_order() {
    let mut broker = Broker::new();
    let (first, _) = broker.join(connect("sub").expiry(100).receive_maximum(2));
    broker.send(first, subscribe(&["a"], QoS::AtLeastOnce));
    broker.receive(first);
    let publisher = broker.client("pub");
    for at in 1..=5 {
        let packet = publish("a", &at.to_string(), QoS::AtLeastOnce, at);
        broker.send(publisher, Packet::Publish(packet));
    }
    assert_eq!(broker.payloads(first), ["1", "2"]);
    assert_eq!(broker.counters().queued, 3);
    let (second, _) = broker.join(connect("sub").resume().expiry(100));
    let again = broker.messages(second);
    assert!(again[0].delivery.dup() && again[1].delivery.dup() && !again[2].delivery.dup());
    let payloads: Vec<_> = again.iter().map(|message| message.payload.clone()).collect();
    assert_eq!(payloads, ["1", "2", "3", "4", "5"]);
    assert_eq!(broker.counters().queued, 0);
}

#[test]
fn an_exchange_of_qos_2_goes_on_after_takeover_where_it_was() {
    let mut broker = Broker::new();
    let (first, _) = broker.join(connect("sub").expiry(100));
    broker.send(first, subscribe(&["a"], QoS::ExactlyOnce));
    broker.receive(first);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::ExactlyOnce, 1)));
    let message = &broker.messages(first)[0];
    broker.send(first, Packet::PubRec(ack(message.packet_identifier())));
    assert_eq!(broker.types(first), [dunlin_protocol::codec::PacketType::PubRel]);
    let (second, _) = broker.join(connect("sub").resume().expiry(100));
    let Packet::PubRel(release) = broker.receive_one(second) else { panic!("no PUBREL") };
    broker.send(second, Packet::PubComp(ack(release.packet_identifier)));
    broker.cut(second);
    let (third, _) = broker.join(connect("sub").resume().expiry(100));
    assert!(broker.receive(third).is_empty(), "the exchange is over");
}

#[test]
fn clean_start_ends_the_session_and_what_it_had() {
    let mut broker = Broker::new();
    let (first, _) = broker.join(connect("sub").expiry(100));
    broker.send(first, subscribe(&["a", "b"], QoS::AtLeastOnce));
    broker.cut(first);
    let publisher = broker.client("pub");
    broker.send(publisher, Packet::Publish(publish("a", "x", QoS::AtLeastOnce, 1)));
    assert_eq!(broker.counters().queued, 1);
    let (second, session_present) = broker.join(connect("sub").expiry(100));
    assert!(!session_present);
    assert!(broker.receive(second).is_empty());
    let counters = broker.counters();
    assert_eq!((counters.queued, counters.queued_bytes, counters.subscriptions), (0, 0, 0));
    assert_eq!(counters.dropped_for(DropCause::SessionEnded), 1);
}

#[test]
fn a_session_lives_as_long_as_its_session_expiry_interval() {
    let mut broker = Broker::new();
    for (secs, alive_after, gone_after) in
        [(10, Some(9), Some(11)), (u32::MAX, Some(1 << 33), None)]
    {
        let (link, _) = broker.join(connect("one").expiry(secs));
        broker.cut(link);
        if let Some(alive_after) = alive_after {
            broker.advance_secs(alive_after);
            let (link, session_present) = broker.join(connect("one").resume().expiry(secs));
            assert!(session_present, "{secs} s, after {alive_after}");
            broker.cut(link);
        }
        if let Some(gone_after) = gone_after {
            broker.advance_secs(gone_after);
            assert_eq!(broker.counters().sessions, 0);
            assert_eq!(broker.counters().sessions_expired, 1);
        }
    }
}

#[test]
fn a_clean_session_of_mqtt_3_ends_with_its_connection_and_another_never_does() {
    let mut broker = Broker::new();
    let (link, _) = broker.join(connect_v311("clean", true));
    broker.cut(link);
    let (link, _) = broker.join(connect_v311("kept", false));
    broker.cut(link);
    broker.advance_secs(1 << 32);
    assert!(broker.join(connect_v311("kept", false)).1);
    assert!(!broker.join(connect_v311("clean", false)).1);
}

#[test]
fn disconnect_changes_the_session_expiry_interval() {
    let mut broker = Broker::new();
    let (link, _) = broker.join(connect("one").expiry(1000));
    broker.send(link, disconnect_with_expiry(5));
    assert!(broker.is_closed(link));
    broker.advance_secs(6);
    assert_eq!(broker.counters().sessions, 0);
    let (link, _) = broker.join(connect("two").expiry(1000));
    broker.send(link, disconnect_with_expiry(0));
    assert_eq!(broker.counters().sessions, 0);
    let link = broker.client("three");
    broker.send(link, disconnect_with_expiry(5));
    assert!(matches!(
        broker.receive_one(link),
        Packet::Disconnect(packet) if packet.reason_code == ReasonCode::ProtocolError
    ));
}

#[test]
fn the_broker_shortens_a_session_expiry_interval_and_says_so() {
    let mut broker = Broker::with(1, Limits { session_expiry_max_secs: 60, ..quiet() });
    let link = broker.connect(connect("one").expiry(3600));
    let Packet::ConnAck(connack) = broker.receive_one(link) else { panic!("no CONNACK") };
    assert_eq!(connack.properties.session_expiry_interval, Some(60));
    broker.send(link, disconnect_with_expiry(3600));
    broker.advance_secs(61);
    assert_eq!(broker.counters().sessions, 0);
}

#[test]
fn sessions_are_limited_and_known_ones_come_back() {
    let mut broker = Broker::with(1, Limits { sessions_max: 2, ..quiet() });
    broker.join(connect("one").expiry(10));
    let (two, _) = broker.join(connect("two").expiry(10));
    broker.cut(two);
    for at in 0..20 {
        let link = broker.connect(connect(&format!("more-{at}")));
        assert_eq!(connack_code(&mut broker, link), ReasonCode::QuotaExceeded);
        assert!(broker.is_closed(link));
    }
    assert!(broker.join(connect("two").resume()).1);
    let counters = broker.counters();
    assert_eq!((counters.sessions, counters.connections), (2, 2));
}

#[test]
fn a_client_that_has_a_session_begins_anew_in_a_broker_that_recovered_too_many() {
    // Each of two workers takes half of them, rounded up; the one that comes after has them all.
    let mut broker = Broker::build(2, Limits { sessions_max: 3, ..quiet() }, true);
    for at in 0..100 {
        broker.connect(connect(&format!("client-{at}")).expiry(600));
    }
    assert_eq!(broker.counters().sessions, 4);
    let (_, len) = broker.log_len();
    broker.crash(len, 1, Duration::ZERO);
    let link = broker.connect(connect("stranger"));
    assert_eq!(connack_code(&mut broker, link), ReasonCode::QuotaExceeded);
    assert!(!broker.join(connect("client-0").expiry(600)).1, "it has ended, and the next begun");
    assert!(!broker.join(connect("client-0").expiry(600)).1, "it takes itself over");
    assert_eq!(broker.counters().sessions, 4);
}

#[test]
fn enhanced_authentication_is_refused() {
    let mut broker = Broker::new();
    let mut packet = connect("one");
    packet.properties.authentication_method = Some("SCRAM".parse().expect("text"));
    let link = broker.connect(packet);
    assert_eq!(connack_code(&mut broker, link), ReasonCode::BadAuthenticationMethod);
    assert_eq!(broker.counters().sessions, 0);
}

#[test]
fn a_connection_that_says_nothing_is_closed_in_time() {
    let mut broker = Broker::new();
    let silent = broker.open();
    let half = broker.open();
    broker.send_bytes(half, &[0x10, 40, 0, 4, b'M']);
    broker.advance_secs(9);
    assert!(!broker.is_closed(silent));
    broker.advance_secs(2);
    assert!(broker.is_closed(silent) && broker.is_closed(half));
    assert_eq!(broker.counters().connections, 0);
}

#[test]
fn keep_alive_ends_a_silent_client_after_one_and_a_half_times() {
    let mut broker = Broker::new();
    let (link, _) = broker.join(connect("one").keep_alive(10));
    broker.advance_secs(14);
    broker.send(link, Packet::PingReq);
    broker.advance_secs(14);
    assert!(!broker.is_closed(link));
    broker.receive(link);
    broker.advance_secs(2);
    assert!(broker.is_closed(link));
    assert!(matches!(
        broker.receive_one(link),
        Packet::Disconnect(packet) if packet.reason_code == ReasonCode::KeepAliveTimeout
    ));
}

#[test]
fn a_client_whose_limit_has_no_room_for_connack_is_gone_at_once() {
    for workers in [1, 2] {
        for accepting in 0..usize::from(workers) {
            let mut broker = Broker::with(workers, quiet());
            broker.accepting = accepting;
            let mut packet = connect("tiny");
            packet.properties.maximum_packet_size = Some(3);
            let link = broker.connect(packet);
            assert!(broker.is_closed(link), "accepted by {accepting} of {workers}");
            assert_eq!(broker.counters().clients_connected, 0);
        }
    }
}

#[test]
fn stop_tells_everybody_and_takes_nobody() {
    let mut broker = Broker::with(2, quiet());
    let links: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| broker.join(connect(name).expiry(9).will(will("w", "gone", 0))).0)
        .into();
    let undecided = broker.open();
    let watcher = broker.client("watcher");
    broker.send(watcher, subscribe(&["w"], QoS::AtMostOnce));
    broker.receive(watcher);
    let now = broker.now;
    for worker in 0..2 {
        broker.core(worker).stop(now);
    }
    broker.run();
    for link in links.into_iter().chain([watcher]) {
        assert!(matches!(
            broker.receive_one(link),
            Packet::Disconnect(packet) if packet.reason_code == ReasonCode::ServerShuttingDown
        ));
        assert!(broker.is_closed(link));
    }
    assert!(broker.is_closed(undecided));
    let late = broker.connect(connect("late"));
    assert_eq!(connack_code(&mut broker, late), ReasonCode::ServerUnavailable);
    assert_eq!((broker.counters().clients_connected, broker.counters().connections), (0, 0));
}

#[test]
fn late_calls_for_a_released_connection_do_nothing() {
    let mut broker = Broker::new();
    let link = broker.client("one");
    let key = broker.key(link).expect("open");
    broker.cut(link);
    let now = broker.now;
    let core = broker.core(0);
    assert_eq!(
        core.handle_input(now, key, &mut BytesMut::from(&[0xC0, 0][..])),
        InputState::Closed
    );
    core.handle_network_closed(now, key);
    core.handle_written(now, key, 0);
    core.release(key);
    assert!(core.transmit(key).is_none() && core.end(key).is_none());
    assert_eq!(broker.counters().connections, 0);
}

#[test]
fn timers_do_not_pile_up_for_clients_that_come_and_go() {
    let mut broker = Broker::new();
    for at in 0..1000 {
        let mut packet = connect(&format!("client-{}", at % 10)).expiry(1 << 30).keep_alive(60_000);
        packet.clean_start = at % 3 == 0;
        let packet = packet.will(will("w", "x", 1 << 29));
        let (link, _) = broker.join(packet);
        broker.cut(link);
        broker.advance(Duration::from_secs(30));
    }
    let timers = broker.core(0).census().timers;
    assert!(timers < 200, "{timers} timers for 10 sessions");
}
