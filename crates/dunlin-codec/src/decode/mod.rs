//! Bytes to packets: splits frames off the front of a buffer and parses them.

mod frame;
mod limits;
mod reader;

pub(crate) use frame::Frame;
pub use limits::Limits;
pub(crate) use reader::Reader;

use crate::encode::first_byte;
use crate::packet::{Ack, Auth, ConnAck, Connect, Disconnect, Publish};
use crate::packet::{SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::{DecodeError, Packet, PacketType, ProtocolVersion};
use bytes::{Buf, BytesMut};

const PUBACK: u8 = first_byte(PacketType::PubAck);
const PUBREC: u8 = first_byte(PacketType::PubRec);
const PUBREL: u8 = first_byte(PacketType::PubRel);
const PUBCOMP: u8 = first_byte(PacketType::PubComp);
const PINGREQ: u8 = first_byte(PacketType::PingReq);
const PINGRESP: u8 = first_byte(PacketType::PingResp);

/// Takes whole packets off the front of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    version: ProtocolVersion,
    packet_size_max: u32,
}

impl Decoder {
    /// A decoder for packets of at most `packet_size_max` bytes, fixed header included.
    ///
    /// It reads CONNECT of every version; the other packets are read as `version` until
    /// [`Decoder::set_version`].
    pub const fn new(version: ProtocolVersion, packet_size_max: u32) -> Self {
        Self { version, packet_size_max }
    }

    /// The version that packets are read as.
    pub const fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// Reads the packets that follow as this version.
    pub const fn set_version(&mut self, version: ProtocolVersion) {
        self.version = version;
    }

    /// Accepts packets of at most this many bytes from now on.
    pub const fn set_packet_size_max(&mut self, packet_size_max: u32) {
        self.packet_size_max = packet_size_max;
    }

    /// Takes the first packet off `input`; `None` while it is not complete.
    ///
    /// The payload and the long texts of a PUBLISH are slices of `input`'s memory and keep it alive;
    /// what is kept for long should be copied, see [`Text::detached`](crate::Text::detached). The
    /// other packets have copies. Nothing is set aside for a packet that is not there yet: its
    /// length is the peer's claim.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes cannot be, or become, a legal packet. The connection cannot
    /// go on after that, and what is left in `input` means nothing.
    #[inline]
    pub fn decode(&self, input: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        self.decode_within(input, &Limits::NONE)
    }

    /// As [`Decoder::decode`], for a peer that may use so much within a packet.
    ///
    /// # Errors
    /// As [`Decoder::decode`]; also where a limit is passed, before more of the packet is looked at.
    #[inline]
    pub fn decode_within(
        &self,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        match input[..] {
            // The usual ack has its Packet Identifier alone.
            [first @ (PUBACK | PUBREC | PUBREL | PUBCOMP), 2, high, low, ..]
                if self.packet_size_max >= 4 =>
            {
                let ack = Ack::read_short(u16::from_be_bytes([high, low]))?;
                input.advance(4);
                Ok(Some(match first {
                    PUBACK => Packet::PubAck(ack),
                    PUBREC => Packet::PubRec(ack),
                    PUBREL => Packet::PubRel(ack),
                    _ => Packet::PubComp(ack),
                }))
            }
            [PINGREQ, 0, ..] if self.packet_size_max >= 2 => {
                input.advance(2);
                Ok(Some(Packet::PingReq))
            }
            [PINGRESP, 0, ..] if self.packet_size_max >= 2 => {
                input.advance(2);
                Ok(Some(Packet::PingResp))
            }
            _ => self.decode_frame(input, limits),
        }
    }

    #[inline]
    fn decode_frame(
        &self,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        let Some(frame) = Frame::read(input, self.version)? else { return Ok(None) };
        if frame.len > self.packet_size_max as usize {
            return Err(DecodeError::PacketTooLarge {
                len: frame.len as u32,
                max: self.packet_size_max,
            });
        }
        if input.len() < frame.len {
            return Ok(None);
        }
        match frame.packet_type {
            PacketType::Publish => Publish::read(frame, input, self.version, limits),
            _ => self.rare(frame, input, limits),
        }
    }

    /// Takes a packet that is none of those that messages and their acks mostly are.
    #[inline(never)]
    fn rare(
        &self,
        frame: Frame,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Packet>, DecodeError> {
        let mut reader = Reader::new(frame.body(input), limits);
        let from = &mut reader;
        let version = self.version;
        let packet = match frame.packet_type {
            PacketType::Connect => Packet::Connect(Connect::read(from)?),
            PacketType::ConnAck => Packet::ConnAck(ConnAck::read(from, version)?),
            PacketType::Subscribe => Packet::Subscribe(Subscribe::read(from, version)?),
            PacketType::SubAck => Packet::SubAck(SubAck::read(from, version)?),
            PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::read(from, version)?),
            PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::read(from, version)?),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Disconnect => Packet::Disconnect(Disconnect::read(from, version)?),
            PacketType::Auth => Packet::Auth(Auth::read(from)?),
            PacketType::PubAck => Packet::PubAck(Ack::read(frame.packet_type, from, version)?),
            PacketType::PubRec => Packet::PubRec(Ack::read(frame.packet_type, from, version)?),
            PacketType::PubRel => Packet::PubRel(Ack::read(frame.packet_type, from, version)?),
            PacketType::PubComp => Packet::PubComp(Ack::read(frame.packet_type, from, version)?),
            PacketType::Publish => unreachable!("read by `decode_frame`"),
        };
        reader.finish()?;
        input.advance(frame.len);
        Ok(Some(packet))
    }
}
