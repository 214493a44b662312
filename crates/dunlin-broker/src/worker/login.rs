//! Logins: answered at once where that takes no effort, or handed to the threads of the method that
//! has to think.

use super::{Worker, WorkerMessage, socket_of};
use crate::auth::{Authentication, Candidate, Course, Job, Ruling};
use crate::core::{ConnectionKey, Decision, LateLogin, Login};
use dunlin_protocol::Instant;
use dunlin_protocol::codec::ReasonCode;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

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
        let listener_number = socket.listener;
        let names = self.parts.listeners.as_ref();
        let listener = names.and_then(|names| names.get(usize::from(listener_number)).cloned());
        let clocks = self.parts.started_at;
        let candidate =
            Candidate { login, certificate, address, listener, listener_number, clocks };
        let waits = Arc::new(());
        let wanted = Arc::downgrade(&waits);
        let worker = usize::from(self.parts.number.0);
        // Without one the core does not ask.
        let Some(Authentication { judge, pool, timeout }) = &self.parts.authentication else {
            return;
        };
        let clock = Clock::now();
        let decision = match judge.decide_at_once(clock, &candidate) {
            Course::Ruled(Ruling { decision, delay: Duration::ZERO }) => decision,
            Course::Ruled(Ruling { decision, delay }) => {
                let decision = Box::new(decision);
                let message = WorkerMessage::Decided { connection, exchange, decision };
                match pool.wait(clock + delay, worker, message) {
                    Err(WorkerMessage::Decided { decision, .. }) => *decision,
                    _ => return,
                }
            }
            Course::Asks(method) => {
                socket.login = Some(waits);
                let until = clock + *timeout;
                let job = Job { candidate, method, worker, connection, exchange, until, wanted };
                if pool.submit(job) {
                    return;
                }
                Decision::Deny(ReasonCode::ServerBusy)
            }
        };
        self.decided(now, connection, exchange, decision);
    }

    /// Tells the core what a login has come to, and where its Client is if rules may ask for that.
    pub(super) fn decided(
        &mut self,
        now: Instant,
        connection: ConnectionKey,
        exchange: u32,
        mut decision: Decision,
    ) {
        if let Some(socket) = socket_of(&mut self.sockets, connection) {
            socket.login = None;
            socket.is_refused = matches!(decision, Decision::Deny(_));
            if let (Decision::Allow(grant) | Decision::AllowWith(grant, _), Some(listeners)) =
                (&mut decision, &self.parts.listeners)
            {
                grant.address = socket.transport.address();
                grant.listener = listeners.get(usize::from(socket.listener)).cloned();
            }
        }
        self.parts.core.handle_decision(now, connection, exchange, decision);
    }

    /// Tells of a Client that was turned away for the sake of another one's session, or because its
    /// login took too long; whether it was.
    pub(super) fn tell_turned_away(&mut self, key: ConnectionKey, peer: &str) -> bool {
        let Some(authentication) = &self.parts.authentication else { return false };
        let refusals = authentication.judge.refusals();
        match self.parts.core.late_login(key) {
            Some(LateLogin::Unanswered) => {
                refusals.tell_unanswered(peer);
                return true;
            }
            // Who was to decide tells of it, as soon as it is known why.
            Some(_) => return true,
            None => {}
        }
        let Some(stranger) = self.parts.core.stranger(key) else { return false };
        refusals.tell_stranger(peer, stranger);
        true
    }
}
