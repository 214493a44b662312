//! Connections that wait until fewer handshakes are under way. Who comes from one address to one
//! listener waits in one queue, and the queues take turns: a crowd keeps itself waiting, and nobody else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

/// Whose queue it is: an address, and the number of a listener. There is no address of those whom a proxy
/// has not yet announced.
pub(crate) type Origin = (Option<IpAddr>, u16);

/// What waits, by where it comes from.
pub(crate) struct WaitingRoom<T> {
    queues: BTreeMap<Origin, Queue<T>>,
    /// Origins that have somebody here, in the order of their turns.
    turns: VecDeque<Origin>,
    /// The same, by how many they have here, and then by who came last.
    by_len: BTreeSet<(usize, u64, Origin)>,
    len: usize,
    /// How many queues there have been.
    count: u64,
}

struct Queue<T> {
    /// How many queues there were before it.
    number: u64,
    arrivals: VecDeque<T>,
}

impl<T> WaitingRoom<T> {
    pub(crate) fn new() -> Self {
        Self {
            queues: BTreeMap::new(),
            turns: VecDeque::new(),
            by_len: BTreeSet::new(),
            len: 0,
            count: 0,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn holds(&self, origin: Origin) -> bool {
        self.queues.contains_key(&origin)
    }

    /// Whether somebody of this address waits, at any listener.
    pub(crate) fn holds_some_of(&self, address: Option<IpAddr>) -> bool {
        self.queues.range((address, 0)..=(address, u16::MAX)).next().is_some()
    }

    /// Whether somebody waits whose address is one of those.
    pub(crate) fn any(&self, is_one: impl Fn(Option<IpAddr>) -> bool) -> bool {
        self.turns.iter().any(|(address, _)| is_one(*address))
    }

    pub(crate) fn push(&mut self, origin: Origin, arrival: T) {
        let count = &mut self.count;
        let queue = self.queues.entry(origin).or_insert_with(|| {
            *count += 1;
            self.turns.push_back(origin);
            Queue { number: *count, arrivals: VecDeque::new() }
        });
        self.by_len.remove(&(queue.arrivals.len(), queue.number, origin));
        queue.arrivals.push_back(arrival);
        self.by_len.insert((queue.arrivals.len(), queue.number, origin));
        self.len += 1;
    }

    /// Lets go who does not stay.
    #[cfg(any(feature = "quic", test))]
    pub(crate) fn retain(&mut self, stays: impl Fn(&T) -> bool) {
        self.queues.retain(|_, queue| {
            queue.arrivals.retain(&stays);
            !queue.arrivals.is_empty()
        });
        let queues = &self.queues;
        self.turns.retain(|origin| queues.contains_key(origin));
        let entries =
            queues.iter().map(|(origin, queue)| (queue.arrivals.len(), queue.number, *origin));
        self.by_len = entries.collect();
        self.len = queues.values().map(|queue| queue.arrivals.len()).sum();
    }

    /// Takes who came first of those whose turn it is, if their address may have another handshake.
    pub(crate) fn next(&mut self, may: impl Fn(Option<IpAddr>) -> bool) -> Option<T> {
        let at = self.turns.iter().position(|(address, _)| may(*address))?;
        let origin = self.turns.remove(at)?;
        let arrival = self.take(origin)?;
        if self.holds(origin) {
            self.turns.push_back(origin);
        }
        Some(arrival)
    }

    /// Takes who came first of the largest crowd: if all of them wait for long, that one is the likeliest
    /// to have gone. Of crowds of one size it is the one that has come last.
    pub(crate) fn first_of_the_largest(&mut self) -> Option<T> {
        let (_, _, origin) = *self.by_len.last()?;
        let arrival = self.take(origin);
        if !self.holds(origin) {
            self.turns.retain(|other| *other != origin);
        }
        arrival
    }

    fn take(&mut self, origin: Origin) -> Option<T> {
        let queue = self.queues.get_mut(&origin)?;
        self.by_len.remove(&(queue.arrivals.len(), queue.number, origin));
        let arrival = queue.arrivals.pop_front()?;
        self.len -= 1;
        if queue.arrivals.is_empty() {
            self.queues.remove(&origin);
        } else {
            self.by_len.insert((queue.arrivals.len(), queue.number, origin));
        }
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(last: u8) -> Origin {
        (Some(IpAddr::from([10, 0, 0, last])), 0)
    }

    #[test]
    fn queues_take_turns_and_those_that_may_not_are_passed_over() {
        let mut room = WaitingRoom::new();
        for arrival in [11, 12, 13, 14] {
            room.push(origin(1), arrival);
        }
        room.push(origin(2), 21);
        room.push((origin(1).0, 1), 31);
        room.push(origin(3), 41);
        let has_left = |address: Option<IpAddr>| address != origin(3).0;
        let all: Vec<_> = std::iter::from_fn(|| room.next(has_left)).collect();
        assert_eq!(all, [11, 21, 31, 12, 13, 14]);
        assert!(room.holds(origin(3)) && !room.any(has_left));
        assert!(room.holds_some_of(origin(3).0) && !room.holds_some_of(origin(1).0));
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

    #[test]
    fn of_crowds_of_one_size_the_last_one_loses_whatever_its_address() {
        let mut room = WaitingRoom::new();
        for (last, arrival) in [(9, 91), (1, 11), (5, 51)] {
            room.push(origin(last), arrival);
        }
        assert_eq!(room.first_of_the_largest(), Some(51));
        assert_eq!(room.first_of_the_largest(), Some(11));
        room.push(origin(1), 12);
        room.push(origin(9), 92);
        room.retain(|arrival| *arrival != 91);
        assert_eq!(room.len(), 2);
        assert_eq!(room.first_of_the_largest(), Some(12));
        assert_eq!((room.next(|_| true), room.next(|_| true)), (Some(92), None));
    }

    #[test]
    fn nothing_is_left_of_those_who_do_not_stay() {
        let mut room = WaitingRoom::new();
        (1..=3).for_each(|last| room.push(origin(last), last));
        room.retain(|_| false);
        assert!(room.is_empty() && room.next(|_| true).is_none());
        assert!(room.turns.is_empty() && room.by_len.is_empty() && room.queues.is_empty());
    }
}
