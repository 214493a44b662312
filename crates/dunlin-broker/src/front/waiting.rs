//! Connections that wait until fewer handshakes are under way. Who comes from one address to one
//! listener waits in one queue, and the queues take turns: a crowd keeps itself waiting, and nobody else.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;

/// Whose queue it is: the number of a listener, and an address. There is none of those whom a proxy has
/// not yet announced.
pub(super) type Origin = (u16, Option<IpAddr>);

/// What waits, by where it comes from.
pub(super) struct WaitingRoom<T> {
    queues: HashMap<Origin, VecDeque<T>>,
    /// Origins that have somebody here, in the order of their turns.
    turns: VecDeque<Origin>,
    /// The same, by how many they have here.
    by_len: BTreeSet<(usize, Origin)>,
    len: usize,
}

impl<T> WaitingRoom<T> {
    pub(super) fn new() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new(), by_len: BTreeSet::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn holds(&self, origin: Origin) -> bool {
        self.queues.contains_key(&origin)
    }

    /// Whether somebody waits whose address is one of those.
    pub(super) fn any(&self, is_one: impl Fn(Option<IpAddr>) -> bool) -> bool {
        self.turns.iter().any(|(_, address)| is_one(*address))
    }

    pub(super) fn push(&mut self, origin: Origin, arrival: T) {
        let queue = self.queues.entry(origin).or_default();
        if queue.is_empty() {
            self.turns.push_back(origin);
        } else {
            self.by_len.remove(&(queue.len(), origin));
        }
        queue.push_back(arrival);
        self.by_len.insert((queue.len(), origin));
        self.len += 1;
    }

    /// Takes who came first of those whose turn it is, if their address may have another handshake.
    pub(super) fn next(&mut self, may: impl Fn(Option<IpAddr>) -> bool) -> Option<T> {
        let at = self.turns.iter().position(|(_, address)| may(*address))?;
        let origin = self.turns.remove(at)?;
        let arrival = self.take(origin)?;
        if self.holds(origin) {
            self.turns.push_back(origin);
        }
        Some(arrival)
    }

    /// Takes who came first of the largest crowd: if all of them wait for long, that one is the likeliest
    /// to have gone.
    pub(super) fn first_of_the_largest(&mut self) -> Option<T> {
        let (_, origin) = *self.by_len.last()?;
        let arrival = self.take(origin);
        if !self.holds(origin) {
            self.turns.retain(|other| *other != origin);
        }
        arrival
    }

    fn take(&mut self, origin: Origin) -> Option<T> {
        let queue = self.queues.get_mut(&origin)?;
        self.by_len.remove(&(queue.len(), origin));
        let arrival = queue.pop_front()?;
        self.len -= 1;
        if queue.is_empty() {
            self.queues.remove(&origin);
        } else {
            self.by_len.insert((queue.len(), origin));
        }
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(last: u8) -> Origin {
        (0, Some(IpAddr::from([10, 0, 0, last])))
    }

    #[test]
    fn queues_take_turns_and_those_that_may_not_are_passed_over() {
        let mut room = WaitingRoom::new();
        for arrival in [11, 12, 13, 14] {
            room.push(origin(1), arrival);
        }
        room.push(origin(2), 21);
        room.push((1, origin(1).1), 31);
        room.push(origin(3), 41);
        let has_left = |address: Option<IpAddr>| address != origin(3).1;
        let all: Vec<_> = std::iter::from_fn(|| room.next(has_left)).collect();
        assert_eq!(all, [11, 21, 31, 12, 13, 14]);
        assert!(room.holds(origin(3)) && !room.any(has_left));
        assert_eq!((room.next(|_| true), room.next(|_| true), room.len()), (Some(41), None, 0));
    }

    #[test]
    fn the_largest_crowd_loses_who_came_first() {
        let mut room = WaitingRoom::new();
        room.push(origin(2), 21);
        for arrival in [11, 12, 13] {
            room.push(origin(1), arrival);
        }
        room.push(origin(2), 22);
        assert_eq!(room.first_of_the_largest(), Some(11));
        assert_eq!(room.next(|_| true), Some(21));
        assert_eq!(room.first_of_the_largest(), Some(12));
        room.first_of_the_largest();
        assert_eq!((room.len(), room.is_empty()), (1, false));
        let left: Vec<_> = std::iter::from_fn(|| room.next(|_| true)).collect();
        assert_eq!(left.len(), 1);
        assert_eq!(room.first_of_the_largest(), None);
        assert!(room.turns.is_empty() && room.by_len.is_empty() && room.queues.is_empty());
    }
}
