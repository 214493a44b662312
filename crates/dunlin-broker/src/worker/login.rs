//! Logins: answered at once where that takes no effort, or handed to the threads for it.

use super::{Worker, socket_of};
use crate::auth::{Authentication, Candidate, Job};
use crate::core::{ConnectionKey, Decision, Login};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::ReasonCode;
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
        let candidate = Candidate { login, certificate };
        let worker = usize::from(self.parts.number.0);
        let decision = match &self.parts.authentication {
            Some(Authentication { chain, pool, timeout }) => {
                chain.decide_at_once(&candidate).or_else(|| {
                    let until = Clock::now() + *timeout;
                    let job = Job { candidate, worker, connection, exchange, until };
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

    /// Tells the core what a login has come to, and where its Client is if rules may ask for that.
    pub(super) fn decided(
        &mut self,
        now: Instant,
        connection: ConnectionKey,
        exchange: u32,
        mut decision: Decision,
    ) {
        if let (Decision::Allow(grant), Some(listeners)) = (&mut decision, &self.parts.listeners)
            && let Some(socket) = socket_of(&mut self.sockets, connection)
        {
            grant.address = socket.transport.address();
            grant.listener = listeners.get(usize::from(socket.listener)).cloned();
        }
        self.parts.core.handle_decision(now, connection, exchange, decision);
    }
}
