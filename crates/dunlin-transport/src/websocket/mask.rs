//! Masking (RFC 6455, section 5.3) of a payload that comes in parts.

/// The masking key, turned so that its first byte belongs to the next byte of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    pub(super) const fn new(key: [u8; 4]) -> Self {
        Self(key)
    }

    /// Masks or unmasks the next part, which is the same.
    pub(super) fn apply(&mut self, part: &mut [u8]) {
        // Words of 16 bytes, of which the compiler makes vector instructions.
        let mut wide = [0; 16];
        for chunk in wide.chunks_exact_mut(4) {
            chunk.copy_from_slice(&self.0);
        }
        let mut chunks = part.chunks_exact_mut(16);
        for chunk in &mut chunks {
            for (byte, key) in chunk.iter_mut().zip(&wide) {
                *byte ^= key;
            }
        }
        for (byte, key) in chunks.into_remainder().iter_mut().zip(&wide) {
            *byte ^= key;
        }
        self.skip(part.len());
    }

    /// Leaves the next bytes out.
    pub(super) const fn skip(&mut self, len: usize) {
        let key = u32::from_be_bytes(self.0);
        let bits = 8 * (len % 4) as u32;
        self.0 = key.rotate_left(bits).to_be_bytes();
    }
}
