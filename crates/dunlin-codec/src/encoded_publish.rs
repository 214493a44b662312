//! A PUBLISH that is encoded once and sent to many.

use crate::encode::Target;
use crate::{
    Delivery, EncodeError, PacketIdentifier, PacketTooLarge, ProtocolVersion, PublishParts,
    TransmitBuf,
};
use alloc::vec::Vec;
use bytes::Bytes;

/// The bytes of a PUBLISH, for as many receivers as want it in the same shape: the same version,
/// QoS, RETAIN flag and properties.
///
/// Each copy differs in its Packet Identifier alone, which is patched in:
///
/// ```text
/// frame:   [fixed header|topic name|id|properties|payload, when small]
///                                   ^^ put there by `append`
/// payload: [referenced, when large]
/// ```
///
/// The value is meant to be kept and set again: after the first messages it allocates nothing.
#[derive(Debug, Default)]
pub struct EncodedPublish {
    frame: Vec<u8>,
    /// Where the Packet Identifier is in `frame`; `None` at QoS 0.
    packet_identifier_at: Option<usize>,
    /// The payload, when it is too large to be copied.
    payload: Bytes,
}

impl EncodedPublish {
    /// An empty value that holds no memory. It appends nothing until [`EncodedPublish::set`].
    pub const fn new() -> Self {
        Self { frame: Vec::new(), packet_identifier_at: None, payload: Bytes::new() }
    }

    /// Encodes another PUBLISH as `version` writes it, in the same memory.
    ///
    /// At QoS 1 and 2 the Packet Identifier of `parts` is the one that copies get which ask for
    /// no other.
    ///
    /// # Errors
    /// As for [`PublishParts::encode`], with no limit but the 268,435,455 bytes of the fixed
    /// header; the receiver's is asked for in [`EncodedPublish::append`]. The value is empty then.
    pub fn set(
        &mut self,
        parts: &PublishParts<'_>,
        version: ProtocolVersion,
    ) -> Result<(), EncodeError> {
        let mut storage = core::mem::take(&mut self.frame);
        storage.clear();
        *self = Self { frame: storage, ..Self::new() };
        let mut out = TransmitBuf::new();
        out.give_storage(core::mem::take(&mut self.frame));
        let mut target = Target { version, packet_size_max: u32::MAX, out: &mut out };
        let packet_identifier_at = parts.put_head(&mut target)?;
        if out.copies(parts.payload) {
            out.put_slice(parts.payload);
        } else {
            self.payload = parts.payload.clone();
        }
        self.packet_identifier_at = match parts.delivery {
            Delivery::AtMostOnce => None,
            _ => Some(packet_identifier_at),
        };
        self.frame = out.into_copied();
        Ok(())
    }

    /// Bytes of the packet.
    pub fn len(&self) -> usize {
        self.frame.len() + self.payload.len()
    }

    /// Whether no PUBLISH was set.
    pub fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    /// Appends a copy, with this Packet Identifier if the PUBLISH has one.
    ///
    /// # Errors
    /// [`PacketTooLarge`] beyond `packet_size_max` bytes; nothing is written then.
    #[inline]
    pub fn append(
        &self,
        packet_identifier: Option<PacketIdentifier>,
        packet_size_max: u32,
        out: &mut TransmitBuf,
    ) -> Result<(), PacketTooLarge> {
        let len = self.len();
        if len > packet_size_max as usize {
            return Err(PacketTooLarge { len, max: packet_size_max });
        }
        match (self.packet_identifier_at, packet_identifier) {
            (Some(at), Some(packet_identifier)) => {
                out.put_patched(&self.frame, at, packet_identifier.value().to_be_bytes());
            }
            _ => out.put_slice(&self.frame),
        }
        if !self.payload.is_empty() {
            out.put_bytes(&self.payload);
        }
        Ok(())
    }
}
