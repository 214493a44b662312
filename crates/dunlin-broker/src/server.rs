//! The broker as others see it: built, started, stopped.

use crate::config::Config;
use crate::core::{Core, CoreConfig, RetainedStore, WorkerNumber};
use crate::net::{Acceptor, bind};
use crate::store::MemoryStore;
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
use std::time::Instant as Clock;

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
#[derive(Clone, Debug, Default)]
pub struct Builder {
    config: Config,
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

    /// Binds the listeners and starts the workers.
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
        let (mut broker, parts) =
            assemble(&config, workers, &listeners, addresses).map_err(StartError::Worker)?;
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
    listeners: &[std::net::TcpListener],
    addresses: Vec<SocketAddr>,
) -> io::Result<(Broker, Vec<WorkerParts>)> {
    // The one place where randomness comes in.
    let seed = RandomState::new().hash_one(std::process::id());
    let retained = RetainedStore::new();
    let limits = Arc::new(config.limits.clone());
    let connections = Arc::new(AtomicUsize::new(0));
    let started_at = Clock::now();
    let mut peers = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..workers {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), Token(usize::MAX))?);
        let (sender, inbox) = mpsc::channel();
        peers.push(Peer {
            sender,
            waker,
            is_woken: Arc::new(AtomicBool::new(false)),
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
            stores: true,
            version: env!("CARGO_PKG_VERSION"),
        };
        parts.push(WorkerParts {
            number,
            core: Core::new(Instant::ZERO, core),
            store: Box::new(MemoryStore::default()),
            poll,
            acceptors: listeners.iter().map(Acceptor::new).collect::<io::Result<_>>()?,
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
