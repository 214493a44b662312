//! However a stream is cut into parts, it means the same.

use crate::helpers::{ack, publish, with_alias};
use dunlin_protocol::codec::{
    Packet, ProtocolVersion, Subscribe, Subscription, SubscriptionOptions, TopicFilter, TransmitBuf,
};
use dunlin_protocol::{ServerConfig, Session};
use dunlin_testkit::{Random, Scripted, connect, for_each_seed};

/// What a Server's connection makes of this stream in these parts: its events and its output.
fn outcome(version: ProtocolVersion, parts: &[&[u8]]) -> (Vec<String>, Vec<u8>, bool) {
    let mut server = Scripted::accepted(connect(version), ServerConfig::default(), Session::new());
    server.end.acknowledges = true;
    for part in parts {
        server.send_bytes(part);
    }
    let events = server.end.events.iter().map(|event| format!("{event:?}")).collect();
    let is_over = dunlin_testkit::Connection::end(&server.end.connection).is_some();
    (events, server.end.take_output(), is_over)
}

fn stream(random: &mut Random, version: ProtocolVersion) -> Vec<u8> {
    let mut out = TransmitBuf::new();
    for value in 1..=random.between(1..=12) as u16 {
        let packet = match random.below(7) {
            0 => Packet::PingReq,
            1 => publish(0, value, false),
            2 => publish(1, value, false),
            3 => publish(2, value, false),
            4 => Packet::PubRel(ack(value)),
            5 if version.is_v5() => with_alias(Some("some/topic/name"), 1),
            _ => Packet::Subscribe(Box::new(Subscribe {
                packet_identifier: crate::helpers::id(value),
                properties: Default::default(),
                subscriptions: vec![Subscription {
                    topic_filter: TopicFilter::from_static("a/+"),
                    options: SubscriptionOptions::default(),
                }],
            })),
        };
        packet.encode(version, u32::MAX, &mut out).unwrap();
    }
    let mut pieces = [&[][..]; 2];
    assert_eq!(out.pieces(&mut pieces), 1, "nothing here is large");
    let mut bytes = pieces[0].to_vec();
    if random.chance(20) {
        // Something that can't be read, in the middle of what can.
        let at = random.index(bytes.len());
        bytes[at] ^= 1 << random.below(8);
    }
    bytes
}

#[test]
fn any_cut_of_a_stream_gives_the_same_events() {
    for_each_seed(300, |seed| {
        let mut random = Random::new(seed);
        let version =
            *random.pick(&[ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5]);
        let bytes = stream(&mut random, version);
        let whole = outcome(version, &[&bytes]);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(outcome(version, &single), whole);
        let mut parts = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let len = random.between(1..=rest.len() as u64) as usize;
            let (part, left) = rest.split_at(len);
            parts.push(part);
            rest = left;
        }
        assert_eq!(outcome(version, &parts), whole);
    });
}
