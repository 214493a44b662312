//! The broker as others see it: built, started, stopped.

use crate::config::Config;
use crate::core::{Core, CoreConfig, Output, QueueHead, RetainedStore, WorkerNumber, owner};
use crate::net::{Acceptor, bind};
use crate::store::{Storage, StoreWaker};
use crate::worker::{Peer, Worker, WorkerMessage, WorkerParts};
use dunlin_protocol::Instant;
use mio::{Poll, Token, Waker};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Instant as Clock, SystemTime};

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
    addresses: Vec<SocketAddr>,
    peers: Vec<Peer>,
    threads: Vec<JoinHandle<()>>,
    next_local: AtomicUsize,
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
    /// Anonymous clients are turned away, and there is no other way to come in yet.
    #[error("allow_anonymous = false lets nobody in: this version knows no other clients")]
    NobodyAllowed,
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
    /// What was stored can't be read.
    #[error("the state of an earlier broker can't be read")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system gave no thread, or no way to wait for events.
    #[error("a worker can't be started")]
    Worker(#[source] io::Error),
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
        if config.allow_anonymous == Some(false) {
            return Err(StartError::NobodyAllowed);
        }
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push(bind(listener.address).map_err(|source| StartError::Listen {
                listener: listener.to_string(),
                hint: hint(&source),
                source,
            })?);
        }
        let addresses = listeners
            .iter()
            .map(std::net::TcpListener::local_addr)
            .collect::<Result<_, _>>()
            .map_err(StartError::Worker)?;
        // At most as many as a session key has room for.
        let workers = u8::try_from(config.workers.clamp(1, 255)).unwrap_or(u8::MAX);
        // The one place where randomness comes in.
        let seed = RandomState::new().hash_one(std::process::id());
        let (mut broker, mut parts) =
            assemble(&config, workers, seed, self.storage.is_some(), &listeners, addresses)
                .map_err(StartError::Worker)?;
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
        Ok(broker)
    }
}

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
    listeners: &[std::net::TcpListener],
    addresses: Vec<SocketAddr>,
) -> io::Result<(Broker, Vec<WorkerParts>)> {
    let retained = RetainedStore::new();
    let limits = Arc::new(config.limits.clone());
    let durability = Arc::new(config.durability.clone());
    let connections = Arc::new(AtomicUsize::new(0));
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
            version: env!("CARGO_PKG_VERSION"),
        };
        parts.push(WorkerParts {
            number,
            core: Core::new(started_at.1, core),
            store: None,
            poll,
            acceptors: listeners
                .iter()
                .zip(&config.listeners)
                .map(|(listener, configured)| {
                    let own = configured.durability;
                    Acceptor::new(listener, own.unwrap_or(config.durability.default))
                })
                .collect::<io::Result<_>>()?,
            durability: config.durability.default,
            inbox,
            peers: peers.clone(),
            started_at,
            connections: connections.clone(),
            connections_max: limits.connections_max,
        });
    }
    let broker = Broker { addresses, peers, threads: Vec::new(), next_local: AtomicUsize::new(0) };
    Ok((broker, parts))
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
                    Output::Close(_) | Output::Move { .. } => {}
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

    /// The addresses that the broker listens on, in the order of the configured listeners, with
    /// the ports that the system chose.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// How many workers run.
    pub fn workers(&self) -> usize {
        self.peers.len()
    }

    /// Opens a connection from within this process, without a network: the end that a client
    /// speaks MQTT on.
    ///
    /// # Errors
    /// When the system gives no pair of sockets.
    pub fn connect_local(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let at = self.next_local.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.peers[at % self.peers.len()].send(WorkerMessage::Open(ours));
        Ok(theirs)
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
