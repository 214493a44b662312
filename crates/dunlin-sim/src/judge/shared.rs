//! Shared Subscriptions: one member gets the message, and some member does.

use super::Judge;
use super::connections::Stage;
use super::deadlines::Deadline;
use super::messages::Record;
use super::moment::{Moment, Presence};
use super::names::FilterId;
use super::promise::Promise;
use super::sessions::LifeId;
use crate::history::ConnectionId;
use dunlin_codec::QoS;
use dunlin_protocol::Instant;
use std::time::Duration;

/// How much later than its effects the end of a connection may be told.
pub(super) const TOLD_LATE: Duration = Duration::from_millis(10);

/// A message that a member of a group was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    pub(super) group: FilterId,
    pub(super) life: LifeId,
    pub(super) connection: ConnectionId,
    pub(super) qos: QoS,
    pub(super) at: Instant,
    /// The member has answered, with success or without.
    pub(super) is_answered: bool,
    pub(super) is_refused: bool,
    /// The broker has crashed since.
    pub(super) is_unsure: bool,
    /// A crash may have left it to its member: it came to the same one before.
    pub(super) is_left: bool,
    /// How often the message had come again after a crash by then, and after a refusal; of what a
    /// crash left, by when it came first.
    pub(super) after_crash: u32,
    pub(super) after_refusal: u32,
}

/// A message that a group got while it certainly had a member.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupOwed {
    pub(super) group: FilterId,
    pub(super) number: u64,
    pub(super) from: Moment,
}

impl Record {
    /// Whether another message of the same content may be there for a group that has it at QoS 1: a
    /// QoS 1 Will that waits for members is there, and after a crash any above QoS 0 is published
    /// again if that was not stored.
    fn may_have_another(&self, group: FilterId) -> bool {
        let is_answered =
            |handed: &&Handed| handed.group == group && handed.is_answered && !handed.is_unsure;
        let answered = self.handed.iter().filter(is_answered).count();
        let may_be_there = match self.qos {
            QoS::AtMostOnce => false,
            QoS::AtLeastOnce => true,
            QoS::ExactlyOnce => self.after_crash > 0,
        };
        self.is_will
            && may_be_there
            && answered <= usize::try_from(self.after_crash).unwrap_or(usize::MAX)
    }
}

impl Judge {
    pub(super) fn note_handed(
        &mut self,
        number: u64,
        group: FilterId,
        life: LifeId,
        connection: ConnectionId,
        qos: QoS,
    ) {
        let Some(record) = self.messages.get_mut(&number) else { return };
        let once = record.attempts <= 1;
        let of_group = || record.handed.iter().rev().filter(|handed| handed.group == group);
        // Below QoS 2 a crash may undo that it was published, and not that this member was sent it.
        let left = of_group()
            .find(|handed| handed.life == life)
            .filter(|handed| handed.is_unsure && qos == QoS::AtLeastOnce);
        let is_left = left.is_some();
        let after_crash = left.map_or(record.after_crash, |left| left.after_crash);
        let is_another =
            |handed: &Handed| (handed.is_left || is_left) && handed.after_crash != after_crash;
        let earlier = of_group().find(|handed| !is_another(handed)).copied();
        // What was said before its connection ended is handed on, and may be written still.
        let over = self.connections.get(&connection).and_then(|connection| connection.over);
        let is_since = |over: Moment| earlier.is_some_and(|known| known.at + TOLD_LATE >= over.at);
        if qos == QoS::AtLeastOnce && over.is_some_and(is_since) {
            return;
        }
        record.handed.push(Handed {
            group,
            life,
            connection,
            qos,
            at: self.moment.at,
            is_answered: false,
            is_refused: false,
            is_unsure: false,
            is_left,
            after_crash,
            after_refusal: record.after_refusal,
        });
        let Some(earlier) = earlier else { return };
        if !once || earlier.life == life || self.sessions.life(earlier.life).is_merged {
            return;
        }
        let Some(record) = self.messages.get(&number) else { return };
        // What nobody was told before a crash happens anew.
        let is_anew = record.after_crash > earlier.after_crash;
        let is_new = record.after_refusal > earlier.after_refusal;
        let what = match earlier.qos {
            _ if is_new && self.keeps_what_is_refused(earlier.life) => return,
            QoS::AtMostOnce if is_anew => return,
            QoS::AtMostOnce if earlier.is_unsure && self.may_be_handed_on(record, group) => return,
            QoS::AtMostOnce => "at QoS 0",
            QoS::ExactlyOnce if earlier.is_refused => return,
            // To a session that a store keeps it leaves only when that is stored.
            QoS::ExactlyOnce if is_anew && !self.sessions.life(earlier.life).may_be_stored() => {
                return;
            }
            QoS::ExactlyOnce => "while it was in flight to another one at QoS 2",
            QoS::AtLeastOnce
                if self.may_have_moved(record, earlier.life)
                    || self.may_have_moved(record, life) =>
            {
                return;
            }
            QoS::AtLeastOnce if earlier.is_unsure || record.may_have_another(group) => return,
            QoS::AtLeastOnce if earlier.is_refused => "that another one has refused",
            QoS::AtLeastOnce if earlier.is_answered => "that another one has acknowledged",
            QoS::AtLeastOnce => {
                let is_over = self
                    .connections
                    .get(&earlier.connection)
                    .is_none_or(|connection| connection.over.is_some());
                if !is_over {
                    // Its end may be told a little later.
                    let deadline =
                        Deadline::OneMember { number, connection, of: earlier.connection };
                    self.set_deadline(self.moment.at + TOLD_LATE, deadline);
                }
                return;
            }
        };
        let filter = self.names.filter_text(group).to_owned();
        let text = format!("{filter}: a second member is sent message {number} {what}");
        self.breach(Promise::OneMember, &[earlier.connection, connection], text);
    }

    /// Whether a message may have been handed on before a crash, when this session lost a connection,
    /// and be left to both members by it.
    fn may_have_moved(&self, record: &Record, life: LifeId) -> bool {
        let (Some(crash), Some(begun)) = (self.last_crash, record.begun) else { return false };
        self.connections.values().any(|connection| {
            let over = connection.over.filter(|over| *over >= begun && *over < crash);
            connection.life == Some(life) && over.is_some()
        })
    }

    /// Whether a session that a store keeps may have had the message of a group, to hand it on.
    fn may_be_handed_on(&self, record: &Record, group: FilterId) -> bool {
        record.qos > QoS::AtMostOnce
            && self.sessions.all().any(|id| {
                let life = self.sessions.life(id);
                life.may_be_stored()
                    && life
                        .versions
                        .iter()
                        .any(|version| version.filter == group && version.granted > QoS::AtMostOnce)
            })
    }

    /// By now the first member's connection must have ended.
    pub(super) fn judge_one_member(&mut self, number: u64, to: ConnectionId, of: ConnectionId) {
        if self.connections.get(&of).is_some_and(|connection| connection.over.is_none()) {
            let text =
                format!("message {number} is sent to a second member while the first one is there");
            self.breach(Promise::OneMember, &[of, to], text);
        }
    }

    /// A member has answered.
    pub(super) fn note_answer(&mut self, number: u64, life: LifeId, refuses: bool) {
        let Some(record) = self.messages.get_mut(&number) else { return };
        for handed in record.handed.iter_mut().filter(|handed| handed.life == life) {
            handed.is_answered = true;
            handed.is_refused |= refuses;
        }
    }

    /// Notes the groups that certainly had a member all the time from then until now.
    pub(super) fn oblige_groups(&mut self, number: u64, from: Moment) {
        let moment = self.moment;
        let Some(record) = self.messages.get(&number) else { return };
        let mut groups: Vec<FilterId> = Vec::new();
        for id in self.sessions.present() {
            let life = self.sessions.life(id);
            if life.is_mixed || self.rules.strangers.contains(&life.device) {
                continue;
            }
            for version in &life.versions {
                let group = Some(version.filter);
                let may_have =
                    || self.may_receive(id, group, record.topic, from.at, moment.at).presence;
                if version.is_shared
                    && version.is_certain(from, moment)
                    && !groups.contains(&version.filter)
                    && may_have() == Presence::Certain
                    && self.names.matches(version.matching, record.topic)
                {
                    groups.push(version.filter);
                }
            }
        }
        let owed = groups.into_iter().map(|group| GroupOwed { group, number, from });
        self.groups_owed.extend(owed);
    }

    /// At the end: where a member was there all the time, some member has got each message.
    pub(super) fn judge_groups(&mut self) {
        for owed in std::mem::take(&mut self.groups_owed) {
            let Some(record) = self.messages.get(&owed.number) else { continue };
            if record.groups_served.contains(&owed.group) || self.group_may_lose(&owed, record) {
                continue;
            }
            let filter = self.names.filter_text(owed.group).to_owned();
            let text = format!("{filter}: no member ever got message {}", owed.number);
            let connection = record.connection;
            self.breach(Promise::SomeMember, &[connection], text);
        }
    }

    /// Whether one of the members may have got the message and lost it, as it may.
    fn group_may_lose(&self, owed: &GroupOwed, record: &Record) -> bool {
        let now = self.moment.at;
        let refused = record.handed.iter().any(|handed| handed.is_refused);
        let mut stayed = false;
        for id in self.sessions.all() {
            let life = self.sessions.life(id);
            let member = life.versions.iter().filter(|version| version.filter == owed.group);
            let right = self.may_receive(id, Some(owed.group), record.topic, owed.from.at, now);
            if right.presence == Presence::Absent {
                // It is chosen for nothing.
                continue;
            }
            let mut is_member = false;
            for version in member.filter(|version| version.is_possible(owed.from, None)) {
                is_member = true;
                if version.granted.min(record.qos).min(right.least) == QoS::AtMostOnce {
                    return true;
                }
                stayed |= version.is_certain(owed.from, self.moment) && !life.has_ended;
            }
            if !is_member {
                continue;
            }
            let is_there = life.attached.len() == 1 && !life.is_mixed && !life.is_merged;
            if (!is_there && !life.has_ended)
                || life.receipts.get(&owed.number).is_some_and(|got| got.is_kept_back)
                || self.ended_with_message(id, owed, record)
                || life.is_merged
                || life.room.full.is_some()
                || self.rules.strangers.contains(&life.device)
                || (!life.has_ended
                    && self.may_be_missing(id, Some(owed.group), owed.number, owed.from, now))
                || life.packet_size_max_since(owed.from) < u32::MAX
            {
                return true;
            }
        }
        refused || !stayed || self.last_crash.is_some()
    }

    /// Whether a session that has ended may have had the message of a group, which nobody else gets
    /// then: it has answered, or it was to have it at QoS 2 and was sent it [MQTT-4.8.2-5].
    fn ended_with_message(&self, id: LifeId, owed: &GroupOwed, record: &Record) -> bool {
        let life = self.sessions.life(id);
        if !life.has_ended {
            return false;
        }
        let was_handed = record.handed.iter().any(|handed| {
            handed.life == id && (handed.qos == QoS::ExactlyOnce || handed.is_answered)
        });
        let is_exactly_once = life.versions.iter().any(|version| {
            version.filter == owed.group
                && version.is_possible(owed.from, None)
                && version.granted.min(record.qos) == QoS::ExactlyOnce
        });
        // What came may have come by this group or by another one.
        let came = life.receipts.get(&owed.number).is_some_and(|receipt| receipt.exchanges[2] > 0);
        // And what was said before a connection ended may lie in its output to this day.
        let was_unheard = self.connections.values().any(|connection| {
            let may_be_unheard = match connection.life {
                Some(of) => of == id && connection.may_be_unheard(),
                // Even its CONNACK may.
                None => {
                    connection.client == Some(life.client) && connection.stage == Stage::Connecting
                }
            };
            may_be_unheard && connection.over.is_some_and(|over| over >= owed.from)
        });
        was_handed || (is_exactly_once && (came || was_unheard))
    }
}
