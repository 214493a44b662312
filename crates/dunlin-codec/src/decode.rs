//! Bytes to packets: splits frames off the front of a buffer and parses them.

use crate::{DecodeError, Packet, ProtocolVersion};
use bytes::BytesMut;

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
    /// # Errors
    /// [`DecodeError`] when the bytes cannot be, or become, a legal packet. The connection cannot
    /// go on after that.
    pub fn decode(&self, input: &mut BytesMut) -> Result<Option<Packet>, DecodeError> {
        let _ = input;
        Ok(None)
    }
}
