//! The Wills of all clients, connection by connection: which have to come, and which must not.

use std::collections::VecDeque;

/// Connections of one client that are remembered. A Will of an earlier one is taken for unknown.
const KEPT: usize = 16;

/// How a connection has ended, as far as its Will is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// CONNECT was sent.
    Asked,
    /// CONNACK has come.
    There,
    /// It was lost: the Will has to come [MQTT-3.1.2-8].
    Owed,
    /// It was lost before CONNACK came, or its Will with a connection of the subscriber.
    Free,
    /// DISCONNECT was sent: the Will must not come [MQTT-3.14.4-3].
    Revoked,
    /// The Will has come.
    Came,
}

/// What the books say of a Will that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WillVerdict {
    /// As it should.
    Due,
    /// It has come before.
    Doubled,
    /// Its client is still there.
    Early,
    /// Its client has said goodbye.
    Revoked,
    /// There was no such connection.
    Unknown,
}

/// The books.
#[derive(Debug)]
pub(crate) struct Wills {
    clients: Box<[Client]>,
    owed: u64,
    came: u64,
}

#[derive(Debug, Default, Clone)]
struct Client {
    /// Connections so far.
    connections: u32,
    /// The last of them, the newest last.
    last: VecDeque<State>,
}

impl Wills {
    pub(crate) fn new(clients: usize) -> Self {
        Self { clients: vec![Client::default(); clients].into(), owed: 0, came: 0 }
    }

    /// A client connects with a Will; which of its connections it is.
    pub(crate) fn connect(&mut self, client: usize) -> u32 {
        let client = &mut self.clients[client];
        if client.last.len() == KEPT {
            let oldest = client.last.pop_front();
            debug_assert_ne!(oldest, Some(State::There), "an old connection is still open");
        }
        client.last.push_back(State::Asked);
        client.connections += 1;
        client.connections
    }

    /// The newest connection of a client is accepted.
    pub(crate) fn accept(&mut self, client: usize) {
        if let Some(state @ State::Asked) = self.clients[client].last.back_mut() {
            *state = State::There;
        }
    }

    /// The newest connection of a client has ended without DISCONNECT.
    pub(crate) fn lose(&mut self, client: usize) {
        let Some(state) = self.clients[client].last.back_mut() else { return };
        match *state {
            State::There => {
                *state = State::Owed;
                self.owed += 1;
            }
            State::Asked => *state = State::Free,
            _ => {}
        }
    }

    /// A client has sent DISCONNECT on its newest connection.
    pub(crate) fn revoke(&mut self, client: usize) {
        if let Some(state) = self.clients[client].last.back_mut() {
            *state = State::Revoked;
        }
    }

    /// Wills that `may_lose` picks by their client need not come any more if they have not so far.
    pub(crate) fn forgive(&mut self, may_lose: impl Fn(usize) -> bool) {
        for (index, client) in self.clients.iter_mut().enumerate() {
            if !may_lose(index) {
                continue;
            }
            for state in client.last.iter_mut().filter(|state| **state == State::Owed) {
                *state = State::Free;
                self.owed -= 1;
            }
        }
    }

    /// Books the Will of a connection.
    pub(crate) fn book(&mut self, client: usize, connection: u32) -> WillVerdict {
        let Some(client) = self.clients.get_mut(client) else { return WillVerdict::Unknown };
        let Some(back) = client.connections.checked_sub(connection) else {
            return WillVerdict::Unknown;
        };
        let Some(at) = client.last.len().checked_sub(back as usize + 1) else {
            return WillVerdict::Unknown;
        };
        let state = &mut client.last[at];
        let verdict = match *state {
            State::Owed => WillVerdict::Due,
            State::Free | State::Asked => WillVerdict::Due,
            State::There => WillVerdict::Early,
            State::Revoked => WillVerdict::Revoked,
            State::Came => WillVerdict::Doubled,
        };
        self.owed -= u64::from(*state == State::Owed);
        self.came += u64::from(verdict == WillVerdict::Due);
        *state = State::Came;
        verdict
    }

    /// Wills that have to come.
    pub(crate) const fn owed(&self) -> u64 {
        self.owed
    }

    /// Wills that have come as they should.
    pub(crate) const fn came(&self) -> u64 {
        self.came
    }
}

#[cfg(test)]
mod tests;
