//! Measures the store: `cargo run --release -p dunlin-store --example measure -- FOLDER [MESSAGES [queues]]`.
//!
//! Appends of one message each, by so many writers that wait for their acknowledgement; then a
//! million messages for 10,000 sessions, the time to open them again, and how fast they are read
//! back. CPU is user and system time of the process; bytes are what it gave to the disk.

#![allow(missing_docs)]

use dunlin_broker::core::{Durability, Fetch, Record, RecordNumber, SessionKey};
use dunlin_broker::{Storage, Store};
use dunlin_protocol::Message;
use dunlin_protocol::codec::{QoS, Text, TopicName};
use dunlin_store::{FileStorage, FileStore, Options};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PAYLOAD: usize = 560;
const SESSIONS: u64 = 10_000;

struct Worker {
    store: FileStore,
    woken: Receiver<()>,
    last: u64,
}

impl Worker {
    fn new(storage: &mut FileStorage) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let (sender, woken) = channel();
        let store = storage.open_end(move || {
            let _ = sender.send(());
        })?;
        Ok(Self { store, woken, last: 0 })
    }

    fn append(&mut self, records: Vec<Record>, durability: Durability) {
        self.last += records.len() as u64;
        self.store.append(RecordNumber(self.last), records, durability);
    }

    fn wait(&self, durability: Durability, upto: u64) {
        while self.store.stored_upto(durability).0 < upto {
            let _ = self.woken.recv_timeout(Duration::from_millis(100));
        }
    }
}

#[derive(Clone, Copy)]
struct Used {
    at: Instant,
    cpu: Duration,
    written: u64,
}

impl Used {
    fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Behind the name, which may have spaces; the state comes first.
        let fields: Vec<&str> =
            stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        // utime and stime, in ticks of 10 ms.
        let ticks = field(11).unwrap_or(0) + field(12).unwrap_or(0);
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok());
        Self {
            at: Instant::now(),
            cpu: Duration::from_millis(10 * ticks),
            written: written.unwrap_or(0),
        }
    }

    fn report(self, what: &str, messages: u64, payload: u64) {
        let now = Self::now();
        let seconds = (now.at - self.at).as_secs_f64();
        println!(
            "{what:28} {:9.0}/s  {:6.2} us CPU each  {:5.2} bytes written per payload byte  {seconds:6.2} s",
            messages as f64 / seconds,
            (now.cpu - self.cpu).as_secs_f64() * 1e6 / messages as f64,
            if payload == 0 { 0.0 } else { (now.written - self.written) as f64 / payload as f64 },
        );
    }
}

fn resident(what: &str) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    };
    println!("{what:28} {} MiB resident, {} of them not of files", line("VmRSS"), line("RssAnon"));
}

fn client(session: u64) -> Text {
    format!("client-{session}").parse().unwrap_or_default()
}

fn message(number: u64) -> Arc<Message> {
    let mut payload = vec![0; PAYLOAD];
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for byte in &mut payload {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 58) as u8;
    }
    let mut message = Message::new(TopicName::from_static("site/17/line/4/status"), payload);
    message.qos = QoS::AtLeastOnce;
    Arc::new(message)
}

fn owed(session: u64, number: u64) -> Record {
    Record::Owed {
        client_identifier: client(session),
        number,
        message: message(number ^ session << 32),
        qos: QoS::AtLeastOnce,
        retain: false,
        subscription_identifiers: Vec::new(),
        group: None,
        packet_identifier: None,
        tentative: false,
    }
}

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Appends of one message each; so many wait at any time.
fn appends(folder: &Path, under_way: u64, durability: Durability, messages: u64) -> Outcome {
    let mut storage = FileStorage::open(folder, Options::default())?;
    let mut worker = Worker::new(&mut storage)?;
    let records: Vec<_> = (0..messages).map(|at| owed(at % SESSIONS, at / SESSIONS + 1)).collect();
    let used = Used::now();
    for record in records {
        worker.append(vec![record], durability);
        let upto = worker.last.saturating_sub(under_way - 1);
        if worker.last % under_way.div_ceil(2) == 0 || under_way == 1 {
            worker.wait(durability, upto);
        }
    }
    worker.wait(durability, worker.last);
    let what = format!("append {durability:?}, {under_way} at once");
    used.report(&what, messages, messages * PAYLOAD as u64);
    Ok(())
}

/// Messages that come and go: each is settled when 20,000 later ones have come.
fn churn(folder: &Path, messages: u64) -> Outcome {
    let mut storage = FileStorage::open(folder, Options::default())?;
    let mut worker = Worker::new(&mut storage)?;
    let used = Used::now();
    for at in 0..messages + 20_000 {
        let mut records = Vec::new();
        if at < messages {
            records.push(owed(at % SESSIONS, at / SESSIONS + 1));
        }
        if let Some(at) = at.checked_sub(20_000) {
            let client_identifier = client(at % SESSIONS);
            records.push(Record::Settled { client_identifier, number: at / SESSIONS + 1 });
        }
        worker.append(records, Durability::Fsync);
        if at % 128 == 0 {
            worker.wait(Durability::Fsync, worker.last.saturating_sub(512));
        }
    }
    worker.wait(Durability::Fsync, worker.last);
    used.report("come and go", messages, messages * PAYLOAD as u64);
    resident("come and go");
    Ok(())
}

fn queues(folder: &Path, messages: u64) -> Outcome {
    let mut storage = FileStorage::open(folder, Options::default())?;
    let mut worker = Worker::new(&mut storage)?;
    drop(storage);
    let session = |session| Record::Session {
        client_identifier: client(session),
        session_expiry_interval: 3600,
        away_since: Some(dunlin_protocol::Instant::ZERO),
        owner: None,
        subject: None,
    };
    worker.append((0..SESSIONS).map(session).collect(), Durability::Fsync);
    let used = Used::now();
    for at in 0..messages {
        worker.append(vec![owed(at % SESSIONS, at / SESSIONS + 1)], Durability::Fsync);
        if at % 128 == 0 {
            worker.wait(Durability::Fsync, worker.last.saturating_sub(512));
        }
    }
    worker.wait(Durability::Fsync, worker.last);
    used.report("fill queues", messages, messages * PAYLOAD as u64);
    resident("fill queues");
    drop(worker);
    println!(
        "{:28} {:.2}",
        "disk bytes per payload byte",
        disk(folder) as f64 / (messages * PAYLOAD as u64) as f64
    );

    let used = Used::now();
    let mut storage = FileStorage::open(folder, Options::default())?;
    used.report("open the engine", messages, 0);
    let (mut sessions, mut waiting) = (0, 0);
    storage.recover(&mut |record| match record {
        Record::Session { .. } => sessions += 1,
        Record::Waiting { len, .. } => waiting += len,
        _ => {}
    })?;
    used.report("open and recover", messages, 0);
    println!("{:28} {sessions} sessions, {waiting} messages", "");
    resident("open and recover");
    let mut worker = Worker::new(&mut storage)?;
    drop(storage);
    let used = Used::now();
    let mut fetched_messages = 0;
    for session in 0..SESSIONS {
        // In another order than they were written.
        let session = session * 7919 % SESSIONS;
        let mut after = 0;
        loop {
            let client_identifier = client(session);
            let (messages_max, bytes_max) = (256, 64 * 1024);
            let key = (SessionKey::default(), 0);
            worker.store.fetch(Fetch {
                session: key,
                client_identifier,
                after,
                messages_max,
                bytes_max,
            });
            let fetched = loop {
                if let Some(fetched) = worker.store.take_fetched() {
                    break fetched;
                }
                let _ = worker.woken.recv_timeout(Duration::from_millis(100));
            };
            fetched_messages += fetched.messages.len() as u64;
            if let Some(Record::Owed { number, .. }) = fetched.messages.last() {
                after = *number;
            }
            if !fetched.more {
                break;
            }
        }
    }
    used.report("fetch all queues", fetched_messages, 0);
    resident("fetch all queues");
    let used = Used::now();
    for at in 0..messages {
        let client_identifier = client(at % SESSIONS);
        worker.append(
            vec![Record::Settled { client_identifier, number: at / SESSIONS + 1 }],
            Durability::Fsync,
        );
        if at % 128 == 0 {
            worker.wait(Durability::Fsync, worker.last.saturating_sub(512));
        }
    }
    worker.wait(Durability::Fsync, worker.last);
    used.report("drain", messages, 0);
    // The room comes back a little later.
    let mut rest = 30;
    while rest > 0 && disk(folder) > messages * PAYLOAD as u64 / 4 {
        std::thread::sleep(Duration::from_secs(1));
        rest -= 1;
    }
    drop(worker);
    println!("{:28} {} MiB on the disk", "drained", disk(folder) >> 20);
    let used = Used::now();
    let mut storage = FileStorage::open(folder, Options::default())?;
    used.report("open the drained engine", messages, 0);
    storage.recover(&mut |_| {})?;
    used.report("open the drained store", messages, 0);
    Ok(())
}

/// Bytes that a folder takes on the disk.
fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder? it must not exist")?;
    let messages = arguments.next().map_or(Ok(1_000_000), |messages| messages.parse())?;
    let only_queues = arguments.next().is_some_and(|part| part == "queues");
    let folder = Path::new(&folder);
    std::fs::create_dir(folder)?;
    if only_queues {
        return queues(&folder.join("queues"), messages);
    }
    for (at, (under_way, count)) in
        [(1, 2_000), (32, 40_000), (256, 100_000)].into_iter().enumerate()
    {
        for durability in [Durability::Fsync, Durability::Written] {
            appends(&folder.join(format!("{at}-{durability:?}")), under_way, durability, count)?;
        }
    }
    churn(&folder.join("churn"), messages / 2)?;
    queues(&folder.join("queues"), messages)
}
