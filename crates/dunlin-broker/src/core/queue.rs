//! Messages that wait for a session: the first of them in memory, the rest, when there are many,
//! in the store alone.

mod head;
mod latest;
mod tail;
#[cfg(test)]
mod tests;

use super::GroupName;
use super::granted::Granted;
use super::image::Waiting;
use super::outgoing::Outgoing;
use super::record::Record;
use super::session::Note;
use dunlin_protocol::Message;
use dunlin_protocol::codec::{QoS, SubscriptionIdentifier};
use head::Head;
pub(super) use latest::Succession;
use std::sync::Arc;
use tail::Tail;
#[cfg(test)]
use tail::Wanted;

/// So much of a queue, in messages and in bytes by [`Message::size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePart {
    /// Messages.
    pub len: usize,
    /// Bytes of topic, payload and properties.
    pub bytes: usize,
}

impl QueuePart {
    const NOTHING: Self = Self { len: 0, bytes: 0 };

    const fn add(&mut self, size: usize) {
        self.len += 1;
        self.bytes += size;
    }

    const fn remove(&mut self, size: usize) {
        self.len = self.len.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size);
    }
}

/// How much of the queue of a session that survives is kept in memory. The rest is in the store
/// alone until its turn comes; messages that cannot be left to the store come on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueHead {
    /// While the session has no connection.
    pub away: QueuePart,
    /// While it has one. When two thirds of it are sent, more is fetched.
    pub connected: QueuePart,
}

impl Default for QueueHead {
    fn default() -> Self {
        Self {
            away: QueuePart { len: 16, bytes: 4 * 1024 },
            connected: QueuePart { len: 128, bytes: 32 * 1024 },
        }
    }
}

/// Which messages of a queue are kept, and where.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    /// All, in memory.
    All,
    /// All; beyond this much, those that the store has are there alone.
    Head(QueuePart),
    /// The newest of each [`Succession`], in memory.
    Latest,
}

/// Messages that wait for a session: it is away, its quota is used up, or its connection is slow.
/// Most sessions have none, so their queue is little more than empty places.
///
/// ```text
///  front ─► messages (the head) ─► tail: in the store, by number ─► end
///                                  └ beside: in memory, each with its place among the numbers
/// ```
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Made for the first message. While the session has a connection it stays for the next one.
    head: Option<Box<Head>>,
    /// How many messages are of QoS 0, in the head and beside the tail.
    at_most_once: usize,
    tail: Option<Box<Tail>>,
}

/// A message that waits for a session.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) message: Arc<Message>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) identifiers: Vec<SubscriptionIdentifier>,
    pub(super) note: Option<Box<Note>>,
}

impl Queued {
    pub(super) fn new(message: Arc<Message>, granted: &Granted, retain: bool, note: Note) -> Self {
        Self {
            qos: message.qos.min(granted.maximum_qos),
            message,
            retain,
            identifiers: granted.identifiers.as_slice().to_vec(),
            note: (!note.is_empty()).then(|| Box::new(note)),
        }
    }

    /// A message as a store gives it back.
    pub(super) fn of(record: Record) -> Option<Self> {
        let Record::Owed {
            number,
            message,
            qos,
            retain,
            subscription_identifiers: identifiers,
            group,
            tentative,
            ..
        } = record
        else {
            return None;
        };
        let note = Note { number: Some(number), group, tentative, ..Note::default() };
        Some(Self { message, qos, retain, identifiers, note: Some(Box::new(note)) })
    }

    fn cost(&self) -> usize {
        self.message.size()
    }

    /// Whether it waits until the publisher's exchange is decided.
    pub(super) fn is_tentative(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.tentative)
    }

    /// Whether it waits for a decision, and this one was taken before it.
    pub(super) fn is_undecided_after(&self, outgoing: &Outgoing<'_>) -> bool {
        let turn = self.note.as_ref().filter(|note| note.tentative).and_then(|note| note.turn);
        turn.zip(outgoing.turn).is_some_and(|(own, earlier)| earlier < own)
    }

    /// Which messages it replaces, where the newest is kept.
    fn succession(&self) -> Succession {
        Succession {
            topic_name: self.message.topic_name.clone(),
            group: self.note.as_ref().and_then(|note| note.group.clone()),
        }
    }

    fn number(&self) -> Option<u64> {
        self.note.as_ref()?.number
    }

    /// Its number, if it can be left to the store. What came by a Shared Subscription can't: it
    /// may have to be handed to another member.
    fn number_in_store(&self) -> Option<u64> {
        self.note.as_ref().filter(|note| note.group.is_none())?.number
    }
}

impl Queue {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.head_len() + self.tail.as_ref().map_or(0, |tail| tail.len())
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.head_bytes() + self.tail.as_ref().map_or(0, |tail| tail.bytes())
    }

    /// Whether nothing waits, so that a message may be sent at once.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.as_ref().is_none_or(|head| head.is_empty()) && self.tail.is_none()
    }

    /// Whether there is more than what is in memory.
    #[inline]
    pub(super) const fn has_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// How many messages are in memory and come before the tail.
    pub(super) fn head_len(&self) -> usize {
        self.head.as_ref().map_or(0, |head| head.len())
    }

    /// Bytes of the messages in memory that come before the tail.
    fn head_bytes(&self) -> usize {
        self.head.as_ref().map_or(0, |head| head.bytes())
    }

    /// The messages in memory that come before the tail.
    fn messages(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        self.head.iter().flat_map(|head| head.messages())
    }

    /// How many places for messages, and for what is known of them, there are in memory.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        let head = self.head.as_ref().map_or(0, |head| head.places());
        head + self.tail.as_ref().map_or(0, |tail| tail.places())
    }

    /// Whether a message of QoS 0 waits, which another one may not overtake.
    pub(super) const fn holds_at_most_once(&self) -> bool {
        self.at_most_once > 0
    }

    /// The session has lost its connection: an empty head is not kept for what may come.
    pub(super) fn drop_empty_head(&mut self) {
        self.head.take_if(|head| head.is_empty());
    }

    /// Adds a message at the end; gives back the one that it replaces, if it does.
    #[inline]
    pub(super) fn push(&mut self, queued: Queued, keep: Keep) -> Option<Queued> {
        self.at_most_once += usize::from(queued.qos == QoS::AtMostOnce);
        match keep {
            Keep::Head(part) if self.tail.is_some() || self.fills(part) => self.push_behind(queued),
            Keep::Latest if self.tail.is_some() => self.push_behind(queued),
            Keep::Latest => return self.push_latest(queued),
            Keep::All | Keep::Head(_) => self.push_back(queued),
        }
        None
    }

    /// Whether the head is as much as this.
    #[inline]
    fn fills(&self, part: QueuePart) -> bool {
        self.head.as_ref().is_some_and(|head| head.fills(part))
    }

    #[inline]
    fn push_back(&mut self, queued: Queued) {
        self.head.get_or_insert_default().push_back(queued);
    }

    /// The first message. There may be none in memory though the queue has some.
    pub(super) fn front(&self) -> Option<&Queued> {
        self.head.as_ref()?.front()
    }

    /// Whether a copy of this message is in it that waits until the message is decided.
    pub(super) fn awaits_copy(&self, outgoing: &Outgoing<'_>) -> bool {
        let last = self.messages().rev().take_while(|queued| queued.is_tentative());
        let mut undecided = last.chain(self.front().filter(|front| front.is_tentative()));
        undecided.any(|queued| outgoing.is_copy(&queued.message))
            || self.tail.as_ref().is_some_and(|tail| tail.awaits_copy(outgoing))
    }

    /// Takes the first message, if it is in memory.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.head.as_mut()?.pop()?;
        self.at_most_once -= usize::from(queued.qos == QoS::AtMostOnce);
        Some(queued)
    }

    /// Puts back what was just taken.
    pub(super) fn push_front(&mut self, queued: Queued, keep: Keep) {
        self.at_most_once += usize::from(queued.qos == QoS::AtMostOnce);
        self.head.get_or_insert_default().push_front(queued, keep);
    }

    /// A message that was tentative is owed; gives back the one that it replaces, if it does.
    pub(super) fn confirm(&mut self, number: u64) -> Option<Queued> {
        if self.tail.as_mut().is_some_and(|tail| tail.confirm(number)) {
            return None;
        }
        let place = self.head.as_mut()?.confirm(number)?;
        self.take_out(place)
    }

    /// A message that is tentative is not owed: takes it out. It was as large as this if it was in
    /// the store alone.
    pub(super) fn withdraw(&mut self, number: u64) -> Option<usize> {
        let withdrawn = self.tail.as_mut()?.withdraw(number);
        if withdrawn.is_some() {
            self.end_tail();
        }
        withdrawn
    }

    /// The Shared Subscriptions that messages came by, as often as they did.
    pub(super) fn groups(&self) -> impl Iterator<Item = Arc<GroupName>> + '_ {
        let beside = self.tail.iter().flat_map(|tail| tail.beside());
        let queued = self.messages().chain(beside);
        queued.filter_map(|queued| queued.note.as_ref()?.group.clone())
    }

    /// Takes out those of the messages in memory that `wanted` picks, in their order.
    pub(super) fn extract(&mut self, wanted: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        let mut picked = Vec::new();
        if let Some(head) = &mut self.head {
            head.extract(&wanted, &mut picked);
        }
        if let Some(tail) = &mut self.tail {
            tail.extract(wanted, &mut picked);
        }
        self.end_tail();
        self.at_most_once -= picked.iter().filter(|queued| queued.qos == QoS::AtMostOnce).count();
        picked
    }

    // ---- the newest of each succession

    fn push_latest(&mut self, queued: Queued) -> Option<Queued> {
        let replaced = match queued.is_tentative() {
            // It replaces what is before it once it is confirmed.
            true => None,
            false => self.take_older(&queued.succession()),
        };
        self.head.get_or_insert_default().push_latest(queued);
        replaced
    }

    /// Takes out the message that a newer one of this succession replaces.
    pub(super) fn take_older(&mut self, succession: &Succession) -> Option<Queued> {
        let place = self.head.as_ref()?.place(succession)?;
        self.take_out(place)
    }

    /// Leaves the place of a replaced message empty.
    fn take_out(&mut self, at: usize) -> Option<Queued> {
        let queued = self.head.as_mut()?.take_out(at)?;
        self.at_most_once -= usize::from(queued.qos == QoS::AtMostOnce);
        Some(queued)
    }
}
