//! Logins: answered at once where that takes no effort, or handed to the threads for it.

use super::{Worker, socket_of};
use crate::auth::{Authentication, Candidate, Job};
use crate::core::{ConnectionKey, Decision, Login};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::ReasonCode;
use std::sync::Arc;
use std::time::Instant as Clock;

impl Worker {
    pub(super) fn authenticate(
        &mut self,
        now: Instant,
        connection: ConnectionKey,
        exchange: u32,
        login: Box<Login>,
    ) {
        let Some(socket) = socket_of(&mut self.sockets, connection) else { return };
        let certificate = socket.transport.certificate().map(Into::into);
        let address = socket.transport.peer_address();
        let candidate = Candidate { login, certificate, address };
        let waits = Arc::new(());
        let wanted = Arc::downgrade(&waits);
        let worker = usize::from(self.parts.number.0);
        let decision = match &self.parts.authentication {
            Some(Authentication { judge, pool, timeout }) => {
                judge.decide_at_once(&candidate).or_else(|| {
                    socket.login = Some(waits);
                    let until = Clock::now() + *timeout;
                    let job = Job { candidate, worker, connection, exchange, until, wanted };
                    let is_full = !pool.submit(job);
                    is_full.then_some(Decision::Deny(ReasonCode::ServerBusy))
                })
            }
            // Without one the core does not ask.
            None => Some(Decision::Deny(ReasonCode::ServerUnavailable)),
        };
        if let Some(decision) = decision {
            self.decided(now, connection, exchange, decision);
        }
    }

    /// Tells the core what a login has come to.
    pub(super) fn decided(
        &mut self,
        now: Instant,
        connection: ConnectionKey,
        exchange: u32,
        decision: Decision,
    ) {
        if let Some(socket) = socket_of(&mut self.sockets, connection) {
            socket.login = None;
        }
        self.parts.core.handle_decision(now, connection, exchange, decision);
    }

    /// Tells of a Client that was turned away for the sake of another one's session; whether it was.
    pub(super) fn tell_stranger(&mut self, key: ConnectionKey, peer: &str) -> bool {
        let (Some(authentication), Some((owner, user))) =
            (&self.parts.authentication, self.parts.core.stranger(key))
        else {
            return false;
        };
        authentication.judge.refusals().tell_stranger(peer, owner, user);
        true
    }
}
