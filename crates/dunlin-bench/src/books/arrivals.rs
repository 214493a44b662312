//! The messages that one subscriber has to see next, by publisher and lane.

use std::collections::{BTreeSet, HashMap};

use super::gaps::{Gaps, Kind};
use super::{Missing, Verdict};
use crate::layout::{Layout, Share};

/// Stands for a lane of which any message may come first.
const ANY: u64 = u64::MAX;

/// The books of one subscriber.
#[derive(Debug)]
pub(crate) struct Arrivals {
    share: Share,
    /// Topic Names of each publisher, of which the share may be a part.
    topics: u64,
    lanes: u64,
    /// Lanes of each publisher that this subscriber gets.
    width: usize,
    /// The message that is due, by publisher and lane.
    next: Box<[u64]>,
    gaps: HashMap<usize, Gaps>,
    /// Messages that the broker has refused, of those that are not passed yet.
    refused: HashMap<usize, BTreeSet<u64>>,
}

impl Arrivals {
    /// A subscriber to its share of the messages, from the first of each lane on.
    pub(crate) fn new(layout: &Layout, subscriber: u32) -> Self {
        let (share, lanes) = (layout.share(subscriber), layout.lanes());
        let (topics, kinds) = (u64::from(layout.topics), lanes / u64::from(layout.topics));
        let first = u64::from(share.first_topic);
        let lanes_of_one = move || {
            (0..kinds).flat_map(move |kind| {
                (first..first + u64::from(share.topics)).map(move |topic| kind * topics + topic)
            })
        };
        Self {
            share,
            topics,
            lanes,
            width: share.topics as usize * kinds as usize,
            next: (0..share.publishers).flat_map(|_| lanes_of_one()).collect(),
            gaps: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    /// The publishers whose messages this subscriber gets.
    pub(crate) fn publishers(&self) -> std::ops::Range<u32> {
        self.share.first_publisher..self.share.first_publisher + self.share.publishers
    }

    /// Where `next` keeps a message's lane.
    #[inline]
    fn place(&self, publisher: u32, sequence: u64) -> Option<usize> {
        let nth = publisher.wrapping_sub(self.share.first_publisher);
        if nth >= self.share.publishers {
            return None;
        }
        if self.lanes == 1 {
            return Some(nth as usize);
        }
        let lane = sequence % self.lanes;
        let (kind, topic) = (lane / self.topics, lane % self.topics);
        let topic = topic.wrapping_sub(u64::from(self.share.first_topic));
        let share_topics = u64::from(self.share.topics);
        (topic < share_topics)
            .then(|| nth as usize * self.width + (kind * share_topics + topic) as usize)
    }

    /// Books a delivery.
    #[inline]
    pub(crate) fn book(&mut self, publisher: u32, sequence: u64) -> Verdict {
        let Some(place) = self.place(publisher, sequence) else { return Verdict::Stray };
        let due = self.next[place];
        if sequence == due && self.refused.is_empty() {
            self.next[place] += self.lanes;
            return Verdict::Fresh { skipped: 0 };
        }
        self.book_other(place, sequence, due)
    }

    #[cold]
    fn book_other(&mut self, place: usize, sequence: u64, due: u64) -> Verdict {
        if due == ANY {
            self.next[place] = sequence + self.lanes;
            return Verdict::Fresh { skipped: 0 };
        }
        if sequence >= due {
            let is_refused = self.refused.get(&place).is_some_and(|set| set.contains(&sequence));
            let skipped = self.pass(place, sequence, Kind::Skipped);
            self.next[place] = sequence + self.lanes;
            if is_refused {
                self.forget_refused(place, sequence);
                return Verdict::Forgiven;
            }
            return Verdict::Fresh { skipped };
        }
        match self.gaps.get_mut(&place).and_then(|gaps| gaps.fill(sequence, self.lanes)) {
            Some(Kind::Forgiven | Kind::Refused) => Verdict::Forgiven,
            Some(Kind::Skipped) => Verdict::Late,
            None => Verdict::Doubled,
        }
    }

    /// Passes over all that is due before `to`; returns how many messages these are, those not
    /// counted that were refused.
    fn pass(&mut self, place: usize, to: u64, kind: Kind) -> u64 {
        let (mut from, mut passed) = (self.next[place], 0);
        let gaps = self.gaps.entry(place).or_default();
        let refused = self.refused.get(&place).into_iter().flat_map(|set| set.range(..to));
        let refused: Vec<u64> = refused.copied().collect();
        for &sequence in &refused {
            if from < sequence {
                gaps.add(from, sequence, kind, self.lanes);
                passed += (sequence - from) / self.lanes;
            }
            gaps.add(sequence, sequence + self.lanes, Kind::Refused, self.lanes);
            from = sequence + self.lanes;
        }
        if from < to {
            gaps.add(from, to, kind, self.lanes);
            passed += (to - from) / self.lanes;
        }
        for sequence in refused {
            self.forget_refused(place, sequence);
        }
        self.next[place] = to;
        passed
    }

    fn forget_refused(&mut self, place: usize, sequence: u64) {
        if let Some(set) = self.refused.get_mut(&place) {
            set.remove(&sequence);
            if set.is_empty() {
                self.refused.remove(&place);
            }
        }
    }

    /// Takes note that the broker has refused a message; true if it was due until now.
    pub(crate) fn refuse(&mut self, publisher: u32, sequence: u64) -> bool {
        let Some(place) = self.place(publisher, sequence) else { return false };
        let due = self.next[place];
        if due == ANY {
            return false;
        }
        if sequence < due {
            // Passed: it has come, or is not missed any more.
            if let Some(gaps) = self.gaps.get_mut(&place) {
                gaps.fill(sequence, self.lanes);
            }
            return false;
        }
        self.refused.entry(place).or_default().insert(sequence)
    }

    /// Refused messages of a lane that are not passed yet, of so many that were sent.
    fn refused(&self, place: usize) -> u64 {
        self.refused.get(&place).map_or(0, |set| set.len() as u64)
    }

    /// Forgives whatever has not come of a publisher that has sent so many, in lanes that `may_lose`
    /// picks; returns how many messages these are.
    pub(crate) fn forgive(
        &mut self,
        publisher: u32,
        sent: u64,
        may_lose: impl Fn(u64) -> bool,
    ) -> u64 {
        let mut forgiven = 0;
        for place in self.places(publisher) {
            let due = self.next[place];
            if due == ANY || due >= sent || !may_lose(due % self.lanes) {
                continue;
            }
            let to = due + (sent - due).next_multiple_of(self.lanes);
            forgiven += self.pass(place, to, Kind::Forgiven);
        }
        forgiven
    }

    /// How many messages of a publisher are still due, that has sent so many.
    pub(crate) fn outstanding(&self, publisher: u32, sent: u64) -> u64 {
        self.places(publisher).map(|place| self.pending(place, sent)).sum()
    }

    /// How many messages of a lane have been sent, and not come or been passed over.
    fn pending(&self, place: usize, sent: u64) -> u64 {
        // A lane that may begin anywhere is owed nothing that could be counted.
        match self.next[place] {
            ANY => 0,
            due => sent.saturating_sub(due).div_ceil(self.lanes) - self.refused(place),
        }
    }

    /// Takes any message of each lane as the first: the subscription is new.
    pub(crate) fn begin_anywhere(&mut self) {
        self.next.fill(ANY);
        self.gaps.clear();
        self.refused.clear();
    }

    /// Adds up what has not come, by QoS; `sent` tells how many messages a publisher has sent.
    pub(crate) fn missing(&self, layout: &Layout, sent: impl Fn(u32) -> u64) -> [Missing; 3] {
        let mut missing = [Missing::default(); 3];
        for publisher in self.publishers() {
            let sent = sent(publisher);
            for place in self.places(publisher) {
                missing[self.qos(layout, place)].lost += self.pending(place, sent);
            }
        }
        for (&place, gaps) in &self.gaps {
            let (of, counted) = (gaps.missing(self.lanes), self.qos(layout, place));
            missing[counted].lost += of.lost;
            missing[counted].forgiven += of.forgiven;
        }
        missing
    }

    fn qos(&self, layout: &Layout, place: usize) -> usize {
        let kind = (place % self.width) as u64 / u64::from(self.share.topics);
        usize::from(layout.qos(kind * self.topics))
    }

    fn places(&self, publisher: u32) -> std::ops::Range<usize> {
        let nth = (publisher - self.share.first_publisher) as usize;
        nth * self.width..(nth + 1) * self.width
    }
}

#[cfg(test)]
mod tests;
