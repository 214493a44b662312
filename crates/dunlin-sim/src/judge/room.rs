//! What may wait for the Sessions, and which of them may have had no room.

use super::Judge;
use super::messages::{Exchange, Record};
use super::moment::Moment;
use super::names::TopicId;
use super::sessions::LifeId;
use dunlin_broker::{Limits, QueuePolicy};
use dunlin_codec::{Publish, QoS};
use dunlin_protocol::Instant;
use hashbrown::HashSet;

/// What may wait for a Session: never less than what does.
#[derive(Debug, Default)]
pub(super) struct Room {
    len: usize,
    bytes: usize,
    /// The numbers of those that were counted, and have not been sent since.
    counted: HashSet<u64>,
    /// What was sent and answered, and when: until the store has the answer, a crash undoes it.
    answered: Vec<(Waiting, Instant)>,
    /// What waits again because a crash may have undone that it was sent.
    returned: Vec<Waiting>,
    /// When it may have been full the last time.
    pub(super) full: Option<Moment>,
}

/// A message in a queue.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: Option<u64>,
    cost: usize,
}

impl Room {
    fn add(&mut self, moment: Moment, limits: &Limits, waiting: Waiting, copies: usize) {
        self.len += copies;
        self.bytes += copies * waiting.cost;
        self.counted.extend(waiting.number);
        self.fill(moment, limits);
    }

    fn remove(&mut self, cost: usize) {
        self.len = self.len.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(cost);
    }

    fn fill(&mut self, moment: Moment, limits: &Limits) {
        if self.len > limits.queue_len_max || self.bytes > limits.queue_bytes_max {
            self.full = Some(moment);
        }
    }

    /// A message is sent that a crash had put back. Returns whether it was one.
    fn send_returned(&mut self, number: Option<u64>) -> bool {
        let place = self.returned.iter().position(|waiting| waiting.number == number);
        let Some(place) = place else { return false };
        let waiting = self.returned.swap_remove(place);
        self.remove(waiting.cost);
        true
    }

    /// The Client has answered a message, at QoS 2 with PUBREC: then it is not sent again.
    pub(super) fn answer(&mut self, now: Instant, exchange: &Exchange) {
        if !exchange.is_released {
            self.answered.push((Waiting::of(exchange), now));
        }
    }

    /// The broker has crashed: of what was sent, all may wait again whose answer is not safe.
    fn crash<'a>(
        &mut self,
        moment: Moment,
        limits: &Limits,
        in_flight: impl Iterator<Item = &'a Exchange>,
        is_safe: impl Fn(Instant) -> bool,
    ) {
        // What an earlier crash left in doubt was sent anew since, or was put back then; and what was
        // answered is counted as such.
        let unanswered = in_flight
            .filter(|exchange| !exchange.is_unsure && !exchange.is_released)
            .map(Waiting::of);
        let undone = self.answered.drain(..).filter(|(_, at)| !is_safe(*at));
        for waiting in unanswered.chain(undone.map(|(waiting, _)| waiting)) {
            self.len += 1;
            self.bytes += waiting.cost;
            self.returned.push(waiting);
        }
        self.fill(moment, limits);
    }
}

impl Waiting {
    const fn of(exchange: &Exchange) -> Self {
        Self { number: exchange.number, cost: exchange.cost }
    }
}

impl Judge {
    /// Counts a message that may now wait in queues, and notes which may be full.
    pub(super) fn count_waiting(&mut self, number: u64) {
        let Some(record) = self.messages.get(&number) else { return };
        if record.takes_room(&self.rules.limits) {
            let waiting = Waiting { number: Some(number), cost: record.cost() };
            self.count_waiting_for(record.topic, waiting);
        }
    }

    /// As [`Judge::count_waiting`], for a message without a number.
    pub(super) fn count_unnumbered_waiting(&mut self, topic: TopicId, publish: &Publish) {
        if takes_room(publish.delivery.qos(), &self.rules.limits) {
            let waiting = Waiting { number: None, cost: unnumbered_cost(publish) };
            self.count_waiting_for(topic, waiting);
        }
    }

    fn count_waiting_for(&mut self, topic: TopicId, waiting: Waiting) {
        let moment = self.moment;
        let limits = &self.rules.limits;
        let present: Vec<LifeId> = self.sessions.present().collect();
        for id in present {
            let names = &mut self.names;
            // By each Shared Subscription another copy may come.
            let mut copies = 0;
            let mut is_direct = false;
            for version in &self.sessions.life(id).versions {
                if version.ended.is_none() && names.matches(version.matching, topic) {
                    copies += usize::from(version.is_shared);
                    is_direct |= !version.is_shared;
                }
            }
            copies += usize::from(is_direct);
            if copies == 0 {
                continue;
            }
            let life = self.sessions.life_mut(id);
            life.room.add(moment, limits, waiting, copies);
            if life.room.full == Some(moment) && limits.queue_policy != QueuePolicy::Refuse {
                life.owed.clear();
            }
        }
    }

    /// A message is sent to a Session, perhaps once more: it waits no longer. What is retained may
    /// have waited nowhere.
    pub(super) fn count_sent(
        &mut self,
        life: LifeId,
        number: Option<u64>,
        publish: &Publish,
        is_new: bool,
    ) {
        let cost = self.cost(number, publish);
        let record = number.and_then(|number| self.messages.get(&number));
        let is_ambiguous = record.is_some_and(|record| record.is_ambiguous);
        let takes_room = takes_room(publish.delivery.qos(), &self.rules.limits);
        let life = self.sessions.life_mut(life);
        if life.room.send_returned(number) || !is_new || is_ambiguous {
            return;
        }
        let receipt = number.and_then(|number| life.receipts.get(&number));
        let is_first = receipt.is_none_or(|receipt| receipt.written == [0; 3]);
        match number {
            Some(number) if is_first && life.room.counted.remove(&number) => {
                life.room.remove(cost);
            }
            None if takes_room && !publish.retain => life.room.remove(cost),
            _ => {}
        }
    }

    /// What a message that is sent costs a queue.
    pub(super) fn cost(&self, number: Option<u64>, publish: &Publish) -> usize {
        let record = number.and_then(|number| self.messages.get(&number));
        record.map_or_else(|| unnumbered_cost(publish), Record::cost)
    }

    /// What was sent before the crash may wait again.
    pub(super) fn crash_rooms(&mut self) {
        let moment = self.moment;
        for id in self.sessions.all() {
            let life = self.sessions.life_mut(id);
            if !life.may_be_stored() {
                continue;
            }
            let stored = &self.stored;
            life.room.crash(moment, &self.rules.limits, life.in_flight.values(), |at| {
                stored.since(at).is_some()
            });
        }
    }
}

impl Record {
    /// Whether it takes room in queues.
    pub(super) fn takes_room(&self, limits: &Limits) -> bool {
        takes_room(self.qos, limits)
    }

    /// At least the bytes that it costs a queue, and nearly those that it takes on the wire.
    pub(super) fn cost(&self) -> usize {
        let properties = self.properties.as_ref().map_or(0, |properties| {
            properties.content_type.as_ref().map_or(0, |text| text.len())
                + properties.response_topic.as_ref().map_or(0, |name| name.len())
                + properties.correlation_data.as_ref().map_or(0, bytes::Bytes::len)
                + properties
                    .user_properties
                    .iter()
                    .map(|(name, value)| 80 + name.len() + value.len())
                    .sum::<usize>()
        });
        200 + self.payload.len() + properties
    }
}

pub(super) fn takes_room(qos: QoS, limits: &Limits) -> bool {
    qos > QoS::AtMostOnce || limits.queue_qos0_offline
}

/// What a message without a number costs a queue: a stranger's, or one that removes what is retained.
fn unnumbered_cost(publish: &Publish) -> usize {
    200 + publish.payload.len()
}
