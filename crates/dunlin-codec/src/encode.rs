//! Packets to bytes: measures first, so that a packet is appended whole or not at all.

use crate::{Ack, Packet, PacketType, ProtocolVersion, PublishParts, TransmitBuf};

/// The packet would be larger than its receiver accepts; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet has {len} bytes, more than the {max} that its receiver accepts")]
pub struct PacketTooLarge {
    /// Bytes of the packet, fixed header included.
    pub len: usize,
    /// Bytes that the receiver accepts.
    pub max: u32,
}

/// Why a packet cannot be written; nothing was written of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The packet is larger than its receiver accepts.
    #[error(transparent)]
    PacketTooLarge(#[from] PacketTooLarge),
    /// Password, Will Payload, Correlation Data or Authentication Data has more bytes than its
    /// two-byte length can say.
    #[error("{0} bytes of binary data in a field that holds 65,535")]
    BinaryDataTooLong(usize),
    /// The version has no such packet: AUTH, and a PUBLISH that names its topic by an alias alone,
    /// exist only in MQTT 5.0.
    #[error("MQTT {version} cannot say this {packet_type}", version = .1, packet_type = .0.name())]
    NotInVersion(PacketType, ProtocolVersion),
}

/// The largest value of a variable byte integer, and so of Remaining Length. Spec: §1.5.5.
const REMAINING_LEN_MAX: usize = 268_435_455;

impl Packet {
    /// Appends the packet as `version` writes it, what that version cannot say left out. CONNECT
    /// is written in its own [`protocol_version`](crate::Connect::protocol_version).
    ///
    /// For MQTT 3.x that means: no properties; Reason Codes become return codes
    /// ([`ReasonCode::connect_return_code`](crate::ReasonCode::connect_return_code),
    /// [`ReasonCode::subscribe_return_code`](crate::ReasonCode::subscribe_return_code)) or vanish;
    /// of the Subscription Options the QoS stays; a Password without User Name is dropped
    /// [MQTT3-3.1.2-22]. A DISCONNECT is written for 3.x as well, although only Clients send it
    /// there.
    ///
    /// # Errors
    /// [`EncodeError::PacketTooLarge`] beyond `packet_size_max` bytes, and beyond the 268,435,455
    /// that the fixed header can say; [`EncodeError::NotInVersion`] for AUTH in MQTT 3.x;
    /// [`EncodeError::BinaryDataTooLong`]. Nothing is written then.
    pub fn encode(
        &self,
        version: ProtocolVersion,
        packet_size_max: u32,
        out: &mut TransmitBuf,
    ) -> Result<(), EncodeError> {
        let target = &mut Target { version, packet_size_max, out };
        match self {
            Self::Publish(publish) => publish.encode_to(target),
            Self::PubAck(ack) => Ok(ack.encode_to(PacketType::PubAck, target)?),
            Self::PubRec(ack) => Ok(ack.encode_to(PacketType::PubRec, target)?),
            Self::PubRel(ack) => Ok(ack.encode_to(PacketType::PubRel, target)?),
            Self::PubComp(ack) => Ok(ack.encode_to(PacketType::PubComp, target)?),
            Self::PingReq => target.begin(PacketType::PingReq, 0),
            Self::PingResp => target.begin(PacketType::PingResp, 0),
            _ => self.encode_rare(target),
        }
    }

    /// Writes a packet of those that come once in a connection, or little more often.
    fn encode_rare(&self, target: &mut Target<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect.encode(target),
            Self::ConnAck(connack) => connack.encode(target),
            Self::Subscribe(subscribe) => subscribe.encode(target),
            Self::SubAck(suback) => suback.encode(target),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(target),
            Self::UnsubAck(unsuback) => unsuback.encode(target),
            Self::Disconnect(disconnect) => disconnect.encode(target),
            Self::Auth(auth) => auth.encode(target),
            Self::Publish(_)
            | Self::PubAck(_)
            | Self::PubRec(_)
            | Self::PubRel(_)
            | Self::PubComp(_)
            | Self::PingReq
            | Self::PingResp => unreachable!("written by `encode`"),
        }
    }
}

impl Ack {
    /// Appends the ack as a packet of this type: PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Errors
    /// [`PacketTooLarge`] beyond `packet_size_max` bytes; nothing is written then.
    #[inline]
    pub fn encode(
        &self,
        packet_type: PacketType,
        version: ProtocolVersion,
        packet_size_max: u32,
        out: &mut TransmitBuf,
    ) -> Result<(), PacketTooLarge> {
        self.encode_to(packet_type, &mut Target { version, packet_size_max, out })
    }
}

impl PublishParts<'_> {
    /// Appends the PUBLISH as `version` writes it.
    ///
    /// # Errors
    /// As for [`Packet::encode`]; [`EncodeError::NotInVersion`] when an alias alone names the
    /// topic and the version is 3.x.
    #[inline]
    pub fn encode(
        &self,
        version: ProtocolVersion,
        packet_size_max: u32,
        out: &mut TransmitBuf,
    ) -> Result<(), EncodeError> {
        self.encode_to(&mut Target { version, packet_size_max, out })
    }
}

/// Where a packet is written, and the rules of its receiver.
pub(crate) struct Target<'a> {
    pub(crate) version: ProtocolVersion,
    pub(crate) packet_size_max: u32,
    pub(crate) out: &'a mut TransmitBuf,
}

impl Target<'_> {
    /// Checks the size of the packet, makes room for it, and writes its fixed header.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        packet_type: PacketType,
        remaining_len: usize,
    ) -> Result<(), EncodeError> {
        let len = self.check_size(remaining_len)?;
        self.out.reserve(len);
        put_fixed_header(self.out, first_byte(packet_type), remaining_len);
        Ok(())
    }

    /// Bytes of the whole packet, if its receiver accepts that many.
    #[inline]
    pub(crate) fn check_size(&self, remaining_len: usize) -> Result<usize, PacketTooLarge> {
        check_size(remaining_len, self.packet_size_max)
    }
}

/// Bytes of a packet with that Remaining Length, if its receiver accepts that many.
#[inline]
pub(crate) fn check_size(
    remaining_len: usize,
    packet_size_max: u32,
) -> Result<usize, PacketTooLarge> {
    let len = 1 + variable_byte_integer_len(remaining_len) + remaining_len;
    if len > packet_size_max as usize || remaining_len > REMAINING_LEN_MAX {
        return Err(PacketTooLarge { len, max: packet_size_max });
    }
    Ok(len)
}

/// The first byte of every packet but PUBLISH. Spec: §2.1.3, [MQTT-2.1.3-1].
#[inline]
pub(crate) const fn first_byte(packet_type: PacketType) -> u8 {
    let flags = match packet_type {
        PacketType::PubRel | PacketType::Subscribe | PacketType::Unsubscribe => 0b0010,
        _ => 0,
    };
    (packet_type as u8) << 4 | flags
}

/// Bytes of a variable byte integer. Spec: §1.5.5.
#[inline]
pub(crate) const fn variable_byte_integer_len(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Appends a fixed header, the usual ones in one piece. Spec: §2.1.
#[inline]
pub(crate) fn put_fixed_header(out: &mut TransmitBuf, first: u8, remaining_len: usize) {
    match remaining_len {
        0..0x80 => out.put_slice(&[first, remaining_len as u8]),
        0x80..0x4000 => {
            let [low, high] = two_byte_integer(remaining_len);
            out.put_slice(&[first, low, high]);
        }
        _ => {
            out.put_u8(first);
            put_variable_byte_integer(out, remaining_len);
        }
    }
}

/// A variable byte integer of two bytes.
#[inline]
pub(crate) const fn two_byte_integer(value: usize) -> [u8; 2] {
    [value as u8 | 0x80, (value >> 7) as u8]
}

/// Appends a variable byte integer. Spec: §1.5.5, [MQTT-1.5.5-1].
#[inline]
pub(crate) fn put_variable_byte_integer(out: &mut TransmitBuf, mut value: usize) {
    while value >= 0x80 {
        out.put_u8((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Appends bytes behind their two-byte length. There are at most 65,535, see [`check_binary`].
#[inline]
pub(crate) fn put_prefixed(out: &mut TransmitBuf, bytes: &[u8]) {
    debug_assert!(bytes.len() <= usize::from(u16::MAX));
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

/// Says that these, if they are there, fit behind a two-byte length.
#[inline]
pub(crate) fn check_binary(bytes: Option<&bytes::Bytes>) -> Result<(), EncodeError> {
    match bytes {
        Some(bytes) if bytes.len() > usize::from(u16::MAX) => {
            Err(EncodeError::BinaryDataTooLong(bytes.len()))
        }
        _ => Ok(()),
    }
}
