//! The queue between the driver and one subscription's stream, with its bound and its policy.

use crate::received::Delivered;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What happens to a message that comes while a stream's buffer is full.
///
/// Whatever is dropped is counted, see [`crate::Subscription::dropped`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// QoS 1 and 2: the message is kept and not acknowledged until the stream gives it out, so
    /// that the Receive Maximum stops the Server. QoS 0, which no acknowledgement can hold back:
    /// the new message is dropped.
    ///
    /// Acknowledgements leave in the order of the messages [MQTT-4.6.0-2], so a stream that is not
    /// read holds back the QoS 1 and 2 messages of the client's other streams too; it holds back
    /// neither publishing nor QoS 0.
    #[default]
    BackPressure,
    /// The oldest message makes room; QoS 1 and 2 are acknowledged although dropped.
    DropOldest,
    /// The new message is dropped; QoS 1 and 2 are acknowledged although dropped.
    DropNewest,
}

/// How much a stream may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) overflow: Overflow,
    /// How many QoS 1 and 2 messages are held beyond the bound under back-pressure. The Server's
    /// window keeps below it, except when reconnects renew the window of a stream nobody reads.
    pub(crate) withheld: usize,
}

#[derive(Debug)]
pub(crate) struct StreamQueue {
    bound: Bound,
    state: Mutex<State>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Delivered>,
    bytes: usize,
    reader: Option<Waker>,
    /// No more will come.
    ended: bool,
    /// Nobody reads any more.
    detached: bool,
}

/// A message that was not kept.
#[derive(Debug)]
pub(crate) enum Pushed {
    /// This one was dropped, by policy.
    Dropped(Delivered),
    /// This one was dropped, and the Server is to be told that it was not taken.
    Refused(Delivered),
}

impl StreamQueue {
    pub(crate) fn new(bound: Bound) -> Self {
        Self { bound, state: Mutex::default(), dropped: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message; gives all that were dropped for it.
    pub(crate) fn push(&self, item: Delivered, dropped: &mut Vec<Pushed>) {
        let mut state = self.state();
        if state.detached || state.ended {
            dropped.push(Pushed::Dropped(item));
            return;
        }
        let size = item.size();
        let is_over = |state: &State, messages: usize| {
            state.items.len() >= messages
                || (!state.items.is_empty() && state.bytes + size > self.bound.bytes)
        };
        if is_over(&state, self.bound.messages) {
            match self.bound.overflow {
                Overflow::BackPressure if item.ack.is_some() => {
                    let ceiling = self.bound.messages.saturating_add(self.bound.withheld);
                    if state.items.len() >= ceiling {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                        dropped.push(Pushed::Refused(item));
                        return;
                    }
                }
                Overflow::BackPressure | Overflow::DropNewest => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    dropped.push(Pushed::Dropped(item));
                    return;
                }
                Overflow::DropOldest => {
                    while is_over(&state, self.bound.messages)
                        && let Some(oldest) = state.pop()
                    {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                        dropped.push(Pushed::Dropped(oldest));
                    }
                }
            }
        }
        state.bytes += size;
        state.items.push_back(item);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next message; `None` once the stream has ended and was emptied.
    pub(crate) fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<Delivered>> {
        let mut state = self.state();
        if let Some(item) = state.pop() {
            return Poll::Ready(Some(item));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if !state.reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    pub(crate) fn try_pop(&self) -> Option<Delivered> {
        self.state().pop()
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.state().items.len()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Whether no more messages will come.
    pub(crate) fn is_ended(&self) -> bool {
        self.state().ended
    }

    /// No more messages will come; those that wait can still be read.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = true;
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Nobody reads any more; gives what waited.
    pub(crate) fn detach(&self) -> VecDeque<Delivered> {
        let mut state = self.state();
        state.detached = true;
        state.bytes = 0;
        std::mem::take(&mut state.items)
    }

    /// The Server has resumed the Session and will send its unacknowledged QoS 1 messages again:
    /// the copies that wait here are of no more use.
    pub(crate) fn forget_resent(&self) {
        let mut state = self.state();
        state.items.retain(|item| !item.is_sent_again());
        state.bytes = state.items.iter().map(Delivered::size).sum();
    }
}

impl State {
    fn pop(&mut self) -> Option<Delivered> {
        let item = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(item.size());
        if self.items.is_empty() && self.items.capacity() > 256 {
            self.items = VecDeque::new();
        }
        Some(item)
    }
}
