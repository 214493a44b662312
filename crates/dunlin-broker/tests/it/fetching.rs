//! A broker with a store that alone has the queues, and answers all who ask for theirs at once.

use crate::join;
use crate::peer::{publish, subscribe};
use crate::storage::{Log, resume, start};
use dunlin_broker::core::{Durability, Fetch, Fetched, Record, RecordNumber, WorkerNumber};
use dunlin_broker::{Storage, Store, StoreWaker};
use dunlin_protocol::codec::{Packet, QoS};
use std::collections::VecDeque;
use std::error::Error;

/// More than a worker takes in a turn.
const SESSIONS: usize = 200;

/// Gives back what a [`Log`] has, each queue as one record that tells of it.
#[derive(Clone)]
struct Queues(Log);

struct End {
    log: Box<dyn Store>,
    queues: Log,
    asked: usize,
    answers: VecDeque<Fetched>,
    waker: StoreWaker,
}

impl Storage for Queues {
    fn recover(
        &mut self,
        each: &mut dyn FnMut(Record),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.recover(&mut |record| {
            each(match record {
                Record::Owed { client_identifier, number, message, .. } => Record::Waiting {
                    client_identifier,
                    first: number,
                    last: number,
                    len: 1,
                    bytes: message.size() as u64,
                },
                record => record,
            });
        })
    }

    fn open(&mut self, worker: WorkerNumber, waker: StoreWaker) -> Box<dyn Store> {
        let log = self.0.open(worker, waker.clone());
        Box::new(End { log, queues: self.0.clone(), asked: 0, answers: VecDeque::new(), waker })
    }
}

impl Store for End {
    fn append(&mut self, last: RecordNumber, records: Vec<Record>, durability: Durability) {
        // Once all have asked the disk hangs: what is stored must not be what wakes the worker.
        if self.asked < SESSIONS {
            self.log.append(last, records, durability);
        }
    }

    fn stored_upto(&self, durability: Durability) -> RecordNumber {
        self.log.stored_upto(durability)
    }

    fn fetch(&mut self, fetch: Fetch) {
        let log = self.queues.0.lock().expect("a log");
        let is_wanted = |record: &&Record| {
            matches!(record, Record::Owed { client_identifier, number, .. }
                if *client_identifier == fetch.client_identifier && *number > fetch.after)
        };
        let messages: Vec<_> = log.iter().filter(is_wanted).cloned().collect();
        let session = fetch.session;
        self.answers.push_back(Fetched { session, messages, more: false, damaged: 0 });
        self.asked += 1;
        if self.asked == SESSIONS {
            self.waker.wake();
        }
    }

    fn take_fetched(&mut self) -> Option<Fetched> {
        if self.asked < SESSIONS { None } else { self.answers.pop_front() }
    }

    fn is_ready(&self) -> bool {
        true
    }
}

#[test]
fn pages_that_come_all_at_once_reach_all_who_wait_for_them() {
    let log = Log::default();
    let names: Vec<_> = (0..SESSIONS).map(|at| format!("sub-{at}")).collect();
    let broker = start(&log, 1);
    for name in &names {
        let (mut peer, _) = resume(&broker, name);
        peer.send(&subscribe("a", QoS::AtLeastOnce));
        assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
    }
    broker.stop();
    let broker = start(&log, 1);
    let mut publisher = join(&broker, "pub");
    publisher.send(&publish("a", b"x", QoS::AtLeastOnce));
    assert!(matches!(publisher.receive(), Some(Packet::PubAck(_))));
    broker.stop();
    let broker = start(&Queues(log), 1);
    let mut peers: Vec<_> = names.iter().map(|name| resume(&broker, name)).collect();
    // Those who asked last first: whoever reads makes room in a pipe, of which the worker is told.
    for (peer, session_present) in peers.iter_mut().rev() {
        assert!(*session_present);
        assert_eq!(peer.take_message().payload, &b"x"[..]);
    }
}
