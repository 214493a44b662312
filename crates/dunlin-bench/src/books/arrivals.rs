//! The messages that one subscriber has to see next, by publisher and lane.

use std::collections::{BTreeSet, HashMap};

use super::gaps::{Gaps, Kind};
use super::subscription::{First, Standing, Subscription};
use super::{Missing, Verdict};
use crate::layout::{Layout, Share};

/// Stands for a lane of which no message has come since the subscription was asked for.
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
    /// What is known of a subscription that comes and goes.
    subscription: Option<Box<Subscription>>,
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
            subscription: None,
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
        self.book_other(place, publisher, sequence)
    }

    #[cold]
    fn book_other(&mut self, place: usize, publisher: u32, sequence: u64) -> Verdict {
        let due = self.next[place];
        if due == ANY {
            return self.book_first(place, publisher, sequence);
        }
        if sequence >= due {
            let is_refused = self.refused.get(&place).is_some_and(|set| set.contains(&sequence));
            let standing = self.subscription.as_ref().map(|subscription| subscription.standing);
            // Once UNSUBSCRIBE was sent a broker may keep back what it has not begun to send.
            let is_owed = standing != Some(Standing::Ending);
            let kind = if is_owed { Kind::Skipped } else { Kind::Forgiven };
            let passed = self.pass(place, sequence, kind);
            self.next[place] = sequence + self.lanes;
            if is_refused {
                self.forget_refused(place, sequence);
                return Verdict::Forgiven;
            }
            return Verdict::Fresh { skipped: if is_owed { passed } else { 0 } };
        }
        match self.gaps.get_mut(&place).and_then(|gaps| gaps.fill(sequence, self.lanes)) {
            Some(Kind::Forgiven | Kind::Refused) => Verdict::Forgiven,
            Some(Kind::Skipped) => Verdict::Late,
            None => {
                let nth = (publisher - self.share.first_publisher) as usize;
                let earlier = self.subscription.as_mut();
                earlier
                    .filter(|subscription| sequence < subscription.ended[nth])
                    .map_or(Verdict::Doubled, |earlier| {
                        earlier.book_late(place, sequence, self.lanes)
                    })
            }
        }
    }

    /// Books a message of a lane of which none has come since the subscription was asked for.
    fn book_first(&mut self, place: usize, publisher: u32, sequence: u64) -> Verdict {
        let nth = (publisher - self.share.first_publisher) as usize;
        let Some(subscription) = &mut self.subscription else { return Verdict::Stray };
        match subscription.first(nth, place, sequence) {
            First::Present { owed_from } => {
                self.next[place] = owed_from.min(sequence);
                let skipped = self.pass(place, sequence, Kind::Skipped);
                self.next[place] = sequence + self.lanes;
                Verdict::Fresh { skipped }
            }
            First::Earlier => subscription.book_late(place, sequence, self.lanes),
            First::Neither => Verdict::Stray,
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
        let Some(due) = self.owed_from(place) else { return false };
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
            let Some(due) = self.owed_from(place) else { continue };
            if due >= sent || !may_lose(due % self.lanes) {
                continue;
            }
            let to = due + (sent - due).next_multiple_of(self.lanes);
            if self.next[place] == ANY
                && let Some(subscription) = &self.subscription
            {
                // What was under way when it subscribed may be lost or come as well.
                let nth = place / self.width;
                let from = subscription.through[nth].max(subscription.ended[nth]);
                self.next[place] = self.first_of_lane(place, from);
            }
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
        let is_ending =
            self.subscription.as_ref().is_some_and(|one| one.standing != Standing::Held);
        match self.owed_from(place) {
            Some(due) if !is_ending => {
                sent.saturating_sub(due).div_ceil(self.lanes).saturating_sub(self.refused(place))
            }
            _ => 0,
        }
    }

    /// The first message of a lane that is owed and has not come; `None` while nobody knows.
    fn owed_from(&self, place: usize) -> Option<u64> {
        match (self.next[place], &self.subscription) {
            (ANY, Some(subscription)) if subscription.standing == Standing::Held => {
                Some(subscription.owed_from[place])
            }
            (ANY, _) => None,
            (due, _) => Some(due),
        }
    }

    /// Adds up what has not come, by QoS; `sent` tells how many messages a publisher has sent.
    pub(crate) fn missing(&self, layout: &Layout, sent: impl Fn(u32) -> u64) -> [Missing; 3] {
        let mut missing =
            self.subscription.as_ref().map_or_else(Default::default, |one| one.missing);
        for publisher in self.publishers() {
            let sent = sent(publisher);
            for place in self.places(publisher) {
                missing[self.qos(layout, place)].lost += self.pending(place, sent);
            }
        }
        self.add_gaps(layout, &self.gaps, &mut missing);
        if let Some(subscription) = &self.subscription {
            self.add_gaps(layout, &subscription.late_gaps, &mut missing);
        }
        missing
    }

    fn add_gaps(&self, layout: &Layout, gaps: &HashMap<usize, Gaps>, missing: &mut [Missing; 3]) {
        for (&place, gaps) in gaps {
            missing[self.qos(layout, place)] += gaps.missing(self.lanes);
        }
    }

    /// SUBSCRIBE is sent. Of each publisher so many messages are known to be through: none of these
    /// may come.
    pub(crate) fn ask(&mut self, layout: &Layout, through: impl Fn(u32) -> u64) {
        let mut subscription = self.subscription.take().unwrap_or_else(|| {
            Box::new(Subscription::new(self.share.publishers as usize, self.next.len()))
        });
        let mut missing = subscription.missing;
        self.add_gaps(layout, &self.gaps, &mut missing);
        subscription.missing = missing;
        self.gaps.clear();
        self.refused.clear();
        self.next.fill(ANY);
        subscription.standing = Standing::Asked;
        subscription.through = self.publishers().map(through).collect();
        self.subscription = Some(subscription);
    }

    /// SUBACK has come: whatever is sent from here on is owed.
    pub(crate) fn hold(&mut self, sent: impl Fn(u32) -> u64) {
        let first = |place: usize| {
            let publisher = self.share.first_publisher + (place / self.width) as u32;
            self.first_of_lane(place, sent(publisher))
        };
        let owed_from: Box<[u64]> = (0..self.next.len()).map(first).collect();
        if let Some(subscription) = &mut self.subscription {
            subscription.standing = Standing::Held;
            subscription.owed_from = owed_from;
        }
    }

    /// UNSUBSCRIBE is sent: what is under way may come or not [MQTT-3.10.4-3].
    pub(crate) fn let_go(&mut self) {
        if let Some(subscription) = &mut self.subscription {
            subscription.standing = Standing::Ending;
        }
    }

    /// UNSUBACK has come: what is sent from here on must not come [MQTT-3.10.4-2].
    pub(crate) fn end(&mut self, layout: &Layout, sent: impl Fn(u32) -> u64) {
        let publishers = self.publishers();
        if let Some(mut subscription) = self.subscription.take() {
            let mut missing = subscription.missing;
            self.add_gaps(layout, &subscription.late_gaps, &mut missing);
            subscription.missing = missing;
            subscription.late_gaps = std::mem::take(&mut self.gaps);
            subscription.standing = Standing::Gone;
            subscription.ended = publishers.map(sent).collect();
            subscription.late.clone_from(&self.next);
            for due in subscription.late.iter_mut().filter(|due| **due == ANY) {
                *due = 0;
            }
            self.next.fill(ANY);
            self.subscription = Some(subscription);
        }
    }

    /// The Session has ended, and the subscription with it: nothing may come.
    pub(crate) fn void(&mut self, layout: &Layout) {
        self.ask(layout, |_| 0);
        if let Some(subscription) = &mut self.subscription {
            subscription.standing = Standing::Gone;
            subscription.ended.fill(0);
        }
    }

    /// The first message of a lane from a number on.
    fn first_of_lane(&self, place: usize, from: u64) -> u64 {
        let (kind, topic) = self.lane_parts(place);
        let lane = kind * self.topics + u64::from(self.share.first_topic) + topic;
        lane + from.saturating_sub(lane).next_multiple_of(self.lanes)
    }

    fn lane_parts(&self, place: usize) -> (u64, u64) {
        let (within, topics) = ((place % self.width) as u64, u64::from(self.share.topics));
        (within / topics, within % topics)
    }

    fn qos(&self, layout: &Layout, place: usize) -> usize {
        let (kind, _) = self.lane_parts(place);
        usize::from(layout.qos(kind * self.topics))
    }

    fn places(&self, publisher: u32) -> std::ops::Range<usize> {
        let nth = (publisher - self.share.first_publisher) as usize;
        nth * self.width..(nth + 1) * self.width
    }
}

#[cfg(test)]
mod tests;
