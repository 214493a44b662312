//! The QoS 1 and 2 messages that one side begins, as they appear on the wire.

use bytes::Bytes;
use dunlin_codec::{Packet, ProtocolVersion, Publish, PublishTopic, QoS, TopicName};
use std::collections::{BTreeMap, VecDeque};

/// The messages from one side to the other, and their answers.
#[derive(Debug)]
pub(super) struct Flow {
    receive_maximum: usize,
    pub(super) packet_size_max: usize,
    topic_alias_maximum: u16,
    aliases: BTreeMap<u16, TopicName>,
    exchanges: BTreeMap<u16, Exchange>,
    begun: u64,
    /// The place in the order of the last PUBLISH, and of the last repeated PUBREL, of this
    /// connection.
    last_publish: u64,
    last_pubrel: u64,
    /// What the receiver owes, in order.
    pubacks_owed: VecDeque<u16>,
    pubrecs_owed: VecDeque<u16>,
    /// What the sender owes, in order.
    pubrels_owed: VecDeque<u16>,
    pub(super) most_under_way: usize,
    pub(super) resent: usize,
}

#[derive(Debug)]
struct Exchange {
    order: u64,
    qos: QoS,
    payload: Bytes,
    released: bool,
    /// Whether its PUBLISH was sent on this connection.
    sent: bool,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            receive_maximum: usize::from(u16::MAX),
            packet_size_max: usize::MAX,
            topic_alias_maximum: 0,
            aliases: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            begun: 0,
            last_publish: 0,
            last_pubrel: 0,
            pubacks_owed: VecDeque::new(),
            pubrecs_owed: VecDeque::new(),
            pubrels_owed: VecDeque::new(),
            most_under_way: 0,
            resent: 0,
        }
    }
}

impl Flow {
    pub(super) fn new_connection(&mut self) {
        *self = Self {
            exchanges: core::mem::take(&mut self.exchanges),
            begun: self.begun,
            most_under_way: self.most_under_way,
            resent: self.resent,
            ..Self::default()
        };
        for exchange in self.exchanges.values_mut() {
            exchange.sent = false;
        }
    }

    /// The Session is gone.
    pub(super) fn forget(&mut self) {
        self.exchanges.clear();
    }

    pub(super) fn set_limits(
        &mut self,
        receive_maximum: Option<u16>,
        packet_size_max: Option<u32>,
        topic_alias_maximum: Option<u16>,
    ) {
        self.receive_maximum = usize::from(receive_maximum.unwrap_or(u16::MAX));
        self.packet_size_max = packet_size_max.map_or(usize::MAX, |size| size as usize);
        self.topic_alias_maximum = topic_alias_maximum.unwrap_or(0);
    }

    /// The side that begins these messages sends a packet.
    pub(super) fn on_sent(&mut self, packet: &Packet, version: ProtocolVersion) {
        match packet {
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::PubRel(pubrel) if !pubrel.reason_code.is_error() => {
                let id = pubrel.packet_identifier.value();
                match self.exchanges.get(&id) {
                    Some(exchange) => {
                        assert!(exchange.released, "PUBREL {id} before PUBREC [MQTT-4.3.3-4]");
                        if self.pubrels_owed.contains(&id) {
                            let owed = self.pubrels_owed.pop_front();
                            assert_eq!(owed, Some(id), "PUBREL out of order [MQTT-4.6.0-4]");
                        } else {
                            assert!(exchange.order > self.last_pubrel, "PUBREL {id} out of order");
                            self.last_pubrel = exchange.order;
                        }
                    }
                    None => assert!(!version.is_v5(), "PUBREL {id} for nothing"),
                }
            }
            _ => {}
        }
    }

    fn on_publish(&mut self, publish: &Publish) {
        self.check_topic(&publish.topic);
        let Some(id) = publish.delivery.packet_identifier() else { return };
        let id = id.value();
        let (qos, dup) = (publish.delivery.qos(), publish.delivery.dup());
        if let Some(exchange) = self.exchanges.get_mut(&id) {
            assert_eq!(
                (exchange.qos, &exchange.payload),
                (qos, &publish.payload),
                "Packet Identifier {id} is in use [MQTT-2.2.1-3] [MQTT-2.2.1-4]"
            );
            assert!(dup, "a repeated PUBLISH {id} without DUP [MQTT-3.3.1-1]");
            assert!(!exchange.released, "PUBLISH {id} after PUBREC [MQTT-4.3.3-6]");
            assert!(!exchange.sent, "PUBLISH {id} twice on one connection [MQTT-4.4.0-1]");
            exchange.sent = true;
            self.resent += 1;
        } else {
            assert!(!dup, "DUP on the first PUBLISH {id} [MQTT-4.3.2-2] [MQTT-4.3.3-2]");
            self.begun += 1;
            let (order, payload) = (self.begun, publish.payload.clone());
            self.exchanges
                .insert(id, Exchange { order, qos, payload, released: false, sent: true });
        }
        let order = self.exchanges[&id].order;
        assert!(order > self.last_publish, "PUBLISH {id} out of order [MQTT-4.6.0-1]");
        self.last_publish = order;
        let under_way = self.exchanges.values().filter(|exchange| exchange.sent).count();
        self.most_under_way = self.most_under_way.max(under_way);
        assert!(
            under_way <= self.receive_maximum,
            "{under_way} messages under way, Receive Maximum is {} [MQTT-4.9.0-2]",
            self.receive_maximum
        );
    }

    fn check_topic(&mut self, topic: &PublishTopic) {
        if let Some(alias) = topic.alias() {
            assert!(alias.value() <= self.topic_alias_maximum, "Topic Alias {alias} is too high");
            match topic.name() {
                Some(name) => {
                    self.aliases.insert(alias.value(), name.clone());
                }
                None => assert!(self.aliases.contains_key(&alias.value()), "{alias} is not set"),
            }
        }
    }

    /// A packet of the side that begins these messages has arrived.
    pub(super) fn on_delivered(&mut self, packet: &Packet) {
        if let Packet::Publish(publish) = packet
            && let Some(id) = publish.delivery.packet_identifier()
        {
            match publish.delivery.qos() {
                QoS::ExactlyOnce => self.pubrecs_owed.push_back(id.value()),
                _ => self.pubacks_owed.push_back(id.value()),
            }
        }
    }

    /// The side that receives these messages sends a packet.
    pub(super) fn on_answer_sent(&mut self, packet: &Packet) {
        match packet {
            Packet::PubAck(ack) => {
                let owed = self.pubacks_owed.pop_front();
                let id = ack.packet_identifier.value();
                assert_eq!(owed, Some(id), "PUBACK out of order [MQTT-4.6.0-2]");
            }
            Packet::PubRec(ack) => {
                let owed = self.pubrecs_owed.pop_front();
                let id = ack.packet_identifier.value();
                assert_eq!(owed, Some(id), "PUBREC out of order [MQTT-4.6.0-3]");
            }
            _ => {}
        }
    }

    /// A packet of the side that receives these messages has arrived.
    pub(super) fn on_answer_delivered(&mut self, packet: &Packet) {
        match packet {
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                self.exchanges.remove(&ack.packet_identifier.value());
            }
            Packet::PubRec(ack) if ack.reason_code.is_error() => {
                self.exchanges.remove(&ack.packet_identifier.value());
            }
            Packet::PubRec(ack) => {
                let id = ack.packet_identifier.value();
                if let Some(exchange) = self.exchanges.get_mut(&id) {
                    exchange.released = true;
                    self.pubrels_owed.push_back(id);
                }
            }
            _ => {}
        }
    }
}
