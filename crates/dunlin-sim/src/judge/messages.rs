//! Application Messages from the PUBLISH that begins them to the applications that are given them.

use super::Judge;
use super::connections::{Connection, Publishing};
use super::moment::{Moment, Presence};
use super::names::{FilterId, TopicId};
use super::promise::Promise;
use super::retained::Origin;
use super::rights::{MessageShape, PublishAs};
use super::sessions::{ClientKey, Flow, LifeId};
use super::shared::Handed;
use crate::history::{ConnectionId, DeviceId, message_number};
use bytes::Bytes;
use dunlin_broker::QueuePolicy;
use dunlin_codec::{Ack, MessageProperties, PacketIdentifier, Publish, QoS};
use dunlin_protocol::{Instant, Message};
use std::sync::Arc;

/// A message of the world.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) topic: TopicId,
    pub(super) payload: Bytes,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) properties: Option<Arc<MessageProperties>>,
    pub(super) expiry_secs: Option<u32>,
    /// The least that a repetition has said: it shrinks while the publisher holds the message.
    pub(super) expiry_secs_least: Option<u32>,
    pub(super) publisher: Option<ClientKey>,
    pub(super) publisher_life: Option<LifeId>,
    pub(super) connection: ConnectionId,
    /// Whether it is a Will.
    pub(super) is_will: bool,
    /// When the broker may have begun to route it; `None` before that.
    pub(super) begun: Option<Moment>,
    /// When it was taken the last time.
    pub(super) last_taken: Moment,
    /// How many times it was published.
    pub(super) attempts: u32,
    /// Whether its publisher may have had a right to it, at least once.
    pub(super) is_admitted: bool,
    /// How many times it was taken again after the broker may have forgotten it: in a crash, or
    /// because it was refused when its MQTT 3.x publisher was gone.
    pub(super) after_crash: u32,
    /// How many times it was taken again after a PUBREC that refused it may have been said and not
    /// written: it is a new message then [MQTT-4.3.3-9].
    pub(super) after_refusal: u32,
    /// Publishes that nobody has answered for: they may still take effect.
    pub(super) open: u32,
    /// When its publisher was last told that it is taken, or refused: what is routed is routed.
    pub(super) settled: Option<Moment>,
    pub(super) is_acknowledged: bool,
    /// Whether its connection ended before the answer: it may have waited for room then, and may
    /// have found none within twice the limit.
    pub(super) has_waited: bool,
    /// The number was used for different messages: nothing is known.
    pub(super) is_ambiguous: bool,
    /// To whom it was given by Shared Subscriptions.
    pub(super) handed: Vec<Handed>,
    /// Whether an application has got it by a Shared Subscription.
    pub(super) groups_served: Vec<FilterId>,
}

/// What a session got of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Receipt {
    /// For each QoS, exchanges with RETAIN 0, and with RETAIN 1.
    pub(super) live: [u32; 3],
    pub(super) retained: [u32; 3],
    /// For each QoS, the exchanges, the PUBLISH packets, repetitions too, and how often the
    /// application was given it.
    pub(super) exchanges: [u32; 3],
    pub(super) written: [u32; 3],
    pub(super) delivered: [u32; 3],
    /// The application was given it by a connection that the session had left.
    pub(super) is_left_with: bool,
    /// Its Client can't know that it is another one than that which it has.
    pub(super) is_kept_back: bool,
}

impl Receipt {
    /// Whether no PUBLISH of it was ever written.
    pub(super) fn is_of_nothing(&self) -> bool {
        self.written == [0; 3] && !self.is_delivered()
    }

    /// Whether the application has it, or its Client has it and can't know.
    pub(super) fn is_delivered(&self) -> bool {
        self.is_left_with || self.is_kept_back || self.delivered.iter().any(|times| *times > 0)
    }
}

/// An exchange that the broker began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) number: Option<u64>,
    pub(super) qos: QoS,
    /// What it costs a queue.
    pub(super) cost: usize,
    /// The connection that its PUBLISH was last written to.
    pub(super) connection: ConnectionId,
    /// PUBREC was taken.
    pub(super) is_released: bool,
    /// The connection that PUBREL was written to since.
    pub(super) pubrel: Option<ConnectionId>,
    /// A broker that crashed since may not know of it.
    pub(super) is_unsure: bool,
}

/// A QoS 2 exchange that a client began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) number: Option<u64>,
    pub(super) taken: Moment,
    /// The connection that its PUBLISH was last taken from.
    pub(super) connection: ConnectionId,
    pub(super) retained: Option<(TopicId, usize)>,
    /// PUBREC was written for it, and took it.
    pub(super) is_accepted: bool,
}

impl Record {
    /// The last moment at which the broker may have routed it; `None` is the end of time.
    pub(super) fn routed_until(&self) -> Option<Moment> {
        if self.open > 0 { None } else { self.settled }
    }
}

impl Judge {
    pub(super) fn on_publish_taken(&mut self, id: ConnectionId, publish: &Publish) {
        let moment = self.moment;
        let Some(topic) = self.resolve_alias(id, publish) else { return };
        let number = message_number(&publish.payload);
        let delivery = publish.delivery;
        if number.is_none() {
            self.note_unnumbered(topic, delivery.qos());
        }
        let Some(connection) = self.connections.get(&id) else { return };
        let life = connection.life;
        let packet_identifier = delivery.packet_identifier().map(PacketIdentifier::value);
        let may_be_known_still = delivery.qos() == QoS::ExactlyOnce
            && delivery.dup()
            && life.is_some_and(|life| self.sessions.life(life).exchanges_unsure);
        // A repetition of a QoS 2 exchange that the broker knows is no new publish.
        let known = match (delivery.qos(), life, packet_identifier) {
            (QoS::ExactlyOnce, Some(life), Some(packet_identifier)) => self
                .sessions
                .life(life)
                .received
                .get(&packet_identifier)
                .copied()
                .filter(|received| received.number == number),
            _ => None,
        };
        let misused = match (delivery.qos(), life, packet_identifier) {
            (QoS::ExactlyOnce, Some(life), Some(packet_identifier)) => {
                known.is_none()
                    && self.sessions.life(life).received.contains_key(&packet_identifier)
            }
            _ => false,
        };
        let may_refuse = self.rules.limits.queue_policy == QueuePolicy::Refuse
            || known.is_some_and(|known| self.store_may_have_failed_since(known.taken));
        let is_v5 = connection.is_v5();
        // Whoever can be told of a refusal is told now, and nobody gets the message again. A PUBREC
        // that refuses may have been said and not written.
        let may_be_said = known
            .and_then(|known| self.connections.get(&known.connection))
            .is_some_and(Connection::may_be_unheard);
        // Without room for another retained message nobody gets it until it comes again.
        let may_have_lacked_room = publish.retain
            && !publish.payload.is_empty()
            && (!is_v5 || may_be_said)
            && self.retained.may_be_full(&self.rules.limits);
        if let (Some(number), Some(known)) = (number, known)
            && !known.is_accepted
            && let Some(record) = self.messages.get_mut(&number)
            && let is_after_crash = self.last_crash.is_some_and(|crash| crash > known.taken)
            && (is_after_crash || ((may_refuse || may_have_lacked_room) && record.connection != id))
        {
            if is_after_crash || may_refuse {
                record.after_crash += u32::from(is_after_crash || !is_v5 || may_be_said);
                record.after_refusal += u32::from(is_v5 && may_be_said);
            }
            // And routed again, perhaps after later ones.
            record.last_taken = moment;
            // On its way it has lost time that its publisher counts and the broker did not.
            record.expiry_secs_least =
                record.expiry_secs_least.min(publish.message_expiry_interval);
            if publish.retain {
                self.retain_perhaps(topic, (!publish.payload.is_empty()).then_some(number));
            }
        }
        // Rules may have refused it then, and let it be taken now.
        if self.rights.is_some()
            && let Some(number) = number
            && known.is_some_and(|known| !known.is_accepted)
            && let Some(record) = self.messages.get_mut(&number)
        {
            record.last_taken = moment;
            if publish.retain {
                self.retain_perhaps(topic, (!publish.payload.is_empty()).then_some(number));
            }
        }
        let shape = MessageShape {
            topic,
            qos: delivery.qos(),
            payload_len: publish.payload.len(),
            retain: publish.retain,
        };
        let right = match self.may_publish(id, PublishAs::Itself, &shape, moment.at, moment.at) {
            // Nobody is asked about what was taken before.
            _ if known.is_some() => Presence::Possible,
            // Whom a refusal never reached is refused again, whatever is allowed now.
            Presence::Certain if self.may_be_refused_already(id, publish) => Presence::Possible,
            Presence::Absent if may_be_known_still || self.is_stranger(id) => Presence::Possible,
            right => right,
        };
        let (begun, retained) = match known {
            Some(received) => (received.taken, received.retained),
            None => {
                if let Some(number) = number {
                    self.record_publish(number, id, topic, publish, right);
                    if misused && let Some(record) = self.messages.get_mut(&number) {
                        // The identifier is in use for another message: this one goes under.
                        record.is_ambiguous = true;
                    }
                    self.count_waiting(number);
                } else {
                    self.count_unnumbered_waiting(topic, publish);
                }
                let is_retained = publish.retain && right > Presence::Absent;
                let retained = is_retained.then(|| {
                    let removes = publish.payload.is_empty();
                    let value = if removes { None } else { number };
                    let is_final = delivery.qos() == QoS::AtMostOnce;
                    // A stranger may have brought its connection to an end with it.
                    let is_settled =
                        is_final && right == Presence::Certain && !self.is_stranger(id);
                    // What was received before a CONNECT in doubt may be known still.
                    let may_be_known = delivery.qos() == QoS::ExactlyOnce
                        && delivery.dup()
                        && life.is_some_and(|life| self.sessions.life(life).is_merged);
                    let origin = if may_be_known { Origin::Repetition } else { Origin::Publish };
                    let place =
                        self.retain(topic, value, is_settled, publish.payload.len(), origin);
                    if is_final && !is_settled {
                        self.leave_retained(topic, place);
                    }
                    place
                });
                (moment, retained.map(|place| (topic, place)))
            }
        };
        let Some(packet_identifier) = packet_identifier else { return };
        // A broker that knows more than the judge may take it for a repetition.
        let begun = match number.and_then(|number| self.messages.get(&number)) {
            Some(record) if delivery.qos() == QoS::ExactlyOnce => record.begun.unwrap_or(begun),
            _ => begun,
        };
        // What is refused for want of a right was not received.
        if delivery.qos() == QoS::ExactlyOnce
            && right > Presence::Absent
            && let Some(life) = life
        {
            let is_accepted = known.is_some_and(|known| known.is_accepted);
            self.sessions.life_mut(life).received.insert(
                packet_identifier,
                Received { number, taken: begun, connection: id, retained, is_accepted },
            );
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            let publishing = Publishing { number, topic, taken: begun, retained, right };
            connection.publishes.insert(packet_identifier, publishing);
        }
    }

    /// Whether the broker may have refused what it would have to store, at some time since then.
    pub(super) fn store_may_have_failed_since(&self, taken: Moment) -> bool {
        self.store_failed || self.refused_until.is_some_and(|until| until >= taken.at)
    }

    /// Whether this repeats a QoS 2 message which an earlier connection brought, which may have been
    /// refused there for want of a right, and was not answered.
    fn may_be_refused_already(&self, id: ConnectionId, publish: &Publish) -> bool {
        let (Some(packet_identifier), Some(life)) =
            (publish.delivery.packet_identifier(), self.life_of(id))
        else {
            return false;
        };
        let number = message_number(&publish.payload);
        let is_repetition = publish.delivery.qos() == QoS::ExactlyOnce && publish.delivery.dup();
        is_repetition
            && self.connections.values().any(|earlier| {
                let unanswered = earlier.publishes.get(&packet_identifier.value());
                earlier.id != id
                    && earlier.life == Some(life)
                    && unanswered.is_some_and(|known| {
                        known.number == number && known.right < Presence::Certain
                    })
            })
    }

    fn record_publish(
        &mut self,
        number: u64,
        id: ConnectionId,
        topic: TopicId,
        publish: &Publish,
        right: Presence,
    ) {
        let moment = self.moment;
        let Some(connection) = self.connections.get(&id) else { return };
        let (client, life) = (connection.client, connection.life);
        let is_stranger = self.rules.strangers.contains(&connection.device);
        let record = self.messages.entry(number).or_insert_with(|| Record {
            topic,
            payload: publish.payload.clone(),
            qos: publish.delivery.qos(),
            retain: publish.retain,
            properties: publish.properties.clone(),
            expiry_secs: publish.message_expiry_interval,
            expiry_secs_least: publish.message_expiry_interval,
            publisher: client,
            publisher_life: life,
            connection: id,
            is_will: false,
            begun: Some(moment),
            last_taken: moment,
            attempts: 0,
            is_admitted: false,
            after_crash: 0,
            after_refusal: 0,
            open: 0,
            settled: None,
            is_acknowledged: false,
            has_waited: false,
            is_ambiguous: is_stranger,
            handed: Vec::new(),
            groups_served: Vec::new(),
        });
        if record.topic != topic
            || record.payload != publish.payload
            || record.publisher != client
            || record.is_will
        {
            record.is_ambiguous = true;
        }
        if record.publisher_life != life {
            record.publisher_life = None;
        }
        record.expiry_secs_least = record.expiry_secs_least.min(publish.message_expiry_interval);
        record.attempts += 1;
        record.last_taken = moment;
        if right == Presence::Absent {
            return;
        }
        record.is_admitted = true;
        // At QoS 0 nobody will ever answer.
        record.open += 1;
    }

    /// The broker has answered a PUBLISH with PUBACK or PUBREC.
    pub(super) fn on_publish_answered(&mut self, id: ConnectionId, ack: &Ack, qos: QoS) {
        let moment = self.moment;
        let packet_identifier = ack.packet_identifier.value();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let life = connection.life;
        let is_gone = connection.is_gone;
        let Some(publishing) = connection.publishes.remove(&packet_identifier) else { return };
        let success = !ack.reason_code.is_error();
        self.judge_puback_rights(id, &publishing, ack.reason_code);
        if let Some((topic, place)) = publishing.retained {
            self.settle_retained(topic, place, success);
        }
        if qos == QoS::ExactlyOnce
            && let Some(life) = life
        {
            let received = &mut self.sessions.life_mut(life).received;
            if success {
                if let Some(received) = received.get_mut(&packet_identifier) {
                    received.is_accepted = true;
                }
            } else if received.remove(&packet_identifier).is_some_and(|known| known.is_accepted) {
                let text = format!("PUBREC {packet_identifier} refuses what an earlier one took");
                self.breach(Promise::Answers, &[id], text);
            }
        }
        let Some(number) = publishing.number else {
            self.note_unnumbered(publishing.topic, qos);
            return;
        };
        let Some(record) = self.messages.get_mut(&number) else { return };
        record.is_acknowledged |= success;
        if record.qos != qos || record.is_ambiguous {
            return;
        }
        record.open = record.open.saturating_sub(1);
        record.settled = Some(moment);
        // Where a store keeps the publisher's session, what found no room comes again.
        let may_be_dropped =
            !self.rules.stores || life.is_none_or(|life| !self.sessions.life(life).may_be_stored());
        record.has_waited |=
            may_be_dropped && qos == QoS::ExactlyOnce && (is_gone || record.connection != id);
        if success {
            self.oblige(number, publishing.taken);
        }
    }

    /// Whoever certainly wanted the message all the time from then until now is to get it.
    pub(super) fn oblige(&mut self, number: u64, from: Moment) {
        let moment = self.moment;
        let now = moment.at;
        let is_will = self.messages.get(&number).is_some_and(|record| record.is_will);
        if is_will
            && self.may_have_published(number, PublishAs::Will, from.at, now) < Presence::Certain
        {
            return;
        }
        let Some(record) = self.messages.get(&number) else { return };
        let may_drop = record.is_will
            || record.has_waited
            || self.rules.limits.queue_policy != QueuePolicy::Refuse;
        let (mut routed, mut owed) = (Vec::new(), Vec::new());
        for id in self.sessions.present() {
            let life = self.sessions.life(id);
            let may_have_ended = !life.lasts_at(moment.at);
            if may_have_ended || life.is_mixed || self.rules.strangers.contains(&life.device) {
                continue;
            }
            let names = &mut self.names;
            let wants = life.versions.iter().any(|version| {
                !version.is_shared
                    && version.granted.min(record.qos) > QoS::AtMostOnce
                    && version.is_certain(from, moment)
                    && !version.excludes(life.client, record.publisher)
                    && names.matches(version.matching, record.topic)
            });
            let right = self.may_receive(id, None, record.topic, from.at, now);
            let wants =
                wants && right.presence == Presence::Certain && right.least > QoS::AtMostOnce;
            if !wants {
                continue;
            }
            routed.push(id);
            let has = life.receipts.get(&number).is_some_and(Receipt::is_delivered);
            let may_lack_room = may_drop && life.room.full.is_some_and(|full| full >= from);
            if !has && !may_lack_room {
                owed.push(id);
            }
        }
        // What was routed before a crash may have been dropped, and counted, before it.
        if self.last_crash.is_none_or(|crash| crash < from) {
            for id in routed {
                self.sessions.life_mut(id).routed.insert(number);
            }
        }
        for id in owed {
            self.sessions.life_mut(id).owed.insert(number, from);
        }
        self.oblige_groups(number, from);
    }

    /// Whether a session may have got a message that another one had no room for. Of one that is
    /// stored it is taken back.
    pub(super) fn keeps_what_is_refused(&self, life: LifeId) -> bool {
        !(self.rules.stores && self.sessions.life(life).may_be_stored())
    }

    /// The client has answered a message that the broker sent.
    pub(super) fn on_answer_taken(&mut self, id: ConnectionId, ack: &Ack, ends: bool) {
        let Some(life) = self.life_of(id) else { return };
        let packet_identifier = ack.packet_identifier.value();
        let life_id = life;
        let life = self.sessions.life_mut(life);
        let Some(exchange) = life.in_flight.get_mut(&packet_identifier) else { return };
        let number = exchange.number;
        let refuses = ack.reason_code.is_error();
        life.room.answer(self.moment.at, exchange);
        if ends || refuses {
            life.in_flight.remove(&packet_identifier);
        } else {
            exchange.is_released = true;
            exchange.pubrel = None;
        }
        if refuses && let Some(number) = number {
            life.owed.remove(&number);
            life.owed_retained.retain(|owed| owed.number != number);
        }
        if let Some(number) = number {
            self.note_answer(number, life_id, refuses);
        }
    }

    /// An application was given a message.
    pub(super) fn on_delivered(&mut self, device: DeviceId, id: ConnectionId, message: &Message) {
        let Some(number) = message_number(&message.payload) else { return };
        let Some(life_id) = self.life_of(id) else { return };
        let is_left = self.connections.get(&id).is_some_and(|connection| connection.is_left);
        if message.topic_name.starts_with("$SYS/") {
            return;
        }
        let Some(record) = self.messages.get_mut(&number) else {
            if is_left {
                return;
            }
            let text = format!("the application is given message {number} that nobody published");
            self.breach(Promise::OnlyWhatIsWanted, &[id], text);
            return;
        };
        let life = self.sessions.life_mut(life_id);
        life.owed.remove(&number);
        life.owed_retained.retain(|owed| owed.number != number);
        for version in life.versions.iter().filter(|version| version.is_shared) {
            if self.names.matches(version.matching, record.topic)
                && !record.groups_served.contains(&version.filter)
            {
                record.groups_served.push(version.filter);
            }
        }
        if record.is_ambiguous || life.is_mixed || device != life.device {
            return;
        }
        let receipt = life.receipts.entry(number).or_default();
        if is_left {
            // How it came is not judged; when it comes again at QoS 2 its device keeps it back.
            receipt.is_left_with = true;
            return;
        }
        let first = !receipt.is_delivered();
        let qos = usize::from(message.qos.value());
        receipt.delivered[qos] += 1;
        let receipt = *receipt;
        let allowed = match message.qos {
            QoS::AtLeastOnce => receipt.written[qos],
            _ if life.is_forgotten => receipt.written[qos],
            _ => receipt.exchanges[qos],
        };
        let mut broken = Vec::new();
        if receipt.delivered[qos] > allowed && !life.is_merged {
            let text = format!(
                "message {number} at QoS {qos} is given to the application {} times, {allowed} \
                 would be right",
                receipt.delivered[qos]
            );
            broken.push((Promise::ExactlyOnce, text));
        }
        if record.payload != message.payload
            || self.names.topic_text(record.topic) != message.topic_name.as_str()
        {
            broken.push((Promise::Content, format!("message {number} is given altered")));
        }
        let is_direct = life.versions.iter().all(|version| !version.is_shared);
        if first
            && is_direct
            && !message.retain
            && receipt.retained == [0; 3]
            && !record.is_will
            && let (Some(publisher), Some(begun)) = (record.publisher_life, record.begun)
        {
            let flow = Flow {
                publisher,
                topic: record.topic,
                published: record.qos,
                delivered: message.qos,
            };
            let last = life.order.entry(flow).or_default();
            // Sent again by its publisher, it has a later place too.
            if *last > record.last_taken.event {
                let topic_name = self.names.topic_text(record.topic);
                let text = format!(
                    "message {number} of {topic_name} comes first after a later one of its \
                     publisher"
                );
                broken.push((Promise::Order, text));
            }
            *last = begun.event.max(*last);
        }
        for (promise, text) in broken {
            self.breach(promise, &[id], text);
        }
    }

    /// An application was told that its publish is acknowledged.
    pub(super) fn on_acknowledged(&mut self, device: DeviceId, number: u64) {
        let is_true = self.messages.get(&number).is_some_and(|record| record.is_acknowledged);
        if !is_true && !self.rules.strangers.contains(&device) {
            let text = format!("message {number} was never acknowledged");
            self.breach_of(Promise::AcknowledgedIsTrue, &[], vec![device], text);
        }
    }

    /// At the end: whoever is there must have got what is owed.
    pub(super) fn judge_owed(&mut self) {
        let now = self.moment.at;
        let lives: Vec<LifeId> = self.sessions.present().collect();
        for id in lives {
            let life = self.sessions.life(id);
            let [connection] = life.attached[..] else { continue };
            let owed: Vec<(u64, Moment)> =
                life.owed.iter().map(|(number, from)| (*number, *from)).collect();
            let owed_retained: Vec<(u64, Moment)> =
                life.owed_retained.iter().map(|owed| (owed.number, owed.since)).collect();
            let device = life.device;
            for (promise, numbers) in
                [(Promise::AcknowledgedIsKept, owed), (Promise::Retained, owed_retained)]
            {
                for (number, since) in numbers {
                    if self.may_be_missing(id, None, number, since, now)
                        || (promise == Promise::Retained
                            && self.may_have_published(number, PublishAs::Retained, since.at, now)
                                < Presence::Certain)
                    {
                        continue;
                    }
                    let record = &self.messages[&number];
                    let promise = if record.is_will { Promise::Will } else { promise };
                    let topic_name = self.names.topic_text(record.topic);
                    let text = format!(
                        "message {number} of {topic_name} (QoS {}) never reached its subscriber",
                        record.qos.value()
                    );
                    let connections = [record.connection, connection];
                    self.breach_of(promise, &connections, vec![device], text);
                }
            }
        }
    }

    /// Whether a message that is owed since then, by a group or else by a subscription of its own,
    /// may be kept from a session by expiry, by its size or by the rules.
    pub(super) fn may_be_missing(
        &self,
        life: LifeId,
        group: Option<FilterId>,
        number: u64,
        since: Moment,
        now: Instant,
    ) -> bool {
        let Some(record) = self.messages.get(&number) else { return true };
        if record.is_ambiguous || self.may_be_replaced(number, record) {
            return true;
        }
        let right = self.may_receive(life, group, record.topic, since.at, now);
        if right.presence < Presence::Certain || right.least == QoS::AtMostOnce {
            return true;
        }
        let is_expired = record.expiry_secs_least.is_some_and(|secs| {
            let begun = record.begun.unwrap_or(record.last_taken).at;
            now + self.rules.lateness >= begun + super::sessions::seconds(secs)
        });
        let size_max = self.sessions.life(life).packet_size_max_since(since) as usize;
        let size = record.cost() + self.names.topic_text(record.topic).len() + 80;
        is_expired || size > size_max
    }
}
