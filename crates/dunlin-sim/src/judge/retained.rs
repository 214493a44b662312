//! Retained messages: which value of a Topic Name may be the last one at a moment.

use super::Judge;
use super::messages::{Receipt, Record};
use super::moment::{Moment, Presence};
use super::names::TopicId;
use super::promise::Promise;
use super::rights::PublishAs;
use super::sessions::{LifeId, OwedRetained};
use super::shared::TOLD_LATE;
use super::subscriptions::Version;
use crate::history::ConnectionId;
use dunlin_broker::{Limits, QueuePolicy};
use dunlin_codec::{Publish, QoS};
use dunlin_protocol::Instant;
use std::collections::BTreeMap;

/// The changes of all retained messages.
#[derive(Debug, Default)]
pub(super) struct RetainedValues {
    topics: BTreeMap<TopicId, Vec<Change>>,
    /// At least the bytes that are retained.
    bytes: usize,
}

/// A PUBLISH with RETAIN, for its Topic Name.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// The message; `None` removes what was there.
    number: Option<u64>,
    /// From here on it may be the value.
    taken: Moment,
    /// From here on it is, or never was.
    over: Option<Moment>,
    /// It certainly was the value at some moment.
    is_certain: bool,
    /// It never was.
    is_void: bool,
    /// It was acknowledged: a store has it.
    is_safe: bool,
    origin: Origin,
    /// From here on it certainly isn't the value any more.
    replaced: Option<Moment>,
}

/// Where a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A PUBLISH.
    Publish,
    /// A PUBLISH that may be a repetition which the broker knows: then nothing was set.
    Repetition,
    /// A Will: a broker that has crashed may publish it much later.
    Will,
}

/// Whether a PUBLISH may come from what is retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetainedSending {
    /// It may.
    Right,
    /// For a subscription that gets it otherwise.
    Otherwise(Promise, &'static str),
    /// No subscription was made that gets it.
    Unasked,
}

impl RetainedValues {
    /// Whether the broker may have refused one for want of room, by now.
    pub(super) fn may_be_full(&self, limits: &Limits) -> bool {
        self.topics.len() > limits.retained_len_max || self.bytes > limits.retained_bytes_max
    }
}

impl Judge {
    /// A PUBLISH with RETAIN was taken, or a Will may be due. Gives its place among the changes of
    /// the Topic Name.
    pub(super) fn retain(
        &mut self,
        topic: TopicId,
        number: Option<u64>,
        is_settled: bool,
        payload_len: usize,
        origin: Origin,
    ) -> usize {
        let moment = self.moment;
        let limits = &self.rules.limits;
        self.retained.bytes += payload_len + 1000;
        let topics = self.retained.topics.len() + 1;
        let has_room = number.is_none()
            || (topics <= limits.retained_len_max
                && self.retained.bytes <= limits.retained_bytes_max);
        let changes = self.retained.topics.entry(topic).or_default();
        changes.push(Change {
            number,
            taken: moment,
            over: None,
            is_certain: false,
            is_void: false,
            is_safe: false,
            origin,
            replaced: None,
        });
        let place = changes.len() - 1;
        if is_settled {
            settle(changes, place, moment, has_room, false);
        }
        for life in self.sessions.all() {
            let life = self.sessions.life_mut(life);
            life.owed_retained.retain(|owed| owed.topic != topic);
        }
        place
    }

    /// A PUBLISH with RETAIN came again after a crash: the broker may have forgotten it, and set the
    /// value anew.
    pub(super) fn retain_perhaps(&mut self, topic: TopicId, number: Option<u64>) {
        self.retained.topics.entry(topic).or_default().push(Change {
            number,
            taken: self.moment,
            over: None,
            is_certain: false,
            is_void: false,
            is_safe: false,
            origin: Origin::Publish,
            replaced: None,
        });
        for life in self.sessions.all() {
            self.sessions.life_mut(life).owed_retained.retain(|owed| owed.topic != topic);
        }
    }

    /// Its publisher was answered.
    pub(super) fn settle_retained(&mut self, topic: TopicId, place: usize, success: bool) {
        let moment = self.moment;
        let Some(changes) = self.retained.topics.get_mut(&topic) else { return };
        if success {
            settle(changes, place, moment, true, true);
        } else if let Some(change) = changes.get_mut(place) {
            change.over = Some(moment);
            // A broker may have refused it for a queue, and retained it before.
        }
    }

    /// The connection of its publisher ended: it has happened by now, or never will.
    pub(super) fn leave_retained(&mut self, topic: TopicId, place: usize) {
        let moment = self.moment;
        if let Some(changes) = self.retained.topics.get_mut(&topic)
            && let Some(change) = changes.get_mut(place)
        {
            change.over.get_or_insert(moment);
        }
    }

    /// The broker has crashed: with a store what was acknowledged is there, without nothing is.
    pub(super) fn crash_retained(&mut self) {
        let moment = self.moment;
        let stores = self.rules.stores;
        for changes in self.retained.topics.values_mut() {
            for change in changes.iter_mut() {
                // A Will that the store has may be published at any time after the restart.
                if !stores || change.origin != Origin::Will {
                    change.over.get_or_insert(moment);
                }
            }
            if !stores {
                changes.iter_mut().for_each(|change| {
                    change.replaced.get_or_insert(moment);
                });
                continue;
            }
            let safe = changes.iter().rposition(|change| change.is_safe).unwrap_or(0);
            for change in &mut changes[safe..] {
                change.replaced = None;
                change.is_certain &= change.is_safe;
                if change.origin == Origin::Will {
                    // That it was published may be forgotten.
                    change.over = None;
                }
            }
        }
    }

    /// A new subscription is there: the retained messages that it certainly gets.
    pub(super) fn oblige_retained(&mut self, life: LifeId, version: &Version) {
        let is_stranger = self.rules.strangers.contains(&self.sessions.life(life).device);
        if !version.must_send_retained() || self.sessions.life(life).is_mixed || is_stranger {
            return;
        }
        let mut owed = Vec::new();
        for (topic, changes) in &self.retained.topics {
            if !self.names.matches(version.matching, *topic) {
                continue;
            }
            let before = certain_value(changes, version.taken);
            let Some(number) = before.or_else(|| certain_value(changes, self.moment)) else {
                continue;
            };
            let Some(record) = self.messages.get(&number) else { continue };
            let is_lasting = record.qos.min(version.granted) > QoS::AtMostOnce;
            // What was set since it was asked for comes as a live message, or as a retained one.
            if before.is_none() {
                let known = self.sessions.life(life);
                let may_drop = self.rules.limits.queue_policy != QueuePolicy::Refuse;
                if !is_lasting
                    || record.is_will
                    || known.receipts.contains_key(&number)
                    || version.excludes(known.client, record.publisher)
                    || (may_drop && known.room.full.is_some())
                {
                    continue;
                }
            }
            let is_over =
                self.connections.get(&version.connection).is_some_and(|known| known.over.is_some());
            let known = self.sessions.life(life).receipts.get(&number);
            if is_over && (!is_lasting || known.is_some_and(Receipt::is_delivered)) {
                // What goes to nobody at QoS 0 is lost with its connection, and the rest may have
                // come by a later one before SUBACK was written.
                continue;
            }
            owed.push(OwedRetained {
                topic: *topic,
                filter: version.filter,
                number,
                since: version.taken,
                connection: (!is_lasting).then_some(version.connection),
            });
        }
        let life = self.sessions.life_mut(life);
        life.owed_retained.retain(|owed| owed.filter != version.filter);
        life.owed_retained.extend(owed);
    }

    /// Whether a PUBLISH with RETAIN may be a retained message for a new subscription.
    pub(super) fn judge_retained(
        &mut self,
        life: LifeId,
        number: u64,
        publish: &Publish,
        is_v5: bool,
        said: Instant,
    ) -> RetainedSending {
        let qos = publish.delivery.qos();
        let identifiers = is_v5.then_some(&publish.subscription_identifiers[..]);
        let Some(record) = self.messages.get(&number) else { return RetainedSending::Unasked };
        let now = self.moment.at;
        let topic = record.topic;
        if self.may_receive(life, None, topic, said, now).presence == Presence::Absent {
            return RetainedSending::Otherwise(Promise::Rights, "its receiver may not have it");
        }
        // What is in flight stays so.
        let is_again = publish.delivery.dup();
        let may_be_prepared = qos == QoS::ExactlyOnce && self.rules.stores;
        // What waits for the store was looked at before.
        let looked_at = |version: &Version| match is_again || may_be_prepared {
            true => version.taken.at,
            false => said,
        };
        let changes = self.retained.topics.get(&record.topic).map_or(&[][..], Vec::as_slice);
        // A Will may be retained before anything tells that it is due.
        let publisher = self.connections.get(&record.connection);
        let will =
            publisher.and_then(|publisher| publisher.will.as_ref()).filter(|_| record.is_will);
        let early_since = will.and_then(|will| will.early_since);
        let ended_since = will.and_then(|will| will.ended_since);
        let mut verdict = RetainedSending::Unasked;
        for version in &self.sessions.life(life).versions {
            if version.is_shared || !self.names.matches(version.matching, record.topic) {
                continue;
            }
            let was_there = |change: &Change| {
                change.number == Some(number)
                    && !change.is_void
                    && change.replaced.is_none_or(|replaced| replaced >= version.taken)
            };
            let is_same = identifiers
                .is_none_or(|told| told.len() <= 1 && told.first() == version.identifier.as_ref());
            // What is set once the subscription is made reaches it as a live message.
            let was_set_before = |change: &Change| {
                change.number == Some(number)
                    && version.made.is_none_or(|made| {
                        // What is due in between is known of by then, and not before.
                        change.taken <= made
                            || ended_since.is_some_and(|since| since < made)
                            || early_since.is_some_and(|since| since <= made.at + TOLD_LATE)
                    })
            };
            if !changes.iter().any(was_set_before) {
                continue;
            }
            verdict = if !version.may_send_retained() {
                match verdict {
                    RetainedSending::Unasked => RetainedSending::Otherwise(
                        Promise::Retained,
                        "Retain Handling forbids to send it",
                    ),
                    known => known,
                }
            } else if !changes.iter().any(was_there) {
                RetainedSending::Otherwise(Promise::Retained, "it isn't the last value")
            } else if !is_again
                && self.may_have_published(number, PublishAs::Retained, looked_at(version), now)
                    == Presence::Absent
            {
                RetainedSending::Otherwise(
                    Promise::Rights,
                    "its publisher may not have it retained any more",
                )
            } else if !self.is_cut_right(life, version, record, qos, looked_at(version)) {
                RetainedSending::Otherwise(Promise::GrantedQos, "its QoS is not what was granted")
            } else if !is_same {
                RetainedSending::Otherwise(Promise::SubscriptionIdentifiers, "they are others")
            } else {
                return RetainedSending::Right;
            };
        }
        verdict
    }

    /// Whether a retained message that was said since then comes with the QoS that was granted, or
    /// to which rules cut it.
    fn is_cut_right(
        &self,
        life: LifeId,
        version: &Version,
        record: &Record,
        qos: QoS,
        said: Instant,
    ) -> bool {
        let cuts = self.possible_cuts(life, version, record.topic, said, self.moment.at);
        let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        levels.into_iter().zip(cuts).any(|(level, cut)| cut && qos == record.qos.min(level))
    }

    /// How often what is retained of a Topic Name may be sent to a session: once for each
    /// SUBSCRIBE.
    pub(super) fn retained_sendings(&mut self, life: LifeId, topic: TopicId) -> u32 {
        let mut count = 0;
        for version in &self.sessions.life(life).versions {
            let wants = version.may_send_retained();
            count += u32::from(wants && self.names.matches(version.matching, topic));
        }
        count
    }

    pub(super) fn leave_publishes(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let places: Vec<_> =
            connection.publishes.values().filter_map(|publishing| publishing.retained).collect();
        for (topic, place) in places {
            self.leave_retained(topic, place);
        }
    }
}

/// A change has certainly been made by now, unless there was no room for it.
fn settle(changes: &mut [Change], place: usize, now: Moment, has_room: bool, is_safe: bool) {
    let Some(change) = changes.get_mut(place) else { return };
    change.over = Some(now);
    if change.origin == Origin::Repetition {
        // Its acknowledgement tells what an earlier one did.
        return;
    }
    change.is_certain |= has_room;
    change.is_safe |= is_safe;
    let taken = change.taken;
    if !has_room {
        return;
    }
    for (at, earlier) in changes.iter_mut().enumerate() {
        if at != place && earlier.over.is_some_and(|over| over <= taken) {
            earlier.replaced.get_or_insert(now);
        }
    }
}

/// The message that was certainly retained at this moment, and since.
fn certain_value(changes: &[Change], at: Moment) -> Option<u64> {
    let last = changes
        .iter()
        .filter(|change| change.is_certain && change.over.is_some_and(|over| over <= at))
        .max_by_key(|change| change.taken)?;
    let is_alone = changes.iter().all(|other| {
        other.taken == last.taken
            || other.is_void
            || other.over.is_some_and(|over| over <= last.taken)
    });
    if is_alone && last.replaced.is_none() { last.number } else { None }
}
