//! Rounds of messages over a [`Bed`]: the traffic that the brokers get over sockets, and books
//! about what arrived.

use bytes::BytesMut;
use dunlin_protocol::codec::{Decoder, Packet, ProtocolVersion, QoS};

use super::bed::{Bed, ClientNumber};
use super::packets::{
    answer, append, connect, identifier, publish, push_subscription, qos_of, subscribe,
};
use crate::traffic::{FRESH_LEN, Traffic, publisher_identifier, subscriber_identifier};

/// Clients that are connected and subscribed, and what the publishers send in each round.
#[derive(Debug)]
pub struct Rounds {
    bed: Bed,
    qos: QoS,
    publishers: Vec<Publisher>,
    /// Messages of each publisher in each round.
    messages_each: u32,
    /// Deliveries of each round.
    deliveries: u64,
    version: ProtocolVersion,
    is_fresh: bool,
    sent: u32,
}

#[derive(Debug)]
struct Publisher {
    client: ClientNumber,
    topic_names: Vec<String>,
}

impl Rounds {
    /// Connects and subscribes the Clients of `traffic`. In each round each publisher sends
    /// `messages_each` messages, at most as many as its Packet Identifiers allow.
    ///
    /// # Panics
    /// When the traffic can't be said in MQTT, or the core refuses it.
    pub fn new(traffic: &Traffic, version: ProtocolVersion, messages_each: u16) -> Self {
        let qos = qos_of(traffic.qos);
        let mut bed = Bed::new();
        for number in 0..traffic.subscribers() {
            let client = bed.open(version);
            bed.send(client, &connect(&subscriber_identifier(number), version));
            let mut packet = subscribe();
            for topic_filter in traffic.topic_filters(number) {
                push_subscription(&mut packet, &topic_filter, qos);
            }
            bed.send(client, &Packet::Subscribe(packet));
        }
        let mut publishers = Vec::new();
        for number in 0..traffic.publishers() {
            let client = bed.open(version);
            bed.send(client, &connect(&publisher_identifier(number), version));
            let topic_names =
                (0..traffic.topics).map(|topic| traffic.topic_name(number, topic)).collect();
            publishers.push(Publisher { client, topic_names });
        }
        bed.turn();
        while let Some((client, _, received)) = bed.take_received() {
            bed.give_back(client, received);
        }
        let messages_each = u32::from(messages_each);
        Self {
            bed,
            qos,
            publishers,
            messages_each,
            deliveries: traffic.deliveries(messages_each),
            version,
            is_fresh: traffic.is_fresh,
            sent: 0,
        }
    }

    /// Deliveries of each round.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }

    /// All publishers send, and everything is delivered and acknowledged to its end. Each turn of
    /// the broker is made by `turn`; what is outside of it is the Clients' work.
    ///
    /// # Panics
    /// When not exactly the messages arrive that are owed.
    pub fn run(&mut self, payload: &[u8], turn: &mut dyn FnMut(&mut Bed)) {
        self.send_all(payload);
        let mut delivered = 0;
        loop {
            turn(&mut self.bed);
            let mut was_written = false;
            while let Some((client, version, received)) = self.bed.take_received() {
                was_written = true;
                delivered += self.take(client, version, &received);
                self.bed.give_back(client, received);
            }
            if !was_written {
                break;
            }
        }
        assert_eq!(delivered, self.deliveries, "all that is owed was delivered, once");
    }

    fn send_all(&mut self, payload: &[u8]) {
        for message in 0..self.messages_each {
            for publisher in &mut self.publishers {
                let topic = self.sent as usize % publisher.topic_names.len();
                let topic_name = &mut publisher.topic_names[topic];
                if self.is_fresh {
                    topic_name.truncate(topic_name.len() - FRESH_LEN);
                    topic_name.push_str(&format!("{:0FRESH_LEN$x}", self.sent));
                }
                let packet_identifier = identifier(message as u16 + 1);
                let packet = publish(topic_name, payload, self.qos, packet_identifier);
                append(&packet, self.version, self.bed.to_send(publisher.client));
            }
            self.sent += 1;
        }
    }

    /// A Client takes what was written to it, and answers; gives how many messages it got.
    fn take(&mut self, client: ClientNumber, version: ProtocolVersion, received: &[u8]) -> u64 {
        let decoder = Decoder::new(version, u32::MAX);
        let mut input = BytesMut::from(received);
        let mut messages = 0;
        while let Some(packet) = decoder.decode(&mut input).expect("a legal packet") {
            messages += u64::from(matches!(packet, Packet::Publish(_)));
            if let Some(answer) = answer(&packet) {
                append(&answer, version, self.bed.to_send(client));
            }
        }
        assert!(input.is_empty(), "only whole packets are written");
        messages
    }
}
