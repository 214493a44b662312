//! The places for connections that have no stream yet. Who waits for one waits in the queue of its
//! address, and the queues take turns: a crowd keeps itself waiting, and nobody else.

#[cfg(test)]
mod tests;

use crate::waiting_room::WaitingRoom;
use std::future::pending;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// Connections that wait for a place at most. Of more, the first of the largest crowd goes; it is not
/// answered, and a client that is there sends its first packet again.
const WAITING_MAX: usize = 256;

#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    state: Mutex<State>,
    /// How many of those who wait have nobody yet who makes room for them.
    wanted: Semaphore,
}

struct State {
    free: usize,
    /// Those whose turn it is are told. Who has given up waiting is passed over then.
    room: WaitingRoom<oneshot::Sender<Place>>,
    /// How many have not given up.
    waiting: usize,
}

/// One of the places, as long as this is there.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Places>>);

/// Counts one that waits.
struct Waiting<'a>(&'a Places);

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let state = State { free: max, room: WaitingRoom::new(), waiting: 0 };
        Arc::new(Self { max, state: Mutex::new(state), wanted: Semaphore::new(0) })
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }

    pub(super) fn taken(&self) -> usize {
        self.max - self.state().free
    }

    /// Waits for a place for somebody of this address, but not for longer than `patience`; nothing if
    /// there was none in time, or too many waited. `tell` is called if it is the first one that has to
    /// wait.
    pub(super) async fn take(
        self: &Arc<Self>,
        address: IpAddr,
        patience: Duration,
        tell: impl FnOnce(),
    ) -> Option<Place> {
        let (place, is_first) = {
            let mut state = self.state();
            if let Some(free) = state.free.checked_sub(1) {
                state.free = free;
                return Some(Place(Some(self.clone())));
            }
            let (turn, place) = oneshot::channel();
            // The listener does not matter: its clients come to all of them alike.
            state.room.push((Some(address), 0), turn);
            if state.room.len() > WAITING_MAX {
                // Who has given up is nobody's crowd.
                state.room.retain(|turn| !turn.is_closed());
            }
            if state.room.len() > WAITING_MAX {
                state.room.first_of_the_largest();
            }
            state.waiting += 1;
            (place, state.waiting == 1)
        };
        let _waiting = Waiting(self);
        if is_first {
            tell();
        }
        self.wanted.add_permits(1);
        timeout(patience, place).await.ok()?.ok()
    }

    /// Waits until somebody wants the place of one who could make room.
    pub(super) async fn make_room(&self) {
        match self.wanted.acquire().await {
            // One makes room for one.
            Ok(wish) => wish.forget(),
            Err(_) => pending().await,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(places) = self.0.take() else { return };
        let mut state = places.state();
        while let Some(turn) = state.room.next(|_| true) {
            match turn.send(Self(Some(places.clone()))) {
                Ok(()) => return,
                // It has given up.
                Err(mut place) => place.0 = None,
            }
        }
        state.free += 1;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.waiting -= 1;
        // Nobody need make room for it any more; but who has done so has taken the wish already.
        let wanted = &self.0.wanted;
        wanted.forget_permits(wanted.available_permits().saturating_sub(state.waiting));
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("free", &self.free)
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
