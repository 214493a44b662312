//! What was numbered in turn, and is taken out in nearly the same turn.

use std::collections::VecDeque;

/// So few places need no tidying.
const SMALL: usize = 32;

/// Values by numbers that only grow, though they may leave some out. What waits for the same thing
/// is taken out in the order in which it came: then each step takes the same time, however much
/// waits, and no memory is asked for.
#[derive(Debug)]
pub(super) struct InTurn<V> {
    /// By number, the lowest first. The first place is never vacant.
    places: VecDeque<(u64, Option<V>)>,
    vacant: usize,
}

impl<V> Default for InTurn<V> {
    fn default() -> Self {
        Self { places: VecDeque::new(), vacant: 0 }
    }
}

impl<V> InTurn<V> {
    /// Adds a value. Its number is greater than all before it.
    pub(super) fn push(&mut self, number: u64, value: V) {
        debug_assert!(self.places.back().is_none_or(|(last, _)| *last < number), "out of turn");
        self.places.push_back((number, Some(value)));
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.vacant
    }

    pub(super) fn get(&self, number: u64) -> Option<&V> {
        self.places.get(self.position(number)?)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut V> {
        let position = self.position(number)?;
        self.places.get_mut(position)?.1.as_mut()
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, number: u64) -> Option<V> {
        let position = self.position(number)?;
        let value = self.places.get_mut(position)?.1.take()?;
        self.vacant += 1;
        while self.places.pop_front_if(|(_, value)| value.is_none()).is_some() {
            self.vacant -= 1;
        }
        // One that waits for long must not make those behind it cost memory when they are gone.
        if self.places.len() > SMALL && self.vacant > self.places.len() / 2 {
            self.places.retain(|(_, value)| value.is_some());
            self.vacant = 0;
            self.places.shrink_to(self.places.len() * 2);
        }
        Some(value)
    }

    /// Where a number stands, vacant or not: as far behind the first as it is greater, but for what
    /// was left out in between.
    fn position(&self, number: u64) -> Option<usize> {
        let (first, _) = self.places.front()?;
        let furthest = usize::try_from(number.checked_sub(*first)?).unwrap_or(usize::MAX);
        if self.places.get(furthest).is_some_and(|(found, _)| *found == number) {
            return Some(furthest);
        }
        self.places.binary_search_by_key(&number, |(number, _)| *number).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_holds_what_an_ordered_map_does() {
        // By what is left of a division it adds, leaves out numbers, and takes out from the front,
        // from behind and from anywhere.
        let mut both = (InTurn::default(), BTreeMap::new());
        let mut next = 7;
        let mut state = 1_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = state >> 33;
            match random % 8 {
                0..4 => {
                    both.0.push(next, random);
                    both.1.insert(next, random);
                    next += 1;
                }
                4 => next += random % 5_000,
                rest => {
                    let nth = match rest {
                        5 => 0,
                        6 => both.1.len().saturating_sub(1),
                        _ => usize::try_from(random).unwrap() % both.1.len().max(1),
                    };
                    let number = both.1.keys().nth(nth).copied().unwrap_or(random);
                    assert_eq!(both.0.get(number), both.1.get(&number));
                    assert_eq!(both.0.get_mut(number), both.1.get_mut(&number));
                    assert_eq!(both.0.remove(number), both.1.remove(&number));
                    assert_eq!(both.0.remove(number), None, "it is gone");
                }
            }
            assert_eq!(both.0.len(), both.1.len());
            assert_eq!(both.0.get(next), None, "numbers to come");
        }
    }

    #[test]
    fn one_that_waits_for_long_keeps_no_places_of_others() {
        let mut waiting = InTurn::default();
        waiting.push(0, 0);
        for number in 1..100_000 {
            waiting.push(number, 0);
            waiting.remove(number);
        }
        assert_eq!(waiting.len(), 1);
        assert!(waiting.places.len() <= SMALL + 1, "{} places", waiting.places.len());
        assert!(waiting.places.capacity() <= 4 * SMALL, "{}", waiting.places.capacity());
    }
}
