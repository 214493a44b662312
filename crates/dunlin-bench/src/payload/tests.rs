//! Payloads that name themselves, and those that were altered.

use super::{PAYLOAD_MIN, Payloads, Reading, Stamp};

const STAMP: Stamp = Stamp { publisher: 7, sequence: 1_000_000_007, due: 123_456_789_012 };

fn payload(payloads: &Payloads) -> Vec<u8> {
    let mut bytes = Vec::new();
    payloads.push(&mut bytes, STAMP);
    bytes
}

#[test]
fn what_was_written_is_read() {
    for len in [PAYLOAD_MIN, 25, 64, 1024, 100_000] {
        let payloads = Payloads::new(1, len);
        let bytes = payload(&payloads);
        assert_eq!(bytes.len(), len);
        assert_eq!(payloads.read(&bytes), Reading::Whole(STAMP));
    }
}

#[test]
fn every_altered_bit_is_seen() {
    let payloads = Payloads::new(1, 64);
    let bytes = payload(&payloads);
    for bit in 0..bytes.len() * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let expected =
            if bit / 8 < PAYLOAD_MIN { Reading::Unknown } else { Reading::Altered(STAMP) };
        assert_eq!(payloads.read(&altered), expected, "bit {bit}");
    }
}

#[test]
fn another_length_and_another_run_are_seen() {
    let payloads = Payloads::new(1, 64);
    let bytes = payload(&payloads);
    assert_eq!(payloads.read(&bytes[..63]), Reading::Altered(STAMP));
    assert_eq!(payloads.read(&[&bytes[..], b"."].concat()), Reading::Altered(STAMP));
    assert_eq!(payloads.read(&bytes[..PAYLOAD_MIN - 1]), Reading::Unknown);
    assert_eq!(payloads.read(b""), Reading::Unknown);
    assert_eq!(Payloads::new(2, 64).read(&bytes), Reading::Unknown);
}

#[test]
fn the_filling_of_one_message_is_not_that_of_the_next() {
    let payloads = Payloads::new(1, 64);
    let (mut one, mut next) = (payload(&payloads), Vec::new());
    payloads.push(&mut next, Stamp { sequence: STAMP.sequence + 1, ..STAMP });
    one.truncate(PAYLOAD_MIN);
    one.extend_from_slice(&next[PAYLOAD_MIN..]);
    assert_eq!(payloads.read(&one), Reading::Altered(STAMP));
}
