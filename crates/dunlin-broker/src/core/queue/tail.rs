//! The part of a queue that is in the store alone: what is known of it, and how it comes back.

use super::{Queue, QueuePart, Queued, Waiting};
use crate::core::outgoing::Outgoing;
use dunlin_protocol::Message;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a queue knows of its messages in the store: all that are owed to its session with numbers
/// above `after`.
#[derive(Debug)]
pub(super) struct Tail {
    after: u64,
    last: u64,
    in_store: QueuePart,
    /// Those of which it is not yet known whether they are owed. As many as publishers have under
    /// way, and their workers have them as well.
    tentative: BTreeMap<u64, Arc<Message>>,
    /// Messages that the store does not have, or that may have to go elsewhere, each with the
    /// number that it comes before or after: those with lower numbers, or this one, come first.
    beside: VecDeque<(u64, Queued)>,
    beside_bytes: usize,
    underway: Option<Underway>,
}

/// A page that the store was asked for.
#[derive(Debug)]
struct Underway {
    /// Whether other messages are wanted by now.
    is_void: bool,
    /// The last number when it was asked: what came later may be in the page or not.
    upto: u64,
    /// What came later.
    since: QueuePart,
    /// What was taken out since: it may still be in the page.
    withdrawn: Vec<u64>,
}

/// What the store is to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) struct Wanted {
    pub(in crate::core) after: u64,
    pub(in crate::core) part: QueuePart,
}

impl Tail {
    const fn new(after: u64) -> Self {
        Self {
            after,
            last: after,
            in_store: QueuePart::NOTHING,
            tentative: BTreeMap::new(),
            beside: VecDeque::new(),
            beside_bytes: 0,
            underway: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.in_store.len + self.beside.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.in_store.bytes + self.beside_bytes
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        let withdrawn = self.underway.as_ref().map_or(0, |underway| underway.withdrawn.capacity());
        self.tentative.len() + self.beside.capacity() + withdrawn
    }

    pub(super) fn beside(&self) -> impl Iterator<Item = &Queued> {
        self.beside.iter().map(|(_, queued)| queued)
    }

    /// Leaves a message to the store.
    fn add(&mut self, number: u64, queued: &Queued) {
        let size = queued.cost();
        self.last = number;
        self.in_store.add(size);
        if queued.is_tentative() {
            self.tentative.insert(number, queued.message.clone());
        }
        if let Some(underway) = &mut self.underway {
            underway.since.add(size);
        }
    }

    /// Keeps a message at its place: behind all that there is.
    fn add_beside(&mut self, queued: Queued) {
        let last = self.beside.back().map_or(self.last, |(place, _)| self.last.max(*place));
        let place = queued.number().unwrap_or(last);
        self.beside_bytes += queued.cost();
        self.beside.push_back((place, queued));
    }

    /// See [`Queue::awaits_copy`].
    pub(super) fn awaits_copy(&self, outgoing: &Outgoing<'_>) -> bool {
        let beside = self.beside().filter(|queued| queued.is_tentative());
        let beside = beside.map(|queued| &queued.message);
        self.tentative.values().chain(beside).any(|message| outgoing.is_copy(message))
    }

    pub(super) fn confirm(&mut self, number: u64) -> bool {
        if self.tentative.remove(&number).is_some() {
            return true;
        }
        let queued = self.beside.iter_mut().find(|(_, queued)| queued.number() == Some(number));
        match queued.and_then(|(_, queued)| queued.note.as_mut()) {
            Some(note) => {
                note.tentative = false;
                true
            }
            None => false,
        }
    }

    pub(super) fn withdraw(&mut self, number: u64) -> Option<usize> {
        let size = self.tentative.remove(&number)?.size();
        self.in_store.remove(size);
        if let Some(underway) = &mut self.underway {
            underway.withdrawn.push(number);
            if number > underway.upto {
                underway.since.remove(size);
            }
        }
        Some(size)
    }

    pub(super) fn extract(&mut self, wanted: impl Fn(&Queued) -> bool, picked: &mut Vec<Queued>) {
        if !self.beside().any(&wanted) {
            return;
        }
        for (place, queued) in std::mem::take(&mut self.beside) {
            if wanted(&queued) {
                self.beside_bytes -= queued.cost();
                picked.push(queued);
            } else {
                self.beside.push_back((place, queued));
            }
        }
    }

    /// The next message beside whose turn is before the one with this number.
    fn pop_beside(&mut self, before: u64) -> Option<Queued> {
        let (_, queued) = self.beside.pop_front_if(|(place, _)| *place < before)?;
        self.beside_bytes -= queued.cost();
        Some(queued)
    }

    /// Takes a message of a page; `None` if it is no longer owed, or was taken before.
    fn take(&mut self, mut queued: Queued) -> Option<Queued> {
        let note = queued.note.as_mut()?;
        let number = note.number.filter(|number| *number > self.after)?;
        // What the store says of it may be older than what is known here.
        let tentative = self.tentative.remove(&number);
        note.tentative = tentative.is_some();
        if let Some(message) = tentative {
            // The very one, by which copies of it are known.
            queued.message = message;
        }
        let underway = self.underway.as_mut()?;
        if underway.withdrawn.contains(&number) {
            return None;
        }
        let size = queued.cost();
        if number > underway.upto {
            underway.since.remove(size);
        }
        self.in_store.remove(size);
        self.after = number;
        Some(queued)
    }
}

impl Queue {
    /// Adds a message at the end, which is not in memory.
    #[cold]
    pub(super) fn push_behind(&mut self, queued: Queued) {
        match (queued.number_in_store(), &mut self.tail) {
            (Some(number), tail) => {
                let tail = tail.get_or_insert_with(|| Box::new(Tail::new(number - 1)));
                tail.add(number, &queued);
            }
            (None, Some(tail)) => tail.add_beside(queued),
            (None, None) => self.push_back(queued),
        }
    }

    /// Messages that wait in the store since an earlier process; they come after all that the
    /// queue has, and have lower numbers than those that come.
    pub(in crate::core) fn add_waiting(&mut self, waiting: Waiting) {
        let after = waiting.first.saturating_sub(1);
        let tail = self.tail.get_or_insert_with(|| Box::new(Tail::new(after)));
        tail.last = tail.last.max(waiting.last);
        tail.in_store.len += usize::try_from(waiting.len).unwrap_or(usize::MAX);
        tail.in_store.bytes += usize::try_from(waiting.bytes).unwrap_or(usize::MAX);
    }

    /// What is to be fetched now, if anything is: when two thirds of the head are gone, or, where
    /// that is `urgent`, in any case.
    pub(in crate::core) fn want(&mut self, head: QueuePart, urgent: bool) -> Option<Wanted> {
        let (head_len, head_bytes) = (self.head_len(), self.head_bytes());
        let tail = self.tail.as_mut()?;
        let is_low = head_len <= head.len / 3 && head_bytes <= head.bytes / 3;
        if tail.underway.is_some() || !(is_low || urgent) {
            return None;
        }
        tail.underway = Some(Underway {
            is_void: false,
            upto: tail.last,
            since: QueuePart::NOTHING,
            withdrawn: Vec::new(),
        });
        let part = QueuePart {
            len: head.len.saturating_sub(head_len).max(1),
            bytes: head.bytes.saturating_sub(head_bytes).max(1),
        };
        Some(Wanted { after: tail.after, part })
    }

    /// Takes a page that was wanted, in the order of its numbers; gives how many messages were
    /// lost because the store no longer has them.
    pub(in crate::core) fn take_page(
        &mut self,
        page: impl Iterator<Item = Queued>,
        more: bool,
        damaged: u64,
        replaced: Option<&mut Vec<Queued>>,
    ) -> usize {
        let Some(mut tail) = self.tail.take() else { return 0 };
        if tail.underway.as_ref().is_none_or(|underway| underway.is_void) {
            tail.underway = None;
            self.tail = Some(tail);
            self.end_tail();
            return 0;
        }
        let mut replaced = replaced;
        let mut is_empty = true;
        for queued in page {
            is_empty = false;
            let Some(queued) = tail.take(queued) else { continue };
            while let Some(beside) = tail.pop_beside(tail.after) {
                self.push_taken(beside, &mut replaced);
            }
            self.push_taken(queued, &mut replaced);
        }
        let underway = tail.underway.take();
        let mut lost = 0;
        if let Some(underway) = underway.filter(|_| !more || is_empty) {
            // All up to there were in the page, or are no more.
            lost = tail.in_store.len.saturating_sub(underway.since.len);
            tail.in_store = underway.since;
            tail.after = tail.after.max(underway.upto);
            tail.tentative = tail.tentative.split_off(&(tail.after + 1));
        } else if damaged > 0 {
            lost = tail.in_store.len.min(usize::try_from(damaged).unwrap_or(usize::MAX));
            tail.in_store.len -= lost;
        }
        let upto = if tail.in_store.len == 0 { u64::MAX } else { tail.after + 1 };
        while let Some(beside) = tail.pop_beside(upto) {
            self.push_taken(beside, &mut replaced);
        }
        self.tail = Some(tail);
        self.end_tail();
        lost
    }

    /// Adds a message that comes out of the tail to the head.
    fn push_taken(&mut self, queued: Queued, replaced: &mut Option<&mut Vec<Queued>>) {
        match replaced {
            // It was counted when it came.
            Some(replaced) => {
                if let Some(older) = self.push_latest(queued) {
                    replaced.push(older);
                }
            }
            None => self.push_back(queued),
        }
    }

    /// Forgets a tail that has come to its end.
    pub(super) fn end_tail(&mut self) {
        let is_over = |tail: &mut Box<Tail>| tail.in_store.len == 0 && tail.underway.is_none();
        if let Some(tail) = self.tail.take_if(is_over) {
            for (_, queued) in tail.beside {
                self.push_back(queued);
            }
        }
    }

    /// Leaves to the store what is beyond this much of the head.
    pub(in crate::core) fn shrink(&mut self, head: QueuePart) {
        let Some(messages) = self.head.as_mut().filter(|messages| messages.exceeds(head)) else {
            return;
        };
        let mut rest = messages.split_off(head).peekable();
        let Some(first) = rest.peek().and_then(Queued::number_in_store) else { return };
        let mut tail = Tail::new(first - 1);
        for queued in rest {
            match queued.number_in_store() {
                Some(number) => tail.add(number, &queued),
                None => tail.add_beside(queued),
            }
        }
        if let Some(mut behind) = self.tail.take() {
            tail.last = behind.last;
            tail.in_store.len += behind.in_store.len;
            tail.in_store.bytes += behind.in_store.bytes;
            tail.tentative.append(&mut behind.tentative);
            tail.beside.append(&mut behind.beside);
            tail.beside_bytes += behind.beside_bytes;
            tail.underway = behind.underway.map(|underway| Underway { is_void: true, ..underway });
        }
        self.tail = Some(Box::new(tail));
    }

    /// Takes all messages away, those in the store as well.
    pub(in crate::core) fn clear(&mut self) {
        *self = Self::default();
    }
}
