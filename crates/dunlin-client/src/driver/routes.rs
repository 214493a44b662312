//! Which stream gets which message, and what the Server knows of our subscriptions.

use crate::received::{Content, Delivered};
use crate::shared::{Joint, NewRoute, PendingAck, RouteId, SubscribeReply};
use crate::stream::{Pushed, StreamQueue};
use crate::{Event, SubscribeError};
use dunlin_protocol::codec::{
    PacketIdentifier, ReasonCode, RetainHandling, SubAck, SubscribeProperties, Subscription,
    SubscriptionIdentifier, TopicFilter, TopicName, TransmitBuf, UnsubAck, UnsubscribeProperties,
    UserProperties,
};
use dunlin_protocol::{ClientConnection, CommandError, Instant};
use dunlin_topics::reference::matches;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The subscriptions of one client.
#[derive(Default)]
pub(crate) struct Routes {
    routes: BTreeMap<RouteId, Route>,
    /// The routes that have a Topic Filter subscribed under this identifier.
    by_identifier: HashMap<SubscriptionIdentifier, Vec<RouteId>>,
    unsubscribes: Vec<Unsubscribe>,
    last_identifier: u32,
    /// Whether something waits to be sent.
    unsent: bool,
    /// Lost with their Session and not yet answered; and how many of them were restored.
    restoring: usize,
    restored: usize,
}

struct Route {
    filters: Vec<RouteFilter>,
    identifier: Option<SubscriptionIdentifier>,
    user_properties: UserProperties,
    queue: Arc<StreamQueue>,
    state: RouteState,
    reply: Option<SubscribeReply>,
    restoring: bool,
}

struct RouteFilter {
    subscription: Subscription,
    /// What the Server sends with messages that match: that of the latest route which subscribed
    /// to the same Topic Filter.
    identifier: Option<SubscriptionIdentifier>,
    /// An UNSUBSCRIBE is on its way.
    leaving: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RouteState {
    Unsent,
    /// The Server had it, and may have lost it.
    Unsure,
    Sent(PacketIdentifier),
    Active,
}

/// What the Server still knows of our subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It goes on with the Session.
    Kept,
    /// It goes on with a Session, perhaps with one that began since.
    Unsure,
    /// It has begun a new Session.
    Lost,
}

struct Unsubscribe {
    topic_filters: Vec<TopicFilter>,
    reply: Option<SubscribeReply>,
    sent: Option<PacketIdentifier>,
    /// Only this route loses the Topic Filters.
    only: Option<RouteId>,
}

impl RouteFilter {
    fn topic_filter(&self) -> &TopicFilter {
        &self.subscription.topic_filter
    }

    fn matches(&self, topic_name: &TopicName) -> bool {
        matches(self.topic_filter().matching_part(), topic_name)
    }
}

impl Routes {
    // ---- messages

    /// Hands a message to every stream that it is for; gives it back when there is none.
    pub(crate) fn deliver(
        &self,
        content: Content,
        ack: Option<PendingAck>,
        dropped: &mut Vec<Pushed>,
    ) -> Result<(), Box<Delivered>> {
        let topic_name = &content.message.topic_name;
        let identifiers = &content.subscription_identifiers;
        let mut queues: Vec<&Arc<StreamQueue>> = Vec::new();
        if identifiers.is_empty() {
            for route in self.routes.values() {
                let is_match = |filter: &RouteFilter| {
                    filter.identifier.is_none() && filter.matches(topic_name)
                };
                if route.filters.iter().any(is_match) {
                    queues.push(&route.queue);
                }
            }
        } else {
            // The Topic Filter is checked as well: a resumed Session may hold subscriptions of an
            // earlier program under the same identifiers.
            let is_match = |filter: &RouteFilter| {
                filter.identifier.is_some_and(|identifier| identifiers.contains(&identifier))
                    && filter.matches(topic_name)
            };
            for identifier in identifiers {
                for id in self.by_identifier.get(identifier).into_iter().flatten() {
                    let Some(route) = self.routes.get(id) else { continue };
                    if route.filters.iter().any(is_match)
                        && !queues.iter().any(|queue| Arc::ptr_eq(queue, &route.queue))
                    {
                        queues.push(&route.queue);
                    }
                }
            }
        }
        let Some((last, others)) = queues.split_last() else {
            return Err(Box::new(Delivered { content, ack }));
        };
        let ack = ack.map(|ack| PendingAck {
            joint: (!others.is_empty()).then(|| Joint::new(queues.len())),
            ..ack
        });
        for queue in others {
            let ack = ack.as_ref().map(|ack| PendingAck { joint: ack.joint.clone(), ..*ack });
            queue.push(Delivered { content: content.clone(), ack }, dropped);
        }
        last.push(Delivered { content, ack }, dropped);
        Ok(())
    }

    pub(crate) fn forget_resent(&self) {
        for route in self.routes.values() {
            route.queue.forget_resent();
        }
    }

    // ---- commands

    pub(crate) fn subscribe(&mut self, new: NewRoute) {
        let filters = new.subscriptions.into_iter().map(|subscription| RouteFilter {
            subscription,
            identifier: None,
            leaving: false,
        });
        let route = Route {
            filters: filters.collect(),
            identifier: None,
            user_properties: new.user_properties,
            queue: new.queue,
            state: RouteState::Unsent,
            reply: Some(new.reply),
            restoring: false,
        };
        self.routes.insert(new.id, route);
        self.unsent = true;
    }

    /// Ends the subscription to these Topic Filters for every route.
    pub(crate) fn unsubscribe(&mut self, topic_filters: Vec<TopicFilter>, reply: SubscribeReply) {
        for filter in self.routes.values_mut().flat_map(|route| &mut route.filters) {
            filter.leaving |= topic_filters.contains(filter.topic_filter());
        }
        let reply = Some(reply);
        self.unsubscribes.push(Unsubscribe { topic_filters, reply, sent: None, only: None });
        self.unsent = true;
    }

    /// Ends one route: what another live route has subscribed as well stays at the Server.
    pub(crate) fn detach(&mut self, id: RouteId, reply: Option<SubscribeReply>) {
        let Some(route) = self.routes.get(&id) else {
            reply.map(|reply| reply.send(Ok(Vec::new())));
            return;
        };
        let is_shared = |topic_filter: &TopicFilter| {
            self.routes.iter().any(|(other, route)| {
                let is_it =
                    |filter: &RouteFilter| !filter.leaving && filter.topic_filter() == topic_filter;
                *other != id && route.filters.iter().any(is_it)
            })
        };
        let topic_filters: Vec<_> = route
            .filters
            .iter()
            .map(RouteFilter::topic_filter)
            .filter(|topic_filter| !is_shared(topic_filter))
            .cloned()
            .collect();
        if topic_filters.is_empty() || route.state == RouteState::Unsent {
            self.remove(id);
            reply.map(|reply| reply.send(Ok(Vec::new())));
            return;
        }
        if let Some(route) = self.routes.get_mut(&id) {
            for filter in &mut route.filters {
                filter.leaving = true;
            }
        }
        self.unsubscribes.push(Unsubscribe { topic_filters, reply, sent: None, only: Some(id) });
        self.unsent = true;
    }

    fn remove(&mut self, id: RouteId) {
        if let Some(route) = self.routes.remove(&id) {
            route.queue.end();
            self.count_restored(&route, false);
        }
        self.by_identifier.retain(|_, ids| {
            ids.retain(|other| *other != id);
            !ids.is_empty()
        });
    }

    fn count_restored(&mut self, route: &Route, restored: bool) {
        if route.restoring {
            self.restoring -= 1;
            self.restored += usize::from(restored);
        }
    }

    // ---- the connection

    /// A connection was accepted.
    pub(crate) fn on_connected(&mut self, known: Known, restore: bool) {
        let is_lost = known == Known::Lost;
        self.restoring = 0;
        self.restored = 0;
        self.unsent = true;
        if is_lost {
            // With the Session its subscriptions are gone.
            for unsubscribe in std::mem::take(&mut self.unsubscribes) {
                self.finish_unsubscribe(unsubscribe, Ok(Vec::new()));
            }
        }
        for unsubscribe in &mut self.unsubscribes {
            unsubscribe.sent = None;
        }
        let mut ended = Vec::new();
        for (id, route) in &mut self.routes {
            let was_active = route.state == RouteState::Active;
            route.restoring = was_active && is_lost;
            if route.restoring && !restore {
                route.restoring = false;
                ended.push(*id);
            }
            self.restoring += usize::from(route.restoring);
            if !was_active || is_lost {
                route.state = RouteState::Unsent;
            } else if known == Known::Unsure && restore {
                route.state = RouteState::Unsure;
            }
        }
        for id in ended {
            self.remove(id);
        }
    }

    /// Sends what waits, in an order in which an UNSUBSCRIBE never undoes a later SUBSCRIBE.
    pub(crate) fn send_unsent(
        &mut self,
        now: Instant,
        connection: &mut ClientConnection,
        out: &mut TransmitBuf,
        events: &mut Vec<Event>,
    ) {
        if !self.unsent || !connection.is_connected() {
            return;
        }
        if !self.send_routes(RouteState::Unsure, now, connection, out, events) {
            return;
        }
        let mut failed = Vec::new();
        for (at, unsubscribe) in self.unsubscribes.iter_mut().enumerate() {
            if unsubscribe.sent.is_some() {
                continue;
            }
            let topic_filters = unsubscribe.topic_filters.clone();
            match connection.unsubscribe(now, UnsubscribeProperties::default(), topic_filters, out)
            {
                Ok(packet_identifier) => unsubscribe.sent = Some(packet_identifier),
                Err(CommandError::PacketIdentifiersExhausted) => return,
                Err(error) => failed.push((at, error)),
            }
        }
        for (at, error) in failed.into_iter().rev() {
            let unsubscribe = self.unsubscribes.remove(at);
            self.finish_unsubscribe(unsubscribe, Err(SubscribeError::NotPossible(error)));
        }
        self.unsent = !self.send_routes(RouteState::Unsent, now, connection, out, events);
    }

    /// Asks for all subscriptions in this state, as far as there are Packet Identifiers.
    fn send_routes(
        &mut self,
        state: RouteState,
        now: Instant,
        connection: &mut ClientConnection,
        out: &mut TransmitBuf,
        events: &mut Vec<Event>,
    ) -> bool {
        let waiting = self.routes.iter().filter(|(_, route)| route.state == state);
        let waiting: Vec<RouteId> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            match self.send_subscribe(now, id, connection, out) {
                Ok(()) => {}
                Err(CommandError::PacketIdentifiersExhausted) => return false,
                Err(error) => {
                    let reply = self.routes.get_mut(&id).and_then(|route| route.reply.take());
                    match reply {
                        Some(reply) => {
                            let _ = reply.send(Err(SubscribeError::NotPossible(error)));
                        }
                        None => events.extend(self.refusal(id, Vec::new())),
                    }
                    self.remove(id);
                }
            }
        }
        true
    }

    fn send_subscribe(
        &mut self,
        now: Instant,
        id: RouteId,
        connection: &mut ClientConnection,
        out: &mut TransmitBuf,
    ) -> Result<(), CommandError> {
        let Some(route) = self.routes.get_mut(&id) else { return Ok(()) };
        let identifier = if connection.subscription_identifiers_available() {
            if route.identifier.is_none() {
                self.last_identifier = self.last_identifier % SubscriptionIdentifier::MAX + 1;
                route.identifier = SubscriptionIdentifier::new(self.last_identifier);
            }
            route.identifier
        } else {
            None
        };
        let properties = SubscribeProperties {
            subscription_identifier: identifier,
            user_properties: route.user_properties.clone(),
        };
        let mut subscriptions: Vec<_> =
            route.filters.iter().map(|filter| filter.subscription.clone()).collect();
        for subscription in subscriptions.iter_mut().filter(|_| route.state == RouteState::Unsure) {
            let retain_handling = &mut subscription.options.retain_handling;
            if *retain_handling == RetainHandling::Send {
                // Not again if the Server has the subscription still.
                *retain_handling = RetainHandling::SendIfNew;
            }
        }
        let topic_filters: Vec<_> =
            subscriptions.iter().map(|subscription| subscription.topic_filter.clone()).collect();
        let packet_identifier = connection.subscribe(now, properties, subscriptions, out)?;
        route.state = RouteState::Sent(packet_identifier);
        // The Server now has one subscription under this identifier for each of these Topic
        // Filters, whichever route asked for it first.
        for (id, route) in &mut self.routes {
            for filter in &mut route.filters {
                if topic_filters.contains(filter.topic_filter()) {
                    filter.identifier = identifier;
                    if let Some(identifier) = identifier {
                        let ids = self.by_identifier.entry(identifier).or_default();
                        if !ids.contains(id) {
                            ids.push(*id);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn refusal(&self, id: RouteId, reason_codes: Vec<ReasonCode>) -> Option<Event> {
        let route = self.routes.get(&id)?;
        let topic_filters =
            route.filters.iter().map(|filter| filter.topic_filter().clone()).collect();
        Some(Event::SubscriptionRefused { topic_filters, reason_codes })
    }

    pub(crate) fn on_suback(&mut self, suback: SubAck, events: &mut Vec<Event>) {
        let is_it = RouteState::Sent(suback.packet_identifier);
        let Some((&id, _)) = self.routes.iter().find(|(_, route)| route.state == is_it) else {
            return;
        };
        let reason_codes = suback.reason_codes;
        let is_refused = reason_codes.iter().all(|code| code.is_error());
        if reason_codes.iter().any(|code| code.is_error())
            && self.routes.get(&id).is_some_and(|route| route.reply.is_none())
        {
            events.extend(self.refusal(id, reason_codes.clone()));
        }
        let Some(route) = self.routes.get_mut(&id) else { return };
        route.state = RouteState::Active;
        let mut codes = reason_codes.iter();
        route.filters.retain(|_| codes.next().is_none_or(|code| !code.is_error()));
        let was_restoring = std::mem::take(&mut route.restoring);
        let outcome = if is_refused {
            Err(SubscribeError::Refused { reason_codes })
        } else {
            Ok(reason_codes)
        };
        if let Some(reply) = route.reply.take() {
            // Nobody listens any more: its stream was dropped, and says so by itself.
            let _ = reply.send(outcome);
        }
        if is_refused {
            self.remove(id);
        }
        if was_restoring {
            self.restoring -= 1;
            self.restored += usize::from(!is_refused);
            if self.restoring == 0 {
                events.push(Event::SubscriptionsRestored { subscriptions: self.restored });
            }
        }
    }

    pub(crate) fn on_unsuback(&mut self, unsuback: &UnsubAck) {
        let sent = Some(unsuback.packet_identifier);
        let Some(at) = self.unsubscribes.iter().position(|unsubscribe| unsubscribe.sent == sent)
        else {
            return;
        };
        let unsubscribe = self.unsubscribes.remove(at);
        let reason_codes = unsuback.reason_codes.clone();
        let outcome = if reason_codes.iter().any(|code| code.is_error()) {
            Err(SubscribeError::Refused { reason_codes })
        } else {
            Ok(reason_codes)
        };
        self.finish_unsubscribe(unsubscribe, outcome);
    }

    fn finish_unsubscribe(
        &mut self,
        unsubscribe: Unsubscribe,
        outcome: Result<Vec<ReasonCode>, SubscribeError>,
    ) {
        let mut ended = Vec::new();
        for (id, route) in &mut self.routes {
            if unsubscribe.only.is_some_and(|only| only != *id) {
                continue;
            }
            let is_it =
                |filter: &RouteFilter| unsubscribe.topic_filters.contains(filter.topic_filter());
            if outcome.is_ok() || unsubscribe.reply.is_none() {
                route.filters.retain(|filter| !(filter.leaving && is_it(filter)));
                if route.filters.is_empty() || unsubscribe.only.is_some() {
                    ended.push(*id);
                }
            } else {
                for filter in route.filters.iter_mut().filter(|filter| is_it(filter)) {
                    filter.leaving = false;
                }
            }
        }
        for id in ended {
            self.remove(id);
        }
        if let Some(reply) = unsubscribe.reply {
            let _ = reply.send(outcome);
        }
    }

    /// The client is over: every stream ends.
    pub(crate) fn close(&mut self) {
        for route in self.routes.values() {
            route.queue.end();
        }
        self.routes.clear();
        self.unsubscribes.clear();
    }
}
