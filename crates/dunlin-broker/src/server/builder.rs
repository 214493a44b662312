//! A broker put together: sockets bound, state taken up, threads started.

use super::bound::Bound;
use super::recovery::recover;
use super::{Broker, FrontHandle, StartError};
use crate::admission::Admission;
use crate::auth::{Authentication, Chain, Damping, Judge, Methods, Pool};
use crate::config::{Config, Endpoint, Listener};
use crate::core::{
    Core, CoreConfig, QueueHead, RetainedStore, Rules, UserConnections, WorkerNumber,
};
use crate::front::{Door, Front, FrontParts, PlaceLimits, Watcher};
use crate::pressure::{self, Caller, Ceiling, Gauge, Statm, Watch};
#[cfg(feature = "quic")]
use crate::quic::{Quic, QuicParts};
use crate::rights::RightsFile;
use crate::store::{Storage, StoreWaker};
use crate::worker::{Peer, Worker, WorkerMessage, WorkerParts};
use dunlin_protocol::Instant;
use mio::{Poll, Token, Waker};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock, SystemTime};

/// Collects what a broker needs to start.
#[derive(Default)]
pub struct Builder {
    config: Config,
    storage: Option<Box<dyn Storage>>,
    give_back: Option<fn()>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets the configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets where state is kept that must survive the process. Without a storage it lives in memory
    /// alone.
    #[must_use]
    pub fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.storage = Some(Box::new(storage));
        self
    }

    /// Sets what gives memory that was freed back to the system, where the allocator does not do so by
    /// itself while nothing is asked of it. Every thread of workers and the one that watches memory call
    /// it every ten seconds, and up to five times a second while memory is scarce: what is freed then
    /// has to be seen.
    #[must_use]
    pub const fn give_back(mut self, give_back: fn()) -> Self {
        self.give_back = Some(give_back);
        self
    }

    /// Binds the listeners, takes up what is stored, and starts the workers.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(self) -> Result<Broker, StartError> {
        let config = self.config;
        if let Some(listener) = config.exposed_listener() {
            return Err(StartError::Exposed { listener: Box::new(listener.clone()) });
        }
        if let Some(listener) = config.closed_listener() {
            return Err(StartError::NobodyAllowed(listener.to_string()));
        }
        if let Some(listener) = config.plaintext_listener() {
            return Err(StartError::Plaintext(listener.to_string()));
        }
        if let Some((key, reason)) = config.auth.mistake() {
            return Err(StartError::Setting { key, reason });
        }
        let methods = Methods::read(&config)?;
        let rights = config.rights.file.as_deref().map(RightsFile::read).transpose()?;
        let rules = rights.as_ref().map(RightsFile::rules);
        let mut bound = Vec::new();
        for (number, listener) in (0..).zip(&config.listeners) {
            bound.push(Bound::new(listener, config.durability.default, number)?);
        }
        let addresses = bound
            .iter()
            .map(|bound| bound.socket.address())
            .collect::<Result<Vec<_>, _>>()
            .map_err(StartError::Worker)?;
        // At most as many as a session key has room for.
        let workers = u8::try_from(config.workers.clamp(1, 255)).unwrap_or(u8::MAX);
        // The one place where randomness comes in.
        let seed = RandomState::new().hash_one(std::process::id());
        let stores = self.storage.is_some();
        let (mut broker, mut parts) =
            assemble(&config, workers, seed, stores, rules.as_ref(), &bound, addresses)
                .map_err(StartError::Worker)?;
        broker.rights = rights;
        let mut login_threads = Vec::new();
        if let Some(Methods { chain, passwords, tokens, hook }) = methods {
            (broker.passwords, broker.tokens, broker.hook) = (passwords, tokens, hook);
            login_threads = start_logins(&config, chain, &broker.peers, &mut parts)
                .map_err(StartError::Worker)?;
        }
        if config.memory.max > 0 {
            watch_growth(&config, stores, self.give_back, &mut parts)
                .map_err(StartError::Worker)?;
        }
        if let Some(storage) = self.storage {
            recover(storage, &mut parts, seed).map_err(StartError::Storage)?;
        }
        for parts in parts {
            let name = format!("dunlin-worker-{}", parts.number.0);
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || Worker::new(parts).run())
                .map_err(StartError::Worker)?;
            broker.threads.push(thread);
        }
        // After the workers: these end when no worker is left that could ask them.
        broker.threads.append(&mut login_threads);
        broker.start_front(&config, &bound).map_err(StartError::Worker)?;
        #[cfg(feature = "quic")]
        broker.start_quic(&config, &bound)?;
        broker.watch_files(&config).map_err(StartError::Worker)?;
        broker.socket_files =
            bound.into_iter().filter_map(|bound| bound.socket.into_file()).collect();
        broker.watch_memory(&config, stores, self.give_back).map_err(StartError::Worker)?;
        Ok(broker)
    }
}

/// The listener of connections from within the process, for rules that ask for one.
const LOCAL: &str = "local";

fn assemble(
    config: &Config,
    workers: u8,
    seed: u64,
    stores: bool,
    rules: Option<&Arc<Rules>>,
    bound: &[Bound],
    addresses: Vec<Option<SocketAddr>>,
) -> io::Result<(Broker, Vec<WorkerParts>)> {
    let retained = RetainedStore::new();
    let limits = Arc::new(config.limits_in_memory());
    let durability = Arc::new(config.durability.clone());
    let admission = Admission::new(&limits);
    let users = UserConnections::default();
    let started_at = (Clock::now(), since_epoch());
    let mut peers = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..workers {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(usize::MAX))?);
        let (sender, inbox) = mpsc::channel();
        peers.push(Peer {
            sender,
            waker: StoreWaker { waker, is_woken: Arc::new(AtomicBool::new(false)) },
            backlog: Arc::new(AtomicUsize::new(0)),
        });
        ends.push((poll, inbox));
    }
    let mut listeners = config.listeners.clone();
    for (listener, address) in listeners.iter_mut().zip(&addresses) {
        if let Some(address) = address {
            listener.endpoint = Endpoint::Address(*address);
        }
    }
    let names = listeners.iter().map(Listener::url).chain([LOCAL.to_owned()]);
    let names: Arc<[Arc<str>]> = names.map(Arc::from).collect();
    let mut parts = Vec::new();
    for (number, (poll, inbox)) in (0..workers).map(WorkerNumber).zip(ends) {
        let core = CoreConfig {
            worker: number,
            workers,
            limits: limits.clone(),
            seed,
            retained: retained.clone(),
            stores,
            queue_head: QueueHead::default(),
            durability: durability.clone(),
            login_timeout: config.asks_who_clients_are().then(|| login_timeout(config)),
            anonymous_may_claim: !config.auth.checks_passwords(),
            rights: rules.cloned(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let mut core = Core::new(started_at.1, core);
        core.share_users(users.clone());
        parts.push(WorkerParts {
            number,
            core,
            store: None,
            poll,
            acceptors: bound
                .iter()
                .filter(|bound| !bound.has_handshake())
                .map(Bound::acceptor)
                .collect::<io::Result<_>>()?,
            inbox,
            peers: peers.clone(),
            started_at,
            authentication: None,
            listeners: (rules.is_some() || config.auth.http.is_on()).then(|| names.clone()),
            urls: names.clone(),
            lag_max: Duration::from_millis(u64::from(limits.lag_max_millis)),
            admission: admission.clone(),
            gauge: None,
        });
    }
    let broker = Broker {
        listeners,
        addresses: addresses.into_iter().flatten().collect(),
        socket_files: Vec::new(),
        peers,
        admission,
        front: None,
        #[cfg(feature = "quic")]
        quic: None,
        memory_watch: None,
        passwords: None,
        tokens: None,
        hook: None,
        certificates: bound.iter().filter_map(|bound| bound.tls.clone()).collect(),
        watcher: None,
        rights: None,
        threads: Vec::new(),
        next_local: AtomicUsize::new(0),
        durability: config.durability.default,
    };
    Ok((broker, parts))
}

/// Starts the threads that find out who Clients are, and tells the workers of them.
fn start_logins(
    config: &Config,
    chain: Chain,
    peers: &[Peer],
    parts: &mut [WorkerParts],
) -> io::Result<Vec<JoinHandle<()>>> {
    let exempt = || config.auth.damping_exempt.clone();
    let damping = config.auth.damping.then(|| Damping::new(exempt()));
    let judge = Arc::new(Judge::new(chain, damping, Clock::now()));
    let (pool, threads) = Pool::start(&judge, peers, config.auth.waiting_max)?;
    let timeout = login_timeout(config);
    for parts in parts {
        let (judge, pool) = (judge.clone(), pool.clone());
        parts.authentication = Some(Authentication { judge, pool, timeout });
    }
    Ok(threads)
}

/// Lets each worker look at memory by itself.
fn watch_growth(
    config: &Config,
    stores: bool,
    give_back: Option<fn()>,
    parts: &mut [WorkerParts],
) -> io::Result<()> {
    let workers = parts.len();
    for parts in parts {
        let gauge = Gauge::open(Ceiling::new(config.memory.max, stores), workers, give_back)?;
        parts.core.look_after(gauge.step());
        parts.gauge = Some(gauge);
    }
    Ok(())
}

fn login_timeout(config: &Config) -> Duration {
    Duration::from_secs(u64::from(config.auth.timeout_secs))
}

/// The time that cores reckon with: it means the same in every process, and goes on from here by a
/// clock that never goes back.
pub(super) fn since_epoch() -> Instant {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::ZERO + since
}

impl Broker {
    /// Starts the thread for the listeners whose connections don't begin with MQTT, if there is one.
    fn start_front(&mut self, config: &Config, bound: &[Bound]) -> io::Result<()> {
        let mut doors = Vec::new();
        for bound in bound.iter().filter(|bound| bound.has_handshake() && !bound.is_quic()) {
            let acceptor = bound.acceptor()?;
            let (tls, web_socket) = (bound.tls.clone(), bound.web_socket.clone());
            let url = self.listeners.get(usize::from(acceptor.number)).map(Listener::url);
            let (url, proxies) = (url.unwrap_or_default(), bound.proxies.clone());
            doors.push(Door { acceptor, url, proxies, tls, web_socket });
        }
        if doors.is_empty() {
            return Ok(());
        }
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(usize::MAX))?);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (calls, called) = mpsc::channel();
        let limits = config.limits_in_memory();
        let parts = FrontParts {
            poll,
            doors,
            peers: self.peers.clone(),
            is_stopping: is_stopping.clone(),
            calls: called,
            admission: self.admission.clone(),
            limits: PlaceLimits {
                half_open_max: limits.half_open_max,
                half_open_per_address_max: limits.half_open_per_address_max,
                timeout: Duration::from_secs(u64::from(config.limits.handshake_timeout_secs)),
            },
        };
        let thread = std::thread::Builder::new()
            .name("dunlin-front".to_owned())
            .spawn(move || Front::new(parts).run())?;
        self.threads.push(thread);
        self.front = Some(FrontHandle { is_stopping, calls, waker });
        Ok(())
    }

    /// Starts the thread for the listeners of QUIC, if there is one.
    #[cfg(feature = "quic")]
    fn start_quic(&mut self, config: &Config, bound: &[Bound]) -> Result<(), StartError> {
        let doors = bound.iter().filter_map(|bound| bound.quic_door().transpose());
        let doors = doors.collect::<io::Result<Vec<_>>>().map_err(StartError::Worker)?;
        if doors.is_empty() {
            return Ok(());
        }
        let limits = config.limits_in_memory();
        let parts = QuicParts {
            doors,
            peers: self.peers.clone(),
            admission: self.admission.clone(),
            half_open_max: limits.half_open_max,
            half_open_per_address_max: limits.half_open_per_address_max,
            timeout: Duration::from_secs(u64::from(config.limits.handshake_timeout_secs)),
        };
        self.quic = Some(Quic::start(parts).map_err(StartError::Worker)?);
        Ok(())
    }

    /// Starts the thread that looks at the files of certificates, if there are any.
    fn watch_files(&mut self, config: &Config) -> io::Result<()> {
        if self.certificates.is_empty() {
            return Ok(());
        }
        let secs = u64::from(config.watch_files_secs);
        let every = (secs > 0).then(|| Duration::from_secs(secs));
        let (watcher, thread) =
            Watcher::start(self.certificates.clone(), every, self.peers[0].clone())?;
        self.threads.push(thread);
        self.watcher = Some(watcher);
        Ok(())
    }

    /// What lets the threads of this broker call something that allocate most.
    fn callers(&self) -> Vec<Caller> {
        let peers = self.peers.iter().cloned();
        let mut callers: Vec<Caller> = peers
            .map(|peer| -> Caller {
                Box::new(move |call| peer.send(WorkerMessage::GiveBack(call)))
            })
            .collect();
        if let Some(FrontHandle { calls, waker, .. }) = &self.front {
            let (calls, waker) = (calls.clone(), waker.clone());
            // A front that has ended has nothing to do any more.
            callers.push(Box::new(move |call| drop(calls.send(call).map(|()| waker.wake()))));
        }
        #[cfg(feature = "quic")]
        callers.extend(self.quic.iter().map(|quic| -> Caller { Box::new(quic.caller()) }));
        callers
    }

    /// Starts the thread that watches the memory of the process, if that has a limit, and that gives back
    /// what was freed.
    fn watch_memory(
        &mut self,
        config: &Config,
        stores: bool,
        give_back: Option<fn()>,
    ) -> io::Result<()> {
        let (sender, stop) = mpsc::channel();
        let peers = self.peers.clone();
        let callers = self.callers();
        let thread = std::thread::Builder::new().name("dunlin-memory".to_owned());
        let thread = if config.memory.max > 0 {
            let watch = Watch::new(Ceiling::new(config.memory.max, stores), give_back);
            let statm = Statm::open()?;
            thread.spawn(move || watch.run(&statm, &peers, &callers, &stop))?
        } else if let Some(give_back) = give_back {
            thread.spawn(move || pressure::give_back_at_times(give_back, &callers, &stop))?
        } else {
            return Ok(());
        };
        self.threads.push(thread);
        self.memory_watch = Some(sender);
        Ok(())
    }
}
