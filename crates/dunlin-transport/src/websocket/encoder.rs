//! Puts frames on a stream: one header for what is to be sent at a moment, however many writes its
//! payload then takes.

use bytes::BytesMut;

use super::frame::{FrameHeader, Opcode};
use super::mask::Mask;

/// The frame that is being sent.
///
/// Servers pass no masking key. Clients pass one that the peer and its proxies can't foresee, a new
/// one for each frame (RFC 6455, section 5.3).
#[derive(Debug, Default)]
pub struct Encoder {
    remaining: usize,
    mask: Option<Mask>,
}

impl Encoder {
    /// Between two frames.
    #[must_use]
    pub const fn new() -> Self {
        Self { remaining: 0, mask: None }
    }

    /// Bytes of payload that the current frame still lacks; zero between frames.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.remaining
    }

    /// Begins a binary frame: its header is to be sent next, then `payload_len` bytes of payload.
    ///
    /// `None` inside a frame: the peer would take the header for payload.
    pub fn begin_frame(&mut self, payload_len: usize, key: Option<[u8; 4]>) -> Option<FrameHeader> {
        if self.remaining > 0 {
            return None;
        }
        self.remaining = payload_len;
        self.mask = key.map(Mask::new);
        Some(FrameHeader::new(Opcode::Binary, payload_len, key))
    }

    /// Masks the next bytes of payload if the frame is masked, and counts them as sent.
    ///
    /// Returns how many it took: what doesn't belong to the frame is left as it is.
    pub fn encode_payload(&mut self, payload: &mut [u8]) -> usize {
        let taken = self.advance(payload.len());
        if let (Some(mask), Some(part)) = (&mut self.mask, payload.get_mut(..taken)) {
            mask.apply(part);
        }
        taken
    }

    /// Counts payload as sent that went to the wire unmasked; for servers.
    ///
    /// Returns how much of it belongs to the frame.
    pub fn advance(&mut self, len: usize) -> usize {
        let taken = len.min(self.remaining);
        self.remaining -= taken;
        taken
    }
}

/// Appends a control frame; of its payload the first 125 bytes count.
pub(super) fn encode_control(
    opcode: Opcode,
    payload: &[u8],
    key: Option<[u8; 4]>,
    output: &mut BytesMut,
) {
    let payload = payload.get(..super::frame::CONTROL_LEN_MAX as usize).unwrap_or(payload);
    output.extend_from_slice(FrameHeader::new(opcode, payload.len(), key).as_bytes());
    let start = output.len();
    output.extend_from_slice(payload);
    if let Some(key) = key {
        Mask::new(key).apply(output.get_mut(start..).unwrap_or_default());
    }
}
