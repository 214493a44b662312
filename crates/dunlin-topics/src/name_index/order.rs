//! The order of Topic Names: by levels, which is the order of bytes with `/` before all others.

use crate::text::Text;
use core::borrow::Borrow;
use core::cmp::Ordering;

/// Compares two Topic Names, or the beginnings of some, in the order of their levels.
#[inline]
pub(crate) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let (one_words, one_rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    for (a, b) in one_words.iter().zip(other_words) {
        let difference = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if difference != 0 {
            let at = difference.trailing_zeros() as usize / 8;
            return rank(a[at]).cmp(&rank(b[at]));
        }
    }
    let words = one_words.len().min(other_words.len());
    let (a, b) = if one_words.len() == other_words.len() {
        (one_rest, other_rest)
    } else {
        (&one[words * 8..], &other[words * 8..])
    };
    a.iter().map(|byte| rank(*byte)).cmp(b.iter().map(|byte| rank(*byte)))
}

#[inline]
fn rank(byte: u8) -> u16 {
    if byte == b'/' { 0 } else { u16::from(byte) + 1 }
}

/// A Topic Name as a key in this order.
#[derive(Clone)]
pub(crate) struct Name(pub(crate) Text);

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Name {}

/// What keys and searched bytes have in common, so that a search needs no key of its own.
pub(crate) trait Bytes {
    fn bytes(&self) -> &[u8];
}

impl Bytes for Name {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Bytes for &[u8] {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl<'a> Borrow<dyn Bytes + 'a> for Name {
    fn borrow(&self) -> &(dyn Bytes + 'a) {
        self
    }
}

impl Ord for dyn Bytes + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.bytes(), other.bytes())
    }
}

impl PartialOrd for dyn Bytes + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Bytes + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Bytes + '_ {}
