//! What is counted: messages through a core, packets through the codec, look-ups in the indexes.

use std::hint::black_box;

use bytes::BytesMut;
use dunlin_protocol::codec::{Decoder, ProtocolVersion, TransmitBuf};
use dunlin_topics::MatchCache;

use super::counted_instructions;
use crate::micro::bed::Bed;
use crate::micro::filters::{Mix, Options, count, topic_names};
use crate::micro::packets::{Sample, connect, push_subscription, qos_of, sample, subscribe};
use crate::micro::rounds::Rounds;
use crate::traffic::{Shape, Traffic};

/// One thing that is counted.
pub struct Scenario {
    /// Its name in the baseline.
    pub name: &'static str,
    run: Box<dyn Fn() -> u64>,
}

impl Scenario {
    fn new(name: &'static str, run: impl Fn() -> u64 + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Prepares everything, warms up, and does what is counted; gives how many operations that
    /// were.
    pub fn run(&self) -> u64 {
        (self.run)()
    }
}

const V3: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5;

/// Rounds before those that are counted.
const WARM_UP: usize = 2;
/// The same where many names have to be remembered first: a cache of matches without hits tries few.
const WARM_UP_NAMES: usize = 30;
/// Rounds that are counted.
const ROUNDS: u64 = 2;
/// Packets that are taken off one buffer, or put into one.
const PACKETS: u64 = 500;
/// Filters in the index.
const FILTERS: usize = 10_000;

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    let mut all = messages();
    all.push(Scenario::new("core/connect-subscribe", connects));
    all.extend(codec());
    all.push(Scenario::new("topics/match-cold", match_cold));
    all.push(Scenario::new("topics/match-hot", match_hot));
    all.push(Scenario::new("topics/remove-insert", remove_insert));
    all
}

/// Messages through the core, with the numbers of clients that `compare` uses. An operation is a
/// delivery to a subscriber, acknowledged by it and to its publisher.
fn messages() -> Vec<Scenario> {
    let of = |name, shape, qos, messages_each| {
        let traffic = Traffic { qos, ..Traffic::new(shape) };
        Scenario::new(name, move || deliver(&traffic, V3, messages_each))
    };
    let fresh = Traffic { is_fresh: true, ..Traffic::new(Shape::Wildcards) };
    let hot = Traffic { topics: 10, ..Traffic::new(Shape::Wildcards) };
    let kibibyte = Traffic { payload_len: 1024, ..Traffic::new(Shape::FanOut) };
    let v5 = Traffic { qos: 1, ..Traffic::new(Shape::Pairs) };
    vec![
        of("core/fan-in-qos0", Shape::FanIn, 0, 10),
        of("core/fan-in-qos1", Shape::FanIn, 1, 10),
        of("core/fan-in-qos2", Shape::FanIn, 2, 10),
        of("core/fan-out-500-qos0", Shape::FanOut, 0, 4),
        of("core/fan-out-500-qos1", Shape::FanOut, 1, 4),
        of("core/fan-out-500-qos2", Shape::FanOut, 2, 4),
        Scenario::new("core/fan-out-500-qos0-1024", move || deliver(&kibibyte, V3, 4)),
        of("core/pairs-qos0", Shape::Pairs, 0, 10),
        of("core/pairs-qos1", Shape::Pairs, 1, 10),
        of("core/pairs-qos2", Shape::Pairs, 2, 10),
        Scenario::new("core/pairs-qos1-v5", move || deliver(&v5, V5, 10)),
        of("core/shared-qos0", Shape::Shared, 0, 10),
        of("core/shared-qos1", Shape::Shared, 1, 10),
        Scenario::new("core/wildcards-fresh", move || deliver(&fresh, V3, 10)),
        Scenario::new("core/wildcards-hot", move || deliver(&hot, V3, 10)),
    ]
}

fn deliver(traffic: &Traffic, version: ProtocolVersion, messages_each: u16) -> u64 {
    let mut rounds = Rounds::new(traffic, version, messages_each);
    let payload = vec![b'x'; traffic.payload_len];
    let warm_up = if traffic.topics > 1 { WARM_UP_NAMES } else { WARM_UP };
    for _ in 0..warm_up {
        rounds.run(&payload, &mut Bed::turn);
    }
    for _ in 0..ROUNDS {
        rounds.run(&payload, &mut |bed| counted_instructions(&mut || bed.turn()));
    }
    rounds.deliveries() * ROUNDS
}

/// CONNECT and SUBSCRIBE of new Clients, in one turn.
fn connects() -> u64 {
    const CLIENTS: u64 = 200;
    let mut bed = Bed::new();
    for number in 0..2 * CLIENTS {
        let client = bed.open(V3);
        bed.send(client, &connect(&format!("client-{number}"), V3));
        let mut packet = subscribe();
        push_subscription(&mut packet, &format!("lamps/{number}/set"), qos_of(1));
        bed.send(client, &dunlin_protocol::codec::Packet::Subscribe(packet));
        if number + 1 == CLIENTS {
            bed.turn();
        }
    }
    counted_instructions(&mut || bed.turn());
    CLIENTS
}

fn codec() -> Vec<Scenario> {
    let samples = [
        ("codec/decode-publish-64", "codec/encode-publish-64", V3, "publish-64"),
        ("codec/decode-publish-64-v5", "codec/encode-publish-64-v5", V5, "publish-64"),
        ("codec/decode-publish-1024", "codec/encode-publish-1024", V3, "publish-1024"),
        ("codec/decode-properties", "codec/encode-properties", V5, "publish-64-properties"),
        ("codec/decode-puback", "codec/encode-puback", V3, "puback"),
    ];
    let scenarios = samples.map(|(decoding, encoding, version, name)| {
        [
            Scenario::new(decoding, move || decode(version, &sample(version, name))),
            Scenario::new(encoding, move || encode(version, &sample(version, name))),
        ]
    });
    scenarios.into_iter().flatten().collect()
}

fn decode(version: ProtocolVersion, sample: &Sample) -> u64 {
    let decoder = Decoder::new(version, u32::MAX);
    let decode_all = |input: &mut BytesMut| {
        let mut taken = 0;
        while let Some(packet) = decoder.decode(input).expect("a legal packet") {
            black_box(&packet);
            taken += 1;
        }
        taken
    };
    let stream = sample.bytes.repeat(PACKETS as usize);
    decode_all(&mut BytesMut::from(&stream[..]));
    let mut input = BytesMut::from(&stream[..]);
    let mut taken = 0;
    counted_instructions(&mut || taken = decode_all(&mut input));
    taken
}

fn encode(version: ProtocolVersion, sample: &Sample) -> u64 {
    let mut out = TransmitBuf::new();
    let mut encode_all = || {
        for _ in 0..PACKETS {
            let packet = black_box(&sample.packet);
            packet.encode(version, u32::MAX, &mut out).expect("a packet that can be said");
        }
        out.advance(out.len());
    };
    encode_all();
    counted_instructions(&mut encode_all);
    PACKETS
}

fn match_cold() -> u64 {
    let index = Mix::Mixed.index(FILTERS);
    let names = topic_names(FILTERS);
    let (warm_up, counted) = names.split_at(FILTERS / 2);
    let sum = |names: &[String]| names.iter().map(|name| count(&index, name)).sum::<u64>();
    black_box(sum(warm_up));
    counted_instructions(&mut || {
        black_box(sum(counted));
    });
    counted.len() as u64
}

fn match_hot() -> u64 {
    let index = Mix::Mixed.index(FILTERS);
    let names = &topic_names(FILTERS)[..1_000];
    let mut cache = MatchCache::new(1, 10_000, 16 << 20);
    let mut look_up = || {
        for name in names {
            black_box(cache.recipients(&index, name).subscribers().len());
        }
    };
    (0..WARM_UP_NAMES).for_each(|_| look_up());
    counted_instructions(&mut look_up);
    names.len() as u64
}

fn remove_insert() -> u64 {
    let mut index = Mix::Mixed.index(FILTERS);
    let filters: Vec<_> = (0..1_000).map(|number| Mix::Mixed.topic_filter(number * 7)).collect();
    let mut change = || {
        for (number, topic_filter) in filters.iter().enumerate() {
            let key = number as u32 * 7;
            let value = index.remove(topic_filter, key);
            index.insert(topic_filter, key, value.unwrap_or(Options(0)));
        }
    };
    change();
    counted_instructions(&mut change);
    filters.len() as u64
}
