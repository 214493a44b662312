//! Retained messages: the last one of each Topic Name, and the cursors that send them.

use super::granted::Granted;
use super::limits::LimitCause;
use super::publishers::Publishers;
use super::rights::may_retain;
use super::sys::is_sys;
use crate::Limits;
use dunlin_protocol::codec::{TopicFilter, TopicName};
use dunlin_protocol::{Instant, Message};
use dunlin_rights::{Rules, Subject};
use dunlin_topics::{NameIndex, Page, PageLimit, Place};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
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
    /// The Topic Names whose messages expire, soonest first.
    expiring: BTreeSet<(Instant, TopicName)>,
    /// Counts the changes.
    change: u64,
    bytes: usize,
    /// How many of them, and of their bytes, are the broker's own: the limits don't count these.
    own_len: usize,
    own_bytes: usize,
    /// Who has published them.
    publishers: Publishers,
    /// During recovery: the Topic Names whose messages were removed, by which change, and whether
    /// that is because the message has expired.
    removed: BTreeMap<TopicName, (u64, bool)>,
}

/// Messages that have expired: their Topic Names, and the changes that had set them.
pub(super) type Expired = Vec<(TopicName, u64)>;

struct Entry {
    message: Arc<Message>,
    /// The change that set it.
    change: u64,
    /// Who has published it, if there were rules then.
    publisher: Option<Box<Publisher>>,
}

/// Who has published a retained message, and what the rules said of it last.
struct Publisher {
    subject: Arc<Subject>,
    /// The generation of those rules, and whether the message may still stand for him.
    judged: Cell<Option<(u64, bool)>>,
}

impl Entry {
    /// Whether its publisher might publish it now.
    fn is_allowed(&self, rules: &Rules) -> bool {
        let Some(Publisher { subject, judged }) = self.publisher.as_deref() else { return true };
        match judged.get() {
            Some((generation, is_allowed)) if generation == rules.generation() => is_allowed,
            _ => {
                let is_allowed = may_retain(rules, subject, &self.message);
                judged.set(Some((rules.generation(), is_allowed)));
                is_allowed
            }
        }
    }
}

impl std::fmt::Debug for Retained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retained")
            .field("len", &self.names.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl Retained {
    /// Removes a message; gives the change that had set it.
    fn remove(&mut self, topic_name: &TopicName) -> Option<u64> {
        let old = self.names.remove(topic_name)?;
        let change = old.change;
        self.forget(old);
        Some(change)
    }

    /// Counts a message no longer.
    fn forget(&mut self, old: Entry) {
        let Entry { message, publisher, .. } = old;
        if let Some(publisher) = publisher {
            self.publishers.remove(publisher.subject);
        }
        let Message { topic_name, expires_at, .. } = &*message;
        let size = message.size();
        self.bytes -= size;
        if is_sys(topic_name) {
            self.own_len -= 1;
            self.own_bytes -= size;
        }
        if let Some(at) = expires_at {
            self.expiring.remove(&(*at, topic_name.clone()));
        }
    }

    /// Puts a message in the place of its Topic Name, if it fits within the limits. They are for
    /// Clients: what the broker says about itself is a few dozen Topic Names, and takes no room from
    /// what Clients retain.
    fn put(
        &mut self,
        message: Arc<Message>,
        publisher: Option<Arc<Subject>>,
        change: u64,
        limits: Option<&Limits>,
    ) -> Result<(), RetainedFull> {
        let size = message.size();
        let is_own = is_sys(&message.topic_name);
        let len = self.names.len() - self.own_len;
        let bytes = self.bytes - self.own_bytes;
        let place = self.names.place(&message.topic_name);
        if let Some(limits) = limits.filter(|_| !is_own) {
            let (is_full, old_size) = match &place {
                Place::Taken(old) => (false, old.message.size()),
                Place::Free(_) => (len >= limits.retained_len_max, 0),
            };
            if is_full {
                return Err(RetainedFull(LimitCause::RetainedLen));
            }
            let cost = publisher.as_ref().map_or(0, |publisher| self.publishers.cost_of(publisher));
            let publishers = self.publishers.bytes() + cost;
            if bytes - old_size + size + publishers > limits.retained_bytes_max {
                return Err(RetainedFull(LimitCause::RetainedBytes));
            }
        }
        let expiring = message.expires_at.map(|at| (at, message.topic_name.clone()));
        let publisher = publisher.map(|subject| {
            let subject = self.publishers.add(subject);
            Box::new(Publisher { subject, judged: Cell::new(None) })
        });
        let entry = Entry { message, change, publisher };
        let old = match place {
            Place::Taken(old) => Some(std::mem::replace(old, entry)),
            Place::Free(free) => {
                free.insert(entry);
                None
            }
        };
        if let Some(old) = old {
            self.forget(old);
        }
        self.bytes += size;
        if is_own {
            self.own_len += 1;
            self.own_bytes += size;
        }
        self.expiring.extend(expiring);
        Ok(())
    }

    /// Removes what has expired: the limits are for what can still be sent.
    fn remove_expired(&mut self, now: Instant) -> Expired {
        let mut expired = Vec::new();
        while expired.len() < EXPIRED_AT_ONCE
            && let Some((_, topic_name)) = self.expiring.first().filter(|(at, _)| *at <= now)
        {
            let topic_name = topic_name.clone();
            let Some(change) = self.remove(&topic_name) else { break };
            expired.push((topic_name, change));
        }
        expired
    }

    fn set(
        &mut self,
        message: Arc<Message>,
        publisher: Option<Arc<Subject>>,
        limits: &Limits,
    ) -> Result<u64, RetainedFull> {
        self.change += 1;
        if message.payload.is_empty() {
            self.remove(&message.topic_name);
            return Ok(self.change);
        }
        self.put(message, publisher, self.change, Some(limits))?;
        Ok(self.change)
    }
}

/// How many expired messages one change removes, while others wait for the lock.
const EXPIRED_AT_ONCE: usize = 256;

/// The limit of retained messages is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetainedFull(pub(super) LimitCause);

/// Where the sending of retained messages for one new subscription stands.
#[derive(Debug)]
pub(super) struct RetainedCursor {
    pub(super) topic_filter: TopicFilter,
    pub(super) granted: Granted,
    /// The Topic Name that was looked at last.
    after: Option<Box<str>>,
    /// Where the last page began.
    before: Option<Box<str>>,
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

    /// Bytes of those who have published them.
    #[cfg(test)]
    pub(super) fn publishers_bytes(&self) -> usize {
        self.lock().publishers.bytes()
    }

    /// How large the retained message of a Topic Name is, if there is one.
    pub(super) fn size_of(&self, topic_name: &TopicName) -> Option<usize> {
        self.lock().names.get(topic_name).map(|entry| entry.message.size())
    }

    /// Sets or removes the retained message of a Topic Name: a message without payload removes it
    /// [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7]. Gives the number of the change, and what has
    /// expired meanwhile.
    pub(super) fn set(
        &self,
        now: Instant,
        message: Arc<Message>,
        publisher: Option<Arc<Subject>>,
        limits: &Limits,
    ) -> (Result<u64, RetainedFull>, Expired) {
        let mut retained = self.lock();
        let expired = retained.remove_expired(now);
        (retained.set(message, publisher, limits), expired)
    }

    /// Takes a change that was stored, unless a later one of its Topic Name was taken before: the
    /// records of several workers may meet in another order than their changes. What is stored is
    /// kept, whatever the limits are now.
    pub(super) fn recover(
        &self,
        now: Instant,
        topic_name: TopicName,
        message: Option<Arc<Message>>,
        publisher: Option<Arc<Subject>>,
        change: u64,
    ) {
        let mut retained = self.lock();
        let known = match retained.names.get(&topic_name) {
            Some(entry) => Some(entry.change),
            None => retained.removed.get(&topic_name).map(|(change, _)| *change),
        };
        if known.is_some_and(|known| known > change) {
            return;
        }
        retained.change = retained.change.max(change);
        match message {
            Some(message) if !message.is_expired(now) => {
                retained.removed.remove(&topic_name);
                let is_put = retained.put(message, publisher, change, None);
                debug_assert!(is_put.is_ok(), "without limits");
            }
            gone => {
                retained.remove(&topic_name);
                retained.removed.insert(topic_name, (change, gone.is_some()));
            }
        }
    }

    /// All stored changes were taken; gives what has expired while nothing ran.
    pub(super) fn finish_recovery(&self) -> Expired {
        let removed = std::mem::take(&mut self.lock().removed).into_iter();
        removed
            .filter_map(|(topic_name, (change, expired))| expired.then_some((topic_name, change)))
            .collect()
    }

    /// Whether a Topic Name still is as this change has left it, with a message or without.
    pub(super) fn is_as_left_by(
        &self,
        change: u64,
        topic_name: &TopicName,
        has_message: bool,
    ) -> bool {
        match self.lock().names.get(topic_name) {
            Some(entry) => has_message && entry.change == change,
            None => !has_message,
        }
    }

    /// A cursor for a subscription that is made now.
    pub(super) fn cursor(&self, topic_filter: TopicFilter, granted: Granted) -> RetainedCursor {
        let change = self.lock().change;
        RetainedCursor { topic_filter, granted, after: None, before: None, change }
    }

    /// Lets a cursor send what is retained up to now, for a subscription that is true from now on:
    /// what was set since it was asked for may have reached nobody.
    pub(super) fn renew(&self, cursor: &mut RetainedCursor) {
        cursor.change = self.lock().change;
    }

    /// The next retained messages for a cursor, at most so many, how many are left out because the
    /// rules no longer let their publishers publish them, and whether there may be more.
    pub(super) fn page(
        &self,
        cursor: &mut RetainedCursor,
        matches_max: usize,
        rules: Option<&Rules>,
    ) -> (Vec<Arc<Message>>, u64, bool) {
        let retained = self.lock();
        let mut messages = Vec::new();
        let mut denied = 0;
        cursor.before.clone_from(&cursor.after);
        let limit = PageLimit { matches: PAGE.matches.min(matches_max), ..PAGE };
        let filter = cursor.topic_filter.matching_part();
        let page =
            retained.names.matches_after(filter, cursor.after.as_deref(), limit, |_, entry| {
                if entry.change > cursor.change {
                    return;
                }
                if rules.is_none_or(|rules| entry.is_allowed(rules)) {
                    messages.push(entry.message.clone());
                } else {
                    denied += 1;
                }
            });
        let more = match page {
            Page::Complete => false,
            Page::After(name) => {
                cursor.after = Some(name.into());
                true
            }
        };
        (messages, denied, more)
    }
}

impl RetainedCursor {
    /// Goes back to just after this Topic Name of the last page.
    pub(super) fn go_back_to(&mut self, topic_name: &TopicName) {
        self.after = Some(topic_name.as_str().into());
    }

    /// Goes back to where the last page began.
    pub(super) fn go_back(&mut self) {
        self.after.clone_from(&self.before);
    }
}
