//! The beginning of a connection and its session: CONNECT, takeover, CONNACK.

use super::deadline::Deadline;
use super::durability::Durability;
use super::granted::SessionKey;
use super::limits::LimitCause;
use super::login::{Admitted, Stranger, has_ended};
use super::pending::AfterStored;
use super::session::{NEVER, Session, Will};
use super::sys::is_sys;
use super::{ConnectionKey, Core, Output, Record, RecordNumber, owner};
use dunlin_protocol::codec::{ConnAckProperties, Connect, ReasonCode, Text};
use dunlin_protocol::{Instant, Message, ServerConnection};
use foldhash::fast::FixedState;
use std::hash::BuildHasher;
use std::sync::Arc;

/// A Client that has sent CONNECT to the wrong worker, on its way to the right one.
#[derive(Debug)]
pub struct ConnectingClient {
    protocol: ServerConnection,
    durability: Durability,
    admitted: Admitted,
}

impl Core {
    pub(super) fn handle_connect(&mut self, now: Instant, key: ConnectionKey, connect: Connect) {
        if let Some(reason_code) = self.take_refusal(key) {
            self.reject(now, key, reason_code);
        } else if self.login_timeout.is_some() {
            self.ask_who(now, key, connect);
        } else {
            self.place_connect(now, key, Admitted::unasked(connect));
        }
    }

    /// Goes on with a CONNECT on the worker that its session belongs to.
    pub(super) fn place_connect(&mut self, now: Instant, key: ConnectionKey, admitted: Admitted) {
        let workers = u8::try_from(self.outbox.workers()).unwrap_or(u8::MAX);
        let client_identifier = &admitted.connect.client_identifier;
        if workers > 1 && !client_identifier.is_empty() {
            let worker = owner(client_identifier, workers, self.seed);
            if worker != self.worker {
                self.hand_over(now, key, worker, admitted);
                return;
            }
        }
        self.decide_connect(now, key, admitted);
    }

    fn hand_over(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        worker: super::WorkerNumber,
        admitted: Admitted,
    ) {
        let placeholder = ServerConnection::new(now, self.server_config.clone());
        self.endpoints.newcomer_leaves(key);
        let Some(connection) = self.endpoints.connection(key) else { return };
        // Nothing more is taken from it here.
        connection.held = true;
        let protocol = std::mem::replace(&mut connection.protocol, placeholder);
        let durability = connection.durability;
        let client = Box::new(ConnectingClient { protocol, durability, admitted });
        self.outputs.push_back(Output::Move { connection: key, worker, client });
    }

    /// Takes a connection that another worker accepted, with the CONNECT that it had read.
    pub fn adopt(&mut self, now: Instant, client: ConnectingClient) -> ConnectionKey {
        let key = self.endpoints.open(now, client.protocol, client.durability);
        if let Some(connection) = self.endpoints.connection(key) {
            // Its login, and the way here, are no silence of the Client.
            connection.read_again_at = now;
        }
        self.watch(now, key);
        self.decide_connect(now, key, client.admitted);
        key
    }

    fn decide_connect(&mut self, now: Instant, key: ConnectionKey, admitted: Admitted) {
        let Admitted { mut connect, owner, who, expires_at, data } = admitted;
        if has_ended(now, expires_at) {
            self.endpoints.counters.logins_refused += 1;
            self.reject(now, key, ReasonCode::NotAuthorized);
            return;
        }
        if let Err(reason_code) = self.check_connect(&connect) {
            self.reject(now, key, reason_code);
            return;
        }
        let last_before = self.endpoints.last_record;
        let mut properties =
            ConnAckProperties { authentication_data: data.clone(), ..Default::default() };
        if connect.client_identifier.is_empty() {
            connect.client_identifier = self.assign_client_identifier();
            properties.assigned_client_identifier = Some(connect.client_identifier.clone());
        }
        let known = self.registry.find(&self.endpoints.sessions, &connect.client_identifier);
        if let Some(session) = known {
            let session = &self.endpoints.sessions[session.0];
            if !session.owner.admits(&owner, self.anonymous_may_claim) {
                let stranger = Stranger {
                    client_identifier: session.client_identifier.clone(),
                    owner: session.owner.clone(),
                    client: owner,
                };
                self.reject_stranger(now, key, stranger);
                return;
            }
        }
        let subject = self.subject_of(&who, &connect.client_identifier);
        if let (Some(subject), Some(will)) = (&subject, &connect.will)
            && !self.may_leave(subject, &will_message(will))
        {
            self.reject(now, key, ReasonCode::NotAuthorized);
            return;
        }
        // Who is refused changes nothing: neither takeover nor Clean Start comes before this. A
        // Client that has a session needs no room for another one.
        if known.is_none()
            && let Some((limit, reason_code)) = self.pressure.lets_nobody_in()
        {
            self.count_limit(limit, 1);
            self.reject(now, key, reason_code);
            return;
        }
        if known.is_none() && self.sessions_full() {
            self.count_limit(LimitCause::Sessions, 1);
            self.reject(now, key, ReasonCode::QuotaExceeded);
            return;
        }
        let old = known.and_then(|session| self.endpoints.sessions[session.0].connection);
        let takes_over = old.is_some_and(|_| {
            known.is_some_and(|session| self.endpoints.sessions[session.0].owner == owner)
        });
        if !self.enter_user(&owner, takes_over) {
            self.reject(now, key, ReasonCode::QuotaExceeded);
            return;
        }
        if let Some(old) = old {
            let old = self.endpoints.key_of(old);
            self.disconnect(now, old, ReasonCode::SessionTakenOver);
        }
        // A session that ended with its connection is gone by now [MQTT-3.1.4-3].
        let known = self.registry.find(&self.endpoints.sessions, &connect.client_identifier);
        if !connect.clean_start
            && known.is_some_and(|session| self.endpoints.sessions[session.0].is_undecided())
        {
            self.leave_user(&owner);
            self.park(key, Admitted { connect, owner, who, expires_at, data });
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
        self.endpoints.sessions[session.0].owner.claim(&owner);
        if let Some(subject) = subject {
            self.endpoints.set_subject(session, subject);
        }
        self.configure_session(session, &connect, &mut properties);
        self.attach(key, session);
        self.resume_rates(now, key, session);
        self.limit_login(now, key, expires_at);
        // What CONNACK says of a session, old or new, and of a Will must be true after a crash.
        let gone = self.pending.gone(&connect.client_identifier);
        match self.recorded_since(last_before).or(gone) {
            Some(record) => self.accept_after(now, key, record, resumed.is_some(), properties),
            None => self.accept(now, key, resumed.is_some(), properties),
        }
    }

    /// Lets a Client wait for its CONNACK until this is stored.
    fn accept_after(
        &mut self,
        now: Instant,
        key: ConnectionKey,
        record: RecordNumber,
        session_present: bool,
        properties: ConnAckProperties,
    ) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.waits = true;
            connection.held = true;
        }
        let connack = AfterStored::ConnAck(key, session_present, Box::new(properties));
        let durability = self.durability_of(key);
        self.when_stored(now, record, durability, connack);
    }

    /// Lets a Client wait for its CONNACK until it is known what became of its QoS 2 messages:
    /// those that it sends again would be acknowledged because they were received before.
    fn park(&mut self, key: ConnectionKey, admitted: Admitted) {
        if let Some(connection) = self.endpoints.connection(key) {
            connection.held = true;
            self.pending.parked.push((key, admitted));
        }
    }

    pub(super) fn unpark(&mut self, now: Instant) {
        for (key, admitted) in std::mem::take(&mut self.pending.parked) {
            if let Some(connection) = self.endpoints.connection(key) {
                connection.held = false;
                self.decide_connect(now, key, admitted);
                self.resumed.push(key);
            }
        }
    }

    fn check_connect(&mut self, connect: &Connect) -> Result<(), ReasonCode> {
        if self.needs_store(connect) && !self.endpoints.store_is_ready {
            return Err(ReasonCode::ServerUnavailable);
        }
        self.check_form(connect)
    }

    /// What is wrong with a CONNECT whoever sends it.
    pub(super) fn check_form(&mut self, connect: &Connect) -> Result<(), ReasonCode> {
        if self.stopping {
            return Err(ReasonCode::ServerUnavailable);
        }
        if connect.properties.authentication_method.is_some() && self.login_timeout.is_none() {
            return Err(ReasonCode::BadAuthenticationMethod);
        }
        if let Some(will) = &connect.will {
            let levels = will.topic_name.split('/').count();
            if levels > self.endpoints.limits.topic_levels_max {
                self.count_limit(LimitCause::TopicLevels, 1);
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

    pub(super) fn reject(&mut self, now: Instant, key: ConnectionKey, reason_code: ReasonCode) {
        self.endpoints.touch(key.index);
        let Some(connection) = self.endpoints.connection(key) else { return };
        let properties = ConnAckProperties::default();
        let rejected =
            connection.protocol.reject(now, reason_code, properties, &mut connection.out);
        debug_assert!(rejected.is_ok(), "a CONNECT was just read");
        self.close(key);
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
        session.expires_at = Deadline::NEVER;
        let old_will = session.will.take();
        session.will = connect.will.as_ref().map(|will| {
            Box::new(Will {
                message: will_message(will).detached(),
                message_expiry_interval: will.properties.message_expiry_interval,
                delay_secs: will.properties.will_delay_interval.unwrap_or(0),
                due_at: Deadline::NEVER,
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
        let owner = session.owner.name().cloned();
        let subject = self.endpoints.subject(key).cloned();
        self.endpoints.record(Record::Session {
            client_identifier,
            session_expiry_interval,
            away_since,
            owner,
            subject,
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
                subject: self.endpoints.subject(key).cloned(),
            };
            self.endpoints.record(record);
        } else if had_will {
            self.endpoints.record(Record::WillRemoved { client_identifier });
        }
    }

    /// Gives a session its connection. [`Core::accept`] follows, when that is stored.
    fn attach(&mut self, key: ConnectionKey, session_key: SessionKey) {
        self.endpoints.sessions[session_key.0].connection = Some(key.index);
        if let Some(connection) = self.endpoints.connection(key) {
            connection.session = Some(session_key);
        }
        self.endpoints.newcomer_leaves(key);
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
        if self.endpoints.rights.is_some()
            && let Some(record) = self.give_up_denied(now, session_key)
        {
            // A message whose PUBREL was sent must not come again after a crash.
            self.accept_after(now, key, record, session_present, properties);
            return;
        }
        let Some(connection) = self.endpoints.connection(key) else { return };
        if std::mem::take(&mut connection.waits) {
            connection.held = false;
            connection.read_again_at = now;
            self.resumed.push(key);
        }
        self.endpoints.touch(key.index);
        let session = &mut self.endpoints.sessions[session_key.0];
        let exchanges = session.take_exchanges();
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
}

/// The message of a Will as its Client wrote it.
pub(super) fn will_message(will: &dunlin_protocol::codec::Will) -> Message {
    Message {
        topic_name: will.topic_name.clone(),
        payload: will.payload.clone(),
        qos: will.qos,
        retain: will.retain,
        expires_at: None,
        properties: (!will.properties.message.is_empty())
            .then(|| Arc::new(will.properties.message.clone())),
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
