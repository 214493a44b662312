//! What comes to a worker: connections that it accepts, and messages of the other workers.

use super::peer::{Opened, WorkerMessage};
use super::{Worker, socket_of, token};
use crate::admission::Verdict;
use crate::core::{ConnectionKey, Door, LimitCause};
use crate::log_rate::Cause;
use crate::net::{Acceptance, Socket, Transport};
use bytes::BytesMut;
use dunlin_protocol::Instant;
use dunlin_protocol::codec::ReasonCode;
use mio::Interest;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant as Clock};

/// Connections accepted in one turn.
const ACCEPTS_PER_TURN: usize = 64;
/// How long accepting rests after the system had no descriptor left.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Messages of other workers that are taken in one turn.
const MESSAGES_PER_TURN: usize = 256;

impl Worker {
    pub(super) fn accept(&mut self, now: Instant) {
        if let Some(again_at) = self.accept_again_at {
            if now < again_at {
                return;
            }
            self.accept_again_at = None;
            self.parts.acceptors.iter_mut().for_each(|acceptor| acceptor.is_ready = true);
        }
        for at in 0..self.parts.acceptors.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                if self.stopping {
                    break;
                }
                let acceptor = &mut self.parts.acceptors[at];
                if !acceptor.is_ready {
                    break;
                }
                if let Err(wait) = self.parts.admission.may_accept() {
                    self.parts.core.count_limit(LimitCause::ConnectRate, 1);
                    self.accept_again_at = Some(now + wait);
                    return;
                }
                match acceptor.accept() {
                    Acceptance::Connection(stream) => {
                        let (durability, listener) = (acceptor.durability, acceptor.number);
                        let transport = Transport::plain(stream);
                        let rest = BytesMut::new();
                        self.open(now, Opened { transport, rest, durability, listener });
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
                        self.accept_again_at = Some(now + ACCEPT_REST);
                        break;
                    }
                }
            }
        }
    }

    pub(super) fn open(&mut self, now: Instant, opened: Opened) {
        let Opened { transport, rest, durability, listener } = opened;
        match self.parts.core.door(now) {
            Door::Open => {}
            Door::InPlaceOf(key) if !self.waits_to_be_read(key) => {
                self.parts.core.count_limit(LimitCause::MemoryClosed, 1);
                self.drop_socket(now, key);
            }
            Door::InPlaceOf(_) | Door::Shut => {
                self.parts.core.count_limit(LimitCause::MemoryClosed, 1);
                return;
            }
        }
        let (verdict, permit) = self.parts.admission.admit(|| transport.counted_address());
        let core = &mut self.parts.core;
        let key = match verdict {
            Verdict::Granted => core.open(now, durability),
            Verdict::Refused(cause) => {
                core.count_limit(cause, 1);
                if let Some(unsaid) = self.told.admit(Clock::now(), Cause::Limit(cause)) {
                    let (peer, limit) = (transport.peer(), cause.name());
                    tracing::warn!(
                        peer,
                        unsaid,
                        "a connection is refused: limits.{limit} is reached"
                    );
                }
                let core = &mut self.parts.core;
                core.open_refused(now, durability, ReasonCode::QuotaExceeded)
            }
            Verdict::Closed(cause) => {
                core.count_limit(cause, 1);
                if let Some(unsaid) = self.told.admit(Clock::now(), Cause::Limit(cause)) {
                    let (peer, limit) = (transport.peer(), cause.name());
                    tracing::warn!(
                        peer,
                        unsaid,
                        "a connection is closed at once: limits.{limit} is reached"
                    );
                }
                return;
            }
        };
        self.watch(Socket::new(transport, permit, key, rest, listener));
    }

    /// Whether something of this connection is there that nobody has looked at.
    fn waits_to_be_read(&mut self, key: ConnectionKey) -> bool {
        socket_of(&mut self.sockets, key).is_some_and(|socket| socket.is_listed)
    }

    /// Takes a socket into the loop.
    pub(super) fn watch(&mut self, mut socket: Socket) {
        let interests = Interest::READABLE | Interest::WRITABLE;
        let key = socket.key;
        let registry = self.parts.poll.registry();
        if let Err(error) = registry.register(&mut socket.transport, token(key), interests) {
            tracing::warn!(%error, "a connection can't be watched");
            self.forget(self.now(), key);
            return;
        }
        if self.sockets.len() <= key.index() {
            self.sockets.resize_with(key.index() + 1, || None);
        }
        self.to_read.list(&mut socket);
        self.sockets[key.index()] = Some(Box::new(socket));
    }

    /// A connection is gone from the loop: the core forgets it, too.
    pub(super) fn forget(&mut self, now: Instant, key: ConnectionKey) {
        self.parts.core.handle_network_closed(now, key);
        self.parts.core.release(key);
        self.parts.admission.leave();
    }

    pub(super) fn take_messages(&mut self, now: Instant) {
        let own = &self.parts.peers[usize::from(self.parts.number.0)];
        // Before the inbox is looked at, so that what comes after wakes again.
        own.waker.is_woken.swap(false, Ordering::AcqRel);
        for taken in 0.. {
            if taken == MESSAGES_PER_TURN {
                // The rest comes in the next turn, and nobody need wake us for it.
                let own = &self.parts.peers[usize::from(self.parts.number.0)];
                own.waker.is_woken.store(true, Ordering::Release);
                break;
            }
            let Ok(message) = self.parts.inbox.try_recv() else { break };
            match message {
                WorkerMessage::Batch(from, mut batch) => {
                    let own = &self.parts.peers[usize::from(self.parts.number.0)];
                    own.backlog.fetch_sub(batch.len(), Ordering::Relaxed);
                    while !self.parts.core.handle_batch(now, from, &mut batch) {
                        self.write_urgent(now);
                    }
                }
                WorkerMessage::Adopt(adopted) => self.adopted.push(*adopted),
                WorkerMessage::Open(opened) if !self.stopping => self.open(now, *opened),
                // It came too late.
                WorkerMessage::Open(_) => {}
                WorkerMessage::Decided { connection, exchange, decision } => {
                    self.decided(now, connection, exchange, *decision);
                }
                WorkerMessage::Rules(rules) => self.parts.core.handle_rules(now, rules),
                WorkerMessage::Pressure(pressure) => {
                    self.parts.core.handle_pressure(now, pressure);
                }
                WorkerMessage::GiveBack(give_back) => {
                    self.parts.core.free_unused();
                    give_back();
                }
                WorkerMessage::Limited(cause, count) => self.parts.core.count_limit(cause, count),
                WorkerMessage::Report(values) => self.parts.core.report(values),
                WorkerMessage::Stop => {
                    self.stopping = true;
                    self.parts.core.stop(now);
                }
            }
        }
    }
}
