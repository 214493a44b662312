//! Sessions at the broker: when each may have begun and ended, and what it has.

use super::login::User;
use super::messages::{Exchange, Receipt, Received};
use super::moment::{Moment, Presence};
use super::names::{FilterId, TopicId};
use super::rights::SubjectId;
use super::room::Room;
use super::subscriptions::Version;
use crate::history::{ConnectionId, DeviceId};
use dunlin_codec::QoS;
use dunlin_protocol::Instant;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A Client Identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ClientKey(pub(super) u32);

/// One Session, from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct LifeId(pub(super) usize);

/// A Session Expiry Interval that never ends.
const NEVER: u32 = u32::MAX;

/// All Client Identifiers and their Sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    numbers: HashMap<String, ClientKey>,
    pub(super) clients: Vec<Client>,
    lives: Vec<Life>,
}

/// What is known of a Client Identifier.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// Its present Session, or the last one.
    pub(super) life: Option<LifeId>,
    /// Connections whose CONNECT was taken and that are not closed.
    pub(super) open: Vec<ConnectionId>,
    /// CONNECTs were under way at once: nobody outside knows which was decided first.
    pub(super) is_tangled: bool,
    /// Connections whose Will is not settled.
    pub(super) wills: Vec<ConnectionId>,
}

/// A Session.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) client: ClientKey,
    pub(super) device: DeviceId,
    /// Who uses it, if there are rules.
    pub(super) subject: Option<SubjectId>,
    /// Or somebody else.
    pub(super) is_subject_unsure: bool,
    /// Whose it is; `None` if that is not known, or nobody asks.
    pub(super) owner: Option<User>,
    /// Several devices use it, each with a Session of its own at its end: what the applications
    /// see proves nothing then.
    pub(super) is_mixed: bool,
    /// It may in truth be several, one after the other: counts prove nothing.
    pub(super) is_merged: bool,
    /// It may have ended unseen.
    pub(super) in_doubt: bool,
    /// It has certainly ended.
    pub(super) has_ended: bool,
    pub(super) attached: Vec<ConnectionId>,
    /// The connection that it got last.
    pub(super) latest: Option<ConnectionId>,
    /// How many connections it had.
    pub(super) connections: u32,
    /// Between these it lost its connection.
    away: Option<(Instant, Instant)>,
    expiry: Expiry,
    /// The longest that it ever had: what a broker that has crashed may remember.
    expiry_max_secs: u32,
    /// What it was before a DISCONNECT changed it, which nobody acknowledges: until the next CONNACK
    /// a crash may undo that.
    expiry_before: Option<Expiry>,
    pub(super) versions: Vec<Version>,
    pub(super) receipts: HashMap<u64, Receipt>,
    /// Messages that are owed to its application.
    pub(super) owed: BTreeMap<u64, Moment>,
    /// Messages of QoS 1 and 2 that were certainly routed to it by subscriptions of its own, whatever
    /// became of them, since the broker's last start.
    pub(super) routed: BTreeSet<u64>,
    pub(super) owed_retained: Vec<OwedRetained>,
    /// Exchanges that the broker began.
    pub(super) in_flight: HashMap<u16, Exchange>,
    /// After a crash the broker may not know of exchanges.
    pub(super) exchanges_unsure: bool,
    /// QoS 2 exchanges that the client began.
    pub(super) received: HashMap<u16, Received>,
    /// The last first delivery of each flow.
    pub(super) order: HashMap<Flow, u64>,
    /// What may wait for it.
    pub(super) room: Room,
    /// The smallest Maximum Packet Size of its connections.
    pub(super) packet_size_max: u32,
    /// The Maximum Packet Sizes of CONNECTs that nobody answered, each with the end of its
    /// connection: what is owed since later never met it.
    pub(super) unanswered_sizes: Vec<(u32, Moment)>,
    /// The device lost its end of the Session.
    pub(super) is_forgotten: bool,
}

/// Messages that keep their order: one publisher's Session, Topic Name and QoS, sent and received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) publisher: LifeId,
    pub(super) topic: TopicId,
    pub(super) published: QoS,
    pub(super) delivered: QoS,
}

/// A retained message that a new subscription is to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwedRetained {
    pub(super) topic: TopicId,
    pub(super) filter: FilterId,
    pub(super) number: u64,
    /// When SUBSCRIBE was taken.
    pub(super) since: Moment,
    /// Only while this connection lasts.
    pub(super) connection: Option<ConnectionId>,
}

/// The Session Expiry Interval in seconds: between these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) min_secs: u32,
    pub(super) max_secs: u32,
}

impl Expiry {
    pub(super) const fn exactly(secs: u32) -> Self {
        Self { min_secs: secs, max_secs: secs }
    }

    pub(super) fn or(self, secs: u32) -> Self {
        Self { min_secs: self.min_secs.min(secs), max_secs: self.max_secs.max(secs) }
    }
}

impl Sessions {
    pub(super) fn client(&mut self, client_identifier: &str) -> ClientKey {
        if let Some(key) = self.numbers.get(client_identifier) {
            return *key;
        }
        let key = self.nameless();
        self.numbers.insert(client_identifier.to_owned(), key);
        key
    }

    /// A Client whose Client Identifier the broker chooses.
    pub(super) fn nameless(&mut self) -> ClientKey {
        let key = ClientKey(u32::try_from(self.clients.len()).unwrap_or(u32::MAX));
        self.clients.push(Client::default());
        key
    }

    /// The broker has chosen a Client Identifier.
    pub(super) fn assign(&mut self, client_identifier: &str, key: ClientKey) {
        self.numbers.insert(client_identifier.to_owned(), key);
    }

    pub(super) fn of(&mut self, key: ClientKey) -> &mut Client {
        &mut self.clients[key.0 as usize]
    }

    pub(super) fn life(&self, id: LifeId) -> &Life {
        &self.lives[id.0]
    }

    pub(super) fn life_mut(&mut self, id: LifeId) -> &mut Life {
        &mut self.lives[id.0]
    }

    /// Begins a Session, which replaces the one that the Client Identifier had.
    pub(super) fn begin(&mut self, client: ClientKey, device: DeviceId, expiry: Expiry) -> LifeId {
        let id = LifeId(self.lives.len());
        if let Some(old) = self.of(client).life.replace(id) {
            self.lives[old.0].finish();
        }
        self.lives.push(Life::new(client, device, expiry));
        id
    }

    /// Every Session that ever was.
    pub(super) fn all(&self) -> impl Iterator<Item = LifeId> + use<> {
        (0..self.lives.len()).map(LifeId)
    }

    /// The present Sessions, those in doubt too.
    pub(super) fn present(&self) -> impl Iterator<Item = LifeId> + '_ {
        self.clients
            .iter()
            .filter_map(|client| client.life)
            .filter(|life| !self.lives[life.0].has_ended)
    }
}

impl Life {
    fn new(client: ClientKey, device: DeviceId, expiry: Expiry) -> Self {
        Self {
            client,
            device,
            subject: None,
            is_subject_unsure: false,
            owner: None,
            is_mixed: false,
            is_merged: false,
            in_doubt: false,
            has_ended: false,
            attached: Vec::new(),
            latest: None,
            connections: 0,
            away: None,
            expiry,
            expiry_max_secs: expiry.max_secs,
            expiry_before: None,
            versions: Vec::new(),
            receipts: HashMap::new(),
            owed: BTreeMap::new(),
            routed: BTreeSet::new(),
            owed_retained: Vec::new(),
            in_flight: HashMap::new(),
            exchanges_unsure: false,
            received: HashMap::new(),
            order: HashMap::new(),
            room: Room::default(),
            packet_size_max: u32::MAX,
            unanswered_sizes: Vec::new(),
            is_forgotten: false,
        }
    }

    pub(super) const fn expiry(&self) -> Expiry {
        self.expiry
    }

    pub(super) fn set_expiry(&mut self, expiry: Expiry) {
        self.maybe_expiry(expiry);
        self.expiry_before = None;
    }

    /// It may be another one now: a CONNECT that nobody answered may have changed it.
    pub(super) fn maybe_expiry(&mut self, expiry: Expiry) {
        self.expiry = expiry;
        self.expiry_max_secs = self.expiry_max_secs.max(expiry.max_secs);
    }

    /// Whether the broker may have stored it.
    pub(super) const fn may_be_stored(&self) -> bool {
        self.expiry_max_secs > 0
    }

    /// The smallest Maximum Packet Size that may have kept from it what is owed since then.
    pub(super) fn packet_size_max_since(&self, since: Moment) -> u32 {
        let unanswered = self.unanswered_sizes.iter().filter(|(_, ended)| *ended >= since);
        unanswered.map(|(size, _)| *size).fold(self.packet_size_max, u32::min)
    }

    /// DISCONNECT changes it.
    pub(super) fn change_expiry(&mut self, secs: u32) {
        let before = self.expiry;
        self.set_expiry(Expiry::exactly(secs));
        self.expiry_before = Some(before);
    }

    /// Whether it is there for a CONNECT that was taken then and is decided by now.
    pub(super) fn presence(&self, taken: Instant, now: Instant, lateness: Duration) -> Presence {
        let known = if self.in_doubt { Presence::Possible } else { Presence::Certain };
        if self.has_ended {
            return Presence::Absent;
        }
        let Expiry { min_secs, max_secs } = self.expiry;
        if !self.attached.is_empty() {
            // A takeover ends the connection first, and perhaps the Session with it.
            return match (min_secs, max_secs) {
                (_, 0) => Presence::Absent,
                (0, _) => Presence::Possible,
                _ => known,
            };
        }
        let Some((earliest, latest)) = self.away else { return known };
        if max_secs != NEVER && taken > latest + seconds(max_secs) + lateness {
            Presence::Absent
        } else if min_secs == NEVER || now < earliest + seconds(min_secs) {
            known
        } else {
            Presence::Possible
        }
    }

    /// Whether its expiry can't have ended it by then, though a crash may make that undone.
    pub(super) fn lasts_at(&self, now: Instant) -> bool {
        let Some((earliest, _)) = self.away.filter(|_| self.attached.is_empty()) else {
            return true;
        };
        let min_secs = self.expiry.min_secs;
        min_secs == NEVER || now < earliest + seconds(min_secs)
    }

    pub(super) fn attach(&mut self, connection: ConnectionId, device: DeviceId) {
        self.is_mixed |= device != self.device;
        self.attached.push(connection);
        self.latest = Some(connection);
        self.connections += 1;
        self.away = None;
        self.has_ended = false;
    }

    /// A connection of it ended between these moments.
    pub(super) fn detach(&mut self, connection: ConnectionId, earliest: Instant, latest: Instant) {
        let Some(at) = self.attached.iter().position(|attached| *attached == connection) else {
            return;
        };
        self.attached.swap_remove(at);
        self.owed_retained.retain(|owed| owed.connection != Some(connection));
        if self.attached.is_empty() {
            self.away = Some((earliest, latest));
            if self.expiry.max_secs == 0 {
                self.finish();
            }
        }
    }

    /// A connection that it may have had ended now.
    pub(super) fn maybe_detached(&mut self, earliest: Instant, latest: Instant) {
        if self.attached.is_empty() {
            let since = self.away.map_or(earliest, |(since, _)| since.min(earliest));
            self.away = Some((since, latest));
        }
    }

    /// It has certainly ended: nothing is owed to it any more.
    pub(super) fn finish(&mut self) {
        self.has_ended = true;
        self.owed.clear();
        self.owed_retained.clear();
    }

    /// The broker has lost all that it knew.
    pub(super) fn forget_all(&mut self) {
        self.expiry_max_secs = 0;
        self.in_doubt = false;
    }

    /// From here on nothing of it is certain.
    pub(super) fn doubt(&mut self) {
        self.in_doubt = true;
        self.is_merged = true;
        self.exchanges_unsure = true;
        for version in &mut self.versions {
            version.made = None;
            version.may_be_gone = true;
        }
        self.owed.clear();
        self.owed_retained.clear();
        self.in_flight.clear();
        self.received.clear();
    }

    /// The broker has crashed, and remembers what it stored.
    pub(super) fn survive_crash(&mut self, now: Instant) {
        for connection in std::mem::take(&mut self.attached) {
            self.owed_retained.retain(|owed| owed.connection != Some(connection));
            self.away = Some((now, now));
        }
        self.owed_retained.clear();
        self.exchanges_unsure = true;
        for exchange in self.in_flight.values_mut() {
            exchange.is_unsure = true;
        }
        let ends_with_connection = self.expiry.max_secs == 0;
        if let Some(before) = self.expiry_before.take() {
            self.expiry = self.expiry.or(before.min_secs).or(before.max_secs);
        }
        if self.has_ended || ends_with_connection {
            if self.expiry_max_secs == 0 {
                self.finish();
                return;
            }
            // That it ended may be forgotten.
            self.has_ended = false;
            self.doubt();
            self.expiry = Expiry { min_secs: 0, max_secs: self.expiry_max_secs };
        }
    }

    /// The broker is up again: whether it counts the time of its absence is its own affair.
    pub(super) fn restart(&mut self, now: Instant) {
        if let Some((_, latest)) = &mut self.away {
            *latest = now;
        }
    }

    /// Whether a subscription to this Topic Filter is there now.
    pub(super) fn subscribed(&self, filter: FilterId) -> Presence {
        let mut presence = Presence::Absent;
        for version in self.versions.iter().filter(|version| version.filter == filter) {
            if version.ended.is_some() {
                continue;
            }
            if version.made.is_some() && version.ending.is_none() {
                return Presence::Certain;
            }
            presence = Presence::Possible;
        }
        presence
    }
}

pub(super) fn seconds(secs: u32) -> Duration {
    Duration::from_secs(u64::from(secs))
}
