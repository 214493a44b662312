//! What an earlier process has stored, as records, and as the index of the committing thread.

use crate::encoding::{
    Content, Counters, Damage, Queued, QueuedHeader, Reader, RetainedRow, SessionRow, State,
    SubscriptionRow, UnderwayRow, WillRow, decode_message,
};
use crate::engine::{Engine, Op};
use crate::group::Group;
use crate::index::{Client, Index, Tracked};
use crate::keys::{self, COUNTERS, Table};
use crate::loss::Loss;
use crate::scan::scan;
use bytes::Bytes;
use dunlin_broker::core::Record;
use dunlin_protocol::codec::{PacketIdentifier, Text, TopicFilter, TopicName};
use fjall::{Snapshot, UserValue};
use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a start found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Sessions.
    pub sessions: u64,
    /// Messages that sessions are owed.
    pub messages: u64,
    /// Rows that could not be understood; they were set aside.
    pub damaged_rows: u64,
    /// Journals with damage in them: what was stored there, and not elsewhere yet, is lost in part.
    pub damaged_journals: u64,
    /// Places where the disk, or a checksum, kept rows from being read.
    pub gaps: u64,
    /// Groups of changes that were on the disk and are gone with parts of journals, at least. Each
    /// has one or more changes.
    pub lost_groups: u64,
}

impl Found {
    /// What is lost, counted as far as is known: at least one for each place that is damaged.
    pub const fn lost(&self) -> u64 {
        self.damaged_rows + self.gaps + self.lost_groups
    }
}

/// A row that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The table that it is in.
    pub table: &'static str,
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong with it.
    pub damage: Damage,
}

/// How many problems are told one by one.
const PROBLEMS_MAX: usize = 1000;

/// What a reading of all of the store has come to.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// What has to be changed before anything else is.
    pub(crate) mended: Vec<Op>,
    pub(crate) found: Found,
    pub(crate) problems: Vec<Problem>,
    /// What is damaged, in the tables alone.
    pub(crate) losses: Vec<Loss>,
    /// Whether it has come to the end of the store.
    pub(crate) is_whole: bool,
}

/// Reads all of the store.
pub(crate) struct Recovery<'a> {
    engine: &'a Engine,
    snapshot: Snapshot,
    each: &'a mut dyn FnMut(Record),
    index: Index,
    /// Whose rows are under a number.
    owners: HashMap<u64, Text, RandomState>,
    /// States whose messages have yet to be seen.
    states: HashMap<(u64, u64), State, RandomState>,
    garbage: HashSet<u64, RandomState>,
    /// What is mended: damaged rows set aside, what no longer counts removed.
    mended: Group,
    found: Found,
    problems: Vec<Problem>,
    gaps: Vec<Loss>,
    /// How many rows of which table can't be understood.
    damaged_rows: BTreeMap<&'static str, u64>,
    /// Whether every message is read and given, however long the queue.
    is_thorough: bool,
    /// Whether nobody wants the rest; asked for each row.
    stop: &'a dyn Fn() -> bool,
    has_stopped: bool,
}

/// The messages of a session that just wait.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    session: u64,
    first: u64,
    last: u64,
    len: u64,
    bytes: u64,
}

impl Waiting {
    fn add(&mut self, number: u64, size: u32) {
        if self.len == 0 {
            self.first = number;
        }
        self.last = number;
        self.len += 1;
        self.bytes += u64::from(size);
    }
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(engine: &'a Engine, each: &'a mut dyn FnMut(Record)) -> Self {
        Self {
            engine,
            snapshot: engine.snapshot(),
            each,
            index: Index::default(),
            owners: HashMap::default(),
            states: HashMap::default(),
            garbage: HashSet::default(),
            mended: Group::default(),
            found: Found::default(),
            problems: Vec::new(),
            gaps: Vec::new(),
            damaged_rows: BTreeMap::new(),
            is_thorough: false,
            stop: &|| false,
            has_stopped: false,
        }
    }

    /// Reads and gives every message, for copies and checks: nothing is told of as waiting.
    pub(crate) const fn thorough(mut self) -> Self {
        self.is_thorough = true;
        self
    }

    /// Reads no further when `stop` says so.
    pub(crate) const fn until(mut self, stop: &'a dyn Fn() -> bool) -> Self {
        self.stop = stop;
        self
    }

    /// Gives every record.
    pub(crate) fn run(mut self) -> Recovered {
        self.rows(Table::Meta, |this, key, value| {
            if key == COUNTERS {
                this.index.counters = Counters::decode(value.clone())?;
            }
            Ok(())
        });
        self.rows(Table::Session, Self::session);
        let all_sessions_known = self.found.gaps == 0 && self.found.damaged_rows == 0;
        self.rows(Table::Subscription, Self::subscription);
        self.rows(Table::Received, Self::received);
        self.rows(Table::State, Self::state);
        self.queues();
        for ((session, number), _) in std::mem::take(&mut self.states) {
            self.mended.remove(Table::State, &keys::pair(session, number));
        }
        self.messages();
        self.rows(Table::Will, Self::will);
        self.rows(Table::Underway, Self::underway);
        self.rows(Table::Retained, Self::retained);
        if all_sessions_known {
            self.index.garbage = self.garbage.drain().collect();
        }
        self.found.sessions = self.owners.len() as u64;
        self.index.queued = self.found.messages;
        let is_whole = !self.has_stopped;
        let Self { index, mut mended, found, problems, mut gaps, damaged_rows, .. } = self;
        gaps.extend(damaged_rows.into_iter().map(|(table, rows)| Loss::Rows { table, rows }));
        Recovered { index, mended: mended.take(), found, problems, losses: gaps, is_whole }
    }

    /// Breaks, from the first time on that nobody wants the rest.
    fn go_on(&mut self) -> ControlFlow<()> {
        self.has_stopped = self.has_stopped || (self.stop)();
        match self.has_stopped {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Reads a table. What is damaged is set aside.
    fn rows(
        &mut self,
        table: Table,
        mut row: impl FnMut(&mut Self, &[u8], &Bytes) -> Result<(), Damage>,
    ) {
        let (engine, snapshot) = (self.engine, self.snapshot.clone());
        let gaps = scan(engine, &snapshot, table, (&[], None), |key, value| {
            self.go_on()?;
            if let Err(damage) = row(self, &key, &Bytes::copy_from_slice(&value)) {
                self.set_aside(table, &key, &value, damage);
            }
            ControlFlow::Continue(())
        });
        self.found.gaps += gaps.len() as u64;
        self.gaps.extend(gaps);
    }

    fn set_aside(&mut self, table: Table, key: &[u8], value: &[u8], damage: Damage) {
        self.found.damaged_rows += 1;
        *self.damaged_rows.entry(table.name()).or_default() += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { table: table.name(), key: key.to_vec(), damage });
        }
        set_aside(&mut self.mended, table, key, value, damage);
    }

    fn session(&mut self, key: &[u8], value: &Bytes) -> Result<(), Damage> {
        let (name, value) = self.index.names.found(Table::Session, None, key, value)?;
        let client_identifier = Text::from_bytes(name).map_err(|_| Damage::IllegalString)?;
        let mut reader = Reader::new(value)?;
        let row = SessionRow::decode(&mut reader)?;
        reader.end()?;
        self.index.counters.session = self.index.counters.session.max(row.number);
        let client = Client { number: row.number, ..Client::default() };
        self.owners.insert(row.number, client_identifier.clone());
        self.index.clients.insert(client_identifier.as_bytes().into(), client);
        if let Some(session) = row.session {
            (self.each)(Record::Session {
                client_identifier,
                session_expiry_interval: session.expiry_interval,
                away_since: session.away_since,
                owner: session.owner,
                subject: session.subject,
            });
        }
        Ok(())
    }

    /// Whose rows these are; a number without an owner is that of a session that has ended.
    fn owner(&mut self, session: u64) -> Option<Text> {
        let owner = self.owners.get(&session).cloned();
        if owner.is_none() {
            self.garbage.insert(session);
            // Nobody may get these rows with the number, though the counters be lost.
            let last = &mut self.index.counters.session;
            *last = session.max(*last);
        }
        owner
    }

    fn subscription(&mut self, key: &[u8], value: &Bytes) -> Result<(), Damage> {
        let (session, name) = keys::split_number(key)?;
        let Some(client_identifier) = self.owner(session) else { return Ok(()) };
        let table = Table::Subscription;
        let (name, value) = self.index.names.found(table, Some(session), name, value)?;
        let topic_filter = TopicFilter::from_bytes(name).map_err(|_| Damage::IllegalString)?;
        let mut reader = Reader::new(value)?;
        let row = SubscriptionRow::decode(&mut reader)?;
        reader.end()?;
        (self.each)(Record::Subscribed {
            client_identifier,
            topic_filter,
            maximum_qos: row.maximum_qos,
            no_local: row.no_local,
            retain_as_published: row.retain_as_published,
            subscription_identifier: row.subscription_identifier,
        });
        Ok(())
    }

    fn received(&mut self, key: &[u8], value: &Bytes) -> Result<(), Damage> {
        let (session, exchange) = keys::split_number(key)?;
        let Some(client_identifier) = self.owner(session) else { return Ok(()) };
        let exchange: [u8; 2] = exchange.try_into().map_err(|_| Damage::Key)?;
        let packet_identifier =
            PacketIdentifier::new(u16::from_be_bytes(exchange)).ok_or(Damage::Key)?;
        Reader::new(value.clone())?.end()?;
        (self.each)(Record::Received { client_identifier, packet_identifier });
        Ok(())
    }

    fn state(&mut self, key: &[u8], value: &Bytes) -> Result<(), Damage> {
        let (session, number) = keys::split_pair(key)?;
        if self.owner(session).is_some() {
            self.states.insert((session, number), State::decode(value.clone())?);
        }
        Ok(())
    }

    fn queues(&mut self) {
        let mut waiting = Waiting::default();
        let (engine, snapshot) = (self.engine, self.snapshot.clone());
        let gaps = scan(engine, &snapshot, Table::Queue, (&[], None), |key, value| {
            self.go_on()?;
            if let Err(damage) = self.queued(&key, &value, &mut waiting) {
                self.set_aside(Table::Queue, &key, &value, damage);
                // It must not be taken for that of a later message with this number.
                self.mended.remove(Table::State, &key);
            }
            ControlFlow::Continue(())
        });
        self.found.gaps += gaps.len() as u64;
        self.gaps.extend(gaps);
        self.tell(waiting);
    }

    fn queued(
        &mut self,
        key: &[u8],
        value: &UserValue,
        waiting: &mut Waiting,
    ) -> Result<(), Damage> {
        let (session, number) = keys::split_pair(key)?;
        if waiting.session != session {
            self.tell(std::mem::take(waiting));
            waiting.session = session;
        }
        let header = QueuedHeader::decode(value)?;
        let Some(client_identifier) = self.owner(session) else {
            // Counted, so that the removal of the row finds the count as it must be.
            if let Some(reference) = header.reference {
                *self.index.references.entry(reference).or_default() += 1;
            }
            return Ok(());
        };
        let state = self.states.remove(&(session, number));
        if state.is_some_and(|state| state.tentative) {
            // Whoever published it was told nothing, and publishes it again.
            self.mended.remove(Table::Queue, key);
            self.mended.remove(Table::State, key);
            return Ok(());
        }
        let mut tracked = None;
        if header.is_kept || state.is_some() || self.is_thorough {
            tracked = self.kept(&client_identifier, number, state, value)?;
        } else {
            waiting.add(number, header.size);
        }
        self.found.messages += 1;
        if let Some(reference) = header.reference {
            *self.index.references.entry(reference).or_default() += 1;
        }
        if let Some(client) = self.index.clients.get_mut(client_identifier.as_bytes()) {
            client.last_number = number;
            client.references += u32::from(header.reference.is_some());
            if let Some(tracked) = tracked {
                client.states.insert(number, tracked);
            }
        }
        Ok(())
    }

    /// Gives a message that does not just wait; also its state, if it has any.
    fn kept(
        &mut self,
        client_identifier: &Text,
        number: u64,
        state: Option<State>,
        value: &UserValue,
    ) -> Result<Option<Tracked>, Damage> {
        let queued = Queued::decode(Bytes::copy_from_slice(value))?;
        let taken = state.is_some_and(|state| state.taken);
        let packet_identifier =
            state.and_then(|state| state.packet_identifier).or(queued.packet_identifier);
        let queued = Queued { packet_identifier, ..queued };
        let record =
            owed(client_identifier, number, queued, false, |reference| self.message(reference))?;
        (self.each)(record);
        if taken {
            let client_identifier = client_identifier.clone();
            (self.each)(Record::Taken { client_identifier, number });
        }
        let has_row = state.is_some();
        let state = State { tentative: false, taken, packet_identifier };
        Ok((has_row || packet_identifier.is_some()).then_some(Tracked { state, has_row }))
    }

    fn message(&self, reference: u64) -> Result<Bytes, Damage> {
        let key = reference.to_be_bytes();
        let row = self.engine.get_in(&self.snapshot, Table::Message, &key);
        row.ok().flatten().map(|row| Bytes::copy_from_slice(&row)).ok_or(Damage::MissingMessage)
    }

    fn tell(&mut self, waiting: Waiting) {
        let Waiting { session, first, last, len, bytes } = waiting;
        if len > 0
            && let Some(client_identifier) = self.owners.get(&session).cloned()
        {
            (self.each)(Record::Waiting { client_identifier, first, last, len, bytes });
        }
    }

    /// Which messages nobody refers to any more.
    fn messages(&mut self) {
        let mut orphans = Vec::new();
        self.rows(Table::Message, |this, key, value| {
            if this.is_thorough {
                decode_message(value.clone())?;
            }
            let (number, rest) = keys::split_number(key)?;
            if !rest.is_empty() {
                return Err(Damage::Key);
            }
            this.index.counters.message = this.index.counters.message.max(number);
            if !this.index.references.contains_key(&number) {
                orphans.push(number);
            }
            Ok(())
        });
        self.index.orphans = orphans.into();
    }

    fn will(&mut self, key: &[u8], value: &Bytes) -> Result<(), Damage> {
        let (name, value) = self.index.names.found(Table::Will, None, key, value)?;
        let client_identifier = Text::from_bytes(name).map_err(|_| Damage::IllegalString)?;
        let row = WillRow::decode(Reader::new(value)?)?;
        self.index.client(client_identifier.as_bytes()).has_will = true;
        (self.each)(Record::Will {
            client_identifier,
            message: row.message,
            message_expiry_interval: row.message_expiry_interval,
            delay_secs: row.delay_secs,
            subject: row.subject,
        });
        Ok(())
    }

    fn underway(&mut self, key: &[u8], value: &Bytes) -> Result<(), Damage> {
        let (number, name) = keys::split_number(key)?;
        let (name, value) = self.index.names.found(Table::Underway, Some(number), name, value)?;
        let client_identifier = Text::from_bytes(name).map_err(|_| Damage::IllegalString)?;
        let UnderwayRow { group, message } = UnderwayRow::decode(Reader::new(value)?)?;
        (self.each)(Record::Underway { client_identifier, number, message, group });
        Ok(())
    }

    fn retained(&mut self, key: &[u8], value: &Bytes) -> Result<(), Damage> {
        let (name, value) = self.index.names.found(Table::Retained, None, key, value)?;
        let topic_name = TopicName::from_bytes(name).map_err(|_| Damage::IllegalString)?;
        let row = RetainedRow::decode(Reader::new(value)?)?;
        let RetainedRow { change, message, publisher } = row;
        (self.each)(Record::Retained { topic_name, message: Some(message), change, publisher });
        Ok(())
    }
}

/// Moves a row that means nothing to where it does no harm, and says so.
pub(crate) fn set_aside(group: &mut Group, table: Table, key: &[u8], value: &[u8], damage: Damage) {
    tracing::error!(
        table = table.name(), ?key, bytes = value.len(), %damage,
        "a stored row is damaged; it is kept in the table `damaged`"
    );
    let mut place = table.name().as_bytes().to_vec();
    place.push(0);
    place.extend_from_slice(&key[..key.len().min(60_000)]);
    group.put(Table::Damaged, &place, value.to_vec(), false);
    group.remove(table, key);
}

/// A row of a queue as the record that made it.
pub(crate) fn owed(
    client_identifier: &Text,
    number: u64,
    queued: Queued,
    tentative: bool,
    message: impl FnOnce(u64) -> Result<Bytes, Damage>,
) -> Result<Record, Damage> {
    let message = match queued.content {
        Content::Inline(message) => message,
        Content::Reference(reference) => Arc::new(decode_message(message(reference)?)?),
    };
    Ok(Record::Owed {
        client_identifier: client_identifier.clone(),
        number,
        message,
        qos: queued.qos,
        retain: queued.retain,
        subscription_identifiers: queued.subscription_identifiers,
        group: queued.group,
        packet_identifier: queued.packet_identifier,
        tentative,
    })
}
