//! The tasks that wait until a stream takes more bytes: the one that writes, and the one that reads,
//! since TLS and WebSocket have to answer what they read. A socket remembers one of them alone.

use std::sync::Arc;
use std::task::{Wake, Waker};

/// Who waits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// Who reads.
    Reader,
    /// Who writes.
    Writer,
}

/// The last wakers of both sides.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    sides: [Option<Waker>; 2],
    /// Wakes both, if they are not one.
    both: Option<Waker>,
}

#[derive(Debug)]
struct Both([Waker; 2]);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.iter().for_each(Waker::wake_by_ref);
    }
}

impl Wakers {
    /// Takes note of a side's waker; gives one that wakes whoever may wait.
    pub(crate) fn join(&mut self, side: Side, waker: &Waker) -> Waker {
        let known = &mut self.sides[side as usize];
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
            self.both = None;
        }
        match &self.sides {
            [Some(reader), Some(writer)] if !reader.will_wake(writer) => {
                let make = || Arc::new(Both([reader.clone(), writer.clone()])).into();
                self.both.get_or_insert_with(make).clone()
            }
            _ => waker.clone(),
        }
    }
}
