//! The front: a thread that takes the connections which don't begin with MQTT, finishes their
//! handshakes, and hands them to the workers. A handshake costs as much as thousands of messages:
//! here it delays other handshakes alone.

mod certificates;
mod dates;
mod endings;
mod half_open;
mod places;
mod watcher;

pub(crate) use certificates::Certificates;
pub(crate) use dates::date_warnings;
pub(crate) use places::PlaceLimits;
pub(crate) use watcher::{Watcher, report};

use crate::admission::Admission;
use crate::config::Network;
use crate::core::LimitCause;
use crate::log_rate::{Cause, LogRates};
use crate::net::{Acceptance, Acceptor, Foreign, Stream, Transport, network_of};
use crate::worker::{Opened, Peer, WorkerMessage};
use dunlin_transport::proxy_header::ProxyHeaderError;
use dunlin_transport::tls::{HEADROOM, TlsError};
use dunlin_transport::websocket::upgrade::{Policy, Refusal};
use half_open::{HalfOpen, Progress, Upgrade};
use mio::event::Source;
use mio::{Events, Interest, Poll, Token};
use places::{Places, Search, Silence};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant as Clock};

/// How long accepting rests after the system had no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Connections accepted before others go on with their handshakes.
const ACCEPTS_PER_TURN: usize = 64;
/// How often it is looked whether somebody has to make room for who waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// What is read of a connection at once; a client's side of a handshake is seldom more.
const READ_LEN: usize = 16 * 1024;

const WAKE: Token = Token(usize::MAX);
/// Tokens from here on, down from the top, are listeners.
const LISTENERS: usize = usize::MAX - 1024;

/// What the front is made of.
pub(crate) struct FrontParts {
    /// Its waker has the token `usize::MAX`.
    pub(crate) poll: Poll,
    pub(crate) doors: Vec<Door>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) is_stopping: Arc<AtomicBool>,
    /// What this thread is to call.
    pub(crate) calls: Receiver<fn()>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) limits: PlaceLimits,
}

/// A listening socket and what is behind it.
pub(crate) struct Door {
    pub(crate) acceptor: Acceptor,
    /// How it is called in the log.
    pub(crate) url: String,
    /// The proxies that say for whom they connect; if there are any, nobody else is served.
    pub(crate) proxies: Vec<Network>,
    pub(crate) tls: Option<Arc<Certificates>>,
    /// Which requests become WebSockets, if that is what it takes.
    pub(crate) web_socket: Option<Arc<Policy>>,
}

pub(crate) struct Front {
    parts: FrontParts,
    places: Places,
    /// Whether there is a place for somebody who waits.
    has_place: bool,
    /// Which door is looked at first.
    first_door: usize,
    /// The worker that gets the next connection.
    next: usize,
    accept_again_at: Option<Clock>,
    told: LogRates,
    buffer: Vec<u8>,
}

impl Front {
    pub(crate) fn new(parts: FrontParts) -> Self {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let descriptors = descriptors.and_then(|count| usize::try_from(count).ok());
        Self {
            places: Places::new(parts.limits, descriptors, Clock::now()),
            parts,
            has_place: false,
            first_door: 0,
            next: 0,
            accept_again_at: None,
            told: LogRates::default(),
            buffer: vec![0; HEADROOM + READ_LEN],
        }
    }

    /// Runs until the broker stops.
    pub(crate) fn run(mut self) {
        for (at, door) in self.parts.doors.iter_mut().enumerate() {
            door.acceptor.is_ready = true;
            let registry = self.parts.poll.registry();
            let token = Token(LISTENERS + at);
            let registered =
                registry.register(door.acceptor.listener.as_source(), token, Interest::READABLE);
            if let Err(error) = registered {
                tracing::error!(%error, "a listener can't be watched");
            }
        }
        let mut events = Events::with_capacity(1024);
        while !self.parts.is_stopping.load(Ordering::Acquire) {
            let timeout = self.timeout();
            if let Err(error) = self.parts.poll.poll(&mut events, timeout)
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "waiting for events failed");
                return;
            }
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(at) if at >= LISTENERS => {
                        if let Some(door) = self.parts.doors.get_mut(at - LISTENERS) {
                            door.acceptor.is_ready = true;
                        }
                    }
                    Token(place) => self.go_on(place),
                }
            }
            while let Ok(call) = self.parts.calls.try_recv() {
                call();
            }
            let now = Clock::now();
            self.end_late(now);
            self.places.forget_gone();
            self.places.age(now);
            // Before others come, and for those who have come.
            self.fill_places(now);
            self.accept();
            self.fill_places(now);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let is_ready = self.parts.doors.iter().any(|door| door.acceptor.is_ready);
        let may_accept = is_ready && self.accept_again_at.is_none() && self.may_take();
        if may_accept || self.has_place {
            return Some(Duration::ZERO);
        }
        let now = Clock::now();
        // When somebody may make room for who waits.
        let look = (!self.places.is_nobody_waiting()).then(|| now + LOOK_INTERVAL);
        let times = [self.places.next_late_at(), look, self.accept_again_at];
        let next = times.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    fn may_take(&self) -> bool {
        self.places.may_take(self.has_place)
    }

    fn accept(&mut self) {
        if let Some(again_at) = self.accept_again_at {
            if Clock::now() < again_at {
                return;
            }
            self.accept_again_at = None;
            self.parts.doors.iter_mut().for_each(|door| door.acceptor.is_ready = true);
        }
        let doors = self.parts.doors.len();
        let first_door = self.first_door;
        for nth in 0..doors {
            let at = (first_door + nth) % doors;
            for _ in 0..ACCEPTS_PER_TURN {
                if !self.parts.doors[at].acceptor.is_ready {
                    break;
                }
                if !self.may_take() {
                    return;
                }
                if let Err(wait) = self.parts.admission.may_accept() {
                    self.tell_limited(LimitCause::ConnectRate, 1);
                    self.accept_again_at = Some(Clock::now() + wait);
                    return;
                }
                match self.parts.doors[at].acceptor.accept() {
                    Acceptance::Connection(stream) => {
                        // Others have the next place that there is.
                        self.first_door = (at + 1) % doors;
                        let Some(peer) = stream.peer_address() else { continue };
                        let proxies = &self.parts.doors[at].proxies;
                        if !proxies.is_empty()
                            && !proxies.iter().any(|proxies| proxies.contains(peer.ip()))
                        {
                            self.tell_stranger(at, peer);
                            continue;
                        }
                        // All come from the proxy.
                        let address = proxies.is_empty().then(|| network_of(peer.ip()));
                        let half_open = self.half_open(at, stream, address);
                        self.admit(half_open);
                    }
                    Acceptance::Nobody => {
                        self.parts.admission.accepted_nobody();
                        break;
                    }
                    Acceptance::Exhausted(error) => {
                        self.parts.admission.accepted_nobody();
                        if let Some(unsaid) = self.told.admit(Clock::now(), Cause::System) {
                            tracing::warn!(%error, unsaid, "no connection can be accepted for a moment");
                        }
                        self.accept_again_at = Some(Clock::now() + ACCEPT_REST);
                        break;
                    }
                }
            }
        }
    }

    /// Gives places to those who wait, as long as there are any, or somebody makes room; but not to more
    /// than others have patience for.
    fn fill_places(&mut self, now: Clock) {
        let mut begun = 0;
        let mut search = Search::new(now);
        self.has_place = false;
        while !self.places.is_nobody_waiting() {
            while self.places.has_room() {
                if begun == ACCEPTS_PER_TURN {
                    self.has_place = true;
                    return;
                }
                let Some(half_open) = self.places.next() else { break };
                self.begin(half_open);
                begun += 1;
            }
            self.places.go_on_searching(&mut search);
            if !self.make_room(&mut search) {
                return;
            }
        }
    }

    /// Gives up who has been silent for longest, or else who is here too long, of those whose place
    /// somebody who waits could have; whether there was one.
    fn make_room(&mut self, search: &mut Search) -> bool {
        while let Some(place) = self.places.next_silent(search) {
            // What it has sent while others were served counts.
            self.go_on(place);
            match self.places.is_silent(search) {
                Silence::Gone => return true,
                Silence::Lasts => {
                    self.give_up(place, "it was silent, and others waited");
                    return true;
                }
                Silence::Broken => {}
            }
        }
        let slow = self.places.next_slow(search);
        if let Some(place) = slow {
            self.give_up(place, "it took long, and others waited");
        }
        slow.is_some()
    }

    fn give_up(&mut self, place: usize, cause: &str) {
        if let Some(half_open) = self.remove(place) {
            let peer = half_open.transport.peer();
            tracing::debug!(peer, "a handshake was given up: {cause}");
            self.tell_limited(LimitCause::HandshakeTimeout, 1);
            self.places.note_end(false);
        }
    }

    /// What has come in by a door.
    fn half_open(&self, door: usize, stream: Stream, address: Option<IpAddr>) -> HalfOpen {
        let Door { acceptor, proxies, tls, web_socket, .. } = &self.parts.doors[door];
        HalfOpen {
            transport: Transport::plain(stream),
            proxy_header: (!proxies.is_empty()).then_some(0),
            was_seen: false,
            tls: tls.clone(),
            upgrade: web_socket.clone().map(Upgrade::new),
            durability: acceptor.durability,
            address,
            heard_at: Clock::now(),
            listener: acceptor.number,
            number: 0,
        }
    }

    /// Lets a connection begin its handshakes, now or when it is its turn.
    fn admit(&mut self, half_open: HalfOpen) {
        let peers = &self.parts.peers;
        if let Some(half_open) = self.places.admit(half_open, |cause| tell_limited(peers, cause, 1))
        {
            self.begin(half_open);
        }
    }

    /// Gives a connection a place, and begins its handshakes.
    fn begin(&mut self, mut half_open: HalfOpen) {
        let place = self.places.free_place();
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registry = self.parts.poll.registry();
        if let Err(error) = registry.register(&mut half_open.transport, Token(place), interests) {
            tracing::warn!(%error, "a connection can't be watched");
            return;
        }
        self.places.fill(half_open, Clock::now());
        self.go_on(place);
    }

    /// Goes on with a handshake as far as the bytes go that are there.
    fn go_on(&mut self, place: usize) {
        loop {
            let Some(half_open) = self.places.get_mut(place) else { return };
            match half_open.go_on(&mut self.buffer) {
                Ok(Progress::Waits) => return,
                Ok(Progress::Announced) => {
                    if !self.count_announced(place) {
                        return;
                    }
                }
                Ok(Progress::Finished { rest }) => {
                    if let Some(half_open) = self.remove(place) {
                        self.places.note_end(true);
                        let HalfOpen { transport, durability, listener, .. } = half_open;
                        let opened = Opened { transport, rest, durability, listener };
                        self.next = (self.next + 1) % self.parts.peers.len();
                        self.parts.peers[self.next].send(WorkerMessage::Open(Box::new(opened)));
                    }
                    return;
                }
                Err(error) => {
                    let (peer, listener) = (half_open.transport.peer(), half_open.listener);
                    self.remove(place);
                    self.places.note_end(false);
                    self.tell_failed(&peer, listener, &error);
                    return;
                }
            }
        }
    }

    /// Says why a handshake failed; loudly where somebody has to do something about it, but not any
    /// number of times.
    fn tell_failed(&mut self, peer: &str, listener: u16, error: &io::Error) {
        tracing::debug!(peer, "a handshake failed: {error}");
        let door = self.parts.doors.iter().find(|door| door.acceptor.number == listener);
        let listener = door.map(|door| door.url.as_str());
        let Some(cause) = error.get_ref() else { return };
        let (cause, words) = if let Some(Refusal::Origin(origin)) = cause.downcast_ref() {
            let words = format!(
                "a web page of {origin} was refused; if it may connect, name it in `origins` of \
                 the listener"
            );
            (Cause::Origin, words)
        } else if let Some(foreign) = cause.downcast_ref::<Foreign>() {
            (Cause::Foreign(*foreign), foreign.to_string())
        } else if let Some(error) = cause.downcast_ref::<ProxyHeaderError>() {
            let words = format!(
                "a connection from an address of proxy_from was closed: {error}; have the proxy send \
                 one, and clients that come by themselves use another listener"
            );
            (Cause::ProxyHeader, words)
        } else if let Some(error) = cause.downcast_ref::<TlsError>() {
            if error.is_of_certificate() {
                (Cause::Certificate, format!("a client was refused for its certificate: {error}"))
            } else if error.is_no_tls() {
                (Cause::Foreign(Foreign::Plain), Foreign::Plain.to_string())
            } else {
                return;
            }
        } else {
            return;
        };
        if let Some(unsaid) = self.told.admit(Clock::now(), cause) {
            tracing::warn!(peer, listener, unsaid, "{words}");
        }
    }

    /// Says that somebody came by a door who is not one of its proxies.
    fn tell_stranger(&mut self, door: usize, peer: SocketAddr) {
        if let Some(unsaid) = self.told.admit(Clock::now(), Cause::Stranger) {
            let (listener, peer) = (&self.parts.doors[door].url, peer.to_string());
            tracing::warn!(
                peer,
                listener,
                unsaid,
                "a connection was closed, as its address is none of proxy_from; if it is a proxy of \
                 yours, name it there, and have clients that come by themselves use another listener"
            );
        }
    }

    /// Counts a connection for the client that a proxy has announced, which may have to wait for its
    /// turn; whether it may go on. What a proxy says for itself counts for nobody.
    fn count_announced(&mut self, place: usize) -> bool {
        let Some(half_open) = self.places.get_mut(place) else { return false };
        let Some(address) = half_open.transport.announced().map(network_of) else { return true };
        if self.places.announce(place, address) {
            return true;
        }
        if let Some(mut half_open) = self.remove(place) {
            half_open.address = Some(address);
            self.admit(half_open);
        }
        false
    }

    fn remove(&mut self, place: usize) -> Option<HalfOpen> {
        let mut half_open = self.places.remove(place)?;
        if let Err(error) = half_open.transport.deregister(self.parts.poll.registry()) {
            tracing::warn!(%error, "a connection can't be handed to a worker");
            return None;
        }
        Some(half_open)
    }

    fn tell_limited(&self, cause: LimitCause, count: u64) {
        tell_limited(&self.parts.peers, cause, count);
    }

    /// Ends the handshakes that take too long.
    fn end_late(&mut self, now: Clock) {
        let mut ended = 0;
        while let Some(place) = self.places.next_late(now) {
            if let Some(half_open) = self.remove(place) {
                let peer = half_open.transport.peer();
                tracing::debug!(peer, "a handshake took longer than limits.handshake_timeout_secs");
                self.places.note_end(false);
                ended += 1;
            }
        }
        if ended > 0 {
            self.tell_limited(LimitCause::HandshakeTimeout, ended);
        }
    }
}

/// Lets a worker count what a limit of the front has cost.
fn tell_limited(peers: &[Peer], cause: LimitCause, count: u64) {
    if let Some(peer) = peers.first() {
        peer.send(WorkerMessage::Limited(cause, count));
    }
}
