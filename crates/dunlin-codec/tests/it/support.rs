//! What several tests need.

use bytes::BytesMut;
use dunlin_codec::{DecodeError, Decoder, Packet, ProtocolVersion, TransmitBuf};

pub(crate) const VERSIONS: [ProtocolVersion; 3] =
    [ProtocolVersion::V3_1, ProtocolVersion::V3_1_1, ProtocolVersion::V5];

/// All bytes that wait.
pub(crate) fn bytes_of(out: &TransmitBuf) -> Vec<u8> {
    let mut pieces = vec![&[][..]; 4096];
    let count = out.pieces(&mut pieces);
    let bytes = pieces[..count].concat();
    assert_eq!(bytes.len(), out.len());
    bytes
}

pub(crate) fn encode(packet: &Packet, version: ProtocolVersion) -> Vec<u8> {
    let mut out = TransmitBuf::new();
    packet.encode(version, u32::MAX, &mut out).expect("the packet can be said");
    bytes_of(&out)
}

/// The first packet of the bytes and what it left.
pub(crate) fn decode(
    bytes: &[u8],
    version: ProtocolVersion,
    packet_size_max: u32,
) -> Result<(Option<Packet>, BytesMut), DecodeError> {
    let mut input = BytesMut::from(bytes);
    let packet = Decoder::new(version, packet_size_max).decode(&mut input)?;
    Ok((packet, input))
}
