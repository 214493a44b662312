//! A hash table of node identifiers with each one's hash beside it: eight to a cache line, so that
//! a probe, found or not, costs one line where a table with separate tags costs two.

use alloc::vec;
use alloc::vec::Vec;

/// What an empty slot holds; no node that is ever entered has this identifier.
const EMPTY: u32 = 0;
const CAPACITY_MIN: usize = 8;

/// Open addressing with linear probing. At most three quarters are full, and removal moves later
/// entries up instead of leaving marks, so a probe stays short whatever came before.
#[derive(Clone)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    id: u32,
}

impl Slots {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The identifier entered with `hash` that `is_it` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let hash = fold(hash);
        let mut at = hash as usize;
        let mask = self.slots.len().wrapping_sub(1);
        // There is always an empty slot, except when there are no slots at all.
        loop {
            let slot = self.slots.get(at & mask)?;
            if slot.id == EMPTY {
                return None;
            }
            if slot.hash == hash && is_it(slot.id) {
                return Some(slot.id);
            }
            at += 1;
        }
    }

    /// Enters `id`, which must not be there yet.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        debug_assert_ne!(id, EMPTY, "the root is nobody's child");
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.resize((self.slots.len() * 2).max(CAPACITY_MIN));
        }
        self.place(Slot { hash: fold(hash), id });
        self.len += 1;
    }

    /// Removes `id`, if it is there.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let mask = self.slots.len().wrapping_sub(1);
        let mut hole = fold(hash) as usize & mask;
        loop {
            match self.slots.get(hole) {
                Some(slot) if slot.id == id => break,
                Some(slot) if slot.id != EMPTY => hole = (hole + 1) & mask,
                _ => return,
            }
        }
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let slot = self.slots[at];
            if slot.id == EMPTY {
                break;
            }
            // Only what would not land before its own home may move up.
            let from_home = at.wrapping_sub(slot.hash as usize) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole].id = EMPTY;
        self.len -= 1;
        if self.len == 0 {
            self.slots = Vec::new();
        } else if self.slots.len() > CAPACITY_MIN && self.len * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        }
    }

    fn resize(&mut self, capacity: usize) {
        let empty = Slot { hash: 0, id: EMPTY };
        let old = core::mem::replace(&mut self.slots, vec![empty; capacity]);
        for slot in old.into_iter().filter(|slot| slot.id != EMPTY) {
            self.place(slot);
        }
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = slot.hash as usize & mask;
        while self.slots[at].id != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }
}

#[inline]
fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}
