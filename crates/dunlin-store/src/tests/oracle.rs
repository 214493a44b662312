//! Random records, also with the store closed and opened in between: the store gives back what
//! the plain sum of the records gives back.

use super::*;
use dunlin_broker::core::{GroupName, Image};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::{
    MessageProperties, PacketIdentifier, SubscriptionIdentifier, TopicFilter,
};
use proptest::prelude::*;

const WORKERS: usize = 2;
const CLIENTS: usize = 5;

/// What is done next, as numbers that the state gives a meaning to.
type Step = (u8, u8, u16);

/// What the records of a Client may be about.
#[derive(Default)]
struct Known {
    last_number: u64,
    owed: Vec<u64>,
    tentative: Vec<u64>,
    underway: u64,
}

struct World {
    folder: tempfile::TempDir,
    storage: Option<FileStorage>,
    workers: Vec<Worker>,
    oracle: Image,
    known: Vec<Known>,
    change: u64,
}

fn name(client: usize) -> Text {
    // One has a name that no key has room for.
    if client == 1 { text(&"long ".repeat(500)) } else { text(&format!("client {client}")) }
}

fn a_message(n: u16) -> Arc<Message> {
    let topic_name: TopicName = format!("topic/{}", n % 7).parse().expect("a Topic Name");
    let mut message = Message::new(topic_name, vec![n as u8; usize::from(n) % 700]);
    message.qos = if n.is_multiple_of(3) { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
    message.retain = n.is_multiple_of(5);
    message.expires_at = n.is_multiple_of(4).then(|| Instant::from_micros(u64::from(n) << 32));
    message.properties = n.is_multiple_of(6).then(|| {
        Arc::new(MessageProperties {
            content_type: Some(text("text/plain")),
            user_properties: vec![(text("a"), text("b")); usize::from(n) % 3],
            ..MessageProperties::default()
        })
    });
    Arc::new(message)
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let known = (0..CLIENTS).map(|_| Known::default()).collect();
        let mut world = Self {
            folder,
            storage: None,
            workers: Vec::new(),
            oracle: Image::new(),
            known,
            change: 0,
        };
        world.open();
        world
    }

    /// Opens the store, and compares what it has.
    fn open(&mut self) {
        let (mut storage, mut records) = recover(self.folder.path());
        self.oracle.settle_tentative();
        let mut expected = self.oracle.recover_records(0);
        records.sort_by_cached_key(|record| format!("{record:?}"));
        expected.sort_by_cached_key(|record| format!("{record:?}"));
        assert_eq!(records, expected);
        // Changes come late within a process, not after it.
        self.change += 3;
        for known in &mut self.known {
            let tentative = std::mem::take(&mut known.tentative);
            known.owed.retain(|number| !tentative.contains(number));
        }
        self.workers = (0..WORKERS).map(|_| Worker::new(&mut storage)).collect();
        self.storage = Some(storage);
    }

    fn step(&mut self, (kind, client, n): Step) {
        let client = usize::from(client) % CLIENTS;
        let client_identifier = name(client);
        let known = &mut self.known[client];
        let pick = |list: &[u64]| list.get(usize::from(n) % list.len().max(1)).copied();
        let packet_identifier = PacketIdentifier::new(n % 50 + 1).expect("not zero");
        let group = (n % 11 == 0).then(|| {
            Arc::new(GroupName { share_name: "group".into(), topic_filter: "topic/+".into() })
        });
        let filter = |n: u16| -> TopicFilter {
            let filter =
                if n.is_multiple_of(4) { "f/".repeat(900) } else { format!("filter/{}/#", n % 4) };
            filter.parse().expect("a Topic Filter")
        };
        let records = match kind % 16 {
            0 => vec![Record::Session {
                client_identifier,
                session_expiry_interval: u32::from(n),
                away_since: (n % 2 == 0).then(|| Instant::from_micros(u64::from(n))),
                owner: (n % 3 == 0).then(|| format!("user-{}", n % 5).parse().expect("a name")),
                subject: (n % 3 == 0).then(|| a_subject(n)),
            }],
            1 if n % 4 == 0 => {
                known.owed.clear();
                known.tentative.clear();
                vec![Record::SessionEnded { client_identifier }]
            }
            2 => vec![Record::Subscribed {
                client_identifier,
                topic_filter: filter(n),
                maximum_qos: QoS::new((n % 3) as u8).expect("a QoS"),
                no_local: n % 2 == 0,
                retain_as_published: n % 5 == 0,
                subscription_identifier: SubscriptionIdentifier::new(u32::from(n)),
            }],
            3 => vec![Record::Unsubscribed { client_identifier, topic_filter: filter(n) }],
            4..=7 => {
                let message = a_message(n);
                // The same message for those of the same worker; some end within the append.
                let mut records = Vec::new();
                for other in (0..CLIENTS).filter(|other| other % WORKERS == client % WORKERS) {
                    if other != client && n % 3 != 0 {
                        continue;
                    }
                    let known = &mut self.known[other];
                    known.last_number += 1;
                    let number = known.last_number;
                    let tentative = n % 8 == 0;
                    if tentative {
                        known.tentative.push(number);
                    }
                    records.push(Record::Owed {
                        client_identifier: name(other),
                        number,
                        message: message.clone(),
                        qos: QoS::AtLeastOnce,
                        retain: n % 2 == 0,
                        subscription_identifiers: (n % 3 == 0)
                            .then(|| SubscriptionIdentifier::new(7).expect("in range"))
                            .into_iter()
                            .collect(),
                        group: group.clone(),
                        packet_identifier: (n % 5 == 0).then_some(packet_identifier),
                        tentative,
                    });
                    if n % 13 == 0 {
                        known.tentative.retain(|other| *other != number);
                        let client_identifier = name(other);
                        records.push(Record::Settled { client_identifier, number });
                    } else {
                        known.owed.push(number);
                    }
                }
                records
            }
            8 => {
                let Some(number) = pick(&known.tentative) else { return };
                known.tentative.retain(|other| *other != number);
                vec![Record::Confirmed { client_identifier, number }]
            }
            9 => {
                let Some(number) = pick(&known.owed) else { return };
                vec![Record::Sent { client_identifier, number, packet_identifier }]
            }
            10 => {
                let Some(number) = pick(&known.owed) else { return };
                vec![Record::Taken { client_identifier, number }]
            }
            11 | 12 => {
                let Some(number) = pick(&known.owed) else { return };
                known.owed.retain(|other| *other != number);
                known.tentative.retain(|other| *other != number);
                vec![Record::Settled { client_identifier, number }]
            }
            13 if n % 2 == 0 => vec![Record::Received { client_identifier, packet_identifier }],
            13 => vec![Record::Released { client_identifier, packet_identifier }],
            14 if n % 4 == 0 => vec![Record::WillRemoved { client_identifier }],
            14 if n % 4 == 1 => {
                known.underway += 1;
                let (number, message) = (known.underway, a_message(n));
                vec![Record::Underway { client_identifier, number, message, group }]
            }
            14 if n % 4 == 2 => {
                let number = u64::from(n) % (known.underway + 1);
                vec![Record::Arrived { client_identifier, number }]
            }
            14 => vec![Record::Will {
                client_identifier,
                message: a_message(n),
                message_expiry_interval: (n % 3 == 0).then_some(7),
                delay_secs: u32::from(n),
                subject: (n % 2 == 0).then(|| a_subject(n)),
            }],
            15 => {
                self.change += 1;
                // Some come late.
                let change = self.change.saturating_sub(u64::from(n) % 3);
                let message = (n % 3 != 0).then(|| a_message(n));
                let topic_name =
                    if n % 10 == 0 { "t/".repeat(800) } else { format!("t/{}", n % 5) };
                let topic_name = topic_name.parse().expect("a Topic Name");
                let publisher = (n % 2 == 0).then(|| a_subject(n));
                vec![Record::Retained { topic_name, message, change, publisher }]
            }
            _ => return,
        };
        records.iter().cloned().for_each(|record| self.oracle.apply(record));
        let durability = if n % 2 == 0 { Durability::Written } else { Durability::Fsync };
        self.workers[client % WORKERS].append(records, durability);
    }

    fn fetch(&mut self, client: usize, n: u16) {
        let fetch = Fetch {
            session: (SessionKey::default(), 3),
            client_identifier: name(client),
            after: u64::from(n) % (self.known[client].last_number + 1),
            messages_max: usize::from(n) % 9,
            bytes_max: usize::from(n) % 2000,
        };
        // All that the oracle knows came before.
        let every = |worker: &mut Worker| worker.wait(Durability::Written, worker.last);
        self.workers.iter_mut().for_each(every);
        let fetched = self.workers[client % WORKERS].ask(fetch.clone());
        assert_eq!(fetched, self.oracle.fetch(&fetch));
    }

    fn run(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                (253.., ..) => {
                    self.workers.clear();
                    self.storage = None;
                    self.open();
                }
                (240..253, client, n) => self.fetch(usize::from(client) % CLIENTS, n),
                step => self.step(step),
            }
        }
        self.workers.clear();
        self.storage = None;
        self.open();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_records_add_up_to_is_what_comes_back(
        steps in proptest::collection::vec(any::<Step>(), 1..400),
    ) {
        World::new().run(steps);
    }
}
