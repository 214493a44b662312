//! QUIC: a thread that holds the endpoints, and gives the first stream of each connection to a worker
//! as one end of a pair of sockets, whose other end it copies.
//!
//! A worker's loop waits for sockets, and a QUIC connection is none: it belongs to its endpoint,
//! which keeps its keys, its timers and what was not acknowledged. What a pair costs is one more copy
//! of each byte; what it gives is that all a worker knows of streams (back-pressure, the end of either
//! side, moving to another worker) is as it is elsewhere.

mod door;
mod gate;
mod identity;
mod pace;
mod places;
mod relay;

pub(crate) use door::DoorParts;

use crate::admission::Admission;
use crate::worker::Peer;
use door::Door;
use gate::Gate;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the thread is made of.
pub(crate) struct QuicParts {
    pub(crate) doors: Vec<DoorParts>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) admission: Arc<Admission>,
    /// Connections without a stream at most, of those that came by QUIC.
    pub(crate) half_open_max: usize,
    /// The same for one address.
    pub(crate) half_open_per_address_max: usize,
    /// How long a connection may take until it has a stream.
    pub(crate) timeout: Duration,
}

/// How far the broker is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// It is not.
    Runs,
    /// Nobody else is let in.
    Closes,
    /// The workers have ended: nothing more comes of them.
    Ends,
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Quic {
    phase: watch::Sender<Phase>,
    runtime: Handle,
    thread: JoinHandle<()>,
}

impl Quic {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system says, or that a certificate is of no use for QUIC.
    pub(crate) fn start(parts: QuicParts) -> io::Result<Self> {
        let (phase, stopped) = watch::channel(Phase::Runs);
        let (opened, is_open) = mpsc::channel();
        // The runtime begins and ends there: whoever starts a broker may be within another one.
        let thread =
            std::thread::Builder::new().name("dunlin-quic".to_owned()).spawn(move || {
                // Who asked waits for it.
                let _ = match open(parts, &stopped) {
                    Ok((runtime, doors)) => {
                        let told = opened.send(Ok(runtime.handle().clone()));
                        runtime.block_on(run(doors));
                        told
                    }
                    Err(error) => opened.send(Err(error)),
                };
            })?;
        let runtime = is_open.recv().map_err(io::Error::other)??;
        Ok(Self { phase, runtime, thread })
    }

    /// What lets the thread call something.
    pub(crate) fn caller(&self) -> impl Fn(fn()) + Send + use<> {
        let runtime = self.runtime.clone();
        move |call| drop(runtime.spawn(async move { call() }))
    }

    /// Lets nobody else in.
    pub(crate) fn close(&self) {
        self.phase.send_replace(Phase::Closes);
    }

    /// Lets the connections say what they still have to say, and ends the thread. No worker is left.
    pub(crate) fn end(self) -> std::thread::Result<()> {
        self.phase.send_replace(Phase::Ends);
        self.thread.join()
    }
}

fn open(parts: QuicParts, stopped: &watch::Receiver<Phase>) -> io::Result<(Runtime, Vec<Door>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let gate = Gate::new(&parts, stopped.clone());
    let entered = runtime.enter();
    let doors = parts.doors.into_iter().map(|door| Door::open(door, gate.clone()));
    let doors = doors.collect::<io::Result<_>>()?;
    drop(entered);
    Ok((runtime, doors))
}

async fn run(doors: Vec<Door>) {
    let mut running: JoinSet<()> = doors.into_iter().map(Door::run).collect();
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            tracing::error!("nobody can come by a listener of QUIC any more: {error}");
        }
    }
}
