//! The codecs of others on the same bytes, each as its own documentation uses it.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup};
use dunlin_benches::micro::packets::Sample;
use dunlin_protocol::codec::ProtocolVersion;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{
    PacketBuildResult, PacketBuilder, PacketData, RawPacket,
};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, v3_1_1, v5_0};
use rumqttc::mqttbytes::v4;
use rumqttc::v5::mqttbytes::v5;

/// Decodes the stream with each of them that can read the packet at all.
pub(super) fn decode(
    group: &mut BenchmarkGroup<'_, WallTime>,
    version: ProtocolVersion,
    sample: &Sample,
    stream: &[u8],
) {
    if rumqttc_of(version, sample).is_some() {
        group.bench_function("rumqttc", |bencher| {
            bencher.iter_batched_ref(
                || BytesMut::from(stream),
                |input| {
                    while !input.is_empty() {
                        read_rumqttc(version, input);
                    }
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.bench_function("mqtt-protocol-core", |bencher| {
        let mut builder = PacketBuilder::new();
        bencher.iter(|| {
            let mut input = Cursor::new(stream);
            while (input.position() as usize) < stream.len() {
                black_box(&read_core(version, &mut builder, &mut input));
            }
        });
    });
}

/// Encodes the packet as often with each of them.
pub(super) fn encode(
    group: &mut BenchmarkGroup<'_, WallTime>,
    version: ProtocolVersion,
    sample: &Sample,
    packets: usize,
) {
    if let Some(packet) = rumqttc_of(version, sample) {
        let mut out = BytesMut::new();
        group.bench_function("rumqttc", |bencher| {
            bencher.iter(|| {
                for _ in 0..packets {
                    black_box(&packet).write(&mut out);
                }
                out.clear();
            });
        });
    }
    let mut builder = PacketBuilder::new();
    let packet = read_core(version, &mut builder, &mut Cursor::new(&sample.bytes));
    assert_eq!(packet.to_continuous_buffer(), sample.bytes, "the same packet");
    group.bench_function("mqtt-protocol-core", |bencher| {
        bencher.iter(|| {
            for _ in 0..packets {
                black_box(black_box(&packet).to_continuous_buffer());
            }
        });
    });
}

#[derive(Debug)]
enum Rumqttc {
    V4(Box<v4::Packet>),
    V5(Box<v5::Packet>),
}

impl Rumqttc {
    fn write(&self, out: &mut BytesMut) {
        match self {
            Self::V4(packet) => packet.write(out, usize::MAX).map(drop).expect("can be written"),
            Self::V5(packet) => packet.write(out, None).map(drop).expect("can be written"),
        }
    }
}

/// The packet as rumqttc has it; `None` where it can't read it, as AUTH and a short DISCONNECT of
/// MQTT 5.0.
fn rumqttc_of(version: ProtocolVersion, sample: &Sample) -> Option<Rumqttc> {
    let mut input = BytesMut::from(&sample.bytes[..]);
    match version.is_v5() {
        true => v5::Packet::read(&mut input, None).ok().map(Box::new).map(Rumqttc::V5),
        false => v4::Packet::read(&mut input, usize::MAX).ok().map(Box::new).map(Rumqttc::V4),
    }
}

fn read_rumqttc(version: ProtocolVersion, input: &mut BytesMut) {
    if version.is_v5() {
        black_box(&v5::Packet::read(input, None).expect("a legal packet"));
    } else {
        black_box(&v4::Packet::read(input, usize::MAX).expect("a legal packet"));
    }
}

fn read_core(
    version: ProtocolVersion,
    builder: &mut PacketBuilder,
    input: &mut Cursor<&[u8]>,
) -> Packet {
    let PacketBuildResult::Complete(raw) = builder.feed(input) else {
        panic!("a whole packet is there");
    };
    let packet = if version.is_v5() { parse_v5(&raw) } else { parse_v3(&raw) };
    packet.expect("a legal packet")
}

type Parsed = Result<Packet, mqtt_protocol_core::mqtt::result_code::MqttError>;

/// Parses what its type says, with the types of one version.
macro_rules! parse {
    ($module:ident, $raw:ident, $($number:literal => $kind:ident,)+) => {
        match ($raw.packet_type(), &$raw.data) {
            (3, PacketData::Publish(data)) => {
                $module::Publish::parse($raw.flags(), data.clone()).map(|(it, _)| it.into())
            }
            $(($number, _) => $module::$kind::parse($raw.data_as_slice()).map(|(it, _)| it.into()),)+
            (number, _) => panic!("no packet of type {number} is measured"),
        }
    };
}

fn parse_v3(raw: &RawPacket) -> Parsed {
    parse!(v3_1_1, raw,
        1 => Connect, 2 => Connack, 4 => Puback, 5 => Pubrec, 6 => Pubrel, 7 => Pubcomp,
        8 => Subscribe, 9 => Suback, 10 => Unsubscribe, 11 => Unsuback, 12 => Pingreq,
        13 => Pingresp, 14 => Disconnect,
    )
}

fn parse_v5(raw: &RawPacket) -> Parsed {
    parse!(v5_0, raw,
        1 => Connect, 2 => Connack, 4 => Puback, 5 => Pubrec, 6 => Pubrel, 7 => Pubcomp,
        8 => Subscribe, 9 => Suback, 10 => Unsubscribe, 11 => Unsuback, 12 => Pingreq,
        13 => Pingresp, 14 => Disconnect, 15 => Auth,
    )
}
