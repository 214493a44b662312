//! The fixed header: packet type, flags, and how long the packet is. Spec: §2.1.

use crate::{DecodeError, PacketType, ProtocolVersion};

/// A fixed header that was read whole.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) packet_type: PacketType,
    pub(crate) flags: u8,
    /// Bytes of the fixed header itself, 2 to 5.
    pub(crate) header_len: usize,
    /// Bytes of the whole packet; below 2^28 + 5, so it fits everywhere.
    pub(crate) len: usize,
}

impl Frame {
    /// Reads the fixed header at the front of `input`; `None` while it is not whole.
    ///
    /// What is wrong is told as soon as its bytes are there, however little that is: a peer that
    /// will be refused should not be waited for.
    #[inline]
    pub(super) fn read(
        input: &[u8],
        version: ProtocolVersion,
    ) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = input.split_first() else { return Ok(None) };
        let flags = first & 0x0F;
        let packet_type = check_first_byte(first, version)?;
        let (remaining_len, header_len) = match rest.first() {
            None => return Ok(None),
            Some(&byte) if byte < 0x80 => (usize::from(byte), 2),
            Some(&low) if let Some(&high @ 1..0x80) = rest.get(1) => {
                (usize::from(low & 0x7F) | usize::from(high) << 7, 3)
            }
            Some(_) => match read_variable_byte_integer(rest)? {
                None => return Ok(None),
                Some((value, len)) => (value as usize, 1 + len),
            },
        };
        Ok(Some(Self { packet_type, flags, header_len, len: header_len + remaining_len }))
    }
}

impl Frame {
    /// What follows the fixed header, of a packet that is there whole at the front of `input`.
    #[inline]
    pub(crate) fn body<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.header_len..self.len).unwrap_or_default()
    }
}

#[inline]
fn check_first_byte(first: u8, version: ProtocolVersion) -> Result<PacketType, DecodeError> {
    let flags = first & 0x0F;
    let packet_type = PacketType::new(first >> 4).ok_or(DecodeError::PacketType(first >> 4))?;
    match packet_type {
        PacketType::Publish => {
            let (qos, dup) = (flags >> 1 & 3, flags & 8 != 0);
            if qos == 3 {
                return Err(DecodeError::QoS);
            }
            if qos == 0 && dup {
                return Err(DecodeError::DupAtMostOnce);
            }
        }
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => {
            // MQTT 3.1 says that these are sent at QoS 1, so a repetition has DUP set there.
            let dup = if version == ProtocolVersion::V3_1 { 0b1000 } else { 0 };
            if flags & !dup != 0b0010 {
                return Err(DecodeError::FixedHeaderFlags(packet_type, flags));
            }
        }
        PacketType::Auth if !version.is_v5() => {
            return Err(DecodeError::PacketType(PacketType::Auth as u8));
        }
        _ if flags != 0 => return Err(DecodeError::FixedHeaderFlags(packet_type, flags)),
        _ => {}
    }
    Ok(packet_type)
}

/// Reads a variable byte integer and tells its length; `None` while it is not whole. Spec: §1.5.5.
#[inline(never)]
pub(super) fn read_variable_byte_integer(
    input: &[u8],
) -> Result<Option<(u32, usize)>, DecodeError> {
    let mut value = 0;
    for (at, &byte) in input.iter().enumerate().take(4) {
        value |= u32::from(byte & 0x7F) << (7 * at);
        if byte < 0x80 {
            if byte == 0 && at > 0 {
                return Err(DecodeError::VariableByteIntegerNotMinimal);
            }
            return Ok(Some((value, at + 1)));
        }
    }
    if input.len() >= 4 { Err(DecodeError::VariableByteIntegerTooLong) } else { Ok(None) }
}
