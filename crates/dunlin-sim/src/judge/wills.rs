//! Wills: when each may be published, and when it must have been.

use super::Judge;
use super::connections::{Connection, Stage};
use super::deadlines::Deadline;
use super::messages::Record;
use super::moment::Moment;
use super::names::TopicId;
use super::promise::Promise;
use super::retained::Origin;
use super::sessions::{ClientKey, Expiry, seconds};
use super::shared::TOLD_LATE;
use crate::history::{ConnectionId, message_number};
use dunlin_codec::Connect;
use dunlin_protocol::Instant;

/// The Will of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Will {
    pub(super) number: u64,
    delay_secs: u32,
    status: Status,
    /// When it was sent to somebody before its time was known.
    early: Option<Moment>,
    /// Since when it may have been published then.
    pub(super) early_since: Option<Instant>,
    /// When the CONNECT was taken that may have ended its Session, and with it the delay.
    pub(super) ended_since: Option<Moment>,
    /// Its place among the changes of the retained message.
    retained: Option<(TopicId, usize)>,
    /// It was taken back by a DISCONNECT, which has no answer: until the next CONNACK of its client
    /// a crash may undo that.
    is_unanswered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// Its CONNECT was not answered yet.
    Asked,
    /// It is kept for the end of the connection.
    Armed,
    /// It becomes due between these moments, unless the client comes back.
    Waiting { earliest: Instant, latest: Instant },
    /// It must not be published.
    Revoked,
    /// It may be published once.
    Maybe,
    /// It was published.
    Settled,
}

impl Judge {
    pub(super) fn ask_will(&mut self, id: ConnectionId, client: ClientKey, connect: &Connect) {
        let Some(will) = &connect.will else { return };
        let topic = self.names.topic(&will.topic_name);
        let Some(number) = message_number(&will.payload) else {
            if will.retain {
                self.retain(topic, None, false, 0, Origin::Will);
            }
            return;
        };
        let moment = self.moment;
        let is_known = self.messages.contains_key(&number);
        let message = &will.properties.message;
        let record = self.messages.entry(number).or_insert_with(|| Record {
            topic,
            payload: will.payload.clone(),
            qos: will.qos,
            retain: will.retain,
            properties: (!message.is_empty()).then(|| std::sync::Arc::new(message.clone())),
            expiry_secs: will.properties.message_expiry_interval,
            expiry_secs_least: will.properties.message_expiry_interval,
            publisher: Some(client),
            publisher_life: None,
            connection: id,
            is_will: true,
            begun: None,
            last_taken: moment,
            attempts: 1,
            is_admitted: true,
            after_crash: 0,
            after_refusal: 0,
            open: 1,
            settled: None,
            is_acknowledged: false,
            has_waited: false,
            is_ambiguous: false,
            handed: Vec::new(),
            groups_served: Vec::new(),
        });
        if is_known {
            record.is_ambiguous = true;
        }
        let delay_secs = will.properties.will_delay_interval.unwrap_or(0);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.will = Some(Will {
                number,
                delay_secs,
                status: Status::Asked,
                early: None,
                early_since: None,
                ended_since: None,
                retained: None,
                is_unanswered: false,
            });
        }
        self.sessions.of(client).wills.push(id);
    }

    fn will(&mut self, id: ConnectionId) -> Option<&mut Will> {
        self.connections.get_mut(&id)?.will.as_mut()
    }

    /// CONNACK was written: the Will counts.
    pub(super) fn arm_will(&mut self, id: ConnectionId) {
        if let Some(client) = self.connections.get(&id).and_then(|connection| connection.client) {
            self.answer_for_wills(client);
        }
        if let Some(will) = self.will(id)
            && will.status == Status::Asked
        {
            will.status = Status::Armed;
        }
    }

    /// It must not be published any more.
    pub(super) fn revoke_will(&mut self, id: ConnectionId) {
        let Some(will) = self.will(id) else { return };
        if matches!(will.status, Status::Settled | Status::Maybe) {
            return;
        }
        will.status = Status::Revoked;
        if will.early.is_some() {
            let text = format!("Will {} was published, and then taken back", will.number);
            self.breach(Promise::Will, &[id], text);
        }
    }

    /// A goodbye takes it back.
    pub(super) fn bid_will_farewell(&mut self, id: ConnectionId) {
        self.revoke_will(id);
        if let Some(will) = self.will(id) {
            will.is_unanswered = will.status == Status::Revoked;
        }
    }

    /// The client is told of a state that a crash must not undo.
    fn answer_for_wills(&mut self, client: ClientKey) {
        for id in self.sessions.of(client).wills.clone() {
            if let Some(will) = self.will(id) {
                will.is_unanswered = false;
            }
        }
    }

    /// A crash may have undone what nobody was told of.
    pub(super) fn crash_wills(&mut self) {
        let wills = self.connections.values_mut().filter_map(|connection| {
            let id = connection.id;
            Some((id, connection.will.as_mut()?))
        });
        let undone: Vec<ConnectionId> = wills
            .filter(|(_, will)| will.status == Status::Revoked && will.is_unanswered)
            .map(|(id, will)| {
                will.status = Status::Maybe;
                id
            })
            .collect();
        undone.into_iter().for_each(|id| self.begin_will(id));
        self.reopen_wills();
    }

    /// That a Will was published is told to nobody: until the store has it, a crash undoes that, and
    /// the Will is published once more when it is due again, if its Client doesn't come back before.
    /// And until the store has that it reached the other workers, it goes to all of them again.
    fn reopen_wills(&mut self) {
        let lateness = self.rules.lateness;
        let mut reopened = Vec::new();
        for connection in self.connections.values_mut() {
            let Some(will) = &mut connection.will else { continue };
            let Some(record) = self.messages.get_mut(&will.number) else { continue };
            let (Status::Settled, Some(settled)) = (will.status, record.settled) else { continue };
            let safe_since = self.stored.since(settled.at);
            let has_arrived_since = safe_since.and_then(|at| self.stored.since(at + lateness));
            if has_arrived_since.is_some() || record.is_ambiguous {
                continue;
            }
            will.status = Status::Maybe;
            record.open = 1;
            reopened.push((will.number, safe_since.is_none(), will.delay_secs > 0));
        }
        for (number, is_undone, may_come_back) in reopened {
            if is_undone {
                self.forgo_will(number, may_come_back);
            }
        }
    }

    /// A crash has undone that a Will was published: what of it is not owed any more.
    fn forgo_will(&mut self, number: u64, may_come_back: bool) {
        for life in self.sessions.all() {
            let life = self.sessions.life_mut(life);
            let may_be_full = |from| life.room.full.is_some_and(|full| full >= from);
            if life.owed.get(&number).is_some_and(|from| may_come_back || may_be_full(*from)) {
                life.owed.remove(&number);
            }
        }
        let Some(record) = self.messages.get(&number) else { return };
        if record.retain {
            self.retain_perhaps(record.topic, Some(number));
        }
    }

    /// Nobody can tell any more whether it is published.
    pub(super) fn maybe_will(&mut self, id: ConnectionId) {
        let Some(will) = self.will(id) else { return };
        if matches!(will.status, Status::Settled | Status::Revoked | Status::Maybe) {
            return;
        }
        will.status = Status::Maybe;
        self.begin_will(id);
    }

    /// A CONNECT that was taken then may have ended its Session, and had it published.
    pub(super) fn note_will_ended(&mut self, id: ConnectionId, asked: Moment) {
        if let Some(will) = self.will(id)
            && matches!(will.status, Status::Armed | Status::Waiting { .. })
        {
            will.ended_since.get_or_insert(asked);
        }
    }

    /// As [`Judge::maybe_will`], for all.
    pub(super) fn maybe_all_wills(&mut self) {
        for client in 0..self.sessions.clients.len() {
            for id in std::mem::take(&mut self.sessions.clients[client].wills) {
                self.maybe_will(id);
            }
        }
    }

    /// Its connection ended before CONNACK was written: if the broker had accepted it, the Will may
    /// wait for its receivers from here on.
    pub(super) fn begin_unanswered_will(&mut self, id: ConnectionId) {
        if self.will(id).is_some_and(|will| will.status == Status::Asked) {
            self.begin_will(id);
        }
    }

    /// From here on it may be published.
    fn begin_will(&mut self, id: ConnectionId) {
        let moment = self.moment;
        let Some(will) = self.will(id) else { return };
        // That its Session has ended is told later than it is published, and it is sent later.
        let (number, begun) = (will.number, will.ended_since.or(will.early).unwrap_or(moment));
        let Some(record) = self.messages.get_mut(&number) else { return };
        if record.begun.is_some() || record.is_ambiguous {
            return;
        }
        record.begun = Some(begun);
        record.last_taken = moment;
        let (topic, retain, len) = (record.topic, record.retain, record.payload.len());
        if retain {
            let place = self.retain(topic, Some(number), false, len, Origin::Will);
            if let Some(will) = self.will(id) {
                will.retained = Some((topic, place));
            }
        }
        self.count_waiting(number);
    }

    /// The connection ended between these moments, without a goodbye.
    pub(super) fn fire_will(
        &mut self,
        id: ConnectionId,
        earliest: Instant,
        latest: Instant,
        expiry: Expiry,
    ) {
        let Some(will) = self.will(id) else { return };
        match will.status {
            Status::Asked => return self.maybe_will(id),
            Status::Armed => {}
            _ => return,
        }
        let earliest = earliest + seconds(will.delay_secs.min(expiry.min_secs));
        let latest = latest + seconds(will.delay_secs.min(expiry.max_secs));
        self.await_will(id, earliest, latest);
    }

    fn await_will(&mut self, id: ConnectionId, earliest: Instant, latest: Instant) {
        let now = self.moment.at;
        let lateness = self.rules.lateness;
        let Some(will) = self.will(id) else { return };
        let early = will.early;
        will.status = Status::Waiting { earliest, latest };
        // Whoever connects may end the Session, and with it the delay.
        let client = self.connections.get(&id).and_then(|connection| connection.client);
        if !client.is_some_and(|client| self.is_undecided(client)) {
            self.judge_early_will(id);
        }
        if earliest <= now || early.is_some() {
            self.begin_will(id);
        } else {
            self.set_deadline(earliest, Deadline::BeginWill(id));
        }
        self.set_deadline(latest + lateness, Deadline::SettleWill(id));
    }

    /// It was not sent before it could be due.
    fn judge_early_will(&mut self, id: ConnectionId) {
        let Some(will) = self.will(id) else { return };
        let Status::Waiting { earliest, .. } = will.status else { return };
        if let Some(early) = will.early.take_if(|early| early.at + TOLD_LATE < earliest) {
            let text =
                format!("Will {} was published at {}, due at {earliest}", will.number, early.at);
            self.breach(Promise::Will, &[id], text);
        }
    }

    /// It may be due now.
    pub(super) fn begin_due_will(&mut self, id: ConnectionId) {
        let now = self.moment.at;
        if let Some(will) = self.will(id)
            && let Status::Waiting { earliest, .. } = will.status
            && earliest <= now
        {
            self.begin_will(id);
        }
    }

    /// It must have been published by now.
    pub(super) fn settle_will(&mut self, id: ConnectionId) {
        let moment = self.moment;
        let lateness = self.rules.lateness;
        let Some(will) = self.will(id) else { return };
        let Status::Waiting { latest, .. } = will.status else { return };
        if moment.at < latest + lateness {
            return;
        }
        let (number, retained) = (will.number, will.retained);
        let client = self.connections.get(&id).and_then(|connection| connection.client);
        // The client has asked to come back, and has no answer: it may have come in time.
        if client.is_some_and(|client| self.is_undecided(client)) {
            self.maybe_will(id);
            return;
        }
        self.judge_early_will(id);
        if let Some(will) = self.will(id) {
            will.status = Status::Settled;
        }
        self.begin_will(id);
        if let Some(client) = client {
            self.sessions.of(client).wills.retain(|other| *other != id);
        }
        if let Some((topic, place)) = retained {
            // Nobody is told when there is no room for it, and no store answers for it.
            self.leave_retained(topic, place);
        }
        let Some(record) = self.messages.get_mut(&number) else { return };
        record.open = 0;
        record.settled = Some(moment);
        if let Some(begun) = record.begun {
            self.oblige(number, begun);
        }
    }

    /// The Client Identifier has a connection again, which was asked for then: the Wills of the
    /// earlier ones are taken back, or due because their Session ended.
    pub(super) fn settle_wills_before(
        &mut self,
        client: ClientKey,
        new: ConnectionId,
        asked: Moment,
        resumed: Option<Expiry>,
    ) {
        let now = self.moment.at;
        let lateness = self.rules.lateness;
        for id in self.sessions.of(client).wills.clone() {
            if id == new {
                continue;
            }
            let Some(will) = self.will(id) else { continue };
            let delay_secs = will.delay_secs;
            if resumed.is_none() && matches!(will.status, Status::Armed | Status::Waiting { .. }) {
                will.ended_since.get_or_insert(asked);
            }
            let asked = asked.at;
            match (will.status, resumed) {
                (Status::Armed, None) => self.await_will(id, asked, now),
                (Status::Armed, Some(expiry)) => match (expiry.min_secs, expiry.max_secs) {
                    _ if delay_secs == 0 => self.await_will(id, asked, now),
                    (_, 0) => self.await_will(id, asked, now),
                    (0, _) => self.maybe_will(id),
                    _ => self.revoke_will(id),
                },
                (Status::Waiting { latest, .. }, _) if latest + lateness < asked => {}
                (Status::Waiting { earliest, latest }, None) => {
                    self.await_will(id, earliest.min(asked), latest.min(now));
                }
                (Status::Waiting { earliest, .. }, Some(_)) => match earliest <= now + TOLD_LATE {
                    true => self.maybe_will(id),
                    false => self.revoke_will(id),
                },
                _ => {}
            }
        }
    }

    /// Whether a CONNECT of this Client Identifier has no answer yet.
    fn is_undecided(&self, client: ClientKey) -> bool {
        self.undecided_since(client).is_some()
    }

    /// Since when a CONNECT of this Client Identifier has no answer.
    fn undecided_since(&self, client: ClientKey) -> Option<Moment> {
        let open = self.sessions.clients[client.0 as usize].open.iter();
        open.filter_map(|id| self.connections.get(id))
            .filter(|known| known.stage == Stage::Connecting)
            .filter_map(|known| Some(known.asked.as_ref()?.taken))
            .min()
    }

    /// A message is sent: is it a Will before its time?
    pub(super) fn note_will_sent(&mut self, number: u64, to: ConnectionId) {
        let moment = self.moment;
        let Some(record) = self.messages.get(&number) else { return };
        if !record.is_will || record.begun.is_some() {
            return;
        }
        let id = record.connection;
        // Whoever connects may end the Session, and with it the delay.
        let undecided_since = record.publisher.and_then(|client| self.undecided_since(client));
        let Some(will) = self.will(id) else { return };
        let due = match will.status {
            Status::Revoked => None,
            Status::Waiting { earliest, .. } if undecided_since.is_none() => Some(earliest),
            _ => Some(moment.at),
        };
        if due.is_some_and(|due| due <= moment.at + TOLD_LATE) {
            will.early.get_or_insert(moment);
            will.early_since = Some(undecided_since.unwrap_or(moment).at);
            if will.status != Status::Asked {
                will.ended_since = will.ended_since.or(undecided_since);
            }
            self.begin_will(id);
            return;
        }
        let text = match due {
            Some(due) => format!("Will {number} is published now, due at {due}"),
            None => format!("Will {number} is published, and was taken back"),
        };
        self.breach(Promise::Will, &[id, to], text);
    }

    /// At the end: nothing was published for a connection that is still there.
    pub(super) fn judge_wills(&mut self) {
        let early: Vec<(ConnectionId, u64)> = self
            .connections
            .values()
            .filter(|connection| Connection::is_live(connection))
            .filter_map(|connection| {
                let will = connection.will.as_ref()?;
                let is_early = will.status == Status::Armed && will.early.is_some();
                is_early.then_some((connection.id, will.number))
            })
            .collect();
        for (id, number) in early {
            let text = format!("Will {number} was published, its connection is still there");
            self.breach(Promise::Will, &[id], text);
        }
    }
}
