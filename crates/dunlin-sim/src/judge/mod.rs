//! The judge: a simple model of MQTT that hears what happened and names every promise that was
//! broken.
//!
//! # What can be known
//!
//! The judge hears what crosses the broker's sockets, and what the applications at the other ends
//! see. From that alone it can't tell *when* the broker did something: only that it had begun when
//! the packet that asks for it was **taken**, and that it was done when its answer was **written**.
//! In between it may have happened or not; without an answer it stays like that for ever. So each
//! fact has two intervals:
//!
//! ```text
//!      SUBSCRIBE taken   SUBACK written      UNSUBSCRIBE taken   UNSUBACK written
//! ───────────┬──────────────────┬───────────────────┬───────────────────┬─────────
//!            │     possible     │      certain      │      possible     │
//! ```
//!
//! A *must* is judged by what is certain: a message is owed to a session whose subscription was
//! certainly there from the moment the PUBLISH was taken until its publisher was told success. A
//! *must not* is judged by what is possible: a message may come if some subscription was possibly
//! there at some moment of that time. Sessions, retained messages and Wills are seen in the same
//! way: each has a time at which it may begin, one at which it certainly has, and the same for its
//! end.
//!
//! Doubt is kept, never guessed away. A CONNECT with Clean Start that is cut before its CONNACK may
//! have ended the Session: what was certain of it is only possible from there on, and nothing is
//! owed, until a CONNACK tells. Two CONNECTs of one Client Identifier under way at once tangle:
//! which was decided first shows in nothing, so all that happens meanwhile is possible and nothing
//! certain. A crash takes back what nobody was told: with a store, what was acknowledged stays
//! certain, and the rest may have been or not; without one, everything is over.
//!
//! Rules and logins are seen in the same way: rules are possible from the moment they are told and
//! certain once every worker goes by them, and a CONNECT counts from the moment at which it is known
//! who has sent it.
//!
//! What is owed is kept until an application is given it, and judged at the end, when the world is
//! at rest: [`Judge::finish`].
//!
//! # What isn't judged
//!
//! At QoS 0 whether a message arrives. What applications see of a Client Identifier that several
//! devices use, each with a Session of its own at its end. Messages to receivers that may have to
//! do without by rule: those with a smaller Maximum Packet Size, a queue that may have been full,
//! an expiry that has come. A QoS 2 message that is sent again to a Client which holds its Packet
//! Identifier for another one, of a Session whose end nobody told it of.

mod connect;
mod connections;
mod deadlines;
mod deliveries;
mod drops;
mod held;
mod latest;
mod login;
mod messages;
mod moment;
mod names;
mod promise;
mod retained;
mod rights;
mod room;
mod rules;
mod sessions;
mod shared;
mod stored;
mod subscriptions;
#[cfg(test)]
mod tests;
mod wills;
mod wire;

pub use promise::{Breach, Promise};
pub use rules::Rules;

use crate::history::{ConnectionId, DeviceId, Event};
use connections::Connection;
use deadlines::Deadline;
use dunlin_codec::{Packet, QoS};
use dunlin_protocol::Instant;
use hashbrown::HashMap;
use held::Held;
use latest::Unnumbered;
use messages::Record;
use moment::Moment;
use names::{Names, TopicId};
use retained::RetainedValues;
use rights::Rights;
use sessions::{ClientKey, LifeId, Sessions};
use shared::GroupOwed;
use std::collections::{BTreeMap, BTreeSet};
use stored::Stored;

/// So many breaches are kept: what follows from the first ones teaches nothing.
const BREACHES_MAX: usize = 50;

/// Hears a history and names the promises that were broken. See the module for how.
#[derive(Debug)]
pub struct Judge {
    rules: Rules,
    moment: Moment,
    breaches: Vec<Breach>,
    names: Names,
    connections: BTreeMap<ConnectionId, Connection>,
    sessions: Sessions,
    messages: HashMap<u64, Record>,
    unnumbered: HashMap<TopicId, Unnumbered>,
    retained: RetainedValues,
    held: Held,
    /// How many messages the broker says that it has dropped for a Client.
    drops: BTreeMap<ClientKey, u64>,
    groups_owed: Vec<GroupOwed>,
    deadlines: BTreeSet<(Instant, Deadline)>,
    last_crash: Option<Moment>,
    stored: Stored,
    is_stopping: bool,
    /// Nothing becomes safe any more, and so nothing is acknowledged.
    store_failed: bool,
    /// Until when the broker may have refused the last time because its store failed.
    refused_until: Option<Instant>,
    /// What the rules say; `None` without any.
    rights: Option<Rights>,
}

impl Judge {
    /// A judge for a broker with these rules.
    pub fn new(rules: Rules) -> Self {
        let rights = Rights::new(&rules);
        Self {
            rights,
            rules,
            moment: Moment::default(),
            breaches: Vec::new(),
            names: Names::default(),
            connections: BTreeMap::new(),
            sessions: Sessions::default(),
            messages: HashMap::new(),
            unnumbered: HashMap::new(),
            retained: RetainedValues::default(),
            held: Held::default(),
            drops: BTreeMap::new(),
            groups_owed: Vec::new(),
            deadlines: BTreeSet::new(),
            last_crash: None,
            stored: Stored::default(),
            is_stopping: false,
            store_failed: false,
            refused_until: None,
        }
    }

    /// Hears what happened next.
    pub fn tell(&mut self, now: Instant, event: Event<'_>) {
        self.moment = Moment { event: self.moment.event + 1, at: now };
        self.meet_deadlines();
        match event {
            Event::Opened { connection, device } => self.on_opened(connection, device),
            Event::Taken { connection, packet, len } => self.on_taken(connection, packet, len),
            Event::Heard { connection } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.last_heard = now;
                    connection.has_rest = true;
                }
            }
            Event::TakenMalformed { connection } => self.on_malformed(connection),
            Event::Written { connection, packet, len } => self.on_written(connection, packet, len),
            Event::PeerGone { connection } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.is_gone = true;
                }
            }
            Event::Blocked { connection } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.blocked.get_or_insert(now);
                }
            }
            Event::Drained { connection } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.blocked = None;
                    // It may not have been read before this.
                    connection.last_heard = now;
                }
            }
            Event::OutputLost { connection } => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.has_lost_output = true;
                }
            }
            Event::Ended { connection } => self.on_ended(connection),
            Event::Closed { connection } => self.on_closed(connection),
            Event::StoreFailed => self.store_failed = true,
            Event::StoreMended => {
                self.store_failed = false;
                self.refused_until = Some(now + self.rules.lateness);
            }
            Event::LoginAsked { connection } => self.on_login_asked(connection),
            Event::LoginAnswered { connection, answer } => {
                self.on_login_answered(connection, answer);
            }
            Event::RulesChanged { rules, .. } => self.on_rules_changed(rules),
            Event::RulesInForce { number } => self.on_rules_in_force(number),
            Event::Arrived { connection, packet } => self.on_arrived(connection, packet),
            Event::FaultsEnded => {}
            Event::Delivered { device, connection, message } => {
                self.on_delivered(device, connection, message);
            }
            Event::Acknowledged { device, number } => self.on_acknowledged(device, number),
            Event::SessionForgotten { device } => self.on_forgotten(device),
            Event::DropsCounted { client_identifier, count } => {
                let client = self.sessions.client(client_identifier);
                self.drops.insert(client, count);
            }
            Event::Crashed => {
                self.is_stopping = false;
                self.on_crashed();
            }
            Event::Stopping => {
                self.is_stopping = true;
                self.maybe_all_wills();
            }
            Event::Restarted => self.on_restarted(),
        }
    }

    /// Judges what was owed: the faults have ended, and the world is at rest.
    pub fn finish(&mut self, now: Instant) {
        self.moment = Moment { event: self.moment.event + 1, at: now };
        self.meet_deadlines();
        self.judge_owed();
        self.judge_groups();
        self.judge_wills();
        self.judge_wires();
        self.judge_drops();
    }

    /// The promises that were broken, in the order in which it was seen.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    fn on_taken(&mut self, id: ConnectionId, packet: &Packet, len: usize) {
        self.watch_taken(id, packet, len);
        self.watch_login(id);
        match packet {
            Packet::Auth(auth) => self.on_auth_taken(id, auth),
            Packet::Connect(connect) => self.on_connect_taken(id, connect),
            Packet::Publish(publish) => self.on_publish_taken(id, publish),
            Packet::PubAck(ack) | Packet::PubComp(ack) => self.on_answer_taken(id, ack, true),
            Packet::PubRec(ack) => self.on_answer_taken(id, ack, false),
            Packet::PubRel(ack) => {
                if let Some(life) = self.life_of(id) {
                    let packet_identifier = ack.packet_identifier.value();
                    self.sessions.life_mut(life).received.remove(&packet_identifier);
                }
            }
            Packet::Subscribe(subscribe) => self.on_subscribe_taken(id, subscribe),
            Packet::Unsubscribe(unsubscribe) => self.on_unsubscribe_taken(id, unsubscribe),
            Packet::Disconnect(disconnect) => self.on_disconnect_taken(id, disconnect),
            _ => {}
        }
    }

    fn on_written(&mut self, id: ConnectionId, packet: &Packet, len: usize) {
        self.watch_written(id, packet, len);
        match packet {
            Packet::ConnAck(connack) => self.on_connack_written(id, connack),
            Packet::Publish(publish) => self.on_publish_written(id, publish),
            Packet::PubAck(ack) => self.on_publish_answered(id, ack, QoS::AtLeastOnce),
            Packet::PubRec(ack) => self.on_publish_answered(id, ack, QoS::ExactlyOnce),
            Packet::PubRel(ack) => self.watch_pubrel(id, ack),
            Packet::SubAck(suback) => self.on_suback_written(id, suback),
            Packet::UnsubAck(unsuback) => self.on_unsuback_written(id, unsuback),
            Packet::Disconnect(disconnect) => {
                self.watch_disconnect(id, disconnect.reason_code);
                self.watch_login_disconnect(id, disconnect.reason_code);
            }
            _ => {}
        }
    }

    /// Whether the peer of a connection keeps to nothing.
    fn is_stranger(&self, id: ConnectionId) -> bool {
        let connection = self.connections.get(&id);
        connection.is_none_or(|connection| self.rules.strangers.contains(&connection.device))
    }

    /// The Session of a connection.
    fn life_of(&self, id: ConnectionId) -> Option<LifeId> {
        self.connections.get(&id)?.life
    }

    fn breach(&mut self, promise: Promise, connections: &[ConnectionId], text: String) {
        self.breach_of(promise, connections, Vec::new(), text);
    }

    fn breach_of(
        &mut self,
        promise: Promise,
        connections: &[ConnectionId],
        mut devices: Vec<DeviceId>,
        text: String,
    ) {
        if self.breaches.len() >= BREACHES_MAX {
            return;
        }
        for id in connections {
            if let Some(connection) = self.connections.get(id)
                && !devices.contains(&connection.device)
            {
                devices.push(connection.device);
            }
        }
        let (at, connections) = (self.moment.at, connections.to_vec());
        self.breaches.push(Breach { promise, at, connections, devices, text });
    }
}
