//! A connection whose handshakes are under way: the header of a proxy, TLS, then the upgrade to
//! WebSocket, each if its listener has it.

use super::Certificates;
use crate::core::Durability;
use crate::net::{Foreign, HeaderProgress, Transport};
use crate::waiting_room::Origin;
use bytes::BytesMut;
use dunlin_transport::websocket::upgrade::{Policy, Refusal, ServerUpgrade};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant as Clock;

/// How often what a client sends behind a request that is refused is read and forgotten: closing
/// over it would be a reset, which takes the answer with it.
const DISCARDS_MAX: usize = 16;

pub(super) struct HalfOpen {
    pub(super) transport: Transport,
    /// How much of a PROXY header has come, while there has to be one.
    pub(super) proxy_header: Option<usize>,
    /// Whether what comes next was looked at, which must be no PROXY header.
    pub(super) was_seen: bool,
    /// The TLS that follows, until it begins: a session is large.
    pub(super) tls: Option<Arc<Certificates>>,
    pub(super) upgrade: Option<Upgrade>,
    pub(super) durability: Durability,
    /// Whose it is; nothing where that is a proxy, until it has said for whom it connects.
    pub(super) address: Option<IpAddr>,
    /// When it last sent something.
    pub(super) heard_at: Clock,
    /// The number of its listener.
    pub(super) listener: u16,
    /// Tells it from others that had its place.
    pub(super) number: u64,
}

/// The part of the handshake that is HTTP.
pub(super) struct Upgrade {
    policy: Arc<Policy>,
    server: ServerUpgrade,
    /// The beginning of the request.
    input: BytesMut,
}

/// How far a handshake is.
pub(super) enum Progress {
    /// The peer has to send, or to read, first.
    Waits,
    /// A proxy has said for whom it connects, and the handshakes of that one follow.
    Announced,
    /// It is over; what the peer has sent right behind it.
    Finished { rest: BytesMut },
}

impl Upgrade {
    pub(super) fn new(policy: Arc<Policy>) -> Self {
        Self { policy, server: ServerUpgrade::new(), input: BytesMut::new() }
    }
}

impl HalfOpen {
    pub(super) const fn origin(&self) -> Origin {
        (self.address, self.listener)
    }

    /// Reads and answers.
    ///
    /// # Errors
    /// The connection is over: the peer was told why, if there is anything to tell.
    pub(super) fn go_on(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        match self.transport.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        if let Some(before) = self.proxy_header {
            match self.transport.take_proxy_header(buffer)? {
                HeaderProgress::Partial(len) => {
                    if len > before {
                        self.proxy_header = Some(len);
                        self.heard_at = Clock::now();
                    }
                    return Ok(Progress::Waits);
                }
                HeaderProgress::Taken => {
                    self.proxy_header = None;
                    if self.tls.is_some() || self.upgrade.is_some() {
                        return Ok(Progress::Announced);
                    }
                }
            }
        }
        if !self.was_seen && (self.tls.is_some() || self.upgrade.is_some()) {
            match self.transport.begins_with_proxy_header()? {
                None => return Ok(Progress::Waits),
                Some(true) => {
                    let foreign = Foreign::proxy_header(self.transport.is_proxied());
                    return Err(io::Error::other(foreign));
                }
                Some(false) => self.was_seen = true,
            }
        }
        if let Some(certificates) = self.tls.take() {
            let session = certificates.current().session().map_err(io::Error::other)?;
            self.transport.begin_tls(session);
        } else if self.upgrade.is_none() && !self.transport.has_tls() {
            // There was the header alone.
            return Ok(Progress::Finished { rest: BytesMut::new() });
        }
        loop {
            let taken = match self.transport.read(buffer) {
                Ok(taken) if taken.is_end => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(taken) => taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Progress::Waits),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.heard_at = Clock::now();
            if self.transport.is_handshaking() {
                continue;
            }
            let Some(upgrade) = &mut self.upgrade else {
                return Ok(Progress::Finished { rest: BytesMut::from(&buffer[..taken.len]) });
            };
            upgrade.input.extend_from_slice(&buffer[..taken.len]);
            // Nothing is waited for that can't come.
            if let Some(foreign) = Foreign::to_web_socket(&upgrade.input) {
                return Err(io::Error::other(foreign));
            }
            let mut answer = BytesMut::new();
            match upgrade.server.handle_input(&mut upgrade.input, &upgrade.policy, &mut answer) {
                Ok(None) => {}
                Ok(Some(_)) => {
                    let mut rest = std::mem::take(&mut upgrade.input);
                    self.transport.write_below(&answer)?;
                    self.transport.begin_web_socket(&mut rest)?;
                    // Not the memory of the request.
                    return Ok(Progress::Finished { rest: BytesMut::from(&rest[..]) });
                }
                Err(refusal) => return Err(self.refuse(refusal, &answer, buffer)),
            }
        }
    }

    /// Answers a request that is not granted, as far as the socket takes it at once.
    fn refuse(&mut self, refusal: Refusal, answer: &[u8], buffer: &mut [u8]) -> io::Error {
        let sent = self.transport.write_below(answer);
        if let Err(error) = sent.and_then(|()| self.transport.shut_down_writing()) {
            return error;
        }
        for _ in 0..DISCARDS_MAX {
            match self.transport.read(&mut *buffer) {
                Ok(taken) if !taken.is_end => {}
                _ => break,
            }
        }
        io::Error::other(refusal)
    }
}
