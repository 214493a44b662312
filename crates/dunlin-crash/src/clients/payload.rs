//! The payload: stream, number, and filler that follows from the number.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::ledger::Stream;

/// The payload of a message.
pub(crate) fn payload(stream: Stream, sequence: u64, filler: usize) -> Bytes {
    let mut bytes = BytesMut::with_capacity(16 + filler);
    bytes.put_u32(u32::try_from(stream.0).unwrap_or(u32::MAX));
    bytes.put_u64(sequence);
    bytes.put_u32(u32::try_from(filler).unwrap_or(u32::MAX));
    bytes.put_bytes(sequence as u8, filler);
    bytes.freeze()
}

/// Which message it is; `None` when it is not as it was made.
pub(crate) fn read(mut bytes: &[u8]) -> Option<(Stream, u64)> {
    if bytes.len() < 16 {
        return None;
    }
    let stream = bytes.get_u32() as usize;
    let sequence = bytes.get_u64();
    let filler = bytes.get_u32() as usize;
    let is_whole = bytes.len() == filler && bytes.iter().all(|byte| *byte == sequence as u8);
    is_whole.then_some((Stream(stream), sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_says_which_message_it_is_and_whether_it_is_whole() {
        let made = payload(Stream(3), 700, 50);
        assert_eq!(read(&made), Some((Stream(3), 700)));
        assert_eq!(read(&made[..made.len() - 1]), None);
        let mut torn = made.to_vec();
        torn[40] = 0;
        assert_eq!(read(&torn), None);
    }
}
