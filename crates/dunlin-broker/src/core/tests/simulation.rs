//! A seeded simulation: real Clients on workers that are stepped in random order, with cuts,
//! takeovers, slow stores, crashes and passing time, judged by a model that knows only what Clients
//! saw.

use super::broker::{Broker, Link};
use super::packets::{ConnectExt, connect, connect_v311, will};
use crate::Limits;
use crate::core::DropCause;
use bytes::BytesMut;
use dunlin_protocol::codec::{
    Connect, Disconnect, PacketIdentifier, QoS, ReasonCode, SubscribeProperties, Subscription,
    SubscriptionOptions, TransmitBuf,
};
use dunlin_protocol::{
    ClientConfig, ClientConnection, ClientEvent, Instant, Message, Progress, Session,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const TOPICS: [&str; 4] = ["t/0", "t/1", "t/2", "t/0/deep"];
const FILTERS: [&str; 5] = ["t/0", "t/+", "t/#", "#", "t/1"];

/// SplitMix64: all randomness of a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What the model remembers of a message.
struct Sent {
    publisher: usize,
    topic_name: &'static str,
    qos: QoS,
    /// The Clients whose subscriptions match, each with the QoS that it gets.
    owed: Vec<(usize, QoS)>,
}

/// A Client that keeps its Session, and its present connection.
struct Client {
    name: String,
    is_v5: bool,
    filters: Vec<(&'static str, QoS)>,
    session: Session,
    connection: Option<(ClientConnection, Link)>,
    /// Publishes under way, by their Packet Identifiers.
    under_way: BTreeMap<PacketIdentifier, usize>,
    /// What arrived, in its order.
    received: Vec<(usize, QoS)>,
    subscribed: bool,
    /// The number of the present connection, and the Will Delay Interval that it has.
    incarnation: usize,
    will_delay: u32,
    /// A Will that waits for its delay.
    will_due: Option<(usize, Instant)>,
    /// The last of its connections that was accepted.
    accepted: usize,
}

/// The Client that gets the Wills.
const WATCHER: usize = 0;

struct Simulation {
    random: Random,
    broker: Broker,
    clients: Vec<Client>,
    /// Whether the broker crashes now and then.
    crashes: bool,
    has_crashed: bool,
    sent: Vec<Sent>,
    acknowledged: BTreeSet<usize>,
    wills_due: BTreeSet<String>,
    /// Wills that may or may not come: a crash left open what had been stored of their Clients.
    wills_open: BTreeSet<String>,
    wills_seen: BTreeSet<String>,
}

fn matches(topic_filter: &str, topic_name: &str) -> bool {
    let mut names = topic_name.split('/');
    for level in topic_filter.split('/') {
        match (level, names.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

impl Simulation {
    fn new(seed: u64, crashes: bool) -> Self {
        let mut random = Random(seed);
        let workers = 1 + u8::try_from(random.below(3)).expect("few");
        let limits = Limits {
            sys_interval_secs: 0,
            receive_maximum: 1 + u16::try_from(random.below(20)).expect("few"),
            output_bytes_max: [4096, 1 << 20][random.below(2)],
            ..Limits::default()
        };
        let stores = crashes || random.chance(50);
        let broker = Broker::build(workers, limits, stores);
        let clients = (WATCHER..3 + random.below(5))
            .map(|at| Client {
                name: format!("client-{at}"),
                is_v5: random.chance(60),
                filters: match at {
                    WATCHER => vec![("w/#", QoS::ExactlyOnce)],
                    _ => (0..random.below(4))
                        .map(|_| (FILTERS[random.below(5)], super::QOS[random.below(3)]))
                        .collect(),
                },
                session: Session::new(),
                connection: None,
                under_way: BTreeMap::new(),
                received: Vec::new(),
                subscribed: false,
                incarnation: 0,
                will_delay: 0,
                will_due: None,
                accepted: 0,
            })
            .collect();
        Self {
            random,
            broker,
            clients,
            crashes,
            has_crashed: false,
            sent: Vec::new(),
            acknowledged: BTreeSet::new(),
            wills_due: BTreeSet::new(),
            wills_open: BTreeSet::new(),
            wills_seen: BTreeSet::new(),
        }
    }

    fn run(mut self, steps: usize) {
        for at in 0..self.clients.len() {
            self.connect(at, false);
            self.settle();
            let client = &mut self.clients[at];
            let now = self.broker.now;
            let filters = client.filters.clone();
            if !filters.is_empty() {
                let subscriptions = filters.iter().map(|(filter, qos)| Subscription {
                    topic_filter: filter.parse().expect("a legal Topic Filter"),
                    options: SubscriptionOptions { maximum_qos: *qos, ..Default::default() },
                });
                let subscriptions = subscriptions.collect();
                let (connection, link) = client.connection.as_mut().expect("connected");
                let mut out = TransmitBuf::new();
                let properties = SubscribeProperties::default();
                connection
                    .subscribe(now, properties, subscriptions, &mut out)
                    .expect("a SUBSCRIBE that can be sent");
                let link = *link;
                self.transmit(link, &mut out);
                self.settle();
                assert!(self.clients[at].subscribed);
            }
        }
        self.broker.prompt = false;
        self.broker.stores_at_once = self.random.chance(30);
        self.broker.fetches_at_once = self.random.chance(30);
        self.broker.tail_from = [None, Some(0), Some(3)][self.random.below(3)];
        for _ in 0..steps {
            self.act();
        }
        self.finish();
    }

    // ---- what happens

    fn act(&mut self) {
        let at = 1 + self.random.below(self.clients.len() - 1);
        if self.crashes && self.random.chance(3) {
            self.crash();
            return;
        }
        match self.random.below(100) {
            0..35 => self.publish(at),
            35..55 => {
                self.pump(at);
            }
            55..75 => self.step(),
            75..80 => {
                let worker = self.random.below(self.broker.workers());
                self.broker.store(worker);
                self.broker.settle(worker);
            }
            80..86 => self.cut(at),
            86..91 => {
                let takeover = self.random.chance(30);
                if takeover || self.clients[at].connection.is_none() {
                    if !self.crashes || self.random.chance(50) {
                        self.settle();
                    }
                    self.connect(at, true);
                }
            }
            91..94 => self.leave(at),
            94..97 => {
                self.settle();
                let millis = self.random.below(12_000) as u64;
                self.pass(Duration::from_millis(millis));
            }
            _ => {
                let link = self.clients[at].connection.as_ref().map(|(_, link)| *link);
                if let Some(link) = link {
                    let blocked = self.random.chance(50);
                    self.broker.block(link, blocked);
                }
            }
        }
    }

    fn step(&mut self) {
        let worker = self.random.below(self.broker.workers());
        match self.random.below(5) {
            0 => {
                self.broker.take_mail(worker);
            }
            4 => {
                self.broker.give_fetched();
            }
            1 => {
                self.broker.step(worker);
            }
            _ => {
                let at = self.random.below(self.clients.len());
                if let Some((_, link)) = &self.clients[at].connection {
                    self.broker.read(link.0);
                }
            }
        }
    }

    /// The broker dies and comes back, with what is stored for certain and perhaps more.
    fn crash(&mut self) {
        let (stored, all) = self.broker.log_len();
        let kept = stored + self.random.below(all - stored + 1);
        let workers = 1 + u8::try_from(self.random.below(3)).expect("few");
        let pause = Duration::from_millis(self.random.below(3000) as u64);
        self.broker.crash(kept, workers, pause);
        self.has_crashed = true;
        for client in &mut self.clients {
            let will = client.will_payload();
            let is_connected = client.connection.is_some();
            if let Some((mut connection, _)) = client.connection.take() {
                connection.handle_network_closed();
                client.session = connection.take_session();
            }
            client.will_due = None;
            if is_connected && client.is_accepted() && client.will_delay == 0 {
                self.wills_due.insert(will);
            } else {
                self.wills_open.extend(client.unknown_wills());
            }
        }
        self.connect(WATCHER, true);
    }

    /// Opens a connection; one that is still there is taken over.
    fn connect(&mut self, at: usize, resume: bool) {
        let client = &mut self.clients[at];
        if let Some((mut old, link)) = client.connection.take() {
            // Its last bytes are not waited for.
            self.broker.block(link, false);
            client.session = old.take_session();
            if self.crashes && !client.is_accepted() {
                self.wills_open.extend(client.unknown_wills());
            } else if client.will_delay == 0 {
                self.wills_due.insert(client.will_payload());
            }
        }
        client.will_due = None;
        client.incarnation += 1;
        client.will_delay = match client.is_v5 {
            true => u32::try_from(self.random.below(3) * 5).expect("small"),
            false => 0,
        };
        let topic_name = format!("w/{}", client.name);
        let mut will = will(&topic_name, &client.will_payload(), client.will_delay);
        will.qos = QoS::ExactlyOnce;
        let packet: Connect = match client.is_v5 {
            true => connect(&client.name)
                .expiry(u32::MAX)
                .receive_maximum(1 + u16::try_from(self.random.below(8)).expect("few")),
            false => connect_v311(&client.name, false),
        };
        let mut packet = packet.will(will);
        packet.clean_start = !resume && client.is_v5;
        let config = ClientConfig {
            connect: packet,
            connect_timeout: Duration::from_secs(1 << 20),
            in_flight_max: 1 + u16::try_from(self.random.below(10)).expect("few"),
            topic_alias_outbound_max: u16::try_from(self.random.below(3)).expect("few"),
        };
        let session = std::mem::take(&mut client.session);
        let mut out = TransmitBuf::new();
        let now = self.broker.now;
        let connection = ClientConnection::new(now, config, session, &mut out).expect("CONNECT");
        self.broker.accepting = self.random.below(8);
        let link = self.broker.open();
        client.connection = Some((connection, link));
        self.transmit(link, &mut out);
        // A Will is due by the moment at which the broker takes the CONNECT.
        if self.crashes && self.random.chance(50) {
            self.broker.run();
        } else {
            self.broker_settle();
        }
    }

    /// The Network Connection is gone; both ends learn of it at once.
    fn cut(&mut self, at: usize) {
        let Some((mut connection, link)) = self.clients[at].connection.take() else { return };
        connection.handle_network_closed();
        let is_open = !self.broker.is_closed(link);
        self.broker.cut(link);
        let client = &mut self.clients[at];
        client.session = connection.take_session();
        if is_open {
            if self.crashes && !client.is_accepted() {
                self.wills_open.extend(client.unknown_wills());
            } else if client.will_delay == 0 {
                self.wills_due.insert(client.will_payload());
            } else {
                let due = self.broker.now + Duration::from_secs(u64::from(client.will_delay));
                client.will_due = Some((client.incarnation, due));
            }
        }
    }

    /// The Client says goodbye, and the broker hears it.
    fn leave(&mut self, at: usize) {
        self.settle();
        let now = self.broker.now;
        let Some((mut connection, link)) = self.clients[at].connection.take() else { return };
        let mut out = TransmitBuf::new();
        let bye = Disconnect::new(ReasonCode::Success);
        connection.disconnect(now, &bye, &mut out).expect("connected after settling");
        self.transmit(link, &mut out);
        self.broker_settle();
        assert!(self.broker.is_closed(link));
        self.clients[at].session = connection.take_session();
    }

    fn publish(&mut self, at: usize) {
        let topic_name = TOPICS[self.random.below(TOPICS.len())];
        let qos = super::QOS[self.random.below(3)];
        let number = self.sent.len();
        let now = self.broker.now;
        let client = &mut self.clients[at];
        let Some((connection, link)) = &mut client.connection else { return };
        let mut message =
            Message::new(topic_name.parse().expect("a Topic Name"), number.to_string());
        message.qos = qos;
        let mut out = TransmitBuf::new();
        let Ok(packet_identifier) = connection.publish(now, &Arc::new(message), &mut out) else {
            return;
        };
        if let Some(packet_identifier) = packet_identifier {
            client.under_way.insert(packet_identifier, number);
        }
        let link = *link;
        self.transmit(link, &mut out);
        let owed = self.clients.iter().enumerate().filter_map(|(at, client)| {
            let granted = client
                .filters
                .iter()
                .enumerate()
                // The last subscription to a filter is the one that counts.
                .filter(|(place, (filter, _))| {
                    client.filters[place + 1..].iter().all(|(later, _)| later != filter)
                })
                .filter(|(_, (filter, _))| matches(filter, topic_name))
                .map(|(_, (_, qos))| *qos)
                .max()?;
            Some((at, granted.min(qos)))
        });
        let owed = owed.collect();
        self.sent.push(Sent { publisher: at, topic_name, qos, owed });
    }

    fn transmit(&mut self, link: Link, out: &mut TransmitBuf) {
        let mut bytes = Vec::new();
        while !out.is_empty() {
            let mut pieces = [&[][..]; 8];
            let filled = out.pieces(&mut pieces);
            let count = pieces[..filled].iter().map(|piece| piece.len()).sum();
            pieces[..filled].iter().for_each(|piece| bytes.extend_from_slice(piece));
            out.advance(count);
        }
        if !bytes.is_empty() {
            self.broker.send_bytes(link, &bytes);
        }
    }

    /// Lets a Client take what has arrived and answer; whether there was anything.
    fn pump(&mut self, at: usize) -> bool {
        let now = self.broker.now;
        let client = &mut self.clients[at];
        let Some((connection, link)) = &mut client.connection else { return false };
        let link = *link;
        let mut input: BytesMut = self.broker.take_output(link);
        let mut busy = !input.is_empty();
        let mut out = TransmitBuf::new();
        loop {
            let event = match connection.handle_input(now, &mut input, &mut out) {
                Progress::NeedInput => break,
                Progress::Packet => continue,
                Progress::Event(event) => event,
                Progress::Closed => panic!("{} was ended: {:?}", client.name, connection.end()),
            };
            match event {
                ClientEvent::Connected { connack, lost } => {
                    assert!(lost.is_empty(), "{} lost its Session", client.name);
                    assert_eq!(connack.session_present, client.incarnation > 1);
                    client.accepted = client.incarnation;
                }
                ClientEvent::Publish(publish) => {
                    let payload = std::str::from_utf8(&publish.message.payload).expect("text");
                    if publish.message.topic_name.as_str().starts_with("t/") {
                        let number = payload.parse().expect("a number");
                        client.received.push((number, publish.message.qos));
                    } else if at == WATCHER {
                        let is_new = self.wills_seen.insert(payload.to_owned());
                        assert!(is_new, "Will {payload} came twice");
                    }
                    if let Some(ack) = publish.ack {
                        connection
                            .acknowledge(now, ack, ReasonCode::Success, &mut out)
                            .expect("owed");
                    }
                }
                ClientEvent::Released(ack) => {
                    connection.acknowledge(now, ack, ReasonCode::Success, &mut out).expect("owed");
                }
                ClientEvent::Acknowledged(acknowledged) => {
                    let identifier = acknowledged.packet_identifier;
                    let number = client.under_way.remove(&identifier).expect("under way");
                    // A release that came again may find the exchange finished.
                    let reason_code = acknowledged.reason_code;
                    let is_known = reason_code != ReasonCode::PacketIdentifierNotFound;
                    assert!(!(reason_code.is_error() && is_known), "{reason_code:?}");
                    self.acknowledged.insert(number);
                }
                ClientEvent::SubAck(_) => client.subscribed = true,
                ClientEvent::Received { .. } => {}
                event => panic!("{} did not expect {event:?}", client.name),
            }
        }
        connection.poll_transmit(now, &mut out, &mut Vec::new());
        self.broker.give_output_back(link, &input);
        busy |= !out.is_empty();
        self.transmit(link, &mut out);
        busy
    }

    // ---- rest

    /// The broker has nothing to do and its stores are caught up.
    fn broker_settle(&mut self) {
        loop {
            self.broker.run();
            let mut behind = false;
            for worker in 0..self.broker.workers() {
                behind |= self.broker.store(worker);
                self.broker.settle(worker);
            }
            while self.broker.give_fetched() {
                behind = true;
            }
            if !behind {
                return;
            }
        }
    }

    /// Nobody has anything to do.
    fn settle(&mut self) {
        for at in 0..self.clients.len() {
            if let Some((_, link)) = &self.clients[at].connection {
                self.broker.block(*link, false);
            }
        }
        for round in 0.. {
            assert!(round < 100_000, "it never comes to rest");
            self.broker_settle();
            let mut busy = false;
            for at in 0..self.clients.len() {
                busy |= self.pump(at);
            }
            if !busy {
                break;
            }
        }
        self.watch();
    }

    fn watch(&mut self) {
        let missing: Vec<_> = self.wills_due.difference(&self.wills_seen).collect();
        assert!(missing.is_empty(), "Wills that never came: {missing:?}");
        let allowed = |will: &&String| !self.wills_open.contains(*will);
        let surplus: Vec<_> = self.wills_seen.difference(&self.wills_due).filter(allowed).collect();
        assert!(surplus.is_empty(), "Wills that were not due: {surplus:?}");
    }

    fn pass(&mut self, duration: Duration) {
        self.broker.advance(duration);
        // Timers come up in tenths of a second: past the end of the present one, all is due.
        self.broker.advance(Duration::from_millis(200));
        for client in &mut self.clients {
            if let Some((incarnation, due)) = client.will_due
                && due + Duration::from_millis(100) <= self.broker.now
            {
                self.wills_due.insert(format!("{}#{incarnation}", client.name));
                client.will_due = None;
            }
        }
        self.settle_unless_close_to_a_will();
    }

    /// A Will whose moment is within the timers' tenth of a second may or may not have come.
    fn settle_unless_close_to_a_will(&mut self) {
        let step = Duration::from_millis(100);
        let now = self.broker.now;
        let is_close = self.clients.iter().any(|client| {
            client.will_due.is_some_and(|(_, due)| due <= now && now < due + step + step)
        });
        if is_close {
            self.pass(step);
        } else {
            self.settle();
        }
    }

    // ---- judgement

    fn finish(mut self) {
        for at in 0..self.clients.len() {
            if self.clients[at].connection.is_none() {
                self.connect(at, true);
            }
        }
        self.settle();
        for (at, client) in self.clients.iter().enumerate() {
            assert!(client.under_way.is_empty(), "{} waits for answers", client.name);
            self.judge(at, client);
        }
        for at in 0..self.clients.len() {
            self.leave(at);
            let name = self.clients[at].name.clone();
            self.broker.prompt = true;
            self.broker.stores_at_once = true;
            self.broker.fetches_at_once = true;
            let (link, session_present) = self.broker.join(connect(&name));
            assert!(!session_present);
            self.broker.cut(link);
        }
        self.pass(Duration::from_secs(3600));
        let counters = self.broker.counters();
        assert_eq!(
            (counters.sessions, counters.clients_connected, counters.connections),
            (0, 0, 0)
        );
        assert_eq!((counters.queued, counters.queued_bytes, counters.subscriptions), (0, 0, 0));
        let counted =
            counters.dropped_for(DropCause::Offline) + counters.dropped_for(DropCause::OutputFull);
        assert_eq!(counters.dropped_total(), counted, "{:?}", counters.dropped);
        for worker in 0..self.broker.workers() {
            let census = self.broker.core(worker).census();
            let left = (census.notes, census.cursors, census.pending, census.awaited);
            assert_eq!(left, (0, 0, 0, 0), "worker {worker}");
        }
    }

    fn judge(&self, at: usize, client: &Client) {
        let name = &client.name;
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        let mut last: BTreeMap<(usize, &str, QoS), usize> = BTreeMap::new();
        for (number, qos) in &client.received {
            let sent = &self.sent[*number];
            let owed = sent.owed.iter().find(|(owed, _)| *owed == at);
            assert_eq!(owed.map(|(_, qos)| *qos), Some(*qos), "{name} got {number} at this QoS");
            let count = times.entry(*number).or_default();
            *count += 1;
            if *count == 1 {
                let flow = (sent.publisher, sent.topic_name, sent.qos);
                let before = last.insert(flow, *number);
                assert!(before.is_none_or(|before| before < *number), "{name}: order of {flow:?}");
            }
        }
        for (number, sent) in self.sent.iter().enumerate() {
            let Some((_, qos)) = sent.owed.iter().find(|(owed, _)| *owed == at) else { continue };
            let count = times.get(&number).copied().unwrap_or(0);
            match qos {
                QoS::ExactlyOnce => assert!(count <= 1, "{name} got {number} {count} times"),
                // A message that a crash made its publisher send again may have left at QoS 0.
                QoS::AtMostOnce => {
                    assert!(count <= 1 || sent.qos == QoS::AtLeastOnce || self.has_crashed);
                }
                QoS::AtLeastOnce => {}
            }
            if *qos > QoS::AtMostOnce && self.acknowledged.contains(&number) {
                assert!(count > 0, "{name} never got {number}, which was acknowledged");
            }
        }
    }
}

impl Client {
    /// Whether the present connection was accepted.
    fn is_accepted(&self) -> bool {
        self.accepted == self.incarnation
    }

    /// The Wills that may come or not: of the last connection that was accepted, when its end may be
    /// forgotten, and of all since, whose CONNECT may be.
    fn unknown_wills(&self) -> impl Iterator<Item = String> + '_ {
        (self.accepted..=self.incarnation).map(|at| format!("{}#{at}", self.name))
    }

    fn will_payload(&self) -> String {
        format!("{}#{}", self.name, self.incarnation)
    }
}

fn runs(crashes: bool, seeds: u64) {
    let seeds = match std::env::var("SIM_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("SIM_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..seeds,
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| Simulation::new(seed, crashes).run(250));
        if let Err(panic) = outcome {
            println!("to see this again: SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_runs_keep_the_promises() {
    runs(false, 2000);
}

#[test]
fn random_runs_with_crashes_keep_the_promises() {
    runs(true, 2000);
}
