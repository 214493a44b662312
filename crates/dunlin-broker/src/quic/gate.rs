//! Who may begin a handshake: how many are under way, whose they are, and who makes room.

#[cfg(test)]
pub(super) mod tests;

use super::pace::Pace;
use super::places::{self, Places};
use super::{Phase, QuicParts};
use crate::admission::Admission;
use crate::core::LimitCause;
use crate::log_rate::{Cause, LogRates};
use crate::net::network_of;
use crate::worker::{Opened, Peer, WorkerMessage};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant as Clock};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until};

/// From this share of the places on, who comes has to show that it is where it says to be.
const PROOF_SHARE: usize = 4;
/// A client that is there has answered within this time: who is silent for longer makes room when others
/// wait.
const SILENCE: Duration = Duration::from_secs(1);
/// So does who has no stream after this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether something came: nobody tells.
const LOOK: Duration = Duration::from_millis(250);

/// Counts the connections of all endpoints that have no stream yet.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Places>,
    per_address_max: usize,
    /// How many there are of each address.
    by_address: Mutex<HashMap<IpAddr, usize>>,
    /// Places for connections that their workers have ended, and that take their last bytes.
    pub(super) leaving: Semaphore,
    /// How fast handshakes go on.
    pub(super) pace: Arc<Pace>,
    /// How long a connection may wait for a place, and then take.
    timeout: Duration,
    admission: Arc<Admission>,
    peers: Vec<Peer>,
    /// The worker that gets the next connection.
    next: AtomicUsize,
    pub(super) stopped: watch::Receiver<Phase>,
    told: Mutex<LogRates>,
}

/// What becomes of somebody who comes.
#[derive(Debug)]
pub(super) enum Reception {
    /// It is counted, and may go on once there is a place.
    Counted(Visitor),
    /// It has to prove its address, which costs us nothing.
    Prove,
    /// There are too many from its address.
    Refused,
}

/// Somebody who is counted for its address as long as this is there.
#[derive(Debug)]
pub(super) struct Visitor {
    gate: Arc<Gate>,
    address: IpAddr,
}

/// A place among those whose handshakes are under way.
#[derive(Debug)]
pub(super) struct Place {
    visitor: Visitor,
    since: Instant,
    _place: places::Place,
}

impl Gate {
    pub(super) fn new(parts: &QuicParts, stopped: watch::Receiver<Phase>) -> Arc<Self> {
        let places_max = parts.half_open_max.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            places: Places::new(places_max),
            per_address_max: parts.half_open_per_address_max,
            by_address: Mutex::default(),
            leaving: Semaphore::new(places_max),
            pace: Pace::new(),
            timeout: parts.timeout,
            admission: parts.admission.clone(),
            peers: parts.peers.clone(),
            next: AtomicUsize::new(0),
            stopped,
            told: Mutex::default(),
        })
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives somebody from this address; `is_proven` if it has shown that it is there.
    pub(super) fn receive(self: &Arc<Self>, address: IpAddr, is_proven: bool) -> Reception {
        let address = network_of(address);
        let mut by_address = self.by_address();
        let count = by_address.get(&address).copied().unwrap_or_default();
        // Others might name the address of somebody to keep it out.
        let is_crowded = self.places.taken() * PROOF_SHARE >= self.places.max()
            || count * PROOF_SHARE >= self.per_address_max;
        if is_crowded && !is_proven {
            return Reception::Prove;
        }
        if count >= self.per_address_max {
            drop(by_address);
            self.tell_limited(LimitCause::HalfOpenPerAddress);
            return Reception::Refused;
        }
        by_address.insert(address, count + 1);
        Reception::Counted(Visitor { gate: self.clone(), address })
    }

    /// Waits until a further connection may be accepted at the rate that is set.
    pub(super) async fn keep_rate(&self) {
        while let Err(wait) = self.admission.may_accept() {
            self.tell_limited(LimitCause::ConnectRate);
            tokio::time::sleep(wait).await;
        }
    }

    /// Hands a connection to a worker.
    pub(super) fn hand_over(&self, opened: Opened) {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.peers.len();
        self.peers[next].send(WorkerMessage::Open(Box::new(opened)));
    }

    /// Says that the system could not let somebody in.
    pub(super) fn tell_system(&self, error: &io::Error) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = told.admit(Clock::now(), Cause::System) {
            tracing::warn!(%error, unsaid, "a connection of QUIC can't be handed to a worker");
        }
    }

    /// Says that an endpoint has failed, or can't be made.
    pub(super) fn tell_endpoint(&self, listener: &str, why: &dyn fmt::Display) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = told.admit(Clock::now(), Cause::System) {
            tracing::error!(listener, unsaid, "the endpoint of QUIC begins anew: {why}");
        }
    }

    /// Says that a client's certificate does not let it in, but not any number of times.
    pub(super) fn tell_certificate(&self, peer: SocketAddr, why: &dyn std::fmt::Display) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unsaid) = told.admit(Clock::now(), Cause::Certificate) {
            tracing::warn!(%peer, unsaid, "a client of QUIC was refused for its certificate: {why}");
        }
    }

    /// Lets a worker count what a limit has cost.
    pub(super) fn tell_limited(&self, cause: LimitCause) {
        if let Some(peer) = self.peers.first() {
            peer.send(WorkerMessage::Limited(cause, 1));
        }
    }
}

impl Visitor {
    pub(super) fn pace(&self) -> Arc<Pace> {
        self.gate.pace.clone()
    }

    /// Waits for a place; nothing if there is none in time, or too many wait.
    pub(super) async fn place(self) -> Option<Place> {
        let gate = self.gate.clone();
        let tell = || gate.tell_limited(LimitCause::HalfOpen);
        let place = gate.places.take(self.address, gate.timeout, tell).await?;
        Some(Place::new(self, place))
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        let mut by_address = self.gate.by_address();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

impl Place {
    fn new(visitor: Visitor, place: places::Place) -> Self {
        Self { visitor, since: Instant::now(), _place: place }
    }

    /// Until when its connection has to have a stream.
    pub(super) fn until(&self) -> Instant {
        self.since + self.visitor.gate.timeout
    }

    /// Waits until its client has been silent in its handshake, or has taken so long for it, that it
    /// makes room, if somebody wants that. `received` says how many datagrams have come of it.
    pub(super) async fn silence(&self, received: impl Fn() -> u64) {
        let until = self.since + PATIENCE;
        let (mut count, mut heard) = (received(), Instant::now());
        loop {
            let now = Instant::now();
            let counted = received();
            if counted != count {
                (count, heard) = (counted, now);
            }
            let silent = until.min(heard + SILENCE);
            if now < silent {
                sleep_until(silent.min(now + LOOK)).await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.visitor.gate.places.make_room() => return,
                () = sleep_until(now + LOOK) => {}
            }
        }
    }

    /// Waits until one that has shaken hands has opened no stream for so long. Whoever makes room takes up
    /// memory for seconds more, so that one who may be about to go on is left alone.
    pub(super) async fn patience(&self) {
        sleep_until(self.since + PATIENCE).await;
        self.visitor.gate.places.make_room().await;
    }
}
