//! What holds over the connections of one session: Packet Identifiers, acknowledgements, resends.

use super::Sight;
use crate::exchange::describe;
use dunlin_codec::{Ack, Delivery, Packet, PacketIdentifier, ProtocolVersion, Publish, QoS};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A message of the client that is not acknowledged to the end.
#[derive(Debug)]
struct Theirs {
    publish: Publish,
    /// Sent on the connection that is open now.
    is_of_this_connection: bool,
    /// We have sent PUBREC.
    is_received: bool,
}

/// What is under way between the client and us.
#[derive(Debug)]
pub(super) struct Session {
    version: ProtocolVersion,
    theirs: BTreeMap<PacketIdentifier, Theirs>,
    /// How many connections there were. What was sent on one that the check has lost may never
    /// have been read: from then on nothing is known to be sent for the first time.
    connections: usize,
    requests: BTreeSet<PacketIdentifier>,
    /// What the client owes, in the order in which we sent what it answers.
    pubacks: VecDeque<PacketIdentifier>,
    pubrecs: VecDeque<PacketIdentifier>,
    pubrels: VecDeque<PacketIdentifier>,
    pubcomps: VecDeque<PacketIdentifier>,
    /// Identifiers of messages that we sent on an earlier connection of the session.
    earlier: BTreeSet<PacketIdentifier>,
}

impl Session {
    pub(super) const fn new(version: ProtocolVersion) -> Self {
        Self {
            version,
            theirs: BTreeMap::new(),
            connections: 0,
            requests: BTreeSet::new(),
            pubacks: VecDeque::new(),
            pubrecs: VecDeque::new(),
            pubrels: VecDeque::new(),
            pubcomps: VecDeque::new(),
            earlier: BTreeSet::new(),
        }
    }

    /// A connection was accepted.
    pub(super) fn begin(&mut self, is_resumed: bool) {
        self.connections += 1;
        self.requests.clear();
        for queue in [&mut self.pubacks, &mut self.pubrecs, &mut self.pubcomps] {
            self.earlier.extend(queue.drain(..));
        }
        self.pubrels.clear();
        if is_resumed {
            for theirs in self.theirs.values_mut() {
                theirs.is_of_this_connection = false;
            }
        } else {
            self.theirs.clear();
        }
    }

    /// The check sent this.
    pub(super) fn sent(&mut self, packet: &Packet) {
        match packet {
            Packet::Publish(publish) => match publish.delivery {
                Delivery::AtMostOnce => {}
                Delivery::AtLeastOnce { packet_identifier, .. } => {
                    self.pubacks.push_back(packet_identifier);
                }
                Delivery::ExactlyOnce { packet_identifier, .. } => {
                    self.pubrecs.push_back(packet_identifier);
                }
            },
            Packet::PubRel(ack) => self.pubcomps.push_back(ack.packet_identifier),
            Packet::PubAck(ack) => self.end_theirs(ack, QoS::AtLeastOnce),
            Packet::PubRec(ack) if ack.reason_code.is_error() => {
                self.end_theirs(ack, QoS::ExactlyOnce);
            }
            Packet::PubRec(ack) => {
                if let Some(theirs) = self.theirs.get_mut(&ack.packet_identifier) {
                    theirs.is_received = true;
                }
                self.pubrels.push_back(ack.packet_identifier);
            }
            Packet::PubComp(ack) => self.end_theirs(ack, QoS::ExactlyOnce),
            Packet::SubAck(ack) => {
                self.requests.remove(&ack.packet_identifier);
            }
            Packet::UnsubAck(ack) => {
                self.requests.remove(&ack.packet_identifier);
            }
            _ => {}
        }
    }

    fn end_theirs(&mut self, ack: &Ack, qos: QoS) {
        let id = ack.packet_identifier;
        if self.theirs.get(&id).is_some_and(|theirs| theirs.publish.delivery.qos() == qos) {
            self.theirs.remove(&id);
        }
    }

    /// The client sent this. CONNACK, if there was one, allows so many messages under way.
    pub(super) fn received(
        &mut self,
        packet: &Packet,
        receive_maximum: Option<usize>,
        sight: &mut Sight,
    ) {
        match packet {
            Packet::Publish(publish) => {
                if let Some(id) = publish.delivery.packet_identifier() {
                    self.published(id, publish, sight);
                    self.watch_quota(receive_maximum, sight);
                }
            }
            Packet::Subscribe(subscribe) => self.requested(subscribe.packet_identifier, sight),
            Packet::Unsubscribe(unsubscribe) => {
                self.requested(unsubscribe.packet_identifier, sight);
            }
            Packet::PubAck(ack) => {
                answered(&mut self.pubacks, &self.earlier, ack, "PUBACK", PUBACKS, sight);
            }
            Packet::PubRec(ack) => {
                answered(&mut self.pubrecs, &self.earlier, ack, "PUBREC", PUBRECS, sight);
            }
            Packet::PubComp(ack) => {
                answered(&mut self.pubcomps, &self.earlier, ack, "PUBCOMP", PUBCOMPS, sight);
            }
            Packet::PubRel(ack) => self.released(ack, sight),
            _ => {}
        }
    }

    fn requested(&mut self, id: PacketIdentifier, sight: &mut Sight) {
        let is_free = !self.theirs.contains_key(&id) && !self.requests.contains(&id);
        sight.check("watched/packet-identifiers", is_free, || {
            format!("the Packet Identifier {id} is in use")
        });
        self.requests.insert(id);
    }

    fn published(&mut self, id: PacketIdentifier, publish: &Publish, sight: &mut Sight) {
        let dup = publish.delivery.dup();
        let shown = || describe(&dunlin_codec::Packet::Publish(publish.clone()));
        match self.theirs.get(&id) {
            Some(theirs) if is_same(&theirs.publish, publish) => {
                sight.check("watched/resends-have-dup", dup, || {
                    format!("{} again, without DUP", shown())
                });
                let received = theirs.is_received;
                sight.check("watched/no-publish-after-pubrec", !received, || {
                    format!("{} again after PUBREC", shown())
                });
                if self.version.is_v5() {
                    let this = theirs.is_of_this_connection;
                    sight.check("watched/no-resend-on-the-connection", !this, || {
                        format!("{} again on the same connection", shown())
                    });
                }
            }
            other => {
                let is_free = other.is_none() && !self.requests.contains(&id);
                sight.check("watched/packet-identifiers", is_free, || {
                    format!("{}: the Packet Identifier is in use", shown())
                });
                if self.connections <= 1 {
                    sight.check("watched/first-without-dup", !dup, || {
                        format!("{} was never sent before", shown())
                    });
                }
                if publish.delivery.qos() == QoS::ExactlyOnce {
                    sight.saw("watched/no-publish-after-pubrec");
                }
                if self.version.is_v5() {
                    sight.saw("watched/no-resend-on-the-connection");
                }
            }
        }
        let is_received = self.theirs.get(&id).is_some_and(|theirs| theirs.is_received);
        let theirs = Theirs { publish: publish.clone(), is_of_this_connection: true, is_received };
        self.theirs.insert(id, theirs);
    }

    fn watch_quota(&self, receive_maximum: Option<usize>, sight: &mut Sight) {
        let Some(receive_maximum) = receive_maximum.filter(|_| self.version.is_v5()) else {
            return;
        };
        let count = self.theirs.values().filter(|theirs| theirs.is_of_this_connection).count();
        sight.check("watched/receive-maximum", count <= receive_maximum, || {
            format!("{count} messages under way where CONNACK allows {receive_maximum}")
        });
    }

    fn released(&mut self, ack: &Ack, sight: &mut Sight) {
        let id = ack.packet_identifier;
        let place = self.pubrels.iter().position(|owed| *owed == id);
        let was_received = self.theirs.get(&id).is_some_and(|theirs| theirs.is_received);
        sight.check("watched/pubrel-answers", place.is_some() || was_received, || {
            format!("PUBREL for {id}, for which there was no PUBREC")
        });
        if let Some(place) = place {
            sight.check("watched/pubrel-order", place == 0, || {
                format!("PUBREL for {id} before that for {}", self.pubrels[0])
            });
            self.pubrels.remove(place);
        }
    }
}

/// The rules about one kind of acknowledgement: that it answers something, and that it comes in its
/// turn.
type Rules = (&'static str, Option<&'static str>);
const PUBACKS: Rules = ("watched/puback-answers", Some("watched/puback-order"));
const PUBRECS: Rules = ("watched/pubrec-answers", Some("watched/pubrec-order"));
const PUBCOMPS: Rules = ("watched/pubcomp-answers", None);

fn answered(
    owed: &mut VecDeque<PacketIdentifier>,
    earlier: &BTreeSet<PacketIdentifier>,
    ack: &Ack,
    name: &str,
    (answers, order): Rules,
    sight: &mut Sight,
) {
    let id = ack.packet_identifier;
    let place = owed.iter().position(|owed| *owed == id);
    sight.check(answers, place.is_some() || earlier.contains(&id), || {
        format!("{name} for {id}, which answers nothing")
    });
    let Some(place) = place else { return };
    if let Some(order) = order {
        sight.check(order, place == 0, || format!("{name} for {id} before that for {}", owed[0]));
    }
    owed.remove(place);
}

/// Whether it is the same message, sent again.
fn is_same(one: &Publish, other: &Publish) -> bool {
    one.delivery.qos() == other.delivery.qos()
        && one.payload == other.payload
        && one.retain == other.retain
        && match (one.topic.name(), other.topic.name()) {
            (Some(one), Some(other)) => one == other,
            // By its alias a name may be the same.
            _ => true,
        }
}
