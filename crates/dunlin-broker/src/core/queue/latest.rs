//! The newest message of each Topic Name in a queue, and where it is.

use super::Queued;
use dunlin_protocol::codec::TopicName;
use std::collections::{BTreeMap, VecDeque};

/// Empty places that are left in a queue before it is made anew without them.
const HOLES_MAX: usize = 32;

/// Where in a queue the newest message of each Topic Name is. What is tentative is not in it.
#[derive(Debug)]
pub(super) struct Latest {
    /// Counts the places that have come and gone: a place keeps its number while those before it
    /// leave.
    first: u64,
    places: BTreeMap<TopicName, u64>,
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
                latest.pushed_back(&queued.message.topic_name, at);
            }
        }
        latest
    }

    pub(super) fn place(&self, topic_name: &TopicName) -> Option<usize> {
        let place = self.places.get(topic_name)?;
        usize::try_from(place - self.first).ok()
    }

    pub(super) fn pushed_back(&mut self, topic_name: &TopicName, at: usize) {
        self.places.insert(topic_name.clone(), self.first + at as u64);
    }

    pub(super) fn pushed_front(&mut self, topic_name: &TopicName, is_tentative: bool) {
        self.first -= 1;
        if !is_tentative {
            let first = self.first;
            self.places.entry(topic_name.clone()).or_insert(first);
        }
    }

    /// The first message was taken.
    pub(super) fn popped(
        &mut self,
        topic_name: &TopicName,
        messages: &mut VecDeque<Option<Queued>>,
    ) {
        if self.places.get(topic_name) == Some(&self.first) {
            self.places.remove(topic_name);
        }
        self.first += 1;
        self.skip_holes(messages);
    }

    /// A message was taken out of its place.
    pub(super) fn taken_out(
        &mut self,
        topic_name: &TopicName,
        at: usize,
        messages: &mut VecDeque<Option<Queued>>,
    ) {
        self.holes += 1;
        if self.places.get(topic_name) == Some(&(self.first + at as u64)) {
            self.places.remove(topic_name);
        }
        self.skip_holes(messages);
        if self.holes > HOLES_MAX && self.holes > messages.len() / 2 {
            messages.retain(Option::is_some);
            *self = Self::of(messages);
        }
    }

    /// The message at a place counts from now on. Gives the place of the one that it replaces, or
    /// its own if a newer one is there.
    pub(super) fn confirmed(&mut self, topic_name: &TopicName, at: usize) -> Option<usize> {
        let older = self.place(topic_name);
        if older.is_some_and(|older| older > at) {
            return Some(at);
        }
        self.pushed_back(topic_name, at);
        older
    }

    fn skip_holes(&mut self, messages: &mut VecDeque<Option<Queued>>) {
        while messages.pop_front_if(|queued| queued.is_none()).is_some() {
            self.first += 1;
            self.holes -= 1;
        }
    }
}
