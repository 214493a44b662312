//! Recognises the usual string, eight bytes at a time: ASCII without U+0000.
//!
//! A `false` proves nothing; the rules are then checked one by one, which also names the one that
//! is broken.

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Whether the bytes are surely a legal string.
#[inline]
pub(super) fn is_plain(bytes: &[u8]) -> bool {
    // A high bit stands for a byte above 0x7F, or comes from the borrow of a zero byte.
    all(bytes, |word| word | word.wrapping_sub(LOW_BITS))
}

/// Whether the bytes are surely a legal string without `+` and `#`.
#[inline]
pub(super) fn is_plain_name(bytes: &[u8]) -> bool {
    // `+` and `#` are 0x2B and 0x23: without the bit in which they differ, they are one.
    all(bytes, |word| {
        let wildcard = (word & (LOW_BITS * 0xF7)) ^ (LOW_BITS * b'#' as u64);
        word | word.wrapping_sub(LOW_BITS) | wildcard.wrapping_sub(LOW_BITS)
    })
}

/// Whether `suspect` leaves the high bits of all words clear.
#[inline]
fn all(bytes: &[u8], suspect: impl Fn(u64) -> u64) -> bool {
    let mut suspects = 0;
    if let Some(last) = bytes.last_chunk() {
        let (words, _) = bytes.as_chunks();
        for word in words {
            suspects |= suspect(u64::from_le_bytes(*word));
        }
        // Overlaps with the word before it, which does no harm.
        suspects |= suspect(u64::from_le_bytes(*last));
    } else {
        for &byte in bytes {
            // The byte eight times.
            suspects |= suspect(u64::from(byte) * LOW_BITS);
        }
    }
    suspects & HIGH_BITS == 0
}

#[cfg(test)]
mod tests {
    use super::{is_plain, is_plain_name};
    use std::vec;

    #[test]
    fn every_byte_at_every_place_is_seen() {
        for len in 0..26 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; len];
                    bytes[at] = byte;
                    let plain = (1..0x80).contains(&byte);
                    assert_eq!(is_plain(&bytes), plain, "{byte:#x} at {at} of {len}");
                    let plain_name = plain && !matches!(byte, b'+' | b'#');
                    assert_eq!(is_plain_name(&bytes), plain_name, "{byte:#x} at {at} of {len}");
                }
            }
        }
    }
}
