//! The sessions and connections of a worker, and what they have to write.

mod delivery;
mod refill;
mod waiting;

pub(super) use delivery::Delivered;
pub(super) use waiting::Load;

use super::GroupName;
use super::counters::Counters;
use super::deadline::Deadline;
use super::drops::DropList;
use super::durability::Durability;
use super::fetch::Fetch;
use super::granted::SessionKey;
use super::login::LoginState;
use super::newcomers::Newcomers;
use super::queue::QueueHead;
use super::record::{Record, RecordNumber};
use super::retained::RetainedStore;
use super::rights::Rights;
use super::session::{Note, Session};
use super::slab::Slab;
use super::spares::Spares;
use crate::Limits;
use dunlin_protocol::codec::{PacketIdentifier, Text, TransmitBuf};
use dunlin_protocol::{Instant, Message, ServerConnection};
use std::collections::VecDeque;
use std::sync::Arc;

/// A connection of a worker: its place there, and the count that tells it from earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnectionKey {
    /// The place; free for another connection once this one was released.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// What a worker holds for a connection beside its socket.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) protocol: ServerConnection,
    pub(super) out: TransmitBuf,
    pub(super) session: Option<SessionKey>,
    /// Whether it has no session yet, and is not over.
    pub(super) is_newcomer: bool,
    /// How safe what must be before its Client relies on it.
    pub(super) durability: Durability,
    /// Whether it is in the list of those to be written at the end of the turn.
    touched: bool,
    /// Whether something waits for room in the output.
    wants_room: bool,
    /// Whether its input waits for room in its output.
    pub(super) stalled: bool,
    /// Whether the peer has closed its side: what it sent before is all that comes.
    pub(super) is_gone: bool,
    /// Whether its CONNACK waits for the store.
    pub(super) waits: bool,
    /// How many SUBACKs and UNSUBACKs wait for other workers or the store.
    pub(super) answers_due: u32,
    /// How many of its publishes wait for other workers.
    pub(super) awaited: u32,
    /// Bytes of messages that were prepared and wait for the store.
    prepared_bytes: usize,
    /// Whether its publishes are no longer taken: one before them was given up.
    pub(super) forgoes: bool,
    /// Whether nothing is read: a publish of an MQTT 3.x Client waits for room in a queue.
    pub(super) held: bool,
    /// Whether nothing is read: its Client is ahead of its rate.
    pub(super) rests: bool,
    /// Its login, while that is awaited or if it ends.
    pub(super) login: Option<Box<LoginState>>,
    /// When it was last read again after it was held: until then its silence says nothing.
    pub(super) read_again_at: Instant,
    /// When the earliest timer that counts for it comes up.
    pub(super) timer_at: Deadline,
    /// The same for its login.
    pub(super) login_timer_at: Deadline,
}

impl Connection {
    /// When its Client will have been silent for too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadline = self.protocol.poll_timeout()?;
        let spared = self.read_again_at.saturating_since(self.protocol.last_received());
        Some(deadline + spared)
    }

    /// Bytes of its output, what is prepared for it included: those are bounded together.
    fn output_len(&self) -> usize {
        self.out.len() + self.prepared_bytes
    }
}

/// Outputs of at least this many bytes are written before the turn ends.
const OUTPUT_FLUSH_LEN: usize = 128 * 1024;
/// A queue is moved to the output while fewer bytes than this wait there.
const OUTPUT_FILL_LEN: usize = 32 * 1024;

/// SUBACKs and UNSUBACKs that may wait before nothing more is taken of their Client.
pub(super) const ANSWERS_DUE_MAX: u32 = 64;

#[derive(Debug)]
pub(super) struct Endpoints {
    pub(super) limits: Arc<Limits>,
    queue_head: QueueHead,
    pub(super) connections: Slab<Connection>,
    pub(super) newcomers: Newcomers,
    pub(super) sessions: Slab<Session>,
    pub(super) counters: Counters,
    pub(super) drop_list: DropList,
    pub(super) retained: RetainedStore,
    /// What Clients may do; `None` if they may do everything.
    pub(super) rights: Option<Box<Rights>>,
    touched: Vec<ConnectionKey>,
    urgent: Vec<ConnectionKey>,
    pub(super) spares: Spares,
    /// Whether a store is there to take records.
    pub(super) stores: bool,
    pub(super) records: Vec<Record>,
    pub(super) last_record: RecordNumber,
    /// The highest number that a message of a session had which has ended. No later session of its
    /// Client uses it again: another worker may still record what it has decided about it.
    pub(super) ended_number: u64,
    /// What is wanted back from the store, once the records before are handed over.
    pub(super) fetches: VecDeque<Fetch>,
    /// How safe what was recorded must become for what waits for it.
    pub(super) wanted: Durability,
    /// Whether the store takes more.
    pub(super) store_is_ready: bool,
    /// Bytes that were taken up since memory was looked at, roughly.
    pub(super) grown: u64,
    /// QoS 2 messages that are sent once the record is stored that says by which exchange: those
    /// for Clients that rely on [`Durability::Written`] and on [`Durability::Fsync`].
    prepared: [VecDeque<Prepared>; 2],
}

/// A QoS 2 message that waits for the store before it is sent.
#[derive(Debug)]
struct Prepared {
    record: RecordNumber,
    connection: ConnectionKey,
    packet_identifier: PacketIdentifier,
    /// Whether it came by a Shared Subscription.
    is_shared: bool,
    size: usize,
    payload_len: usize,
    /// The message, if there are rules: others may be in force when it is to be sent.
    message: Option<Arc<Message>>,
}

/// A message of a group for which the member that was chosen has lost its right before it was sent.
#[derive(Debug)]
pub(super) struct DeniedToMember {
    pub(super) client_identifier: Text,
    pub(super) group: Arc<GroupName>,
    pub(super) message: Arc<Message>,
}

impl Endpoints {
    pub(super) fn new(
        limits: Arc<Limits>,
        queue_head: QueueHead,
        retained: RetainedStore,
        rights: Option<Box<Rights>>,
        stores: bool,
    ) -> Self {
        Self {
            limits,
            queue_head,
            connections: Slab::new(),
            newcomers: Newcomers::default(),
            sessions: Slab::new(),
            counters: Counters::default(),
            drop_list: DropList::default(),
            retained,
            rights,
            touched: Vec::new(),
            urgent: Vec::new(),
            spares: Spares::default(),
            stores,
            records: Vec::new(),
            last_record: RecordNumber(0),
            ended_number: 0,
            fetches: VecDeque::new(),
            wanted: Durability::Memory,
            store_is_ready: true,
            grown: 0,
            prepared: Default::default(),
        }
    }

    // ---- connections

    pub(super) fn open(
        &mut self,
        now: Instant,
        protocol: ServerConnection,
        durability: Durability,
    ) -> ConnectionKey {
        let (index, generation) = self.connections.insert(Connection {
            protocol,
            out: TransmitBuf::new(),
            session: None,
            is_newcomer: true,
            durability,
            touched: false,
            wants_room: false,
            stalled: false,
            is_gone: false,
            waits: false,
            answers_due: 0,
            awaited: 0,
            prepared_bytes: 0,
            forgoes: false,
            held: false,
            rests: false,
            login: None,
            read_again_at: Instant::ZERO,
            timer_at: Deadline::NEVER,
            login_timer_at: Deadline::NEVER,
        });
        self.counters.connections += 1;
        let key = ConnectionKey { index, generation };
        self.newcomer_comes(now, key);
        key
    }

    pub(super) fn release(&mut self, key: ConnectionKey) -> Option<Box<Connection>> {
        if !self.connections.is_current(key.index, key.generation) {
            return None;
        }
        self.newcomer_leaves(key);
        self.counters.connections -= 1;
        self.connections.remove(key.index)
    }

    pub(super) fn connection(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        if !self.connections.is_current(key.index, key.generation) {
            return None;
        }
        self.connections.get_mut(key.index)
    }

    pub(super) fn key_of(&self, index: u32) -> ConnectionKey {
        ConnectionKey { index, generation: self.connections.generation(index) }
    }

    /// Notes that the connection has, or is about to have, something to write.
    #[inline]
    pub(super) fn touch(&mut self, index: u32) {
        let generation = self.connections.generation(index);
        let connection = &mut self.connections[index];
        if !connection.touched {
            connection.touched = true;
            connection.out.give_storage(self.spares.take_small());
            self.touched.push(ConnectionKey { index, generation });
        } else if self.spares.is_outgrown(&connection.out) {
            let small = connection.out.exchange_storage(self.spares.take_large());
            self.spares.give(small);
        } else if connection.out.len() >= OUTPUT_FLUSH_LEN {
            let key = ConnectionKey { index, generation };
            if !self.urgent.contains(&key) {
                self.urgent.push(key);
            }
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !(self.touched.is_empty()
            && self.urgent.is_empty()
            && self.records.is_empty()
            && self.fetches.is_empty())
    }

    pub(super) fn has_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    pub(super) fn take_urgent(&mut self, keys: &mut Vec<ConnectionKey>) {
        keys.append(&mut self.urgent);
    }

    pub(super) fn take_touched(&mut self, keys: &mut Vec<ConnectionKey>) {
        for key in &self.touched {
            if self.connections.is_current(key.index, key.generation) {
                self.connections[key.index].touched = false;
            }
        }
        keys.append(&mut self.touched);
    }

    /// An idle connection holds no buffer: what was drained goes back for the next one.
    pub(super) fn reclaim(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connection(key) else { return };
        if let Some(storage) = connection.out.take_storage() {
            self.spares.give(storage);
        }
    }

    // ---- what waits

    /// A SUBACK or UNSUBACK of a connection waits for other workers or the store.
    pub(super) fn owe_answer(&mut self, key: ConnectionKey) {
        if let Some(connection) = self.connection(key) {
            connection.answers_due += 1;
        }
    }

    /// A SUBACK or UNSUBACK that waited goes out; whether input that waited for it goes on.
    #[must_use]
    pub(super) fn give_answer(&mut self, now: Instant, key: ConnectionKey) -> bool {
        let Some(connection) = self.connection(key) else { return false };
        connection.answers_due = connection.answers_due.saturating_sub(1);
        let goes_on = connection.stalled && connection.answers_due < ANSWERS_DUE_MAX;
        if goes_on {
            connection.stalled = false;
            connection.read_again_at = now;
        }
        goes_on
    }

    /// How many messages wait for the store before they are sent.
    pub(super) fn prepared_len(&self) -> usize {
        self.prepared.iter().map(VecDeque::len).sum()
    }

    // ---- records

    /// The number of the record that is made next.
    pub(super) const fn next_record(&self) -> RecordNumber {
        RecordNumber(self.last_record.0 + 1)
    }

    pub(super) fn record(&mut self, record: Record) -> RecordNumber {
        self.last_record.0 += 1;
        self.records.push(record);
        self.last_record
    }

    /// Something waits until what was recorded is so safe.
    pub(super) fn want(&mut self, durability: Durability) {
        self.wanted = self.wanted.max(durability);
    }

    pub(super) fn settle(&mut self, session: SessionKey, note: &Note) {
        if let (Some(number), true) = (note.number, self.stores) {
            let client_identifier = self.sessions[session.0].client_identifier.clone();
            self.record(Record::Settled { client_identifier, number });
        }
    }
}
