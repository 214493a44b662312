//! The threads that decide about logins, and the bounded queue in front of them.

use super::chain::Candidate;
use super::judge::{Judge, Ruling};
use super::later::{Answer as Delayed, Later};
use crate::core::ConnectionKey;
use crate::worker::{Peer, WorkerMessage};
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

/// A login to be decided.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) candidate: Candidate,
    /// The worker that wants to know, by its place among the peers.
    pub(crate) worker: usize,
    pub(crate) connection: ConnectionKey,
    pub(crate) exchange: u32,
    /// When nobody wants to know any more.
    pub(crate) until: Clock,
    /// Nobody wants to know any more, either, once the connection has let go of this.
    pub(crate) wanted: Weak<()>,
}

/// The way to the threads. They end when nobody has one any more.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    sender: SyncSender<Job>,
    later: Later,
}

impl Pool {
    /// Starts so many threads, for which so many logins may wait.
    pub(crate) fn start(
        judge: &Arc<Judge>,
        peers: &[Peer],
        threads: usize,
        waiting_max: usize,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (sender, receiver) = sync_channel(waiting_max);
        let receiver = Arc::new(Mutex::new(receiver));
        let (later, last) = Later::start(peers)?;
        let threads = (0..threads).map(|number| {
            let (judge, receiver) = (judge.clone(), receiver.clone());
            let answers = Answers { peers: peers.to_vec(), later: later.clone() };
            std::thread::Builder::new()
                .name(format!("dunlin-login-{number}"))
                .spawn(move || work(&judge, &answers, &receiver))
        });
        let mut threads = threads.collect::<io::Result<Vec<_>>>()?;
        threads.push(last);
        Ok((Self { sender, later }, threads))
    }

    /// Lets an answer wait for its time; gives it back if too many do.
    pub(crate) fn wait(
        &self,
        at: Clock,
        worker: usize,
        message: WorkerMessage,
    ) -> Result<(), WorkerMessage> {
        self.later.wait(Delayed { at, worker, message }).map_err(|refused| refused.message)
    }

    /// Lets a login wait for its turn; whether there was room for it.
    #[must_use]
    pub(crate) fn submit(&self, job: Job) -> bool {
        self.sender.try_send(job).is_ok()
    }
}

/// Decides until nobody is left to ask.
fn work(judge: &Judge, answers: &Answers, jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { candidate, worker, connection, exchange, until, wanted }) = job else {
            return;
        };
        // Its core has turned it away by itself, or the Client has left; at the end of the broker all
        // have.
        if Clock::now() >= until || wanted.strong_count() == 0 {
            continue;
        }
        let Ruling { decision, delay } = judge.decide(Clock::now(), &candidate);
        let decision = Box::new(decision);
        let message = WorkerMessage::Decided { connection, exchange, decision };
        answers.send(worker, message, delay);
    }
}

/// The way of answers to the workers.
struct Answers {
    peers: Vec<Peer>,
    later: Later,
}

impl Answers {
    fn send(&self, worker: usize, message: WorkerMessage, delay: Duration) {
        let message = match delay {
            Duration::ZERO => message,
            delay => match self.later.wait(Delayed { at: Clock::now() + delay, worker, message }) {
                Ok(()) => return,
                Err(Delayed { message, .. }) => message,
            },
        };
        self.peers[worker].send(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::chain::{Answer, Chain, Method};
    use crate::core::{
        Core, CoreConfig, Decision, Durability, Grant, Login, QueueHead, RetainedStore,
        WorkerNumber,
    };
    use crate::store::StoreWaker;
    use dunlin_protocol::Instant;
    use mio::{Poll, Token, Waker};
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::mpsc::{Sender, channel};

    /// A method that says who it was asked about, and answers when it is told to.
    #[derive(Debug)]
    struct Slow {
        begun: Mutex<Sender<String>>,
        goes_on: Mutex<Receiver<()>>,
    }

    impl Method for Slow {
        fn answer_at_once(&self, _: &Candidate) -> Option<Answer> {
            None
        }

        fn answer(&self, candidate: &Candidate) -> Answer {
            let name = candidate.login.client_identifier.to_string();
            self.begun.lock().unwrap().send(name).unwrap();
            self.goes_on.lock().unwrap().recv().unwrap();
            Answer::Allow(Grant::default())
        }
    }

    fn connection() -> ConnectionKey {
        let config = CoreConfig {
            worker: WorkerNumber(0),
            workers: 1,
            limits: Arc::default(),
            seed: 1,
            retained: RetainedStore::new(),
            stores: false,
            queue_head: QueueHead::default(),
            durability: Arc::default(),
            login_timeout: None,
            anonymous_may_claim: true,
            rights: None,
            version: "test",
        };
        Core::new(Instant::ZERO, config).open(Instant::ZERO, Durability::Memory)
    }

    #[test]
    fn a_full_queue_refuses_and_what_nobody_waits_for_is_not_begun() {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (sender, inbox) = channel();
        let peer = Peer {
            sender,
            waker: StoreWaker { waker, is_woken: Arc::new(AtomicBool::new(false)) },
            backlog: Arc::new(AtomicUsize::new(0)),
        };
        let (begun, has_begun) = channel();
        let (go_on, goes_on) = channel();
        let mut chain = Chain::default();
        chain.push(Slow { begun: Mutex::new(begun), goes_on: Mutex::new(goes_on) });
        let judge = Arc::new(Judge::new(chain, None, Clock::now()));
        let (pool, threads) = Pool::start(&judge, &[peer], 1, 3).unwrap();
        let here = Arc::new(());

        let connection = connection();
        let now = Clock::now();
        let job = |name: &str, exchange, until, client: &Arc<()>| {
            let client_identifier = name.parse().unwrap();
            let login =
                Login { client_identifier, user_name: None, password: None, enhanced: None };
            let (login, clocks) = (Box::new(login), (now, Instant::ZERO));
            let candidate = Candidate { login, certificate: None, address: None, clocks };
            let wanted = Arc::downgrade(client);
            Job { candidate, worker: 0, connection, exchange, until, wanted }
        };
        let later = now + Duration::from_secs(3600);
        assert!(pool.submit(job("first", 1, later, &here)));
        assert_eq!(has_begun.recv().unwrap(), "first");
        assert!(pool.submit(job("late", 2, now, &here)));
        let gone = Arc::new(());
        assert!(pool.submit(job("gone", 2, later, &gone)));
        assert!(pool.submit(job("last", 3, later, &here)));
        assert!(!pool.submit(job("too many", 4, later, &here)));
        drop(gone);

        go_on.send(()).unwrap();
        assert_eq!(has_begun.recv().unwrap(), "last");
        go_on.send(()).unwrap();
        for expected in [1, 3] {
            match inbox.recv().unwrap() {
                WorkerMessage::Decided { exchange, decision, .. } => {
                    assert_eq!(exchange, expected);
                    assert_eq!(*decision, Decision::Allow(Grant::default()));
                }
                message => panic!("{message:?}"),
            }
        }
        drop(pool);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
