//! Topic Names in memory of their own, shared by the messages that carry them.

use dunlin_protocol::codec::{Text, TopicName};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;

/// How many names are remembered; a power of two.
const PLACES: usize = 1024;
/// Longer names are copied: remembering them would cost more than it saves. So are short ones, which
/// need no memory but that of the value.
const LEN_MAX: usize = 256;

/// Remembers the Topic Names of messages that had to be kept, so that the next message of the same
/// name shares its memory instead of copying it. Names that collide replace each other, but not
/// when they come for the first time: what comes once is not worth sharing.
#[derive(Debug)]
pub(super) struct TopicNames {
    places: Vec<Place>,
    hasher: FixedState,
}

#[derive(Clone, Debug, Default)]
struct Place {
    name: Option<TopicName>,
    /// The hash of the name that came here last.
    last: u64,
}

impl TopicNames {
    pub(super) fn new(seed: u64) -> Self {
        Self { places: vec![Place::default(); PLACES], hasher: FixedState::with_seed(seed) }
    }

    /// The name, in memory that outlives the input it was read from.
    pub(super) fn keep(&mut self, topic_name: &TopicName) -> TopicName {
        let bytes = topic_name.as_text().as_bytes();
        if bytes.len() <= Text::LEN_MAX_IN_PLACE || bytes.len() > LEN_MAX {
            return topic_name.detached();
        }
        let hash = self.hasher.hash_one(bytes);
        let place = &mut self.places[hash as usize % PLACES];
        if let Some(known) = place.name.as_ref().filter(|known| *known == topic_name) {
            return known.clone();
        }
        let kept = topic_name.detached();
        if std::mem::replace(&mut place.last, hash) == hash {
            place.name = Some(kept.clone());
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_shares_memory_and_others_do_not() {
        let mut names = TopicNames::new(7);
        let text = "the/state/of/a/lamp/that/has/a/long/name";
        let read: TopicName = text.parse().unwrap();
        names.keep(&read);
        let first = names.keep(&read);
        let second = names.keep(&text.parse().unwrap());
        assert_eq!(first.as_text().as_bytes().as_ptr(), second.as_text().as_bytes().as_ptr());
        assert_ne!(first.as_text().as_bytes().as_ptr(), read.as_text().as_bytes().as_ptr());
        for number in 0..4 * PLACES {
            let name: TopicName = format!("{text}/{number}").parse().unwrap();
            assert_eq!(names.keep(&name), name);
        }
        assert_eq!(names.keep(&read), read);
    }
}
