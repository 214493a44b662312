//! Streams cut into pieces at random.

use proptest::collection::vec;
use proptest::prelude::*;

/// Lengths of pieces: many short ones, some long ones.
pub(crate) fn lengths() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![3 => 1..8_usize, 1 => 1..3000_usize], 1..20)
}

/// The bytes in pieces of these lengths, over and over.
pub(crate) fn pieces<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(*length));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}
