//! What a second worker gives, without sockets: the same Clients at one core, and at two that have a
//! thread each and hand each other batches.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::BytesMut;
use clap::Parser;
use dunlin_benches::micro::bed::{Bed, ClientNumber};
use dunlin_benches::micro::packets::{
    answer, append, connect, identifier, publish, push_subscription, qos_of, subscribe,
};
use dunlin_benches::statistics::median;
use dunlin_broker::core::{Batch, WorkerNumber};
use dunlin_protocol::codec::{Decoder, Packet, ProtocolVersion, QoS};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const VERSION: ProtocolVersion = ProtocolVersion::V5;
const PAYLOAD: [u8; 64] = [b'x'; 64];
/// Messages that a publisher may have under way.
const WINDOW: u32 = 64;
/// Publishers, and subscribers of pairs.
const PAIRS: usize = 100;
/// Subscribers of each publisher of a fan-out.
const FANS: usize = 100;

/// Measure what a second worker gives.
#[derive(Debug, Parser)]
struct Options {
    /// Runs of each scene; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Deliveries of each run.
    #[arg(long, default_value_t = 1_000_000)]
    deliveries: u64,
}

/// Who is where: of two workers, or all at the first.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// Few publishers, each to many subscribers, half of them at either worker.
    FanOut,
    /// Publishers with a subscriber each, so many hundredths of them at the other worker.
    Pairs { across: usize },
}

impl Scene {
    const ALL: [Self; 4] = [
        Self::FanOut,
        Self::Pairs { across: 0 },
        Self::Pairs { across: 50 },
        Self::Pairs { across: 100 },
    ];

    fn name(self) -> String {
        match self {
            Self::FanOut => format!("fan-out 1:{FANS}"),
            Self::Pairs { across } => format!("pairs, {across} % across"),
        }
    }

    /// For each publisher its place, and those of its subscribers; places are even or odd.
    fn clients(self) -> Vec<(usize, Vec<usize>)> {
        match self {
            Self::FanOut => (0..2).map(|place| (place, (0..FANS).collect())).collect(),
            Self::Pairs { across } => (0..PAIRS)
                .map(|pair| (pair, vec![pair + usize::from(pair / 2 * 2 * 100 < across * PAIRS)]))
                .collect(),
        }
    }
}

/// A publisher at its worker.
#[derive(Debug)]
struct Publisher {
    client: ClientNumber,
    topic_name: String,
    receivers: u64,
    left: u32,
    sent: u32,
    under_way: u32,
}

/// One worker with its Clients.
#[derive(Debug)]
struct Side {
    bed: Bed,
    publishers: Vec<Publisher>,
    /// The publisher that a Client is, by the number of the Client.
    publisher_of: Vec<Option<usize>>,
    qos: QoS,
    inbox: Receiver<(WorkerNumber, Batch)>,
    outboxes: Vec<Sender<(WorkerNumber, Batch)>>,
    number: WorkerNumber,
    /// How long it has worked.
    busy: Duration,
}

/// What both sides know.
#[derive(Debug, Default)]
struct Books {
    /// Deliveries that are owed for what was sent, and those that came.
    owed: AtomicU64,
    delivered: AtomicU64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    ensure!(options.rounds > 0 && options.deliveries > 0, "one round and one delivery at least");
    println!("deliveries for each µs that the busier worker works\n");
    println!("{:<20} {:>3} {:>10} {:>10} {:>8}", "scene", "QoS", "1 worker", "2 workers", "ratio");
    for scene in Scene::ALL {
        for qos in 0..=2 {
            let (mut one, mut two, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..options.rounds {
                let rates =
                    [1, 2].map(|workers| run(scene, qos_of(qos), workers, options.deliveries));
                one.push(rates[0]);
                two.push(rates[1]);
                ratios.push(rates[1] / rates[0]);
            }
            let middle = |samples: &[f64]| median(samples).unwrap_or_default();
            println!(
                "{:<20} {qos:>3} {:>10.2} {:>10.2} {:>8.2}",
                scene.name(),
                middle(&one),
                middle(&two),
                middle(&ratios)
            );
        }
    }
    Ok(())
}

/// Connects everybody, lets the publishers send, and gives deliveries for each µs that the busier
/// worker worked.
fn run(scene: Scene, qos: QoS, workers: u8, deliveries: u64) -> f64 {
    let (mut sides, owed) = set_up(scene, qos, workers, deliveries);
    let books = Books::default();
    thread::scope(|scope| {
        for side in &mut sides {
            scope.spawn(|| side.work(&books, owed));
        }
    });
    let busiest = sides.iter().map(|side| side.busy).max().unwrap_or_default();
    assert_eq!(books.delivered.load(Ordering::Relaxed), owed, "all was delivered, once");
    settle(&mut sides, &books);
    assert_eq!(books.delivered.load(Ordering::Relaxed), owed, "nothing came late, or twice");
    assert!(sides.iter().all(Side::is_settled), "all was acknowledged");
    owed as f64 / busiest.as_nanos() as f64 * 1_000.0
}

fn set_up(scene: Scene, qos: QoS, workers: u8, deliveries: u64) -> (Vec<Side>, u64) {
    let (outboxes, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| channel()).unzip();
    let mut sides: Vec<_> = Bed::linked(workers)
        .into_iter()
        .zip(inboxes)
        .enumerate()
        .map(|(number, (bed, inbox))| Side {
            bed,
            publishers: Vec::new(),
            publisher_of: Vec::new(),
            qos,
            inbox,
            outboxes: outboxes.clone(),
            number: WorkerNumber(number as u8),
            busy: Duration::ZERO,
        })
        .collect();
    let clients = scene.clients();
    let receivers: usize = clients.iter().map(|(_, receivers)| receivers.len()).sum();
    let each = u32::try_from(deliveries / receivers as u64).expect("a number of messages").max(1);
    for (number, (place, receivers)) in clients.iter().enumerate() {
        let topic_name = format!("plant/{number}/temperature");
        for (at, receiver) in receivers.iter().enumerate() {
            let side = &mut sides[receiver % usize::from(workers)];
            let client = side.connect(&format!("subscriber-{number}-{at}"), None);
            let mut packet = subscribe();
            push_subscription(&mut packet, &topic_name, qos);
            side.bed.send(client, &Packet::Subscribe(packet));
        }
        let side = &mut sides[place % usize::from(workers)];
        let publisher = side.publishers.len();
        let client = side.connect(&format!("publisher-{number}"), Some(publisher));
        side.publishers.push(Publisher {
            client,
            topic_name,
            receivers: receivers.len() as u64,
            left: each,
            sent: 0,
            under_way: 0,
        });
    }
    settle(&mut sides, &Books::default());
    (sides, u64::from(each) * receivers as u64)
}

/// Lets the sides take turns until none of them has anything to do.
fn settle(sides: &mut [Side], books: &Books) {
    loop {
        let mut has_worked = false;
        for side in &mut *sides {
            has_worked |= side.turn(books);
        }
        if !has_worked {
            return;
        }
    }
}

impl Side {
    fn connect(&mut self, beginning: &str, publisher: Option<usize>) -> ClientNumber {
        let client = self.bed.open(VERSION);
        let client_identifier = self.bed.own_identifier(beginning);
        self.bed.send(client, &connect(&client_identifier, VERSION));
        self.publisher_of.resize(client.index() + 1, None);
        self.publisher_of[client.index()] = publisher;
        client
    }

    /// Works until everything is delivered and its own messages are acknowledged.
    fn work(&mut self, books: &Books, owed: u64) {
        self.busy = Duration::ZERO;
        while books.delivered.load(Ordering::Relaxed) < owed || !self.is_settled() {
            self.publish(books);
            if !self.turn(books) {
                hint::spin_loop();
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.left == 0 && publisher.under_way == 0)
    }

    /// Each publisher whose window is half empty fills it. At QoS 0 nobody tells it that there is
    /// room: then all wait until half of what was sent has arrived.
    fn publish(&mut self, books: &Books) {
        let mut has_room = true;
        if self.qos == QoS::AtMostOnce {
            let share: u64 = self.publishers.iter().map(|publisher| publisher.receivers).sum();
            let all = share * u64::from(WINDOW) * self.outboxes.len() as u64;
            let on_way = books
                .owed
                .load(Ordering::Relaxed)
                .saturating_sub(books.delivered.load(Ordering::Relaxed));
            has_room = on_way * 2 <= all;
        }
        for publisher in &mut self.publishers {
            let free = (WINDOW - publisher.under_way).min(publisher.left);
            if free == 0 || !has_room || publisher.under_way > WINDOW / 2 {
                continue;
            }
            for _ in 0..free {
                let packet_identifier = identifier((publisher.sent % WINDOW) as u16 + 1);
                let packet = publish(&publisher.topic_name, &PAYLOAD, self.qos, packet_identifier);
                append(&packet, VERSION, self.bed.to_send(publisher.client));
                publisher.sent += 1;
            }
            publisher.left -= free;
            if self.qos != QoS::AtMostOnce {
                publisher.under_way += free;
            }
            books.owed.fetch_add(u64::from(free) * publisher.receivers, Ordering::Relaxed);
        }
    }

    /// One turn, if there is something to do; says so. Only what a worker does counts as work.
    fn turn(&mut self, books: &Books) -> bool {
        let first = self.inbox.try_recv().ok();
        if first.is_none() && !self.bed.has_work() {
            return false;
        }
        let began = Instant::now();
        for (from, batch) in first.into_iter().chain(self.inbox.try_iter()) {
            self.bed.handle_batch(from, batch);
        }
        self.bed.turn();
        while let Some((worker, batch)) = self.bed.take_forwarded() {
            // The other side is gone only when everything has arrived.
            let _ = self.outboxes[usize::from(worker.0)].send((self.number, batch));
        }
        self.busy += began.elapsed();
        while let Some((client, version, received)) = self.bed.take_received() {
            self.take(client, version, &received, books);
            self.bed.give_back(client, received);
        }
        true
    }

    /// A Client takes what was written to it, and answers.
    fn take(
        &mut self,
        client: ClientNumber,
        version: ProtocolVersion,
        received: &[u8],
        books: &Books,
    ) {
        let decoder = Decoder::new(version, u32::MAX);
        let mut input = BytesMut::from(received);
        let mut messages = 0;
        while let Some(packet) = decoder.decode(&mut input).expect("a legal packet") {
            match &packet {
                Packet::Publish(_) => messages += 1,
                Packet::PubAck(_) | Packet::PubComp(_) => {
                    let publisher = self.publisher_of[client.index()].expect("a publisher");
                    self.publishers[publisher].under_way -= 1;
                }
                _ => {}
            }
            if let Some(answer) = answer(&packet) {
                append(&answer, version, self.bed.to_send(client));
            }
        }
        assert!(input.is_empty(), "only whole packets are written");
        books.delivered.fetch_add(messages, Ordering::Relaxed);
    }
}
