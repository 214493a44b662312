//! SUBSCRIBE and UNSUBSCRIBE: what a session gets from now on, and the answer once that is true.

use super::granted::{Granted, SessionKey, SubscriberKey};
use super::limits::LimitCause;
use super::pending::AfterStored;
use super::pressure::ENTRY_LEN;
use super::retained::RetainedCursor;
use super::supersede::supersede;
use super::workers::AwaitedSubAck;
use super::{ConnectionKey, Core, Record, RecordNumber};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{
    QoS, ReasonCode, RetainHandling, SubAck, SubAckProperties, Subscribe, Subscription,
    SubscriptionIdentifier, TopicFilter, UnsubAck, Unsubscribe,
};
use std::collections::HashSet;

impl Core {
    pub(super) fn handle_subscribe(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session: SessionKey,
        subscribe: &Subscribe,
    ) {
        let filters_max = self.endpoints.limits.subscriptions_per_session_max;
        let identifier = subscribe.properties.subscription_identifier;
        let mut cursors = Vec::new();
        let mut reason_codes = Vec::with_capacity(subscribe.subscriptions.len());
        let last_before = self.endpoints.last_record;
        for (at, subscription) in subscribe.subscriptions.iter().enumerate() {
            if at >= filters_max {
                // Not even known ones over and over: a packet has room for millions.
                self.count_limit(LimitCause::Subscriptions, 1);
                reason_codes.push(ReasonCode::QuotaExceeded);
                continue;
            }
            reason_codes.push(match self.subscribe(session, subscription, identifier) {
                Ok((maximum_qos, cursor)) => {
                    cursors.extend(cursor);
                    granted_code(maximum_qos)
                }
                Err(reason_code) => reason_code,
            });
        }
        let suback = SubAck {
            packet_identifier: subscribe.packet_identifier,
            properties: SubAckProperties::default(),
            reason_codes,
        };
        let stored = self.recorded_since(last_before);
        if stored.is_some() {
            // Now, because what waits for other workers first comes too late to ask for it.
            let durability = self.durability_of(key);
            self.endpoints.want(durability);
        }
        let awaited = AwaitedSubAck { connection: key, session, suback, cursors, stored };
        self.endpoints.owe_answer(key);
        // Also when nothing is new: what was announced before may not have arrived.
        if self.outbox.workers() > 1 {
            self.await_interest(awaited);
        } else {
            self.send_suback_when_stored(now, awaited);
        }
    }

    /// The last record, when one was made after that one.
    pub(super) fn recorded_since(&self, last_before: RecordNumber) -> Option<RecordNumber> {
        let last = self.endpoints.last_record;
        (last > last_before).then_some(last)
    }

    /// Sends a SUBACK whose subscriptions every worker knows: now, or when they are stored.
    pub(super) fn send_suback_when_stored(&mut self, now: Instant, awaited: AwaitedSubAck) {
        match awaited.stored {
            Some(record) => {
                let durability = self.durability_of(awaited.connection);
                self.when_stored(now, record, durability, AfterStored::SubAck(Box::new(awaited)));
            }
            None => self.send_suback(now, awaited),
        }
    }

    fn subscribe(
        &mut self,
        key: SessionKey,
        subscription: &Subscription,
        identifier: Option<SubscriptionIdentifier>,
    ) -> Result<(QoS, Option<RetainedCursor>), ReasonCode> {
        let limits = &self.endpoints.limits;
        let topic_filter = &subscription.topic_filter;
        if topic_filter.as_str().len() > usize::from(limits.topic_len_max) {
            self.count_limit(LimitCause::TopicLen, 1);
            return Err(ReasonCode::TopicFilterInvalid);
        }
        if topic_filter.matching_part().split('/').count() > limits.topic_levels_max {
            self.count_limit(LimitCause::TopicLevels, 1);
            return Err(ReasonCode::TopicFilterInvalid);
        }
        let subscriptions = self.endpoints.sessions[key.0].subscriptions.len();
        let is_known = self.is_subscribed(key, topic_filter);
        if !is_known && subscriptions >= limits.subscriptions_per_session_max {
            self.count_limit(LimitCause::Subscriptions, 1);
            return Err(ReasonCode::QuotaExceeded);
        }
        if !is_known && self.pressure.refuses() {
            self.count_limit(LimitCause::MemoryRefused, 1);
            return Err(ReasonCode::QuotaExceeded);
        }
        let mut granted = Granted::new(subscription.options, identifier);
        let asked = granted.maximum_qos;
        let Some(maximum_qos) = self.endpoints.may_subscribe(key, topic_filter, asked) else {
            return Err(ReasonCode::NotAuthorized);
        };
        granted.maximum_qos = maximum_qos;
        let session = &self.endpoints.sessions[key.0];
        if self.endpoints.stores && session.is_persistent() {
            let record = Record::subscribed(&session.client_identifier, topic_filter, &granted);
            self.endpoints.record(record);
        }
        self.add_to_index(key, topic_filter, granted.clone());
        if !is_known {
            let topic_filter = topic_filter.detached();
            self.announce(&topic_filter, true);
            self.endpoints.grown += 4 * ENTRY_LEN + topic_filter.as_str().len() as u64;
            self.endpoints.sessions[key.0].subscriptions.push(topic_filter);
            self.endpoints.counters.subscriptions += 1;
        }
        let wants_retained = match subscription.options.retain_handling {
            RetainHandling::Send => true,
            RetainHandling::SendIfNew => !is_known,
            RetainHandling::DoNotSend => false,
        };
        // A Shared Subscription gets no retained messages when it is made. Spec: §4.8.2.
        let cursor = (wants_retained && topic_filter.share_name().is_none())
            .then(|| self.endpoints.retained.cursor(topic_filter.detached(), granted));
        Ok((maximum_qos, cursor))
    }

    pub(super) fn add_to_index(
        &mut self,
        key: SessionKey,
        topic_filter: &TopicFilter,
        granted: Granted,
    ) {
        let subscriber = SubscriberKey::session(key);
        let matching_part = topic_filter.matching_part();
        let index = &mut self.routing.index;
        match topic_filter.share_name() {
            Some(share_name) => {
                index.insert_shared(share_name, matching_part, subscriber, granted);
            }
            None => {
                index.insert(matching_part, subscriber, granted);
            }
        }
    }

    fn is_subscribed(&self, key: SessionKey, topic_filter: &TopicFilter) -> bool {
        let subscriber = SubscriberKey::session(key);
        let matching_part = topic_filter.matching_part();
        match topic_filter.share_name() {
            Some(share_name) => self
                .routing
                .index
                .shared(share_name, matching_part)
                .is_some_and(|group| group.get(subscriber).is_some()),
            None => self.routing.index.get(matching_part, subscriber).is_some(),
        }
    }

    /// Sends a SUBACK whose subscriptions every later publish will find, then what is retained.
    pub(super) fn send_suback(&mut self, now: Instant, awaited: AwaitedSubAck) {
        let AwaitedSubAck { connection: key, session, suback, mut cursors, .. } = awaited;
        if self.endpoints.give_answer(now, key) {
            self.resume(now, key);
        }
        let Some(connection) = self.endpoints.connection(key) else { return };
        if connection.session != Some(session) {
            return;
        }
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return };
        if connection.protocol.suback(now, suback, &mut connection.out).is_err() {
            // The Client takes no packet of this size: without its answer it can't go on.
            self.disconnect(now, key, ReasonCode::PacketTooLarge);
            return;
        }
        // It may have unsubscribed meanwhile.
        cursors.retain(|cursor| self.is_subscribed(session, &cursor.topic_filter));
        if cursors.is_empty() {
            return;
        }
        for cursor in &mut cursors {
            self.endpoints.retained.renew(cursor);
        }
        let waiting = &mut self.endpoints.sessions[session.0].rare().cursors;
        // What another one has left to send is sent by the new one too.
        supersede(waiting, cursors, |cursor| &cursor.topic_filter);
        self.endpoints.pump(now, session);
    }

    pub(super) fn handle_unsubscribe(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session: SessionKey,
        unsubscribe: &Unsubscribe,
    ) {
        let last_before = self.endpoints.last_record;
        let reason_codes = unsubscribe
            .topic_filters
            .iter()
            .map(|topic_filter| {
                if self.unsubscribe(session, topic_filter) {
                    ReasonCode::Success
                } else {
                    ReasonCode::NoSubscriptionExisted
                }
            })
            .collect();
        let unsuback = UnsubAck {
            packet_identifier: unsubscribe.packet_identifier,
            properties: SubAckProperties::default(),
            reason_codes,
        };
        // One pass for all, however many filters the packet and the session have.
        let removed: HashSet<&TopicFilter> = unsubscribe.topic_filters.iter().collect();
        let known = &mut self.endpoints.sessions[session.0];
        known.subscriptions.retain(|topic_filter| !removed.contains(topic_filter));
        if let Some(rare) = &mut known.rare {
            rare.cursors.retain(|cursor| !removed.contains(&cursor.topic_filter));
        }
        self.endpoints.owe_answer(key);
        // That there was none may be the work of an UNSUBSCRIBE before, which is not yet stored.
        let is_earlier = unsuback.reason_codes.contains(&ReasonCode::NoSubscriptionExisted)
            && self.endpoints.stores
            && self.endpoints.sessions[session.0].is_persistent();
        let earlier = is_earlier.then_some(self.endpoints.last_record);
        match self.recorded_since(last_before).or(earlier) {
            Some(record) => {
                let durability = self.durability_of(key);
                self.when_stored(
                    now,
                    record,
                    durability,
                    AfterStored::UnsubAck(key, Box::new(unsuback)),
                );
            }
            None => self.send_unsuback(now, key, unsuback),
        }
    }

    pub(super) fn send_unsuback(&mut self, now: Instant, key: ConnectionKey, unsuback: UnsubAck) {
        if self.endpoints.give_answer(now, key) {
            self.resume(now, key);
        }
        if self.endpoints.connection(key).is_none_or(|connection| connection.session.is_none()) {
            return;
        }
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return };
        if connection.protocol.unsuback(now, unsuback, &mut connection.out).is_err() {
            self.disconnect(now, key, ReasonCode::PacketTooLarge);
        }
    }

    /// Takes a subscription out of the index; the session's list of them is the caller's.
    fn unsubscribe(&mut self, key: SessionKey, topic_filter: &TopicFilter) -> bool {
        if !self.is_subscribed(key, topic_filter) {
            return false;
        }
        let session = &mut self.endpoints.sessions[key.0];
        if self.endpoints.stores && session.is_persistent() {
            let client_identifier = session.client_identifier.clone();
            let record =
                Record::Unsubscribed { client_identifier, topic_filter: topic_filter.clone() };
            self.endpoints.record(record);
        }
        self.remove_subscription(key, topic_filter);
        true
    }

    /// Takes all subscriptions of a session out of the index.
    pub(super) fn remove_subscriptions(&mut self, key: SessionKey) {
        let subscriptions = std::mem::take(&mut self.endpoints.sessions[key.0].subscriptions);
        for topic_filter in subscriptions.iter() {
            self.remove_subscription(key, topic_filter);
        }
    }

    fn remove_subscription(&mut self, key: SessionKey, topic_filter: &TopicFilter) {
        let subscriber = SubscriberKey::session(key);
        let matching_part = topic_filter.matching_part();
        let removed = match topic_filter.share_name() {
            Some(share_name) => {
                self.routing.index.remove_shared(share_name, matching_part, subscriber)
            }
            None => self.routing.index.remove(matching_part, subscriber),
        };
        debug_assert!(removed.is_some(), "a session's subscriptions are in the index");
        self.endpoints.counters.subscriptions -= 1;
        let connected = self.endpoints.sessions[key.0].connection.is_some();
        self.withdraw(topic_filter, connected);
    }
}

const fn granted_code(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
