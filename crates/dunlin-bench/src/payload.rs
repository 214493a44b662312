//! What every Application Message carries: who sent it, which one it is, when it was due, and a filling
//! that proves that nothing has been altered.
//!
//! ```text
//!  0        4       8           16      24
//!  | publisher | check | sequence | due | filling ...
//! ```
//! All numbers are big-endian. The check covers the three other numbers and the run, so that what an
//! earlier run has left behind is not taken for this one's. The filling is a piece of a fixed pattern,
//! at a place that depends on the sequence number: it is copied and compared, never computed.

/// Bytes of the header, and so of the smallest payload.
pub const PAYLOAD_MIN: usize = 24;

/// Places at which a filling may begin; a prime, so that no regular sequence repeats them soon.
const PLACES: usize = 251;

/// What a payload says of its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Index of the publisher.
    pub(crate) publisher: u32,
    /// Its messages are numbered from 0.
    pub(crate) sequence: u64,
    /// When it was due, in nanoseconds since the run began.
    pub(crate) due: u64,
}

/// What came of reading a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As it was sent.
    Whole(Stamp),
    /// The header is good, what follows is not, or not as long.
    Altered(Stamp),
    /// Not even the header can be believed.
    Unknown,
}

/// Makes and reads the payloads of one run.
#[derive(Debug)]
pub(crate) struct Payloads {
    run: u32,
    filling_len: usize,
    pattern: Box<[u8]>,
}

impl Payloads {
    /// Payloads of `len` bytes, for the run that `run` names.
    ///
    /// # Panics
    /// If `len` is less than [`PAYLOAD_MIN`].
    pub(crate) fn new(run: u32, len: usize) -> Self {
        let filling_len = len.checked_sub(PAYLOAD_MIN).expect("payloads have a header");
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        let pattern = std::iter::repeat_with(next).take(filling_len + PLACES).collect();
        Self { run, filling_len, pattern }
    }

    /// Appends a payload.
    #[inline]
    pub(crate) fn push(&self, out: &mut Vec<u8>, stamp: Stamp) {
        let mut header = [0; PAYLOAD_MIN];
        header[..4].copy_from_slice(&stamp.publisher.to_be_bytes());
        header[4..8].copy_from_slice(&self.check(stamp).to_be_bytes());
        header[8..16].copy_from_slice(&stamp.sequence.to_be_bytes());
        header[16..].copy_from_slice(&stamp.due.to_be_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(self.filling(stamp.sequence));
    }

    /// Reads a payload.
    #[inline]
    pub(crate) fn read(&self, payload: &[u8]) -> Reading {
        let Some((header, filling)) = payload.split_first_chunk::<PAYLOAD_MIN>() else {
            return Reading::Unknown;
        };
        let [p0, p1, p2, p3, c0, c1, c2, c3, rest @ ..] = *header;
        let [s0, s1, s2, s3, s4, s5, s6, s7, due @ ..] = rest;
        let stamp = Stamp {
            publisher: u32::from_be_bytes([p0, p1, p2, p3]),
            sequence: u64::from_be_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            due: u64::from_be_bytes(due),
        };
        if u32::from_be_bytes([c0, c1, c2, c3]) != self.check(stamp) {
            Reading::Unknown
        } else if filling != self.filling(stamp.sequence) {
            Reading::Altered(stamp)
        } else {
            Reading::Whole(stamp)
        }
    }

    #[inline]
    fn filling(&self, sequence: u64) -> &[u8] {
        let at = (sequence % PLACES as u64) as usize;
        &self.pattern[at..at + self.filling_len]
    }

    /// Multiplications with odd numbers lose nothing, so that one altered number alters the sum; the
    /// last step folds both halves into one.
    #[inline]
    fn check(&self, stamp: Stamp) -> u32 {
        let names = u64::from(stamp.publisher) << 32 | u64::from(self.run);
        let mut sum = stamp.sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ names;
        sum = sum.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ stamp.due;
        sum = sum.wrapping_mul(0xA076_1D64_78BD_642F);
        (sum ^ (sum >> 32)) as u32
    }
}

#[cfg(test)]
mod tests;
