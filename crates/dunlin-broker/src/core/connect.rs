//! The life of a session: CONNECT, takeover, the end of a connection, Wills, expiry.

use super::durability::Durability;
use super::granted::SessionKey;
use super::outgoing::Outgoing;
use super::pending::{AfterStored, HeldPublishes};
use super::publish::Routed;
use super::session::{NEVER, Session, Will};
use super::sys::is_sys;
use super::timers::{Timer, Timers};
use super::{ConnectionKey, Core, DropCause, Output, Record, owner};
use dunlin_protocol::codec::{ConnAckProperties, Connect, Disconnect, QoS, ReasonCode, Text};
use dunlin_protocol::{ConnectionEnd, Instant, Message, ServerConnection};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

/// A Client that has sent CONNECT to the wrong worker, on its way to the right one.
#[derive(Debug)]
pub struct ConnectingClient {
    protocol: ServerConnection,
    durability: Durability,
    connect: Connect,
}

impl Core {
    pub(super) fn handle_connect(&mut self, now: Instant, key: ConnectionKey, connect: Connect) {
        let workers = u8::try_from(self.outbox.workers()).unwrap_or(u8::MAX);
        if workers > 1 && !connect.client_identifier.is_empty() {
            let worker = owner(&connect.client_identifier, workers, self.seed);
            if worker != self.worker {
                self.hand_over(now, key, worker, connect);
                return;
            }
        }
        self.decide_connect(now, key, connect);
    }

    fn hand_over(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        worker: super::WorkerNumber,
        connect: Connect,
    ) {
        let placeholder = ServerConnection::new(now, self.server_config.clone());
        let Some(connection) = self.endpoints.connection(key) else { return };
        // Nothing more is taken from it here.
        connection.held = true;
        let protocol = std::mem::replace(&mut connection.protocol, placeholder);
        let durability = connection.durability;
        let client = Box::new(ConnectingClient { protocol, durability, connect });
        self.outputs.push_back(Output::Move { connection: key, worker, client });
    }

    /// Takes a connection that another worker accepted, with the CONNECT that it had read.
    pub fn adopt(&mut self, now: Instant, client: ConnectingClient) -> ConnectionKey {
        let key = self.endpoints.open(client.protocol, client.durability);
        self.watch(now, key);
        self.decide_connect(now, key, client.connect);
        key
    }

    fn decide_connect(&mut self, now: Instant, key: ConnectionKey, mut connect: Connect) {
        if let Err(reason_code) = self.check_connect(&connect) {
            self.reject(now, key, reason_code);
            return;
        }
        let last_before = self.endpoints.last_record;
        let mut properties = ConnAckProperties::default();
        if connect.client_identifier.is_empty() {
            connect.client_identifier = self.assign_client_identifier();
            properties.assigned_client_identifier = Some(connect.client_identifier.clone());
        }
        let known = self.registry.find(&self.endpoints.sessions, &connect.client_identifier);
        // Who is refused changes nothing: neither takeover nor Clean Start comes before this. A
        // Client that has a session needs no room for another one.
        if known.is_none() && self.sessions_full() {
            self.reject(now, key, ReasonCode::QuotaExceeded);
            return;
        }
        if let Some(old) = known.and_then(|session| self.endpoints.sessions[session.0].connection) {
            let old = self.endpoints.key_of(old);
            self.disconnect(now, old, ReasonCode::SessionTakenOver);
        }
        // A session that ended with its connection is gone by now [MQTT-3.1.4-3].
        let known = self.registry.find(&self.endpoints.sessions, &connect.client_identifier);
        if !connect.clean_start
            && known.is_some_and(|session| self.endpoints.sessions[session.0].is_undecided())
        {
            self.park(key, connect);
            return;
        }
        let resumed = match known {
            Some(session) if connect.clean_start => {
                self.end_session(now, session);
                None
            }
            known => known,
        };
        let session = resumed.unwrap_or_else(|| self.begin_session(&connect));
        self.configure_session(session, &connect, &mut properties);
        self.attach(key, session);
        // What CONNACK says of a session, old or new, and of a Will must be true after a crash.
        let gone = self.pending.gone(&connect.client_identifier);
        match self.recorded_since(last_before).or(gone) {
            Some(record) => {
                if let Some(connection) = self.endpoints.connection(key) {
                    connection.waits = true;
                    connection.held = true;
                }
                let session_present = resumed.is_some();
                let connack = AfterStored::ConnAck(key, session_present, Box::new(properties));
                let durability = self.durability_of(key);
                self.when_stored(now, record, durability, connack);
            }
            None => self.accept(now, key, resumed.is_some(), properties),
        }
    }

    /// Lets a Client wait for its CONNACK until it is known what became of its QoS 2 messages:
    /// those that it sends again would be acknowledged because they were received before.
    fn park(&mut self, key: ConnectionKey, connect: Connect) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.held = true;
            self.pending.parked.push((key, connect));
        }
    }

    pub(super) fn unpark(&mut self, now: Instant) {
        for (key, connect) in std::mem::take(&mut self.pending.parked) {
            if let Some(connection) = self.endpoints.connection(key) {
                connection.held = false;
                self.decide_connect(now, key, connect);
                self.resumed.push(key);
            }
        }
    }

    fn check_connect(&self, connect: &Connect) -> Result<(), ReasonCode> {
        if self.stopping || self.needs_store(connect) && !self.endpoints.store_is_ready {
            return Err(ReasonCode::ServerUnavailable);
        }
        if connect.properties.authentication_method.is_some() {
            return Err(ReasonCode::BadAuthenticationMethod);
        }
        if let Some(will) = &connect.will {
            let levels = will.topic_name.split('/').count();
            if levels > self.endpoints.limits.topic_levels_max {
                return Err(ReasonCode::TopicNameInvalid);
            }
            if is_sys(&will.topic_name) {
                return Err(ReasonCode::NotAuthorized);
            }
        }
        Ok(())
    }

    /// Whether a CONNECT can't be accepted without the store: for a session that is to survive or
    /// did, or a Will.
    fn needs_store(&self, connect: &Connect) -> bool {
        if !self.endpoints.stores {
            return false;
        }
        let known = self.registry.find(&self.endpoints.sessions, &connect.client_identifier);
        session_expiry_interval(connect) > 0
            || connect.will.is_some()
            || known.is_some_and(|session| self.endpoints.sessions[session.0].is_recorded)
    }

    fn sessions_full(&self) -> bool {
        let share = self.endpoints.limits.sessions_max.div_ceil(self.outbox.workers());
        self.endpoints.sessions.len() >= share
    }

    fn reject(&mut self, now: Instant, key: ConnectionKey, reason_code: ReasonCode) {
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return };
        let properties = ConnAckProperties::default();
        let rejected =
            connection.protocol.reject(now, reason_code, properties, &mut connection.out);
        debug_assert!(rejected.is_ok(), "a CONNECT was just read");
        self.outputs.push_back(Output::Close(key));
    }

    /// A Client Identifier that nobody uses and that belongs to this worker [MQTT-3.1.3-6].
    fn assign_client_identifier(&mut self) -> Text {
        let workers = u8::try_from(self.outbox.workers()).unwrap_or(u8::MAX);
        loop {
            self.assigned += 1;
            let hash = FixedState::with_seed(self.seed).hash_one((self.worker.0, self.assigned));
            let text = format!("dunlin-{hash:016x}");
            let Ok(text) = Text::try_from(text) else { continue };
            if owner(&text, workers, self.seed) == self.worker
                && self.registry.find(&self.endpoints.sessions, &text).is_none()
            {
                return text;
            }
        }
    }

    fn begin_session(&mut self, connect: &Connect) -> SessionKey {
        let client_identifier = connect.client_identifier.detached();
        let session = Session::new(client_identifier, connect.protocol_version);
        let key = SessionKey(self.endpoints.sessions.insert(session).0);
        self.registry.insert(&self.endpoints.sessions, key);
        key
    }

    fn configure_session(
        &mut self,
        key: SessionKey,
        connect: &Connect,
        properties: &mut ConnAckProperties,
    ) {
        let asked = session_expiry_interval(connect);
        let granted = asked.min(self.endpoints.limits.session_expiry_max_secs);
        if granted != asked {
            properties.session_expiry_interval = Some(granted);
        }
        let session = &mut self.endpoints.sessions[key.0];
        session.version = connect.protocol_version;
        session.expiry_interval = granted;
        session.expires_at = None;
        let old_will = session.will.take();
        session.will = connect.will.as_ref().map(|will| {
            let message = Message {
                topic_name: will.topic_name.clone(),
                payload: will.payload.clone(),
                qos: will.qos,
                retain: will.retain,
                expires_at: None,
                properties: (!will.properties.message.is_empty())
                    .then(|| Arc::new(will.properties.message.clone())),
            };
            Box::new(Will {
                message: message.detached(),
                message_expiry_interval: will.properties.message_expiry_interval,
                delay_secs: will.properties.will_delay_interval.unwrap_or(0),
                due_at: None,
                is_recorded: self.endpoints.stores,
            })
        });
        self.record_session(key, None);
        if self.endpoints.stores {
            self.record_will(key, old_will.is_some_and(|will| will.is_recorded));
        }
    }

    /// Records that a session has a connection, or since when it has none. A session that was
    /// recorded once stays so, though it may now end with its connection.
    pub(super) fn record_session(&mut self, key: SessionKey, away_since: Option<Instant>) {
        let session = &mut self.endpoints.sessions[key.0];
        if !self.endpoints.stores || !(session.is_persistent() || session.is_recorded) {
            return;
        }
        session.is_recorded = true;
        let client_identifier = session.client_identifier.clone();
        let session_expiry_interval = session.expiry_interval;
        self.endpoints.record(Record::Session {
            client_identifier,
            session_expiry_interval,
            away_since,
        });
    }

    /// Records the Will of a session, or that the earlier one is gone. The Will of a session that
    /// ends with its connection is recorded as well: it is published when the broker crashes.
    fn record_will(&mut self, key: SessionKey, had_will: bool) {
        let session = &self.endpoints.sessions[key.0];
        let client_identifier = session.client_identifier.clone();
        if let Some(will) = &session.will {
            let record = Record::Will {
                client_identifier,
                message: Arc::new(will.message.clone()),
                message_expiry_interval: will.message_expiry_interval,
                delay_secs: will.delay_secs,
            };
            self.endpoints.record(record);
        } else if had_will {
            self.endpoints.record(Record::WillRemoved { client_identifier });
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

    /// Gives a session its connection. [`Core::accept`] follows, when that is stored.
    fn attach(&mut self, key: ConnectionKey, session_key: SessionKey) {
        self.endpoints.sessions[session_key.0].connection = Some(key.index);
        if let Some(connection) = self.endpoints.connection(key) {
            connection.session = Some(session_key);
        }
        self.endpoints.counters.clients_connected += 1;
    }

    /// Tells a Client that it is connected, and goes on with its session.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        session_present: bool,
        properties: ConnAckProperties,
    ) {
        // The connection may be over by now, or the session another one's.
        let Some(connection) = self.endpoints.connection(key) else { return };
        let Some(session_key) = connection.session else { return };
        if std::mem::take(&mut connection.waits) {
            connection.held = false;
            connection.read_again_at = now;
            self.resumed.push(key);
        }
        self.endpoints.touch(key.index);
        let session = &mut self.endpoints.sessions[session_key.0];
        let exchanges = std::mem::take(&mut session.exchanges);
        for note in session.rare.iter_mut().flat_map(|rare| rare.notes.values_mut()) {
            // All that has an exchange is sent from here on.
            note.unsent = false;
        }
        let holds_releases = self.endpoints.stores && session.is_persistent();
        let Some(connection) = self.endpoints.connection(key) else { return };
        if holds_releases {
            connection.protocol.hold_releases();
        }
        let accepted = connection.protocol.accept(
            now,
            exchanges,
            session_present,
            properties,
            &mut connection.out,
        );
        debug_assert!(accepted.is_ok(), "a CONNECT awaits its answer");
        self.watch(now, key);
        self.count_members(session_key, 1);
        self.endpoints.pump(now, session_key);
        self.close_if_over(now, key);
    }

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
        let exchanges = was_accepted.then(|| connection.protocol.take_session());
        self.endpoints.counters.clients_connected -= 1;
        let session = &mut self.endpoints.sessions[session_key.0];
        session.connection = None;
        if let Some(exchanges) = exchanges {
            session.exchanges = exchanges;
        }
        for held in held.iter().flat_map(HeldPublishes::iter) {
            if held.message.qos == QoS::ExactlyOnce {
                // Nobody has taken it: when it comes again, it is new.
                session.exchanges.forget_received(held.ack.packet_identifier());
            }
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
            secs => session.expires_at = Some(now + Duration::from_secs(u64::from(secs))),
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
            will.due_at = Some(now + Duration::from_secs(u64::from(delay_secs)));
        }
    }

    /// Sets the timer of a session that is away: for its Will or its end.
    fn watch_session(&mut self, now: Instant, key: SessionKey) {
        let generation = self.endpoints.sessions.generation(key.0);
        let session = &mut self.endpoints.sessions[key.0];
        let will_due_at = session.will.as_ref().and_then(|will| will.due_at);
        if let Some(deadline) = [will_due_at, session.expires_at].into_iter().flatten().min() {
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
        let will_due_at = session.will.as_ref().and_then(|will| will.due_at);
        let has_expired = session.expires_at.is_some_and(|at| at <= now);
        if will_due_at.is_some_and(|due_at| due_at <= now) {
            self.publish_will(now, key);
        }
        if has_expired {
            self.endpoints.counters.sessions_expired += 1;
            self.end_session(now, key);
        } else {
            self.watch_session(now, key);
        }
    }

    fn publish_will(&mut self, now: Instant, key: SessionKey) {
        let Some(will) = self.take_will(key) else { return };
        let mut message = will.message;
        if let Some(secs) = will.message_expiry_interval {
            message.expire_after(now, secs);
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
        if let Err(cause) = self.retain(now, &outgoing) {
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
    fn end_session(&mut self, now: Instant, key: SessionKey) {
        self.publish_will(now, key);
        self.remove_subscriptions(key);
        self.hand_on(now, key, true);
        let lost = self.endpoints.sessions[key.0].exchanges.in_flight().count();
        self.endpoints.drop_many_for(key, DropCause::SessionEnded, lost as u64);
        self.endpoints.drop_waiting(key);
        self.registry.remove(&self.endpoints.sessions, key);
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

/// The Session Expiry Interval that a CONNECT asks for, in seconds. A session of MQTT 3.x ends with
/// its connection or never.
fn session_expiry_interval(connect: &Connect) -> u32 {
    match (connect.protocol_version.is_v5(), connect.clean_start) {
        (true, _) => connect.properties.session_expiry_interval.unwrap_or(0),
        (false, true) => 0,
        (false, false) => NEVER,
    }
}
