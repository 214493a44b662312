//! Places for connections and sessions: an index that is found at once and used again.

use std::ops::{Index, IndexMut};

/// Values at stable indices. Each is boxed, so that a slab of many grows without moving them and
/// gives back what a value held as soon as it leaves.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Place<T>>,
    vacant: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    /// Counts the values that were here, so that a late answer to an earlier one is known as late.
    generation: u32,
    value: Option<Box<T>>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), vacant: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    /// Adds a value and gives its index and generation.
    pub(super) fn insert(&mut self, value: T) -> (u32, u32) {
        let value = Some(Box::new(value));
        if let Some(index) = self.vacant.pop() {
            let place = &mut self.places[index as usize];
            place.value = value;
            return (index, place.generation);
        }
        let index = u32::try_from(self.places.len()).expect("fewer than four billion places");
        self.places.push(Place { generation: 0, value });
        (index, 0)
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Box<T>> {
        let place = self.places.get_mut(index as usize)?;
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(index);
        Some(value)
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.places.get(index as usize)?.value.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.value.as_deref_mut()
    }

    /// Whether the value at this index is still the one of this generation.
    #[inline]
    pub(super) fn is_current(&self, index: u32, generation: u32) -> bool {
        self.places
            .get(index as usize)
            .is_some_and(|place| place.generation == generation && place.value.is_some())
    }

    pub(super) fn generation(&self, index: u32) -> u32 {
        self.places.get(index as usize).map_or(0, |place| place.generation)
    }

    /// The indices in use, in their order.
    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.places).filter(|(_, place)| place.value.is_some()).map(|(at, _)| at)
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    #[inline]
    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the index of a value that is there")
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        self.get_mut(index).expect("the index of a value that is there")
    }
}
