//! A string of 24 bytes that keeps up to 22 bytes in place: most Topic Names, Topic Filters and
//! trie labels then need no allocation and no second cache miss to compare.

use alloc::boxed::Box;

/// The longest string kept in place, in bytes.
const INLINE_MAX: usize = 22;

#[derive(Clone)]
pub(crate) enum Text {
    Inline(u8, [u8; INLINE_MAX]),
    Heap(Box<str>),
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        if text.len() > INLINE_MAX {
            return Self::Heap(text.into());
        }
        let mut bytes = [0; INLINE_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self::Inline(text.len() as u8, bytes)
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(len, bytes) => &bytes[..usize::from(*len).min(INLINE_MAX)],
            Self::Heap(text) => text.as_bytes(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            // Made from a `&str`, so it can't fail.
            Self::Inline(..) => core::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Heap(text) => text,
        }
    }

    /// Bytes held outside of the value itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline(..) => 0,
            Self::Heap(text) => text.len(),
        }
    }
}
