//! What handles and driver share: the inbox of commands, the room in it, and the clock.
//!
//! Locks are held for a few instructions and never across an await. Messages to publish have a
//! bound; commands and acknowledgements have room of their own, so that neither waits for the
//! other.

use crate::event::EventQueue;
use crate::stream::StreamQueue;
use crate::{
    ConnectionState, DisconnectCause, DisconnectError, PublishAck, PublishError, SubscribeError,
};
use dunlin_protocol::codec::{Disconnect, ReasonCode, Subscription, TopicFilter, UserProperties};
use dunlin_protocol::{AckToken, Message};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::Instant;

/// What a message costs in the queue beside its own bytes.
const MESSAGE_OVERHEAD: usize = 64;

/// What `publish` does when the queue of messages that wait to be sent is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The future waits for room: back-pressure on the publisher.
    #[default]
    Wait,
    /// The future fails with [`PublishError::QueueFull`].
    Fail,
    /// The oldest message that waits is dropped; its future fails with [`PublishError::Dropped`].
    DropOldest,
    /// The new message is dropped; its future fails with [`PublishError::Dropped`].
    DropNewest,
}

pub(crate) type PublishReply = oneshot::Sender<Result<PublishAck, PublishError>>;

/// A message on its way to the driver.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) reply: PublishReply,
    /// Its number in the Session Store, once it is on its way there.
    pub(crate) number: Option<u64>,
    /// Told when it is stored.
    pub(crate) accepted: Option<oneshot::Sender<()>>,
    room: Room,
}

/// What a message takes of the bounds of the queue.
#[derive(Clone, Copy, Debug, Default)]
struct Room {
    messages: usize,
    bytes: u32,
}

/// A new subscription on its way to the driver.
pub(crate) struct NewRoute {
    pub(crate) id: RouteId,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) user_properties: UserProperties,
    pub(crate) queue: Arc<StreamQueue>,
    pub(crate) reply: SubscribeReply,
}

pub(crate) type SubscribeReply = oneshot::Sender<Result<Vec<ReasonCode>, SubscribeError>>;
pub(crate) type DisconnectReply = oneshot::Sender<Result<(), DisconnectError>>;

/// Names a subscription of this client for as long as the client lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouteId(pub(crate) u64);

/// A command that is no publish.
pub(crate) enum Control {
    Subscribe(Box<NewRoute>),
    Unsubscribe {
        topic_filters: Vec<TopicFilter>,
        reply: SubscribeReply,
    },
    /// End this subscription; without a reply its stream was dropped.
    Detach {
        id: RouteId,
        reply: Option<SubscribeReply>,
    },
    Disconnect {
        disconnect: Disconnect,
        deadline: Instant,
        reply: Option<DisconnectReply>,
    },
    Reauthenticate(oneshot::Sender<Result<(), DisconnectCause>>),
}

/// An acknowledgement that is owed on one certain connection.
#[derive(Debug)]
pub(crate) struct PendingAck {
    pub(crate) connection: u64,
    pub(crate) token: AckToken,
    /// Set when several streams got the message: the last one settles it.
    pub(crate) joint: Option<Arc<Joint>>,
}

/// The acknowledgement of a message that several streams got.
#[derive(Debug)]
pub(crate) struct Joint {
    left: AtomicUsize,
    worst: AtomicU8,
}

impl Joint {
    pub(crate) fn new(holders: usize) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(holders), worst: AtomicU8::new(0) })
    }
}

/// An acknowledgement to send.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) connection: u64,
    pub(crate) token: AckToken,
    pub(crate) reason_code: ReasonCode,
    /// Told when the Session Store has it.
    pub(crate) stored: Option<oneshot::Sender<()>>,
}

impl Queued {
    /// A message that was lost with its Session; its room was given back long ago.
    pub(crate) const fn again(
        message: Arc<Message>,
        reply: PublishReply,
        number: Option<u64>,
    ) -> Self {
        Self { message, reply, number, accepted: None, room: Room { messages: 0, bytes: 0 } }
    }

    /// A message of an earlier program; nobody awaits its outcome.
    pub(crate) fn restored(message: Arc<Message>, number: u64) -> Self {
        let (reply, _) = oneshot::channel();
        Self::again(message, reply, Some(number))
    }
}

impl PendingAck {
    /// One holder is done with the message; gives the acknowledgement when it was the last.
    pub(crate) fn settle(self, reason_code: ReasonCode) -> Option<Settled> {
        let mut outcome = reason_code;
        if let Some(joint) = &self.joint {
            let worst = joint.worst.fetch_max(reason_code.value(), Ordering::AcqRel);
            if joint.left.fetch_sub(1, Ordering::AcqRel) > 1 {
                return None;
            }
            outcome = ReasonCode::new(worst.max(reason_code.value())).unwrap_or(reason_code);
        }
        let Self { connection, token, .. } = self;
        Some(Settled { connection, token, reason_code: outcome, stored: None })
    }
}

/// The state that handles and driver share.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) manual_ack: bool,
    /// Whether QoS 1 and 2 messages are accepted when a Session Store has them.
    pub(crate) has_store: bool,
    pub(crate) events: EventQueue,
    pub(crate) state: watch::Sender<ConnectionState>,
    pub(crate) next_route: AtomicU64,
    when_full: WhenFull,
    /// Messages that gave way in a full queue.
    dropped: AtomicU64,
    inbox: Mutex<Inbox>,
    room: Semaphore,
    room_bytes: Semaphore,
    bytes_max: u32,
}

#[derive(Default)]
struct Inbox {
    publishes: VecDeque<Queued>,
    controls: VecDeque<Control>,
    acks: Vec<Settled>,
    /// How many messages from the front on the driver has seen for its Session Store; and numbers
    /// of those that were dropped after that.
    seen: usize,
    dropped: Vec<u64>,
    driver: Option<Waker>,
    /// Whether the sleeping driver has use for a publish.
    wants_publishes: bool,
    /// No more messages are taken: the client is leaving, or has left.
    closed: bool,
    /// Nothing at all is taken: the driver is gone.
    gone: bool,
}

impl Inbox {
    fn pop_publish(&mut self) -> Option<Queued> {
        let first = self.publishes.pop_front()?;
        self.seen = self.seen.saturating_sub(1);
        Some(first)
    }
}

/// There is no driver any more.
pub(crate) struct Gone;

/// Why a message was not queued at once.
pub(crate) enum NotQueued {
    /// There is no room now.
    Full(Queued),
    /// There will never be.
    Error(PublishError),
}

/// How much the driver wants of the queue.
pub(crate) struct Appetite {
    pub(crate) acknowledged: usize,
    pub(crate) bytes: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        (messages_max, bytes_max): (usize, usize),
        when_full: WhenFull,
        manual_ack: bool,
        has_store: bool,
        events_max: usize,
    ) -> Arc<Self> {
        let messages_max = messages_max.min(Semaphore::MAX_PERMITS);
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
        Arc::new(Self {
            clock: Clock { start: Instant::now() },
            manual_ack,
            has_store,
            events: EventQueue::new(events_max),
            state: watch::Sender::new(ConnectionState::Connecting),
            next_route: AtomicU64::new(1),
            when_full,
            dropped: AtomicU64::new(0),
            inbox: Mutex::default(),
            room: Semaphore::new(messages_max),
            room_bytes: Semaphore::new(usize::try_from(bytes_max).unwrap_or(usize::MAX)),
            bytes_max,
        })
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- from the handles

    /// A message as the queue holds it. One that is larger than all the room needs all of it.
    pub(crate) fn queued(&self, message: Message, reply: PublishReply) -> Queued {
        let size = message.size().saturating_add(MESSAGE_OVERHEAD);
        let bytes = u32::try_from(size).unwrap_or(u32::MAX).min(self.bytes_max);
        let room = Room { messages: 1, bytes };
        Queued { message: Arc::new(message), reply, number: None, accepted: None, room }
    }

    /// How many messages gave way in a full queue.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Queues the message if there is room, or makes room where the policy says so.
    pub(crate) fn try_enqueue(&self, queued: Queued) -> Result<(), NotQueued> {
        let mut dropped = Vec::new();
        while !self.take_room(queued.room) {
            if self.room.is_closed() {
                return Err(NotQueued::Error(PublishError::Disconnected));
            }
            let oldest = match self.when_full {
                WhenFull::DropOldest => self.drop_oldest(),
                WhenFull::DropNewest => {
                    self.dropped.fetch_add(1, Ordering::Relaxed);
                    return Err(NotQueued::Error(PublishError::Dropped));
                }
                WhenFull::Wait | WhenFull::Fail => None,
            };
            let Some(oldest) = oldest else { return Err(NotQueued::Full(queued)) };
            self.give_room(oldest.room);
            dropped.push(oldest.reply);
        }
        for reply in dropped {
            let _ = reply.send(Err(PublishError::Dropped));
        }
        self.push_publish(queued).map_err(NotQueued::Error)
    }

    fn drop_oldest(&self) -> Option<Queued> {
        let mut inbox = self.inbox();
        let oldest = inbox.pop_publish()?;
        self.dropped.fetch_add(1, Ordering::Relaxed);
        // The driver learns of it with the message that takes the room.
        inbox.dropped.extend(oldest.number);
        Some(oldest)
    }

    /// Waits for room in the order of asking, then queues the message. Nothing is kept when the
    /// future is dropped.
    pub(crate) async fn enqueue(self: Arc<Self>, queued: Queued) -> Result<(), PublishError> {
        if self.when_full != WhenFull::Wait {
            return Err(PublishError::QueueFull);
        }
        let gone = |_| PublishError::Disconnected;
        let message = self.room.acquire().await.map_err(gone)?;
        let bytes = self.room_bytes.acquire_many(queued.room.bytes).await.map_err(gone)?;
        message.forget();
        bytes.forget();
        self.push_publish(queued)
    }

    fn take_room(&self, room: Room) -> bool {
        let Ok(message) = self.room.try_acquire() else { return false };
        let Ok(bytes) = self.room_bytes.try_acquire_many(room.bytes) else { return false };
        message.forget();
        bytes.forget();
        true
    }

    fn give_room(&self, room: Room) {
        self.room.add_permits(room.messages);
        self.room_bytes.add_permits(usize::try_from(room.bytes).unwrap_or(0));
    }

    fn push_publish(&self, queued: Queued) -> Result<(), PublishError> {
        let mut inbox = self.inbox();
        if inbox.closed {
            return Err(PublishError::Disconnected);
        }
        inbox.publishes.push_back(queued);
        let is_wanted = inbox.wants_publishes || self.has_store;
        let driver = if is_wanted { inbox.driver.take() } else { None };
        drop(inbox);
        wake(driver);
        Ok(())
    }

    /// Hands a command to the driver.
    pub(crate) fn push_control(&self, control: Control) -> Result<(), Gone> {
        let mut inbox = self.inbox();
        if inbox.gone {
            return Err(Gone);
        }
        inbox.controls.push_back(control);
        let driver = inbox.driver.take();
        drop(inbox);
        wake(driver);
        Ok(())
    }

    /// Hands an acknowledgement to the driver; whether there still is one.
    pub(crate) fn push_ack(&self, settled: Settled) -> bool {
        let mut inbox = self.inbox();
        if inbox.gone {
            return false;
        }
        inbox.acks.push(settled);
        let driver = inbox.driver.take();
        drop(inbox);
        wake(driver);
        true
    }

    // ---- from the driver

    pub(crate) fn pop_control(&self) -> Option<Control> {
        self.inbox().controls.pop_front()
    }

    pub(crate) fn take_acks(&self, into: &mut Vec<Settled>) {
        std::mem::swap(&mut self.inbox().acks, into);
    }

    pub(crate) fn queue_len(&self) -> usize {
        self.inbox().publishes.len()
    }

    /// Takes messages from the front while the appetite lasts.
    pub(crate) fn take_publishes(&self, appetite: &Appetite, into: &mut VecDeque<Queued>) {
        let mut acknowledged = appetite.acknowledged;
        let mut bytes_left = appetite.bytes;
        let mut room = Room::default();
        let mut inbox = self.inbox();
        while let Some(first) = inbox.publishes.front() {
            let is_acknowledged = first.message.qos.value() > 0;
            if bytes_left == 0 || (is_acknowledged && acknowledged == 0) {
                break;
            }
            if self.has_store && inbox.seen == 0 {
                break;
            }
            acknowledged -= usize::from(is_acknowledged);
            let Room { messages, bytes } = first.room;
            bytes_left = bytes_left.saturating_sub(usize::try_from(bytes).unwrap_or(usize::MAX));
            room.messages += messages;
            room.bytes = room.bytes.saturating_add(bytes);
            into.extend(inbox.pop_publish());
        }
        if inbox.publishes.is_empty() && inbox.publishes.capacity() > 1024 {
            inbox.publishes = VecDeque::new();
        }
        drop(inbox);
        if room.messages > 0 {
            self.give_room(room);
        }
    }

    /// Shows the driver each message once; gives the numbers of those that were dropped.
    pub(crate) fn record_queued(&self, see: impl FnMut(&mut Queued)) -> Vec<u64> {
        let mut inbox = self.inbox();
        let seen = inbox.seen;
        inbox.publishes.range_mut(seen..).for_each(see);
        inbox.seen = inbox.publishes.len();
        std::mem::take(&mut inbox.dropped)
    }

    /// Puts messages of an earlier program before all others, and takes room for them as far as
    /// there is any.
    pub(crate) fn restore(&self, queued: Vec<Queued>) {
        let mut restored = queued;
        for queued in &mut restored {
            let size = queued.message.size().saturating_add(MESSAGE_OVERHEAD);
            let bytes = u32::try_from(size).unwrap_or(u32::MAX).min(self.bytes_max);
            let room = Room { messages: 1, bytes };
            if self.take_room(room) {
                queued.room = room;
            }
        }
        let mut inbox = self.inbox();
        inbox.seen += restored.len();
        for queued in restored.into_iter().rev() {
            inbox.publishes.push_front(queued);
        }
    }

    /// Ready when the inbox holds something that the driver has use for.
    pub(crate) fn poll_inbox(&self, cx: &Context<'_>, wants: Option<&Appetite>) -> Poll<()> {
        let mut inbox = self.inbox();
        let has_publish = match (wants, inbox.publishes.front()) {
            (Some(appetite), Some(first)) => {
                appetite.bytes > 0 && (first.message.qos.value() == 0 || appetite.acknowledged > 0)
            }
            _ => false,
        };
        let is_unseen = self.has_store && inbox.seen < inbox.publishes.len();
        if has_publish || is_unseen || !inbox.controls.is_empty() || !inbox.acks.is_empty() {
            return Poll::Ready(());
        }
        inbox.wants_publishes = wants.is_some();
        if !inbox.driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            inbox.driver = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// From now on no message is taken; those that wait for room fail.
    pub(crate) fn close_publishing(&self) {
        self.inbox().closed = true;
        self.room.close();
        self.room_bytes.close();
    }

    /// The driver ends: what waits is answered.
    pub(crate) fn close(&self, cause: DisconnectCause) {
        self.close_publishing();
        let mut inbox = self.inbox();
        inbox.gone = true;
        let publishes = std::mem::take(&mut inbox.publishes);
        inbox.seen = 0;
        let controls = std::mem::take(&mut inbox.controls);
        inbox.acks = Vec::new();
        drop(inbox);
        for queued in publishes {
            let _ = queued.reply.send(Err(PublishError::Disconnected));
        }
        // Their replies end with them, which their futures know to read.
        drop(controls);
        self.state.send_replace(ConnectionState::Disconnected(cause));
        self.events.close();
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Tokio's clock, which tests can pause, as the state machines read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn now(self) -> dunlin_protocol::Instant {
        let micros = self.start.elapsed().as_micros();
        dunlin_protocol::Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The moment on Tokio's clock; `None` beyond what it can tell.
    pub(crate) fn at(self, instant: dunlin_protocol::Instant) -> Option<Instant> {
        // One microsecond more, since `now` is rounded down.
        let micros = instant.as_micros().saturating_add(1);
        self.start.checked_add(std::time::Duration::from_micros(micros))
    }
}
