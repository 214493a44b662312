//! The rules of the wire that hold for each packet by itself or within one connection.

use super::Judge;
use super::connections::{Connection, Stage};
use super::deadlines::Deadline;
use super::names::TopicId;
use super::promise::Promise;
use crate::history::ConnectionId;
use dunlin_broker::QueuePolicy;
use dunlin_codec::{Ack, Packet, PacketType, Publish, QoS, ReasonCode};
use dunlin_protocol::Instant;
use hashbrown::HashSet;
use std::collections::VecDeque;
use std::time::Duration;

/// What a connection owes and has under way.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Answers that the broker owes, in order.
    pubacks: VecDeque<u16>,
    pubrecs: VecDeque<u16>,
    pubcomps: VecDeque<u16>,
    /// A stranger has sent a QoS 2 PUBLISH again before its PUBREC: whether that gets one or two
    /// depends on when the first was decided.
    repeats: bool,
    pings: u32,
    /// Exchanges of the broker whose PUBLISH was written to this connection.
    under_way: HashSet<u16>,
    /// Exchanges of the client whose PUBLISH was taken from this connection.
    receiving: HashSet<u16>,
    /// QoS 2 exchanges of the client that certainly count for the broker's Receive Maximum: PUBREC
    /// was written for them, and no PUBREL was taken.
    accepted: HashSet<u16>,
    /// The client has certainly exceeded the broker's Receive Maximum: its connection must end.
    is_beyond: bool,
    /// The broker has said DISCONNECT.
    pub(super) is_over: bool,
    /// Seconds that the client promised to be silent for at most.
    pub(super) keep_alive_secs: u16,
}

impl Wire {
    /// Whether the broker owes an answer.
    fn owes(&self) -> Option<&'static str> {
        if !self.pubacks.is_empty() {
            Some("PUBACK")
        } else if !self.pubrecs.is_empty() {
            Some("PUBREC")
        } else if !self.pubcomps.is_empty() {
            Some("PUBCOMP")
        } else if self.pings > 0 {
            Some("PINGRESP")
        } else {
            None
        }
    }
}

/// The time after which a peer is closed that does not go on with a packet, whatever its Keep Alive.
const REST_PATIENCE: Duration = Duration::from_secs(60);

/// The time after which a silent peer is closed. Spec: [MQTT-3.1.2-22].
fn patience(keep_alive_secs: u16) -> Duration {
    Duration::from_millis(1500 * u64::from(keep_alive_secs))
}

impl Judge {
    /// A packet was taken: what the broker owes for it.
    pub(super) fn watch_taken(&mut self, id: ConnectionId, packet: &Packet, len: usize) {
        let now = self.moment.at;
        let size_max = self.rules.limits.packet_size_max as usize;
        let receive_maximum = usize::from(self.rules.limits.receive_maximum);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.last_taken = now;
        connection.last_heard = now;
        connection.has_rest = false;
        let is_stranger = self.rules.strangers.contains(&connection.device);
        let is_v5 = connection.is_v5();
        let is_malformed = connection.malformed.is_some();
        let wire = &mut connection.wire;
        let was_beyond = wire.is_beyond;
        match packet {
            Packet::Publish(publish) => {
                if let Some(packet_identifier) = publish.delivery.packet_identifier() {
                    let packet_identifier = packet_identifier.value();
                    wire.is_beyond |= is_v5
                        && wire.accepted.len() >= receive_maximum
                        && !wire.accepted.contains(&packet_identifier);
                    wire.receiving.insert(packet_identifier);
                    match publish.delivery.qos() {
                        QoS::ExactlyOnce => {
                            wire.repeats |=
                                is_stranger && wire.pubrecs.contains(&packet_identifier);
                            wire.pubrecs.push_back(packet_identifier);
                        }
                        _ => wire.pubacks.push_back(packet_identifier),
                    }
                }
            }
            Packet::PubRel(ack) => {
                wire.accepted.remove(&ack.packet_identifier.value());
                wire.pubcomps.push_back(ack.packet_identifier.value());
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                wire.under_way.remove(&ack.packet_identifier.value());
            }
            Packet::PubRec(ack) if ack.reason_code.is_error() => {
                wire.under_way.remove(&ack.packet_identifier.value());
            }
            Packet::PingReq => wire.pings += 1,
            _ => {}
        }
        let receiving = wire.receiving.len();
        if receiving > receive_maximum && is_v5 && !is_stranger {
            let text = format!(
                "the client has {receiving} messages under way, the broker takes {receive_maximum}"
            );
            self.breach(Promise::ReceiveMaximum, &[id], text);
        }
        if was_beyond {
            let text = format!("{:?} is taken after too many messages", packet.packet_type());
            self.breach(Promise::ReceiveMaximum, &[id], text);
        }
        if len > size_max {
            let text = format!("the broker takes {len} bytes, its maximum is {size_max}");
            self.breach(Promise::MaximumPacketSize, &[id], text);
        }
        if is_malformed {
            let text = format!("{:?} is taken after what was no packet", packet.packet_type());
            self.breach(Promise::Malformed, &[id], text);
        }
    }

    /// A packet was written: may it be?
    pub(super) fn watch_written(&mut self, id: ConnectionId, packet: &Packet, len: usize) {
        let held = self.connections.get(&id).is_some_and(|connection| {
            self.holds(connection) || self.may_have_waited(connection, packet)
        });
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if held {
            // It is not read before this.
            connection.last_heard = self.moment.at;
        }
        let packet_type = packet.packet_type();
        let asked = connection.asked.as_ref();
        let (packet_size_max, receive_maximum) = match asked {
            Some(asked) if asked.version.is_v5() => {
                (asked.packet_size_max, usize::from(asked.receive_maximum))
            }
            _ => (None, usize::MAX),
        };
        let (stage, is_malformed) = (connection.stage, connection.malformed.is_some());
        let is_gone = connection.is_gone;
        let wire = &mut connection.wire;
        let mut broken: Vec<(Promise, String)> = Vec::new();
        if wire.is_over {
            broken.push((Promise::Handshake, format!("{packet_type:?} after the last packet")));
        }
        if packet_size_max.is_some_and(|max| len > max as usize) {
            let text =
                format!("{packet_type:?} of {len} bytes, the client takes {packet_size_max:?}");
            broken.push((Promise::MaximumPacketSize, text));
        }
        let is_in_place = match packet_type {
            PacketType::ConnAck => {
                stage == Stage::Connecting || (stage == Stage::Open && is_malformed)
            }
            // A CONNECT is taken once it is known who has sent it.
            PacketType::Auth => stage != Stage::Refused,
            _ => stage == Stage::Accepted,
        };
        if !is_in_place {
            broken.push((Promise::Handshake, format!("{packet_type:?} in the stage {stage:?}")));
        }
        let mut answers = |owed: &mut VecDeque<u16>, ack: &Ack| {
            let packet_identifier = ack.packet_identifier.value();
            let place = owed.iter().position(|other| *other == packet_identifier);
            // Of a peer that is gone publishes may be given up that wait for room.
            if place.is_some_and(|place| place == 0 || is_gone) {
                owed.drain(..=place.unwrap_or_default());
                return;
            }
            owed.retain(|other| *other != packet_identifier);
            let text = format!("{packet_type:?} {packet_identifier} is not what is due");
            broken.push((Promise::Answers, text));
        };
        match packet {
            Packet::PubAck(ack) => answers(&mut wire.pubacks, ack),
            Packet::PubRec(ack) if wire.repeats => {
                wire.pubrecs.retain(|other| *other != ack.packet_identifier.value());
            }
            Packet::PubRec(ack) => answers(&mut wire.pubrecs, ack),
            Packet::PubComp(ack) => answers(&mut wire.pubcomps, ack),
            Packet::PingResp => match wire.pings.checked_sub(1) {
                Some(pings) => wire.pings = pings,
                None => broken.push((Promise::Answers, "PINGRESP unasked".into())),
            },
            Packet::Disconnect(_) => wire.is_over = true,
            Packet::ConnAck(connack) => wire.is_over |= connack.reason_code.is_error(),
            Packet::Publish(publish) => {
                if let Some(packet_identifier) = publish.delivery.packet_identifier() {
                    wire.under_way.insert(packet_identifier.value());
                }
                let under_way = wire.under_way.len();
                if under_way > receive_maximum {
                    let text = format!(
                        "{under_way} messages under way, the client takes {receive_maximum}"
                    );
                    broken.push((Promise::ReceiveMaximum, text));
                }
            }
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => {
                broken.push((Promise::Handshake, format!("a server sends {packet_type:?}")));
            }
            _ => {}
        }
        match packet {
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                wire.receiving.remove(&ack.packet_identifier.value());
            }
            Packet::PubRec(ack) if ack.reason_code.is_error() => {
                wire.receiving.remove(&ack.packet_identifier.value());
            }
            Packet::PubRec(ack) => {
                wire.accepted.insert(ack.packet_identifier.value());
            }
            _ => {}
        }
        for (promise, text) in broken {
            self.breach(promise, &[id], text);
        }
    }

    /// PUBREL goes to exchanges that are there, once on each connection [MQTT-4.4.0-1].
    pub(super) fn watch_pubrel(&mut self, id: ConnectionId, ack: &Ack) {
        let Some(life) = self.life_of(id) else { return };
        let packet_identifier = ack.packet_identifier.value();
        let earlier = self.sessions.life(life).in_flight.get(&packet_identifier).copied();
        if let Some(earlier) = earlier
            && !earlier.is_released
            && earlier.connection != id
            && self.may_be_given_up(id, earlier.number)
        {
            // Its message may not be sent again; the exchange is brought to its end all the same.
            if let Some(exchange) =
                self.sessions.life_mut(life).in_flight.get_mut(&packet_identifier)
            {
                exchange.is_released = true;
                exchange.pubrel = Some(id);
            }
            return;
        }
        let life = self.sessions.life_mut(life);
        // What is written late was said before its Session went to another connection.
        let is_late = self.connections.get(&id).is_some_and(|known| known.over.is_some());
        let is_unsure = is_late || life.exchanges_unsure || ack.reason_code.is_error();
        let exchange = life.in_flight.get_mut(&packet_identifier);
        let what = match exchange.filter(|exchange| exchange.is_released) {
            // Of a message that was never heard, and may not be sent again, this is all that comes.
            None if is_unsure
                || self.rights.is_some()
                || !self.connections.get(&id).is_some_and(Connection::is_v5) =>
            {
                return;
            }
            None => "without a PUBREC",
            Some(exchange) => match exchange.pubrel.replace(id) {
                Some(before) if before == id && !is_unsure && !exchange.is_unsure => "again",
                _ => return,
            },
        };
        let text = format!("PUBREL {packet_identifier} {what}");
        self.breach(Promise::PacketIdentifier, &[id], text);
    }

    /// The broker says why it ends a connection.
    pub(super) fn watch_disconnect(&mut self, id: ConnectionId, reason_code: ReasonCode) {
        let now = self.moment.at;
        let Some(connection) = self.connections.get(&id) else { return };
        let is_stranger = self.rules.strangers.contains(&connection.device);
        let is_innocent = connection.malformed.is_none() && !is_stranger;
        let silent_since = connection.last_taken;
        let mut patience = patience(connection.wire.keep_alive_secs);
        if connection.has_rest && (patience.is_zero() || patience > REST_PATIENCE) {
            patience = REST_PATIENCE;
        }
        if connection.asked.as_ref().is_some_and(|asked| asked.taken.at == silent_since) {
            // One worker read its CONNECT, and another one took it a little later.
            patience = patience.saturating_sub(self.rules.lateness);
        }
        let is_mixed = connection.life.is_some_and(|life| self.sessions.life(life).is_mixed);
        match reason_code {
            ReasonCode::SessionTakenOver if !connection.rivalled => {
                let text = "taken over, and nobody else has connected".into();
                self.breach(Promise::Takeover, &[id], text);
            }
            ReasonCode::KeepAliveTimeout if patience.is_zero() || now < silent_since + patience => {
                let text = format!("timed out at {now}, silent since {silent_since}");
                self.breach(Promise::KeepAlive, &[id], text);
            }
            ReasonCode::MalformedPacket
            | ReasonCode::ProtocolError
            | ReasonCode::ReceiveMaximumExceeded
            | ReasonCode::TopicAliasInvalid
                if is_innocent && !is_mixed =>
            {
                let text = format!("ended with {reason_code}, and sent nothing wrong");
                self.breach(Promise::Malformed, &[id], text);
            }
            _ => {}
        }
    }

    /// Starts to watch the Keep Alive of a connection.
    pub(super) fn watch_keep_alive(&mut self, id: ConnectionId, keep_alive_secs: u16) {
        let now = self.moment.at;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.wire.keep_alive_secs = keep_alive_secs;
        // Until its CONNACK it had nothing to say.
        connection.last_heard = now;
        if keep_alive_secs > 0 {
            let deadline = Deadline::KeepAlive { connection: id, overdue: None };
            self.set_deadline(now + patience(keep_alive_secs) + self.rules.lateness, deadline);
        }
    }

    pub(super) fn check_keep_alive(&mut self, id: ConnectionId, overdue: Option<Instant>) {
        let now = self.moment.at;
        let lateness = self.rules.lateness;
        let Some(connection) = self.connections.get(&id) else { return };
        if !connection.is_live() {
            return;
        }
        let silent_since = connection.last_heard;
        let patience = patience(connection.wire.keep_alive_secs);
        let due = silent_since + patience + lateness;
        // A broker that can't write doesn't read: then the silence may be its own.
        let is_own = self.holds(connection)
            || connection.blocked.is_some()
            || connection.wire.owes().is_some();
        let (next, overdue) = if is_own || due > now {
            (due.max(now + patience), None)
        } else if overdue == Some(silent_since) {
            let text = format!("silent since {silent_since}, and still open");
            self.breach(Promise::KeepAlive, &[id], text);
            return;
        } else {
            // Time has leapt: let the broker have its turn.
            (now + lateness, Some(silent_since))
        };
        self.set_deadline(next, Deadline::KeepAlive { connection: id, overdue });
    }

    /// Whether the broker lets a client of MQTT 3.x wait, which knows no Receive Maximum, and does
    /// not read it.
    fn holds(&self, connection: &Connection) -> bool {
        let kept = connection.life.map_or(0, |life| self.sessions.life(life).received.len());
        let held = connection.wire.receiving.len().max(kept);
        !connection.is_v5() && held >= usize::from(self.rules.limits.receive_maximum)
    }

    /// Whether this answers a message of MQTT 3.x that may have waited for room, with its client not
    /// read meanwhile: it can't be told that there is none.
    fn may_have_waited(&self, connection: &Connection, answer: &Packet) -> bool {
        let (Packet::PubAck(ack) | Packet::PubRec(ack)) = answer else { return false };
        let publishing = connection.publishes.get(&ack.packet_identifier.value());
        let Some(publishing) = publishing.filter(|_| !connection.is_v5()) else { return false };
        let may_refuse = self.rules.limits.queue_policy == QueuePolicy::Refuse;
        let was_full = || {
            let full = self.sessions.all().filter_map(|life| self.sessions.life(life).room.full);
            full.max().is_some_and(|full| full >= publishing.taken)
        };
        self.store_may_have_failed_since(publishing.taken) || (may_refuse && was_full())
    }

    /// An exchange with this client that its PUBREC, on this connection or an earlier one, did not
    /// bring any further.
    fn unreleased(&self, connection: &Connection) -> Option<u16> {
        let life = self.sessions.life(connection.life?);
        if life.exchanges_unsure || life.is_mixed || life.is_merged {
            return None;
        }
        let mut exchanges = life.in_flight.iter();
        let open = exchanges.find(|(_, exchange)| exchange.is_released && !exchange.is_unsure)?;
        (!self.is_stranger(connection.id)).then_some(*open.0)
    }

    /// At the end: whoever is there has the answers to what it asked, and has the Client
    /// Identifier for itself.
    pub(super) fn judge_wires(&mut self) {
        let mut broken = Vec::new();
        let any_full = self.sessions.all().any(|life| self.sessions.life(life).room.full.is_some());
        for connection in self.connections.values() {
            if connection.over.is_none() && connection.malformed.is_some() {
                let text = "it sent what is no packet, and is still open".to_owned();
                broken.push((Promise::Malformed, connection.id, text));
            }
            if !connection.is_live() || connection.malformed.is_some() {
                continue;
            }
            if connection.wire.is_beyond {
                let text = "it sent too many messages at once, and is still open".to_owned();
                broken.push((Promise::ReceiveMaximum, connection.id, text));
            }
            let owed = if !connection.subscribes.is_empty() {
                Some("SUBACK")
            } else if !connection.unsubscribes.is_empty() {
                Some("UNSUBACK")
            } else {
                connection.wire.owes()
            };
            // For a full queue a message of MQTT 3.x is held back.
            let is_held = !connection.is_v5() && any_full && !connection.publishes.is_empty();
            if is_held || self.store_failed {
                continue;
            }
            if let Some(owed) = owed {
                broken.push((Promise::Unanswered, connection.id, format!("{owed} never came")));
            }
            if let Some(packet_identifier) = self.unreleased(connection) {
                let text = format!("PUBREL {packet_identifier} never came");
                broken.push((Promise::Unanswered, connection.id, text));
            }
        }
        for client in &self.sessions.clients {
            let live = client
                .open
                .iter()
                .filter(|id| self.connections.get(*id).is_some_and(Connection::is_live));
            if live.clone().count() > 1 {
                for id in live {
                    let text = "its Client Identifier has several connections".to_owned();
                    broken.push((Promise::Takeover, *id, text));
                }
            }
        }
        for (promise, id, text) in broken {
            self.breach(promise, &[id], text);
        }
    }

    /// The Topic Name of a PUBLISH from the client.
    pub(super) fn resolve_alias(&mut self, id: ConnectionId, publish: &Publish) -> Option<TopicId> {
        let topic = publish.topic.name().map(|name| self.names.topic(name));
        let connection = self.connections.get_mut(&id)?;
        match (publish.topic.alias(), topic) {
            (Some(alias), Some(topic)) => {
                connection.aliases.insert(alias.value(), topic);
                Some(topic)
            }
            (Some(alias), None) => connection.aliases.get(&alias.value()).copied(),
            (None, topic) => topic,
        }
    }

    /// The Topic Name of a PUBLISH from the broker.
    pub(super) fn resolve_outbound_alias(
        &mut self,
        id: ConnectionId,
        publish: &Publish,
    ) -> Option<TopicId> {
        let topic = publish.topic.name().map(|name| self.names.topic(name));
        let connection = self.connections.get_mut(&id)?;
        let Some(alias) = publish.topic.alias() else { return topic };
        let maximum = connection.asked.as_ref().map_or(0, |asked| asked.topic_alias_maximum);
        let known = match topic {
            Some(topic) => {
                connection.outbound_aliases.insert(alias.value(), topic);
                Some(topic)
            }
            None => connection.outbound_aliases.get(&alias.value()).copied(),
        };
        if alias.value() > maximum || known.is_none() {
            let text = format!("Topic Alias {} is not one that can be used", alias.value());
            self.breach(Promise::TopicAlias, &[id], text);
        }
        known
    }
}
