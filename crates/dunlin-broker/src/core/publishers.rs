//! Those who have published retained messages: each is in memory once, however many messages are his
//! and however often he came, and counts with what he takes.

use dunlin_protocol::codec::Text;
use dunlin_rights::{Identity, Subject};
use hashbrown::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// All publishers of retained messages.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    /// How many messages each has.
    messages: HashMap<Publisher, usize>,
    bytes: usize,
}

/// A publisher as a key: who is alike is the same.
#[derive(Debug, PartialEq, Eq)]
struct Publisher(Arc<Subject>);

impl Hash for Publisher {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self(subject) = self;
        subject.client_identifier().as_str().hash(state);
        subject.identity().user().map(Text::as_str).hash(state);
        subject.address().hash(state);
        subject.listener().hash(state);
    }
}

impl Publishers {
    /// Bytes that all take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that one takes who would come to those that are here.
    pub(super) fn cost_of(&self, publisher: &Arc<Subject>) -> usize {
        match self.messages.contains_key(&Publisher(publisher.clone())) {
            true => 0,
            false => size_of_subject(publisher),
        }
    }

    /// Counts a message; gives its publisher as all his messages share him.
    pub(super) fn add(&mut self, publisher: Arc<Subject>) -> Arc<Subject> {
        let entry = self.messages.entry(Publisher(publisher));
        let Publisher(shared) = entry.key();
        let (shared, bytes) = (shared.clone(), size_of_subject(shared));
        let messages = entry.or_insert(0);
        if *messages == 0 {
            self.bytes += bytes;
        }
        *messages += 1;
        shared
    }

    /// A message is gone.
    pub(super) fn remove(&mut self, publisher: Arc<Subject>) {
        let publisher = Publisher(publisher);
        let Some(messages) = self.messages.get_mut(&publisher) else { return };
        *messages -= 1;
        if *messages == 0 {
            self.messages.remove(&publisher);
            self.bytes -= size_of_subject(&publisher.0);
        }
    }
}

/// Bytes of a publisher. What is not his alone (rules of a token, the name of a listener) is left out.
fn size_of_subject(subject: &Subject) -> usize {
    let identity = subject.identity();
    let names = identity.user().into_iter().chain(identity.groups());
    let names: usize = names.map(|name| size_of::<Text>() + name.len()).sum();
    size_of::<Subject>() + size_of::<Identity>() + subject.client_identifier().len() + names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(client_identifier: &str, user: &str) -> Arc<Subject> {
        let identity = Arc::new(Identity::new(Some(user), []).expect("legal"));
        Arc::new(Subject::new(identity, client_identifier.parse().expect("legal")))
    }

    #[test]
    fn who_is_alike_is_in_memory_once_and_who_is_gone_no_longer_counts() {
        let mut publishers = Publishers::default();
        let long = "x".repeat(60_000);
        assert!(publishers.cost_of(&subject(&long, "ann")) > 60_000);
        let first = publishers.add(subject(&long, "ann"));
        let bytes = publishers.bytes();
        assert!((60_000..61_000).contains(&bytes), "{bytes}");
        assert_eq!(publishers.cost_of(&subject(&long, "ann")), 0);
        let second = publishers.add(subject(&long, "ann"));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(publishers.bytes(), bytes);
        // Another user with the same identifier is another one.
        let other = publishers.add(subject(&long, "bob"));
        assert_eq!(publishers.bytes(), 2 * bytes);
        for gone in [first, other, second] {
            publishers.remove(gone);
        }
        assert_eq!(publishers.bytes(), 0);
        assert!(publishers.messages.is_empty());
    }
}
