//! Thousands of sockets on one thread: connections are opened, scripts say what goes out on them and
//! look at what comes, and nothing ever blocks but the wait for readiness.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dunlin_bench::Transport;
use dunlin_bench::connection::Connection;
use mio::{Events, Poll, Token};

/// Addresses of this machine that clients come from, in turn: each has its own ports, and the
/// broker's limits for one address are not what is tried here.
const SOURCES: u8 = 10;

/// How often scripts are asked whether they have something to do.
const TICK: Duration = Duration::from_millis(10);

/// How long a client waits that got no connection at all.
const UNREACHABLE_REST: Duration = Duration::from_secs(1);

/// What is read of a socket at once.
const SCRATCH_LEN: usize = 256 * 1024;

/// More faults than this are not told.
const BROKEN_MAX: usize = 20;

/// What became of hostile clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Connections that the system made.
    pub(crate) opened: u64,
    /// Connections, or what was asked on them, that got what they asked for.
    pub(crate) served: u64,
    /// Those that were told that they don't get it.
    pub(crate) refused: u64,
    /// Connections that the broker ended, told or not.
    pub(crate) closed: u64,
    /// Attempts that the system, or the broker's, refused.
    pub(crate) unreachable: u64,
    /// Connections that were there at the end.
    pub(crate) held: u64,
    /// Further figures, each with what it counts.
    pub(crate) notes: BTreeMap<String, f64>,
    /// What the broker did that it must not, a sentence each.
    pub(crate) broken: Vec<String>,
}

impl Tally {
    /// Takes a further figure.
    pub(crate) fn note(&mut self, what: impl Into<String>, value: f64) {
        self.notes.insert(what.into(), value);
    }

    /// Takes a note of what the broker did that it must not, once for each kind.
    pub(crate) fn blame(&mut self, what: impl Into<String>) {
        let what = what.into();
        if self.broken.len() < BROKEN_MAX && !self.broken.contains(&what) {
            self.broken.push(what);
        }
    }
}

/// What a client does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It stays as it is.
    Stay,
    /// Its connection ends, and it comes again after a while.
    Again(Duration),
}

/// What clients do.
pub(crate) trait Script {
    /// A client's connection is there.
    fn opened(&mut self, client: usize, out: &mut Vec<u8>, tally: &mut Tally);

    /// Something came; gives how many of the bytes are done with. The others come again, with more.
    fn received(
        &mut self,
        client: usize,
        input: &[u8],
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> (usize, Next);

    /// The broker has ended a client's connection; with [`Next::Stay`] it stays away.
    fn ended(&mut self, client: usize, tally: &mut Tally) -> Next;

    /// Some time has passed.
    fn tick(&mut self, _now: Instant, _crowd: &mut Crowd<'_>) {}

    /// Whether a client reads what it gets.
    fn reads(&self, _client: usize) -> bool {
        true
    }

    /// How many TCP handshakes may be under way now.
    fn room(&self) -> usize {
        usize::MAX
    }

    /// Whether there is nothing left to do before the time is up.
    fn is_over(&self) -> bool {
        false
    }
}

/// Where clients go, how many, and until when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) address: SocketAddr,
    pub(crate) clients: usize,
    pub(crate) until: Instant,
}

/// All clients of a script.
struct Swarm {
    course: Course,
    poll: Poll,
    slots: Vec<Slot>,
    /// Who is to come, and when.
    coming: BinaryHeap<Reverse<(Instant, usize)>>,
    /// TCP handshakes that are under way.
    opening: usize,
    scratch: Vec<u8>,
    tally: Tally,
}

#[derive(Default)]
struct Slot {
    link: Option<Connection>,
    is_open: bool,
}

/// The clients that are there, as a script sees them.
pub(crate) struct Crowd<'a> {
    slots: &'a mut [Slot],
    touched: Vec<usize>,
    leaving: Vec<(usize, Next)>,
}

impl Crowd<'_> {
    /// What waits to be sent by a client, to add to it, if it is there.
    pub(crate) fn output(&mut self, client: usize) -> Option<&mut Vec<u8>> {
        let slot = self.slots.get_mut(client).filter(|slot| slot.is_open)?;
        let link = slot.link.as_mut()?;
        self.touched.push(client);
        Some(&mut link.output)
    }

    /// Ends a client's connection.
    pub(crate) fn leave(&mut self, client: usize, next: Next) {
        self.leaving.push((client, next));
    }
}

/// Lets clients do as their script says until the time is up.
///
/// # Errors
/// When the system has no poll for them.
pub(crate) fn run(course: Course, script: &mut dyn Script) -> io::Result<Tally> {
    let now = Instant::now();
    let mut swarm = Swarm {
        course,
        poll: Poll::new()?,
        slots: (0..course.clients).map(|_| Slot::default()).collect(),
        coming: (0..course.clients).map(|client| Reverse((now, client))).collect(),
        opening: 0,
        scratch: vec![0; SCRATCH_LEN],
        tally: Tally::default(),
    };
    swarm.run(script)?;
    swarm.tally.held = swarm.slots.iter().filter(|slot| slot.is_open).count() as u64;
    Ok(swarm.tally)
}

impl Swarm {
    fn run(&mut self, script: &mut dyn Script) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        let mut ready = Vec::new();
        let mut ticked_at = Instant::now();
        loop {
            let now = Instant::now();
            if now >= self.course.until || script.is_over() {
                return Ok(());
            }
            self.open_due(now, script.room());
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            ready.extend(events.iter().map(|event| {
                let is_closed = event.is_read_closed() || event.is_error();
                (event.token().0, event.is_readable(), is_closed)
            }));
            for (client, is_readable, is_closed) in ready.drain(..) {
                self.handle(client, is_readable, is_closed, script);
            }
            if ticked_at.elapsed() >= TICK {
                ticked_at = Instant::now();
                self.tick(ticked_at, script);
            }
        }
    }

    /// Opens the connections of those who are to come by now.
    fn open_due(&mut self, now: Instant, room: usize) {
        while self.opening < room {
            match self.coming.peek() {
                Some(&Reverse((due, client))) if due <= now => {
                    self.coming.pop();
                    let host = 11 + (client % usize::from(SOURCES)) as u8;
                    let source = match self.course.address.ip().is_loopback() {
                        true => Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host))),
                        false => None,
                    };
                    let (registry, address) = (self.poll.registry(), self.course.address);
                    let transport = Transport::plain();
                    match Connection::open(address, &transport, source, registry, Token(client)) {
                        Ok(link) => {
                            self.opening += 1;
                            self.slots[client] = Slot { link: Some(link), is_open: false };
                        }
                        Err(_) => self.miss(client),
                    }
                }
                _ => return,
            }
        }
    }

    /// A client got no connection.
    fn miss(&mut self, client: usize) {
        self.tally.unreachable += 1;
        self.coming.push(Reverse((Instant::now() + UNREACHABLE_REST, client)));
    }

    /// What is asked of the socket counts, not what the event says: it may be about an earlier
    /// connection of the client.
    fn handle(
        &mut self,
        client: usize,
        is_readable: bool,
        is_closed: bool,
        script: &mut dyn Script,
    ) {
        let slot = &mut self.slots[client];
        let Some(link) = &mut slot.link else { return };
        if !slot.is_open {
            if !matches!(link.take_error(), Ok(None)) {
                self.slots[client] = Slot::default();
                self.opening -= 1;
                return self.miss(client);
            }
            if link.peer_addr().is_err() {
                return;
            }
            slot.is_open = true;
            self.opening -= 1;
            self.tally.opened += 1;
            script.opened(client, &mut link.output, &mut self.tally);
        }
        let is_well = link.flush().is_ok();
        if (is_readable || !is_well) && script.reads(client) {
            self.read(client, is_closed || !is_well, script);
        } else if !is_well || is_closed {
            self.end(client, script);
        }
    }

    /// Reads all that a socket holds. A read that leaves room has emptied it, unless its end has come
    /// as well.
    fn read(&mut self, client: usize, is_closed: bool, script: &mut dyn Script) {
        loop {
            let Some(link) = &mut self.slots[client].link else { return };
            let filled = match link.fill(&mut self.scratch) {
                Ok(Some(filled)) => filled,
                Ok(None) if is_closed => return self.end(client, script),
                Ok(None) => return,
                Err(_) => return self.end(client, script),
            };
            let input = &self.scratch[..filled.len];
            let (used, next) = script.received(client, input, &mut link.output, &mut self.tally);
            if next != Next::Stay {
                // What it still has to say is said, as far as the system takes it.
                let _ = link.flush();
                return self.leave(client, next);
            }
            link.keep(&input[used..]);
            if link.flush().is_err() && !is_closed {
                return self.end(client, script);
            }
            if !filled.more && !is_closed {
                return;
            }
        }
    }

    /// The broker has ended a connection.
    fn end(&mut self, client: usize, script: &mut dyn Script) {
        self.tally.closed += 1;
        let next = script.ended(client, &mut self.tally);
        self.leave(client, next);
    }

    fn leave(&mut self, client: usize, next: Next) {
        let slot = std::mem::take(&mut self.slots[client]);
        if slot.link.is_some() && !slot.is_open {
            self.opening -= 1;
        }
        if let Next::Again(rest) = next {
            self.coming.push(Reverse((Instant::now() + rest, client)));
        }
    }

    fn tick(&mut self, now: Instant, script: &mut dyn Script) {
        let mut crowd = Crowd { slots: &mut self.slots, touched: Vec::new(), leaving: Vec::new() };
        script.tick(now, &mut crowd);
        let Crowd { touched, leaving, .. } = crowd;
        for client in touched {
            // What came before the connection broke is read when its event comes.
            if let Some(link) = &mut self.slots[client].link {
                let _ = link.flush();
            }
        }
        for (client, next) in leaving {
            if self.slots[client].link.is_some() {
                self.leave(client, next);
            }
        }
    }
}

#[cfg(test)]
mod tests;
