//! Changes of retained messages that came while the store took nothing, and that nobody waits for.

use dunlin_protocol::Message;
use dunlin_protocol::codec::TopicName;
use dunlin_rights::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The last of these changes for each Topic Name: messages of QoS 0, and what has expired.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    changes: BTreeMap<TopicName, Change>,
    bytes: usize,
}

/// What became of a Topic Name.
#[derive(Debug)]
pub(super) struct Change {
    /// The number of the change.
    pub(super) number: u64,
    /// The message that it has set; none if it has removed one.
    pub(super) message: Option<Arc<Message>>,
    /// Who has published it, if there are rules.
    pub(super) publisher: Option<Arc<Subject>>,
}

/// How many bytes of them may wait for the store, and about what each takes beside its own.
const BYTES_MAX: usize = 16 * 1024 * 1024;
const OVERHEAD: usize = 128;

fn cost(topic_name: &TopicName, message: Option<&Message>) -> usize {
    OVERHEAD + message.map_or_else(|| topic_name.as_str().len(), Message::size)
}

impl Unrecorded {
    fn cost_of(&self, topic_name: &TopicName) -> usize {
        let change = self.changes.get(topic_name);
        change.map_or(0, |change| cost(topic_name, change.message.as_deref()))
    }

    /// Whether this one may wait as well.
    pub(super) fn has_room(&self, message: &Message) -> bool {
        let topic_name = &message.topic_name;
        self.bytes - self.cost_of(topic_name) + cost(topic_name, Some(message)) <= BYTES_MAX
    }

    /// Lets a change wait. One that has expired always may: its Topic Name waits already, here or at
    /// another worker, or is one of those that are stored.
    pub(super) fn put(&mut self, topic_name: TopicName, change: Change) {
        self.bytes -= self.cost_of(&topic_name);
        self.bytes += cost(&topic_name, change.message.as_deref());
        self.changes.insert(topic_name, change);
    }

    /// All of them, for the store that goes on.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (TopicName, Change)> + use<> {
        std::mem::take(self).changes.into_iter()
    }
}
