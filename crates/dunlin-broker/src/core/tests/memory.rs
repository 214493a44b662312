//! What a connection holds while it is quiet: nothing that a burst has needed.

use super::*;
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
