//! The bodies of the fuzz targets. Not part of the interface: they change as they please.
//!
//! Each takes the version from the first byte, so that one corpus serves all versions, and panics
//! when a law is broken.

use crate::{DecodeError, Decoder, Packet, ProtocolVersion, TransmitBuf};
use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::BytesMut;

const PACKET_SIZE_MAX: u32 = 64 * 1024;

/// Splits the first byte off: the version, and six bits to vary the run with.
fn version_of(data: &[u8]) -> Option<(ProtocolVersion, u8, &[u8])> {
    let (&first, rest) = data.split_first()?;
    let version = match first & 3 {
        0 => ProtocolVersion::V3_1,
        1 => ProtocolVersion::V3_1_1,
        _ => ProtocolVersion::V5,
    };
    Some((version, first >> 2, rest))
}

/// Everything that the whole stream holds, and how it ends.
fn decode_all(version: ProtocolVersion, stream: &[u8]) -> (Vec<Packet>, Option<DecodeError>) {
    let mut input = BytesMut::from(stream);
    let decoder = Decoder::new(version, PACKET_SIZE_MAX);
    let mut packets = Vec::new();
    loop {
        let before = input.len();
        match decoder.decode(&mut input) {
            Ok(Some(packet)) => {
                assert!(input.len() + 2 <= before, "a packet has at least two bytes");
                packets.push(packet);
            }
            Ok(None) => {
                assert_eq!(input.len(), before, "an incomplete packet stays whole");
                return (packets, None);
            }
            Err(error) => {
                assert!(error.reason_code().is_error());
                assert!(error.statement().starts_with("MQTT"));
                return (packets, Some(error));
            }
        }
    }
}

/// Decodes the bytes as a stream and prints what is found.
pub fn packet(data: &[u8]) {
    let Some((version, _, stream)) = version_of(data) else { return };
    let (packets, error) = decode_all(version, stream);
    for packet in packets {
        assert!(packet.to_string().starts_with(packet.packet_type().name()));
    }
    if let Some(error) = error {
        assert!(!error.to_string().is_empty());
    }
}

/// Decodes the bytes in pieces: the packets are those of the whole stream.
pub fn chunked_stream(data: &[u8]) {
    let Some((version, seed, stream)) = version_of(data) else { return };
    let (expected, expected_error) = decode_all(version, stream);
    let decoder = Decoder::new(version, PACKET_SIZE_MAX);
    let mut input = BytesMut::new();
    let mut packets = Vec::new();
    let mut left = stream;
    let mut step = usize::from(seed);
    let error = 'stream: loop {
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => break 'stream Some(error),
            }
        }
        if left.is_empty() {
            break None;
        }
        step = (step * 5 + 3) % 64;
        let (piece, rest) = left.split_at(left.len().min(step % 17 + 1));
        input.extend_from_slice(piece);
        left = rest;
    };
    assert_eq!(packets, expected);
    assert_eq!(error, expected_error);
}

/// What was decoded, encoded again, is the same packet; and no version makes encoding fail badly.
pub fn round_trip(data: &[u8]) {
    let Some((version, _, stream)) = version_of(data) else { return };
    for packet in decode_all(version, stream).0 {
        let mut out = TransmitBuf::new();
        packet.encode(version, u32::MAX, &mut out).expect("what was read can be written");
        let mut pieces = [&[][..]; 16];
        let count = out.pieces(&mut pieces);
        let mut input = BytesMut::from(&pieces[..count].concat()[..]);
        assert_eq!(input.len(), out.len());
        let again = Decoder::new(version, u32::MAX).decode(&mut input);
        assert_eq!(again, Ok(Some(packet.clone())));
        assert!(input.is_empty());

        for other in [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
            let mut out = TransmitBuf::new();
            let written = packet.encode(other, PACKET_SIZE_MAX, &mut out);
            assert_eq!(written.is_err(), out.is_empty(), "a packet is written whole or not at all");
        }
    }
}
