//! Bytes to packets: splits frames off the front of a buffer and parses them.

mod frame;
mod limits;
mod reader;

pub use limits::Limits;
pub(crate) use reader::Reader;

use crate::packet::{Ack, Auth, ConnAck, Connect, Disconnect, Publish};
use crate::packet::{SubAck, Subscribe, UnsubAck, Unsubscribe};
use crate::{DecodeError, Packet, PacketType, ProtocolVersion};
use alloc::boxed::Box;
use bytes::{Buf, BytesMut};
use frame::Frame;

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
    /// Topic Names, texts and payloads are slices of `input`'s memory and keep it alive; what is
    /// kept for long should be copied, see [`Text::detached`](crate::Text::detached). Nothing is
    /// set aside for a packet that is not there yet: its length is the peer's claim.
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
            PacketType::Publish => {
                let bytes = input.split_to(frame.len).freeze();
                Publish::read(frame.flags, bytes, frame.header_len, self.version, limits)
                    .map(|publish| Some(Packet::Publish(publish)))
            }
            PacketType::PubAck => {
                self.ack(frame, input, limits).map(|ack| Some(Packet::PubAck(ack)))
            }
            PacketType::PubRec => {
                self.ack(frame, input, limits).map(|ack| Some(Packet::PubRec(ack)))
            }
            PacketType::PubRel => {
                self.ack(frame, input, limits).map(|ack| Some(Packet::PubRel(ack)))
            }
            PacketType::PubComp => {
                self.ack(frame, input, limits).map(|ack| Some(Packet::PubComp(ack)))
            }
            _ => self.rare(frame, input, limits).map(Some),
        }
    }

    #[inline]
    fn ack(&self, frame: Frame, input: &mut BytesMut, limits: &Limits) -> Result<Ack, DecodeError> {
        // The usual ack is read in place: no reference to the buffer is taken.
        if let Some([_, 2, high, low]) = input.get(..frame.len) {
            let ack = Ack::read_short(u16::from_be_bytes([*high, *low]));
            input.advance(frame.len);
            return ack;
        }
        let bytes = input.split_to(frame.len).freeze();
        let mut reader = Reader::new(&bytes, frame.header_len, limits);
        let ack = Ack::read(frame.packet_type, &mut reader, self.version)?;
        reader.finish()?;
        Ok(ack)
    }

    fn rare(
        &self,
        frame: Frame,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Packet, DecodeError> {
        let bytes = input.split_to(frame.len).freeze();
        let mut reader = Reader::new(&bytes, frame.header_len, limits);
        let from = &mut reader;
        let version = self.version;
        let packet = match frame.packet_type {
            PacketType::Connect => Packet::Connect(Box::new(Connect::read(from)?)),
            PacketType::ConnAck => Packet::ConnAck(Box::new(ConnAck::read(from, version)?)),
            PacketType::Subscribe => Packet::Subscribe(Box::new(Subscribe::read(from, version)?)),
            PacketType::SubAck => Packet::SubAck(Box::new(SubAck::read(from, version)?)),
            PacketType::Unsubscribe => {
                Packet::Unsubscribe(Box::new(Unsubscribe::read(from, version)?))
            }
            PacketType::UnsubAck => Packet::UnsubAck(Box::new(UnsubAck::read(from, version)?)),
            PacketType::PingReq => Packet::PingReq,
            PacketType::PingResp => Packet::PingResp,
            PacketType::Disconnect => {
                Packet::Disconnect(Box::new(Disconnect::read(from, version)?))
            }
            PacketType::Auth => Packet::Auth(Box::new(Auth::read(from)?)),
            PacketType::Publish
            | PacketType::PubAck
            | PacketType::PubRec
            | PacketType::PubRel
            | PacketType::PubComp => unreachable!("read by `decode`"),
        };
        reader.finish()?;
        Ok(packet)
    }
}
