//! Records as changes of rows.

use crate::encoding::{
    Content, Queued, QueuedHeader, RetainedRow, SessionRow, State, StoredSession, SubscriptionRow,
    UnderwayRow, WillRow, encode_message, encode_received,
};
use crate::engine::Engine;
use crate::group::Group;
use crate::index::{Client, Index, Tracked};
use crate::keys::{self, Table};
use dunlin_broker::core::{Record, Subject};
use dunlin_protocol::Message;
use dunlin_protocol::codec::{Text, TopicFilter, TopicName};
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant as Clock;

/// A message that is owed to several sessions and has more bytes is stored once for all of them.
const SHARED_SIZE_MIN: usize = 256;

/// Turns the records of appends, one after the other, into changes of rows.
pub(crate) struct Applier<'a> {
    pub(crate) index: &'a mut Index,
    pub(crate) group: &'a mut Group,
    pub(crate) engine: &'a Engine,
    pub(crate) now: Clock,
}

/// The messages of an append by their place in memory: how often it is owed, and the number that
/// it got.
type Shared = HashMap<usize, (u32, Option<u64>), FixedState>;

fn place(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message) as usize
}

impl Applier<'_> {
    /// Applies the records of one append.
    pub(crate) fn apply(&mut self, records: Vec<Record>) {
        let mut shared = shared(&records);
        for record in records {
            self.apply_one(record, &mut shared);
        }
    }

    fn apply_one(&mut self, record: Record, shared: &mut Shared) {
        match record {
            Record::Session {
                client_identifier,
                session_expiry_interval: expiry_interval,
                away_since,
                owner,
                subject,
            } => {
                let session = StoredSession { expiry_interval, away_since, owner, subject };
                self.put_session(&client_identifier, Some(session));
            }
            Record::SessionEnded { client_identifier } => self.end_session(&client_identifier),
            Record::Subscribed { .. } => self.subscribe(record),
            Record::Unsubscribed { client_identifier, topic_filter } => {
                self.unsubscribe(&client_identifier, &topic_filter);
            }
            Record::Owed { .. } => self.owe(record, shared),
            Record::Confirmed { client_identifier, number } => {
                self.change_state(&client_identifier, number, |state| state.tentative = false);
            }
            Record::Sent { client_identifier, number, packet_identifier } => {
                let exchange = Some(packet_identifier);
                self.change_state(&client_identifier, number, |state| {
                    state.packet_identifier = exchange;
                });
            }
            Record::Taken { client_identifier, number } => {
                self.change_state(&client_identifier, number, |state| state.taken = true);
            }
            Record::Settled { client_identifier, number } => {
                self.settle(&client_identifier, number);
            }
            Record::Received { client_identifier, packet_identifier } => {
                let session = self.number(&client_identifier);
                let key = keys::received(session, packet_identifier.value());
                self.group.put(Table::Received, &key, encode_received(), false);
            }
            Record::Released { client_identifier, packet_identifier } => {
                let Some(session) = self.known_number(&client_identifier) else { return };
                let key = keys::received(session, packet_identifier.value());
                self.group.remove(Table::Received, &key);
            }
            Record::Will {
                client_identifier,
                message,
                message_expiry_interval,
                delay_secs,
                subject,
            } => {
                let row = WillRow { message_expiry_interval, delay_secs, message, subject };
                self.put_will(&client_identifier, &row);
            }
            Record::WillRemoved { client_identifier } => self.remove_will(&client_identifier),
            Record::Underway { client_identifier, number, message, group } => {
                let row = UnderwayRow { group, message };
                let name = client_identifier.as_bytes();
                let named = self.index.names.key(Table::Underway, Some(number), name);
                self.group.put(Table::Underway, &named.key, named.value(row.encode()), false);
            }
            Record::Arrived { client_identifier, number } => {
                let name = client_identifier.as_bytes();
                let named = self.index.names.key(Table::Underway, Some(number), name);
                self.index.names.forget(Table::Underway, Some(number), name);
                self.group.remove(Table::Underway, &named.key);
            }
            Record::Retained { topic_name, message, change, publisher } => {
                self.retain(&topic_name, message, publisher, change);
            }
            // `Waiting` is made by stores alone; of what a later version adds, nothing is known.
            record => debug_assert!(matches!(record, Record::Waiting { .. }), "{record:?}"),
        }
    }

    fn subscribe(&mut self, record: Record) {
        let Record::Subscribed {
            client_identifier,
            topic_filter,
            maximum_qos,
            no_local,
            retain_as_published,
            subscription_identifier,
        } = record
        else {
            return;
        };
        let number = self.number(&client_identifier);
        let row =
            SubscriptionRow { maximum_qos, no_local, retain_as_published, subscription_identifier };
        let name = topic_filter.as_text().as_bytes();
        let named = self.index.names.key(Table::Subscription, Some(number), name);
        self.group.put(Table::Subscription, &named.key, named.value(row.encode()), false);
    }

    fn unsubscribe(&mut self, client_identifier: &Text, topic_filter: &TopicFilter) {
        let Some(number) = self.known_number(client_identifier) else { return };
        let name = topic_filter.as_text().as_bytes();
        let named = self.index.names.key(Table::Subscription, Some(number), name);
        self.index.names.forget(Table::Subscription, Some(number), name);
        self.group.remove(Table::Subscription, &named.key);
    }

    fn put_will(&mut self, client_identifier: &Text, row: &WillRow) {
        let is_new = !std::mem::replace(&mut self.client(client_identifier).has_will, true);
        let named = self.index.names.key(Table::Will, None, client_identifier.as_bytes());
        self.group.put(Table::Will, &named.key, named.value(row.encode()), is_new);
    }

    /// Changes arrive in whatever order the workers have; an older one than is stored counts for
    /// nothing.
    fn retain(
        &mut self,
        topic_name: &TopicName,
        message: Option<Arc<Message>>,
        publisher: Option<Arc<Subject>>,
        change: u64,
    ) {
        if !self.index.changes.counts(self.now, topic_name, change) {
            return;
        }
        let name = topic_name.as_text().as_bytes();
        let named = self.index.names.key(Table::Retained, None, name);
        if let Some(message) = message {
            let row = RetainedRow { change, message, publisher };
            self.group.put(Table::Retained, &named.key, named.value(row.encode()), false);
        } else {
            self.index.names.forget(Table::Retained, None, name);
            self.group.remove(Table::Retained, &named.key);
        }
    }

    fn client(&mut self, client_identifier: &Text) -> &mut Client {
        self.index.client(client_identifier.as_bytes())
    }

    /// The number that the rows of a Client are under; it gets one if it has none.
    fn number(&mut self, client_identifier: &Text) -> u64 {
        match self.client(client_identifier).number {
            0 => self.put_session(client_identifier, None),
            number => number,
        }
    }

    fn known_number(&self, client_identifier: &Text) -> Option<u64> {
        let client = self.index.clients.get(client_identifier.as_bytes())?;
        (client.number != 0).then_some(client.number)
    }

    /// Writes the row of a session, and gives the number that it has or gets.
    fn put_session(&mut self, client_identifier: &Text, session: Option<StoredSession>) -> u64 {
        let next = self.index.counters.session + 1;
        let client = self.client(client_identifier);
        let is_new = client.number == 0;
        if is_new {
            client.number = next;
        }
        let row = SessionRow { number: client.number, session };
        self.index.counters.session += u64::from(is_new);
        let named = self.index.names.key(Table::Session, None, client_identifier.as_bytes());
        self.group.put(Table::Session, &named.key, named.value(row.encode()), is_new);
        row.number
    }

    /// From here on nothing finds the session's rows; they are removed bit by bit.
    fn end_session(&mut self, client_identifier: &Text) {
        self.remove_will(client_identifier);
        let Some(client) = self.index.clients.remove(client_identifier.as_bytes()) else {
            return;
        };
        if client.number == 0 {
            return;
        }
        let name = client_identifier.as_bytes();
        let named = self.index.names.key(Table::Session, None, name);
        self.index.names.forget(Table::Session, None, name);
        self.index.names.forget_all(Table::Subscription, client.number);
        self.group.remove(Table::Session, &named.key);
        self.index.garbage.push_back(client.number);
    }

    fn remove_will(&mut self, client_identifier: &Text) {
        let Some(client) = self.index.clients.get_mut(client_identifier.as_bytes()) else {
            return;
        };
        if !std::mem::take(&mut client.has_will) {
            return;
        }
        if client.number == 0 {
            self.index.clients.remove(client_identifier.as_bytes());
        }
        let name = client_identifier.as_bytes();
        let named = self.index.names.key(Table::Will, None, name);
        self.index.names.forget(Table::Will, None, name);
        self.group.remove(Table::Will, &named.key);
    }

    fn owe(&mut self, record: Record, shared: &mut Shared) {
        let Record::Owed {
            client_identifier,
            number,
            message,
            qos,
            retain,
            subscription_identifiers,
            group,
            packet_identifier,
            tentative,
        } = record
        else {
            return;
        };
        let size = u32::try_from(message.size()).unwrap_or(u32::MAX);
        let session = self.number(&client_identifier);
        let is_new = number > self.client(&client_identifier).last_number;
        if !is_new {
            // It takes the place of another.
            self.settle(&client_identifier, number);
        }
        let content = match shared.get_mut(&place(&message)) {
            Some((count, reference)) if *count > 1 => {
                Content::Reference(self.share(&message, reference))
            }
            _ => Content::Inline(message),
        };
        self.index.queued += 1;
        let client = self.client(&client_identifier);
        client.last_number = client.last_number.max(number);
        client.references += u32::from(matches!(content, Content::Reference(_)));
        if tentative || packet_identifier.is_some() {
            let state = State { tentative, taken: false, packet_identifier };
            client.states.insert(number, Tracked { state, has_row: tentative });
            if tentative {
                let key = keys::pair(session, number);
                self.group.put(Table::State, &key, state.encode(), is_new);
            }
        }
        let row = Queued {
            qos,
            retain,
            packet_identifier,
            group,
            subscription_identifiers,
            size,
            content,
        };
        let key = keys::pair(session, number);
        self.group.put(Table::Queue, &key, row.encode(), is_new);
    }

    /// Counts one more reference to a message of this append, which is written with the first.
    fn share(&mut self, message: &Message, reference: &mut Option<u64>) -> u64 {
        let counters = &mut self.index.counters;
        let reference = *reference.get_or_insert_with(|| {
            counters.message += 1;
            let key = counters.message.to_be_bytes();
            self.group.put(Table::Message, &key, encode_message(message), true);
            counters.message
        });
        *self.index.references.entry(reference).or_default() += 1;
        reference
    }

    fn change_state(
        &mut self,
        client_identifier: &Text,
        number: u64,
        change: impl FnOnce(&mut State),
    ) {
        let Some(client) = self.index.clients.get_mut(client_identifier.as_bytes()) else {
            return;
        };
        let before = client.states.get(&number).copied().unwrap_or_default();
        let mut state = before.state;
        change(&mut state);
        if state == before.state {
            return;
        }
        let key = keys::pair(client.number, number);
        if state == State::default() {
            client.states.remove(&number);
            self.group.remove(Table::State, &key);
        } else {
            client.states.insert(number, Tracked { state, has_row: true });
            self.group.put(Table::State, &key, state.encode(), !before.has_row);
        }
    }

    fn settle(&mut self, client_identifier: &Text, number: u64) {
        let Some(client) = self.index.clients.get_mut(client_identifier.as_bytes()) else {
            return;
        };
        self.index.queued = self.index.queued.saturating_sub(1);
        let key = keys::pair(client.number, number);
        if client.states.remove(&number).is_some_and(|tracked| tracked.has_row) {
            self.group.remove(Table::State, &key);
        }
        if client.references > 0 {
            // A row that can't be read keeps its message until the next start.
            let row = match self.group.value(Table::Queue, &key) {
                Some(value) => value.cloned(),
                None => self.engine.get(Table::Queue, &key).unwrap_or_default(),
            };
            let header = row.map(|value| QueuedHeader::decode(&value));
            if let Some(Ok(QueuedHeader { reference: Some(reference), .. })) = header {
                client.references -= 1;
                self.release(reference);
            }
        }
        self.group.remove(Table::Queue, &key);
    }

    /// One reference less to a message that is stored once for several sessions.
    fn release(&mut self, reference: u64) {
        let hashbrown::hash_map::Entry::Occupied(mut count) =
            self.index.references.entry(reference)
        else {
            return;
        };
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
            self.group.remove(Table::Message, &reference.to_be_bytes());
        }
    }

    /// Removes some rows of sessions that have ended, at most so many; whether there are more.
    ///
    /// It has a group of its own: what earlier groups hold must have been committed.
    pub(crate) fn clean_up(&mut self, rows_max: usize) -> bool {
        let mut rows = 0;
        while let Some(reference) = self.index.orphans.pop_front() {
            self.group.remove(Table::Message, &reference.to_be_bytes());
            rows += 1;
            if rows >= rows_max {
                return true;
            }
        }
        while let Some(session) = self.index.garbage.front().copied() {
            // Behind what was removed before: a walk over the marks of that would take ever longer.
            let (tables, after) = std::mem::take(&mut self.index.cleaned);
            let mut after = after.map(|key| Bound::Excluded(key.to_vec()));
            let end = session.checked_add(1).map(|next| next.to_be_bytes().to_vec());
            let end = end.map_or(Bound::Unbounded, Bound::Excluded);
            for (at, table) in Table::OF_SESSIONS.into_iter().enumerate().skip(tables) {
                let first = || Bound::Included(session.to_be_bytes().to_vec());
                let range = (after.take().unwrap_or_else(first), end.clone());
                for row in self.engine.table(table).range(range) {
                    // What can't be read is looked for again at the next start.
                    let Ok((key, value)) = row.into_inner() else { break };
                    if table == Table::Queue {
                        self.index.queued = self.index.queued.saturating_sub(1);
                    }
                    if table == Table::Queue
                        && let Ok(QueuedHeader { reference: Some(reference), .. }) =
                            QueuedHeader::decode(&value)
                    {
                        self.release(reference);
                    }
                    self.group.remove(table, &key);
                    rows += 1;
                    if rows >= rows_max {
                        self.index.cleaned = (at, Some(key));
                        return true;
                    }
                }
            }
            self.index.garbage.pop_front();
        }
        false
    }
}

/// Which messages of an append are owed several times and large enough to be stored once.
fn shared(records: &[Record]) -> Shared {
    let mut shared = Shared::default();
    if records.len() < 2 {
        return shared;
    }
    for record in records {
        if let Record::Owed { message, .. } = record
            && message.size() > SHARED_SIZE_MIN
        {
            shared.entry(place(message)).or_default().0 += 1;
        }
    }
    shared
}
