//! The broker as others see it: built, started, stopped.

use crate::admission::Admission;
use crate::auth::{
    Authentication, Chain, Damping, Judge, KeyFileError, Methods, PasswordFileError, Passwords,
    Pool, Tokens,
};
use crate::config::{Config, Endpoint, Listener, Network};
use crate::core::{
    Core, CoreConfig, Durability, Output, QueueHead, RetainedStore, Rules, UserConnections,
    WorkerNumber, owner,
};
use crate::front::{Certificates, Door, Front, FrontParts, Watcher, report};
use crate::net::{Acceptor, BoundFile, Listening, Stream, Transport, bind, bind_file};
use crate::pressure::{Ceiling, Statm, Watch};
use crate::rights::{RightsFile, RightsFileError};
use crate::store::{Storage, StoreWaker};
use crate::worker::{Opened, Peer, Worker, WorkerMessage, WorkerParts};
use bytes::BytesMut;
use dunlin_protocol::Instant;
use dunlin_transport::tls::{ALPN_HTTP, ALPN_MQTT, TlsFileError};
use dunlin_transport::websocket::upgrade::Policy;
use mio::{Poll, Token, Waker};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant as Clock, SystemTime};

/// A running broker. Dropping it stops it, as [`Broker::stop`] does.
///
/// ```
/// use dunlin_broker::Broker;
/// use dunlin_broker::config::{Config, Listener};
///
/// let listeners = vec![Listener::tcp("127.0.0.1:0".parse()?)];
/// let config = Config { listeners, ..Config::default() };
/// let broker = Broker::builder().config(config).start()?;
/// println!("listening on {}", broker.addresses()[0]);
/// broker.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Broker {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    /// They go when the broker does.
    socket_files: Vec<BoundFile>,
    peers: Vec<Peer>,
    admission: Arc<Admission>,
    front: Option<FrontHandle>,
    /// As long as it is there, memory is watched.
    memory_watch: Option<Sender<()>>,
    passwords: Option<Arc<Passwords>>,
    tokens: Option<Arc<Tokens>>,
    /// The TLS of the listeners that have one.
    certificates: Vec<Arc<Certificates>>,
    watcher: Option<Watcher>,
    rights: Option<RightsFile>,
    threads: Vec<JoinHandle<()>>,
    next_local: AtomicUsize,
    /// How safe what must be before Clients within this process rely on it.
    durability: Durability,
}

/// How the front is stopped.
#[derive(Debug)]
struct FrontHandle {
    is_stopping: Arc<AtomicBool>,
    waker: Waker,
}

/// Collects what a broker needs to start.
#[derive(Default)]
pub struct Builder {
    config: Config,
    storage: Option<Box<dyn Storage>>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why a broker didn't start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener that others can reach, and nobody said that they are welcome.
    #[error(
        "{listener} can be reached from other machines, and clients are not asked who they are; \
         if that is wanted, say allow_anonymous = true (--allow-anonymous)"
    )]
    Exposed {
        /// The listener.
        listener: String,
    },
    /// Anonymous clients are turned away, and there is no other way to come in.
    #[error(
        "allow_anonymous = false lets nobody in by {0}: there is no auth.password_file, no \
         auth.jwt.key_file and no client_ca of the listener"
    )]
    NobodyAllowed(String),
    /// Passwords would come from other machines for all to read.
    #[error(
        "passwords that come by {0} can be read on the way; use mqtts:// there, or set \
         auth.allow_plaintext = true if that is meant"
    )]
    Plaintext(String),
    /// The password file is of no use.
    #[error("auth.password_file: {0}")]
    PasswordFile(#[from] PasswordFileError),
    /// Settings contradict each other.
    #[error("{key}: {reason}")]
    Setting {
        /// One of them.
        key: &'static str,
        /// What is wrong, and the mend.
        reason: &'static str,
    },
    /// The keys for tokens are of no use.
    #[error("auth.jwt.key_file: {0}")]
    KeyFile(#[from] KeyFileError),
    /// The file of rules is of no use.
    #[error("rights.file: {0}")]
    RightsFile(#[from] RightsFileError),
    /// A listener's address can't be used.
    #[error("{listener} can't be opened: {source}{hint}")]
    Listen {
        /// The listener.
        listener: String,
        /// What may help.
        hint: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file of a listener's TLS is of no use.
    #[error("{listener}: {source}")]
    Tls {
        /// The listener.
        listener: String,
        /// The file, what is wrong with it, and the mend.
        source: TlsFileError,
    },
    /// What was stored can't be read.
    #[error("the state of an earlier broker can't be read")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system gave no thread, or no way to wait for events.
    #[error("a worker can't be started")]
    Worker(#[source] io::Error),
}

/// Why not all files were taken up that were read again; the first of the causes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The password file is of no use.
    #[error("auth.password_file: {0}")]
    PasswordFile(#[from] PasswordFileError),
    /// The keys for tokens are of no use.
    #[error("auth.jwt.key_file: {0}")]
    KeyFile(#[from] KeyFileError),
    /// The file of rules is of no use.
    #[error("rights.file: {0}")]
    RightsFile(#[from] RightsFileError),
    /// A file of a listener's TLS is of no use.
    #[error("{listener}: {source}")]
    Tls {
        /// The listener.
        listener: String,
        /// The file, what is wrong with it, and the mend.
        source: TlsFileError,
    },
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

    /// Binds the listeners, takes up what is stored, and starts the workers.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub fn start(self) -> Result<Broker, StartError> {
        let config = self.config;
        if let Some(listener) = config.exposed_listener() {
            return Err(StartError::Exposed { listener: listener.to_string() });
        }
        if let Some(listener) = config.closed_listener() {
            return Err(StartError::NobodyAllowed(listener.to_string()));
        }
        if let Some(listener) = config.plaintext_listener() {
            return Err(StartError::Plaintext(listener.to_string()));
        }
        if let Some((key, reason)) = config.auth.jwt.mistake() {
            return Err(StartError::Setting { key, reason });
        }
        let methods = Methods::read(&config)?;
        let rights = config.rights.file.as_deref().map(RightsFile::new);
        let rules = rights.as_ref().map(RightsFile::read).transpose()?;
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
        if let Some(Methods { chain, passwords, tokens }) = methods {
            (broker.passwords, broker.tokens) = (passwords, tokens);
            login_threads = start_logins(&config, chain, &broker.peers, &mut parts)
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
        broker.socket_files =
            bound.into_iter().filter_map(|bound| bound.socket.into_file()).collect();
        broker.watch_memory(&config, stores).map_err(StartError::Worker)?;
        Ok(broker)
    }
}

/// A listener with its socket.
struct Bound {
    socket: Listening,
    proxies: Vec<Network>,
    tls: Option<Arc<Certificates>>,
    web_socket: Option<Arc<Policy>>,
    durability: Durability,
    /// Its place among the listeners of the configuration.
    number: u16,
}

impl Bound {
    fn new(listener: &Listener, durability: Durability, number: u16) -> Result<Self, StartError> {
        let web_socket = listener.web_socket.as_ref();
        let protocol = if web_socket.is_some() { ALPN_HTTP } else { ALPN_MQTT };
        let tls = listener.tls.as_ref();
        let tls = tls.map(|files| Certificates::load(listener.url(), files, protocol)).transpose();
        let tls = tls.map_err(|source| StartError::Tls { listener: listener.url(), source })?;
        let tls = tls.map(Arc::new);
        let socket = match &listener.endpoint {
            Endpoint::Address(address) => bind(*address),
            Endpoint::Socket(file) => bind_file(file),
        };
        let socket = socket.map_err(|source| StartError::Listen {
            listener: listener.url(),
            hint: hint(&source),
            source,
        })?;
        let web_socket =
            web_socket.map(|web_socket| Arc::new(web_socket.policy(listener.is_local())));
        let durability = listener.durability.unwrap_or(durability);
        let proxies = listener.proxy_from.clone();
        Ok(Self { socket, proxies, tls, web_socket, durability, number })
    }

    /// The listening socket, for one more thread.
    fn acceptor(&self) -> io::Result<Acceptor> {
        Acceptor::new(&self.socket, self.durability, self.number)
    }

    /// Whether something comes before MQTT.
    const fn has_handshake(&self) -> bool {
        self.tls.is_some() || self.web_socket.is_some() || !self.proxies.is_empty()
    }
}

/// The listener of connections from within the process, for rules that ask for one.
const LOCAL: &str = "local";

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another program listens there, choose another port",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need rights, choose a higher one",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

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
            listeners: rules.map(|_| names.clone()),
            lag_max: Duration::from_millis(u64::from(limits.lag_max_millis)),
            admission: admission.clone(),
        });
    }
    let broker = Broker {
        listeners,
        addresses: addresses.into_iter().flatten().collect(),
        socket_files: Vec::new(),
        peers,
        admission,
        front: None,
        memory_watch: None,
        passwords: None,
        tokens: None,
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
    // Hashing passwords must leave room for the workers.
    let threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1));
    let (pool, threads) = Pool::start(&judge, peers, threads, config.auth.waiting_max)?;
    let timeout = login_timeout(config);
    for parts in parts {
        let (judge, pool) = (judge.clone(), pool.clone());
        parts.authentication = Some(Authentication { judge, pool, timeout });
    }
    Ok(threads)
}

fn login_timeout(config: &Config) -> Duration {
    Duration::from_secs(u64::from(config.auth.timeout_secs))
}

/// The time that cores reckon with: it means the same in every process, and goes on from here by a
/// clock that never goes back.
fn since_epoch() -> Instant {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::ZERO + since
}

/// Gives the workers what was stored and, before anybody connects, what they have to tell each
/// other of it.
fn recover(
    mut storage: Box<dyn Storage>,
    parts: &mut [WorkerParts],
    seed: u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let workers = u8::try_from(parts.len()).unwrap_or(u8::MAX);
    let now = since_epoch();
    storage.recover(&mut |record| {
        let of = record.client_identifier();
        let worker = of.map_or(0, |of| usize::from(owner(of, workers, seed).0));
        parts[worker].core.recover(now, record);
    })?;
    parts[0].core.count_damaged(storage.lost());
    for parts in &mut *parts {
        let waker = parts.peers[usize::from(parts.number.0)].waker.clone();
        parts.store = Some(storage.open(parts.number, waker));
        parts.core.finish_recovery(now);
    }
    while parts.iter().any(|parts| parts.core.has_work()) {
        for at in 0..parts.len() {
            while let Some(output) = parts[at].core.poll_output() {
                match output {
                    Output::Store { last, records, durability } => {
                        if let Some(store) = &mut parts[at].store {
                            store.append(last, records, durability);
                        }
                    }
                    Output::Fetch(fetch) => {
                        if let Some(store) = &mut parts[at].store {
                            store.fetch(fetch);
                        }
                    }
                    Output::Forward { worker, mut batch } => {
                        let (from, to) = (parts[at].number, usize::from(worker.0));
                        while !parts[to].core.handle_batch(now, from, &mut batch) {}
                    }
                    // There are no connections.
                    Output::Close(_) | Output::Move { .. } | Output::Authenticate { .. } => {}
                }
            }
        }
    }
    Ok(())
}

impl Broker {
    /// Begins the making of a broker.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The addresses that the broker listens on, in the order of the configured listeners that have
    /// one, with the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The listeners as configured, with the ports that the system chose.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// How many workers run.
    pub fn workers(&self) -> usize {
        self.peers.len()
    }

    /// Starts the thread for the listeners whose connections don't begin with MQTT, if there is one.
    fn start_front(&mut self, config: &Config, bound: &[Bound]) -> io::Result<()> {
        let mut doors = Vec::new();
        for bound in bound.iter().filter(|bound| bound.has_handshake()) {
            let acceptor = bound.acceptor()?;
            let (tls, web_socket) = (bound.tls.clone(), bound.web_socket.clone());
            doors.push(Door { acceptor, proxies: bound.proxies.clone(), tls, web_socket });
        }
        if doors.is_empty() {
            return Ok(());
        }
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), Token(usize::MAX))?;
        let is_stopping = Arc::new(AtomicBool::new(false));
        let parts = FrontParts {
            poll,
            doors,
            peers: self.peers.clone(),
            is_stopping: is_stopping.clone(),
            admission: self.admission.clone(),
            half_open_max: config.limits.half_open_max,
            half_open_per_address_max: config.limits.half_open_per_address_max,
            timeout: Duration::from_secs(u64::from(config.limits.handshake_timeout_secs)),
        };
        let thread = std::thread::Builder::new()
            .name("dunlin-front".to_owned())
            .spawn(move || Front::new(parts).run())?;
        self.threads.push(thread);
        self.front = Some(FrontHandle { is_stopping, waker });
        if !self.certificates.is_empty() {
            let secs = u64::from(config.watch_files_secs);
            let every = (secs > 0).then(|| Duration::from_secs(secs));
            let (watcher, thread) =
                Watcher::start(self.certificates.clone(), every, self.peers[0].clone())?;
            self.threads.push(thread);
            self.watcher = Some(watcher);
        }
        Ok(())
    }

    /// Starts the thread that watches the memory of the process, if that has a limit.
    fn watch_memory(&mut self, config: &Config, stores: bool) -> io::Result<()> {
        if config.memory.max == 0 {
            return Ok(());
        }
        let watch = Watch::new(Ceiling::new(config.memory.max, stores));
        let statm = Statm::open()?;
        let (sender, stop) = mpsc::channel();
        let peers = self.peers.clone();
        let thread = std::thread::Builder::new()
            .name("dunlin-memory".to_owned())
            .spawn(move || watch.run(&statm, &peers, &stop))?;
        self.threads.push(thread);
        self.memory_watch = Some(sender);
        Ok(())
    }

    /// Opens a connection from within this process, without a network: the end that a client
    /// speaks MQTT on.
    ///
    /// # Errors
    /// When the system gives no pair of sockets.
    pub fn connect_local(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let at = self.next_local.fetch_add(1, Ordering::Relaxed);
        let stream = Stream::Local(mio::net::UnixStream::from_std(ours));
        let opened = Opened {
            transport: Transport::plain(stream),
            rest: BytesMut::new(),
            durability: self.durability,
            listener: u16::try_from(self.listeners.len()).unwrap_or(u16::MAX),
        };
        self.peers[at % self.peers.len()].send(WorkerMessage::Open(Box::new(opened)));
        Ok(theirs)
    }

    /// Reads the file of rules again; gives how many rules it has, nothing if there is no such file.
    /// They are in force as soon as every worker has taken them up, for open connections as well.
    ///
    /// # Errors
    /// The file is of no use: the rules before stay in force.
    pub fn reload_rights(&self) -> Result<Option<usize>, RightsFileError> {
        let Some(rights) = &self.rights else { return Ok(None) };
        match rights.read() {
            Ok(rules) => {
                let count = rules.rules().len();
                for peer in &self.peers {
                    peer.send(WorkerMessage::Rules(rules.clone()));
                }
                tracing::info!(rules = count, "the file of rules was read again");
                Ok(Some(count))
            }
            Err(error) => {
                tracing::error!("the rules stay in force as they were: {error}");
                Err(error)
            }
        }
    }

    /// Reads the password file, the keys of tokens, the file of rules, and all files of certificates, again; gives how
    /// many users there are, nothing if there is no password file. Logins and handshakes from now on
    /// go by them; who is in stays in, within the rules. The files of each listener are taken up
    /// together.
    ///
    /// # Errors
    /// A file is of no use: what was in force before still is, and all that is of use was taken up.
    pub fn reload(&self) -> Result<Option<usize>, ReloadError> {
        let mut reloaded = Ok(None);
        if let Some(passwords) = &self.passwords {
            reloaded = passwords.reload().map(Some).map_err(ReloadError::PasswordFile);
            match &reloaded {
                Ok(Some(0)) => tracing::warn!(
                    users = 0,
                    "the password file was read again: no user is left, nobody can log in with a \
                     password"
                ),
                Ok(users) => {
                    let users = users.unwrap_or_default();
                    tracing::info!(users, "the password file was read again");
                }
                Err(error) => tracing::error!("users stay in force as they were: {error}"),
            }
        }
        if let Some(tokens) = &self.tokens {
            match tokens.reload() {
                Ok(Some(keys)) => tracing::info!(keys, "the keys of tokens were read again"),
                Ok(None) => tracing::info!("the keys of tokens are to be fetched again"),
                Err(error) => {
                    tracing::error!("the keys of tokens stay in force as they were: {error}");
                    reloaded = reloaded.and(Err(ReloadError::KeyFile(error)));
                }
            }
        }
        if let Err(error) = self.reload_rights() {
            reloaded = reloaded.and(Err(ReloadError::RightsFile(error)));
        }
        for certificates in &self.certificates {
            if let Err(source) = certificates.reload() {
                let listener = certificates.listener().to_owned();
                reloaded = reloaded.and(Err(ReloadError::Tls { listener, source }));
            }
        }
        if !self.certificates.is_empty() {
            report(&self.certificates, &self.peers[0]);
        }
        reloaded
    }

    /// Stops: takes no more connections, tells all clients that the server is shutting down
    /// (0x8B in MQTT 5.0), keeps their Wills, and ends the workers.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        if let Some(FrontHandle { is_stopping, waker }) = &self.front {
            is_stopping.store(true, Ordering::Release);
            if let Err(error) = waker.wake() {
                tracing::error!(%error, "the front can't be woken");
            }
        }
        self.memory_watch = None;
        self.watcher = None;
        self.socket_files.clear();
        for peer in &self.peers {
            peer.send(WorkerMessage::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked");
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}
