//! The newest message of each succession in a queue, and where it is.

use super::Queued;
use crate::core::GroupName;
use dunlin_protocol::codec::TopicName;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Empty places that are left in a queue before it is made anew without them.
const HOLES_MAX: usize = 32;

/// Messages that replace each other: those of a Topic Name which came by the session's own
/// subscriptions, or by one Shared Subscription. What came by a group may go to another member, and
/// must not have taken the place of a message that stays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::core) struct Succession {
    pub(in crate::core) topic_name: TopicName,
    pub(in crate::core) group: Option<Arc<GroupName>>,
}

/// Where in a queue the newest message of each succession is. What is tentative is not in it.
#[derive(Debug)]
pub(super) struct Latest {
    /// Counts the places that have come and gone: a place keeps its number while those before it
    /// leave.
    first: u64,
    places: BTreeMap<Succession, u64>,
    /// Empty places.
    pub(super) holes: usize,
}

impl Default for Latest {
    fn default() -> Self {
        // Some may come back to the front.
        Self { first: 1 << 32, places: BTreeMap::new(), holes: 0 }
    }
}

impl Latest {
    /// Of a queue without empty places.
    pub(super) fn of(messages: &VecDeque<Option<Queued>>) -> Self {
        let mut latest = Self::default();
        for (at, queued) in messages.iter().flatten().enumerate() {
            if !queued.is_tentative() {
                latest.pushed_back(queued.succession(), at);
            }
        }
        latest
    }

    pub(super) fn place(&self, succession: &Succession) -> Option<usize> {
        let place = self.places.get(succession)?;
        usize::try_from(place - self.first).ok()
    }

    pub(super) fn pushed_back(&mut self, succession: Succession, at: usize) {
        self.places.insert(succession, self.first + at as u64);
    }

    pub(super) fn pushed_front(&mut self, succession: Succession, is_tentative: bool) {
        self.first -= 1;
        if !is_tentative {
            let first = self.first;
            self.places.entry(succession).or_insert(first);
        }
    }

    /// The first message was taken.
    pub(super) fn popped(
        &mut self,
        succession: &Succession,
        messages: &mut VecDeque<Option<Queued>>,
    ) {
        if self.places.get(succession) == Some(&self.first) {
            self.places.remove(succession);
        }
        self.first += 1;
        self.skip_holes(messages);
    }

    /// A message was taken out of its place.
    pub(super) fn taken_out(
        &mut self,
        succession: &Succession,
        at: usize,
        messages: &mut VecDeque<Option<Queued>>,
    ) {
        self.holes += 1;
        if self.places.get(succession) == Some(&(self.first + at as u64)) {
            self.places.remove(succession);
        }
        self.skip_holes(messages);
        if self.holes > HOLES_MAX && self.holes > messages.len() / 2 {
            messages.retain(Option::is_some);
            *self = Self::of(messages);
        }
    }

    /// The message at a place counts from now on. Gives the place of the one that it replaces, or
    /// its own if a newer one is there.
    pub(super) fn confirmed(&mut self, succession: Succession, at: usize) -> Option<usize> {
        let older = self.place(&succession);
        if older.is_some_and(|older| older > at) {
            return Some(at);
        }
        self.pushed_back(succession, at);
        older
    }

    fn skip_holes(&mut self, messages: &mut VecDeque<Option<Queued>>) {
        while messages.pop_front_if(|queued| queued.is_none()).is_some() {
            self.first += 1;
            self.holes -= 1;
        }
    }
}
