//! Logins that wait for the threads of one method: so many at most, and of one Client only a few at a
//! time are thought about, and only some wait, so that whoever sends a thousand is one among others.

use crate::net::network_of;
use dunlin_protocol::codec::Text;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whose logins wait for each other: an address and the name that it uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client {
    network: IpAddr,
    name: Text,
}

impl Client {
    pub(super) fn new(address: IpAddr, name: &Text) -> Self {
        Self { network: network_of(address), name: name.clone() }
    }
}

/// What waits, and for whom others wait.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    len_max: usize,
    /// How many logins of one Client may be ready or thought about at once.
    turns_max: usize,
}

/// One Client may have this part of the room for itself.
const SHARE: usize = 8;

#[derive(Debug)]
struct State<T> {
    ready: VecDeque<Turn<T>>,
    /// Clients of which some login is ready or thought about.
    busy: HashMap<Client, Busy<T>>,
    /// How many wait, ready or not.
    len: usize,
    is_closed: bool,
}

#[derive(Debug)]
struct Busy<T> {
    /// Logins that are ready or thought about: one at least.
    turns: usize,
    /// Those that wait for one of them to end.
    parked: VecDeque<T>,
}

/// Something whose turn has come; [`Queue::finish`] is to be told when it is over.
#[derive(Debug)]
pub(super) struct Turn<T> {
    pub(super) item: T,
    /// Who has to wait meanwhile.
    pub(super) client: Option<Client>,
}

impl<T> Queue<T> {
    /// Room for so many, of which one Client may have so many turns at once.
    pub(super) fn new(len_max: usize, turns_max: usize) -> Self {
        let state =
            State { ready: VecDeque::new(), busy: HashMap::new(), len: 0, is_closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), len_max, turns_max }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something wait for its turn; gives it back if there is no room.
    pub(super) fn push(&self, client: Option<Client>, item: T) -> Option<T> {
        let mut state = self.state();
        if state.len >= self.len_max || state.is_closed {
            return Some(item);
        }
        if let Some(client) = &client {
            let busy = state.busy.get_mut(client);
            if let Some(busy) = busy {
                if busy.turns >= self.turns_max {
                    if busy.parked.len() >= (self.len_max / SHARE).max(1) {
                        return Some(item);
                    }
                    busy.parked.push_back(item);
                    state.len += 1;
                    return None;
                }
                busy.turns += 1;
            } else {
                let first = Busy { turns: 1, parked: VecDeque::new() };
                state.busy.insert(client.clone(), first);
            }
        }
        state.len += 1;
        state.ready.push_back(Turn { item, client });
        self.changed.notify_one();
        None
    }

    /// Waits for the next turn; `None` when there will be none any more.
    pub(super) fn take(&self) -> Option<Turn<T>> {
        let waits = |state: &mut State<T>| state.ready.is_empty() && !state.is_closed;
        let state = self.changed.wait_while(self.state(), waits);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed {
            return None;
        }
        state.len -= 1;
        state.ready.pop_front()
    }

    /// A turn is over: the next one of its Client gets in line.
    pub(super) fn finish(&self, client: Option<Client>) {
        let Some(client) = client else { return };
        let mut state = self.state();
        let Some(busy) = state.busy.get_mut(&client) else { return };
        if let Some(item) = busy.parked.pop_front() {
            state.ready.push_back(Turn { item, client: Some(client) });
            self.changed.notify_one();
            return;
        }
        busy.turns -= 1;
        if busy.turns == 0 {
            state.busy.remove(&client);
        }
    }

    /// Nothing is taken any more, and nothing is let in.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str, name: &str) -> Option<Client> {
        Some(Client::new(address.parse().unwrap(), &name.parse().unwrap()))
    }

    fn take(queue: &Queue<&'static str>) -> (&'static str, Option<Client>) {
        let Turn { item, client } = queue.take().expect("a turn");
        (item, client)
    }

    #[test]
    fn each_client_has_one_turn_at_a_time() {
        let queue = Queue::new(100, 1);
        let (guesser, neighbour) = (client("192.0.2.1", "gauge"), client("192.0.2.2", "gauge"));
        for item in ["first", "second", "third"] {
            assert_eq!(queue.push(guesser.clone(), item), None);
        }
        assert_eq!(queue.push(neighbour, "neighbour"), None);
        assert_eq!(queue.push(client("192.0.2.1", "pump"), "pump"), None);
        assert_eq!(queue.push(None, "local"), None);
        assert_eq!(queue.push(None, "local too"), None);
        assert_eq!(take(&queue), ("first", guesser.clone()));
        let others = ["neighbour", "pump", "local", "local too"];
        assert_eq!([(); 4].map(|()| take(&queue).0), others);
        assert_eq!(queue.state().len, 2, "nobody's turn");

        for expected in ["second", "third"] {
            queue.finish(guesser.clone());
            assert_eq!(take(&queue), (expected, guesser.clone()));
        }
        queue.finish(guesser.clone());
        assert_eq!(queue.state().busy.len(), 2, "the neighbour and the pump");
        assert_eq!(queue.push(guesser, "fourth"), None);
        assert_eq!(take(&queue).0, "fourth");
        assert_eq!(queue.state().len, 0);
    }

    #[test]
    fn a_household_is_one_address() {
        let queue = Queue::new(100, 1);
        assert_eq!(queue.push(client("2001:db8::1", "gauge"), "one"), None);
        assert_eq!(queue.push(client("2001:db8::2", "gauge"), "two"), None);
        assert_eq!(queue.push(client("2001:db8:0:1::1", "gauge"), "three"), None);
        assert_eq!([(); 2].map(|()| take(&queue).0), ["one", "three"]);
    }

    #[test]
    fn there_is_so_much_room_whoever_waits() {
        let queue = Queue::new(3, 1);
        let guesser = client("192.0.2.1", "gauge");
        for _ in 0..2 {
            assert_eq!(queue.push(guesser.clone(), "guess"), None);
        }
        assert_eq!(queue.push(None, "local"), None);
        assert_eq!(queue.push(None, "more"), Some("more"));
        assert_eq!(queue.push(guesser, "more"), Some("more"));
        let (_, client) = take(&queue);
        assert_eq!(queue.push(None, "more"), None);
        queue.finish(client);
        assert_eq!([(); 3].map(|()| take(&queue).0), ["local", "more", "guess"]);
    }

    #[test]
    fn a_client_has_some_turns_at_once_and_a_part_of_the_room() {
        let queue = Queue::new(4 * SHARE, 2);
        let fleet = client("192.0.2.1", "fleet");
        for item in ["first", "second", "1", "2", "3", "4"] {
            assert_eq!(
                queue.push(fleet.clone(), item),
                None,
                "two turns, and an eighth of the room"
            );
        }
        assert_eq!(queue.push(fleet.clone(), "5"), Some("5"));
        assert_eq!(queue.push(client("192.0.2.2", "other"), "other"), None);
        assert_eq!([(); 3].map(|()| take(&queue).0), ["first", "second", "other"]);
        queue.finish(fleet.clone());
        assert_eq!(queue.push(fleet.clone(), "5"), None, "there is room again");
        for expected in ["1", "2", "3", "4", "5"] {
            assert_eq!(take(&queue).0, expected);
            queue.finish(fleet.clone());
        }
        assert_eq!(queue.state().busy.len(), 2, "one turn of the fleet, and the other");
        queue.finish(fleet.clone());
        assert_eq!(queue.state().busy.len(), 1);
        assert_eq!(queue.push(fleet, "6"), None);
        assert_eq!(take(&queue).0, "6");
    }

    #[test]
    fn who_waits_in_vain_is_told_of_the_end() {
        let queue = Queue::<()>::new(3, 1);
        std::thread::scope(|scope| {
            let waiting = [(); 2].map(|()| scope.spawn(|| queue.take().is_none()));
            queue.close();
            assert!(waiting.into_iter().all(|thread| thread.join().expect("no panic")));
        });
        assert_eq!(queue.push(None, ()), Some(()));
        assert!(queue.take().is_none());
    }
}
