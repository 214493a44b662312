//! How others reach a worker: messages, and the wake-up that goes with them.

use crate::admission::Permit;
use crate::core::{
    Batch, ConnectingClient, ConnectionKey, Decision, Durability, LimitCause, Pressure, Rules,
    WorkerNumber,
};
use crate::net::Transport;
use crate::store::StoreWaker;
use bytes::BytesMut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

/// What a worker is told by others.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// A batch from another worker's core.
    Batch(WorkerNumber, Batch),
    /// A connection whose session belongs here.
    Adopt(Box<Adopted>),
    /// A connection that was accepted elsewhere, or comes from within the process.
    Open(Box<Opened>),
    /// What a login of a connection here has come to.
    Decided { connection: ConnectionKey, exchange: u32, decision: Box<Decision> },
    /// Other rules of what Clients may do.
    Rules(Arc<Rules>),
    /// How scarce memory is.
    Pressure(Pressure),
    /// Give back to the system what was freed, by this.
    GiveBack(fn()),
    /// A limit that the sender sees to has refused or delayed so much.
    Limited(LimitCause, u64),
    /// What is to be said under `$SYS/broker/`, by name; nothing is said of a name without a value.
    Report(Vec<(&'static str, String)>),
    /// Tell all Clients that the broker stops, then end.
    Stop,
}

/// A connection whose handshakes are over, if it had any.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) transport: Transport,
    /// Bytes of MQTT that came with the end of a handshake.
    pub(crate) rest: BytesMut,
    /// How safe what must be before its Client relies on it.
    pub(crate) durability: Durability,
    /// The number of its listener.
    pub(crate) listener: u16,
}

#[derive(Debug)]
pub(crate) struct Adopted {
    pub(super) transport: Transport,
    pub(super) permit: Option<Box<Permit>>,
    pub(super) rest: BytesMut,
    pub(super) listener: u16,
    pub(super) client: ConnectingClient,
}

/// How others reach a worker.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) sender: Sender<WorkerMessage>,
    pub(crate) waker: StoreWaker,
    /// Items on their way to the worker.
    pub(crate) backlog: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) fn send(&self, message: WorkerMessage) {
        if let WorkerMessage::Batch(_, batch) = &message {
            self.backlog.fetch_add(batch.len(), Ordering::Relaxed);
        }
        // Without a receiver the worker has ended, and the broker is about to.
        if self.sender.send(message).is_ok() {
            self.waker.wake();
        }
    }
}
