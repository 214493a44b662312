//! Which change of a retained message is the last, where workers bring them in another order.

use dunlin_protocol::codec::TopicName;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::time::{Duration, Instant as Clock};

/// How long a change is remembered at least: much longer than records wait anywhere.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// How many changes are remembered at least.
const KEPT_MIN: usize = 65_536;
/// How many are remembered at most.
const KEPT_MAX: usize = 16 * KEPT_MIN;

/// The recent changes of retained messages, removals included.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    highest: HashMap<TopicName, u64, RandomState>,
    order: VecDeque<(Clock, TopicName, u64)>,
}

impl Changes {
    /// Whether a change counts, and is not overtaken by a later one.
    pub(crate) fn counts(&mut self, now: Clock, topic_name: &TopicName, change: u64) -> bool {
        if self.highest.get(topic_name).is_some_and(|highest| *highest > change) {
            return false;
        }
        let topic_name = topic_name.detached();
        self.highest.insert(topic_name.clone(), change);
        self.order.push_back((now, topic_name, change));
        self.forget(now);
        true
    }

    fn forget(&mut self, now: Clock) {
        while let Some((at, topic_name, change)) = self.order.front() {
            let is_recent = now.duration_since(*at) < KEPT_FOR;
            if self.order.len() <= KEPT_MIN || is_recent && self.order.len() <= KEPT_MAX {
                return;
            }
            if self.highest.get(topic_name) == Some(change) {
                self.highest.remove(topic_name);
            }
            self.order.pop_front();
        }
    }
}
