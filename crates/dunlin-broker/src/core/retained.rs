//! Retained messages: the last one of each Topic Name, and the cursors that send them.

use super::granted::Granted;
use crate::Limits;
use dunlin_protocol::Message;
use dunlin_protocol::codec::TopicFilter;
use dunlin_topics::{NameIndex, Page, PageLimit};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The retained messages of the broker, shared by its workers.
///
/// The one thing that workers share under a lock: setting a retained message and reading a page of
/// them take it for a moment, plain publishes never. One order of changes for all workers makes
/// "the last value" the same for everybody.
#[derive(Clone, Debug, Default)]
pub struct RetainedStore(Arc<Mutex<Retained>>);

#[derive(Default)]
pub(super) struct Retained {
    names: NameIndex<Entry>,
    /// Counts the changes.
    change: u64,
    bytes: usize,
}

struct Entry {
    message: Arc<Message>,
    /// The change that set it.
    change: u64,
}

impl std::fmt::Debug for Retained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retained")
            .field("len", &self.names.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

/// The limit of retained messages is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetainedFull;

/// Where the sending of retained messages for one new subscription stands.
#[derive(Debug)]
pub(super) struct RetainedCursor {
    pub(super) topic_filter: TopicFilter,
    pub(super) granted: Granted,
    /// The Topic Name that was looked at last.
    after: Option<Box<str>>,
    /// The last change before the subscription: what is newer reached it as a live message.
    change: u64,
}

/// How many retained messages a cursor looks at before others have their turn.
const PAGE: PageLimit = PageLimit { matches: 64, steps: 2048 };

impl RetainedStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Retained> {
        // A panic elsewhere leaves whole entries: each change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many Topic Names have a retained message.
    pub fn len(&self) -> usize {
        self.lock().names.len()
    }

    /// Whether there is no retained message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of topics, payloads and properties.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Sets or removes the retained message of a Topic Name: a message without payload removes it
    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7].
    pub(super) fn set(&self, message: Arc<Message>, limits: &Limits) -> Result<(), RetainedFull> {
        let mut retained = self.lock();
        retained.change += 1;
        if message.payload.is_empty() {
            if let Some(old) = retained.names.remove(&message.topic_name) {
                retained.bytes -= old.message.size();
            }
            return Ok(());
        }
        let topic_name = message.topic_name.clone();
        let old_size = retained.names.get(&topic_name).map(|old| old.message.size());
        let bytes = retained.bytes - old_size.unwrap_or(0) + message.size();
        let full = old_size.is_none() && retained.names.len() >= limits.retained_len_max;
        if full || bytes > limits.retained_bytes_max {
            return Err(RetainedFull);
        }
        retained.bytes = bytes;
        let entry = Entry { message, change: retained.change };
        retained.names.insert(&topic_name, entry);
        Ok(())
    }

    /// A cursor for a subscription that is made now.
    pub(super) fn cursor(&self, topic_filter: TopicFilter, granted: Granted) -> RetainedCursor {
        RetainedCursor { topic_filter, granted, after: None, change: self.lock().change }
    }

    /// The next retained messages for a cursor, and whether there may be more.
    pub(super) fn page(&self, cursor: &mut RetainedCursor) -> (Vec<Arc<Message>>, bool) {
        let retained = self.lock();
        let mut messages = Vec::new();
        let filter = cursor.topic_filter.matching_part();
        let page =
            retained.names.matches_after(filter, cursor.after.as_deref(), PAGE, |_, entry| {
                if entry.change <= cursor.change {
                    messages.push(entry.message.clone());
                }
            });
        let more = match page {
            Page::Complete => false,
            Page::After(name) => {
                cursor.after = Some(name.into());
                true
            }
        };
        (messages, more)
    }
}
