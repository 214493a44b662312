//! The clients of a soak that have no part in its messages: one that gets the Wills of all others, one
//! that sets retained messages, and one that subscribes to these again and again.

use super::client::Stage;
use super::soak::{Visit, will_qos};
use super::{Engine, Trouble};
use crate::books::{WillVerdict, is_there};
use crate::error::BenchError;
use crate::frame::{self, Frame};
use crate::layout::{RETAINED, Role};
use crate::packet::{self, Publish};
use crate::payload::{PAYLOAD_MIN, Reading, Stamp};

/// Packet Identifier of all that these clients ask for and set; each has one thing under way at most.
const PACKET_IDENTIFIER: u16 = 1;

impl Engine<'_> {
    /// What a client is there for, if it is one of these.
    fn guest(&self, index: usize) -> Option<Role> {
        let subscriber = index.checked_sub(self.senders.len())?;
        let is_guest = self.soak.is_some() && subscriber >= self.receivers.len();
        is_guest.then(|| self.common.layout.role(subscriber as u32))
    }

    fn guest_index(&self, role: Role) -> Option<usize> {
        (0..self.clients.len()).rev().take(3).find(|&index| self.guest(index) == Some(role))
    }

    /// Handles what only these clients get; false if it is something else.
    pub(super) fn handle_guest(
        &mut self,
        index: usize,
        frame: &Frame<'_>,
    ) -> Result<bool, Trouble> {
        if self.clients[index].stage != Stage::Online {
            return Ok(false);
        }
        let Some(role) = self.guest(index) else { return Ok(false) };
        match (role, frame.first) {
            (Role::Watcher | Role::Visitor, _) if frame.is_publish() => {
                let publish = packet::read_publish(self.plan.version, frame)?;
                self.take_guest_delivery(index, role, &publish, frame.first & 1 == 1);
            }
            (Role::Watcher, frame::PUBREL) => {
                let packet_identifier = frame.packet_identifier()?;
                if let Some(soak) = &mut self.soak {
                    soak.watcher.received.remove(packet_identifier);
                    soak.watcher.carried.remove(packet_identifier);
                }
                self.answer(index, frame::PUBCOMP, packet_identifier);
            }
            (Role::Keeper, frame::PUBACK) => self.handle_retained_set(index, frame),
            (Role::Visitor, frame::SUBACK) => {
                let codes = packet::suback_codes(self.plan.version, frame)?;
                if codes.iter().any(|&code| code > 2) {
                    self.complain("a subscription to retained messages was refused".to_owned());
                }
                self.set_visit(Visit::Open);
                self.end_visit(index);
            }
            (Role::Visitor, frame::UNSUBACK) => self.set_visit(Visit::None),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn answer(&mut self, index: usize, first: u8, packet_identifier: u16) {
        if let Some(link) = &mut self.clients[index].link {
            frame::push_ack(&mut link.output, first, packet_identifier);
        }
    }

    fn set_visit(&mut self, visit: Visit) {
        if let Some(soak) = &mut self.soak {
            soak.visit = visit;
        }
    }

    fn take_guest_delivery(
        &mut self,
        index: usize,
        role: Role,
        publish: &Publish<'_>,
        is_retained: bool,
    ) {
        let packet_identifier = publish.packet_identifier;
        match publish.qos {
            0 => {}
            1 => self.answer(index, frame::PUBACK, packet_identifier),
            _ => {
                self.answer(index, frame::PUBREC, packet_identifier);
                let Some(soak) = &mut self.soak else { return };
                if role == Role::Watcher && !soak.watcher.received.insert(packet_identifier) {
                    if !soak.watcher.carried.remove(packet_identifier) {
                        self.complain("a Will of QoS 2 came twice".to_owned());
                    }
                    return;
                }
            }
        }
        let Some(soak) = &self.soak else { return };
        match (role, soak.payloads.read(publish.payload)) {
            (Role::Watcher, Reading::Whole(stamp)) => self.take_will(stamp, publish),
            (Role::Visitor, Reading::Whole(stamp)) if is_retained => {
                self.take_retained(index, stamp, publish);
            }
            // What changes while it is there comes as any message does.
            (Role::Visitor, Reading::Whole(_)) => {}
            (Role::Visitor, _) if publish.payload.is_empty() && !is_retained => {}
            (Role::Watcher, _) => self.complain("an altered Will has come".to_owned()),
            _ => self.complain("an altered retained message has come".to_owned()),
        }
    }

    fn take_will(&mut self, stamp: Stamp, publish: &Publish<'_>) {
        let (client, connection) = (stamp.publisher as usize, stamp.sequence as u32);
        let Some(soak) = &mut self.soak else { return };
        let layout = &self.common.layout;
        let verdict = soak.wills.book(client, connection);
        let is_repeated = publish.qos == 1 && soak.watcher.was_away;
        let is_as_sent = publish.qos == will_qos(client, layout)
            && layout.will_topic_name(stamp.publisher).as_bytes() == publish.topic_name;
        let complaint = match verdict {
            WillVerdict::Due if is_as_sent => return,
            WillVerdict::Due => "a Will came with another QoS or Topic Name",
            WillVerdict::Doubled if is_repeated => return,
            WillVerdict::Doubled => "a Will came twice",
            WillVerdict::Early => "a Will came of a client that was still there",
            WillVerdict::Revoked => "a Will came of a client that had sent DISCONNECT",
            WillVerdict::Unknown => "a Will came that nobody has",
        };
        self.complain(complaint.to_owned());
    }

    /// A client has all that it needs, or is back.
    pub(super) fn welcome_guest(&mut self, index: usize, is_back: bool) {
        let role = self.guest(index);
        let Some(soak) = &mut self.soak else { return };
        match role {
            Some(Role::Keeper) if soak.keeper.under_way.is_some() => {
                self.push_retained(index, is_back);
            }
            Some(Role::Keeper) => self.set_next_retained(index),
            Some(Role::Watcher) if is_back => self.forgive_wills(),
            _ => {}
        }
    }

    /// A client has lost its connection.
    pub(super) fn miss_guest(&mut self, index: usize) {
        let role = self.guest(index);
        let Some(soak) = &mut self.soak else { return };
        match role {
            Some(Role::Watcher) => {
                soak.watcher.was_away = true;
                soak.watcher.carried.clone_from(&soak.watcher.received);
                self.forgive_wills();
            }
            Some(Role::Visitor) => {
                // Its Session ends, and the subscription with it.
                soak.retained.end();
                soak.visit = Visit::None;
            }
            _ => {}
        }
    }

    /// Wills of QoS 0 may be lost while nobody is there to get them.
    fn forgive_wills(&mut self) {
        let layout = &self.common.layout;
        if let Some(soak) = &mut self.soak {
            soak.wills.forgive(|client| will_qos(client, layout) == 0);
        }
    }

    /// Has so many more retained messages set.
    pub(super) fn set_retained(&mut self, count: u32) {
        let Some(index) = self.guest_index(Role::Keeper) else { return };
        if let Some(soak) = &mut self.soak {
            soak.keeper.wanted = count;
        }
        self.set_next_retained(index);
    }

    fn set_next_retained(&mut self, index: usize) {
        let Some(soak) = &mut self.soak else { return };
        if soak.keeper.under_way.is_some() || self.clients[index].stage != Stage::Online {
            return;
        }
        let Some(wanted) = soak.keeper.wanted.checked_sub(1) else { return };
        soak.keeper.wanted = wanted;
        let topic = soak.keeper.next;
        soak.keeper.next = (topic + 1) % RETAINED;
        soak.keeper.under_way = Some((topic, soak.retained.set(topic as usize)));
        self.push_retained(index, false);
    }

    /// Sends what is under way, for the first time or again.
    fn push_retained(&mut self, index: usize, is_again: bool) {
        let Some(soak) = &self.soak else { return };
        let Some((topic, version)) = soak.keeper.under_way else { return };
        let Some(link) = &mut self.clients[index].link else { return };
        let topic_name = self.common.layout.retained_topic_name(topic);
        let payload_len = if is_there(version) { PAYLOAD_MIN } else { 0 };
        let first = frame::PUBLISH | 0b0011 | if is_again { 0b1000 } else { 0 };
        let head = packet::publish_head(self.plan.version, first, &topic_name, payload_len);
        link.output.extend_from_slice(&head);
        let at = link.output.len() - packet::identifier_before_payload(self.plan.version);
        link.output[at..at + 2].copy_from_slice(&PACKET_IDENTIFIER.to_be_bytes());
        if is_there(version) {
            let stamp = Stamp { publisher: topic, sequence: version, due: 0 };
            soak.payloads.push(&mut link.output, stamp);
        }
        if !link.touched {
            link.touched = true;
            self.tally.touched.push(index);
        }
    }

    /// Leaves no retained message behind.
    pub(crate) fn delete_retained(&mut self) -> Result<(), BenchError> {
        let Some(index) = self.guest_index(Role::Keeper) else { return Ok(()) };
        for topic in 0..RETAINED {
            let Some(link) = &mut self.clients[index].link else { return Ok(()) };
            let topic_name = self.common.layout.retained_topic_name(topic);
            let first = frame::PUBLISH | 1;
            let head = packet::publish_head(self.plan.version, first, &topic_name, 0);
            link.output.extend_from_slice(&head);
        }
        self.flush(index)?;
        self.fence()
    }

    fn handle_retained_set(&mut self, index: usize, frame: &Frame<'_>) {
        let is_refused = packet::reason_code(frame) >= 0x80;
        let Some(soak) = &mut self.soak else { return };
        match soak.keeper.under_way.take() {
            Some((topic, _)) => {
                soak.retained.acknowledge(topic as usize);
                soak.counts.retained_set += 1;
            }
            None => self.tally.out_of_turn += 1,
        }
        if is_refused {
            self.complain("a retained message was refused".to_owned());
        }
        self.set_next_retained(index);
    }

    /// Lets the visitor subscribe, unless it still does.
    pub(super) fn visit(&mut self) {
        let Some(index) = self.guest_index(Role::Visitor) else { return };
        let Some(soak) = &mut self.soak else { return };
        let client = &mut self.clients[index];
        let (Stage::Online, Visit::None, Some(link)) = (client.stage, soak.visit, &mut client.link)
        else {
            return;
        };
        soak.visit = Visit::Asked;
        soak.retained.begin();
        soak.counts.visits += 1;
        let topic_filters = [self.common.layout.retained_topic_filter()];
        let version = self.plan.version;
        packet::push_subscribe(&mut link.output, version, PACKET_IDENTIFIER, &topic_filters, 1);
        if !link.touched {
            link.touched = true;
            self.tally.touched.push(index);
        }
    }

    fn take_retained(&mut self, index: usize, stamp: Stamp, publish: &Publish<'_>) {
        let Some(soak) = &mut self.soak else { return };
        // Behind its end a broker may still send what it had begun with.
        if matches!(soak.visit, Visit::Asked | Visit::Open) {
            let topic_name = self.common.layout.retained_topic_name(stamp.publisher);
            let is_right = soak.retained.book(stamp.publisher as usize, stamp.sequence);
            soak.counts.retained_delivered += u64::from(is_right);
            if !is_right {
                self.complain(
                    "a new subscription got a retained message twice, or one that was replaced or \
                     deleted"
                        .to_owned(),
                );
            } else if topic_name.as_bytes() != publish.topic_name || publish.qos != 1 {
                self.complain("a retained message came with another QoS or Topic Name".to_owned());
            }
        }
        self.end_visit(index);
    }

    /// Gives the subscription up as soon as all has come.
    fn end_visit(&mut self, index: usize) {
        let Some(soak) = &mut self.soak else { return };
        if soak.visit != Visit::Open || soak.retained.owed() > 0 {
            return;
        }
        soak.visit = Visit::Ending;
        soak.retained.end();
        let topic_filters = [self.common.layout.retained_topic_filter()];
        if let Some(link) = &mut self.clients[index].link {
            let version = self.plan.version;
            packet::push_unsubscribe(&mut link.output, version, PACKET_IDENTIFIER, &topic_filters);
        }
    }

    /// Whether anything is missing that only a soak has. Asked for at the end: what subscriptions that
    /// come and go are owed is not counted on the way.
    pub(super) fn owes_guests(&self) -> bool {
        let Some(soak) = &self.soak else { return false };
        let is_loose_owed = || {
            let loose = self.receivers.iter().filter(|receiver| receiver.is_loose);
            loose.into_iter().any(|receiver| {
                receiver.is_asking
                    || receiver.arrivals.publishers().any(|publisher| {
                        let sent = self.senders[publisher as usize].sent;
                        receiver.arrivals.outstanding(publisher, sent) > 0
                    })
            })
        };
        soak.wills.owed() > 0
            || soak.visit != Visit::None
            || soak.keeper.under_way.is_some()
            || self.opening.active > 0
            || !self.opening.queue.is_empty()
            || is_loose_owed()
    }

    /// Takes a note of what has not come.
    pub(super) fn count_missing_guests(&mut self) {
        let Some(soak) = &self.soak else { return };
        let (wills, retained, counts) = (soak.wills.owed(), soak.retained.owed(), soak.counts);
        for (complaint, times) in [
            ("a Will has not come of a connection that was lost", wills),
            ("a retained message has not come to a new subscription", retained),
        ] {
            if times > 0 {
                self.complaints.insert(complaint.to_owned(), times);
            }
        }
        let came = soak.wills.came();
        for (name, value) in [
            ("connections cut", counts.cuts),
            ("connections taken over", counts.takeovers),
            ("goodbyes", counts.goodbyes),
            ("subscriptions and unsubscriptions", counts.subscriptions),
            ("Wills published", came),
            ("retained messages: set or deleted", counts.retained_set),
            ("retained messages: delivered", counts.retained_delivered),
            ("retained messages: new subscriptions", counts.visits),
        ] {
            self.figure(name, value as f64);
        }
    }
}
