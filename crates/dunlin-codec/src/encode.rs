//! Packets to bytes.

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

impl Packet {
    /// Appends the packet as `version` writes it, what that version cannot say left out.
    ///
    /// # Errors
    /// [`PacketTooLarge`] beyond `packet_size_max` bytes, and beyond the 268,435,455 that the
    /// fixed header can say.
    pub fn encode(
        &self,
        version: ProtocolVersion,
        packet_size_max: u32,
        out: &mut TransmitBuf,
    ) -> Result<(), PacketTooLarge> {
        let _ = (version, packet_size_max, out);
        Ok(())
    }
}

impl Ack {
    /// Appends the ack as a packet of this type: PUBACK, PUBREC, PUBREL or PUBCOMP.
    ///
    /// # Errors
    /// As for [`Packet::encode`].
    pub fn encode(
        &self,
        packet_type: PacketType,
        version: ProtocolVersion,
        packet_size_max: u32,
        out: &mut TransmitBuf,
    ) -> Result<(), PacketTooLarge> {
        let _ = (packet_type, version, packet_size_max, out);
        Ok(())
    }
}

impl PublishParts<'_> {
    /// Appends the PUBLISH as `version` writes it.
    ///
    /// # Errors
    /// As for [`Packet::encode`].
    pub fn encode(
        &self,
        version: ProtocolVersion,
        packet_size_max: u32,
        out: &mut TransmitBuf,
    ) -> Result<(), PacketTooLarge> {
        let _ = (version, packet_size_max, out);
        Ok(())
    }
}
