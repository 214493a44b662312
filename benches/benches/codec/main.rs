//! Decoding and encoding each Control Packet of MQTT 3.1.1 and 5.0, for each packet; with the feature
//! `peers` beside the codecs of rumqttc and mqtt-protocol-core, on the very same bytes.
//!
//! Many packets are taken off one buffer, as on a busy connection, so that the cost of the buffer
//! itself is spread as it is there.

#[cfg(feature = "peers")]
mod peers;

use std::hint::black_box;

use bytes::BytesMut;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};
use dunlin_benches::micro::packets::{Sample, identifier, sample, samples};
use dunlin_protocol::codec::{Decoder, EncodedPublish, Packet, ProtocolVersion, TransmitBuf};

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V3_1_1, ProtocolVersion::V5];

/// Packets in one buffer, but no more bytes than these.
const PACKETS_MAX: usize = 1_000;
const BYTES_MAX: usize = 1 << 20;

fn packets_of(sample: &Sample) -> usize {
    PACKETS_MAX.min(BYTES_MAX / sample.bytes.len())
}

fn decode(criterion: &mut Criterion) {
    for version in VERSIONS {
        for sample in samples(version) {
            let name = format!("decode/{version}/{}", sample.name);
            let mut group = criterion.benchmark_group(name);
            let packets = packets_of(&sample);
            group.throughput(Throughput::Elements(packets as u64));
            let stream = sample.bytes.repeat(packets);
            let decoder = Decoder::new(version, u32::MAX);
            group.bench_function("dunlin", |bencher| {
                bencher.iter_batched_ref(
                    || BytesMut::from(&stream[..]),
                    |input| {
                        while let Some(packet) = decoder.decode(input).expect("legal") {
                            black_box(&packet);
                        }
                    },
                    BatchSize::LargeInput,
                );
            });
            #[cfg(feature = "peers")]
            peers::decode(&mut group, version, &sample, &stream);
            group.finish();
        }
    }
}

fn encode(criterion: &mut Criterion) {
    for version in VERSIONS {
        for sample in samples(version) {
            let name = format!("encode/{version}/{}", sample.name);
            let mut group = criterion.benchmark_group(name);
            let packets = packets_of(&sample);
            group.throughput(Throughput::Elements(packets as u64));
            let mut out = TransmitBuf::new();
            group.bench_function("dunlin", |bencher| {
                bencher.iter(|| {
                    for _ in 0..packets {
                        let packet = black_box(&sample.packet);
                        packet.encode(version, u32::MAX, &mut out).expect("can be said");
                    }
                    out.advance(out.len());
                });
            });
            #[cfg(feature = "peers")]
            peers::encode(&mut group, version, &sample, packets);
            group.finish();
        }
    }
}

/// A PUBLISH that is encoded once for many receivers: each copy, and the encoding.
fn fan_out(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    group.throughput(Throughput::Elements(PACKETS_MAX as u64));
    for name in ["publish-64-qos1", "publish-1024"] {
        let sample = sample(ProtocolVersion::V5, name);
        let Packet::Publish(publish) = &sample.packet else { continue };
        copies(&mut group, name, publish);
    }
    group.finish();
}

fn copies(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    publish: &dunlin_protocol::codec::Publish,
) {
    let mut encoded = EncodedPublish::new();
    encoded.set(&publish.parts(), ProtocolVersion::V5).expect("can be said");
    let mut out = TransmitBuf::new();
    group.bench_function(format!("copy/{name}"), |bencher| {
        bencher.iter(|| {
            for _ in 0..PACKETS_MAX {
                let identifier = Some(black_box(identifier(7)));
                black_box(&encoded).append(identifier, u32::MAX, &mut out).expect("small enough");
            }
            out.advance(out.len());
        });
    });
    group.bench_function(format!("set/{name}"), |bencher| {
        bencher.iter(|| {
            for _ in 0..PACKETS_MAX {
                encoded.set(black_box(&publish.parts()), ProtocolVersion::V5).expect("can be said");
            }
        });
    });
}

criterion_group!(benches, decode, encode, fan_out);
criterion_main!(benches);
