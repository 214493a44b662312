//! Slots with `u32` identifiers in blocks: growing copies no more than one block, and a block
//! whose last value goes is given back to the allocator.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

const BLOCK_BITS: u32 = 10;
const BLOCK_LEN: usize = 1 << BLOCK_BITS;

#[derive(Clone)]
pub(crate) struct Arena<T> {
    blocks: Vec<Block<T>>,
    /// Blocks with room; the lowest is filled first, so that the highest can run empty.
    open: BTreeSet<u32>,
    len: usize,
}

#[derive(Clone)]
struct Block<T> {
    slots: Vec<Slot<T>>,
    free: Option<u16>,
    live: u16,
}

#[derive(Clone)]
enum Slot<T> {
    Full(T),
    Free(Option<u16>),
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { blocks: Vec::new(), open: BTreeSet::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let number = self.open.first().copied().unwrap_or_else(|| {
            let number = self.blocks.len() as u32;
            assert!(number < u32::MAX >> BLOCK_BITS, "an index holds less than 2^32 nodes");
            self.blocks.push(Block { slots: Vec::new(), free: None, live: 0 });
            self.open.insert(number);
            number
        });
        let block = &mut self.blocks[number as usize];
        let slot = match block.free {
            Some(slot) => {
                let full = Slot::Full(value);
                let old = core::mem::replace(&mut block.slots[usize::from(slot)], full);
                let Slot::Free(next) = old else { unreachable!("the free list holds free slots") };
                block.free = next;
                usize::from(slot)
            }
            None => {
                block.slots.push(Slot::Full(value));
                block.slots.len() - 1
            }
        };
        block.live += 1;
        if usize::from(block.live) == BLOCK_LEN {
            self.open.remove(&number);
        }
        self.len += 1;
        (number << BLOCK_BITS) | slot as u32
    }

    /// Takes the value of `id` out.
    ///
    /// # Panics
    /// If there is none, which would be a mistake of this crate.
    pub(crate) fn remove(&mut self, id: u32) -> T {
        let number = id >> BLOCK_BITS;
        let block = &mut self.blocks[number as usize];
        let free = Slot::Free(block.free);
        let Slot::Full(value) = core::mem::replace(&mut block.slots[slot_of(id)], free) else {
            unreachable!("only values that are there are removed")
        };
        block.free = Some(slot_of(id) as u16);
        block.live -= 1;
        self.len -= 1;
        self.open.insert(number);
        if block.live == 0 {
            block.slots = Vec::new();
            block.free = None;
            while self.blocks.last().is_some_and(|block| block.live == 0) {
                self.blocks.pop();
                self.open.remove(&(self.blocks.len() as u32));
            }
            self.blocks.shrink_to(self.blocks.len() * 2);
        }
        value
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        match self.blocks.get((id >> BLOCK_BITS) as usize)?.slots.get(slot_of(id))? {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| &block.slots).filter_map(|slot| match slot {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        })
    }

    /// Bytes allocated for the slots, without what the values allocate themselves.
    pub(crate) fn bytes(&self) -> usize {
        let slots: usize = self.blocks.iter().map(|block| block.slots.capacity()).sum();
        slots * size_of::<Slot<T>>() + self.blocks.capacity() * size_of::<Block<T>>()
    }
}

const fn slot_of(id: u32) -> usize {
    id as usize & (BLOCK_LEN - 1)
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        self.get(id).expect("identifiers lead to values that are there")
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        match &mut self.blocks[(id >> BLOCK_BITS) as usize].slots[slot_of(id)] {
            Slot::Full(value) => value,
            Slot::Free(_) => unreachable!("identifiers lead to values that are there"),
        }
    }
}
