//! A line of those who wait, in which a newcomer takes the place of who waits for the same.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Lets newcomers wait behind the others, and nobody any longer who waits for what a later one waits
/// for.
///
/// One pass over each side: a SUBSCRIBE has room for thousands of Topic Filters.
pub(super) fn supersede<T, K: Hash + Eq>(
    waiting: &mut VecDeque<T>,
    newcomers: Vec<T>,
    key: impl Fn(&T) -> &K,
) {
    let last: HashMap<&K, usize> =
        newcomers.iter().enumerate().map(|(at, newcomer)| (key(newcomer), at)).collect();
    waiting.retain(|other| !last.contains_key(key(other)));
    let stays: Vec<bool> =
        newcomers.iter().enumerate().map(|(at, newcomer)| last[key(newcomer)] == at).collect();
    waiting
        .extend(newcomers.into_iter().zip(stays).filter_map(|(one, stays)| stays.then_some(one)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::hash::Hasher;

    thread_local! {
        static COMPARED: Cell<usize> = const { Cell::new(0) };
    }

    /// A key that counts how often keys are compared.
    struct Counted(usize);

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            COMPARED.set(COMPARED.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted {}

    impl Hash for Counted {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    #[test]
    fn who_comes_later_waits_in_the_place_of_who_waited_for_the_same() {
        let mut waiting = VecDeque::from([(1, "old"), (2, "old"), (3, "old")]);
        let newcomers = vec![(4, "new"), (2, "new"), (4, "newer")];
        supersede(&mut waiting, newcomers, |(key, _)| key);
        assert_eq!(waiting, [(1, "old"), (3, "old"), (2, "new"), (4, "newer")]);
    }

    #[test]
    fn as_many_as_a_packet_has_room_for_are_not_compared_with_each_other() {
        let many = 10_000;
        let mut waiting: VecDeque<Counted> = (0..many).map(Counted).collect();
        supersede(&mut waiting, (many / 2..many + many / 2).map(Counted).collect(), |key| key);
        assert_eq!(waiting.len(), many + many / 2);
        // Each with its own like, and with the few that a table takes for it.
        assert!(COMPARED.get() < 4 * many, "{}", COMPARED.get());
    }
}
