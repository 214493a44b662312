//! The first messages of a queue, in memory.

use super::latest::{Latest, Succession};
use super::{Keep, QueuePart, Queued};
use std::collections::VecDeque;

/// The messages of a queue that come first, or all.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Nothing stands where a message was replaced; the first place is never empty.
    messages: VecDeque<Option<Queued>>,
    /// Bytes of the messages.
    bytes: usize,
    /// Under [`Keep::Latest`], which message is the newest of its succession.
    latest: Option<Box<Latest>>,
}

impl Head {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len() - self.latest.as_ref().map_or(0, |latest| latest.holes)
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is as much as this.
    #[inline]
    pub(super) fn fills(&self, part: QueuePart) -> bool {
        self.messages.len() >= part.len || self.bytes >= part.bytes
    }

    /// Whether it is more than this.
    pub(super) fn exceeds(&self, part: QueuePart) -> bool {
        self.messages.len() > part.len || self.bytes > part.bytes
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.messages.capacity()
    }

    pub(super) fn messages(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        self.messages.iter().flatten()
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Queued> {
        self.messages.front()?.as_ref()
    }

    #[inline]
    pub(super) fn push_back(&mut self, queued: Queued) {
        self.bytes += queued.cost();
        self.messages.push_back(Some(queued));
    }

    /// As [`Head::push_back`], under [`Keep::Latest`].
    pub(super) fn push_latest(&mut self, queued: Queued) {
        let latest = self.latest.get_or_insert_default();
        if !queued.is_tentative() {
            latest.pushed_back(queued.succession(), self.messages.len());
        }
        self.push_back(queued);
    }

    pub(super) fn push_front(&mut self, queued: Queued, keep: Keep) {
        if matches!(keep, Keep::Latest) {
            let is_tentative = queued.is_tentative();
            let latest = self.latest.get_or_insert_default();
            latest.pushed_front(queued.succession(), is_tentative);
        }
        self.bytes += queued.cost();
        self.messages.push_front(Some(queued));
    }

    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.messages.pop_front()??;
        self.bytes -= queued.cost();
        if let Some(latest) = &mut self.latest {
            latest.popped(&queued.succession(), &mut self.messages);
        }
        if self.messages.is_empty() {
            // A drained queue keeps no buffer.
            self.messages = VecDeque::new();
            self.latest = None;
        }
        Some(queued)
    }

    /// A message that was tentative is owed; gives the place of the one that it replaces, if it
    /// does.
    pub(super) fn confirm(&mut self, number: u64) -> Option<usize> {
        let is_it = |queued: &Option<Queued>| {
            queued.as_ref().is_some_and(|queued| queued.number() == Some(number))
        };
        let at = self.messages.iter().rposition(is_it)?;
        let queued = self.messages[at].as_mut()?;
        if let Some(note) = &mut queued.note {
            note.tentative = false;
        }
        let succession = queued.succession();
        self.latest.as_mut()?.confirmed(succession, at)
    }

    /// Takes out those that `wanted` picks, in their order.
    pub(super) fn extract(&mut self, wanted: impl Fn(&Queued) -> bool, picked: &mut Vec<Queued>) {
        if !self.messages().any(&wanted) {
            return;
        }
        for queued in std::mem::take(&mut self.messages).into_iter().flatten() {
            if wanted(&queued) {
                self.bytes -= queued.cost();
                picked.push(queued);
            } else {
                self.messages.push_back(Some(queued));
            }
        }
        self.latest = self.latest.is_some().then(|| Box::new(Latest::of(&self.messages)));
    }

    /// Where the newest message of this succession is.
    pub(super) fn place(&self, succession: &Succession) -> Option<usize> {
        self.latest.as_ref()?.place(succession)
    }

    /// Leaves the place of a replaced message empty.
    pub(super) fn take_out(&mut self, at: usize) -> Option<Queued> {
        let queued = self.messages.get_mut(at)?.take()?;
        self.bytes -= queued.cost();
        if let Some(latest) = &mut self.latest {
            latest.taken_out(&queued.succession(), at, &mut self.messages);
        }
        Some(queued)
    }

    /// Takes away what is beyond this much and can be left to the store, with all that follows.
    pub(super) fn split_off(&mut self, part: QueuePart) -> impl Iterator<Item = Queued> + use<> {
        let mut kept = QueuePart::NOTHING;
        for queued in self.messages.iter().flatten() {
            let goes = kept.len >= part.len || kept.bytes >= part.bytes;
            if goes && queued.number_in_store().is_some() {
                break;
            }
            kept.add(queued.cost());
        }
        self.bytes = kept.bytes;
        let rest = self.messages.split_off(kept.len);
        self.messages.shrink_to_fit();
        rest.into_iter().flatten()
    }
}
