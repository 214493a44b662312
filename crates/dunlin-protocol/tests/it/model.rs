//! Random runs over a link that breaks at any byte, judged by a simple model of QoS 0, 1 and 2.
//!
//! The model knows what was published and what must have come of it once faults stop; the observer
//! in [`Pair`] judges the wire on the way there.

use dunlin_protocol::codec::{ProtocolVersion, QoS, ReasonCode};
use dunlin_protocol::{ClientEvent, Message, PublishError, PublishEvent, ServerEvent};
use dunlin_testkit::{LinkOptions, Pair, Random, Side, for_each_seed};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const RUNS: u64 = 2_000;

#[test]
fn nothing_is_lost_doubled_or_reordered() {
    let mut totals = Totals::default();
    for_each_seed(RUNS, |seed| {
        let mut run = Run::new(seed);
        run.go();
        totals.add(&run);
    });
    totals.check();
}

/// What the runs have met together: a test that never gets into trouble proves little.
#[derive(Debug, Default)]
struct Totals {
    runs: u64,
    delivered: usize,
    connections: u64,
    resent: usize,
    repeated: usize,
}

impl Totals {
    fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.connections += run.connections;
        for side in [Side::Client, Side::Server] {
            self.resent += run.pair.observer.resent(side);
        }
        for model in [&run.up, &run.down] {
            self.delivered += model.delivered.values().sum::<usize>();
            self.repeated += model.delivered.values().filter(|times| **times > 1).count();
        }
    }

    fn check(&self) {
        if self.runs == RUNS {
            assert!(self.connections > 3 * RUNS, "{self:?}");
            assert!(self.resent > RUNS as usize, "{self:?}");
            assert!(self.repeated > 100, "{self:?}");
            assert!(self.delivered > 10 * RUNS as usize, "{self:?}");
        }
    }
}

/// One direction: what was published, and what came of it.
#[derive(Debug, Default)]
struct Model {
    published: Vec<QoS>,
    acknowledged: BTreeSet<u32>,
    delivered: BTreeMap<u32, usize>,
    /// The last first delivery at each QoS.
    latest: [Option<u32>; 3],
}

impl Model {
    fn on_delivered(&mut self, publish: &PublishEvent) {
        let number = number(&publish.message);
        let qos = self.published[number as usize];
        assert_eq!(publish.message.qos, qos);
        let times = self.delivered.entry(number).or_default();
        *times += 1;
        if *times == 1 {
            let latest = &mut self.latest[usize::from(qos.value())];
            assert!(*latest < Some(number), "{number} after {latest:?} at {qos:?}");
            *latest = Some(number);
        } else {
            assert_eq!(qos, QoS::AtLeastOnce, "{number} was delivered {times} times at {qos:?}");
            assert!(publish.dup, "{number} came again without DUP");
        }
    }

    fn on_acknowledged(&mut self, number: u32) {
        assert!(self.acknowledged.insert(number), "{number} was acknowledged twice");
    }

    fn check_end(&self) {
        for (number, qos) in self.published.iter().enumerate() {
            let number = number as u32;
            let times = self.delivered.get(&number).copied().unwrap_or(0);
            match qos {
                QoS::AtMostOnce => assert!(times <= 1, "{number} at QoS 0: {times} times"),
                QoS::AtLeastOnce => assert!(times >= 1, "{number} at QoS 1 was lost"),
                QoS::ExactlyOnce => assert_eq!(times, 1, "{number} at QoS 2"),
            }
            let awaited = *qos != QoS::AtMostOnce;
            assert_eq!(self.acknowledged.contains(&number), awaited, "{number} at {qos:?}");
        }
    }
}

struct Run {
    random: Random,
    pair: Pair,
    up: Model,
    down: Model,
    /// The numbers of messages by Packet Identifier, for the outcome of QoS 2.
    up_identifiers: BTreeMap<u16, u32>,
    down_identifiers: BTreeMap<u16, u32>,
    connections: u64,
    messages_max: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let version = *random.pick(&[
            ProtocolVersion::V3_1,
            ProtocolVersion::V3_1_1,
            ProtocolVersion::V5,
            ProtocolVersion::V5,
        ]);
        let mut pair = Pair::new(version);
        pair.acknowledge = random.chance(30);
        let messages_max = random.between(5..=40) as usize;
        Self {
            random,
            pair,
            up: Model::default(),
            down: Model::default(),
            up_identifiers: BTreeMap::new(),
            down_identifiers: BTreeMap::new(),
            connections: 0,
            messages_max,
        }
    }

    fn go(&mut self) {
        for _ in 0..self.random.between(50..=300) {
            self.act();
            self.observe();
        }
        // Faults stop, and everything must come to its end.
        for _ in 0..2_000 {
            if self.pair.client.is_none() {
                self.connect();
            }
            self.acknowledge_some(100);
            self.pair.advance(Duration::from_millis(100));
            self.observe();
            if self.is_done() {
                break;
            }
        }
        assert!(self.pair.client().connection.session().is_empty(), "the Client's Session");
        assert!(self.pair.server().connection.session().is_empty(), "the Server's Session");
        self.up.check_end();
        self.down.check_end();
    }

    fn is_done(&mut self) -> bool {
        let Some(client) = &self.pair.client else { return false };
        let Some(server) = &self.pair.server else { return false };
        client.connection.is_connected()
            && server.connection.is_connected()
            && client.connection.session().is_empty()
            && server.connection.session().is_empty()
            && self.pair.up.is_empty()
            && self.pair.down.is_empty()
    }

    fn act(&mut self) {
        if self.pair.client.is_none() {
            if self.random.chance(40) {
                self.connect();
            }
            // A Server that doesn't know goes on for a while.
            self.publish_down();
            return;
        }
        match self.random.below(100) {
            0..20 => self.publish_up(),
            20..40 => self.publish_down(),
            40..60 => self.acknowledge_some(1),
            60..63 => {
                let bytes = self.random.below(60);
                if self.random.chance(50) {
                    self.pair.up.cut_after(bytes);
                } else {
                    self.pair.down.cut_after(bytes);
                }
            }
            63..65 => {
                if self.random.chance(50) {
                    self.pair.cut();
                } else {
                    self.pair.cut_unnoticed();
                }
            }
            _ => {
                let micros = self.random.below(5_000);
                self.pair.advance(Duration::from_micros(micros));
            }
        }
    }

    fn connect(&mut self) {
        self.connections += 1;
        let random = &mut self.random;
        self.pair.link_options = LinkOptions {
            latency: Duration::from_micros(random.below(3_000)),
            bytes_per_second: random.chance(50).then(|| random.between(2_000..=200_000)),
            part_len_max: random.between(1..=200) as usize,
        };
        // Another Receive Maximum each time, so that a resumed Session can have too much in flight.
        self.pair.server_config.receive_maximum = random.between(1..=6) as u16;
        self.pair.server_config.topic_alias_maximum = random.below(4) as u16;
        let is_v5 = self.pair.client_config.connect.protocol_version.is_v5();
        let properties = &mut self.pair.client_config.connect.properties;
        properties.receive_maximum = is_v5.then(|| random.between(1..=6) as u16);
        properties.topic_alias_maximum = is_v5.then(|| random.below(4) as u16);
        self.pair.client_config.in_flight_max = random.between(1..=10) as u16;
        self.pair.connect();
    }

    fn message(&mut self, number: usize) -> Arc<Message> {
        let topics = ["t", "sensors/one", "sensors/two", "sensors/three", "sensors/four"];
        let topic_name = self.random.pick(&topics).parse().unwrap();
        let mut payload = (number as u32).to_be_bytes().to_vec();
        let padding = if self.random.chance(5) { 5_000 } else { 10 };
        payload.resize(4 + self.random.index(padding), 0xDA);
        let mut message = Message::new(topic_name, payload);
        message.qos = QoS::new(self.random.below(3) as u8).unwrap();
        Arc::new(message)
    }

    fn publish_up(&mut self) {
        if self.up.published.len() == self.messages_max {
            return;
        }
        let message = self.message(self.up.published.len());
        let now = self.pair.now();
        let client = self.pair.client();
        match client.connection.publish(now, &message, &mut client.out) {
            Ok(identifier) => {
                if let Some(identifier) = identifier {
                    let number = self.up.published.len() as u32;
                    self.up_identifiers.insert(identifier.value(), number);
                }
                self.up.published.push(message.qos);
            }
            Err(PublishError::NotConnected | PublishError::QuotaExhausted) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn publish_down(&mut self) {
        if self.down.published.len() == self.messages_max {
            return;
        }
        let message = self.message(self.down.published.len());
        let now = self.pair.now();
        let Some(server) = &mut self.pair.server else { return };
        let (connection, out) = (&mut server.connection, &mut server.out);
        match connection.publish(now, &message, message.qos, false, &[], out) {
            Ok(identifier) => {
                if let Some(identifier) = identifier {
                    let number = self.down.published.len() as u32;
                    self.down_identifiers.insert(identifier.value(), number);
                }
                self.down.published.push(message.qos);
            }
            Err(PublishError::NotConnected | PublishError::QuotaExhausted) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The owners acknowledge up to so many messages and releases, in any order.
    fn acknowledge_some(&mut self, count: usize) {
        let now = self.pair.now();
        for _ in 0..count {
            if let Some(client) = &mut self.pair.client
                && !client.owed.is_empty()
                && client.connection.is_connected()
            {
                let index = self.random.index(client.owed.len());
                client.acknowledge(now, index, ReasonCode::Success);
            }
            if let Some(server) = &mut self.pair.server
                && !server.owed.is_empty()
                && server.connection.is_connected()
            {
                let index = self.random.index(server.owed.len());
                server.acknowledge(now, index, ReasonCode::Success);
            }
        }
    }

    /// Tells the model what happened.
    fn observe(&mut self) {
        let events = self.pair.take_client_events();
        for event in events {
            match event {
                ClientEvent::Publish(publish) => self.down.on_delivered(&publish),
                ClientEvent::Acknowledged(outcome) => {
                    let identifier = outcome.packet_identifier.value();
                    let number = self.up_identifiers.remove(&identifier).expect("in flight");
                    self.up.on_acknowledged(number);
                }
                ClientEvent::Connected { lost, .. } => assert!(lost.is_empty(), "{lost:?}"),
                ClientEvent::Released(_) | ClientEvent::Received { .. } => {}
                event => panic!("{event:?}"),
            }
        }
        let events = self.pair.take_server_events();
        for event in events {
            match event {
                ServerEvent::Publish(publish) => self.up.on_delivered(&publish),
                ServerEvent::Acknowledged(outcome) => {
                    let identifier = outcome.packet_identifier.value();
                    let number = self.down_identifiers.remove(&identifier).expect("in flight");
                    self.down.on_acknowledged(number);
                }
                ServerEvent::Connect(_) | ServerEvent::Released(_) | ServerEvent::Received(_) => {}
                event => panic!("{event:?}"),
            }
        }
    }
}

fn number(message: &Message) -> u32 {
    u32::from_be_bytes(message.payload[..4].try_into().unwrap())
}
