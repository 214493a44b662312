//! Where the bytes of a string are: those of a short one in the value itself, those of a long one
//! in a buffer that its clones share.

use bytes::Bytes;

/// Most Topic Names, Client Identifiers and names of users are not longer. Taking a reference to a
/// buffer and giving it back costs more than copying these.
pub(super) const LEN_MAX_IN_PLACE: usize = 38;

/// The bytes of a string.
#[derive(Clone)]
pub(super) enum Storage {
    InPlace {
        len: u8,
        bytes: [u8; LEN_MAX_IN_PLACE],
    },
    /// More bytes than fit in place.
    Shared(Bytes),
}

impl Storage {
    /// A copy of the bytes in the value itself; `None` when they are too many.
    #[inline]
    pub(super) fn in_place(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; LEN_MAX_IN_PLACE];
        copy_few(from, bytes.get_mut(..from.len())?);
        Some(Self::InPlace { len: from.len() as u8, bytes })
    }

    /// A copy of the bytes, in an allocation of its own if it has to be.
    #[inline]
    pub(super) fn copy(from: &[u8]) -> Self {
        Self::in_place(from).unwrap_or_else(|| Self::Shared(Bytes::copy_from_slice(from)))
    }

    /// The bytes, in the buffer that they are in, unless they are few.
    #[inline]
    pub(super) fn new(bytes: Bytes) -> Self {
        Self::in_place(&bytes).unwrap_or(Self::Shared(bytes))
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            // Never cut: the length is that of `in_place`.
            Self::InPlace { len, bytes } => &bytes[..usize::from(*len).min(LEN_MAX_IN_PLACE)],
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Copies a slice to another of its length, both of them short, in pieces that may overlap: a call
/// of the function that copies slices of any length takes longer than this.
#[inline]
fn copy_few(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<16>(), from.last_chunk::<16>())
        && let Some(to_first) = to.first_chunk_mut::<16>()
    {
        *to_first = *first;
        if let (Some(middle), Some(to_middle)) = (from.get(16..32), to.get_mut(16..32)) {
            to_middle.copy_from_slice(middle);
        }
        if let Some(to_last) = to.last_chunk_mut::<16>() {
            *to_last = *last;
        }
        return;
    }
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

#[cfg(test)]
mod tests {
    use super::{LEN_MAX_IN_PLACE, Storage};
    use bytes::Bytes;
    use std::vec::Vec;

    #[test]
    fn short_strings_are_in_the_value_and_long_ones_are_shared() {
        for len in 0..2 * LEN_MAX_IN_PLACE {
            let bytes: Vec<u8> = (1..=len as u8).collect();
            let shared = Bytes::from(bytes.clone());
            let storage = Storage::new(shared.clone());
            assert_eq!(storage.as_bytes(), bytes);
            assert_eq!(Storage::copy(&bytes).as_bytes(), bytes);
            let is_shared = storage.as_bytes().as_ptr() == shared.as_ptr();
            assert_eq!(is_shared, len > LEN_MAX_IN_PLACE);
            let clone = storage.clone();
            let is_shared = storage.as_bytes().as_ptr() == clone.as_bytes().as_ptr();
            assert_eq!(is_shared, len > LEN_MAX_IN_PLACE);
        }
    }

    #[test]
    fn a_string_has_five_words() {
        assert_eq!(size_of::<Option<Storage>>(), 40);
    }
}
