//! Seeded hashing: the same seed gives the same tables, and a peer that does not know the seed
//! can't choose strings that collide.

use core::hash::Hasher;
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

#[derive(Clone, Debug)]
pub(crate) struct Seed {
    shared: SharedSeed,
    per_hasher: u64,
}

impl Seed {
    pub(crate) fn new(seed: u64) -> Self {
        let shared = SharedSeed::from_u64(seed);
        Self { shared, per_hasher: seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15 }
    }

    #[inline]
    pub(crate) fn hash(&self, text: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.per_hasher, &self.shared);
        hasher.write(text);
        hasher.finish()
    }

    #[inline]
    pub(crate) fn hash_child(&self, parent: u32, level: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.per_hasher, &self.shared);
        hasher.write(level);
        hasher.write_u32(parent);
        hasher.finish()
    }

    pub(crate) fn hash_pair(&self, first: &[u8], second: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.per_hasher, &self.shared);
        hasher.write(first);
        hasher.write_usize(first.len());
        hasher.write(second);
        hasher.finish()
    }
}

/// What a hash table of small handles stores beside each handle, so that growing the table does
/// not visit what the handles stand for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    hash: u32,
    pub(crate) id: u32,
}

impl Handle {
    pub(crate) fn new(hash: u64, id: u32) -> Self {
        Self { hash: fold(hash), id }
    }

    /// Whether this handle may stand for what has `hash`; the text itself decides.
    #[inline]
    pub(crate) fn may_be(self, hash: u64) -> bool {
        self.hash == fold(hash)
    }

    /// The table position's hash. Spread again, because the table reads the highest bits too.
    #[inline]
    pub(crate) fn position(self) -> u64 {
        spread(self.hash)
    }
}

/// The position for [`hashbrown::HashTable`] of [`Handle`]s that belongs to `hash`.
#[inline]
pub(crate) fn position(hash: u64) -> u64 {
    spread(fold(hash))
}

#[inline]
fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
