//! The broker as others see it, while it runs and until it stops.

mod bound;
mod builder;
mod error;
mod recovery;
mod reload;

pub use builder::Builder;
pub use error::{ReloadError, StartError};

use crate::admission::Admission;
use crate::auth::{Hook, Passwords, Tokens};
use crate::config::Listener;
use crate::core::Durability;
use crate::front::{Certificates, Watcher};
use crate::net::{BoundFile, Stream, Transport};
#[cfg(feature = "quic")]
use crate::quic::Quic;
use crate::rights::RightsFile;
use crate::worker::{Opened, Peer, WorkerMessage};
use bytes::BytesMut;
use mio::Waker;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

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
    #[cfg(feature = "quic")]
    quic: Option<Quic>,
    /// As long as it is there, memory is watched.
    memory_watch: Option<Sender<()>>,
    passwords: Option<Arc<Passwords>>,
    tokens: Option<Arc<Tokens>>,
    hook: Option<Arc<Hook>>,
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
    calls: Sender<fn()>,
    waker: Arc<Waker>,
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

    /// Stops: takes no more connections, tells all clients that the server is shutting down
    /// (0x8B in MQTT 5.0), keeps their Wills, and ends the workers.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        if let Some(FrontHandle { is_stopping, waker, .. }) = &self.front {
            is_stopping.store(true, Ordering::Release);
            if let Err(error) = waker.wake() {
                tracing::error!(%error, "the front can't be woken");
            }
        }
        #[cfg(feature = "quic")]
        if let Some(quic) = &self.quic {
            quic.close();
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
        // What the workers have said last is still on its way.
        #[cfg(feature = "quic")]
        if let Some(quic) = self.quic.take()
            && quic.end().is_err()
        {
            tracing::error!("the thread of QUIC has panicked");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.end();
    }
}
