//! The life of connections and Sessions: CONNECT, CONNACK, DISCONNECT, the end, crashes.

use super::Judge;
use super::connections::{Asked, Connection, Stage, Subscribing, Unsubscribing};
use super::moment::Presence;
use super::promise::Promise;
use super::sessions::{ClientKey, Expiry, LifeId};
use super::subscriptions::Version;
use crate::history::{ConnectionId, DeviceId};
use dunlin_broker::QueuePolicy;
use dunlin_codec::{
    ConnAck, Connect, Disconnect, ProtocolVersion, QoS, ReasonCode, SubAck, Subscribe, UnsubAck,
    Unsubscribe,
};
use dunlin_protocol::Instant;

/// A Session Expiry Interval that never ends.
const NEVER: u32 = u32::MAX;

impl Judge {
    pub(super) fn on_opened(&mut self, id: ConnectionId, device: DeviceId) {
        self.connections.insert(id, Connection::new(id, device, self.moment.at));
    }

    pub(super) fn on_connect_taken(&mut self, id: ConnectionId, connect: &Connect) {
        let moment = self.moment;
        let asked_secs = match (connect.protocol_version.is_v5(), connect.clean_start) {
            (true, _) => connect.properties.session_expiry_interval.unwrap_or(0),
            (false, true) => 0,
            (false, false) => NEVER,
        };
        let expiry_secs = self.rules.granted_expiry(asked_secs);
        let subject = self.subject_of(id, connect);
        let is_let_in = self.is_let_in(id);
        let client = match connect.client_identifier.is_empty() {
            true => self.sessions.nameless(),
            false => self.sessions.client(&connect.client_identifier),
        };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.stage != Stage::Open {
            // A second CONNECT: the broker must end the connection.
            return;
        }
        connection.stage = Stage::Connecting;
        connection.asked = Some(Asked::new(moment, connect, expiry_secs));
        connection.client = Some(client);
        connection.subject = subject;
        // Who is turned away disturbs nobody.
        let rivals = match is_let_in {
            true => self.sessions.of(client).open.clone(),
            false => Vec::new(),
        };
        let mut is_tangled = false;
        for rival in rivals {
            if let Some(rival) = self.connections.get_mut(&rival) {
                rival.rivalled = true;
                is_tangled |= rival.stage == Stage::Connecting;
            }
        }
        let known = self.sessions.of(client);
        known.open.push(id);
        known.is_tangled |= is_tangled;
        if is_tangled && let Some(connection) = self.connections.get_mut(&id) {
            // The earlier CONNECT may be decided later.
            connection.rivalled = true;
        }
        let known = self.sessions.of(client);
        if let (true, Some(life)) = (known.is_tangled, known.life) {
            self.sessions.life_mut(life).doubt();
        }
        self.note_foreign(id);
        self.ask_will(id, client, connect);
    }

    pub(super) fn on_connack_written(&mut self, id: ConnectionId, connack: &ConnAck) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (Some(client), Some(asked)) = (connection.client, connection.asked.clone()) else {
            return;
        };
        if connection.stage != Stage::Connecting {
            return;
        }
        let (device, subject) = (connection.device, connection.subject);
        let owner = self.rules.login_limit.map(|_| connection.login.user.clone());
        let is_refused = connack.reason_code.is_error();
        connection.stage = if is_refused { Stage::Refused } else { Stage::Accepted };
        self.judge_connack_login(id, connack.reason_code);
        self.judge_connack_rights(id, asked.taken.at, connack.reason_code);
        if is_refused {
            return;
        }
        let properties = &connack.properties;
        if let Some(assigned) = &properties.assigned_client_identifier {
            self.sessions.assign(assigned, client);
        }
        let expiry_secs = properties.session_expiry_interval.unwrap_or(asked.expiry_secs);
        let keep_alive_secs = properties.server_keep_alive.unwrap_or(asked.keep_alive_secs);
        if expiry_secs > 0 {
            self.stored.note(asked.taken, self.moment);
        }
        let is_tangled = self.sessions.of(client).is_tangled;
        let life = self.attach(id, client, device, &asked, connack);
        let is_over = self.connections.get(&id).is_some_and(|known| known.over.is_some());
        let latest = self.sessions.life(life).latest;
        let latest = latest.and_then(|latest| self.connections.get(&latest)?.asked.as_ref());
        // It was taken over before its CONNACK was written.
        let is_passed = is_over && latest.is_some_and(|latest| latest.taken > asked.taken);
        let known = self.sessions.life_mut(life);
        known.is_subject_unsure |= known.subject.is_some() && known.subject != subject;
        known.subject = subject;
        known.owner = owner;
        match is_tangled {
            // Another one may have been decided later.
            true => known.maybe_expiry(known.expiry().or(expiry_secs)),
            false => known.set_expiry(Expiry::exactly(expiry_secs)),
        }
        if let Some(size) = asked.packet_size_max
            && asked.version.is_v5()
        {
            known.packet_size_max = known.packet_size_max.min(size);
        }
        let latest = known.latest;
        known.attach(id, device);
        if let Some(latest) = latest.filter(|_| is_passed) {
            // Its session has moved on already, to a connection that may be over too.
            known.latest = Some(latest);
        }
        let is_mixed = known.is_mixed;
        if is_mixed {
            known.owed.clear();
            known.owed_retained.clear();
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.life = Some(life);
        }
        self.arm_will(id);
        self.maybe_untangle(client);
        self.watch_keep_alive(id, keep_alive_secs);
        if let Some(over) = self.connections.get(&id).and_then(|connection| connection.over) {
            // It was over before its CONNACK found room.
            self.leave(id, client, life, over.at);
        }
    }

    /// Finds out which Session a connection uses.
    fn attach(
        &mut self,
        id: ConnectionId,
        client: ClientKey,
        device: DeviceId,
        asked: &Asked,
        connack: &ConnAck,
    ) -> LifeId {
        let known = self.sessions.of(client);
        let (is_tangled, life) = (known.is_tangled, known.life);
        let expiry = Expiry::exactly(asked.expiry_secs);
        if is_tangled {
            for rival in self.sessions.of(client).wills.clone() {
                if rival != id {
                    self.maybe_will(rival);
                }
            }
            let life = life.unwrap_or_else(|| self.sessions.begin(client, device, expiry));
            self.sessions.life_mut(life).doubt();
            return life;
        }
        let presence = life.map_or(Presence::Absent, |life| {
            let now = self.moment.at;
            self.sessions.life(life).presence(asked.taken.at, now, self.rules.lateness)
        });
        let has_flag = asked.version != ProtocolVersion::V3_1;
        let expected = if asked.clean_start { Presence::Absent } else { presence };
        let resumed = match has_flag {
            true => connack.session_present,
            false => expected > Presence::Absent,
        };
        if has_flag && resumed && expected == Presence::Absent {
            let text = "Session Present is 1, and there is no Session".into();
            self.breach(Promise::SessionPresent, &[id], text);
        }
        if has_flag && !resumed && expected == Presence::Certain {
            let text = "Session Present is 0, and there is a Session".into();
            self.breach(Promise::SessionPresent, &[id], text);
        }
        let before = life.map(|life| self.sessions.life(life).expiry());
        let resumed_before = before.filter(|_| resumed && presence > Presence::Absent);
        self.settle_wills_before(client, id, asked.taken, resumed_before);
        match life {
            Some(life) if resumed => {
                let known = self.sessions.life_mut(life);
                if !has_flag && presence < Presence::Certain {
                    known.doubt();
                }
                known.in_doubt = false;
                life
            }
            _ => {
                let life = self.sessions.begin(client, device, expiry);
                self.sessions.life_mut(life).is_merged = resumed;
                life
            }
        }
    }

    pub(super) fn on_disconnect_taken(&mut self, id: ConnectionId, disconnect: &Disconnect) {
        let life = self.life_of(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let is_v5 = connection.is_v5();
        let asked_secs = connection.asked.as_ref().map_or(0, |asked| asked.expiry_secs);
        let is_accepted = connection.stage == Stage::Accepted;
        if let Some(secs) = disconnect.properties.session_expiry_interval
            && is_v5
        {
            if asked_secs == 0 && secs > 0 {
                // [MQTT-3.1.2-23 ff]: an error, and no goodbye.
                return;
            }
            if let Some(life) = life {
                let secs = self.rules.granted_expiry(secs);
                self.sessions.life_mut(life).change_expiry(secs);
            }
        }
        if is_accepted && (!is_v5 || disconnect.reason_code == ReasonCode::Success) {
            self.bid_will_farewell(id);
        }
    }

    pub(super) fn on_malformed(&mut self, id: ConnectionId) {
        let moment = self.moment;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.malformed.get_or_insert(moment);
        }
    }

    /// The broker has ended a connection: its session is away.
    pub(super) fn on_ended(&mut self, id: ConnectionId) {
        let moment = self.moment;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.over.is_some() {
            return;
        }
        connection.over = Some(moment);
        let (client, life) = (connection.client, connection.life);
        self.leave_publishes(id);
        self.leave_unnumbered(id);
        if let (Some(client), Some(life)) = (client, life) {
            self.leave(id, client, life, moment.at);
        } else {
            self.begin_unanswered_will(id);
        }
    }

    /// Nothing more is written to a connection.
    pub(super) fn on_closed(&mut self, id: ConnectionId) {
        self.on_ended(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if std::mem::replace(&mut connection.is_closed, true) || connection.life.is_some() {
            return;
        }
        let stage = connection.stage;
        if let (Some(client), Some(asked)) = (connection.client, connection.asked.clone()) {
            self.leave_unanswered(id, client, &asked, stage);
            self.forget_open(id, client);
        }
    }

    /// A connection has left its session at this moment.
    fn leave(&mut self, id: ConnectionId, client: ClientKey, life: LifeId, at: Instant) {
        let expiry = self.sessions.life(life).expiry();
        self.fire_will(id, at, at, expiry);
        self.sessions.life_mut(life).detach(id, at, at);
        self.forget_open(id, client);
    }

    fn forget_open(&mut self, id: ConnectionId, client: ClientKey) {
        self.sessions.of(client).open.retain(|open| *open != id);
        self.maybe_untangle(client);
    }

    /// All that were under way at once are decided when one is left, and that has its answer.
    fn maybe_untangle(&mut self, client: ClientKey) {
        let known = self.sessions.of(client);
        known.is_tangled &= match known.open[..] {
            [] => false,
            [last] => self
                .connections
                .get(&last)
                .is_some_and(|last| last.stage == Stage::Connecting && last.rivalled),
            _ => true,
        };
    }

    /// A connection ended whose CONNECT was not accepted as far as anybody knows.
    fn leave_unanswered(
        &mut self,
        id: ConnectionId,
        client: ClientKey,
        asked: &Asked,
        stage: Stage,
    ) {
        let now = self.moment.at;
        if stage == Stage::Refused {
            // Who is refused takes nobody over, and ends no Session.
            self.revoke_will(id);
            return;
        }
        if !self.is_let_in(id) {
            self.revoke_will(id);
            return;
        }
        self.maybe_will(id);
        for other in self.sessions.of(client).wills.clone() {
            if other != id {
                self.note_will_ended(other, asked.taken);
                self.maybe_will(other);
            }
        }
        let known = self.connections.get(&id);
        let device = known.map_or(DeviceId(u32::MAX), |known| known.device);
        let subject = known.and_then(|known| known.subject);
        let over = known.and_then(|known| known.over).unwrap_or(self.moment);
        let life = self.sessions.of(client).life.filter(|life| {
            let known = self.sessions.life(*life);
            known.presence(asked.taken.at, now, self.rules.lateness) > Presence::Absent
                || !known.attached.is_empty()
        });
        match life {
            Some(life) => {
                let known = self.sessions.life_mut(life);
                let presence = known.presence(asked.taken.at, now, self.rules.lateness);
                // The session may have ended, and another connection that nobody answered have
                // begun a new one, perhaps this one: Session Present tells nothing of what was
                // before.
                if asked.clean_start || asked.expiry_secs == 0 || presence < Presence::Certain {
                    known.doubt();
                }
                if let Some(size) = asked.packet_size_max {
                    // It may have been accepted, and have met what is too large for it.
                    known.unanswered_sizes.push((size, over));
                }
                known.is_mixed |= device != known.device;
                let expiry = known.expiry().or(asked.expiry_secs);
                known.maybe_expiry(expiry);
                known.maybe_detached(asked.taken.at, now);
                self.doubt_owner(id, life);
            }
            None if asked.expiry_secs > 0 => {
                let expiry = Expiry { min_secs: 0, max_secs: asked.expiry_secs };
                // The earlier one has ended, and comes back if a crash undoes that.
                let earlier = self.sessions.of(client).life;
                let may_return =
                    |life: &LifeId| self.rules.stores && self.sessions.life(*life).may_be_stored();
                let life = match earlier.filter(may_return) {
                    Some(life) => {
                        let known = self.sessions.life_mut(life);
                        known.has_ended = false;
                        known.is_mixed |= device != known.device;
                        known.maybe_expiry(expiry);
                        life
                    }
                    None => self.sessions.begin(client, device, expiry),
                };
                let known = self.sessions.life_mut(life);
                known.subject = known.subject.or(subject);
                known.doubt();
                known.maybe_detached(asked.taken.at, now);
                self.doubt_owner(id, life);
            }
            None => {}
        }
    }

    // ---- subscriptions

    pub(super) fn on_subscribe_taken(&mut self, id: ConnectionId, subscribe: &Subscribe) {
        let moment = self.moment;
        let Some(life) = self.life_of(id) else { return };
        let mut versions = Vec::with_capacity(subscribe.subscriptions.len());
        let mut rights = Vec::with_capacity(subscribe.subscriptions.len());
        for subscription in &subscribe.subscriptions {
            let filter = self.names.filter(&subscription.topic_filter);
            rights.push(self.may_subscribe(life, filter));
            let matching = self.names.filter(subscription.topic_filter.matching_part());
            let known = self.sessions.life_mut(life);
            let before = known.subscribed(filter);
            for older in known.versions.iter_mut().filter(|older| older.filter == filter) {
                older.ending.get_or_insert(moment);
            }
            known.owed_retained.retain(|owed| owed.filter != filter);
            versions.push(known.versions.len());
            known.versions.push(Version {
                filter,
                matching,
                is_shared: subscription.topic_filter.share_name().is_some(),
                options: subscription.options,
                identifier: subscribe.properties.subscription_identifier,
                granted: subscription.options.maximum_qos,
                connection: id,
                taken: moment,
                made: None,
                may_be_gone: false,
                ending: None,
                ended: None,
                before,
            });
        }
        let packet_identifier = subscribe.packet_identifier.value();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.subscribes.push_back(Subscribing { packet_identifier, versions, rights });
        }
    }

    pub(super) fn on_suback_written(&mut self, id: ConnectionId, suback: &SubAck) {
        let moment = self.moment;
        let Some(life) = self.life_of(id) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let is_over = connection.over.is_some();
        let packet_identifier = suback.packet_identifier.value();
        let asked = connection
            .subscribes
            .iter()
            .position(|asked| asked.packet_identifier == packet_identifier)
            .and_then(|at| connection.subscribes.remove(at));
        let Some(asked) = asked.filter(|asked| asked.versions.len() == suback.reason_codes.len())
        else {
            if self.is_stranger(id) {
                return;
            }
            let text = format!("SUBACK {packet_identifier} answers nothing that was asked");
            self.breach(Promise::Answers, &[id], text);
            return;
        };
        let removals: Vec<_> = connection
            .unsubscribes
            .iter()
            .flat_map(|asked| asked.filters.iter().map(|filter| (*filter, asked.taken)))
            .collect();
        self.judge_suback_rights(id, life, &asked, &suback.reason_codes);
        let mut made = Vec::new();
        for (at, reason_code) in asked.versions.into_iter().zip(&suback.reason_codes) {
            let known = self.sessions.life_mut(life);
            let (filter, taken) = (known.versions[at].filter, known.versions[at].taken);
            let granted = QoS::new(reason_code.value());
            let Some(granted) = granted else {
                // A later one that is not answered yet may still replace or remove what was there.
                let later = known.versions[at + 1..]
                    .iter()
                    .filter(|later| later.filter == filter && later.ended.is_none())
                    .map(|later| later.taken);
                let removed = removals
                    .iter()
                    .filter(|(removed, at)| *removed == filter && *at > taken)
                    .map(|(_, at)| *at);
                let later = later.chain(removed).min();
                // It was never there, and what was there stays.
                known.versions[at].ended = Some(taken);
                known.versions[at].ending = Some(taken);
                for older in &mut known.versions[..at] {
                    // Unless another one of this SUBSCRIBE has replaced it.
                    let is_there = older.filter == filter && older.ended.is_none();
                    if is_there && older.ending == Some(taken) {
                        older.ending = later;
                    }
                }
                continue;
            };
            for older in &mut known.versions[..at] {
                if older.filter == filter {
                    older.ended.get_or_insert(moment);
                }
            }
            known.versions[at].granted = granted;
            // Behind an output that nobody read it comes after the end of its connection.
            let is_late = is_over && known.versions[at].may_be_gone;
            if !is_late {
                known.versions[at].made = Some(moment);
            }
            if granted > known.versions[at].options.maximum_qos {
                let text = "more was granted than asked for".into();
                self.breach(Promise::GrantedQos, &[id], text);
            }
            if !is_late {
                made.push(at);
            }
        }
        for at in made {
            let version = self.sessions.life(life).versions[at].clone();
            if version.ending.is_none() {
                self.oblige_retained(life, &version);
            }
        }
    }

    pub(super) fn on_unsubscribe_taken(&mut self, id: ConnectionId, unsubscribe: &Unsubscribe) {
        let moment = self.moment;
        let Some(life) = self.life_of(id) else { return };
        let filters: Vec<_> =
            unsubscribe.topic_filters.iter().map(|filter| self.names.filter(filter)).collect();
        let known = self.sessions.life_mut(life);
        for version in known.versions.iter_mut().filter(|known| filters.contains(&known.filter)) {
            version.ending.get_or_insert(moment);
        }
        known.owed_retained.retain(|owed| !filters.contains(&owed.filter));
        let packet_identifier = unsubscribe.packet_identifier.value();
        if let Some(connection) = self.connections.get_mut(&id) {
            let asked = Unsubscribing { packet_identifier, taken: moment, filters };
            connection.unsubscribes.push_back(asked);
        }
    }

    pub(super) fn on_unsuback_written(&mut self, id: ConnectionId, unsuback: &UnsubAck) {
        let moment = self.moment;
        let Some(life) = self.life_of(id) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let packet_identifier = unsuback.packet_identifier.value();
        let is_v5 = connection.is_v5();
        let asked = connection
            .unsubscribes
            .iter()
            .position(|asked| asked.packet_identifier == packet_identifier)
            .and_then(|at| connection.unsubscribes.remove(at));
        let fits =
            |asked: &Unsubscribing| !is_v5 || asked.filters.len() == unsuback.reason_codes.len();
        let Some(asked) = asked.filter(fits) else {
            if self.is_stranger(id) {
                return;
            }
            let text = format!("UNSUBACK {packet_identifier} answers nothing that was asked");
            self.breach(Promise::Answers, &[id], text);
            return;
        };
        let known = self.sessions.life_mut(life);
        for (at, filter) in asked.filters.iter().enumerate() {
            if unsuback.reason_codes.get(at).is_some_and(|reason_code| reason_code.is_error()) {
                continue;
            }
            for version in &mut known.versions {
                if version.filter == *filter && version.taken < asked.taken {
                    version.ended.get_or_insert(moment);
                }
            }
        }
    }

    // ---- the process

    pub(super) fn on_crashed(&mut self) {
        let now = self.moment.at;
        self.last_crash = Some(self.moment);
        self.maybe_all_wills();
        if self.rules.stores {
            self.crash_wills();
            self.crash_rooms();
        }
        let open: Vec<ConnectionId> = self
            .connections
            .values()
            .filter(|connection| !connection.is_closed)
            .map(|connection| connection.id)
            .collect();
        for id in open {
            self.on_closed(id);
        }
        let policy = self.rules.limits.queue_policy;
        for id in self.sessions.all() {
            let life = self.sessions.life_mut(id);
            life.routed.clear();
            let may_have_dropped = match policy {
                QueuePolicy::DropOldest => life.room.full.is_some(),
                QueuePolicy::KeepLast => true,
                QueuePolicy::DropNewest | QueuePolicy::Refuse => false,
            };
            if may_have_dropped {
                // What was dropped for later ones is there again.
                life.order.clear();
            }
            if self.rules.stores {
                life.survive_crash(now);
            } else {
                life.finish();
                life.forget_all();
            }
        }
        for record in self.messages.values_mut() {
            if record.is_will && record.begun.is_some() && self.rules.stores {
                // That it was published may be forgotten: then it is published again.
                record.after_crash += 1;
            }
            for handed in &mut record.handed {
                handed.is_unsure = true;
            }
        }
        if !self.rules.stores {
            self.groups_owed.clear();
        }
        self.crash_retained();
    }

    pub(super) fn on_restarted(&mut self) {
        let now: Instant = self.moment.at;
        self.store_failed = false;
        if std::mem::take(&mut self.is_stopping) {
            self.on_crashed();
        }
        for id in self.sessions.all() {
            self.sessions.life_mut(id).restart(now);
        }
    }

    pub(super) fn on_forgotten(&mut self, device: DeviceId) {
        self.held.forget(device);
        for id in self.sessions.all() {
            let life = self.sessions.life_mut(id);
            if life.device == device {
                life.is_forgotten = true;
                // What was sent may have been lost with the device.
                let receipts = &life.receipts;
                life.owed.retain(|number, _| !receipts.contains_key(number));
                life.owed_retained.retain(|owed| !receipts.contains_key(&owed.number));
            }
        }
    }
}
