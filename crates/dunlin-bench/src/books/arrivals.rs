//! The messages that one subscriber has to see next, by publisher and lane.

use std::collections::HashMap;

use super::gaps::Gaps;
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
        if sequence == due {
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
        if sequence > due {
            self.gaps.entry(place).or_default().add(due, sequence, false, self.lanes);
            self.next[place] = sequence + self.lanes;
            return Verdict::Fresh { skipped: (sequence - due) / self.lanes };
        }
        match self.gaps.get_mut(&place).and_then(|gaps| gaps.fill(sequence, self.lanes)) {
            Some(filled) if filled.is_forgiven => Verdict::Forgiven,
            Some(_) => Verdict::Late,
            None => Verdict::Doubled,
        }
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
            let messages = (sent - due).div_ceil(self.lanes);
            let to = due + messages * self.lanes;
            self.gaps.entry(place).or_default().add(due, to, true, self.lanes);
            self.next[place] = to;
            forgiven += messages;
        }
        forgiven
    }

    /// How many messages of a publisher are still due, that has sent so many.
    pub(crate) fn outstanding(&self, publisher: u32, sent: u64) -> u64 {
        let due = self.places(publisher).map(|place| self.next[place]);
        due.map(|due| sent.saturating_sub(due).div_ceil(self.lanes)).sum()
    }

    /// Takes any message of each lane as the first: the subscription is new.
    pub(crate) fn begin_anywhere(&mut self) {
        self.next.fill(ANY);
        self.gaps.clear();
    }

    /// Adds up what has not come, by QoS; `sent` tells how many messages a publisher has sent.
    pub(crate) fn missing(&self, layout: &Layout, sent: impl Fn(u32) -> u64) -> [Missing; 3] {
        let mut missing = [Missing::default(); 3];
        for publisher in self.publishers() {
            let sent = sent(publisher);
            for place in self.places(publisher) {
                // A lane that may begin anywhere is owed nothing that could be counted.
                let due = self.next[place];
                if due != ANY {
                    let messages = sent.saturating_sub(due).div_ceil(self.lanes);
                    missing[self.qos(layout, place)].lost += messages;
                }
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
