//! A session without its connection: away until it is resumed, its Will, and its end.

use super::deadline::Deadline;
use super::granted::SessionKey;
use super::outgoing::Outgoing;
use super::pending::HeldPublishes;
use super::publish::Routed;
use super::session::{NEVER, Will};
use super::timers::{Timer, Timers};
use super::{ConnectionKey, Core, DropCause, Record};
use dunlin_protocol::codec::{Disconnect, QoS, ReasonCode, Text};
use dunlin_protocol::{ConnectionEnd, Instant, Message};
use std::sync::Arc;
use std::time::Duration;

impl Core {
    /// The Client says goodbye: what its DISCONNECT changes for the session.
    pub(super) fn handle_disconnect(&mut self, key: SessionKey, disconnect: &Disconnect) {
        let expiry_max = self.endpoints.limits.session_expiry_max_secs;
        let session = &mut self.endpoints.sessions[key.0];
        if let Some(secs) = disconnect.properties.session_expiry_interval {
            session.expiry_interval = secs.min(expiry_max);
        }
        if disconnect.reason_code == ReasonCode::Success {
            // [MQTT-3.14.4-3]; any other Reason Code leaves the Will [MQTT-3.1.2-10].
            self.take_will(key);
        }
    }

    /// The connection is over: its session is away from now on, or ends.
    pub(super) fn detach(&mut self, now: Instant, key: ConnectionKey) {
        let held = self.pending.held.remove(&key);
        self.pending.parked.retain(|(parked, _)| *parked != key);
        self.tell_publisher_gone(key);
        let Some(connection) = self.endpoints.connection(key) else { return };
        let Some(session_key) = connection.session.take() else { return };
        let stopping = matches!(
            connection.protocol.end(),
            Some(ConnectionEnd::Local(ReasonCode::ServerShuttingDown))
        );
        let was_accepted = !std::mem::take(&mut connection.waits);
        let mut exchanges = was_accepted.then(|| connection.protocol.take_session());
        self.endpoints.counters.clients_connected -= 1;
        self.leave_user(&self.endpoints.sessions[session_key.0].owner);
        self.keep_rates(now, key, session_key);
        let session = &mut self.endpoints.sessions[session_key.0];
        session.connection = None;
        for held in held.iter().flat_map(HeldPublishes::iter) {
            if held.message.qos == QoS::ExactlyOnce
                && let Some(exchanges) = &mut exchanges
            {
                // Nobody has taken it: when it comes again, it is new.
                exchanges.forget_received(held.ack.packet_identifier());
            }
        }
        if let Some(exchanges) = exchanges {
            session.keep_exchanges(exchanges);
        }
        if stopping {
            return;
        }
        if was_accepted {
            self.count_members(session_key, -1);
        }
        self.hand_on(now, session_key, false);
        self.schedule_will(now, session_key);
        let session = &mut self.endpoints.sessions[session_key.0];
        match session.expiry_interval {
            0 => {
                self.end_session(now, session_key);
                return;
            }
            NEVER => {}
            secs => {
                let expires_at = now + Duration::from_secs(u64::from(secs));
                session.expires_at = Deadline::at(expires_at);
            }
        }
        self.record_session(session_key, Some(now));
        self.endpoints.shrink_queue(session_key);
        self.watch_session(now, session_key);
    }

    /// This is where a Will fires: at once, when its Will Delay Interval is over, or when the
    /// session ends, whichever comes first [MQTT-3.1.2-8] [MQTT-3.1.3-9].
    fn schedule_will(&mut self, now: Instant, key: SessionKey) {
        let session = &mut self.endpoints.sessions[key.0];
        let Some(will) = &mut session.will else { return };
        let delay_secs = will.delay_secs.min(session.expiry_interval);
        if delay_secs == 0 {
            self.publish_will(now, key);
        } else {
            will.due_at = Deadline::at(now + Duration::from_secs(u64::from(delay_secs)));
        }
    }

    /// Sets the timer of a session that is away: for its Will or its end.
    fn watch_session(&mut self, now: Instant, key: SessionKey) {
        let generation = self.endpoints.sessions.generation(key.0);
        let session = &mut self.endpoints.sessions[key.0];
        if let Some(deadline) = session.will_due_at().min(session.expires_at).instant() {
            let timer = Timer::Session { session: key, generation };
            self.timers.watch(now, deadline, &mut session.timer_at, timer);
        }
    }

    pub(super) fn check_session(&mut self, now: Instant, key: SessionKey, generation: u32) {
        if !self.endpoints.sessions.is_current(key.0, generation) {
            return;
        }
        let session = &mut self.endpoints.sessions[key.0];
        if !Timers::fires(now, &mut session.timer_at) || session.connection.is_some() {
            return;
        }
        self.act_when_due(now, key);
    }

    /// Publishes the Will of a session that is away, and ends it, if that is due; else sets its
    /// timer.
    pub(super) fn act_when_due(&mut self, now: Instant, key: SessionKey) {
        let session = &self.endpoints.sessions[key.0];
        let has_expired = session.expires_at.is_due(now);
        if session.will_due_at().is_due(now) {
            self.publish_will(now, key);
        }
        if has_expired {
            self.endpoints.counters.sessions_expired += 1;
            self.end_session(now, key);
        } else {
            self.watch_session(now, key);
        }
    }

    /// Takes the Will of a session, which is published or discarded.
    fn take_will(&mut self, key: SessionKey) -> Option<Box<Will>> {
        let session = &mut self.endpoints.sessions[key.0];
        let will = session.will.take()?;
        if will.is_recorded {
            let client_identifier = session.client_identifier.clone();
            let record = Record::WillRemoved { client_identifier: client_identifier.clone() };
            let record = self.endpoints.record(record);
            self.pending.remember_gone(client_identifier, record);
        }
        Some(will)
    }

    pub(super) fn publish_will(&mut self, now: Instant, key: SessionKey) {
        let Some(will) = self.take_will(key) else { return };
        let mut message = will.message;
        if let Some(secs) = will.message_expiry_interval {
            message.expire_after(now, secs);
        }
        if !self.is_will_allowed(key, &message) {
            self.endpoints.drop_for(key, DropCause::NotAllowed);
            return;
        }
        let client_identifier = self.endpoints.sessions[key.0].client_identifier.clone();
        self.publish_own(now, Some((key, &client_identifier)), message);
    }

    /// Publishes a message that no Client waits for: a Will of this Client, or `$SYS`.
    pub(super) fn publish_own(
        &mut self,
        now: Instant,
        of: Option<(SessionKey, &Text)>,
        message: Message,
    ) {
        let message = Arc::new(message);
        let outgoing = Outgoing::shared(&message);
        let publisher = of.map(|(publisher, _)| publisher);
        if let Err(cause) = self.retain(now, publisher, &outgoing) {
            self.endpoints.counters.drop_one(cause);
        }
        match of {
            Some((publisher, client_identifier)) => {
                self.pass_on(now, client_identifier, Some(publisher), &message, None, None);
            }
            None => self.route(now, None, &outgoing, None, &mut Routed::default()),
        }
    }

    /// Ends a session that is away: its Will is published if it still waits, what was owed to it
    /// is dropped and counted, or handed on in a Shared Subscription.
    pub(super) fn end_session(&mut self, now: Instant, key: SessionKey) {
        self.publish_will(now, key);
        self.remove_subscriptions(key);
        self.hand_on(now, key, true);
        let exchanges = &self.endpoints.sessions[key.0].exchanges;
        let lost = exchanges.iter().flat_map(|exchanges| exchanges.in_flight()).count();
        self.endpoints.drop_many_for(key, DropCause::SessionEnded, lost as u64);
        self.endpoints.drop_waiting(key);
        self.registry.remove(&self.endpoints.sessions, key);
        if let Some(rights) = &mut self.endpoints.rights {
            rights.forget(key);
        }
        let Some(mut session) = self.endpoints.sessions.remove(key.0) else { return };
        self.endpoints.ended_number = self.endpoints.ended_number.max(session.last_number());
        let refused_bytes = session.rare.as_ref().map_or(0, |rare| rare.refused.bytes());
        self.endpoints.counters.given_bytes -= refused_bytes as u64;
        self.endpoints.keep_drops(&session.client_identifier, session.drops.take());
        if session.is_recorded {
            let client_identifier = session.client_identifier;
            let record = Record::SessionEnded { client_identifier: client_identifier.clone() };
            let record = self.endpoints.record(record);
            self.pending.remember_gone(client_identifier, record);
        }
    }
}
