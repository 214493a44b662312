//! The front: a thread that takes the connections which don't begin with MQTT, finishes their
//! handshakes, and hands them to the workers. A handshake costs as much as thousands of messages:
//! here it delays other handshakes alone.

mod certificates;
mod dates;
mod half_open;
#[cfg(test)]
mod tests;
mod waiting;
mod watcher;

pub(crate) use certificates::Certificates;
pub(crate) use dates::date_warnings;
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
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant as Clock};
use waiting::WaitingRoom;

/// How long accepting rests after the system had no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Connections accepted before others go on with their handshakes.
const ACCEPTS_PER_TURN: usize = 64;
/// So many times as many handshakes as may be under way may wait for their turn.
const WAITING_TIMES: usize = 4;
/// In how many seconds what became of handshakes counts half as much.
const AGE_SECS: u64 = 10;
/// So many times as many handshakes as may be under way are remembered for what became of them.
const RECENT_TIMES: usize = 4;
/// Of the descriptors that the process may have, so small a part may be those of who waits.
const WAITING_PART: usize = 4;
/// How often it is looked whether somebody has to make room for who waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Who has sent nothing for so long makes room when there is none: a handshake takes a few
/// milliseconds of each side, and the network's time.
const SILENCE: Duration = Duration::from_secs(1);
/// The same where handshakes come to nothing, for those of an address that has more than its share of
/// all places, when somebody waits whose address has none.
const CROWD_SILENCE: Duration = Duration::from_millis(100);
/// Who has been here for so long makes room when nobody is silent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Entries of connections that are gone which a queue may keep in any case.
const GONE_MAX: usize = 64;
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
    /// Connections whose handshakes are under way at most; others wait.
    pub(crate) half_open_max: usize,
    /// The same for one address.
    pub(crate) half_open_per_address_max: usize,
    /// How long all handshakes of a connection may take together.
    pub(crate) timeout: Duration,
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
    connections: Vec<Option<HalfOpen>>,
    free: Vec<usize>,
    /// Who came when, in this order: the place, and the count of it.
    arrivals: VecDeque<(Clock, usize, u64)>,
    /// Those who have been silent, roughly in the order since when; one that has been heard is put
    /// back when its turn comes.
    silent: VecDeque<(Clock, usize, u64)>,
    /// How many there are of each address.
    by_address: HashMap<IpAddr, usize>,
    /// Who has been accepted and has no place yet.
    waiting: WaitingRoom<HalfOpen>,
    waiting_max: usize,
    /// Of the last handshakes, those that came to an end, and those that came to nothing.
    finished: usize,
    given_up: usize,
    /// When what is remembered of them was last halved.
    aged_at: Clock,
    /// Whether there is a place for somebody who waits.
    has_place: bool,
    /// Which door is looked at first.
    first_door: usize,
    /// How many have come, to tell one in a place from others that had it.
    count: u64,
    /// The worker that gets the next connection.
    next: usize,
    accept_again_at: Option<Clock>,
    /// Whether somebody waits until fewer handshakes are under way.
    lets_wait: bool,
    told: LogRates,
    buffer: Vec<u8>,
}

impl Front {
    pub(crate) fn new(parts: FrontParts) -> Self {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let descriptors = descriptors.and_then(|count| usize::try_from(count).ok());
        let waiting_max = WAITING_TIMES * parts.half_open_max;
        Self {
            waiting: WaitingRoom::new(),
            waiting_max: descriptors
                .map_or(waiting_max, |count| waiting_max.min(count / WAITING_PART)),
            finished: 0,
            given_up: 0,
            aged_at: Clock::now(),
            has_place: false,
            parts,
            connections: Vec::new(),
            free: Vec::new(),
            arrivals: VecDeque::new(),
            silent: VecDeque::new(),
            by_address: HashMap::new(),
            first_door: 0,
            count: 0,
            next: 0,
            accept_again_at: None,
            lets_wait: false,
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
                    Token(at) => self.go_on(at),
                }
            }
            while let Ok(call) = self.parts.calls.try_recv() {
                call();
            }
            self.end_late();
            self.forget_gone();
            let now = Clock::now();
            self.age(now);
            // Before others come, and for those who have come.
            self.fill_places(now);
            self.accept();
            self.fill_places(now);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let is_ready = self.parts.doors.iter().any(|door| door.acceptor.is_ready);
        let may_accept = is_ready && self.accept_again_at.is_none() && self.may_wait();
        if may_accept || self.has_place {
            return Some(Duration::ZERO);
        }
        let now = Clock::now();
        let late = self.arrivals.front().map(|(at, ..)| *at + self.parts.timeout);
        // When somebody may make room for who waits.
        let look = (!self.waiting.is_empty()).then(|| now + LOOK_INTERVAL);
        let next = [late, look, self.accept_again_at].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Whether a further connection is taken. If all have to wait because handshakes take their time, it
    /// waits with the system; if it is because they come to nothing, or those of one address do, it is
    /// taken all the same, and somebody of the largest crowd goes, so that others get their turn.
    fn may_wait(&self) -> bool {
        // What room is left then is for none of those who wait.
        let has_room = self.has_room() && !self.has_place;
        self.waiting.len() < self.waiting_max || has_room || self.is_besieged()
    }

    /// Whether most of the last handshakes came to nothing, and so many that it is not just a crowd that
    /// was slow to answer when it came.
    const fn is_besieged(&self) -> bool {
        self.given_up > self.finished + self.parts.half_open_max
    }

    /// Whether another handshake may begin.
    fn has_room(&self) -> bool {
        self.connections.len() - self.free.len() < self.parts.half_open_max
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
                if !self.may_wait() {
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
        self.has_place = false;
        while !self.waiting.is_empty() {
            while self.has_room() {
                if begun == ACCEPTS_PER_TURN {
                    self.has_place = true;
                    return;
                }
                let (by_address, max) = (&self.by_address, self.parts.half_open_per_address_max);
                let next = self.waiting.next(|address| has_room_for(by_address, max, address));
                let Some(half_open) = next else { break };
                self.begin(half_open);
                begun += 1;
            }
            if !self.make_room(now) {
                return;
            }
        }
        self.lets_wait = false;
    }

    /// Whether somebody of this address waits.
    fn waits(&self, address: Option<IpAddr>) -> bool {
        let mut doors = self.parts.doors.iter();
        doors.any(|door| self.waiting.holds((door.acceptor.number, address)))
    }

    /// Gives up who has been silent for longest, or else who is here too long, of those whose place
    /// somebody who waits could have; whether there was one.
    fn make_room(&mut self, now: Clock) -> bool {
        let (by_address, max) = (&self.by_address, self.parts.half_open_per_address_max);
        let may_any =
            !self.has_room() && self.waiting.any(|address| has_room_for(by_address, max, address));
        let has_none = |address: Option<IpAddr>| {
            address.is_some_and(|address| !by_address.contains_key(&address))
        };
        let is_urgent = may_any && self.is_besieged() && self.waiting.any(has_none);
        let share = (self.parts.half_open_max / (by_address.len() + 1)).max(1);
        let mut at = 0;
        while let Some((since, place, number)) = self.silent.get(at).copied() {
            if now < since + if is_urgent { CROWD_SILENCE } else { SILENCE } {
                break;
            }
            let Some(half_open) = self.half_open_at(place, number) else {
                self.silent.remove(at);
                continue;
            };
            let is_of_crowd =
                is_urgent && !has_room_for(&self.by_address, share + 1, half_open.address);
            let silence = if is_of_crowd { CROWD_SILENCE } else { SILENCE };
            if now < since + silence || !may_any && !self.waits(half_open.address) {
                at += 1;
                continue;
            }
            // What it has sent while others were served counts.
            self.go_on(place);
            let Some(half_open) = self.half_open_at(place, number) else { return true };
            let heard_at = half_open.heard_at;
            self.silent.remove(at);
            if now >= heard_at + silence {
                self.give_up(place, "it was silent, and others waited");
                return true;
            }
            self.silent.push_back((heard_at, place, number));
        }
        let late = self.arrivals.iter().take_while(|(arrived, ..)| now >= *arrived + PATIENCE);
        let late = late.copied().find(|(_, place, number)| {
            self.half_open_at(*place, *number)
                .is_some_and(|half_open| may_any || self.waits(half_open.address))
        });
        if let Some((_, place, _)) = late {
            self.give_up(place, "it took long, and others waited");
        }
        late.is_some()
    }

    fn half_open_at(&self, at: usize, number: u64) -> Option<&HalfOpen> {
        self.connections[at].as_ref().filter(|half_open| half_open.number == number)
    }

    fn is_there(&self, at: usize, number: u64) -> bool {
        self.connections[at].as_ref().is_some_and(|half_open| half_open.number == number)
    }

    fn give_up(&mut self, at: usize, cause: &str) {
        if let Some(half_open) = self.remove(at) {
            let peer = half_open.transport.peer();
            tracing::debug!(peer, "a handshake was given up: {cause}");
            self.tell_limited(LimitCause::HandshakeTimeout, 1);
            self.note_end(false);
        }
    }

    /// Lets count less what is long ago.
    fn age(&mut self, now: Clock) {
        let intervals = now.saturating_duration_since(self.aged_at).as_secs() / AGE_SECS;
        if intervals > 0 {
            let halved = u32::try_from(intervals).unwrap_or(u32::MAX);
            self.finished = self.finished.checked_shr(halved).unwrap_or(0);
            self.given_up = self.given_up.checked_shr(halved).unwrap_or(0);
            self.aged_at = now;
        }
    }

    /// Counts whether a handshake came to an end: the last ones count most.
    fn note_end(&mut self, is_finished: bool) {
        *if is_finished { &mut self.finished } else { &mut self.given_up } += 1;
        if self.finished + self.given_up > RECENT_TIMES * self.parts.half_open_max {
            self.finished /= 2;
            self.given_up /= 2;
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
        let max = self.parts.half_open_per_address_max;
        let is_full = !self.has_room();
        let is_full_for_it = !has_room_for(&self.by_address, max, half_open.address);
        if !is_full && !is_full_for_it && !self.waiting.holds(half_open.origin()) {
            self.begin(half_open);
            return;
        }
        if is_full && !self.lets_wait {
            self.lets_wait = true;
            self.tell_limited(LimitCause::HalfOpen, 1);
        } else if is_full_for_it {
            self.tell_limited(LimitCause::HalfOpenPerAddress, 1);
        }
        self.waiting.push(half_open.origin(), half_open);
        if self.waiting.len() > self.waiting_max
            && let Some(half_open) = self.waiting.first_of_the_largest()
        {
            let peer = half_open.transport.peer();
            tracing::debug!(peer, "a connection was closed: too many wait for their handshakes");
            let is_its_own = !has_room_for(&self.by_address, max, half_open.address);
            let own =
                if is_its_own { LimitCause::HalfOpenPerAddress } else { LimitCause::HalfOpen };
            self.tell_limited(own, 1);
        }
    }

    /// Gives a connection a place, and begins its handshakes.
    fn begin(&mut self, mut half_open: HalfOpen) {
        let now = Clock::now();
        let at = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let interests = Interest::READABLE | Interest::WRITABLE;
        let registry = self.parts.poll.registry();
        if let Err(error) = registry.register(&mut half_open.transport, Token(at), interests) {
            self.free.push(at);
            tracing::warn!(%error, "a connection can't be watched");
            return;
        }
        self.count += 1;
        self.arrivals.push_back((now, at, self.count));
        self.silent.push_back((now, at, self.count));
        if let Some(address) = half_open.address {
            *self.by_address.entry(address).or_default() += 1;
        }
        (half_open.heard_at, half_open.number) = (now, self.count);
        self.connections[at] = Some(half_open);
        self.go_on(at);
    }

    /// Goes on with a handshake as far as the bytes go that are there.
    fn go_on(&mut self, at: usize) {
        loop {
            let Some(Some(half_open)) = self.connections.get_mut(at) else { return };
            match half_open.go_on(&mut self.buffer) {
                Ok(Progress::Waits) => return,
                Ok(Progress::Announced) => {
                    if !self.count_announced(at) {
                        return;
                    }
                }
                Ok(Progress::Finished { rest }) => {
                    if let Some(half_open) = self.remove(at) {
                        self.note_end(true);
                        let HalfOpen { transport, durability, listener, .. } = half_open;
                        let opened = Opened { transport, rest, durability, listener };
                        self.next = (self.next + 1) % self.parts.peers.len();
                        self.parts.peers[self.next].send(WorkerMessage::Open(Box::new(opened)));
                    }
                    return;
                }
                Err(error) => {
                    let (peer, listener) = (half_open.transport.peer(), half_open.listener);
                    self.remove(at);
                    self.note_end(false);
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
    fn count_announced(&mut self, at: usize) -> bool {
        let Some(half_open) = self.connections[at].as_mut() else { return false };
        let Some(address) = half_open.transport.announced().map(network_of) else { return true };
        let max = self.parts.half_open_per_address_max;
        if has_room_for(&self.by_address, max, Some(address)) {
            *self.by_address.entry(address).or_default() += 1;
            half_open.address = Some(address);
            return true;
        }
        if let Some(mut half_open) = self.remove(at) {
            half_open.address = Some(address);
            self.admit(half_open);
        }
        false
    }

    fn remove(&mut self, at: usize) -> Option<HalfOpen> {
        let mut half_open = self.connections.get_mut(at)?.take()?;
        self.free.push(at);
        if let Some(address) = half_open.address
            && let Some(count) = self.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        if let Err(error) = half_open.transport.deregister(self.parts.poll.registry()) {
            tracing::warn!(%error, "a connection can't be handed to a worker");
            return None;
        }
        Some(half_open)
    }

    /// Lets the queues hold little more than those who are here, however many have come and gone
    /// behind one that stays.
    fn forget_gone(&mut self) {
        let connections = &self.connections;
        let is_there = |at: usize, number: u64| {
            connections[at].as_ref().is_some_and(|half_open| half_open.number == number)
        };
        let len_max = 2 * (connections.len() - self.free.len()) + GONE_MAX;
        for queue in [&mut self.arrivals, &mut self.silent] {
            if queue.len() > len_max {
                queue.retain(|(_, at, number)| is_there(*at, *number));
            }
        }
    }

    /// Lets a worker count what a limit of the front has cost.
    fn tell_limited(&self, cause: LimitCause, count: u64) {
        if let Some(peer) = self.parts.peers.first() {
            peer.send(WorkerMessage::Limited(cause, count));
        }
    }

    /// Ends the handshakes that take too long.
    fn end_late(&mut self) {
        let now = Clock::now();
        let mut ended = 0;
        while let Some((arrived, at, number)) = self.arrivals.front().copied() {
            let is_there = self.is_there(at, number);
            if is_there && now < arrived + self.parts.timeout {
                break;
            }
            self.arrivals.pop_front();
            if is_there && let Some(half_open) = self.remove(at) {
                let peer = half_open.transport.peer();
                tracing::debug!(peer, "a handshake took longer than limits.handshake_timeout_secs");
                self.note_end(false);
                ended += 1;
            }
        }
        if ended > 0 {
            self.tell_limited(LimitCause::HandshakeTimeout, ended);
        }
    }
}

/// Whether another handshake of this address may begin.
fn has_room_for(by_address: &HashMap<IpAddr, usize>, max: usize, address: Option<IpAddr>) -> bool {
    let count = address.and_then(|address| by_address.get(&address));
    count.is_none_or(|count| *count < max)
}
