//! Nanoseconds to decode and to encode one packet: the usual ones, and a fan-out copy.
//!
//! Decoding takes a thousand packets off one buffer, as a busy connection does, so that the cost
//! of the buffer itself is spread as it is there.

use bytes::{Bytes, BytesMut};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dunlin_codec::*;
use std::hint::black_box;

const PACKETS: usize = 1000;

fn identifier() -> PacketIdentifier {
    PacketIdentifier::new(4711).expect("not zero")
}

fn publish(delivery: Delivery) -> Packet {
    Packet::Publish(Publish {
        delivery,
        retain: false,
        topic: PublishTopic::Name(TopicName::from_static("sensors/hall-7/temperature")),
        message_expiry_interval: None,
        subscription_identifiers: vec![],
        properties: None,
        payload: Bytes::from(vec![b'x'; 64]),
    })
}

fn packets() -> Vec<(&'static str, ProtocolVersion, Packet)> {
    let v5 = ProtocolVersion::V5;
    let q1 = || Delivery::AtLeastOnce { packet_identifier: identifier(), dup: false };
    let mut with_properties = publish(q1());
    if let Packet::Publish(publish) = &mut with_properties {
        publish.message_expiry_interval = Some(60);
        publish.topic = PublishTopic::Alias(TopicAlias::new(3).expect("not zero"));
    }
    let subscription = |filter| Subscription {
        topic_filter: TopicFilter::from_static(filter),
        options: SubscriptionOptions::default(),
    };
    vec![
        ("publish_q0_v3", ProtocolVersion::V3_1_1, publish(Delivery::AtMostOnce)),
        ("publish_q0", v5, publish(Delivery::AtMostOnce)),
        ("publish_q1", v5, publish(q1())),
        ("publish_q1_alias_expiry", v5, with_properties),
        ("puback", v5, Packet::PubAck(Ack::new(identifier(), ReasonCode::Success))),
        (
            "subscribe",
            v5,
            Packet::Subscribe(Box::new(Subscribe {
                packet_identifier: identifier(),
                properties: SubscribeProperties::default(),
                subscriptions: vec![subscription("sensors/+/temperature"), subscription("a/#")],
            })),
        ),
        (
            "connect",
            v5,
            Packet::Connect(Box::new(Connect {
                protocol_version: v5,
                bridge: false,
                clean_start: true,
                keep_alive: 60,
                client_identifier: Text::from_static("lamp-7"),
                will: None,
                user_name: Some(Text::from_static("user")),
                password: Some(Bytes::from_static(b"password")),
                properties: ConnectProperties {
                    session_expiry_interval: Some(3600),
                    receive_maximum: Some(100),
                    ..ConnectProperties::default()
                },
            })),
        ),
    ]
}

fn stream(version: ProtocolVersion, packet: &Packet) -> BytesMut {
    let mut out = TransmitBuf::new();
    for _ in 0..PACKETS {
        packet.encode(version, u32::MAX, &mut out).expect("the packet can be said");
    }
    let mut pieces = [&[][..]];
    assert_eq!(out.pieces(&mut pieces), 1);
    BytesMut::from(pieces[0])
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for (name, version, packet) in packets() {
        let stream = stream(version, &packet);
        let decoder = Decoder::new(version, 1 << 20);
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                || stream.clone(),
                |input| {
                    while let Some(packet) = decoder.decode(input).expect("legal") {
                        black_box(&packet);
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for (name, version, packet) in packets() {
        let mut out = TransmitBuf::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for _ in 0..PACKETS {
                    let packet = black_box(&packet);
                    packet.encode(version, 1 << 20, &mut out).expect("the packet can be said");
                }
                out.advance(out.len());
            });
        });
    }
    fan_out(&mut group);
}

/// A copy of a PUBLISH that was encoded once.
fn fan_out(group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>) {
    let Packet::Publish(publish) =
        publish(Delivery::AtLeastOnce { packet_identifier: identifier(), dup: false })
    else {
        unreachable!("made as a PUBLISH")
    };
    let mut encoded = EncodedPublish::new();
    encoded.set(&publish.parts(), ProtocolVersion::V5).expect("the packet can be said");
    let mut out = TransmitBuf::new();
    group.bench_function("publish_q1_fan_out_copy", |bencher| {
        bencher.iter(|| {
            for _ in 0..PACKETS {
                black_box(&encoded)
                    .append(Some(black_box(identifier())), 1 << 20, &mut out)
                    .expect("small enough");
            }
            out.advance(out.len());
        });
    });
    group.bench_function("publish_q1_fan_out_set", |bencher| {
        bencher.iter(|| {
            for _ in 0..PACKETS {
                encoded.set(black_box(&publish.parts()), ProtocolVersion::V5).expect("sayable");
            }
        });
    });
}

/// What it costs to look at a Topic Name as a string.
fn text(criterion: &mut Criterion) {
    let name = TopicName::from_static("sensors/hall-7/temperature");
    criterion.bench_function("topic_name_as_str", |bencher| {
        bencher.iter(|| black_box(&name).as_str().len());
    });
}

criterion_group!(benches, decode, encode, text);
criterion_main!(benches);
