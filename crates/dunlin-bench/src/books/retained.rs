//! Retained messages that are set and deleted, and what a new subscription has to get of them.
//!
//! Each Topic Name has versions, numbered from 1. One of three is empty and so deletes what is retained.

/// Every how many versions one deletes.
const DELETING: u64 = 3;

/// The books of all Topic Names, and of the present subscription.
#[derive(Debug)]
pub(crate) struct Retained {
    topics: Box<[Topic]>,
    is_open: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Topic {
    /// The newest version that was sent.
    sent: u64,
    /// The newest that was acknowledged.
    acknowledged: u64,
    /// The one that was the newest acknowledged when the subscription began.
    least: u64,
    /// The subscription has got one.
    came: bool,
}

impl Topic {
    /// A new subscription has to get a message, whichever version it is.
    fn is_owed(&self) -> bool {
        // Whatever the broker has by now, it has one.
        !self.came && (self.least..=self.sent).all(is_there)
    }
}

/// Whether a version is a message; 0 stands for none yet.
pub(crate) const fn is_there(version: u64) -> bool {
    !version.is_multiple_of(DELETING)
}

impl Retained {
    pub(crate) fn new(topics: u32) -> Self {
        Self { topics: vec![Topic::default(); topics as usize].into(), is_open: false }
    }

    /// The next version of a message is sent.
    pub(crate) fn set(&mut self, topic: usize) -> u64 {
        self.topics[topic].sent += 1;
        self.topics[topic].sent
    }

    /// The newest version of a message is acknowledged.
    pub(crate) fn acknowledge(&mut self, topic: usize) {
        self.topics[topic].acknowledged = self.topics[topic].sent;
    }

    /// SUBSCRIBE is sent.
    pub(crate) fn begin(&mut self) {
        self.is_open = true;
        for topic in &mut self.topics {
            (topic.least, topic.came) = (topic.acknowledged, false);
        }
    }

    /// Books a message with RETAIN; false if the subscription must not get it: it had been replaced or
    /// deleted before, or has come already.
    pub(crate) fn book(&mut self, topic: usize, version: u64) -> bool {
        let Some(topic) = self.topics.get_mut(topic) else { return false };
        let is_right = self.is_open
            && !topic.came
            && is_there(version)
            && (topic.least..=topic.sent).contains(&version);
        topic.came |= is_right;
        is_right
    }

    /// Messages that the present subscription still has to get.
    pub(crate) fn owed(&self) -> u64 {
        match self.is_open {
            true => self.topics.iter().filter(|topic| topic.is_owed()).count() as u64,
            false => 0,
        }
    }

    /// The subscription ends.
    pub(crate) fn end(&mut self) {
        self.is_open = false;
    }
}

#[cfg(test)]
mod tests;
