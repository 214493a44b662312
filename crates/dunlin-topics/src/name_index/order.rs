//! The order of Topic Names: by levels, which is the order of bytes with `/` before all others.

use crate::text::Text;
use core::borrow::Borrow;
use core::cmp::Ordering;

/// Compares two Topic Names, or the beginnings of some, in the order of their levels.
#[inline]
pub(crate) fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let common = one.len().min(other.len());
    let (one_start, other_start) = (&one[..common], &other[..common]);
    let (one_words, one_rest) = one_start.as_chunks::<WORD>();
    let (other_words, other_rest) = other_start.as_chunks::<WORD>();
    for (a, b) in one_words.iter().zip(other_words) {
        if let Some(unequal) = compare_words(a, b) {
            return unequal;
        }
    }
    let rest = match (one_start.last_chunk::<WORD>(), other_start.last_chunk::<WORD>()) {
        // Together with bytes before it that are equal, the rest is a word.
        (Some(a), Some(b)) => compare_words(a, b),
        _ => one_rest
            .iter()
            .zip(other_rest)
            .find(|(a, b)| a != b)
            .map(|(a, b)| rank(*a).cmp(&rank(*b))),
    };
    rest.unwrap_or_else(|| one.len().cmp(&other.len()))
}

const WORD: usize = size_of::<u64>();

/// How the first bytes compare that are not equal.
#[inline]
fn compare_words(one: &[u8; WORD], other: &[u8; WORD]) -> Option<Ordering> {
    let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
    if difference == 0 {
        return None;
    }
    let at = difference.trailing_zeros() as usize / 8;
    Some(rank(one[at]).cmp(&rank(other[at])))
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// Against the definition, with differences at every place of words and of what follows them.
    #[test]
    fn levels_compare_one_by_one() {
        let mut names = vec![Vec::new()];
        for len in [1, 2, 7, 8, 9, 15, 16, 17, 23] {
            for at in 0..len {
                for byte in [b'/', b'a', b'!', 0xff] {
                    let mut name = vec![b'a'; len];
                    name[at] = byte;
                    names.push(name);
                }
            }
        }
        for one in &names {
            for other in &names {
                let ranks = |name: &[u8]| name.iter().map(|byte| rank(*byte)).collect::<Vec<_>>();
                assert_eq!(compare(one, other), ranks(one).cmp(&ranks(other)), "{one:?} {other:?}");
            }
        }
    }
}
