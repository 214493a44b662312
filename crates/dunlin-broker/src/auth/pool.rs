//! The threads that decide about logins: those of each method, with a bounded queue in front of them,
//! so that a method that takes long keeps nobody waiting but who needs it.

use super::chain::{Bulkhead, Candidate, Method};
use super::judge::{Course, Judge, Ruling};
use super::later::{Answer as Delayed, Later};
use super::queue::{Client, Queue, Turn};
use crate::core::{ConnectionKey, Decision};
use crate::worker::{Peer, WorkerMessage};
use dunlin_protocol::codec::ReasonCode;
use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock};

/// A login to be decided.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) candidate: Candidate,
    /// The method that has to think, by its place in the chain.
    pub(crate) method: usize,
    /// The worker that wants to know, by its place among the peers.
    pub(crate) worker: usize,
    pub(crate) connection: ConnectionKey,
    pub(crate) exchange: u32,
    /// When nobody wants to know any more.
    pub(crate) until: Clock,
    /// Nobody wants to know any more, either, once the connection has let go of this.
    pub(crate) wanted: Weak<()>,
}

impl Job {
    /// Whether somebody waits for it: else its core has turned the Client away by itself, or the
    /// Client has left; at the end of the broker all have.
    fn is_wanted(&self, now: Clock) -> bool {
        now < self.until && self.wanted.strong_count() > 0
    }

    /// Who has to wait until it is over. Who has no address is on this machine.
    fn client(&self) -> Option<Client> {
        let login = &self.candidate.login;
        let name = login.user_name.as_ref().unwrap_or(&login.client_identifier);
        self.candidate.address.map(|address| Client::new(address.ip(), name))
    }
}

/// The way to the threads. They end when nobody has one any more.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    judge: Arc<Judge>,
    peers: Vec<Peer>,
    later: Later,
    /// The queue of each method that has threads, by its place in the chain.
    queues: Vec<Option<Arc<Queue<Job>>>>,
}

impl Pool {
    /// Starts the threads of each method, for which so many logins may wait. Gives those that the end
    /// of the broker waits for.
    pub(crate) fn start(
        judge: &Arc<Judge>,
        peers: &[Peer],
        waiting_max: usize,
    ) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let bulkheads: Vec<_> = judge.chain().methods().map(Method::bulkhead).collect();
        // Who shares an address and a name with many may still have a part of the threads.
        let queue =
            |bulkhead: Bulkhead| Arc::new(Queue::new(waiting_max, (bulkhead.threads / 4).max(1)));
        let queues = bulkheads.iter().map(|bulkhead| bulkhead.map(queue)).collect();
        let (later, last) = Later::start(peers)?;
        let (judge, peers) = (judge.clone(), peers.to_vec());
        let shared = Arc::new(Shared { judge, peers, later, queues });
        let mut threads = Vec::new();
        for (method, bulkhead) in bulkheads.into_iter().enumerate() {
            let (Some(bulkhead), Some(queue)) = (bulkhead, &shared.queues[method]) else {
                continue;
            };
            for number in 0..bulkhead.threads {
                let (judge, queue) = (shared.judge.clone(), queue.clone());
                // Who thinks keeps nobody else's threads alive.
                let shared = Arc::downgrade(&shared);
                let thread = std::thread::Builder::new()
                    .name(format!("dunlin-{}-{number}", bulkhead.name))
                    .spawn(move || work(&judge, &queue, &shared))?;
                if !bulkhead.may_hang {
                    threads.push(thread);
                }
            }
            shared.tell_news(method);
        }
        threads.push(last);
        Ok((Self(shared), threads))
    }

    /// Lets an answer wait for its time; gives it back if too many do.
    pub(crate) fn wait(
        &self,
        at: Clock,
        worker: usize,
        message: WorkerMessage,
    ) -> Result<(), WorkerMessage> {
        self.0.later.wait(Delayed { at, worker, message }).map_err(|refused| refused.message)
    }

    /// Lets a login wait for its turn; whether there was room for it.
    #[must_use]
    pub(crate) fn submit(&self, job: Job) -> bool {
        self.0.submit(job).is_none()
    }
}

/// Decides until nobody is left to ask.
fn work(judge: &Judge, queue: &Queue<Job>, shared: &Weak<Shared>) {
    while let Some(Turn { item: job, client }) = queue.take() {
        let now = Clock::now();
        let course = job.is_wanted(now).then(|| judge.ask(now, job.method, &job.candidate));
        if let Some(why) = late(&job, now, course.as_ref()) {
            judge.refusals().tell(&job.candidate, why);
        }
        queue.finish(client);
        let Some(shared) = shared.upgrade() else { return };
        shared.tell_news(job.method);
        match course {
            Some(Course::Ruled(ruling)) => shared.answer(&job, ruling),
            Some(Course::Asks(method)) => shared.hand_on(Job { method, ..job }),
            None => {}
        }
    }
}

/// What there is to be told of a login that has taken too long, which began to be decided at a time.
fn late(job: &Job, begun: Clock, course: Option<&Course>) -> Option<&'static str> {
    match course {
        None if begun >= job.until => Some("its turn did not come within auth.timeout_secs"),
        // Of others that are ruled the log was told, or the next method is about to.
        Some(Course::Ruled(Ruling { decision, .. }))
            if !matches!(decision, Decision::Deny(_)) && Clock::now() >= job.until =>
        {
            Some("it was not decided within auth.timeout_secs")
        }
        _ => None,
    }
}

impl Shared {
    /// Lets a login wait for its turn; gives it back if there is no room.
    fn submit(&self, job: Job) -> Option<Job> {
        let Some(Some(queue)) = self.queues.get(job.method) else { return Some(job) };
        let refused = queue.push(job.client(), job)?;
        let why = "as many logins wait before it as auth.waiting_max allows";
        self.judge.refusals().tell(&refused.candidate, why);
        Some(refused)
    }

    /// Gives a login to the threads of the next method.
    fn hand_on(&self, job: Job) {
        if let Some(refused) = self.submit(job) {
            let decision = Decision::Deny(ReasonCode::ServerBusy);
            self.answer(&refused, Ruling { decision, delay: Duration::ZERO });
        }
    }

    fn answer(&self, job: &Job, Ruling { decision, delay }: Ruling) {
        let (connection, exchange) = (job.connection, job.exchange);
        let decision = Box::new(decision);
        let message = WorkerMessage::Decided { connection, exchange, decision };
        let (worker, at) = (job.worker, Clock::now() + delay);
        let message = match delay {
            Duration::ZERO => message,
            _ => match self.later.wait(Delayed { at, worker, message }) {
                Ok(()) => return,
                Err(Delayed { message, .. }) => message,
            },
        };
        self.peers[worker].send(message);
    }

    /// Tells the worker that speaks under `$SYS` how a method is.
    fn tell_news(&self, method: usize) {
        let news = self.judge.chain().methods().nth(method).map(Method::news).unwrap_or_default();
        if !news.is_empty() {
            self.peers[0].send(WorkerMessage::Report(news));
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queues.iter().flatten().for_each(|queue| queue.close());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::chain::{Answer, Chain};
    use crate::core::{
        Core, CoreConfig, Durability, Grant, QueueHead, RetainedStore, WorkerNumber,
    };
    use crate::store::StoreWaker;
    use dunlin_protocol::Instant;
    use mio::{Poll, Token, Waker};
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// A method that says who it was asked about, and answers as it is told.
    #[derive(Debug)]
    struct Slow {
        begun: Mutex<Sender<String>>,
        answers: Mutex<Receiver<Answer>>,
        may_hang: bool,
    }

    /// The other ends of one.
    struct Controls {
        has_begun: Receiver<String>,
        answers: Sender<Answer>,
    }

    impl Slow {
        fn new(may_hang: bool) -> (Self, Controls) {
            let ((begun, has_begun), (sender, answers)) = (channel(), channel());
            let slow = Self { begun: Mutex::new(begun), answers: Mutex::new(answers), may_hang };
            (slow, Controls { has_begun, answers: sender })
        }
    }

    impl Method for Slow {
        fn answer_at_once(&self, _: &Candidate) -> Option<Answer> {
            None
        }

        fn answer(&self, candidate: &Candidate) -> Answer {
            let name = candidate.login.client_identifier.to_string();
            // At the end of a test nobody listens.
            let _ = self.begun.lock().unwrap().send(name);
            self.answers.lock().unwrap().recv().unwrap_or(Answer::NotMine)
        }

        fn bulkhead(&self) -> Option<Bulkhead> {
            Some(Bulkhead { name: "slow", threads: 1, may_hang: self.may_hang })
        }
    }

    /// Methods with their threads, and the worker that asks them.
    struct Trial {
        pool: Pool,
        threads: Vec<JoinHandle<()>>,
        inbox: Receiver<WorkerMessage>,
        connection: ConnectionKey,
        now: Clock,
        _poll: Poll,
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

    impl Trial {
        fn new(methods: impl IntoIterator<Item = Slow>, waiting_max: usize) -> Self {
            let poll = Poll::new().unwrap();
            let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
            let (sender, inbox) = channel();
            let peer = Peer {
                sender,
                waker: StoreWaker { waker, is_woken: Arc::new(AtomicBool::new(false)) },
                backlog: Arc::new(AtomicUsize::new(0)),
            };
            let mut chain = Chain::default();
            methods.into_iter().for_each(|method| chain.push(method));
            let now = Clock::now();
            let judge = Arc::new(Judge::new(chain, None, now));
            let (pool, threads) = Pool::start(&judge, &[peer], waiting_max).unwrap();
            Self { pool, threads, inbox, connection: connection(), now, _poll: poll }
        }

        /// The login of a Client that asks the first method, and stays as long as this is there.
        fn job(&self, name: &str, exchange: u32, client: &Arc<()>) -> Job {
            let mut candidate = Candidate::local(None, None);
            candidate.login.client_identifier = name.parse().unwrap();
            candidate.clocks.0 = self.now;
            Job {
                candidate,
                method: 0,
                worker: 0,
                connection: self.connection,
                exchange,
                until: self.now + Duration::from_secs(3600),
                wanted: Arc::downgrade(client),
            }
        }

        fn expect(&self, expected: u32, decision: &Decision) {
            match self.inbox.recv().unwrap() {
                WorkerMessage::Decided { exchange, decision: made, .. } => {
                    assert_eq!((exchange, &*made), (expected, decision));
                }
                message => panic!("{message:?}"),
            }
        }

        /// All threads end that the broker would wait for.
        fn end(self) {
            drop(self.pool);
            self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    }

    fn allowed() -> Answer {
        Answer::Allow(Grant::default())
    }

    #[test]
    fn a_full_queue_refuses_and_what_nobody_waits_for_is_not_begun() {
        let (slow, controls) = Slow::new(false);
        let trial = Trial::new([slow], 3);
        let here = Arc::new(());
        assert!(trial.pool.submit(trial.job("first", 1, &here)));
        assert_eq!(controls.has_begun.recv().unwrap(), "first");
        assert!(trial.pool.submit(Job { until: trial.now, ..trial.job("late", 2, &here) }));
        let gone = Arc::new(());
        assert!(trial.pool.submit(trial.job("gone", 2, &gone)));
        assert!(trial.pool.submit(trial.job("last", 3, &here)));
        assert!(!trial.pool.submit(trial.job("too many", 4, &here)));
        drop(gone);

        controls.answers.send(allowed()).unwrap();
        assert_eq!(controls.has_begun.recv().unwrap(), "last");
        controls.answers.send(allowed()).unwrap();
        for expected in [1, 3] {
            trial.expect(expected, &Decision::Allow(Grant::default()));
        }
        trial.end();
    }

    #[test]
    fn what_was_too_late_is_told_unless_its_refusal_was() {
        let (slow, _controls) = Slow::new(false);
        let trial = Trial::new([slow], 1);
        let here = Arc::new(());
        let ruled = |decision| Course::Ruled(Ruling { decision, delay: Duration::ZERO });
        let allowed = ruled(Decision::Allow(Grant::default()));
        let denied = ruled(Decision::Deny(ReasonCode::ServerUnavailable));
        let in_time = trial.job("one", 1, &here);
        let too_late = Job { until: trial.now, ..trial.job("one", 1, &here) };
        let told = |job: &Job, course: Option<&Course>| late(job, trial.now, course);
        for course in [None, Some(&allowed), Some(&denied), Some(&Course::Asks(1))] {
            assert_eq!(told(&in_time, course), None, "{course:?}");
        }
        for (course, expected) in [
            (None, Some("its turn did not come within auth.timeout_secs")),
            (Some(&allowed), Some("it was not decided within auth.timeout_secs")),
            (Some(&denied), None),
            (Some(&Course::Asks(1)), None),
        ] {
            assert_eq!(told(&too_late, course), expected, "{course:?}");
        }
        trial.end();
    }

    #[test]
    fn each_method_has_threads_and_a_queue_of_its_own() {
        let ((first, of_first), (second, of_second)) = (Slow::new(false), Slow::new(false));
        let trial = Trial::new([first, second], 1);
        let here = Arc::new(());
        // One that the second method thinks about, one that waits for it: it is full.
        for (exchange, name) in (1..).zip(["thought", "waits"]) {
            assert!(trial.pool.submit(Job { method: 1, ..trial.job(name, exchange, &here) }));
            if exchange == 1 {
                assert_eq!(of_second.has_begun.recv().unwrap(), "thought");
            }
        }
        assert!(!trial.pool.submit(Job { method: 1, ..trial.job("more", 3, &here) }));
        // Nobody who needs the first one alone knows of that.
        assert!(trial.pool.submit(trial.job("free", 4, &here)));
        assert_eq!(of_first.has_begun.recv().unwrap(), "free");
        of_first.answers.send(allowed()).unwrap();
        trial.expect(4, &Decision::Allow(Grant::default()));
        // Who is not the first one's has to go on to the second.
        assert!(trial.pool.submit(trial.job("stranger", 5, &here)));
        assert_eq!(of_first.has_begun.recv().unwrap(), "stranger");
        of_first.answers.send(Answer::NotMine).unwrap();
        trial.expect(5, &Decision::Deny(ReasonCode::ServerBusy));

        for (exchange, next) in [(1, Some("waits")), (2, None)] {
            of_second.answers.send(allowed()).unwrap();
            trial.expect(exchange, &Decision::Allow(Grant::default()));
            if let Some(next) = next {
                assert_eq!(of_second.has_begun.recv().unwrap(), next);
            }
        }
        assert!(trial.pool.submit(trial.job("stranger", 6, &here)));
        of_first.answers.send(Answer::NotMine).unwrap();
        of_second.answers.send(Answer::NotMine).unwrap();
        trial.expect(6, &Decision::Deny(ReasonCode::BadUserNameOrPassword));
        trial.end();
    }

    #[test]
    fn one_login_of_an_address_and_name_is_thought_about_at_a_time() {
        let (slow, controls) = Slow::new(false);
        let trial = Trial::new([slow], 10);
        let here = Arc::new(());
        let from = |address: &str, name, exchange| {
            let mut job = trial.job(name, exchange, &here);
            let address: SocketAddr = address.parse().unwrap();
            (job.candidate.address, job.candidate.login.user_name) =
                (Some(address), Some("gauge".parse().unwrap()));
            job
        };
        assert!(trial.pool.submit(from("192.0.2.1:1000", "one", 1)));
        assert_eq!(controls.has_begun.recv().unwrap(), "one");
        assert!(trial.pool.submit(from("192.0.2.1:1001", "two", 2)));
        assert!(trial.pool.submit(from("192.0.2.2:1000", "neighbour", 3)));
        for (exchange, next) in [(1, Some("neighbour")), (3, Some("two")), (2, None)] {
            controls.answers.send(allowed()).unwrap();
            trial.expect(exchange, &Decision::Allow(Grant::default()));
            if let Some(next) = next {
                assert_eq!(controls.has_begun.recv().unwrap(), next);
            }
        }
        trial.end();
    }

    #[test]
    fn the_end_does_not_wait_for_what_may_hang() {
        let (slow, controls) = Slow::new(true);
        let trial = Trial::new([slow], 10);
        let here = Arc::new(());
        assert!(trial.pool.submit(trial.job("hanging", 1, &here)));
        assert_eq!(controls.has_begun.recv().unwrap(), "hanging");
        trial.end();
        // Only now it gets an answer, which nobody hears.
        controls.answers.send(allowed()).unwrap();
    }
}
