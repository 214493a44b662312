//! What connections and sessions hold while they are quiet: nothing that a burst has needed.

use super::*;
use crate::Limits;
use crate::core::session::Session;
use crate::core::{Core, CoreConfig, InputState, RetainedStore, WorkerNumber};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{Packet, ProtocolVersion, QoS};
use std::sync::Arc;

#[test]
fn a_quiet_connection_holds_no_buffer() {
    let now = Instant::ZERO;
    let mut core = Core::new(
        now,
        CoreConfig {
            worker: WorkerNumber(0),
            workers: 1,
            limits: Arc::default(),
            seed: 1,
            retained: RetainedStore::new(),
            stores: true,
            queue_head: crate::core::QueueHead::default(),
            durability: Arc::default(),
            login_timeout: None,
            anonymous_may_claim: true,
            rights: None,
            version: "test",
        },
    );
    let key = core.open(now, crate::core::Durability::Fsync);
    let packets = [
        Packet::Connect(Box::new(connect("quiet"))),
        subscribe(&["a"], QoS::AtMostOnce),
        Packet::Publish(publish("a", &"x".repeat(3000), QoS::AtLeastOnce, 1)),
    ];
    let mut input = bytes::BytesMut::new();
    for packet in &packets {
        input.extend_from_slice(&bytes_of(packet, ProtocolVersion::V5));
    }
    assert_eq!(core.handle_input(now, key, &mut input), InputState::NeedInput);
    while core.poll_output().is_some() {}
    core.handle_stored(now, crate::core::Durability::Fsync, crate::core::RecordNumber(u64::MAX));
    let mut touched = Vec::new();
    core.take_touched(&mut touched);
    assert_eq!(touched, [key]);
    let out = core.transmit(key).expect("open");
    assert!(out.len() > 3000 && out.capacity() > 3000);
    let written = out.len();
    out.advance(written);
    core.handle_written(now, key, written);
    assert_eq!(core.transmit(key).expect("open").capacity(), 0);
    let session = core.endpoints.sessions.get(0).expect("one session");
    assert!(session.rare.is_none(), "what its retained cursor needed is gone as well");
}

#[test]
fn a_session_that_is_away_holds_only_what_it_has() {
    assert!(size_of::<Session>() <= 176, "{} bytes for each of a million", size_of::<Session>());
    let mut broker = Broker::with(1, Limits::default());
    let away = |broker: &mut Broker, messages: &[Packet]| {
        let (link, _) = broker.join(connect("away").resume().expiry(u32::MAX));
        messages.iter().for_each(|packet| broker.send(link, packet.clone()));
        broker.cut(link);
        let session = broker.core(0).endpoints.sessions.get(0).expect("one session");
        (session.exchanges.is_some(), session.rare.is_some(), session.queue.places())
    };
    let nothing = (false, false, 0);
    assert_eq!(away(&mut broker, &[subscribe(&["a"], QoS::AtMostOnce)]), nothing);
    // A QoS 2 message that is not released must be known when the Client is back.
    let message = Packet::Publish(publish("b", "", QoS::ExactlyOnce, 1));
    assert_eq!(away(&mut broker, &[message]), (true, false, 0));
    assert_eq!(away(&mut broker, &[]), (true, false, 0));
    assert_eq!(away(&mut broker, &[Packet::PubRel(ack(identifier(1)))]), nothing);
}

#[test]
fn packet_identifiers_go_on_where_they_were_when_nothing_is_under_way() {
    let mut broker = Broker::with(1, Limits::default());
    let publisher = broker.client("publisher");
    for expected in 1..=3 {
        let (link, _) = broker.join(connect("away").resume().expiry(u32::MAX));
        broker.send(link, subscribe(&["a"], QoS::AtLeastOnce));
        broker.receive(link);
        broker.send(publisher, Packet::Publish(publish("a", "", QoS::AtLeastOnce, 1)));
        let messages = broker.receive(link).messages();
        assert_eq!(messages[0].packet_identifier(), identifier(expected));
        broker.send(link, Packet::PubAck(ack(identifier(expected))));
        broker.cut(link);
    }
}
