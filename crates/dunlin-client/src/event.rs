//! What happens to the connection, and messages that no subscription asked for.
//!
//! The queue is bounded in both: a user who never reads it costs a little memory and stops
//! nothing.

use crate::received::Delivered;
use crate::shared::Shared;
use crate::{DisconnectCause, Received};
use dunlin_protocol::codec::{ConnAck, ReasonCode, TopicFilter};
use futures_core::Stream;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many events that are no messages wait; beyond them the oldest go.
const CONNECTION_EVENTS_MAX: usize = 64;

/// Something that happened to the connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The Session Store had messages of an earlier program: they are sent as if this one had
    /// published them.
    #[non_exhaustive]
    SessionRestored {
        /// How many had not been sent.
        queued: usize,
        /// How many were under way.
        in_flight: usize,
    },
    /// The Server has accepted a connection, the first or a later one.
    #[non_exhaustive]
    Connected {
        /// Whether the Server goes on with the Session it had.
        session_present: bool,
        /// All that the Server said.
        connack: Box<ConnAck>,
    },
    /// A connection is over, or an attempt to reconnect has failed.
    #[non_exhaustive]
    Disconnected {
        /// Why.
        cause: DisconnectCause,
        /// Whether the client tries again.
        will_reconnect: bool,
    },
    /// The Server no longer had the Session. What was in flight is published anew: a QoS 2 message
    /// may for once arrive twice.
    #[non_exhaustive]
    SessionLost {
        /// How many messages are published anew.
        republished: usize,
    },
    /// The subscriptions that were lost with the Session are made again.
    #[non_exhaustive]
    SubscriptionsRestored {
        /// How many streams go on.
        subscriptions: usize,
    },
    /// The Server refused to restore a subscription; its stream has ended.
    #[non_exhaustive]
    SubscriptionRefused {
        /// Its Topic Filters.
        topic_filters: Vec<TopicFilter>,
        /// One for each Topic Filter; empty when the subscription could not be sent.
        reason_codes: Vec<ReasonCode>,
    },
    /// A message that belongs to no stream: from a Session that an earlier program left.
    Message(Received),
    /// Messages that belong to no stream were dropped because nobody read these events. Those of
    /// QoS 1 and 2 were acknowledged.
    #[non_exhaustive]
    Dropped {
        /// How many since this was last told.
        messages: u64,
    },
}

#[derive(Debug)]
enum Entry {
    Event(Box<Event>),
    Message(Box<Delivered>),
}

#[derive(Debug)]
pub(crate) struct EventQueue {
    messages_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    messages: usize,
    dropped: u64,
    reader: Option<Waker>,
    closed: bool,
    detached: bool,
}

impl EventQueue {
    pub(crate) fn new(messages_max: usize) -> Self {
        Self { messages_max, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, event: Event) {
        let mut state = self.state();
        if state.detached {
            return;
        }
        if state.entries.len() - state.messages >= CONNECTION_EVENTS_MAX {
            let oldest = state.entries.iter().position(|entry| matches!(entry, Entry::Event(_)));
            oldest.and_then(|at| state.entries.remove(at));
        }
        state.entries.push_back(Entry::Event(Box::new(event)));
        state.wake();
    }

    /// Adds a message; gives one that was dropped and needs its acknowledgement.
    pub(crate) fn push_message(&self, message: Delivered) -> Option<Delivered> {
        let mut state = self.state();
        if state.detached || self.messages_max == 0 {
            state.dropped += 1;
            return Some(message);
        }
        let mut dropped = None;
        if state.messages >= self.messages_max {
            let oldest = state.entries.iter().position(|entry| matches!(entry, Entry::Message(_)));
            if let Some(Entry::Message(oldest)) = oldest.and_then(|at| state.entries.remove(at)) {
                state.messages -= 1;
                state.dropped += 1;
                dropped = Some(*oldest);
            }
        }
        state.messages += 1;
        state.entries.push_back(Entry::Message(Box::new(message)));
        state.wake();
        dropped
    }

    /// The Server will send its unacknowledged QoS 1 messages again.
    pub(crate) fn forget_resent(&self) {
        let mut state = self.state();
        state
            .entries
            .retain(|entry| !matches!(entry, Entry::Message(message) if message.is_sent_again()));
        state.messages =
            state.entries.iter().filter(|entry| matches!(entry, Entry::Message(_))).count();
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wake();
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The stream of [`Event`]s of one client; ends after the final [`Event::Disconnected`].
///
/// It need not be read. Of the events that are no messages the latest 64 wait; of the messages as
/// many as [`crate::ClientBuilder::events_buffer`] says, and older ones are dropped, which
/// [`Event::Dropped`] tells. Dropping the stream drops such messages at once.
#[derive(Debug)]
#[must_use = "keep it in a variable to get messages of a resumed Session, or drop it by name"]
pub struct Events {
    shared: Arc<Shared>,
}

impl Events {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The next event; `None` after the last.
    ///
    /// Cancellation safe: an event is taken only when it is given.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let shared = &self.shared;
        let mut state = shared.events.state();
        if state.dropped > 0 {
            let messages = std::mem::take(&mut state.dropped);
            return Poll::Ready(Some(Event::Dropped { messages }));
        }
        match state.entries.pop_front() {
            Some(Entry::Event(event)) => Poll::Ready(Some(*event)),
            Some(Entry::Message(message)) => {
                state.messages -= 1;
                drop(state);
                Poll::Ready(Some(Event::Message(message.hand_over(shared))))
            }
            None if state.closed => Poll::Ready(None),
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(cx)
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let shared = &self.shared;
        let mut state = shared.events.state();
        state.detached = true;
        let entries = std::mem::take(&mut state.entries);
        state.messages = 0;
        drop(state);
        for entry in entries {
            if let Entry::Message(message) = entry
                && let Some(ack) = message.ack
                && let Some(settled) = ack.settle(ReasonCode::Success)
            {
                shared.push_ack(settled);
            }
        }
    }
}
