//! What the workers of a broker tell each other: their interests, and batches of messages.

use super::GroupName;
use super::forward::{Batch, Forward};
use super::granted::{Granted, SessionKey, SubscriberKey};
use super::pressure::SPARSE;
use super::retained::RetainedCursor;
use super::{ConnectionKey, Core, RecordNumber, WorkerNumber};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{SubAck, TopicFilter};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A SUBACK that waits until every worker knows of the subscription.
#[derive(Debug)]
pub(super) struct AwaitedSubAck {
    pub(super) connection: ConnectionKey,
    pub(super) session: SessionKey,
    pub(super) suback: SubAck,
    pub(super) cursors: Vec<RetainedCursor>,
    /// The record that must be stored before.
    pub(super) stored: Option<RecordNumber>,
}

/// What this worker has told the others, and what they have taken up.
#[derive(Debug)]
pub(super) struct InterestState {
    /// How many sessions of this worker have each Topic Filter.
    filters: HashMap<Box<str>, u32>,
    groups: HashMap<Arc<GroupName>, Members>,
    last_mark: u64,
    taken: Vec<u64>,
    awaited: VecDeque<(u64, AwaitedSubAck)>,
}

/// The members of a Shared Subscription on this worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) connected: u32,
    pub(super) all: u32,
}

impl InterestState {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            filters: HashMap::new(),
            groups: HashMap::new(),
            last_mark: 0,
            taken: vec![0; workers],
            awaited: VecDeque::new(),
        }
    }

    /// Gives back room that few of the Topic Filters need which were here once.
    pub(super) fn shrink(&mut self) {
        if self.filters.len() < self.filters.capacity() / SPARSE {
            self.filters.shrink_to(2 * self.filters.len());
        }
        if self.groups.len() < self.groups.capacity() / SPARSE {
            self.groups.shrink_to(2 * self.groups.len());
        }
    }

    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.filters.capacity(), self.groups.capacity()]
    }

    /// How many SUBACKs wait.
    pub(super) fn awaited_len(&self) -> usize {
        self.awaited.len()
    }

    /// How many members of a Shared Subscription are connected here.
    pub(super) fn connected(&self, group: &GroupName) -> u32 {
        self.groups.get(group).map_or(0, |members| members.connected)
    }
}

/// The group that a Shared Subscription with this Topic Filter is a member of.
fn group_of(topic_filter: &TopicFilter) -> Option<GroupName> {
    Some(GroupName {
        share_name: topic_filter.share_name()?.into(),
        topic_filter: topic_filter.matching_part().into(),
    })
}

impl Core {
    pub(super) fn others(&self) -> impl Iterator<Item = WorkerNumber> + use<> {
        let own = self.worker;
        let workers = u8::try_from(self.outbox.workers()).unwrap_or(u8::MAX);
        (0..workers).map(WorkerNumber).filter(move |worker| *worker != own)
    }

    /// A session of this worker has a new subscription.
    pub(super) fn announce(&mut self, topic_filter: &TopicFilter, connected: bool) {
        if let Some(group) = group_of(topic_filter) {
            self.change_group(&Arc::new(group), 1, i32::from(connected));
            return;
        }
        if self.outbox.workers() == 1 {
            return;
        }
        let count = self.interest.filters.entry(topic_filter.matching_part().into()).or_default();
        *count += 1;
        if *count == 1 {
            for worker in self.others() {
                let topic_filter = topic_filter.matching_part().into();
                self.outbox.push(worker, Forward::Interest { topic_filter, wanted: true });
            }
        }
    }

    /// A session of this worker has lost a subscription.
    pub(super) fn withdraw(&mut self, topic_filter: &TopicFilter, connected: bool) {
        if let Some(group) = group_of(topic_filter) {
            self.change_group(&Arc::new(group), -1, -i32::from(connected));
            return;
        }
        if self.outbox.workers() == 1 {
            return;
        }
        let matching_part = topic_filter.matching_part();
        let Some(count) = self.interest.filters.get_mut(matching_part) else { return };
        *count -= 1;
        if *count == 0 {
            self.interest.filters.remove(matching_part);
            for worker in self.others() {
                let topic_filter = matching_part.into();
                self.outbox.push(worker, Forward::Interest { topic_filter, wanted: false });
            }
        }
    }

    fn change_group(&mut self, group: &Arc<GroupName>, all: i32, connected: i32) {
        let members = self.interest.groups.entry(group.clone()).or_default();
        members.all = members.all.saturating_add_signed(all);
        members.connected = members.connected.saturating_add_signed(connected);
        let Members { connected, all } = *members;
        if all == 0 {
            self.interest.groups.remove(group);
        }
        for worker in self.others() {
            let group = group.clone();
            self.outbox.push(worker, Forward::GroupInterest { group, connected, members: all });
        }
    }

    /// A session came or went: the members of its Shared Subscriptions that are connected change.
    pub(super) fn count_members(&mut self, key: SessionKey, connected: i32) {
        let subscriptions = &self.endpoints.sessions[key.0].subscriptions;
        let groups: Vec<GroupName> = subscriptions.iter().filter_map(group_of).collect();
        for group in groups {
            self.change_group(&Arc::new(group), 0, connected);
        }
    }

    /// Holds a SUBACK back until all workers have taken up the interests announced so far.
    pub(super) fn await_interest(&mut self, awaited: AwaitedSubAck) {
        self.interest.last_mark += 1;
        let number = self.interest.last_mark;
        for worker in self.others() {
            self.outbox.push(worker, Forward::InterestMark { number });
        }
        self.interest.awaited.push_back((number, awaited));
    }

    /// Takes a batch from another worker, as far as outputs have room; whether all of it was
    /// taken. If not, write [`Core::take_urgent`] and call again with the rest.
    #[must_use]
    pub fn handle_batch(&mut self, now: Instant, from: WorkerNumber, batch: &mut Batch) -> bool {
        while let Some(item) = batch.items.pop_front() {
            match item {
                Forward::Publish(forwarded) => self.handle_forwarded(now, forwarded),
                Forward::PublisherGone { connection } => {
                    self.handle_publisher_gone(now, from, connection);
                }
                Forward::Outcome { publish, outcome, receivers } => {
                    self.handle_outcome(now, publish, outcome, receivers);
                }
                Forward::Confirmed { owed } => {
                    owed.iter().for_each(|owed| self.handle_confirmed(now, owed));
                }
                Forward::Withdrawn { owed } => {
                    owed.iter().for_each(|owed| self.handle_withdrawn(now, owed));
                    self.retry_all_forwarded(now);
                }
                Forward::Recovered => self.handle_recovered(now),
                Forward::Interest { topic_filter, wanted } => {
                    let subscriber = SubscriberKey::worker(from);
                    if wanted {
                        let granted = Granted::of_worker(0);
                        self.routing.index.insert(&topic_filter, subscriber, granted);
                    } else {
                        self.routing.index.remove(&topic_filter, subscriber);
                    }
                }
                Forward::GroupInterest { group, connected, members } => {
                    let subscriber = SubscriberKey::worker(from);
                    let index = &mut self.routing.index;
                    let GroupName { share_name, topic_filter } = &*group;
                    if members > 0 {
                        let granted = Granted::of_worker(connected);
                        index.insert_shared(share_name, topic_filter, subscriber, granted);
                    } else {
                        index.remove_shared(share_name, topic_filter, subscriber);
                    }
                }
                Forward::InterestMark { number } => {
                    self.outbox.push(from, Forward::InterestTaken { number });
                }
                Forward::InterestTaken { number } => self.handle_interest_taken(now, from, number),
                Forward::Counters(counters) => self.sys.of_worker(from, *counters),
            }
            if self.endpoints.has_urgent() {
                return batch.items.is_empty();
            }
        }
        true
    }

    fn handle_interest_taken(&mut self, now: Instant, from: WorkerNumber, number: u64) {
        self.interest.taken[usize::from(from.0)] = number;
        let own = usize::from(self.worker.0);
        let by_all = (0..)
            .zip(&self.interest.taken)
            .filter(|(worker, _)| *worker != own)
            .map(|(_, number)| *number)
            .min();
        while let Some((mark, _)) = self.interest.awaited.front()
            && by_all.is_some_and(|by_all| *mark <= by_all)
        {
            if let Some((_, awaited)) = self.interest.awaited.pop_front() {
                self.send_suback_when_stored(now, awaited);
            }
        }
    }
}
