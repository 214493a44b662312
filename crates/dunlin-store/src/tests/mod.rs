//! The store from outside: what was stored comes back, whatever happened in between.

mod basics;
mod damage;
mod failing;
mod kill;
mod oracle;
mod room;
mod tools;

use crate::{FileStorage, FileStore, Options};
use dunlin_broker::core::{
    Durability, Fetch, Fetched, Identity, Record, RecordNumber, Rules, SessionKey, Subject,
};
use dunlin_broker::{Storage, Store};
use dunlin_protocol::Message;
use dunlin_protocol::codec::{QoS, Text, TopicName};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// A worker's end that can be waited on.
struct Worker {
    store: FileStore,
    woken: Receiver<()>,
    last: u64,
}

impl Worker {
    fn new(storage: &mut FileStorage) -> Self {
        let (sender, woken) = channel();
        let store = storage.open_end(move || {
            let _ = sender.send(());
        });
        Self { store: store.expect("threads"), woken, last: 0 }
    }

    /// Appends, and gives the number to wait for.
    fn append(&mut self, records: Vec<Record>, durability: Durability) -> u64 {
        self.last += records.len() as u64;
        self.store.append(RecordNumber(self.last), records, durability);
        self.last
    }

    fn wait(&self, durability: Durability, upto: u64) {
        while self.store.stored_upto(durability).0 < upto {
            self.woken.recv().expect("a living store");
        }
    }

    fn store(&mut self, records: Vec<Record>) {
        let upto = self.append(records, Durability::Fsync);
        self.wait(Durability::Fsync, upto);
    }

    fn fetch(&mut self, of: &str, after: u64, messages_max: usize, bytes_max: usize) -> Fetched {
        let session = (SessionKey::default(), 3);
        let client_identifier = text(of);
        self.ask(Fetch { session, client_identifier, after, messages_max, bytes_max })
    }

    fn ask(&mut self, fetch: Fetch) -> Fetched {
        self.store.fetch(fetch);
        loop {
            if let Some(fetched) = self.store.take_fetched() {
                return fetched;
            }
            self.woken.recv().expect("a living store");
        }
    }
}

/// Names the folder to a process of its own that a test starts.
const FOLDER: &str = "DUNLIN_STORE_TEST_FOLDER";

/// This test program once more, to run one test that does its work only when it is told where.
fn process(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(FOLDER, folder);
    command
}

fn open(folder: &Path) -> FileStorage {
    FileStorage::open(folder, Options::default()).expect("a folder of our own")
}

/// Opens a store and gives all that it has.
fn recover(folder: &Path) -> (FileStorage, Vec<Record>) {
    let mut storage = open(folder);
    let mut records = Vec::new();
    storage.recover(&mut |record| records.push(record)).expect("a readable store");
    (storage, records)
}

fn text(text: &str) -> Text {
    text.parse().expect("a text")
}

fn message(topic_name: &str, payload: &[u8]) -> Arc<Message> {
    let topic_name: TopicName = topic_name.parse().expect("a Topic Name");
    let mut message = Message::new(topic_name, payload.to_vec());
    message.qos = QoS::AtLeastOnce;
    Arc::new(message)
}

fn session(of: &str) -> Record {
    Record::Session {
        client_identifier: text(of),
        session_expiry_interval: 3600,
        away_since: None,
        owner: None,
        subject: None,
    }
}

fn owed(of: &str, number: u64, message: &Arc<Message>) -> Record {
    Record::Owed {
        client_identifier: text(of),
        number,
        message: message.clone(),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_identifiers: Vec::new(),
        group: None,
        packet_identifier: None,
        tentative: false,
    }
}

fn settled(of: &str, number: u64) -> Record {
    Record::Settled { client_identifier: text(of), number }
}

fn numbers(fetched: &Fetched) -> Vec<u64> {
    let number = |record: &Record| match record {
        Record::Owed { number, .. } => *number,
        record => panic!("not owed: {record:?}"),
    };
    fetched.messages.iter().map(number).collect()
}

/// One of several subjects, with more or less to tell of them.
pub(crate) fn a_subject(n: u16) -> Arc<Subject> {
    let user = format!("user-{n}");
    let groups = ["meters", "pumps"];
    let groups = groups.into_iter().take(usize::from(n % 3));
    let identity =
        Identity::new((!n.is_multiple_of(4)).then_some(&*user), groups).expect("legal names");
    let rules = "[[rule]]\nallow = [\"publish\"]\ntopics = [\"a/%u\"]";
    let identity = match n % 5 {
        0 => identity.with_rules(Arc::new(Rules::parse(rules).expect("a rule"))),
        _ => identity,
    };
    let subject = Subject::new(Arc::new(identity), format!("c-{n}").parse().expect("a name"));
    Arc::new(match n % 7 {
        0 => subject,
        1..4 => subject.with_address([10, 0, 0, 1].into()).with_listener("mqtt".into()),
        _ => subject.with_address([0xfe80, 0, 0, 0, 0, 0, 0, n].into()),
    })
}
