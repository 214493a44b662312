//! What the broker sends to a subscriber: whether it may, and whether it is what was published.

use super::Judge;
use super::connections::Connection;
use super::messages::{Exchange, Record};
use super::moment::Presence;
use super::names::TopicId;
use super::promise::Promise;
use super::retained::RetainedSending;
use super::rights::PublishAs;
use super::sessions::{LifeId, seconds};
use super::subscriptions::Version;
use crate::history::{ConnectionId, message_number};
use dunlin_codec::{Publish, QoS, SubscriptionIdentifier};
use dunlin_protocol::Instant;
use std::time::Duration;

/// How a PUBLISH stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// It begins an exchange, or has none.
    New,
    /// It repeats the PUBLISH of an exchange.
    Again,
}

impl Judge {
    pub(super) fn on_publish_written(&mut self, id: ConnectionId, publish: &Publish) {
        let Some(topic) = self.resolve_outbound_alias(id, publish) else { return };
        let Some(life) = self.life_of(id) else { return };
        let number = message_number(&publish.payload);
        let is_over = self.connections.get(&id).is_some_and(|connection| connection.over.is_some());
        let known = self.sessions.life(life);
        if is_over && (!known.attached.is_empty() || known.latest != Some(id)) {
            // The rest of an output whose session has moved on, to a connection that may be over
            // too: what its application makes of it is not judged.
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.is_left = true;
            }
            return;
        }
        let sending = self.note_exchange(id, life, publish, number);
        if self.is_stranger(id) {
            // What it has subscribed to is not followed.
            return;
        }
        if self.names.topic_text(topic).starts_with("$SYS/") {
            return;
        }
        self.count_sent(life, number, publish, sending == Sending::New);
        let Some(number) = number else { return };
        let Some(record) = self.messages.get(&number) else {
            let text = format!("message {number} is sent, and nobody published it");
            self.breach(Promise::OnlyWhatIsWanted, &[id], text);
            return;
        };
        if record.is_ambiguous {
            return;
        }
        self.judge_content(id, topic, number, publish);
        if sending == Sending::Again {
            if !self.may_be_sent_again(id, life, number) {
                let text = format!("message {number} is sent again to who may not have it");
                self.breach(Promise::Rights, &[id], text);
            }
            let receipt = self.sessions.life_mut(life).receipts.entry(number).or_default();
            receipt.written[usize::from(publish.delivery.qos().value())] += 1;
            return;
        }
        self.judge_expiry(id, number, publish);
        self.judge_sending(id, life, number, publish);
    }

    /// Follows the exchanges of a session.
    fn note_exchange(
        &mut self,
        id: ConnectionId,
        life: LifeId,
        publish: &Publish,
        number: Option<u64>,
    ) -> Sending {
        let Some(packet_identifier) = publish.delivery.packet_identifier() else {
            return Sending::New;
        };
        let packet_identifier = packet_identifier.value();
        let (qos, dup) = (publish.delivery.qos(), publish.delivery.dup());
        let cost = self.cost(number, publish);
        let earlier = self.sessions.life(life).in_flight.get(&packet_identifier).copied();
        let is_given_up = earlier.is_some_and(|earlier| {
            earlier.connection != id && self.may_be_given_up(id, earlier.number)
        });
        let life = self.sessions.life_mut(life);
        let unsure = life.exchanges_unsure;
        let mut broken = None;
        let known = life.in_flight.get(&packet_identifier).copied();
        let sending = match known {
            Some(known)
                if known.number == number && known.qos == qos && (dup || !known.is_unsure) =>
            {
                if !dup {
                    broken = Some("a repeated PUBLISH without DUP");
                } else if known.is_unsure {
                    // A crash may have undone what was not answered.
                } else if known.is_released {
                    broken = Some("a PUBLISH again after PUBREC");
                } else if known.connection == id {
                    broken = Some("a PUBLISH twice on one connection");
                }
                Sending::Again
            }
            // What came by a Shared Subscription may have been handed on when the connection ended.
            Some(known)
                if known.qos == QoS::AtLeastOnce
                    && known.connection != id
                    && life.versions.iter().any(|version| version.is_shared) =>
            {
                Sending::New
            }
            Some(_) if is_given_up => Sending::New,
            Some(known) if !known.is_unsure => {
                broken = Some("a Packet Identifier that is in use for another message");
                Sending::New
            }
            _ => {
                // What was said on an earlier connection may never have been written.
                if dup && !unsure && life.connections <= 1 {
                    broken = Some("DUP on the first PUBLISH of an exchange");
                }
                Sending::New
            }
        };
        let exchange = Exchange {
            number,
            qos,
            cost,
            connection: id,
            is_released: false,
            pubrel: None,
            is_unsure: false,
        };
        life.in_flight.insert(packet_identifier, exchange);
        if let Some(what) = broken {
            let text = format!("{what}: Packet Identifier {packet_identifier}, message {number:?}");
            self.breach(Promise::PacketIdentifier, &[id], text);
        }
        sending
    }

    /// Topic Name, payload and properties are those of the publisher.
    fn judge_content(&mut self, id: ConnectionId, topic: TopicId, number: u64, publish: &Publish) {
        let Some(record) = self.messages.get(&number) else { return };
        let is_v5 = self.connections.get(&id).is_none_or(Connection::is_v5);
        let properties = |properties: &Option<_>| match properties {
            Some(properties) if is_v5 => Some(std::sync::Arc::clone(properties)),
            _ => None,
        };
        let altered = if record.topic != topic {
            "another Topic Name"
        } else if record.payload != publish.payload {
            "another payload"
        } else if properties(&record.properties) != properties(&publish.properties) {
            "other properties"
        } else {
            return;
        };
        self.breach(Promise::Content, &[id], format!("message {number} has {altered}"));
    }

    /// It is not sent too late, and says how long it is worth sending.
    fn judge_expiry(&mut self, id: ConnectionId, number: u64, publish: &Publish) {
        let now = self.moment.at;
        let Some(record) = self.messages.get(&number) else { return };
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(secs) = record.expiry_secs else {
            if publish.message_expiry_interval.is_some() {
                let text = format!("message {number} never expires, and is sent as if it did");
                self.breach(Promise::MessageExpiry, &[id], text);
            }
            return;
        };
        // Said at some time since then.
        let said = connection.blocked.unwrap_or(now).min(now);
        if publish.delivery.dup() {
            // Its sending began in time, on a connection that never wrote it.
            return;
        }
        let latest = match record.is_will {
            // After a crash it may be published anew, its time with it.
            true => match record.settled {
                Some(settled) if self.last_crash.is_none_or(|crash| crash < settled) => settled.at,
                _ => now,
            },
            false => record.last_taken.at,
        };
        let earliest = record.begun.map_or(record.last_taken.at, |begun| begun.at);
        let text = if said > latest + seconds(secs) + self.rules.lateness {
            format!("message {number} is sent after it has expired")
        } else if connection.is_v5() {
            let Some(told) = publish.message_expiry_interval else {
                let text = format!("message {number} is sent without its Message Expiry Interval");
                self.breach(Promise::MessageExpiry, &[id], text);
                return;
            };
            let slack = Duration::from_secs(1) + self.rules.lateness;
            let told = Duration::from_secs(u64::from(told));
            let most = seconds(secs).saturating_sub(said.saturating_since(latest));
            let least_secs = record.expiry_secs_least.unwrap_or(secs);
            let least = seconds(least_secs).saturating_sub(now.saturating_since(earliest));
            // When a Will was published is known less well than when it was due.
            if told <= most + slack && (record.is_will || told + slack >= least) {
                return;
            }
            format!("message {number} has {told:?} left and not between {least:?} and {most:?}")
        } else {
            return;
        };
        self.breach(Promise::MessageExpiry, &[id], text);
    }

    /// The session wants it, in this way, and not more often than it was published.
    fn judge_sending(&mut self, id: ConnectionId, life_id: LifeId, number: u64, publish: &Publish) {
        let qos = publish.delivery.qos();
        self.note_will_sent(number, id);
        let is_v5 = self.connections.get(&id).is_none_or(Connection::is_v5);
        self.judge_publisher(id, number);
        let said = match publish.delivery.dup() {
            // It was in flight to an earlier connection, which never wrote it.
            true => self.said_since(id).min(self.resumed_since(id)),
            false => self.said_since(id),
        };
        let Some(live) = self.find_live(life_id, number, said) else { return };
        let retained = match publish.retain {
            true => self.judge_retained(life_id, number, publish, is_v5, said),
            false => RetainedSending::Unasked,
        };
        let by_retained = retained == RetainedSending::Right;
        let topic = self.messages.get(&number).map(|record| record.topic);
        let retained_max = match topic {
            Some(topic) if publish.retain => self.retained_sendings(life_id, topic),
            _ => 0,
        };
        let Some(record) = self.messages.get(&number) else { return };
        let life = self.sessions.life(life_id);
        let mut broken = Vec::new();
        let by_live = match live.judge(record, publish, is_v5) {
            Ok(()) => true,
            Err(_) if by_retained => false,
            Err(refused) => {
                let (promise, what) = match retained {
                    RetainedSending::Otherwise(promise, what) => (promise, what),
                    _ => refused,
                };
                broken.push((promise, format!("message {number}: {what}")));
                false
            }
        };
        // How often it may come: at QoS 2, and in all.
        let receipt = life.receipts.get(&number).copied().unwrap_or_default();
        let groups = live.groups + live.denied_groups;
        let routes = u32::from(live.is_direct || live.was_direct) + groups;
        let live_max = record.attempts.max(1) * routes.max(1);
        let (sent, times_max) = match publish.retain {
            false => (receipt.live, live_max),
            true if record.retain => (receipt.retained, live_max + retained_max),
            true => (receipt.retained, retained_max.max(1)),
        };
        let is_shared = groups > 0;
        let after_refusal =
            if self.keeps_what_is_refused(life_id) { record.after_refusal } else { 0 };
        let exactly_max = times_max + after_refusal * routes.max(1);
        let (times, times_max) = match qos {
            QoS::ExactlyOnce if sent[2] >= exactly_max => (sent[2] + 1, exactly_max),
            // Below QoS 2 a crash may undo that it was published, and not that it was sent.
            _ => {
                let times_max = times_max + record.after_crash * routes.max(1);
                // Copies at QoS 1 that come again for a reason are none of another QoS.
                let repeats = qos != QoS::AtLeastOnce && (life.exchanges_unsure || is_shared);
                let repeated = if repeats { sent[1] } else { 0 };
                (sent.iter().sum::<u32>() - repeated + 1, times_max)
            }
        };
        if times > times_max && !life.is_merged {
            let text = format!("message {number} at QoS {} is sent {times} times", qos.value());
            match qos {
                QoS::AtLeastOnce if life.exchanges_unsure || is_shared => {}
                QoS::AtLeastOnce => broken.push((Promise::NoNeedlessCopy, text)),
                QoS::AtMostOnce if is_shared => {}
                _ => broken.push((Promise::ExactlyOnce, text)),
            }
        }
        let only_group = match (live.is_direct, live.groups, live.group) {
            (false, 1, Some(group)) if by_live && !by_retained => Some(group),
            _ => None,
        };
        let receipt = self.sessions.life_mut(life_id).receipts.entry(number).or_default();
        let level = usize::from(qos.value());
        receipt.written[level] += 1;
        receipt.exchanges[level] += 1;
        match publish.retain {
            true => receipt.retained[level] += 1,
            false => receipt.live[level] += 1,
        }
        if let Some(group) = only_group {
            self.note_handed(number, group, life_id, id, qos);
        }
        for (promise, text) in broken {
            self.breach(promise, &[id], text);
        }
    }
}

/// The subscriptions of a session by which a message may have come to it live.
struct Live {
    /// Whether one may exist that is not shared.
    is_direct: bool,
    /// How many Shared Subscriptions may.
    groups: u32,
    group: Option<super::names::FilterId>,
    /// Whether one would, but for No Local.
    is_own: bool,
    /// Whether one would, but for the rules; how many that are shared, and whether one that isn't.
    is_denied: bool,
    denied_groups: u32,
    was_direct: bool,
    /// The least and all possible QoS levels that were granted.
    certain_qos: QoS,
    possible_qos: [bool; 3],
    certain_identifiers: Vec<SubscriptionIdentifier>,
    possible_identifiers: Vec<SubscriptionIdentifier>,
    /// Some one may, some one may not, forward RETAIN as it was published.
    may_keep_retain: bool,
    may_clear_retain: bool,
}

impl Judge {
    /// The subscriptions by which a message may have come to a session, which was said since then.
    fn find_live(&mut self, life_id: LifeId, number: u64, said: Instant) -> Option<Live> {
        let now = self.moment;
        let record = self.messages.get(&number)?;
        let topic = record.topic;
        let mut live = Live::new();
        // A Will may be routed before anything tells that it is due.
        let begun = record.begun.unwrap_or(now);
        let until = record.routed_until();
        for version in &self.sessions.life(life_id).versions {
            // A Shared Subscription may hand a message on at any time.
            let until = until.filter(|_| !version.is_shared);
            if !version.is_possible(begun, until) || !self.names.matches(version.matching, topic) {
                continue;
            }
            let group = version.is_shared.then_some(version.filter);
            let right = self.may_receive(life_id, group, topic, said, now.at);
            if right.presence == Presence::Absent {
                live.is_denied = true;
                // It may have come by it before.
                live.denied_groups += u32::from(version.is_shared);
                live.was_direct |= !version.is_shared;
                continue;
            }
            let cuts = self.possible_cuts(life_id, version, topic, begun.at, now.at);
            let client = self.sessions.life(life_id).client;
            if version.excludes(client, record.publisher) {
                live.is_own = true;
                // Beside others it may count as one that matches.
                live.allow(version, cuts);
                continue;
            }
            live.add(version, version.is_certain(begun, until.unwrap_or(now)), cuts);
        }
        Some(live)
    }

    /// Its publisher had a right to it; of a Will, when it may have been published.
    fn judge_publisher(&mut self, id: ConnectionId, number: u64) {
        let now = self.moment.at;
        let Some(record) = self.messages.get(&number) else { return };
        let begun = record.begun.map_or(now, |begun| begun.at);
        let what = if !record.is_admitted {
            "its publisher may not publish it"
        } else if record.is_will
            && self.may_have_published(number, PublishAs::Will, begun, now) == Presence::Absent
        {
            "its Client may not leave it as a Will"
        } else {
            return;
        };
        self.breach(Promise::Rights, &[id], format!("message {number} is sent, and {what}"));
    }
}

impl Live {
    const fn new() -> Self {
        Self {
            is_direct: false,
            groups: 0,
            group: None,
            is_own: false,
            is_denied: false,
            denied_groups: 0,
            was_direct: false,
            certain_qos: QoS::AtMostOnce,
            possible_qos: [false; 3],
            certain_identifiers: Vec::new(),
            possible_identifiers: Vec::new(),
            may_keep_retain: false,
            may_clear_retain: false,
        }
    }

    /// What it was granted may be cut to one of these.
    fn allow(&mut self, version: &Version, cuts: [bool; 3]) {
        for (level, cut) in cuts.into_iter().enumerate() {
            self.possible_qos[level] |= cut;
        }
        self.possible_identifiers.extend(version.identifier);
        match version.options.retain_as_published {
            true => self.may_keep_retain = true,
            false => self.may_clear_retain = true,
        }
    }

    fn add(&mut self, version: &Version, is_certain: bool, cuts: [bool; 3]) {
        self.allow(version, cuts);
        if version.is_shared {
            if self.group != Some(version.filter) {
                self.groups += 1;
            }
            self.group = Some(version.filter);
            return;
        }
        self.is_direct = true;
        if is_certain {
            let least = cuts.iter().position(|cut| *cut).and_then(|at| QoS::new(at as u8));
            self.certain_qos = self.certain_qos.max(least.unwrap_or(QoS::AtMostOnce));
            self.certain_identifiers.extend(version.identifier);
        }
    }

    /// Whether the PUBLISH is one that these subscriptions may bring about.
    fn judge(
        &self,
        record: &Record,
        publish: &Publish,
        is_v5: bool,
    ) -> Result<(), (Promise, &'static str)> {
        if !self.is_direct && self.groups == 0 {
            return Err(match self.is_own {
                true => (Promise::NoLocal, "it is sent back to its publisher"),
                false if self.is_denied => (Promise::Rights, "its receiver may not have it"),
                false => (Promise::OnlyWhatIsWanted, "no subscription asked for it"),
            });
        }
        let mixes_groups = self.groups > 0;
        let least = if mixes_groups { QoS::AtMostOnce } else { self.certain_qos };
        let qos = publish.delivery.qos();
        let qos_is_right = (least.value()..=2).any(|granted| {
            self.possible_qos[usize::from(granted)]
                && Some(qos) == QoS::new(granted).map(|granted| granted.min(record.qos))
        });
        if !qos_is_right {
            return Err((Promise::GrantedQos, "its QoS is not what was granted"));
        }
        if publish.retain && !(record.retain && self.may_keep_retain) {
            return Err((Promise::RetainFlag, "RETAIN is set on a live message"));
        }
        if !publish.retain && record.retain && !self.may_clear_retain {
            return Err((Promise::RetainFlag, "RETAIN is not kept as published"));
        }
        let told = &publish.subscription_identifiers;
        let is_complete =
            mixes_groups || self.certain_identifiers.iter().all(|known| told.contains(known));
        let is_known = told.iter().all(|told| self.possible_identifiers.contains(told));
        if is_v5 && !(is_complete && is_known) {
            return Err((Promise::SubscriptionIdentifiers, "they are others"));
        }
        Ok(())
    }
}
