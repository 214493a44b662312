//! One direction of a connection: from bytes to packets, with where each lies.

use bytes::BytesMut;
use dunlin_codec::{DecodeError, Decoder, Packet, ProtocolVersion};

/// The largest packet that MQTT can express, so that nothing is refused for its size.
const PACKET_SIZE_MAX: u32 = 268_435_460;

/// What a stream of bytes holds.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) packets: Vec<Located>,
    pub(super) end: End,
    /// What packets were read as in the end.
    pub(super) version: ProtocolVersion,
}

/// A packet with the range of bytes it was read from.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) packet: Packet,
}

/// How the bytes end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a whole packet.
    Complete,
    /// In the middle of a packet that starts here.
    Cut { start: usize, len: usize },
    /// The bytes from here are no packet.
    Malformed { start: usize, error: DecodeError },
}

/// Decodes as this version, or the one that a CONNECT names from there on.
pub(super) fn decode(bytes: &[u8], version: ProtocolVersion) -> Decoded {
    let mut decoder = Decoder::new(version, PACKET_SIZE_MAX);
    let mut input = BytesMut::from(bytes);
    let mut packets = Vec::new();
    let end = loop {
        let start = bytes.len() - input.len();
        match decoder.decode(&mut input) {
            Ok(Some(packet)) => {
                if let Packet::Connect(connect) = &packet {
                    decoder.set_version(connect.protocol_version);
                }
                packets.push(Located { start, end: bytes.len() - input.len(), packet });
            }
            Ok(None) if input.is_empty() => break End::Complete,
            Ok(None) => break End::Cut { start, len: input.len() },
            Err(error) => break End::Malformed { start, error },
        }
    };
    Decoded { packets, end, version: decoder.version() }
}

/// Decodes as 5.0, or as 3.1.1 if that is the one that fits: for bytes that don't tell.
pub(super) fn decode_guessing(bytes: &[u8]) -> Decoded {
    let first = decode(bytes, ProtocolVersion::V5);
    if !matches!(first.end, End::Malformed { .. }) {
        return first;
    }
    let second = decode(bytes, ProtocolVersion::V3_1_1);
    if matches!(second.end, End::Malformed { .. }) { first } else { second }
}
