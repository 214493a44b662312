//! Queues whose end is in the store alone: how it comes back, and what becomes of it.

use super::Endpoints;
use crate::core::GroupName;
use crate::core::counters::DropCause;
use crate::core::fetch::{Fetch, Fetched};
use crate::core::granted::SessionKey;
use crate::core::image::Waiting;
use crate::core::queue::{Keep, QueueHead, QueuePart, Queued, Succession};
use crate::core::session::Session;
use crate::{Limits, QueuePolicy};
use dunlin_protocol::{Instant, Message};
use std::sync::Arc;

/// Which messages of a session's queue are kept, and where.
#[inline]
pub(super) fn keep(limits: &Limits, stores: bool, head: &QueueHead, session: &Session) -> Keep {
    match limits.queue_policy {
        QueuePolicy::KeepLast => Keep::Latest,
        _ if stores => Keep::Head(part(head, session)),
        _ => Keep::All,
    }
}

const fn part(head: &QueueHead, session: &Session) -> QueuePart {
    match session.connection {
        Some(_) => head.connected,
        None => head.away,
    }
}

impl Endpoints {
    /// Asks the store for what the queue of a session goes on with, if it is time.
    #[cold]
    pub(super) fn refill(&mut self, key: SessionKey) {
        let generation = self.sessions.generation(key.0);
        let urgent = self.limits.queue_policy == QueuePolicy::KeepLast;
        let session = &mut self.sessions[key.0];
        let head = part(&self.queue_head, session);
        if let Some(wanted) = session.queue.want(head, urgent) {
            self.fetches.push_back(Fetch {
                session: (key, generation),
                client_identifier: session.client_identifier.clone(),
                after: wanted.after,
                messages_max: wanted.part.len,
                bytes_max: wanted.part.bytes,
            });
        }
    }

    /// Whether the queue of a session, which keeps the last message of each Topic Name, is still
    /// put together from what the store has.
    pub(super) fn rebuilds(&mut self, key: SessionKey) -> bool {
        let rebuilds = self.limits.queue_policy == QueuePolicy::KeepLast
            && self.sessions[key.0].queue.has_tail();
        if rebuilds {
            self.refill(key);
        }
        rebuilds
    }

    /// Messages of a session that a store has given back as a whole.
    pub(in crate::core) fn add_waiting(&mut self, key: SessionKey, waiting: Waiting) {
        self.change_queue(key, |queue| queue.add_waiting(waiting));
        self.rebuilds(key);
    }

    /// The store has answered.
    pub(in crate::core) fn take_fetched(&mut self, now: Instant, fetched: Fetched) {
        let Fetched { session: (key, generation), messages, more, damaged } = fetched;
        if !self.sessions.is_current(key.0, generation) {
            return;
        }
        let mut replaced = Vec::new();
        let keeps_last = self.limits.queue_policy == QueuePolicy::KeepLast;
        let lost = self.change_queue(key, |queue| {
            let page = messages.into_iter().filter_map(Queued::of);
            queue.take_page(page, more, damaged, keeps_last.then_some(&mut replaced))
        });
        self.drop_many_for(key, DropCause::Damaged, lost as u64);
        for queued in &replaced {
            self.count_replaced(key, queued);
        }
        self.drop_excess(key);
        if !self.rebuilds(key) {
            self.pump(now, key);
        }
    }

    /// Changes the queue of a session in ways that change what it holds in sum.
    fn change_queue<T>(
        &mut self,
        key: SessionKey,
        change: impl FnOnce(&mut crate::core::queue::Queue) -> T,
    ) -> T {
        let queue = &mut self.sessions[key.0].queue;
        self.counters.queued -= queue.len() as u64;
        self.counters.queued_bytes -= queue.bytes() as u64;
        let result = change(queue);
        self.counters.queued += queue.len() as u64;
        self.counters.queued_bytes += queue.bytes() as u64;
        result
    }

    /// Drops the oldest messages of a queue that has grown beyond its limits while they were in the
    /// store alone.
    fn drop_excess(&mut self, key: SessionKey) {
        if self.limits.queue_policy != QueuePolicy::DropOldest {
            return;
        }
        let Limits { queue_len_max, queue_bytes_max, .. } = *self.limits;
        loop {
            let queue = &self.sessions[key.0].queue;
            let is_over =
                queue.len() > queue_len_max || (queue.bytes() > queue_bytes_max && queue.len() > 1);
            if !is_over {
                return;
            }
            if queue.front().is_none() {
                self.refill(key);
                return;
            }
            self.drop_front(key, DropCause::QueueFull);
        }
    }

    /// A session has lost its connection: the store keeps the end of its queue until it is back.
    pub(in crate::core) fn shrink_queue(&mut self, key: SessionKey) {
        let session = &mut self.sessions[key.0];
        if let Keep::Head(part) = keep(&self.limits, self.stores, &self.queue_head, session) {
            session.queue.shrink(part);
        }
        session.queue.drop_empty_head();
    }

    // ---- the last of each Topic Name

    /// A message comes that is to wait: drops what it replaces, if the queue keeps the last message
    /// of each Topic Name.
    #[inline]
    pub(super) fn replace_older(
        &mut self,
        key: SessionKey,
        message: &Message,
        group: Option<&Arc<GroupName>>,
    ) {
        if self.limits.queue_policy != QueuePolicy::KeepLast {
            return;
        }
        let succession =
            Succession { topic_name: message.topic_name.clone(), group: group.cloned() };
        if let Some(replaced) = self.sessions[key.0].queue.take_older(&succession) {
            self.drop_replaced(key, &replaced);
        }
    }

    /// A newer message has come: this one no longer waits.
    pub(super) fn drop_replaced(&mut self, key: SessionKey, queued: &Queued) {
        self.counters.queued -= 1;
        self.counters.queued_bytes -= queued.message.size() as u64;
        self.count_replaced(key, queued);
    }

    fn count_replaced(&mut self, key: SessionKey, queued: &Queued) {
        self.drop_for(key, DropCause::Replaced);
        if let Some(note) = &queued.note {
            self.settle(key, note);
        }
    }
}
