//! A broker with a store that is always a little behind: what it acknowledged, the next one has.

use crate::peer::{Peer, connect, publish, subscribe};
use dunlin_broker::config::Config;
use dunlin_broker::core::{Durability, Fetch, Fetched, Record, RecordNumber, WorkerNumber};
use dunlin_broker::{Broker, Limits, Storage, Store, StoreWaker};
use dunlin_protocol::codec::{Connect, Packet, PacketIdentifier, QoS, ReasonCode};
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A log in memory that outlives its broker.
#[derive(Clone, Default)]
pub(crate) struct Log(pub(crate) Arc<Mutex<Vec<Record>>>);

/// The end of one worker: another thread stores what it appends.
struct End {
    log: Log,
    stored_upto: Arc<AtomicU64>,
    /// Gone when the worker is.
    sender: Option<Sender<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl Storage for Log {
    fn recover(
        &mut self,
        each: &mut dyn FnMut(Record),
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.lock().expect("a log").iter().cloned().for_each(each);
        Ok(())
    }

    fn open(&mut self, _: WorkerNumber, waker: StoreWaker) -> Box<dyn Store> {
        let (sender, appended): (_, Receiver<u64>) = channel();
        let stored_upto = Arc::new(AtomicU64::new(0));
        let stored = stored_upto.clone();
        let thread = std::thread::spawn(move || {
            for last in appended {
                stored.store(last, Ordering::Release);
                waker.wake();
            }
        });
        let (log, sender, thread) = (self.clone(), Some(sender), Some(thread));
        Box::new(End { log, stored_upto, sender, thread })
    }
}

impl Store for End {
    fn append(&mut self, last: RecordNumber, records: Vec<Record>, _: Durability) {
        self.log.0.lock().expect("a log").extend(records);
        self.sender.as_ref().expect("open").send(last.0).expect("a thread");
    }

    fn stored_upto(&self, _: Durability) -> RecordNumber {
        RecordNumber(self.stored_upto.load(Ordering::Acquire))
    }

    fn fetch(&mut self, fetch: Fetch) {
        panic!("this store keeps nothing to itself: {fetch:?}");
    }

    fn take_fetched(&mut self) -> Option<Fetched> {
        None
    }

    fn is_ready(&self) -> bool {
        true
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.sender = None;
        self.thread.take().expect("a thread").join().expect("all is stored");
    }
}

pub(crate) fn start(log: &(impl Storage + Clone + 'static), workers: usize) -> Broker {
    // No worker has something to do of its own accord, so that one that forgets to be woken shows.
    let limits = Limits { sys_interval_secs: 0, connect_timeout_secs: 3600, ..Limits::default() };
    let config = Config { listeners: Vec::new(), workers, limits, ..Config::default() };
    Broker::builder().config(config).storage(log.clone()).start().expect("nothing to bind")
}

/// Resumes a session that survives; whether it was there.
pub(crate) fn resume(broker: &Broker, client_identifier: &str) -> (Peer, bool) {
    let mut peer = Peer::new(broker.connect_local().expect("a pipe"));
    let Packet::Connect(packet) = connect(client_identifier) else { panic!("no CONNECT") };
    let mut packet = Connect { clean_start: false, ..*packet };
    packet.properties.session_expiry_interval = Some(3600);
    peer.send(&Packet::Connect(Box::new(packet)));
    match peer.receive() {
        Some(Packet::ConnAck(connack)) if connack.reason_code == ReasonCode::Success => {
            (peer, connack.session_present)
        }
        packet => panic!("no CONNACK but {packet:?}"),
    }
}

#[test]
fn what_a_broker_has_acknowledged_its_successor_delivers() {
    let log = Log::default();
    let names: Vec<_> = (0..5).map(|at| format!("sub-{at}")).collect();
    let broker = start(&log, 3);
    for name in &names {
        let (mut peer, session_present) = resume(&broker, name);
        assert!(!session_present);
        peer.send(&subscribe("a", QoS::ExactlyOnce));
        assert!(matches!(peer.receive(), Some(Packet::SubAck(_))));
    }
    broker.stop();
    for (workers, round) in [(3, 0), (1, 1), (2, 2)] {
        let broker = start(&log, workers);
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let (mut publisher, session_present) = resume(&broker, "pub");
            assert_eq!(session_present, round > 0 || qos == QoS::ExactlyOnce);
            publisher.send(&publish("a", b"x", qos));
            let answer = publisher.answer(qos);
            let identifier = match answer {
                Some(Packet::PubAck(ack) | Packet::PubComp(ack)) => ack.packet_identifier,
                packet => panic!("{qos:?} was answered with {packet:?}"),
            };
            assert!(identifier >= PacketIdentifier::FIRST);
        }
        broker.stop();
        let broker = start(&log, 4 - workers);
        for name in &names {
            let (mut peer, session_present) = resume(&broker, name);
            assert!(session_present);
            let mut got: Vec<_> = (0..2).map(|_| peer.take_message().delivery.qos()).collect();
            got.sort_unstable();
            assert_eq!(got, [QoS::AtLeastOnce, QoS::ExactlyOnce], "{name} after {round}");
            // Its last answer is taken before the broker stops.
            peer.send(&Packet::PingReq);
            assert_eq!(peer.receive(), Some(Packet::PingResp));
        }
        broker.stop();
    }
}
